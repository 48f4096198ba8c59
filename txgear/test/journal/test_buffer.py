"""Tests of L{txgear.journal.buffer}."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import PAUSED, SCHEDULED, Batch, JobChange, JobUpdate, Naming, StoredValue
from txgear.broker.states import DEAD, DONE
from txgear.journal.batches import MOST_BYTES, MOST_ROWS
from txgear.journal.buffer import WriteBuffer
from txgear.test.support.batches import addition


def holding(
    moves: Sequence[JobUpdate] = (),
    ends: Sequence[int] = (),
    results: Sequence[tuple[int, bytes]] = (),
    forgotten: Sequence[int] = (),
    marks: Sequence[StoredValue] = (),
) -> WriteBuffer:
    made = WriteBuffer()
    made.updates = {move.number: move for move in moves}
    made.deleted = dict.fromkeys(ends)
    made.results = dict(results)
    made.deleted_all = dict.fromkeys(forgotten)
    made.values = {(mark.kind, mark.name): mark for mark in marks}
    return made


class WriteBufferTests(SynchronousTestCase):
    def test_it_is_false_while_there_is_nothing(self) -> None:
        self.assertFalse(WriteBuffer())
        for filled in (
            holding(moves=[JobUpdate(1, 1, 0.0, 0)]),
            holding(ends=[1]),
            holding(results=[(1, b"")]),
            holding(forgotten=[1]),
            holding(marks=[StoredValue(PAUSED, b"", 0.0)]),
        ):
            self.assertTrue(filled)

    def test_of_which_jobs_there_is_nothing(self) -> None:
        buffer = holding([JobUpdate(1, 1, 0.0, 0)], [2], [(3, b"r"), (1, b"r")], [4])
        buffer.put_change(JobChange(5, b"f", 1, None))
        self.assertEqual(buffer.others({1, 2, 3, 4, 5, 6, 7}), {6, 7})
        self.assertEqual(WriteBuffer().others({1}), {1})

    def test_all_of_it_is_a_batch(self) -> None:
        moves, marks = [JobUpdate(2, 2, 0.0, 0), JobUpdate(1, 1, 0.0, 0)], [StoredValue(PAUSED, b"f", 1.0)]
        additions = [addition(7, b"w")]
        batch = holding(moves, [3, 3], [(5, b"r"), (4, b"")], [6], marks).batch(additions)
        self.assertEqual(batch, Batch(additions, moves, [3], [(5, b"r"), (4, b"")], [6], marks))

    def test_what_has_been_said_since_is_newer(self) -> None:
        now = holding(
            [JobUpdate(1, 10, 0.0, 0), JobUpdate(2, 20, 0.0, 0)],
            [1],
            [(1, b"new"), (2, b"new")],
            [1],
            [StoredValue(PAUSED, b"f", 2.0), StoredValue(PAUSED, b"g", 2.0)],
        )
        now.restore(
            holding(
                [JobUpdate(2, 2, 0.0, 0), JobUpdate(3, 3, 0.0, 0)],
                [2, 1],
                [(2, b"old"), (3, b"old")],
                [2],
                [StoredValue(PAUSED, b"f", 1.0), StoredValue(SCHEDULED, b"f", 1.0)],
            )
        )
        batch = now.batch(())
        self.assertEqual(
            sorted(batch.updates),
            [JobUpdate(1, 10, 0.0, 0), JobUpdate(2, 20, 0.0, 0), JobUpdate(3, 3, 0.0, 0)],
        )
        self.assertEqual((batch.deleted, batch.deleted_all), ([2, 1], [2, 1]))
        self.assertEqual(sorted(batch.results), [(1, b"new"), (2, b"new"), (3, b"old")])
        self.assertEqual(
            sorted(batch.values),
            [
                StoredValue(PAUSED, b"f", 2.0),
                StoredValue(PAUSED, b"g", 2.0),
                StoredValue(SCHEDULED, b"f", 1.0),
            ],
        )

    def test_what_was_to_be_kept_with_a_job_goes_with_it(self) -> None:
        marks = [
            StoredValue(SCHEDULED, b"a", 1.0, 1),
            StoredValue(SCHEDULED, b"b", 1.0, 2),
            StoredValue(SCHEDULED, b"c", 1.0, 1),
        ]
        moves = [JobUpdate(1, 1, 0.0, 0), JobUpdate(2, 2, 0.0, 0)]
        some = holding(moves, [1], [(1, b"r"), (2, b"r")], [1], [*marks, StoredValue(PAUSED, b"a", 1.0)])
        some.drop(1)
        some.drop(3)
        self.assertEqual(
            some.batch(()),
            Batch((), moves[1:], [1], [(2, b"r")], [1], [marks[1], StoredValue(PAUSED, b"a", 1.0)]),
        )
        nothing = WriteBuffer()
        nothing.drop(1)
        self.assertFalse(nothing)

    def test_names(self) -> None:
        """Of each job the last one; those of jobs that a later batch adds wait for it."""
        earlier, some = WriteBuffer(), WriteBuffer()
        earlier.names = {1: Naming(1), 2: Naming(2)}
        some.names = {2: Naming(2, b"f", b"u"), 3: Naming(3, b"f", 5)}
        some.restore(earlier)
        self.assertEqual((len(some), bool(some)), (3, True))
        self.assertEqual(
            sorted(some.batch(()).names, key=str), [Naming(1), Naming(2, b"f", b"u"), Naming(3, b"f", 5)]
        )
        part = some.take({3})
        self.assertEqual((sorted(part.names), sorted(some.names)), ([1, 2], [3]))
        part.drop(1)
        self.assertEqual(list(part.names), [2])

    def test_what_is_said_of_some(self) -> None:
        """They are written once more: all but the times for which they are none any more."""
        changes = [JobChange(number, b"g", 0, None, b"new") for number in (1, 2, 3)]
        moves = [JobUpdate(number, 9, 0.0, 0) for number in (1, 2, 3)]
        marks = [StoredValue(SCHEDULED, b"%d" % number, 1.0, number) for number in (1, 2, 3)]
        every = holding(moves, [1], [(1, b"r")], [1], marks)
        for change in changes:
            every.put_change(change)
        every.names = {1: Naming(1), 3: Naming(3)}
        found = every.of({1, 2}, {2})
        found.check()
        self.assertEqual(
            found.batch(()),
            Batch((), moves[:2], [], [], [], marks[:1], tuple(changes[:2]), (Naming(1),)),
        )

    def test_the_jobs_that_have_ended_are_counted_once(self) -> None:
        moves = [
            JobUpdate(1, 1, 0.0, 0),
            JobUpdate(2, 2, 0.0, 0, state=DONE),
            JobUpdate(3, 3, 0.0, 0, state=DEAD),
        ]
        self.assertEqual(holding(moves, [3, 4, 4], [(2, b"r")], [5]).count_ended(), 3)
        self.assertEqual(WriteBuffer().count_ended(), 0)

    def test_results_are_counted_in_bytes(self) -> None:
        some = WriteBuffer()
        for number, result in ((1, b"one"), (2, b"two"), (1, b"longer")):
            some.put_result(number, result)
        some.check()
        self.assertEqual((some.bytes, list(some.results)), (9, [2, 1]))
        some.drop_result(2)
        some.drop_result(3)
        some.check()
        self.assertEqual(some.bytes, 6)
        earlier = WriteBuffer()
        earlier.put_result(1, b"old")
        earlier.put_result(4, b"four")
        some.restore(earlier)
        some.check()
        self.assertEqual(some.bytes, 10)
        some.bytes += 1
        self.assertRaises(AssertionError, some.check)


class ChangeTests(SynchronousTestCase):
    """What operators have changed."""

    def setUp(self) -> None:
        self.buffer = WriteBuffer()

    def tearDown(self) -> None:
        self.buffer.check()

    def change(self, number: int, function: bytes = b"f", workload: bytes | None = None) -> JobChange:
        change = JobChange(number, function, 1, None, workload)
        self.buffer.put_change(change)
        return change

    def test_each_is_whole_and_the_last_one_counts(self) -> None:
        self.change(1, b"g", b"longer")
        self.change(2)
        last = self.change(1, b"h", b"new")
        self.assertEqual(self.buffer.bytes, 3)
        self.assertEqual(self.buffer.batch(()).changes, (JobChange(2, b"f", 1, None), last))
        self.assertEqual(len(self.buffer), 2)

    def test_a_workload_is_not_forgotten_over_a_later_change(self) -> None:
        self.change(1, b"g", b"work")
        self.change(1, b"h")
        self.assertEqual(self.buffer.batch(()).changes, (JobChange(1, b"h", 1, None, b"work"),))

    def test_what_has_been_said_since_is_newer(self) -> None:
        earlier = WriteBuffer()
        for number, workload in ((1, b"one"), (2, b"two"), (3, None), (4, b"four")):
            earlier.put_change(JobChange(number, b"old", 1, None, workload))
        self.change(2, b"new")
        self.change(3, b"new", b"three")
        self.change(4, b"new", b"4")
        self.buffer.restore(earlier)
        self.assertEqual(
            sorted(self.buffer.batch(()).changes),
            [
                JobChange(1, b"old", 1, None, b"one"),
                JobChange(2, b"new", 1, None, b"two"),
                JobChange(3, b"new", 1, None, b"three"),
                JobChange(4, b"new", 1, None, b"4"),
            ],
        )

    def test_that_of_a_job_that_is_refused_goes_with_it(self) -> None:
        self.change(1, workload=b"one")
        left = self.change(2, workload=b"two")
        self.buffer.drop(1)
        self.assertEqual((self.buffer.batch(()).changes, self.buffer.bytes), ((left,), 3))

    def test_nothing_of_a_job_comes_before_its_change(self) -> None:
        """Neither how it moved, nor its end: what is deleted is not to be there again."""
        half = bytes(MOST_BYTES // 2 + 1)
        for number in range(1, 6):
            self.change(number, workload=half)
        self.buffer.updates = {number: JobUpdate(number, 9, 0.0, 0) for number in range(1, 8)}
        self.buffer.put_result(2, b"two")
        self.buffer.put_result(6, b"six")
        self.buffer.deleted, self.buffer.deleted_all = dict.fromkeys([1, 3, 7]), dict.fromkeys([4, 6])
        expected = [
            ([1], [1, 6, 7], [1, 7], [6], [6]),
            ([2], [2], [], [2], []),
            ([3], [3], [3], [], []),
            ([4], [4], [], [], [4]),
            ([5], [5], [], [], []),
        ]
        for changes, updates, deleted, results, deleted_all in expected:
            part = self.buffer.take(())
            part.check()
            self.buffer.check()
            self.assertEqual(list(part.changes), changes)
            self.assertEqual(sorted(part.updates), updates)
            self.assertEqual((list(part.deleted), list(part.deleted_all)), (deleted, deleted_all))
            self.assertEqual(list(part.results), results)
        self.assertFalse(self.buffer)

    def test_that_of_a_job_that_a_later_batch_adds_waits_for_it(self) -> None:
        self.change(1)
        self.change(2, workload=b"two")
        self.buffer.deleted = {2: None}
        part = self.buffer.take([2])
        self.assertEqual((list(part.changes), list(self.buffer.changes)), ([1], [2]))
        self.assertEqual((list(part.deleted), list(self.buffer.deleted)), ([], [2]))


class TakeTests(SynchronousTestCase):
    """What of it one batch takes."""

    def test_whether_it_fits(self) -> None:
        some = holding(ends=range(MOST_ROWS))
        self.assertTrue(some.fits)
        some.deleted_all[1] = None
        self.assertFalse(some.fits)
        some = WriteBuffer()
        some.put_result(1, bytes(MOST_BYTES))
        self.assertTrue(some.fits)
        some.put_result(2, b"x")
        self.assertFalse(some.fits)

    def test_an_update_stays_with_its_result(self) -> None:
        """One without a result is taken in any case; one that has no update any more is as well."""
        some = holding(moves=[JobUpdate(number, number, 0.0, 0, state=DONE) for number in (1, 2, 3)])
        some.put_result(4, b"x")
        some.put_result(2, bytes(MOST_BYTES - 1))
        some.put_result(1, b"x")
        part = some.take(())
        part.check()
        some.check()
        self.assertEqual((list(part.results), sorted(part.updates)), ([4, 2], [2, 3]))
        self.assertEqual((some.results, list(some.updates)), ({1: b"x"}, [1]))

    def test_what_is_said_of_jobs_that_are_added_later(self) -> None:
        values = [StoredValue(SCHEDULED, b"%d" % number, 1.0, number) for number in (1, 2)]
        some = holding([JobUpdate(1, 1, 0.0, 0), JobUpdate(2, 2, 0.0, 0)], [1, 2], (), [2, 1], values)
        some.put_result(1, b"one")
        some.put_result(2, b"two")
        part = some.take({2})
        self.assertEqual(
            [*part.updates, *part.deleted, *part.results, *part.deleted_all],
            [1, 1, 1, 1],
        )
        self.assertEqual(
            [*some.updates, *some.deleted, *some.results, *some.deleted_all],
            [2, 2, 2, 2],
        )
        self.assertEqual((list(part.values.values()), list(some.values.values())), (values[:1], values[1:]))

    def test_many_rows(self) -> None:
        some = holding(ends=range(MOST_ROWS + 1), forgotten=range(MOST_ROWS + 2))
        part = some.take({0})
        self.assertEqual((len(part.deleted), len(part.deleted_all)), (MOST_ROWS - 1, MOST_ROWS - 1))
        self.assertEqual(list(some.deleted), [0, MOST_ROWS])
        self.assertEqual(list(some.deleted_all), [0, MOST_ROWS, MOST_ROWS + 1])
