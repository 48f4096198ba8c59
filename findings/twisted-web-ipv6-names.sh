#!/usr/bin/env bash
# twisted.web: who comes by an IPv6 address is told a URL of the page that is none; and NameVirtualHost finds no such
# address, and no name that was given to it with a capital letter.
#
# Seen with: Twisted 26.10.0 (PyPI), CPython 3.11.7.
# Needs: python3 with venv, and the loopback address ::1.
#
# Expected: prePathURL() is, by its documentation, an absolute URL, and URLPath() an object that says which URL the request
#   is for: what was asked for, brackets and all (RFC 3986, 3.2.2). The host that was given to addHost() answers for
#   its name; in those, upper and lower case are the same (3.2.2 as well).
# Happens: getRequestHostname() gives the address without its brackets, and prePathURL() puts that before the port as it is.
#   A link or a redirect that is made of it leads nowhere, and URLPath() raises at it. NameVirtualHost takes the
#   header apart by itself, at the first colon, so any address is a "[" to it. It puts the header in lower case, and
#   not what addHost() was given. Twisted's client writes the header rightly.
#
# Output (and a port):
#   http://127.0.0.1:PORT/page: prePathURL() http://127.0.0.1:PORT/page, URLPath() http://127.0.0.1:PORT/page
#   http://[::1]:PORT/page: prePathURL() http://::1:PORT/page, URLPath() raises URLParseError
#   NameVirtualHost with "127.0.0.1": found
#   NameVirtualHost with "::1": not found
#   NameVirtualHost with "[::1]": not found
#   NameVirtualHost with "localhost": found
#   NameVirtualHost with "LocalHost": not found
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -c 'import socket; socket.create_server(("::1", 0), family=socket.AF_INET6).close()' 2>/dev/null ||
    { echo "there is no ::1" >&2; exit 2; }
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import sys
import warnings

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from twisted.web.client import Agent, readBody
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.vhost import NameVirtualHost

WANTED = """\
http://127.0.0.1:PORT/page: prePathURL() http://127.0.0.1:PORT/page, URLPath() http://127.0.0.1:PORT/page
http://[::1]:PORT/page: prePathURL() http://::1:PORT/page, URLPath() raises URLParseError
NameVirtualHost with "127.0.0.1": found
NameVirtualHost with "::1": not found
NameVirtualHost with "[::1]": not found
NameVirtualHost with "localhost": found
NameVirtualHost with "LocalHost": not found"""
# Each name for a host, and where a request is sent that has the same in its URL.
NAMES = (
    ("127.0.0.1", "127.0.0.1"),
    ("::1", "[::1]"),
    ("[::1]", "[::1]"),
    ("localhost", "localhost"),
    ("LocalHost", "LocalHost"),
)
# Of readBody, about a transport that has no abortConnection().
warnings.simplefilter("ignore", DeprecationWarning)


class Page(Resource):
    """Says which URL it is at."""

    isLeaf = True

    def render(self, request):
        try:
            path = str(request.URLPath())
        except Exception as error:
            path = f"raises {type(error).__name__}"
        return b"prePathURL() %s, URLPath() %s" % (request.prePathURL(), path.encode())


async def asked(reactor, resource, host):
    """The status and the body that are answered where a browser would be sent with this host in its URL."""
    root = Resource()
    root.putChild(b"page", resource)
    site = Site(root)
    site.noisy = False
    port = reactor.listenTCP(0, site, interface="::1" if host == "[::1]" else "127.0.0.1")
    number = port.getHost().port
    response = await Agent(reactor).request(b"GET", f"http://{host}:{number}/page".encode())
    body = (await readBody(response)).decode().replace(f":{number}/", ":PORT/")
    await port.stopListening()
    return response.code, body


async def main(reactor):
    for host in ("127.0.0.1", "[::1]"):
        _, said = await asked(reactor, Page(), host)
        lines.append(f"http://{host}:PORT/page: {said}")
    for name, host in NAMES:
        hosts = NameVirtualHost()
        hosts.isLeaf = True
        hosts.addHost(name.encode(), Page())
        code, _ = await asked(reactor, hosts, host)
        lines.append(f'NameVirtualHost with "{name}": {"found" if code == 200 else "not found"}')


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
