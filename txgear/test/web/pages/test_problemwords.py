"""Tests of L{txgear.web.pages.problemwords}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.web.answers import Problem
from txgear.web.pages.problemwords import BY_CODE, BY_STATUS, OTHER, words


class WordsTests(SynchronousTestCase):
    def test_code_before_status(self) -> None:
        self.assertIs(words(Problem(403, "no_access_rules", "")), BY_CODE["no_access_rules"])
        self.assertIs(words(Problem(403, "access_denied", "")), BY_STATUS[403])
        self.assertIs(words(Problem(418, "teapot", "")), OTHER)

    def test_whole_sentences(self) -> None:
        for each in (*BY_CODE.values(), *BY_STATUS.values(), OTHER):
            self.assertTrue(each.advice.endswith("."), each)
            self.assertFalse(each.title.endswith("."), each)
