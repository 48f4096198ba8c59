"""
A page of a list of jobs: those that are looked for, what can be done to them, and what comes after them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred

from txgear.broker.model import Peer
from txgear.broker.operators.search import Bounds, Search
from txgear.protocol.textlines import unescaped
from txgear.server.turns import Steps
from txgear.web.answers import Problem
from txgear.web.loading import page_of
from txgear.web.pages import filters
from txgear.web.pages.bulk import Wish
from txgear.web.pages.listing import MOST_PIECES, PIECE, Found, look_through
from txgear.web.pages.view import Maker, View

IDLE_SECONDS: Final = 10.0
"""Seconds for which a search that takes long is not repeated where nothing has changed that it is for."""


class JobList(View):
    """
    Subclasses say which jobs.

    @cvar bounds: what is looked at in one piece of work.
    @cvar pieces: of how many a search is at the most.
    @cvar rest: the macro that makes what stands below the list.
    @ivar of: in which list they are: C{jobs}, C{dead} or C{kept}.
    @ivar acts: what can be done to such jobs.
    @ivar words: the filter, as it was said.
    @ivar wrong: what of it makes no sense, and why.
    @ivar search: which jobs, as far as it makes sense.
    @ivar found: the page, as of the last look at the jobs.
    """

    bounds: ClassVar[Bounds] = PIECE
    pieces: ClassVar[int] = MOST_PIECES
    rest: ClassVar[str]
    acts: tuple[str, ...] = ()

    def __init__(
        self,
        pages: Maker,
        peer: Peer,
        title: str,
        of: str,
        words: dict[str, bytes],
        after: int,
    ) -> None:
        """
        @param of: in which list: C{jobs}, C{dead} or C{kept}.
        @param after: the number behind which the page begins.
        """
        super().__init__(pages, peer, title)
        known = filters.known(of)
        self.of = of
        self.words = words
        self.wrong = filters.problems(words, known)
        search = Search() if self.wrong else Search.parse(words, known)
        self.search = replace(search, after=after)
        self.found: Found | None = None
        self._stamp: object = None
        self._looked_at = 0.0

    def address(self, after: int | None = None) -> str:
        """
        The address of a page of this list.

        @param after: the number behind which it begins; C{None} for the first one.
        """
        raise NotImplementedError

    def find(self, search: Search, bounds: Bounds) -> Deferred[dict[str, Any] | None]:
        """Look for some of them."""
        return page_of(self.server, self.peer, self.of, search, bounds)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What was found."""
        return [] if self.found is None else self.found.rows

    @property
    def takes_long(self) -> bool:
        """Whether others had to be served while the jobs were looked for."""
        return self.found is not None and self.found.pieces > 1

    def look_at_jobs(self, stamp: object) -> Steps:
        """
        Look for those of this page. What takes long is done only where it may come to something else. While
        the store does not answer the page stays as it is.

        @param stamp: changes when a job may be one of them, or none of them any more.
        """
        if self.wrong:
            self.found = Found([], None, 0)
            return
        now = self.server.seconds()
        if self.takes_long and stamp == self._stamp and now - self._looked_at < IDLE_SECONDS:
            return
        self._stamp, self._looked_at = stamp, now
        try:
            self.found = yield from look_through(self.find, self.search, self.bounds, self.pieces)
        except Problem:
            if self.found is None:
                raise

    @staticmethod
    def part_of(row: dict[str, Any]) -> str:
        """The id of the part that a row is."""
        return f"job-{row['handle'].rpartition(':')[2]}"

    def put_rest(self) -> None:
        """What can be done to those that are shown, and what comes after them."""
        found = self.found
        assert found is not None
        functions = {unescaped(row["function"].encode("utf-8")) for row in found.rows}
        acts = tuple(
            act for act in self.acts if any(self.may(Wish(act).right, function) for function in functions)
        )
        wishes = [Wish(act) for act in acts]
        for part in ("chosen", "everything"):
            self.put(part, acts, "acts", partial(dict, wishes=wishes, chosen=part == "chosen"))
        shown = len(found.rows)
        full = shown == self.search.limit
        self.put(
            "end",
            (shown, found.next, full),
            self.rest,
            lambda: {
                "shown": shown,
                "wrong": bool(self.wrong),
                "full": full,
                "next": found.next,
                "last": self.broker.table.last_number,
                "more": None if found.next is None else self.address(found.next),
                "first": self.address() if self.search.after else None,
                "said": filters.in_words(self.words),
            },
        )
