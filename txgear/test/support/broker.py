"""
For the floor C{broker}: an outbox that is a list, and a broker with peers around it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, TypeAlias

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.ended.archive import Archive
from txgear.broker.lanes import Lanes
from txgear.broker.model import Function, Job, Peer, Reply
from txgear.broker.records import (
    ASIDE,
    OWN,
    InOrder,
    JobRecord,
)
from txgear.broker.rules import QUEUE_MEMORY, UNLIMITED, Rules
from txgear.broker.sharedlanes import SharedLanes
from txgear.broker.states import DEAD, PAGED, QUEUED
from txgear.broker.tenants import Quota
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import NOOP, NORMAL
from txgear.protocol.packets import Data
from txgear.test.support.clock import START
from txgear.test.support.fakejournal import FakeJournal

Told: TypeAlias = "tuple[int, bytes, bytes, bool]"
"""What a watcher is told: how a job ended, its data, its result, and whether that is all."""


AnyLanes: TypeAlias = "Lanes[Job] | SharedLanes[Job]"
"""Those of a function."""


Heard: TypeAlias = "tuple[int | Data, ...]"
"""A packet as a peer hears it: its type, then its arguments."""


def results_of(archive: Archive) -> dict[int, bytes]:
    """The results that are in memory, by the numbers of their jobs."""
    return {
        number: bytes(job.workload)
        for number, job in archive.jobs.items()
        if job.state != DEAD and job.workload
    }


def make_job(
    function: Function | None = None,
    number: int = 1,
    *,
    unique: bytes = b"",
    priority: int = NORMAL,
    background: bool = True,
    workload: Data = b"",
) -> Job:
    """A job that no broker knows."""
    function = function or Function(b"f")
    key, size = unique or None, len(workload)
    return Job(
        b"H:test:%d", number, function, unique, key, workload, priority, background, b"", 0.0, number, size
    )


def record(number: int, place: int | None = None, **fields: Any) -> JobRecord:
    """A job as a store has it, of function C{f} and without a workload where nothing else is said."""
    plain = JobRecord(number, place or number, b"H:test", b"f", b"", None, b"", NORMAL, 0.0, 0, 0)
    return plain._replace(**fields)


def queued(lanes: AnyLanes) -> list[Job]:
    """Every job in the lanes, in the order of being handed out."""
    return [job for job in lanes.all() if job.state == QUEUED]


def overflowed(lanes: AnyLanes) -> list[Job]:
    """Every job in the overflows, in the order of coming into the lanes."""
    return [job for job in lanes.all() if job.state == PAGED]


class FakeRights:
    """
    Rights to everything but some acts.

    @ivar denied: each act that is not allowed, with its function.
    @ivar submits: as in L{txgear.broker.model.Rights}; nothing is known.
    """

    submits: Collection[bytes] = ()

    def __init__(self, *denied: tuple[str, bytes]) -> None:
        self.denied = set(denied)

    def may(self, act: str, function: bytes = b"") -> bool:
        return (act, function) not in self.denied


class FakeOutbox:
    """
    An outbox that keeps what it is given.

    @ivar paused: the peers of whom no more is to be taken.
    @ivar hung_up: those whose connections are to end.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[Peer, Heard]] = []
        self.paused: list[Peer] = []
        self.hung_up: list[Peer] = []

    def hang_up(self, peer: Peer) -> None:
        self.hung_up.append(peer)

    def pause(self, peer: Peer) -> None:
        self.paused.append(peer)

    def release(self, reply: Reply, *packet: int | Data) -> None:
        reply.packet = packet

    def send(self, peer: Peer, kind: int, *arguments: Data) -> None:
        self.sent.append((peer, (kind, *arguments)))

    def take(self) -> list[tuple[Peer, Heard]]:
        """All since the last time."""
        taken, self.sent = self.sent, []
        return taken


