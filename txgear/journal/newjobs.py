"""
New jobs on their way to the store, each from its submit until those who submitted it have their answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from twisted.logger import Logger

from txgear.broker.model import Job
from txgear.broker.ports import JournalListener
from txgear.broker.records import JobRecord, NewJob
from txgear.journal.batches import MOST_BYTES, MOST_ROWS, Refusals, fitting
from txgear.protocol.packets import Data

JOB_BYTES: Final = 1000
"""What a job on its way takes beside its workload, about: a million empty ones are not nothing."""


class Pending:
    """
    One job on its way to the store.

    @ivar number: the job's.
    @ivar job: what the broker is told of.
    @ivar new: the same as it is to be kept.
    @ivar size: bytes that it takes on its way.
    @ivar settled: whether the broker has been told what has become of it.
    """

    __slots__ = ("job", "new", "number", "settled", "size")

    def __init__(self, job: Job, new: NewJob) -> None:
        self.number = new[0].number
        self.job = job
        self.new = new
        self.size = new[0].size + JOB_BYTES
        self.settled = False


class NewJobs:
    """
    All jobs on their way to the store, in order. Those of one batch are in flight at a time.

    @ivar listener: is told what has become of each, once.
    @ivar waiting: those of which none is at the store yet, by number.
    @ivar retracted: numbers of jobs that are in the store, though those who submitted them have been told
        that they are not: to be deleted, in this order.
    @ivar bytes: what those take that are not settled.
    """

    log = Logger()
    listener: JournalListener

    def __init__(self, drop: Callable[[int], None]) -> None:
        """
        @param drop: called with the number of a job that is refused, before the broker hears of it.
        """
        self.waiting: dict[int, Pending] = {}
        self.retracted: dict[int, None] = {}
        self.bytes = 0
        self._in_flight: dict[int, Pending] = {}
        self._drop = drop

    def add(self, job: Job, record: JobRecord, workload: Data) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        pending = Pending(job, (record, workload))
        self.waiting[pending.number] = pending
        self.bytes += pending.size

    def take(self) -> list[NewJob]:
        """What is written next: all that wait, or the first of them."""
        waiting = self.waiting
        taken = len(waiting)
        if taken > MOST_ROWS or self.bytes > MOST_BYTES:
            taken = fitting([pending.new[0].size for pending in islice(waiting.values(), MOST_ROWS)])
        if taken == len(waiting):
            self._in_flight, self.waiting = waiting, {}
        else:
            self._in_flight = {number: waiting.pop(number) for number in list(islice(waiting, taken))}
        return [pending.new for pending in self._in_flight.values()]

    @property
    def unsettled(self) -> int:
        """How many are on their way; those count that were refused while they were at the store."""
        return len(self.waiting) + len(self._in_flight)

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody waits for those that are at the store, or were when it was lost."""
        return any(not pending.settled for pending in self._in_flight.values())

    def numbers_in_flight(self) -> list[int]:
        """The numbers of the jobs that are at the store, and may be in it or not once that has failed."""
        return list(self._in_flight)

    def __contains__(self, number: int) -> bool:
        """Whether this job is on its way, or is to be deleted."""
        return number in self.waiting or number in self._in_flight or number in self.retracted

    def others(self, numbers: set[int]) -> set[int]:
        """Those of these that are neither on their way nor to be deleted."""
        for part in (self.waiting, self._in_flight, self.retracted):
            if part:
                numbers = numbers.difference(part)
        return numbers

    # What becomes of them

    def written(self, refusals: Refusals, now: float) -> set[int]:
        """
        The jobs in flight are in the store.

        @param refusals: but for these.
        @return: the numbers of those that are to be written once more, and wait for that.
        """
        in_flight = self._in_flight
        new_jobs, joined, passed = refusals.new_jobs, refusals.joined, refusals.passed
        again: dict[int, Pending] = {}
        stored: list[Pending] = []
        for index, (number, pending) in enumerate(list(in_flight.items())):
            if not (pending.settled or index in new_jobs or number in joined or number in passed):
                stored.append(pending)
                continue
            self._tell_stored(stored, now)
            stored = []
            # One by one: whatever happens here, what is left is still known to be on its way.
            del in_flight[number]
            if index in new_jobs:
                self._refuse(pending, new_jobs[index].told, now)
            elif number in joined or number in passed:
                if not (pending.settled or self._is_elsewhere(pending, refusals, now)):
                    again[number] = pending
            else:
                self.retracted[number] = None
        self._tell_stored(stored, now)
        self.waiting = {**again, **self.waiting}
        return set(again)

    def _tell_stored(self, stored: Sequence[Pending], now: float) -> None:
        """Tell the broker of these jobs in flight. A defect over one of them costs the others nothing."""
        jobs = self._settled(stored)
        for _ in stored:
            try:
                self.listener.stored(jobs, now)
            except Exception:
                self._log_defect()
            else:
                return
        # It does not even look at them.
        for _ in jobs:
            pass

    def _settled(self, stored: Sequence[Pending]) -> Iterator[Job]:
        """Each of these jobs, which is on its way no more when it is asked for."""
        in_flight = self._in_flight
        for pending in stored:
            del in_flight[pending.number]
            pending.settled = True
            self.bytes -= pending.size
            yield pending.job

    def _is_elsewhere(self, pending: Pending, refusals: Refusals, now: float) -> bool:
        """Whether the broker takes a job for what another server has; otherwise it is written once more."""
        number, listener = pending.number, self.listener
        try:
            if number in refusals.joined:
                settled = listener.joined(pending.job, refusals.joined[number], now)
            else:
                settled = listener.passed(pending.job, refusals.passed[number], now)
        except Exception:
            self._log_defect()
            settled = True
        if settled:
            pending.settled = True
            self.bytes -= pending.size
            self._drop(number)
        return settled

    def found(self, known: set[int], now: float) -> None:
        """
        The store was lost with the jobs in flight, and has been looked up.

        @param known: the numbers of those that are in it; the others are to be written again.
        """
        in_flight = self._in_flight
        self._in_flight = {number: pending for number, pending in in_flight.items() if number in known}
        lost = {
            number: pending
            for number, pending in in_flight.items()
            if not pending.settled and number not in known
        }
        self.waiting = {**lost, **self.waiting}
        self.written(Refusals({}, {}, {}), now)

    def refuse_all(self, reason: str, now: float) -> None:
        """
        Nobody is to wait any longer. What is in flight stays there; should it be kept after all, it is
        deleted again.
        """
        waiting, self.waiting = self.waiting, {}
        for pending in [*self._in_flight.values(), *waiting.values()]:
            self._refuse(pending, reason, now)

    def _refuse(self, pending: Pending, reason: str, now: float) -> None:
        if not pending.settled:
            pending.settled = True
            self.bytes -= pending.size
            self._drop(pending.number)
            try:
                self.listener.refused(pending.job, reason, now)
            except Exception:
                self._log_defect()

    def _log_defect(self) -> None:
        """The broker has failed over a job's outcome, which costs no other job its own."""
        self.log.failure("a defect in what follows from the store's answers")

    def check(self) -> None:
        """
        Assert that the bytes are those of the jobs that are not settled. For tests.

        @raise AssertionError: they are not.
        """
        assert not any(pending.settled for pending in self.waiting.values())
        every = (*self._in_flight.values(), *self.waiting.values())
        unsettled = [pending for pending in every if not pending.settled]
        assert self.bytes == sum(pending.size for pending in unsettled)
