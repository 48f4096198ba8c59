"""Tests of L{txgear.broker.ended.archive}: results that are kept, and uniques that stay taken."""

from __future__ import annotations

from typing import Any

from txgear.broker.bulk import BATCH
from txgear.broker.ended.archive import PAUSE, history_of
from txgear.broker.history import History
from txgear.broker.model import Job
from txgear.broker.states import CANCELLED, DEAD, DONE, EXPIRED, FAILED, QUEUED, RUNNING, STORING
from txgear.errors import QueueError
from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD, WORK_COMPLETE, WORK_DATA, WORK_FAIL
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase, record, results_of
from txgear.test.support.clock import START


class ResultsTestCase(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")

    def do(self, result: bytes = b"done", **rest: Any) -> Job:
        """A background job, done."""
        job = self.fixture.submit(None, **rest)
        if self.fixture.journal is not None:
            self.fixture.commit()
        self.grabbed(self.worker, job)
        self.complete(self.worker, job, result)
        return job

    def kept(self) -> list[Job]:
        return list(self.broker.archive.jobs.values())

    def parts(self, job: Job) -> tuple[bytes, bytes] | None:
        """What is kept of a job's data and of its result."""
        life = history_of(job)
        if not life.complete:
            self.assertEqual((life.data_size, life.result_size, self.brought(job)), (0, 0, b""))
            return None
        brought = self.brought(job)
        assert brought is not None
        self.assertEqual(len(brought), life.data_size + life.result_size)
        return brought[: life.data_size], brought[life.data_size :]


class KeptTests(ResultsTestCase):
    def test_without_a_policy_nothing_is(self) -> None:
        self.do(unique=b"u")
        self.fixture.set(retries=3)
        self.do(unique=b"u")
        self.assertEqual((self.kept(), self.broker.named(b"f", b"u")), ([], None))

    def test_data_and_result(self) -> None:
        self.fixture.set(results=60)
        job = self.fixture.submit(None, unique=b"u", workload=b"work")
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"one")
        self.data(self.worker, job, b"two")
        self.complete(self.worker, job, b"three")
        self.assertEqual((job.state, job.workload, job.size, job.since), (DONE, b"onetwothree", 11, START))
        self.assertEqual(self.parts(job), (b"onetwo", b"three"))
        for found in (
            self.broker.archive.by_handle(job.handle),
            self.broker.named(b"f", b"u"),
            self.broker.named(b"", b"u"),
        ):
            self.assertIs(found, job)

    def test_what_is_to_be_said_of_them_is_made_when_somebody_asks(self) -> None:
        self.fixture.set(results=60)
        job = self.do(b"result")
        self.assertEqual(job.archived, b"")
        found = history_of(job)
        self.assertEqual((found.complete, found.data_size, found.result_size), (True, 0, 6))

    def test_for_no_time_they_are_not(self) -> None:
        """But the unique may be."""
        self.fixture.set(results=0)
        self.do(unique=b"u")
        self.assertEqual((self.kept(), self.broker.named(b"f", b"u")), ([], None))
        self.fixture.set(results=0, unique_for=60)
        job = self.do(unique=b"v")
        self.assertEqual((self.broker.named(b"f", b"v"), history_of(job).complete), (job, None))
        self.assertEqual(results_of(self.broker.archive), {})

    def test_nothing_is_a_result_too(self) -> None:
        self.fixture.set(results=60)
        self.assertEqual(self.parts(self.do(b"")), (b"", b""))

    def test_only_the_last_attempt_counts(self) -> None:
        self.fixture.set(results=60, retries=1, backoff=0)
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"one")
        self.fails(self.worker, job)
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"two")
        self.complete(self.worker, job, b"")
        self.assertEqual(self.parts(job), (b"two", b""))
        self.assertEqual(history_of(job).counts, {"fail": 1})

    def test_how_it_ended_otherwise(self) -> None:
        self.fixture.set(results=60, expires=5)
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.broker.reports.work_exception(self.worker, job.handle, b"why", self.fixture.now)
        self.assertEqual((job.state, self.parts(job)), (FAILED, (b"", b"why")))
        self.assertEqual([each.text for each in history_of(job).attempts], ["why"])
        job = self.fixture.submit(None)
        self.fixture.cancel(job)
        self.assertEqual((job.state, self.parts(job)), (CANCELLED, (b"", b"")))
        job = self.fixture.submit(None)
        self.fixture.pass_time(5)
        self.assertEqual((job.state, self.parts(job)), (EXPIRED, (b"", b"")))
        self.assertEqual([job.state for job in self.kept()], [FAILED, CANCELLED, EXPIRED])

    def test_cancelled_while_it_ran_with_what_it_had_brought(self) -> None:
        self.fixture.set(results=60)
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"half")
        self.fixture.cancel(job)
        self.assertEqual((job.state, self.parts(job)), (CANCELLED, (b"half", b"")))

    def test_clients_that_wait_need_none(self) -> None:
        self.fixture.set(results=60)
        job = self.fixture.submit(self.client)
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"one")
        self.complete(self.worker, job)
        self.assertEqual(self.kept(), [])
        self.assert_gone(job)

    def test_they_hear_it_all_the_same(self) -> None:
        self.fixture.set(results=60)
        job = self.fixture.submit(None, unique=b"u")
        self.fixture.submit(self.client, unique=b"u")
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"one")
        self.complete(self.worker, job)
        self.assertEqual(
            self.fixture.heard(self.client),
            [(WORK_DATA, job.handle, b"one"), (WORK_COMPLETE, job.handle, b"done")],
        )
        self.assertEqual(self.parts(job), (b"one", b"done"))

    def test_one_that_becomes_a_background_job_while_it_runs(self) -> None:
        self.fixture.set(results=60)
        job = self.fixture.submit(self.client, unique=b"u")
        self.grabbed(self.worker, job)
        self.fixture.submit(None, unique=b"u")
        self.complete(self.worker, job)
        self.assertEqual(self.parts(job), (b"", b"done"))

    def test_but_not_if_a_part_has_passed(self) -> None:
        self.fixture.set(results=60)
        job = self.fixture.submit(self.client, unique=b"u")
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"one")
        self.fixture.submit(None, unique=b"u")
        self.data(self.worker, job, b"two")
        self.complete(self.worker, job)
        self.assertEqual((job.state, self.parts(job)), (DONE, None))

    def test_nor_if_the_policy_came_when_a_part_had_passed(self) -> None:
        for before in ({}, {"retries": 1}):
            self.fixture.set(**before)
            job, quiet = self.fixture.submit(None), self.fixture.submit(None)
            self.grabbed(self.worker, job)
            self.grabbed(self.worker, quiet)
            self.data(self.worker, job, b"one")
            self.fixture.set(results=60)
            self.data(self.worker, job, b"two")
            for each in (job, quiet):
                self.complete(self.worker, each)
            self.assertEqual((self.parts(job), self.parts(quiet)), (None, (b"", b"done")))

    def test_settings_of_one_job(self) -> None:
        job = self.do(settings={"results": 60})
        self.assertEqual(self.parts(job), (b"", b"done"))
        self.fixture.set(results=60)
        self.do(settings={"results": 0})
        self.assertEqual(self.kept(), [job])

    def test_for_its_time(self) -> None:
        self.fixture.set(results=60)
        job = self.do(unique=b"u")
        self.fixture.pass_time(59.9)
        self.assertEqual(self.kept(), [job])
        self.fixture.pass_time(0.1)
        self.assertEqual((self.kept(), results_of(self.broker.archive)), ([], {}))
        self.assertIsNone(self.broker.archive.by_handle(job.handle))
        self.assertIsNone(self.broker.named(b"f", b"u"))

    def test_a_function_is_known_as_long_as_a_job_of_it(self) -> None:
        self.fixture.set(results=60)
        self.do()
        self.fixture.leave(self.worker)
        self.assertEqual(self.fixture.counts(), {b"f": (0, 0, 0, 0)})
        self.fixture.pass_time(60)
        self.assertEqual(self.fixture.counts(), {})


