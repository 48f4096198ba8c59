"""
Any sequence of events: the broker against a model that is slow and simple.

The model keeps lists and nothing else. It says what each step tells the peers,
and after each step the broker must be in the state that the model is in. Whom
the broker wakes and what it reads from the store is its own choice; that is
held against the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from math import inf
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.model import Function, Job, Peer
from txgear.broker.rules import Rules
from txgear.broker.states import DELAYED, QUEUED, RUNNING, STORING
from txgear.broker.timers import LOOK_SECONDS
from txgear.errors import JobNotFound, QueueError, ServerError
from txgear.protocol.constants import (
    NOOP,
    PRIORITIES,
    WORK_COMPLETE,
    WORK_EXCEPTION,
    WORK_FAIL,
)
from txgear.test.support.absentworkers import AbsentWorkers
from txgear.test.support.broker import FakeOutbox, Heard, overflowed, queued
from txgear.test.support.clock import START
from txgear.test.support.extras import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_machine,
    st,
)
from txgear.test.support.fakejournal import FakeJournal
from txgear.test.support.model import BrokerModel
from txgear.test.support.model_jobs import ModelJob

TERMINAL = (WORK_COMPLETE, WORK_FAIL, WORK_EXCEPTION)
MOST_PEERS = 4

FUNCTIONS = (b"f", b"g", b"h")

PEERS = tuple(range(MOST_PEERS))
PLACES = tuple(range(8))
LIMITS = (0, 2, 3)
LONG = b"x" * 150
OFFSETS = (-600.0, -3.0, 0.0, 3.0, 600.0)
"""What the wall clock can be set to, beside the server's time."""
CLAIMED = (7, 7, 7, 1, 2, 0)
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
            "workload": (b"", b"one", LONG),
            "priority": PRIORITIES,
            "background": (False, True),
            "delay": (0.0, 0.0, 0.0, 2.0, 5.0),
        },
    ),
    "submit_delayed": (
        1,
        {
            "index": PEERS,
            "name": FUNCTIONS,
            "unique": (b"", b"u"),
            "background": (False, True),
            "span": (2.0, 5.0),
        },
    ),
    "set_clock": (1, {"offset": OFFSETS}),
    "grab": (8, {"index": PEERS}),
    "pre_sleep": (8, {"index": PEERS}),
    "answer": (4, {"index": PEERS, "own": (True, True, False), "which": PLACES, "what": ANSWERS}),
    "pass_time": (3, {"seconds": (0.5, 1.0, 2.0, 10.0)}),
    "cancel": (1, {"which": PLACES}),
    "reprioritise": (3, {"which": PLACES, "priority": PRIORITIES}),
    "move": (4, {"which": PLACES, "name": FUNCTIONS}),
    "hasten": (2, {"which": PLACES}),
    "correct": (2, {"which": PLACES, "workload": (b"", b"two", LONG)}),
    "limit_function": (1, {"name": FUNCTIONS, "bounds": list(product(LIMITS, LIMITS, LIMITS))}),
    "create_function": (1, {"name": FUNCTIONS}),
    "drop_function": (1, {"name": FUNCTIONS}),
    "drain": (1, {}),
    "know": (3, {"index": PEERS}),
    "cut_off": (2, {"index": PEERS, "name": FUNCTIONS, "times": (1, 2), "seconds": (0.0, 1.0)}),
    "come_back": (3, {"who": PEERS, "claimed": CLAIMED, "attempt": (0, 0, 0, 1), "then": ("", *ANSWERS)}),
    "go_and_return": (
        6,
        {
            "index": PEERS,
            "name": FUNCTIONS,
            "times": (1, 2),
            "away": (0.0, 0.5, 1.5, 3.0),
            "claimed": CLAIMED,
            "attempt": (0, 0, 0, 1),
            "then": ("", *ANSWERS),
        },
    ),
    "gone": (2, {"who": PEERS, "words": (b"", b"killed")}),
}
"""What may happen, how often that is tried, and with what."""


