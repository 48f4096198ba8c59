"""Tests of L{txgear.server.gear}: every request, and what is answered, byte for byte."""

from __future__ import annotations

from math import inf

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Job
from txgear.broker.states import RUNNING
from txgear.protocol.constants import (
    ALL_YOURS,
    CAN_DO,
    CAN_DO_TIMEOUT,
    CANT_DO,
    ECHO_REQ,
    ECHO_RES,
    ERROR,
    EXTENSION_OPTION,
    GET_STATUS,
    GET_STATUS_UNIQUE,
    GRAB_JOB,
    GRAB_JOB_ALL,
    GRAB_JOB_UNIQ,
    HIGH,
    JOB_ASSIGN,
    JOB_ASSIGN_ALL,
    JOB_ASSIGN_UNIQ,
    JOB_CREATED,
    LAST_TYPE,
    LOW,
    MAX_CLIENT_ID,
    MAX_FUNCTION,
    NO_JOB,
    NOOP,
    NORMAL,
    OPTION_REQ,
    OPTION_RES,
    PRE_SLEEP,
    REQUEST_MAGIC,
    RESET_ABILITIES,
    RESPONSE_MAGIC,
    SET_CLIENT_ID,
    STATUS_RES,
    STATUS_RES_UNIQUE,
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
    UNUSED,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.protocol.packets import PACKETS, PIECES_FROM, request, response
from txgear.server.gear import GearFactory
from txgear.server.jobserver import JobServer
from txgear.server.notices import COMPLAINTS, MINUTE
from txgear.server.settings import Settings
from txgear.test.support.clock import START
from txgear.test.support.net import FakeTcpConnection, error, packet
from txgear.test.support.server import FakePeer, ServerFixture

ONE, TWO, THREE = b"H:test:1", b"H:test:2", b"H:test:3"

NEVER_SENT_TO_A_SERVER = {
    UNUSED: (),
    NOOP: (),
    JOB_CREATED: (ONE,),
    NO_JOB: (),
    JOB_ASSIGN: (ONE, b"f", b""),
    ECHO_RES: (b"x",),
    ERROR: (b"CODE", b"text"),
    STATUS_RES: (ONE, b"1", b"1", b"0", b"0"),
    OPTION_RES: (b"exceptions",),
    JOB_ASSIGN_UNIQ: (ONE, b"f", b"u", b""),
    JOB_ASSIGN_ALL: (ONE, b"f", b"u", b"r", b""),
    STATUS_RES_UNIQUE: (b"u", b"1", b"1", b"0", b"0", b"1"),
}
SUBMITS = {
    SUBMIT_JOB: (NORMAL, False),
    SUBMIT_JOB_BG: (NORMAL, True),
    SUBMIT_JOB_HIGH: (HIGH, False),
    SUBMIT_JOB_HIGH_BG: (HIGH, True),
    SUBMIT_JOB_LOW: (LOW, False),
    SUBMIT_JOB_LOW_BG: (LOW, True),
}
RESULT_NOT_FOUND = error(b"JOB_NOT_FOUND", b"Job given in work result not found")


class ServerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.begin()

    def begin(self, **choices: object) -> None:
        """A server of its own, with a client and a worker."""
        self.fixture = ServerFixture(**choices)
        self.client = self.fixture.connect()
        self.worker = self.fixture.connect()

    def job(self, handle: bytes = ONE) -> Job:
        job = self.fixture.server.broker.table.by_handle(handle)
        assert job is not None
        return job

    def running(self, function: bytes = b"f") -> None:
        """A job of the client that the worker has."""
        self.client.ask(request(SUBMIT_JOB, function, b"u", b""))
        self.worker.ask(request(CAN_DO, function), request(GRAB_JOB))

    def assert_alive(self, line: FakePeer) -> None:
        self.assertEqual(line.ask(request(ECHO_REQ, b"still there")), response(ECHO_RES, b"still there"))


class LogTests(ServerTestCase):
    def test_peers_that_do_the_same_wrong_thing_are_counted(self) -> None:
        with capturedLogs() as events:
            for _ in range(2000):
                self.fixture.connect().tell(b"\0nonsense....")
            self.assertEqual(len(events), COMPLAINTS)
            for minutes in range(1, 4):
                self.fixture.connect().tell(b"\0nonsense....")
                self.fixture.clock.advance(MINUTE)
                self.assertEqual(len(events), COMPLAINTS + minutes)
        self.assertIn(
            f"; {2000 - COMPLAINTS} more like it in the last minute", formatEvent(events[COMPLAINTS])
        )


class AnybodyTests(ServerTestCase):
    def test_what_is_ours_lies_in_slots(self) -> None:
        """A dict of more than 30 attributes is shared with no other connection, and there may be 10,000."""
        self.client.ask(request(ECHO_REQ, b""))
        self.assertEqual(set(self.client.protocol.__dict__), {"connected", "factory", "transport"})

    def test_echo(self) -> None:
        for data in (b"", b"x", b"\0\0REQ\0", b"x" * (PIECES_FROM + 1)):
            self.assertEqual(self.client.ask(request(ECHO_REQ, data)), response(ECHO_RES, data))

    def test_option(self) -> None:
        for option in (b"exceptions", b"Exceptions", b"exceptions\0", b"exceptions\0more"):
            client = self.fixture.connect()
            self.assertEqual(client.ask(request(OPTION_REQ, option)), response(OPTION_RES, option))
            self.assertTrue(client.protocol.peer.exceptions)

    def test_unknown_options(self) -> None:
        refused = error(b"UNKNOWN_OPTION", b"Server does not recognize given option")
        for option in (b"", b"exception", b"exceptions ", b"x" * 64, b"\0exceptions"):
            self.assertEqual(self.client.ask(request(OPTION_REQ, option)), refused)
        self.assertFalse(self.client.protocol.peer.exceptions)

    def test_client_id(self) -> None:
        for given, kept in ((b"me", b"me"), (b"me\0", b"me"), (b"x" * 200, b"x" * MAX_CLIENT_ID)):
            self.assertEqual(self.client.ask(request(SET_CLIENT_ID, given)), b"")
            self.assertEqual(self.client.protocol.peer.client_id, kept)

    def test_packets_of_the_other_direction(self) -> None:
        expected = error(b"INVALID_MAGIC", b"Request magic expected")
        for data in (b"", b"x" * (PIECES_FROM + 1)):
            self.assertEqual(self.client.ask(packet(RESPONSE_MAGIC, ECHO_REQ, data)), expected)
        self.assert_alive(self.client)

    def test_packets_that_no_peer_sends_to_a_server(self) -> None:
        expected = error(b"INVALID_COMMAND", b"Command not expected")
        for kind, arguments in NEVER_SENT_TO_A_SERVER.items():
            self.assertEqual(self.client.ask(request(kind, *arguments)), expected, kind)
        self.assert_alive(self.client)

    def test_every_other_packet_is_taken(self) -> None:
        refused = error(b"INVALID_COMMAND", b"Command not expected")
        for kind in set(PACKETS) - set(NEVER_SENT_TO_A_SERVER):
            _, count, data = PACKETS[kind]
            self.assertNotEqual(
                self.fixture.connect().ask(request(kind, *[b"1"] * (count + data))), refused, kind
            )

    def test_packets_that_lack_arguments(self) -> None:
        for kind, (name, count, _) in PACKETS.items():
            if count > 1 and kind != WORK_STATUS:
                answer = self.client.ask(packet(REQUEST_MAGIC, kind, b"\0".join([b"x"] * (count - 1))))
                self.assertEqual(answer, error(b"INVALID_PACKET", name.encode() + b" lacks arguments"))
        self.assert_alive(self.client)

    def test_a_status_may_lack_its_denominator(self) -> None:
        self.client.ask(request(SUBMIT_JOB, b"f", b"", b""))
        self.worker.ask(request(CAN_DO, b"f"), request(GRAB_JOB))
        self.assertEqual(self.worker.ask(packet(REQUEST_MAGIC, WORK_STATUS, b"H:test:1\x005")), b"")
        self.assertEqual(self.client.ask(), response(WORK_STATUS, b"H:test:1", b"5", b""))
        answer = self.client.ask(packet(REQUEST_MAGIC, WORK_STATUS, b"H:test:1"))
        self.assertEqual(answer, error(b"INVALID_PACKET", b"WORK_STATUS lacks arguments"))

    def test_what_is_not_gearman_ends_the_connection_without_an_answer(self) -> None:
        for data in (
            packet(REQUEST_MAGIC, 0),
            packet(REQUEST_MAGIC, LAST_TYPE + 1),
            packet(b"\0REX", ECHO_REQ),
            b"x" * 8193,
        ):
            line = self.fixture.connect()
            self.assertEqual(line.ask(data), b"")
            self.assertTrue(line.closed)

    def test_a_packet_over_the_limit_is_answered_and_ends_the_connection(self) -> None:
        self.begin(max_packet=100)
        self.assert_alive(self.client)
        answer = self.client.ask(request(ECHO_REQ, b"x" * 100), request(ECHO_REQ, b"x" * 101), b"status\n")
        refused = error(b"ARGUMENT_TOO_LARGE", b"a packet of 101 bytes is over the limit of 100")
        self.assertEqual(answer, response(ECHO_RES, b"x" * 100) + refused)
        self.assertTrue(self.client.closed)
        self.assertEqual(self.client.ask(request(ECHO_REQ, b"x")), b"")

    def test_all_yours_is_taken_note_of(self) -> None:
        self.assertEqual(self.worker.ask(request(ALL_YOURS)), b"")


class SubmitTests(ServerTestCase):
    def test_every_kind(self) -> None:
        for number, (kind, (priority, background)) in enumerate(SUBMITS.items(), 1):
            handle = b"H:test:%d" % number
            self.assertEqual(self.client.ask(request(kind, b"f", b"", b"w")), response(JOB_CREATED, handle))
            job = self.job(handle)
            self.assertEqual((job.priority, job.background, job.workload), (priority, background, b"w"))

    def test_answers_come_strictly_in_order(self) -> None:
        long = b"x" * 65
        self.assertEqual(
            self.client.ask(
                request(SUBMIT_JOB, b"f", b"u", b""),
                request(SUBMIT_JOB, b"f", long, b""),
                request(SUBMIT_JOB_BG, b"f", b"u", b""),
                request(SUBMIT_JOB_EPOCH, b"f", long, b"0", b""),
                request(SUBMIT_JOB_BG, b"f", b"", b""),
            ),
            response(JOB_CREATED, ONE)
            + error(b"ARGUMENT_TOO_LARGE", b"Unique value too large")
            + response(JOB_CREATED, ONE)
            + error(b"ARGUMENT_TOO_LARGE", b"Unique value too large")
            + response(JOB_CREATED, TWO),
        )

    def test_what_every_kind_may_be_refused_for(self) -> None:
        for kind in (
            *SUBMITS,
            SUBMIT_JOB_EPOCH,
            SUBMIT_JOB_SCHED,
            SUBMIT_REDUCE_JOB,
            SUBMIT_REDUCE_JOB_BACKGROUND,
        ):
            rest = [b""] * (PACKETS[kind][1] - 1)
            for function, unique, refusal in (
                (b"f", b"x" * 65, (b"ARGUMENT_TOO_LARGE", b"Unique value too large")),
                (b"f" * (MAX_FUNCTION + 1), b"", (b"ARGUMENT_TOO_LARGE", b"Function name too large")),
                (b"full", b"", (b"QUEUE_ERROR", b"Job queue is full")),
            ):
                self.begin()
                self.client.ask(b"maxqueue full 1\n", request(SUBMIT_JOB_BG, b"full", b"", b""))
                self.assertEqual(
                    self.client.ask(request(kind, function, unique, *rest)), error(*refusal), kind
                )

    def test_a_server_that_drains_takes_none(self) -> None:
        """Also of an operator, who is not hung up on at once."""
        self.client.ask(b"version\n")
        self.assertIsNone(self.successResultOf(self.fixture.server.drain()))
        refused = error(b"QUEUE_ERROR", b"The server is shutting down")
        self.assertEqual(self.client.ask(request(SUBMIT_JOB, b"f", b"", b"")), refused)

    def test_clients_hear_of_their_jobs_after_their_handles(self) -> None:
        self.worker.ask(request(CAN_DO, b"f"))
        answer = self.worker.ask(
            request(SUBMIT_JOB, b"f", b"", b""), request(GRAB_JOB), request(WORK_COMPLETE, ONE, b"done")
        )
        expected = response(JOB_CREATED, ONE) + response(JOB_ASSIGN, ONE, b"f", b"")
        self.assertEqual(answer, expected + response(WORK_COMPLETE, ONE, b"done"))

    def test_a_client_that_leaves_takes_its_job_along(self) -> None:
        self.client.ask(request(SUBMIT_JOB, b"f", b"", b""))
        self.client.leave()
        self.assertEqual(self.worker.ask(request(CAN_DO, b"f"), request(GRAB_JOB)), response(NO_JOB))


class StatusTests(ServerTestCase):
    def test_by_handle(self) -> None:
        ask = request(GET_STATUS, ONE)
        self.assertEqual(self.client.ask(ask), response(STATUS_RES, ONE, b"0", b"0", b"0", b"0"))
        self.client.ask(request(SUBMIT_JOB_BG, b"f", b"u", b""))
        self.assertEqual(self.client.ask(ask), response(STATUS_RES, ONE, b"1", b"0", b"0", b"0"))
        self.running()
        self.worker.tell(request(WORK_STATUS, ONE, b"1", b"2"))
        self.client.heard()
        expected = response(STATUS_RES, ONE, b"1", b"1", b"1", b"2")
        self.assertEqual(self.client.ask(ask), expected)
        self.assertEqual(self.worker.ask(request(GET_STATUS, ONE + b"\0")), expected)
        self.worker.leave()
        self.assertEqual(self.client.ask(ask), response(STATUS_RES, ONE, b"1", b"0", b"0", b"0"))

    def test_by_unique(self) -> None:
        ask = request(GET_STATUS_UNIQUE, b"u")
        nothing = response(STATUS_RES_UNIQUE, b"u", b"0", b"0", b"0", b"0", b"0")
        self.assertEqual(self.client.ask(ask), nothing)
        self.running()
        self.worker.tell(request(SUBMIT_JOB, b"f", b"u", b""), request(WORK_STATUS, ONE, b"1", b"2"))
        self.worker.heard()
        self.client.heard()
        expected = response(STATUS_RES_UNIQUE, b"u", b"1", b"1", b"1", b"2", b"2")
        self.assertEqual(self.client.ask(ask), expected)
        self.assertEqual(self.worker.ask(request(GET_STATUS_UNIQUE, b"u\0")), expected)
        self.worker.tell(request(WORK_COMPLETE, ONE, b""))
        self.client.heard()
        self.assertEqual(self.client.ask(ask), nothing)

    def test_uniques_that_name_no_job(self) -> None:
        self.client.ask(request(SUBMIT_JOB, b"f", b"-", b"w"), request(SUBMIT_JOB, b"f", b"", b"w"))
        for unique in (b"-", b""):
            answer = self.client.ask(request(GET_STATUS_UNIQUE, unique))
            self.assertEqual(answer, response(STATUS_RES_UNIQUE, unique, b"0", b"0", b"0", b"0", b"0"))

    def test_names_that_are_too_long_are_answered(self) -> None:
        for name in (b"x" * 64, b"x" * 65, b"x" * 5000, b"x" * (PIECES_FROM + 1)):
            self.assertEqual(
                self.client.ask(request(GET_STATUS, name), request(GET_STATUS_UNIQUE, name)),
                response(STATUS_RES, name, b"0", b"0", b"0", b"0")
                + response(STATUS_RES_UNIQUE, name, b"0", b"0", b"0", b"0", b"0"),
            )


class AbilityTests(ServerTestCase):
    def grab(self) -> bytes:
        return self.worker.ask(request(GRAB_JOB))

    def test_abilities_come_and_go_without_an_answer(self) -> None:
        self.client.ask(request(SUBMIT_JOB_BG, b"f", b"", b""))
        for packets, able in (
            ([request(CAN_DO, b"f")], True),
            ([request(CAN_DO, b"f\0")], True),
            ([request(CAN_DO_TIMEOUT, b"f", b"5000")], True),
            ([request(CAN_DO, b"F")], False),
            ([request(CAN_DO, b"f"), request(CANT_DO, b"f")], False),
            ([request(CAN_DO, b"f"), request(CANT_DO, b"f\0")], False),
            ([request(CAN_DO, b"f"), request(CANT_DO, b"g")], True),
            ([request(CAN_DO, b"f"), request(RESET_ABILITIES)], False),
        ):
            worker = self.fixture.connect()
            self.assertEqual(worker.ask(*packets), b"")
            grabbed = worker.ask(request(GRAB_JOB))
            self.assertEqual(grabbed, response(JOB_ASSIGN, ONE, b"f", b"") if able else response(NO_JOB))
            worker.leave()

    def test_a_function_may_have_an_empty_name(self) -> None:
        self.client.ask(request(SUBMIT_JOB_BG, b"", b"", b""))
        answer = self.worker.ask(request(CAN_DO, b""), request(GRAB_JOB))
        self.assertEqual(answer, response(JOB_ASSIGN, ONE, b"", b""))

    def test_a_function_whose_name_is_too_long_is_refused(self) -> None:
        refused = error(b"ARGUMENT_TOO_LARGE", b"Function name too large")
        name = b"f" * (MAX_FUNCTION + 1)
        self.assertEqual(self.worker.ask(request(CAN_DO, name)), refused)
        self.assertEqual(self.worker.ask(request(CAN_DO_TIMEOUT, name, b"1000")), refused)
        self.assertEqual(self.worker.ask(request(CANT_DO, name)), b"")

    def test_a_function_whose_name_holds_a_nul_is_refused(self) -> None:
        refused = error(b"INVALID_ARGUMENT", b"A function's name holds no NUL")
        for name in (b"f\0g", b"f\0\0"):
            self.assertEqual(self.worker.ask(request(CAN_DO, name)), refused)

    def test_timeouts_are_milliseconds(self) -> None:
        for text, seconds in (
            (b"3000", 3.0),
            (b"1500", 1.5),
            (b"1", 1.0),
            (b"999", 1.0),
            (b"2147483648", 2147483.648),
            (b"2147483649", None),
            (b"9" * 100, None),
            (b"0", None),
            (b"-1000", None),
            (b"", None),
            (b"soon", None),
        ):
            self.begin()
            self.client.ask(request(SUBMIT_JOB_BG, b"f", b"", b""))
            self.worker.ask(request(CAN_DO_TIMEOUT, b"f", text), request(GRAB_JOB))
            deadline = self.fixture.server.broker.timers.deadline - START
            self.assertEqual(deadline, inf if seconds is None else seconds, text)

    def hints(self, *packets: bytes, worker: FakePeer | None = None) -> list[str]:
        """What the log hears of these."""
        with capturedLogs() as events:
            self.assertEqual((worker or self.worker).ask(*packets), b"")
        return [formatEvent(event) for event in events]

    def test_a_timeout_that_hardly_is_milliseconds(self) -> None:
        """The log says so, once a worker."""
        self.worker.tell(request(SET_CLIENT_ID, b"mail\n1"))
        self.assertEqual(
            self.hints(*(request(CAN_DO_TIMEOUT, function, b"5") for function in (b"f g", b"h", b"i"))),
            [
                "mail\\x0a1 gives itself 5 milliseconds for a job of f g, and gets 1000."
                " If it means seconds, see --can-do-timeout-unit"
            ],
        )
        self.assertEqual(self.hints(request(CAN_DO_TIMEOUT, b"f", b"1000")), [])
        other = self.fixture.connect()
        other.tell(request(SET_CLIENT_ID, b"mail 2"))
        self.assertEqual(len(self.hints(request(CAN_DO_TIMEOUT, b"f", b"1"), worker=other)), 1)

    def test_a_site_whose_workers_mean_seconds(self) -> None:
        """Those that speak our own packets mean what the protocol has."""
        self.fixture = ServerFixture(can_do_timeout_unit="seconds")
        worker, own = self.fixture.connect(), self.fixture.connect()
        own.ask(request(OPTION_REQ, EXTENSION_OPTION))
        self.assertEqual(self.hints(request(CAN_DO_TIMEOUT, b"f", b"5"), worker=worker), [])
        self.assertEqual(self.hints(request(CAN_DO_TIMEOUT, b"f", b"7000"), worker=own), [])
        (queue,) = self.fixture.server.broker.functions.by_name.values()
        peers = self.fixture.server.broker.peers
        self.assertEqual([peer.abilities[queue] for peer in peers], [5.0, 7.0])

    def test_a_job_that_overruns_its_time_goes_to_another(self) -> None:
        self.client.ask(request(SUBMIT_JOB, b"f", b"", b""))
        self.worker.ask(request(CAN_DO_TIMEOUT, b"f", b"3000"), request(GRAB_JOB))
        other = self.fixture.connect()
        other.tell(request(CAN_DO, b"f"), request(PRE_SLEEP))
        self.fixture.clock.advance(3)
        self.assertEqual(other.heard(), response(NOOP))
        self.assertEqual(other.ask(request(GRAB_JOB)), response(JOB_ASSIGN, ONE, b"f", b""))
        self.assertEqual(self.worker.ask(request(WORK_COMPLETE, ONE, b"late")), RESULT_NOT_FOUND)
        self.assertEqual(self.client.heard(), b"")
        other.tell(request(WORK_COMPLETE, ONE, b"done"))
        self.assertEqual(self.client.heard(), response(WORK_COMPLETE, ONE, b"done"))


class GrabTests(ServerTestCase):
    def test_every_kind_of_grab(self) -> None:
        for grab, expected in (
            (GRAB_JOB, response(JOB_ASSIGN, ONE, b"f", b"w\0")),
            (GRAB_JOB_UNIQ, response(JOB_ASSIGN_UNIQ, ONE, b"f", b"u", b"w\0")),
            (GRAB_JOB_ALL, response(JOB_ASSIGN_UNIQ, ONE, b"f", b"u", b"w\0")),
        ):
            self.begin()
            self.client.ask(request(SUBMIT_JOB, b"f", b"u", b"w\0"))
            self.assertEqual(self.worker.ask(request(grab)), response(NO_JOB))
            self.assertEqual(self.worker.ask(request(CAN_DO, b"f"), request(grab)), expected)
            self.assertEqual(self.worker.ask(request(grab)), response(NO_JOB))

    def test_the_unique_of_a_job_that_is_its_workload_is_a_dash(self) -> None:
        self.client.ask(request(SUBMIT_JOB, b"f", b"-", b"w"))
        answer = self.worker.ask(request(CAN_DO, b"f"), request(GRAB_JOB_UNIQ))
        self.assertEqual(answer, response(JOB_ASSIGN_UNIQ, ONE, b"f", b"-", b"w"))

    def test_sleepers_are_woken(self) -> None:
        self.assertEqual(self.worker.ask(request(CAN_DO, b"f"), request(PRE_SLEEP)), b"")
        self.client.tell(request(SUBMIT_JOB_BG, b"f", b"", b""), request(SUBMIT_JOB_BG, b"f", b"", b""))
        self.assertEqual(self.worker.heard(), response(NOOP))
        self.assertEqual(self.worker.ask(request(PRE_SLEEP)), response(NOOP))

    def test_a_worker_that_leaves_gives_its_job_back(self) -> None:
        self.running()
        self.worker.leave()
        worker = self.fixture.connect()
        answer = worker.ask(request(CAN_DO, b"f"), request(GRAB_JOB))
        self.assertEqual(answer, response(JOB_ASSIGN, ONE, b"f", b""))

    def test_large_workloads_and_results_pass(self) -> None:
        workload, result = b"w" * (2 * PIECES_FROM), b"r\0" * (2 * PIECES_FROM)
        whole = request(SUBMIT_JOB, b"f", b"u", workload)
        self.worker.ask(request(CAN_DO, b"f"))
        for at in range(0, len(whole), 50000):
            self.client.tell(whole[at : at + 50000])
        answer = self.worker.ask(request(GRAB_JOB_UNIQ))
        self.assertEqual(answer, response(JOB_ASSIGN_UNIQ, ONE, b"f", b"u", workload))
        self.worker.tell(request(WORK_DATA, ONE, result) + request(WORK_COMPLETE, ONE, result))
        self.assertEqual(
            self.client.heard(),
            response(JOB_CREATED, ONE)
            + response(WORK_DATA, ONE, result)
            + response(WORK_COMPLETE, ONE, result),
        )


class WorkTests(ServerTestCase):
    def check(self, sent: bytes, heard: bytes, *, ends: bool) -> None:
        """What the worker of a running job sends gets no answer; this is what the client hears of it."""
        self.begin()
        self.running()
        self.client.heard()
        self.assertEqual(self.worker.ask(sent), b"")
        self.assertEqual(self.client.heard(), heard)
        job = self.fixture.server.broker.table.by_handle(ONE)
        self.assertEqual(job is None, ends)

    def test_what_is_passed_on(self) -> None:
        for kind, ends in ((WORK_DATA, False), (WORK_WARNING, False), (WORK_COMPLETE, True)):
            for data in (b"", b"x", b"\0x\0"):
                self.check(request(kind, ONE, data), response(kind, ONE, data), ends=ends)
            # Without the NUL that ends the handle: there is no data.
            self.check(packet(REQUEST_MAGIC, kind, ONE), response(kind, ONE, b""), ends=ends)

    def test_status_is_passed_on_as_it_was_said(self) -> None:
        for numbers in ((b"1", b"2"), (b"", b""), (b"50%", b"all"), (b"1", b"123456789012")):
            self.check(request(WORK_STATUS, ONE, *numbers), response(WORK_STATUS, ONE, *numbers), ends=False)
        self.check(
            request(WORK_STATUS, ONE, b"1", b"2\0"), response(WORK_STATUS, ONE, b"1", b"2"), ends=False
        )

    def test_status_is_kept_as_numbers_that_clients_can_read(self) -> None:
        for said, kept in (
            (b"7", b"7"),
            (b"", b"0"),
            (b"5%", b"5"),
            (b"9" * 12, b"2147483647"),
            (b"-9999999999", b"-2147483647"),
        ):
            self.check(
                request(WORK_STATUS, ONE, said, b"2"), response(WORK_STATUS, ONE, said, b"2"), ends=False
            )
            answer = self.client.ask(request(GET_STATUS, ONE))
            self.assertEqual(answer, response(STATUS_RES, ONE, b"1", b"1", kept, b"2"))

    def test_fail(self) -> None:
        for handle in (ONE, ONE + b"\0"):
            self.check(request(WORK_FAIL, handle), response(WORK_FAIL, ONE), ends=True)

    def test_an_exception_is_a_failure_to_clients_that_did_not_ask_for_it(self) -> None:
        self.check(request(WORK_EXCEPTION, ONE, b"why"), response(WORK_FAIL, ONE), ends=True)

    def test_an_exception_as_it_was_sent_to_those_who_did(self) -> None:
        for choices, option in (({}, True), ({"exceptions": True}, False)):
            self.begin(**choices)
            if option:
                self.client.ask(request(OPTION_REQ, b"exceptions"))
            self.running()
            self.assertEqual(self.worker.ask(request(WORK_EXCEPTION, ONE, b"why\0")), b"")
            self.assertEqual(self.client.heard(), response(WORK_EXCEPTION, ONE, b"why\0"))

    def test_a_failure_after_an_exception_is_let_pass(self) -> None:
        self.running()
        self.assertEqual(self.worker.ask(request(WORK_EXCEPTION, ONE, b""), request(WORK_FAIL, ONE)), b"")
        self.assertEqual(self.worker.ask(request(WORK_FAIL, ONE)), RESULT_NOT_FOUND)

    def test_of_a_job_that_is_not_the_workers(self) -> None:
        data_not_found = error(b"JOB_NOT_FOUND", b"Job does not exist on server")
        raised = error(b"JOB_NOT_FOUND", b"An exception was received for a job that does not exist")
        self.running()
        self.client.heard()
        for sender, handle in (
            (self.client, ONE),
            (self.worker, TWO),
            (self.worker, b""),
            (self.worker, b"x" * 99),
        ):
            for sent, expected in (
                (request(WORK_DATA, handle, b"x"), data_not_found),
                (request(WORK_WARNING, handle, b"x"), data_not_found),
                (request(WORK_STATUS, handle, b"1", b"2"), RESULT_NOT_FOUND),
                (request(WORK_COMPLETE, handle, b"x"), RESULT_NOT_FOUND),
                (request(WORK_FAIL, handle), RESULT_NOT_FOUND),
                (request(WORK_EXCEPTION, handle, b"x"), raised),
            ):
                self.assertEqual(sender.ask(sent), expected)
        self.assertEqual(self.client.heard(), b"")
        self.assertEqual(self.job().state, RUNNING)


class SocketTests(SynchronousTestCase):
    """Over a plain TCP connection."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.server = JobServer(self.reactor, Settings(max_packet=100))
        self.server.stop()  # and read the connections one by one
        self.connection = FakeTcpConnection(GearFactory(self.server).buildProtocol(None), self.reactor)

    def test_all_answers_to_what_arrives_together_are_one_write(self) -> None:
        self.connection.arrive(request(ECHO_REQ, b"x") + b"status\n" + request(GRAB_JOB))
        self.assertEqual(self.connection.fake.sent, [response(ECHO_RES, b"x") + b".\n" + response(NO_JOB)])

    def test_after_a_packet_over_the_limit_only_our_side_ends(self) -> None:
        self.connection.arrive(request(ECHO_REQ, b"x" * 101), b"status\n")
        refused = error(b"ARGUMENT_TOO_LARGE", b"a packet of 101 bytes is over the limit of 100")
        self.assertEqual(self.connection.written, refused)
        self.assertTrue(self.connection.connected)
        # Until the peer's side has ended, too.
        self.connection.readConnectionLost(Failure(ConnectionDone()))
        self.connection.make_room()
        self.assertFalse(self.connection.connected)

    def test_the_peer_is_gone_with_its_connection(self) -> None:
        self.assertEqual(len(self.server.broker.peers), 1)
        self.connection.abortConnection()
        self.reactor.advance(0)
        self.assertEqual(len(self.server.broker.peers), 0)
