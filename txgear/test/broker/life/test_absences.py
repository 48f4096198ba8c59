"""Tests of L{txgear.broker.life.absences}."""

from __future__ import annotations

from txgear.broker.bulk import BATCH
from txgear.broker.ended.archive import history_of
from txgear.broker.history import Attempt
from txgear.broker.life.absences import GONE_SECONDS, LOOK_FROM
from txgear.broker.model import Job, Peer
from txgear.broker.records import JobUpdate, LaneCount, lane_of
from txgear.broker.rights import WORK
from txgear.broker.states import DEAD, DONE, PAGED, QUEUED, RUNNING
from txgear.errors import InvalidArgument, JobNotFound
from txgear.protocol.constants import NORMAL, WORK_COMPLETE, WORK_FAIL, WORKER_WELCOME
from txgear.protocol.hello import read_welcome
from txgear.test.support.broker import (
    BrokerFixture,
    BrokerTestCase,
    DurableBrokerTestCase,
    FakeRights,
    record,
)
from txgear.test.support.clock import START
from txgear.test.support.fakejournal import FakeJournal

KEY = "ab" * 16
GRACE = 10.0


class AbsenceTestCase(BrokerTestCase):
    """A worker that has said hello, and has a job."""

    def setUp(self) -> None:
        self.begin(GRACE)

    def begin(self, grace: float) -> None:
        """
        @param grace: what the operator has set.
        """
        self.fixture = BrokerFixture(grace=grace)
        self.fixture.set(retries=3, backoff=0)
        self.client = self.fixture.connect()
        self.worker = self.fixture.known_worker(KEY, b"f")
        self.job = self.got()

    def got(self) -> Job:
        """One more job that it has."""
        return self.grabbed(self.worker, self.fixture.submit(self.client))

    def absent(self) -> list[Peer]:
        return list(self.broker.absences.absent())

    def come_back(self, *claimed: Job, attempt: int = 1) -> tuple[Peer, list[bytes]]:
        """The worker has another connection."""
        peer = self.fixture.connect(extended=True)
        return peer, self.fixture.greet(peer, KEY, *claimed, attempt=attempt)

    def attempts(self, job: Job) -> list[tuple[str, str]]:
        """How those ended that there were, and what was said."""
        attempts = [] if job.history is None else job.history.attempts
        return [(attempt.reason, attempt.text) for attempt in attempts]


