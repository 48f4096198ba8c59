"""Tests of L{txgear.web.pages.audit}."""

from __future__ import annotations

from txgear.security.audit import DONE, REFUSED
from txgear.test.support.web import WebTestCase
from txgear.web.pages import dashboard

BROWSER = {"Accept": "text/html"}


class AuditTests(WebTestCase):
    parts = (dashboard,)

    def page(self, query: str = "") -> str:
        client = self.connect()
        client.ask_web("GET", f"/audit{query}", {**self.headers, **BROWSER})
        self.clock.advance(0.1)
        answer = client.web_answer()
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body.decode()

    def test_rows(self) -> None:
        self.worker(b"mail")
        peer = next(iter(self.broker.peers))
        self.server.audit.record("pause", DONE, peer, function=b"mail", answer="OK")
        self.server.audit.record("purge", REFUSED, peer, function=b"gone")
        html = self.page()
        self.assertLess(html.index('id="act-2"'), html.index('id="act-1"'))
        self.assertIn('<a href="/functions/mail">mail</a>', html)
        self.assertNotIn('href="/functions/gone"', html)
        self.assertEqual(html.count(">refused</span>"), 1)
        self.assertIn("nobody", html)
        self.assertIn("There are no older ones", html)

    def test_nothing(self) -> None:
        self.assertIn("Nothing of the kind is remembered", self.page())

    def test_a_job(self) -> None:
        job = self.broker.submit(None, b"mail", b"", b"", self.clock.seconds(), background=True)
        self.server.audit.record("prioritise", DONE, handle=job.handle, task=7)
        html = self.page()
        self.assertIn('<a href="/jobs/H%3Atest%3A1">H:test:1</a>', html)
        self.assertIn('<a href="/tasks/7">7</a>', html)
        self.broker.operations.cancel(job.handle, self.clock.seconds())
        self.assertNotIn('<a href="/jobs/', self.page())

    def test_filters(self) -> None:
        for act, outcome, function in (
            ("pause", DONE, b"Mail.a"),
            ("pause", REFUSED, b"x"),
            ("purge", DONE, b"x"),
        ):
            self.server.audit.record(act, outcome, function=function)
        for query, expected in (
            ("?act=pause", {1, 2}),
            ("?outcome=refused", {2}),
            ("?act=pause&outcome=done&identity=&text=", {1}),
            ("?text=mail", {1}),
            ("?identity=nobody", {1, 2, 3}),
            ("?identity=me", set()),
            ("?text=nothing", set()),
        ):
            html = self.page(query)
            self.assertEqual({each for each in (1, 2, 3) if f'id="act-{each}"' in html}, expected, query)
        self.assertIn("<option selected>pause</option>", self.page("?act=pause"))

    def test_older_ones(self) -> None:
        for _ in range(60):
            self.server.audit.record("pause", DONE, function=b"x & y")
        html = self.page("?text=x+%26")
        self.assertIn('href="/audit?limit=50&amp;text=x+%26&amp;after=11"', html)
        self.assertIn('id="act-10"', self.page("?text=x+%26&after=11"))

    def test_live(self) -> None:
        client = self.connect()
        client.ask_web("GET", "/audit", {"Accept": "text/event-stream"})
        self.clock.advance(0)
        client.heard()
        self.server.audit.record("pause", DONE, function=b"<b>")
        self.clock.advance(0.25)
        self.clock.advance(0)
        heard = client.heard()
        self.assertIn(b'"act-1"', heard)
        self.assertIn(b"&lt;b&gt;", heard)
        self.assertNotIn(b"<b>", heard)
        client.leave()

    def test_rights(self) -> None:
        self.allow("http", "see", "settings")
        answer = self.ask("GET", "/audit", BROWSER)
        self.assertEqual(answer.status, 403)
        self.assertNotIn(b'href="/audit"', answer.body)
        self.allow("http", "audit", "see", functions=["a"])
        self.worker(b"b")
        self.server.audit.record("pause", DONE, function=b"b")
        html = self.page()
        self.assertIn(">b", html.replace(" ", ">"))
        self.assertNotIn('href="/functions/b"', html)
