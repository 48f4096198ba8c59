"""Tests of L{txgear.broker.functions}: those of which fewer jobs may run than there are servers."""

from __future__ import annotations

from txgear.broker.shares import Share
from txgear.test.support.broker import BrokerTestCase


class ShortTests(BrokerTestCase):
    def test_they_are_known(self) -> None:
        self.fixture.worker(b"f")
        functions = self.broker.functions
        self.fixture.set(concurrency=2)
        functions.share = Share(3, 0)
        functions.apply_policy(functions.by_name[b"f"], self.fixture.now)
        self.assertEqual(list(functions.short), [b"f"])