class LeaveTests(AbsenceTestCase):
    def test_its_jobs_stay_its_own(self) -> None:
        self.fixture.leave(self.worker)
        self.assertEqual((self.job.state, self.job.worker), (RUNNING, self.worker))
        self.assertEqual((self.absent(), self.worker.abilities), ([self.worker], {}))
        self.assertEqual(self.fixture.counts(), {b"f": (0, 0, 1, 0)})
        self.assertEqual(self.broker.absences.since(self.worker), START)
        self.assertEqual(self.broker.absences.until(self.worker), START + GRACE)
        self.fixture.pass_time(GRACE - 0.1)
        self.assertEqual(self.job.state, RUNNING)

    def test_they_are_lost_when_its_time_is_over(self) -> None:
        self.fixture.leave(self.worker)
        self.fixture.pass_time(GRACE)
        self.assertEqual((self.job.state, self.job.retries), (QUEUED, 1))
        self.assertEqual((self.attempts(self.job), self.absent()), ([("lost", "")], []))
        self.assertEqual((self.fixture.outbox.hung_up, self.fixture.next_call), ([], float("inf")))

    def test_one_that_has_said_nothing_of_itself_loses_them_at_once(self) -> None:
        stranger = self.fixture.worker(b"f", extended=True)
        job = self.grabbed(stranger, self.fixture.submit(None))
        self.fixture.leave(stranger)
        self.assertEqual((job.state, self.absent()), (QUEUED, []))
        self.assertEqual(self.broker.absences.since(stranger), 0.0)

    def test_one_with_nothing_in_hand_is_forgotten(self) -> None:
        self.complete(self.worker, self.job)
        self.fixture.leave(self.worker)
        self.assertEqual((self.absent(), self.fixture.next_call), ([], float("inf")))

    def test_one_that_gives_its_functions_up_first_loses_them(self) -> None:
        self.broker.reset_abilities(self.worker, self.fixture.now)
        self.fixture.leave(self.worker)
        self.assertEqual((self.job.state, self.absent()), (QUEUED, []))

    def test_a_server_that_finds_nothing(self) -> None:
        """There is nobody to wait for."""
        self.broker.absences.server_started(self.fixture.now)
        self.assertEqual(self.fixture.next_call, float("inf"))

    def test_without_grace_all_is_lost_at_once(self) -> None:
        self.begin(0.0)
        self.fixture.leave(self.worker)
        self.assertEqual((self.job.state, self.absent()), (QUEUED, []))

    def test_a_great_many_that_are_given_up_at_once(self) -> None:
        workers = [self.fixture.known_worker(str(number), b"g") for number in range(BATCH + 5)]
        for worker in workers:
            self.grabbed(worker, self.fixture.submit(None, b"g"))
            self.fixture.leave(worker)
        self.fixture.now += GRACE
        self.broker.expire(self.fixture.now)
        self.assertIn(workers[-1], self.absent())
        self.fixture.pass_time(0.0)
        self.assertEqual(self.absent(), [])

    def test_its_time_for_a_job_goes_on(self) -> None:
        self.broker.can_do(self.worker, b"g", 3.0, self.fixture.now)
        job = self.grabbed(self.worker, self.fixture.submit(self.client, b"g"))
        self.worker.unread = True
        self.fixture.leave(self.worker)
        self.fixture.heard(self.worker)
        self.fixture.pass_time(3.0)
        self.assertEqual((job.state, job.retries, self.job.state), (QUEUED, 1, RUNNING))
        self.assertEqual((self.fixture.heard(self.worker), self.absent()), ([], [self.worker]))

    def test_those_without_jobs_are_forgotten_in_time(self) -> None:
        """However many come, take a job for a moment, and go."""
        broker, submitted = self.broker, []
        for number in range(2 * LOOK_FROM):
            worker = self.fixture.known_worker(f"{number:032x}", b"g")
            job = self.grabbed(worker, self.fixture.submit(self.client, b"g"))
            self.fixture.leave(worker)
            if number % 10:
                self.fixture.cancel(job)
            else:
                submitted.append(job)
        self.assertLess(len(broker.absences), LOOK_FROM + len(submitted))
        self.assertEqual([RUNNING] * len(submitted), [job.state for job in submitted])
        self.assertEqual(len(submitted), len(self.absent()))

    def test_whose_it_is_is_known(self) -> None:
        tenant = self.broker.tenants.get("north")
        self.broker.identify(self.worker, tenant)
        other = self.fixture.connect()
        self.broker.identify(other, tenant)
        for peer in (self.worker, other):
            self.fixture.leave(peer)
        self.assertEqual((self.worker.tenant, other.tenant), (tenant, None))
        self.assertEqual(tenant.connections, 0)

    def test_operators_may_cancel_what_it_has(self) -> None:
        self.fixture.leave(self.worker)
        self.fixture.cancel(self.job)
        self.assert_gone(self.job)
        self.assertEqual(self.absent(), [])
        self.assertEqual(self.come_back(self.job)[1], [])


