#!/usr/bin/env bash
# twistd as a daemon, started with its standard input closed, does not start: the reactor loses its epoll.
#
# The service is Twisted's own, twistd web.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11, Linux.
# Needs: python3 with venv, Linux.
#
# Expected: a daemon needs no standard input: cron jobs, init scripts and other daemons start programs with
#   it closed. twistd itself opens /dev/null in its place.
# Happens: the reactor is made before the process becomes a daemon, and its epoll gets the lowest free number,
#   which is 0. Then /dev/null is opened and copied over 0, 1 and 2, the epoll with it, and the first
#   registration fails. In the foreground (-n), and with any standard input, the same service starts.
#
# Output:
#   -n, closed: serves
#   daemon, open: serves
#   daemon, closed: status 1, OSError: [Errno 22] Invalid argument
set -euo pipefail

work=$(mktemp -d)
end() {
    [ ! -s "$work/pid" ] || kill "$(cat "$work/pid")" 2>/dev/null || true
}
trap 'end; rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }
cd "$work"
mkdir www

# What came of a start.
outcome() {
    [ "$status" = 0 ] || { echo "status $status, $(grep -ho 'OSError: .*' log | tail -n 1)"; return; }
    for _ in $(seq 50); do
        grep -q 'Site starting' log 2>/dev/null && { echo serves; return; }
        sleep 0.1
    done
    echo 'nothing, after five seconds'
}

twistd() {
    rm -f pid log
    timeout 30 venv/bin/twistd --pidfile=pid --logfile=log "$@" web --listen=tcp:0:interface=127.0.0.1 --path=www
}

status=0
twistd -n <&- & foreground=$!
first=$(outcome)
end
wait "$foreground" || true
status=0
twistd </dev/null || status=$?
second=$(outcome)
end
sleep 1
status=0
twistd <&- >out 2>&1 || status=$?
third=$(outcome)
echo "-n, closed: $first"
echo "daemon, open: $second"
echo "daemon, closed: $third"
[ "$first" = serves ] && [ "$second" = serves ] && [[ $third == "status 1, OSError: [Errno 22]"* ]]
