"""Tests of L{txgear.web.api.jobs}."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import msgspec

from txgear.broker.operators.search import BOUNDS
from txgear.broker.rights import SERVER_ACTS
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH_BG,
    WORK_COMPLETE,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
)
from txgear.protocol.packets import request
from txgear.security.access import Access, Rule
from txgear.server.clusterview import Status
from txgear.test.support.clusterview import FakeCluster, server_shown
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture, FakePeer
from txgear.test.support.web import WebPeer
from txgear.test.web.api.apicase import ApiTestCase
from txgear.web.api import jobs
from txgear.web.api.jobmodels import DeadJobs, Job, KeptJobs, LiveJobs, Workload
from txgear.web.payloads import MOST_HELD, Payloads

HOSTILE = b"<b>\"'\\xff\xff\n\x1b[2J\xe2\x80\xae/..%2F?#&"
"""A name."""


class JobsTestCase(ApiTestCase):
    parts = (jobs,)

    def use(self, fixture: object, options: object = None) -> None:
        super().use(fixture, None)
        self.client: FakePeer = self.fixture.connect()

    def payloads(self) -> Payloads:
        """What is on its way."""
        endpoint: Any = self.web.router.routes[0].endpoint
        found: Payloads = endpoint.__self__._payloads
        return found

    def set_policy(self, **settings: object) -> None:
        policies = Policies([("*", CLASSIC.with_settings(settings))])
        self.broker.operations.set_policies(policies, self.clock.seconds())

    def submit(self, function: bytes = b"f", unique: bytes = b"", workload: bytes = b"w") -> None:
        self.client.ask(request(SUBMIT_JOB_BG, function, unique, workload))


class ListTests(JobsTestCase):
    def test_live(self) -> None:
        self.client.ask(request(SUBMIT_JOB_HIGH_BG, HOSTILE, HOSTILE, HOSTILE))
        self.clock.advance(1.5)
        (job,) = self.read("/api/v1/jobs", LiveJobs)["jobs"]
        self.assertEqual(
            job,
            {
                "handle": "H:test:1",
                "function": "<b>\"'\\x5cxff\\xff\n\x1b[2J\u202e/..%2F?#&",
                "state": "queued",
                "priority": "high",
                "age": 1.5,
                "attempts": 0,
                "worker": None,
                "unique": job["function"],
            },
        )

    def test_pages(self) -> None:
        for _ in range(3):
            self.submit()
        first = self.read("/api/v1/jobs?limit=2", LiveJobs)
        self.assertEqual((len(first["jobs"]), first["next"]), (2, 2))
        second = self.read("/api/v1/jobs?limit=2&after=2", LiveJobs)
        self.assertEqual(([job["handle"] for job in second["jobs"]], second["next"]), (["H:test:3"], None))

    def test_filters(self) -> None:
        """Names are written as they are shown."""
        self.submit(b"a\xff", b"u\xfe")
        self.submit(b"b", b"v")
        self.worker(b"b")
        for query, handles in (
            ("function=a*", [1]),
            ("function=a%5Cxff", [1]),
            ("unique=u%5Cxfe", [1]),
            ("unique=v", [2]),
            ("unique=v&function=a*", []),
            ("state=running", []),
            ("state=queued,waiting", [1, 2]),
            ("older=1h", []),
            ("older=0.0s", [1, 2]),
            ("text=w", [1, 2]),
            ("worker=none", []),
        ):
            found = self.read(f"/api/v1/jobs?{query}", LiveJobs)["jobs"]
            self.assertEqual([job["handle"] for job in found], [f"H:test:{n}" for n in handles], query)

    def test_what_makes_no_sense(self) -> None:
        for query in (
            "state=paged",
            "state=",
            "older=x",
            "older=3651d",
            "older=-1",
            "after=-1",
            "after=9223372036854775808",
            "limit=0",
            "limit=201",
            "size=1",
            "function=a&function=b",
            f"text={'x' * 1001}",
            f"unique={'x' * 257}",
        ):
            answer = self.ask("GET", f"/api/v1/jobs?{query}")
            self.assertEqual((answer.status, answer.code), (400, "invalid_query"), query)

    def end(self, unique: bytes, kind: int, *said: bytes) -> None:
        """A job that ends so."""
        self.submit(unique=unique)
        worker = self.worker()
        handle, *_ = worker.grab()
        worker.say(kind, handle, *said)
        worker.leave()

    def test_dead(self) -> None:
        self.set_policy(retries=0)
        self.end(b"u", WORK_EXCEPTION, HOSTILE)
        self.end(b"v", WORK_FAIL)
        self.clock.advance(2)
        first, second = self.read("/api/v1/dead", DeadJobs)["jobs"]
        self.assertEqual((first["reason"], first["size"], first["age"]), ("exception", 1, 2.0))
        self.assertTrue(first["text"].endswith("\u202e/..%2F?#&"))
        self.assertEqual((second["reason"], second["unique"]), ("fail", "v"))
        self.assertEqual(self.read("/api/v1/dead?unique=v", DeadJobs)["jobs"], [second])
        self.assertEqual(
            self.read("/api/v1/dead?limit=1", DeadJobs), {"jobs": [first], "next": 1, "others": []}
        )
        self.assertEqual(self.ask("GET", "/api/v1/dead?state=dead").code, "invalid_query")

    def test_servers_whose_jobs_are_not_listed(self) -> None:
        """Where they are reached and what they have is told to whoever may see how servers are set up."""
        own, other = server_shown("a", 1, own=True), server_shown("b", 2, address="b.example:4730")
        self.server.cluster = FakeCluster(own, other, server_shown("c", 3, status=Status()))
        b = {"server": "b", "address": "b.example:4730", "queued": 12, "running": 3}
        c = {"server": "c", "address": None, "queued": None, "running": None}
        for path, kind in (("jobs", LiveJobs), ("dead", DeadJobs), ("kept", KeptJobs)):
            self.assertEqual(self.read(f"/api/v1/{path}", kind)["others"], [b, c])
        self.allow("http", "see")
        self.assertEqual(self.read("/api/v1/jobs", LiveJobs)["others"], [{**c, "server": "b"}, c])

    def test_kept(self) -> None:
        self.set_policy(results="1h")
        self.end(b"u", WORK_COMPLETE, b"result")
        (found,) = self.read("/api/v1/kept?text=res", KeptJobs)["jobs"]
        self.assertEqual((found["outcome"], found["size"], found["left"]), ("done", 6, 3600.0))
        self.assertEqual(
            self.read("/api/v1/kept?unique=v", KeptJobs), {"jobs": [], "next": None, "others": []}
        )

    def test_rights(self) -> None:
        for function in (b"f", b"g"):
            self.submit(function)
        self.allow("http", "see", functions=["g"])
        (found,) = self.read("/api/v1/jobs", LiveJobs)["jobs"]
        self.assertEqual(found["function"], "g")


class JobTests(JobsTestCase):
    def path(self, tail: str = "") -> str:
        return f"/api/v1/jobs/{quote('H:test:1', safe='')}{tail}"

    def test_one_that_is_queued(self) -> None:
        self.submit(b"a/b\xff", b"u")
        found = self.read(self.path(), Job)
        self.assertEqual((found["handle"], found["state"], found["clients"]), ("H:test:1", "queued", 0))
        self.assertEqual(
            found["links"],
            {
                "self": "/api/v1/jobs/H%3Atest%3A1",
                "function": "/api/v1/functions/a%2Fb%5Cxff",
                "workload": "/api/v1/jobs/H%3Atest%3A1/workload",
                "result": "/api/v1/jobs/H%3Atest%3A1/result",
            },
        )

    def test_one_that_runs(self) -> None:
        self.client.ask(request(SUBMIT_JOB, b"f", HOSTILE, b"w"))
        worker = self.worker()
        handle, *_ = worker.grab()
        worker.say(WORK_STATUS, handle, b"3", b"7")
        found = self.read(self.path(), Job)
        self.assertEqual(
            (found["state"], found["numerator"], found["denominator"], found["worker"]),
            ("running", 3, 7, "192.0.2.1 2"),
        )
        self.assertEqual([waiter["address"] for waiter in found["waiters"]], ["192.0.2.1"])

    def test_one_that_is_tried_again(self) -> None:
        self.set_policy(
            retries={"fail": 2},
            backoff={"kind": "linear", "first": 60},
            dead={"keep": "1d"},
            timeout=60,
            lease=30,
            expires="1h",
            results="1h",
            unique_for=5,
            rate="10/s",
            concurrency=2,
            max_queue=3,
            max_bytes=1000,
            turns=True,
        )
        self.submit()
        worker = self.worker()
        worker.say(WORK_FAIL, worker.grab()[0])
        found = self.read(self.path(), Job)
        self.assertEqual((found["state"], found["attempts"], found["reasons"]), ("waiting", 1, {"fail": 1}))
        self.assertEqual(found["settings"]["retries"], {"fail": 2})
        self.assertEqual(len(found["settings"]), 13)
        (attempt,) = found["history"]
        self.assertEqual((attempt["reason"], attempt["worker"]), ("fail", "192.0.2.1 2"))

    def test_those_that_have_ended(self) -> None:
        self.set_policy(retries=0, results="1h")
        for kind in (WORK_COMPLETE, WORK_FAIL):
            self.submit()
            worker = self.worker()
            worker.say(kind, worker.grab()[0], *([b"result"] if kind == WORK_COMPLETE else []))
            worker.leave()
        found = self.read(self.path(), Job)
        self.assertEqual((found["state"], found["size"], found["result_size"]), ("done", None, 6))
        found = self.read("/api/v1/jobs/H:test:2", Job)
        self.assertEqual((found["state"], found["size"], found["result_size"]), ("dead", 1, None))

    def test_one_that_is_not_there(self) -> None:
        self.submit()
        for handle in ("H:test:2", "H:test:01", "x", "%00", "%FF", quote(HOSTILE, safe="")):
            for tail in ("", "/workload"):
                answer = self.ask("GET", f"/api/v1/jobs/{handle}{tail}")
                self.assertEqual((answer.status, answer.code), (404, "unknown_job"), handle)
        self.allow("http", "see", "read", functions=["g"])
        for tail in ("", "/workload"):
            self.assertEqual(self.ask("GET", self.path(tail)).code, "unknown_job")


class WorkloadTests(JobsTestCase):
    path = "/api/v1/jobs/H:test:1/workload"

    def test_bytes(self) -> None:
        for workload in (HOSTILE, b"", b"x" * 300_000):
            self.start()
            self.submit(workload=workload)
            answer = self.ask("GET", self.path)
            self.assertEqual((answer.status, answer.body), (200, workload))
            self.assertEqual(answer.headers["Content-Type"], "application/octet-stream")
            self.assertEqual(answer.headers["Content-Length"], str(len(workload)))
            self.assertEqual(
                answer.headers["Content-Disposition"], 'attachment; filename="H_test_1.workload"'
            )
            head = self.ask("HEAD", self.path)
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(head.headers["Content-Length"], str(len(workload)))

    def test_shown(self) -> None:
        self.submit(workload=HOSTILE + b"\x00")
        found = self.read(f"{self.path}?as=json", Workload)
        self.assertEqual((found["size"], found["shown"]), (len(HOSTILE) + 1, len(HOSTILE) + 1))
        self.assertTrue(found["workload"].startswith("<b>\"'\\x5cxff\\xff\n"))
        self.start()
        self.submit(workload=b"x" * 100_000)
        found = self.read(f"{self.path}?as=json", Workload)
        self.assertEqual((found["size"], len(found["workload"])), (100_000, 65536))

    def test_rights(self) -> None:
        self.submit()
        self.allow("http", "see")
        answer = self.ask("GET", self.path)
        self.assertEqual((answer.status, answer.code), (403, "access_denied"))
        self.allow("http", "see", "read")
        self.assertEqual(self.ask("GET", self.path).body, b"w")

    def test_one_that_has_ended(self) -> None:
        self.set_policy(retries=0, results="1h")
        for kind in (WORK_COMPLETE, WORK_FAIL):
            self.submit(workload=b"w")
            worker = self.worker()
            worker.say(kind, worker.grab()[0], *([b"result"] if kind == WORK_COMPLETE else []))
            worker.leave()
        answer = self.ask("GET", self.path)
        self.assertEqual((answer.status, answer.code), (404, "no_workload"))
        self.allow("http", "see")
        self.assertEqual(self.ask("GET", self.path).code, "access_denied")
        self.allow("http", "see", "read")
        self.assertEqual(self.ask("GET", "/api/v1/jobs/H:test:2/workload").body, b"w")

    def test_no_faster_than_it_is_read(self) -> None:
        self.submit(workload=bytes(range(256)) * 8000)
        client = self.connect()
        client.transport.stuck = True
        client.ask_web("GET", self.path, {})
        payloads = self.payloads()
        self.assertEqual(payloads.held, 2_048_000)
        received = b""
        for _ in range(1000):
            heard = client.heard()
            self.assertLess(len(heard), 1_000_000)
            received += heard
            if not heard:
                break
        head, _, body = received.partition(b"\r\n\r\n")
        self.assertIn(b"\r\nContent-Length: 2048000", head)
        self.assertEqual(body, bytes(range(256)) * 8000)
        self.assertEqual(payloads.held, 0)


class ManyLanesTests(JobsTestCase):
    """Ended jobs of more functions than one page looks at: it says in which part of them the next begins."""

    functions = BOUNDS.lanes + 10

    def setUp(self) -> None:
        store = FaultyStore()
        kept = Policies([("*", CLASSIC.with_settings({"retries": 0, "results": "1h"}))])
        self.use(DurableServerFixture(store, policies=kept))
        names = [b"f%d" % number for number in range(self.functions)]
        for name in names:
            worker = self.worker(name)
            for kind in ((WORK_FAIL,), (WORK_COMPLETE, b"result")):
                self.submit(name)
                self.fixture.thread.run_all()
                worker.say(kind[0], worker.grab()[0], *kind[1:])
            worker.leave()
        self.run_on()
        # As after a restart: they are rows.
        self.use(DurableServerFixture(store, policies=kept))

    def run_on(self) -> None:
        """Let the store do what it is asked."""
        for _ in range(5):
            self.clock.advance(1.0)
            self.fixture.thread.run_all()

    def page(self, path: str, after: object) -> dict[str, Any]:
        """A page as JavaScript reads it: all numbers are doubles."""
        client = self.connect()
        client.ask_web("GET", f"{path}?limit=200&after={after}", self.headers)
        self.fixture.thread.run_all()
        answer = client.web_answer()
        self.assertEqual(answer.status, 200, answer.body)
        found: dict[str, Any] = json.loads(answer.body, parse_int=float)
        msgspec.json.decode(answer.body, type=DeadJobs if path.endswith("dead") else KeptJobs)
        return found

    def test_a_reader_with_doubles_sees_each_once(self) -> None:
        for path in ("/api/v1/dead", "/api/v1/kept"):
            seen: list[str] = []
            after: object = 0
            kinds = set()
            while after is not None:
                page = self.page(path, int(after) if isinstance(after, float) else after)
                seen += [job["function"] for job in page["jobs"]]
                after = page["next"]
                kinds.add(type(after))
            self.assertIn(str, kinds)
            self.assertEqual(sorted(seen), sorted(f"f{number}" for number in range(self.functions)), path)


class StoredTests(JobsTestCase):
    """Workloads that have to be read from the store."""

    path = "/api/v1/jobs/H:test:1/workload"

    def setUp(self) -> None:
        self.store = FaultyStore()
        self.use(DurableServerFixture(self.store))
        self.thread = self.fixture.thread
        self.thread.run_all()
        # Its time is far: nobody reads it ahead.
        self.fixture.connect().ask(request(SUBMIT_JOB_EPOCH, b"f", b"", b"99999999999", b"w" * 100))
        self.thread.run_all()
        # As after a restart.
        self.use(DurableServerFixture(self.store))
        self.thread = self.fixture.thread

    def asked(self, tail: str = "") -> WebPeer:
        client = self.connect()
        client.ask_web("GET", self.path + tail, self.headers)
        while not self.server.broker.table.jobs:
            self.thread.run()
        self.assertEqual((client.heard(), self.payloads().held), (b"", 100))
        return client

    def test_it_is_read(self) -> None:
        for tail in ("", "?as=json"):
            client = self.asked(tail)
            self.thread.run_all()
            self.assertIn(b"w" * 100, client.web_answer().body)
            self.assertEqual(self.payloads().held, 0)

    def test_whoever_has_gone(self) -> None:
        client = self.asked()
        client.leave()
        self.assertEqual(self.payloads().held, 0)
        self.thread.run_all()
        self.assertEqual(self.payloads().held, 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_rights_that_are_taken_meanwhile(self) -> None:
        for left, code in ((("http", "see"), "access_denied"), (("http", "read"), "unknown_job")):
            self.allow("http", "see", "read")
            client = self.asked()
            access = self.server.guard.access
            rights = [Rule(True, ("me",), frozenset(left) & SERVER_ACTS)]
            rights.append(Rule(True, ("me",), frozenset(left) - SERVER_ACTS))
            self.server.guard.replace(Access(access.identities.values(), rights))
            self.clock.advance(0)
            self.thread.run_all()
            self.assertEqual(client.web_answer().code, code)
            self.assertEqual(self.payloads().held, 0)

    def test_the_store_does_not_answer(self) -> None:
        client = self.asked()
        self.store.unreadable.add(1)
        self.thread.run_all()
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.code, answer.headers["Retry-After"]), (503, "not_read", "1"))
        self.assertEqual(self.payloads().held, 0)

    def test_too_much_at_once(self) -> None:
        self.payloads().hold(MOST_HELD)
        client = self.connect()
        client.ask_web("GET", self.path, self.headers)
        self.thread.run_all()
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.code), (503, "too_much_read"))
