"""
A worker's connection to a server, and the jobs that come over it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from functools import lru_cache
from json import loads
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime

from txgear.errors import AccessDenied, InvalidCommand, ServerError, server_error
from txgear.net.login import Login
from txgear.net.serverconnection import Limits, ServerConnection
from txgear.net.servers import Server
from txgear.net.stream import BROKEN
from txgear.protocol.constants import (
    CANT_DO,
    ECHO_REQ,
    ECHO_RES,
    ERROR,
    GRAB_JOB,
    GRAB_JOB_ALL,
    GRAB_JOB_OPTIONS,
    GRAB_JOB_UNIQ,
    JOB_ASSIGN,
    JOB_ASSIGN_ALL,
    JOB_ASSIGN_OPTIONS,
    JOB_ASSIGN_UNIQ,
    JOB_WITHDRAWN,
    NO_JOB,
    NOOP,
    PRE_SLEEP,
    REQUEST_MAGIC,
    STEER,
    STEERED,
    WORK_BEAT,
    WORKER_OFFER,
    WORKER_WELCOME,
)
from txgear.protocol.hello import offer, read_welcome
from txgear.protocol.packets import Data, pack_header, request
from txgear.protocol.traces import Trace
from txgear.worker.job import WorkerJob
from txgear.worker.returning import Absence

ASLEEP: Final = 0
"""The server has no job, and sends a NOOP when that changes."""
AWAKE: Final = 1
"""The server may have a job. It is asked as soon as the worker may start one."""
DRY: Final = 2
"""The server had no job for one grab; others are on their way, and are waited for."""

GRABS: Final = (GRAB_JOB_ALL, GRAB_JOB_UNIQ, GRAB_JOB)
"""
The packets that ask for a job, the best first. Only the first gets a job's reducer, and
older servers know only the last two, or the last. A server that has granted the
extension is asked with GRAB_JOB_OPTIONS.
"""

MOST_SECONDS: Final = 1e9
"""No lease or timeout is so long, and no job is tried so often."""
KNOWN_OPTIONS: Final = 96
"""
Bytes of the options of a job at the most that are remembered with what they say. With a trace there are more,
and those of two jobs are never the same.
"""

ASSIGNS: Final = frozenset((JOB_ASSIGN, JOB_ASSIGN_UNIQ, JOB_ASSIGN_ALL, JOB_ASSIGN_OPTIONS))
"""The packets that give a job."""


_Result = tuple[tuple[int, int], WorkerJob, list[bytes]]
"""
The last packet about a job, as long as it may not have arrived: when the server has read it, for
L{WorkerConnection.was_read}; the job, and the packet. There is one for each job: a tuple is made quickest.
"""


class Owner(Protocol):
    """
    What a connection calls: the worker's side of it.

    @ivar paused: whether no server is asked for a job for now.
    """

    paused: bool

    def connection_ready(self, connection: WorkerConnection) -> None:
        """The server has answered for the first time."""

    def connection_lost(self, connection: WorkerConnection, reason: str) -> None:
        """The connection has ended."""

    def access_denied(self, connection: WorkerConnection, error: AccessDenied) -> None:
        """The server does not allow something that was sent."""

    def hello(self, connection: WorkerConnection) -> bytes:
        """The packet that tells a server of this project who the worker is, and what it has of it."""

    def welcomed(self, connection: WorkerConnection, held: Collection[bytes]) -> None:
        """The server says which of these jobs are still the worker's; none where it does not say it."""

    def returned(self, connection: WorkerConnection, held: Collection[bytes]) -> None:
        """The server has these jobs from another one by now, and they are still the worker's."""

    def answered_grab(self, connection: WorkerConnection) -> None:
        """The server has answered for the first time when it was asked for a job."""

    def steered(self, connection: WorkerConnection, number: bytes, word: bytes, argument: bytes) -> None:
        """
        A server tells the worker something; L{WorkerConnection.answer} follows.

        @param number: which answer is that to this.
        """

    def jobs_wanted(self) -> None:
        """A server may have a job, or one more job may be started."""

    def jobs_assigned(self, jobs: list[WorkerJob]) -> None:
        """A server has given these; L{jobs_wanted} is part of it."""

    def job_withdrawn(self, job: WorkerJob, reason: str) -> None:
        """A server has given a job up, or gives it to others."""


