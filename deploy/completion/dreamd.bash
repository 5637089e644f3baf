# bash completion for dreamd and dreamctl. Commands, options and their words come from the
# programs' own --help, model names and sessions from the daemon; so nothing here falls behind.
#
#   source deploy/completion/dreamd.bash          zsh: autoload -U bashcompinit; bashcompinit; source ...

# Names of a program's commands.
_dreamd_commands() {
    "$1" --help 2> /dev/null | sed -n 's/^  \([a-z][a-z]*\)  *.*/\1/p' | grep -vx 'dreamctl\|dreamd'
}

# Options that `program command` takes.
_dreamd_options() {
    "$@" --help 2> /dev/null | sed -n 's/^  \(--[a-z-]*\).*/\1/p'
}

# Words after a command: "dreamctl models list" and the like in its examples.
_dreamd_words() {
    "$1" "$2" --help 2> /dev/null | sed -n "s/^dreamctl $2 \([a-z][a-z]*\).*/\1/p" | sort -u
}

# One value a line out of the daemon's answers; nothing where there is no daemon.
_dreamd_ask() {
    dreamctl "$1" list --json --timeout 1 2> /dev/null | grep -o "\"$2\": *\"[^\"]*\"" | sed 's/.*: *"\(.*\)"/\1/' | sort -u
}

_dreamd() {
    local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]} word=${COMP_WORDS[COMP_CWORD]}
    local before=${COMP_WORDS[COMP_CWORD - 1]} words=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="$(_dreamd_commands "$program") --help --version"
    elif [ "$before" = --model ]; then
        words=$(_dreamd_ask models name)
    elif [ "$before" = --env ]; then
        words="pendulum cartpole"
    elif [ "$before" = --act ]; then
        words="plan actor random"
    else
        case $before in
            --data | --zoo | --out | --episodes | --record) compopt -o filenames 2> /dev/null; COMPREPLY=($(compgen -d -- "$word")); return ;;
            --config | --endpoint-file | --model-config) compopt -o filenames 2> /dev/null; COMPREPLY=($(compgen -f -- "$word")); return ;;
        esac
        case $word in
            -*) words=$(_dreamd_options "$program" "$command") ;;
            *)
                [ "${program##*/}" = dreamctl ] || return
                if [ "$COMP_CWORD" -eq 2 ]; then
                    words=$(_dreamd_words "$program" "$command")
                fi
                case "$command $before" in
                    "step step" | "plan plan" | "session show" | "session close" | "session reset" | "session fork" | "session save")
                        words="$words $(_dreamd_ask session session_id)" ;;
                    "models show" | "models load" | "models unload" | "models alias" | "models delete")
                        words=$(_dreamd_ask models name) ;;
                esac
                ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _dreamd dreamd
complete -F _dreamd dreamctl
