"""Tests of L{txgear.journal.journal}: what is on its way has bounds, and a defect costs nobody his answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.logger import capturedLogs, formatEvent

from txgear.broker.ended.archive import history_of
from txgear.broker.model import Job
from txgear.broker.ports import Reading
from txgear.errors import StoreUnavailable
from txgear.journal.batches import MOST_BYTES, MOST_ROWS
from txgear.journal.link import RETRY_WHEN_ASKED
from txgear.journal.writes import FLUSH_DELAY, LEAST_LIMIT
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    EXTENSION_OPTION,
    GRAB_JOB,
    OPTION_REQ,
    SUBMIT_JOB,
    WORK_COMPLETE,
)
from txgear.protocol.packets import request, response
from txgear.test.support.broker import results_of
from txgear.test.support.journal import AWAY, Instead
from txgear.test.support.server import HANDLES, DurableServerTestCase, created, refused, submit

GONE = StoreUnavailable("the connection is gone")
MIB = 2**20
KEPT = CLASSIC.with_settings({"results": "1h", "retries": 0, "lease": 2})


class BoundsTestCase(DurableServerTestCase):
    """A server that keeps the results of C{f}. The other connection is a worker."""

    def begin(self, **choices: Any) -> None:
        super().begin(policies=Policies([("f", KEPT)]), **choices)
        self.broker, self.journal = self.fixture.server.broker, self.fixture.journal
        self.other.tell(request(CAN_DO, b"f"))

    def running(self, count: int) -> None:
        """So many jobs are at the worker."""
        self.client.tell(*[submit()] * count)
        self.run_on(0.1)
        self.client.heard()
        self.other.ask(*[request(GRAB_JOB)] * count)
        self.store.batches.clear()
        self.store.take()

    def complete(self, *numbers: int, size: int) -> None:
        self.other.tell(*[request(WORK_COMPLETE, HANDLES[number], b"r" * size) for number in numbers])


class ResultsTests(BoundsTestCase):
    """Results on their way count, as workloads do."""

    def setUp(self) -> None:
        super().setUp()
        self.begin_anew(queue_memory=MIB)
        self.running(60)

    def state(self) -> str:
        """Whether the worker is read."""
        return str(self.other.transport.producerState)

    def test_they_are_counted(self) -> None:
        self.complete(1, 2, size=1000)
        self.assertEqual(self.journal.pending_bytes, 2000)
        self.broker.operations.forget(HANDLES[1])
        self.assertEqual(self.journal.pending_bytes, 1000)
        self.store.fail("write", GONE)
        self.clock.advance(FLUSH_DELAY)
        self.thread.run()
        self.assertEqual(self.journal.pending_bytes, 1000)
        self.run_on(1)
        self.assertEqual(self.journal.pending_bytes, 0)
        self.assertEqual(self.store.kept_results, {2: b"r" * 1000})

    def test_one_that_is_forgotten_while_it_is_written(self) -> None:
        for error in (None, GONE):
            self.begin_anew(queue_memory=MIB)
            self.running(1)
            self.complete(1, size=1000)
            self.clock.advance(FLUSH_DELAY)
            self.broker.operations.forget(HANDLES[1])
            if error is not None:
                self.store.fail("write", error)
            self.run_on(1)
            self.assertEqual(
                (self.journal.pending_bytes, self.store.kept_results, self.numbers()), (0, {}, [])
            )

    def test_a_worker_that_adds_to_too_many_is_not_read_for_the_time(self) -> None:
        self.complete(*range(1, 11), size=100_000)
        self.assertEqual(self.state(), "producing")
        self.complete(11, size=100_000)
        self.assertEqual(self.state(), "paused")
        # Those who have nothing to do with it are.
        self.assert_alive(self.client)
        self.assertEqual(self.client.transport.producerState, "producing")
        self.clock.advance(FLUSH_DELAY)
        self.thread.run_all()
        self.assertEqual(self.state(), "producing")
        self.assertEqual(len(self.store.kept_results), 11)
        self.complete(12, size=10)
        self.assertEqual(self.state(), "producing")

    def test_clients_who_wait_have_their_results_all_the_same(self) -> None:
        self.complete(*range(1, 11), size=100_000)
        self.client.tell(request(SUBMIT_JOB, b"f", b"u", b"w"))
        self.client.tell(submit(unique=b"u"))
        self.thread.run_all()
        self.client.heard()
        self.other.ask(request(GRAB_JOB))
        self.store.fail("write", GONE, times=100)
        self.store.fail("open", GONE, times=100)
        self.run_on(10)
        # Each that has ended has taken the next place.
        number = 60 + 10 + 1
        self.complete(number, size=100_000)
        self.assertEqual(self.client.heard(), response(WORK_COMPLETE, HANDLES[number], b"r" * 100_000))

    def test_while_the_store_does_not_answer_no_more_are_kept_than_there_is_room_for(self) -> None:
        self.complete(1, size=100_000)
        self.store.fail("write", GONE, times=100)
        self.store.fail("open", GONE, times=100)
        self.run_on(10)
        with capturedLogs() as events:
            for number in range(2, 60):
                self.complete(number, size=100_000)
        self.assertEqual(self.state(), "producing")
        self.assertEqual(self.journal.pending_bytes, 1_000_000)
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["until the store memory: answers, no more results are kept: 1000000 bytes wait for it"],
        )
        # A small one has room, and that the others are done is known.
        self.complete(60, size=40_000)
        self.store.mend()
        with capturedLogs() as events:
            self.run_on(10)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "the store memory: answers again",
                "the results of 49 jobs are not kept: the store memory: did not answer",
            ],
        )
        self.assertEqual(
            [number for number, result in sorted(self.store.kept_results.items()) if result],
            [*range(1, 11), 60],
        )
        self.assertEqual(self.journal.pending_bytes, 0)
        self.recall()
        self.assertEqual(
            [number for number in range(1, 61) if history_of(self.broker.archive.jobs[number]).complete],
            [*range(1, 11), 60],
        )
        self.assertEqual({job.state for job in self.store.kept.values()}, {6})

    def test_a_store_that_hangs_is_found_out(self) -> None:
        """Though nobody waits for it: the worker is read again, and jobs are refused."""
        self.complete(*range(1, 12), size=100_000)
        self.clock.advance(FLUSH_DELAY)
        self.assertEqual(self.state(), "paused")
        self.clock.advance(5)
        self.assertEqual(self.state(), "producing")
        late = b"The store has not answered for 5 seconds"
        self.assertEqual(self.client.ask(submit()), refused(late))

    def test_a_worker_that_is_not_read_is_not_silent(self) -> None:
        """What it says meanwhile, that it is at it above all, lies in its socket."""
        self.begin_anew(queue_memory=MIB)
        self.other.ask(request(OPTION_REQ, EXTENSION_OPTION))
        self.running(13)
        self.assertEqual(history_of(self.broker.table.jobs[13]).lease, 2.0)
        self.complete(*range(1, 12), size=100_000)
        self.assertEqual(self.state(), "paused")
        self.clock.advance(FLUSH_DELAY)
        self.clock.advance(4)
        self.assertEqual(len(self.other.protocol.peer.running), 2)
        self.thread.run_all()
        self.assertEqual(self.state(), "producing")
        # What it has said comes now.
        self.complete(12, size=1)
        self.clock.advance(0.5)
        self.assertEqual(len(self.other.protocol.peer.running), 1)
        self.clock.advance(2)
        self.assertEqual(len(self.other.protocol.peer.running), 0)

    def test_one_that_goes_is_not_read_again(self) -> None:
        self.complete(*range(1, 12), size=100_000)
        self.other.leave()
        self.run_on(1)
        self.assertEqual(self.fixture.server.outbox._paused, set())

    def test_one_that_submits_as_well(self) -> None:
        """It is read again when there is neither reason any more."""
        self.complete(*range(1, 12), size=100_000)
        self.other.tell(submit(b"x" * 2 * MIB))
        self.clock.advance(FLUSH_DELAY)
        self.assertEqual(self.state(), "paused")
        self.thread.run()
        self.thread.run_all()
        self.assertEqual(self.state(), "producing")
        # Each that has ended has taken the next place.
        self.assertTrue(self.other.heard().startswith(created(60 + 11 + 1)))

    def test_however_little_memory_the_queue_has(self) -> None:
        self.begin_anew(queue_memory=0)
        self.running(2)
        self.complete(1, size=LEAST_LIMIT - 1000)
        self.assertEqual(self.state(), "producing")


class BatchTests(BoundsTestCase):
    """A batch ends somewhere."""

    def sizes(self) -> list[tuple[int, int]]:
        """Of each batch, how many additions it has and how many bytes these."""
        return [
            (len(batch.new_jobs), sum(job.size for job, _ in batch.new_jobs)) for batch in self.store.batches
        ]

    def test_by_its_bytes(self) -> None:
        self.submit_one()
        lines = [self.fixture.connect() for _ in range(4)]
        for line in lines:
            line.tell(*[submit(b"x" * 4 * MIB, b"g")] * 3)
        self.run_on(1)
        self.assertEqual(self.sizes(), [(1, 1)] + [(4, MOST_BYTES)] * 3)
        self.assertEqual(len(self.numbers()), 13)
        self.assertEqual(self.journal.pending_bytes, 0)

    def test_one_that_is_larger_is_a_batch_of_its_own(self) -> None:
        self.submit_one()
        self.client.tell(submit(b"", b"g"), submit(b"x" * (MOST_BYTES + 1), b"g"), submit(b"", b"g"))
        self.run_on(1)
        self.assertEqual([size for size, _ in self.sizes()], [1, 1, 1, 1])

    def test_by_its_rows(self) -> None:
        self.submit_one()
        lines = [self.fixture.connect() for _ in range(3)]
        for line in lines:
            line.tell(*[submit(b"", b"g")] * (MOST_ROWS - 1))
        self.run_on(1)
        self.assertEqual([size for size, _ in self.sizes()], [1, MOST_ROWS, MOST_ROWS, MOST_ROWS - 3])

    def test_what_ends_before_it_is_added_is_gone(self) -> None:
        """Its end waits for the batch that adds it."""
        self.submit_one()
        self.client.tell(*[submit(b"x" * MOST_BYTES, b"g")] * 2)
        self.client.tell(b"cancel job H:test:3\n", submit(b"", b"g"))
        self.run_on(1)
        self.assertEqual(self.numbers(), [1, 2, 4])

    def test_results_of_one_batch(self) -> None:
        """Each goes together with the word that its job has ended: that has no workload any more."""
        count = 30
        self.running(count)
        self.submit_one()
        self.complete(*range(1, count + 1), size=MIB)
        self.run_on(1)
        results = [batch for batch in self.store.batches if batch.results]
        self.assertEqual([len(batch.results) for batch in results], [16, 14])
        for batch in results:
            moved = {move.number for move in batch.updates if move.state}
            self.assertEqual(moved, {number for number, _ in batch.results})
        self.assertEqual(len(self.store.kept_results), count)
        self.assertEqual((self.journal.pending_bytes, results_of(self.broker.archive)), (0, {}))

    def test_after_an_outage(self) -> None:
        """What has gathered is written piece by piece; a kill in between leaves each job what it needs."""
        count = 40
        self.running(count)
        self.store.fail("write", GONE)
        self.store.fail("open", GONE, times=2)
        self.complete(*range(1, count + 1), size=MIB)
        self.clock.advance(FLUSH_DELAY)
        self.thread.run_all()
        written = 0
        for _ in range(200):
            if self.thread.waiting:
                self.thread.run()
            else:
                self.clock.advance(0.01)
            for number, job in self.store.kept.items():
                self.assertEqual(job.size, len(self.store.kept_results.get(number, b"w")))
            written = max(written, len(self.store.kept_results))
        self.assertEqual(written, count)


class AskedTests(BoundsTestCase):
    """A store that is away is tried at once when jobs come."""

    def away(self) -> None:
        """It is, and the next attempt is 5 seconds off."""
        self.store.fail("write", GONE)
        self.store.fail("open", GONE, times=10**6)
        self.submit_one()
        self.run_on(20)
        self.client.heard()
        self.store.take()
        while "open" not in self.store.take():
            self.run_on(0.1)

    def test_the_first_is_refused_and_the_next_is_kept(self) -> None:
        self.away()
        self.store.mend()
        self.clock.advance(RETRY_WHEN_ASKED)
        self.client.tell(submit())
        self.assertEqual(self.client.heard(), refused(AWAY))
        self.thread.run_all()
        self.client.tell(submit())
        self.thread.run_all()
        self.assertTrue(self.client.heard().startswith(created(1)[:8]))

    def test_but_not_more_than_once_a_second(self) -> None:
        self.away()
        for _ in range(400):
            self.client.tell(submit())
            self.run_on(0.01)
        attempts = self.store.take().count("open")
        self.assertTrue(3 <= attempts <= 5, attempts)

    def test_nobody_who_does_not_submit_hurries_it(self) -> None:
        self.away()
        for _ in range(300):
            self.assert_alive(self.client)
            self.run_on(0.01)
        self.assertEqual(self.store.take().count("open"), 0)


class DefectTests(BoundsTestCase):
    """What must not happen costs nobody his answer."""

    def broken(self, **methods: Callable[..., None]) -> None:
        """The broker fails where it is told what came of something."""
        server = self.fixture.server
        listener = Instead(self.broker.store_events, **methods)
        self.fixture.journal.begin(listener, server._store_answered, lambda: None, 0)

    def test_those_who_submitted_are_answered(self) -> None:
        def stored(jobs: Iterator[Job], now: float) -> None:
            for job in jobs:
                self.broker.store_events.stored(iter([job]), now)
                if job.number == 2:
                    raise ZeroDivisionError

        self.broken(stored=stored)
        self.client.tell(submit(), submit(), submit())
        self.thread.run()
        self.assertEqual(self.client.heard(), created(1, 2, 3))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.client.tell(submit())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(4))

    def test_those_who_are_refused_too(self) -> None:
        def refuse(job: Job, reason: str, now: float) -> None:
            self.broker.store_events.refused(job, reason, now)
            raise ZeroDivisionError

        self.broken(refused=refuse)
        self.client.tell(submit(), submit())
        self.clock.advance(5)
        self.assertEqual(self.client.heard(), refused(b"The store has not answered for 5 seconds") * 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_those_whose_workloads_are_read(self) -> None:
        self.client.tell(submit(b"1"), submit(b"2"))
        self.thread.run_all()
        self.begin()
        calls: list[int] = []

        def loaded(*arguments: Any) -> None:
            calls.append(1)
            if len(calls) == 1:
                self.broker.store_events.loaded([], 0.0)
                raise ZeroDivisionError
            self.broker.store_events.loaded(*arguments)

        self.broken(loaded=loaded)
        self.other.tell(request(CAN_DO, b"f"))
        self.run_on(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn(HANDLES[1], self.other.ask(request(GRAB_JOB)))

    def test_the_journal_itself(self) -> None:
        """Whatever becomes of a batch is looked up, as after a lost connection."""
        for name in ("_written", "answered", "_take_batch", "reopened"):
            self.begin_anew()
            writes: Any = self.journal._writes
            whole = getattr(writes, name)
            calls: list[int] = []

            def fail(*arguments: Any, whole: Any = whole, calls: list[int] = calls) -> Any:
                calls.append(1)
                if len(calls) == 1:
                    raise ZeroDivisionError
                return whole(*arguments)

            setattr(writes, name, fail)
            if name == "reopened":
                self.store.fail("write", GONE)
            self.client.tell(submit(), submit())
            self.run_on(1)
            self.assertEqual(self.client.heard(), created(1, 2), name)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1, name)
            self.assertEqual(self.numbers(), [1, 2])

    def test_one_that_stays_is_told_of_twice(self) -> None:
        """And those who submit are refused when their time is up, or at once."""
        writes: Any = self.journal._writes

        def fail(*arguments: Any) -> None:
            raise ZeroDivisionError

        writes.reopened = fail
        self.store.fail("write", GONE)
        self.submit_one()
        self.run_on(60)
        self.assertEqual(self.client.heard(), refused(b"internal error of the store"))
        self.assertEqual(self.client.ask(submit()), refused(b"internal error of the store"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class EndTests(BoundsTestCase):
    def test_what_waits_for_a_reading_is_answered_at_the_end(self) -> None:
        """And what lies behind that on its line."""
        self.client.tell(submit())
        self.thread.run_all()
        self.begin()
        self.other.tell(submit())
        self.assertEqual(self.client.ask(b"workload H:test:1\n", request(ECHO_REQ, b"x")), b"")
        settled = self.journal.settle()
        heard = self.client.heard()
        self.assertTrue(heard.startswith(b"ERR "), heard)
        self.assertTrue(heard.endswith(response(ECHO_RES, b"x")), heard)
        self.thread.run_all()
        self.successResultOf(settled)

    def test_a_reading_at_the_end(self) -> None:
        answers: list[bytes | None] = []
        self.submit_one()
        self.journal.read(Reading(1, True, answers.append))
        settled = self.journal.settle()
        self.assertEqual(answers, [None])
        self.thread.run_all()
        self.successResultOf(settled)
