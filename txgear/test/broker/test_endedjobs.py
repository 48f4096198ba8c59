"""Tests of L{txgear.broker.endedjobs}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.deadgroups import UNKNOWN
from txgear.broker.endedjobs import MOST_AT_ONCE, EndedJobs
from txgear.broker.history import Aside
from txgear.broker.model import Function, Job
from txgear.broker.states import DEAD, DONE
from txgear.policies import FAIL, Retention
from txgear.test.support.broker import make_job


class EndedJobsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.ended = EndedJobs()
        self.function = Function(b"f")
        self.number = 0

    def job(self, size: int = 0, state: int = DONE, unique: bytes = b"", since: float = 0.0) -> Job:
        """One that has ended, and is not in the archive."""
        self.number += 1
        job = make_job(self.function, self.number, unique=unique, workload=b"w" * size)
        job.state = state
        job.since = since
        return job

    def put(self, size: int = 0, state: int = DONE, unique: bytes = b"", since: float = 0.0) -> Job:
        job = self.job(size, state, unique, since)
        self.ended.add(job, since + 60)
        return job

    def shelf(self, dead: bool) -> tuple[list[Job], int]:
        shelf = self.ended.shelf(self.function, dead)
        return list(shelf.jobs.values()), shelf.bytes


class EndedJobsTests(EndedJobsTestCase):
    def test_the_dead_and_others_have_shelves_of_their_own(self) -> None:
        dead, done = self.put(3, DEAD), self.put(5)
        self.assertEqual((self.shelf(True), self.shelf(False)), (([dead], 3), ([done], 5)))
        self.assertEqual((list(self.ended.jobs.values()), self.function.kept), ([dead, done], 2))

    def test_a_dead_one_with_another_workload(self) -> None:
        """It is counted by its new size, and is the last one that has its new name."""
        first, second = self.put(3, DEAD, unique=b"u"), self.put(4, DEAD, unique=b"v")
        own = self.job(5, DEAD)
        self.ended.add(own, 60, own=True)
        self.ended.correct(own, None, 7)
        self.ended.correct(first, b"v", 30)
        self.ended.check()
        self.assertEqual((self.shelf(True)[1], self.ended.own.bytes), (41, 7))
        self.assertIs(self.ended.find(self.function, b"v"), first)
        self.assertIsNone(self.ended.find(self.function, b"u"))
        self.ended.correct(first, b"v", 0)
        self.ended.correct(first, None, 0)
        self.ended.check()
        self.assertIs(self.ended.find(self.function, b"v"), second)
        self.ended.correct(own, b"w", 7)
        self.assertIs(self.ended.find(self.function, b"w"), own)

    def test_functions_too(self) -> None:
        self.put(3)
        self.function = Function(b"g")
        self.assertEqual(self.shelf(False), ([], 0))

    def test_one_that_is_removed_leaves_nothing(self) -> None:
        first, second = self.put(3, unique=b"u"), self.put(5)
        self.ended.remove(first)
        self.assertEqual((self.shelf(False), self.function.kept), (([second], 5), 1))
        self.assertIsNone(self.ended.find(self.function, b"u"))
        self.ended.remove(second)
        self.assertEqual(self.ended.jobs, {})
        self.ended.check()

    def test_the_last_one_has_the_unique(self) -> None:
        first, second = self.put(unique=b"u"), self.put(unique=b"u")
        self.assertIs(self.ended.find(self.function, b"u"), second)
        self.ended.remove(first)
        self.assertIs(self.ended.newest(b"u"), second)
        self.ended.remove(second)
        self.assertIsNone(self.ended.newest(b"u"))

    def test_of_the_same_name_the_last_that_is_there(self) -> None:
        first, second, third = (self.put(unique=b"u", since=float(number)) for number in range(3))
        other = self.put(unique=b"v")
        for gone, last in ((third, second), (first, second), (second, None)):
            self.ended.remove(gone)
            self.assertIs(self.ended.find(self.function, b"u"), last)
        self.assertIs(self.ended.newest(b"v"), other)
        self.ended.check()

    def test_all_of_a_name(self) -> None:
        first, second = self.put(unique=b"u"), self.put(unique=b"u")
        self.function = Function(b"g")
        third = self.put(unique=b"u")
        self.assertEqual(self.ended.named(b"u"), [second, first, third])
        self.assertEqual(self.ended.named(b"v"), [])

    def test_the_last_of_those_that_are_wanted(self) -> None:
        """Whether functions share the name, or not."""
        first = self.put(unique=b"u", since=1.0)
        for _ in range(2):
            self.assertIs(self.ended.newest(b"u", (first,).__contains__), first)
            self.assertIsNone(self.ended.newest(b"u", ().__contains__))
            self.function = Function(b"other")
            second = self.put(unique=b"u", since=2.0)
            self.assertIs(self.ended.newest(b"u", (first, second).__contains__), second)
        self.assertIsNone(self.ended.newest(b"v", (first,).__contains__))

    def test_the_last_that_was_done(self) -> None:
        self.assertIsNone(self.ended.find_done(self.function, b"u"))
        dead = self.put(state=DEAD, unique=b"u")
        self.assertIsNone(self.ended.find_done(self.function, b"u"))
        done = self.put(unique=b"u")
        self.assertIs(self.ended.find_done(self.function, b"u"), done)
        later = self.put(state=DEAD, unique=b"u")
        self.assertIs(self.ended.find_done(self.function, b"u"), done)
        self.assertIs(self.ended.find(self.function, b"u"), later)
        for job in (later, dead):
            self.ended.remove(job)
        self.assertIs(self.ended.newest(b"u"), done)

    def test_their_time(self) -> None:
        job, gone = self.put(since=1.0), self.put(since=0.5)
        self.ended.remove(gone)
        self.assertEqual((gone.due, self.ended.due.next_due()), (0.0, 61.0))
        self.assertIs(self.ended.due.pop_due(61.0), job)

    def test_what_is_too_many_is_the_oldest(self) -> None:
        jobs = [self.put(10) for _ in range(5)]
        for bounds, surplus in (
            (Retention(1.0), []),
            (Retention(1.0, jobs=5), []),
            (Retention(1.0, jobs=3), jobs[:2]),
            (Retention(1.0, bytes=50), []),
            (Retention(1.0, bytes=49), jobs[:1]),
            (Retention(1.0, bytes=15), jobs[:4]),
            (Retention(1.0, jobs=4, bytes=20), jobs[:3]),
            (Retention(1.0, jobs=1, bytes=1), jobs[:4]),
        ):
            self.assertEqual(self.ended.surplus(jobs[-1], bounds), surplus)

    def test_not_too_many_at_once(self) -> None:
        jobs = [self.put() for _ in range(MOST_AT_ONCE * 2)]
        self.assertEqual(self.ended.surplus(jobs[-1], Retention(1.0, jobs=1)), jobs[:MOST_AT_ONCE])

    def test_one_that_is_stripped_is_known_and_counts_no_more(self) -> None:
        first, second = self.put(10, unique=b"u"), self.put(10)
        self.ended.drop_result(first)
        self.assertEqual((self.shelf(False), first.size), (([second], 10), 0))
        self.assertIs(self.ended.find(self.function, b"u"), first)
        self.ended.drop_result(first)
        self.ended.remove(first)
        self.assertEqual((self.shelf(False), self.function.kept), (([second], 10), 1))

    def test_they_can_be_put_into_the_order_of_their_ends(self) -> None:
        late, early, middle = self.put(since=3.0), self.put(since=1.0), self.put(since=2.0)
        dead = self.put(state=DEAD, since=0.0)
        self.ended.sort()
        self.assertEqual(self.shelf(False)[0], [early, middle, late])
        self.assertEqual(list(self.ended.jobs), [job.number for job in (dead, early, middle, late)])

    def test_those_of_the_same_name_too(self) -> None:
        late, early = self.put(unique=b"u", since=3.0), self.put(unique=b"u", since=1.0)
        self.assertIs(self.ended.newest(b"u"), early)
        self.ended.sort()
        self.assertIs(self.ended.newest(b"u"), late)
        self.ended.remove(late)
        self.assertIs(self.ended.newest(b"u"), early)


class OwnTests(EndedJobsTestCase):
    """Those that are kept by settings of their own."""

    def own(self, size: int = 10) -> Job:
        job = self.job(size)
        self.ended.add(job, 60.0, own=True)
        return job

    def test_their_oldest_are_too_many_by_a_ceiling(self) -> None:
        self.put(10)
        jobs = [self.own() for _ in range(3)]
        for ceiling, beyond in (
            (Retention(1.0), []),
            (Retention(1.0, jobs=2), jobs[:1]),
            (Retention(1.0, bytes=10), jobs[:2]),
        ):
            self.assertEqual(self.ended.beyond(ceiling), beyond)

    def test_those_that_go_count_no_more(self) -> None:
        first, second = self.own(), self.own()
        self.ended.drop_result(first)
        self.assertEqual(self.ended.own.bytes, 10)
        self.ended.remove(second)
        self.assertEqual((list(self.ended.own.jobs), self.ended.own.bytes), ([first.number], 0))

    def test_those_of_which_only_the_unique_is_taken_count_for_no_bounds(self) -> None:
        job, other = self.job(unique=b"u"), self.put(unique=b"v")
        self.ended.add(job, 60.0, counted=False)
        self.assertEqual(self.shelf(False), ([other], 0))
        self.assertIs(self.ended.find(self.function, b"u"), job)
        self.assertEqual(self.ended.surplus(job, Retention(1.0, jobs=1)), [])

    def test_a_unique_that_functions_share(self) -> None:
        """The one that ended last."""
        late = self.put(unique=b"u", since=3.0)
        self.function = Function(b"g")
        self.put(unique=b"u", since=1.0)
        self.assertIs(self.ended.newest(b"u"), late)


class ReviewTests(EndedJobsTestCase):
    """Dead jobs that are set aside."""

    aside = Aside("r", 5.0, "")

    def test_they_are_on_no_shelf_and_in_no_group(self) -> None:
        owned = self.job(4, DEAD)
        self.ended.add(owned, 60.0, own=True, reason=FAIL)
        first, second = self.put(3, DEAD, unique=b"u"), self.put(5, DEAD)
        for job in (owned, first):
            self.ended.set_aside(job, self.aside)
            self.ended.check()
        self.assertEqual((self.shelf(True), self.ended.own.jobs), (([second], 5), {}))
        self.assertEqual(self.ended.groups.of(self.function), {UNKNOWN: {second.number: second}})
        self.assertEqual((self.ended.dead(self.function), self.function.kept), (3, 3))
        self.assertIs(self.ended.find(self.function, b"u"), first)
        self.assertEqual(self.ended.surplus(first, Retention(1.0, jobs=1)), [])
        self.ended.give_back(owned, own=True, reason=FAIL)
        self.ended.check()
        self.assertEqual((self.shelf(True), self.ended.own.bytes), (([second, owned], 9), 4))
        self.assertEqual(list(self.ended.groups.of(self.function)), [UNKNOWN, FAIL])

    def test_one_that_was_so_before(self) -> None:
        job = self.job(3, DEAD)
        self.ended.add(job, 60.0, own=True, aside=self.aside)
        self.ended.sort()
        self.ended.check()
        self.assertEqual((self.shelf(True), self.ended.own.bytes), (([], 0), 0))
        self.assertEqual((list(self.ended.reviews.by_name), self.ended.dead(self.function)), (["r"], 1))
        self.ended.remove(job)
        self.ended.check()
        self.assertEqual((self.ended.reviews.by_name, self.ended.dead(self.function)), ({}, 0))

    def test_with_another_workload(self) -> None:
        job = self.put(3, DEAD)
        self.ended.set_aside(job, self.aside)
        self.ended.correct(job, None, 8)
        self.ended.check()
        self.assertEqual(self.ended.reviews.by_name["r"].sizes, {self.function: (1, 8)})

    def test_from_one_review_to_another(self) -> None:
        job = self.put(3, DEAD)
        for name in ("a", "b"):
            self.ended.set_aside(job, Aside(name, 1.0, ""))
            self.ended.check()
        self.assertEqual(list(self.ended.reviews.by_name), ["b"])


class CheckTests(EndedJobsTestCase):
    def test_what_is_wrong_is_found(self) -> None:
        first, dead = self.put(3, unique=b"u"), self.put(5, DEAD, unique=b"u")
        owned = self.job(7)
        self.ended.add(owned, 60.0, own=True)
        self.ended.check()
        for thing, name, wrong in (
            (self.function, "kept", 7),
            (self.ended.shelf(self.function, dead=True), "bytes", 7),
            (self.ended.own, "bytes", 1),
            (dead, "state", DONE),
            (first, "key", None),
            (owned, "number", 9),
        ):
            right = getattr(thing, name)
            setattr(thing, name, wrong)
            self.assertRaises(AssertionError, self.ended.check)
            setattr(thing, name, right)
        self.ended.due.discard(first)
        self.assertRaises(AssertionError, self.ended.check)
