"""Traces that go through real servers, and the page about them."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from processes import Programs, Server, Servers, free_port, run, twistd, wait_until
from test_docs import blocks
from test_pushed_metrics import Collector
from wirepeer import P, Packet, WirePeer

pytestmark = pytest.mark.txgear_only

PAGE: Final = Path(__file__).parent.parent / "docs" / "runtime" / "tracing.md"
PORT: Final = "127.0.0.1:4730"
TRACE: Final = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": 'a=1,b="\\',
}
SUBMIT_JOB_OPTIONS, GRAB_JOB_OPTIONS, JOB_ASSIGN_OPTIONS = 0x5458_0001, 0x5458_0004, 0x5458_0005


@pytest.fixture
def collector() -> Iterator[Collector]:
    this = Collector(free_port(), ExportTraceServiceRequest, ExportTraceServiceResponse)
    yield this
    this.stop()


def spans(collector: Collector) -> dict[str, Any]:
    """Those that have come, by name, and of attempts with the number."""
    found = {}
    for request in collector.requests:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    values = {each.key: each.value for each in span.attributes}
                    attempt = values.get("txgear.attempt")
                    name = span.name if attempt is None else f"{span.name} {attempt.int_value}"
                    found[name] = span
    return found


def test_the_page(server: Server, programs: Programs, collector: Collector, tmp_path: Path) -> None:
    """A client, a server and the processes of a runtime, as the page has them."""
    telemetry, client, jobs = [text for language, text in blocks(PAGE) if language == "python"]
    table, _ = [text for language, text in blocks(PAGE) if language == "toml"]
    here = f"127.0.0.1:{server.port}"
    for name, text in (
        ("telemetry.py", telemetry),
        ("order.py", client.replace(PORT, here)),
        ("jobs.py", jobs),
        ("workers.toml", table.replace(PORT, here)),
    ):
        (tmp_path / name).write_text(text)
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    config = f"--config={tmp_path / 'workers.toml'}"
    runtime = programs.start(
        [*twistd(), "-n", "--pidfile=", "txgear-worker", config], name="runtime", env=environment
    )
    server.wait_for_workers("mail")
    done = run([sys.executable, "order.py"], cwd=tmp_path, env=environment)
    assert done.returncode == 0, done
    wait_until(lambda: "process mail 2" in spans(collector), what="the span of the second attempt")
    assert runtime.stop() == 0
    found = spans(collector)
    assert set(found) == {"order", "submit mail", "process mail 1", "process mail 2"}
    submit, first, second = (found[name] for name in ("submit mail", "process mail 1", "process mail 2"))
    assert submit.parent_span_id == found["order"].span_id
    assert first.parent_span_id == submit.span_id
    assert {submit.trace_id, first.trace_id} == {found["order"].trace_id}
    assert (second.parent_span_id, second.trace_id != first.trace_id) == (b"", True)
    for attempt in (first, second):
        assert [(link.trace_id, link.span_id) for link in attempt.links] == [
            (submit.trace_id, submit.span_id)
        ]
    assert (first.status.message, second.status.message) == ("the relay is busy", "")


def extended(server: Server) -> WirePeer:
    """A peer that may use packets of txgear's own."""
    peer = server.connect()
    peer.send(P.OPTION_REQ, b"txgear-1")
    peer.expect(P.OPTION_RES, b"txgear-1")
    return peer


def next_options(server: Server) -> dict[str, Any]:
    """The options of a job that a worker gets, which leaves with it."""
    worker = extended(server)
    worker.send(P.CAN_DO, b"f")

    def grabbed() -> Packet | None:
        # What it carries may still be on its way from the store.
        worker.send(GRAB_JOB_OPTIONS)
        packet = worker.read()
        return packet if packet.type == JOB_ASSIGN_OPTIONS else None

    packet = wait_until(grabbed, what="a job")
    assert packet is not None
    options: dict[str, Any] = json.loads(packet.args[4])
    worker.close()
    return options


def test_it_outlives_the_server(start_server: Servers, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    server = start_server(store=store)
    client = extended(server)
    client.send(SUBMIT_JOB_OPTIONS, b"f", b"", json.dumps({"trace": TRACE}).encode(), b"w")
    client.expect(P.JOB_CREATED)
    server.close_peers()
    server.signal(signal.SIGKILL)
    server.wait()
    server = start_server(store=store)
    assert next_options(server)["trace"] == TRACE
    wait_until(lambda: server.status("f") == (1, 0, 0), what="the job is queued again")
    found = next_options(server)
    assert (found["trace"], found["attempt"]) == (TRACE, 2)
