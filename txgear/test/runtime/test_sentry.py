"""Tests of L{txgear.runtime.sentry}, with Sentry's own client and a transport that keeps what is sent."""

from __future__ import annotations

import os
import sys
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import JobError
from txgear.runtime.hooks import AllHooks, load_hooks
from txgear.runtime.workshop import register
from txgear.test.support.extras import needs, reason
from txgear.testing import MemoryServer
from txgear.worker import Fail, FailWithText, RetryLater, WorkerJob
from txgear.worker.functions import Ability, Function

if not reason("sentry_sdk"):
    import sentry_sdk
    from sentry_sdk.envelope import Envelope
    from sentry_sdk.transport import Transport

    from txgear.runtime.sentry import LONGEST, Sentry

    class FakeTransport(Transport):
        """Sends nothing."""

        def __init__(self, options: Any = None) -> None:
            super().__init__(options)
            self.events: list[dict[str, Any]] = []

        def capture_envelope(self, envelope: Envelope) -> None:
            event = envelope.get_event()
            if event is not None:
                self.events.append(dict(event))


class SentryTestCase(SynchronousTestCase):
    """
    @ivar options: those of the client of Sentry.
    """

    def setUp(self) -> None:
        self.transport = FakeTransport()
        self.initialize(transport=self.transport)
        self.server = MemoryServer()
        self.addCleanup(self.server.stop)
        self.client = self.server.client()
        self.worker = self.server.worker(concurrency=4)
        self.hooks = AllHooks([Sentry()])

    def initialize(self, **options: Any) -> None:
        """Have a client of Sentry's for the time of a test; it sends variables, as by default."""
        scope = sentry_sdk.get_global_scope()
        before = scope.client
        self.addCleanup(scope.set_client, before)
        scope.set_client(
            sentry_sdk.Client("https://key@sentry.invalid/1", default_integrations=False, **options)
        )

    def register(self, call: Function, *, blocking: bool = False, name: bytes = b"f") -> None:
        register(self.worker, Ability(name, call, None, blocking, False), self.hooks, None)

    def failed(self, workload: bytes = b"", name: str = "f") -> None:
        self.assertRaises(JobError, self.server.result, self.client.run(name, workload))
        self.flushLoggedErrors()

    def event(self) -> dict[str, Any]:
        """The one that was sent."""
        [event] = self.transport.events
        return event


@needs("sentry_sdk")
class ReportTests(SentryTestCase):
    def test_an_exception(self) -> None:
        def work(job: WorkerJob) -> None:
            raise LookupError("nothing there")

        self.register(work)
        self.failed()
        event = self.event()
        self.assertEqual({"handle": "H:localhost:1", "function": "f", "attempt": "1"}, event["tags"])
        self.assertEqual(("error", "f"), (event["level"], event["transaction"]))
        [error] = event["exception"]["values"]
        self.assertEqual(("LookupError", "nothing there"), (error["type"], error["value"]))
        self.assertEqual("work", error["stacktrace"]["frames"][-1]["function"])

    def test_all_kinds_of_functions(self) -> None:
        waiting: Deferred[None] = Deferred()

        def plain(job: WorkerJob) -> None:
            raise LookupError("plain")

        async def coroutine(job: WorkerJob) -> None:
            await waiting

        self.register(plain, blocking=True)
        self.register(coroutine, name=b"g")
        result = self.client.run("g")
        self.server.flush()
        self.failed()
        waiting.errback(Failure(LookupError("async")))
        self.assertRaises(JobError, self.server.result, result)
        self.flushLoggedErrors()
        self.assertEqual(
            [("f", "plain"), ("g", "async")],
            [
                (event["tags"]["function"], event["exception"]["values"][0]["value"])
                for event in self.transport.events
            ],
        )

    def test_each_attempt(self) -> None:
        def work(job: WorkerJob) -> None:
            raise ValueError

        self.register(work)
        self.server.result(self.client.submit_background("f", policy={"retries": 1, "backoff": 1}))
        self.server.advance(1)
        self.flushLoggedErrors()
        self.assertEqual(["1", "2"], [event["tags"]["attempt"] for event in self.transport.events])

    def test_what_is_meant_to_be_raised(self) -> None:
        errors = [Fail(), FailWithText("no"), RetryLater(5)]

        def work(job: WorkerJob) -> None:
            raise errors.pop()

        self.register(work)
        for _ in range(3):
            self.failed()
        self.assertEqual([], self.transport.events)

    def test_a_job_that_is_taken_back(self) -> None:
        waiting: Deferred[None] = Deferred()
        self.register(lambda job: waiting)
        self.server.result(self.client.submit_background("f", policy={"timeout": 5, "retries": 0}))
        self.server.advance(6)
        self.assertTrue(waiting.called)
        self.assertEqual([], self.transport.events)

    def test_what_the_function_sends_itself(self) -> None:
        """It has the tags as well, also of two jobs at once, and what follows them has not."""
        waiting: dict[bytes, Deferred[None]] = {b"1": Deferred(), b"2": Deferred()}

        async def work(job: WorkerJob) -> None:
            await waiting[job.workload]
            sentry_sdk.capture_message("hello")

        self.register(work)
        results = [self.client.run("f", number) for number in waiting]
        self.server.flush()
        for number in (b"2", b"1"):
            waiting[number].callback(None)
        for result in results:
            self.server.result(result)
        sentry_sdk.capture_message("bye")
        self.assertEqual(
            ["H:localhost:2", "H:localhost:1", None],
            [event.get("tags", {}).get("handle") for event in self.transport.events],
        )

    def test_names_that_are_no_texts(self) -> None:
        def work(job: WorkerJob) -> None:
            raise ValueError

        self.register(work, name=b"\xff")
        self.assertRaises(JobError, self.server.result, self.client.run(b"\xff"))
        self.flushLoggedErrors()
        self.assertEqual("\\xff", self.event()["tags"]["function"])


