"""
How much is read from a store at once, so that what cannot be read costs nobody else anything.
"""

from __future__ import annotations

from typing import Final

AT_ONCE: Final = 24
"""
Reads that fail one after the other and are followed by the next at once: one of a thousand is
found by halves, and tried again, with a dozen.
"""
PAUSE: Final = 1.0
"""Seconds to the next read after more than these: a store that reads nothing is not to be kept busy by it."""


class Portion:
    """
    The next piece of what is to be read: half as much after a read that failed, twice as much after
    one that did not. What cannot be read by itself, tried twice, is given up.

    @ivar size: how many are read at once.
    """

    __slots__ = ("_failures", "_most", "_second", "size")

    def __init__(self, most: int) -> None:
        """
        @param most: how many are read at once where all is well.
        """
        self._most = most
        self.size = most
        self._failures = 0
        self._second = False

    def succeeded(self) -> None:
        """That many were read."""
        self.size = min(2 * self.size, self._most)
        self._failures = 0
        self._second = False

    def failed(self, count: int) -> bool:
        """
        That many could not be read together.

        @return: whether that was the one that is to be given up.
        """
        self._failures += 1
        self.size = max(count // 2, 1)
        given_up = count == 1 and self._second
        self._second = count == 1 and not given_up
        return given_up

    @property
    def pause(self) -> float:
        """Seconds until the next read, after one that failed."""
        return PAUSE if self._failures > AT_ONCE else 0.0
