"""Tests of L{txgear.broker.life.storeevents}: what a server that starts again makes of what was kept."""

from __future__ import annotations

from typing import Any

from txgear.broker.history import Attempt, History
from txgear.broker.keys import key_of
from txgear.broker.model import Job
from txgear.broker.records import DEAD as DEAD_KIND
from txgear.broker.records import KEPT, PAUSED, SCHEDULED, JobRecord, LaneCount, StoredValue, lane_of
from txgear.broker.rights import SEE
from txgear.broker.states import DEAD, DELAYED, DONE, PAGED, QUEUED
from txgear.errors import AccessDenied
from txgear.protocol.constants import HIGH, LOW, WORK_COMPLETE, WORK_FAIL
from txgear.test.support.broker import (
    BrokerFixture,
    BrokerTestCase,
    DurableBrokerTestCase,
    queued,
    record,
)
from txgear.test.support.clock import START


class RestoreTests(DurableBrokerTestCase):
    def restored(self, *records: JobRecord, workload: bytes = b"work") -> list[Job]:
        """A server finds these; each that has a size has this workload."""
        for found in records:
            self.journal.put(found, workload if found.size else b"")
        return self.fixture.restart()

    def order(self, function: bytes = b"f") -> list[int]:
        """What a worker is handed, while the store answers at once."""
        worker, numbers = self.fixture.worker(function), []
        while (job := self.fixture.grab(worker)) is not None or self.journal.loading is not None:
            if job is not None:
                numbers.append(job.number)
            if self.journal.loading is not None:
                self.fixture.read()
        return numbers

    def test_every_field_comes_back(self) -> None:
        kept = JobRecord(7, 12, b"H:other", b"g\xff", b"u" * 64, None, b"reducer", HIGH, START + 5.5, 3, 4)
        (job,) = self.restored(kept)
        self.assertEqual((job.number, job.place, job.handle), (7, 12, b"H:other:7"))
        self.assertEqual((job.function.name, job.unique, job.key), (b"g\xff", b"u" * 64, b"u" * 64))
        self.assertEqual(
            (job.reducer, job.priority, self.broker.lifecycle.begins(job), job.retries),
            (b"reducer", HIGH, START + 5.5, 3),
        )
        self.assertEqual((job.size, job.workload, job.loaded), (4, b"", False))
        self.assertEqual((job.background, job.stored, job.reply, job.clients), (True, True, None, ()))
        self.assertEqual((job.state, self.fixture.memory), (DELAYED, 0))

    def test_so_does_what_was_submitted(self) -> None:
        client = self.fixture.connect()
        self.fixture.store(b"one", unique=b"-", priority=LOW, reducer=b"r")
        self.fixture.submit(client)
        self.fixture.submit(None)
        (job,) = self.fixture.restart()
        self.assertEqual((job.handle, job.unique, job.reducer), (b"H:test:1", b"-", b"r"))
        self.assertEqual((job.priority, job.size, job.key), (LOW, 3, key_of(b"-", b"one")))

    def test_it_is_done_as_any_other(self) -> None:
        (job,) = self.restored(record(7, size=4))
        client, worker = self.fixture.connect(), self.fixture.worker(b"f")
        self.fixture.read()
        self.assertIs(self.fixture.grab(worker), job)
        self.assertEqual((job.workload, self.fixture.memory), (b"work", 4))
        self.assertIs(self.broker.table.by_handle(b"H:test:7"), job)
        self.complete(worker, job)
        self.assertEqual((self.journal.deleted, self.journal.kept(), self.fixture.memory), ([7], [], 0))
        self.assertEqual(self.fixture.heard(client), [])

    def test_handles_keep_their_meaning_whatever_their_prefix(self) -> None:
        prefixes = (b"H:test", b"H:old", b"100%d", b"H:a:b", b"%")
        found = [record(number, prefix=prefix) for number, prefix in enumerate(prefixes, 1)]
        jobs = self.restored(*found)
        for job, prefix in zip(jobs, prefixes, strict=True):
            self.assertEqual(job.handle, prefix + b":%d" % job.number)
            self.assertIs(self.broker.table.by_handle(job.handle), job)
        for wrong in (b"H:old:1", b"H:test:2", b"H:test:02", b"2", b":2", b"H:old:x", b"H:old:"):
            self.assertIsNone(self.broker.table.by_handle(wrong))
        self.fixture.cancel(jobs[2])
        self.assert_gone(jobs[2])

    def test_its_own_prefix_may_have_changed(self) -> None:
        self.fixture.store(b"work")
        (old,) = self.fixture.restart(prefix=b"H:new")
        (new,) = self.fixture.store(b"work")
        self.assertEqual((old.handle, new.handle), (b"H:test:1", b"H:new:1000"))
        self.assertEqual([kept.prefix for kept in self.journal.kept()], [b"H:test", b"H:new"])

    def test_numbers_may_be_large(self) -> None:
        (job,) = self.restored(record(2**63 - 1))
        self.assertEqual(job.handle, b"H:test:9223372036854775807")
        self.assertIs(self.broker.table.by_handle(job.handle), job)

    def test_others_join_it_by_its_unique(self) -> None:
        (job,) = self.restored(record(7, unique=b"u", size=4))
        client = self.fixture.connect()
        for each in (client, None):
            self.assertIs(self.fixture.submit(each, unique=b"u"), job)
        self.assertEqual(self.journal.adding, [])
        self.assertIsNone(job.reply_for(background=True))
        self.assertIs(self.broker.table.by_unique(b"u"), job)
        worker = self.fixture.worker(b"f")
        self.fixture.read()
        self.fixture.grab(worker)
        self.complete(worker, job)
        self.assertEqual(self.fixture.heard(client), [(WORK_COMPLETE, job.handle, b"done")])

    def test_or_by_its_workload(self) -> None:
        self.fixture.store(b"\x00one", b"two", unique=b"-")
        one, two = self.fixture.restart()
        self.assertIs(self.fixture.submit(None, unique=b"-", workload=b"\x00one"), one)
        self.assertIs(self.fixture.submit(None, unique=b"-", workload=b"two"), two)
        self.assertEqual(len(self.broker.table.jobs), 2)
        self.assertIsNone(self.broker.table.by_unique(b"-"))

    def test_but_not_by_what_joins_nothing(self) -> None:
        empty, dash = self.restored(record(1), record(2, unique=b"-"))
        self.assertEqual((empty.key, dash.key), (None, None))
        for unique in (b"", b"-"):
            self.assertNotIn(self.fixture.submit(None, unique=unique), (empty, dash))

    def test_two_of_one_unique_are_both_done_and_the_first_is_joined(self) -> None:
        found = record(1, unique=b"u"), record(2, unique=b"u"), record(3, unique=b"u", function=b"g")
        first, second, other = self.restored(*found)
        self.assertEqual((first.unique, second.unique), (b"u", b"u"))
        self.assertIs(self.fixture.submit(None, unique=b"u"), first)
        self.assertIs(self.fixture.submit(None, b"g", unique=b"u"), other)
        worker = self.fixture.worker(b"f")
        self.assertEqual(self.fixture.grab_all(worker), [first, second])
        self.complete(worker, first)
        self.assertNotIn(self.fixture.submit(None, unique=b"u"), (first, second))
        self.complete(worker, second)
        self.assertEqual(self.journal.deleted, [1, 2])

    def test_a_time_to_come_is_waited_for(self) -> None:
        (job,) = self.restored(record(7, due=START + 10))
        self.assertEqual((job.state, self.broker.lifecycle.begins(job)), (DELAYED, START + 10))
        self.fixture.pass_time(10)
        self.assertEqual((job.state, job.place), (QUEUED, 1000))

    def test_a_time_that_came_meanwhile_is_over(self) -> None:
        jobs = self.restored(record(7, due=START), record(8), record(9, due=START - 1))
        self.fixture.pass_time(0)
        self.assertEqual([job.state for job in jobs], [QUEUED] * 3)
        self.assertEqual(queued(jobs[0].function.lanes), [jobs[1], jobs[2], jobs[0]])

    def test_one_without_a_workload_is_ready_at_once(self) -> None:
        (job,) = self.restored(record(7))
        self.assertEqual(job.state, QUEUED)
        self.assertIs(self.fixture.grab(self.fixture.worker(b"f")), job)
        self.assertEqual(self.journal.loads, [])

    def test_unless_others_are_before_it(self) -> None:
        jobs = self.restored(record(1, size=4), record(2))
        self.assertEqual([job.state for job in jobs], [PAGED, PAGED])
        self.assertEqual(self.order(), [1, 2])

    def test_they_come_in_the_order_of_their_places(self) -> None:
        self.restored(record(1, 5, size=4), record(2, size=4), record(3, 9), record(4, size=4), record(7))
        self.assertEqual(self.order(), [2, 4, 1, 7, 3])

    def test_and_by_priority(self) -> None:
        self.restored(record(1, priority=LOW), record(2), record(3, priority=HIGH), record(4, priority=LOW))
        self.assertEqual(self.order(), [3, 2, 1, 4])

    def test_what_ran_is_where_it_was_and_uncounted(self) -> None:
        jobs = self.fixture.store(b"1", b"2", b"3")
        worker = self.fixture.worker(b"f")
        self.assertEqual([self.fixture.grab(worker) for _ in range(2)], jobs[:2])
        restored = self.fixture.restart()
        self.assertEqual([job.retries for job in restored], [0, 0, 0])
        self.assertEqual(self.order(), [1, 2, 3])

    def test_those_of_another_server_come_while_this_one_runs(self) -> None:
        """Behind what is in memory, and before what is submitted from then on."""
        (own,) = self.fixture.store(b"own")
        others = [record(number, size=4) for number in (5000, 5001)]
        for other in others:
            self.journal.put(other, b"work")
        self.broker.store_events.take_over([LaneCount(lane_of(others[0]), 2, 8)], self.fixture.now)
        self.broker.store_events.reserve(9000, 100)
        (later,) = self.fixture.store(b"later")
        worker = self.fixture.worker(b"f")
        found = []
        for _ in range(4):
            self.fixture.read_all()
            found.append(self.fixture.grab(worker))
        self.assertEqual([job and job.number for job in found], [own.number, 5000, 5001, later.number])
        self.assertEqual(later.number, 9000)

    def test_one_that_a_worker_has_already(self) -> None:
        """It is that worker's, whoever waits for one."""
        other = record(5000, size=4)
        self.journal.put(other, b"work")
        self.fixture = BrokerFixture(journal=self.journal, grace=10.0)
        has_it, waits = self.fixture.known_worker("ab" * 16, b"f"), self.fixture.worker(b"f")
        self.fixture.broker.absences.offer(has_it, {b"H:test:5000": 1}, self.fixture.now)
        self.fixture.broker.store_events.reserve(9000, 100)
        self.fixture.broker.store_events.take_over([LaneCount(lane_of(other), 1, 4)], self.fixture.now)
        self.assertIsNone(self.fixture.grab(waits))
        self.fixture.answer()
        self.fixture.read_all()
        self.assertIsNone(self.fixture.grab(waits))
        self.assertEqual(list(has_it.running), [b"H:test:5000"])

    def test_losses_count_on(self) -> None:
        job, other = self.restored(record(1, retries=1), record(2))
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.fixture.leave(worker)
        self.assertEqual((job.retries, job.place), (2, 1000))
        self.assertEqual(queued(job.function.lanes), [other, job])

    def test_a_turn_behind_the_others_outlives_another_restart(self) -> None:
        self.fixture.store(b"1", b"2")
        for _ in range(2):
            worker = self.fixture.worker(b"f")
            self.fixture.grab(worker)
            self.fixture.leave(worker)
        self.assertEqual([(job.number, job.place) for job in self.fixture.restart()], [(1, 3), (2, 2)])
        self.fixture.restart(first=2000)
        self.assertEqual(self.order(), [2, 1])

    def test_nothing_is_read_before_there_is_a_worker(self) -> None:
        (job,) = self.restored(record(1, size=4))
        self.assertEqual((job.state, self.journal.loads), (PAGED, []))
        self.assertEqual((job.function.lanes.paged, job.function.total), (1, 1))
        self.fixture.worker(b"f")
        self.assertEqual(self.journal.loads, [1])

    def test_new_jobs_are_behind_them(self) -> None:
        self.restored(record(1, size=4), record(2, size=4))
        self.fixture.store(b"new")
        self.assertEqual(self.order(), [1, 2, 1000])


