"""Tests of L{txgear.web.api.results}: what became of jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
)
from txgear.security.access import Access, Rule
from txgear.test.support.broker import results_of
from txgear.test.support.clock import START
from txgear.test.support.http import GearmanWorker
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.web import WebPeer, WebTestCase
from txgear.web.api import results, submit
from txgear.web.payloads import MOST_HELD

JOBS = "/api/v1/functions/f/jobs"
RESULT = "/api/v1/jobs/H:test:1/result"


class ResultTestCase(WebTestCase):
    parts = (submit, results)

    def set(self, **settings: Any) -> None:
        """Let this hold for the jobs."""
        policies = Policies([("f", CLASSIC.with_settings(settings))])
        self.broker.operations.set_policies(policies, self.clock.seconds())

    def submitted(self, query: str = "") -> tuple[GearmanWorker, bytes]:
        """A background job at a worker."""
        self.ask("POST", JOBS + query, body=b"work")
        worker = self.worker()
        return worker, worker.grab()[0]

    def waiting(self, target: str = f"{RESULT}?wait=10") -> WebPeer:
        """Somebody who waits."""
        client = self.connect()
        client.ask_web("GET", target, self.headers)
        self.assertEqual(client.heard(), b"")
        return client


class KeptTests(ResultTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.set(results="1h")

    def test_long(self) -> None:
        """So much of all that are read at the same time is held."""
        worker, handle = self.submitted()
        worker.say(WORK_COMPLETE, handle, b"r" * 3_000_000)
        client = self.connect()
        client.ask_web("HEAD", RESULT, {})
        self.clock.advance(0)
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.headers["Content-Length"]), (200, "3000000"))
        client = self.connect()
        client.transport.stuck = True
        client.ask_web("GET", RESULT, {})
        held = self.web.payloads.hold(MOST_HELD - 3_000_000)
        answer = self.ask("GET", RESULT)
        self.assertEqual((answer.status, answer.code), (503, "too_much_read"))
        self.assertTrue(client.heard_all().endswith(b"\r\n\r\n" + b"r" * 3_000_000))
        self.assertEqual(self.ask("GET", RESULT).body, b"r" * 3_000_000)
        held()
        client = self.connect()
        client.transport.stuck = True
        client.ask_web("GET", RESULT, {})
        self.assertEqual(self.web.payloads.held, 3_000_000)
        client.leave()
        self.assertEqual(self.web.payloads.held, 0)

    def test_a_long_exception(self) -> None:
        worker, handle = self.submitted()
        worker.say(WORK_EXCEPTION, handle, b"e" * 100_000)
        answer = self.ask("GET", RESULT)
        self.assertEqual((answer.status, answer.json["exception"]["size"]), (410, 100_000))
        self.assertEqual(self.web.payloads.held, 0)

    def test_whole(self) -> None:
        worker, handle = self.submitted()
        worker.say(WORK_DATA, handle, b"data\0")
        worker.say(WORK_COMPLETE, handle, b"result \xff")
        answer = self.ask("GET", RESULT)
        self.assertEqual((answer.status, answer.body), (200, b"data\0result \xff"))
        for name, value in (
            ("Content-Type", "application/octet-stream"),
            ("Txgear-Handle", "H:test:1"),
            ("Txgear-Outcome", "done"),
            ("Txgear-Data-Size", "5"),
            ("Txgear-Result-Size", "8"),
            ("Cache-Control", "no-store"),
        ):
            self.assertEqual(answer.headers[name], value)
        self.assertEqual(self.ask("GET", RESULT.replace(":", "%3A")).body, answer.body)

    def test_empty(self) -> None:
        worker, handle = self.submitted()
        worker.say(WORK_COMPLETE, handle, b"")
        answer = self.ask("GET", RESULT)
        self.assertEqual((answer.status, answer.body, answer.headers["Content-Length"]), (200, b"", "0"))

    def test_head(self) -> None:
        worker, handle = self.submitted()
        worker.say(WORK_COMPLETE, handle, b"result")
        answer = self.ask("HEAD", RESULT)
        self.assertEqual((answer.status, answer.headers["Content-Length"]), (200, "6"))

    def test_while_it_waits_and_runs(self) -> None:
        self.ask("POST", JOBS, body=b"")
        answer = self.ask("GET", RESULT)
        self.assertEqual(answer.status, 202)
        self.assertEqual(
            answer.json,
            {
                "handle": "H:test:1",
                "state": "queued",
                "numerator": 0,
                "denominator": 0,
                "job": "/api/v1/jobs/H%3Atest%3A1",
                "result": "/api/v1/jobs/H%3Atest%3A1/result",
            },
        )
        self.assertEqual(answer.headers["Retry-After"], "1")
        worker = self.worker()
        worker.say(WORK_STATUS, worker.grab()[0], b"2", b"5")
        found = self.ask("GET", RESULT).json
        self.assertEqual((found["state"], found["numerator"], found["denominator"]), ("running", 2, 5))

    def test_by_unique(self) -> None:
        """The newest one; that which has not ended comes first."""
        for result in (b"one", b"two"):
            worker, handle = self.submitted("?unique=u")
            worker.say(WORK_COMPLETE, handle, result)
        self.assertEqual(self.ask("GET", "/api/v1/results?unique=u").body, b"two")
        self.assertEqual(self.ask("GET", "/api/v1/results?unique=u&function=f").body, b"two")
        self.assertEqual(self.ask("GET", "/api/v1/results?unique=u&function=g").code, "unknown_job")
        self.ask("POST", f"{JOBS}?unique=u", body=b"")
        self.assertEqual(self.ask("GET", "/api/v1/results?unique=u").status, 202)

    def test_names_as_they_are_shown(self) -> None:
        self.broker.submit(None, b"f", b"\xff", b"", START, background=True)
        self.assertEqual(self.ask("GET", "/api/v1/results?unique=%5Cxff").status, 202)
        self.broker.submit(None, b"f", b"App\\xde", b"", START, background=True)
        self.assertEqual(self.ask("GET", "/api/v1/results?unique=App%5Cxde&function=f").status, 202)

    def test_until_it_is_forgotten(self) -> None:
        worker, handle = self.submitted()
        worker.say(WORK_COMPLETE, handle, b"result")
        self.clock.advance(3601)
        self.assertEqual(self.ask("GET", RESULT).code, "unknown_job")


class NoneTests(ResultTestCase):
    """There is no result."""

    def assert_none(self, code: str, exception: dict[str, object] | None = None) -> None:
        answer = self.ask("GET", RESULT)
        self.assertEqual((answer.status, answer.code), (410, code))
        self.assertEqual(answer.json.get("exception"), exception)
        self.assertEqual(answer.json["handle"], "H:test:1")
        self.assertEqual(answer.headers["Txgear-Outcome"], answer.json["outcome"])

    def test_unknown(self) -> None:
        for target in (RESULT, "/api/v1/jobs/%3Cb%3E/result", "/api/v1/results?unique=u"):
            answer = self.ask("GET", target)
            self.assertEqual((answer.status, answer.code), (404, "unknown_job"))

    def test_a_query_that_makes_no_sense(self) -> None:
        for query in ("wait=nan", "wait=-1", "wait=soon", "wait=4000", "what=1"):
            self.assertEqual(self.ask("GET", f"{RESULT}?{query}").code, "invalid_query")
        for query in ("", "?unique=", "?function=f", "?unique=u&wait=nan"):
            self.assertEqual(self.ask("GET", f"/api/v1/results{query}").code, "invalid_query")

    def test_failed(self) -> None:
        self.set(results="1h")
        worker, handle = self.submitted()
        worker.say(WORK_EXCEPTION, handle, b"no disk")
        self.assert_none("job_failed", {"text": "no disk", "size": 7})

    def test_failed_without_a_reason(self) -> None:
        self.set(results="1h")
        worker, handle = self.submitted()
        worker.say(WORK_FAIL, handle)
        self.assert_none("job_failed")

    def test_dead(self) -> None:
        """An operator may queue it again; until then there is none."""
        self.set(retries=0)
        worker, handle = self.submitted()
        worker.say(WORK_EXCEPTION, handle, b"no disk")
        self.assert_none("job_dead", {"text": "no disk", "size": 7})
        self.broker.operations.requeue(handle, self.clock.seconds())
        self.assertEqual(self.ask("GET", RESULT).status, 202)

    def test_dead_without_a_reason(self) -> None:
        self.set(retries=0)
        worker, handle = self.submitted()
        worker.say(WORK_FAIL, handle)
        self.assert_none("job_dead")

    def test_cancelled(self) -> None:
        self.set(results="1h")
        _, handle = self.submitted()
        self.broker.operations.cancel(handle, self.clock.seconds())
        self.assert_none("job_cancelled")

    def test_expired(self) -> None:
        self.set(results="1h", expires="1s")
        self.ask("POST", JOBS, body=b"")
        self.clock.advance(2)
        self.assert_none("job_expired")

    def test_too_large_to_be_kept(self) -> None:
        self.set(results={"keep": "1h", "bytes": 3})
        worker, handle = self.submitted()
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assert_none("result_not_kept")

    def test_too_large_and_failed(self) -> None:
        self.set(results={"keep": "1h", "bytes": 3})
        worker, handle = self.submitted()
        worker.say(WORK_EXCEPTION, handle, b"no disk")
        self.assert_none("job_failed")

    def test_only_the_unique_is_kept(self) -> None:
        self.set(unique_for="1h")
        worker, handle = self.submitted("?unique=u")
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assert_none("result_not_kept")


class WaitTests(ResultTestCase):
    def test_until_it_ends(self) -> None:
        """Then the result is there even where it is not kept."""
        worker, handle = self.submitted("?unique=u")
        clients = [self.waiting(), self.waiting("/api/v1/results?unique=u&wait=10")]
        worker.say(WORK_COMPLETE, handle, b"result")
        for client in clients:
            self.assertEqual(client.web_answer().body, b"result")
        self.assertEqual(self.ask("GET", RESULT).status, 404)
        self.clock.advance(20)

    def test_long_ones_are_written_as_they_are_read(self) -> None:
        """Those who wait for it have the same bytes, however slowly they read."""
        self.set(results="1h")
        worker, handle = self.submitted()
        clients = [self.waiting() for _ in range(3)]
        for client in clients:
            client.transport.stuck = True
        data, result = b"d" * 1000, b"r" * 3_000_000
        worker.say(WORK_DATA, handle, data)
        worker.say(WORK_COMPLETE, handle, result)
        gone, *others = clients
        gone.leave()
        for client in others:
            self.assertLess(len(client.transport.value()), 1_000_000)
            head, _, body = client.heard_all().partition(b"\r\n\r\n")
            self.assertIn(b"\r\nContent-Length: 3001000", head)
            self.assertIn(b"Txgear-Data-Size: 1000\r\n", head)
            self.assertEqual(body, data + result)
        self.assertEqual(self.web.payloads.held, 0)

    def test_time_over(self) -> None:
        worker, handle = self.submitted()
        client = self.waiting()
        self.clock.advance(10)
        self.assertEqual(client.web_answer().status, 202)
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.heard(), b"")

    def test_a_failure(self) -> None:
        worker, handle = self.submitted()
        client = self.waiting()
        worker.say(WORK_EXCEPTION, handle, b"no")
        answer = client.web_answer()
        self.assertEqual(
            (answer.status, answer.code, answer.json["exception"]["text"]), (410, "job_failed", "no")
        )

    def test_data_that_nobody_keeps(self) -> None:
        worker, handle = self.submitted()
        worker.say(WORK_DATA, handle, b"data")
        client = self.waiting()
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.web_answer().code, "result_not_kept")

    def test_who_goes_away(self) -> None:
        worker, handle = self.submitted()
        self.waiting().leave()
        self.assertEqual(self.broker.table.jobs[1].history.watchers, {})
        worker.say(WORK_COMPLETE, handle, b"result")
        self.clock.advance(20)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_the_server_ends(self) -> None:
        self.submitted()
        client = self.waiting()
        _ = self.server.close_connections()
        self.assertEqual(client.web_answer().code, "server_ends")


class RightsTests(ResultTestCase):
    def test_who_may_not_know_of_it(self) -> None:
        self.submitted("?unique=u")
        self.allow("http", "read")
        self.assertEqual(self.ask("GET", RESULT).code, "unknown_job")
        self.assertEqual(self.ask("GET", "/api/v1/results?unique=u").code, "unknown_job")

    def test_a_newer_one_that_one_may_not_know_of(self) -> None:
        """It does not stand before one's own, in whatever function that is."""
        for name in (b"f", b"g"):
            self.broker.submit(None, name, b"u", b"", START, background=True)
        self.allow("http", "see", "read", functions=("f",))
        answer = self.ask("GET", "/api/v1/results?unique=u")
        self.assertEqual((answer.status, answer.json["handle"]), (202, "H:test:1"))

    def test_who_may_not_read(self) -> None:
        self.submitted()
        self.allow("http", "see")
        self.assertEqual(self.ask("GET", RESULT).status, 403)
        self.assertEqual(self.ask("GET", f"{RESULT}?wait=5").status, 403)

    def test_rights_that_change_meanwhile(self) -> None:
        """Who may not read it any more when it ends does not get it."""
        for acts, status, code in ((("http", "see"), 403, "access_denied"), (("http",), 404, "unknown_job")):
            self.start()
            worker, handle = self.submitted()
            self.allow("http", "see", "read")
            client = self.waiting()
            me = self.server.guard.access.identities["me"]
            wanted = frozenset(acts)
            rules = [Rule(True, ("me",), wanted & {"http"}), Rule(True, ("me",), wanted - {"http"}, None)]
            self.server.guard.replace(
                Access([me], [*rules, Rule(True, ("nobody",), frozenset({"work"}), None)])
            )
            worker.say(WORK_COMPLETE, handle, b"secret")
            answer = client.web_answer()
            self.assertEqual((answer.status, answer.code), (status, code))


