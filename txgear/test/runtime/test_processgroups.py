"""
Tests for L{txgear.runtime.processgroups}: what a guard understands, and which processes it takes for whose.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.processgroups import LOOK_SECONDS, PROCESSES, Group, end_groups, unfinished

NOBODY = 2**30
"""The number of no process."""


class UnfinishedTests(SynchronousTestCase):
    def left(self, *pieces: bytes) -> list[Group]:
        rest: Iterator[bytes] = iter((*pieces, b""))
        return unfinished(lambda _: next(rest))

    def test_groups(self) -> None:
        """Those that have begun, and have not ended."""
        self.assertEqual([], self.left())
        self.assertEqual([], self.left(b"+1 a\n", b"-1 a\n"))
        self.assertEqual([Group(2, "b")], self.left(b"+1 a\n+2 b\n-1 a\n"))

    def test_pieces(self) -> None:
        """A line may arrive in parts. A number that is used again is another one's."""
        text = b"+10 a\n-10 a\n+10 b\n+11 c\n"
        self.assertEqual(
            [Group(10, "b"), Group(11, "c")], self.left(*(text[at : at + 1] for at in range(len(text))))
        )

    def test_half_a_line(self) -> None:
        """What a worker could not finish is nothing."""
        self.assertEqual([], self.left(b"+10 a"))


class Ending(Group):
    """A group that notes what is done to it."""

    __slots__ = ()
    acts: list[str] = []  # noqa: RUF012
    lasts = 0

    @property
    def is_there(self) -> bool:
        Ending.lasts -= 1
        return Ending.lasts >= 0

    def ask_to_end(self) -> None:
        self.acts.append("ask")

    def kill(self) -> None:
        self.acts.append("kill")


class EndGroupsTests(SynchronousTestCase):
    def end(self, lasts: int, grace: float) -> tuple[list[str], int]:
        Ending.acts, Ending.lasts = [], lasts
        waits: list[float] = []
        end_groups([Ending(1, "a")], grace, waits.append)
        return Ending.acts, len(waits)

    def test_grace(self) -> None:
        """It waits no longer than it must, and not for ever."""
        self.assertEqual((["ask", "kill"], 0), self.end(lasts=0, grace=1))
        self.assertEqual((["ask", "kill"], 3), self.end(lasts=3, grace=1))
        acts, waits = self.end(lasts=10**6, grace=1)
        self.assertEqual(["ask", "kill"], acts)
        self.assertTrue(1 <= waits * LOOK_SECONDS < 1 + 2 * LOOK_SECONDS)


class OutsidersTests(SynchronousTestCase):
    def test_by_the_mark(self) -> None:
        """Processes with the mark that are in another group; what is no process is passed over."""
        folder = Path(self.mktemp())
        for name, environ in (
            (str(os.getpid()), b"A=b\0TXGEAR_RUN=mark\0"),
            ("1", b"TXGEAR_RUN=mark2\0"),
            ("self", b"TXGEAR_RUN=mark\0"),
        ):
            (folder / name).mkdir(parents=True)
            (folder / name / "environ").write_bytes(environ)
        (folder / "2").mkdir()
        self.assertEqual([os.getpid()], Group(1, "mark").outsiders(folder))
        self.assertEqual([], Group(os.getpgrp(), "mark").outsiders(folder))
        self.assertEqual([], Group(1, "mark").outsiders(folder / "nothing"))


class Killed(Group):
    """
    A group of which some have left it, as it is found at each look.

    @ivar looks: what is found, the last look first.
    @ivar rounds: how often those inside were killed.
    """

    __slots__ = ()
    looks: list[list[int]] = []  # noqa: RUF012
    rounds = 0

    def outsiders(self, processes: Path = PROCESSES) -> list[int]:
        return Killed.looks.pop()

    def kill_inside(self) -> None:
        Killed.rounds += 1


class KillTests(SynchronousTestCase):
    def kill(self, *looks: list[int]) -> tuple[list[list[int]], int]:
        """The looks that were not needed, and the rounds."""
        Killed.looks, Killed.rounds = [*looks][::-1], 0
        Killed(1, "mark").kill()
        return Killed.looks, Killed.rounds

    def test_nobody_has_left(self) -> None:
        """One look is enough: there may be many processes to look at, and many groups to kill."""
        self.assertEqual(([], 1), self.kill([]))

    def test_some_have_left(self) -> None:
        """They are killed until there are none, three times at the most."""
        self.assertEqual(([], 3), self.kill([NOBODY], [NOBODY, NOBODY], []))
        self.assertEqual(([[]], 3), self.kill([NOBODY], [NOBODY], [NOBODY], []))
