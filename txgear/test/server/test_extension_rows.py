"""Tests of L{txgear.server.extension} with jobs that only the store has, asked for by their uniques."""

from __future__ import annotations

from typing import Any

from txgear.broker.rights import SEE
from txgear.errors import StoreRefused
from txgear.protocol.constants import CAN_DO, GRAB_JOB, OPTION_REQ, SUBMIT_JOB_BG, WORK_COMPLETE
from txgear.protocol.packets import request
from txgear.test.server.test_extension import ONE, TWO, asked, told
from txgear.test.support.broker import FakeRights
from txgear.test.support.server import DurableServerTestCase, submit


class RowsTests(DurableServerTestCase):
    """Job 1 is in memory, the first of its lane; job 2 with the unique C{u} is not."""

    def begin(self, **choices: Any) -> None:
        super().begin(queue_memory=0, **choices)
        self.client.ask(request(OPTION_REQ, b"txgear-1"))
        self.other.tell(submit(), submit(unique=b"u"))
        self.thread.run_all()
        self.other.heard()
        self.store.take()

    def ask(self, function: bytes = b"", wait: bytes = b"0") -> bytes:
        self.client.tell(asked(b"", function=function, unique=b"u", wait=wait))
        self.assertEqual(self.client.heard(), b"")
        self.thread.run_all()
        return self.client.heard()

    def test_it_has_not_ended(self) -> None:
        for function in (b"", b"f"):
            self.assertEqual(self.ask(function), told(b"pending", b"0", handle=TWO))
        self.assertEqual(self.ask(b"g"), told(b"unknown", b"0", handle=b""))
        self.assertEqual(list(self.fixture.server.broker.table.jobs), [1])

    def test_its_end_is_waited_for(self) -> None:
        self.assertEqual(self.ask(wait=b"1"), b"")
        self.other.tell(request(CAN_DO, b"f"))
        for handle in (ONE, TWO):
            self.thread.run_all()
            self.other.tell(request(GRAB_JOB), request(WORK_COMPLETE, handle, b"result"))
        self.assertEqual(self.client.heard(), told(b"done", b"0", b"result", handle=TWO))

    def test_one_that_is_just_submitted(self) -> None:
        """The answer is of the job that it is."""
        self.other.tell(request(SUBMIT_JOB_BG, b"f", b"u", b""))
        self.assertEqual(self.ask(), told(b"pending", b"0", handle=TWO))

    def test_who_may_not_know_of_it(self) -> None:
        self.client.protocol.peer.rights = FakeRights((SEE, b"f"))
        self.assertEqual(self.ask(), told(b"unknown", b"0", handle=b""))
        self.client.protocol.peer.rights = None

    def test_the_store_does_not_answer(self) -> None:
        self.store.fail("rows", StoreRefused("it cannot be read"), times=10)
        self.client.tell(asked(b"", unique=b"u"))
        for _ in range(50):
            self.thread.run_all()
            self.clock.advance(0.1)
        self.assertIn(b"refused", self.client.heard())

    def test_who_asks_goes(self) -> None:
        self.client.tell(asked(b"", unique=b"u"))
        self.client.leave()
        self.thread.run_all()
        self.assertEqual(self.client.heard(), b"")
