"""
Tests for what L{txgear.client} asks of this project's own servers: policies of
single jobs, delays, and what became of jobs; against servers that the tests play.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost

from txgear.client import Client, Result, Task
from txgear.errors import (
    JobLost,
    JobTimeout,
    MissingAbility,
    NotConnected,
    QueueError,
    ResultUnavailable,
    ServerError,
)
from txgear.protocol.constants import (
    ECHO_RES,
    ERROR,
    HIGH,
    JOB_CREATED,
    LOW,
    OPTION_RES,
    RESULT,
    STATUS_RES,
    WORK_COMPLETE,
    WORK_DATA,
)
from txgear.test.support.client import ClientTestCase, ScriptedConnection, ScriptedServer

ASKED = ("OPTION_REQ", b"txgear-1")
UNKNOWN_OPTION = (ERROR, b"UNKNOWN_OPTION", b"Server does not recognize given option")


class OptionsTestCase(ClientTestCase):
    def grant(self, line: ScriptedConnection | None = None) -> ScriptedConnection:
        """Let the server say that it is one of ours; what follows is left to be read."""
        line = line or self.server.line
        if not line.protocol.ready:
            line.welcome()
        self.assertEqual(ASKED, line.packets()[-1])
        line.send(OPTION_RES, b"txgear-1")
        return line

    def submitted_options(self, line: ScriptedConnection) -> dict[str, Any]:
        """The options of the one submit that the server has got."""
        ((kind, _, _, options, _),) = line.packets()
        self.assertEqual("SUBMIT_JOB_OPTIONS", kind)
        found: dict[str, Any] = json.loads(options)
        return found


class NegotiationTests(OptionsTestCase):
    def test_not_asked_unless_needed(self) -> None:
        """Who wants nothing special sends nothing special."""
        line = self.submitted("f")[1]
        line.send(WORK_COMPLETE, b"H:1", b"")
        self.assertEqual([], line.packets())

    def test_asked_once(self) -> None:
        """All that need it wait for one answer, and leave in one write, in order; others do not wait."""
        self.client.submit("a", policy={"retries": 1})
        self.client.submit("b", policy={"retries": 1})
        plain = self.client.submit("c")
        fetched = self.client.fetch(b"H:7")
        line = self.server.line
        line.welcome()
        self.assertEqual([ASKED, ("SUBMIT_JOB", b"c", b"", b"")], line.packets())
        writes = line.transport.writes
        line.send_together((OPTION_RES, b"txgear-1"), (JOB_CREATED, b"H:c"))
        self.assertEqual(b"H:c", plain.handle)
        self.assertEqual(writes + 1, line.transport.writes)
        self.assertEqual(["SUBMIT_JOB_OPTIONS", "SUBMIT_JOB_OPTIONS", "GET_RESULT"], kinds(line))
        self.client.submit("d", policy={"retries": 1})
        self.assertEqual(["SUBMIT_JOB_OPTIONS"], kinds(line))
        fetched.cancel()
        self.failureResultOf(fetched, CancelledError)

    def test_the_answer_keeps_its_place(self) -> None:
        """Answers are recognized by their order: the option's is one of them."""
        first = self.client.submit("first")
        second = self.client.submit("second", policy={"retries": 1})
        third = self.client.submit("third")
        line = self.server.line
        line.welcome()
        line.send(OPTION_RES, b"exceptions")
        line.send(ERROR, b"QUEUE_ERROR", b"full")
        self.failureResultOf(first.result, QueueError)
        line.send(*UNKNOWN_OPTION)
        self.failureResultOf(second.result, MissingAbility)
        line.send(JOB_CREATED, b"H:3")
        self.assertEqual(b"H:3", third.handle)

    def test_an_answer_nobody_asked_for(self) -> None:
        line = self.submitted("f")[1]
        line.send(OPTION_RES, b"txgear-1")
        self.assertTrue(line.ended)

    def test_classic_server(self) -> None:
        """What it cannot do fails with that reason, and it is asked once only; everything else works."""
        job = self.client.submit("f", policy={"retries": 1})
        handle = self.client.submit_background("f", delay=5)
        fetched = self.client.fetch(b"H:7")
        line = self.server.line
        line.welcome()
        line.packets()
        line.send(*UNKNOWN_OPTION)
        for waiting, ability in (
            (job.result, "policies of single jobs"),
            (job.created, "policies of single jobs"),
            (handle, "delays"),
            (fetched, "the results of jobs"),
            (self.client.run("f", policy={"retries": 1}), "policies of single jobs"),
        ):
            error = self.failureResultOf(waiting, MissingAbility).value
            self.assertEqual(ability, error.ability)
            self.assertEqual(
                f"server knows nothing of {ability}: UNKNOWN_OPTION: Server does not recognize given option",
                str(error),
            )
        self.assertEqual([], line.packets())
        self.client.submit("f")
        self.assertEqual(["SUBMIT_JOB"], kinds(line))

    def test_each_connection_is_asked(self) -> None:
        """A server may have been replaced meanwhile."""
        self.client.submit("f", policy={"retries": 1})
        self.server.line.welcome()
        self.server.line.send(*UNKNOWN_OPTION)
        self.server.line.lose()
        self.clock.advance(1)
        job = self.client.submit("f", policy={"retries": 1})
        self.grant()
        self.assertEqual(["SUBMIT_JOB_OPTIONS"], kinds(self.server.line))
        self.server.line.send(JOB_CREATED, b"H:2")
        self.assertEqual(b"H:2", job.handle)

    def test_it_hangs_up_once(self) -> None:
        """That may be chance: what was not sent is sent over the next connection."""
        job = self.client.submit("f", policy={"retries": 1})
        self.server.line.welcome()
        self.server.line.lose()
        self.clock.advance(1)
        self.grant()
        self.assertEqual(["SUBMIT_JOB_OPTIONS"], kinds(self.server.line))
        self.server.line.send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", job.handle)

    def test_it_hangs_up_twice(self) -> None:
        """That is its answer."""
        job = self.client.submit("f", policy={"retries": 1}, resend=True)
        for _ in range(2):
            self.server.line.welcome()
            self.server.line.lose()
            self.clock.advance(1)
        error = self.failureResultOf(job.result, MissingAbility).value
        self.assertIn("asked for it, the connection went down 2 times", str(error))

    def test_no_server_after_that(self) -> None:
        """What was never sent has not run."""
        job = self.client.submit("f", policy={"retries": 1})
        self.server.line.welcome()
        self.server.refusing = True
        self.server.line.lose()
        self.clock.pump([1] * 40)
        self.failureResultOf(job.result, NotConnected)

    def test_closed_before_the_answer(self) -> None:
        job = self.client.submit("f", policy={"retries": 1})
        handle = self.client.submit_background("f", delay=1)
        self.server.line.welcome()
        _ = self.client.close()
        self.clock.advance(0)
        self.failureResultOf(job.result, NotConnected)
        self.failureResultOf(handle, NotConnected)

    def test_sent_and_lost(self) -> None:
        """Once it was sent it is a request like any other."""
        job = self.client.submit("f", policy={"retries": 1})
        again = self.client.submit("f", policy={"retries": 2}, resend=True)
        self.grant()
        self.server.line.lose()
        self.failureResultOf(job.result, JobLost)
        self.clock.advance(1)
        self.grant()
        self.assertEqual(["SUBMIT_JOB_OPTIONS"], kinds(self.server.line))
        again.cancel()
        self.failureResultOf(again.result, CancelledError)

    def test_cancelled_before_it_was_sent(self) -> None:
        """It never is."""
        job = self.client.submit("f", policy={"retries": 1})
        self.server.line.welcome()
        job.cancel()
        self.failureResultOf(job.result, CancelledError)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([ASKED], self.server.line.packets())

    def test_no_answer(self) -> None:
        """A server that leaves the question without an answer is given up, as for any other."""
        job = self.client.submit("f", policy={"retries": 1})
        line = self.server.line
        line.welcome()
        for _ in range(7):
            self.clock.advance(10)
            line.packets()
            if not line.ended:
                line.send(ECHO_RES, b"txgear")
        self.assertTrue(line.ended)
        self.assertFalse(job.finished)


