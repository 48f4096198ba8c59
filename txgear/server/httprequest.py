"""
One HTTP request: the job that it submits, and its answer, which is the job's result.

The headers are those of gearmand's C{http} module; all else is HTTP: function names are percent-encoded,
the status says how the job ended, and data is streamed as the worker sends it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.web.http import (
    ACCEPTED,
    BAD_REQUEST,
    FORBIDDEN,
    INTERNAL_SERVER_ERROR,
    NOT_ALLOWED,
    NOT_FOUND,
    OK,
    REQUEST_ENTITY_TOO_LARGE,
    SERVICE_UNAVAILABLE,
    UNAUTHORIZED,
    Request,
    datetimeToString,
)

from txgear._version import __version__
from txgear.broker.model import Peer
from txgear.broker.rights import HTTP, SEE, check, knows, may
from txgear.errors import AccessDenied, ArgumentTooLarge, QueueError, ServerError
from txgear.net.stream import DROP_FROM, STALL_SECONDS, shown_peer
from txgear.protocol.constants import (
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
from txgear.protocol.packets import PIECES_FROM, Data, Packet, Pieces
from txgear.security.audit import LOGIN
from txgear.server.budget import LARGE
from txgear.server.jobserver import JobServer

RETRY_SECONDS: Final = 1
"""The C{Retry-After} of answers about a full queue or a server that ends."""

SERVER: Final = f"txgear/{__version__}".encode("ascii")
METHODS: Final = (b"GET", b"HEAD", b"POST", b"PUT")
PRIORITY_WORDS: Final = {b"high": HIGH, b"normal": NORMAL, b"low": LOW}
BACKGROUND_WORDS: Final = {b"true": True, b"false": False}
STATUSES: Final = {
    AccessDenied.default_code.encode("ascii"): FORBIDDEN,
    ArgumentTooLarge.default_code.encode("ascii"): BAD_REQUEST,
    QueueError.default_code.encode("ascii"): SERVICE_UNAVAILABLE,
}
"""The statuses of the broker's errors, by code. Any other error is the server's own fault."""

BYTES: Final = b"application/octet-stream"
TEXT: Final = b"text/plain; charset=utf-8"

# The states of a request, in their order.
RECEIVING: Final = 0
"""The request has not arrived whole."""
WAITING: Final = 1
"""Its job is under way, and nothing has been answered."""
STREAMING: Final = 2
"""Its job is under way, and a part of the result has been answered."""
ENDING: Final = 3
"""The whole answer is known."""
OVER: Final = 4
"""The whole answer has been written."""


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


def bearer_token(values: Sequence[bytes] | None) -> bytes | None:
    """
    The token that a request brings.

    @param values: those of its C{Authorization} headers.
    @return: what follows the word C{Bearer}; C{None} if there is no such word: other schemes are for others.
    @raise AccessDenied: there are several headers; who has put in which of them cannot be known.
    """
    if not values:
        return None
    if len(values) > 1:
        raise AccessDenied("Not allowed: more than one Authorization header", act=LOGIN)
    scheme, _, token = values[0].partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None


class Connection(Protocol):
    """
    What a request needs of the connection that carries it; L{txgear.server.http.HttpChannel} is one.

    @ivar server: takes the job.
    @ivar peer: how the broker knows the connection.
    @ivar persistent: whether another request may follow this one.
    @ivar full: whether the transport has more to write than it likes.
    """

    server: JobServer
    peer: Peer
    persistent: Any
    full: bool

    def body_has(self, size: int, missing: int = 0) -> None:
        """
        A part of the body has come, or it is whole.

        @param size: bytes of it; 0 for nothing that is unfinished.
        @param missing: bytes that are still to come at the most.
        """

    def end_soon(self) -> None:
        """Let this answer be the connection's last, and bound its time."""

    def hang_up(self) -> None:
        """End the connection once what was written has left, in a bounded time."""

    def abort(self) -> None:
        """End the connection at once, and so that the client notices."""

    def getPeer(self) -> object:
        """Where the connection comes from."""


