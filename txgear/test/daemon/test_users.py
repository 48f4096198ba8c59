"""
Tests for L{txgear.daemon.users}.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.users import find_user
from txgear.errors import ConfigurationError


class FindUserTests(SynchronousTestCase):
    def test_found(self) -> None:
        """By name and by number; ourselves we may always become."""
        self.patch(os, "geteuid", lambda: 0)
        self.assertEqual((find_user("root"), find_user("0")), (0, 0))

    def test_unknown(self) -> None:
        for name in ("no-such-user", "2000000000", "9" * 30):
            error = self.assertRaises(ConfigurationError, find_user, name)
            self.assertEqual(str(error), f"there is no user {name}")

    def test_not_allowed(self) -> None:
        self.patch(os, "geteuid", lambda: 12345)
        self.assertIn("only root", str(self.assertRaises(ConfigurationError, find_user, "root")))
