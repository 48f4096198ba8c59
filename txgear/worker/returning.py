"""
What a worker keeps of a server that it has lost: the jobs that go on meanwhile, and results that may not have
arrived. It offers them when the server is back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from twisted.internet.interfaces import IDelayedCall

from txgear.worker.job import JobConnection, WorkerJob


class Unsent:
    """
    Stands for the connection of one job while its server is away: what the job sends waits here.

    @ivar server: the server that is away.
    @ivar decoder: that of the lost connection, for its limit.
    @ivar welcomed: a server that is waited for has answered who the worker is.
    @ivar job: the job.
    @ivar last: the packet that ends it; C{None} as long as it goes on.
    """

    welcomed: Final = True

    def __init__(self, absence: Absence, job: WorkerJob, last: list[bytes] | None = None) -> None:
        self.server = job.connection.server
        self.decoder = job.connection.decoder
        self.job = job
        self.last = last
        self._absence = absence
        self._status: tuple[bytes, ...] = ()
        self._parts: list[bytes] = []
        self._size = 0
        self._overflown = False

    def send(self, *chunks: bytes) -> None:
        """How far the job is: only the newest counts."""
        self._status = chunks

    def send_part(self, job: WorkerJob, chunks: list[bytes]) -> None:
        """Data or a warning."""
        self._size += sum(map(len, chunks))
        if self._size <= self.decoder.limit:
            self._parts += chunks
        elif not self._overflown:
            self._overflown = True
            self._parts = []
            self._absence.overflown(self)

    def finish(self, job: WorkerJob, chunks: list[bytes]) -> None:
        """The job has ended."""
        self.last = chunks

    def beat(self, job: WorkerJob) -> None:
        """There is nobody to hear it."""

    def gathered(self) -> AbstractContextManager[None]:
        """Nothing is written now."""
        return nullcontext()

    def write_gathered(self) -> None:
        """As L{gathered}."""

    def release(self, job: WorkerJob) -> None:
        """The job has ended, or is given up."""
        if self.last is None:
            self._absence.forget(self)

    def when_caught_up(self, call: Callable[[], object]) -> None:
        """Not before the server is back: the job asks again there."""

    def deliver(self, connection: JobConnection) -> None:
        """Send what has waited to the server, which is back."""
        if self._status:
            connection.send(*self._status)
        if self._parts:
            connection.send_part(self.job, self._parts)
        if self.last is not None:
            connection.finish(self.job, self.last)
        else:
            connection.beat(self.job)


class Absence:
    """
    What a worker keeps of one server that is away.

    @ivar timer: ends it.
    @ivar moves: whether another server may have the jobs next.
    @ivar is_over: the time for which the server may be away has passed, and it has been asked already what of
        this is still the worker's: its answer counts.
    """

    def __init__(self, give_up: Callable[[WorkerJob, str], object]) -> None:
        """
        @param give_up: called with a job that sends more than can wait, and why it goes on no more. Its
            function is under way: it must not be cancelled before it has returned.
        """
        self._give_up = give_up
        self._kept: dict[bytes, Unsent] = {}
        self.timer: IDelayedCall | None = None
        self.moves = self.is_over = False

    def keep_result(self, job: WorkerJob, packet: list[bytes]) -> None:
        """
        Keep what may not have arrived.

        @param packet: the one that ends the job.
        """
        self._kept[job.handle] = Unsent(self, job, packet)

    def keep(self, job: WorkerJob) -> None:
        """A job goes on without its connection."""
        # The same job may have been given again, before the end of the attempt before was confirmed.
        self._kept[job.handle] = job.connection = Unsent(self, job)

    def forget(self, unsent: Unsent) -> None:
        """A job is given up."""
        if self._kept.get(unsent.job.handle) is unsent:
            del self._kept[unsent.job.handle]

    def overflown(self, unsent: Unsent) -> None:
        """A job sends more than can wait. From now on it must not be offered, nor be taken back."""
        self.forget(unsent)
        job = unsent.job
        self._give_up(job, f"what it sends does not fit in memory while {job.server} is away")

    def __len__(self) -> int:
        """How many jobs there are, and results."""
        return len(self._kept)

    @property
    def running(self) -> list[WorkerJob]:
        """The jobs that go on."""
        return [unsent.job for unsent in self._kept.values() if unsent.last is None]

    @property
    def claims(self) -> dict[bytes, int]:
        """All jobs, by handle: which attempt at each."""
        return {handle: unsent.job.attempt for handle, unsent in self._kept.items()}

    @property
    def parts(self) -> set[bytes]:
        """Those of them of which the server has data or warnings."""
        return {handle for handle, unsent in self._kept.items() if unsent.job.parts}

    @property
    def offers(self) -> dict[bytes, int]:
        """Those jobs that another server may take, by handle: which attempt at each."""
        if not self.moves:
            return {}
        return {handle: unsent.job.attempt for handle, unsent in self._kept.items() if not unsent.job.parts}

    def deliver(
        self, connection: JobConnection, held: Collection[bytes], final: bool = True
    ) -> list[WorkerJob]:
        """
        The server is back, or another one has its jobs. Send it what has waited of the jobs that are still
        the worker's.

        @param held: which ones it says that these are.
        @param final: whether the results of others are to be forgotten.
        @return: those of them that go on; L{running} has the others, which are to be given up.
        """
        back: list[WorkerJob] = []
        for handle, unsent in list(self._kept.items()):
            if handle in held:
                unsent.deliver(connection)
                if unsent.last is None:
                    back.append(unsent.job)
            if handle in held or (final and unsent.last is not None):
                del self._kept[handle]
        return back
