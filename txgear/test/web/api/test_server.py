"""Tests of L{txgear.web.api.server}."""

from __future__ import annotations

from txgear import __version__
from txgear.errors import AccessDenied
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import SUBMIT_JOB_BG
from txgear.protocol.packets import request
from txgear.security.audit import DONE
from txgear.stores.memory import MemoryStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.web.api.apicase import ApiTestCase
from txgear.web.api import server
from txgear.web.api.server import (
    Acts,
    FunctionPolicy,
    Identities,
    Server,
    ServerSettings,
)
from txgear.web.api.server import (
    Policies as PolicyRules,
)


class ServerTestCase(ApiTestCase):
    parts = (server,)


class ServerTests(ServerTestCase):
    def test_itself(self) -> None:
        self.fixture.connect().ask(request(SUBMIT_JOB_BG, b"f", b"", b""))
        self.clock.advance(90.5)
        found = self.read("/api/v1/server", Server)
        self.assertEqual(
            found,
            {
                "version": __version__,
                "started": "1970-01-01T00:16:40.000Z",
                "uptime": 90.5,
                "time": "1970-01-01T00:18:10.500Z",
                "prefix": "H:test",
                "store": {"name": "memory:", "available": True, "why": None},
                "draining": False,
                "connections": 2,
                "functions": 1,
                "jobs": 1,
                "ended": 0,
            },
        )

    def test_its_store(self) -> None:
        self.use(DurableServerFixture(MemoryStore()))
        self.assertEqual(self.read("/api/v1/server", Server)["store"]["available"], True)

    def test_settings(self) -> None:
        found = self.read("/api/v1/settings", ServerSettings)["settings"]
        self.assertEqual(
            (found["store"], found["prefix"], found["keep_alive.idle"]), ("memory:", "H:test", 0)
        )

    def test_policies(self) -> None:
        rules = [("mail.*", CLASSIC.with_settings({"retries": 3})), ("*", CLASSIC)]
        self.broker.operations.set_policies(Policies(rules), self.clock.seconds())
        first, second = self.read("/api/v1/policies", PolicyRules)["policies"]
        self.assertEqual((first["pattern"], first["settings"]["retries"]), ("mail.*", 3))
        self.assertEqual(second, {"pattern": "*", "settings": {}})
        found = self.read("/api/v1/policies/mail.x", FunctionPolicy)
        self.assertEqual((found["function"], found["pattern"], found["jobs"]), ("mail.x", "mail.*", 0))
        self.assertEqual(self.ask("GET", "/api/v1/policies/a%5Cx41b").code, "unknown_function")

    def test_rights(self) -> None:
        self.allow("http", "see", "peers")
        for path in ("server", "settings", "policies", "policies/f", "audit"):
            answer = self.ask("GET", f"/api/v1/{path}")
            self.assertEqual((answer.status, answer.code), (403, "access_denied"), path)
        self.allow("http", "audit")
        self.assertEqual(self.ask("GET", "/api/v1/audit").status, 200)

    def test_the_policy_of_a_function_that_one_may_not_know(self) -> None:
        """The answer is the same whether or not there is such a function."""
        self.allow("http", "settings")
        for known in (False, True):
            if known:
                self.broker.operations.create_function(b"\xff")
            self.assertEqual(self.ask("GET", "/api/v1/policies/%5Cxff").code, "unknown_function", known)


class IdentitiesTests(ServerTestCase):
    def test_without_any(self) -> None:
        self.assertEqual(self.read("/api/v1/identities", Identities), {"identities": []})

    def test_all(self) -> None:
        self.allow("http", "peers", "see")
        self.rules_for_nobody()
        me, nobody = self.read("/api/v1/identities", Identities)["identities"]
        self.assertEqual(me["connections"], {"used": 1, "bound": None})
        self.assertEqual((me["tenant"], me["refused"], me["submits"]), ("me", 0, None))
        self.assertEqual((nobody["tenant"], nobody["connections"], nobody["refused"]), ("nobody", None, 1))

    def test_oneself(self) -> None:
        self.allow("http")
        self.rules_for_nobody()
        (me,) = self.read("/api/v1/identities", Identities)["identities"]
        self.assertEqual(me["tenant"], "me")

    def rules_for_nobody(self) -> None:
        """Somebody who has not said who it is was refused something."""
        peer = self.server.connect(None, 9, "192.0.2.7")  # type: ignore[arg-type]
        self.server.guard.denied(peer, AccessDenied("no", act="purge", name=b"f"))
        self.server.notices.stop()


class AuditTests(ServerTestCase):
    def record(self, count: int) -> None:
        for number in range(count):
            self.server.audit.record("purge", DONE, None, function=b"f\xff%d" % number, more=number)

    def test_an_act(self) -> None:
        self.record(1)
        self.assertEqual(
            self.read("/api/v1/audit", Acts),
            {
                "acts": [
                    {
                        "number": 1,
                        "time": "1970-01-01T00:16:40.000Z",
                        "act": "purge",
                        "outcome": "done",
                        "identity": None,
                        "address": None,
                        "descriptor": None,
                        "client_id": None,
                        "about": {"function": "f\\xff0", "more": 0},
                    }
                ],
                "next": None,
            },
        )

    def test_pages(self) -> None:
        self.record(3)
        first = self.read("/api/v1/audit?limit=2", Acts)
        self.assertEqual(([act["number"] for act in first["acts"]], first["next"]), ([3, 2], 2))
        second = self.read("/api/v1/audit?limit=2&after=2", Acts)
        self.assertEqual(([act["number"] for act in second["acts"]], second["next"]), ([1], None))
        self.assertEqual(self.ask("GET", "/api/v1/audit?limit=0").code, "invalid_query")
