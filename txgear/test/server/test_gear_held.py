"""Tests of L{txgear.server.gear} with a store: answers that wait, and connections that end meanwhile."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from txgear.errors import StoreRefused
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    GRAB_JOB_ALL,
    HIGH,
    JOB_ASSIGN,
    JOB_ASSIGN_ALL,
    JOB_ASSIGN_UNIQ,
    LOW,
    NORMAL,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW,
    SUBMIT_JOB_LOW_BG,
    SUBMIT_JOB_SCHED,
    SUBMIT_REDUCE_JOB,
    SUBMIT_REDUCE_JOB_BACKGROUND,
    WORK_COMPLETE,
)
from txgear.protocol.packets import request, response
from txgear.server.gear import GearFactory
from txgear.server.jobserver import JobServer
from txgear.server.outbox import MOST_HELD
from txgear.server.settings import Settings
from txgear.test.support.clock import START
from txgear.test.support.journal import NOT_KEPT
from txgear.test.support.net import FakeTcpConnection, error
from txgear.test.support.server import HANDLES, DurableServerTestCase, created, refused, submit

STORED = {
    SUBMIT_JOB_BG: ((), NORMAL),
    SUBMIT_JOB_HIGH_BG: ((), HIGH),
    SUBMIT_JOB_LOW_BG: ((), LOW),
    SUBMIT_JOB_EPOCH: ((b"%d" % (START + 10),), NORMAL),
    SUBMIT_JOB_SCHED: ((b"", b"", b"", b"", b""), NORMAL),
    SUBMIT_REDUCE_JOB_BACKGROUND: ((b"r", b""), NORMAL),
}
"""The submits whose jobs are kept, with what stands between unique and workload, and the priority."""
NOT_STORED = {SUBMIT_JOB: (), SUBMIT_JOB_HIGH: (), SUBMIT_JOB_LOW: (), SUBMIT_REDUCE_JOB: (b"r", b"")}
TOO_LARGE = error(b"ARGUMENT_TOO_LARGE", b"a packet of 200 bytes is over the limit of 100")


class SubmitTests(DurableServerTestCase):
    def test_every_kind_is_answered_after_the_commit(self) -> None:
        for number, (kind, (rest, priority)) in enumerate(STORED.items(), 1):
            self.client.tell(request(kind, b"f", b"u%d" % number, *rest, b"w\0%d" % number))
            self.assertEqual(self.client.heard(), b"")
            self.thread.run()
            self.assertEqual(self.client.heard(), created(number))
            job = self.store.kept[number]
            self.assertEqual((job.number, job.place, job.prefix), (number, number, b"H:test"))
            self.assertEqual((job.function, job.unique, job.priority), (b"f", b"u%d" % number, priority))
            self.assertEqual((job.digest, job.retries, job.size), (None, 0, 3))
            self.assertEqual(self.store.workloads([number]), {number: b"w\0%d" % number})
        kept = [self.store.kept[number] for number in range(1, len(STORED) + 1)]
        self.assertEqual([job.due for job in kept], [0.0, 0.0, 0.0, START + 10, 1020.0, 0.0])
        self.assertEqual([job.reducer for job in kept], [b""] * 5 + [b"r"])

    def test_every_kind_is_refused_with_the_reason(self) -> None:
        for kind, (rest, _) in STORED.items():
            self.store.fail("write", StoreRefused("The disk is full"), times=2)
            self.client.tell(request(kind, b"f", b"", *rest, b"w"))
            self.thread.run()
            self.assertEqual(self.client.heard(), refused(NOT_KEPT), kind)
        self.assertEqual(self.numbers(), [])

    def test_foreground_jobs_are_none_of_the_stores_business(self) -> None:
        for number, (kind, rest) in enumerate(NOT_STORED.items(), 1):
            self.assertEqual(self.client.ask(request(kind, b"f", b"", *rest, b"w")), created(number))
        self.run_on(1)
        self.assertEqual(self.store.take(), [])

    def test_foreground_submits_that_join_a_job_on_its_way_wait_as_well(self) -> None:
        for number, (kind, rest) in enumerate(NOT_STORED.items(), 1):
            unique = b"u%d" % number
            self.other.tell(submit(unique=unique))
            self.client.tell(request(kind, b"f", unique, *rest, b"w"), request(ECHO_REQ, b"x"))
            self.assertEqual(self.client.heard(), b"")
            self.thread.run()
            self.assertTrue(self.client.heard().startswith(created(number)))

    def test_jobs_come_back_as_they_were(self) -> None:
        self.client.tell(request(SUBMIT_REDUCE_JOB_BACKGROUND, b"f", b"u", b"r", b"", b"w\0"))
        self.client.tell(request(SUBMIT_JOB_HIGH_BG, b"f", b"-", b"same"))
        self.thread.run_all()
        self.begin()
        self.other.tell(request(CAN_DO, b"f"))
        self.thread.run_all()
        self.assertEqual(self.client.ask(request(SUBMIT_JOB_BG, b"f", b"-", b"same")), created(2))
        self.assertEqual(
            self.other.ask(request(GRAB_JOB_ALL), request(GRAB_JOB_ALL)),
            response(JOB_ASSIGN_UNIQ, HANDLES[2], b"f", b"-", b"same")
            + response(JOB_ASSIGN_ALL, HANDLES[1], b"f", b"u", b"r", b"w\0"),
        )

    def test_a_result_stays_behind_the_answer_to_an_earlier_submit(self) -> None:
        """Whoever does the job, and however fast."""
        self.other.tell(request(CAN_DO, b"g"))
        self.client.tell(submit(), request(SUBMIT_JOB, b"g", b"", b"w"))
        self.assertEqual(self.other.ask(request(9)), response(JOB_ASSIGN, HANDLES[2], b"g", b"w"))
        self.other.tell(request(WORK_COMPLETE, HANDLES[2], b"r"))
        self.assertEqual(self.client.heard(), b"")
        self.thread.run()
        self.assertEqual(self.client.heard(), created(1, 2) + response(WORK_COMPLETE, HANDLES[2], b"r"))

    def test_a_client_that_asks_without_end_is_not_read(self) -> None:
        self.client.tell(submit(), request(ECHO_REQ, b"") * (MOST_HELD + 1))
        self.assertEqual(self.client.transport.producerState, "paused")
        self.assert_alive(self.other)
        self.thread.run()
        self.assertEqual(self.client.transport.producerState, "producing")
        self.assertEqual(len(self.client.heard()), len(created(1)) + 12 * (MOST_HELD + 1))


class EndTests(DurableServerTestCase):
    """Connections that end while an answer waits."""

    def half_close(self) -> None:
        self.client.protocol.readConnectionLost()

    def test_a_client_that_sends_no_more_gets_its_answer(self) -> None:
        """C{nc -N} is one."""
        self.client.tell(submit(), request(ECHO_REQ, b"x"))
        self.half_close()
        self.assertFalse(self.client.closed)
        self.thread.run()
        self.assertEqual(self.client.heard()[: len(created(1))], created(1))
        self.assertTrue(self.client.closed)

    def test_nor_is_it_cut_off_after_the_first_of_several(self) -> None:
        self.client.tell(submit())
        self.client.tell(submit())
        self.half_close()
        self.thread.run()
        self.assertEqual((self.client.heard(), self.client.closed), (created(1), False))
        self.thread.run()
        self.assertEqual((self.client.heard(), self.client.closed), (created(2), True))

    def test_a_packet_over_the_limit_behind_a_submit(self) -> None:
        """First the answer, then the error, then the end."""
        self.begin_anew(max_packet=100)
        self.client.tell(submit(), request(ECHO_REQ, b"x" * 200))
        self.assertEqual((self.client.heard(), self.client.closed), (b"", False))
        self.thread.run()
        self.assertEqual((self.client.heard(), self.client.closed), (created(1) + TOO_LARGE, True))

    def test_what_is_not_gearman_behind_a_submit(self) -> None:
        self.client.tell(submit(), b"\0BAD" + bytes(8))
        self.assertEqual((self.client.heard(), self.client.closed), (b"", False))
        self.thread.run()
        self.assertEqual((self.client.heard(), self.client.closed), (created(1), True))

    def test_nothing_behind_it_is_looked_at(self) -> None:
        """A transport may still deliver what it has; it is the rest of that packet, and no request."""
        self.begin_anew(max_packet=100)
        self.client.tell(submit(), request(ECHO_REQ, b"x" * 200)[:50])
        self.client.tell(b"status\n", submit())
        self.assertEqual(len(self.fixture.server.broker.table.jobs), 1)
        self.thread.run_all()
        self.assertEqual((self.client.heard(), self.client.closed), (created(1) + TOO_LARGE, True))

    def test_both(self) -> None:
        """A packet over the limit, and then its sender sends no more."""
        self.begin_anew(max_packet=100)
        self.client.tell(submit(), request(ECHO_REQ, b"x" * 200))
        self.half_close()
        self.thread.run()
        self.assertEqual((self.client.heard(), self.client.closed), (created(1) + TOO_LARGE, True))

    def test_a_client_that_goes(self) -> None:
        self.client.tell(submit(), request(ECHO_REQ, b"x" * 10))
        self.half_close()
        self.client.leave()
        self.thread.run()
        self.assertEqual(self.client.heard(), b"")
        self.assertEqual(self.numbers(), [1])
        self.assert_well()

    def test_those_who_are_hung_up_on_have_been_answered(self) -> None:
        self.client.tell(submit())
        settled = self.fixture.journal.settle()
        self.thread.run()
        self.assertIsNone(self.successResultOf(settled))
        self.assertNoResult(self.fixture.server.close_connections())
        self.assertEqual((self.client.heard(), self.client.closed), (created(1), True))


class SocketTests(DurableServerTestCase):
    """Over a plain TCP connection."""

    def begin(self, **choices: object) -> None:
        super().begin(max_packet=100, **choices)
        self.reactor = MemoryReactorClock()
        protocol = GearFactory(self.fixture.server).buildProtocol(None)
        self.connection = FakeTcpConnection(protocol, self.reactor)

    def reading(self) -> bool:
        return self.connection in self.reactor.getReaders()

    def test_a_client_that_sends_no_more_gets_its_answer(self) -> None:
        self.connection.arrive(submit())
        self.connection.readConnectionLost(Failure(ConnectionError()))
        self.thread.run()
        self.assertEqual(self.connection.written, created(1))
        self.connection.make_room()
        self.assertFalse(self.connection.connected)

    def test_after_a_packet_over_the_limit_the_rest_of_it_is_read(self) -> None:
        """Its sender reads the answer when all has been sent."""
        self.connection.arrive(submit() + request(ECHO_REQ, b"x" * 200)[:50])
        self.assertFalse(self.reading())
        self.thread.run()
        self.assertEqual(self.connection.written, created(1) + TOO_LARGE)
        self.assertTrue(self.reading())
        self.assertTrue(self.connection.connected)


class WithoutStoreTests(DurableServerTestCase):
    def test_jobs_in_memory_only_are_answered_at_once(self) -> None:
        self.fixture.server = JobServer(self.clock, Settings(prefix=b"H:test"))
        self.fixture.factory = GearFactory(self.fixture.server)
        line = self.fixture.connect()
        self.assertEqual(line.ask(submit(), submit()), created(1, 2))
