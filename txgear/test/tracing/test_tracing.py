"""Tests of L{txgear.tracing}, with the SDK of OpenTelemetry and a server in memory."""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.client import Client
from txgear.errors import JobError
from txgear.runtime.hooks import AllHooks, load_hooks
from txgear.runtime.workshop import register
from txgear.test.support.extras import needs, reason
from txgear.testing import MemoryServer
from txgear.worker import Fail, FailWithText, RetryLater, Worker, WorkerJob
from txgear.worker.functions import Ability

if not reason("opentelemetry"):
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        SpanKind,
        StatusCode,
        TraceState,
        get_current_span,
        use_span,
    )

    from txgear.tracing import Tracing
    from txgear.tracing.attributes import ATTEMPT


class TracedTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")
        self.tracing = Tracing(provider)
        self.server = MemoryServer()
        self.addCleanup(self.server.stop)
        self.client: Client = self.server.client(tracing=self.tracing)

    def worker(self, **options: Any) -> Worker:
        return self.server.worker(tracing=self.tracing, **options)

    def spans(self) -> list[ReadableSpan]:
        """Those that have ended since the last time, in that order."""
        found = self.exporter.get_finished_spans()
        self.exporter.clear()
        return list(found)

    def of(self, name: str) -> ReadableSpan:
        """The one that has ended with this name."""
        [span] = [span for span in self.spans() if span.name == name]
        return span


def linked(span: ReadableSpan) -> list[int]:
    """The spans that it is linked to."""
    return [link.context.span_id for link in span.links]


@needs("opentelemetry")
class SubmitTests(TracedTestCase):
    def test_what_it_says(self) -> None:
        self.server.result(self.client.submit_background("mail.send", b"four"))
        [span] = self.spans()
        self.assertEqual(("submit mail.send", SpanKind.PRODUCER), (span.name, span.kind))
        self.assertEqual((StatusCode.UNSET, None), (span.status.status_code, span.parent))
        self.assertEqual(
            {
                "messaging.system": "gearman",
                "messaging.operation.name": "submit",
                "messaging.operation.type": "send",
                "messaging.destination.name": "mail.send",
                "messaging.message.id": "H:localhost:1",
                "messaging.message.body.size": 4,
                "server.address": "memory",
            },
            {**(span.attributes or {}), "server.address": "memory"},
        )
        assert span.instrumentation_scope is not None
        self.assertEqual("txgear", span.instrumentation_scope.name)

    def test_within_another(self) -> None:
        with self.tracer.start_as_current_span("request") as request:
            self.server.result(self.client.submit_background("f"))
        span = self.of("submit f")
        assert span.parent is not None
        self.assertEqual(request.get_span_context().span_id, span.parent.span_id)

    def test_no_server(self) -> None:
        self.server.stop()
        self.client.submit("f")
        _ = self.client.close()
        self.server.flush()
        span = self.of("submit f")
        self.assertEqual(StatusCode.ERROR, span.status.status_code)
        self.assertEqual("the client is closed", span.status.description)
        self.assertEqual("txgear.errors.NotConnected", (span.attributes or {})["error.type"])

    def test_nothing_is_recorded(self) -> None:
        """What is not sampled is carried on as such, so that nobody samples a part of it."""
        provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
        trace = Tracing(provider).submit(b"f", 0).trace
        assert trace is not None
        self.assertEqual(0, int(trace.traceparent[-2:], 16) & 1)

    def test_no_tracer(self) -> None:
        """Without an SDK there is nothing to carry, but what somebody else has begun."""
        from opentelemetry.trace import NoOpTracerProvider

        tracing = Tracing(NoOpTracerProvider())
        self.assertIsNone(tracing.submit(b"f", 0).trace)
        context = SpanContext(1, 2, True, trace_state=TraceState([("a", "1")]))
        with use_span(NonRecordingSpan(context)):
            trace = tracing.submit(b"f", 0).trace
        self.assertEqual((f"00-{1:032x}-{2:016x}-00", "a=1"), trace)

    def test_a_long_state_is_left_out(self) -> None:
        state = TraceState([(f"k{number}", "v" * 200) for number in range(3)])
        with use_span(NonRecordingSpan(SpanContext(1, 2, True, trace_state=state))):
            trace = self.tracing.submit(b"f", 0).trace
        assert trace is not None
        self.assertEqual("", trace.tracestate)


