"""Tests of L{txgear.stores.durability}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.stores import durability
from txgear.stores.durability import Standbys

SQLITE = {"journal_mode": "wal", "synchronous": "FULL"}
POSTGRESQL = {"synchronous_commit": "on", "fsync": "on", "full_page_writes": "on", "tables": "logged"}
MYSQL = {
    "innodb_flush_log_at_trx_commit": "1",
    "log_bin": "1",
    "sync_binlog": "1",
    "innodb_doublewrite": "1",
    "engine": "InnoDB",
}


class DurabilityTests(SynchronousTestCase):
    def test_sqlite(self) -> None:
        for changed, expected in (
            ({}, ()),
            ({"synchronous": "EXTRA"}, ()),
            ({"journal_mode": "delete"}, ()),
            ({"synchronous": "NORMAL"}, ("synchronous is NORMAL: ",)),
            ({"synchronous": "OFF"}, ("synchronous is OFF: ",)),
            (
                {"synchronous": "OFF", "journal_mode": "memory"},
                ("journal_mode is memory: ", "synchronous is OFF: "),
            ),
        ):
            self.check(durability.of_sqlite({**SQLITE, **changed}), expected)

    def test_postgresql(self) -> None:
        for changed, expected in (
            ({}, ()),
            ({"synchronous_commit": "remote_apply"}, ()),
            ({"synchronous_commit": "local"}, ()),
            ({"synchronous_commit": "off"}, ("synchronous_commit is off: ",)),
            ({"fsync": "off"}, ("fsync is off: ",)),
            ({"full_page_writes": "off"}, ("full_page_writes is off: ",)),
            ({"tables": "unlogged"}, ("the tables are unlogged: ",)),
        ):
            self.check(durability.of_postgresql({**POSTGRESQL, **changed}), expected)

    def test_mysql(self) -> None:
        for changed, expected in (
            ({}, ()),
            ({"innodb_flush_log_at_trx_commit": "3"}, ()),
            ({"innodb_flush_log_at_trx_commit": "2"}, ("innodb_flush_log_at_trx_commit is 2: ",)),
            ({"sync_binlog": "0"}, ("log_bin is on and sync_binlog is 0: ",)),
            ({"sync_binlog": "0", "log_bin": "0"}, ()),
            ({"innodb_doublewrite": "OFF"}, ("innodb_doublewrite is off: ",)),
            ({"engine": "InnoDB MyISAM"}, ("the tables' engine is InnoDB MyISAM",)),
        ):
            self.check(durability.of_mysql({**MYSQL, **changed}), expected)

    def check(self, found: tuple[str, ...], expected: tuple[str, ...]) -> None:
        self.assertEqual(len(found), len(expected), found)
        for doubt, start in zip(found, expected, strict=True):
            self.assertTrue(doubt.startswith(start), doubt)


class StandbysTests(SynchronousTestCase):
    def test_words(self) -> None:
        for standbys, promise, doubt in (
            (Standbys(0, 0, "", "on"), "", ""),
            (Standbys(1, 0, "", "on"), "primary with 1 standby, not waited", "names is empty: a fail"),
            (Standbys(2, 1, "a", "on"), "2 standbys, 1 of them synchronous; each commit waits (synchro", ""),
            (Standbys(2, None, "a", "on"), "2 standbys; each commit waits for a", ""),
            (Standbys(1, 0, "a", "on"), "none of them synchronous: commits wait until there is one", ""),
            (Standbys(0, 0, "a", "remote_write"), "0 standbys, none of them synchronous", ""),
            (Standbys(1, 1, "a", "local"), "not waited for", "synchronous_commit is local: "),
        ):
            self.assertIn(promise, standbys.promise())
            self.assertEqual(bool(standbys.promise()), bool(promise))
            doubts = standbys.doubts(1)
            self.assertEqual(len(doubts), bool(doubt))
            self.assertIn(doubt, "".join(doubts))

    def test_a_standby_that_is_away(self) -> None:
        """The server knows of it by its URL."""
        (doubt,) = Standbys(0, 0, "", "on").doubts(2)
        self.assertIn("synchronous_standby_names is empty", doubt)
