"""Tests of L{txgear.web.api.jobacts}: what operators do to one job."""

from __future__ import annotations

import json
from typing import Any

from txgear.broker.states import QUEUED
from txgear.protocol.constants import HIGH, WORK_FAIL
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.web.api.apicase import ActsTestCase
from txgear.web.api import jobacts

JOB = "/api/v1/jobs/H:test:1"


class JobTests(ActsTestCase):
    parts = (jobacts,)

    def test_cancel(self) -> None:
        job = self.submit()
        answer = self.ask("POST", f"{JOB}/cancel")
        self.assertEqual(
            (answer.status, answer.json),
            (
                200,
                {
                    "handle": "H:test:1",
                    "function": "f",
                    "state": "cancelled",
                    "priority": "normal",
                    "size": 4,
                },
            ),
        )
        self.assertTrue(job.ended)
        self.assertEqual(self.ask("POST", f"{JOB}/cancel").code, "unknown_job")

    def test_a_job_that_has_ended_is_not_cancelled(self) -> None:
        self.dead()
        answer = self.ask("POST", f"{JOB}/cancel")
        self.assertEqual((answer.status, answer.code), (409, "ended"))

    def test_requeue_and_forget(self) -> None:
        job = self.dead()
        self.assertEqual(self.ask("POST", f"{JOB}/requeue").json["state"], "queued")
        self.assertEqual(job.state, QUEUED)
        self.assertEqual(self.ask("POST", f"{JOB}/requeue").code, "not_dead")
        self.assertEqual(self.ask("POST", f"{JOB}/forget").code, "not_ended")
        worker = self.worker()
        worker.say(WORK_FAIL, worker.grab()[0])
        answer = self.ask("POST", f"{JOB}/forget")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(self.broker.archive.jobs, {})

    def test_prioritise(self) -> None:
        job = self.submit()
        answer = self.ask("POST", f"{JOB}/prioritise", body={"priority": "high"})
        self.assertEqual((answer.status, answer.json["priority"], job.priority), (200, "high", HIGH))
        bodies: list[Any] = [{"priority": "higher"}, {}, {"priority": "low", "more": 1}, []]
        for body in bodies:
            self.assertEqual(self.ask("POST", f"{JOB}/prioritise", body=body).status, 422)
        self.assertEqual(self.ask("POST", f"{JOB}/prioritise", body=b"priority=low").status, 415)

    def test_move(self) -> None:
        job = self.submit()
        answer = self.ask("POST", f"{JOB}/move", body={"function": "mail.send"})
        self.assertEqual((answer.status, answer.json["function"]), (200, "mail.send"))
        self.assertEqual(job.function.name, b"mail.send")
        again = self.ask("POST", f"{JOB}/move", body={"function": "mail.send"})
        self.assertEqual((again.status, again.code), (409, "same_function"))

    def test_one_that_a_worker_has(self) -> None:
        self.submit()
        self.worker().grab()
        for what, body in (("prioritise", {"priority": "low"}), ("move", {"function": "g"})):
            answer = self.ask("POST", f"{JOB}/{what}", body=body)
            self.assertEqual((answer.status, answer.code), (409, "running"))
        self.assertEqual(self.ask("PUT", f"{JOB}/workload", body=b"new").code, "running")

    def test_a_workload_is_corrected_and_the_job_put_back(self) -> None:
        job = self.dead()
        answer = self.ask("PUT", f"{JOB}/workload", body=b"corrected \xff")
        self.assertEqual((answer.status, answer.json["size"], answer.json["state"]), (200, 11, "dead"))
        self.ask("POST", f"{JOB}/requeue")
        self.assertEqual(job.workload, b"corrected \xff")
        self.assertEqual(self.ask("PUT", f"{JOB}/workload", body=b"").json["size"], 0)

    def test_unknown_ones(self) -> None:
        for target, body in (
            ("cancel", None),
            ("requeue", None),
            ("forget", None),
            ("prioritise", {"priority": "low"}),
            ("move", {"function": "g"}),
        ):
            answer = self.ask("POST", f"/api/v1/jobs/H:test:9/{target}", body=body)
            self.assertEqual((answer.status, answer.code), (404, "unknown_job"))
        self.assertEqual(self.ask("PUT", "/api/v1/jobs/%00/workload", body=b"").code, "unknown_job")

    def test_each_is_recorded(self) -> None:
        self.audit()
        self.submit()
        self.ask("POST", f"{JOB}/prioritise", body={"priority": "low"})
        self.ask("POST", f"{JOB}/move", body={"function": "g"})
        self.ask("PUT", f"{JOB}/workload", body=b"secret")
        self.ask("POST", f"{JOB}/cancel")
        lines = self.audited()
        self.assertEqual(
            [(line["act"], line["handle"], line.get("arguments")) for line in lines],
            [
                ("prioritise", "H:test:1", "low"),
                ("move", "H:test:1", "g"),
                ("correct", "H:test:1", "6 bytes"),
                ("cancel", "H:test:1", None),
            ],
        )
        self.assertNotIn("secret", json.dumps(lines))

    def test_rights(self) -> None:
        """What one may not know of is not there; what one may not do is refused."""
        self.submit()
        body = {"function": "g"}
        self.allow("http", "move", functions=("f",))
        self.assertEqual(self.ask("POST", f"{JOB}/move", body=body).status, 404)
        self.allow("http", "see", "move", functions=("f",))
        answer = self.ask("POST", f"{JOB}/move", body=body)
        self.assertEqual((answer.status, answer.code), (403, "access_denied"))
        self.allow("http", "see", "move", functions=("f", "g"))
        self.assertEqual(self.ask("POST", f"{JOB}/move", body=body).status, 200)
        for what, given in (("cancel", None), ("prioritise", {"priority": "low"})):
            self.assertEqual(self.ask("POST", f"{JOB}/{what}", body=given).status, 403)
        self.allow("http", "see", "prioritise", "move", "cancel")
        self.assertEqual(self.ask("PUT", f"{JOB}/workload", body=b"").status, 403)
        self.allow("http", "see", "correct")
        self.assertEqual(self.ask("PUT", f"{JOB}/workload", body=b"").status, 200)


