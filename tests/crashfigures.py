"""What comes of a crash test, as a table for a person to read."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Figures:
    """What came of one run.

    :ivar columns: the counts that are shown, each with its heading; several are added.
    :ivar unseen: seconds before each kill in which the store is not known to have taken anything.
    """

    name: str
    columns: Sequence[tuple[str, tuple[str, ...]]]
    kills: int = 0
    kills_at_start: int = 0
    kills_of_database: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    unseen: list[float] = field(default_factory=list)

    def cells(self) -> list[tuple[str, str]]:
        """Each heading with its figure."""
        return [
            ("store", self.name),
            ("kills", str(self.kills)),
            ("at start", str(self.kills_at_start)),
            ("of the database", str(self.kills_of_database)),
            *((heading, str(sum(self.counts[key] for key in keys))) for heading, keys in self.columns),
            ("start: median", f"{statistics.median(self.starts):.2f} s"),
            ("longest", f"{max(self.starts):.2f} s"),
            ("unseen before a kill: longest", f"{max(self.unseen, default=0.0):.2f} s"),
        ]


def table(rows: list[Figures]) -> str:
    """The figures of some runs of one kind; a row for each figure."""
    columns = [[heading for heading, _ in rows[0].cells()]]
    columns += [[cell for _, cell in figures.cells()] for figures in rows]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for cells in zip(*columns, strict=True):
        first, *rest = [
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append("  ".join([first, *rest]))
    return "\n".join(lines)
