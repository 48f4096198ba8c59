"""
A connection that carries HTTP, whatever its requests are about.

A connection is kept, and is one peer of the broker. HTTP has one request at a time on it, so all packets for
the peer belong to that request.

A client that ends its own side only (C{nc -N}) is answered. A client that has gone is noticed, and its
request dropped, whatever it has sent ahead. At first the two look alike; but the system of a client that has
gone answers the next bytes with a reset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final

from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.task import SchedulerStopped
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request, datetimeToString
from zope.interface import implementer

from txgear.net.stream import CLOSE_SECONDS, shown_peer
from txgear.protocol.packets import Packet
from txgear.server.descriptors import close_now
from txgear.server.gearconnection import LOGIN_BYTES, LOGIN_SECONDS
from txgear.server.handshakes import end_under, tls_under
from txgear.server.httpexchange import SERVER, TEXT
from txgear.server.jobserver import JobServer
from txgear.server.sockets import ENDED, GONE, KeepAlive
from txgear.server.turns import TURN_SECONDS

IDLE_SECONDS: Final = 60
"""
How long a connection may be silent while it waits for a request or the rest of a body, and how long a
header may take from its first byte on: Twisted's own figure. While a job is under way there is no such bound.
"""
LOGIN_HEADERS: Final = 100
"""Headers of a request whose client is not known yet: each is an object, however short it is."""
LOOK_SECONDS: Final = 0.5
"""
Seconds between two looks whether a client is still there that is not read, or that has ended its own side.
A job that ends in this time is answered without L{PROCESSING}.
"""
PROCESSING: Final = b"HTTP/1.1 102 Processing\r\n\r\n"
"""
An interim answer. The system of a client that has gone answers it with a reset; for a client that is there it
means nothing, as any number of such answers may come before the final one (RFC 9110, 15.2).
"""
PROCESSING_SECONDS: Final = 30.0
"""Seconds between two of them."""
CLOSE_WATCH: Final = KeepAlive(idle=10, interval=10, count=6)
"""
Keep-alive for clients that get no L{PROCESSING}, as HTTP/1.0 has no interim answers. A system forgets a
connection on which it waits for our end only (Linux after a minute), and resets it at the next probe.
"""
OTHERS: Final = (b"\0", b"\x16")
"""How Gearman's packets and TLS begin. They have no line that ends, so their sender would wait in vain."""
MAX_LENGTH_DIGITS: Final = 30
"""Characters of a C{Content-Length} that are looked at; Python refuses to read thousands of digits."""


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class HttpChannel(HTTPChannel):
    """
    One connection, which is one peer of the broker and its L{PeerLine<txgear.interfaces.PeerLine>}. What its
    requests are is said by C{requestFactory}: a L{txgear.server.httpexchange.HttpExchange}.

    @cvar kind: what it speaks; see L{txgear.broker.model.Peer.kind}.
    @ivar server: the broker and what belongs to it.
    @ivar peer: how the broker knows this connection.
    @ivar stays: whether it goes on when the server drains, as nobody could connect anew.
    @ivar full: whether the transport has more to write than it likes.
    """

    log = Logger()
    transport: Any
    kind: ClassVar[str] = "http"

    def __init__(self, server: JobServer, state_of: Callable[[Any], int]) -> None:
        """
        @param state_of: looks at a connection without reading from it; see L{txgear.server.sockets.state_of}.
        """
        super().__init__()
        self.server = server
        self.stays = self.full = False
        self.timeOut = IDLE_SECONDS
        self._overdue: IDelayedCall | None = None
        self._state_of = state_of
        self._check: IDelayedCall | None = None
        self._input_ended = self._ignores_input = self._receiving = False
        self._probe_at = 0.0
        self._crowded = self._behind = self._catches_up = False
        self._turn_began = 0.0
        self._in_header = self._unknown = False
        self.missing = 0

    def callLater(self, period: float, function: Any) -> IDelayedCall:
        """Part of L{twisted.protocols.policies.TimeoutMixin}."""
        return self.server.clock.callLater(period, function)

    def connectionMade(self) -> None:
        super().connectionMade()
        self.peer = self.server.accept(self, self.transport)
        self.peer.kind = self.kind
        self.peer.exceptions = self.peer.restarts = True
        if self.peer.descriptor >= self.server.descriptors.text_only:
            text = "{peer}: no descriptors are left; connection closed"
            peer = shown_peer(self.transport.getPeer())
            self.server.notices.complain(self.log, LogLevel.warn, text, peer=peer)
            close_now(self.transport)
        elif self.server.guard.must_identify(self.peer):
            self._await_login()

    def handshakeCompleted(self) -> None:
        """Part of C{IHandshakeListener}: there is TLS now, and no request has come yet."""
        self.server.secured(self.peer, self.transport)
        if self._unknown:
            self.setTimeout(LOGIN_SECONDS)
            self._look_who_it_is()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._behind = False
        for call in (self._overdue, self._check):
            if call is not None:
                call.cancel()
        super().connectionLost(reason)
        self.server.budget.holds(self, 0)
        self.server.disconnect(self.peer)

    # Who is it?

    def _await_login(self) -> None:
        """Hold next to nothing of this client, and not for long, until a request has said who it is."""
        self._unknown = True
        self.totalHeadersSize = self.MAX_LENGTH = LOGIN_BYTES
        self.maxHeaders = LOGIN_HEADERS
        self.setTimeout(LOGIN_SECONDS)

    def _look_who_it_is(self) -> None:
        """Treat the client like others, if it is known by now: its address or its certificate may tell."""
        if self._unknown and not self.server.guard.must_identify(self.peer):
            self._unknown = False
            del self.totalHeadersSize, self.MAX_LENGTH, self.maxHeaders
            self.setTimeout(IDLE_SECONDS)

    def allHeadersReceived(self) -> None:
        """Take the end of a header."""
        super().allHeadersReceived()
        if self._overdue is not None:
            # Twisted goes by the headers alone.
            self.persistent = 0
        self._look_who_it_is()

    def resetTimeout(self) -> None:
        """
        The client is not silent. A header has its time as a whole: a byte now and then would keep the
        connection for ever.
        """
        if not (self._in_header or self._unknown):
            super().resetTimeout()

    def lineLengthExceeded(self, line: bytes) -> None:
        """Take a line that is too long."""
        self._respondToBadRequestAndDisconnect()

    def headerReceived(self, line: bytes) -> bool:
        """
        Take a header.

        @return: whether it is one.
        """
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and len(value) > MAX_LENGTH_DIGITS:
            line = b"Content-Length: too long"
        valid: bool = super().headerReceived(line)
        return valid

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        """Answer what Twisted has found to be no request. Its own answer has no text."""
        text = b"This is no request of HTTP/1.0 or HTTP/1.1, or its headers are too large\n"
        self.refuse(b"400 Bad Request", [(b"Content-Type", TEXT)], text)

    def refuse(self, status: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """
        Answer bytes that are no request, and end the connection.

        @param status: with its reason.
        @param headers: besides those that every answer has.
        """
        common = [
            (b"Server", SERVER),
            (b"Date", datetimeToString(self.server.wall_clock())),
            (b"Content-Length", b"%d" % len(body)),
            (b"Connection", b"close"),
        ]
        lines = [b"%s: %s\r\n" % header for header in (*common, *headers)]
        self.transport.writeSequence([b"HTTP/1.1 %s\r\n" % status, *lines, b"\r\n", body])
        self.end_soon()
        self._end_our_side()

    def _end_our_side(self) -> None:
        """
        End our side only, and ignore what comes. A connection that is closed while more comes is reset, and
        the client may not see the answer.
        """
        self.paused = self._ignores_input = True
        self.clearLineBuffer()
        self.setTimeout(None)
        self.transport.unregisterProducer()
        if tls_under(self.transport) is None:
            self.transport.loseWriteConnection()
        else:
            # Which says that it ends, and then waits for the client's end.
            self.transport.loseConnection()

    def loseConnection(self) -> None:
        """End the connection once what was written has left."""
        if self._ignores_input:
            self.transport.loseConnection()
        elif self.server.lingers and not self._input_ended:
            self._end_our_side()
        else:
            super().loseConnection()
            end_under(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Some bytes have arrived."""
        if self._ignores_input or self.server.lingers:
            return
        outer, self._receiving = self._receiving, True
        if not outer:
            self._turn_began = self.server.clock.seconds()
        self._look_who_it_is()
        super().dataReceived(data)
        self._receiving = outer
        self._in_header = bool(self.line_mode and (self.requests or self._buffer))
        # Twisted bounds its lines, and what has come of a line, but not both together.
        held = self._receivedHeaderSize + len(self._buffer) if self._unknown and self._in_header else 0
        other = self.line_mode and not self.requests and self._buffer[:1] in OTHERS
        if (held > LOGIN_BYTES or other) and not self._ignores_input:
            self._respondToBadRequestAndDisconnect()
        self._end_if_done()

    def write_packets(self, packets: list[Packet]) -> None:
        """Part of L{txgear.interfaces.PeerLine}."""
        # There is none where the server stops while the job runs.
        if self.requests:
            self.requests[0].write_packets(packets)

    def pause_reading(self) -> None:
        """
        Part of L{txgear.interfaces.PeerLine}. Nothing to do: the next request waits for this answer anyway.
        """

    def resume_reading(self) -> None:
        """Part of L{txgear.interfaces.PeerLine}; see L{pause_reading}."""

    # Back-pressure: Twisted's channel goes on with the next request, however much of the last answers is
    # unread. Here it waits.

    def pauseProducing(self) -> None:
        """The transport is full: nothing is read until it has room."""
        self.full = True
        super().pauseProducing()
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport has written all it had."""
        self.full = self.paused = False
        super().resumeProducing()
        self._read_on()
        if self.requests:
            self.requests[0].resume()
        if not self._behind:
            self.dataReceived(b"")

    def _read_on(self) -> None:
        waits = self.full or self._crowded or self._behind
        if not (waits or self._ignores_input or self.transport.disconnecting):
            self.transport.resumeProducing()

    def requestDone(self, request: Request) -> None:
        """An answer is written. The next request may have been sent ahead of it."""
        sent_ahead = self.persistent and (self._buffer or any(self._dataBuffer))
        late = bool(sent_ahead) and self.server.clock.seconds() - self._turn_began >= TURN_SECONDS
        self.paused = self.full or late
        if late:
            # Before Twisted goes on with what it has kept.
            self._behind = True
        super().requestDone(request)
        if late:
            self.transport.pauseProducing()
            if not self._catches_up:
                self._catches_up = True
                done: Any = self.server.cooperator.cooperate(self._go_through_postponed()).whenDone()
                done.addErrback(self._failed)
        self._end_if_done()

    # Short turns: a read of 64 KiB may hold a thousand requests. See L{txgear.server.turns}.

    def _go_through_postponed(self) -> Iterator[None]:
        while self._behind:
            yield None
            if not self._behind:
                # It has gone.
                break
            self._behind = False
            if not self.full:
                self.paused = False
                self.dataReceived(b"")
            if not self._behind:
                self._read_on()
        self._catches_up = False

    def _failed(self, failure: Failure) -> None:
        """Abort the connection over an exception of ours, as the reactor does."""
        if failure.check(SchedulerStopped) is None:
            self.log.failure("a connection failed", failure)
            self.abort()

    # Unfinished bodies; see L{txgear.server.budget.Holder}

    def body_has(self, size: int, missing: int = 0) -> None:
        """
        A part of a body has come, or it is whole.

        @param size: bytes of it; 0 for nothing that is unfinished.
        @param missing: bytes that are still to come at the most.
        """
        self.missing = missing
        self.server.budget.holds(self, size)

    @property
    def is_read(self) -> bool:
        """Part of L{txgear.server.budget.Holder}."""
        return not (self.full or self._crowded or self._behind)

    def wait_for_memory(self) -> None:
        """Part of L{txgear.server.budget.Holder}."""
        self._crowded = True
        # It is not the client that is silent.
        self.setTimeout(None)
        self.transport.pauseProducing()

    def go_on(self) -> None:
        """Part of L{txgear.server.budget.Holder}."""
        self._crowded = False
        self.setTimeout(self.timeOut)
        self._read_on()

    def drop(self, why: str) -> None:
        """Part of L{txgear.server.budget.Holder}."""
        self.requests[0].drop(f"{{peer}} {why}; connection dropped")

    # Clients that send no more

    def readConnectionLost(self) -> None:
        """Part of C{IHalfCloseableProtocol}: the client sends no more, and may be gone."""
        self._input_ended = True
        if self._handlingRequest:
            self._check_client_later()
        self._end_if_done()

    def writeConnectionLost(self) -> None:
        """Part of C{IHalfCloseableProtocol}: our side has ended, the client's is awaited."""

    def _end_if_done(self) -> None:
        """Hang up if all requests are answered and no more can come."""
        busy = self._handlingRequest or self._receiving or self.full or self._behind
        if self._input_ended and not busy:
            self.hang_up()

    def rawDataReceived(self, data: bytes) -> None:
        """A part of a body has arrived, or of the next requests, ahead of the answer to this one."""
        super().rawDataReceived(data)
        if self._handlingRequest:
            # From some size on Twisted stops to read.
            self._check_client_later()

    def _check_client_later(self) -> None:
        if self._check is None:
            self._check = self.server.clock.callLater(LOOK_SECONDS, self._check_client)

    def _check_client(self) -> None:
        """Look whether the client is still there whose job is under way."""
        self._check = None
        if not self._handlingRequest:
            return
        state = self._state_of(self.transport)
        if state == GONE:
            self.abort()
            return
        if self._input_ended or state == ENDED:
            self._probe()
        self._check_client_later()

    def _probe(self) -> None:
        now = self.server.seconds()
        if now < self._probe_at:
            return
        self._probe_at = now + PROCESSING_SECONDS
        if self.requests and self.requests[0].takes_interim_answers:
            self.transport.write(PROCESSING)
        elif ITCPTransport.providedBy(self.transport):
            CLOSE_WATCH.apply(self.transport)

    # The end

    def drain(self) -> None:
        """Part of L{txgear.interfaces.PeerLine}. A request that has begun is answered before the end."""
        if not (self.requests or self.stays):
            self.hang_up()

    def timeoutConnection(self) -> None:
        """Neither a request nor a part of one has come for L{IDLE_SECONDS}."""
        self.close()

    def close(self) -> None:
        """
        Part of L{txgear.interfaces.PeerLine}: end the connection, in a bounded time, once the answer under
        way has left. A request that has no answer yet is answered that none will come.
        """
        self.end_soon()
        if not (self.requests and self.requests[0].answer_shutdown()):
            self.hang_up()

    def end_soon(self) -> None:
        """Let this answer be the connection's last, and bound its time."""
        self.persistent = 0
        if self._overdue is None:
            self._overdue = self.server.clock.callLater(CLOSE_SECONDS, self._end_overdue)

    def _end_overdue(self) -> None:
        self._overdue = None
        self.abort()

    def hang_up(self) -> None:
        """End the connection once what was written has left, in a bounded time."""
        self.end_soon()
        if not self.transport.disconnecting:
            self.loseConnection()

    def abort(self) -> None:
        """End the connection at once, and so that the client notices."""
        self.transport.abortConnection()
