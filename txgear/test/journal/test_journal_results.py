"""Tests of L{txgear.journal.journal}: results, marks, and what is read for those who ask."""

from __future__ import annotations

from typing import Any

from txgear.broker.ended.archive import history_of
from txgear.broker.model import Job
from txgear.broker.ports import Reading
from txgear.broker.records import PAUSED, SCHEDULED, StoredValue
from txgear.broker.states import DONE
from txgear.errors import QueueError, StoreRefused, StoreUnavailable
from txgear.journal.link import FIRST_RETRY
from txgear.journal.reads import MOST_READINGS, MOST_WAITING
from txgear.journal.writes import BACKLOG, FLUSH_DELAY
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import CAN_DO, GRAB_JOB, SUBMIT_JOB, WORK_COMPLETE
from txgear.protocol.packets import request
from txgear.test.support.broker import results_of
from txgear.test.support.clock import START
from txgear.test.support.journal import AWAY, Instead
from txgear.test.support.server import HANDLES, DurableServerTestCase, created, refused, submit

GONE = StoreUnavailable("the connection is gone")
FULL = StoreRefused("The disk is full")
LATE = b"The store has not answered for 5 seconds"
KEPT = CLASSIC.with_settings({"results": "1h", "retries": 0})


class KeptTestCase(DurableServerTestCase):
    """
    A server that keeps the results of C{f}. The other connection is a worker.
    """

    def begin(self, **choices: Any) -> None:
        super().begin(policies=Policies([("f", KEPT)]), **choices)
        self.broker, self.journal = self.fixture.server.broker, self.fixture.journal
        self.other.tell(request(CAN_DO, b"f"))

    def submit_all(self, *workloads: bytes) -> None:
        """The client's jobs are stored, and at the worker."""
        self.client.tell(*[submit(workload) for workload in workloads])
        self.thread.run_all()
        self.client.heard()
        self.other.ask(*[request(GRAB_JOB)] * len(workloads))
        self.store.batches.clear()
        self.store.take()

    def complete(self, number: int, result: bytes) -> None:
        self.other.tell(request(WORK_COMPLETE, HANDLES[number], result))

    def turn(self) -> None:
        """Something has been said to the journal in this turn."""
        self.fixture.server.end_turn()

    def mark(self, *marks: StoredValue) -> None:
        """In one turn."""
        for mark in marks:
            self.broker.persistence.put_value(mark)
        self.turn()

    def schedule(self, name: bytes, time: float) -> Job:
        """A schedule submits a job."""
        job = self.broker.submit(
            None, b"g", b"", b"w", self.clock.seconds(), background=True, schedule=(name, time)
        )
        self.turn()
        return job

    def ask(self, number: int) -> list[bytes | None]:
        """Somebody wants to know what this job has brought; where the answer comes to."""
        answers: list[bytes | None] = []
        self.broker.archive.read(self.broker.archive.jobs[number], answers.append)
        self.turn()
        return answers

    def marks(self) -> list[StoredValue]:
        """What would be there after a crash."""
        return sorted(self.store.kept_values.values())

    def in_memory(self) -> dict[int, bytes]:
        """The results that wait for the store."""
        return results_of(self.broker.archive)

    def assert_well(self) -> None:
        """Nothing more is written, and jobs are taken."""
        self.run_on(1)
        batches = len(self.store.batches)
        self.client.heard()
        self.client.tell(submit(b"", b"well"))
        self.run_on(1)
        self.assertEqual(len(self.store.batches), batches + 1)
        # Its number is one more than the last place that was given out, to whatever has ended.
        self.assertEqual(self.client.heard(), created(max(self.store.kept)))
        self.recall()
        self.assertEqual(self.store.kept_results.keys() - self.broker.archive.jobs.keys(), set())
        self.assertEqual(self.broker.archive.rows, 0)


