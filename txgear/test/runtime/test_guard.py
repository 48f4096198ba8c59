"""Tests of L{txgear.runtime.guard}: what the process is told that guards the children."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.guard import ChildrensGuard
from txgear.runtime.processgroups import Group

ONE, TWO = Group(71, "one"), Group(72, "two")


class FakeProcess:
    """
    A process that guards, and its standard input.

    @ivar heard: what it was told.
    @ivar is_closed: whether it hears nothing more.
    @ivar waited: how often its end was waited for.
    @ivar is_killed: whether somebody has killed it.
    @ivar is_stuck: whether it reads nothing.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments
        self.heard = b""
        self.is_closed = self.is_killed = self.is_stuck = False
        self.waited = 0
        self._file = os.open(os.devnull, os.O_WRONLY)

    @property
    def stdin(self) -> FakeProcess:
        return self

    def write(self, data: bytes) -> None:
        if self.is_killed:
            raise BrokenPipeError
        if self.is_stuck:
            raise BlockingIOError
        self.heard += data

    def close(self) -> None:
        self.is_closed = True
        os.close(self._file)

    def fileno(self) -> int:
        return self._file

    def kill(self) -> None:
        self.is_killed = True

    def poll(self) -> int | None:
        return -9 if self.is_killed else None

    def wait(self) -> None:
        self.waited += 1


class GuardTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.started: list[FakeProcess] = []
        self.guard = ChildrensGuard(65.0, self.popen)

    def popen(self, arguments: list[str], **_: Any) -> FakeProcess:
        process = FakeProcess(arguments)
        self.started.append(process)
        return process

    def test_children(self) -> None:
        """There is none before the first child; it is told of each, and of each end."""
        self.assertEqual(self.started, [])
        self.guard.begins(ONE)
        (process,) = self.started
        self.assertEqual(process.arguments, [sys.executable, "-m", "txgear.runtime.guard", "65"])
        self.assertIn(b"+71 one\n", process.heard)
        process.heard = b""
        self.guard.begins(TWO)
        self.guard.has_ended(ONE)
        self.assertEqual(process.heard, b"+72 two\n-71 one\n")
        self.assertEqual(len(self.started), 1)

    def test_the_end(self) -> None:
        """It is waited for only where it has nobody to wait for itself."""
        self.guard.leave()
        self.guard.begins(ONE)
        self.guard.leave()
        self.guard.leave()
        (process,) = self.started
        self.assertEqual((process.is_closed, process.waited), (True, 0))
        self.guard.has_ended(ONE)
        self.guard.leave()
        self.assertEqual((self.started[1].is_closed, self.started[1].waited), (True, 1))

    def test_somebody_kills_it(self) -> None:
        """Another one is started, which is told of all children that are there; and it is said."""
        self.guard.begins(ONE)
        self.guard.begins(TWO)
        self.started[0].is_killed = True
        with capturedLogs() as events:
            self.guard.has_ended(ONE)
        self.assertIn("another one is started", formatEvent(events[0]))
        self.assertEqual(self.started[1].heard, b"+72 two\n")
        self.guard.begins(ONE)
        self.assertEqual(self.started[1].heard, b"+72 two\n+71 one\n")
        self.assertEqual(len(self.started), 2)

    def test_looked_at(self) -> None:
        """That it is gone is seen without a word to it; one that does not listen is killed first."""
        self.guard.look()
        self.assertEqual(self.started, [])
        self.guard.begins(ONE)
        self.guard.look()
        self.started[0].is_killed = True
        self.guard.look()
        self.assertEqual(self.started[1].heard, b"+71 one\n")
        self.started[1].is_stuck = True
        self.guard.begins(TWO)
        self.assertTrue(self.started[1].is_killed)
        self.assertEqual(self.started[2].heard, b"+71 one\n+72 two\n")
