"""Tests of L{txgear.broker.life.retry}: what follows an attempt, as a table."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.life.retry import Decision, End, RetryAfter, decide
from txgear.broker.states import CANCELLED, DEAD, FAILED
from txgear.policies import CLASSIC, EXCEPTION, FAIL, LOST, REASONS, SILENT, TIMEOUT, Policy


def decided(policy: Policy, reason: str, **rest: Any) -> Decision:
    """The decision on a background job at its first attempt, where nothing else is said."""
    told: dict[str, Any] = {
        "counts": {reason: 1},
        "wanted": True,
        "background": True,
        "lost": 0,
        "bound": -1,
        "chance": lambda: 0.0,
    }
    told.update(rest)
    return decide(policy, told.pop("counts"), reason, **told)


class ClassicTests(SynchronousTestCase):
    """Without retries in the policy."""

    def test_what_a_worker_says_is_the_end(self) -> None:
        for reason in (FAIL, EXCEPTION):
            for wanted in (True, False):
                for background in (True, False):
                    found = decided(CLASSIC, reason, wanted=wanted, background=background)
                    self.assertEqual(found, End(FAILED))

    def test_a_lost_worker_is_not(self) -> None:
        """The first time it is its turn again at once, from the second time on behind all others."""
        for reason in (LOST, TIMEOUT, SILENT):
            self.assertEqual(decided(CLASSIC, reason), RetryAfter(0.0, first=True))
            for lost in (1, 2, 1000):
                self.assertEqual(decided(CLASSIC, reason, lost=lost), RetryAfter(0.0, first=False))

    def test_so_many_lost_workers_are(self) -> None:
        over = End(FAILED, lost=True)
        for bound, lost, expected in (
            (0, 0, over),
            (1, 0, over),
            (2, 0, RetryAfter(0.0, first=True)),
            (2, 1, over),
            (3, 1, RetryAfter(0.0, first=False)),
            (3, 7, over),
            (-1, 10**6, RetryAfter(0.0, first=False)),
        ):
            self.assertEqual(decided(CLASSIC, LOST, bound=bound, lost=lost), expected)

    def test_a_job_that_nobody_would_miss_is_over(self) -> None:
        for bound in (-1, 1):
            found = decided(CLASSIC, LOST, wanted=False, background=False, bound=bound)
            self.assertEqual(found, End(CANCELLED))


class PolicyTests(SynchronousTestCase):
    """With retries in the policy."""

    def test_each_reason_is_tried_again_as_often_as_that_is_set(self) -> None:
        policy = CLASSIC.with_settings({"retries": {"fail": 2, "lost": 1}, "backoff": "5s"})
        for reason, ended, again in (
            (FAIL, 1, True),
            (FAIL, 2, True),
            (FAIL, 3, False),
            (LOST, 1, True),
            (LOST, 2, False),
            (TIMEOUT, 1, False),
        ):
            expected = RetryAfter(5.0, first=False) if again else End(DEAD)
            self.assertEqual(decided(policy, reason, counts={reason: ended}), expected)

    def test_a_total_is_of_all_reasons(self) -> None:
        policy = CLASSIC.with_settings({"retries": 2, "backoff": 0})
        for reason in REASONS:
            self.assertEqual(
                decided(policy, reason, counts={FAIL: 1, reason: 1}), RetryAfter(0.0, first=False)
            )
            self.assertEqual(decided(policy, reason, counts={FAIL: 2, LOST: 2}), End(DEAD))

    def test_the_delay_grows_with_the_attempts_and_chance_takes_some_of_it_off(self) -> None:
        policy = CLASSIC.with_settings({"retries": 9, "backoff": {"first": 10, "most": 3600, "jitter": 0.5}})
        for counts, chance, delay in (
            ({FAIL: 1}, 0.0, 10.0),
            ({FAIL: 1, LOST: 1}, 0.0, 20.0),
            ({FAIL: 2, LOST: 1}, 1.0, 20.0),
            ({FAIL: 2, LOST: 1}, 0.5, 30.0),
        ):
            found = decided(policy, FAIL, counts=counts, chance=lambda chance=chance: chance)
            self.assertEqual(found, RetryAfter(delay, first=False))

    def test_a_worker_may_say_when(self) -> None:
        """Where there is another attempt at all, and whatever the policy's time is."""
        policy = CLASSIC.with_settings({"retries": 1, "backoff": 60})
        for after in (0.0, 5.0):
            self.assertEqual(
                decided(policy, EXCEPTION, counts={EXCEPTION: 1}, after=after), RetryAfter(after, first=False)
            )
        self.assertEqual(decided(policy, EXCEPTION, counts={EXCEPTION: 2}, after=5.0), End(DEAD))
        self.assertEqual(decided(CLASSIC, EXCEPTION, after=5.0), End(FAILED))

    def test_the_bound_of_the_classic_rules_does_not_hold(self) -> None:
        policy = CLASSIC.with_settings({"retries": 5, "backoff": 0})
        self.assertEqual(decided(policy, LOST, bound=1, lost=4), RetryAfter(0.0, first=False))

    def test_who_has_none_left_is_dead_where_an_operator_can_queue_it_again(self) -> None:
        policy = CLASSIC.with_settings({"retries": 0})
        for reason in REASONS:
            self.assertEqual(decided(policy, reason), End(DEAD))
            self.assertEqual(decided(policy, reason, background=False), End(FAILED))

    def test_a_job_that_nobody_would_miss_is_over(self) -> None:
        for settings in ({"retries": 0}, {"retries": 9}):
            found = decided(CLASSIC.with_settings(settings), FAIL, wanted=False, background=False)
            self.assertEqual(found, End(CANCELLED))
