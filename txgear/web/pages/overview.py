"""
C{/}: what is wrong, the server at a glance, and its functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from txgear.broker.model import Function, Peer
from txgear.broker.operators.inspection import moment
from txgear.broker.rights import DROP, METRICS, PEERS, SETTINGS
from txgear.protocol.constants import DEFAULT_PORT
from txgear.protocol.textlines import text
from txgear.server import clusterstate
from txgear.server.figureseries import SPANS
from txgear.web.api.functionlist import (
    FunctionList,
    FunctionQuery,
    Sums,
    dead_of,
    droppable,
    queued_of,
)
from txgear.web.pages import troubles
from txgear.web.pages.board import part_id
from txgear.web.pages.lately import Recent
from txgear.web.pages.pages import Pages, page
from txgear.web.pages.survey import Surveys
from txgear.web.pages.troubles import TroubleView
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

MOST_TROUBLES: Final = 20
"""Functions of which it is said what is wrong; of the others how many there are, and where."""
STEP: Final = 5
"""Rows of functions that are made in one step: a millisecond or two, where all are new."""
HOUR: Final = SPANS[0].seconds * SPANS[0].steps

COLUMNS: Final = (
    ("Function", "name", False),
    ("Out per second", "rate", True),
    ("Queued", "queued", True),
    ("Oldest", "oldest", True),
    ("Running", "running", True),
    ("Later", "", True),
    ("Workers", "workers", True),
    ("Failed in 1 h", "", True),
    ("Dead", "dead", True),
    ("Wait p50, p95", "", True),
)
"""Of the list of functions: the head, what it is sorted by, and whether it has numbers."""


class Overview(TroubleView):
    """
    What is wrong, the server, and a page of its functions.
    """

    template = "overview.html"
    place = "/"
    most = MOST_TROUBLES

    def __init__(self, surveys: Surveys, pages: Pages, peer: Peer, request: WebRequest) -> None:
        super().__init__(surveys, pages, peer, "Overview")
        self._query = request.query(FunctionQuery)
        self._history = pages.web.history
        self._recent = Recent(self._history)
        self._list = FunctionList(self.broker, peer, self._query, self._recent.rate)
        # Those that are in the history alone, so that they need not be made for each look.
        self._past: dict[bytes, Function] = {}
        scheme = "https" if request.isSecure() else "http"
        self._web = f"{scheme}://{request.header('Host', '127.0.0.1:4780')}"

    def look(self) -> Iterator[None]:
        """Part of L{View}."""
        self._recent.begin()
        yield from self._list.steps(self._gone())
        self._cards(self._list.sums)
        yield from self.look_at_troubles()
        ids = []
        for count, function in enumerate(self._list.rows, 1):
            part = part_id("function", function.name)
            values = self._row(function)
            self.put(part, tuple(values.values()), "function_row", partial(self._with_age, function, values))
            ids.append(part)
            if count % STEP == 0:
                yield
        self.arrange("functions", ids)
        self._under()

    def context(self) -> dict[str, Any]:
        """Part of L{View}."""
        query = self._query
        heads = []
        for label, sort, is_number in COLUMNS:
            path = self._path(sort=sort) if sort else ""
            order = ("ascending" if sort == "name" else "descending") if sort == query.sort else ""
            heads.append({"label": label, "path": path, "order": order, "is_number": is_number})
        return {
            "query": query,
            "heads": heads,
            "all": "/" if query.function else "",
            "others": clusterstate.not_listed(self.server, self.peer),
        }

    def _path(self, **changes: Any) -> str:
        """The path of another page of this list, the first one if nothing else is said."""
        words = {"function": self._query.function, "sort": self._query.sort, **changes}
        said = {name: value for name, value in words.items() if value and (name, value) != ("sort", "name")}
        return f"/?{urlencode(said)}" if said else "/"

    # Functions

    def _gone(self) -> list[Function]:
        """Functions that nobody uses now, but that had jobs in the last hour."""
        broker = self.broker
        known, counted = broker.functions.by_name, broker.statistics.by_name
        since = self.server.seconds() - HOUR
        past = {}
        for name, series in self._history.by_name.items():
            if name not in known and series.newest() > since and (counts := counted.get(name)) is not None:
                past[name] = self._past.get(name) or Function(name, counts)
        self._past = past
        return list(past.values())

    def _row(self, function: Function) -> dict[str, Any]:
        own = function.counts is not self.broker.statistics.other
        lately, throttle = self._recent.of(function, own), function.throttle
        seen, since = self.server.census.of(function), function.waiting_since
        return {
            "name": text(function.name),
            "paused": function.paused,
            "limited": throttle is not None and (throttle.concurrency, throttle.rate) != (None, None),
            "rate": lately.rate,
            "ended": lately.ended,
            "lengths": lately.queued,
            "queued": queued_of(function),
            "oldest": moment(self.broker.timers.wall(since)) if since else None,
            "running": function.running,
            "later": function.waiting,
            "workers": len(function.workers),
            "asleep": seen.asleep,
            "busy": seen.busy,
            "silent": seen.silent,
            "failed": lately.failed,
            "dead": dead_of(self.broker, function),
            "wait": lately.wait,
            "droppable": droppable(self.broker, function) and self.may(DROP, function.name),
        }

    def _with_age(self, function: Function, values: dict[str, Any]) -> dict[str, Any]:
        since = function.waiting_since
        return {**values, "age": self.server.seconds() - since if since else None}

    def _under(self) -> None:
        """What stands under the list."""
        found = self._list
        if not found.matched:
            part = "no-match" if self._query.function else "no-function"
            values = {"web": self._web, "port": self._gear_port()}
            self.put(part, tuple(values.values()), part.replace("-", "_"), lambda: values)
            self.arrange("under", [part])
            return
        after = None
        if found.next is not None:
            behind, name = found.next
            after = self._path(behind=repr(behind) if behind else "", after=text(name))
        first = self._path() if self._query.after else None
        facts = found.matched, len(found.rows), after, first
        names = "matched", "shown", "after", "first"
        self.put("more", facts, "more", lambda: dict(zip(names, facts, strict=True)))
        self.arrange("under", ["more"])

    def _gear_port(self) -> str:
        """The number of the port for jobs; empty where it is Gearman's own, is not known, or may not be."""
        if self.may(SETTINGS):
            for port in self.server.setup.ports():
                if port.speaks == "gear" and not port.tls:
                    number = port.place.rpartition(":")[2]
                    return number if number.isdigit() and number != str(DEFAULT_PORT) else ""
        return ""

    # The server

    def _cards(self, sums: Sums) -> None:
        """The server in a few numbers, each of which leads to where there is more of it."""
        broker, server = self.broker, self.server
        ids = []

        def card(
            name: str, label: str, path: str, value: float | str, form: str = "count", more: str = ""
        ) -> None:
            values = {"label": label, "path": path, "value": value, "form": form, "more": more}
            self.put(f"card-{name}", tuple(values.values()), "card", lambda: values)
            ids.append(f"card-{name}")

        card("queued", "Jobs queued", "/jobs?state=queued", sums.queued)
        card("running", "Jobs running", "/jobs?state=running", sums.running)
        card("later", "Jobs for later", "/jobs?state=waiting", sums.delayed)
        card("dead", "Dead jobs", "/dead", sums.dead)
        metrics = self.may(METRICS)
        if metrics:
            submitted, completed, failed = self._history.rates(self._history.total)
            lost = f"{failed:.2g} of them failed" if failed else ""
            card("in", "In per second", "/server", submitted, "rate")
            card("out", "Out per second", "/server", completed + failed, "rate", lost)
        if self.may(PEERS):
            seen = server.census.total
            how = [f"{seen.busy:,} busy", f"{seen.asleep:,} asleep"]
            how += [f"{seen.silent:,} silent"] if seen.silent else []
            card("workers", "Workers", "/workers", seen.known, more=", ".join(how))
        if metrics:
            card("connections", "Connections", "/server", len(broker.peers))
            journal = server.journal
            closes = journal is not None and journal.closing
            down = journal is not None and journal.unavailable is not None and not closes
            card("store", "Store", "/store", "does not answer" if down else "works", "text")
            drains = broker.dispatcher.draining or closes
            card("server", "Server", "/server", "is to end" if drains else "serves", "text")
        self.arrange("cards", ids)


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    surveys = Surveys(pages.server)
    return [page("/", pages.page(partial(Overview, surveys))), troubles.route(pages, surveys)]
