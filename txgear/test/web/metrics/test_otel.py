"""Tests of L{txgear.web.metrics.otel}, without a collector."""

from __future__ import annotations

import logging
import os
from typing import Any

from prometheus_client.metrics_core import Metric
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.test.support.extras import needs, reason
from txgear.web.metrics import families
from txgear.web.metrics.push import NotSent

if not reason("opentelemetry"):
    from opentelemetry.sdk.metrics import export

    from txgear.web.metrics.otel import LIBRARY, Otel

START = 1_700_000_000.0


class FakeExporter:
    """
    In the place of OpenTelemetry's.

    @ivar says: what it tells its log; then it fails.
    """

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.says: str | None = None
        self.closed = False

    def export(self, data: Any, timeout_millis: float) -> Any:
        self.sent.append(data)
        if self.says is None:
            return export.MetricExportResult.SUCCESS
        if self.says:
            logging.getLogger(f"{LIBRARY}.metric_exporter").error("%s", self.says)
        return export.MetricExportResult.FAILURE

    def shutdown(self) -> None:
        self.closed = True


@needs("opentelemetry")
class OtelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.environ = os.environ
        self.addCleanup(self.environ.update, {name: self.environ[name] for name in self.set_here()})
        self.addCleanup(self.forget)
        self.forget()
        self.otel = self.make()

    def set_here(self) -> list[str]:
        """The variables that are set."""
        return [name for name in self.environ if name.startswith("OTEL_")]

    def forget(self) -> None:
        for name in self.set_here():
            del self.environ[name]

    def make(self) -> Otel:
        otel = Otel(START)
        self.addCleanup(otel.close)
        self.exporter = FakeExporter()
        otel._exporter = self.exporter  # type: ignore[assignment]
        return otel

    def send(self, *metrics: Metric) -> list[Any]:
        """Send these; how they went."""
        self.otel.send(list(metrics))
        (resource,) = self.exporter.sent[-1].resource_metrics
        self.assertEqual(resource.resource.attributes["service.name"], "txgear")
        (scope,) = resource.scope_metrics
        return list(scope.metrics)

    def test_gauge(self) -> None:
        (metric,) = self.send(families.OLDEST.values([(("mail",), 3.5), (("other",), 0)]))
        self.assertEqual((metric.name, metric.unit), ("txgear_jobs_oldest_seconds", "s"))
        self.assertEqual(metric.description, families.OLDEST.help)
        self.assertIsInstance(metric.data, export.Gauge)
        point, _ = metric.data.data_points
        self.assertEqual((point.attributes, point.value), ({"function": "mail"}, 3.5))
        self.assertGreater(point.time_unix_nano, START * 1e9)

    def test_counter(self) -> None:
        (metric,) = self.send(families.SUBMITTED.values([(("mail",), 7)]))
        self.assertEqual((metric.name, metric.unit), ("txgear_jobs_submitted", ""))
        self.assertIsInstance(metric.data, export.Sum)
        self.assertTrue(metric.data.is_monotonic)
        self.assertEqual(metric.data.aggregation_temporality, export.AggregationTemporality.CUMULATIVE)
        (point,) = metric.data.data_points
        self.assertEqual((point.value, point.start_time_unix_nano), (7, START * 1e9))

    def test_histogram(self) -> None:
        samples = [
            sample
            for function, counts, sum_ in (("mail", [1, 3, 4], 9.5), ("other", [0, 0, 0], 0.0))
            for sample in families.RAN.histogram({"function": function}, ["1.0", "2.5", "+Inf"], counts, sum_)
        ]
        (metric,) = self.send(families.RAN.metric(samples))
        first, second = metric.data.data_points
        self.assertEqual(first.attributes, {"function": "mail"})
        self.assertEqual(list(first.explicit_bounds), [1.0, 2.5])
        self.assertEqual(list(first.bucket_counts), [1, 2, 1])
        self.assertEqual((first.count, first.sum), (4, 9.5))
        self.assertEqual((second.attributes, second.count), ({"function": "other"}, 0))

    def test_why_it_is_not_taken(self) -> None:
        self.exporter.says = "Failed to export metrics batch code: 503"
        error = self.assertRaises(NotSent, self.otel.send, [])
        self.assertEqual(str(error), "Failed to export metrics batch code: 503")
        self.exporter.says = ""
        error = self.assertRaises(NotSent, self.otel.send, [])
        self.assertEqual(str(error), "it has not taken them")

    def test_how_often(self) -> None:
        self.assertEqual(self.otel.seconds, 60)
        self.environ["OTEL_METRIC_EXPORT_INTERVAL"] = "1500"
        self.assertEqual(self.make().seconds, 1.5)
        for wrong in ("x", "0", "-1", "nan", "1e99"):
            self.environ["OTEL_METRIC_EXPORT_INTERVAL"] = wrong
            self.assertRaises(ConfigurationError, self.make)

    def test_where_to(self) -> None:
        self.assertEqual(self.otel.where, "http://localhost:4318")
        self.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector:4318"
        self.assertEqual(self.make().where, "http://collector:4318")
        self.environ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] = "http://metrics/v1/metrics"
        self.assertEqual(self.make().where, "http://metrics/v1/metrics")

    def test_the_service_may_have_another_name(self) -> None:
        self.environ["OTEL_SERVICE_NAME"] = "jobs"
        otel = self.make()
        otel.send([])
        (resource,) = self.exporter.sent[-1].resource_metrics
        self.assertEqual(resource.resource.attributes["service.name"], "jobs")

    def test_the_end(self) -> None:
        self.otel.close()
        self.assertTrue(self.exporter.closed)
