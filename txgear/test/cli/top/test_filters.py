"""Tests of L{txgear.cli.top.filters}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.top.filters import exactly, query_of, typed_name

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

    def test_a_word_alone(self) -> None:
        """It is for what the view is about."""
        self.assertEqual(query_of("mailer-1", ("worker", "function")), {"worker": "mailer-1"})
        self.assertEqual(query_of("function=mail", ("worker", "function")), {"function": "mail"})

    def test_a_word_that_is_not_known(self) -> None:
        error = self.assertRaises(ValueError, query_of, "colour=red", KNOWN)
        self.assertEqual(str(error), "colour= is not known here; there are function=, state=, older=")

    def test_names_of_all_kinds(self) -> None:
        """A name that was typed for somebody is one word, and finds nothing else."""
        for name, word in (
            ("mail.send", "mail.send"),
            ("App\\Jobs", "App\\Jobs"),
            ("a b\tc", "a\\x20b\\x09c"),
            ("a*[b]?", "a[*][[]b][?]"),
            ("x\u2003y", "x\\xe2\\x80\\x83y"),
        ):
            made = exactly(typed_name(name))
            self.assertEqual(made, word)
            self.assertEqual(query_of(f"function={made} state=queued", KNOWN)["function"], word)
