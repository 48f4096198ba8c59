"""Tests of L{txgear.web.reading}."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from twisted.trial.unittest import SynchronousTestCase

from txgear.web.answers import Problem
from txgear.web.reading import MOST_QUERY, MOST_SHOWN, json, query

Older = Annotated[str, msgspec.Meta(pattern="^[0-9]+s$", examples=["1s", "90s"])]
Plain = Annotated[str, msgspec.Meta(pattern="^a$")]


class Colour(Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the tests read."""

    function: str = ""
    limit: int = 100
    alive: bool = False
    state: Literal["queued", "dead"] | None = None
    text: str | None = None
    names: list[str] = msgspec.field(default_factory=list, name="name")
    seconds: Annotated[float, msgspec.Meta(ge=1)] | None = None
    colour: Colour = Colour.RED
    form: Literal["json"] | UnsetType = msgspec.field(default=UNSET, name="as")
    older: Older | UnsetType = UNSET
    plain: Plain | None = None


class Needed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What has to say something."""

    unique: Annotated[str, msgspec.Meta(max_length=3)]


class Many(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What has others within."""

    all: list[Wanted]
    by_name: dict[str, Wanted] | None = None
    either: int | str | None = None


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

    def test_words(self) -> None:
        """A wrong value is told in the words of a query, with what could stand in its place."""
        for text, kind, words in (
            (b"limit=x", Wanted, "limit: a whole number is wanted"),
            (b"alive=maybe", Wanted, "alive: true or false is wanted"),
            (b"seconds=x", Wanted, "seconds: a number is wanted"),
            (b"seconds=0", Wanted, "seconds: a number >= 1.0 is wanted"),
            (b"state=odd", Wanted, "state: Invalid enum value 'odd'; known are: queued, dead"),
            (b"colour=odd", Wanted, "colour: Invalid enum value 'odd'; known are: red, blue"),
            (b"as=xml", Wanted, "as: Invalid enum value 'xml'; known are: json"),
            (b"older=x", Wanted, "older: a value such as '1s' or '90s' is wanted"),
            (b"plain=x", Wanted, "plain: text matching regex '^a$' is wanted"),
            (b"unique=long", Needed, "unique: text of length <= 3 is wanted"),
            (b"", Needed, "unique is wanted"),
        ):
            problem = self.assertRaises(Problem, query, text, kind)
            self.assertEqual(problem.detail, f"The query is wrong: {words}")

    def test_shown(self) -> None:
        """A name that is not known is shown, without signs that nobody sees, and not at any length."""
        for name, shown in (("%0A%E2%80%AEa", r"'\n\u202ea'"), ("b" * 1000, repr("b" * MOST_SHOWN))):
            self.wrong(
                f"{name}=1".encode(), f"The query has {shown}, which is not known; known are: function"
            )


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

    def test_instead(self) -> None:
        """What could have stood there is told, wherever it is."""
        fields = "function, limit, alive, state, text, name, seconds, colour, as, older, plain"
        for body, kind, words in (
            (b'{"lim": 1}', Wanted, f"unknown field `lim`; known are: {fields}"),
            (b'{"all": [{"lim": 1}]}', Many, f"unknown field `lim` - at `$.all[0]`; known are: {fields}"),
            (b'{"lim": 1}', Many, "unknown field `lim`; known are: all, by_name, either"),
            (b'{"all": [{"colour": "x"}]}', Many, "'x' - at `$.all[0].colour`; known are: red, blue"),
            (b'{"all": [{"state": "x"}]}', Many, "'x' - at `$.all[0].state`; known are: queued, dead"),
            (b'{"all": 1}', Many, "Expected `array`, got `int` - at `$.all`"),
            (b'{"all": [], "by_name": {"a": {"state": "x"}}}', Many, "'x' - at `$.by_name[...].state`"),
            (b'{"all": [], "either": []}', Many, "Expected `int | str | null`, got `array` - at `$.either`"),
        ):
            problem = self.assertRaises(Problem, self.read, body, kind=kind)
            self.assertTrue(problem.detail.endswith(words), problem.detail)
