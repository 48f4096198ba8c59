"""
Any sequence of events, with policies in force: L{txgear.test.broker.test_broker_machine}
for the rest of a job's life.

Functions have policies from the start, which may be replaced; some jobs have
settings of their own. Attempts fail, time out, go silent and are lost; and jobs
expire, die, are kept, requeued, cancelled and purged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.ended.archive import archived_of, history_of
from txgear.broker.ended.shelves import Counted
from txgear.broker.history import History as JobLife
from txgear.broker.model import Function, Job, Peer
from txgear.broker.rules import Rules
from txgear.broker.states import DEAD, RUNNING
from txgear.errors import JobNotFound, ServerError
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import HIGH, LOW, NOOP, NORMAL
from txgear.test.broker.test_broker_machine import (
    ANSWERS,
    EVENTS,
    FUNCTIONS,
    GRACES,
    LONG,
    PEERS,
    PLACES,
    RETRIES,
    WAKEUPS,
    BrokerMachine,
    drawn_from,
)
from txgear.test.support.broker import Heard
from txgear.test.support.extras import initialize, invariant, rule, run_machine, st
from txgear.test.support.model_jobs import Attempt, End, History, ModelJob, PolicyJob, PolicyRules, Settings
from txgear.test.support.model_policies import PolicyModel

TRIES: Final[Settings] = {"retries": 2, "backoff": 2.0, "dead": {"keep": 8.0, "jobs": 2}, "timeout": 3.0}
EACH: Final[Settings] = {
    "retries": {"fail": 1, "lost": 2, "timeout": 1},
    "backoff": {"kind": "linear", "first": 1.0, "most": 1.5, "jitter": 0.5},
    "dead": {"keep": 20.0, "bytes": 200},
    "results": {"keep": 6.0, "bytes": 10, "jobs": 2},
}
LEASE: Final[Settings] = {
    "lease": 2.0,
    "timeout": 5.0,
    "retries": {"silent": 2, "exception": 3},
    "backoff": {"kind": "exponential", "first": 0.5, "most": 1.5},
    "unique_for": 4.0,
    "dead": 6.0,
}
ONCE: Final[Settings] = {"unique_for": 5.0, "results": {"keep": 3.0, "jobs": 1}, "max_queue": 4}
FLOW: Final[Settings] = {"rate": {"jobs": "1/s", "burst": 2}, "concurrency": 2, "max_bytes": 320}
NARROW: Final[Settings] = {
    "concurrency": 1,
    "retries": 1,
    "backoff": 0.0,
    "results": {"keep": 10.0, "bytes": 9},
}
BRIEF: Final[Settings] = {"expires": 3.0, "results": 10.0, "rate": "2/s"}
NONE_LEFT: Final[Settings] = {"retries": 0, "dead": {"keep": 4.0, "jobs": 1}, "expires": 6.0, "lease": 1.0}

RULES: Final[tuple[PolicyRules, ...]] = (
    (("f", TRIES), ("g", EACH)),
    (("f", LEASE), ("[gh]", ONCE)),
    (("g", FLOW), ("*", NARROW)),
    (("f", BRIEF), ("h", NONE_LEFT)),
    (("h", TRIES), ("f", EACH), ("?", FLOW)),
    (("f", {**NARROW, **ONCE}), ("g", {**LEASE, **BRIEF})),
    (),
)
CHOICES: Final = st.sampled_from(range(len(RULES) - 1))

OWN: Final[tuple[Settings, ...]] = (
    {"retries": 1, "backoff": 1.0},
    {"retries": {"lost": 1, "silent": 1}, "dead": 5.0, "backoff": 0.0},
    {"expires": 2.0, "results": 4.0},
    {"results": {"keep": 5.0, "bytes": 6}, "unique_for": 7.0},
    {"results": {"keep": 0.0}, "timeout": 2.0},
    {"lease": 1.5, "retries": 0},
)

FATES: Final = ("work_fail", "work_exception", "lost", "silent", "timeout")

LIFE_EVENTS: Final[dict[str, tuple[int, dict[str, Iterable[Any]]]]] = EVENTS | {
    "submit_own": (
        6,
        {
            "index": PEERS,
            "name": FUNCTIONS,
            "unique": (b"", b"u", b"u", b"v"),
            "workload": (b"one", LONG),
            "background": (True, True, False),
            "own": range(len(OWN)),
        },
    ),
    "work": (8, {"index": PEERS, "name": FUNCTIONS, "what": (*ANSWERS, "beat"), "then": ANSWERS}),
    "toil": (8, {"index": PEERS, "name": FUNCTIONS, "what": (*FATES, "work_complete"), "times": (2, 3, 4)}),
    "do": (
        6,
        {
            "index": PEERS,
            "name": FUNCTIONS,
            "unique": (b"", b"u", b"v"),
            "own": (None, *range(len(OWN))),
            "times": (1, 2, 3),
            "at_once": (False, True),
            "background": (True, True, False),
        },
    ),
    "nurse": (
        5,
        {
            "index": PEERS,
            "name": FUNCTIONS,
            "own": (None, *range(len(OWN))),
            "watched": (False, True),
            "what": (*ANSWERS[:3], "work_data", "beat"),
            "then": (*ANSWERS[3:], "cancel"),
        },
    ),
    "grab": (4, {"index": PEERS}),
    "pre_sleep": (4, {"index": PEERS}),
    "beat": (1, {"index": PEERS, "own": (True, True, False), "handle_of": PLACES}),
    "pass_time": (6, {"seconds": (0.5, 1.0, 1.0, 2.0, 5.0)}),
    "pause": (1, {"name": FUNCTIONS}),
    "resume": (2, {"name": FUNCTIONS}),
    "purge": (1, {"name": (*FUNCTIONS, b"never")}),
    "requeue": (3, {"ended": PLACES}),
    "forget": (1, {"ended": PLACES}),
    "review": (3, {"ended": PLACES, "name": ("r", "s", None)}),
    "all_dead": (
        3,
        {
            "index": PEERS,
            "name": FUNCTIONS,
            "what": ("requeue", "requeue", "forget"),
            "between": (False, True),
        },
    ),
    "watch": (2, {"which": PLACES}),
    "look_up": (2, {"ended": PLACES}),
    "reload": (2, {"rules": range(len(RULES))}),
    "drain": (1, {}),
}


def policies(rules: PolicyRules) -> Policies:
    return Policies([(pattern, CLASSIC.with_settings(settings)) for pattern, settings in rules])


def life_of(kept: bytes | None) -> History:
    life = JobLife.from_bytes(kept or b"{}")
    attempts: list[Attempt] = [(*attempt,) for attempt in life.attempts]
    counts = {reason: count for reason, count in life.counts.items() if count}
    sizes = life.data_size, life.result_size
    review = None if life.aside is None else life.aside.review
    return History(life.settings, counts, attempts, *sizes, life.complete, review)


class LifeMachine(BrokerMachine):
    """The same with policies."""

    model: PolicyModel
    choices = RULES

    @initialize(retries=RETRIES, wakeups=WAKEUPS, rules=CHOICES, grace=GRACES)
    def start(self, retries: int, wakeups: int, rules: int, grace: float) -> None:
        self.broker = Broker(self.outbox, Rules(b"H:test", retries, wakeups, grace=grace))
        self.model = self.make_model(self.choices[rules], retries, durable=False, budget=0)
        self.model.absences.grace = grace
        self.begin_watch()
        self.broker.operations.set_policies(policies(self.choices[rules]), self.now)
        self.open_doors()

    def make_model(self, rules: PolicyRules, retries: int, durable: bool, budget: int) -> PolicyModel:
        return PolicyModel(rules, lambda: self.now, retries, durable, budget)

    def begin_watch(self) -> None:
        self.seen: list[End] = []
        self.watched = 0

    @rule(event=drawn_from(LIFE_EVENTS))
    def happen(self, event: tuple[str, dict[str, Any]]) -> None:
        self.step(event)

    def step(self, event: tuple[str, dict[str, Any]]) -> None:
        name, arguments = event[0], event[1].copy()
        if "ended" in arguments:
            which, past = arguments.pop("ended"), self.model.past
            dead = [known for known in past if known.state == DEAD]
            past = dead if dead and name in ("requeue", "review") else past
            arguments["known"] = past[-1 - which % len(past)] if past else None
        if "handle_of" in arguments:
            arguments["handle"] = self.handle(arguments.pop("handle_of"))
        super().step((name, arguments))

    def hear(self) -> None:
        """Compare what watchers and peers were told; who is woken can do something."""
        self.model.turn_over(self.broker.functions.by_name)
        for peer, message in self.outbox.sent:
            if message == (NOOP,) and peer.woken_for is not None:
                assert not self.model.throttled(peer.woken_for.name)
        super().hear()
        assert sorted(self.seen) == sorted(self.model.seen)
        self.seen, self.model.seen = [], []
        self.arrange()

    def arrange(self) -> None:
        self.model.turn_over(self.broker.functions.by_name)
        super().arrange()

    def compare(self, told: list[tuple[Peer, Heard]], expected: list[tuple[Peer, Heard]]) -> None:
        """What a peer hears of a job is in order; between several that end at once there is none."""

        def by_job(messages: list[tuple[Peer, Heard]]) -> dict[tuple[Peer, Any], list[Heard]]:
            found: dict[tuple[Peer, Any], list[Heard]] = {}
            for peer, message in messages:
                found.setdefault((peer, message[1]), []).append(message)
            return found

        assert by_job(told) == by_job(expected)

    def known(self, job: Job) -> ModelJob | None:
        return next((known for known in [*self.model.jobs, *self.model.past] if known.job is job), None)

    def make_known(self, own: Mapping[str, Any], *fields: Any) -> ModelJob:
        known = PolicyJob(*fields)
        known.created, known.settings = self.now, own
        return known

    # What happens

    def find(self, handle: bytes) -> ModelJob | None:
        everything: list[ModelJob] = [*self.model.jobs, *self.model.past]
        return next((known for known in everything if known.job.handle == handle), None)

    def connect(self, exceptions: bool) -> None:
        super().connect(exceptions)
        self.peers[-1].extended = self.peers[-1].descriptor % 3 != 2

    def submit_own(
        self, peer: Peer, name: bytes, unique: bytes, workload: bytes, background: bool, own: int
    ) -> None:
        self.submit(peer, name, unique, workload, NORMAL, background, 0.0, OWN[own])

    def repeat(self, peer: Peer, done: ModelJob) -> None:
        assert isinstance(done, PolicyJob)
        self.model.repeat(peer, done)
        self.broker.repeat(peer, done.job)
        self.answer_readings()

    def answer_readings(self) -> None:
        """Nothing is read later where nothing is stored."""

    def grab(self, peer: Peer) -> None:
        super().grab(peer)
        self.model.turn_over(self.broker.functions.by_name)
        assert [
            [function.name for function in ring] for ring in self.broker.dispatcher.rings
        ] == self.model.rings

    def work(self, peer: Peer, name: bytes, what: str, then: str) -> None:
        """An attempt of some job of this function, as far as it goes."""
        self.allow(peer, name)
        self.grab(peer)
        self.hear()
        if what == "beat":
            self.beat(peer, True, b"")
            return
        self.answer(peer, True, b"", what)
        self.hear()
        if self.model.running[peer]:
            self.answer(peer, True, b"", then)

    def toil(self, peer: Peer, name: bytes, what: str, times: int) -> None:
        """Several attempts that end in the same way, with some time between them."""
        for _ in range(times):
            self.settle()
            self.allow(peer, name)
            self.grab(peer)
            self.hear()
            if what.startswith("work"):
                self.answer(peer, True, b"", what)
            elif what == "lost":
                self.cant_do(peer, name)
            else:
                self.pass_time(2.0 if what == "silent" else 3.0)
            self.hear()
            self.pass_time(0.5 if what == "work_complete" else 2.0)

    def do(
        self,
        peer: Peer,
        name: bytes,
        unique: bytes,
        own: int | None,
        times: int,
        at_once: bool,
        background: bool,
    ) -> None:
        """Jobs are submitted, done, the last one first if there are several, and asked for again."""
        settings = None if own is None else OWN[own]
        for priority in (LOW, NORMAL, HIGH)[:times]:
            self.submit(self.peers[0], name, unique, b"one", priority, True, 0.0, settings)
            self.hear()
            self.settle()
            if not at_once:
                self.work(peer, name, "work_data", "work_complete")
                self.hear()
        for _ in range(times if at_once else 0):
            self.work(peer, name, "work_status", "work_complete")
            self.hear()
            self.pass_time(0.5)
        self.submit(self.peers[0], name, unique, b"one", HIGH, background, 0.0, settings)

    def nurse(self, peer: Peer, name: bytes, own: int | None, watched: bool, what: str, then: str) -> None:
        """A worker takes its time for a job, and is heard of now and then."""
        self.submit(self.peers[0], name, b"", b"one", HIGH, True, 0.0, None if own is None else OWN[own])
        self.hear()
        self.settle()
        self.allow(peer, name)
        self.grab(peer)
        self.hear()
        if self.model.running[peer] and watched:
            self.watch(self.model.running[peer][-1].job.handle)
        for seconds in (1.0, 1.5):
            self.pass_time(seconds)
            if what == "beat":
                self.beat(peer, True, b"")
            elif self.model.running[peer]:
                self.answer(peer, True, b"", what)
            self.hear()
        if self.model.running[peer]:
            if then == "cancel":
                self.cancel(self.model.running[peer][-1].job.handle)
            else:
                self.answer(peer, True, b"", then)

    def allow(self, peer: Peer, name: bytes) -> None:
        """Where it has said so already, its timeout stays."""
        if name not in self.model.abilities[peer]:
            self.can_do(peer, name, 0.0)
            self.hear()

    def settle(self) -> None:
        """Whatever was asked of the store has been done, where there is one."""

    def beat(self, peer: Peer, own: bool, handle: bytes) -> None:
        running = self.model.running[peer]
        if own and running:
            handle = running[-1].job.handle
        known = next((known for known in running if known.job.handle == handle), None)
        if known is not None:
            assert isinstance(known, PolicyJob)
            self.model.hear_of(known)
        try:
            self.broker.reports.beat(peer, handle, self.now)
        except JobNotFound:
            assert known is None
            return
        assert known is not None

    def check_deadline(self) -> None:
        if self.broker.timers.deadline <= self.now:
            # A function's last kept job was forgotten: it is looked at once more whether that is needed.
            self.broker.expire(self.now)
        assert self.now < self.broker.timers.deadline <= self.model.deadline()

    def pause(self, name: bytes) -> None:
        self.model.paused.add(name)
        self.broker.operations.pause(name, self.now)

    def resume(self, name: bytes) -> None:
        paused = name in self.model.paused
        self.model.paused.discard(name)
        assert self.broker.operations.resume(name, self.now) is paused

    def purge(self, name: bytes) -> None:
        count = self.model.do_later(name, "purge") if name in self.broker.functions.by_name else None
        assert self.broker.operations.purge(name, self.now) == count

    def requeue(self, known: PolicyJob | None) -> None:
        handle = b"H:test:0" if known is None else known.job.handle
        able = known is not None and known.state == DEAD
        if known is not None and able:
            self.model.requeue(known)
        assert self.broker.operations.requeue(handle, self.now) is able

    def forget(self, known: PolicyJob | None) -> None:
        handle = b"H:test:0" if known is None else known.job.handle
        if known is not None:
            self.model.forget(known)
        assert self.broker.operations.forget(handle) is (known is not None)

    def review(self, known: PolicyJob | None, name: str | None) -> None:
        """It is set aside, or put back, as far as it goes."""
        if known is None:
            return
        operations = self.broker.operations
        able = known.state == DEAD if name is not None else known.review is not None
        try:
            if name is None:
                operations.release(known.job)
            else:
                operations.review(known.job, name, self.now)
        except ServerError:
            assert not able
            return
        assert able
        if known.review != name:
            self.model.set_aside(known, name)

    def all_dead(self, peer: Peer, name: bytes, what: str, between: bool) -> None:
        """Before their turn comes one of them may be requeued, and done."""
        order = self.broker.operations.requeue_all if what == "requeue" else self.broker.operations.forget_all
        count = self.model.do_later(name, what) if name in self.broker.functions.by_name else 0
        assert order(name, self.now) == count
        dead = self.model.dead(name)
        if dead and between:
            self.hear()
            self.requeue(dead[-1])
            self.hear()
            self.settle()
            self.work(peer, name, "work_status", "work_complete")

    def watch(self, handle: bytes) -> None:
        known = next((known for known in self.model.jobs if known.job.handle == handle), None)
        if known is None:
            return
        self.watched += 1
        who = self.watched

        def watcher(outcome: int, data: bytes, result: bytes, complete: bool) -> None:
            self.seen.append(End(who, outcome, data, result, complete))

        unwatch = self.broker.watch(known.job, watcher)
        known.beyond = True
        if who % 3:
            known.watchers.append(who)
        else:
            unwatch(self.now)

    def look_up(self, known: PolicyJob | None) -> None:
        """Read what is kept of a job that has ended."""
        if known is None:
            return
        job = self.broker.archive.by_handle(known.job.handle)
        assert job is known.job
        assert self.broker.table.by_handle(job.handle) is None
        read: list[bytes | None] = []
        self.broker.archive.read(job, read.append)
        self.answer_readings()
        assert read == [known.workload if known.state == DEAD else known.brought]

    def reload(self, rules: int) -> None:
        self.model.reload(self.choices[rules])
        self.broker.operations.set_policies(policies(self.choices[rules]), self.now)

    # What is always true

    def functions_are_known(self) -> None:
        """Those that are about to be forgotten, as nothing is owed any more, may still be there."""
        expected = self.model.functions()
        assert expected <= set(self.broker.functions.by_name)
        for name in set(self.broker.functions.by_name) - expected:
            function = self.broker.functions.by_name[name]
            assert function.throttle is not None
            assert function.throttle.suspended or 0 < function.due <= self.now
            assert self.broker.timers.deadline <= self.now

    def to_be_woken(self, function: Function) -> int:
        """Where jobs start at a rate, those who are awake wake others."""
        available = min(super().to_be_woken(function), self.model.available(function.name))
        return int(min(available, 1) if self.model.rate(function.name) is not None else available)

    @invariant()
    def functions_have_their_policies(self) -> None:
        for name, function in self.broker.functions.by_name.items():
            shown = self.model.policy(name)
            assert function.policy == (None if shown is None else CLASSIC.with_settings(shown))
            assert function.bytes == self.model.bytes_of(name)
            assert function.kept == sum(known.function == name for known in self.model.past)
            assert function.throttled == self.model.throttled(name)
            assert (function.throttle is not None and function.throttle.paused) == (name in self.model.paused)
            for priority in (HIGH, NORMAL, LOW):
                in_ring = function in self.broker.dispatcher.rings[priority]
                there = function.lanes.counts[priority] > 0 or priority in function.lanes.overflow
                assert in_ring == (there and not function.throttled)

    @invariant()
    def what_has_ended_is_known_until_its_time_is_over(self) -> None:
        archive = self.broker.archive
        assert len(archive.jobs) == len(self.model.past)
        assert set(archive.jobs.values()) == {known.job for known in self.model.past}
        for known in self.model.past:
            job = known.job
            assert (job.state, job.since, job.due) == (known.state, known.ended, known.until)
            assert (job.size, job.place, job.retries) == (known.kept_size, known.place, known.retries)
            assert (job.stored, job.reply is not None) == (known.stored, known.storing)
            assert life_of(archived_of(job)) == known.life()
            assert (job.worker, job.clients, job.history) == (None, (), None)
            assert known.state == DEAD or job.workload in (b"", known.brought)
        for name in FUNCTIONS:
            for unique in (b"u", b"v"):
                key = name, unique, b""
                expected = self.model.find(key) or self.model.named(key)
                assert self.broker.named(name, unique) is (expected and expected.job)
            function = self.broker.functions.by_name.get(name)
            for dead in (False, True):
                shelf = self.model.shelf(name, dead)
                found: Counted | None = None
                if function is not None:
                    found = archive.shelf(function) if dead else archive.ended.results(function)
                assert [known.job for known in shelf] == list(found.in_order() if found else ())
                assert sum(known.kept_size for known in shelf) == (found.bytes if found else 0)

    @invariant()
    def the_dead_are_grouped_or_set_aside(self) -> None:
        ended = self.broker.archive.ended
        dead = [known for known in self.model.past if known.state == DEAD]
        for name, function in self.broker.functions.by_name.items():
            expected: dict[str, list[Job]] = {}
            for known in self.model.dead(name):
                expected.setdefault(self.model.reason(known), []).append(known.job)
            groups = ended.groups.of(function)
            assert {reason: list(group.in_order()) for reason, group in groups.items()} == expected
            assert ended.dead(function) == sum(known.function == name for known in dead)
        reviews: dict[str, set[Job]] = {}
        for known in dead:
            if known.review is not None:
                reviews.setdefault(known.review, set()).add(known.job)
        assert {name: set(found.jobs.values()) for name, found in ended.reviews.by_name.items()} == reviews

    @invariant()
    def attempts_are_counted(self) -> None:
        for known in self.model.jobs:
            life = known.job.history
            assert (life is not None) >= known.beyond
            if life is not None:
                assert (life.settings, life.counts) == (known.settings, +known.counts)
                assert [tuple(attempt) for attempt in life.attempts] == known.attempts
                assert life.expires == (known.expires if known.state != RUNNING else 0.0)
                assert len(life.watchers) == len(known.watchers)
            if known.state == RUNNING and known.worker is not None and known.worker.extended:
                assert history_of(known.job).lease == known.lease

    def teardown(self) -> None:
        """Nothing holds anything back any more."""
        if not hasattr(self, "broker"):
            return
        for name in FUNCTIONS:
            self.resume(name)
            self.hear()
        for peer in self.peers:
            self.reset_abilities(peer)
            self.hear()
        self.reload(len(self.choices) - 1)
        self.hear()
        super().teardown()
        self.pass_time(100 * 86400.0)
        assert not self.model.past
        if not self.model.draining:
            assert self.broker.timers.deadline == inf
            assert self.broker.timers.next_due(self.now) == inf

    def store_answers(self) -> bool:
        self.pass_time(0.0)
        return False


class LifeMachineTests(SynchronousTestCase):
    def test_any_sequence_of_events(self) -> None:
        run_machine(LifeMachine, 30)
