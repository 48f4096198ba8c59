#!/usr/bin/env bash
# Twisted's port forwarder (twisted.protocols.portforward): a client that ends its side after its question, as
# `printf 'question\n' | nc -N` does, gets no answer through it.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: a forwarder passes on that one side has ended, and the other side's bytes until that ends, too, as socat
#   and haproxy do. Here the server answers once it has seen the end of the question.
# Happens: its protocols do not ask for half-closes, so the transport takes the end of one side for the end of the
#   connection, and the forwarder closes both before the answer comes.
#
# Output:
#   directly: b'answer to question\n'
#   forwarded: b''
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import socket
import sys

from twisted.internet import reactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.protocols.portforward import ProxyFactory
from zope.interface import implementer


@implementer(IHalfCloseableProtocol)
class Answerer(Protocol):
    """Answers when the question has ended, a moment later, and then ends its own side."""

    question = b""

    def dataReceived(self, data):
        self.question += data

    def readConnectionLost(self):
        reactor.callLater(0.2, self.answer)

    def writeConnectionLost(self):
        pass

    def answer(self):
        self.transport.write(b"answer to " + self.question)
        self.transport.loseConnection()


def ask(port):
    """What comes back for a question, after which our side ends."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"question\n")
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while data := connection.recv(1000):
                answer += data
        except ConnectionResetError:
            pass
        return answer


server = reactor.listenTCP(0, Factory.forProtocol(Answerer), interface="127.0.0.1").getHost().port
forwarder = reactor.listenTCP(0, ProxyFactory("127.0.0.1", server), interface="127.0.0.1").getHost().port
found = []


def judge():
    found.extend([ask(server), ask(forwarder)])


deferToThread(judge).addBoth(lambda result: reactor.stop())
reactor.run()
print(f"directly: {found[0]}")
print(f"forwarded: {found[1]}")
sys.exit(0 if found == [b"answer to question\n", b""] else 1)
PYTHON
