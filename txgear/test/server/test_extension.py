"""Tests of L{txgear.server.extension}: this server's own requests, byte for byte."""

from __future__ import annotations

import json

from twisted.logger import capturedLogs, formatEvent

from txgear.broker.states import DELAYED, RUNNING
from txgear.protocol.constants import (
    CAN_DO,
    CAN_DO_TIMEOUT,
    ECHO_REQ,
    ECHO_RES,
    FUNCTION_LOAD,
    FUNCTION_LOADS,
    GET_RESULT,
    GRAB_JOB,
    GRAB_JOB_OPTIONS,
    HIGH,
    JOB_ASSIGN_OPTIONS,
    JOB_WITHDRAWN,
    LAST_TYPE,
    LOW,
    NO_JOB,
    NORMAL,
    OPTION_REQ,
    OPTION_RES,
    PRIVATE,
    REQUEST_MAGIC,
    RESULT,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_OPTIONS,
    WORK_BEAT,
    WORK_COMPLETE,
    WORK_EXCEPTION,
    WORK_FAIL,
)
from txgear.protocol.packets import PIECES_FROM, PRIVATE_PACKETS, request, response
from txgear.protocol.traces import Trace
from txgear.server.extension import MOST_LOADS
from txgear.test.support.clock import START
from txgear.test.support.extension import CREATED, GRANTED, ONE, PARENT, TWO, ExtensionTestCase, asked
from txgear.test.support.net import error, packet

DEEP = b"[" * 8000


class OptionTests(ExtensionTestCase):
    def test_granted(self) -> None:
        for option in (b"txgear-1", b"TxGear-1", b"txgear-1\0", b"txgear-1\0more"):
            line = self.fixture.connect()
            self.assertFalse(line.protocol.peer.extended)
            self.assertEqual(line.ask(request(OPTION_REQ, option)), response(OPTION_RES, option))
            self.assertTrue(line.protocol.peer.extended)
            self.assertFalse(line.protocol.peer.exceptions)

    def test_other_versions_are_unknown(self) -> None:
        refused = error(b"UNKNOWN_OPTION", b"Server does not recognize given option")
        for option in (b"txgear", b"txgear-2", b"txgear-10", b""):
            line = self.fixture.connect()
            self.assertEqual(line.ask(request(OPTION_REQ, option)), refused)
            self.assertFalse(line.protocol.peer.extended)

    def test_twice_is_once(self) -> None:
        self.submit(b"")
        self.assertEqual(self.client.ask(asked(wait=b"1"), request(OPTION_REQ, b"txgear-1")), GRANTED)
        self.client.leave()
        self.assertEqual(self.job().history and self.job().history.watchers, {})  # type: ignore[union-attr]

    def test_without_it_the_connection_ends(self) -> None:
        """As it does in the reference for every type that it does not know."""
        for kind in (LAST_TYPE + 1, *PRIVATE_PACKETS):
            line = self.fixture.connect()
            echo = line.ask(request(ECHO_REQ, b"before"), request(kind, *[b"x"] * 6))
            self.assertEqual(echo, response(ECHO_RES, b"before"))
            self.assertTrue(line.closed)

    def test_with_it_other_unknown_types_end_the_connection_still(self) -> None:
        for kind in (0, LAST_TYPE + 1, PRIVATE, PRIVATE + len(PRIVATE_PACKETS) + 1, 2**32 - 1):
            line = self.extended()
            line.tell(packet(REQUEST_MAGIC, kind))
            self.assertTrue(line.closed)

    def test_the_option_and_what_it_allows_in_one_piece(self) -> None:
        line = self.fixture.connect()
        answers = line.ask(request(OPTION_REQ, b"txgear-1"), request(GRAB_JOB_OPTIONS))
        self.assertEqual(answers, GRANTED + response(NO_JOB))

    def test_what_only_a_server_says(self) -> None:
        refused = error(b"INVALID_COMMAND", b"Command not expected")
        for kind, count in ((RESULT, 5), (JOB_ASSIGN_OPTIONS, 6), (JOB_WITHDRAWN, 2)):
            self.assertEqual(self.client.ask(request(kind, *[b"x"] * count)), refused)

    def test_too_few_arguments(self) -> None:
        for kind, name in ((SUBMIT_JOB_OPTIONS, b"SUBMIT_JOB_OPTIONS"), (GET_RESULT, b"GET_RESULT")):
            refused = error(b"INVALID_PACKET", name + b" lacks arguments")
            self.assertEqual(self.client.ask(request(kind, b"x")), refused)

    def test_a_peer_that_goes(self) -> None:
        """Nobody waits any more, and what was to be said goes nowhere."""
        self.run_job()
        self.assertEqual(self.client.ask(asked(wait=b"1")), b"")
        life = self.job().history
        assert life is not None
        self.assertEqual(len(life.watchers), 1)
        self.client.leave()
        self.assertEqual(life.watchers, {})
        self.assertEqual(self.worker.ask(request(WORK_COMPLETE, ONE, b"r")), b"")


