"""Tests of L{txgear.journal.buffer}."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import PAUSED, SCHEDULED, Batch, JobUpdate, StoredValue
from txgear.broker.states import DEAD, DONE
from txgear.journal.buffer import WriteBuffer
from txgear.test.support.stores import addition


def holding(
    moves: Sequence[JobUpdate] = (),
    ends: Sequence[int] = (),
    results: Sequence[tuple[int, bytes]] = (),
    forgotten: Sequence[int] = (),
    marks: Sequence[StoredValue] = (),
) -> WriteBuffer:
    made = WriteBuffer()
    made.updates = {move.number: move for move in moves}
    made.deleted = list(ends)
    made.results = dict(results)
    made.deleted_all = list(forgotten)
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

    def test_all_of_it_is_a_batch(self) -> None:
        moves, marks = [JobUpdate(2, 2, 0.0, 0), JobUpdate(1, 1, 0.0, 0)], [StoredValue(PAUSED, b"f", 1.0)]
        additions = [addition(7, b"w")]
        batch = holding(moves, [3, 3], [(5, b"r"), (4, b"")], [6], marks).batch(additions)
        self.assertEqual(batch, Batch(additions, moves, [3, 3], [(5, b"r"), (4, b"")], [6], marks))

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
        self.assertEqual((batch.deleted, batch.deleted_all), ([2, 1, 1], [2, 1]))
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

    def test_the_jobs_that_have_ended_are_counted_once(self) -> None:
        moves = [
            JobUpdate(1, 1, 0.0, 0),
            JobUpdate(2, 2, 0.0, 0, state=DONE),
            JobUpdate(3, 3, 0.0, 0, state=DEAD),
        ]
        self.assertEqual(holding(moves, [3, 4, 4], [(2, b"r")], [5]).count_ended(), 3)
        self.assertEqual(WriteBuffer().count_ended(), 0)
