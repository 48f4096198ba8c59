"""
What is to be written: it gathers while the store is busy, and is the next batch then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from functools import partial
from itertools import islice
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txgear.broker import words
from txgear.broker.ports import JournalListener
from txgear.broker.records import Batch, JobChange, JobUpdate, Naming, StoredValue
from txgear.errors import StoreRefused
from txgear.journal.batches import MOST_ROWS, Refusals
from txgear.journal.buffer import WriteBuffer
from txgear.journal.figures import Carried, Figures
from txgear.journal.link import Link
from txgear.journal.newjobs import NewJobs
from txgear.journal.timer import Timer

FLUSH_DELAY: Final = 0.05
"""Seconds that changes gather for when no submit waits: nobody is kept waiting by them."""
BACKLOG: Final = 10_000
"""Changes that have gathered, from which on whoever makes many more is to wait: one batch has them all."""
REFUSED_SECONDS: Final = 60.0
"""Seconds from one line about new jobs that the store refuses to the next: one client may submit many."""
LEAST_LIMIT: Final = 1024 * 1024
"""Bytes that results on their way may have, however little memory the queue has."""


class Need(IntEnum):
    """What is to be written, and when."""

    NOTHING = 0
    LATER = 1
    NOW = 2


NOTHING, LATER, NOW = Need


class Writes:
    """
    All that is to be written, and the batch that is at the store.

    @ivar jobs: the new jobs.
    @ivar deadline: runs while somebody waits for a batch.
    @ivar patience: seconds that those who submit wait for the store at the most.
    @ivar figures: how long the batches took, and how large they were.
    """

    log = Logger()

    def __init__(
        self,
        link: Link,
        clock: IReactorTime,
        patience: float,
        turn_ended: Callable[[], None],
        overdue: Callable[[], None],
        is_asked: Callable[[], bool],
    ) -> None:
        """
        @param patience: seconds that those who submit wait for the store at the most.
        @param turn_ended: called when what nobody waits for has gathered long enough.
        @param overdue: called when they have waited so long.
        @param is_asked: whether somebody waits for what is to be read.
        """
        self.jobs = NewJobs(self._drop)
        self.deadline = Timer(clock, overdue)
        self.figures = Figures(clock.seconds)
        self.patience = patience
        self._is_asked = is_asked
        self._flush = Flush(clock, turn_ended)
        self._link = link
        self._clock = clock
        self._limit = LEAST_LIMIT
        self._buffer = WriteBuffer()
        self._in_flight = WriteBuffer()
        self._results_lost = 0
        self._jobs_refused = 0
        self._refusals_quiet_until = 0.0

    def begin(self, listener: JournalListener, limit: int) -> None:
        """
        @param listener: is told what has become of jobs and results.
        @param limit: bytes on their way from which on those who add to them are to wait.
        """
        self.jobs.listener = self._listener = listener
        self._limit = max(limit, LEAST_LIMIT)

    # What the broker says

    def update(self, update: JobUpdate) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        self._buffer.updates[update.number] = update

    def change(self, change: JobChange) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        self._buffer.put_change(change)

    def delete(self, number: int) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        self._buffer.deleted[number] = None

    def delete_all(self, number: int) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        self._buffer.drop_result(number)
        self._buffer.deleted_all[number] = None

    def put_result(self, number: int, result: bytes) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        self._buffer.put_result(number, result)

    def put_value(self, value: StoredValue) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        self._buffer.values[value.kind, value.name] = value

    def is_put(self, key: tuple[int, bytes]) -> bool:
        """Whether a value of this kind and name is on its way."""
        return key in self._buffer.values or key in self._in_flight.values

    def name(self, naming: Naming) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        self._buffer.names[naming.number] = naming

    def has_room(self, size: int) -> bool:
        """Part of L{txgear.broker.ports.Journal}."""
        if self._link.unavailable is None or not size or self.pending_bytes + size <= self._limit:
            return True
        if not self._results_lost:
            self.log.error(
                "until the store {store} answers, no more results are kept: {size} bytes wait for it",
                store=self._link.name,
                size=self.pending_bytes,
            )
        self._results_lost += 1
        return False

    def renew(self, workloads: dict[int, bytes]) -> None:
        """
        Put the new workloads that have not been written yet in place of those that were read.

        @param workloads: by job number, just read: nothing is written meanwhile.
        """
        changes = self._buffer.changes
        for number in workloads.keys() & changes.keys() if changes else ():
            if (workload := changes[number].workload) is not None:
                workloads[number] = workload

    def pending(self, number: int) -> bool:
        """Part of L{txgear.broker.ports.Journal}."""
        return number in self._buffer or number in self._in_flight or number in self.jobs

    def settled(self, numbers: Iterable[int]) -> set[int]:
        """Part of L{txgear.broker.ports.Journal}."""
        return self.jobs.others(self._buffer.others(self._in_flight.others(set(numbers))))

    # How much there is

    @property
    def pending_bytes(self) -> int:
        """Bytes that jobs and results on their way take."""
        return self.jobs.bytes + self._buffer.bytes + self._in_flight.bytes

    @property
    def pending_changes(self) -> int:
        """Changes on their way: new jobs that are not settled, and all else of jobs."""
        return self.jobs.unsettled + len(self._buffer) + len(self._in_flight)

    @property
    def crowded(self) -> bool:
        """Part of L{txgear.broker.ports.Journal}."""
        if self._link.unavailable is not None:
            return False
        return self.jobs.bytes + self._buffer.bytes + self._in_flight.bytes > self._limit

    @property
    def backlogged(self) -> bool:
        """Part of L{txgear.broker.ports.Journal}."""
        return self._link.unavailable is None and len(self._buffer) > BACKLOG

    def watch(self) -> None:
        """A turn has ended: whoever waits from now on does not for ever."""
        if not self.deadline.running and (self.jobs.waiting or self.crowded):
            self.deadline.start(self.patience)

    def asked(self) -> None:
        """Somebody waits for what is to be read, who does not do that for ever either."""
        if not self.deadline.running:
            self.deadline.start(self.patience)

    def look(self) -> Need:
        """A turn has ended, and the link is open: what that is needed for."""
        jobs, link = self.jobs, self._link
        wanted = jobs.waiting or jobs.retracted
        if not wanted and not self._buffer:
            return NOTHING
        self.watch()
        if wanted or link.closing or link.unavailable is not None or self._flush.due():
            return NOW
        return LATER

    # Batches

    def start(self) -> None:
        """Write the next batch; there is something to be written, and the link is open."""
        if self.jobs.retracted:
            batch, undone = self._take_retracted()
        else:
            batch, undone = self._take_batch()
        figures = self.figures

        def written(carried: Carried) -> None:
            figures.written(batch, carried)
            self._written(carried[0])

        self._link.call(lambda store: figures.carry(store, batch), written, undone)

    def _take_retracted(self) -> tuple[Batch, Callable[[], None]]:
        """Deletions by themselves, before anything else: one of the jobs may be submitted again."""
        jobs = self.jobs
        numbers = dict.fromkeys(islice(jobs.retracted, MOST_ROWS))
        for number in numbers:
            del jobs.retracted[number]
        self._flush.cancel()

        def undone() -> None:
            # To delete them twice does no harm.
            jobs.retracted = {**numbers, **jobs.retracted}

        return Batch((), (), (), deleted_all=list(numbers)), undone

    def _take_batch(self) -> tuple[Batch, Callable[[], None]]:
        """All that has gathered, or the first of it."""
        new_jobs = self.jobs.take()
        if not self.jobs.waiting and self._buffer.fits:
            self._in_flight, self._buffer = self._buffer, WriteBuffer()
            self._flush.taken(more=False)
        else:
            self._in_flight = self._buffer.take(self.jobs.waiting.keys())
            self._flush.taken(more=bool(self._buffer))
        return self._in_flight.batch(new_jobs), self._restore

    def _restore(self) -> None:
        """The batch may not have been written: its changes are written again, which does no harm."""
        in_flight, self._in_flight = self._in_flight, WriteBuffer()
        self._buffer.restore(in_flight)

    def _written(self, refusals: Refusals) -> None:
        in_flight, self._in_flight = self._in_flight, WriteBuffer()
        again = self.jobs.written(refusals, self._clock.seconds())
        self.answered()
        if again:
            self._buffer.restore(in_flight.of(again, refusals.passed.keys()))
        if in_flight.results:
            tell = self._listener.result_stored
            self._link.tell(tell, in_flight.results.keys() - refusals.results.keys())
        if refusals.new_jobs:
            self._tell_of_refused(refusals.new_jobs)
        if refusals.results:
            self.log.error(
                "{store} does not keep the results of {jobs}: {reason}",
                store=self._link.name,
                jobs=words.number(len(refusals.results), "job"),
                reason=str(next(iter(refusals.results.values()))),
            )
            for number in refusals.results:
                self._link.tell(self._listener.result_refused, number)
        for number, (reason, size) in refusals.workloads.items():
            change = self._buffer.changes.get(number)
            if change is not None and change.workload is not None:
                # It has got another meanwhile, and has that unless it is refused as well.
                continue
            self.log.error(
                "{store} does not keep the new workload of job {number}, which keeps its old one: {reason}",
                store=self._link.name,
                number=number,
                reason=str(reason),
            )
            self._link.tell(self._listener.workload_refused, number, size, self._clock.seconds())
        if in_flight.updates or in_flight.changes or in_flight.results:
            numbers = {**in_flight.updates, **in_flight.changes, **in_flight.results}
            self._link.tell(self._listener.written, numbers, self._clock.seconds())

    def _tell_of_refused(self, new_jobs: Mapping[int, StoreRefused]) -> None:
        """The store works, and refuses new jobs: where its disk is full that may be all there is to see."""
        self._jobs_refused += len(new_jobs)
        now = self._clock.seconds()
        if now < self._refusals_quiet_until:
            return
        self._refusals_quiet_until = now + REFUSED_SECONDS
        self.log.error(
            "{store} does not keep {jobs}, whose {submits} refused: {reason}",
            store=self._link.name,
            jobs=words.number(self._jobs_refused, "new job"),
            submits=words.verb(self._jobs_refused, "submit is", "submits are"),
            reason=str(next(iter(new_jobs.values()))),
        )
        self._jobs_refused = 0

    def answered(self) -> None:
        """
        The store has answered, or those are told who have asked it: those who are left have their time from
        now on. Some may have submitted what was at the store when that was lost.
        """
        self.deadline.cancel()
        if self.jobs.is_waited_for or self._is_asked():
            self.deadline.start(self.patience)

    def reopened(self, known: set[int]) -> None:
        """
        The store was lost and is open again.

        @param known: the numbers of those jobs in flight that are in it.
        """
        self.jobs.found(known, self._clock.seconds())
        if not self.jobs.waiting:
            self.answered()

    def _drop(self, number: int) -> None:
        """A new job is refused, and what was to be kept with it."""
        self._buffer.drop(number)
        self._in_flight.drop(number)

    def recovered(self) -> None:
        """The store answers: say how many results it has cost that it did not."""
        if self._results_lost:
            self.log.error(
                "the results of {jobs} are not kept: the store {store} did not answer",
                jobs=words.number(self._results_lost, "job"),
                store=self._link.name,
            )
            self._results_lost = 0

    # The end

    def stop(self) -> None:
        """Cancel all timers."""
        self.deadline.cancel()
        self._flush.cancel()

    def give_up(self) -> None:
        """Nothing is written any more: say what that costs."""
        self._restore()
        if ended := self._buffer.count_ended():
            self.log.error(
                "the store {store} has not taken the last changes; {jobs} will run again",
                store=self._link.name,
                jobs=words.number(ended, "ended job"),
            )

    def check(self) -> None:
        """
        Assert that the counts agree with what is here. For tests.

        @raise AssertionError: they do not.
        """
        self.jobs.check()
        self._buffer.check()
        self._in_flight.check()


class Flush:
    """When changes are written that nobody waits for: L{FLUSH_DELAY} after the first of them."""

    def __init__(self, clock: IReactorTime, turn_ended: Callable[[], None]) -> None:
        """
        @param turn_ended: called when it is time.
        """
        self._timer = Timer(clock, partial(self._time_has_come, turn_ended))
        self._gathered = False

    def due(self) -> bool:
        """Whether it is time; if not, it will be in a moment."""
        if not self._gathered and not self._timer.running:
            self._timer.start(FLUSH_DELAY)
        return self._gathered

    def _time_has_come(self, turn_ended: Callable[[], None]) -> None:
        self._gathered = True
        turn_ended()

    def taken(self, *, more: bool) -> None:
        """
        A batch of changes is written.

        @param more: whether there are others, which have gathered long enough.
        """
        if self._timer.running:
            self._timer.cancel()
        self._gathered = more

    def cancel(self) -> None:
        """Do not wait any more for the time."""
        self._timer.cancel()
