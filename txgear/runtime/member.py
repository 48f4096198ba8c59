"""
A child, as the supervisor has it: what it says, what it is told, and its end.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.runtime.birth import Birth
from txgear.runtime.config import GroupTable, RuntimeTable
from txgear.runtime.control import (
    Answer,
    Asked,
    ControlEnd,
    Failed,
    FailJobs,
    FromChild,
    Leave,
    Leaving,
    Left,
    Lines,
    Loaded,
    Ready,
    Task,
)
from txgear.runtime.outputs import OutputLines
from txgear.runtime.processes import Ending
from txgear.runtime.processgroups import Group
from txgear.runtime.renewal import Seen
from txgear.runtime.slots import page_slots
from txgear.runtime.starters import Born, Starter
from txgear.runtime.status import StatusPage, page_size

STARTING: Final = 0
"""Its code is being loaded. It has no jobs."""
LOADED: Final = 1
"""It asks servers for work, and none has answered."""
READY: Final = 2
"""A server has seen it ask for work."""
LEAVING: Final = 3
"""It takes no more jobs, and ends when those in hand have ended."""
LEFT: Final = 4
"""It has no job any more. It ends."""
KILLED: Final = 5
"""It was sent SIGKILL."""
STATES: Final = ("starting", "loaded", "ready", "leaving", "left", "killed")
"""These, in words."""

END_SECONDS: Final = 10.0
"""How long a process may take to end that has said that it is done."""


class Plan(NamedTuple):
    """
    With what children are started.

    @ivar table: all of the file.
    @ivar group: the table of the group.
    @ivar starter: starts them.
    """

    table: RuntimeTable
    group: GroupTable
    starter: Starter


class Owner(Protocol):
    """The group of a child, as far as the child needs it."""

    def member_loaded(self, member: Member) -> None:
        """Its code is loaded; its L{Member.functions} are known."""

    def member_ready(self, member: Member) -> None:
        """A server has seen it ask for work."""

    def member_leaving(self, member: Member, for_good: bool) -> None:
        """It leaves by itself."""

    def member_asked(self, member: Member, word: str) -> tuple[bool, str]:
        """
        A server has told the child something that its group heeds.

        @return: whether it is done, and what is said about it.
        """

    def member_ended(self, member: Member, reason: str) -> None:
        """
        No process of it is left.

        @param reason: what becomes of the jobs that it may have had in hand; empty if it had none.
        """


class ChildGuard(Protocol):
    """Ends processes when the supervisor is gone."""

    def begins(self, group: Group) -> object:
        """Processes have begun."""

    def has_ended(self, group: Group) -> object:
        """They have ended."""


class Member:
    """
    One child.

    @ivar plan: how it was started.
    @ivar number: its number in its group.
    @ivar id: what it is called at the servers.
    @ivar key: by which servers know it.
    @ivar state: L{STARTING} and so on.
    @ivar started: when it was, by the monotonic clock.
    @ivar functions: the names of its functions, once it is loaded.
    @ivar part: what part of the bounds of its table holds for it.
    @ivar memory: bytes that it had when that was looked at last, 0 before.
    @ivar wish: why it is to be renewed, if somebody has asked for that.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        clock: IReactorTime,
        guard: ChildGuard,
        plan: Plan,
        task: Task,
        part: float,
        owner: Owner,
    ) -> None:
        """
        @param clock: the monotonic one.
        @param guard: ends its processes where the supervisor cannot.
        @param task: what it is told first.
        @raise OSError: there are no descriptors left.
        """
        self.plan = plan
        self.number = task.number
        self.id = task.id
        self.key = task.key
        self.part = part
        self.state = STARTING
        self.started = clock.seconds()
        self.functions: list[str] = []
        self.memory = 0
        self.wish = ""
        self._clock = clock
        self._guard = guard
        self._owner = owner
        self._reason = ""
        self._kill_reason = ""
        self._is_over = False
        self._born: Born | None = None
        self._timer: IDelayedCall | None = None
        slots = page_slots(plan.group.concurrency)
        birth = Birth(page_size(slots), task.id)
        self._page = StatusPage(birth.page, slots)
        os.close(birth.page)
        self._outputs = [
            OutputLines(reactor, descriptor, self.id, stream)
            for descriptor, stream in ((birth.stdout, "stdout"), (birth.stderr, "stderr"))
        ]
        self._control = ControlEnd(reactor, birth.control, Lines(FromChild), self._received, self._line_ended)
        self._control.send(task)
        self._birth = birth

    def start(self) -> None:
        """Start its process. If that cannot be, it has ended."""
        _ = self.plan.starter.start(self._birth).addCallbacks(self._was_born, self._not_born)

    @property
    def pid(self) -> int:
        """The number of its process; 0 where there is none yet."""
        return 0 if self._born is None else self._born.group.pid

    @property
    def is_active(self) -> bool:
        """Whether it works, or will."""
        return self.state <= READY

    def seen(self) -> Seen:
        """What is known of it now."""
        turned, done, idle_since, in_reach = self._page.head()
        running = list(self._page.running())
        now = self._clock.seconds()
        return Seen(now, self.started, turned, done, idle_since, self.memory, running, in_reach)

    # Its birth

    def _was_born(self, born: Born) -> None:
        if self._is_over:
            # It was killed before it was there.
            born.group.kill()
            return
        self._born = born
        self._guard.begins(born.group)
        _ = born.ended.addCallback(self._process_ended)

    def _not_born(self, failure: Failure) -> None:
        if not self._is_over:
            self._reason = f"it cannot be started: {failure.getErrorMessage()}"
            self._over("")

    # What it is told

    def leave(self, reason: str) -> None:
        """
        Have it finish its jobs, and end. One that is not loaded has none, and is ended at once.

        @param reason: why, in words.
        """
        if self.state == STARTING:
            self.kill("")
        elif self.state < LEAVING:
            self.state = LEAVING
            self.log.info("{child} leaves: {reason}", child=self.id, reason=reason)
            self._control.send(Leave(reason))

    def fail_jobs(self, reason: str) -> None:
        """Have it give up its jobs: servers are told that they have failed with this reason."""
        if self.state == STARTING:
            self.kill("")
        elif self.state < LEFT:
            self.state = LEAVING
            self._control.send(FailJobs(reason))

    def kill(self, reason: str) -> None:
        """
        End it with all that it has started, at once.

        @param reason: why, in words: what becomes of its jobs. Empty if it has none.
        """
        if self.state == KILLED:
            return
        self.state = KILLED
        self._kill_reason = reason
        if reason:
            self.log.error("{child}: {reason}", child=self.id, reason=reason)
        if self._born is None:
            self._over(reason)
        else:
            self._born.group.kill()

    def kill_again(self) -> None:
        """
        One that was killed is still there: a copy of a template that had not left its group then was not
        found. This is done often, and what has left that group is ended at its end.
        """
        if self._born is not None:
            self._born.group.kill_inside()

    # What it says

    def _received(self, message: Any) -> None:
        if self.state == KILLED:
            return
        if isinstance(message, Loaded):
            self.functions = message.functions
            if self.state == STARTING:
                self.state = LOADED
                self._owner.member_loaded(self)
        elif isinstance(message, Ready):
            if self.state == LOADED:
                self.state = READY
                self.log.info("{child} is ready", child=self.id)
                self._owner.member_ready(self)
        elif isinstance(message, Failed):
            self._reason = message.reason
        elif isinstance(message, Leaving):
            if self.is_active:
                self.state = LEAVING
                self._owner.member_leaving(self, message.for_good)
        elif isinstance(message, Asked):
            done, text = self._owner.member_asked(self, message.word)
            self._control.send(Answer(message.number, done, text))
        elif isinstance(message, Left):
            self.state = LEFT
            self._timer = self._clock.callLater(END_SECONDS, self.kill, "")

    def _line_ended(self, reason: str) -> None:
        """Its end of the line is closed: it ends, or has done what no child of ours does."""
        if self._timer is None and self.state != KILLED:
            self._timer = self._clock.callLater(
                END_SECONDS, self.kill, f"its process was killed: it does not answer any more ({reason})"
            )

    # Its end

    def _process_ended(self, ending: Ending | None) -> None:
        assert self._born is not None
        # What it has started is not to outlive it.
        self._born.group.kill()
        self._guard.has_ended(self._born.group)
        # What it said last is in the pipes still.
        for output in self._outputs:
            output.close()
        how = "it is gone" if ending is None else str(ending)
        if self.state == KILLED:
            self._over(self._kill_reason)
        elif self.state == LEFT:
            self._over("")
        else:
            said = self._reason or self._outputs[1].last
            self._reason = f"its process ended by itself ({how})" + (f": {said}" if said else "")
            self._over(self._reason)

    def _over(self, reason: str) -> None:
        self._is_over = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._control.close()
        for output in self._outputs:
            output.close()
        self._page.close()
        self._owner.member_ended(self, reason)

    @property
    def why_ended(self) -> str:
        """Why it has ended by itself, in words; empty if it was told to."""
        return self._reason


MakeMember = Callable[[Plan, int, Owner], Member]
"""Makes a child of a group, with a number, for its owner."""
