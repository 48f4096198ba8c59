#!/usr/bin/env bash
# Twisted behind HAProxy: whoever comes to HAProxy over a Unix socket is hung up on by the endpoint `haproxy:` if the
# header is of version 1; and of version 2 an IPv6 address is not written as all others are.
#
# Seen with: Twisted 26.10.0 (PyPI), Python 3.11, HAProxy 2.6.12 (Debian's haproxy 2.6.12-1+deb12u4).
# Needs: haproxy, python3 with venv, IPv6 on the loopback interface.
#
# Expected: with `send-proxy` and `send-proxy-v2` clients are served, and getPeer() is the same of the same client. "PROXY
#   UNKNOWN" and the end of the line is a whole header, as what would follow may be left out, and tells the receiver to go
#   by the real addresses (proxy-protocol.txt, 2.1); so Twisted does if addresses follow that are not to be read.
# Happens: HAProxy sends just that for a client of which it has no address of the internet. Twisted looks for a blank after
#   the word, finds the line at its end, and takes that for a broken header: it closes without a word in the log, and HAProxy's
#   check of the server, which has addresses, goes on saying that all is well. An address in binary, of version 2, is written
#   with all its zeros: it is neither equal to the one that TCP or version 1 gives, nor found in a list of addresses.
#
# Output:
#   send-proxy, over IPv6: ::1
#   send-proxy, over a Unix socket: closed
#   send-proxy-v2, over IPv6: 0:0:0:0:0:0:0:1
#   send-proxy-v2, over a Unix socket: 127.0.0.1
set -euo pipefail

command -v haproxy >/dev/null || { echo "haproxy is not installed" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet Twisted==26.10.0 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

cd "$work"
timeout 60 "$work/venv/bin/python" - <<'PYTHON'
import os
import socket
import subprocess
import sys
import time

from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

WANTED = """\
send-proxy, over IPv6: ::1
send-proxy, over a Unix socket: closed
send-proxy-v2, over IPv6: 0:0:0:0:0:0:0:1
send-proxy-v2, over a Unix socket: 127.0.0.1"""
KINDS = ("send-proxy", "send-proxy-v2")


class Who(Protocol):
    """Says to whoever asks who that is."""

    def dataReceived(self, data):
        self.transport.write(self.transport.getPeer().host.encode())
        self.transport.loseConnection()


def free_port():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        return listener.getsockname()[1]


def ask(family, address):
    """What comes until the end of the connection."""
    with socket.socket(family) as client:
        client.settimeout(10)
        for _ in range(100):
            try:
                client.connect(address)
                break
            except OSError:
                time.sleep(0.05)
        client.sendall(b"who?")
        answer = b""
        while data := client.recv(100):
            answer += data
    return answer.decode() or "closed"


def asked(served):
    ports = {kind: free_port() for kind in KINDS}
    with open("haproxy.cfg", "w") as file:
        file.write("defaults\n mode tcp\n timeout connect 10s\n timeout client 10s\n timeout server 10s\n")
        for kind, port in ports.items():
            file.write(f"listen {kind}\n bind ::1:{port}\n bind unix@{os.getcwd()}/{kind}\n")
            file.write(f" server twisted 127.0.0.1:{served} {kind} check\n")
    with open("haproxy.log", "w") as log:
        proxy = subprocess.Popen(["haproxy", "-db", "-f", "haproxy.cfg"], stdout=log, stderr=log)
    try:
        lines = []
        for kind, port in ports.items():
            lines.append(f"{kind}, over IPv6: {ask(socket.AF_INET6, ('::1', port))}")
            lines.append(f"{kind}, over a Unix socket: {ask(socket.AF_UNIX, kind)}")
        return "\n".join(lines)
    finally:
        proxy.terminate()
        proxy.wait()


async def main(reactor):
    factory = Factory.forProtocol(Who)
    factory.noisy = False
    port = await serverFromString(reactor, "haproxy:tcp:0:interface=127.0.0.1").listen(factory)
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
