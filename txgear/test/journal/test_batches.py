"""Tests of L{txgear.journal.batches}, on the store in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import (
    PAUSED,
    SCHEDULED,
    Batch,
    DoneElsewhere,
    JobChange,
    JobUpdate,
    Naming,
    NewJob,
    StoredValue,
)
from txgear.broker.states import DEAD, DONE
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.journal.batches import MOST_REFUSALS, Refusals, write_all
from txgear.test.support.batches import addition, stored
from txgear.test.support.extras import PROPERTY, given, st
from txgear.test.support.journal import Fault, FaultyStore

FULL = StoreRefused("The disk is full")
TOO_LARGE = "is too large"
EMPTY = Batch((), (), ())


class LostStore(FaultyStore):
    """A store that takes ten bytes, and is lost at one call to write, counted from the second."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.too_large = 10
        self.calls = -1
        self.call = call

    def next_fault(self, name: str) -> Fault | None:
        if name != "write":
            return None
        self.calls += 1
        return Fault(StoreUnavailable("gone")) if self.calls == self.call else None


class WriteAllTests(SynchronousTestCase):
    """
    @ivar store: takes nothing of more than ten bytes; five jobs are kept.
    """

    def setUp(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.store = FaultyStore()
        self.store.open()
        self.store.write(Batch([addition(number, b"w") for number in range(1, 6)], (), ()))
        self.store.too_large = 10
        self.store.batches.clear()

    def write(self, batch: Batch) -> tuple[dict[int, str], dict[int, str]]:
        """Why what was refused."""
        refusals = write_all(self.store, batch)
        return (
            {index: str(error) for index, error in refusals.new_jobs.items()},
            {number: str(error) for number, error in refusals.results.items()},
        )

    def numbers(self) -> list[int]:
        return sorted(self.store.kept)

    def test_what_is_taken_as_a_whole(self) -> None:
        batch = Batch(
            [addition(6)],
            [JobUpdate(6, 9, 0.0, 1)],
            [1],
            [(2, b"two")],
            [3],
            [StoredValue(PAUSED, b"f", 1.0), StoredValue(SCHEDULED, b"s", 1.0, 6)],
        )
        self.assertEqual(write_all(self.store, batch), Refusals({}, {}, {}))
        self.assertEqual(self.store.batches, [batch])
        self.assertEqual(self.numbers(), [2, 4, 5, 6])

    def test_additions_are_found_by_halves(self) -> None:
        additions = [addition(number, b"x" * (11 if number % 5 == 0 else 10)) for number in range(10, 30)]
        refused, _ = self.write(Batch(additions, (), ()))
        self.assertEqual(refused, dict.fromkeys([0, 5, 10, 15], f"A workload of 11 bytes {TOO_LARGE}"))
        self.assertEqual(self.numbers(), [*range(1, 6), *(number for number in range(10, 30) if number % 5)])

    def test_results_are_found_by_halves_and_those_that_are_refused_are_empty(self) -> None:
        self.store.write(Batch((), (), (), [(2, b"earlier")]))
        results = [(1, b"one"), (2, b"x" * 11), (3, b"three"), (4, b"x" * 12), (5, b"")]
        moves = [JobUpdate(number, number, 0.0, 0, len(result), DONE, 1.0) for number, result in results]
        _, refused = self.write(Batch((), moves, (), results))
        self.assertEqual(
            refused, {2: f"A result of 11 bytes {TOO_LARGE}", 4: f"A result of 12 bytes {TOO_LARGE}"}
        )
        self.assertEqual(self.store.results(range(9)), {1: b"one", 3: b"three"})
        self.assertEqual(self.store.workloads(range(9)), dict.fromkeys(range(1, 6), b""))
        self.assertEqual({job.state for job in self.store.kept.values()}, {DONE})

    def test_the_rest_is_written_whatever_is_refused(self) -> None:
        for additions, results in (([addition(6, b"x" * 11)], []), ([], [(2, b"x" * 11)])):
            self.begin()
            self.write(
                Batch(
                    additions,
                    [JobUpdate(2, 7, 0.0, 1)],
                    [1],
                    [*results, (3, b"three")],
                    [4],
                    [StoredValue(PAUSED, b"f", 1.0)],
                )
            )
            self.assertEqual(self.numbers(), [2, 3, 5])
            self.assertEqual(self.store.kept[2], stored(2, place=7, retries=1, size=1))
            self.assertEqual(self.store.results(range(9)), {3: b"three"})
            self.assertEqual(self.store.values(), [StoredValue(PAUSED, b"f", 1.0)])

    def test_new_workloads_that_are_refused(self) -> None:
        """All else that was changed of their jobs is, and the old ones count."""
        changes = [
            JobChange(1, b"g", 0, None, b"x" * 11),
            JobChange(2, b"g", 2, None, b"new"),
            JobChange(3, b"g", 0, None),
            JobChange(4, b"g", 0, None, b"x" * 12),
            JobChange(5, b"g", 0, None, b"y" * 13),
            JobChange(9, b"g", 0, None, b"z" * 14),
        ]
        updates = [
            JobUpdate(1, 1, 0.0, 0, 11, DEAD, 1.0),
            JobUpdate(2, 2, 0.0, 0, 3, DEAD, 1.0),
            JobUpdate(4, 4, 0.0, 7),
            JobUpdate(5, 5, 0.0, 0, 4, DONE, 1.0),
        ]
        batch = Batch((), updates, (), [(5, b"five")], changes=changes)
        refusals = write_all(self.store, batch)
        self.assertEqual((refusals.new_jobs, refusals.results), ({}, {}))
        self.assertEqual(
            {number: (str(why), size) for number, (why, size) in refusals.workloads.items()},
            {
                1: (f"A workload of 11 bytes {TOO_LARGE}", 1),
                4: (f"A workload of 12 bytes {TOO_LARGE}", 1),
                5: (f"A workload of 13 bytes {TOO_LARGE}", 4),
            },
        )
        self.assertEqual(
            [self.store.kept[number] for number in range(1, 6)],
            [
                stored(1, function=b"g", priority=0, size=1, state=DEAD, ended=1.0),
                stored(2, function=b"g", priority=2, size=3, state=DEAD, ended=1.0),
                stored(3, function=b"g", priority=0, size=1),
                stored(4, function=b"g", priority=0, size=1, retries=7),
                stored(5, function=b"g", priority=0, size=4, state=DONE, ended=1.0),
            ],
        )
        self.assertEqual(self.store.workloads(range(5)), {1: b"w", 2: b"new", 3: b"w", 4: b"w"})

    def test_changes_of_jobs_that_are_refused_or_gone(self) -> None:
        changes = [JobChange(number, b"g", 0, None, b"new") for number in (2, 6, 7)]
        self.write(Batch([addition(6, b"x" * 11), addition(7, b"w")], (), [2], changes=changes))
        self.assertEqual(self.numbers(), [1, 3, 4, 5, 7])
        self.assertEqual(self.store.workloads([2, 6, 7]), {7: b"new"})

    def test_moves_and_results_of_jobs_that_are_new(self) -> None:
        self.write(
            Batch(
                [addition(6), addition(7, b"x" * 11), addition(8, b"w")],
                [JobUpdate(6, 9, 0.0, 1), JobUpdate(7, 9, 0.0, 1)],
                [8],
                [(6, b"six"), (7, b"seven")],
            )
        )
        self.assertEqual(self.numbers(), [1, 2, 3, 4, 5, 6])
        self.assertEqual(self.store.kept[6].place, 9)
        self.assertEqual(self.store.results(range(9)), {6: b"six"})

    def test_results_of_jobs_that_go_are_not_written(self) -> None:
        """They would never be deleted."""
        self.write(Batch([addition(6, b"x" * 11)], (), (), [(1, b"one"), (2, b"two"), (3, b"three")], [1, 3]))
        self.assertEqual(self.store.results(range(9)), {2: b"two"})
        self.assertEqual(self.numbers(), [2, 4, 5])

    def test_a_mark_goes_with_its_job(self) -> None:
        marks = [StoredValue(SCHEDULED, b"%d" % number, 1.0, number) for number in range(6, 16)]
        additions = [addition(number, b"x" * (11 if number in (7, 12) else 1)) for number in range(6, 16)]
        self.write(
            Batch(
                additions,
                (),
                (),
                values=[*marks, StoredValue(PAUSED, b"f", 1.0), StoredValue(SCHEDULED, b"s", 1.0)],
            )
        )
        self.assertEqual(
            {mark.name for mark in self.store.values()},
            {*(b"%d" % number for number in range(6, 16) if number not in (7, 12)), b"f", b"s"},
        )
        # In one transaction with it, whichever that is.
        for batch in self.store.batches[1:]:
            numbers = {job.number for job, _ in batch.new_jobs}
            with_job = {mark.number for mark in batch.values if mark.number}
            self.assertTrue(with_job <= numbers)

    def test_a_mark_of_a_job_that_is_kept_already(self) -> None:
        self.write(Batch([addition(6, b"x" * 11)], (), (), values=[StoredValue(SCHEDULED, b"s", 1.0, 5)]))
        self.assertEqual(self.store.values(), [StoredValue(SCHEDULED, b"s", 1.0)])

    def test_what_other_servers_have(self) -> None:
        """The rest is written without those, and without what was to be kept with them."""
        batch = Batch(
            [addition(number) for number in range(6, 11)],
            [JobUpdate(7, 9, 0.0, 1)],
            [1],
            [(6, b"six"), (7, b"seven")],
            values=[StoredValue(SCHEDULED, b"%d" % number, 1.0, number) for number in (0, 6, 7)],
            names=[Naming(2), Naming(6), Naming(7)],
        )
        joined, passed = {6: stored(70), 8: stored(80)}, {9: b"H:90"}
        self.store.fail("write", DoneElsewhere({6: joined[6]}, passed))
        self.store.fail("write", DoneElsewhere({8: joined[8]}, {}))
        self.assertEqual(write_all(self.store, batch), Refusals({}, {}, {}, joined, passed))
        self.assertEqual(self.numbers(), [2, 3, 4, 5, 7, 10])
        self.assertEqual({value.name for value in self.store.values()}, {b"0", b"7"})
        self.assertEqual(self.store.results(range(99)), {7: b"seven"})
        self.assertEqual(self.store.batches[-1].names, [Naming(2), Naming(7)])

    def test_what_is_refused_beside_that(self) -> None:
        """It is found by halves, and of these as well others may have some."""
        large = b"x" * 11
        batch = Batch(
            [addition(6), addition(7, large), addition(8), addition(9)],
            (),
            [1],
            [(6, b"six"), (8, b"eight"), (9, b"nine")],
            changes=[JobChange(8, b"g", 0, None), JobChange(9, b"g", 0, None)],
            names=[Naming(2), Naming(6), Naming(8), Naming(9)],
        )
        joined = {6: stored(70), 8: stored(80)}
        self.store.fail("write", DoneElsewhere({6: joined[6]}, {}))
        self.store.fail("write", FULL)
        self.store.fail("write", FULL)
        self.store.fail("write", DoneElsewhere({8: joined[8]}, {}))
        refusals = write_all(self.store, batch)
        self.assertEqual((refusals.joined, refusals.passed), (joined, {}))
        self.assertEqual(refusals.new_jobs.keys(), {1})
        self.assertEqual((self.numbers(), self.store.kept[9].function), ([2, 3, 4, 5, 9], b"g"))
        self.assertEqual(self.store.results(range(99)), {9: b"nine"})
        self.assertEqual([batch.names for batch in self.store.batches[-3:-1]], [[Naming(9)], [Naming(2)]])

    def test_a_full_disk_is_not_asked_for_each_of_them(self) -> None:
        self.store.fail("write", FULL, times=100)
        additions, results = self.write(Batch([addition(number) for number in range(6, 1006)], (), ()))
        self.assertEqual((additions, results), (dict.fromkeys(range(1000), str(FULL)), {}))
        self.assertLess(len(self.store.batches), 3 * MOST_REFUSALS)
        self.store.mend()
        self.store.write(Batch([addition(number) for number in range(6, 1006)], (), ()))
        self.store.too_large = 0
        self.store.batches.clear()
        _, results = self.write(Batch((), (), (), [(number, b"r") for number in range(1, 1006)]))
        self.assertEqual(len(results), 1005)
        self.assertLess(len(self.store.batches), 3 * MOST_REFUSALS)
        self.assertEqual(self.store.batches[-1].results, [(number, b"") for number in range(1, 1006)])

    def test_where_some_are_kept_each_is_tried(self) -> None:
        additions = [addition(number, b"x" * (10 if number == 6 else 11)) for number in range(6, 106)]
        refused, _ = self.write(Batch(additions, (), ()))
        self.assertEqual((len(refused), self.store.known([6])), (99, {6}))
        self.assertGreater(len(self.store.batches), 150)

    def test_nothing_more_is_written_than_there_is(self) -> None:
        self.write(Batch([addition(6, b"x" * 11), addition(7)], (), ()))
        self.assertTrue(all(batch.new_jobs for batch in self.store.batches))
        self.store.fail("write", FULL)
        self.store.batches.clear()
        self.assertEqual(self.write(EMPTY), ({}, {}))
        self.assertEqual(self.store.batches, [EMPTY])

    def test_a_store_that_takes_not_even_that_is_lost(self) -> None:
        """Neither moves, ends and marks, nor that there is no result."""
        for batch, refusals in (
            (Batch((), [JobUpdate(1, 9, 0.0, 1)], ()), 2),
            (Batch((), (), [1]), 2),
            (Batch((), (), (), deleted_all=[1]), 2),
            (Batch((), (), (), values=[StoredValue(PAUSED, b"f", 1.0)]), 2),
            (Batch([addition(6)], (), (), values=[StoredValue(PAUSED, b"f", 1.0)]), 3),
            (Batch((), (), (), [(1, b"r")]), 3),
        ):
            self.begin()
            self.store.fail("write", FULL, times=refusals)
            with self.assertRaises(StoreUnavailable) as caught:
                write_all(self.store, batch)
            self.assertEqual(str(caught.exception), "The disk is full")
            self.assertEqual(len(self.store.batches), refusals)

    def test_a_store_that_is_lost_on_the_way(self) -> None:
        batch = Batch([addition(6, b"x" * 11), addition(7)], [JobUpdate(1, 9, 0.0, 1)], (), [(2, b"x" * 11)])
        self.write(batch)
        # The whole; both jobs, each of them; the move; the result, and that there is none.
        self.assertEqual(len(self.store.batches), 7)
        for call in range(1, 8):
            store = LostStore(call)
            store.open()
            store.write(Batch([addition(1), addition(2)], (), ()))
            with self.assertRaises(StoreUnavailable) as caught:
                write_all(store, batch)
            self.assertEqual((str(caught.exception), store.calls), ("gone", call))

    @PROPERTY
    @given(
        st.lists(st.integers(0, 15), max_size=60),
        st.dictionaries(st.integers(1, 5), st.integers(0, 15)),
        st.sets(st.integers(1, 5)),
    )
    def test_exactly_what_is_too_large_is_refused(
        self, sizes: list[int], results: dict[int, int], forgotten: set[int]
    ) -> None:
        self.begin()
        # Or it would be taken for a full disk.
        sizes = [0, *sizes]
        additions: list[NewJob] = [addition(number, b"x" * size) for number, size in enumerate(sizes, 10)]
        marks = [StoredValue(SCHEDULED, b"%d" % job.number, 1.0, job.number) for job, _ in additions]
        refusals = write_all(
            self.store,
            Batch(
                additions,
                (),
                (),
                [(number, b"x" * size) for number, size in results.items()],
                list(forgotten),
                marks,
            ),
        )
        large = {index for index, size in enumerate(sizes) if size > 10}
        kept = {index + 10 for index in range(len(sizes))} - {index + 10 for index in large}
        self.assertEqual(refusals.new_jobs.keys(), large)
        self.assertEqual(set(self.numbers()), kept | {1, 2, 3, 4, 5} - forgotten)
        self.assertEqual({mark.name for mark in self.store.values()}, {b"%d" % number for number in kept})
        brought = {number: size for number, size in results.items() if number not in forgotten}
        self.assertEqual(
            {number: len(result) for number, result in self.store.results(range(9)).items()},
            {number: size for number, size in brought.items() if 0 < size <= 10},
        )
        self.assertTrue(refusals.results.keys() <= {number for number, size in brought.items() if size > 10})
