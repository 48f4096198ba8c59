"""Tests of L{txgear.journal.journal} when the store is slow, lost or full."""

from __future__ import annotations

from collections.abc import Sequence

from txgear.broker.ports import Asking
from txgear.broker.records import ByNumber, JobRecord
from txgear.errors import StoreRefused, StoreTaken, StoreUnavailable, StoreUnusable
from txgear.journal.batches import MOST_REFUSALS
from txgear.journal.link import FIRST_RETRY, LAST_RETRY, RETRY_WHEN_ASKED
from txgear.journal.writes import FLUSH_DELAY
from txgear.protocol.constants import CAN_DO, CANT_DO, GRAB_JOB, JOB_ASSIGN, SUBMIT_JOB, WORK_COMPLETE
from txgear.protocol.packets import request, response
from txgear.test.support.journal import AWAY, NOT_KEPT, ReportingStore
from txgear.test.support.server import HANDLES, DurableServerTestCase, created, refused, submit

LATE = b"The store has not answered for 5 seconds"
GONE = StoreUnavailable("the connection is gone")


class TroubleTestCase(DurableServerTestCase):
    def grab(self, *numbers: int) -> None:
        """The other connection becomes a worker, and gets these jobs."""
        self.other.tell(request(CAN_DO, b"f"), *[request(GRAB_JOB)] * len(numbers))
        assigned = b"".join(response(JOB_ASSIGN, HANDLES[number], b"f", b"w") for number in numbers)
        self.assertEqual(self.other.heard(), assigned)

    def complete(self, *numbers: int) -> None:
        self.other.tell(*[request(WORK_COMPLETE, HANDLES[number], b"") for number in numbers])

    def running(self) -> None:
        """The other connection works on two jobs, which are stored."""
        self.client.tell(submit(), submit())
        self.thread.run()
        self.client.heard()
        self.grab(1, 2)
        self.store.take()
        self.store.batches.clear()