class ReturnTests(AbsenceTestCase):
    def test_what_it_claims_is_its_own(self) -> None:
        other = self.got()
        self.fixture.leave(self.worker)
        self.fixture.now += 5.0
        peer, held = self.come_back(self.job, other)
        self.assertEqual(held, [self.job.handle, other.handle])
        self.assertEqual((self.job.worker, list(peer.running.values())), (peer, [self.job, other]))
        self.assertEqual((self.job.since, self.worker.running, self.absent()), (START, {}, []))
        self.assertEqual((self.attempts(self.job), self.fixture.outbox.hung_up), ([], []))
        self.fixture.pass_time(GRACE)
        self.fixture.heard(self.client)
        self.complete(peer, self.job, b"result")
        self.assertEqual(self.job.state, DONE)
        self.assertEqual(self.fixture.heard(self.client), [(WORK_COMPLETE, self.job.handle, b"result")])

    def test_what_it_does_not_claim_is_lost_at_once(self) -> None:
        other = self.got()
        self.fixture.leave(self.worker)
        peer, held = self.come_back(other)
        self.assertEqual((held, list(peer.running.values())), ([other.handle], [other]))
        self.assertEqual((self.job.state, self.attempts(self.job)), (QUEUED, [("lost", "")]))

    def test_what_it_has_of_another_attempt_is_lost(self) -> None:
        """It is not its own any more, whatever it sends."""
        self.fixture.leave(self.worker)
        peer, held = self.come_back(self.job, attempt=2)
        self.assertEqual((held, self.job.state), ([], QUEUED))
        with self.assertRaises(JobNotFound):
            self.complete(peer, self.job)

    def test_what_it_claims_and_never_had(self) -> None:
        others = self.fixture.worker(b"f")
        job = self.grabbed(others, self.fixture.submit(None))
        queued = self.fixture.submit(None)
        self.assertEqual(
            (self.broker.absences.peer(KEY), self.broker.absences.peer("x")), (self.worker, None)
        )
        _, held = self.come_back(job, queued)
        self.assertEqual((held, job.worker, queued.state), ([], others, QUEUED))

    def test_too_late(self) -> None:
        """Another may have the job; or nobody, and then it is still another attempt."""
        self.fixture.leave(self.worker)
        self.fixture.pass_time(GRACE)
        self.assertEqual(self.come_back(self.job)[1], [])
        self.assertEqual(self.job.state, QUEUED)

    def test_its_lease_goes_on(self) -> None:
        """That it comes back is a sign of life."""
        self.fixture.set(lease=4.0)
        self.complete(self.worker, self.job)
        job = self.got()
        self.fixture.leave(self.worker)
        self.fixture.pass_time(3.0)
        self.come_back(job)
        self.fixture.pass_time(3.9)
        self.assertEqual(job.state, RUNNING)
        self.fixture.pass_time(0.1)
        self.assertEqual((job.state, job.retries), (QUEUED, 1))

    def test_it_may_not_work_for_the_function_any_more(self) -> None:
        self.fixture.leave(self.worker)
        peer = self.fixture.connect()
        peer.rights = FakeRights((WORK, b"f"))
        self.assertEqual(self.fixture.greet(peer, KEY, self.job), [])
        self.assertEqual(self.job.state, QUEUED)

    def test_it_leaves_once_more(self) -> None:
        self.fixture.leave(self.worker)
        peer, _ = self.come_back(self.job)
        self.fixture.now += 1.0
        self.fixture.leave(peer)
        self.assertEqual((self.absent(), self.broker.absences.until(peer)), ([peer], START + 1.0 + GRACE))

    def test_jobs_without_a_history(self) -> None:
        self.fixture.set("another")
        job = self.grabbed(self.worker, self.fixture.submit(self.client))
        self.assertIs(job.history, None)
        self.fixture.leave(self.worker)
        self.assertEqual(self.come_back(job)[1], [job.handle])

    def test_a_function_that_it_does_not_do_any_more(self) -> None:
        """It ends what it has of it: to give up another one changes nothing of that."""
        self.fixture.leave(self.worker)
        peer, _ = self.come_back(self.job)
        self.broker.can_do(peer, b"g", 0.0, self.fixture.now)
        self.broker.cant_do(peer, b"g", self.fixture.now)
        self.complete(peer, self.job)

    def test_hello_comes_once(self) -> None:
        with self.assertRaisesRegex(InvalidArgument, "hello once"):
            self.fixture.greet(self.worker, "another")
        self.assertEqual(self.job.state, RUNNING)

    def test_another_connection_that_is_still_there(self) -> None:
        """Nobody has noticed yet that it is dead."""
        other = self.got()
        peer, held = self.come_back(self.job)
        self.assertEqual((held, self.job.worker), ([self.job.handle], peer))
        self.assertEqual((other.state, self.worker.abilities), (QUEUED, {}))
        self.assertEqual(self.fixture.outbox.hung_up, [self.worker])
        self.fixture.leave(self.worker)
        self.assertEqual((self.job.state, self.absent()), (RUNNING, []))
        self.complete(peer, self.job)


