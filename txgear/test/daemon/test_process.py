"""
Tests for L{txgear.daemon.process}.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import weakref
from pathlib import Path
from typing import Any

from twisted.logger import globalLogPublisher

from txgear.daemon.options import Options
from txgear.daemon.process import ProcessService, raise_descriptor_limit
from txgear.daemon.startup import StandardError
from txgear.errors import ConfigurationError
from txgear.interfaces import IJobStore
from txgear.protocol.constants import GRAB_JOB, SUBMIT_JOB, SUBMIT_JOB_BG, WORK_COMPLETE
from txgear.protocol.packets import request
from txgear.test.daemon.test_service import ServiceTestCase
from txgear.test.support.journal import ThreadedReactor


class Reactor(ThreadedReactor):
    """A reactor that counts its ends, and calls from a signal handler at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = 0
        self.sigTerm: Any = signal.SIG_DFL

    def stop(self) -> None:
        self.stopped += 1


class ProcessTestCase(ServiceTestCase):
    """A service that is all of its process can be started, and leaves nothing behind."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = Reactor()
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def process(self, *words: str, store: IJobStore | None = None) -> ProcessService:
        options = Options()
        options.parseOptions(["--store=memory:", *words])
        service = ProcessService(
            self.reactor,
            options.settings(),
            [options.modules["gear"]],
            options,
            store,
            options.config,
            pid_file=None,
            notes=(),
            stderr=StandardError(False),
            guard=lambda: None,
            environ={},
        )
        service.startService()
        self.addCleanup(self.end_with, service)
        return service

    @staticmethod
    def end_with(service: ProcessService) -> None:
        """Stop what it has in the end."""
        service.scheduler.stop()
        service.server.stop()


class StartTests(ProcessTestCase):
    """What belongs to the process when it starts."""

    def test_log_file(self) -> None:
        """C{--log-file} gets the start line, and the options that mean nothing here."""
        path = Path(self.mktemp())
        service = self.process(f"--log-file={path}", "--ignored=--threads")
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
        service = self.process(f"--log-file={path}")
        moved = path.with_suffix(".1")
        os.rename(path, moved)
        path.mkdir()
        service.reopen_log()
        self.assertIn("going on in the old one", moved.read_text())
        self.successResultOf(service.stopService())

    def test_no_log_file(self) -> None:
        """Without a log file there is nothing to reopen."""
        self.process().reopen_log()
        self.assertEqual(self.reactor.stopped, 0)

    def test_descriptors(self) -> None:
        """C{--file-descriptors} sets the process's limit; what the system refuses is an error."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.process(f"--file-descriptors={soft - 1}")
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (soft - 1, hard))
        error = self.assertRaises(ConfigurationError, raise_descriptor_limit, 2**62)
        self.assertIn("--file-descriptors", str(error))

    def test_what_is_there_is_not_looked_at_for_cycles(self) -> None:
        """What comes later is: also all that the first server of a process has."""
        service = self.process()
        self.assertGreater(gc.get_freeze_count(), 10_000)
        self.assertTrue(any(each is service.server for each in gc.get_objects()))

    def test_once_more(self) -> None:
        """Where a successor has failed and it goes on, nothing stays of the server that it had before."""
        service = self.process()
        before = weakref.ref(service.server)
        service.server.broker.submit(None, b"f", b"", b"one", 0.0, background=True)
        service._released = lambda: None
        self.successResultOf(service.stopService())
        self.reactor.tcpServers.clear()
        gc.disable()
        self.addCleanup(gc.enable)
        frozen = gc.get_freeze_count()
        service.start_again()
        self.assertTrue(service.running)
        self.assertIsNone(before())
        self.assertLessEqual(gc.get_freeze_count(), frozen)


class EndTests(ProcessTestCase):
    """The end, by signals and by command."""

    def test_shutdown(self) -> None:
        """A shutdown at once stops the reactor, and a second one changes nothing."""
        service = self.process()
        service.shutdown(False)
        service.shutdown(False)
        self.assertEqual(self.reactor.stopped, 1)

    def test_drain(self) -> None:
        """
        A graceful shutdown waits for the job that runs, gives up the background
        job that waits, and then stops.
        """
        service = self.process()
        client, heard = self.connect()
        worker, _ = self.connect()
        client.dataReceived(request(SUBMIT_JOB, b"f", b"", b"one"))
        worker.dataReceived(request(1, b"f") + request(GRAB_JOB))
        client.dataReceived(request(SUBMIT_JOB_BG, b"f", b"", b"two"))
        service.shutdown(True)
        service.shutdown(True)
        self.assertEqual(self.reactor.stopped, 0)
        handle = next(iter(service.server.broker.table.jobs.values())).handle
        heard.clear()
        worker.dataReceived(request(WORK_COMPLETE, handle, b"done"))
        self.assertIn(b"done", heard.value())
        self.assertEqual(self.reactor.stopped, 1)

    def test_signals(self) -> None:
        """SIGTERM and SIGINT stop, SIGUSR1 drains, SIGHUP changes neither."""
        service = self.process()
        # The reactor's own come in between.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for hook, arguments, keywords in self.reactor.whenRunningHooks:
            hook(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertFalse(service.server.broker.dispatcher.draining)
        os.kill(os.getpid(), signal.SIGTERM)
        self.assertEqual(self.reactor.stopped, 1)
        os.kill(os.getpid(), signal.SIGUSR1)
        self.assertTrue(service.server.broker.dispatcher.draining)

    def test_a_signal_that_comes_too_late(self) -> None:
        """A reload of what has ended already is not what it dies of."""
        self.process().end_of_process()
        late = [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGUSR1)]
        self.assertEqual(late, [signal.SIG_IGN] * 2)

    def test_a_signal_while_the_reactor_installs_its_own(self) -> None:
        """What it installs for SIGTERM is ours as well: the process would die of one that comes just then."""
        self.process()
        signal.signal(signal.SIGTERM, self.reactor.sigTerm)
        os.kill(os.getpid(), signal.SIGTERM)
        self.assertEqual(self.reactor.stopped, 1)

    def test_text_command(self) -> None:
        """The text command is heard by the service where it is allowed."""
        self.process("--allow-shutdown")
        protocol, transport = self.connect()
        protocol.dataReceived(b"shutdown\n")
        self.assertEqual(transport.value(), b"OK\r\n")
        self.assertEqual(self.reactor.stopped, 1)


class HangUpTests(ProcessTestCase):
    """SIGHUP."""

    def test_log_file_too(self) -> None:
        """The log is reopened first: what is said of the file is in the new one."""
        log = Path(self.mktemp())
        path = Path(self.mktemp()).absolute()
        path.touch()
        self.process(f"--config={path}", f"--log-file={log}")
        os.rename(log, log.with_suffix(".1"))
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertIn("read again", log.read_text())

    def test_audit_log_too(self) -> None:
        """It says who asked for what: the new file of the reload, too."""
        audit = Path(self.mktemp()).absolute()
        path = Path(self.mktemp()).absolute()
        path.touch()
        self.process(f"--config={path}", f"--audit-log={audit}")
        os.rename(audit, audit.with_suffix(".1"))
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
            os.kill(os.getpid(), number)
        lines = [json.loads(line) for line in audit.read_text().splitlines()]
        self.assertEqual(
            [(line["act"], line["by"], line.get("arguments")) for line in lines],
            [
                ("reload", "signal", None),
                ("shutdown", "signal", "graceful"),
                ("shutdown", "signal", None),
            ],
        )
