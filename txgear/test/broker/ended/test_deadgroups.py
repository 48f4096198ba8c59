"""Tests of L{txgear.broker.ended.deadgroups}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ended.deadgroups import DEAD_REASONS, UNKNOWN, DeadGroups, reason_of
from txgear.broker.history import Attempt, History
from txgear.broker.model import Function, Job
from txgear.policies import EXCEPTION, FAIL, REASONS, TIMEOUT
from txgear.test.support.broker import make_job


class ReasonTests(SynchronousTestCase):
    def test_the_last_attempt_counts(self) -> None:
        history = History()
        self.assertEqual(reason_of(history), UNKNOWN)
        for reason in (*REASONS, "of a later version"):
            history.add_attempt(Attempt(1.0, 2.0, reason, "w", ""))
            self.assertEqual(reason_of(history), reason if reason in REASONS else UNKNOWN)
        self.assertEqual(DEAD_REASONS, (*REASONS, UNKNOWN))


class DeadGroupsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.groups = DeadGroups()
        self.function = Function(b"f")
        self.jobs: list[Job] = []

    def put(self, reason: str) -> Job:
        job = make_job(self.function, len(self.jobs) + 1)
        self.jobs.append(job)
        self.groups.group(self.function, reason).add(job)
        self.groups.check(self.jobs)
        return job

    def found(self) -> dict[str, list[int]]:
        return {reason: list(group.jobs) for reason, group in self.groups.of(self.function).items()}

    def test_each_is_in_one_group(self) -> None:
        first, second, third = self.put(FAIL), self.put(EXCEPTION), self.put(FAIL)
        self.assertEqual(self.found(), {FAIL: [1, 3], EXCEPTION: [2]})
        self.assertTrue(self.groups.has(first, (TIMEOUT, FAIL)))
        self.assertFalse(self.groups.has(second, (TIMEOUT, FAIL)))
        self.function = Function(b"g")
        self.assertEqual(self.found(), {})
        other = self.put(TIMEOUT)
        self.assertFalse(self.groups.has(other, (FAIL,)))
        self.assertEqual(list(self.groups.functions), [first.function, other.function])
        self.assertEqual(self.groups.of(third.function)[FAIL].jobs, {1: first, 3: third})
        self.assertEqual([self.groups.reason_of(job) for job in (first, second)], [FAIL, EXCEPTION])

    def test_one_that_is_taken_off_leaves_nothing(self) -> None:
        for reason in (FAIL, EXCEPTION, FAIL):
            self.put(reason)
        for left in ({FAIL: [3], EXCEPTION: [2]}, {FAIL: [3]}, {}):
            self.groups.remove(self.jobs.pop(0))
            self.groups.check(self.jobs)
            self.assertEqual(self.found(), left)
        self.assertEqual(list(self.groups.functions), [])

    def test_what_is_wrong_is_found(self) -> None:
        job = self.put(FAIL)
        self.assertRaises(AssertionError, self.groups.check, [])
        self.groups.group(self.function, TIMEOUT).add(job)
        self.assertRaises(AssertionError, self.groups.check, [job])
