"""Tests of L{txgear.broker.uniques}."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Function, Job
from txgear.broker.uniques import APART, HASH_BITS, Key, Uniques, hash_of, hashes_of, key_of
from txgear.protocol.packets import Pieces
from txgear.test.support.broker import make_job
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


class UniquesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.uniques: Uniques[Job] = Uniques()
        self.functions = [Function(b"f"), Function(b"g"), Function(b"h")]
        self.jobs = [
            make_job(function, number, unique=b"u") for number, function in enumerate(self.functions, 1)
        ]

    def found(self) -> list[Job | None]:
        return [self.uniques.find(function, b"u") for function in self.functions]

    def test_a_unique_belongs_to_its_function(self) -> None:
        for count, one in enumerate(self.jobs, 1):
            self.uniques.add(b"u", one)
            self.assertEqual(self.found(), self.jobs[:count] + [None] * (3 - count))
            self.assertEqual(len(self.uniques), count)

    def test_one_that_ends_leaves_the_others(self) -> None:
        for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0)):
            left: list[Job | None] = list(self.jobs)
            for one in self.jobs:
                self.uniques.add(b"u", one)
            for index in order:
                self.uniques.remove(b"u", self.jobs[index])
                left[index] = None
                self.assertEqual(self.found(), left)
            self.assertEqual(len(self.uniques), 0)

    def test_the_newest_of_those_that_are_wanted(self) -> None:
        """Whether one has the unique, or several."""
        first, second, third = self.jobs
        for wanted, found in (((), None), ((first,), None), ((third, second), None)):
            self.assertIs(self.uniques.newest(b"u", wanted.__contains__), found)
        for one in self.jobs:
            self.uniques.add(b"u", one)
            self.assertIs(self.uniques.newest(b"u", self.jobs.__contains__), one)
            self.assertIsNone(self.uniques.newest(b"u", ().__contains__))
            self.assertIs(self.uniques.newest(b"u", (first,).__contains__), first)
        self.assertIs(self.uniques.newest(b"u", (first, second).__contains__), second)

    def test_all_of_any_function(self) -> None:
        uniques: Uniques[Job] = Uniques()
        jobs = [make_job(Function(name), unique=b"u") for name in (b"f", b"g")]
        for count in range(3):
            self.assertEqual(uniques.named(b"u"), jobs[:count])
            for job in jobs[count : count + 1]:
                uniques.add(b"u", job)

    def test_the_newest_of_any_function(self) -> None:
        self.assertIsNone(self.uniques.newest(b"u"))
        for one in self.jobs:
            self.uniques.add(b"u", one)
            self.assertIs(self.uniques.newest(b"u"), one)
        self.uniques.remove(b"u", self.jobs[2])
        self.assertIs(self.uniques.newest(b"u"), self.jobs[1])
        self.assertIsNone(self.uniques.newest(b"v"))

    def test_it_is_the_newest_whenever_it_came(self) -> None:
        for one in reversed(self.jobs):
            self.uniques.add(b"u", one)
            self.assertIs(self.uniques.newest(b"u"), self.jobs[2])

    def test_what_is_nobodys_is_not_looked_at(self) -> None:
        """The cycle collector looks at all of a dict that has one thing that may refer to others."""
        self.assertFalse(any(map(gc.is_tracked, APART.values())))

    def test_what_is_nobodys_is_found_by_nobody(self) -> None:
        """A table that is to grow apart from another has the same jobs as before, and keys without any."""
        job = self.jobs[0]
        self.uniques.add(b"u", job)
        for _ in range(2):
            self.uniques.grow_apart()
            self.assertEqual(len(self.uniques.jobs), len(APART) + 1)
            self.assertEqual(len(self.uniques), 1)
            self.assertEqual((self.uniques.named(b"u"), self.uniques.named(-1)), ([job], []))
        self.uniques.remove(b"u", job)
        self.assertEqual(len(self.uniques), 0)
