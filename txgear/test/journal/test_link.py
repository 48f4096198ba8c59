"""Tests of L{txgear.journal.link}, by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import StoreRefused, StoreTaken, StoreUnavailable, StoreUnusable
from txgear.journal.link import (
    BUSY,
    CLOSED,
    FIRST_RETRY,
    LAST_RETRY,
    LOST,
    NEXT,
    OPEN,
    OPENING,
    RETRY_WHEN_ASKED,
    TAKEN,
    Link,
    Retries,
    State,
)
from txgear.test.support.batches import adding, addition
from txgear.test.support.journal import FaultyStore, ManualThread

GONE = StoreUnavailable("the connection is gone")
FULL = StoreRefused("the disk is full")
AWAY = "The store takes no jobs at present: the server tries it again"


class RetriesTests(SynchronousTestCase):
    """
    @ivar calls: how often it was time.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.calls = 0
        self.retries = Retries(self.clock, self.again)

    def again(self) -> None:
        self.calls += 1

    def failures(self, count: int) -> None:
        """So many attempts fail."""
        for _ in range(count):
            self.retries.failed(is_read=False)

    def test_the_first_is_at_once(self) -> None:
        self.assertTrue(self.retries.due())
        self.failures(1)
        self.assertTrue(self.retries.due())

    def test_then_it_takes_longer_and_longer(self) -> None:
        delays = []
        self.failures(1)
        for _ in range(20):
            self.failures(1)
            self.retries.wait(LAST_RETRY)
            self.assertFalse(self.retries.due())
            (call,) = self.clock.getDelayedCalls()
            delays.append(round(call.getTime() - self.clock.seconds(), 1))
            self.clock.advance(LAST_RETRY)
            self.assertTrue(self.retries.due())
        self.assertEqual(delays, [FIRST_RETRY, 0.2, 0.4, 0.8, 1.6, 3.2] + [LAST_RETRY] * 14)
        self.assertEqual(self.calls, 20)

    def test_a_read_that_fails_is_one_attempt(self) -> None:
        for _ in range(3):
            self.retries.failed(is_read=True)
        self.assertEqual(self.retries.attempts, 1)
        self.failures(2)
        self.retries.failed(is_read=True)
        self.assertEqual(self.retries.attempts, 3)

    def test_somebody_who_asks_has_it_sooner(self) -> None:
        self.failures(20)
        self.retries.wait(LAST_RETRY)
        self.retries.soon()
        self.clock.advance(RETRY_WHEN_ASKED - 0.1)
        # Not so soon: whoever asks then has to ask again.
        self.assertFalse(self.retries.due())
        self.clock.advance(0.1)
        self.assertFalse(self.retries.due())
        self.retries.soon()
        self.assertTrue(self.retries.due())
        self.assertEqual((self.clock.getDelayedCalls(), self.calls), ([], 0))

    def test_it_waits_no_more(self) -> None:
        self.failures(2)
        self.retries.wait(LAST_RETRY)
        self.retries.stop()
        self.assertTrue(self.retries.due())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class LinkTestCase(SynchronousTestCase):
    """
    A link to a store that has the jobs 1 and 2; this is its listener.

    @ivar heard: what that was told.
    @ivar done: what its calls brought.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.thread = ManualThread()
        self.store = FaultyStore()
        self.store.open()
        self.store.write(adding(addition(1, b"w"), addition(2)))
        self.store.take()
        self.waited_for = False
        self.heard: list[Any] = []
        self.changes: list[float] = []
        self.done: list[Any] = []
        self.link = Link(self.store, self.thread, self.clock, self)

    def turn_ended(self) -> None:
        self.heard.append("turn_ended")

    def answered(self) -> None:
        self.heard.append("answered")

    def changed(self) -> None:
        self.changes.append(self.link.changed_at)

    def recovered(self) -> None:
        self.heard.append("recovered")

    def lost(self) -> None:
        self.heard.append("lost")

    def taken(self, reason: str) -> None:
        self.heard.append(reason)

    def take(self) -> list[Any]:
        """What was heard since the last time."""
        heard, self.heard = self.heard, []
        return heard

    def call(self, *, is_read: bool = False) -> None:
        """Ask for the workloads."""
        self.link.call(
            lambda store: store.workloads([1, 2]),
            self.done.append,
            lambda: self.done.append("undone"),
            is_read=is_read,
        )

    def lose(self, *, is_read: bool = False) -> None:
        """A call fails."""
        self.store.fail("workloads", GONE)
        self.call(is_read=is_read)
        self.thread.run()

    def reopen(self, error: Exception | None = None) -> None:
        """Try to."""
        if error is not None:
            self.store.fail("open", error)
        self.link.open([2, 3], self.done.append)
        self.assertIs(self.link.state, OPENING)
        self.thread.run()

    def logged(self, action: Callable[..., None], *arguments: Any) -> list[str]:
        with capturedLogs() as events:
            action(*arguments)
        return [formatEvent(event) for event in events]


class StateTests(LinkTestCase):
    """Which state follows which."""

    def test_each_has_a_place_in_the_table(self) -> None:
        self.assertEqual(set(NEXT), set(State))
        for state, following in NEXT.items():
            self.assertIn(CLOSED, following, state)
        self.assertEqual(NEXT[CLOSED], {CLOSED})

    def test_a_call(self) -> None:
        self.assertIs(self.link.state, OPEN)
        self.call()
        self.assertIs(self.link.state, BUSY)
        self.thread.run()
        self.assertIs(self.link.state, OPEN)
        self.assertEqual((self.done, self.take()), ([{1: b"w", 2: b""}], ["answered"]))

    def test_what_changes_something_is_told_of(self) -> None:
        """Reads are not."""
        self.call(is_read=True)
        self.thread.run()
        self.assertEqual(self.changes, [])
        self.call()
        began = self.clock.seconds()
        self.clock.advance(1)
        self.thread.run()
        self.assertEqual(self.changes, [began])

    def test_one_call_at_a_time(self) -> None:
        self.call()
        with self.assertRaises(ValueError) as caught:
            self.call()
        self.assertEqual(str(caught.exception), "a store's link does not go from BUSY to BUSY")
        self.assertEqual(len(self.thread.waiting), 1)

    def test_a_store_that_is_open_is_not_opened(self) -> None:
        self.assertRaises(ValueError, self.link.open, [], self.done.append)

    def test_whoever_called_is_through_with_the_answer_before_the_next_call(self) -> None:
        states = []
        self.link.call(lambda store: None, lambda result: states.append(self.link.state))
        self.thread.run()
        self.lose()
        self.link.open([], lambda known: states.append(self.link.state))
        self.thread.run()
        self.assertEqual((states, self.link.state), ([BUSY, OPENING], OPEN))

    def test_a_store_that_is_lost_is_opened_again(self) -> None:
        self.lose()
        self.assertIs(self.link.state, LOST)
        self.assertRaises(ValueError, self.call)
        self.assertEqual((self.done, self.take()), (["undone"], ["answered"]))
        self.assertTrue(self.link.retries.due())
        self.reopen()
        self.assertIs(self.link.state, OPEN)
        self.assertEqual((self.done, self.take()), (["undone", {2}], ["answered"]))
        self.assertEqual(self.store.take(), ["workloads", "open", "known"])

    def test_what_it_has_is_asked_of_the_store_that_was_opened(self) -> None:
        self.lose()
        self.store.fail("known", GONE)
        self.reopen()
        self.assertIs(self.link.state, LOST)
        self.assertEqual(self.done, ["undone"])

    def test_a_defect_in_between(self) -> None:
        """Of whoever uses the link, which makes no call."""
        self.link.failed(Failure(ZeroDivisionError()))
        self.assertIs(self.link.state, LOST)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class AvailableTests(LinkTestCase):
    """Whether jobs can be kept, and what is said of that."""

    def test_one_failure_is_not_told_of(self) -> None:
        self.assertEqual(self.logged(self.lose), [])
        self.assertIsNone(self.link.unavailable)

    def test_two_are(self) -> None:
        self.lose()
        self.take()
        lines = self.logged(self.reopen, GONE)
        self.assertEqual(
            lines, ["no background job is taken until the store memory: answers: the connection is gone"]
        )
        self.assertEqual((self.link.unavailable, self.link.detail), (AWAY, "the connection is gone"))
        since = self.clock.seconds()
        self.assertEqual(self.take(), ["lost", "answered"])
        self.assertFalse(self.link.retries.due())
        self.clock.advance(FIRST_RETRY)
        self.assertEqual(self.take(), ["turn_ended"])
        self.assertTrue(self.link.retries.due())
        self.assertEqual(self.logged(self.reopen, StoreUnusable("/secret/place is a folder")), [])
        told = "The store cannot be used at present"
        self.assertEqual((self.link.unavailable, self.link.detail), (told, "/secret/place is a folder"))
        # It has been so since the first of these.
        self.assertNotEqual(self.clock.seconds(), since)
        self.assertEqual(self.link.unavailable_since, since)

    def test_it_is_well_again_when_it_has_done_something(self) -> None:
        """That it was opened is not enough: a disk that is full is."""
        self.lose()
        self.reopen(GONE)
        self.clock.advance(FIRST_RETRY)
        self.take()
        self.reopen()
        self.assertEqual((self.link.unavailable, self.take()), (AWAY, ["answered"]))
        self.call()
        self.assertEqual(self.logged(self.thread.run), ["the store memory: answers again"])
        self.assertEqual((self.link.unavailable, self.take()), (None, ["recovered", "answered"]))
        self.assertEqual((self.link.retries.attempts, self.link.unavailable_since), (0, 0.0))
        self.assertEqual(self.link.detail, "")

    def test_or_when_nothing_is_asked_of_it(self) -> None:
        self.lose()
        self.reopen()
        self.take()
        self.link.recovered()
        self.link.recovered()
        self.assertEqual((self.link.retries.attempts, self.take()), (0, ["recovered"]))

    def test_who_waits_has_it_opened_once_a_second(self) -> None:
        self.waited_for = True
        self.lose()
        for _ in range(10):
            self.reopen(GONE)
            self.clock.advance(RETRY_WHEN_ASKED)
            self.assertTrue(self.link.retries.due())

    def test_somebody_who_has_waited_too_long_says_why(self) -> None:
        self.call()
        lines = self.logged(self.link.refuse, "late", "late, for the log")
        lines += self.logged(self.link.refuse, "later", "later, for the log")
        self.assertEqual(
            lines, ["no background job is taken until the store memory: answers: late, for the log"]
        )
        self.assertEqual((self.link.unavailable, self.take()), ("later", ["lost", "lost"]))
        self.assertEqual(self.link.detail, "later, for the log")
        self.thread.run()
        self.assertEqual((self.link.unavailable, self.take()), (None, ["recovered", "answered"]))

    def test_a_defect_is_told_of_twice(self) -> None:
        self.store.fail("workloads", ZeroDivisionError())
        self.call()
        self.thread.run()
        for count in (2, 0, 0):
            self.reopen(ZeroDivisionError())
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), count)
            self.clock.advance(LAST_RETRY)
        self.assertEqual(self.link.unavailable, "internal error of the store")

    def test_a_defect_of_whoever_called(self) -> None:
        """Nothing is known of the store then either."""
        self.link.call(lambda store: None, lambda result: 1 // 0)  # type: ignore[arg-type]
        self.thread.run()
        self.assertIs(self.link.state, LOST)
        self.link.open([], lambda known: 1 // 0)  # type: ignore[arg-type]
        self.thread.run()
        self.assertIs(self.link.state, LOST)
        self.assertEqual(self.link.retries.attempts, 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_a_defect_when_it_has_failed(self) -> None:
        self.store.fail("workloads", GONE)

        def undone() -> None:
            raise ZeroDivisionError

        self.link.call(lambda store: store.workloads([]), self.done.append, undone)
        self.thread.run()
        self.assertIs(self.link.state, LOST)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_what_is_told_may_fail(self) -> None:
        def fail(argument: int) -> None:
            raise ZeroDivisionError

        self.link.tell(fail, 1)
        self.link.tell(self.done.append, 2)
        self.assertEqual((self.done, len(self.flushLoggedErrors(ZeroDivisionError))), ([2], 1))


class ReadTests(LinkTestCase):
    """What comes of a read says nothing of writes."""

    def test_one_that_succeeds(self) -> None:
        self.lose()
        self.reopen(GONE)
        self.reopen()
        self.take()
        for error in (None, FULL):
            if error is not None:
                self.store.fail("workloads", error)
            self.call(is_read=True)
            self.thread.run()
            self.assertEqual((self.link.state, self.take()), (OPEN, ["answered"]))
            self.assertEqual((self.link.unavailable, self.link.retries.attempts), (AWAY, 2))

    def test_one_that_is_refused_was_answered(self) -> None:
        self.store.fail("workloads", FULL)
        self.call(is_read=True)
        self.thread.run()
        self.assertEqual((self.link.state, self.link.retries.attempts), (OPEN, 0))
        self.assertEqual((self.done, self.take()), (["undone"], ["answered"]))

    def test_what_is_no_read_was_not(self) -> None:
        self.store.fail("workloads", FULL)
        self.call()
        self.thread.run()
        self.assertIs(self.link.state, LOST)

    def test_a_store_that_is_open_again_after_one_is_well(self) -> None:
        for _ in range(3):
            self.lose(is_read=True)
            self.assertEqual((self.link.state, self.link.retries.attempts), (LOST, 1))
            self.reopen()
            self.assertEqual((self.link.unavailable, self.link.retries.attempts), (None, 0))
            self.assertEqual(self.take(), ["answered", "recovered", "answered"])

    def test_however_often_that_was_tried(self) -> None:
        self.lose(is_read=True)
        for _ in range(3):
            self.reopen(GONE)
            self.clock.advance(LAST_RETRY)
        self.assertEqual(self.link.unavailable, AWAY)
        self.reopen()
        self.assertEqual((self.link.unavailable, self.link.retries.attempts), (None, 0))
        # The next one is none.
        self.lose()
        self.reopen()
        self.assertEqual(self.link.retries.attempts, 1)


class TakenTests(LinkTestCase):
    """Another server has the store."""

    def test_it_is_told_once(self) -> None:
        self.lose()
        self.take()
        lines = self.logged(self.reopen, StoreTaken("another server has it"))
        self.assertEqual(lines, ["the store memory: is lost to this server: another server has it"])
        self.assertIs(self.link.state, TAKEN)
        reason = "The store cannot be used at present"
        self.assertEqual((self.link.unavailable, self.take()), (reason, [reason, "answered"]))
        self.assertEqual(self.link.detail, "another server has it")
        self.assertRaises(ValueError, self.link.open, [], self.done.append)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_any_call_may_find_out(self) -> None:
        self.store.fail("workloads", StoreTaken("another server has it"))
        self.call()
        self.thread.run()
        self.assertIs(self.link.state, TAKEN)


class EndTests(LinkTestCase):
    def close(self) -> list[Any]:
        """Let go of the store; what it was told, and the next number."""
        self.store.take()
        closed = self.link.close(7, 5.0)
        self.assertIs(self.link.state, CLOSED)
        if closed is not None:
            self.assertNoResult(closed)
            self.thread.run()
            self.assertIsNone(self.successResultOf(closed))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return [*self.store.take(), self.store.closed_with]

    def test_no_job_is_kept_any_more(self) -> None:
        self.link.prepare_close()
        self.assertEqual((self.link.closing, self.link.state), (True, OPEN))
        self.call()
        self.thread.run()
        self.assertEqual(self.link.unavailable, "The server is shutting down")
        self.assertEqual(self.take(), ["recovered", "answered"])

    def test_whoever_waits_for_a_store_that_is_lost_is_told_at_once(self) -> None:
        self.link.prepare_close()
        self.lose()
        self.assertEqual(self.take(), ["lost", "answered"])

    def test_open(self) -> None:
        self.assertEqual(self.close(), ["close", 7])

    def test_lost(self) -> None:
        """Nobody knows whose it is by now: no number is said to be the next."""
        self.lose()
        self.reopen(GONE)
        self.assertEqual(self.close(), ["close", None])

    def test_taken(self) -> None:
        self.lose()
        self.reopen(StoreTaken("another server has it"))
        self.assertEqual(self.close(), ["close", None])

    def test_busy(self) -> None:
        """It hangs. What it answers is not heard."""
        self.call()
        self.assertEqual(self.close(), [None])
        self.thread.run()
        self.assertEqual((self.link.state, self.done, self.take()), (CLOSED, [], []))

    def test_opening(self) -> None:
        self.lose()
        self.link.open([], self.done.append)
        self.take()
        self.assertEqual(self.close(), [None])
        self.thread.run()
        self.assertEqual((self.link.state, self.done, self.take()), (CLOSED, ["undone"], []))

    def test_failures_after_the_end_are_not_heard(self) -> None:
        """But a defect is in the log."""
        for error, count in ((GONE, 0), (ZeroDivisionError(), 1)):
            self.setUp()
            self.store.fail("workloads", error)
            self.call()
            self.close()
            self.thread.run()
            self.assertEqual((self.link.state, self.done, self.take()), (CLOSED, [], []))
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), count)

    def test_the_end_may_come_while_an_answer_is_taken(self) -> None:
        self.link.call(lambda store: None, lambda result: self.link.abandon())
        self.thread.run()
        self.assertEqual((self.link.state, self.take()), (CLOSED, []))

    def test_after_a_kill(self) -> None:
        self.lose()
        self.reopen(GONE)
        self.link.abandon()
        self.link.abandon()
        self.assertEqual(self.close(), [None])

    def test_a_store_that_hangs_while_it_is_closed(self) -> None:
        closed = self.link.close(7, 5.0)
        assert closed is not None
        self.clock.advance(5)
        self.assertIsNone(self.successResultOf(closed))

    def test_a_defect_while_it_is_closed(self) -> None:
        self.store.fail("close", ZeroDivisionError())
        self.close()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
