"""Tests of L{txgear.web.api.finding}: what is not seen by requests."""

from __future__ import annotations

import gc
import weakref
from typing import Any
from urllib.parse import quote

from txgear.test.support.web import WebTestCase
from txgear.web.answers import Answer
from txgear.web.api.finding import as_sent, job_named
from txgear.web.request import WebRequest
from txgear.web.routes import Route
from txgear.web.web import Web


class FindingTests(WebTestCase):
    def setUp(self) -> None:
        self.parts = (self,)  # type: ignore[assignment]
        self.names: list[bytes] = []
        self.requests: list[weakref.ref[Any]] = []
        super().setUp()

    def routes(self, web: Web) -> list[Route]:
        """Part of the web."""
        return [Route("GET", "/name/<name>", self.name), Route("GET", "/job/<handle>", self.job)]

    def name(self, request: WebRequest, name: str) -> Answer:
        self.names.append(as_sent(name))
        return Answer(None, 204)

    def job(self, request: WebRequest, handle: str) -> Answer:
        self.requests.append(weakref.ref(request))
        job_named(request, handle)
        return Answer(None, 204)

    def test_no_byte_of_a_path_is_lost(self) -> None:
        names = [b"f", b"\xff", b"a\\xffb", b"a/b", "\u00fc".encode(), bytes(range(256))]
        for name in names:
            self.ask("GET", f"/name/{quote(name, safe='')}")
        self.assertEqual(self.names, names)

    def test_a_job_that_is_not_there_leaves_nothing_behind(self) -> None:
        for _ in range(3):
            self.assertEqual(self.ask("GET", "/job/H:test:1").code, "unknown_job")
        gc.collect()
        self.assertEqual([request() for request in self.requests], [None] * 3)
