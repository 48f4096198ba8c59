"""Tests of L{txgear.server.clientrequests}: the status of jobs that a peer may not know of."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Peer
from txgear.broker.rights import SEE
from txgear.protocol.constants import (
    GET_STATUS,
    GET_STATUS_UNIQUE,
    STATUS_RES,
    STATUS_RES_UNIQUE,
    SUBMIT_JOB,
)
from txgear.protocol.packets import request, response
from txgear.test.support.broker import FakeRights
from txgear.test.support.server import ServerFixture

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
