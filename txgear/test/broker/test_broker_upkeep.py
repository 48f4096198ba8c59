"""Tests of L{txgear.broker.broker}: whom it wakes, what it does later, and what it forgets."""

from __future__ import annotations

import gc
from math import inf

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.bulk import BATCH
from txgear.broker.model import Function
from txgear.broker.rules import Rules
from txgear.broker.sleepers import WAKE_SECONDS
from txgear.broker.states import DELAYED, QUEUED
from txgear.broker.table import MAX_PREFIX, check_prefix
from txgear.errors import ArgumentTooLarge, ConfigurationError, InvalidArgument, QueueError
from txgear.protocol.constants import HIGH, LOW, MAX_FUNCTION, MAX_HANDLE
from txgear.test.support.broker import BrokerFixture, BrokerTestCase, FakeOutbox
from txgear.test.support.clock import START


class GivenUpTests(SynchronousTestCase):
    """A broker is given up in a process that goes on."""

    @staticmethod
    def functions() -> list[Function]:
        """Those that are in memory, of the broker that is given up."""
        names = (b"given", b"up")
        return [each for each in gc.get_objects() if isinstance(each, Function) and each.name in names]

    def test_nothing_stays(self) -> None:
        """Though Python's collector does not look at jobs, wherever these are."""
        fixture = BrokerFixture()
        fixture.set("given", retries=0, dead="1h")
        client, worker = fixture.connect(), fixture.worker(b"given")
        fixture.submit(client, b"given", unique=b"runs")
        self.assertIsNotNone(fixture.grab(worker))
        fixture.submit(None, b"given", unique=b"fails")
        failed = fixture.grab(worker)
        assert failed is not None
        fixture.broker.reports.work_fail(worker, failed.handle, fixture.now)
        self.assertEqual(len(fixture.broker.archive.jobs), 1)
        fixture.submit(None, b"given", unique=b"waits")
        fixture.submit(None, b"given", delay=99.0)
        fixture.submit(None, b"given", due=fixture.now + 99.0)
        fixture.submit(client, b"up")
        self.assertEqual(len(self.functions()), 2)
        fixture.broker.let_go()
        del fixture, client, worker, failed
        gc.collect()
        self.assertEqual(self.functions(), [])


