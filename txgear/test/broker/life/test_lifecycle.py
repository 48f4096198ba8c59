"""Tests of L{txgear.broker.life.lifecycle}: jobs that are tried again, and the dead."""

from __future__ import annotations

from math import inf
from typing import Any

from txgear.broker.ended.archive import history_of
from txgear.broker.history import Attempt
from txgear.broker.model import Job, Peer
from txgear.broker.states import CANCELLED, DEAD, DELAYED, DONE, FAILED, PAGED, QUEUED, RUNNING
from txgear.errors import JobNotFound
from txgear.policies import REASONS
from txgear.protocol.constants import (
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
)
from txgear.test.support.broker import BrokerFixture, BrokerTestCase, DurableBrokerTestCase
from txgear.test.support.clock import START
from txgear.test.support.fakejournal import FakeJournal


class AttemptsTestCase(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")

    def end(self, job: Job, reason: str) -> None:
        """The next attempt at this job, which is the only one, ends in this way."""
        timeout = 5.0 if reason == "timeout" else 0.0
        worker = self.fixture.worker(b"f", timeout=timeout, extended=reason == "silent")
        self.grabbed(worker, job)
        now = self.fixture.now
        if reason == "fail":
            self.broker.reports.work_fail(worker, job.handle, now)
        elif reason == "exception":
            self.broker.reports.work_exception(worker, job.handle, b"why", now)
        elif reason == "lost":
            self.fixture.leave(worker)
        else:
            self.fixture.pass_time(5.0)

    def history(self, job: Job) -> list[str]:
        return [attempt.reason for attempt in history_of(job).attempts]


class RetriesTests(AttemptsTestCase):
    def test_it_is_tried_again_and_nobody_hears_of_the_failures(self) -> None:
        self.fixture.set(retries=2, backoff=0)
        job = self.fixture.submit(self.client)
        for _ in range(2):
            self.grabbed(self.worker, job)
            self.fails(self.worker, job)
            self.assertEqual(job.state, QUEUED)
        self.grabbed(self.worker, job)
        self.complete(self.worker, job)
        self.assertEqual(self.fixture.heard(self.client), [(WORK_COMPLETE, job.handle, b"done")])
        self.assert_gone(job)

    def test_each_reason_is_tried_again(self) -> None:
        for reason in REASONS:
            self.fixture = BrokerFixture()
            self.fixture.set(retries=1, backoff=0, lease=5)
            client = self.fixture.connect()
            job = self.fixture.submit(client)
            self.end(job, reason)
            self.assertEqual((job.state, job.retries, self.history(job)), (QUEUED, 1, [reason]))
            self.assertEqual(self.fixture.heard(client), [])
            self.end(job, reason)
            self.assertEqual(job.state, FAILED)
            self.assertEqual(self.fixture.heard(client), [(WORK_FAIL, job.handle)])

    def test_a_total_counts_them_together(self) -> None:
        self.fixture.set(retries=3, backoff=0, lease=5)
        job = self.fixture.submit(None)
        for reason in ("fail", "silent", "lost"):
            self.end(job, reason)
            self.assertEqual(job.state, QUEUED)
        self.end(job, "timeout")
        self.assertEqual((job.state, self.history(job)), (DEAD, ["fail", "silent", "lost", "timeout"]))

    def test_each_by_itself(self) -> None:
        self.fixture.set(retries={"fail": 1, "lost": 2}, backoff=0)
        job = self.fixture.submit(None)
        for reason in ("lost", "fail", "lost"):
            self.end(job, reason)
            self.assertEqual(job.state, QUEUED)
        self.end(job, "fail")
        self.assertEqual(job.state, DEAD)

    def test_one_that_is_not_named_is_the_end(self) -> None:
        self.fixture.set(retries={"fail": 9}, backoff=0)
        job = self.fixture.submit(None)
        self.end(job, "exception")
        self.assertEqual(job.state, DEAD)

    def test_without_retries_in_a_policy_the_first_failure_is_the_end(self) -> None:
        self.fixture.set(retries=0)
        for client, state in ((self.client, FAILED), (None, DEAD)):
            job = self.fixture.submit(client)
            self.end(job, "fail")
            self.assertEqual(job.state, state)

    def test_the_room_and_not_the_classic_count_decides(self) -> None:
        self.fixture = BrokerFixture(retries=1)
        self.fixture.set(retries=3, backoff=0)
        job = self.fixture.submit(None)
        for _ in range(3):
            self.end(job, "lost")
            self.assertEqual(job.state, QUEUED)
        self.end(job, "lost")
        self.assertEqual(job.state, DEAD)

    def test_a_policy_that_does_not_speak_of_them_leaves_the_classic_rules(self) -> None:
        self.fixture = BrokerFixture(retries=2)
        self.fixture.set(timeout=100)
        for reasons, state in (
            (["fail"], FAILED),
            (["exception"], FAILED),
            (["lost"], QUEUED),
            (["lost", "lost"], FAILED),
            (["timeout", "lost"], FAILED),
        ):
            job = self.fixture.submit(None)
            for reason in reasons:
                self.end(job, reason)
            self.assertEqual(job.state, state)
            if state == QUEUED:
                self.fixture.cancel(job)
        self.assertEqual(self.broker.archive.jobs, {})

    def test_classically_the_first_loss_keeps_its_place(self) -> None:
        self.fixture.set(timeout=100)
        first, second = self.fixture.submit(None), self.fixture.submit(None)
        self.end(first, "lost")
        self.assertEqual(self.fixture.grab_all(self.worker), [first, second])

    def test_with_a_policy_it_goes_behind_the_others(self) -> None:
        self.fixture.set(retries=5, backoff=0)
        first, second = self.fixture.submit(None), self.fixture.submit(None)
        self.end(first, "lost")
        self.assertEqual(self.fixture.grab_all(self.worker), [second, first])

    def test_a_job_has_settings_of_its_own(self) -> None:
        self.fixture.set(retries=0)
        settings = {"retries": 1, "backoff": "7s"}
        job = self.fixture.submit(None, settings=settings)
        other = self.fixture.submit(None, b"g", settings=settings)
        for each in (job, other):
            worker = self.fixture.worker(each.function.name)
            self.grabbed(worker, each)
            self.fails(worker, each)
            self.assertEqual((each.state, each.due), (DELAYED, START + 7))

    def test_nobody_wants_it_any_more(self) -> None:
        self.fixture.set(retries=5, backoff=0)
        job = self.fixture.submit(self.client)
        self.grabbed(self.worker, job)
        self.fixture.leave(self.client)
        self.assertEqual(job.state, RUNNING)
        self.fails(self.worker, job)
        self.assertEqual(job.state, CANCELLED)
        self.assert_gone(job)

    def test_data_that_were_sent_stay_sent_and_progress_begins_again(self) -> None:
        self.fixture.set(retries=1, backoff=0)
        job = self.fixture.submit(self.client)
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"one")
        self.broker.reports.work_status(self.worker, job.handle, b"1", b"2", (1, 2), self.fixture.now)
        self.fails(self.worker, job)
        self.assertEqual(job.progress, (0, 0))
        self.grabbed(self.worker, job)
        self.data(self.worker, job, b"one again")
        self.complete(self.worker, job)
        self.assertEqual(
            self.fixture.heard(self.client),
            [
                (WORK_DATA, job.handle, b"one"),
                (WORK_STATUS, job.handle, b"1", b"2"),
                (WORK_DATA, job.handle, b"one again"),
                (WORK_COMPLETE, job.handle, b"done"),
            ],
        )

    def test_who_joins_between_two_attempts_hears_of_the_last(self) -> None:
        self.fixture.set(retries=1, backoff=60)
        job = self.fixture.submit(self.client, unique=b"u")
        self.end(job, "fail")
        late = self.fixture.connect()
        self.assertIs(self.fixture.submit(late, unique=b"u"), job)
        self.fixture.pass_time(60)
        self.end(job, "fail")
        self.assertEqual(
            self.fixture.outbox.take(),
            [(late, (WORK_FAIL, job.handle)), (self.client, (WORK_FAIL, job.handle))],
        )

    def test_one_that_waits_is_cancelled(self) -> None:
        self.fixture.set(retries=1, backoff=60)
        job = self.fixture.submit(self.client)
        self.end(job, "fail")
        self.fixture.cancel(job)
        self.assertEqual(self.fixture.heard(self.client), [(WORK_FAIL, job.handle)])
        self.assertEqual((job.state, self.fixture.next_call), (CANCELLED, inf))

    def test_one_that_waits_goes_with_its_client(self) -> None:
        self.fixture.set(retries=1, backoff=60)
        job = self.fixture.submit(self.client)
        self.end(job, "fail")
        self.fixture.leave(self.client)
        self.assert_gone(job)

    def test_while_the_server_drains_one_whose_time_is_to_come_is_not_waited_for(self) -> None:
        job = self.fixture.submit(self.client, due=self.fixture.now + 86400)
        self.fixture.drain()
        self.assertEqual((job.state, self.broker.drained), (DELAYED, True))

    def test_while_the_server_drains_one_that_somebody_waits_for_is_tried_again(self) -> None:
        self.fixture.set(retries=2, backoff=10)
        job, background = self.fixture.submit(self.client), self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.grabbed(self.worker, background)
        self.fixture.drain()
        self.assertFalse(self.broker.drained)
        self.fails(self.worker, job)
        self.fails(self.worker, background)
        self.fixture.pass_time(10)
        self.assertEqual((job.state, background.state), (QUEUED, DELAYED))
        self.assertFalse(self.broker.drained)
        self.grabbed(self.worker, job)
        self.complete(self.worker, job)
        self.assertTrue(self.broker.drained)