class SubmitTests(ExtensionTestCase):
    def test_background(self) -> None:
        self.assertEqual(self.submit(b"", b"wo\0rk", b"u"), CREATED)
        job = self.job()
        self.assertEqual((job.function.name, job.unique, job.workload), (b"f", b"u", b"wo\0rk"))
        self.assertEqual((job.priority, job.background, job.clients, job.history), (NORMAL, True, (), None))

    def test_foreground(self) -> None:
        self.assertEqual(self.submit({"background": False, "priority": "low"}), CREATED)
        job = self.job()
        self.assertEqual((job.priority, job.background), (LOW, False))
        self.worker.ask(request(CAN_DO, b"f"), request(GRAB_JOB))
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.client.heard(), response(WORK_COMPLETE, ONE, b"r"))

    def test_settings(self) -> None:
        settings = {"retries": {"fail": 2}, "backoff": "5s", "results": "1h"}
        self.assertEqual(self.submit({**settings, "priority": "high"}), CREATED)
        life = self.job().history
        assert life is not None
        self.assertEqual(life.settings, settings)

    def test_a_trace(self) -> None:
        """It is no setting, and each attempt has it."""
        for trace in ({"traceparent": PARENT}, {"traceparent": PARENT, "tracestate": 'a="\\,b=1'}):
            self.begin()
            self.assertEqual(self.submit({"trace": trace, "retries": 1, "backoff": 0}), CREATED)
            self.worker.tell(request(CAN_DO, b"f"))
            for attempt in (1, 2):
                options = {"attempt": attempt, "lease": 0, "timeout": 0, "trace": trace}
                answer = self.worker.ask(request(GRAB_JOB_OPTIONS))
                packed = json.dumps(options, separators=(",", ":")).encode()
                self.assertEqual(answer, response(JOB_ASSIGN_OPTIONS, ONE, b"f", b"", b"", packed, b"w"))
                self.worker.tell(request(WORK_FAIL, ONE))

    def test_a_trace_alone(self) -> None:
        self.assertEqual(self.submit({"trace": {"traceparent": PARENT}}), CREATED)
        history = self.job().history
        assert history is not None
        self.assertEqual((history.settings, history.trace), ({}, Trace(PARENT)))

    def test_a_setting_under_an_earlier_name(self) -> None:
        """It counts, and the log has one line, whoever else does the same."""
        with capturedLogs() as events:
            self.run_job({"once": "1h", "results": "1h"}, b"u")
            self.assertEqual(self.submit({"once": "1h"}, unique=b"u"), CREATED)
            self.assertEqual(self.submit({"unique_for": "1h"}, unique=b"u"), CREATED)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "192.0.2.1 (-) sets once for a job, which is called unique_for now;"
                " both names are taken, and this is said once"
            ],
        )
        both = self.submit({"once": 1, "unique_for": 1})
        self.assertIn(b"once: this is unique_for under its earlier name", both)

    def test_a_job_that_fails_and_then_succeeds(self) -> None:
        """Who waits hears nothing of the first attempts."""
        self.submit({"background": False, "retries": 2, "backoff": 0})
        self.worker.tell(request(CAN_DO, b"f"))
        for attempt in (b"1", b"2", b"3"):
            self.assertIn(b'{"attempt":%s,' % attempt, self.worker.ask(request(GRAB_JOB_OPTIONS)))
            self.worker.tell(request(WORK_EXCEPTION, ONE, b"no") if attempt < b"3" else b"")
            self.assertEqual(self.client.heard(), b"")
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.client.heard(), response(WORK_COMPLETE, ONE, b"r"))

    def test_delay(self) -> None:
        self.submit({"delay": "1.5s"})
        self.assertEqual((self.job().state, self.job().due), (DELAYED, START + 1.5))
        self.worker.ask(request(CAN_DO, b"f"))
        self.fixture.clock.advance(1.4)
        self.assertEqual(self.worker.ask(request(GRAB_JOB_OPTIONS)), response(NO_JOB))
        self.fixture.clock.advance(0.2)
        self.assertIn(ONE, self.worker.ask(request(GRAB_JOB_OPTIONS)))

    def test_at(self) -> None:
        self.submit({"at": START + 10, "priority": "high"})
        job = self.job()
        begins = self.fixture.server.broker.lifecycle.begins(job)
        self.assertEqual((job.state, begins, job.priority), (DELAYED, START + 10, HIGH))
        self.submit({"at": START - 10})
        self.assertNotEqual(self.job(TWO).state, DELAYED)

    def test_mistakes(self) -> None:
        """All are named; what the broker finds, too. Nothing is submitted."""
        for options, text in {
            b'{"at":"x"}': "at: seconds since 1970 are wanted, to the end of the year 9999, not 'x'",
            b'{"retries":-1}': "retries: a whole number from 0 to 1000000000 is wanted, not -1",
            b'{"backoff":{"kind":"odd"}}': (
                "backoff.kind: one of fixed, linear and exponential is wanted, not 'odd'"
            ),
            b'{"lease":1%s}' % (b"0" * 400): None,
            b'{"rate":"1/s"}': None,
            b'{"\\ud800\\u0000":1}': None,
            b"{'a': 1}": None,
            DEEP: None,
        }.items():
            answer = self.submit(options)
            head = error(b"INVALID_ARGUMENT", b"")[12:]
            self.assertEqual(answer[12 : 12 + len(head)], head, options)
            if text is not None:
                self.assertEqual(answer[12 + len(head) :], text.encode())
        self.assertEqual(self.broker.table.jobs, {})
        self.assertEqual(self.client.ask(request(ECHO_REQ, b"x")), response(ECHO_RES, b"x"))

    def test_too_large(self) -> None:
        answer = self.submit(b" " * 8193)
        self.assertEqual(
            answer, error(b"ARGUMENT_TOO_LARGE", b"Options of 8193 bytes are over the limit of 8192")
        )

    def test_large_workload(self) -> None:
        self.submit(b"{}", b"w" * (PIECES_FROM + 1))
        self.assertEqual(self.job().size, PIECES_FROM + 1)
        self.worker.ask(request(CAN_DO, b"f"))
        self.assertTrue(self.worker.ask(request(GRAB_JOB_OPTIONS)).endswith(b"w" * (PIECES_FROM + 1)))

    def test_a_unique_that_is_done(self) -> None:
        """Where the unique stays taken, who waits is told the result at once."""
        self.run_job({"unique_for": "1h", "results": "1h"}, b"u")
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(
            self.submit({"background": False}, unique=b"u"), CREATED + response(WORK_COMPLETE, ONE, b"r")
        )
        self.assertEqual(self.submit({}, unique=b"u"), CREATED)