class BoundsTests(ResultsTestCase):
    def test_one_that_is_too_large_is_known_without_its_result(self) -> None:
        self.fixture.set(results={"keep": 60, "bytes": 10})
        for parts, kept in (
            ([b"12345", b"67890"], (b"12345", b"67890")),
            ([b"12345", b"67890A"], None),
            ([b"12345678901", b""], None),
            ([b"123456", b"78901", b""], None),
            ([b"12345678901"], None),
        ):
            *data, result = parts
            job = self.fixture.submit(None)
            self.grabbed(self.worker, job)
            for each in data:
                self.data(self.worker, job, each)
            self.complete(self.worker, job, result)
            self.assertEqual((job.state, self.parts(job)), (DONE, kept))

    def test_the_oldest_make_room(self) -> None:
        self.fixture.set(results={"keep": 60, "jobs": 2})
        jobs = [self.do() for _ in range(4)]
        self.assertEqual(self.kept(), jobs[2:])
        self.fixture.set(results={"keep": 60, "bytes": 9})
        jobs = [self.do() for _ in range(4)]
        self.assertEqual(self.kept(), jobs[2:])

    def test_the_dead_do_not_count(self) -> None:
        self.fixture.set(results={"keep": 60, "jobs": 1}, retries=0)
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.fails(self.worker, job)
        done = self.do()
        done = self.do()
        self.assertEqual(self.kept(), [job, done])

    def test_bounds_that_came_later_are_kept_by_and_by(self) -> None:
        self.fixture.set(results=60)
        for _ in range(300):
            self.do()
        self.fixture.set(results={"keep": 60, "jobs": 1})
        for left in (201, 102, 3, 1, 1):
            self.do()
            self.assertEqual(len(self.kept()), left)

    def test_one_job_has_no_say_about_others(self) -> None:
        self.fixture.set(results={"keep": 60, "jobs": 5})
        job = self.do()
        self.do(settings={"results": {"keep": 60, "jobs": 1}})
        self.assertIn(job, self.kept())

    def test_but_where_the_function_has_none(self) -> None:
        settings = {"results": {"keep": 60, "jobs": 1}}
        self.do(settings=settings)
        job = self.do(settings=settings)
        self.assertEqual(self.kept(), [job])


