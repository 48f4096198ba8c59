"""
Tests of L{txgear.worker.Worker}: who it says it is and how, when it is ready, and what changes while it runs.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from txgear.protocol.constants import ECHO_RES, ERROR, NO_JOB, NOOP, OPTION_RES, STEER, WORKER_WELCOME
from txgear.test.support.client import (
    STATE,
    GrantedWorkerTestCase,
    ScriptedServer,
)
from txgear.worker import Refused
from txgear.worker.hello import key_at

KEY = "0123456789abcdef" * 2
GRAB = ("GRAB_JOB_OPTIONS",)


class RunningWorkerTestCase(GrantedWorkerTestCase):
    """A worker at servers that understand it."""

    def tell(self, word: bytes, argument: bytes = b"") -> tuple[str, str]:
        """What the worker answers when it is told something: the outcome, and the text."""
        self.server.line.send(STEER, b"7", word, argument)
        (answer,) = [packet for packet in self.server.line.packets() if packet[0] == "STEERED"]
        return answer[2].decode(), answer[3].decode()

    @property
    def state(self) -> dict[str, Any]:
        """How the worker was when it told that last."""
        self.server.line.packets()
        return self.server.line.states[-1]


class HelloTests(RunningWorkerTestCase):
    def test_at_each_connection(self) -> None:
        self.start(key=KEY, id="images-3", group="images", runtime="f" * 32)
        (hello,) = self.server.line.hellos
        self.assertEqual(key_at(KEY, "server"), hello["key"])
        self.assertEqual(("images-3", "images", []), (hello["id"], hello["group"], hello["jobs"]))
        self.server.line.lose()
        self.clock.advance(1)
        self.grant(self.server.line)
        self.server.line.packets()
        self.assertEqual([hello], self.server.line.hellos)

    def test_id_and_client_id(self) -> None:
        """Each stands for the other."""
        for options, known_as, id in (
            ({"id": "a"}, b"a", "a"),
            ({"client_id": b"b"}, b"b", "b"),
            ({"id": "a", "client_id": "b"}, b"b", "a"),
        ):
            with self.subTest(options=options):
                self.make_worker(**options).startService()
                line = self.server.line
                line.send(OPTION_RES, b"txgear-1")
                self.assertEqual(("SET_CLIENT_ID", known_as), line.welcome()[0])
                self.assertEqual(id, line.hellos[0]["id"])

    def test_a_server_of_the_classic_protocol(self) -> None:
        self.make_worker(key=KEY).startService()
        self.server.line.welcome()
        self.server.line.packets()
        self.assertEqual([], self.server.line.hellos)

    def test_granted_twice(self) -> None:
        self.start()
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertEqual([], self.server.line.packets())
        self.assertEqual(1, len(self.server.line.hellos))

    def test_a_server_that_does_not_know_it(self) -> None:
        """All is as it would be without."""
        self.start()
        self.server.line.send(ERROR, b"INVALID_COMMAND", b"what?")
        self.assertEqual([], self.server.line.packets())
        self.server.line.send(NO_JOB)
        self.assertEqual([("PRE_SLEEP",)], self.server.line.packets())
        self.assertFalse(self.server.line.ended)

    def test_a_welcome_that_cannot_be_read(self) -> None:
        self.start()
        self.server.line.send(WORKER_WELCOME, b'{"grace": "long"}')
        self.assertTrue(self.server.line.ended)

    def test_mistakes(self) -> None:
        for options, error in (
            ({"key": "secret"}, ValueError),
            ({"runtime": "secret"}, ValueError),
            ({"id": "a b"}, ValueError),
            ({"group": 7}, TypeError),
        ):
            with self.subTest(options=options):
                self.assertNotIn("secret", str(self.assertRaises(error, self.make_worker, **options)))

    def test_the_key_at_a_server(self) -> None:
        """A supervisor, which calls the server by the same name, knows it."""
        server = ScriptedServer(self.clock, "another")
        self.start(server, key=KEY)
        self.assertEqual(key_at(KEY, "another"), server.line.hellos[0]["key"])


class ReadyTests(RunningWorkerTestCase):
    def test_no_job(self) -> None:
        worker = self.make_worker()
        ready = worker.when_ready()
        worker.startService()
        line = self.server.line
        line.send(OPTION_RES, b"txgear-1")
        line.welcome()
        self.assertNoResult(ready)
        self.assertFalse(worker.ready)
        line.send(NO_JOB)
        self.successResultOf(ready)
        self.assertTrue(worker.ready)
        self.successResultOf(worker.when_ready())

    def test_a_job(self) -> None:
        worker = self.start()
        self.assign(self.server.line, b"H:1")
        self.assertTrue(worker.ready)

    def test_the_connection_is_lost(self) -> None:
        worker = self.start()
        self.server.line.send(NO_JOB)
        self.server.line.lose()
        self.assertFalse(worker.ready)
        ready = worker.when_ready()
        self.clock.advance(1)
        self.grant(self.server.line)
        self.assertNoResult(ready)
        self.server.line.send(NO_JOB)
        self.successResultOf(ready)

    def test_not_waited_for_any_more(self) -> None:
        worker = self.start()
        waiting, other = worker.when_ready(), worker.when_ready()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.server.line.send(NO_JOB)
        self.successResultOf(other)


class FunctionsTests(RunningWorkerTestCase):
    def test_unregister(self) -> None:
        """What is in hand is done, and so is what comes on the way."""
        worker = self.start(concurrency=3)
        line = self.server.line
        self.assign(line, b"H:1")
        line.packets()
        worker.unregister("f")
        self.assertEqual([("CANT_DO", b"f"), STATE], line.packets())
        self.assertFalse(line.states[-1]["functions"][0]["in_use"])
        self.assign(line, b"H:2")
        self.assertEqual([b"H:1", b"H:2"], [job.handle for job in self.jobs])
        for result in self.results:
            result.callback(b"r")
        self.assertIn(("WORK_COMPLETE", b"H:2", b"r"), line.packets())

    def test_a_classic_server_is_told_when_none_is_in_hand(self) -> None:
        """It would give them to another worker. Meanwhile it is asked for nothing."""
        worker = self.make_worker(concurrency=2)
        worker.register("f", self.wait)
        worker.startService()
        line = self.server.line
        line.welcome()
        line.packets()
        self.assign(line, b"H:1")
        line.send(NO_JOB)
        line.packets()
        worker.unregister("f")
        line.send(NOOP)
        self.assertEqual([], line.packets())
        self.results[0].callback(b"r")
        kinds = [packet[0] for packet in line.packets()]
        self.assertEqual(["WORK_COMPLETE", "CANT_DO"], kinds[:2])
        self.assertTrue(kinds[2].startswith("GRAB_JOB"), kinds)

    def test_a_classic_server_that_has_been_asked(self) -> None:
        """It may give one more, which would be lost."""
        worker = self.make_worker()
        worker.register("f", self.wait)
        worker.startService()
        line = self.server.line
        line.welcome()
        line.packets()
        worker.unregister("f")
        self.assertEqual([], line.packets())
        line.send(NO_JOB)
        self.assertEqual([("PRE_SLEEP",), ("CANT_DO", b"f")], line.packets())
        worker.register("f", self.wait)
        self.assertEqual(("CAN_DO", b"f"), line.packets()[0])
        worker.unregister("f")
        worker.register("f", self.wait)
        line.send(NO_JOB)
        self.assertNotIn(("CANT_DO", b"f"), line.packets())

    def test_of_a_function_that_is_none(self) -> None:
        worker = self.start()
        self.assertRaises(ValueError, worker.unregister, "g")
        worker.unregister("f")
        self.assertRaises(ValueError, worker.unregister, "f")
        self.assertRaises(TypeError, worker.unregister, 7)

    def test_not_registered_when_it_connects_again(self) -> None:
        worker = self.start()
        worker.unregister(b"f")
        self.server.line.lose()
        self.clock.advance(1)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertNotIn(("CAN_DO", b"f"), self.server.line.welcome())

    def test_register_again(self) -> None:
        """With another call, for instance."""
        worker = self.start()
        line = self.server.line
        line.send(NO_JOB)
        worker.unregister("f")
        line.packets()
        worker.register("f", lambda job: b"new", timeout=30)
        self.assertEqual([("CAN_DO_TIMEOUT", b"f", b"30000"), STATE, GRAB], line.packets())
        self.assign(line, b"H:1")
        self.assertIn(("WORK_COMPLETE", b"H:1", b"new"), line.packets())

    def test_told(self) -> None:
        worker = self.start()
        self.assertEqual(("done", "It was registered already"), self.tell(b"register", b"f"))
        self.assign(self.server.line, b"H:1")
        self.assertEqual(("done", "1 job is finished first"), self.tell(b"unregister", b"f"))
        self.assertEqual(("done", "It was not registered"), self.tell(b"unregister", b"f"))
        self.assertRaises(ValueError, worker.unregister, "f")
        self.results[0].callback(None)
        self.server.line.packets()
        self.server.line.send(STEER, b"8", b"register", b"f")
        self.assertEqual(("CAN_DO", b"f"), self.server.line.packets()[0])
        self.assertEqual(("done", ""), self.tell(b"unregister", b"f"))

    def test_told_of_one_that_it_does_not_know(self) -> None:
        self.start()
        for word in (b"register", b"unregister"):
            for name in (b"g", b"", b"\xff"):
                with self.subTest(word=word, name=name):
                    self.assertEqual(("refused", "It does not know this function"), self.tell(word, name))


class ConcurrencyTests(RunningWorkerTestCase):
    def test_more(self) -> None:
        """They are asked for at once."""
        worker = self.start()
        line = self.server.line
        self.assign(line, b"H:1")
        line.packets()
        worker.concurrency = 2
        self.assertEqual([STATE, GRAB], line.packets())
        self.assertEqual((2, 2), (worker.concurrency, line.states[-1]["concurrency"]))

    def test_less(self) -> None:
        """What runs is finished."""
        worker = self.start(concurrency=2)
        line = self.server.line
        self.assign(line, b"H:1")
        self.assign(line, b"H:2")
        worker.concurrency = 1
        line.packets()
        self.results[0].callback(b"")
        self.assertEqual([("WORK_COMPLETE", b"H:1", b"")], line.packets())
        self.results[1].callback(b"")
        self.assertEqual([("WORK_COMPLETE", b"H:2", b""), GRAB], line.packets())

    def test_mistakes(self) -> None:
        worker = self.start()
        for wrong, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
            with self.subTest(wrong=wrong):
                self.assertRaises(error, setattr, worker, "concurrency", wrong)
        self.assertEqual(1, worker.concurrency)

    def test_told(self) -> None:
        worker = self.start()
        self.assertEqual(("done", "2 jobs at once"), self.tell(b"grow"))
        self.assertEqual(2, worker.concurrency)
        self.assertEqual(("done", "1 job at once"), self.tell(b"shrink"))
        refused, why = self.tell(b"shrink")
        self.assertEqual("refused", refused)
        self.assertIn("one job at a time already", why)


class OwnWordsTests(RunningWorkerTestCase):
    def test_one_more(self) -> None:
        worker = self.start()
        said: list[bytes] = []
        worker.on_word("restart", said.append)
        self.assertIn("restart", self.state["words"])
        self.assertEqual(("done", ""), self.tell(b"restart", b"now"))
        self.assertEqual([b"now"], said)

    def test_in_place_of_one(self) -> None:
        worker = self.start(concurrency=2)

        def refuse(_: bytes) -> None:
            raise Refused("There are 8 processes already")

        worker.on_word("grow", refuse)
        self.assertEqual(("refused", "There are 8 processes already"), self.tell(b"grow"))
        self.assertEqual(2, worker.concurrency)

    def test_answered_when_the_connection_is_gone(self) -> None:
        """Nobody waits for it there."""
        later: Deferred[None] = Deferred()
        self.start().on_word("restart", lambda _: later)
        line = self.server.line
        line.send(STEER, b"7", b"restart", b"")
        line.lose()
        line.packets()
        later.callback(None)
        self.assertEqual([], line.packets())

    def test_mistakes(self) -> None:
        worker = self.start()
        self.assertRaises(ValueError, worker.on_word, "Restart!", print)
        self.assertRaises(TypeError, worker.on_word, "restart", 7)


class StateTests(RunningWorkerTestCase):
    def test_all_of_it(self) -> None:
        worker = self.start(concurrency=3)
        worker.register("g", self.wait)
        self.assertEqual(
            {
                "words": ["pause", "resume", "stop", "grow", "shrink", "register", "unregister"],
                "paused": False,
                "concurrency": 3,
                "functions": [
                    {"name": name, "in_use": True, "done": 0, "failed": 0, "active": 0} for name in "fg"
                ],
            },
            {name: value for name, value in self.state.items() if name != "memory"},
        )

    def test_counts(self) -> None:
        """They come every ten seconds, as long as they change."""
        self.start(concurrency=3)
        line = self.server.line
        self.assign(line, b"H:1")
        self.assertNotIn(STATE, line.packets())
        self.clock.advance(10)
        self.assertEqual([STATE], line.packets())
        self.assertEqual(1, line.states[-1]["functions"][0]["active"])
        self.clock.advance(10)
        self.assertEqual([], line.packets())
        self.results[0].callback(None)
        line.packets()
        self.clock.advance(9.9)
        self.assertNotIn(STATE, line.packets())
        self.clock.advance(0.1)
        self.assertIn(STATE, line.packets())
        self.assertEqual(0, line.states[-1]["functions"][0]["active"])

    def test_nobody_to_tell(self) -> None:
        """It is looked at again when there is somebody."""
        self.start()
        self.server.refusing = True
        self.server.line.lose()
        self.clock.pump([10, 10, 10])
        self.server.refusing = False
        self.clock.advance(10)
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.server.line.send(NOOP)
        self.server.line.welcome()
        self.assertIn(STATE, self.server.line.packets())

    def test_before_the_first_answer(self) -> None:
        worker = self.make_worker()
        worker.startService()
        worker.concurrency = 2
        self.server.line.send(OPTION_RES, b"txgear-1")
        self.assertNotIn(STATE, self.server.line.packets())
        self.server.line.send(ECHO_RES, b"txgear")
        self.assertEqual([STATE, GRAB], self.server.line.packets())
