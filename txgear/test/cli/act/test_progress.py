"""
Tests for L{txgear.cli.act.progress}.
"""

from __future__ import annotations

import re
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.act.progress import Progress, part_done
from txgear.test.cli.support import Terminal


def task(state: str, **more: Any) -> dict[str, Any]:
    counts = {"total": 10, "looked_at": 4, "matched": 8, "done": 2, "passed": 1, "failed": 3}
    return {"state": state, "preview": False, **counts, **more}


class PartDoneTests(SynchronousTestCase):
    def test_looking_comes_before_acting(self) -> None:
        self.assertEqual(part_done(task("waiting")), (4, 10))
        self.assertEqual(part_done(task("counting")), (4, 10))
        self.assertEqual(part_done(task("acting")), (6, 8))
        self.assertEqual(part_done(task("done")), (6, 8))
        self.assertEqual(part_done(task("done", preview=True)), (4, 10))


class ProgressTests(SynchronousTestCase):
    def shown(self, stream: StringIO, *tasks: tuple[str, dict[str, Any]]) -> str:
        with redirect_stderr(stream), Progress() as progress:
            progress.show(tasks)
            progress.show(tasks)
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())

    def test_nobody_sees_it(self) -> None:
        self.assertEqual(self.shown(StringIO(), ("a:1", task("acting"))), "")

    def test_on_a_terminal(self) -> None:
        """Of several each has its server's name, whatever that is."""
        found = self.shown(Terminal(), ("a:1", task("acting")))
        self.assertIn("acting", found)
        self.assertIn("6/8", found)
        self.assertIn("3 failed", found)
        self.assertNotIn("a:1", found)
        found = self.shown(Terminal(), ("[bold]a:1", task("acting")), ("b:1", task("done", failed=0)))
        self.assertIn("[bold]a:1", found)
        self.assertIn("b:1", found)
