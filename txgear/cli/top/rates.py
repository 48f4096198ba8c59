"""
How many jobs a second came and ended, of what servers count: what it was at one look, and at one some seconds
later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]

SECONDS: Final = 10.0
"""Seconds that a rate is about."""
SHORTEST: Final = 0.9
"""Seconds between two looks, at the least: in less there is too little to count."""
COUNTED: Final = ("submitted", "completed", "failed")


def _counts(row: Row) -> tuple[float, ...] | None:
    found = tuple(row.get(name) for name in COUNTED)
    return None if None in found else found  # type: ignore[return-value]


class Rates:
    """Those of one server."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, tuple[float, ...]]]] = deque()

    def of(self, time: float, totals: Row, rows: Sequence[Row]) -> tuple[Row, list[Row]]:
        """
        Take a look.

        @param time: the age of the server.
        @param totals: of all functions, and
        @param rows: some of them, each with what is counted since the server started, and with rates of the
            server's own, which are of a longer time.
        @return: the same with rates of the last seconds, where these are known.
        """
        counts = {row["function"]: found for row in rows if (found := _counts(row)) is not None}
        if (found := _counts(totals)) is not None:
            # No function has a name without a character.
            counts[""] = found
        looks = self._looks
        if looks and time < looks[-1][0]:
            # Another server, or this one once more.
            looks.clear()
        while len(looks) > 1 and looks[1][0] <= time - SECONDS:
            looks.popleft()
        made = (
            self._rated(time, "", totals, counts),
            [self._rated(time, row["function"], row, counts) for row in rows],
        )
        if not looks or time - looks[-1][0] >= SHORTEST:
            looks.append((time, counts))
        return made

    def _rated(self, time: float, name: str, row: Row, counts: Mapping[str, tuple[float, ...]]) -> Row:
        now = counts.get(name)
        if now is None:
            return row
        for then, before in self._looks:
            if time - then < SHORTEST:
                break
            if name in before and all(a <= b for a, b in zip(before[name], now, strict=True)):
                seconds = time - then
                pairs = zip(COUNTED, before[name], now, strict=True)
                return {**row, **{f"{word}_rate": (b - a) / seconds for word, a, b in pairs}}
        return row
