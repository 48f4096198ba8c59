"""Tests of L{txgear.journal.sieve}, with a link and no broker."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from rbloom import Bloom
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.keys import HASH_BITS, Key, hash_of
from txgear.broker.records import Batch
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.journal.link import LOST, OPEN, Link
from txgear.journal.sieve import (
    AGAIN_SECONDS,
    BOUNDS,
    MOST_ASKED,
    OVERDUE,
    RATE,
    REPORT_EVERY,
    SPACE,
    Bounds,
    Filters,
    Sieve,
)
from txgear.stores.memory import MemoryStore
from txgear.test.journal.test_writes import Unheard
from txgear.test.support.broker import record
from txgear.test.support.extras import (
    RuleBasedStateMachine,
    invariant,
    needs,
    rule,
    run_machine,
    st,
)
from txgear.test.support.journal import FaultyStore, ManualThread

CAPACITY, AMPLE, _, ENDED, PAGE = BOUNDS
GONE = StoreUnavailable("the connection is gone")
DAMAGED = StoreRefused("the disk is damaged")


def key(number: int) -> bytes:
    return b"u%d" % number


class ListedStore(FaultyStore):
    """@ivar listed: what it says that it has."""

    listed: Sequence[int] = ()

    def hashes(self, after: int, limit: int) -> list[int]:
        self.asked.append("hashes")
        fault = self.next_fault("hashes")
        if fault is not None:
            self._is_open = isinstance(fault.error, StoreRefused)
            raise fault.error
        first = bisect_right(self.listed, after)
        return list(self.listed[first : first + limit])


class FiltersTests(SynchronousTestCase):
    def test_there_is_none_for_nothing(self) -> None:
        filters: Filters[int] = Filters(BOUNDS)
        self.assertEqual((filters.filters, filters.keys, 1 in filters), ([], 0, False))

    def sizes(self, filters: Filters[int]) -> list[float]:
        """For how many keys each has room, in thousands."""
        one = Bloom(int(1000 * SPACE), RATE).size_in_bits
        return [round(each.size_in_bits / one, 1) for each in filters.filters]

    def test_each_but_the_first_has_ample_room(self) -> None:
        """So that a key that is in none is looked for in few: in two, where there are ten million."""
        self.assertGreater(CAPACITY + AMPLE, 13_000_000)
        filters: Filters[int] = Filters(Bounds(capacity=1000, ample=12_000))
        for first in range(0, 13_001, 1000):
            filters.update(range(first, first + 1000))
        self.assertEqual(self.sizes(filters), [1.0, 12.0, 12.0])
        self.assertEqual(filters.keys, 14_000)
        for each in (0, 999, 1000, 12_999, 13_000, 13_999):
            self.assertIn(each, filters)

    def test_one_has_room_for_half_of_all_before_it(self) -> None:
        """So that of very many as many bytes are in use as are needed, about."""
        filters: Filters[int] = Filters(Bounds(capacity=1000, ample=4000), 8000)
        filters.update(range(8000))
        self.assertEqual(self.sizes(filters), [8.0])
        filters.update([10**9])
        filters.update(range(10**10, 10**10 + 4000))
        self.assertEqual((self.sizes(filters), filters.keys), ([8.0, 4.0, 6.0], 12_001))
        for each in (0, 7999, 10**9, 10**10, 10**10 + 3999):
            self.assertIn(each, filters)

    def test_they_are_hardly_ever_wrong(self) -> None:
        """
        All together less than once in a thousand times; and each key takes three bytes, where it is known how
        many there are, or there are very many.
        """
        hashes = [hash_of(key(number)) for number in range(100_000)]
        known: Filters[int] = Filters(Bounds(capacity=10_000), 100_000)
        growing: Filters[int] = Filters(Bounds(capacity=10_000, ample=0))
        for filters, most in ((known, 3.0), (growing, 3.5)):
            filters.update(hashes[:50_000])
            for each in hashes[50_000:]:
                filters.update([each])
            self.assertLessEqual(len(filters.filters), BOUNDS.filters)
            self.assertTrue(all(each in filters for each in hashes))
            wrong = sum(hash_of(b"other%d" % number) in filters for number in range(50_000))
            self.assertLess(wrong, 50)
            self.assertLess(sum(each.size_in_bits for each in filters.filters) / 8, most * 100_000)


class SieveTestCase(SynchronousTestCase):
    """@ivar turns: how often something could be read again."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.thread = ManualThread()
        self.store = ListedStore()
        self.store.open()
        self.turns = 0
        self.link = Link(self.store, self.thread, self.clock, Unheard())
        self.sieve = Sieve(self.link, self.clock, self.count_turn)
        self.store.take()

    def count_turn(self) -> None:
        self.turns += 1

    def read(self) -> None:
        """The next page is."""
        self.assertTrue(self.sieve.ready)
        self.sieve.start()
        self.thread.run()

    def build(self) -> int:
        """How many pages it takes."""
        pages = 0
        while self.sieve.ready:
            self.read()
            pages += 1
        return pages

    def lists(self, *numbers: int) -> None:
        """The store has jobs with these keys."""
        self.store.listed = sorted(number << HASH_BITS | hash_of(key(number)) for number in numbers)

    def hidden(self, *numbers: int) -> list[bool]:
        return [self.sieve.may_hide(key(number)) for number in numbers]