class ExceptionTests(AttemptsTestCase):
    def test_the_last_text_is_told_to_those_who_asked_for_exceptions(self) -> None:
        self.fixture.set(retries=1, backoff=0)
        asked = self.fixture.connect(exceptions=True)
        job = self.fixture.submit(asked, unique=b"u")
        self.fixture.submit(self.client, unique=b"u")
        for text in (b"first", b"second"):
            self.assertEqual(self.fixture.outbox.take(), [])
            self.grabbed(self.worker, job)
            self.broker.reports.work_exception(self.worker, job.handle, text, self.fixture.now)
        self.assertEqual(
            self.fixture.outbox.take(),
            [(self.client, (WORK_FAIL, job.handle)), (asked, (WORK_EXCEPTION, job.handle, b"second"))],
        )

    def test_one_that_ends_otherwise_is_a_failure_to_all(self) -> None:
        self.fixture.set(retries=1, backoff=0)
        asked = self.fixture.connect(exceptions=True)
        job = self.fixture.submit(asked)
        self.end(job, "exception")
        self.end(job, "lost")
        self.assertEqual(self.fixture.heard(asked), [(WORK_FAIL, job.handle)])

    def test_the_failure_that_perl_says_behind_it_is_let_pass(self) -> None:
        self.fixture.set(retries=1, backoff=0)
        job = self.fixture.submit(self.client)
        for state in (QUEUED, FAILED):
            self.grabbed(self.worker, job)
            self.broker.reports.work_exception(self.worker, job.handle, b"why", self.fixture.now)
            self.fails(self.worker, job)
            self.assertEqual(job.state, state)
        self.assertEqual(job.retries, 1)
        with self.assertRaises(JobNotFound):
            self.fails(self.worker, job)

    def test_but_not_of_the_next_attempt(self) -> None:
        self.fixture.set(retries=2, backoff=0)
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.broker.reports.work_exception(self.worker, job.handle, b"why", self.fixture.now)
        self.grabbed(self.worker, job)
        self.fails(self.worker, job)
        self.assertEqual(self.history(job), ["exception", "fail"])

    def test_nor_of_one_that_another_has_by_now(self) -> None:
        self.fixture.set(retries=2, backoff=0)
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.broker.reports.work_exception(self.worker, job.handle, b"why", self.fixture.now)
        other = self.fixture.worker(b"f")
        self.grabbed(other, job)
        self.fails(self.worker, job)
        self.assertIs(job.worker, other)


