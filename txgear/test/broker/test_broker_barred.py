"""
Workers that sleep while something of a higher priority is being read: what they can do may change.
"""

from __future__ import annotations

from txgear.protocol.constants import HIGH
from txgear.test.support.broker import DurableBrokerTestCase


class BarredTests(DurableBrokerTestCase):
    queue_memory = 4

    def setUp(self) -> None:
        """A job of C{f} is being read; one of C{g}, of a lower priority, waits behind it."""
        super().setUp()
        self.worker = self.fixture.worker(b"f", b"g")
        self.fixture.store(b"1234", b"5678", priority=HIGH)
        self.client = self.fixture.connect()
        self.fixture.submit(self.client, b"g")
        self.fixture.grab(self.worker)
        self.assertIsNone(self.fixture.grab(self.worker))
        self.fixture.sleep(self.worker)
        self.assertEqual((self.fixture.woken(), self.worker.barred), ([], HIGH))

    def test_one_more_function_changes_nothing(self) -> None:
        self.broker.can_do(self.worker, b"h", 0.0, self.fixture.now)
        self.assertEqual((self.fixture.woken(), self.worker.barred), ([], HIGH))

    def test_without_that_function_there_is_something_to_do(self) -> None:
        self.broker.cant_do(self.worker, b"f", self.fixture.now)
        self.assertEqual((self.fixture.woken(), self.worker.barred), ([self.worker], None))

    def test_what_has_been_read_is_for_it(self) -> None:
        self.fixture.read_all()
        self.assertEqual((self.fixture.woken(), self.worker.barred), ([self.worker], None))
