"""
For how long something in a database has surely stood still.

Nobody's clock is compared with another's: what has not moved from one look to the next has stood still for as
long as that was, if whoever moves it could have done so all the time.
"""

from __future__ import annotations

from typing import Final

SLOW: Final = 1.0
"""Seconds of a look after which nobody knows whether others could have written meanwhile."""


class Looks:
    """
    Looks at a database, one after the other. A slow one begins all anew, and so does a time without any.

    @ivar since: the end of the first look since which others could have written all the time.
    """

    def __init__(self, gap: float) -> None:
        """
        @param gap: seconds without a look after which nobody knows how the database was.
        """
        self.since = 0.0
        self._gap = gap
        self._looked: float | None = None

    def looked(self, asked: float, answered: float) -> None:
        """
        @param asked: when it was asked, by a monotonic clock;
        @param answered: when the answer was there.
        """
        last, self._looked = self._looked, answered
        if last is None or answered - asked > SLOW or asked - last > self._gap:
            self.since = answered

    def begin(self) -> None:
        """What was seen before tells nothing."""
        self._looked = None