class ResultTests(KeptTestCase):
    """What jobs have brought, on its way."""

    def test_they_are_kept_in_place_of_workloads(self) -> None:
        self.submit_all(b"one", b"two", b"three")
        self.complete(1, b"first")
        self.complete(2, b"")
        self.assertEqual(self.in_memory(), {1: b"first"})
        self.clock.advance(FLUSH_DELAY)
        self.thread.run()
        self.assertEqual(self.in_memory(), {})
        (batch,) = self.store.batches
        self.assertEqual(([move.number for move in batch.updates], batch.deleted), ([1, 2], []))
        self.assertEqual(batch.results, [(1, b"first"), (2, b"")])
        kept = self.store.kept
        self.assertEqual(
            [(kept[1].state, kept[1].size), (kept[2].state, kept[2].size)], [(DONE, 5), (DONE, 0)]
        )
        self.assertEqual(self.store.kept_workloads, {1: b"", 2: b"", 3: b"three"})

    def test_they_are_in_memory_until_the_store_has_them(self) -> None:
        self.submit_all(b"w")
        self.complete(1, b"first")
        self.assertEqual(self.ask(1), [b"first"])
        self.store.fail("write", GONE)
        self.clock.advance(FLUSH_DELAY)
        self.thread.run()
        self.assertEqual(self.ask(1), [b"first"])
        self.run_on(1)
        self.assertEqual(self.in_memory(), {})
        self.recall()
        answers = self.ask(1)
        self.assertEqual(answers, [])
        self.thread.run()
        self.assertEqual(answers, [b"first"])

    def test_one_that_is_refused(self) -> None:
        """The others are kept, and that the job is done is."""
        self.submit_all(b"w", b"w", b"w", b"w")
        self.store.too_large = 10
        for number, size in enumerate((10, 11, 3, 12), 1):
            self.complete(number, b"x" * size)
        self.clock.advance(FLUSH_DELAY)
        lines = self.logged(self.thread.run)
        self.assertEqual(
            lines, ["memory: does not keep the results of 2 jobs: A result of 11 bytes is too large"]
        )
        self.assertEqual(self.in_memory(), {})
        self.assertEqual(self.store.kept_results, {1: b"x" * 10, 2: b"", 3: b"xxx", 4: b""})
        self.recall()
        for number, complete in ((1, True), (2, False), (3, True), (4, False)):
            job = self.broker.archive.jobs[number]
            self.assertEqual((job.state, history_of(job).complete), (DONE, complete))
        self.assertEqual(self.ask(2), [b""])
        # Which the store is to know, too.
        self.clock.advance(FLUSH_DELAY)
        self.thread.run_all()
        self.assertEqual([(self.store.kept[number].size) for number in range(1, 5)], [10, 0, 3, 0])
        self.assertIn(b"false", self.store.kept[2].history or b"")
        self.assertNotIn(b"false", self.store.kept[1].history or b"")
        self.store.too_large = 10**9
        self.assert_well()

    def test_it_may_be_forgotten_before_it_is_written(self) -> None:
        self.submit_all(b"w", b"w")
        self.complete(1, b"first")
        self.complete(2, b"second")
        self.broker.operations.forget(HANDLES[1])
        self.clock.advance(FLUSH_DELAY)
        self.thread.run()
        (batch,) = self.store.batches
        self.assertEqual((batch.results, batch.deleted_all), ([(2, b"second")], [1]))
        self.assertEqual(self.numbers(), [2])

    def test_it_may_be_forgotten_while_it_is_written(self) -> None:
        for error, after, calls in (
            (None, False, ["write", "write"]),
            (GONE, False, ["write", "open", "known", "write"]),
            (GONE, True, ["write", "open", "known", "write"]),
            # Refused as a whole; the move, the result; and then what has been said since.
            (FULL, False, ["write", "write", "write", "write"]),
        ):
            self.begin_anew()
            self.submit_all(b"w")
            self.complete(1, b"first")
            self.clock.advance(FLUSH_DELAY)
            self.broker.operations.forget(HANDLES[1])
            self.turn()
            if error is not None:
                self.store.fail("write", error, after=after)
            self.run_on(1)
            self.assertEqual(self.store.take(), calls)
            self.assertEqual((self.numbers(), self.store.kept_results), ([], {}))
            self.assert_well()

    def test_all_is_written_when_the_store_is_back(self) -> None:
        """With what has come since, which is newer."""
        for after in (False, True):
            self.begin_anew()
            self.submit_all(b"w", b"w", b"w")
            self.complete(1, b"first")
            self.complete(2, b"second")
            self.mark(StoredValue(PAUSED, b"a", 1.0), StoredValue(PAUSED, b"b", 1.0))
            self.clock.advance(FLUSH_DELAY)
            self.store.fail("write", GONE, after=after)
            self.store.fail("open", GONE, times=2)
            self.thread.run_all()
            self.complete(3, b"third")
            self.broker.operations.forget(HANDLES[2])
            self.mark(StoredValue(PAUSED, b"b", 0.0), StoredValue(PAUSED, b"c", 2.0))
            self.assertEqual(self.in_memory(), {1: b"first", 3: b"third"})
            self.assertEqual(len(self.store.batches), 1)
            self.run_on(1)
            self.assertEqual(len(self.store.batches), 2)
            self.assertEqual(self.numbers(), [1, 3])
            self.assertEqual(self.store.kept_results, {1: b"first", 3: b"third"})
            self.assertEqual(self.marks(), [StoredValue(PAUSED, b"a", 1.0), StoredValue(PAUSED, b"c", 2.0)])
            self.assertEqual(self.in_memory(), {})
            self.assert_well()

    def test_a_full_disk_keeps_them_in_memory(self) -> None:
        """Where not even their absence can be noted, the store is lost, and the results are not."""
        self.submit_all(b"w")
        self.complete(1, b"first")
        self.store.fail("write", FULL, times=100)
        self.run_on(1)
        self.assertEqual(self.in_memory(), {1: b"first"})
        self.assertEqual(self.client.ask(submit()), refused(AWAY))
        self.store.mend()
        self.run_on(5)
        self.assertEqual(self.store.kept_results, {1: b"first"})
        self.assertEqual(self.in_memory(), {})
        self.assert_well()

    def test_the_job_may_be_on_its_way_itself(self) -> None:
        """It runs for one who waits, and was to be kept as well."""
        self.begin_running_and_storing()
        self.complete(1, b"first")
        self.run_on(1)
        self.assertEqual(self.client.heard(), created(1))
        self.assertEqual((self.store.kept[1].state, self.store.kept_results), (DONE, {1: b"first"}))
        self.assertEqual(self.in_memory(), {})

    def test_the_job_may_be_refused_in_the_end(self) -> None:
        """Then nothing of it is kept."""
        for at_once in (False, True):
            self.begin_anew()
            self.store.too_large = 2
            self.begin_running_and_storing(b"www", at_once=at_once)
            self.complete(1, b"r")
            self.run_on(1)
            self.assertTrue(self.client.heard().endswith(refused(b"A workload of 3 bytes is too large")))
            self.assertEqual((self.store.kept_results, self.store.kept.get(1)), ({}, None))
            self.assertEqual((self.in_memory(), self.broker.archive.jobs), ({}, {}))
            self.assert_well()

    def test_the_job_may_be_refused_as_it_takes_too_long(self) -> None:
        """What was kept of it after all is taken out."""
        for error in (None, GONE):
            for after in (False, True):
                for at_once in (False, True):
                    self.begin_anew()
                    self.begin_running_and_storing(at_once=at_once)
                    self.complete(1, b"first")
                    if at_once:
                        self.thread.run()
                        self.assertEqual(self.client.heard(), created(2))
                    self.clock.advance(5)
                    self.assertEqual(self.client.heard(), refused(LATE))
                    if error is not None:
                        self.store.fail("write", error, after=after)
                    self.run_on(1)
                    self.assertEqual((self.store.kept_results, self.store.kept.get(1)), ({}, None))
                    self.assertEqual((self.in_memory(), self.broker.archive.jobs), ({}, {}))
                    self.assert_well()

    def begin_running_and_storing(self, workload: bytes = b"w", *, at_once: bool = False) -> None:
        """
        The worker waits for a job of its own, which the client wants to be done anyway.

        @param at_once: whether the store is busy, so that all that is said is one batch.
        """
        self.other.tell(request(SUBMIT_JOB, b"f", b"u", workload), request(GRAB_JOB))
        if at_once:
            self.client.tell(submit(b"", b"g"))
        self.client.tell(submit(workload, unique=b"u"))
        self.assertEqual(len(self.thread.waiting), 1)