class StoredTests(ResultTestCase):
    """Results that only the store has."""

    def setUp(self) -> None:
        self.store = FaultyStore()
        policies = Policies([("f", CLASSIC.with_settings({"results": "1h"}))])
        fixture = DurableServerFixture(self.store, policies=policies)
        self.thread = fixture.thread
        self.use(fixture)
        self.thread.run_all()
        client = self.connect()
        client.ask_web("POST", JOBS, {}, b"work")
        self.thread.run_all()
        client.heard()
        worker = self.worker()
        handle = worker.grab()[0]
        worker.say(WORK_DATA, handle, b"data ")
        worker.say(WORK_COMPLETE, handle, b"result")
        self.clock.advance(1)
        self.thread.run_all()
        self.assertEqual((self.broker.archive.rows, results_of(self.broker.archive)), (1, {}))

    def meanwhile(self, do: Callable[[], object]) -> None:
        """Something is done to the job while its result is to be read."""
        self.broker.stock.load_handles([b"H:test:1"], lambda answered, now: do(), self.clock.seconds())
        self.thread.run_all()

    def test_it_is_read(self) -> None:
        client = self.waiting(RESULT)
        self.thread.run_all()
        self.assertEqual(client.web_answer().body, b"data result")

    def test_who_goes_away(self) -> None:
        self.waiting(RESULT).leave()
        self.thread.run_all()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_it_cannot_be_read(self) -> None:
        client = self.waiting(RESULT)
        self.store.unreadable.add(1)
        self.thread.run_all()
        self.clock.advance(60)
        self.thread.run_all()
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.code), (503, "store_unavailable"))

    def test_it_is_forgotten_meanwhile(self) -> None:
        client = self.waiting(RESULT)
        self.store.unreadable.add(1)
        self.meanwhile(lambda: self.broker.operations.forget(b"H:test:1"))
        self.clock.advance(60)
        self.thread.run_all()
        self.assertEqual(client.web_answer().code, "unknown_job")

    def test_it_makes_room_meanwhile(self) -> None:
        client = self.waiting(RESULT)
        self.store.unreadable.add(1)
        self.meanwhile(lambda: self.broker.archive.result_refused(1))
        self.clock.advance(60)
        self.thread.run_all()
        self.assertEqual(client.web_answer().code, "result_not_kept")
