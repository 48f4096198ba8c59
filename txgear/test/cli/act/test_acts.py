"""
Tests for L{txgear.cli.act.acts}.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.act.acts import LONGEST_HANDLE, Fleet, Row, Step, carry_out, handles, named
from txgear.cli.base.output import Column
from txgear.cli.base.statuses import DENIED, FAILED, INTERRUPTED, MISUSED, UNREACHABLE, CommandError
from txgear.test.cli.act.support import UNKNOWN, ActingApi
from txgear.test.cli.support import FakeServers, writing

COLUMNS = (Column("handle"), Column("state"))
AWAY = CommandError("here:1: Connection refused", UNREACHABLE)
REFUSED = CommandError("Not allowed: cancel work", DENIED, "access_denied")


def step(name: str, found: Any = None) -> Step:
    """A step that brings something, or raises it."""

    def do() -> Row:
        if isinstance(found, BaseException):
            raise found
        return {"handle": name, "state": found}

    return Step(f"job {name}", do)


class Full(StringIO):
    """A stream whose reader has gone after the first line."""

    def write(self, text: str) -> int:
        """As in L{StringIO}."""
        if "\n" in self.getvalue():
            raise BrokenPipeError
        return super().write(text)


class CarryOutTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.complaints: list[str] = []
        self.fleet = Fleet(FakeServers(ActingApi("here:1", lambda method, path: None)))

    def carry(self, *steps: Step, as_json: bool = False, several: bool = False, chosen: bool = False) -> int:
        fleet = self.fleet
        if several:
            both = (ActingApi(f"{name}:1", lambda method, path: None) for name in ("here", "there"))
            fleet = Fleet(FakeServers(*both))
        with writing() as written:
            status = carry_out(fleet, steps, COLUMNS, as_json, self.complaints.append, chosen=chosen)
        self.out = written.out
        return status

    def test_all_are_done(self) -> None:
        self.assertEqual(self.carry(step("a", "ended"), step("b", "ended")), 0)
        self.assertEqual(self.out, "handle\tstate\na\tended\nb\tended\n")
        self.assertEqual(self.carry(step("a", "ended"), as_json=True), 0)
        self.assertEqual(json.loads(self.out), {"handle": "a", "state": "ended"})
        self.assertEqual(self.complaints, [])

    def test_there_are_none(self) -> None:
        """It is said, as a pattern may be mistyped, and is no failure, as all may be as they are to be."""
        for as_json in (False, True):
            self.assertEqual(self.carry(as_json=as_json, chosen=True), 0)
            self.assertEqual(self.out, "")
            self.assertEqual(self.complaints.pop(), "nothing was done: none matches")

    def test_none_were_named(self) -> None:
        """As those who list and act in one line mean it: nothing is to be said."""
        self.assertEqual(self.carry(), 0)
        self.assertEqual((self.out, self.complaints), ("", []))

    def test_those_that_fail_keep_no_others_back(self) -> None:
        self.assertEqual(self.carry(step("a", UNKNOWN), step("b", "ended"), step("c", REFUSED)), FAILED)
        self.assertEqual(self.out, "handle\tstate\nb\tended\n")
        self.assertEqual(self.complaints, ["job a: There is no such job", "job c: Not allowed: cancel work"])

    def test_what_the_error_names_already_is_not_named_twice(self) -> None:
        self.carry(step("a", CommandError("there is no job a at here:1")))
        self.assertEqual(self.complaints, ["there is no job a at here:1"])

    def test_the_status_of_failures_alone(self) -> None:
        self.assertEqual(self.carry(step("a", REFUSED), step("b", REFUSED)), DENIED)
        self.assertEqual(self.out, "")
        self.assertEqual(self.carry(step("a", REFUSED), step("b", UNKNOWN)), FAILED)
        self.assertEqual(self.carry(step("a", REFUSED), step("b", "ended")), FAILED)

    def test_without_its_only_server_nothing_goes_on(self) -> None:
        error = self.assertRaises(CommandError, self.carry, step("a", "ended"), step("b", AWAY), step("c", 1))
        self.assertEqual((error.status, error.text), (UNREACHABLE, f"{AWAY.text}; 1 done before that"))
        self.assertEqual(self.complaints, [])
        self.assertEqual(self.carry(step("b", AWAY), step("c", "ended"), several=True), FAILED)
        self.assertEqual(self.carry(step("b", AWAY), several=True), UNREACHABLE)

    def test_an_interrupt(self) -> None:
        """What is done is told of; what comes behind is not begun."""
        begun: list[str] = []

        def steps() -> Iterator[Step]:
            for name, found in (("a", "ended"), ("b", KeyboardInterrupt()), ("c", "ended")):
                begun.append(name)
                yield step(name, found)

        with writing() as written:
            error = self.assertRaises(CommandError, carry_out, self.fleet, steps(), COLUMNS, False)
        self.assertEqual((error.status, error.text), (INTERRUPTED, "interrupted; 1 done before that"))
        self.assertEqual((written.out, begun), ("handle\tstate\na\tended\n", ["a", "b"]))

    def test_nobody_reads(self) -> None:
        """All of it is done all the same."""
        done: list[str] = []

        def noted(name: str) -> Step:
            def do() -> Row:
                done.append(name)
                return {"handle": name}

            return Step(name, do)

        for as_json in (False, True):
            done.clear()
            with redirect_stdout(Full()):
                self.assertRaises(
                    BrokenPipeError, carry_out, self.fleet, map(noted, "abcd"), COLUMNS, as_json
                )
            self.assertEqual(done, ["a", "b", "c", "d"])


class FleetTests(SynchronousTestCase):
    def fleet(self, *having: Iterable[str]) -> Fleet:
        """Servers that have jobs with these handles."""

        def server(place: int, jobs: Iterable[str]) -> ActingApi:
            paths = [f"/api/v1/jobs/{handle}" for handle in jobs]
            return ActingApi(f"{chr(97 + place)}:1", lambda method, path: {} if path in paths else UNKNOWN)

        return Fleet(FakeServers(*(server(place, jobs) for place, jobs in enumerate(having))))

    def test_a_job_is_done_something_to_where_it_is(self) -> None:
        fleet = self.fleet(["one"], ["two", "same"], ["same"])
        steps = fleet.jobs(["two", "b:1//same"], lambda api, handle: {"handle": handle})
        self.assertEqual(
            [each.do() for each in steps],
            [{"server": "b:1", "handle": "two"}, {"server": "b:1", "handle": "b:1//same"}],
        )
        error = self.assertRaises(CommandError, fleet.of, "same")
        self.assertEqual(error.text, "each of b:1, c:1 has a job same: name one of them by --server")
        error = self.assertRaises(CommandError, fleet.of, "none")
        self.assertEqual(error.code, "unknown_job")

    def test_a_function_at_each(self) -> None:
        steps = list(self.fleet([], []).each("function", ["f", "g"], lambda api, name: {"function": name}))
        self.assertEqual([each.what for each in steps], ["function f"] * 2 + ["function g"] * 2)
        self.assertEqual(
            [each.do() for each in steps],
            [{"server": server, "function": name} for name in "fg" for server in ("a:1", "b:1")],
        )

    def test_the_only_server_is_not_asked_before(self) -> None:
        fleet = self.fleet([])
        self.assertEqual(fleet.of("none").place.name, "a:1")
        self.assertEqual(fleet.row(fleet.apis[0], {"x": 1}), {"x": 1})
        self.assertEqual([column.name for column in fleet.columns(Column("x"))], ["x"])
        named = Fleet(FakeServers(ActingApi("a:1", lambda method, path: None)), naming=True)
        self.assertEqual(named.row(named.apis[0], {"x": 1}), {"server": "a:1", "x": 1})


class HandlesTests(SynchronousTestCase):
    def test_words_and_lines(self) -> None:
        lines = [b"H:vm:2\n", b"\n", b" H:vm:3 \r\n", b"\xff\n"]
        self.assertEqual(
            list(handles(["H:vm:1", "-", "H:vm:4"], lines)),
            [*("H:vm:1", "H:vm:2", "H:vm:3", "\\xff", "H:vm:4")],
        )
        self.assertEqual(list(handles(["a\udcff"], [])), ["a\\xff"])

    def test_a_line_without_end(self) -> None:
        found = handles(["-"], [b"x" * (LONGEST_HANDLE + 1)])
        self.assertEqual(self.assertRaises(CommandError, next, found).status, MISUSED)
        self.assertEqual(list(handles(["-"], [b"x" * LONGEST_HANDLE])), ["x" * LONGEST_HANDLE])


class WordsTests(SynchronousTestCase):
    def test_numbers_of_things(self) -> None:
        self.assertEqual(named(["a"], "job"), "job a")
        self.assertEqual(named(["a", "b"], "function"), "2 functions")
