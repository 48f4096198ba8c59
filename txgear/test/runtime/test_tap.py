"""
Tests for L{txgear.runtime.tap}.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.python.reflect import namedAny
from twisted.python.usage import Options as UsageOptions
from twisted.trial.unittest import SynchronousTestCase

from txgear._version import __version__
from txgear.runtime.config import RuntimeTable
from txgear.runtime.loglines import Lines
from txgear.runtime.tap import Options, json_log, logger_of, text_log


class Twistd(UsageOptions):
    """The options of C{twistd}, as far as they matter."""

    optParameters: Sequence[Any] = [("logfile", "l", None, ""), ("logger", None, None, "")]
    optFlags: Sequence[Any] = [("nodaemon", "n", ""), ("syslog", None, "")]
    subCommands: Sequence[Any] = [("txgear-worker", None, Options, "")]


class OptionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_text("modules = ['m']\n[group.a]\n")

    def refusal(self, *words: str) -> str:
        return str(self.assertRaises(SystemExit, Options().parseOptions, words))

    def test_the_file(self) -> None:
        """Its name is whole, as a daemon goes elsewhere."""
        options = Options()
        options.parseOptions(["-c", str(self.path)])
        self.assertEqual(options["config"], str(self.path.resolve()))
        self.assertEqual(list(options.table.group), ["a"])

    def test_watch(self) -> None:
        """What the command line says holds however often the file is read."""
        options = Options()
        options.parseOptions(["-c", str(self.path), "--watch"])
        self.assertEqual((options.table.watch, options.read().watch), (True, True))
        options = Options()
        options.parseOptions(["-c", str(self.path)])
        self.assertFalse(options.table.watch)
        self.path.write_text("modules = ['m']\nwatch = true\n[group.a]\n")
        self.assertTrue(options.read().watch)

    def test_mistakes(self) -> None:
        self.assertEqual(self.refusal(), "txgear-worker: --config is wanted: a file with what there is to do")
        self.assertEqual(
            self.refusal("x.toml"),
            "txgear-worker: x.toml: there are options only; the file is that of --config",
        )
        self.assertIn("cannot read /nowhere/x.toml", self.refusal("--config", "/nowhere/x.toml"))

    def test_mistakes_of_the_file(self) -> None:
        """Each has a line."""
        self.path.write_text("modules = ['m']\n[group.a]\nmaxx = 1\nsplay = 2\n")
        first, second = self.refusal("--config", str(self.path)).splitlines()
        self.assertIn("line 3: group.a.maxx: there is no such setting", first)
        self.assertIn("line 4: group.a.splay: ", second)
        for line in (first, second):
            self.assertTrue(line.startswith("txgear-worker: "), line)

    def test_version(self) -> None:
        out = StringIO()
        self.patch(sys, "stdout", out)
        self.assertEqual(self.assertRaises(SystemExit, Options().parseOptions, ["--version"]).code, 0)
        self.assertEqual(out.getvalue(), f"txgear {__version__}\n")


class LogTests(SynchronousTestCase):
    def logger(self, *words: str, style: str = "json") -> Any:
        path = Path(self.mktemp())
        path.write_text(f"modules = ['m']\nlog = '{style}'\n[group.a]\n")
        twistd = Twistd()
        twistd.parseOptions([*words, "txgear-worker", "-c", str(path)])
        return twistd["logger"]

    def test_json(self) -> None:
        """C{twistd} finds it by its name."""
        self.assertIs(namedAny(self.logger("-n")), json_log)
        self.assertIsInstance(json_log(), Lines)

    def test_text(self) -> None:
        """C{twistd}'s own does, unless somebody asks for ours."""
        self.assertIs(namedAny(logger_of(RuntimeTable(group={}))), text_log)
        self.assertIsInstance(text_log(), Lines)

    def test_somebody_wants_something_else(self) -> None:
        self.assertIs(self.logger("-n", style="text"), None)
        self.assertEqual(self.logger("-n", "--logger", "mine"), "mine")
        self.assertIs(self.logger("-n", "--logfile", str(Path(self.mktemp()).resolve())), None)

    def test_a_daemon(self) -> None:
        """It has no standard output: its log is a file of C{twistd}'s."""
        self.assertIs(self.logger(), None)
