from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import InLane, Lane, WithUnique
from txgear.broker.rows.walks import PAGE, Walk
from txgear.test.support.broker import record

FIRST, SECOND = Lane(b"f", "", 0), Lane(b"f", "t", 1)


class WalkTests(SynchronousTestCase):
    def test_nothing(self) -> None:
        self.assertIsNone(Walk((), 9).question)

    def test_page_by_page_and_lane_by_lane(self) -> None:
        walk = Walk((FIRST, SECOND), 9, 2)
        self.assertEqual(walk.question, InLane(FIRST, 0, 2))
        self.assertEqual(walk.go_on([record(1), record(2, 4)]), [1, 2])
        self.assertEqual(walk.question, InLane(FIRST, 4, 2))
        self.assertEqual(walk.go_on([record(3, 5)]), [3])
        self.assertEqual(walk.question, InLane(SECOND, 0, 2))
        self.assertEqual(walk.go_on([]), [])
        self.assertIsNone(walk.question)

    def test_by_a_unique(self) -> None:
        walk = Walk((b"u", FIRST), 9, 2)
        self.assertEqual(walk.question, WithUnique(b"u", 0, 2))
        self.assertEqual(walk.go_on([record(1), record(2)]), [1, 2])
        self.assertEqual(walk.question, WithUnique(b"u", 2, 2))
        self.assertEqual(walk.go_on([record(3, 12), record(4, 13)]), [])
        self.assertEqual(walk.question, InLane(FIRST, 0, 2))

    def test_those_that_come_later_are_none(self) -> None:
        walk = Walk((FIRST,), 9, 2)
        self.assertEqual(walk.go_on([record(1, 9), record(2, 10)]), [1])
        self.assertIsNone(walk.question)
        self.assertEqual(Walk((FIRST,), 9).question, InLane(FIRST, 0, PAGE))