class ListenerTests(DurableBrokerTestCase):
    """What the journal tells and asks."""

    queue_memory = 0

    def setUp(self) -> None:
        super().setUp()
        self.events = self.broker.store_events

    def test_the_numbers_that_are_left(self) -> None:
        self.events.reserve(100, 5)
        self.assertEqual((self.events.next_number, self.events.numbers_left), (100, 5))
        self.fixture.submit(None)
        self.assertEqual((self.events.next_number, self.events.numbers_left), (101, 4))

    def paged(self, count: int) -> list[Job]:
        """Jobs whose workloads are being read, for a worker that can do them."""
        jobs = self.fixture.store_waited_for(*[b"four"] * count)
        self.worker = self.fixture.worker(b"f")
        return jobs

    def test_what_has_been_read_is_handed_out(self) -> None:
        for job in self.paged(2):
            self.assertIsNone(self.fixture.grab(self.worker))
            self.fixture.read()
            self.assertIs(self.fixture.grab(self.worker), job)
        self.assertEqual(self.fixture.memory, 8)

    def test_what_has_been_read_of_several_tenants(self) -> None:
        """It was asked for before they took turns: each one's comes into a lane of its own."""
        jobs = []
        for name in ("a", "b"):
            client, unique = self.fixture.tenant(name), name.encode()
            jobs.append(self.broker.submit(client, b"f", unique, b"four", self.fixture.now, background=True))
            self.fixture.submit(client, unique=unique)
        self.fixture.commit()
        self.fixture.set(turns=True)
        self.events.loaded([(job, b"four") for job in jobs], self.fixture.now)
        self.assertEqual([job.state for job in jobs], [QUEUED, QUEUED])

    def test_some_of_it_first(self) -> None:
        jobs = self.paged(1)
        self.events.loaded([], self.fixture.now, more=True)
        self.assertEqual((jobs[0].state, self.journal.loads), (PAGED, [1]))
        self.fixture.read()
        self.assertEqual(jobs[0].state, QUEUED)

    def test_what_the_store_has_not_or_otherwise_cannot_be_done(self) -> None:
        """Somebody has changed it."""
        for workload in (None, b"other"):
            client = self.fixture.connect()
            job = self.fixture.submit(None, unique=b"u", workload=b"four")
            self.fixture.submit(client, unique=b"u")
            self.fixture.commit()
            worker = self.fixture.worker(b"f")
            self.journal.loading = None
            self.events.loaded([(job, workload)], self.fixture.now)
            self.assertEqual(self.fixture.heard(client), [(WORK_FAIL, job.handle)])
            self.assert_gone(job)
            self.fixture.leave(worker)

    def test_what_cannot_be_read_makes_way_for_the_others(self) -> None:
        (job,) = self.paged(1)
        self.journal.loading = None
        self.events.loaded([], self.fixture.now, [job])
        self.assertEqual((self.events.unreadable, job.state), ({job}, DELAYED))

    def test_of_those_that_are_not_wanted_any_more_nothing_is_taken(self) -> None:
        (job,) = self.paged(1)
        self.fixture.cancel(job)
        self.journal.loading = None
        self.events.loaded([(job, b"four")], self.fixture.now, [job])
        self.assertEqual((self.events.unreadable, job.workload), (set(), b""))


