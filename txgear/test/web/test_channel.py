"""Tests of L{txgear.web.channel}: bytes that are no request, and those of whom nobody knows."""

from __future__ import annotations

import json
import sys

from txgear.broker.rights import HTTP
from txgear.server.gearconnection import LOGIN_SECONDS
from txgear.server.httpchannel import IDLE_SECONDS
from txgear.test.support.web import WebTestCase
from txgear.web.answers import Answer
from txgear.web.request import WebRequest
from txgear.web.routes import Route
from txgear.web.web import Web


def hello(request: WebRequest) -> Answer:
    return Answer({"hello": True})


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    return [
        Route("GET", "/hello", hello),
        Route("GET", "/free", hello, free=True),
        Route("POST", "/hello", hello),
    ]


class BytesTests(WebTestCase):
    parts = (sys.modules[__name__],)

    def refused(self, data: bytes, status: int, code: str) -> None:
        client = self.connect()
        client.send(data)
        heard = client.heard()
        head, _, body = heard.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 %d " % status), (data[:80], heard[:80]))
        for line in (
            b"Content-Type: application/problem+json",
            b"Connection: close",
            b"X-Content-Type-Options: nosniff",
        ):
            self.assertIn(line, head)
        self.assertIn(b"Content-Length: %d" % len(body), head)
        self.assertEqual(json.loads(body)["type"], f"urn:txgear:problem:{code}")
        self.assertTrue(client.closed)
        # One answer, whatever follows.
        client.send(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(client.heard(), b"")

    def test_what_has_no_lines(self) -> None:
        """Gearman and TLS, at the wrong port: it is answered at once, and does not wait for its answer."""
        for data in (b"\0", b"\0REQ\0\0\0\x1a\0\0\0\x08txgear-1", b"\x16\x03\x01\x02\x00"):
            self.refused(data, 400, "bad_request")

    def test_a_client_that_goes_on_with_what_has_no_lines(self) -> None:
        client = self.connect()
        client.send(b"GET /free HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn(b"200 OK", client.heard())
        client.send(b"\0REQ")
        self.assertIn(b"400 Bad", client.heard())
        self.assertTrue(client.closed)

    def test_bytes_of_a_body_are_anything(self) -> None:
        client = self.connect()
        client.send(b"POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n")
        client.send(b"\0")
        self.assertEqual(client.heard(), b"")
        self.assertFalse(client.closed)

    def test_no_request(self) -> None:
        head = b"POST /hello HTTP/1.1\r\nHost: localhost\r\n"
        for data in (
            b"hello\r\n",
            b"GET /hello\r\n",
            b"GET /hello HTTP/2.0\r\n",
            b"GET  /hello HTTP/1.1\r\n",
            b"\x16\x03\x01\x02\x00\r\n",
            head + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
            head + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
            head + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            head + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            head + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
            head + b"Transfer-Encoding: gzip\r\n\r\n",
            head + b"Content-Length: -1\r\n\r\n",
            head + b"Content-Length: +1\r\n\r\n",
            head + b"Content-Length: 1_0\r\n\r\n",
            head + b"Content-Length: 1, 1\r\n\r\n",
            head + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
            head + b"X: a\x00b\r\n\r\n",
            head + b"X: a\rb\r\n\r\n",
            head + b"X y: 1\r\n\r\n",
            head + b"X : 1\r\n\r\n",
            head + b"no header\r\n\r\n",
            head + b"X: a\r\n b\r\n\r\n",
            head + b"X: a\r\n\tContent-Length: 1\r\n\r\n",
            b"GET /hello HTTP/1.1\r\n Host: localhost\r\n\r\n",
        ):
            self.refused(data, 400, "bad_request")

    def test_chunks(self) -> None:
        head = b"POST /hello HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        for data in (b"x\r\n", b"-1\r\n", b"0x1\r\n", b"1\r\nab\r\n"):
            client = self.connect()
            client.send(head + data)
            self.assertIn(client.heard()[:12], (b"HTTP/1.1 400",), data)
            self.assertTrue(client.closed)

    def test_long(self) -> None:
        self.refused(b"GET /" + b"x" * 20_000, 414, "uri_too_long")
        self.refused(b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n", 414, "uri_too_long")
        head = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n"
        self.refused(head + b"X: " + b"x" * 20_000, 431, "headers_too_large")
        self.refused(head + b"X: " + b"x" * 20_000 + b"\r\n", 431, "headers_too_large")
        self.refused(head + b"X: 1234567890\r\n" * 2000, 431, "headers_too_large")
        self.refused(head + b"X:\r\n" * 600 + b"\r\n", 431, "headers_too_large")


class UnknownTests(WebTestCase):
    """Before somebody is known: few bytes, and few seconds."""

    parts = (sys.modules[__name__],)

    def setUp(self) -> None:
        super().setUp()
        self.allow(HTTP)

    def test_time(self) -> None:
        for sent in (b"", b"GET /hello HTTP/1.1\r\nHost: localhost\r\n"):
            client = self.connect()
            client.send(sent)
            self.clock.advance(LOGIN_SECONDS - 1)
            self.assertFalse(client.closed)
            self.clock.advance(1)
            self.assertTrue(client.closed)

    def test_known(self) -> None:
        """One that has been answered may stay."""
        client = self.connect()
        client.ask_web("GET", "/hello", self.headers)
        self.assertEqual(client.web_answer().status, 200)
        self.clock.advance(IDLE_SECONDS - 1)
        self.assertFalse(client.closed)
        self.clock.advance(1)
        self.assertTrue(client.closed)

    def test_size(self) -> None:
        client = self.connect()
        client.send(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000)
        self.assertEqual(client.heard()[:12], b"HTTP/1.1 431")

    def test_free(self) -> None:
        """What is for everybody is answered; that alone lets nobody stay."""
        client = self.connect()
        client.ask_web("GET", "/free", {"Host": "10.0.0.1"})
        self.assertEqual(client.web_answer().status, 200)
        client.ask_web("GET", "/hello", {})
        self.assertEqual(client.web_answer().status, 401)
        client = self.connect()
        client.ask_web("GET", "/free", {})
        client.heard()
        self.clock.advance(LOGIN_SECONDS)
        self.assertTrue(client.closed)
