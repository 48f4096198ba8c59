"""
The TCP connection under a TLS one, as TLS sees it, and TLS as the TCP connection sees it.

Twisted's TLS gathers what it is given until the reactor's next turn, hands what comes of it to the TCP
transport, and that waits for the reactor to say that it may write: a timer, two changes of the epoll set
and two turns for each answer. Each read is a turn of its own, and ends with two exceptions. Put between the
two, this sends at once what has been encrypted, has the connection read together with others, as
plain ones are, and decrypts what comes once the handshake is done. The handshake is Twisted's, and so is
what TLS has to say at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from OpenSSL.SSL import Error, WantReadError, ZeroReturnError
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.tcp import Connection
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from txgear.net.batchedreads import BatchedReads

if TYPE_CHECKING:
    import socket

PORTION: Final = 256 * 1024
"""Bytes that are encrypted and sent in one go, at the most."""
RECORD: Final = 16 * 1024
"""Bytes that TLS has in a record at the most."""
OVERHEAD: Final = 256
"""Bytes by which an encrypted record is longer, and more."""
FULL_FROM: Final = 64 * 1024
"""Unsent bytes from which whoever writes is to pause, Twisted's own measure."""

HEADER: Final = 5
"""Bytes before each record: its type, two of the version, two of its length."""
APPLICATION_DATA: Final = 23
"""The type of a record of data, and with TLS 1.3 of all others as well."""
PLAINLY_DATA: Final = 40
"""Bytes of a record from which it is no alert, and no request for new keys."""


