"""Tests of L{txgear.broker.life.operations}: what a server may do of what is for several."""

from __future__ import annotations

from txgear.broker.shares import Share
from txgear.test.support.broker import BrokerTestCase


class ShareTests(BrokerTestCase):
    def bound(self) -> int | None:
        throttle = self.broker.functions.by_name[b"f"].throttle
        assert throttle is not None
        return throttle.concurrency

    def test_more_servers(self) -> None:
        """Functions without limits are left alone."""
        for name in (b"f", b"g"):
            self.fixture.worker(name)
        self.fixture.set("f", concurrency=4)
        self.broker.operations.set_share(Share(2, 0), self.fixture.now)
        self.assertEqual(self.bound(), 2)
        self.assertIsNone(self.broker.functions.by_name[b"g"].throttle)

    def test_what_is_borrowed(self) -> None:
        self.fixture.worker(b"f")
        self.fixture.set(concurrency=1)
        operations, now = self.broker.operations, self.fixture.now
        operations.set_share(Share(3, 0), now)
        self.assertEqual(self.bound(), 0)
        for _ in range(2):
            operations.borrow({b"f": 1, b"nobody's": 1}, now)
            self.assertEqual(self.bound(), 1)
        operations.borrow({}, now)
        self.assertEqual(self.bound(), 0)
