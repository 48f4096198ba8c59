"""Tests of L{txgear.daemon.clustered}, and of a service with C{--cluster}."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import SIGNED_OUT, Batch, StoredValue
from txgear.cluster.watch import FREE_SECONDS, JITTER
from txgear.daemon.clustered import (
    HANG_UP_SECONDS,
    LEAST_SECONDS,
    NO_CLUSTER,
    PACE_SECONDS,
    PATIENT_SECONDS,
    PROMPT_SECONDS,
    Clustered,
)
from txgear.daemon.late import ASKED
from txgear.daemon.service import ServerService
from txgear.errors import ConfigurationError, StoreUnavailable
from txgear.interfaces import IJobStore
from txgear.protocol.constants import CAN_DO, GRAB_JOB, JOB_ASSIGN, JOB_CREATED, WORK_COMPLETE
from txgear.protocol.packets import request, response
from txgear.stores.memory import MemoryStore
from txgear.test.daemon.test_service import ServiceTestCase
from txgear.test.support.cluster import SIZE, ClusterStore, Database
from txgear.test.support.journal import PATIENCE
from txgear.test.support.server import submit


class LargeStore(ClusterStore):
    """One that has numbers for a server of the usual size."""

    def reserve(self, count: int) -> int:
        return super().reserve(min(count, SIZE // 2))


class HeardTests(SynchronousTestCase):
    """Who is connected hears that the server ends, before another one may have its parts."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.closed: Deferred[None] = Deferred()
        self.heard = Clustered(self.clock, None).heard(self.closed)  # type: ignore[arg-type]

    def test_all_hang_up(self) -> None:
        self.assertNoResult(self.heard)
        self.closed.callback(None)
        self.successResultOf(self.heard)
        self.successResultOf(self.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_somebody_does_not(self) -> None:
        self.clock.advance(HANG_UP_SECONDS)
        self.successResultOf(self.heard)
        self.closed.callback(None)
        self.successResultOf(self.closed)


class ClusteredTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.database = Database()
        self.store = LargeStore(self.database, "a")
        self.protocols: list[Any] = []
        self.threads = set(threading.enumerate())
        self.addCleanup(self.join)

    def join(self) -> None:
        for thread in set(threading.enumerate()) - self.threads:
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())

    def service(self, *words: str, reactor: Any = None, store: IJobStore | None = None) -> ServerService:
        made = super().service(*words, reactor=reactor)
        options = {**made._options, "cluster": True}
        self.ended: list[bool] = []
        service = ServerService(self.reactor, options=options, store=store)
        service.end = lambda: self.ended.append(True)
        return service

    def begin(self) -> ServerService:
        service = self.started(store=self.store)
        self.settle(service)
        return service

    def pass_time(self, service: ServerService, seconds: float) -> None:
        for _ in range(round(10 * seconds)):
            self.reactor.advance(0.1)
            if service.running:
                self.settle(service)

    def connect(self) -> tuple[Any, StringTransport]:
        protocol, transport = super().connect()
        self.protocols.append(protocol)
        return protocol, transport

    def leave(self) -> None:
        """All connections end."""
        protocols, self.protocols = self.protocols, []
        for protocol in protocols:
            protocol.connectionLost(Failure(ConnectionDone()))

    def stop(self, service: ServerService) -> None:
        self.leave()
        stopped = service.stopService()
        while not stopped.called:
            self.reactor.deliver()
        self.successResultOf(stopped)

    def is_taken(self) -> None:
        """Another server takes what this one has."""
        for row in self.database.leases.values():
            row.owner, row.term, row.name = b"other", row.term + 1, "b"

    def lose(self, service: ServerService) -> list[str]:
        """It finds out; what it says."""
        self.is_taken()
        with capturedLogs() as events:
            for _ in range(30):
                self.reactor.advance(0.1)
                if service.server.journal is not None and service.server.journal.busy:
                    self.settle(service)
                if not service.running:
                    break
            self.leave()
            while service._waiting:
                self.reactor.deliver()
        return [formatEvent(event) for event in events]

    def test_it_takes_what_nobody_has(self) -> None:
        service = self.begin()
        protocol, transport = self.connect()
        protocol.dataReceived(submit())
        self.settle(service)
        self.assertEqual(transport.value()[:4], response(JOB_CREATED, b"")[:4])
        self.stop(service)
        self.assertEqual({row.owner for row in self.database.leases.values()}, {b""})
        self.reactor.tcpServers.clear()
        service = self.begin()
        protocol, transport = self.connect()
        protocol.dataReceived(request(CAN_DO, b"f") + request(GRAB_JOB))
        self.settle(service)
        # Nobody has had it for long enough at the second look.
        self.reactor.advance(FREE_SECONDS + JITTER)
        self.settle(service)
        transport.clear()
        protocol.dataReceived(request(GRAB_JOB))
        self.assertEqual(transport.value()[4:8], response(JOB_ASSIGN)[4:8])
        self.stop(service)

    def test_others_have_taken_over(self) -> None:
        """It starts anew, but not at once."""
        service = self.begin()
        _, transport = self.connect()
        first = service.server
        lines = self.lose(service)
        self.assertTrue(any("starts anew without stored jobs" in line for line in lines), lines)
        self.assertIn("all connections have ended, and txgear starts anew", lines)
        self.assertNotIn("txgear has ended", lines)
        self.assertTrue(transport.disconnecting)
        self.assertFalse(service.running)
        self.pass_time(service, PACE_SECONDS - 3.5)
        self.assertFalse(service.running)
        self.pass_time(service, 4)
        self.assertTrue(service.running)
        self.assertIsNot(service.server, first)
        self.addCleanup(service.server.stop)
        self.assertEqual(len(self.store.parts), 1)
        self.assertEqual(self.ended, [])
        self.stop(service)

    def running(self, service: ServerService) -> tuple[Any, bytes]:
        """A worker, and the handle of the job that it has."""
        client, heard = self.connect()
        client.dataReceived(submit())
        self.settle(service)
        worker, _ = self.connect()
        worker.dataReceived(request(CAN_DO, b"f") + request(GRAB_JOB))
        handle = heard.value()[12:]
        self.assertIn(handle, worker.peer.running)
        return worker, handle

    def test_it_is_to_end(self) -> None:
        """It listens no more, and waits for what runs; at the least a moment, for who has just come."""
        service = self.begin()
        worker, handle = self.running(service)
        service.shutdown(False)
        self.assertEqual(service.ports, [])
        self.pass_time(service, LEAST_SECONDS + 1)
        self.assertEqual(self.ended, [])
        worker.dataReceived(request(WORK_COMPLETE, handle, b""))
        self.settle(service)
        self.assertEqual(self.ended, [True])
        self.stop(service)

    def test_nothing_runs(self) -> None:
        service = self.begin()
        service.shutdown(False)
        self.pass_time(service, LEAST_SECONDS - 0.1)
        self.assertEqual(self.ended, [])
        self.pass_time(service, 0.2)
        self.assertEqual(self.ended, [True])
        self.stop(service)

    def ends_after(self, seconds: float, graceful: bool) -> None:
        service = self.begin()
        self.running(service)
        service.shutdown(graceful)
        service.shutdown(True)
        self.pass_time(service, seconds - 0.2)
        self.assertEqual(self.ended, [])
        with capturedLogs() as events:
            self.pass_time(service, 0.4)
        self.assertEqual(self.ended, [True])
        line = f"jobs have not ended within {seconds:g} seconds"
        self.assertTrue(any(line in formatEvent(event) for event in events))
        self.stop(service)

    def test_jobs_that_do_not_end(self) -> None:
        self.ends_after(PROMPT_SECONDS, False)

    def test_jobs_that_do_not_end_for_long(self) -> None:
        self.ends_after(PATIENT_SECONDS, True)

    def test_it_is_told_once_more(self) -> None:
        """Then it waits no more; and what is over does not end the next one."""
        service = self.begin()
        self.running(service)
        service.shutdown(True)
        service.shutdown(False)
        self.assertEqual(self.ended, [True])
        self.stop(service)
        self.reactor.tcpServers.clear()
        service.startService()
        self.pass_time(service, 2 * PATIENT_SECONDS)
        self.assertEqual(self.ended, [True])
        self.stop(service)

    def test_others_take_over_while_it_ends(self) -> None:
        """It has nothing to begin anew."""
        service = self.begin()
        self.running(service)
        service.shutdown(True)
        self.lose(service)
        self.assertEqual(self.ended, [True])
        self.stop(service)

    def test_who_does_not_hang_up(self) -> None:
        """Others have the jobs before."""
        service = self.begin()
        self.connect()
        stopped = service.stopService()
        while not self.reactor.getDelayedCalls():
            self.reactor.deliver()
        self.reactor.advance(HANG_UP_SECONDS)
        while {row.owner for row in self.database.leases.values()} != {b""}:
            self.reactor.deliver()
        self.assertNoResult(stopped)
        self.leave()
        while not stopped.called:
            self.reactor.deliver()

    def test_it_is_ended_meanwhile(self) -> None:
        service = self.begin()
        self.lose(service)
        self.stop(service)
        self.pass_time(service, 2 * PACE_SECONDS)
        self.assertFalse(service.running)

    def test_it_is_ended_before(self) -> None:
        service = self.begin()
        service.store_taken()
        self.stop(service)
        self.pass_time(service, 2 * PACE_SECONDS)
        self.assertFalse(service.running)

    def test_it_cannot_start(self) -> None:
        """Then it ends, for whoever starts it once more."""
        service = self.begin()
        self.lose(service)
        self.store.is_cut = True
        with capturedLogs():
            self.pass_time(service, PACE_SECONDS)
        self.assertFalse(service.running)
        self.assertEqual(self.ended, [True])

    def test_sessions_of_other_servers(self) -> None:
        """What has ended there has ended here, with the first connection that goes over to HTTP too."""
        import_module(ASKED)
        service = self.begin()
        web_channel = service.server.web_channel
        assert web_channel is not None
        values = [StoredValue(SIGNED_OUT, b"0123abcd " + b"x" * 22, 1.0)]
        self.keep(service, values)
        web_channel()
        assert service.web is not None
        sessions = service.web.sessions._sessions
        self.assertEqual(sessions._ended["0123abcd"].keys(), {"x" * 22})
        values = [StoredValue(SIGNED_OUT, b"0123abcd " + b"y" * 22, 1.0)]
        self.keep(service, values)
        self.assertEqual(sessions._ended["0123abcd"].keys(), {"x" * 22, "y" * 22})
        self.stop(service)

    def keep(self, service: ServerService, values: list[StoredValue]) -> None:
        """Another server keeps these."""
        self.database.rows.write(Batch((), (), (), values=values))
        self.pass_time(service, 1.5)

    def test_other_stores(self) -> None:
        for store in (None, MemoryStore()):
            service = self.service(store=store)
            with capturedLogs():
                error = self.assertRaises(ConfigurationError, service.startService)
            self.assertEqual(str(error), NO_CLUSTER)

    def test_a_defect(self) -> None:
        """It is told."""

        class Failing:
            running = 1

            def stopService(self) -> Any:
                from twisted.internet.defer import fail

                return fail(StoreUnavailable("gone"))

            def start_again(self) -> None:
                raise AssertionError

        clustered = Clustered(self.reactor, Failing())
        with capturedLogs():
            clustered.begin_anew()
            self.reactor.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailable)), 1)
