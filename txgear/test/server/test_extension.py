"""Tests of L{txgear.server.extension}: this server's own requests, byte for byte."""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.model import Job
from txgear.broker.states import DELAYED, RUNNING
from txgear.errors import ArgumentTooLarge, InvalidArgument
from txgear.policies import CLASSIC, Policies
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
    JOB_CREATED,
    JOB_WITHDRAWN,
    LAST_TYPE,
    LOW,
    NO_JOB,
    NORMAL,
    OPTION_REQ,
    OPTION_RES,
    PRIVATE,
    REQUEST_MAGIC,
    RESPONSE_MAGIC,
    RESULT,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_OPTIONS,
    WORK_BEAT,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
)
from txgear.protocol.packets import PIECES_FROM, PRIVATE_PACKETS, Decoder, request, response
from txgear.protocol.traces import Trace
from txgear.server.extension import BYTES_AT_ONCE, MOST_LOADS, MOST_PENDING, SubmitOptions, read_options
from txgear.test.support.clock import START
from txgear.test.support.net import error, packet
from txgear.test.support.server import FakePeer, ServerFixture

ONE, TWO = b"H:test:1", b"H:test:2"
GRANTED = response(OPTION_RES, b"txgear-1")
CREATED = response(JOB_CREATED, ONE)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DEEP = b"[" * 8000


def asked(
    handle: bytes = ONE,
    *,
    token: bytes = b"t",
    function: bytes = b"",
    unique: bytes = b"",
    wait: bytes = b"0",
) -> bytes:
    """A question for what became of a job."""
    return request(GET_RESULT, token, handle, function, unique, wait)


def told(
    outcome: bytes, size: bytes = b"0", brought: bytes = b"", *, handle: bytes = ONE, token: bytes = b"t"
) -> bytes:
    """The answer."""
    return response(RESULT, token, handle, outcome, size, brought)


class ExtensionTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.begin()

    def begin(self, policies: dict[str, dict[str, Any]] | None = None, **choices: object) -> None:
        """A server of its own, with a client and a worker that both may speak all of it."""
        self.fixture = ServerFixture(**choices)
        self.set_policies(policies or {})
        self.client = self.extended()
        self.worker = self.extended()

    def set_policies(self, policies: dict[str, dict[str, Any]]) -> None:
        rules = [(pattern, CLASSIC.with_settings(settings)) for pattern, settings in policies.items()]
        self.broker.operations.set_policies(Policies(rules), START)

    @property
    def broker(self) -> Broker:
        return self.fixture.server.broker

    def extended(self) -> FakePeer:
        """A peer that has asked for the extension."""
        line = self.fixture.connect()
        self.assertEqual(line.ask(request(OPTION_REQ, b"txgear-1")), GRANTED)
        return line

    def job(self, handle: bytes = ONE) -> Job:
        job = self.broker.table.by_handle(handle)
        assert job is not None
        return job

    def submit(self, options: object, workload: bytes = b"w", unique: bytes = b"") -> bytes:
        packed = options if isinstance(options, bytes) else json.dumps(options).encode()
        return self.client.ask(request(SUBMIT_JOB_OPTIONS, b"f", unique, packed, workload))

    def run_job(self, options: object = b"", unique: bytes = b"") -> None:
        """A background job that the worker has."""
        self.assertEqual(self.submit(options, unique=unique), CREATED)
        self.worker.ask(request(CAN_DO, b"f"), request(GRAB_JOB_OPTIONS))
        self.assertEqual(self.job().state, RUNNING)


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


