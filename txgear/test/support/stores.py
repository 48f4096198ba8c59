"""
What every store does, whatever it is made of: the tests of the contract of L{IJobStore}.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from zope.interface.verify import verifyObject

from txgear.broker.records import (
    LAST_NUMBER,
    PAUSED,
    SCHEDULED,
    Batch,
    HistoryChunk,
    JobChange,
    JobRecord,
    JobUpdate,
    StoredValue,
)
from txgear.broker.states import DEAD, DONE, FAILED
from txgear.errors import StoreRefused, StoreUnavailable, StoreUnusable
from txgear.interfaces import IHistoryStore, IJobStore, ILeasedStore
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.protocol.packets import Data, Pieces
from txgear.test.support.batches import (
    adding,
    addition,
    changing,
    deleting,
    deleting_all,
    setting_values,
    stored,
    updating,
    with_results,
)

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as Base
else:
    Base = object

ALL_BYTES: Final = bytes(range(256))
LAST: Final = 2**63 - 1
"""The last number that a job may have."""


@contextmanager
def living(store: IJobStore) -> Iterator[None]:
    """
    What a server's journal does for its store that is to stay its own: it shows from time to time that it is
    there.
    """
    if not ILeasedStore.providedBy(store):
        yield
        return
    ended = Event()

    def beat() -> None:
        while not ended.wait(store.beat_seconds / 4):
            store.renew()

    thread = Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class StoreContract(Base):
    """
    For a test case; what is inherited says how a store is made.

    @ivar store: an empty store, which is open.
    @ivar last: the last number that a job may have in it.
    @ivar far: numbers far from the first ones and from each other.
    """

    store: IJobStore
    last: int = LAST
    far: tuple[int, ...] = (2**40, 2**54, LAST_NUMBER)

    def make_store(self) -> IJobStore:
        """A store that is not open, on the place of this test."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.store = self.make_store()
        self.open_store()
        self.addCleanup(lambda: self.store.close(None))

    def open_store(self) -> None:
        """Open the store, as a server does that starts where another one has ended."""
        self.store.open()

    def reopen(self, next_number: int | None = None) -> None:
        """A new server starts where this one has ended."""
        self.store.close(next_number)
        self.store = self.make_store()
        self.open_store()

    def kept(self) -> list[JobRecord]:
        return self.store.replay(0, 1_000_000)

    def numbers(self) -> list[int]:
        return [job.number for job in self.kept()]

    # What comes back

    def test_it_provides_the_interface(self) -> None:
        verifyObject(IJobStore, self.store)
        self.assertIsInstance(self.store.name, str)

    def test_every_field_comes_back_as_it_went_in(self) -> None:
        jobs = [
            stored(1),
            stored(2, place=LAST, prefix=b"p" * 44, retries=2**31 - 1, size=2**40),
            stored(3, function=b"", unique=ALL_BYTES[:64], reducer=ALL_BYTES[-64:]),
            stored(4, function=(ALL_BYTES * 32)[:8191], unique=b"\0" * 64, reducer=b"\0"),
            stored(5, unique=b"-", digest=ALL_BYTES[:16]),
            stored(6, unique=b"-", digest=bytes(16)),
            stored(7, digest=b"\xff" * 16, function=b"trailing \0 ", unique=b"' \\ \" %s ? %(a)s ;"),
            stored(8, priority=HIGH, due=0.1),
            stored(9, priority=LOW, due=1735689600.123456, retries=255),
            stored(10, priority=NORMAL, due=1e300),
            stored(2**32 + 1, place=2**53 + 1),
            stored(self.last - 1, created=1735689600.123456),
            stored(self.last, created=0.1, history=b"{}"),
        ]
        self.store.write(adding(*((job, b"") for job in jobs)))
        self.assertEqual(self.kept(), jobs)
        self.reopen()
        self.assertEqual(self.kept(), jobs)
        for index in (4, -1):
            self.assertEqual(list(map(type, self.kept()[index])), list(map(type, jobs[index])))

    def test_jobs_are_told_apart_by_their_number_alone(self) -> None:
        jobs = [
            stored(1),
            stored(2, place=1),
            stored(3, place=1, unique=b"u"),
            stored(4, place=1, unique=b"u"),
        ]
        self.store.write(adding(*((job, b"same") for job in jobs)))
        self.store.write(deleting([1, 3]))
        self.assertEqual(self.kept(), [jobs[1], jobs[3]])

    def test_workloads_come_back_as_they_went_in(self) -> None:
        workloads: dict[int, Data] = {
            1: b"",
            2: b"\0",
            3: ALL_BYTES,
            4: b"'\\\"%s?;--\r\n\x1a" * 100,
            5: Pieces([b"one ", b"and \0", b"two"]),
            6: Pieces([]),
            7: random.Random(7).randbytes(1_000_000),
            8: b"-",
            self.last: b"the last",
        }
        self.store.write(adding(*(addition(*item) for item in workloads.items())))
        self.reopen()
        expected = {number: bytes(workload) for number, workload in workloads.items()}
        self.assertEqual(self.store.workloads(list(workloads)), expected)
        self.assertIs(type(self.store.workloads([5])[5]), bytes)

    def test_workloads_of_jobs_that_are_not_kept_are_missing(self) -> None:
        self.store.write(adding(addition(1, b"one"), addition(2), addition(3, b"three")))
        self.store.write(deleting([3]))
        self.assertEqual(self.store.workloads([5, 3, 2, 1, 2]), {1: b"one", 2: b""})
        self.assertEqual(self.store.workloads([4]), {})
        self.assertEqual(self.store.workloads([]), {})

    def test_known_are_those_that_are_kept(self) -> None:
        self.store.write(adding(addition(1), addition(2, b"two"), addition(self.far[0])))
        self.store.write(deleting([1]))
        self.assertEqual(self.store.known([1, 2, 2, 3, self.far[0]]), {2, self.far[0]})
        self.assertEqual(self.store.known([]), set())

    # What a batch does

    def test_a_batch_adds_then_moves_then_ends(self) -> None:
        self.store.write(adding(addition(1, b"one"), addition(2, b"two")))
        self.store.write(
            Batch(
                [addition(3, b"three"), addition(4, b"four"), addition(5)],
                [JobUpdate(3, 30, 3.5, 3), JobUpdate(4, 40, 4.5, 4), JobUpdate(2, 20, 2.5, 2)],
                [4, 1, 5],
            )
        )
        moved = [
            stored(2, place=20, due=2.5, retries=2, size=3),
            stored(3, place=30, due=3.5, retries=3, size=5),
        ]
        self.assertEqual(self.kept(), moved)
        self.assertEqual(self.store.workloads([1, 2, 3, 4, 5]), {2: b"two", 3: b"three"})

    def test_moves_and_ends_may_be_said_twice(self) -> None:
        self.store.write(adding(addition(1, b"one"), addition(2, b"two")))
        batch = Batch(
            (), [JobUpdate(1, 9, 1.5, 1), JobUpdate(7, 9, 1.5, 1), JobUpdate(1, 10, 0.0, 2)], [2, 2, 8]
        )
        for _ in range(2):
            self.store.write(batch)
            self.assertEqual(self.kept(), [stored(1, place=10, retries=2, size=3)])

    def test_an_empty_batch_does_nothing(self) -> None:
        self.store.write(adding(addition(1)))
        self.store.write(Batch((), (), ()))
        self.assertEqual(self.kept(), [stored(1)])

    def test_a_job_may_come_again_after_its_end(self) -> None:
        self.store.write(adding(addition(1, b"one")))
        self.store.write(deleting([1]))
        self.store.write(adding(addition(1)))
        self.assertEqual(self.store.workloads([1]), {1: b""})

    def test_nothing_of_a_batch_that_is_refused_is_done(self) -> None:
        self.store.write(adding(addition(1, b"one"), addition(2, b"two")))
        before = self.kept()
        many = [addition(number, b"new") for number in range(3, 1000)]
        for added in ([addition(1, b"another")], [*many, addition(2)], [*many, addition(3)]):
            with self.assertRaises(StoreRefused) as caught:
                self.store.write(
                    Batch(
                        added,
                        [JobUpdate(1, 5, 5.0, 5, 5, DONE, 5.0, b"5")],
                        [2],
                        [(1, b"result")],
                        [2],
                        [StoredValue(PAUSED, b"f", 1.0)],
                    )
                )
            self.assertNotIn("\n", str(caught.exception))
            self.assertEqual(self.kept(), before)
            self.assertEqual((self.store.results([1, 2]), self.store.values()), ({}, []))
        self.assertEqual(self.store.workloads(range(1000)), {1: b"one", 2: b"two"})
        self.store.write(adding(*many))
        self.assertEqual(len(self.kept()), 999)

    def test_any_number_of_jobs_may_come_and_go_at_once(self) -> None:
        for count in (1, 2, 3, 7, 64, 255, 256, 257, 511, 1000):
            jobs = [addition(number, b"%d" % number if number % 3 else b"") for number in range(1, count + 1)]
            self.store.write(adding(*jobs))
            self.assertEqual(self.kept(), [job for job, _ in jobs])
            self.assertEqual(self.store.known(range(2000)), set(range(1, count + 1)))
            found = self.store.workloads(range(2000))
            self.assertEqual(found, {job.number: workload for job, workload in jobs})
            self.store.write(Batch((), [JobUpdate(job.number, 7, 0.0, 7) for job, _ in jobs], ()))
            self.assertEqual({(job.place, job.retries) for job in self.kept()}, {(7, 7)})
            self.store.write(deleting(range(count, 0, -1)))
            self.assertEqual(self.kept(), [])

    def test_large_workloads_come_and_go_at_once(self) -> None:
        data = random.Random(1).randbytes(700_000)
        sizes = [700_000, 1, 600_000, 0, 500_000, 2, 3, 400_000, 300_000, 700_000, 700_000, 700_000]
        jobs = [addition(number, data[:size]) for number, size in enumerate(sizes, 1)]
        self.store.write(adding(*jobs))
        found = self.store.workloads(range(1, len(jobs) + 1))
        self.assertEqual([len(found[job.number]) for job, _ in jobs], sizes)
        self.assertTrue(all(found[job.number] == workload for job, workload in jobs))

    # What a job becomes

    def test_moves_tell_all_that_changes(self) -> None:
        self.store.write(adding(addition(1, b"one"), addition(2, b"two"), addition(3, b"three")))
        life = ALL_BYTES * 300
        self.store.write(
            updating(
                JobUpdate(1, 11, 1e9 + 0.25, 2**31 - 1, 2**40, DEAD, 1735689600.123456, life),
                JobUpdate(2, 12, 0.0, 0, 0, DONE, 0.5, b""),
                JobUpdate(3, 13, 0.0, 1, None, 0, 0.0, b"{}"),
            )
        )
        moved = [
            stored(1, place=11, due=1e9 + 0.25, retries=2**31 - 1, size=2**40)._replace(
                state=DEAD, ended=1735689600.123456, history=life
            ),
            stored(2, place=12, state=DONE, ended=0.5, history=b""),
            stored(3, place=13, retries=1, size=5, history=b"{}"),
        ]
        self.assertEqual(self.kept(), moved)
        self.reopen()
        self.assertEqual(self.kept(), moved)
        self.assertEqual(list(map(type, self.kept()[0])), list(map(type, moved[0])))
        # A dead job keeps its workload, and may be queued again.
        self.assertEqual(self.store.workloads([1, 2]), {1: b"one", 2: b"two"})
        self.store.write(updating(JobUpdate(1, 14, 0.0, 0, 3), JobUpdate(2, 2, 0.0, 0)))
        self.assertEqual(self.kept()[:2], [stored(1, place=14, size=3), stored(2)])

    # What operators change

    def test_changes_tell_all_that_operators_change(self) -> None:
        self.store.write(adding(addition(1, b"one"), addition(2, b"two"), addition(3, b"three"), addition(4)))
        name = (ALL_BYTES * 32)[:8191]
        self.store.write(
            changing(
                JobChange(1, name, HIGH, ALL_BYTES[:16]),
                JobChange(2, b"", LOW, None, b"longer than it was"),
                JobChange(3, b"f", NORMAL, None, b""),
                JobChange(4, b"g", NORMAL, bytes(16), ALL_BYTES),
            )
        )
        changed = [
            stored(1, function=name, priority=HIGH, digest=ALL_BYTES[:16], size=3),
            stored(2, function=b"", priority=LOW, size=18),
            stored(3),
            stored(4, function=b"g", digest=bytes(16), size=256),
        ]
        workloads = {1: b"one", 2: b"longer than it was", 3: b"", 4: ALL_BYTES}
        for _ in range(2):
            self.assertEqual(self.kept(), changed)
            self.assertEqual(self.store.workloads(range(5)), workloads)
            self.reopen()
        self.store.write(deleting(range(5)))
        self.assertEqual((self.kept(), self.store.workloads(range(5))), ([], {}))

    def test_changes_come_after_what_is_new_and_before_all_else(self) -> None:
        self.store.write(adding(addition(1, b"one"), addition(2, b"two"), addition(3, b"three")))
        changes = [JobChange(number, b"g", LOW, None, b"new") for number in (1, 2, 3, 9, 4)]
        self.store.write(
            Batch(
                [addition(9, b"nine")],
                [JobUpdate(1, 11, 2.5, 3), JobUpdate(2, 2, 0.0, 0, 6, DONE, 1.0)],
                [3],
                [(2, b"result")],
                changes=changes,
            )
        )
        self.assertEqual(
            self.kept(),
            [
                stored(1, function=b"g", priority=LOW, size=3, place=11, due=2.5, retries=3),
                stored(2, function=b"g", priority=LOW, size=6, state=DONE, ended=1.0),
                stored(9, function=b"g", priority=LOW, size=3),
            ],
        )
        self.assertEqual(self.store.workloads(range(10)), {1: b"new", 2: b"", 9: b"new"})
        self.assertEqual(self.store.results(range(10)), {2: b"result"})
        # Of a job that was not kept nothing is kept now.
        self.store.write(adding(addition(4, b"four")))
        self.assertEqual(self.store.workloads([4]), {4: b"four"})

    def test_any_number_of_changes_at_once_and_again(self) -> None:
        numbers = range(1, 601)
        self.store.write(adding(*(addition(number, b"w") for number in numbers)))
        for function, size in ((b"g", 2), (b"h", 0), (b"i", 3000)):
            changes = [JobChange(number, function, number % 3, None, b"x" * size) for number in numbers]
            for _ in range(2):
                self.store.write(changing(*changes))
            kept = [stored(number, function=function, priority=number % 3, size=size) for number in numbers]
            self.assertEqual(self.kept(), kept)
            self.assertEqual(self.store.workloads(numbers), dict.fromkeys(numbers, b"x" * size))

    def test_jobs_come_with_what_was_set_for_them(self) -> None:
        lives = [None, b"", b"{}", ALL_BYTES, b"x" * 100_000] * 100
        jobs = [stored(number, history=life, created=number / 8) for number, life in enumerate(lives, 1)]
        self.store.write(adding(*((job, b"w") for job in jobs)))
        self.assertEqual(self.kept(), jobs)
        # What is said of a new job in the same batch is newer.
        self.store.write(
            Batch(
                [(stored(1000, history=b"old"), b"")],
                [JobUpdate(1000, 1001, 2.5, 1, 7, FAILED, 3.5, b"new")],
                (),
            )
        )
        newest = stored(1000, place=1001, due=2.5, retries=1, size=7, state=FAILED, ended=3.5, history=b"new")
        self.assertEqual(self.kept()[-1], newest)

    # Results

    def test_results_take_the_places_of_workloads(self) -> None:
        self.store.write(adding(*(addition(number, b"w%d" % number) for number in range(1, 6))))
        self.store.write(with_results((1, b"one"), (2, ALL_BYTES), (3, b"")))
        for _ in range(2):
            self.assertEqual(self.store.results([5, 1, 2, 3, 4, 2]), {1: b"one", 2: ALL_BYTES})
            self.assertEqual(self.store.workloads([1, 2, 3, 4]), {1: b"", 2: b"", 3: b"", 4: b"w4"})
            self.reopen()
        self.assertIs(type(self.store.results([1])[1]), bytes)
        self.assertEqual(self.store.results([]), {})
        self.assertEqual(self.store.known(range(9)), {1, 2, 3, 4, 5})

    def test_results_are_replaced(self) -> None:
        self.store.write(adding(addition(1, b"w"), addition(2, b"w"), addition(3, b"w")))
        self.store.write(with_results((1, b"one"), (2, b"two"), (3, b"")))
        batch = with_results((1, b"another"), (2, b""), (3, b"three"))
        for _ in range(2):
            self.store.write(batch)
            self.assertEqual(self.store.results([1, 2, 3]), {1: b"another", 3: b"three"})

    def test_a_job_may_come_and_bring_its_result_at_once(self) -> None:
        self.store.write(
            Batch([addition(1, b"w")], [JobUpdate(1, 1, 9.5, 0, 6, DONE, 2.5, b"{}")], (), [(1, b"result")])
        )
        self.assertEqual(self.kept(), [stored(1, due=9.5, size=6, state=DONE, ended=2.5, history=b"{}")])
        self.assertEqual(self.store.results([1]), {1: b"result"})
        self.assertEqual(self.store.workloads([1]), {1: b""})

    def test_what_is_forgotten_leaves_nothing(self) -> None:
        self.store.write(adding(*(addition(number, b"w") for number in range(1, 5))))
        self.store.write(with_results((1, b"one"), (2, b"two")))
        # A result that was said of a job before it was forgotten means nothing.
        batch = Batch((), [JobUpdate(1, 9, 0.0, 0, 3, DONE, 1.0)], (), [(3, b"three")], [1, 3, 3, 4, 77])
        self.store.write(batch)
        self.store.write(deleting_all([1, 3]))
        self.assertEqual(self.kept(), [stored(2, size=1)])
        self.assertEqual(self.store.results(range(9)), {2: b"two"})
        self.assertEqual(self.store.workloads(range(9)), {2: b""})
        self.store.write(adding(*(addition(number) for number in (1, 3, 4))))
        self.assertEqual(self.store.results(range(9)), {2: b"two"})

    def test_any_number_of_results_may_come_and_go_at_once(self) -> None:
        for count in (1, 2, 3, 64, 255, 256, 257, 700):
            numbers = range(1, count + 1)
            self.store.write(adding(*(addition(number, b"w") for number in numbers)))
            results = {number: b"%d" % number if number % 3 else b"" for number in numbers}
            self.store.write(with_results(*results.items()))
            kept = {number: result for number, result in results.items() if result}
            self.assertEqual(self.store.results(range(2000)), kept)
            self.store.write(deleting_all(numbers))
            self.assertEqual((self.kept(), self.store.results(range(2000))), ([], {}))

    def test_large_results_come_at_once(self) -> None:
        data = random.Random(3).randbytes(700_000)
        sizes = [700_000, 1, 600_000, 500_000, 2, 700_000, 700_000, 700_000]
        self.store.write(adding(*(addition(number) for number in range(1, len(sizes) + 1))))
        self.store.write(with_results(*((number, data[:size]) for number, size in enumerate(sizes, 1))))
        found = self.store.results(range(20))
        self.assertEqual([len(found[number]) for number in sorted(found)], sizes)
        self.assertTrue(all(data.startswith(result) for result in found.values()))

    # Marks

    def stored_values(self) -> list[StoredValue]:
        return sorted(self.store.values())

    def test_values_come_back_as_they_went_in(self) -> None:
        self.assertEqual(self.store.values(), [])
        long = (ALL_BYTES * 32)[:8191]
        values = [
            StoredValue(PAUSED, b"", 1.0),
            StoredValue(PAUSED, b"\0' \" %s ? \\", 0.1),
            StoredValue(PAUSED, b"f", 1735689600.123456),
            StoredValue(PAUSED, long, 1e300),
            StoredValue(PAUSED, long[:-1] + b"x", 5e-324),
            StoredValue(SCHEDULED, b"F", 2.0),
            StoredValue(SCHEDULED, b"f", 3.0),
            StoredValue(SCHEDULED, b"f ", 4.0),
            StoredValue(PAUSED, b"said", 1.0, text="by \0 f\xfcr \u20ac \U0001f600 ' \" %s"),
            StoredValue(SCHEDULED, b"said", 1.0, text="x" * 1000),
        ]
        self.store.write(setting_values(*values))
        self.assertEqual(self.stored_values(), sorted(values))
        self.reopen()
        self.assertEqual(self.stored_values(), sorted(values))
        types = [int, bytes, float, int, str]
        self.assertEqual([list(map(type, value)) for value in self.store.values()], [types] * len(values))

    def test_a_text_may_be_too_long_or_none(self) -> None:
        """Of one that is too long the beginning is kept."""
        self.store.write(setting_values(StoredValue(PAUSED, b"f", 1.0, text="\u20ac" * 3000)))
        (value,) = self.stored_values()
        self.assertGreaterEqual(len(value.text), 333)
        self.assertEqual(set(value.text), {"\u20ac"})
        self.store.write(setting_values(StoredValue(PAUSED, b"f", 1.0, text="\udc80 alone")))
        self.assertIn("alone", self.stored_values()[0].text)
        self.store.write(setting_values(StoredValue(PAUSED, b"f", 2.0)))
        self.assertEqual(self.stored_values(), [StoredValue(PAUSED, b"f", 2.0)])

    def test_values_change_and_go(self) -> None:
        self.store.write(
            setting_values(
                StoredValue(PAUSED, b"f", 1.0),
                StoredValue(SCHEDULED, b"f", 2.0),
                StoredValue(PAUSED, b"g", 3.0),
            )
        )
        batch = setting_values(
            StoredValue(PAUSED, b"f", 4.0),
            StoredValue(PAUSED, b"g", 0.0),
            StoredValue(PAUSED, b"unknown", 0.0),
        )
        for _ in range(2):
            self.store.write(batch)
            self.assertEqual(
                self.stored_values(), [StoredValue(PAUSED, b"f", 4.0), StoredValue(SCHEDULED, b"f", 2.0)]
            )
        self.store.write(setting_values(StoredValue(SCHEDULED, b"f", 0.0)))
        self.assertEqual(self.stored_values(), [StoredValue(PAUSED, b"f", 4.0)])

    def test_a_value_is_kept_together_with_a_job(self) -> None:
        """Or not at all; which job that was is not kept."""
        self.store.write(Batch([addition(7)], (), (), values=[StoredValue(SCHEDULED, b"s", 60.0, 7)]))
        self.assertEqual(self.store.values(), [StoredValue(SCHEDULED, b"s", 60.0)])
        with self.assertRaises(StoreRefused):
            self.store.write(Batch([addition(7)], (), (), values=[StoredValue(SCHEDULED, b"s", 120.0, 7)]))
        self.assertEqual(self.store.values(), [StoredValue(SCHEDULED, b"s", 60.0)])
        self.store.write(deleting_all([7]))
        self.assertEqual(self.store.values(), [StoredValue(SCHEDULED, b"s", 60.0)])

    def test_any_number_of_values_may_come_and_go_at_once(self) -> None:
        for count in (1, 2, 3, 255, 256, 257, 700):
            values = [StoredValue(PAUSED, b"%d" % number, number) for number in range(1, count + 1)]
            self.store.write(setting_values(*values))
            self.assertEqual(self.stored_values(), sorted(values))
            self.store.write(setting_values(*(value._replace(value=0.0) for value in values)))
            self.assertEqual(self.store.values(), [])

    # Replay

    def test_replay_reads_chunks_in_the_order_of_numbers(self) -> None:
        numbers = [*range(1, 500), *range(self.far[0], self.far[0] + 101)]
        shuffled = random.Random(2).sample(numbers, len(numbers))
        for start in range(0, len(shuffled), 150):
            self.store.write(
                adding(*(addition(number, b"w" * 50) for number in shuffled[start : start + 150]))
            )
        for limit in (1, 7, 300, 600, 601):
            read: list[int] = []
            while chunk := self.store.replay(read[-1] if read else 0, limit):
                read += [job.number for job in chunk]
                self.assertTrue(len(chunk) == limit or len(read) == len(numbers))
            self.assertEqual(read, numbers)
        self.assertEqual(self.store.replay(LAST, 10), [])

    # Numbers

    def test_numbers_are_reserved_once(self) -> None:
        first = self.store.reserve(10)
        self.assertGreaterEqual(first, 1)
        second = self.store.reserve(1)
        self.assertGreaterEqual(second, first + 10)
        self.reopen()
        third = self.store.reserve(self.far[0])
        self.assertGreater(third, second)
        self.assertGreaterEqual(self.store.reserve(1), third + self.far[0])

    # Opening and closing

    def test_all_is_kept_when_it_is_closed_and_opened(self) -> None:
        self.store.write(adding(addition(1, b"one"), addition(2)))
        for _ in range(2):
            self.store.close(None)
            self.open_store()
            self.assertEqual(self.numbers(), [1, 2])
        self.assertEqual(self.store.workloads([1, 2]), {1: b"one", 2: b""})

    def test_nothing_can_be_done_while_it_is_closed(self) -> None:
        self.store.close(None)
        for call in (
            lambda: self.store.reserve(1),
            lambda: self.store.replay(0, 1),
            lambda: self.store.write(adding(addition(1))),
            lambda: self.store.workloads([1]),
            lambda: self.store.results([1]),
            self.store.values,
            lambda: self.store.known([1]),
        ):
            with self.assertRaises(StoreUnavailable):
                call()


