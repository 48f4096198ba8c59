"""
Traces of OpenTelemetry that go through jobs.

A client with a L{Tracing} begins a span for each submit, and the job carries its context to whatever worker
gets it. A worker with one begins a span for each attempt. Names and attributes are those of OpenTelemetry's
conventions for messaging. This needs the extra C{otel}.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, copy_context
from functools import partial
from inspect import iscoroutine
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from txgear._version import __version__
from txgear.protocol.traces import Trace
from txgear.tracing.attributes import ATTEMPT, SCHEMA, as_text, in_words, kind_of, of_job, of_server
from txgear.worker import Fail, FailWithText, RetryLater, WorkerJob
from txgear.worker.functions import Function

try:
    from opentelemetry.context import Context, attach
    from opentelemetry.trace import (
        Link,
        Span,
        SpanKind,
        StatusCode,
        TracerProvider,
        get_current_span,
        get_tracer,
        set_span_in_context,
    )
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError as error:
    raise ImportError(f"txgear.tracing needs the extra otel: {error}") from error

_ON_PURPOSE: Final = (Fail, FailWithText, RetryLater)

_propagator: Final = TraceContextTextMapPropagator()


class Tracing:
    """
    What clients, workers and the processes of a runtime tell of jobs, as spans: the argument C{tracing} of
    L{Client<txgear.client.Client>} and of L{Worker<txgear.worker.Worker>}, and C{txgear.tracing:Tracing}
    among the hooks of a runtime.

    The first attempt is a child of the submit. Later ones begin traces of their own, as they may come hours
    later. All are linked to the submit, and none is within another.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        """
        @param provider: makes the spans; by default the one that is set for the process.
        """
        self._tracer = get_tracer("txgear", __version__, provider, SCHEMA)
        self._span: ContextVar[Span | None] = ContextVar("txgear.tracing", default=None)

    # Of clients

    def submit(self, function: bytes, size: int) -> SubmitSpan:
        """
        A job is about to be submitted: a span begins, within the one that is current.

        @param size: bytes of its workload.
        """
        return SubmitSpan(
            self._tracer.start_span(
                f"submit {as_text(function)}",
                kind=SpanKind.PRODUCER,
                attributes=of_job("submit", "send", function, size),
            )
        )

    # Of workers

    def traced(self, call: Function) -> Function:
        """
        The same function of a worker, with a span for each call, which is current in it.
        """
        return partial(self._call, call)

    def _call(self, call: Function, job: WorkerJob) -> Any:
        context = copy_context()
        outcome = context.run(self._begin_call, call, job)
        if not isinstance(outcome, Deferred):
            return outcome

        def returned(value: Any) -> Any:
            context.run(self.end, job)
            return value

        def raised(failure: Failure) -> Failure:
            context.run(self.failure, job, failure)
            return failure

        return outcome.addCallbacks(returned, raised)

    def _begin_call(self, call: Function, job: WorkerJob) -> Any:
        self.begin(job)
        try:
            outcome = call(job)
        except BaseException:
            self.failure(job, Failure())
            raise
        if iscoroutine(outcome):
            return Deferred.fromCoroutine(outcome)
        if not isinstance(outcome, Deferred):
            self.end(job)
        return outcome

    # The hooks of a runtime. They are called in a context that is the job's own.

    def begin(self, job: WorkerJob) -> None:
        """An attempt begins."""
        parent, links = Context(), []
        if job.trace is not None:
            submit = _propagator.extract(job.trace.as_json(), Context())
            links = [Link(get_current_span(submit).get_span_context())]
            if job.attempt <= 1:
                parent = submit
        span = self._tracer.start_span(
            f"process {as_text(job.function)}",
            parent,
            SpanKind.CONSUMER,
            {
                **of_job("process", "process", job.function, len(job.workload)),
                **of_server(job.server),
                "messaging.message.id": as_text(job.handle),
                ATTEMPT: job.attempt,
            },
            links,
        )
        self._span.set(span)
        attach(set_span_in_context(span))

    def end(self, job: WorkerJob) -> None:
        """It has a result."""
        if (span := self._span.get()) is not None:
            span.end()

    def failure(self, job: WorkerJob, failure: Failure) -> None:
        """It has none."""
        if (span := self._span.get()) is not None:
            error = failure.value
            assert error is not None
            withdrawn = job.gone and isinstance(error, CancelledError)
            if not withdrawn and not isinstance(error, _ON_PURPOSE):
                span.record_exception(error)
            _fail(span, error, job.why_gone if withdrawn else in_words(error))


class SubmitSpan:
    """
    The span of a submit.

    @ivar trace: what the job carries; C{None} where nothing is traced.
    """

    def __init__(self, span: Span) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, set_span_in_context(span))
        self.trace = _carried(carrier)

    def taken(self, handle: bytes, server: str) -> None:
        """A server has the job."""
        self._span.set_attributes({"messaging.message.id": as_text(handle), **of_server(server)})
        self._span.end()

    def failed(self, error: BaseException) -> None:
        """None has it, as far as is known."""
        _fail(self._span, error, str(error))


def _carried(carrier: Mapping[str, str]) -> Trace | None:
    if "traceparent" not in carrier:
        return None
    try:
        return Trace.checked(carrier["traceparent"], carrier.get("tracestate", ""))
    except ValueError:
        # The state is longer than everybody passes on; the W3C has it left out then.
        return Trace.checked(carrier["traceparent"])


def _fail(span: Span, error: BaseException, words: str) -> None:
    span.set_attribute("error.type", kind_of(error))
    span.set_status(StatusCode.ERROR, words)
    span.end()
