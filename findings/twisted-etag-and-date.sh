#!/usr/bin/env bash
# twisted.web: a page that has a tag and a date is "not modified" though its tag is another one: who has seen a newer
# version does not see that it was taken back.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: browsers send both, If-None-Match and If-Modified-Since, of a page that had both. The date is ignored then
#   (RFC 9110, 13.1.3), as it has seconds only, and says nothing of a file that was put back from before. A resource calls
#   Request.setETag() and setLastModified(), which know the request, and end with no body where one says CACHED.
# Happens: each looks at its own header only, and sets the status to 304. Where the page is older than the copy, or of
#   the same second, setLastModified() says CACHED, in either order, whatever the tags: the browser shows its
#   copy of what was taken back until something newer comes, and reloading changes nothing. A resource that has a tag must
#   not call setLastModified(), but set the header by itself.
#
# Output:
#   tag alone, the copy is another: 200
#   tag and date, the copy is this one: 304
#   tag and date, the copy is another and older: 200
#   tag and date, the copy is another and newer: 304
#   date and tag, the copy is another and newer: 304
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import sys
from http.client import HTTPConnection

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from twisted.web.http import CACHED, datetimeToString
from twisted.web.resource import Resource
from twisted.web.server import Site

WANTED = """\
tag alone, the copy is another: 200
tag and date, the copy is this one: 304
tag and date, the copy is another and older: 200
tag and date, the copy is another and newer: 304
date and tag, the copy is another and newer: 304"""
DATE = 1_700_000_000


class Page(Resource):
    """Its tag is "this"; what else is said of it, and in which order, is in the path."""

    isLeaf = True

    def render_GET(self, request):
        for word in request.path[1:].split(b"-"):
            said = request.setETag(b'"this"') if word == b"tag" else request.setLastModified(DATE)
            if said is CACHED:
                return b""
        return b"a page"


def status(port, path, tag, date):
    headers = {"If-None-Match": f'"{tag}"'}
    if date:
        headers["If-Modified-Since"] = datetimeToString(date).decode()
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def asked(port):
    return "\n".join(
        [
            f"tag alone, the copy is another: {status(port, '/tag', 'another', None)}",
            f"tag and date, the copy is this one: {status(port, '/tag-date', 'this', DATE)}",
            f"tag and date, the copy is another and older: {status(port, '/tag-date', 'another', DATE - 60)}",
            f"tag and date, the copy is another and newer: {status(port, '/tag-date', 'another', DATE + 60)}",
            f"date and tag, the copy is another and newer: {status(port, '/date-tag', 'another', DATE + 60)}",
        ]
    )


async def main(reactor):
    site = Site(Page())
    site.noisy = False
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    found.append(await deferToThread(asked, port.getHost().port))


found = []
try:
    react(lambda reactor: ensureDeferred(main(reactor)))
except SystemExit as end:
    if end.code:
        raise
print(found[0])
sys.exit(0 if found[0] == WANTED else 1)
PYTHON