class WorkerTests(ExtensionTestCase):
    def grabbed(self, options: bytes, **rest: bytes) -> bytes:
        arguments = {"function": b"f", "unique": b"", "reducer": b"", "workload": b"w", **rest}
        return response(
            JOB_ASSIGN_OPTIONS,
            ONE,
            arguments["function"],
            arguments["unique"],
            arguments["reducer"],
            options,
            arguments["workload"],
        )

    def test_nothing_there(self) -> None:
        self.worker.tell(request(CAN_DO, b"f"))
        self.assertEqual(self.worker.ask(request(GRAB_JOB_OPTIONS)), response(NO_JOB))

    def test_a_job_without_a_policy(self) -> None:
        self.client.tell(request(SUBMIT_JOB, b"f", b"u", b"w\0"))
        self.worker.tell(request(CAN_DO, b"f"))
        self.assertEqual(
            self.worker.ask(request(GRAB_JOB_OPTIONS)),
            self.grabbed(b'{"attempt":1,"lease":0,"timeout":0}', unique=b"u", workload=b"w\0"),
        )

    def test_lease_and_timeout(self) -> None:
        self.begin({"f": {"lease": 30, "timeout": 90.5}})
        self.client.tell(request(SUBMIT_JOB_BG, b"f", b"", b"w"))
        self.worker.tell(request(CAN_DO, b"f"))
        self.assertEqual(
            self.worker.ask(request(GRAB_JOB_OPTIONS)),
            self.grabbed(b'{"attempt":1,"lease":30,"timeout":90.5}'),
        )

    def test_the_workers_own_timeout_where_it_is_shorter(self) -> None:
        for policies in ({}, {"f": {"timeout": 90}}, {"f": {"timeout": 90, "retries": 3}}):
            self.begin(policies)
            self.client.tell(request(SUBMIT_JOB_BG, b"f", b"", b"w"))
            self.worker.tell(request(CAN_DO_TIMEOUT, b"f", b"2500"))
            self.assertEqual(
                self.worker.ask(request(GRAB_JOB_OPTIONS)),
                self.grabbed(b'{"attempt":1,"lease":0,"timeout":2.5}'),
            )

    def test_attempts_are_counted(self) -> None:
        """With a policy, and without one, where a worker was lost."""
        self.client.tell(request(SUBMIT_JOB_BG, b"f", b"", b"w"))
        lost = self.fixture.connect()
        lost.ask(request(CAN_DO, b"f"), request(GRAB_JOB))
        lost.leave()
        self.worker.tell(request(CAN_DO, b"f"))
        self.assertEqual(
            self.worker.ask(request(GRAB_JOB_OPTIONS)), self.grabbed(b'{"attempt":2,"lease":0,"timeout":0}')
        )

    def leased(self) -> None:
        """The worker has a job that it must be heard of every ten seconds."""
        self.run_job({"lease": 10, "retries": 1, "backoff": 60})

    def test_beats(self) -> None:
        self.leased()
        for _ in range(5):
            self.fixture.clock.advance(9)
            self.assertEqual(self.worker.ask(request(WORK_BEAT, ONE)), b"")
            self.assertEqual(self.job().state, RUNNING)

    def test_silence(self) -> None:
        """The job is taken back, the worker is told, and its next words are about nothing of its own."""
        self.leased()
        self.fixture.clock.advance(10)
        self.assertEqual(self.worker.heard(), response(JOB_WITHDRAWN, ONE, b"silent"))
        self.assertEqual(self.job().state, DELAYED)
        not_found = error(b"JOB_NOT_FOUND", b"Job does not exist on server")
        self.assertEqual(self.worker.ask(request(WORK_BEAT, ONE)), not_found)
        self.assertEqual(self.worker.ask(request(WORK_BEAT, ONE + b"\0")), not_found)

    def test_a_timeout(self) -> None:
        """Beats do not help against it."""
        self.run_job({"timeout": 10, "lease": 6, "retries": 1, "backoff": 60})
        self.fixture.clock.advance(5)
        self.worker.tell(request(WORK_BEAT, ONE))
        self.fixture.clock.advance(5)
        self.assertEqual(self.worker.heard(), response(JOB_WITHDRAWN, ONE, b"timeout"))

    def test_cancelled(self) -> None:
        self.run_job()
        self.broker.operations.cancel(ONE, START)
        self.fixture.server.end_turn()
        self.assertEqual(self.worker.heard(), response(JOB_WITHDRAWN, ONE, b"cancelled"))

    def test_a_worker_of_the_classic_protocol_has_no_lease(self) -> None:
        self.submit({"lease": 10, "retries": 1})
        worker = self.fixture.connect()
        worker.ask(request(CAN_DO, b"f"), request(GRAB_JOB))
        self.fixture.clock.advance(100)
        self.assertEqual(self.job().state, RUNNING)
        self.broker.operations.cancel(ONE, START)
        self.fixture.server.end_turn()
        self.assertEqual(worker.heard(), b"")


