"""
Tests of L{txgear.server.clientrequests} with a store that alone has nearly all jobs: answers of a connection
stay in order, whatever the store is asked for them.
"""

from __future__ import annotations

from txgear.broker.rights import SEE
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    GET_STATUS,
    GET_STATUS_UNIQUE,
    GRAB_JOB,
    JOB_ASSIGN,
    JOB_CREATED,
    STATUS_RES,
    STATUS_RES_UNIQUE,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    WORK_COMPLETE,
)
from txgear.protocol.packets import request, response
from txgear.test.support.broker import FakeRights
from txgear.test.support.net import error
from txgear.test.support.server import HANDLES, DurableServerTestCase, created, submit

ECHO = request(ECHO_REQ, b"x")
ECHOED = response(ECHO_RES, b"x")
FOREGROUND = request(SUBMIT_JOB, b"f", b"u", b"w")
BACKGROUND = request(SUBMIT_JOB_BG, b"f", b"u", b"w")
NOT_READ = error(b"NOT_READ", b"The store does not answer")


def status(handle: bytes, known: bool) -> bytes:
    return response(STATUS_RES, handle, b"%d" % known, b"0", b"0", b"0")


def status_unique(unique: bytes, known: bool, clients: int = 0) -> bytes:
    return response(STATUS_RES_UNIQUE, unique, b"%d" % known, b"0", b"0", b"0", b"%d" % clients)


class RowsTestCase(DurableServerTestCase):
    """Job 1 is in memory, the first of its lane; job 2 with the unique C{u} is not."""

    def begin(self, **choices: object) -> None:
        super().begin(queue_memory=0, **choices)
        self.other.tell(submit(), submit(unique=b"u"))
        self.thread.run_all()
        self.assertEqual(self.other.heard(), created(1, 2))
        self.store.take()

    def tearDown(self) -> None:
        super().tearDown()
        self.fixture.server.broker.check()

    @property
    def in_memory(self) -> list[int]:
        return sorted(self.fixture.server.broker.table.jobs)


class SubmitTests(RowsTestCase):
    def test_all_answers_are_in_order(self) -> None:
        self.client.tell(
            ECHO,
            submit(b"new"),
            ECHO,
            BACKGROUND,
            ECHO,
            FOREGROUND,
            BACKGROUND,
            request(GET_STATUS_UNIQUE, b"u"),
            request(GET_STATUS, HANDLES[2]),
            ECHO,
        )
        self.assertEqual(self.client.heard(), ECHOED)
        self.thread.run_all()
        self.assertEqual(
            self.client.heard(),
            created(3)
            + ECHOED
            + created(2)
            + ECHOED
            + created(2, 2)
            + status_unique(b"u", True, 1)
            + status(HANDLES[2], True)
            + ECHOED,
        )
        self.assertEqual(self.numbers(), [1, 2, 3])

    def test_packet_by_packet(self) -> None:
        packets = [BACKGROUND, ECHO, FOREGROUND, request(GET_STATUS, HANDLES[2]), ECHO, submit(unique=b"v")]
        for packet in packets:
            self.client.tell(packet)
        self.assertEqual(self.client.heard(), b"")
        self.thread.run_all()
        answers = created(2) + ECHOED + created(2) + status(HANDLES[2], True) + ECHOED
        # Number 3 was the one that was found to be number 2.
        self.assertEqual(self.client.heard(), answers + created(4))

    def test_others_do_not_wait(self) -> None:
        self.client.tell(FOREGROUND)
        self.assert_alive(self.other)
        self.assertEqual(self.client.heard(), b"")

    def test_many_join_it(self) -> None:
        """Those who wait get its result, each once for each submit."""
        clients = [self.fixture.connect() for _ in range(3)]
        for client in clients:
            client.tell(FOREGROUND, BACKGROUND, FOREGROUND)
        self.thread.run_all()
        for client in clients:
            self.assertEqual(client.heard(), created(2, 2, 2))
        self.assertEqual(self.numbers(), [1, 2])
        self.other.tell(request(CAN_DO, b"f"))
        self.thread.run_all()
        for number in (1, 2):
            self.assertEqual(
                self.other.ask(request(GRAB_JOB)), response(JOB_ASSIGN, HANDLES[number], b"f", b"w")
            )
            self.other.tell(request(WORK_COMPLETE, HANDLES[number], b"r"))
            self.thread.run_all()
        for client in clients:
            self.assertEqual(client.heard(), response(WORK_COMPLETE, HANDLES[2], b"r") * 2)

    def test_one_is_let_go_of_again(self) -> None:
        self.client.tell(BACKGROUND)
        self.thread.run_all()
        self.assertEqual(self.in_memory, [1, 2])
        self.clock.advance(0)
        self.assertEqual(self.in_memory, [1])

    def test_its_client_goes(self) -> None:
        self.client.tell(FOREGROUND, BACKGROUND)
        self.client.leave()
        self.run_on(1)
        self.assertEqual((self.in_memory, self.numbers()), ([1], [1, 2]))

    def test_who_may_not_know_of_it(self) -> None:
        peer = self.client.protocol.peer
        peer.tenant = self.fixture.server.broker.tenants.get("eve")
        peer.rights = FakeRights((SEE, b"f"))
        third = self.fixture.connect()
        self.client.tell(FOREGROUND, ECHO)
        third.tell(FOREGROUND)
        self.client.tell(BACKGROUND)
        denied: list[str] = []
        self.fixture.server.broker.lookups.denied = lambda peer, error: denied.append(error.text)
        self.thread.run_all()
        refusal = error(b"ACCESS_DENIED", denied[0].encode())
        self.assertEqual(self.client.heard(), refusal + ECHOED + refusal)
        self.assertEqual((third.heard(), len(denied)), (created(2), 1))
        peer.tenant = peer.rights = None

    def test_the_store_does_not_answer(self) -> None:
        self.store.fail("rows", StoreUnavailable("it is away"), times=100)
        self.store.fail("open", StoreUnavailable("it is away"), times=100)
        self.client.tell(FOREGROUND, ECHO, BACKGROUND, ECHO)
        self.thread.run_all()
        self.clock.advance(0.1)
        for _ in range(200):
            self.clock.advance(0.1)
            self.thread.run_all()
        heard = self.client.heard()
        self.assertEqual(heard.count(b"QUEUE_ERROR"), 2)
        self.assertEqual(heard.count(ECHOED), 2)
        self.assertNotIn(response(JOB_CREATED, b"")[:8], heard)
        self.assertEqual((self.in_memory, self.numbers()), ([1], [1, 2]))
        self.store.mend()


