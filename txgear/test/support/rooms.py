"""
What the unit tests share: an outbox that is a list, a journal that waits for
the test, a broker with peers around it, and connections to a server over
transports in memory.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from errno import EAGAIN, ECONNRESET, ETIMEDOUT
from typing import Any, Final, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import QUEUE_MEMORY, UNLIMITED, Broker
from txgear.broker.jobs import PAGED, QUEUED, RUNNING, STORING, WAITING, Job
from txgear.broker.queues import Function
from txgear.broker.records import JobRecord, JobUpdate, NewJob, Reading, StoredValue, Storing, by_place
from txgear.broker.sleepers import Peer
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import NOOP, NORMAL, RESPONSE_MAGIC
from txgear.protocol.packets import Data
from txgear.server.gear import GearFactory
from txgear.server.jobserver import JobServer, Settings

START: Final = 1000.0
"""When tests begin, in seconds since the epoch."""

Told: TypeAlias = "tuple[int, bytes, bytes, bool]"
"""What a watcher is told: how a job ended, its data, its result, and whether that is all."""

Heard: TypeAlias = "tuple[int | Data, ...]"
"""A packet as a peer hears it: its type, then its arguments."""


def packet(magic: bytes, kind: int, body: bytes = b"") -> bytes:
    """A packet's bytes by the letter of the protocol, whatever the codec makes of it."""
    return magic + struct.pack(">II", kind, len(body)) + body


def make_job(
    queue: Function | None = None,
    number: int = 1,
    *,
    unique: bytes = b"",
    priority: int = NORMAL,
    background: bool = True,
    workload: Data = b"",
) -> Job:
    """A job that no broker knows."""
    queue = queue or Function(b"f")
    return Job(b"H:test:%d", number, queue, unique, unique or None, workload, priority, background, b"")


def record(number: int, place: int | None = None, **fields: Any) -> JobRecord:
    """A job as a store has it, of function C{f} and without a workload where nothing else is said."""
    plain = JobRecord(number, place or number, b"H:test", b"f", b"", None, b"", NORMAL, 0.0, 0, 0)
    return plain._replace(**fields)


def moved(record: JobRecord, move: JobUpdate) -> JobRecord:
    """A job as a store has it after a move."""
    return record._replace(
        **{name: value for name, value in move._asdict().items() if name != "size" or value is not None}
    )


class Recorder:
    """
    An outbox that keeps what it is given.

    @ivar paused: the peers of whom no more is to be taken.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[Peer, Heard]] = []
        self.paused: list[Peer] = []

    def pause(self, peer: Peer) -> None:
        self.paused.append(peer)

    def send(self, peer: Peer, kind: int, *arguments: Data) -> None:
        self.sent.append((peer, (kind, *arguments)))

    def take(self) -> list[tuple[Peer, Heard]]:
        """All since the last time."""
        taken, self.sent = self.sent, []
        return taken


class FakeJournal:
    """
    A journal that does nothing by itself, and what a store behind it would have.

    @ivar unavailable: why no job can be kept.
    @ivar backlogged: whether too much has gathered.
    @ivar crowded: whether too much is on its way.
    @ivar room: bytes of the largest result that there is room for.
    @ivar asked: how often somebody was refused.
    @ivar adding: the jobs whose outcome the broker has not been told.
    @ivar moves: all that was told.
    @ivar ends: all that was told.
    @ivar results: what was told, by number.
    @ivar forgotten: all that was told.
    @ivar marks: the last of each that was told.
    @ivar reading: what is asked for by those who want one.
    @ivar loading: the jobs whose workloads are asked for, if any are.
    @ivar loads: how many jobs were asked for each time.
    """

    def __init__(self) -> None:
        self.unavailable: str | None = None
        self.backlogged = False
        self.crowded = False
        self.room = 10**9
        self.asked = 0
        self.adding: list[Storing] = []
        self.moves: list[JobUpdate] = []
        self.ends: list[int] = []
        self.loading: list[Job] | None = None
        self.loads: list[int] = []
        self.results: dict[int, bytes] = {}
        self.forgotten: list[int] = []
        self.marks: dict[tuple[int, bytes], StoredValue] = {}
        self.reading: list[Reading] = []
        self._kept: dict[int, NewJob] = {}
        self._moved: dict[int, JobUpdate] = {}

    def retry_soon(self) -> None:
        self.asked += 1

    def has_room(self, size: int) -> bool:
        return size <= self.room

    def add(self, storing: Storing) -> None:
        self.adding.append(storing)
        # What was said of the job before its addition is in the addition.
        self._moved.pop(storing.addition[0].number, None)

    def update(self, update: JobUpdate) -> None:
        self.moves.append(update)
        self._moved[update.number] = update

    def delete(self, number: int) -> None:
        self.ends.append(number)

    def load(self, jobs: list[Job]) -> None:
        assert self.loading is None, "one read at a time"
        self.loading = jobs
        self.loads.append(len(jobs))

    def put_result(self, number: int, result: bytes) -> None:
        self.results[number] = result

    def delete_all(self, number: int) -> None:
        self.forgotten.append(number)
        self.results.pop(number, None)

    def put_value(self, value: StoredValue) -> None:
        self.marks[value.kind, value.name] = value

    def read(self, reading: Reading) -> None:
        self.reading.append(reading)

    def answer_readings(self) -> None:
        """What was asked for is read, as far as it is there."""
        readings, self.reading = self.reading, []
        for reading in readings:
            kept = self._kept.get(reading.number)
            workload = None if kept is None else bytes(kept[1])
            reading.done(self.results.get(reading.number) if reading.result else workload)

    def settle(self) -> Storing:
        """The first that is on its way is written."""
        storing = self.adding.pop(0)
        self.put(*storing.addition)
        return storing

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
        found = [(job, self._kept.get(job.number)) for job in jobs]
        return [(job, None if kept is None else bytes(kept[1])) for job, kept in found]

    def lose(self, job: Job) -> None:
        """Somebody has taken this out of the store."""
        del self._kept[job.number]

    def kept(self) -> list[JobRecord]:
        """What a server that starts now finds."""
        found = []
        for number in sorted(self._kept.keys() - set(self.ends) - set(self.forgotten)):
            record = self._kept[number][0]
            move = self._moved.get(number)
            found.append(moved(record, move) if move is not None else record)
        return found

    def restart(self) -> None:
        """The server has gone: only what the store has is left."""
        self.adding, self.loading, self.unavailable = [], None, None


class WallClock:
    """
    A wall clock that is set by hand.

    @ivar ahead: what it is ahead of the server's time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ahead = 0.0

    def __call__(self) -> float:
        return self._clock.seconds() + self.ahead