def kinds(line: ScriptedConnection) -> list[str]:
    """The names of the packets that have come."""
    return [kind for kind, *_ in line.packets()]


class SubmitTests(OptionsTestCase):
    def options(self, **options: Any) -> dict[str, Any]:
        """What a background submit with these arguments says of its job."""
        client = self.make_client([self.server])
        waiting = client.submit_background("f", b"w", **options)
        line = self.grant()
        found = self.submitted_options(line)
        line.send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", self.successResultOf(waiting))
        return found

    def test_background(self) -> None:
        handle = self.client.submit_background(
            "f", b"wo\0rk", unique="u", policy={"retries": 3, "backoff": "30s"}
        )
        line = self.grant()
        self.assertEqual(
            [
                (
                    "SUBMIT_JOB_OPTIONS",
                    b"f",
                    b"u",
                    b'{"retries":3,"backoff":"30s","priority":"normal","background":true}',
                    b"wo\0rk",
                )
            ],
            line.packets(),
        )
        line.send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", self.successResultOf(handle))

    def test_priority_and_time(self) -> None:
        plain = {"priority": "normal", "background": True}
        self.assertEqual({**plain, "delay": 5400.0}, self.options(delay="1.5h"))
        self.assertEqual({**plain, "delay": 0.0, "priority": "high"}, self.options(delay=0, priority=HIGH))
        self.assertEqual(
            {**plain, "at": 100, "priority": "low", "unique_for": "1d"},
            self.options(at=99.5, priority=LOW, policy={"unique_for": "1d"}),
        )

    def test_a_setting_under_an_earlier_name(self) -> None:
        """It is sent as it was given: every server that has policies takes it."""
        self.assertEqual(
            {"priority": "normal", "background": True, "once": "1d"}, self.options(policy={"once": "1d"})
        )

    def test_foreground(self) -> None:
        """News and result come as they do for any job."""
        received: list[bytes] = []
        job = self.client.submit("f", policy={"results": {"keep": "1h"}}, json=[1])
        job.on_data(received.append)
        line = self.grant()
        self.assertEqual(
            {"results": {"keep": "1h"}, "priority": "normal", "background": False},
            self.submitted_options(line),
        )
        line.send_together((JOB_CREATED, b"H:1"), (WORK_DATA, b"H:1", b"data"), (WORK_COMPLETE, b"H:1", b"r"))
        self.assertEqual((b"r", [b"data"]), (self.successResultOf(job.result), received))

    def test_run_all(self) -> None:
        """Tasks have policies, too; one whose policy the server refuses fails alone."""
        results = self.client.run_all([Task("f", policy={"retries": 1}), Task("g")])
        line = self.server.line
        line.welcome()
        self.assertEqual([ASKED, ("SUBMIT_JOB", b"g", b"", b"")], line.packets())
        line.send(OPTION_RES, b"txgear-1")
        line.send(JOB_CREATED, b"H:1")
        line.send(ERROR, b"INVALID_ARGUMENT", b"retries: no")
        line.send(WORK_COMPLETE, b"H:1", b"r")
        refused, result = self.successResultOf(results)
        self.assertEqual(("INVALID_ARGUMENT: retries: no", b"r"), (str(refused), result))
        self.assertIsInstance(refused, ServerError)

    def test_an_empty_policy_is_none(self) -> None:
        self.client.submit("f", policy={})
        line = self.connect()
        self.assertEqual(["SUBMIT_JOB"], kinds(line))

    def test_refused_here(self) -> None:
        """Mistakes are found before anything is sent."""
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"policy": {"retries": -1}}, "policy: retries: a whole number"),
            ({"policy": {"priority": "high"}}, "policy: priority: there is no such setting"),
            ({"policy": {"rate": "1/s"}}, "policy: rate: there is no such setting"),
            ({"policy": {"lease": 10**400}}, "policy: lease: a time is wanted"),
            ({"policy": {"backoff": {"kind": "x" * 9000}}}, "policy: backoff.kind: "),
            ({"policy": {"retries": 1}, "reducer": "g"}, "has no reducer"),
            ({"delay": 5, "reducer": "g"}, "has no reducer"),
            ({"delay": -5}, "delay: a time is wanted"),
            ({"delay": "soon"}, "delay: a time is wanted"),
            ({"delay": 5, "at": 5}, "not both"),
            ({"delay": 5, "priority": 7}, "priority is 7"),
            ({"at": -5, "policy": {"retries": 1}}, "at is not between"),
            ({"policy": {"timeout": "1 " + " " * 9000 + "s"}}, "is the most"),
        ]
        for options, text in wrong:
            with self.assertRaisesRegex(ValueError, text):
                _ = self.client.submit_background("f", **options)
        self.assertEqual(0, self.server.attempts)

    def test_too_large(self) -> None:
        client = self.make_client([self.server], max_packet=100)
        with self.assertRaisesRegex(ValueError, "does not fit a packet of 100 bytes"):
            client.submit("f", b"x" * 60, policy={"retries": 1})