class StatusTests(RowsTestCase):
    def test_of_a_row(self) -> None:
        self.client.tell(request(GET_STATUS, HANDLES[2]), ECHO)
        self.assertEqual(self.client.heard(), b"")
        self.thread.run_all()
        self.assertEqual(self.client.heard(), status(HANDLES[2], True) + ECHOED)
        self.assertEqual(self.in_memory, [1])

    def test_by_its_unique(self) -> None:
        self.client.tell(request(GET_STATUS_UNIQUE, b"u\0"), ECHO)
        self.assertEqual(self.client.heard(), b"")
        self.thread.run_all()
        self.assertEqual(self.client.heard(), status_unique(b"u", True) + ECHOED)

    def test_who_may_not_know_of_it(self) -> None:
        peer = self.client.protocol.peer
        peer.rights = FakeRights((SEE, b"f"))
        self.client.tell(request(GET_STATUS_UNIQUE, b"u"), request(GET_STATUS, HANDLES[2]))
        self.thread.run_all()
        self.assertEqual(self.client.heard(), status_unique(b"u", False) + status(HANDLES[2], False))
        peer.rights = None

    def test_what_nobody_has_is_not_asked_for(self) -> None:
        self.assertEqual(
            self.client.ask(request(GET_STATUS_UNIQUE, b"v"), request(GET_STATUS_UNIQUE, b"")),
            status_unique(b"v", False) + status_unique(b"", False),
        )
        self.assertEqual(self.client.ask(request(GET_STATUS, HANDLES[9])), status(HANDLES[9], False))
        self.assertEqual(self.store.take(), [])

    def test_a_poll_for_what_is_gone_asks_the_store_once(self) -> None:
        self.client.tell(request(SUBMIT_JOB, b"g", b"", b"w"))
        self.assertEqual(self.client.heard(), created(3))
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"g"), request(GRAB_JOB), request(WORK_COMPLETE, HANDLES[3], b""))
        self.client.heard()
        for asked in (["rows"], [], []):
            self.store.take()
            self.client.tell(request(GET_STATUS, HANDLES[3]))
            self.thread.run_all()
            self.assertEqual(self.client.heard(), status(HANDLES[3], False))
            self.assertEqual(self.store.take(), asked)

    def test_the_store_does_not_answer(self) -> None:
        self.store.fail("rows", StoreRefused("it cannot be read"), times=10)
        self.client.tell(request(GET_STATUS, HANDLES[2]), request(GET_STATUS_UNIQUE, b"u"), ECHO)
        for _ in range(100):
            self.thread.run_all()
            self.clock.advance(0.1)
        self.assertEqual(self.client.heard(), NOT_READ * 2 + ECHOED)
