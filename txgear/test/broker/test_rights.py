"""
Tests of L{txgear.broker.rights}.
"""

from __future__ import annotations

from collections.abc import Collection

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Peer
from txgear.broker.rights import PURGE, SEE, SHUTDOWN, check, check_join, may, sees
from txgear.broker.tenants import Tenant
from txgear.errors import AccessDenied
from txgear.test.support.broker import make_job


class Only:
    """Rights to one act for one function."""

    submits: Collection[bytes] = ()

    def __init__(self, act: str, function: bytes = b"") -> None:
        self._one = act, function

    def may(self, act: str, function: bytes = b"") -> bool:
        """Part of L{txgear.broker.rights.Rights}."""
        return (act, function) == self._one


class RightsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.peer = Peer(7, "10.0.0.7")
        self.job = make_job()

    def test_no_rules(self) -> None:
        """Without rules a peer may do anything, and see any job."""
        check(self.peer, SHUTDOWN)
        self.assertTrue(may(self.peer, PURGE, b"f"))
        self.assertIs(sees(self.peer, self.job), self.job)

    def test_denied(self) -> None:
        """The error says what was asked for."""
        self.peer.rights = Only(SEE, b"f")
        check(self.peer, SEE, b"f")
        error = self.assertRaises(AccessDenied, check, self.peer, PURGE, b"f g")
        self.assertEqual((error.code, error.text), ("ACCESS_DENIED", "Not allowed: purge f g"))
        self.assertEqual((error.act, error.name), ("purge", b"f g"))
        error = self.assertRaises(AccessDenied, check, self.peer, SHUTDOWN)
        self.assertEqual(error.text, "Not allowed: shutdown")

    def test_sees(self) -> None:
        """A job of a function that the peer may not know of is none to it."""
        self.assertIsNone(sees(self.peer, None))
        self.peer.rights = Only(SEE, b"f")
        self.assertIs(sees(self.peer, self.job), self.job)
        self.peer.rights = Only(SEE, b"g")
        self.assertIsNone(sees(self.peer, self.job))

    def test_joining(self) -> None:
        """One's own can be joined; what is another's, or nobody's, by whoever may know of it."""
        web, other = Tenant("web"), Tenant("other")
        for mine, its, rights, allowed in (
            (web, web, Only(PURGE), True),
            (web, other, Only(PURGE), False),
            (web, None, Only(PURGE), False),
            (None, None, Only(PURGE), False),
            (web, other, Only(SEE, b"f"), True),
            (None, web, None, True),
        ):
            self.peer.tenant, self.job.tenant, self.peer.rights = mine, its, rights
            if allowed:
                check_join(self.peer, self.job)
            else:
                error = self.assertRaises(AccessDenied, check_join, self.peer, self.job)
                self.assertEqual((error.act, error.text), ("see", "Not allowed: see f"))
