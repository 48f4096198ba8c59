"""Tests of L{txgear.stores.sql} on SQLite files: it does as the store in memory does, whatever is written."""

from __future__ import annotations

from txgear.broker.records import (
    DEAD,
    KEPT,
    OWN,
    PAUSED,
    READY,
    SCHEDULED,
    WAITING,
    Batch,
    InOrder,
    JobUpdate,
    NewJob,
    StoredValue,
)
from txgear.broker.states import TO_ENDED
from txgear.errors import StoreRefused
from txgear.stores.memory import MemoryStore
from txgear.test.stores.test_sqlite import SQLiteCase
from txgear.test.support.batches import addition, deleting_all, setting_values
from txgear.test.support.extras import PROPERTY, given, st

NUMBERS = st.integers(1, 12)
TIMES = st.floats(0, 1e10)
LIVES = st.none() | st.binary(max_size=5)


@st.composite
def new_jobs(draw: st.DrawFn) -> NewJob:
    job, workload = addition(draw(NUMBERS), draw(st.binary(max_size=5)))
    return job._replace(created=draw(TIMES), history=draw(LIVES)), workload


MOVES = st.builds(
    JobUpdate,
    NUMBERS,
    NUMBERS,
    TIMES,
    st.integers(0, 9),
    st.none() | st.integers(0, 2**40),
    st.sampled_from([0, *TO_ENDED]),
    TIMES,
    LIVES,
    st.sampled_from([READY, WAITING, KEPT, DEAD + OWN]),
    TIMES,
)
VALUES = st.builds(
    StoredValue, st.sampled_from([PAUSED, SCHEDULED]), st.sampled_from([b"", b"f", b"g"]), TIMES
)


@st.composite
def batches(draw: st.DrawFn, kept: set[int]) -> Batch:
    """
    A batch that a journal may write. Its results are of jobs that are kept or new, and it deletes none yet.

    @param kept: the jobs that there are, of which some may have results.
    """
    added = draw(st.lists(new_jobs(), max_size=6))
    there = sorted(kept | {job.number for job, _ in added})
    results = draw(st.dictionaries(st.sampled_from(there), st.binary(max_size=5))) if there else {}
    values = draw(st.lists(VALUES, max_size=4, unique_by=lambda value: (value.kind, value.name)))
    return Batch(
        added,
        draw(st.lists(MOVES, max_size=6)),
        [],
        list(results.items()),
        draw(st.lists(NUMBERS, max_size=6)),
        values,
    )


class ModelTests(SQLiteCase):
    @PROPERTY
    @given(st.data())
    def test_it_agrees_with_the_store_in_memory(self, data: st.DataObject) -> None:
        self.store.open()
        # What is tried here is not the disk.
        self.pragma("synchronous = OFF")
        memory = MemoryStore()
        memory.open()
        self.store.write(deleting_all(range(1, 13)))
        self.store.write(setting_values(*(value._replace(value=0.0) for value in self.store.values())))
        having_results: set[int] = set()
        for _ in range(data.draw(st.integers(1, 5))):
            batch = data.draw(batches(memory.known(range(13))))
            having_results |= {number for number, _ in batch.results}
            # Those that have results are deleted with them.
            deleted = data.draw(st.lists(NUMBERS, max_size=6))
            batch = batch._replace(deleted=[number for number in deleted if number not in having_results])
            outcomes = []
            for store in (self.store, memory):
                try:
                    store.write(batch)
                except StoreRefused:
                    outcomes.append(False)
                else:
                    outcomes.append(True)
            self.assertEqual(*outcomes)
            # More than are read as a column each.
            numbers = range(1, 40)
            everything = InOrder(0, 99)
            self.assertEqual(self.store.rows(everything), memory.rows(everything))
            self.assertEqual(
                [job[:15] for job in self.store.replay(0, 99)], [job[:15] for job in memory.replay(0, 99)]
            )
            self.assertEqual(self.store.workloads(numbers), memory.workloads(numbers))
            self.assertEqual(self.store.results(numbers), memory.results(numbers))
            self.assertEqual(self.store.known(numbers), memory.known(numbers))
            self.assertEqual(sorted(self.store.values()), sorted(memory.values()))
            self.assertEqual(sorted(self.store.lanes()), sorted(memory.lanes()))
