"""Tests of L{txgear.web.api.tasks}: what is done to all jobs that match a filter."""

from __future__ import annotations

from typing import Any

from txgear.broker.operators.bulkacts import KEPT_SECONDS, MOST_TASKS
from txgear.protocol.constants import HIGH
from txgear.test.support.web import WebAnswer
from txgear.test.web.api.apicase import ActsTestCase
from txgear.web.api import tasks

TASKS = "/api/v1/tasks"
FILTER = ("function", "unique", "state", "worker", "older", "text")


class TasksTestCase(ActsTestCase):
    parts = (tasks,)

    def begin(self, act: str, **rest: Any) -> WebAnswer:
        return self.ask("POST", TASKS, body={"act": act, "filter": {"function": "*"}, **rest})

    def finished(self, act: str, **rest: Any) -> dict[str, Any]:
        """The task, when it has ended."""
        answer = self.begin(act, **rest)
        self.assertEqual(answer.status, 202, answer.body)
        self.clock.pump([0.001] * 10)
        found: dict[str, Any] = self.ask("GET", answer.headers["Location"]).json
        self.assertEqual(found["state"], "done")
        return found


class CourseTests(TasksTestCase):
    def test_all_that_is_told_of_one(self) -> None:
        for name in (b"mail.a", b"mail.b", b"g"):
            self.submit(name)
        answer = self.begin("move", filter={"function": "mail.*", "older": "0s"}, function="g")
        self.assertEqual((answer.status, answer.headers["Location"]), (202, f"{TASKS}/1"))
        begun = answer.json
        self.assertEqual(
            begun,
            {
                "id": 1,
                "act": "move",
                "of": "jobs",
                "filter": {"function": "mail.*", "older": "0s"},
                "priority": None,
                "function": "g",
                "review": None,
                "preview": False,
                "state": "waiting",
                "by": None,
                "began": begun["began"],
                "ended": None,
                "total": 3,
                "looked_at": 0,
                "matched": 0,
                "done": 0,
                "passed": 0,
                "failed": 0,
                "failures": [],
                "servers": [],
            },
        )
        self.clock.advance(0.001)
        ended = self.ask("GET", f"{TASKS}/1").json
        expected = {"state": "done", "looked_at": 3, "matched": 2, "done": 2, "ended": ended["ended"]}
        self.assertEqual(ended, begun | expected)
        self.assertEqual({job.function.name for job in self.broker.table.jobs.values()}, {b"g"})
        self.assertEqual(self.ask("GET", TASKS).json, {"tasks": [ended]})

    def test_each_act(self) -> None:
        job = self.submit()
        self.assertEqual(self.finished("prioritise", priority="high")["done"], 1)
        self.assertEqual(job.priority, HIGH)
        self.assertEqual(self.finished("cancel")["done"], 1)
        self.dead()
        self.assertEqual(self.finished("move", of="dead", function="h")["done"], 1)
        self.assertEqual(self.finished("requeue")["done"], 1)
        self.assertEqual(self.finished("forget", of="kept")["done"], 0)
        self.assertEqual(self.finished("forget")["of"], "dead")

    def test_a_preview_only_counts(self) -> None:
        self.submit()
        found = self.finished("cancel", preview=True)
        self.assertEqual((found["matched"], found["done"], len(self.broker.table.jobs)), (1, 0, 1))

    def test_what_fails_is_told(self) -> None:
        self.submit()
        self.worker().grab()
        found = self.finished("move", function="g")
        self.assertEqual(found["failed"], 1)
        self.assertEqual(
            found["failures"],
            [{"handle": "H:test:1", "code": "running", "detail": "A worker has the job"}],
        )

    def test_who_asks_again_is_told_of_changes_only(self) -> None:
        self.submit()
        self.begin("cancel")
        answer = self.ask("GET", f"{TASKS}/1")
        same = {"If-None-Match": answer.headers["ETag"]}
        self.assertEqual(self.ask("GET", f"{TASKS}/1", same).status, 304)
        self.clock.advance(0.001)
        self.assertEqual(self.ask("GET", f"{TASKS}/1", same).status, 200)

    def test_it_is_stopped(self) -> None:
        self.submit()
        self.begin("cancel")
        for _ in range(2):
            answer = self.ask("DELETE", f"{TASKS}/1")
            self.assertEqual((answer.status, answer.json["state"]), (200, "stopped"))
        self.clock.advance(1)
        self.assertEqual(len(self.broker.table.jobs), 1)

    def test_it_is_known_for_a_while(self) -> None:
        self.finished("cancel")
        self.clock.advance(KEPT_SECONDS)
        for number in ("1", "2", "x", "9" * 30, "%C2%B2", "-1"):
            answer = self.ask("GET", f"{TASKS}/{number}")
            self.assertEqual((answer.status, answer.code), (404, "unknown_task"))
        self.assertEqual(self.ask("DELETE", f"{TASKS}/1").status, 404)

    def test_so_many_at_once(self) -> None:
        for _ in range(MOST_TASKS):
            self.assertEqual(self.begin("cancel").status, 202)
        answer = self.begin("cancel")
        self.assertEqual((answer.status, answer.code), (503, "too_many_tasks"))
        self.assertIn("Retry-After", answer.headers)

    def test_what_makes_no_sense(self) -> None:
        for status, body in (
            (422, {"act": "purge", "filter": {}}),
            (422, {"act": "cancel"}),
            (422, {"act": "cancel", "filter": {"limit": "1"}}),
            (422, {"act": "cancel", "filter": {"function": "*"}, "priority": "low"}),
            (422, {"act": "prioritise", "filter": {"function": "*"}}),
            (422, {"act": "move", "filter": {"function": "*"}}),
            (422, {"act": "move", "filter": {"function": "*"}, "function": ""}),
            (422, {"act": "move", "filter": {"function": "*"}, "function": "f" * 100_000}),
            (400, {"act": "cancel", "filter": {"function": "[" * 1000}}),
            (400, {"act": "cancel", "filter": {}}),
            (400, {"act": "cancel", "filter": {"older": "soon"}}),
            (400, {"act": "requeue", "filter": {"older": "1d"}}),
            (400, {"act": "cancel", "of": "dead", "filter": {"function": "*"}}),
        ):
            self.assertEqual(self.ask("POST", TASKS, body=body).status, status, body)
        for name in FILTER:
            self.assertEqual(self.begin("cancel", filter={name: "x" * 1001}).status, 422)
        # Each job says so.
        self.assertEqual(self.begin("move", function="x" * 9000).status, 202)

    def test_hostile_values(self) -> None:
        for value in ("<script>", "'\"", "\x00", "\u202e", "[", "x" * 1000):
            answer = self.begin("cancel", filter={"function": value, "unique": value, "text": value})
            self.assertEqual(
                (answer.status, answer.json["filter"]["unique"]), (202, answer.json["filter"]["text"])
            )
            self.ask("DELETE", answer.headers["Location"])


