"""
A page in parts: each as it is now, and at which look it was found changed.

There is no queue for who keeps a page open: whoever is behind, by a moment or by a minute, is sent the parts
that have changed since then, each once and as it is now.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from hashlib import blake2b
from typing import Any

from markupsafe import Markup


def part_id(kind: str, name: bytes) -> str:
    """
    What a part is called that is about something with a name of any bytes.

    @param kind: what it is, in small letters.
    """
    return f"{kind}-{blake2b(name, digest_size=8).hexdigest()}"


class _Part:
    __slots__ = ("facts", "html", "look")

    def __init__(self, facts: Hashable, html: str, look: int) -> None:
        self.facts = facts
        self.html = html
        self.look = look


class _Rows:
    __slots__ = ("ids", "look")

    def __init__(self, ids: tuple[str, ...], look: int) -> None:
        self.ids = ids
        self.look = look


class Board:
    """
    All parts of one page.

    @ivar look: counts the looks at what the page shows.
    """

    def __init__(self) -> None:
        self.look = 0
        self._parts: dict[str, _Part] = {}
        self._rows: dict[str, _Rows] = {}

    def put(self, part: str, facts: Hashable, make: Callable[[], str]) -> None:
        """
        A part is there.

        @param part: its id in the page. What it is made of is one element with that id.
        @param facts: what tells whether it has changed. What goes by the clock, such as an age, is none: the
            page itself has it go on.
        @param make: makes its HTML; called only if it has changed.
        """
        known = self._parts.get(part)
        if known is None or known.facts != facts:
            self._parts[part] = _Part(facts, make(), self.look)

    def arrange(self, rows: str, ids: Sequence[str]) -> None:
        """
        An element has these parts and no others, in this order. Those that were there before are forgotten.

        @param rows: the element's id.
        """
        now = tuple(ids)
        known = self._rows.get(rows)
        if known is None:
            self._rows[rows] = _Rows(now, self.look)
        elif known.ids != now:
            for part in set(known.ids).difference(now):
                self._parts.pop(part, None)
            self._rows[rows] = _Rows(now, self.look)

    def html(self, part: str) -> Markup:
        """
        A part, for the page that it is in.

        @raise KeyError: there is none of that id.
        """
        return Markup(self._parts[part].html)

    def rows(self, rows: str) -> Markup:
        """The parts within an element, for the page that it is in."""
        return Markup("\n").join(self.html(part) for part in self._rows[rows].ids)

    def news(self, since: int) -> dict[str, Any]:
        """
        What has changed after a look.

        @return: C{parts}, the HTML of each by its id, and C{rows}, the ids of the parts within each element
            of which that has changed.
        """
        parts = {name: part.html for name, part in self._parts.items() if part.look > since}
        rows = {name: rows.ids for name, rows in self._rows.items() if rows.look > since}
        return {"parts": parts, "rows": rows}
