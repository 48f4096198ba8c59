"""
C{/workers}: who works, and how each is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlencode

from msgspec import UNSET, Struct

from txgear.broker.model import Peer
from txgear.broker.operators import workers
from txgear.broker.operators.inspection import moment
from txgear.broker.operators.search import Bounds, Search
from txgear.broker.operators.workforce import (
    ABSENT,
    ASLEEP,
    AWAKE,
    BUSY,
    LATE,
    PAUSED,
    SILENT,
    UNREAD,
    UNUSED,
    WOKEN,
)
from txgear.broker.rights import PEERS, knows
from txgear.protocol.textlines import text
from txgear.server.turns import Steps
from txgear.web.api.models import After, Word, search_of
from txgear.web.api.workers import WorkerSearch
from txgear.web.pages.listing import Find, look_through
from txgear.web.pages.pages import Pages, page
from txgear.web.pages.view import View
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

ROWS: Final = 100
"""Workers of one page."""
SHOWN: Final = 3
"""Functions, and jobs in hand, that are named of each."""
TROUBLED: Final = 20
"""Workers that are silent or late which are shown before all others."""
WANTED: Final = 10
"""Functions without a worker that are named."""
PIECE: Final = Bounds(work=1000)
"""Workers that are looked at in one piece of work, and functions of theirs: some two milliseconds."""
AT_ONCE: Final = 10
"""Rows that are made in one piece of work: a millisecond where all have changed."""
RECENT: Final = 10.0
"""
Seconds within which a worker was heard of just now. One that works is heard of many times in a second, and
its row is not to change with each.
"""
HEARD_STEP: Final = 60.0
"""Seconds by which the time since one was heard of grows until its row is made anew; it goes on meanwhile."""

PATH: Final = "/workers"

LABELS: Final = {
    BUSY: "Busy",
    ASLEEP: "Asleep",
    AWAKE: "Awake",
    WOKEN: "Woken",
    PAUSED: "Paused",
    UNUSED: "Unused",
    LATE: "Late",
    SILENT: "Silent",
    ABSENT: "Absent",
    UNREAD: "Not read",
}
"""What conditions are called, in the order of the tabs."""

Condition = Literal[
    "", "absent", "paused", "unused", "asleep", "woken", "busy", "unread", "late", "silent", "awake"
]


class WorkersQuery(Struct, frozen=True, kw_only=True):
    """
    Which workers are shown. What is empty is for all.

    @ivar condition: how they are.
    @ivar function: a pattern for one of their functions.
    @ivar worker: a part of what they call themselves, or of the address of one that has no name.
    @ivar group: their group.
    @ivar host: their machine.
    @ivar id: what they are called.
    @ivar after: the number after which the page begins.
    """

    condition: Condition = ""
    function: Word = ""
    worker: Word = ""
    group: Word = ""
    host: Word = ""
    id: Word = ""
    after: After = 0


_FILTERS: Final = ("function", "worker", "group", "host", "id")


def address(wanted: WorkersQuery, **other: str | int) -> str:
    """
    The address of this page for a query.

    @param other: what differs from it.
    """
    kept = {name: getattr(wanted, name) for name in ("condition", *_FILTERS)}
    found = {name: value for name, value in {**kept, **other}.items() if value}
    return f"{PATH}?{urlencode(found)}" if found else PATH


class Workers(View):
    """All workers, those first that something is wrong with."""

    template = "workers.html"
    place = PATH
    # Those that work fall asleep and wake many times in a second.
    seconds = 1.0

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest) -> None:
        super().__init__(pages, peer, "Workers")
        self._query = wanted = request.query(WorkersQuery)
        self._search: Search = search_of(
            WorkerSearch(
                **{name: getattr(wanted, name) or UNSET for name in _FILTERS},
                after=wanted.after,
                limit=ROWS,
            )
        )
        self._troubled: Search = search_of(WorkerSearch(limit=TROUBLED))
        self._all = wanted == WorkersQuery()

    def context(self) -> dict[str, Any]:
        """Part of L{View}."""
        return {"query": self._query, "overview": self._all}

    def look(self) -> Steps:
        """Part of L{View}."""
        wanted = self._query
        self._put_tabs()
        if self._all:
            yield from self._put_wanted()
            troubled = yield from look_through(self._find(SILENT, LATE), self._troubled, PIECE)
            yield None
            yield from self._put_rows("troubled", "trouble", troubled.rows)
        find = self._find(wanted.condition) if wanted.condition else self._find()
        found = yield from look_through(find, self._search, PIECE)
        yield None
        yield from self._put_rows("workers", "worker", found.rows)
        following = None if found.next is None else address(wanted, after=found.next)
        first = address(wanted) if wanted.after else None
        shown = len(found.rows)
        values = {"shown": shown, "first": first, "following": following}
        values |= {"every": self._all, "all": self.may(PEERS)}
        self.put("more", tuple(values.values()), "more", lambda: values)

    def _find(self, *how: str) -> Find:
        """Finds those that are like that, a piece at a time."""

        def find(search: Search, bounds: Bounds) -> dict[str, Any]:
            now = self.server.seconds()
            found = workers.workers(self.broker, self.peer, search, now, how, bounds)
            return {"jobs": found["workers"], "next": found["next"]}

        return find

    def _put_tabs(self) -> None:
        census, wanted = self.server.census, self._query
        counted = census.workers(self.peer) if census.at else None
        tabs = [("", "All", None if counted is None else counted.total())]
        tabs += [(how, label, None if counted is None else counted[how]) for how, label in LABELS.items()]
        facts = tuple(count for _, _, count in tabs)
        values = [
            {
                "label": label,
                "count": count,
                "path": address(wanted, condition=how),
                "here": how == wanted.condition,
            }
            for how, label, count in tabs
        ]
        self.put("tabs", facts, "tabs", lambda: {"tabs": values})

    def _put_wanted(self) -> Iterator[None]:
        """Which functions have jobs that nobody has, and nobody to do them."""
        found = [
            function
            for function in self.broker.functions.by_name.values()
            if not function.workers and knows(self.peer, function) and function.total > function.running
        ]
        yield
        named = [(text(function.name), function.total - function.running) for function in found[:WANTED]]
        more = len(found) - len(named)
        facts = tuple(named), more
        self.put("wanted", facts, "wanted", lambda: {"functions": named, "more": more})

    def _put_rows(self, rows: str, kind: str, found: list[dict[str, Any]]) -> Iterator[None]:
        ids = []
        now = self.server.wall_clock()
        recent = moment(now - RECENT) or ""
        for index, row in enumerate(found):
            # An absent worker may have had the number that another one has by now.
            part = f"{kind}-{row['descriptor']}{'-absent' if row['absent'] else ''}"
            self.put(part, facts_of(row, recent), "worker_row", partial(values_of, row, now, recent))
            ids.append(part)
            if index % AT_ONCE == AT_ONCE - 1:
                yield
        self.arrange(rows, ids)


def name_of(row: Mapping[str, Any]) -> str:
    """What a worker, or another connection, is called, or where it comes from."""
    return row.get("id") or row["client_id"] or f"{row['address']} {row['descriptor']}"


def unused_of(row: Mapping[str, Any]) -> list[str]:
    """The functions that a worker knows, and does not do now."""
    return [each["function"] for each in row["counts"] if not each["in_use"]]


def facts_of(row: Mapping[str, Any], recent: str) -> tuple[Hashable, ...]:
    """
    What tells whether the row of a worker has changed. Of what changes all the time there is only as much as
    is to be seen.

    @param row: what L{txgear.broker.operators.workers.worker} says of it.
    @param recent: L{RECENT} seconds ago.
    """
    return (
        *(row[name] for name in ("descriptor", "id", "address", "identity", "encrypted", "enrolled")),
        *(row[name] for name in ("group", "host", "pid", "version", "started", "absent")),
        *(row[name] for name in ("condition", "silent", "functions", "jobs")),
        *row["names"][:SHOWN],
        tuple(unused_of(row)[:SHOWN]),
        *((job["handle"], job["began"]) for job in row["in_hand"][:SHOWN]),
        row["asked"] if settled(row, recent) else None,
        None if row["heard"] is None else row["heard"] < RECENT or round(row["heard"] / HEARD_STEP),
    )


def values_of(row: Mapping[str, Any], now: float, recent: str) -> dict[str, Any]:
    """
    What the row of a worker is made of.

    @param now: the time by the wall clock.
    @param recent: L{RECENT} seconds before.
    """
    heard, idle = row["heard"], row["idle"]
    return {
        "worker": row,
        "name": name_of(row),
        "unused": unused_of(row),
        "shown": SHOWN,
        "settled": settled(row, recent),
        "idle_since": None if idle is None else moment(now - idle),
        "recent": heard is not None and heard < RECENT,
        "heard_at": None if heard is None else moment(now - heard),
    }


def settled(row: Mapping[str, Any], recent: str) -> bool:
    """
    Whether a worker has been like that for a while: since it asked last.

    @param recent: L{RECENT} seconds ago.
    """
    return row["condition"] in (ASLEEP, LATE, SILENT) and row["asked"] is not None and row["asked"] < recent


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    return [page(PATH, pages.page(Workers))]