class MarkTests(KeptTestCase):
    """What is remembered beside jobs."""

    def test_they_are_written_by_and_by(self) -> None:
        self.mark(StoredValue(PAUSED, b"f", 1.0), StoredValue(PAUSED, b"g", 1.0))
        self.mark(StoredValue(PAUSED, b"f", 2.0), StoredValue(SCHEDULED, b"f", 3.0))
        self.assertEqual(len(self.thread.waiting), 0)
        self.clock.advance(FLUSH_DELAY)
        self.thread.run()
        self.assertEqual(
            self.marks(),
            [
                StoredValue(PAUSED, b"f", 2.0),
                StoredValue(PAUSED, b"g", 1.0),
                StoredValue(SCHEDULED, b"f", 3.0),
            ],
        )
        (batch,) = self.store.batches
        self.assertEqual(len(batch.values), 3)
        self.mark(StoredValue(PAUSED, b"f", 0.0))
        self.run_on(1)
        self.assertEqual(self.marks(), [StoredValue(PAUSED, b"g", 1.0), StoredValue(SCHEDULED, b"f", 3.0)])
        self.assert_well()

    def test_a_schedule_and_its_job_are_one_batch(self) -> None:
        job = self.schedule(b"nightly", 60.0)
        self.thread.run()
        (batch,) = self.store.batches
        self.assertEqual(([each.number for each, _ in batch.new_jobs], len(batch.values)), ([job.number], 1))
        self.assertEqual((self.marks(), self.numbers()), ([StoredValue(SCHEDULED, b"nightly", 60.0)], [1]))

    def test_nor_is_the_one_there_without_the_other(self) -> None:
        """Whatever is refused beside them."""
        for large in (b"first", b"second", b""):
            self.begin_anew()
            self.store.too_large = 10
            self.submit_one()
            for name in (b"first", b"second"):
                workload = b"x" * 11 if name == large else b""
                self.broker.submit(
                    None, b"g", b"", workload, self.clock.seconds(), background=True, schedule=(name, 60.0)
                )
            self.client.tell(submit(b"x" * 11))
            self.broker.persistence.put_value(StoredValue(PAUSED, b"g", 1.0))
            self.turn()
            self.run_on(1)
            kept = [name for name in (b"first", b"second") if name != large]
            self.assertEqual(
                self.marks(),
                [StoredValue(PAUSED, b"g", 1.0), *[StoredValue(SCHEDULED, name, 60.0) for name in kept]],
            )
            self.assertEqual(len(self.numbers()), 1 + len(kept))
            self.assert_well()

    def test_a_job_that_waits_too_long_leaves_no_mark(self) -> None:
        """Neither what is at the store and lost, nor what has gathered."""
        self.schedule(b"first", 60.0)
        self.schedule(b"second", 60.0)
        self.mark(StoredValue(PAUSED, b"f", 1.0))
        self.clock.advance(5)
        self.assertEqual(self.broker.table.jobs, {})
        self.store.fail("write", GONE)
        self.run_on(1)
        self.assertEqual((self.marks(), self.numbers()), ([StoredValue(PAUSED, b"f", 1.0)], []))
        self.assert_well()

    def test_a_job_whose_commit_was_lost_is_written_with_its_mark(self) -> None:
        for after in (False, True):
            self.begin_anew()
            self.schedule(b"nightly", 60.0)
            self.store.fail("write", GONE, after=after)
            self.run_on(1)
            self.assertEqual(
                (self.marks(), self.numbers()), ([StoredValue(SCHEDULED, b"nightly", 60.0)], [1])
            )
            self.assertEqual(list(self.broker.table.jobs), [1])
            for batch in self.store.batches:
                self.assertTrue(after or (batch.new_jobs and batch.values))
            self.assert_well()

    def test_none_is_submitted_while_the_store_is_lost(self) -> None:
        self.store.fail("open", GONE, times=2)
        self.store.fail("write", GONE)
        self.submit_one()
        self.thread.run_all()
        with self.assertRaises(QueueError):
            self.schedule(b"nightly", 60.0)
        self.run_on(1)
        self.assertEqual(self.marks(), [])
        self.assert_well()


