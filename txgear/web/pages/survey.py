"""
What is wrong, over all functions: found while somebody looks at it, and once for all who may see the same.

To look at all functions takes up to half a second of work. So a page shows what was found last, which is a
few seconds old, while the next survey is made in pieces beside it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Final

from twisted.internet.task import SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.broker.diagnosis.diagnosis import Survey
from txgear.broker.model import Peer
from txgear.server import clusterfindings
from txgear.server.jobserver import JobServer
from txgear.web.pages.live import SPARE

PERIOD: Final = 3.0
"""Seconds between two surveys, at the least: those who look see what is new after as long."""
STALE: Final = 30.0
"""Seconds after which one is not shown any more, as nobody had it made anew."""


class _Kept:
    """
    The last survey for some who may see the same.

    @ivar at: when it was made, by the server's time.
    @ivar next: when the next one may be made.
    @ivar is_being_made: whether that is done now.
    """

    __slots__ = ("at", "is_being_made", "next", "survey")

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.at = self.next = 0.0
        self.is_being_made = False


class Surveys:
    """
    The surveys of one server.
    """

    log = Logger()

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self._kept: dict[object, _Kept] = {}

    def current(self, peer: Peer) -> Generator[None, None, Survey]:
        """
        The last survey for this peer. The first one is made while it is waited for, in steps as those of a
        look; later ones beside it.

        @param peer: who looks.
        """
        server = self._server
        key = peer.tenant, peer.rights, server.guard.access
        now = server.seconds()
        kept = self._kept.get(key)
        if kept is None or now - kept.at > STALE:
            self._forget_old(now)
            kept = _Kept(self._survey(peer))
            yield from self._made(kept, kept.survey)
            self._kept[key] = kept
        elif now >= kept.next and not kept.is_being_made:
            self._make_another(kept, peer)
        return kept.survey

    def _survey(self, peer: Peer) -> Survey:
        return clusterfindings.survey(self._server, peer)

    def _made(self, kept: _Kept, survey: Survey) -> Iterator[None]:
        """Make a survey, and keep it."""
        seconds, cost = self._server.seconds, 0.0
        begun = seconds()
        for _ in survey.steps():
            cost += seconds() - begun
            yield
            begun = seconds()
        kept.survey, kept.at = survey, seconds()
        kept.next = kept.at + max(PERIOD, cost * SPARE)

    def _make_another(self, kept: _Kept, peer: Peer) -> None:
        guard = self._server.guard
        # The connection of a request may be somebody else's by the time that it is done.
        asker = guard.stand_in(peer)
        kept.is_being_made = True

        def over(result: Any) -> None:
            kept.is_being_made = False
            guard.dismiss(asker)
            if isinstance(result, Failure) and result.check(SchedulerStopped) is None:
                self.log.failure("a defect in what is found wrong", result)

        task: Any = self._server.patient.cooperate(self._made(kept, self._survey(asker)))
        task.whenDone().addBoth(over)

    def _forget_old(self, now: float) -> None:
        for key in [key for key, kept in self._kept.items() if now - kept.at > STALE]:
            del self._kept[key]
