#!/usr/bin/env bash
# Twisted removes the file of a Unix socket that it has only adopted, and whoever passed the socket listens in vain.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: a socket that was passed to the process, by systemd or by a parent, is its owner's: when the port is
#   closed, the owner goes on listening, and the next process is passed it again. So it is with TCP, where Twisted
#   does not even shut the socket down.
# Happens: a Unix socket's file is removed when the port is closed. The owner's socket listens still, without a name:
#   after a restart of the service nobody can connect.
#
# Output:
#   tcp: after the port is closed, the owner's socket takes connections
#   unix: after the port is closed, there is no file
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - "$work/socket" <<'PYTHON'
import socket
import sys

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol


def connects(family, address):
    with socket.socket(family) as peer:
        peer.settimeout(5)
        try:
            peer.connect(address)
        except FileNotFoundError:
            return "there is no file"
        except OSError as error:
            return error.strerror
        return "the owner's socket takes connections"


found = {}


@inlineCallbacks
def main():
    for name, family, address in (
        ("tcp", socket.AF_INET, ("127.0.0.1", 0)),
        ("unix", socket.AF_UNIX, sys.argv[1]),
    ):
        owned = socket.socket(family)
        owned.bind(address)
        owned.listen()
        endpoint = AdoptedStreamServerEndpoint(reactor, owned.dup().detach(), family)
        port = yield endpoint.listen(Factory.forProtocol(Protocol))
        yield port.stopListening()
        found[name] = connects(family, owned.getsockname())
        print(f"{name}: after the port is closed, {found[name]}")
        owned.close()
    reactor.stop()


reactor.callWhenRunning(main)
reactor.run()
expected = {"tcp": "the owner's socket takes connections", "unix": "there is no file"}
sys.exit(0 if found == expected else 1)
PYTHON
