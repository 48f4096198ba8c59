"""
Tests of L{txgear.server.extension} with jobs that only the store has: asked for by their uniques, and claimed
by workers that come back.
"""

from __future__ import annotations

from typing import Any

from txgear.broker.model import Peer
from txgear.broker.rights import SEE
from txgear.errors import StoreRefused
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    GRAB_JOB,
    GRAB_JOB_OPTIONS,
    JOB_ASSIGN_OPTIONS,
    NO_JOB,
    OPTION_REQ,
    SUBMIT_JOB_BG,
    WORK_COMPLETE,
    WORKER_OFFER,
    WORKER_WELCOME,
)
from txgear.protocol.hello import offer
from txgear.protocol.packets import request, response
from txgear.test.server.test_extension_workers import ALONE, hello
from txgear.test.support.broker import FakeRights
from txgear.test.support.extension import ONE, TWO, asked, told
from txgear.test.support.server import HANDLES, DurableServerTestCase, submit

THREE = HANDLES[3]


class RowsTestCase(DurableServerTestCase):
    """Job 1 is in memory, the first of its lane; job 2 with the unique C{u} is not."""

    def begin(self, **choices: Any) -> None:
        super().begin(queue_memory=0, **choices)
        self.client.ask(request(OPTION_REQ, b"txgear-1"))
        self.other.tell(submit(), submit(unique=b"u"))
        self.thread.run_all()
        self.other.heard()
        self.store.take()


class ResultsTests(RowsTestCase):
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


class HelloTests(RowsTestCase):
    """A worker claims job 2, and asks for a job and for an echo in the same breath."""

    def begin(self, **choices: Any) -> None:
        super().begin(worker_grace=10.0, **choices)
        self.client.tell(
            request(CAN_DO, b"f"),
            hello(jobs={TWO: 1}),
            request(GRAB_JOB_OPTIONS),
            request(ECHO_REQ, b"x"),
        )

    def test_the_welcome_comes_first(self) -> None:
        """A worker takes the answer to what it has sent later for a sign that none will come."""
        self.assertEqual(self.client.heard(), b"")
        self.thread.run_all()
        self.clock.advance(0)
        options = b'{"attempt":1,"lease":0,"timeout":0}'
        job = response(JOB_ASSIGN_OPTIONS, ONE, b"f", b"", b"", options, b"w")
        self.assertEqual(self.client.heard(), ALONE + job + response(ECHO_RES, b"x"))

    def test_it_is_not_given_anew_what_it_has(self) -> None:
        """After a restart all that it claims is queued."""
        DurableServerTestCase.begin(self, queue_memory=0, worker_grace=10.0)
        self.client.ask(request(OPTION_REQ, b"txgear-1"))
        self.client.tell(request(CAN_DO, b"f"), hello(jobs={ONE: 1, TWO: 1}), request(GRAB_JOB_OPTIONS))
        self.thread.run_all()
        self.clock.advance(0)
        welcome = response(WORKER_WELCOME, b'{"grace":10.0,"held":["H:test:1","H:test:2"]}')
        self.assertEqual(self.client.heard(), welcome + response(NO_JOB))

    def test_others_do_not_wait(self) -> None:
        self.assert_alive(self.other)

    def test_the_store_does_not_answer(self) -> None:
        """The worker has nothing of it, and goes on."""
        self.store.fail("rows", StoreRefused("it cannot be read"), times=10)
        for _ in range(50):
            self.thread.run_all()
            self.clock.advance(0.1)
        self.assertTrue(self.client.heard().startswith(ALONE))

    def test_it_goes_meanwhile(self) -> None:
        self.client.leave()
        self.thread.run_all()
        self.clock.advance(0)
        broker = self.fixture.server.broker
        self.assertEqual((len(broker.absences), list(broker.peers)), (0, [self.other.protocol.peer]))

    def test_it_has_another_connection_by_then(self) -> None:
        """That one stays."""
        self.client.leave()
        again = self.fixture.connect()
        again.ask(request(OPTION_REQ, b"txgear-1"))
        self.assertEqual(again.ask(hello()), ALONE)
        self.thread.run_all()
        self.clock.advance(0)
        self.assertFalse(again.closed)
        self.assertEqual(len(self.fixture.server.broker.absences), 1)

    def test_the_server_ends_meanwhile(self) -> None:
        closed = self.fixture.server.close_connections()
        for peer in (self.client, self.other):
            self.assertTrue(peer.closed)
            peer.leave()
        self.thread.run_all()
        self.clock.advance(0)
        self.successResultOf(closed)


class OfferTests(RowsTestCase):
    """After a restart a worker has job 1 in hand, and offers job 3."""

    def begin(self, **choices: Any) -> None:
        super().begin(**choices)
        self.other.tell(submit())
        self.thread.run_all()
        DurableServerTestCase.begin(self, queue_memory=0, worker_grace=10.0)
        self.client.tell(request(OPTION_REQ, b"txgear-1"), hello(jobs={ONE: 1}))
        self.thread.run_all()
        self.clock.advance(0)
        self.client.heard()
        self.offer({THREE: 1})

    def offer(self, jobs: dict[bytes, int]) -> None:
        self.client.tell(request(WORKER_OFFER, offer(jobs)))
        self.assertEqual(self.client.heard(), b"")

    def held(self) -> list[bytes]:
        """What the worker has when the store has answered."""
        self.thread.run_all()
        self.fixture.server.broker.check()
        return list(self.peer.running)

    @property
    def peer(self) -> Peer:
        return self.client.protocol.peer

    def test_it_is_taken(self) -> None:
        self.assertEqual(self.held(), [ONE, THREE])
        welcome = response(WORKER_WELCOME, b'{"grace":10.0,"held":["H:test:3"],"offers":true}')
        self.assertEqual(self.client.heard(), welcome)

    def test_it_is_taken_back_meanwhile(self) -> None:
        """Nothing has to be read for an offer of nothing, which so comes first."""
        self.offer({})
        self.assertEqual(self.held(), [ONE])

    def test_the_worker_goes_meanwhile(self) -> None:
        """It is waited for, with what it had then."""
        self.client.leave()
        self.assertEqual(self.held(), [ONE])
        self.assertEqual(self.fixture.server.broker.absences.offered, [])
