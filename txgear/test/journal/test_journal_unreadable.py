"""Tests of L{txgear.journal.journal}: what the store has, and cannot read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.logger import LogLevel, capturedLogs, formatEvent

from txgear.broker.ports import Reading
from txgear.broker.records import UNREADABLE_SECONDS
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.journal.portion import AT_ONCE
from txgear.journal.reads import MOST_READINGS
from txgear.protocol.constants import (
    CAN_DO,
    GRAB_JOB,
    JOB_ASSIGN,
    JOB_CREATED,
    NO_JOB,
    NOOP,
    PRE_SLEEP,
    SUBMIT_JOB,
    WORK_COMPLETE,
    WORK_FAIL,
)
from txgear.protocol.packets import request, response
from txgear.test.support.server import HANDLES, DurableServerTestCase, created, submit

WHYS = (StoreUnavailable("gone"), StoreRefused("damaged"), ZeroDivisionError("a defect"))
"""What a read may raise."""

FUNCTIONS = (b"f", b"g", b"h")


class UnreadableTestCase(DurableServerTestCase):
    """Three functions with three jobs each are in the store, and no workload is in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.fill()

    def fill(self) -> None:
        self.begin_anew()
        self.client.tell(*[submit(b"%d" % n, FUNCTIONS[n % 3], b"u%d" % n) for n in range(9)])
        self.thread.run_all()
        self.begin()

    def work(self) -> list[int]:
        """A worker does all that it gets; the numbers of the jobs."""
        done = []
        worker = self.fixture.connect()
        worker.tell(*[request(CAN_DO, name) for name in FUNCTIONS])
        while True:
            self.thread.run_all()
            heard = worker.ask(request(GRAB_JOB))
            if heard == response(NO_JOB):
                self.thread.run_all()
                heard = worker.ask(request(GRAB_JOB))
                if heard == response(NO_JOB):
                    break
            number = next(n for n in range(1, 100) if HANDLES[n] + b"\0" in heard)
            name, workload = FUNCTIONS[(number - 1) % 3], b"%d" % (number - 1)
            self.assertEqual(heard, response(JOB_ASSIGN, HANDLES[number], name, workload))
            worker.tell(request(WORK_COMPLETE, HANDLES[number], b""))
            done.append(number)
        worker.leave()
        return done

    def errors(self, action: Callable[[], object]) -> list[str]:
        """What the log says meanwhile, but for tracebacks."""
        with capturedLogs() as events:
            action()
        return [formatEvent(event) for event in events if event["log_level"] == LogLevel.error]


