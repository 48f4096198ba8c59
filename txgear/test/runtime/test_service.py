"""Tests of L{txgear.runtime.service}: how a runtime is told to end, and to load its code anew."""

from __future__ import annotations

import signal
from typing import Any

from msgspec.structs import replace
from twisted.internet.error import ReactorNotRunning
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.runtime.config import RuntimeTable
from txgear.runtime.service import RuntimeService


class Reactor(MemoryReactorClock):
    """A reactor that stops in its next turn, as all do, and is told so once."""

    stops = 0

    def __init__(self) -> None:
        super().__init__()
        self.sigTerm: Any = signal.SIG_DFL

    def stop(self) -> None:
        if self.stops:
            raise ReactorNotRunning("Can't stop reactor that isn't running.")
        self.stops += 1


class ServiceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.table = RuntimeTable(group={})
        self.found: RuntimeTable | ConfigurationError = self.table
        self.service = RuntimeService(self.reactor, self.table, self.read, {})
        # As if it was started, without the signals of the process that runs this.
        self.service.running = True

    def read(self) -> RuntimeTable:
        if isinstance(self.found, ConfigurationError):
            raise self.found
        return self.found

    def said(self, call: Any) -> list[str]:
        """What the log says as this is called."""
        with capturedLogs() as events:
            call()
        return [formatEvent(event) for event in events]


class EndTests(ServiceTestCase):
    def test_what_the_reactor_installs_is_ours(self) -> None:
        """The process would die of a SIGTERM that comes just when it has installed its own."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.service.startService()
        self.assertIs(self.reactor.sigTerm, signal.getsignal(signal.SIGTERM))
        self.assertIsNot(self.reactor.sigTerm, signal.SIG_DFL)

    def test_one_signal(self) -> None:
        self.assertEqual(self.said(self.service.end), [])
        self.assertEqual(self.reactor.stops, 1)

    def test_two_in_a_turn(self) -> None:
        """The reactor stops, and is not told twice; the jobs fail at once."""
        self.service.end()
        (said,) = self.said(self.service.end)
        self.assertIn("a second signal", said)
        self.assertEqual(self.reactor.stops, 1)

    def test_another_while_it_stops(self) -> None:
        """Whoever has begun it: a service manager of Twisted's as well."""
        self.successResultOf(self.service.stopService())
        (said,) = self.said(self.service.end)
        self.assertIn("a second signal", said)
        self.assertEqual(self.reactor.stops, 0)


class ReloadTests(ServiceTestCase):
    def test_another_table(self) -> None:
        self.found = replace(self.table, stop_timeout=7.0)
        self.service.reload()
        self.assertEqual(self.service.table.stop_timeout, 7.0)

    def test_one_that_cannot_be_understood(self) -> None:
        """All stays as it is, and it is said loudly."""
        self.found = ConfigurationError("workers.toml: what is this?")
        (said,) = self.said(self.service.reload)
        self.assertIn("what is this?", said)
        self.assertIs(self.service.table, self.table)

    def test_while_it_stops(self) -> None:
        """It is too late for new code."""
        self.found = ConfigurationError("nobody reads this")
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.said(self.service.reload), [])

    def test_what_takes_a_restart(self) -> None:
        self.found = replace(self.table, health="127.0.0.1:1")
        said = self.said(self.service.reload)
        self.assertIn("health has changed in the file: that takes a restart", said)
