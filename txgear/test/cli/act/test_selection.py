"""
Tests for L{txgear.cli.act.selection}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.operators.bulkacts import KINDS
from txgear.cli.act.selection import FILTERS, Selection, selected
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.server.tasks import OF_TASKS


class SelectedTests(SynchronousTestCase):
    def select(
        self, *handles: str, of: str = "jobs", preview: bool = False, **given: str | None
    ) -> Selection:
        return selected(handles, given, of, preview=preview, yes=False, as_json=False)

    def refusal(self, *handles: str, **given: Any) -> str:
        error: CommandError = self.assertRaises(CommandError, self.select, *handles, **given)
        self.assertEqual(error.status, MISUSED)
        return error.text

    def test_handles_or_a_filter(self) -> None:
        self.assertEqual(self.select("H:1", "H:2", function=None).handles, ("H:1", "H:2"))
        found = self.select(function="mail.*", text="\udcff", unique=None)
        self.assertEqual((found.handles, found.filter), ((), {"function": "mail.*", "text": "\\xff"}))
        self.assertIn("not both", self.refusal("H:1", function="*"))
        self.assertIn("--function '*' is for all", self.refusal(function=None))
        self.assertIn("--preview", self.refusal("H:1", preview=True))
        # An empty text is a filter all the same: no act is for all jobs by mistake.
        self.assertEqual(self.select(function="").filter, {"function": ""})

    def test_each_list_has_filters_of_its_own(self) -> None:
        self.assertEqual(
            self.refusal(of="dead", state="queued"),
            "--state: only jobs are looked for by it, not dead",
        )
        self.assertEqual(self.select(of="dead", reason="fail", review="odd").of, "dead")
        self.assertIn("only dead", self.refusal(of="kept", reason="fail"))

    def test_they_are_those_of_the_server(self) -> None:
        for of, names in FILTERS.items():
            self.assertEqual(sorted(names), sorted(OF_TASKS[of]))
            self.assertTrue(any(of in lists for lists in KINDS.values()))

    def test_handles_on_standard_input(self) -> None:
        self.assertTrue(self.select("H:1", "-").from_input)
        self.assertFalse(self.select("H:1").from_input)
