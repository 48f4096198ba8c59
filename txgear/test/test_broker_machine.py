"""
Any sequence of events: the broker against a model that is slow and simple.

The model keeps lists and nothing else. It says what each step tells the peers,
and after each step the broker must be in the state that the model is in. Whom
the broker wakes is its own choice; that is held against the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from math import inf
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker import Broker
from txgear.constants import (
    NOOP,
    PRIORITIES,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.errors import JobNotFound, QueueError
from txgear.jobs import QUEUED, RUNNING, WAITING, Job
from txgear.roster import WAKE_SECONDS, Peer
from txgear.test.support import START, Heard, Recorder

TERMINAL = (WORK_COMPLETE, WORK_FAIL, WORK_EXCEPTION)
MOST_PEERS = 4

FUNCTIONS = (b"f", b"g", b"h")

PEERS = tuple(range(MOST_PEERS))
PLACES = tuple(range(8))
LIMITS = (0, 2, 3)
ANSWERS = ("work_data", "work_warning", "work_status", "work_complete", "work_fail", "work_exception")

EVENTS: dict[str, tuple[int, dict[str, Iterable[Any]]]] = {
    "come": (2, {"exceptions": (False, True)}),
    "go": (2, {"index": PEERS}),
    "can_do": (3, {"index": PEERS, "name": FUNCTIONS, "timeout": (0.0, 0.0, 1.0, 3.0)}),
    "cant_do": (1, {"index": PEERS, "name": FUNCTIONS}),
    "reset_abilities": (1, {"index": PEERS}),
    "submit": (
        8,
        {
            "index": PEERS,
            "name": FUNCTIONS,
            "unique": (b"", b"", b"u", b"v", b"-"),
            "workload": (b"", b"one", b"other"),
            "priority": PRIORITIES,
            "background": (False, True),
            "delay": (0.0, 0.0, 0.0, 2.0, 5.0),
        },
    ),
    "grab": (8, {"index": PEERS}),
    "pre_sleep": (8, {"index": PEERS}),
    "answer": (4, {"index": PEERS, "own": (True, True, False), "which": PLACES, "what": ANSWERS}),
    "pass_time": (3, {"seconds": (0.5, 1.0, 2.0, 10.0)}),
    "cancel": (1, {"which": PLACES}),
    "limit_function": (1, {"name": FUNCTIONS, "bounds": list(product(LIMITS, LIMITS, LIMITS))}),
    "create_function": (1, {"name": FUNCTIONS}),
    "drop_function": (1, {"name": FUNCTIONS}),
    "drain": (1, {}),
}
"""What may happen, how often that is tried, and with what."""

# Two draws for each event: that is what takes the time here.
names = st.sampled_from([name for name, (weight, _) in EVENTS.items() for _ in range(weight)])
variants = {
    name: st.sampled_from(
        [(name, dict(zip(choices, values, strict=True))) for values in product(*choices.values())]
    )
    for name, (_, choices) in EVENTS.items()
}
events = names.flatmap(variants.__getitem__)


@dataclass(eq=False)
class Known:
    """What the model knows of a job that has not ended."""

    job: Job
    function: bytes
    priority: int
    key: tuple[bytes, bytes, bytes] | None
    background: bool
    clients: list[Peer] = field(default_factory=list)
    state: int = WAITING
    worker: Peer | None = None
    retries: int = 0
    due: tuple[float, int] | None = None


class Model:
    """What a broker does, by the rules, as simple as it can be said."""

    def __init__(self, retries: int) -> None:
        self.retries = retries
        self.jobs: list[Known] = []
        self.lanes: dict[tuple[bytes, int], list[Known]] = {}
        self.rings: list[list[bytes]] = [[] for _ in PRIORITIES]
        self.abilities: dict[Peer, dict[bytes, float]] = {}
        self.running: dict[Peer, list[Known]] = {}
        self.asleep: set[Peer] = set()
        self.woken: dict[Peer, tuple[float, bytes]] = {}
        self.limits: dict[bytes, tuple[int, ...]] = {}
        self.created: set[bytes] = set()
        self.draining = False
        self.told: list[tuple[Peer, Heard]] = []
        self.scheduled = 0

    def lane(self, known: Known) -> list[Known]:
        return self.lanes.setdefault((known.function, known.priority), [])

    def total(self, function: bytes) -> int:
        return sum(known.function == function for known in self.jobs)

    def functions(self) -> set[bytes]:
        """Those that anything is known of."""
        able = {function for abilities in self.abilities.values() for function in abilities}
        return {known.function for known in self.jobs} | able | set(self.limits) | self.created

    def find(self, key: tuple[bytes, bytes, bytes] | None) -> Known | None:
        return next((known for known in self.jobs if key is not None and known.key == key), None)

    def refuses(self, function: bytes, priority: int) -> bool:
        return 0 < self.limits.get(function, (0, 0, 0))[priority] <= self.total(function)

    def schedule(self, known: Known, due: float) -> None:
        self.scheduled += 1
        known.due = (due, self.scheduled)

    def enqueue(self, known: Known, *, first: bool = False) -> None:
        known.due = None
        if self.draining and not known.clients:
            known.state = WAITING
            return
        known.state = QUEUED
        lane = self.lane(known)
        if not lane:
            self.rings[known.priority].append(known.function)
        place = 0 if first else len(lane)
        while place < len(lane) and lane[place].retries == 1 and lane[place].job.number < known.job.number:
            place += 1
        lane.insert(place, known)

    def take_out(self, known: Known) -> None:
        """Off its lane or its worker."""
        if known.state == QUEUED:
            self.lane(known).remove(known)
            if not self.lane(known):
                self.rings[known.priority].remove(known.function)
        if known.worker is not None:
            self.running[known.worker].remove(known)
        known.state, known.worker, known.due = WAITING, None, None

    def end(self, known: Known) -> None:
        self.take_out(known)
        self.jobs.remove(known)

    def add(self, known: Known, due: float) -> None:
        self.jobs.append(known)
        if due:
            self.schedule(known, due)
        else:
            self.enqueue(known)

    def join(self, known: Known, client: Peer, background: bool) -> None:
        if background:
            known.background = True
        else:
            known.clients.insert(0, client)

    def answer(self, known: Known, what: str) -> None:
        """What clients are told of a good answer."""
        handle = known.job.handle
        failed, raised = (WORK_FAIL, handle), (WORK_EXCEPTION, handle, b"data")
        for client in known.clients:
            told: dict[str, Heard] = {
                "work_data": (WORK_DATA, handle, b"data"),
                "work_warning": (WORK_WARNING, handle, b"data"),
                "work_status": (WORK_STATUS, handle, b"1", b"2"),
                "work_complete": (WORK_COMPLETE, handle, b"data"),
                "work_fail": failed,
                "work_exception": raised if client.exceptions else failed,
            }
            self.told.append((client, told[what]))
        if what in ("work_complete", "work_fail", "work_exception"):
            self.end(known)

    def fail(self, known: Known) -> None:
        self.answer(known, "work_fail")

    def lose(self, known: Known) -> None:
        known.retries += 1
        if not (known.background or known.clients):
            self.end(known)
        elif 0 <= self.retries <= known.retries:
            self.fail(known)
        else:
            self.take_out(known)
            self.enqueue(known, first=known.retries == 1)

    def forget_abilities(self, peer: Peer, gone: list[bytes]) -> None:
        for function in gone:
            self.abilities[peer].pop(function, None)
        if peer in self.woken and self.woken[peer][1] in gone:
            del self.woken[peer]
        for known in self.running[peer].copy():
            if known.function in gone:
                self.lose(known)

    def leave(self, peer: Peer) -> None:
        for known in self.jobs.copy():
            if peer in known.clients:
                known.clients = [client for client in known.clients if client is not peer]
                if known.state == RUNNING or known.clients:
                    continue
                if not known.background:
                    self.end(known)
                elif self.draining and known.state == QUEUED:
                    self.take_out(known)
        self.rise(peer)
        self.forget_abilities(peer, list(self.abilities[peer]))
        del self.abilities[peer], self.running[peer]

    def rise(self, peer: Peer) -> None:
        self.asleep.discard(peer)
        self.woken.pop(peer, None)

    def next_job(self, worker: Peer) -> Known | None:
        for priority, ring in enumerate(self.rings):
            for function in ring:
                if function in self.abilities[worker]:
                    return self.lanes[function, priority][0]
        return None

    def grab(self, worker: Peer, now: float) -> Known | None:
        self.rise(worker)
        known = self.next_job(worker)
        if known is not None:
            self.take_out(known)
            ring = self.rings[known.priority]
            if known.function in ring:
                ring.remove(known.function)
                ring.append(known.function)
            known.state, known.worker = RUNNING, worker
            self.running[worker].append(known)
            if timeout := self.abilities[worker][known.function]:
                self.schedule(known, now + timeout)
        return known

    def expire(self, now: float) -> None:
        for known in sorted(self.jobs, key=lambda known: known.due or (inf, 0)):
            if known.due is not None and known.due[0] <= now:
                if known.state == RUNNING:
                    self.lose(known)
                else:
                    self.enqueue(known)
        for peer, (sent, _) in list(self.woken.items()):
            if sent + WAKE_SECONDS <= now:
                del self.woken[peer]

    def deadline(self) -> float:
        return min(
            [known.due[0] for known in self.jobs if known.due is not None]
            + [sent + WAKE_SECONDS for sent, _ in self.woken.values()],
            default=inf,
        )

    def drain(self) -> None:
        self.draining = True
        for known in self.jobs:
            if known.state == QUEUED and not known.clients:
                self.take_out(known)


class BrokerMachine(RuleBasedStateMachine):
    """
    Each event happens to both, and then what the peers hear is compared.

    There is one rule for all: hypothesis leaves half of the rules out of each
    run, and then little happens.
    """

    @initialize(retries=st.sampled_from([-1, -1, 0, 1, 2]), wakeups=st.sampled_from([0, 0, 1, 2]))
    def start(self, retries: int, wakeups: int) -> None:
        self.outbox = Recorder()
        self.broker = Broker(self.outbox, b"H:test", retries, wakeups)
        self.model = Model(retries)
        self.now = START
        self.peers: list[Peer] = []
        self.handles: list[bytes] = []
        # How many ends of which job each client is still to hear of.
        self.owed: Counter[tuple[Peer, bytes]] = Counter()
        for number in range(3):
            self.connect(exceptions=number == 0)
            for name in FUNCTIONS[number:]:
                self.can_do(self.peers[-1], name, 0.0)

    @rule(event=events)
    def happen(self, event: tuple[str, dict[str, Any]]) -> None:
        name, arguments = event[0], event[1].copy()
        if "index" in arguments:
            arguments["peer"] = self.peers[arguments.pop("index") % len(self.peers)]
        if "which" in arguments:
            arguments["handle"] = self.handle(arguments.pop("which"))
        getattr(self, name)(**arguments)
        self.hear()

    def handle(self, which: int) -> bytes:
        """One of the youngest."""
        return self.handles[-1 - which % len(self.handles)] if self.handles else b"H:test:0"

    def hear(self) -> None:
        """Compare what peers were told in this step; take note of who was woken."""
        told = []
        for peer, message in self.outbox.take():
            if message != (NOOP,):
                told.append((peer, message))
                if message[0] in TERMINAL:
                    self.owed[peer, bytes(message[1])] -= 1
                continue
            assert peer in self.model.asleep, "only who sleeps is sent a NOOP"
            self.model.asleep.remove(peer)
            queue = peer.woken_for
            assert queue is not None
            assert queue.woken <= queue.ready, "no more are woken than there are jobs"
            assert queue.name in self.model.abilities[peer]
            self.model.woken[peer] = self.now, queue.name
        assert told == self.model.told
        self.model.told = []
        assert all(count >= 0 for count in self.owed.values()), "a job ends once"

    # What happens

    def connect(self, exceptions: bool) -> None:
        peer = Peer(len(self.peers), "192.0.2.1", exceptions)
        self.broker.connect(peer)
        self.model.abilities[peer] = {}
        self.model.running[peer] = []
        self.peers.append(peer)

    def come(self, exceptions: bool) -> None:
        if len(self.peers) < MOST_PEERS:
            self.connect(exceptions)

    def go(self, peer: Peer) -> None:
        if len(self.peers) > 1:
            self.peers.remove(peer)
            self.owed = Counter({key: count for key, count in self.owed.items() if key[0] is not peer})
            self.model.leave(peer)
            self.broker.disconnect(peer, self.now)

    def can_do(self, peer: Peer, name: bytes, timeout: float) -> None:
        self.model.abilities[peer][name] = timeout
        self.broker.can_do(peer, name, timeout, self.now)

    def cant_do(self, peer: Peer, name: bytes) -> None:
        self.model.forget_abilities(peer, [name] if name in self.model.abilities[peer] else [])
        self.broker.cant_do(peer, name, self.now)

    def reset_abilities(self, peer: Peer) -> None:
        self.model.forget_abilities(peer, list(self.model.abilities[peer]))
        self.broker.reset_abilities(peer, self.now)

    def submit(
        self,
        peer: Peer,
        name: bytes,
        unique: bytes,
        workload: bytes,
        priority: int,
        background: bool,
        delay: float,
    ) -> None:
        joinable = unique != b"-" or workload
        key = (name, unique, workload if unique == b"-" else b"") if unique and joinable else None
        known = self.model.find(key)
        refused = self.model.draining or (known is None and self.model.refuses(name, priority))
        due = self.now + delay if delay else 0.0
        try:
            job = self.broker.submit(peer, name, unique, workload, self.now, priority, background, due)
        except QueueError:
            assert refused
            return
        assert not refused
        if not background:
            self.owed[peer, job.handle] += 1
        if known is not None:
            assert job is known.job
            self.model.join(known, peer, background)
            return
        self.handles.append(job.handle)
        self.model.add(Known(job, name, priority, key, background, [] if background else [peer]), due)

    def grab(self, peer: Peer) -> None:
        known = self.model.grab(peer, self.now)
        job = self.broker.grab(peer, self.now)
        assert job is (known and known.job)

    def pre_sleep(self, peer: Peer) -> None:
        self.model.rise(peer)
        self.model.asleep.add(peer)
        self.broker.pre_sleep(peer, self.now)

    def answer(self, peer: Peer, own: bool, handle: bytes, what: str) -> None:
        running = self.model.running[peer]
        if own and running:
            handle = running[-1].job.handle
        known = next((known for known in running if known.job.handle == handle), None)
        let_pass = what == "work_fail" and handle == peer.raised
        arguments = {"work_status": (b"1", b"2", (1, 2)), "work_fail": ()}.get(what, (b"data",))
        try:
            getattr(self.broker, what)(peer, handle, *arguments)
        except JobNotFound:
            assert known is None
            assert not let_pass
            return
        assert known is not None or let_pass
        if known is not None:
            self.model.answer(known, what)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.broker.deadline <= end:
            self.now = max(self.broker.deadline, self.now)
            self.model.expire(self.now)
            self.broker.expire(self.now)
            self.hear()
            assert self.broker.deadline == self.model.deadline()
        self.now = end

    def cancel(self, handle: bytes) -> None:
        known = next((known for known in self.model.jobs if known.job.handle == handle), None)
        if known is not None:
            self.model.fail(known)
        assert self.broker.cancel(handle) is (known is not None)

    def limit_function(self, name: bytes, bounds: tuple[int, int, int]) -> None:
        self.model.limits[name] = bounds
        if not any(bounds):
            del self.model.limits[name]
        self.broker.limit_function(name, bounds)

    def create_function(self, name: bytes) -> None:
        self.model.created.add(name)
        self.broker.create_function(name)

    def drop_function(self, name: bytes) -> None:
        known = name in self.model.functions()
        able = any(name in abilities for abilities in self.model.abilities.values())
        in_use = able or self.model.total(name) > 0
        assert self.broker.drop_function(name) is ((not in_use) if known else None)
        if not in_use:
            self.model.limits.pop(name, None)
            self.model.created.discard(name)

    def drain(self) -> None:
        if len(self.handles) > 9:  # little happens afterwards
            self.model.drain()
            self.broker.drain()

    # What is always true

    @invariant()
    def every_job_is_in_one_place(self) -> None:
        assert list(self.broker.jobs.values()) == sorted(
            [known.job for known in self.model.jobs], key=lambda job: job.number
        )
        for known in self.model.jobs:
            job = known.job
            assert job.state == known.state
            assert (job.worker, job.retries, job.background) == (
                known.worker,
                known.retries,
                known.background,
            )
            assert list(job.clients) == known.clients
            assert job.due == (known.due[0] if known.due else 0.0)
        for peer in self.peers:
            assert list(peer.running.values()) == [known.job for known in self.model.running[peer]]
            assert peer.attached == {known.job for known in self.model.jobs if peer in known.clients}
        assert len(self.broker._agenda) == sum(known.due is not None for known in self.model.jobs)

    @invariant()
    def functions_know_their_jobs_and_unused_ones_are_forgotten(self) -> None:
        assert set(self.broker.functions) == self.model.functions()
        for name, queue in self.broker.functions.items():
            jobs = [known for known in self.model.jobs if known.function == name]
            lanes = [self.model.lanes.get((name, priority), []) for priority in PRIORITIES]
            assert queue.queued() == [known.job for lane in lanes for known in lane]
            assert queue.counts == [len(lane) for lane in lanes]
            assert queue.ready == sum(queue.counts)
            assert queue.waiting == sum(known.state == WAITING for known in jobs)
            assert queue.running == sum(known.state == RUNNING for known in jobs)
            assert queue.woken == sum(function == name for _, function in self.model.woken.values())
            assert set(queue.workers) == {peer for peer in self.peers if name in self.model.abilities[peer]}
        for ring, expected in zip(self.broker._rings, self.model.rings, strict=True):
            assert [queue.name for queue in ring] == expected
            assert all(queue is self.broker.functions[queue.name] for queue in ring)

    @invariant()
    def uniques_are_those_of_live_jobs(self) -> None:
        index = self.broker._uniques
        assert len(index) == sum(known.job.key is not None for known in self.model.jobs)
        for known in self.model.jobs:
            if known.job.key is not None:
                assert index.find(known.job.queue, known.job.key) is known.job

    @invariant()
    def nobody_sleeps_beside_a_job(self) -> None:
        for peer in self.peers:
            assert peer.asleep == (peer in self.model.asleep)
            assert (peer.woken_for is not None) == (peer in self.model.woken)
            if peer.asleep:
                for queue in peer.abilities:
                    assert queue.woken >= queue.ready

    @invariant()
    def the_deadline_is_never_late(self) -> None:
        assert self.broker.deadline <= self.model.deadline()
        running = any(known.state == RUNNING for known in self.model.jobs)
        assert self.broker.drained == (self.model.draining and not running and not any(self.model.rings))

    @invariant()
    def every_client_is_still_owed_what_it_waits_for(self) -> None:
        waiting = Counter((client, known.job.handle) for known in self.model.jobs for client in known.clients)
        assert +self.owed == waiting

    def teardown(self) -> None:
        """In the end a worker does all that is left, and every client has heard of each job once."""
        if not hasattr(self, "broker"):
            return
        for peer in self.peers:
            self.reset_abilities(peer)
            self.hear()
        self.pass_time(100.0)
        self.connect(exceptions=False)
        last = self.peers[-1]
        for name in FUNCTIONS:
            self.can_do(last, name, 0.0)
        while self.model.next_job(last) is not None:
            self.grab(last)
            self.answer(last, True, b"", "work_complete")
            self.hear()
        assert not +self.owed
        assert all(self.model.draining and known.background for known in self.model.jobs)


class BrokerMachineTests(SynchronousTestCase):
    def test_any_sequence_of_events(self) -> None:
        run_state_machine_as_test(
            BrokerMachine,
            settings=settings(
                derandomize=True,
                database=None,
                deadline=None,
                max_examples=150,
                stateful_step_count=80,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