class AloneContract(StoreContract):
    """
    The same for a store that one server has for itself, with all numbers.
    """

    def test_numbers_that_were_not_used_are_given_back_at_the_end(self) -> None:
        first = self.store.reserve(1000)
        self.reopen(first + 10)
        self.assertEqual(self.store.reserve(1000), first + 10)
        self.reopen(None)
        self.assertEqual(self.store.reserve(1), first + 1010)

    def test_numbers_are_used_up_at_last(self) -> None:
        self.reopen(LAST_NUMBER - 1000)
        first = self.store.reserve(900)
        self.assertEqual(first, LAST_NUMBER - 1000)
        for _ in range(2):
            with self.assertRaises(StoreRefused):
                self.store.reserve(200)
        self.assertEqual(self.store.reserve(50), LAST_NUMBER - 100)

    def test_closed_twice_is_closed_once(self) -> None:
        first = self.store.reserve(100)
        self.store.close(first + 50)
        self.store.close(first)
        self.store.open()
        self.assertEqual(self.store.reserve(1), first + 50)

    def test_one_server_at_a_time(self) -> None:
        self.store.write(adding(addition(1)))
        second = self.make_store()
        with living(self.store), self.assertRaises(StoreUnusable) as caught:
            second.open()
        self.assertIn("in use by another server", str(caught.exception))
        self.assertEqual(self.numbers(), [1])
        self.store.close(None)
        self.store = second
        self.store.open()
        self.assertEqual(self.numbers(), [1])


