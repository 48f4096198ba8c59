"""Tests of L{txgear.broker.overflow}: how what is in memory and what is not come in order."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.entries import SLACK
from txgear.broker.model import Job
from txgear.broker.overflow import Overflow
from txgear.broker.states import DELAYED, DONE, PAGED
from txgear.broker.tenants import Tenant
from txgear.test.support.broker import make_job


class OverflowTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.overflow: Overflow[Job] = Overflow()

    def job(self, place: int) -> Job:
        job = make_job(number=place)
        job.state = PAGED
        return job

    def add(self, *places: int) -> list[Job]:
        jobs = [self.job(place) for place in places]
        for job in jobs:
            self.overflow.append(job)
        return jobs

    def places(self) -> list[int]:
        return [job.place for job in self.overflow.upcoming()]

    def before(self) -> list[int]:
        """Those that are before all rows."""
        return [job.place for job in self.overflow.before_rows()]


class ItemsTests(OverflowTestCase):
    def test_in_the_order_in_which_they_came(self) -> None:
        one, two = self.add(1, 2)
        self.assertEqual((self.places(), self.before(), self.overflow.total), ([1, 2], [1, 2], 2))
        self.assertEqual((self.overflow.first(), self.overflow.heads()), (one, [one]))
        self.overflow.remove(one)
        self.assertIs(self.overflow.first(), two)
        self.overflow.remove(two)
        self.assertEqual((self.overflow.first(), self.overflow.heads(), self.overflow.total), (None, [], 0))

    def test_one_that_comes_late(self) -> None:
        """It has its place all the same."""
        self.add(1, 5, 7, 6, 2)
        self.assertEqual(self.places(), [1, 2, 5, 6, 7])

    def test_whether_one_is_before_them_all(self) -> None:
        self.assertTrue(self.overflow.is_behind(9))
        jobs = self.add(3)
        self.assertEqual([self.overflow.is_behind(place) for place in (2, 4)], [True, False])
        self.overflow.add_rows(None, 1, 7)
        self.overflow.remove(jobs[0])
        self.assertEqual([self.overflow.is_behind(place) for place in (6, 8)], [True, False])

    def test_out_of_the_middle(self) -> None:
        jobs = self.add(*range(1, 4))
        self.overflow.remove(jobs[1])
        jobs[1].state = DONE
        self.assertEqual(self.places(), [1, 3])
        self.overflow.remove(jobs[0])
        self.assertIs(self.overflow.first(), jobs[2])

    def test_one_that_is_withdrawn_and_comes_again(self) -> None:
        jobs = self.add(1, 2, 3)
        self.overflow.remove(jobs[0])
        jobs[0].state = DONE
        self.overflow.remove(jobs[1], again=True)
        jobs[1].place = 9
        self.overflow.append(jobs[1])
        self.assertEqual(self.places(), [3, 9])
        self.assertIs(self.overflow.first(), jobs[2])

    def test_one_that_is_withdrawn_again_from_where_it_was_first(self) -> None:
        """Its entry at the front is the stale one."""
        jobs = self.add(1, 2, 3)
        self.overflow.remove(jobs[1], again=True)
        jobs[1].place = 9
        self.overflow.append(jobs[1])
        self.overflow.items.popleft()
        self.overflow.count -= 1
        self.overflow.append(self.job(10))
        self.overflow.remove(jobs[1])
        jobs[1].state = DELAYED
        self.assertEqual(self.places(), [3, 10])

    def test_tombstones_do_not_pile_up(self) -> None:
        jobs = self.add(*range(1, 6 * SLACK))
        for job in jobs[1:-1]:
            self.overflow.remove(job)
            job.state = DONE
        self.assertLess(len(self.overflow.items), 2 * SLACK)
        self.assertEqual(self.places(), [jobs[0].place, jobs[-1].place])


class RowsTests(OverflowTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.owner = Tenant("a")

    def test_what_comes_later_is_behind_them(self) -> None:
        """Whether it comes itself, or is taken in."""
        (one,) = self.add(1)
        self.overflow.add_rows(None, 1, 2)
        self.overflow.add_rows(None, 1, 4)
        self.add(3, 5)
        self.assertEqual((self.before(), self.places(), self.overflow.total), ([1], [1, 3, 5], 5))
        self.assertEqual([job.place for job in self.overflow.heads()], [1, 3])
        self.overflow.remove(one)
        self.assertIsNone(self.overflow.first())

    def test_one_that_becomes_a_row_whose_place_is_before_the_others(self) -> None:
        """It was behind them all in memory, and before all rows."""
        self.overflow.add_rows(None, 1, 5)
        self.assertEqual(self.overflow.next_rows(), (None, 4))
        self.overflow.add_rows(None, 1, 3)
        self.assertEqual(self.overflow.next_rows(), (None, 2))

    def test_when_they_have_been_read_all_are_in_order(self) -> None:
        for place in (2, 4, 6):
            self.overflow.add_rows(None, 1, place)
        self.add(3, 5)
        for place in (2, 4):
            self.add(place)
            self.overflow.take_row(None)
        self.assertEqual(self.overflow.read(None, 1, 4), 0)
        self.assertEqual((self.before(), self.overflow.next_rows()), ([2, 3, 4], (None, 4)))
        self.add(6)
        self.overflow.take_row(None)
        self.assertEqual((self.before(), self.overflow.rows), ([2, 3, 4, 5, 6], {}))

    def test_the_last_of_them_is_before_what_was_behind_it(self) -> None:
        self.overflow.add_rows(None, 1, 2)
        self.add(3)
        self.add(2)
        self.overflow.take_row(None)
        self.assertEqual(self.before(), [2, 3])

    def test_of_several_owners(self) -> None:
        """The lowest places are read first, and only then something is before all of them."""
        self.overflow.add_rows(None, 1, 2)
        self.overflow.add_rows(self.owner, 1, 4)
        self.add(3)
        self.assertEqual(self.overflow.next_rows(), (None, 1))
        self.add(2)
        self.overflow.take_row(None)
        self.assertEqual((self.before(), self.overflow.next_rows()), ([2, 3], (self.owner, 3)))

    def test_so_many_of_which_the_places_are_not_known(self) -> None:
        self.overflow.add_rows(None, 1, 7)
        self.overflow.add_rows(None, 5)
        self.overflow.add_rows(self.owner, 2)
        self.assertEqual((self.overflow.total, self.overflow.next_rows()), (8, (None, 0)))

    def test_less_than_was_thought(self) -> None:
        self.overflow.add_rows(None, 3)
        self.add(2)
        self.assertEqual(self.overflow.read(None, 0, None), 3)
        self.assertEqual((self.before(), self.overflow.rows), ([2], {}))

    def test_some_that_became_rows_while_others_were_read(self) -> None:
        """They are before what was asked for, and still to be read."""
        self.overflow.add_rows(None, 1, 5)
        self.overflow.add_rows(None, 1, 6)
        self.overflow.add_rows(None, 1, 3)
        self.add(5)
        self.overflow.take_row(None)
        self.assertEqual(self.overflow.read(None, 4, None), 0)
        self.assertEqual((self.overflow.next_rows(), self.before()), ((None, 2), []))

    def test_an_owner_that_has_none_any_more(self) -> None:
        self.assertEqual(self.overflow.read(None, 0, 7), 0)

    def test_one_that_is_behind_them_leaves(self) -> None:
        self.overflow.add_rows(None, 1, 2)
        (job,) = self.add(3)
        self.overflow.remove(job)
        self.assertEqual((self.places(), self.overflow.count), ([], 0))

    def test_which_can_become_rows(self) -> None:
        """No other may be handed out that is behind them: the last one, and those behind rows."""
        one, two = self.add(1, 2)
        self.assertEqual([self.overflow.may_spare(job) for job in (one, two)], [False, True])
        self.overflow.add_rows(None, 1, 3)
        behind = self.add(4, 5)
        self.assertEqual([self.overflow.may_spare(job) for job in behind], [True, True])
        self.assertEqual(self.overflow.may_spare(two), True)

    def test_not_one_that_was_withdrawn_and_came_again(self) -> None:
        """Its entries look alike."""
        jobs = self.add(1, 2, 3)
        self.overflow.remove(jobs[1], again=True)
        jobs[1].place = 9
        self.overflow.append(jobs[1])
        self.assertFalse(self.overflow.may_spare(jobs[1]))

        self.overflow.remove(jobs[2])
        self.assertIsNone(self.overflow.last())

    def test_which_is_the_last(self) -> None:
        """What has left from among the others is not."""
        self.assertIsNone(self.overflow.last())
        one, two, three, four = self.add(1, 2, 3, 4)
        self.assertIs(self.overflow.last(), four)
        for job in (three, two, four):
            self.overflow.remove(job)
            job.state = DONE
        self.assertIs(self.overflow.last(), one)
        self.overflow.remove(one)
        self.assertIsNone(self.overflow.last())

    def test_one_that_is_about_to_come(self) -> None:
        self.assertTrue(self.overflow.may_pass_by(1))
        self.add(5)
        self.assertEqual([self.overflow.may_pass_by(place) for place in (4, 6)], [False, True])
