"""Tests of L{txgear.broker.sharedlanes}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.lanes import Lanes
from txgear.broker.model import Job
from txgear.broker.sharedlanes import SLACK, SharedLanes
from txgear.broker.states import DELAYED, DONE, PAGED, QUEUED, RUNNING
from txgear.broker.tenants import Quota, Tenant
from txgear.protocol.constants import HIGH, LOW, NORMAL, PRIORITIES
from txgear.test.support.broker import make_job, overflowed, queued


class SharedLanesTestCase(SynchronousTestCase):
    turns = True

    def setUp(self) -> None:
        self.lanes: SharedLanes[Job] = SharedLanes(self.turns)
        self.a, self.b = Tenant("a"), Tenant("b")
        self.made = 0

    def tearDown(self) -> None:
        self.lanes.check()

    def job(self, tenant: Tenant | None, priority: int = NORMAL, workload: bytes = b"") -> Job:
        self.made += 1
        job = make_job(None, self.made, priority=priority, workload=workload)
        job.tenant = tenant
        return job

    def add(self, tenant: Tenant | None, priority: int = NORMAL) -> Job:
        job = self.job(tenant, priority)
        job.state = QUEUED
        self.lanes.append(job)
        return job

    def page(self, tenant: Tenant | None, priority: int = NORMAL) -> Job:
        """One that is behind the lane of its tenant."""
        job = self.job(tenant, priority, b"four")
        job.workload = b""
        job.state = PAGED
        self.lanes.append_overflow(job)
        return job

    def load(self, job: Job) -> list[Job]:
        """Its workload is there: which come into the lane?"""
        job.workload = b"four"
        advanced = []
        while (other := self.lanes.pop_loaded(job.priority, job.tenant)) is not None:
            other.state = QUEUED
            self.lanes.append(other)
            advanced.append(other)
        return advanced

    def take(self, priority: int = NORMAL) -> Job:
        job = self.lanes.take(priority)
        job.state = RUNNING
        return job

    def take_all(self, priority: int = NORMAL) -> list[Job]:
        return [self.take(priority) for _ in range(self.lanes.counts[priority])]

    def end(self, job: Job) -> bool | None:
        emptied = None
        if job.state == QUEUED:
            emptied = self.lanes.remove(job)
        else:
            self.lanes.remove_overflow(job)
        job.state = DONE
        return emptied

    def let_run(self, tenant: Tenant, bound: int, running: int) -> None:
        tenant.quota, tenant.running = Quota(running=bound), running
        self.lanes.judge(tenant)


class HeadsTests(SharedLanesTestCase):
    def test_those_of_each_party(self) -> None:
        """Whether or not it is held: its jobs wait."""
        first, _, other, none = self.add(self.a), self.add(self.a), self.add(self.b), self.add(None, HIGH)
        self.let_run(self.a, 1, 1)
        self.assertEqual(self.lanes.heads(), [first, other, none])


class TurnsTests(SharedLanesTestCase):
    def test_one_of_each(self) -> None:
        """Whoever has no tenant is one more; of each the oldest comes first."""
        a = [self.add(self.a) for _ in range(4)]
        b = [self.add(self.b) for _ in range(2)]
        none = [self.add(None) for _ in range(1)]
        expected = [a[0], b[0], none[0], a[1], b[1], a[2], a[3]]
        self.assertEqual(self.take_all(), expected)

    def test_who_comes_again(self) -> None:
        """It is behind those who wait."""
        self.add(self.a)
        b = [self.add(self.b) for _ in range(3)]
        self.take()
        again = self.add(self.a)
        self.assertEqual(self.take_all(), [b[0], again, b[1], b[2]])

    def test_each_priority_by_itself(self) -> None:
        """Who was served with one has not lost its turn with another."""
        jobs = [self.add(tenant, priority) for priority in (LOW, HIGH) for tenant in (self.a, self.b)]
        self.assertEqual([self.lanes.total_of(priority) for priority in PRIORITIES], [2, 0, 2])
        self.assertEqual(self.take(HIGH), jobs[2])
        self.assertEqual(self.take_all(LOW), jobs[:2])
        self.assertEqual(self.take_all(HIGH), jobs[3:])

    def test_what_opens_and_empties_a_lane(self) -> None:
        """The lanes of all parties are one, seen from outside."""
        first, second = self.job(self.a), self.job(self.b)
        first.state = second.state = QUEUED
        self.assertEqual((self.lanes.append(first), self.lanes.append(second)), (True, False))
        self.assertEqual((self.end(first), self.end(second)), (False, True))
        self.assertEqual(self.lanes.all(), [])

    def test_what_has_come_back(self) -> None:
        """It is the first of its party, and changes no turn."""
        a = [self.add(self.a) for _ in range(3)]
        b = [self.add(self.b) for _ in range(2)]
        self.assertEqual([self.take(), self.take()], [a[0], b[0]])
        a[0].state = QUEUED
        self.assertFalse(self.lanes.put_back(a[0]))
        self.assertEqual(self.take_all(), [a[0], b[1], a[1], a[2]])
        a[0].state = QUEUED
        self.assertTrue(self.lanes.put_back(a[0]))

    def test_what_ends(self) -> None:
        """Wherever it was; who has nothing left has no turn."""
        a = [self.add(self.a) for _ in range(3)]
        b = [self.add(self.b) for _ in range(2)]
        none = self.add(None)
        for gone in (a[1], b[0], b[1]):
            self.end(gone)
        again = self.add(self.b)
        self.assertEqual(self.take_all(), [a[0], none, again, a[2]])

    def test_stale_entries(self) -> None:
        """However often parties come and go, the order stays as short as they are many."""
        first = self.add(self.a)
        for _ in range(10 * SLACK):
            self.end(self.add(self.b))
        self.assertLess(len(self.lanes._order[NORMAL]), 2 * SLACK)
        last = self.add(self.b)
        self.assertEqual(self.take_all(), [first, last])

    def test_who_has_nothing(self) -> None:
        """It is known until that is asked for."""
        job = self.add(self.a)
        self.page(self.b)
        self.take_all()
        self.assertEqual((set(self.lanes.parties), self.lanes.tenants()), ({self.a, self.b}, [self.b]))
        self.lanes.forget_absent()
        self.assertEqual((list(self.lanes.parties), self.lanes.behind(job)), ([self.b], False))
        self.assertEqual((self.lanes.has(self.a), self.lanes.has(self.b)), (False, True))
        self.lanes.judge(self.a)
        self.assertIsNone(self.lanes.pop_loaded(job.priority, job.tenant))


class PlacesTests(SharedLanesTestCase):
    """Without turns."""

    turns = False

    def test_who_was_first(self) -> None:
        """Whosever it is."""
        jobs = [self.add(tenant) for tenant in (self.a, self.a, self.b, None, self.a, self.b)]
        self.assertEqual(self.take_all(), jobs)

    def test_what_has_come_back(self) -> None:
        """It has its place again, and may leave it again."""
        jobs = [self.add(tenant) for tenant in (self.a, self.b, self.a, self.b)]
        self.assertEqual([self.take() for _ in range(2)], jobs[:2])
        for job in jobs[:2]:
            job.state = QUEUED
            self.lanes.put_back(job)
        self.end(jobs[0])
        self.assertEqual(self.take_all(), jobs[1:])

    def test_what_has_come_back_to_a_party_that_was_forgotten(self) -> None:
        """It has the same place once more, whatever the party before had it by."""
        job, other = self.add(self.a), self.add(self.b)
        self.take()
        for _ in range(3):
            job.state = QUEUED
            self.lanes.put_back(job)
            self.lanes.remove(job)
            job.state = RUNNING
            self.lanes.forget_absent()
        job.state = QUEUED
        self.lanes.put_back(job)
        self.assertEqual(self.take_all(), [job, other])

    def test_what_ends(self) -> None:
        """The next of its party has another place."""
        jobs = [self.add(tenant) for tenant in (self.a, self.b, self.a, self.b)]
        self.end(jobs[0])
        self.assertEqual(self.take_all(), jobs[1:])

    def test_turns_come_and_go(self) -> None:
        """Both count from then on."""
        jobs = [self.add(tenant) for tenant in (self.a, self.a, self.a, self.a, self.b, self.b, self.b)]
        self.lanes.set_turns(False)
        self.assertEqual(self.take(), jobs[0])
        self.lanes.set_turns(True)
        self.assertEqual([self.take() for _ in range(3)], [jobs[4], jobs[1], jobs[5]])
        self.lanes.set_turns(False)
        self.assertEqual(self.take_all(), [jobs[2], jobs[3], jobs[6]])


class BoundsTests(SharedLanesTestCase):
    def test_one_that_is_held(self) -> None:
        """Others go on as if it had nothing, and it has its turn when it is not held any more."""
        a = [self.add(self.a) for _ in range(2)]
        a.append(self.page(self.a))
        b = [self.add(self.b) for _ in range(3)]
        self.let_run(self.a, 1, 1)
        self.assertEqual((self.lanes.ready, self.lanes.paged, self.lanes.held), (3, 0, 3))
        self.assertEqual((self.lanes.counts, self.lanes.overflow), ([0, 3, 0], {}))
        self.assertEqual((self.lanes.total_of(NORMAL), self.lanes.to_read(NORMAL)), (6, (None, 0)))
        self.assertEqual([self.take(), self.take()], b[:2])
        self.let_run(self.a, 1, 0)
        self.assertEqual((self.lanes.ready, self.lanes.paged, self.lanes.held), (3, 1, 0))
        self.assertEqual(self.take(), a[0])

    def test_what_becomes_of_what_is_held(self) -> None:
        """More comes, is read, ends, and comes back; nothing of it counts."""
        self.add(self.a)
        self.let_run(self.a, 1, 1)
        job, paged = self.job(self.a), self.page(self.a)
        job.state = QUEUED
        self.assertFalse(self.lanes.append(job))
        self.assertFalse(self.lanes.put_back(self.job_back()))
        self.assertTrue(self.lanes.behind(job))
        self.assertEqual(self.load(paged), [paged])
        self.assertFalse(self.end(job))
        self.end(self.page(self.a))
        self.assertEqual((self.lanes.ready, self.lanes.paged, self.lanes.held), (0, 0, 3))

    def job_back(self) -> Job:
        job = self.job(self.a)
        job.state = QUEUED
        return job

    def test_one_that_comes_while_its_tenant_is_held(self) -> None:
        """Nothing of it may be handed out, here either."""
        self.let_run(self.a, 1, 1)
        job = self.job_back()
        self.assertFalse(self.lanes.append(job))
        paged = self.job(self.a, LOW)
        paged.state = PAGED
        self.assertFalse(self.lanes.append_overflow(paged))
        self.assertEqual((self.lanes.ready, self.lanes.held), (0, 2))

    def test_how_many_may_start(self) -> None:
        """As many as there is room for."""
        self.assertFalse(self.lanes.bounded)
        self.let_run(self.a, 3, 1)
        for tenant in (self.a, self.a, self.a, self.b):
            self.add(tenant)
        self.assertEqual((self.lanes.startable, len(self.lanes.limited), self.lanes.bounded), (3, 1, True))
        self.let_run(self.a, 3, 0)
        self.assertEqual(self.lanes.startable, 4)
        self.let_run(self.a, 5, 0)
        self.assertEqual(self.lanes.startable, 4)
        self.let_run(self.a, 0, 0)
        self.assertEqual((self.lanes.startable, len(self.lanes.limited), self.lanes.bounded), (4, 0, False))

    def test_who_has_nothing_left(self) -> None:
        """It is a limit for nobody."""
        self.let_run(self.a, 3, 1)
        self.add(self.a)
        self.take()
        self.assertEqual((self.lanes.limited, self.lanes.bounded), ({}, False))


class OverflowTests(SharedLanesTestCase):
    def test_each_has_its_own(self) -> None:
        """What one has there is in nobody's way."""
        jobs = [self.page(self.a) for _ in range(3)]
        self.assertTrue(self.lanes.behind(jobs[0]))
        mine = self.add(self.b)
        self.assertFalse(self.lanes.behind(mine))
        self.assertEqual((self.take(), self.lanes.paged), (mine, 3))
        self.assertEqual((overflowed(self.lanes), self.lanes.firsts()), (jobs, jobs[:1]))

    def test_what_opens_an_overflow(self) -> None:
        """The first of all."""
        jobs = [self.job(tenant) for tenant in (self.a, self.a, self.b)]
        opened = []
        for job in jobs:
            job.state = PAGED
            opened.append(self.lanes.append_overflow(job))
        self.assertEqual(opened, [True, False, False])
        for job in jobs:
            self.end(job)
        self.assertEqual((self.lanes.overflow, self.lanes.paged), ({}, 0))

    def test_a_turn_is_kept_meanwhile(self) -> None:
        """What is read late is next when it is there, even if it is the last."""
        late = self.page(self.a)
        b = [self.add(self.b) for _ in range(4)]
        self.assertEqual([self.take(), self.take()], b[:2])
        self.assertEqual(self.load(late), [late])
        self.assertEqual(self.take_all(), [late, b[2], b[3]])

    def test_as_far_as_it_is_loaded(self) -> None:
        """Of each party in its order."""
        a = [self.page(self.a) for _ in range(2)]
        b = self.page(self.b)
        self.assertEqual(self.load(a[1]), [])
        self.assertEqual(self.load(b), [b])
        self.assertEqual(self.load(a[0]), a)
        self.assertEqual(set(queued(self.lanes)), {*a, b})

    def test_whose_is_read(self) -> None:
        """Of those who have nothing else first, in turn; then of the others."""
        self.assertEqual(self.lanes.to_read(NORMAL), (None, 0))
        self.add(self.a)
        a, b, none = [self.page(tenant) for tenant in (self.a, self.b, None)]

        def read() -> tuple[Job | None, int]:
            overflow, ready = self.lanes.to_read(NORMAL)
            assert overflow is not None
            return overflow.first(), ready

        self.assertEqual([read() for _ in range(3)], [(b, 0), (none, 0), (b, 0)])
        self.load(b)
        self.end(none)
        self.assertEqual([read() for _ in range(2)], [(a, 1), (a, 1)])


