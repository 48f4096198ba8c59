"""
Transactions that another one has undone are run again: at once, on the same connection, a few times.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from txgear.stores.verdicts import Verdict

T = TypeVar("T")

MOST_REPEATS: Final = {Verdict.CONFLICT: 9, Verdict.DUPLICATE: 2}
"""
How often it is run again. With the pauses that takes a second at the most: whoever waits for the store has
five. A key that is there twice by mistake is no reason to write a large batch ten times.
"""
FIRST_PAUSE: Final = 0.005
"""Seconds before the first repeat at the most; each further one may take twice as long."""
LAST_PAUSE: Final = 0.2
"""Seconds before a repeat at the most."""


class Undone(Exception):
    """
    A transaction was undone, and may be run again.

    @ivar verdict: C{CONFLICT} or C{DUPLICATE}.
    """

    def __init__(self, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict


class Repeats:
    """Runs what raises L{Undone} again."""

    def __init__(
        self, sleep: Callable[[float], None] = time.sleep, chance: Callable[[], float] = random.random
    ) -> None:
        """
        @param sleep: blocks the store's thread for some seconds.
        @param chance: a number from 0 to 1; two servers that have met are not to meet again.
        """
        self._sleep = sleep
        self._chance = chance

    def run(self, attempt: Callable[[], T]) -> T:
        """
        @param attempt: does it all, from the beginning.
        @raise Undone: by the last repeat, too.
        """
        repeats = 0
        while True:
            try:
                return attempt()
            except Undone as undone:
                if repeats >= MOST_REPEATS[undone.verdict]:
                    raise
            self._sleep(self._chance() * min(FIRST_PAUSE * 2.0**repeats, LAST_PAUSE))
            repeats += 1
