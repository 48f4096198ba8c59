"""Tests of L{txgear.web.routing}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.web.answers import Problem
from txgear.web.routes import Route
from txgear.web.routing import Router


def route(method: str, rule: str) -> Route:
    def endpoint(request: Any) -> None: ...

    return Route(method, rule, endpoint)


LIST = route("GET", "/api/jobs")
SUBMIT = route("POST", "/api/jobs")
JOB = route("GET", "/api/jobs/<handle>")
FIXED = route("GET", "/api/jobs/all")
CANCEL = route("POST", "/api/jobs/<handle>/cancel")
ROUTER = Router((LIST, SUBMIT, JOB, FIXED, CANCEL))


class RouterTests(SynchronousTestCase):
    def at(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        found = ROUTER.find(path)
        return None if found is None else (found.route(method), found.arguments)

    def test_found(self) -> None:
        self.assertEqual(self.at("GET", "/api/jobs"), (LIST, {}))
        self.assertEqual(self.at("HEAD", "/api/jobs"), (LIST, {}))
        self.assertEqual(self.at("POST", "/api/jobs"), (SUBMIT, {}))
        self.assertEqual(self.at("GET", "/api/jobs/all"), (FIXED, {}))
        self.assertEqual(self.at("POST", "/api/jobs/H:a:1/cancel"), (CANCEL, {"handle": "H:a:1"}))

    def test_parts(self) -> None:
        """Percent-encoding is undone in each part: a slash stays in it; what is no UTF-8 is escaped."""
        for part, name in (
            ("a%2Fb", "a/b"),
            ("a%252Fb", "a%2Fb"),
            ("%D0%B6", "ж"),
            ("%FF", "\\xff"),
            ("%5Cx41", "\\x5cx41"),
            ("a+b", "a+b"),
            ("%00%0D%0A", "\x00\r\n"),
            ("%", "%"),
            ("%zz", "%zz"),
            ("..", ".."),
            ("%2E%2E%2F", "../"),
            ("<b>", "<b>"),
            ("all%20", "all "),
            ("x" * 8192, "x" * 8192),
        ):
            self.assertEqual(self.at("GET", f"/api/jobs/{part}"), (JOB, {"handle": name}), part)

    def test_not_found(self) -> None:
        for path in (
            "",
            "/",
            "api/jobs",
            "?",
            "/api",
            "/api/jobs/",
            "//api/jobs",
            "/api//jobs",
            "/api/jobs//cancel",
            "/API/jobs",
            "*",
            "/api/jobs/a/b",
            "/%61pi/jobs",
            "/api/jobs/../jobs",
        ):
            self.assertIsNone(ROUTER.find(path), path)

    def test_methods(self) -> None:
        found = ROUTER.find("/api/jobs")
        assert found is not None
        self.assertEqual(found.allowed(), "GET, HEAD, OPTIONS, POST")
        for method in ("PUT", "TRACE", "get", ""):
            problem = self.assertRaises(Problem, found.route, method)
            self.assertEqual((problem.status, problem.headers), (405, {"Allow": "GET, HEAD, OPTIONS, POST"}))
        found = ROUTER.find("/api/jobs/H/cancel")
        assert found is not None
        self.assertEqual(found.allowed(), "OPTIONS, POST")

    def test_twice(self) -> None:
        self.assertRaises(ValueError, Router, (LIST, route("GET", "/api/jobs")))
