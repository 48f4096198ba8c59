"""
Tests for L{txgear.cli.care.config}.
"""

from __future__ import annotations

import json
import sys
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear import cli
from txgear.test.cli.care.test_access import FILE


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

    def test_mistakes_in_json(self) -> None:
        self.path.write_text("[other]\n")
        self.assertEqual(cli.main(["config", "check", str(self.path), "--json"]), 1)
        [mistake] = json.loads(self.out.getvalue())["mistakes"]
        self.assertIn(", line 1: other: ", mistake)
        self.assertEqual(self.err.getvalue(), "")

    def test_json(self) -> None:
        """All of the file, or what holds for some functions."""
        text = '[[function]]\nname = "mail.*"\nretries = 2\n[[schedule]]\nname = "s"\ncron = "0 3 * * *"\n'
        self.path.write_text(f'{text}timezone = "UTC"\nfunction = "f"\n{FILE}')
        self.assertEqual(cli.main(["config", "check", str(self.path), "--json"]), 0)
        found = json.loads(self.out.getvalue())
        self.assertEqual(found["mistakes"], [])
        [policy] = found["policies"]
        self.assertEqual((policy["pattern"], policy["settings"]["retries"]), ("mail.*", 2))
        [schedule] = found["schedules"]
        self.assertEqual((schedule["name"], schedule["function"], schedule["cron"]), ("s", "f", "0 3 * * *"))
        self.assertTrue(all(at.endswith("03:00:00+00:00") for at in schedule["next"]))
        self.assertEqual(
            [each["identity"] for each in found["identities"]], ["web", "team-a", "ops", "nobody"]
        )
        self.out.truncate(0)
        self.out.seek(0)
        self.assertEqual(cli.main(["config", "check", str(self.path), "mail.x", "other", "--json"]), 0)
        one, other = json.loads(self.out.getvalue())["functions"]
        self.assertEqual(one, {**one, "pattern": "mail.*", "settings": policy["settings"]})
        self.assertEqual(one["access"]["web"], ["submit", "see"])
        self.assertEqual((other["pattern"], other["settings"]), (None, {}))

    def test_mistakes(self) -> None:
        for words in ((), ("show",), ("check",)):
            self.assertEqual(cli.main(["config", *words]), 2)
