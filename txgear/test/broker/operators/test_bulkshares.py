"""Tests of L{txgear.broker.operators.bulkshares}: what other servers do of an act on many jobs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.operators.bulkshares import Figures, Share


class BulkSharesTests(SynchronousTestCase):
    def test_figures_are_added_up(self) -> None:
        self.assertEqual(Figures(1, 2, 3, 4, 5, 6).plus(Figures(10, 20, 30)), Figures(11, 22, 33, 4, 5, 6))

    def test_it_ends(self) -> None:
        share = Share("a")
        self.assertEqual(
            (share.figures, share.counted, share.ended, share.problem), (Figures(), False, 0.0, "")
        )
        share.end(7.0, "it is gone")
        self.assertEqual((share.name, share.ended, share.problem), ("a", 7.0, "it is gone"))
