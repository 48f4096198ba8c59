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

    def said(self, *words: str) -> str:
        """What a command says that finds no mistake."""
        self.out.truncate(0)
        self.out.seek(0)
        self.assertEqual(cli.main(list(words)), 0)
        return self.out.getvalue()

    def test_it_is_what_txgear_check_does(self) -> None:
        for words in ((), ("mail.send",)):
            self.assertEqual(
                self.said("config", "check", str(self.path), *words),
                self.said("check", str(self.path), *words),
            )

    def test_it_says_its_own_name(self) -> None:
        self.path.write_text("[other]\n")
        self.assertEqual(cli.main(["config", "check", str(self.path)]), 1)
        self.assertTrue(self.err.getvalue().startswith(f"txgear config check: {self.path}, line 1: other: "))

    def test_help(self) -> None:
        """The command's own help says what it takes."""
        self.assertRaises(SystemExit, cli.main, ["config", "check", "--help"])
        self.assertIn("usage: txgear config check [-h] FILE [FUNCTION ...]", self.out.getvalue())
        self.assertRaises(SystemExit, cli.main, ["config", "--help"])

    def test_mistakes(self) -> None:
        for words in ((), ("show",), ("check",)):
            self.assertEqual(cli.main(["config", *words]), 1)
        self.assertEqual(len(self.err.getvalue().splitlines()), 3)
