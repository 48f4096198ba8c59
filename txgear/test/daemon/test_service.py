"""
Tests for L{txgear.daemon.service}.
"""

from __future__ import annotations

import gc
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from txgear._version import __version__
from txgear.daemon.options import Options
from txgear.daemon.renewal import LOOK_SECONDS
from txgear.daemon.service import BACKLOG, STOP_SECONDS, ServerService
from txgear.errors import ConfigurationError, StoreTaken, StoreUnavailable
from txgear.interfaces import IJobStore
from txgear.journal.link import FIRST_RETRY
from txgear.net.proxyheader import HeaderFactory
from txgear.plugins.gear import gear
from txgear.plugins.http import http
from txgear.protocol.constants import (
    CAN_DO,
    GRAB_JOB,
    NOOP,
    PRE_SLEEP,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    WORK_COMPLETE,
)
from txgear.protocol.packets import request, response
from txgear.server.gear import GearFactory
from txgear.server.settings import Settings
from txgear.stores.memory import MemoryStore
from txgear.test.net.test_listeners import RefusingReactor
from txgear.test.support.extras import needs
from txgear.test.support.journal import FaultyStore, ThreadedReactor
from txgear.test.support.server import submit
from txgear.test.support.tls import CertificateFolder, TlsPeer


class ServiceTestCase(SynchronousTestCase):
    """A service that can be started, and leaves nothing behind."""

    def setUp(self) -> None:
        self.reactor: Any = ThreadedReactor()

    def service(self, *words: str, reactor: Any = None, store: IJobStore | None = None) -> ServerService:
        options = Options()
        options.parseOptions(["--store=memory:", "--web=", *words])
        modules = [options.modules[name] for name in ("gear", *options["protocol"])]
        return ServerService(
            reactor or self.reactor, options.settings(), modules, options, store, options.config
        )

    def started(self, *words: str, store: IJobStore | None = None) -> ServerService:
        service = self.service(*words, store=store)
        service.startService()
        self.addCleanup(service.server.stop)
        self.addCleanup(service.scheduler.stop)
        return service

    def settle(self, service: ServerService) -> None:
        """The store has done all that it was asked."""
        self.reactor.settle(service.server.journal)

    def connect(self) -> tuple[Any, StringTransport]:
        """A connection to the first port."""
        factory: Any = self.reactor.tcpServers[0][1]
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport


class StartTests(ServiceTestCase):
    """The start."""

    def test_listens(self) -> None:
        """It listens on both loopback addresses, with the options' port and backlog."""
        self.started("--port=14730", "--backlog=9")
        self.assertEqual(
            [(port, backlog, host) for port, _, backlog, host in self.reactor.tcpServers],
            [(14730, 9, "127.0.0.1"), (14730, 9, "::1")],
        )

    def test_modules(self) -> None:
        """Each protocol has its port at the same addresses; an endpoint string is the Gearman protocol's."""
        self.started("--listen=127.0.0.2", "--listen=tcp:99", "--protocol=http", "--http-port=88")
        self.assertEqual(
            [(port, host) for port, _, _, host in self.reactor.tcpServers],
            [(4730, "127.0.0.2"), (99, ""), (88, "127.0.0.2")],
        )

    def test_endpoints_alone(self) -> None:
        """Where only endpoint strings were named, other protocols are on loopback."""
        self.started("--listen=tcp:99", "--protocol=http", "--http-port=88")
        self.assertEqual(
            [(port, host) for port, _, _, host in self.reactor.tcpServers],
            [(99, ""), (88, "127.0.0.1"), (88, "::1")],
        )

    def test_refused(self) -> None:
        """What cannot be bound is an error, logged as one line; no timer or descriptor is left."""
        service = self.service("--listen=127.0.0.1", reactor=RefusingReactor(98))
        before = len(os.listdir("/proc/self/fd"))
        self.assertRaises(ConfigurationError, service.startService)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertFalse(service.running)

    def test_no_loopback(self) -> None:
        """A machine without any loopback address has to be told where to listen."""
        error = self.assertRaises(ConfigurationError, self.service(reactor=RefusingReactor(99)).startService)
        self.assertIn("use --listen", str(error))