class SieveTests(SieveTestCase):
    def test_nothing_is_hidden(self) -> None:
        self.assertEqual(self.hidden(1, 2), [False, False])
        self.assertFalse(self.sieve.ready)

    def test_what_is_hidden(self) -> None:
        self.sieve.hide(key(1))
        self.sieve.hide(2**100)
        self.assertEqual(self.hidden(1, 2), [True, False])
        self.assertTrue(self.sieve.may_hide(2**100))
        self.assertFalse(self.sieve.may_hide(2**99))

    def test_many_at_once(self) -> None:
        self.sieve.hide_all(map(key, (1, 2, 1, 4)))
        self.sieve.hide_all([])
        self.assertEqual(self.hidden(1, 2, 3, 4), [True, True, False, True])

    def test_what_was_asked_for_is_hidden(self) -> None:
        """However many were asked for meanwhile; and it is counted once, however often it is hidden."""
        self.sieve.hide(key(0))
        count = MOST_ASKED + 5
        self.assertEqual(self.hidden(*range(1, count)).count(True), 0)
        for number in (*range(count), 1, count - 1):
            self.sieve.hide(key(number))
        self.assertEqual(set(self.hidden(*range(count))), {True})
        self.assertAlmostEqual(self.sieve.keys, count, delta=count // 1000)

    def test_many_of_which_some_were_asked_for(self) -> None:
        """They are counted once, however often they are hidden."""
        self.sieve.hide(key(0))
        self.assertEqual(self.hidden(1, 2, 3), [False] * 3)
        self.sieve.hide_all(map(key, (1, 4, 2, 1, 0)))
        self.assertEqual(self.hidden(0, 1, 2, 3, 4), [True, True, True, False, True])
        self.sieve.hide_all(map(key, (1, 2, 3, 4)))
        self.assertEqual(self.hidden(3, 5), [True, False])
        self.assertEqual(self.sieve.keys, 5)

    def test_what_is_shown_may_stay(self) -> None:
        """Nothing can be taken out, and there may be another job with that key."""
        self.sieve.hide(key(1))
        self.sieve.show(key(1))
        self.assertEqual(self.hidden(1), [True])
        self.assertFalse(self.sieve.ready)


class BuildTests(SieveTestCase):
    def fill(self, count: int) -> None:
        for number in range(count):
            self.sieve.hide(key(number))

    def show(self, *numbers: int) -> None:
        for number in numbers:
            self.sieve.show(key(number))

    def test_when_half_have_ended(self) -> None:
        count = 4 * ENDED
        self.fill(count)
        self.show(*range(count // 2))
        self.assertFalse(self.sieve.ready)
        self.show(count // 2)
        self.lists(*range(count // 2 + 1, count))
        self.assertEqual(self.build(), 1)
        self.assertEqual(self.store.take(), ["hashes"])
        known = self.hidden(*range(count))
        self.assertEqual(set(known[count // 2 + 1 :]), {True})
        self.assertLess(sum(known[: count // 2 + 1]), count // 100)

    def test_not_for_a_few(self) -> None:
        self.fill(ENDED)
        self.show(*range(ENDED))
        self.assertFalse(self.sieve.ready)
        for hide in (lambda: self.fill(1), lambda: self.sieve.hide_all([key(0), key(ENDED + 1)])):
            hide()
            self.show(0)
            self.assertFalse(self.sieve.ready, "it has not ended after all")
        self.show(0)
        self.assertTrue(self.sieve.ready)

    def test_what_changes_meanwhile(self) -> None:
        """What is hidden is in the old one and in the new one; what is shown has ended in the new one."""
        count = ENDED + 1
        self.fill(count)
        self.show(*range(count))
        self.lists(*range(PAGE + 1))
        self.read()
        self.sieve.hide(key(PAGE + 50))
        # Some that were hidden before.
        self.sieve.hide(key(5))
        self.sieve.hide_all([key(6), key(PAGE + 51)])
        self.show(7, 8)
        self.assertEqual(self.hidden(PAGE + 50, 0, PAGE + 60), [True, True, False])
        self.read()
        self.assertFalse(self.sieve.ready)
        self.assertEqual(self.hidden(PAGE + 50, PAGE + 51, 0, PAGE, PAGE + 60), [*[True] * 4, False])
        # Half of those that there are now: two have ended.
        self.show(*range(PAGE // 2 - 2))
        self.assertFalse(self.sieve.ready)
        self.show(*range(2))
        self.assertTrue(self.sieve.ready)

    def test_what_was_asked_for_meanwhile(self) -> None:
        """It is in both; what the store has by then is counted once."""
        self.fill(ENDED + 1)
        self.show(*range(ENDED + 1))
        first, second, third = range(10**6, 10**6 + 3)
        self.assertEqual(self.hidden(first, second, third), [False] * 3)
        self.sieve.hide(key(first))
        self.lists(third)
        self.build()
        self.sieve.hide(key(second))
        self.sieve.hide(key(third))
        self.assertEqual(self.hidden(first, second, third), [True] * 3)
        self.assertEqual(self.sieve.keys, 3)

    def test_many_that_were_asked_for_meanwhile(self) -> None:
        self.fill(ENDED + 1)
        self.show(*range(ENDED + 1))
        first, second, third = range(10**6, 10**6 + 3)
        self.assertEqual(self.hidden(first, second, third), [False] * 3)
        self.sieve.hide_all(map(key, (first, second)))
        self.lists(third)
        self.build()
        self.assertEqual(self.hidden(first, second, third), [True] * 3)
        self.assertEqual(self.sieve.keys, 3)

    def test_only_once_at_a_time(self) -> None:
        self.fill(ENDED + 1)
        self.show(*range(ENDED + 1))
        self.lists(*range(2 * PAGE))
        self.read()
        self.show(1, 2, 3)
        self.read()
        self.assertEqual(self.build(), 1)

    def test_many_filters_become_one(self) -> None:
        self.sieve = Sieve(self.link, self.clock, self.count_turn, Bounds(capacity=10, ample=0))
        count = 0
        while not self.sieve.ready:
            self.sieve.hide_all([key(count)])
            count += 1
        self.assertEqual(len(self.sieve._hidden.filters), BOUNDS.filters + 1)
        self.lists(*range(count))
        self.build()
        self.assertEqual((len(self.sieve._read.filters), self.sieve._hidden.filters), (1, []))
        self.assertEqual(set(self.hidden(*range(count))), {True})

    def test_when_it_is_overdue(self) -> None:
        self.assertFalse(self.sieve.overdue)
        self.sieve.found(1)
        self.lists(*range(PAGE + 1))
        self.assertFalse(self.sieve.overdue)
        self.clock.advance(OVERDUE)
        self.assertTrue(self.sieve.overdue)
        self.read()
        self.assertFalse(self.sieve.overdue)
        self.clock.advance(OVERDUE)
        self.assertTrue(self.sieve.overdue)
        self.read()
        self.clock.advance(OVERDUE)
        self.assertFalse(self.sieve.overdue)

    def test_not_at_the_end(self) -> None:
        self.sieve.found(1)
        self.link.closing = True
        self.assertFalse(self.sieve.ready)

    def test_a_page_that_cannot_be_read(self) -> None:
        """It is tried again a while later; until then what is there answers."""
        for error in (DAMAGED, GONE):
            self.store.fail("hashes", error)
            self.sieve = Sieve(self.link, self.clock, self.count_turn)
            self.sieve.found(1)
            self.lists(1)
            self.read()
            self.assertFalse(self.sieve.ready)
            self.assertEqual(self.hidden(2), [True])
            if self.link.state is LOST:
                self.link.open([], lambda known: None)
                self.thread.run()
            self.assertIs(self.link.state, OPEN)
            self.turns = 0
            self.clock.advance(AGAIN_SECONDS)
            self.assertEqual(self.turns, 1)
            self.read()
            self.assertEqual(self.hidden(1, 2), [True, False])

    def test_the_timer_is_cancelled(self) -> None:
        self.store.fail("hashes", DAMAGED)
        self.sieve.found(1)
        self.read()
        self.sieve.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StartTests(SieveTestCase):
    """A server starts with what its store has."""

    def test_an_empty_store(self) -> None:
        self.sieve.found(0)
        self.assertEqual(self.hidden(1), [False])
        self.assertFalse(self.sieve.ready)

    def test_each_may_be_hidden_until_all_are_known(self) -> None:
        self.lists(*range(PAGE + 1))
        self.sieve.found(PAGE + 5)
        self.assertEqual(self.hidden(1, PAGE, 10**6), [True, True, True])
        self.sieve.hide(key(10**6))
        self.sieve.hide_all([key(10**6 + 1)])
        self.read()
        self.assertEqual(self.hidden(1, PAGE, 10**7), [True, True, True])
        with capturedLogs() as events:
            self.read()
        self.assertEqual(events, [])
        self.assertEqual(self.hidden(1, PAGE, 10**6, 10**6 + 1, 10**7), [*[True] * 4, False])
        self.assertFalse(self.sieve.ready)

    def test_as_many_as_there_are_known_to_be_are_in_one_filter(self) -> None:
        self.sieve = Sieve(self.link, self.clock, self.count_turn, Bounds(capacity=10))
        self.lists(*range(100))
        self.sieve.found(100)
        self.build()
        self.assertEqual(set(self.hidden(*range(100))), {True})
        self.assertEqual(len(self.sieve._read.filters), 1)

    def test_those_that_the_store_had_are_counted_once(self) -> None:
        """They come into memory, and leave it again, together with others and alone."""
        self.lists(0, 1, 2)
        self.sieve.found(3)
        self.build()
        for _ in range(2):
            self.sieve.hide_all(map(key, (0, 1, 3)))
            self.sieve.hide(key(2))
        self.assertEqual((self.hidden(0, 1, 2, 3, 4), self.sieve.keys), ([True] * 4 + [False], 4))

    def test_jobs_without_keys(self) -> None:
        self.sieve.found(5)
        self.assertEqual(self.build(), 1)
        self.assertEqual(self.hidden(1), [False])

    def test_another_server_s_are_taken_over(self) -> None:
        """What is known stays known, and of what is not known each may be hidden again."""
        self.lists(1)
        self.sieve.found(1)
        self.build()
        self.sieve.hide(key(2))
        self.lists(0, 1, 2)
        self.sieve.found(1)
        self.assertEqual(self.hidden(0, 1, 2, 3), [True] * 4)
        self.assertEqual(self.build(), 1)
        self.assertEqual(self.hidden(0, 1, 2, 3), [True, True, True, False])

    def test_they_are_taken_over_while_it_is_built(self) -> None:
        """Those that were read may have others before them by now."""
        self.lists(*range(1, PAGE + 2))
        self.sieve.found(PAGE + 1)
        self.read()
        self.lists(*range(PAGE + 2))
        self.sieve.found(1)
        self.assertEqual(self.build(), 2)
        self.assertEqual(self.hidden(0, 1, PAGE + 1, PAGE + 2), [True, True, True, False])

    def test_the_log_says_how_far_it_is(self) -> None:
        self.sieve.found(1)
        self.store.listed = range(2 * REPORT_EVERY + 1)
        with capturedLogs() as events:
            self.build()
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "the uniques of 1000000 jobs in the store are known",
                "the uniques of 2000000 jobs in the store are known",
                "those of all 2000001 jobs that have one are known",
            ],
        )


KEYS: list[Key] = [*(key(number) for number in range(100)), *range(1, 50)]


class UnorderedStore(FaultyStore):
    """What it has of new jobs may come before what was read."""

    def hashes(self, after: int, limit: int) -> list[int]:
        every = self._do("hashes", MemoryStore.hashes, self, -1, 10**6)
        return sorted(hashed for each in every if (hashed := each & (1 << HASH_BITS) - 1) > after)[:limit]


class SieveMachine(RuleBasedStateMachine):
    """
    Jobs come into a store, are in memory or not, and end. The sieve may say yes of a key whose job is in
    memory, but never no of one that is hidden.

    @ivar rows: the jobs in the store, by number, with their keys.
    @ivar out: the numbers of those that are not in memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.thread = ManualThread()
        self.store = UnorderedStore()
        self.rows: dict[int, Key] = {}
        self.out: set[int] = set()
        self.next = 1
        self.begin()

    def begin(self) -> None:
        self.store.mend()
        self.store.open()
        self.link = Link(self.store, self.thread, self.clock, Unheard())
        self.sieve = Sieve(self.link, self.clock, lambda: None, Bounds(4, 3, 2, 7))

    @rule(some=st.lists(st.sampled_from(KEYS), min_size=1, max_size=8), stay=st.booleans())
    def come(self, some: list[Key], stay: bool) -> None:
        self.add(some, stay)

    @rule(some=st.lists(st.sampled_from(KEYS), max_size=8))
    def take_over(self, some: list[Key]) -> None:
        """Jobs that another server had."""
        for number, which in enumerate(some, self.next):
            self.keep(number, which)
            self.out.add(number)
        self.next += len(some)
        self.sieve.found(len(some))

    def keep(self, number: int, which: Key) -> None:
        """The store has a job."""
        fields: dict[str, Any] = (
            {"unique": which}
            if isinstance(which, bytes)
            else {"unique": b"-", "digest": which.to_bytes(16, "big")}
        )
        self.store.write(Batch([(record(number, **fields), b"")], (), ()))
        self.rows[number] = which

    def add(self, some: list[Key], stay: bool) -> None:
        """Jobs with these keys are stored, and stay in memory or not."""
        for which in some:
            self.keep(self.next, which)
            if not stay:
                self.out.add(self.next)
                self.sieve.hide(which)
            self.next += 1

    @rule(which=st.integers(0))
    def let_go(self, which: int) -> None:
        jobs = sorted(self.rows.keys() - self.out)
        if not jobs:
            return
        number = jobs[which % len(jobs)]
        self.out.add(number)
        self.sieve.hide(self.rows[number])

    @rule(first=st.integers(0), count=st.integers(0, 5))
    def let_go_of_some(self, first: int, count: int) -> None:
        jobs = sorted(self.rows.keys() - self.out)
        numbers = jobs[first % (len(jobs) + 1) :][:count]
        self.out.update(numbers)
        self.sieve.hide_all(self.rows[number] for number in numbers)

    @rule(which=st.integers(0))
    def take_in(self, which: int) -> None:
        jobs = sorted(self.out)
        if not jobs:
            return
        number = jobs[which % len(jobs)]
        self.out.discard(number)
        self.sieve.show(self.rows[number])

    @rule(which=st.integers(0))
    def end(self, which: int) -> None:
        jobs = sorted(self.rows.keys() - self.out)
        if not jobs:
            return
        number = jobs[which % len(jobs)]
        del self.rows[number]
        self.store.write(Batch((), (), [number]))

    @rule(pages=st.integers(1, 4), error=st.sampled_from([None, None, GONE, DAMAGED]))
    def read(self, pages: int, error: Exception | None) -> None:
        """The store has time for so many pages, and fails then."""
        for _ in range(pages):
            self.read_page()
        if error is not None and self.sieve.ready:
            self.store.fail("hashes", error)
            self.read_page()
            self.clock.advance(AGAIN_SECONDS)

    def read_page(self) -> None:
        if not self.sieve.ready:
            return
        self.sieve.start()
        self.thread.run()
        if self.link.state is LOST:
            self.link.open([], lambda known: None)
            self.thread.run()

    @rule(some=st.lists(st.sampled_from(KEYS), min_size=1, max_size=8))
    def add_while_it_is_built(self, some: list[Key]) -> None:
        self.read_page()
        self.add(some, stay=False)
        self.read_page()

    @rule()
    def restart(self) -> None:
        """None of the jobs in the store is in memory."""
        self.sieve.stop()
        self.link.abandon()
        self.begin()
        self.out = set(self.rows)
        self.sieve.found(len(self.rows))

    @invariant()
    def nothing_is_denied(self) -> None:
        for which in {self.rows[number] for number in self.out}:
            assert self.sieve.may_hide(which), which


@needs("hypothesis")
class MachineTests(SynchronousTestCase):
    def test_it_never_says_no_of_one_that_is_hidden(self) -> None:
        run_machine(SieveMachine, steps=60)
