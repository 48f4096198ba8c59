"""
Tests for L{txgear.runtime.loglines}.
"""

from __future__ import annotations

import logging
import os
from contextvars import copy_context
from io import StringIO
from json import loads
from typing import Any

from twisted.logger import Logger, LogLevel, LogPublisher, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.loglines import JSON, OLD_LOG, QUIET, JobLines, Lines
from txgear.worker import Fail, FailWithText, RetryLater


def job(**members: Any) -> Any:
    made = {"handle": b"H:vm:7", "function": b"thumb \xff", "attempt": 2, "gone": False, "why_gone": ""}
    return Job(**{**made, **members})


class Job:
    """What the lines know of a job."""

    def __init__(self, **members: Any) -> None:
        vars(self).update(members)


class Seconds:
    """A clock that goes on by a quarter of a second at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


class LinesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.stream = StringIO()
        self.publisher = LogPublisher()

    def lines(self, style: str = "text", *, timed: bool = False) -> Lines:
        lines = Lines(self.stream, style, "images-3", timed=timed)
        self.publisher.addObserver(lines)
        return lines

    def logger(self, namespace: str = "shop") -> Logger:
        return Logger(namespace, observer=self.publisher)

    def taken(self) -> str:
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return text

    def objects(self) -> list[dict[str, Any]]:
        return [loads(line) for line in self.taken().splitlines()]


def in_job(call: Any, *arguments: Any, **options: Any) -> None:
    """Say something within a job."""
    context = copy_context()
    context.run(JobLines(False).begin, job())
    context.run(call, *arguments, **options)


class TextTests(LinesTestCase):
    def test_of_no_job(self) -> None:
        self.lines()
        self.logger().info("hello {name}", name="you")
        self.assertEqual(self.taken(), "hello you\n")

    def test_of_a_job(self) -> None:
        self.lines()
        in_job(self.logger().info, "hello")
        self.assertEqual(self.taken(), "H:vm:7 of thumb \\xff, attempt 2: hello\n")
        context = copy_context()
        context.run(JobLines(False).begin, job(attempt=0))
        context.run(self.logger().info, "hello")
        self.assertEqual(self.taken(), "H:vm:7 of thumb \\xff: hello\n")

    def test_a_traceback(self) -> None:
        self.lines()
        self.logger().failure("it raised", Failure(ValueError("no")))
        text = self.taken()
        self.assertTrue(text.startswith("critical: it raised\nTraceback"), text)
        self.assertTrue(text.endswith("ValueError: no\n"), text)

    def test_timed(self) -> None:
        """When it was said, and how bad it is."""
        self.lines(timed=True)
        self.logger().info("hello")
        self.logger().warn("careful")
        moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}"
        self.assertRegex(self.taken(), rf"^{moment} hello\n{moment} warn: careful\n$")

    def test_twisted_itself(self) -> None:
        """Its warnings count."""
        self.lines()
        twisted = self.logger("twisted.web.client._HTTP11ClientFactory")
        twisted.info("Starting factory")
        twisted.warn("careful")
        self.assertEqual(self.taken(), "warn: careful\n")

    def test_debug(self) -> None:
        """What helps to find a mistake in the program itself is not for operators."""
        self.lines()
        self.logger().debug("attempt 2 at server in 0.3 seconds")
        self.assertEqual(self.taken(), "")

    def test_old_log(self) -> None:
        """Users' functions may use it; Twisted does, too, which the supervisor leaves out."""
        self.lines()
        self.logger(OLD_LOG).info("hello")
        self.assertEqual(self.taken(), "hello\n")
        quiet = Lines(self.stream, "text", "supervisor", quiet=(*QUIET, OLD_LOG))
        publisher = LogPublisher(quiet)
        Logger(OLD_LOG, observer=publisher).info("Factory starting on 9180")
        Logger(OLD_LOG, observer=publisher).error("a mistake")
        self.assertEqual(self.taken(), "error: a mistake\n")


