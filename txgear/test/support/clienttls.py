"""
For the TLS of clients and workers: servers in memory that speak it. These are Python's own, so that ours is
held against another one.
"""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from zope.interface import implementer

from txgear.protocol.packets import PACKETS, PRIVATE_PACKETS, response
from txgear.test.support.client import ScriptedConnection

if TYPE_CHECKING:
    from trustme import CA

PAST = datetime(2020, 1, 1)  # trustme wants it without a zone


class Certificates:
    """
    Authorities, and certificates that they have signed, in files of one folder.

    @ivar folder: its path.
    @ivar authority: the one that is trusted; C{ca.pem} is its certificate.
    @ivar stranger: another one; C{stranger.pem}.
    """

    def __init__(self, path: str) -> None:
        import trustme

        self.folder = Path(path).absolute()
        self.folder.mkdir()
        self.authority: CA = trustme.CA()
        self.stranger: CA = trustme.CA()
        self.authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        self.stranger.cert_pem.write_to_path(str(self.folder / "stranger.pem"))

    def path(self, name: str) -> str:
        """The path of a file."""
        return str(self.folder / name)

    def issue(self, name: str, *hosts: str, by: CA | None = None, **how: Any) -> str:
        """
        Write a certificate with its key and its chain into one file.

        @param by: who signs it.
        @param how: what C{trustme} is told of it.
        @return: the file's path.
        """
        issued = (by or self.authority).issue_cert(*hosts, **how)
        issued.private_key_and_cert_chain_pem.write_to_path(self.path(name))
        return self.path(name)

    def server(self, *hosts: str, asks: bool = False, **how: Any) -> ssl.SSLContext:
        """
        The settings of a server.

        @param asks: it wants a certificate of C{authority}.
        @param how: as for L{issue}.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue("server.pem", *(hosts or ("gear.example",)), **how))
        if asks:
            context.load_verify_locations(self.path("ca.pem"))
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class TLSLine(ScriptedConnection):
    """
    One connection to a L{TLSServer}.

    @ivar names: the names that the other side has asked for in its handshakes.
    @ivar problem: what the server's TLS has complained of.
    """

    def __init__(self, clock: Clock, protocol: IProtocol, context: ssl.SSLContext) -> None:
        self.names: list[str | None] = []
        self.problem = ""
        context.sni_callback = lambda _, name, __: self.names.append(name)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = False
        self._heard = b""
        super().__init__(clock, protocol)

    def heard(self) -> bytes:
        """Carry bytes both ways until there are none; what has come within TLS since the last look."""
        self._pass_on()
        heard, self._heard = self._heard, b""
        return heard

    def _pass_on(self) -> None:
        while True:
            self._clock.advance(0)
            written = self.transport.value()
            self.transport.clear()
            if written:
                self._incoming.write(written)
            self._heard += self._read()
            if answer := self._outgoing.read():
                if not self.transport.disconnecting:
                    self.protocol.dataReceived(answer)
            elif not written:
                return

    @property
    def peer_certificate(self) -> dict[str, Any]:
        """What the other side has shown."""
        return self._tls.getpeercert() or {}

    def _read(self) -> bytes:
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            return self._tls.read(1 << 20)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as error:
            self.problem = self.problem or str(error)
            return b""

    def packets(self) -> list[tuple[Any, ...]]:
        known = {**PACKETS, **PRIVATE_PACKETS}
        return [
            (known[kind][0], *map(bytes, arguments)) for kind, arguments in self._decoder.feed(self.heard())
        ]

    def send(self, kind: int, *arguments: bytes) -> None:
        self._tls.write(response(kind, *arguments))
        self._pass_on()


@implementer(IStreamClientEndpoint)
class TLSServer:
    """
    An endpoint below TLS, whose far side is a server.

    @ivar lines: the connections that were made.
    """

    def __init__(self, clock: Clock, context: ssl.SSLContext) -> None:
        self._clock = clock
        self._context = context
        self.lines: list[TLSLine] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        protocol = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
        assert protocol is not None
        self.lines.append(TLSLine(self._clock, protocol, self._context))
        return succeed(protocol)

    @property
    def line(self) -> TLSLine:
        """The latest connection."""
        return self.lines[-1]
