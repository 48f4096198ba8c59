"""Tests of L{txgear.broker.dispatcher}: a server drains that has jobs which are not in memory."""

from __future__ import annotations

from txgear.broker.paging import JOB_BYTES
from txgear.protocol.constants import HIGH, NORMAL
from txgear.test.support.broker import DurableBrokerTestCase


class DrainTests(DurableBrokerTestCase):
    queue_memory = JOB_BYTES

    def test_they_wait_for_good(self) -> None:
        """That is how they are counted, and nothing of them is read."""
        for priority in (HIGH, HIGH, NORMAL):
            self.fixture.store(b"1", b"2", priority=priority)
        self.fixture.read_all()
        function = self.broker.functions.get(b"f")
        self.assertNotEqual(function.lanes.rows_count, 0)
        self.fixture.drain()
        self.assertEqual((function.waiting, function.total, function.lanes.rows_count), (6, 6, 0))
        self.assertEqual([list(ring) for ring in self.broker.dispatcher.rings], [[], [], []])
        self.assertTrue(self.broker.drained)
        self.assertIsNone(self.fixture.grab(self.fixture.worker(b"f")))
