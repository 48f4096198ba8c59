"""
When a child is started in the place of one that has ended: later and later, if they end as soon as they
begin.
"""

from __future__ import annotations

from typing import Final

QUICK_SECONDS: Final = 10.0
"""A child that has lived for so long has not ended as soon as it began."""
MOST_SECONDS: Final = 60.0
"""Between two starts at the most."""


class Backoff:
    """
    A second after the first that ended at once, then twice as long each time.

    @ivar not_before: when the next one may be started, by the monotonic clock.
    @ivar failures: how many have ended at once, one after the other.
    """

    def __init__(self) -> None:
        self.not_before = 0.0
        self.failures = 0

    def has_ended(self, now: float, lived: float) -> None:
        """
        One has ended by itself.

        @param lived: for how many seconds it was there.
        """
        if lived >= QUICK_SECONDS:
            self.forget()
        else:
            self.failures += 1
            # A float has no power of two beyond the thousandth, and a night has more failures than that.
            self.not_before = now + min(2.0 ** min(self.failures - 1, 10), MOST_SECONDS)

    def forget(self) -> None:
        """Whatever was wrong has been changed."""
        self.failures = 0
        self.not_before = 0.0
