#!/usr/bin/env bash
# The gearman command says that all is well when the server has refused its job.
#
# Seen with: gearman and gearmand 1.1.20 (Debian's gearman-tools and gearman-job-server).
# Needs: gearman, gearmand, gearadmin.
#
# Expected: a job that the server refuses (here its queue is full, by the text command maxqueue) ends the
#   command with another status than 0, as a job that fails does (WORK_FAIL: status 1).
# Happens: the refusal is printed, and the status is 0, in the foreground and with -b. A script that trusts
#   the status takes a job for done, or for kept, that nobody has.
#
# Output:
#   foreground: status 0, QUEUE_ERROR
#   background: status 0, QUEUE_ERROR
set -euo pipefail

command -v gearmand >/dev/null || PATH=$PATH:/usr/sbin
for program in gearmand gearman gearadmin; do
    command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 2; }
done
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
gearmand --listen 127.0.0.1 --port "$port" --log-file stderr --pid-file "$work/pid" >"$work/gearmand.log" 2>&1 &
server=$!
for _ in $(seq 50); do
    gearadmin --host 127.0.0.1 --port "$port" --server-version >/dev/null 2>&1 && break
    sleep 0.1
done

timeout 10 gearman -h 127.0.0.1 -p "$port" -b -f full first
# Only now: gearmand has a limit for functions that it knows.
printf 'maxqueue full 1\n' | timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port; cat >&3; head -n 1 <&3" >/dev/null

unexpected=0
for how in foreground background; do
    option=$([ "$how" = background ] && echo -b || true)
    status=0
    timeout 10 gearman -h 127.0.0.1 -p "$port" $option -f full second >"$work/out" 2>&1 || status=$?
    found=$(grep -o QUEUE_ERROR "$work/out" | head -n 1 || true)
    echo "$how: status $status, ${found:-no refusal}"
    [ "$status" = 0 ] && [ "$found" = QUEUE_ERROR ] || unexpected=1
done
exit "$unexpected"
