#!/usr/bin/env bash
# twisted.web.static.File: who asks for the last thousand bytes of a shorter file gets an error of the server.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: "Range: bytes=-1000", which `curl -r -1000` sends to see the end of a log, is answered with the whole
#   file where that has less (RFC 9110, 14.1.2), as a range that ends behind the end is cut there as well.
# Happens: the range is taken to begin before the file does, which cannot be read: 500, with a Content-Range that
#   begins below zero, and a traceback in the server's log. So such a command works until the log is rotated.
#
# Output:
#   bytes=-10: 206, bytes 16-25/26
#   bytes=20-1000: 206, bytes 20-25/26
#   bytes=-26: 206, bytes 0-25/26
#   bytes=-1000: 500, bytes -974-25/26
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - "$work" <<'PYTHON'
import http.client
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.web.server import Site
from twisted.web.static import File

WANTED = {
    "bytes=-10": "206, bytes 16-25/26",
    "bytes=20-1000": "206, bytes 20-25/26",
    "bytes=-26": "206, bytes 0-25/26",
    "bytes=-1000": "500, bytes -974-25/26",
}

logs = Path(sys.argv[1], "logs")
logs.mkdir()
(logs / "today").write_text("abcdefghijklmnopqrstuvwxyz")
port = reactor.listenTCP(0, Site(File(str(logs))), interface="127.0.0.1").getHost().port
found = {}


def judge():
    for asked in WANTED:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/today", headers={"Range": asked})
        response = connection.getresponse()
        response.read()
        connection.close()
        found[asked] = f"{response.status}, {response.headers.get('Content-Range')}"


deferToThread(judge).addErrback(print).addBoth(lambda result: reactor.stop())
# It would print the traceback.
sys.stderr.close()
reactor.run()
for asked, answer in found.items():
    print(f"{asked}: {answer}")
sys.exit(0 if found == WANTED else 1)
PYTHON
