"""
Tests for L{txgear.daemon.service} with a store: what is back after a start, what keeps
it from starting, and what the end leaves in the store.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent

from txgear.broker.records import DEAD as KIND_DEAD
from txgear.broker.records import KEPT, PAUSED, SCHEDULED, Batch, ByNumber, JobRecord, StoredValue
from txgear.broker.states import DEAD, DONE
from txgear.daemon.service import STOP_SECONDS, ServerService
from txgear.errors import ConfigurationError, StoreRefused, StoreUnavailable, StoreUnusable
from txgear.journal.journal import NUMBERS
from txgear.protocol.constants import CAN_DO, GRAB_JOB, JOB_ASSIGN, JOB_CREATED, WORK_COMPLETE
from txgear.protocol.packets import request, response
from txgear.test.daemon.test_service import ServiceTestCase
from txgear.test.net.test_listeners import RefusingReactor
from txgear.test.support.broker import record
from txgear.test.support.journal import PATIENCE, FaultyStore
from txgear.test.support.server import refused, submit


class HangingStore(FaultyStore):
    """
    A store whose disk can be stopped.

    @ivar gate: open, unless a test closes it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.throttle = threading.Event()
        self.throttle.set()

    def write(self, batch: Batch) -> None:
        self.throttle.wait()
        super().write(batch)


class StoreTestCase(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = HangingStore()
        self.threads = set(threading.enumerate())
        self.addCleanup(self.join)

    def join(self) -> None:
        """No thread is left when a service has ended."""
        for thread in set(threading.enumerate()) - self.threads:
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())

    def keep(self, *records: JobRecord) -> None:
        """The store has these jobs, from an earlier server."""
        self.store.open()
        first = self.store.reserve(NUMBERS)
        assert first == 1
        self.store.write(Batch([(each, b"w" * each.size) for each in records], (), ()))
        self.store.close(1 + max(each.place for each in records))
        self.store.closed_with = None
        self.store.take()

    def remember(self, *marks: StoredValue) -> None:
        """The store has these marks, from an earlier server."""
        self.store.open()
        self.store.write(Batch((), (), (), values=marks))
        self.store.close(None)

    def remembered(self) -> list[StoredValue]:
        """The marks that the store has, when no server uses it."""
        self.store.open()
        marks = self.store.values()
        self.store.close(None)
        return marks

    def config(self, text: str) -> str:
        """A file for C{--config} with this in it; its path."""
        path: str = self.mktemp()
        Path(path).write_text(text, "utf-8")
        return path

    def start(self, *words: str) -> ServerService:
        service = self.started(*words, store=self.store)
        self.settle(service)
        return service

    def pass_time(self, service: ServerService, seconds: int) -> None:
        """Let it pass, the store doing what it is asked as it is."""
        for _ in range(10 * seconds):
            self.reactor.advance(0.1)
            self.settle(service)

    def stop(self, service: ServerService) -> None:
        """End it, when nobody is connected."""
        stopping: Deferred[None] = service.stopService()
        self.reactor.deliver()
        self.successResultOf(stopping)

    def tell(self, protocol: Any, *packets: bytes, calls: int = 1) -> None:
        """A client says something that needs the store that often."""
        protocol.dataReceived(b"".join(packets))
        for _ in range(calls):
            self.reactor.deliver()


