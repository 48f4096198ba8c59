"""Tests of L{txgear.cluster.asking}, and of what peers hear who ask for the status of jobs of others."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail

from txgear.cluster.asking import STATUS_SECONDS
from txgear.cluster.exchange import DOUBT_SECONDS, MOST_ORDERS
from txgear.daemon.config import parse_config
from txgear.errors import ServerError
from txgear.journal.link import LAST_RETRY
from txgear.protocol.constants import (
    ECHO_REQ,
    ECHO_RES,
    ERROR,
    GET_RESULT,
    GET_STATUS,
    GET_STATUS_UNIQUE,
    OPTION_REQ,
    STATUS_RES,
    STATUS_RES_UNIQUE,
    WORK_COMPLETE,
    WORK_STATUS,
)
from txgear.protocol.packets import request, response
from txgear.server.elsewhere import COMMAND, DOUBT, PATIENCE
from txgear.test.support.cluster import LEASE, SIZE
from txgear.test.support.orders import OrdersTestCase, handle, status


class StatusTests(OrdersTestCase):
    def test_one_that_is_queued(self) -> None:
        self.submit()
        self.assertEqual(self.ask(request(GET_STATUS, handle(1))), status(1, 1, 0, 0, 0))
        self.assertEqual(self.rows(), 0)

    def test_one_that_runs(self) -> None:
        self.submit()
        self.grab().tell(request(WORK_STATUS, handle(1), b"3", b"4"))
        self.assertEqual(self.ask(request(GET_STATUS, handle(1))), status(1, 1, 1, 3, 4))

    def test_by_its_unique(self) -> None:
        self.submit(unique=b"u")
        self.grab()
        self.assertEqual(
            self.ask(request(GET_STATUS_UNIQUE, b"u")),
            response(STATUS_RES_UNIQUE, b"u", b"1", b"1", b"0", b"0", b"0"),
        )
        self.assertEqual(
            self.ask(request(GET_STATUS_UNIQUE, b"v")),
            response(STATUS_RES_UNIQUE, b"v", b"0", b"0", b"0", b"0", b"0"),
        )

    def test_what_is_here_comes_first(self) -> None:
        self.submit(unique=b"u")
        self.grab()
        self.submit(function=b"g", unique=b"u", node=self.b)
        self.assertEqual(
            self.ask(request(GET_STATUS_UNIQUE, b"u"), 0),
            response(STATUS_RES_UNIQUE, b"u", b"1", b"0", b"0", b"0", b"0"),
        )

    def test_what_nobody_has(self) -> None:
        self.submit()
        for number in (7, SIZE + 7, 50 * SIZE, 10**18 - 1, 10**18, 10**40):
            self.assertEqual(self.ask(request(GET_STATUS, handle(number))), status(number, 0, 0, 0, 0))
        other = response(STATUS_RES, b"H:other:1", *[b"0"] * 4)
        self.assertEqual(self.ask(request(GET_STATUS, b"H:other:1")), other)
        self.assertEqual(self.world.database.orders, {})

    def test_one_that_has_ended(self) -> None:
        self.submit()
        self.grab().tell(request(WORK_COMPLETE, handle(1), b""))
        self.world.run(0.2)
        self.assertEqual(self.ask(request(GET_STATUS, handle(1))), status(1, 0, 0, 0, 0))

    def test_one_that_ends_meanwhile(self) -> None:
        self.submit()
        worker = self.grab()
        self.client.tell(request(GET_STATUS, handle(1)))
        worker.tell(request(WORK_COMPLETE, handle(1), b""))
        self.assertEqual(self.ask(b""), status(1, 0, 0, 0, 0))

    def test_answers_keep_their_order(self) -> None:
        self.submit()
        heard = self.ask(request(GET_STATUS, handle(1)) + request(ECHO_REQ, b"x"))
        self.assertEqual(heard, status(1, 1, 0, 0, 0) + response(ECHO_RES, b"x"))

    def test_of_one_job_there_is_one_order(self) -> None:
        self.submit()
        self.client.tell(request(GET_STATUS, handle(1)) * 1000)
        self.world.run(0.1)
        self.assertEqual(len(self.world.database.orders), 1)
        self.assertEqual(self.ask(b""), status(1, 1, 0, 0, 0) * 1000)
        self.assertEqual(self.ask(request(GET_STATUS, handle(1))), status(1, 1, 0, 0, 0))

    def test_too_many(self) -> None:
        """The first is asked for at once, and then all that have come meanwhile."""
        self.b.thread.until_done = 1.5
        asked = b"".join(
            request(GET_STATUS, handle(number)) for number in range(9 * SIZE, 9 * SIZE + MOST_ORDERS + 10)
        )
        self.ask(asked, 1.4)
        self.b.thread.until_done = 0.0
        heard = self.ask(b"")
        self.assertEqual(heard.count(b"H:test:"), MOST_ORDERS + 1)
        self.assertEqual(heard.count(b"TOO_MANY_ORDERS"), 9)
        self.assertEqual(self.ask(request(GET_STATUS, handle(1))), status(1, 0, 0, 0, 0))

    def test_whose_server_does_not_answer(self) -> None:
        self.submit()
        self.grab()
        self.a.freeze()
        self.assertEqual(self.ask(request(GET_STATUS, handle(1)), STATUS_SECONDS), b"")
        self.assertEqual(self.ask(b"", 0.4), status(1, 1, 0, 0, 0))
        self.assertEqual(self.rows(), 0)

    def test_without_a_store(self) -> None:
        self.submit()
        self.b.store.is_cut = True
        heard = self.ask(request(GET_STATUS, handle(1)))
        self.assertEqual(heard, response(ERROR, b"NOT_READ", b"The store does not answer"))

    def test_the_store_fails_as_it_is_asked_for(self) -> None:
        """A question leaves nobody in doubt, whether it was heard or not."""
        self.submit()
        self.assertEqual(self.ask(request(GET_STATUS, handle(1)), 0.0), b"")
        self.b.thread.until_done = 0.1
        self.world.run(0.15)
        self.b.store.faults.append("exchange")
        heard = self.ask(b"")
        self.assertEqual(heard, response(ERROR, b"NOT_READ", b"The store does not answer"))

    def test_a_question_that_always_fails(self) -> None:
        """Each has the store opened again: that becomes rare, however many ask. All hear that."""
        self.submit()
        self.b.store.broken.add("exchange")
        opened = self.b.store.opened
        peers = [self.b.connect() for _ in range(60)]
        for peer in peers:
            self.ask(request(GET_STATUS, handle(1)), 1.0, peer)
        self.world.run(LAST_RETRY)
        self.assertLess(self.b.store.opened - opened, 60 / LAST_RETRY + 8)
        refused = response(ERROR, b"NOT_READ", b"The store does not answer")
        self.assertLessEqual({peer.heard() for peer in peers}, {refused, b""})
        self.b.store.broken.clear()
        self.world.run(LAST_RETRY)
        self.assertEqual(self.ask(request(GET_STATUS, handle(1))), status(1, 1, 0, 0, 0))

    def test_it_is_taken_over_meanwhile(self) -> None:
        self.submit()
        self.a.kill()
        self.world.run(LEASE + 2)
        self.assertEqual(self.ask(request(GET_STATUS, handle(1))), status(1, 1, 0, 0, 0))

    def test_whoever_may_not_know_of_it(self) -> None:
        rules = """
            [[access]]
            identities = ["nobody"]
            allow = ["submit", "see"]
            functions = ["mine.*"]
        """
        self.b.server.guard.replace(parse_config(rules, "test").access)
        self.submit(unique=b"u")
        self.submit(function=b"mine.f", unique=b"v")
        self.assertEqual(self.ask(request(GET_STATUS, handle(1))), status(1, 0, 0, 0, 0))
        self.assertEqual(self.ask(request(GET_STATUS, handle(2))), status(2, 1, 0, 0, 0))
        for unique, known in ((b"u", b"0"), (b"v", b"1")):
            self.assertEqual(
                self.ask(request(GET_STATUS_UNIQUE, unique)),
                response(STATUS_RES_UNIQUE, unique, known, *[b"0"] * 4),
            )


class AskingTests(OrdersTestCase):
    """What else may come between."""

    def setUp(self) -> None:
        super().setUp()
        self.asking = self.b.member.elsewhere
        self.peer = self.client.protocol.peer

    def pass_on(self, number: int = 1, wait: float | None = 0.0) -> Deferred[list[bytes] | None]:
        return self.asking.pass_on(
            handle(number), self.peer, COMMAND, [b"job %b" % handle(number)], wait=wait
        )

    def code(self, failed: Deferred[Any]) -> str:
        return str(self.failureResultOf(failed, ServerError).value.code)

    def test_the_store_fails_as_an_order_is_given(self) -> None:
        """It may be there all the same, and is taken back."""
        self.submit()
        passed = self.pass_on()
        self.b.thread.until_done = 0.1
        self.world.run(0.05)
        self.b.store.faults.append("exchange")
        self.world.run(1)
        error = self.failureResultOf(passed, ServerError).value
        self.assertEqual((error.code, error.text), ("NOT_READ", f"The store does not answer{DOUBT}"))
        self.world.run(1)
        self.assertEqual(self.world.database.orders, {})

    def test_an_order_that_is_there_all_the_same(self) -> None:
        """It is carried out before it can be taken back: whoever has given it is told that this may be."""
        self.submit()
        passed = self.asking.pass_on(handle(1), self.peer, COMMAND, [b"cancel job %b" % handle(1)])
        self.b.thread.until_done = 0.1
        self.world.run(0.05)
        self.b.store.faults.append("exchange")
        self.world.run(0.2)
        self.b.store.is_cut = True
        self.world.run(1)
        self.assertEqual(self.a.server.broker.table.jobs, {})
        self.assertIn(DOUBT, self.failureResultOf(passed, ServerError).value.text)

    def test_an_order_that_is_never_sent(self) -> None:
        """The store is known to be away: that nothing is done is for sure."""
        self.b.store.is_cut = True
        self.world.run(3)
        asked = self.asking.ask(self.asking.others()[0], self.peer, COMMAND, [b"purge f"])
        self.world.run(0.1)
        error = self.failureResultOf(asked, ServerError).value
        self.assertEqual((error.code, error.text), ("NOT_READ", "The store does not answer"))
        self.b.store.is_cut = False
        self.world.run(3)
        self.assertEqual(self.world.database.orders, {})

    def test_the_store_fails_for_long(self) -> None:
        self.submit()
        passed = self.pass_on()
        self.a.freeze()
        self.world.run(0.1)
        self.b.store.is_cut = True
        self.world.run(PATIENCE + DOUBT_SECONDS - 0.5)
        self.assertNoResult(passed)
        self.world.run(1)
        self.assertIn("not known", self.failureResultOf(passed, ServerError).value.text)

    def test_a_result_that_cannot_be_read(self) -> None:
        self.keep_results()
        self.submit()
        self.grab().tell(request(WORK_COMPLETE, handle(1), b"done"))
        self.world.run(0.3)
        found = self.asking.result(handle(1), self.peer)
        self.b.thread.until_done = 0.1
        self.world.run(0.05)
        self.b.store.faults += ["exchange", "exchange"]
        self.world.run(1)
        self.assertEqual(self.code(found), "NOT_READ")

    def test_a_result_that_is_not_whole(self) -> None:
        self.keep_results(bytes=3)
        self.submit()
        self.grab().tell(request(WORK_COMPLETE, handle(1), b"done"))
        self.world.run(0.3)
        found = self.asking.result(handle(1), self.peer)
        self.world.run(0.3)
        self.assertIsNone(self.successResultOf(found))

    def test_it_ends_while_a_result_is_read(self) -> None:
        self.keep_results()
        self.submit()
        self.grab().tell(request(WORK_COMPLETE, handle(1), b"done"))
        self.world.run(0.3)
        found = self.asking.result(handle(1), self.peer)
        self.b.member.stop()
        self.world.run(0.3)
        self.assertEqual(self.code(found), "NOT_ANSWERED")
        self.assertEqual(self.code(self.asking.status_of_unique(b"u", lambda function: True)), "NOT_ANSWERED")

    def test_nobody_waits_any_more(self) -> None:
        self.submit()
        early, late = self.pass_on(), self.pass_on()
        early.cancel()
        self.failureResultOf(early, CancelledError)
        self.a.freeze()
        self.world.run(0.2)
        self.assertEqual(len(self.world.database.orders), 1)
        late.cancel()
        self.failureResultOf(late, CancelledError)
        self.world.run(0.2)
        self.assertEqual(self.world.database.orders, {})

    def test_many_that_wait(self) -> None:
        self.submit()
        passed = [self.pass_on(wait=None) for _ in range(MOST_ORDERS + 1)]
        self.a.freeze()
        self.world.run(0.2)
        self.assertEqual(self.code(passed[-1]), "TOO_MANY_ORDERS")
        found = self.asking.status(handle(1))
        self.world.run(0.2)
        self.assertEqual(self.code(found), "TOO_MANY_ORDERS")
        self.a.thaw()
        self.world.run(8)
        self.assertEqual(len([each for each in passed if self.successOf(each)]), MOST_ORDERS)

    @staticmethod
    def successOf(passed: Deferred[list[bytes] | None]) -> bool:  # noqa: N802
        return isinstance(passed.result, list)

    def test_a_defect(self) -> None:
        """It is told, and the connection goes on."""
        self.submit()
        broken: Deferred[Any] = fail(ZeroDivisionError())
        self.patch(self.asking, "status", lambda handle: broken)
        self.patch(self.asking, "pass_on", lambda *_, **__: fail(ZeroDivisionError()))
        self.patch(self.asking, "result", lambda *_: fail(ZeroDivisionError()))
        self.assertIn(b"its log has more", self.ask(request(GET_STATUS, handle(1))))
        self.assertIn(b"its+log+has+more", self.ask(b"job H:test:1\n"))
        self.ask(request(OPTION_REQ, b"txgear-1"))
        self.assertIn(b"its log has more", self.ask(request(GET_RESULT, b"t", handle(1), b"", b"", b"0")))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
