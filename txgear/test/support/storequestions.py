"""
What every store answers of the jobs that it keeps: tests of the contract of L{IJobStore}, as in
L{txgear.test.support.stores}.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from sqlalchemy.engine.interfaces import DBAPIConnection

from txgear.broker.history import owned_by, owner_of
from txgear.broker.keys import HASH_BITS, Key, hash_of
from txgear.broker.records import (
    ASIDE,
    DEAD,
    KEPT,
    NAMED,
    OWN,
    READY,
    WAITING,
    Batch,
    ByKey,
    ByNumber,
    InLane,
    InOrder,
    JobChange,
    JobRecord,
    JobUpdate,
    Lane,
    LaneCount,
    LastInLane,
    NewJob,
    Question,
    Waking,
    WithUnique,
)
from txgear.broker.states import DEAD as DIED
from txgear.broker.states import DONE, FAILED
from txgear.errors import StoreRefused
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.stores.batchwriter import MOST_INLINE
from txgear.stores.dialects import StoreDialect
from txgear.stores.memory import MemoryStore
from txgear.stores.questions import Questions
from txgear.stores.sqlite import SQLite
from txgear.test.support.batches import adding, addition, changing, deleting, deleting_all, stored, updating
from txgear.test.support.stores import ALL_BYTES, LAST, StoreContract


class Indexed(SQLite):
    """With the index of keys that databases have."""

    questions_class = Questions
    indexes = StoreDialect.indexes

    def catch_up(
        self, driver: DBAPIConnection, transaction: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Nothing, as for databases."""


F: Final = Lane(b"f", "", NORMAL)
EVERY: Final = 1_000_000
"""A limit that is not reached."""
HASH_MASK: Final = (1 << HASH_BITS) - 1
DIGEST: Final = bytes(range(16))


def job(number: int, workload: bytes = b"", **fields: Any) -> NewJob:
    """A job, and what it is counted as."""
    return stored(number, size=len(workload))._replace(**fields), workload


