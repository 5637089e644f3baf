#!/usr/bin/env bash
# make check-fresh: on a Debian that holds nothing but make and ca-certificates, one command makes
# a daemon with a trained model, and an agent in another process swings up a real pendulum.
# Prints the agent's JSON and the seconds of each part. Needs root (mmdebstrap, chroot).
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d /var/tmp/dreamd-fresh.XXXXXX)
root=$folder/root
daemon=""
finish() {
    status=$?
    if [ -n "$daemon" ] && kill -0 "$daemon" 2> /dev/null; then
        kill -TERM -- "-$daemon" 2> /dev/null || true
        wait "$daemon" 2> /dev/null || true
    fi
    if [ $status -ne 0 ] && [ -f "$folder/run.log" ]; then tail -n 30 "$folder/run.log" >&2; fi
    umount "$root/proc" 2> /dev/null || true
    rm -rf --one-file-system "$folder"
    exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

since() { echo $(($(date +%s) - $1)); }
inside() { chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

started=$(date +%s)
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
sources=/etc/apt/sources.list
[ ! -f /etc/apt/sources.list.d/debian.sources ] || sources=/etc/apt/sources.list.d/debian.sources
mmdebstrap --quiet --variant=minbase --include=make,ca-certificates "$release" "$root" "$sources"
# How this machine reaches its packages is this machine's affair: the chroot gets the same.
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp -r /etc/apt/apt.conf.d /etc/apt/auth.conf.d "$root/etc/apt/" 2> /dev/null || true
mount -t proc proc "$root/proc" || echo "fresh: no /proc inside; going on without"
mkdir "$root/dreamd"
git archive HEAD | tar -x -C "$root/dreamd"
echo "fresh: chroot with $(inside dpkg-query -W | wc -l) packages in $(since "$started") s"

started=$(date +%s)
setsid chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    make -C /dreamd run > "$folder/run.log" 2>&1 < /dev/null &
daemon=$!
until inside /dreamd/build/dreamctl models list --timeout 1 > /dev/null 2>&1; do
    kill -0 "$daemon" 2> /dev/null || { echo "fresh: make run ended before the daemon was ready" >&2; exit 1; }
    [ "$(since "$started")" -lt 600 ] || { echo "fresh: not ready after 600 s" >&2; exit 1; }
    sleep 1
done
echo "fresh: make run was ready after $(since "$started") s"

started=$(date +%s)
inside timeout 300 /dreamd/build/dreamctl agent --model pendulum --env pendulum --act plan \
    --episodes 20 --seed 0 --json > "$folder/agent.json"
cat "$folder/agent.json"
echo "fresh: 20 episodes in $(since "$started") s"
python3 - "$folder/agent.json" << 'CHECK'
import json, sys
answer = json.load(open(sys.argv[1]))
missing = {"mean_return", "episodes", "env_steps", "plan_ms_p50", "plan_ms_p99"} - answer.keys()
assert not missing, f"the agent's JSON lacks {missing}"
assert answer["episodes"] == 20 and answer["env_steps"] == 4000, answer
assert answer["mean_return"] >= -250, f"mean_return {answer['mean_return']}, expected at least -250"
CHECK
# The daemon alone, not make around it, which would call any signal an error.
kill -TERM "$(pgrep --session "$daemon" --exact dreamd)"
wait "$daemon" || { echo "fresh: the daemon did not end cleanly" >&2; exit 1; }
daemon=""
echo "check-fresh: 1 passed, 0 failed"