class WakeUpTests(BrokerTestCase):
    def test_a_job_wakes_one_worker(self) -> None:
        sleepers = [self.fixture.sleeper(b"f") for _ in range(3)]
        self.fixture.submit(None)
        self.assertEqual(self.fixture.woken(), sleepers[:1])
        self.fixture.submit(None)
        self.assertEqual(self.fixture.woken(), sleepers[1:2])

    def test_the_one_that_can_do_it(self) -> None:
        self.fixture.sleeper(b"g")
        sleeper = self.fixture.sleeper(b"f", b"g")
        self.fixture.submit(None)
        self.assertEqual(self.fixture.woken(), [sleeper])

    def test_who_is_awake_gets_no_noop(self) -> None:
        self.fixture.worker(b"f")
        self.fixture.submit(None)
        self.assertEqual(self.fixture.outbox.take(), [])

    def test_who_was_woken_gets_no_second_one(self) -> None:
        sleeper = self.fixture.sleeper(b"f")
        for _ in range(3):
            self.fixture.submit(None)
        self.assertEqual(self.fixture.woken(), [sleeper])

    def test_who_falls_asleep_beside_a_job_is_woken_at_once(self) -> None:
        worker = self.fixture.worker(b"f")
        self.fixture.submit(None)
        self.fixture.sleep(worker)
        self.assertEqual(self.fixture.woken(), [worker])

    def test_unless_others_are_woken_for_all_jobs(self) -> None:
        self.fixture.sleeper(b"f")
        self.fixture.submit(None)
        self.fixture.woken()
        self.fixture.sleeper(b"f")
        self.assertEqual(self.fixture.woken(), [])

    def test_who_falls_asleep_again_without_grabbing_is_woken_again(self) -> None:
        sleeper = self.fixture.sleeper(b"f")
        self.fixture.submit(None)
        self.fixture.woken()
        self.fixture.sleep(sleeper)
        self.assertEqual(self.fixture.woken(), [sleeper])

    def test_a_sleeper_that_learns_what_is_queued_is_woken(self) -> None:
        sleeper = self.fixture.sleeper(b"g")
        self.fixture.submit(None)
        self.broker.can_do(sleeper, b"f", 0.0, self.fixture.now)
        self.assertEqual(self.fixture.woken(), [sleeper])

    def test_a_woken_worker_that_takes_another_job_has_another_woken(self) -> None:
        first = self.fixture.sleeper(b"f", b"g")
        self.fixture.submit(None, b"f")
        second = self.fixture.sleeper(b"f")
        self.fixture.submit(None, b"g", priority=HIGH)
        self.fixture.woken()
        job = self.fixture.grab(first)
        assert job is not None
        self.assertEqual(job.function.name, b"g")
        self.assertEqual(self.fixture.woken(), [second])

    def test_a_woken_worker_that_sleeps_on_beside_another_job_has_another_woken(self) -> None:
        first = self.fixture.sleeper(b"f", b"g")
        self.fixture.submit(None, b"f")
        second = self.fixture.sleeper(b"f")
        self.fixture.submit(None, b"g", priority=HIGH)
        self.fixture.woken()
        self.fixture.sleep(first)
        self.assertEqual(self.fixture.woken(), [first, second])

    def test_a_woken_worker_that_goes_or_gives_up_has_another_woken(self) -> None:
        for gives_up in (
            BrokerFixture.leave,
            lambda fixture, peer: fixture.broker.cant_do(peer, b"f", fixture.now),
            lambda fixture, peer: fixture.broker.reset_abilities(peer, fixture.now),
        ):
            fixture = BrokerFixture()
            first, second = fixture.sleeper(b"f"), fixture.sleeper(b"f")
            fixture.submit(None)
            self.assertEqual(fixture.woken(), [first])
            gives_up(fixture, first)
            self.assertEqual(fixture.woken(), [second])

    def test_a_woken_worker_that_does_not_grab_has_another_woken(self) -> None:
        sleepers = [self.fixture.sleeper(b"f") for _ in range(3)]
        self.fixture.submit(None)
        self.assertEqual(self.fixture.woken(), sleepers[:1])
        self.fixture.pass_time(WAKE_SECONDS / 2)
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.pass_time(WAKE_SECONDS / 2)
        self.assertEqual(self.fixture.woken(), sleepers[1:2])
        self.fixture.pass_time(WAKE_SECONDS)
        self.assertEqual(self.fixture.woken(), sleepers[2:])

    def test_but_not_when_somebody_else_has_taken_the_job(self) -> None:
        self.fixture.sleeper(b"f")
        self.fixture.submit(None)
        self.fixture.sleeper(b"f")
        self.fixture.grab(self.fixture.worker(b"f"))
        self.fixture.woken()
        self.fixture.pass_time(WAKE_SECONDS)
        self.assertEqual(self.fixture.woken(), [])

    def test_after_a_lot_of_jobs_no_worker_sleeps(self) -> None:
        sleepers = [self.fixture.sleeper(b"f") for _ in range(5)]
        for _ in range(10):
            self.fixture.submit(None)
        self.assertEqual(self.fixture.woken(), sleepers)

    def test_at_most_so_many_noops_for_a_job(self) -> None:
        self.fixture = BrokerFixture(wakeups=1)
        worker = self.fixture.worker(b"f")
        for _ in range(4):
            self.fixture.submit(None)
        sleepers = [self.fixture.sleeper(b"g") for _ in range(3)]
        for sleeper in sleepers:
            self.broker.can_do(sleeper, b"f", 0.0, self.fixture.now)
        self.assertEqual(self.fixture.woken(), sleepers)
        self.assertEqual(len(self.fixture.grab_all(worker)), 4)
        for sleeper in sleepers:
            self.fixture.grab(sleeper)
            self.fixture.sleep(sleeper)
        self.fixture.leave(worker)
        self.assertEqual(len(self.fixture.woken()), 3)

    def test_a_job_that_waits_for_its_time_wakes_nobody_until_then(self) -> None:
        sleeper = self.fixture.sleeper(b"f")
        self.fixture.submit(None, due=START + 10)
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.pass_time(10.0)
        self.assertEqual(self.fixture.woken(), [sleeper])


