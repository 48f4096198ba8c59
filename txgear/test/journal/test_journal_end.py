"""Tests of L{txgear.journal.journal} at the server's end, as far as the store has to do with that."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from txgear.errors import StoreTaken
from txgear.journal.link import FIRST_RETRY
from txgear.journal.writes import FLUSH_DELAY
from txgear.protocol.constants import CAN_DO
from txgear.protocol.packets import request
from txgear.test.journal.test_journal_trouble import GONE, TroubleTestCase
from txgear.test.support.journal import AWAY
from txgear.test.support.server import created, refused, submit


class EndTests(TroubleTestCase):
    """What is written, and how long that may take."""

    def settle(self) -> Deferred[None]:
        return self.fixture.journal.settle()

    def close(self) -> Deferred[None]:
        return self.fixture.journal.close()

    def assert_closed(self, next_number: int) -> None:
        self.assertEqual(self.store.closed_with, next_number)
        self.assertEqual(self.store.take()[-1], "close")
        self.assertEqual(self.fixture.calls(), [])

    def test_with_nothing_to_do_it_is_at_once(self) -> None:
        self.assertIsNone(self.successResultOf(self.settle()))
        closing = self.close()
        self.thread.run()
        self.assertIsNone(self.successResultOf(closing))
        self.assert_closed(1)

    def test_those_who_wait_are_answered_first(self) -> None:
        self.submit_one()
        self.client.tell(submit())
        settled = self.settle()
        self.assertEqual(self.other.ask(submit()), refused(b"The server is shutting down"))
        self.thread.run()
        self.assertNoResult(settled)
        self.thread.run()
        self.assertIsNone(self.successResultOf(settled))
        self.assertEqual(self.client.heard(), created(1, 2))
        self.assertEqual(self.other.ask(submit()), refused(b"The server is shutting down"))

    def test_the_last_ends_are_written_at_once(self) -> None:
        self.running()
        self.complete(1)
        settled = self.settle()
        self.thread.run()
        self.assertIsNone(self.successResultOf(settled))
        self.complete(2)
        closing = self.close()
        self.thread.run_all()
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual(self.numbers(), [])
        self.assert_closed(3)

    def test_the_numbers_that_are_left_are_given_back(self) -> None:
        self.client.tell(submit(), submit())
        self.thread.run()
        closing = self.close()
        self.thread.run_all()
        self.assertIsNone(self.successResultOf(closing))
        self.begin()
        self.client.tell(submit())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(3))

    def test_what_comes_after_the_end_is_left(self) -> None:
        self.running()
        closing = self.close()
        self.thread.run_all()
        self.assertIsNone(self.successResultOf(closing))
        self.complete(1)
        self.run_on(1)
        self.assertEqual(self.numbers(), [1, 2])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_is_read_or_reserved_any_more(self) -> None:
        self.client.tell(submit(), submit())
        self.thread.run()
        self.begin(queue_memory=0, numbers=100)
        self.other.tell(request(CAN_DO, b"f"))
        self.thread.waiting.clear()  # it would be read now
        self.begin(queue_memory=0, numbers=100)
        settled = self.settle()
        self.other.tell(request(CAN_DO, b"f"))
        self.assertIsNone(self.successResultOf(settled))
        self.assertEqual(len(self.thread.waiting), 0)

    def test_a_store_that_comes_back_takes_no_jobs(self) -> None:
        self.running()
        self.store.fail("write", GONE)
        self.store.fail("open", GONE, times=3)
        self.complete(1, 2)
        self.run_on(0.1)
        settled = self.settle()
        self.run_on(2)
        self.assertIsNone(self.successResultOf(settled))
        self.assertEqual(self.client.ask(submit()), refused(AWAY))
        self.assertEqual(self.numbers(), [])

    def test_a_store_that_hangs_does_not_hold_it_up(self) -> None:
        self.running()
        self.submit_one()
        self.complete(1, 2)
        settled = self.settle()
        self.clock.advance(5)
        self.assertIsNone(self.successResultOf(settled))
        self.assertEqual(self.client.heard(), refused(b"The server is shutting down"))
        lines = self.logged(lambda: self.assertIsNone(self.successResultOf(self.close())))
        self.assertEqual(
            lines, ["the store memory: has not taken the last changes; 2 ended jobs will run again"]
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_is_lost_is_waited_for_once(self) -> None:
        """Tried at once, whenever the next attempt was to be, and at least once a second from then on."""
        self.running()
        self.store.fail("write", GONE)
        self.store.fail("open", GONE, times=100)
        self.complete(1, 2)
        self.run_on(17)
        self.store.take()
        settled = self.settle()
        for opened in (1, 2, 3, 4, 5):
            self.thread.run_all()
            self.assertEqual(self.store.take(), ["open"], opened)
            self.assertNoResult(settled)
            self.clock.advance(1)
        self.assertIsNone(self.successResultOf(settled))
        self.thread.run_all()
        closing = self.close()
        self.thread.run()
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual(self.store.take()[-1], "close")
        self.assertIsNone(self.store.closed_with)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_is_back_meanwhile_is_written_to(self) -> None:
        """Before it is given up, or after, while the peers are sent what is left for them."""
        for seconds in (2, 7):
            self.begin_anew()
            self.running()
            self.store.fail("write", GONE)
            self.store.fail("open", GONE, times=100)
            self.complete(1, 2)
            self.run_on(17)
            settled = self.settle()
            self.run_on(seconds)
            self.store.mend()
            self.run_on(1)
            self.assertIsNone(self.successResultOf(settled))
            closing = self.close()
            self.thread.run_all()
            self.assertIsNone(self.successResultOf(closing))
            self.assertEqual(self.numbers(), [])
            self.assert_closed(3)

    def test_one_that_answers_has_its_time_anew(self) -> None:
        """What is slow is not lost: the bound counts from its last answer."""
        self.running()
        self.submit_one()
        self.client.tell(submit())
        settled = self.settle()
        self.clock.advance(4)
        self.thread.run()
        self.clock.advance(1)
        self.assertIsNone(self.successResultOf(settled))
        self.clock.advance(1)
        closing = self.close()
        self.clock.advance(2)
        self.assertNoResult(closing)
        self.thread.run_all()
        self.assertIsNone(self.successResultOf(closing))
        self.assert_closed(5)

    def test_so_has_one_that_was_not_asked(self) -> None:
        self.running()
        self.assertIsNone(self.successResultOf(self.settle()))
        self.clock.advance(10)
        self.complete(1, 2)
        closing = self.close()
        self.clock.advance(4)
        self.assertNoResult(closing)
        self.thread.run_all()
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual(self.numbers(), [])
        self.assert_closed(3)

    def test_the_ends_that_it_hangs_with_count_too(self) -> None:
        self.running()
        self.complete(1, 2)
        self.clock.advance(FLUSH_DELAY)
        self.assertEqual(len(self.thread.waiting), 1)
        closing = self.close()
        lines = self.logged(self.clock.advance, 5)
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual(
            lines, ["the store memory: has not taken the last changes; 2 ended jobs will run again"]
        )

    def test_nor_does_its_answer_after_the_end(self) -> None:
        """It is heard by nobody, and leaves nothing on the clock."""
        for error in (None, GONE):
            self.begin_anew()
            self.store.fail("write", GONE)
            self.store.fail("open", GONE)
            self.submit_one()
            self.thread.run_all()
            self.run_on(FIRST_RETRY / 2)
            closing = self.close()
            self.clock.advance(FIRST_RETRY)
            self.assertEqual(len(self.thread.waiting), 1)
            self.clock.advance(5)
            self.assertIsNone(self.successResultOf(closing))
            if error is not None:
                self.store.fail("open", error)
            self.thread.run()
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertEqual(len(self.thread.waiting), 0)

    def test_nor_does_one_that_is_lost(self) -> None:
        self.running()
        self.store.fail("write", GONE, times=100)
        self.store.fail("open", GONE, times=100)
        self.complete(1, 2)
        self.run_on(1)
        closing = self.close()
        lines = self.logged(self.run_on, 5)
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual(
            lines, ["the store memory: has not taken the last changes; 2 ended jobs will run again"]
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nor_does_one_that_hangs_while_it_is_closed(self) -> None:
        closing = self.close()
        self.assertNoResult(closing)
        self.clock.advance(5)
        self.assertIsNone(self.successResultOf(closing))
        self.thread.run()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_store_that_another_server_has_is_let_go_of_at_once(self) -> None:
        """Nothing more is written, and no numbers are given back: they are the other server's."""
        self.running()
        self.complete(1, 2)
        self.submit_one()
        self.other.tell(submit())
        self.store.fail("write", GONE)
        self.store.fail("open", StoreTaken("another server"))
        self.thread.run_all()
        self.assertEqual(self.fixture.journal.pending_bytes, 0)
        self.run_on(10)
        closing = self.close()
        self.thread.run()
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual(self.store.take(), ["write", "open", "close"])
        self.assertIsNone(self.store.closed_with)
        self.assertEqual(self.numbers(), [1, 2])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_that_it_has_another_server_may_turn_out_after_the_end(self) -> None:
        ended: list[bool] = []
        self.fixture.server.store_taken = lambda: ended.append(True)
        self.submit_one()
        self.store.fail("write", GONE)
        self.store.fail("open", StoreTaken("another server"))
        self.thread.run()
        closing = self.close()
        self.clock.advance(5)
        self.assertIsNone(self.successResultOf(closing))
        self.thread.run()
        self.assertEqual((ended, self.clock.getDelayedCalls()), ([], []))

    def test_a_defect_in_its_close_is_told_of(self) -> None:
        self.store.fail("close", ZeroDivisionError("a defect"))
        closing = self.close()
        self.thread.run()
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
