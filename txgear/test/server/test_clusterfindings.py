"""Tests of L{txgear.server.clusterfindings}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.diagnosis.findings import CRITICAL, WARNING
from txgear.broker.rights import SETTINGS
from txgear.server.clusterfindings import CODES, FREE_SECONDS, NAMED, UNSEEN_SECONDS, findings, survey
from txgear.server.clusterview import Status
from txgear.test.support.broker import FakeRights
from txgear.test.support.clusterview import STATUS, FakeCluster, free_part, server_shown
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture, ServerFixture

A = server_shown("a", 1, own=True)


class FindingsTests(SynchronousTestCase):
    def join(self, *others: Any, free: Any = (), own: Any = A) -> FakeCluster:
        self.fixture = DurableServerFixture(FaultyStore(), lease=8.0)
        self.fixture.connect()
        (self.peer,) = self.fixture.server.broker.peers
        view = self.fixture.server.cluster = FakeCluster(own, *others, free=tuple(free))
        return view

    def found(self) -> dict[str, Any]:
        """What is found, by its code."""
        found = list(findings(self.fixture.server, self.peer))
        by_code = {finding.code: finding for finding in found}
        self.assertEqual(len(by_code), len(found))
        self.assertEqual(list(by_code), [code for code in CODES if code in by_code])
        return by_code

    def test_all_is_well(self) -> None:
        self.join(server_shown("b", 2), server_shown("c", 3, seconds=3.9))
        self.assertEqual(self.found(), {})

    def test_without_a_cluster(self) -> None:
        for fixture in (ServerFixture(), DurableServerFixture(FaultyStore())):
            fixture.connect()
            (peer,) = fixture.server.broker.peers
            self.assertEqual(list(findings(fixture.server, peer)), [])

    def test_lapsed(self) -> None:
        """Whoever asks is told, whatever he may see."""
        self.join(server_shown("b", 2, seconds=30.0))
        self.peer.rights = FakeRights((SETTINGS, b""))
        self.assertEqual(self.found(), {})
        self.fixture.clock.advance(9)
        (finding,) = self.found().values()
        self.assertEqual((finding.code, finding.severity), ("lease_lapsed", CRITICAL))
        self.assertEqual(
            finding.text,
            "this server has not heard of the database for so long that others may have its jobs, since"
            " 00:16:47 UTC (2 s): it hands out no stored job and takes no background job",
        )
        self.assertEqual(finding.facts, {"since": "1970-01-01T00:16:47.000Z", "seconds": 2.0})

    def test_unseen(self) -> None:
        """Nothing is said of the others then."""
        view = self.join(server_shown("b", 2, seconds=30.0))
        view.looked = UNSEEN_SECONDS + 7
        (finding,) = self.found().values()
        self.assertEqual(
            (finding.code, finding.severity, finding.text, finding.facts),
            (
                "cluster_unseen",
                WARNING,
                "the database has not told of the other servers for 12 s",
                {"seconds": 12.0},
            ),
        )

    def test_free(self) -> None:
        self.join(free=[free_part(4, FREE_SECONDS - 0.1)])
        self.assertEqual(self.found(), {})
        self.join(free=[free_part(4, 31.6)])
        (finding,) = self.found().values()
        self.assertEqual((finding.code, finding.severity), ("part_unowned", CRITICAL))
        self.assertEqual(
            finding.text,
            "nobody has had part 4 for 31 s, and no server takes what it finds so: those jobs wait",
        )
        self.join(free=[free_part(number, 20.0) for number in range(2, NAMED + 4)])
        (finding,) = self.found().values()
        self.assertIn("parts 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more for 20 s", finding.text)
        self.assertEqual(len(finding.facts["parts"]), NAMED)

    def test_silent(self) -> None:
        self.join(server_shown("b", 2, seconds=6.3))
        (finding,) = self.found().values()
        self.assertEqual((finding.code, finding.severity), ("server_silent", WARNING))
        self.assertEqual(finding.text, "no sign of life from b for 6 s: others take its jobs after 8 s")
        self.assertEqual(finding.facts, {"servers": ["b"], "seconds": 6.3, "lease": 8.0})
        self.join(server_shown("b", 2, seconds=6.3), server_shown("c", 3, seconds=40.0))
        (finding,) = self.found().values()
        self.assertEqual(finding.severity, CRITICAL)
        self.assertEqual(
            finding.text,
            "no sign of life from b, c for up to 40 s: its lease has ended, and nobody has taken its jobs",
        )

    def test_one_that_knows_of_no_others(self) -> None:
        self.join(server_shown("b", 2)._replace(key=""))
        (finding,) = self.found().values()
        self.assertEqual((finding.code, finding.severity), ("not_clustered", CRITICAL))
        self.assertEqual(
            finding.text,
            "a server without --cluster has a part: b; it shares no uniques, settings, limits or schedules"
            " with the others",
        )
        self.assertEqual(finding.facts, {"name": "b"})
        # It has ended, and its part is about to be taken.
        self.join(server_shown("b", 2, seconds=6.3)._replace(key=""))
        self.assertEqual(list(self.found()), ["server_silent"])

    def test_one_name(self) -> None:
        self.join(server_shown("b", 2), server_shown("b", 3))
        (finding,) = self.found().values()
        self.assertEqual((finding.code, finding.severity), ("same_name", WARNING))
        self.assertEqual(finding.text, "several servers are called b: nobody can tell them apart")
        # One that was started again, before its former life is over.
        self.join(server_shown("b", 2, seconds=5.0), server_shown("b", 3))
        self.assertEqual(list(self.found()), ["server_silent"])

    def test_leases(self) -> None:
        self.join(
            server_shown("b", 2, status=STATUS._replace(lease=20.5)), server_shown("c", 3, status=Status())
        )
        (finding,) = self.found().values()
        self.assertEqual((finding.code, finding.severity), ("leases_differ", WARNING))
        self.assertIn("of different lengths: a 8 s, b 20.5 s; one", finding.text)
        self.assertEqual(finding.facts, {"leases": {"a": 8.0, "b": 20.5}})

    def test_versions(self) -> None:
        self.join(server_shown("b", 2, status=STATUS._replace(version="1.3")))
        (finding,) = self.found().values()
        self.assertEqual((finding.code, finding.severity), ("versions_differ", WARNING))
        self.assertEqual(finding.text, "servers have different versions: a 1.2, b 1.3")

    def test_who_may_see_settings(self) -> None:
        self.join(server_shown("b", 2, seconds=6.3))
        self.peer.rights = FakeRights((SETTINGS, b""))
        self.assertEqual(self.found(), {})

    def test_a_survey_has_them(self) -> None:
        """The worst first, also among those of all functions."""
        self.join(server_shown("b", 2, seconds=6.3))
        self.fixture.clock.advance(9)
        found = survey(self.fixture.server, self.peer)
        for _ in found.steps():
            pass
        codes = [finding.code for finding in found.server]
        self.assertEqual(codes, ["store_unavailable", "lease_lapsed", "server_silent"])
        operator = self.fixture.connect()
        told = operator.ask(b"diagnose\n")
        self.fixture.clock.pump([0] * 20)
        rows = [line.split(b"\t")[2] for line in (told + operator.heard()).splitlines()[:-1]]
        self.assertEqual([row.decode() for row in rows], codes)

    def test_all_codes(self) -> None:
        self.join(
            server_shown("b", 2, seconds=30.0),
            server_shown("c", 3, status=STATUS._replace(version="1.3", lease=9.0)),
            server_shown("c", 4),
            server_shown("d", 6)._replace(key=""),
            free=[free_part(5, 60.0)],
        )
        self.fixture.clock.advance(9)
        self.assertEqual({*self.found()}, {*CODES} - {"cluster_unseen"})
