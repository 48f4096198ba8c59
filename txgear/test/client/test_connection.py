"""
Tests for L{txgear.client.connection}, through a client: shared handles, lost connections, silent servers.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionLost

from txgear.client import ClientJob
from txgear.errors import (
    JobLost,
    NotConnected,
)
from txgear.protocol.constants import (
    ECHO_RES,
    JOB_CREATED,
    NOOP,
    STATUS_RES,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_STATUS,
)
from txgear.test.support.client import ClientTestCase, ScriptedConnection, ScriptedServer


class CoalescedTests(ClientTestCase):
    """Jobs of one connection that share a handle."""

    def share(self, *handles: bytes) -> tuple[list[list[bytes]], list[ClientJob], ScriptedConnection]:
        heard: list[list[bytes]] = []
        jobs = []
        for handle in handles:
            mine: list[bytes] = []
            heard.append(mine)
            job, line = self.submitted("f", unique="u", handle=handle)
            jobs.append(job.on_data(mine.append))
        return heard, jobs, line

    def test_copies(self) -> None:
        """The server sends a copy of each packet for each submit; each job hears each packet once."""
        heard, jobs, line = self.share(b"H:1", b"H:1", b"H:1")
        for data in (b"same", b"same", b"other"):
            for _ in jobs:
                line.send(WORK_DATA, b"H:1", data)
        for _ in jobs:
            line.send(WORK_COMPLETE, b"H:1", b"r")
        self.assertEqual([[b"same", b"same", b"other"]] * 3, heard)
        self.assertEqual([b"r"] * 3, [self.successResultOf(job.result) for job in jobs])

    def test_joined_later(self) -> None:
        """From the answer to the second submit on there are two copies, not before."""
        heard, _, line = self.share(b"H:1")
        line.send(WORK_DATA, b"H:1", b"a")
        later: list[bytes] = []
        job, _ = self.submitted("f", unique="u")
        job.on_data(later.append)
        for data in (b"a", b"a", b"b", b"b"):
            line.send(WORK_DATA, b"H:1", data)
        self.assertEqual(([b"a", b"a", b"b"], [b"a", b"b"]), (heard[0], later))

    def test_one_copy(self) -> None:
        """From a server that sends one copy for each connection all hear as well."""
        heard, jobs, line = self.share(b"H:1", b"H:1")
        line.send(WORK_DATA, b"H:1", b"a")
        line.send(WORK_DATA, b"H:1", b"b")
        line.send(WORK_COMPLETE, b"H:1", b"r")
        self.assertEqual([[b"a", b"b"]] * 2, heard)
        self.assertEqual([b"r"] * 2, [self.successResultOf(job.result) for job in jobs])

    def test_cancelled_one_counts(self) -> None:
        """A job that nobody waits for any more is still attached at the server: its copies come."""
        heard, jobs, line = self.share(b"H:1", b"H:1")
        jobs[0].cancel()
        for _ in range(4):
            line.send(WORK_DATA, b"H:1", b"a")
        self.assertEqual([[], [b"a", b"a"]], heard)

    def test_cancelled_before_created(self) -> None:
        """So is one that was cancelled before it was created."""
        heard, _, line = self.share(b"H:1")
        self.client.submit("f", unique="u").cancel()
        line.send(JOB_CREATED, b"H:1")
        for _ in range(4):
            line.send(WORK_DATA, b"H:1", b"a")
        self.assertEqual([[b"a", b"a"]], heard)


class LostTests(ClientTestCase):
    def test_job_lost(self) -> None:
        """A job that was under way fails with its handle, and is not sent again."""
        job, line = self.submitted("f", handle=b"H:host:5")
        unanswered = self.client.submit("g")
        background = self.client.submit_background("h")
        status = self.client.status(b"H:host:5")
        line.lose(ConnectionLost())
        errors = [
            self.failureResultOf(waiter, JobLost).value
            for waiter in (job.result, unanswered.result, background)
        ]
        self.assertEqual([b"H:host:5", None, None], [error.handle for error in errors])
        self.assertIn("the connection to server was lost: Connection to the other side", str(errors[0]))
        self.failureResultOf(status, NotConnected)
        self.clock.advance(1)
        self.connect()
        self.assertEqual([], self.server.line.packets())

    def test_resend(self) -> None:
        """What may be sent again is, in its order and before what was asked since; created or not."""
        job, line = self.submitted("f", b"1", resend=True)
        unanswered = self.client.submit("g", b"2", resend=True)
        background = self.client.submit_background("h", b"3", resend=True)
        other = self.client.submit("i")
        _ = other.result.addErrback(lambda _: self.client.submit("late"))
        line.lose()
        self.clock.advance(1)
        line = self.connect()
        self.assertEqual([b"f", b"g", b"h", b"late"], [packet[1] for packet in line.packets()])
        line.send_together(*((JOB_CREATED, b"I:%d" % n) for n in range(4)))
        line.send(WORK_COMPLETE, b"I:0", b"r")
        line.send(WORK_COMPLETE, b"I:1", b"s")
        self.assertEqual((b"I:0", b"r"), (job.handle, self.successResultOf(job.result)))
        self.assertEqual(b"s", self.successResultOf(unanswered.result))
        self.assertEqual(b"I:2", self.successResultOf(background))

    def test_resend_once_taken(self) -> None:
        """A background job that the server has taken is not sent again."""
        taken = self.client.submit_background("f", resend=True)
        line = self.connect()
        line.send(JOB_CREATED, b"H:1")
        self.assertEqual(b"H:1", self.successResultOf(taken))
        line.lose()
        self.clock.advance(1)
        self.connect()
        self.assertEqual([], self.server.line.packets())

    def test_resend_finds_no_server(self) -> None:
        """A job that was sent once, and finds no server again, is lost: it may have run."""
        job, line = self.submitted("f", resend=True)
        line.lose()
        self.server.refusing = True
        self.clock.pump([1] * 30)
        self.assertEqual(b"H:1", self.failureResultOf(job.result, JobLost).value.handle)

    def test_cancelled_is_not_resent(self) -> None:
        """A cancelled job is not sent again."""
        job, line = self.submitted("f", resend=True)
        job.cancel()
        line.lose()
        self.clock.advance(1)
        self.connect()
        self.assertEqual([], self.server.line.packets())

    def test_submit_while_failing(self) -> None:
        """A job that is submitted when the loss is known goes over the next connection."""
        job, line = self.submitted("f")
        again: list[ClientJob] = []
        _ = job.result.addErrback(lambda _: again.append(self.client.submit("again")))
        line.lose()
        self.clock.advance(1)
        self.connect()
        self.assertEqual([("SUBMIT_JOB", b"again", b"", b"")], self.server.line.packets())

    def test_wrong_answer(self) -> None:
        """A server that answers what it was not asked is dropped: nothing can be matched any more."""
        for answer in ((STATUS_RES, b"H:1", b"0", b"0", b"0", b"0"), (JOB_CREATED, b"H:1")):
            job, line = self.submitted("f")
            if answer[0] == STATUS_RES:
                other = self.client.submit("g")
            line.send(*answer)
            self.assertTrue(line.ended)
            self.clock.advance(0)
            self.failureResultOf(job.result, JobLost)
            self.clock.advance(1)
            if answer[0] == STATUS_RES:
                self.failureResultOf(other.result, JobLost)
                self.connect()

    def test_not_gearman(self) -> None:
        """A peer that speaks something else is dropped."""
        for data in (b"HTTP/1.1 400 Bad Request\r\n", b"\0REQ" + bytes(8), b"\0BAD" + bytes(8)):
            server = ScriptedServer(self.clock)
            client = self.make_client([server])
            client.submit("f")
            server.line.protocol.dataReceived(data[:4] + b"\0\0\0\1" + data[8:] if data[0] == 0 else data)
            self.assertTrue(server.line.ended)

    def test_result_too_large(self) -> None:
        """A result over the limit costs the connection; the error says why."""
        client = self.make_client([self.server], max_packet=100)
        result = client.run("f")
        line = self.connect()
        line.send(JOB_CREATED, b"H:1")
        line.send(WORK_COMPLETE, b"H:1", bytes(100))
        self.clock.advance(0)
        error = self.failureResultOf(result, JobLost).value
        self.assertEqual(
            "the connection to server was lost:"
            " it sent what cannot be taken: a packet of 104 bytes is over the limit of 100",
            str(error),
        )

    def test_malformed(self) -> None:
        """So is one whose packets lack arguments."""
        _, line = self.submitted("f")
        line.protocol.dataReceived(b"\0RES\0\0\0\x0c\0\0\0\1x")
        self.assertTrue(line.ended)

    def test_others_are_passed_over(self) -> None:
        """A packet that means nothing to a client changes nothing."""
        _, line = self.submitted("f")
        line.send(NOOP)
        line.send(WORK_DATA, b"H:unknown", b"x")
        self.assertFalse(line.ended)


class LivenessTests(ClientTestCase):
    def test_heartbeat(self) -> None:
        """Thirty seconds of silence are broken by an echo; its answer begins the next thirty."""
        _, line = self.submitted("f")
        for _ in range(3):
            self.clock.advance(29.9)
            self.assertEqual([], line.packets())
            self.clock.advance(0.1)
            ((name, data),) = line.packets()
            self.assertEqual("ECHO_REQ", name)
            line.send(ECHO_RES, data)

    def test_half_open(self) -> None:
        """A server that does not answer the echo is dropped after another thirty seconds."""
        job, _ = self.submitted("f")
        self.clock.pump([30, 29.9])
        result = job.result
        self.assertNoResult(result)
        self.clock.pump([0.1, 0])
        self.failureResultOf(result, JobLost)
        self.clock.advance(1)
        self.assertEqual(2, self.server.attempts)

    def test_anything_is_life(self) -> None:
        """Whatever arrives shows that the server lives."""
        _, line = self.submitted("f")
        for _ in range(20):
            self.clock.advance(20)
            line.send(WORK_STATUS, b"H:1", b"1", b"2")
        self.assertEqual([], line.packets())
        self.assertFalse(line.ended)

    def test_unanswered(self) -> None:
        """A live server that leaves a request unanswered for a minute is dropped."""
        _, line = self.submitted("f")
        self.clock.advance(10)
        unanswered = self.client.submit("g").result
        for _ in range(59):
            self.clock.advance(1)
            line.send(ECHO_RES, b"")
        self.assertFalse(line.ended)
        self.clock.advance(1)
        self.assertTrue(line.ended)
        self.clock.advance(0)
        self.failureResultOf(unanswered, JobLost)

    def test_each_answer_counts(self) -> None:
        """The minute begins anew with each answer: many requests may wait."""
        _ = self.client.run_all([("f", b"")] * 5)
        line = self.connect()
        for n in range(5):
            self.clock.advance(25)
            line.send(ECHO_RES, b"")
            self.clock.advance(25)
            line.send(JOB_CREATED, b"H:%d" % n)
        self.clock.advance(29)
        line.send(ECHO_RES, b"")
        self.clock.advance(29)
        line.send(ECHO_RES, b"")
        self.clock.advance(29)
        self.assertFalse(line.ended)

    def test_slow_upload(self) -> None:
        """A server that takes a large workload slowly has not left it unanswered."""
        _, line = self.submitted("f")
        self.assertTrue(line.transport.streaming)
        line.protocol.pauseProducing()
        self.client.submit("g", bytes(100_000))
        for _ in range(10):
            self.clock.advance(25)
            line.protocol.resumeProducing()
            line.protocol.pauseProducing()
        self.assertFalse(line.ended)
        line.protocol.resumeProducing()
        self.clock.pump([1] * 30)
        line.send(ECHO_RES, b"")
        self.clock.pump([1] * 29)
        self.assertFalse(line.ended)
        self.clock.advance(1)
        self.assertTrue(line.ended)

    def test_upload_without_questions(self) -> None:
        """A transport that has room again says nothing about answers that nobody waits for."""
        _, line = self.submitted("f")
        line.protocol.pauseProducing()
        self.clock.advance(20)
        line.protocol.resumeProducing()
        line.protocol.resumeProducing()
        self.clock.advance(29)
        self.assertEqual([], line.packets())