@needs("opentelemetry")
class AttemptTests(TracedTestCase):
    def test_what_it_says(self) -> None:
        self.worker().register("f", lambda job: job.workload)
        self.assertEqual(b"four", self.server.result(self.client.run("f", b"four")))
        submit, attempt = self.spans()
        self.assertEqual(("process f", SpanKind.CONSUMER), (attempt.name, attempt.kind))
        assert attempt.parent is not None
        self.assertEqual(submit.context.span_id, attempt.parent.span_id)
        self.assertEqual(submit.context.trace_id, attempt.context.trace_id)
        self.assertEqual([submit.context.span_id], linked(attempt))
        attributes = attempt.attributes or {}
        self.assertEqual("process", attributes["messaging.operation.type"])
        self.assertEqual((1, 4), (attributes[ATTEMPT], attributes["messaging.message.body.size"]))
        self.assertEqual(
            (submit.attributes or {})["messaging.message.id"], attributes["messaging.message.id"]
        )
        self.assertEqual(StatusCode.UNSET, attempt.status.status_code)

    def test_retries_are_linked_and_not_nested(self) -> None:
        outcomes: list[Exception | bytes] = [ValueError("no"), RetryLater(1, "busy"), b"yes"]

        def work(job: WorkerJob) -> bytes:
            outcome = outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        self.worker().register("f", work)
        handle = self.client.submit_background("f", policy={"retries": 5, "backoff": 1, "results": "1h"})
        self.server.result(handle)
        for _ in range(3):
            self.server.advance(1)
        self.flushLoggedErrors()
        submit, *attempts = self.spans()
        self.assertEqual([1, 2, 3], [(span.attributes or {})[ATTEMPT] for span in attempts])
        self.assertEqual([[submit.context.span_id]] * 3, list(map(linked, attempts)))
        parents = [span.parent and span.parent.span_id for span in attempts]
        self.assertEqual([submit.context.span_id, None, None], parents)
        self.assertEqual(3, len({span.context.trace_id for span in attempts}))
        self.assertEqual(
            ["ValueError", "txgear.worker.functions.RetryLater", None],
            [(span.attributes or {}).get("error.type") for span in attempts],
        )
        self.assertEqual("busy", attempts[1].status.description)

    def test_no_trace(self) -> None:
        """The job is that of somebody who does not trace."""
        self.worker().register("f", lambda job: b"")
        self.server.result(self.server.client().run("f"))
        [attempt] = self.spans()
        self.assertEqual((None, []), (attempt.parent, linked(attempt)))

    def test_current_in_the_function(self) -> None:
        """Whatever kind of function it is, and nowhere else."""
        seen: list[int] = []
        waiting: Deferred[None] = Deferred()

        def note() -> None:
            seen.append(get_current_span().get_span_context().span_id)

        def plain(job: WorkerJob) -> None:
            note()

        async def coroutine(job: WorkerJob) -> None:
            note()
            await waiting
            note()

        worker = self.worker()
        worker.register("plain", plain)
        worker.register("thread", plain, blocking=True)
        worker.register("async", coroutine)
        for name in ("plain", "thread"):
            self.server.result(self.client.run(name))
            self.assertEqual([self.of(f"process {name}").context.span_id], seen)
            seen.clear()
        job = self.client.run("async")
        self.server.flush()
        self.assertEqual(0, get_current_span().get_span_context().span_id)
        waiting.callback(None)
        self.server.result(job)
        self.assertEqual([self.of("process async").context.span_id] * 2, seen)

    def test_jobs_of_a_job(self) -> None:
        """What a function submits is a part of its attempt."""
        worker = self.worker(concurrency=2)
        worker.register("outer", lambda job: self.client.run("inner"))
        worker.register("inner", lambda job: b"r")
        self.server.result(self.client.run("outer"))
        spans = {span.name: span for span in self.spans()}
        inner = spans["submit inner"].parent
        assert inner is not None
        self.assertEqual(spans["process outer"].context.span_id, inner.span_id)
        self.assertEqual(1, len({span.context.trace_id for span in spans.values()}))

    def failed(self, error: BaseException) -> ReadableSpan:
        """The span of an attempt that raises this."""

        def work(job: WorkerJob) -> None:
            raise error

        self.worker().register("f", work)
        self.assertRaises(JobError, self.server.result, self.client.run("f"))
        self.flushLoggedErrors()
        span = self.of("process f")
        self.assertEqual(StatusCode.ERROR, span.status.status_code)
        return span

    def test_an_exception(self) -> None:
        span = self.failed(LookupError("nothing there"))
        self.assertEqual(
            ("nothing there", ["exception"]), (span.status.description, [e.name for e in span.events])
        )
        self.assertIn("test_tracing.py", str((span.events[0].attributes or {})["exception.stacktrace"]))

    def test_failures_on_purpose(self) -> None:
        """They are no mistakes, and have no traceback."""
        self.assertEqual([], list(self.failed(Fail()).events))

    def test_a_text_on_purpose(self) -> None:
        span = self.failed(FailWithText(b"out of \xff"))
        self.assertEqual(("out of \\xff", []), (span.status.description, list(span.events)))

    def test_a_deferred_that_fails(self) -> None:
        waiting: Deferred[None] = Deferred()
        self.worker().register("f", lambda job: waiting)
        result = self.client.run("f")
        self.server.flush()
        waiting.errback(Failure(LookupError("late")))
        self.assertRaises(JobError, self.server.result, result)
        self.flushLoggedErrors()
        self.assertEqual("late", self.of("process f").status.description)

    def test_taken_back(self) -> None:
        """The reason is that of the server."""
        waiting: Deferred[None] = Deferred()
        self.worker().register("f", lambda job: waiting)
        _ = self.client.submit_background("f", policy={"timeout": 5, "retries": 0})
        self.server.flush()
        self.server.advance(6)
        span = self.of("process f")
        self.assertEqual(
            ("memory has taken it back: timeout", []), (span.status.description, list(span.events))
        )


