"""
TLS handshakes: how long they may take, and how many there were.

This is for every port with TLS, whatever it speaks, and whoever has made its TLS: an endpoint string such as
C{ssl:...}, too.
"""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from txgear.net.stream import shown_peer
from txgear.security.tlsfiles import reason_of
from txgear.server.notices import Notices

HANDSHAKE_SECONDS: Final = 10.0
"""How long a TLS handshake may take: until then a connection costs twice what it does later."""

CONNECTION_BYTES: Final = 28 * 1024
"""Memory of an idle connection with TLS."""
HANDSHAKE_BYTES: Final = 20 * 1024
"""What it has beyond that until its handshake is completed."""

NOT_TLS: Final = ("http request", "https proxy request", "wrong version number", "packet length too long")
"""OpenSSL's words for bytes that are none of TLS."""


def tls_under(transport: Any) -> TLSMemoryBIOProtocol | None:
    """The TLS of a connection, as its protocol sees it; C{None} where there is none."""
    while isinstance(transport, ProtocolWrapper):
        if isinstance(transport, TLSMemoryBIOProtocol):
            return transport
        transport = transport.transport
    return None


def is_shaken(tls: TLSMemoryBIOProtocol) -> bool:
    """Whether the handshake of a connection is over."""
    return tls.getHandle().get_peer_finished() is not None


def end_under(transport: Any) -> None:
    """
    A connection has been told to end. If it has TLS, that has said so to the peer: do not wait until the peer
    says so, too, which it may never do.
    """
    tls = tls_under(transport)
    if tls is not None and tls.connected and is_shaken(tls):
        tls.transport.loseConnection()  # type: ignore[union-attr]


class Handshakes:
    """
    Ends those that stall, and counts.

    @ivar completed: handshakes that were completed.
    @ivar failed: those that failed: a bad certificate, an old version, no TLS at all, or the peer has left in
        the middle. One that has connected and said nothing has begun none.
    @ivar freed: bytes of memory that the TLS of connections had which have ended.
    @ivar stalled: those that took longer than L{HANDSHAKE_SECONDS}.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, notices: Notices) -> None:
        self._clock = clock
        self._notices = notices
        self._pending: dict[TLSMemoryBIOProtocol, IDelayedCall] = {}
        self.completed = self.failed = self.stalled = self.freed = 0

    def begin(self, transport: TLSMemoryBIOProtocol) -> None:
        """
        A connection has been made, and its handshake is to follow. Who has made its TLS tells it, and so may
        who speaks within it.
        """
        if transport in self._pending:
            return
        self._pending[transport] = self._clock.callLater(HANDSHAKE_SECONDS, self._overdue, transport)
        protocol: Any = transport.wrappedProtocol

        def connection_lost(reason: Failure) -> None:
            # Only what TLS passes on tells what was wrong with it.
            del protocol.connectionLost
            self._pending.pop(transport).cancel()
            self._note_failure(transport, reason)
            protocol.connectionLost(reason)

        protocol.connectionLost = connection_lost

    def complete(self, transport: TLSMemoryBIOProtocol) -> None:
        """The handshake has been completed."""
        timer = self._pending.pop(transport, None)
        if timer is not None:
            timer.cancel()
            self._is_over(transport)
            self.completed += 1

    def end(self) -> None:
        """A connection to a port with TLS has ended, whatever has become of its handshake."""
        self.freed += CONNECTION_BYTES

    def _is_over(self, transport: Any) -> None:
        del transport.wrappedProtocol.connectionLost

    def _overdue(self, transport: TLSMemoryBIOProtocol) -> None:
        del self._pending[transport]
        self._is_over(transport)
        if is_shaken(transport):
            # What the port speaks does not tell when TLS is up.
            self.completed += 1
            return
        self.stalled += 1
        self.freed += HANDSHAKE_BYTES
        self._complain("{peer} has made no TLS handshake; connection dropped", transport)
        transport.abortConnection()

    def _note_failure(self, transport: TLSMemoryBIOProtocol, reason: Failure) -> None:
        if isinstance(reason.value, SSL.Error):
            words = reason_of(reason.value)
            why = getattr(transport, "refused_for", "") or ("it speaks no TLS" if words in NOT_TLS else words)
        elif transport.getHandle().client_random() is None:
            # Not even a ClientHello: somebody looks whether the port is open.
            return
        else:
            why = "it has left"
        self.failed += 1
        self.freed += HANDSHAKE_BYTES
        self._complain("{peer}: its TLS handshake has failed: {why}", transport, why=why)

    def _complain(self, text: str, transport: TLSMemoryBIOProtocol, **fields: object) -> None:
        self._notices.complain(self.log, LogLevel.info, text, peer=shown_peer(transport.getPeer()), **fields)

    def shown(self) -> dict[str, int]:
        """The counts, by the names that operators see; none where nobody ever came by TLS."""
        counts = {
            "tls_handshakes": self.completed,
            "tls_failed": self.failed,
            "tls_stalled": self.stalled,
        }
        return counts if any(counts.values()) else {}

    def stop(self) -> None:
        """Stop all timers. Handshakes that are under way are bounded no more."""
        pending, self._pending = self._pending, {}
        for transport, timer in pending.items():
            timer.cancel()
            self._is_over(transport)
