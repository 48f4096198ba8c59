"""
Tests of L{txgear.web.api.replies}: what is submitted and is in the store already, where only that has it.
"""

from __future__ import annotations

import json

from txgear.protocol.constants import CAN_DO, GRAB_JOB, JOB_ASSIGN, SUBMIT_JOB_BG, WORK_COMPLETE
from txgear.protocol.packets import request, response
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.web import WebPeer, WebTestCase
from txgear.web.api import copies, results, submit, submitmany

JOBS = "/api/v1/functions/f/jobs"
TWO = b"H:test:2"


class RowTestCase(WebTestCase):
    """Job 1 is in memory, the first of its lane; job 2 with the unique C{u} is not."""

    parts = (copies, results, submit, submitmany)

    def setUp(self) -> None:
        self.use(DurableServerFixture(FaultyStore(), queue_memory=0))
        self.thread = self.fixture.thread
        self.thread.run_all()
        other = self.fixture.connect()
        other.tell(request(SUBMIT_JOB_BG, b"f", b"", b"one"), request(SUBMIT_JOB_BG, b"f", b"u", b"two"))
        self.settle()
        self.assertEqual(list(self.broker.table.jobs), [1])

    def settle(self) -> None:
        for _ in range(5):
            self.thread.run_all()
            self.clock.advance(0)

    def asked(self, path: str, body: bytes = b"", method: str = "POST", **headers: str) -> WebPeer:
        client = self.connect()
        client.ask_web(method, path, headers, body)
        self.settle()
        return client

    def work(self) -> None:
        """All jobs are done."""
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"f"))
        for number, workload in ((1, b"one"), (2, b"two")):
            self.settle()
            worker.heard()
            handle = b"H:test:%d" % number
            self.assertEqual(worker.ask(request(GRAB_JOB)), response(JOB_ASSIGN, handle, b"f", workload))
            worker.tell(request(WORK_COMPLETE, handle, b"done"))
        self.settle()


class FoundTests(RowTestCase):
    def test_a_background_job(self) -> None:
        answer = self.asked(f"{JOBS}?unique=u", b"two").web_answer()
        self.assertEqual(answer.status, 202)
        self.assertEqual((answer.json["handle"], answer.json["joined"]), ("H:test:2", True))
        self.assertEqual(answer.headers["Location"], "/api/v1/jobs/H%3Atest%3A2")

    def test_one_that_is_new(self) -> None:
        answer = self.asked(f"{JOBS}?unique=v", b"two").web_answer()
        self.assertEqual((answer.json["handle"], answer.json["joined"]), ("H:test:3", False))

    def test_one_that_is_new_and_for_which_there_is_no_room(self) -> None:
        """Another function has one with its unique: so the store is asked first."""
        self.broker.operations.limit_function(b"g", (1, 1, 1))
        self.asked("/api/v1/functions/g/jobs", b"one")
        answer = self.asked("/api/v1/functions/g/jobs?unique=u", b"two").web_answer()
        self.assertEqual((answer.status, answer.code), (503, "queue_full"))

    def test_its_result_is_waited_for(self) -> None:
        for background in ("true", "false"):
            self.setUp()
            client = self.asked(f"{JOBS}?unique=u&wait=60&background={background}", b"two")
            self.work()
            answer = client.web_answer()
            self.assertEqual((answer.status, answer.body), (200, b"done"))
            self.assertEqual(answer.headers["Txgear-Handle"], "H:test:2")

    def test_the_time_is_over(self) -> None:
        client = self.asked(f"{JOBS}?unique=u&wait=5&background=false", b"two")
        self.clock.advance(5)
        self.settle()
        answer = client.web_answer()
        self.assertEqual(answer.status, 202)
        self.assertEqual((answer.json["handle"], answer.json["joined"]), ("H:test:2", True))

    def test_many(self) -> None:
        jobs = [{"function": "f", "unique": unique, "workload": "x"} for unique in ("u", "v", "u")]
        client = self.asked(
            "/api/v1/jobs", json.dumps({"jobs": jobs}).encode(), **{"Content-Type": "application/json"}
        )
        found = client.web_answer().json["jobs"]
        self.assertEqual([job["handle"] for job in found], ["H:test:2", "H:test:4", "H:test:2"])
        self.assertEqual([job["joined"] for job in found], [True, False, True])

    def test_a_copy(self) -> None:
        """What is there already is no copy."""
        for unique, handle, joined in (("u", "H:test:2", True), ("v", "H:test:4", False)):
            body = json.dumps({"unique": unique}).encode()
            client = self.asked("/api/v1/jobs/H:test:1/copy", body, **{"Content-Type": "application/json"})
            answer = client.web_answer()
            self.assertEqual((answer.json["handle"], answer.json["joined"]), (handle, joined))
        history = self.broker.table.jobs[1].history
        assert history is not None
        self.assertEqual(history.copies, ("H:test:4",))

    def test_a_result_by_its_unique(self) -> None:
        answer = self.asked("/api/v1/results?unique=u", method="GET").web_answer()
        self.assertEqual((answer.status, answer.json["handle"]), (202, "H:test:2"))
        client = self.asked("/api/v1/results?unique=u&function=f&wait=60", method="GET")
        self.work()
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.body), (200, b"done"))
        self.assertEqual(self.asked("/api/v1/results?unique=u", method="GET").web_answer().status, 404)
