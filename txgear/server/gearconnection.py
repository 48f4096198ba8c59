"""
A connection of the Gearman port: from packets to requests, and from the outbox to packets.

It knows how long a turn may take, when to acknowledge at once, how a submit is refused, and when to hang up.
What each request asks for is in L{txgear.server.clientrequests}, L{txgear.server.workerrequests} and
L{txgear.server.gear}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final

from twisted.internet.protocol import Protocol
from twisted.logger import LogLevel

from txgear.broker.quickacks import DELAYED_FROM
from txgear.errors import (
    STORE_UNAVAILABLE,
    AccessDenied,
    ArgumentTooLarge,
    InvalidCommand,
    PacketTooLarge,
    ProtocolError,
    QueueError,
    ServerError,
)
from txgear.net.stream import BEHIND
from txgear.protocol.constants import (
    ERROR,
    RESPONSE_MAGIC,
    SHUTTING_DOWN,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW,
    SUBMIT_JOB_LOW_BG,
    SUBMIT_JOB_OPTIONS,
    SUBMIT_JOB_SCHED,
    SUBMIT_REDUCE_JOB,
    SUBMIT_REDUCE_JOB_BACKGROUND,
    TEXT,
)
from txgear.protocol.packets import Data, Decoder, Packet, Pieces, Received, large, pack_header, response
from txgear.protocol.textlines import for_line, shown
from txgear.security.audit import LOGIN
from txgear.server.descriptors import SPOKEN_SECONDS, close_now
from txgear.server.extension import Extension
from txgear.server.handshakes import tls_under
from txgear.server.jobserver import JobServer
from txgear.server.sockets import socket_of
from txgear.server.tcplink import TcpLink
from txgear.server.turns import LOOK_EVERY, TURN_BYTES, TURN_SECONDS, ShortTurns, Steps

QUEUE_ERROR: Final = QueueError.default_code.encode("ascii")
FAREWELL: Final = response(ERROR, QUEUE_ERROR, SHUTTING_DOWN.encode("ascii"))
"""What a peer hears last that has asked for it: nobody carries out what it is not answered."""
NEVER: Final = -1.0
"""The time of a packet, where none has come."""
LOGIN_SECONDS: Final = 10.0
"""How long a peer may take to identify itself, where the rules ask for that; a handshake comes before it."""
LOGIN_BYTES: Final = 8192
"""Bytes of the largest packet that is taken before that."""
LOGIN_REQUESTS: Final = 32
"""Requests before that: who knows its token needs four."""
LOOK_SHIFT: Final = 12
"""
Bytes of answers, as a power of two, that count as one more request: so the time is looked at after 64 KiB.
"""

Request = Callable[..., "int | None"]
"""Does what a packet asks for."""

SUBMITS: Final = frozenset(
    (
        SUBMIT_JOB,
        SUBMIT_JOB_BG,
        SUBMIT_JOB_HIGH,
        SUBMIT_JOB_HIGH_BG,
        SUBMIT_JOB_LOW,
        SUBMIT_JOB_LOW_BG,
        SUBMIT_JOB_SCHED,
        SUBMIT_JOB_EPOCH,
        SUBMIT_REDUCE_JOB,
        SUBMIT_REDUCE_JOB_BACKGROUND,
        SUBMIT_JOB_OPTIONS,
    )
)
"""The requests that are answered with JOB_CREATED."""


class LoginRefused(ProtocolError):
    """
    A peer has not identified itself as it should: its connection ends, and nothing more of it is looked at.

    @ivar denied: what it is told.
    """

    def __init__(self, denied: AccessDenied) -> None:
        super().__init__(denied.text)
        self.denied = denied


class Switched(ProtocolError):
    """
    The peer speaks Gearman's protocol no more.

    @ivar successor: has the connection from now on.
    @ivar rest: what has come behind that, and is for the successor.
    """

    def __init__(self, successor: Protocol, rest: bytes) -> None:
        super().__init__("It speaks another protocol from now on")
        self.successor = successor
        self.rest = rest


class GearConnection(ShortTurns):
    """
    One connection to the server: a client, a worker, an operator at a telnet,
    or all of them at once.

    @ivar server: the broker and what belongs to it.
    @ivar broker: the broker of the server.
    @ivar peer: how the broker knows the connection; there from C{connectionMade} on.
    @ivar now: the server's time when the packets arrived that are being handled; L{NEVER} before the first.
    @ivar send: puts a packet for a peer into the outbox.
    @ivar extension: handles requests beyond the classic protocol, once the peer has asked for that.
    @ivar listing: makes a long list that the peer has just asked for; no packet is handled before it is done.
    @ivar is_operator: whether a text command has come.
    @ivar wants_farewell: whether the peer is to hear it when the server ends the connection as it ends.
    """

    __slots__ = (
        "_answered",
        "_before_login",
        "_leaves_when_idle",
        "_link",
        "_marked",
        "_switched",
        "_watches_writes",
        "broker",
        "extension",
        "is_operator",
        "listing",
        "now",
        "peer",
        "send",
        "server",
        "wants_farewell",
    )

    requests: ClassVar[Mapping[int, Request]] = {}
    """
    The requests, by type of packet; no other packet may be sent to a server. Each is called with the
    connection and the packet's arguments. It returns the bytes of its answer, where those may be many more
    than the packet has.
    """

    before_login: ClassVar[Mapping[int, Request]] = {}
    """The requests of a peer that is to identify itself before anything else."""

    def __init__(self, server: JobServer) -> None:
        decoder = Decoder(limit=server.settings.max_packet)
        super().__init__(
            server.clock, decoder, server.reads, server.cooperator, server.budget, server.traffic
        )
        self.server = server
        self.broker = server.broker
        self.now = NEVER
        self._answered = True
        self._link: TcpLink | None = None
        self._marked = False
        self.send = server.outbox.send
        self.extension: Extension | None = None
        self.listing: Steps | None = None
        # Whether a write is to be looked at: one look for all that happens rarely.
        self._watches_writes = server.settings.refuse_by_closing
        self._leaves_when_idle = False
        self.is_operator = False
        self.wants_farewell = False
        self._before_login = 0
        self._switched: Switched | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.peer = self.server.accept(self, self.transport)
        self.peer.kind = "gearman"
        self._link = self.peer.link = TcpLink.over(socket_of(self.transport), self.server.quick_acks)
        if self.server.guard.must_identify(self.peer):
            self._await_login()
        if self.peer.descriptor >= self.server.descriptors.text_only:
            self._serve_operators_only()

    def _serve_operators_only(self) -> None:
        """Take text commands only, or close: this connection has one of the last descriptors."""
        if self.peer.descriptor >= self.server.descriptors.refused:
            self.complain(LogLevel.warn, "{peer}: no descriptors are left; connection closed")
            close_now(self.transport)
            return
        # It is the shorter one.
        self._cancel_timer()
        timer = self._timer = self._clock.callLater(SPOKEN_SECONDS, self._text_command_overdue)

        answer = self.requests[TEXT]

        def text(connection: GearConnection, line: bytes) -> int | None:
            if connection._timer is timer:
                connection._cancel_timer()
                connection._bound_login()
            return answer(connection, line)

        refused = dict.fromkeys(self.requests, _only_for_operators)
        self.requests = {**refused, TEXT: text}  # type: ignore[misc]

    def _text_command_overdue(self) -> None:
        self._timer = None
        self.drop("has one of the last descriptors, and gives no text command")

    # Who is it?

    def _await_login(self) -> None:
        """Do nothing for this peer before it has identified itself, and hold next to nothing of it."""
        self._before_login = LOGIN_REQUESTS
        self.requests = self.before_login  # type: ignore[misc]
        self.decoder.limit = LOGIN_BYTES
        if tls_under(self.transport) is None:
            self._bound_login()

    def _bound_login(self) -> None:
        """From now on the peer has so long to identify itself, if it has to."""
        if self._before_login and self._timer is None:
            self._timer = self._clock.callLater(LOGIN_SECONDS, self._login_overdue)

    def _login_overdue(self) -> None:
        self._timer = None
        if self.is_known():
            return
        self.server.guard.denied(self.peer, AccessDenied("It has not identified itself in time", act=LOGIN))
        self.abort()

    def is_identified(self) -> bool:
        """
        Whether the peer may be served. Each request that comes before it has identified itself asks; there
        may not be many.

        @raise AccessDenied: there were too many.
        """
        if self.is_known():
            return True
        self._before_login -= 1
        if not self._before_login:
            self._before_login = 1
            raise AccessDenied("It sends requests, and no token", act=LOGIN)
        return False

    def is_known(self) -> bool:
        """
        Whether the peer may be served; from then on it is. It may have shown who it is, or its address is
        known by now, or the rules are others.
        """
        if self._before_login and not self.server.guard.must_identify(self.peer):
            self._before_login = 0
            self.decoder.limit = self.server.settings.max_packet
            if self.requests is self.before_login:
                self._cancel_timer()
                del self.requests
        return not self._before_login

    def handshakeCompleted(self) -> None:
        """
        As in L{txgear.net.stream.Stream}: there is TLS now, and the peer may have shown a certificate.
        """
        super().handshakeCompleted()
        self.server.secured(self.peer, self.transport)
        if not self.closing:
            self.is_known()
            self._bound_login()

    def peer_gone(self) -> None:
        """As in L{ShortTurns}: let the server forget the peer."""
        if self.extension is not None:
            self.extension.results.leave()
        self.server.unread += self.unwritten
        self.server.disconnect(self.peer)

    def turn_ended(self) -> None:
        # Before the turn ends: in one that several connections share, answers leave later.
        if self._marked and not (self.closing or self.server.outbox.has_for(self.peer)):
            self._marked = self._link.unanswered()  # type: ignore[union-attr]
        # Where several connections are read together the turn ends once for all: no call for each of them.
        if self._reads is None or not self._reads.reading:
            self.server.end_turn()

    def write_packets(self, packets: list[Packet]) -> None:
        """Part of L{txgear.interfaces.PeerLine}."""
        self._answered = True
        watched = self._watches_writes
        if watched and not (packets := self._cut_at_refusal(packets)):
            return
        chunks: list[bytes] = []
        for packet in packets:
            last = packet[-1]
            if type(last) is Pieces:
                if packet[0] == TEXT:
                    chunks += last.chunks
                    continue
                kind, *arguments = packet[:-1]
                chunks += large(RESPONSE_MAGIC, kind, arguments, last)  # type: ignore[arg-type]
            elif packet[0] == TEXT:
                chunks.append(last)  # type: ignore[arg-type]
            else:
                # As in response, which is one call more for each packet.
                body = b"\0".join(packet[1:])  # type: ignore[arg-type]
                chunks.append(pack_header(RESPONSE_MAGIC, packet[0], len(body)) + body)
        self.write_chunks(chunks)
        if watched:
            self._leave_if_idle()

    def packets_received(self, packets: Iterator[Received]) -> None:
        # All that came in one read came at one time.
        reads = self._reads
        now = (reads is not None and reads.now) or self.server.seconds()
        if not self._answered and now - self.now > DELAYED_FROM and self._link is not None:
            self._marked = self._link.came_late(now - self.now)
        self.now = now
        self._answered = False
        requests = self.requests
        answered, left = 0, LOOK_EVERY
        for kind, arguments in packets:
            try:
                size = requests.get(kind, _unexpected)(self, *arguments)
                if size:
                    answered += size
                    left -= size >> LOOK_SHIFT
            except ServerError as error:
                self._refuse(kind, error)
            left -= 1
            if left < 0:
                if self._is_long(answered):
                    first, self.listing = self.listing, None
                    self.postpone(packets, first)
                    return
                left = LOOK_EVERY

    def _is_long(self, answered: int) -> bool:
        """
        Whether a turn has been long enough.

        @param answered: bytes of its answers, as far as they were counted.
        """
        if self.listing is not None or answered > TURN_BYTES or self._stopped & ~BEHIND:
            return True
        reads = self._reads
        ends = reads.ends if reads is not None and reads.reading else self.now + TURN_SECONDS
        return self.server.seconds() > ends

    def _refuse(self, kind: int, error: ServerError) -> None:
        """
        Answer that a request is refused.

        @raise ProtocolError: it is a submit, and the peer would not understand the answer; or the peer has
            one attempt to log in.
        """
        if isinstance(error, AccessDenied):
            self.server.guard.denied(self.peer, error)
        if kind in SUBMITS:
            if self._refuses_by_closing:
                raise ProtocolError(f"a submit is refused ({error.text})")
            if self.broker.dispatcher.draining:
                self._leaves_when_idle = self._watches_writes = True
        if isinstance(error, AccessDenied) and error.act == LOGIN:
            raise LoginRefused(error)
        text = error.text.encode("utf-8", "backslashreplace")
        code = error.code
        if self.wants_farewell and isinstance(error, QueueError) and error.why == STORE_UNAVAILABLE:
            code = error.store_code
        self.send(self.peer, ERROR, code.encode("ascii"), text)

    @property
    def _refuses_by_closing(self) -> bool:
        """Whether a submit of this peer is refused by the end of its connection."""
        return self.server.settings.refuse_by_closing and not self.peer.extended

    def _cut_at_refusal(self, packets: list[Packet]) -> list[Packet]:
        """
        End the connection where a job could not be stored and such a submit is refused that way. Packets
        before the ERROR are written.

        @return: the packets that are still to be written.
        """
        for index, packet in enumerate(packets if self._refuses_by_closing else ()):
            if packet[:2] == (ERROR, QUEUE_ERROR):
                if index:
                    self.write_packets(packets[:index])
                # At once: the answers that still wait for the disk would be taken for this one.
                self.close(linger=True)
                return []
        return packets

    # The server drains

    def drain(self) -> None:
        """
        Part of L{txgear.interfaces.PeerLine}. Workers stay, as there are jobs for them; so do operators, who
        may want to see what happens, and those who still wait for something, until they have it. So does who
        has only just come, where a submit is still taken: it could not know.
        """
        if not self.is_operator:
            self._leaves_when_idle = self._watches_writes = True
            if self.now != NEVER or not self.broker.dispatcher.has_heir:
                self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        """
        Hang up on a client of a server that drains, if it waits for nothing and has asked for nothing more.
        """
        if not self._leaves_when_idle or self.closing:
            return
        peer = self.peer
        asks = self.decoder.needed or self._is_behind
        results = 0 if self.extension is None else self.extension.results.waits
        waits = peer.abilities or peer.attached or results
        if not asks and not waits and self.server.outbox.nothing_for(peer):
            self.close(linger=True)

    def close(self, linger: bool = False) -> None:
        """As in L{ShortTurns}; it lingers where all do, and where the peer is told why."""
        ends = self.broker.dispatcher.draining or self.broker.halted
        if self.wants_farewell and ends and not self.closing and self.server.outbox.nothing_for(self.peer):
            self.write_chunks([FAREWELL])
            linger = True
        super().close(linger or self.server.lingers)

    def protocol_broken(self, error: ProtocolError) -> None:
        if isinstance(error, Switched):
            # Nothing waits for answers: the request has looked.
            self._switched = error
            if not self._is_behind:
                self._switch()
            return
        if isinstance(error, LoginRefused):
            denied = error.denied
            if not self.server.guard.answers(self.peer, denied):
                self.abort()
                return
            self.send(self.peer, ERROR, denied.code.encode("ascii"), denied.text.encode("utf-8"))
        else:
            self.complain(LogLevel.info, "{peer}: {error}; connection closed", error=error)
        if isinstance(error, PacketTooLarge):
            code = ArgumentTooLarge.default_code.encode("ascii")
            self.send(self.peer, ERROR, code, str(error).encode("ascii"))
        # The packets before it were good, and are answered.
        self.server.outbox.afterwards(self.peer, lambda: self.close(linger=True))
        self.server.outbox.flush()

    def _switch(self) -> None:
        """Let the successor have the connection."""
        switched, self._switched = self._switched, None
        # It is the same connection.
        self.server.made -= 1
        self.hand_over(switched.successor, switched.rest)  # type: ignore[union-attr]

    def _postponed_is_done(self) -> None:
        arrived, half_closed = b"".join(self._arrived), self._half_closed
        if self._switched is not None and not self._lost:
            # Not as if the peer had sent its last packet: the successor is to hear of that.
            self._half_closed = False
            self._switched.rest += arrived
        super()._postponed_is_done()
        if self._switched is None:
            self._leave_if_idle()
        elif not self._lost:
            successor: Any = self._switched.successor
            self._switch()
            if half_closed:
                successor.readConnectionLost()

    def complain(self, level: LogLevel, text: str, **fields: object) -> None:
        """As in L{txgear.net.stream.Stream}; floods are counted, see L{txgear.server.notices}."""
        self.server.notices.complain(self.log, level, text, peer=self.peer_name, **fields)

    def input_over(self) -> None:
        """As in L{ShortTurns}; the connection ends once all answers have been written."""
        if self.closing or (self.caught_up and self.server.outbox.nothing_for(self.peer)):
            super().input_over()
        else:
            self.server.outbox.afterwards(self.peer, super().input_over)
            self.server.outbox.flush()

    # Requests that were hardly meant

    def warn_of_doubt(self, doubt: float, text: str, function: bytes, **fields: Any) -> None:
        """
        Warn that this peer, or another one like it, has asked for what is hardly meant.

        @param doubt: tells it from other doubts.
        @param text: the format of the line; the C{peer} and the C{function} are among its fields.
        """
        peer = self.peer
        self.server.notices.emit(
            self.log,
            LogLevel.warn,
            (doubt, peer.address, peer.client_id),
            text,
            peer=for_line(peer.name).decode("utf-8"),
            function=shown(function).decode("utf-8"),
            **fields,
        )


def _only_for_operators(connection: GearConnection, *arguments: Data) -> int | None:
    # At once: while it lingered, it would have the descriptor.
    if not connection.closing:
        connection.drop("has one of the last descriptors, and gives no text command")
    return None


def _unexpected(connection: GearConnection, *arguments: Data) -> None:
    """A packet type that no peer may send to a server. Where its sender is not known yet it counts, too."""
    connection.is_identified()
    raise InvalidCommand("Command not expected")