class ProxyTests(ServiceTestCase):
    """Ports behind proxies."""

    def test_header(self) -> None:
        """With C{--proxy-from} all ports read headers first; a broken one is a line of the log."""
        service = self.started("--listen=127.0.0.1", "--listen=tcp:0", "--port=0", "--proxy-from=192.0.2.1")
        self.addCleanup(service.stopService)
        factories = [factory for _, _, factory in self.reactor.adoptedPorts]
        self.assertEqual([type(factory) for factory in factories], [HeaderFactory] * 2)
        protocol = factories[0].buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.1", 1))
        protocol.makeConnection(transport)
        with capturedLogs() as events:
            protocol.dataReceived(b"?")
        self.assertTrue(transport.disconnected)
        [text] = [formatEvent(event) for event in events]
        self.assertIn("192.0.2.1", text)
        self.assertIn("it begins with no PROXY header; connection closed", text)
        self.assertEqual(service.server.headers_refused, 1)

    def test_all_is_closed(self) -> None:
        """Nothing listens any more when the service has stopped: its own sockets are closed as well."""
        before = len(os.listdir("/proc/self/fd"))
        service = self.started("--listen=127.0.0.1", "--port=0", "--proxy-from=192.0.2.1")
        self.successResultOf(service.stopService())
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_nobody(self) -> None:
        """Without the option it is as ever."""
        service = self.started()
        self.assertEqual([type(each[1]) for each in self.reactor.tcpServers], [GearFactory] * 2)
        self.assertIsNone(service.server.headers_refused)