class DismissTests(AbsenceTestCase):
    def test_an_operator_does_not_wait_any_more(self) -> None:
        self.fixture.leave(self.worker)
        self.assertTrue(self.broker.absences.dismiss(self.worker, self.fixture.now))
        self.assertEqual((self.job.state, self.attempts(self.job)), (QUEUED, [("lost", "")]))
        self.assertEqual(self.absent(), [])

    def test_one_that_is_not_absent(self) -> None:
        for peer in (self.worker, self.client):
            self.assertFalse(self.broker.absences.dismiss(peer, self.fixture.now))
        self.assertEqual(self.job.state, RUNNING)


class GoneTests(AbsenceTestCase):
    def gone(self, words: bytes = b"killed", key: str = KEY) -> None:
        self.broker.absences.gone(key, words, self.fixture.now)

    def test_a_key_that_nobody_has(self) -> None:
        self.gone(key="another")
        self.fixture.pass_time(GONE_SECONDS)
        self.assertEqual((self.job.state, self.fixture.outbox.hung_up), (RUNNING, []))

    def test_one_that_is_absent(self) -> None:
        self.fixture.leave(self.worker)
        self.gone()
        self.assertEqual((self.job.state, self.attempts(self.job)), (QUEUED, [("lost", "killed")]))
        self.assertEqual((self.absent(), self.fixture.outbox.hung_up), ([], []))

    def test_one_that_is_there_is_heard_to_its_end(self) -> None:
        """What it has sent before is read before its end is."""
        other = self.got()
        self.gone()
        self.gone(b"too late")
        self.complete(self.worker, self.job)
        self.assertEqual((self.job.state, other.state), (DONE, RUNNING))
        self.fixture.leave(self.worker)
        self.assertEqual((other.state, self.attempts(other)), (QUEUED, [("lost", "killed")]))
        self.assertEqual((self.absent(), self.fixture.outbox.hung_up), ([], []))
        self.assertEqual(self.fixture.next_call, float("inf"))

    def test_one_whose_end_is_not_seen_is_hung_up_on(self) -> None:
        self.gone()
        self.fixture.pass_time(GONE_SECONDS - 0.1)
        self.assertEqual(self.job.state, RUNNING)
        self.fixture.pass_time(0.1)
        self.assertEqual((self.job.state, self.attempts(self.job)), (QUEUED, [("lost", "killed")]))
        self.assertEqual(self.fixture.outbox.hung_up, [self.worker])
        self.fixture.leave(self.worker)
        self.assertEqual(self.absent(), [])

    def test_one_that_says_hello_again(self) -> None:
        """Who was said to be gone gets nothing back."""
        self.gone()
        _, held = self.come_back(self.job)
        self.assertEqual((held, self.attempts(self.job)), ([], [("lost", "killed")]))
        self.assertEqual(self.fixture.outbox.hung_up, [self.worker])

    def test_the_dead_set_shows_why(self) -> None:
        self.fixture.set(retries=0, dead={"keep": 60})
        job = self.grabbed(self.worker, self.fixture.submit(None))
        self.gone(b"took 3 GB of memory")
        self.fixture.leave(self.worker)
        self.assertEqual(job.state, DEAD)
        expected = Attempt(START, START, "lost", self.worker.name, "took 3 GB of memory")
        self.assertEqual(history_of(job).attempts, [expected])

    def test_clients_hear_that_it_failed(self) -> None:
        self.fixture.set(retries=0)
        self.fixture.heard(self.client)
        self.gone()
        self.fixture.leave(self.worker)
        self.assertEqual(self.fixture.heard(self.client), [(WORK_FAIL, self.job.handle)])


