"""
For TLS: certificates in files, and clients in memory. These are Python's own, so that the server's TLS is
held against another one.
"""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.testing import StringTransport

from txgear.security.tlsfiles import TlsFiles

if TYPE_CHECKING:
    from trustme import CA

PAST = datetime(2020, 1, 1)  # trustme wants it so
UNTIL = datetime(3000, 1, 1)
"""How long certificates are valid by default; versions of trustme differ."""


class CertificateFolder:
    """
    A folder with the files of a server's TLS, and certificates for clients.

    @ivar authority: signs what nobody else is named for.
    @ivar files: for C{--tls-client require}.
    """

    def __init__(self, path: str) -> None:
        from trustme import CA

        self.path = Path(path).absolute()
        self.path.mkdir()
        self.authority = CA()
        self.renew()
        self.authority.cert_pem.write_to_path(str(self.path / "ca.pem"))
        self.files = TlsFiles(self["cert.pem"], self["key.pem"], self["ca.pem"], "require")

    def __getitem__(self, name: str) -> str:
        return str(self.path / name)

    def renew(self, *names: str, key: str = "key.pem", cert: str = "cert.pem", **how: Any) -> None:
        """Write another certificate and its key."""
        issued = self.authority.issue_cert(*(names or ("localhost",)), **{"not_after": UNTIL, **how})
        issued.private_key_pem.write_to_path(self[key])
        issued.cert_chain_pems[0].write_to_path(self[cert])

    def client(self, authority: CA | None = None, *, shows: bool = True, **how: Any) -> ssl.SSLContext:
        """
        The settings of a client.

        @param authority: who has signed its certificate; by default, whom the server trusts.
        @param shows: whether it has a certificate.
        @param how: what C{trustme} is told of it.
        """
        context = ssl.create_default_context(cafile=self["ca.pem"])
        if shows:
            issued = (authority or self.authority).issue_cert("client.example", **how)
            issued.configure_cert(context)
        return context


class TcpTransport(StringTransport):
    """A connection whose socket may be set up."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Part of C{ITCPTransport}."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Part of C{ITCPTransport}."""


class TlsPeer:
    """
    A client in memory, and its connection to a port.

    @ivar transport: what the port writes to.
    @ivar tls: the port's side of TLS.
    @ivar protocol: what speaks within it.
    """

    def __init__(self, factory: IProtocolFactory, context: ssl.SSLContext, session: Any = None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname="localhost", session=session
        )
        address = IPv4Address("TCP", "192.0.2.1", 50000)
        self.transport = TcpTransport(peerAddress=address)
        built: Any = factory.buildProtocol(address)
        self.tls = built
        self.protocol = self.tls.wrappedProtocol
        self.tls.makeConnection(self.transport)

    def pass_on(self) -> None:
        """Carry bytes both ways until there are none."""
        while True:
            if data := self.transport.value():
                self.transport.clear()
                self._incoming.write(data)
            elif data := self._outgoing.read():
                self.tls.dataReceived(data)
            else:
                return

    def shake_hands(self) -> TlsPeer:
        """
        Complete the handshake.

        @raise ssl.SSLError: one side does not want to.
        """
        while True:
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                if not self._outgoing.pending:
                    raise
                self.pass_on()
            else:
                # A server of TLS 1.3 judges our certificate when we have done our part.
                self.tell(b"")
                self.heard()
                return self

    def tell(self, data: bytes) -> None:
        """Send something."""
        if data:
            self.client.write(data)
        self.pass_on()

    def heard(self) -> bytes:
        """What has come."""
        self.pass_on()
        found = b""
        while True:
            try:
                data = self.client.read(1 << 16)
            except ssl.SSLWantReadError:
                return found
            if not data:
                return found
            found += data

    def ask(self, data: bytes) -> bytes:
        """Send something, and return what comes."""
        self.tell(data)
        return self.heard()
