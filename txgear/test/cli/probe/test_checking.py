"""
Tests for L{txgear.cli.probe.checking}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.api import Api
from txgear.cli.base.statuses import DENIED, FAILED, UNREACHABLE, CommandError
from txgear.cli.probe.checking import MOST_ANSWER, Job, Report, Wanted, checked
from txgear.cli.probe.judging import CRITICAL, MOST_FUNCTIONS, OK, UNKNOWN, WARNING, Problem, Rules
from txgear.cli.probe.plugin import Overdue
from txgear.test.cli.probe.test_judging import function


class Place(NamedTuple):
    name: str


class Answer(NamedTuple):
    """An answer to what is sent."""

    parts: tuple[bytes, ...]

    def pieces(self) -> Iterator[bytes]:
        return iter(self.parts)


class FakeApi:
    """A server with these functions, whose worker answers this."""

    def __init__(self, *functions: Mapping[str, Any], name: str = "gear") -> None:
        self.place = Place(name)
        self.functions = functions
        self.asked: list[Any] = []
        self.answer: tuple[bytes, ...] | BaseException = (b"pong",)
        self.away: BaseException | None = None
        self.why: str | None = None
        self.closed = False

    def get(self, path: str) -> dict[str, Any]:
        if self.away is not None:
            raise self.away
        if path != "/ready":
            return {"store": {"why": self.why}} if self.why is not None else self.denied()
        if self.why is not None or self.closed:
            raise CommandError("503", FAILED, "", {"store": "unavailable", "draining": "ok"})
        return {"draining": "ok", "store": "ok"}

    def denied(self) -> dict[str, Any]:
        raise CommandError("Not allowed", DENIED)

    def rows(self, path: str, member: str, query: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        self.asked.append(dict(query))
        return iter(self.functions)

    def open(self, *asked: Any) -> Answer:
        self.asked.append(asked)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return Answer(self.answer)


def wanted(*functions: str, excluded: tuple[str, ...] = (), required: tuple[str, ...] = ()) -> Wanted:
    return Wanted(functions, excluded, required, Rules([]))


def look(*apis: FakeApi, of: Wanted | None = None, job: Job | None = None) -> Report:
    found = cast("list[Api]", list(apis))
    return checked(found, of or wanted(), job, 10.0, lambda: 7.0)


class WantedTests(SynchronousTestCase):
    def test_which(self) -> None:
        for of, taken in (
            (wanted(), "abc"),
            (wanted("a", "c*"), "ac"),
            (wanted(excluded=("[ab]",)), "c"),
            (wanted("*", excluded=("c",)), "ab"),
            (wanted("a", required=("b",)), "ab"),
            (wanted(required=("b",)), "abc"),
        ):
            self.assertEqual("".join(name for name in "abc" if of.takes(name)), taken)

    def test_a_name_with_a_bracket(self) -> None:
        """It is meant as it is written, and the server is not asked for a pattern."""
        api = FakeApi(function("a[1]"), function("a1"))
        report = look(api, of=wanted("a[1]"))
        self.assertNotIn("function", api.asked[0])
        self.assertIn("2 functions", report.said[0])
        self.assertEqual(report.problems, [])

    def test_what_is_asked(self) -> None:
        api = FakeApi()
        look(api, of=wanted("mail.*"))
        look(api, of=wanted("a", "b"))
        self.assertEqual([each.get("function") for each in api.asked], ["mail.*", None])


class LookTests(SynchronousTestCase):
    def test_functions_that_are_not_there(self) -> None:
        report = look(FakeApi(), of=wanted("a", "b*", required=("c",)))
        self.assertEqual(
            report.problems,
            [Problem(CRITICAL, "there is no function c"), Problem(WARNING, "there is no function a")],
        )

    def test_one_is_no_plural(self) -> None:
        report = look(FakeApi(function("f", queued=2, running=1, workers=1)))
        self.assertEqual(report.said[0], "2 queued, 1 running, 1 worker, 1 function")

    def test_many_functions_have_sums_only(self) -> None:
        report = look(FakeApi(*(function(f"f{n}", queued=1) for n in range(MOST_FUNCTIONS + 1))))
        self.assertIn(f"'queued'={MOST_FUNCTIONS + 1};;;0", report.figures)
        self.assertFalse([each for each in report.figures if "f1_" in each])

    def test_servers_that_do_not_answer(self) -> None:
        """One that is not reached is critical; one that refuses, or does not know us, is not known."""
        here, gone, closed = FakeApi(name="a"), FakeApi(name="b"), FakeApi(name="c")
        gone.away = CommandError("b: Connection refused", UNREACHABLE)
        closed.away = CommandError("c: no", DENIED)
        report = look(gone, here, closed)
        self.assertEqual(
            report.problems, [Problem(CRITICAL, "b: Connection refused"), Problem(UNKNOWN, "c: no")]
        )
        self.assertTrue(report.said[0].startswith("a: 0 queued"))

    def test_the_store(self) -> None:
        """Why it is away is said to those who may know; to others, that it is."""
        api = FakeApi()
        api.why = "the disk is full"
        self.assertEqual(look(api).problems, [Problem(CRITICAL, "its store is away: the disk is full")])
        api.why, api.closed = None, True
        self.assertEqual(look(api).problems, [Problem(CRITICAL, "its store is away")])

    def test_the_time_is_over(self) -> None:
        slow = FakeApi(name="a")
        slow.away = Overdue()
        self.assertEqual(look(slow).problems, [Problem(CRITICAL, "it has not answered within 10 seconds")])
        api = FakeApi()
        api.answer = Overdue()
        self.assertEqual(
            look(api, job=Job("f", "x", None, "u", False)).problems,
            [Problem(CRITICAL, "no worker of f has answered within 10 seconds")],
        )


class JobTests(SynchronousTestCase):
    def send(
        self, api: FakeApi, expected: str | None = None, background: bool = False
    ) -> tuple[int, str, str]:
        return Job("f", "ping", expected, "u", background).send(cast(Api, api), 5.0)

    def test_it_is_one_that_nobody_keeps(self) -> None:
        api = FakeApi()
        self.assertEqual(self.send(api), (OK, "f answers: pong", ""))
        self.assertEqual(
            api.asked,
            [
                (
                    "/api/v1/functions/f/jobs",
                    {"unique": "u", "priority": "high", "background": False},
                    5.0,
                    "POST",
                    b"ping",
                )
            ],
        )

    def test_what_is_expected_stands_in_it(self) -> None:
        api = FakeApi()
        self.assertEqual(self.send(api, "on")[0], OK)
        self.assertEqual(self.send(api, "off"), (CRITICAL, "f answers: pong (expected: off)", ""))

    def test_a_plugin_as_the_worker(self) -> None:
        """What mod_gearman's workers answer; but not where something is expected."""
        api = FakeApi()
        api.answer = (b"2:worker is ill | jobs=1c\nmore",)
        self.assertEqual(self.send(api), (CRITICAL, "worker is ill", "jobs=1c"))
        self.assertEqual(self.send(api, "ill")[0], OK)
        api.answer = (b"7:x",)
        self.assertEqual(self.send(api), (OK, "f answers: 7:x", ""))
        api.answer = (b"0:",)
        self.assertEqual(self.send(api), (OK, "", ""))

    def test_it_is_told_in_one_line(self) -> None:
        """As people read it, without the quotes and the escapes of a programming language."""
        api = FakeApi()
        api.answer = (b"it's up\n",)
        self.assertEqual(self.send(api), (OK, "f answers: it's up", ""))
        api.answer = (b"one\r\n\ttwo\n\n",)
        self.assertEqual(self.send(api, "a\nb"), (CRITICAL, "f answers: one two (expected: a b)", ""))
        api.answer = (b"\n",)
        self.assertEqual(self.send(api), (OK, "f answers: nothing", ""))

    def test_a_long_answer_is_cut(self) -> None:
        api = FakeApi()
        api.answer = (b"x" * MOST_ANSWER, b"end")
        self.assertEqual(self.send(api, "end")[0], CRITICAL)

    def test_failures(self) -> None:
        api = FakeApi()
        api.answer = CommandError("The job failed", FAILED, "job_failed")
        self.assertEqual(self.send(api), (CRITICAL, "f failed", ""))
        api.answer = CommandError("x", FAILED, "job_failed", {"exception": {"text": "Boom"}})
        self.assertEqual(self.send(api), (CRITICAL, "f failed: Boom", ""))
        api.answer = CommandError("full", FAILED, "queue_full")
        self.assertRaises(CommandError, self.send, api)

    def test_in_the_background(self) -> None:
        self.assertEqual(self.send(FakeApi(), background=True), (OK, "a job of f is taken", ""))