class LoadTests(ExtensionTestCase):
    NOTHING = b'{"waiting":0,"oldest":null,"running":0}'

    def loads(self, names: bytes) -> bytes:
        return self.worker.ask(request(FUNCTION_LOAD, names))

    def test_in_the_order_of_the_question(self) -> None:
        self.submit(b"")
        self.fixture.clock.advance(2.5)
        there = b'{"waiting":1,"oldest":2.5,"running":0}'
        for names, found in (
            (b"f", [there]),
            (b"g\0f\0\xff", [self.NOTHING, there, self.NOTHING]),
            (b"f\0f", [there, there]),
            (b"f\0", [there, self.NOTHING]),
            (b"", []),
        ):
            self.assertEqual(self.loads(names), response(FUNCTION_LOADS, b"[" + b",".join(found) + b"]"))

    def test_nobody_is_remembered(self) -> None:
        """To ask for a function does not make it."""
        self.loads(b"unknown")
        self.assertEqual(list(self.broker.functions.by_name), [])

    def test_too_many(self) -> None:
        most = b"\0".join([b"f"] * MOST_LOADS)
        self.assertEqual(json.loads(self.loads(most)[12:]), [json.loads(self.NOTHING)] * MOST_LOADS)
        refused = error(b"ARGUMENT_TOO_LARGE", b"1001 functions are over the limit of 1000")
        self.assertEqual(self.loads(most + b"\0f"), refused)