def drawn_from(events: dict[str, tuple[int, dict[str, Iterable[Any]]]]) -> st.SearchStrategy[Any]:
    """Two draws for each event: that is what takes the time here."""
    names = st.sampled_from([name for name, (weight, _) in events.items() for _ in range(weight)])
    variants = {
        name: st.sampled_from(
            [(name, dict(zip(choices, values, strict=True))) for values in product(*choices.values())]
        )
        for name, (_, choices) in events.items()
    }
    return names.flatmap(variants.__getitem__)


RETRIES = st.sampled_from([-1, -1, 0, 1, 2])
WAKEUPS = st.sampled_from([0, 0, 1, 2])
GRACES = st.sampled_from([0.0, 1.5, 4.0, 4.0])


class BrokerMachine(AbsentWorkers, RuleBasedStateMachine):
    """
    Each event happens to both, and then what the peers hear is compared.

    There is one rule for all: hypothesis leaves half of the rules out of each
    run, and then little happens.
    """

    broker: Broker
    model: BrokerModel
    journal: FakeJournal | None = None

    def __init__(self) -> None:
        super().__init__()
        self.outbox = FakeOutbox()
        self.now = START
        self.handles: list[bytes] = []

    @initialize(retries=RETRIES, wakeups=WAKEUPS, grace=GRACES)
    def start(self, retries: int, wakeups: int, grace: float) -> None:
        self.broker = Broker(self.outbox, Rules(b"H:test", retries, wakeups, grace=grace))
        self.model = BrokerModel(retries, durable=False, budget=0)
        self.model.absences.grace = grace
        self.open_doors()

    def open_doors(self) -> None:
        """The first peers come."""
        # Submits that were answered with an error.
        self.refusals = 0
        self.peers: list[Peer] = []
        # How many ends of which job each client is still to hear of.
        self.owed: Counter[tuple[Peer, bytes]] = Counter()
        for number in range(3):
            self.connect(exceptions=number == 0)
            for name in FUNCTIONS[number:]:
                self.can_do(self.peers[-1], name, 0.0)

    @rule(event=drawn_from(EVENTS))
    def happen(self, event: tuple[str, dict[str, Any]]) -> None:
        self.step(event)

    def step(self, event: tuple[str, dict[str, Any]]) -> None:
        name, arguments = event[0], event[1].copy()
        if "index" in arguments:
            arguments["peer"] = self.peers[arguments.pop("index") % len(self.peers)]
        if "which" in arguments:
            arguments["handle"] = self.handle(arguments.pop("which"))
        getattr(self, name)(**arguments)
        self.hear()
        self.hang_up()

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
            function = peer.woken_for
            assert function is not None
            assert function.woken <= function.lanes.ready, "no more are woken than there are jobs"
            assert function.name in self.model.abilities[peer]
            self.model.woken[peer] = self.now, function.name
        self.compare(told, self.model.told)
        self.model.told = []
        assert all(count >= 0 for count in self.owed.values()), "a job ends once"

    def compare(self, told: list[tuple[Peer, Heard]], expected: list[tuple[Peer, Heard]]) -> None:
        assert told == expected

    def known(self, job: Job) -> ModelJob | None:
        """What the model knows of it, if it has not ended."""
        return next((known for known in self.model.jobs if known.job is job), None)

    def arrange(self) -> None:
        """Several lanes that were opened at once are served in whichever order."""
        for ring, expected in zip(self.broker.dispatcher.rings, self.model.rings, strict=True):
            names = [function.name for function in ring]
            assert set(names) == set(expected)
            expected[:] = names

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
            self.leave(peer)

    def leave(self, peer: Peer) -> None:
        self.note_absence(peer)
        self.peers.remove(peer)
        self.owed = Counter({key: count for key, count in self.owed.items() if key[0] is not peer})
        self.model.leave(peer, self.now)
        self.broker.disconnect(peer, self.now)
        if self.model.draining:
            self.arrange()

    def can_do(self, peer: Peer, name: bytes, timeout: float) -> None:
        self.model.can_do(peer, name, timeout)
        self.broker.can_do(peer, name, timeout, self.now)

    def cant_do(self, peer: Peer, name: bytes) -> None:
        self.model.forget_abilities(peer, [name] if name in self.model.abilities[peer] else [])
        self.broker.cant_do(peer, name, self.now)

    def reset_abilities(self, peer: Peer) -> None:
        self.model.forget_all(peer)
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
        own: Mapping[str, Any] | None = None,
        span: float = 0.0,
    ) -> None:
        """
        @param delay: seconds until its time by the wall clock.
        @param span: seconds that it is to wait, whatever that shows.
        """
        joinable = unique != b"-" or workload
        key = (name, unique, workload if unique == b"-" else b"") if unique and joinable else None
        known = self.model.find(key)
        done = self.model.still_done(key) if known is None else None
        full = known is None and done is None and self.model.refuses(name, priority, len(workload))
        refused = self.model.draining or full
        stores = self.journal is not None and background and not (done or (known and known.background))
        if stores and self.journal is not None and self.journal.unavailable is not None:
            refused = True
        expected = self.refusal(peer, name, known or done, refused, len(workload))
        due = self.now + self.model.offset + delay if delay else 0.0
        asked = peer, name, unique, workload, self.now, priority, background, due
        try:
            job = self.broker.submit(*asked, settings=own, delay=span)
        except ServerError as error:
            assert type(error) is expected
            self.refusals += 1
            return
        assert expected is None
        if not background:
            self.owed[peer, job.handle] += 1
        if done is not None:
            assert job is done.job
            self.model.count(done, "joined")
            assert job.reply_for(background) is (job.reply if background else None)
            if not background:
                self.repeat(peer, done)
            return
        if known is not None:
            assert job is known.job
            self.model.join(known, peer, background)
        else:
            self.handles.append(job.handle)
            clients = [] if background else [peer]
            known = self.make_known(
                own or {}, job, name, unique, workload, priority, key, background, clients
            )
            self.model.add(known, due, span)
        waits = known.storing and (background or known.state == STORING)
        assert job.reply_for(background) is (job.reply if waits else None)

    def refusal(
        self, peer: Peer, name: bytes, joined: ModelJob | None, refused: bool, size: int
    ) -> type[ServerError] | None:
        """
        What a submit is answered that comes to nothing.

        @param joined: the job that is the same.
        @param refused: whether there is no room for another, whoever asks.
        """
        return QueueError if refused else None

    def submit_delayed(self, peer: Peer, name: bytes, unique: bytes, background: bool, span: float) -> None:
        self.submit(peer, name, unique, b"one", PRIORITIES[1], background, 0.0, span=span)

    def set_clock(self, offset: float) -> None:
        """The wall clock is set."""
        self.model.offset = offset
        self.broker.timers.set_offset(offset, self.now)

    def make_known(self, own: Mapping[str, Any], *fields: Any) -> ModelJob:
        known = ModelJob(*fields)
        known.created = self.now
        return known

    def repeat(self, peer: Peer, done: ModelJob) -> None:
        """What a server does when a client asks for something that is done already."""
        raise AssertionError("nothing that is done is known here")

    def grab(self, peer: Peer) -> None:
        known = self.model.grab(peer, self.now)
        job = self.broker.grab(peer, self.now)
        assert job is (known and known.job)
        if known is not None and job is not None:
            self.model.count(known, "waits")
            assert job.workload == known.workload

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
        if known is not None:
            self.model.answer(known, what)
        try:
            getattr(self.broker.reports, what)(peer, handle, *arguments, self.now)
        except JobNotFound:
            assert known is None
            assert not let_pass
            return
        assert known is not None or let_pass
        self.note_sent(peer, what)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.broker.timers.deadline <= end:
            self.now = max(self.broker.timers.deadline, self.now)
            self.model.expire(self.now)
            self.broker.expire(self.now)
            self.hear()
            self.check_deadline()
        self.now = end

    def check_deadline(self) -> None:
        """After all that was due."""
        look = self.now + LOOK_SECONDS if any(known.at for known in self.model.jobs) else inf
        patience = (
            self.model.read_until if any(peer.barred is not None for peer in self.broker.peers) else inf
        )
        assert self.broker.timers.deadline == min(self.model.deadline(), look, patience)

    def cancel(self, handle: bytes) -> None:
        known = next((known for known in self.model.jobs if known.job.handle == handle), None)
        if known is not None:
            self.model.cancel(known)
            self.model.advance(known.function, known.priority)
        assert self.broker.operations.cancel(handle, self.now) is (known is not None)

    def find(self, handle: bytes) -> ModelJob | None:
        """What the model knows of this job, if it can be changed."""
        return next((known for known in self.model.jobs if known.job.handle == handle), None)

    def change(self, expected: type[ServerError] | None, order: Callable[..., None], *about: object) -> None:
        """Operators change a job."""
        try:
            order(*about, self.now)
        except ServerError as error:
            assert type(error) is expected, (error, expected)
        else:
            assert expected is None

    def reprioritise(self, handle: bytes, priority: int) -> None:
        if (known := self.find(handle)) is not None:
            expected = self.model.reprioritise(known, priority)
            self.change(expected, self.broker.operations.reprioritise, known.job, priority)

    def move(self, handle: bytes, name: bytes) -> None:
        if (known := self.find(handle)) is not None:
            expected = self.model.move(known, name, self.now)
            self.change(expected, self.broker.operations.move, known.job, name)

    def hasten(self, handle: bytes) -> None:
        """Who requeues a job that waits for its time has it begin."""
        known = self.find(handle)
        if known is not None and not known.job.ended:
            waits = known.state == DELAYED and not (known.due is None and known.at is None)
            if waits:
                self.model.begin_at_last(known)
            assert self.broker.operations.requeue(handle, self.now) is waits

    def correct(self, handle: bytes, workload: bytes) -> None:
        if (known := self.find(handle)) is not None:
            unavailable = self.journal is not None and self.journal.unavailable is not None
            expected = self.model.correct(known, workload, unavailable)
            self.change(expected, self.broker.operations.correct, known.job, workload)

    def limit_function(self, name: bytes, bounds: tuple[int, int, int]) -> None:
        self.model.limits[name] = bounds
        if not any(bounds):
            del self.model.limits[name]
        self.broker.operations.limit_function(name, bounds)

    def create_function(self, name: bytes) -> None:
        self.model.created.add(name)
        self.broker.operations.create_function(name)

    def drop_function(self, name: bytes) -> None:
        known = name in self.model.functions()
        in_use = self.model.in_use(name)
        assert self.broker.operations.drop_function(name) is ((not in_use) if known else None)
        if not in_use:
            self.model.drop_function(name)

    def drain(self) -> None:
        if len(self.handles) > 9:  # little happens afterwards
            self.model.drain()
            self.broker.drain(self.now)
            self.arrange()

    # What is always true

    @invariant()
    def every_job_is_in_one_place(self) -> None:
        assert self.broker.table.jobs == {known.job.number: known.job for known in self.model.jobs}
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
            assert (known.at and known.at[0]) == (job.appointment and job.appointment.due)
            assert (job.place, job.stored, job.reply is not None) == (
                known.place,
                known.stored,
                known.storing,
            )
            assert (job.function.name, job.priority, job.size) == (known.function, known.priority, known.size)
            assert (job.loaded, job.state != QUEUED or job.loaded) == (known.loaded, True)
        self.absences_agree()
        for peer in self.peers:
            assert list(peer.running.values()) == [known.job for known in self.model.running[peer]]
            assert set(peer.attached) == {known.job for known in self.model.jobs if peer in known.clients}

    @invariant()
    def it_counts_right(self) -> None:
        self.broker.check()
        found: Counter[tuple[bytes, str]] = Counter()
        for name, counts in self.broker.statistics.by_name.items():
            assert counts.waited >= 0
            assert counts.ran >= 0
            found[name, "failed"] = sum(counts.failed.values())
            found[name, "waits"], found[name, "runs"] = sum(counts.waits), sum(counts.runs)
            for what in ("submitted", "joined", "completed", "retried", "restored", "requeued"):
                found[name, what] = getattr(counts, what)
        assert +found == self.model.tally
        refused = sum(sum(counts.refused.values()) for counts in self.broker.statistics.all())
        assert refused == self.refusals

    @invariant()
    def functions_know_their_jobs_and_unused_ones_are_forgotten(self) -> None:
        self.functions_are_known()
        for name, function in self.broker.functions.by_name.items():
            jobs = [known for known in self.model.jobs if known.function == name]
            self.lanes_are_right(name, function)
            assert function.total == len(jobs)
            assert len(function.delayed) == sum(known.state in (DELAYED, STORING) for known in jobs)
            assert function.running == sum(known.state == RUNNING for known in jobs)
            assert function.woken == sum(function == name for _, function in self.model.woken.values())
            assert set(function.workers) == {
                peer for peer in self.peers if name in self.model.abilities[peer]
            }
        for ring, expected in zip(self.broker.dispatcher.rings, self.model.rings, strict=True):
            assert [function.name for function in ring] == expected
            assert all(function is self.broker.functions.by_name[function.name] for function in ring)

    def lanes_are_right(self, name: bytes, function: Function) -> None:
        """What can be handed out, and what is behind that."""
        fronts = [self.model.front(name, priority) for priority in PRIORITIES]
        overflow = [self.model.overflow(name, priority) for priority in PRIORITIES]
        assert queued(function.lanes) == [known.job for front in fronts for known in front]
        assert overflowed(function.lanes) == [known.job for back in overflow for known in back]
        assert function.lanes.counts == [len(front) for front in fronts]
        assert [function.lanes.total_of(priority) for priority in PRIORITIES] == [
            len(front) + len(back) for front, back in zip(fronts, overflow, strict=True)
        ]
        assert function.lanes.ready == sum(function.lanes.counts)
        assert function.lanes.paged == sum(map(len, overflow))

    def functions_are_known(self) -> None:
        assert set(self.broker.functions.by_name) == self.model.functions()

    @invariant()
    def uniques_are_those_of_live_jobs(self) -> None:
        index = self.broker.table.uniques
        named = sum(known.job.key is not None for known in self.model.jobs)
        assert sum(not job.ended for job in index) == named
        for known in self.model.jobs:
            if known.job.key is not None:
                assert index.find(known.job.function, known.job.key) is known.job

    @invariant()
    def nobody_sleeps_beside_a_job(self) -> None:
        for peer in self.peers:
            assert peer.asleep == (peer in self.model.asleep)
            assert (peer.woken_for is not None) == (peer in self.model.woken)
            if peer.asleep:
                for function in peer.abilities:
                    assert function.woken >= min(self.to_be_woken(function), self.meant_for(peer, function))
            assert peer.barred is None or self.waits_for_a_read(peer, peer.barred)

    def meant_for(self, peer: Peer, function: Function) -> int:
        """How many jobs of a function a sleeper may have: none of lower priorities than what it waits for."""
        return sum(function.lanes.counts[: 3 if peer.barred is None else peer.barred + 1])

    def waits_for_a_read(self, peer: Peer, priority: int) -> bool:
        """Whether something of this priority that the sleeper can do is not in memory."""
        able = [name for name in self.model.rings[priority] if name in self.model.abilities[peer]]
        return any(not self.model.front(name, priority) for name in able)

    def to_be_woken(self, function: Function) -> int:
        """How many workers are to be awake for this function, as long as there are some."""
        return function.lanes.ready

    @invariant()
    def the_deadline_is_never_late(self) -> None:
        # Where the clock has been set forward, what is over by that is to happen now.
        assert self.broker.timers.deadline <= max(self.model.deadline(), self.now)
        assert self.broker.drained == self.model.drained()

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
        # Later than all that anybody waits for.
        self.set_clock(10_000.0)
        self.pass_time(100.0)
        self.connect(exceptions=False)
        last = self.peers[-1]
        for name in FUNCTIONS:
            self.can_do(last, name, 0.0)
        while self.store_answers() or self.model.next_job(last, self.now) is not None:
            if self.model.next_job(last, self.now) is not None:
                self.grab(last)
                self.answer(last, True, b"", "work_complete")
            self.hear()
        assert not +self.owed
        assert all(self.model.draining and known.background for known in self.model.jobs)

    def store_answers(self) -> bool:
        """The store does what it was asked for; whether that was anything."""
        return False


class BrokerMachineTests(SynchronousTestCase):
    def test_any_sequence_of_events(self) -> None:
        run_machine(BrokerMachine)