class Room:
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
    ) -> None:
        self.outbox = Recorder()
        self.journal = journal
        self.policies = Policies()
        self._choices = retries, wakeups, journal, queue_memory, chance
        self.broker = Broker(self.outbox, b"H:test", *self._choices)
        self.now = START
        self._connected = 0

    def set(self, function: str = "f", /, **settings: Any) -> None:
        """Let this policy hold for a function, and none for any other."""
        self.policies = Policies([(function, CLASSIC.changed(settings))])
        self.broker.set_policies(self.policies, self.now)

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
        assert self.broker.cancel(job.handle, self.now)

    def set_clock(self, ahead: float) -> None:
        """The wall clock is set, to this much ahead of the server's time."""
        self.broker.clock_changed(ahead, self.now)

    def drain(self) -> None:
        self.broker.drain(self.now)

    # What the store does; only where there is a journal

    def commit(self, count: int | None = None) -> None:
        """This many of the jobs that are on their way are stored, or all."""
        assert self.journal is not None
        for _ in range(len(self.journal.adding) if count is None else count):
            self.broker.stored(self.journal.settle(), self.now)

    def refuse(self, reason: str = "no") -> Storing:
        """The first that is on its way cannot be stored."""
        assert self.journal is not None
        storing = self.journal.adding.pop(0)
        self.broker.refused(storing, reason, self.now)
        return storing

    def read(self) -> None:
        """What is asked for is read."""
        assert self.journal is not None
        self.broker.loaded(self.journal.fetch(), self.now)

    def store(self, *workloads: bytes, function: bytes = b"f", **rest: Any) -> list[Job]:
        """Background jobs with these workloads, stored."""
        jobs = [self.submit(None, function, workload=workload, **rest) for workload in workloads]
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
        self.now += self.broker.offset
        self.broker = Broker(self.outbox, prefix, *self._choices)
        self.broker.reserve(first, 1000)
        self.broker.set_policies(self.policies, self.now)
        for record in by_place(self.journal.kept()):
            self.broker.restore(record, self.now)
        for mark in self.journal.marks.values():
            if mark.value:
                self.broker.restore_mark(mark, self.now)
        self.broker.restored()
        return sorted(self.broker.jobs.values(), key=lambda job: job.number)

    @property
    def memory(self) -> int:
        """Bytes of stored jobs' workloads that are counted as being in memory."""
        pager = self.broker._pager
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
        while self.broker.deadline <= end:
            self.now = max(self.broker.deadline, self.now)
            self.broker.expire(self.now)
        self.now = end

    @property
    def next_call(self) -> float:
        """When the broker wants to be called, after one call that may not be needed any more."""
        self.broker.expire(self.now)
        return self.broker.deadline

    def heard(self, peer: Peer) -> list[Heard]:
        """What this peer was sent since anybody's was asked for; what others were sent is dropped."""
        return [message for receiver, message in self.outbox.take() if receiver is peer]

    def woken(self) -> list[Peer]:
        """Who was sent a NOOP since anything was asked for."""
        return [receiver for receiver, message in self.outbox.take() if message == (NOOP,)]

    def lines(self) -> dict[bytes, tuple[int, int, int, int]]:
        """Every function with its jobs that are queued, waiting and running, and its workers."""
        return {
            name: (queue.ready, queue.waiting, queue.running, len(queue.workers))
            for name, queue in self.broker.functions.items()
        }


