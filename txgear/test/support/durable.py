"""
What the tests of the durable queue share: a store that fails where it is told
to, the thread on which it is called, and a server that has both.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import Batch, JobRecord, StoredValue, by_place
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.journal import NUMBERS, InThread, Journal
from txgear.policies import Policies
from txgear.protocol.constants import ECHO_REQ, ECHO_RES, JOB_CREATED, SUBMIT_JOB_BG
from txgear.protocol.packets import request, response
from txgear.server.gear import GearFactory
from txgear.server.jobserver import JobServer, Settings
from txgear.stores.memory import MemoryStore
from txgear.test.support.rooms import START, Line, Port, error

T = TypeVar("T")

PATIENCE: Final = 10.0
"""Seconds in which a thread has done something that takes no time, on a machine however busy."""

HANDLES = [b"H:test:%d" % number for number in range(1000)]
"""The handle of each job number."""


class Fault(NamedTuple):
    """
    What goes wrong with a call.

    @ivar error: what it raises.
    @ivar after: whether it has done its work before.
    """

    error: Exception
    after: bool = False


class TroubledStore(MemoryStore):
    """
    A store in memory that notes what it is asked, and fails as it is told to.

    @ivar asked: the names of the calls since the last L{take}.
    @ivar batches: what was to be written, in order, whatever became of it.
    @ivar too_large: bytes of a workload or a result above which it is refused.
    @ivar unreadable: the numbers of jobs whose workloads and results cannot be read.
    @ivar unreadable_why: what reading them raises.
    @ivar closed_with: what L{close} was given when it was open last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.batches: list[Batch] = []
        self.too_large = 10**9
        self.unreadable: set[int] = set()
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

    @property
    def kept(self) -> dict[int, JobRecord]:
        """What would be there after a crash."""
        return dict(self._jobs)

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
                raise StoreRefused(f"A workload of {job.size} bytes is too large")
        for _, result in batch.results:
            if len(result) > self.too_large:
                raise StoreRefused(f"A result of {len(result)} bytes is too large")
        super().write(batch)
        strays = self._results.keys() - self._jobs.keys()
        assert not strays, f"results of jobs that are not kept: {strays}"

    def workloads(self, numbers: Sequence[int]) -> dict[int, bytes]:
        return self._do("workloads", self._read, super().workloads, numbers)

    def results(self, numbers: Sequence[int]) -> dict[int, bytes]:
        return self._do("results", self._read, super().results, numbers)

    def _read(
        self, read: Callable[[Sequence[int]], dict[int, bytes]], numbers: Sequence[int]
    ) -> dict[int, bytes]:
        if not self.unreadable.isdisjoint(numbers):
            why = self.unreadable_why
            self._is_open = isinstance(why, StoreRefused)
            raise type(why)(*why.args)
        return read(numbers)

    def values(self) -> list[StoredValue]:
        return self._do("values", super().values)

    def known(self, numbers: Sequence[int]) -> set[int]:
        return self._do("known", super().known, numbers)

    def close(self, next_number: int | None) -> None:
        if self._is_open:
            self.closed_with = next_number
        self._do("close", super().close, next_number)


class HandThread:
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


class DurablePort(Port):
    """
    A server with a store, and connections to it.

    @ivar thread: where the store is called.
    """

    def __init__(
        self,
        store: MemoryStore,
        in_thread: InThread | None = None,
        *,
        clock: Clock | None = None,
        numbers: int = NUMBERS,
        policies: Policies | None = None,
        **choices: Any,
    ) -> None:
        """
        @param store: not open; what it keeps is queued.
        @param in_thread: where the store is called, by default a L{HandThread}.
        @param clock: by default one of its own that stands at L{START}.
        @param numbers: how many job numbers it begins with.
        @param policies: what is set for functions.
        @param choices: what differs from the default L{Settings}.
        """
        if clock is None:
            clock = Clock()
            clock.advance(START)
        self.clock = clock
        self.thread = HandThread()
        settings = Settings(prefix=b"H:test", **choices)
        self.journal = Journal(store, in_thread or self.thread, clock, settings.store_timeout)
        self.server = JobServer(clock, settings, self.journal)
        self.factory = GearFactory(self.server)
        if policies is not None:
            self.server.broker.set_policies(policies, clock.seconds())
        store.open()
        self.server.broker.reserve(store.reserve(numbers), numbers)
        for record in by_place(store.replay(0, NUMBERS)):
            self.server.broker.restore(record, clock.seconds())
        self.server.broker.restored()
        for mark in store.values():
            self.server.broker.restore_mark(mark, clock.seconds())


def submit(workload: bytes = b"w", function: bytes = b"f", unique: bytes = b"") -> bytes:
    """A background submit."""
    return request(SUBMIT_JOB_BG, function, unique, workload)


def created(*numbers: int) -> bytes:
    """The answers to submits that were taken."""
    return b"".join(response(JOB_CREATED, HANDLES[number]) for number in numbers)


def refused(reason: bytes) -> bytes:
    """The answer to a submit that cannot be stored."""
    return error(b"QUEUE_ERROR", reason)


class DurableTestCase(SynchronousTestCase):
    """
    A server whose store is called when the test says so.

    @ivar client: a connection to it.
    @ivar other: another.
    """

    def setUp(self) -> None:
        self.store = TroubledStore()
        self.begin()

    def begin(self, **choices: Any) -> None:
        """
        Start the server, again if it was there: the old one is left as after a kill.

        @param choices: what differs from the default.
        """
        self.port = DurablePort(self.store, **choices)
        self.clock, self.thread = self.port.clock, self.port.thread
        self.client, self.other = self.port.connect(), self.port.connect()
        self.thread.run_all()
        self.store.take()
        self.store.batches.clear()

    def begin_anew(self, **choices: Any) -> None:
        """L{begin} with a store that is new, too."""
        self.store = TroubledStore()
        self.begin(**choices)

    def run_on(self, seconds: float = 60.0) -> None:
        """Let this much time pass, the store answering at once."""
        end = self.clock.seconds() + seconds
        self.thread.run_all()
        while self.clock.seconds() < end:
            self.clock.advance(0.01)
            self.thread.run_all()

    def submit_one(self) -> None:
        """The client's submit reaches the store's thread."""
        self.client.tell(submit())
        self.assertEqual(len(self.thread.waiting), 1)

    def numbers(self) -> list[int]:
        """The jobs that are kept, by number."""
        return sorted(self.store.kept)

    def logged(self, action: Callable[..., Any], *arguments: Any) -> list[str]:
        """What the log hears while something is done."""
        with capturedLogs() as events:
            action(*arguments)
        return [formatEvent(event) for event in events]

    def assert_well(self) -> None:
        """The server has nothing to do, and takes jobs."""
        self.thread.run_all()
        self.port.server.notices.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        line = self.port.connect()
        line.tell(submit(b"", b"well"))
        self.thread.run_all()
        self.assertTrue(line.heard().startswith(response(JOB_CREATED, b"")[:8]))
        line.leave()

    def assert_alive(self, line: Line) -> None:
        """A connection is answered at once."""
        self.assertEqual(line.ask(request(ECHO_REQ, b"x")), response(ECHO_RES, b"x"))
