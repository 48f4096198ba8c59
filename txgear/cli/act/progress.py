"""
A bar for each task that goes on, on terminals.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


def part_done(task: Mapping[str, Any]) -> tuple[int, int]:
    """How much of a task is done, and of how much: while it counts, of looking, and then of acting."""
    if task["preview"] or task["state"] in ("waiting", "counting"):
        return task["looked_at"], task["total"]
    return task["done"] + task["passed"] + task["failed"], task["matched"]


class Progress:
    """Shows nothing where standard error is no terminal. As a context manager it is gone at the end."""

    def __init__(self) -> None:
        self._wanted = sys.stderr.isatty()
        self._bars: Bars | None = None
        self._ids: list[TaskID] = []

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, tasks: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """
        @param tasks: always the same ones: where each is, and how far.
        """
        if not self._wanted:
            return
        if self._bars is None:
            self._begin([where for where, _ in tasks] if len(tasks) > 1 else [""])
        assert self._bars is not None
        for number, (_, task) in zip(self._ids, tasks, strict=True):
            part, whole = part_done(task)
            failed = f"{task['failed']:,} failed" if task["failed"] else ""
            self._bars.update(number, completed=part, total=whole, state=task["state"], failed=failed)
        self._bars.refresh()

    def _begin(self, names: Sequence[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[state]:<8}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}", style="red", markup=False),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self._ids = [self._bars.add_task(name, total=None, state="", failed="") for name in names]
        self._bars.start()
