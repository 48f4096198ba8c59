"""Tests of L{txgear.client.tracing}, and of the client that traces, against servers that the tests play."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from twisted.internet.defer import CancelledError

from txgear.client import Client, Task
from txgear.errors import JobLost, MissingAbility, NotConnected, QueueError
from txgear.protocol.constants import ERROR, HIGH, JOB_CREATED, OPTION_RES, WORK_COMPLETE
from txgear.protocol.traces import Trace
from txgear.test.support.client import ClientTestCase, ScriptedConnection, ScriptedServer

ASKED = ("OPTION_REQ", b"txgear-1")
UNKNOWN_OPTION = (ERROR, b"UNKNOWN_OPTION", b"Server does not recognize given option")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class FakeSubmit:
    """One submit, and what it was told."""

    def __init__(self, trace: Trace | None) -> None:
        self.trace = trace
        self.told: list[object] = []

    def taken(self, handle: bytes, server: str) -> None:
        self.told.append((handle, server))

    def failed(self, error: BaseException) -> None:
        self.told.append(type(error))


class FakeTracing:
    """Has one trace for all submits."""

    def __init__(self, trace: Trace | None = Trace(PARENT, "a=1")) -> None:  # noqa: B008
        self.trace = trace
        self.asked: list[tuple[bytes, int]] = []
        self.submits: list[FakeSubmit] = []

    def submit(self, function: bytes, size: int) -> FakeSubmit:
        self.asked.append((function, size))
        self.submits.append(FakeSubmit(self.trace))
        return self.submits[-1]

    @property
    def told(self) -> list[list[object]]:
        return [submit.told for submit in self.submits]


class TracedTestCase(ClientTestCase):
    def setUp(self) -> None:
        self.tracing = FakeTracing()
        super().setUp()

    def make_client(self, servers: list[ScriptedServer], **options: Any) -> Client:
        return super().make_client(servers, tracing=self.tracing, **options)

    def grant(self) -> ScriptedConnection:
        """Let the server say that it is one of ours; what follows is left to be read."""
        line = self.server.line
        line.welcome()
        self.assertEqual([ASKED], line.packets())
        line.send(OPTION_RES, b"txgear-1")
        return line

    def options(self, line: ScriptedConnection) -> list[dict[str, Any]]:
        """Those of all submits since the last time."""
        packets = line.packets()
        self.assertEqual({"SUBMIT_JOB_OPTIONS"}, {packet[0] for packet in packets})
        return [json.loads(packet[3]) for packet in packets]


class CarryTests(TracedTestCase):
    trace: ClassVar = {"traceparent": PARENT, "tracestate": "a=1"}

    def test_with_all_kinds_of_submits(self) -> None:
        self.client.submit("f", b"work", priority=HIGH)
        handle = self.client.submit_background("f", b"work", at=1.5, policy={"retries": 2})
        done = self.client.run_all([Task("g", json=1), ("h", b"")])
        line = self.grant()
        self.assertEqual(
            [
                {"trace": self.trace, "priority": "high", "background": False},
                {"retries": 2, "at": 2, "trace": self.trace, "priority": "normal", "background": True},
                {"trace": self.trace, "priority": "normal", "background": False},
                {"trace": self.trace, "priority": "normal", "background": False},
            ],
            self.options(line),
        )
        self.assertEqual([(b"f", 4), (b"f", 4), (b"g", 1), (b"h", 0)], self.tracing.asked)
        for number in range(4):
            line.send(JOB_CREATED, b"H:%d" % number)
        self.assertEqual([[(b"H:%d" % number, "server")] for number in range(4)], self.tracing.told)
        self.assertEqual(b"H:1", self.successResultOf(handle))
        for number in (2, 3):
            line.send(WORK_COMPLETE, b"H:%d" % number, b"r")
        self.assertEqual([b"r", b"r"], self.successResultOf(done))
        self.assertEqual([1] * 4, list(map(len, self.tracing.told)))

    def test_no_trace(self) -> None:
        """Who traces may have nothing to carry: then nothing special is sent."""
        self.tracing.trace = None
        _, line = self.submitted("f")
        self.assertEqual([[(b"H:1", "server")]], self.tracing.told)
        self.assertEqual([], line.packets())

    def test_a_reducer(self) -> None:
        """No packet has both."""
        self.client.submit("f", reducer="r")
        self.server.line.welcome()
        self.assertEqual(["SUBMIT_REDUCE_JOB"], [packet[0] for packet in self.server.line.packets()])

    def test_what_makes_no_sense(self) -> None:
        """Nothing of it is told, also where other tasks do make sense."""
        self.assertRaises(ValueError, self.client.submit, "")
        self.assertRaises(ValueError, self.client.submit_background, "f", at=-1)
        self.assertRaises(ValueError, self.client.run_all, [("f", b""), ("", b"")])
        self.assertEqual([], self.tracing.asked)

    def test_too_large_with_it(self) -> None:
        """It goes without."""
        client = self.make_client([self.server], max_packet=100)
        client.submit("f", b"w" * 90)
        self.server.line.welcome()
        self.assertEqual([("SUBMIT_JOB", b"f", b"", b"w" * 90)], self.server.line.packets())


class ClassicServerTests(TracedTestCase):
    """A server that is another one gets the job without its trace."""

    def test_it_says_no(self) -> None:
        job = self.client.submit("f", b"w")
        handle = self.client.submit_background("f", b"w")
        line = self.server.line
        line.welcome()
        line.packets()
        writes = line.transport.writes
        line.send(*UNKNOWN_OPTION)
        self.assertEqual(
            [("SUBMIT_JOB", b"f", b"", b"w"), ("SUBMIT_JOB_BG", b"f", b"", b"w")], line.packets()
        )
        self.assertEqual(writes + 1, line.transport.writes)
        line.send(JOB_CREATED, b"H:1")
        line.send(JOB_CREATED, b"H:2")
        self.assertEqual((b"H:1", b"H:2"), (job.handle, self.successResultOf(handle)))
        self.client.submit("f", b"w")
        self.assertEqual([("SUBMIT_JOB", b"f", b"", b"w")], line.packets())

    def test_it_hangs_up(self) -> None:
        job = self.client.submit("f", b"w")
        for _ in range(2):
            self.server.line.welcome()
            self.server.line.lose()
            self.clock.advance(1)
        self.server.line.welcome()
        self.assertEqual([("SUBMIT_JOB", b"f", b"", b"w")], self.server.line.packets())
        self.server.line.send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", job.handle)

    def test_a_job_that_is_given_up_meanwhile(self) -> None:
        job = self.client.submit("f", b"w")
        line = self.server.line
        line.welcome()
        line.packets()
        job.cancel()
        line.send(*UNKNOWN_OPTION)
        self.assertEqual([], line.packets())
        self.assertEqual([[CancelledError]], self.tracing.told)

    def test_what_it_must_know(self) -> None:
        """A policy is not left out, as a trace is."""
        job = self.client.submit("f", policy={"retries": 1})
        self.server.line.welcome()
        self.server.line.send(*UNKNOWN_OPTION)
        self.assertEqual(
            "policies of single jobs", self.failureResultOf(job.result, MissingAbility).value.ability
        )
        self.assertEqual([[MissingAbility]], self.tracing.told)


class EndTests(TracedTestCase):
    def test_refused(self) -> None:
        handle = self.client.submit_background("f")
        self.grant().send(ERROR, b"QUEUE_ERROR", b"full")
        self.failureResultOf(handle, QueueError)
        self.assertEqual([[QueueError]], self.tracing.told)

    def test_not_connected(self) -> None:
        self.server.refusing = True
        job = self.client.submit("f")
        self.clock.pump([1] * 40)
        self.failureResultOf(job.result, NotConnected)
        self.assertEqual([[NotConnected]], self.tracing.told)

    def test_lost(self) -> None:
        self.client.submit("f")
        self.grant()
        self.server.line.lose()
        self.assertEqual([[JobLost]], self.tracing.told)

    def test_given_up(self) -> None:
        handle = self.client.submit_background("f")
        handle.cancel()
        self.failureResultOf(handle, CancelledError)
        self.assertEqual([[CancelledError]], self.tracing.told)

    def test_sent_again(self) -> None:
        """It is one submit, and it ended when the job was taken first."""
        self.client.submit("f", resend=True)
        self.grant().send(JOB_CREATED, b"H:1")
        self.server.line.lose()
        self.clock.advance(1)
        line = self.grant()
        self.assertEqual(PARENT, self.options(line)[0]["trace"]["traceparent"])
        line.send(JOB_CREATED, b"H:2")
        self.assertEqual([[(b"H:1", "server")]], self.tracing.told)
