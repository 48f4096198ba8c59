"""
New jobs on their way to the store, each from its submit until those who submitted it have their answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from twisted.logger import Logger

from txgear.broker.model import Job
from txgear.broker.ports import JournalListener
from txgear.broker.records import JobRecord, NewJob
from txgear.errors import StoreRefused
from txgear.journal.batches import MOST_BYTES, MOST_ROWS, fitting
from txgear.protocol.packets import Data

JOB_BYTES: Final = 1000
"""What a job on its way takes beside its workload, about: a million empty ones are not nothing."""


class Pending:
    """
    One job on its way to the store.

    @ivar job: what the broker is told of.
    @ivar new: the same as it is to be kept.
    @ivar size: bytes that it takes on its way.
    @ivar settled: whether the broker has been told what has become of it.
    """

    __slots__ = ("job", "new", "settled", "size")

    def __init__(self, job: Job, new: NewJob) -> None:
        self.job = job
        self.new = new
        self.size = new[0].size + JOB_BYTES
        self.settled = False

    @property
    def number(self) -> int:
        """The job's number."""
        return self.new[0].number


class NewJobs:
    """
    All jobs on their way to the store, in order. Those of one batch are in flight at a time.

    @ivar listener: is told what has become of each, once.
    @ivar waiting: those of which none is at the store yet.
    @ivar retracted: numbers of jobs that are in the store, though those who submitted them have been told
        that they are not: to be deleted.
    @ivar bytes: what those take that are not settled.
    """

    log = Logger()
    listener: JournalListener

    def __init__(self, drop: Callable[[int], None]) -> None:
        """
        @param drop: called with the number of a job that is refused, before the broker hears of it.
        """
        self.waiting: list[Pending] = []
        self.retracted: list[int] = []
        self.bytes = 0
        self._in_flight: deque[Pending] = deque()
        self._drop = drop

    def add(self, job: Job, record: JobRecord, workload: Data) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        pending = Pending(job, (record, workload))
        self.waiting.append(pending)
        self.bytes += pending.size

    def take(self) -> list[NewJob]:
        """What is written next: all that wait, or the first of them."""
        waiting = self.waiting
        taken = len(waiting)
        if taken > MOST_ROWS or self.bytes > MOST_BYTES:
            taken = fitting([pending.new[0].size for pending in waiting])
        self._in_flight, self.waiting = deque(waiting[:taken]), waiting[taken:]
        return [pending.new for pending in self._in_flight]

    @property
    def unsettled(self) -> int:
        """How many are on their way; those count that were refused while they were at the store."""
        return len(self.waiting) + len(self._in_flight)

    def numbers_in_flight(self) -> list[int]:
        """The numbers of the jobs that are at the store, and may be in it or not once that has failed."""
        return [pending.new[0].number for pending in self._in_flight]

    # What becomes of them

    def written(self, refusals: Mapping[int, StoreRefused], now: float) -> None:
        """
        The jobs in flight are in the store.

        @param refusals: but for these, by their place in the batch.
        """
        in_flight = self._in_flight
        for index in range(len(in_flight)):
            # One by one: whatever happens here, what is left is still known to be on its way.
            pending = in_flight.popleft()
            if index in refusals:
                self._refuse(pending, str(refusals[index]), now)
            elif pending.settled:
                self.retracted.append(pending.number)
            else:
                pending.settled = True
                self.bytes -= pending.size
                try:
                    self.listener.stored(pending.job, now)
                except Exception:
                    self._log_defect()

    def found(self, known: set[int], now: float) -> None:
        """
        The store was lost with the jobs in flight, and has been looked up.

        @param known: the numbers of those that are in it; the others are to be written again.
        """
        in_flight = self._in_flight
        self._in_flight = deque(pending for pending in in_flight if pending.number in known)
        self.waiting[:0] = [
            pending for pending in in_flight if not pending.settled and pending.number not in known
        ]
        self.written({}, now)

    def refuse_all(self, reason: str, now: float) -> None:
        """
        Nobody is to wait any longer. What is in flight stays there; should it be kept after all, it is
        deleted again.
        """
        waiting, self.waiting = self.waiting, []
        for pending in [*self._in_flight, *waiting]:
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
        assert not any(pending.settled for pending in self.waiting)
        unsettled = [pending for pending in (*self._in_flight, *self.waiting) if not pending.settled]
        assert self.bytes == sum(pending.size for pending in unsettled)
