"""Tests of L{txgear.stores.parts}, and of what is found in some of several."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.keys import HASH_BITS, hash_of
from txgear.broker.records import (
    LAST_NUMBER,
    Batch,
    ByKey,
    ByNumber,
    InLane,
    InOrder,
    JobChange,
    Lane,
    LaneCount,
    LastInLane,
    Question,
    Waking,
    WithUnique,
)
from txgear.protocol.constants import HIGH, NORMAL
from txgear.stores.parts import PART_NUMBERS, WHOLE, Part, Parts, first_above
from txgear.stores.sql import SqlStore
from txgear.test.support.batches import adding, deleting
from txgear.test.support.storequestions import Indexed, job

SALT = b"0123456789abcdef"
LANE = Lane(b"f", "", NORMAL)

ONE = Part(1, 0, 1000)
TWO = Part(2, 1000, 2000)
THREE = Part(3, 2000, 3000)


class RangeTests(SynchronousTestCase):
    def test_one_has_all_numbers(self) -> None:
        parts = Parts(SALT)
        self.assertEqual((parts.all, parts.bounds), ([WHOLE], ()))
        self.assertTrue(all(number in parts for number in (1, PART_NUMBERS, LAST_NUMBER)))
        self.assertIs(parts.places(LAST_NUMBER), parts.home)

    def test_several(self) -> None:
        parts = Parts(SALT, [THREE, ONE])
        self.assertEqual((parts.all, parts.bounds), ([ONE, THREE], (0, 1000, 2000, 3000)))
        inside = [number for number in (0, 1, 999, 1000, 1999, 2000, 2999, 3000) if number in parts]
        self.assertEqual(inside, [0, 1, 999, 2000, 2999])
        self.assertNotIn(-1, parts)
        self.assertIs(parts.places(2000), parts.home)
        self.assertIsNot(parts.places(999), parts.home)

    def test_those_that_are_in_none(self) -> None:
        parts = Parts(SALT, [THREE, ONE])
        self.assertEqual(parts.without([]), set())
        self.assertEqual(parts.without([2000, 2999]), set())
        self.assertEqual(parts.without([5, 2000]), set())
        self.assertEqual(parts.without([2999, 3000, 999, 1000, 0]), {1000, 3000})
        self.assertEqual(parts.without({-1}), {-1})

    def test_one_of_several(self) -> None:
        parts = Parts(SALT, [TWO])
        self.assertEqual(parts.bounds, (1000, 2000))
        self.assertIs(parts.places(1500), parts.home)

    def test_each_numbers_its_lanes(self) -> None:
        """The first as a server does that has its store for itself."""
        alone, both = Parts(SALT).lanes(LANE), Parts(SALT, [ONE, TWO]).lanes(LANE)
        self.assertEqual(both[:1], alone)
        self.assertEqual(both[1:], Parts(SALT, [TWO]).lanes(LANE))
        self.assertEqual(len(set(both)), 2)

    def test_a_new_one_is_above_all(self) -> None:
        firsts = [first_above(number) for number in (0, PART_NUMBERS - 1, PART_NUMBERS)]
        self.assertEqual(firsts, [PART_NUMBERS, PART_NUMBERS, 2 * PART_NUMBERS])


class FoundTests(SynchronousTestCase):
    """Three parts of one store, each with jobs of the same function, and with the same uniques."""

    def setUp(self) -> None:
        self.store = SqlStore(Indexed(os.path.realpath(self.mktemp())))
        self.addCleanup(lambda: self.store.close(None))
        self.store.open()
        self.salt = os.urandom(16)
        for part in (ONE, TWO, THREE):
            self.have(part)
            numbers = range(part.first + 1, part.first + 4)
            new = [
                job(number, unique=b"u%d" % (number % 1000), size=1, wake=number % 1000) for number in numbers
            ]
            self.store.write(adding(*new))

    def have(self, *parts: Part) -> None:
        """These are ours."""
        self.store._parts = Parts(self.salt, parts)
        self.store._lanes.forget()
        self.store._questions.forget()

    def found(self, question: Question) -> list[int]:
        return [each.number for each in self.store.rows(question)]

    def test_of_one_as_if_there_were_no_other(self) -> None:
        self.have(TWO)
        self.assertEqual(self.store.lanes(), [LaneCount(LANE, 3, 3)])
        self.assertEqual(self.found(InLane(LANE, 0, 2)), [1001, 1002])
        self.assertEqual(self.found(InLane(LANE, 1002, 2)), [1003])
        self.assertEqual(self.found(LastInLane(LANE)), [1003])
        self.assertEqual(self.found(InOrder(0, 9)), [1001, 1002, 1003])
        self.assertEqual(self.found(ByNumber([1, 1001, 2001])), [1001])
        self.assertEqual(self.found(ByKey([b"u1"])), [1001])
        self.assertEqual(self.found(WithUnique(b"u1", 0, 9)), [1001])
        self.assertEqual(self.found(Waking(9.0, (0.0, 0), 2)), [1001, 1002])
        self.assertEqual(self.found(Waking(9.0, (2.0, 0), 2)), [1002, 1003])
        hashes = [hash_ & (1 << HASH_BITS) - 1 for hash_ in self.store.hashes(-1, 9)]
        self.assertEqual(sorted(hashes), sorted(hash_of(unique) for unique in (b"u1", b"u2", b"u3")))

    def test_several_are_as_one(self) -> None:
        self.have(THREE, ONE)
        self.assertEqual(self.store.lanes(), [LaneCount(LANE, 6, 6)])
        self.assertEqual(self.found(InLane(LANE, 0, 4)), [1, 2, 3, 2001])
        self.assertEqual(self.found(InLane(LANE, 3, 4)), [2001, 2002, 2003])
        self.assertEqual(self.found(LastInLane(LANE)), [2003])
        self.assertEqual(self.found(InOrder(1, 3)), [2, 3, 2001])
        self.assertEqual(self.found(InOrder(2001, 3)), [2002, 2003])
        self.assertEqual(sorted(self.found(ByNumber([1, 1001, 2001]))), [1, 2001])
        self.assertEqual(sorted(self.found(ByKey([b"u1"]))), [1, 2001])
        self.assertEqual(self.found(WithUnique(b"u1", 0, 9)), [1, 2001])
        self.assertEqual(self.found(Waking(9.0, (0.0, 0), 3)), [1, 2001, 2])
        self.assertEqual(len(self.store.hashes(-1, 9)), 6)

    def test_places_are_in_one_order(self) -> None:
        """Whatever part they are in."""
        self.have(ONE, TWO)
        self.store.write(adding(job(4, place=1900, size=0), job(5, place=900, size=0)))
        self.assertEqual(self.found(InLane(LANE, 0, 9)), [1, 2, 3, 5, 1001, 1002, 1003, 4])

    def test_what_changes_stays_in_its_part(self) -> None:
        self.have(ONE, TWO)
        self.store.write(Batch((), (), (), changes=[JobChange(1, b"g", HIGH, None, unique=b"u1")]))
        self.store.write(deleting([2, 1001]))
        moved = Lane(b"g", "", HIGH)
        self.assertCountEqual(self.store.lanes(), [LaneCount(LANE, 3, 3), LaneCount(moved, 1, 1)])
        self.have(ONE)
        self.assertCountEqual(self.store.lanes(), [LaneCount(LANE, 1, 1), LaneCount(moved, 1, 1)])
        self.assertEqual((self.found(InLane(LANE, 0, 9)), self.found(InLane(moved, 0, 9))), ([3], [1]))
        self.have(TWO)
        self.assertEqual(self.store.lanes(), [LaneCount(LANE, 2, 2)])

    def test_a_number_that_was_given_before_the_last_part_came(self) -> None:
        self.have(ONE, TWO)
        self.store.write(adding(job(7, size=0), job(1007, size=0)))
        self.have(ONE)
        self.assertEqual(self.found(InLane(LANE, 0, 9)), [1, 2, 3, 7])
