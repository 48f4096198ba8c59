"""Tests of L{txgear.journal.journal} while all is well, with the server that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import execute

from txgear import __version__
from txgear.broker.model import Job
from txgear.broker.records import UNREADABLE_SECONDS
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.journal.journal import NUMBERS
from txgear.journal.link import FIRST_RETRY
from txgear.journal.newjobs import JOB_BYTES
from txgear.journal.writes import FLUSH_DELAY
from txgear.protocol.constants import (
    CAN_DO,
    CANT_DO,
    ECHO_REQ,
    ECHO_RES,
    GRAB_JOB,
    JOB_ASSIGN,
    NO_JOB,
    NOOP,
    PRE_SLEEP,
    SUBMIT_JOB,
    SUBMIT_JOB_EPOCH,
    WORK_COMPLETE,
    WORK_FAIL,
)
from txgear.protocol.packets import request, response
from txgear.test.support.clock import START
from txgear.test.support.journal import FaultyStore, Instead
from txgear.test.support.server import HANDLES, DurableServerFixture, DurableServerTestCase, created, submit

VERSION = __version__.encode()


def echo(text: bytes) -> bytes:
    return request(ECHO_REQ, text)


def echoed(text: bytes) -> bytes:
    return response(ECHO_RES, text)


def done(number: int) -> bytes:
    return request(WORK_COMPLETE, HANDLES[number], b"")


class GroupCommitTests(DurableServerTestCase):
    """One batch at the store at a time; what gathers meanwhile is the next."""

    def test_an_answer_waits_for_the_commit(self) -> None:
        self.client.tell(submit())
        self.assertEqual(self.client.heard(), b"")
        self.assertEqual(self.numbers(), [])
        self.thread.run()
        self.assertEqual(self.client.heard(), created(1))
        self.assertEqual(self.numbers(), [1])
        self.assert_well()

    def test_what_comes_in_one_turn_is_one_batch(self) -> None:
        self.client.tell(submit(), submit(), submit())
        self.thread.run()
        self.assertEqual(self.store.sizes, [(3, 0, 0)])
        self.assertEqual(self.client.heard(), created(1, 2, 3))

    def test_what_gathers_while_a_batch_is_at_the_store_is_the_next_one(self) -> None:
        self.client.tell(submit())
        for _ in range(2):
            self.client.tell(submit())
            self.other.tell(submit())
        self.assertEqual(len(self.thread.waiting), 1)
        self.thread.run()
        self.assertEqual((self.client.heard(), self.other.heard()), (created(1), b""))
        self.assertEqual(len(self.thread.waiting), 1)
        self.thread.run()
        self.assertEqual((self.client.heard(), self.other.heard()), (created(2, 4), created(3, 5)))
        self.assertEqual(self.store.sizes, [(1, 0, 0), (4, 0, 0)])
        self.assertEqual(len(self.thread.waiting), 0)
        self.assert_well()

    def test_what_comes_later_on_a_connection_stays_behind_its_answers(self) -> None:
        self.client.tell(submit(), echo(b"a"), b"version\n")
        self.client.tell(submit(), echo(b"b"))
        self.assertEqual(self.client.heard(), b"")
        self.thread.run()
        self.assertEqual(self.client.heard(), created(1) + echoed(b"a") + b"OK " + VERSION + b"\n")
        self.thread.run()
        self.assertEqual(self.client.heard(), created(2) + echoed(b"b"))
        self.assertEqual(self.client.ask(echo(b"c")), echoed(b"c"))

    def test_other_connections_go_on(self) -> None:
        self.client.tell(submit())
        self.other.tell(request(CAN_DO, b"g"))
        self.assert_alive(self.other)
        handle = response(8, HANDLES[2])
        self.assertEqual(self.other.ask(request(SUBMIT_JOB, b"g", b"", b"w")), handle)
        assigned = response(JOB_ASSIGN, HANDLES[2], b"g", b"w")
        self.assertEqual(self.other.ask(request(GRAB_JOB)), assigned)
        self.assertEqual(self.other.ask(done(2)), response(WORK_COMPLETE, HANDLES[2], b""))
        self.assertEqual(self.client.heard(), b"")

    def test_a_job_is_handed_out_when_it_is_stored(self) -> None:
        self.other.tell(request(CAN_DO, b"f"), request(PRE_SLEEP))
        self.client.tell(submit())
        self.assertEqual(self.other.heard(), b"")
        self.assertEqual(self.other.ask(request(GRAB_JOB)), response(NO_JOB))
        self.other.tell(request(PRE_SLEEP))
        self.thread.run()
        self.assertEqual(self.other.heard(), response(NOOP))
        self.assertEqual(self.other.ask(request(GRAB_JOB)), response(JOB_ASSIGN, HANDLES[1], b"f", b"w"))

    def test_those_who_join_it_share_its_commit(self) -> None:
        self.client.tell(submit(unique=b"u"))
        self.other.tell(request(SUBMIT_JOB, b"f", b"u", b""), submit(unique=b"u"))
        self.assertEqual(self.other.heard(), b"")
        self.thread.run()
        self.assertEqual((self.client.heard(), self.other.heard()), (created(1), created(1, 1)))
        self.assertEqual(self.store.sizes, [(1, 0, 0)])
        # Now it is stored, and nobody waits any more.
        self.assertEqual(self.client.ask(submit(unique=b"u")), created(1))

    def test_a_background_submit_that_joins_a_foreground_job_has_it_stored(self) -> None:
        self.other.tell(request(CAN_DO, b"f"))
        self.other.tell(request(SUBMIT_JOB, b"f", b"u", b"w"), request(GRAB_JOB))
        self.other.heard()
        self.client.tell(submit(unique=b"u"))
        self.assertEqual(self.client.heard(), b"")
        # Those who want it in the foreground need no disk.
        self.assertEqual(self.other.ask(request(SUBMIT_JOB, b"f", b"u", b"")), created(1))
        self.thread.run()
        self.assertEqual(self.client.heard(), created(1))
        self.assertEqual(self.numbers(), [1])

    def test_a_job_may_end_before_it_is_stored(self) -> None:
        self.client.tell(submit(), b"cancel job H:test:1\n", echo(b"x"))
        self.thread.run()
        heard = self.client.heard()
        self.assertTrue(heard.startswith(created(1)) and heard.endswith(echoed(b"x")))
        self.assertEqual(self.store.sizes, [(1, 0, 1)])
        self.assertEqual(self.numbers(), [])
        self.assert_well()

    def test_who_has_gone_hears_nothing(self) -> None:
        self.client.tell(submit())
        self.client.leave()
        self.thread.run()
        self.assertEqual(self.client.heard(), b"")
        self.assertEqual(self.numbers(), [1])
        self.assert_well()

    def test_a_job_for_later_waits_from_its_commit_on(self) -> None:
        self.other.tell(request(CAN_DO, b"f"), request(PRE_SLEEP))
        self.client.tell(request(SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (START + 10), b"w"))
        self.clock.advance(4)
        self.thread.run()
        self.assertEqual(self.client.heard(), created(1))
        self.assertEqual(self.store.kept[1].due, START + 10)
        self.clock.advance(5.5)
        self.assertEqual(self.other.heard(), b"")
        self.clock.advance(0.5)
        # Its workload was not kept in memory all that time.
        self.thread.run()
        self.assertEqual(self.other.heard(), response(NOOP))
        # It has its turn now, and no time any more.
        self.run_on(1)
        self.assertEqual((self.store.kept[1].due, self.store.kept[1].place), (0.0, 2))

    def test_on_the_spot(self) -> None:
        """Where the store is called at once, answers are there in the same turn."""
        fixture = DurableServerFixture(FaultyStore(), execute)
        line = fixture.connect()
        self.assertEqual(line.ask(submit(), echo(b"x"), submit()), created(1) + echoed(b"x") + created(2))
        self.assertEqual(fixture.calls(), [])


class FlushDelayTests(DurableServerTestCase):
    """Ends and moves that nobody waits for."""

    def setUp(self) -> None:
        super().setUp()
        self.other.tell(request(CAN_DO, b"f"))
        self.client.tell(*[submit()] * 4)
        self.thread.run()
        self.other.tell(*[request(GRAB_JOB)] * 4)
        self.store.batches.clear()

    def test_they_gather_for_a_moment(self) -> None:
        self.other.tell(done(1))
        self.clock.advance(FLUSH_DELAY / 2)
        self.other.tell(done(2), request(WORK_FAIL, HANDLES[3]))
        self.assertEqual(len(self.thread.waiting), 0)
        self.clock.advance(FLUSH_DELAY / 2)
        self.thread.run()
        self.assertEqual(self.store.sizes, [(0, 0, 3)])
        self.assertEqual(self.numbers(), [4])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_but_are_written_along_when_somebody_waits(self) -> None:
        self.other.tell(done(1))
        self.client.tell(submit())
        self.assertEqual(len(self.fixture.calls()), 1)  # for the submit
        self.thread.run()
        self.assertEqual(self.store.sizes, [(1, 0, 1)])
        self.assertEqual(self.numbers(), [2, 3, 4, 5])
        self.assert_well()

    def test_those_that_come_while_the_store_is_busy_gather_too(self) -> None:
        self.other.tell(done(1))
        self.clock.advance(FLUSH_DELAY)
        self.other.tell(done(2))
        self.thread.run()
        self.assertEqual(len(self.thread.waiting), 0)
        self.clock.advance(FLUSH_DELAY)
        self.thread.run()
        self.assertEqual(self.store.sizes, [(0, 0, 1), (0, 0, 1)])

    def test_the_moment_may_pass_while_the_store_is_busy(self) -> None:
        self.other.tell(done(1))
        self.client.tell(submit())
        self.other.tell(done(2))
        self.clock.advance(FLUSH_DELAY)
        self.thread.run()
        self.run_on(2 * FLUSH_DELAY)
        self.assertEqual(self.store.sizes, [(1, 0, 1), (0, 0, 1)])
        self.assert_well()

    def test_a_job_that_comes_back_is_moved(self) -> None:
        """The first time to where it was, then behind the others; the newest move is written."""
        self.other.tell(request(CANT_DO, b"f"), request(CAN_DO, b"f"))
        self.clock.advance(FLUSH_DELAY)
        self.thread.run()
        self.assertEqual(self.store.sizes, [(0, 4, 0)])
        self.assertEqual(
            [(job.number, job.place, job.retries) for job in self.store.kept.values()],
            [(number, number, 1) for number in range(1, 5)],
        )
        for _ in range(2):
            self.other.tell(request(GRAB_JOB), request(CANT_DO, b"f"), request(CAN_DO, b"f"))
        self.clock.advance(FLUSH_DELAY)
        self.thread.run()
        self.assertEqual(self.store.sizes, [(0, 4, 0), (0, 2, 0)])
        self.assertEqual([self.store.kept[number].retries for number in (1, 2, 3, 4)], [2, 2, 1, 1])
        self.assertEqual([self.store.kept[number].place for number in (1, 2, 3, 4)], [5, 6, 3, 4])

    def test_nothing_is_written_without_need(self) -> None:
        self.other.tell(request(GRAB_JOB), echo(b"x"), b"status\n")
        self.run_on(10)
        self.assertEqual(self.store.batches, [])


class LoadTests(DurableServerTestCase):
    """Workloads that are not in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.client.tell(*[submit(b"%04d" % number) for number in range(1, 6)])
        self.thread.run()
        self.begin(queue_memory=0)
        self.worker = self.other

    def grab(self) -> bytes:
        return self.worker.ask(request(GRAB_JOB))

    def assigned(self, number: int) -> bytes:
        return response(JOB_ASSIGN, HANDLES[number], b"f", b"%04d" % number)

    def test_they_are_read_as_their_turn_comes(self) -> None:
        self.worker.tell(request(CAN_DO, b"f"))
        self.assertEqual(self.grab(), response(NO_JOB))
        self.worker.tell(request(PRE_SLEEP))
        self.thread.run()
        self.assertEqual(self.worker.heard(), response(NOOP))
        for number in range(1, 6):
            self.assertEqual(self.grab(), self.assigned(number))
            self.worker.tell(done(number))
            self.run_on(0.02)
        self.assertEqual(self.grab(), response(NO_JOB))
        self.run_on(3)
        self.assertEqual(self.numbers(), [])
        self.assert_well()

    def test_reads_and_writes_take_turns(self) -> None:
        for function in (b"f", b"g", b"h"):
            self.client.tell(submit(function=function))
        self.thread.run_all()
        self.store.take()
        # Each function's jobs are read on their own.
        self.worker.tell(request(CAN_DO, b"f"), request(CAN_DO, b"g"), request(CAN_DO, b"h"))
        self.client.tell(submit())
        self.thread.run()
        self.client.tell(submit())
        self.thread.run_all()
        self.assertEqual(self.store.take(), ["workloads", "write", "workloads", "write", "workloads"])

    def test_ends_are_written_however_much_is_read(self) -> None:
        """Where workers are faster than the disk the next read always waits, and their results go first."""
        self.begin_anew()
        for _ in range(9):
            self.client.tell(*[submit(b"x" * 100)] * 100)
            self.thread.run_all()
        # A read is a hundred jobs, and takes half of the time that ends gather for.
        self.begin(queue_memory=160_000)
        self.worker = self.other
        self.worker.tell(request(CAN_DO, b"f"))
        for number in range(1, 901):
            while self.grab() == response(NO_JOB):
                self.clock.advance(FLUSH_DELAY / 2)
                self.thread.run()
            self.worker.tell(done(number))
        calls = self.store.take()
        reads, writes = calls.count("rows"), calls.count("write")
        self.assertGreater(reads, 5)
        self.assertGreater(writes, reads // 4)
        self.assertGreater(sum(len(batch.deleted) for batch in self.store.batches), 500)

    def test_a_workload_that_is_gone(self) -> None:
        """Somebody took it out of the store: its job fails, and the log says so."""
        self.worker.tell(request(CAN_DO, b"f"))
        self.store.lose(1)
        (line,) = self.logged(self.thread.run)
        self.assertEqual(line, "memory: has lost the workloads of H:test:1")
        self.thread.run_all()
        self.assertEqual(self.grab(), self.assigned(2))
        self.run_on(1)
        self.assert_well()

    def test_a_store_that_cannot_be_read_is_not_asked_all_the_time(self) -> None:
        for error in (StoreUnavailable("gone"), StoreRefused("unreadable")):
            self.begin(queue_memory=0)
            self.store.fail("workloads", error, times=100)
            self.other.tell(request(CAN_DO, b"f"), request(PRE_SLEEP))
            self.run_on(50)
            self.assertLess(self.store.take().count("workloads"), 20)
            self.store.mend()
            self.run_on(UNREADABLE_SECONDS)
            self.assertEqual(self.other.heard(), response(NOOP))
            self.assert_well()


class NumberTests(DurableServerTestCase):
    """Job numbers are reserved ahead."""

    def test_in_good_time(self) -> None:
        self.begin_anew(numbers=NUMBERS // 2 + 1)
        for number, calls in ((1, ["write"]), (2, ["reserve", "write"]), (3, ["write"])):
            self.client.tell(submit())
            self.thread.run_all()
            self.assertEqual(self.client.heard(), created(number))
            self.assertEqual(self.store.take(), calls)
        self.assertEqual(self.fixture.server.broker.store_events.numbers_left, NUMBERS // 2 - 2 + NUMBERS)
        self.assert_well()

    def test_however_much_is_written(self) -> None:
        """There may always be a next batch."""
        self.begin_anew(numbers=10)
        self.client.tell(submit())
        for _ in range(20):
            self.client.tell(submit())
            self.thread.run()
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(*range(1, 22)))

    def test_those_that_do_not_follow_on(self) -> None:
        """Somebody else may have reserved some in between."""
        self.begin_anew(numbers=10)
        self.store.reserve(100)
        self.client.tell(submit(), submit())
        self.thread.run_all()
        self.client.tell(submit())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(1, 2, 111))

    def test_none_are_left(self) -> None:
        self.begin_anew(numbers=2)
        self.store.fail("reserve", StoreUnavailable("gone"), times=100)
        self.client.tell(submit(), submit(), submit())
        self.run_on(1)
        heard = self.client.heard()
        self.assertTrue(heard.startswith(created(1, 2)))
        self.assertIn(b"No job numbers are left until the store answers", heard)
        self.assertLess(self.store.take().count("reserve"), 8)
        self.store.mend()
        self.run_on(5)
        self.client.tell(submit())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(3))
        self.assert_well()

    def test_a_store_that_gives_none_is_not_asked_all_the_time(self) -> None:
        self.begin_anew(numbers=100)
        self.store.fail("reserve", StoreRefused("full"), times=100)
        self.client.tell(echo(b"x"))
        self.run_on(10)
        self.assertLess(self.store.take().count("reserve"), 12)


