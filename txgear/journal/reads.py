"""
What is to be read: workloads for the queue, results and workloads for somebody who wants one, and which jobs
there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txgear.broker.model import Job
from txgear.broker.paging import READ_JOBS
from txgear.broker.ports import JournalListener, Reading
from txgear.broker.records import UNREADABLE_SECONDS
from txgear.journal.askings import Askings
from txgear.journal.link import CLOSED, TAKEN, Link
from txgear.journal.portion import Portion
from txgear.journal.timer import Timer

MOST_READINGS: Final = 16
"""Results and workloads, for those who asked for one, that are read at once: any of them may be large."""
MOST_WAITING: Final = 1000
"""Of them, that wait at the most; beyond it the answer is that it cannot be read at present."""


class Readings:
    """
    What somebody asks for.

    @ivar waiting: what is to be read, in order.
    """

    def __init__(self, link: Link, pause: Timer, renew: Callable[[dict[int, bytes]], None]) -> None:
        """
        @param pause: nothing is to be read while it is running.
        @param renew: puts newer workloads in place of those that were read.
        """
        self._renew = renew
        self.waiting: list[Reading] = []
        self._in_flight: list[Reading] = []
        self._link = link
        self._pause = pause
        self._portion = Portion(MOST_READINGS)

    @property
    def ready(self) -> bool:
        """Whether there is something that may be read now."""
        return bool(self.waiting) and not self._pause.running

    def read(self, reading: Reading) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        link = self._link
        ended = link.state is CLOSED or link.state is TAKEN
        if link.unavailable is not None or ended or len(self.waiting) >= MOST_WAITING:
            reading.done(None)
        else:
            self.waiting.append(reading)

    def start(self) -> None:
        """Read the first of it; there is something, and the link is open."""
        portion = self._portion
        self._in_flight, self.waiting = self.waiting[: portion.size], self.waiting[portion.size :]
        results = [reading.number for reading in self._in_flight if reading.result]
        workloads = [reading.number for reading in self._in_flight if not reading.result]

        def undone() -> None:
            readings, self._in_flight = self._in_flight, []
            given_up = [readings.pop()] if _failed(portion, len(readings), self._pause) else []
            self.waiting = readings + self.waiting
            for reading in given_up:
                self._link.tell(reading.done, None)

        def done(found: tuple[dict[int, bytes], dict[int, bytes]]) -> None:
            portion.succeeded()
            readings, self._in_flight = self._in_flight, []
            found_results, found_workloads = found
            self._renew(found_workloads)
            for reading in readings:
                kind = found_results if reading.result else found_workloads
                self._link.tell(reading.done, kind.get(reading.number))

        self._link.call(
            lambda store: (store.results(results), store.workloads(workloads)), done, undone, is_read=True
        )

    def drop(self) -> None:
        """The store does not answer: neither is anybody kept waiting."""
        readings, self.waiting = self.waiting, []
        # What comes later has not been tried yet.
        self._portion = Portion(MOST_READINGS)
        for reading in readings:
            self._link.tell(reading.done, None)

    def give_up(self) -> None:
        """Nothing is read any more, and what the store still answers is not heard."""
        self.waiting, self._in_flight = self._in_flight + self.waiting, []
        self.drop()


class Loads:
    """
    Workloads that the queue had no memory for, and whose turn comes.

    @ivar jobs: whose are to be read, in order.
    @ivar listener: is given them.
    """

    log = Logger()
    listener: JournalListener

    def __init__(
        self, link: Link, clock: IReactorTime, pause: Timer, renew: Callable[[dict[int, bytes]], None]
    ) -> None:
        """
        @param pause: nothing is to be read while it is running.
        @param renew: puts newer workloads in place of those that were read.
        """
        self._renew = renew
        self.jobs: list[Job] = []
        self._link = link
        self._clock = clock
        self._pause = pause
        self._portion = Portion(READ_JOBS)

    @property
    def ready(self) -> bool:
        """Whether there is something that may be read now."""
        return bool(self.jobs) and not self._pause.running and not self._link.closing

    def load(self, jobs: list[Job]) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        self.jobs = jobs

    def start(self) -> None:
        """Read the first of them; there are some, and the link is open."""
        portion = self._portion
        jobs = self.jobs[: portion.size]
        numbers = [job.number for job in jobs]

        def undone() -> None:
            if _failed(portion, len(jobs), self._pause):
                self._give_up(jobs)

        def done(found: dict[int, bytes]) -> None:
            portion.succeeded()
            self._renew(found)
            self._loaded(jobs, found)

        self._link.call(lambda store: store.workloads(numbers), done, undone, is_read=True)

    def _loaded(self, jobs: list[Job], workloads: dict[int, bytes]) -> None:
        missing = [_name(job) for job in jobs if len(workloads.get(job.number, b"")) != job.size]
        if missing:
            self.log.error(
                "{store} has lost the workloads of {jobs}", store=self._link.name, jobs=", ".join(missing)
            )
        self._tell([(job, workloads.get(job.number)) for job in jobs], [])

    def _give_up(self, jobs: list[Job]) -> None:
        new = [_name(job) for job in jobs if job not in self.listener.unreadable]
        if new:
            self.log.error(
                "{store} cannot read the workloads of {jobs}: these are set aside, and tried again"
                " every {seconds:g} seconds",
                store=self._link.name,
                jobs=", ".join(new),
                seconds=UNREADABLE_SECONDS,
            )
        self._tell([], jobs)

    def _tell(self, loaded: list[tuple[Job, bytes | None]], unreadable: list[Job]) -> None:
        """The first jobs are settled, one way or the other."""
        del self.jobs[: len(loaded) + len(unreadable)]
        now = self._clock.seconds()
        self._link.tell(self.listener.loaded, loaded, now, unreadable, bool(self.jobs))


class Reads:
    """
    All that is to be read.

    @ivar readings: what somebody asks for.
    @ivar loads: what the queue needs.
    @ivar askings: which jobs there are.
    """

    def __init__(
        self,
        link: Link,
        clock: IReactorTime,
        turn_ended: Callable[[], None],
        renew: Callable[[dict[int, bytes]], None],
        asked: Callable[[], None],
        answered: Callable[[], None],
        again: Callable[[], None],
    ) -> None:
        """
        @param turn_ended: called when something may be read again.
        @param renew: puts newer workloads in place of those that were read.
        @param asked: called when somebody begins to wait for which jobs there are.
        @param answered: called when some of them are about to hear it.
        @param again: called when what has not been answered may be asked again.
        """
        # A store that reads nothing is not to be kept busy by it; nor does what it has of jobs wait for their
        # workloads.
        self._pauses = Timer(clock, turn_ended), Timer(clock, turn_ended)
        pause, pause_of_askings = self._pauses
        self.readings = Readings(link, pause, renew)
        self.loads = Loads(link, clock, pause, renew)
        self.askings = Askings(link, clock, pause_of_askings, renew, asked, answered, again)
        self._turns: deque[Readings | Loads | Askings] = deque((self.askings, self.loads, self.readings))

    @property
    def ready(self) -> bool:
        """Whether there is something that may be read now."""
        return self.askings.ready or self.loads.ready or self.readings.ready

    def start(self) -> None:
        """Read some of it, of each kind in turn; the reads are L{ready}, and the link is open."""
        kind = next(kind for kind in self._turns if kind.ready)
        self._turns.remove(kind)
        self._turns.append(kind)
        kind.start()

    def drop(self) -> None:
        """The store does not answer: nobody who asks for something is kept waiting."""
        self.askings.drop()
        self.readings.drop()

    def give_up(self) -> None:
        """Nothing is read any more, and what the store still answers is not heard."""
        self.askings.drop()
        self.readings.give_up()

    def stop(self) -> None:
        """Cancel the timers."""
        for pause in self._pauses:
            pause.cancel()
        self.askings.stop()


def _failed(portion: Portion, count: int, pause: Timer) -> bool:
    """
    A read has failed.

    @param count: how many were to be read.
    @return: whether it was one, and that is to be given up.
    """
    given_up = portion.failed(count)
    if portion.pause:
        pause.start(portion.pause)
    return given_up


def _name(job: Job) -> str:
    """What a job is called in the log."""
    return job.handle.decode("ascii", "replace")