class RoomTestCase(SynchronousTestCase):
    """@ivar room: a broker of its own for each test."""

    def setUp(self) -> None:
        self.room = Room()

    def tearDown(self) -> None:
        """Whatever has happened, all is counted right."""
        live: dict[bytes, list[Job]] = {}
        for job in self.broker.jobs.values():
            live.setdefault(job.queue.name, []).append(job)
        kept: dict[bytes, list[Job]] = {}
        for job in self.broker.archive.jobs.values():
            kept.setdefault(job.queue.name, []).append(job)
        self.assertLessEqual(live.keys() | kept.keys(), self.broker.functions.keys())
        for name, queue in self.broker.functions.items():
            jobs = live.get(name, [])
            states = [job.state for job in jobs]
            self.assertEqual(queue.bytes, sum(job.size for job in jobs))
            self.assertEqual(queue.kept, len(kept.get(name, [])))
            self.assertEqual(queue.waiting, states.count(WAITING) + states.count(STORING))
            self.assertEqual(
                (queue.ready, queue.paged, queue.running),
                (states.count(QUEUED), states.count(PAGED), states.count(RUNNING)),
            )
            for dead in (False, True):
                shelf = self.broker.archive.shelf(queue, dead)
                self.assertEqual(shelf.bytes, sum(job.size for job in shelf.jobs.values()))

    @property
    def broker(self) -> Broker:
        return self.room.broker

    def assert_gone(self, job: Job) -> None:
        """Nothing is left of a job."""
        self.assertTrue(job.ended)
        self.assertIsNone(self.broker.status(job.handle))
        self.assertEqual(job.workload, b"")
        if job.unique:
            self.assertIsNot(self.broker.status_unique(job.unique), job)

    def complete(self, worker: Peer, job: Job, result: bytes = b"done") -> None:
        self.broker.work_complete(worker, job.handle, result, self.room.now)

    def fails(self, worker: Peer, job: Job) -> None:
        self.broker.work_fail(worker, job.handle, self.room.now)

    def data(self, worker: Peer, job: Job, data: bytes) -> None:
        self.broker.work_data(worker, job.handle, data, self.room.now)

    def grabbed(self, worker: Peer, job: Job) -> Job:
        """This worker gets just this job."""
        self.assertIs(self.room.grab(worker), job)
        return job

    def outcome(self, job: Job) -> list[Told]:
        """What those hear, from now on, who wait for this job's end."""
        told: list[Told] = []
        self.broker.watch(job, lambda *said: told.append(said))
        return told

    def brought(self, job: Job) -> bytes | None:
        """What can be read of a job."""
        read: list[bytes | None] = []
        self.broker.read(job, read.append)
        if self.room.journal is not None:
            self.room.journal.answer_readings()
        (found,) = read
        return found


class StoredTestCase(RoomTestCase):
    """
    The same with a journal.

    @cvar queue_memory: bytes of workloads that are kept in memory.
    """

    queue_memory = QUEUE_MEMORY

    def setUp(self) -> None:
        self.journal = FakeJournal()
        self.room = Room(journal=self.journal, queue_memory=self.queue_memory)

    def tearDown(self) -> None:
        """And so is memory."""
        super().tearDown()
        stored = [job for job in self.broker.jobs.values() if job.stored]
        self.assertEqual(self.room.memory, sum(len(job.workload) for job in stored))


