"""Tests of L{txgear.server.http}: what is held of clients that are not known, and the time of headers."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address

from txgear.security.access import NOBODY, Access
from txgear.server.gearconnection import LOGIN_BYTES, LOGIN_SECONDS
from txgear.server.httpchannel import IDLE_SECONDS, LOGIN_HEADERS
from txgear.test.server.test_httprequest_rights import (
    IDENTITIES,
    RULES,
    WEB,
    HttpRightsTestCase,
    allow,
    bearer,
)
from txgear.test.support.http import HttpPeer, HttpTestCase

FIRST = b"POST /mail.send HTTP/1.1\r\n"
IDENTIFIED = FIRST + bearer(WEB).encode() + b"\r\nX-Gearman-Background: true\r\n"


class UnknownTests(HttpRightsTestCase):
    def check_time(self, client: HttpPeer, seconds: float) -> None:
        """The connection ends after this time, whatever is sent meanwhile, byte by byte."""
        self.clock.pump([0.25] * int(seconds * 4 - 1))
        self.assertFalse(client.closed)
        self.clock.advance(0.25)
        self.assertTrue(client.closed)

    def test_nothing_comes(self) -> None:
        self.check_time(self.connect(), LOGIN_SECONDS)

    def test_after_a_handshake(self) -> None:
        """That has a time of its own before."""
        client = self.connect()
        self.clock.advance(LOGIN_SECONDS - 1)
        client.protocol.handshakeCompleted()
        self.check_time(client, LOGIN_SECONDS)

    def test_half_a_header(self) -> None:
        client = self.connect()
        for byte in FIRST[:8]:
            self.clock.advance(1)
            client.send(bytes([byte]))
        self.check_time(client, LOGIN_SECONDS - 8)

    def test_a_header_that_is_too_long(self) -> None:
        """Whether its lines are long or many; it is answered, and what follows is ignored."""
        line = b"X: " + b"x" * 96 + b"\r\n"
        for header in (
            b"x" * (LOGIN_BYTES + 2),
            FIRST + b"X: " + b"x" * LOGIN_BYTES,
            FIRST + line * (LOGIN_BYTES // 98 + 1),
            FIRST + b"X:\r\n" * (LOGIN_HEADERS + 2),
            FIRST + line * 70 + b"x" * (LOGIN_BYTES - 70 * 98),
        ):
            for size in (len(header), 1000):
                client = self.connect()
                for at in range(0, len(header), size):
                    client.send(header[at : at + size])
                self.assertEqual(client.answer().status, 400)
                client.send(b"x" * 65536)
                self.assertLessEqual(len(client.protocol.clearLineBuffer()), LOGIN_BYTES)

    def test_what_is_held(self) -> None:
        """Not more than that, in whatever pieces it comes."""
        client = self.connect()
        client.send(FIRST)
        held = 0
        while not client.closed:
            client.send(b"X: " + b"x" * 500 + b"\r\n" + b"y" * 300)
            held = max(held, client.protocol._receivedHeaderSize + len(client.protocol._buffer))
        self.assertLessEqual(held, LOGIN_BYTES + 803)
        self.assertEqual(client.protocol._buffer, b"")

    def test_a_long_header_of_one_that_is_known(self) -> None:
        """By its address; and on a connection of which a request was known."""
        known = HttpPeer(self.factory_at("192.0.2.1"))
        client = self.connect()
        client.send(IDENTIFIED + b"Content-Length: 0\r\n\r\n")
        self.assertEqual(client.answer().status, 202)
        long = (b"X: " + b"x" * 996 + b"\r\n") * 12
        for each, status in ((known, 403), (client, 202)):
            each.send(IDENTIFIED + long if each is client else FIRST + long)
            self.clock.advance(LOGIN_SECONDS + 1)
            each.send(b"Content-Length: 0\r\n\r\n")
            self.assertEqual(each.answer().status, status)

    def factory_at(self, host: str) -> Any:
        factory = self.factory

        class Elsewhere:
            def buildProtocol(self, address: None) -> Any:
                protocol = factory.buildProtocol(address)
                make = protocol.makeConnection

                def connected(transport: Any) -> None:
                    transport.peerAddr = IPv4Address("TCP", host, 50000)
                    make(transport)

                protocol.makeConnection = connected  # type: ignore[method-assign]
                return protocol

        return Elsewhere()

    def test_a_body_of_one_that_is_known(self) -> None:
        """It may take longer than a header of one that is not."""
        client = self.connect()
        client.send(IDENTIFIED + b"Content-Length: 4\r\n\r\n")
        for byte in b"abcd":
            self.clock.advance(LOGIN_SECONDS + 1)
            client.send(bytes([byte]))
        self.assertEqual(client.answer().status, 202)
        self.assertEqual(self.queued(), [(b"mail.send", b"abcd")])

    def test_rules_that_come_and_go(self) -> None:
        """Who waits may be one of whom nothing is asked any more."""
        client = self.connect()
        client.send(FIRST)
        self.server.guard.replace(Access(IDENTITIES, (*RULES, allow(NOBODY, "http", "submit"))))
        client.send(b"X-Gearman-Background: true\r\n")
        self.clock.advance(LOGIN_SECONDS + 1)
        client.send(b"Content-Length: 0\r\n\r\n")
        self.assertEqual(client.answer().status, 202)


class TimeTests(HttpTestCase):
    """Where nothing is asked of anybody."""

    def drip(self, client: HttpPeer, data: bytes, pause: float) -> float:
        """Send this byte by byte, until the connection ends; the seconds until then."""
        began = self.clock.seconds()
        for byte in data:
            client.send(bytes([byte]))
            self.clock.advance(pause)
            if client.closed:
                break
        return self.clock.seconds() - began

    def test_a_header(self) -> None:
        """It has a minute from its first byte on, also after other requests."""
        client = self.connect()
        self.clock.advance(IDLE_SECONDS - 1)
        self.assertEqual(self.drip(client, b"POST /" + b"f" * 1000, 1), IDLE_SECONDS)
        client = self.connect()
        for _ in range(3):
            client.ask("HEAD", "/f")
            self.assertEqual(client.answer("HEAD").status, 404)
            self.clock.advance(IDLE_SECONDS - 1)
        self.assertEqual(self.drip(client, b"POST /f HTTP/1.1\r\n" + b"X: x\r\n" * 100, 1), IDLE_SECONDS)

    def test_a_header_that_is_in_time(self) -> None:
        client = self.connect()
        header = b"POST /f HTTP/1.1\r\nContent-Length: 8\r\nX-Gearman-Background: true\r\n\r\n"
        self.assertLess(self.drip(client, header, 0.5), IDLE_SECONDS)
        self.assertFalse(client.closed)
        # A body may take as long as it likes.
        self.assertEqual(self.drip(client, b"12345678", IDLE_SECONDS - 1), 8 * (IDLE_SECONDS - 1))
        self.assertEqual(self.queued(), [(b"f", b"12345678")])

    def test_sent_ahead(self) -> None:
        """The time of a header that has come in part with the last request begins with its own turn."""
        client, worker, handle = self.under_way()
        client.send(b"HEAD /f HT")
        self.clock.advance(IDLE_SECONDS * 2)
        self.assertFalse(client.closed)
        worker.say(14, handle)
        self.assertEqual(client.answer().status, 500)
        self.clock.advance(IDLE_SECONDS - 1)
        client.send(b"TP/1.1\r\n\r\n")
        self.assertEqual(client.answer("HEAD").status, 200)

    def test_a_line_without_end(self) -> None:
        """It is answered that this is no request."""
        client = self.connect()
        client.send(b"x" * 20_000)
        self.assertEqual(client.answer().status, 400)
        self.assertTrue(client.closed)