class CrowdTests(DurableServerTestCase):
    """Much on its way to the disk."""

    def test_those_who_add_to_it_are_not_read(self) -> None:
        self.begin_anew(queue_memory=JOB_BYTES + 100)
        self.client.tell(submit(b"x" * 100))
        self.other.tell(submit(b"x"))
        self.assertEqual(self.fixture.journal.pending_bytes, 2 * JOB_BYTES + 101)
        self.assertEqual(self.client.transport.producerState, "producing")
        self.assertEqual(self.other.transport.producerState, "paused")
        self.thread.run_all()
        self.assertEqual(self.fixture.journal.pending_bytes, 0)
        self.assertEqual(self.other.transport.producerState, "producing")
        self.assertEqual((self.client.heard(), self.other.heard()), (created(1), created(2)))


class DefectTests(DurableServerTestCase):
    """What must not happen."""

    def test_a_broker_that_fails_is_told_of(self) -> None:
        """A defect of ours is in the log, and the store is still asked."""

        def broken(jobs: Iterator[Job], now: float) -> None:
            raise ZeroDivisionError

        journal = self.fixture.journal
        events = self.fixture.server.broker.store_events
        journal.begin(Instead(events, stored=broken), lambda: None, lambda: None, 0)
        self.client.tell(submit())
        self.thread.run()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        journal.begin(events, self.fixture.server._store_answered, lambda: None, 0)
        self.assert_well()


assert FIRST_RETRY > FLUSH_DELAY, "these tests tell a retry from a write that nobody waits for"
