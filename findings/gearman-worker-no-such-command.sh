#!/usr/bin/env bash
# A gearman worker whose command is not there says that its jobs are done, and doubles with each of them.
#
# Seen with: gearman and gearmand 1.1.20 (Debian's gearman-tools and gearman-job-server).
# Needs: gearman, gearmand, gearadmin, pgrep.
#
# Expected: a job whose command cannot be started fails, as one whose command ends with an error does; the
#   worker goes on as the one process that it is, and says why.
# Happens: the client gets an empty result and the status 0, and nobody says anything. The process that should
#   have become the command goes on as another worker, on the same connection, so each job adds one.
#
# Output:
#   before: 1 worker
#   client: status 0, 0 bytes
#   after: 2 workers, which have said 0 bytes
set -euo pipefail

command -v gearmand >/dev/null || PATH=$PATH:/usr/sbin
for program in gearmand gearman gearadmin pgrep; do
    command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 2; }
done
work=$(mktemp -d)
server=
worker=
end() {
    if [ -n "$worker" ]; then
        # Its children first: they are workers as it is.
        for process in $(pgrep -P "$worker" || true) "$worker"; do kill -KILL "$process" 2>/dev/null || true; done
        wait "$worker" 2>/dev/null || true
    fi
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
gearmand --listen 127.0.0.1 --port "$port" --log-file stderr --pid-file "$work/pid" >"$work/gearmand.log" 2>&1 &
server=$!
for _ in $(seq 50); do
    gearadmin --host 127.0.0.1 --port "$port" --server-version >/dev/null 2>&1 && break
    sleep 0.1
done

gearman -w -h 127.0.0.1 -p "$port" -f f /nonexistent/command >"$work/said" 2>&1 </dev/null &
worker=$!
for _ in $(seq 50); do
    gearadmin --host 127.0.0.1 --port "$port" --status | grep -q '^f.*1$' && break
    sleep 0.1
done
echo "before: $((1 + $(pgrep -cP "$worker" || true))) worker"
status=0
timeout 10 gearman -h 127.0.0.1 -p "$port" -f f data >"$work/result" || status=$?
echo "client: status $status, $(wc -c <"$work/result") bytes"
sleep 0.5
processes=$((1 + $(pgrep -cP "$worker" || true)))
echo "after: $processes workers, which have said $(wc -c <"$work/said") bytes"
if [ "$status" = 0 ] && [ "$processes" = 2 ]; then
    exit 0
fi
exit 1
