"""
Tests of C{absences}, C{returning}, C{links} and C{connection}, through a worker: results, and parts of them,
that its server has not had.
"""

from __future__ import annotations

from txgear.protocol.constants import (
    ECHO_RES,
    JOB_ASSIGN_OPTIONS,
    NO_JOB,
    OPTION_RES,
)
from txgear.test.support.client import ScriptedServer
from txgear.test.worker.test_worker_away import GRAB, AwayTestCase
from txgear.worker import RetryLater, WorkerJob


class ResultTests(AwayTestCase):
    def test_may_not_have_arrived(self) -> None:
        """It is offered again."""
        self.start()
        self.give(b"H:1")
        self.results[0].callback(b"done")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"done"), GRAB], self.server.line.packets())
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([["H:1", 1, False]], self.claimed)
        self.server.line.send(ECHO_RES, b"txgear")
        self.welcome(self.server.line, "H:1")
        self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.server.line.packets())

    def test_has_arrived_after_all(self) -> None:
        self.start()
        self.give(b"H:1")
        self.results[0].callback(b"done")
        self.server.line.lose()
        self.assertNotIn("WORK_COMPLETE", [packet[0] for packet in self.come_back()])

    def test_lost_twice(self) -> None:
        """Over the second connection it may not arrive either."""
        self.start()
        self.give(b"H:1")
        self.results[0].callback(b"done")
        for _ in range(3):
            self.server.line.lose()
            self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.come_back("H:1"))
        self.server.line.send(ECHO_RES, b"1")
        self.server.line.lose()
        self.clock.advance(4)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([], self.claimed)

    def test_an_answer_confirms(self) -> None:
        for answer in ((NO_JOB,), (JOB_ASSIGN_OPTIONS, b"H:2", b"f", b"", b"", b"{}", b"")):
            with self.subTest(answer=answer[0]):
                self.jobs.clear()
                self.results.clear()
                self.server = ScriptedServer(self.clock)
                self.start()
                self.give(b"H:1")
                self.results[0].callback(b"done")
                self.server.line.send(*answer)
                self.server.line.lose()
                self.clock.advance(1)
                self.server.line.send(OPTION_RES, b"txgear-1")
                self.assertEqual([], self.claimed)

    def test_an_answer_to_an_earlier_grab_does_not(self) -> None:
        self.start(concurrency=2)
        self.give(b"H:1")
        self.assertEqual([GRAB], self.server.line.packets()[-1:])
        self.results[0].callback(b"done")
        self.server.line.send(NO_JOB)
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([["H:1", 1, False]], self.claimed)

    def test_an_echo_where_no_grab_follows(self) -> None:
        """A worker that is paused asks for no job, and that could last."""
        worker = self.start()
        self.give(b"H:1")
        worker.pause()
        self.server.line.packets()
        self.results[0].callback(b"done")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"done"), ("ECHO_REQ", b"1")], self.server.line.packets())
        self.server.line.send(ECHO_RES, b"1")
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([], self.claimed)

    def test_other_echoes_confirm_nothing(self) -> None:
        worker = self.start()
        self.give(b"H:1")
        worker.pause()
        self.results[0].callback(b"done")
        for echo in (b"txgear", b"2", b"", b"01"):
            self.server.line.send(ECHO_RES, echo)
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([["H:1", 1, False]], self.claimed)

    def test_failures_too(self) -> None:
        self.start(concurrency=2)

        def later(job: WorkerJob) -> None:
            raise RetryLater(2.5, "the bank is closed")

        self.worker.register("later", later)
        self.give(b"H:0")
        self.give(b"H:1", b"later")
        retry = ("WORK_RETRY", b"H:1", b"2.500", b"the bank is closed")
        self.assertIn(retry, self.server.line.packets())
        self.server.line.lose()
        self.assertIn(retry, self.come_back("H:0", "H:1"))


