"""
The dead by what is wrong: by their functions, and by how their last attempts ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from txgear.broker.ended.shelves import Shelf
from txgear.policies import REASONS

if TYPE_CHECKING:
    from txgear.broker.history import History
    from txgear.broker.model import Function, Job

UNKNOWN: Final = "unknown"
"""Of a job of which it is not known how its last attempt ended."""

DEAD_REASONS: Final = (*REASONS, UNKNOWN)
"""Why jobs are dead."""


def reason_of(history: History) -> str:
    """How the last attempt of a job ended: one of L{DEAD_REASONS}."""
    reason = history.attempts[-1].reason if history.attempts else UNKNOWN
    return reason if reason in REASONS else UNKNOWN


class DeadGroups:
    """
    Dead jobs, each in one group, which is a shelf. To add one or to take one off costs the same however many
    there are, and how many there are in a group is known, be they in memory or not.
    """

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[Function, dict[str, Shelf]] = {}

    def group(self, function: Function, reason: str) -> Shelf:
        """
        The group of a function's dead for which something is to come; L{tidy} is to follow.

        @param reason: one of L{DEAD_REASONS}.
        """
        try:
            return self._groups[function][reason]
        except KeyError:
            return self._groups.setdefault(function, {}).setdefault(reason, Shelf())

    def remove(self, job: Job) -> None:
        """Take one off that is there, and in memory."""
        reason = self.reason_of(job)
        self._groups[job.function][reason].remove(job)
        self.tidy(job.function, reason)

    def tidy(self, function: Function, reason: str) -> None:
        """Something has left a group: there may be none any more."""
        groups = self._groups[function]
        if not groups[reason].count:
            del groups[reason]
            if not groups:
                del self._groups[function]

    def reason_of(self, job: Job) -> str:
        """Why a job is dead that is there, and in memory."""
        # There are a few reasons: to ask all of them is less than to read the job's history.
        groups = self._groups[job.function]
        return next(reason for reason, group in groups.items() if job.number in group.jobs)

    def has(self, job: Job, reasons: Collection[str]) -> bool:
        """Whether a job is there, in memory, for one of these reasons."""
        groups = self.of(job.function)
        return any(reason in groups and job.number in groups[reason].jobs for reason in reasons)

    def of(self, function: Function) -> Mapping[str, Shelf]:
        """The groups of a function, by reason: those in which there are any."""
        return self._groups.get(function, {})

    @property
    def functions(self) -> Collection[Function]:
        """The functions that have any."""
        return self._groups.keys()

    def check(self, dead: Iterable[Job]) -> None:
        """
        Are these there, each once, and no others that are in memory?

        @raise AssertionError: they are not.
        """
        every = [group for groups in self._groups.values() for group in groups.values()]
        found = {number: job for group in every for number, job in group.jobs.items()}
        assert found == {job.number: job for job in dead}
        assert len(found) == sum(len(group.jobs) for group in every), found
        for function, groups in self._groups.items():
            assert groups, function
            for reason, group in groups.items():
                assert group.count, (function, reason)
                for number, job in group.jobs.items():
                    assert (job.number, job.function) == (number, function), job
