#!/usr/bin/env bash
# twisted.web takes lists in headers apart at blanks: If-None-Match with two tags, or with one that a proxy has made
# weak, is answered in full, and "gzip;q=1.0" is not compressed.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: Request.setETag() says CACHED where the tag is one of those of If-None-Match, as its docstring has it. They
#   are parted by commas, with or without blanks, and compared weakly (RFC 9110, 13.1.2), so W/"one" is "one".
#   GzipEncoderFactory compresses for those who accept gzip, whatever they prefer, and for no others.
# Happens: the header is split at blanks only, and the commas stay with the tags: just the last of a list is found, and
#   none if there are no blanks. A weak tag is never found, and that is what browsers send back when a proxy
#   like nginx has compressed the answer in between: no copy of theirs is ever good enough. gzip is looked for between
#   commas and blanks, in small letters, without parameters: it is missed where a weight follows at once, and where a
#   blank is before the weight, it is found though the weight is 0.
#
# Output:
#   If-None-Match: "one"            304
#   If-None-Match: "one", "two"     200
#   If-None-Match: "two", "one"     304
#   If-None-Match: "two","one"      200
#   If-None-Match: W/"one"          200
#   Accept-Encoding: gzip           gzip
#   Accept-Encoding: gzip;q=1.0     plain
#   Accept-Encoding: GZIP           plain
#   Accept-Encoding: br, gzip ;q=0  gzip
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import http.client
import sys

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.web.resource import EncodingResourceWrapper, Resource
from twisted.web.server import GzipEncoderFactory, Site

WANTED = [
    ("If-None-Match", '"one"', "304"),
    ("If-None-Match", '"one", "two"', "200"),
    ("If-None-Match", '"two", "one"', "304"),
    ("If-None-Match", '"two","one"', "200"),
    ("If-None-Match", 'W/"one"', "200"),
    ("Accept-Encoding", "gzip", "gzip"),
    ("Accept-Encoding", "gzip;q=1.0", "plain"),
    ("Accept-Encoding", "GZIP", "plain"),
    ("Accept-Encoding", "br, gzip ;q=0", "gzip"),
]


class Page(Resource):
    isLeaf = True

    def render_GET(self, request):
        request.setHeader(b"Content-Type", b"text/plain")
        return b"" if request.setETag(b'"one"') else b"words" * 500


def ask(port, header, value):
    """The status, or whether the body is compressed, whichever the header is about."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    # http.client says what it accepts itself, if it is let.
    connection.putrequest("GET", "/", skip_accept_encoding=True)
    connection.putheader(header, value)
    connection.endheaders()
    response = connection.getresponse()
    response.read()
    connection.close()
    if header == "If-None-Match":
        return str(response.status)
    return response.headers.get("Content-Encoding", "plain")


site = Site(EncodingResourceWrapper(Page(), [GzipEncoderFactory()]))
port = reactor.listenTCP(0, site, interface="127.0.0.1").getHost().port
found = []


def judge():
    for header, value, _ in WANTED:
        found.append((header, value, ask(port, header, value)))


deferToThread(judge).addErrback(print).addBoth(lambda result: reactor.stop())
reactor.run()
for header, value, outcome in found:
    print(f"{f'{header}: {value}':<32}{outcome}")
sys.exit(0 if found == WANTED else 1)
PYTHON
