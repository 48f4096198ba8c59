"""
Tests for L{txgear.net.steady}: timers that are right whatever happens to the clock and to the process.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txgear.net.steady import Steady, steady


class SteadyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Clock()
        self.now = 1000.0
        self.steady = Steady(self.reactor, lambda: self.now)
        self.seen: list[Any] = []

    def later(self, seconds: float, what: object = "called") -> IDelayedCall:
        return self.steady.callLater(seconds, self.seen.append, what)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.reactor.advance(seconds)

    def test_in_time(self) -> None:
        call = self.later(5)
        self.assertEqual((1005.0, True), (call.getTime(), call.active()))
        self.advance(4.9)
        self.assertEqual([], self.seen)
        self.advance(0.1)
        self.assertEqual((["called"], False), (self.seen, call.active()))
        self.assertRaises(AlreadyCalled, call.cancel)

    def test_reactor_set_forward(self) -> None:
        """It waits for the rest."""
        self.later(60)
        self.reactor.advance(120)
        self.assertEqual([], self.seen)
        self.advance(59)
        self.assertEqual([], self.seen)
        self.advance(1)
        self.assertEqual(["called"], self.seen)

    def test_late(self) -> None:
        """After a pause the reactor reads first: what is called in its turn comes before."""
        self.later(1)
        self.reactor.callLater(60, self.seen.append, "read")
        self.advance(60)
        self.assertEqual(["read", "called"], self.seen)

    def test_hardly_late(self) -> None:
        self.later(1)
        self.reactor.callLater(1.05, self.seen.append, "read")
        self.advance(1.05)
        self.assertEqual(["called", "read"], self.seen)

    def test_cancel(self) -> None:
        """At any time, also when it was late or early."""
        for seconds, clock in ((0.0, 0.0), (0.0, 60.0), (60.0, 59.0)):
            call = self.later(5)
            self.now += seconds
            if clock:
                self.reactor.rightNow += clock
                self.reactor.calls.pop(0).func()
            call.cancel()
            self.assertFalse(call.active())
            self.assertRaises(AlreadyCancelled, call.cancel)
            self.advance(100)
        self.assertEqual([], self.seen)

    def test_other_time(self) -> None:
        call = self.later(5)
        call.reset(10)
        self.assertEqual(1010.0, call.getTime())
        call.delay(5)
        self.assertEqual(1015.0, call.getTime())
        self.advance(14.9)
        self.assertEqual([], self.seen)
        self.advance(0.1)
        self.assertEqual(["called"], self.seen)

    def test_arguments(self) -> None:
        self.steady.callLater(0, lambda *args, **kwargs: self.seen.append((args, kwargs)), 1, two=2)
        self.advance(0)
        self.assertEqual([((1,), {"two": 2})], self.seen)

    def test_interfaces(self) -> None:
        """Twisted's own helpers take it for a reactor."""
        verifyObject(IReactorTime, self.steady)
        verifyObject(IDelayedCall, self.later(1))
        self.assertEqual(1, len(self.steady.getDelayedCalls()))
        waiting: Deferred[None] = deferLater(self.steady, 2)
        self.advance(2)
        self.successResultOf(waiting)

    def test_which(self) -> None:
        """Twisted's reactors have the wall clock; a test's clock is steady."""

        class Reactor(ReactorBase):
            def installWaker(self) -> None:
                """It is never woken."""

        self.assertIs(self.reactor, steady(self.reactor))
        self.assertIsInstance(steady(Reactor()), Steady)
