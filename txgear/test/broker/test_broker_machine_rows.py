"""
Any sequence of events, with a store and next to no memory: nearly all jobs are rows of the store, which
answers late, in its own order, and of what was a while ago.

The model says which jobs there are, whose turn it is, what is told of them and what the store has in the end;
which of them are in memory, and when, it does not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.model import AskedReply, Function, Job, Peer
from txgear.broker.paging import JOB_BYTES, Pager
from txgear.broker.records import PAUSED, Batch, LaneCount, lane_of
from txgear.broker.rows.wakings import AHEAD, PATIENCE
from txgear.broker.rules import Rules
from txgear.broker.sharedlanes import SharedLanes
from txgear.broker.states import PAGED, QUEUED
from txgear.broker.tenants import Quota
from txgear.errors import ServerError
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import ERROR, JOB_CREATED, NOOP, PRIORITIES, WORK_COMPLETE, WORK_FAIL
from txgear.stores.memory import MemoryStore
from txgear.test.broker.test_broker_machine import drawn_from
from txgear.test.support.broker import FakeOutbox, record
from txgear.test.support.clock import START
from txgear.test.support.extras import RuleBasedStateMachine, initialize, invariant, rule, run_machine, st
from txgear.test.support.lazyjournal import LazyJournal
from txgear.test.support.model_rows import (
    FUNCTIONS,
    PEERS,
    READY,
    ROWS_EVENTS,
    RUNNING,
    STORING,
    WAITING,
    RowJob,
    RowsModel,
)

BUDGETS = (0, JOB_BYTES, 3 * JOB_BYTES, 10 * JOB_BYTES)


class RowsMachine(RuleBasedStateMachine):
    """Each event happens to both."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.outbox = FakeOutbox()
        self.model = RowsModel()
        self.store = MemoryStore()
        self.store.open()
        self.handles: list[bytes] = []
        self.expected: list[tuple[Peer, bytes, int]] = []
        self.turns = False
        # Whether lanes were made anew, with those before rows that had come before them.
        self.rearranged = False
        # Jobs of which the store is asked whether it has them already, with the answers that wait for that.
        self.asked: dict[int, AskedReply] = {}
        # Those included that have ended.
        self.all_jobs: dict[int, RowJob] = {}

    @initialize(budget=st.sampled_from(BUDGETS))
    def start(self, budget: int) -> None:
        self.budget = budget
        self.begin()

    def begin(self) -> None:
        self.journal = LazyJournal(self.store)
        self.broker = Broker(self.outbox, Rules(b"H:test", queue_memory=self.budget), self.journal)
        self.journal.listener = self.broker.store_events
        self.peers: list[Peer] = []
        # Of servers before, and of others.
        self.lower = range(self.model.last_number + 1, self.model.last_number + 50)
        self.model.last_number += 50
        self.broker.store_events.reserve(self.model.last_number + 1, 100_000)
        self.put_quotas()
        self.put_policies()
        self.broker.store_events.begin(self.store.lanes(), self.store.values(), self.now)
        self.rearranged = False
        for tenant in (None, "a"):
            self.come(tenant)

    @rule(event=drawn_from(ROWS_EVENTS))
    def happen(self, event: tuple[str, dict[str, Any]]) -> None:
        self.step(event)

    def step(self, event: tuple[str, dict[str, Any]]) -> None:
        name, arguments = event[0], event[1].copy()
        if "index" in arguments:
            arguments["peer"] = self.peers[arguments.pop("index") % len(self.peers)]
        if "which" in arguments:
            which = arguments.pop("which")
            arguments["handle"] = self.handles[-1 - which % len(self.handles)] if self.handles else b"H:no:1"
        getattr(self, name)(**arguments)
        self.note_those_who_have_begun()
        self.hear()

    def hear(self) -> None:
        """Clients are told what they are to be told, and nothing else."""
        told = [(peer, bytes(said[1]), said[0]) for peer, said in self.outbox.take() if said != (NOOP,)]
        assert Counter(told) == Counter(self.expected), (told, self.expected)
        self.expected = []

    def expect(self, job: RowJob, kind: int) -> None:
        self.expected += [(client, job.handle, kind) for client in job.clients]

    @property
    def pager(self) -> Pager:
        assert self.broker.pager is not None
        return self.broker.pager

    def note_those_who_have_begun(self) -> None:
        self.note_what_was_found()
        self.note_begun()

    def note_begun(self) -> None:
        """When a job has its time depends on when it was read: it is behind all others then."""
        begun = []
        for known in self.model.jobs.values():
            job = self.broker.table.jobs.get(known.number)
            if known.state == WAITING and job is not None and job.state in (QUEUED, PAGED):
                assert known.due <= self.now, "it is too early"
                assert job.place > known.place
                known.place = job.place
                begun.append(known)
        for known in sorted(begun, key=lambda known: known.place):
            self.model.arrive(known)
        self.model.last_number = max(self.model.last_number, *[known.place for known in begun], 0)

    # Peers

    def come(self, tenant: str | None) -> None:
        if len(self.peers) < len(PEERS):
            peer = Peer(len(self.peers), "192.0.2.1")
            self.broker.connect(peer)
            if tenant is not None:
                self.broker.identify(peer, self.broker.tenants.get(tenant))
            self.peers.append(peer)

    def go(self, peer: Peer) -> None:
        if len(self.peers) < 2:
            return
        self.peers.remove(peer)
        for job in list(self.model.jobs.values()):
            if peer in job.clients:
                job.clients = [client for client in job.clients if client is not peer]
                if not job.clients and not job.background and job.state != RUNNING:
                    self.model.end(job)
        for job in self.at(peer):
            self.lose_job(job)
        self.broker.disconnect(peer, self.now)
        self.broker.expire(self.now)

    def at(self, peer: Peer) -> list[RowJob]:
        """What a worker has."""
        numbers = [job.number for job in peer.running.values()]
        return [self.model.jobs[number] for number in numbers]

    def can_do(self, peer: Peer, name: bytes) -> None:
        self.broker.can_do(peer, name, 0.0, self.now)

    def cant_do(self, peer: Peer, name: bytes) -> None:
        for job in self.at(peer):
            if job.function == name:
                self.lose_job(job)
        self.broker.cant_do(peer, name, self.now)

    def lose_job(self, job: RowJob) -> None:
        if not self.model.lose(job):
            self.model.end(job)

    # Jobs

    def submit(
        self, peer: Peer, name: bytes, workload: bytes, priority: int, background: bool, delay: float
    ) -> None:
        job = self.broker.submit(peer, name, b"", workload, self.now, priority, background, delay=delay)
        self.handles.append(job.handle)
        tenant = None if peer.tenant is None else peer.tenant.name
        number = self.model.next_number()
        assert job.number == number
        known = RowJob(number, job.handle, name, priority, workload, background, tenant, place=number)
        self.model.jobs[number] = self.all_jobs[number] = known
        known.due = self.now + delay if delay else 0.0
        if background:
            known.state = STORING
        else:
            known.clients.append(peer)
            self.begin_to_wait(known)

    def submit_named(self, peer: Peer, name: bytes, unique: bytes, priority: int, background: bool) -> None:
        """A submit of a job that may be there already, wherever it is."""
        job = self.broker.submit(peer, name, unique, b"one", self.now, priority, background)
        known = self.model.jobs.get(job.number)
        if known is not None:
            assert (known.function, known.unique) == (name, unique)
            self.join(known, [] if background else [peer], background)
            return
        tenant = None if peer.tenant is None else peer.tenant.name
        number = self.model.next_number()
        assert job.number == number
        known = RowJob(number, job.handle, name, priority, b"one", background, tenant, unique, place=number)
        known.state = STORING
        if not background:
            known.clients.append(peer)
        self.model.jobs[number] = self.all_jobs[number] = known
        if isinstance(job.reply, AskedReply):
            self.asked[number] = job.reply
            self.model.ask(known)
            return
        assert not self.model.same(known), "there is one already"
        self.handles.append(job.handle)
        if not background:
            self.model.arrive(known)

    @staticmethod
    def join(known: RowJob, clients: list[Peer], background: bool) -> None:
        # Who asks twice is told twice.
        known.clients += clients
        known.background = known.background or background

    def note_what_was_found(self) -> None:
        """The store has answered whether some jobs are there already."""
        for number, reply in list(self.asked.items()):
            known = self.model.jobs.get(number)
            if known is None:
                # Nobody wanted it any more.
                del self.asked[number]
                continue
            if reply.asked:
                continue
            del self.asked[number]
            kind, *rest = reply.packet or (0,)
            if kind == ERROR:
                self.model.end(known)
            elif kind == JOB_CREATED and rest[0] != known.handle:
                self.model.end(known)
                (found,) = [other for other in self.model.same(known) if other.handle == rest[0]]
                self.join(found, known.clients, known.background)
            else:
                assert not self.model.same(known), "there is one already"
                self.handles.append(known.handle)
                if kind:
                    self.model.arrive_late(known)

    def begin_to_wait(self, known: RowJob) -> None:
        if known.due > self.now:
            known.state = WAITING
        else:
            self.model.arrive(known)

    def flood(
        self,
        peer: Peer,
        name: bytes,
        workload: bytes,
        priority: int,
        count: int,
        written: bool,
        delay: float,
    ) -> None:
        for _ in range(count):
            self.submit(peer, name, workload, priority, True, delay)
        if written:
            self.end()
            self.write(ends=True)

    def take_over(self, name: bytes, priority: int, count: int, lower: bool, delay: float) -> None:
        """Another server has had jobs, and they are ours now."""
        numbers = self.lower[:count]
        if lower:
            self.lower = self.lower[count:]
        else:
            numbers = range(self.model.last_number + 1, self.model.last_number + count + 1)
        due = self.now + delay if delay else 0.0
        found = [
            record(number, function=name, priority=priority, due=due, size=3, created=self.now)
            for number in numbers
        ]
        if not found:
            return
        self.store.write(Batch([(each, b"one") for each in found], (), ()))
        for each in found:
            handle = b"H:test:%d" % each.number
            known = RowJob(each.number, handle, name, priority, b"one", True, None, place=each.number)
            known.stored, known.due = True, due
            self.model.jobs[each.number] = self.all_jobs[each.number] = known
            self.handles.append(handle)
            self.begin_to_wait(known)
        lane = LaneCount(lane_of(found[0]), len(found), 3 * len(found))
        self.broker.store_events.take_over([lane], self.now)
        self.rearranged = True
        self.model.last_number = max(self.model.last_number, numbers[-1]) + 5
        self.broker.store_events.reserve(self.model.last_number + 1, 100_000)

    def lapse(self) -> None:
        """Another server may have what is stored."""
        self.broker.dispatcher.trust(self.now, self.now)

    def trust(self, seconds: float) -> None:
        self.broker.dispatcher.trust(self.now + seconds, self.now)

    def grab_unstored(self, peer: Peer) -> None:
        """What is stored is not handed out, and all else is."""
        live = self.broker.table.jobs
        able = [function.name for function in peer.abilities]
        every = [known for name in able for p in PRIORITIES for known in self.model.ready(name, p)]
        ready = [known for known in every if known.number in live and not live[known.number].stored]
        job = self.broker.grab(peer, self.now)
        assert (job is None) == (not ready), (job, ready)
        if job is not None:
            known = self.model.jobs[job.number]
            assert known in ready
            assert known.priority == min(each.priority for each in ready)
            self.model.grab(known, peer)

    def grab(self, peer: Peer) -> None:
        if self.now >= self.broker.dispatcher.trusted_until:
            self.grab_unstored(peer)
            return
        lanes = {name: function.lanes for name, function in self.broker.functions.by_name.items()}
        counts = {name: list(each.counts) for name, each in lanes.items()}
        job = self.broker.grab(peer, self.now)
        known = None if job is None else self.model.jobs[job.number]
        if job is not None and known is not None:
            assert (known.state, known.workload) == (READY, bytes(job.workload)), known
            assert known.function in {function.name for function in peer.abilities}
            assert known in self.model.ready(known.function, known.priority), "it is held back"
            assert self.model.is_next(known), known
        for priority in PRIORITIES:
            able = [f.name for f in peer.abilities if self.model.ready(f.name, priority)]
            if known is not None and known.priority == priority:
                assert known.function in able
                self.model.grab(known, peer)
                return
            assert not any(counts[name][priority] for name in able), "it could have been handed out"
            if able and self.pager.trusts(self.now):
                assert known is None, "what is lower has to wait"
                return
            assert not (able and self.journal.idle), "nobody reads what is to be handed out"
        assert known is None

    def sleep(self, peer: Peer) -> None:
        self.broker.pre_sleep(peer, self.now)

    def answer(self, peer: Peer, what: str) -> None:
        if not peer.running:
            return
        handle = next(reversed(peer.running))
        known = self.model.jobs[peer.running[handle].number]
        self.expect(known, WORK_COMPLETE if what == "work_complete" else WORK_FAIL)
        self.model.end(known)
        arguments = (b"",) if what == "work_complete" else ()
        getattr(self.broker.reports, what)(peer, handle, *arguments, self.now)

    def lose(self, peer: Peer, name: bytes) -> None:
        """A worker gets a job of this function, and loses it."""
        self.can_do(peer, name)
        self.grab(peer)
        self.cant_do(peer, name)

    # Operators

    def act(self, handle: bytes, do: Callable[[Job, RowJob], None]) -> None:
        """Something is done to a job, wherever it is, as soon as it is in memory."""

        def then(found: bool, now: float) -> None:
            if not found:
                return
            # The answer to a submit may have come a moment before, and led to this very job.
            self.note_what_was_found()
            job = self.broker.table.by_handle(handle)
            number = int(handle.rpartition(b":")[2])
            known = self.model.jobs.get(number)
            assert (job is None) == (known is None), (handle, job, known)
            if job is not None and known is not None:
                do(job, known)

        self.broker.stock.load_handles([handle], then, self.now)

    def cancel(self, handle: bytes) -> None:
        def do(job: Job, known: RowJob) -> None:
            self.expect(known, WORK_FAIL)
            self.model.end(known)
            assert self.broker.operations.cancel(handle, self.now)

        self.act(handle, do)

    def change(self, handle: bytes, able: Callable[[RowJob], bool], order: Callable[[Job], None]) -> None:
        def do(job: Job, known: RowJob) -> None:
            if known.unique:
                # Whether another of its name is in the way, those look before who call this.
                return
            expected = able(known)
            try:
                order(job)
            except ServerError:
                assert not expected, known
            else:
                assert expected, known

        self.act(handle, do)

    def reprioritise(self, handle: bytes, priority: int) -> None:
        def able(known: RowJob) -> bool:
            if known.state == RUNNING:
                return False
            if known.priority != priority:
                known.priority = priority
                self.put_behind(known)
            return True

        self.change(handle, able, lambda job: self.broker.operations.reprioritise(job, priority, self.now))

    def move(self, handle: bytes, name: bytes) -> None:
        def able(known: RowJob) -> bool:
            if known.state == RUNNING or known.function == name:
                return False
            known.function = name
            self.put_behind(known)
            return True

        self.change(handle, able, lambda job: self.broker.operations.move(job, name, self.now))

    def put_behind(self, known: RowJob) -> None:
        if known.state == READY:
            self.model.put_last(known)
            self.model.arrive(known)

    def correct(self, handle: bytes, workload: bytes) -> None:
        def able(known: RowJob) -> bool:
            if known.state == RUNNING:
                return False
            known.workload = workload
            return True

        self.change(handle, able, lambda job: self.broker.operations.correct(job, workload, self.now))

    def pause(self, name: bytes) -> None:
        self.model.paused.add(name)
        self.broker.operations.pause(name, self.now)

    def resume(self, name: bytes) -> None:
        self.model.paused.discard(name)
        self.broker.operations.resume(name, self.now)

    def set_quotas(self, bounds: dict[str, int]) -> None:
        self.model.bounds = bounds
        self.put_quotas()

    def put_quotas(self) -> None:
        self.rearranged = True
        quotas = {name: Quota(running=bound) for name, bound in self.model.bounds.items()}
        self.broker.tenants.set_quotas(quotas, self.now)

    def set_turns(self, turns: bool) -> None:
        self.turns = turns
        self.put_policies()

    def put_policies(self) -> None:
        """Functions take turns among tenants, or not."""
        self.rearranged = True
        policy = CLASSIC.with_settings({"turns": True})
        rules = [("*", policy)] if self.turns else []
        self.broker.operations.set_policies(Policies(rules), self.now)

    # The store

    def write(self, ends: bool, elsewhere: bool = False) -> None:
        self.journal.begin_write(elsewhere=elsewhere)
        if ends:
            self.end()

    def find(self, most: int, ends: bool, lost: bool) -> None:
        self.journal.begin_answers(most, lost)
        if ends:
            self.end()

    def load(self, ends: bool) -> None:
        self.journal.begin_load()
        if ends:
            self.end()

    def end(self) -> None:
        new = list(self.journal._writing.new_jobs)
        for number in new:
            known = self.model.jobs.get(number)
            if known is not None and number in self.journal.elsewhere:
                self.leave_elsewhere(known)
            elif known is not None:
                known.stored = True
                if known.state == STORING:
                    self.begin_to_wait(known)
        self.journal.end(self.now)
        self.note_those_who_have_begun()
        self.hear()

    def leave_elsewhere(self, known: RowJob) -> None:
        """Another server does it; who waits for it here, waits for one that is not stored."""
        known.background = False
        if known.state == STORING and known.clients:
            self.begin_to_wait(known)
        elif not (known.clients or known.state == RUNNING):
            self.model.end(known)

    def do_all(self) -> None:
        """Whatever was asked of the store is done."""
        self.expire()
        for _ in range(1000):
            if self.journal.idle:
                break
            self.end()
            self.journal.begin_write()
            self.end()
            self.journal.begin_answers(100, lost=False)
            self.end()
            self.journal.begin_load()
            self.end()
            self.expire()
        assert self.journal.idle, "it never comes to an end"

    def settle(self) -> None:
        """Whatever was asked of the store is done, and what it has not answered is asked again."""
        self.do_all()
        self.pass_time(PATIENCE)
        self.do_all()
        overdue = [known for known in self.model.jobs.values() if 0.0 < known.due <= self.now]
        assert not [known for known in overdue if known.state == WAITING], overdue
        self.compare_store()
        self.memory_is_bounded()
        self.nobody_waits_in_vain()

    def restart(self) -> None:
        """The server goes, and another takes its place; what is on its way is not written."""
        self.end()
        self.asked.clear()
        there = {row.number: row for row in self.store.replay(0, 10**6)}
        self.model.jobs = {}
        for number, row in there.items():
            # One that has ended, and of which that is not written, is done again.
            known = self.all_jobs[number]
            known.function, known.priority, known.place = row.function, row.priority, row.place
            known.retries, known.workload = row.retries, self.store.workloads([number])[number]
            known.due = row.due
            known.clients, known.background, known.stored = [], True, True
            self.model.jobs[number] = known
        for known in sorted(self.model.jobs.values(), key=lambda known: known.place):
            due = known.due
            self.model.arrive(known)
            if due:
                known.state, known.due = WAITING, due
        self.model.paused = {value.name for value in self.store.values() if value.kind == PAUSED}
        self.begin()

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.broker.timers.deadline <= end:
            self.now = max(self.broker.timers.deadline, self.now)
            self.broker.expire(self.now)
            self.note_those_who_have_begun()
        self.now = end

    def expire(self) -> None:
        """What is due is done."""
        if self.broker.timers.deadline <= self.now:
            self.broker.expire(self.now)
            self.note_those_who_have_begun()

    # What is always true

    @invariant()
    def it_counts_right(self) -> None:
        self.broker.check()
        jobs = list(self.model.jobs.values())
        assert len(self.broker.table) == len(jobs), (len(self.broker.table), jobs)
        for number, job in self.broker.table.jobs.items():
            assert job.background == self.model.jobs[number].background, job
        for name in FUNCTIONS:
            function = self.broker.functions.by_name.get(name)
            own = [job for job in jobs if job.function == name]
            assert (0 if function is None else function.total) == len(own), name
            assert (0 if function is None else function.bytes) == sum(len(job.workload) for job in own), name
        for who in ("a", "b"):
            tenant = self.broker.tenants.get(who)
            assert tenant.queued == sum(job.tenant == who for job in jobs), who

    # When the store has done all that it was asked for

    def compare_store(self) -> None:
        kept = {record.number: record for record in self.store.replay(0, 10**6)}
        expected = {number: job for number, job in self.model.jobs.items() if job.stored}
        assert kept.keys() == expected.keys(), (kept.keys(), expected.keys())
        for number, job in expected.items():
            record = kept[number]
            assert (record.function, record.priority, record.place, record.retries) == (
                job.function,
                job.priority,
                job.place,
                job.retries,
            ), (record, job)
            assert self.store.workloads([number])[number] == job.workload

    def memory_is_bounded(self) -> None:
        """What is in memory beyond the budget has a reason; nobody waits for what is behind rows."""
        for function in self.broker.functions.by_name.values():
            for job in self.behind_rows(function):
                rows = function.lanes.rows(job.priority).get(job.tenant)
                read_ahead = rows is None or job.place <= rows.read_to or self.rearranged
                assert self.model.jobs[job.number].clients or read_ahead, job
        pinned = [job for job in self.model.jobs.values() if job.state == RUNNING or job.clients]
        # A page of those whose time comes is read where there was room before.
        pinned += [job for job in self.model.jobs.values() if 0.0 < job.due <= self.now + AHEAD + PATIENCE]
        spare = sum(
            (len(function.workers) + 1) * len(PRIORITIES) * 3
            for function in self.broker.functions.by_name.values()
        )
        most = self.budget // JOB_BYTES + len(pinned) + spare
        assert len(self.broker.table.jobs) <= most, (self.broker.table.jobs, most)

    @staticmethod
    def behind_rows(function: Function) -> list[Job]:
        """Jobs in memory before which there are rows of the same lane."""
        lanes = function.lanes
        every = (
            [party.lanes for party in lanes.parties.values()] if isinstance(lanes, SharedLanes) else [lanes]
        )
        overflows = [overflow for each in every for overflow in each.overflow.values()]
        return [
            job for overflow in overflows for job in set(overflow.upcoming()) - set(overflow.before_rows())
        ]

    def nobody_waits_in_vain(self) -> None:
        self.trust(1e6)
        for peer in self.peers:
            assert peer.barred is None, "nothing is being read any more"
            if peer.asleep:
                for function in peer.abilities:
                    ready = [job for p in PRIORITIES for job in self.model.ready(function.name, p)]
                    assert not ready or function.woken, (peer, function, ready)

    def teardown(self) -> None:
        """In the end a worker does all that is left."""
        if not hasattr(self, "broker"):
            return
        self.trust(1e6)
        self.settle()
        self.trust(1e6)
        self.pass_time(300.0)
        for name in FUNCTIONS:
            self.resume(name)
        self.set_quotas({})
        for peer in self.peers[1:]:
            self.go(peer)
            self.hear()
        (last,) = self.peers
        while last.running:
            self.answer(last, "work_complete")
        for name in FUNCTIONS:
            self.can_do(last, name)
        for _ in range(1000):
            if not self.model.jobs:
                break
            self.settle()
            self.grab(last)
            self.answer(last, "work_complete")
            self.hear()
            self.it_counts_right()
        assert not self.model.jobs
        self.settle()
        assert not self.broker.table.jobs
        assert not self.pager.used


class RowsMachineTests(SynchronousTestCase):
    def test_any_sequence_of_events(self) -> None:
        run_machine(RowsMachine)
