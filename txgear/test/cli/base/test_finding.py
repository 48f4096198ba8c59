"""
Tests for L{txgear.cli.base.finding}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.finding import ask_all, ask_one, that_may_have
from txgear.cli.base.statuses import FAILED, UNREACHABLE, CommandError
from txgear.test.cli.support import FakeApi, FakeServers

UNKNOWN = CommandError("There is no such job", FAILED, "unknown_job")
AWAY = CommandError("b:2: Connection refused", UNREACHABLE)
NO_WORKLOAD = CommandError("The job has ended", FAILED, "no_workload")


def servers(*answers: Any) -> FakeServers:
    """Servers that answer this: a:1, b:2 ..."""
    return FakeServers(
        *(FakeApi(f"{chr(97 + place)}:{place + 1}", {"job": answer}) for place, answer in enumerate(answers))
    )


def ask(api: Any) -> Any:
    return api.get("job")


class AskTests(SynchronousTestCase):
    def all(self, *answers: Any) -> list[Any]:
        """The answers of those that know it."""
        return [found for _, found in ask_all(servers(*answers).apis(), "job H:1", ask)]

    def one(self, *answers: Any) -> tuple[str, Any]:
        """Which one has it, and what it answers."""
        api, found = ask_one(servers(*answers), "H:1", ask)
        return api.place.name, found

    def test_those_that_know_it_answer(self) -> None:
        self.assertEqual(self.all(1, UNKNOWN, 2), [1, 2])
        self.assertEqual(self.all(AWAY, 2), [2])
        self.assertEqual(self.one(UNKNOWN, 5), ("b:2", 5))
        self.assertEqual(self.one(5, AWAY), ("a:1", 5))

    def test_nobody_knows_it(self) -> None:
        for way in (self.all, self.one):
            error = self.assertRaises(CommandError, way, UNKNOWN, UNKNOWN)
            self.assertEqual((error.status, error.code), (FAILED, "unknown_job"))
            self.assertIn("there is no job H:1 at a:1, b:2; ", error.text)
            self.assertIn("'txgear jobs'", error.text)

    def test_one_that_is_away_could_know_it(self) -> None:
        error = self.assertRaises(CommandError, self.one, UNKNOWN, AWAY)
        self.assertEqual(error.status, UNREACHABLE)
        self.assertEqual(error.text, "b:2: Connection refused; no other server has a job H:1")

    def test_what_the_only_one_says_passes(self) -> None:
        self.assertIs(self.assertRaises(CommandError, self.one, AWAY), AWAY)
        self.assertIs(self.assertRaises(CommandError, self.all, NO_WORKLOAD), NO_WORKLOAD)

    def test_who_knows_it_may_have_no_answer(self) -> None:
        for way in (self.all, self.one):
            self.assertIs(self.assertRaises(CommandError, way, UNKNOWN, NO_WORKLOAD, AWAY), NO_WORKLOAD)

    def test_several_have_it(self) -> None:
        """Whether or not they have an answer."""
        for answers in ((1, 2), (1, NO_WORKLOAD)):
            error = self.assertRaises(CommandError, self.one, *answers)
            self.assertEqual(error.text, "each of a:1, b:2 has a job H:1: name one of them by --server")


class ThatMayHaveTests(SynchronousTestCase):
    def names(self, handle: str) -> list[str]:
        """The servers that are asked for a job."""
        return [api.place.name for api in that_may_have(servers(1, 2).apis(), handle)]

    def test_the_one_in_front_is_asked(self) -> None:
        self.assertEqual(self.names("b:2//H:1"), ["b:2"])

    def test_others_are_all_asked(self) -> None:
        for handle in ("H:1", "c:3//H:1", "//H:1", "b:2/H:1"):
            self.assertEqual(self.names(handle), ["a:1", "b:2"])
