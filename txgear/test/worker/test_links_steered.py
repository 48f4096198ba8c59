"""Tests of L{txgear.worker.links}, and of L{txgear.worker.Worker}: pauses, and what servers tell a worker."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs, formatEvent

from txgear.protocol.constants import ECHO_RES, NO_JOB, NOOP, OPTION_RES, STEER
from txgear.test.support.client import GRAB, STATE, GrantedWorkerTestCase, ScriptedServer

GRAB_OPTIONS = ("GRAB_JOB_OPTIONS",)
PAUSED = ("WORKER_STATE", True)
DONE = ("STEERED", b"7", b"done", b"")


class SteeredTestCase(GrantedWorkerTestCase):
    """A worker at servers that understand it."""

    def tell(self, word: bytes, argument: bytes = b"") -> list[tuple[object, ...]]:
        """What the worker sends when it is told something."""
        self.server.line.send(STEER, b"7", word, argument)
        return self.server.line.packets()


class PauseTests(SteeredTestCase):
    def test_asleep(self) -> None:
        """It says that it is paused, so that nobody wakes it, and asks again when it goes on."""
        worker = self.start()
        line = self.server.line
        line.send(NO_JOB)
        self.assertEqual([("PRE_SLEEP",)], line.packets())
        worker.pause()
        self.assertTrue(worker.paused)
        self.assertEqual([PAUSED], line.packets())
        worker.pause()
        line.send(NOOP)
        self.assertEqual([], line.packets())
        worker.resume()
        self.assertFalse(worker.paused)
        self.assertEqual([STATE, GRAB_OPTIONS], line.packets())
        worker.resume()
        self.assertEqual([], line.packets())

    def test_asked_already(self) -> None:
        """The job that comes is done, and no other is asked for."""
        worker = self.start()
        line = self.server.line
        worker.pause()
        self.assertEqual([PAUSED], line.packets())
        self.assign(line, b"H:1")
        self.assertEqual([b"H:1"], [job.handle for job in self.jobs])
        self.results[0].callback(b"r")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"r")], line.packets())
        worker.resume()
        self.assertEqual([STATE, GRAB_OPTIONS], line.packets())

    def test_there_was_none(self) -> None:
        """It does not fall asleep: it would be woken in vain."""
        worker = self.start()
        worker.pause()
        self.server.line.packets()
        self.server.line.send(NO_JOB)
        self.assertEqual([], self.server.line.packets())
        worker.resume()
        self.assertEqual([STATE, GRAB_OPTIONS], self.server.line.packets())

    def test_before_it_is_connected(self) -> None:
        worker = self.make_worker()
        worker.register("f", self.wait)
        worker.pause()
        worker.startService()
        self.grant(self.server.line)
        self.assertEqual([PAUSED], self.server.line.packets())

    def test_while_it_connects(self) -> None:
        """What holds when the server has answered is what that is told."""
        worker = self.make_worker()
        worker.register("f", self.wait)
        worker.startService()
        worker.pause()
        self.grant(self.server.line)
        self.assertEqual([PAUSED], self.server.line.packets())

    def test_over_a_lost_connection(self) -> None:
        worker = self.start()
        worker.pause()
        self.server.line.lose()
        self.clock.advance(1)
        self.grant(self.server.line)
        self.assertEqual([PAUSED], self.server.line.packets())
        worker.resume()
        self.assertEqual([STATE, GRAB_OPTIONS], self.server.line.packets())

    def test_a_server_of_the_classic_protocol(self) -> None:
        """It is told nothing, and not asked."""
        worker = self.make_worker()
        worker.register("f", self.wait)
        worker.startService()
        line = self.server.line
        line.welcome()
        self.assertEqual(GRAB, line.packets())
        worker.pause()
        line.send(NO_JOB)
        self.assertEqual([("PRE_SLEEP",)], line.packets())
        line.send(NOOP)
        self.assertEqual([], line.packets())
        worker.resume()
        self.assertEqual(GRAB, line.packets())


class ToldTests(SteeredTestCase):
    def test_pause_and_resume(self) -> None:
        worker = self.start()
        with capturedLogs() as events:
            self.assertEqual([PAUSED, DONE], self.tell(b"pause"))
        self.assertIn("server says pause", [formatEvent(event) for event in events])
        self.assertTrue(worker.paused)
        again = ("STEERED", b"7", b"done", b"It was paused already")
        self.assertEqual([again], self.tell(b"pause"))
        self.server.line.send(NO_JOB)
        self.assertEqual([STATE, GRAB_OPTIONS, DONE], self.tell(b"resume"))
        self.assertEqual([("STEERED", b"7", b"done", b"It was not paused")], self.tell(b"resume"))

    def test_all_its_servers_know(self) -> None:
        second = ScriptedServer(self.clock, "second")
        self.start(self.server, second)
        self.tell(b"pause")
        self.assertEqual([PAUSED], second.line.packets())

    def test_what_runs_is_finished(self) -> None:
        self.start(concurrency=3)
        self.assign(self.server.line, b"H:1")
        self.server.line.packets()
        answer = ("STEERED", b"7", b"done", b"1 job is finished first")
        self.assertEqual([PAUSED, answer], self.tell(b"pause"))
        self.assign(self.server.line, b"H:2")
        self.assertIn(b"2 jobs are finished first", [packet[-1] for packet in self.tell(b"stop")])

    def test_stop(self) -> None:
        worker = self.start()
        stopped = worker.when_stopped()
        self.assign(self.server.line, b"H:1")
        self.server.line.packets()
        self.assertEqual([("STEERED", b"7", b"done", b"1 job is finished first")], self.tell(b"stop"))
        self.assertFalse(worker.running)
        self.assertEqual([("STEERED", b"7", b"refused", b"It stops")], self.tell(b"resume"))
        self.assertEqual([("STEERED", b"7", b"done", b"1 job is finished first")], self.tell(b"stop"))
        self.assertNoResult(stopped)
        self.results[0].callback(b"r")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"r")], self.server.line.packets())
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.successResultOf(worker.when_stopped())
        self.clock.advance(100)
        self.assertEqual(1, self.server.attempts)

    def test_stop_with_nothing_in_hand(self) -> None:
        """The answer leaves before the connection ends."""
        worker = self.start()
        self.server.line.send(NO_JOB)
        self.server.line.packets()
        self.assertEqual([DONE], self.tell(b"stop"))
        self.assertTrue(self.server.line.ended)
        self.clock.advance(0)
        self.successResultOf(worker.when_stopped())

    def test_words_that_it_does_not_know(self) -> None:
        worker = self.start()
        for word in (b"dance", b"PAUSE", b"", b"pause\xff", b"x" * 10_000):
            with self.subTest(word=word[:10]):
                answer = ("STEERED", b"7", b"refused", b"It does not know this word")
                self.assertEqual([answer], self.tell(word, b"argument"))
        self.assertFalse(worker.paused)

    def test_before_the_first_answer(self) -> None:
        """A server that tells something before it is asked."""
        worker = self.make_worker()
        worker.startService()
        line = self.server.line
        line.send(OPTION_RES, b"txgear-1")
        line.send(STEER, b"1", b"pause", b"")
        line.send(ECHO_RES, b"txgear")
        self.assertIn(PAUSED, line.packets())


class WhenStoppedTests(SteeredTestCase):
    def test_not_started(self) -> None:
        self.successResultOf(self.make_worker().when_stopped())

    def test_not_waited_for_any_more(self) -> None:
        worker = self.start()
        waiting, other = worker.when_stopped(), worker.when_stopped()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.server.line.send(NO_JOB)
        _ = worker.stopService()
        self.clock.advance(0)
        self.successResultOf(other)
