"""
Tests for L{txgear.cli.act.tasks}.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.act.acts import Fleet
from txgear.cli.act.selection import Selection
from txgear.cli.act.tasks import (
    LONGEST_WAIT,
    SHORTEST_WAIT,
    Running,
    act_on_all,
    bar_of,
    new_task,
    uninterrupted,
)
from txgear.cli.base.api import ROOT
from txgear.cli.base.progress import Bar
from txgear.cli.base.statuses import DENIED, DONE, FAILED, INTERRUPTED, MISUSED, UNREACHABLE, CommandError
from txgear.test.cli.act.support import ActingApi
from txgear.test.cli.support import FakeApi, FakeServers, writing

AWAY = CommandError("a:1: Connection refused", UNREACHABLE)
FAILURE = {"handle": "H:1", "code": "unique_taken", "detail": "The function has such a job"}


def task(state: str = "done", **more: Any) -> dict[str, Any]:
    """A task as the API has it."""
    ended = "2026-11-28T09:00:00.000Z" if state in ("done", "stopped") else None
    counts = {"total": 9, "looked_at": 9, "matched": 3, "done": 0, "passed": 0, "failed": 0, "failures": []}
    return {"id": 7, "act": "cancel", "state": state, "ended": ended, "preview": False, **counts, **more}


def selection(*, preview: bool = False, yes: bool = True, as_json: bool = False) -> Selection:
    return Selection([], {"function": "mail.*"}, "jobs", preview, yes, as_json)


class Server(ActingApi):
    """A server whose tasks go through some states, one each time that they are asked for."""

    def __init__(self, *states: Any, name: str = "a:1", cluster: Sequence[str] = ()) -> None:
        """
        @param cluster: the servers that have one database, this one being the first.
        """
        super().__init__(name, self._say)
        self._states = list(states)
        self._cluster = cluster

    def _say(self, method: str, path: str) -> Any:
        if path != f"{ROOT}/cluster":
            return self._states.pop(0)
        if not self._cluster:
            return CommandError("The server is in no cluster", FAILED, "no_cluster")
        return {"servers": [{"id": each, "own": each == self._cluster[0]} for each in self._cluster]}


class BarTests(SynchronousTestCase):
    """How far a task is, for people."""

    def bar(self, state: str, *, named: bool = False, **more: Any) -> Bar:
        counts = {"total": 10, "looked_at": 4, "matched": 8, "done": 2, "passed": 1, **more}
        return bar_of(Running(FakeApi("a:1"), task(state, **counts)), named=named)

    def test_looking_comes_before_acting(self) -> None:
        self.assertEqual(self.bar("waiting"), Bar("waiting ", 4, 10))
        self.assertEqual(self.bar("counting"), Bar("counting", 4, 10))
        self.assertEqual(self.bar("done", preview=True), Bar("done    ", 4, 10))
        self.assertEqual(self.bar("acting"), Bar("acting  ", 3, 8))
        self.assertEqual(self.bar("done", failed=3), Bar("done    ", 6, 8, "3 failed"))

    def test_of_several_each_says_where_it_is(self) -> None:
        self.assertEqual(self.bar("acting", named=True), Bar("a:1 acting  ", 3, 8))


class ActOnAllTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.complaints: list[str] = []
        self.waits: list[float] = []

    def act(self, *servers: Server, most: int | None = None, **how: bool) -> int:
        chosen = selection(**how)
        with writing() as written:
            status = act_on_all(
                Fleet(FakeServers(*servers)),
                chosen,
                new_task("cancel", chosen),
                "Cancel {}?",
                most=most,
                sleep=self.waits.append,
                complain=self.complaints.append,
            )
        self.out = written.out
        return status

    def error(self, *servers: Server, **how: Any) -> CommandError:
        error: CommandError = self.assertRaises(CommandError, self.act, *servers, **how)
        return error

    def test_it_is_begun_and_watched(self) -> None:
        server = Server(task("counting"), task("acting"), task("acting", done=2), task(done=3))
        self.assertEqual(self.act(server), DONE)
        order = {"act": "cancel", "of": "jobs", "filter": {"function": "mail.*"}, "preview": False}
        self.assertEqual(server.sent, [("POST", "/api/v1/tasks", order)])
        self.assertEqual([path for path, _ in server.asked], ["/api/v1/tasks/7"] * 3)
        self.assertEqual(self.out, "number\tstate\tmatched\tdone\tpassed\tfailed\n7\tdone\t3\t3\t0\t0\n")
        self.assertEqual(self.complaints, [])

    def test_it_is_asked_for_less_and_less_often(self) -> None:
        self.act(Server(*[task("acting")] * 30, task(done=3)))
        self.assertEqual((self.waits[0], self.waits[-1]), (SHORTEST_WAIT, LONGEST_WAIT))
        self.assertEqual(self.waits, sorted(self.waits))

    def test_a_preview_counts(self) -> None:
        server = Server(task("counting", preview=True), task(preview=True))
        self.assertEqual(self.act(server, preview=True, yes=False), DONE)
        self.assertEqual(self.out, "number\tstate\tmatched\n7\tdone\t3\n")
        self.assertEqual([body["preview"] for _, _, body in server.sent], [True])
        self.act(Server(task(preview=True)), preview=True, as_json=True)
        self.assertEqual(json.loads(self.out), task(preview=True))

    def test_it_counts_before_it_asks(self) -> None:
        """And where nobody can be asked, nothing is done."""
        servers = Server(task(matched=2)), Server(task(matched=10_000), name="b:1")
        error = self.error(*servers, yes=False)
        self.assertEqual(error.status, MISUSED)
        self.assertTrue(error.text.startswith("Cancel 10,002 jobs at 2 servers? "), error.text)
        self.assertEqual([body["preview"] for each in servers for _, _, body in each.sent], [True, True])
        self.assertIn("Cancel 5 jobs?", self.error(Server(task(matched=8)), yes=False, most=5).text)

    def test_nothing_matches(self) -> None:
        server = Server(task(matched=0))
        self.assertEqual(self.act(server, yes=False), DONE)
        self.assertEqual(len(server.sent), 1)
        self.assertIn("\t0\n", self.out)

    def test_some_could_not_be_done(self) -> None:
        server = Server(task(done=1, failed=2, failures=[FAILURE]))
        self.assertEqual(self.act(server), FAILED)
        self.assertEqual(
            self.complaints,
            ["job H:1: The function has such a job", "task 7 at a:1: 1 more could not be done"],
        )

    def test_none_may_be_done(self) -> None:
        denied = {**FAILURE, "code": "access_denied"}
        self.assertEqual(self.act(Server(task(failed=2, failures=[denied, denied]))), DENIED)
        self.assertEqual(self.act(Server(task(done=1, failed=1, failures=[denied]))), FAILED)
        self.assertEqual(self.act(Server(task(failed=2, failures=[denied, FAILURE]))), FAILED)

    def test_of_a_cluster_one_is_asked(self) -> None:
        """It has the others do their part, so jobs would be counted several times."""
        first, alone = Server(task(done=3), cluster=("a", "b", "c")), Server(task(done=3), name="d:1")
        second, third = (Server(name=f"{name}:1", cluster=(name, "a", "b", "c")) for name in "bc")
        self.assertEqual(self.act(first, second, alone, third), DONE)
        self.assertEqual([len(each.sent) for each in (first, second, alone, third)], [1, 0, 1, 0])

    def test_other_servers_that_do_not_do_it(self) -> None:
        share = {"server": "b", "ended": True, "matched": 0, "done": 0, "failed": 0}
        servers = [{**share, "problem": "b does not answer"}, {**share, "server": "c", "problem": None}]
        self.assertEqual(self.act(Server(task(done=3, servers=servers))), FAILED)
        self.assertEqual(self.complaints, ["task 7 at a:1: not at b: b does not answer"])

    def test_somebody_else_stops_it(self) -> None:
        self.assertEqual(self.act(Server(task("acting"), task("stopped", done=1))), FAILED)
        self.assertEqual(
            self.complaints, ["task 7 at a:1 was stopped by somebody else; what is done stays done"]
        )

    def test_a_preview_that_was_stopped_leads_to_nothing(self) -> None:
        server = Server(task("stopped", matched=2))
        self.assertEqual(self.act(server, yes=False), FAILED)
        self.assertEqual(len(server.sent), 1)

    def test_a_server_goes_away(self) -> None:
        """The others go on; nobody knows of its task."""
        other = Server(task("acting"), task("acting"), task(done=3), name="b:1")
        self.assertEqual(self.act(Server(task("acting"), AWAY), other), UNREACHABLE)
        self.assertEqual(
            self.complaints,
            ["task 7 at a:1 may go on, it cannot be seen any more: a:1: Connection refused"],
        )
        self.assertIn("b:1\t7\tdone\t3\t3", self.out)

    def test_it_cannot_be_begun_at_one(self) -> None:
        """Then it is stopped at the others, and that is told."""
        servers = Server(task("acting"), task("stopped", done=1), name="b:1"), Server(AWAY)
        error = self.error(*servers)
        self.assertEqual(error.status, UNREACHABLE)
        self.assertEqual(
            error.text,
            "a:1: Connection refused; task 7 at b:1 is stopped; 1 of 3 jobs is done, and stays so",
        )
        self.assertEqual([method for method, _, _ in servers[0].sent], ["POST", "DELETE"])
        self.assertEqual(self.error(Server(AWAY)).text, AWAY.text)

    def interrupted(self, states: Iterable[Any], **how: bool) -> tuple[Server, CommandError]:
        def sleep(seconds: float) -> None:
            raise KeyboardInterrupt

        self.waits = type("Sleeper", (list,), {"append": lambda self, seconds: sleep(seconds)})()
        server = Server(*states)
        return server, self.error(server, **how)

    def test_an_interrupt_stops_it(self) -> None:
        """Over a new connection, as half an answer may be on the old one."""
        server, error = self.interrupted([task("acting", done=1), task("stopped", done=2)])
        self.assertEqual(server.sent[1], ("DELETE", "/api/v1/tasks/7", None))
        self.assertEqual(server.closed, 1)
        self.assertEqual(error.status, INTERRUPTED)
        self.assertEqual(
            error.text,
            "interrupted: task 7 at a:1 is stopped; 2 of 3 jobs are done, and stay so",
        )

    def test_an_interrupt_of_a_preview(self) -> None:
        server, error = self.interrupted([task("counting"), task("stopped")], yes=False)
        self.assertEqual([method for method, _, _ in server.sent], ["POST", "DELETE"])
        self.assertEqual(error.text, "interrupted: nothing has been done")

    def test_an_interrupt_that_cannot_stop_it(self) -> None:
        _, error = self.interrupted([task("acting"), AWAY])
        self.assertEqual(error.text, "interrupted: task 7 at a:1 may go on (a:1: Connection refused)")


class UninterruptedTests(SynchronousTestCase):
    def test_an_interrupt_waits(self) -> None:
        seen: list[str] = []

        def note(number: int, frame: Any) -> None:
            seen.append("interrupt")

        before = signal.signal(signal.SIGINT, note)
        try:
            with uninterrupted():
                signal.raise_signal(signal.SIGINT)
                seen.append("begun")
            self.assertEqual(seen, ["begun", "interrupt"])
        finally:
            signal.signal(signal.SIGINT, before)
