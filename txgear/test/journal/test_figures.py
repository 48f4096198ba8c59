"""Tests of L{txgear.journal.figures}, and of what the journal tells of itself."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from txgear.broker.records import Batch, JobUpdate
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.journal.batches import Refusals
from txgear.journal.figures import LATELY_SECONDS, Figures
from txgear.test.journal.test_newjobs import new_job
from txgear.test.journal.test_writes import WritesTestCase
from txgear.test.support.batches import adding, addition
from txgear.test.support.journal import FaultyStore

NO_REFUSALS = Refusals({}, {}, {})
GONE = StoreUnavailable("the connection is gone")


class SlowStore(FaultyStore):
    """
    @ivar seconds: what a write takes.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.seconds = 0.0

    def write(self, batch: Batch) -> None:
        self._clock.advance(self.seconds)
        super().write(batch)


class FiguresTests(WritesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.figures = self.writes.figures

    def test_how_long_the_store_takes(self) -> None:
        slow = SlowStore(self.clock)
        slow.open()
        figures = Figures(self.clock.seconds)
        for seconds in (0.002, 0.3):
            slow.seconds = seconds
            batch = adding(addition(int(seconds * 1000)))
            figures.written(batch, figures.carry(slow, batch))
        self.assertAlmostEqual(figures.commits.sum, 0.302)
        counts = dict(zip(figures.commits.bounds, figures.commits.counts, strict=False))
        self.assertEqual({bound for bound, count in counts.items() if count}, {0.0025, 0.5})

    def test_the_last_minutes(self) -> None:
        figures = Figures(self.clock.seconds)
        for passed, expected in ((0, 1), (LATELY_SECONDS - 1, 2), (1, 3), (LATELY_SECONDS, 2), (1, 3)):
            self.clock.advance(passed)
            figures.written((), (NO_REFUSALS, 0.01))
            self.assertEqual(figures.lately().count, expected, passed)
        self.clock.advance(2 * LATELY_SECONDS)
        self.assertEqual(figures.lately().count, 0)
        self.assertEqual(figures.commits.count, 5)

    def test_how_much_is_in_a_batch(self) -> None:
        self.writes.jobs.add(*new_job(4))
        self.writes.jobs.add(*new_job(5))
        self.done(1, b"result")
        self.write()
        self.assertEqual(self.figures.rows.sum, 4)
        self.assertEqual(sum(self.figures.commits.counts), 1)

    def test_deletions_of_refused_jobs_count(self) -> None:
        self.writes.jobs.retracted = {1: None, 2: None}
        self.write()
        self.assertEqual(self.figures.rows.sum, 2)

    def test_what_is_refused(self) -> None:
        self.store.too_large = 10
        self.writes.jobs.add(*new_job(4, b"x" * 11))
        self.writes.jobs.add(*new_job(5, b"x"))
        self.done(1, b"x" * 12)
        self.logged()
        self.assertEqual((self.figures.refused_jobs, self.figures.refused_results), (1, 1))

    def test_what_was_not_written_is_not_counted(self) -> None:
        self.store.fail("write", GONE)
        self.writes.jobs.add(*new_job(4))
        self.write()
        self.assertEqual((self.figures.rows.sum, sum(self.figures.commits.counts)), (0, 0))

    def test_what_is_on_its_way(self) -> None:
        self.assertEqual(self.writes.pending_changes, 0)
        self.writes.jobs.add(*new_job(4))
        self.writes.update(JobUpdate(1, 1, 0.0, 0))
        self.assertEqual(self.writes.pending_changes, 2)
        self.writes.look()
        self.writes.start()
        self.writes.update(JobUpdate(2, 2, 0.0, 0))
        self.assertEqual(self.writes.pending_changes, 3)
        self.thread.run()
        self.assertEqual(self.writes.pending_changes, 1)

    def test_how_often_the_store_was_lost(self) -> None:
        refused: Any = StoreRefused("full")
        self.link.refuse("gone", "gone")
        self.link.refuse("gone", str(refused))
        self.assertEqual(self.link.losses, 1)
        self.link.recovered()
        self.link.refuse("gone", "gone")
        self.assertEqual(self.link.losses, 2)
