"""Tests of L{txgear.stores.sql} on SQLite files that are damaged, or no longer what they were."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import event

from txgear.broker.records import Batch, JobChange
from txgear.errors import StoreRefused, StoreUnavailable, StoreUnusable
from txgear.test.stores.test_sqlite import SQLiteCase
from txgear.test.support.batches import adding, addition, changing, deleting, deleting_all, with_results

PAGE = 4096
"""SQLite's size of a page."""


def damage(path: str, workload: bytes) -> None:
    """Damage a page with a part of this workload, in a closed file: it begins with the next one's number."""
    with open(path, "r+b") as file:
        pages = file.read()
        for start in range(0, len(pages), PAGE):
            page = pages[start : start + PAGE]
            # Not the page of the table, which has parts of others.
            if workload * 3 in page and 0 < int.from_bytes(page[:4], "big") < len(pages) // PAGE:
                file.seek(start)
                file.write(b"\xff" * 4)
                return
    raise AssertionError("there is no such page")


class DamageTests(SQLiteCase):
    def test_a_file_of_something_else(self) -> None:
        with open(self.path, "wb") as file:
            file.write(b"no database " * 1000)
        self.assertIn("it is no SQLite database: move it away", self.refusal_to_open())

    def test_a_damaged_file(self) -> None:
        self.fill()
        with open(self.path, "r+b") as file:
            file.seek(4096)
            file.write(b"\x55" * 4096 * 8)
        self.assertIn("it is damaged: restore it from a backup", self.refusal_to_open())

    def test_damage_that_is_found_later(self) -> None:
        self.fill()
        self.store.open()
        other = self.other()
        other.execute("PRAGMA writable_schema = ON")
        other.execute("UPDATE sqlite_master SET rootpage = 1 WHERE name = 'txgear_workloads'")
        other.execute("PRAGMA schema_version = 1000")
        with self.assertRaises(StoreUnavailable):
            self.store.workloads([1])
        self.assertIn("restore it from a backup", self.refusal_to_open())

    def test_a_file_that_cannot_be_written(self) -> None:
        self.fill()
        self.each_connection("PRAGMA query_only = ON")
        text = self.refusal_to_open()
        self.assertIn("attempt to write a readonly database: let the server's user write the file", text)

    def test_a_place_without_a_write_ahead_log(self) -> None:
        def connect(*arguments: Any) -> sqlite3.Connection:
            return sqlite3.connect(":memory:", isolation_level=None)

        event.listen(self.store._dialect.engine, "do_connect", connect)
        self.assertIn("name a file on a local disk", self.refusal_to_open())

    def test_tables_of_somebody_else(self) -> None:
        self.other().execute("CREATE TABLE txgear_jobs (id INTEGER)")
        self.assertIn("its tables are not txgear's", self.refusal_to_open())

    def test_a_table_that_somebody_has_dropped(self) -> None:
        self.fill()
        self.other().execute("DROP TABLE txgear_numbers")
        text = self.refusal_to_open()
        self.assertIn("txgear_numbers: its tables are not all there: restore it from a backup", text)

    def test_the_numbers_are_gone(self) -> None:
        self.fill()
        self.other().execute("DELETE FROM txgear_numbers")
        self.assertIn("txgear_numbers has 0 rows instead of one", self.refusal_to_open())

    def test_errors_that_are_not_the_databases(self) -> None:
        for error, expected in ((TypeError("odd\noption"), StoreUnusable), (KeyboardInterrupt(), None)):
            store = self.make_store()

            def fail(connection: Any, record: Any, error: BaseException = error) -> None:
                raise error

            event.listen(store._dialect.engine, "connect", fail)
            with self.assertRaises(expected or type(error)) as caught:
                store.open()
            self.assertNotIn("\n", str(caught.exception))
            store.close(None)
        self.store.open()


class DamagedWorkloadTests(SQLiteCase):
    """A page of one workload is damaged."""

    def setUp(self) -> None:
        super().setUp()
        self.store.open()
        self.store.write(
            adding(*[addition(number, b"%d of them." % number * 3000) for number in range(1, 6)])
        )
        self.store.close(None)
        damage(self.path, b"3 of them.")
        self.store.open()

    def write_twice(self, batch: Batch) -> None:
        """The first time the damage is met with."""
        with self.assertRaises(StoreUnavailable):
            self.store.write(batch)
        self.store.open()
        self.store.write(batch)

    def test_the_others_are_read(self) -> None:
        with self.assertRaises(StoreUnavailable):
            self.store.workloads([1, 2, 3])
        self.store.open()
        self.assertEqual(set(self.store.workloads([1, 2, 4, 5])), {1, 2, 4, 5})

    def test_its_job_can_end(self) -> None:
        """With others, in each way; the row that cannot be removed is nobody's then."""
        self.write_twice(deleting([2, 3, 4]))
        self.assertEqual(self.store.known(range(10)), {1, 5})
        self.assertEqual(set(self.store.workloads(range(10))), {1, 5})
        self.store.write(deleting_all([1, 3, 5]))
        self.assertEqual(self.store.known(range(10)), set())

    def test_it_is_the_first_one(self) -> None:
        self.store.write(deleting([1, 2]))
        self.store.close(None)
        self.store.open()
        self.assertEqual(self.store.known(range(10)), {3, 4, 5})

    def test_it_cannot_be_replaced(self) -> None:
        """The others can, and so can all else of its job."""
        batch = changing(JobChange(3, b"g", 0, None, b"new"), JobChange(4, b"g", 0, None, b"new"))
        with self.assertRaises(StoreUnavailable):
            self.store.write(batch)
        self.store.open()
        for _ in range(2):
            with self.assertRaises(StoreRefused) as caught:
                self.store.write(batch)
            self.assertEqual(
                str(caught.exception), "the workload of job 3 is damaged, and cannot be replaced"
            )
        self.store.write(changing(JobChange(3, b"g", 0, None), batch.changes[1]))
        self.assertEqual(self.store.workloads([4]), {4: b"new"})
        self.assertEqual([job.function for job in self.store.replay(2, 2)], [b"g", b"g"])

    def test_it_can_have_a_result(self) -> None:
        self.write_twice(with_results((3, b"result"), (4, b"another")))
        self.assertEqual(self.store.results([3, 4]), {3: b"result", 4: b"another"})