class LaterTests(BrokerTestCase):
    """Jobs that wait for their time."""

    def test_not_before_its_time(self) -> None:
        worker = self.fixture.worker(b"f")
        job = self.fixture.submit(None, due=START + 10)
        self.assertEqual(job.state, DELAYED)
        self.assertEqual(self.fixture.counts(), {b"f": (0, 1, 0, 1)})
        self.assertIsNone(self.fixture.grab(worker))
        self.fixture.pass_time(9.9)
        self.assertIsNone(self.fixture.grab(worker))
        self.fixture.pass_time(0.1)
        self.assertIs(self.fixture.grab(worker), job)

    def test_a_time_that_is_over_is_now(self) -> None:
        for due in (START, START - 1, -1.0, 0.0):
            self.assertEqual(self.fixture.submit(None, due=due).state, QUEUED)

    def test_the_others_go_on(self) -> None:
        self.fixture.submit(None, due=START + 10)
        low = self.fixture.submit(None, priority=LOW)
        self.assertIs(self.fixture.grab(self.fixture.worker(b"f")), low)

    def test_in_the_order_of_their_times(self) -> None:
        later = [self.fixture.submit(None, due=START + due) for due in (30, 10, 20)]
        self.fixture.pass_time(30)
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"f")), [later[1], later[2], later[0]])

    def test_they_are_joined_as_others_are(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(None, unique=b"u", due=START + 10)
        self.assertIs(self.fixture.submit(client, unique=b"u"), job)
        self.fixture.leave(client)
        self.fixture.pass_time(10)
        self.assertIs(self.fixture.grab(self.fixture.worker(b"f")), job)

    def test_one_deadline_for_all(self) -> None:
        self.assertEqual(self.broker.timers.deadline, inf)
        for delay in (30, 10, 20):
            self.fixture.submit(None, delay=delay)
        self.assertEqual(self.broker.timers.deadline, START + 10)
        self.fixture.pass_time(10)
        self.assertEqual(self.broker.timers.deadline, START + 20)
        self.fixture.pass_time(20)
        self.assertEqual(self.broker.timers.deadline, inf)

    def test_a_deadline_that_has_lapsed_costs_one_empty_call(self) -> None:
        job = self.fixture.submit(None, delay=10)
        self.fixture.cancel(job)
        self.broker.expire(START + 10)
        self.assertEqual(self.broker.timers.deadline, inf)

    def test_a_great_many_at_once_take_several_calls(self) -> None:
        jobs = [self.fixture.submit(None, due=START + 10) for _ in range(2 * BATCH)]
        begun = [0]
        while self.broker.timers.deadline <= START + 10:
            self.broker.expire(START + 10)
            begun.append(self.fixture.counts()[b"f"][0])
            self.assertLessEqual(begun[-1] - begun[-2], BATCH)
        self.assertEqual((begun[-1], self.broker.timers.deadline), (2 * BATCH, inf))
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"f")), jobs)


