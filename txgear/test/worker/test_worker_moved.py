"""Tests of L{txgear.worker.absences} and others: a worker whose server has gone, and another has its jobs."""

from __future__ import annotations

import json
from typing import Any

from txgear.protocol.constants import OPTION_RES, WORKER_WELCOME
from txgear.test.support.client import STATE, ScriptedConnection, ScriptedServer
from txgear.test.worker.test_worker_away import AwayTestCase
from txgear.worker import WorkerJob


class MovedTestCase(AwayTestCase):
    """A worker at two servers over one database, with a job of the first."""

    def setUp(self) -> None:
        super().setUp()
        self.second = ScriptedServer(self.clock)
        self.start(self.server, self.second, concurrency=4)

    def welcome(self, line: ScriptedConnection, *held: str, grace: float = 10.0, offers: bool = True) -> None:
        said = {"grace": grace, "held": held, "offers": offers}
        line.send(WORKER_WELCOME, json.dumps(said).encode())

    def heard(self, server: ScriptedServer) -> list[tuple[Any, ...]]:
        return [
            packet for packet in server.line.packets() if packet != STATE and packet[0] != "GRAB_JOB_OPTIONS"
        ]

    def offered(self, server: ScriptedServer) -> list[list[list[Any]]]:
        """The jobs of each offer."""
        return [json.loads(each[1])["jobs"] for each in self.heard(server) if each[0] == "WORKER_OFFER"]

    def lose(self, *handles: bytes) -> list[WorkerJob]:
        """Get jobs of the first server, which goes then and does not come back."""
        jobs = [self.give(handle) for handle in handles]
        self.server.line.packets()
        self.second.line.packets()
        self.server.refusing = True
        self.server.line.lose()
        return jobs


class MovedTests(MovedTestCase):
    def test_it_goes_on(self) -> None:
        """It ends at the other server, and the first one is not offered it any more."""
        (job,) = self.lose(b"H:1")
        self.assertEqual(self.offered(self.second), [[["H:1", 1, False]]])
        self.welcome(self.second.line, "H:1")
        self.assertEqual(self.offered(self.second), [[]])
        self.assertFalse(job.gone)
        self.results[0].callback(b"done")
        self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.heard(self.second))
        self.server.refusing = False
        self.clock.advance(10)
        self.greet(self.server.line)
        self.assertEqual(self.server.line.hellos[-1]["jobs"], [])
        self.assertEqual(self.cancelled, [])

    def test_it_has_ended(self) -> None:
        self.lose(b"H:1", b"H:2")
        self.results[0].callback(b"done")
        self.welcome(self.second.line, "H:1")
        self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.heard(self.second))
        self.welcome(self.second.line, "H:2")
        self.results[1].callback(b"done")
        self.assertIn(("WORK_COMPLETE", b"H:2", b"done"), self.heard(self.second))

    def test_nobody_takes_it(self) -> None:
        (job,) = self.lose(b"H:1")
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.offered(self.second), [[["H:1", 1, False]], []])
        self.assertEqual(job.why_gone, "the server was away for too long")

    def test_it_is_given_back_too_late(self) -> None:
        """The server hears by the next hello that it has it no more."""
        self.lose(b"H:1")
        self.clock.pump([1.0] * 10)
        self.welcome(self.second.line, "H:1")
        self.clock.advance(0)
        self.assertTrue(self.second.line.ended)

    def test_one_of_which_something_was_sent(self) -> None:
        """What it has sent is lost, so it is not offered."""
        one = self.give(b"H:1")
        one.send_data(b"part")
        self.lose(b"H:2")
        self.assertEqual(self.offered(self.second), [[["H:2", 1, False]]])

    def test_a_server_that_takes_over_nothing(self) -> None:
        """It is offered nothing, and its own jobs are not offered to others."""
        self.second.line.lose()
        self.clock.advance(1)
        self.second.line.send(OPTION_RES, b"txgear-1")
        self.second.line.welcome()
        self.welcome(self.second.line, offers=False)
        self.give(b"H:3", line=self.second.line)
        self.lose(b"H:1")
        self.assertEqual(self.heard(self.second), [])
        self.welcome(self.second.line, "H:1")
        self.assertFalse(self.second.line.ended)
        self.server.refusing = False
        self.clock.advance(1)
        self.greet(self.server.line)
        self.server.line.packets()
        self.second.line.lose()
        self.assertEqual(self.offered(self.server), [])

    def test_others_come_later(self) -> None:
        """They are offered what is not anybody's yet."""
        self.second.refusing = True
        self.second.line.lose()
        self.lose(b"H:1")
        self.second.refusing = False
        self.clock.advance(1)
        self.greet(self.second.line)
        self.assertEqual(self.offered(self.second), [[["H:1", 1, False]]])


class BackTests(MovedTestCase):
    """The first server is back before anybody has its part."""

    def come_first(self, *held: str) -> None:
        self.server.refusing = False
        self.clock.advance(1)
        self.greet(self.server.line, *held)

    def test_it_has_nothing_yet(self) -> None:
        """It takes the part over itself, or the other one does."""
        for taker in (self.server, self.second):
            (job,) = self.lose(b"H:1")
            self.come_first()
            self.assertEqual(self.server.line.hellos[-1]["jobs"], [["H:1", 1, False]])
            self.assertFalse(job.gone)
            self.welcome(taker.line, "H:1")
            self.results.pop().callback(b"done")
            self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.heard(taker))

    def test_results_are_kept(self) -> None:
        self.lose(b"H:1")
        self.results[0].callback(b"done")
        self.come_first()
        self.welcome(self.second.line, "H:1")
        self.assertIn(("WORK_COMPLETE", b"H:1", b"done"), self.heard(self.second))

    def test_it_is_lost_again(self) -> None:
        """With one more job: all of them are kept."""
        self.lose(b"H:1")
        self.come_first()
        self.clock.advance(8)
        jobs = self.lose(b"H:2")
        self.assertEqual(self.offered(self.second), [[["H:1", 1, False], ["H:2", 1, False]]])
        self.clock.advance(9)
        self.welcome(self.second.line, "H:1", "H:2")
        self.clock.advance(9)
        self.assertEqual(self.cancelled, [])
        self.assertFalse(jobs[0].gone)

    def test_it_is_lost_again_with_others(self) -> None:
        """What was kept is given up by then: the time begins anew."""
        self.worker.register("g", self.wait, timeout=5)
        self.give(b"H:1", b"g")
        self.lose()
        self.come_first()
        self.clock.advance(4)
        self.assertEqual(self.cancelled, [b"H:1"])
        (job,) = self.lose(b"H:2")
        self.clock.advance(9)
        self.assertFalse(job.gone)
        self.clock.advance(1)
        self.assertEqual(job.why_gone, "the server was away for too long")

    def test_the_time_is_over(self) -> None:
        (job,) = self.lose(b"H:1")
        self.come_first()
        self.clock.pump([1.0] * 9)
        self.assertEqual(job.why_gone, "the server was away for too long")
