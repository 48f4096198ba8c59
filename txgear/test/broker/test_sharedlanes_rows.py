"""Tests of L{txgear.broker.sharedlanes}: what parties have behind their lanes, and not in memory."""

from __future__ import annotations

from txgear.broker.lanes import LOW as LOW_LEVEL
from txgear.broker.lanes import Lanes
from txgear.broker.model import Job
from txgear.broker.sharedlanes import SharedLanes
from txgear.broker.states import PAGED, QUEUED
from txgear.broker.tenants import Tenant
from txgear.protocol.constants import LOW, NORMAL
from txgear.test.broker.test_sharedlanes import SharedLanesTestCase


class RowsTests(SharedLanesTestCase):
    def row(self, tenant: Tenant | None) -> Job:
        job = self.job(tenant)
        self.lanes.add_rows(job.priority, tenant, 1, job.place)
        return job

    def test_they_count_and_open_a_lane(self) -> None:
        self.assertTrue(self.lanes.add_rows(NORMAL, self.a, 1, self.job(self.a).place))
        self.assertFalse(self.lanes.add_rows(NORMAL, self.b, 2))
        self.assertTrue(self.lanes.add_rows(LOW, None, 1))
        self.assertEqual((self.lanes.ready, self.lanes.paged, self.lanes.rows_count), (0, 4, 4))
        self.assertEqual((self.lanes.total_of(NORMAL), self.lanes.owners()), (3, {self.a, self.b, None}))
        self.assertEqual(
            {owner: rows.count for owner, rows in self.lanes.rows(NORMAL).items()}, {self.a: 1, self.b: 2}
        )

    def test_those_of_one_who_is_held_count_by_themselves(self) -> None:
        self.add(self.a)
        self.let_run(self.a, 1, 1)
        self.assertFalse(self.lanes.add_rows(NORMAL, self.a, 2))
        self.assertEqual((self.lanes.paged, self.lanes.held), (0, 3))
        self.lanes.take_rows(NORMAL, self.a, [self.queued(self.a)])
        self.assertEqual((self.lanes.ready, self.lanes.held), (0, 3))

    def queued(self, tenant: Tenant | None) -> Job:
        job = self.job(tenant)
        job.state = QUEUED
        return job

    def test_whose_they_are(self) -> None:
        self.row(self.a)
        self.assertEqual(
            [self.lanes.has_rows(NORMAL, each) for each in (self.a, self.b, None)], [True, False, False]
        )

    def test_nobody_is_behind_what_another_has(self) -> None:
        """Each is read and comes into its lane for itself."""
        first, second = self.row(self.a), self.row(self.b)
        second.state = PAGED
        self.lanes.append_overflow(second)
        self.lanes.take_row(NORMAL, self.b)
        self.assertEqual(self.lanes.read(NORMAL, self.b, 0, None), 0)
        self.assertEqual(self.load(second), [second])
        self.assertEqual((self.lanes.counts[NORMAL], self.lanes.paged), (1, 1))
        self.assertEqual(self.lanes.read(NORMAL, self.a, 0, None), 1)
        self.assertEqual((self.lanes.paged, first.state), (0, first.state))

    def test_the_first_go_into_the_lane_at_once(self) -> None:
        self.add(self.b)
        self.lanes.add_rows(NORMAL, self.a, 2)
        self.assertTrue(self.lanes.has_rows_only(NORMAL, self.a, 0))
        self.assertFalse(self.lanes.has_rows_only(NORMAL, None, 0))
        jobs = [self.queued(self.a) for _ in range(2)]
        self.lanes.take_rows(NORMAL, self.a, jobs)
        self.assertEqual((self.lanes.ready, self.lanes.paged), (3, 0))
        self.assertEqual([job for job in self.take_all() if job.tenant is self.a], jobs)

    def test_which_can_become_rows(self) -> None:
        self.assertTrue(self.lanes.may_pass_by(self.job(self.a)))
        early = self.job(self.a)
        jobs = [self.page(self.a), self.page(self.a)]
        self.assertEqual([self.lanes.may_spare(job) for job in jobs], [False, True])
        self.assertEqual([self.lanes.last(NORMAL, owner) for owner in (self.a, self.b)], [jobs[1], None])
        self.assertEqual([self.lanes.may_pass_by(job) for job in (early, self.job(self.a))], [False, True])

    def test_which_can_follow_rows(self) -> None:
        self.assertFalse(self.lanes.may_follow(self.job(self.a), self.a))
        self.row(self.a)
        self.add(self.b)
        follows = [self.lanes.may_follow(self.job(tenant), tenant) for tenant in (self.a, self.b)]
        self.assertEqual(follows, [True, False])

    def test_one_that_comes_late(self) -> None:
        """It is before those of its party that have come meanwhile."""
        early, late = self.queued(self.a), self.queued(self.b)
        self.assertFalse(self.lanes.squeeze_in(early))
        jobs = [self.add(self.a), self.add(self.b)]
        self.assertEqual([self.lanes.squeeze_in(job) for job in (early, late)], [True, True])
        later = self.queued(self.a)
        self.assertEqual((self.lanes.squeeze_in(later), self.lanes.ready), (False, 4))
        found = self.take_all()
        self.assertEqual([job for job in found if job.tenant is self.a], [early, jobs[0]])
        self.assertEqual([job for job in found if job.tenant is self.b], [late, jobs[1]])

    def test_when_to_look_for_more(self) -> None:
        """A party that has nothing is not to wait until others have little."""
        for _ in range(LOW_LEVEL):
            self.add(self.a)
        self.assertFalse(self.lanes.is_low(NORMAL))
        self.row(self.b)
        self.assertTrue(self.lanes.is_low(NORMAL))

    def test_none_passes_another_s_in_lanes_for_all(self) -> None:
        """What is in a lane of its own is behind what is not in memory, where its place is."""
        first, row = self.add(self.b), self.row(self.a)
        late = [self.add(self.b), self.add(None)]
        merged = self.lanes.merged()
        merged.check()
        self.assertEqual(merged.kinds(NORMAL), ([], [first], late))
        self.assertEqual(merged.overflow[NORMAL].next_rows(), (self.a, row.place - 1))
        self.assertEqual(merged.total_of(NORMAL), 4)
        self.lanes = SharedLanes(True)

    def test_none_passes_another_s_that_is_not_loaded(self) -> None:
        early, waits, late = self.add(None), self.page(self.a), self.add(self.b)
        merged = self.lanes.merged()
        merged.check()
        self.assertEqual(merged.kinds(NORMAL), ([], [early], [waits, late]))
        self.lanes = SharedLanes(True)

    def test_they_go_with_all_else(self) -> None:
        """Into lanes for each, and back."""
        lanes: Lanes[Job] = Lanes()
        lanes.add_rows(NORMAL, self.a, 2)
        lanes.add_rows(LOW, None, 1)
        self.lanes.take_over(lanes)
        self.assertEqual((self.lanes.total_of(NORMAL), self.lanes.total_of(LOW)), (2, 1))
        merged = self.lanes.merged()
        self.assertEqual({owner: rows.count for owner, rows in merged.rows(NORMAL).items()}, {self.a: 2})
        merged.check()
        self.lanes = SharedLanes(True)
