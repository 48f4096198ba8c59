"""Tests of L{txgear.broker.ended.endedjobs}."""

from __future__ import annotations

from math import inf
from sys import getsizeof

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ended.deadgroups import UNKNOWN
from txgear.broker.ended.endedjobs import MOST_FRESH, EndedJobs, lane_of
from txgear.broker.history import Aside
from txgear.broker.model import Function, Job
from txgear.broker.records import ASIDE, KEPT, NAMED, OWN, Lane
from txgear.broker.records import DEAD as DEAD_KIND
from txgear.broker.states import DEAD, DONE
from txgear.broker.tenants import Tenant
from txgear.broker.uniques import Uniques
from txgear.policies import EXCEPTION, FAIL
from txgear.test.support.broker import make_job


class EndedJobsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.uniques = Uniques()
        self.ended = EndedJobs(self.uniques)
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
        counted = self.ended.shelf(self.function) if dead else self.ended.results(self.function)
        return list(counted.in_order()), counted.bytes


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
        self.assertIs(self.uniques.find_ended(self.function, b"v"), first)
        self.assertIsNone(self.uniques.find_ended(self.function, b"u"))
        self.ended.correct(first, b"v", 0)
        self.ended.correct(first, None, 0)
        self.ended.check()
        self.assertIs(self.uniques.find_ended(self.function, b"v"), second)
        self.ended.correct(own, b"w", 7)
        self.assertIs(self.uniques.find_ended(self.function, b"w"), own)

    def test_few_that_are_left_take_no_room_for_many(self) -> None:
        """Those of one unique included, of which all but one are beside the last one."""
        jobs = [self.put(unique=b"%d" % (number // 2)) for number in range(1000)]
        tables = self.ended.jobs, self.uniques.jobs, self.uniques.older
        for job in jobs[:-1]:
            self.ended.remove(job)
        self.ended.trim()
        self.assertTrue(all(getsizeof(table) < 500 for table in tables))
        self.assertEqual((list(self.ended.jobs.values()), list(self.uniques)), (jobs[-1:], jobs[-1:]))

    def test_functions_too(self) -> None:
        self.put(3)
        self.function = Function(b"g")
        self.assertEqual(self.shelf(False), ([], 0))

    def test_one_that_is_removed_leaves_nothing(self) -> None:
        first, second = self.put(3, unique=b"u"), self.put(5)
        self.ended.remove(first)
        self.assertEqual((self.shelf(False), self.function.kept), (([second], 5), 1))
        self.assertIsNone(self.uniques.find_ended(self.function, b"u"))
        self.ended.remove(second)
        self.assertEqual(self.ended.jobs, {})
        self.ended.check()

    def test_the_last_one_has_the_unique(self) -> None:
        first, second = self.put(unique=b"u"), self.put(unique=b"u")
        self.assertIs(self.uniques.find_ended(self.function, b"u"), second)
        self.ended.remove(first)
        self.assertIs(self.uniques.newest_ended(b"u"), second)
        self.ended.remove(second)
        self.assertIsNone(self.uniques.newest_ended(b"u"))

    def test_of_the_same_name_the_last_that_is_there(self) -> None:
        first, second, third = (self.put(unique=b"u", since=float(number)) for number in range(3))
        other = self.put(unique=b"v")
        for gone, last in ((third, second), (first, second), (second, None)):
            self.ended.remove(gone)
            self.assertIs(self.uniques.find_ended(self.function, b"u"), last)
        self.assertIs(self.uniques.newest_ended(b"v"), other)
        self.ended.check()

    def test_all_of_a_name(self) -> None:
        first, second = self.put(unique=b"u"), self.put(unique=b"u")
        self.function = Function(b"g")
        third = self.put(unique=b"u")
        self.assertEqual(self.uniques.named_ended(b"u"), [second, first, third])
        self.assertEqual(self.uniques.named_ended(b"v"), [])

    def test_the_last_of_those_that_are_wanted(self) -> None:
        """Whether functions share the name, or not."""
        first = self.put(unique=b"u", since=1.0)
        for _ in range(2):
            self.assertIs(self.uniques.newest_ended(b"u", (first,).__contains__), first)
            self.assertIsNone(self.uniques.newest_ended(b"u", ().__contains__))
            self.function = Function(b"other")
            second = self.put(unique=b"u", since=2.0)
            self.assertIs(self.uniques.newest_ended(b"u", (first, second).__contains__), second)
        self.assertIsNone(self.uniques.newest_ended(b"v", (first,).__contains__))

    def test_the_last_that_was_done(self) -> None:
        self.assertIsNone(self.uniques.find_done(self.function, b"u"))
        dead = self.put(state=DEAD, unique=b"u")
        self.assertIsNone(self.uniques.find_done(self.function, b"u"))
        done = self.put(unique=b"u")
        self.assertIs(self.uniques.find_done(self.function, b"u"), done)
        later = self.put(state=DEAD, unique=b"u")
        self.assertIs(self.uniques.find_done(self.function, b"u"), done)
        self.assertIs(self.uniques.find_ended(self.function, b"u"), later)
        for job in (later, dead):
            self.ended.remove(job)
        self.assertIs(self.uniques.newest_ended(b"u"), done)

    def test_their_time(self) -> None:
        job, gone = self.put(since=1.0), self.put(since=0.5)
        self.ended.remove(gone)
        self.assertEqual((gone.due, self.ended.next_due()), (0.0, 61.0))
        self.assertIs(self.ended.pop_due(61.0), job)

    def test_one_that_is_stripped_is_known_and_counts_no_more(self) -> None:
        first, second = self.put(10, unique=b"u"), self.put(10)
        self.ended.drop_result(first)
        self.assertEqual((self.shelf(False), first.size), (([second], 10), 0))
        self.assertIs(self.uniques.find_ended(self.function, b"u"), first)
        self.ended.drop_result(first)
        self.ended.remove(first)
        self.assertEqual((self.shelf(False), self.function.kept), (([second], 10), 1))


class OwnTests(EndedJobsTestCase):
    """Those that are kept by settings of their own."""

    def own(self, size: int = 10) -> Job:
        job = self.job(size)
        self.ended.add(job, 60.0, own=True)
        return job

    def test_they_are_on_two_shelves(self) -> None:
        other, job = self.put(10), self.own()
        self.assertEqual(self.shelf(False), ([other, job], 20))
        self.assertEqual((list(self.ended.own.jobs.values()), self.ended.own.bytes), ([job], 10))

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
        self.assertIs(self.uniques.find_ended(self.function, b"u"), job)
        self.assertIsNone(self.ended.counted(job))
        self.assertIs(self.ended.counted(other), self.ended.results(self.function))

    def test_a_unique_that_functions_share(self) -> None:
        """The one that ended last."""
        late = self.put(unique=b"u", since=3.0)
        self.function = Function(b"g")
        self.put(unique=b"u", since=1.0)
        self.assertIs(self.uniques.newest_ended(b"u"), late)


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
        self.assertEqual(list(self.ended.groups.of(self.function)), [UNKNOWN])
        self.assertEqual((self.ended.dead(self.function), self.function.kept), (3, 3))
        self.assertIs(self.uniques.find_ended(self.function, b"u"), first)
        self.assertIsNone(self.ended.counted(first))
        self.ended.give_back(owned, own=True, reason=FAIL)
        self.ended.check()
        self.assertEqual((self.shelf(True), self.ended.own.bytes), (([second, owned], 9), 4))
        self.assertEqual(list(self.ended.groups.of(self.function)), [UNKNOWN, FAIL])

    def test_one_that_was_so_before(self) -> None:
        job = self.job(3, DEAD)
        self.ended.add(job, 60.0, own=True, aside=self.aside)
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


class FreshTests(EndedJobsTestCase):
    """Those that have just ended, with nothing to be said of them but that their results are kept."""

    def keep(self, size: int = 0, unique: bytes = b"", until: float = 60.0) -> Job:
        job = self.job(size, unique=unique)
        if job.key is not None:
            # As one that others could join.
            self.uniques.keep(job.key, job)
        self.ended.keep(job, until)
        self.ended.check()
        return job

    def test_they_are_found_by_number_at_once(self) -> None:
        first, second = self.keep(3), self.keep(5)
        self.assertEqual(self.ended.jobs, {1: first, 2: second})
        self.assertEqual((self.function.kept, len(self.ended)), (2, 2))
        self.assertEqual(list(self.uniques), [])

    def test_they_are_found_wherever_somebody_looks(self) -> None:
        job = self.keep(3, b"u")
        self.assertIs(self.uniques.find_ended(self.function, b"u"), job)
        job = self.keep(3, b"v")
        self.assertEqual(self.shelf(False)[1], 6)
        job = self.keep(3, b"w")
        self.assertIsNotNone(self.ended.counted(job))
        job = self.keep(3)
        self.assertEqual(self.ended.kind_of(job), KEPT)
        job = self.keep(3, until=50.0)
        self.assertIs(self.ended.pop_due(60.0), job)

    def test_in_the_order_of_their_ends(self) -> None:
        """Among those that were put on their shelves at once as well."""
        jobs = [self.put(unique=b"u"), self.keep(unique=b"u"), self.put(unique=b"u"), self.keep(unique=b"u")]
        other = Function(b"g")
        other, self.function = self.function, other
        self.keep(unique=b"u")
        self.function = other
        self.assertEqual(self.shelf(False), (jobs, 0))
        self.assertIs(self.uniques.find_ended(self.function, b"u"), jobs[-1])
        self.ended.remove(jobs[-1])
        self.assertIs(self.uniques.find_ended(self.function, b"u"), jobs[-2])
        self.ended.check()

    def test_their_time(self) -> None:
        self.put(since=30.0)
        self.keep(until=80.0)
        self.assertEqual(self.ended.next_due(), 80.0)
        self.keep(until=70.0)
        self.assertEqual(self.ended.next_due(), 70.0)
        self.assertEqual(self.ended.next_due(), 70.0)
        self.assertEqual(self.ended.next_due(), 70.0)

    def test_they_are_forgotten_when_their_time_has_come(self) -> None:
        """Each at its own time, whatever functions they are of, and be others forgotten meanwhile."""
        first, second, third = self.keep(until=60.0), self.keep(until=60.0), self.keep(until=70.0)
        self.function = Function(b"g")
        other = self.keep(until=65.0)
        self.assertIsNone(self.ended.pop_due(59.0))
        self.assertIs(self.ended.pop_due(60.0), first)
        self.ended.check()
        self.ended.remove(first)
        self.assertEqual(self.ended.next_due(), 60.0)
        self.assertIs(self.ended.pop_due(60.0), second)
        self.ended.remove(second)
        self.assertEqual(self.ended.next_due(), 65.0)
        self.assertIsNone(self.ended.pop_due(64.0))
        self.ended.check()
        self.assertIs(self.ended.pop_due(70.0), other)
        self.ended.remove(other)
        self.ended.check()
        self.assertEqual(self.ended.next_due(), 70.0)
        self.assertIs(self.ended.pop_due(70.0), third)
        self.ended.remove(third)
        self.assertIsNone(self.ended.pop_due(70.0))
        self.ended.check()

    def test_more_come_while_some_are_forgotten(self) -> None:
        first, second = self.keep(until=60.0), self.keep(until=61.0)
        self.assertIs(self.ended.pop_due(60.0), first)
        third = self.keep(until=80.0)
        self.ended.remove(first)
        self.assertIs(self.ended.pop_due(61.0), second)
        self.ended.remove(second)
        self.assertEqual(self.ended.next_due(), 80.0)
        self.assertIsNone(self.ended.pop_due(79.0))
        self.assertIs(self.ended.pop_due(80.0), third)
        self.ended.remove(third)
        self.assertEqual(self.ended.next_due(), inf)

    def test_one_of_which_only_the_unique_stays_has_its_own_time(self) -> None:
        first, second = self.keep(3, b"u", until=60.0), self.keep(3, b"v", until=60.5)
        self.ended.drop_result(second)
        self.ended.check()
        self.assertEqual(self.ended.kind_of(second), NAMED)
        self.ended.remove(first)
        self.assertEqual(self.ended.next_due(), 60.5)
        self.assertIs(self.ended.pop_due(61.0), second)
        self.ended.remove(second)
        self.ended.check()

    def test_one_that_is_removed(self) -> None:
        job = self.keep(3, b"u")
        self.ended.remove(job)
        self.ended.check()
        self.assertEqual((self.shelf(False), self.function.kept, job.due), (([], 0), 0, 0.0))

    def test_a_great_many_leave_no_room(self) -> None:
        tables = self.ended.jobs, self.uniques.jobs
        empty = [*map(getsizeof, tables)]
        jobs = [self.put(unique=b"%d" % number) for number in range(100)]
        for job in jobs:
            self.assertNotEqual([*map(getsizeof, tables)], empty)
            self.ended.remove(job)
        self.assertEqual([*map(getsizeof, tables)], empty)

    def test_a_great_many(self) -> None:
        for number in range(MOST_FRESH):
            job = self.job(unique=b"%d" % number)
            self.uniques.add(job.unique, job)
            self.ended.keep(job, 60.5)
        self.ended.check()
        self.assertEqual(self.ended.next_due(), 60.5)

    def test_each_has_its_time(self) -> None:
        """Whichever has ended first, and whether or not anybody has looked."""
        late, soon = self.job(), self.job()
        self.ended.keep(late, 60.5)
        self.ended.keep(soon, 20.5)
        self.ended.check()
        self.assertEqual(self.ended.next_due(), 20.5)
        self.assertIsNone(self.ended.pop_due(20.0))
        for now, job in ((20.5, soon), (60.5, late)):
            self.assertIs(self.ended.pop_due(now), job)
            self.ended.remove(job)
            self.ended.check()
        self.assertIsNone(self.ended.pop_due(100.0))

    def test_of_several_functions(self) -> None:
        other = Function(b"g")
        jobs = [self.job(), self.job(), self.job()]
        jobs[1].function = other
        for job in jobs:
            self.ended.keep(job, 60.5)
        self.assertEqual(list(self.ended.results(self.function).in_order()), [jobs[0], jobs[2]])
        self.assertEqual(list(self.ended.results(other).in_order()), [jobs[1]])
        self.ended.check()

    def test_those_that_leave_the_memory_before(self) -> None:
        """With others that do, and are on their shelves."""
        others = [self.put(3, unique=b"u"), self.put(4, DEAD)]
        jobs = [self.keep(5, b"v"), self.keep(6)]
        left = self.keep(7, b"w")
        self.ended.let_go([*jobs, *others])
        self.ended.check()
        self.assertEqual((self.ended.jobs, self.ended.rows, self.function.kept), ({3 + 2: left}, 4, 5))
        self.assertEqual([job.due for job in jobs], [0.0, 0.0])
        self.assertIsNone(self.uniques.find_ended(self.function, b"v"))
        shelf = self.ended.results(self.function)
        self.assertEqual((shelf.count, shelf.rows, shelf.bytes), (4, 3, 21))
        self.ended.check()

    def test_the_first_of_all_leaves_the_memory(self) -> None:
        job = self.keep(5, b"v")
        self.ended.let_go([job])
        self.ended.check()
        shelf = self.ended.results(self.function)
        self.assertEqual((shelf.count, shelf.bytes, self.ended.jobs), (1, 5, {}))
        self.assertEqual([rows.lane for rows in self.ended.lanes], [Lane(b"f", "", KEPT)])


class RowsTests(EndedJobsTestCase):
    """Those that are not in memory."""

    aside = Aside("r", 5.0, "")

    def put_all(self) -> dict[int, Job]:
        """One of each kind, by that."""
        jobs = {KEPT: self.put(3, unique=b"u"), DEAD_KIND + 5: self.put(5, DEAD, unique=b"u")}
        for kind, state, counted, own, reason in (
            (NAMED, DONE, False, False, UNKNOWN),
            (NAMED | OWN, DONE, False, True, UNKNOWN),
            (KEPT | OWN, DONE, True, True, UNKNOWN),
            (DEAD_KIND + 1, DEAD, True, False, EXCEPTION),
            (DEAD_KIND | OWN, DEAD, True, True, FAIL),
        ):
            jobs[kind] = self.job(7, state, unique=b"v")
            self.ended.add(jobs[kind], 60.0, counted, own, reason)
        jobs[ASIDE] = self.put(9, DEAD)
        self.ended.set_aside(jobs[ASIDE], self.aside)
        return jobs

    def counted(self) -> tuple[object, ...]:
        function, ended = self.function, self.ended
        shelves = ended.shelf(function), ended.results(function), ended.own
        groups = {reason: (group.count, group.bytes) for reason, group in ended.groups.of(function).items()}
        ended.check()
        return (
            *[(shelf.count, shelf.bytes) for shelf in shelves],
            groups,
            ended.dead(function),
            function.kept,
            len(ended),
        )

    def test_they_count_as_those_in_memory_do(self) -> None:
        jobs = self.put_all()
        expected = self.counted()
        for kind, job in jobs.items():
            self.assertEqual(self.ended.kind_of(job), kind)
            if kind != ASIDE:
                self.ended.let_go([job])
            self.assertEqual(self.counted(), expected)
        self.assertEqual((list(self.ended.jobs), self.ended.rows), ([jobs[ASIDE].number], 7))
        self.assertIsNone(self.uniques.find_ended(self.function, b"u"))
        for kind, job in reversed(jobs.items()):
            if kind != ASIDE:
                self.ended.take_in(job, 60.0, kind, None)
            self.assertEqual(self.counted(), expected)
            self.assertEqual(self.ended.kind_of(job), kind)
        self.assertEqual(self.ended.rows, 0)
        self.assertIs(self.uniques.find_ended(self.function, b"u"), jobs[DEAD_KIND + 5])
        for shelf in (self.ended.results(self.function), self.ended.own):
            numbers = [job.number for job in shelf.in_order()]
            self.assertEqual((len(numbers) > 1, numbers), (True, sorted(numbers)))
        for job in jobs.values():
            self.ended.remove(job)
        self.assertEqual(self.counted(), ((0, 0), (0, 0), (0, 0), {}, 0, 0, 0))

    def test_of_a_server_that_starts(self) -> None:
        """It knows their numbers. Those that are set aside come into memory by and by."""
        first = self.job(3, DEAD)
        lane = Lane(b"f", "", DEAD_KIND)
        self.ended.add_rows(self.function, lane, 2, 10)
        aside = Lane(b"f", "", ASIDE)
        self.ended.add_rows(self.function, aside, 1, 4)
        self.assertEqual([rows.lane for rows in self.ended.lanes], [lane, aside])
        expected = ((2, 10), (0, 0), (0, 0), {FAIL: (2, 10)}, 3, 3, 3)
        self.assertEqual(self.counted(), expected)
        self.ended.take_in(first, 60.0, DEAD_KIND, None)
        self.assertEqual(self.counted(), expected)
        second = self.job(4, DEAD)
        self.assertEqual(list(self.ended.reviews.lanes), [aside])
        self.ended.take_in(second, 60.0, ASIDE, self.aside)
        self.assertEqual(self.counted(), expected)
        self.assertEqual((self.ended.reviews.name_of(second), self.ended.reviews.lanes), ("r", {}))

    def test_one_more_than_was_counted(self) -> None:
        job = self.job(3, DEAD)
        self.ended.take_in(job, 60.0, DEAD_KIND, None)
        self.assertEqual(self.counted(), ((1, 3), (0, 0), (0, 0), {FAIL: (1, 3)}, 1, 1, 1))

    def test_where_the_store_has_them(self) -> None:
        job = self.job()
        self.assertEqual(lane_of(job, 5), (b"f", "", 5))
        job.tenant = Tenant("somebody")
        self.assertEqual(lane_of(job, 5), (b"f", "somebody", 5))

    def test_many_at_once(self) -> None:
        mine, others = Function(b"f"), Function(b"g")
        owners = Tenant("one"), Tenant("other"), None
        jobs: list[Job] = []
        for self.function in (mine, others, mine):
            for tenant in owners:
                jobs.append(self.job(3, unique=b"u%d" % len(jobs)))
                jobs[-1].tenant = tenant
                self.ended.add(jobs[-1], 60.0)
        dead = self.job(5, DEAD)
        self.ended.add(dead, 60.0, reason=FAIL)
        kept, last = self.put(7), self.put(9)
        self.ended.let_go([*jobs[:7], dead, *jobs[7:], kept])
        self.ended.check()
        self.assertEqual((list(self.ended.jobs.values()), self.ended.rows), ([last], 11))
        counts = {rows.lane: (rows.count, rows.bytes) for rows in self.ended.lanes}
        names = "one", "other"
        expected = {Lane(b"f", name, KEPT): (2, 6) for name in names}
        expected |= {Lane(b"g", name, KEPT): (1, 3) for name in (*names, "")}
        expected |= {Lane(b"f", "", KEPT): (3, 13), Lane(b"f", "", DEAD_KIND): (1, 5)}
        self.assertEqual(counts, expected)

    def test_their_places_are_higher_than_what_is_said(self) -> None:
        for state in (DONE, DEAD):
            jobs = [self.put(state=state), self.put(state=state), self.put(state=state)]
            first = jobs[0].place
            for job, read_to in ((jobs[1], first), (jobs[2], first), (jobs[0], first - 1)):
                self.ended.let_go([job])
                ended = self.ended
                counted = ended.shelf(self.function) if state == DEAD else ended.results(self.function)
                (rows,) = counted.lanes.values()
                self.assertEqual(rows.read_to, read_to)
                self.ended.check()


class CheckTests(EndedJobsTestCase):
    def test_what_is_wrong_is_found(self) -> None:
        first, dead = self.put(3, unique=b"u"), self.put(5, DEAD, unique=b"u")
        owned = self.job(7)
        self.ended.add(owned, 60.0, own=True)
        self.ended.check()
        for thing, name, wrong in (
            (self.function, "kept", 7),
            (self.ended.shelf(self.function), "bytes", 7),
            (self.ended.own, "bytes", 1),
            (dead, "state", DONE),
            (first, "key", None),
            (owned, "number", 9),
        ):
            right = getattr(thing, name)
            setattr(thing, name, wrong)
            self.assertRaises(AssertionError, self.ended.check)
            setattr(thing, name, right)
        first.due = 50.0
        self.assertRaises(AssertionError, self.ended.check)
