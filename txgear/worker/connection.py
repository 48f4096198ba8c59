"""
A worker's connection to a server, and the jobs that it brings.
"""

from __future__ import annotations

from collections.abc import Callable
from json import loads
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txgear.errors import server_error
from txgear.net.arguments import Workload, result_bytes
from txgear.net.serverconnection import Limits, ServerConnection
from txgear.net.servers import Server
from txgear.protocol.constants import (
    ERROR,
    GRAB_JOB,
    GRAB_JOB_ALL,
    GRAB_JOB_OPTIONS,
    GRAB_JOB_UNIQ,
    HEADER_SIZE,
    JOB_ASSIGN,
    JOB_ASSIGN_ALL,
    JOB_ASSIGN_OPTIONS,
    JOB_ASSIGN_UNIQ,
    JOB_WITHDRAWN,
    NO_JOB,
    NOOP,
    PRE_SLEEP,
    REQUEST_MAGIC,
    WORK_BEAT,
    WORK_DATA,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.protocol.packets import Data, large, request

ASLEEP: Final = 0
"""The server has no job, and sends a NOOP when that changes."""
AWAKE: Final = 1
"""The server may have a job. It is asked as soon as the worker may start one."""
GRABBING: Final = 2
"""The server has been asked for a job, and has not answered."""
OVERDUE: Final = 3
"""Like L{GRABBING}, but for so long that other servers are asked as well."""

GRABS: Final = (GRAB_JOB_ALL, GRAB_JOB_UNIQ, GRAB_JOB)
"""
How a job is asked for, the best first. Only the first tells of a reducer, and
older servers know only the last two, or the last. A server that has granted the
extension is asked with GRAB_JOB_OPTIONS.
"""

BEATS: Final = 3
"""How often a worker is heard of in the time of a lease: two of three beats may be late."""
MOST_SECONDS: Final = 1e9
"""No lease or timeout is so long, and no job is tried so often."""
SHORTEST_BEAT: Final = 0.1
"""Seconds between two beats at the least, however short a lease is."""


class WorkerJob:
    """
    A job that was grabbed: what a worker's function is called with.

    What is sent while nobody can be told any more is dropped; see L{gone}.

    @ivar handle: the server's handle for it.
    @ivar function: the function's name.
    @ivar unique: the unique, empty if there is none, or an old server does not tell.
    @ivar workload: what the client sent.
    @ivar reducer: the function that takes the parts of a partitioned job; empty for all others.
    @ivar server: the name of the server it came from.
    @ivar attempt: which attempt at this job it is, 1 for the first; 0 where the server does not tell.
    @ivar lease: seconds that the server waits to hear of the job, 0.0 for no bound. The
        worker beats by itself, as long as the job has not ended.
    @ivar timeout: seconds that this attempt may take, 0.0 for no bound or where the server
        does not tell.
    @ivar gone: true once the server waits for this job no more: its time was
        up, somebody cancelled it, the connection was lost, or the worker had to
        stop. A function in a thread may look at it from time to time, and return.
    """

    def __init__(
        self,
        connection: WorkerConnection,
        handle: bytes,
        function: bytes,
        unique: bytes,
        reducer: bytes,
        workload: bytes,
    ) -> None:
        self.handle = handle
        self.function = function
        self.unique = unique
        self.reducer = reducer
        self.workload = workload
        self.attempt = 0
        self.lease = 0.0
        self.timeout = 0.0
        self.server = connection.server.name
        self.gone = False
        self.connection = connection
        self.running: Deferred[Any] | None = None
        self.timer: IDelayedCall | None = None
        self.beating: IDelayedCall | None = None
        self.from_thread: Callable[..., object] | None = None

    def json(self) -> Any:
        """
        The workload, read as JSON.

        @raise ValueError: it is none.
        """
        return loads(self.workload)

    def send_data(self, data: Workload | str) -> None:
        """
        Send a part of the result ahead. The result itself does not repeat it.

        @raise ValueError: it does not fit a packet.
        """
        self._send(WORK_DATA, [self.handle], result_bytes(data))

    def send_warning(self, data: Workload | str) -> None:
        """
        Send a warning; the job goes on.

        @raise ValueError: it does not fit a packet.
        """
        self._send(WORK_WARNING, [self.handle], result_bytes(data))

    def set_status(self, numerator: int, denominator: int) -> None:
        """Tell how far the job is: C{numerator} of C{denominator}."""
        self._send(WORK_STATUS, [self.handle, b"%d" % numerator], b"%d" % denominator)

    def _send(self, kind: int, arguments: list[bytes], data: bytes) -> None:
        chunks = self.packet(kind, arguments, data)
        if self.from_thread is None:
            self.tell(chunks)
        else:
            self.from_thread(self.tell, chunks)

    def packet(self, kind: int, arguments: list[bytes], data: bytes) -> list[bytes]:
        """
        A packet about this job, as chunks. A server drops a connection over one
        that is too large, and gives the job to the next worker, and so on.

        @raise ValueError: it is larger than the worker's C{max_packet}.
        """
        chunks = large(REQUEST_MAGIC, kind, arguments, data)
        limit = self.connection.decoder.limit
        if sum(map(len, chunks)) > limit + HEADER_SIZE:
            raise ValueError(f"{len(data)} bytes do not fit a packet of {limit} bytes")
        return chunks

    def tell(self, chunks: list[bytes]) -> None:
        """Send a packet about this job, unless it is gone."""
        if not self.gone:
            self.connection.send(*chunks)

    def beat(self, clock: IReactorTime) -> None:
        """Tell the server, now and again until L{end}, that the job is being done."""
        self.beating = clock.callLater(max(self.lease / BEATS, SHORTEST_BEAT), self._beat, clock)

    def _beat(self, clock: IReactorTime) -> None:
        self.connection.send(request(WORK_BEAT, self.handle))
        self.beat(clock)

    def end(self) -> None:
        """There is nothing more to tell of this job."""
        self.gone = True
        for call in (self.timer, self.beating):
            if call is not None:
                call.cancel()
        self.timer = self.beating = None


class Owner(Protocol):
    """What a connection tells its worker."""

    def connection_ready(self, connection: WorkerConnection) -> None:
        """The server has answered for the first time."""

    def connection_lost(self, connection: WorkerConnection, reason: str) -> None:
        """The connection has ended."""

    def jobs_wanted(self) -> None:
        """A server may have a job, or there may be room for one."""

    def job_assigned(self, job: WorkerJob) -> None:
        """A server has given a job."""

    def job_withdrawn(self, job: WorkerJob, reason: str) -> None:
        """A server does not want a job done here any more."""


class WorkerConnection(ServerConnection):
    """
    A worker's connection to one server.

    It never asks for a job by itself: its worker does, when there is room.

    @ivar activity: L{ASLEEP}, L{AWAKE}, L{GRABBING} or L{OVERDUE}.
    @ivar grabbed_at: when it last asked for a job.
    @ivar jobs: those that came from here and are under way, by handle.
    """

    def __init__(
        self,
        clock: IReactorTime,
        server: Server,
        limits: Limits,
        greeting: list[bytes],
        owner: Owner,
        grabs: dict[Server, int],
    ) -> None:
        """
        @param grabs: the place in L{GRABS} of what each server understands;
            what is found out here is written into it.
        """
        super().__init__(clock, server, limits, greeting)
        self._owner = owner
        self._grabs = grabs
        self.activity = AWAKE
        self.grabbed_at = 0.0
        self.jobs: dict[bytes, WorkerJob] = {}

    @property
    def idle(self) -> bool:
        """Whether it can be closed without taking a job back to the server."""
        return not self.jobs and self.activity < GRABBING

    def announce(self, ability: bytes) -> None:
        """Register one more function; the server may have jobs for it."""
        self.send(ability)
        if self.activity == ASLEEP:
            self.activity = AWAKE

    def grab(self) -> None:
        """Ask for a job."""
        self.activity = GRABBING
        self.grabbed_at = self._clock.seconds()
        self.waits_for_answer(True)
        self.send(request(GRAB_JOB_OPTIONS if self.extended else GRABS[self._grabs.get(self.server, 0)]))

    def _grab_otherwise(self) -> bool:
        """The server does not know this way to ask; there may be an older one."""
        grab = self._grabs.get(self.server, 0) + 1
        if grab == len(GRABS):
            return False
        self._grabs[self.server] = grab
        return True

    def unanswered(self) -> None:
        # A server may also pass over a packet that it does not know.
        self._grab_otherwise()

    def became_ready(self) -> None:
        self._owner.connection_ready(self)

    def went_down(self, reason: str) -> None:
        self.activity = ASLEEP
        self._owner.connection_lost(self, reason)

    def _answered(self, state: int) -> None:
        self.activity = state
        self.waits_for_answer(False)

    def packet_received(self, kind: int, arguments: list[Data]) -> None:
        if kind == NOOP:
            if self.activity == ASLEEP:
                self.activity = AWAKE
                self._owner.jobs_wanted()
        elif kind in (NO_JOB, JOB_ASSIGN, JOB_ASSIGN_UNIQ, JOB_ASSIGN_ALL, JOB_ASSIGN_OPTIONS):
            if self.activity < GRABBING:
                self.drop("answered what it was not asked")
            elif kind == NO_JOB:
                self._answered(ASLEEP)
                self.send(request(PRE_SLEEP))
                self._owner.jobs_wanted()
            else:
                self._answered(AWAKE)
                self._assigned(kind, arguments)
        elif kind == JOB_WITHDRAWN:
            job = self.jobs.get(bytes(arguments[0]))
            if job is not None:  # otherwise its result is on the way
                self._owner.job_withdrawn(job, bytes(arguments[1]).decode("utf-8", "replace"))
        elif kind == ERROR:
            self._refused(bytes(arguments[0]), bytes(arguments[1]))
        else:
            super().packet_received(kind, arguments)

    def _assigned(self, kind: int, arguments: list[Data]) -> None:
        handle, function, *others, workload = map(bytes, arguments)
        unique, reducer = (*others, b"", b"")[:2]
        job = WorkerJob(self, handle, function, unique, reducer, workload)
        if kind == JOB_ASSIGN_OPTIONS:
            try:
                job.attempt, job.lease, job.timeout = _read_options(others[2])
            except ValueError as error:
                self.drop(f"gave a job with options that cannot be read: {error}")
                return
        self.jobs[handle] = job
        if job.lease:
            job.beat(self._clock)
        self._owner.job_assigned(job)

    def _refused(self, code: bytes, text: bytes) -> None:
        error = server_error(code, text)
        if self.activity < GRABBING or error.code == "JOB_NOT_FOUND":
            # The result of a job that the server gave to another worker in the meantime.
            self.log.debug("{server}: {error}", server=self.server.name, error=error)
        elif self._grab_otherwise():
            self.grab()
        else:
            self.drop(f"gives no jobs: {error}")


def _read_options(text: bytes) -> tuple[int, float, float]:
    """
    The attempt's number, the lease and the timeout of JOB_ASSIGN_OPTIONS; what is not there is 0.

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
    return int(attempt), float(lease), float(timeout)
