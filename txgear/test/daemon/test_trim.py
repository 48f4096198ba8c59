"""Tests of L{txgear.daemon.trim}."""

from __future__ import annotations

import gc
import sys
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.trim import (
    BURST,
    LOOK_SECONDS,
    MANY,
    QUIET,
    RETRY_SECONDS,
    SHARE,
    Trimmer,
    give_back,
    resident,
)

LEAST = 50_000_000


class Cycle:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


class TrimmerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.memory, self.kept, self.cpu, self.takes = LEAST, LEAST, 0.0, 0.0
        self.trimmed = self.freed = self.held = 0
        self.trimmer = Trimmer(
            self.clock,
            self.clock.seconds,
            self.trim,
            lambda: self.freed,
            lambda: self.held,
            lambda: self.memory,
            lambda: self.cpu,
        )

    def tearDown(self) -> None:
        self.trimmer.stop()
        self.trimmer.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def trim(self) -> None:
        self.trimmed += 1
        self.memory = self.kept
        self.clock.rightNow += self.takes

    def burst(self, size: int = BURST) -> None:
        self.memory += size
        self.freed += size

    def test_after_a_burst(self) -> None:
        self.burst()
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual((self.trimmed, self.memory), (1, LEAST))
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.trimmed, 1)

    def test_not_without_one(self) -> None:
        self.burst(BURST - 1)
        self.clock.pump([LOOK_SECONDS] * 10)
        self.assertEqual(self.trimmed, 0)

    def test_after_many_small_things(self) -> None:
        """They are freed where there are fewer of them than there were."""
        self.memory += BURST
        for self.held in (BURST, BURST + 10, 11):
            self.clock.advance(LOOK_SECONDS)
            self.assertEqual(self.trimmed, 0)
        self.held = 10
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual((self.trimmed, self.memory), (1, LEAST))
        self.memory += BURST
        self.held = 5
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.trimmed, 1)

    def test_the_least_is_what_counts(self) -> None:
        self.memory -= 10_000_000
        self.clock.advance(LOOK_SECONDS)
        self.burst()
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.trimmed, 1)

    def test_only_when_it_is_quiet(self) -> None:
        self.burst()
        for _ in range(5):
            self.cpu += QUIET * LOOK_SECONDS * 1.01
            self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.trimmed, 0)
        self.cpu += QUIET * LOOK_SECONDS * 0.99
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.trimmed, 1)

    def test_it_takes_a_small_part_of_the_time(self) -> None:
        """Memory that is in use cannot be given back, and finding that out may take long."""
        self.burst()
        self.kept = self.memory
        self.takes = 0.1
        begun = self.clock.seconds()
        for _ in range(500):
            self.freed += BURST
            self.clock.advance(LOOK_SECONDS)
        spent = self.clock.seconds() - begun
        self.assertGreater(self.trimmed, 5)
        self.assertLess(self.trimmed * self.takes, spent / SHARE * 1.5)

    def test_memory_that_grows_is_in_use(self) -> None:
        self.memory += 10 * BURST
        self.clock.pump([LOOK_SECONDS] * 100)
        self.assertEqual(self.trimmed, 0)
        # But it may not be so for ever.
        self.clock.pump([LOOK_SECONDS] * int(RETRY_SECONDS / LOOK_SECONDS))
        self.assertEqual(self.trimmed, 1)

    def test_the_system(self) -> None:
        self.assertGreaterEqual(resident(), 0)

    def test_python_gives_up_what_it_keeps(self) -> None:
        """Of some kinds it keeps thousands of objects for the next use of them."""
        gc.collect()
        kept = [tuple([None] * 7) for _ in range(1500)]
        kept.clear()
        before = sys.getallocatedblocks()
        give_back()
        self.assertLess(sys.getallocatedblocks(), before - 1000)

    def cycle(self) -> weakref.ref[Cycle]:
        """One of which only the collector can get rid, and which comes to it when it is told to only."""
        gc.disable()
        self.addCleanup(gc.enable)
        return weakref.ref(Cycle())

    def test_many_objects_are_not_looked_at(self) -> None:
        """That would take a fifth of a second with some thousand connections. They stay to be looked at."""
        seen = self.cycle()
        many: list[list[object]] = [[] for _ in range(MANY)]
        give_back()
        self.assertIsNotNone(seen())
        self.assertEqual(gc.get_freeze_count(), 0)
        many.clear()
        gc.collect()
        self.assertIsNone(seen())

    def test_few_objects_are_looked_at(self) -> None:
        """And what a process has frozen at its start stays so."""
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        frozen = gc.get_freeze_count()
        seen = self.cycle()
        give_back()
        self.assertIsNone(seen())
        # Some of it has gone since, but nearly all is there.
        self.assertGreater(gc.get_freeze_count(), frozen * 0.9)
