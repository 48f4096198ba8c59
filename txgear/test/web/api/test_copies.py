"""Tests of L{txgear.web.api.copies}, and with a store of L{txgear.server.copying}."""

from __future__ import annotations

import json
from typing import Any

from txgear.broker.model import Job
from txgear.broker.rights import HTTP, READ, SEE, SUBMIT
from txgear.broker.states import DEAD, DELAYED
from txgear.errors import StoreUnavailable
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import HIGH, SUBMIT_JOB_EPOCH, WORK_COMPLETE, WORK_FAIL
from txgear.protocol.packets import request
from txgear.security.audit import AuditLog
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.web import WebPeer
from txgear.test.web.api.apicase import ApiTestCase
from txgear.web.api import copies, jobmodels, jobs

COPY = "/api/v1/jobs/H:test:1/copy"


class CopiesTests(ApiTestCase):
    parts = (copies, jobs)

    def submit(self, **rest: Any) -> Job:
        now = self.clock.seconds()
        job: Job = self.broker.submit(None, b"f", b"u", b"work", now, background=True, **rest)
        return job

    def policy(self, **settings: Any) -> None:
        policies = Policies([("*", CLASSIC.with_settings(settings))])
        self.broker.operations.set_policies(policies, self.clock.seconds())

    def end(self, kind: int, *said: bytes) -> None:
        worker = self.worker()
        worker.say(kind, worker.grab()[0], *said)
        worker.leave()

    def copied(self, body: Any = None) -> Job:
        answer = self.ask("POST", COPY, body=body or {})
        self.assertEqual(answer.status, 202, answer.body)
        job: Job = self.broker.table.jobs[int(answer.json["handle"].rpartition(":")[2])]
        return job

    def test_the_same_once_more(self) -> None:
        original = self.submit(priority=HIGH, reducer=b"r", settings={"timeout": 3})
        answer = self.ask("POST", COPY, body={})
        self.assertEqual(
            (answer.status, answer.headers["Location"], answer.json),
            (
                202,
                "/api/v1/jobs/H%3Atest%3A2",
                {
                    "handle": "H:test:2",
                    "function": "f",
                    "joined": False,
                    "job": "/api/v1/jobs/H%3Atest%3A2",
                    "result": "/api/v1/jobs/H%3Atest%3A2/result",
                },
            ),
        )
        copy = self.broker.table.jobs[2]
        for name in ("function", "workload", "priority", "reducer", "background"):
            self.assertEqual(getattr(copy, name), getattr(original, name), name)
        assert copy.history is not None
        self.assertEqual((copy.unique, copy.history.settings), (b"", {"timeout": 3}))
        for number, key, value in ((1, "copies", ["H:test:2"]), (2, "copy_of", "H:test:1")):
            found = self.read(f"/api/v1/jobs/H:test:{number}", jobmodels.Job)
            self.assertEqual(found[key], value)

    def test_with_something_changed(self) -> None:
        self.submit()
        copy = self.copied(
            {
                "function": "g",
                "base64": "/w==",
                "unique": "other",
                "priority": "high",
                "delay": "1m",
                "policy": {"timeout": 5},
            }
        )
        assert copy.history is not None
        self.assertEqual((copy.function.name, copy.workload, copy.unique), (b"g", b"\xff", b"other"))
        self.assertEqual((copy.priority, copy.state, copy.history.settings), (HIGH, DELAYED, {"timeout": 5}))
        self.assertEqual(self.copied({"workload": ""}).workload, b"")
        self.assertEqual(self.copied({"workload": "ä"}).workload, "ä".encode())
        self.assertEqual(self.copied({"when": "2030-01-01T00:00:00Z"}).state, DELAYED)

    def test_one_with_its_unique_is_the_same(self) -> None:
        self.submit()
        answer = self.ask("POST", COPY, body={"unique": "u"})
        self.assertEqual((answer.json["handle"], answer.json["joined"]), ("H:test:1", True))
        self.assertEqual(self.read("/api/v1/jobs/H:test:1", jobmodels.Job)["copies"], [])

    def test_of_a_dead_one(self) -> None:
        self.policy(retries=0)
        job = self.submit()
        self.end(WORK_FAIL)
        self.assertEqual((job.state, self.copied().workload), (DEAD, b"work"))

    def test_of_one_that_is_done(self) -> None:
        """Its workload is not kept, so there has to be another."""
        self.policy(results=60)
        self.submit()
        self.end(WORK_COMPLETE, b"result")
        answer = self.ask("POST", COPY, body={})
        self.assertEqual((answer.status, answer.code), (409, "no_workload"))
        self.assertEqual(self.copied({"workload": "again"}).workload, b"again")

    def test_what_makes_no_sense(self) -> None:
        self.submit()
        for status, body in (
            (422, {"priority": "higher"}),
            (422, {"base64": "?"}),
            (422, {"surprise": 1}),
            (422, {"function": ""}),
            (400, {"workload": "", "base64": ""}),
            (400, {"function": "a\0b"}),
            (400, {"unique": "\0"}),
            (400, {"delay": "soon"}),
            (400, {"delay": 1, "when": 1}),
            (400, {"policy": {"timeout": "soon"}}),
        ):
            self.assertEqual(self.ask("POST", COPY, body=body).status, status, body)
        self.assertEqual(self.ask("POST", "/api/v1/jobs/H:test:9/copy", body={}).status, 404)
        self.assertEqual(len(self.broker.table.jobs), 1)

    def test_a_function_that_is_full(self) -> None:
        self.policy(max_queue=1)
        self.submit()
        answer = self.ask("POST", COPY, body={})
        self.assertEqual((answer.status, answer.code), (503, "queue_full"))

    def test_rights(self) -> None:
        self.submit()
        for acts, functions, status in (
            ((HTTP, SEE, READ, SUBMIT), ("f", "g"), 202),
            ((HTTP, SEE, READ, SUBMIT), ("f",), 403),
            ((HTTP, SEE, SUBMIT), ("f", "g"), 403),
            ((HTTP, READ, SUBMIT), ("f", "g"), 404),
        ):
            self.allow(*acts, functions=functions)
            answer = self.ask("POST", COPY, body={"function": "g"})
            self.assertEqual(answer.status, status, acts)

    def test_it_is_noted(self) -> None:
        self.submit()
        path = self.mktemp()
        self.server.audit = AuditLog(path, self.clock, self.clock.seconds)
        self.copied({"workload": "a secret"})
        with open(path, encoding="utf-8") as file:
            line = file.read()
        found = json.loads(line)
        self.assertEqual((found["act"], found["handle"], found["function"]), ("submit", "H:test:2", "f"))
        self.assertEqual(found["arguments"], "copy of H:test:1")
        self.assertNotIn("secret", line)


