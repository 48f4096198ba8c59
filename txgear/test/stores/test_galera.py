"""Tests of L{txgear.stores.galera}, and of what a store makes of it."""

from __future__ import annotations

from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from txgear.stores import galera
from txgear.test.support.extras import PROPERTY, given, needs, st

OPTIONS = (
    "base_dir = /var/lib/mysql/; evs.inactive_check_period = PT0.5S; evs.inactive_timeout = PT15S;"
    " evs.keepalive_period = PT1S; evs.suspect_timeout = PT5S; gcomm.thread_prio = ; pc.ignore_sb = false; "
)
WELL = {
    "wsrep_cluster_size": "3",
    "wsrep_cluster_status": "Primary",
    "wsrep_ready": "ON",
    "wsrep_local_state_comment": "Synced",
}


class StandstillTests(SynchronousTestCase):
    def test_durations(self) -> None:
        for text, expected in (
            ("PT5S", 5.0),
            ("PT0.5S", 0.5),
            ("PT1M", 60.0),
            ("PT1M30S", 90.0),
            ("PT1H", 3600.0),
            ("P1D", 86400.0),
            ("P1DT1S", 86401.0),
            ("P", None),
            ("PT", None),
            ("5", None),
            ("", None),
            ("PT1.2.3S", None),
        ):
            self.assertEqual(galera.seconds(text), expected, text)

    @PROPERTY
    @given(st.text("PTDHMS0123456789.-", max_size=12))
    def test_any_duration(self, text: str) -> None:
        found = galera.seconds(text)
        self.assertTrue(found is None or found >= 0)

    def test_its_defaults(self) -> None:
        settings = galera.options(OPTIONS)
        self.assertEqual(settings["evs.suspect_timeout"], "PT5S")
        self.assertEqual(settings["gcomm.thread_prio"], "")
        self.assertEqual(galera.standstill(settings), 6.5)

    def test_other_settings(self) -> None:
        settings = {**galera.options(OPTIONS), "evs.suspect_timeout": "PT30S"}
        self.assertEqual(galera.standstill(settings), 31.5)

    def test_what_cannot_be_read_is_the_default(self) -> None:
        self.assertEqual(galera.standstill({}), 6.5)
        self.assertEqual(galera.standstill({"evs.suspect_timeout": "soon"}), 6.5)
        self.assertEqual(galera.options(""), {})


class WordsTests(SynchronousTestCase):
    def test_nothing_is_said_against_three_nodes(self) -> None:
        self.assertEqual(galera.doubts(WELL, galera.options(OPTIONS)), ())
        self.assertEqual(
            galera.promise(WELL),
            "Galera cluster of 3 nodes, Primary; this node is Synced; each commit is at all of them",
        )

    def test_doubts(self) -> None:
        for status, settings, words in (
            ({"wsrep_cluster_status": "non-Primary"}, {}, "cut off from its cluster (non-Primary)"),
            ({"wsrep_ready": "OFF", "wsrep_local_state_comment": "Joined"}, {}, "not ready (Joined)"),
            ({"wsrep_cluster_size": "1"}, {}, "has one node"),
            ({"wsrep_cluster_size": "2"}, {}, "has two nodes"),
            ({}, {"pc.ignore_sb": "true"}, "both take jobs"),
        ):
            (doubt,) = galera.doubts({**WELL, **status}, settings)
            self.assertIn(words, doubt)

    def test_what_is_not_said(self) -> None:
        (doubt,) = galera.doubts({}, {})
        self.assertIn("unknown", doubt)
        said = galera.promise({"wsrep_cluster_size": "1"})
        self.assertIn("of 1 node, unknown; this node is unknown", said)


@needs("pymysql")
class BearingTests(SynchronousTestCase):
    """How long a store is waited for that stands still now and then."""

    def said(self, timeout: float | None, *stalls: float) -> tuple[float, list[str]]:
        from txgear.stores.mysql import MySQL

        dialect = MySQL("mysql://me:secret@db/jobs", None, timeout)
        events: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            events.append(event["log_format"].format(**event))

        dialect.log = Logger(observer=observe)
        for stall in stalls:
            dialect.bear(stall, "evs.suspect_timeout is PT5S")
        return dialect.timeout, events

    def test_it_is_waited_for_by_default(self) -> None:
        timeout, said = self.said(None, 6.5, 6.5)
        self.assertEqual(timeout, 10.0)
        (line,) = said
        self.assertEqual(
            line,
            "mysql://me@db/jobs answers nothing for 6.5 seconds when a node dies"
            " (evs.suspect_timeout is PT5S): what is to be stored waits for up to 10 seconds",
        )

    def test_what_somebody_has_set_stays(self) -> None:
        timeout, said = self.said(5.0, 6.5, 6.5)
        self.assertEqual(timeout, 5.0)
        (line,) = said
        self.assertIn("--store-timeout is 5: submits are refused meanwhile", line)
        self.assertIn("Leave that option out, or say 10", line)

    def test_it_is_said_again_when_it_has_changed(self) -> None:
        self.assertEqual(len(self.said(5.0, 6.5, 31.5, 31.5)[1]), 2)
        timeout, said = self.said(None, 6.5, 31.5)
        self.assertEqual((timeout, len(said)), (48.0, 2))

    def test_nothing_is_said_where_there_is_time(self) -> None:
        for timeout, stall in ((10.0, 6.5), (None, 2.0)):
            self.assertEqual(self.said(timeout, stall)[1], [])