class BackoffTests(AttemptsTestCase):
    def waits(self, attempts: int, **settings: Any) -> list[float]:
        """How long a job waits between its attempts."""
        self.fixture.set(retries=attempts, **settings)
        job = self.fixture.submit(None)
        waits = []
        for _ in range(attempts):
            self.end(job, "fail")
            self.assertEqual(job.state, DELAYED)
            waits.append(round(self.broker.timers.deadline - self.fixture.now, 6))
            self.fixture.pass_time(waits[-1] - 0.001)
            self.assertEqual(job.state, DELAYED)
            self.fixture.pass_time(0.001)
            self.assertEqual(job.state, QUEUED)
        self.fixture.cancel(job)
        return waits

    def test_kinds(self) -> None:
        self.assertEqual(self.waits(3, backoff="7s"), [7.0, 7.0, 7.0])
        table = {"first": 5, "most": 18, "jitter": 0}
        self.assertEqual(self.waits(3, backoff={"kind": "fixed", **table}), [5.0, 5.0, 5.0])
        self.assertEqual(self.waits(4, backoff={"kind": "linear", **table}), [5.0, 10.0, 15.0, 18.0])
        self.assertEqual(self.waits(4, backoff=table), [5.0, 10.0, 18.0, 18.0])

    def test_chance_takes_its_share(self) -> None:
        chances = iter([0.0, 0.5, 1.0])
        self.fixture = BrokerFixture(chance=lambda: next(chances))
        backoff = {"kind": "fixed", "first": 10, "jitter": 0.2}
        self.assertEqual(self.waits(3, backoff=backoff), [10.0, 9.0, 8.0])

    def test_it_counts_all_attempts_whatever_ended_them(self) -> None:
        self.fixture.set(retries={"fail": 9, "lost": 9}, backoff={"kind": "linear", "first": 10, "jitter": 0})
        job = self.fixture.submit(None)
        for reason, due in (("fail", START + 10), ("lost", START + 10 + 20), ("fail", START + 30 + 30)):
            self.end(job, reason)
            self.assertEqual(job.due, due)
            self.fixture.pass_time(due - self.fixture.now)

    def test_a_sleeper_is_woken_when_the_time_has_come(self) -> None:
        self.fixture.set(retries=1, backoff=10)
        job = self.fixture.submit(None)
        self.end(job, "fail")
        sleeper = self.fixture.sleeper(b"f")
        self.fixture.pass_time(9.9)
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.pass_time(0.1)
        self.assertEqual(self.fixture.woken(), [sleeper])
        self.grabbed(sleeper, job)

    def test_at_its_time_it_comes_behind_all_others(self) -> None:
        self.fixture.set(retries=1, backoff=10)
        first = self.fixture.submit(None)
        self.end(first, "fail")
        second = self.fixture.submit(None)
        self.fixture.pass_time(10)
        self.assertEqual(self.fixture.grab_all(self.worker), [second, first])


