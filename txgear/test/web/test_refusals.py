"""Tests of L{txgear.web.refusals}: statuses, and how much is left of a rate."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear import errors
from txgear.broker.tenants import Quota, Tenant
from txgear.errors import QueueError
from txgear.policies import Rate
from txgear.web.problems import problem_of
from txgear.web.refusals import REFUSALS, problem, rate_headers


class ProblemTests(SynchronousTestCase):
    def test_each_word_has_its_status(self) -> None:
        for why, (status, retry) in REFUSALS.items():
            found = problem(QueueError("because", why=why))
            self.assertEqual((found.status, found.code, found.detail), (status, why, "because"))
            self.assertEqual(found.headers.get("Retry-After", "0"), str(retry))

    def test_each_word_is_there(self) -> None:
        words = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, str)}
        self.assertEqual(words, set(REFUSALS))

    def test_one_without_a_word(self) -> None:
        found = problem_of(QueueError("because"))
        assert found is not None
        self.assertEqual((found.status, found.code), (503, "queue_error"))


class RateTests(SynchronousTestCase):
    def tenant(self, interval: float, burst: int) -> Tenant:
        tenant = Tenant("web")
        tenant.set_quota(Quota(submits=Rate(interval, burst)), 0.0)
        return tenant

    def test_nobody(self) -> None:
        self.assertEqual(rate_headers(None, 0.0), {})
        self.assertEqual(rate_headers(Tenant("web"), 0.0), {})

    def test_slow(self) -> None:
        """One in a minute, three at once."""
        tenant, now = self.tenant(60.0, 3), 1000.0
        self.assertEqual(
            rate_headers(tenant, now),
            {"RateLimit-Policy": '"submits";q=3;w=180', "RateLimit": '"submits";r=3;t=0'},
        )
        self.assertTrue(tenant.submits.take(now))
        self.assertEqual(rate_headers(tenant, now)["RateLimit"], '"submits";r=2;t=60')
        self.assertTrue(tenant.submits.take(now))
        self.assertTrue(tenant.submits.take(now))
        self.assertEqual(rate_headers(tenant, now)["RateLimit"], '"submits";r=0;t=60')
        found = problem(QueueError("no", why=errors.TOO_FAST), tenant, now + 0.5)
        self.assertEqual(found.headers["Retry-After"], "60")

    def test_fast(self) -> None:
        """A window is a second at least."""
        tenant = self.tenant(0.001, 1)
        self.assertEqual(rate_headers(tenant, 0.0)["RateLimit-Policy"], '"submits";q=1000;w=1')
        self.assertTrue(tenant.submits.take(0.0))
        found = problem(QueueError("no", why=errors.TOO_FAST), tenant, 0.0)
        self.assertEqual(
            (found.headers["Retry-After"], found.headers["RateLimit"]), ("1", '"submits";r=0;t=1')
        )
