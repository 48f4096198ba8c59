"""
TLS of a server's ports, over any kind of port.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear.errors import ConfigurationError
from txgear.security.tlsfiles import TlsFiles, load

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

    Twisted's own gathers what is written until the next turn of the reactor. What the server writes is
    gathered already, so here it is given to the connection at once.

    @ivar refused_for: why the peer's certificate is refused, in words; empty where it is not.
    """

    factory: TlsFactory
    refused_for = ""

    def makeConnection(self, transport: Any) -> None:
        """There is a connection, which is to have TLS."""
        self.factory.watch.begin(self)
        super().makeConnection(transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection has ended. Its memory goes at once: the garbage collector seldom looks for it."""
        super().connectionLost(reason)
        # It leads to the protocol, which leads to us. To unregister it would begin TLS's own end.
        self._producer = None

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:  # noqa: N802
        # The failure, its traceback and this refer to each other, and nobody else has it. Where Twisted calls
        # this otherwise, memory goes later.
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
        connection = SSL.Connection(self.loaded.context, None)
        # As newer versions of Twisted do by themselves: _refused looks for it there.
        connection.set_app_data(protocol)
        return connection


def _refused(connection: SSL.Connection, number: int) -> None:
    transport: TlsTransport = connection.get_app_data()
    transport.refused_for = REFUSED.get(number, f"its certificate is refused (OpenSSL's error {number})")