class BrokerFixture:
    """
    A broker, peers around it, and a clock that is moved by hand.

    @ivar now: the time that the broker is told.
    @ivar policies: what the operator has set, over restarts too.
    """

    def __init__(
        self,
        retries: int = UNLIMITED,
        wakeups: int = 0,
        journal: FakeJournal | None = None,
        queue_memory: int = QUEUE_MEMORY,
        chance: Callable[[], float] = lambda: 0.0,
        grace: float = 0.0,
    ) -> None:
        self.outbox = FakeOutbox()
        self.journal = journal
        self.policies = Policies()
        self._rules = Rules(b"H:test", retries, wakeups, queue_memory, grace)
        self._chance = chance
        self.broker = Broker(self.outbox, self._rules, journal, chance)
        self.now = START
        self._connected = 0
        self._waited_for = 0

    def set(self, function: str = "f", /, **settings: Any) -> None:
        """Let this policy hold for a function, and none for any other."""
        self.policies = Policies([(function, CLASSIC.with_settings(settings))])
        self.broker.operations.set_policies(self.policies, self.now)

    def quotas(self, **quotas: Quota) -> None:
        """Let these hold, and no others."""
        self.broker.tenants.set_quotas(quotas, self.now)

    def tenant(self, name: str, *denied: tuple[str, bytes]) -> Peer:
        """A peer of this tenant, that may do all but this; without rules, where nothing is denied."""
        peer = self.connect()
        self.broker.identify(peer, self.broker.tenants.get(name))
        peer.rights = FakeRights(*denied) if denied else None
        return peer

    def connect(self, *, exceptions: bool = False, extended: bool = False) -> Peer:
        """A peer that has just connected."""
        self._connected += 1
        peer = Peer(self._connected, "192.0.2.1", exceptions)
        peer.extended = extended
        self.broker.connect(peer)
        return peer

    def worker(self, *functions: bytes, timeout: float = 0.0, extended: bool = False) -> Peer:
        """A new peer that can do these functions."""
        peer = self.connect(extended=extended)
        for function in functions:
            self.broker.can_do(peer, function, timeout, self.now)
        return peer

    def sleeper(self, *functions: bytes) -> Peer:
        """A new peer that can do these functions and waits for a NOOP."""
        peer = self.worker(*functions)
        self.sleep(peer)
        return peer

    def leave(self, peer: Peer) -> None:
        self.broker.disconnect(peer, self.now)

    def known_worker(self, key: str, *functions: bytes) -> Peer:
        """A new peer that has said hello with this key, and can do these functions."""
        peer = self.connect(extended=True)
        self.greet(peer, key)
        for function in functions:
            self.broker.can_do(peer, function, 0.0, self.now)
        return peer

    def greet(self, peer: Peer, key: str, *claimed: Job, attempt: int = 1) -> list[bytes]:
        """
        A peer says hello.

        @param claimed: what it has in hand.
        @return: what of that is its own.
        """
        jobs = {job.handle: attempt for job in claimed}
        return self.broker.absences.greet(peer, key, jobs, (), self.now)

    def submit(
        self,
        client: Peer | None,
        function: bytes = b"f",
        unique: bytes = b"",
        workload: Data = b"",
        **rest: Any,
    ) -> Job:
        """A submit of this client, or a background one where there is none."""
        background = client is None
        return self.broker.submit(client, function, unique, workload, self.now, background=background, **rest)

    def cancel(self, job: Job) -> None:
        assert self.broker.operations.cancel(job.handle, self.now)

    def set_clock(self, ahead: float) -> None:
        """The wall clock is set, to this much ahead of the server's time."""
        self.broker.timers.set_offset(ahead, self.now)

    def drain(self) -> None:
        self.broker.drain(self.now)

    # What the store does; only where there is a journal

    def commit(self, count: int | None = None) -> None:
        """This many of the jobs that are on their way are stored, or all, in one batch."""
        assert self.journal is not None
        stored = [self.journal.settle() for _ in range(len(self.journal.adding) if count is None else count)]
        self.broker.store_events.stored(iter(stored), self.now)

    def refuse(self, reason: str = "no") -> Reply:
        """The first that is on its way cannot be stored."""
        assert self.journal is not None
        adding = self.journal.adding.pop(0)
        self.broker.store_events.refused(adding.job, reason, self.now)
        return adding.reply

    def join(self, other: JobRecord) -> Reply:
        """The first that is on its way is found to be the same as another, which may be another server's."""
        assert self.journal is not None
        adding = self.journal.adding.pop(0)
        if not self.broker.store_events.joined(adding.job, other, self.now):
            self.journal.adding.insert(0, adding)
        return adding.reply

    def passed(self, handle: bytes) -> Reply:
        """The first that is on its way is for a time of a schedule, for which another was."""
        assert self.journal is not None
        adding = self.journal.adding.pop(0)
        if not self.broker.store_events.passed(adding.job, handle, self.now):
            self.journal.adding.insert(0, adding)
        return adding.reply

    def read(self) -> None:
        """What is asked for is read: rows, or workloads."""
        assert self.journal is not None
        if self.journal.asking:
            self.journal.answer(self.now)
        else:
            self.broker.store_events.loaded(self.journal.fetch(), self.now)

    def read_all(self) -> None:
        """The same with all that is asked for, and what is asked for then."""
        assert self.journal is not None
        while self.journal.asking or self.journal.loading is not None:
            self.read()

    def store(self, *workloads: bytes, function: bytes = b"f", **rest: Any) -> list[Job]:
        """Background jobs with these workloads, stored."""
        jobs = [self.submit(None, function, workload=workload, **rest) for workload in workloads]
        self.commit()
        return jobs

    def store_waited_for(self, *workloads: bytes, function: bytes = b"f", **rest: Any) -> list[Job]:
        """The same, and a client waits for each: they stay in memory, if not with their workloads."""
        jobs = []
        for workload in workloads:
            self._waited_for += 1
            unique = b"waited-for-%d" % self._waited_for
            jobs.append(self.submit(None, function, unique, workload, **rest))
            self.submit(self.connect(), function, unique, workload)
        self.commit()
        return jobs

    def restart(self, prefix: bytes = b"H:test", first: int = 1000) -> list[Job]:
        """
        The server goes, with all peers; another takes its place.

        @param first: the first number that it has for its jobs.
        @return: what it found, by number.
        """
        assert self.journal is not None
        self.journal.restart()
        # The next server's time begins with what the wall clock shows.
        self.now += self.broker.timers.offset
        rules = replace(self._rules, prefix=prefix)
        self.broker = Broker(self.outbox, rules, self.journal, self._chance)
        self.broker.store_events.reserve(first, 1000)
        self.broker.operations.set_policies(self.policies, self.now)
        self.begin()
        self.answer()
        return self.load_all()

    def load_all(self) -> list[Job]:
        """
        Have all jobs in memory that have not ended, as long as there is room.

        @return: those that are there then, by number.
        """
        self.broker.stock.load(InOrder(0, 10**9), lambda found, now: None, self.now)
        self.answer()
        return sorted(self.broker.table.jobs.values(), key=lambda job: job.number)

    def begin(self) -> None:
        """
        The broker takes up what the store has; all of it that it needs is still to be read, but what is set
        aside.
        """
        assert self.journal is not None
        values = self.journal.stored_values.values()
        aside = [record for record in self.journal.kept() if record.kind & ~OWN == ASIDE]
        self.broker.store_events.begin(self.journal.lanes(), values, self.now, aside)

    def recall(self) -> None:
        """All jobs that have ended and are kept are in memory from now on."""
        assert self.journal is not None
        self.broker.stock.hold_all([record for record in self.journal.kept() if record.state], self.now)

    def answer(self) -> None:
        """All that is asked of the store is answered, and what is asked then."""
        assert self.journal is not None
        while self.journal.asking:
            self.journal.answer(self.now)

    @property
    def memory(self) -> int:
        """Bytes of stored jobs' workloads that are counted as being in memory."""
        pager = self.broker.pager
        assert pager is not None
        return pager.used

    def grab(self, worker: Peer) -> Job | None:
        return self.broker.grab(worker, self.now)

    def grab_all(self, worker: Peer) -> list[Job]:
        """Everything that this worker is handed, in order, without finishing any."""
        jobs = []
        while (job := self.grab(worker)) is not None:
            jobs.append(job)
        return jobs

    def sleep(self, worker: Peer) -> None:
        self.broker.pre_sleep(worker, self.now)

    def pass_time(self, seconds: float) -> None:
        """Let this much time pass; the broker gets its calls as it asked for them."""
        end = self.now + seconds
        while self.broker.timers.deadline <= end:
            self.now = max(self.broker.timers.deadline, self.now)
            self.broker.expire(self.now)
        self.now = end

    @property
    def next_call(self) -> float:
        """When the broker wants to be called, after one call that may not be needed any more."""
        self.broker.expire(self.now)
        return self.broker.timers.deadline

    def heard(self, peer: Peer) -> list[Heard]:
        """What this peer was sent since anybody's was asked for; what others were sent is dropped."""
        return [message for receiver, message in self.outbox.take() if receiver is peer]

    def woken(self) -> list[Peer]:
        """Who was sent a NOOP since anything was asked for."""
        return [receiver for receiver, message in self.outbox.take() if message == (NOOP,)]

    def counts(self) -> dict[bytes, tuple[int, int, int, int]]:
        """Every function with its jobs that are queued, waiting and running, and its workers."""
        return {
            name: (
                function.lanes.ready,
                len(function.delayed),
                function.running,
                len(function.workers),
            )
            for name, function in self.broker.functions.by_name.items()
        }