class AsOthersTests(SharedLanesTestCase):
    def test_there_and_back(self) -> None:
        """From lanes for all, and to such; by their places, what has come back being first."""
        for self.lanes.turns in (False, True):
            lanes: Lanes[Job] = Lanes()
            jobs = [self.job(tenant) for tenant in (self.a, self.b, self.a, None, self.b, self.a)]
            for job in jobs[:4]:
                job.state = QUEUED
            for job in jobs[1:4]:
                lanes.append(job)
            lanes.put_back(jobs[0])
            for job in jobs[4:]:
                job.state = PAGED
                lanes.append_overflow(job)
            self.lanes.take_over(lanes)
            self.lanes.check()
            self.assertEqual((self.lanes.ready, self.lanes.paged), (4, 2))
            merged = self.lanes.merged()
            merged.check()
            self.assertEqual((queued(merged), overflowed(merged)), (jobs[:4], jobs[4:]))
            self.assertEqual(merged.kinds(NORMAL), (jobs[:1], jobs[1:4], jobs[4:]))
            for job in jobs:
                self.end(job)

    def test_one_that_is_held(self) -> None:
        """It is from the beginning."""
        lanes: Lanes[Job] = Lanes()
        self.a.quota, self.a.running = Quota(running=1), 1
        for tenant in (self.a, self.b, self.a):
            job = self.job(tenant)
            job.state = QUEUED
            lanes.append(job)
        self.lanes.take_over(lanes)
        self.assertEqual((self.lanes.ready, self.lanes.held), (1, 2))

    def test_one_that_is_there_twice(self) -> None:
        """It was withdrawn from the overflow, and came again before its entry was swept out: it is one."""
        lanes: Lanes[Job] = Lanes()
        jobs = [self.job(self.a) for _ in range(3)]
        for job in jobs:
            job.state = PAGED
            lanes.append_overflow(job)
        lanes.remove_overflow(jobs[1], again=True)
        jobs[1].place = 10
        lanes.append_overflow(jobs[1])
        self.lanes.take_over(lanes)
        self.assertEqual(self.lanes.paged, 3)
        self.assertEqual(overflowed(self.lanes), [jobs[0], jobs[2], jobs[1]])


