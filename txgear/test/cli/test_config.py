"""
Tests for L{txgear.cli.config}.
"""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear import cli
from txgear.test.cli.test_access import FILE


class ConfigTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.path = Path(self.mktemp())
        self.path.write_text(FILE, "utf-8")

    def test_it_says_its_own_name(self) -> None:
        self.path.write_text("[other]\n")
        self.assertEqual(cli.main(["config", "check", str(self.path)]), 1)
        self.assertTrue(self.err.getvalue().startswith(f"txgear config check: {self.path}, line 1: other: "))

    def test_help(self) -> None:
        """The command's own help says what it takes."""
        self.assertEqual(cli.main(["config", "check", "--help"]), 0)
        self.assertIn("usage: txgear config check [-h] FILE [FUNCTION ...]", self.out.getvalue())
        self.assertEqual(cli.main(["config", "--help"]), 0)

    def test_mistakes(self) -> None:
        for words in ((), ("show",), ("check",)):
            self.assertEqual(cli.main(["config", *words]), 1)
        self.assertEqual(len(self.err.getvalue().splitlines()), 3)
