"""
A port that speaks HTTP: a request is a job, its response is the result.

Requests and headers are those of gearmand's C{http} module; what they mean is
HTTP: function names are percent-encoded, the status says how it ended, data is
streamed as the worker sends it, connections are kept.

Every path is a function's name, so this is L{twisted.web.http} without
resources. A connection is one peer of the broker, and HTTP has one request at
a time on it: whatever the broker says to the peer belongs to that request.

A client that ends its own side only (C{nc -N}) is answered; one that has gone
is noticed, and its job dropped, whatever it has sent ahead. At first they look
alike: the one who has gone has its system answer the next bytes with a reset.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.web.http import (
    ACCEPTED,
    BAD_REQUEST,
    INTERNAL_SERVER_ERROR,
    NOT_ALLOWED,
    NOT_FOUND,
    OK,
    REQUEST_ENTITY_TOO_LARGE,
    SERVICE_UNAVAILABLE,
    HTTPChannel,
    Request,
    datetimeToString,
)
from zope.interface import implementer

from txgear import __version__
from txgear._budget import LARGE
from txgear._descriptors import close_now
from txgear._hangups import ENDED, GONE, state_of
from txgear._stream import CLOSE_SECONDS, DROP_FROM, STALL_SECONDS
from txgear.constants import (
    ERROR,
    HIGH,
    JOB_CREATED,
    LOW,
    NORMAL,
    RESTARTED,
    UNIQUE_FROM_WORKLOAD,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
)
from txgear.errors import ArgumentTooLarge, QueueError, ServerError
from txgear.jobserver import JobServer, KeepAlive
from txgear.outbox import Letter
from txgear.wire import PIECES_FROM, Data, Pieces

IDLE_SECONDS: Final = 60
"""
How long a connection may be silent while it waits for a request or the rest of
one: Twisted's own figure. While a job is under way there is no such bound.
"""
RETRY_SECONDS: Final = 1
"""What C{Retry-After} asks of those that met a full queue or a server about to end."""
LOOK_SECONDS: Final = 0.5
"""
Between two looks whether a client is still there that is not read, or that has ended its own side. A job
that ends in this time is answered without L{PROCESSING}.
"""
PROCESSING: Final = b"HTTP/1.1 102 Processing\r\n\r\n"
"""
What brings a reset from a client that has gone. To one that is there it says nothing: any number of such
answers may come before the one that counts (RFC 9110, 15.2).
"""
PROCESSING_SECONDS: Final = 30.0
"""Between two of them."""
CLOSE_WATCH: Final = KeepAlive(idle=10, interval=10, count=6)
"""
For clients that nothing can be said to ahead of the answer, as HTTP/1.0 has no such answers: a system forgets
a connection on which it waits for our end only (Linux after a minute), and resets it at the next probe.
"""
MAX_LENGTH_DIGITS: Final = 30
"""Characters of a C{Content-Length} that are looked at; Python refuses to read thousands of digits."""

SERVER: Final = f"txgear/{__version__}".encode("ascii")
METHODS: Final = (b"GET", b"HEAD", b"POST", b"PUT")
PRIORITY_WORDS: Final = {b"high": HIGH, b"normal": NORMAL, b"low": LOW}
BACKGROUND_WORDS: Final = {b"true": True, b"false": False}
STATUSES: Final = {
    ArgumentTooLarge.default_code.encode("ascii"): BAD_REQUEST,
    QueueError.default_code.encode("ascii"): SERVICE_UNAVAILABLE,
}
"""What the broker's errors are in HTTP; those that are not here are the server's own fault."""

BYTES: Final = b"application/octet-stream"
TEXT: Final = b"text/plain; charset=utf-8"

# What has become of a request; each later one is a larger number.
RECEIVING: Final = 0
"""It has not arrived whole."""
WAITING: Final = 1
"""Its job is under way, and nothing has been answered."""
STREAMING: Final = 2
"""Its job is under way, and a part of the result has been answered."""
ENDING: Final = 3
"""The whole answer is known."""
OVER: Final = 4
"""All has been written."""


def function_name(target: bytes) -> bytes:
    """
    The function that a request is for.

    @param target: what stands in the request line: a path, or as proxies are
        asked a whole address; what follows a question mark is no part of it.
    @return: the path without its leading slashes, percent-decoded; may be empty.
    """
    path = target.partition(b"?")[0]
    if not path.startswith(b"/"):
        path = path.partition(b"://")[2].partition(b"/")[2]
    return unquote_to_bytes(path.lstrip(b"/"))


class JobRequest(Request):
    """
    One request, with the job that it submits and the answer.

    The answer is written as fast as the connection takes it, and what it does
    not take waits here, so that the request ends only when nearly all has
    left: Twisted's idle timeout begins then, and must not meet a client that
    is still reading.
    """

    log = Logger()

    def __init__(self, channel: HttpChannel, queued: object = False) -> None:
        super().__init__(channel)
        self._connection = channel
        self._server = channel.server
        self._phase = RECEIVING
        self._background = False
        self._handle = b""
        self._received: list[bytes] = []
        self._small = bytearray()  # the end of what was received
        self._size = 0
        self._length: int | None = None
        self._whole = False
        self._unwritten: deque[bytes] = deque()
        self._unwritten_size = 0
        self._broken = False
        self._stall: IDelayedCall | None = None

    # The request

    def gotLength(self, length: int | None) -> None:
        """
        The headers have arrived.

        @param length: bytes of the body, or C{None} if it comes in chunks.
        """
        self._length = length
        if length is not None and length > self._server.settings.max_packet:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        """
        A part of the body has arrived. It is kept in memory, as workloads are,
        in pieces that are not small whatever the client sends.
        """
        if self._phase != RECEIVING:
            return
        self._size += len(data)
        most = self._server.settings.max_packet
        if self._size > most:
            self._refuse_body()
            return
        if self._size > LARGE:
            self._connection.body_has(self._size, (self._length or most) - self._size)
        self._small += data
        if len(self._small) >= PIECES_FROM:
            self._received.append(bytes(self._small))
            self._small.clear()

    def _refuse_body(self) -> None:
        """
        Answer at once, and pass over what still comes, for some time: a client
        that is busy sending may not see the answer to a connection that is closed.
        """
        self._received.clear()
        self._small.clear()
        self._connection.body_has(0)
        # It must not be asked for after all.
        self.requestHeaders.removeHeader(b"Expect")
        self.clientproto = b"HTTP/1.1"  # what the request says is not known before its end
        self._connection.end_soon()
        limit = self._server.settings.max_packet
        self._tell(REQUEST_ENTITY_TOO_LARGE, f"A workload has at most {limit} bytes")

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """
        The request is whole. Forms and cookies in it mean nothing here.

        @param command: its method.
        @param path: the target, as it stands in the request line.
        @param version: C{HTTP/1.0} or C{HTTP/1.1}.
        """
        self._whole = True
        self._connection.body_has(0)
        if self._phase != RECEIVING:
            self._pump()
            return
        self.method, self.uri, self.clientproto = command, path, version
        function = function_name(path)
        if command not in METHODS:
            self.setHeader(b"Allow", b", ".join(METHODS))
            self._tell(NOT_ALLOWED, "A job is submitted with POST, PUT or GET")
        elif not function:
            self._tell(NOT_FOUND, "The path is to name a function")
        elif command == b"HEAD":
            known = function in self._server.broker.functions
            self._tell(OK if known else NOT_FOUND, "")
        else:
            self._submit(function)

    def _submit(self, function: bytes) -> None:
        unique = self._header(b"X-Gearman-Unique", UNIQUE_FROM_WORKLOAD)
        priority = PRIORITY_WORDS.get(self._header(b"X-Gearman-Priority", b"normal").lower())
        background = BACKGROUND_WORDS.get(self._header(b"X-Gearman-Background", b"false").lower())
        if priority is None:
            self._tell(BAD_REQUEST, "X-Gearman-Priority is high, normal or low")
        elif background is None:
            self._tell(BAD_REQUEST, "X-Gearman-Background is true or false")
        elif b"\0" in function + unique:
            # It parts arguments in the packets to workers.
            self._tell(BAD_REQUEST, "Functions and uniques hold no NUL")
        elif self.method == b"GET" and self._size:
            self._tell(BAD_REQUEST, "A GET has no workload, use POST")
        else:
            self._phase = WAITING
            self._background = background
            server, peer = self._server, self._connection.peer
            try:
                job = server.broker.submit(
                    peer,
                    function,
                    unique,
                    self._workload(),
                    server.seconds(),
                    priority=priority,
                    background=background,
                )
            except ServerError as error:
                server.outbox.send(peer, ERROR, error.code.encode("ascii"), error.text.encode("utf-8"))
            else:
                server.created(peer, job, background)
            server.end_turn()

    def _header(self, name: bytes, default: bytes) -> bytes:
        value = self.getHeader(name)
        return default if value is None else value

    def _workload(self) -> Data:
        chunks, self._received = [*self._received, bytes(self._small)], []
        self._small.clear()
        return chunks[0] if len(chunks) == 1 else Pieces(chunks)

    # What becomes of the job

    @property
    def silent(self) -> bool:
        """Whether nothing has been answered yet, and something may be that is no answer."""
        return self._phase == WAITING and self.clientproto == b"HTTP/1.1"

    def take(self, packets: list[Letter]) -> None:
        """
        The broker says something of the job. Warnings and progress have no
        place in a response, and are left out.

        @param packets: in order; each its type and then its arguments.
        """
        for kind, *arguments in packets:
            if self._phase >= ENDING:
                break
            data: Any = arguments[-1] if arguments else b""
            if kind == JOB_CREATED:
                self._handle = data
                if self._background:
                    self._answer(ACCEPTED, b"JOB_CREATED", TEXT, data + b"\n")
            elif kind == WORK_DATA:
                self._stream(data)
            elif kind == WORK_COMPLETE:
                self._complete(data)
            elif kind == RESTARTED:
                if self._phase == STREAMING:
                    # What the next attempt sends is no continuation of this body.
                    self._break()
            elif kind == WORK_FAIL:
                self._fail(b"WORK_FAIL", TEXT, b"The job has failed\n")
            elif kind == WORK_EXCEPTION:
                self._fail(b"WORK_EXCEPTION", BYTES, data)
            elif kind == ERROR:
                code: Any = arguments[0]
                self._tell(STATUSES.get(code, INTERNAL_SERVER_ERROR), data.decode("utf-8"), b"ERROR")

    def _stream(self, data: Data) -> None:
        if not data:
            return
        if self._phase == WAITING:
            self._phase = STREAMING
            # Before the end there is no knowing whether it will be WORK_COMPLETE.
            self._head(OK, b"WORK_DATA", BYTES)
        self._put(data)

    def _complete(self, result: Data) -> None:
        if self._phase == WAITING:
            self._answer(OK, b"WORK_COMPLETE", BYTES, result)
        else:
            self._phase = ENDING
            self._put(result)

    def _fail(self, command: bytes, kind: bytes, reason: Data) -> None:
        if self._phase == WAITING:
            self._answer(INTERNAL_SERVER_ERROR, command, kind, reason)
        else:
            self._break()

    def give_up(self) -> bool:
        """
        The server is about to end: no result will come any more.

        @return: whether there is an answer to be written, after which the
            connection ends by itself.
        """
        if self._phase == WAITING:
            self._tell(SERVICE_UNAVAILABLE, "The server is shutting down", b"ERROR")
        elif self._phase == STREAMING:
            self._break()
        return self._phase != RECEIVING

    # The answer

    def _tell(self, status: int, text: str, command: bytes = b"") -> None:
        """Answer with a line of our own."""
        self._answer(status, command, TEXT, f"{text}\n".encode())

    def _answer(self, status: int, command: bytes, kind: bytes, body: Data) -> None:
        """Answer with a body that is all there."""
        self._phase = ENDING
        self._head(status, command, kind)
        if self.method == b"HEAD":
            body = b""
        else:
            self.setHeader(b"Content-Length", b"%d" % len(body))
        self._put(body)

    def _head(self, status: int, command: bytes, kind: bytes) -> None:
        """Set the headers; they are written with the first byte that follows."""
        server = self._server
        self.setResponseCode(status)
        self.setHeader(b"Server", SERVER)
        self.setHeader(b"Date", datetimeToString(server.wall_clock()))
        self.setHeader(b"Content-Type", kind)
        # A GET that is answered from somebody's cache does not run its job.
        self.setHeader(b"Cache-Control", b"no-store")
        if status == SERVICE_UNAVAILABLE:
            self.setHeader(b"Retry-After", b"%d" % RETRY_SECONDS)
        if self._handle:
            self.setHeader(b"X-Gearman-Job-Handle", self._handle)
        if command:
            self.setHeader(b"X-Gearman-Command", command)
        if server.broker.draining:
            self._connection.persistent = 0
        if not self._connection.persistent:
            self.setHeader(b"Connection", b"close")

    def _put(self, data: Data) -> None:
        """Write this after all that was written before."""
        for chunk in data.chunks if isinstance(data, Pieces) else (data,):
            # In parts, to be told between them that the connection is full.
            self._unwritten.extend(chunk[at : at + PIECES_FROM] for at in range(0, len(chunk), PIECES_FROM))
        self._unwritten_size += len(data)
        self._pump()
        if self._unwritten_size > DROP_FROM:
            self.drop("{peer} leaves {size} bytes unread; connection dropped")

    def _pump(self) -> None:
        connection = self._connection
        while self._unwritten and not connection.full:
            chunk = self._unwritten.popleft()
            self._unwritten_size -= len(chunk)
            self.write(chunk)
        if self._unwritten:
            if self._stall is None:
                self._stall = self._server.clock.callLater(STALL_SECONDS, self._stalled)
        elif self._phase == ENDING and self._whole:
            self._phase = OVER
            if not self._broken:
                self.finish()
            elif self.chunked:
                # Without the last chunk the client knows, and has all that was sent.
                connection.hang_up()
            else:
                # What HTTP/1.0 has no length for ends with the connection: only a reset is no end.
                connection.abort()

    def _break(self) -> None:
        """End what was begun so that nobody takes it for whole."""
        self._phase = ENDING
        self._broken = True
        self._pump()

    def resume(self) -> None:
        """The connection takes more."""
        self._cancel_stall()
        self._pump()

    def _stalled(self) -> None:
        self._stall = None
        self.drop("{peer} reads nothing of {size} bytes; connection dropped")

    def drop(self, why: str) -> None:
        """
        End the connection at once.

        @param why: for the log, a format with the peer and the bytes that are unwritten.
        """
        connection = self._connection
        self._server.notices.complain(
            self.log, LogLevel.warn, why, peer=connection.getPeer(), size=self._unwritten_size
        )
        self._phase = OVER
        self._forget()
        connection.abort()

    def _forget(self) -> None:
        self._cancel_stall()
        self._unwritten.clear()
        self._unwritten_size = 0

    def _cancel_stall(self) -> None:
        if self._stall is not None:
            stall, self._stall = self._stall, None
            stall.cancel()

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone before its answer."""
        super().connectionLost(reason)
        self._phase = OVER
        self._forget()


