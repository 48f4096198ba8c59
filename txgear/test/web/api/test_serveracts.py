"""Tests of L{txgear.web.api.serveracts}."""

from __future__ import annotations

from typing import Any

from txgear.broker.model import Peer
from txgear.server.setup import ConfigRead
from txgear.test.web.api.apicase import ApiTestCase
from txgear.web.api import serveracts

ROOT = "/api/v1/server"


class ServerActsTests(ApiTestCase):
    parts = (serveracts,)

    def setUp(self) -> None:
        self.begin()

    def begin(self, **choices: Any) -> None:
        self.start(**choices)
        self.ended: list[bool] = []
        self.hung_up: list[Peer] = []
        self.server.shutdown = self.ended.append
        self.server.hang_up = self.hung_up.append

    def acts(self) -> list[tuple[str, str, object]]:
        lines, _ = self.server.audit.last(0, 10)
        return [(line["act"], line["outcome"], line.get("arguments")) for line in lines]

    def test_reload(self) -> None:
        answer = self.ask("POST", f"{ROOT}/reload")
        self.assertEqual((answer.status, answer.json), (200, {"config": None}))
        self.assertEqual([peer.kind for peer in self.hung_up], ["web"])

    def test_what_was_read(self) -> None:
        self.server.setup.config = ConfigRead("f.toml", 1000.0, "operator", "nothing", ("odd",))
        found = self.ask("POST", f"{ROOT}/reload").json["config"]
        self.assertEqual(
            (found["path"], found["by"], found["summary"], found["warnings"]),
            ("f.toml", "operator", "nothing", ["odd"]),
        )

    def test_a_mistake_in_the_file(self) -> None:
        read = ConfigRead("f.toml", 1000.0, "start", "nothing", ())
        self.server.setup.config = read._replace(error="f.toml, line 3: no", error_at=1001.0)
        answer = self.ask("POST", f"{ROOT}/reload")
        self.assertEqual((answer.status, answer.code), (409, "invalid_config"))
        self.assertEqual(answer.json["detail"], "f.toml, line 3: no; the settings stay as they were")

    def test_the_end(self) -> None:
        self.begin(allow_shutdown=True)
        answer = self.ask("POST", f"{ROOT}/drain")
        self.assertEqual((answer.status, answer.json), (202, {"graceful": True, "running": 0}))
        answer = self.ask("POST", f"{ROOT}/shutdown")
        self.assertEqual((answer.status, answer.json), (202, {"graceful": False, "running": 0}))
        self.assertEqual(self.ended, [True, False])
        self.assertEqual(self.acts(), [("shutdown", "done", None), ("shutdown", "done", "graceful")])

    def test_it_is_not_switched_on(self) -> None:
        for act in ("drain", "shutdown"):
            answer = self.ask("POST", f"{ROOT}/{act}")
            self.assertEqual((answer.status, answer.code), (409, "not_switched_on"))
        self.assertEqual((self.ended, self.acts()), ([], []))

    def test_rights(self) -> None:
        self.begin(allow_shutdown=True)
        self.allow("http", "settings", "see", "reload")
        for act in ("drain", "shutdown"):
            self.assertEqual(self.ask("POST", f"{ROOT}/{act}").status, 403)
        self.assertEqual(self.ask("POST", f"{ROOT}/reload").status, 200)
        self.allow("http", "settings", "see", "shutdown")
        self.assertEqual(self.ask("POST", f"{ROOT}/reload").status, 403)
        self.assertEqual((len(self.hung_up), self.ended), (1, []))
        self.assertEqual(self.ask("POST", f"{ROOT}/drain").status, 202)

    def test_they_take_no_body(self) -> None:
        answer = self.ask("POST", f"{ROOT}/reload", body={"path": "/etc/passwd"})
        self.assertEqual((answer.code, self.hung_up), ("unexpected_body", []))
