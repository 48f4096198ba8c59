"""
Tests for L{txgear.cli.run.submitrun}.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.statuses import DENIED, DONE, FAILED, MISUSED, UNREACHABLE, CommandError
from txgear.cli.run.submitjobs import Wanted, from_json_lines
from txgear.cli.run.submitrun import Manner, SubmitRun
from txgear.cli.run.submittickets import FailedJobs, Summary, Ticket
from txgear.cli.run.submitview import View
from txgear.client import ClientJob
from txgear.client.questions import Result
from txgear.errors import (
    AccessDenied,
    JobFailed,
    JobLost,
    JobRaised,
    JobTimeout,
    MissingAbility,
    NotConnected,
    QueueError,
    ResultUnavailable,
)
from txgear.protocol.constants import WORK_COMPLETE, WORK_DATA, WORK_STATUS, WORK_WARNING


class FakeFeed:
    """Jobs that are there already, and then an error, or the end."""

    def __init__(self, jobs: Sequence[Wanted], error: CommandError | None = None) -> None:
        self._jobs = deque(jobs)
        self._error = error
        self.stopped = False

    @property
    def left(self) -> int:
        return len(self._jobs)

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True

    def next(self) -> Deferred[Wanted | None]:
        if self._jobs:
            return succeed(self._jobs.popleft())
        ended: Deferred[Wanted | None] = succeed(None)
        if self._error is not None:
            error = self._error
            _ = ended.addCallback(lambda _: (_ for _ in ()).throw(error))
        return ended


class FakeClient:
    """Takes jobs, and leaves it to the test what becomes of them."""

    def __init__(self) -> None:
        self.jobs: list[ClientJob] = []
        self.background: list[tuple[Deferred[bytes], dict[str, Any]]] = []
        self.fetched: list[tuple[bytes, Deferred[Result]]] = []
        self.named: list[dict[str, Any]] = []

    def submit(self, function: bytes, workload: bytes, **named: Any) -> ClientJob:
        self.named.append(named)
        self.jobs.append(ClientJob(function, b"", []))
        return self.jobs[-1]

    def submit_background(self, function: bytes, workload: bytes, **named: Any) -> Deferred[bytes]:
        answer: Deferred[bytes] = Deferred()
        self.background.append((answer, named))
        return answer

    def fetch(self, handle: bytes, **named: Any) -> Deferred[Result]:
        self.named.append(named)
        answer: Deferred[Result] = Deferred()
        self.fetched.append((handle, answer))
        return answer


class Recorder(View):
    """Keeps what it is told; it raises what the test wants it to."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, "txgear submit")
        self.said: list[tuple[Any, ...]] = []
        self.raises: Exception | None = None
        self.totals: Summary | None = None

    def _add(self, *said: Any) -> None:
        if self.raises is not None:
            raise self.raises
        self.said.append(said)

    def _created(self, ticket: Ticket) -> None:
        self._add("created", ticket.number)

    def _data(self, ticket: Ticket, data: bytes) -> None:
        self._add("data", ticket.number, data)

    def _warning(self, ticket: Ticket, data: bytes) -> None:
        self._add("warning", ticket.number, data)

    def _progress(self, ticket: Ticket, numerator: int, denominator: int) -> None:
        self._add("progress", ticket.number, numerator, denominator)

    def _done(self, ticket: Ticket, result: bytes) -> None:
        self._add("done", ticket.number, result)

    def _failed(self, ticket: Ticket, outcome: str, why: str) -> None:
        self._add(outcome, ticket.number, why)

    def _interrupted(self, tickets: Sequence[Ticket], place: str) -> None:
        self._add("interrupted", [ticket.number for ticket in tickets], place)

    def _summary(self, summary: Summary) -> None:
        self.totals = summary