class WrittenTests(DurableBrokerTestCase):
    """What was kept in memory as it was on its way leaves it."""

    queue_memory = 0

    def test_live_and_ended_ones_and_those_that_are_gone(self) -> None:
        self.fixture.set(retries=0)
        worker = self.fixture.worker(b"f")
        (dead,) = self.fixture.store(b"")
        self.fixture.read_all()
        self.fails(worker, self.grabbed(worker, self.broker.table.jobs[dead.number]))
        jobs = self.fixture.store_waited_for(b"1", b"2", function=b"g")
        for client in list(jobs[1].clients):
            self.fixture.leave(client)
        self.broker.store_events.written([dead.number, jobs[1].number, 99], self.fixture.now)
        self.assertEqual(
            (list(self.broker.archive.jobs), list(self.broker.table.jobs)), ([], [jobs[0].number])
        )

    def test_what_was_not_answered_is_asked_again(self) -> None:
        self.fixture.store(b"1")
        self.journal.asking.pop().done(None, {}, self.fixture.now)
        self.assertEqual(self.journal.asking, [])
        self.broker.store_events.answers(self.fixture.now)
        self.fixture.read_all()
        self.assertEqual(list(self.broker.table.jobs), [1])


class WithoutStoreTests(BrokerTestCase):
    def test_nothing_is_unreadable(self) -> None:
        self.assertEqual(self.broker.store_events.unreadable, set())


