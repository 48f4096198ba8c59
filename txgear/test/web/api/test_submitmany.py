"""Tests of L{txgear.web.api.submitmany}: many jobs in one request."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from txgear.broker.tenants import Quota
from txgear.policies import CLASSIC, Policies, Rate
from txgear.protocol.constants import HIGH, NORMAL, WORK_COMPLETE
from txgear.test.support.clock import START
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.web import WebAnswer, WebTestCase
from txgear.web.api import submitmany
from txgear.web.api.submitmany import AT_ONCE, MOST_AT_ONCE, MOST_BYTES

TARGET = "/api/v1/jobs"


class ManyTestCase(WebTestCase):
    parts = (submitmany,)

    def send(self, *jobs: dict[str, Any]) -> WebAnswer:
        """Submit these; what is done in later turns is done."""
        client = self.connect()
        client.ask_web("POST", TARGET, self.headers, {"jobs": list(jobs)})
        for _ in range(MOST_AT_ONCE // AT_ONCE):
            self.clock.advance(0)
        return client.web_answer()

    def count(self) -> int:
        return len(self.broker.table.jobs)


class AcceptedTests(ManyTestCase):
    def test_each_has_a_handle(self) -> None:
        answer = self.send(
            {"function": "f", "workload": "\u00fc"},
            {"function": "g", "base64": b64encode(b"\xff\0").decode(), "priority": "high"},
            {"function": "f"},
        )
        self.assertEqual(answer.status, 202)
        self.assertEqual((answer.json["accepted"], answer.json["refused"]), (3, 0))
        self.assertEqual(
            answer.json["jobs"][1],
            {
                "status": 202,
                "handle": "H:test:2",
                "function": "g",
                "joined": False,
                "job": "/api/v1/jobs/H%3Atest%3A2",
                "result": "/api/v1/jobs/H%3Atest%3A2/result",
            },
        )
        self.assertEqual(
            [(job.function.name, bytes(job.workload), job.priority, job.background) for job in self.jobs()],
            [(b"f", b"\xc3\xbc", NORMAL, True), (b"g", b"\xff\0", HIGH, True), (b"f", b"", NORMAL, True)],
        )

    def jobs(self) -> list[Any]:
        return list(self.broker.table.jobs.values())

    def test_times_and_policies(self) -> None:
        answer = self.send(
            {"function": "f", "delay": "1m", "policy": {"retries": {"fail": 2}, "backoff": 10}},
            {"function": "f", "when": START + 100},
            {"function": "f", "when": "1970-01-01T01:00:00+00:00"},
            {"function": "f", "delay": 5, "policy": {}},
        )
        self.assertEqual(answer.status, 202, answer.body)
        begins = [self.broker.lifecycle.begins(job) for job in self.jobs()]
        self.assertEqual(begins, [START + 60, START + 100, 3600.0, START + 5])
        history = self.jobs()[0].history
        self.assertEqual(history.settings, {"retries": {"fail": 2}, "backoff": 10.0})
        self.assertIsNone(self.jobs()[3].history)

    def test_once_more(self) -> None:
        """A request that is sent again does no harm where each job has a unique."""
        jobs = [{"function": "f", "unique": f"u{number}"} for number in range(3)]
        first, second = self.send(*jobs), self.send(*jobs)
        handles = [[job["handle"] for job in answer.json["jobs"]] for answer in (first, second)]
        self.assertEqual(handles[0], handles[1])
        self.assertEqual({job["joined"] for job in second.json["jobs"]}, {True})
        self.assertEqual(self.count(), 3)

    def test_twice_in_one_request(self) -> None:
        answer = self.send(*[{"function": "f", "unique": "u"}] * 2)
        self.assertEqual([job["joined"] for job in answer.json["jobs"]], [False, True])

    def test_as_many_as_may_be(self) -> None:
        """In several turns, so that others have theirs."""
        client, worker = self.connect(), self.worker()
        jobs = [{"function": "f", "workload": str(number)} for number in range(MOST_AT_ONCE)]
        client.ask_web("POST", TARGET, {}, {"jobs": jobs})
        self.assertEqual((client.heard(), self.count()), (b"", AT_ONCE))
        handle, _, workload = worker.grab()
        self.assertEqual(workload, b"0")
        worker.say(WORK_COMPLETE, handle, b"")
        for _ in range(MOST_AT_ONCE // AT_ONCE):
            self.clock.advance(0)
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.json["accepted"]), (202, MOST_AT_ONCE))
        handles = [job["handle"] for job in answer.json["jobs"]]
        self.assertEqual(handles, [f"H:test:{number + 1}" for number in range(MOST_AT_ONCE)])

    def test_who_goes_away(self) -> None:
        """What was submitted is done, and nothing follows."""
        client = self.connect()
        client.ask_web("POST", TARGET, {}, {"jobs": [{"function": "f"}] * MOST_AT_ONCE})
        client.leave()
        for _ in range(10):
            self.clock.advance(0)
        self.assertEqual(self.count(), AT_ONCE)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_the_server_stops(self) -> None:
        client = self.connect()
        client.ask_web("POST", TARGET, {}, {"jobs": [{"function": "f"}] * MOST_AT_ONCE})
        _ = self.server.close_connections()
        self.assertEqual(client.web_answer().code, "server_ends")
        self.server.stop()
        self.assertEqual(self.flushLoggedErrors(), [])


class RefusedTests(ManyTestCase):
    def test_what_is_no_such_list(self) -> None:
        """Then nothing is submitted, and the answer says where the mistake is."""
        good = {"function": "f"}
        for body, status, where in (
            ({}, 422, "jobs"),
            ([good], 422, "object"),
            ({"jobs": []}, 422, "$.jobs"),
            ({"jobs": [good] * (MOST_AT_ONCE + 1)}, 422, "$.jobs"),
            ({"jobs": [good, {}]}, 422, "$.jobs[1]"),
            ({"jobs": [good, {"function": ""}]}, 422, "$.jobs[1].function"),
            ({"jobs": [good, {"function": 5}]}, 422, "$.jobs[1].function"),
            ({"jobs": [good, {**good, "unique": "u" * 65}]}, 422, "$.jobs[1].unique"),
            ({"jobs": [good, {**good, "prio": "high"}]}, 422, "prio"),
            ({"jobs": [good, {**good, "policy": {"rate": "1/s"}}]}, 422, "rate"),
            ({"jobs": [good, {**good, "base64": "?"}]}, 422, "$.jobs[1].base64"),
            ({"jobs": [good], "more": 1}, 422, "more"),
            (b'{"jobs": [{"function": "f"}', 400, ""),
            (b'{"jobs": [{"function": "f", "policy": {"dead": ' + b'{"a":' * 100_000, 422, "policy.dead"),
            ({"jobs": [good, {**good, "policy": {"retries": {"sad": 1}}}]}, 422, "policy.retries"),
            ({"jobs": [good, {**good, "policy": {"backoff": {"first": []}}}]}, 422, "policy.backoff.first"),
            ({"jobs": [good, {**good, "policy": {"results": {"bytes": {}}}}]}, 422, "policy.results.bytes"),
            (b'{"jobs": [{"function": "\xff"}]}', 400, ""),
        ):
            answer = self.ask("POST", TARGET, {"Content-Type": "application/json"}, body)
            self.assertEqual(answer.status, status, answer.body[:500])
            self.assertIn(where, answer.json["detail"])
        self.assertEqual(self.count(), 0)

    def test_no_json(self) -> None:
        """A page of another site can send any other type."""
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            self.assertEqual(self.ask("POST", TARGET, {"Content-Type": kind}, b'{"jobs": []}').status, 415)

    def test_too_large(self) -> None:
        client = self.connect()
        head = f"POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        client.send(f"{head}Content-Length: {MOST_BYTES + 1}\r\n\r\n".encode())
        self.assertTrue(client.heard().startswith(b"HTTP/1.1 413 "))

    def test_some_of_them(self) -> None:
        """Each outcome stands in its place."""
        settings = {"max_queue": 1}
        self.broker.operations.set_policies(Policies([("full", CLASSIC.with_settings(settings))]), START)
        answer = self.send(
            {"function": "full"},
            {"function": "full"},
            {"function": "f", "delay": "soon"},
            {"function": "f", "delay": 1, "when": 1},
            {"function": "f", "policy": {"timeout": -1}},
            {"function": "f", "workload": "x", "base64": ""},
            {"function": "a\0b"},
            {"function": "x" * 8192},
            {"function": "f"},
        )
        self.assertEqual((answer.status, answer.json["accepted"], answer.json["refused"]), (207, 2, 7))
        outcomes = answer.json["jobs"]
        self.assertEqual(
            [outcome["status"] for outcome in outcomes], [202, 503, 400, 400, 400, 422, 400, 400, 202]
        )
        codes = [outcome.get("problem", {}).get("type", "").rpartition(":")[2] for outcome in outcomes]
        self.assertEqual(
            codes,
            [
                "",
                "queue_full",
                "invalid_argument",
                "invalid_argument",
                "invalid_argument",
                "invalid_body",
                "invalid_argument",
                "argument_too_large",
                "",
            ],
        )
        self.assertNotIn("handle", outcomes[1])
        self.assertEqual(answer.headers["Retry-After"], "5")
        self.assertEqual(self.count(), 2)

    def test_who_may_not(self) -> None:
        self.allow("http", "submit", functions=("f",))
        answer = self.send({"function": "g"}, {"function": "f"})
        self.assertEqual([outcome["status"] for outcome in answer.json["jobs"]], [403, 202])
        self.assertEqual(self.server.guard.refused["me", "submit"], 1)

    def test_too_fast(self) -> None:
        """Each job counts."""
        self.allow("http", "submit")
        self.broker.tenants.set_quotas({"me": Quota(submits=Rate(1.0, 2))}, START)
        answer = self.send(*[{"function": "f"}] * 3)
        self.assertEqual([outcome["status"] for outcome in answer.json["jobs"]], [202, 202, 429])
        self.assertEqual(answer.headers["RateLimit"], '"submits";r=0;t=1')
        self.assertEqual(answer.headers["Retry-After"], "1")


class StoredTests(ManyTestCase):
    def setUp(self) -> None:
        self.store = FaultyStore()
        fixture = DurableServerFixture(self.store)
        self.thread = fixture.thread
        self.use(fixture)
        self.thread.run_all()

    def test_the_answer_waits_for_all(self) -> None:
        client = self.connect()
        jobs = [{"function": "f", "workload": "w"}] * (2 * AT_ONCE)
        client.ask_web("POST", TARGET, {}, {"jobs": jobs})
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual((client.heard(), self.store.kept), (b"", {}))
        self.thread.run_all()
        self.assertEqual(client.web_answer().json["accepted"], 2 * AT_ONCE)
        self.assertEqual(len(self.store.kept), 2 * AT_ONCE)

    def test_those_that_the_store_does_not_take(self) -> None:
        self.store.too_large = 3
        client = self.connect()
        jobs = [{"function": "f", "workload": workload} for workload in ("one", "three", "two")]
        client.ask_web("POST", TARGET, {}, {"jobs": [*jobs, {"function": "f", "delay": "?"}]})
        self.thread.run_all()
        answer = client.web_answer()
        self.assertEqual([outcome["status"] for outcome in answer.json["jobs"]], [202, 507, 202, 400])
        self.assertNotIn("Retry-After", answer.headers)
        self.assertEqual(list(self.store.kept), [1, 3])

    def test_a_store_that_does_not_answer(self) -> None:
        """Nobody is told that anything is kept."""
        client = self.connect()
        client.ask_web("POST", TARGET, {}, {"jobs": [{"function": "f"}] * 3})
        self.clock.advance(self.server.settings.store_timeout)
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.json["accepted"]), (207, 0))
        self.assertEqual({outcome["status"] for outcome in answer.json["jobs"]}, {503})
        self.assertIn("Retry-After", answer.headers)