class ReadOptionsTests(SynchronousTestCase):
    def test_nothing(self) -> None:
        for text in (b"", b"{}", b" {}\n"):
            self.assertEqual(read_options(text), SubmitOptions(NORMAL, True, 0.0, 0.0, {}))

    def test_all(self) -> None:
        text = b'{"priority":"high","background":false,"delay":"1.5h","retries":3,"unique_for":"1d"}'
        self.assertEqual(
            read_options(text), SubmitOptions(HIGH, False, 0.0, 5400.0, {"retries": 3, "unique_for": "1d"})
        )
        self.assertEqual(read_options(b'{"at":1.5,"priority":"low"}'), SubmitOptions(LOW, True, 1.5, 0.0, {}))

    def test_what_is_no_json(self) -> None:
        for text in (b"{", b"\xff{}", b"{} {}", b'{"at":NaN}', b'{"at":-Infinity}', DEEP, b"{}\0"):
            with self.assertRaisesRegex(InvalidArgument, "The options are not JSON: "):
                read_options(text)
        with self.assertRaisesRegex(InvalidArgument, "The options are not JSON: "):
            read_options(b'{"at":' + b"9" * 5000 + b"}")

    def test_what_is_no_object(self) -> None:
        for text in (b"[]", b"5", b"null", b'"high"'):
            with self.assertRaisesRegex(InvalidArgument, "The options are no JSON object$"):
                read_options(text)

    def test_mistakes_are_named(self) -> None:
        mistakes: dict[str, list[Any]] = {
            "priority": ["urgent", 1, None, ["high"], {}],
            "background": ["true", 0, None],
            "at": ["now", -1, True, None, 1e300, 10**400, 253402300800, [1]],
            "delay": ["soon", -1, True, None, 1e300, 10**400, "400000d"],
            "trace": [
                None,
                PARENT,
                {},
                {"traceparent": 1},
                {"traceparent": PARENT, "tracestate": "=", "x": 1},
            ],
        }
        for key, values in mistakes.items():
            for value in values:
                with self.assertRaisesRegex(InvalidArgument, f"INVALID_ARGUMENT: {key}: "):
                    read_options(json.dumps({key: value}).encode())
        with self.assertRaisesRegex(InvalidArgument, "delay: .* not both"):
            read_options(b'{"at":1,"delay":1}')

    def test_too_large(self) -> None:
        fits = b" " * 8190 + b"{}"
        self.assertEqual(read_options(fits), SubmitOptions(NORMAL, True, 0.0, 0.0, {}))
        with self.assertRaisesRegex(ArgumentTooLarge, "Options of 8193 bytes are over the limit of 8192"):
            read_options(fits + b" ")


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


