"""Tests of L{txgear.web.pages.dashboard}: what holds for all pages, those of tomorrow as well."""

from __future__ import annotations

import re
import sys
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred

from txgear.test.support.web import WebAnswer, WebTestCase
from txgear.web.pages import dashboard
from txgear.web.pages.pages import SIGN_IN
from txgear.web.pages.sessions import SIGN_OUT
from txgear.web.routes import Route

BROWSER = {"Accept": "text/html"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def never(request: Any) -> Deferred[Any]:
    """A page that takes long."""
    return Deferred()


def routes(web: Any) -> list[Route]:
    """A part of the web."""
    return [Route("GET", "/slow", never, types=(), page=True)]


class AllPagesTests(WebTestCase):
    parts = (dashboard,)

    def targets(self, method: str, argument: str = "x") -> list[tuple[Route, str]]:
        """Each page, or each form, of things that are called like this."""
        found = [route for route in self.web.router.routes if route.page and route.method == method]
        self.assertGreater(len(found), 2)
        return [(route, re.sub("<[^>]*>", argument, route.rule)) for route in found]

    def visit(self, target: str) -> WebAnswer:
        """A page, which may take some turns."""
        client = self.connect()
        client.ask_web("GET", target, {**self.headers, **BROWSER})
        self.clock.pump([0.01] * 20)
        return client.web_answer()

    def test_a_form_without_its_token_does_nothing(self) -> None:
        for route, target in self.targets("POST"):
            if route.rule == SIGN_OUT:
                continue
            answer = self.ask("POST", target, FORM, urlencode({"sure": "yes"}).encode())
            self.assertEqual((answer.status, answer.code), (403, "stale_form"), target)

    def test_who_is_nobody_is_led_to_the_sign_in(self) -> None:
        self.allow("all")
        self.headers = {}
        for route, target in self.targets("GET"):
            answer = self.ask("GET", target, BROWSER)
            if route.rule == SIGN_IN:
                self.assertEqual(answer.status, 200)
            else:
                self.assertEqual(
                    (answer.status, answer.headers["Location"]), (303, f"/sign-in?next={target}")
                )
        for _, target in self.targets("POST"):
            answer = self.ask("POST", target, {**BROWSER, **FORM}, b"")
            self.assertIn(answer.status, (303, 401, 403), target)

    def test_who_may_only_come_in(self) -> None:
        """What one may not see is not there, or forbidden, and never a defect."""
        self.worker(b"x")
        self.allow("http")
        for route, target in self.targets("GET"):
            answer = self.visit(target)
            self.assertIn(answer.status, (200, 403, 404), target)
            self.assertIn("frame-ancestors 'none'", answer.headers["Content-Security-Policy"], target)
            self.assertEqual(answer.headers["Cache-Control"], "no-store", target)
            if "<" in route.rule and route.rule.startswith("/functions"):
                self.assertEqual(answer.status, 404, target)

    def test_hostile_names(self) -> None:
        for name in (
            "%00",
            "%ff",
            "%3Cscript%3E",
            "..%2F..%2Fetc",
            "%0d%0aX:y",
            "x" * 5000,
            "%E2%80%AE",
            "99999999999999999999",
        ):
            for _, target in self.targets("GET", name):
                answer = self.visit(target)
                self.assertIn(answer.status, (200, 303, 400, 404, 409, 422), target)
                self.assertNotIn(b"<script>", answer.body)
                self.assertNotIn("X", answer.headers)


class EndTests(WebTestCase):
    parts = (dashboard, sys.modules[__name__])

    def test_the_server_ends(self) -> None:
        client = self.connect()
        client.ask_web("GET", "/slow", BROWSER)
        _ = self.server.close_connections()
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (503, "text/html; charset=utf-8"))
        self.assertIn(b"The server is shutting down", answer.body)
        self.assertEqual(answer.headers["Retry-After"], "1")
