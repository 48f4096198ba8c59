"""Tests of L{txgear.runtime.sizing}: groups that are played, with a load that a test names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from twisted.logger import capturedLogs, formatEvent

from txgear.runtime.config import GroupTable
from txgear.runtime.member import LEAVING, LOADED, READY, STARTING
from txgear.runtime.renewal import Seen
from txgear.runtime.scaling import Load
from txgear.runtime.sizing import Sizing
from txgear.runtime.status import Running
from txgear.test.support.clock import ClockTestCase


class FakeMember:
    """A process."""

    def __init__(self, state: int, idle_since: float, jobs: int) -> None:
        self.state = state
        self._idle_since = idle_since
        self._jobs = [Running(slot, 1.0, b"H:1", 1, b"f") for slot in range(jobs)]

    def seen(self) -> Seen:
        return Seen(100.0, 0.0, 100.0, 0, self._idle_since, 0, self._jobs)


BUSY, IDLE = FakeMember(READY, 0.0, 1), FakeMember(READY, 50.0, 0)


class FakeGroup:
    """A group that notes what it is told."""

    def __init__(self, name: str, functions: Sequence[str], **table: Any) -> None:
        self.name = name
        self.functions = functions
        self.wanted = 1
        self.members: list[FakeMember] = [BUSY]
        self.told: list[tuple[int, bool]] = []
        self.begin(**table)

    def begin(self, **table: Any) -> None:
        """It has this table from now on."""
        self.plan = SimpleNamespace(group=GroupTable(**table))

    def resize(self, wanted: int, *, only_idle: bool) -> None:
        self.wanted = wanted
        self.told.append((wanted, only_idle))


class SizingTests(ClockTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(100.0)
        self.groups: dict[str, Any] = {}
        self.loads: dict[bytes, Load] = {}
        self.sizing = Sizing(self.clock, self.groups, self.load)
        self.group = self.add("images", ["resize", "thumb"], min=1, max=8)

    def add(self, name: str, functions: Sequence[str], **table: Any) -> FakeGroup:
        group = self.groups[name] = FakeGroup(name, functions, **table)
        return group

    def load(self, names: Iterable[bytes]) -> Load | None:
        """What the servers tell of just one of these."""
        return next((self.loads[name] for name in names if name in self.loads), None)

    def test_it_grows(self) -> None:
        """And says so."""
        self.loads[b"thumb"] = Load(20, 12.0, 1)
        with capturedLogs() as events:
            self.sizing.look()
        self.assertEqual(self.group.told, [(2, True)])
        self.assertEqual(
            formatEvent(events[0]),
            "group images is to have 2 processes instead of 1: 20 jobs wait, the oldest for 12.0 s",
        )

    def test_it_shrinks(self) -> None:
        """Those that are idle leave; what changed it before does not matter."""
        self.group.wanted, self.group.members = 4, [IDLE] * 4
        self.loads[b"resize"] = Load(0, None, 0)
        self.sizing.look()
        self.assertEqual(self.group.told, [])
        self.clock.advance(60)
        self.sizing.look()
        self.assertEqual(self.group.told, [(2, True)])

    def test_who_is_idle(self) -> None:
        """Whoever has just got a job has written so where its jobs are, if not yet elsewhere."""
        just_begun = FakeMember(READY, 50.0, 1)
        others = [FakeMember(state, 50.0, 0) for state in (STARTING, LOADED, LEAVING)]
        self.loads[b"resize"] = Load(0, None, 0)
        for members, wanted in (([just_begun, BUSY, *others], []), ([IDLE, BUSY, *others], [(1, True)])):
            self.group.wanted, self.group.members, self.group.told = 2, members, []
            self.sizing.look()
            self.clock.advance(60)
            self.sizing.look()
            self.assertEqual(self.group.told, wanted)

    def test_nobody_tells(self) -> None:
        self.sizing.look()
        self.assertEqual(self.group.told, [])

    def test_a_fixed_number(self) -> None:
        """It is nobody's affair how many jobs wait for such a group."""
        mail = self.add("mail", ["send"], processes=2)
        self.loads[b"send"] = Load(100, 500.0, 1)
        self.sizing.look()
        self.assertEqual(mail.told, [])
        self.assertEqual(self.sizing.functions(), {b"resize", b"thumb"})

    def test_names_that_are_no_text(self) -> None:
        self.add("odd", ["a\\xff"], max=2)
        self.assertEqual(self.sizing.functions(), {b"resize", b"thumb", b"a\xff"})

    def test_another_table(self) -> None:
        """Its bounds hold from then on, also where a number was fixed in between."""
        self.loads[b"resize"] = Load(20, 12.0, 1)
        self.sizing.look()
        self.group.begin(max=2)
        self.group.members = [BUSY, BUSY]
        self.clock.advance(10)
        self.sizing.look()
        self.group.begin(processes=1)
        self.sizing.look()
        self.group.begin(max=3)
        self.sizing.look()
        self.assertEqual(self.group.told, [(2, True), (3, True)])

    def test_the_time_that_passes(self) -> None:
        """A step has its time, whatever else is looked at."""
        self.loads[b"resize"] = Load(20, 12.0, 1)
        self.sizing.look()
        self.group.members = [BUSY, BUSY]
        self.clock.advance(4)
        self.sizing.look()
        self.assertEqual(self.group.told, [(2, True)])
        self.clock.advance(1)
        self.sizing.look()
        self.assertEqual(self.group.told, [(2, True), (4, True)])
