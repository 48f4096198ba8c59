"""Tests of L{txgear.server.steering}, and of its packets on the Gearman port."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.about import State, Told
from txgear.broker.model import Peer
from txgear.errors import ArgumentTooLarge, InvalidArgument, ServerError
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    MAX_OPTIONS,
    NOOP,
    OPTION_REQ,
    PRE_SLEEP,
    STEER,
    STEERED,
    WORKER_STATE,
)
from txgear.protocol.packets import request, response
from txgear.server.steering import ANSWER_SECONDS, MOST_ASKED, MOST_TEXT, MOST_WORDS, read_state
from txgear.test.support.net import error
from txgear.test.support.server import FakePeer, ServerFixture, submit


def state(**said: object) -> bytes:
    return request(WORKER_STATE, json.dumps(said).encode())


class SteeringTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.server, self.clock = self.fixture.server, self.fixture.clock
        self.line = self.extended()
        self.worker: Peer = self.line.protocol.peer

    def extended(self) -> FakePeer:
        line = self.fixture.connect()
        line.ask(request(OPTION_REQ, b"txgear-1"), request(CAN_DO, b"f"), state(words=["pause", "x"]))
        return line

    def ask(self, word: str = "pause", argument: bytes = b"") -> Deferred[str]:
        answered = self.server.steering.ask(self.worker, word, argument)
        self.server.end_turn()
        return answered

    def failed(self, answered: Deferred[str]) -> tuple[str, str]:
        failure = self.failureResultOf(answered, ServerError).value
        assert isinstance(failure, ServerError)
        return failure.code, failure.text

    def refused(self, word: str) -> tuple[str, str]:
        with self.assertRaises(ServerError) as caught:
            _ = self.ask(word)
        return caught.exception.code, caught.exception.text


class AskTests(SteeringTestCase):
    def test_it_is_told_and_answers(self) -> None:
        answered = self.ask(argument=b"a\0b")
        self.assertEqual(self.line.heard(), response(STEER, b"1", b"pause", b"a\0b"))
        self.assertNoResult(answered)
        self.assertEqual(self.line.ask(request(STEERED, b"1", b"done", b"2 jobs first")), b"")
        self.assertEqual(self.successResultOf(answered), "2 jobs first")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_has_its_own_answer(self) -> None:
        first, second = self.ask("pause"), self.ask("x")
        self.line.tell(request(STEERED, b"2", b"done", b"two"), request(STEERED, b"1", b"done", b""))
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), ("", "two"))

    def test_it_refuses(self) -> None:
        answered, other, third = self.ask(), self.ask(), self.ask()
        self.line.tell(request(STEERED, b"1", b"refused", b"not \xff now"))
        self.assertEqual(self.failed(answered), ("REFUSED_BY_WORKER", "not \\xff now"))
        self.line.tell(request(STEERED, b"2", b"what", b""))
        self.assertEqual(self.failed(other), ("REFUSED_BY_WORKER", "It does not say why"))
        self.line.tell(request(STEERED, b"3", b"done", b"x" * 100_000))
        self.assertEqual(self.successResultOf(third), "x" * MOST_TEXT)

    def test_it_does_not_answer(self) -> None:
        answered = self.ask()
        self.line.heard()
        self.clock.advance(ANSWER_SECONDS - 1)
        self.assertNoResult(answered)
        self.clock.advance(1)
        text = "The worker has not answered for 10 seconds; it may still do it"
        self.assertEqual(self.failed(answered), ("NOT_ANSWERED", text))
        # The answer that comes late is nobody's.
        self.assertEqual(self.line.ask(request(STEERED, b"1", b"done", b"")), b"")

    def test_answers_to_nothing(self) -> None:
        answered = self.ask()
        self.line.heard()
        for number in (b"2", b"", b"-1", b"x", b"1x", b"9" * 5000):
            with self.subTest(number=number[:10]):
                self.assertEqual(self.line.ask(request(STEERED, number, b"done", b"")), b"")
        stranger = self.extended()
        self.assertEqual(stranger.ask(request(STEERED, b"1", b"done", b"")), b"")
        self.assertNoResult(answered)
        self.server.steering.left(self.worker)
        self.failed(answered)

    def test_it_goes(self) -> None:
        answered = self.ask()
        self.line.leave()
        self.assertEqual(self.failed(answered), ("WORKER_GONE", "The worker has gone before it answered"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_waits_any_more(self) -> None:
        answered = self.ask()
        answered.cancel()
        self.failureResultOf(answered)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.server.steering._asked, {})

    def test_one_that_has_too_much_to_answer(self) -> None:
        asked = [self.ask() for _ in range(MOST_ASKED)]
        self.assertEqual(self.refused("pause")[0], "TOO_MANY_WORDS")
        self.line.tell(request(STEERED, b"1", b"done", b""))
        self.successResultOf(asked[0])
        more = self.ask()
        self.line.leave()
        for each in (*asked[1:], more):
            self.failed(each)

    def test_one_that_does_not_understand(self) -> None:
        text = "The worker does not understand grow; it understands pause, x"
        self.assertEqual(self.refused("grow"), ("NOT_STEERABLE", text))
        self.worker = self.fixture.connect().protocol.peer
        text = "The worker cannot be steered: it speaks the classic protocol, or does not want to"
        self.assertEqual(self.refused("pause"), ("NOT_STEERABLE", text))
        self.assertEqual(self.line.heard(), b"")


class StateTests(SteeringTestCase):
    def test_paused(self) -> None:
        """It is not woken, and its place is another's."""
        self.line.tell(request(PRE_SLEEP), state(paused=True))
        self.assertEqual((self.worker.words, self.worker.paused), ((), True))
        client = self.fixture.connect()
        client.tell(submit())
        self.assertEqual(self.line.heard(), b"")
        self.line.tell(state(words=["resume"], paused=False), request(PRE_SLEEP))
        self.assertEqual((self.worker.words, self.worker.paused), (("resume",), False))
        self.assertEqual(self.line.heard(), response(NOOP))

    def test_what_is_read(self) -> None:
        self.assertEqual(read_state(b"{}"), State())
        self.assertEqual(
            read_state(b'{"words": ["stop", "a b", "", "stop", "Pause"], "since": 1, "paused": true}'),
            State(("stop",), True),
        )
        functions = b'[{"name":"f\\\\xff","in_use":false,"done":7,"failed":1,"active":2,"x":0},{"name":"g"}]'
        self.assertEqual(
            read_state(b'{"functions":%s,"concurrency":4,"memory":1000}' % functions),
            State(
                (),
                False,
                (Told(b"f\xff", False, 7, 1, 2), Told(b"g", True, 0, 0, 0)),
                concurrency=4,
                memory=1000,
            ),
        )
        many = [f"word-{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(MOST_WORDS + 5)]
        words = read_state(json.dumps({"words": many}).encode()).words
        self.assertEqual(words, tuple(many[:MOST_WORDS]))

    def test_what_makes_no_sense(self) -> None:
        refusals: list[tuple[bytes, type[ServerError]]] = [
            (b"", InvalidArgument),
            (b"[]", InvalidArgument),
            (b"\xff", InvalidArgument),
            (b"[" * 8000, InvalidArgument),
            (b'{"words": "pause"}', InvalidArgument),
            (b'{"words": [1]}', InvalidArgument),
            (b'{"paused": 1}', InvalidArgument),
            (b'{"functions": {}}', InvalidArgument),
            (b'{"functions": ["f"]}', InvalidArgument),
            (b'{"functions": [{"name": 1}]}', InvalidArgument),
            (b'{"functions": [{"name": "\\ud800"}]}', InvalidArgument),
            (b'{"functions": [{"name": "f", "in_use": 1}]}', InvalidArgument),
            (b'{"functions": [{"name": "f", "done": -1}]}', InvalidArgument),
            (b'{"functions": [{"name": "f", "failed": 1.5}]}', InvalidArgument),
            (b'{"functions": [{"name": "f", "active": true}]}', InvalidArgument),
            (b'{"concurrency": "4"}', InvalidArgument),
            (b'{"memory": 9007199254740993}', InvalidArgument),
            (b" " * (MAX_OPTIONS + 1), ArgumentTooLarge),
        ]
        for options, kind in refusals:
            with self.subTest(options=options[:20]):
                self.assertRaises(kind, read_state, options)

    def test_it_is_told_so_and_stays(self) -> None:
        self.assertEqual(
            self.line.ask(request(WORKER_STATE, b"[]"), request(ECHO_REQ, b"x")),
            error(b"INVALID_ARGUMENT", b"The state is no JSON object") + response(ECHO_RES, b"x"),
        )
        self.assertEqual(self.worker.words, ("pause", "x"))

    def test_what_only_the_server_sends(self) -> None:
        self.assertEqual(
            self.line.ask(request(STEER, b"1", b"pause", b"")),
            error(b"INVALID_COMMAND", b"Command not expected"),
        )
        self.assertEqual(
            self.line.ask(request(STEERED, b"1")), error(b"INVALID_PACKET", b"STEERED lacks arguments")
        )

    def test_only_who_has_asked_for_it_may_say_it(self) -> None:
        line: Any = self.fixture.connect()
        line.tell(state(words=["pause"]))
        self.assertTrue(line.closed)
        self.assertEqual(line.protocol.peer.words, ())
