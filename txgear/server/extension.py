"""
Requests of this server only, for peers that have asked for C{txgear-1}: jobs with settings of their own,
results that are fetched later, and workers that beat and can be steered.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from txgear.broker.about import About
from txgear.broker.archive import history_of
from txgear.broker.history import MOST_TEXT, History
from txgear.broker.load import load
from txgear.broker.model import Job, Peer
from txgear.broker.rights import READ, SEE, check, knows, may, seen_by
from txgear.broker.states import DEAD, DONE, STATE_NAMES
from txgear.broker.stock import Then
from txgear.errors import AccessDenied, ArgumentTooLarge, InvalidArgument, PolicyError
from txgear.policies import FORMER_NAMES, former_names
from txgear.protocol.constants import (
    FUNCTION_LOAD,
    FUNCTION_LOADS,
    GET_RESULT,
    GRAB_JOB_OPTIONS,
    HIGH,
    JOB_ASSIGN_OPTIONS,
    LOW,
    MAX_OPTIONS,
    MAX_TOKEN,
    NO_JOB,
    NORMAL,
    OUTCOME_PENDING,
    OUTCOME_REFUSED,
    OUTCOME_UNKNOWN,
    RESULT,
    STEERED,
    SUBMIT_JOB_OPTIONS,
    WORK_BEAT,
    WORK_RETRY,
    WORKER_GONE,
    WORKER_OFFER,
    WORKER_STATE,
    WORKER_WELCOME,
)
from txgear.protocol.hello import Hello, Welcome, is_key, read_hello, read_offer
from txgear.protocol.packets import PIECES_FROM, Data, Pieces
from txgear.protocol.textlines import for_line, shown, text, unescaped
from txgear.protocol.traces import Trace
from txgear.quantities import MOST_SECONDS, duration
from txgear.server.elsewhere import RESULT as ANOTHERS_RESULT
from txgear.server.elsewhere import Elsewhere, Kept, error_of
from txgear.server.jobserver import JobServer
from txgear.server.steering import read_state

if TYPE_CHECKING:
    from txgear.net.stream import Stream

MOST_PENDING: Final = 1000
"""
Requests for results, of one peer, that wait for the end of a job or for the store. Each costs some hundred
bytes, and one at the store as much as the result has.
"""
_TOO_MANY: Final = f"{MOST_PENDING} questions of this connection wait already"
MOST_LOADS: Final = 1000
"""Functions that one FUNCTION_LOAD asks about at the most: these take some milliseconds."""
BYTES_AT_ONCE: Final = 8 * 1024 * 1024
"""Bytes of results that are written for one peer before the last ones have left."""
LAST_SECOND: Final = 253402300799
"""Seconds since 1970 to the end of the year 9999; a later time is a mistake."""

T = TypeVar("T")

log = Logger()

_SECONDS: Final = re.compile(rb"[0-9]{1,12}(\.[0-9]{1,9})?")
_PRIORITIES: Final = {"high": HIGH, "normal": NORMAL, "low": LOW}


class SubmitOptions(NamedTuple):
    """
    The options of a SUBMIT_JOB_OPTIONS.

    @ivar priority: L{HIGH}, L{NORMAL} or L{LOW}.
    @ivar background: whether nobody waits for the job.
    @ivar due: seconds since the epoch before which it must not begin, by the wall clock; 0.0 for at once.
    @ivar delay: seconds before which it must not begin.
    @ivar settings: all others: what is to hold for this job, by name.
    @ivar trace: where the work on it belongs, for its workers; C{None} where nothing is said of that.
    """

    priority: int
    background: bool
    due: float
    delay: float
    settings: dict[str, Any]
    trace: Trace | None = None


def read_options(text: bytes) -> SubmitOptions:
    """
    Read the options of SUBMIT_JOB_OPTIONS: a JSON object in UTF-8, or nothing.

    @raise ArgumentTooLarge: they are longer than L{MAX_OPTIONS}.
    @raise InvalidArgument: they are no such thing, or one of them makes no sense. The
        settings are not looked at.
    """
    if len(text) > MAX_OPTIONS:
        raise ArgumentTooLarge(f"Options of {len(text)} bytes are over the limit of {MAX_OPTIONS}")
    try:
        settings = json.loads(text.decode("utf-8"), parse_constant=_no_number) if text else {}
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"The options are not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise InvalidArgument("The options are no JSON object")
    priority = settings.pop("priority", "normal")
    if not isinstance(priority, str) or priority not in _PRIORITIES:
        raise InvalidArgument(f"priority: one of high, normal and low is wanted, not {priority!r}")
    background = settings.pop("background", True)
    if not isinstance(background, bool):
        raise InvalidArgument(f"background: true or false is wanted, not {background!r}")
    if "at" in settings and "delay" in settings:
        raise InvalidArgument("delay: a job has a time or a delay, not both")
    due = delay = 0.0
    if "at" in settings:
        at = settings.pop("at")
        # Compared before it is made a float: JSON has whole numbers for which there is none.
        if not isinstance(at, (int, float)) or isinstance(at, bool) or not 0 <= at <= LAST_SECOND:
            raise InvalidArgument(
                f"at: seconds since 1970 are wanted, to the end of the year 9999, not {at!r}"
            )
        due = float(at)
    elif "delay" in settings:
        try:
            delay = duration(settings.pop("delay"))
        except PolicyError as error:
            raise InvalidArgument(f"delay: {error}") from error
    trace = None
    if "trace" in settings:
        try:
            trace = Trace.from_json(settings.pop("trace"))
        except ValueError as error:
            raise InvalidArgument(f"trace: {error}") from error
    return SubmitOptions(_PRIORITIES[priority], background, due, delay, settings, trace)


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


class Extension:
    """
    What one peer asks for beyond the classic protocol. The caller sees to it that the peer has asked for
    C{txgear-1}.
    """

    def __init__(self, server: JobServer, peer: Peer, stream: Stream) -> None:
        """
        @param stream: leads to the peer.
        """
        self._said_hello = False
        self._offered: Mapping[bytes, int] = {}
        self._server = server
        self._broker = server.broker
        self._peer = peer
        self._stream = stream
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

    # Clients

    def _submit(self, function: bytes, unique: bytes, options: bytes, workload: Data) -> None:
        order = read_options(options)
        if order.due:
            self._server.wall_clock()
        job = self._broker.submit(
            self._peer,
            function,
            unique,
            workload,
            self._server.seconds(),
            order.priority,
            order.background,
            order.due,
            settings=order.settings or None,
            delay=order.delay,
            trace=order.trace,
        )
        self._server.created(self._peer, job, order.background)
        for former in former_names(order.settings):
            self._server.notices.emit_once(
                log,
                LogLevel.warn,
                "{address} ({client_id}) sets {former} for a job, which is called {name} now;"
                " both names are taken, and this is said once",
                address=self._peer.address,
                client_id=shown(self._peer.client_id).decode("utf-8"),
                former=former,
                name=FORMER_NAMES[former],
            )

    def _get_result(self, token: bytes, handle: bytes, function: bytes, unique: bytes, wait: bytes) -> None:
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
        self._server.clock.callLater(0, self._stream.when_caught_up, self._go_on)

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

    # Workers

    def _grab(self) -> int:
        job = self._broker.grab(self._peer, self._server.seconds())
        if job is None:
            self._send(NO_JOB)
            return 0
        history = job.history
        overdue = job.due if history is None else history.overdue
        options = b'{"attempt":%d,"lease":%.9g,"timeout":%.9g}' % (
            job.retries + 1,
            self._broker.lease(job),
            overdue - job.since if overdue else 0.0,
        )
        if history is not None and history.trace is not None:
            options = b'%s,"trace":%s}' % (options[:-1], history.trace.to_bytes())
        self._send(
            JOB_ASSIGN_OPTIONS, job.handle, job.function.name, job.unique, job.reducer, options, job.workload
        )
        return job.size

    def _beat(self, handle: bytes) -> None:
        self._broker.beat(self._peer, handle.removesuffix(b"\0"), self._server.seconds())

    def _state(self, options: bytes) -> None:
        state = read_state(options.removesuffix(b"\0"))
        peer = self._peer
        if peer.about is None:
            peer.about = About()
        peer.about.state = state
        if state.paused != peer.paused:
            self._broker.dispatcher.set_paused(peer, state.paused, self._server.seconds())

    def hello(self, data: Data) -> Deferred[None] | None:
        """
        A worker says who it is, and what it has.

        @return: fires when it has been welcomed, where the store is asked for something of that; what it has
            sent behind this is not for before. C{None} where it has been welcomed.
        """
        hello = read_hello(bytes(data))
        if self._said_hello:
            raise InvalidArgument("A worker says hello once on a connection")
        self._said_hello = True
        stock, now = self._broker.stock, self._server.seconds()
        if not stock.lacks(hello.jobs):
            self._greet(hello, now)
            return None
        greeted: Deferred[None] = Deferred()

        def come(answered: bool, later: float) -> None:
            if not self._stream.closing:
                self._greet(hello, later)
            greeted.callback(None)

        stock.load_handles(hello.jobs, come, now)
        return greeted

    def _greet(self, hello: Hello, now: float) -> None:
        peer, absences = self._peer, self._broker.absences
        former = absences.peer(hello.key)
        held = absences.greet(peer, hello.key, hello.jobs, hello.parts, now)
        about = peer.about = peer.about or About()
        about.id, about.host, about.pid = hello.id, hello.host, hello.pid
        about.version, about.group, about.started = hello.version, hello.group, hello.started
        offers = self._server.cluster is not None
        if offers:
            # A part that another server has let go of may have them.
            passed = {*held, *hello.parts}
            left = {handle: attempt for handle, attempt in hello.jobs.items() if handle not in passed}
            absences.offer(peer, left, now)
        self._send(WORKER_WELCOME, Welcome(absences.grace, frozenset(held), offers).to_bytes())
        if former is not None and former.connected:
            self._server.notices.complain(
                log,
                LogLevel.info,
                "{peer}: the worker has another connection now; this one is closed",
                peer=for_line(former.name).decode("utf-8"),
            )

    def _offer(self, data: Data) -> None:
        jobs = read_offer(bytes(data))

        def come(answered: bool, now: float) -> None:
            absences = self._broker.absences
            if self._offered is not jobs or self._stream.closing:
                return
            if held := absences.offer(self._peer, jobs, now):
                self._send(WORKER_WELCOME, Welcome(absences.grace, frozenset(held), True).to_bytes())

        if not self._said_hello:
            raise InvalidArgument("A worker says hello before it offers anything")
        self._offered = jobs
        self._broker.stock.load_handles(jobs, come, self._server.seconds())

    def _gone(self, key: bytes, words: Data) -> None:
        word = text(key)
        if not is_key(word):
            raise InvalidArgument("key: 32 hexadecimal digits are wanted, in small letters")
        # Of UTF-8 that is as much as is kept.
        self._broker.absences.gone(word, bytes(words)[: 4 * MOST_TEXT], self._server.seconds())

    def _retry(self, handle: bytes, seconds: bytes, reason: Data) -> None:
        if not _SECONDS.fullmatch(seconds) or (delay := float(seconds)) > MOST_SECONDS:
            raise InvalidArgument("seconds: a number is wanted, such as 90 or 0.5, up to ten years")
        self._broker.work_retry(self._peer, handle, delay, reason, self._server.seconds())

    def _load(self, names: Data) -> int:
        asked = bytes(names).split(b"\0") if names else []
        if len(asked) > MOST_LOADS:
            raise ArgumentTooLarge(f"{len(asked)} functions are over the limit of {MOST_LOADS}")
        functions, now = self._broker.functions, self._server.seconds()
        # One that is named again costs nothing more.
        loads = {name: load(functions, self._peer, name, now) for name in dict.fromkeys(asked)}
        answer = json.dumps([loads[name] for name in asked], separators=(",", ":")).encode("ascii")
        self._send(FUNCTION_LOADS, answer)
        return len(answer)

    def _steered(self, number: bytes, outcome: bytes, said: Data) -> None:
        self._server.steering.answer(self._peer, number, outcome, said)

    requests: ClassVar[dict[int, Callable[..., int | None]]] = {
        SUBMIT_JOB_OPTIONS: _submit,
        GET_RESULT: _get_result,
        GRAB_JOB_OPTIONS: _grab,
        WORK_BEAT: _beat,
        WORKER_STATE: _state,
        FUNCTION_LOAD: _load,
        STEERED: _steered,
        WORKER_GONE: _gone,
        WORK_RETRY: _retry,
        WORKER_OFFER: _offer,
    }
    """What each type of packet asks for; see L{txgear.server.gear.GearProtocol.requests}."""
