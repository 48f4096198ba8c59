"""Tests of L{txgear.server.figurerows}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.counts import BUCKETS, VALUES
from txgear.server.figurerows import (
    NOTHING,
    ROW,
    TIMES,
    Figures,
    Ring,
    column,
    highest,
    pack,
    packed,
    rates,
    unpack,
    unpacked,
)
from txgear.test.support.extras import PROPERTY, given, st

NONE: list[int | None] = [None] * len(TIMES)


class NumberTests(SynchronousTestCase):
    def test_small_ones_are_kept_as_they_are(self) -> None:
        for number in (*range(4096), 4096, 4098, 8190):
            self.assertEqual(unpacked(packed(number)), number)

    @PROPERTY
    @given(st.integers(0, 10**12), st.integers(0, 10**12))
    def test_large_ones_nearly(self, one: int, other: int) -> None:
        self.assertLessEqual(unpacked(packed(one)), one)
        self.assertLessEqual(one - unpacked(packed(one)), one / 2048)
        self.assertEqual(packed(one) <= packed(other), one <= other or packed(one) == packed(other))

    def test_what_is_too_large_and_what_cannot_be(self) -> None:
        self.assertEqual((packed(10**30), packed(-1)), (65535, 0))
        self.assertGreater(unpacked(65535), 4 * 10**12)


class RowTests(SynchronousTestCase):
    def test_what_is_packed_comes_back(self) -> None:
        figures = Figures(5, 4, 1, 3000, 8, 0, 16, 2, 12.3)
        row = pack(figures, [0, 5, BUCKETS - 1, None, 7, None])
        self.assertEqual(len(row), ROW)
        times = [VALUES[0], VALUES[5], VALUES[-1], None, VALUES[7], None]
        self.assertEqual(unpack(row), (figures, times))

    def test_nothing_is_zeros(self) -> None:
        self.assertEqual(pack(Figures(), [None] * 6), NOTHING)
        self.assertEqual(unpack(NOTHING), (Figures(), [None] * 6))

    def test_any_bytes_are_a_row(self) -> None:
        """What a store has may be damaged."""
        self.assertEqual(unpack(b"\xff" * ROW)[1], [None] * 6)


class RatesTests(SynchronousTestCase):
    def test_they_are_added_up(self) -> None:
        one, other = Figures(5, 4, 1, 30, 8, 0, 1, 2, 1.5), Figures(9, 4, 8190)
        rows = pack(one, [1] * 6) + NOTHING + pack(other, [None] * 6)
        self.assertEqual(rates(rows), [14, 8, 8191])

    def test_one_figure_of_each(self) -> None:
        rows = pack(Figures(submitted=3, dead=2), NONE) + pack(Figures(completed=5, dead=10_000), NONE)
        self.assertEqual((column(rows, "submitted"), column(rows, "completed")), ([3, 0], [0, 5]))
        self.assertEqual(column(rows, "dead"), [2, unpacked(packed(10_000))])
        self.assertEqual(column(b"", "dead"), [])

    def test_nothing(self) -> None:
        self.assertEqual((rates(b""), rates(NOTHING)), ([0, 0, 0], [0, 0, 0]))


class HighestTests(SynchronousTestCase):
    def test_of_each_by_itself(self) -> None:
        one, other = Figures(5, 4, 1, 30, 8, 0, 1, 2, 1.5), Figures(9, 4, 1, 3, 9000, 0, 1, 0, 7.2)
        rows = pack(one, [1] * 6) + NOTHING + pack(other, [None] * 6)
        self.assertEqual(highest(rows), Figures(0, 0, 0, 30, 9000, 0, 1, 2, 7.2))


class RingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ring = Ring(4, 2)

    def got(self, *steps: int) -> list[bytes]:
        return [self.ring.get(step) for step in steps]

    def test_at_first_there_is_nothing(self) -> None:
        self.assertEqual((self.got(-1, 0, 7), self.ring.last), ([b"\0\0"] * 3, -1))

    def test_the_newest_are_kept(self) -> None:
        for step in range(10, 16):
            self.ring.put(step, b"%02d" % step)
        self.assertEqual(self.got(11, 12, 13, 14, 15, 16), [b"\0\0", b"12", b"13", b"14", b"15", b"\0\0"])
        self.assertEqual((self.ring.rows(11, 3), self.ring.last), (b"\0\x001213", 15))

    def test_a_step_that_is_passed_over_is_nothing(self) -> None:
        for step in (10, 11, 12, 13):
            self.ring.put(step, b"%02d" % step)
        self.ring.put(16, b"16")
        self.assertEqual(self.got(12, 13, 14, 15, 16), [b"\0\0", b"13", b"\0\0", b"\0\0", b"16"])
        self.ring.put(99, b"99")
        self.assertEqual(self.got(96, 97, 98, 99), [b"\0\0"] * 3 + [b"99"])

    def test_what_is_earlier_may_come_later(self) -> None:
        self.ring.put(10, b"10")
        for step in (8, 9, 6):
            self.ring.put(step, b"%02d" % step)
        self.assertEqual(self.got(6, 7, 8, 9, 10), [b"\0\0", b"\0\0", b"08", b"09", b"10"])

    def test_rows_are_those_of_the_steps(self) -> None:
        for step in range(20):
            self.ring.put(step, b"%02d" % step)
            for first in range(-2, 22):
                for count in range(7):
                    expected = b"".join(self.got(*range(first, first + count)))
                    self.assertEqual(self.ring.rows(first, count), expected)
