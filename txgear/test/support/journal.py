"""
For the floor C{journal}: a store that fails where it is told to, the thread on which it is called, and who is
told what came of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear.broker.model import Job
from txgear.broker.ports import JournalListener
from txgear.broker.records import (
    Batch,
    ByNumber,
    HistoryChunk,
    JobRecord,
    LaneCount,
    Question,
    StoredValue,
    StoreReport,
)
from txgear.errors import StoreRefused, StoreUnavailable, ValueTooLarge
from txgear.interfaces import IHistoryStore, ILeasedStore, IReportingStore
from txgear.journal.journal import Journal
from txgear.stores.memory import MemoryStore

T = TypeVar("T")

PATIENCE: Final = 10.0
"""Seconds in which a thread has done something that takes no time, on a machine however busy."""

AWAY: Final = StoreUnavailable.told.encode()
"""What clients read while a store is away, whatever it says itself."""
NOT_KEPT: Final = StoreRefused.told.encode()
"""The same where it works, and does not take a job."""


class Fault(NamedTuple):
    """
    What goes wrong with a call.

    @ivar error: what it raises.
    @ivar after: whether it has done its work before.
    """

    error: Exception
    after: bool = False


class FaultyStore(MemoryStore):
    """
    A store in memory that notes what it is asked, and fails as it is told to.

    @ivar asked: the names of the calls since the last L{take}.
    @ivar batches: what was to be written, in order, whatever became of it.
    @ivar too_large: bytes of a workload or a result above which it is refused.
    @ivar unreadable: the numbers of jobs whose workloads and results cannot be read.
    @ivar unfindable: the numbers of jobs by which nothing can be found.
    @ivar unreadable_why: what reading or finding them raises.
    @ivar closed_with: what L{close} was given when it was open last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.batches: list[Batch] = []
        self.too_large = 10**9
        self.unreadable: set[int] = set()
        self.unfindable: set[int] = set()
        self.unreadable_why: Exception = StoreUnavailable("the disk is damaged")
        self.closed_with: int | None = None
        self._faults: dict[str, deque[Fault]] = {}

    def fail(self, name: str, error: Exception, *, after: bool = False, times: int = 1) -> None:
        """
        Let the next calls of a method fail.

        @param after: whether they do their work before.
        """
        self._faults.setdefault(name, deque()).extend([Fault(error, after)] * times)

    def mend(self) -> None:
        """Nothing fails any more."""
        self._faults.clear()

    def take(self) -> list[str]:
        """The names of the calls since the last time."""
        taken, self.asked = self.asked, []
        return taken

    # What would be there after a crash

    @property
    def kept(self) -> dict[int, JobRecord]:
        """The jobs, by number."""
        return dict(self._jobs)

    @property
    def kept_workloads(self) -> dict[int, bytes]:
        """Their workloads; of those that have ended only where they are kept for another run."""
        return dict(self._workloads)

    @property
    def kept_results(self) -> dict[int, bytes]:
        """The results of those that have ended."""
        return dict(self._results)

    @property
    def kept_values(self) -> dict[tuple[int, bytes], StoredValue]:
        """What is no job, by kind and name."""
        return dict(self._values)

    @property
    def kept_history(self) -> dict[int, bytes]:
        """Chunks of history, by number."""
        return dict(self._history)

    # What somebody else may do to a store

    def lose(self, number: int) -> None:
        """A job is taken out of it."""
        del self._jobs[number], self._workloads[number]

    def lose_results(self) -> None:
        """All results are taken out of it."""
        self._results.clear()

    def change_result(self, number: int, result: bytes) -> None:
        """The result of a job is made another."""
        assert number in self._results
        self._results[number] = result

    @property
    def sizes(self) -> list[tuple[int, int, int]]:
        """Of each batch that was to be written, how many new jobs, updates and deletions it had."""
        return [
            (len(batch.new_jobs), len(batch.updates), len(batch.deleted) + len(batch.deleted_all))
            for batch in self.batches
        ]

    def next_fault(self, name: str) -> Fault | None:
        """What goes wrong with this call."""
        faults = self._faults.get(name)
        return faults.popleft() if faults else None

    def _do(self, name: str, work: Callable[..., T], *arguments: Any) -> T:
        self.asked.append(name)
        fault = self.next_fault(name)
        if fault is None:
            return work(*arguments)
        if fault.after:
            work(*arguments)
        # One of its own: an exception keeps where it was raised.
        raise type(fault.error)(*fault.error.args)

    def open(self) -> None:
        self._do("open", self._open)

    def _open(self) -> None:
        # The connection that was lost is let go of.
        self._is_open = False
        super().open()

    def reserve(self, count: int) -> int:
        return self._do("reserve", super().reserve, count)

    def replay(self, after: int, limit: int) -> list[JobRecord]:
        return self._do("replay", super().replay, after, limit)

    def write(self, batch: Batch) -> None:
        self.batches.append(batch)
        self._do("write", self._write, batch)

    def _write(self, batch: Batch) -> None:
        for job, _ in batch.new_jobs:
            if job.size > self.too_large:
                raise ValueTooLarge(f"A workload of {job.size} bytes is too large")
        for change in batch.changes:
            if change.workload is not None and len(change.workload) > self.too_large:
                size = len(change.workload)
                raise ValueTooLarge(f"A workload of {size} bytes is too large")
        for _, result in batch.results:
            if len(result) > self.too_large:
                raise ValueTooLarge(f"A result of {len(result)} bytes is too large")
        super().write(batch)
        strays = self._results.keys() - self._jobs.keys()
        assert not strays, f"results of jobs that are not kept: {strays}"

    def lanes(self) -> list[LaneCount]:
        return self._do("lanes", super().lanes)

    def rows(self, question: Question, workloads: dict[int, bytes] | None = None) -> list[JobRecord]:
        return self._do("rows", self._find, question)

    def _find(self, question: Question) -> list[JobRecord]:
        if isinstance(question, ByNumber) and not self.unfindable.isdisjoint(question.numbers):
            self._fail()
        return super().rows(question)

    def hashes(self, after: int, limit: int) -> list[int]:
        return self._do("hashes", super().hashes, after, limit)

    def workloads(self, numbers: Sequence[int]) -> dict[int, bytes]:
        return self._do("workloads", self._read, super().workloads, numbers)

    def results(self, numbers: Sequence[int]) -> dict[int, bytes]:
        return self._do("results", self._read, super().results, numbers)

    def _read(
        self, read: Callable[[Sequence[int]], dict[int, bytes]], numbers: Sequence[int]
    ) -> dict[int, bytes]:
        if not self.unreadable.isdisjoint(numbers):
            self._fail()
        return read(numbers)

    def _fail(self) -> NoReturn:
        why = self.unreadable_why
        self._is_open = isinstance(why, StoreRefused)
        raise type(why)(*why.args)

    def values(self) -> list[StoredValue]:
        return self._do("values", super().values)

    def known(self, numbers: Sequence[int]) -> set[int]:
        return self._do("known", super().known, numbers)

    def put_history(self, chunks: Sequence[HistoryChunk], deleted: Sequence[int]) -> None:
        self._do("put_history", super().put_history, chunks, deleted)

    def history(self, after: int, limit: int) -> list[HistoryChunk]:
        return self._do("history", super().history, after, limit)

    def close(self, next_number: int | None) -> None:
        if self._is_open:
            self.closed_with = next_number
        self._do("close", super().close, next_number)


