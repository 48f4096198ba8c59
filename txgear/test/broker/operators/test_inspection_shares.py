"""Tests of L{txgear.broker.operators.inspection}: what is shown of a share."""

from __future__ import annotations

from txgear.broker.operators import inspection
from txgear.broker.shares import Share
from txgear.policies import CLASSIC
from txgear.test.support.broker import BrokerTestCase


class ShareTests(BrokerTestCase):
    def test_of_what_is_divided(self) -> None:
        policy = CLASSIC.with_settings({"rate": "10/s", "concurrency": 4})
        self.assertIsNone(inspection.share(self.broker, b"f", policy))
        self.broker.functions.share = Share(2, 0)
        found = inspection.share(self.broker, b"f", policy)
        assert found is not None
        self.assertEqual((found["servers"], found["concurrency"]), (2, 2))
        self.assertIsNone(inspection.share(self.broker, b"f", CLASSIC))
        policy = CLASSIC.with_settings({"concurrency": 4})
        found = inspection.share(self.broker, b"f", policy)
        assert found is not None
        self.assertIsNone(found["rate"])
