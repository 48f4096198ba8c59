"""
The children of a group: as many as are wanted, each with a successor when it is due, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txgear.broker.words import number, verb
from txgear.runtime.backoff import Backoff
from txgear.runtime.config import GroupTable
from txgear.runtime.member import KILLED, LEFT, LOADED, READY, STARTING, MakeMember, Member, Plan
from txgear.runtime.renewal import deadly, due

FAIL_SECONDS: Final = 3.0
"""How long a child may take to give up its jobs. One that takes longer is stuck, and killed."""


def first_number(group: GroupTable) -> int:
    """How many processes of a group there are at the start."""
    return group.processes if group.processes is not None else group.min or 1


class WorkerGroup:
    """
    The children of one group.

    A new child is started with the plan that is in force. When that changes, the first child of the new plan
    proves it: until one is ready, nobody else is renewed, and if it never is, the old plan stays in force,
    and so do all children.

    @ivar name: its name in the file.
    @ivar members: all children, also those that leave.
    @ivar wanted: how many are to work.
    @ivar functions: the names of their functions, as a child has told them last.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        plan: Plan,
        make: MakeMember,
        gone: Callable[[str, str], object],
    ) -> None:
        """
        @param clock: the monotonic one.
        @param make: makes children.
        @param gone: called with the key of a child that has ended, and the reason that servers are told.
        """
        self.name = name
        self.plan = plan
        self.wanted = first_number(plan.group)
        self.members: list[Member] = []
        self.functions: list[str] = []
        self._clock = clock
        self._make = make
        self._gone = gone
        self._trial: Plan | None = None
        self._renewed: Member | None = None
        self._successor: Member | None = None
        self._only_idle_leave = False
        self._is_looking = False
        self._look_again = False
        self._starts = Backoff()
        self._renewals = Backoff()
        self._stop_reason = ""
        self._deadline: float | None = None
        self._kill_at: float | None = None
        self._stopped: list[Deferred[None]] = []

    # What it is told

    @property
    def is_ready(self) -> bool:
        """Whether a server has seen one of the children ask for work."""
        return any(member.state == READY for member in self.members)

    @property
    def is_loading(self) -> bool:
        """Whether new code is on trial, or children with older code are still there."""
        return self._trial is not None or any(
            member.is_active and member.plan is not self.plan for member in self.members
        )

    def resize(self, wanted: int, *, only_idle: bool) -> None:
        """
        Have more or fewer children.

        @param wanted: how many.
        @param only_idle: none is told to leave that has a job.
        """
        self.wanted = wanted
        self._only_idle_leave = only_idle
        self.look()

    def load(self, plan: Plan) -> None:
        """
        Renew all children with another plan, one by one. If none of the new ones gets ready, the old ones
        stay.
        """
        self._starts.forget()
        self._renewals.forget()
        if self._trial is not None:
            self._trial.starter.retire()
        if self.is_ready:
            self._trial = plan
            if self._successor is not None:
                # What it was started with is not what is wanted any more.
                self._successor.kill("")
        else:
            # There is nobody to keep.
            self._prove(plan)
            if not self.wanted:
                # What waits for the new code is not known before somebody has loaded it.
                self.wanted = first_number(plan.group)
            for member in self.members:
                if member.state == STARTING:
                    member.kill("")
                elif member.state == LOADED:
                    member.leave("there is newer code")
        self.look()

    def stop(self, reason: str, seconds: float) -> Deferred[None]:
        """
        Have all children finish their jobs, and end.

        @param reason: why, in words.
        @param seconds: how long these may go on.
        @return: fires when no process is left. Cancelling it changes nothing.
        """
        if not self._stop_reason:
            self._stop_reason = reason
            if self._trial is not None:
                self._trial.starter.retire()
                self._trial = None
            for member in list(self.members):
                member.leave(reason)
        self._deadline = self._clock.seconds() + seconds
        self.look()
        if not self.members:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._stopped.append(stopped)
        return stopped

    # Looking

    def look(self) -> None:
        """See what is to be done; called from time to time, and when something has happened."""
        self._look_again = True
        if self._is_looking:
            # What is done here makes things happen: they are looked at when all that has been done.
            return
        self._is_looking = True
        try:
            while self._look_again:
                self._look_again = False
                self._look()
        finally:
            self._is_looking = False

    def _look(self) -> None:
        now = self._clock.seconds()
        for member in list(self.members):
            if member not in self.members:
                continue
            seen = member.seen()
            group = member.plan.group
            if member.state == KILLED:
                member.kill_again()
            elif reason := deadly(group, seen):
                member.kill(reason)
            elif member.state == STARTING or (member is self._successor and member.state == LOADED):
                if now - member.started > group.start_timeout:
                    member.kill(f"it was not ready within {group.start_timeout:g} s")
                    # The machine may have too much to do; it gets less when fewer begin at once.
                    self._starts.has_ended(now, 0.0)
            elif member.state == READY and not member.wish:
                member.wish = due(group, member.part, seen)
        if self._stop_reason:
            self._look_at_stop(now)
            return
        self._look_at_number(now)
        self._look_at_renewals(now)

    def _working(self) -> list[Member]:
        """The children that count: a successor does not before it is ready."""
        return [member for member in self.members if member.is_active and member is not self._successor]

    def _look_at_number(self, now: float) -> None:
        working = self._working()
        if len(working) < self.wanted and now >= self._starts.not_before:
            # While they end as soon as they begin, one is enough to find out.
            count = 1 if self._starts.failures else self.wanted - len(working)
            for _ in range(count):
                if self._start(self.plan) is None:
                    self._starts.has_ended(now, 0.0)
                    break
        surplus = len(working) - self.wanted
        if surplus > 0:
            idle = {each.id for each in working if each.state != READY or each.seen().is_idle}
            may = [each for each in reversed(working) if each.id in idle or not self._only_idle_leave]
            # Those with older code first, then those that do nothing; of these the youngest.
            may.sort(key=lambda each: (each.plan is self.plan, each.id not in idle))
            for member in may[:surplus]:
                member.leave("there are more processes than are wanted")

    def _look_at_renewals(self, now: float) -> None:
        if self._renewed is not None or now < self._renewals.not_before:
            return
        newest = self._trial or self.plan
        for member in self.members:
            reason = member.wish if member.plan is newest else "there is newer code"
            if member.state == READY and reason:
                self.log.info("{child} is renewed: {reason}", child=member.id, reason=reason)
                self._successor = self._start(newest)
                if self._successor is None:
                    self._renewals.has_ended(now, 0.0)
                else:
                    self._renewed = member
                return

    def _look_at_stop(self, now: float) -> None:
        if self._kill_at is None and self._deadline is not None and now >= self._deadline:
            self._kill_at = now + FAIL_SECONDS
            for member in list(self.members):
                member.fail_jobs(f"{self._stop_reason}, and the job had not ended in time")
        elif self._kill_at is not None and now >= self._kill_at:
            for member in list(self.members):
                member.kill("" if member.state == LEFT else f"{self._stop_reason}; its process was stuck")

    # Children

    def _start(self, plan: Plan) -> Member | None:
        """@return: C{None} where it cannot be."""
        taken = {member.number for member in self.members}
        number = next(each for each in range(1, len(taken) + 2) if each not in taken)
        try:
            member = self._make(plan, number, self)
        except OSError as error:
            self.log.error("group {group}: no process can be started: {error}", group=self.name, error=error)
            return None
        self.members.append(member)
        member.start()
        return member

    def member_loaded(self, member: Member) -> None:
        """Part of L{txgear.runtime.member.Owner}."""
        self.functions = member.functions

    def member_ready(self, member: Member) -> None:
        """Part of L{txgear.runtime.member.Owner}."""
        if member is self._successor:
            old = self._renewed
            self._successor = self._renewed = None
            self._renewals.forget()
            if old is not None:
                old.leave(f"{member.id} takes its place")
        if member.plan is self._trial:
            self._prove(member.plan)
        self.look()

    def _prove(self, plan: Plan) -> None:
        """A plan is in force from now on."""
        before, self.plan = self.plan, plan
        self._trial = None
        before.starter.retire()
        group = plan.group
        if (group.processes, group.min, group.max) != (
            before.group.processes,
            before.group.min,
            before.group.max,
        ):
            self._only_idle_leave = False
            self.wanted = first_number(group)

    def member_leaving(self, member: Member, for_good: bool) -> None:
        """Part of L{txgear.runtime.member.Owner}."""
        if for_good:
            self.log.warn("{child} was told to stop: nobody takes its place", child=member.id)
            self.wanted = max(self.wanted - 1, 0)
        self.look()

    def member_asked(self, member: Member, word: str) -> tuple[bool, str]:
        """Part of L{txgear.runtime.member.Owner}."""
        if self._stop_reason:
            return False, "It stops"
        if word == "restart":
            if not member.is_active:
                return False, "It leaves already"
            member.wish = "somebody has asked for that"
            self.look()
            return True, "It leaves when its successor is ready"
        wanted = self.wanted + (1 if word == "grow" else -1)
        most = self.plan.group.max
        if wanted < 1:
            return False, "It is the last process of its group; stop ends it"
        if word == "grow" and most is not None and wanted > most:
            return False, f"Group {self.name} may have {most} processes"
        self.resize(wanted, only_idle=False)
        return True, f"Group {self.name} has {wanted} {'process' if wanted == 1 else 'processes'} now"

    def member_ended(self, member: Member, reason: str) -> None:
        """Part of L{txgear.runtime.member.Owner}."""
        now = self._clock.seconds()
        self.members.remove(member)
        if reason:
            self._gone(member.key, reason)
        if member.why_ended:
            self.log.error("{child}: {reason}", child=member.id, reason=member.why_ended)
        elif not reason:
            self.log.info("{child} has left", child=member.id)
        if member is self._successor or member.plan is self._trial:
            self._not_renewed(member, member.why_ended or reason, now)
        elif member.why_ended:
            self._starts.has_ended(now, now - member.started)
        if member in (self._successor, self._renewed):
            # A successor whose predecessor is gone is as good as any other.
            self._successor = self._renewed = None
        if not self.members:
            stopped, self._stopped = self._stopped, []
            for each in stopped:
                each.callback(None)
        self.look()

    def _not_renewed(self, member: Member, reason: str, now: float) -> None:
        """A successor has ended before it was ready."""
        if member.plan is self._trial:
            self._trial = None
            member.plan.starter.retire()
            working = len(self._working())
            self.log.critical(
                "group {group}: the new code does not get ready; {processes} {go} on with the old one."
                " {child}: {reason}",
                group=self.name,
                processes=number(working, "process", "processes"),
                go=verb(working, "goes", "go"),
                child=member.id,
                reason=reason,
            )
        elif self._trial is None and not self._stop_reason:
            # Otherwise it was ended to make room for what is on trial now, or with all others.
            self._renewals.has_ended(now, 0.0)
            self.log.error(
                "group {group}: the successor of a process has ended, {child}: {reason}",
                group=self.name,
                child=member.id,
                reason=reason,
            )
