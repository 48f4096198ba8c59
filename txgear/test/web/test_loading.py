"""
Requests for jobs that are in the store only, by whatever way they come.
"""

from __future__ import annotations

from types import ModuleType

from txgear.broker.model import Job, Peer
from txgear.errors import StoreUnavailable
from txgear.protocol.constants import (
    ERROR,
    GET_RESULT,
    GET_STATUS,
    OPTION_REQ,
    RESULT,
    STATUS_RES,
    SUBMIT_JOB_EPOCH,
)
from txgear.protocol.packets import request, response
from txgear.server.turns import Steps
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture, FakePeer
from txgear.test.support.web import WebPeer, WebTestCase
from txgear.web.api import copies, jobacts, jobs
from txgear.web.loading import kept_there
from txgear.web.site import PARTS

ONE = b"H:test:1"
FAR = b"99999999999"
HANDLE = "/api/v1/jobs/H:test:1"

READS = {
    "job": (HANDLE, b'"state":"waiting"'),
    "as it is escaped": ("/api/v1/jobs/H%3Atest%3A1", b'"state":"waiting"'),
    "workload": (f"{HANDLE}/workload", b"load"),
    "result": (f"{HANDLE}/result", b'"state":"waiting"'),
    "page": ("/jobs/H:test:1", b"H:test:1"),
    "form": ("/jobs/H:test:1/edit", b"H:test:1"),
    "line": ("/jobs?q=H:test:1", b""),
    "jobs": ("/api/v1/jobs", b'"handle":"H:test:1"'),
    "those with its unique": ("/api/v1/jobs?unique=u", b'"handle":"H:test:1"'),
    "the page of jobs": ("/jobs", b"H:test:1"),
    "dead": ("/api/v1/dead", b'"jobs":[]'),
    "kept": ("/api/v1/kept", b'"jobs":[]'),
    "the dead set": ("/dead", b"Dead set"),
    "schedules": ("/api/v1/schedules", b"[]"),
}
"""What is asked for, and what stands in the answer."""

ACTS = {
    "cancel": (None, 200),
    "requeue": (None, 200),
    "prioritise": ({"priority": "high"}, 200),
    "move": ({"function": "g"}, 200),
    "copy": ({}, 202),
    "forget": (None, 409),
    "review": ({"review": "r"}, 409),
}
"""Acts of the API with their bodies, and the status of the answer."""

COMMANDS = {
    b"job H:test:1": b"handle\tH:test:1\n",
    b"workload H:test:1": b"workload\tload\n",
    b"result H:test:1": b"ERR NO_RESULT",
    b"cancel job H:test:1": b"OK",
    b"requeue job H:test:1": b"OK",
    b"forget job H:test:1": b"ERR NOT_ENDED",
    b"prioritise job H:test:1 high": b"OK",
    b"move job H:test:1 g": b"OK",
    b"review job H:test:1 r": b"ERR NOT_DEAD",
    b"job H:test:9": b"ERR",
}
"""Text commands, and how their answers begin, or what stands in them."""


class RowTestCase(WebTestCase):
    """A job that is a row: its time is far."""

    parts: tuple[ModuleType, ...] = (copies, jobacts, jobs)

    def setUp(self) -> None:
        self.store = FaultyStore()
        self.begin()
        self.fixture.connect().ask(request(SUBMIT_JOB_EPOCH, b"f", b"u", FAR, b"load"))
        self.thread.run_all()
        self.begin()

    def begin(self) -> None:
        self.use(DurableServerFixture(self.store, queue_memory=0))
        self.thread = self.fixture.thread
        self.thread.run_all()
        self.assertEqual(dict(self.server.broker.table.jobs), {})

    def away(self) -> None:
        """The store does not answer any more."""
        for name in ("open", "write", "rows", "reserve"):
            self.store.fail(name, StoreUnavailable("away"), times=9999)
        self.fixture.connect().ask(request(SUBMIT_JOB_EPOCH, b"f", b"", FAR, b""))
        for _ in range(60):
            self.thread.run_all()
            self.clock.advance(1)
        self.assertIsNotNone(self.fixture.journal.unavailable)

    def settle(self, client: WebPeer) -> None:
        for _ in range(5):
            self.thread.run_all()
            self.clock.advance(0)


