"""Metrics that are sent: to a collector of OpenTelemetry, and to statsd."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from processes import Program, Programs, Servers, free_port, programs_folder, run, twistd, wait_until
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only


class Collector:
    """
    Receives metrics, or something else, by OTLP over HTTP.

    @ivar requests: what was received.
    """

    def __init__(
        self,
        port: int,
        received: Any = ExportMetricsServiceRequest,
        answered: Any = ExportMetricsServiceResponse,
    ) -> None:
        self.port = port
        self.requests: list[Any] = []
        self.paths: set[str] = set()
        this = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/x-protobuf"
                this.paths.add(self.path)
                this.requests.append(received.FromString(body))
                answer = answered().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", port), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def metrics(self) -> dict[str, Any]:
        """The last ones, by name."""
        if not self.requests:
            return {}
        (resource,) = self.requests[-1].resource_metrics
        (scope,) = resource.scope_metrics
        return {metric.name: metric for metric in scope.metrics}

    def point(self, name: str, function: str) -> Any:
        """The value of a metric for a function; C{None} if there is none."""
        if (metric := self.metrics().get(name)) is None:
            return None
        data = getattr(metric, metric.WhichOneof("data"))
        for point in data.data_points:
            labels = {attribute.key: attribute.value.string_value for attribute in point.attributes}
            if labels.get("function") == function:
                return point
        return None

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector_port() -> int:
    return free_port()


@pytest.fixture
def collector(collector_port: int) -> Iterator[Collector]:
    this = Collector(collector_port)
    yield this
    this.stop()


def environment(port: int) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_METRIC_EXPORT_INTERVAL": "300",
        "OTEL_METRIC_EXPORT_TIMEOUT": "1000",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
    }


def do_a_job(port: int) -> None:
    with WirePeer(port) as peer:
        peer.send(P.SUBMIT_JOB_BG, b"mail", b"", b"x")
        peer.expect(P.JOB_CREATED)
        peer.send(P.CAN_DO, b"mail")
        peer.send(P.GRAB_JOB)
        handle = peer.expect(P.JOB_ASSIGN).args[0]
        peer.send(P.WORK_COMPLETE, handle, b"")
        peer.sync()


def test_opentelemetry(start_server: Servers, collector: Collector, collector_port: int) -> None:
    server = start_server("--otel", env=environment(collector_port))
    do_a_job(server.port)

    def completed() -> Any:
        point = collector.point("txgear_jobs_completed", "mail")
        return point is not None and point.as_double == 1

    wait_until(completed)
    assert collector.paths == {"/v1/metrics"}
    run_seconds = collector.point("txgear_job_run_seconds", "mail")
    assert (run_seconds.count, sum(run_seconds.bucket_counts)) == (1, 1)
    assert len(run_seconds.bucket_counts) == len(run_seconds.explicit_bounds) + 1
    assert not run_seconds.HasField("min")
    attributes = {
        attribute.key: attribute.value.string_value
        for attribute in collector.requests[-1].resource_metrics[0].resource.attributes
    }
    assert attributes["service.name"] == "txgear"
    assert attributes["deployment.environment"] == "test"
    # The same names as at /metrics.
    assert {"gearman_up", "txgear_reactor_lag_seconds", "process_resident_memory_bytes"} <= set(
        collector.metrics()
    )


def test_a_collector_that_is_away_keeps_nobody_waiting(start_server: Servers, collector_port: int) -> None:
    server = start_server("--otel", env=environment(collector_port))
    away = b"metrics cannot be sent to http://127.0.0.1"
    wait_until(lambda: away in server.said())
    do_a_job(server.port)
    collector = Collector(collector_port)
    try:
        wait_until(lambda: collector.point("txgear_jobs_completed", "mail"))
        wait_until(lambda: b"metrics are sent to http://127.0.0.1" in server.said())
    finally:
        collector.stop()
    assert server.said().count(away) == 1
    assert b"Transient error" not in server.said()
    # Nor does the end wait for it.
    wait_until(lambda: server.said().count(away) == 2)
    assert server.stop() == 0


def test_statsd(programs: Programs, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(5)
        port = free_port()
        started = programs.start(
            [
                *(sys.executable, programs_folder() / "impatient_server.py", "-n", "--pidfile=", "txgear"),
                *("--web=", "--store=memory:", "--port", str(port)),
                *("--statsd", f"127.0.0.1:{statsd.getsockname()[1]}"),
            ]
        )
        lines: dict[str, list[str]] = {}

        def received(name: str) -> list[str]:
            packet = statsd.recv(65536)
            assert len(packet) <= 1432
            for line in packet.decode("ascii").splitlines():
                found, value = line.rsplit(":", 1)
                lines.setdefault(found, []).append(value)
            return lines.get(name, [])

        wait_until(lambda: received("txgear.gearman_up"))
        do_a_job(port)
        assert wait_until(lambda: received("txgear.jobs_completed.mail")) == ["1|c"]
        assert wait_until(lambda: received("txgear.job_run_seconds_count.mail"))[0].endswith("|c")
        with WirePeer(port) as worker:
            worker.send(P.CAN_DO, b"report")
            assert wait_until(lambda: received("txgear.gearman_workers.report")) == ["1|g"]
        # The function is gone with it.
        wait_until(lambda: "0|g" in received("txgear.gearman_workers.report"))
        assert not [name for name in lines if "_bucket" in name]
    # It is away now.
    do_a_job(port)
    assert is_calm(started)


def is_calm(program: Program) -> bool:
    return program.running and b"Traceback" not in program.stdout + program.stderr


def test_what_makes_no_sense(tmp_path: Path) -> None:
    command = [
        *twistd(),
        "-n",
        "--pidfile=",
        "txgear",
        "--port",
        str(free_port()),
        "--web=",
        "--store=memory:",
    ]
    done = run([*command, "--statsd", "nowhere"])
    assert done.returncode == 1
    assert b"--statsd nowhere: a host and a port are wanted" in done.stderr
    done = run([*command, "--otel"], env={"OTEL_METRIC_EXPORT_INTERVAL": "soon"})
    assert done.returncode == 1
    assert b"OTEL_METRIC_EXPORT_INTERVAL: a number of milliseconds is wanted, not 'soon'" in done.stderr
