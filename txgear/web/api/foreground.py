"""
Jobs that a request waits for: the answer is the result, or a stream of events.

The job is the request's own: if the client goes away before a worker has it, it is given up. When the time
that the client would wait is over, it becomes a background job, and the answer is its handle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from txgear.broker.model import Job
from txgear.broker.states import FAILED
from txgear.errors import QueueError
from txgear.net.stream import DROP_FROM
from txgear.protocol.constants import (
    RESTARTED,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_WARNING,
)
from txgear.protocol.packets import Data, Pieces
from txgear.protocol.textlines import text
from txgear.web import refusals
from txgear.web.answers import Answer, Problem
from txgear.web.api import outcomes
from txgear.web.api.pieces import MOST_PIECE, pieces
from txgear.web.api.replies import Replies
from txgear.web.events.sse import COMMENT, EVENT_STREAM, QUIET_SECONDS, event, said, told
from txgear.web.request import Streamed, WebRequest

ENDS: Final = frozenset((WORK_COMPLETE, WORK_EXCEPTION, WORK_FAIL))
"""The types of packets that are the last of a job."""
Accepted = Callable[[Job, bool], Answer]
"""Makes the answer for a job that is taken; and is told whether the store had it already."""
OVERHEAD: Final = 200
"""Bytes that an event takes beside its own, while it waits to be read."""


class Foreground:
    """
    One job that a request waits for. Subclasses make the answer.

    @ivar done: fires with the answer, or with C{None} where it was streamed; fails with a L{Problem}. To
        cancel it is to wait no more.
    """

    def __init__(self, request: WebRequest, accepted: Accepted, wait: float | None) -> None:
        """
        @param accepted: makes the answer when the job goes on as a background job.
        @param wait: seconds to wait at the most; C{None} for no bound.
        """
        self.done: Deferred[Answer | None] = Deferred(lambda done: self._stop())
        self._request = request
        self._accepted = accepted
        self._wait = wait
        self._over: IDelayedCall | None = None
        self._replies = Replies(request)
        self._replies.on_packet = self._packet
        self._ended = False
        self._joined = False
        self._job: Job

    def begin(self, job: Job) -> None:
        """The broker has the job, and the request's peer is its client."""
        self._job = job
        if self._wait is not None:
            self._over = self._request.server.clock.callLater(self._wait, self._time_over)
        self._replies.created(job, False, self._told)

    def _told(self, job: Job, joined: bool, error: QueueError | None) -> None:
        self._job, self._joined = job, joined
        if error is not None:
            self._fail(refusals.problem(error, self._request.peer.tenant, self._request.now))
        else:
            self._taken()

    def _time_over(self) -> None:
        """The client does not wait any longer: the job goes on without it."""
        self._over = None
        request = self._request
        try:
            request.server.broker.lifecycle.go_on_without(self._job, request.peer, request.now)
        except QueueError as error:
            self._goes_on(error)
        else:
            self._replies.created(self._job, True, lambda job, joined, error: self._goes_on(error))
        request.server.end_turn()

    def _goes_on(self, error: QueueError | None) -> None:
        if error is None:
            self._let_go(self._accepted(self._job, self._joined))
        else:
            # The client still counts as one that waits, and cannot be told of an end any more.
            self._request.end_connection()
            self._fail(refusals.problem(error, self._request.peer.tenant, self._request.now))

    def _packet(self, kind: int, arguments: list[Any]) -> None:
        if self._ended:
            return
        if kind in ENDS:
            self._stop()
        self._said(kind, arguments)

    def _stop(self) -> None:
        """No more is to come."""
        self._ended = True
        if self._over is not None:
            self._over.cancel()
            self._over = None

    def _fail(self, problem: Problem) -> None:
        """The job has failed, or was not taken."""
        self._stop()
        self._failed(problem)

    # For subclasses

    def _headers(self) -> dict[str, str]:
        """Headers of every answer about the job."""
        request = self._request
        return {
            **outcomes.about(self._job.handle),
            **refusals.rate_headers(request.peer.tenant, request.now),
        }

    def _failure(self, kind: int, arguments: list[Any]) -> Problem:
        """What is answered to the packet by which the job has failed."""
        message = arguments[1] if kind == WORK_EXCEPTION else None
        problem = outcomes.failure(self._job.handle, FAILED, outcomes.JOB_FAILED, message)
        problem.headers.update(self._headers())
        return problem

    def _taken(self) -> None:
        """The job is taken."""

    def _said(self, kind: int, arguments: list[Any]) -> None:
        """Its worker has said something, or the broker of it."""
        raise NotImplementedError

    def _failed(self, problem: Problem) -> None:
        """It has failed, or was not taken."""
        raise NotImplementedError

    def _let_go(self, answer: Answer) -> None:
        """It goes on as a background job."""
        raise NotImplementedError