class PagesTests(RowTestCase):
    parts = PARTS

    def test_reads(self) -> None:
        for name, (path, wanted) in READS.items():
            with self.subTest(name):
                self.assertEqual(dict(self.server.broker.table.jobs), {})
                client = self.connect()
                client.ask_web("GET", path, {"Accept": "*/*"})
                self.settle(client)
                answer = client.web_answer()
                self.assertIn(answer.status, (200, 202, 303))
                self.assertIn(wanted, answer.body)

    def test_events(self) -> None:
        """Who follows a job keeps it in memory."""
        client = self.connect()
        client.ask_web("GET", "/events?job=H:test:1", {})
        self.settle(client)
        self.assertIn(b"event: job", client.heard())
        self.assertEqual(len(self.server.broker.table.jobs), 1)
        client.leave()

    def test_a_page_that_is_kept_open(self) -> None:
        client = self.connect()
        client.ask_web("GET", "/jobs/H:test:1", {"Accept": "text/event-stream"})
        self.settle(client)
        self.assertIn(b"event: hello", client.heard())
        (job,) = self.server.broker.table.jobs.values()
        self.assertIn(job, self.server.broker.stock.held)
        client.leave()
        self.clock.advance(10)
        self.assertNotIn(job, self.server.broker.stock.held)


class WebTests(RowTestCase):
    def test_lists_where_the_store_does_not_answer(self) -> None:
        self.away()
        self.assertEqual(self.ask("GET", "/api/v1/jobs").code, "not_read")

    def test_acts(self) -> None:
        for act, (body, status) in ACTS.items():
            with self.subTest(act):
                self.setUp()
                client = self.connect()
                client.ask_web("POST", f"{HANDLE}/{act}", {}, body)
                self.settle(client)
                answer = client.web_answer()
                self.assertEqual(answer.status, status, answer.body)

    def test_one_that_there_is_not(self) -> None:
        client = self.connect()
        client.ask_web("GET", "/api/v1/jobs/H:test:999", {})
        self.settle(client)
        self.assertEqual(client.web_answer().code, "unknown_job")

    def test_the_store_does_not_answer(self) -> None:
        self.away()
        answer = self.ask("GET", HANDLE)
        self.assertEqual((answer.status, answer.code, answer.headers["Retry-After"]), (503, "not_read", "1"))

    def test_it_does_not_answer_any_more(self) -> None:
        client = self.connect()
        client.ask_web("GET", HANDLE, {})
        self.assertEqual(client.heard(), b"")
        self.away()
        self.assertEqual(client.web_answer().code, "not_read")

    def test_who_has_gone(self) -> None:
        client = self.connect()
        client.ask_web("POST", f"{HANDLE}/cancel", {})
        client.leave()
        self.settle(client)
        self.assertEqual(len(self.server.broker.table), 1)
        self.assertEqual(self.flushLoggedErrors(), [])