class DeadTests(AttemptsTestCase):
    def die(self, workload: bytes = b"work", **rest: Any) -> Job:
        job = self.fixture.submit(None, workload=workload, **rest)
        self.grabbed(self.worker, job)
        self.fails(self.worker, job)
        self.assertEqual(job.state, DEAD)
        return job

    def test_it_is_known_with_its_history(self) -> None:
        self.fixture.set(retries=2, backoff=10)
        self.worker.client_id = b"mailer"
        job = self.fixture.submit(None, workload=b"work", unique=b"u")
        self.grabbed(self.worker, job)
        self.fixture.pass_time(1)
        self.broker.reports.work_exception(self.worker, job.handle, b"refus\xc3\xa9", self.fixture.now)
        self.fixture.pass_time(10)
        self.end(job, "lost")
        self.fixture.pass_time(10)
        self.grabbed(self.worker, job)
        self.fixture.pass_time(3)
        self.fails(self.worker, job)
        self.assertEqual(
            history_of(job).attempts,
            [
                Attempt(START, START + 1, "exception", "mailer", "refus\xe9"),
                Attempt(START + 11, START + 11, "lost", "192.0.2.1 3", ""),
                Attempt(START + 21, START + 24, "fail", "mailer", ""),
            ],
        )
        self.assertEqual(history_of(job).counts, {"exception": 1, "lost": 1, "fail": 1})
        self.assertEqual((job.since, self.brought(job)), (START + 24, b"work"))
        self.assertIs(self.broker.archive.by_handle(job.handle), job)
        self.assertIs(self.broker.named(b"f", b"u"), job)
        self.assertIsNone(self.broker.table.by_handle(job.handle))

    def test_those_who_wait_are_told(self) -> None:
        self.fixture.set(retries=0)
        job = self.fixture.submit(None, unique=b"u")
        self.fixture.submit(self.client, unique=b"u")
        told = self.outcome(job)
        self.end(job, "exception")
        self.assertEqual(self.fixture.heard(self.client), [(WORK_FAIL, job.handle)])
        self.assertEqual((job.state, told), (DEAD, [(DEAD, b"", b"why", True)]))

    def test_it_is_forgotten_when_it_is_old(self) -> None:
        self.fixture.set(retries=0, dead="1h")
        job = self.die()
        self.fixture.pass_time(3599)
        self.assertIs(self.broker.archive.by_handle(job.handle), job)
        self.fixture.pass_time(1)
        self.assertIsNone(self.broker.archive.by_handle(job.handle))
        self.assertEqual((job.workload, self.broker.timers.deadline), (b"", inf))

    def test_the_oldest_make_room(self) -> None:
        self.fixture.set(retries=0, dead={"keep": "1h", "jobs": 2})
        jobs = [self.die() for _ in range(3)]
        self.assertEqual(list(self.broker.archive.jobs.values()), jobs[1:])
        self.fixture.set(retries=0, dead={"keep": "1h", "bytes": 10})
        last = self.die(b"1234567")
        self.assertEqual(list(self.broker.archive.jobs.values()), [last])

    def test_one_that_is_larger_than_all_room_has_failed(self) -> None:
        """Whatever it says itself: the others would have to go for it."""
        self.fixture.set(retries=0, dead={"keep": "1h", "bytes": 10}, results=60)
        last = self.die(b"w" * 10)
        job = self.fixture.submit(None, workload=b"w" * 11, settings={"dead": {"bytes": 100}})
        self.fails(self.worker, self.grabbed(self.worker, job))
        self.assertEqual(job.state, FAILED)
        self.assertEqual(list(self.broker.archive.jobs.values()), [last, job])

    def test_what_one_job_says_of_itself_costs_no_other_its_place(self) -> None:
        self.fixture.set(retries=0, dead={"keep": "1h", "jobs": 5})
        job = self.die()
        self.die(settings={"dead": {"keep": "2h", "jobs": 1}})
        self.assertIs(self.broker.archive.by_handle(job.handle), job)
        self.fixture.pass_time(3600)
        self.assertEqual(len(self.broker.archive.jobs), 1)

    def test_none_are_kept_for_no_time(self) -> None:
        self.fixture.set(retries=0, dead=0)
        job = self.die()
        self.assertEqual(self.broker.archive.jobs, {})
        self.assert_gone(job)

    def test_those_of_clients_that_wait_are_not_kept(self) -> None:
        self.fixture.set(retries=0)
        self.end(self.fixture.submit(self.client), "fail")
        self.assertEqual(self.broker.archive.jobs, {})

    def test_its_unique_is_free(self) -> None:
        self.fixture.set(retries=0)
        dead = self.die(unique=b"u")
        job = self.fixture.submit(None, unique=b"u")
        self.assertIsNot(job, dead)
        self.assertIs(self.broker.named(b"f", b"u"), job)
        self.fixture.cancel(job)
        self.assertIs(self.broker.named(b"", b"u"), dead)


