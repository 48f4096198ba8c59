"""
One scenario with all that touches the store, played again and again: each time
another call to the store fails, until none is left. Whatever fails, nothing that
was answered is lost or done twice, nothing that was refused is kept or done,
nothing that has ended stays in the store but what its policy keeps, results
and marks are what they were said to be, and the server goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ended.archive import history_of
from txgear.broker.model import Reply
from txgear.broker.records import PAUSED, SCHEDULED, ByNumber, StoredValue
from txgear.broker.states import DEAD
from txgear.errors import QueueError, StoreError, StoreRefused, StoreUnavailable
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
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
from txgear.protocol.packets import Decoder, request
from txgear.test.support.broker import results_of
from txgear.test.support.clock import START
from txgear.test.support.journal import Fault, FaultyStore
from txgear.test.support.server import DurableServerFixture

ANSWER_SECONDS: Final = 0.001
"""What a call to the store takes."""
LATE_SECONDS: Final = 6.0
"""What one takes whose answer nobody waits for any more."""
ANSWERED_SECONDS: Final = 10.1
"""In which a submit is answered: it may wait for the batch before its own, and then for that."""
REST_SECONDS: Final = 90.0
"""In which everything has come to rest, whatever failed."""
IDLE_SECONDS: Final = 5.0
"""By which a server is late that does nothing but to look whether it has something to do."""

KEPT: Final = CLASSIC.with_settings({"retries": 0, "results": "30d"})

GONE = StoreUnavailable("the connection is gone")
FULL = StoreRefused("the disk is full")
DEFECT = ZeroDivisionError("a defect of the store")

PLACES: Final = ((0,), (0, 1), (0, 2), tuple(range(6)))
"""
Which calls fail, counted from the first: that alone; the next one or the one
after it, too (after a write that is lost they are C{open} and C{known}); and
all for a while.
"""


class FailingStore(FaultyStore):
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

    def labels(self, *, ended: bool = False) -> dict[bytes, int]:
        """The number of each job that is kept and is to be done, or has ended."""
        return {job.unique: job.number for job in self._jobs.values() if bool(job.state) == ended}

    def may_be_done(self) -> set[bytes]:
        """The jobs that are to be done, or are dead and could be again."""
        return {job.unique for job in self._jobs.values() if job.state in {0, DEAD}}


class World:
    """
    A server, those around it, and what they know of each job. Jobs are told
    apart by their workloads, the labels, which are their uniques as well. Those
    of C{k} are kept when they have ended.

    @ivar answered: the jobs that are to be done, with their handles.
    @ivar refused: the jobs that were refused for the background.
    @ivar ended: the jobs that were completed, failed or cancelled.
    @ivar held: the jobs that a worker has.
    @ivar losses: how often a worker was lost with a job.
    @ivar foreground: the jobs that somebody waits for.
    @ivar brought: the results of jobs that are kept, if they were to be done for nobody in particular.
    @ivar dead: the jobs that have no attempt left.
    @ivar readings: results that somebody waits for.
    @ivar marks: what is to be remembered.
    @ivar scheduled: the job of the schedule that is on its way.
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
        self.brought: dict[bytes, bytes] = {}
        self.dead: set[bytes] = set()
        self.readings: list[bytes] = []
        self.marks: dict[tuple[int, bytes], float] = {}
        self.scheduled: tuple[bytes, float, Reply] | None = None
        self.peers: list[Client | Worker] = []
        self.start()

    def start(self) -> None:
        """Start the server, as often as it takes; what was there before was killed."""
        self.peers.clear()
        self.held.clear()
        self.readings.clear()
        for call in self.clock.getDelayedCalls():
            call.cancel()
        while True:
            try:
                self.fixture = DurableServerFixture(
                    self.store,
                    self.in_thread,
                    clock=self.clock,
                    numbers=100,
                    queue_memory=30,
                    policies=Policies([("k", KEPT)]),
                )
            except (StoreError, ZeroDivisionError):
                continue
            self.store.delay = 0.0
            self.broker = self.fixture.server.broker
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

    def pass_time(self, seconds: float, until: Callable[[], object] = lambda: False) -> None:
        """
        Let it pass, each thing happening at its time, and look at everything after each.

        @param until: whether that is enough.
        """
        end = self.clock.seconds() + seconds
        self.look()
        while (now := self.clock.seconds()) < end and not until():
            # Each second the server looks at what has its time: where it does nothing else it may be late.
            moments = [call.getTime() for call in self.fixture.calls()] or [now + IDLE_SECONDS]
            self.clock.advance(min([*moments, end]) - now)
            self.look()

    def wait_for(self, there: Callable[[], object]) -> None:
        """What somebody wants comes, or does not; and what was said before is written."""
        self.pass_time(REST_SECONDS, there)
        self.pass_time(0.5)

    def look(self) -> None:
        """Everybody hears what there is, and nothing that was promised may be missing."""
        while any(peer.hear() for peer in self.peers):
            pass
        self.look_after_schedule()
        self.fixture.journal.check()
        missing = self.answered.keys() - self.ended - self.store.may_be_done()
        assert not missing, f"answered, and not in the store: {missing}"

    # What is neither submitted nor done by those around it

    def schedule(self, label: bytes, time: float) -> None:
        """A schedule's time has come: job and mark are kept together."""
        try:
            job = self.broker.submit(
                None, b"f", label, label, self.clock.seconds(), background=True, schedule=(b"s", time)
            )
        except QueueError:
            return
        assert job.reply is not None
        self.scheduled = label, time, job.reply
        self.fixture.server.end_turn()

    def look_after_schedule(self) -> None:
        """See what has become of it; for one that was refused its earlier time is remembered again."""
        if self.scheduled is None or self.scheduled[2].packet is None:
            return
        (label, time, reply), self.scheduled = self.scheduled, None
        if reply.packet is not None and reply.packet[0] == JOB_CREATED:
            self.answered[label] = bytes(reply.packet[1])
            self.marks[SCHEDULED, b"s"] = time
        else:
            self.refused.add(label)
            self.broker.persistence.put_value(
                StoredValue(SCHEDULED, b"s", self.marks.get((SCHEDULED, b"s"), 0.0))
            )
            self.fixture.server.end_turn()

    def pause(self, function: bytes) -> None:
        self.broker.operations.pause(function, self.clock.seconds())
        self.marks[PAUSED, function] = self.clock.seconds()
        self.fixture.server.end_turn()

    def resume(self, function: bytes) -> None:
        assert self.broker.operations.resume(function, self.clock.seconds())
        del self.marks[PAUSED, function]
        self.fixture.server.end_turn()

    def load(self, numbers: Iterable[int], act: Callable[[float], None]) -> None:
        """Do this when these jobs are in memory; the store may not answer at once."""
        wanted, done = list(numbers), []
        errors: list[Exception] = []

        def then(there: bool, now: float) -> None:
            if there:
                done.append(now)
                try:
                    act(now)
                except Exception as error:
                    # In whoever called this nobody would see it.
                    errors.append(error)

        while not done:
            self.broker.stock.load(ByNumber(wanted), then, self.clock.seconds())
            self.fixture.server.end_turn()
            self.wait_for(lambda: done)
        for error in errors:
            raise error
        self.fixture.server.end_turn()

    def numbers(self, *labels: bytes) -> list[int]:
        """Their jobs'."""
        return [int(self.answered[label].rpartition(b":")[2]) for label in labels if label in self.answered]

    def requeue(self) -> None:
        """All the dead are to be done again."""

        def act(now: float) -> None:
            for label in list(self.dead):
                assert self.broker.operations.requeue(self.answered[label], now)
                self.dead.remove(label)
                self.ended.remove(label)

        self.load(self.numbers(*self.dead), act)

    def forget(self, *labels: bytes) -> None:
        """Nobody wants to know any more how these jobs ended."""

        def act(now: float) -> None:
            for label in labels:
                del self.brought[label]
                assert self.broker.operations.forget(self.answered[label])

        self.load(self.numbers(*labels), act)

    def ask(self) -> None:
        """Somebody wants to know what each job has brought; at its end, and not without one."""

        def act(now: float) -> None:
            for label, result in self.brought.items():
                job = self.broker.archive.by_handle(self.answered[label]) if label in self.answered else None
                if job is not None:
                    self.readings.append(label)
                    self.broker.archive.read(job, partial(self.hear, label, result))

        self.load(self.numbers(*self.brought), act)

    def hear(self, label: bytes, expected: bytes, result: bytes | None) -> None:
        self.readings.remove(label)
        job = self.broker.archive.by_handle(self.answered[label])
        lost = job is None or not history_of(job).complete
        assert result in {expected, None} or (lost and not result), (label, result)

    def lost(self, label: bytes) -> None:
        self.held.remove(label)
        self.losses[label] = self.losses.get(label, 0) + 1


