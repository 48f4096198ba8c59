"""
What one address of the dashboard shows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Protocol

from msgspec import Struct

from txgear.broker.model import Peer
from txgear.broker.rights import may
from txgear.server.jobserver import JobServer
from txgear.server.turns import Steps
from txgear.web.pages.board import Board

TICK_SECONDS: Final = 0.25
"""Seconds between two looks at what a page shows, at the least."""


class Maker(Protocol):
    """What a view needs of the L{Pages<txgear.web.pages.pages.Pages>} that it is one of."""

    server: JobServer

    def fragment(self, template: str, macro: str, **values: Any) -> str:
        """What a macro of a template makes."""


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a page of which nothing can be chosen."""


class View:
    """
    A page, as one identity may see it: shown once, or looked at again and again while it is kept open.

    A subclass has a template of its own, which extends C{base.html} and says C{{{ part("id") }}} and
    C{{{ rows("id") }}} where the parts are to be. The macros that make these stand in
    C{parts/} beside it, in a file of the same name.

    @cvar template: the file of its template, such as C{overview.html}.
    @cvar place: the path of the entry of the navigation that it belongs to.
    @cvar seconds: how long there is between two looks, at the least.
    @ivar title: what the page is called. It may hold any name.
    @ivar board: its parts, as of the last look.
    """

    template: ClassVar[str]
    place: ClassVar[str] = ""
    seconds: ClassVar[float] = TICK_SECONDS

    def __init__(self, pages: Maker, peer: Peer, title: str) -> None:
        """
        @param peer: who looks at it.
        """
        self.pages = pages
        self.server = pages.server
        self.broker = pages.server.broker
        self.peer = peer
        self.title = title
        self.board = Board()

    def look(self) -> Steps:
        """
        Look at the server, and L{put} and L{arrange} all that the page shows. After a piece of work of some
        milliseconds it yields: others are served before the next one. Where it yields a Deferred it goes on
        when that has fired.

        @raise Problem: what it is about is not there any more.
        """
        raise NotImplementedError

    def open(self) -> None:
        """It is kept open from now on, until L{close}."""

    def close(self) -> None:
        """Nobody keeps it open any more."""

    @property
    def is_current(self) -> bool:
        """Whether its address still stands for what it shows: another thing may have the same name by now."""
        return True

    def context(self) -> dict[str, Any]:
        """What the template is told beside its parts: what does not change while the page is open."""
        return {}

    def may(self, act: str, function: bytes = b"") -> bool:
        """Whether who looks at it may do something."""
        return may(self.peer, act, function)

    def put(self, part: str, facts: Hashable, macro: str, values: Callable[[], dict[str, Any]]) -> None:
        """
        A part is there; see L{Board.put}.

        @param macro: what makes its HTML. It is called with C{id} and with
        @param values: which are asked for only if the facts have changed.
        """
        self.board.put(part, facts, partial(self._make, part, macro, values))

    def arrange(self, rows: str, ids: Sequence[str]) -> None:
        """An element has these parts; see L{Board.arrange}."""
        self.board.arrange(rows, ids)

    def _make(self, part: str, macro: str, values: Callable[[], dict[str, Any]]) -> str:
        return self.pages.fragment(f"parts/{self.template}", macro, id=part, **values())
