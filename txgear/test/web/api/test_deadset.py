"""Tests of L{txgear.web.api.deadset}."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from txgear.broker.ended.reviews import MOST_REVIEWED
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import WORK_EXCEPTION, WORK_FAIL
from txgear.test.web.api.apicase import ActsTestCase, ApiTestCase
from txgear.web.api import deadset, jobs, tasks
from txgear.web.api.deadset import Groups, Review, ReviewList
from txgear.web.api.jobmodels import DeadJobs

REVIEWS = "/api/v1/reviews"


class DeadSetTestCase(ActsTestCase, ApiTestCase):
    parts: tuple[ModuleType, ...] = (deadset, jobs, tasks)

    def die(self, count: int, function: bytes = b"f", message: bytes = b"") -> None:
        policies = Policies([("*", CLASSIC.with_settings({"retries": 0}))])
        self.broker.operations.set_policies(policies, self.clock.seconds())
        worker = self.worker(function)
        for _ in range(count):
            self.submit(function)
            (handle, *_) = worker.grab()
            worker.say(WORK_EXCEPTION, handle, message) if message else worker.say(WORK_FAIL, handle)
        worker.leave()

    def done(self, answer: Any) -> dict[str, Any]:
        """The task that was begun, when it has ended."""
        self.assertEqual(answer.status, 202, answer.body)
        self.clock.pump([0.001] * 10)
        found: dict[str, Any] = self.ask("GET", answer.headers["Location"]).json
        self.assertEqual(found["state"], "done")
        return found

    def begin(self, name: str = "r", **rest: Any) -> Any:
        return self.ask("POST", REVIEWS, body={"name": name, "filter": {"function": "*"}, **rest})


class GroupsTests(DeadSetTestCase):
    def test_groups(self) -> None:
        self.die(2)
        self.die(1, b"f", b"<b>no</b>")
        self.die(1, b"g")
        found = self.read("/api/v1/dead/groups", Groups)
        rows = [(row["function"], row["reason"], row["jobs"], row["text"]) for row in found["groups"]]
        expected = [("f", "fail", 2, ""), ("f", "exception", 1, "<b>no</b>"), ("g", "fail", 1, "")]
        self.assertEqual((rows, found["next"]), (expected, None))
        found = self.read("/api/v1/dead/groups?reason=fail&limit=1", Groups)
        self.assertEqual((len(found["groups"]), found["next"]), (1, "f"))
        found = self.read("/api/v1/dead/groups?function=%5Bfg%5D&after=f", Groups)
        self.assertEqual([row["function"] for row in found["groups"]], ["g"])
        for query in ("reason=x", "reason=", "limit=0", "text=x", "review=r"):
            self.assertEqual(self.ask("GET", f"/api/v1/dead/groups?{query}").status, 400, query)

    def test_rights(self) -> None:
        self.die(1, b"f", b"why")
        self.die(1, b"g", b"why")
        self.allow("http", "see", functions=("f",))
        (group,) = self.read("/api/v1/dead/groups", Groups)["groups"]
        self.assertEqual((group["function"], group["text"]), ("f", None))

    def test_the_filter_of_the_dead(self) -> None:
        self.die(2)
        self.die(1, b"f", b"why")
        (job,) = self.read("/api/v1/dead?reason=exception,lost", DeadJobs)["jobs"]
        self.assertEqual(job["text"], "why")
        self.assertEqual(self.read("/api/v1/dead?review=r", DeadJobs)["jobs"], [])
        task = {"act": "requeue", "filter": {"reason": "exception"}}
        self.assertEqual(self.done(self.ask("POST", "/api/v1/tasks", body=task))["matched"], 1)
        task = {"act": "cancel", "filter": {"reason": "exception"}}
        self.assertEqual(self.ask("POST", "/api/v1/tasks", body=task).status, 400)


class ReviewsTests(DeadSetTestCase):
    def test_begun_and_ended(self) -> None:
        self.die(5)
        self.assertEqual(self.read(REVIEWS, ReviewList), {"reviews": []})
        found = self.done(self.begin("m\xe4il", most=3))
        self.assertEqual(
            (found["act"], found["review"], found["matched"], found["done"]), ("review", "m\xe4il", 5, 3)
        )
        (review,) = self.read(REVIEWS, ReviewList)["reviews"]
        self.assertEqual((review["name"], review["jobs"], review["bytes"]), ("m\xe4il", 3, 12))
        self.assertEqual(self.read(review["links"]["self"], Review), review)
        self.assertEqual(len(self.read(review["links"]["jobs"], DeadJobs)["jobs"]), 3)
        self.assertEqual(len(self.read("/api/v1/dead", DeadJobs)["jobs"]), 2)
        found = self.done(self.ask("DELETE", review["links"]["self"]))
        self.assertEqual((found["act"], found["review"], found["done"]), ("review", None, 3))
        for method in ("GET", "DELETE"):
            answer = self.ask(method, review["links"]["self"])
            self.assertEqual((answer.status, answer.code), (404, "unknown_review"))
        self.assertEqual(len(self.read("/api/v1/dead", DeadJobs)["jobs"]), 5)

    def test_only_counted(self) -> None:
        self.die(2)
        found = self.done(self.begin(preview=True))
        self.assertEqual((found["matched"], found["done"]), (2, 0))
        self.assertEqual(self.read(REVIEWS, ReviewList)["reviews"], [])

    def test_what_makes_no_sense(self) -> None:
        for status, rest in (
            (422, {"name": ""}),
            (400, {"name": "a/b"}),
            (400, {"name": "\u202ea"}),
            (422, {"name": "x" * 65}),
            (422, {"most": 0}),
            (422, {"most": MOST_REVIEWED + 1}),
            (422, {"filter": {"state": "queued"}}),
            (422, {"filter": {"reason": "soon"}}),
            (400, {"filter": {}}),
            (422, {"of": "dead"}),
        ):
            self.assertEqual(self.begin(**rest).status, status, rest)
        task = {"act": "review", "filter": {"function": "*"}}
        self.assertEqual(self.ask("POST", "/api/v1/tasks", body=task).status, 422)

    def test_rights(self) -> None:
        self.die(1, b"f")
        self.die(1, b"g")
        self.done(self.begin())
        self.allow("http", "see", functions=("f",))
        (review,) = self.read(REVIEWS, ReviewList)["reviews"]
        self.assertEqual((review["jobs"], review["by"]), (1, None))
        self.assertEqual(
            self.done(self.ask("DELETE", f"{REVIEWS}/r"))["failures"][0]["code"], "access_denied"
        )
        self.allow("http", "see", "review", functions=("f",))
        found = self.done(self.ask("DELETE", f"{REVIEWS}/r"))
        self.assertEqual((found["matched"], found["done"]), (1, 1))
        for method in ("GET", "DELETE"):
            self.assertEqual(self.ask(method, f"{REVIEWS}/r").status, 404)
        self.assertEqual(len(self.broker.archive.ended.reviews.by_name["r"].jobs), 1)