class ReplayTests(StoreTestCase):
    """The start, with what is in the store."""

    def test_new(self) -> None:
        """A store with nothing in it: its numbers begin with 1, and nothing is said of jobs."""
        with capturedLogs() as events:
            service = self.start()
        (line,) = [formatEvent(event) for event in events]
        self.assertIn("is ready: store memory:, listening on", line)
        self.assertEqual(self.store.take(), ["open", "reserve", "values", "lanes"])
        protocol, transport = self.connect()
        self.tell(protocol, submit())
        self.assertEqual(transport.value(), response(JOB_CREATED, service.server.settings.prefix + b":1"))
        self.assertEqual(list(self.store.kept), [1])
        protocol.connectionLost()
        self.stop(service)

    def test_jobs(self) -> None:
        """Jobs are queued in the order of their places, before anybody can connect."""
        self.keep(
            record(1, 6, retries=2, size=1),
            record(2, size=1),
            record(3, due=50.0, size=1),
            record(4, 5, size=1),
            record(7, size=1),
        )
        with capturedLogs() as events:
            service = self.start()
        lines = [formatEvent(event) for event in events]
        self.assertEqual(lines[0], "5 jobs are back from the store, in 0.0 seconds")
        self.assertEqual(len(lines), 2)
        protocol, transport = self.connect()
        protocol.dataReceived(request(CAN_DO, b"f"))
        for _ in range(4):
            self.settle(service)
            protocol.dataReceived(request(GRAB_JOB))
        assigned = [response(JOB_ASSIGN, b"H:test:%d" % number, b"f", b"w") for number in (2, 4, 1, 7)]
        self.assertEqual(transport.value(), b"".join(assigned))
        transport.clear()
        self.pass_time(service, 50)
        protocol.dataReceived(request(GRAB_JOB))
        self.assertEqual(transport.value(), response(JOB_ASSIGN, b"H:test:3", b"f", b"w"))
        self.assertEqual(service.server.broker.table.jobs[1].retries, 2)
        stopping: Deferred[None] = service.stopService()
        # The time of the last one has come, which is written.
        self.reactor.deliver()
        protocol.connectionLost()
        self.reactor.deliver()
        self.successResultOf(stopping)
        self.assertEqual((self.store.kept[3].due, self.store.kept[3].place), (0.0, 8))

    def test_what_has_ended(self) -> None:
        """And what is paused."""
        self.keep(
            record(1, size=1),
            record(2, size=1, kind=KIND_DEAD)._replace(state=DEAD, ended=1.0, due=1e9, history=b"{}"),
            record(3, size=6, kind=KEPT)._replace(
                state=DONE, ended=1.0, due=1e9, history=b'{"result":[0,6,true]}'
            ),
        )
        self.store.open()
        self.store.write(Batch((), (), (), [(3, b"result")], values=[StoredValue(PAUSED, b"g h", 1.0)]))
        self.store.close(4)
        with capturedLogs() as events:
            service = self.start()
        self.assertEqual(
            formatEvent(events[0]),
            "1 job is back from the store, in 0.0 seconds; ended ones that are kept: 1 dead, 1 other",
        )
        self.assertEqual(formatEvent(events[1]), "paused, until `resume` is said: g\\x20h")
        broker = service.server.broker
        self.assertEqual((list(broker.table.jobs), broker.archive.rows), ([1], 2))
        gate = broker.functions.by_name[b"g h"].throttle
        self.assertTrue(gate is not None and gate.paused)
        answers: list[bytes | None] = []

        def loaded(there: bool, now: float) -> None:
            for number in (2, 3):
                broker.archive.read(broker.archive.jobs[number], answers.append)

        broker.stock.load(ByNumber([2, 3]), loaded, 0.0)
        service.server.end_turn()
        self.settle(service)
        self.assertEqual(answers, [b"w", b"result"])
        self.stop(service)

    def test_a_great_many_are_paused(self) -> None:
        self.store.open()
        marks = [StoredValue(PAUSED, b"f%02d" % number, 1.0) for number in range(23)]
        self.store.write(Batch((), (), (), (), values=marks))
        self.store.close(1)
        with capturedLogs() as events:
            service = self.start()
        said = formatEvent(events[0])
        self.assertTrue(said.startswith("paused, until `resume` is said: f00 f01 "))
        self.assertTrue(said.endswith(" f19 and 3 more"))
        self.stop(service)

    def test_only_ended(self) -> None:
        """They are told also when there is nothing to do."""
        self.keep(record(1, state=DEAD, kind=KIND_DEAD, ended=1.0, due=1e9))
        with capturedLogs() as events:
            service = self.start()
        self.assertEqual(
            formatEvent(events[0]),
            "0 jobs are back from the store, in 0.0 seconds; ended ones that are kept: 1 dead, 0 others",
        )
        self.stop(service)

    def test_policies(self) -> None:
        """Jobs are back under the policies of their functions: their time to begin goes on."""
        self.reactor.advance(1000)
        self.keep(record(1, created=990.0, wake=1050.0), record(2, created=950.0, wake=1010.0))
        service = self.start("--config", self.config('[[function]]\nname = "f"\nexpires = 60\n'))
        self.pass_time(service, 9)
        self.assertEqual(list(self.store.kept), [1, 2])
        self.pass_time(service, 2)
        self.assertEqual(list(self.store.kept), [1])
        self.stop(service)

    def test_schedules(self) -> None:
        """Schedules go on from what is remembered of them, and a restart does not run them again."""
        self.reactor.advance(1000)
        self.remember(StoredValue(SCHEDULED, b"s", 900.0), StoredValue(SCHEDULED, b"gone", 900.0))
        path = self.config('[[schedule]]\nname = "s"\ncron = "* * * * *"\nfunction = "f"\n')
        service = self.start("--config", path)
        self.assertEqual(len(service.server.broker.table), 1)
        self.stop(service)
        service = self.start("--config", path)
        self.assertEqual(len(service.server.broker.table), 1)
        self.stop(service)
        self.assertEqual(self.remembered(), [StoredValue(SCHEDULED, b"s", 960.0)])
        self.assertEqual(len(self.store.kept), 1)

    def test_no_file_of_schedules(self) -> None:
        """A start without the option, to look at something, forgets nothing of them."""
        self.reactor.advance(1000)
        self.remember(StoredValue(SCHEDULED, b"s", 900.0))
        service = self.start()
        self.assertEqual((service.server.scheduler.schedules, len(service.server.broker.table.jobs)), ({}, 0))
        self.stop(service)
        self.assertEqual(self.remembered(), [StoredValue(SCHEDULED, b"s", 900.0)])

    def test_numbers(self) -> None:
        """New jobs have numbers above all that there ever were."""
        self.keep(record(3))
        service = self.start()
        self.assertEqual(service.server.broker.table.next_number, 4)
        self.stop(service)


