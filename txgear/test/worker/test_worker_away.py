"""
Tests of C{absences}, C{returning}, C{links} and C{connection}, through a worker: a server that waits for it
when the connection is lost.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs, formatEvent

from txgear.protocol.constants import (
    ECHO_RES,
    ERROR,
    JOB_ASSIGN_OPTIONS,
    JOB_WITHDRAWN,
    LOGGED_IN,
    NO_JOB,
    OPTION_RES,
    STEER,
    WORKER_WELCOME,
)
from txgear.test.support.client import STATE, ScriptedConnection, ScriptedServer, WorkerTestCase
from txgear.worker import RetryLater, Worker, WorkerJob
from txgear.worker.hello import key_at

KEY = "0123456789abcdef" * 2
GRAB = ("GRAB_JOB_OPTIONS",)


class AwayTestCase(WorkerTestCase):
    """A worker at a server that waits for it for ten seconds."""

    def start(self, *servers: ScriptedServer, timeout: float | None = None, **options: Any) -> Worker:
        self.worker = self.make_worker(*servers, key=KEY, **options)
        self.worker.register("f", self.wait, timeout=timeout)
        self.worker.startService()
        for server in servers or [self.server]:
            self.greet(server.line)
            server.line.packets()
        return self.worker

    def greet(self, line: ScriptedConnection, *held: str, grace: float = 10.0) -> None:
        """Answer all that a worker says at first."""
        line.send(OPTION_RES, b"txgear-1")
        line.welcome()
        self.welcome(line, *held, grace=grace)

    def welcome(self, line: ScriptedConnection, *held: str, grace: float = 10.0) -> None:
        line.send(WORKER_WELCOME, json.dumps({"grace": grace, "held": held}).encode())

    def give(
        self, handle: bytes, function: bytes = b"f", line: ScriptedConnection | None = None, **options: Any
    ) -> WorkerJob:
        """
        Give a job of which this is the first attempt.

        @return: the last one that C{f} has been called with.
        """
        text = json.dumps({"attempt": 1, **options}).encode()
        (line or self.server.line).send(JOB_ASSIGN_OPTIONS, handle, function, b"", b"", text, b"work")
        return self.jobs[-1]

    def come_back(self, *held: str, after: float = 1.0) -> list[tuple[Any, ...]]:
        """The server is there again; what it has been sent when it has told what the worker still has."""
        self.clock.advance(after)
        self.greet(self.server.line, *held)
        return [packet for packet in self.server.line.packets() if packet != STATE]

    @property
    def claimed(self) -> list[list[Any]]:
        """What the worker has said that it has."""
        self.server.line.packets()
        return self.server.line.hellos[-1]["jobs"]  # type: ignore[no-any-return]


class RunningJobsTests(AwayTestCase):
    def test_goes_on(self) -> None:
        """It ends over the new connection, under the same attempt."""
        self.start()
        job = self.give(b"H:1")
        self.server.line.lose()
        self.assertEqual((False, ""), (job.gone, job.why_gone))
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([["H:1", 1, False]], self.claimed)
        self.server.line.send(ECHO_RES, b"txgear")
        self.welcome(self.server.line, "H:1")
        self.server.line.packets()
        self.results[0].callback(b"done")
        self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.server.line.packets())
        self.assertEqual([], self.cancelled)

    def test_ends_meanwhile(self) -> None:
        self.start()
        self.give(b"H:1")
        self.server.line.lose()
        self.results[0].callback(b"done")
        packets = self.come_back("H:1")
        self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), packets)

    def test_ends_before_the_answer(self) -> None:
        """Nothing is said of it before the server has told whose it is."""
        self.start()
        self.give(b"H:1")
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.server.line.welcome()
        self.results[0].callback(b"done")
        self.assertNotIn("WORK_COMPLETE", [packet[0] for packet in self.server.line.packets()])
        self.welcome(self.server.line, "H:1")
        self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.server.line.packets())

    def test_withdrawn(self) -> None:
        """Somebody else has it: it is given up, and its result is not sent."""
        self.start(concurrency=2)
        one = self.give(b"H:1")
        self.give(b"H:2")
        self.server.line.lose()
        self.results[1].callback(b"done")
        self.assertNotIn("WORK_COMPLETE", [packet[0] for packet in self.come_back()])
        self.assertEqual([b"H:1"], self.cancelled)
        self.assertEqual("the server was away, and has given it to others", one.why_gone)
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([], self.claimed)

    def test_the_time_is_over(self) -> None:
        self.start()
        job = self.give(b"H:1")
        self.server.refusing = True
        self.server.line.lose()
        self.clock.pump([0.5] * 19)
        self.assertFalse(job.gone)
        self.clock.advance(0.5)
        self.assertEqual([b"H:1"], self.cancelled)
        self.assertEqual("the server was away for too long", job.why_gone)
        self.server.refusing = False
        self.clock.advance(10)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([], self.claimed)

    def test_the_time_is_over_while_it_is_asked(self) -> None:
        """Its answer counts: it may be that it waits for the job from now on."""
        self.start()
        job = self.give(b"H:1")
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.server.line.welcome()
        self.clock.advance(9.5)
        self.assertFalse(job.gone)
        self.welcome(self.server.line, "H:1")
        self.results[0].callback(b"done")
        self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.server.line.packets())

    def test_lost_again_while_it_is_asked(self) -> None:
        """The time counts from the first loss."""
        self.start()
        job = self.give(b"H:1")
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.server.line.welcome()
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([["H:1", 1, False]], self.claimed)
        self.server.line.send(ECHO_RES, b"txgear")
        self.clock.advance(8.5)
        self.assertFalse(job.gone)
        self.server.line.lose()
        self.assertTrue(job.gone)

    def test_no_grace(self) -> None:
        worker = self.make_worker(key=KEY)
        worker.register("f", self.wait)
        worker.startService()
        self.greet(self.server.line, grace=0)
        job = self.give(b"H:1")
        self.server.line.lose()
        self.assertTrue(job.gone)
        self.assertEqual([b"H:1"], self.cancelled)

    def test_a_job_without_an_attempt(self) -> None:
        """There is no telling which one it is."""
        self.start()
        self.assign(self.server.line, b"H:1")
        self.server.line.lose()
        self.assertEqual([b"H:1"], self.cancelled)

    def test_a_server_that_knows_no_hello_any_more(self) -> None:
        """An older one, on the same port."""
        for answer in ((ERROR, b"INVALID_COMMAND", b"what?"), (NO_JOB,)):
            with self.subTest(answer=answer):
                self.cancelled.clear()
                self.server = ScriptedServer(self.clock)
                self.start(concurrency=2)
                self.give(b"H:1")
                self.server.line.lose()
                self.clock.advance(1)
                self.server.line.send(OPTION_RES, b"txgear-1")
                self.server.line.welcome()
                self.server.line.send(*answer)
                self.assertEqual([b"H:1"], self.cancelled)

    def test_a_welcome_that_comes_too_late(self) -> None:
        """What it gives back is given up here, and the server would wait for it for good."""
        self.start(concurrency=2)
        self.give(b"H:1")
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.server.line.welcome()
        self.server.line.send(NO_JOB)
        self.welcome(self.server.line)
        self.assertFalse(self.server.line.ended)
        self.welcome(self.server.line, "H:1")
        self.assertTrue(self.server.line.ended)
        self.clock.pump([0, 1])
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([], self.claimed)

    def test_times_go_on(self) -> None:
        self.start(timeout=5)
        job = self.give(b"H:1", timeout=5)
        self.server.refusing = True
        self.server.line.lose()
        self.clock.pump([1] * 5)
        self.assertEqual("its time was up", job.why_gone)
        self.server.refusing = False
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([], self.claimed)

    def test_beats(self) -> None:
        """One at once, when the server is back."""
        self.start()
        self.give(b"H:1", lease=30)
        self.server.refusing = True
        self.server.line.lose()
        self.clock.pump([0.5] * 16)
        self.server.refusing = False
        self.assertIn(("WORK_BEAT", b"H:1"), self.come_back("H:1"))
        self.clock.advance(10)
        self.assertIn(("WORK_BEAT", b"H:1"), self.server.line.packets())

    def test_withdrawn_later(self) -> None:
        """Over the new connection."""
        self.start()
        self.give(b"H:1")
        self.server.line.lose()
        self.come_back("H:1")
        self.server.line.send(JOB_WITHDRAWN, b"H:1", b"cancelled")
        self.assertEqual([b"H:1"], self.cancelled)

    def test_one_that_waits_for_room(self) -> None:
        """It is begun when there is some, wherever its server is."""
        second = ScriptedServer(self.clock, "second")
        self.start(self.server, second)
        self.clock.advance(1)
        self.give(b"T:1", line=second.line)
        self.give(b"H:1")
        self.assertEqual([b"T:1"], [job.handle for job in self.jobs])
        self.server.line.lose()
        self.results[0].callback(b"")
        self.assertEqual([b"T:1", b"H:1"], [job.handle for job in self.jobs])
        self.results[1].callback(b"one")
        self.assertIn(("WORK_COMPLETE", b"H:1", b"one"), self.come_back("H:1"))

    def test_one_that_waits_for_room_is_withdrawn(self) -> None:
        second = ScriptedServer(self.clock, "second")
        self.start(self.server, second)
        self.clock.advance(1)
        self.give(b"T:1", line=second.line)
        self.give(b"H:1")
        self.server.line.lose()
        self.come_back()
        self.results[0].callback(b"")
        self.assertEqual([b"T:1"], [job.handle for job in self.jobs])

    def test_an_error_of_something_else_while_it_is_asked(self) -> None:
        """Of the many functions, for instance: what the worker has is still waited for."""
        self.start()
        self.give(b"H:1")
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.server.line.welcome()
        self.server.line.send(ERROR, b"QUEUE_ERROR", b"A connection has at most 10000 functions")
        self.assertEqual([], self.cancelled)
        self.welcome(self.server.line, "H:1")
        self.results[0].callback(b"done")
        self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.server.line.packets())

    def test_given_up_while_it_is_asked(self) -> None:
        """The server would wait for it for good: on the next connection it hears what is left."""
        self.start(timeout=5, concurrency=2)
        self.give(b"H:1", timeout=5)
        self.clock.advance(4)
        self.give(b"H:2", timeout=5)
        self.server.line.lose()
        self.clock.advance(0.5)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.server.line.welcome()
        self.clock.advance(0.6)
        self.assertEqual([b"H:1"], self.cancelled)
        self.welcome(self.server.line, "H:1", "H:2")
        self.assertTrue(self.server.line.ended)
        self.clock.pump([0, 1])
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([["H:2", 1, False]], self.claimed)
        self.server.line.send(ECHO_RES, b"txgear")
        self.welcome(self.server.line, "H:2")
        self.assertFalse(self.server.line.ended)
        self.assertEqual([b"H:1"], self.cancelled)

    def test_all_failed_while_it_is_asked(self) -> None:
        """As above; nothing is left."""
        self.start()
        self.give(b"H:1")
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.server.line.welcome()
        self.worker.fail_jobs("it has to go")
        self.welcome(self.server.line, "H:1")
        self.assertTrue(self.server.line.ended)
        self.clock.pump([0, 1])
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([], self.claimed)

    def test_one_that_was_not_begun(self) -> None:
        """It came together with what cannot be read, and nobody would begin it later."""
        self.start(concurrency=2)
        self.give(b"H:1")
        text = b'{"attempt": 1}'
        self.server.line.send_together(
            (JOB_ASSIGN_OPTIONS, b"H:2", b"f", b"", b"", text, b"work"), (WORKER_WELCOME, b"no welcome")
        )
        self.assertTrue(self.server.line.ended)
        self.clock.pump([0, 1])
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([["H:1", 1, False]], self.claimed)
        self.assertEqual([b"H:1"], [job.handle for job in self.jobs])

    def test_a_server_that_is_named_twice(self) -> None:
        """Its two connections are those of two workers: neither takes the place of the other."""
        second = ScriptedServer(self.clock)
        self.start(self.server, second)
        keys = {hello["key"] for server in (self.server, second) for hello in server.line.hellos}
        self.assertEqual(2, len(keys))
        self.assertIn(key_at(KEY, "server"), keys)

    def test_hurries(self) -> None:
        """It tries again every second as long as there is something to save."""
        self.start()
        self.give(b"H:1")
        self.server.refusing = True
        self.server.line.lose()
        self.clock.pump([0.1] * 95)
        self.assertTrue(self.server.attempts >= 10, self.server.attempts)
        self.clock.pump([1] * 30)
        attempts = self.server.attempts
        self.clock.pump([1] * 9)
        self.assertTrue(self.server.attempts <= attempts + 1)

    def test_told(self) -> None:
        with capturedLogs() as events:
            self.start()
            self.give(b"H:1")
            self.server.line.lose()
            self.come_back("H:1")
        told = [formatEvent(event) for event in events]
        self.assertIn("1 job of server goes on for 10 seconds", told)
        self.assertIn("server takes 1 of 1 job from before", told)
        self.assertNotIn(KEY, "".join(map(str, told)))


class StopTests(AwayTestCase):
    def test_a_job_of_a_server_that_is_away(self) -> None:
        """The worker waits for the server, as long as that waits for it."""
        worker = self.start()
        self.give(b"H:1")
        self.server.line.lose()
        stopped = worker.stopService()
        self.results[0].callback(b"done")
        self.clock.advance(0)
        self.assertNoResult(stopped)
        self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.come_back("H:1"))
        self.assertNoResult(stopped)
        self.server.line.send(ECHO_RES, b"1")
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_while_the_connection_ends(self) -> None:
        """What is in hand is waited for all the same."""
        worker = self.start()
        self.give(b"H:1")
        self.server.line.send(WORKER_WELCOME, b"no welcome")
        self.assertTrue(self.server.line.ended)
        stopped = worker.stopService()
        self.clock.advance(0)
        self.assertNoResult(stopped)
        self.results[0].callback(b"done")
        self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.come_back("H:1"))
        self.server.line.send(ECHO_RES, b"1")
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_it_stays_away(self) -> None:
        worker = self.start()
        self.give(b"H:1")
        self.server.refusing = True
        self.server.line.lose()
        stopped = worker.stopService()
        self.clock.pump([0.5] * 19)
        self.assertNoResult(stopped)
        self.clock.pump([0.5, 0])
        self.successResultOf(stopped)
        self.assertEqual([b"H:1"], self.cancelled)

    def test_a_result_is_confirmed_first(self) -> None:
        worker = self.start()
        self.give(b"H:1")
        stopped = worker.stopService()
        self.server.line.packets()
        self.results[0].callback(b"done")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"done"), ("ECHO_REQ", b"1")], self.server.line.packets())
        self.clock.advance(0)
        self.assertNoResult(stopped)
        self.server.line.send(ECHO_RES, b"1")
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_out_of_time(self) -> None:
        """The server need not wait for it: it is told."""
        worker = self.start(stop_timeout=5)
        job = self.give(b"H:1")
        self.server.line.packets()
        stopped = worker.stopService()
        self.clock.advance(5)
        why = b"the worker was stopped, and the job had not ended 5 seconds later"
        key = key_at(KEY, "server").encode()
        self.assertEqual([("WORKER_GONE", key, why)], self.server.line.packets())
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertTrue(job.gone)
        self.assertEqual([b"H:1"], self.cancelled)

    def test_out_of_time_while_it_is_away(self) -> None:
        worker = self.start(stop_timeout=5)
        self.give(b"H:1")
        self.server.refusing = True
        self.server.line.lose()
        stopped = worker.stopService()
        self.clock.pump([0.5] * 10)
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual([b"H:1"], self.cancelled)

    def test_told_to_stop(self) -> None:
        """What waits for its confirmation delays the end, and not the answer."""
        worker = self.start()
        self.server.line.send(STEER, b"1", b"stop", b"")
        self.server.line.send(NO_JOB)
        self.clock.advance(0)
        self.successResultOf(worker.when_stopped())

    def test_most_jobs(self) -> None:
        worker = self.start(most_jobs=1)
        self.give(b"H:1")
        stopped = worker.when_stopped()
        self.results[0].callback(b"done")
        self.server.line.lose()
        self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.come_back("H:1"))
        self.server.line.send(ECHO_RES, b"1")
        self.clock.advance(0)
        self.successResultOf(stopped)


class RetryTests(AwayTestCase):
    def test_a_server_that_knows_no_retry(self) -> None:
        def later(job: WorkerJob) -> None:
            raise RetryLater(5, "not now")

        self.assertEqual(("WORK_EXCEPTION", b"H:1", b"not now"), self.run_one(later)[0])


class CountsTests(AwayTestCase):
    def counts(self) -> tuple[int, int]:
        self.worker.concurrency = self.worker.concurrency
        self.server.line.packets()
        (function,) = self.server.line.states[-1]["functions"]
        return function["done"], function["failed"]

    def test_counts(self) -> None:
        self.start()
        self.assertEqual((0, 0), self.counts())
        self.give(b"H:1")
        self.results[0].callback(b"")
        self.give(b"H:2")
        self.results[1].errback(CancelledError())
        self.flushLoggedErrors(CancelledError)
        self.assertEqual((1, 1), self.counts())
        self.give(b"H:3")
        self.results[2].callback(5)
        self.flushLoggedErrors(TypeError)
        self.assertEqual((1, 2), self.counts())

    def test_what_is_withdrawn_does_not_count(self) -> None:
        self.start()
        self.give(b"H:1")
        self.server.line.send(JOB_WITHDRAWN, b"H:1", b"cancelled")
        self.assertEqual((0, 0), self.counts())


class FailJobsTests(AwayTestCase):
    def test_away(self) -> None:
        """A server that is away is not waited for: the worker can stop."""
        worker = self.start()
        job = self.give(b"H:1")
        self.server.line.lose()
        stopped = worker.stopService()
        self.assertFalse(job.gone)
        self.assertNoResult(stopped)
        worker.fail_jobs("it takes too long")
        self.assertEqual((True, "it takes too long"), (job.gone, job.why_gone))
        self.clock.pump([0, 0])
        self.successResultOf(stopped)


class LoginTests(AwayTestCase):
    def test_says_who_it_is_when_it_is_let_in(self) -> None:
        """And not before: whoever answers there may not be let in either."""
        worker = self.make_worker(key=KEY, token="txg_abcd1234_" + "s" * 43)
        worker.startService()
        line = self.server.line
        line.send(OPTION_RES, b"txgear-1")
        self.assertEqual("LOGIN", line.packets()[-1][0])
        self.assertEqual([], line.hellos)
        line.send(LOGGED_IN, b"workers")
        line.welcome()
        self.assertEqual(1, len(line.hellos))
