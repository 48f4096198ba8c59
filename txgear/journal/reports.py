"""
What the store says of itself: asked when it is opened, and each minute from then on.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txgear.broker.records import StoreReport
from txgear.errors import StoreRefused
from txgear.journal.link import Link

if TYPE_CHECKING:
    from txgear.interfaces import IReportingStore

AGAIN_SECONDS: Final = 60.0
"""Seconds after which it is asked again: somebody may change a setting of the database."""
FAILURES: Final = 2
"""Questions that fail one after the other, after which there are no more."""


class Reports:
    """
    Asks the store, and says in the log what may cost jobs that were answered.

    @ivar last: what it has said last; C{None} where that is not known yet.
    @ivar at: when that was, by the clock.
    """

    log = Logger()

    def __init__(self, link: Link, store: IReportingStore, clock: IReactorTime) -> None:
        """
        @param store: the one that the link leads to.
        """
        self.last: StoreReport | None = None
        self.at = 0.0
        self._link = link
        self._store = store
        self._clock = clock
        self._due = -inf
        self._failures = 0

    @property
    def ready(self) -> bool:
        """Whether it is time to ask."""
        return self._clock.seconds() >= self._due and not self._link.closing

    def renew(self) -> None:
        """The store has been opened again: ask soon."""
        if self._failures < FAILURES:
            self._due = -inf

    def start(self) -> None:
        """Ask: it is L{ready}, and the link is open. That it fails says nothing of jobs."""
        store = self._store
        self._due = self._clock.seconds() + AGAIN_SECONDS

        def ask(store_again: object) -> StoreReport | None:
            try:
                return store.report()
            except StoreRefused:
                return None

        self._link.call(ask, self._said, self._failed, is_read=True)

    def _said(self, report: StoreReport | None) -> None:
        if report is None:
            self._failed()
            return
        self._failures = 0
        before = () if self.last is None else self.last.doubts
        for doubt in report.doubts:
            if doubt not in before:
                self.log.warn("the store {store}: {doubt}", store=self._link.name, doubt=doubt)
        self.last, self.at = report, self._clock.seconds()

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            self._due = inf
            self.log.warn(
                "the store {store} does not say how durable it is, and is not asked any more",
                store=self._link.name,
            )
