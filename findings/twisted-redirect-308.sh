#!/usr/bin/env bash
# Twisted's BrowserLikeRedirectAgent: a POST that is answered with 308, "send it again, there", becomes a GET without the
# body, and a HEAD becomes a GET.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: 308 keeps the method and the body (RFC 9110, 15.4.9), which is why there is one beside 301; it is what nginx's
#   ingress sends from http to https. Browsers and curl send the POST again. Where Twisted cannot, as the body's producer
#   may be used up, it fails, so that the caller may: so it does with 307, and RedirectAgent with 308. A HEAD
#   stays one at all redirects: it is there to learn of a file without having it.
# Happens: 308, which the agents have since 21.2.0, is in the list of 303, and not in that of 307; the docstring names 301, 302
#   and 303. What was to be sent is lost, and the caller is told 200, with the page that was there for a GET. HEAD
#   is changed as all methods are but GET, except at 307, and the whole file comes.
#
# Output:
#   RedirectAgent, POST, 307: fails, 307
#   RedirectAgent, POST, 308: fails, 308
#   RedirectAgent, HEAD, 308: 200, of HEAD, 0 bytes of the file
#   BrowserLikeRedirectAgent, POST, 307: fails, 307
#   BrowserLikeRedirectAgent, POST, 308: 200, of GET without what was posted
#   BrowserLikeRedirectAgent, HEAD, 308: 200, of GET, 100000 bytes of the file
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import io
import sys
import warnings

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from twisted.web.client import (
    Agent,
    BrowserLikeRedirectAgent,
    FileBodyProducer,
    RedirectAgent,
    ResponseFailed,
    readBody,
)
from twisted.web.resource import Resource
from twisted.web.server import Site

WANTED = """\
RedirectAgent, POST, 307: fails, 307
RedirectAgent, POST, 308: fails, 308
RedirectAgent, HEAD, 308: 200, of HEAD, 0 bytes of the file
BrowserLikeRedirectAgent, POST, 307: fails, 307
BrowserLikeRedirectAgent, POST, 308: 200, of GET without what was posted
BrowserLikeRedirectAgent, HEAD, 308: 200, of GET, 100000 bytes of the file"""
CASES = ((b"POST", 307), (b"POST", 308), (b"HEAD", 308))
# Of readBody, about a transport that has no abortConnection().
warnings.simplefilter("ignore", DeprecationWarning)


class Pages(Resource):
    """/307 and /308 lead to /page; there it is noted what has come."""

    isLeaf = True

    def render(self, request):
        if request.path != b"/page":
            request.redirect(b"/page")
            request.setResponseCode(int(request.path[1:]))
            return b""
        self.came = request.method.decode(), request.content.read()
        return b"x" * 100_000


async def tried(kind, method, address, pages):
    body = FileBodyProducer(io.BytesIO(b"posted")) if method == b"POST" else None
    try:
        response = await kind(Agent(reactor)).request(method, address, None, body)
    except ResponseFailed as error:
        return f"fails, {error.response.code}"
    size = len(await readBody(response))
    came, posted = pages.came
    if method == b"HEAD":
        return f"{response.code}, of {came}, {size} bytes of the file"
    return f"{response.code}, of {came} with{'' if posted == b'posted' else 'out'} what was posted"


async def main(reactor):
    pages = Pages()
    site = Site(pages)
    site.noisy = False
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    for kind in (RedirectAgent, BrowserLikeRedirectAgent):
        for method, code in CASES:
            address = b"http://127.0.0.1:%d/%d" % (port.getHost().port, code)
            said = await tried(kind, method, address, pages)
            lines.append(f"{kind.__name__}, {method.decode()}, {code}: {said}")


from twisted.internet import reactor

lines = []
try:
    react(lambda reactor: ensureDeferred(main(reactor)))
except SystemExit as end:
    if end.code:
        raise
found = "\n".join(lines)
print(found)
sys.exit(0 if found == WANTED else 1)
PYTHON