class RestartTests(DurableBrokerTestCase):
    """The server goes, another takes its place, and a worker comes that has got a job of the first one."""

    def setUp(self) -> None:
        self.begin(GRACE)

    def begin(self, grace: float) -> None:
        """
        @param grace: what the operator has set.
        """
        self.journal = FakeJournal()
        self.fixture = BrokerFixture(journal=self.journal, grace=grace)
        self.worker = self.fixture.known_worker(KEY, b"f")
        self.first, self.second = self.fixture.store(b"0123456789", b"second")
        self.fixture.grab_all(self.worker)
        self.first, self.second = self.fixture.restart()
        self.peer = self.fixture.connect(extended=True)

    def greet(self, *claimed: Job, attempt: int = 1, parts: tuple[bytes, ...] = ()) -> list[bytes]:
        jobs = {job.handle: attempt for job in claimed}
        return self.broker.absences.greet(self.peer, KEY, jobs, parts, self.fixture.now)

    def test_it_is_as_if_it_had_grabbed_just_that_job(self) -> None:
        self.assertEqual(self.second.state, PAGED)
        self.assertEqual(self.greet(self.second), [self.second.handle])
        self.assertEqual((self.second.state, self.second.worker), (RUNNING, self.peer))
        self.assertEqual(self.peer.running, {self.second.handle: self.second})
        self.complete(self.peer, self.second)
        self.assertEqual((self.second.state, self.first.state), (DONE, PAGED))

    def test_one_that_is_in_memory(self) -> None:
        self.fixture.worker(b"f")
        self.fixture.read()
        self.assertEqual(self.first.state, QUEUED)
        self.assertEqual(self.greet(self.first), [self.first.handle])
        self.complete(self.peer, self.first)

    def test_it_is_lost_like_any_other(self) -> None:
        """Its workload is read for the next one."""
        self.greet(self.second)
        self.broker.reset_abilities(self.peer, self.fixture.now)
        self.assertEqual((self.second.state, self.second.retries), (PAGED, 1))
        self.assertEqual(
            self.journal.updates[-1],
            JobUpdate(self.second.number, self.second.place, 0.0, 1),
        )
        other = self.fixture.worker(b"f")
        for workload in (b"0123456789", b"second"):
            self.fixture.read_all()
            job = self.fixture.grab(other)
            self.assertEqual(job and job.workload, workload)

    def test_its_policy_holds(self) -> None:
        self.fixture.set(timeout=3.0)
        self.greet(self.second)
        self.fixture.pass_time(2.9)
        self.assertEqual(self.second.state, RUNNING)
        self.fixture.pass_time(0.1)
        self.assertEqual((self.second.state, self.second.retries), (PAGED, 1))

    def test_a_paused_function(self) -> None:
        """The work is done already, or under way."""
        self.broker.operations.pause(b"f", self.fixture.now)
        self.assertEqual(self.greet(self.second), [self.second.handle])

    def test_another_attempt(self) -> None:
        self.assertEqual(self.greet(self.second, attempt=2), [])
        self.assertEqual(self.second.state, PAGED)

    def test_one_of_which_a_part_was_sent(self) -> None:
        """That part is lost with the server that had it."""
        self.assertEqual(self.greet(self.second, parts=(self.second.handle,)), [])

    def test_where_nobody_may_be_absent(self) -> None:
        self.begin(0.0)
        self.assertEqual(self.greet(self.second), [])

    def test_when_nobody_comes_any_more_who_has_it(self) -> None:
        self.fixture.pass_time(GRACE)
        self.assertEqual((self.greet(self.second), self.broker.table.restored), ([], 0))

    def test_one_that_an_operator_has_changed(self) -> None:
        """The worker is at what it was before."""
        self.broker.operations.correct(self.first, b"another", self.fixture.now)
        self.broker.operations.move(self.second, b"g", self.fixture.now)
        self.assertEqual(self.greet(self.first, self.second), [])
        self.assertEqual(self.broker.table.changed, {self.first.number, self.second.number})
        self.fixture.pass_time(GRACE)
        self.assertEqual(self.broker.table.changed, set())

    def test_somebody_else_has_got_it(self) -> None:
        other = self.fixture.worker(b"f")
        self.fixture.read()
        self.grabbed(other, self.first)
        self.assertEqual(self.greet(self.first), [])
        self.assertIs(self.first.worker, other)

    def test_one_that_only_looks_like_it(self) -> None:
        """Handles may be written in other ways, and jobs that came later are nobody's yet."""
        jobs = {b"there//" + self.second.handle: 1, b"H:test:77": 1}
        self.assertEqual(self.broker.absences.greet(self.peer, KEY, jobs, (), self.fixture.now), [])
        (new,) = self.fixture.store(b"new", priority=NORMAL)
        peer = self.fixture.connect()
        self.assertEqual(self.fixture.greet(peer, "another", new), [])

    def test_one_that_is_not_stored(self) -> None:
        """Without a store each server begins with the same numbers."""
        job = self.fixture.submit(self.fixture.connect())
        self.broker.table.restored = job.number
        self.assertEqual(self.greet(job), [])

    def test_it_may_not_work_for_the_function(self) -> None:
        self.peer.rights = FakeRights((WORK, b"f"))
        self.assertEqual(self.greet(self.second), [])
        self.assertEqual(self.second.state, PAGED)


