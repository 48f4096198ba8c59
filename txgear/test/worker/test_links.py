"""
Tests for L{txgear.worker.links} and L{txgear.worker.connection}, through a worker: which server is asked.
"""

from __future__ import annotations

from txgear.protocol.constants import (
    CAN_DO,
    ECHO_RES,
    ERROR,
    JOB_ASSIGN,
    NO_JOB,
    NOOP,
)
from txgear.test.support.client import GRAB, ScriptedServer, WorkerTestCase
from txgear.worker import WorkerJob


class GrabTests(WorkerTestCase):
    def test_sleep_and_wake(self) -> None:
        """Without a job the worker sleeps, and asks again when woken."""
        self.start()
        line = self.server.line
        self.assertEqual(GRAB, line.packets())
        line.send(NOOP)
        line.send(NO_JOB)
        self.assertEqual([("PRE_SLEEP",)], line.packets())
        line.send(NOOP)
        self.assertEqual(GRAB, line.packets())

    def test_concurrency(self) -> None:
        """A worker asks for as many jobs as it may run, and no more until one has ended."""
        self.start(concurrency=2)
        line = self.server.line
        self.assign(line, b"H:1")
        self.assertEqual(GRAB + GRAB, line.packets())
        self.assign(line, b"H:2")
        self.assertEqual([], line.packets())
        line.send(NOOP)
        self.assertEqual([], line.packets())
        self.results[0].callback(b"")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b""), *GRAB], line.packets())

    def test_full_when_woken(self) -> None:
        """A wake-up that finds no room is remembered."""
        second = ScriptedServer(self.clock)
        self.start(self.server, second)
        one, two = self.server.line, second.line
        self.assertEqual((GRAB, []), (one.packets(), two.packets()))
        one.send(NO_JOB)
        self.assertEqual(([("PRE_SLEEP",)], GRAB), (one.packets(), two.packets()))
        self.assign(two, b"H:1")
        one.send(NOOP)
        self.assertEqual(([], []), (one.packets(), two.packets()))
        self.results[0].callback(b"")
        self.assertEqual((GRAB, [("WORK_COMPLETE", b"H:1", b"")]), (one.packets(), two.packets()))

    def test_fair(self) -> None:
        """Servers that all have jobs are asked in turn."""
        second = ScriptedServer(self.clock)
        self.start(self.server, second)
        lines = [self.server.line, second.line]
        for n in range(6):
            first, other = lines[n % 2], lines[1 - n % 2]
            self.assertIn(GRAB[0], first.packets())
            self.assertNotIn(GRAB[0], other.packets())
            self.assign(first, b"H:%d" % n)
            self.results[-1].callback(b"")

    def test_all_servers_at_once(self) -> None:
        """With room for more, all servers are asked at once; with a dead one, the others are."""
        second, third = ScriptedServer(self.clock), ScriptedServer(self.clock)
        third.refusing = True
        worker = self.make_worker(self.server, second, third, concurrency=3)
        worker.register("f", self.wait)
        worker.startService()
        for server in (self.server, second):
            server.line.welcome()
            self.assertEqual(GRAB, server.line.packets())

    def test_dead_server(self) -> None:
        """
        A server that does not answer the grab keeps its claim to the room for a
        second; then another is asked. If both give jobs after all, the second waits.
        """
        second = ScriptedServer(self.clock)
        self.start(self.server, second)
        one, two = self.server.line, second.line
        one.packets()
        self.clock.advance(0.9)
        self.assertEqual([], two.packets())
        self.clock.advance(0.1)
        self.assertEqual(([], GRAB), (one.packets(), two.packets()))
        self.assign(two, b"T:1")
        self.assign(one, b"H:1")
        self.assertEqual([b"T:1"], [job.handle for job in self.jobs])
        self.results[0].callback(b"")
        self.assertEqual([b"T:1", b"H:1"], [job.handle for job in self.jobs])
        self.assertEqual(([], [("WORK_COMPLETE", b"T:1", b"")]), (one.packets(), two.packets()))

    def test_a_pause_of_our_own(self) -> None:
        """After a function that blocked a server is not late with its answer: that may lie in the socket."""
        others = [ScriptedServer(self.clock, name) for name in ("two", "three")]
        worker = self.start(self.server, *others, concurrency=2)

        def block(job: WorkerJob) -> None:
            self.clock.rightNow += 3

        worker.register("block", block)
        lines = [server.line for server in (self.server, *others)]
        for line in lines:
            line.packets()
        self.assign(lines[0], b"H:1", function=b"block")
        asked = [packet for line in lines for packet in line.packets() if packet == GRAB[0]]
        # Nobody else is asked: with functions that block no job is asked ahead of the one that is to come.
        self.assertEqual([], asked)
        self.assign(lines[1], b"T:1")
        self.clock.advance(0)
        self.assertEqual([b"T:1"], [job.handle for job in self.jobs])

    def test_held_job_is_lost(self) -> None:
        """A job that waits for room is given up with its connection."""
        second = ScriptedServer(self.clock)
        self.start(self.server, second)
        self.clock.advance(1)
        self.assign(second.line, b"T:1")
        self.assign(self.server.line, b"H:1")
        self.server.line.lose()
        self.results[0].callback(b"")
        self.assertEqual([b"T:1"], [job.handle for job in self.jobs])

    def test_grab_timer_is_one(self) -> None:
        """Several servers that wait for one do so with one timer."""
        servers = [ScriptedServer(self.clock) for _ in range(3)]
        self.start(*servers)
        before = len(self.clock.getDelayedCalls())
        servers[0].line.send(NOOP)
        self.assertEqual(before, len(self.clock.getDelayedCalls()))

    def test_older_servers(self) -> None:
        """A server that refuses a grab is asked as older workers do, also after a reconnect."""
        self.start()
        line = self.server.line
        self.assertEqual(GRAB, line.packets())
        line.send(ERROR, b"INVALID_COMMAND", b"Command not expected")
        self.assertEqual([("GRAB_JOB_UNIQ",)], line.packets())
        line.lose()
        self.clock.advance(0.5)
        line = self.server.line
        line.welcome()
        self.assertEqual([("GRAB_JOB_UNIQ",)], line.packets())
        line.send(ERROR, b"unknown_command", b"")
        self.assertEqual([("GRAB_JOB",)], line.packets())
        line.send(JOB_ASSIGN, b"H:1", b"f", b"w")
        self.assertEqual(b"w", self.jobs[0].workload)

    def test_gives_no_jobs(self) -> None:
        """One that refuses all of them is left, and tried again later."""
        self.start()
        line = self.server.line
        for _ in range(3):
            self.assertFalse(line.ended)
            line.send(ERROR, b"INVALID_COMMAND", b"Command not expected")
        self.assertTrue(line.ended)
        self.clock.pump([0, 0.5])
        self.assertEqual(2, self.server.attempts)

    def test_silent_older_server(self) -> None:
        """A live server that leaves a grab unanswered does not know it: next time it is asked otherwise."""
        self.start()
        line = self.server.line
        for _ in range(6):
            self.clock.advance(10)
            line.send(ECHO_RES, b"")
        self.assertTrue(line.ended)
        self.clock.pump([0, 0.5])
        self.server.line.welcome()
        self.assertEqual([("GRAB_JOB_UNIQ",)], self.server.line.packets())

    def test_not_asked(self) -> None:
        """A server that gives what it was not asked for is dropped."""
        self.start()
        line = self.server.line
        line.send(NO_JOB)
        line.send(NO_JOB)
        self.assertTrue(line.ended)

    def test_half_open(self) -> None:
        """A sleeping worker notices a dead server by its silence."""
        self.start()
        line = self.server.line
        line.packets()
        line.send(NO_JOB)
        self.clock.advance(30)
        self.assertEqual(["PRE_SLEEP", "ECHO_REQ"], [packet[0] for packet in line.packets()])
        self.clock.advance(30)
        self.assertTrue(line.ended)
        self.clock.pump([0, 0.5])
        self.assertEqual(2, self.server.attempts)

    def test_others(self) -> None:
        """What means nothing to a worker is passed over."""
        self.start()
        self.server.line.send(CAN_DO, b"x")
        self.assertFalse(self.server.line.ended)
