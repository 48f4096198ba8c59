"""Tests of L{txgear.broker.ended.endednames}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ended.endednames import EndedNames
from txgear.broker.model import Function, Job
from txgear.broker.states import DEAD, DONE
from txgear.test.support.broker import make_job


class EndedNamesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.names = EndedNames()
        self.function = Function(b"f")
        self.number = 0

    def put(self, unique: bytes = b"u", state: int = DONE, since: float = 0.0) -> Job:
        self.number += 1
        job = make_job(self.function, self.number, unique=unique)
        job.state, job.since = state, since
        self.names.add(job, unique)
        return job

    def test_of_the_same_name_the_last_that_is_there(self) -> None:
        first, second, third = self.put(), self.put(), self.put()
        other = self.put(b"v")
        self.assertEqual(len(self.names), 4)
        for gone, last in ((third, second), (first, second), (second, None)):
            self.names.remove(gone, b"u")
            self.assertIs(self.names.find(self.function, b"u"), last)
        self.assertIs(self.names.newest(b"v"), other)
        self.assertEqual(len(self.names), 1)

    def test_one_that_has_its_name_for_itself(self) -> None:
        """Whether or not others have not."""
        for others in (0, 2):
            alone, several = self.put(b"v"), [self.put() for _ in range(others)]
            self.names.remove(alone, b"v")
            self.assertEqual((self.names.named(b"v"), self.names.named(b"u")), ([], several[::-1]))

    def test_one_that_ended_before_others(self) -> None:
        """It comes from the store, where places are in the order of the ends."""
        last, first, middle = self.put(), self.put(), self.put()
        self.names.sort(self.function, b"v")
        first.place, middle.place, last.place = 4, 5, 6
        self.names.sort(self.function, b"u")
        self.assertEqual(self.names.named(b"u"), [last, first, middle])
        for gone, found in ((last, middle), (middle, first)):
            self.names.remove(gone, b"u")
            self.assertIs(self.names.find(self.function, b"u"), found)

    def test_all_of_a_name(self) -> None:
        first, second = self.put(), self.put()
        self.function = Function(b"g")
        third = self.put()
        self.assertEqual(self.names.named(b"u"), [second, first, third])
        self.assertEqual(self.names.named(b"v"), [])

    def test_the_last_of_those_that_are_wanted(self) -> None:
        """Whether functions share the name, or not."""
        first = self.put(since=1.0)
        for _ in range(2):
            self.assertIs(self.names.newest(b"u", (first,).__contains__), first)
            self.assertIsNone(self.names.newest(b"u", ().__contains__))
            self.function = Function(b"other")
            second = self.put(since=2.0)
            self.assertIs(self.names.newest(b"u", (first, second).__contains__), second)
        self.assertIsNone(self.names.newest(b"v", (first,).__contains__))

    def test_the_last_that_was_done(self) -> None:
        self.assertIsNone(self.names.find_done(self.function, b"u"))
        dead = self.put(state=DEAD)
        self.assertIsNone(self.names.find_done(self.function, b"u"))
        done = self.put()
        self.assertIs(self.names.find_done(self.function, b"u"), done)
        later = self.put(state=DEAD)
        self.assertIs(self.names.find_done(self.function, b"u"), done)
        self.assertIs(self.names.find(self.function, b"u"), later)
        for job in (later, dead):
            self.names.remove(job, b"u")
        self.assertIs(self.names.newest(b"u"), done)
