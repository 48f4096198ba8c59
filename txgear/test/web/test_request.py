"""Tests of L{txgear.web.request}: answers that are written bit by bit."""

from __future__ import annotations

import sys

from txgear.broker.rights import HTTP
from txgear.net.stream import STALL_SECONDS
from txgear.server import httpexchange
from txgear.test.support.http import TRANSPORT_BUFFER
from txgear.test.support.web import WebPeer, WebTestCase
from txgear.web.request import Streamed, WebRequest, header_value
from txgear.web.routes import Route
from txgear.web.web import Web

streams: list[Streamed] = []
requests: list[WebRequest] = []
calls: list[str] = []


def stream(request: WebRequest) -> None:
    opened = request.stream(content_type="text/event-stream", headers={"X-A": "b"})
    opened.on_drain = lambda: calls.append("drain")
    opened.on_gone = lambda: calls.append("gone")
    streams.append(opened)
    requests.append(request)


def packets(request: WebRequest) -> None:
    request.on_packets = lambda packets: calls.extend(str(packet) for packet in packets)
    requests.append(request)


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    return [Route("GET", "/stream", stream), Route("GET", "/packets", packets)]


class StreamTests(WebTestCase):
    parts = (sys.modules[__name__],)

    def setUp(self) -> None:
        super().setUp()
        for found in (streams, requests, calls):
            found.clear()
        self.client = self.connect()

    def open(self, version: str = "1.1") -> Streamed:
        self.client.send(f"GET /stream HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
        self.client._methods.append("GET")
        return streams[-1]

    def test_written(self) -> None:
        stream = self.open()
        head = self.client.heard()
        self.assertIn(b"HTTP/1.1 200 OK\r\n", head)
        self.assertIn(b"Content-Type: text/event-stream\r\n", head)
        self.assertIn(b"X-A: b\r\n", head)
        self.assertIn(b"Transfer-Encoding: chunked\r\n", head)
        self.assertIn(b"nosniff", head)
        for text in (b"data: 1\n\n", b"", b"data: 2\n\n"):
            stream.write(text)
        self.assertEqual(self.client.heard(), b"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n")
        stream.finish()
        self.assertEqual(self.client.heard(), b"0\r\n\r\n")
        stream.write(b"more")
        stream.finish()
        self.assertEqual(self.client.heard(), b"")
        self.client.leave()
        self.assertEqual(calls, [])

    def test_the_next_request(self) -> None:
        self.open().finish()
        self.client.heard()
        self.client.ask_web("GET", "/nothing", {})
        self.assertEqual(self.client.web_answer().status, 404)

    def test_gone(self) -> None:
        stream = self.open()
        self.client.leave()
        self.assertEqual(calls, ["gone"])
        stream.write(b"more")
        stream.finish()
        self.assertEqual(calls, ["gone"])

    def test_full(self) -> None:
        """Who is behind is told when there is room again."""
        stream = self.open()
        self.client.transport.stuck = True
        self.assertFalse(stream.full)
        stream.write(b"x" * 2 * TRANSPORT_BUFFER)
        self.assertTrue(stream.full)
        self.assertEqual(calls, [])
        self.client.heard_all()
        self.assertFalse(stream.full)
        self.assertEqual(calls, ["drain"])

    def test_reads_nothing(self) -> None:
        """It is dropped after a while."""
        stream = self.open()
        self.client.transport.stuck = True
        stream.write(b"x" * 2 * TRANSPORT_BUFFER)
        self.clock.advance(STALL_SECONDS - 1)
        self.assertFalse(self.client.aborted)
        self.clock.advance(1)
        self.assertTrue(self.client.aborted)
        self.client.leave()
        self.assertEqual(calls, ["gone"])
        self.server.notices.stop()

    def test_written_all_the_same(self) -> None:
        """What nobody reads is not kept for ever."""
        self.patch(httpexchange, "DROP_FROM", 10 * TRANSPORT_BUFFER)
        stream = self.open()
        self.client.transport.stuck = True
        for _ in range(12):
            self.assertFalse(self.client.aborted)
            stream.write(b"x" * TRANSPORT_BUFFER)
        self.assertTrue(self.client.aborted)
        self.client.leave()
        self.assertEqual(calls, ["gone"])
        self.server.notices.stop()

    def test_no_timeout(self) -> None:
        """Nothing is expected of the client."""
        self.open()
        self.clock.pump([30.0] * 100)
        self.assertFalse(self.client.closed or self.client.aborted)

    def test_the_server_ends(self) -> None:
        """The body is not ended as if it were whole."""
        self.open()
        self.client.heard()
        _ = self.server.close_connections()
        self.assertEqual(calls, ["gone"])
        self.assertEqual(self.client.heard(), b"")
        self.assertTrue(self.client.closed)

    def test_turned_away(self) -> None:
        self.allow(HTTP)
        self.client.ask_web("GET", "/stream", self.headers)
        self.client.heard()
        self.rules('[[identity]]\nname = "b"\n[[access]]\nidentities = ["b"]\nallow = ["all"]\n')
        self.clock.pump([0.1] * 5)
        self.assertEqual(calls, ["gone"])
        self.assertTrue(self.client.closed)
        self.server.notices.stop()

    def test_head(self) -> None:
        """The headers only; and then nobody reads."""
        self.client.ask_web("HEAD", "/stream", {})
        streams[-1].write(b"x")
        self.clock.advance(0)
        self.assertEqual(calls, ["gone"])
        head = self.client.heard()
        self.assertTrue(head.endswith(b"\r\n\r\n"))
        self.assertIn(b"text/event-stream", head)
        self.client.ask_web("GET", "/nothing", {})
        self.assertEqual(self.client.web_answer().status, 404)

    def test_old(self) -> None:
        """In HTTP/1.0 the end of the connection is the end of the body."""
        stream = self.open("1.0")
        self.assertNotIn(b"chunked", self.client.heard())
        stream.write(b"x")
        stream.finish()
        self.assertEqual(self.client.heard(), b"x")
        self.assertTrue(self.client.closed)


class PacketTests(WebTestCase):
    parts = (sys.modules[__name__],)

    def test_packets(self) -> None:
        calls.clear()
        client: WebPeer = self.connect()
        client.ask_web("GET", "/packets", {})
        peer = requests[-1].peer
        self.server.outbox.send(peer, 7, b"a")
        self.server.end_turn()
        self.assertEqual(calls, ["(7, b'a')"])


class HeaderTests(WebTestCase):
    def test_value(self) -> None:
        for value, sent in (
            ("a b", b"a b"),
            ("a\r\nB: c\x00", b"a\\x0d\\x0aB: c\\x00"),
            ("ж\u202e", b"\\u0436\\u202e"),
        ):
            self.assertEqual(header_value(value), sent)
