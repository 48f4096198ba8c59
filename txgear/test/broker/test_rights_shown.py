"""
Tests of L{txgear.broker.rights}: what a peer is shown, and what a word means to it.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Function, Peer
from txgear.broker.rights import PEERS, PURGE, READ, SEE, allowed, knows, meets, reads, seen_by
from txgear.broker.tenants import Tenant
from txgear.errors import AccessDenied
from txgear.test.support.broker import FakeRights, make_job


class ShownTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.peer, self.other = Peer(7, "10.0.0.7"), Peer(8, "10.0.0.8")
        self.function = Function(b"f")

    def test_functions(self) -> None:
        """Each of the two acts is for itself."""
        self.assertTrue(knows(self.peer, self.function) and reads(self.peer, self.function))
        self.peer.rights = FakeRights((SEE, b"f"))
        self.assertFalse(knows(self.peer, self.function))
        self.assertTrue(reads(self.peer, self.function))
        self.peer.rights = FakeRights((READ, b"f"))
        self.assertTrue(knows(self.peer, self.function))
        self.assertFalse(reads(self.peer, self.function))

    def test_jobs(self) -> None:
        """Where there are no rules nothing is asked."""
        self.assertIsNone(seen_by(self.peer))
        self.peer.rights = FakeRights((SEE, b"f"))
        sees = seen_by(self.peer)
        assert sees is not None
        self.assertFalse(sees(make_job(self.function)))
        self.assertTrue(sees(make_job(Function(b"g"))))

    def test_peers(self) -> None:
        """Whoever may not see others sees itself, and those of its own identity; nobody is no identity."""
        self.assertTrue(meets(self.peer, self.other))
        self.peer.rights = FakeRights((PEERS, b""))
        self.assertTrue(meets(self.peer, self.peer))
        web = Tenant("web")
        for mine, its, known in (
            (web, web, True),
            (web, Tenant("mail"), False),
            (web, None, False),
            (None, web, False),
            (None, None, False),
        ):
            self.peer.tenant, self.other.tenant = mine, its
            self.assertIs(meets(self.peer, self.other), known)
        self.peer.rights = FakeRights()
        self.assertTrue(meets(self.peer, self.other))


class AllowedTests(SynchronousTestCase):
    """What a word means that may be read as one name or another."""

    def allowed(self, *denied: bytes) -> list[bytes]:
        peer = Peer(7, "10.0.0.7")
        peer.rights = FakeRights(*((PURGE, name) for name in denied)) if denied else None
        return allowed(peer, PURGE, [b"first", b"second"])

    def test_those_that_are_allowed(self) -> None:
        self.assertEqual(self.allowed(), [b"first", b"second"])
        self.assertEqual(self.allowed(b"third"), [b"first", b"second"])
        self.assertEqual(self.allowed(b"first"), [b"second"])
        self.assertEqual(self.allowed(b"second"), [b"first"])

    def test_none(self) -> None:
        """The text has the likeliest meaning, whether or not there is such a function."""
        error = self.assertRaises(AccessDenied, self.allowed, b"first", b"second")
        self.assertEqual((error.text, error.act, error.name), ("Not allowed: purge first", "purge", b"first"))