class RunTests(SynchronousTestCase):
    """Jobs of a feed, submitted by a client."""

    def begin(
        self, count: int, manner: Manner, error: CommandError | None = None, failed: FailedJobs | None = None
    ) -> Deferred[int]:
        """Run with so many jobs."""
        self.clock = Clock()
        jobs = [Wanted(b"f", b"%d" % number, place=f"line {number}") for number in range(1, count + 1)]
        self.feed = FakeFeed(jobs, error)
        self.client = FakeClient()
        self.view = Recorder(self.clock)
        client: Any = self.client
        feed: Any = self.feed
        run = SubmitRun(self.clock, client, feed, self.view, manner, failed, self.clock.seconds)
        return Deferred.fromCoroutine(run.go())

    def complete(self, number: int, result: bytes = b"") -> None:
        """A job is taken, and is done."""
        job = self.client.jobs[number - 1]
        job.answered([b"H:%d" % number])
        job.packet(WORK_COMPLETE, [b"H:%d" % number, result])

    def test_so_many_at_a_time(self) -> None:
        """Another one begins when one has ended, and never more."""
        running = self.begin(4, Manner(concurrency=2))
        self.assertEqual(len(self.client.jobs), 2)
        self.client.jobs[1].answered([b"H:2"])
        self.assertEqual(len(self.client.jobs), 2)
        self.complete(1)
        self.assertEqual(len(self.client.jobs), 3)
        self.complete(2)
        self.complete(3)
        self.clock.advance(2.0)
        self.assertNoResult(running)
        self.complete(4)
        self.assertEqual(self.successResultOf(running), DONE)
        totals = self.view.totals
        assert totals is not None
        self.assertEqual((totals.counts["done"], totals.jobs, totals.seconds, totals.rate), (4, 4, 2.0, 2.0))
        self.assertTrue(self.feed.stopped)

    def test_what_a_worker_sends(self) -> None:
        """All of it is told, in its order."""
        running = self.begin(1, Manner(within=3.0, resend=True))
        [job] = self.client.jobs
        job.answered([b"H:1"])
        job.packet(WORK_DATA, [b"H:1", b"part"])
        job.packet(WORK_WARNING, [b"H:1", b"careful"])
        job.packet(WORK_STATUS, [b"H:1", b"1", b"2"])
        job.packet(WORK_COMPLETE, [b"H:1", b"end"])
        self.assertEqual(self.successResultOf(running), DONE)
        self.assertEqual(
            self.view.said,
            [
                ("created", 1),
                ("data", 1, b"part"),
                ("warning", 1, b"careful"),
                ("progress", 1, 1, 2),
                ("done", 1, b"end"),
            ],
        )
        self.assertEqual((self.client.named[0]["timeout"], self.client.named[0]["resend"]), (3.0, True))

    def test_outcomes(self) -> None:
        """Each error is another outcome, and none keeps the others from going on."""
        errors: list[tuple[Exception, str]] = [
            (JobFailed("the job failed", b"H"), "failed"),
            (JobRaised(b"no", b"H"), "failed"),
            (JobLost("gone", b"H"), "lost"),
            (JobTimeout("late", b"H"), "overdue"),
            (QueueError("full"), "refused"),
            (ResultUnavailable("later"), "lost"),
        ]
        running = self.begin(len(errors) + 1, Manner())
        for error, _ in errors:
            self.client.jobs[-1].failed(error)
        self.complete(len(errors) + 1)
        self.assertEqual(self.successResultOf(running), FAILED)
        self.assertEqual([said[0] for said in self.view.said[:-2]], [outcome for _, outcome in errors])

    def test_no_server(self) -> None:
        """No more jobs are taken, and those under way are waited for."""
        for error in (NotConnected("nobody"), MissingAbility("s", "delays", "old")):
            running = self.begin(5, Manner(concurrency=2))
            self.client.jobs[0].failed(error)
            self.assertEqual((len(self.client.jobs), self.feed.left), (2, 3))
            self.assertNoResult(running)
            self.complete(2)
            raised = self.failureResultOf(running, CommandError).value
            self.assertEqual(raised.status, UNREACHABLE)
            assert self.view.totals is not None
            self.assertEqual((self.view.totals.counts["unsent"], self.view.totals.counts["done"]), (1, 1))

    def test_denied(self) -> None:
        """It ends all where the others are like it, and only this one otherwise."""
        running = self.begin(3, Manner())
        self.client.jobs[0].failed(AccessDenied("no"))
        self.assertEqual(self.successResultOf(running), DENIED)
        self.assertEqual(self.feed.left, 2)
        running = self.begin(2, Manner(stop_when_denied=False))
        self.client.jobs[0].failed(AccessDenied("no"))
        self.complete(2)
        self.assertEqual(self.successResultOf(running), DENIED)

    def test_source_that_makes_no_sense(self) -> None:
        """What was read before it is waited for."""
        running = self.begin(1, Manner(concurrency=3), CommandError("line 2: no", MISUSED))
        self.assertNoResult(running)
        self.complete(1)
        self.assertEqual(self.failureResultOf(running, CommandError).value.status, MISUSED)
        self.assertIn(("done", 1, b""), self.view.said)

    def test_background(self) -> None:
        """A handle is all that is waited for."""
        running = self.begin(1, Manner(background=True))
        [(answer, named)] = self.client.background
        self.assertEqual((named["at"], named["delay"], named["policy"]), (None, None, None))
        answer.callback(b"H:1")
        self.assertEqual(self.successResultOf(running), DONE)
        self.assertEqual(self.view.said, [("created", 1), ("done", 1, b"")])

    def test_kept_results(self) -> None:
        """They are waited for, and an outcome that is not done is a failure."""
        for outcome, status in (("done", DONE), ("failed", FAILED), ("dead", FAILED), ("unknown", FAILED)):
            with self.subTest(outcome):
                running = self.begin(1, Manner(background=True, wait=True, within=4.0))
                self.client.background[0][0].callback(b"H:1")
                [(handle, answer)] = self.client.fetched
                self.assertEqual((handle, self.client.named), (b"H:1", [{"wait": True, "timeout": 4.0}]))
                answer.callback(Result(b"H:1", outcome, b"part", b"end"))
                self.assertEqual(self.successResultOf(running), status)
                self.assertIn(("data", 1, b"part"), self.view.said)

    def test_interrupted(self) -> None:
        """Those under way are told of, and nothing is said of them afterwards."""
        running = self.begin(5, Manner(concurrency=3))
        self.client.jobs[0].answered([b"H:1"])
        self.complete(2)
        running.cancel()
        self.clock.advance(0)
        self.failureResultOf(running, CancelledError)
        self.assertEqual(self.view.said[-1], ("interrupted", [1, 3, 4], "line 4"))
        assert self.view.totals is not None
        self.assertEqual((self.view.totals.under_way, self.view.totals.jobs), (3, 4))
        self.assertTrue(all(job.finished for job in self.client.jobs))

    def test_output_that_cannot_be_written(self) -> None:
        """All ends, with that error, from wherever it comes."""
        for event in (
            lambda job: job.answered([b"H:1"]),
            lambda job: (job.answered([b"H:1"]), job.packet(WORK_DATA, [b"H:1", b"x"])),
        ):
            running = self.begin(3, Manner(concurrency=2))
            self.view.raises = BrokenPipeError()
            event(self.client.jobs[0])
            self.clock.advance(0)
            self.failureResultOf(running, BrokenPipeError)
            self.assertIsNone(self.view.totals)

    def test_failed_jobs_are_written(self) -> None:
        """At once, and so that they can be read again; without those that the server goes on with."""
        path = Path(self.mktemp())
        running = self.begin(3, Manner(concurrency=2), failed=FailedJobs(str(path), None))
        self.client.jobs[0].failed(JobLost("gone", b"H:1"))
        [again] = from_json_lines(path.read_bytes().splitlines(True), Wanted(b""))
        self.assertEqual((again.function, again.workload), (b"f", b"1"))
        running.cancel()
        self.clock.advance(0)
        self.failureResultOf(running, CancelledError)
        rows = [json.loads(row) for row in path.read_text().splitlines()]
        self.assertEqual([row["outcome"] for row in rows], ["lost", "interrupted", "interrupted"])
        running = self.begin(1, Manner(background=True, wait=True), failed=FailedJobs(str(path), None))
        self.client.background[0][0].callback(b"H:1")
        self.client.fetched[0][1].errback(JobTimeout("late", b"H:1"))
        self.assertEqual(self.successResultOf(running), FAILED)
        self.assertEqual(len(path.read_text().splitlines()), 3)

    def test_file_of_failed_jobs(self) -> None:
        """It is another one than that of the jobs, and can be written."""
        path = Path(self.mktemp())
        path.write_bytes(b"")
        for bad in (str(path), str(path / "below"), "/dev/null/x"):
            error = self.assertRaises(CommandError, FailedJobs, bad, str(path))
            self.assertEqual(error.status, MISUSED)
        full = FailedJobs("/dev/full", None)
        error = self.assertRaises(CommandError, full.add, Ticket(1, Wanted(b"f")), "lost", "")
        self.assertEqual(error.status, FAILED)