class Connection:
    """One connection, with its packets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.line = world.fixture.connect()
        self.decoder = Decoder(magic=RESPONSE_MAGIC)
        world.peers.append(self)  # type: ignore[arg-type]

    def hear(self) -> bool:
        """Take in what was sent; whether there was anything."""
        heard = self.line.heard()
        if not heard:
            return False
        for kind, arguments in self.decoder.feed(heard):
            self.take(kind, *map(bytes, arguments))
        return True

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

    def submit(
        self,
        *labels: bytes,
        function: bytes = b"f",
        kind: int = SUBMIT_JOB_BG,
        when: float | None = None,
    ) -> None:
        """Submit these jobs, in one turn; their uniques are their labels."""
        now = self.world.clock.seconds()
        self.asked += [(label, now) for label in labels]
        rest = [] if when is None else [b"%d" % when]
        self.line.tell(*[request(kind, function, label, *rest, label) for label in labels])

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

    def __init__(self, world: World, *functions: bytes) -> None:
        super().__init__(world)
        self.jobs: dict[bytes, bytes] = {}
        self.wanted = 0
        self.line.tell(*[request(CAN_DO, function) for function in functions or (b"f",)])

    def want(self, jobs: int) -> list[bytes]:
        """Get as many more as there are, up to a number; which it has now, the oldest first."""
        self.wanted = len(self.jobs) + jobs
        self.line.tell(request(GRAB_JOB))
        self.world.wait_for(lambda: len(self.jobs) >= self.wanted)
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
            result = b"the result of " + label
            if label.startswith(b"k") and kind == WORK_COMPLETE:
                self.world.brought[label] = result
            elif label.startswith(b"k"):
                self.world.dead.add(label)
            self.line.tell(request(kind, handle) if kind == WORK_FAIL else request(kind, handle, result))

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
        client.submit(b"later", kind=SUBMIT_JOB_EPOCH, when=START + 80)
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
        line = world.fixture.connect()
        if label is not None:
            world.ended.add(label)
            line.tell(b"cancel job %s\n" % world.answered[label])
            client.submit(b"nine")
        self.keep(world, client)
        if label is not None and line.heard() != b"OK\r\n":
            # It is a row, and the store does not answer.
            world.ended.remove(label)
        # The time of the one for later comes.
        world.pass_time(START + 81 - world.clock.seconds())
        jobs = worker.want(2)
        worker.end(WORK_COMPLETE, *jobs)

    def keep(self, world: World, client: Client) -> None:
        """All that touches what is kept of jobs that have ended, and what is kept beside jobs."""
        keeper = Worker(world, b"k")
        client.submit(b"k1", b"k2", b"k3", b"k4", b"k5", function=b"k")
        world.schedule(b"s1", 60.0)
        world.pause(b"p")
        world.pass_time(8.0)
        # Some are done, one is dead; and what they brought is asked for, now and when it is stored.
        keeper.end(WORK_COMPLETE, *keeper.want(2))
        world.ask()
        world.pause(b"q")
        keeper.end(WORK_EXCEPTION, *keeper.want(1))
        world.resume(b"p")
        world.pass_time(8.0)
        world.ask()
        world.schedule(b"s2", 120.0)
        # The dead one is done after all. Another is forgotten, and one in the turn in which it ends.
        world.requeue()
        world.forget(*list(world.brought)[:1])
        jobs = keeper.want(1)
        keeper.end(WORK_COMPLETE, *jobs)
        world.forget(*jobs)
        world.pass_time(8.0)
        # One runs for somebody who waits, and ends while it is on its way to the store.
        waiting = ForegroundClient(world)
        waiting.submit(b"kboth", function=b"k", kind=SUBMIT_JOB)
        jobs = keeper.want(3)
        client.submit(b"kboth", function=b"k")
        keeper.end(WORK_COMPLETE, *jobs)
        world.ask()
        world.pass_time(8.0)

    def assert_at_rest(self, world: World) -> None:
        """What is in the store is what is to be done, as the server knows it."""
        for peer in world.peers:
            self.assertFalse(isinstance(peer, Client) and peer.asked, "no answer")
        world.load(list(world.store.kept), lambda now: self.assert_same(world))
        self.assertIsNone(world.fixture.journal.unavailable)
        self.assertEqual(world.fixture.journal.pending_bytes, 0)

    def assert_same(self, world: World) -> None:
        """The same, while all that is there is in memory."""
        kept = world.store.labels()
        self.assertEqual(kept.keys(), world.answered.keys() - world.ended)
        broker = world.broker
        for number, record in world.store.kept.items():
            job = (broker.archive.jobs if record.state else broker.table.jobs)[number]
            self.assertEqual(
                (record.place, record.retries, record.unique, record.priority, record.size, record.created),
                (job.place, job.retries, job.unique, job.priority, job.size, job.created),
            )
        jobs = broker.table.jobs
        self.assert_kept(world)
        self.assertTrue(kept.keys() <= {job.unique for job in jobs.values()})

    def assert_kept(self, world: World) -> None:
        """So it is with what is kept of those that have ended, and beside jobs."""
        store, archive = world.store, world.broker.archive
        self.assertEqual(world.readings, [], "no answer")
        self.assertEqual(results_of(archive), {})
        ended = store.labels(ended=True)
        self.assertEqual(ended.keys(), (world.brought.keys() | world.dead) & world.answered.keys())
        self.assertEqual(set(ended.values()), archive.jobs.keys())
        for label, number in ended.items():
            record, job = store.kept[number], archive.jobs[number]
            self.assertEqual(
                (record.state, record.ended, record.due, record.history),
                (job.state, job.since, job.due, job.archived),
            )
            result = store.kept_results.get(number, b"")
            if label in world.dead:
                self.assertEqual(store.kept_workloads[number], label)
            elif history_of(job).complete:
                self.assertEqual((result, job.size), (world.brought[label], len(result)))
            else:
                # Only where the store would not have it.
                self.assertEqual((store.fault and store.fault.error, result, job.size), (FULL, b"", 0))
        self.assertEqual(
            store.kept_values,
            {(kind, name): StoredValue(kind, name, value) for (kind, name), value in world.marks.items()},
        )

    def play(self, store: FailingStore) -> None:
        """The scenario, a kill, and all that is left is done."""
        world = World(store)
        self.scenario(world)
        world.pass_time(REST_SECONDS)
        self.assert_at_rest(world)
        to_do = [job for job in store.kept.values() if not job.state]
        places = sorted(
            (job.place, job.number) for job in to_do if job.priority != HIGH and job.function == b"f"
        )
        retries = {job.number: job.retries for job in to_do}
        world.start()
        found = world.broker.table.jobs
        world.load(
            retries, lambda now: self.assertEqual({each: found[each].retries for each in found}, retries)
        )
        gates = {
            queue.name: queue.throttle
            for queue in world.broker.functions.by_name.values()
            if queue.throttle is not None
        }
        self.assertEqual([name for name, gate in gates.items() if gate.paused], [b"q"])
        world.foreground.clear()
        world.ask()
        Client(world).submit(b"last")
        worker = Worker(world, b"f", b"k")
        labels = store.labels()
        done = []
        while jobs := worker.want(1):
            done += jobs
            worker.end(WORK_COMPLETE, *jobs)
        world.pass_time(REST_SECONDS)
        self.assert_at_rest(world)
        by_label = {number: label for label, number in labels.items()}
        order = [by_label[number] for _, number in places]
        in_order = [label for label in done if label in order]
        if store.failed.count("workloads") > 1:
            # One that could not be read twice has made way for the others.
            in_order.sort()
            order.sort()
        self.assertEqual(in_order, order)
        world.forget(*world.brought.keys() & world.answered.keys())
        world.brought.clear()
        world.pass_time(REST_SECONDS)
        self.assertEqual((store.kept, world.answered.keys() - world.ended), ({}, set()))
        self.assertEqual((store.kept_workloads, store.kept_results), ({}, {}))
        # But that by which jobs would be forgotten.
        soon = world.clock.seconds() + 2 * REST_SECONDS
        self.assertEqual([call for call in world.clock.getDelayedCalls() if call.getTime() < soon], [])

    def play_one(self, first: int, places: tuple[int, ...], fault: Fault | None, late: bool) -> list[str]:
        """Play it with this call failing, and others with it; the names of those that have."""
        store = FailingStore(first, places, fault, late)
        try:
            self.play(store)
        except BaseException as error:
            raise self.failureException(
                f"call {first}, {places}, {fault}, late: {late}; failed: {store.failed}: {error!r}"
            ) from error
        if fault is not None and fault.error is DEFECT:
            self.flushLoggedErrors(ZeroDivisionError)
        return store.failed

    def play_all(self, places: tuple[int, ...], fault: Fault | None, *, late: bool) -> set[str]:
        """Play it with each call failing in its turn; the names of those that have."""
        failed: set[str] = set()
        for first in count(1):
            names = self.play_one(first, places, fault, late)
            if not names:
                self.assertGreater(first, 30)
                return failed
            failed.update(names)
        raise AssertionError

    def check(self, fault: Fault | None, *, in_time: bool = True) -> None:
        """Whatever call fails like this, alone or with others, in time or so late that nobody waits."""
        needed = {"open", "reserve", "lanes", "rows", "write", "workloads", "results", "values"}
        for places in PLACES:
            for late in {True, not in_time}:
                failed = self.play_all(places, fault, late=late)
                self.assertTrue(failed >= needed, (places, needed - failed))

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