class ManualThread:
    """
    A thread on which nothing happens before the test says so.

    @ivar waiting: the calls that it has to do.
    """

    def __init__(self) -> None:
        self.waiting: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()

    def __call__(self, call: Callable[[], Any]) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        self.waiting.append((call, result))
        return result

    def run(self) -> None:
        """Do the next call; there is one, and only one."""
        ((call, result),) = self.waiting
        self.waiting.clear()
        try:
            value = call()
        except Exception:
            value = Failure()
        result.callback(value)

    def run_all(self) -> None:
        """Do all that there is, and what follows from that."""
        while self.waiting:
            self.run()


class ThreadedReactor(MemoryReactorClock):
    """A reactor for code that has a thread: what comes from there waits for L{deliver}."""

    def __init__(self) -> None:
        super().__init__()
        self._arrived: SimpleQueue[Callable[[], Any]] = SimpleQueue()

    def callFromThread(self, callable: Any, *arguments: Any, **keywords: Any) -> None:
        call = partial(callable, *arguments, **keywords)
        if threading.current_thread() is threading.main_thread():
            call()
        else:
            self._arrived.put(call)

    def deliver(self) -> None:
        """Wait for the next call, and make it."""
        self._arrived.get(timeout=PATIENCE)()

    def settle(self, journal: Journal | None) -> None:
        """Wait until the store of this journal, which there is, has done all that it was asked."""
        assert journal is not None
        while journal.busy:
            self.deliver()


