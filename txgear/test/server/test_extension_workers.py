"""Tests of L{txgear.server.extension}: workers that say who they are, come back, and are gone."""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import capturedLogs, formatEvent

from txgear.broker.ended.archive import history_of
from txgear.broker.life.absences import GONE_SECONDS
from txgear.broker.states import DELAYED, DONE, RUNNING
from txgear.protocol.constants import (
    CAN_DO,
    GRAB_JOB_OPTIONS,
    JOB_CREATED,
    NO_JOB,
    SUBMIT_JOB,
    WORK_COMPLETE,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_RETRY,
    WORKER_GONE,
    WORKER_HELLO,
    WORKER_WELCOME,
)
from txgear.protocol.hello import Hello
from txgear.protocol.packets import request, response
from txgear.test.support.extension import ONE, TWO, ExtensionTestCase
from txgear.test.support.net import error
from txgear.test.support.server import FakePeer

KEY = "0123456789abcdef" * 2
ALONE = response(WORKER_WELCOME, b'{"grace":10.0,"held":[]}')


def hello(key: str = KEY, jobs: dict[bytes, int] | None = None, **about: Any) -> bytes:
    return request(WORKER_HELLO, Hello(key, jobs=jobs or {}, **about).to_bytes())


class HelloTests(ExtensionTestCase):
    def test_welcome(self) -> None:
        self.assertEqual(self.worker.ask(hello()), ALONE)

    def test_what_is_shown_of_it(self) -> None:
        """The key is not."""
        self.worker.ask(
            hello(id="images-3", host="vm", pid=7, version="txgear 0.1.0", group="images", started=2.5)
        )
        about = self.worker.protocol.peer.about
        assert about is not None
        self.assertEqual(
            (about.id, about.host, about.pid, about.version), ("images-3", "vm", 7, "txgear 0.1.0")
        )
        self.assertEqual((about.group, about.started), ("images", 2.5))

    def test_it_comes_back_to_its_job(self) -> None:
        self.worker.ask(hello())
        self.run_job()
        self.worker.leave()
        self.assertEqual(self.job().state, RUNNING)
        self.fixture.clock.advance(9.9)
        again = self.extended()
        welcome = response(WORKER_WELCOME, b'{"grace":10.0,"held":["H:test:1"]}')
        self.assertEqual(again.ask(hello(jobs={ONE: 1, TWO: 1})), welcome)
        job = self.job()
        self.assertEqual(again.ask(request(WORK_COMPLETE, ONE, b"r")), b"")
        self.assertEqual(job.state, DONE)

    def test_it_comes_too_late(self) -> None:
        self.worker.ask(hello())
        self.run_job()
        self.worker.leave()
        self.fixture.clock.advance(10)
        again = self.extended()
        self.assertEqual(again.ask(hello(jobs={ONE: 1})), ALONE)
        again.ask(request(CAN_DO, b"f"))
        self.assertNotEqual(again.ask(request(GRAB_JOB_OPTIONS)), response(NO_JOB))

    def test_the_operator_may_give_less_or_no_time(self) -> None:
        self.begin(worker_grace=0.0)
        self.assertEqual(self.worker.ask(hello()), response(WORKER_WELCOME, b'{"grace":0.0,"held":[]}'))
        self.run_job()
        self.worker.leave()
        self.assertNotEqual(self.job().state, RUNNING)

    def test_another_connection_takes_the_place_of_the_first(self) -> None:
        self.worker.ask(hello())
        self.run_job()
        again = self.extended()
        with capturedLogs() as logged:
            again.ask(hello(jobs={ONE: 1}))
        (line,) = [formatEvent(event) for event in logged]
        self.assertIn("the worker has another connection now; this one is closed", line)
        self.assertNotIn(KEY, line)
        self.assertTrue(self.worker.closed)
        self.worker.leave()
        self.assertIs(self.job().worker, again.protocol.peer)

    def test_what_is_no_hello(self) -> None:
        for data, text in (
            (b"", b"The hello is not JSON in UTF-8"),
            (b"{}", b"key: 32 hexadecimal digits are wanted, in small letters"),
            (json.dumps({"key": KEY, "jobs": 1}).encode(), b"jobs: a list is wanted"),
        ):
            self.assertEqual(self.worker.ask(request(WORKER_HELLO, data)), error(b"INVALID_ARGUMENT", text))
        self.assertIsNone(self.worker.protocol.peer.about)

    def test_it_comes_once(self) -> None:
        """The second changes nothing."""
        self.worker.ask(hello(id="first"))
        refused = error(b"INVALID_ARGUMENT", b"A worker says hello once on a connection")
        self.assertEqual(self.worker.ask(hello(id="second")), refused)
        about = self.worker.protocol.peer.about
        self.assertEqual(about and about.id, "first")

    def test_what_only_a_server_says(self) -> None:
        refused = error(b"INVALID_COMMAND", b"Command not expected")
        self.assertEqual(self.worker.ask(request(WORKER_WELCOME, b"{}")), refused)


