"""
A port that speaks Gearman: binary requests, and text commands on the side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, ClassVar, Final

from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.internet.protocol import Factory
from twisted.logger import LogLevel
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from txgear.broker.model import Job, Reply
from txgear.broker.quickacks import DELAYED_FROM
from txgear.broker.states import DONE, RUNNING
from txgear.errors import (
    ArgumentTooLarge,
    InvalidCommand,
    InvalidMagic,
    InvalidPacket,
    PacketTooLarge,
    ProtocolError,
    QueueError,
    ServerError,
    UnknownOption,
)
from txgear.net.stream import BEHIND
from txgear.protocol import sched
from txgear.protocol.constants import (
    ALL_YOURS,
    CAN_DO,
    CAN_DO_TIMEOUT,
    CANT_DO,
    ECHO_REQ,
    ECHO_RES,
    ERROR,
    EXCEPTIONS_OPTION,
    EXTENSION_OPTION,
    GET_STATUS,
    GET_STATUS_UNIQUE,
    GRAB_JOB,
    GRAB_JOB_ALL,
    GRAB_JOB_UNIQ,
    HIGH,
    JOB_ASSIGN,
    JOB_ASSIGN_ALL,
    JOB_ASSIGN_UNIQ,
    JOB_CREATED,
    LOW,
    MALFORMED,
    MAX_CLIENT_ID,
    NO_JOB,
    NORMAL,
    OPTION_REQ,
    OPTION_RES,
    PRE_SLEEP,
    RESET_ABILITIES,
    RESPONSE_MAGIC,
    SET_CLIENT_ID,
    STATUS_RES,
    STATUS_RES_UNIQUE,
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
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
    WRONG_MAGIC,
)
from txgear.protocol.packets import (
    Data,
    Decoder,
    Packet,
    Pieces,
    Received,
    decimal,
    large,
    reduce_workload,
    response,
)
from txgear.protocol.textlines import for_line, shown
from txgear.server import textcommands
from txgear.server.descriptors import SPOKEN_SECONDS, close_now
from txgear.server.extension import Extension
from txgear.server.gathering import gather
from txgear.server.jobserver import JobServer, socket_of
from txgear.server.tcplink import TcpLink
from txgear.server.turns import LOOK_EVERY, TURN_BYTES, TURN_SECONDS, ShortTurns, Steps
from txgear.server.values import UNITS

MILLISECOND: Final = UNITS["milliseconds"]
SHORTEST_TIMEOUT: Final = 1.0
"""Seconds to which the reference raises a shorter CAN_DO_TIMEOUT: some libraries send seconds."""
LONGEST_TIMEOUT: Final = 2**31 * MILLISECOND
"""Seconds, 24 days; a longer one is no bound."""
YEAR: Final = 366 * 86400.0
"""Seconds within which a date comes again; that it is another day of the week then is hardly meant."""
QUEUE_ERROR: Final = QueueError.default_code.encode("ascii")
INT64: Final = 2**63
"""The first number that a time in seconds cannot be."""
HANDSHAKE_SECONDS: Final = 15.0
"""How long a TLS handshake may take: until then a connection costs twice what it does later."""
LOOK_SHIFT: Final = 12
"""So many bytes, as a power of two, that are brought count as one more request: a look after 64 KiB."""
MUCH: Final = (LOOK_EVERY + 1) << LOOK_SHIFT
"""Bytes for which an answer to a text command is counted at the least: each may take long."""
INT32: Final = 2**31
"""The first number that a job's progress cannot be: C clients read it into an int."""


