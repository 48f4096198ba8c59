"""
Lines of a runtime's log: those of a job say which one it is, in text or in JSON.

What a job's function tells Twisted's log or Python's C{logging} has the job's handle and attempt as well,
wherever in the function it is said.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import datetime, timezone
from json import dumps, loads
from time import monotonic
from typing import Any, Final, TextIO

from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
    formatTime,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear.runtime.hooks import nothing
from txgear.worker import Fail, FailWithText, RetryLater, WorkerJob
from txgear.worker.tracebacks import exception_text

CHILD_LINE: Final = "line"
"""The member of an event that has a line which a child has written."""
JSON: Final = "json"
"""The style of lines that are objects; all else is text."""
LONGEST_TEXT: Final = 4000
"""Characters of a message in JSON, and of a traceback, of which the end counts."""
QUIET: Final = ("twisted.",)
"""Whose lines are left out that are no warnings: Twisted says of each connection that it begins and ends."""
OLD_LOG: Final = "log_legacy"
"""What is said by C{twisted.python.log}."""

_JOB: ContextVar[tuple[WorkerJob, float] | None] = ContextVar("txgear_job", default=None)
"""The job whose function runs here, and when it began."""


def start_log(stream: TextIO, style: str, worker: str) -> Lines:
    """
    Begin to write Twisted's log of this process as lines.

    @param style: C{text} or L{JSON}.
    @param worker: the name of the process.
    """
    lines = Lines(stream, style, worker)
    globalLogBeginner.beginLoggingTo([lines], redirectStandardIO=False, discardBuffer=False)
    return lines


@implementer(ILogObserver)
class Lines:
    """
    Writes events as lines.
    """

    def __init__(
        self, stream: TextIO, style: str, worker: str, *, timed: bool = False, quiet: tuple[str, ...] = QUIET
    ) -> None:
        """
        @param style: C{text} or L{JSON}.
        @param worker: what wrote it; it stands in JSON only.
        @param timed: whether text says when; JSON does.
        @param quiet: the beginnings of namespaces of which only warnings, and worse, are written.
        """
        self._timed = timed
        self._quiet = quiet
        self._stream = stream
        self._is_json = style == JSON
        self._write = self._write_json if self._is_json else self._write_text
        self._worker = worker

    # Twisted's events

    def __call__(self, event: LogEvent) -> None:
        """Part of C{ILogObserver}."""
        if CHILD_LINE in event and self._is_json:
            self._put(f"{_line_of_child(event)}\n")
            return
        level, namespace = event["log_level"], event["log_namespace"]
        if level < (LogLevel.warn if namespace.startswith(self._quiet) else LogLevel.info):
            return
        failure = event.get("log_failure")
        message = eventAsText(event, includeTraceback=False, includeTimestamp=False, includeSystem=False)
        of_job = failure is not None and "handle" in event
        if of_job:
            # Twisted takes all that is raised as critical; a job that failed is not, for a runtime.
            level = LogLevel.error
        trace = "" if failure is None else _trace(failure, of_job)
        self._write(event["log_time"], level.name, namespace, message, trace, _facts(event))

    # Those of Python

    def take_over_logging(self) -> None:
        """
        Write what is told to Python's C{logging}, from C{INFO} on, if nobody else has seen to it.
        """
        root = logging.getLogger()
        if not root.handlers:
            root.addHandler(_FromLogging(self))
            if root.level == logging.WARNING:
                root.setLevel(logging.INFO)

    def record(self, record: logging.LogRecord) -> None:
        """Write a record of C{logging}."""
        trace = "" if record.exc_info is None else _formatter.formatException(record.exc_info)
        level = _LEVELS.get(record.levelname) or record.levelname.lower()
        self._write(record.created, level, record.name, record.getMessage(), trace, _facts({}))

    # The lines

    def _write_text(
        self, moment: float, level: str, name: str, message: str, trace: str, facts: Mapping[str, Any]
    ) -> None:
        if _JOB.get() is not None:
            attempt = f", attempt {facts['attempt']}" if "attempt" in facts else ""
            message = f"{facts['handle']} of {facts['function']}{attempt}: {message}"
        if level != LogLevel.info.name:
            message = f"{level}: {message}"
        if self._timed:
            message = f"{formatTime(moment)} {message}"
        self._put(f"{message}\n{trace}\n" if trace else f"{message}\n")

    def _write_json(
        self, moment: float, level: str, name: str, message: str, trace: str, facts: Mapping[str, Any]
    ) -> None:
        said = json_line(moment, level, self._worker, message, trace, pid=os.getpid(), logger=name, **facts)
        self._put(f"{said}\n")

    def _put(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class _FromLogging(logging.Handler):
    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.record(record)
        except Exception:
            self.handleError(record)


_formatter: Final = logging.Formatter()
_LEVELS: Final = {"WARNING": LogLevel.warn.name}
"""What levels of C{logging} are called in Twisted, where that is something else."""


def _line_of_child(event: LogEvent) -> str:
    """What a child has written: a line in JSON as it is, and another one as the message of such a line."""
    line: str = event[CHILD_LINE]
    if line.startswith("{"):
        with suppress(ValueError):
            loads(line)
            return line
    return json_line(event["log_time"], "info", event["child"], line, stream=event["stream"])


def json_line(moment: float, level: str, worker: str, message: str, trace: str = "", **more: Any) -> str:
    """
    A line in JSON.

    @param moment: seconds since 1970.
    @param more: other members.
    """
    when = datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds")
    members = {
        "time": when.replace("+00:00", "Z"),
        "level": level,
        "worker": worker,
        **more,
        "message": message[:LONGEST_TEXT],
    }
    if trace:
        members["traceback"] = trace[-LONGEST_TEXT:]
    return dumps(members, ensure_ascii=False, separators=(",", ":"))


def _trace(failure: Failure, of_job: bool) -> str:
    """
    Where something was raised.

    @param of_job: by a function of a user's: what has called it is left out.
    """
    if of_job:
        return exception_text(failure, LONGEST_TEXT).decode("utf-8", "replace")
    trace: str = failure.getTraceback()
    return trace.rstrip()


def _facts(event: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the job that something is about: by the event, or by where it is said."""
    here = _JOB.get()
    if here is not None:
        event = vars(here[0])
    found: dict[str, Any] = {}
    for name in ("handle", "function"):
        value = event.get(name)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "backslashreplace")
        if isinstance(value, str):
            found[name] = value
    if found and event.get("attempt"):
        found["attempt"] = event["attempt"]
    return found