class ResultTests(ExtensionTestCase):
    def test_unknown(self) -> None:
        for question in (asked(), asked(wait=b"1"), asked(wait=b"1\0")):
            self.assertEqual(self.client.ask(question), told(b"unknown"))
        for function in (b"", b"f"):
            question = asked(b"", function=function, unique=b"u", wait=b"1")
            self.assertEqual(self.client.ask(question), told(b"unknown", handle=b""))

    def test_pending(self) -> None:
        self.submit({}, unique=b"u")
        self.assertEqual(self.client.ask(asked()), told(b"pending"))
        for function in (b"", b"f"):
            question = asked(b"", function=function, unique=b"u")
            self.assertEqual(self.client.ask(question), told(b"pending"))
        self.assertEqual(
            self.client.ask(asked(b"", function=b"g", unique=b"u")), told(b"unknown", handle=b"")
        )

    def test_done(self) -> None:
        """Data and result, cut apart by the size; by handle and by unique, as often as one asks."""
        self.run_job({"results": "1h"}, b"u")
        self.worker.tell(request(WORK_DATA, ONE, b"da\0"), request(WORK_DATA, ONE, b"ta"))
        self.worker.tell(request(WORK_COMPLETE, ONE, b"re\0sult"))
        for question in (asked(), asked(wait=b"1"), asked(b"", unique=b"u"), asked()):
            self.assertEqual(self.client.ask(question), told(b"done", b"5", b"da\0tare\0sult"))

    def test_other_peers_may_ask(self) -> None:
        self.run_job({"results": "1h"})
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.worker.ask(asked(token=b"")), told(b"done", b"0", b"r", token=b""))

    def test_until_its_time_is_over(self) -> None:
        self.run_job({"results": "1h"})
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.fixture.clock.advance(3599)
        self.assertEqual(self.client.ask(asked()), told(b"done", b"0", b"r"))
        self.fixture.clock.advance(2)
        self.assertEqual(self.client.ask(asked()), told(b"unknown"))

    def test_no_result_is_kept(self) -> None:
        """A result that was too large is missing, and so is one of which only the unique is kept."""
        for options in ({"results": {"keep": "1h", "bytes": 3}}, {"unique_for": "1h"}):
            self.begin()
            self.run_job(options, b"u")
            self.worker.tell(request(WORK_COMPLETE, ONE, b"long"))
            self.assertEqual(self.client.ask(asked()), told(b"done", b"-"))

    def test_a_job_without_a_policy(self) -> None:
        """Nothing is known of it once it has ended."""
        self.run_job()
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.client.ask(asked()), told(b"unknown"))

    def test_failed(self) -> None:
        """What the worker said is kept like a result."""
        for said, text in (
            (request(WORK_FAIL, ONE), b""),
            (request(WORK_EXCEPTION, ONE, b"no disk"), b"no disk"),
        ):
            self.begin()
            self.run_job({"results": "1h"})
            self.worker.tell(said)
            self.assertEqual(self.client.ask(asked()), told(b"failed", b"0", text))

    def test_dead(self) -> None:
        self.run_job({"retries": 0})
        self.worker.tell(request(WORK_EXCEPTION, ONE, "no dísk".encode()))
        self.assertEqual(self.client.ask(asked()), told(b"dead", b"0", "no dísk".encode()))
        self.assertTrue(self.broker.operations.requeue(ONE, START))
        self.assertEqual(self.client.ask(asked()), told(b"pending"))

    def test_cancelled_and_expired(self) -> None:
        self.submit({"results": "1h"})
        self.assertTrue(self.broker.operations.cancel(ONE, START))
        self.assertEqual(self.client.ask(asked()), told(b"cancelled"))
        self.submit({"results": "1h", "expires": 5})
        self.fixture.clock.advance(6)
        self.assertEqual(self.client.ask(asked(TWO)), told(b"expired", handle=TWO))

    def test_wait(self) -> None:
        """The answer comes with the end, after answers to other questions; who waits is told once."""
        self.run_job({"results": "1h"}, b"u")
        other = self.extended()
        self.assertEqual(other.ask(asked(b"", unique=b"u", wait=b"1", token=b"o")), b"")
        answers = self.client.ask(asked(wait=b"1"), asked(TWO, token=b"2"), request(ECHO_REQ, b"x"))
        self.assertEqual(answers, told(b"unknown", handle=TWO, token=b"2") + response(ECHO_RES, b"x"))
        self.worker.tell(request(WORK_DATA, ONE, b"data"), request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.client.heard(), told(b"done", b"4", b"datar"))
        self.assertEqual(other.heard(), told(b"done", b"4", b"datar", token=b"o"))
        self.assertEqual(self.client.heard(), b"")

    def test_wait_for_every_end(self) -> None:
        for end, answer in (
            (request(WORK_FAIL, ONE), told(b"failed")),
            (request(WORK_EXCEPTION, ONE, b"no"), told(b"failed", b"0", b"no")),
            (request(WORK_COMPLETE, ONE, b""), told(b"done")),
        ):
            self.begin()
            self.submit({})
            self.client.tell(asked(wait=b"1"))
            self.worker.ask(request(CAN_DO, b"f"), request(GRAB_JOB_OPTIONS))
            self.worker.tell(end)
            self.assertEqual(self.client.heard(), answer)

    def test_wait_for_a_job_that_dies(self) -> None:
        self.run_job({"retries": 1, "backoff": 60})
        self.client.tell(asked(wait=b"1"))
        self.worker.tell(request(WORK_EXCEPTION, ONE, b"first"))
        self.assertEqual(self.client.heard(), b"")
        self.fixture.clock.advance(61)
        self.worker.tell(request(GRAB_JOB_OPTIONS), request(WORK_EXCEPTION, ONE, b"second"))
        self.assertEqual(self.client.heard(), told(b"dead", b"0", b"second"))

    def test_wait_for_a_job_that_is_cancelled(self) -> None:
        self.submit({})
        self.client.tell(asked(wait=b"1"))
        self.broker.operations.cancel(ONE, START)
        self.fixture.server.end_turn()
        self.assertEqual(self.client.heard(), told(b"cancelled"))

    def test_wait_for_a_result_that_is_not_kept(self) -> None:
        """Who is there when it comes gets it; what was sent ahead is missing, and that is said."""
        self.run_job()
        self.client.tell(asked(wait=b"1"))
        self.worker.tell(request(WORK_DATA, ONE, b"data"), request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.client.heard(), told(b"done", b"-", b"r"))

    def test_what_was_sent_before_the_wait(self) -> None:
        """Of a job without a policy that is missing, and it is said whether there was anything."""
        for sent, size in ((b"", b"0"), (request(WORK_DATA, ONE, b"data"), b"-")):
            self.begin()
            self.run_job()
            self.worker.tell(sent)
            self.client.tell(asked(wait=b"1"))
            self.client.tell(asked(wait=b"1", token=b"again"))
            self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
            answers = told(b"done", size, b"r") + told(b"done", size, b"r", token=b"again")
            self.assertEqual(self.client.heard(), answers)
        self.begin({"f": {"results": "1h"}})
        self.run_job()
        self.worker.tell(request(WORK_DATA, ONE, b"data"))
        self.client.tell(asked(wait=b"1"))
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.client.heard(), told(b"done", b"4", b"datar"))

    def test_a_question_takes_the_place_of_one_with_its_token(self) -> None:
        self.run_job()
        self.client.tell(asked(wait=b"1"), asked(wait=b"1"))
        self.assertEqual(self.client.ask(asked()), told(b"pending"))
        life = self.job().history
        assert life is not None
        self.assertEqual(life.watchers, {})
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.client.heard(), b"")

    def test_too_many_wait(self) -> None:
        """Each peer has so many; others have their own, and places become free."""
        self.run_job()
        self.client.tell(*[asked(wait=b"1", token=b"%d" % number) for number in range(MOST_PENDING)])
        self.assertEqual(self.client.heard(), b"")
        why = b"1000 questions of this connection wait already"
        self.assertEqual(self.client.ask(asked(wait=b"1")), told(b"refused", b"-", why))
        self.assertEqual(self.client.ask(asked()), told(b"pending"))
        self.assertEqual(self.worker.ask(asked(wait=b"1")), b"")
        self.client.ask(asked(token=b"0"))
        self.assertEqual(self.client.ask(asked(wait=b"1")), b"")

    def test_mistakes(self) -> None:
        for question, refused in (
            (asked(wait=b""), error(b"INVALID_ARGUMENT", b"wait: 0 or 1 is wanted")),
            (asked(wait=b"yes"), error(b"INVALID_ARGUMENT", b"wait: 0 or 1 is wanted")),
            (asked(b""), error(b"INVALID_ARGUMENT", b"handle: a handle or a unique is wanted")),
            (asked(token=b"t" * 65), error(b"ARGUMENT_TOO_LARGE", b"A token has 64 bytes at the most")),
        ):
            self.assertEqual(self.client.ask(question), refused)
        self.assertEqual(self.client.ask(asked(token=b"t" * 64)), told(b"unknown", token=b"t" * 64))

    def test_a_large_result(self) -> None:
        large = b"x" * (PIECES_FROM + 1)
        self.run_job({"results": "1h"})
        self.worker.tell(request(WORK_DATA, ONE, b"data"), request(WORK_COMPLETE, ONE, large))
        self.assertEqual(self.client.ask(asked()), told(b"done", b"4", b"data" + large))

    def test_more_than_a_packet_holds(self) -> None:
        """Parts that were sent one by one may be more together than a peer takes."""
        head = len(b"t\0H:test:1\0done\0" + b"100\0")
        for most, answer in (
            (200 + head, told(b"done", b"100", b"d" * 100 + b"r" * 100)),
            (199 + head, told(b"refused", b"-", b"What it brought, 200 bytes, does not fit a packet")),
        ):
            self.begin(max_packet=most)
            self.run_job({"results": "1h"})
            self.worker.tell(request(WORK_DATA, ONE, b"d" * 100), request(WORK_COMPLETE, ONE, b"r" * 100))
            self.assertEqual(self.client.ask(asked()), answer)


