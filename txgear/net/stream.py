"""
What all connections have in common, those of the server and those to one: packets cut from what
arrives, chunks written with bounds, and an end that comes in a bounded time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPullProducer,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger, LogLevel
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear.errors import ProtocolError
from txgear.net.batchedreads import BatchedReads
from txgear.net.undertls import PORTION, UnderTls
from txgear.protocol.packets import PIECES_FROM, Data, Decoder, Received

if TYPE_CHECKING:
    import socket

PAUSE_FROM: Final = 64 * 1024 * 1024
"""
Unwritten bytes from which a peer is no longer read, so that one that asks and
never reads the answers fills no memory. It is as large as the largest packet: a client
that writes all its jobs before it reads the first result must not wait for us
while we wait for it.
"""
DROP_FROM: Final = 4 * PAUSE_FROM
"""Unwritten bytes at which a peer is given up: results of its jobs still come when it is paused."""
STALL_SECONDS: Final = 60.0
"""How long a paused peer may leave all of its output unread."""
CLOSE_SECONDS: Final = 10.0
"""How long a connection that was asked to end may take to send what is left."""
READ_SIZE: Final = 64 * 1024
"""Bytes of one read, Twisted's own measure."""
LARGE_READ_SIZE: Final = 1024 * 1024
"""Bytes of one read at the most, while a large packet is under way: fewer turns and pieces."""
SENDMSG_CHUNKS: Final = 1024
"""What one C{sendmsg} takes (IOV_MAX on Linux)."""

# The life of a connection. A state that is later in this list is never followed by an earlier one.
OPEN: Final = 0
"""What arrives is looked at, and what is written leaves."""
BROKEN: Final = 1
"""What arrives cannot be understood, and is dropped. What is written still leaves."""
CLOSING: Final = 2
"""Nothing is read, and nothing more is written. What was written before still leaves."""
LINGERING: Final = 3
"""Like L{CLOSING}, but only our side ends: what arrives is read and dropped until the peer ends its own."""
CLOSED: Final = 4
"""The connection was aborted or is lost."""

# Where chunks go that are written. One that is closing is L{BLOCKED}, or L{SHUT}.
FLOWING: Final = 0
"""To the transport, at once."""
BLOCKED: Final = 1
"""Into a queue, until the transport has written what it has."""
SHUT: Final = 2
"""Nowhere: the connection ends, or the peer has closed it, and only what it sent before is still read."""

# Why a peer is not read; several reasons may hold.
UNREAD: Final = 1
"""The peer does not read what it is sent."""
HELD: Final = 2
"""Too many of its answers wait for the disk."""
BEHIND: Final = 4
"""What it sent last is not carried out yet; see L{txgear.server.turns}."""
CROWDED: Final = 8
"""All peers together have sent too much that has not arrived whole; see L{txgear.server.budget}."""
ENDING: Final = 16
"""The server ends, and another one will answer."""


class Traffic:
    """
    What several connections have carried, those that are gone too; without what TLS adds.

    @ivar received: bytes that have arrived.
    @ivar sent: bytes that transports have taken.
    """

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received = self.sent = 0


