"""
For the floor C{broker}: an outbox that is a list, a journal that waits for the test, and a broker with peers
around it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.archive import Archive
from txgear.broker.broker import Broker
from txgear.broker.lanes import Lanes
from txgear.broker.model import Function, Job, Peer, Reply
from txgear.broker.ports import Asking, Reading
from txgear.broker.records import (
    ASIDE,
    OWN,
    Batch,
    InOrder,
    JobChange,
    JobRecord,
    JobUpdate,
    LaneCount,
    Naming,
    NewJob,
    StoredValue,
    key_of_record,
)
from txgear.broker.rules import QUEUE_MEMORY, UNLIMITED, Rules
from txgear.broker.sharedlanes import SharedLanes
from txgear.broker.states import DEAD, PAGED, QUEUED
from txgear.broker.tenants import Quota
from txgear.broker.uniques import Key
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import NOOP, NORMAL
from txgear.protocol.packets import Data
from txgear.stores.memory import MemoryStore
from txgear.test.support.clock import START

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
    return Job(b"H:test:%d", number, function, unique, unique or None, workload, priority, background, b"")


def record(number: int, place: int | None = None, **fields: Any) -> JobRecord:
    """A job as a store has it, of function C{f} and without a workload where nothing else is said."""
    plain = JobRecord(number, place or number, b"H:test", b"f", b"", None, b"", NORMAL, 0.0, 0, 0)
    return plain._replace(**fields)


def moved(record: JobRecord, move: JobUpdate) -> JobRecord:
    """A job as a store has it after a move."""
    return record._replace(
        **{name: value for name, value in move._asdict().items() if name != "size" or value is not None}
    )


def changed(record: JobRecord, change: JobChange) -> JobRecord:
    """A job as a store has it after a change."""
    size = record.size if change.workload is None else len(change.workload)
    return record._replace(
        function=change.function, priority=change.priority, digest=change.digest, size=size
    )


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


class Adding(NamedTuple):
    """A job that a journal is to add to the store, and the reply that waits for that."""

    job: Job
    record: JobRecord
    workload: Data
    reply: Reply


class FakeJournal:
    """
    A journal that does nothing by itself, and what a store behind it would have.

    @ivar unavailable: why no job can be kept.
    @ivar detail: the same in the words of the store, where it has others.
    @ivar unavailable_since: since when.
    @ivar closing: whether the server ends.
    @ivar backlogged: whether too much has gathered.
    @ivar crowded: whether too much is on its way.
    @ivar room: bytes of the largest result that there is room for.
    @ivar asked: how often somebody was refused.
    @ivar adding: the jobs whose outcome the broker has not been told.
    @ivar updates: all that was told.
    @ivar changes: all that was told.
    @ivar deleted: all that was told.
    @ivar results: what was told, by number.
    @ivar deleted_all: all that was told.
    @ivar stored_values: the last of each that was told.
    @ivar clustered: whether other servers have the same store.
    @ivar names: the last of each that was told, by number.
    @ivar reading: what is asked for by those who want one.
    @ivar asking: the questions that are not answered.
    @ivar silent: whether no question is answered from now on.
    @ivar unsettled: jobs of which something is on its way, by number.
    @ivar hidden: how many jobs with each key are not in memory.
    @ivar loading: the jobs whose workloads are asked for, if any are.
    @ivar loads: how many jobs were asked for each time.
    """

    def __init__(self) -> None:
        self.unavailable: str | None = None
        self.detail = ""
        self.closing = False
        self.unavailable_since = 0.0
        self.backlogged = False
        self.crowded = False
        self.room = 10**9
        self.asked = 0
        self.adding: list[Adding] = []
        self.updates: list[JobUpdate] = []
        self.changes: list[JobChange] = []
        self.deleted: list[int] = []
        self.loading: list[Job] | None = None
        self.loads: list[int] = []
        self.results: dict[int, bytes] = {}
        self.deleted_all: list[int] = []
        self.stored_values: dict[tuple[int, bytes], StoredValue] = {}
        self.clustered = False
        self.names: dict[int, Naming] = {}
        self.reading: list[Reading] = []
        self.asking: list[Asking] = []
        self.silent = False
        self.unsettled: set[int] = set()
        self.hidden: Counter[Key] = Counter()
        self._kept: dict[int, NewJob] = {}
        self._moved: dict[int, JobUpdate] = {}
        self._changed: dict[int, JobChange] = {}
        # What a server has found that has started since.
        self._settled: set[int] = set()

    @property
    def unavailable_detail(self) -> str | None:
        return self.detail or self.unavailable

    def retry_soon(self) -> None:
        self.asked += 1

    def has_room(self, size: int) -> bool:
        return size <= self.room

    def add(self, job: Job, record: JobRecord, workload: Data) -> None:
        assert job.reply is not None
        self.adding.append(Adding(job, record, workload, job.reply))
        # What was said of the job before its addition is in the addition.
        self._moved.pop(record.number, None)
        self._changed.pop(record.number, None)

    def update(self, update: JobUpdate) -> None:
        self.updates.append(update)
        self._moved[update.number] = update

    def change(self, change: JobChange) -> None:
        self.changes.append(change)
        self._settled.discard(change.number)
        earlier = self._changed.get(change.number)
        if earlier is not None and change.workload is None:
            change = change._replace(workload=earlier.workload)
        self._changed[change.number] = change

    def _workload(self, number: int) -> bytes | None:
        """What a job has, as it is in the store or on its way there."""
        kept, change = self._kept.get(number), self._changed.get(number)
        if kept is not None and change is not None and change.workload is not None:
            return change.workload
        return None if kept is None else bytes(kept[1])

    def corrected(self, number: int) -> bool:
        """Whether a job has got a new workload that the store may refuse still."""
        change = self._changed.get(number)
        return change is not None and change.workload is not None and number not in self._settled

    def refuse_workload(self, number: int) -> bytes:
        """
        The new workload of this job is not taken.

        @return: the one that it has.
        """
        self._changed[number] = self._changed[number]._replace(workload=None)
        return bytes(self._kept[number][1])

    def delete(self, number: int) -> None:
        self.deleted.append(number)

    def load(self, jobs: list[Job]) -> None:
        assert self.loading is None, "one read at a time"
        self.loading = jobs
        self.loads.append(len(jobs))

    def put_result(self, number: int, result: bytes) -> None:
        self.results[number] = result

    def delete_all(self, number: int) -> None:
        self.deleted_all.append(number)
        self.results.pop(number, None)

    def put_value(self, value: StoredValue) -> None:
        self.stored_values[value.kind, value.name] = value

    def share(self, value: StoredValue) -> None:
        self.put_value(value)

    def name(self, naming: Naming) -> None:
        self.names[naming.number] = naming

    def read(self, reading: Reading) -> None:
        self.reading.append(reading)

    def ask(self, asking: Asking) -> None:
        if self.silent:
            asking.done(None, {}, START)
        else:
            self.asking.append(asking)

    def pending(self, number: int) -> bool:
        return number in self.unsettled or any(adding.job.number == number for adding in self.adding)

    def settled(self, numbers: Iterable[int]) -> set[int]:
        return {number for number in numbers if not self.pending(number)}

    def hide(self, key: Key) -> None:
        self.hidden[key] += 1

    def hide_all(self, keys: Iterable[Key]) -> None:
        self.hidden.update(keys)

    def show(self, key: Key) -> None:
        self.hidden[key] -= 1

    def may_hide(self, key: Key) -> bool:
        return self.hidden[key] > 0

    def _as_store(self) -> MemoryStore:
        store = MemoryStore()
        store.open()
        store.write(Batch([(record, self._workload(record.number) or b"") for record in self.kept()], (), ()))
        return store

    def lanes(self) -> list[LaneCount]:
        """What a server that starts now finds."""
        return self._as_store().lanes()

    def answer(self, now: float) -> None:
        """The first question is answered, by what the store has."""
        asking = self.asking.pop(0)
        store = self._as_store()
        records = store.rows(asking.question)
        workloads: dict[int, bytes] = {}
        size = 0
        for record in records:
            size += record.size
            if size > asking.most_bytes:
                break
            workloads[record.number] = self._workload(record.number) or b""
        asking.done(records, workloads, now)

    def answer_readings(self) -> None:
        """What was asked for is read, as far as it is there."""
        readings, self.reading = self.reading, []
        for reading in readings:
            workload = self._workload(reading.number)
            reading.done(self.results.get(reading.number) if reading.result else workload)

    def settle(self) -> Job:
        """The first that is on its way is written."""
        adding = self.adding.pop(0)
        self.put(adding.record, adding.workload)
        return adding.job

    def put(self, record: JobRecord, workload: Data = b"") -> None:
        """This is in the store."""
        self._kept[record.number] = record, workload

    def fetch(self, most: int | None = None) -> list[tuple[Job, bytes | None]]:
        """
        What was asked for is read, as far as it is there.

        @param most: how many of the jobs, the first ones; the others are still to come.
        """
        assert self.loading is not None, "nothing is asked for"
        jobs = self.loading[:most]
        self.loading = self.loading[len(jobs) :] or None
        return [(job, self._workload(job.number)) for job in jobs]

    def lose(self, job: Job) -> None:
        """Somebody has taken this out of the store."""
        del self._kept[job.number]

    def kept(self) -> list[JobRecord]:
        """What a server that starts now finds."""
        found = []
        for number in sorted(self._kept.keys() - set(self.deleted) - set(self.deleted_all)):
            record = self._kept[number][0]
            if (change := self._changed.get(number)) is not None:
                record = changed(record, change)
            move = self._moved.get(number)
            found.append(moved(record, move) if move is not None else record)
        return found

    def restart(self) -> None:
        """The server has gone: only what the store has is left."""
        self.adding, self.loading, self.unavailable = [], None, None
        self.asking.clear()
        self.unsettled.clear()
        keys = (key_of_record(record) for record in self.kept())
        self.hidden = Counter(key for key in keys if key is not None)
        self._settled = set(self._changed)


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
        """This many of the jobs that are on their way are stored, or all."""
        assert self.journal is not None
        for _ in range(len(self.journal.adding) if count is None else count):
            self.broker.store_events.stored(iter([self.journal.settle()]), self.now)

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
