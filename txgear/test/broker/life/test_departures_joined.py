"""Tests of L{txgear.broker.life.departures}: clients of others' jobs that may not know of them any more."""

from __future__ import annotations

from txgear.broker.model import Job, Peer
from txgear.broker.rights import SEE
from txgear.broker.states import RUNNING
from txgear.protocol.constants import WORK_COMPLETE, WORK_FAIL
from txgear.test.support.broker import BrokerTestCase

UNSEEN = (SEE, b"f")


class JoinedTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.web, self.mail = self.fixture.tenant("web"), self.fixture.tenant("mail")

    def join(self, *clients: Peer) -> Job:
        """They all wait for one job of the first of them."""
        (job,) = {self.fixture.submit(client, b"f", b"u") for client in clients}
        return job

    def lose(self, peer: Peer) -> None:
        """It may not know of C{f} any more."""
        other = self.fixture.tenant("web", UNSEEN)
        peer.rights = other.rights
        self.fixture.leave(other)
        self.broker.departures.leave_unseen(peer, self.fixture.now)

    def bring(self, job: Job) -> None:
        worker = self.fixture.worker(b"f")
        self.assertIs(self.fixture.grab(worker), job)
        self.broker.reports.work_complete(worker, job.handle, b"result", self.fixture.now)

    def test_it_fails_for_them(self) -> None:
        """And for nobody else."""
        job = self.join(self.web, self.mail, self.mail)
        self.lose(self.mail)
        self.assertEqual(self.fixture.heard(self.mail), [(WORK_FAIL, job.handle)])
        self.assertEqual(self.mail.attached, {})
        self.bring(job)
        told = [
            (peer, packet) for peer, packet in self.fixture.outbox.take() if peer in (self.web, self.mail)
        ]
        self.assertEqual(told, [(self.web, (WORK_COMPLETE, job.handle, b"result"))])

    def test_ones_own_do_not(self) -> None:
        """They are their submitter's, whatever else that may see."""
        job = self.join(self.web)
        self.lose(self.web)
        self.bring(job)
        self.assertEqual(self.fixture.heard(self.web), [(WORK_COMPLETE, job.handle, b"result")])

    def test_nor_those_of_functions_that_may_be_known(self) -> None:
        job = self.join(self.web, self.mail)
        self.mail.rights = self.fixture.tenant("web", (SEE, b"g")).rights
        self.broker.departures.leave_unseen(self.mail, self.fixture.now)
        self.assertIn(job, self.mail.attached)

    def test_a_job_that_nobody_else_waits_for(self) -> None:
        """It is given up, like that of a client that leaves, unless it runs."""
        for running in (False, True):
            job = self.join(self.web, self.mail)
            if running:
                self.assertIs(self.fixture.grab(self.fixture.worker(b"f")), job)
            self.fixture.leave(self.web)
            self.lose(self.mail)
            self.assertEqual(self.broker.table.by_handle(job.handle), job if running else None)
            self.assertEqual(job.state == RUNNING, running)
            self.web, self.mail = self.fixture.tenant("web"), self.fixture.tenant("mail")