class BrokerTestCase(SynchronousTestCase):
    """@ivar fixture: a broker of its own for each test."""

    def setUp(self) -> None:
        self.fixture = BrokerFixture()

    def tearDown(self) -> None:
        """Whatever has happened, all is counted right."""
        self.broker.check()

    @property
    def broker(self) -> Broker:
        return self.fixture.broker

    def assert_gone(self, job: Job) -> None:
        """Nothing is left of a job."""
        self.assertTrue(job.ended)
        self.assertIsNone(self.broker.table.by_handle(job.handle))
        self.assertEqual(job.workload, b"")
        if job.unique:
            self.assertIsNot(self.broker.table.by_unique(job.unique), job)

    def complete(self, worker: Peer, job: Job, result: bytes = b"done") -> None:
        self.broker.reports.work_complete(worker, job.handle, result, self.fixture.now)

    def fails(self, worker: Peer, job: Job) -> None:
        self.broker.reports.work_fail(worker, job.handle, self.fixture.now)

    def data(self, worker: Peer, job: Job, data: bytes) -> None:
        self.broker.reports.work_data(worker, job.handle, data, self.fixture.now)

    def grabbed(self, worker: Peer, job: Job) -> Job:
        """This worker gets just this job."""
        self.assertIs(self.fixture.grab(worker), job)
        return job

    def outcome(self, job: Job) -> list[Told]:
        """What those hear, from now on, who wait for this job's end."""
        told: list[Told] = []
        self.broker.watch(job, lambda *said: told.append(said))
        return told

    def brought(self, job: Job) -> bytes | None:
        """What can be read of a job."""
        read: list[bytes | None] = []
        self.broker.archive.read(job, read.append)
        if self.fixture.journal is not None:
            self.fixture.journal.answer_readings()
        (found,) = read
        return found


class DurableBrokerTestCase(BrokerTestCase):
    """
    The same with a journal.

    @cvar queue_memory: bytes of workloads that are kept in memory.
    @cvar clustered: whether other servers have the same store.
    """

    queue_memory = QUEUE_MEMORY
    clustered = False

    def setUp(self) -> None:
        self.journal = FakeJournal()
        self.journal.clustered = self.clustered
        self.fixture = BrokerFixture(journal=self.journal, queue_memory=self.queue_memory)