@implementer(IHandshakeListener)
class GearProtocol(ShortTurns):
    """
    One connection to the server: a client, a worker, an operator at a telnet,
    or all of them at once.
    """

    __slots__ = (
        "_answered",
        "_broker",
        "_departing",
        "_extension",
        "_is_operator",
        "_is_special",
        "_link",
        "_list",
        "_marked",
        "_now",
        "_send",
        "_server",
        "peer",
    )

    def __init__(self, server: JobServer) -> None:
        decoder = Decoder(limit=server.settings.max_packet)
        super().__init__(server.clock, decoder, server.reads, server.cooperator, server.budget)
        self._server = server
        self._broker = server.broker
        self._now = 0.0
        self._answered = True
        self._link: TcpLink | None = None
        self._marked = False
        self._send = server.outbox.send
        self._extension: Extension | None = None
        self._list: Steps | None = None
        # Whether a write is to be looked at: one look for all that is rare.
        self._is_special = server.settings.refuse_by_closing
        self._departing = False
        self._is_operator = False

    def connectionMade(self) -> None:
        super().connectionMade()
        self.peer = self._server.accept(self, self.transport)
        self._link = self.peer.link = TcpLink.over(socket_of(self.transport), self._server.quick_acks)
        if self.peer.descriptor >= self._server.descriptors.text_only:
            self._has_one_of_the_last()
        elif isinstance(self.transport, TLSMemoryBIOProtocol):
            self._timer = self._clock.callLater(HANDSHAKE_SECONDS, self._handshake_overdue)

    def _has_one_of_the_last(self) -> None:
        """Nearly no descriptors are left: this connection is good for text commands, or for nothing."""
        if self.peer.descriptor >= self._server.descriptors.refused:
            self.complain(LogLevel.warn, "{peer}: no descriptors are left; connection closed")
            close_now(self.transport)
            return
        timer = self._timer = self._clock.callLater(SPOKEN_SECONDS, self._spoken_overdue)

        def text(protocol: GearProtocol, line: bytes) -> int:
            if protocol._timer is timer:
                protocol._cancel_timer()
            return protocol._text(line)

        refused = dict.fromkeys(self.requests, _only_for_operators)
        self.requests = {**refused, TEXT: text}  # type: ignore[misc]

    def _spoken_overdue(self) -> None:
        self._timer = None
        self.give_up("has one of the last descriptors, and gives no text command")

    def handshakeCompleted(self) -> None:
        """Part of C{IHandshakeListener}: there is TLS now."""
        self._cancel_timer()

    def _handshake_overdue(self) -> None:
        self._timer = None
        self.give_up("has made no TLS handshake")

    def left(self) -> None:
        """The connection is gone, and what it sent has been gone through."""
        if self._extension is not None:
            self._extension.leave()
        self._server.unread += self.unwritten
        self._server.disconnect(self.peer)

    def turn_ended(self) -> None:
        # Before the turn ends: in one that several connections share, the answer leaves later.
        if self._marked and not (self.closing or self._server.outbox.has_for(self.peer)):
            self._marked = self._link.unanswered()  # type: ignore[union-attr]
        # Where several connections are read together the turn ends once for all: no call for each of them.
        if self._reads is None or not self._reads.reading:
            self._server.end_turn()

    def write_packets(self, packets: list[Packet]) -> None:
        """Part of L{txgear.interfaces.PeerLine}."""
        self._answered = True
        special = self._is_special
        if special and not (packets := self._up_to_refusal(packets)):
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
                chunks.append(response(*packet))  # type: ignore[arg-type]
        self.write_chunks(chunks)
        if special:
            self._depart()

    def packets_received(self, packets: Iterator[Received]) -> None:
        # What came in one read came at one time.
        reads = self._reads
        now = (reads is not None and reads.now) or self._server.seconds()
        if not self._answered and now - self._now > DELAYED_FROM and self._link is not None:
            self._marked = self._link.came_late(now - self._now)
        self._now = now
        self._answered = False
        requests = self.requests
        brought, left = 0, LOOK_EVERY
        for kind, arguments in packets:
            try:
                much = requests.get(kind, _unexpected)(self, *arguments)
                if much:
                    brought += much
                    left -= much >> LOOK_SHIFT
            except ServerError as error:
                self._refuse(kind, error)
            left -= 1
            if left < 0:
                if self._is_long(brought):
                    first, self._list = self._list, None
                    self.put_off(packets, first)
                    return
                left = LOOK_EVERY

    def _is_long(self, brought: int) -> bool:
        """
        Whether a turn has been long enough.

        @param brought: bytes that it has brought the peer, as far as they were counted.
        """
        if self._list is not None or brought > TURN_BYTES or self._stopped & ~BEHIND:
            return True
        reads = self._reads
        ends = reads.ends if reads is not None and reads.reading else self._now + TURN_SECONDS
        return self._server.seconds() > ends

    def _refuse(self, kind: int, error: ServerError) -> None:
        """
        A request is not carried out.

        @raise ProtocolError: it is a submit, and its answer would not be understood.
        """
        if kind in SUBMITS:
            if self._refuses_by_closing:
                raise ProtocolError(f"a submit is refused ({error.text})")
            if self._broker.dispatcher.draining:
                self._departing = self._is_special = True
        text = error.text.encode("utf-8", "backslashreplace")
        self._send(self.peer, ERROR, error.code.encode("ascii"), text)

    @property
    def _refuses_by_closing(self) -> bool:
        """Whether a submit of this peer is refused by the end of its connection."""
        return self._server.settings.refuse_by_closing and not self.peer.extended

    def _up_to_refusal(self, packets: list[Packet]) -> list[Packet]:
        """
        Where a job could not be stored, and that ends the connection: write what comes before the news of it.

        @return: what is still to be written, in any other case all.
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
        may want to see what happens, and those who still wait for something, until they have it.
        """
        if not self._is_operator:
            self._departing = self._is_special = True
            self._depart()

    def _depart(self) -> None:
        """Hang up on a client of a server that drains, if there is nothing more for it here."""
        if not self._departing or self.closing:
            return
        peer = self.peer
        asks = self.decoder.needed or self._catching_up
        waits = peer.abilities or peer.attached or (self._extension is not None and self._extension.waits)
        if not asks and not waits and self._server.outbox.nothing_for(peer):
            self.close(linger=True)

    def protocol_broken(self, error: ProtocolError) -> None:
        self.complain(LogLevel.info, "{peer}: {error}; connection closed", error=error)
        if isinstance(error, PacketTooLarge):
            code = ArgumentTooLarge.default_code.encode("ascii")
            self._send(self.peer, ERROR, code, str(error).encode("ascii"))
        # What came before it was good, and is answered.
        self._server.outbox.afterwards(self.peer, lambda: self.close(linger=True))
        self._server.outbox.flush()

    def _caught_up_with_it(self) -> None:
        super()._caught_up_with_it()
        self._depart()

    def complain(self, level: LogLevel, text: str, **fields: object) -> None:
        """As in L{txgear.net.stream.Stream}: some at once, and then each minute how many more there were."""
        self._server.notices.complain(self.log, level, text, peer=self.peer_name, **fields)

    def asked_for_all(self) -> None:
        """The peer sends no more: it is sent what it asked for, and that is the end."""
        if self.closing or (self.caught_up and self._server.outbox.nothing_for(self.peer)):
            super().asked_for_all()
        else:
            self._server.outbox.afterwards(self.peer, super().asked_for_all)
            self._server.outbox.flush()

    # Anybody

    def _echo(self, data: Data) -> None:
        self._send(self.peer, ECHO_RES, data)

    def _option(self, option: bytes) -> None:
        name = option.split(b"\0", 1)[0].lower()
        if name == EXCEPTIONS_OPTION:
            self.peer.exceptions = True
        elif name == EXTENSION_OPTION:
            # From here on the decoder lets the packets pass that the extension takes.
            self.peer.extended = self.decoder.extended = True
            self._extension = self._extension or Extension(self._server, self.peer, self)
        else:
            raise UnknownOption("Server does not recognize given option")
        self._send(self.peer, OPTION_RES, option)

    def _set_client_id(self, client_id: bytes) -> None:
        self.peer.client_id = client_id[:MAX_CLIENT_ID].removesuffix(b"\0")

    def _text(self, line: bytes) -> int:
        self._is_operator = True
        server = self._server
        answer = textcommands.answer(server, self.peer, line)
        if isinstance(answer, bytes):
            self._send(self.peer, TEXT, answer)
            return max(len(answer), MUCH)
        if isinstance(answer, Reply):
            server.outbox.hold(self.peer, answer)
        else:
            self._list = gather(self, answer, server.gathering, server.seconds, self._listed)
        return MUCH

    def _listed(self, answer: Data) -> None:
        self._send(self.peer, TEXT, answer)
        self._server.end_turn()

    def _wrong_magic(self) -> None:
        raise InvalidMagic("Request magic expected")

    def _malformed(self, name: bytes) -> None:
        raise InvalidPacket(f"{name.decode('ascii')} lacks arguments")

    # What was hardly meant

    def _doubt(self, doubt: float, text: str, function: bytes, **fields: Any) -> None:
        """
        Mention what this peer, or another one like it, has asked for.

        @param doubt: tells it from others.
        @param text: the format of the line; the C{peer} and the C{function} are among its fields.
        """
        peer = self.peer
        self._server.notices.say(
            self.log,
            LogLevel.warn,
            (doubt, peer.address, peer.client_id),
            text,
            peer=for_line(peer.name).decode("utf-8"),
            function=shown(function).decode("utf-8"),
            **fields,
        )

    def _doubt_unit(self, function: bytes, seconds: float) -> None:
        self._doubt(
            SHORTEST_TIMEOUT,
            "{peer} gives itself {milliseconds:g} milliseconds for a job of {function}, and gets"
            " {shortest:g}. If it means seconds, see --can-do-timeout-unit",
            function,
            milliseconds=seconds / MILLISECOND,
            shortest=SHORTEST_TIMEOUT / MILLISECOND,
        )

    def _doubt_weekday(self, function: bytes, due: float) -> None:
        self._doubt(
            YEAR,
            "{peer} submits a job of {function} for a date that has its day of the week only on {due}."
            " If that is not meant: 0 is Monday",
            function,
            due=date.fromtimestamp(due).isoformat(),
        )

    # Clients

    def _epoch(self, function: bytes, unique: bytes, when: bytes, workload: Data) -> None:
        due = decimal(when)
        if not -INT64 <= due < INT64:
            raise ArgumentTooLarge("The time is out of range")
        self._server.wall_clock()
        job = self._broker.submit(
            self.peer, function, unique, workload, self._now, background=True, due=float(due)
        )
        self._server.created(self.peer, job, background=True)

    def _sched(self, function: bytes, unique: bytes, *rest: Any) -> None:
        now = self._server.wall_clock()
        fields = sched.parse_fields(list(rest[:-1]))
        due = sched.next_moment(fields, now)
        if None not in fields[2:] and due > now + YEAR:
            self._doubt_weekday(function, due)
        job = self._broker.submit(self.peer, function, unique, rest[-1], self._now, background=True, due=due)
        self._server.created(self.peer, job, background=True)

    def _reduce(
        self, function: bytes, unique: bytes, reducer: bytes, rest: Data, background: bool = False
    ) -> None:
        job = self._broker.submit(
            self.peer,
            function,
            unique,
            reduce_workload(rest),
            self._now,
            background=background,
            reducer=reducer,
        )
        self._server.created(self.peer, job, background)

    def _reduce_background(self, function: bytes, unique: bytes, reducer: bytes, rest: Data) -> None:
        self._reduce(function, unique, reducer, rest, background=True)

    def _get_status(self, handle: bytes) -> None:
        handle = handle.removesuffix(b"\0")
        self._send(self.peer, STATUS_RES, handle, *_status_columns(self._broker.table.by_handle(handle)))

    def _get_status_unique(self, unique: bytes) -> None:
        unique = unique.removesuffix(b"\0")
        job = self._broker.table.by_unique(unique)
        clients = b"%d" % len(job.clients) if job is not None else b"0"
        self._send(self.peer, STATUS_RES_UNIQUE, unique, *_status_columns(job), clients)

    # Workers

    def _can_do(self, function: bytes) -> None:
        self._broker.can_do(self.peer, function.removesuffix(b"\0"), 0.0, self._now)

    def _can_do_timeout(self, function: bytes, timeout: bytes) -> None:
        meant = self._server.settings.can_do_timeout_unit
        seconds = decimal(timeout) * (MILLISECOND if self.peer.extended else UNITS[meant])
        if not 0 < seconds <= LONGEST_TIMEOUT:
            seconds = 0.0
        elif seconds < SHORTEST_TIMEOUT:
            self._doubt_unit(function, seconds)
            seconds = SHORTEST_TIMEOUT
        self._broker.can_do(self.peer, function, seconds, self._now)

    def _cant_do(self, function: bytes) -> None:
        self._broker.cant_do(self.peer, function.removesuffix(b"\0"), self._now)

    def _reset_abilities(self) -> None:
        self._broker.reset_abilities(self.peer, self._now)

    def _all_yours(self) -> None:
        """The worker serves no other server: good to know, but nothing follows from it."""

    def _pre_sleep(self) -> None:
        self._broker.pre_sleep(self.peer, self._now)

    def _grab(self) -> int:
        job = self._broker.grab(self.peer, self._now)
        if job is None:
            self._send(self.peer, NO_JOB)
            return 0
        self._send(self.peer, JOB_ASSIGN, job.handle, job.function.name, job.workload)
        return job.size

    def _grab_uniq(self) -> int:
        job = self._broker.grab(self.peer, self._now)
        if job is None:
            self._send(self.peer, NO_JOB)
            return 0
        self._assign_uniq(job)
        return job.size

    def _grab_all(self) -> int:
        job = self._broker.grab(self.peer, self._now)
        if job is None:
            self._send(self.peer, NO_JOB)
            return 0
        if job.reducer:
            self._send(
                self.peer,
                JOB_ASSIGN_ALL,
                job.handle,
                job.function.name,
                job.unique,
                job.reducer,
                job.workload,
            )
        else:
            # As in the reference: libgearman takes JOB_ASSIGN_ALL for a reduce job.
            self._assign_uniq(job)
        return job.size

    def _assign_uniq(self, job: Job) -> None:
        self._send(self.peer, JOB_ASSIGN_UNIQ, job.handle, job.function.name, job.unique, job.workload)

    def _work_data(self, handle: bytes, data: Data) -> None:
        self._broker.work_data(self.peer, handle, data, self._now)

    def _work_warning(self, handle: bytes, data: Data) -> None:
        self._broker.work_warning(self.peer, handle, data, self._now)

    def _work_status(self, handle: bytes, numerator: bytes, denominator: bytes) -> None:
        progress = _progress(numerator), _progress(denominator)
        self._broker.work_status(
            self.peer, handle, numerator, denominator.removesuffix(b"\0"), progress, self._now
        )

    def _work_complete(self, handle: bytes, result: Data) -> None:
        self._broker.work_complete(self.peer, handle, result, self._now)

    def _work_fail(self, handle: bytes) -> None:
        self._broker.work_fail(self.peer, handle.removesuffix(b"\0"), self._now)

    def _work_exception(self, handle: bytes, data: Data) -> None:
        self._broker.work_exception(self.peer, handle, data, self._now)

    requests: ClassVar[dict[int, Callable[..., int | None]]] = {
        MALFORMED: _malformed,
        WRONG_MAGIC: _wrong_magic,
        TEXT: _text,
        CAN_DO: _can_do,
        CANT_DO: _cant_do,
        RESET_ABILITIES: _reset_abilities,
        PRE_SLEEP: _pre_sleep,
        GRAB_JOB: _grab,
        WORK_STATUS: _work_status,
        WORK_COMPLETE: _work_complete,
        WORK_FAIL: _work_fail,
        GET_STATUS: _get_status,
        ECHO_REQ: _echo,
        SET_CLIENT_ID: _set_client_id,
        CAN_DO_TIMEOUT: _can_do_timeout,
        ALL_YOURS: _all_yours,
        WORK_EXCEPTION: _work_exception,
        OPTION_REQ: _option,
        WORK_DATA: _work_data,
        WORK_WARNING: _work_warning,
        GRAB_JOB_UNIQ: _grab_uniq,
        SUBMIT_JOB_SCHED: _sched,
        SUBMIT_JOB_EPOCH: _epoch,
        SUBMIT_REDUCE_JOB: _reduce,
        SUBMIT_REDUCE_JOB_BACKGROUND: _reduce_background,
        GRAB_JOB_ALL: _grab_all,
        GET_STATUS_UNIQUE: _get_status_unique,
    }
    """
    What each type of packet asks for; no other may be sent to a server. Each returns the bytes that
    it brings the peer, where those may be many more than the packet has.
    """


