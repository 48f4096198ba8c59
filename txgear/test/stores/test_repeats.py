"""Tests of L{txgear.stores.repeats}, and of the store's transactions that are undone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import DEAD, PAUSED, Batch, JobChange, JobUpdate, StoredValue
from txgear.broker.states import DONE
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.stores.repeats import FIRST_PAUSE, LAST_PAUSE, MOST_REPEATS, Repeats, Undone
from txgear.stores.sql import SqlStore
from txgear.stores.sqlite import SQLite
from txgear.stores.verdicts import Verdict, of_sqlite
from txgear.test.support.batches import adding, addition, deleting, stored

CONFLICT, DUPLICATE = Verdict.CONFLICT, Verdict.DUPLICATE


class RepeatsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pauses: list[float] = []
        self.repeats = Repeats(self.pauses.append, lambda: 1.0)

    def attempt(self, *outcomes: Verdict | None) -> Callable[[], int]:
        """Raises what is said, in turn; at last it returns how many attempts there were."""
        left = list(outcomes)

        def attempt() -> int:
            if left and (verdict := left.pop(0)):
                raise Undone("words", verdict)
            return len(outcomes)

        return attempt

    def test_what_succeeds_is_done_once(self) -> None:
        self.assertEqual(self.repeats.run(self.attempt()), 0)
        self.assertEqual(self.pauses, [])

    def test_pauses_grow_to_a_bound(self) -> None:
        self.assertEqual(self.repeats.run(self.attempt(*[CONFLICT] * 9)), 9)
        self.assertEqual(self.pauses[:3], [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE])
        self.assertEqual(self.pauses[-1], LAST_PAUSE)
        # Whoever submits waits for five seconds.
        self.assertLess(sum(self.pauses), 1.0)

    def test_pauses_are_random(self) -> None:
        Repeats(self.pauses.append, lambda: 0.25).run(self.attempt(CONFLICT))
        self.assertEqual(self.pauses, [FIRST_PAUSE / 4])

    def test_it_is_given_up(self) -> None:
        for verdict, most in MOST_REPEATS.items():
            self.pauses.clear()
            with self.assertRaises(Undone) as caught:
                self.repeats.run(self.attempt(*[verdict] * (most + 1)))
            self.assertIs(caught.exception.verdict, verdict)
            self.assertEqual(len(self.pauses), most)

    def test_what_else_goes_wrong_is_not_repeated(self) -> None:
        def attempt() -> None:
            raise StoreUnavailable("gone")

        self.assertRaises(StoreUnavailable, self.repeats.run, attempt)


class Faults:
    """
    What is to go wrong with a connection's next statements.

    @ivar at: how many of them, COMMITs and all, go well before that; below 0 where all do.
    @ivar times: how often that goes wrong, one time for each transaction.
    @ivar message: of the error.
    @ivar late: whether a COMMIT is done although it goes wrong.
    @ivar said: what the connection was told.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.expect(-1)

    def expect(self, at: int, times: int = 1, message: str = "conflict", late: bool = False) -> None:
        self.at, self.times, self.message, self.late = at, times, message, late
        self._left = at
        self.said.clear()

    def connected(self) -> None:
        self._left = self.at

    def next(self, statement: str) -> sqlite3.Error | None:
        self.said.append(statement)
        if statement == "ROLLBACK":
            if self._left < 0:
                # The next transaction begins.
                self._left = self.at
        elif self.times and self._left >= 0:
            self._left -= 1
            if self._left < 0:
                self.times -= 1
                return sqlite3.OperationalError(self.message)
        return None


class FaultyDialect(SQLite):
    """SQLite, as if it were one of several servers."""

    @staticmethod
    def judge(driver: Any, error: BaseException, *, committing: bool = False) -> Verdict:
        for verdict in Verdict:
            if str(error) == verdict.value:
                return verdict
        return of_sqlite(driver, error, committing=committing)

    def begin_work(self, cursor: Any) -> None:
        cursor.execute("SELECT 1")

    def __init__(self, path: str, faults: Faults) -> None:
        super().__init__(path)

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, *parameters: Any) -> Any:
                if error := faults.next(sql):
                    raise error
                return super().execute(sql, *parameters)

            def executemany(self, sql: str, rows: Any) -> Any:
                if error := faults.next(sql):
                    raise error
                return super().executemany(sql, rows)

        class Driver(sqlite3.Connection):
            def cursor(self, factory: Any = Cursor) -> Any:
                return super().cursor(factory)

            def commit(self) -> None:
                error = faults.next("COMMIT")
                if error is None or faults.late:
                    super().commit()
                if error is not None:
                    raise error

            def rollback(self) -> None:
                faults.next("ROLLBACK")
                super().rollback()

        @event.listens_for(self.engine, "do_connect")
        def connect(dialect: Any, record: Any, args: Any, kwargs: dict[str, Any]) -> None:
            faults.connected()
            kwargs["factory"] = Driver