class KnownTests(DurableBrokerTestCase):
    """What else is found when a server starts."""

    def test_one_that_has_ended_is_still_known(self) -> None:
        history = History()
        history.result_size = 4
        ended = record(
            7,
            state=DONE,
            due=START + 60,
            ended=START - 5,
            size=4,
            unique=b"u",
            history=history.to_bytes(),
            kind=KEPT,
        )
        self.journal.put(ended)
        self.journal.results[7] = b"done"
        self.assertEqual(self.fixture.restart(), [])
        self.assertEqual(len(self.broker.archive), 1)
        self.fixture.recall()
        job = self.broker.archive.by_handle(b"H:test:7")
        assert job is not None
        self.assertEqual((job.state, job.since, job.due), (DONE, START - 5, START + 60))
        self.assertEqual(self.brought(job), b"done")
        self.fixture.pass_time(60)
        self.assertEqual(self.broker.archive.jobs, {})

    def test_without_a_history_it_has_an_empty_one(self) -> None:
        self.journal.put(record(7, state=DEAD, due=START + 60, kind=DEAD_KIND))
        self.fixture.restart()
        self.fixture.recall()
        self.assertEqual(self.broker.archive.jobs[7].archived, b"{}")

    def test_the_history_of_one_that_lives(self) -> None:
        history = History({"timeout": 7})
        history.add_attempt(Attempt(1.0, 2.0, "fail", "worker", "why"))
        self.journal.put(record(7, history=history.to_bytes()))
        (job,) = self.fixture.restart()
        assert job.history is not None
        self.assertEqual((job.history.settings, job.history.counts), ({"timeout": 7}, {"fail": 1}))

    def test_one_that_is_damaged(self) -> None:
        for damaged in (b"{", b'{"settings": {"timeout": -1}}', b"[]"):
            self.journal.put(record(7, history=damaged))
            (job,) = self.fixture.restart()
            self.assertIsNone(job.history)

    def test_on_whose_account_it_is(self) -> None:
        """Of those that live, that wait, that are dead and that are kept, after two restarts as well."""
        self.fixture.set(retries={"fail": 0, "lost": 1}, unique_for=60)
        client, worker = self.fixture.tenant("web"), self.fixture.worker(b"f", b"g")

        def submit(name: bytes, unique: bytes, workload: bytes, **rest: Any) -> Job:
            job = self.broker.submit(
                client, name, unique, workload, self.fixture.now, background=True, **rest
            )
            self.fixture.commit()
            return job

        for end in (self.fails, self.complete):
            end(worker, self.grabbed(worker, submit(b"f", b"%d" % len(self.journal.updates), b"abc")))
        self.grabbed(worker, submit(b"f", b"l", b"de"))
        self.broker.reset_abilities(worker, self.fixture.now)
        submit(b"g", b"g", b"fgh")
        submit(b"g", b"", b"ij", settings={"timeout": 3}, delay=60.0)
        self.fixture.store(b"x")
        for first in (1000, 2000):
            jobs = self.fixture.restart(first=first)
            self.fixture.recall()
            web = self.broker.tenants.get("web")
            self.assertEqual([job.tenant for job in jobs], [web, web, web, None])
            self.assertEqual([job.history is None for job in jobs], [False, True, False, True])
            self.assertEqual((web.queued, web.running, web.bytes, web.connections), (3, 0, 7, 0))
            ended = self.broker.archive.jobs.values()
            self.assertEqual([(job.state, job.tenant) for job in ended], [(DEAD, web), (DONE, web)])
        done = next(job for job in ended if job.state == DONE)
        mine, stranger = (self.fixture.tenant(name, (SEE, b"f")) for name in ("web", "other"))
        self.assertIs(self.fixture.submit(mine, unique=done.unique), done)
        self.assertRaises(AccessDenied, self.fixture.submit, stranger, unique=done.unique)
        self.assertEqual(self.broker.operations.requeue_all(b"f", self.fixture.now), 1)
        self.fixture.pass_time(0)
        self.assertEqual(web.queued, 4)
        self.fixture.restart(first=3000)
        self.assertEqual(self.broker.tenants.get("web").queued, 4)

    def test_a_result_that_is_dropped(self) -> None:
        """Whose it was is known all the same."""
        self.fixture.set(unique_for=60, results=60)
        client, worker = self.fixture.tenant("web"), self.fixture.worker(b"f")
        job = self.broker.submit(client, b"f", b"u", b"", self.fixture.now, background=True)
        self.fixture.commit()
        self.complete(worker, self.grabbed(worker, job))
        self.broker.store_events.result_refused(job.number)
        self.fixture.restart()
        self.fixture.recall()
        self.assertEqual(
            [job.tenant and job.tenant.name for job in self.broker.archive.jobs.values()], ["web"]
        )

    def test_a_function_that_was_paused_still_is(self) -> None:
        self.fixture.store(b"work")
        self.journal.put_value(StoredValue(PAUSED, b"f", 1.0))
        self.journal.put_value(StoredValue(SCHEDULED, b"nightly", START, 0))
        self.fixture.restart()
        worker = self.fixture.worker(b"f")
        self.assertIsNone(self.fixture.grab(worker))
        self.assertEqual([function.paused for function in self.broker.functions.by_name.values()], [True])