class FetchTests(OptionsTestCase):
    def ask(self, *arguments: Any, **options: Any) -> Any:
        """A question that the server has got, and its token."""
        name = "fetch_unique" if options.pop("by_unique", False) else "fetch"
        found = getattr(self.client, name)(*arguments, **options)
        line = self.server.line
        if not line.protocol.ready:
            self.grant()
        ((kind, self.token, *self.rest),) = line.packets()
        self.assertEqual("GET_RESULT", kind)
        return found

    def answer(self, outcome: bytes, size: bytes = b"0", body: bytes = b"", handle: bytes = b"H:1") -> None:
        self.server.line.send(RESULT, self.token, handle, outcome, size, body)

    def test_question(self) -> None:
        """What is sent for a handle, and for a unique."""
        for arguments, options, sent in (
            ((b"H:1",), {}, [b"H:1", b"", b"", b"0"]),
            (("H:1",), {}, [b"H:1", b"", b"", b"0"]),
            ((b"H:1",), {"wait": True}, [b"H:1", b"", b"", b"1"]),
            (("ü",), {"by_unique": True}, [b"", b"", "ü".encode(), b"0"]),
            (("u",), {"by_unique": True, "function": "f", "wait": True}, [b"", b"f", b"u", b"1"]),
        ):
            found = self.ask(*arguments, **options)
            self.assertEqual(sent, self.rest)
            self.answer(b"done")
            self.assertEqual(Result(b"H:1", "done"), self.successResultOf(found))

    def test_outcomes(self) -> None:
        """Each has its name, and none is an error."""
        for outcome in ("done", "failed", "dead", "cancelled", "expired", "pending", "unknown"):
            found = self.ask(b"H:1")
            self.answer(outcome.encode(), b"2", b"dar")
            result = self.successResultOf(found)
            self.assertEqual(Result(b"H:1", outcome, b"da", b"r", True), result)
            self.assertEqual(
                (outcome != "unknown", outcome not in ("pending", "unknown")), (result.known, result.ended)
            )

    def test_what_is_missing(self) -> None:
        for body in (b"", b"r"):
            found = self.ask(b"H:1")
            self.answer(b"done", b"-", body)
            self.assertEqual(Result(b"H:1", "done", b"", body, False), self.successResultOf(found))

    def test_refused(self) -> None:
        found = self.ask(b"H:1")
        self.answer(b"refused", b"-", b"The result cannot be read at present")
        error = self.failureResultOf(found, ResultUnavailable).value
        self.assertEqual("The result cannot be read at present", str(error))

    def test_in_any_order(self) -> None:
        """Answers are recognized by their tokens, and mix with those to other requests."""
        first = self.ask(b"H:1", wait=True)
        token = self.token
        second = self.ask(b"H:2")
        status = self.client.status(b"H:3")
        line = self.server.line
        line.send(STATUS_RES, b"H:3", b"1", b"0", b"0", b"0")
        self.assertTrue(self.successResultOf(status).known)
        self.answer(b"done", handle=b"H:2")
        self.assertEqual("done", self.successResultOf(second).outcome)
        self.assertNoResult(first)
        self.token = token
        self.answer(b"failed")
        self.assertEqual("failed", self.successResultOf(first).outcome)
        self.answer(b"done")  # an answer that nobody waits for
        self.assertFalse(line.ended)

    def test_handle_refused_here(self) -> None:
        for handle in (b"", b"H" * 64, b"H\0", "", "H" * 64):
            self.assertRaises(ValueError, self.client.fetch, handle)
        for wrong in (None, 7, bytearray(b"H:1")):
            self.assertRaises(TypeError, self.client.fetch, wrong)
        for unique in ("", "-", "u" * 65, "u\0"):
            self.assertRaises(ValueError, self.client.fetch_unique, unique)
        self.assertRaises(ValueError, self.client.fetch_unique, "u", function="f\0")
        self.assertEqual(0, self.server.attempts)

    def test_a_wait_takes_its_time(self) -> None:
        """The server owes an answer at the end of the job, however long that takes."""
        found = self.ask(b"H:1", wait=True)
        line = self.server.line
        for _ in range(20):
            self.clock.advance(30)
            line.packets()
            line.send(ECHO_RES, b"txgear")
        self.assertFalse(line.ended)
        self.answer(b"done")
        self.assertEqual("done", self.successResultOf(found).outcome)

    def test_no_answer(self) -> None:
        """A question that does not wait is answered at once; otherwise the server is given up."""
        found = self.ask(b"H:1")
        line = self.server.line
        waiting = self.client.fetch(b"H:2", wait=True)
        for _ in range(7):
            self.clock.advance(10)
            if not line.ended:
                line.send(ECHO_RES, b"txgear")
        self.assertTrue(line.ended)
        self.failureResultOf(found, NotConnected)
        self.assertNoResult(waiting)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)

    def test_answered_in_time(self) -> None:
        """The measure starts anew with each answer, and ends with the last."""
        self.ask(b"H:1")
        token = self.token
        self.ask(b"H:2")
        self.clock.advance(25)
        self.answer(b"done")
        self.token = token
        line = self.server.line
        for _ in range(2):
            self.clock.advance(25)
            line.send(ECHO_RES, b"txgear")
        self.assertFalse(line.ended)
        self.answer(b"done")
        for _ in range(4):
            self.clock.advance(25)
            line.send(ECHO_RES, b"txgear")
        self.assertFalse(line.ended)

    def test_timeout(self) -> None:
        """The server gets the question again without the wait, and its answer to that is passed over."""
        found = self.ask(b"H:1", wait=True, timeout=5)
        self.clock.advance(4.9)
        self.assertNoResult(found)
        self.clock.advance(0.1)
        error = self.failureResultOf(found, JobTimeout).value
        self.assertEqual(("no result within 5 seconds", b"H:1"), (str(error), error.handle))
        line = self.server.line
        self.assertEqual([("GET_RESULT", self.token, b"H:1", b"", b"", b"0")], line.packets())
        self.answer(b"pending")
        self.assertFalse(line.ended)

    def test_timeout_refused(self) -> None:
        """The call raises, and no server is asked."""
        wrong: list[tuple[Any, type[Exception]]] = [
            (-1, ValueError),
            (float("nan"), ValueError),
            ("5s", TypeError),
            (True, TypeError),
        ]
        for timeout, error in wrong:
            with self.assertRaisesRegex(error, "^timeout is "):
                _ = self.client.fetch(b"H:1", timeout=timeout)
            with self.assertRaisesRegex(error, "^timeout is "):
                _ = self.client.fetch_unique("u", wait=True, timeout=timeout)
        self.assertEqual((0, []), (self.server.attempts, self.clock.getDelayedCalls()))

    def test_answer_before_the_timeout(self) -> None:
        found = self.ask("u", by_unique=True, wait=True, timeout=5)
        self.answer(b"done")
        self.assertEqual("done", self.successResultOf(found).outcome)
        self.clock.advance(5)
        self.assertEqual([], self.server.line.packets())

    def test_timeout_without_a_server(self) -> None:
        self.server.refusing = True
        found = self.client.fetch_unique("u", wait=True, timeout=5)
        self.clock.advance(5)
        self.assertIsNone(self.failureResultOf(found, JobTimeout).value.handle)

    def test_cancelled(self) -> None:
        """One that does not wait at the server needs no word."""
        found = self.ask(b"H:1")
        found.cancel()
        self.failureResultOf(found, CancelledError)
        self.assertEqual([], self.server.line.packets())
        self.answer(b"done")
        self.assertFalse(self.server.line.ended)

    def test_reconnect(self) -> None:
        """A wait goes on at the next connection; a question that does not wait fails."""
        waiting = self.ask(b"H:1", wait=True)
        question = self.ask(b"H:2")
        self.server.line.lose(ConnectionLost())
        self.failureResultOf(question, NotConnected)
        self.assertNoResult(waiting)
        self.clock.advance(1)
        line = self.grant()
        ((*head, self.token, handle, _, _, wait),) = line.packets()
        self.assertEqual((["GET_RESULT"], b"H:1", b"1"), (head, handle, wait))
        self.answer(b"done")
        self.assertEqual("done", self.successResultOf(waiting).outcome)

    def test_no_server_to_wait_at(self) -> None:
        waiting = self.ask(b"H:1", wait=True)
        self.server.refusing = True
        self.server.line.lose()
        self.clock.pump([1] * 40)
        self.failureResultOf(waiting, NotConnected)

    def test_closed(self) -> None:
        waiting = self.ask(b"H:1", wait=True)
        _ = self.client.close()
        self.clock.advance(0)
        self.failureResultOf(waiting, NotConnected)
        self.failureResultOf(self.client.fetch(b"H:1"), NotConnected)


