"""Tests of L{txgear.journal.newjobs}, by itself."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Job
from txgear.broker.records import JobRecord
from txgear.errors import StoreRefused
from txgear.journal.batches import MOST_BYTES, MOST_ROWS, Refusals
from txgear.journal.newjobs import JOB_BYTES, NewJobs, Pending
from txgear.protocol.packets import Data
from txgear.test.support.batches import addition
from txgear.test.support.journal import RecordingListener

LARGE = StoreRefused("too large")


class NumberedJob(NamedTuple):
    """What of a job is looked at here."""

    number: int


def new_job(number: int, workload: bytes = b"") -> tuple[Job, JobRecord, Data]:
    """What the broker gives."""
    return cast(Job, NumberedJob(number)), *addition(number, workload)


class NewJobsTests(SynchronousTestCase):
    """
    @ivar dropped: the numbers of those that were refused.
    """

    def setUp(self) -> None:
        self.dropped: list[int] = []
        self.jobs = NewJobs(self.dropped.append)
        self.listener = self.jobs.listener = RecordingListener()

    def tearDown(self) -> None:
        self.jobs.check()

    def add(self, *numbers: int) -> None:
        for number in numbers:
            self.jobs.add(*new_job(number))

    def take(self) -> list[int]:
        """The numbers of the next batch."""
        return [job.number for job, _ in self.jobs.take()]

    def written(self, **refusals: StoreRefused) -> list[tuple[Any, ...]]:
        """The batch is; what the listener was told."""
        self.jobs.written(Refusals({int(index[1:]): why for index, why in refusals.items()}, {}, {}), 0.0)
        self.jobs.check()
        return self.listener.take()

    def test_a_job_that_is_stored(self) -> None:
        self.jobs.add(*new_job(1, b"12345"))
        self.assertEqual(self.jobs.bytes, JOB_BYTES + 5)
        self.assertEqual(self.take(), [1])
        self.assertEqual((self.jobs.waiting, self.jobs.numbers_in_flight()), ({}, [1]))
        self.assertEqual(self.jobs.bytes, JOB_BYTES + 5)
        self.assertEqual(self.written(), [("stored", 1)])
        self.assertEqual((self.jobs.bytes, self.jobs.numbers_in_flight()), (0, []))

    def test_what_comes_while_a_batch_is_at_the_store_waits(self) -> None:
        self.add(1, 2)
        self.take()
        self.add(3)
        self.assertEqual(self.written(), [("stored", 1), ("stored", 2)])
        self.assertEqual(self.take(), [3])

    def test_one_that_is_refused(self) -> None:
        self.add(1, 2, 3)
        self.take()
        self.assertEqual(self.written(_1=LARGE), [("stored", 1), ("refused", 2, LARGE.told), ("stored", 3)])
        self.assertEqual((self.dropped, self.jobs.bytes), ([2], 0))

    def elsewhere(self, joined: dict[int, int], passed: dict[int, bytes]) -> set[int]:
        """Other servers have these; which are to be written once more."""
        records = {number: addition(other)[0] for number, other in joined.items()}
        again = self.jobs.written(Refusals({}, {}, {}, records, passed), 0.0)
        self.jobs.check()
        return again

    def test_those_that_other_servers_have(self) -> None:
        self.add(1, 2, 3)
        self.take()
        self.assertEqual(self.elsewhere({1: 70}, {3: b"H:80"}), set())
        told = [("joined", 1, 70), ("stored", 2), ("passed", 3, b"H:80")]
        self.assertEqual((self.listener.take(), self.dropped, self.jobs.bytes), (told, [1, 3], 0))

    def test_those_of_them_that_are_wanted_all_the_same(self) -> None:
        self.listener.wanted = {1, 2}
        self.add(1, 2)
        self.take()
        self.add(3)
        self.assertEqual(self.elsewhere({1: 70}, {2: b"H:80"}), {1, 2})
        self.assertEqual((self.dropped, self.take()), ([], [1, 2, 3]))
        self.listener.take()
        self.assertEqual(self.written(), [("stored", 1), ("stored", 2), ("stored", 3)])

    def test_those_that_nobody_waits_for_any_more(self) -> None:
        self.add(1)
        self.take()
        self.jobs.refuse_all("late", 0.0)
        self.listener.take()
        self.assertEqual(self.elsewhere({1: 70}, {}), set())
        self.assertEqual((self.listener.take(), self.jobs.retracted, self.take()), ([], {}, []))

    def test_a_batch_ends_somewhere(self) -> None:
        self.add(*range(1, MOST_ROWS + 2))
        self.assertEqual(len(self.take()), MOST_ROWS)
        self.written()
        self.assertEqual(self.take(), [MOST_ROWS + 1])
        self.written()
        for number in range(1, 4):
            self.jobs.add(*new_job(number, bytes(MOST_BYTES // 2)))
        self.assertEqual(self.take(), [1, 2])

    def test_nobody_waits_any_longer(self) -> None:
        """What is at the store stays there, and what is kept of that is to be deleted."""
        self.add(1, 2)
        self.take()
        self.add(3)
        self.jobs.refuse_all("late", 0.0)
        told = [("refused", number, "late") for number in (1, 2, 3)]
        self.assertEqual(self.listener.take(), told)
        self.assertEqual((self.dropped, self.jobs.bytes, self.jobs.waiting), ([1, 2, 3], 0, {}))
        self.jobs.refuse_all("later", 0.0)
        self.assertEqual(self.written(_1=LARGE), [])
        self.assertEqual(list(self.jobs.retracted), [1])

    def test_a_store_that_was_lost(self) -> None:
        """Those that it has are stored; the others are written again, before those that came since."""
        self.add(1, 2, 3)
        self.take()
        self.add(4)
        self.jobs.found({2}, 0.0)
        self.assertEqual(self.listener.take(), [("stored", 2)])
        self.jobs.check()
        self.assertEqual(self.take(), [1, 3, 4])

    def test_which_are_on_their_way(self) -> None:
        """Those that are refused while they are at the store count until that has told, or deleted them."""
        self.assertNotIn(1, self.jobs)
        self.add(1, 2)
        self.assertIn(1, self.jobs)
        self.take()
        self.add(3)
        self.assertEqual(self.jobs.others({1, 2, 3, 4}), {4})
        self.jobs.refuse_all("late", 0.0)
        self.assertEqual([number in self.jobs for number in (1, 2, 3)], [True, True, False])
        self.jobs.written(Refusals({0: LARGE}, {}, {}), 0.0)
        self.assertEqual([number in self.jobs for number in (1, 2, 3)], [False, True, False])
        self.assertEqual(self.jobs.others({1, 2, 3}), {1, 3})
        self.listener.take()

    def test_a_store_that_was_lost_when_nobody_waited_any_longer(self) -> None:
        self.add(1, 2)
        self.take()
        self.jobs.refuse_all("late", 0.0)
        self.listener.take()
        self.jobs.found({2}, 0.0)
        self.assertEqual((self.listener.take(), list(self.jobs.retracted), self.take()), ([], [2], []))

    def test_a_defect_of_the_broker(self) -> None:
        """It costs no other job its outcome."""
        self.listener.defects = {2, 4, 6}
        self.add(1, 2, 3, 4, 5)
        self.take()
        self.assertEqual(self.written(_3=LARGE), [("stored", 1), ("stored", 3), ("stored", 5)])
        self.assertEqual(self.jobs.bytes, 0)
        self.add(6)
        self.take()
        self.assertEqual((self.elsewhere({6: 70}, {}), self.jobs.bytes), (set(), 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_the_check(self) -> None:
        self.add(1)
        self.jobs.bytes += 1
        self.assertRaises(AssertionError, self.jobs.check)
        self.jobs.bytes -= 1
        job, record, workload = new_job(2)
        pending = Pending(job, (record, workload))
        pending.settled = True
        self.jobs.waiting[2] = pending
        self.assertRaises(AssertionError, self.jobs.check)
        del self.jobs.waiting[2]