class OnceTests(ResultsTestCase):
    def test_the_unique_stays_taken(self) -> None:
        self.fixture.set(unique_for=60)
        job = self.do(unique=b"u")
        self.assertEqual(self.parts(job), None)
        self.fixture.pass_time(59.9)
        self.assertIs(self.fixture.submit(None, unique=b"u"), job)
        self.assertIs(self.fixture.submit(self.client, unique=b"u"), job)
        self.assertEqual((self.broker.table.jobs, job.clients), ({}, ()))
        self.fixture.pass_time(0.1)
        self.assertIsNot(self.fixture.submit(None, unique=b"u"), job)

    def test_only_of_one_that_is_done(self) -> None:
        self.fixture.set(unique_for=60, results=60, retries=0, expires=5)
        job = self.fixture.submit(None, unique=b"u")
        self.grabbed(self.worker, job)
        self.fails(self.worker, job)
        self.assertEqual(job.state, DEAD)
        for end in (self.fixture.cancel, lambda job: self.fixture.pass_time(5)):
            again = self.fixture.submit(None, unique=b"u")
            self.assertEqual(again.state, QUEUED)
            end(again)
            self.assertTrue(again.ended)
        self.assertEqual(self.fixture.submit(None, unique=b"u").state, QUEUED)

    def test_of_one_function(self) -> None:
        self.fixture.set("*", unique_for=60)
        job = self.do(unique=b"u")
        self.assertIsNot(self.fixture.submit(None, b"g", b"u"), job)

    def test_one_without_a_unique_is_not_kept(self) -> None:
        self.fixture.set(unique_for=60)
        self.do()
        self.assertEqual(self.kept(), [])

    def test_a_unique_that_is_the_workload(self) -> None:
        self.fixture.set(unique_for=60)
        job = self.do(unique=UNIQUE_FROM_WORKLOAD, workload=b"work")
        self.assertIs(self.fixture.submit(None, unique=UNIQUE_FROM_WORKLOAD, workload=b"work"), job)
        self.assertIsNot(self.fixture.submit(None, unique=UNIQUE_FROM_WORKLOAD, workload=b"other"), job)

    def test_it_takes_no_room_from_the_queue(self) -> None:
        self.fixture.set(unique_for=60, max_queue=1)
        job = self.do(unique=b"u")
        self.fixture.submit(None)
        self.assertIs(self.fixture.submit(None, unique=b"u"), job)
        with self.assertRaises(QueueError):
            self.fixture.submit(None)

    def test_the_longer_of_both_times_keeps_it(self) -> None:
        for once, results in ((60, 10), (10, 60)):
            self.fixture.set(unique_for=once, results=results)
            job = self.do(unique=b"u%d" % once)
            self.fixture.pass_time(10)
            self.assertEqual(self.broker.archive.by_handle(job.handle), job)
            self.assertEqual(self.fixture.submit(None, unique=job.unique) is job, once == 60)
            self.fixture.pass_time(50)
            self.assertIsNone(self.broker.archive.by_handle(job.handle))

    def test_results_make_room_and_uniques_stay(self) -> None:
        self.fixture.set(unique_for=60, results={"keep": 60, "jobs": 2})
        jobs = [self.do(unique=b"%d" % number) for number in range(4)]
        self.assertEqual(self.kept(), jobs)
        self.assertEqual([self.parts(job) for job in jobs], [None, None, (b"", b"done"), (b"", b"done")])
        for job in jobs:
            self.assertIs(self.fixture.submit(None, unique=job.unique), job)
        self.fixture.pass_time(60)
        self.assertEqual(self.kept(), [])

    def test_that_of_one_with_a_time_of_its_own_too(self) -> None:
        self.fixture.set(results={"keep": 60, "jobs": 1})
        job = self.do(unique=b"u", settings={"unique_for": 60})
        self.do(unique=b"v")
        self.do(unique=b"w")
        self.assertEqual([each.unique for each in self.kept()], [b"u", b"w"])
        self.assertIs(self.fixture.submit(None, unique=b"u"), job)

    def test_one_whose_time_is_over_makes_room(self) -> None:
        self.fixture.set(unique_for=10, results={"keep": 60, "jobs": 1})
        self.do(unique=b"u")
        self.fixture.pass_time(10)
        job = self.do(unique=b"v")
        self.assertEqual(self.kept(), [job])

    def test_the_operator_changes_the_time(self) -> None:
        self.fixture.set(unique_for=60)
        job = self.do(unique=b"u")
        self.fixture.set(unique_for=5)
        self.fixture.pass_time(5)
        again = self.fixture.submit(None, unique=b"u")
        self.assertIsNot(again, job)
        self.assertIs(self.broker.named(b"f", b"u"), again)
        self.assertIs(self.broker.archive.by_handle(job.handle), job)

    def test_without_any_policy_any_more_it_is_free(self) -> None:
        self.fixture.set(unique_for=60)
        job = self.do(unique=b"u")
        self.fixture.set("g")
        self.assertIsNot(self.fixture.submit(None, unique=b"u"), job)

    def test_a_joined_client_hears_what_it_brought(self) -> None:
        self.fixture.set(unique_for=60, results=60)
        job = self.fixture.submit(None, unique=b"u")
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"one")
        self.complete(self.worker, job)
        quiet = self.do(b"", unique=b"v")
        for each, heard in (
            (job, [(WORK_DATA, job.handle, b"one"), (WORK_COMPLETE, job.handle, b"done")]),
            (quiet, [(WORK_COMPLETE, quiet.handle, b"")]),
        ):
            self.assertIs(self.fixture.submit(self.client, unique=each.unique), each)
            self.broker.repeat(self.client, each)
            self.assertEqual(self.fixture.heard(self.client), heard)

    def test_or_that_it_is_done_where_that_is_not_kept(self) -> None:
        self.fixture.set(unique_for=60)
        job = self.do(unique=b"u")
        self.broker.repeat(self.client, job)
        self.assertEqual(self.fixture.heard(self.client), [(WORK_COMPLETE, job.handle, b"")])


