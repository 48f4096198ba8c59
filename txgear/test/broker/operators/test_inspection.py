"""Tests of L{txgear.broker.operators.inspection}."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.ended.archive import history_of
from txgear.broker.model import Job, Peer
from txgear.broker.operators import inspection
from txgear.broker.operators.inspection import MOST_WAITERS
from txgear.broker.operators.search import OF_JOBS, Bounds, Rows, Search
from txgear.broker.rules import Rules
from txgear.broker.states import PAGED
from txgear.broker.tenants import Quota
from txgear.errors import ServerError
from txgear.policies import CLASSIC, Policies, Rate
from txgear.protocol import textlines
from txgear.protocol.constants import HIGH, LOW
from txgear.protocol.packets import Pieces
from txgear.protocol.traces import Trace
from txgear.test.support.broker import BrokerFixture, FakeOutbox, make_job
from txgear.test.support.clock import START
from txgear.test.support.extras import PROPERTY, given, st
from txgear.test.support.fakejournal import FakeJournal

PAST = "1970-01-01T00:16:40.000Z"
"""L{START} as a moment."""


def handles(page: dict[str, Any]) -> list[str]:
    return [job["handle"] for job in page["jobs"]]


def numbers(page: dict[str, Any]) -> list[int]:
    return [int(handle.rpartition(":")[2]) for handle in handles(page)]


class ValueTests(SynchronousTestCase):
    @PROPERTY
    @given(st.binary(max_size=12) | st.text(alphabet="\\x5cfF0- \n", max_size=12).map(str.encode))
    def test_a_name_that_is_shown_can_be_said(self, raw: bytes) -> None:
        shown = textlines.text(raw)
        json.dumps(shown).encode("utf-8")
        word = textlines.column(shown, name=True)
        self.assertNotRegex(word, rb"[\x00-\x20\x7f]")
        self.assertEqual(textlines.unescaped(word) if raw else b"", raw)

    def test_text(self) -> None:
        for raw, shown in (
            (b"App\\Jobs\\Mail", "App\\Jobs\\Mail"),
            (b"\xc3\xa4\xff", "\xe4\\xff"),
            (b"\\xff", "\\x5cxff"),
            (b"a\nb", "a\nb"),
        ):
            self.assertEqual(textlines.text(raw), shown)

    def test_moment(self) -> None:
        for seconds, shown in (
            (0.0, None),
            (START, PAST),
            (1234567890.1239, "2009-02-13T23:31:30.123Z"),
            (2.0**63, "9999-12-31T23:59:59.000Z"),
        ):
            self.assertEqual(inspection.moment(seconds), shown)


class InspectionTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = BrokerFixture()
        self.broker = self.fixture.broker
        self.bounds = Bounds()
        # Who asks; no connection of it is in the lists.
        self.peer = Peer(0, "192.0.2.9")

    def with_store(self) -> FakeJournal:
        """A store beneath the broker from now on."""
        journal = FakeJournal()
        self.fixture = BrokerFixture(journal=journal)
        self.broker = self.fixture.broker
        return journal

    def set_policy(self, **settings: Any) -> None:
        """One for all functions."""
        self.broker.operations.set_policies(
            Policies([("*", CLASSIC.with_settings(settings))]), self.fixture.now
        )

    def search(self, **words: bytes) -> Search:
        return Search.parse(words, OF_JOBS)

    def jobs(self, **words: bytes) -> dict[str, Any]:
        return inspection.jobs(self.broker, self.peer, self.search(**words), self.fixture.now, self.bounds)

    def dead(self, **words: bytes) -> dict[str, Any]:
        return inspection.dead(self.broker, self.peer, self.search(**words), self.fixture.now, self.bounds)

    def kept(self, **words: bytes) -> dict[str, Any]:
        return inspection.kept(self.broker, self.peer, self.search(**words), self.fixture.now, self.bounds)

    def job(self, job: Job) -> dict[str, Any]:
        found = inspection.job(self.broker, self.peer, job, self.fixture.now)
        json.dumps(found)
        return found

    def run_one(self, worker: Peer) -> Job:
        job = self.fixture.grab(worker)
        assert job is not None
        return job

    def complete(self, worker: Peer, result: bytes = b"") -> Job:
        job = self.run_one(worker)
        self.broker.reports.work_complete(worker, job.handle, result, self.fixture.now)
        return job

    def fail_one(self, worker: Peer, said: bytes) -> Job:
        job = self.run_one(worker)
        self.broker.reports.work_exception(worker, job.handle, said, self.fixture.now)
        return job


class JobsTests(InspectionTestCase):
    def test_rows_beside_those_in_memory(self) -> None:
        """As far as it is known which there are."""
        self.fixture.submit(None, b"f")
        row, behind = make_job(number=2), make_job(number=4)
        row.state = behind.state = PAGED
        rows = Rows({2: row, 4: behind}, 3)
        found = inspection.jobs(self.broker, self.peer, self.search(), self.fixture.now, self.bounds, rows)
        self.assertEqual([job["handle"] for job in found["jobs"]], ["H:test:1", "H:test:2"])

    def test_a_row(self) -> None:
        client = self.fixture.connect()
        self.fixture.submit(client, b"a b", b"u\xff", priority=HIGH)
        self.fixture.now += 1.5
        self.assertEqual(
            self.jobs(),
            {
                "jobs": [
                    {
                        "handle": "H:test:1",
                        "function": "a b",
                        "state": "queued",
                        "priority": "high",
                        "age": 1.5,
                        "attempts": 0,
                        "worker": None,
                        "unique": "u\\xff",
                    }
                ],
                "next": None,
            },
        )

    def test_states(self) -> None:
        self.with_store()
        worker = self.fixture.worker(b"f")
        worker.client_id = b"me"
        self.fixture.store(b"1", b"2")
        self.run_one(worker)
        self.fixture.submit(None, due=START + 100)
        self.fixture.commit()
        self.fixture.submit(None)
        states = [(job["state"], job["worker"]) for job in self.jobs()["jobs"]]
        self.assertEqual(states, [("running", "me"), ("queued", None), ("waiting", None), ("storing", None)])
        self.assertEqual(numbers(self.jobs(state=b"storing,waiting")), [3, 4])
        self.assertEqual(numbers(self.jobs(state=b"running")), [1])

    def test_uniques(self) -> None:
        for function, unique in ((b"f", b"u"), (b"g", b"u"), (b"f", b"v"), (b"f", b"-"), (b"f", b"")):
            self.fixture.submit(None, function, unique, workload=b"w")
        self.assertEqual(numbers(self.jobs(unique=b"u")), [1, 2])
        self.assertEqual(numbers(self.jobs(unique=b"u", function=b"g")), [2])
        self.assertEqual(numbers(self.jobs(unique=b"v")), [3])
        self.assertEqual(numbers(self.jobs(unique=b"-")), [4])
        self.assertEqual(numbers(self.jobs(unique=b"w")), [])

    def test_one_that_is_paged_is_queued(self) -> None:
        self.with_store()
        self.fixture.store(b"1")
        (job,) = self.fixture.restart()
        self.broker = self.fixture.broker
        self.assertFalse(job.loaded)
        self.assertEqual([job["state"] for job in self.jobs(state=b"queued")["jobs"]], ["queued"])

    def test_workers(self) -> None:
        named, other = self.fixture.worker(b"f"), self.fixture.worker(b"f")
        named.client_id = b"mailer 7"
        for _ in range(3):
            self.fixture.submit(None)
        for worker in (named, other):
            self.run_one(worker)
        self.assertEqual([job["worker"] for job in self.jobs()["jobs"]], ["mailer 7", "192.0.2.1 2", None])
        self.assertEqual(numbers(self.jobs(worker=b"mail")), [1])
        self.assertEqual(numbers(self.jobs(worker=b"192.0.2.1")), [2])
        self.assertEqual(numbers(self.jobs(worker=b"mail", state=b"queued")), [])

    def test_functions(self) -> None:
        for function in (b"mail", b"mail.big", b"f"):
            self.fixture.submit(None, function, priority=LOW)
        self.assertEqual(numbers(self.jobs(function=b"mail*")), [1, 2])
        self.assertEqual(numbers(self.jobs(function=b"mail")), [1])
        self.assertEqual(numbers(self.jobs(function=b"?")), [3])

    def test_age(self) -> None:
        for _ in range(3):
            self.fixture.submit(None)
            self.fixture.now += 60
        self.assertEqual([job["age"] for job in self.jobs()["jobs"]], [180.0, 120.0, 60.0])
        self.assertEqual(numbers(self.jobs(older=b"2m")), [1, 2])
        self.assertEqual(numbers(self.jobs(older=b"121s")), [1])

    def test_an_age_that_is_not_known(self) -> None:
        """Jobs of an earlier version are older than anything."""
        self.fixture.submit(None).created = 0.0
        self.assertEqual([job["age"] for job in self.jobs(older=b"1d")["jobs"]], [None])

    def test_text(self) -> None:
        for unique, workload in (
            (b"order-17", b""),
            (b"", b"... order-17 ..."),
            (b"", Pieces([b"x" * 700_000, b"order-", b"17", b"x"])),
            (b"", Pieces([b"x" * 700_000, b"x" * 700_000, b"order-17"])),
            (b"order-18", b"order-19"),
        ):
            self.fixture.submit(None, unique=unique, workload=workload)
        self.assertEqual(numbers(self.jobs(text=b"order-17")), [1, 2, 3])
        self.assertEqual(numbers(self.jobs(text=b"order-")), [1, 2, 3, 5])

    def test_attempts(self) -> None:
        self.fixture.submit(None)
        for _ in range(2):
            worker = self.fixture.worker(b"f")
            self.run_one(worker)
            self.fixture.leave(worker)
        self.assertEqual([job["attempts"] for job in self.jobs()["jobs"]], [2])
        self.set_policy(retries=5, backoff=0)
        self.fail_one(self.fixture.worker(b"f"), b"")
        self.assertEqual([job["attempts"] for job in self.jobs()["jobs"]], [3])


class WordTests(InspectionTestCase):
    """What is meant by a word of a command."""

    TYPED = b"App\\xdebug\\Job"
    """A class of PHP; it looks as if it had an escape."""

    def refused(self, word: bytes) -> bool:
        with self.assertRaises(ServerError) as raised:
            inspection.function_name(self.broker, word, inspection.readings(word))
        return bool(raised.exception.code == "UNKNOWN_FUNCTION")

    def known(self, word: bytes) -> bytes | None:
        return inspection.known_function(self.broker, inspection.readings(word))

    def name(self, word: bytes) -> bytes:
        return inspection.function_name(self.broker, word, inspection.readings(word))

    def test_what_is_shown_counts_before_what_is_called_so(self) -> None:
        tab, literal = b"look\talike", b"look\\x09alike"
        self.fixture.submit(None, literal)
        self.assertEqual(self.known(literal), literal)
        self.fixture.submit(None, tab)
        self.assertEqual(self.known(literal), tab)
        self.assertEqual(self.known(textlines.shown(literal)), literal)
        self.assertIsNone(self.known(b"look"))

    def test_a_name_that_is_typed_as_it_is(self) -> None:
        self.assertTrue(self.refused(self.TYPED))
        self.fixture.submit(None, self.TYPED)
        self.assertEqual(self.name(self.TYPED), self.TYPED)
        self.assertEqual(self.name(textlines.shown_word(self.TYPED)), self.TYPED)

    def test_a_function_that_nobody_knows_yet(self) -> None:
        for word, name in (
            (b"plain", b"plain"),
            (b"App\\Job", b"App\\Job"),
            (b"gr\xc3\xb6\xc3\x9fe", b"gr\xc3\xb6\xc3\x9fe"),
            (b"\xff", b"\xff"),
            (b"send\\x20m\xc3\xa4il", b"send m\xc3\xa4il"),
            (b"App\\x5cxdebug", b"App\\xdebug"),
        ):
            self.assertEqual(self.name(word), name)
        for word in (b"App\\x41pi", b"\\xff", b"a\\x20b\\xc3"):
            self.assertTrue(self.refused(word), word)

    def test_handles(self) -> None:
        job = self.fixture.submit(None)
        for word in (job.handle, b"127.0.0.1:4730//" + job.handle, job.handle.replace(b":", b"\\x3a")):
            self.assertIs(inspection.find(self.broker, self.peer, word), job)
        for word in (b"", b"//", b"H:test:01", b"a/" + job.handle, b"a//b//" + job.handle):
            self.assertIsNone(inspection.find(self.broker, self.peer, word))
        self.fixture.cancel(job)
        self.assertIsNone(inspection.find(self.broker, self.peer, job.handle))

    def test_a_prefix_that_looks_like_an_escape(self) -> None:
        broker = Broker(FakeOutbox(), Rules(b"H:a\\x41//b"))
        job = broker.submit(None, b"f", b"", b"", START)
        for word in (job.handle, b"host//" + job.handle, textlines.shown(job.handle)):
            self.assertIs(inspection.find(broker, self.peer, word), job)


class JobTests(InspectionTestCase):
    def test_one_that_is_queued(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(client, unique=b"u", workload=b"xyz", reducer=b"r")
        self.assertEqual(
            self.job(job),
            {
                "handle": "H:test:1",
                "number": 1,
                "function": "f",
                "unique": "u",
                "state": "queued",
                "priority": "normal",
                "background": False,
                "reducer": "r",
                "tenant": None,
                "created": PAST,
                "attempts": 0,
                "size": 3,
                "loaded": True,
                "unreadable": False,
                "stored": False,
                "clients": 1,
                "waiters": [{"descriptor": 1, "address": client.address, "client_id": None}],
                "begins": None,
                "expires": None,
                "worker": None,
                "began": None,
                "overdue": None,
                "lease": None,
                "silent": None,
                "numerator": None,
                "denominator": None,
                "copy_of": None,
                "copies": [],
                "traceparent": None,
                "reasons": {},
                "settings": {},
                "history": [],
            },
        )

    def test_a_trace(self) -> None:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        job = self.broker.submit(None, b"f", b"", b"", START, trace=Trace(parent, "a=1"))
        self.assertEqual(self.job(job)["traceparent"], parent)

    def test_who_waits(self) -> None:
        """Those who came last, each once."""
        clients = [self.fixture.connect() for _ in range(MOST_WAITERS + 2)]
        for number, client in enumerate((*clients, clients[-1], clients[-1])):
            client.descriptor, client.client_id = number, b"a\xff" if number % 2 else b"-"
            job = self.fixture.submit(client, unique=b"u")
        found = self.job(job)
        self.assertEqual(found["clients"], MOST_WAITERS + 4)
        self.assertEqual(len(found["waiters"]), MOST_WAITERS)
        self.assertEqual(
            found["waiters"][:2],
            [
                {"descriptor": MOST_WAITERS + 3, "address": clients[-1].address, "client_id": "a\\xff"},
                {"descriptor": MOST_WAITERS, "address": clients[-2].address, "client_id": None},
            ],
        )

    def test_one_that_waits(self) -> None:
        job = self.fixture.submit(None, due=START + 100)
        self.assertEqual(self.job(job)["begins"], "1970-01-01T00:18:20.000Z")
        self.set_policy(expires=50)
        job = self.fixture.submit(None, due=START + 100)
        found = self.job(job)
        expires = "1970-01-01T00:17:30.000Z"
        self.assertEqual((found["begins"], found["expires"]), ("1970-01-01T00:18:20.000Z", expires))
        job = self.fixture.submit(None, delay=100)
        found = self.job(job)
        self.assertEqual((found["begins"], found["expires"]), (None, expires))

    def test_one_that_runs(self) -> None:
        worker = self.fixture.worker(b"f", timeout=20.0)
        job = self.fixture.submit(None)
        self.run_one(worker)
        self.broker.reports.work_status(worker, job.handle, b"1", b"2", (1, 2), self.fixture.now)
        found = self.job(job)
        self.assertEqual((found["state"], found["worker"]), ("running", "192.0.2.1 1"))
        self.assertEqual((found["began"], found["overdue"]), (PAST, "1970-01-01T00:17:00.000Z"))
        self.assertEqual((found["numerator"], found["denominator"], found["lease"]), (1, 2, None))

    def test_one_whose_worker_beats(self) -> None:
        for timeout, overdue in ((0, None), (60, "1970-01-01T00:17:40.000Z")):
            self.setUp()
            self.set_policy(lease=10, timeout=timeout)
            worker = self.fixture.worker(b"f")
            worker.extended = True
            job = self.fixture.submit(None)
            self.run_one(worker)
            self.fixture.now += 4
            found = self.job(job)
            self.assertEqual((found["lease"], found["silent"], found["overdue"]), (10.0, 4.0, overdue))

    def test_settings_and_history(self) -> None:
        self.set_policy(retries=1, backoff=0, timeout=60)
        worker = self.fixture.worker(b"f")
        worker.client_id = b"me"
        job = self.fixture.submit(None, workload=b"xyz", settings={"timeout": 5, "results": "1h"})
        self.fail_one(worker, b"first")
        self.fixture.now += 2
        settings = self.job(job)["settings"]
        self.assertEqual((settings["timeout"], settings["retries"]), (5.0, 1))
        self.assertEqual(settings["results"]["keep"], 3600.0)
        self.run_one(worker)
        self.fixture.now += 1
        self.broker.reports.work_fail(worker, job.handle, self.fixture.now)
        found = self.job(job)
        self.assertEqual((found["state"], found["size"], found["attempts"]), ("dead", 3, 2))
        self.assertEqual((found["data_size"], found["result_size"]), (None, None))
        self.assertEqual(found["ended"], "1970-01-01T00:16:43.000Z")
        self.assertEqual(found["forgotten"], "1970-01-31T00:16:43.000Z")
        self.assertEqual(found["reasons"], {"exception": 1, "fail": 1})
        self.assertEqual(found["settings"], settings)
        self.assertEqual(
            found["history"],
            [
                {"began": PAST, "ended": PAST, "reason": "exception", "worker": "me", "text": "first"},
                {
                    "began": "1970-01-01T00:16:42.000Z",
                    "ended": "1970-01-01T00:16:43.000Z",
                    "reason": "fail",
                    "worker": "me",
                    "text": "",
                },
            ],
        )

    def test_one_that_is_done(self) -> None:
        self.set_policy(results="1h")
        worker = self.fixture.worker(b"f")
        self.fixture.submit(None)
        job = self.run_one(worker)
        self.broker.reports.work_data(worker, job.handle, b"ab", self.fixture.now)
        self.broker.reports.work_complete(worker, job.handle, b"cde", self.fixture.now)
        found = self.job(job)
        self.assertEqual((found["state"], found["size"]), ("done", None))
        self.assertEqual((found["data_size"], found["result_size"]), (2, 3))
        self.assertNotIn("clients", found)

    def test_find(self) -> None:
        self.set_policy(results="1h")
        job = self.fixture.submit(None)
        self.assertIs(inspection.find(self.broker, self.peer, b"H:test:1"), job)
        self.complete(self.fixture.worker(b"f"))
        self.assertIs(inspection.find(self.broker, self.peer, b"H:test:1"), job)
        self.assertIsNone(inspection.find(self.broker, self.peer, b"H:test:2"))


class TenantsTests(InspectionTestCase):
    def test_what_they_have(self) -> None:
        """Beside what they may have; who has no quota is there while it has anything."""
        self.fixture.quotas(web=Quota(connections=9, bytes=100, submits=Rate(0.5, 1)))
        client, other = self.fixture.tenant("web"), self.fixture.tenant("other")
        job = self.fixture.submit(client, workload=b"abc")
        self.run_one(self.fixture.worker(b"f"))
        web, rest = {"used": 1, "bound": None}, {"used": 0, "bound": None}
        self.assertEqual(
            inspection.tenants(self.broker),
            [
                {
                    "tenant": "other",
                    "connections": web,
                    "queued": rest,
                    "running": rest,
                    "bytes": rest,
                    "submits": None,
                },
                {
                    "tenant": "web",
                    "connections": {"used": 1, "bound": 9},
                    "queued": web,
                    "running": web,
                    "bytes": {"used": 3, "bound": 100},
                    "submits": {"jobs": "2/s", "burst": 1},
                },
            ],
        )
        self.assertEqual(self.job(job)["tenant"], "web")
        self.fixture.leave(other)
        self.assertEqual([found["tenant"] for found in inspection.tenants(self.broker)], ["web"])

    def test_what_is_held(self) -> None:
        """It is queued, as far as an operator goes."""
        self.fixture.quotas(web=Quota(running=1))
        client = self.fixture.tenant("web")
        for _ in range(3):
            self.fixture.submit(client)
        self.run_one(self.fixture.worker(b"f"))
        found = inspection.function(self.broker, self.broker.functions.by_name[b"f"], self.fixture.now)
        self.assertEqual((found["queued"], found["running"]), (2, 1))


class BytesTests(InspectionTestCase):
    def test_a_workload(self) -> None:
        job = self.fixture.submit(None)
        self.assertEqual(
            inspection.workload(job, b"a\xff\n"),
            {"handle": "H:test:1", "size": 3, "shown": 3, "workload": "a\\xff\n"},
        )
        large = inspection.workload(job, b"x" * 100_000)
        self.assertEqual((large["size"], large["shown"], len(large["workload"])), (100_000, 65536, 65536))

    def test_a_result(self) -> None:
        self.set_policy(results="1h")
        worker = self.fixture.worker(b"f")
        self.fixture.submit(None)
        job = self.run_one(worker)
        self.broker.reports.work_data(worker, job.handle, b"ab", self.fixture.now)
        self.broker.reports.work_complete(worker, job.handle, b"c", self.fixture.now)
        self.assertEqual(
            inspection.result(job, history_of(job), b"abc"),
            {"handle": "H:test:1", "outcome": "done", "size": 3, "shown": 3, "data": "ab", "result": "c"},
        )


class SetTests(InspectionTestCase):
    def test_policies(self) -> None:
        rules = [
            ("mail.*", CLASSIC.with_settings({"retries": 3})),
            ("*", CLASSIC.with_settings({"timeout": "1m"})),
        ]
        self.broker.operations.set_policies(Policies(rules), START)
        found = inspection.policies(self.broker)
        self.assertEqual([rule["pattern"] for rule in found], ["mail.*", "*"])
        self.assertEqual(found[0]["settings"]["retries"], 3)
        self.assertEqual(found[1]["settings"], {"timeout": 60.0})

    def test_a_function_that_nobody_knows(self) -> None:
        self.assertEqual(
            inspection.policy(self.broker, self.peer, b"f\xff", START),
            {
                "function": "f\\xff",
                "pattern": None,
                "settings": {},
                "paused": False,
                "maxqueue": None,
                "room": None,
                "share": None,
                "jobs": 0,
                "running": 0,
                "bytes": 0,
                "kept": 0,
                "workers": 0,
            },
        )
        self.set_policy(concurrency=2)
        found = inspection.policy(self.broker, self.peer, b"f", START)
        self.assertEqual((found["pattern"], found["settings"]), ("*", {"concurrency": 2}))

    def test_a_function_at_work(self) -> None:
        self.set_policy(concurrency=2, results="1h")
        worker = self.fixture.worker(b"f")
        for _ in range(3):
            self.fixture.submit(None, workload=b"xyz")
        self.complete(worker)
        self.run_one(worker)
        self.broker.operations.limit_function(b"f", (1, 0, 7))
        found = inspection.policy(self.broker, self.peer, b"f", START)
        self.assertEqual(found["maxqueue"], {"high": 1, "normal": 0, "low": 7})
        self.assertEqual((found["paused"], found["room"]), (False, 1))
        self.assertEqual((found["jobs"], found["running"], found["kept"]), (2, 1, 1))
        self.assertEqual((found["bytes"], found["workers"]), (6, 1))
        self.broker.operations.pause(b"f", START)
        found = inspection.policy(self.broker, self.peer, b"f", START)
        self.assertEqual((found["paused"], found["room"]), (True, 0))

    def test_settings(self) -> None:
        chosen = {"prefix": b"H:\xff", "retries": -1, "keep_alive": {"idle": 7, "count": 0}, "level": "ERROR"}
        self.assertEqual(
            inspection.settings(chosen, "memory:"),
            {
                "store": "memory:",
                "prefix": "H:\\xff",
                "retries": -1,
                "keep_alive.idle": 7,
                "keep_alive.count": 0,
                "level": "ERROR",
            },
        )