class OtherWaysTests(RowTestCase):
    def test_text_commands(self) -> None:
        for command, wanted in COMMANDS.items():
            with self.subTest(command):
                self.setUp()
                peer = self.fixture.connect()
                peer.tell(command + b"\n", b"version\n")
                self.assertEqual(peer.heard(), b"")
                self.thread.run_all()
                # What follows the command is carried out in a later turn.
                self.clock.advance(0.25)
                answer, _, version = peer.heard().rpartition(b"OK ")
                self.assertIn(wanted, answer)
                self.assertTrue(version)

    def test_a_command_that_the_store_does_not_answer(self) -> None:
        self.away()
        peer = self.fixture.connect()
        self.assertIn(b"ERR NOT_READ", peer.ask(b"job H:test:1\n"))

    def test_lists(self) -> None:
        """Those of all jobs, which take some turns; and pages."""
        for command, wanted in (
            (b"show jobs", b"H:test:1\t0\t0\t1\n.\n"),
            (b"show unique jobs", b"u\n.\n"),
            (b"jobs", b"H:test:1\tf\twaiting\tnormal\t0\t0\t-\tu\n.\n"),
            (b"jobs state=running", b".\n"),
            (b"dead", b".\n"),
            (b"kept", b".\n"),
        ):
            with self.subTest(command):
                peer = self.fixture.connect()
                peer.tell(command + b"\n")
                for _ in range(5):
                    self.clock.advance(0)
                    self.thread.run_all()
                self.clock.advance(0)
                self.assertEqual(peer.heard(), wanted)
                self.assertEqual(dict(self.server.broker.table.jobs), {})

    def test_lists_where_the_store_does_not_answer(self) -> None:
        self.away()
        for command in (b"show jobs", b"jobs"):
            peer = self.fixture.connect()
            peer.tell(command + b"\n")
            for _ in range(5):
                self.clock.advance(0)
                self.thread.run_all()
            self.assertTrue(peer.heard().startswith(b"ERR NOT_READ"))

    def status(self, peer: FakePeer) -> bytes:
        peer.tell(request(GET_STATUS, ONE))
        return peer.heard()

    def test_status(self) -> None:
        peer = self.fixture.connect()
        self.assertEqual(self.status(peer), b"")
        self.thread.run_all()
        self.assertEqual(peer.heard(), response(STATUS_RES, ONE, b"1", b"0", b"0", b"0"))
        self.assertEqual(
            peer.ask(request(GET_STATUS, b"H:test:0")),
            response(STATUS_RES, b"H:test:0", b"0", b"0", b"0", b"0"),
        )

    def test_status_where_the_store_does_not_answer(self) -> None:
        self.away()
        found = self.status(self.fixture.connect())
        self.assertEqual(found, response(ERROR, b"NOT_READ", b"The store does not answer"))

    def asked(self, token: bytes = b"t", wait: bytes = b"0") -> FakePeer:
        peer: FakePeer = self.fixture.connect()
        peer.ask(request(OPTION_REQ, b"txgear-1"))
        peer.tell(request(GET_RESULT, token, ONE, b"", b"", wait))
        return peer

    def test_result(self) -> None:
        peer = self.asked()
        self.assertEqual(peer.heard(), b"")
        self.thread.run_all()
        self.assertEqual(peer.heard(), response(RESULT, b"t", ONE, b"pending", b"0", b""))

    def test_a_result_that_is_waited_for(self) -> None:
        peer = self.asked(wait=b"1")
        # The later one with its token takes its place.
        peer.tell(request(GET_RESULT, b"t", ONE, b"", b"", b"1"))
        self.thread.run_all()
        self.assertEqual(peer.heard(), b"")
        self.assertEqual(len(self.server.broker.table.jobs), 1)
        peer.leave()
        self.assertEqual(len(self.server.broker.table.jobs), 0)

    def test_who_waits_for_a_result_has_gone(self) -> None:
        peer = self.asked(wait=b"1")
        peer.leave()
        self.thread.run_all()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_result_where_the_store_does_not_answer(self) -> None:
        self.away()
        self.assertIn(b"refused", self.asked().heard())


class KeptThereTests(RowTestCase):
    def test_until_they_are_let_go_of(self) -> None:
        found: list[Job] = []

        def steps() -> Steps:
            release = yield from kept_there(self.server, Peer(1, "192.0.2.1"), [ONE])
            found.extend(self.server.broker.table.jobs.values())
            release()

        self.server.cooperator.cooperate(steps())
        for _ in range(3):
            self.clock.advance(0)
            self.thread.run_all()
        self.clock.advance(0)
        self.assertEqual([job.number for job in found], [1])