class ManyResultsTests(ExtensionTestCase):
    """What many results bring is not all brought at once."""

    SIZE = BYTES_AT_ONCE // 2 - 1

    def setUp(self) -> None:
        self.begin({"f": {"results": "1h", "retries": 0}})
        self.worker.tell(request(CAN_DO, b"f"))
        for number in range(1, 8):
            self.submit(b"")
            self.worker.ask(request(GRAB_JOB_OPTIONS))
            self.worker.tell(request(WORK_COMPLETE, b"H:test:%d" % number, b"r" * self.SIZE))
        self.client.heard()

    def answers(self) -> list[bytes]:
        """The handles of those that have been answered since the last time."""
        packets = Decoder(magic=RESPONSE_MAGIC)
        packets.extended = True
        return [bytes(arguments[1]) for _, arguments in packets.feed(self.client.heard())]

    def ask(self, *numbers: int) -> None:
        self.client.tell(*[asked(b"H:test:%d" % number, token=b"%d" % number) for number in numbers])

    def handles(self, *numbers: int) -> list[bytes]:
        return [b"H:test:%d" % number for number in numbers]

    def test_in_turn(self) -> None:
        self.ask(1, 2, 3, 4, 5)
        self.assertEqual(self.answers(), self.handles(1, 2))
        self.fixture.clock.advance(0)
        self.assertEqual(self.answers(), self.handles(3, 4, 5))
        self.ask(6)
        self.assertEqual(self.answers(), self.handles(6))
        self.ask(7)
        self.assertEqual(self.answers(), [])
        self.fixture.clock.advance(0)
        self.assertEqual(self.answers(), self.handles(7))

    def test_who_does_not_read(self) -> None:
        self.ask(1, 2, 3)
        self.answers()
        self.client.protocol.pauseProducing()
        self.fixture.clock.advance(0)
        self.assertEqual(self.answers(), [])
        self.client.protocol.resumeProducing()
        self.assertEqual(self.answers(), self.handles(3))

    def test_who_leaves(self) -> None:
        self.ask(1, 2, 3)
        self.answers()
        self.client.leave()
        self.fixture.clock.advance(0)
        self.assertEqual(self.answers(), [])

    def test_what_changes_meanwhile(self) -> None:
        self.ask(1, 2, 3, 4)
        self.answers()
        self.broker.operations.forget(b"H:test:3")
        self.fixture.clock.advance(0)
        self.assertEqual(self.answers(), self.handles(3, 4))

    def test_one_that_is_queued_again_meanwhile(self) -> None:
        self.submit(b"", workload=b"w" * self.SIZE)
        self.worker.ask(request(GRAB_JOB_OPTIONS))
        self.worker.tell(request(WORK_FAIL, b"H:test:8"))
        self.ask(1, 2, 8)
        self.answers()
        self.broker.operations.requeue(b"H:test:8", START)
        self.fixture.clock.advance(0)
        self.assertEqual(self.client.heard(), told(b"pending", handle=b"H:test:8", token=b"8"))


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
