"""Tests of L{txgear.journal.writes}, with a link and no broker."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import (
    PAUSED,
    SCHEDULED,
    Batch,
    DoneElsewhere,
    JobChange,
    JobUpdate,
    Naming,
    StoredValue,
)
from txgear.broker.states import DONE
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.journal.batches import MOST_ROWS
from txgear.journal.link import LOST, OPEN, Link
from txgear.journal.newjobs import JOB_BYTES
from txgear.journal.writes import (
    BACKLOG,
    FLUSH_DELAY,
    LATER,
    LEAST_LIMIT,
    NOTHING,
    NOW,
    REFUSED_SECONDS,
    Flush,
    Writes,
)
from txgear.test.journal.test_newjobs import new_job
from txgear.test.support.batches import adding, addition, stored
from txgear.test.support.journal import FaultyStore, ManualThread, RecordingListener

GONE = StoreUnavailable("the connection is gone")
FULL = StoreRefused("the disk is full")


class Unheard:
    """A link's listener that nothing follows from."""

    waited_for = False

    def turn_ended(self) -> None:
        pass

    def answered(self) -> None:
        pass

    def changed(self) -> None:
        pass

    def recovered(self) -> None:
        pass

    def lost(self) -> None:
        pass

    def taken(self, reason: str) -> None:
        pass


class FlushTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.calls = 0
        self.flush = Flush(self.clock, self.turn_ended)

    def turn_ended(self) -> None:
        self.calls += 1

    def test_it_is_due_in_a_moment(self) -> None:
        self.assertFalse(self.flush.due())
        self.clock.advance(FLUSH_DELAY / 2)
        self.assertFalse(self.flush.due())
        self.clock.advance(FLUSH_DELAY / 2)
        self.assertEqual(self.calls, 1)
        self.assertTrue(self.flush.due())
        self.assertTrue(self.flush.due())

    def test_what_is_left_has_gathered_long_enough(self) -> None:
        self.flush.due()
        self.flush.taken(more=True)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(self.flush.due())
        self.flush.taken(more=False)
        self.assertFalse(self.flush.due())

    def test_it_is_cancelled(self) -> None:
        self.flush.due()
        self.flush.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.flush.due())


