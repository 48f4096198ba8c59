"""Tests of L{txgear.web.pages.troubles}."""

from __future__ import annotations

import re

from txgear.test.support.web import WebPeer, WebTestCase
from txgear.web.pages import dashboard
from txgear.web.pages.survey import PERIOD

BROWSER = {"Accept": "text/html"}


class TroublesTests(WebTestCase):
    parts = (dashboard,)

    def page(self, path: str = "/troubles") -> str:
        client = self.connect()
        client.ask_web("GET", path, {**self.headers, **BROWSER})
        # A look is taken in pieces.
        self.clock.pump([0] * 10)
        answer = client.web_answer()
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body.decode()

    def submit(self, name: bytes) -> None:
        self.broker.submit(None, name, b"", b"w", self.server.seconds(), background=True)

    def submit_many(self, functions: int) -> None:
        for place in range(functions):
            self.submit(b"f%03d" % place)

    def told(self, html: str) -> list[str]:
        """The functions that it tells of."""
        return re.findall(r'<strong><a href="/functions/[^"]*">([^<]*)</a></strong>', html)

    def kept_open(self) -> WebPeer:
        client = self.connect()
        client.ask_web("GET", "/troubles", {**self.headers, "Accept": "text/event-stream"})
        self.clock.pump([0] * 10)
        return client

    def test_all_is_well(self) -> None:
        html = self.page()
        self.assertIn('class="finding ok">Nothing is wrong.', html)
        self.assertIn("<h1>What is wrong</h1>", html)
        self.assertIn('<p><a href="/">Overview</a></p>', html)
        self.assertIn('<a href="/" data-key="o" aria-current="page">Overview</a>', html)

    def test_the_overview_leads_here_and_here_are_all(self) -> None:
        self.submit_many(100)
        overview = self.page("/")
        self.assertIn('Something is wrong with <a href="/troubles">80 more functions</a>.', overview)
        names = self.told(self.page())
        self.assertEqual(names[:20], self.told(overview))
        self.assertEqual(sorted(names), [f"f{place:03}" for place in range(100)])
        self.assertNotIn("more", self.page().partition("<main")[2])

    def test_one_more(self) -> None:
        self.submit_many(21)
        self.assertIn('with <a href="/troubles">1 more function</a>.', self.page("/"))

    def test_more_than_are_found(self) -> None:
        self.submit_many(101)
        overview = self.page("/")
        self.assertIn('Something is wrong with <a href="/troubles">at least 80 more functions</a>.', overview)
        html = self.page()
        self.assertEqual(len(self.told(html)), 100)
        self.assertIn("There may be more: at most 5,000 functions with jobs are looked at, and the", html)
        self.assertIn("and the worst 100 are told of.", html)

    def test_of_the_server(self) -> None:
        self.broker.drain(self.server.seconds())
        html = self.page()
        self.assertIn("<strong>The server</strong>", html)
        self.assertIn("the server is to end", html)

    def test_what_one_may_not_see_is_not_told(self) -> None:
        self.submit(b"secret.f")
        self.submit(b"mail.send")
        self.allow("http", "see", functions=("mail.*",))
        self.assertEqual(self.told(self.page()), ["mail.send"])

    def test_it_is_found_once_for_both_pages(self) -> None:
        self.page("/")
        self.submit(b"f")
        self.assertIn("Nothing is wrong", self.page())

    def test_a_page_that_is_kept_open_hears_of_it(self) -> None:
        client = self.kept_open()
        self.assertIn(b"all-well", client.heard())
        self.submit(b"f")
        self.clock.pump([1.0, 0, 0] * int(PERIOD + 2))
        self.assertIn(b"1 job waits, and there has been no worker", client.heard())
        client.leave()

    def test_nothing_can_be_chosen(self) -> None:
        self.assertEqual(self.ask("GET", "/troubles?function=f", BROWSER).status, 400)
