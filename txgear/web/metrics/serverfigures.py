"""
What the metrics say of the server as a whole, and of its process.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from platform import python_version
from typing import Final

import twisted
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from txgear._version import __version__
from txgear.histogram import Histogram
from txgear.net.stream import Stream
from txgear.server.jobserver import JobServer
from txgear.web.metrics import families
from txgear.web.metrics.families import Family

PEERS_AT_ONCE: Final = 500
"""Connections that are looked at in one piece: some tenths of a millisecond."""

_registry: Final = CollectorRegistry()
ProcessCollector(registry=_registry)
GCCollector(registry=_registry)


def figures(server: JobServer) -> Iterator[Metric | None]:
    """All metrics of the server; see L{txgear.web.metrics.functionfigures.figures}."""
    yield families.UP.value(1)
    yield families.VERSION.values([((__version__,), 1)])
    yield families.INFO.values([((__version__, twisted.__version__, python_version()), 1)])
    yield families.DRAINING.value(server.broker.dispatcher.draining)
    yield from _connections(server)
    yield from _memory(server)
    yield of_histogram(families.LAG, server.lag.measured)
    yield families.LAG_WORST.value(server.lag.worst())
    yield from _doors(server)
    yield from _store(server)
    yield from _cluster(server)
    # Looks at each descriptor of the process.
    yield from _registry.collect()


def of_histogram(family: Family, histogram: Histogram) -> Metric:
    """A histogram without labels."""
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    counts = list(accumulate(histogram.counts))
    return family.metric(family.histogram({}, bounds, counts, histogram.sum))


def _connections(server: JobServer) -> Iterator[Metric | None]:
    unread = marked = unwritten = 0
    for index, peer in enumerate(list(server.broker.peers)):
        if not peer.connected:
            continue
        unread += peer.unread
        marked += peer.link is not None and peer.link.acks.marked
        line = server.outbox.line_of(peer)
        if isinstance(line, Stream):
            unwritten += line.unwritten
        if index % PEERS_AT_ONCE == 0:
            yield None
    yield families.CONNECTIONS.value(len(server.broker.peers))
    yield families.CONNECTIONS_MADE.value(server.made)
    yield families.CONNECTIONS_UNREAD.value(unread)
    yield families.CONNECTIONS_MARKED.value(marked)
    yield families.QUICK_ACKS.value(server.quick_acks.given)
    yield families.RECEIVED.value(server.traffic.received)
    yield families.SENT.value(server.traffic.sent)
    yield families.UNREAD_BYTES.value(unwritten)


def _memory(server: JobServer) -> Iterator[Metric]:
    yield families.UNFINISHED_BYTES.value(server.budget.used)
    pager = server.broker.pager
    if pager is not None:
        broker = server.broker
        loaded = len(broker.table.jobs) + len(broker.archive.jobs)
        rows = len(broker.table) + len(broker.archive) - loaded
        yield families.QUEUE_BYTES.value(pager.memory)
        yield families.QUEUE_JOBS.values([(("memory",), loaded), (("store",), rows)])
    yield families.PYTHON_BLOCKS.value(sys.getallocatedblocks())


def _doors(server: JobServer) -> Iterator[Metric]:
    shakes = server.handshakes
    ended = {"completed": shakes.completed, "failed": shakes.failed, "stalled": shakes.stalled}
    yield families.HANDSHAKES.values(((outcome,), count) for outcome, count in ended.items())
    if server.tls is not None:
        yield families.CERTIFICATE.value(server.tls.loaded.until.timestamp())
    by_act: Counter[str] = Counter()
    for (_, act), count in server.guard.refused.items():
        by_act[act] += count
    yield families.ACCESS_REFUSED.values(((act,), count) for act, count in sorted(by_act.items()))
    yield families.WRONG_TOKENS.value(server.guard.wrong_tokens)
    if server.headers_refused is not None:
        yield families.HEADERS_REFUSED.value(server.headers_refused)


def _store(server: JobServer) -> Iterator[Metric]:
    """Nothing where all is in memory."""
    journal = server.journal
    if journal is None:
        return
    yield families.STORE_UP.value(journal.unavailable is None)
    yield families.STORE_LOSSES.value(journal.losses)
    found = journal.figures
    yield of_histogram(families.COMMITS, found.commits)
    yield of_histogram(families.BATCHES, found.rows)
    yield families.PENDING.value(journal.pending_changes)
    yield families.PENDING_BYTES.value(journal.pending_bytes)
    yield families.STORE_REFUSED.values(
        [(("job",), found.refused_jobs), (("result",), found.refused_results)]
    )


def _cluster(server: JobServer) -> Iterator[Metric]:
    """Nothing where the server has its store for itself."""
    view, journal = server.cluster, server.journal
    if view is None or journal is None or journal.trust is None:
        return
    servers = view.servers()
    silent = sum(each.is_silent for each in servers)
    own = sum(len(each.parts) for each in servers if each.is_ours)
    owned = sum(len(each.parts) for each in servers)
    yield families.CLUSTER_SERVERS.values([(("alive",), len(servers) - silent), (("silent",), silent)])
    yield families.CLUSTER_PARTS.values(
        [(("own",), own), (("other",), owned - own), (("none",), len(view.parts()) - owned)]
    )
    freed = view.takeovers - view.silent
    yield families.CLUSTER_TAKEOVERS.values([(("silent",), view.silent), (("none",), freed)])
    yield families.CLUSTER_TRUST.value(journal.trust.left)
    yield families.CLUSTER_FAILURES.value(view.failures)
