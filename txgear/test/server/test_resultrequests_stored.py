"""Tests of L{txgear.server.resultrequests} with jobs and results that only the store has."""

from __future__ import annotations

from typing import Any

from txgear.errors import StoreUnavailable
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    GRAB_JOB_OPTIONS,
    OPTION_REQ,
    SUBMIT_JOB_OPTIONS,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
)
from txgear.protocol.packets import request, response
from txgear.server.resultrequests import BYTES_AT_ONCE, MOST_PENDING
from txgear.test.support.extension import CREATED, ONE, TWO, asked, told
from txgear.test.support.net import error
from txgear.test.support.server import DurableServerTestCase


class StoredTests(DurableServerTestCase):
    """Jobs and results that only the store has."""

    def begin(self, **choices: Any) -> None:
        super().begin(**choices)
        for line in (self.client, self.other):
            line.ask(request(OPTION_REQ, b"txgear-1"))

    def finish(self, result: bytes = b"result") -> None:
        """A background job is done, and its result has come to the store."""
        self.client.tell(request(SUBMIT_JOB_OPTIONS, b"f", b"u", b'{"results":"1h"}', b"w"))
        self.assertEqual(self.client.heard(), b"")
        self.thread.run_all()
        self.assertEqual(self.client.heard(), CREATED)
        self.other.ask(request(CAN_DO, b"f"), request(GRAB_JOB_OPTIONS))
        self.other.tell(request(WORK_DATA, ONE, b"data"), request(WORK_COMPLETE, ONE, result))
        self.run_on(1)
        self.store.take()

    def test_read(self) -> None:
        """The answer comes when the store has answered."""
        self.finish()
        self.assertEqual(self.client.ask(asked()), b"")
        self.assertEqual(self.client.ask(request(ECHO_REQ, b"x")), response(ECHO_RES, b"x"))
        self.thread.run_all()
        self.assertEqual(self.client.heard(), told(b"done", b"4", b"dataresult"))
        self.assertEqual(self.store.take(), ["rows", "results", "workloads"])

    def test_after_a_restart(self) -> None:
        self.finish()
        self.begin()
        self.client.ask(asked(b"", function=b"f", unique=b"u"))
        self.thread.run_all()
        self.assertEqual(self.client.heard(), told(b"done", b"4", b"dataresult"))

    def test_settings_after_a_restart(self) -> None:
        """They are kept with the job, and so is the number of its attempts."""
        self.client.tell(request(SUBMIT_JOB_OPTIONS, b"f", b"", b'{"retries":1,"backoff":0}', b"w"))
        self.thread.run_all()
        self.other.ask(request(CAN_DO, b"f"), request(GRAB_JOB_OPTIONS), request(WORK_FAIL, ONE))
        self.run_on(1)
        self.begin()
        self.other.tell(request(CAN_DO, b"f"))
        self.run_on(1)
        self.assertIn(b'{"attempt":2,', self.other.ask(request(GRAB_JOB_OPTIONS)))
        self.other.tell(request(WORK_EXCEPTION, ONE, b"no"))
        self.assertEqual(self.client.ask(asked()), told(b"dead", b"0", b"no"))

    def test_the_peer_has_gone(self) -> None:
        """Nobody is told, and nothing breaks."""
        self.finish()
        self.client.tell(asked())
        self.client.leave()
        self.thread.run_all()
        self.assertEqual(self.client.heard(), b"")
        self.other.tell(asked(TWO))
        self.thread.run_all()
        self.assertEqual(self.other.heard(), told(b"unknown", handle=TWO))

    def test_the_store_does_not_answer(self) -> None:
        """That is said, with the token: the question may be asked again."""
        refusal = told(b"refused", b"-", b"The result cannot be read at present")
        self.finish()
        self.client.tell(asked())
        # The job is found.
        self.thread.run()
        self.store.fail("results", StoreUnavailable("gone"), times=2)
        self.store.fail("open", StoreUnavailable("gone"), times=2)
        self.thread.run_all()
        self.assertEqual(self.client.heard(), refusal)
        # As long as it does not answer no job is found that it may have.
        refusal = told(b"refused", b"-", b"The store does not answer")
        self.assertEqual(self.client.ask(asked(wait=b"1")), refusal)
        later = b"H:test:4"
        self.assertEqual(self.client.ask(asked(later)), told(b"unknown", handle=later))
        self.run_on(10)
        self.client.tell(asked())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), told(b"done", b"4", b"dataresult"))

    def test_the_store_has_something_else(self) -> None:
        """Somebody has changed it: that is not passed off as the result."""
        self.finish()
        self.store.change_result(1, b"other")
        self.client.tell(asked())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), told(b"refused", b"-", b"The result cannot be read at present"))

    def test_forgotten_while_it_is_read(self) -> None:
        self.finish()
        self.client.tell(asked())
        self.thread.run()
        self.assertTrue(self.fixture.server.broker.operations.forget(ONE))
        self.store.lose_results()
        self.thread.run_all()
        self.assertEqual(self.client.heard(), told(b"unknown"))

    def test_made_room_while_it_is_read(self) -> None:
        """Only that it is done is still known."""
        self.finish()
        self.client.tell(asked())
        self.thread.run()
        self.fixture.server.broker.store_events.result_refused(1)
        self.store.lose_results()
        self.thread.run_all()
        self.assertEqual(self.client.heard(), told(b"done", b"-"))

    def test_too_many_are_read(self) -> None:
        """They count as waits: each brings its result into memory."""
        self.finish()
        self.client.tell(*[asked(token=b"%d" % number) for number in range(MOST_PENDING)])
        why = b"1000 questions of this connection wait already"
        self.assertEqual(self.client.ask(asked()), told(b"refused", b"-", why))
        self.thread.run_all()
        self.assertEqual(self.client.heard().count(b"dataresult"), MOST_PENDING)
        self.client.tell(asked())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), told(b"done", b"4", b"dataresult"))

    def test_large_ones_are_read_in_turn(self) -> None:
        """Others are asked of the store when those have left that it has brought."""
        self.finish(b"r" * (BYTES_AT_ONCE // 2 - len(b"data")))
        self.client.tell(*[asked(token=b"%d" % number) for number in range(3)])
        # The first finds the job, and then two are read.
        self.thread.run()
        self.assertEqual(self.client.heard(), b"")
        self.thread.run()
        self.assertEqual(self.client.heard().count(b"datar"), 2)
        self.thread.run_all()
        self.assertEqual(self.client.heard().count(b"datar"), 0)
        self.run_on(0.01)
        self.assertEqual(self.client.heard().count(b"datar"), 1)

    def test_a_job_that_cannot_be_stored(self) -> None:
        """Who waits for one that is on its way to the disk hears of that, too."""
        self.store.too_large = 0
        self.client.tell(request(SUBMIT_JOB_OPTIONS, b"f", b"u", b"", b"w"))
        self.other.tell(asked(b"", unique=b"u", wait=b"1"))
        self.thread.run_all()
        self.assertEqual(self.client.heard(), error(b"QUEUE_ERROR", b"A workload of 1 bytes is too large"))
        self.assertEqual(self.other.heard(), told(b"failed"))
