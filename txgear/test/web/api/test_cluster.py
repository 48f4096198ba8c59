"""Tests of L{txgear.web.api.cluster} and L{txgear.server.clusterstate}."""

from __future__ import annotations

from typing import Any

from txgear.server import clusterstate
from txgear.server.clusterview import Status
from txgear.test.support.clusterview import FakeCluster, free_part, server_shown
from txgear.test.support.journal import WELL, FaultyStore, ReportingStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.web.api.apicase import ApiTestCase
from txgear.web.api import cluster
from txgear.web.api.cluster import ClusterState

PATH = "/api/v1/cluster"


class ClusterTests(ApiTestCase):
    parts = (cluster,)

    def join(self, store: FaultyStore, view: FakeCluster) -> None:
        """Be in a cluster."""
        self.use(DurableServerFixture(store, lease=8.0))
        self.fixture.server.cluster = view
        self.clock.advance(1)

    def found(self) -> Any:
        return self.read(PATH, ClusterState)

    def test_without_one(self) -> None:
        answer = self.ask("GET", PATH)
        self.assertEqual((answer.status, answer.code), (404, "no_cluster"))
        self.assertIn("without --cluster", answer.json["detail"])
        self.use(DurableServerFixture(FaultyStore()))
        self.assertEqual(self.ask("GET", PATH).status, 404)

    def test_its_right(self) -> None:
        self.use(DurableServerFixture(FaultyStore(), lease=8.0))
        self.fixture.server.cluster = FakeCluster()
        self.allow("http", "see", "metrics")
        self.assertEqual(self.ask("GET", PATH).code, "access_denied")

    def test_all_of_it(self) -> None:
        view = FakeCluster(
            server_shown("a", 1, 3, address="a.example:4730", own=True),
            server_shown("b", 2, seconds=6.0, status=Status()),
            free=(free_part(4),),
        )
        view.takeovers, view.silent = 3, 1
        self.join(ReportingStore(), view)
        found = self.found()
        figures = {name: found[name] for name in ("lease", "looked", "trust", "taken", "silent")}
        self.assertEqual(figures, {"lease": 8.0, "looked": 0.25, "trust": 6.0, "taken": 3, "silent": 1})
        ours, theirs = found["servers"]
        self.assertEqual((ours["name"], ours["address"], ours["own"]), ("a", "a.example:4730", True))
        self.assertEqual((ours["state"], theirs["state"]), ("alive", "silent"))
        self.assertEqual((ours["id"], theirs["id"]), (f"{1:032x}", f"{2:032x}"))
        self.assertEqual(
            ours["parts"],
            [
                {"part": 1, "term": 1, "beat": 41, "seconds": 0.5},
                {"part": 3, "term": 1, "beat": 43, "seconds": 0.5},
            ],
        )
        self.assertEqual((ours["queued"], ours["running"], ours["version"]), (12, 3, "1.2"))
        self.assertEqual((theirs["silent"], theirs["address"], theirs["queued"]), (6.0, None, None))
        self.assertEqual([part["part"] for part in found["free"]], [4])

    def test_what_the_database_promises(self) -> None:
        self.join(FaultyStore(), FakeCluster())
        self.assertEqual(self.found()["database"]["promise"], clusterstate.UNKNOWN)
        self.assertEqual(self.found()["database"]["doubts"], [])
        store = ReportingStore()
        self.join(store, FakeCluster())
        self.found()
        self.fixture.thread.run_all()
        self.assertEqual(self.found()["database"]["promise"], clusterstate.ALONE)
        store = ReportingStore()
        store.said = WELL._replace(doubts=(), promise="primary with 1 standby, not waited for")
        self.join(store, FakeCluster())
        self.found()
        self.fixture.thread.run_all()
        found = self.found()["database"]
        self.assertEqual((found["state"], found["promise"]), ("ok", "primary with 1 standby, not waited for"))

    def test_lapsed(self) -> None:
        self.join(FaultyStore(), FakeCluster())
        self.clock.advance(7)
        found = self.found()
        self.assertEqual((found["trust"], found["database"]["state"]), (0.0, "away"))
        self.assertIn("others may have its jobs", found["database"]["why"])
