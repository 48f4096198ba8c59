"""
Tests for L{txgear.cli.care.configcheck}.
"""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear import cli
from txgear.cli.care.configcheck import schedules
from txgear.daemon.config import parse_config

FILE = """\
[[function]]
name = "*"
retries = 5
[function.backoff]
kind = "fixed"

[[function]]
names = ["mail", "report"]
rate = "10/s"

[[schedule]]
name = "nightly"
cron = "30 2 * * *"
timezone = "Europe/Berlin"
function = "report"
"""


class CheckTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.path = Path(self.mktemp())

    def check(self, text: str, *words: str) -> int:
        self.path.write_text(text, "utf-8")
        return cli.main(["config", "check", str(self.path), *words])

    def test_what_is_shown_may_stand_in_the_file(self) -> None:
        """Times and sizes have units, and a wait that is always the same is that time alone."""
        text = """\
[[function]]
name = "mail"
retries = { fail = 3, lost = 20 }
backoff = "90s"
dead = { keep = "36h", jobs = 0, bytes = 0 }
timeout = "250ms"
max_bytes = "1536K"
"""
        self.assertEqual(self.check(text, "mail"), 0)
        shown = [line.strip() for line in self.out.getvalue().splitlines() if line.startswith("  ")]
        self.assertEqual(shown, text.splitlines()[2:])

    def test_what_is_in_it(self) -> None:
        """Each pattern with its settings, each schedule, and what never counts; the status is 0."""
        self.assertEqual(self.check(FILE), 0)
        lines = self.out.getvalue().splitlines()
        self.assertEqual(lines[0], f"{self.path}: policies for 3 patterns, 1 schedule")
        self.assertEqual(lines[1:3], ["function *", "  retries = 5"])
        self.assertIn('  backoff = { kind = "fixed", first = "10s", most = "1h", jitter = 0.1 }', lines)
        self.assertIn('  dead = { keep = "30d", jobs = 100000, bytes = "1G" }', lines)
        self.assertIn('  rate = { jobs = "10/s", burst = 1 }', lines)
        self.assertIn("schedule nightly: report at 30 2 * * *", lines)
        self.assertEqual(
            lines[-2:],
            [
                f"{self.path}, line 8 never counts: '*' in line 2 takes all that {name!r} matches"
                for name in ("mail", "report")
            ],
        )
        self.assertEqual(self.err.getvalue(), "")

    def test_a_setting_under_an_earlier_name(self) -> None:
        """It is shown under that of today, and mentioned; the status is 0."""
        self.assertEqual(self.check('[[function]]\nname = "f"\nonce = 60\n'), 0)
        self.assertEqual(
            self.out.getvalue().splitlines()[1:],
            [
                "function f",
                '  unique_for = "1m"',
                f"{self.path}, line 3: function.once is called unique_for now; both names are taken",
            ],
        )

    def test_functions(self) -> None:
        """Which policy a function has."""
        text = '[[function]]\nname = "mail.*"\nretries = 1\n'
        self.assertEqual(self.check(text, "mail.send", "other"), 0)
        self.assertEqual(
            self.out.getvalue().splitlines()[1:3], ["function mail.send: that of mail.*", "  retries = 1"]
        )
        self.assertEqual(self.out.getvalue().splitlines()[-1], "function other: no policy")

    def test_identities_and_rules(self) -> None:
        """Who may do what, and which rules never count; of a function, who may do what with it."""
        text = """\
[[identity]]
name = "web"
addresses = ["10.1.0.0/16"]
[[access]]
identities = ["web"]
allow = ["submit", "steer"]
functions = ["mail.*"]
[[access]]
identities = ["web"]
allow = ["see"]
[[access]]
identities = ["*"]
deny = ["see"]
"""
        self.assertEqual(self.check(text), 0)
        self.assertEqual(
            self.out.getvalue().splitlines()[1:],
            [
                "identity web: address 10.1.0.0/16",
                "  submit, steer: mail.*",
                "nobody",
                "  nothing",
                f"{self.path}, line 8 never counts: line 11 denies all that it allows",
            ],
        )
        self.assertEqual(self.check(text, "mail.send", "other"), 0)
        self.assertEqual(
            self.out.getvalue().splitlines()[-4:-1],
            ["function mail.send: no policy", "  web may submit, steer", "function other: no policy"],
        )

    def test_mistakes(self) -> None:
        """One line for each table that has one, in the order of the file, and the status 1."""
        text = """\
[[schedule]]
name = "x"
cron = "soon"
function = "f"
[[function]]
name = "a"
retries = -1
[[function]]
names = []
[other]
"""
        self.assertEqual(self.check(text), 1)
        lines = self.err.getvalue().splitlines()
        self.assertEqual(len(lines), 4, lines)
        for number, line in zip((3, 7, 9, 10), lines, strict=True):
            self.assertIn(f", line {number}: ", line)
        self.assertEqual(self.out.getvalue(), "")

    def test_no_file(self) -> None:
        self.assertEqual(cli.main(["config", "check", "/nowhere/policies.toml"]), 1)
        self.assertEqual(
            self.err.getvalue(),
            "txgear config: cannot read /nowhere/policies.toml: No such file or directory\n",
        )
        self.assertEqual(self.check("[["), 1)
        self.assertEqual(len(self.err.getvalue().splitlines()), 2)

    def test_only_the_file_is_wanted(self) -> None:
        """Functions may follow, and are not asked for."""
        self.assertEqual(cli.main(["config", "check"]), 2)
        self.assertEqual(
            self.err.getvalue(),
            "txgear config check: Missing argument 'FILE'. (see txgear config check --help)\n",
        )

    def test_times(self) -> None:
        """The next times of a schedule, as its own clock shows them."""
        config = parse_config(FILE, "x")
        # Saturday before the clocks are put back.
        self.assertEqual(
            list(schedules(config, 1792845000.0)),
            [
                "schedule nightly: report at 30 2 * * *",
                "  next: Sun 2026-10-25 02:30:00 CEST, Mon 2026-10-26 02:30:00 CET,"
                " Tue 2026-10-27 02:30:00 CET",
            ],
        )
