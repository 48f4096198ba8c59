"""
One HTTP request: the job that it submits, and its answer, which is the job's result.

The headers are those of gearmand's C{http} module; all else is HTTP: function names are percent-encoded,
the status says how the job ended, and data is streamed as the worker sends it.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote_to_bytes

from twisted.web.http import (
    ACCEPTED,
    BAD_REQUEST,
    FORBIDDEN,
    INTERNAL_SERVER_ERROR,
    NOT_ALLOWED,
    NOT_FOUND,
    OK,
    SERVICE_UNAVAILABLE,
)

from txgear.broker.rights import SEE, knows, may
from txgear.errors import AccessDenied, ArgumentTooLarge, QueueError, ServerError
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
from txgear.protocol.packets import Data, Packet
from txgear.server.httpexchange import (
    ENDING,
    RECEIVING,
    RETRY_SECONDS,
    STREAMING,
    TEXT,
    WAITING,
    Connection,
    HttpExchange,
)

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


class JobRequest(HttpExchange):
    """
    One request, with the job that it submits and the answer.
    """

    def __init__(self, channel: Connection, queued: object = False) -> None:
        super().__init__(channel, queued)
        self._background = False
        self._handle = b""

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
            self._check_http()
        except AccessDenied as error:
            self._deny(error)
            return
        if length is not None and length > self._most_body():
            self._refuse_large()

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
        if self._refusal is not None:
            self._refusal()
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
                    self._body(),
                    server.seconds(),
                    priority=priority,
                    background=background,
                    trace=self.trace,
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

    # The packets of the job

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
                self._not_taken(STATUSES.get(code, INTERNAL_SERVER_ERROR), data.decode("utf-8"))

    def _stream(self, data: Data) -> None:
        if not data:
            return
        if self._phase == WAITING:
            self._phase = STREAMING
            # Before its end nobody knows whether the job will complete.
            self._job_head(OK, b"WORK_DATA", BYTES)
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

    def _not_taken(self, status: int, text: str) -> None:
        """Answer that the job is not taken; or, whatever the request has come to, that its client is not."""
        if self._phase == RECEIVING:
            self._refuse_body(lambda: self._answer_text(status, text))
        elif self._phase == WAITING:
            self._answer_text(status, text, b"ERROR")
        else:
            self._break_off()

    def _answer_ending(self) -> None:
        """Part of L{HttpExchange}."""
        self._answer_text(SERVICE_UNAVAILABLE, "The server is shutting down", b"ERROR")

    # The answer

    def _answer_text(self, status: int, text: str, command: bytes = b"") -> None:
        """Answer with a line of text."""
        self._answer(status, command, TEXT, f"{text}\n".encode())

    def _answer(self, status: int, command: bytes, kind: bytes, body: Data) -> None:
        """Answer with a whole body."""
        self._job_head(status, command, kind)
        self._answer_whole(body)

    def _job_head(self, status: int, command: bytes, kind: bytes) -> None:
        """Set the headers; they are written with the first byte that follows."""
        self._head(status, kind)
        # A GET that is answered from somebody's cache does not run its job.
        self.setHeader(b"Cache-Control", b"no-store")
        if status == SERVICE_UNAVAILABLE:
            self.setHeader(b"Retry-After", b"%d" % RETRY_SECONDS)
        if self._handle:
            self.setHeader(b"X-Gearman-Job-Handle", self._handle)
        if command:
            self.setHeader(b"X-Gearman-Command", command)
