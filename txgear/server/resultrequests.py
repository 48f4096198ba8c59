"""
Requests for results, of one peer: each is answered when the job has ended, when it is in memory, or when
another server has said what it knows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txgear.broker.ended.archive import history_of
from txgear.broker.history import History
from txgear.broker.model import Job, Peer
from txgear.broker.rights import READ, SEE, check, knows, may, seen_by
from txgear.broker.rows.stock import Then
from txgear.broker.states import DEAD, DONE, STATE_NAMES
from txgear.errors import AccessDenied, ArgumentTooLarge, InvalidArgument
from txgear.protocol.constants import (
    MAX_TOKEN,
    OUTCOME_PENDING,
    OUTCOME_REFUSED,
    OUTCOME_UNKNOWN,
    RESULT,
)
from txgear.protocol.packets import PIECES_FROM, Pieces
from txgear.protocol.textlines import unescaped
from txgear.server.elsewhere import RESULT as ANOTHERS_RESULT
from txgear.server.elsewhere import Elsewhere, Kept, error_of
from txgear.server.jobserver import JobServer

MOST_PENDING: Final = 1000
"""
Requests for results, of one peer, that wait for the end of a job or for the store. Each costs some hundred
bytes, and one at the store as much as the result has.
"""
_TOO_MANY: Final = f"{MOST_PENDING} questions of this connection wait already"
BYTES_AT_ONCE: Final = 8 * 1024 * 1024
"""Bytes of results that are written for one peer before the last ones have left."""

T = TypeVar("T")


class Line(Protocol):
    """What leads to a peer, as far as it is needed here."""

    def when_caught_up(self, call: Callable[[], None]) -> None:
        """Call this once when all that is written has left, at once if it has."""


class ResultRequests:
    """
    Answers them. A request takes the place of one with the same token.
    """

    def __init__(self, server: JobServer, peer: Peer, line: Line) -> None:
        """
        @param line: leads to the peer.
        """
        self._server = server
        self._broker = server.broker
        self._peer = peer
        self._line = line
        self._send = partial(server.outbox.send, peer)
        # The jobs whose ends are waited for, by the tokens of the requests, each with what ends the waiting.
        self._watched: dict[bytes, tuple[Job, Callable[[float], None]]] = {}
        # Requests whose jobs are still to be had in memory, by their tokens.
        self._loading: dict[bytes, object] = {}
        # Those of them that wait for the ends of jobs of other servers, with their handles.
        self._passed_on: dict[bytes, bytes] = {}
        # Jobs that have ended, whose results are to be read.
        self._ended_requests: deque[tuple[bytes, Job]] = deque()
        self._reading = 0
        self._bytes_requested = 0
        self._pausing = False
        self._left = False

    def leave(self) -> None:
        """The peer has gone: answer nothing any more."""
        self._left = True
        for token in list(self._loading):
            self._forget(token)
        now = self._server.seconds()
        while self._ended_requests:
            self._broker.stock.release(self._ended_requests.popleft()[1], now)
        waits, self._watched = self._watched, {}
        for _, stop in waits.values():
            stop(now)

    def rejudge(self) -> None:
        """What the peer may do has changed: answer what waits for results that it may not read any more."""
        for token, (job, stop) in list(self._watched.items()):
            if not self._may_read(token, job.handle, job):
                stop(self._server.seconds())
                self._take_watched(token)
        for token, handle in list(self._passed_on.items()):
            # The other server knows what the peer could do when it asked.
            self._forget(token)
            if (elsewhere := self._server.elsewhere) is not None:
                self._pass_on(elsewhere, token, handle, b"1")

    @property
    def waits(self) -> int:
        """Requests for results that are not answered yet."""
        return len(self._watched) + len(self._loading) + len(self._ended_requests) + self._reading

    def ask(self, token: bytes, handle: bytes, function: bytes, unique: bytes, wait: bytes) -> None:
        """
        Answer a GET_RESULT, or have it wait.

        @raise ServerError: it makes no sense.
        """
        wait = wait.removesuffix(b"\0")
        if len(token) > MAX_TOKEN:
            raise ArgumentTooLarge(f"A token has {MAX_TOKEN} bytes at the most")
        if wait not in (b"0", b"1"):
            raise InvalidArgument("wait: 0 or 1 is wanted")
        if not handle and not unique:
            raise InvalidArgument("handle: a handle or a unique is wanted")
        if (watched := self._watched.pop(token, None)) is not None:
            # A request takes the place of the one with its token.
            watched[1](self._server.seconds())
        self._forget(token)
        elsewhere = self._server.elsewhere
        if elsewhere is not None and handle and elsewhere.may_have(handle):
            self._ask_elsewhere(elsewhere, token, handle, wait)
        else:
            self._look_here(token, handle, function, unique, wait)

    def _look_here(self, token: bytes, handle: bytes, function: bytes, unique: bytes, wait: bytes) -> None:
        """Answer a request for a job of this server's; one by a unique may be for another server's."""
        broker, elsewhere = self._broker, self._server.elsewhere
        if handle:
            find = partial(self._find, handle)
            lacks = broker.stock.lacks((handle,))
            load = partial(broker.stock.load_handles, (handle,))
        else:
            find = partial(broker.named, function, unique, seen_by(self._peer))
            lacks = broker.lookups.lacks((unique,))
            load = partial(broker.lookups.load, (unique,))

        def come() -> None:
            job = find()
            if job is None and elsewhere is not None and not handle:
                self._ask_for_unique(elsewhere, token, function, unique, wait)
            else:
                self._answer_for(token, handle, wait, job)

        if not lacks:
            come()
        elif self.waits >= MOST_PENDING:
            self._refuse(token, handle, _TOO_MANY)
        else:
            self._load_job(token, handle, load, come)

    def _ask_for_unique(
        self, elsewhere: Elsewhere, token: bytes, function: bytes, unique: bytes, wait: bytes
    ) -> None:
        """Answer a request for a job that another server may have."""

        def come(handle: bytes | None) -> None:
            if handle is None:
                self._answer(token, b"", OUTCOME_UNKNOWN)
            else:
                self._ask_elsewhere(elsewhere, token, handle, wait)

        asked = elsewhere.handle_of(function, unique, partial(may, self._peer, SEE))
        self._await(token, b"", asked, come)

    def _ask_elsewhere(self, elsewhere: Elsewhere, token: bytes, handle: bytes, wait: bytes) -> None:
        """Answer a request for a job of another server: with what the store has, or as that one does."""

        def read(kept: Kept | None) -> None:
            if kept is None:
                self._pass_on(elsewhere, token, handle, wait)
            else:
                size, outcome = kept.data_size, STATE_NAMES[DONE].encode("ascii")
                self._answer(token, kept.handle, outcome, kept.whole[:size], kept.whole[size:])

        self._await(token, handle, elsewhere.result(handle, self._peer), read)

    def _pass_on(self, elsewhere: Elsewhere, token: bytes, handle: bytes, wait: bytes) -> None:
        def come(parts: list[bytes] | None) -> None:
            if parts is None:
                self._look_here(token, handle, b"", b"", wait)
            else:
                self._send(RESULT, *parts)

        asked = elsewhere.pass_on(
            handle,
            self._peer,
            ANOTHERS_RESULT,
            (token, handle, b"", b"", wait),
            wait=None if wait == b"1" else 0.0,
        )
        if wait == b"1":
            self._passed_on[token] = handle
            self._server.guard.waiting[self._peer] = self.rejudge
        self._await(token, handle, asked, come)

    def _await(self, token: bytes, handle: bytes, asked: Deferred[T], come: Callable[[T], None]) -> None:
        """
        Answer a request when another server has.

        @param come: called with what it has said.
        """
        if self.waits >= MOST_PENDING:
            self._refuse(token, handle, _TOO_MANY)
            _ = asked.addErrback(lambda failure: None)
            asked.cancel()
            return
        self._loading[token] = asked

        def is_over() -> bool:
            return self._loading.get(token) is not asked

        def answered(found: T) -> None:
            if not is_over():
                self._answered(token)
                come(found)

        def failed(failure: Failure) -> None:
            if not is_over():
                self._answered(token)
                self._refuse(token, handle, error_of(failure).text)

        _ = asked.addCallbacks(answered, failed).addErrback(error_of)

    def _forget(self, token: bytes) -> None:
        """Wait no more for the job of a request."""
        asked = self._answered(token)
        if isinstance(asked, Deferred):
            asked.cancel()

    def _answered(self, token: bytes) -> object:
        """A request does not wait for a job any more; what it has waited for."""
        self._passed_on.pop(token, None)
        self._wait_for_less()
        return self._loading.pop(token, None)

    def _find(self, handle: bytes) -> Job | None:
        broker = self._broker
        return broker.table.by_handle(handle) or broker.archive.by_handle(handle)

    def _load_job(
        self,
        token: bytes,
        handle: bytes,
        load: Callable[[Then, float], None],
        come: Callable[[], None],
    ) -> None:
        """
        Answer a request for a job when that is in memory.

        @param load: has it there.
        @param come: answers then.
        """
        request = object()
        self._loading[token] = request

        def then(answered: bool, now: float) -> None:
            if self._loading.get(token) is not request:
                return
            del self._loading[token]
            if answered:
                come()
            else:
                self._refuse(token, handle, "The store does not answer")

        load(then, self._server.seconds())

    def _answer_for(self, token: bytes, handle: bytes, wait: bytes, job: Job | None) -> None:
        """Answer a request for a job, or have it wait."""
        broker = self._broker
        if job is None:
            self._answer(token, handle, OUTCOME_UNKNOWN)
        elif not self._may_read(token, handle, job):
            return
        elif not job.ended and wait == b"0":
            self._answer(token, job.handle, OUTCOME_PENDING)
        elif self.waits >= MOST_PENDING:
            self._refuse(token, job.handle, _TOO_MANY)
        elif job.ended:
            broker.stock.hold(job)
            self._ended_requests.append((token, job))
            self._answer_some()
        else:
            self._watched[token] = job, broker.watch(job, partial(self._job_ended, token))
            self._server.guard.waiting[self._peer] = self.rejudge

    def _may_read(self, token: bytes, handle: bytes, job: Job) -> bool:
        """
        Whether the peer may have the result of a job. It is asked again before each answer, as rights change.
        Where it may not, that is the answer; a job that it may not know of is unknown.

        @param handle: what the answer calls the job, if it is unknown.
        """
        peer = self._peer
        if peer.rights is None:
            return True
        if not knows(peer, job.function):
            self._answer(token, handle, OUTCOME_UNKNOWN)
            return False
        try:
            check(peer, READ, job.function.name)
        except AccessDenied as error:
            self._server.guard.denied(peer, error)
            self._refuse(token, job.handle, error.text)
            return False
        return True

    def _job_ended(self, token: bytes, outcome: int, data: bytes, result: bytes, complete: bool) -> None:
        """
        Answer, as a job has ended whose result was waited for. Its result is here even where it is not
        kept.
        """
        job = self._take_watched(token)
        if self._may_read(token, job.handle, job):
            self._answer(token, job.handle, STATE_NAMES[outcome].encode("ascii"), data, result, complete)

    def _take_watched(self, token: bytes) -> Job:
        job, _ = self._watched.pop(token)
        self._wait_for_less()
        return job

    def _wait_for_less(self) -> None:
        if not (self._watched or self._passed_on):
            self._server.guard.waiting.pop(self._peer, None)

    def _answer_some(self) -> None:
        """
        Answer requests for jobs that have ended, as many as the peer takes: a request is short, a result
        may be long.
        """
        while self._ended_requests and not self._pausing:
            size = self._ended_requests[0][1].size
            if self._bytes_requested and self._bytes_requested + size > BYTES_AT_ONCE:
                self._pausing = True
                if not self._reading:
                    self._pause()
                return
            self._bytes_requested += size
            token, job = self._ended_requests.popleft()
            self._answer_ended(token, job)
            self._broker.stock.release(job, self._server.seconds())

    def _pause(self) -> None:
        """Go on when all results that have been read have left."""
        self._server.clock.callLater(0, self._line.when_caught_up, self._go_on)

    def _go_on(self) -> None:
        self._bytes_requested = 0
        self._pausing = False
        self._answer_some()
        self._server.end_turn()

    def _answer_ended(self, token: bytes, job: Job) -> None:
        """Answer for a job that has ended. It may have been requeued or forgotten since."""
        if not self._may_read(token, job.handle, job):
            return
        if not job.ended:
            self._answer(token, job.handle, OUTCOME_PENDING)
            return
        if self._broker.archive.by_handle(job.handle) is not job:
            self._answer(token, job.handle, OUTCOME_UNKNOWN)
            return
        history = history_of(job)
        outcome = STATE_NAMES[job.state].encode("ascii")
        if job.state == DEAD:
            # Its workload is kept, for another attempt; its result is the text of the last attempt.
            words = history.attempts[-1].text if history.attempts else ""
            self._answer(token, job.handle, outcome, result=unescaped(words.encode("utf-8")))
        elif not history.complete:
            self._answer(token, job.handle, outcome, complete=False)
        else:
            self._reading += 1
            self._server.read(job, partial(self._result_read, token, job, history))

    def _result_read(self, token: bytes, job: Job, history: History, found: bytes | None) -> None:
        self._reading -= 1
        if self._left:
            return
        if self._pausing and not self._reading:
            self._pause()
        if not self._may_read(token, job.handle, job):
            return
        if found is not None and len(found) == history.data_size + history.result_size:
            outcome = STATE_NAMES[job.state].encode("ascii")
            self._answer(token, job.handle, outcome, found[: history.data_size], found[history.data_size :])
        elif self._broker.archive.by_handle(job.handle) is not job:
            self._answer(token, job.handle, OUTCOME_UNKNOWN)
        elif not history_of(job).complete:
            # It has made room for others while it was to be read.
            self._answer(token, job.handle, STATE_NAMES[job.state].encode("ascii"), complete=False)
        else:
            self._refuse(token, job.handle, "The result cannot be read at present")

    def _answer(
        self,
        token: bytes,
        handle: bytes,
        outcome: bytes,
        data: bytes = b"",
        result: bytes = b"",
        complete: bool = True,
    ) -> None:
        size = b"%d" % len(data) if complete else b"-"
        whole = len(data) + len(result)
        most = self._server.settings.max_packet - sum(map(len, (token, handle, outcome, size))) - 4
        if whole > most:
            # A peer drops the connection over a packet that is larger than it takes.
            self._refuse(token, handle, f"What it brought, {whole} bytes, does not fit a packet")
            return
        body = Pieces([data, result]) if whole > PIECES_FROM else data + result
        self._send(RESULT, token, handle, outcome, size, body)

    def _refuse(self, token: bytes, handle: bytes, why: str) -> None:
        """
        Answer that there is no answer to a request that makes sense. An ERROR would not say to which one, and
        answers to others may come before it.
        """
        self._send(RESULT, token, handle, OUTCOME_REFUSED, b"-", why.encode("utf-8"))
