"""
Metrics for OpenTelemetry, sent by OTLP over HTTP.

The values are the server's own, so nothing is counted here: what the SDK would collect from instruments is
made of the values themselves, histograms as well, for which OpenTelemetry has no instrument that is asked.
This needs the extra C{otel}. The environment variables C{OTEL_...} say where to and how often.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from os import environ
from time import time_ns
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT,
    OTEL_METRIC_EXPORT_INTERVAL,
    OTEL_METRIC_EXPORT_TIMEOUT,
)
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from txgear._version import __version__
from txgear.errors import ConfigurationError
from txgear.web.metrics.families import COUNTER, HISTOGRAM
from txgear.web.metrics.push import NotSent

CUMULATIVE: Final = export.AggregationTemporality.CUMULATIVE
UNITS: Final = {"seconds": "s", "bytes": "By"}
"""By the last word of a name."""
LIBRARY: Final = "opentelemetry.exporter.otlp.proto.http"
"""The logger under which the exporter says what goes wrong."""


def milliseconds(name: str, default: float) -> float:
    """
    A time from the environment, in seconds.

    @param name: the variable, which is in milliseconds.
    @param default: milliseconds.
    @raise ConfigurationError: it is no time.
    """
    text = environ.get(name, "")
    try:
        found = float(text) if text else default
    except ValueError:
        found = 0.0
    if not 1 <= found <= 86_400_000:
        raise ConfigurationError(f"{name}: a number of milliseconds is wanted, not {text!r}")
    return found / 1000


class _Words(logging.Handler):
    """
    Keeps what the exporter says last: it tells no one else what went wrong, and says it each time.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Part of C{logging.Handler}."""
        self.last = record.getMessage()


class Otel:
    """
    Sends metrics to a collector.

    @ivar seconds: how often it wants to be called.
    @ivar where: the collector.
    """

    def __init__(self, started: float) -> None:
        """
        @param started: since when things are counted, in seconds since the epoch.
        @raise ConfigurationError: a variable of the environment makes no sense.
        """
        self.seconds = milliseconds(OTEL_METRIC_EXPORT_INTERVAL, 60_000)
        self._timeout = milliseconds(OTEL_METRIC_EXPORT_TIMEOUT, 30_000)
        self._started = int(started * 1e9)
        try:
            self._exporter = OTLPMetricExporter()
            resource = Resource.create({SERVICE_VERSION: __version__})
        except Exception as error:
            raise ConfigurationError(f"--otel: {error}") from error
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "txgear"}))
        self._resource = resource
        self.where = environ.get(OTEL_EXPORTER_OTLP_METRICS_ENDPOINT) or environ.get(
            OTEL_EXPORTER_OTLP_ENDPOINT, "http://localhost:4318"
        )
        self._words = _Words()
        library = logging.getLogger(LIBRARY)
        library.addHandler(self._words)
        library.propagate = False

    def send(self, metrics: list[Metric]) -> None:
        """
        Send them. Blocks.

        @raise NotSent: the collector has not taken them.
        """
        at = time_ns()
        self._words.last = ""
        scope = export.ScopeMetrics(
            InstrumentationScope("txgear", __version__), [self._metric(metric, at) for metric in metrics], ""
        )
        data = export.MetricsData([export.ResourceMetrics(self._resource, [scope], "")])
        result = self._exporter.export(data, timeout_millis=self._timeout * 1000)
        if result is not export.MetricExportResult.SUCCESS:
            raise NotSent(self._words.last or "it has not taken them")

    def close(self) -> None:
        """Send no more: what is tried again and again is given up."""
        self._exporter.shutdown()
        logging.getLogger(LIBRARY).removeHandler(self._words)

    def _metric(self, metric: Metric, at: int) -> export.Metric:
        unit = UNITS.get(metric.name.rpartition("_")[2], "")
        data: Any
        if metric.type == HISTOGRAM:
            data = export.Histogram(self._histograms(metric, at), CUMULATIVE)
        else:
            points = [
                export.NumberDataPoint(sample.labels, self._started, at, float(sample.value))
                for sample in metric.samples
            ]
            data = export.Sum(points, CUMULATIVE, True) if metric.type == COUNTER else export.Gauge(points)
        return export.Metric(metric.name, metric.documentation, unit, data)

    def _histograms(self, metric: Metric, at: int) -> list[export.HistogramDataPoint]:
        """Each is buckets, of which each counts what is in those before it as well, then count and sum."""
        found: list[export.HistogramDataPoint] = []
        buckets: list[Sample] = []
        for sample in metric.samples:
            if sample.name.endswith("_bucket"):
                buckets.append(sample)
            elif sample.name.endswith("_sum"):
                before = 0
                counts: list[int] = []
                for bucket in buckets:
                    counts.append(int(bucket.value) - before)
                    before = int(bucket.value)
                bounds = [float(bucket.labels["le"]) for bucket in buckets[:-1]]
                labels: Mapping[str, str] = sample.labels
                unknown: Any = None
                found.append(
                    export.HistogramDataPoint(
                        labels,
                        self._started,
                        at,
                        before,
                        sample.value,
                        counts,
                        bounds,
                        # What was the smallest, and the largest, is not known.
                        unknown,
                        unknown,
                    )
                )
                buckets = []
        return found
