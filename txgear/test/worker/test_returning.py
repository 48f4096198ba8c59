"""Tests of L{txgear.worker.returning}; L{txgear.test.worker.test_worker_away} has those through a worker."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from txgear.net.servers import Server
from txgear.protocol.packets import Decoder
from txgear.worker.job import WorkerJob
from txgear.worker.returning import Absence


class FakeConnection:
    """
    The connection of jobs that note what they say.

    @ivar said: what was sent.
    """

    welcomed = True

    def __init__(self, limit: int = 100) -> None:
        endpoint = TCP4ClientEndpoint(MemoryReactor(), "localhost", 4730)
        self.server = Server("gear1", endpoint, "")
        self.decoder = Decoder(limit=limit)
        self.said: list[tuple[str, bytes]] = []

    def send(self, *chunks: bytes) -> None:
        self.said.append(("status", b"".join(chunks)))

    def send_part(self, job: WorkerJob, chunks: list[bytes]) -> None:
        self.said.append(("part", b"".join(chunks)))

    def finish(self, job: WorkerJob, chunks: list[bytes]) -> None:
        self.said.append(("last", b"".join(chunks)))

    def beat(self, job: WorkerJob) -> None:
        self.said.append(("beat", job.handle))

    def gathered(self) -> AbstractContextManager[None]:
        return nullcontext()

    def write_gathered(self) -> None:
        """There is nothing to write."""

    def release(self, job: WorkerJob) -> None:
        """It keeps no jobs."""

    def when_caught_up(self, call: object) -> None:
        """It never is."""


class AbsenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.given_up: list[tuple[bytes, str]] = []
        self.absence = Absence(lambda job, why: self.given_up.append((job.handle, why)))
        self.connection = FakeConnection()

    def job(self, handle: bytes, attempt: int = 1) -> WorkerJob:
        job = WorkerJob(FakeConnection(), handle, b"f", b"", b"", b"work")
        job.attempt = attempt
        return job

    def test_nothing(self) -> None:
        self.assertEqual(0, len(self.absence))
        self.assertEqual(({}, set(), []), (self.absence.claims, self.absence.parts, self.absence.running))
        self.assertEqual([], self.absence.deliver(self.connection, {b"H:1"}))

    def test_claims(self) -> None:
        one, two = self.job(b"H:1", 3), self.job(b"H:2")
        two.parts = True
        self.absence.keep(one)
        self.absence.keep_result(two, [b"done"])
        self.assertEqual(2, len(self.absence))
        self.assertEqual({b"H:1": 3, b"H:2": 1}, self.absence.claims)
        self.assertEqual({b"H:2"}, self.absence.parts)
        self.assertEqual([one], self.absence.running)

    def test_held(self) -> None:
        """What has waited is sent; what goes on stays the caller's to connect."""
        one, two, three = map(self.job, (b"H:1", b"H:2", b"H:3"))
        self.absence.keep_result(one, [b"do", b"ne"])
        self.absence.keep(two)
        self.absence.keep(three)
        two.send_part([b"part"])
        two.connection.beat(two)
        two.finish([b"rest"])
        self.assertEqual([three], self.absence.deliver(self.connection, {b"H:1", b"H:2", b"H:3"}))
        self.assertEqual(
            [("last", b"done"), ("part", b"part"), ("last", b"rest"), ("beat", b"H:3")], self.connection.said
        )
        self.assertEqual(0, len(self.absence))

    def test_not_held(self) -> None:
        """Results are forgotten; what goes on is to be given up."""
        one, two, three = map(self.job, (b"H:1", b"H:2", b"H:3"))
        self.absence.keep_result(one, [b"done"])
        self.absence.keep(two)
        self.absence.keep(three)
        three.finish([b"done"])
        self.assertEqual([], self.absence.deliver(self.connection, ()))
        self.assertEqual([], self.connection.said)
        self.assertEqual([two], self.absence.running)
        two.end()
        self.assertEqual(0, len(self.absence))

    def test_given_again(self) -> None:
        """The attempt before has ended, and it is not known whether the server knows that."""
        before, after = self.job(b"H:1", 1), self.job(b"H:1", 2)
        self.absence.keep_result(before, [b"failed"])
        self.absence.keep(after)
        self.assertEqual({b"H:1": 2}, self.absence.claims)
        after.end()
        self.assertEqual({}, self.absence.claims)

    def test_one_that_is_given_up_after_another_was_kept(self) -> None:
        before, after = self.job(b"H:1", 1), self.job(b"H:1", 2)
        self.absence.keep(before)
        self.absence.keep(after)
        before.end()
        self.assertEqual([after], self.absence.running)

    def test_too_much(self) -> None:
        """It is said once, and from then on the job is not offered any more, nor taken back."""
        job = self.job(b"H:1")
        self.absence.keep(job)
        for _ in range(3):
            job.send_part([bytes(60)])
        self.assertEqual(
            [(b"H:1", "what it sends does not fit in memory while gear1 is away")], self.given_up
        )
        self.assertEqual({}, self.absence.claims)
        self.assertEqual([], self.absence.deliver(self.connection, {b"H:1"}))
        job.finish([b"rest"])
        self.assertEqual(0, len(self.absence))

    def test_just_enough(self) -> None:
        job = self.job(b"H:1")
        self.absence.keep(job)
        job.send_part([bytes(60), bytes(40)])
        self.assertEqual([], self.given_up)
