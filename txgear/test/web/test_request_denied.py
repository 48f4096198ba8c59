"""Tests of L{txgear.web.request}: endpoints that find out that the peer may not do what it asks for."""

from __future__ import annotations

import sys
from typing import Any

from txgear.broker.rights import PAUSE, check
from txgear.test.support.web import WebTestCase
from txgear.web.answers import Answer
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route


def _pause(request: WebRequest) -> Answer:
    check(request.peer, PAUSE, b"f")
    return Answer(None, 204)


def routes(web: Any) -> list[Route]:
    """The only part of this web."""
    operation = Operation("pause", "Pause", "test", raw_body=True)
    return [Route("GET", "/pause", _pause), Route("POST", "/pause", _pause, operation)]


class DeniedTests(WebTestCase):
    parts = (sys.modules[__name__],)

    def test_requests_with_and_without_bodies(self) -> None:
        """Each is answered, and the connection is kept."""
        self.allow("http", "see")
        client = self.connect()
        for method, body in (("GET", None), ("POST", b""), ("POST", b"body"), ("GET", None)):
            client.ask_web(method, "/pause", self.headers, body)
            answer = client.web_answer()
            self.assertEqual((answer.status, answer.code), (403, "access_denied"))
            self.assertFalse(client.closed)

    def test_who_is_nobody(self) -> None:
        """It is told that it may log in."""
        self.allow("http", "see")
        client = self.connect()
        client.ask_web("GET", "/pause", {})
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.headers["WWW-Authenticate"]), (401, "Bearer"))
        self.assertTrue(client.closed)
