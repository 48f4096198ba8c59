"""Tests of L{txgear.broker.ended.archive}: what jobs may have kept, and what is answered when it was not."""

from __future__ import annotations

from typing import Any

from txgear.broker import history
from txgear.broker.ended.archive import history_of
from txgear.broker.model import Job
from txgear.broker.records import KEPT
from txgear.broker.states import DEAD, DONE
from txgear.daemon.config import parse_config
from txgear.errors import ConfigurationError
from txgear.policies import CEILING, CLASSIC, Policies, Retention
from txgear.protocol.constants import RESTARTED, WORK_COMPLETE, WORK_DATA, WORK_FAIL
from txgear.quantities import MOST_BYTES, MOST_SECONDS
from txgear.test.broker.test_broker_bounds import calls
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase, record


class KeepingTestCase(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")

    def limit(self, ceiling: Retention, **settings: Any) -> None:
        """Let this ceiling hold, and this policy for f."""
        rules = [("f", CLASSIC.with_settings(settings))] if settings else []
        self.fixture.policies = Policies(rules, ceiling)
        self.broker.operations.set_policies(self.fixture.policies, self.fixture.now)

    def do(self, result: bytes = b"done", **rest: Any) -> Job:
        """A background job, done."""
        job = self.fixture.submit(None, **rest)
        if self.fixture.journal is not None:
            self.fixture.commit()
        self.complete(self.worker, self.grabbed(self.worker, job), result)
        return job

    def kept(self) -> list[Job]:
        return list(self.broker.archive.jobs.values())


class CeilingTests(KeepingTestCase):
    def test_it_bounds_the_time(self) -> None:
        self.limit(Retention(60.0))
        for settings in ({"results": MOST_SECONDS}, {"unique_for": MOST_SECONDS}):
            job = self.do(unique=b"u", settings=settings)
            self.assertEqual(job.due, self.fixture.now + 60)
            self.fixture.pass_time(60)
        job = self.fixture.submit(None, settings={"retries": 0, "dead": MOST_SECONDS})
        self.fails(self.worker, self.grabbed(self.worker, job))
        self.assertEqual((job.state, job.due), (DEAD, self.fixture.now + CLASSIC.dead.keep))

    def test_what_the_function_keeps_is_not_bounded_by_it(self) -> None:
        self.limit(Retention(60.0, 1, 1), results={"keep": 120, "bytes": 0}, unique_for=180)
        for settings in ({"results": 600}, {"unique_for": 600}, {"results": 90, "unique_for": 90}, {}):
            self.do(unique=b"%r" % settings, settings=settings)
        self.assertEqual([job.due - self.fixture.now for job in self.kept()], [180.0, 180.0, 90.0, 180.0])

    def test_it_bounds_the_number_over_all_functions(self) -> None:
        self.limit(Retention(60.0, 3))
        self.broker.can_do(self.worker, b"g", 0.0, self.fixture.now)
        jobs = [self.do(function=function, settings={"results": 60}) for function in (b"f", b"g") * 3]
        self.assertEqual(self.kept(), jobs[-3:])

    def test_one_that_was_lowered(self) -> None:
        """It holds from the next end on, whoever keeps that job."""
        self.limit(Retention(60.0, 3), results=60)
        self.broker.can_do(self.worker, b"g", 0.0, self.fixture.now)
        jobs = [self.do(function=b"g", settings={"results": 60}) for _ in range(3)]
        self.limit(Retention(60.0, 1), results=60)
        self.assertEqual(self.kept(), jobs)
        jobs.append(self.do())
        self.assertEqual(self.kept(), jobs[2:])

    def test_uniques_that_stay_taken_count(self) -> None:
        self.limit(Retention(60.0, 2))
        jobs = [self.do(unique=b"%d" % number, settings={"unique_for": 60}) for number in range(4)]
        self.assertEqual(self.kept(), jobs[-2:])
        self.assertIsNot(self.fixture.submit(None, unique=b"0"), jobs[0])
        self.assertIs(self.fixture.submit(None, unique=b"3"), jobs[3])

    def test_the_dead_count_where_the_function_has_none(self) -> None:
        self.limit(Retention(60.0, 1))
        jobs = [self.fixture.submit(None, settings={"retries": 0}) for _ in range(2)]
        for job in jobs:
            self.fails(self.worker, self.grabbed(self.worker, job))
        self.assertEqual(self.kept(), jobs[1:])
        self.limit(Retention(60.0, 1), retries=0)
        more = self.fixture.submit(None, settings={"retries": 0})
        self.fails(self.worker, self.grabbed(self.worker, more))
        self.assertEqual(self.kept(), [jobs[1], more])
        self.broker.operations.requeue(jobs[1].handle, self.fixture.now)
        self.assertEqual(
            (len(self.broker.archive.ended.own.jobs), self.broker.archive.ended.own.bytes), (0, 0)
        )

    def test_it_bounds_the_bytes(self) -> None:
        self.limit(Retention(60.0, 0, 10))
        jobs = [self.do(b"1234", settings={"results": 60}) for _ in range(3)]
        self.assertEqual(self.kept(), jobs[1:])
        large = self.do(b"x" * 11, settings={"results": {"keep": 60, "bytes": 999}})
        self.assertEqual((self.brought(large), history_of(large).complete), (b"", False))
        self.assertEqual(self.broker.archive.ended.own.bytes, 8)

    def test_what_lost_its_result_counts_no_bytes(self) -> None:
        self.limit(Retention(60.0, 0, 10))
        job = self.do(b"1234", settings={"results": 60})
        self.broker.store_events.result_refused(job.number)
        self.assertEqual(self.broker.archive.ended.own.bytes, 0)

    def test_what_others_keep_is_not_in_the_way(self) -> None:
        self.limit(Retention(60.0, 1), results=60)
        jobs = [self.do() for _ in range(3)]
        self.assertEqual(self.kept(), jobs)

    def test_there_is_one_without_a_word_from_the_operator(self) -> None:
        job = self.do(settings={"results": MOST_SECONDS})
        self.assertEqual(job.due, self.fixture.now + CEILING.keep)
        self.assertGreater(CEILING.jobs * CEILING.bytes, 0)

    def test_of_these_zero_is_no_bound(self) -> None:
        policy = CLASSIC.with_job_settings({"results": 60}, Retention(60.0))
        self.assertEqual(policy.results, Retention(60.0, 0, MOST_BYTES))

    def test_it_stands_in_the_file(self) -> None:
        config = parse_config('[ceiling]\nkeep = "1h"\nbytes = "1K"\n', "x.toml")
        self.assertEqual(config.policies.ceiling, Retention(3600.0, CEILING.jobs, 1024))
        self.assertEqual(parse_config("", "x.toml").policies.ceiling, CEILING)
        error = self.assertRaises(ConfigurationError, parse_config, "[ceiling]\nkept = 1\n", "x.toml")
        self.assertIn("x.toml, line 2: ceiling.kept: there is no such setting", str(error))


class OwnPolicyTests(KeepingTestCase):
    def test_it_is_found_out_once(self) -> None:
        """And not at each packet."""
        job = self.fixture.submit(None, settings={"results": 60})
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"x")
        self.assertLess(calls(lambda: self.data(self.worker, job, b"x")), 20)
        life = job.history
        assert isinstance(life, history.History)
        assert life.own is not None
        own = life.own[2]
        self.assertIs(self.broker.functions.policy_of(job), own)
        self.fixture.set(results=5, retries=7)
        self.assertIsNot(self.broker.functions.policy_of(job), own)
        self.assertEqual(self.broker.functions.policy_of(job).as_settings()["retries"], 7)


