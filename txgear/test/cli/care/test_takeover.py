"""
Tests for L{txgear.cli.care.takeover}.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.keys import key_of
from txgear.broker.records import JobRecord, NewJob
from txgear.cli.care.gearmandtable import Row
from txgear.cli.care.takeover import CHUNK_BYTES, CHUNK_ROWS, Report, Takeover, shown
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.protocol.constants import HIGH, LOW, MAX_FUNCTION, MAX_UNIQUE, NORMAL


class RememberingStore:
    """
    What a takeover asks of a store, in memory.

    @ivar jobs: what was taken over.
    @ivar transactions: how many jobs each brought.
    @ivar limit: bytes of the largest workload that is kept.
    @ivar patience: transactions after which it is gone.
    """

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self.transactions: list[int] = []
        self.limit = self.patience = 2**40
        self._digests: set[bytes] = set()
        self._next = 100

    def reserve(self, count: int) -> int:
        first = self._next
        self._next += count
        return first

    def imported(self, digests: Sequence[bytes]) -> set[bytes]:
        return self._digests.intersection(digests)

    def take_over(self, new_jobs: Sequence[NewJob], digests: Sequence[bytes]) -> None:
        if len(self.transactions) == self.patience:
            raise StoreUnavailable("gone")
        if any(job.size > self.limit for job, _ in new_jobs):
            raise StoreRefused("a row is too large")
        if self._digests.intersection(digests) or len(set(digests)) < len(digests):
            raise StoreRefused("taken over twice")
        self._digests.update(digests)
        self.jobs += new_jobs
        self.transactions.append(len(new_jobs))


def row(
    unique: bytes | None = b"u",
    function: bytes | None = b"f",
    priority: object = NORMAL,
    when: object = 0,
    data: bytes | None = b"w",
) -> Row:
    """A row as gearmand writes it."""
    return Row(function, unique, priority, when, data)


class TakeoverTests(SynchronousTestCase):
    """Rows become jobs."""

    def setUp(self) -> None:
        self.store = RememberingStore()

    def take(self, *rows: Row) -> Report:
        """Run it once over these rows."""
        takeover = Takeover(self.store, b"H:here")
        takeover.take(rows)
        return takeover.report

    def taken(self) -> list[JobRecord]:
        """The jobs that are kept."""
        return [job for job, _ in self.store.jobs]

    def refusal(self, refused: Row) -> str:
        """Why a row is not taken, while its neighbours are."""
        self.store = RememberingStore()
        report = self.take(row(b"before"), refused, row(b"after"))
        self.assertEqual(report.taken, 2)
        self.assertEqual([job.unique for job in self.taken()], [b"before", b"after"])
        [(reason, (count, _))] = report.refused.items()
        self.assertEqual(count, 1)
        return reason

    def test_job(self) -> None:
        """Every field finds its place."""
        report = self.take(row(b"u\xff", b"f\xfe", HIGH, 4102444800, b"a\0b"))
        self.assertEqual(report, Report(taken=1))
        self.assertEqual(
            self.store.jobs,
            [
                (
                    JobRecord(
                        number=100,
                        place=100,
                        prefix=b"H:here",
                        function=b"f\xfe",
                        unique=b"u\xff",
                        digest=None,
                        reducer=b"",
                        priority=HIGH,
                        due=4102444800.0,
                        retries=0,
                        size=3,
                    ),
                    b"a\0b",
                )
            ],
        )

    def test_empty_workload(self) -> None:
        """gearmand writes an empty workload as no value, and cannot start with it; here it is a job."""
        self.take(row(data=None))
        [(job, workload)] = self.store.jobs
        self.assertEqual((job.size, workload), (0, b""))

    def test_missing_values(self) -> None:
        """A row without a unique, a priority and a time is a job of its own, normal and for now."""
        self.take(row(None, priority=None, when=None))
        [job] = self.taken()
        self.assertEqual((job.unique, job.priority, job.due), (b"", NORMAL, 0.0))

    def test_unique_from_workload(self) -> None:
        """C{-} is the workload's digest, as for the server; of an empty workload there is none."""
        self.take(row(b"-", data=b"w"), row(b"-", b"g", data=None))
        first, second = self.taken()
        self.assertIsNotNone(first.digest)
        self.assertEqual(int.from_bytes(first.digest or b"", "big"), key_of(b"-", b"w"))
        self.assertIsNone(second.digest)

    def test_priorities(self) -> None:
        """gearmand's numbers are ours; one that does not exist is normal, and mentioned."""
        report = self.take(*[row(b"%d" % value, priority=value) for value in (0, 1, 2, 3, -1)])
        self.assertEqual([job.priority for job in self.taken()], [HIGH, NORMAL, LOW, NORMAL, NORMAL])
        self.assertEqual(report, Report(taken=5, reprioritized=2))

    def test_time_that_is_past(self) -> None:
        """A time before the epoch is one that has passed."""
        self.take(row(when=-5))
        self.assertEqual(self.taken()[0].due, 0.0)

    def test_text_in_number_columns(self) -> None:
        """SQLite gives back what it was given."""
        self.take(row(priority=b"2", when="7"))
        [job] = self.taken()
        self.assertEqual((job.priority, job.due), (LOW, 7.0))

    def test_order(self) -> None:
        """The numbers go up in the order of the rows, over all transactions."""
        count = 2 * CHUNK_ROWS + 1
        report = self.take(*[row(b"%d" % number) for number in range(count)])
        self.assertEqual(report.taken, count)
        self.assertEqual(self.store.transactions, [CHUNK_ROWS, CHUNK_ROWS, 1])
        self.assertEqual([job.unique for job in self.taken()], [b"%d" % number for number in range(count)])
        self.assertEqual([job.number for job in self.taken()], list(range(100, 100 + count)))

    def test_memory(self) -> None:
        """A transaction has a bounded number of bytes, but for a single row that has more."""
        half = b"w" * (CHUNK_BYTES // 2)
        sizes = [half, half, b"w", half * 3, b"w"]
        self.take(*[row(b"%d" % number, data=data) for number, data in enumerate(sizes)])
        self.assertEqual(self.store.transactions, [2, 1, 1, 1])

    def test_lazy(self) -> None:
        """Rows are not read ahead of the transaction that they are for."""
        read = []

        def rows() -> Iterator[Row]:
            for number in range(3 * CHUNK_ROWS):
                read.append(len(self.store.jobs))
                yield row(b"%d" % number)

        takeover = Takeover(self.store, b"H:here")
        takeover.take(rows())
        self.assertEqual(max(index - stored for index, stored in enumerate(read)), CHUNK_ROWS)

    def test_nothing(self) -> None:
        """An empty table is no work."""
        self.assertEqual(self.take(), Report())
        self.assertEqual(self.store.transactions, [])

    def test_untakable(self) -> None:
        """What the server would refuse is refused, and the others go on."""
        for refused, reason in (
            (row(function=None), "no function"),
            (row(function=b"f" * (MAX_FUNCTION + 1)), "function has more than"),
            (row(function=b"f\0g"), "NUL in the function"),
            (row(b"u" * (MAX_UNIQUE + 1)), "unique has more than"),
            (row(b"u\0v"), "NUL in the unique"),
            (row(priority="high"), "priority is no number"),
            (row(when=b"soon"), "when_to_run is no number"),
            (row(when=float("inf")), "when_to_run is no number"),
            (row(when=2**63), "when_to_run is out of range"),
        ):
            self.assertIn(reason, self.refusal(refused))

    def test_longest(self) -> None:
        """What the server just takes is taken; that goes for an empty function, too."""
        report = self.take(row(b"u" * MAX_UNIQUE, b"f" * MAX_FUNCTION), row(function=b""))
        self.assertEqual(report, Report(taken=2))

    def test_refused_by_the_store(self) -> None:
        """Of the rows of a refused transaction only those that are refused alone are left out."""
        rows = [row(b"1"), row(b"2", data=b"w" * 4_000_000), row(b"3"), row(b"4")]
        self.store.limit = 1_000_000
        report = self.take(*rows)
        self.assertEqual((report.taken, list(report.refused)), (3, ["a row is too large"]))
        self.assertEqual([job.number for job in self.taken()], [100, 102, 103])
        self.assertEqual(self.store.transactions, [1, 1, 1])


class AgainTests(SynchronousTestCase):
    """Running it more than once."""

    def setUp(self) -> None:
        self.store = RememberingStore()

    def take(self, rows: Sequence[Row]) -> Report:
        """Run it once over these rows."""
        takeover = Takeover(self.store, b"H:here")
        takeover.take(rows)
        return takeover.report

    def test_twice(self) -> None:
        """The same rows are not taken again, also when their jobs are done; new ones are."""
        rows = [row(b"%d" % number) for number in range(3)]
        self.take(rows)
        self.store.jobs.clear()
        self.assertEqual(self.take(rows), Report(known=3))
        self.assertEqual(self.take([*rows, row(b"new")]), Report(taken=1, known=3))
        self.assertEqual(len(self.store.jobs), 1)

    def test_killed(self) -> None:
        """After an end in the middle the rest is taken, in its order."""
        rows = [row(b"%d" % number) for number in range(3 * CHUNK_ROWS)]
        self.store.patience = 2
        takeover = Takeover(self.store, b"H:here")
        self.assertRaises(StoreUnavailable, takeover.take, rows)
        self.assertEqual(takeover.report, Report(taken=2 * CHUNK_ROWS))
        self.store.patience = 2**40
        self.assertEqual(self.take(rows), Report(taken=CHUNK_ROWS, known=2 * CHUNK_ROWS))
        self.assertEqual([job.unique for job, _ in self.store.jobs], [each.unique for each in rows])

    def test_refused_before(self) -> None:
        """A row that was refused is not noted: it may be taken the next time."""
        self.store.limit = 0
        self.assertEqual(self.take([row()]).taken, 0)
        self.store.limit = 10
        self.assertEqual(self.take([row()]), Report(taken=1))

    def test_other_database(self) -> None:
        """The same row is known whatever database it comes from."""
        self.take([row(priority=2, when=7)])
        self.assertEqual(self.take([row(priority=b"2", when="7")]), Report(known=1))

    def test_every_field_counts(self) -> None:
        """Rows that differ in anything are different, also where only the border between fields moves."""
        rows = [
            row(b"b", b"a"),
            row(b"", b"ab"),
            row(b"ab", b""),
            row(b"b", b"a", data=b"x"),
            row(b"b", b"a", priority=2),
            row(b"b", b"a", priority=3),
            row(b"b", b"a", when=1),
            row(b"b", b"a", when=11),
        ]
        self.assertEqual(self.take(rows), Report(taken=len(rows), reprioritized=1))

    def test_equal_rows(self) -> None:
        """Equal rows, which gearmand's own tables cannot have, are one, in its first place."""
        report = self.take([row(b"1"), row(b"2"), row(b"1"), row(b"3")])
        self.assertEqual(report, Report(taken=3, known=1))
        self.assertEqual([job.unique for job, _ in self.store.jobs], [b"1", b"2", b"3"])


class ReportTests(SynchronousTestCase):
    """What is said at the end."""

    def test_good(self) -> None:
        """What did not happen is not mentioned."""
        self.assertEqual(list(Report(taken=3).lines()), ["3 taken over"])

    def test_all(self) -> None:
        """Everything that may be said."""
        report = replace(Report(), taken=3, known=2, reprioritized=1)
        for number in range(5):
            report.refuse("too long", b"f", b"u%d" % number)
        report.refuse("there is no function", None, b"\xff\n")
        self.assertEqual(
            list(report.lines()),
            [
                "3 taken over",
                "2 already taken over before",
                "1 of unknown priority, which is normal now",
                "5 not taken, too long: function and unique 'f' 'u0', 'f' 'u1', 'f' 'u2', ...",
                r"1 not taken, there is no function: function and unique NULL '\xff\x0a'",
            ],
        )

    def test_long_name(self) -> None:
        """A name that fills the screen is cut."""
        self.assertLess(len(shown(b"x" * 8000)), 60)
        self.assertTrue(shown(b"x" * 8000).endswith("...'"))

    def test_a_name_of_quotes(self) -> None:
        """It is as it was written; what is no text, or another line, is escaped once."""
        self.assertEqual(shown(b"it's"), "'it's'")
        self.assertEqual(shown("é\n".encode() + b"\xff"), r"'é\x0a\xff'")
