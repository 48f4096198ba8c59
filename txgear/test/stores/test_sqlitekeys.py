"""Tests of L{txgear.stores.sqlitekeys}."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.keys import hash_of
from txgear.broker.records import ByKey, JobChange, JobRecord, WithUnique
from txgear.errors import StoreRefused
from txgear.stores import make_store, migrations
from txgear.stores.sql import SqlStore
from txgear.stores.sqlite import SQLite
from txgear.stores.sqlitekeys import BLOCK_BITS, BLOCKS, HASH, MOST_DUE, MOST_LATER, SAY_EVERY
from txgear.stores.sqliterows import SQLiteQuestions
from txgear.test.support.batches import adding, changing, deleting
from txgear.test.support.storequestions import job

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor

SIZE: Final = 1 << BLOCK_BITS
"""Numbers of a block."""


class QuestionsAtOnce(SQLiteQuestions):
    """Those of a table to which keys come as soon as they may, also while it is empty."""

    def place(self, cursor: DBAPICursor, *, at_once: bool = True) -> bool:
        return super().place(cursor, at_once=at_once)


class SQLiteAtOnce(SQLite):
    questions_class = QuestionsAtOnce


class KeysCase(SynchronousTestCase):
    """Jobs whose numbers are far apart, so that blocks need not have many."""

    def setUp(self) -> None:
        self.path = os.path.realpath(self.mktemp())
        self.store = self.make_store()
        self.store.open()

    def make_store(self) -> SqlStore:
        store = SqlStore(self.make_dialect())
        self.addCleanup(lambda: store.close(None))
        return store

    def make_dialect(self) -> SQLite:
        return SQLiteAtOnce(self.path)

    def reopen(self) -> None:
        self.store.close(None)
        self.store.open()

    def add(self, *numbers: int) -> None:
        self.store.write(adding(*(job(number, unique=b"u%d" % number) for number in numbers)))

    def rows(self) -> list[int]:
        """The jobs of the keys in the table."""
        with closing(sqlite3.connect(self.path)) as file:
            found = file.execute("SELECT number FROM txgear_keys WHERE ukey >= 0 ORDER BY number")
            return [number for (number,) in found]

    def placed(self) -> int:
        """Up to where they are there."""
        with closing(sqlite3.connect(self.path)) as file:
            number: int = file.execute("SELECT number FROM txgear_keys WHERE ukey < 0").fetchall()[0][0]
            return number

    def assert_known(self, *numbers: int) -> None:
        """These are all that are found, by whatever is asked."""
        keys = [b"u%d" % number for number in numbers]
        for _ in range(2):
            self.assertEqual(sorted(row.number for row in self.store.rows(ByKey(keys))), sorted(numbers))
            for key, number in zip(keys, numbers, strict=True):
                self.assertEqual([row.number for row in self.store.rows(WithUnique(key, 0, 9))], [number])
            found: list[int] = []
            while page := self.store.hashes(found[-1] if found else -1, 3):
                found += page
            self.assertEqual(found, sorted(found))
            self.assertEqual({each & HASH for each in found}, set(map(hash_of, keys)))
            self.reopen()


class PlaceTests(KeysCase):
    def test_those_of_a_whole_block_come_to_the_table_when_the_next_one_has_begun(self) -> None:
        self.add(1, 2, SIZE - 1)
        self.add(SIZE)
        self.assertEqual((self.rows(), self.placed()), ([], 0))
        self.assert_known(1, 2, SIZE - 1, SIZE)
        self.add(SIZE + 1)
        self.assertEqual((self.rows(), self.placed()), ([1, 2, SIZE - 1], SIZE - 1))
        self.assert_known(1, 2, SIZE - 1, SIZE, SIZE + 1)

    def test_what_has_ended_does_not(self) -> None:
        self.add(1, 2, 3)
        self.store.write(deleting([1, 3]))
        self.add(SIZE)
        self.add(SIZE + 1)
        self.assertEqual(self.rows(), [2])
        self.assert_known(2, SIZE, SIZE + 1)

    def test_many_blocks_at_once(self) -> None:
        numbers = range(SIZE // 2, 9 * SIZE, SIZE // 4)
        self.add(*numbers)
        self.assert_known(*numbers)
        self.store.write(deleting([]))
        self.assertEqual(self.rows(), [number for number in numbers if number < 8 * SIZE])
        self.assert_known(*numbers)

    def test_blocks_that_nothing_came_to(self) -> None:
        self.add(1)
        self.add(10**12)
        self.add(10**12 + 1)
        self.assertEqual((self.rows(), self.placed()), ([1], (10**12 & -SIZE) - 1))
        self.assert_known(1, 10**12, 10**12 + 1)

    def test_jobs_without_keys(self) -> None:
        self.store.write(adding(job(1), job(SIZE), job(5 * SIZE)))
        self.store.write(adding(job(5 * SIZE + 1), job(5 * SIZE + 2, unique=b"-")))
        self.assertEqual((self.rows(), self.placed()), ([], 5 * SIZE - 1))
        self.assert_known()

    def test_blocks_before_the_first_ones_again(self) -> None:
        first = BLOCKS * SIZE
        numbers = [1, SIZE, first - 1, first + 1, first + SIZE, first + 2 * SIZE]
        for number in numbers:
            self.add(number)
        self.assertEqual(self.rows(), numbers[:-2])
        self.assert_known(*numbers)

    def test_a_job_that_comes_late(self) -> None:
        self.add(1, SIZE + 1, 3 * SIZE)
        self.add(2, SIZE, 3 * SIZE + 1)
        self.assertEqual(self.rows(), [1, 2, SIZE, SIZE + 1])
        self.assert_known(1, 2, SIZE, SIZE + 1, 3 * SIZE, 3 * SIZE + 1)
        self.store.write(deleting([1, 2]))
        self.assertEqual(self.rows(), [SIZE, SIZE + 1])

    def test_many_with_the_same_key(self) -> None:
        numbers = [1, 2, SIZE, SIZE + 1, 2 * SIZE, 2 * SIZE + 1, 2 * SIZE + 2]
        for part in ([1], [2], [SIZE, SIZE + 1, 2 * SIZE], [2 * SIZE + 1], [2 * SIZE + 2]):
            self.store.write(adding(*(job(number, unique=b"u") for number in part)))
        for _ in range(2):
            self.assertEqual([row.number for row in self.store.rows(WithUnique(b"u", 0, 99))], numbers)
            self.assertEqual(sorted(row.number for row in self.store.rows(ByKey([b"u"]))), numbers)
            self.reopen()
        self.add(3 * SIZE)
        self.add(3 * SIZE + 1)
        self.assertEqual(self.rows(), numbers)

    def test_a_transaction_that_is_undone(self) -> None:
        """It has put keys into the table, and these are only in memory again."""
        self.add(1, 2)
        self.add(SIZE)
        with self.assertRaises(StoreRefused):
            self.add(SIZE + 1, SIZE)
        self.assertEqual((self.rows(), self.placed()), ([], 0))
        self.assertEqual(len(self.store.rows(ByKey([b"u1", b"u2"]))), 2)
        self.add(SIZE + 1)
        self.assertEqual(self.rows(), [1, 2])
        self.assert_known(1, 2, SIZE, SIZE + 1)


class LaterTests(KeysCase):
    """An empty table waits for more keys."""

    def make_dialect(self) -> SQLite:
        return SQLite(self.path)

    def add_blocks(self, first: int, end: int) -> list[int]:
        """One job in each of these blocks; each comes by itself."""
        numbers = [block * SIZE + 1 for block in range(first, end)]
        for number in numbers:
            self.add(number)
        return numbers

    def test_a_few_blocks(self) -> None:
        numbers = self.add_blocks(0, MOST_LATER + 1)
        self.add(numbers[-1] + 1)
        self.assertEqual((self.rows(), self.placed()), ([], 0))
        self.assert_known(*numbers, numbers[-1] + 1)
        # It was opened again.
        self.assertEqual(self.rows(), numbers[:-1])

    def test_more(self) -> None:
        numbers = self.add_blocks(0, MOST_LATER + 2)
        self.assertEqual(self.rows(), [])
        self.add(numbers[-1] + 1)
        self.assertEqual((self.rows(), self.placed()), (numbers[:-1], (MOST_LATER + 1) * SIZE - 1))
        self.assert_known(*numbers, numbers[-1] + 1)

    def test_more_behind_those_that_have_ended(self) -> None:
        ended = self.add_blocks(0, MOST_LATER + 1)
        self.store.write(deleting(ended))
        numbers = self.add_blocks(MOST_LATER + 1, 2 * MOST_LATER + 2)
        # Those that had ended were passed over when there were more of them.
        self.assertEqual((self.rows(), self.placed()), ([], (MOST_LATER + 1) * SIZE - 1))
        self.assert_known(*numbers)

    def test_a_table_that_has_keys_does_not_wait(self) -> None:
        numbers = self.add_blocks(0, MOST_LATER + 2)
        numbers += self.add_blocks(MOST_LATER + 2, MOST_LATER + 4)
        self.assertEqual(self.rows(), numbers[:-2])
        self.store.write(deleting(numbers[:-1]))
        self.assertEqual(self.rows(), [])
        last = numbers[-1]
        self.add(last + SIZE)
        self.add(last + SIZE + 1)
        self.assertEqual(self.rows(), [])
        self.assert_known(last, last + SIZE, last + SIZE + 1)


class ChangeTests(KeysCase):
    def change(self, number: int, digest: int) -> None:
        self.store.write(changing(JobChange(number, b"f", 1, digest.to_bytes(16, "big"), b"w", b"-")))

    def found(self, *keys: int) -> list[int]:
        return sorted(row.number for row in self.store.rows(ByKey(keys)))

    def test_a_job_gets_another_key(self) -> None:
        """Whether its key is in the table or not."""
        for number in (1, SIZE):
            key = job(number, unique=b"-", digest=number.to_bytes(16, "big"))
            self.store.write(adding(key))
        self.add(SIZE + 1)
        self.assertEqual(self.rows(), [1])
        for number in (1, SIZE):
            self.change(number, 5 + number)
            self.assertEqual((self.found(number), self.found(5 + number)), ([], [number]))
            many = range(10**6, 10**6 + 300)
            self.assertEqual(self.found(number, *many, 5 + number), [number])
        keys = {hash_of(6), hash_of(5 + SIZE), hash_of(b"u%d" % (SIZE + 1))}
        for _ in range(2):
            self.assertEqual({each & HASH for each in self.store.hashes(-1, 99)}, keys)
            self.reopen()
        self.change(1, 1)
        self.assertEqual((self.found(6), self.found(1), self.rows()), ([], [1], [1]))


class GoneTests(KeysCase):
    def fill(self, *blocks: int) -> list[int]:
        """Forty jobs in each."""
        numbers = [block * SIZE + number for block in blocks for number in range(1, 41)]
        self.add(*numbers)
        self.add((blocks[-1] + 1) * SIZE)
        self.add((blocks[-1] + 1) * SIZE + 1)
        self.assertEqual(self.rows(), numbers)
        return numbers

    def test_keys_go_when_most_of_their_block_have_ended(self) -> None:
        blocks = range(MOST_DUE + 1)
        self.fill(*blocks)
        for block in blocks:
            self.assertEqual(self.rows()[:40], list(range(1, 41)))
            self.store.write(deleting(range(block * SIZE + 1, block * SIZE + 31)))
            self.assertEqual(len(self.store.rows(ByKey([b"u1", b"u31"]))), 1)
        # One of them waits no longer.
        self.assertEqual(self.rows()[:11], [*range(31, 41), SIZE + 1])
        self.store.write(deleting(range(31, 50)))
        self.assertEqual(self.rows()[0], SIZE + 1)

    def test_keys_of_a_whole_block_go_with_the_last_one(self) -> None:
        numbers = self.fill(0, 1)
        self.store.write(deleting(numbers[:39]))
        self.assertEqual(self.rows(), numbers)
        self.store.write(deleting(numbers[39:41]))
        self.assertEqual(self.rows(), numbers[40:])

    def test_all_go_in_the_end(self) -> None:
        """Though it was not counted in the run before, or undone, what had ended there."""
        for ended in (5, 25, 39):
            numbers = self.fill(0, 1)
            kept = self.rows()
            self.store.write(deleting(numbers[:ended]))
            self.reopen()
            with self.assertRaises(StoreRefused):
                self.store.write(adding(job(kept[-1] + 1, b"", unique=b"x"), job(kept[-1] + 1)))
            self.store.write(deleting([number for number in numbers[ended:] if number % 2]))
            self.store.write(deleting(range(1, 3 * SIZE)))
            self.assertEqual(self.rows(), [])
            self.setUp()

    def test_others_of_the_same_block_later(self) -> None:
        """Numbers come to it again: those that are there stay."""
        numbers = self.fill(0)
        again = BLOCKS * SIZE
        self.add(again + 1)
        self.add(again + SIZE)
        self.add(again + SIZE + 1)
        self.reopen()
        self.store.write(deleting(numbers[1:]))
        self.assertEqual(self.rows()[:40], numbers)
        # Of the first ones that is the last.
        self.store.write(deleting(numbers[:1]))
        self.assertEqual(self.rows(), [SIZE, SIZE + 1, again + 1])
        # That was none, but as many are said to have ended as there are keys.
        self.store.write(deleting([41]))
        self.assertEqual(self.rows(), [SIZE, SIZE + 1, again + 1])
        self.assert_known(SIZE, SIZE + 1, again + 1, again + SIZE, again + SIZE + 1)
        self.store.write(deleting([again + 1]))
        self.assertEqual(self.rows(), [SIZE, SIZE + 1])


class UpgradeTests(SynchronousTestCase):
    """Files of the revision before."""

    def setUp(self) -> None:
        self.path = os.path.realpath(self.mktemp())
        store = make_store(f"sqlite:///{self.path}")
        store.open()
        self.numbers = [number * SIZE // 2 + 7 for number in range(2 * SAY_EVERY + 8)]
        store.write(adding(*(job(number, unique=b"u%d" % number) for number in self.numbers)))
        store.close(None)
        with closing(sqlite3.connect(self.path)) as file, file:
            file.executescript(
                "DROP TABLE txgear_keys; CREATE INDEX txgear_jobs_ukey ON txgear_jobs (ukey);"
                "UPDATE txgear_schema SET version_num = '0006'"
            )

    def open(self) -> SqlStore:
        store: SqlStore = make_store(f"sqlite:///{self.path}")
        self.addCleanup(lambda: store.close(None))
        store.open()
        return store

    def check(self, store: SqlStore) -> None:
        rows: list[JobRecord] = store.rows(ByKey([b"u%d" % number for number in self.numbers]))
        self.assertEqual(sorted(row.number for row in rows), self.numbers)
        with closing(sqlite3.connect(self.path)) as file:
            count = file.execute("SELECT count(*) FROM txgear_keys WHERE ukey >= 0").fetchall()[0][0]
            names = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        self.assertEqual(count, len(self.numbers) - 2)
        self.assertNotIn("txgear_jobs_ukey", names)

    def test_all_keys_come_to_the_table(self) -> None:
        self.check(self.open())

    def test_it_may_be_interrupted(self) -> None:
        """After each block, of which one is done by hand here."""
        store = make_store(f"sqlite:///{self.path}")
        dialect = store._dialect
        dialect.prepare()
        with dialect.engine.connect() as connection:
            dialect.set_up(connection)
            migrations.upgrade(connection)
            driver = connection.connection.driver_connection
            assert driver is not None
            cursor = driver.cursor()
            questions = dialect.questions
            assert isinstance(questions, SQLiteQuestions)
            self.assertTrue(questions.place(cursor, at_once=True))
            connection.commit()
        store.close(None)
        with closing(sqlite3.connect(self.path)) as file:
            found = file.execute("SELECT number FROM txgear_keys ORDER BY number").fetchall()
        self.assertEqual(found, [(7,), (SIZE // 2 + 7,), (SIZE - 1,)])
        self.check(self.open())