class ReadingTests(KeptTestCase):
    """What is read for those who ask."""

    def setUp(self) -> None:
        super().setUp()
        self.submit_all(*[b"w%d" % number for number in range(1, 6)])
        for number in range(1, 4):
            self.complete(number, b"r%d" % number)
        self.run_on(1)
        self.recall()
        self.store.take()

    def ask_for(self, number: int, result: bool, answers: dict[tuple[int, bool], bytes | None]) -> None:
        """In one turn with others."""
        self.journal.read(Reading(number, result, lambda data: answers.__setitem__((number, result), data)))

    def test_results_and_workloads(self) -> None:
        answers: dict[tuple[int, bool], bytes | None] = {}
        for number, result in ((1, True), (4, False), (1, False), (4, True), (77, True), (77, False)):
            self.ask_for(number, result, answers)
        self.turn()
        self.assertEqual(answers, {})
        self.thread.run()
        self.assertEqual(
            answers,
            {
                (1, True): b"r1",
                (4, False): b"w4",
                (1, False): b"",
                (4, True): None,
                (77, True): None,
                (77, False): None,
            },
        )
        self.assertEqual(self.store.take(), ["results", "workloads"])
        self.assert_well()

    def test_so_many_at_once(self) -> None:
        answered: list[bytes | None] = []
        for _ in range(2 * MOST_READINGS + 1):
            self.journal.read(Reading(1, True, answered.append))
        self.turn()
        for count in (MOST_READINGS, 2 * MOST_READINGS, 2 * MOST_READINGS + 1):
            self.thread.run()
            self.assertEqual(answered, [b"r1"] * count)
        self.assertEqual(len(self.thread.waiting), 0)

    def test_writes_come_in_between(self) -> None:
        answers = [self.ask(1)]
        self.client.tell(submit())
        answers += [self.ask(2) for _ in range(2 * MOST_READINGS)]
        self.thread.run()
        self.client.tell(submit())
        self.thread.run_all()
        self.assertEqual(
            [call for call in self.store.take() if call != "workloads"],
            ["results", "write", "results", "write", "results"],
        )
        self.assertEqual(answers, [[b"r1"], *[[b"r2"]] * 2 * MOST_READINGS])

    def test_what_is_queued_is_read_in_turns_with_them(self) -> None:
        """However fast workers are: the next workloads may be wanted as soon as the last have come."""
        journal = self.journal
        loaded: list[tuple[Job, bytes | None]] = []

        def hungry(workloads: list[tuple[Job, bytes | None]], *rest: object) -> None:
            loaded.extend(workloads)
            journal.load([job for job, _ in workloads])

        journal.begin(Instead(self.broker.store_events, loaded=hungry), self.turn, lambda: None, 0)
        journal.load([self.broker.table.jobs[4]])
        self.turn()
        answered: list[bytes | None] = []
        for _ in range(2 * MOST_READINGS):
            journal.read(Reading(1, True, answered.append))
        for loads, readings in ((1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 2)):
            self.thread.run()
            self.assertEqual((len(loaded), len(answered)), (loads, readings * MOST_READINGS))

    def test_a_store_that_is_lost_is_asked_again(self) -> None:
        for name in ("results", "workloads"):
            self.store.fail(name, GONE)
            answers = self.ask(1)
            self.assertEqual(self.logged(self.thread.run_all), [])
            self.assertEqual(answers, [b"r1"])
        answers = self.ask(1)
        self.thread.run_all()
        self.assertEqual(answers, [b"r1"])
        self.assert_well()

    def test_nobody_waits_for_a_store_that_is_known_to_be_lost(self) -> None:
        self.store.fail("results", GONE)
        self.store.fail("open", GONE, times=3)
        first = self.ask(1)
        self.thread.run()
        second = self.ask(2)
        self.assertEqual((first, second), ([], []))
        self.thread.run()
        self.assertEqual((first, second), ([None], [None]))
        self.assertEqual(self.ask(3), [None])
        self.run_on(2)
        third = self.ask(3)
        self.thread.run()
        self.assertEqual((first, second, third), ([None], [None], [b"r3"]))
        self.assert_well()

    def test_nor_for_one_that_does_not_answer(self) -> None:
        self.submit_one()
        answers = self.ask(1)
        self.clock.advance(5)
        self.assertEqual(answers, [None])
        self.thread.run_all()
        self.assertEqual(answers, [None])
        self.assert_well()

    def test_a_defect_of_the_store(self) -> None:
        self.store.fail("results", ZeroDivisionError("a defect"))
        answers = self.ask(1)
        self.thread.run_all()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(answers, [b"r1"])

    def test_who_is_answered_may_ask_again(self) -> None:
        """Also when the answer is that there is none."""
        answers: list[bytes | None] = []

        def again(data: bytes | None) -> None:
            answers.append(data)
            self.journal.read(Reading(2, True, answers.append))

        self.journal.read(Reading(1, True, again))
        self.turn()
        self.thread.run_all()
        self.assertEqual(answers, [b"r1", b"r2"])
        self.journal.read(Reading(1, True, again))
        self.successResultOf(self.journal.settle())
        self.assertEqual(answers[2:], [None, None])

    # The end

    def test_at_the_end_nobody_waits(self) -> None:
        self.submit_one()
        answers = self.ask(1)
        settled = self.journal.settle()
        self.assertEqual(answers, [None])
        self.assertEqual(self.ask(2), [None])
        self.thread.run()
        self.assertIsNone(self.successResultOf(settled))
        closing = self.journal.close()
        self.thread.run()
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual(self.ask(2), [None])
        self.assertNotIn("results", self.store.take())

    def test_what_is_being_read_then_is_answered(self) -> None:
        answers = self.ask(1)
        settled = self.journal.settle()
        self.assertEqual(answers, [])
        self.thread.run()
        self.assertEqual(answers, [b"r1"])
        self.assertIsNone(self.successResultOf(settled))

    def test_or_not_if_it_fails(self) -> None:
        self.store.fail("results", GONE)
        answers = self.ask(1)
        settled = self.journal.settle()
        self.thread.run()
        self.assertEqual(answers, [None])
        self.thread.run_all()
        self.assertIsNone(self.successResultOf(settled))
        self.assertEqual(self.store.take(), ["results", "open", "known"])

    def test_what_is_being_read_when_it_has_ended(self) -> None:
        """The store hung, and fails too late."""
        self.store.fail("results", GONE)
        answers = self.ask(1)
        closing = self.journal.close()
        self.clock.advance(5)
        self.assertIsNone(self.successResultOf(closing))
        self.thread.run()
        self.assertEqual(answers, [None])
        self.assertEqual(len(self.thread.waiting), 0)

    def test_after_a_kill_nothing_is_read(self) -> None:
        self.journal.abandon()
        self.assertEqual(self.ask(1), [None])

    def test_the_last_results_are_written(self) -> None:
        self.complete(4, b"r4")
        self.broker.operations.forget(HANDLES[1])
        self.mark(StoredValue(PAUSED, b"f", 1.0))
        closing = self.journal.close()
        self.thread.run_all()
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual(self.store.kept_results, {2: b"r2", 3: b"r3", 4: b"r4"})
        self.assertEqual(len(self.store.kept_values), 1)

    def test_jobs_whose_ends_are_lost_are_counted(self) -> None:
        """Wherever they are, each once; not those that are only forgotten, or have come back."""
        self.store.fail("write", GONE, times=100)
        self.store.fail("open", GONE, times=100)
        self.complete(4, b"r4")
        self.broker.operations.forget(HANDLES[1])
        self.run_on(1)
        self.complete(5, b"r5")
        self.broker.operations.forget(HANDLES[5])
        closing = self.journal.close()
        lines = self.logged(self.run_on, 5)
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual(
            lines, ["the store memory: has not taken the last changes; 2 ended jobs will run again"]
        )


