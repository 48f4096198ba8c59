"""
Tests for L{txgear.runtime.renewal}: when a child is due, and when it is killed.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.config import GroupTable
from txgear.runtime.renewal import STUCK_SECONDS, Seen, deadly, due
from txgear.runtime.status import Running

NOW = 1000.0


def seen(**known: Any) -> Seen:
    return Seen(NOW, started=known.pop("started", NOW - 10), **known)


def running(since: float) -> list[Running]:
    return [Running(0, since, b"H:vm:7", 1, b"resize")]


class DueTests(SynchronousTestCase):
    def test_no_bounds(self) -> None:
        """Without bounds a child lives for ever."""
        self.assertEqual("", due(GroupTable(), 1.0, seen(started=0.0, done=10**9, memory=10**12)))

    def test_jobs(self) -> None:
        """As many jobs as the table says, or a part of them, one at the least."""
        table = GroupTable(max_jobs=100)
        self.assertEqual("", due(table, 1.0, seen(done=99)))
        self.assertEqual("it has done 100 jobs", due(table, 1.0, seen(done=100)))
        self.assertEqual("it has done 90 jobs", due(table, 0.9, seen(done=90)))
        self.assertEqual("", due(table, 0.0, seen(done=0)))
        self.assertEqual("it has done 1 job", due(table, 0.0, seen(done=1)))

    def test_age(self) -> None:
        """So old, or a part of it."""
        table = GroupTable(max_age=60.0)
        self.assertEqual("", due(table, 1.0, seen(started=NOW - 59)))
        self.assertEqual("it is 60 s old", due(table, 1.0, seen(started=NOW - 60)))
        self.assertEqual("it is 54 s old", due(table, 0.9, seen(started=NOW - 54)))

    def test_idle(self) -> None:
        """Only one that has nothing to do, and not one of which nothing is known yet."""
        table = GroupTable(max_idle=5.0)
        self.assertEqual("", due(table, 1.0, seen()))
        self.assertEqual("", due(table, 1.0, seen(idle_since=NOW - 4)))
        self.assertEqual("it has had nothing to do for 5 s", due(table, 1.0, seen(idle_since=NOW - 5)))
        # A job has just begun.
        self.assertEqual("", due(table, 1.0, seen(idle_since=NOW - 5, running=running(NOW))))

    def test_memory(self) -> None:
        """More than the soft bound: no part of it, as it is no clock that runs down."""
        table = GroupTable(soft_memory=100 << 20)
        self.assertEqual("", due(table, 0.5, seen(memory=100 << 20)))
        self.assertEqual("it has 150M of memory, and may have 100M", due(table, 0.5, seen(memory=150 << 20)))


class DeadlyTests(SynchronousTestCase):
    def test_no_bounds(self) -> None:
        """Without bounds nobody is killed, but who stands still."""
        self.assertEqual("", deadly(GroupTable(), seen(memory=10**12, running=running(1.0), turned=1.0)))

    def test_memory(self) -> None:
        """More than the hard bound."""
        table = GroupTable(hard_memory=100 << 20)
        self.assertEqual("", deadly(table, seen(memory=100 << 20)))
        self.assertEqual(
            "its process was killed: it had 150M of memory, and hard_memory is 100M",
            deadly(table, seen(memory=150 << 20)),
        )

    def test_time(self) -> None:
        """A job that runs for longer, whichever it is."""
        table = GroupTable(hard_time=5.0)
        self.assertEqual("", deadly(table, seen(running=running(NOW - 5))))
        self.assertEqual(
            "its process was killed: job H:vm:7 of resize has run for 5.5 s, and hard_time is 5 s",
            deadly(table, seen(running=[*running(NOW - 1), *running(NOW - 5.5)])),
        )

    def test_stuck(self) -> None:
        """An event loop that stands still without a job; with one the bounds of jobs hold."""
        turned = NOW - STUCK_SECONDS - 1
        self.assertEqual("", deadly(GroupTable(), seen(turned=0.0)))
        self.assertEqual("", deadly(GroupTable(), seen(turned=NOW - STUCK_SECONDS)))
        self.assertEqual("", deadly(GroupTable(), seen(turned=turned, running=running(turned))))
        self.assertEqual(
            "its process was killed: its event loop has stood still for 61 s",
            deadly(GroupTable(), seen(turned=turned)),
        )