class RightsTests(TasksTestCase):
    def test_they_are_those_of_whoever_began_it_when_its_turn_comes(self) -> None:
        self.submit()
        self.allow("http", "see", "cancel")
        self.begin("cancel")
        headers = self.headers
        self.allow("http", "see", "shutdown")
        self.clock.advance(0.001)
        found = self.ask("GET", f"{TASKS}/1").json
        self.assertEqual((found["by"], found["failed"], found["done"]), ("me", 1, 0))
        self.assertEqual(found["failures"][0]["code"], "access_denied")
        self.assertNotEqual(headers, self.headers)

    def test_rules_may_come_while_it_goes_on(self) -> None:
        """Whoever was everybody is nobody then."""
        self.submit()
        self.begin("cancel")
        self.allow("http", "see", "cancel", "peers")
        self.clock.advance(0.001)
        self.assertEqual(self.ask("GET", f"{TASKS}/1").json["done"], 0)
        self.assertEqual(len(self.broker.table.jobs), 1)

    def test_where_to_is_asked_at_once(self) -> None:
        self.allow("http", "see", "move", functions=("f",))
        self.assertEqual(self.begin("move", function="g").status, 403)

    def test_others_are_not_seen_and_not_stopped(self) -> None:
        self.submit()
        self.begin("cancel")
        self.allow("http", "cancel")
        self.assertEqual(self.ask("GET", TASKS).json, {"tasks": []})
        for method in ("GET", "DELETE"):
            self.assertEqual(self.ask(method, f"{TASKS}/1").status, 404)
        self.allow("http", "peers")
        self.assertEqual(len(self.ask("GET", TASKS).json["tasks"]), 1)
        self.assertEqual(self.ask("DELETE", f"{TASKS}/1").status, 403)
        self.allow("http", "peers", "shutdown")
        self.assertEqual(self.ask("DELETE", f"{TASKS}/1").json["state"], "stopped")

    def test_it_is_recorded_when_it_begins_and_when_it_has_ended(self) -> None:
        self.audit()
        self.submit()
        self.finished("move", function="g")
        self.finished("prioritise", priority="low", preview=True)
        self.assertEqual(
            [
                [line.get(name) for name in ("act", "task", "jobs", "function", "arguments", "answer")]
                for line in self.audited()
            ],
            [
                ["move", 1, "jobs function=*", "g", None, None],
                ["move", 1, "jobs function=*", "g", None, "done: 1 matched, 1 done, 0 failed, 0 passed over"],
                ["prioritise", 2, "jobs function=*", None, "low", "they are only counted"],
                [
                    "prioritise",
                    2,
                    "jobs function=*",
                    None,
                    "low",
                    "done: 1 matched, 0 done, 0 failed, 0 passed over",
                ],
            ],
        )
        self.assertEqual(self.server.guard._stand_ins, {})

    def test_nothing_is_left_of_one_that_did_not_begin(self) -> None:
        self.begin("cancel", of="dead")
        self.assertEqual(self.server.guard._stand_ins, {})
