"""
Tests of L{txgear.broker.tenants}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Peer
from txgear.broker.tenants import UNBOUNDED, Quota, Tenant, Tenants
from txgear.errors import AccessDenied, QueueError
from txgear.policies import Rate


class TenantTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tenant = Tenant("web")

    def refusal(self, size: int = 1) -> str | None:
        """What is said to one more job."""
        try:
            self.tenant.check_room(size)
        except QueueError as error:
            return error.text
        return None

    def test_without_a_quota(self) -> None:
        """Nothing is too much."""
        self.tenant.connections = self.tenant.queued = self.tenant.running = self.tenant.bytes = 10**9
        self.assertEqual((self.tenant.name, self.tenant.quota), ("web", UNBOUNDED))
        self.tenant.check_connections()
        self.assertTrue(self.tenant.submits.take(0.0))
        self.assertEqual((self.refusal(), self.tenant.held), (None, False))
        self.assertEqual(repr(self.tenant), "<Tenant 'web'>")

    def test_connections(self) -> None:
        """One more is refused once there are as many as may be."""
        self.tenant.set_quota(Quota(connections=2), 0.0)
        self.tenant.connections = 1
        self.tenant.check_connections()
        self.tenant.connections = 2
        error = self.assertRaises(AccessDenied, self.tenant.check_connections)
        self.assertEqual((error.act, error.text), ("login", "web has too many connections: connections is 2"))

    def test_queued(self) -> None:
        """One more is refused once there are as many as may be."""
        self.tenant.set_quota(Quota(queued=2), 0.0)
        self.tenant.queued = 1
        self.assertIsNone(self.refusal())
        self.tenant.queued = 2
        self.assertEqual(self.refusal(), "web has too many jobs: queued is 2")

    def test_bytes(self) -> None:
        """What would be too much is refused, and what just fits is not."""
        self.tenant.set_quota(Quota(bytes=10), 0.0)
        self.tenant.bytes = 6
        self.assertIsNone(self.refusal(4))
        self.assertEqual(self.refusal(5), "web has too many jobs: bytes is 10")

    def test_running(self) -> None:
        """As many as may, and more where there were more before."""
        self.tenant.set_quota(Quota(running=2), 0.0)
        found = []
        for self.tenant.running in range(4):
            found.append(self.tenant.held)
        self.assertEqual(found, [False, False, True, True])

    def test_submits(self) -> None:
        """They come as tokens do; a rate that changes leaves what is missing."""
        self.tenant.set_quota(Quota(submits=Rate(0.5, 2)), 100.0)
        taken = [self.tenant.submits.take(now) for now in (100.0, 100.0, 100.4, 100.5)]
        self.assertEqual(taken, [True, True, False, True])
        self.assertEqual(self.tenant.too_fast().text, "web submits too fast: submits is 2/s")
        self.tenant.set_quota(Quota(submits=Rate(2.0, 2)), 100.5)
        self.assertEqual([self.tenant.submits.take(now) for now in (102.4, 102.5)], [False, True])


class TenantsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tenants = Tenants(lambda bounded, now: None)

    def test_the_same(self) -> None:
        """There is one of each name."""
        web = self.tenants.get("web")
        self.assertIs(self.tenants.get("web"), web)
        self.assertIsNot(self.tenants.get("other"), web)

    def test_who_is_not_used_is_forgotten(self) -> None:
        """Unless it is named."""
        web = self.tenants.get("web")
        self.tenants.set_quotas({"named": UNBOUNDED}, 0.0)
        self.assertEqual(set(self.tenants.by_name), {"web", "named"})
        del web
        self.assertEqual(set(self.tenants.by_name), {"named"})
        self.tenants.set_quotas({}, 0.0)
        self.assertEqual(set(self.tenants.by_name), set())

    def test_quotas_hold_at_once(self) -> None:
        """For those that there are, and those that come; who is not named has none."""
        web = self.tenants.get("web")
        quotas = {"web": Quota(queued=1), "new": Quota(queued=2)}
        self.tenants.set_quotas(quotas, 0.0)
        self.assertEqual((web.quota, self.tenants.get("new").quota), (quotas["web"], quotas["new"]))
        self.tenants.set_quotas({"new": Quota(queued=3)}, 0.0)
        self.assertEqual((web.quota, self.tenants.get("new").quota), (UNBOUNDED, Quota(queued=3)))

    def test_who_a_peer_is(self) -> None:
        """It counts for one tenant at a time."""
        peer, web, other = Peer(1, "192.0.2.1"), self.tenants.get("web"), self.tenants.get("other")
        for tenant, counts in ((web, (1, 0)), (web, (1, 0)), (other, (0, 1)), (None, (0, 0)), (None, (0, 0))):
            self.tenants.identify(peer, tenant)
            self.assertIs(peer.tenant, tenant)
            self.assertEqual((web.connections, other.connections), counts)

    def test_who_has_too_many_peers(self) -> None:
        """The peer stays who it was; one that is there already says its name again without harm."""
        peers = [Peer(number, "192.0.2.1") for number in range(2)]
        web, other = self.tenants.get("web"), self.tenants.get("other")
        self.tenants.set_quotas({"web": Quota(connections=1)}, 0.0)
        self.tenants.identify(peers[0], web)
        self.tenants.identify(peers[0], web)
        self.tenants.identify(peers[1], other)
        self.assertRaises(AccessDenied, self.tenants.identify, peers[1], web)
        self.assertEqual((peers[1].tenant, web.connections, other.connections), (other, 1, 1))
