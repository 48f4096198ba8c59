"""
Which peers wait for our acknowledgements, and whether it helps to send them at once.

Many libraries write the end of a job and the request for the next one in two writes, with Nagle's
algorithm on: their system keeps the second back until the first is acknowledged. There is no answer
to the first that could carry the acknowledgement, so our system delays it, by 40 ms on Linux, and
such a worker does 22 jobs a second, whatever they are. TCP_QUICKACK sends it at once. Doing that
after each read takes a fifth off a busy server, so it is done where it is known to help.

Nothing here knows a socket or a clock.
"""

from __future__ import annotations

from typing import Final

DELAYED_FROM: Final = 0.036
"""Seconds of the shortest delayed acknowledgement: 40 ms by a clock that ticks each 4 ms."""
DELAYED_TO: Final = 0.060
"""Seconds of one that the system, or we, were late to send or to see."""
SUSPICIONS: Final = 3
"""Delayed packets after which a connection is marked; fewer may be chance."""
MOST_SUSPICIONS: Final = 96
"""The same for one that was marked in vain again and again: four seconds that are lost if it was not."""
VAIN: Final = 3
"""Acknowledgements without an effect, one after the other, after which the mark is taken away."""
FIRST_TRIAL: Final = 10_000
"""
Acknowledgements at once until one is left out, to see whether they are needed at all. A peer that needs
them loses 40 ms by it, so the next trial comes after twice as many.
"""
LONGEST_TRIAL: Final = 64 * FIRST_TRIAL
"""Where that ends."""


class Tally:
    """@ivar given: how often all connections together were acknowledged at once, those that are gone too."""

    __slots__ = ("given",)

    def __init__(self) -> None:
        self.given = 0


class QuickAcks:
    """
    The rule for one connection.

    @ivar marked: whether the peer is acknowledged at once where it is not answered.
    @ivar given: how often it was.
    """

    __slots__ = ("_delayed", "_left", "_seen", "_tally", "_trial", "_vain", "_wanted", "given", "marked")

    def __init__(self, tally: Tally) -> None:
        """
        @param tally: counts for all connections.
        """
        self.marked = False
        self.given = 0
        self._tally = tally
        self._seen = 0
        self._wanted = SUSPICIONS
        self._vain = 0
        self._delayed = False
        self._trial = self._left = FIRST_TRIAL

    def came(self, gap: float, round_trip: float) -> None:
        """
        A packet has come after one that was not answered.

        Only those need to be told that came L{DELAYED_FROM} after it, or later.

        @param gap: seconds between the two.
        @param round_trip: seconds that an acknowledgement and what it sets free are under way.
        """
        if not DELAYED_FROM <= gap - round_trip <= DELAYED_TO:
            return
        if not self.marked:
            self._seen += 1
            if self._seen >= self._wanted:
                self.marked = True
                self._seen = self._vain = 0
        elif self._left:
            # It was acknowledged at once, and came no sooner: that is how long it works.
            self._vain += 1
            if self._vain == VAIN:
                self.marked = False
                self._wanted = min(2 * self._wanted, MOST_SUSPICIONS)
        self._delayed = True

    def unanswered(self) -> bool:
        """
        What a marked peer has sent is not answered.

        @return: whether to acknowledge it at once.
        """
        delayed, self._delayed = self._delayed, False
        if not delayed:
            self._vain = 0
        if not self._left:
            # The last one was left out.
            self._trial = self._left = min(2 * self._trial, LONGEST_TRIAL)
            if not delayed:
                self.marked = False
                return False
        self._left -= 1
        if not self._left:
            return False
        self.given += 1
        self._tally.given += 1
        return True
