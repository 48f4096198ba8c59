"""
TLS of a server's ports, over any kind of port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear.errors import ConfigurationError
from txgear.security.tlsfiles import TlsFiles, load

if TYPE_CHECKING:
    import socket

MOST_AT_ONCE: Final = 32 * 1024
"""Bytes that are sent in one: as many as Twisted takes, and more than a record of TLS has."""

_Codes = SSL.X509VerificationCodes
REFUSED: Final = {
    _Codes.ERR_CERT_HAS_EXPIRED: "its certificate has expired",
    _Codes.ERR_CERT_NOT_YET_VALID: "its certificate is not valid yet",
    _Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is signed by itself",
    _Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN: "its certificate's authority is not in --tls-ca",
    _Codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate's authority is not in --tls-ca",
    _Codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate's authority is not in --tls-ca",
    _Codes.ERR_INVALID_PURPOSE: "its certificate is none for clients",
}
"""The usual reasons why a client's certificate is refused."""


class Watch(Protocol):
    """Who is told of the connections of ports with TLS."""

    def begin(self, transport: TLSMemoryBIOProtocol) -> None:
        """A connection has been made, and its handshake is to follow."""

    def end(self) -> None:
        """A connection has ended."""


class TlsTransport(TLSMemoryBIOProtocol):
    """
    The TLS of one connection.

    Twisted's own gathers what is written until the next turn of the reactor, and then has the reactor find
    out whether the socket takes it. What the server writes is gathered already, so here it leaves at once: an
    ECHO there and back takes half the time.

    @ivar refused_for: why the peer's certificate is refused, in words; empty where it is not.
    """

    factory: TlsFactory
    refused_for = ""
    _socket: socket.socket | None = None

    def makeConnection(self, transport: Any) -> None:
        """There is a connection, which is to have TLS."""
        if isinstance(transport, Connection) and not transport.TLS:
            self._socket = transport.getHandle()
        self.factory.watch.begin(self)
        super().makeConnection(transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection has ended. Its memory goes at once: what only the cycle collector finds stays long, as
        that seldom looks at what is old.
        """
        # Twisted would read once more, though all that came is read. The error that this ends with is held by
        # its own frames, and holds the memory of TLS.
        self._lostTLSConnection = True
        broken: Failure | None = self._reason
        super().connectionLost(reason)
        if broken is not None:
            broken.cleanFailure()
        # It leads to the protocol, which leads to us.
        self._producer = None

    def _flushSendBIO(self) -> None:  # noqa: N802  # where Twisted calls it otherwise, it does all itself
        """Send what TLS has made of what was written, or was to be said of the handshake."""
        try:
            data = self._tlsConnection.bio_read(MOST_AT_ONCE)
        except SSL.WantReadError:
            return
        transport: Any = self.transport
        # What has no such buffers, or has them by other names, takes the way by the transport.
        if self._socket is not None and not (
            transport.dataBuffer or getattr(transport, "_tempDataBuffer", True)
        ):
            try:
                sent = self._socket.send(data)
            except OSError:
                # It is full; or broken, which the reactor finds out at its own attempt.
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        transport.write(data)

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:  # noqa: N802
        # Nobody else has the failure that is passed here. It, its traceback and this refer to each other, and
        # the garbage collector would find that out late: until then each such connection has 50 KB.
        super()._tlsShutdownFinished(reason)
        if reason is not None:
            reason.cleanFailure()


class TlsFactory(TLSMemoryBIOFactory):
    """
    Puts TLS between the connections of a port and what the port speaks.

    @ivar watch: is told of them.
    """

    protocol = TlsTransport

    def __init__(self, tls: ServerTLS, factory: IProtocolFactory, clock: IReactorTime, watch: Watch) -> None:
        super().__init__(tls, False, factory, clock)
        self.watch = watch

    def unregisterProtocol(self, p: Any) -> None:
        """A connection has ended."""
        super().unregisterProtocol(p)
        self.watch.end()


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """
    The TLS of a server: listening ports keep this, and its files can be read again.

    @ivar files: where it comes from.
    @ivar loaded: what was in them.
    """

    def __init__(self, files: TlsFiles) -> None:
        """
        Read the files.

        @raise ConfigurationError: one cannot be used.
        """
        self.files = files
        self.loaded = load(files, _refused)

    def renew(self, now: float) -> None:
        """
        Read the files again, for new connections; those that are there stay as they are.

        @param now: seconds since the epoch.
        @raise ConfigurationError: one cannot be used, or the certificate has expired and the one before
            has not. What was read before stays in force.
        """
        loaded = load(self.files, _refused)
        if loaded.expired(now) and not self.loaded.expired(now):
            raise ConfigurationError(f"--tls-cert: the certificate in {self.files.cert} has expired")
        self.loaded = loaded

    def shown(self) -> dict[str, str]:
        """What is in force, by the names that operators see."""
        return {
            "tls_certificate": self.loaded.names,
            "tls_until": self.loaded.shown_until,
            "tls_client": self.files.client or "",
        }

    def over(self, factory: IProtocolFactory, clock: IReactorTime, watch: Watch) -> TlsFactory:
        """
        A factory for a port that speaks TLS, and in it what another factory speaks.

        @param clock: the reactor's.
        @param watch: is told of the connections.
        """
        return TlsFactory(self, factory, clock, watch)

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Part of C{IOpenSSLServerConnectionCreator}."""
        return SSL.Connection(self.loaded.context, None)


def _refused(connection: SSL.Connection, number: int) -> None:
    # Twisted has put the transport there.
    transport: TlsTransport = connection.get_app_data()
    transport.refused_for = REFUSED.get(number, f"its certificate is refused (OpenSSL's error {number})")
