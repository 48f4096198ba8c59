"""Tests of L{txgear.web.api.openapi}."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field
from twisted.trial.unittest import SynchronousTestCase

from txgear import __version__
from txgear.test.support.server import ServerFixture
from txgear.test.web.api.apicase import ApiTestCase
from txgear.web import health
from txgear.web.answers import Answer
from txgear.web.api import openapi
from txgear.web.api.openapi import Document, document, path_of, plain, words_of
from txgear.web.routes import Operation, Route
from txgear.web.site import make_web


class Inner(Struct, frozen=True, kw_only=True):
    """
    What is within.

    @ivar size: how C{large} it is; see L{the other<txgear.web.api.openapi.Thing>}.
    """

    size: int


class Base(Struct, frozen=True, kw_only=True):
    """
    What others have, too.

    @ivar name: what it is called,
        in words.
    """

    name: str


class Thing(Base, frozen=True, kw_only=True):
    """
    A thing.

    It has L{Inner}.

    @ivar inner: within.
    @ivar others: further ones.
    """

    inner: Inner | None
    others: dict[str, list[Inner]] = field(default_factory=dict)


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What is wanted.

    @ivar form: in which form.
    """

    form: Literal["short"] | UnsetType = field(default=UNSET, name="as")
    limit: Annotated[int, Meta(ge=1, le=3)] = 2
    wanted: str


class Headers(Struct, frozen=True, kw_only=True):
    """Headers that mean something."""

    priority: str | UnsetType = field(default=UNSET, name="Txgear-Priority")


