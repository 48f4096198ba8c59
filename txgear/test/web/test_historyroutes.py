"""Tests of L{txgear.web.historyroutes}."""

from __future__ import annotations

from urllib.parse import quote

from txgear.test.support.clock import START
from txgear.test.support.web import WebTestCase
from txgear.web import historyroutes


class HistoryTestCase(WebTestCase):
    parts = (historyroutes,)

    def setUp(self) -> None:
        super().setUp()
        self.submit(b"f")
        self.pass_time(20)

    def submit(self, name: bytes) -> None:
        self.broker.submit(None, name, b"", b"", self.server.seconds(), background=True)

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds // 10):
            self.clock.advance(10)
            self.clock.advance(0)


class ServerTests(HistoryTestCase):
    def test_an_hour_where_nothing_else_is_said(self) -> None:
        found = self.ask("GET", "/api/v1/history").json
        self.assertEqual((found["function"], found["span"], found["step"]), (None, "hour", 10))
        self.assertEqual(found["start"], "1970-01-01T00:16:40.000Z")
        self.assertEqual(
            (found["submitted"], found["queued"], found["wait_p50"]), ([0.1, 0], [1, 1], [None] * 2)
        )
        self.assertEqual(len({len(value) for value in found.values() if isinstance(value, list)}), 1)

    def test_a_day(self) -> None:
        self.pass_time(600)
        found = self.ask("GET", "/api/v1/history?span=day").json
        self.assertEqual((found["span"], found["step"], found["queued"]), ("day", 300, [1, 1]))

    def test_before_anything_was_seen(self) -> None:
        self.start()
        found = self.ask("GET", "/api/v1/history").json
        self.assertEqual((found["start"], found["queued"]), (None, []))

    def test_what_makes_no_sense(self) -> None:
        for query in ("span=week", "span=", "span=hour&span=day", "since=1"):
            self.assertEqual(self.ask("GET", f"/api/v1/history?{query}").status, 400)

    def test_who_may(self) -> None:
        self.allow("http", "see")
        self.assertEqual(self.ask("GET", "/api/v1/history").status, 403)
        self.allow("http", "metrics")
        self.assertEqual(self.ask("GET", "/api/v1/history").status, 200)


class FunctionTests(HistoryTestCase):
    def path(self, name: str) -> str:
        return f"/api/v1/functions/{name}/history"

    def test_its_own(self) -> None:
        found = self.ask("GET", self.path("f")).json
        self.assertEqual((found["function"], found["submitted"]), ("f", [0.1, 0.0]))

    def test_one_that_did_nothing(self) -> None:
        self.broker.operations.create_function(b"idle")
        self.assertEqual(self.ask("GET", self.path("idle") + "?span=hour").json["queued"], [0, 0])

    def test_one_that_has_gone(self) -> None:
        (job,) = self.broker.table.jobs.values()
        self.broker.operations.cancel(job.handle, START)
        self.assertNotIn(b"f", self.broker.functions.by_name)
        self.assertEqual(self.ask("GET", self.path("f")).json["queued"], [1, 1])

    def test_one_that_there_never_was(self) -> None:
        answer = self.ask("GET", self.path("unknown"))
        self.assertEqual((answer.status, answer.code), (404, "unknown_function"))

    def test_one_that_is_not_to_be_seen(self) -> None:
        """It is unknown, as one that there is not."""
        self.allow("http", "see", "metrics", functions=("g.*",))
        seen, unknown = (self.ask("GET", self.path(name)) for name in ("f", "unknown"))
        self.assertEqual(seen.status, 404)
        self.assertEqual({**seen.json, "instance": None}, {**unknown.json, "instance": None})
        self.allow("http", "see", functions=("f",))
        self.assertEqual(self.ask("GET", self.path("f")).status, 200)

    def test_any_name(self) -> None:
        for name in (b"a/b", b"\xff\n<b>", "für".encode(), b"App\\xdebug", b"%2F", '\u202e"'.encode()):
            self.submit(name)
            self.pass_time(10)
            answer = self.ask("GET", self.path(quote(name, safe="")))
            self.assertEqual(answer.status, 200, (name, answer))
            self.assertEqual(answer.json["queued"][-1], 1)
            again = self.ask("GET", self.path(quote(answer.json["function"], safe="")))
            self.assertEqual(again.json, answer.json)
