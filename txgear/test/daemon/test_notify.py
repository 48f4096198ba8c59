"""Tests of L{txgear.daemon.notify}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.notify import (
    MOST_STATUS,
    MOST_UNSENT,
    RETRY_SECONDS,
    STATUS_SECONDS,
    Notifier,
    notifier,
)


class NotifierTestCase(SynchronousTestCase):
    """A manager whose socket may be full, or gone."""

    watchdog = 0.0

    def setUp(self) -> None:
        self.clock = Clock()
        self.heard: list[str] = []
        self.trouble: OSError | None = None
        self.doings = "serves"
        self.notifier = Notifier(
            self.clock, "/manager", self.watchdog, lambda: self.doings, self.send, lambda: 5_000_999
        )

    def tearDown(self) -> None:
        self.notifier.stop()
        self.notifier.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def send(self, address: str, message: bytes) -> None:
        self.assertEqual(address, "/manager")
        if self.trouble is not None:
            raise self.trouble
        self.heard.append(message.decode())

    def news(self) -> list[str]:
        heard, self.heard = self.heard, []
        return heard


class LifeTests(NotifierTestCase):
    """What is told of a server's life, without a watchdog."""

    def test_life(self) -> None:
        self.notifier.ready()
        self.assertEqual(self.news(), ["READY=1\nSTATUS=serves"])
        self.notifier.reloading()
        self.notifier.ready()
        self.assertEqual(self.news(), ["RELOADING=1\nMONOTONIC_USEC=5000", "READY=1\nSTATUS=serves"])
        self.notifier.stopping()
        self.assertEqual(self.news(), ["STOPPING=1\nSTATUS=ends"])

    def test_nothing_of_one_that_has_not_started(self) -> None:
        self.notifier.reloading()
        self.notifier.stopping()
        self.clock.advance(STATUS_SECONDS)
        self.assertEqual(self.news(), [])

    def test_main_process(self) -> None:
        """One that has taken the place of another says which process is the service now."""
        self.notifier.ready(4711)
        self.assertEqual(self.news(), ["READY=1\nMAINPID=4711\nSTATUS=serves"])

    def test_status(self) -> None:
        """It is told when it has changed, as one short line, and not after the end has begun."""
        self.notifier.ready()
        self.news()
        self.clock.advance(STATUS_SECONDS)
        self.assertEqual(self.news(), [])
        self.doings = "two\nREADY=1\r lines" + "x" * 1000
        self.clock.advance(STATUS_SECONDS)
        [told] = self.news()
        self.assertTrue(told.startswith("STATUS=two READY=1 linesx"))
        self.assertEqual(len(told), len("STATUS=") + MOST_STATUS)
        self.doings = "three"
        self.notifier.stopping()
        self.news()
        self.clock.advance(STATUS_SECONDS)
        self.assertEqual(self.news(), [])


class WatchdogTests(NotifierTestCase):
    """With a watchdog."""

    watchdog = 30.0

    def test_half_of_its_time(self) -> None:
        self.clock.advance(100.0)
        self.assertEqual(self.news(), [])
        self.notifier.ready()
        self.notifier.ready()
        self.news()
        self.clock.pump([14.9, 0.1, 15.0])
        self.assertEqual(self.news(), ["WATCHDOG=1", "WATCHDOG=1"])
        self.doings = "more"
        self.clock.advance(15.0)
        self.assertEqual(self.news(), ["WATCHDOG=1\nSTATUS=more"])
        self.notifier.stopping()
        self.clock.advance(15.0)
        self.assertEqual(self.news(), ["STOPPING=1\nSTATUS=ends", "WATCHDOG=1"])

    def test_status_for_which_there_was_no_room(self) -> None:
        self.notifier.ready()
        self.news()
        self.doings = "more"
        self.trouble = BlockingIOError()
        self.clock.advance(15.0)
        self.trouble = None
        self.clock.advance(15.0)
        self.assertEqual(self.news(), ["WATCHDOG=1\nSTATUS=more"])


class TroubleTests(NotifierTestCase):
    """A manager that is slow, or gone."""

    watchdog = 4.0

    def test_no_room(self) -> None:
        """What is no look alone is kept, in order, and sent when there is room."""
        self.trouble = BlockingIOError()
        self.notifier.ready()
        self.notifier.reloading()
        self.clock.pump([RETRY_SECONDS] * 4)
        self.trouble = None
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.news(), ["READY=1\nSTATUS=serves", "RELOADING=1\nMONOTONIC_USEC=5000"])
        self.clock.advance(1.5)
        self.assertEqual(self.news(), ["WATCHDOG=1"])

    def test_no_room_for_long(self) -> None:
        """Not more is kept than a few: the last ones count."""
        self.trouble = BlockingIOError()
        for _ in range(MOST_UNSENT):
            self.notifier.ready()
        self.notifier.stopping()
        self.trouble = None
        self.clock.advance(RETRY_SECONDS)
        heard = self.news()
        self.assertEqual((len(heard), heard[-1]), (MOST_UNSENT, "STOPPING=1\nSTATUS=ends"))

    def test_gone(self) -> None:
        """It is said once, and the next one is told all that is new."""
        self.trouble = ConnectionRefusedError(111, "Connection refused")
        with capturedLogs() as logs:
            self.notifier.ready()
            self.clock.pump([2.0] * 5)
        [line] = [formatEvent(event) for event in logs]
        self.assertEqual(
            line, "the service manager at NOTIFY_SOCKET=/manager cannot be told anything: Connection refused"
        )
        self.trouble = None
        self.clock.advance(2.0)
        self.assertEqual(self.news(), ["WATCHDOG=1"])


class EnvironmentTests(SynchronousTestCase):
    """What a process was started with."""

    def made(self, **environ: str) -> Notifier | None:
        return notifier(Clock(), environ, str, lambda: 7)

    def test_no_manager(self) -> None:
        self.assertIs(self.made(), None)
        self.assertIs(self.made(NOTIFY_SOCKET="", WATCHDOG_USEC="5"), None)

    def test_address_of_another_kind(self) -> None:
        for address in ("vsock:2:1234", "relative", "/", "@"):
            with capturedLogs() as logs:
                self.assertIs(self.made(NOTIFY_SOCKET=address), None)
            self.assertIn("neither a path nor an abstract name", str(formatEvent(logs[0])))

    def test_watchdog(self) -> None:
        for expected, environ in (
            (0.0, {}),
            (30.0, {"WATCHDOG_USEC": "30000000"}),
            (30.0, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}),
            (0.0, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}),
            (0.0, {"WATCHDOG_USEC": "-3"}),
            (0.0, {"WATCHDOG_USEC": "0"}),
            (0.0, {"WATCHDOG_USEC": "\u0663"}),
        ):
            made = self.made(NOTIFY_SOCKET="/run/manager", **environ)
            assert made is not None
            self.assertEqual(made.watchdog, expected, environ)
