#!/usr/bin/env bash
# A worker of PyPI's gear does 22 jobs a second, whatever they are, for want of TCP_NODELAY.
#
# Seen with: gear 0.16.0 (PyPI), gearmand 1.1.20 (Debian's gearman-job-server), Python 3.11, Linux 6.
# Needs: python3 with venv, gearmand, Linux.
#
# Expected: jobs without work to do are done by the hundred in a second, on the loopback address.
# Happens: gear sends WORK_COMPLETE and GRAB_JOB_UNIQ in two writes, and leaves Nagle's algorithm on. The
#   system keeps the second back until the first is acknowledged; the server has no answer to the first,
#   so its system acknowledges it after 40 ms. With TCP_NODELAY set on gear's own socket, and nothing else
#   changed, the same worker is a hundred times as fast. The server makes no difference: Perl's does the
#   same. npm's gearman 2.1.0, node-gearman 0.2.2, gearmanode 0.9.2, gearman-node 2.0.13, PHP's Net_Gearman
#   and gearman-ruby send two writes, too.
#
# Output:
#   gear 0.16.0 as it is: 23 jobs/s
#   gear 0.16.0 with TCP_NODELAY: 4101 jobs/s
set -euo pipefail

command -v gearmand >/dev/null || PATH=$PATH:/usr/sbin
command -v gearmand >/dev/null || { echo "gearmand is not installed" >&2; exit 2; }
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet gear==0.16.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

port=$("$work/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
gearmand --listen 127.0.0.1 --port "$port" --log-file stderr --pid-file "$work/pid" >"$work/gearmand.log" 2>&1 &
server=$!

timeout 60 "$work/venv/bin/python" - "$port" <<'PYTHON'
import socket
import sys
import time

import gear

JOBS = 60


def rate(port, nodelay):
    """Jobs a second of one worker, from the tenth on."""
    client = gear.Client()
    client.addServer("127.0.0.1", port)
    client.waitForServer()
    for _ in range(JOBS):
        client.submitJob(gear.Job(b"nothing", b""), background=True)
    worker = gear.Worker("worker")
    worker.addServer("127.0.0.1", port)
    worker.waitForServer()
    if nodelay:
        worker.active_connections[0].conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    worker.registerFunction("nothing")
    for number in range(1, JOBS + 1):
        worker.getJob().sendWorkComplete()
        if number == 10:
            begun = time.monotonic()
    found = (JOBS - 10) / (time.monotonic() - begun)
    worker.shutdown()
    client.shutdown()
    return found


port = int(sys.argv[1])
for _ in range(100):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        break
    except OSError:
        time.sleep(0.1)
else:
    sys.exit(2)
slow, fast = rate(port, False), rate(port, True)
print(f"gear 0.16.0 as it is: {slow:.0f} jobs/s")
print(f"gear 0.16.0 with TCP_NODELAY: {fast:.0f} jobs/s")
sys.exit(0 if slow < 30 and fast > 10 * slow else 1)
PYTHON
