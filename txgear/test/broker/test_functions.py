"""Tests of L{txgear.broker.functions}."""

from __future__ import annotations

from math import inf
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker import functions as functions_module
from txgear.broker.functions import Functions
from txgear.broker.history import History
from txgear.broker.model import Function, Peer
from txgear.broker.timers import Timers
from txgear.errors import TOO_MANY_FUNCTIONS, ArgumentTooLarge, InvalidArgument, QueueError
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import MAX_FUNCTION
from txgear.test.support.broker import make_job


class FunctionsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.timers = Timers()
        self.functions = Functions(self.timers)

    def set(self, **settings: Any) -> None:
        """Let this policy hold for f."""
        self.functions.policies = Policies([("f", CLASSIC.with_settings(settings))])

    def throttled(self, rate: str = "1/s", started: float = 10.0) -> Function:
        """A function with a rate, one of whose jobs has just started."""
        self.set(rate=rate)
        function = self.functions.get(b"f")
        self.functions.throttle(function).started(started)
        return function


class NamesTests(FunctionsTestCase):
    def test_one_of_each_name(self) -> None:
        function = self.functions.get(b"f")
        self.assertIs(self.functions.get(b"f"), function)
        self.assertIsNot(self.functions.get(b"F"), function)
        self.assertEqual(list(self.functions.by_name), [b"f", b"F"])

    def test_names_that_are_none(self) -> None:
        self.functions.get(b"x" * MAX_FUNCTION)
        self.assertRaises(ArgumentTooLarge, self.functions.get, b"x" * (MAX_FUNCTION + 1))
        self.assertRaises(InvalidArgument, self.functions.get, b"a\0b")

    def test_there_may_be_too_many(self) -> None:
        self.patch(functions_module, "MOST_FUNCTIONS", 2)
        for name in (b"f", b"g"):
            self.functions.get(name)
        error = self.assertRaises(QueueError, self.functions.get, b"h")
        self.assertEqual(error.why, TOO_MANY_FUNCTIONS)
        self.functions.get(b"f")
        self.functions.get(b"h", bounded=False)
        self.assertEqual(len(self.functions.by_name), 3)


class ForgetTests(FunctionsTestCase):
    def test_what_is_unused_is_forgotten(self) -> None:
        function = self.functions.get(b"f")
        function.workers[peer := Peer(1, "-")] = None
        self.functions.forget_if_unused(function)
        self.assertIn(b"f", self.functions.by_name)
        del function.workers[peer]
        self.functions.forget_if_unused(function)
        self.assertEqual(self.functions.by_name, {})

    def test_one_that_has_been_replaced_forgets_nothing(self) -> None:
        function = self.functions.get(b"f")
        self.functions.forget_if_unused(function)
        another = self.functions.get(b"f")
        self.functions.forget_if_unused(function)
        self.assertEqual(self.functions.by_name, {b"f": another})

    def test_a_bucket_that_is_not_full_is_remembered_until_it_is(self) -> None:
        function = self.throttled()
        self.functions.forget_if_unused(function)
        self.assertEqual((list(self.functions.by_name), function.due), ([b"f"], 11.0))
        # It waits for that already.
        self.functions.forget_if_unused(function)
        self.assertIs(self.timers.pop_due(11.0), function)
        function.throttle.refill(11.0)  # type: ignore[union-attr]
        self.functions.forget_if_unused(function)
        self.assertEqual((self.functions.by_name, self.timers.next_due(11.0)), ({}, inf))


class DropTests(FunctionsTestCase):
    def test_upper_and_lower_case_are_the_same(self) -> None:
        found = [self.functions.get(name) for name in (b"Ab", b"aB")]
        self.functions.get(b"abc")
        self.assertEqual(self.functions.drop(b"AB"), found)
        self.assertEqual(list(self.functions.by_name), [b"abc"])

    def test_nobody_has_heard_of_it(self) -> None:
        self.assertIsNone(self.functions.drop(b"f"))

    def test_none_is_dropped_while_one_of_them_is_in_use(self) -> None:
        function = self.functions.get(b"f")
        self.functions.get(b"F")
        for attribute, value, nothing in (
            ("workers", {Peer(1, "-"): None}, {}),
            ("delayed", {make_job(): None}, {}),
            ("kept", 1, 0),
        ):
            setattr(function, attribute, value)
            self.assertEqual(self.functions.drop(b"f"), [])
            setattr(function, attribute, nothing)
        self.assertEqual(len(self.functions.drop(b"f") or ()), 2)

    def test_only_those_that_are_wanted(self) -> None:
        """Others may be in use, and stay."""
        small, capital = self.functions.get(b"f"), self.functions.get(b"F")
        capital.kept = 1
        self.assertIsNone(self.functions.drop(b"f", ().__contains__))
        self.assertEqual(self.functions.drop(b"f", (small,).__contains__), [small])
        self.assertEqual(self.functions.by_name, {b"F": capital})
        self.assertEqual(self.functions.drop(b"f", (capital,).__contains__), [])

    def test_its_settings_and_its_timer_go_with_it(self) -> None:
        function = self.throttled()
        function.created = True
        self.timers.add(function, 11.0)
        self.assertEqual(self.functions.drop(b"f"), [function])
        self.assertIsNone(self.timers.pop_due(1e9))


class PolicyTests(FunctionsTestCase):
    def test_a_new_function_has_that_of_its_name(self) -> None:
        self.set(concurrency=3, rate="2/s")
        function = self.functions.get(b"f")
        assert function.policy is not None and function.throttle is not None
        self.assertEqual((function.throttle.concurrency, function.throttle.rate), (3, function.policy.rate))
        other = self.functions.get(b"g")
        self.assertEqual((other.policy, other.throttle), (None, None))

    def test_one_that_holds_nothing_back_has_no_throttle(self) -> None:
        self.set(retries=3)
        self.assertIsNone(self.functions.get(b"f").throttle)

    def test_what_held_it_back_may_be_set_no_more(self) -> None:
        for others in ([], [("f", CLASSIC.with_settings({"timeout": 5}))]):
            function = self.throttled()
            self.functions.policies = Policies(others)
            self.functions.apply_policy(function, 10.0)
            throttle = self.functions.throttle(function)
            self.assertEqual((throttle.needed, throttle.rate, throttle.concurrency), (False, None, None))
            self.assertTrue(self.functions.drop_throttle(function))
            self.assertIsNone(function.throttle)

    def test_a_throttle_goes_when_nothing_needs_it(self) -> None:
        function = self.functions.get(b"f")
        self.assertFalse(self.functions.drop_throttle(function))
        throttle = self.functions.throttle(function)
        self.assertIs(self.functions.throttle(function), throttle)
        throttle.paused = True
        self.assertFalse(self.functions.drop_throttle(function))
        throttle.paused = False
        self.timers.add(function, 5.0)
        self.assertTrue(self.functions.drop_throttle(function))
        self.assertIsNone(self.timers.pop_due(1e9))

    def test_a_job_has_its_functions_and_over_that_its_own(self) -> None:
        job = make_job(self.functions.get(b"f"))
        self.assertIs(self.functions.policy_of(job), CLASSIC)
        self.set(timeout=5, retries=1)
        self.functions.apply_policy(job.function, 0.0)
        policy = self.functions.policy_of(job)
        self.assertIs(policy, job.function.policy)
        job.history = History({"timeout": 7})
        self.assertEqual(self.functions.policy_of(job), policy.with_settings({"timeout": 7}))
