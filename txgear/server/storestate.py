"""
What can be seen of the store: how it does, and what it has said of itself.

All of it is plain, as in L{txgear.broker.operators.inspection}.
"""

from __future__ import annotations

from typing import Any, Final

from txgear.broker.model import Peer
from txgear.broker.operators.inspection import moment
from txgear.broker.records import StoreReport
from txgear.broker.rights import SETTINGS, may
from txgear.histogram import Histogram
from txgear.journal.journal import Journal
from txgear.server.jobserver import JobServer
from txgear.server.overview import store_name

MEMORY: Final = "memory"
"""There is none: jobs are in memory only."""
WELL: Final = "ok"
REOPENING: Final = "reopening"
"""It was lost a moment ago, and nobody was refused anything yet."""
AWAY: Final = "away"
"""It does not answer: what is to be kept is refused."""
ENDING: Final = "ending"
"""The server ends, and keeps nothing more."""


def store(server: JobServer, peer: Peer) -> dict[str, Any]:
    """
    The store, as a peer may see it. What it says of itself is asked for again where that is older than a
    minute.

    @return: its C{name}, of which who may not see settings is told the kind only; its C{state}, one of
        L{MEMORY}, L{WELL}, L{REOPENING}, L{AWAY} and L{ENDING}; C{why} it is away, which who may not see them
        is told as clients are, and C{since} when; the
        C{jobs} that have not ended and the C{ended} ones that are known; how many of all
        these are C{loaded}, which is in memory; C{queue_bytes} that jobs and workloads take there, of
        C{queue_memory} that they may. Without a store that is all, and the rest is C{None}:
        C{losses}, how often it was away since the start; C{pending_changes} and C{pending_bytes} on their
        way; what it has refused, C{refused_jobs} and C{refused_results}; C{commits}, how long commits took in
        seconds, since the start and C{lately}, and C{rows}, how much is in each; C{report}, what it said of
        itself.
    """
    broker, journal, name = server.broker, server.journal, store_name(server)
    found: dict[str, Any] = {
        "name": name if may(peer, SETTINGS) else name.partition(":")[0],
        "state": _state(journal),
        "why": None,
        "since": None,
        "jobs": len(broker.table),
        "ended": len(broker.archive),
        "loaded": len(broker.table.jobs) + len(broker.archive.jobs),
        "queue_bytes": None if broker.pager is None else broker.pager.memory,
        "queue_memory": server.settings.queue_memory,
        **dict.fromkeys(
            (
                "losses",
                "pending_changes",
                "pending_bytes",
                "refused_jobs",
                "refused_results",
                "commits",
                "lately",
                "rows",
                "report",
            )
        ),
    }
    if journal is None:
        return found
    figures, reports = journal.figures, journal.reports
    if journal.unavailable is not None:
        found["why"] = journal.unavailable_detail if may(peer, SETTINGS) else journal.unavailable
        found["since"] = moment(broker.timers.wall(journal.unavailable_since))
    if reports is not None:
        if reports.ready:
            server.end_turn()
        if reports.last is not None:
            found["report"] = _report(reports.last, moment(broker.timers.wall(reports.at)))
    found.update(
        losses=journal.losses,
        pending_changes=journal.pending_changes,
        pending_bytes=journal.pending_bytes,
        refused_jobs=figures.refused_jobs,
        refused_results=figures.refused_results,
        commits=_distribution(figures.commits),
        lately=_distribution(figures.lately()),
        rows=_distribution(figures.rows),
    )
    return found


def _state(journal: Journal | None) -> str:
    if journal is None:
        return MEMORY
    if journal.closing:
        return ENDING
    if journal.unavailable is not None:
        return AWAY
    return REOPENING if journal.reopening else WELL


def _distribution(histogram: Histogram) -> dict[str, float | int | None]:
    count = histogram.count
    found: dict[str, float | int | None] = {
        "count": count,
        "mean": histogram.sum / count if count else None,
    }
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        found[name] = histogram.quantile(share)
    return found


def _report(report: StoreReport, asked: str | None) -> dict[str, Any]:
    return {
        **report._asdict(),
        "settings": dict(report.settings),
        "doubts": list(report.doubts),
        "asked": asked,
    }
