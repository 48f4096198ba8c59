"""Tests of L{txgear.runtime.health}."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.notify import Notifier
from txgear.errors import ConfigurationError
from txgear.runtime.health import (
    LOOK_SECONDS,
    MOST_AT_ONCE,
    MOST_QUESTION,
    QUESTION_SECONDS,
    Health,
    answer,
    places,
)

PEER = IPv4Address("TCP", "127.0.0.1", 50000)


class FakeRuntime:
    """
    A runtime that is as the test says.

    @ivar lacks: what keeps it from being ready.
    @ivar loads: whether code is being loaded.
    """

    def __init__(self) -> None:
        self.lacks: list[str] = []
        self.loads = False

    def problems(self) -> list[str]:
        return self.lacks

    def is_loading(self) -> bool:
        return self.loads

    def status(self) -> dict[str, Any]:
        return {"problems": self.lacks, "name": "é\udcff"}


class Transport(StringTransport):
    """
    A connection.

    @ivar aborted: whether it was ended at once.
    @ivar protocol: what it leads to.
    """

    aborted = False
    protocol: Any

    def abortConnection(self) -> None:
        self.aborted = True


def asked(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


class AnswerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.runtime = FakeRuntime()

    def answer(self, question: bytes) -> tuple[str, dict[str, str], bytes]:
        """Its status, its headers, and its body."""
        head, _, body = answer(question, self.runtime).partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        version, _, status = first.partition(" ")
        self.assertEqual(version, "HTTP/1.1")
        headers = dict(line.split(": ") for line in lines)
        self.assertEqual((headers["Connection"], headers["Cache-Control"]), ("close", "no-store"))
        if body:
            self.assertEqual(int(headers["Content-Length"]), len(body))
        return status, headers, body

    def test_alive(self) -> None:
        """Who answers is, whether it is ready or not."""
        self.runtime.lacks = ["group images: no process is ready"]
        for path in ("/alive", "/alive?", "/alive?x=1"):
            status, headers, body = self.answer(asked(path))
            self.assertEqual((status, body), ("200 OK", b"alive\n"))
            self.assertEqual(headers["Content-Type"], "text/plain; charset=utf-8")

    def test_ready(self) -> None:
        self.assertEqual(self.answer(asked("/ready"))[::2], ("200 OK", b"ready\n"))
        self.runtime.lacks = ["group images: no process is ready", "\udcff"]
        status, _, body = self.answer(asked("/ready"))
        self.assertEqual(status, "503 Service Unavailable")
        self.assertEqual(body, b"group images: no process is ready\n\\udcff\n")

    def test_status(self) -> None:
        status, headers, body = self.answer(asked("/status"))
        self.assertEqual((status, headers["Content-Type"]), ("200 OK", "application/json"))
        self.assertEqual(json.loads(body), {"problems": [], "name": "é\udcff"})

    def test_heads(self) -> None:
        """They say how long the body would be."""
        status, headers, body = self.answer(asked("/ready", "HEAD"))
        self.assertEqual((status, headers["Content-Length"], body), ("200 OK", "6", b""))

    def test_other_places(self) -> None:
        for path in ("/", "/Ready", "/ready/", "*", "http://x/ready", "//alive"):
            status, _, body = self.answer(asked(path))
            self.assertEqual((status, body), ("404 Not Found", b"There are /alive, /ready and /status\n"))

    def test_other_methods(self) -> None:
        for method in ("POST", "PUT", "OPTIONS"):
            status, headers, _ = self.answer(asked("/ready", method))
            self.assertEqual((status, headers["Allow"]), ("405 Method Not Allowed", "GET, HEAD"))

    def test_no_http(self) -> None:
        for question in (
            b"",
            b"\0REQ\0\0\0\x10",
            b"get /ready HTTP/1.1\r\n\r\n",
            b"GET /ready\r\n\r\n",
            b"GET /ready HTTP/2\r\n\r\n",
            b"GET  HTTP/1.1\r\n\r\n",
            b"\r\nGET /ready HTTP/1.1\r\n\r\n",
        ):
            self.assertEqual(self.answer(question)[0], "400 Bad Request", question)


class PlacesTests(SynchronousTestCase):
    def test_understood(self) -> None:
        for address, host, port in (
            ("127.0.0.1:9000", "127.0.0.1", 9000),
            ("[::1]:9000", "::1", 9000),
            ("0.0.0.0:0", "0.0.0.0", 0),
        ):
            ((found),) = places(address)
            self.assertEqual((found.address, found.port), (host, port))
        for path, endpoint in (
            ("/run/txgear/health", "unix:/run/txgear/health"),
            ("./a:b=c\\d", "unix:./a\\:b\\=c\\\\d"),
        ):
            (found,) = places(path)
            self.assertEqual(found.endpoint, endpoint)

    def test_nowhere(self) -> None:
        self.assertEqual(places(""), [])

    def test_not_understood(self) -> None:
        for address in ("127.0.0.1", "9000", "::1", "tcp:9000", "127.0.0.1:x", "127.0.0.1:70000"):
            with self.assertRaises(ConfigurationError):
                places(address)


class HealthTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.runtime = FakeRuntime()
        self.sent: list[str] = []
        self.notifier: Notifier | None = None

    def start(self, address: str = "") -> Health:
        health = Health(self.reactor, self.reactor, self.runtime, address, self.notifier)
        health.startService()

        def stop() -> None:
            self.successResultOf(health.stopService())
            self.assertEqual(self.reactor.getDelayedCalls(), [])

        self.addCleanup(stop)
        return health


class ListenTests(HealthTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.health = self.start("127.0.0.1:9000")
        port, self.factory, _, host = self.reactor.tcpServers[0]
        self.assertEqual((host, port), ("127.0.0.1", 9000))

    def connect(self) -> Transport:
        question: Any = self.factory.buildProtocol(PEER)
        transport = Transport()
        transport.protocol = question
        question.makeConnection(transport)
        self.addCleanup(question.connectionLost, Failure(Exception("over")))
        return transport

    def send(self, transport: Any, data: bytes) -> bytes:
        """
        Send something.

        @return: the first line of the answer; empty while there is none.
        """
        transport.protocol.dataReceived(data)
        return bytes(transport.value().partition(b"\r\n")[0])

    def test_a_question(self) -> None:
        """It is answered when it is whole, and the connection ends."""
        transport = self.connect()
        question = asked("/ready")
        for place in range(len(question) - 1):
            self.assertEqual(self.send(transport, question[place : place + 1]), b"")
        self.assertFalse(transport.disconnecting)
        self.assertEqual(self.send(transport, question[-1:]), b"HTTP/1.1 200 OK")
        self.assertTrue(transport.disconnecting)
        transport.clear()
        self.assertEqual(self.send(transport, question), b"")

    def test_by_hand(self) -> None:
        """As somebody types it who has no carriage return."""
        self.assertEqual(self.send(self.connect(), b"GET /alive HTTP/1.0\n\n"), b"HTTP/1.1 200 OK")

    def test_without_end(self) -> None:
        transport = self.connect()
        self.assertEqual(self.send(transport, b"x" * MOST_QUESTION), b"")
        self.assertEqual(self.send(transport, b"x"), b"HTTP/1.1 431 Request Header Fields Too Large")
        self.assertTrue(transport.disconnecting)

    def test_silence(self) -> None:
        """Whoever says nothing, or reads nothing, is dropped."""
        silent, reading = self.connect(), self.connect()
        self.send(reading, asked("/status"))
        self.reactor.advance(QUESTION_SECONDS - 1)
        self.assertFalse(silent.aborted or reading.aborted)
        self.reactor.advance(1)
        self.assertTrue(silent.aborted and reading.aborted)

    def test_many(self) -> None:
        transports: list[Any] = [self.connect() for _ in range(MOST_AT_ONCE)]
        self.assertIsNone(self.factory.buildProtocol(PEER))
        transports[0].protocol.connectionLost(Failure(Exception("gone")))
        self.connect()
        self.assertIsNone(self.factory.buildProtocol(PEER))

    def test_the_end(self) -> None:
        """The port is closed, and so is what is open."""
        transport = self.connect()
        self.successResultOf(self.health.stopService())
        self.assertTrue(transport.aborted)


class PortTests(HealthTestCase):
    def test_a_unix_socket(self) -> None:
        path = os.path.abspath(self.mktemp())
        self.start(path)
        self.assertEqual(self.reactor.unixServers[0][0], path)

    def test_a_port_that_cannot_be_opened(self) -> None:
        health = Health(self.reactor, self.reactor, self.runtime, "/nowhere/at/all")
        with self.assertRaisesRegex(ConfigurationError, "there is no folder /nowhere/at"):
            health.startService()
        self.successResultOf(health.stopService())

    def test_a_place_that_is_not_understood(self) -> None:
        with self.assertRaises(ConfigurationError):
            Health(self.reactor, self.reactor, self.runtime, "9000")

    def test_nowhere(self) -> None:
        """Nobody listens, and nobody is told: there is nothing to do."""
        self.start()
        self.assertEqual(self.reactor.tcpServers, [])


class ManagerTests(HealthTestCase):
    """What the service manager is told."""

    def setUp(self) -> None:
        super().setUp()
        self.notifier = Notifier(
            self.reactor,
            "/manager",
            0.0,
            lambda: "2 processes",
            lambda _, message: self.sent.append(message.decode()),
            lambda: 5_000,
        )
        self.runtime.lacks = ["nothing is ready"]
        self.health = self.start()

    def told(self) -> list[str]:
        """What it was told since."""
        sent, self.sent = self.sent, []
        return sent

    def test_ready(self) -> None:
        self.reactor.advance(60)
        self.assertEqual(self.told(), [])
        self.runtime.lacks = []
        self.reactor.advance(LOOK_SECONDS)
        self.assertEqual(self.told(), ["READY=1\nSTATUS=2 processes"])
        self.runtime.lacks = ["a process has ended"]
        self.reactor.pump([1] * 5)
        self.assertEqual(self.told(), [])

    def test_a_reload(self) -> None:
        """Its end is told when it is known, also where it was over at once."""
        self.runtime.lacks = []
        self.reactor.advance(LOOK_SECONDS)
        self.told()
        self.health.reloading()
        self.runtime.loads = True
        self.assertEqual(self.told(), ["RELOADING=1\nMONOTONIC_USEC=5"])
        self.reactor.pump([LOOK_SECONDS] * 5)
        self.assertEqual(self.told(), [])
        self.runtime.loads = False
        self.reactor.pump([LOOK_SECONDS] * 5)
        self.assertEqual(self.told(), ["READY=1\nSTATUS=2 processes"])
        self.health.reloading()
        self.reactor.advance(LOOK_SECONDS)
        self.assertEqual(len(self.told()), 2)

    def test_a_reload_before_it_was_ready(self) -> None:
        """The manager has not heard of anything that could be loaded anew."""
        self.health.reloading()
        self.assertEqual(self.told(), [])
        self.runtime.lacks = []
        self.reactor.pump([LOOK_SECONDS] * 5)
        self.assertEqual(self.told(), ["READY=1\nSTATUS=2 processes"])

    def test_the_end(self) -> None:
        self.runtime.lacks = []
        self.reactor.advance(LOOK_SECONDS)
        self.told()
        self.health.stopping()
        self.assertEqual(self.told(), ["STOPPING=1\nSTATUS=ends"])
        self.successResultOf(self.health.stopService())
        self.reactor.advance(60)
        self.assertEqual(self.told(), [])


class NobodyTests(HealthTestCase):
    def test_nobody_to_tell(self) -> None:
        health = self.start()
        health.reloading()
        health.stopping()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
