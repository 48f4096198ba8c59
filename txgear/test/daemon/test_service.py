"""
Tests for L{txgear.daemon.service}.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.service import STOP_SECONDS, ServerService, raise_descriptor_limit
from txgear.daemon.tap import Options
from txgear.errors import ConfigurationError
from txgear.interfaces import IJobStore
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
from txgear.server.jobserver import Settings
from txgear.test.net.test_listeners import RefusingReactor
from txgear.test.support.journal import ThreadedReactor


class Reactor(ThreadedReactor):
    """A reactor that counts its ends, and calls from a signal handler at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = 0

    def stop(self) -> None:
        self.stopped += 1


class ServiceTestCase(SynchronousTestCase):
    """A service that can be started, and leaves nothing behind."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def service(self, *words: str, reactor: Any = None, store: IJobStore | None = None) -> ServerService:
        options = Options()
        options.parseOptions(["--store=memory:", *words])
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

    def test_log_file(self) -> None:
        """C{--log-file} gets the start line, and the options that mean nothing here."""
        path = Path(self.mktemp())
        service = self.started(f"--log-file={path}", "--ignored=--threads")
        log = path.read_text()
        self.assertIn("--threads has no meaning here", log)
        self.assertIn("is ready: store memory:, listening on", log)
        os.rename(path, path.with_suffix(".1"))
        service.reopen_log()
        self.assertTrue(path.exists())
        self.successResultOf(service.stopService())
        self.assertIn("has ended", path.read_text())
        self.assertNotIn(service._log_file, globalLogPublisher._observers)

    def test_log_file_cannot_be_reopened(self) -> None:
        """A log file that cannot be reopened is no reason to stop logging, nor to stop."""
        path = Path(self.mktemp())
        service = self.started(f"--log-file={path}")
        moved = path.with_suffix(".1")
        os.rename(path, moved)
        path.mkdir()
        service.reopen_log()
        self.assertIn("going on in the old one", moved.read_text())
        self.successResultOf(service.stopService())

    def test_no_log_file(self) -> None:
        """Without a log file there is nothing to reopen."""
        self.started().reopen_log()
        self.assertEqual(self.reactor.stopped, 0)

    def test_descriptors(self) -> None:
        """C{--file-descriptors} sets the process's limit; what the system refuses is an error."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.started(f"--file-descriptors={soft - 1}")
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (soft - 1, hard))
        error = self.assertRaises(ConfigurationError, raise_descriptor_limit, 2**62)
        self.assertIn("--file-descriptors", str(error))


