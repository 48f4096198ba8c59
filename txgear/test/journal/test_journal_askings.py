"""Tests of L{txgear.journal.journal}: which jobs the store has, and when it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.paging import READ_JOBS
from txgear.broker.ports import Asking
from txgear.broker.records import UNREADABLE_SECONDS, Batch, ByNumber, JobRecord, JobUpdate
from txgear.errors import StoreRefused, StoreTaken, StoreUnavailable
from txgear.journal.journal import Journal
from txgear.journal.link import FIRST_RETRY
from txgear.journal.sieve import OVERDUE
from txgear.test.journal.test_newjobs import new_job
from txgear.test.journal.test_reads import paged
from txgear.test.support.broker import record
from txgear.test.support.journal import AWAY, FaultyStore, ManualThread, RecordingListener

GONE = StoreUnavailable("the connection is gone")
TIMEOUT = 5.0


class JournalTestCase(SynchronousTestCase):
    """
    A journal without a broker, whose store has the jobs 1 to 9 with the uniques u1 to u9.

    @ivar heard: by what was asked, the numbers of the jobs that there are.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.thread = ManualThread()
        self.store = FaultyStore()
        self.store.open()
        jobs = [(record(number, unique=b"u%d" % number, size=1), b"w") for number in range(1, 10)]
        self.store.write(Batch(jobs, (), ()))
        self.listener = RecordingListener()
        self.journal = Journal(self.store, self.thread, self.clock, TIMEOUT)
        self.taken = 0
        self.journal.begin(self.listener, self.journal.turn_ended, self.is_taken, 0)
        self.heard: list[tuple[int, list[int] | None]] = []
        self.store.take()
        self.store.batches.clear()

    def tearDown(self) -> None:
        self.journal.check()

    def is_taken(self) -> None:
        self.taken += 1

    def ask(self, *numbers: int) -> None:
        """A turn in which somebody asks for each of these."""
        for number in numbers:

            def done(
                records: Sequence[JobRecord] | None,
                workloads: Mapping[int, bytes],
                now: float,
                number: int = number,
            ) -> None:
                self.heard.append((number, None if records is None else [each.number for each in records]))

            self.journal.ask(Asking(ByNumber([number]), done))
        self.journal.turn_ended()

    def take(self) -> list[tuple[int, list[int] | None]]:
        taken, self.heard = self.heard, []
        return taken


