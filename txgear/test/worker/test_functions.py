"""
Tests for L{txgear.worker.functions}: jobs that are cut into parts, through a worker, and those put off.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import JobFailed, JobRaised
from txgear.protocol.constants import (
    JOB_ASSIGN_ALL,
)
from txgear.test.support.client import ASKED, GRAB, ScriptedConnection, WorkerTestCase
from txgear.worker import RetryLater, WorkerJob


class PartitionTests(WorkerTestCase):
    """Jobs that are cut into parts."""

    def setUp(self) -> None:
        super().setUp()
        self.parts: list[tuple[bytes, bytes]] = []
        self.given_up: list[bytes] = []

    def run(self, *arguments: Any) -> Any:
        """Both trial's, and what a client does with a part."""
        if len(arguments) != 2:
            return super().run(*arguments)
        self.parts.append((arguments[0], arguments[1]))
        self.results.append(Deferred(lambda _: self.given_up.append(arguments[1])))
        return self.results[-1]

    def partitioned(self, reducer: bytes) -> ScriptedConnection:
        worker = self.make_worker()

        @worker.partition("count", self, aggregate=b"+".join)
        def split(job: WorkerJob) -> list[str]:
            return job.workload.decode().split()

        worker.startService()
        line = self.server.line
        self.assertEqual([ASKED, ("CAN_DO", b"count")], line.welcome())
        line.packets()
        line.send(JOB_ASSIGN_ALL, b"H:1", b"count", b"", reducer, b"a b c")
        return line

    def test_aggregate(self) -> None:
        """Each part is a job of the reducer; their results are put together in the order of the parts."""
        line = self.partitioned(b"len")
        self.assertEqual([(b"len", b"a"), (b"len", b"b"), (b"len", b"c")], self.parts)
        for n in (2, 0, 1):
            self.assertEqual([], line.packets())
            self.results[n].callback(b"%d" % n)
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"0+1+2"), *GRAB], line.packets())

    def test_no_reducer(self) -> None:
        """Without a reducer the parts themselves are sent as data, as libgearman does."""
        line = self.partitioned(b"")
        self.assertEqual(
            [("WORK_DATA", b"H:1", part) for part in (b"a", b"b", b"c")]
            + [("WORK_COMPLETE", b"H:1", b""), *GRAB],
            line.packets(),
        )
        self.assertEqual([], self.parts)

    def test_part_fails(self) -> None:
        """If a part fails, the job does, and the others are waited for no more."""
        for error, text in (
            (JobFailed("the job failed", b"H:7"), b"JobFailed: the job failed"),
            (JobRaised(b"ValueError: b", b"H:7"), b"JobRaised: ValueError: b"),
        ):
            self.results.clear()
            self.given_up.clear()
            line = self.partitioned(b"len")
            self.results[1].errback(error)
            self.assertEqual([("WORK_EXCEPTION", b"H:1", text), *GRAB], line.packets())
            self.assertEqual([b"a", b"c"], self.given_up)
        self.assertEqual(2, len(self.flushLoggedErrors(JobFailed)))

    def test_given_up(self) -> None:
        """If the job is given up, so is the waiting for its parts."""
        line = self.partitioned(b"len")
        line.lose()
        self.assertEqual([b"a", b"b", b"c"], self.given_up)


class RetryLaterTests(SynchronousTestCase):
    def test_text(self) -> None:
        for text, sent in (("é", "é".encode()), (b"\xff", b"\xff"), ("\ud800", b"?")):
            with self.subTest(text=text):
                later = RetryLater(0.5, text)
                self.assertEqual((0.5, sent), (later.seconds, later.text))
        self.assertEqual(b"", RetryLater(0).text)

    def test_mistakes(self) -> None:
        for seconds, error in (
            (-1, ValueError),
            (float("nan"), ValueError),
            (float("inf"), ValueError),
            (366 * 24 * 3600 + 1, ValueError),
            ("5", TypeError),
        ):
            with self.subTest(seconds=seconds):
                self.assertRaises(error, RetryLater, seconds)