class PartsTests(AwayTestCase):
    def test_not_confirmed(self) -> None:
        """Parts may be lost: the job cannot be offered again."""
        for name in ("send_data", "send_warning"):
            with self.subTest(name=name):
                self.cancelled.clear()
                self.server = ScriptedServer(self.clock)
                self.start()
                job = self.give(b"H:1")
                getattr(job, name)(b"part")
                self.server.line.lose()
                self.assertEqual([b"H:1"], self.cancelled)

    def test_the_result_of_such_a_job(self) -> None:
        self.start()
        self.give(b"H:1").send_data(b"part")
        self.results[0].callback(b"rest")
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([], self.claimed)

    def test_confirmed(self) -> None:
        """The server is told that it has a part."""
        self.start()
        job = self.give(b"H:1")
        self.server.line.packets()
        job.send_data(b"part")
        self.assertEqual([("WORK_DATA", b"H:1", b"part"), ("ECHO_REQ", b"1")], self.server.line.packets())
        self.server.line.send(ECHO_RES, b"1")
        self.server.line.lose()
        self.assertFalse(job.gone)
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([["H:1", 1, True]], self.claimed)

    def test_one_echo_at_a_time(self) -> None:
        self.start()
        job = self.give(b"H:1")
        self.server.line.packets()
        for _ in range(3):
            job.send_data(b"part")
        self.assertEqual(1, [packet[0] for packet in self.server.line.packets()].count("ECHO_REQ"))
        self.server.line.send(ECHO_RES, b"1")
        self.assertEqual([("ECHO_REQ", b"3")], self.server.line.packets())
        self.server.line.send(ECHO_RES, b"3")
        self.assertEqual([], self.server.line.packets())

    def test_progress_needs_no_confirmation(self) -> None:
        self.start()
        job = self.give(b"H:1")
        job.set_status(1, 2)
        self.server.line.lose()
        self.assertFalse(job.gone)

    def test_what_is_sent_meanwhile(self) -> None:
        """In its order; only the last progress counts."""
        self.start()
        job = self.give(b"H:1")
        self.server.line.lose()
        job.set_status(1, 3)
        job.send_data(b"one")
        job.send_warning(b"two")
        job.set_status(2, 3)
        packets = self.come_back("H:1")
        self.assertEqual(
            [
                ("WORK_STATUS", b"H:1", b"2", b"3"),
                ("WORK_DATA", b"H:1", b"one"),
                ("WORK_WARNING", b"H:1", b"two"),
            ],
            [packet for packet in packets if packet[0] in ("WORK_STATUS", "WORK_DATA", "WORK_WARNING")],
        )
        self.server.line.lose()
        self.assertEqual([b"H:1"], self.cancelled)

    def test_confirmed_over_the_second_connection(self) -> None:
        self.start()
        job = self.give(b"H:1")
        self.server.line.lose()
        job.send_data(b"one")
        self.come_back("H:1")
        self.server.line.send(ECHO_RES, b"1")
        self.server.line.lose()
        self.assertFalse(job.gone)
        self.come_back("H:1", after=2)
        self.server.line.lose()
        self.assertFalse(job.gone)

    def test_more_than_can_wait(self) -> None:
        self.start(max_packet=1000)
        job = self.give(b"H:1")
        self.server.line.lose()
        job.send_data(bytes(900))
        self.assertFalse(job.gone)
        job.send_data(bytes(900))
        job.send_data(b"nothing changes")
        self.clock.advance(0)
        self.assertEqual([b"H:1"], self.cancelled)
        self.assertEqual("what it sends does not fit in memory while server is away", job.why_gone)
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([], self.claimed)

    def test_more_than_can_wait_and_then_it_ends(self) -> None:
        """In the same breath: its result is none without the parts."""
        self.start(max_packet=1000)
        job = self.give(b"H:1")
        self.server.line.lose()
        job.send_data(bytes(900))
        job.send_data(bytes(900))
        self.results[0].callback(b"done")
        self.clock.advance(0)
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([], self.claimed)

    def test_when_sent(self) -> None:
        """It is asked anew where the job goes on."""
        self.start()
        job = self.give(b"H:1")
        line = self.server.line
        line.protocol.pauseProducing()
        sent = job.when_sent()
        self.assertNoResult(sent)
        line.lose()
        later = job.when_sent()
        self.assertNoResult(later)
        self.come_back("H:1")
        self.successResultOf(sent)
        self.successResultOf(later)
        self.successResultOf(job.when_sent())
