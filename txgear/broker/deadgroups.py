"""
The dead by what is wrong: by their functions, and by how their last attempts ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from txgear.policies import REASONS

if TYPE_CHECKING:
    from txgear.broker.history import History
    from txgear.broker.model import Function, Job

UNKNOWN: Final = "unknown"
"""Of a job of which it is not known how its last attempt ended."""

DEAD_REASONS: Final = (*REASONS, UNKNOWN)
"""Why jobs are dead."""

Group: TypeAlias = "dict[int, Job]"
"""Dead jobs by number, who died first being first."""


def reason_of(history: History) -> str:
    """How the last attempt of a job ended: one of L{DEAD_REASONS}."""
    reason = history.attempts[-1].reason if history.attempts else UNKNOWN
    return reason if reason in REASONS else UNKNOWN


class DeadGroups:
    """
    Dead jobs, each in one group. To add one or to take one off costs the same however many there are, and how
    many there are in a group is known.
    """

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[Function, dict[str, dict[int, Job]]] = {}

    def add(self, job: Job, reason: str) -> None:
        """
        One more, which is the last that died.

        @param reason: one of L{DEAD_REASONS}.
        """
        try:
            self._groups[job.function][reason][job.number] = job
        except KeyError:
            self._groups.setdefault(job.function, {})[reason] = {job.number: job}

    def remove(self, job: Job) -> None:
        """Take one off that is there."""
        groups = self._groups[job.function]
        # There are a few reasons: to ask all of them is less than to read the job's history.
        reason = next(reason for reason, group in groups.items() if job.number in group)
        del groups[reason][job.number]
        if not groups[reason]:
            del groups[reason]
            if not groups:
                del self._groups[job.function]

    def has(self, job: Job, reasons: Collection[str]) -> bool:
        """Whether a job is there, for one of these reasons."""
        groups = self.of(job.function)
        return any(job.number in groups.get(reason, ()) for reason in reasons)

    def of(self, function: Function) -> Mapping[str, Group]:
        """The groups of a function, by reason: those in which there are any."""
        return self._groups.get(function, {})

    @property
    def functions(self) -> Collection[Function]:
        """The functions that have any."""
        return self._groups.keys()

    def sort(self) -> None:
        """Put jobs that were not added in the order of their ends into it."""
        for groups in self._groups.values():
            for group in groups.values():
                ordered = sorted(group.items(), key=lambda item: item[1].since)
                group.clear()
                group.update(ordered)

    def check(self, dead: Iterable[Job]) -> None:
        """
        Are these there, each once, and no others?

        @raise AssertionError: they are not.
        """
        every = [group for groups in self._groups.values() for group in groups.values()]
        found = {number: job for group in every for number, job in group.items()}
        assert found == {job.number: job for job in dead}
        assert len(found) == sum(map(len, every)), found
        for function, groups in self._groups.items():
            assert groups, function
            for reason, group in groups.items():
                assert group, (function, reason)
                for number, job in group.items():
                    assert (job.number, job.function) == (number, function), job
