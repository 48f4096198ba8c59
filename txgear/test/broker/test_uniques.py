"""Tests of L{txgear.broker.uniques}."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from sys import getsizeof

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Function, Job
from txgear.broker.states import DEAD, DONE
from txgear.broker.uniques import APART, Uniques
from txgear.test.support.broker import make_job
from txgear.test.support.extras import PROPERTY, given, st


class UniquesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.uniques = Uniques()
        self.functions = [Function(b"f"), Function(b"g"), Function(b"h")]
        self.jobs = [
            make_job(function, number, unique=b"u") for number, function in enumerate(self.functions, 1)
        ]

    def found(self) -> list[Job | None]:
        return [self.uniques.find(function, b"u") for function in self.functions]

    def test_a_unique_belongs_to_its_function(self) -> None:
        for count, one in enumerate(self.jobs, 1):
            self.uniques.add(b"u", one)
            self.assertEqual(self.found(), self.jobs[:count] + [None] * (3 - count))
            self.assertEqual(len(list(self.uniques)), count)

    def test_one_that_ends_leaves_the_others(self) -> None:
        for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0)):
            left: list[Job | None] = list(self.jobs)
            for one in self.jobs:
                self.uniques.add(b"u", one)
            for index in order:
                self.uniques.remove(b"u", self.jobs[index])
                left[index] = None
                self.assertEqual(self.found(), left)
            self.assertEqual(list(self.uniques), [])

    def test_the_newest_of_those_that_are_wanted(self) -> None:
        """Whether one has the unique, or several."""
        first, second, third = self.jobs
        for wanted, found in (((), None), ((first,), None), ((third, second), None)):
            self.assertIs(self.uniques.newest(b"u", wanted.__contains__), found)
        for one in self.jobs:
            self.uniques.add(b"u", one)
            self.assertIs(self.uniques.newest(b"u", self.jobs.__contains__), one)
            self.assertIsNone(self.uniques.newest(b"u", ().__contains__))
            self.assertIs(self.uniques.newest(b"u", (first,).__contains__), first)
        self.assertIs(self.uniques.newest(b"u", (first, second).__contains__), second)

    def test_all_of_any_function(self) -> None:
        uniques = Uniques()
        jobs = [make_job(Function(name), unique=b"u") for name in (b"f", b"g")]
        for count in range(3):
            self.assertEqual(uniques.named(b"u"), jobs[:count])
            for job in jobs[count : count + 1]:
                uniques.add(b"u", job)

    def test_the_newest_of_any_function(self) -> None:
        self.assertIsNone(self.uniques.newest(b"u"))
        for one in self.jobs:
            self.uniques.add(b"u", one)
            self.assertIs(self.uniques.newest(b"u"), one)
        self.uniques.remove(b"u", self.jobs[2])
        self.assertIs(self.uniques.newest(b"u"), self.jobs[1])
        self.assertIsNone(self.uniques.newest(b"v"))

    def test_it_is_the_newest_whenever_it_came(self) -> None:
        for one in reversed(self.jobs):
            self.uniques.add(b"u", one)
            self.assertIs(self.uniques.newest(b"u"), self.jobs[2])

    def test_what_is_nobodys_is_not_looked_at(self) -> None:
        """The cycle collector looks at all of a dict that has one thing that may refer to others."""
        self.assertFalse(any(map(gc.is_tracked, APART.values())))

    def test_what_is_nobodys_is_found_by_nobody(self) -> None:
        """A table that is to grow apart from another has the same jobs as before, and keys without any."""
        job = self.jobs[0]
        self.uniques.add(b"u", job)
        for _ in range(2):
            self.uniques.grow_apart()
            self.assertEqual(len(self.uniques.jobs), len(APART) + 1)
            self.assertEqual(list(self.uniques), [job])
            self.assertEqual((self.uniques.named(b"u"), self.uniques.named(-1)), ([job], []))
        self.uniques.remove(b"u", job)
        self.assertEqual(list(self.uniques), [])


class CountedList(list[Job]):
    """@ivar walks: how often it was gone over."""

    walks = 0

    def __iter__(self) -> Iterator[Job]:
        self.walks += 1
        return super().__iter__()


class EndedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.uniques = Uniques()
        self.function = Function(b"f")
        self.number = 0

    def put(self, unique: bytes = b"u", state: int = DONE, since: float = 0.0) -> Job:
        self.number += 1
        job = make_job(self.function, self.number, unique=unique)
        job.state, job.since = state, since
        self.uniques.keep(unique, job)
        return job

    def test_of_the_same_name_the_last_that_is_there(self) -> None:
        first, second, third = self.put(), self.put(), self.put()
        other = self.put(b"v")
        self.assertEqual(len(list(self.uniques)), 4)
        for gone, last in ((third, second), (first, second), (second, None)):
            self.uniques.remove(b"u", gone)
            self.assertIs(self.uniques.find_ended(self.function, b"u"), last)
        self.assertIs(self.uniques.newest_ended(b"v"), other)
        self.assertEqual(len(list(self.uniques)), 1)

    def test_one_that_has_its_name_for_itself(self) -> None:
        """Whether or not others have not."""
        for others in (0, 2):
            alone, several = self.put(b"v"), [self.put() for _ in range(others)]
            self.uniques.remove(b"v", alone)
            self.assertEqual(
                (self.uniques.named_ended(b"v"), self.uniques.named_ended(b"u")), ([], several[::-1])
            )

    def test_one_that_ended_before_others(self) -> None:
        """It comes from the store, where places are in the order of the ends."""
        last, first, middle = self.put(), self.put(), self.put()
        self.uniques.sort(self.function, b"v")
        first.place, middle.place, last.place = 4, 5, 6
        self.uniques.sort(self.function, b"u")
        self.assertEqual(self.uniques.named_ended(b"u"), [last, middle, first])
        for gone, found in ((last, middle), (middle, first)):
            self.uniques.remove(b"u", gone)
            self.assertIs(self.uniques.find_ended(self.function, b"u"), found)

    def test_all_of_a_name(self) -> None:
        first, second = self.put(), self.put()
        self.function = Function(b"g")
        third = self.put()
        self.assertEqual(self.uniques.named_ended(b"u"), [second, first, third])
        self.assertEqual(self.uniques.named_ended(b"v"), [])

    def test_the_last_of_those_that_are_wanted(self) -> None:
        """Whether functions share the name, or not."""
        first = self.put(since=1.0)
        for _ in range(2):
            self.assertIs(self.uniques.newest_ended(b"u", (first,).__contains__), first)
            self.assertIsNone(self.uniques.newest_ended(b"u", ().__contains__))
            self.function = Function(b"other")
            second = self.put(since=2.0)
            self.assertIs(self.uniques.newest_ended(b"u", (first, second).__contains__), second)
        self.assertIsNone(self.uniques.newest_ended(b"v", (first,).__contains__))

    def test_who_asks_for_any_function_looks_at_each_once(self) -> None:
        """Ten thousand functions may have the same unique."""
        jobs = []
        for number in range(10):
            self.function = Function(b"f%d" % number)
            jobs += [self.put(since=1.0), self.put(since=2.0)]
        there = self.uniques.jobs[b"u"]
        assert isinstance(there, list)
        counted = self.uniques.jobs[b"u"] = CountedList(there)
        self.assertIs(self.uniques.newest_ended(b"u"), jobs[-1])
        self.assertEqual(set(self.uniques.named_ended(b"u")), set(jobs))
        self.assertEqual(counted.walks, 2)

    def test_the_last_that_was_done(self) -> None:
        self.assertIsNone(self.uniques.find_done(self.function, b"u"))
        dead = self.put(state=DEAD)
        self.assertIsNone(self.uniques.find_done(self.function, b"u"))
        done = self.put()
        self.assertIs(self.uniques.find_done(self.function, b"u"), done)
        later = self.put(state=DEAD)
        self.assertIs(self.uniques.find_done(self.function, b"u"), done)
        self.assertIs(self.uniques.find_ended(self.function, b"u"), later)
        for job in (later, dead):
            self.uniques.remove(b"u", job)
        self.assertIs(self.uniques.newest_ended(b"u"), done)


EVENTS = st.lists(
    st.tuples(st.sampled_from(("submit", "end", "row", "leave")), st.integers(0, 9)), max_size=40
)


class BothTests(SynchronousTestCase):
    """Jobs that wait and jobs that have ended by the same unique, beside lists in which all is looked for."""

    def setUp(self) -> None:
        self.uniques = Uniques()
        self.functions = [Function(b"f"), Function(b"g"), Function(b"h")]
        self.live: list[Job] = []
        self.ended: list[Job] = []
        self.number = 0

    def make(self, choice: int) -> Job:
        self.number += 1
        return make_job(self.functions[choice % 3], self.number, unique=b"u")

    def submit(self, choice: int) -> Job:
        """One more, if its function has none."""
        job = self.make(choice)
        there = self.uniques.find(job.function, b"u")
        if there is None:
            self.uniques.add(b"u", job)
            self.live.append(job)
        return there or job

    def end(self, choice: int) -> None:
        """One that was to be joined is kept."""
        if self.live:
            self.close(self.live.pop(choice % len(self.live)))

    def close(self, job: Job) -> None:
        self.number += 1
        job.state, job.since, job.place = DONE if self.number % 3 else DEAD, float(self.number), self.number
        self.uniques.keep(b"u", job)
        self.ended.append(job)

    def row(self, choice: int) -> None:
        """One that the store had is in memory; it has ended before others."""
        job = self.make(choice)
        self.close(job)
        places = sorted(each.place for each in self.ended)
        self.ended.insert(choice % len(self.ended), self.ended.pop())
        for each, place in zip(self.ended, places, strict=True):
            each.place, each.since = place, float(place)
        self.uniques.sort(job.function, b"u")

    def leave(self, choice: int) -> None:
        """Of any kind."""
        jobs = [*self.live, *self.ended]
        if jobs:
            job = jobs[choice % len(jobs)]
            (self.ended if job.ended else self.live).remove(job)
            self.uniques.remove(b"u", job)

    def compare(self) -> None:
        self.uniques.check()
        uniques, last = self.uniques, self.ended[::-1]
        self.assertEqual(set(uniques), {*self.live, *self.ended})
        self.assertEqual(set(uniques.named(b"u")), set(self.live))
        self.assertEqual(set(uniques.named_ended(b"u")), set(self.ended))
        newest = max(self.live, key=lambda job: job.number, default=None)
        self.assertEqual((uniques.newest(b"u"), uniques.newest_ended(b"u")), (newest, next(iter(last), None)))
        for function in self.functions:
            ended = [job for job in last if job.function is function]
            done = [job for job in ended if job.state == DONE]
            live = [job for job in self.live if job.function is function]
            expected = [next(iter(jobs), None) for jobs in (live, ended, done)]
            found = [find(function, b"u") for find in (uniques.find, uniques.find_ended, uniques.find_done)]
            self.assertEqual(found, expected)

    @PROPERTY
    @given(EVENTS)
    def test_whatever_happens(self, events: list[tuple[str, int]]) -> None:
        BothTests.setUp(self)
        for what, choice in events:
            getattr(self, what)(choice)
            self.compare()
        while self.live or self.ended:
            self.number += 1
            self.leave(self.number)
            self.compare()
        self.assertEqual((self.uniques.jobs, self.uniques.older), ({}, {}))

    def test_one_that_ends_stays_where_it_is(self) -> None:
        """Nothing has to be done for that."""
        job = self.submit(0)
        job.state = DONE
        self.assertEqual((self.uniques.find(job.function, b"u"), self.uniques.named(b"u")), (None, []))
        self.assertIs(self.uniques.find_ended(job.function, b"u"), job)
        self.uniques.keep(b"u", job)
        self.assertEqual(list(self.uniques), [job])
        self.assertEqual(self.uniques.older, {})

    def test_another_of_its_function_is_to_be_done(self) -> None:
        """Others join that one."""
        job = self.submit(0)
        self.end(0)
        again = self.submit(0)
        self.assertIsNot(again, job)
        self.assertIs(self.submit(0), again)
        self.assertIs(self.uniques.find_ended(job.function, b"u"), job)
        self.uniques.remove(b"u", again)
        self.assertIs(self.uniques.find_ended(job.function, b"u"), job)
        self.assertEqual(self.uniques.older, {})

    def test_nothing_is_left_of_the_room_for_many(self) -> None:
        """Not where there are none, or none that are a job's."""
        empty = getsizeof(self.uniques.jobs)
        for apart in (False, True):
            for number in range(100):
                self.uniques.add(b"%d" % number, make_job(self.functions[0], number, unique=b"%d" % number))
            if apart:
                self.uniques.grow_apart()
            for job in list(self.uniques):
                self.uniques.remove(job.unique, job)
            self.assertGreater(getsizeof(self.uniques.jobs), 4000)
            self.uniques.shrink()
            self.assertEqual(getsizeof(self.uniques.jobs), empty)

    def test_few_that_are_left_take_no_room_for_many(self) -> None:
        """Otherwise one that is dead would keep it, and those are kept for days."""
        for again in (self.uniques.shrink, self.uniques.trim):
            jobs = [make_job(self.functions[0], number, unique=b"%d" % number) for number in range(1000)]
            for job in jobs:
                self.uniques.add(job.unique, job)
            for job in jobs[:990]:
                self.uniques.remove(job.unique, job)
            self.assertGreater(getsizeof(self.uniques.jobs), 10_000)
            again()
            self.assertLess(getsizeof(self.uniques.jobs), 1000)
            self.assertEqual(list(self.uniques), jobs[990:])
            for job in jobs[990:]:
                self.uniques.remove(job.unique, job)

    def test_what_is_nobodys_stays_while_there_may_be_many(self) -> None:
        """Those that have ended may be few, beside a long queue."""
        self.uniques.grow_apart()
        self.uniques.trim()
        self.assertEqual(len(self.uniques.jobs), len(APART))
        self.uniques.shrink()
        self.assertEqual(self.uniques.jobs, {})

    def test_nothing_is_left_of_the_room_for_those_beside_others(self) -> None:
        empty = getsizeof(self.uniques.older)
        keys = [b"%d" % number for number in range(100)]
        for _ in range(2):
            for key in keys:
                self.uniques.keep(key, self.ended_job(key))
        for key in keys:
            for job in self.uniques.named_ended(key):
                self.uniques.remove(key, job)
        self.assertGreater(getsizeof(self.uniques.older), 4000)
        self.uniques.trim()
        self.assertEqual(getsizeof(self.uniques.older), empty)

    def ended_job(self, key: bytes) -> Job:
        self.number += 1
        job = make_job(self.functions[0], self.number, unique=key)
        job.state = DONE
        return job

    def test_what_is_wrong_is_found(self) -> None:
        job, other = self.submit(0), self.submit(1)
        self.end(0)
        third = self.submit(0)
        self.uniques.check()
        for wrong, name, value in (
            (job, "state", 0),
            (other, "key", b"v"),
            (third, "function", Function(b"x")),
        ):
            right = getattr(wrong, name)
            setattr(wrong, name, value)
            self.assertRaises(AssertionError, self.uniques.check)
            setattr(wrong, name, right)
        self.uniques.check()