class UnderTls:
    """
    Stands between the TLS protocol and its transport. All that it does not do itself it passes on.
    """

    __slots__ = (
        "__provides__",
        "_connection",
        "_fd",
        "_gathered",
        "_header",
        "_is_read",
        "_missing",
        "_paused",
        "_producer",
        "_reads",
        "_shaken",
        "_socket",
        "_tcp",
        "_tls",
        "_unsent",
    )

    def __init__(self, tls: TLSMemoryBIOProtocol, tcp: Connection, reads: BatchedReads | None) -> None:
        """
        @param tls: nothing may have been written to it, and nothing may have come.
        @param tcp: its transport so far.
        @param reads: will read the connection, from L{join} on.
        """
        self._tls = tls
        self._tcp = tcp
        self._connection = tls.getHandle()
        self._socket: socket.socket = tcp.getHandle()
        self._reads = reads
        self._fd = -1
        self._gathered: list[bytes] | None = None
        self._producer: IPushProducer | None = None
        self._paused = False
        self._unsent = 0
        self._is_read = True
        self._shaken = False
        # Where the record ends that is under way: bytes that it lacks, or the part of a header.
        self._missing = 0
        self._header = b""
        directlyProvides(self, providedBy(tcp))

    @classmethod
    def put(cls, transport: Any, reads: BatchedReads | None) -> UnderTls | None:
        """
        Put one under this connection, if it is a TLS one over a plain TCP one.

        @param transport: has just been given to its protocol.
        """
        if not isinstance(transport, TLSMemoryBIOProtocol):
            return None
        tcp = transport.transport
        if not isinstance(tcp, Connection) or tcp.TLS:
            return None
        under = transport.transport = tcp.protocol = cls(transport, tcp, reads)
        return under

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tcp, name)

    # Writing

    def send(self, chunks: list[bytes]) -> None:
        """
        Encrypt these, and send them. Not by the TLS protocol's own C{write}, which waits for the reactor's
        next turn.

        @param chunks: at least one; with not much more than L{PORTION} in all.
        """
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if len(data) > RECORD:
            gathered = self._gathered = []
            try:
                TLSMemoryBIOProtocol.write(self._tls, data)
            finally:
                self._gathered = None
            if gathered:
                self.write(b"".join(gathered))
            return
        room = len(data) + OVERHEAD
        try:
            self._connection.send(data)
            encrypted = self._connection.bio_read(room)
        except Error:
            # The connection ends, or has to hear from the peer first: Twisted knows.
            TLSMemoryBIOProtocol.write(self._tls, data)
            return
        self.write(encrypted)
        while len(encrypted) == room:
            try:
                encrypted = self._connection.bio_read(room)
            except WantReadError:
                return
            self.write(encrypted)

    def write(self, data: bytes) -> None:
        """What TLS has for the peer: at once, unless something before it is still unsent."""
        if self._gathered is not None:
            self._gathered.append(data)
            return
        if not self._unsent:
            try:
                sent = self._socket.send(data)
            except (BrokenPipeError, ConnectionResetError):
                # The peer has gone, and reads no answer. What it has sent before is still to be read.
                return
            except OSError:
                # Full, or broken: the reactor finds out at its own attempt.
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
            # A pull producer is asked for more once all was written, and also at once.
            self._tcp.registerProducer(_Unsent(self._all_sent), False)
        self._unsent += len(data)
        self._tcp.write(data)
        if self._unsent > FULL_FROM and self._producer is not None and not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def _all_sent(self) -> None:
        if not self._unsent:
            return
        self._unsent = 0
        self._tcp.unregisterProducer()
        if self._paused:
            self._paused = False
            if self._producer is not None:
                self._producer.resumeProducing()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Part of C{IConsumer}. TLS makes a streaming producer of any."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Part of C{IConsumer}."""
        self._producer = None
        self._paused = False

    # Reading

    def join(self) -> None:
        """
        The handshake is done: read this connection together with others from now on. Not before, as a
        handshake takes longer than anything else, and the others would wait for it.
        """
        self._shaken = True
        if self._reads is not None:
            self._fd = self._tcp.fileno()
            if self._is_read:
                self._reads.add(self._tcp)

    def dataReceived(self, data: bytes) -> None:
        """Part of C{IProtocol}, for the TCP connection."""
        if not self._shaken:
            self._follow(data)
            self._tls.dataReceived(data)
            return
        end = len(data)
        at = records = 0
        if not (self._missing or self._header):
            while end - at >= PLAINLY_DATA and data[at] == APPLICATION_DATA:
                size = (data[at + 3] << 8) + data[at + 4]
                if size < PLAINLY_DATA - HEADER:
                    break
                at += HEADER + size
                records += 1
        if at != end:
            self._follow(data)
            # More than there are: the last one is found by asking for another.
            records = end
        receive = self._connection.recv
        pieces: list[bytes] = []
        then: Callable[[], None] | None = None
        try:
            self._connection.bio_write(data)
            while len(pieces) < records:
                pieces.append(receive(RECORD))
        except WantReadError:
            # OpenSSL may have an answer to what was no data.
            then = self._tls._flushSendBIO
        except ZeroReturnError:
            then = self._peer_ended
        except Error:
            failure = Failure()
            # Otherwise it leads to here, and so to itself, with all that has come.
            failure.cleanFailure()
            then = partial(self._tls.failVerification, failure)
        if pieces:
            self._tls.wrappedProtocol.dataReceived(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if then is not None and self._tcp.connected:
            then()

    def _peer_ended(self) -> None:
        """The peer sends no more, and says so; it still reads."""
        tls: Any = self._tls
        if tls.disconnecting:
            tls._flushReceiveBIO()
        else:
            # Twisted would end TLS before the answers, and then let the peer take as long as it likes to
            # read what is unsent.
            tls.wrappedProtocol.readConnectionLost()

    def _follow(self, data: bytes) -> None:
        """Keep in mind where the last record of all that has come will end."""
        if self._missing > len(data):
            self._missing -= len(data)
            return
        at = self._missing
        if self._header:
            data, self._header = self._header + data, b""
        while at + HEADER <= len(data):
            at += HEADER + (data[at + 3] << 8) + data[at + 4]
        self._missing = max(at - len(data), 0)
        self._header = data[at:]

    def _leave(self) -> None:
        if self._fd >= 0:
            self._reads.remove(self._fd, self._tcp)  # type: ignore[union-attr]

    def pauseProducing(self) -> None:
        """Part of C{IPushProducer}: read nothing."""
        self._is_read = False
        self._leave()
        self._tcp.pauseProducing()

    def resumeProducing(self) -> None:
        """Part of C{IPushProducer}: read again."""
        self._is_read = True
        if self._fd < 0:
            self._tcp.resumeProducing()
        else:
            self._reads.add(self._tcp)  # type: ignore[union-attr]

    # The end

    def part(self) -> None:
        """Read it together with others no more: it ends."""
        self._leave()
        self._fd = -1
        self._reads = None

    def leave(self) -> None:
        """Stand between the two no more: Twisted does all of it from now on, and writes what is unsent."""
        self.part()
        if self._unsent:
            self._unsent = 0
            self._tcp.unregisterProducer()
        self._tls.transport = self._tcp
        self._tcp.protocol = self._tls
        self._tcp.startReading()

    def loseConnection(self) -> None:
        """Part of C{ITransport}: TLS has ended."""
        self.part()
        if self._unsent:
            # The peer has only so long to take it.
            tls: Any = self._tls
            tls.wrappedProtocol.close()
        self._tcp.loseConnection()

    def hang_up(self) -> None:
        """TLS has said that it ends. Do not wait until the peer says so, too: it may never."""
        if self._shaken:
            self.loseConnection()

    def abortConnection(self) -> None:
        """Part of C{IAbortingTransport}."""
        self.part()
        self._tcp.abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        """Part of C{IProtocol}, for the TCP connection."""
        self.part()
        self._tls.connectionLost(reason)
        # They refer to each other.
        del self._tls, self._connection
        self._producer = None


@implementer(IPullProducer)
class _Unsent:
    """Is told by the TCP connection when all has been sent."""

    __slots__ = ("_all_sent",)

    def __init__(self, all_sent: Callable[[], None]) -> None:
        self._all_sent = all_sent

    def resumeProducing(self) -> None:
        self._all_sent()

    def stopProducing(self) -> None:
        """The connection is lost, and its protocol hears of that."""
