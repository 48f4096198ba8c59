"""Tests of L{txgear.web.api.functionacts}: what operators do to one function."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

from txgear.test.web.api.apicase import ActsTestCase
from txgear.web.api import functionacts


class FunctionTests(ActsTestCase):
    parts = (functionacts,)

    def test_pause_and_resume(self) -> None:
        self.submit()
        answer = self.ask("POST", "/api/v1/functions/f/pause")
        self.assertEqual((answer.status, answer.json), (200, {"function": "f", "paused": True}))
        self.assertTrue(self.broker.functions.by_name[b"f"].paused)
        self.assertEqual(self.ask("POST", "/api/v1/functions/f/resume").json["paused"], False)
        answer = self.ask("POST", "/api/v1/functions/f/resume")
        self.assertEqual((answer.status, answer.code), (409, "not_paused"))

    def test_purge(self) -> None:
        for _ in range(3):
            self.submit()
        answer = self.ask("POST", "/api/v1/functions/f/purge")
        self.assertEqual((answer.status, answer.json), (200, {"function": "f", "jobs": 3}))
        answer = self.ask("POST", "/api/v1/functions/g/purge")
        self.assertEqual((answer.status, answer.code), (404, "unknown_function"))

    def test_maxqueue(self) -> None:
        answer = self.ask("PUT", "/api/v1/functions/f/maxqueue", body={"normal": 2})
        self.assertEqual((answer.status, answer.json), (200, {"high": 0, "normal": 2, "low": 0}))
        self.assertEqual(self.broker.functions.by_name[b"f"].max_queued, (0, 2, 0))
        self.assertEqual(self.ask("PUT", "/api/v1/functions/f/maxqueue", body={"low": -1}).status, 422)
        self.ask("PUT", "/api/v1/functions/f/maxqueue", body={})
        self.assertNotIn(b"f", self.broker.functions.by_name)

    def test_create_and_drop(self) -> None:
        for status in (201, 200):
            answer = self.ask("PUT", "/api/v1/functions/a%2Fb")
            self.assertEqual((answer.status, answer.json["function"]), (status, "a/b"))
        self.assertTrue(self.broker.functions.by_name[b"a/b"].created)
        self.assertEqual(self.ask("DELETE", "/api/v1/functions/a%2Fb").status, 204)
        self.assertEqual(self.ask("DELETE", "/api/v1/functions/a%2Fb").code, "unknown_function")
        self.submit()
        answer = self.ask("DELETE", "/api/v1/functions/f")
        self.assertEqual((answer.status, answer.code), (409, "function_in_use"))

    def test_hostile_names(self) -> None:
        for name in ("%3Cscript%3E", "%27%22", "%01", "%E2%80%AE", "x" * 4000):
            answer = self.ask("PUT", f"/api/v1/functions/{name}")
            self.assertEqual(answer.status, 201)
            self.assertIn(unquote_to_bytes(name), self.broker.functions.by_name)
            self.assertEqual(self.ask("POST", f"/api/v1/functions/{name}/pause").status, 200)
        self.assertEqual(self.ask("PUT", "/api/v1/functions/%00").status, 400)

    def test_a_name_as_it_is_shown(self) -> None:
        """What an answer calls a function can stand in the next path."""
        for path in ("%FF", "%3Ca%FE", "App%5Cxdebug"):
            shown = quote(self.ask("PUT", f"/api/v1/functions/{path}").json["function"], safe="")
            self.assertNotEqual(shown, path)
            for name in (shown, path):
                self.assertEqual(self.ask("PUT", f"/api/v1/functions/{name}").status, 200, name)
                self.assertEqual(self.ask("POST", f"/api/v1/functions/{name}/pause").status, 200, name)
                self.assertEqual(self.ask("POST", f"/api/v1/functions/{name}/resume").status, 200, name)
                bounds = self.ask("PUT", f"/api/v1/functions/{name}/maxqueue", body={"low": 1})
                self.assertEqual(bounds.status, 200, name)
            self.assertEqual(list(self.broker.functions.by_name), [unquote_to_bytes(path)])
            self.ask("PUT", f"/api/v1/functions/{path}/maxqueue", body={})
            self.assertEqual(self.ask("DELETE", f"/api/v1/functions/{shown}").status, 204)

    def test_each_is_recorded(self) -> None:
        self.audit()
        self.ask("PUT", "/api/v1/functions/f")
        for what in ("pause", "resume", "purge"):
            self.ask("POST", f"/api/v1/functions/f/{what}")
        self.ask("PUT", "/api/v1/functions/f/maxqueue", body={"high": 1})
        self.ask("PUT", "/api/v1/functions/f/maxqueue", body={})
        self.ask("DELETE", "/api/v1/functions/f")
        self.assertEqual(
            [(line["act"], line["function"], line.get("arguments")) for line in self.audited()],
            [
                ("create", "f", None),
                ("pause", "f", None),
                ("resume", "f", None),
                ("purge", "f", None),
                ("maxqueue", "f", "1 0 0"),
                ("maxqueue", "f", "0 0 0"),
                ("drop", "f", None),
            ],
        )

    def test_rights(self) -> None:
        self.submit(b"g")
        self.allow("http", "see", "pause", functions=("f",))
        self.assertEqual(self.ask("POST", "/api/v1/functions/f/pause").status, 200)
        self.assertEqual(self.ask("POST", "/api/v1/functions/g/pause").status, 403)
        for method, target in (
            ("POST", "f/resume"),
            ("POST", "f/purge"),
            ("PUT", "f"),
            ("DELETE", "f"),
        ):
            self.assertEqual(self.ask(method, f"/api/v1/functions/{target}").status, 403)
        self.assertEqual(self.ask("PUT", "/api/v1/functions/f/maxqueue", body={}).status, 403)