class LoadTests(UnreadableTestCase):
    """A queued job whose workload cannot be read."""

    def test_all_others_are_handed_out_at_once(self) -> None:
        for why in WHYS:
            for bad in ({1}, {5}, {9}, {1, 2, 3}, {4, 7}):
                self.fill()
                self.store.unreadable, self.store.unreadable_why = bad, why
                self.assertEqual(set(self.work()), set(range(1, 10)) - bad)
                self.assertEqual(set(self.numbers()), bad | set(self.numbers()))
                self.flushLoggedErrors(ZeroDivisionError)

    def test_no_submit_is_refused_meanwhile(self) -> None:
        for why in WHYS[:2]:
            self.fill()
            self.store.unreadable, self.store.unreadable_why = {5}, why
            self.other.tell(*[request(CAN_DO, name) for name in FUNCTIONS], request(PRE_SLEEP))
            answers = b""
            for _ in range(600):
                self.client.tell(submit(b"", b"k"))
                self.run_on(0.1)
                answers += self.client.heard()
            self.assertEqual(answers.count(response(JOB_CREATED, b"")[:8]), 600)

    def test_it_is_told_once_and_shown(self) -> None:
        self.store.unreadable = {5}
        lines = self.errors(self.work)
        self.assertEqual(
            lines,
            [
                "memory: cannot read the workloads of H:test:5: these are set aside, and tried"
                " again every 60 seconds"
            ],
        )
        shown = self.client.ask(b"job H:test:5\n")
        self.assertIn(b"state\twaiting\n", shown)
        self.assertIn(b"unreadable\tyes\n", shown)
        self.other.tell(*[request(CAN_DO, name) for name in FUNCTIONS])
        self.assertEqual(self.errors(lambda: self.run_on(5 * UNREADABLE_SECONDS)), [])
        self.assertGreater(self.store.take().count("workloads"), 5)

    def test_it_is_handed_out_when_it_can_be_read(self) -> None:
        self.store.unreadable = {5}
        self.assertEqual(len(self.work()), 8)
        self.other.tell(*[request(CAN_DO, name) for name in FUNCTIONS], request(PRE_SLEEP))
        self.run_on(UNREADABLE_SECONDS - 1)
        self.assertEqual(self.other.heard(), b"")
        self.store.unreadable = set()
        self.run_on(2)
        self.assertEqual(self.other.heard(), response(NOOP))
        self.assertIn(b"unreadable\tno\n", self.client.ask(b"job H:test:5\n"))
        self.assertEqual(self.work(), [5])
        self.assertEqual(self.fixture.server.broker.store_events.unreadable, set())

    def test_it_is_tried_again_after_a_restart(self) -> None:
        self.store.unreadable = {5}
        self.work()
        self.run_on(1)
        self.begin()
        self.store.unreadable = set()
        self.assertEqual(self.work(), [5])

    def test_those_who_wait_for_it_are_told(self) -> None:
        joining = request(SUBMIT_JOB, b"g", b"u4", b"")
        self.client.tell(joining)
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(5))
        self.store.unreadable = {5}
        self.assertEqual(len(self.work()), 8)
        self.assertEqual(self.client.heard(), response(WORK_FAIL, HANDLES[5]))
        # It is there all the same, and may be waited for again.
        self.client.tell(joining)
        self.run_on(1)
        self.assertEqual(self.client.heard(), created(5))
        self.assertEqual(self.numbers(), [5])

    def test_it_can_be_cancelled(self) -> None:
        self.store.unreadable = {5}
        self.work()
        self.client.ask(b"cancel job H:test:5\n")
        self.assertEqual(self.fixture.server.broker.store_events.unreadable, set())
        self.run_on(1)
        self.assertEqual(self.numbers(), [])

    def test_one_that_ends_while_it_is_given_up(self) -> None:
        for calls in range(8):
            self.fill()
            self.store.unreadable, self.store.unreadable_why = {1}, StoreRefused("damaged")
            self.other.tell(request(CAN_DO, b"f"))
            for _ in range(calls):
                if self.thread.waiting:
                    self.thread.run()
            self.client.tell(b"cancel job H:test:1\n")
            self.thread.run_all()
            self.assertEqual(self.client.heard(), b"OK\r\n")
            self.assertEqual(self.fixture.server.broker.store_events.unreadable, set())
            self.store.unreadable = set()
            self.assertEqual(set(self.work()), set(range(2, 10)))

    def test_a_store_that_reads_nothing_takes_jobs(self) -> None:
        """And is not asked all the time."""
        self.client.tell(*[submit(b"x", b"f")] * 100)
        self.thread.run_all()
        self.begin()
        self.store.unreadable = set(range(1000))
        self.other.tell(request(CAN_DO, b"f"))
        for _ in range(20):
            self.run_on(0.5)
            self.client.tell(submit(b"", b"k"))
            self.thread.run_all()
        self.assertEqual(self.client.heard().count(response(JOB_CREATED, b"")[:8]), 20)
        self.assertLess(self.store.take().count("workloads"), AT_ONCE + 12)


class ReadingTests(UnreadableTestCase):
    """What somebody asks for."""

    def test_one_that_cannot_be_read_costs_nobody_else_his_answer(self) -> None:
        for why in WHYS:
            self.fill()
            self.store.unreadable, self.store.unreadable_why = {5}, why
            answers: dict[int, bytes | None] = {}
            for number in range(1, 10):
                self.fixture.journal.read(Reading(number, False, partial(answers.__setitem__, number)))
            self.fixture.server.end_turn()
            self.run_on(1)
            self.assertEqual(answers, {n: None if n == 5 else b"%d" % (n - 1) for n in range(1, 10)})
            self.client.tell(submit())
            self.run_on(1)
            self.assertEqual(self.client.heard()[:8], response(JOB_CREATED, b"")[:8])
            self.flushLoggedErrors(ZeroDivisionError)
        self.assertGreater(MOST_READINGS, 9)

    def test_nor_does_one_whose_answer_is_not_taken(self) -> None:
        """That is a defect of ours."""
        answers: list[bytes | None] = []

        def fail(data: bytes | None) -> None:
            raise ZeroDivisionError

        for number in (1, 2, 3):
            self.fixture.journal.read(Reading(number, False, fail if number == 2 else answers.append))
        self.fixture.server.end_turn()
        self.run_on(1)
        self.assertEqual(answers, [b"0", b"2"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_well()
