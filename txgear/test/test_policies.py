"""Tests of L{txgear.policies}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import PolicyError
from txgear.policies import (
    CLASSIC,
    REASONS,
    Backoff,
    Policies,
    Policy,
    Rate,
    Retention,
    Retries,
    former_names,
    from_stored,
    to_stored,
)
from txgear.quantities import MOST_BYTES, MOST_SECONDS


class SettingTests(SynchronousTestCase):
    def test_leases(self) -> None:
        for value, lease in ((0, 0.0), (1, 1.0), ("30s", 30.0)):
            self.assertEqual(CLASSIC.with_settings({"lease": value}).lease, lease)
        for short in (0.1, "999ms"):
            problem = "lease: 0 for none is wanted, or 1 s or more, not "
            with self.assertRaisesRegex(PolicyError, problem):
                CLASSIC.with_settings({"lease": short}, for_job=True)

    def test_a_most_below_the_first(self) -> None:
        with self.assertRaisesRegex(PolicyError, "backoff.most: it is less than first, which is '2h'"):
            CLASSIC.with_settings({"backoff": {"first": "2h", "most": "1h"}})


class RetriesTests(SynchronousTestCase):
    def test_a_number_counts_all_reasons_together(self) -> None:
        retries = Retries.parse(2)
        self.assertTrue(retries.left({"fail": 1}, "fail"))
        self.assertTrue(retries.left({"fail": 1, "lost": 1}, "lost"))
        self.assertFalse(retries.left({"fail": 1, "lost": 1, "timeout": 1}, "timeout"))

    def test_none_is_none(self) -> None:
        self.assertFalse(Retries.parse(0).left({"fail": 1}, "fail"))
        for reason in REASONS:
            self.assertFalse(Retries.parse({}).left({reason: 1}, reason))

    def test_a_table_counts_each_reason_by_itself(self) -> None:
        retries = Retries.parse({"exception": 1, "lost": 2})
        self.assertTrue(retries.left({"exception": 1}, "exception"))
        self.assertTrue(retries.left({"exception": 1, "lost": 2}, "lost"))
        self.assertFalse(retries.left({"exception": 2, "lost": 2}, "exception"))
        self.assertFalse(retries.left({"lost": 3}, "lost"))
        self.assertFalse(retries.left({"fail": 1}, "fail"))

    def test_mistakes_are_named(self) -> None:
        for value, key in (("3", ""), (-1, ""), ({"failure": 1}, "failure"), ({"fail": -1}, "fail")):
            with self.assertRaises(PolicyError) as caught:
                Retries.parse(value)
            self.assertEqual(caught.exception.key, key)


class BackoffTests(SynchronousTestCase):
    def delays(self, value: Any, chance: float = 0.0) -> list[float]:
        backoff = Backoff.parse(value)
        return [backoff.delay(attempt, chance) for attempt in range(1, 6)]

    def test_a_time_is_the_same_each_time(self) -> None:
        self.assertEqual(self.delays("10s", chance=1.0), [10.0] * 5)

    def test_kinds(self) -> None:
        for kind, delays in (
            ("fixed", [3.0, 3.0, 3.0, 3.0, 3.0]),
            ("linear", [3.0, 6.0, 9.0, 12.0, 15.0]),
            ("exponential", [3.0, 6.0, 12.0, 24.0, 48.0]),
        ):
            self.assertEqual(self.delays({"kind": kind, "first": 3, "most": "1h", "jitter": 0}), delays)

    def test_without_a_kind_it_is_exponential(self) -> None:
        self.assertEqual(self.delays({}), [10.0, 20.0, 40.0, 80.0, 160.0])

    def test_no_longer_than_the_most(self) -> None:
        for kind in ("fixed", "linear", "exponential"):
            self.assertEqual(self.delays({"kind": kind, "first": 4, "most": 4}), [4.0] * 5)
            self.assertEqual(self.delays({"kind": kind, "first": "2h"}), [7200.0] * 5)
        self.assertEqual(self.delays({"first": 1, "most": "5s"}), [1.0, 2.0, 4.0, 5.0, 5.0])
        self.assertEqual(Backoff.parse({"most": "1h"}).delay(10**9, 0.0), 3600.0)

    def test_chance_takes_off_up_to_the_jitter(self) -> None:
        half = {"kind": "fixed", "first": 8, "jitter": 0.5}
        for chance, delay in ((0.0, 8.0), (0.5, 6.0), (1.0, 4.0)):
            self.assertEqual(self.delays(half, chance), [delay] * 5)
        self.assertEqual(self.delays({"first": 10, "most": 10, "jitter": 1}, 1.0), [0.0] * 5)

    def test_mistakes_are_named(self) -> None:
        for value, key in (
            ("soon", ""),
            ({"kind": "cubic"}, "kind"),
            ({"kind": 1}, "kind"),
            ({"first": "soon"}, "first"),
            ({"most": -1}, "most"),
            ({"jitter": 2}, "jitter"),
            ({"last": 2}, "last"),
        ):
            with self.assertRaises(PolicyError) as caught:
                Backoff.parse(value)
            self.assertEqual(caught.exception.key, key)


class RetentionTests(SynchronousTestCase):
    def test_a_time_alone_has_no_other_bounds(self) -> None:
        self.assertEqual(Retention.parse("1h"), Retention(3600.0, 0, 0))

    def test_a_table(self) -> None:
        self.assertEqual(
            Retention.parse({"keep": "1h", "jobs": 5, "bytes": "1K"}), Retention(3600.0, 5, 1024)
        )
        self.assertEqual(Retention.parse({"keep": 0}), Retention(0.0, 0, 0))

    def test_the_dead_have_bounds_where_none_are_set(self) -> None:
        for value in ("1h", {"keep": "1h"}):
            self.assertEqual(CLASSIC.with_settings({"dead": value}).dead, Retention(3600.0, 100_000, 1 << 30))
        dead = CLASSIC.with_settings({"dead": {"jobs": 0, "bytes": "1K"}}).dead
        self.assertEqual(dead, Retention(30 * 86400.0, 0, 1024))

    def test_mistakes_are_named(self) -> None:
        for value, key in (
            ({}, "keep"),
            ({"keep": []}, "keep"),
            ({"keep": 1, "size": 1}, "size"),
            (None, ""),
        ):
            with self.assertRaises(PolicyError) as caught:
                Retention.parse(value)
            self.assertEqual(caught.exception.key, key)


class RateTests(SynchronousTestCase):
    def test_jobs_in_a_time(self) -> None:
        for value, interval, burst in (
            ("1/s", 1.0, 1),
            ("10/s", 0.1, 1),
            ("100/s", 0.01, 10),
            ("30 / m", 2.0, 1),
            ("2/h", 1800.0, 1),
            ("4/d", 21600.0, 1),
        ):
            self.assertEqual(Rate.parse(value), Rate(interval, burst))

    def test_a_burst_of_ones_own(self) -> None:
        self.assertEqual(Rate.parse({"jobs": "2/s", "burst": 20}), Rate(0.5, 20))
        self.assertEqual(Rate.parse({"jobs": "100/s", "burst": 0}), Rate(0.01, 10))

    def test_mistakes_are_named(self) -> None:
        for value, key in (
            ("0/s", ""),
            ("10", ""),
            ("10/ms", ""),
            ("1.5/s", ""),
            (10, ""),
            ({"burst": 1}, "jobs"),
            ({"jobs": "often"}, "jobs"),
            ({"jobs": "1/s", "burst": -1}, "burst"),
        ):
            with self.assertRaises(PolicyError) as caught:
                Rate.parse(value)
            self.assertEqual(caught.exception.key, key)

    def test_it_is_shown_as_it_was_said(self) -> None:
        for said in ("1/s", "7/s", "999999999/s", "7/m", "100/h", "5/d", "1/d"):
            rate = Rate.parse({"jobs": said, "burst": 3})
            self.assertEqual(rate.as_settings(), {"jobs": said, "burst": 3})
        self.assertEqual(Rate.parse("120/m").as_settings(), {"jobs": "2/s", "burst": 1})


ALL: dict[str, Any] = {
    "retries": {"fail": 3, "lost": 1},
    "backoff": {"kind": "linear", "first": "1m", "most": "1h", "jitter": 0.5},
    "dead": {"keep": "7d", "jobs": 10, "bytes": "1M"},
    "timeout": "5m",
    "lease": "30s",
    "expires": "1h",
    "results": {"keep": "1h", "jobs": 1000, "bytes": "1M"},
    "unique_for": "1d",
    "rate": {"jobs": "90/m", "burst": 5},
    "concurrency": 4,
    "max_queue": 1000,
    "max_bytes": "1G",
    "turns": True,
    "scope": "server",
}
"""Every setting, with a value that is not the default."""


class PolicyTests(SynchronousTestCase):
    def test_nothing_is_on_that_nobody_asked_for(self) -> None:
        self.assertEqual(CLASSIC.with_settings({}), CLASSIC)
        self.assertEqual(CLASSIC.as_settings(), {})

    def test_every_setting(self) -> None:
        self.assertEqual(
            CLASSIC.with_settings(ALL),
            Policy(
                Retries(None, {"fail": 3, "lost": 1}),
                Backoff("linear", 60.0, 3600.0, 0.5),
                Retention(604800.0, 10, 1 << 20),
                300.0,
                30.0,
                3600.0,
                Retention(3600.0, 1000, 1 << 20),
                86400.0,
                Rate(60.0 / 90, 5),
                4,
                1000,
                1 << 30,
                turns=True,
                scope="server",
            ),
        )

    def test_for_all_servers(self) -> None:
        """As where nothing is said."""
        self.assertEqual(CLASSIC.with_settings({"scope": "cluster"}), CLASSIC)

    def test_what_is_not_said_stays(self) -> None:
        policy = CLASSIC.with_settings({"retries": 3, "timeout": 5}).with_settings({"timeout": 0})
        self.assertEqual((policy.retries, policy.timeout), (Retries(3), 0.0))

    def test_what_is_shown_could_stand_in_a_file(self) -> None:
        for settings in (
            ALL,
            {"retries": 0},
            {"retries": 5, "backoff": "10s"},
            {"results": 60, "unique_for": 1},
        ):
            policy = CLASSIC.with_settings(settings)
            self.assertEqual(CLASSIC.with_settings(policy.as_settings()), policy)
        self.assertEqual(
            list(CLASSIC.with_settings({"retries": 0}).as_settings()), ["retries", "backoff", "dead"]
        )
        self.assertEqual(CLASSIC.with_settings({"retries": 0}).as_settings()["retries"], 0)

    def test_mistakes_are_named_with_their_tables(self) -> None:
        for settings, key in (
            ({"retry": 3}, "retry"),
            ({"retries": "3"}, "retries"),
            ({"retries": {"fail": "3"}}, "retries.fail"),
            ({"backoff": {"kind": "cubic"}}, "backoff.kind"),
            ({"results": {}}, "results.keep"),
            ({"turns": 1}, "turns"),
            ({"scope": "world"}, "scope"),
            ({"scope": ["server"]}, "scope"),
            ({"k" * 10**6: 1}, "k" * 100),
        ):
            with self.assertRaises(PolicyError) as caught:
                CLASSIC.with_settings(settings)
            self.assertEqual(caught.exception.key, key)
            self.assertEqual(str(caught.exception), f"{key}: {caught.exception.problem}")

    def test_settings_that_are_no_table(self) -> None:
        with self.assertRaises(PolicyError) as caught:
            CLASSIC.with_settings(["retries"])  # type: ignore[arg-type]
        self.assertEqual(str(caught.exception), caught.exception.problem)

    def test_some_are_a_functions_only(self) -> None:
        for name, value in ALL.items():
            if name in ("rate", "concurrency", "max_queue", "max_bytes", "turns", "scope"):
                with self.assertRaises(PolicyError) as caught:
                    CLASSIC.with_settings({name: value}, for_job=True)
                self.assertEqual(caught.exception.key, name)
            else:
                self.assertNotEqual(CLASSIC.with_settings({name: value}, for_job=True), CLASSIC)


class OwnSettingsTests(SynchronousTestCase):
    """What holds for a job that has settings of its own, under a ceiling."""

    def test_they_go_before_those_of_the_function(self) -> None:
        policy = CLASSIC.with_settings({"retries": 1, "timeout": 5})
        own = policy.with_job_settings({"timeout": 7}, Retention(60.0))
        self.assertEqual(own, policy.with_settings({"timeout": 7}))

    def test_what_is_a_functions_only_is_refused(self) -> None:
        with self.assertRaises(PolicyError) as caught:
            CLASSIC.with_job_settings({"rate": "1/s"}, Retention(60.0))
        self.assertEqual(caught.exception.key, "rate")

    def test_the_ceiling_bounds_every_time_for_which_something_is_kept(self) -> None:
        own = CLASSIC.with_job_settings(
            {"results": 90, "dead": MOST_SECONDS, "unique_for": 90}, Retention(60.0)
        )
        self.assertEqual((own.results, own.unique_for), (Retention(60.0, 0, MOST_BYTES), 60.0))
        self.assertEqual(own.dead, CLASSIC.dead)

    def test_what_the_function_keeps_may_be_kept_by_its_jobs(self) -> None:
        policy = CLASSIC.with_settings({"results": 120, "dead": 120, "unique_for": 120})
        own = policy.with_job_settings({"results": 90, "dead": 600, "unique_for": 600}, Retention(60.0))
        self.assertEqual(
            (own.results, own.dead.keep, own.unique_for), (Retention(90.0, 0, MOST_BYTES), 120, 120)
        )

    def test_bytes(self) -> None:
        """The larger of what function and ceiling allow; 0 stands for no bound."""
        for of_function, of_ceiling, asked, bound in (
            (10, 20, 30, 20),
            (30, 20, 40, 30),
            (10, 20, 5, 5),
            (10, 20, 0, 20),
            (0, 20, 30, 30),
            (0, 0, 0, MOST_BYTES),
        ):
            policy = CLASSIC.with_settings({"results": {"keep": 1, "bytes": of_function}})
            own = policy.with_job_settings(
                {"results": {"keep": 2, "bytes": asked}}, Retention(9.0, 0, of_ceiling)
            )
            self.assertEqual(own.results, Retention(2.0, 0, bound))


class FormerNamesTests(SynchronousTestCase):
    """What an earlier version called otherwise."""

    def test_both_names_mean_the_same(self) -> None:
        for of_job in (False, True):
            policy = CLASSIC.with_settings({"once": "1d"}, for_job=of_job)
            self.assertEqual(policy, CLASSIC.with_settings({"unique_for": 86400}))
            self.assertEqual(policy.as_settings(), {"unique_for": 86400.0})

    def test_not_both_at_once(self) -> None:
        for settings in ({"once": 1, "unique_for": 2}, {"unique_for": 1, "once": 1}):
            with self.assertRaises(PolicyError) as caught:
                CLASSIC.with_settings(settings)
            self.assertEqual(
                str(caught.exception),
                "once: this is unique_for under its earlier name, and unique_for is set as well",
            )

    def test_a_mistake_is_named_as_it_was_written(self) -> None:
        with self.assertRaises(PolicyError) as caught:
            CLASSIC.with_settings({"once": "soon"})
        self.assertEqual(caught.exception.key, "once")

    def test_only_where_it_was_a_setting(self) -> None:
        with self.assertRaises(PolicyError) as caught:
            CLASSIC.with_settings({"results": {"once": 1}})
        self.assertTrue(caught.exception.problem.startswith("there is no such setting"))

    def test_which_they_are(self) -> None:
        self.assertEqual(former_names({"retries": 1, "once": 2}), ["once"])
        self.assertEqual(former_names({"unique_for": 2}), [])

    def test_stores_have_them(self) -> None:
        """The version before can open what this one has written."""
        self.assertEqual(to_stored({"retries": 1, "unique_for": 2}), {"retries": 1, "once": 2})
        self.assertEqual(from_stored({"retries": 1, "once": 2}), {"retries": 1, "unique_for": 2})
        self.assertEqual(to_stored({"once": 2}), {"once": 2})


class PoliciesTests(SynchronousTestCase):
    def test_the_first_that_matches_counts(self) -> None:
        policies = [CLASSIC.with_settings({"concurrency": number}) for number in range(1, 5)]
        found = Policies(zip(("mail", "mail-*", "image-??", "*"), policies, strict=True))
        for function, policy in (
            (b"mail", policies[0]),
            (b"mail-out", policies[1]),
            (b"image-01", policies[2]),
            (b"image-001", policies[3]),
            (b"Mail", policies[3]),
            (b"", policies[3]),
            (b"a\nb\xff", policies[3]),
        ):
            self.assertIs(found.policy_for(function), policy)

    def test_none_may_match(self) -> None:
        self.assertIsNone(Policies().policy_for(b"f"))
        self.assertIsNone(Policies([("f", CLASSIC)]).policy_for(b"ff"))

    def test_names_beyond_ascii(self) -> None:
        self.assertIs(Policies([("caf\xe9-*", CLASSIC)]).policy_for("caf\xe9-1".encode()), CLASSIC)

    def test_patterns_with_brackets(self) -> None:
        policies = Policies([("[ab]*", CLASSIC)])
        self.assertEqual([policies.policy_for(name) for name in (b"apple", b"pear")], [CLASSIC, None])