class TimeoutTests(TroubleTestCase):
    """A store that does not answer."""

    def test_those_who_wait_are_refused_and_those_who_come_later_at_once(self) -> None:
        self.client.tell(submit(), submit())
        self.other.tell(submit())
        self.clock.advance(4.9)
        self.assertEqual(self.client.heard(), b"")
        (line,) = self.logged(self.clock.advance, 0.1)
        self.assertEqual(
            line,
            "no background job is taken until the store memory: answers:"
            " The store has not answered for 5 seconds",
        )
        self.assertEqual(self.client.heard(), refused(LATE) * 2)
        self.assertEqual(self.other.heard(), refused(LATE))
        self.assertEqual(self.fixture.journal.pending_bytes, 0)
        self.assertEqual(self.client.ask(submit()), refused(LATE))
        self.assertEqual(self.client.ask(request(SUBMIT_JOB, b"g", b"", b"")), created(4))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_may_stand_still_is_waited_for(self) -> None:
        for seconds in (10.0, 1.0):
            self.fixture.journal.bear(seconds)
        self.client.tell(submit())
        self.clock.advance(9.9)
        self.assertEqual(self.client.heard(), b"")
        self.clock.advance(0.1)
        self.assertEqual(self.client.heard(), refused(b"The store has not answered for 10 seconds"))

    def test_what_is_kept_late_is_taken_out_again(self) -> None:
        self.submit_one()
        self.other.tell(submit())
        self.clock.advance(5)
        self.client.heard()
        self.other.heard()
        (line,) = self.logged(self.thread.run)
        self.assertEqual(line, "the store memory: answers again")
        self.assertEqual(self.numbers(), [1])
        self.assertEqual(self.client.ask(submit()), b"")
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(3))
        self.assertEqual(self.numbers(), [3])
        self.assertEqual(self.store.sizes, [(1, 0, 0), (0, 0, 1), (1, 0, 0)])
        self.assert_well()

    def test_what_is_kept_late_is_taken_out_though_nobody_comes(self) -> None:
        self.submit_one()
        self.clock.advance(5)
        self.run_on(1)
        self.assertEqual(self.numbers(), [])
        self.assert_well()

    def test_what_fails_late_is_looked_up(self) -> None:
        """A commit of unknown outcome whose submitters were refused: what was kept is taken out."""
        for after, calls in (
            (True, ["write", "open", "known", "write"]),
            (False, ["write", "open", "known"]),
        ):
            self.begin_anew()
            self.submit_one()
            self.clock.advance(5)
            self.assertEqual(self.client.heard(), refused(LATE))
            self.store.fail("write", GONE, after=after)
            self.run_on(1)
            self.assertEqual(self.store.take(), calls)
            self.assertEqual(self.numbers(), [])
            self.assertEqual(self.client.heard(), b"")
            self.assert_well()

    def test_each_batch_has_its_time(self) -> None:
        self.submit_one()
        self.clock.advance(4)
        self.client.tell(submit())
        self.thread.run()
        self.clock.advance(4)
        self.client.tell(submit())
        self.thread.run()
        self.assertEqual(self.client.heard(), created(1, 2))
        self.clock.advance(4.9)
        self.assertEqual(self.client.heard(), b"")
        self.clock.advance(0.1)
        self.assertEqual(self.client.heard(), refused(LATE))

    def test_the_time_may_be_set(self) -> None:
        self.begin(store_timeout=0.5)
        self.submit_one()
        self.clock.advance(0.5)
        self.assertEqual(self.client.heard(), refused(b"The store has not answered for 0.5 seconds"))

    def test_a_read_that_hangs_is_no_different(self) -> None:
        self.client.tell(submit())
        self.thread.run()
        self.begin(queue_memory=0)
        self.other.tell(request(CAN_DO, b"f"))
        self.client.tell(submit())
        self.clock.advance(5)
        self.assertEqual(self.client.heard(), refused(LATE))
        self.thread.run_all()
        self.assert_well()

    def test_work_goes_on_meanwhile(self) -> None:
        self.running()
        self.submit_one()
        self.complete(1)
        self.clock.advance(10)
        self.complete(2)
        self.assert_alive(self.other)
        self.assertEqual(self.client.heard(), refused(LATE))
        self.run_on(1)
        self.assertEqual(self.numbers(), [])
        self.assert_well()

    def test_a_job_may_end_that_its_submitters_were_refused(self) -> None:
        """One that runs in the foreground, and was to be stored as well."""
        self.other.tell(request(CAN_DO, b"f"), request(SUBMIT_JOB, b"f", b"u", b""), request(GRAB_JOB))
        self.other.heard()
        self.client.tell(submit(unique=b"u"))
        self.clock.advance(5)
        self.assertEqual(self.client.heard(), refused(LATE))
        self.complete(1)
        self.assertEqual(self.other.heard(), response(WORK_COMPLETE, HANDLES[1], b""))
        self.run_on(1)
        self.assertEqual(self.numbers(), [])
        self.assert_well()

    def test_a_job_that_was_refused_may_be_submitted_again(self) -> None:
        """
        Where it runs in the foreground it has the same number, and what was
        kept late of the first time is not taken for the second.
        """
        self.other.tell(request(CAN_DO, b"f"), request(SUBMIT_JOB, b"f", b"u", b""), request(GRAB_JOB))
        self.other.heard()
        self.client.tell(submit(unique=b"u"))
        self.clock.advance(5)
        self.assertEqual(self.client.heard(), refused(LATE))
        self.thread.run()
        self.client.tell(submit(unique=b"u"))
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(1))
        self.run_on(1)
        self.assertEqual(self.numbers(), [1])
        self.assert_well()

    def test_what_is_kept_late_is_taken_out_in_the_end(self) -> None:
        """The store may be lost while it is, and the server may be about to end."""
        for after in (False, True):
            self.begin_anew()
            self.submit_one()
            self.clock.advance(5)
            self.thread.run()
            self.store.fail("write", GONE, after=after)
            settled = self.fixture.journal.settle()
            self.thread.run_all()
            self.assertIsNone(self.successResultOf(settled))
            self.assertEqual(self.store.sizes, [(1, 0, 0), (0, 0, 1), (0, 0, 1)])
            self.assertEqual(self.numbers(), [])