class QuestionContract(StoreContract):
    """For a test case that is a L{StoreContract}."""

    def counts(self) -> dict[Lane, tuple[int, int]]:
        counted = self.store.lanes()
        found = {count.lane: (count.jobs, count.bytes) for count in counted}
        self.assertEqual(len(found), len(counted))
        return found

    def found(self, question: Question) -> list[int]:
        """The numbers of jobs, in the order of the answer."""
        return [record.number for record in self.store.rows(question)]

    def in_lane(self, lane: Lane, after: int = 0, limit: int = EVERY) -> list[int]:
        return self.found(InLane(lane, after, limit))

    def by_key(self, *keys: Key) -> list[int]:
        return sorted(self.found(ByKey(keys)))

    def hashes(self, limit: int = EVERY) -> set[int]:
        """What stands for the keys that there are."""
        every: list[int] = []
        while found := self.store.hashes(every[-1] if every else -1, limit):
            self.assertLessEqual(len(found), limit)
            self.assertEqual(found, sorted(found))
            every += found
        self.assertTrue(all(0 <= each < 2**63 for each in every))
        return {each & HASH_MASK for each in every}

    # Lanes

    def test_an_empty_store_has_no_lanes(self) -> None:
        self.assertEqual(self.store.lanes(), [])
        self.assertEqual(self.in_lane(F), [])
        self.assertEqual(self.hashes(), set())

    def test_jobs_are_counted_by_function_tenant_and_kind(self) -> None:
        name = (ALL_BYTES * 32)[:8191]
        owned = {"history": owned_by("w\xe9b")}
        self.store.write(
            adding(
                job(1, b"one"),
                job(2, b"of two", priority=HIGH),
                job(3, b"w", due=5.5),
                job(4, b"wait", kind=WAITING),
                job(5, b"a", **owned),
                job(6, function=name),
                job(7, b"xx", **owned),
                job(8, b"one"),
                job(9, function=b""),
            )
        )
        expected = {
            F: (2, 6),
            F._replace(kind=HIGH): (1, 6),
            F._replace(kind=WAITING): (2, 5),
            F._replace(tenant="w\xe9b"): (2, 3),
            F._replace(function=name): (1, 0),
            F._replace(function=b""): (1, 0),
        }
        for _ in range(2):
            self.assertEqual(self.counts(), expected)
            self.assertEqual(self.in_lane(F._replace(tenant="w\xe9b")), [5, 7])
            self.assertEqual(self.in_lane(F._replace(function=name)), [6])
            self.assertEqual(self.in_lane(F._replace(kind=WAITING)), [3, 4])
            self.assertEqual(self.in_lane(F._replace(kind=LOW)), [])
            self.reopen()

    def test_jobs_change_lanes(self) -> None:
        self.store.write(adding(*(addition(number, b"w" * number) for number in range(1, 8))))
        kinds = (WAITING, KEPT, NAMED, ASIDE, DEAD + 3, DEAD + OWN + 2)
        self.store.write(
            updating(
                *(
                    JobUpdate(number, 10 + number, 0.0, 0, None if number % 2 else 100, kind=kind)
                    for number, kind in enumerate(kinds, 1)
                )
            )
        )
        sizes = (1, 100, 3, 100, 5, 100)
        expected = {F._replace(kind=kind): (1, size) for kind, size in zip(kinds, sizes, strict=True)}
        self.assertEqual(self.counts(), {**expected, F: (1, 7)})
        for number, kind in enumerate(kinds, 1):
            self.assertEqual(self.in_lane(F._replace(kind=kind)), [number])
        self.assertEqual([record.kind for record in self.store.rows(InOrder(0, 9))], [*kinds, NORMAL])
        # Back again: with the priority that they had; one of them is to wait.
        self.store.write(updating(*(JobUpdate(number, number, 0.0, 0) for number in range(1, 6))))
        self.store.write(updating(JobUpdate(6, 6, 2.5, 0)))
        self.assertEqual(
            self.counts(), {F: (6, 1 + 100 + 3 + 100 + 5 + 7), F._replace(kind=WAITING): (1, 100)}
        )
        self.assertEqual(self.in_lane(F), [1, 2, 3, 4, 5, 7])

    def test_counts_are_right_whatever_is_said_twice_or_is_not_there(self) -> None:
        self.store.write(adding(*(addition(number, b"four") for number in range(1, 11))))
        batch = Batch(
            [addition(11, b"new"), addition(12, b"new")],
            [
                JobUpdate(3, 3, 0.0, 0, kind=KEPT),
                JobUpdate(3, 3, 0.0, 0, 9, kind=DEAD),
                JobUpdate(99, 1, 0.0, 0),
            ]
            + [JobUpdate(number, number, 7.5, 0) for number in (1, 4, 11)],
            [1, 2, 2, 77, 12],
            (),
            [2, 5, 5, 78],
            (),
            [JobChange(number, b"g", LOW, None, b"longer") for number in (4, 5, 6, 79)],
        )
        expected = {
            F: (4, 16),
            F._replace(kind=DEAD): (1, 9),
            F._replace(kind=WAITING): (1, 3),
            Lane(b"g", "", WAITING): (1, 6),
            Lane(b"g", "", LOW): (1, 6),
        }
        self.store.write(batch)
        self.assertEqual(self.counts(), expected)
        self.store.write(batch._replace(new_jobs=()))
        self.assertEqual(self.counts(), expected)
        self.store.write(deleting([*range(20), *range(20)]))
        self.assertEqual(self.counts(), {})

    def test_a_batch_that_is_refused_counts_nothing(self) -> None:
        self.store.write(adding(addition(1, b"one")))
        for number in range(3):
            with self.assertRaises(StoreRefused):
                new = [job(5, b"w", function=b"new%d" % number), addition(1)]
                self.store.write(Batch(new, [JobUpdate(1, 1, 0.0, 0, 9, kind=KEPT)], [1]))
            self.assertEqual(self.counts(), {F: (1, 3)})
        # Of a lane that was to be new then there is nothing but what comes now.
        self.store.write(adding(job(5, b"w", function=b"new1")))
        self.assertEqual(self.counts(), {F: (1, 3), F._replace(function=b"new1"): (1, 1)})

    def test_any_number_of_lanes(self) -> None:
        for start in (0, 400):
            new = [job(start + number, b"w", function=b"%d" % (start + number)) for number in range(1, 701)]
            self.store.write(adding(*new))
            self.assertEqual(len(self.counts()), 700)
            self.assertEqual(self.in_lane(F._replace(function=b"%d" % (start + 1))), [start + 1])
            self.store.write(deleting_all(range(2000)))
            self.assertEqual(self.counts(), {})

    def test_a_lane_is_read_in_the_order_of_places(self) -> None:
        numbers = random.Random(5).sample(range(1, 3001), 700)
        places = {number: 5000 - number if number % 2 else number for number in numbers}
        self.store.write(adding(*(job(number, place=place) for number, place in places.items())))
        self.store.write(adding(*(job(number + 5000, function=b"g", place=number) for number in numbers)))
        ordered = sorted(numbers, key=places.__getitem__)
        for limit in (1, 100, 699, 700, 701):
            read: list[int] = []
            while part := self.in_lane(F, places[read[-1]] if read else 0, limit):
                self.assertTrue(len(part) == limit or len(read) + len(part) == 700)
                read += part
                if limit == 1 and len(read) > 20:
                    break
            self.assertEqual(read, ordered[: len(read)])
        self.assertEqual(self.in_lane(F, LAST), [])
        self.assertEqual(self.found(LastInLane(F)), ordered[-1:])
        self.assertEqual(self.found(LastInLane(F._replace(kind=HIGH))), [])

    # What operators change

    def test_a_change_moves_jobs_to_other_lanes(self) -> None:
        owned = {"history": owned_by("web")}
        self.store.write(
            adding(
                job(1, b"one"),
                job(2, due=1.5),
                job(3, b"three", **owned),
                job(4, b"four", unique=b"-", digest=DIGEST),
                job(5, unique=b"u"),
            )
        )
        self.store.write(updating(JobUpdate(5, 5, 0.0, 0, kind=DEAD + 1)))
        self.store.write(
            changing(
                JobChange(1, b"f", HIGH, None),
                JobChange(2, b"g", LOW, None),
                JobChange(3, b"g", LOW, None, b"shorter", tenant="web"),
                JobChange(4, b"f", LOW, DIGEST[::-1], b"more than four", b"-"),
                JobChange(5, b"h", HIGH, None, unique=b"u"),
            )
        )
        self.assertEqual(
            self.counts(),
            {
                F._replace(kind=HIGH): (1, 3),
                Lane(b"g", "", WAITING): (1, 0),
                Lane(b"g", "web", LOW): (1, 7),
                F._replace(kind=LOW): (1, 14),
                Lane(b"h", "", DEAD + 1): (1, 0),
            },
        )
        self.assertEqual(self.in_lane(Lane(b"g", "web", LOW)), [3])
        self.assertEqual(self.by_key(b"u"), [5])
        self.assertEqual(self.by_key(int.from_bytes(DIGEST, "big")), [])
        self.assertEqual(self.by_key(int.from_bytes(DIGEST[::-1], "big")), [4])
        # The priority is the new one when it is queued again.
        self.store.write(updating(JobUpdate(5, 5, 0.0, 0), JobUpdate(2, 2, 0.0, 0)))
        self.assertEqual((self.in_lane(Lane(b"h", "", HIGH)), self.in_lane(Lane(b"g", "", LOW))), ([5], [2]))

    # Rows

    def test_rows_say_all_of_a_job(self) -> None:
        jobs = [
            job(1),
            job(2, b"w", unique=ALL_BYTES[:64], reducer=ALL_BYTES[-64:], retries=2**31 - 1, place=LAST),
            job(3, function=(ALL_BYTES * 32)[:8191], prefix=b"p" * 44, created=1735689600.123456),
            job(4, unique=b"-", digest=bytes(16), history=b""),
            job(5, due=1735689600.000001, history=owned_by("web")),
            job(6, due=0.1, wake=1e300, created=5e-324),
            job(7, wake=1735689600.5, priority=LOW),
            job(8, function=b"', \" \0 - ", history=b"-"),
        ]
        self.store.write(adding(*jobs))
        kinds = (NORMAL, NORMAL, NORMAL, NORMAL, WAITING, WAITING, LOW, NORMAL)
        expected = [
            record._replace(kind=kind, wake=record.wake or record.due)
            for (record, _), kind in zip(jobs, kinds, strict=True)
        ]
        for _ in range(2):
            for numbers in ([1], [5], range(1, 6), [3, 7, 8], [2, 4, 5, 7], range(9)):
                found = sorted(self.store.rows(ByNumber(numbers)))
                self.assertEqual(found, [each for each in expected if each.number in numbers])
                for record, same in zip(found, (e for e in expected if e.number in numbers), strict=True):
                    self.assertEqual(list(map(type, record)), list(map(type, same)))
            self.assertEqual(self.store.rows(InOrder(0, 100)), expected)
            self.reopen()

    def test_jobs_by_their_numbers(self) -> None:
        self.store.write(adding(*(addition(number) for number in range(1, 1001))))
        self.assertEqual(sorted(self.found(ByNumber(range(500, 2000)))), list(range(500, 1001)))
        self.assertEqual(sorted(self.found(ByNumber([7, 9, 7, 9, 9, 5000]))), [7, 9])
        self.assertEqual(self.found(ByNumber([])), [])

    def test_jobs_in_order(self) -> None:
        self.store.write(adding(*(addition(number) for number in range(1, 101))))
        self.assertEqual(self.found(InOrder(0, 7)), list(range(1, 8)))
        self.assertEqual(self.found(InOrder(90, 100)), list(range(91, 101)))

    # Keys

    def test_jobs_by_their_keys(self) -> None:
        step = 2**15
        numbers = [1, 2, 3, step, 5 * step, 5 * step + 1, *self.far]
        uniques = (b"a", b"b", b"")
        self.store.write(
            adding(*(job(number, unique=uniques[index % 3]) for index, number in enumerate(numbers)))
        )
        self.store.write(
            adding(
                job(7, unique=b"-", digest=DIGEST), job(8, unique=b"-"), job(9, function=b"g", unique=b"a")
            )
        )
        digest = int.from_bytes(DIGEST, "big")
        for _ in range(2):
            self.assertEqual(self.by_key(b"a"), sorted([*numbers[::3], 9]))
            self.assertEqual(self.by_key(b"b", digest, b"none"), sorted([*numbers[1::3], 7]))
            self.assertEqual(self.by_key(b"none"), [])
            self.assertEqual(self.by_key(DIGEST, b"-"), [])
            self.assertEqual(self.by_key(), [])
            self.assertEqual(self.hashes(), {hash_of(key) for key in (b"a", b"b", digest)})
            self.reopen()
        # It is found as long as it is there, whatever becomes of it.
        self.store.write(updating(JobUpdate(9, 9, 0.0, 0, kind=NAMED)))
        self.store.write(deleting([1, step]))
        self.assertEqual(self.by_key(b"a"), [9, self.far[0]])
        self.store.write(deleting_all([9, self.far[0]]))
        self.assertEqual(self.by_key(b"a"), [])

    def test_of_those_that_have_ended_the_last_ones_are_found(self) -> None:
        """However many have had the same unique, a look-up is about one that can be joined, or what was."""
        far = 2**16
        functions = {5: b"g", 6: b"g"}
        self.store.write(
            adding(
                *(job(each, function=functions.get(each, b"f"), unique=b"u") for each in range(1, 9)),
                *(job(far + each, unique=b"u", history=owned_by("t")) for each in range(1, 4)),
                job(far + 9, unique=b"-", digest=DIGEST),
                job(far + 10, unique=b"-", digest=DIGEST),
                job(far + 11, unique=b"-", digest=DIGEST[::-1]),
            )
        )
        ends = [
            # Places say in which order they have ended.
            (2, 100, DONE),
            (1, 101, DONE),
            (4, 102, FAILED),
            (3, 103, DIED),
            (5, 104, DONE),
            (far + 1, 105, DONE),
            (far + 2, 106, DIED),
            (far + 9, 108, DONE),
            (far + 10, 107, DONE),
        ]
        for number, place, state in ends:
            self.store.write(updating(JobUpdate(number, far * 2 + place, 9.0, 0, None, state, kind=NAMED)))
        digest = int.from_bytes(DIGEST, "big")
        for _ in range(2):
            self.assertEqual(self.by_key(b"u"), [5, 6, 7, 8, far + 1, far + 2, far + 3])
            self.assertEqual(self.by_key(digest, b"none"), [far + 9])
            self.assertEqual(self.by_key(b"u", digest)[-1], far + 9)
            self.reopen()

    def test_all_that_have_a_unique(self) -> None:
        step = 2**15
        numbers = [1, 2, 3, 3 * step, 3 * step + 1, self.far[0]]
        self.store.write(adding(*(job(number, unique=b"u") for number in numbers), job(4, unique=b"v")))
        self.store.write(updating(JobUpdate(2, 4 * step, 0.0, 0, None, DONE, kind=KEPT)))
        for _ in range(2):
            self.assertEqual(
                self.found(WithUnique(b"u", 0, EVERY)), [1, 3, 3 * step, 3 * step + 1, 2, self.far[0]]
            )
            self.assertEqual(self.found(WithUnique(b"u", 3, 3)), [3 * step, 3 * step + 1, 2])
            self.assertEqual(self.found(WithUnique(b"none", 0, 3)), [])
            self.reopen()

    def test_any_number_of_keys(self) -> None:
        numbers = range(1, 200_001, 173)
        self.store.write(adding(*(job(number, unique=b"u%d" % number) for number in numbers)))
        keys = [b"u%d" % number for number in range(1, 100_000, 173)]
        self.assertEqual(self.by_key(*keys), list(range(1, 100_000, 173)))
        for limit in (100, 1000, EVERY):
            self.assertEqual(self.hashes(limit), {hash_of(b"u%d" % number) for number in numbers})

    def test_keys_come_to_places_that_nobody_has_looked_at(self) -> None:
        self.store.write(adding(job(1, unique=b"a")))
        self.assertEqual(self.by_key(b"a", b"b"), [1])
        for step in range(1, 200):
            self.store.write(adding(job(step << 15, unique=b"b")))
            self.store.write(deleting([step - 1 << 15]))
            if step % 20 == 0:
                self.assertEqual(self.by_key(b"a", b"b"), [1, step << 15])

    # What is due

    def waking(self, until: float, after: tuple[float, int] = (0.0, 0), limit: int = EVERY) -> list[int]:
        return self.found(Waking(until, after, limit))

    def test_who_wakes(self) -> None:
        self.store.write(
            adding(
                job(1),
                job(2, due=5.5),
                job(3, wake=3.25),
                job(4, due=9.0, wake=4.0),
                job(5, unique=b"u", due=5.5),
                job(6, due=0.1),
            )
        )
        for _ in range(2):
            self.assertEqual(self.waking(1e300), [6, 3, 4, 2, 5])
            self.assertEqual(self.waking(5.5), [6, 3, 4, 2, 5])
            self.assertEqual(self.waking(5.4), [6, 3, 4])
            self.assertEqual(self.waking(0.0), [])
            self.assertEqual(self.waking(1e300, (4.0, 4)), [2, 5])
            self.assertEqual(self.waking(5.5, (5.5, 2)), [5])
            self.assertEqual(self.waking(5.5, (5.5, 5)), [])
            self.assertEqual(self.waking(1e300, (5.5, 1), 1), [2])
            self.assertEqual(self.waking(1e300, (0.1, 6), 2), [3, 4])
            self.assertEqual(self.waking(5.0, (6.0, 0)), [])
            self.reopen()
        self.store.write(updating(JobUpdate(3, 3, 0.0, 0), JobUpdate(1, 1, 0.0, 0, kind=KEPT, wake=1.0)))
        self.assertEqual(self.waking(4.0), [6, 1, 4])

    def test_who_wakes_is_read_by_and_by(self) -> None:
        times = [float(1 + number // 40) for number in range(400)]
        self.store.write(adding(*(job(number, due=time) for number, time in enumerate(times, 1))))
        for limit in (1, 7, 40, 41, 399, 400):
            read: list[JobRecord] = []
            after = (0.0, 0)
            while part := self.store.rows(Waking(9.0, after, limit)):
                read += part
                after = (part[-1].wake, part[-1].number)
                self.assertTrue(len(part) == limit or len(read) == 360)
            self.assertEqual([record.number for record in read], list(range(1, 361)))

    # All of it

    def test_it_agrees_with_the_store_in_memory(self) -> None:
        for seed in range(3):
            self.store.write(deleting_all(record.number for record in self.kept()))
            self.agree(random.Random(seed))

    def agree(self, chance: random.Random) -> None:
        """Write what comes to mind, and compare all answers."""
        memory = MemoryStore()
        memory.open()
        numbers = 0
        for _ in range(6):
            new = [some_job(chance, numbers + index) for index in range(1, chance.randrange(2, 150))]
            numbers += len(new)
            there = {record.number: record for record, _ in new}
            there.update((record.number, record) for record in memory.replay(0, EVERY))
            batch = some_changes(chance, there, numbers)._replace(new_jobs=new)
            for store in (self.store, memory):
                store.write(batch)
            self.assertEqual(sorted(self.store.lanes()), sorted(memory.lanes()))
            for question in some_questions(chance, memory.lanes(), numbers):
                mine, theirs = self.store.rows(question), memory.rows(question)
                if isinstance(question, (ByKey, ByNumber)):
                    mine.sort()
                    theirs.sort()
                self.assertEqual(mine, theirs, question)
            every = range(1, numbers + 9)
            self.assertEqual(self.store.workloads(every), memory.workloads(every))
            self.assertEqual(self.hashes(50), {each & HASH_MASK for each in memory.hashes(-1, EVERY)})
            if chance.random() < 0.3 and not isinstance(self.store, MemoryStore):
                self.reopen()


def some_job(chance: random.Random, number: int) -> NewJob:
    unique = chance.choice([b"", b"-", b"u%d" % chance.randrange(30)])
    return job(
        number,
        b"w" * chance.choice([chance.randrange(9), MOST_INLINE, MOST_INLINE + 1]),
        function=chance.choice([b"f", b"g", b"\xff"]),
        unique=unique,
        digest=bytes([chance.randrange(5)] * 16) if unique == b"-" and chance.random() < 0.8 else None,
        priority=chance.randrange(3),
        due=chance.choice([0.0, 0.0, 1e9 + chance.randrange(5)]),
        wake=chance.choice([0.0, 0.0, 1e9 + chance.random()]),
        history=chance.choice([None, b"{}", owned_by("t")]),
    )


def some_changes(chance: random.Random, there: dict[int, JobRecord], last: int) -> Batch:
    """@param there: the jobs to which it may happen, and there are others up to C{last} and beyond."""

    def numbers(most: int) -> list[int]:
        return [chance.randrange(1, last + 5) for _ in range(chance.randrange(most))]

    kinds = [READY, READY, WAITING, KEPT, NAMED, ASIDE, DEAD + 3, DEAD + OWN]
    return Batch(
        (),
        [
            JobUpdate(
                number,
                # Each place once: the order of others is not known.
                (last + index) * 10_000 + number,
                chance.choice([0.0, 1e9 + chance.random()]),
                chance.randrange(3),
                chance.choice([None, 5]),
                chance.choice([0, DONE, DONE, DIED, FAILED]),
                history=there[number].history if number in there else None,
                kind=chance.choice(kinds),
                wake=chance.choice([0.0, 2e9]),
            )
            for index, number in enumerate(numbers(60))
        ],
        numbers(30),
        (),
        numbers(30),
        (),
        [
            JobChange(
                number,
                chance.choice([b"f", b"h"]),
                chance.randrange(3),
                bytes([chance.randrange(5)] * 16) if there[number].unique == b"-" else None,
                chance.choice([None, b"new", b"n" * 2 * MOST_INLINE]),
                there[number].unique,
                owner_of(there[number].history or b"") or "",
            )
            for number in set(numbers(20)) & there.keys()
        ],
    )


def some_questions(chance: random.Random, lanes: list[LaneCount], last: int) -> list[Question]:
    found: list[Question] = [
        ByNumber([chance.randrange(1, last + 5) for _ in range(200)]),
        ByKey([b"u%d" % number for number in range(chance.randrange(30))]),
        WithUnique(b"u7", chance.randrange(last), chance.randrange(1, 9)),
        WithUnique(b"u1", 0, EVERY),
        ByKey([b"none", int.from_bytes(bytes([1] * 16), "big"), b"u1"]),
        InOrder(chance.randrange(last), chance.randrange(1, 100)),
    ]
    for count in lanes:
        found += [InLane(count.lane, after, limit) for after in (0, last // 2) for limit in (7, EVERY)]
    for until in (1e9 + 2, 3e9):
        for after in ((0.0, 0), (1e9 + 1, last // 2)):
            found += [Waking(until, after, limit) for limit in (5, EVERY)]
    return found