class StoredCopiesTests(ApiTestCase):
    """The workload of the original lies in the store."""

    parts = (copies, jobs)

    def setUp(self) -> None:
        self.store = FaultyStore()
        self.use(DurableServerFixture(self.store))
        self.fixture.thread.run_all()
        # Its time is far: nobody reads it ahead.
        self.fixture.connect().ask(request(SUBMIT_JOB_EPOCH, b"f", b"", b"99999999999", b"w" * 100))
        self.fixture.thread.run_all()
        self.again()

    def again(self) -> None:
        """The server starts again."""
        self.use(DurableServerFixture(self.store))
        self.thread = self.fixture.thread

    def asked(self, body: Any = None) -> WebPeer:
        client = self.connect()
        client.ask_web("POST", COPY, self.headers, body or {})
        while not self.broker.table.jobs:
            self.thread.run()
        return client

    def test_it_is_read_and_the_copy_is_on_the_disk_before_the_answer(self) -> None:
        client = self.asked()
        self.assertEqual(self.web.payloads.held, 100)
        self.thread.run_all()
        answer = client.web_answer()
        self.assertEqual((answer.status, self.web.payloads.held), (202, 0))
        copy = answer.json["handle"]
        self.again()
        for handle, key, value in (("H:test:1", "copies", [copy]), (copy, "copy_of", "H:test:1")):
            client = self.connect()
            client.ask_web("GET", f"/api/v1/jobs/{handle}", self.headers)
            self.thread.run_all()
            found = client.web_answer().json
            self.assertEqual((found[key], found["size"]), (value, 100))

    def test_one_that_cannot_be_read(self) -> None:
        self.store.unreadable = {1}
        client = self.asked()
        self.thread.run_all()
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.code), (503, "not_read"))
        self.assertEqual(self.web.payloads.held, 0)

    def test_one_that_is_not_kept(self) -> None:
        self.store.too_large = 5
        client = self.asked({"workload": "x" * 10})
        self.thread.run_all()
        self.assertEqual((client.web_answer().status), 507)

    def test_rights_change_meanwhile(self) -> None:
        self.allow(HTTP, SEE, READ, SUBMIT)
        client = self.asked()
        self.server.guard.replace(self.server.guard.access)
        self.broker.operations.cancel(b"H:test:1", self.clock.seconds())
        self.thread.run_all()
        answer = client.web_answer()
        self.assertIn((answer.status, answer.code), ((404, "unknown_job"), (503, "not_read")))

    def test_nobody_waits_any_more(self) -> None:
        client = self.asked()
        client.leave()
        self.assertEqual(self.web.payloads.held, 0)
        self.thread.run_all()
        self.assertEqual(list(self.broker.table.jobs), [1])

    def test_the_store_is_away(self) -> None:
        self.store.fail("write", StoreUnavailable("gone"), times=99)
        client = self.asked({"workload": "x"})
        self.thread.run_all()
        self.clock.pump([1.0] * 60)
        self.thread.run_all()
        self.assertEqual(client.web_answer().status, 503)