class StoredAttemptsTests(DurableBrokerTestCase):
    """What the journal is told, and what a server that starts again makes of it."""

    def setUp(self) -> None:
        super().setUp()
        self.worker = self.fixture.worker(b"f")

    def fail_once(self, job: Job) -> None:
        self.grabbed(self.worker, job)
        self.fails(self.worker, job)

    def again(self) -> None:
        """The server starts again, with the worker."""
        self.fixture.restart()
        self.worker = self.fixture.worker(b"f")

    def job(self, number: int = 1) -> Job:
        return self.broker.table.jobs[number]

    def ready(self, number: int = 1) -> Job:
        """A job whose turn it is, with its workload."""
        job = self.job(number)
        if job.state == PAGED:
            self.fixture.read()
        return job

    def test_attempts_and_waits_outlive_it(self) -> None:
        self.fixture.set(retries=2, backoff=60)
        (job,) = self.fixture.store(b"work")
        self.fail_once(job)
        self.again()
        job = self.job()
        self.assertEqual(
            (job.state, self.broker.lifecycle.begins(job), job.retries), (DELAYED, START + 60, 1)
        )
        self.assertEqual([each.reason for each in history_of(self.job()).attempts], ["fail"])
        self.fixture.pass_time(60)
        self.fail_once(self.ready())
        self.again()
        self.fixture.pass_time(60)
        job = self.ready()
        self.fail_once(job)
        self.assertEqual((job.state, history_of(job).counts), (DEAD, {"fail": 3}))

    def test_settings_of_one_job_outlive_it(self) -> None:
        self.fixture.store(b"work", settings={"retries": 1, "backoff": 5})
        self.again()
        self.fail_once(self.ready())
        self.assertEqual((self.job().state, self.job().due), (DELAYED, START + 5))

    def test_one_that_ran_is_queued_and_its_attempt_not_counted(self) -> None:
        self.fixture.set(retries=1)
        (job,) = self.fixture.store(b"work")
        self.grabbed(self.worker, job)
        self.again()
        self.assertEqual((self.job().retries, history_of(self.job()).counts), (0, {}))

    def test_the_dead_outlive_it(self) -> None:
        self.fixture.set(retries=0, dead="1h")
        (job,) = self.fixture.store(b"work", unique=b"u")
        self.fail_once(job)
        self.assertEqual((job.workload, self.brought(job)), (b"", b"work"))
        self.assertEqual((self.journal.results, self.journal.deleted), ({}, []))
        self.fixture.pass_time(10)
        self.again()
        self.assertEqual(self.broker.table.jobs, {})
        self.fixture.recall()
        back = self.broker.named(b"f", b"u")
        assert back is not None
        self.assertEqual((back.state, back.since, back.size), (DEAD, START, 4))
        self.assertEqual([each.reason for each in history_of(back).attempts], ["fail"])
        self.assertEqual(self.brought(back), b"work")
        self.fixture.pass_time(3589)
        self.assertEqual(self.journal.deleted_all, [])
        self.fixture.pass_time(1)
        self.assertEqual((self.journal.deleted_all, self.broker.archive.jobs), ([1], {}))
        self.assertEqual(self.broker.functions.by_name.keys(), {b"f"})

    def test_one_that_is_dead_before_it_is_stored(self) -> None:
        self.fixture.set(retries=0)
        client = self.fixture.connect()
        job = self.fixture.submit(client, unique=b"u", workload=b"work")
        self.grabbed(self.worker, job)
        self.fixture.submit(None, unique=b"u")
        self.fails(self.worker, job)
        self.assertEqual((job.state, job.workload, self.brought(job)), (DEAD, b"work", b"work"))
        self.fixture.commit()
        self.assertEqual((job.stored, job.workload, self.brought(job)), (True, b"", b"work"))
        self.again()
        self.assertEqual(len(self.broker.archive), 1)

    def test_one_that_is_dead_and_then_refused(self) -> None:
        self.fixture.set(retries=0)
        job = self.fixture.submit(self.fixture.connect(), unique=b"u", workload=b"work")
        self.grabbed(self.worker, job)
        self.fixture.submit(None, unique=b"u")
        self.fails(self.worker, job)
        self.fixture.refuse()
        self.assertEqual((self.broker.archive.jobs, job.workload, self.fixture.next_call), ({}, b"", inf))

    def test_the_order_of_ends_outlives_it(self) -> None:
        self.fixture.set(retries=0, dead={"keep": "1h", "jobs": 2})
        first, second = self.fixture.store(b"1", b"2")
        self.assertEqual(self.fixture.grab_all(self.worker), [first, second])
        self.fails(self.worker, second)
        self.fixture.pass_time(1)
        self.fails(self.worker, first)
        self.again()
        (third,) = self.fixture.store(b"3")
        self.fail_once(third)
        self.fixture.answer()
        self.fixture.recall()
        self.assertEqual({job.number for job in self.broker.archive.jobs.values()}, {1, third.number})

    def test_where_the_memory_is_full_its_workload_goes(self) -> None:
        self.journal = FakeJournal()
        self.fixture = BrokerFixture(journal=self.journal, queue_memory=8)
        self.worker = self.fixture.worker(b"f")
        self.fixture.set(retries=2, backoff=0)
        (first,) = self.fixture.store(b"12345678")
        (second,) = self.fixture.store_waited_for(b"12345678")
        self.assertEqual((first.state, second.state), (QUEUED, PAGED))
        self.grabbed(self.worker, first)
        self.fixture.read()
        self.fails(self.worker, first)
        self.assertEqual((first.state, first.workload, second.state), (PAGED, b"", QUEUED))
        self.grabbed(self.worker, second)
        self.complete(self.worker, second)
        self.fixture.read()
        self.grabbed(self.worker, first)
        self.complete(self.worker, first)
        self.assertEqual((first.state, self.journal.deleted), (DONE, [2, 1]))

    def test_without_a_policy_any_more_the_classic_rules_hold(self) -> None:
        self.fixture.set(retries=5, backoff=0)
        (job,) = self.fixture.store(b"work")
        self.fail_once(job)
        self.fixture.set("g")
        self.fail_once(job)
        self.assert_gone(job)


class PeerTests(AttemptsTestCase):
    def test_jobs_of_a_worker_that_gives_a_function_up_are_lost(self) -> None:
        self.fixture.set(retries=1, backoff=0)
        leave: list[Any] = [
            lambda peer: self.broker.cant_do(peer, b"f", self.fixture.now),
            lambda peer: self.broker.reset_abilities(peer, self.fixture.now),
        ]
        for give_up in leave:
            worker: Peer = self.fixture.worker(b"f")
            job = self.fixture.submit(None)
            self.grabbed(worker, job)
            give_up(worker)
            self.assertEqual((job.state, self.history(job)), (QUEUED, ["lost"]))
            self.fixture.cancel(job)
