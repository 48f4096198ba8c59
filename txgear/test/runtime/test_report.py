"""Tests of L{txgear.runtime.report}."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.member import LEAVING, READY, STARTING
from txgear.runtime.renewal import Seen
from txgear.runtime.report import Report
from txgear.runtime.status import Running


def member(state: int, *running: Running, pid: int = 7, idle_since: float = 0.0, memory: int = 0) -> Any:
    """A process that was started at 10.0, as it is at 100.0."""
    seen = Seen(100.0, 10.0, 99.5, 12, idle_since, memory, running)
    return SimpleNamespace(id="images-3", pid=pid, key="secret", state=state, seen=lambda: seen)


def group(*members: Any, wanted: int = 1, loading: bool = False) -> Any:
    ready = any(each.state == READY for each in members)
    return SimpleNamespace(
        wanted=wanted, functions=["resize"], members=members, is_ready=ready, is_loading=loading
    )


class ReportTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.servers = SimpleNamespace(reached={"a:4730": True}, problems={})
        self.supervisor = SimpleNamespace(stopping=False, groups={}, servers=self.servers)
        self.report = Report(cast(Any, self.supervisor))

    def set(self, **groups: Any) -> None:
        self.supervisor.groups = groups

    def test_ready(self) -> None:
        """When each group has a process that is, but those that are to have none."""
        self.set(images=group(member(STARTING)), mail=group(member(READY)), none=group(wanted=0))
        self.assertEqual(self.report.problems(), ["group images: no process is ready"])
        self.set(images=group(member(STARTING), member(READY)))
        self.assertEqual(self.report.problems(), [])

    def test_servers(self) -> None:
        """One that is reached is enough; without any no job comes, whatever processes there are."""
        self.set(images=group(member(READY)))
        self.servers.reached = {"a:4730": False, "b:4730": True}
        self.assertEqual(self.report.problems(), [])
        self.servers.reached = {"a:4730": False, "b:4730": False}
        self.assertEqual(self.report.problems(), ["no server can be reached"])

    def test_gets_no_jobs(self) -> None:
        """Processes that were ready once, and have lost their servers, or stand still, are not."""
        problem = ["group images: no process gets jobs: they have lost their servers, or stand still"]
        for change in ({"in_reach": False}, {"turned": 80.0}):
            lost, well = member(READY), member(READY)
            seen = lost.seen()._replace(**change)
            lost.seen = lambda seen=seen: seen
            self.set(images=group(lost, member(STARTING)))
            self.assertEqual(self.report.problems(), problem)
            self.set(images=group(lost, well))
            self.assertEqual(self.report.problems(), [])
        # One that does a job may do nothing else meanwhile.
        busy = member(READY, Running(0, 80.0, b"H:1", 1, b"resize"))
        seen = busy.seen()._replace(turned=80.0)
        busy.seen = lambda: seen
        self.set(images=group(busy))
        self.assertEqual(self.report.problems(), [])

    def test_the_end(self) -> None:
        self.set(images=group(member(READY)))
        self.supervisor.stopping = True
        self.assertEqual(self.report.problems(), ["it stops"])

    def test_loading(self) -> None:
        self.set(images=group(), mail=group())
        self.assertFalse(self.report.is_loading())
        self.set(images=group(), mail=group(loading=True))
        self.assertTrue(self.report.is_loading())

    def test_summary(self) -> None:
        jobs = [Running(0, 99.0, b"H:1", 1, b"resize"), Running(1, 99.0, b"H:2", 1, b"resize")]
        self.set(images=group(member(READY, *jobs), member(STARTING)), mail=group(member(READY)))
        self.assertEqual(self.report.summary(), "3 processes, 2 of them ready; 2 jobs in hand")

    def test_status(self) -> None:
        job = Running(0, 97.5, b"H:desk:1", 2, b"resize\xff")
        self.servers.reached["b:4730"] = False
        self.servers.problems["b:4730"] = "refused"
        self.set(
            images=group(
                member(READY, job, idle_since=50.0, memory=50_000_000),
                member(LEAVING, idle_since=60.0),
                member(STARTING, pid=0),
                wanted=2,
                loading=True,
            )
        )
        found = self.report.status()
        common = {"id": "images-3", "age": 90.0, "done": 12}
        self.assertEqual(
            found["groups"]["images"]["processes"],
            [
                {
                    **common,
                    "pid": 7,
                    "state": "ready",
                    "idle": None,
                    "memory": 50_000_000,
                    "jobs": [{"function": "resize\\xff", "handle": "H:desk:1", "attempt": 2, "seconds": 2.5}],
                },
                {**common, "pid": 7, "state": "leaving", "idle": 40.0, "memory": None, "jobs": []},
                {**common, "pid": None, "state": "starting", "idle": None, "memory": None, "jobs": []},
            ],
        )
        self.assertEqual(found["groups"]["images"]["wanted"], 2)
        self.assertEqual(found["groups"]["images"]["functions"], ["resize"])
        self.assertEqual((found["ready"], found["problems"], found["loading"]), (True, [], True))
        self.assertEqual(
            found["servers"],
            {
                "a:4730": {"reached": True, "problem": None},
                "b:4730": {"reached": False, "problem": "refused"},
            },
        )
        self.assertNotIn("secret", json.dumps(found))
