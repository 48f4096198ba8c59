#!/usr/bin/env bash
# Twisted's systemd: endpoint takes one socket of a unit, and nobody ever accepts on the others.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11; systemd 252 names the sockets in this way.
# Needs: python3 with venv.
#
# Expected: a .socket unit with two ListenStream= lines, as for 127.0.0.1 and [::1], passes two sockets of one name
#   (FileDescriptorName=, by default the unit's). "systemd:domain=INET:name=NAME" listens on both, or says that
#   there are two.
# Happens: Twisted puts the names into a dict, and the last socket of a name wins. Connections to the other one are
#   made, as systemd listens there, and wait for ever.
#
# Output:
#   passed: 2 sockets of the name gear
#   by name: 1 socket, the last
#   asked at the first: no answer
#   asked at the last: hello
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

cat >"$work/server.py" <<'PYTHON'
import sys

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol


class Hello(Protocol):
    def connectionMade(self):
        self.transport.write(b"hello")


serverFromString(reactor, "systemd:domain=INET:name=gear").listen(Factory.forProtocol(Hello))
reactor.callLater(20, reactor.stop)
reactor.run()
PYTHON

# What systemd does: sockets from 3 on, and three variables.
timeout 60 "$work/venv/bin/python" - "$work/server.py" <<'PYTHON'
import os
import socket
import sys

from twisted.python.systemd import ListenFDs

listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
ports = [each.getsockname()[1] for each in listening]
names = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "gear:gear"}
passed = ListenFDs.fromEnvironment(dict(names))
by_name = passed.inheritedNamedDescriptors()
print(f"passed: {len(passed.inheritedDescriptors())} sockets of the name gear")
last = by_name["gear"] == passed.inheritedDescriptors()[-1]
print(f"by name: {len(by_name)} socket, the {'last' if last else 'first'}")

child = os.fork()
if not child:
    os.dup2(listening[0].fileno(), 50)
    os.dup2(listening[1].fileno(), 51)
    os.dup2(50, 3)
    os.dup2(51, 4)
    os.environ.update(names, LISTEN_PID=str(os.getpid()))
    os.execv(sys.executable, [sys.executable, sys.argv[1]])


def ask(port, patience):
    with socket.create_connection(("127.0.0.1", port), 5) as peer:
        peer.settimeout(patience)
        try:
            return peer.recv(10).decode() or "the end"
        except TimeoutError:
            return "no answer"


# The last one first: when it answers, the server is there.
second = ask(ports[1], 15)
first = ask(ports[0], 3)
print(f"asked at the first: {first}")
print(f"asked at the last: {second}")
os.kill(child, 9)
os.waitpid(child, 0)
sys.exit(0 if (first, second, len(by_name)) == ("no answer", "hello", 1) else 1)
PYTHON