class UndoneTests(SynchronousTestCase):
    """Whatever statement meets the conflict, all of the transaction is done again, and once."""

    def setUp(self) -> None:
        self.faults = Faults()
        self.pauses: list[float] = []
        self.store = self.make_store()
        self.addCleanup(lambda: self.store.close(None))
        self.batch = Batch(
            [addition(10, b"ten"), (stored(11, function=b"new", unique=b"u", history=b"{}"), b"eleven")],
            [JobUpdate(1, 1, 0.0, 2, 6, DONE, 7.5, kind=DEAD)],
            [2],
            [(1, b"result")],
            [3],
            [StoredValue(PAUSED, b"f", 1.0)],
            [JobChange(4, b"other", 0, None, b"changed")],
        )

    def make_store(self) -> SqlStore:
        path = os.path.realpath(self.mktemp())
        return SqlStore(FaultyDialect(path, self.faults), Repeats(self.pauses.append, lambda: 1.0))

    def fill(self) -> None:
        self.store.open()
        self.store.write(adding(*[addition(number, b"%d" % number) for number in range(1, 6)]))

    def kept(self) -> tuple[Any, ...]:
        """All that is in the store."""
        store = self.store
        numbers = range(20)
        jobs = store.replay(0, 100)
        lanes = sorted(store.lanes())
        return jobs, lanes, store.workloads(numbers), store.results(numbers), store.values()

    def statements(self) -> int:
        """How many the transaction has."""
        self.fill()
        self.faults.expect(-1)
        self.store.write(self.batch)
        return len(self.faults.said)

    def test_each_statement(self) -> None:
        count = self.statements()
        expected = self.kept()
        self.assertEqual(self.faults.said.count("ROLLBACK"), 0)
        self.assertGreater(count, 15)
        for at in range(count):
            for verdict in MOST_REPEATS:
                self.store.close(None)
                self.store = self.make_store()
                self.fill()
                connection = self.store._connection
                self.faults.expect(at, 2, verdict.value)
                self.store.write(self.batch)
                self.assertEqual(self.faults.times, 0)
                # First of all.
                self.assertEqual(self.faults.said[at + 1], "ROLLBACK")
                self.assertEqual(self.faults.said.count("ROLLBACK"), 2)
                self.assertIs(self.store._connection, connection)
                self.assertEqual(self.kept(), expected, f"after statement {at}")

    def test_all_that_is_done_in_transactions(self) -> None:
        self.fill()
        number = self.store.reserve(10)
        for call, expected in (
            (lambda: self.store.reserve(10), number + 10),
            (lambda: self.store.known([1, 2]), {1, 2}),
            (lambda: self.store.workloads([1]), {1: b"1"}),
            (lambda: self.store.put_history([(1, b"chunk")], []), None),
            (lambda: self.store.history(0, 9), [(1, b"chunk")]),
            (lambda: self.store.take_over([addition(20)], [b"d" * 32]), None),
            (lambda: self.store.imported([b"d" * 32]), {b"d" * 32}),
        ):
            self.faults.expect(1)
            self.assertEqual(call(), expected)
            self.assertEqual(self.faults.said.count("ROLLBACK"), 1)

    def test_what_stays_is_as_good_as_lost(self) -> None:
        self.fill()
        before = self.kept()
        self.faults.expect(3, 100)
        with self.assertRaises(StoreUnavailable) as caught:
            self.store.write(self.batch)
        self.assertEqual(str(caught.exception), "conflict")
        self.assertEqual(len(self.pauses), MOST_REPEATS[CONFLICT])
        self.assertRaises(StoreUnavailable, self.store.known, [1])
        self.faults.expect(-1)
        self.store.open()
        self.assertEqual(self.kept(), before)

    def test_a_key_that_stays_is_refused(self) -> None:
        self.fill()
        before = self.kept()
        self.faults.expect(3, 100, "duplicate")
        self.assertRaises(StoreRefused, self.store.write, self.batch)
        self.assertEqual(len(self.pauses), MOST_REPEATS[DUPLICATE])
        self.faults.expect(-1)
        self.assertEqual(self.kept(), before)

    def test_what_is_not_known_is_looked_up(self) -> None:
        """Where the connection lives on as well: it is hung up, and nothing is written again."""
        self.fill()
        for late in (False, True):
            self.faults.expect(2, 1, "not known", late)
            self.assertRaises(StoreUnavailable, self.store.write, deleting([4]))
            self.assertRaises(StoreUnavailable, self.store.known, [4])
            self.assertNotIn("COMMIT", self.faults.said[3:])
            self.faults.expect(-1)
            self.store.open()
        self.assertEqual(self.pauses, [])

    def test_read_only_and_cut_off_cost_the_connection(self) -> None:
        self.fill()
        for message in ("read-only", "cut off"):
            self.faults.expect(2, 1, message)
            self.assertRaises(StoreUnavailable, self.store.write, deleting([4]))
            self.assertRaises(StoreUnavailable, self.store.known, [4])
            self.faults.expect(-1)
            self.store.open()
            self.assertEqual(self.store.known([4]), {4})

    def test_opening(self) -> None:
        self.fill()
        before = self.kept()
        self.faults.expect(-1)
        self.store.open()
        count = sum(said != "ROLLBACK" for said in self.faults.said)
        for at in range(count):
            self.faults.expect(at)
            self.store.open()
            self.assertEqual(self.faults.times, 0)
        self.faults.expect(-1)
        self.assertEqual(self.kept(), before)
        self.faults.expect(0, 100)
        self.assertRaises(StoreUnavailable, self.store.open)
        self.assertEqual(self.faults.times, 100 - 1 - MOST_REPEATS[CONFLICT])
