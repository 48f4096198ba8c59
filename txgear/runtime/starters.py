"""
How children are started: as a new interpreter, or as a copy of one that has imported the modules.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.process import registerReapProcessHandler, unregisterReapProcessHandler

from txgear.runtime.birth import Birth
from txgear.runtime.processes import Ending, ending_of, spawn
from txgear.runtime.processgroups import Group


class Born:
    """
    A child that has been started.

    @ivar group: its processes.
    @ivar ended: fires with its ending, C{None} where nobody knows that.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.ended: Deferred[Ending | None] = Deferred()

    def has_ended(self, ending: Ending | None) -> None:
        """It has ended, and its number may be another process's."""
        if not self.ended.called:
            self.ended.callback(ending)


class Starter(Protocol):
    """Starts the children of a group, all with the same code."""

    def start(self, birth: Birth) -> Deferred[Born]:
        """
        Start a child. Its descriptors are closed here in any case.

        @return: fires when it has been started; fails with C{OSError} or
            L{ControlError<txgear.runtime.control.ControlError>} where it cannot be. Cancelling it changes
            nothing.
        """

    def retire(self) -> None:
        """Nobody will be started any more; those that were go on."""


class _Reaper:
    """Notes the end of a process that is our own child."""

    def __init__(self, born: Born) -> None:
        self._born = born
        registerReapProcessHandler(born.group.pid, self)

    def reapProcess(self) -> None:  # noqa: N802
        """A child process of ours has ended, which may be this one."""
        pid, status = os.waitpid(self._born.group.pid, os.WNOHANG)
        if pid:
            unregisterReapProcessHandler(pid, self)
            self.processEnded(status)

    def processEnded(self, status: int) -> None:
        """It is this one."""
        self._born.has_ended(ending_of(status))


def spawned(module: str, birth: Birth, environment: Mapping[str, str]) -> Born:
    """
    Start a new interpreter that runs a module of ours.

    @raise OSError: it cannot be started.
    """
    try:
        with open(os.devnull, "rb") as nothing:
            pid = spawn(
                # With the name there is room for the title.
                [sys.executable, "-m", module, birth.name],
                {os.fsencode(k): os.fsencode(v) for k, v in {**environment, **birth.environment}.items()},
                {0: nothing.fileno(), **birth.theirs},
            )
    finally:
        birth.handed_over()
    born = Born(Group(pid, birth.mark))
    _Reaper(born)
    return born


Spawn = Callable[[str, Birth, Mapping[str, str]], Born]
"""Starts a new interpreter that runs a module, as L{spawned} does."""


class SpawnStarter:
    """Starts each child as a new interpreter: what is on the disk by then is its code."""

    def __init__(self, environment: Mapping[str, str], spawn: Spawn = spawned) -> None:
        """
        @param environment: all of it.
        @param spawn: starts an interpreter.
        """
        self._environment = environment
        self._spawn = spawn

    def start(self, birth: Birth) -> Deferred[Born]:
        """Part of L{Starter}."""
        try:
            return succeed(self._spawn("txgear.runtime.child", birth, self._environment))
        except OSError as error:
            return fail(error)

    def retire(self) -> None:
        """Part of L{Starter}."""
