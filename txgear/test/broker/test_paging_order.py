"""
The order of jobs that are not in memory: it is that of those that are, whenever the store answers.
"""

from __future__ import annotations

from txgear.broker.model import Job, Peer
from txgear.broker.paging import PATIENCE
from txgear.broker.states import PAGED, QUEUED
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.test.broker.test_paging import PagedTestCase
from txgear.test.support.broker import record


class OrderTests(PagedTestCase):
    def high(self, function: bytes = b"f", count: int = 1) -> list[Job]:
        """Jobs that are not in memory, whose function is asked for by nobody yet."""
        self.fill()
        jobs = self.flood(count, priority=HIGH, function=function)
        self.fixture.read()
        self.assertEqual(self.states(jobs), [PAGED, *[None] * (count - 1)])
        return jobs

    def normal(self, function: bytes = b"f", count: int = 1) -> list[Job]:
        """Jobs that are in memory."""
        client = self.fixture.connect()
        return [self.fixture.submit(client, function) for _ in range(count)]

    def asleep(self, *functions: bytes) -> Peer:
        worker = self.fixture.worker(*functions)
        self.assertIsNone(self.fixture.grab(worker))
        self.fixture.sleep(worker)
        return worker

    def test_lower_ones_wait_while_it_is_read(self) -> None:
        high, normal = self.high(count=2), self.normal()
        worker = self.asleep(b"f")
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.read()
        self.assertEqual(self.fixture.woken(), [worker])
        self.assertEqual(self.drain_queue(worker), self.numbers(high + normal))

    def test_also_those_of_other_functions(self) -> None:
        high, normal = self.high(), self.normal(b"g")
        worker = self.asleep(b"f", b"g")
        other = self.fixture.worker(b"g")
        self.assert_grabs(other, normal[0])
        self.fixture.read()
        self.assertEqual(self.fixture.woken(), [worker])
        self.assert_grabs(worker, high[0])

    def test_after_a_restart_too(self) -> None:
        for number in range(1, 30):
            self.journal.put(record(number, size=1), b"n")
        self.journal.put(record(30, size=1, priority=HIGH), b"h")
        self.journal.put(record(31, size=1, priority=HIGH, function=b"g"), b"h")
        self.fixture.restart()
        worker = self.fixture.worker(b"f", b"g")
        self.assertEqual(self.drain_queue(worker), [30, 31, *range(1, 30)])

    def test_who_waits_is_woken_for_nothing_lower(self) -> None:
        """Nor is anybody in his place, again and again."""
        self.high()
        sleepers = [self.asleep(b"f", b"g") for _ in range(3)]
        self.normal(b"g", 5)
        self.assertEqual(self.fixture.woken(), [])
        self.assertTrue(all(peer.asleep for peer in sleepers))

    def test_one_who_can_do_only_that_is(self) -> None:
        self.high()
        self.asleep(b"f", b"g")
        other = self.fixture.sleeper(b"g")
        self.normal(b"g", 2)
        self.assertEqual(self.fixture.woken(), [other])

    def test_one_that_was_asleep_before_passes_it_on(self) -> None:
        sleeper, other = self.fixture.sleeper(b"g"), self.fixture.sleeper(b"g")
        self.high()
        self.broker.can_do(sleeper, b"f", 0.0, self.fixture.now)
        (job,) = self.normal(b"g")
        self.assertEqual(self.fixture.woken(), [sleeper])
        self.fixture.sleep(sleeper)
        self.assertEqual(self.fixture.woken(), [other])
        self.assert_grabs(other, job)

    def test_jobs_as_high_are_for_him(self) -> None:
        self.high()
        worker = self.asleep(b"f", b"g")
        job = self.fixture.submit(self.fixture.connect(), b"g", priority=HIGH)
        self.assertEqual(self.fixture.woken(), [worker])
        self.assert_grabs(worker, job)

    def test_what_is_left_when_it_is_handed_out_wakes_the_others(self) -> None:
        high = self.high()
        self.normal(count=2)
        workers = [self.asleep(b"f") for _ in range(4)]
        self.fixture.read()
        self.assertEqual(self.fixture.woken(), workers[:3])
        self.assert_grabs(workers[0], high[0])

    def test_when_it_is_cancelled_they_go_on(self) -> None:
        high, normal = self.high(), self.normal()
        worker = self.asleep(b"f")
        self.fixture.cancel(high[0])
        self.assertEqual(self.fixture.woken(), [worker])
        self.assert_grabs(worker, normal[0])

    def test_when_its_function_is_paused_they_go_on(self) -> None:
        self.high()
        normal = self.normal(b"g")
        worker = self.asleep(b"f", b"g")
        self.broker.operations.pause(b"f", self.fixture.now)
        self.assertEqual(self.fixture.woken(), [worker])
        self.assert_grabs(worker, normal[0])
        self.complete(worker, normal[0])
        self.normal(b"g")
        self.broker.operations.resume(b"f", self.fixture.now)
        self.assertIsNone(self.fixture.grab(worker))

    def test_when_the_server_drains_what_is_waited_for_goes_on(self) -> None:
        self.high()
        normal = self.normal()
        worker = self.asleep(b"f")
        self.fixture.drain()
        self.assertEqual(self.fixture.woken(), [worker])
        self.assert_grabs(worker, normal[0])

    def test_when_he_can_do_it_no_more_they_are_for_him(self) -> None:
        self.high()
        normal = self.normal(b"g")
        worker = self.asleep(b"f", b"g")
        self.broker.cant_do(worker, b"f", self.fixture.now)
        self.assertEqual(self.fixture.woken(), [worker])
        self.assert_grabs(worker, normal[0])

    def test_one_who_learns_more_meanwhile_waits_all_the_same(self) -> None:
        self.high()
        self.normal(b"g")
        worker = self.asleep(b"f", b"g")
        self.broker.can_do(worker, b"h", 0.0, self.fixture.now)
        self.assertEqual((self.fixture.woken(), worker.barred), ([], HIGH))

    def test_a_store_that_does_not_answer_keeps_nobody_waiting(self) -> None:
        high, normal = self.high(), self.normal(count=2)
        worker = self.asleep(b"f")
        self.fixture.pass_time(PATIENCE - 0.1)
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.pass_time(0.1)
        self.assertEqual(self.fixture.woken(), [worker])
        self.assert_grabs(worker, normal[0])
        self.assertEqual(self.fixture.next_call, self.fixture.next_call)
        self.fixture.read()
        self.assert_grabs(worker, high[0])

    def test_while_one_read_follows_the_other_they_wait(self) -> None:
        self.high(count=1)
        self.flood(1, priority=HIGH, function=b"g")
        self.fixture.read()
        (low,) = self.normal()
        worker = self.asleep(b"f", b"g")
        self.fixture.pass_time(PATIENCE - 0.1)
        self.fixture.read()
        self.fixture.woken()
        self.assertIsNotNone(self.fixture.grab(worker))
        self.assertIsNone(self.fixture.grab(worker))
        self.fixture.sleep(worker)
        self.fixture.pass_time(0.2)
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.read()
        self.assertEqual(self.fixture.woken(), [worker])
        self.fixture.grab(worker)
        self.assert_grabs(worker, low)

    def test_a_function_keeps_its_turn_while_it_is_read(self) -> None:
        self.fill()
        paged = self.flood(2, b"x")
        self.fixture.read()
        other = self.normal(b"g", 4)
        worker = self.fixture.worker(b"f", b"g")
        self.assert_grabs(worker, other[0])
        self.assert_grabs(worker, other[1])
        self.fixture.read()
        self.assert_grabs(worker, paged[0])
        self.assert_grabs(worker, other[2])

    def test_it_does_so_where_the_worker_can_do_few(self) -> None:
        self.fill()
        paged = self.flood(2, b"x")
        self.fixture.read()
        other = self.normal(b"g", 4)
        for name in (b"a", b"b", b"c"):
            self.normal(name)
        worker = self.fixture.worker(b"f", b"g")
        self.assert_grabs(worker, other[0])
        self.fixture.read()
        self.assert_grabs(worker, paged[0])
        self.assert_grabs(worker, other[1])

    def test_one_that_is_due_and_has_to_be_read_is_before_lower_ones(self) -> None:
        self.fill()
        (job,) = self.fixture.store(b"x", priority=HIGH, due=self.fixture.now + 1)
        low = self.normal(count=2)
        worker = self.fixture.worker(b"f")
        self.assert_grabs(worker, low[0])
        self.fixture.pass_time(1)
        self.assertIsNone(self.fixture.grab(worker))
        self.fixture.read()
        self.assert_grabs(worker, job)

    def test_one_that_comes_back_is_before_those_that_have_to_be_read(self) -> None:
        self.fill()
        high = self.flood(3, b"x", priority=HIGH)
        self.fixture.read()
        self.normal()
        first, second = self.fixture.worker(b"f"), self.fixture.worker(b"f")
        self.fixture.read()
        self.assert_grabs(first, high[0])
        self.assertIsNone(self.fixture.grab(second))
        self.fixture.leave(first)
        self.assertEqual(self.states(high[:2]), [QUEUED, None])
        self.assert_grabs(second, high[0])
        self.fixture.read()
        self.assert_grabs(second, high[1])

    def test_of_what_is_kept_and_low_a_high_one_is_never_behind(self) -> None:
        """As in a queue of 3,000 jobs that does not fit, and then comes what is urgent."""
        low = self.flood(60, b"x" * 5, priority=NORMAL)
        high = self.flood(10, b"x" * 5, priority=HIGH)
        lowest = self.flood(3, b"x" * 5, priority=LOW)
        workers = [self.fixture.worker(b"f"), self.fixture.worker(b"f")]
        self.assertEqual(self.drain_queue(*workers), self.numbers(high + low + lowest))