class FailingStartTests(StoreTestCase):
    """What keeps a server from starting."""

    def assert_not_started(self, text: str, **choices: Any) -> None:
        """One line, no port, and the store is let go of."""
        service = self.service(store=self.store, **choices)
        with capturedLogs() as events:
            error = self.assertRaises(ConfigurationError, service.startService)
        self.assertEqual([formatEvent(event) for event in events], [text])
        self.assertEqual(str(error), text)
        self.assertEqual(self.reactor.tcpServers, [])
        self.assertFalse(service.running)
        self.assertEqual(self.store.take()[-1], "close")
        self.assertIsNone(self.store.closed_with)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.join()

    def test_unusable(self) -> None:
        """What the store says of itself is the line."""
        self.store.fail("open", StoreUnusable("/x.sqlite is in use by process 7"))
        self.assert_not_started("/x.sqlite is in use by process 7")

    def test_unavailable(self) -> None:
        """Any call may find the database gone, or refuse: never a silent start without a store."""
        self.keep(record(1))
        for name in ("open", "reserve", "values", "lanes"):
            for error in (StoreUnavailable("nobody listens"), StoreRefused("nobody listens")):
                self.store.fail(name, error)
                self.assert_not_started("the store memory:: nobody listens")
        self.assertEqual(list(self.store.kept), [1])

    def test_port_taken(self) -> None:
        """A server that cannot listen lets go of its store, too."""
        reactor = RefusingReactor(98)
        service = self.service("--listen=127.0.0.1", reactor=reactor, store=self.store)
        self.assertRaises(ConfigurationError, service.startService)
        self.assertEqual(self.store.take(), ["open", "reserve", "values", "lanes", "close"])
        self.join()
        self.stop(self.start())

    def test_no_password_in_the_log(self) -> None:
        """The start line names the store as that names itself."""
        self.store.name = "postgresql://user@host/jobs"
        with capturedLogs() as events:
            service = self.start()
        self.assertIn("is ready: store postgresql://user@host/jobs, listening on", formatEvent(events[-1]))
        self.stop(service)


