"""Tests of L{txgear.stores.durability}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.stores import durability

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