class LostTests(TroubleTestCase):
    """A store whose connection goes."""

    def test_it_is_opened_again_at_once(self) -> None:
        self.submit_one()
        self.store.fail("write", GONE)
        self.assertEqual(self.logged(self.thread.run_all), [])
        self.assertEqual(self.store.take(), ["write", "open", "known", "write"])
        self.assertEqual(self.client.heard(), created(1))
        self.assert_well()

    def test_what_was_kept_after_all_is_not_written_again(self) -> None:
        self.client.tell(submit(), submit())
        self.store.fail("write", GONE, after=True)
        self.thread.run_all()
        self.assertEqual(self.store.take(), ["write", "open", "known"])
        self.assertEqual(self.client.heard(), created(1, 2))
        self.assertEqual(self.numbers(), [1, 2])
        self.assert_well()
        self.run_on(10)
        self.assert_well()

    def test_a_batch_of_which_a_part_was_kept(self) -> None:
        """Divided because of one row, and lost in between: only what is not there is written again."""
        self.store.too_large = 10
        self.client.tell(submit(b"x" * 11), *[submit()] * 3)
        self.store.fail("write", StoreRefused("too large"), times=2)
        self.store.fail("write", StoreRefused("too large"))  # the first two
        self.store.fail("write", StoreRefused("too large"))  # the first
        self.store.fail("write", GONE, after=True)  # the second
        self.thread.run_all()
        self.assertEqual(
            self.client.heard(), refused(b"A workload of 11 bytes is too large") + created(2, 3, 4)
        )
        self.assertEqual(self.numbers(), [2, 3, 4])
        self.assert_well()

    def test_then_less_and_less_often(self) -> None:
        self.store.fail("open", StoreUnavailable("nobody listens"), times=100)
        self.store.fail("write", GONE)
        self.submit_one()
        start = self.clock.seconds()
        moments = []
        while self.clock.seconds() < start + 25:
            self.thread.run_all()
            moments += [round(self.clock.seconds() - start, 1)] * self.store.take().count("open")
            next_call = min(call.getTime() for call in self.clock.getDelayedCalls())
            self.clock.advance(next_call - self.clock.seconds())
        # For five seconds somebody waits.
        self.assertEqual(moments, [0.0, 0.1, 0.3, 0.7, 1.5, 2.5, 3.5, 4.5, 5.5, 10.5, 15.5, 20.5])
        self.assertEqual((FIRST_RETRY, RETRY_WHEN_ASKED, LAST_RETRY), (0.1, 1.0, 5.0))

    def test_who_waits_is_not_refused_where_it_is_back_in_time(self) -> None:
        self.store.fail("open", StoreUnavailable("nobody listens"), times=10**6)
        self.store.fail("write", GONE)
        self.submit_one()
        self.run_on(3.8)
        self.assertEqual(self.client.heard(), b"")
        self.store.mend()
        self.run_on(1)
        self.assertEqual(self.client.heard(), created(1))
        self.assertEqual(self.numbers(), [1])

    def test_one_that_reads_and_does_not_write(self) -> None:
        """What it says of itself each time that it is open again does not make it well."""
        self.store = ReportingStore()
        self.begin()
        self.store.fail("write", GONE, times=10**6)
        self.submit_one()
        self.thread.run_all()
        self.assertEqual(self.other.ask(submit()), refused(AWAY))
        self.run_on(4.9)
        self.assertEqual(self.client.heard(), b"")
        self.assertEqual(self.store.take().count("write"), 9)
        self.run_on(0.1)
        self.assertEqual(self.client.heard(), refused(AWAY))
        self.store.mend()
        self.run_on(1)
        self.assert_well()

    def test_another_server_has_it_now(self) -> None:
        """What this one knows is not true any more: it ends, and writes nothing."""
        ended: list[bool] = []
        self.fixture.server.store_taken = lambda: ended.append(True)
        self.store.fail("open", StoreTaken("another server"))
        self.store.fail("write", GONE)
        self.submit_one()
        (line,) = self.logged(self.thread.run_all)
        self.assertEqual(line, "the store memory: is lost to this server: another server")
        self.assertEqual(self.client.heard(), refused(b"The store cannot be used at present"))
        self.assertEqual(ended, [True])
        self.assertEqual(self.store.take(), ["write", "open"])
        self.other.tell(submit())
        self.assertEqual(self.other.heard(), refused(b"The store cannot be used at present"))
        self.assertEqual(self.fixture.calls(), [])
        self.successResultOf(self.fixture.journal.settle())

    def test_who_waits_goes_on_waiting_and_who_comes_is_refused(self) -> None:
        self.store.fail("open", StoreUnavailable("nobody listens"), times=5)
        self.store.fail("write", GONE)
        self.submit_one()
        (line,) = self.logged(self.thread.run_all)
        self.assertEqual(line, "no background job is taken until the store memory: answers: nobody listens")
        self.other.tell(submit())
        self.assertEqual((self.client.heard(), self.other.heard()), (b"", refused(AWAY)))
        self.run_on(4)
        self.assertEqual(self.client.heard(), created(1))
        self.assertEqual(self.numbers(), [1])
        self.assert_well()

    def test_but_not_for_ever(self) -> None:
        self.store.fail("open", StoreUnusable("somebody else has it"), times=9)
        self.store.fail("write", GONE, after=True)
        self.submit_one()
        self.run_on(6)
        self.assertEqual(self.client.heard(), refused(b"The store cannot be used at present"))
        self.assertEqual(self.numbers(), [1])
        self.run_on(12)
        self.assertEqual(self.numbers(), [])
        self.assert_well()

    def test_the_reason_is_the_last_one(self) -> None:
        self.store.fail("write", GONE)
        self.store.fail("open", StoreUnavailable("nobody listens"))
        self.store.fail("open", StoreUnavailable("it is starting up"))
        self.submit_one()
        self.thread.run_all()
        self.assertEqual(self.other.ask(submit()), refused(AWAY))
        self.clock.advance(FIRST_RETRY)
        self.thread.run_all()
        self.assertEqual(self.other.ask(submit()), refused(AWAY))
        lines = self.logged(self.run_on, 1)
        self.assertEqual(lines, ["the store memory: answers again"])
        self.assert_well()

    def test_what_comes_before_the_second_attempt_is_taken(self) -> None:
        self.submit_one()
        self.store.fail("write", GONE)
        self.thread.run()
        self.other.tell(submit())
        self.thread.run_all()
        self.assertEqual((self.client.heard(), self.other.heard()), (created(1), created(2)))
        self.assertEqual(self.store.sizes, [(1, 0, 0), (2, 0, 0)])

    def test_ends_and_moves_are_said_again(self) -> None:
        """Together with those that have come since, which are newer."""
        for after in (False, True):
            self.begin_anew()
            self.running()
            self.other.tell(request(CANT_DO, b"f"), request(CAN_DO, b"f"), request(GRAB_JOB))
            self.complete(1)
            self.clock.advance(FLUSH_DELAY)
            self.store.fail("write", GONE, after=after)
            self.other.tell(request(GRAB_JOB), request(CANT_DO, b"f"))
            self.run_on(1)
            self.assertEqual(self.store.sizes, [(0, 2, 1), (0, 2, 1)])
            self.assertEqual([(job.number, job.retries) for job in self.store.kept.values()], [(2, 2)])
            self.assert_well()

    def test_what_ended_meanwhile_is_written_when_it_answers(self) -> None:
        """At once: the store was down long enough."""
        self.running()
        self.store.fail("write", GONE)
        self.store.fail("open", GONE, times=2)
        self.complete(1)
        self.clock.advance(FLUSH_DELAY)
        self.thread.run_all()
        self.complete(2)
        self.clock.advance(FIRST_RETRY)
        self.thread.run_all()
        self.assertEqual(self.numbers(), [1, 2])
        self.clock.advance(2 * FIRST_RETRY)
        self.thread.run_all()
        self.assertEqual(self.numbers(), [])
        self.assert_well()

    def test_a_moment_that_passes_while_it_is_lost(self) -> None:
        self.running()
        self.complete(1)
        self.submit_one()
        self.store.fail("write", GONE)
        self.thread.run()
        self.complete(2)
        self.clock.advance(FLUSH_DELAY)
        self.run_on(1)
        self.assertEqual(self.numbers(), [3])
        self.assert_well()

    def test_a_job_that_nobody_wants_any_more_is_not_kept(self) -> None:
        """It was cancelled while its commit was under way, and that was lost."""
        for after in (False, True):
            self.begin_anew()
            self.submit_one()
            self.other.tell(b"cancel job H:test:1\n")
            self.store.fail("write", GONE, after=after)
            self.run_on(1)
            self.assertEqual(self.client.heard(), created(1))
            self.assertEqual(self.numbers(), [])
            self.assert_well()