class WatchTests(ResultsTestCase):
    def test_it_is_told_what_the_job_brought(self) -> None:
        self.fixture.set(results=60)
        job = self.fixture.submit(None)
        told = self.outcome(job)
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"one")
        self.complete(self.worker, job)
        self.assertEqual(told, [(DONE, b"one", b"done", True)])

    def test_what_is_too_large_to_keep_it_is_told_all_the_same(self) -> None:
        self.fixture.set(results={"keep": 60, "bytes": 5})
        job = self.fixture.submit(None)
        told = self.outcome(job)
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"1234")
        self.complete(self.worker, job)
        self.assertEqual((told, self.parts(job)), ([(DONE, b"1234", b"done", True)], None))

    def test_without_the_data_if_they_were_too_many(self) -> None:
        self.fixture.set(results={"keep": 60, "bytes": 3})
        job = self.fixture.submit(None)
        told = self.outcome(job)
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"1234")
        self.complete(self.worker, job)
        self.assertEqual(told, [(DONE, b"", b"done", False)])

    def test_where_none_are_kept_the_result_alone(self) -> None:
        for data in ([], [b"one"]):
            job = self.fixture.submit(None)
            told = self.outcome(job)
            self.grabbed(self.worker, job)
            for each in data:
                self.data(self.worker, job, each)
            self.complete(self.worker, job)
            self.assertEqual(told, [(DONE, b"", b"done", not data)])
            self.assert_gone(job)

    def test_every_other_end_too(self) -> None:
        self.fixture.set(expires=5)
        job = self.fixture.submit(self.client)
        told = self.outcome(job)
        self.fixture.leave(self.client)
        self.assertEqual(told, [(CANCELLED, b"", b"", True)])
        for end, outcome in (
            (self.fixture.cancel, CANCELLED),
            (lambda job: self.fixture.pass_time(5), EXPIRED),
            (lambda job: self.fails(self.worker, self.grabbed(self.worker, job)), FAILED),
        ):
            job = self.fixture.submit(None)
            told = self.outcome(job)
            end(job)
            self.assertEqual(told, [(outcome, b"", b"", True)])

    def test_attempts_that_are_not_the_last_are_no_end(self) -> None:
        self.fixture.set(retries=1, backoff=0)
        job = self.fixture.submit(None)
        told = self.outcome(job)
        self.fails(self.worker, self.grabbed(self.worker, job))
        self.assertEqual(told, [])
        self.fails(self.worker, self.grabbed(self.worker, job))
        self.assertEqual(told, [(DEAD, b"", b"", True)])

    def test_nobody_has_to_wait(self) -> None:
        job = self.fixture.submit(None)
        told: list[object] = []
        unwatch = self.broker.watch(job, lambda *said: told.append(said))
        kept = self.outcome(job)
        unwatch(self.fixture.now)
        unwatch(self.fixture.now)
        self.fixture.cancel(job)
        unwatch(self.fixture.now)
        self.assertEqual((told, len(kept)), ([], 1))

    def test_it_changes_nothing_for_the_job(self) -> None:
        job = self.fixture.submit(self.client)
        self.outcome(job)
        self.grabbed(self.worker, job)
        self.fixture.leave(self.worker)
        self.assertEqual((job.state, job.retries), (QUEUED, 1))
        self.worker = self.fixture.worker(b"f")
        self.fails(self.worker, self.grabbed(self.worker, job))
        self.assertEqual(self.fixture.heard(self.client), [(WORK_FAIL, job.handle)])