@needs("opentelemetry")
class HookTests(TracedTestCase):
    """In the processes of a runtime."""

    def test_attempts(self) -> None:
        async def work(job: WorkerJob) -> bytes:
            if job.workload:
                raise ValueError("no")
            return b"r"

        worker = self.server.worker()
        register(worker, Ability(b"f", work, None, False, False), AllHooks([self.tracing]), None)
        self.server.result(self.client.run("f"))
        self.assertRaises(JobError, self.server.result, self.client.run("f", b"x"))
        self.flushLoggedErrors()
        good, bad = [span for span in self.spans() if span.name == "process f"]
        self.assertEqual(StatusCode.UNSET, good.status.status_code)
        self.assertEqual("no", bad.status.description)

    def test_by_name(self) -> None:
        [hooks] = load_hooks(["txgear.tracing:Tracing"])
        self.assertEqual("Tracing", type(hooks.begin.__self__).__name__)  # type: ignore[attr-defined]

    def test_an_end_without_a_beginning(self) -> None:
        """Begin may have failed."""
        job: Any = None
        self.tracing.end(job)
        self.tracing.failure(job, Failure(CancelledError()))
        self.assertEqual([], self.spans())


@needs("opentelemetry")
class ExtraTests(SynchronousTestCase):
    def test_without_opentelemetry(self) -> None:
        """It is said what is missing."""
        with patch.dict(sys.modules, {"opentelemetry.context": None}):
            del sys.modules["txgear.tracing"]
            with self.assertRaisesRegex(ImportError, "needs the extra otel"):
                __import__("txgear.tracing")