@needs("sentry_sdk")
class WorkloadTests(SentryTestCase):
    """It is never sent."""

    def sent(self, workload: bytes) -> str:
        """All that is sent when a function fails over a workload that it quotes in every way."""

        def inner(data: str) -> None:
            raise ValueError(f"{data} is {data!r}")

        def work(job: WorkerJob) -> None:
            workload = job.workload
            try:
                inner(workload.decode("utf-8", "replace"))
            except ValueError as error:
                raise LookupError(f"not {workload!r}") from error

        self.register(work)
        self.failed(workload)
        return repr(self.event())

    def test_neither_variables_nor_quotations(self) -> None:
        for number, workload in enumerate((b"secret", b'it\'s "s\xc3\xa4cret"\n', b"\xffsecret")):
            if number:
                self.setUp()
            sent = self.sent(workload)
            self.assertNotIn("cret", sent)
            self.assertNotIn("'vars'", sent)
            self.assertIn("not (the workload)", sent)

    def test_short_ones_stay(self) -> None:
        self.assertIn("not b'abc'", self.sent(b"abc"))

    def test_long_ones_are_not_looked_for(self) -> None:
        """Sentry's client cuts what is that long."""
        self.assertNotIn("(the workload)", self.sent(b"w" * (LONGEST + 1)))


@needs("sentry_sdk")
class SetUpTests(SentryTestCase):
    def test_by_name(self) -> None:
        [hooks] = load_hooks(["txgear.runtime.sentry:Sentry"])
        self.assertEqual("Sentry", type(hooks.begin.__self__).__name__)  # type: ignore[attr-defined]

    def test_what_is_there_stays(self) -> None:
        client = sentry_sdk.get_client()
        with patch.dict(os.environ, {"SENTRY_DSN": "https://other@sentry.invalid/2"}):
            Sentry()
        self.assertIs(client, sentry_sdk.get_client())

    def test_by_the_environment(self) -> None:
        sentry_sdk.get_global_scope().set_client(None)
        with patch.dict(os.environ, {"SENTRY_DSN": "https://other@sentry.invalid/2"}):
            Sentry()
        client = sentry_sdk.get_client()
        self.addCleanup(client.close)
        self.assertEqual("https://other@sentry.invalid/2", client.options["dsn"])
        self.assertFalse(client.options["include_local_variables"])

    def test_nobody_says_where(self) -> None:
        """That is said once, when there are jobs."""
        sentry_sdk.get_global_scope().set_client(None)
        with patch.dict(os.environ):
            os.environ.pop("SENTRY_DSN", None)
            self.hooks = AllHooks([Sentry()])
        self.register(lambda job: b"")
        with capturedLogs() as logs:
            self.server.result(self.client.run("f"))
            self.server.result(self.client.run("f"))
        [said] = [formatEvent(event) for event in logs if "SENTRY_DSN" in formatEvent(event)]
        self.assertIn("SENTRY_DSN is not set, nor has sentry_sdk.init been called", said)

    def test_an_end_without_a_beginning(self) -> None:
        """Begin may have failed."""
        job: Any = None
        Sentry().end(job)
        self.assertEqual([], self.transport.events)

    def test_without_sentry(self) -> None:
        """It is said what is missing."""
        with patch.dict(sys.modules, {"sentry_sdk": None}):
            del sys.modules["txgear.runtime.sentry"]
            with self.assertRaisesRegex(ImportError, "needs the extra sentry"):
                __import__("txgear.runtime.sentry")