class StoredResultsTests(DurableBrokerTestCase, ResultsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")

    def shelve(self) -> None:
        """The store has all results."""
        self.broker.store_events.result_stored(list(self.journal.results))

    def again(self) -> None:
        self.fixture.restart()
        self.fixture.recall()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")

    def found(self, number: int = 1) -> Job:
        return self.broker.archive.jobs[number]

    def test_they_are_in_memory_until_the_store_has_them(self) -> None:
        self.fixture.set(results=60)
        job = self.do(workload=b"work")
        self.assertEqual(results_of(self.broker.archive), {job.number: b"done"})
        self.assertEqual(self.parts(job), (b"", b"done"))
        self.shelve()
        self.assertEqual(results_of(self.broker.archive), {})
        self.assertEqual(self.parts(job), (b"", b"done"))

    def test_the_journal_is_told(self) -> None:
        self.fixture.set(results=60)
        job = self.do(b"result", workload=b"work", unique=b"u")
        (move,) = self.journal.updates
        self.assertEqual(
            (move.number, move.size, move.state, move.ended, move.due, move.history),
            (job.number, 6, DONE, START, START + 60, b'{"result":[0,6,true]}'),
        )
        self.assertEqual((self.journal.results, self.journal.deleted), ({job.number: b"result"}, []))
        self.fixture.pass_time(60)
        self.assertEqual(self.journal.deleted_all, [job.number])

    def test_they_outlive_it(self) -> None:
        self.fixture.set(results=60, unique_for=60)
        job = self.fixture.submit(None, unique=b"u", workload=b"work")
        self.fixture.commit()
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"one")
        self.complete(self.worker, job)
        self.shelve()
        self.again()
        job = self.found()
        self.assertEqual((job.state, job.since, self.parts(job)), (DONE, START, (b"one", b"done")))
        self.assertIs(self.fixture.submit(self.client, unique=b"u"), job)
        self.broker.repeat(self.client, job)
        self.journal.answer_readings()
        self.assertEqual(
            self.fixture.heard(self.client),
            [(WORK_DATA, job.handle, b"one"), (WORK_COMPLETE, job.handle, b"done")],
        )
        self.fixture.pass_time(60)
        self.assertEqual(self.broker.archive.jobs, {})
        self.assertIsNot(self.fixture.submit(None, unique=b"u"), job)

    def test_every_end_outlives_it(self) -> None:
        self.fixture.set(results=60, expires=5)
        jobs = self.fixture.store(b"1", b"2", b"3")
        self.fails(self.worker, self.grabbed(self.worker, jobs[0]))
        self.fixture.cancel(jobs[1])
        self.fixture.pass_time(5)
        self.again()
        self.assertEqual(
            [(job.number, job.state, self.parts(job)) for job in self.kept()],
            [(1, FAILED, (b"", b"")), (2, CANCELLED, (b"", b"")), (3, EXPIRED, (b"", b""))],
        )

    def test_that_only_the_unique_is_kept_outlives_it(self) -> None:
        self.fixture.set(results={"keep": 60, "jobs": 1}, unique_for=60)
        first, second = self.do(unique=b"u"), self.do(unique=b"v")
        self.shelve()
        self.assertEqual(self.journal.results, {first.number: b"", second.number: b"done"})
        self.again()
        self.assertEqual([self.parts(job) for job in self.kept()], [None, (b"", b"done")])
        self.do(unique=b"w")
        self.assertEqual([self.parts(job) for job in self.kept()], [None, None, (b"", b"done")])

    def test_a_result_that_the_store_does_not_take(self) -> None:
        self.fixture.set(results=60)
        job = self.do()
        self.broker.store_events.result_refused(job.number)
        self.assertEqual((self.parts(job), results_of(self.broker.archive)), (None, {}))
        move = self.journal.updates[-1]
        self.assertEqual((move.size, move.state, move.history), (0, DONE, b'{"result":[0,0,false]}'))
        self.broker.operations.forget(job.handle)
        self.broker.store_events.result_refused(job.number)

    def test_one_that_ends_before_it_is_stored(self) -> None:
        self.fixture.set(results=60)
        job = self.fixture.submit(self.client, unique=b"u", workload=b"work")
        self.grabbed(self.worker, job)
        self.fixture.submit(None, unique=b"u")
        self.complete(self.worker, job)
        self.assertEqual((job.stored, self.parts(job)), (False, (b"", b"done")))
        self.fixture.commit()
        self.assertTrue(job.stored)
        self.shelve()
        self.assertEqual(self.parts(job), (b"", b"done"))
        self.again()
        self.assertEqual(self.parts(self.found()), (b"", b"done"))

    def test_and_is_forgotten_before_that(self) -> None:
        self.fixture.set(results=60)
        job = self.fixture.submit(self.client, unique=b"u", workload=b"work")
        self.grabbed(self.worker, job)
        self.fixture.submit(None, unique=b"u")
        self.complete(self.worker, job)
        self.assertTrue(self.broker.operations.forget(job.handle))
        self.assertEqual(self.journal.deleted_all, [job.number])
        self.fixture.commit()
        self.again()
        self.assertEqual((self.broker.archive.jobs, self.broker.table.jobs), ({}, {}))

    def test_one_that_was_cancelled_on_its_way(self) -> None:
        self.fixture.set(results=60)
        job = self.fixture.submit(None, workload=b"work")
        self.assertEqual(job.state, STORING)
        self.fixture.cancel(job)
        self.assertEqual((job.state, job.workload), (CANCELLED, b""))
        self.fixture.commit()
        self.again()
        self.assertEqual(self.found().state, CANCELLED)

    def test_one_that_is_refused_is_not_kept(self) -> None:
        self.fixture.set(results=60)
        job = self.fixture.submit(None, workload=b"work")
        self.fixture.cancel(job)
        self.fixture.refuse()
        self.assertEqual((self.broker.archive.jobs, self.journal.deleted_all), ({}, []))

    def test_one_that_cannot_be_read(self) -> None:
        self.fixture.set(results=60, unique_for=60)
        job = self.do(unique=b"u")
        self.shelve()
        self.journal.results.clear()
        self.assertIsNone(self.brought(job))
        self.broker.repeat(self.client, job)
        self.journal.answer_readings()
        self.assertEqual(self.fixture.heard(self.client), [(WORK_FAIL, job.handle)])

    def test_who_has_gone_when_it_was_read_hears_nothing(self) -> None:
        self.fixture.set(results=60, unique_for=60)
        job = self.do(unique=b"u")
        self.shelve()
        self.broker.repeat(self.client, job)
        self.fixture.leave(self.client)
        self.journal.answer_readings()
        self.assertEqual(self.fixture.heard(self.client), [])

    def test_workloads_are_read_too(self) -> None:
        (job,) = self.fixture.store(b"work")
        self.assertEqual(self.brought(job), b"work")
        self.assertEqual(self.brought(self.fixture.submit(None)), b"")
        self.fixture.commit()
        self.again()
        self.assertEqual(self.brought(self.broker.table.jobs[1]), b"work")

    def test_one_that_is_nowhere_cannot_be_read(self) -> None:
        self.fixture.set(results=60)
        job = self.do()
        job.workload = b""
        job.stored = False
        self.assertIsNone(self.brought(job))

    def test_what_is_damaged(self) -> None:
        for kept in (b"[]", b"{"):
            self.journal.put(record(7, history=kept))
            (job,) = self.fixture.restart()
            self.assertEqual((job.number, job.history), (7, None))

    def test_one_of_which_nothing_is_to_be_said(self) -> None:
        """A life is kept only where there is something to say."""
        self.journal.put(record(7, state=CANCELLED, due=START + 9, ended=START))
        self.again()
        self.assertEqual((self.found(7).state, history_of(self.found(7)).attempts), (CANCELLED, []))
        self.fixture.pass_time(9)
        self.assertEqual(self.journal.deleted_all, [7])

    def test_the_life_of_one_that_lives(self) -> None:
        job = self.fixture.submit(None)
        self.assertIsInstance(history_of(job), History)
        self.fixture.commit()
        self.grabbed(self.worker, job)
        self.assertEqual((job.state, history_of(job).attempts), (RUNNING, []))


class ForgetTests(DurableBrokerTestCase, ResultsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")
        self.fixture.set(results=60)

    def test_a_store_that_is_behind_is_waited_for(self) -> None:
        self.do()
        self.journal.backlogged = True
        self.fixture.pass_time(60)
        self.assertEqual((len(self.kept()), self.broker.timers.deadline), (1, self.fixture.now + PAUSE))
        self.journal.backlogged = False
        self.fixture.pass_time(PAUSE)
        self.assertEqual(self.kept(), [])

    def test_not_too_many_in_one_turn(self) -> None:
        for _ in range(BATCH + 1):
            self.do()
        self.fixture.now += 60
        most = 0
        while left := len(self.kept()):
            self.assertLessEqual(self.broker.timers.deadline, self.fixture.now)
            self.broker.expire(self.fixture.now)
            most = max(most, left - len(self.kept()))
        self.assertEqual(most, BATCH)