class HistoryContract(AloneContract):
    """
    The same for a store that keeps the history of figures.
    """

    store: IHistoryStore

    def make_store(self) -> IHistoryStore:
        raise NotImplementedError

    def chunks(self) -> list[HistoryChunk]:
        return self.store.history(0, 1000)

    def test_it_keeps_history(self) -> None:
        verifyObject(IHistoryStore, self.store)

    def test_chunks_come_back_as_they_went_in(self) -> None:
        self.assertEqual(self.chunks(), [])
        chunks = [(1, b""), (2, ALL_BYTES), (2**40, b"x" * 100_000), (LAST, b"'\0")]
        self.store.put_history(chunks[::-1], [])
        for _ in range(2):
            self.assertEqual(self.chunks(), chunks)
            self.reopen()
        self.assertIs(type(self.chunks()[0][1]), bytes)

    def test_chunks_are_replaced_and_deleted(self) -> None:
        self.store.put_history([(1, b"one"), (2, b"two"), (3, b"three")], [7])
        for _ in range(2):
            self.store.put_history([(2, b"another"), (4, b"four")], [1, 1, 3, 9])
            self.assertEqual(self.chunks(), [(2, b"another"), (4, b"four")])
        self.store.put_history([(1, b"again")], [1])
        self.store.put_history([], [2])
        self.assertEqual(self.chunks(), [(1, b"again"), (4, b"four")])

    def test_chunks_are_read_by_and_by(self) -> None:
        chunks = [(number, b"%d" % number) for number in range(1, 600)]
        self.store.put_history(chunks, [])
        for limit in (1, 250, 599, 600):
            read: list[HistoryChunk] = []
            while part := self.store.history(read[-1][0] if read else 0, limit):
                self.assertTrue(len(part) == limit or len(read) + len(part) == 599)
                read += part
            self.assertEqual(read, chunks)

    def test_jobs_and_chunks_have_nothing_to_do_with_each_other(self) -> None:
        self.store.write(adding(addition(1, b"one")))
        self.store.put_history([(1, b"chunk")], [])
        self.store.write(deleting_all([1]))
        self.assertEqual((self.chunks(), self.kept()), ([(1, b"chunk")], []))

    def test_chunks_need_an_open_store(self) -> None:
        self.store.close(None)
        with self.assertRaises(StoreUnavailable):
            self.store.put_history([(1, b"")], [])
        with self.assertRaises(StoreUnavailable):
            self.store.history(0, 1)
