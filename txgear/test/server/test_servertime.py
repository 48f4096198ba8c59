"""Tests of L{txgear.server.servertime}."""

from __future__ import annotations

from math import inf

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.timers import LOOK_SECONDS, Timers
from txgear.server.servertime import STEP_SECONDS, ServerTime
from txgear.test.support.clock import START, FakeWallClock


class ServerTimeTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.wall = FakeWallClock(self.clock)
        self.timers = Timers()
        self.due: list[float] = []
        self.time = ServerTime(self.clock, self.wall, self.timers, self.due.append)

    def left(self) -> list[float]:
        """How many seconds are left of each timer."""
        return [call.getTime() - self.clock.seconds() for call in self.clock.getDelayedCalls()]


class TimesTests(ServerTimeTestCase):
    def test_both_are_the_same_at_first(self) -> None:
        self.assertEqual((START, START), (self.time.seconds(), self.time.wall_clock()))

    def test_nobody_can_set_the_server_s(self) -> None:
        self.time.seconds()
        self.wall.ahead = 3600.0
        self.assertEqual((START, START + 3600), (self.time.seconds(), self.time.wall_clock()))

    def test_the_wall_clock_is_looked_at_from_time_to_time(self) -> None:
        self.time.seconds()
        self.wall.ahead = 3600.0
        self.clock.advance(LOOK_SECONDS - 0.25)
        self.time.seconds()
        self.assertEqual(0.0, self.timers.offset)
        self.clock.advance(0.25)
        self.time.seconds()
        self.assertEqual(3600.0, self.timers.offset)

    def test_two_readings_are_not_of_the_same_moment(self) -> None:
        self.wall.ahead = STEP_SECONDS / 2
        self.assertEqual(START, self.time.wall_clock())
        self.wall.ahead = STEP_SECONDS * 2
        self.assertEqual(START + STEP_SECONDS * 2, self.time.wall_clock())


class TimerTests(ServerTimeTestCase):
    def test_none_at_first(self) -> None:
        self.assertEqual((inf, []), (self.time.timer_at, self.left()))

    def test_it_goes_off_once(self) -> None:
        self.time.set_timer(START + 5)
        self.assertEqual((START + 5, [5]), (self.time.timer_at, self.left()))
        self.clock.advance(5)
        self.assertEqual([START + 5], self.due)
        self.assertEqual((inf, []), (self.time.timer_at, self.left()))

    def test_an_earlier_one_takes_its_place(self) -> None:
        self.time.set_timer(START + 5)
        self.time.set_timer(START + 2)
        self.assertEqual([2], self.left())

    def test_what_is_over_is_now(self) -> None:
        self.time.set_timer(START - 5)
        self.assertEqual([0], self.left())

    def test_it_looks_at_the_wall_clock(self) -> None:
        """What is due may be due by that one."""
        self.time.seconds()
        self.time.set_timer(START + LOOK_SECONDS / 2)
        self.wall.ahead = -3600.0
        self.clock.advance(LOOK_SECONDS / 2)
        self.assertEqual(-3600.0, self.timers.offset)

    def test_stopped(self) -> None:
        """No deadline is early enough for another one."""
        for set_before in (False, True):
            with self.subTest(set_before=set_before):
                if set_before:
                    self.time.set_timer(START + 5)
                self.time.stop()
                self.assertEqual((-inf, []), (self.time.timer_at, self.left()))
