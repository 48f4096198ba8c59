"""Tests of L{txgear.broker.soundness}: what does not agree is noticed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Function, Peer
from txgear.broker.soundness import check_functions, check_tenants
from txgear.broker.states import RUNNING
from txgear.broker.tenants import Tenant
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