@implementer(IHalfCloseableProtocol)
class HttpChannel(HTTPChannel):
    """
    One connection, which is one peer of the broker, and the line to it.

    @ivar server: the broker and what belongs to it.
    @ivar peer: how the broker knows this connection.
    @ivar full: whether the transport has more to write than it likes.
    """

    requestFactory = JobRequest  # type: ignore[assignment]
    transport: Any

    def __init__(self, server: JobServer, state_of: Callable[[Any], int]) -> None:
        """
        @param state_of: how a connection is found out to be; see L{txgear._hangups}.
        """
        super().__init__()
        self.server = server
        self.full = False
        self.timeOut = IDLE_SECONDS
        self._overdue: IDelayedCall | None = None
        self._state_of = state_of
        self._looking: IDelayedCall | None = None
        self._input_ended = self._deaf = self._receiving = False
        self._say_something_at = 0.0
        self._crowded = False
        self.missing = 0

    def callLater(self, period: float, function: Any) -> IDelayedCall:
        """Part of L{twisted.protocols.policies.TimeoutMixin}."""
        return self.server.clock.callLater(period, function)

    def connectionMade(self) -> None:
        super().connectionMade()
        self.peer = self.server.accept(self, self.transport)
        self.peer.exceptions = self.peer.restarts = True
        if self.peer.descriptor >= self.server.descriptors.text_only:
            text = "{peer}: no descriptors are left; connection closed"
            self.server.notices.complain(JobRequest.log, LogLevel.warn, text, peer=self.transport.getPeer())
            close_now(self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        for call in (self._overdue, self._looking):
            if call is not None:
                call.cancel()
        super().connectionLost(reason)
        self.server.budget.holds(self, 0)
        self.server.disconnect(self.peer)

    def headerReceived(self, line: bytes) -> bool:
        """A header has arrived: whether it is one."""
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and len(value) > MAX_LENGTH_DIGITS:
            line = b"Content-Length: too long"
        valid: bool = super().headerReceived(line)
        return valid

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        """Twisted has found something that is no request; its own answer says nothing."""
        text = b"This is no request of HTTP/1.0 or HTTP/1.1, or its headers are too large\n"
        self.transport.writeSequence(
            [
                b"HTTP/1.1 400 Bad Request\r\nServer: %s\r\n" % SERVER,
                b"Date: %s\r\n" % datetimeToString(self.server.wall_clock()),
                b"Content-Type: %s\r\nContent-Length: %d\r\n" % (TEXT, len(text)),
                b"Connection: close\r\n\r\n",
                text,
            ]
        )
        # Nothing more is understood. But a connection that is closed while more comes is reset, and the
        # client may not see this: our side ends, and what comes is passed over for some time.
        self.paused = self._deaf = True
        self.setTimeout(None)
        self.end_soon()
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()

    def loseConnection(self) -> None:
        """End the connection once what was written has left."""
        if self._deaf:
            self.transport.loseConnection()
        else:
            super().loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Some bytes have arrived."""
        if self._deaf:
            return
        outer, self._receiving = self._receiving, True
        super().dataReceived(data)
        self._receiving = outer
        self._end_behind_the_last()

    def write_packets(self, packets: list[Letter]) -> None:
        """Part of L{txgear.outbox.Line}."""
        # None is left where the server has given up on a job that still runs.
        if self.requests:
            self.requests[0].take(packets)

    def pause_reading(self) -> None:
        """Part of L{txgear.outbox.Line}: no next request is looked at before this one is answered."""

    def resume_reading(self) -> None:
        """Part of L{txgear.outbox.Line}; see L{pause_reading}."""

    # Back-pressure: Twisted's channel goes on with the next request, whatever
    # lies unread of the answers to the last ones. Here they wait.

    def pauseProducing(self) -> None:
        """The transport is full: nothing more is read until it is not."""
        self.full = True
        super().pauseProducing()
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport has written all it had."""
        self.full = self.paused = False
        super().resumeProducing()
        if not self._crowded:
            self.transport.resumeProducing()
        if self.requests:
            self.requests[0].resume()
        self.dataReceived(b"")

    def requestDone(self, request: Request) -> None:
        """An answer is written; what was sent ahead of it is the next request."""
        self.paused = self.full
        super().requestDone(request)
        self._end_behind_the_last()

    # Bodies that have not arrived whole; see L{txgear._budget.Holder}

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
        """Whether the client could send more."""
        return not (self.full or self._crowded)

    def wait_for_memory(self) -> None:
        """Read no more."""
        self._crowded = True
        # It is not the client that is silent.
        self.setTimeout(None)
        self.transport.pauseProducing()

    def go_on(self) -> None:
        """Follows L{wait_for_memory}."""
        self._crowded = False
        self.setTimeout(self.timeOut)
        if not self.full:
            self.transport.resumeProducing()

    def give_up(self, why: str) -> None:
        """Drop the connection."""
        self.requests[0].drop(f"{{peer}} {why}; connection dropped")

    # Clients that send no more

    def readConnectionLost(self) -> None:
        """Part of C{IHalfCloseableProtocol}: the client sends no more, and may be gone."""
        self._input_ended = True
        if self._handlingRequest:
            self._look_later()
        self._end_behind_the_last()

    def writeConnectionLost(self) -> None:
        """Part of C{IHalfCloseableProtocol}: our side has ended, the client's is awaited."""

    def _end_behind_the_last(self) -> None:
        """What was asked for is answered, and nothing more can come."""
        if self._input_ended and not (self._handlingRequest or self._receiving or self.full):
            self.hang_up()

    def rawDataReceived(self, data: bytes) -> None:
        """A part of a body has arrived, or, ahead of the answer to a request, of the next ones."""
        super().rawDataReceived(data)
        if self._handlingRequest:
            # From some size on Twisted stops to read.
            self._look_later()

    def _look_later(self) -> None:
        if self._looking is None:
            self._looking = self.server.clock.callLater(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Is the client still there whose job is under way?"""
        self._looking = None
        if not self._handlingRequest:
            return
        state = self._state_of(self.transport)
        if state == GONE:
            self.abort()
            return
        if self._input_ended or state == ENDED:
            self._say_something()
        self._look_later()

    def _say_something(self) -> None:
        now = self.server.seconds()
        if now < self._say_something_at:
            return
        self._say_something_at = now + PROCESSING_SECONDS
        if self.requests and self.requests[0].silent:
            self.transport.write(PROCESSING)
        elif ITCPTransport.providedBy(self.transport):
            CLOSE_WATCH.apply(self.transport)

    # The end

    def drain(self) -> None:
        """Part of L{txgear.outbox.Line}. A request that has begun is answered before the end."""
        if not self.requests:
            self.hang_up()

    def timeoutConnection(self) -> None:
        """Neither a request nor a part of one has come for L{IDLE_SECONDS}."""
        self.close()

    def close(self) -> None:
        """
        Part of L{txgear.outbox.Line}: end the connection once the answer under
        way has left, or one that says that no other will come; in a bounded time.
        """
        self.end_soon()
        if not (self.requests and self.requests[0].give_up()):
            self.hang_up()

    def end_soon(self) -> None:
        """Let this answer be the connection's last, and let it not take long."""
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


class HttpFactory(Factory):
    """Makes an L{HttpChannel} for each connection of one port."""

    noisy = False

    def __init__(self, server: JobServer, state_of: Callable[[Any], int] = state_of) -> None:
        """
        @param state_of: how a connection is found out to be; see L{txgear._hangups}.
        """
        self._server = server
        self._state_of = state_of

    def buildProtocol(self, addr: IAddress | None) -> HttpChannel:
        # Its factory stays unset: twisted.web would ask that for an access log.
        return HttpChannel(self._server, self._state_of)
