#!/usr/bin/env bash
# Twisted's TLS: a connection that ends without TLS's own end stays in memory until the cyclic garbage collector finds
# it, with all that OpenSSL has for it.
#
# Seen with: Twisted 26.10.0, pyOpenSSL 26.4.0, cryptography 50.0.2 (PyPI), Python 3.11.
# Needs: python3 with venv, openssl.
#
# Expected: when a connection is over and nobody refers to its protocol any more, its memory is free at once, as after
#   an orderly end, and as with plain TCP.
# Happens: on the end of TCP, twisted.protocols.tls finds by an exception of pyOpenSSL that the end was not orderly. It
#   makes a Failure of that, in a local variable of a frame that the Failure's traceback refers to. So both refer to
#   each other, and the frames to the TLS protocol and to OpenSSL's connection. Most programs end TCP just like that.
#   Where the collector's thresholds were raised, or connections are old enough to be in its last generation, that
#   is some 50 KB for each of them for a long time.
#
# Output:
#   after 100 orderly ends: 0 of OpenSSL's connections are left
#   after 100 abrupt ends: 100 of OpenSSL's connections are left
#   and after a collection: 0
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet 'Twisted[tls]==26.10.0' pyOpenSSL==26.4.0 \
    cryptography==50.0.2 >"$work/pip.log" 2>&1 || { cat "$work/pip.log" >&2; exit 2; }
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 -subj /CN=localhost \
    >"$work/openssl.log" 2>&1 || { cat "$work/openssl.log" >&2; exit 2; }

cd "$work"
timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import gc
import socket
import ssl
import sys

from OpenSSL.SSL import Connection
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

MANY = 100


class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


def use(port, orderly):
    """Connect, get an echo, and end; all of them one after the other."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for _ in range(MANY):
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            tls = context.wrap_socket(plain)
            tls.sendall(b"x")
            assert tls.recv(1) == b"x"
            if orderly:
                plain = tls.unwrap()
            tls.close()


def left():
    return sum(type(each) is Connection for each in gc.get_objects())


async def main():
    factory = Factory.forProtocol(Echo)
    factory.noisy = False
    files = DefaultOpenSSLContextFactory("key.pem", "cert.pem")
    port = reactor.listenSSL(0, factory, files, interface="127.0.0.1")
    counts = []
    for orderly in (True, False):
        gc.collect()
        gc.disable()
        await deferToThread(use, port.getHost().port, orderly)
        await deferLater(reactor, 1.0)
        counts.append(left())
        print(f"after {MANY} {'orderly' if orderly else 'abrupt'} ends: {counts[-1]} of OpenSSL's connections are left")
    gc.collect()
    counts.append(left())
    print(f"and after a collection: {counts[-1]}")
    return counts


outcome = []


def done(result):
    outcome.append(result)
    reactor.stop()


from twisted.internet.defer import Deferred

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()).addBoth(done))
reactor.run()
sys.exit(0 if outcome == [[0, MANY, 0]] else 1)
PYTHON