class EndTests(StoreTestCase):
    """The end."""

    def setUp(self) -> None:
        super().setUp()
        self.service_running = self.start()
        self.client, self.heard = self.connect()
        self.worker, self.assigned = self.connect()

    def take(self, transport: StringTransport) -> bytes:
        value: bytes = transport.value()
        transport.clear()
        return value

    def prefix(self) -> bytes:
        return self.service_running.server.settings.prefix

    def leave(self) -> None:
        for protocol in (self.client, self.worker):
            protocol.connectionLost()

    def run_a_job(self) -> bytes:
        """A background job that the worker has; its handle."""
        self.tell(self.client, submit())
        self.worker.dataReceived(request(CAN_DO, b"f") + request(GRAB_JOB))
        self.heard.clear()
        (job,) = self.service_running.server.broker.table.jobs.values()
        return job.handle

    def test_order(self) -> None:
        """Who waits for the disk is answered, then everybody is hung up on, then the store is closed."""
        self.store.take()
        self.client.dataReceived(submit())
        stopping = self.service_running.stopService()
        self.assertFalse(self.heard.disconnecting)
        self.client.dataReceived(submit())
        self.reactor.deliver()
        handle = response(JOB_CREATED, self.prefix() + b":1")
        self.assertEqual(self.take(self.heard), handle + refused(b"The server is shutting down"))
        self.assertTrue(self.heard.disconnecting)
        self.assertEqual(self.store.take(), ["write"])
        self.leave()
        self.reactor.deliver()
        self.successResultOf(stopping)
        self.assertEqual(self.store.take(), ["close"])
        self.assertEqual(self.store.closed_with, 2)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_running_jobs(self) -> None:
        """A job that runs when the server ends is no lost one: it is back in its place, uncounted."""
        self.run_a_job()
        stopping = self.service_running.stopService()
        self.leave()
        self.reactor.deliver()
        self.successResultOf(stopping)
        self.assertEqual(self.store.sizes, [(1, 0, 0)])
        self.assertEqual((self.store.kept[1].retries, self.store.kept[1].place), (0, 1))
        service = self.start()
        self.assertEqual(len(service.server.broker.table), 1)
        self.stop(service)

    def test_last_results(self) -> None:
        """What ended in the last moment is taken out of the store before it is closed."""
        handle = self.run_a_job()
        self.worker.dataReceived(request(WORK_COMPLETE, handle, b""))
        stopping = self.service_running.stopService()
        self.reactor.deliver()
        self.leave()
        self.reactor.deliver()
        self.successResultOf(stopping)
        self.assertEqual(self.store.kept, {})

    def test_results_meanwhile(self) -> None:
        """So is what ends while the server hangs up."""
        handle = self.run_a_job()
        stopping = self.service_running.stopService()
        # Its worker reads and writes to the last moment.
        server = self.service_running.server
        server.broker.reports.work_complete(self.worker.peer, handle, b"", 0.0)
        server.end_turn()
        self.leave()
        self.reactor.deliver()
        self.reactor.deliver()
        self.successResultOf(stopping)
        self.assertEqual(self.store.kept, {})

    def test_hanging(self) -> None:
        """A store that does not answer holds up the end for its timeout, once."""
        self.store.throttle.clear()
        self.addCleanup(self.store.throttle.set)
        self.client.dataReceived(submit())
        stopping = self.service_running.stopService()
        self.reactor.advance(5)
        self.assertEqual(self.take(self.heard), refused(b"The server is shutting down"))
        self.assertTrue(self.heard.disconnecting)
        self.assertNoResult(stopping)
        self.leave()
        self.successResultOf(stopping)

    def test_hanging_peers(self) -> None:
        """Peers that do not let go have their time besides."""
        self.store.throttle.clear()
        self.addCleanup(self.store.throttle.set)
        self.client.dataReceived(submit())
        stopping = self.service_running.stopService()
        self.reactor.advance(5)
        self.assertNoResult(stopping)
        self.reactor.advance(STOP_SECONDS)
        self.successResultOf(stopping)
        self.leave()

    def test_lost(self) -> None:
        """So does one that is lost, whatever the log says of what it has not taken."""
        handle = self.run_a_job()
        gone = StoreUnavailable("the connection is gone")
        self.store.fail("write", gone)
        self.store.fail("open", gone, times=100)
        self.worker.dataReceived(request(WORK_COMPLETE, handle, b""))
        stopping = self.service_running.stopService()
        self.reactor.deliver()  # the write
        self.reactor.deliver()  # opened again at once
        for seconds in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0):
            self.reactor.advance(seconds)
            self.reactor.deliver()
        self.reactor.advance(0.4)
        self.assertNoResult(stopping)
        with capturedLogs() as events:
            self.reactor.advance(0.2)
            self.leave()
            self.reactor.deliver()  # closed
        self.successResultOf(stopping)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "the store memory: has not taken the last changes; 1 ended job will run again",
                "txgear has ended",
            ],
        )
        self.assertEqual((self.store.take()[-1], self.store.closed_with), ("close", None))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_drain(self) -> None:
        """Background jobs that wait stay in the store, which is nothing to worry about."""
        self.tell(self.client, submit(), submit())
        self.drain("drained; 2 background jobs stay in the store", 1, 2)

    def test_drain_of_one(self) -> None:
        """One of them is no "1 jobs"."""
        self.tell(self.client, submit())
        self.drain("drained; 1 background job stays in the store", 1)

    def drain(self, line: str, *kept: int) -> None:
        ended: list[bool] = []
        self.service_running.end = lambda: ended.append(True)
        with capturedLogs() as events:
            self.service_running.shutdown(True)
        lines = [formatEvent(event) for event in events]
        self.assertEqual(lines[1:], [line])
        self.assertEqual(ended, [True])
        stopping = self.service_running.stopService()
        self.leave()
        self.reactor.deliver()
        self.successResultOf(stopping)
        self.assertEqual(tuple(self.store.kept), kept)

    def test_timeout(self) -> None:
        """C{--store-timeout} reaches the journal."""
        self.stop_now()
        service = self.started("--store-timeout=1", store=self.store)
        self.assertEqual(service.server.settings.store_timeout, 1.0)
        self.stop(service)

    def stop_now(self) -> None:
        stopping = self.service_running.stopService()
        self.leave()
        self.reactor.deliver()
        self.successResultOf(stopping)