class Line:
    """
    One connection to a server, from the peer's side.

    @ivar transport: what the protocol writes to.
    """

    def __init__(self, port: Port, host: str) -> None:
        kind = IPv6Address if ":" in host else IPv4Address
        self.transport = StringTransport(peerAddress=kind("TCP", host, 50000))
        self.protocol = port.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def tell(self, *packets: bytes) -> None:
        """Send these bytes, all in one."""
        self.protocol.dataReceived(b"".join(packets))

    def heard(self) -> bytes:
        """What came back since the last time."""
        value: bytes = self.transport.value()
        self.transport.clear()
        return value

    def ask(self, *packets: bytes) -> bytes:
        """Send these bytes, all in one, and return what came back."""
        self.tell(*packets)
        return self.heard()

    def leave(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def closed(self) -> bool:
        """Whether the server has ended the connection."""
        return bool(self.transport.disconnecting)


class Port:
    """A server with a clock that stands at L{START}, and connections to it."""

    def __init__(self, **choices: Any) -> None:
        """
        @param choices: what differs from the default L{Settings}.
        """
        self.clock = Clock()
        self.clock.advance(START)
        self.wall = WallClock(self.clock)
        self.server = JobServer(self.clock, Settings(prefix=b"H:test", **choices), wall_seconds=self.wall)
        self.factory = GearFactory(self.server)

    def connect(self, host: str = "192.0.2.1") -> Line:
        return Line(self, host)


def error(code: bytes, text: bytes) -> bytes:
    """An ERROR packet."""
    return packet(RESPONSE_MAGIC, 19, code + b"\0" + text)


class FakeSocket:
    """
    What a TCP connection does with its socket, without one.

    @ivar room: bytes that it still takes; C{None} for no bound.
    @ivar sent: what it took, one item for each call.
    @ivar arrived: what it gives, one item for each call.
    @ivar broken: whether every call fails; sending does with C{error}.
    @ivar options: what was set.
    @ivar waited: milliseconds since the last data came, as the system tells it.
    @ivar round_trips: microseconds of a round trip, smoothed and the shortest.
    """

    def __init__(self, descriptor: int = 7, family: int = socket.AF_INET) -> None:
        self.descriptor = descriptor
        self.family = family
        self.waited = 0
        self.round_trips: tuple[int, ...] = (5000, 50)
        self.room: int | None = None
        self.sent: list[bytes] = []
        self.arrived: list[bytes] = []
        self.broken = False
        self.error: OSError = OSError(ETIMEDOUT, "broken")
        self.options: list[tuple[int, int, Any]] = []

    def send(self, data: bytes) -> int:
        if self.broken:
            raise self.error
        taken = len(data) if self.room is None else min(len(data), self.room)
        if self.room is not None:
            if not taken:
                raise BlockingIOError(EAGAIN, "full or empty")
            self.room -= taken
        self.sent.append(bytes(data[:taken]))
        return taken

    def sendmsg(self, chunks: list[bytes]) -> int:
        return self.send(b"".join(chunks))

    def recv(self, size: int) -> bytes:
        if self.broken:
            raise ConnectionResetError(ECONNRESET, "reset")
        if not self.arrived:
            raise BlockingIOError(EAGAIN, "full or empty")
        data, rest = self.arrived[0][:size], self.arrived[0][size:]
        self.arrived[:1] = [rest] if rest else []
        return data

    def fileno(self) -> int:
        return self.descriptor

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self.options.append((level, option, value))

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """Linux's C{tcp_info}, as far as anybody reads it."""
        smoothed, *shortest = self.round_trips
        info = struct.pack("=52xI12xI", self.waited, smoothed)
        return info + b"".join(struct.pack("=76xI", value) for value in shortest)

    def setblocking(self, blocking: bool) -> None: ...

    def shutdown(self, how: int) -> None: ...

    def close(self) -> None: ...


class FakeConnection(Connection):
    """
    A plain TCP connection over a L{FakeSocket}.

    @ivar reactor: knows whether it is to be read or written.
    """

    def __init__(self, protocol: Protocol, reactor: MemoryReactorClock, descriptor: int = 7) -> None:
        fake: Any = FakeSocket(descriptor)
        self.fake = fake
        super().__init__(fake, protocol, reactor)
        self.connected = 1
        self.startReading()
        protocol.makeConnection(self)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 50000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.2", 4730)

    def make_room(self, room: int | None = None) -> None:
        """The peer reads; the reactor writes what waits, as long as there is room."""
        self.fake.room = room
        while self in self.reactor.getWriters() and self.fake.room != 0:
            if ended := self.doWrite():
                self.connectionLost(Failure(ended))

    def arrive(self, *data: bytes) -> None:
        """These bytes come in; the reactor reads each, if it reads at all."""
        for chunk in data:
            self.fake.arrived.append(chunk)
            if self in self.reactor.getReaders():
                self.doRead()

    @property
    def written(self) -> bytes:
        """All that the socket took since the last time."""
        taken, self.fake.sent = b"".join(self.fake.sent), []
        return taken
