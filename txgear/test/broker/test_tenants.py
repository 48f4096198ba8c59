"""
Tests of L{txgear.broker.tenants}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.tenants import Tenant


class TenantTests(SynchronousTestCase):
    def test_name(self) -> None:
        """It has the name of its identity."""
        self.assertEqual(Tenant("web").name, "web")