class ResultAnswer(Foreground):
    """
    The answer is the result, as bytes. What the worker sends before it is answered as it comes: from then on
    there is no other status, and if the job fails or starts again the body ends short.
    """

    _streamed: Streamed | None = None

    def _said(self, kind: int, arguments: list[Any]) -> None:
        if kind == WORK_DATA:
            self._write(arguments[1])
        elif kind == WORK_COMPLETE:
            self._complete(arguments[1])
        elif kind in ENDS:
            self._failed(self._failure(kind, arguments))
        elif kind == RESTARTED and self._streamed is not None:
            # The data of the next attempt is no continuation of this body.
            self._break_off()

    def _write(self, data: Data) -> None:
        if not data:
            return
        if self._streamed is None:
            if self._over is not None:
                self._over.cancel()
                self._over = None
            self._streamed = self._stream({})
        self._streamed.write(data)

    def _stream(self, headers: dict[str, str]) -> Streamed:
        streamed = self._request.stream(200, outcomes.BYTES, {**self._headers(), **headers})
        streamed.on_gone = self._stop
        # The endpoint has returned this: what follows is not its answer any more.
        self.done.callback(None)
        return streamed

    def _complete(self, result: Data) -> None:
        if self._streamed is not None:
            self._streamed.write(result)
            self._streamed.finish()
        elif isinstance(result, Pieces):
            headers = outcomes.done_headers(self._job.handle, 0, len(result))
            streamed = self._stream({**headers, "Content-Length": str(len(result))})
            streamed.write(result)
            streamed.finish()
        else:
            answer = outcomes.done(self._job.handle, bytes(result))
            self.done.callback(replace(answer, headers={**self._headers(), **answer.headers}))

    def _failed(self, problem: Problem) -> None:
        if self._streamed is not None:
            self._break_off()
        else:
            self.done.errback(problem)

    def _break_off(self) -> None:
        self._stop()
        assert self._streamed is not None
        self._streamed.break_off()

    def _let_go(self, answer: Answer) -> None:
        self._stop()
        self.done.callback(answer)


class EventAnswer(Foreground):
    """
    The answer is a stream of events: C{created}, what L{told} makes of what the worker says, and at the end
    C{completed}, C{failed}, or C{accepted} where the job goes on in the background. Long data comes in
    several events. What a slow reader has not read yet is bounded.
    """

    def __init__(self, request: WebRequest, accepted: Accepted, wait: float | None) -> None:
        super().__init__(request, accepted, wait)
        # Events, or what makes them, that are not written yet; and what they hold in bytes.
        self._waiting: deque[bytes | Iterator[bytes]] = deque()
        self._size = 0
        self._streamed: Streamed | None = None
        self._quiet: IDelayedCall | None = None

    def _taken(self) -> None:
        streamed = self._streamed = self._request.stream(200, EVENT_STREAM, self._headers())
        streamed.on_gone, streamed.on_drain = self._gone, self._go_on
        self._await_silence()
        self._add(event("created", self._about()))
        self.done.callback(None)

    def _about(self) -> dict[str, str]:
        handle = self._job.handle
        return {
            "handle": text(handle),
            "job": outcomes.job_path(handle),
            "result": outcomes.result_path(handle),
        }

    def _said(self, kind: int, arguments: list[Any]) -> None:
        if kind == WORK_DATA:
            self._add_data("data", arguments[1])
        elif kind == WORK_WARNING:
            self._add_data("warning", arguments[1], "warning")
        elif kind == WORK_COMPLETE:
            self._add_data("completed", arguments[1])
        elif kind in ENDS:
            self._failed(self._failure(kind, arguments))
        elif (made := told(kind, arguments)) is not None:
            self._add(made)

    def _failed(self, problem: Problem) -> None:
        if self._streamed is None:
            self.done.errback(problem)
        else:
            self._add(event("failed", {**problem.extra, "code": problem.code, "detail": problem.detail}))

    def _let_go(self, answer: Answer) -> None:
        self._stop()
        if self._streamed is None:
            self.done.callback(answer)
        else:
            self._add(event("accepted", self._about()))

    def _gone(self) -> None:
        """Nobody reads any more."""
        self._stop()
        self._hush()
        self._waiting.clear()

    # Writing

    def _add_data(self, name: str, data: Data, before: str = "data") -> None:
        """
        Tell of bytes in an event; if they are long, in several.

        @param name: of the last of them, or the only one.
        @param before: of the others.
        """
        if len(data) > MOST_PIECE:
            self._add(_data_events(name, data, before), len(data))
        else:
            self._add(event(name, said(data)))

    def _add(self, made: bytes | Iterator[bytes], size: int = 0) -> None:
        self._waiting.append(made)
        self._size += OVERHEAD + (len(made) if isinstance(made, bytes) else size)
        self._go_on()
        if self._waiting and self._size > DROP_FROM:
            self._gone()
            self._request.drop("{peer} leaves the events of a job unread; connection dropped")

    def _go_on(self) -> None:
        """Make and write events as long as the reader takes them."""
        streamed, waiting = self._streamed, self._waiting
        assert streamed is not None
        while waiting and not streamed.full:
            made = waiting[0] if isinstance(waiting[0], bytes) else next(waiting[0], b"")
            if made is waiting[0] or not made:
                waiting.popleft()
            streamed.write(made)
        if not waiting:
            self._size = 0
            if self._ended:
                self._hush()
                streamed.finish()

    def _await_silence(self) -> None:
        self._quiet = self._request.server.clock.callLater(QUIET_SECONDS, self._be_heard)

    def _be_heard(self) -> None:
        """Write something now and then, so that proxies do not take the line for dead."""
        self._await_silence()
        assert self._streamed is not None
        if not self._streamed.full:
            self._streamed.write(COMMENT)

    def _hush(self) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None


def _data_events(name: str, data: Data, before: str) -> Iterator[bytes]:
    """The events for long data, each made when it is wanted; see L{EventAnswer._add_data}."""
    held: bytes | None = None
    for piece in pieces(data):
        if held is not None:
            yield event(before, said(held))
        held = piece
    assert held is not None
    yield event(name, said(held))
