#!/usr/bin/env bash
# Twisted's client endpoint string `tls:host:port:certificate=FILE:privateKey=FILE`: of a file that holds a certificate
# and the intermediate one that signed it, only the first is shown to the server.
#
# Seen with: Twisted 26.10.0, trustme 1.2.1 (PyPI), Python 3.11.
# Needs: python3 with venv.
#
# Expected: the whole chain is shown, as by OpenSSL's s_client with -cert_chain, by Python's load_cert_chain, and by
#   Twisted's own server endpoint `tls:FOLDER`. A server that trusts the root takes it then. That is how most
#   authorities hand certificates out.
# Happens: the server sees no intermediate certificate, and refuses. No word of the string can add it.
#
# Output:
#   Python's ssl with this file: taken
#   Twisted's tls: endpoint with this file: refused
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet 'Twisted[tls]==26.10.0' trustme==1.2.1 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

cd "$work"
timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import os
import socket
import ssl
import sys
import threading

import trustme
from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.protocol import Protocol

root = trustme.CA()
me = root.create_child_ca().issue_cert("me.example")
me.private_key_pem.write_to_path("me.key")
me.cert_chain_pems[0].write_to_path("me.pem")
for link in me.cert_chain_pems[1:]:
    link.write_to_path("me.pem", append=True)
os.mkdir("roots")
root.cert_pem.write_to_path("roots/root.pem")

wants = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
root.issue_cert("localhost").configure_cert(wants)
wants.load_verify_locations("roots/root.pem")
wants.verify_mode = ssl.CERT_REQUIRED
listening = socket.create_server(("127.0.0.1", 0))
listening.settimeout(20)
port = listening.getsockname()[1]
verdicts = []


def serve():
    """Two clients come, one after the other."""
    for _ in range(2):
        connection, _ = listening.accept()
        connection.settimeout(10)
        try:
            with wants.wrap_socket(connection, server_side=True):
                verdicts.append("taken")
        except ssl.SSLError:
            verdicts.append("refused")


server = threading.Thread(target=serve, daemon=True)
server.start()

trusts = ssl.create_default_context(cafile="roots/root.pem")
trusts.load_cert_chain("me.pem", "me.key")
with trusts.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="localhost") as mine:
    mine.recv(1)

ended = []


class Client(Protocol):
    def connectionLost(self, reason):
        ended.append(reason)
        reactor.stop()


text = f"tls:localhost:{port}:certificate=me.pem:privateKey=me.key:trustRoots=roots"
text += f":endpoint=tcp\\:127.0.0.1\\:{port}"
connectProtocol(clientFromString(reactor, text), Client())
reactor.callLater(20, reactor.stop)
reactor.run()
server.join(10)
names = ["Python's ssl with this file", "Twisted's tls: endpoint with this file"]
for name, verdict in zip(names, verdicts):
    print(f"{name}: {verdict}")
sys.exit(0 if verdicts == ["taken", "refused"] else 1)
PYTHON
