"""
One request of the web, as its endpoint sees it, and its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES

from txgear.broker.model import Peer
from txgear.errors import AccessDenied, ServerError
from txgear.protocol.constants import ERROR
from txgear.protocol.packets import Data, Packet, Pieces
from txgear.protocol.textlines import for_line, text
from txgear.security.sessions import Session
from txgear.security.tokens import Token
from txgear.server.budget import LARGE
from txgear.server.guard import UNKNOWN
from txgear.server.httpexchange import ENDING, OVER, RECEIVING, STREAMING, WAITING, Connection, HttpExchange
from txgear.server.jobserver import JobServer
from txgear.web import reading
from txgear.web.answers import JSON, PROBLEM_JSON, Answer, Problem
from txgear.web.problems import details, problem_of
from txgear.web.routes import Route

T = TypeVar("T")

MOST_JSON: Final = 1024 * 1024
"""Bytes of a body of JSON: to read it takes some milliseconds, in which nobody else is served."""
MOST_FORM: Final = 384 * 1024
"""
Bytes of a form of a page, for the same reason: what is escaped takes far longer than JSON. The longest
workload that is edited has room, with each of its bytes escaped.
"""
MOST_SIGN_IN: Final = 16 * 1024
"""Bytes of a form that anybody may send."""

SECURITY: Final = (
    (b"X-Content-Type-Options", b"nosniff"),
    (
        b"Content-Security-Policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Referrer-Policy", b"no-referrer"),
)
"""
What every answer forbids browsers to do with it. An answer is never taken for a page, so JSON need not escape
what means something in one.
"""


class Site(Protocol):
    """What a request needs of the web that it belongs to; L{txgear.web.web.Web} is it."""

    def next_id(self) -> str:
        """What tells a request from all others."""

    def admit(self, request: WebRequest) -> None:
        """
        Look at a request whose headers have come.

        @raise Problem: it is refused.
        @raise AccessDenied: it is refused to this peer.
        """

    def carry_out(self, request: WebRequest) -> None:
        """Carry out a request that is whole."""


class WebConnection(Connection, Protocol):
    """
    What a request of the web needs of its connection; L{txgear.web.channel.WebChannel} is one.

    @ivar web: what it is a connection to.
    @ivar request_line: method, target and version of the request that comes in.
    """

    web: Site
    request_line: tuple[bytes, bytes, bytes]


class Streamed:
    """
    An answer that is written bit by bit.

    Its owner writes no more while it is L{full}, and goes on in L{on_drain}: what is written nevertheless is
    kept, up to L{DROP_FROM<txgear.net.stream.DROP_FROM>}. A peer that reads nothing of what has filled the
    connection for L{STALL_SECONDS<txgear.net.stream.STALL_SECONDS>} is dropped.

    @ivar on_drain: called when there is room again after it was full.
    @ivar on_gone: called once when nobody reads any more: the peer has gone, or the server ends. Not after
        L{finish}.
    @ivar on_session_over: called where the session by which it was asked for has ended. By default it is
        broken off.
    """

    def __init__(self, request: WebRequest) -> None:
        self._request = request
        self.on_drain: Callable[[], None] = lambda: None
        self.on_gone: Callable[[], None] = lambda: None
        self.on_session_over: Callable[[], None] = request.break_off_stream

    @property
    def full(self) -> bool:
        """Whether the transport has more to write than it likes."""
        return self._request.is_full

    def write(self, data: Data) -> None:
        """Write more of the body."""
        if data:
            self._request.write_more(data)

    def finish(self) -> None:
        """The body is whole."""
        self._let_go()
        self._request.end_stream()

    def break_off(self) -> None:
        """The body ends short, and so that nobody takes it for whole: the connection ends with it."""
        self._let_go()
        self._request.break_off_stream()

    def _let_go(self) -> None:
        """Its owner is told no more, however long the peer takes to read what is left."""
        self.on_drain = self.on_gone = self.on_session_over = lambda: None


class WebRequest(HttpExchange):
    """
    A request and its answer.

    @ivar server: the job server.
    @ivar peer: how the broker knows the connection. For this request it is who the request says: its rights
        and its tenant are those.
    @ivar web: the L{Web<txgear.web.web.Web>}.
    @ivar id: tells it from all others; its answer says it in C{Request-Id}.
    @ivar route: what it is for, and with
    @ivar arguments: which parts of the path. L{Web<txgear.web.web.Web>} sets both.
    @ivar target: what stands in the request line: its path, and
    @ivar query_text: what follows the question mark.
    @ivar takes_session: whether the session of a browser counts for it, and
    @ivar session: that by which it has come; C{None} where it has not.
    @ivar is_let_in: whether this server is meant, by no other web site, and it is known who asks.
    @ivar on_packets: called with the packets that the broker sends to this peer while the request is carried
        out: who submits a job and waits for it sets this. Without it an ERROR is answered as a problem.
    """

    def __init__(self, channel: WebConnection, queued: object = False) -> None:
        super().__init__(channel, queued)
        self.web: Any = channel.web
        self.server: JobServer = channel.server
        self.peer: Peer = channel.peer
        self.route: Route | None = None
        self.arguments: Mapping[str, str] = {}
        self.target = self.query_text = b""
        self.on_packets: Callable[[list[Packet]], None] | None = None
        self.takes_session = self.is_let_in = False
        self.session: Session | None = None
        self.cors: tuple[tuple[bytes, bytes], ...] = ()
        self._id = ""
        self._waiting_for: Deferred[Any] | None = None
        self._streamed: Streamed | None = None
        self._whole_body: bytes | None = None

    # For endpoints

    @property
    def id(self) -> str:
        if not self._id:
            self._id = self.web.next_id()
        return self._id

    @property
    def now(self) -> float:
        """The server's time."""
        return self.server.seconds()

    def header(self, name: str, default: str = "") -> str:
        """
        A header as text; bytes that are no UTF-8 are escaped.

        @raise Problem: it is there more than once.
        """
        values = self.requestHeaders.getRawHeaders(name.encode("ascii"), ())
        if len(values) > 1:
            raise Problem(400, "repeated_header", f"The header {name} is there more than once")
        return text(values[0]) if values else default

    def listed(self, name: str) -> str:
        """
        As L{header}, for a header that is a list: where it is there more than once, all of its values.
        """
        return ", ".join(map(text, self.requestHeaders.getRawHeaders(name.encode("ascii"), ())))

    def query(self, kind: type[T]) -> T:
        """
        The query.

        @param kind: a C{msgspec.Struct}.
        @raise Problem: it is none of these.
        """
        return reading.query(self.query_text, kind)

    @property
    def raw_body(self) -> bytes:
        """The body."""
        if self._whole_body is None:
            body = self._body()
            self._whole_body = b"".join(body.chunks) if isinstance(body, Pieces) else bytes(body)
        return self._whole_body

    def take_body(self) -> Data:
        """The body in the pieces in which it is in memory, as workloads are; once, instead of L{raw_body}."""
        return self._body()

    def body(self, kind: Any) -> Any:
        """
        The body, read from JSON.

        @param kind: a C{msgspec.Struct}, or another type that msgspec knows.
        @raise Problem: it is not said to be JSON, is none, or is none of these.
        """
        return reading.json(self.header("Content-Type"), self.raw_body, kind)

    def stream(
        self, status: int = 200, content_type: str = JSON, headers: Mapping[str, str] | None = None
    ) -> Streamed:
        """
        Take the answer into one's own hands: from now on it is written bit by bit, and the endpoint returns
        C{None}.

        To HEAD only the headers are answered, and L{Streamed.on_gone} follows soon.
        """
        self._phase = STREAMING
        self._web_head(status, content_type, headers or {})
        streamed = self._streamed = Streamed(self)
        if self.session is not None:
            self.web.sessions.bind(self, self.session)
        if self.method == b"HEAD":
            self.server.clock.callLater(0, self._end_headless)
        else:
            # The headers, at once.
            self.write(b"")
        return streamed

    def session_over(self) -> None:
        """The session by which a stream was asked for has ended."""
        if self._streamed is not None:
            self._streamed.on_session_over()

    def _end_headless(self) -> None:
        self._gone()
        if self._phase == STREAMING:
            self.end_stream()

    # Its way in

    def gotLength(self, length: int | None) -> None:
        """
        The headers have arrived.

        @param length: bytes of the body, or C{None} if it comes in chunks.
        """
        self._length = length
        if self._phase != RECEIVING:
            return
        self.method, self.uri, self.clientproto = self._connection.request_line  # type: ignore[attr-defined]
        try:
            self.web.admit(self)
            if length is not None and length > self._most_body():
                raise self._too_large()
        except AccessDenied as error:
            self._deny(error)
        except Problem as problem:
            refused = problem
            self._refuse_when_whole(lambda: self.answer_problem(refused))

    def _refuse_when_whole(self, answer: Callable[[], None]) -> None:
        """Refuse it; where its body is small and on its way, behind that, so that the connection is kept."""
        small = self._length is not None and self._length <= LARGE
        if small and not self.requestHeaders.hasHeader(b"Expect"):
            self._refusal = answer
        else:
            self._refuse_body(answer)

    def _most_body(self) -> int:
        most = self.server.settings.max_packet
        if self.route is not None and self.route.page:
            return min(MOST_SIGN_IN if self.route.anybody else MOST_FORM, most)
        operation = None if self.route is None else self.route.operation
        if operation is None or operation.raw_body:
            return most
        return min(operation.most_body or MOST_JSON, most)

    def _too_large(self) -> Problem:
        most = self._most_body()
        return Problem(413, "content_too_large", f"The body has at most {most} bytes here", {"most": most})

    def _refuse_large(self) -> None:
        self._refuse_body(lambda: self.answer_problem(self._too_large()))

    def login(self) -> None:
        """
        Let the peer be who this request says, or the session by which it has come.

        @raise AccessDenied: it may not be, or may not use HTTP.
        """
        self._identify()
        self.is_let_in = True
        if self.route is None or not self.route.anybody:
            self._check_http()

    def become(self, token: Token) -> None:
        """
        Let the peer be whose token this is, for the rest of this request.

        @param token: it is known.
        @raise AccessDenied: its identity may not use HTTP, or may have no more connections.
        """
        self.server.guard.request_login(self.peer, token)
        self._check_http()

    def _token_instead(self) -> Token | None:
        self.session = self.web.sessions.find(self)
        return None if self.session is None else self.session.token

    def _deny(self, error: AccessDenied) -> None:
        """Refuse it, unless it is a browser's that is led to where one signs in."""
        led = self.web.lead(self, error)
        if led is None:
            super()._deny(error)
        else:
            self._refuse(lambda: self.answer(led))

    def _may_log_in(self) -> bool:
        return self.server.guard.login_of(self.peer) is UNKNOWN

    @property
    def is_answered(self) -> bool:
        """Whether the answer is known, or nobody waits for it any more."""
        return self._phase >= STREAMING

    @property
    def has_body(self) -> bool:
        """Whether the headers announce a body."""
        return self._length != 0

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """
        Carry out the request, as it is whole.
        """
        self._whole = True
        self._connection.body_has(0)
        if self._phase != RECEIVING:
            self._flush()
            return
        self.clientproto = version
        if self._refusal is not None:
            self._refusal()
        else:
            self._phase = WAITING
            self.web.carry_out(self)

    def wait_for(self, result: Deferred[Any]) -> None:
        """
        The answer is there when this has fired. It is cancelled when nobody waits for it any more.
        """
        self._waiting_for = result
        _ = result.addBoth(self._has_waited)

    def _has_waited(self, result: Any) -> None:
        self._waiting_for = None
        if not self.is_answered:
            if isinstance(result, Failure):
                self.fail(result)
            else:
                self.answer(result)
        elif isinstance(result, Failure) and result.check(CancelledError) is None:
            self.note_failure(result)
        self.server.end_turn()

    def write_packets(self, packets: list[Packet]) -> None:
        """Part of L{txgear.interfaces.PeerLine}."""
        if self.on_packets is not None and self._phase in (WAITING, STREAMING):
            self.on_packets(packets)
            return
        for kind, *arguments in packets:
            if kind == ERROR and self._phase < ENDING:
                self._turned_away(arguments)

    def _turned_away(self, arguments: list[Any]) -> None:
        """Whatever the request has come to: its peer is not served any more."""
        code, why = (bytes(each).decode("utf-8", "replace") for each in arguments)
        problem = problem_of(ServerError(why, code))
        assert problem is not None
        if self._phase == RECEIVING:
            self._refuse_body(lambda: self.answer_problem(problem))
        elif self._phase == WAITING:
            self.answer_problem(problem)
            self._cancel()
        else:
            self._break_off()
            self._gone()

    # Its way out

    def answer(self, answer: Answer | None) -> None:
        """
        Answer it.

        @param answer: C{None} where that is done already.
        """
        if answer is None or self.is_answered:
            return
        body, kind = answer.body, answer.content_type
        if body is None:
            body, kind = b"", ""
        elif not isinstance(body, bytes):
            body = msgspec.json.encode(body)
        headers = dict(answer.headers)
        status = answer.status
        if status == 200 and kind == JSON and self.method in (b"GET", b"HEAD"):
            tag = self.web.tag_of(body)
            headers.setdefault("ETag", tag)
            if self.web.has_tag(self, tag):
                status, body, kind = 304, b"", ""
        self._web_head(status, kind, headers)
        for cookie in answer.cookies:
            self.responseHeaders.addRawHeader(b"Set-Cookie", cookie.encode("ascii"))
        if status in NO_BODY_CODES:
            self._phase = ENDING
            self._write(b"")
        elif self.method == b"HEAD":
            self.setHeader(b"Content-Length", b"%d" % len(body))
            self._answer_whole(b"")
        else:
            self._answer_whole(body)

    def answer_problem(self, problem: Problem) -> None:
        """Answer that the request cannot be carried out."""
        if not self.is_answered:
            self.answer(self.web.problem_page(self, problem) or self._described(problem))

    def _described(self, problem: Problem) -> Answer:
        body = msgspec.json.encode(details(problem, f"urn:txgear:request:{self.id}"))
        return Answer(body, problem.status, problem.headers, PROBLEM_JSON)

    def fail(self, failure: Failure) -> None:
        """The endpoint has failed: answer why."""
        error = failure.value
        if isinstance(error, AccessDenied):
            self._deny(error)
            return
        problem = None if error is None else problem_of(error)
        if problem is None:
            self.note_failure(failure)
            problem = Problem(
                500, "internal_error", "A defect in the server; its log has more, by the id of this request"
            )
        self.answer_problem(problem)

    def note_failure(self, failure: Failure) -> None:
        """Log a defect."""
        self.log.failure("a defect in what answers {id}, {route}", failure, id=self.id, route=self._rule())

    def _rule(self) -> str:
        return "no route" if self.route is None else f"{self.route.method} {self.route.rule}"

    def _answer_text(self, status: int, text: str) -> None:
        self.answer_problem(Problem(status, "access_denied" if status in (401, 403) else "refused", text))

    def _answer_ending(self) -> None:
        self.answer_problem(
            Problem(503, "server_ends", "The server is shutting down", headers={"Retry-After": "1"})
        )
        self._cancel()

    def _web_head(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        self._head(status, content_type.encode("ascii"))
        # Twisted does not know the words of all of them.
        self.setResponseCode(status, HTTPStatus(status).phrase.encode("ascii"))
        if not content_type:
            self.responseHeaders.removeHeader(b"Content-Type")
        for name, value in (*SECURITY, *self.cors):
            self.setHeader(name, value)
        self.setHeader(b"Cache-Control", b"no-store")
        self.setHeader(b"Request-Id", self.id.encode("ascii"))
        for key, said in headers.items():
            if key == "Vary" and self.cors:
                said = f"{said}, Origin"
            self.setHeader(key.encode("ascii"), header_value(said))

    # Streams

    @property
    def is_full(self) -> bool:
        """Whether the transport has more to write than it likes."""
        return bool(self._connection.full or self._unwritten)

    def write_more(self, data: Data) -> None:
        """Write a part of a body that is streamed."""
        if self._phase == STREAMING:
            self._write(data)
            if self._connection.full:
                self._await_room()

    def end_stream(self) -> None:
        """The body that is streamed is whole."""
        if self._phase == STREAMING:
            self._phase = ENDING
            self._flush()

    def break_off_stream(self) -> None:
        """The body that is streamed stays short."""
        if self._phase == STREAMING:
            self._break_off()

    def end_connection(self) -> None:
        """Let this answer be the connection's last."""
        self._connection.end_soon()

    def resume(self) -> None:
        """Write more, as the connection has room."""
        super().resume()
        if self._streamed is not None and self._phase == STREAMING and not self.is_full:
            self._streamed.on_drain()

    def _break_off(self) -> None:
        super()._break_off()
        self._gone()

    def _gone(self) -> None:
        """Nobody reads this any more."""
        if self._streamed is not None:
            streamed, self._streamed = self._streamed, None
            streamed.on_gone()

    def _cancel(self) -> None:
        """Nobody waits for this any more."""
        if self._waiting_for is not None:
            waiting, self._waiting_for = self._waiting_for, None
            waiting.cancel()

    def connectionLost(self, reason: Failure) -> None:
        """The peer has gone before its answer was written."""
        super().connectionLost(reason)
        assert self._phase == OVER
        self._cancel()
        self._gone()


def header_value(value: str) -> bytes:
    """A value that ends no line, whatever names are in it."""
    return for_line(value).decode("utf-8").encode("ascii", "backslashreplace")
