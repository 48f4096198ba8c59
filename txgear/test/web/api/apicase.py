"""
What tests of the API have in common.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from txgear.broker.states import DEAD
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import WORK_FAIL
from txgear.security.audit import AuditLog
from txgear.test.support.web import WebTestCase


class ApiTestCase(WebTestCase):
    """A server with a web."""

    def read(self, target: str, kind: Any) -> Any:
        """
        What a request is answered that can be carried out.

        @param kind: the type of it: it has all that this says, and nothing else.
        """
        answer = self.ask("GET", target)
        self.assertEqual(answer.status, 200, answer.body)
        found = msgspec.json.decode(answer.body, type=kind)
        self.assertEqual(msgspec.to_builtins(found), answer.json)
        return answer.json


class ActsTestCase(WebTestCase):
    """A server whose audit log can be read."""

    def submit(self, function: bytes = b"f", **rest: Any) -> Any:
        now = self.clock.seconds()
        return self.broker.submit(None, function, b"", b"work", now, background=True, **rest)

    def dead(self) -> Any:
        policies = Policies([("f", CLASSIC.with_settings({"retries": 0}))])
        self.broker.operations.set_policies(policies, self.clock.seconds())
        job = self.submit()
        worker = self.worker()
        worker.say(WORK_FAIL, worker.grab()[0])
        worker.leave()
        self.assertEqual(job.state, DEAD)
        return job

    def audited(self) -> list[dict[str, Any]]:
        """What the audit log has been told since it was asked for."""
        with open(self.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def audit(self) -> None:
        self.path = self.mktemp()
        self.server.audit = AuditLog(self.path, self.clock, self.clock.seconds)