assert FIRST_RETRY > FLUSH_DELAY, "these tests tell a retry from a write that nobody waits for"


class BehindTests(KeptTestCase):
    """Whether whoever changes a great many jobs is to wait."""

    def test_until_it_is_written(self) -> None:
        marks = [StoredValue(PAUSED, b"f%d" % number, START) for number in range(BACKLOG + 1)]
        self.mark(*marks[:-1])
        self.assertFalse(self.journal.backlogged)
        self.mark(marks[-1])
        self.assertTrue(self.journal.backlogged)
        self.clock.advance(FLUSH_DELAY)
        self.assertFalse(self.journal.backlogged)
        self.run_on(1)
        self.assertEqual(self.marks(), sorted(marks))

    def test_not_for_a_store_that_is_away(self) -> None:
        """Nobody knows for how long."""
        self.store.fail("write", GONE, times=2)
        self.mark(*[StoredValue(PAUSED, b"f%d" % number, START) for number in range(BACKLOG + 1)])
        self.clock.advance(FLUSH_DELAY)
        self.thread.run()
        self.assertTrue(self.journal.backlogged)
        self.thread.run()
        self.clock.advance(FLUSH_DELAY)
        self.thread.run()
        self.assertFalse(self.journal.backlogged)

    def test_too_many_readings(self) -> None:
        """What they are to bring is not to fill the memory."""
        self.submit_all(b"w")
        self.complete(1, b"first")
        self.run_on(1)
        self.recall()
        answers: list[bytes | None] = []
        for _ in range(MOST_WAITING + 2):
            self.broker.archive.read(self.broker.archive.jobs[1], answers.append)
        self.assertEqual(answers, [None, None])
        self.turn()
        self.thread.run_all()
        self.assertEqual(answers[2:], [b"first"] * MOST_WAITING)
