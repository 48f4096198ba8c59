"""
One scenario with all that touches the store, played again and again: each time
another call to the store fails, until none is left. Whatever fails, nothing that
was answered is lost or done twice, nothing that was refused is kept or done,
nothing that has ended stays in the store, and the server goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.constants import (
    CAN_DO,
    ERROR,
    GRAB_JOB,
    HIGH,
    JOB_ASSIGN,
    JOB_CREATED,
    NO_JOB,
    NOOP,
    PRE_SLEEP,
    RESPONSE_MAGIC,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH_BG,
    WORK_COMPLETE,
    WORK_EXCEPTION,
    WORK_FAIL,
)
from txgear.errors import StoreError, StoreRefused, StoreUnavailable
from txgear.test.durable import DurablePort, Fault, TroubledStore
from txgear.test.support import START
from txgear.wire import Decoder, request

ANSWER_SECONDS: Final = 0.001
"""What a call to the store takes."""
LATE_SECONDS: Final = 6.0
"""What one takes whose answer nobody waits for any more."""
ANSWERED_SECONDS: Final = 10.1
"""In which a submit is answered: it may wait for the batch before its own, and then for that."""
REST_SECONDS: Final = 90.0
"""In which everything has come to rest, whatever failed."""

GONE = StoreUnavailable("the connection is gone")
FULL = StoreRefused("the disk is full")
DEFECT = ZeroDivisionError("a defect of the store")

PLACES: Final = ((0,), (0, 1), (0, 2), tuple(range(6)))
"""
Which calls fail, counted from the first: that alone; the next one or the one
after it, too (after a write that is lost they are C{open} and C{known}); and
all for a while.
"""


class FailingStore(TroubledStore):
    """
    A store of which one call fails, or a few.

    @ivar late: whether these calls take too long as well.
    @ivar failed: the names of those that have failed.
    @ivar delay: seconds that the last call has taken.
    """

    def __init__(self, first: int, places: tuple[int, ...], fault: Fault | None, late: bool) -> None:
        super().__init__()
        self.places = {first + place for place in places}
        self.fault = fault
        self.late = late
        self.calls = 0
        self.failed: list[str] = []
        self.delay = 0.0

    def next_fault(self, name: str) -> Fault | None:
        self.calls += 1
        self.delay += ANSWER_SECONDS
        if self.calls not in self.places or name == "close":
            return None
        self.failed.append(name)
        if self.late:
            self.delay += LATE_SECONDS
        return self.fault

    def labels(self) -> dict[bytes, int]:
        """The number of each job that is kept, by its workload."""
        return {workload: number for number, workload in self._workloads.items()}


class World:
    """
    A server, those around it, and what they know of each job. Jobs are told
    apart by their workloads, the labels.

    @ivar answered: the jobs that are to be done, with their handles.
    @ivar refused: the jobs that were refused for the background.
    @ivar ended: the jobs that were completed, failed or cancelled.
    @ivar held: the jobs that a worker has.
    @ivar losses: how often a worker was lost with a job.
    @ivar foreground: the jobs that somebody waits for.
    """

    def __init__(self, store: FailingStore) -> None:
        self.store = store
        self.clock = Clock()
        self.clock.advance(START)
        self.answered: dict[bytes, bytes] = {}
        self.refused: set[bytes] = set()
        self.ended: set[bytes] = set()
        self.held: set[bytes] = set()
        self.losses: dict[bytes, int] = {}
        self.foreground: set[bytes] = set()
        self.peers: list[Client | Worker] = []
        self.start()

    def start(self) -> None:
        """Start the server, as often as it takes; what was there before was killed."""
        self.peers.clear()
        self.held.clear()
        for call in self.clock.getDelayedCalls():
            call.cancel()
        while True:
            try:
                self.port = DurablePort(
                    self.store, self.in_thread, clock=self.clock, numbers=100, queue_memory=30
                )
            except (StoreError, ZeroDivisionError):
                continue
            self.store.delay = 0.0
            return

    def in_thread(self, call: Callable[[], Any]) -> Deferred[Any]:
        """A thread: what is called is done at once, and answered after what it took."""
        result: Deferred[Any] = Deferred()
        try:
            value = call()
        except Exception:
            value = Failure()
        self.clock.callLater(self.store.delay, result.callback, value)
        self.store.delay = 0.0
        return result

    def pass_time(self, seconds: float) -> None:
        """Let it pass, each thing happening at its time, and look at everything after each."""
        end = self.clock.seconds() + seconds
        self.look()
        while (now := self.clock.seconds()) < end:
            moments = [call.getTime() for call in self.clock.getDelayedCalls()]
            self.clock.advance(min([*moments, end]) - now)
            self.look()

    def look(self) -> None:
        """Everybody hears what there is, and nothing that was promised may be missing."""
        while any(peer.hear() for peer in self.peers):
            pass
        missing = self.answered.keys() - self.ended - self.store.labels().keys()
        assert not missing, f"answered, and not in the store: {missing}"

    def lost(self, label: bytes) -> None:
        self.held.remove(label)
        self.losses[label] = self.losses.get(label, 0) + 1


class Connection:
    """One connection, with its packets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.line = world.port.connect()
        self.decoder = Decoder(magic=RESPONSE_MAGIC)
        world.peers.append(self)  # type: ignore[arg-type]

    def hear(self) -> bool:
        """Take in what was sent; whether there was anything."""
        packets = list(self.decoder.feed(self.line.heard()))
        for kind, arguments in packets:
            self.take(kind, *map(bytes, arguments))
        return bool(packets)

    def take(self, kind: int, *arguments: bytes) -> None:
        """One packet has arrived."""
        raise NotImplementedError

    def leave(self) -> None:
        self.line.leave()
        self.world.peers.remove(self)  # type: ignore[arg-type]


