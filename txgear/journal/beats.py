"""
The beats of a store that other servers watch: as long as it changes, this server lives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from txgear.journal.link import OPEN, Link
from txgear.journal.timer import Timer

if TYPE_CHECKING:
    from txgear.interfaces import ILeasedStore


class Beats:
    """
    Has the store renewed where nothing else has changed it. All changes count, so a server that has a lot to
    do never asks for more.
    """

    def __init__(
        self, link: Link, store: ILeasedStore, clock: IReactorTime, turn_ended: Callable[[], None]
    ) -> None:
        """
        @param store: the one that the link leads to.
        @param turn_ended: called when it may be time.
        """
        self._link = link
        self._store = store
        self._clock = clock
        self._turn_ended = turn_ended
        self._timer = Timer(clock, self._look)

    @property
    def _left(self) -> float:
        """Seconds until it is time."""
        return self._link.changed_at + self._store.beat_seconds - self._clock.seconds()

    def due(self) -> bool:
        """Whether it is time; if not, the turn ends again when it may be."""
        left = self._left
        if not self._timer.running:
            self._timer.start(left if left > 0 else self._store.beat_seconds)
        return left <= 0

    def start(self) -> None:
        """Renew: it is L{due}, and the link is open. A failure is that of any other change."""
        store = self._store
        self._link.call(lambda store_again: store.renew(), lambda renewed: None)

    def _look(self) -> None:
        """A timer for each change would cost more than one that looks when it has ended."""
        if self._left <= 0 and self._link.state is OPEN:
            self._turn_ended()
        if not self._timer.running:
            self.due()

    def stop(self) -> None:
        """Renew no more."""
        self._timer.cancel()