class Order(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order."""

    thing: Thing


def answer(request: Any) -> Answer:
    return Answer()


READ = Operation(
    "read",
    "Reads",
    "things",
    "More of it.",
    query=Query,
    headers=Headers,
    answers={200: bytes | Thing, 206: bytes},
    content_types={200: "image/png"},
    problems=(404,),
    links={"write": {"name": "$response.body#/name"}},
)
WRITE = Operation("write", "Writes", "orders", body=Order, answers={201: list[Thing], 204: None})
SEND = Operation(
    "send", "Sends", "things", raw_body=True, answers={200: str}, content_types={200: "text/event-stream"}
)
ROUTES = [
    Route("GET", "/things/<name>/<other>", answer, READ),
    Route("POST", "/things/<name>/<other>", answer, WRITE),
    Route("POST", "/send", answer, SEND, free=True),
    Route("GET", "/secret", answer),
]


class WordsTests(SynchronousTestCase):
    """What docstrings say."""

    def test_plain(self) -> None:
        for text, expected in (
            ("C{a} and I{b}", "`a` and `b`"),
            ("L{Thing}, L{a.b.Thing}, L{x<a.b.Thing>}", "`Thing`, `Thing`, `Thing`"),
        ):
            self.assertEqual(plain(text), expected)

    def test_words_of(self) -> None:
        text, fields = words_of(Thing)
        self.assertEqual(text, "A thing.\n\nIt has `Inner`.")
        self.assertEqual(
            fields, {"name": "what it is called, in words.", "inner": "within.", "others": "further ones."}
        )

    def test_paths(self) -> None:
        self.assertEqual(path_of("/a/<name>/b/<int:number>"), "/a/{name}/b/{number}")


class DocumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = document(ROUTES, secured=False)

    def test_head(self) -> None:
        self.assertEqual(self.document["openapi"], "3.1.0")
        self.assertEqual(self.document["info"]["x-server-version"], __version__)
        self.assertEqual(self.document["tags"], [{"name": "things"}, {"name": "orders"}])
        self.assertNotIn("security", self.document)

    def test_what_has_no_operation_is_left_out(self) -> None:
        self.assertEqual(sorted(self.document["paths"]), ["/send", "/things/{name}/{other}"])

    def test_parameters(self) -> None:
        read = self.document["paths"]["/things/{name}/{other}"]["get"]
        word = {"type": "string", "minLength": 1}
        self.assertEqual(
            read["parameters"],
            [
                {"name": "name", "in": "path", "required": True, "schema": word},
                {"name": "other", "in": "path", "required": True, "schema": word},
                {"name": "as", "in": "query", "schema": {"enum": ["short"]}, "description": "in which form."},
                {
                    "name": "limit",
                    "in": "query",
                    "schema": {"type": "integer", "minimum": 1, "maximum": 3, "default": 2},
                },
                {"name": "wanted", "in": "query", "schema": {"type": "string"}, "required": True},
                {"name": "Txgear-Priority", "in": "header", "schema": {"type": "string"}},
            ],
        )
        self.assertEqual((read["summary"], read["description"]), ("Reads", "More of it."))
        self.assertNotIn("requestBody", read)

    def test_answers(self) -> None:
        paths = self.document["paths"]
        found = paths["/things/{name}/{other}"]["get"]["responses"]
        thing = {"$ref": "#/components/schemas/Thing"}
        self.assertEqual(
            found["200"],
            {
                "description": "OK",
                "content": {"image/png": {"schema": {}}, "application/json": {"schema": thing}},
                "links": {"write": {"operationId": "write", "parameters": {"name": "$response.body#/name"}}},
            },
        )
        self.assertEqual(found["206"]["content"], {"application/octet-stream": {"schema": {}}})
        self.assertEqual(sorted(found), ["200", "206", "400", "404", "406", "414", "421", "503"])
        self.assertEqual(found["404"], {"$ref": "#/components/responses/NotFound"})
        written = paths["/things/{name}/{other}"]["post"]["responses"]
        self.assertEqual(
            written["201"]["content"], {"application/json": {"schema": {"type": "array", "items": thing}}}
        )
        self.assertEqual(written["204"], {"description": "No Content"})
        self.assertLessEqual({"413", "415", "422"}, set(written))
        sent = paths["/send"]["post"]["responses"]["200"]["content"]
        self.assertEqual(sent, {"text/event-stream": {"schema": {"type": "string"}}})
        problem = self.document["components"]["responses"]["NotFound"]["content"]
        reference = {"$ref": "#/components/schemas/ProblemDetails"}
        self.assertEqual(problem, {"application/problem+json": {"schema": reference}})

    def test_bodies(self) -> None:
        paths = self.document["paths"]
        self.assertEqual(
            paths["/things/{name}/{other}"]["post"]["requestBody"],
            {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}},
            },
        )
        self.assertEqual(
            paths["/send"]["post"]["requestBody"],
            {"required": False, "content": {"application/octet-stream": {"schema": {}}}},
        )

    def test_schemas(self) -> None:
        """What is only a list of parameters is none."""
        schemas = self.document["components"]["schemas"]
        self.assertEqual(sorted(schemas), ["Inner", "Order", "ProblemDetails", "Thing"])
        self.assertEqual(schemas["Thing"]["description"], "A thing.\n\nIt has `Inner`.")
        self.assertEqual(schemas["Thing"]["required"], ["name", "inner"])
        self.assertEqual(
            schemas["Thing"]["properties"]["name"],
            {"type": "string", "description": "what it is called, in words."},
        )
        self.assertEqual(
            schemas["Inner"]["properties"]["size"]["description"], "how `large` it is; see `Thing`."
        )
        self.assertNotIn("description", schemas["Order"]["properties"]["thing"])

    def test_rules(self) -> None:
        found = document(ROUTES, secured=True)
        self.assertEqual(found["security"], [{"token": []}, {"certificate": []}])
        self.assertEqual(found["components"]["securitySchemes"]["token"]["scheme"], "bearer")
        read = found["paths"]["/things/{name}/{other}"]["get"]
        self.assertLessEqual({"401", "403"}, set(read["responses"]))
        self.assertNotIn("security", read)
        self.assertEqual(found["paths"]["/send"]["post"]["security"], [])

    def test_names_that_are_there_twice(self) -> None:
        with self.assertRaisesRegex(ValueError, "two operations"):
            document([*ROUTES, Route("GET", "/x", answer, WRITE)], False)
        other = type("Thing", (Struct,), {"__annotations__": {"x": int}})
        with self.assertRaisesRegex(ValueError, "Thing"):
            twice = Operation("other", "", "", answers={200: other, 201: Thing})
            document([Route("GET", "/x", answer, twice)], False)


class WholeTests(SynchronousTestCase):
    """The description of all that there is."""

    def test_links_lead_to_operations(self) -> None:
        found = document(make_web(ServerFixture().server).router.routes, secured=True)
        operations = {
            operation["operationId"]: operation
            for methods in found["paths"].values()
            for operation in methods.values()
        }
        followed = 0
        for name, operation in operations.items():
            for answer in operation["responses"].values():
                for link in answer.get("links", {}).values():
                    target = operations.get(link["operationId"])
                    self.assertIsNotNone(target, (name, link))
                    assert target is not None
                    known = {parameter["name"] for parameter in target["parameters"]}
                    self.assertLessEqual(set(link["parameters"]), known, (name, link))
                    followed += 1
        self.assertGreater(followed, 10)


class ServedTests(ApiTestCase):
    parts = (health, openapi)

    def test_it_describes_itself(self) -> None:
        found = self.read("/api/v1/openapi.json", Document)
        self.assertEqual(set(found["paths"]), {"/health", "/ready", "/api/v1/openapi.json"})
        self.assertNotIn("security", found)

    def test_with_rules(self) -> None:
        self.allow("http")
        self.assertIn("security", self.read("/api/v1/openapi.json", Document))
        self.assertEqual(self.ask("GET", "/health").status, 200)
