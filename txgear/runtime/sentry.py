"""
Errors of jobs for Sentry: C{txgear.runtime.sentry:Sentry} among the hooks of a runtime.

This needs the extra C{sentry}. The environment variables C{SENTRY_...} say where errors are sent to, unless a
module of the functions has called C{sentry_sdk.init} itself.
"""

from __future__ import annotations

from contextlib import ExitStack
from contextvars import ContextVar
from os import environ
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.worker import Fail, FailWithText, RetryLater, WorkerJob

try:
    import sentry_sdk
except ModuleNotFoundError as error:
    raise ImportError(f"txgear.runtime.sentry needs the extra sentry: {error}") from error

if TYPE_CHECKING:
    from sentry_sdk.types import Event

SHORTEST: Final = 4
"""Characters from which a workload is looked for in what is sent; shorter ones would be found in any text."""
LONGEST: Final = 65536
"""Bytes of a workload that is looked for at the most."""
INSTEAD: Final = "(the workload)"

_ON_PURPOSE: Final = (Fail, FailWithText, RetryLater)


class Sentry:
    """
    What is told of jobs, and tells Sentry of those that raised something that they were not meant to.

    Each job has a scope of its own, with its handle, its function and the attempt as tags. They are there as
    well on what the function sends by itself. Of the workload nothing is sent: no values of variables, and no
    text of an exception that quotes all of it.
    """

    log = Logger()

    def __init__(self) -> None:
        if environ.get("SENTRY_DSN") and not sentry_sdk.is_initialized():
            sentry_sdk.init(include_local_variables=False)
        self._scopes: ContextVar[ExitStack | None] = ContextVar("txgear.runtime.sentry", default=None)
        self._is_looked_for = True

    def begin(self, job: WorkerJob) -> None:
        """A job's function is about to be called."""
        if self._is_looked_for:
            # Not before: modules of functions are imported after the hooks.
            self._is_looked_for = False
            if not sentry_sdk.is_initialized():
                self.log.warn("SENTRY_DSN is not set, nor has sentry_sdk.init been called: nothing is sent")
        stack = ExitStack()
        scope = stack.enter_context(sentry_sdk.isolation_scope())
        function = _text(job.function)
        scope.set_tag("handle", _text(job.handle))
        scope.set_tag("function", function)
        scope.set_tag("attempt", str(job.attempt))
        scope.set_transaction_name(function)
        words = _words(job.workload)
        scope.add_event_processor(lambda event, hint: without(event, words))
        self._scopes.set(stack)

    def end(self, job: WorkerJob) -> None:
        """It has returned."""
        stack = self._scopes.get()
        if stack is not None:
            stack.close()

    def failure(self, job: WorkerJob, failure: Failure) -> None:
        """It has raised."""
        error = failure.value
        assert error is not None
        meant = isinstance(error, _ON_PURPOSE) or (job.gone and isinstance(error, CancelledError))
        if not meant:
            sentry_sdk.capture_exception((type(error), error, failure.getTracebackObject()))
        self.end(job)


def without(event: Event, words: list[str]) -> Event:
    """
    An event without the values of variables, and without these words.

    @param words: what must not be sent, the longest first.
    """
    for error in event.get("exception", {}).get("values", []):
        for frame in (error.get("stacktrace") or {}).get("frames", []):
            frame.pop("vars", None)
        error["value"] = _redacted(error.get("value"), words)
    return event


def _redacted(value: object, words: list[str]) -> object:
    if isinstance(value, str):
        for word in words:
            value = value.replace(word, INSTEAD)
    return value


def _words(workload: bytes) -> list[str]:
    """How a workload may be quoted, the longest first."""
    if not SHORTEST <= len(workload) <= LONGEST:
        return []
    text = workload.decode("utf-8", "replace")
    return sorted({text, repr(workload), repr(workload)[2:-1], repr(text)[1:-1]}, key=len, reverse=True)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
