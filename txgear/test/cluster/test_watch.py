"""Tests of L{txgear.cluster.watch}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import Lease
from txgear.cluster.watch import FREE_SECONDS, GAP, JITTER, LEAST, LOOK_SECONDS, Watch
from txgear.stores.looks import SLOW

LENGTH = 8.0


def lease(part: int, beat: int = 0, owner: bytes = b"other", *, term: int = 1, ours: bool = False) -> Lease:
    return Lease(part, owner, term, beat, is_ours=ours)


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 100.0
        self.chance = 0.0
        self.watch = Watch(LENGTH, lambda: self.chance)

    def look(self, *leases: Lease, after: float = 1.0, takes: float = 0.0) -> list[int]:
        """Look, so many seconds after the last time: the parts that may be taken."""
        asked = self.now + after
        self.now = asked + takes
        return [each.part for each in self.watch.looked(leases, asked, self.now)]

    def stand_still(self, *leases: Lease, seconds: int) -> None:
        for _ in range(seconds):
            self.assertEqual(self.look(*leases), [])

    def test_one_that_stands_still(self) -> None:
        self.look(lease(2))
        self.stand_still(lease(2), seconds=7)
        self.assertEqual(self.look(lease(2), after=0.99), [])
        self.assertEqual(self.look(lease(2), lease(3), after=0.02), [2])

    def test_one_that_moves(self) -> None:
        self.look(lease(2), lease(3))
        self.stand_still(lease(2), lease(3), seconds=7)
        self.assertEqual(self.look(lease(2, beat=1), lease(3)), [3])
        self.stand_still(lease(2, beat=1), seconds=7)
        self.assertEqual(self.look(lease(2, beat=1)), [2])

    def test_all_that_moves(self) -> None:
        for moved in (lease(2, beat=1), lease(2, term=2), lease(2, owner=b"third"), lease(2, beat=-1)):
            self.watch = Watch(LENGTH, lambda: 0.0)
            self.look(lease(2))
            self.stand_still(lease(2), seconds=7)
            self.assertEqual(self.look(moved), [])

    def test_it_counts_from_the_end_of_the_first_look(self) -> None:
        self.look(lease(2), takes=0.5)
        self.stand_still(lease(2), seconds=7)
        self.assertEqual(self.look(lease(2), after=0.9, takes=0.5), [])
        self.assertEqual(self.look(lease(2), after=0.1), [2])

    def test_ours(self) -> None:
        self.look(lease(2, ours=True))
        self.stand_still(lease(2, ours=True), seconds=20)

    def test_nobodys(self) -> None:
        """Their workers have a moment to offer what they have of it."""
        self.chance = 0.0
        free = lease(1, owner=b"")
        self.assertEqual(self.look(free, lease(2)), [])
        self.assertEqual(self.watch.pause(self.now), FREE_SECONDS)
        self.assertEqual(self.look(free, lease(2), after=FREE_SECONDS - 0.01), [])
        self.assertEqual(self.look(free, lease(2), after=0.01), [1])

    def test_a_slow_look_begins_all_anew(self) -> None:
        self.look(lease(2))
        self.stand_still(lease(2), seconds=7)
        self.assertEqual(self.look(lease(2), takes=SLOW + 0.1), [])
        self.stand_still(lease(2), seconds=7)
        self.assertEqual(self.look(lease(2)), [2])

    def test_a_slow_look_in_between(self) -> None:
        self.look(lease(2))
        self.stand_still(lease(2), seconds=3)
        self.assertEqual(self.look(lease(2), takes=SLOW + 0.1), [])
        self.stand_still(lease(2), seconds=7)
        self.assertEqual(self.look(lease(2)), [2])

    def test_a_failed_one_begins_all_anew(self) -> None:
        self.look(lease(2))
        self.stand_still(lease(2), seconds=7)
        self.watch.failed()
        self.stand_still(lease(2), seconds=8)
        self.assertEqual(self.look(lease(2)), [2])

    def test_none_for_long(self) -> None:
        """As when this process was stopped."""
        self.look(lease(2))
        self.assertEqual(self.look(lease(2), after=GAP + LENGTH), [])
        self.stand_still(lease(2), seconds=7)
        self.assertEqual(self.look(lease(2)), [2])

    def test_one_that_is_gone_and_comes_back(self) -> None:
        self.look(lease(2))
        self.stand_still(seconds=7)
        self.stand_still(lease(2), seconds=8)
        self.assertEqual(self.look(lease(2)), [2])

    def test_when_to_look(self) -> None:
        self.chance = 1.0
        self.assertEqual(self.watch.pause(self.now), LOOK_SECONDS)
        self.look(lease(2), lease(3, ours=True))
        self.assertEqual(self.watch.pause(self.now), LOOK_SECONDS)
        self.stand_still(lease(2), seconds=7)
        self.assertEqual(self.watch.pause(self.now - 0.01), LOOK_SECONDS)
        self.assertEqual(self.watch.pause(self.now + 0.25), 0.75 + JITTER)
        self.chance = 0.5
        self.assertEqual(self.watch.pause(self.now + 0.25), 0.75 + JITTER / 2)
        self.chance = 0.0
        self.assertEqual(self.watch.pause(self.now + 2), LEAST)
        self.assertEqual(self.look(lease(2)), [2])
        self.assertEqual(self.watch.pause(self.now), LOOK_SECONDS)
        self.assertGreater(GAP, LOOK_SECONDS + JITTER + SLOW)

    def test_the_first_that_ends(self) -> None:
        self.look(lease(2))
        self.look(lease(2), lease(3), after=0.25)
        self.stand_still(lease(2), lease(3), seconds=7)
        self.assertEqual(self.watch.pause(self.now), 0.75)

    def test_for_how_long(self) -> None:
        self.assertEqual(self.watch.stood(2, self.now), 0.0)
        self.look(lease(2))
        self.look(lease(2))
        self.assertEqual(self.watch.stood(2, self.now + 0.5), 1.5)
