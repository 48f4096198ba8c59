"""
C{/store}: where background jobs are kept, how that does, and how durable it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from txgear.broker.model import Peer
from txgear.broker.rights import METRICS, check
from txgear.broker.words import number
from txgear.histogram import Histogram
from txgear.quantities import byte_words
from txgear.server import storestate
from txgear.web.pages.charts import MARKED, bars_of, histogram_of
from txgear.web.pages.formats import count, seconds, size
from txgear.web.pages.pages import Pages, page
from txgear.web.pages.view import NoQuery, View
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

QUANTILES: Final = ("p50", "p95", "p99")


class StoreView(View):
    """How the store does."""

    template = "store.html"
    place = "/store"

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest) -> None:
        check(peer, METRICS)
        request.query(NoQuery)
        super().__init__(pages, peer, "Store")

    def look(self) -> Iterator[None]:
        """Part of L{View}."""
        found = storestate.store(self.server, self.peer)
        values = {name: found[name] for name in ("name", "state", "why", "since")}
        self.put("state", tuple(values.values()), "state", partial(self._state, values))
        report = found["report"]
        self.put("durability", repr(report), "durability", partial(self._durability, found))
        ids = []
        for name, label, value, more in _cards(found):
            self.put(
                f"card-{name}", (value, more), "card", partial(dict, label=label, value=value, more=more)
            )
            ids.append(f"card-{name}")
        self.arrange("cards", ids)
        yield
        self._latency()

    def _state(self, values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "now": self.server.seconds(), "then": self._since()}

    def _since(self) -> float:
        return 0.0 if self.server.journal is None else self.server.journal.unavailable_since

    def _durability(self, found: dict[str, Any]) -> dict[str, Any]:
        journal = self.server.journal
        reports = None if journal is None else journal.reports
        return {
            "state": found["state"],
            "report": found["report"],
            "tells": reports is not None,
            "now": self.server.seconds(),
            "asked": 0.0 if reports is None else reports.at,
        }

    def _latency(self) -> None:
        """How long commits take: lately, and since the start."""
        journal, ids = self.server.journal, []
        if journal is not None:
            figures = journal.figures
            for part, title, histogram in (
                ("latency-lately", "Commits of the last minutes", figures.lately()),
                ("latency-all", "Commits since the server started", figures.commits),
            ):
                if histogram.count:
                    self.put(part, histogram.count, "latency", partial(_figure, title, histogram))
                    ids.append(part)
        self.arrange("latency", ids)


def _cards(found: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """The figures: a name, what it is called, the value, and what else there is to say, in words."""
    yield "jobs", "Jobs that have not ended", count(found["jobs"]), ""
    yield "ended", "Ended jobs that are kept", count(found["ended"]), ""
    if found["state"] == storestate.MEMORY:
        return
    lately, rows, report = found["lately"], found["rows"], found["report"]
    yield "pending", "Changes on their way", count(found["pending_changes"]), size(found["pending_bytes"])
    spread = ", ".join(f"{name} {seconds(lately[name])}" for name in QUANTILES[1:])
    yield "commit", "A commit takes", seconds(lately["p50"]), spread if lately["count"] else "none lately"
    if rows["count"]:
        yield "batch", "Changes in a commit", f"{rows['mean']:,.1f}", f"p95 {rows['p95']:,.0f}"
    if found["queue_bytes"] is not None:
        bound = f"of {byte_words(found['queue_memory'])}; the others are read as their turn comes"
        yield "memory", "Memory of the queue", size(found["queue_bytes"]), bound
        yield "loaded", "Jobs in memory", count(found["loaded"]), "all others are in the store only"
    refused = f"and {number(found['refused_results'], 'result')}"
    yield "refused", "Jobs that it did not take", count(found["refused_jobs"]), refused
    yield "losses", "Times that it was away", count(found["losses"]), "since the server started"
    if report is not None and report["size"] is not None:
        log = "" if report["log_size"] is None else f"and {size(report['log_size'])} of log"
        yield "size", "Size of the database", size(report["size"]), log


def _figure(title: str, histogram: Histogram) -> dict[str, Any]:
    values = [histogram.quantile(share) or 0.0 for share in MARKED]
    chart: Markup = histogram_of(bars_of(histogram.bounds, histogram.counts), values, "commit")
    named = [(name, seconds(value)) for name, value in zip(QUANTILES, values, strict=True)]
    return {"title": title, "chart": chart, "quantiles": named, "times": histogram.count}


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    return [page("/store", pages.page(StoreView))]
