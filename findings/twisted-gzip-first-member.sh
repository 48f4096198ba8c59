#!/usr/bin/env bash
# Twisted's web client: of a compressed answer that is made of several gzip members, the first is all that one gets.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: ContentDecoderAgent with GzipDecoder gives the body as it was before it was compressed. Such a body may be
#   several gzip members one after the other (RFC 1952, 2.2), as `cat one.gz two.gz` makes of rotated logs; gzip and
#   Python's gzip module read them all.
# Happens: zlib's decompressor ends with the first member, and what comes then is thrown away. The Deferred of the
#   body fires as if that were all: nothing tells it from the whole. Likewise nothing is decompressed, and nothing said,
#   if the server calls it "GZIP" or "x-gzip", which are names of the same (RFC 9110, 8.4.1).
#
# Output:
#   gzip, one member: b'Monday and Tuesday'
#   gzip, two members: b'Monday and '
#   GZIP, one member: compressed
#   x-gzip, one member: compressed
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" -W ignore - <<'PYTHON'
import gzip
import sys

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from twisted.web.client import Agent, ContentDecoderAgent, GzipDecoder, readBody
from twisted.web.resource import Resource
from twisted.web.server import Site

ONE = gzip.compress(b"Monday and Tuesday")
TWO = gzip.compress(b"Monday and ") + gzip.compress(b"Tuesday")
WANTED = {
    "gzip, one member": "b'Monday and Tuesday'",
    "gzip, two members": "b'Monday and '",
    "GZIP, one member": "compressed",
    "x-gzip, one member": "compressed",
}


class Page(Resource):
    isLeaf = True

    def __init__(self, name):
        super().__init__()
        self.name = name

    def render_GET(self, request):
        coding, members = self.name.split(", ")
        request.setHeader(b"Content-Encoding", coding.encode())
        return ONE if members == "one member" else TWO


if gzip.decompress(ONE) != gzip.decompress(TWO):
    sys.exit(2)
found = {}


async def judge(reactor):
    agent = ContentDecoderAgent(Agent(reactor), [(b"gzip", GzipDecoder)])
    for name in WANTED:
        port = reactor.listenTCP(0, Site(Page(name)), interface="127.0.0.1")
        body = await readBody(await agent.request(b"GET", b"http://127.0.0.1:%d/" % port.getHost().port))
        found[name] = "compressed" if body == ONE else repr(body)
        await port.stopListening()


try:
    react(lambda reactor: ensureDeferred(judge(reactor)))
except SystemExit as end:
    if end.code:
        raise
for name, body in found.items():
    print(f"{name}: {body}")
sys.exit(0 if found == WANTED else 1)
PYTHON