class EndTests(ServiceTestCase):
    """The end, by signals and by command."""

    def test_shutdown(self) -> None:
        """A shutdown at once stops the reactor, and a second one changes nothing."""
        service = self.started()
        service.shutdown(False)
        service.shutdown(False)
        self.assertEqual(self.reactor.stopped, 1)

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

    def test_drain(self) -> None:
        """
        A graceful shutdown waits for the job that runs, gives up the background
        job that waits, and then stops.
        """
        service = self.started()
        client, heard = self.connect()
        worker, _ = self.connect()
        client.dataReceived(request(SUBMIT_JOB, b"f", b"", b"one"))
        worker.dataReceived(request(1, b"f") + request(GRAB_JOB))
        client.dataReceived(request(SUBMIT_JOB_BG, b"f", b"", b"two"))
        service.shutdown(True)
        service.shutdown(True)
        self.assertEqual(self.reactor.stopped, 0)
        handle = next(iter(service.server.broker.jobs.values())).handle
        heard.clear()
        worker.dataReceived(request(WORK_COMPLETE, handle, b"done"))
        self.assertIn(b"done", heard.value())
        self.assertEqual(self.reactor.stopped, 1)

    def test_signals(self) -> None:
        """SIGTERM and SIGINT stop, SIGUSR1 drains, SIGHUP changes neither."""
        service = self.started()
        # The reactor's own come in between.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for hook, arguments, keywords in self.reactor.whenRunningHooks:
            hook(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertFalse(service.server.broker.draining)
        os.kill(os.getpid(), signal.SIGTERM)
        self.assertEqual(self.reactor.stopped, 1)
        os.kill(os.getpid(), signal.SIGUSR1)
        self.assertTrue(service.server.broker.draining)

    def test_text_command(self) -> None:
        """The text command is heard by the service where it is allowed."""
        self.started("--allow-shutdown")
        protocol, transport = self.connect()
        protocol.dataReceived(b"shutdown\n")
        self.assertEqual(transport.value(), b"OK\r\n")
        self.assertEqual(self.reactor.stopped, 1)

    def test_settings(self) -> None:
        """The settings reach the ports."""
        service = self.started("--exceptions", "--job-handle-prefix=H:x")
        protocol, _ = self.connect()
        self.assertTrue(protocol.peer.exceptions)
        self.assertEqual(service.server.settings, Settings(prefix=b"H:x", exceptions=True, level="NOTICE"))


class ReloadTests(ServiceTestCase):
    """The file of C{--config}, at the start and when SIGHUP comes."""

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

    def hang_up(self) -> list[tuple[str, str]]:
        return self.logged(lambda: os.kill(os.getpid(), signal.SIGHUP))

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
        self.begin('[[function]]\nname = "f"\nmax_queue = 1\n')
        self.submit()
        self.write('[[function]]\nname = "*"\nmax_queue = 2\n')
        self.assertEqual(self.hang_up(), [("info", "FILE read again: policies for 1 pattern, 0 schedules")])
        self.assertNotIn(b"max_queue", self.submit())
        self.assertIn(b"max_queue is 2", self.submit())
        self.write("")
        self.hang_up()
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
        self.hang_up()
        self.assertEqual(heard.value(), response(NOOP))
        self.assertEqual(len(service.server.broker.jobs), 2)

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
            ((level, text),) = self.hang_up()
            self.assertEqual(level, "error")
            self.assertTrue(text.startswith(said), text)
            self.assertTrue(text.endswith("; the settings stay as they were"), text)
            self.assertIn(b"max_queue is 1", self.submit())
        self.path.unlink()
        ((level, text),) = self.hang_up()
        self.assertEqual(text, "cannot read FILE: No such file or directory; the settings stay as they were")
        self.assertIn(b"max_queue is 1", self.submit())
        self.write("")
        self.hang_up()
        self.assertNotIn(b"max_queue", self.submit())
        self.assertFalse(service.server.broker.draining)

    def test_log_file_too(self) -> None:
        """The log is reopened first: what is said of the file is in the new one."""
        log = Path(self.mktemp())
        self.begin("", f"--log-file={log}")
        os.rename(log, log.with_suffix(".1"))
        self.hang_up()
        self.assertIn("read again", log.read_text())

    def test_no_file(self) -> None:
        """Without the option there is nothing to read."""
        self.started()
        self.assertEqual(self.hang_up(), [])

    def test_schedules(self) -> None:
        """Schedules run, are replaced, and end with the server."""
        service = self.begin('[[schedule]]\nname = "s"\ncron = "* * * * *"\nfunction = "f"\n')
        self.reactor.advance(60)
        self.assertEqual(len(service.server.broker.jobs), 1)
        self.write('[[schedule]]\nname = "t"\ncron = "*/5 * * * *"\nfunction = "g"\n')
        self.assertEqual(self.hang_up(), [("info", "FILE read again: policies for 0 patterns, 1 schedule")])
        for _ in range(5):
            self.reactor.advance(60)
        jobs = list(service.server.broker.jobs.values())
        self.assertEqual([job.queue.name for job in jobs], [b"f", b"g"])
        self.successResultOf(service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_refused_start(self) -> None:
        """A server that cannot listen has submitted nothing."""
        self.write('[[schedule]]\nname = "s"\ncron = "* * * * *"\nfunction = "f"\n')
        reactor = RefusingReactor(98)
        service = self.service("--listen=127.0.0.1", f"--config={self.path}", reactor=reactor)
        self.assertRaises(ConfigurationError, service.startService)
        self.assertEqual(service.server.broker.jobs, {})
        self.assertEqual(service.scheduler.schedules, {})