class JobRequest(Request):
    """
    One request, with the job that it submits and the answer.

    The answer is written as fast as the connection takes it, and the rest waits here. So the request ends
    only when nearly all has left: then Twisted's idle timeout begins, which must not meet a client that is
    still reading.
    """

    log = Logger()

    def __init__(self, channel: Connection, queued: object = False) -> None:
        super().__init__(channel)  # type: ignore[arg-type]
        self._connection = channel
        self._server = channel.server
        self._phase = RECEIVING
        self._background = False
        self._handle = b""
        self._received: list[bytes] = []
        self._small = bytearray()  # the end of what was received
        self._size = 0
        self._length: int | None = None
        self._denied: tuple[int, str] | None = None
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
        if self._phase != RECEIVING:
            return
        try:
            self._identify()
        except AccessDenied as error:
            self._deny(error)
            return
        if length is not None and length > self._server.settings.max_packet:
            self._refuse_large()

    def _identify(self) -> None:
        """
        Let the connection's peer be who this request says; the next one may say otherwise.

        @raise AccessDenied: it may not be, or may not use HTTP.
        """
        guard, peer = self._server.guard, self._connection.peer
        if guard.access.is_empty:
            # Whatever the header is for, it is not for us.
            return
        token = bearer_token(self.requestHeaders.getRawHeaders(b"Authorization"))
        self.requestHeaders.removeHeader(b"Authorization")
        guard.request_login(peer, token)
        check(peer, HTTP)

    def _deny(self, error: AccessDenied) -> None:
        """
        Refuse the request before its body has come.

        @param error: why. Whoever is not known is told how to change that, and nothing more on this
            connection.
        """
        guard, peer = self._server.guard, self._connection.peer
        guard.denied(peer, error)
        if error.act == LOGIN and not guard.answers(peer, error):
            self._phase = OVER
            self._connection.abort()
            return
        status = FORBIDDEN
        if error.act == LOGIN or guard.must_identify(peer):
            status = UNAUTHORIZED
            self.setHeader(b"WWW-Authenticate", b"Bearer")
            self._connection.end_soon()
        if self._length == 0:
            self._denied = status, error.text
        else:
            self._refuse_body(status, error.text)

    def handleContentChunk(self, data: bytes) -> None:
        """
        Keep a part of the body in memory, as workloads are. The pieces are not small, whatever the client
        sends.
        """
        if self._phase != RECEIVING:
            return
        self._size += len(data)
        most = self._server.settings.max_packet
        if self._size > most:
            self._refuse_large()
            return
        if self._size > LARGE:
            self._connection.body_has(self._size, (self._length or most) - self._size)
        self._small += data
        if len(self._small) >= PIECES_FROM:
            self._received.append(bytes(self._small))
            self._small.clear()

    def _refuse_large(self) -> None:
        limit = self._server.settings.max_packet
        self._refuse_body(REQUEST_ENTITY_TOO_LARGE, f"A workload has at most {limit} bytes")

    def _refuse_body(self, status: int, text: str) -> None:
        """
        Answer before the body is there, and ignore what still comes of it, for some time: a client that is
        busy sending may not see an answer after which the connection is closed.
        """
        self._received.clear()
        self._small.clear()
        self._connection.body_has(0)
        # The client must not be asked to send it after all.
        self.requestHeaders.removeHeader(b"Expect")
        self.clientproto = b"HTTP/1.1"  # what the request says is not known before its end
        self._connection.end_soon()
        self._answer_text(status, text)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """
        Submit the job, as the request is whole. Forms and cookies mean nothing here.

        @param command: its method.
        @param path: the target, as it stands in the request line.
        @param version: C{HTTP/1.0} or C{HTTP/1.1}.
        """
        self._whole = True
        self._connection.body_has(0)
        if self._phase != RECEIVING:
            self._flush()
            return
        self.method, self.uri, self.clientproto = command, path, version
        function = function_name(path)
        if self._denied is not None:
            self._answer_text(*self._denied)
        elif command not in METHODS:
            self.setHeader(b"Allow", b", ".join(METHODS))
            self._answer_text(NOT_ALLOWED, "A job is submitted with POST, PUT or GET")
        elif not function:
            self._answer_text(NOT_FOUND, "The path is to name a function")
        elif command == b"HEAD":
            known = self._server.broker.functions.by_name.get(function)
            found = known is not None and knows(self._connection.peer, known)
            self._answer_text(OK if found else NOT_FOUND, "")
        else:
            self._submit(function)

    def _submit(self, function: bytes) -> None:
        # Whoever may not see others' jobs, and names no unique, is not to meet one by chance.
        sees = may(self._connection.peer, SEE, function)
        unique = self._header(b"X-Gearman-Unique", UNIQUE_FROM_WORKLOAD if sees else b"")
        priority = PRIORITY_WORDS.get(self._header(b"X-Gearman-Priority", b"normal").lower())
        background = BACKGROUND_WORDS.get(self._header(b"X-Gearman-Background", b"false").lower())
        if priority is None:
            self._answer_text(BAD_REQUEST, "X-Gearman-Priority is high, normal or low")
        elif background is None:
            self._answer_text(BAD_REQUEST, "X-Gearman-Background is true or false")
        elif b"\0" in function + unique:
            # A NUL separates arguments in the packets to workers.
            self._answer_text(BAD_REQUEST, "Functions and uniques hold no NUL")
        elif self.method == b"GET" and self._size:
            self._answer_text(BAD_REQUEST, "A GET has no workload, use POST")
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
                if isinstance(error, AccessDenied):
                    server.guard.denied(peer, error)
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

    # The packets of the job

    @property
    def takes_interim_answers(self) -> bool:
        """
        Whether an interim answer may be written: nothing has been answered yet, and the client knows such
        answers.
        """
        return self._phase == WAITING and self.clientproto == b"HTTP/1.1"

    def write_packets(self, packets: list[Packet]) -> None:
        """
        Make the answer of the packets for this peer. Warnings and progress have no place in a response, and
        are left out.

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
                    # The data of the next attempt is no continuation of this body.
                    self._break_off()
            elif kind == WORK_FAIL:
                self._fail(b"WORK_FAIL", TEXT, b"The job has failed\n")
            elif kind == WORK_EXCEPTION:
                self._fail(b"WORK_EXCEPTION", BYTES, data)
            elif kind == ERROR:
                code: Any = arguments[0]
                self._refuse(STATUSES.get(code, INTERNAL_SERVER_ERROR), data.decode("utf-8"))

    def _stream(self, data: Data) -> None:
        if not data:
            return
        if self._phase == WAITING:
            self._phase = STREAMING
            # Before its end nobody knows whether the job will complete.
            self._head(OK, b"WORK_DATA", BYTES)
        self._write(data)

    def _complete(self, result: Data) -> None:
        if self._phase == WAITING:
            self._answer(OK, b"WORK_COMPLETE", BYTES, result)
        else:
            self._phase = ENDING
            self._write(result)

    def _fail(self, command: bytes, kind: bytes, reason: Data) -> None:
        if self._phase == WAITING:
            self._answer(INTERNAL_SERVER_ERROR, command, kind, reason)
        else:
            self._break_off()

    def _refuse(self, status: int, text: str) -> None:
        """Answer that the job is not taken; or, whatever the request has come to, that its client is not."""
        if self._phase == RECEIVING:
            self._refuse_body(status, text)
        elif self._phase == WAITING:
            self._answer_text(status, text, b"ERROR")
        else:
            self._break_off()

    def answer_shutdown(self) -> bool:
        """
        Answer that no result will come, as the server is about to end.

        @return: whether there is an answer to be written, after which the connection ends by itself.
        """
        if self._phase == WAITING:
            self._answer_text(SERVICE_UNAVAILABLE, "The server is shutting down", b"ERROR")
        elif self._phase == STREAMING:
            self._break_off()
        return self._phase != RECEIVING

    # The answer

    def _answer_text(self, status: int, text: str, command: bytes = b"") -> None:
        """Answer with a line of text."""
        self._answer(status, command, TEXT, f"{text}\n".encode())

    def _answer(self, status: int, command: bytes, kind: bytes, body: Data) -> None:
        """Answer with a whole body."""
        self._phase = ENDING
        self._head(status, command, kind)
        if self.method == b"HEAD":
            body = b""
        else:
            self.setHeader(b"Content-Length", b"%d" % len(body))
        self._write(body)

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
        if server.broker.dispatcher.draining:
            self._connection.persistent = 0
        if not self._connection.persistent:
            self.setHeader(b"Connection", b"close")

    def _write(self, data: Data) -> None:
        """Write this after all that was written before."""
        for chunk in data.chunks if isinstance(data, Pieces) else (data,):
            # In parts: between them the connection may say that it is full.
            self._unwritten.extend(chunk[at : at + PIECES_FROM] for at in range(0, len(chunk), PIECES_FROM))
        self._unwritten_size += len(data)
        self._flush()
        if self._unwritten_size > DROP_FROM:
            self.drop("{peer} leaves {size} bytes unread; connection dropped")

    def _flush(self) -> None:
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
                # The client has all that was sent, and knows by the missing last chunk.
                connection.hang_up()
            else:
                # A body of HTTP/1.0 ends with the connection, unless that is reset.
                connection.abort()

    def _break_off(self) -> None:
        """End a body that has begun, so that nobody takes it for whole."""
        self._phase = ENDING
        self._broken = True
        self._flush()

    def resume(self) -> None:
        """Write more, as the connection has room."""
        self._cancel_stall()
        self._flush()

    def _stalled(self) -> None:
        self._stall = None
        self.drop("{peer} reads nothing of {size} bytes; connection dropped")

    def drop(self, why: str) -> None:
        """
        End the connection at once.

        @param why: for the log: a format with the C{peer} and the C{size}, the bytes that are unwritten.
        """
        connection = self._connection
        peer = shown_peer(connection.getPeer())
        self._server.notices.complain(self.log, LogLevel.warn, why, peer=peer, size=self._unwritten_size)
        self._phase = OVER
        self._drop_unwritten()
        connection.abort()

    def _drop_unwritten(self) -> None:
        self._cancel_stall()
        self._unwritten.clear()
        self._unwritten_size = 0

    def _cancel_stall(self) -> None:
        if self._stall is not None:
            stall, self._stall = self._stall, None
            stall.cancel()

    def connectionLost(self, reason: Failure) -> None:
        """The client has gone before its answer was written."""
        super().connectionLost(reason)
        self._phase = OVER
        self._drop_unwritten()