class JobLines:
    """
    A line for each job that has ended, or for those that have failed only. Part of it is that other lines
    know their job: these hooks are always there.

    Exceptions have no line here: the worker logs them, with their traceback.
    """

    log = Logger()

    def __init__(self, all_jobs: bool, now: Callable[[], float] = monotonic) -> None:
        """
        @param all_jobs: whether those that are done have a line as well.
        """
        self._now = now
        self.end: Callable[[WorkerJob], object] = self._done if all_jobs else nothing

    def begin(self, job: WorkerJob) -> None:
        """Part of L{txgear.runtime.hooks.JobHooks}."""
        _JOB.set((job, self._now()))

    def _done(self, job: WorkerJob) -> None:
        self.log.info("done after {seconds:.3f} s", seconds=self._seconds())

    def failure(self, job: WorkerJob, failure: Failure) -> None:
        """Part of L{txgear.runtime.hooks.JobHooks}."""
        seconds, error = self._seconds(), failure.value
        if job.gone:
            self.log.warn("given up after {seconds:.3f} s: {why}", seconds=seconds, why=job.why_gone)
        elif isinstance(error, RetryLater):
            self.log.info(
                "put off for {later:g} s after {seconds:.3f} s: {why}",
                later=error.seconds,
                seconds=seconds,
                why=_text(error),
            )
        elif isinstance(error, FailWithText):
            self.log.warn("failed after {seconds:.3f} s: {why}", seconds=seconds, why=_text(error))
        elif isinstance(error, Fail):
            why = f": {error}" if str(error) else ""
            self.log.warn("failed after {seconds:.3f} s{why}", seconds=seconds, why=why)

    def _seconds(self) -> float:
        """How long the job of this context has taken."""
        here = _JOB.get()
        return 0.0 if here is None else self._now() - here[1]


def _text(error: FailWithText | RetryLater) -> str:
    return error.text.decode("utf-8", "backslashreplace")
