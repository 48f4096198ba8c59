"""
Jobs that are asked for and are no more: whoever polls for one need not cost a read of the store each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MOST_GONE: Final = 10_000
"""Numbers that are remembered at least, and half of what is at the most: 2 MB."""


class Gone:
    """
    The numbers, those asked for last, of jobs of which it is known that there are no more. No job ever gets
    one of them again.
    """

    __slots__ = ("_earlier", "_last")

    def __init__(self) -> None:
        self._last: set[int] = set()
        self._earlier: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number in self._last or number in self._earlier

    def update(self, numbers: Iterable[int]) -> None:
        """These are gone."""
        for number in numbers:
            self._last.add(number)
            if len(self._last) == MOST_GONE:
                self._earlier, self._last = self._last, set()
