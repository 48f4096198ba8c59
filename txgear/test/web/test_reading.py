"""Tests of L{txgear.web.reading}."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from txgear.web.answers import Problem
from txgear.web.reading import MOST_QUERY, json, query


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the tests read."""

    function: str = ""
    limit: int = 100
    alive: bool = False
    state: Literal["queued", "dead"] | None = None
    text: str | None = None
    names: list[str] = msgspec.field(default_factory=list, name="name")


class QueryTests(SynchronousTestCase):
    def wrong(self, text: bytes, why: str) -> None:
        problem = self.assertRaises(Problem, query, text, Wanted)
        self.assertEqual((problem.status, problem.code), (400, "invalid_query"))
        self.assertIn(why, problem.detail)

    def test_none(self) -> None:
        self.assertEqual(query(b"", Wanted), Wanted())

    def test_values(self) -> None:
        found = query(b"function=a%2Fb%26c+d&limit=7&alive=true&state=dead&text=&name=1&name=2", Wanted)
        self.assertEqual(
            found, Wanted(function="a/b&c d", limit=7, alive=True, state="dead", text="", names=["1", "2"])
        )

    def test_unicode(self) -> None:
        self.assertEqual(query("function=ж".encode().replace("ж".encode(), b"%D0%B6"), Wanted).function, "ж")

    def test_wrong(self) -> None:
        self.wrong(b"limit=x", "limit")
        self.wrong(b"limit=1.5", "limit")
        self.wrong(b"alive=maybe", "alive")
        self.wrong(b"state=odd", "state")
        self.wrong(b"limit=1&limit=2", "limit more than once")
        self.wrong(b"<script>=1", "known are: function, limit, alive, state, text, name")
        self.wrong(b"names=1", "not known")
        self.wrong(b"function=%FF", "UTF-8")
        self.wrong(b"function=\xff", "UTF-8")
        self.wrong(b"name=1&" * (MOST_QUERY + 1), "too long")


class JsonTests(SynchronousTestCase):
    def read(self, body: bytes, content_type: str = "application/json", kind: Any = Wanted) -> Any:
        return json(content_type, body, kind)

    def test_read(self) -> None:
        for kind in ("application/json", "Application/JSON; charset=utf-8", " application/json ;x"):
            self.assertEqual(self.read(b'{"limit": 3}', kind), Wanted(limit=3))

    def test_types(self) -> None:
        """Those that forms can send are none of them."""
        for kind in (
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "json",
            "text/plain; application/json",
        ):
            problem = self.assertRaises(Problem, self.read, b"{}", kind)
            self.assertEqual((problem.status, problem.code), (415, "unsupported_media_type"))

    def test_malformed(self) -> None:
        for body in (b"", b"{", b"{} {}", b"\xff", b'"\xff"', b"NaN", b"{'a': 1}", b"\x00"):
            problem = self.assertRaises(Problem, self.read, body)
            self.assertIn(problem.status, (400, 422), body)
        self.assertEqual(self.assertRaises(Problem, self.read, b"{").code, "malformed_json")

    def test_deep(self) -> None:
        problem = self.assertRaises(Problem, self.read, b"[" * 100_000, kind=Any)
        self.assertEqual((problem.status, problem.code), (400, "malformed_json"))

    def test_not_what_is_wanted(self) -> None:
        for body in (
            b"[]",
            b'{"limit": "3"}',
            b'{"more": 1}',
            b"null",
        ):
            problem = self.assertRaises(Problem, self.read, body)
            self.assertEqual((problem.status, problem.code), (422, "invalid_body"), body)
