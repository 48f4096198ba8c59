"""
Tests for L{txgear.worker.links} and L{txgear.worker.connection}, through a worker: several jobs are asked for
at once, and come at once.
"""

from __future__ import annotations

from typing import Any

from txgear.protocol.constants import JOB_ASSIGN_UNIQ, JOB_WITHDRAWN, NO_JOB, NOOP, OPTION_RES
from txgear.test.support.client import GRAB, STATE, ScriptedConnection, ScriptedServer, WorkerTestCase

SLEEP = ("PRE_SLEEP",)


def given(*handles: bytes, function: bytes = b"f") -> list[tuple[Any, ...]]:
    """The packets that give these jobs."""
    return [(JOB_ASSIGN_UNIQ, handle, function, b"", b"") for handle in handles]


def done(*handles: bytes) -> list[tuple[Any, ...]]:
    """The packets that end these jobs."""
    return [("WORK_COMPLETE", handle, b"") for handle in handles]


class AskTests(WorkerTestCase):
    def test_as_many_as_the_server_seems_to_have(self) -> None:
        """One job is asked for at first; as long as jobs come, one more for each."""
        self.start(concurrency=8)
        line = self.server.line
        self.assertEqual(GRAB, line.packets())
        self.assign(line, b"H:1")
        self.assertEqual(GRAB, line.packets())
        self.assign(line, b"H:2")
        self.assertEqual(GRAB * 2, line.packets())
        line.send_together(*given(b"H:3", b"H:4"))
        self.assertEqual(GRAB * 4, line.packets())
        line.send_together(*given(b"H:5", b"H:6", b"H:7", b"H:8"))
        self.assertEqual([], line.packets())
        self.results[0].callback(None)
        self.assertEqual([*done(b"H:1"), *GRAB], line.packets())

    def test_anew_where_there_was_none(self) -> None:
        """A server that had no job is asked for one when it has some again."""
        self.start(concurrency=8)
        line = self.server.line
        for number in range(3):
            self.assign(line, b"H:%d" % number)
        line.packets()
        line.send_together((NO_JOB,), (NO_JOB,), (NO_JOB,))
        self.assertEqual([SLEEP], line.packets())
        line.send(NOOP)
        self.assertEqual(GRAB, line.packets())

    def test_the_rest_is_awaited(self) -> None:
        """After the first answer that there is no job, nothing is asked until all are there."""
        self.start(concurrency=8)
        line = self.server.line
        for number in range(3):
            self.assign(line, b"H:%d" % number)
        self.assertEqual(GRAB * 6, line.packets())
        line.send(NO_JOB)
        self.results[0].callback(None)
        self.assertEqual(done(b"H:0"), line.packets())
        line.send(NO_JOB)
        self.assertEqual([], line.packets())
        line.send(NO_JOB)
        self.assertEqual([SLEEP], line.packets())

    def test_a_job_that_came_meanwhile(self) -> None:
        """Where the last answer is a job, the server is asked again."""
        self.start(concurrency=8)
        line = self.server.line
        for number in range(2):
            self.assign(line, b"H:%d" % number)
        line.packets()
        line.send_together((NO_JOB,), *given(b"H:3"))
        self.assertEqual(GRAB, line.packets())

    def test_no_wake_up_counts_before(self) -> None:
        """A server that has answers on their way wakes nobody."""
        self.start(concurrency=8)
        line = self.server.line
        for number in range(2):
            self.assign(line, b"H:%d" % number)
        line.packets()
        line.send_together((NO_JOB,), (NOOP,))
        self.assertEqual([], line.packets())

    def test_paused(self) -> None:
        """A worker that is paused does not go to sleep, whatever the last answers are."""
        worker = self.make_worker(concurrency=8)
        worker.register("f", self.wait)
        worker.startService()
        line = self.server.line
        line.send(OPTION_RES, b"txgear-1")
        line.welcome()
        for number in range(2):
            self.assign(line, b"H:%d" % number)
        self.assertEqual([STATE, *[("GRAB_JOB_OPTIONS",)] * 4], line.packets())
        worker.pause()
        line.packets()
        line.send_together((NO_JOB,), (NO_JOB,))
        self.assertEqual([], line.packets())
        worker.resume()
        self.assertEqual([("GRAB_JOB_OPTIONS",)], line.packets()[1:])

    def test_shared_out(self) -> None:
        """Several servers with many jobs have about the same part of the room."""
        servers = [ScriptedServer(self.clock, name) for name in ("one", "two", "three")]
        self.start(*servers, concurrency=7)
        lines = [server.line for server in servers]
        handles = iter(range(100))
        self.answer(lines, handles, rounds=3)
        self.assertEqual(7, len(self.jobs))
        for line in lines:
            line.packets()
        for result in self.results[:]:
            result.callback(None)
        asked = [line.packets().count(GRAB[0]) for line in lines]
        self.assertEqual(7, sum(asked))
        self.assertLessEqual(max(asked), 3)

    def answer(self, lines: list[ScriptedConnection], handles: Any, rounds: int) -> None:
        """Each grab gets a job."""
        for _ in range(rounds):
            for line in lines:
                if count := line.packets().count(GRAB[0]):
                    line.send_together(*given(*(b"H:%d" % next(handles) for _ in range(count))))

    def test_one_of_them_has_none(self) -> None:
        """What one server has no jobs for another one is asked for."""
        second = ScriptedServer(self.clock)
        self.start(self.server, second, concurrency=4)
        one, two = self.server.line, second.line
        self.assertEqual((GRAB, GRAB), (one.packets(), two.packets()))
        one.send(NO_JOB)
        self.assign(two, b"T:1")
        self.assign(two, b"T:2")
        self.assertEqual(([SLEEP], GRAB * 3), (one.packets(), two.packets()))

    def test_a_server_that_owes_some_answers_is_late(self) -> None:
        """What counts is how long it has been silent: each answer that is due counts from the one before."""
        second = ScriptedServer(self.clock)
        self.start(self.server, second, concurrency=3)
        one, two = self.server.line, second.line
        two.send(NO_JOB)
        self.assign(one, b"H:1")
        one.packets(), two.packets()
        two.send(NOOP)
        self.assertEqual(([], GRAB), (one.packets(), two.packets()))
        two.send_together(*given(b"T:1"))
        self.clock.advance(0.9)
        self.assertEqual(([], []), (one.packets(), two.packets()))
        self.clock.advance(0.1)
        self.assertEqual(([], GRAB), (one.packets(), two.packets()))

    def test_which_results_the_server_has_read(self) -> None:
        """The count of answers tells it: the server answers in turn."""
        self.start(concurrency=2)
        line = self.server.line
        connection = line.protocol
        self.assign(line, b"H:1")
        self.assign(line, b"H:2")
        self.assertEqual((0, 2), (connection.asked, connection.answered))
        self.results[0].callback(None)
        read_with = connection.answered + connection.asked
        self.assertEqual(3, read_with)
        self.assign(line, b"H:3")
        self.assertEqual(read_with, connection.answered)


class TogetherTests(WorkerTestCase):
    def test_withdrawn_at_once(self) -> None:
        """A job that is taken back in the same read is not begun."""
        self.start()
        line = self.server.line
        line.send(OPTION_RES, b"txgear-1")
        line.packets()
        line.send_together(*given(b"H:1"), (JOB_WITHDRAWN, b"H:1", b"too late"))
        self.assertEqual([], self.jobs)
        self.assertEqual([("GRAB_JOB_OPTIONS",)], line.packets())

    def test_the_connection_ends_in_between(self) -> None:
        """Jobs that come before what ends the connection are not begun."""
        self.start()
        line = self.server.line
        line.send_together(*given(b"H:1"), (NO_JOB,))
        self.assertTrue(line.ended)
        self.clock.advance(0)
        self.assertEqual([], self.jobs)
        self.assertEqual({}, line.protocol.jobs)

    def test_more_than_asked(self) -> None:
        """A server that gives a job more than it was asked for is given up."""
        self.start()
        self.server.line.send_together(*given(b"H:1", b"H:2"))
        self.assertTrue(self.server.line.ended)
