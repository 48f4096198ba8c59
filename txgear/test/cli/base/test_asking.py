"""
Tests for L{txgear.cli.base.asking}.
"""

from __future__ import annotations

from contextlib import redirect_stderr
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.asking import LONGEST_ANSWER, be_sure, people
from txgear.cli.base.statuses import FAILED, MISUSED, CommandError


class BeSureTests(SynchronousTestCase):
    def test_only_a_yes_is_a_yes(self) -> None:
        for answer in ("y\n", "Y\n", " yes \n", "YES"):
            shown: list[str] = []
            be_sure("Cancel 3 jobs?", StringIO(answer), shown.append)
            self.assertEqual(shown, ["Cancel 3 jobs? [y/N] "])
        for answer in ("", "\n", "n\n", "no\n", "yellow\n", "y" * (2 * LONGEST_ANSWER)):
            error = self.assertRaises(CommandError, be_sure, "Cancel?", StringIO(answer), lambda shown: None)
            self.assertEqual((error.status, error.text), (FAILED, "nothing has been done"))

    def test_nobody_can_be_asked(self) -> None:
        error = self.assertRaises(CommandError, be_sure, "Cancel 3 jobs?", None)
        self.assertEqual(error.status, MISUSED)
        self.assertTrue(error.text.startswith("Cancel 3 jobs? "), error.text)
        self.assertIn("--yes", error.text)

    def test_the_question_does_nothing_to_a_terminal(self) -> None:
        with redirect_stderr(StringIO()) as shown:
            be_sure("Drop \x1b[31m?", StringIO("y\n"))
        self.assertEqual(shown.getvalue(), "Drop \\x1b[31m? [y/N] ")

    def test_without_anybody_who_sees_the_question(self) -> None:
        with redirect_stderr(StringIO()), people() as answers:
            self.assertIs(answers, None)
