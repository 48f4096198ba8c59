"""Tests of L{txgear.web.health}."""

from __future__ import annotations

from txgear.journal.journal import Journal
from txgear.server.lag import BEAT
from txgear.stores.memory import MemoryStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.web import WebTestCase
from txgear.web import health
from txgear.web.health import BAD_LAG


class HealthTests(WebTestCase):
    parts = (health,)

    def test_health(self) -> None:
        answer = self.ask("GET", "/health")
        self.assertEqual((answer.status, answer.json), (200, {"status": "ok", "lag": 0.0, "worst_lag": 0.0}))
        self.assertEqual(answer.headers["Content-Type"], "application/json")

    def test_late(self) -> None:
        """What is late at the moment is not well; what was is said."""
        self.server.lag.start()
        self.clock.advance(BEAT + BAD_LAG)
        answer = self.ask("GET", "/health")
        self.assertEqual(
            (answer.status, answer.json), (503, {"status": "late", "lag": 1.0, "worst_lag": 1.0})
        )
        self.clock.advance(BEAT)
        answer = self.ask("GET", "/health")
        self.assertEqual((answer.status, answer.json), (200, {"status": "ok", "lag": 0.0, "worst_lag": 1.0}))

    def test_by_whatever_host_and_without_rights(self) -> None:
        self.allow("http")
        self.headers = {}
        for path in ("/health", "/ready"):
            self.assertEqual(self.ask("GET", path, {"Host": "10.1.2.3:8080"}).status, 200)
            self.assertEqual(self.ask("POST", path, {"Host": "localhost"}).status, 401)

    def test_ready(self) -> None:
        answer = self.ask("GET", "/ready")
        expected = {"ready": True, "port": "ok", "store": "ok", "draining": "ok"}
        self.assertEqual((answer.status, answer.json), (200, expected))

    def test_draining(self) -> None:
        self.broker.drain(0.0)
        answer = self.ask("GET", "/ready")
        expected = {"ready": False, "port": "ok", "store": "ok", "draining": "draining"}
        self.assertEqual((answer.status, answer.json), (503, expected))
        self.assertEqual(answer.headers["Connection"], "close")

    def test_port_closed(self) -> None:
        self.server.listens = lambda: False
        answer = self.ask("GET", "/ready")
        self.assertEqual((answer.status, answer.json["port"]), (503, "closed"))

    def test_store(self) -> None:
        fixture = DurableServerFixture(MemoryStore())
        self.use(fixture)
        self.assertEqual(self.ask("GET", "/ready").status, 200)
        journal = fixture.server.journal
        assert isinstance(journal, Journal)
        journal._link.unavailable = "gone"
        answer = self.ask("GET", "/ready")
        self.assertEqual((answer.status, answer.json["store"]), (503, "unavailable"))
        self.assertNotIn(b"gone", answer.body)