class OfferTests(DurableBrokerTestCase):
    """A worker has jobs of another server, whose jobs come here."""

    def setUp(self) -> None:
        self.journal = FakeJournal()
        self.fixture = BrokerFixture(journal=self.journal, grace=GRACE)
        self.worker = self.fixture.known_worker(KEY, b"f")
        self.others = [record(number, size=4) for number in (5000, 5001)]

    def offer(self, *numbers: int, worker: Peer | None = None, attempt: int = 1) -> list[bytes]:
        jobs = {b"H:test:%d" % number: attempt for number in numbers}
        return self.broker.absences.offer(worker or self.worker, jobs, self.fixture.now)

    def take_over(self) -> None:
        for other in self.others:
            self.journal.put(other, b"work")
        lane = LaneCount(lane_of(self.others[0]), 2, 8)
        self.broker.store_events.reserve(9000, 100)
        self.broker.store_events.take_over([lane], self.fixture.now)
        self.fixture.answer()
        self.fixture.read_all()

    def heard(self) -> list[bytes]:
        """What it has been told to be its own."""
        found = self.fixture.heard(self.worker)
        welcomes = [read_welcome(bytes(packet[1])) for packet in found if packet[0] == WORKER_WELCOME]
        self.assertTrue(all(welcome.offers and welcome.grace == GRACE for welcome in welcomes))
        return [handle for welcome in welcomes for handle in sorted(welcome.held)]

    def test_it_has_them_when_they_come(self) -> None:
        other = self.fixture.worker(b"f")
        self.assertEqual(self.offer(5000), [])
        self.assertEqual(self.broker.absences.offered, [b"H:test:5000"])
        self.take_over()
        self.assertEqual(self.heard(), [b"H:test:5000"])
        self.assertEqual(self.broker.absences.offered, [])
        grabbed = self.fixture.grab(other)
        self.assertEqual(grabbed and grabbed.number, 5001)
        (job,) = self.worker.running.values()
        self.complete(self.worker, job)
        self.assertEqual((job.number, job.state), (5000, DONE))

    def test_they_are_here_already(self) -> None:
        self.take_over()
        self.assertEqual(self.offer(5001, 7), [b"H:test:5001"])
        self.assertEqual(self.broker.absences.offered, [b"H:test:7"])

    def test_another_attempt(self) -> None:
        self.offer(5000, attempt=2)
        self.take_over()
        self.assertEqual(self.heard(), [])

    def test_one_that_may_not_do_it(self) -> None:
        self.offer(5000)
        self.worker.rights = FakeRights((WORK, b"f"))
        self.take_over()
        self.assertEqual(self.heard(), [])

    def test_offered_no_more(self) -> None:
        self.offer(5000, 5001)
        self.offer(5001)
        self.assertEqual(self.broker.absences.offered, [b"H:test:5001"])
        self.fixture.leave(self.worker)
        self.assertEqual(self.broker.absences.offered, [])
        self.take_over()

    def test_nobody_knows_it(self) -> None:
        self.assertEqual(self.offer(5000, worker=self.fixture.worker(b"f")), [])
        self.assertEqual(self.broker.absences.offered, [])