class Instead:
    """A L{JournalListener<txgear.broker.ports.JournalListener>} of which some methods do something else."""

    def __init__(self, listener: JournalListener, **methods: Callable[..., None]) -> None:
        self._listener = listener
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        return self._methods.get(name) or getattr(self._listener, name)


class RecordingListener:
    """
    What a journal tells the broker.

    @ivar told: its calls, in order: the name, then what it was of.
    @ivar defects: numbers of jobs over whose outcome this fails.
    @ivar wanted: numbers of jobs that are to be stored whatever other servers have.
    """

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.defects: set[int] = set()
        self.wanted: set[int] = set()
        self.numbers_left = 10**9
        self.next_number = 1
        self.unreadable: set[Job] = set()

    def take(self) -> list[tuple[Any, ...]]:
        """All since the last time."""
        taken, self.told = self.told, []
        return taken

    def reserve(self, first: int, count: int) -> None:
        self.told.append(("reserve", first, count))

    def trust(self, until: float, now: float) -> None:
        self.told.append(("trust", until, now))

    def stored(self, jobs: Iterator[Job], now: float) -> None:
        for job in jobs:
            self._outcome(job, "stored")

    def written(self, numbers: Iterable[int], now: float) -> None:
        self.told.append(("written", sorted(numbers)))

    def answers(self, now: float) -> None:
        self.told.append(("answers",))

    def refused(self, job: Job, reason: str, now: float) -> None:
        self._outcome(job, "refused", reason)

    def joined(self, job: Job, record: JobRecord, now: float) -> bool:
        self._outcome(job, "joined", record.number)
        return job.number not in self.wanted

    def passed(self, job: Job, handle: bytes, now: float) -> bool:
        self._outcome(job, "passed", handle)
        return job.number not in self.wanted

    def _outcome(self, job: Job, name: str, *told: Any) -> None:
        if job.number in self.defects:
            raise ZeroDivisionError
        self.told.append((name, job.number, *told))

    def result_stored(self, numbers: Iterable[int]) -> None:
        self.told.append(("result_stored", sorted(numbers)))

    def workload_refused(self, number: int, size: int, now: float) -> None:
        self.told.append(("workload_refused", number, size))

    def result_refused(self, number: int) -> None:
        self.told.append(("result_refused", number))

    def loaded(
        self,
        workloads: Iterable[tuple[Job, bytes | None]],
        now: float,
        unreadable: Iterable[Job] = (),
        more: bool = False,
    ) -> None:
        found = {job.number: workload for job, workload in workloads}
        self.told.append(("loaded", found, [job.number for job in unreadable], more))


WELL = StoreReport("SQLite 3", "0003", (("synchronous", "FULL"),), (), 4096, 0)
"""What a store says of itself that is durable."""


@implementer(IHistoryStore, IReportingStore)
class ReportingStore(FaultyStore):
    """
    @ivar said: what it says of itself, or raises.
    @ivar questions: how often it was asked.
    """

    said: StoreReport | Exception = WELL
    questions = 0

    def report(self) -> StoreReport:
        self.questions += 1
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


@implementer(IHistoryStore, ILeasedStore)
class LeasedStore(FaultyStore):
    """One that is to be renewed from time to time."""

    beat_seconds = 2.0

    def renew(self) -> None:
        self._do("renew", self._check_open)