class NotKeptTests(KeepingTestCase):
    """A job that is done and has its unique, but what it brought is not there."""

    def repeated(self, job: Job) -> list[tuple[Any, ...]]:
        """What a client hears that asks for it again."""
        self.fixture.outbox.take()
        self.assertIs(self.fixture.submit(self.client, unique=job.unique), job)
        self.broker.repeat(self.client, job)
        return self.fixture.heard(self.client)

    def test_it_has_made_room(self) -> None:
        self.fixture.set(unique_for=86400, results={"keep": 3600, "jobs": 1})
        first, second = self.do(b"one", unique=b"u1"), self.do(b"two", unique=b"u2")
        self.assertEqual(self.repeated(first), [(WORK_FAIL, first.handle)])
        self.assertEqual(self.repeated(second), [(WORK_COMPLETE, second.handle, b"two")])

    def test_it_was_too_large(self) -> None:
        self.fixture.set(unique_for=86400, results={"keep": 3600, "bytes": 2})
        job = self.do(b"one", unique=b"u1")
        self.assertEqual(self.repeated(job), [(WORK_FAIL, job.handle)])

    def test_none_was_to_be_kept(self) -> None:
        """Then an empty one says that it is done: there is no other that it could be taken for."""
        self.fixture.set(unique_for=86400)
        job = self.do(b"one", unique=b"u1")
        self.assertEqual(self.repeated(job), [(WORK_COMPLETE, job.handle, b"")])

    def test_it_brought_nothing(self) -> None:
        self.fixture.set(unique_for=86400, results=3600)
        job = self.do(b"", unique=b"u1")
        self.assertEqual(self.repeated(job), [(WORK_COMPLETE, job.handle, b"")])