class Client(Connection):
    """
    A client; its answers come in the order of its submits.

    @ivar asked: the jobs that it has no answer for, and when each was submitted.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.asked: deque[tuple[bytes, float]] = deque()

    def submit(self, *labels: bytes, kind: int = SUBMIT_JOB_BG, when: float | None = None) -> None:
        """Submit these jobs, in one turn; their uniques are their labels."""
        now = self.world.clock.seconds()
        self.asked += [(label, now) for label in labels]
        rest = [] if when is None else [b"%d" % when]
        self.line.tell(*[request(kind, b"f", label, *rest, label) for label in labels])

    def take(self, kind: int, *arguments: bytes) -> None:
        if kind in {JOB_CREATED, ERROR}:
            label, since = self.asked.popleft()
            assert self.world.clock.seconds() - since < ANSWERED_SECONDS, f"{label!r} has waited too long"
            self.answer(label, kind, *arguments)

    def answer(self, label: bytes, kind: int, *arguments: bytes) -> None:
        world = self.world
        if kind == JOB_CREATED:
            assert world.answered.setdefault(label, arguments[0]) == arguments[0]
        else:
            assert arguments[0] == b"QUEUE_ERROR", arguments
            assert label in world.foreground or label not in world.held | world.ended, label
            world.refused.add(label)


class ForegroundClient(Client):
    """A client that waits for its jobs: they are to be done as long as it is there."""

    def answer(self, label: bytes, kind: int, *arguments: bytes) -> None:
        assert kind == JOB_CREATED, "a job in the foreground needs no store"
        self.world.foreground.add(label)


class Worker(Connection):
    """
    A worker.

    @ivar jobs: what it holds, with the handles.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.jobs: dict[bytes, bytes] = {}
        self.wanted = 0
        self.line.tell(request(CAN_DO, b"f"))

    def want(self, jobs: int) -> list[bytes]:
        """Get as many more as there are, up to a number; which it has now, the oldest first."""
        self.wanted = len(self.jobs) + jobs
        self.line.tell(request(GRAB_JOB))
        end = self.world.clock.seconds() + REST_SECONDS
        while len(self.jobs) < self.wanted and self.world.clock.seconds() < end:
            self.world.pass_time(0.5)
        return list(self.jobs)

    def take(self, kind: int, *arguments: bytes) -> None:
        world = self.world
        if kind == JOB_ASSIGN:
            handle, _, label = arguments
            assert label not in world.held | world.ended, f"{label!r} is done twice"
            assert label in world.foreground or label not in world.refused, f"{label!r} was refused"
            assert world.answered.get(label, handle) == handle
            world.held.add(label)
            self.jobs[label] = handle
        if kind in {JOB_ASSIGN, NOOP} and len(self.jobs) < self.wanted:
            self.line.tell(request(GRAB_JOB))
        elif kind == NO_JOB:
            self.line.tell(request(PRE_SLEEP))

    def end(self, kind: int, *labels: bytes) -> None:
        """Say of these jobs that they have ended."""
        for label in labels:
            handle = self.jobs.pop(label)
            self.world.held.remove(label)
            self.world.ended.add(label)
            self.line.tell(request(kind, handle) if kind == WORK_FAIL else request(kind, handle, b"r"))

    def leave(self) -> None:
        for label in self.jobs:
            self.world.lost(label)
        super().leave()


