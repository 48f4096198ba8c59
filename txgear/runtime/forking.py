"""
The supervisor's side of a template: children that are copies of one process.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import psutil
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txgear.runtime.birth import INHERITED, Birth
from txgear.runtime.control import ControlEnd, ControlError, Failed, Lines, Loaded, line
from txgear.runtime.member import ChildGuard
from txgear.runtime.outputs import OutputLines
from txgear.runtime.processes import Ending, ending_of
from txgear.runtime.processgroups import Group
from txgear.runtime.starters import Born, Spawn, SpawnStarter, spawned
from txgear.runtime.template import Ended, Fork, Forked, FromTemplate, Preload, Refused

ORPHAN_SECONDS: Final = 0.2
"""How often it is looked whether the children of a template have ended that is gone itself."""


class _TemplateProcess:
    """
    A template that runs.

    @ivar is_loaded: whether it makes copies.
    """

    def __init__(
        self,
        reactor: Any,
        guard: ChildGuard,
        name: str,
        environment: Mapping[str, str],
        received: Callable[[Any], object],
        ended: Callable[[str], object],
        spawn: Spawn,
    ) -> None:
        """
        @param received: called with what it says.
        @param ended: called when its process has ended, with the reason.
        @param spawn: starts its process.
        @raise OSError: it cannot be started.
        """
        self.is_loaded = False
        self._guard = guard
        self._ended = ended
        birth = Birth(0, name)
        os.close(birth.page)
        self._outputs = [
            OutputLines(reactor, descriptor, name, stream)
            for descriptor, stream in ((birth.stdout, "stdout"), (birth.stderr, "stderr"))
        ]
        self._socket = birth.control
        self._control = ControlEnd(reactor, birth.control, Lines(FromTemplate), received, lambda _: None)
        try:
            self.born = spawn("txgear.runtime.template", birth, environment)
        except OSError:
            self._close()
            raise
        guard.begins(self.born.group)
        _ = self.born.ended.addCallback(self._has_ended)

    def say(self, message: Preload) -> None:
        """Tell it what it is there for."""
        self._control.send(message)

    def fork(self, number: int, birth: Birth) -> None:
        """
        Have it make a copy.

        @raise OSError: it takes nothing.
        """
        socket.send_fds(
            self._socket, [line(Fork(number, birth.mark))], [birth.theirs[each] for each in INHERITED]
        )

    def leave(self) -> None:
        """Have it end when its last copy has; at once where it makes none."""
        if not self.is_loaded:
            self.born.group.kill()
        elif self._control.connected:
            self._socket.shutdown(socket.SHUT_WR)

    def _has_ended(self, ending: Ending | None) -> None:
        if ending is not None and not ending.status:
            # All its copies have ended; what these have made of themselves, as daemons do, has its mark.
            self.born.group.kill()
        self._guard.has_ended(self.born.group)
        self._close()
        said = next((each.last for each in reversed(self._outputs) if each.last), "")
        self._ended(f"its template has ended ({ending})" + (f": {said}" if said else ""))

    def _close(self) -> None:
        self._control.close()
        for output in self._outputs:
            output.close()


class ForkStarter:
    """
    Starts each child as a copy of a template; where that cannot be, as an interpreter of its own.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        clock: IReactorTime,
        guard: ChildGuard,
        environment: Mapping[str, str],
        preload: Preload,
        load_timeout: float,
        spawn: Spawn = spawned,
    ) -> None:
        """
        @param clock: the monotonic one.
        @param environment: all of it.
        @param preload: what the template is told.
        @param load_timeout: seconds that it may take to import the modules.
        @param spawn: starts interpreters.
        """
        self._reactor = reactor
        self._clock = clock
        self._guard = guard
        self._environment = environment
        self._preload = preload
        self._load_timeout = load_timeout
        self._spawn = spawn
        self._loading: IDelayedCall | None = None
        self._template: _TemplateProcess | None = None
        self._instead: SpawnStarter | None = None
        self._failure = ""
        self._waiting: dict[int, tuple[Birth, Deferred[Born]]] = {}
        self._children: dict[int, Born] = {}
        self._count = 0

    def start(self, birth: Birth) -> Deferred[Born]:
        """Part of L{txgear.runtime.starters.Starter}."""
        if self._instead is not None:
            return self._instead.start(birth)
        if self._template is None:
            try:
                self._template = _TemplateProcess(
                    self._reactor,
                    self._guard,
                    f"{self._preload.name}-template",
                    self._environment,
                    self._received,
                    self._template_ended,
                    self._spawn,
                )
            except OSError as error:
                birth.handed_over()
                return fail(error)
            self._template.say(self._preload)
            self._loading = self._clock.callLater(self._load_timeout, self._too_slow)
        self._count += 1
        started: Deferred[Born] = Deferred()
        self._waiting[self._count] = birth, started
        if self._template.is_loaded:
            self._fork(self._count)
        return started

    def retire(self) -> None:
        """Part of L{txgear.runtime.starters.Starter}."""
        if self._template is not None:
            self._template.leave()

    def _fork(self, number: int) -> None:
        assert self._template is not None
        birth, started = self._waiting[number]
        try:
            self._template.fork(number, birth)
        except OSError as error:
            del self._waiting[number]
            birth.handed_over()
            started.errback(error)
            return
        birth.handed_over()

    def _too_slow(self) -> None:
        self._loading = None
        self._failure = f"its template has not imported the modules within {self._load_timeout:g} s"
        if self._template is not None:
            self._template.leave()

    def _loading_over(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None

    # What the template says

    def _received(self, message: Any) -> None:
        assert self._template is not None
        if isinstance(message, Loaded):
            self._template.is_loaded = True
            self._loading_over()
            for number in list(self._waiting):
                self._fork(number)
        elif isinstance(message, Forked):
            birth, started = self._waiting.pop(message.number)
            born = Born(Group(message.pid, birth.mark))
            self._children[message.pid] = born
            started.callback(born)
        elif isinstance(message, Ended):
            self._children.pop(message.pid).has_ended(ending_of(message.status))
        elif isinstance(message, Failed):
            self._failure = message.reason
        elif isinstance(message, Refused):
            self.log.error(
                "{name}: children cannot be copies of one process, each is started by itself: {reason}",
                name=self._preload.name,
                reason=message.reason,
            )
            self._instead = instead = SpawnStarter(self._environment, self._spawn)
            waiting, self._waiting = self._waiting, {}
            for birth, started in waiting.values():
                _ = instead.start(birth).chainDeferred(started)

    def _template_ended(self, reason: str) -> None:
        self._template = None
        self._loading_over()
        failure, self._failure = self._failure, ""
        waiting, self._waiting = self._waiting, {}
        for birth, started in waiting.values():
            birth.handed_over()
            started.errback(ControlError(failure or reason))
        orphans, self._children = self._children, {}
        for born in orphans.values():
            self._look_at_orphan(born)

    def _look_at_orphan(self, born: Born) -> None:
        """Somebody has killed the template: who has reaped its children since does not tell."""
        if _has_ended(born.group.pid):
            born.has_ended(None)
        else:
            self._clock.callLater(ORPHAN_SECONDS, partial(self._look_at_orphan, born))


def _has_ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