class RefusedTests(TroubleTestCase):
    """A store that works, but does not take all it is given."""

    def test_only_who_submitted_it_is_refused(self) -> None:
        self.store.too_large = 10
        for size in (1, 2, 3, 8, 50):
            for bad in {0, 1, size // 2, size - 1} & set(range(size)):
                self.begin_anew()
                self.store.too_large = 10
                self.client.tell(*[submit(b"x" * (11 if index == bad else 10)) for index in range(size)])
                self.thread.run()
                expected = [created(number) for number in range(1, size + 1)]
                expected[bad] = refused(b"A workload of 11 bytes is too large")
                self.assertEqual(self.client.heard(), b"".join(expected))
                self.assertEqual(len(self.numbers()), size - 1)
                self.assertLess(len(self.store.batches), 16)
                self.assert_well()

    def test_several_of_one_batch(self) -> None:
        self.store.too_large = 10
        self.client.tell(*[submit(b"x" * (10 + index % 3)) for index in range(90)])
        self.thread.run()
        self.assertEqual(self.client.heard().count(b"is too large"), 60)
        self.assertEqual(len(self.numbers()), 30)
        self.assert_well()

    def test_all_of_them(self) -> None:
        """The disk is full: not each job is tried."""
        self.store.fail("write", StoreRefused("The disk is full"), times=100)
        self.client.tell(*[submit()] * 1000)
        self.thread.run()
        self.assertEqual(self.client.heard(), refused(NOT_KEPT) * 1000)
        self.assertLess(len(self.store.batches), 4 * MOST_REFUSALS)
        self.store.mend()
        self.assertEqual(self.numbers(), [])
        self.assert_well()

    def test_ends_are_written_although_jobs_are_refused(self) -> None:
        self.running()
        self.store.too_large = 0
        self.complete(1, 2)
        self.submit_one()
        self.thread.run()
        self.assertEqual(self.client.heard(), refused(b"A workload of 1 bytes is too large"))
        self.assertEqual(self.numbers(), [])
        self.store.too_large = 10
        self.assert_well()

    def test_a_store_that_takes_no_ends_is_lost(self) -> None:
        self.running()
        full = StoreRefused("The disk is full")
        self.store.fail("write", full, times=100)
        self.complete(1)
        self.run_on(10)
        self.assertEqual(self.client.ask(submit()), refused(AWAY))
        self.assertLess(self.store.take().count("open"), 12)
        self.store.mend()
        self.run_on(5)
        self.assertEqual(self.numbers(), [2])
        self.assert_well()

    def test_a_foreground_job_goes_on(self) -> None:
        """It could not be stored as well; it is what it was before."""
        self.store.too_large = 0
        self.other.tell(request(SUBMIT_JOB, b"f", b"u", b"w"))
        self.client.tell(submit(unique=b"u"))
        self.thread.run()
        self.assertEqual(self.client.heard(), refused(b"A workload of 1 bytes is too large"))
        self.other.heard()
        self.grab(1)
        self.complete(1)
        self.assertEqual(self.other.heard(), response(WORK_COMPLETE, HANDLES[1], b""))
        self.assertEqual(self.store.sizes, [(1, 0, 0), (1, 0, 0)])


class DefectTests(TroubleTestCase):
    """A store that raises what it must not."""

    def test_it_is_told_of_and_the_store_is_opened_again(self) -> None:
        for name, calls in (
            ("write", ["write", "open", "known", "write"]),
            ("known", ["write", "open", "known", "open", "known", "write"]),
            ("open", ["write", "open", "open", "known", "write"]),
        ):
            self.begin_anew()
            self.submit_one()
            if name != "write":
                self.store.fail("write", GONE)
            self.store.fail(name, ZeroDivisionError("a defect"))
            self.run_on(1)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertEqual(self.store.take(), calls)
            self.assertEqual(self.client.heard(), created(1))
            self.assert_well()

    def test_clients_hear_no_details(self) -> None:
        self.submit_one()
        self.store.fail("write", GONE)
        self.store.fail("open", ZeroDivisionError("a defect"))
        self.thread.run_all()
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(self.other.ask(submit()), refused(b"internal error of the store"))

    def test_reads_and_numbers(self) -> None:
        self.begin_anew(numbers=100)
        self.store.fail("rows", ZeroDivisionError("a defect"))
        self.store.fail("reserve", ZeroDivisionError("a defect"))
        found: list[Sequence[JobRecord] | None] = []
        self.fixture.journal.ask(Asking(ByNumber([1]), lambda records, *more: found.append(records)))
        self.client.tell(submit())
        self.other.tell(request(CAN_DO, b"f"))
        self.run_on(5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual([len(records or ()) for records in found], [1])
        self.grab(1)
        self.assert_well()
