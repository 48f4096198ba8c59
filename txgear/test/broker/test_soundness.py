"""Tests of L{txgear.broker.soundness}: what does not agree is noticed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.lanes import Lanes
from txgear.broker.model import Function, Peer
from txgear.broker.soundness import check_functions, check_statistics, check_tenants, check_timers
from txgear.broker.states import QUEUED, RUNNING
from txgear.broker.statistics import Statistics
from txgear.broker.tenants import Tenant
from txgear.broker.timers import Timers
from txgear.test.support.broker import make_job


class TenantTests(SynchronousTestCase):
    def test_what_agrees(self) -> None:
        tenant, peer, job = Tenant("web"), Peer(1, "192.0.2.1"), make_job()
        peer.tenant = job.tenant = tenant
        job.state = RUNNING
        tenant.connections = tenant.running = 1
        check_tenants([tenant], [peer], [job])

    def test_what_does_not(self) -> None:
        tenant, other = Tenant("web"), Tenant("other")
        tenant.connections, other.running = 1, 1
        for wrong in (tenant, other):
            with self.assertRaises(AssertionError):
                check_tenants([wrong], [], [])


class FunctionTests(SynchronousTestCase):
    def test_what_agrees(self) -> None:
        function = Function(b"f")
        job = make_job(function)
        job.state = RUNNING
        function.running = 1
        check_functions([function], [job], [make_job(function, 2)])

    def test_what_does_not(self) -> None:
        """A count of what runs, lies in the lanes or is delayed; a function that is not known."""
        running, queued, delayed = Function(b"running"), Function(b"queued"), Function(b"delayed")
        running.running = 1
        queued.lanes.append(make_job(queued))
        delayed.delayed[make_job(delayed)] = None
        for wrong in (running, queued, delayed):
            with self.assertRaises(AssertionError):
                check_functions([wrong], [], [])
        with self.assertRaises(AssertionError):
            check_functions([], [], [make_job()])


class StatisticsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.statistics = Statistics()
        self.function = Function(b"f", self.statistics.begin(b"f"))
        self.job = make_job(self.function)
        self.job.state, self.job.since = QUEUED, 5.0
        self.function.lanes.append(self.job)
        self.waiting = make_job(self.function, 2)
        self.function.counts.submitted = 2

    def check(self, rows: int = 0) -> None:
        check_statistics(self.statistics, [self.function], [self.job, self.waiting], rows)

    def test_what_agrees(self) -> None:
        self.check()

    def test_those_that_are_not_in_memory(self) -> None:
        self.function.counts.submitted += 3
        self.check(3)
        self.assertRaises(AssertionError, self.check)

    def test_what_does_not(self) -> None:
        """Of what has come, of those to whom it belongs, and since when it waits."""
        self.function.counts.submitted += 1
        self.assertRaises(AssertionError, self.check)
        self.function.counts.submitted -= 1
        self.check()
        self.function.counts.waits[3] += 1
        self.assertRaises(AssertionError, self.check)
        self.function.counts.waits[3] -= 1
        self.function.lanes = Lanes()
        self.assertRaises(AssertionError, self.check)


class TimerTests(SynchronousTestCase):
    def test_who_waits_for_a_time(self) -> None:
        timers, function, job = Timers(), Function(b"f"), make_job()
        timers.add(job, 5.0)
        timers.add(function, 6.0)
        check_timers(timers, [function], [job])
        with self.assertRaises(AssertionError):
            check_timers(timers, [function], [])
        with self.assertRaises(AssertionError):
            check_timers(timers, [], [job])
