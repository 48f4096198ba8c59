"""Tests of L{txgear.cli.top.filters}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.top.filters import query_of

KNOWN = ("function", "state", "older")


class FilterTests(SynchronousTestCase):
    def test_words(self) -> None:
        for text, query in (
            ("", {}),
            ("mail", {"function": "*mail*"}),
            ("mail.*", {"function": "mail.*"}),
            ("function=mail", {"function": "mail"}),
            (" state=queued,running  older=1h ", {"state": "queued,running", "older": "1h"}),
            ("mail state=running", {"function": "*mail*", "state": "running"}),
            ("state=a=b", {"state": "a=b"}),
        ):
            self.assertEqual(query_of(text, KNOWN), query, text)

    def test_a_word_that_is_not_known(self) -> None:
        error = self.assertRaises(ValueError, query_of, "colour=red", KNOWN)
        self.assertEqual(str(error), "colour= is not known here; there are function=, state=, older=")
