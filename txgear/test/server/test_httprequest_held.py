"""
Tests for L{txgear.server.httprequest} with a store: what is answered when.
"""

from __future__ import annotations

from typing import Any

from txgear.errors import StoreRefused
from txgear.protocol.constants import MAX_FUNCTION, WORK_COMPLETE
from txgear.server.http import HttpFactory
from txgear.server.outbox import MOST_HELD_BYTES
from txgear.test.support.http import HttpAnswer, HttpPeer, HttpTestCase
from txgear.test.support.journal import NOT_KEPT, FaultyStore
from txgear.test.support.server import DurableServerFixture, created, submit

BACKGROUND = "X-Gearman-Background: true"


class HeldTests(HttpTestCase):
    """Background jobs of a server whose store is called when the test says so."""

    def start(self, **choices: Any) -> None:
        self.store = FaultyStore()
        fixture = self.fixture = DurableServerFixture(self.store, **choices)
        self.journal = fixture.journal
        self.thread = fixture.thread
        self.server, self.clock = fixture.server, fixture.clock
        self.broker = fixture.server.broker
        self.factory = HttpFactory(fixture.server)

    def submit(self, body: bytes = b"x", *headers: str) -> HttpPeer:
        """A background submit that waits for the disk."""
        client = self.connect()
        client.ask("POST", "/f", BACKGROUND, *headers, body=body)
        self.assertEqual(client.heard(), b"")
        return client

    def assert_unavailable(self, answer: HttpAnswer, reason: bytes) -> None:
        self.assertEqual((answer.status, answer.command, answer.body), (503, "ERROR", reason + b"\n"))
        self.assertEqual(answer.headers["Retry-After"], "1")
        self.assertIsNone(answer.headers["X-Gearman-Job-Handle"])

    def test_answered_after_the_commit(self) -> None:
        """202 means that the job is on disk."""
        client = self.submit()
        self.assertEqual(self.store.kept, {})
        self.thread.run()
        answer = client.answer()
        self.assertEqual((answer.status, answer.command, answer.body), (202, "JOB_CREATED", b"H:test:1\n"))
        self.assertEqual(answer.handle, b"H:test:1")
        self.assertEqual(self.store.workloads([1]), {1: b"x"})
        self.assertFalse(client.closed)

    def test_refused(self) -> None:
        """A store that does not take it is a 503 with its reason, and worth another attempt."""
        self.store.too_large = 3
        client = self.submit(b"much")
        self.thread.run()
        self.assert_unavailable(client.answer(), b"A workload of 4 bytes is too large")
        self.assertEqual(self.queued(), [])
        self.assertFalse(client.closed)

    def test_too_late(self) -> None:
        """So is one that does not answer, or is known not to."""
        client = self.submit()
        self.clock.advance(5)
        reason = b"The store has not answered for 5 seconds"
        self.assert_unavailable(client.answer(), reason)
        self.assert_unavailable(self.ask("POST", "/f", BACKGROUND, body=b"x"), reason)
        self.thread.run()
        self.assertEqual(client.heard(), b"")

    def test_other_errors(self) -> None:
        """What has nothing to do with the store is answered at once."""
        self.assertEqual(self.ask("POST", "/" + "f" * (MAX_FUNCTION + 1), BACKGROUND, body=b"").status, 400)

    def test_foreground(self) -> None:
        """A job in the foreground needs no disk."""
        client, worker, handle = self.under_way()
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.answer().body, b"result")
        self.assertEqual(len(self.thread.waiting), 0)

    def test_foreground_that_joins(self) -> None:
        """One that joins a job on its way to the disk gets the result, or hears of the refusal."""
        worker = self.worker()
        for taken in (True, False):
            background = self.submit(b"x", "X-Gearman-Unique: u")
            client = self.connect()
            client.ask("POST", "/f", "X-Gearman-Unique: u", body=b"x")
            if not taken:
                self.store.fail("write", StoreRefused("The disk is full"), times=2)
            self.thread.run()
            if taken:
                self.assertEqual(background.answer().status, 202)
                worker.say(WORK_COMPLETE, worker.grab()[0], b"result")
                self.assertEqual(client.answer().body, b"result")
            else:
                for each in (background, client):
                    self.assert_unavailable(each.answer(), NOT_KEPT)

    def test_one_after_the_other(self) -> None:
        """What was sent ahead waits for the answer before it, however much that is."""
        client = self.connect()
        head = b"POST /f HTTP/1.1\r\nX-Gearman-Background: true\r\nContent-Length: 1\r\n\r\n"
        client.send(b"".join(head + b"%d" % number for number in range(5)))
        for number in range(1, 6):
            self.assertEqual(len(self.queued()), number)
            self.thread.run()
        self.assertEqual([answer.status for answer in client.answers()], [202] * 5)

    def test_a_crowd(self) -> None:
        """That much waits for the disk is no reason to stop a connection that sends no more than one."""
        self.start(queue_memory=0)
        client = self.submit(b"x" * (MOST_HELD_BYTES + 1))
        self.assertEqual(client.transport.producerState, "producing")
        self.thread.run_all()
        self.assertEqual(client.answer().status, 202)
        client.ask("POST", "/f", BACKGROUND, body=b"next")
        self.thread.run_all()
        self.assertEqual(client.answer().status, 202)

    def test_client_leaves(self) -> None:
        """The job of a client that is gone before its answer is kept all the same."""
        client = self.submit()
        client.leave()
        self.thread.run()
        self.assertEqual(client.heard(), b"")
        self.assertEqual(list(self.store.kept), [1])

    def test_other_ports(self) -> None:
        """Both ports share a commit."""
        line = self.fixture.connect()
        first = self.submit()
        line.tell(submit())
        second = self.submit(b"y")
        self.thread.run()
        self.thread.run()
        self.assertEqual([client.answer().handle for client in (first, second)], [b"H:test:1", b"H:test:3"])
        self.assertEqual(line.heard(), created(2))
        self.assertEqual(self.store.sizes, [(1, 0, 0), (2, 0, 0)])

    def test_shutdown(self) -> None:
        """Who waits when the server ends is answered first; only a store that hangs is a reason not to."""
        for hangs in (False, True):
            self.start()
            client = self.submit()
            settled = self.journal.settle()
            if hangs:
                self.clock.advance(5)
            else:
                self.thread.run()
            self.successResultOf(settled)
            self.assertNoResult(self.server.close_connections())
            self.assertEqual(client.answer().status, 503 if hangs else 202)
