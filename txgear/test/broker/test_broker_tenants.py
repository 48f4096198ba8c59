"""
Tests of L{txgear.broker.broker}: on whose account jobs are, and who may do what.
"""

from __future__ import annotations

from typing import Any

from txgear.broker.model import Job, Peer
from txgear.broker.rights import SEE, SUBMIT, WORK
from txgear.broker.tenants import Quota, Tenant
from txgear.errors import AccessDenied, QueueError
from txgear.policies import Rate
from txgear.protocol.constants import WORK_COMPLETE
from txgear.test.support.broker import BrokerFixture, BrokerTestCase, FakeRights


class AccountTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fixture.quotas(web=Quota())
        self.web = self.broker.tenants.get("web")

    def counts(self) -> tuple[int, int, int, int]:
        return self.web.connections, self.web.queued, self.web.running, self.web.bytes

    def test_counts(self) -> None:
        """They follow the jobs and the peers."""
        client, worker = self.fixture.tenant("web"), self.fixture.worker(b"f")
        first = self.fixture.submit(client, workload=b"abc")
        self.fixture.submit(client, workload=b"defgh", delay=5.0)
        self.assertEqual((first.tenant, self.counts()), (self.web, (1, 2, 0, 8)))
        self.grabbed(worker, first)
        self.assertEqual(self.counts(), (1, 2, 1, 8))
        self.complete(worker, first)
        self.assertEqual(self.counts(), (1, 1, 0, 5))
        self.fixture.leave(client)
        self.assertEqual(self.counts(), (0, 0, 0, 0))

    def test_a_worker_that_is_lost(self) -> None:
        """The job is queued again."""
        client, worker = self.fixture.tenant("web"), self.fixture.worker(b"f")
        self.grabbed(worker, self.fixture.submit(client))
        self.fixture.leave(worker)
        self.assertEqual(self.counts(), (1, 1, 0, 0))

    def test_a_worker_that_may_come_back(self) -> None:
        """It has no connection any more, and is its tenant's all the same, as long as it has a job."""
        self.fixture = BrokerFixture(grace=10.0)
        worker = self.fixture.known_worker("2" * 32, b"f")
        web = self.broker.tenants.get("web")
        self.broker.identify(worker, web)
        job = self.grabbed(worker, self.fixture.submit(None))
        self.fixture.leave(worker)
        self.assertEqual((job.worker, worker.tenant, web.connections), (worker, web, 0))

    def test_who_leaves_while_the_server_ends(self) -> None:
        """It gives its place back all the same."""
        client = self.fixture.tenant("web")
        self.broker.halted = True
        self.fixture.leave(client)
        self.assertEqual((client.tenant, self.web.connections), (None, 0))

    def test_a_peer_becomes_another(self) -> None:
        """Its jobs stay where they are; new ones are the new tenant's."""
        client = self.fixture.tenant("web")
        first = self.fixture.submit(client)
        other = self.broker.tenants.get("other")
        self.broker.identify(client, other)
        second = self.fixture.submit(client)
        self.assertEqual((first.tenant, second.tenant), (self.web, other))
        self.assertEqual((self.counts(), other.connections, other.queued), ((0, 1, 0, 0), 1, 1))

    def test_a_join_changes_nothing(self) -> None:
        """The job is its first submitter's, even if that leaves."""
        first, second = self.fixture.tenant("web"), self.fixture.tenant("other")
        job = self.fixture.submit(first, unique=b"u")
        self.assertIs(self.fixture.submit(second, unique=b"u"), job)
        self.fixture.leave(first)
        self.assertEqual((job.tenant, self.web.queued), (self.web, 1))

    def test_nobodys(self) -> None:
        """A schedule's job, and that of a peer without a name."""
        jobs = [self.fixture.submit(client) for client in (None, self.fixture.connect())]
        self.assertEqual([job.tenant for job in jobs], [None, None])

    def test_the_dead(self) -> None:
        """They count for nothing, and are the tenant's own when they are queued again."""
        self.fixture.set(retries=0)
        client, worker = self.fixture.tenant("web"), self.fixture.worker(b"f")
        job = self.broker.submit(client, b"f", b"", b"abc", self.fixture.now, background=True)
        self.fails(worker, self.grabbed(worker, job))
        self.assertEqual(self.counts(), (1, 0, 0, 0))
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.assertEqual((job.tenant, self.counts()), (self.web, (1, 1, 0, 3)))


