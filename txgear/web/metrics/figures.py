"""
All metrics of a server, in pieces: for Prometheus, and for whatever else collects them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import Metric
from twisted.internet.defer import Deferred

from txgear.server.jobserver import JobServer
from txgear.web.metrics import functionfigures, serverfigures


def figures(server: JobServer) -> Iterator[Metric | None]:
    """
    Read the values of all metrics.

    Each step takes a millisecond at the most, about. Those that follow each other with one name are parts of
    one metric; C{None} is a step that has brought none yet.
    """
    yield from serverfigures.figures(server)
    yield from functionfigures.figures(server)


def snapshot(server: JobServer) -> Deferred[list[Metric]]:
    """
    @return: a Deferred that fires with all metrics, of which each stands there once. It fails with
        C{SchedulerStopped} where the server ends.
    """
    found: dict[str, Metric] = {}

    def gather() -> Iterator[None]:
        for metric in figures(server):
            if metric is not None:
                whole = found.setdefault(metric.name, metric)
                if whole is not metric:
                    whole.samples += metric.samples
            yield

    done: Deferred[Any] = server.patient.coiterate(gather())
    return done.addCallback(lambda ignored: list(found.values()))
