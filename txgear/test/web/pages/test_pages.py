"""Tests of L{txgear.web.pages.pages}."""

from __future__ import annotations

import gc
import weakref
from base64 import urlsafe_b64encode

from txgear.test.support.web import WebTestCase
from txgear.web.pages import dashboard
from txgear.web.pages.view import View

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class PagesTests(WebTestCase):
    parts = (dashboard,)

    def test_page(self) -> None:
        self.worker(b"<b>mail</b>")
        answer = self.ask("GET", "/", BROWSER)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["Content-Type"], "text/html; charset=utf-8")
        self.assertIn("script-src 'self'", answer.headers["Content-Security-Policy"])
        self.assertEqual(answer.headers["Referrer-Policy"], "same-origin")
        self.assertEqual(answer.headers["Cross-Origin-Opener-Policy"], "same-origin")
        html = answer.body.decode()
        self.assertIn("&lt;b&gt;mail&lt;/b&gt;", html)
        self.assertNotIn("<b>mail", html)
        self.assertIn("SameSite=Strict", answer.headers["Set-Cookie"])

    def test_problem(self) -> None:
        answer = self.ask("GET", "/nothing", BROWSER)
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (404, "text/html; charset=utf-8"))
        self.assertIn(b"There is nothing at this path", answer.body)
        self.assertEqual(self.ask("GET", "/nothing").code, "not_found")

    def test_kept_open(self) -> None:
        client = self.connect()
        client.ask_web("GET", "/", {"Accept": "text/event-stream"})
        self.clock.advance(0)
        first = client.heard()
        self.assertIn(b"event: change", first)
        self.worker(b"mail")
        self.clock.advance(0.25)
        self.clock.advance(0)
        self.assertIn(b'"function-', client.heard())
        client.leave()
        self.assertEqual(self.server.guard._stand_ins, {})

    def test_static(self) -> None:
        html = self.ask("GET", "/", BROWSER).body.decode()
        path = html.partition('<script type="module" src="')[2].partition('"')[0]
        answer = self.ask("GET", path)
        self.assertEqual(answer.headers["Content-Type"], "text/javascript; charset=utf-8")
        self.assertIn("immutable", answer.headers["Cache-Control"])
        old = self.ask("GET", "/static/old/page.js")
        self.assertEqual((old.body, old.headers["Cache-Control"]), (answer.body, "no-store"))
        self.assertEqual(self.ask("GET", "/static/old/nothing.js").status, 404)

    def test_notes_of_others(self) -> None:
        """Other servers of this host can set its cookies: no page breaks by them."""
        for note in (b"[" * 2000, b"{}", b'"\\ud800"', b"\xff", b"null", b'"' + b"x" * 5000 + b'"'):
            cookie = f"txgear_note={urlsafe_b64encode(note).decode()}"
            answer = self.ask("GET", "/nothing", {**BROWSER, "Cookie": cookie})
            self.assertEqual(answer.status, 404, note)
            self.assertLess(len(answer.body), 8000)

    def test_nothing_is_left_of_one_that_was_kept_open(self) -> None:
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for path in ("/", "/jobs", "/workers", "/dead", "/server"):
            client = self.connect()
            client.ask_web("GET", path, {"Accept": "text/event-stream"})
            self.clock.advance(0.25)
            # Those of other tests may be there as long as these.
            views = [each for each in gc.get_objects() if isinstance(each, View)]
            [view] = [each for each in views if getattr(each, "server", None) is self.server]
            gone = weakref.ref(view)
            del view, views
            client.leave()
            self.clock.advance(10)
            self.assertIsNone(gone(), path)
