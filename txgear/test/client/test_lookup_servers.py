"""
Tests for L{txgear.client}: what it says of a job when one of several servers is
down, and a wait for a job's end at a server that is not the connected one.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from txgear.client import Client, Result
from txgear.errors import JobTimeout, NotConnected
from txgear.stores.memory import MemoryStore
from txgear.testing import MemoryServer
from txgear.worker import WorkerJob


class TwoServersTestCase(SynchronousTestCase):
    """A client of two servers, connected to the first, and a job that the second has."""

    def setUp(self) -> None:
        self.first = MemoryServer()
        self.second = MemoryServer(beside=self.first, store=MemoryStore(), policies={"*": {"results": "1h"}})
        submitter = self.second.client()
        # The handles of both count alike: the job's is one that the first has not given.
        for unique in ("a", "b", "c", "u"):
            self.handle = self.second.result(submitter.submit_background("f", unique=unique))
        self.clients: list[Client] = []
        self.addCleanup(self.stop)
        self.client = self.make_client()

    def make_client(self, **options: Any) -> Client:
        endpoints = [self.first.endpoint, self.second.endpoint]
        client = Client(self.first.clock, endpoints, random=lambda: 0.5, **options)
        self.clients.append(client)
        self.first.result(client.submit_background("connected"))
        return client

    def stop(self) -> None:
        closing = [client.close() for client in self.clients]
        self.first.stop()
        self.second.stop()
        for closed in closing:
            self.successResultOf(closed)
        self.assertEqual([], self.first.clock.getDelayedCalls())

    def work(self) -> None:
        """Let somebody do the job."""

        def do(job: WorkerJob) -> bytes:
            return b"r"

        self.second.worker().register("f", do)
        self.second.advance(1)

    def results(self, **options: Any) -> list[Deferred[Any]]:
        """Asked by handle and by unique."""
        return [self.client.fetch(self.handle, **options), self.client.fetch_unique("u", **options)]


class UnknownTests(TwoServersTestCase):
    def test_one_is_down(self) -> None:
        """It may have the job: that the other does not know it is no answer."""
        self.second.crash()
        for found in self.results():
            self.first.flush()
            self.failureResultOf(found, NotConnected)
        self.second.restart()
        for found in self.results():
            self.first.flush()
            self.assertEqual("pending", self.successResultOf(found).outcome)


class WaitTests(TwoServersTestCase):
    def assert_end_is_heard(self, waiting: list[Deferred[Any]]) -> None:
        for found in waiting:
            self.assertNoResult(found)
        self.work()
        for found in waiting:
            self.assertEqual(Result(self.handle, "done", b"", b"r"), self.successResultOf(found))

    def test_cut(self) -> None:
        """The wait goes on at the same server, whenever the connection goes."""
        waiting = self.results(wait=True)
        for _ in range(3):
            self.first.advance(100)
            self.second.cut()
            self.second.advance(2)
        self.assert_end_is_heard(waiting)

    def test_restarted(self) -> None:
        """A server that is back within connect_timeout is found again."""
        waiting = self.results(wait=True)
        self.first.advance(100)
        self.second.crash()
        self.first.advance(25)
        self.second.restart()
        self.first.advance(5)
        self.assert_end_is_heard(waiting)

    def test_down_at_first(self) -> None:
        self.second.crash()
        waiting = self.results(wait=True)
        self.first.advance(25)
        self.second.restart()
        self.first.advance(5)
        self.assert_end_is_heard(waiting)

    def test_the_connected_one_restarts(self) -> None:
        """The next one knows nothing of the job: the wait goes back to it when it is there again."""
        client = Client(self.first.clock, [self.second.endpoint, self.first.endpoint], random=lambda: 0.5)
        self.clients.append(client)
        waiting = [client.fetch(self.handle, wait=True), client.fetch_unique("u", wait=True)]
        self.first.advance(5)
        self.second.crash()
        self.first.advance(25)
        self.second.restart()
        self.first.advance(5)
        self.assert_end_is_heard(waiting)

    def test_home(self) -> None:
        """The one server that is known to have given the handle is visited again as well."""
        self.first.crash()
        submitted = self.client.submit_background("f")
        self.first.advance(5)
        self.handle = self.successResultOf(submitted)
        self.first.restart()
        self.second.cut()
        self.first.advance(5)
        waiting = [self.client.fetch(self.handle, wait=True)]
        self.first.advance(5)
        self.second.cut()
        self.first.advance(2)
        self.assert_end_is_heard(waiting)

    def test_stays_down(self) -> None:
        """Then it ends, and not with the word of the other."""
        self.client = self.make_client(connect_timeout=10)
        waiting = self.results(wait=True)
        self.first.advance(100)
        self.second.crash()
        self.first.advance(9)
        for found in waiting:
            self.assertNoResult(found)
        self.first.advance(2)
        for found in waiting:
            self.failureResultOf(found, NotConnected)

    def test_ended_in_the_pause(self) -> None:
        """The deadline, a cancel and the end of the client count then as always."""
        late = self.client.fetch(self.handle, wait=True, timeout=100.5)
        cancelled, closed = self.results(wait=True)
        self.first.advance(100)
        self.second.cut()
        self.first.advance(0.5)
        self.failureResultOf(late, JobTimeout)
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertNoResult(closed)
        _ = self.client.close()
        self.failureResultOf(closed, NotConnected)
        self.first.flush()
