"""Tests of L{txgear.web.pages.asked}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.web.pages.asked import LONGEST_PATH, own_path


class OwnPathTests(SynchronousTestCase):
    def test_own(self) -> None:
        for path in (
            "/",
            "/jobs?function=mail.*&state=dead",
            "/functions/a%2F%0D%0Ab",
            "/a//b",
            "/..",
            "/?a=//b",
        ):
            self.assertEqual(own_path(path), path)

    def test_of_others(self) -> None:
        for path in (
            "",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/a\\b",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r\nSet-Cookie: a=b",
            "\t//evil.example",
            " /",
            "/ /evil.example",
            "/a b",
            "/\0",
            "/\x7f",
            "/ä",
            "/\u2028",
            "https://evil.example/",
            "javascript:alert(1)",
            "evil.example",
            "?a",
            "#a",
            "/" * 2,
            "/" + "x" * LONGEST_PATH,
        ):
            self.assertEqual(own_path(path), "/", path)
