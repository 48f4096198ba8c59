"""Tests of L{txgear.web.api.submit}: background jobs, and what their requests say."""

from __future__ import annotations

from txgear.broker.states import DELAYED, STATE_NAMES
from txgear.broker.tenants import Quota
from txgear.policies import CLASSIC, Policies, Rate
from txgear.protocol.constants import HIGH, LOW, NORMAL, WORK_COMPLETE, WORK_DATA, WORK_FAIL
from txgear.protocol.traces import Trace
from txgear.security.access import Access
from txgear.test.support.clock import START
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.web import WebTestCase
from txgear.web.api import submit

JOBS = "/api/v1/functions/f/jobs"


class BackgroundTests(WebTestCase):
    parts = (submit,)

    def queued(self) -> list[tuple[bytes, bytes, bytes]]:
        jobs = self.broker.table.jobs.values()
        return [(job.function.name, job.unique, bytes(job.workload)) for job in jobs]

    def test_the_answer_is_the_handle(self) -> None:
        answer = self.ask("POST", JOBS, body=b"work \xff\0")
        self.assertEqual(answer.status, 202)
        self.assertEqual(
            answer.json,
            {
                "handle": "H:test:1",
                "function": "f",
                "joined": False,
                "job": "/api/v1/jobs/H%3Atest%3A1",
                "result": "/api/v1/jobs/H%3Atest%3A1/result",
            },
        )
        self.assertEqual(answer.headers["Location"], "/api/v1/jobs/H%3Atest%3A1")
        self.assertEqual(answer.headers["Txgear-Handle"], "H:test:1")
        self.assertEqual(self.queued(), [(b"f", b"", b"work \xff\0")])
        worker = self.worker()
        handle, _, workload = worker.grab()
        self.assertEqual(workload, b"work \xff\0")
        worker.say(WORK_COMPLETE, handle, b"")

    def test_any_type_of_body(self) -> None:
        """A form, JSON, or nothing at all."""
        for kind in ("application/x-www-form-urlencoded", "application/json", "text/plain", "x/y; a=b"):
            self.assertEqual(self.ask("POST", JOBS, {"Content-Type": kind}, b"{").status, 202)
        self.assertEqual(self.ask("POST", JOBS, {"Content-Length": "0"}).status, 202)
        self.assertEqual([workload for _, _, workload in self.queued()], [b"{"] * 4 + [b""])

    def test_a_unique(self) -> None:
        """The second submit joins the job, and says so."""
        first = self.ask("POST", f"{JOBS}?unique=order%2F7", body=b"one")
        second = self.ask("POST", f"{JOBS}?unique=order%2F7", body=b"two")
        self.assertEqual((first.json["handle"], first.json["joined"]), ("H:test:1", False))
        self.assertEqual((second.json["handle"], second.json["joined"]), ("H:test:1", True))
        self.assertEqual(self.queued(), [(b"f", b"order/7", b"one")])

    def test_a_unique_that_is_still_taken(self) -> None:
        """The job is done, and submitting it again changes nothing."""
        policies = Policies([("f", CLASSIC.with_settings({"unique_for": "1h"}))])
        self.broker.operations.set_policies(policies, START)
        self.ask("POST", f"{JOBS}?unique=u", body=b"")
        worker = self.worker()
        worker.say(WORK_COMPLETE, worker.grab()[0], b"")
        again = self.ask("POST", f"{JOBS}?unique=u", body=b"")
        self.assertEqual((again.status, again.json["handle"], again.json["joined"]), (202, "H:test:1", True))

    def test_priority(self) -> None:
        for word, priority in (("high", HIGH), ("normal", NORMAL), ("low", LOW)):
            self.ask("POST", f"{JOBS}?priority={word}", body=b"")
            self.assertEqual(list(self.broker.table.jobs.values())[-1].priority, priority)

    def test_times(self) -> None:
        """At a time by the wall clock, as RFC 3339 or in seconds; or after a delay."""
        self.fixture.wall.ahead = 1_000_000_000 - START
        for query, begins in (
            ("when=2001-09-09T03:46:50%2B02:00", 1_000_000_010),
            ("when=2001-09-09T03:46:50+02:00", 1_000_000_010),
            ("when=2001-09-09T01:46:50Z", 1_000_000_010),
            ("when=1000000010", 1_000_000_010),
            ("delay=10", 1_000_000_010),
            ("delay=1.5h", 1_000_005_400),
        ):
            self.assertEqual(self.ask("POST", f"{JOBS}?{query}", body=b"").status, 202, query)
            job = list(self.broker.table.jobs.values())[-1]
            self.assertEqual(STATE_NAMES[job.state], STATE_NAMES[DELAYED])
            self.assertAlmostEqual(self.broker.lifecycle.begins(job), begins, 3, query)

    def test_a_policy(self) -> None:
        """Headers say what is to hold for the job."""
        headers = {
            "Txgear-Retries": '{"fail": 3}',
            "txgear-backoff": "10s",
            "Txgear-Timeout": "1.5",
            "Txgear-Unique-For": "1h",
            "Txgear-Results": '{"keep": "1d", "bytes": 1000}',
        }
        self.assertEqual(self.ask("POST", JOBS, headers, b"").status, 202)
        (job,) = self.broker.table.jobs.values()
        assert job.history is not None
        self.assertEqual(
            job.history.settings,
            {
                "retries": {"fail": 3},
                "backoff": "10s",
                "timeout": 1.5,
                "unique_for": "1h",
                "results": {"keep": "1d", "bytes": 1000},
            },
        )

    def test_a_trace(self) -> None:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        self.ask("POST", JOBS, {"traceparent": parent, "tracestate": "a=1"}, b"")
        self.ask("POST", JOBS, {"traceparent": "nonsense", "tracestate": "a=1"}, b"")
        first, second = self.broker.table.jobs.values()
        assert first.history is not None
        self.assertEqual(first.history.trace, Trace(parent, "a=1"))
        self.assertIsNone(second.history)

    def test_function_names(self) -> None:
        """A part of the path is one name, whatever it has; as it is shown, it is known too."""
        for path, name in (
            ("a%2Fb", b"a/b"),
            ("%ff", b"\xff"),
            ("App%5Cxdebug", b"App\\xdebug"),
            ("%3Cb%3E%22%27", b"<b>\"'"),
        ):
            self.assertEqual(self.ask("POST", f"/api/v1/functions/{path}/jobs", body=b"").status, 202)
            self.assertEqual(list(self.broker.table.jobs.values())[-1].function.name, name)
        self.assertEqual(
            self.ask("POST", "/api/v1/functions/%5Cxff/jobs", body=b"").json["function"], "\\xff"
        )
        self.assertEqual(list(self.broker.table.jobs.values())[-1].function.name, b"\xff")

    def test_a_connection_is_kept(self) -> None:
        """For one request after the other, also when they were sent ahead."""
        client = self.connect()
        for _ in range(2):
            client.ask_web("POST", JOBS, {}, b"one")
            client.ask_web("POST", JOBS, {}, b"two")
        self.assertEqual([answer.status for answer in client.answers("POST")], [202] * 4)