class QuotaTests(BrokerTestCase):
    def refusal(self, client: Peer, workload: bytes = b"", **rest: Any) -> str | None:
        try:
            self.fixture.submit(client, workload=workload, **rest)
        except QueueError as error:
            return error.text
        return None

    def test_queued(self) -> None:
        """Of all functions together; others' do not count."""
        self.fixture.quotas(web=Quota(queued=2))
        client, worker = self.fixture.tenant("web"), self.fixture.worker(b"f")
        self.fixture.submit(client, b"g")
        job = self.fixture.submit(client)
        self.fixture.submit(self.fixture.tenant("other"))
        self.assertEqual(self.refusal(client), "web has too many jobs: queued is 2")
        self.assertEqual(self.refusal(client, function=b"h"), "web has too many jobs: queued is 2")
        self.assertNotIn(b"h", self.broker.functions.by_name)
        self.complete(worker, self.grabbed(worker, job))
        self.assertIsNone(self.refusal(client))

    def test_bytes(self) -> None:
        """What would be too much is refused."""
        self.fixture.quotas(web=Quota(bytes=10))
        client = self.fixture.tenant("web")
        self.assertIsNone(self.refusal(client, b"x" * 6))
        self.assertEqual(self.refusal(client, b"x" * 5), "web has too many jobs: bytes is 10")
        self.fixture.quotas()
        self.assertIsNone(self.refusal(client, b"x" * 5))

    def test_submits(self) -> None:
        """Joins count as well."""
        self.fixture.quotas(web=Quota(submits=Rate(1.0, 2)))
        client = self.fixture.tenant("web")
        for said in (None, None, "web submits too fast: submits is 1/s"):
            self.assertEqual(self.refusal(client, unique=b"u"), said)
        self.fixture.pass_time(1.0)
        self.assertIsNone(self.refusal(client))

    def test_a_join_needs_no_room(self) -> None:
        """There is no job more."""
        self.fixture.quotas(web=Quota(queued=1, bytes=1))
        client = self.fixture.tenant("web")
        self.assertIsNone(self.refusal(client, b"x", unique=b"u"))
        self.assertIsNone(self.refusal(client, b"x", unique=b"u"))

    def test_connections(self) -> None:
        """A peer that leaves makes room for another."""
        self.fixture.quotas(web=Quota(connections=1))
        peer = self.fixture.tenant("web")
        self.assertRaises(AccessDenied, self.fixture.tenant, "web")
        self.fixture.leave(peer)
        self.fixture.tenant("web")


class RightsTests(BrokerTestCase):
    def denied(self, client: Peer, **rest: Any) -> tuple[str, str]:
        error = self.assertRaises(AccessDenied, self.fixture.submit, client, **rest)
        return error.act, error.text

    def test_submit(self) -> None:
        """It is refused before anything comes of it, and takes no token."""
        self.fixture.quotas(web=Quota(submits=Rate(1.0, 1)))
        client = self.fixture.tenant("web", (SUBMIT, b"f"))
        self.assertEqual(self.denied(client), ("submit", "Not allowed: submit f"))
        self.assertEqual(self.broker.functions.by_name, {})
        self.fixture.submit(client, b"g")

    def test_who_is_nobody(self) -> None:
        """It has rights too."""
        client = self.fixture.connect()
        client.rights = FakeRights((SUBMIT, b"f"))
        self.assertEqual(self.denied(client), ("submit", "Not allowed: submit f"))
        self.assertIsNone(self.fixture.submit(client, b"g").tenant)

    def join(self, client: Peer, job: Job) -> None:
        self.assertIs(self.fixture.submit(client, unique=b"u"), job)

    def test_join(self) -> None:
        """One's own, or what one may see."""
        job = self.fixture.submit(self.fixture.tenant("web"), unique=b"u")
        blind = ("see", "Not allowed: see f")
        self.join(self.fixture.tenant("web", (SEE, b"f")), job)
        self.join(self.fixture.tenant("other", (SEE, b"g")), job)
        self.join(self.fixture.tenant("other"), job)
        stranger = self.fixture.tenant("other", (SEE, b"f"))
        self.assertEqual(self.denied(stranger, unique=b"u"), blind)
        self.assertEqual((len(job.clients), stranger.attached), (4, {}))
        error = self.assertRaises(
            AccessDenied, self.broker.submit, stranger, b"f", b"u", b"", 1.0, background=True
        )
        self.assertEqual((error.act, job.background), ("see", False))

    def test_join_what_is_done(self) -> None:
        """The same where the unique stays taken."""
        self.fixture.set(unique_for=60)
        worker = self.fixture.worker(b"f")
        job = self.broker.submit(
            self.fixture.tenant("web"), b"f", b"u", b"", self.fixture.now, background=True
        )
        self.complete(worker, self.grabbed(worker, job))
        self.join(self.fixture.tenant("web", (SEE, b"f")), job)
        self.join(self.fixture.tenant("other", (SEE, b"g")), job)
        stranger = self.fixture.tenant("other", (SEE, b"f"))
        self.assertEqual(self.denied(stranger, unique=b"u"), ("see", "Not allowed: see f"))
        self.fixture.submit(stranger, unique=b"v")
        # Whoever runs schedules is no client.
        self.assertIs(self.fixture.submit(None, unique=b"u"), job)

    def test_work(self) -> None:
        """Who may not is told, and gets none of the jobs."""
        worker = self.fixture.tenant("web", (WORK, b"f"))
        error = self.assertRaises(AccessDenied, self.broker.can_do, worker, b"f", 0.0, self.fixture.now)
        self.assertEqual((error.act, error.name, error.text), ("work", b"f", "Not allowed: work f"))
        self.assertEqual((worker.abilities, self.broker.functions.by_name), ({}, {}))
        self.broker.can_do(worker, b"g", 0.0, self.fixture.now)


class RejudgeTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.jobs = [self.fixture.submit(self.client, name) for name in (b"f", b"g", b"f")]
        self.worker = self.fixture.worker(b"f", b"g")
        self.assertEqual(len(self.fixture.grab_all(self.worker)), 3)

    def rejudge(self, *denied: tuple[str, bytes]) -> None:
        self.worker.rights = FakeRights(*denied)
        self.broker.rejudge(self.worker, self.fixture.now)

    def abilities(self) -> list[bytes]:
        return [function.name for function in self.worker.abilities]

    def test_what_is_taken(self) -> None:
        """The function, and its jobs, which come first again, counted as lost."""
        self.rejudge((WORK, b"f"))
        self.assertEqual((self.abilities(), list(self.worker.running.values())), ([b"g"], [self.jobs[1]]))
        self.assertEqual([job.retries for job in self.jobs], [1, 0, 1])
        self.assertEqual(self.fixture.grab_all(self.fixture.worker(b"f")), [self.jobs[0], self.jobs[2]])
        self.complete(self.worker, self.jobs[1], b"g is done")
        self.assertEqual(
            self.fixture.heard(self.client), [(WORK_COMPLETE, self.jobs[1].handle, b"g is done")]
        )

    def test_what_stays(self) -> None:
        """Whoever may do as much as before notices nothing, be it without rules."""
        self.rejudge((SUBMIT, b"f"), (WORK, b"h"))
        self.assertEqual((self.abilities(), len(self.worker.running)), ([b"f", b"g"], 3))
        self.worker.rights = None
        self.broker.rejudge(self.worker, self.fixture.now)
        self.assertEqual((self.abilities(), len(self.worker.running)), ([b"f", b"g"], 3))

    def test_a_sleeper(self) -> None:
        """It is not woken for what it may not do."""
        sleeper = self.fixture.sleeper(b"h", b"i")
        sleeper.rights = FakeRights((WORK, b"h"))
        self.broker.rejudge(sleeper, self.fixture.now)
        self.fixture.submit(self.client, b"h")
        self.assertEqual(self.fixture.woken(), [])
        self.fixture.submit(self.client, b"i")
        self.assertEqual(self.fixture.woken(), [sleeper])


class CheckTests(BrokerTestCase):
    def test_counts_that_do_not_agree(self) -> None:
        """The broker's check finds each of them."""
        web: Tenant = self.broker.tenants.get("web")
        job = self.fixture.submit(self.fixture.tenant("web"), workload=b"x")
        self.assertIs(job.tenant, web)
        for name in ("connections", "queued", "running", "bytes"):
            setattr(web, name, getattr(web, name) + 1)
            self.assertRaises(AssertionError, self.broker.check)
            setattr(web, name, getattr(web, name) - 1)
