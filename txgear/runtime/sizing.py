"""
Has each group that may grow have as many processes as its load wants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txgear.broker.words import number
from txgear.protocol.textlines import unescaped
from txgear.runtime.config import GroupTable
from txgear.runtime.group import WorkerGroup
from txgear.runtime.member import READY
from txgear.runtime.scaling import Load, Scaling


class Sizing:
    """
    Looks at groups from time to time; those with a fixed number of processes are left alone.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        groups: Mapping[str, WorkerGroup],
        load: Callable[[Iterable[bytes]], Load | None],
    ) -> None:
        """
        @param clock: the monotonic one.
        @param groups: all groups, by their names; they may change.
        @param load: how much waits of some functions; C{None} while nobody tells.
        """
        self._clock = clock
        self._groups = groups
        self._load = load
        # For each group its table, and what was made from it.
        self._scalings: dict[str, tuple[GroupTable, Scaling]] = {}

    def functions(self) -> set[bytes]:
        """Those of which it matters how many jobs wait."""
        return {name for group in self._groups.values() if _grows(group) for name in names_of(group)}

    def look(self) -> None:
        """Have more processes or fewer, where that is due."""
        groups = {name: group for name, group in self._groups.items() if _grows(group)}
        for name in self._scalings.keys() - groups.keys():
            del self._scalings[name]
        for group in groups.values():
            self._look_at(group)

    def _look_at(self, group: WorkerGroup) -> None:
        ready = [member for member in group.members if member.state == READY]
        seen = [member.seen() for member in ready]
        idle = sum(1 for each in seen if each.is_idle)
        wanted = group.wanted
        change = self._scaling(group).look(
            self._clock.seconds(), self._load(names_of(group)), wanted, len(ready), idle
        )
        if change.wanted != wanted:
            self.log.info(
                "group {group} is to have {processes} instead of {before}: {why}",
                group=group.name,
                processes=number(change.wanted, "process", "processes"),
                before=wanted,
                why=change.why,
            )
            group.resize(change.wanted, only_idle=True)

    def _scaling(self, group: WorkerGroup) -> Scaling:
        table = group.plan.group
        before = self._scalings.get(group.name)
        if before is not None and before[0] == table:
            return before[1]
        assert table.max is not None
        scaling = Scaling(table.min or 0, table.max, table.grow_after, table.shrink_after, table.concurrency)
        self._scalings[group.name] = table, scaling
        return scaling


def _grows(group: WorkerGroup) -> bool:
    return group.plan.group.max is not None


def names_of(group: WorkerGroup) -> list[bytes]:
    """The functions of a group, as servers know them; none before a process of it has loaded its code."""
    return [unescaped(name.encode("utf-8")) for name in group.functions]