class WorkerConnection(ServerConnection):
    """
    A worker's connection to one server.

    It never asks for jobs by itself: its owner calls L{grab} when more jobs may be started. What comes in
    one read is looked at first. Then the jobs in it are passed on together, and the owner asks for the
    next ones: these requests leave with the results, in one write.

    @ivar activity: L{ASLEEP}, L{AWAKE} or L{DRY}.
    @ivar asked: how many grabs wait for their answers.
    @ivar answered: how many grabs were answered in all. The server answers in turn: what was sent before the
        grab number C{answered + asked} has been read when that many were answered.
    @ivar overdue: the grabs have waited for so long that other servers are asked as well.
    @ivar asked_at: since when the server owes the answer to the next grab.
    @ivar gives: whether the server has ever answered when it was asked for a job.
    @ivar grace: seconds for which the server keeps the worker's jobs when the connection is lost.
    @ivar awaits_welcome: the server has been told who the worker is, and may answer.
    @ivar welcomed: it has answered.
    @ivar offers: it takes over the jobs of other servers, so these may be offered to it.
    @ivar jobs: those that came from here and are under way, by handle.
    """

    def __init__(
        self,
        clock: IReactorTime,
        server: Server,
        limits: Limits,
        greeting: list[bytes],
        login: Login | None,
        owner: Owner,
        grabs: dict[Server, int],
    ) -> None:
        """
        @param grabs: the place in L{GRABS} of what each server understands;
            what is found out here is written into it.
        """
        super().__init__(clock, server, limits, greeting, login)
        self._owner = owner
        self._grabs = grabs
        self.activity = AWAKE
        self.asked = 0
        self.answered = 0
        self.overdue = False
        self.asked_at = 0.0
        self.gives = False
        self.grace = 0.0
        self.awaits_welcome = False
        self.welcomed = self.offers = False
        self._offered: Mapping[bytes, int] = {}
        self._results: deque[_Result] = deque()
        self._newest = 0, 0
        self._echo_asked = 0
        self._echoed = 0
        self.jobs: dict[bytes, WorkerJob] = {}
        self._leaving: set[bytes] = set()
        self._in_a_row = 0
        self._given: list[WorkerJob] = []
        self._looks = False
        self._answers = False

    @property
    def idle(self) -> bool:
        """Whether it can be closed without giving a job back to the server, or a result being lost."""
        return not self.jobs and not self.asked and not self._results

    @property
    def wish(self) -> int:
        """
        How many more jobs it is worth to ask the server for. As long as it has jobs that is one more for each
        that it has given: a server that has only one must not answer for each free place that it has none.
        """
        if self.activity != AWAKE or self.state > BROKEN or self._leaving:
            return 0
        return max(self._in_a_row, 1) - self.asked

    def announce(self, function: bytes, ability: bytes) -> None:
        """
        Register one more function; the server may have jobs for it.

        @param ability: the packet that says it.
        """
        self._leaving.discard(function)
        self.send(ability)
        if self.activity == ASLEEP:
            self.activity = AWAKE

    def withdraw(self, function: bytes) -> None:
        """
        Give a function back. A server of this project leaves the jobs in hand here. Any other one gives them
        to another worker at once: it is told when there are none any more, and asked for no job before.
        """
        self._leaving.add(function)
        self._give_back()

    def _give_back(self) -> None:
        if not self.extended:
            if self.asked:
                return
            in_hand = {job.function for job in self.jobs.values()}
        else:
            in_hand = set()
        for function in sorted(self._leaving - in_hand):
            self._leaving.remove(function)
            self.send(request(CANT_DO, function))

    def tell_state(self, state: bytes) -> None:
        """
        Tell the server, which understands it, how the worker is.

        @param state: the packet.
        """
        if self._owner.paused and self.activity == ASLEEP:
            # The server wakes nobody any more that is paused.
            self.activity = AWAKE
        self.send(state)

    def answer(self, number: bytes, outcome: bytes, text: str) -> None:
        """
        Answer what a server has told the worker.

        @param number: as L{Owner.steered} was given it.
        @param outcome: one of L{STEERED_DONE<txgear.protocol.constants.STEERED_DONE>} and C{STEERED_REFUSED}.
        @param text: for people to read.
        """
        self.send(request(STEERED, number, outcome, text.encode("utf-8")))

    def grab(self, count: int) -> None:
        """Ask for so many jobs."""
        if not self.asked:
            self.asked_at = self._clock.seconds()
            self.waits_for_answer(True)
        self.asked += count
        kind = GRAB_JOB_OPTIONS if self.extended else GRABS[self._grabs.get(self.server, 0)]
        self.send(pack_header(REQUEST_MAGIC, kind, 0) * count)

    # What is said of jobs

    def beat(self, job: WorkerJob) -> None:
        """Part of L{txgear.worker.job.JobConnection}."""
        self.send(request(WORK_BEAT, job.handle))

    def send_part(self, job: WorkerJob, chunks: list[bytes]) -> None:
        """Part of L{txgear.worker.job.JobConnection}: the job cannot be offered again before this is read."""
        if self.grace:
            job.parts_read = self._read_when()
        self.send(*chunks)

    def finish(self, job: WorkerJob, chunks: list[bytes]) -> None:
        """Part of L{txgear.worker.job.JobConnection}: the packet is kept until it has been read."""
        if self.grace:
            self._results.append((self._read_when(), job, chunks))
        self.send(*chunks)

    def _read_when(self) -> tuple[int, int]:
        """What L{was_read} is to be asked of what is sent now."""
        self._newest = newest = self.answered + self.asked + 1, self._newest[1] + 1
        return newest

    def was_read(self, read: tuple[int, int]) -> bool:
        """
        Whether the server has read something: it has answered something that was sent behind it.

        @param read: the number of the first grab behind it, and its own number among all that it matters of.
        """
        return read[0] <= self.answered or read[1] <= self._echoed

    def _flush(self) -> None:
        grab, number = self._newest
        if grab > self.answered + self.asked and self._echo_asked == self._echoed < number:
            # No grab is behind it, and none may follow for long.
            self._echo_asked = number
            self._out.append(request(ECHO_REQ, self._echo_data))
        super()._flush()

    @property
    def _echo_data(self) -> bytes:
        return b"%d" % self._echo_asked

    def _drop_read(self) -> None:
        """The server has answered: forget what it has read."""
        results = self._results
        answered, echoed = self.answered, self._echoed
        while results:
            grab, number = results[0][0]
            if grab > answered and number > echoed:
                break
            results.popleft()

    def leave_to(self, absence: Absence) -> None:
        """
        The connection has ended: have what may be offered to the server again kept. What has sent data or
        warnings that the server may not have got is not.
        """
        for _, job, chunks in self._results:
            if self.was_read(job.parts_read):
                absence.keep_result(job, chunks)
        for job in self.jobs.values():
            # One that came last, before what cannot be read, was never begun.
            if job.attempt and self.was_read(job.parts_read) and job not in self._given:
                job.parts_read = 0, 0
                absence.keep(job)

    def offer(self, jobs: Mapping[bytes, int]) -> None:
        """
        Offer jobs of other servers to this one, in place of those that were offered before.

        @param jobs: by handle: which attempt at each.
        """
        if self.offers and not self.closing and jobs != self._offered:
            self._offered = jobs
            self.send(request(WORKER_OFFER, offer(jobs)))

    def take_back(self, job: WorkerJob) -> None:
        """A job from an earlier connection goes on over this one."""
        self.jobs[job.handle] = job
        job.go_on(self)

    def release(self, job: WorkerJob) -> None:
        """The job is not under way here any more."""
        # The same worker may have been given the same job again.
        if self.jobs.get(job.handle) is job:
            del self.jobs[job.handle]
            if self._leaving:
                self._give_back()

    def _use_older_grab(self) -> bool:
        """
        The server does not know the packet that asks for a job: use the next older one.

        @return: whether there is one.
        """
        grab = self._grabs.get(self.server, 0) + 1
        if grab == len(GRABS):
            return False
        self._grabs[self.server] = grab
        return True

    def unanswered(self) -> None:
        # Some servers ignore a packet that they do not know.
        self._use_older_grab()

    def became_extended(self) -> None:
        self.awaits_welcome = True
        self.send(self._owner.hello(self))

    def became_ready(self) -> None:
        self._owner.connection_ready(self)

    def went_down(self, reason: str) -> None:
        self.activity = ASLEEP
        self._owner.connection_lost(self, reason)

    def packet_received(self, kind: int, arguments: list[Data]) -> None:
        if kind in ASSIGNS:
            if self._is_answer():
                self.activity = AWAKE
                self._in_a_row += 1
                self._assigned(kind, arguments)
        elif kind == NO_JOB:
            if self._is_answer():
                self._has_no_job()
        elif kind == NOOP:
            if self.activity == ASLEEP:
                self.activity = AWAKE
                self._looks = True
        elif kind == JOB_WITHDRAWN:
            job = self.jobs.get(bytes(arguments[0]))
            if job is not None:  # otherwise its result has been sent
                if job in self._given:
                    self._given.remove(job)
                self._owner.job_withdrawn(job, bytes(arguments[1]).decode("utf-8", "replace"))
        elif kind == WORKER_WELCOME:
            self._welcomed(bytes(arguments[0]))
        elif (
            kind == ECHO_RES and self._echo_asked > self._echoed and arguments[0] == b"%d" % self._echo_asked
        ):
            self._echoed = self._echo_asked
            self._drop_read()
            self._looks = True
        elif kind == STEER:
            self._owner.steered(self, *map(bytes, arguments))
        elif kind == ERROR:
            self._refused(bytes(arguments[0]), bytes(arguments[1]))
        else:
            super().packet_received(kind, arguments)

    def _is_answer(self) -> bool:
        if not self.asked:
            self.drop("answered what it was not asked")
            return False
        self.asked -= 1
        self.answered += 1
        self._answers = self._looks = True
        return True

    def _welcomed(self, data: bytes) -> None:
        try:
            welcome = read_welcome(data)
        except ServerError as error:
            self.drop(f"sent a welcome that cannot be read: {error}")
            return
        if self.awaits_welcome:
            self.grace = welcome.grace
            self.welcomed, self.offers = True, welcome.offers
            self._welcome_is_over(welcome.held)
        elif self.offers and welcome.held:
            self._owner.returned(self, welcome.held)
        elif welcome.held and not self.welcomed:
            # It comes behind what was taken for a sign that none would.
            self.drop("gives back what has been given up meanwhile")

    def _welcome_is_over(self, held: Collection[bytes] = ()) -> None:
        self.awaits_welcome = False
        self._owner.welcomed(self, held)

    def _has_no_job(self) -> None:
        self._in_a_row = 0
        if self.asked:
            self.activity = DRY
        elif self._owner.paused and self.extended:
            self.activity = AWAKE
        else:
            self.activity = ASLEEP
            self.send(request(PRE_SLEEP))
        if self._leaving:
            self._give_back()

    def _assigned(self, kind: int, arguments: list[Data]) -> None:
        handle, function, *others, workload = arguments
        unique, reducer, options = (*others, b"", b"", b"")[:3]
        # Only the last argument of a packet is ever in pieces.
        job = WorkerJob(self, handle, function, unique, reducer, bytes(workload))  # type: ignore[arg-type]
        if kind == JOB_ASSIGN_OPTIONS:
            try:
                job.attempt, job.lease, job.timeout, trace = _read_options(options)  # type: ignore[arg-type]
            except ValueError as error:
                self.drop(f"gave a job with options that cannot be read: {error}")
                return
            if trace is not None:
                job.trace = trace
        self.jobs[job.handle] = job
        self._given.append(job)

    def turn_ended(self) -> None:
        if self.state > BROKEN or not self._looks:
            return  # what was given last is given up when the connection has ended
        self._looks = False
        if self._answers:
            if not self.gives:
                self.gives = True
                self._owner.answered_grab(self)
                if self.awaits_welcome:
                    self._welcome_is_over()
            self._drop_read()
            self._answers = self.overdue = False
            self.asked_at = self._clock.seconds()
            self.waits_for_answer(self.asked > 0)
        given, self._given = self._given, []
        if given:
            self._owner.jobs_assigned(given)
        else:
            self._owner.jobs_wanted()

    def _refused(self, code: bytes, text: bytes) -> None:
        error = server_error(code, text)
        if isinstance(error, AccessDenied):
            # Of a function that was registered, and never of the grab: that one gets NO_JOB.
            self._owner.access_denied(self, error)
        elif self.awaits_welcome and error.code == InvalidCommand.default_code:
            # Of a server that does not know the packet.
            self._welcome_is_over()
        elif not self.asked or error.code == "JOB_NOT_FOUND":
            # The result of a job that the server gave to another worker in the meantime.
            self.log.debug("{server}: {error}", server=self.server.name, error=error)
        elif self._use_older_grab():
            self.asked -= 1
            self.grab(1)
        else:
            self.drop(f"gives no jobs: {error}")


def _read_options(text: bytes) -> tuple[int, float, float, Trace | None]:
    """Most jobs have the same few."""
    return _read_known_options(text) if len(text) <= KNOWN_OPTIONS else _read_any_options(text)


def _read_any_options(text: bytes) -> tuple[int, float, float, Trace | None]:
    """
    The attempt's number, the lease and the timeout of JOB_ASSIGN_OPTIONS, and the trace; what is not there
    is 0. A trace in a form that is not known is none: the job is to be done all the same.

    @raise ValueError: they are nothing of the kind.
    """
    try:
        options = loads(text)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if not isinstance(options, dict):
        raise ValueError("no JSON object")
    numbers = [options.get(name, 0) for name in ("attempt", "lease", "timeout")]
    if not all(isinstance(number, (int, float)) and 0 <= number < MOST_SECONDS for number in numbers):
        raise ValueError("a number is wanted")
    attempt, lease, timeout = numbers
    try:
        trace = Trace.from_json(options["trace"]) if "trace" in options else None
    except ValueError:
        trace = None
    return int(attempt), float(lease), float(timeout), trace


_read_known_options = lru_cache(maxsize=64)(_read_any_options)
