"""Tests of L{txgear.server.clientrequests} and L{txgear.server.guard}: jobs that a client may not know of."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Peer
from txgear.broker.rights import SEE, SUBMIT, WORK
from txgear.protocol.constants import (
    CAN_DO,
    GET_STATUS,
    GET_STATUS_UNIQUE,
    GRAB_JOB,
    LOGGED_IN,
    LOGIN,
    STATUS_RES,
    STATUS_RES_UNIQUE,
    SUBMIT_JOB,
    WORK_COMPLETE,
    WORK_FAIL,
)
from txgear.protocol.packets import request, response
from txgear.security.access import Access
from txgear.test.server.test_guard import OPS, SECRETS, WEB, GuardTestCase, rule
from txgear.test.support.broker import FakeRights
from txgear.test.support.server import HANDLES, ServerFixture, created

NOTHING = (b"0", b"0", b"0", b"0")
QUEUED = (b"1", b"0", b"0", b"0")


class StatusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.client, self.asker = self.fixture.connect(), self.fixture.connect()
        self.peer.rights = self.rights = FakeRights()

    @property
    def peer(self) -> Peer:
        return self.asker.protocol.peer

    def submit(self, function: bytes) -> None:
        """A client waits for a job with the unique C{u}."""
        self.client.tell(request(SUBMIT_JOB, function, b"u", b""))

    def check_unique(self, *answer: bytes) -> None:
        self.assertEqual(
            self.asker.ask(request(GET_STATUS_UNIQUE, b"u")), response(STATUS_RES_UNIQUE, b"u", *answer)
        )

    def test_by_handle(self) -> None:
        """One that may not be known is unknown, in whatever form it is asked for."""
        self.submit(b"f")
        for denied, columns in (((), QUEUED), (((SEE, b"f"),), NOTHING), (((SEE, b"g"),), QUEUED)):
            self.rights.denied = set(denied)
            for handle in (b"H:test:1", b"127.0.0.1:4730//H:test:1"):
                answer = self.asker.ask(request(GET_STATUS, handle))
                self.assertEqual(answer, response(STATUS_RES, handle, *columns))

    def test_by_unique(self) -> None:
        """Several functions may have it: the newest counts of those that may be known."""
        self.check_unique(*NOTHING, b"0")
        self.submit(b"f")
        self.check_unique(*QUEUED, b"1")
        self.rights.denied = {(SEE, b"f")}
        self.check_unique(*NOTHING, b"0")
        for _ in range(2):
            self.submit(b"g")
        self.check_unique(*QUEUED, b"2")
        self.submit(b"h")
        self.check_unique(*QUEUED, b"1")
        self.rights.denied = {(SEE, b"h")}
        self.check_unique(*QUEUED, b"2")
        self.rights.denied = {(SEE, name) for name in (b"f", b"g", b"h")}
        self.check_unique(*NOTHING, b"0")


class JoinedTests(GuardTestCase):
    """Clients of one job, of whom one may not know of it any more."""

    def test_after_a_reload(self) -> None:
        web, ops, worker = self.connect("web"), self.connect("ops"), self.connect("ops")
        wait = request(SUBMIT_JOB, b"mail.send", b"u", b"")
        for client in (web, ops):
            self.assertEqual(client.ask(wait), created(1))
        self.replace(Access([WEB, OPS], (rule("web", SUBMIT), rule("ops", WORK))))
        self.assertEqual(ops.heard(), response(WORK_FAIL, HANDLES[1]))
        worker.tell(request(CAN_DO, b"mail.send"), request(GRAB_JOB))
        worker.tell(request(WORK_COMPLETE, HANDLES[1], b"done"))
        self.assertEqual(ops.heard(), b"")
        self.assertEqual(web.heard(), response(WORK_COMPLETE, HANDLES[1], b"done"))

    def test_somebody_else_by_now(self) -> None:
        """What a client has submitted before it logged in anew is its own."""
        client = self.connect("ops")
        self.assertEqual(client.ask(request(SUBMIT_JOB, b"pay", b"", b"")), created(1))
        self.assertEqual(client.ask(request(LOGIN, SECRETS["web"])), response(LOGGED_IN, b"web"))
        self.assertEqual(len(client.protocol.peer.attached), 1)