class AskingTests(JournalTestCase):
    def test_it_is_answered(self) -> None:
        self.ask(1, 99)
        self.assertEqual(self.take(), [])
        self.thread.run_all()
        self.assertEqual((self.take(), self.store.take()), ([(1, [1]), (99, [])], ["rows"]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_writes_have_their_turn(self) -> None:
        """And what is asked meanwhile has it after them."""
        self.ask(1)
        self.journal.add(*new_job(10))
        self.ask(2)
        self.thread.run()
        self.assertEqual(self.take(), [(1, [1])])
        self.thread.run()
        self.assertEqual(self.listener.take(), [("stored", 10)])
        self.thread.run()
        self.assertEqual(self.take(), [(2, [2])])
        self.assertEqual(self.store.take(), ["rows", "write", "rows"])

    def test_what_is_written_was_told_before_what_is_found(self) -> None:
        self.journal.update(JobUpdate(1, 20, 0.0, 0))
        self.assertTrue(self.journal.pending(1))
        self.ask(1)
        self.thread.run()
        self.assertEqual((self.take(), self.listener.take()), ([(1, [1])], []))
        self.assertTrue(self.journal.pending(1))
        self.clock.advance(1)
        self.thread.run()
        self.assertEqual((self.listener.take(), self.journal.pending(1)), ([("written", [1])], False))

    def test_the_server_does_not_read_who_asks_too_much(self) -> None:
        self.assertFalse(self.journal.crowded)
        self.ask(*[1] * 11_002)
        self.assertTrue(self.journal.crowded)
        self.thread.run_all()
        self.assertFalse(self.journal.crowded)


class TroubleTests(JournalTestCase):
    """A store that does not answer."""

    def test_one_that_is_lost(self) -> None:
        """Nobody waits for it; when it answers again that is told, once."""
        self.store.fail("rows", GONE)
        self.store.fail("open", GONE, times=2)
        self.ask(1)
        self.thread.run()
        self.assertEqual(self.take(), [])
        self.thread.run()
        self.assertEqual(self.take(), [(1, None)])
        self.ask(2)
        self.assertEqual(self.take(), [(2, None)])
        self.clock.advance(FIRST_RETRY)
        self.thread.run()
        self.assertEqual((self.journal.unavailable is None, self.listener.take()), (False, []))
        self.clock.advance(TIMEOUT)
        self.thread.run_all()
        self.assertEqual((self.journal.unavailable, self.listener.take()), (None, [("answers",)]))
        self.ask(2)
        self.thread.run_all()
        self.assertEqual((self.take(), self.listener.take()), ([(2, [2])], []))

    def test_it_is_lost_with_new_jobs(self) -> None:
        """Who submitted them waits no longer than for any batch, though nobody asks any more."""
        self.store.fail("write", GONE)
        self.store.fail("open", GONE, times=100)
        self.journal.add(*new_job(10))
        self.journal.turn_ended()
        self.ask(1)
        self.thread.run()
        self.thread.run()
        self.assertEqual((self.take(), self.listener.take()), ([(1, None)], []))
        self.clock.advance(TIMEOUT)
        self.assertEqual(self.listener.take(), [("refused", 10, AWAY.decode())])

    def test_one_loss_is_not_heard(self) -> None:
        self.store.fail("rows", GONE)
        self.ask(1, 2)
        self.thread.run_all()
        self.assertEqual((self.take(), self.listener.take()), ([(1, [1]), (2, [2])], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_hangs(self) -> None:
        """Nobody waits for longer than those who submit; what it says later nobody hears."""
        self.ask(1)
        self.clock.advance(TIMEOUT / 2)
        self.ask(2)
        self.clock.advance(TIMEOUT / 2)
        self.assertEqual(self.take(), [(1, None), (2, None)])
        self.assertIn("has not answered for 5 seconds", self.journal.unavailable or "")
        self.thread.run_all()
        self.assertEqual(self.take(), [])
        self.assertEqual((self.journal.unavailable, self.listener.take()), (None, [("answers",)]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_is_well_before_it_has_read_all(self) -> None:
        self.journal.load([paged(1)] * (READ_JOBS + 1))
        self.journal.turn_ended()
        self.ask(1)
        self.clock.advance(TIMEOUT)
        self.assertIsNotNone(self.journal.unavailable)
        self.thread.run()
        self.assertEqual((self.journal.unavailable, self.journal.busy), (None, True))
        self.thread.run()
        self.assertEqual(self.store.take(), ["workloads", "workloads"])

    def test_one_that_is_slow_is_not_lost(self) -> None:
        """Each answer gives those who still wait their time anew."""
        self.ask(1)
        for number in range(2, 6):
            self.clock.advance(TIMEOUT - 1)
            self.ask(number)
            self.thread.run()
        self.clock.advance(TIMEOUT - 1)
        self.thread.run()
        self.assertEqual(self.take(), [(number, [number]) for number in range(1, 6)])
        self.assertIsNone(self.journal.unavailable)

    def test_writes_are_answers_too(self) -> None:
        self.journal.add(*new_job(10))
        self.journal.turn_ended()
        self.clock.advance(TIMEOUT - 1)
        self.ask(1)
        self.thread.run()
        self.clock.advance(TIMEOUT - 1)
        self.thread.run()
        self.assertEqual((self.take(), self.journal.unavailable), ([(1, [1])], None))

    def test_what_cannot_be_found_is_asked_for_again(self) -> None:
        """By whoever needs it, soon at first; no submit is refused for it."""
        self.store.unfindable, self.store.unreadable_why = {2}, StoreRefused("damaged")
        self.ask(1, 2, 3)
        self.thread.run_all()
        self.assertEqual(sorted(self.take()), [(1, [1]), (2, None), (3, [3])])
        for wait in (1, 1, 2, 4, 8, 16, 32, UNREADABLE_SECONDS, UNREADABLE_SECONDS):
            self.clock.advance(wait - 0.5)
            self.assertEqual((self.listener.take(), self.journal.unavailable), ([], None))
            self.clock.advance(0.5)
            self.assertEqual(self.listener.take(), [("answers",)])
            self.ask(2)
            self.thread.run_all()
            self.assertEqual(self.take(), [(2, None)])

    def test_one_that_has_answered_is_asked_soon_again(self) -> None:
        self.store.unfindable, self.store.unreadable_why = {2}, StoreRefused("damaged")
        for _ in range(4):
            self.ask(2)
            self.thread.run_all()
            self.clock.advance(UNREADABLE_SECONDS)
        self.ask(3)
        self.ask(2)
        self.thread.run_all()
        self.listener.take()
        self.clock.advance(1)
        self.assertEqual(self.listener.take(), [("answers",)])

    def test_one_that_finds_nothing_takes_jobs(self) -> None:
        """It answers, whatever that is worth."""
        self.store.unfindable, self.store.unreadable_why = set(range(99)), StoreRefused("damaged")
        self.ask(*range(40))
        for _ in range(20):
            self.thread.run_all()
            self.clock.advance(1)
        self.assertEqual(self.journal.losses, 0)
        self.assertEqual({numbers for _, numbers in self.take()}, {None})

    def test_another_server_has_it(self) -> None:
        self.store.fail("rows", StoreTaken("by another"))
        self.ask(1)
        with capturedLogs():
            self.thread.run()
        self.assertEqual((self.take(), self.taken), ([(1, None)], 1))
        self.ask(2)
        self.assertEqual(self.take(), [(2, None)])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class EndTests(JournalTestCase):
    def test_nobody_is_answered_at_the_end(self) -> None:
        self.ask(1)
        settled = self.journal.settle()
        self.assertEqual(self.take(), [(1, None)])
        self.thread.run_all()
        self.successResultOf(settled)
        self.ask(2)
        self.assertEqual(self.take(), [(2, None)])
        closed = self.journal.close()
        self.thread.run_all()
        self.successResultOf(closed)
        self.ask(3)
        self.assertEqual((self.take(), self.listener.take()), ([(3, None)], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_call_that_hangs_at_the_end(self) -> None:
        self.ask(1)
        closed = self.journal.close()
        self.clock.advance(TIMEOUT)
        self.successResultOf(closed)
        self.thread.run()
        self.assertEqual(self.take(), [(1, None)])


class SieveTests(JournalTestCase):
    """Which uniques jobs may have that are not in memory."""

    def test_it_comes_last(self) -> None:
        self.journal.found(9)
        self.assertTrue(self.journal.may_hide(b"other"))
        self.ask(1)
        self.journal.add(*new_job(10))
        self.thread.run()
        self.thread.run()
        self.assertEqual(self.store.take(), ["rows", "write"])
        self.thread.run_all()
        self.assertEqual(self.store.take(), ["hashes"])
        self.assertEqual((self.journal.may_hide(b"other"), self.journal.may_hide(b"u1")), (False, True))

    def test_unless_it_has_waited_for_long(self) -> None:
        self.journal.found(9)
        self.ask(1)
        self.clock.advance(OVERDUE)
        self.journal.add(*new_job(10))
        self.ask(2)
        for name in ("rows", "hashes", "write", "rows"):
            self.thread.run()
            self.assertEqual(self.store.take(), [name])

    def test_it_does_not_wait_for_changes_that_nobody_waits_for(self) -> None:
        self.journal.found(9)
        self.journal.update(JobUpdate(1, 1, 0.0, 0))
        self.journal.turn_ended()
        self.thread.run()
        self.assertEqual(self.store.take(), ["hashes"])

    def test_jobs_come_and_go(self) -> None:
        self.journal.hide(b"u1")
        self.assertTrue(self.journal.may_hide(b"u1"))
        self.journal.show(b"u1")
        self.assertFalse(self.journal.may_hide(b"u2"))

    def test_nothing_is_left_at_the_end(self) -> None:
        self.store.fail("hashes", StoreRefused("damaged"))
        self.journal.found(9)
        self.journal.turn_ended()
        self.thread.run_all()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        closed = self.journal.close()
        self.thread.run_all()
        self.successResultOf(closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