def _only_for_operators(protocol: GearProtocol, *arguments: Data) -> int | None:
    # At once: while it lingered, it would have the descriptor.
    if not protocol.closing:
        protocol.give_up("has one of the last descriptors, and gives no text command")
    return None


def _unexpected(protocol: GearProtocol, *arguments: Data) -> None:
    """A packet type that no peer may send to a server."""
    raise InvalidCommand("Command not expected")


def _submit(priority: int, background: bool) -> Callable[[GearProtocol, bytes, bytes, Data], None]:
    def submit(self: GearProtocol, function: bytes, unique: bytes, workload: Data) -> None:
        peer = self.peer
        job = self._broker.submit(peer, function, unique, workload, self._now, priority, background)
        if job.reply is None and job.state < DONE:
            self._send(peer, JOB_CREATED, job.handle)
        else:
            self._server.created(peer, job, background)

    return submit


def _private(request: Callable[..., int | None]) -> Callable[..., int | None]:
    def ask(self: GearProtocol, *arguments: Data) -> int | None:
        return request(self._extension, *arguments)

    return ask


GearProtocol.requests.update({kind: _private(request) for kind, request in Extension.requests.items()})
GearProtocol.requests.update(
    {
        SUBMIT_JOB: _submit(NORMAL, False),
        SUBMIT_JOB_BG: _submit(NORMAL, True),
        SUBMIT_JOB_HIGH: _submit(HIGH, False),
        SUBMIT_JOB_HIGH_BG: _submit(HIGH, True),
        SUBMIT_JOB_LOW: _submit(LOW, False),
        SUBMIT_JOB_LOW_BG: _submit(LOW, True),
    }
)


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


def _status_columns(job: Job | None) -> tuple[bytes, bytes, bytes, bytes]:
    """Known, running, numerator and denominator, as a status answer has them."""
    if job is None:
        return b"0", b"0", b"0", b"0"
    return b"1", b"%d" % (job.state == RUNNING), b"%d" % job.numerator, b"%d" % job.denominator


def _progress(text: bytes) -> int:
    return min(max(decimal(text), 1 - INT32), INT32 - 1)


class GearFactory(Factory):
    """Makes a L{GearProtocol} for each connection of one port."""

    noisy = False

    def __init__(self, server: JobServer) -> None:
        self._server = server

    def buildProtocol(self, addr: IAddress | None) -> GearProtocol:
        protocol = GearProtocol(self._server)
        protocol.factory = self
        return protocol