class RefusedTests(WebTestCase):
    parts = (submit,)

    def assert_refused(
        self, status: int, code: str, target: str = JOBS, headers: dict[str, str] | None = None
    ) -> dict[str, object]:
        answer = self.ask("POST", target, headers, b"work")
        self.assertEqual((answer.status, answer.code), (status, code), answer.body)
        self.assertEqual(len(self.broker.table.jobs), 0)
        details: dict[str, object] = answer.json
        return details

    def test_queries(self) -> None:
        for query, code in (
            ("uniqe=u", "invalid_query"),
            ("priority=urgent", "invalid_query"),
            ("background=perhaps", "invalid_query"),
            ("wait=-1", "invalid_query"),
            ("wait=nan", "invalid_query"),
            ("wait=3601", "invalid_query"),
            ("unique=" + "u" * 65, "invalid_query"),
            ("unique=a%00b", "invalid_argument"),
            ("unique=" + "%C3%A4" * 64, "argument_too_large"),
            ("delay=soon", "invalid_argument"),
            ("delay=11+years", "invalid_argument"),
            ("delay=1s&when=5", "invalid_argument"),
            ("when=tomorrow", "invalid_argument"),
            ("when=2030-01-01T00:00:00", "invalid_argument"),
            ("when=-5", "invalid_argument"),
            ("when=99999999999999", "invalid_argument"),
            ("when=1960-01-01T00:00:00Z", "invalid_argument"),
        ):
            self.assert_refused(400, code, f"{JOBS}?{query}")

    def test_headers(self) -> None:
        for headers, code in (
            ({"Txgear-Retrys": "3"}, "unknown_setting"),
            ({"Txgear-Rate": "1/s"}, "unknown_setting"),
            ({"Txgear-Retries": "three"}, "invalid_argument"),
            ({"Txgear-Retries": '{"fail": 3'}, "invalid_setting"),
            ({"Txgear-Retries": "[" * 2000}, "invalid_setting"),
            ({"Txgear-Backoff": '{"a":' * 160 + "1" + "}" * 160}, "invalid_argument"),
            ({"Txgear-Backoff": "1" * 1001}, "invalid_setting"),
            ({"Txgear-Timeout": "-1"}, "invalid_argument"),
            ({"Txgear-Timeout": "5 \u00e4"}, "invalid_argument"),
            ({"Txgear-Lease": "0.5"}, "invalid_argument"),
            ({"Txgear-Timeout": "1", "txgear-timeout": "2"}, "repeated_setting"),
        ):
            self.assert_refused(400, code, JOBS, headers)

    def test_names(self) -> None:
        self.assert_refused(400, "invalid_argument", "/api/v1/functions/a%00b/jobs")
        self.assert_refused(400, "argument_too_large", f"/api/v1/functions/{'x' * 8192}/jobs")
        self.assert_refused(404, "not_found", "/api/v1/functions//jobs")

    def test_events_of_a_background_job(self) -> None:
        self.assert_refused(400, "invalid_query", f"{JOBS}?background=true", {"Accept": "text/event-stream"})

    def test_a_body_that_is_too_large(self) -> None:
        self.start(max_packet=100)
        self.assertEqual(self.ask("POST", JOBS, body=b"w" * 101).code, "content_too_large")
        self.assertEqual(self.ask("POST", JOBS, body=b"w" * 100).status, 202)

    def test_a_queue_that_is_full(self) -> None:
        self.broker.operations.set_policies(Policies([("f", CLASSIC.with_settings({"max_queue": 1}))]), START)
        self.ask("POST", JOBS, body=b"")
        answer = self.ask("POST", JOBS, body=b"")
        self.assertEqual(
            (answer.status, answer.code, answer.headers["Retry-After"]), (503, "queue_full", "5")
        )
        self.assertEqual(answer.json["detail"], "Job queue is full: max_queue is 1")

    def test_a_server_that_drains(self) -> None:
        self.broker.drain(START)
        answer = self.ask("POST", JOBS, body=b"")
        self.assertEqual((answer.status, answer.code), (503, "draining"))
        self.assertIn("Retry-After", answer.headers)

    def test_half_a_body(self) -> None:
        """Nothing is submitted if the rest never comes."""
        client = self.connect()
        client.send(f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf".encode())
        client.leave()
        self.assertEqual(len(self.broker.table.jobs), 0)


class RightsTests(WebTestCase):
    parts = (submit,)

    def test_who_may_not_submit(self) -> None:
        self.allow("http", "see", "submit", functions=("mail.*",))
        self.assertEqual(self.ask("POST", "/api/v1/functions/mail.send/jobs", body=b"").status, 202)
        answer = self.ask("POST", JOBS, body=b"")
        self.assertEqual((answer.status, answer.code), (403, "access_denied"))

    def test_a_name_that_is_shown_as_one_may_not_know(self) -> None:
        """The answer is the same whether or not there is such a function."""
        for known in (False, True):
            if known:
                self.broker.operations.create_function(b"secret\xff")
            self.allow("http", "see", "submit", functions=(r"secret\xff",))
            answer = self.ask("POST", "/api/v1/functions/secret%5Cxff/jobs", body=b"")
            self.assertEqual((answer.status, answer.json["function"]), (202, r"secret\x5cxff"), known)

    def test_who_is_nobody(self) -> None:
        self.allow("http", "submit")
        self.headers = {}
        answer = self.ask("POST", JOBS, body=b"")
        self.assertEqual((answer.status, answer.headers["WWW-Authenticate"]), (401, "Bearer"))

    def test_who_may_not_know_of_the_job_that_is_there(self) -> None:
        """To join it would tell."""
        self.ask("POST", f"{JOBS}?unique=u", body=b"")
        self.allow("http", "submit")
        self.assertEqual(self.ask("POST", f"{JOBS}?unique=u", body=b"").status, 403)

    def test_who_waits_and_may_not_read(self) -> None:
        """In the foreground one's own result is one's own; what is kept is read by a right."""
        self.allow("http", "submit", "see")
        self.assertEqual(self.ask("POST", f"{JOBS}?background=true&wait=1", body=b"").status, 403)
        self.assertEqual(len(self.broker.table.jobs), 0)

    def test_rates(self) -> None:
        """Each answer says what is left; one too many says when to come again."""
        self.allow("http", "submit", "see")
        self.broker.tenants.set_quotas({"me": Quota(submits=Rate(10.0, 2))}, START)
        seen = []
        for _ in range(3):
            answer = self.ask("POST", JOBS, body=b"")
            seen.append((answer.status, answer.headers["RateLimit"], answer.headers.get("Retry-After")))
        self.assertEqual(answer.code, "too_fast")
        self.assertEqual(answer.headers["RateLimit-Policy"], '"submits";q=2;w=20')
        self.assertEqual(
            seen,
            [
                (202, '"submits";r=1;t=10', None),
                (202, '"submits";r=0;t=10', None),
                (429, '"submits";r=0;t=10', "10"),
            ],
        )
        self.clock.advance(10)
        self.assertEqual(self.ask("POST", JOBS, body=b"").status, 202)

    def test_rates_of_who_waits(self) -> None:
        """Whatever becomes of the job."""
        self.allow("http")
        identities = self.server.guard.access.identities.values()
        self.server.guard.replace(Access(list(identities), []))
        self.broker.tenants.set_quotas({"me": Quota(submits=Rate(1.0, 9))}, START)
        for kind, arguments in ((WORK_COMPLETE, (b"",)), (WORK_DATA, (b"x",)), (WORK_FAIL, ())):
            client, worker = self.connect(), self.worker()
            client.ask_web("POST", f"{JOBS}?background=false", self.headers, b"")
            worker.say(kind, worker.grab()[0], *arguments)
            self.assertIn(b'ratelimit: "submits";r=', client.heard().lower())
            client.leave()

    def test_no_rate_no_header(self) -> None:
        self.allow("http", "submit", "see")
        self.assertNotIn("RateLimit", self.ask("POST", JOBS, body=b"").headers)

    def test_quotas(self) -> None:
        self.allow("http", "submit", "see")
        self.broker.tenants.set_quotas({"me": Quota(queued=1)}, START)
        self.ask("POST", JOBS, body=b"")
        answer = self.ask("POST", JOBS, body=b"")
        self.assertEqual(
            (answer.status, answer.code, answer.headers["Retry-After"]), (429, "quota_full", "5")
        )


class StoredTests(WebTestCase):
    """With a store the answer comes when the job is on the disk."""

    parts = (submit,)

    def setUp(self) -> None:
        self.store = FaultyStore()
        fixture = DurableServerFixture(self.store)
        self.thread = fixture.thread
        self.use(fixture)
        self.thread.run_all()

    def test_the_answer_waits(self) -> None:
        client = self.connect()
        client.ask_web("POST", JOBS, {}, b"work")
        self.assertEqual((client.heard(), self.store.kept), (b"", {}))
        self.thread.run_all()
        self.assertEqual(client.web_answer().json["handle"], "H:test:1")
        self.assertEqual(list(self.store.kept), [1])

    def test_who_joins_waits_as_well(self) -> None:
        clients = [self.connect() for _ in range(2)]
        for client in clients:
            client.ask_web("POST", f"{JOBS}?unique=u", {}, b"work")
            self.assertEqual(client.heard(), b"")
        self.thread.run_all()
        answers = [client.web_answer() for client in clients]
        self.assertEqual([answer.json["joined"] for answer in answers], [False, True])
        self.assertEqual({answer.json["handle"] for answer in answers}, {"H:test:1"})

    def test_a_store_that_does_not_take_it(self) -> None:
        """It answers, so that waiting does not help."""
        client = self.connect()
        self.store.too_large = 3
        client.ask_web("POST", JOBS, {}, b"work")
        self.thread.run_all()
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.code), (507, "store_refused"))
        self.assertNotIn("Retry-After", answer.headers)
        self.assertEqual(len(self.broker.table.jobs), 0)

    def test_a_store_that_does_not_answer(self) -> None:
        """Those who wait are told after a while, and those who come then at once."""
        client = self.connect()
        client.ask_web("POST", JOBS, {}, b"work")
        self.clock.advance(self.server.settings.store_timeout)
        for answer in (client.web_answer(), self.ask("POST", JOBS, body=b"")):
            self.assertEqual((answer.status, answer.code), (503, "store_unavailable"))
            self.assertIn("Retry-After", answer.headers)

    def test_a_client_that_does_not_wait(self) -> None:
        """The job is the server's from the moment that it is whole."""
        client = self.connect()
        client.ask_web("POST", JOBS, {}, b"work")
        client.leave()
        self.thread.run_all()
        self.assertEqual(list(self.store.kept), [1])

    def test_a_server_that_ends_meanwhile(self) -> None:
        """Nothing was promised."""
        client = self.connect()
        client.ask_web("POST", JOBS, {}, b"work")
        _ = self.server.close_connections()
        self.assertEqual(client.web_answer().code, "server_ends")
        self.thread.run_all()
        self.assertEqual(self.flushLoggedErrors(), [])