class FunctionTests(BrokerTestCase):
    def limit(self, high: int, normal: int, low: int) -> None:
        self.broker.operations.limit_function(b"f", (high, normal, low))

    def test_a_full_queue_takes_no_new_job(self) -> None:
        self.limit(0, 2, 1)
        worker = self.fixture.worker(b"f")
        first = self.fixture.submit(None, unique=b"u", priority=LOW)
        with self.assertRaisesRegex(QueueError, "^QUEUE_ERROR: Job queue is full$"):
            self.fixture.submit(None, priority=LOW)
        self.fixture.submit(None, due=START + 10)
        self.fixture.grab(worker)
        with self.assertRaises(QueueError):
            self.fixture.submit(None)
        self.assertIs(self.fixture.submit(None, unique=b"u"), first)
        self.fixture.submit(None, priority=HIGH)
        self.complete(worker, first)
        self.limit(0, 0, 0)
        self.fixture.submit(None)

    def test_a_limit_is_remembered_for_a_function_nobody_uses_yet(self) -> None:
        self.limit(1, 1, 1)
        self.assertEqual(self.fixture.counts(), {b"f": (0, 0, 0, 0)})
        self.fixture.submit(None)
        self.assertRaises(QueueError, self.fixture.submit, None)

    def test_no_limit_leaves_nothing_behind(self) -> None:
        self.limit(0, 0, 0)
        self.assertEqual(self.fixture.counts(), {})

    def test_a_function_is_forgotten_with_its_last_job_and_worker(self) -> None:
        worker = self.fixture.worker(b"f", b"g")
        job = self.fixture.submit(None)
        self.fixture.grab(worker)
        self.broker.cant_do(worker, b"g", self.fixture.now)
        self.assertEqual(self.fixture.counts(), {b"f": (0, 0, 1, 1)})
        self.complete(worker, job)
        self.assertEqual(self.fixture.counts(), {b"f": (0, 0, 0, 1)})
        self.broker.reset_abilities(worker, self.fixture.now)
        self.assertEqual(self.fixture.counts(), {})

    def test_what_was_created_is_kept(self) -> None:
        self.broker.operations.create_function(b"f")
        self.fixture.leave(self.fixture.worker(b"f"))
        self.assertEqual(self.fixture.counts(), {b"f": (0, 0, 0, 0)})

    def test_dropping(self) -> None:
        self.assertIsNone(self.broker.operations.drop_function(b"f"))
        self.limit(1, 1, 1)
        self.broker.operations.create_function(b"F")
        self.assertTrue(self.broker.operations.drop_function(b"f"))
        self.assertEqual(self.fixture.counts(), {})
        self.fixture.submit(None)
        self.fixture.submit(None)

    def test_what_is_in_use_is_not_dropped(self) -> None:
        worker = self.fixture.worker(b"f")
        self.assertIs(self.broker.operations.drop_function(b"f"), False)
        self.fixture.submit(None, due=START + 10)
        self.fixture.leave(worker)
        self.assertIs(self.broker.operations.drop_function(b"F"), False)
        self.assertEqual(self.fixture.counts(), {b"f": (0, 1, 0, 0)})

    def test_names_that_will_not_do(self) -> None:
        longest = b"f" * MAX_FUNCTION
        self.broker.operations.create_function(longest)
        for name, kind, complaint in (
            (longest + b"f", ArgumentTooLarge, "Function name too large"),
            (b"f\0g", InvalidArgument, "A function's name holds no NUL"),
        ):
            for refused in (
                self.broker.operations.create_function,
                lambda name: self.broker.operations.limit_function(name, (1, 1, 1)),
                lambda name: self.broker.can_do(self.fixture.connect(), name, 0.0, START),
                lambda name: self.fixture.submit(None, name),
            ):
                with self.assertRaisesRegex(kind, complaint):
                    refused(name)
        self.assertEqual(list(self.fixture.counts()), [longest])


class HandleTests(SynchronousTestCase):
    def test_they_count_from_one(self) -> None:
        fixture = BrokerFixture()
        self.assertEqual(
            [fixture.submit(None).handle for _ in range(3)], [b"H:test:1", b"H:test:2", b"H:test:3"]
        )
        self.assertEqual([job.number for job in fixture.broker.table.jobs.values()], [1, 2, 3])

    def test_whatever_the_prefix(self) -> None:
        for prefix in (b"100%d", b"x" * MAX_PREFIX):
            self.assertEqual(check_prefix(prefix), prefix)
            broker = Broker(FakeOutbox(), Rules(prefix))
            handles = [broker.submit(None, b"f", b"", b"", START).handle for _ in range(2)]
            self.assertEqual(handles, [prefix + b":1", prefix + b":2"])

    def test_the_longest_prefix_leaves_room_for_every_number(self) -> None:
        self.assertEqual(len(b"x" * MAX_PREFIX + b":%d" % (10**18 - 1)), MAX_HANDLE)

    def test_prefixes_that_will_not_do(self) -> None:
        for prefix, complaint in (
            (b"", "1 to 44 bytes, this one 0"),
            (b"x" * (MAX_PREFIX + 1), "1 to 44 bytes, this one 45"),
            (b"H: host", "no spaces and no control characters"),
            (b"H:\n", "no spaces and no control characters"),
            (b"H:\x7f", "no spaces and no control characters"),
        ):
            with self.assertRaisesRegex(ConfigurationError, complaint):
                check_prefix(prefix)