class GoneTests(ExtensionTestCase):
    def setUp(self) -> None:
        self.begin({"f": {"retries": 2, "backoff": 0}})
        self.worker.ask(hello())
        self.run_job()

    def attempts(self) -> list[tuple[str, str]]:
        history = self.job().history
        assert history is not None
        return [(attempt.reason, attempt.text) for attempt in history.attempts]

    def tell(self, words: bytes = b"killed", key: str = KEY) -> bytes:
        return self.client.ask(request(WORKER_GONE, key.encode(), words))

    def test_its_attempt_ends_with_that_reason(self) -> None:
        self.assertEqual(self.tell(b"took 3 GB, and 2 GB is its bound"), b"")
        self.assertEqual(self.job().state, RUNNING)
        self.worker.leave()
        self.assertEqual(self.attempts(), [("lost", "took 3 GB, and 2 GB is its bound")])

    def test_its_connection_is_closed(self) -> None:
        self.tell()
        self.fixture.clock.advance(GONE_SECONDS)
        self.assertEqual(self.attempts(), [("lost", "killed")])
        self.assertTrue(self.worker.closed)
        self.worker.leave()

    def test_long_words_are_cut(self) -> None:
        self.worker.leave()
        self.tell(b"x" * 100_000)
        ((_, text),) = self.attempts()
        self.assertTrue(text.endswith("x..."))

    def test_a_key_that_is_unknown(self) -> None:
        self.assertEqual(self.tell(key="f" * 32), b"")
        self.assertEqual(self.job().state, RUNNING)

    def test_what_is_no_key(self) -> None:
        refused = error(b"INVALID_ARGUMENT", b"key: 32 hexadecimal digits are wanted, in small letters")
        for key in (b"", b"x", KEY.upper().encode(), b"\xff" * 32):
            self.assertEqual(self.client.ask(request(WORKER_GONE, key, b"")), refused)


class RetryTests(ExtensionTestCase):
    def setUp(self) -> None:
        self.begin({"f": {"retries": 1, "backoff": 1}})
        self.run_job()

    def retry(self, seconds: bytes, line: FakePeer | None = None) -> bytes:
        return (line or self.worker).ask(request(WORK_RETRY, ONE, seconds, b"busy"))

    def test_it_is_tried_again_after_that_time(self) -> None:
        job = self.job()
        self.assertEqual(self.retry(b"90.5"), b"")
        self.assertEqual((job.state, job.due), (DELAYED, self.fixture.server.seconds() + 90.5))
        assert job.history is not None
        (attempt,) = job.history.attempts
        self.assertEqual((attempt.reason, attempt.text), ("exception", "busy"))
        self.fixture.clock.advance(90)
        self.assertEqual(self.worker.ask(request(GRAB_JOB_OPTIONS)), response(NO_JOB))
        self.fixture.clock.advance(0.5)
        self.assertIn(ONE, self.worker.ask(request(GRAB_JOB_OPTIONS)))

    def test_no_attempt_is_left(self) -> None:
        job = self.job()
        self.retry(b"0")
        self.worker.ask(request(GRAB_JOB_OPTIONS))
        self.retry(b"5")
        self.assertTrue(job.ended)
        self.assertEqual([attempt.text for attempt in history_of(job).attempts], ["busy", "busy"])

    def test_without_a_policy_it_is_an_exception(self) -> None:
        self.begin()
        self.client.protocol.peer.exceptions = True
        self.worker.ask(request(CAN_DO, b"f"))
        self.assertEqual(self.client.ask(request(SUBMIT_JOB, b"f", b"", b"")), response(JOB_CREATED, ONE))
        self.worker.ask(request(GRAB_JOB_OPTIONS))
        self.retry(b"5")
        self.assertEqual(self.client.heard(), response(WORK_EXCEPTION, ONE, b"busy"))
        self.assertEqual(self.worker.ask(request(WORK_FAIL, ONE)), b"")

    def test_what_is_no_time(self) -> None:
        """The job stays the worker's."""
        refused = error(
            b"INVALID_ARGUMENT", b"seconds: a number is wanted, such as 90 or 0.5, up to ten years"
        )
        for seconds in (b"", b"-1", b"1e3", b"nan", b" 1", b".5", b"1.", b"315360001", b"9" * 400, b"1\n"):
            self.assertEqual(self.retry(seconds), refused)
        self.assertEqual(self.job().state, RUNNING)

    def test_another_worker(self) -> None:
        unknown = error(b"JOB_NOT_FOUND", b"An exception was received for a job that does not exist")
        self.assertEqual(self.retry(b"1", self.client), unknown)
        self.assertEqual(self.job().state, RUNNING)