@implementer(IHalfCloseableProtocol, IHandshakeListener, IPushProducer, IPullProducer)
class Stream(Protocol):
    """
    A connection that speaks packets and lines.

    A subclass is given each packet by L{packet_received}, or all that arrived together by
    L{packets_received}; and then L{turn_ended} is called.

    On a plain TCP connection with nothing unsent, a write goes straight to the socket: that spares the
    reactor three system calls. What the socket does not take waits here, in pieces, until the transport
    has room. On a TLS one, L{UnderTls} does the same with what has been encrypted. On any other transport
    every write goes through its C{write}.

    @ivar state: how far its life has come: L{OPEN}, L{BROKEN}, L{CLOSING}, L{LINGERING} or L{CLOSED}.
    @ivar unwritten: bytes that wait for the peer to read.
    """

    # With more than 30 attributes in it a dict is the instance's own: 1.3 KB for each connection.
    __slots__ = (
        "_caught_up",
        "_clock",
        "_fd",
        "_output",
        "_read_size",
        "_reads",
        "_socket",
        "_stopped",
        "_timer",
        "_traffic",
        "_under",
        "_unfinished",
        "_waiting",
        "decoder",
        "state",
        "unwritten",
    )

    log = Logger()

    pause_from = PAUSE_FROM
    drop_from = DROP_FROM

    def __init__(
        self,
        clock: IReactorTime,
        decoder: Decoder,
        reads: BatchedReads | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        """
        @param clock: for the bounds in time.
        @param decoder: cuts what arrives.
        @param reads: reads the connection together with others, if it is a plain TCP one.
        @param traffic: counts its bytes; by default nobody asks for them.
        """
        self._clock = clock
        self.decoder = decoder
        self._reads = reads
        self._traffic = Traffic() if traffic is None else traffic
        self._fd = -1
        self.state = OPEN
        self.unwritten = 0
        self._waiting: deque[bytes] = deque()
        self._output = FLOWING
        self._caught_up: list[Callable[[], object]] = []
        self._stopped = 0
        self._timer: IDelayedCall | None = None
        self._socket: socket.socket | None = None
        self._under: UnderTls | None = None
        self._read_size = READ_SIZE
        self._unfinished = 0

    @property
    def closing(self) -> bool:
        """Whether the connection ends or has ended: nothing more is looked at, and nothing more written."""
        return self.state > BROKEN

    @property
    def caught_up(self) -> bool:
        """Whether the transport has taken all that was written."""
        return self._output != BLOCKED

    # What arrives

    def connectionMade(self) -> None:
        transport = self.transport
        assert transport is not None
        if isinstance(transport, Connection) and not transport.TLS:
            self._socket = transport.getHandle()
            if self._reads is not None:
                self._fd = transport.fileno()
                self._reads.add(transport)
        else:
            self._under = UnderTls.put(transport, self._reads)
            transport.registerProducer(self, True)  # type: ignore[attr-defined]

    def handshakeCompleted(self) -> None:
        """Part of C{IHandshakeListener}: there is TLS now."""
        if self._under is not None:
            self._under.join()

    def dataReceived(self, data: bytes) -> None:
        if self.state:
            return
        self._traffic.received += len(data)
        try:
            self.packets_received(self.decoder.feed(data))
        except ProtocolError as error:
            self.break_off(error)
        finally:
            self.turn_ended()
        if self.decoder.needed or self._unfinished:
            self.unfinished(self.decoder.buffered)

    def unfinished(self, held: int) -> None:
        """
        A packet or line has arrived in part, or the rest of it has arrived.

        @param held: bytes of the part; 0 if there is none any more.
        """
        self._unfinished = held
        # A large packet is read in large pieces; small reads stay small, as each is allocated whole.
        large = self.decoder.needed > PIECES_FROM
        size = min(max(self.decoder.missing, READ_SIZE), LARGE_READ_SIZE) if large else READ_SIZE
        if size != self._read_size:
            self._read_size = size
            if self._socket is not None:
                self.transport.bufferSize = size  # type: ignore[union-attr]

    def packets_received(self, packets: Iterator[Received]) -> None:
        """
        Some packets and lines have arrived together.

        @param packets: is to be used up; raises L{ProtocolError} where nothing more can be understood.
        """
        for kind, arguments in packets:
            self.packet_received(kind, arguments)
            if self.state > BROKEN:
                return

    def packet_received(self, kind: int, arguments: list[Data]) -> None:
        """
        One packet or line has arrived.

        @param kind: its type, or one of the decoder's own kinds.
        @param arguments: what it carries.
        """
        raise NotImplementedError

    def break_off(self, error: ProtocolError) -> None:
        """Look at nothing more that arrives: the peer has broken the protocol."""
        self.state = max(self.state, BROKEN)
        self.protocol_broken(error)

    def protocol_broken(self, error: ProtocolError) -> None:
        """The peer has broken the protocol. By default the connection is aborted."""
        self.complain(LogLevel.info, "{peer}: {error}; connection closed", error=error)
        self.abort()

    def complain(self, level: LogLevel, text: str, **fields: object) -> None:
        """
        Log something that is the peer's fault.

        @param text: the format of the line; C{peer} is one of its fields.
        """
        self.log.emit(level, text, peer=self.peer_name, **fields)

    def turn_ended(self) -> None:
        """All that arrived together has been carried out; a subclass writes the answers here."""

    # What leaves

    def write_chunks(self, chunks: list[bytes]) -> None:
        """
        Write these bytes after all that were written before.

        @param chunks: at least one; the list belongs to the stream from now on.
        """
        if self._output:
            if self._output == BLOCKED and not self.closing:
                self._waiting.extend(chunks)
                self._check_bounds(chunks)
            return
        sock = self._socket
        if sock is None:
            if self._under is None:
                self._traffic.sent += sum(map(len, chunks))
                self.transport.writeSequence(chunks)  # type: ignore[union-attr]
            else:
                self._encrypt(chunks)
            return
        try:
            if len(chunks) == 1:
                data = chunks[0]
                if (sent := sock.send(data)) == len(data):
                    self._traffic.sent += sent
                    return
            else:
                size = sum(map(len, chunks))
                if size <= PIECES_FROM:
                    chunks = [data := b"".join(chunks)]
                    sent = sock.send(data)
                else:
                    sent = sock.sendmsg(chunks[:SENDMSG_CHUNKS])
                if sent == size:
                    self._traffic.sent += sent
                    return
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError):
            # The peer has gone, and reads no answer. What it has sent before is still to be read: if the
            # transport tried to write, that would be lost.
            self._output = SHUT
            return
        except OSError:
            # A broken connection: the reactor finds out at its own attempt.
            sent = 0
        self._block(chunks, sent)

    def _encrypt(self, chunks: list[bytes]) -> None:
        """Write through TLS, in portions: what follows when the transport is full is queued."""
        send = self._under.send  # type: ignore[union-attr]
        if (size := sum(map(len, chunks))) <= PORTION:
            self._traffic.sent += size
            send(chunks)
            return
        rest = deque(
            chunk[at : at + PORTION] if len(chunk) > PORTION else chunk
            for chunk in chunks
            for at in range(0, len(chunk), PORTION)
        )
        while rest and not self._output:
            portion: list[bytes] = []
            size = 0
            while rest and size < PORTION:
                portion.append(chunk := rest.popleft())
                size += len(chunk)
            self._traffic.sent += size
            send(portion)
        if rest and self._output == BLOCKED:
            self._waiting.extendleft(reversed(rest))
            self._check_bounds(list(rest))

    def _block(self, chunks: list[bytes], sent: int) -> None:
        """The socket is full: the transport waits with a part until it takes more, and the rest is queued."""
        self._traffic.sent += sent
        first = 0
        while sent >= len(chunks[first]):
            sent -= len(chunks[first])
            first += 1
        head = chunks[first]
        transport = self.transport
        piece = head[sent : sent + PIECES_FROM]
        self._traffic.sent += len(piece)
        transport.write(piece)  # type: ignore[union-attr]
        # A pull producer is asked for more once all was written. It is asked
        # at once, too, on being registered: not to be taken for that.
        transport.registerProducer(self, False)  # type: ignore[union-attr]
        self._output = BLOCKED
        rest = chunks[first + 1 :]
        if len(head) > sent + PIECES_FROM:
            rest.insert(0, head[sent + PIECES_FROM :])
        self._waiting.extendleft(reversed(rest))
        self._check_bounds(rest)

    def _check_bounds(self, chunks: list[bytes]) -> None:
        """More chunks wait for the peer to read: pause it, or drop it."""
        self.unwritten += sum(map(len, chunks))
        if self.unwritten <= self.pause_from:
            return
        if self.unwritten > self.drop_from:
            text = "{peer} leaves {size} bytes unread; connection dropped"
            self.complain(LogLevel.warn, text, size=self.unwritten)
            self.abort()
        elif not self._stopped & UNREAD:
            self.stop_reading(UNREAD)
            self._timer = self._clock.callLater(STALL_SECONDS, self._stalled)

    def _stalled(self) -> None:
        self._timer = None
        self.complain(LogLevel.warn, "{peer} reads nothing; connection dropped")
        self.abort()

    def pauseProducing(self) -> None:
        """The transport, which is no plain TCP one, is full: what follows is queued."""
        if self._output == FLOWING:
            self._output = BLOCKED

    def resumeProducing(self) -> None:
        """The transport has written all that it had: give it what is queued."""
        if self._output != BLOCKED:
            return
        self._output = FLOWING
        if self._socket is not None:
            self.transport.unregisterProducer()  # type: ignore[union-attr]
        waiting = self._waiting
        while waiting and self._output == FLOWING:
            # Not all at once: each time would cost as much as there is left, however little is taken.
            chunks = [waiting.popleft() for _ in range(min(len(waiting), SENDMSG_CHUNKS))]
            self.unwritten -= sum(map(len, chunks))
            self.write_chunks(chunks)
        if self._stopped & UNREAD and not self.closing:
            self._cancel_timer()
            if self.unwritten <= self.pause_from:
                self.go_on_reading(UNREAD)
            else:  # it does read, if slowly
                self._timer = self._clock.callLater(STALL_SECONDS, self._stalled)
        if self._output == BLOCKED:
            return
        if self.closing:
            self._end()
        else:
            calls, self._caught_up = self._caught_up, []
            for call in calls:
                call()

    def when_caught_up(self, call: Callable[[], object]) -> None:
        """
        Call this once when the transport has taken all that is written, at once if it has.
        It is not called if the connection ends before.
        """
        if self._output == BLOCKED:
            self._caught_up.append(call)
        elif not self.closing:
            call()

    def pause_reading(self) -> None:
        """Stop reading from the peer until L{resume_reading}."""
        self.stop_reading(HELD)

    def resume_reading(self) -> None:
        """End L{pause_reading}: read from the peer again, unless there is another reason not to."""
        self.go_on_reading(HELD)

    def stop_reading(self, reason: int) -> None:
        """Do not read from the peer while this reason holds. A reason that is given twice holds once."""
        if not self._stopped:
            self._stop_reading()
        self._stopped |= reason

    def go_on_reading(self, reason: int) -> None:
        """This reason does not hold any more: read from the peer again, unless there is another one."""
        if self._stopped & reason:
            self._stopped &= ~reason
            if not self._stopped and not self.closing:
                self._start_reading()

    def _stop_reading(self) -> None:
        if self._fd >= 0:
            self._reads.remove(self._fd, self.transport)  # type: ignore[union-attr, arg-type]
        self.transport.pauseProducing()  # type: ignore[union-attr]

    def _start_reading(self) -> None:
        if self._fd >= 0:
            self._reads.add(self.transport)  # type: ignore[union-attr, arg-type]
        else:
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def stopProducing(self) -> None:
        """The transport is gone; C{connectionLost} follows."""

    # The end

    def close(self, linger: bool = False) -> None:
        """
        End the connection once what was written has left, within L{CLOSE_SECONDS}.
        Nothing that arrives is looked at any more. Closing it twice is closing it once.

        @param linger: end our side only, and wait for the peer to end its own: a
            socket that is closed while more arrives resets the connection, and
            the peer may never see the last answer.
        """
        if self.closing:
            return
        self.state = LINGERING if linger else CLOSING
        self._cancel_timer()
        self._timer = self._clock.callLater(CLOSE_SECONDS, self._close_overdue)
        if not linger:
            self._stop_reading()
        elif self._stopped:
            self._stopped &= UNREAD
            if not self._stopped:
                self._start_reading()
        if self._output != BLOCKED:
            self._end()

    def _end(self) -> None:
        """Have the transport end the connection: all that was written has left."""
        self._output = SHUT
        if self._socket is not None and self.state == LINGERING:
            self.transport.loseWriteConnection()  # type: ignore[union-attr]
            return
        if self._socket is None:
            self.transport.unregisterProducer()  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]
        if self._under is not None and self.state == CLOSING:
            self._under.hang_up()

    def _close_overdue(self) -> None:
        self._timer = None
        self.transport.abortConnection()  # type: ignore[union-attr]

    def readConnectionLost(self) -> None:
        """
        Part of C{IHalfCloseableProtocol}: the peer sends no more. It still gets
        what it asked for (C{echo status | nc -N}), and then the connection ends.
        """
        if self.closing:
            self.transport.loseConnection()  # type: ignore[union-attr]
        elif self._output == BLOCKED or self._socket is None:
            self.close()
        else:
            # All has been written. When ten thousand leave, another turn for each of them would count.
            self.transport.connectionLost(Failure(CONNECTION_DONE))  # type: ignore[union-attr]

    def writeConnectionLost(self) -> None:
        """Part of C{IHalfCloseableProtocol}: our side has ended, the peer's is awaited."""

    def hand_over(self, successor: Protocol, rest: bytes = b"") -> None:
        """
        Let another protocol have the connection: for this one it has ended.

        @param successor: has had no connection yet.
        @param rest: what has arrived, and is for it.
        """
        transport: Any = self.transport
        assert not self._waiting, self.unwritten
        under, read_together = self._under, self._fd >= 0
        if self._socket is None or self._output == BLOCKED:
            # What it has been given it writes all the same.
            transport.unregisterProducer()
        self.connectionLost(Failure(CONNECTION_DONE))
        if under is not None:
            under.leave()
        if isinstance(transport, ProtocolWrapper):
            transport.wrappedProtocol = successor
        else:
            transport.protocol = successor
        if read_together:
            transport.startReading()
        elif under is None and self._stopped:
            transport.resumeProducing()
        successor.makeConnection(transport)
        if isinstance(transport, TLSMemoryBIOProtocol):
            successor.handshakeCompleted()  # type: ignore[attr-defined]
        # It may have closed the connection at once.
        if rest and not transport.disconnecting:
            successor.dataReceived(rest)

    def abort(self) -> None:
        """End the connection now; what was not written is lost."""
        self._be_closed()
        self.transport.abortConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._be_closed()
        if self._under is not None:
            # They refer to each other, and the garbage collector would find that out late.
            self._under = None

    def _be_closed(self) -> None:
        if self._fd >= 0:
            self._reads.remove(self._fd, self.transport)  # type: ignore[union-attr, arg-type]
        elif self._under is not None:
            self._under.part()
        self.state = CLOSED
        self._output = SHUT
        self._cancel_timer()
        self._waiting.clear()

    def check(self) -> None:
        """
        Do the states and the count of unwritten bytes agree? For tests.

        @raise AssertionError: they do not.
        """
        assert self.closing <= (self._output != FLOWING), (self.state, self._output)
        assert bool(self._waiting) <= (self._output == BLOCKED), self._output
        if self.state != CLOSED:
            assert self.unwritten == sum(map(len, self._waiting)), self.unwritten
        assert bool(self._stopped & UNREAD) <= (self._timer is not None or self.closing), self._stopped

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            timer, self._timer = self._timer, None
            timer.cancel()

    @property
    def peer_name(self) -> str:
        """The peer's address, for the log."""
        return shown_peer(self.transport.getPeer()) if self.transport is not None else "a peer"


def shown_peer(address: object) -> str:
    """
    Where a connection comes from, for the log.

    @param address: as a transport has it.
    """
    host = getattr(address, "host", None)
    if host is None:
        return "a Unix socket" if isinstance(address, UNIXAddress) else str(address)
    port = getattr(address, "port", 0)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
