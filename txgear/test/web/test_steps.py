"""Tests of L{txgear.web.steps}."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, Cooperator
from twisted.trial.unittest import SynchronousTestCase

from txgear.web.answers import Answer
from txgear.web.steps import at_once_or_in_steps, in_steps


class StepsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.cooperator = Cooperator(
            terminationPredicateFactory=lambda: lambda: True,
            scheduler=lambda call: self.clock.callLater(1, call),
        )
        self.done = 0

    def steps(self, count: int, fails: bool = False) -> Iterator[None]:
        """So much to be done, with a break between two pieces."""
        for number in range(count):
            if number:
                yield
            self.done += 1
        if fails:
            raise ValueError("a step")

    def answer(self) -> Answer:
        return Answer(self.done)

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.clock.advance(1)

    def waiting(self, count: int = 3, fails: bool = False) -> Deferred[Answer | None]:
        return in_steps(self.cooperator, self.steps(count, fails), self.answer)

    def test_one_in_each_turn(self) -> None:
        waiting = self.waiting()
        for done in range(3):
            self.assertEqual(self.done, done)
            self.assertNoResult(waiting)
            self.turn()
        self.assertEqual(self.successResultOf(waiting), Answer(3))

    def test_what_goes_wrong(self) -> None:
        waiting = self.waiting(fails=True)
        self.turn(3)
        self.failureResultOf(waiting, ValueError)

    def test_nobody_waits_any_more(self) -> None:
        waiting = self.waiting()
        self.turn()
        waiting.cancel()
        self.assertEqual((self.successResultOf(waiting), self.done), (None, 1))

    def test_the_server_ends(self) -> None:
        waiting = self.waiting()
        self.cooperator.stop()
        self.assertEqual((self.successResultOf(waiting), self.done), (None, 0))

    def test_what_is_done_at_once(self) -> None:
        found = at_once_or_in_steps(self.cooperator, self.steps(1), self.answer)
        self.assertEqual((found, self.clock.getDelayedCalls()), (Answer(1), []))

    def test_the_first_is_done_at_once_in_any_case(self) -> None:
        found = at_once_or_in_steps(self.cooperator, self.steps(2), self.answer)
        assert isinstance(found, Deferred)
        self.assertEqual(self.done, 1)
        self.turn(2)
        self.assertEqual(self.successResultOf(found), Answer(2))
