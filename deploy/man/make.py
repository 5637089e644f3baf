"""Makes the manual pages dreamd.1 and dreamctl.1 out of what the programs say with --help.

    python3 deploy/man/make.py build build/man

So an option is described once, in the program's own table, and a page cannot fall behind it.
"""

import pathlib
import re
import subprocess
import sys

NAMES = {
    "dreamd": "host trained world models and answer gRPC",
    "dreamctl": "client of dreamd, the daemon that hosts trained world models",
}
EXIT_CODES = {"0": "done", "1": "failed; the message says what, where, and what would be right", "2": "wrong usage"}
FILES = {
    "dreamd": {"./var": "the data folder, unless --data says otherwise: catalogue (SQLite) and checkpoints",
               "/etc/dreamd.conf": "where the service unit looks for options (INI), with --config"},
    "dreamctl": {},
}
ENVIRONMENT = {
    "dreamd": {"DREAMD_<OPTION>": "each option is also a variable: --data as DREAMD_DATA; a flag comes before it",
               "DREAMD_ISA": "plain or avx2: which kernels compute; otherwise the fastest that the machine has"},
    "dreamctl": {"DREAMD_ADDRESS": "host:port of the daemon, where --address does not say"},
}


def ask(program, *words):
    """The text that a command prints for --help, in a terminal of 80 columns."""
    return subprocess.run([program, *words, "--help"], check=True, capture_output=True, text=True).stdout


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def commands_of(text):
    """Names in the list of commands: lines `  name   what it does`."""
    block = text.split("commands (", 1)[-1] if "commands (" in text else text
    return re.findall(r"^  ([a-z]+) {2,}\S", block, re.M)


def as_is(text):
    """Examples and columns keep their form."""
    return [".nf", *(escape(line) for line in text.rstrip().split("\n")), ".fi"] if text.strip() else []


def options_of(text):
    """(what stands before the options, [(option, what it means)], what stands behind them)."""
    before, options, behind = [], [], []
    for line in text.split("\n"):
        found = re.match(r"^  (--\S+(?: [A-Z]\S*)?(?: \.\.\.)?) {2,}(\S.*)$", line)
        if found:
            options.append(found.groups())
        elif line.strip() != "options:":
            (behind if options else before).append(line)
    return "\n".join(before).strip("\n"), options, "\n".join(behind).strip("\n")


def section_of_command(program, command):
    before, options, behind = options_of(ask(program, command))
    lines = [f'.SS "{program.name} {command}"', *as_is(before)]
    for option, meaning in options:
        lines += [".TP", f".B {escape(option)}", escape(meaning)]
    return lines + ([".PP", *as_is(behind)] if behind else [])


def table(title, rows):
    lines = [f".SH {title}"] if rows else []
    for name, meaning in rows.items():
        lines += [".TP", f".B {escape(name)}", escape(meaning)]
    return lines


def page(program):
    name = program.name
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    overview = ask(program)
    lines = [
        f'.TH {name.upper()} 1 "" "dreamd {version}" "dreamd"',
        ".SH NAME", f"{name} \\- {escape(NAMES[name])}",
        ".SH SYNOPSIS", f".B {name}", ".I COMMAND", "[options]", ".br", f".B {name}", ".I COMMAND", ".B \\-\\-help",
        ".SH DESCRIPTION", *as_is(overview),
        ".SH COMMANDS",
    ]
    for command in commands_of(overview):
        lines += section_of_command(program, command)
    lines += table("EXIT STATUS", EXIT_CODES) + table("ENVIRONMENT", ENVIRONMENT[name]) + table("FILES", FILES[name])
    lines += [".SH SEE ALSO", *(f".BR {other} (1)" for other in NAMES if other != name)]
    return "\n".join(lines) + "\n"


def main(build, out):
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (folder / f"{name}.1").write_text(page(pathlib.Path(build).resolve() / name))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: make.py BUILD_FOLDER OUT_FOLDER")
    main(*sys.argv[1:])