class SeveralServersTests(OptionsTestCase):
    """Only the server that took a job knows what became of it."""

    def setUp(self) -> None:
        super().setUp()
        self.second = ScriptedServer(self.clock, "second")
        self.both = self.make_client([self.server, self.second])

    def answer(self, line: ScriptedConnection, outcome: bytes, body: bytes = b"") -> None:
        ((kind, token, *_),) = line.packets()
        self.assertEqual("GET_RESULT", kind)
        line.send(RESULT, token, b"H:1", outcome, b"0", body)

    def connected(self, client: Client) -> None:
        client.submit("f")
        self.server.line.welcome()
        self.server.line.packets()
        self.server.line.send(JOB_CREATED, b"H:f")

    def test_one_after_the_other(self) -> None:
        """Until one knows it; that one may take its time."""
        found = self.both.fetch(b"H:1", wait=True)
        self.answer(self.grant(), b"unknown")
        self.assertNoResult(found)
        line = self.grant(self.second.line)
        self.answer(line, b"done", b"r")
        self.assertEqual(Result(b"H:1", "done", b"", b"r"), self.successResultOf(found))
        self.assertTrue(line.ended)

    def test_nobody_knows_it(self) -> None:
        found = self.both.fetch_unique("u")
        self.answer(self.grant(), b"unknown")
        self.answer(self.grant(self.second.line), b"unknown")
        self.assertFalse(self.successResultOf(found).known)

    def test_given_up_at_the_second(self) -> None:
        found = self.both.fetch(b"H:1", wait=True)
        self.answer(self.grant(), b"unknown")
        line = self.grant(self.second.line)
        found.cancel()
        self.failureResultOf(found, CancelledError)
        self.assertTrue(line.ended)

    def test_lost_at_the_second(self) -> None:
        """It may have the job: that the first does not know it is no answer."""
        found = self.both.fetch_unique("u")
        self.answer(self.grant(), b"unknown")
        self.grant(self.second.line).lose()
        self.assertIn("second: ", str(self.failureResultOf(found, NotConnected).value))

    def test_the_second_is_classic(self) -> None:
        """It may have the job as well, and cannot say what became of it."""
        found = self.both.fetch(b"H:1", wait=True)
        self.answer(self.grant(), b"unknown")
        self.second.line.welcome()
        self.second.line.send(*UNKNOWN_OPTION)
        self.assertIn("second knows", str(self.failureResultOf(found, MissingAbility).value))

    def test_closed_at_the_second(self) -> None:
        """Not all have been asked then."""
        found = self.both.fetch(b"H:1", wait=True)
        self.answer(self.grant(), b"unknown")
        self.grant(self.second.line)
        _ = self.both.close()
        self.assertIn("the client was closed", str(self.failureResultOf(found, NotConnected).value))
        self.clock.advance(0)

    def test_asked_twice_and_unknown(self) -> None:
        """A server that could be asked at last has answered, whatever was before."""
        found = self.both.fetch(b"H:1", wait=True)
        self.answer(self.grant(), b"unknown")
        self.grant(self.second.line).lose()
        self.clock.advance(1)
        self.answer(self.grant(self.second.line), b"unknown")
        self.assertEqual("unknown", self.successResultOf(found).outcome)

    def test_nobody_is_left(self) -> None:
        """All servers had their time while the wait was to go on; none is tried for as long again."""
        found = self.both.fetch(b"H:1", wait=True)
        self.grant()
        self.server.refusing = self.second.refusing = True
        self.server.line.lose()
        self.clock.pump([1] * 29)
        self.assertNoResult(found)
        self.clock.advance(1)
        self.failureResultOf(found, NotConnected)

    def test_a_classic_one_is_passed_over(self) -> None:
        """Connected or not; where all are, that is the error."""
        found = self.both.fetch(b"H:1")
        self.server.line.welcome()
        self.server.line.send(*UNKNOWN_OPTION)
        self.answer(self.grant(self.second.line), b"done")
        self.assertEqual("done", self.successResultOf(found).outcome)
        found = self.both.fetch(b"H:1")
        self.second.line.welcome()
        self.second.line.send(*UNKNOWN_OPTION)
        error = self.failureResultOf(found, MissingAbility).value
        self.assertIn("second knows nothing of the results of jobs", str(error))

    def test_the_one_that_gave_the_handle(self) -> None:
        """It alone is asked, over a connection of its own where the client has moved on."""
        submitted = self.both.submit_background("f")
        self.server.line.welcome()
        self.server.line.send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", self.successResultOf(submitted))
        self.server.line.lose()
        self.clock.advance(1)
        self.second.line.welcome()
        found = self.both.fetch(b"H:1")
        self.assertEqual(2, len(self.server.lines))
        self.answer(self.grant(), b"done")
        self.assertEqual("done", self.successResultOf(found).outcome)
        self.assertEqual([], self.second.line.packets())

    def cut_while_waiting(self) -> Deferred[Result]:
        """A wait at the server that has the job; its connection is lost, and the next one is asked."""
        _ = self.both.submit_background("f")
        self.server.line.welcome()
        self.server.line.packets()
        self.server.line.send(JOB_CREATED, b"H:1")
        found = self.both.fetch(b"H:1", wait=True)
        self.grant().packets()
        self.server.line.lose()
        self.clock.advance(1)
        return found

    def test_a_wait_at_a_classic_server(self) -> None:
        """What the next server cannot do says nothing of a job that it cannot have."""
        found = self.cut_while_waiting()
        self.second.line.welcome()
        self.second.line.send(*UNKNOWN_OPTION)
        self.answer(self.grant(self.server.line), b"unknown")
        self.assertEqual("unknown", self.successResultOf(found).outcome)

    def test_a_wait_at_the_next_server(self) -> None:
        """A wait that goes on at another server comes back to the one that knows the job."""
        found = self.cut_while_waiting()
        self.answer(self.grant(self.second.line), b"unknown")
        self.answer(self.grant(self.server.line), b"done")
        self.assertEqual("done", self.successResultOf(found).outcome)
