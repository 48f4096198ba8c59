"""
Any sequence of events, with a store: L{txgear.test.broker.test_broker_machine} where
background jobs are kept.

Commits, refusals and reads happen when they happen, so little fits into memory
that queues are longer than it, some of what the store has cannot be read for
now, and the server may start again with that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.model import Job, Peer
from txgear.broker.paging import PATIENCE, READ_SHARE
from txgear.broker.records import READY, UNREADABLE_SECONDS, InOrder
from txgear.broker.rules import Rules
from txgear.broker.sharedlanes import SharedLanes
from txgear.broker.states import PAGED, STORING
from txgear.protocol.constants import ERROR, JOB_CREATED, LOW, NORMAL, PRIORITIES
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
from txgear.test.support.broker import overflowed
from txgear.test.support.clock import START
from txgear.test.support.extras import initialize, invariant, rule, run_machine
from txgear.test.support.fakejournal import FakeJournal
from txgear.test.support.model import BrokerModel
from txgear.test.support.model_jobs import ModelJob

BUDGET = 10**6
"""Room for all jobs: what is not in memory is the affair of L{test_broker_machine_rows}."""

STORED_EVENTS: dict[str, tuple[int, dict[str, Iterable[Any]]]] = EVENTS | {
    "flood": (
        4,
        {
            "name": FUNCTIONS,
            "priority": PRIORITIES,
            "count": (4, 8),
            "workload": (b"one", LONG, b""),
            "named": (False, False, True),
        },
    ),
    "crash": (2, {"index": PEERS, "name": FUNCTIONS}),
    "commit": (5, {"count": (1, 1, 3)}),
    "join": (4, {"index": PEERS, "young": PLACES, "background": (False, True, True)}),
    "refuse": (2, {"which_one": (0, -1)}),
    "read": (5, {"missing": (False, False, False, True)}),
    "misread": (
        6,
        {
            "index": PEERS,
            "name": FUNCTIONS,
            "workload": (b"one", LONG),
            "before": ("", "join", "cancel", "sleep"),
            "most": (1, 2, 100),
            "bad": range(1, 8),
        },
    ),
    "retry": (3, {"index": PEERS, "first": ("", "", "join", "cancel"), "bad": (0, 0, 1, 7)}),
    "unfit": (3, {"which": PLACES, "workload": (b"two", LONG), "read": (False, True)}),
    "down": (1, {"refusal": (None, None, "no")}),
    "restart": (1, {"away": (0.0, 3.0), "prefix": (b"H:test", b"100%d")}),
    "offer_again": (
        4,
        {
            "index": PEERS,
            "name": FUNCTIONS,
            "sent": (False, False, True),
            "meanwhile": ("", "", "correct", "move", "grab", "wait"),
            "claimed": (7, 2),
            "attempt": (0, 0, 0, 1),
            "then": (*ANSWERS, "lost", "lost"),
        },
    ),
}
"""The same where there is a journal."""


class WatchedJournal(FakeJournal):
    """Holds what is read against the rules, at the moment when it is asked for."""

    def __init__(self, machine: BrokerMachine, budget: int) -> None:
        super().__init__()
        self._machine = machine
        self._budget = budget

    def load(self, jobs: list[Job]) -> None:
        super().load(jobs)
        function, priority = jobs[0].function, jobs[0].priority
        lanes = function.lanes
        ready = lanes.counts[priority]
        overflow = [job for job in overflowed(lanes) if job.priority == priority]
        if isinstance(lanes, SharedLanes):
            overflow = [job for job in overflow if job.tenant is jobs[0].tenant]
            ready = lanes.parties[jobs[0].tenant].lanes.counts[priority]
        assert jobs == [job for job in overflow if job in jobs], "they are of one lane, in order"
        assert jobs[0] is overflow[0]
        assert not any(job.loaded for job in jobs)
        assert function.workers
        size = sum(job.size for job in jobs)
        assert len(jobs) == 1 or size <= self._budget // READ_SHARE
        pager = self._machine.broker.pager
        assert pager is not None
        missing = max(len(function.workers) - lanes.counts[priority], 0 if ready else 1)
        little = not ready and pager.used <= self._budget * (1 + 1 / READ_SHARE)
        assert len(jobs) <= missing or little or pager.used + size <= self._budget
        assert not any(map(len, pager._asking[:priority])), "high lanes are read first"
        self._machine.model.read_until = self._machine.now + PATIENCE


class StoredMachine(BrokerMachine):
    """The same with a journal."""

    journal: FakeJournal

    @initialize(retries=RETRIES, wakeups=WAKEUPS, grace=GRACES)
    def start(self, retries: int, wakeups: int, grace: float) -> None:
        self.journal = WatchedJournal(self, BUDGET)
        self.broker_rules = Rules(b"H:test", retries, wakeups, BUDGET, grace)
        self.broker = Broker(self.outbox, self.broker_rules, self.journal)
        self.model = BrokerModel(retries, durable=True, budget=BUDGET)
        self.model.absences.grace = grace
        self.open_doors()

    @rule(event=drawn_from(STORED_EVENTS))
    def happen(self, event: tuple[str, dict[str, Any]]) -> None:
        self.step(event)
        self.compare_changes()

    def compare_changes(self) -> None:
        # What a worker has sent makes a life of its job; that is the other machine's affair.
        # Nor is where the store finds it.
        moves = [move._replace(history=None, kind=READY, wake=0.0) for move in self.journal.updates]
        assert moves == self.model.updates
        assert self.journal.deleted == self.model.deleted

    def flood(self, name: bytes, priority: int, count: int, workload: bytes, named: bool) -> None:
        """More jobs at once than there is memory for."""
        for _ in range(count):
            unique = b"%d" % len(self.handles) if named else b""
            self.submit(self.peers[0], name, unique, workload, priority, True, 0.0)
        self.commit(count)

    def crash(self, peer: Peer, name: bytes) -> None:
        """The next job of this function is lost, and again if it is still the next."""
        for _ in range(2):
            self.can_do(peer, name, 0.0)
            self.hear()
            self.grab(peer)
            self.hear()
            self.reset_abilities(peer)
            self.hear()
        self.can_do(peer, name, 0.0)

    def join(self, peer: Peer, young: int, background: bool) -> None:
        """One more asks for a job that there is, if any has a name."""
        named = [known for known in self.model.jobs if known.key is not None]
        self.join_first(peer, named[-1 - young % len(named) :] if named else [], background)

    def join_first(self, peer: Peer, jobs: list[ModelJob], background: bool) -> None:
        """One more asks for the first of these that has a name."""
        for known in jobs:
            if known.key is not None:
                same = known.function, known.unique, known.workload, known.priority
                self.submit(peer, *same, background, 0.0)
                return

    def commit(self, count: int) -> None:
        """The first jobs on their way are stored, if there are any."""
        for _ in range(min(count, len(self.journal.adding))):
            reply = self.journal.adding[0].reply
            job = self.journal.settle()
            self.broker.store_events.stored(iter([job]), self.now)
            assert reply.packet == (JOB_CREATED, job.handle)
            if (known := self.known(job)) is not None:
                self.model.commit(known, self.now)

    def refuse(self, which_one: int) -> None:
        """The first or the last job on its way cannot be stored; those who asked for it are told."""
        if not self.journal.adding:
            return
        job, _, _, reply = self.journal.adding.pop(which_one)
        if (known := self.known(job)) is not None:
            if known.state == STORING:
                for client in known.clients:
                    self.owed[client, job.handle] -= 1
            self.model.refuse(known)
        self.refusals += 1
        self.broker.store_events.refused(job, "no", self.now)
        assert reply.packet == (ERROR, b"QUEUE_ERROR", b"no")

    def read(self, missing: bool) -> None:
        """What was asked for is read, but for one that the store has lost."""
        if self.journal.loading is None:
            return
        found = self.journal.fetch()
        self.model.read_until = -inf
        lost = found[0][0] if missing else None
        wanted = self.all_known(job for job, _ in found)
        missing_one = next((known for known in wanted if known.job is lost), None)
        self.model.read(wanted, missing_one, (), self.now)
        self.broker.store_events.loaded(
            [(job, None if job is lost else workload) for job, workload in found], self.now
        )

    def all_known(self, jobs: Iterable[Job]) -> list[ModelJob]:
        """What the model knows of those of them that have not ended."""
        return [known for job in jobs for known in self.model.jobs if known.job is job]

    def misread(self, peer: Peer, name: bytes, workload: bytes, before: str, most: int, bad: int) -> None:
        """
        Some of what is asked for cannot be read, and some may be still to come. Where nothing is
        asked for, that is made likely first.

        @param before: what happens just before.
        """
        if self.journal.loading is None:
            if name not in self.model.abilities[peer]:
                self.can_do(peer, name, 0.0)
            self.flood(name, NORMAL, 4, workload, named=True)
            self.hear()
        asked = self.all_known(self.journal.loading or ())
        if before == "join":
            self.join_first(peer, asked, False)
        elif before == "cancel" and asked:
            self.cancel(asked[0].job.handle)
        elif before == "sleep" and asked:
            self.wait_for_all(peer, asked)
        self.hear()
        self.read_some(most, bad)

    def wait_for_all(self, peer: Peer, asked: list[ModelJob]) -> None:
        """Of this lane there is nothing but what is asked for; a worker waits for it beside a lower one."""
        name, priority = asked[0].function, asked[0].priority
        for known in self.model.lane(asked[0]).copy():
            if known not in asked:
                self.cancel(known.job.handle)
                self.hear()
        if name not in self.model.abilities[peer]:
            self.can_do(peer, name, 0.0)
        if priority < LOW:
            self.submit(peer, name, b"", b"one", LOW, False, 0.0)
        self.hear()
        self.pre_sleep(peer)

    def read_some(self, most: int, bad: int) -> None:
        """
        @param most: how many are settled.
        @param bad: a bit for each that cannot be read, three in turn.
        """
        if self.journal.loading is None:
            return
        found = self.journal.fetch(most)
        more = self.journal.loading is not None
        if not more:
            self.model.read_until = -inf
        unreadable = [job for index, (job, _) in enumerate(found) if bad >> index % 3 & 1]
        put_off = self.all_known(unreadable)
        self.model.read(self.all_known(job for job, _ in found), None, put_off, self.now)
        good = [(job, workload) for job, workload in found if job not in unreadable]
        self.broker.store_events.loaded(good, self.now, unreadable, more)

    def retry(self, peer: Peer, first: str, bad: int) -> None:
        """
        The time has come for all that could not be read; that may go on.

        @param first: what is done to one of them before.
        """
        unreadable = [known for known in self.model.jobs if known.unreadable]
        if not unreadable:
            return
        if first == "join":
            self.join_first(peer, unreadable, False)
        elif first == "cancel":
            self.cancel(unreadable[0].job.handle)
        self.hear()
        self.pass_time(UNREADABLE_SECONDS)
        while (loading := self.journal.loading) and self.broker.store_events.unreadable.isdisjoint(loading):
            self.read(missing=False)
            self.hear()
        self.read_some(100, bad)

    def unfit(self, handle: bytes, workload: bytes, read: bool) -> None:
        """
        The store does not keep the new workload that a job has got.

        @param workload: what it gets first, where it has no new one.
        @param read: whether what was asked for is read before.
        """
        known = self.find(handle)
        if known is not None and known.stored and not self.journal.corrected(known.job.number):
            self.correct(handle, workload)
            self.hear()
        if read:
            self.read(missing=False)
            self.hear()
        if known is None or not known.stored or not self.journal.corrected(known.job.number):
            return
        old = self.journal.refuse_workload(known.job.number)
        self.model.take_workload_back(known, old)
        self.broker.store_events.workload_refused(known.job.number, len(old), self.now)

    def down(self, refusal: str | None) -> None:
        """Jobs can be stored no more, or again."""
        self.journal.unavailable = refusal

    def restart(self, away: float, prefix: bytes) -> None:
        """The server goes, and another takes its place after a while."""
        self.note_absences()
        self.compare_store()

        # Not before 1970, however often the clock was set back: 0.0 is never.
        self.now = max(self.now + away + self.model.offset, START)
        self.model.count_anew()
        self.journal.restart()
        self.model.read_until = -inf
        self.broker = Broker(self.outbox, replace(self.broker_rules, prefix=prefix), self.journal)
        self.model.counter += 5
        self.broker.store_events.reserve(self.model.counter + 1, 10_000)
        self.broker.store_events.begin(self.journal.lanes(), [], self.now)
        self.load_all()
        before = {known.job.number: known for known in self.model.jobs}
        for number, job in self.broker.table.jobs.items():
            old = before[number].job
            for name in ("handle", "unique", "key", "size", "priority", "reducer", "background", "stored"):
                assert getattr(job, name) == getattr(old, name), name
            before[number].job = job
        self.model.restart(self.now)
        self.arrange()
        self.open_doors()

    def load_all(self) -> None:
        """All that the store has comes into memory: there is room."""
        self.broker.stock.load(InOrder(0, 10**9), lambda found, now: None, self.now)
        while self.journal.asking:
            self.journal.answer(self.now)

    def offer_again(
        self, peer: Peer, name: bytes, sent: bool, meanwhile: str, claimed: int, attempt: int, then: str
    ) -> None:
        """
        A worker has jobs over a restart of the server.

        @param sent: whether it has sent a part of the last one.
        @param meanwhile: what happens before it comes back.
        @param claimed: a bit for each of the jobs that it has then.
        @param then: what becomes of them; C{lost} where it gives them up.
        """
        self.flood(name, NORMAL, 4, b"one", named=False)
        self.settle_store()
        key = self.get_jobs(peer, name, 2)
        if sent and self.model.running[peer]:
            self.answer(peer, True, b"", "work_data")
            self.hear()
        self.restart(0.0, b"H:test")
        self.hear()
        offer = next(offer for offer in reversed(self.offers) if offer.key == key)
        handle = next(reversed(offer.jobs), b"H:test:0")
        if meanwhile == "correct":
            self.correct(handle, b"two")
        elif meanwhile == "move":
            self.move(handle, FUNCTIONS[0] if name != FUNCTIONS[0] else FUNCTIONS[1])
        elif meanwhile == "grab":
            self.settle_store()
            self.grab(self.peers[0])
        elif meanwhile == "wait":
            self.pass_time(3.0)
        self.hear()
        self.come_back_with(offer, claimed, attempt, "" if then == "lost" else then)
        if then == "lost":
            self.reset_abilities(self.peers[-1])

    def settle_store(self) -> None:
        """What it was asked for is done."""
        while StoredMachine.store_answers(self):
            self.hear()

    def store_answers(self) -> bool:
        if self.journal.adding:
            self.commit(1)
        elif self.journal.loading is not None:
            self.read(missing=False)
        else:
            return False
        return True

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "broker"):
            self.memory_is_counted_and_no_lane_is_stuck()
            self.compare_store()

    def compare_store(self) -> None:
        """The store has what a server is to find that starts now."""
        kept = [record._replace(history=None, kind=READY, wake=0.0) for record in self.journal.kept()]
        assert kept == self.model.records()

    # What is always true

    @invariant()
    def memory_is_counted_and_no_lane_is_stuck(self) -> None:
        pager = self.broker.pager
        assert pager is not None
        assert pager.used == self.model.used()
        assert self.broker.store_events.unreadable == {
            known.job for known in self.model.jobs if known.unreadable
        }
        loading = [known for known in self.model.jobs if known.job in (self.journal.loading or ())]
        coming = {(known.function, known.priority) for known in loading if known.state == PAGED}
        if self.journal.loading is not None:
            coming |= {
                (function.name, priority) for priority in PRIORITIES for function in pager._asking[priority]
            }
        for name, priority in self.model.lanes:
            self.nothing_is_stuck(name, priority, (name, priority) in coming)

    def nothing_is_stuck(self, name: bytes, priority: int, coming: bool) -> None:
        """
        @param coming: whether something of this lane is being read.
        """
        overflow = self.model.overflow(name, priority)
        assert not (overflow and overflow[0].loaded)
        if overflow and len(self.model.front(name, priority)) < self.model.able(name):
            assert coming, "nothing waits that nobody will read"


class StoredMachineTests(SynchronousTestCase):
    def test_any_sequence_of_events(self) -> None:
        run_machine(StoredMachine)