class WithdrawTests(SharedLanesTestCase):
    def test_what_is_withdrawn_may_come_again(self) -> None:
        """In another lane, or in the same one, behind what is there by then."""
        first, second, third = (self.add(self.a) for _ in range(3))
        other = self.add(self.b)
        self.assertFalse(self.lanes.withdraw(second))
        second.state, second.place = DELAYED, 10
        self.assertEqual((self.lanes.counts, self.lanes.ready), ([0, 3, 0], 3))
        second.state = QUEUED
        self.lanes.append(second)
        self.assertEqual([self.take() for _ in range(4)], [first, other, third, second])

    def test_also_from_the_overflow(self) -> None:
        first, second, third = (self.page(self.a) for _ in range(3))
        self.lanes.remove_overflow(second, again=True)
        second.state = DELAYED
        self.assertEqual((self.lanes.paged, overflowed(self.lanes)), (2, [first, third]))
        second.state, second.place = PAGED, 10
        self.lanes.append_overflow(second)
        self.assertEqual(overflowed(self.lanes), [first, third, second])


class CheckTests(SharedLanesTestCase):
    def test_what_does_not_agree(self) -> None:
        """It is found."""
        self.add(self.a)
        self.page(self.b)
        self.let_run(self.a, 2, 1)
        for name, wrong in (
            ("_totals", [0, 3, 0]),
            ("counts", [1, 0, 0]),
            ("ready", 2),
            ("paged", 2),
            ("limited", {}),
            ("overflow", {}),
            ("_dry", ({}, {}, {})),
            ("_order", ([], [], [])),
        ):
            right = getattr(self.lanes, name)
            setattr(self.lanes, name, wrong)
            self.assertRaises(AssertionError, self.lanes.check)
            setattr(self.lanes, name, right)
        self.a.running = 2
        self.assertRaises(AssertionError, self.lanes.check)
        self.a.running = 1