@needs("trustme")
class TlsTests(ServiceTestCase):
    """Ports with TLS."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = CertificateFolder(self.mktemp())
        self.words = [f"--tls-cert={self.folder['cert.pem']}", f"--tls-key={self.folder['key.pem']}"]
        self.words += [f"--tls-ca={self.folder['ca.pem']}", "--tls-client=require"]

    def test_listens(self) -> None:
        """They stand beside plain ports, and the log tells which is which."""
        with capturedLogs() as events:
            service = self.started(
                *self.words,
                *("--listen=127.0.0.1", "--port=1", "--tls-listen=127.0.0.1:2"),
                *("--protocol=http", "--http-port=3", "--http-tls-port=4"),
            )
        self.assertEqual(
            [(port, host) for port, _, _, host in self.reactor.tcpServers],
            [(number, "127.0.0.1") for number in (1, 2, 3, 4)],
        )
        ready = next(text for text in map(formatEvent, events) if text and "is ready" in text)
        self.assertEqual([word.count("(TLS)") for word in ready.split(", ")[1:]], [0, 1, 0, 1])
        client = self.folder.client()
        _, (_, gear_over_tls, *_), _, (_, http_over_tls, *_) = self.reactor.tcpServers
        peer = TlsPeer(gear_over_tls, client).shake_hands()
        self.assertEqual(peer.ask(b"version\n"), b"OK %s\n" % __version__.encode("ascii"))
        peer = TlsPeer(http_over_tls, client).shake_hands()
        self.assertIn(b"HTTP/1.1 404 ", peer.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
        self.assertEqual(service.server.handshakes.completed, 2)

    def test_renewal(self) -> None:
        """New files are taken up when the service is told to reload, and by themselves."""
        service = self.started(*self.words, "--tls-listen=127.0.0.1:2")
        for name, take_up in (
            ("one.example", service.reload),
            ("two.example", lambda: self.reactor.advance(LOOK_SECONDS)),
        ):
            self.folder.renew(name)
            take_up()
            assert service.server.tls is not None
            self.assertEqual(service.server.tls.loaded.names, name)

    def test_stopped(self) -> None:
        """A server that has stopped looks at nothing, and can start again."""
        service = self.started(*self.words, "--tls-listen=127.0.0.1:2")
        self.successResultOf(service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        service.startService()
        self.successResultOf(service.stopService())

    def test_bad_files(self) -> None:
        """It does not start, and has touched nothing."""
        os.remove(self.folder["key.pem"])
        service = self.service(*self.words, "--tls-listen=127.0.0.1:2")
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertIn("--tls-key: cannot read", str(error))
        self.assertEqual(self.reactor.tcpServers, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_port_that_is_taken(self) -> None:
        reactor = RefusingReactor(98)
        service = self.service(*self.words, "--tls-listen=127.0.0.1:2", reactor=reactor)
        self.assertRaises(ConfigurationError, service.startService)
        self.assertEqual(reactor.getDelayedCalls(), [])


class EndTests(ServiceTestCase):
    """The end, by signals and by command."""

    def test_stop_hangs_up(self) -> None:
        """L{ServerService.stopService} closes the ports and the connections, and waits for them."""
        service = self.started()
        protocol, transport = self.connect()
        stopping = service.stopService()
        self.assertNoResult(stopping)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost()
        self.successResultOf(stopping)

    def test_stop_is_bounded(self) -> None:
        """A peer that does not go cannot hold up the end."""
        service = self.started()
        self.connect()
        stopping = service.stopService()
        self.reactor.advance(STOP_SECONDS)
        self.successResultOf(stopping)

    def test_stop_twice(self) -> None:
        """One end is waited for by all; where there is nothing to end, there is nothing to wait for."""
        service = self.started()
        protocol, _ = self.connect()
        first, second = service.stopService(), service.stopService()
        self.assertNoResult(first)
        self.assertNoResult(second)
        protocol.connectionLost()
        for stopping in (first, second, service.stopService(), self.service().stopService()):
            self.successResultOf(stopping)

    def test_drain(self) -> None:
        """Draining closes the ports, refuses jobs, and waits for the job that runs. The service runs on."""
        service = self.started()
        client, heard = self.connect()
        worker, _ = self.connect()
        client.dataReceived(request(SUBMIT_JOB, b"f", b"", b"one"))
        worker.dataReceived(request(CAN_DO, b"f") + request(GRAB_JOB))
        (handle,) = (job.handle for job in service.server.broker.table.jobs.values())
        draining = service.drain()
        self.assertEqual(service.ports, [])
        self.assertNoResult(draining)
        worker.dataReceived(request(WORK_COMPLETE, handle, b"done"))
        self.assertIn(b"done", heard.value())
        self.successResultOf(draining)
        self.assertTrue(service.running)

    def test_settings(self) -> None:
        """The settings reach the ports."""
        service = self.started("--exceptions", "--job-handle-prefix=H:x")
        protocol, _ = self.connect()
        self.assertTrue(protocol.peer.exceptions)
        self.assertEqual(service.server.settings, Settings(prefix=b"H:x", exceptions=True, level="NOTICE"))


class ReloadTests(ServiceTestCase):
    """The file of C{--config}, at the start and when it is read again."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp()).absolute()

    def write(self, text: str) -> None:
        self.path.write_text(text, "utf-8")

    def begin(self, text: str, *words: str) -> ServerService:
        """A server that has started with this in its file."""
        self.write(text)
        return self.started(f"--config={self.path}", *words)

    def logged(self, action: Callable[[], object]) -> list[tuple[str, str]]:
        """What the log hears meanwhile, with its levels."""
        with capturedLogs() as events:
            action()
        return [
            (event["log_level"].name, (formatEvent(event)).replace(str(self.path), "FILE"))
            for event in events
        ]

    def reload(self, service: ServerService) -> list[tuple[str, str]]:
        return self.logged(service.reload)

    def submit(self) -> bytes:
        """What is said to one more submit."""
        protocol, transport = self.connect()
        protocol.dataReceived(request(SUBMIT_JOB_BG, b"f", b"", b""))
        said: bytes = transport.value()
        protocol.connectionLost()
        return said

    def test_start(self) -> None:
        """What stands in it is in force from the first submit on, and the log says how much it is."""
        lines = self.logged(lambda: self.begin('[[function]]\nname = "f"\nmax_queue = 1\n'))
        self.assertEqual(lines[0], ("info", "FILE: policies for 1 pattern, 0 schedules"))
        self.assertEqual(len(lines), 2)
        self.assertNotIn(b"max_queue", self.submit())
        self.assertIn(b"max_queue", self.submit())

    def test_reload(self) -> None:
        """It is read again; what runs already is under what it says now."""
        service = self.begin('[[function]]\nname = "f"\nmax_queue = 1\n')
        self.submit()
        self.write('[[function]]\nname = "*"\nmax_queue = 2\n')
        self.assertEqual(
            self.reload(service), [("info", "FILE read again: policies for 1 pattern, 0 schedules")]
        )
        self.assertNotIn(b"max_queue", self.submit())
        self.assertIn(b"max_queue is 2", self.submit())
        self.write("")
        self.reload(service)
        self.assertNotIn(b"max_queue", self.submit())

    def test_workers_are_woken(self) -> None:
        """What a reload makes possible is not left until somebody says something."""
        service = self.begin('[[function]]\nname = "f"\nrate = "1/h"\n')
        self.submit()
        self.submit()
        worker, heard = self.connect()
        worker.dataReceived(request(CAN_DO, b"f") + request(GRAB_JOB) + request(PRE_SLEEP))
        heard.clear()
        self.write("")
        self.reload(service)
        self.assertEqual(heard.value(), response(NOOP))
        self.assertEqual(len(service.server.broker.table), 2)

    def test_mistake(self) -> None:
        """A mistake is said, and all stays as it was; when it is mended, that is taken."""
        service = self.begin('[[function]]\nname = "f"\nmax_queue = 1\n')
        self.submit()
        for wrong, said in (
            (
                '[[function]]\nname = "f"\nmax_queue = -1\n',
                "FILE, line 3: function.max_queue: a whole number",
            ),
            ("[[function]", "FILE, line 1: "),
        ):
            self.write(wrong)
            ((level, text),) = self.reload(service)
            self.assertEqual(level, "error")
            self.assertTrue(text.startswith(said), text)
            self.assertTrue(text.endswith("; the settings stay as they were"), text)
            self.assertIn(b"max_queue is 1", self.submit())
        self.path.unlink()
        ((level, text),) = self.reload(service)
        self.assertEqual(text, "cannot read FILE: No such file or directory; the settings stay as they were")
        self.assertIn(b"max_queue is 1", self.submit())
        self.write("")
        self.reload(service)
        self.assertNotIn(b"max_queue", self.submit())
        self.assertFalse(service.server.broker.dispatcher.draining)

    def test_no_file(self) -> None:
        """Without the option there is nothing to read."""
        service = self.started()
        self.assertEqual(self.reload(service), [])

    def test_schedules(self) -> None:
        """Schedules run, are replaced, and end with the server."""
        service = self.begin('[[schedule]]\nname = "s"\ncron = "* * * * *"\nfunction = "f"\n')
        self.reactor.advance(60)
        self.assertEqual(len(service.server.broker.table), 1)
        self.write('[[schedule]]\nname = "t"\ncron = "*/5 * * * *"\nfunction = "g"\n')
        self.assertEqual(
            self.reload(service), [("info", "FILE read again: policies for 0 patterns, 1 schedule")]
        )
        for _ in range(5):
            self.reactor.advance(60)
        jobs = list(service.server.broker.table.jobs.values())
        self.assertEqual([job.function.name for job in jobs], [b"f", b"g"])
        self.successResultOf(service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_refused_start(self) -> None:
        """A server that cannot listen has submitted nothing."""
        self.write('[[schedule]]\nname = "s"\ncron = "* * * * *"\nfunction = "f"\n')
        reactor = RefusingReactor(98)
        service = self.service("--listen=127.0.0.1", f"--config={self.path}", reactor=reactor)
        self.assertRaises(ConfigurationError, service.startService)
        self.assertEqual(service.server.broker.table.jobs, {})
        self.assertEqual(service.scheduler.schedules, {})


class AuditTests(ServiceTestCase):
    """The audit log."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp()).absolute()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def test_commands(self) -> None:
        """What was carried out is there at once, and what was looked at is not."""
        service = self.started(f"--audit-log={self.path}")
        protocol, _ = self.connect()
        protocol.dataReceived(b"status\npause f\ncancel job H:nobody:1\n")
        (line,) = self.lines()
        self.assertEqual((line["act"], line["outcome"], line["function"]), ("pause", "done", "f"))
        protocol.connectionLost()
        self.successResultOf(service.stopService())

    def test_without_one(self) -> None:
        service = self.started()
        protocol, transport = self.connect()
        protocol.dataReceived(b"pause f\n")
        service.reopen_log()
        self.assertEqual(transport.value(), b"OK\r\n")

    def test_reload(self) -> None:
        config = Path(self.mktemp()).absolute()
        config.touch()
        service = self.started(f"--audit-log={self.path}", f"--config={config}")
        service.reload()
        config.write_text("[[function]")
        service.reload("somebody")
        done, refused = self.lines()
        self.assertEqual((done["act"], done["outcome"], done["by"]), ("reload", "done", "program"))
        self.assertEqual(done["file"], str(config))
        self.assertEqual((refused["outcome"], refused["by"]), ("refused", "somebody"))
        self.assertTrue(refused["error"].startswith(f"{config}, line 1: "), refused)

    def test_moved_away(self) -> None:
        service = self.started(f"--audit-log={self.path}")
        self.path.rename(self.path.with_suffix(".1"))
        service.reopen_log()
        self.assertEqual(self.lines(), [])

    def test_it_cannot_be_reopened(self) -> None:
        service = self.started(f"--audit-log={self.path}")
        self.path.unlink()
        self.path.mkdir()
        with capturedLogs() as events:
            service.reopen_log()
        self.assertEqual(
            [formatEvent(event) for event in events],
            [f"cannot write the audit log {self.path}: it is no file; going on in the old one"],
        )

    def test_no_start_without_it(self) -> None:
        """Nothing is listened on, and nothing is left open."""
        self.path.mkdir()
        service = self.service(f"--audit-log={self.path}", store=MemoryStore())
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertEqual(str(error), f"cannot write the audit log {self.path}: it is no file")
        self.assertEqual(self.reactor.tcpServers, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_nothing_is_left_of_a_start_that_failed_later(self) -> None:
        before = len(os.listdir("/proc/self/fd"))
        service = self.service(f"--audit-log={self.path}", "--listen=127.0.0.1", reactor=RefusingReactor(98))
        self.assertRaises(ConfigurationError, service.startService)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class ChildTests(SynchronousTestCase):
    """A server in somebody else's application."""

    def setUp(self) -> None:
        self.reactor = ThreadedReactor()
        self.parent = MultiService()
        self.parent.startService()

    def child(self, **options: Any) -> ServerService:
        service = ServerService(self.reactor, **options)
        service.setServiceParent(self.parent)
        return service

    def command(self, line: bytes) -> bytes:
        """What the server answers to a text command, or to a packet."""
        factory: Any = self.reactor.tcpServers[-1][1]
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(line)
        said: bytes = transport.value()
        self.leaving = protocol
        return said

    def end(self) -> None:
        self.successResultOf(self.parent.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_defaults(self) -> None:
        """It speaks Gearman on the loopback addresses, with jobs in memory."""
        service = self.child()
        self.assertEqual(
            [(port, backlog, host) for port, _, backlog, host in self.reactor.tcpServers],
            [(4730, BACKLOG, "127.0.0.1"), (4730, BACKLOG, "::1")],
        )
        self.assertEqual(len(service.ports), 2)
        self.end()
        self.assertEqual((service.running, service.ports), (0, []))

    def test_options_of_a_module(self) -> None:
        """A module's own options have their defaults."""
        service = self.child(modules=[gear, http], options={"listen": ["127.0.0.2"], "port": 1})
        self.assertEqual([port for port, _, _, _ in self.reactor.tcpServers], [1, 8080])
        self.assertEqual(len(service.ports), 2)
        self.end()

    def test_the_process_is_let_alone(self) -> None:
        """Signals, the garbage collector and the log's observers are the application's."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
        before = [signal.getsignal(number) for number in numbers], gc.get_threshold(), gc.get_freeze_count()
        observers = list(globalLogPublisher._observers)
        self.child()
        self.end()
        after = [signal.getsignal(number) for number in numbers], gc.get_threshold(), gc.get_freeze_count()
        self.assertEqual(after, before)
        self.assertEqual(list(globalLogPublisher._observers), observers)

    def test_the_text_command(self) -> None:
        """An operator's C{shutdown} ends the server, after its answer; the parent lives on."""
        service = self.child(settings=Settings(allow_shutdown=True))
        self.assertEqual(self.command(b"shutdown\n"), b"OK\r\n")
        self.assertTrue(service.running)
        self.reactor.advance(0)
        self.leaving.connectionLost()
        self.assertFalse(service.running)
        self.assertTrue(self.parent.running)
        self.end()

    def test_a_store_that_is_taken(self) -> None:
        """So does another server that has taken the store."""
        store = FaultyStore()
        service = self.child(store=store)
        store.fail("write", StoreUnavailable("gone"))
        store.fail("open", StoreTaken("another server has it"))
        self.command(submit())
        self.reactor.deliver()
        self.reactor.advance(FIRST_RETRY)
        self.reactor.deliver()
        self.assertTrue(service.running)
        self.reactor.advance(0)
        self.leaving.connectionLost()
        self.reactor.deliver()
        self.assertFalse(service.running)
        self.end()

    def test_again(self) -> None:
        """It can be started again, with what its store has kept."""
        store = MemoryStore()
        service = self.child(store=store)
        for number in (1, 2):
            self.command(submit())
            self.reactor.settle(service.server.journal)
            self.assertEqual(len(service.server.broker.table), number)
            stopping = service.stopService()
            self.leaving.connectionLost()
            self.reactor.deliver()
            self.successResultOf(stopping)
            service.startService()
            self.reactor.settle(service.server.journal)
        self.assertEqual(len(service.server.broker.table), 2)
        stopping = self.parent.stopService()
        self.reactor.deliver()
        self.successResultOf(stopping)

    def test_a_start_that_fails(self) -> None:
        """What was opened is closed again."""
        reactor = RefusingReactor(98)
        service = ServerService(reactor, options={"listen": ["127.0.0.1"]}, store=MemoryStore())
        self.assertRaises(ConfigurationError, service.startService)
        self.successResultOf(service.stopService())
