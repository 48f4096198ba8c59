"""
How a runtime is, as plain values: for C{/ready}, C{/status} and the service manager.
"""

from __future__ import annotations

from typing import Any

from txgear.broker.words import number
from txgear.runtime.group import WorkerGroup
from txgear.runtime.member import READY, STATES, Member
from txgear.runtime.supervisor import Supervisor


class Report:
    """Part of L{txgear.runtime.health.Watched}."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def problems(self) -> list[str]:
        """
        What keeps the runtime from being ready, in words: it stops, no server can be reached, or a group that
        is to have processes has none that is ready, or that still gets jobs.
        """
        if self._supervisor.stopping:
            return ["it stops"]
        found = [] if any(self._supervisor.servers.reached.values()) else ["no server can be reached"]
        found += [
            f"group {name}: no process is ready"
            for name, group in self._supervisor.groups.items()
            if group.wanted and not group.is_ready
        ]
        found += [
            f"group {name}: no process gets jobs: they have lost their servers, or stand still"
            for name, group in self._supervisor.groups.items()
            if group.wanted and group.is_ready and not any(map(_gets_jobs, group.members))
        ]
        return found

    def is_loading(self) -> bool:
        """Whether any group loads code anew, and it is not known yet what comes of it."""
        return any(group.is_loading for group in self._supervisor.groups.values())

    def summary(self) -> str:
        """All in a line, for the service manager."""
        groups = self._supervisor.groups.values()
        members = [member for group in groups for member in group.members]
        ready = sum(1 for member in members if member.state == READY)
        jobs = sum(len(list(member.seen().running)) for member in members)
        processes = number(len(members), "process", "processes")
        return f"{processes}, {ready} of them ready; {number(jobs, 'job')} in hand"

    def status(self) -> dict[str, Any]:
        """
        All that is known.

        @return: C{ready}, and C{problems} as in L{problems}; C{loading}; C{servers}, for each by its name
            whether it is C{reached}, and the C{problem} or C{None}; and C{groups}, by their names.
        """
        problems = self.problems()
        servers = self._supervisor.servers
        return {
            "ready": not problems,
            "problems": problems,
            "loading": self.is_loading(),
            "servers": {
                name: {"reached": reached, "problem": None if reached else servers.problems.get(name)}
                for name, reached in servers.reached.items()
            },
            "groups": {name: _group(group) for name, group in self._supervisor.groups.items()},
        }


def _gets_jobs(member: Member) -> bool:
    return member.state == READY and member.seen().gets_jobs


def _group(group: WorkerGroup) -> dict[str, Any]:
    """
    How many processes are C{wanted}, its C{functions}, and its C{processes}.
    """
    return {
        "wanted": group.wanted,
        "functions": group.functions,
        "processes": [_process(member) for member in group.members],
    }


def _process(member: Member) -> dict[str, Any]:
    """
    Its C{id} and C{pid} (C{None} before it has one); its C{state}; its C{age}, and for how long it has been
    C{idle} (C{None} while it is not), in seconds; the bytes of its C{memory}, C{None} where nobody knows; how
    many jobs it has C{done}; and the C{jobs} that it has in hand.
    """
    seen = member.seen()
    jobs = [
        {
            "function": job.function.decode("utf-8", "backslashreplace"),
            "handle": job.handle.decode("utf-8", "backslashreplace"),
            "attempt": job.attempt or None,
            "seconds": round(seen.now - job.since, 3),
        }
        for job in seen.running
    ]
    return {
        "id": member.id,
        "pid": member.pid or None,
        "state": STATES[member.state],
        "age": round(seen.now - seen.started, 3),
        "idle": round(seen.now - seen.idle_since, 3) if seen.idle_since and not jobs else None,
        "memory": seen.memory or None,
        "done": seen.done,
        "jobs": jobs,
    }
