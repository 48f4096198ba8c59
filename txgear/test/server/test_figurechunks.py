"""Tests of L{txgear.server.figurechunks}."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from txgear.server.figurechunks import MOST_PARTS, PART_BYTES, Block, Named, number_of, parts, place_of, read
from txgear.server.figurerows import ROW
from txgear.test.support.extras import PROPERTY, given, st

BLOCK = Block(1, 178_000_000, b"\1\0\1")
ROWS = bytes(range(3 * ROW))


class NumberTests(SynchronousTestCase):
    def test_each_is_another_and_says_where_it_belongs(self) -> None:
        places = list(product((0, 1), (1, 2, 10**9), (0, 1, MOST_PARTS - 1)))
        numbers = [number_of(*place) for place in places]
        self.assertEqual(len(set(numbers)), len(places))
        self.assertEqual([place_of(number) for number in numbers], [place[:2] for place in places])
        self.assertTrue(all(0 < number < 2**63 for number in numbers))


class PartTests(SynchronousTestCase):
    def test_what_is_written_is_read(self) -> None:
        series: list[Named] = [(0, b"", ROWS), (2, b"\0\xff" * 4000, ROWS[::-1]), (2, b"f", ROWS)]
        (part,) = parts(BLOCK, series)
        self.assertEqual(read(part), (BLOCK, series))

    def test_that_nothing_was_done_is_told_as_well(self) -> None:
        (part,) = parts(BLOCK, [])
        self.assertEqual(read(part), (BLOCK, []))

    def test_much_is_divided(self) -> None:
        series: list[Named] = [(2, b"%d" % number, ROWS) for number in range(1000)]
        chunks = list(parts(BLOCK, series))
        self.assertGreater(len(chunks), 1)
        self.assertLess(max(map(len, chunks)), PART_BYTES + len(ROWS) + 100)
        self.assertEqual([each for chunk in chunks for each in read(chunk)[1]], series)

    def test_the_longest_names(self) -> None:
        series: list[Named] = [(2, bytes([number]) * 8191, ROWS) for number in range(20)]
        chunks = list(parts(BLOCK, series))
        self.assertLess(len(chunks), MOST_PARTS)
        self.assertEqual([each for chunk in chunks for each in read(chunk)[1]], series)


class DamageTests(SynchronousTestCase):
    def setUp(self) -> None:
        (self.part,) = parts(BLOCK, [(2, b"f", ROWS), (2, b"g", ROWS)])

    def test_another_version(self) -> None:
        self.assertRaises(ValueError, read, b"\2" + self.part[1:])

    def test_wherever_it_is_cut_off(self) -> None:
        whole = read(self.part)[1]
        for end in range(len(self.part)):
            try:
                found = read(self.part[:end])[1]
            except ValueError:
                continue
            # Between two functions it is a chunk of one.
            self.assertEqual(found, whole[: len(found)])

    @PROPERTY
    @given(st.binary(max_size=300))
    def test_any_bytes(self, chunk: bytes) -> None:
        for data in (chunk, b"\1" + chunk):
            try:
                series = read(data)[1]
            except ValueError:
                continue
            for _, _, rows in series:
                self.assertEqual(len(rows), ROW * data[10])
