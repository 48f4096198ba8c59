"""Tests of L{txgear.web.front}."""

from __future__ import annotations

from txgear._version import __version__
from txgear.test.support.web import WebTestCase
from txgear.web import front, health
from txgear.web.events import readers


class FrontTests(WebTestCase):
    parts = (readers, front, health)

    def test_what_there_is(self) -> None:
        answer = self.ask("GET", "/")
        self.assertEqual(answer.status, 200)
        expected = {"server": f"txgear {__version__}", "paths": ["/events", "/health", "/ready"]}
        self.assertEqual(answer.json, expected)

    def test_not_without_rights(self) -> None:
        self.allow("http")
        self.assertEqual(self.ask("GET", "/").status, 200)
        self.headers = {}
        self.assertEqual(self.ask("GET", "/").status, 401)
