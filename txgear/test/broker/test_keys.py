"""Tests of L{txgear.broker.keys}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.keys import HASH_BITS, Key, hash_of, hashes_of, key_of
from txgear.protocol.packets import Pieces
from txgear.test.support.extras import PROPERTY, given, st


class KeyTests(SynchronousTestCase):
    def test_a_unique_is_its_own_key_whatever_the_workload(self) -> None:
        self.assertEqual(key_of(b"u", b"one"), key_of(b"u", b"other"))
        self.assertNotEqual(key_of(b"u", b""), key_of(b"U", b""))

    def test_uniques_are_kept_whole(self) -> None:
        self.assertNotEqual(key_of(b"u" * 63 + b"1", b""), key_of(b"u" * 63 + b"2", b""))

    def test_an_empty_one_has_none(self) -> None:
        self.assertIsNone(key_of(b"", b"workload"))

    def test_a_dash_is_the_workload(self) -> None:
        self.assertEqual(key_of(b"-", b"one"), key_of(b"-", b"one"))
        self.assertNotEqual(key_of(b"-", b"one"), key_of(b"-", b"other"))
        self.assertIsNone(key_of(b"-", b""))

    @PROPERTY
    @given(st.binary(min_size=1, max_size=20), st.integers(0, 20))
    def test_a_dash_is_the_workload_however_it_arrived(self, workload: bytes, at: int) -> None:
        self.assertEqual(key_of(b"-", Pieces([workload[:at], workload[at:]])), key_of(b"-", workload))

    def test_no_unique_equals_the_key_of_a_workload(self) -> None:
        self.assertNotIsInstance(key_of(b"-", b"one"), bytes)


class HashTests(SynchronousTestCase):
    def test_it_is_the_same_on_every_server(self) -> None:
        """It is in the stores."""
        self.assertEqual([hash_of(key) for key in (b"u", 7)], [53430327746, 96762746016])

    def test_it_has_so_many_bits(self) -> None:
        hashes = {hash_of(b"%d" % number) for number in range(1000)}
        self.assertEqual(len(hashes), 1000)
        self.assertEqual(max(hashes).bit_length(), HASH_BITS)

    def test_many_have_the_same_as_each(self) -> None:
        keys: list[Key] = [b"u", 7, b"", 2**128 - 1, b"u"]
        self.assertEqual(hashes_of(keys), list(map(hash_of, keys)))
        self.assertEqual(hashes_of(()), [])