class FaultTests(SynchronousTestCase):
    """See above."""

    def scenario(self, world: World) -> None:
        """All that touches the store."""
        client, other = Client(world), Client(world)
        worker = Worker(world)
        # Submits, alone and together, while others are on the way; one for later.
        client.submit(b"one", b"two", b"three")
        other.submit(b"four")
        client.submit(b"later", kind=SUBMIT_JOB_EPOCH, when=START + 20)
        other.submit(b"high", kind=SUBMIT_JOB_HIGH_BG)
        world.pass_time(0.01)
        other.submit(b"five", b"six", b"seven", b"eight")
        # One joins another that is on its way, one makes a foreground job outlive its client.
        client.submit(b"eight")
        waiting = ForegroundClient(world)
        waiting.submit(b"both", kind=SUBMIT_JOB)
        client.submit(b"both")
        world.pass_time(8.0)
        # They are worked on; what is over the memory's bound is read for that.
        for kind in (WORK_COMPLETE, WORK_FAIL, WORK_EXCEPTION):
            jobs = worker.want(1)
            worker.end(kind, *jobs)
        # A worker is lost with two jobs, twice, and the first of them is behind the others then.
        for _ in range(2):
            unlucky = Worker(world)
            unlucky.want(2)
            unlucky.leave()
            world.pass_time(0.02)
        # A job is cancelled, and one is submitted in the same turn.
        label = next((label for label in world.answered if label not in world.ended | {b"later"}), None)
        if label is not None:
            world.ended.add(label)
            Client(world).line.tell(b"cancel job %s\n" % world.answered[label])
            client.submit(b"nine")
        # The time of the one for later comes.
        world.pass_time(START + 21 - world.clock.seconds())
        jobs = worker.want(2)
        worker.end(WORK_COMPLETE, *jobs)

    def assert_at_rest(self, world: World) -> None:
        """What is in the store is what is to be done, as the server knows it."""
        for peer in world.peers:
            self.assertFalse(isinstance(peer, Client) and peer.asked, "no answer")
        kept = world.store.labels()
        self.assertEqual(kept.keys(), world.answered.keys() - world.ended)
        jobs = world.port.server.broker.jobs
        for number, record in world.store.kept.items():
            job = jobs[number]
            self.assertEqual(
                (record.place, record.retries, record.unique, record.priority),
                (job.place, job.retries, job.unique, job.priority),
            )
        self.assertTrue(kept.keys() <= {job.unique for job in jobs.values()})
        self.assertIsNone(world.port.journal.refusal)
        self.assertEqual(world.port.journal.unsettled, 0)

    def play(self, store: FailingStore) -> None:
        """The scenario, a kill, and all that is left is done."""
        world = World(store)
        self.scenario(world)
        world.pass_time(REST_SECONDS)
        self.assert_at_rest(world)
        places = sorted((job.place, job.number) for job in store.kept.values() if job.priority != HIGH)
        retries = {number: job.retries for number, job in store.kept.items()}
        world.start()
        self.assertEqual(
            {number: job.retries for number, job in world.port.server.broker.jobs.items()}, retries
        )
        world.foreground.clear()
        Client(world).submit(b"last")
        worker = Worker(world)
        labels = store.labels()
        done = []
        while jobs := worker.want(1):
            done += jobs
            worker.end(WORK_COMPLETE, *jobs)
        world.pass_time(REST_SECONDS)
        self.assert_at_rest(world)
        by_label = {number: label for label, number in labels.items()}
        order = [by_label[number] for _, number in places]
        self.assertEqual([label for label in done if label in order], order)
        self.assertEqual((store.kept, world.answered.keys() - world.ended), ({}, set()))
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def play_all(self, places: tuple[int, ...], fault: Fault | None, *, late: bool) -> set[str]:
        """Play it with each call failing in its turn; the names of those that have."""
        failed: set[str] = set()
        for first in count(1):
            store = FailingStore(first, places, fault, late)
            try:
                self.play(store)
            except BaseException as error:
                raise self.failureException(
                    f"call {first}, {places}, {fault}, late: {late}; failed: {store.failed}: {error!r}"
                ) from error
            if fault is not None and fault.error is DEFECT:
                self.flushLoggedErrors(ZeroDivisionError)
            if not store.failed:
                self.assertGreater(first, 30)
                return failed
            failed.update(store.failed)
        raise AssertionError

    def check(self, fault: Fault | None, *, in_time: bool = True) -> None:
        """Whatever call fails like this, alone or with others, in time or so late that nobody waits."""
        for places in PLACES:
            for late in {True, not in_time}:
                failed = self.play_all(places, fault, late=late)
                self.assertTrue(failed >= {"open", "reserve", "replay", "write", "workloads"}, places)

    def test_nothing(self) -> None:
        """All goes well; what is refused then would be by a mistake of the scenario."""
        store = FailingStore(0, (), None, late=False)
        self.play(store)
        self.assertEqual(store.failed, [])

    def test_lost_before(self) -> None:
        self.check(Fault(GONE))

    def test_lost_after(self) -> None:
        self.check(Fault(GONE, after=True))

    def test_refused(self) -> None:
        """Before only: a call that refuses has done nothing, that is what it means."""
        self.check(Fault(FULL))

    def test_defect_before(self) -> None:
        self.check(Fault(DEFECT))

    def test_defect_after(self) -> None:
        self.check(Fault(DEFECT, after=True))

    def test_slow(self) -> None:
        """It does what it should, and too late."""
        self.check(None, in_time=False)
