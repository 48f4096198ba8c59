"""Tests of L{txgear.web.api.functions}."""

from __future__ import annotations

from urllib.parse import quote

from txgear.broker.shares import Share
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import SUBMIT_JOB_BG
from txgear.protocol.packets import request
from txgear.test.web.api.apicase import ApiTestCase
from txgear.web.api import functions, server
from txgear.web.api.functions import FunctionDetails, Functions
from txgear.web.api.server import FunctionPolicy

HOSTILE = b"<b>\"'\\xff\xff\n\x1b[2J\xe2\x80\xae/..%2F?#&"


class FunctionsTestCase(ApiTestCase):
    parts = (functions, server)

    def submit(self, *names: bytes) -> None:
        client = self.fixture.connect()
        for name in names:
            client.ask(request(SUBMIT_JOB_BG, name, b"", b"workload"))

    def names(self, query: str = "") -> list[str]:
        return [found["function"] for found in self.read(f"/api/v1/functions{query}", Functions)["functions"]]


class ListTests(FunctionsTestCase):
    def test_a_row(self) -> None:
        self.worker()
        self.submit(b"f")
        self.broker.operations.pause(b"f", self.clock.seconds())
        self.broker.operations.limit_function(b"f", (1, 2, 3))
        self.assertEqual(
            self.read("/api/v1/functions", Functions),
            {
                "functions": [
                    {
                        "function": "f",
                        "queued": 1,
                        "waiting": 0,
                        "running": 0,
                        "workers": 1,
                        "oldest": 0.0,
                        "dead": 0,
                        "kept": 0,
                        "paused": True,
                        "maxqueue": {"high": 1, "normal": 2, "low": 3},
                    }
                ],
                "next": None,
            },
        )

    def test_pages(self) -> None:
        """By their names, as they are shown."""
        self.submit(b"c", HOSTILE, b"a\xff", b"b", b"a")
        seen = []
        after = ""
        while True:
            page = self.read(f"/api/v1/functions?limit=2{after}", Functions)
            seen += [found["function"] for found in page["functions"]]
            if page["next"] is None:
                break
            after = f"&after={quote(page['next'])}"
        self.assertEqual(seen, [seen[0], "a", "a\\xff", "b", "c"])
        self.assertTrue(seen[0].startswith("<b>"))

    def test_filters(self) -> None:
        self.submit(b"a", b"b")
        self.broker.operations.pause(b"b", self.clock.seconds())
        self.assertEqual(self.names("?function=a*"), ["a"])
        self.assertEqual(self.names("?paused=true"), ["b"])
        self.assertEqual(self.names("?paused=false"), ["a"])
        self.assertEqual(self.ask("GET", "/api/v1/functions?paused=maybe").code, "invalid_query")

    def test_rights(self) -> None:
        self.submit(b"a", b"b")
        self.allow("http", "see", functions=["b"])
        self.assertEqual(self.names(), ["b"])
        for name in ("a", "c"):
            self.assertEqual(self.ask("GET", f"/api/v1/functions/{name}").code, "unknown_function")
        self.assertEqual(self.ask("GET", "/api/v1/functions/b").status, 200)


class OneTests(FunctionsTestCase):
    def test_one(self) -> None:
        policies = Policies([("*", CLASSIC.with_settings({"concurrency": 2, "timeout": 10}))])
        self.broker.operations.set_policies(policies, self.clock.seconds())
        self.submit(HOSTILE)
        (shown,) = self.names()
        found = self.read(f"/api/v1/functions/{quote(shown, safe='')}", FunctionDetails)
        self.assertEqual((found["function"], found["pattern"], found["bytes"]), (shown, "*", 8))
        self.assertEqual(found["settings"], {"timeout": 10.0, "concurrency": 2})
        self.assertEqual((found["room"], found["share"], found["created"]), (2, None, False))
        self.assertEqual(found["counts"]["submitted"], 1)
        self.assertEqual(found["counts"]["wait"], {"p50": None, "p95": None, "p99": None})
        self.assertEqual(self.read(found["links"]["self"], FunctionDetails), found)
        self.assertTrue(found["links"]["policy"].startswith("/api/v1/policies/%3Cb%3E"))

    def test_a_share(self) -> None:
        policies = Policies([("*", CLASSIC.with_settings({"concurrency": 4, "rate": "10/s"}))])
        self.broker.operations.set_policies(policies, self.clock.seconds())
        self.broker.operations.set_share(Share(2, 0), self.clock.seconds())
        self.submit(b"f")
        share = {"servers": 2, "rate": {"jobs": "5/s", "burst": 1}, "concurrency": 2}
        found = self.read("/api/v1/functions/f", FunctionDetails)
        self.assertEqual(found["share"], share)
        self.assertEqual(self.read(found["links"]["policy"], FunctionPolicy)["share"], share)

    def test_names(self) -> None:
        """As they are shown, or as they are."""
        for name, paths in (
            (b"a\xff/", ("a%5Cxff%2F", "a%FF%2F")),
            (b"App\\xff", ("App%5Cx5cxff", "App%5Cxff")),
            ("\u00e4 b".encode(), ("%C3%A4%20b",)),
        ):
            self.start()
            self.submit(name)
            for path in paths:
                found = self.read(f"/api/v1/functions/{path}", FunctionDetails)
                self.assertEqual(found["function"], self.names()[0])

    def test_without_a_policy(self) -> None:
        self.submit(b"f")
        found = self.read("/api/v1/functions/f", FunctionDetails)
        self.assertEqual((found["pattern"], found["settings"], found["room"]), (None, {}, None))