class NewestTests(KeepingTestCase):
    def test_of_functions_that_share_a_unique_it_is_the_one_that_ended_last(self) -> None:
        self.limit(Retention(60.0))
        self.broker.can_do(self.worker, b"g", 0.0, self.fixture.now)
        ended = []
        for function in (b"f", b"f", b"g", b"f"):
            ended.append(self.do(function=function, unique=b"u", settings={"results": 60}))
            self.fixture.pass_time(1)
        for job in (ended[3], ended[2], ended[1], ended[0]):
            self.assertIs(self.broker.named(b"", b"u"), job)
            self.broker.operations.forget(job.handle)
        self.assertIsNone(self.broker.named(b"", b"u"))


class StoredKeepingTests(DurableBrokerTestCase, KeepingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")

    def again(self) -> None:
        self.fixture.restart()
        self.fixture.recall()
        self.worker = self.fixture.worker(b"f")

    def shelf(self) -> list[int]:
        shelf = self.broker.archive.ended.results(self.broker.functions.by_name[b"f"])
        return [job.number for job in shelf.in_order()]

    def test_what_made_room_counts_no_more_after_a_restart_either(self) -> None:
        self.fixture.set(unique_for=86400, results={"keep": 3600, "jobs": 2})
        numbers = [self.do(unique=b"%d" % number).number for number in range(5)]
        self.assertEqual(self.shelf(), numbers[3:])
        self.again()
        self.assertEqual(self.shelf(), numbers[3:])
        told = len(self.journal.updates)
        job = self.do(unique=b"new")
        self.assertEqual(self.shelf(), [numbers[4], job.number])
        self.assertEqual(len(self.journal.updates), told + 2)

    def test_the_ceiling_holds_over_a_restart(self) -> None:
        self.limit(Retention(600.0, 3))
        numbers = []
        for _ in range(3):
            numbers.append(self.do(settings={"results": 600}).number)
            self.fixture.pass_time(1)
        self.again()
        self.assertEqual(list(self.broker.archive.ended.own.jobs), numbers)
        job = self.do(settings={"results": 600})
        self.assertEqual([each.number for each in self.kept()], [*numbers[1:], job.number])

    def test_a_damaged_record_of_one_that_has_ended(self) -> None:
        for life in (b"{", b'{"settings": {"unique_for": -1}}', b'{"settings": 3}'):
            self.journal.put(record(1, state=DONE, due=self.fixture.now + 9, history=life, kind=KEPT), b"")
            self.again()
            (job,) = self.kept()
            self.assertEqual(job.archived, b"{}")


class RestartedTests(KeepingTestCase):
    """Those who ask for it hear that what they were sent is void."""

    def setUp(self) -> None:
        super().setUp()
        self.client.restarts = True
        self.other = self.fixture.connect()
        self.job = self.fixture.submit(self.client, unique=b"u")
        self.fixture.submit(self.other, unique=b"u")
        self.grabbed(self.worker, self.job)

    def lose(self) -> list[tuple[Any, ...]]:
        self.fixture.heard(self.client)
        self.fixture.leave(self.worker)
        self.worker = self.fixture.worker(b"f")
        told = self.fixture.outbox.take()
        self.assertNotIn(self.other, [peer for peer, _ in told])
        return [message for peer, message in told if peer is self.client]

    def test_when_data_were_sent(self) -> None:
        self.data(self.worker, self.job, b"one")
        self.assertEqual(self.lose(), [(RESTARTED, self.job.handle)])
        self.grabbed(self.worker, self.job)
        self.assertEqual(self.lose(), [])

    def test_not_when_nothing_was(self) -> None:
        self.assertEqual(self.lose(), [])

    def test_when_it_is_tried_again_by_a_policy(self) -> None:
        self.fixture.set(retries=1)
        self.data(self.worker, self.job, b"one")
        self.fixture.heard(self.client)
        self.fails(self.worker, self.job)
        self.assertEqual(self.fixture.heard(self.client), [(RESTARTED, self.job.handle)])

    def test_not_when_it_is_the_end(self) -> None:
        self.data(self.worker, self.job, b"one")
        self.fails(self.worker, self.job)
        self.assertEqual([kind for kind, *_ in self.fixture.heard(self.client)], [WORK_DATA, WORK_FAIL])