class WritesTestCase(SynchronousTestCase):
    """
    What is written to a store that has the jobs 1 to 3.

    @ivar turns: how often something was due.
    @ivar overdue: how often somebody had waited too long.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.thread = ManualThread()
        self.store = FaultyStore()
        self.store.open()
        self.store.write(adding(addition(1, b"w"), addition(2, b"w"), addition(3, b"w")))
        self.store.batches.clear()
        self.turns = self.overdue = 0
        self.asked = False
        self.link = Link(self.store, self.thread, self.clock, Unheard())
        self.writes = Writes(self.link, self.clock, 5.0, self.count_turn, self.count_overdue, self.is_asked)
        self.listener = RecordingListener()
        self.writes.begin(self.listener, 0)

    def tearDown(self) -> None:
        self.writes.check()

    def is_asked(self) -> bool:
        return self.asked

    def count_turn(self) -> None:
        self.turns += 1

    def count_overdue(self) -> None:
        self.overdue += 1

    def done(self, number: int, result: bytes) -> None:
        """A job is done, and its result is to be kept."""
        self.writes.update(JobUpdate(number, number, 0.0, 0, len(result), DONE))
        self.writes.put_result(number, result)

    def write(self) -> list[tuple[Any, ...]]:
        """What is to be written now is; what the listener was told."""
        self.assertIs(self.writes.look(), NOW)
        self.writes.start()
        self.writes.check()
        self.thread.run()
        self.writes.check()
        return self.listener.take()

    def logged(self, *numbers: int) -> list[str]:
        with capturedLogs() as events:
            self.write()
        return [formatEvent(event) for event in events]


class WhenTests(WritesTestCase):
    """When there is something to be written."""

    def test_nothing(self) -> None:
        self.assertIs(self.writes.look(), NOTHING)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_somebody_waits(self) -> None:
        self.writes.jobs.add(*new_job(4))
        self.assertIs(self.writes.look(), NOW)
        self.assertTrue(self.writes.deadline.running)

    def test_nobody_waits(self) -> None:
        self.writes.delete(1)
        self.assertIs(self.writes.look(), LATER)
        self.assertFalse(self.writes.deadline.running)
        self.clock.advance(FLUSH_DELAY)
        self.assertEqual(self.turns, 1)
        self.assertIs(self.writes.look(), NOW)

    def test_the_server_ends_or_the_store_was_away(self) -> None:
        self.writes.delete(1)
        self.link.unavailable = "it was away"
        self.assertIs(self.writes.look(), NOW)
        self.link.unavailable, self.link.closing = None, True
        self.assertIs(self.writes.look(), NOW)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_deadline_is_each_batchs_own(self) -> None:
        self.writes.jobs.add(*new_job(4))
        self.writes.look()
        self.clock.advance(4)
        self.writes.start()
        self.writes.jobs.add(*new_job(5))
        self.writes.watch()
        self.thread.run()
        self.assertFalse(self.writes.deadline.running)
        self.writes.look()
        self.clock.advance(4)
        self.assertEqual(self.overdue, 0)
        self.clock.advance(1)
        self.assertEqual(self.overdue, 1)

    def test_what_takes_much_memory_has_one_too(self) -> None:
        self.writes.put_result(1, bytes(LEAST_LIMIT))
        self.writes.watch()
        self.assertFalse(self.writes.deadline.running)
        self.writes.put_result(2, b"x")
        self.writes.watch()
        self.assertTrue(self.writes.deadline.running)

    def test_stop(self) -> None:
        self.writes.jobs.add(*new_job(4))
        self.writes.look()
        self.writes.jobs.waiting.clear()
        self.writes.jobs.bytes = 0
        self.writes.delete(1)
        self.writes.look()
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        self.writes.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BatchTests(WritesTestCase):
    """What a batch is made of, and what becomes of it."""

    def test_all_of_it(self) -> None:
        self.writes.jobs.add(*new_job(4, b"w"))
        self.done(1, b"result")
        self.writes.delete(2)
        self.done(3, b"dropped")
        self.writes.delete_all(3)
        value = StoredValue(PAUSED, b"f", 1.0)
        self.writes.put_value(value)
        self.assertEqual(self.write(), [("stored", 4), ("result_stored", [1]), ("written", [1, 3])])
        (batch,) = self.store.batches
        updates = [JobUpdate(1, 1, 0.0, 0, 6, DONE), JobUpdate(3, 3, 0.0, 0, 7, DONE)]
        self.assertEqual(batch, Batch([addition(4, b"w")], updates, [2], [(1, b"result")], [3], [value]))
        self.assertIs(self.writes.look(), NOTHING)

    def test_its_size(self) -> None:
        self.writes.jobs.add(*new_job(4, b"12345"))
        self.done(1, b"one")
        self.done(1, b"longer")
        self.done(2, b"two")
        self.writes.delete_all(2)
        self.assertEqual(self.writes.pending_bytes, JOB_BYTES + 5 + 6)
        self.writes.look()
        self.writes.start()
        self.done(3, b"three")
        self.assertEqual(self.writes.pending_bytes, JOB_BYTES + 5 + 6 + 5)
        self.thread.run()
        self.assertEqual(self.writes.pending_bytes, 5)

    def test_one_that_fails(self) -> None:
        """Its changes are written again, but for what is newer; its jobs are looked up."""
        self.writes.jobs.add(*new_job(4))
        self.writes.jobs.add(*new_job(5))
        self.done(1, b"one")
        self.done(2, b"two")
        self.store.fail("write", GONE, after=True)
        self.writes.look()
        self.writes.start()
        self.done(1, b"newer")
        self.writes.delete_all(2)
        self.thread.run()
        self.assertIs(self.link.state, LOST)
        self.writes.check()
        self.assertEqual(self.writes.pending_bytes, 2 * JOB_BYTES + 5)
        self.assertTrue(self.writes.deadline.running)
        self.link.open(self.writes.jobs.numbers_in_flight(), self.writes.reopened)
        self.thread.run()
        self.assertEqual(self.listener.take(), [("stored", 4), ("stored", 5)])
        self.assertFalse(self.writes.deadline.running)
        self.clock.advance(FLUSH_DELAY)
        self.writes.look()
        self.clock.advance(FLUSH_DELAY)
        self.assertEqual(self.write(), [("result_stored", [1]), ("written", [1, 2])])
        self.assertEqual(self.store.results([1, 2]), {1: b"newer"})

    def test_those_that_the_store_does_not_have_still_wait(self) -> None:
        self.writes.jobs.add(*new_job(4))
        self.store.fail("write", GONE)
        self.writes.look()
        self.writes.start()
        self.thread.run()
        self.link.open(self.writes.jobs.numbers_in_flight(), self.writes.reopened)
        self.thread.run()
        self.assertTrue(self.writes.deadline.running)
        self.assertEqual(self.write(), [("stored", 4)])

    def test_what_is_refused(self) -> None:
        """A job, with all that was to be kept with it; and a result."""
        self.store.too_large = 3
        self.writes.jobs.add(*new_job(4, b"four"))
        self.writes.jobs.add(*new_job(5))
        self.writes.put_value(StoredValue(SCHEDULED, b"s", 1.0, 4))
        self.done(1, b"long")
        self.done(2, b"two")
        with capturedLogs() as events:
            told = self.write()
        self.assertEqual(
            told,
            [
                ("refused", 4, "A workload of 4 bytes is too large"),
                ("stored", 5),
                ("result_stored", [2]),
                ("result_refused", 1),
                ("written", [1, 2]),
            ],
        )
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "memory: does not keep 1 new job, whose submit is refused:"
                " A workload of 4 bytes is too large",
                "memory: does not keep the results of 1 job: A result of 4 bytes is too large",
            ],
        )
        self.assertEqual((self.writes.pending_bytes, self.store.values()), (0, []))

    def test_what_other_servers_have(self) -> None:
        """A job that is to be there all the same is, with all that was said of it."""
        self.listener.wanted = {5, 6}
        for number in (4, 5, 6):
            self.writes.jobs.add(*new_job(number))
            self.writes.change(JobChange(number, b"g", 0, None))
            self.writes.put_value(StoredValue(SCHEDULED, b"%d" % number, 1.0, number))
        self.writes.name(Naming(1))
        self.store.fail("write", DoneElsewhere({number: stored(70) for number in (4, 5)}, {6: b"H:80"}))
        told = self.write()
        self.assertEqual(told[:3], [("joined", 4, 70), ("joined", 5, 70), ("passed", 6, b"H:80")])
        self.assertEqual((sorted(self.store.kept), self.store.values()), ([1, 2, 3], []))
        self.assertEqual(self.store.batches[-1].names, [Naming(1)])
        self.assertEqual(self.write()[:2], [("stored", 5), ("stored", 6)])
        self.assertEqual({number: self.store.kept[number].function for number in (5, 6)}, {5: b"g", 6: b"g"})
        self.assertEqual([value.name for value in self.store.values()], [b"5"])
        self.assertIs(self.writes.look(), NOTHING)

    def test_refused_jobs_are_told_of_once_a_minute(self) -> None:
        """With how many there were meanwhile."""
        self.store.too_large = 3
        self.clock.advance(1000.0)
        lines = []
        for number, seconds in ((4, 0.0), (5, REFUSED_SECONDS - 0.1), (6, 0.1)):
            self.clock.advance(seconds)
            self.writes.jobs.add(*new_job(number, b"four"))
            self.writes.jobs.add(*new_job(number + 10, b"four"))
            lines.append(self.logged())
        why = "new jobs, whose submits are refused: A workload of 4 bytes is too large"
        self.assertEqual(lines, [[f"memory: does not keep 2 {why}"], [], [f"memory: does not keep 4 {why}"]])

    def test_what_is_pending(self) -> None:
        """Of a job, from when it is said until it is written, whatever it is."""
        self.writes.jobs.add(*new_job(4))
        self.writes.update(JobUpdate(1, 1, 0.0, 0))
        self.writes.change(JobChange(2, b"g", 0, None))
        self.done(3, b"r")
        self.writes.delete(5)
        self.writes.delete_all(6)
        every = list(range(1, 7))
        self.assertEqual([number for number in range(9) if self.writes.pending(number)], every)
        self.writes.start()
        self.assertEqual([number for number in range(9) if self.writes.pending(number)], every)
        self.thread.run()
        self.assertEqual([number for number in range(9) if self.writes.pending(number)], [])
        self.assertEqual(self.listener.take()[-1], ("written", [1, 2, 3]))

    def test_what_is_said_meanwhile_is_pending(self) -> None:
        self.writes.update(JobUpdate(1, 1, 0.0, 0))
        self.writes.start()
        self.writes.update(JobUpdate(1, 2, 0.0, 0))
        self.thread.run()
        self.assertEqual(self.listener.take(), [("written", [1])])
        self.assertTrue(self.writes.pending(1))

    def test_deletions_are_told_to_nobody(self) -> None:
        self.writes.delete(1)
        self.writes.start()
        self.thread.run()
        self.assertEqual(self.listener.take(), [])

    def test_what_operators_have_changed(self) -> None:
        self.writes.change(JobChange(1, b"g", 0, None))
        self.writes.change(JobChange(2, b"g", 0, None, b"new"))
        self.assertEqual(self.writes.pending_bytes, 3)
        self.assertIs(self.writes.look(), LATER)
        self.clock.advance(FLUSH_DELAY)
        self.assertEqual(self.write(), [("written", [1, 2])])
        self.assertEqual(self.store.workloads([1, 2]), {1: b"w", 2: b"new"})
        self.assertEqual([job.function for job in self.store.replay(0, 3)], [b"g", b"g", b"f"])

    def test_a_new_workload_that_is_refused(self) -> None:
        self.store.too_large = 3
        self.writes.change(JobChange(2, b"g", 0, None, b"four"))
        self.link.closing = True
        with capturedLogs() as events:
            self.assertEqual(self.write(), [("workload_refused", 2, 1), ("written", [2])])
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "memory: does not keep the new workload of job 2, which keeps its old one:"
                " A workload of 4 bytes is too large"
            ],
        )

    def test_a_newer_one_than_that_which_is_refused(self) -> None:
        """Nobody is told of the one that nobody has any more."""
        self.store.too_large = 3
        self.writes.change(JobChange(1, b"f", 0, None, b"four"))
        self.writes.change(JobChange(2, b"f", 0, None, b"four"))
        self.link.closing = True
        self.writes.look()
        self.writes.start()
        self.writes.change(JobChange(1, b"g", 0, None))
        self.writes.change(JobChange(2, b"f", 0, None, b"new"))
        with capturedLogs() as events:
            self.thread.run()
        self.assertEqual(
            (self.listener.take(), len(events)), ([("workload_refused", 1, 1), ("written", [1, 2])], 1)
        )
        self.assertEqual(self.write(), [("written", [1, 2])])
        self.assertEqual(self.store.workloads([1, 2]), {1: b"w", 2: b"new"})

    def test_new_workloads_are_newer_than_what_is_read(self) -> None:
        """Also those that come back from a store that was lost."""
        found = {1: b"old", 2: b"old", 3: b"old"}
        self.writes.renew(found)
        self.writes.change(JobChange(1, b"g", 0, None, b"new"))
        self.writes.change(JobChange(2, b"g", 0, None))
        self.writes.change(JobChange(4, b"g", 0, None, b"new"))
        self.writes.renew(found)
        self.assertEqual(found, {1: b"new", 2: b"old", 3: b"old"})
        self.store.fail("write", GONE)
        self.link.closing = True
        self.writes.look()
        self.writes.start()
        self.thread.run()
        found = {1: b"old"}
        self.writes.renew(found)
        self.assertEqual(found, {1: b"new"})

    def test_what_was_said_of_a_job_that_is_refused_is_not_written_later(self) -> None:
        self.writes.jobs.add(*new_job(4))
        self.writes.look()
        self.writes.start()
        self.done(4, b"result")
        self.writes.jobs.refuse_all("late", 0.0)
        self.assertEqual(self.writes.pending_bytes, 0)
        self.store.fail("write", GONE)
        self.thread.run()
        self.writes.check()
        self.link.open(self.writes.jobs.numbers_in_flight(), self.writes.reopened)
        self.thread.run()
        self.assertIs(self.writes.look(), NOTHING)

    def test_what_is_kept_too_late_is_deleted_first(self) -> None:
        self.writes.jobs.add(*new_job(4))
        self.writes.look()
        self.writes.start()
        self.writes.jobs.refuse_all("late", 0.0)
        self.thread.run()
        self.listener.take()
        self.writes.jobs.add(*new_job(4, b"again"))
        self.store.fail("write", GONE)
        self.store.batches.clear()
        self.write()
        self.link.open([], self.writes.reopened)
        self.thread.run()
        self.assertEqual(self.write(), [])
        self.assertEqual(self.write(), [("stored", 4)])
        deletion = Batch((), (), (), deleted_all=[4])
        self.assertEqual(self.store.batches[:2], [deletion, deletion])
        self.assertEqual(list(self.store.batches[2].new_jobs), [addition(4, b"again")])

    def test_deletions_have_a_bound_too(self) -> None:
        self.writes.jobs.retracted = dict.fromkeys(range(10, MOST_ROWS + 11))
        self.write()
        self.assertEqual(list(self.writes.jobs.retracted), [MOST_ROWS + 10])
        self.write()
        self.assertIs(self.writes.look(), NOTHING)

    def test_what_is_said_of_a_job_waits_for_the_batch_that_adds_it(self) -> None:
        for number in range(10, MOST_ROWS + 11):
            self.writes.jobs.add(*new_job(number))
        self.writes.delete(MOST_ROWS + 10)
        self.writes.delete(10)
        self.write()
        self.assertEqual(self.store.batches[0].deleted, [10])
        self.write()
        self.assertEqual(self.store.batches[1].deleted, [MOST_ROWS + 10])

    def test_a_part_that_is_left_is_written_at_once(self) -> None:
        for number in range(10, MOST_ROWS + 11):
            self.writes.delete(number)
        self.writes.look()
        self.clock.advance(FLUSH_DELAY)
        self.write()
        self.write()
        self.assertEqual([len(batch.deleted) for batch in self.store.batches], [MOST_ROWS, 1])


class BoundsTests(WritesTestCase):
    """What may be on its way."""

    def test_crowded(self) -> None:
        self.done(1, bytes(LEAST_LIMIT))
        self.assertFalse(self.writes.crowded)
        self.done(2, b"x")
        self.assertTrue(self.writes.crowded)
        self.link.unavailable = "it is away"
        self.assertFalse(self.writes.crowded)

    def test_as_much_as_the_queue_has_memory_for(self) -> None:
        self.writes.begin(self.listener, 2 * LEAST_LIMIT)
        self.done(1, bytes(2 * LEAST_LIMIT))
        self.assertFalse(self.writes.crowded)
        self.done(2, b"x")
        self.assertTrue(self.writes.crowded)

    def test_backlogged(self) -> None:
        for number in range(BACKLOG):
            self.writes.delete(number)
        self.assertFalse(self.writes.backlogged)
        self.writes.delete(BACKLOG)
        self.assertTrue(self.writes.backlogged)
        self.link.unavailable = "it is away"
        self.assertFalse(self.writes.backlogged)

    def test_results_have_room_while_the_store_answers(self) -> None:
        self.done(1, bytes(LEAST_LIMIT))
        self.assertTrue(self.writes.has_room(1))
        self.link.unavailable = "it is away"
        with capturedLogs() as events:
            self.assertFalse(self.writes.has_room(1))
            self.assertFalse(self.writes.has_room(1))
            self.assertTrue(self.writes.has_room(0))
            self.writes.recovered()
            self.writes.recovered()
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                f"until the store memory: answers, no more results are kept: {LEAST_LIMIT} bytes wait for it",
                "the results of 2 jobs are not kept: the store memory: did not answer",
            ],
        )
        self.writes.delete_all(1)
        self.assertTrue(self.writes.has_room(1))

    def test_what_the_end_costs(self) -> None:
        """Ends that were not written, whether they are at the store or not."""
        self.done(1, b"one")
        self.writes.delete(2)
        self.link.closing = True
        self.writes.look()
        self.writes.start()
        self.writes.delete(3)
        for _ in range(2):
            with capturedLogs() as events:
                self.writes.give_up()
            self.assertEqual(
                [formatEvent(event) for event in events],
                ["the store memory: has not taken the last changes; 3 ended jobs will run again"],
            )
        self.assertEqual(self.writes.pending_bytes, 3)

    def test_it_may_cost_nothing(self) -> None:
        self.writes.put_value(StoredValue(PAUSED, b"f", 1.0))
        with capturedLogs() as events:
            self.writes.give_up()
        self.assertEqual((events, self.link.state), ([], OPEN))

    def test_the_check(self) -> None:
        self.done(1, b"one")
        self.writes.check()
        self.writes._buffer.bytes += 1
        self.assertRaises(AssertionError, self.writes.check)
        self.writes._buffer.bytes -= 1
