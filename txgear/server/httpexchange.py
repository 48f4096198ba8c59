"""
One HTTP request and its answer, whatever they are about: who asks, the body as it comes in, and the answer as
fast as the connection takes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.web.http import (
    FORBIDDEN,
    REQUEST_ENTITY_TOO_LARGE,
    UNAUTHORIZED,
    Request,
    datetimeToString,
)

from txgear._version import __version__
from txgear.broker.model import Peer
from txgear.broker.rights import HTTP, check
from txgear.errors import AccessDenied
from txgear.net.stream import DROP_FROM, STALL_SECONDS, shown_peer
from txgear.protocol.packets import PIECES_FROM, Data, Packet, Pieces
from txgear.protocol.traces import Trace
from txgear.security.audit import LOGIN
from txgear.security.tokens import Token
from txgear.server.budget import LARGE
from txgear.server.jobserver import JobServer

RETRY_SECONDS: Final = 1
"""The C{Retry-After} of answers about a full queue or a server that ends."""

SERVER: Final = f"txgear/{__version__}".encode("ascii")

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
    What a request needs of the connection that carries it; L{txgear.server.httpchannel.HttpChannel} is one.

    @ivar server: takes the job.
    @ivar peer: how the broker knows the connection.
    @ivar persistent: whether another request may follow this one.
    @ivar full: whether the transport has more to write than it likes.
    @ivar stays: whether it goes on when the server drains.
    """

    server: JobServer
    peer: Peer
    persistent: Any
    full: bool
    stays: bool

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


class HttpExchange(Request):
    """
    One request, with its answer.

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
        self._received: list[bytes] = []
        self._small = bytearray()  # the end of what was received
        self._size = 0
        self._length: int | None = None
        self._refusal: Callable[[], None] | None = None
        self._whole = False
        self._unwritten: deque[bytes] = deque()
        self._unwritten_size = 0
        self._broken = False
        self._stall: IDelayedCall | None = None

    # For subclasses

    def _answer_text(self, status: int, text: str) -> None:
        """
        Answer that the request is not carried out.

        @param text: why, in a sentence.
        """
        raise NotImplementedError

    def write_packets(self, packets: list[Packet]) -> None:
        """
        Take what a turn of the broker has brought for this peer.

        @param packets: in order; each its type and then its arguments.
        """
        raise NotImplementedError

    # The request

    def _identify(self) -> None:
        """
        Let the connection's peer be who this request says; the next one may say otherwise.

        @raise AccessDenied: it may not be.
        """
        guard, peer = self._server.guard, self._connection.peer
        if guard.access.is_empty:
            # Whatever the header is for, it is not for us.
            return
        token = bearer_token(self.requestHeaders.getRawHeaders(b"Authorization"))
        self.requestHeaders.removeHeader(b"Authorization")
        guard.request_login(peer, self._token_instead() if token is None else guard.known(token))

    def _token_instead(self) -> Token | None:
        """What says who asks, where the request brings no token; it is known."""
        return None

    def _check_http(self) -> None:
        """
        @raise AccessDenied: who asks may not use HTTP.
        """
        check(self._connection.peer, HTTP)

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
        if error.act == LOGIN or self._may_log_in():
            status = UNAUTHORIZED
            self.setHeader(b"WWW-Authenticate", b"Bearer")
            self._connection.end_soon()
        self._refuse(lambda: self._answer_text(status, error.text))

    def _may_log_in(self) -> bool:
        """Whether it could help to say who one is."""
        return self._server.guard.must_identify(self._connection.peer)

    def _refuse(self, answer: Callable[[], None]) -> None:
        """
        Refuse the request, whose headers have come.

        @param answer: makes the answer.
        """
        if self._whole:
            answer()
        elif self._length == 0:
            self._refusal = answer
        else:
            self._refuse_body(answer)

    def handleContentChunk(self, data: bytes) -> None:
        """
        Keep a part of the body in memory, as workloads are. The pieces are not small, whatever the client
        sends.
        """
        if self._phase != RECEIVING:
            return
        self._size += len(data)
        most = self._most_body()
        if self._size > most:
            self._refuse_large()
            return
        if self._size > LARGE:
            self._connection.body_has(self._size, (self._length or most) - self._size)
        self._small += data
        if len(self._small) >= PIECES_FROM:
            self._received.append(bytes(self._small))
            self._small.clear()

    def _most_body(self) -> int:
        """Bytes that the body may have: those of a workload."""
        return self._server.settings.max_packet

    def _refuse_large(self) -> None:
        text = f"A workload has at most {self._most_body()} bytes"
        self._refuse_body(lambda: self._answer_text(REQUEST_ENTITY_TOO_LARGE, text))

    def _refuse_body(self, answer: Callable[[], None]) -> None:
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
        answer()

    def _body(self) -> Data:
        """The body, which is whole; once."""
        chunks, self._received = [*self._received, bytes(self._small)], []
        self._small.clear()
        return chunks[0] if len(chunks) == 1 else Pieces(chunks)

    def answer_shutdown(self) -> bool:
        """
        Answer that no result will come, as the server is about to end.

        @return: whether there is an answer to be written, after which the connection ends by itself.
        """
        if self._phase == WAITING:
            self._answer_ending()
        elif self._phase == STREAMING:
            self._break_off()
        return self._phase != RECEIVING

    def _answer_ending(self) -> None:
        """Answer that the server ends."""
        raise NotImplementedError

    @property
    def trace(self) -> Trace | None:
        """Where the work on the jobs that it submits belongs, as its headers say."""
        headers = self.requestHeaders
        return Trace.from_headers(
            headers.getRawHeaders(b"traceparent", []), headers.getRawHeaders(b"tracestate", [])
        )

    @property
    def takes_interim_answers(self) -> bool:
        """
        Whether an interim answer may be written: nothing has been answered yet, and the client knows such
        answers.
        """
        return self._phase == WAITING and self.clientproto == b"HTTP/1.1"

    # The answer

    def _head(self, status: int, kind: bytes) -> None:
        """Set the headers that every answer has; they are written with the first byte that follows."""
        server = self._server
        self.setResponseCode(status)
        self.setHeader(b"Server", SERVER)
        self.setHeader(b"Date", datetimeToString(server.wall_clock()))
        self.setHeader(b"Content-Type", kind)
        if server.broker.dispatcher.draining and not self._connection.stays:
            self._connection.persistent = 0
        if not self._connection.persistent:
            self.setHeader(b"Connection", b"close")

    def _answer_whole(self, body: Data) -> None:
        """Write a whole body behind the headers that are set."""
        self._phase = ENDING
        if self.method == b"HEAD":
            body = b""
        else:
            self.setHeader(b"Content-Length", b"%d" % len(body))
        self._write(body)

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
            self._await_room()
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

    def _await_room(self) -> None:
        """The client is to read something, in a bounded time."""
        if self._stall is None:
            self._stall = self._server.clock.callLater(STALL_SECONDS, self._stalled)

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