class JsonTests(LinesTestCase):
    def test_of_no_job(self) -> None:
        lines = self.lines(JSON)
        self.logger().info("é {name}", name="you")
        lines(
            {
                "log_time": 1790000000.25,
                "log_level": LogLevel.warn,
                "log_namespace": "n",
                "log_format": "x\ny",
            }
        )
        first, second = self.objects()
        self.assertEqual(first["message"], "é you")
        self.assertEqual(
            second,
            {
                "time": "2026-09-21T14:13:20.250Z",
                "level": "warn",
                "worker": "images-3",
                "pid": os.getpid(),
                "logger": "n",
                "message": "x\ny",
            },
        )

    def test_of_a_job(self) -> None:
        self.lines(JSON)
        in_job(self.logger().info, "hello")
        (found,) = self.objects()
        self.assertEqual((found["handle"], found["function"], found["attempt"]), ("H:vm:7", "thumb \\xff", 2))

    def test_about_a_job(self) -> None:
        """What the worker says of a job has its facts in the event."""
        self.lines(JSON)
        self.logger().failure(
            "job {handle} raised", Failure(ValueError("no")), handle="H:1", function=b"f", attempt=1
        )
        (found,) = self.objects()
        self.assertEqual((found["handle"], found["function"], found["attempt"]), ("H:1", "f", 1))
        self.assertEqual((found["level"], found["traceback"]), ("error", "ValueError: no"))

    def test_long(self) -> None:
        """Of a message the beginning counts, of a traceback the end."""
        self.lines(JSON)
        self.logger().failure("x" * 5000, Failure(ValueError("y" * 5000)))
        (found,) = self.objects()
        self.assertEqual(found["message"], "x" * 4000)
        self.assertEqual(found["traceback"], "y" * 4000)

    def test_of_a_child(self) -> None:
        """Its lines in JSON are left alone; others are made such lines."""
        self.lines(JSON)
        for line in ('{"time":"x"}', "{no", "plain"):
            self.logger().info("{child}: {line}", child="mail-1", line=line, stream="stdout")
        first, *others = self.objects()
        self.assertEqual(first, {"time": "x"})
        for found, line in zip(others, ("{no", "plain"), strict=True):
            del found["time"]
            self.assertEqual(
                found, {"level": "info", "worker": "mail-1", "stream": "stdout", "message": line}
            )

    def test_of_a_child_in_text(self) -> None:
        self.lines()
        self.logger().info("{child}: {line}", child="mail-1", line="{}", stream="stdout")
        self.assertEqual(self.taken(), "mail-1: {}\n")


class LoggingTests(LinesTestCase):
    """Python's own logging has one root for all of a process: these tests leave it as it was."""

    def setUp(self) -> None:
        super().setUp()
        root = logging.getLogger()
        handlers, level = list(root.handlers), root.level
        self.addCleanup(root.setLevel, level)
        self.addCleanup(setattr, root, "handlers", handlers)
        root.handlers = []

    def test_records(self) -> None:
        lines = self.lines()
        lines.take_over_logging()
        log = logging.getLogger("shop")
        log.debug("too much")
        in_job(log.info, "%d bytes", 5)
        try:
            raise ValueError("no")
        except ValueError:
            log.exception("it raised")
        first, second, *_, last = self.taken().splitlines()
        self.assertEqual(first, "H:vm:7 of thumb \\xff, attempt 2: 5 bytes")
        self.assertEqual((second, last), ("error: it raised", "ValueError: no"))

    def test_in_json(self) -> None:
        self.lines(JSON).take_over_logging()
        in_job(logging.getLogger("shop").warning, "careful")
        (found,) = self.objects()
        self.assertEqual(
            (found["level"], found["logger"], found["handle"], found["message"]),
            ("warn", "shop", "H:vm:7", "careful"),
        )

    def test_somebody_else_has_seen_to_it(self) -> None:
        own = logging.NullHandler()
        logging.getLogger().addHandler(own)
        self.lines().take_over_logging()
        self.assertEqual(logging.getLogger().handlers, [own])

    def test_a_level_that_was_set(self) -> None:
        logging.getLogger().setLevel(logging.ERROR)
        self.lines().take_over_logging()
        logging.getLogger("shop").warning("careful")
        self.assertEqual(self.taken(), "")


class JobLinesTests(LinesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.lines()
        globalLogPublisher.addObserver(self.publisher)
        self.addCleanup(globalLogPublisher.removeObserver, self.publisher)

    def ended(self, error: Exception | None = None, all_jobs: bool = False, **members: Any) -> str:
        """The line of a job that has ended so."""
        hooks, this, context = JobLines(all_jobs, Seconds()), job(**members), copy_context()
        context.run(hooks.begin, this)
        if error is None:
            context.run(hooks.end, this)
        else:
            context.run(hooks.failure, this, Failure(error))
        return self.taken().replace("H:vm:7 of thumb \\xff, attempt 2: ", "")

    def test_done(self) -> None:
        self.assertEqual(self.ended(), "")
        self.assertEqual(self.ended(all_jobs=True), "done after 0.250 s\n")

    def test_failed(self) -> None:
        self.assertEqual(self.ended(Fail()), "warn: failed after 0.250 s\n")
        self.assertEqual(self.ended(Fail("550 no")), "warn: failed after 0.250 s: 550 no\n")
        self.assertEqual(
            self.ended(FailWithText(b"out of ink \xff")), "warn: failed after 0.250 s: out of ink \\xff\n"
        )

    def test_put_off(self) -> None:
        self.assertEqual(self.ended(RetryLater(60, "busy")), "put off for 60 s after 0.250 s: busy\n")

    def test_given_up(self) -> None:
        self.assertEqual(
            self.ended(ValueError(), gone=True, why_gone="its time was up"),
            "warn: given up after 0.250 s: its time was up\n",
        )

    def test_raised(self) -> None:
        """The worker says that, with the traceback."""
        self.assertEqual(self.ended(ValueError()), "")
