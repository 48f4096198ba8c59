"""
Lists in pages whose rows may be few and far between: they are looked for in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from twisted.internet.defer import Deferred

from txgear.broker.operators.search import Bounds, Search
from txgear.web.loading import not_read

PIECE: Final = Bounds(work=2000, numbers=20_000)
"""What is looked at before others are served: two milliseconds."""
MOST_PIECES: Final = 500
"""Of them for one page: a million jobs, about a second in all. Then who asks is asked whether to go on."""

Find: TypeAlias = "Callable[[Search, Bounds], dict[str, Any] | Deferred[dict[str, Any] | None]]"
"""
Makes a page of C{jobs} and C{next}, or fires with one; see L{txgear.broker.operators.listing.find}.
"""


class Found(NamedTuple):
    """
    A page.

    @ivar rows: as many as there is room for; fewer where they are the last, or where it was enough looking.
    @ivar next: behind which number it goes on; C{None} at the end.
    @ivar pieces: in how many it was found.
    """

    rows: list[dict[str, Any]]
    next: int | None
    pieces: int


def look_through(
    find: Find, search: Search, bounds: Bounds = PIECE, most: int = MOST_PIECES
) -> Generator[Deferred[None] | None, None, Found]:
    """
    Look for the rows of a page; others are served at each C{yield}.

    @param most: pieces.
    @return: what was found.
    @raise Problem: the store does not answer.
    """
    rows: list[dict[str, Any]] = []
    after, pieces = search.after, 0
    while True:
        piece = yield from _made(find(replace(search, after=after, limit=search.limit - len(rows)), bounds))
        rows += piece["jobs"]
        pieces += 1
        if piece["next"] is None or len(rows) == search.limit or pieces == most:
            return Found(rows, piece["next"], pieces)
        after = piece["next"]
        yield None


def _made(
    page: dict[str, Any] | Deferred[dict[str, Any] | None],
) -> Generator[Deferred[None] | None, None, dict[str, Any]]:
    """A page, once it is there."""
    if not isinstance(page, Deferred):
        return page
    found: list[dict[str, Any] | None] = []
    is_there = page.addCallback(found.append)
    if not found:
        yield is_there
    if found[0] is None:
        raise not_read()
    return found[0]