class ReviewTests(ActsTestCase):
    parts = (jobacts,)

    def test_set_aside_and_put_back(self) -> None:
        self.audit()
        job = self.dead()
        reviews = self.broker.archive.ended.reviews
        answer = self.ask("POST", f"{JOB}/review", body={"review": "mail"})
        self.assertEqual((answer.status, answer.json["state"]), (200, "dead"))
        self.assertEqual(reviews.name_of(job), "mail")
        self.assertEqual(self.ask("POST", f"{JOB}/review", body={"review": None}).status, 200)
        self.assertEqual(reviews.name_of(job), "")
        answer = self.ask("POST", f"{JOB}/review", body={"review": None})
        self.assertEqual((answer.status, answer.code), (409, "not_reviewed"))
        self.assertEqual(
            [(line["act"], line["handle"], line["arguments"]) for line in self.audited()],
            [("review", "H:test:1", "mail"), ("review", "H:test:1", "-")],
        )

    def test_what_cannot_be(self) -> None:
        self.dead()
        for name in ("a/b", "<b>", "-", "\u202e"):
            answer = self.ask("POST", f"{JOB}/review", body={"review": name})
            self.assertEqual((answer.status, answer.code), (400, "invalid_argument"))
        for wrong in ("", "x" * 65, 5):
            self.assertEqual(self.ask("POST", f"{JOB}/review", body={"review": wrong}).status, 422)
        self.ask("POST", f"{JOB}/requeue")
        self.assertEqual(self.ask("POST", f"{JOB}/review", body={"review": "r"}).code, "not_dead")

    def test_rights(self) -> None:
        self.dead()
        self.allow("http", "review")
        self.assertEqual(self.ask("POST", f"{JOB}/review", body={"review": "r"}).status, 404)
        self.allow("http", "see", "requeue", "forget")
        self.assertEqual(self.ask("POST", f"{JOB}/review", body={"review": "r"}).status, 403)
        self.allow("http", "see", "review")
        self.assertEqual(self.ask("POST", f"{JOB}/review", body={"review": "r"}).status, 200)


class RowTests(ActsTestCase):
    """Jobs that only the store has."""

    parts = (jobacts,)

    def test_a_workload_that_another_has_whose_unique_stands_for_it(self) -> None:
        fixture = DurableServerFixture(FaultyStore(), queue_memory=0)
        self.use(fixture)
        fixture.thread.run_all()
        client, now = self.connect(), self.clock.seconds()
        for workload in (b"first", b"second", b"one", b"two"):
            self.broker.submit(None, b"f", b"-", workload, now, background=True)
            self.server.end_turn()
            fixture.thread.run_all()
        self.assertNotIn(3, self.broker.table.jobs)
        for workload, status in ((b"one", 409), (b"three", 200), (b"first", 409)):
            client.ask_web("PUT", "/api/v1/jobs/H:test:4/workload", {}, workload)
            fixture.thread.run_all()
            answer = client.web_answer()
            self.assertEqual(answer.status, status, workload)
