"""Tests of L{txgear.journal.reads}, with a link and no broker."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Job
from txgear.broker.paging import READ_JOBS
from txgear.broker.ports import Reading
from txgear.broker.records import Batch, JobUpdate
from txgear.broker.states import DONE
from txgear.errors import StoreRefused, StoreTaken, StoreUnavailable
from txgear.journal.link import LOST, OPEN, TAKEN, Link
from txgear.journal.portion import AT_ONCE, PAUSE
from txgear.journal.reads import MOST_READINGS, MOST_WAITING, Reads
from txgear.test.journal.test_writes import Unheard
from txgear.test.support.batches import adding, addition
from txgear.test.support.journal import FaultyStore, ManualThread, RecordingListener

GONE = StoreUnavailable("the connection is gone")
DAMAGED = StoreRefused("the disk is damaged")
JOBS = 40


class PagedJob(NamedTuple):
    """What of a job is looked at here."""

    number: int
    size: int
    handle: bytes


def paged(number: int, size: int = 1) -> Job:
    return cast(Job, PagedJob(number, size, b"H:%d" % number))


class ReadsTestCase(SynchronousTestCase):
    """
    What is read from a store that has the jobs 1 to 40, with a byte each; the first has ended with a result.

    @ivar turns: how often something could be read again.
    @ivar answers: what somebody was given, by what he asked for.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.thread = ManualThread()
        self.store = FaultyStore()
        self.store.open()
        self.store.write(adding(*[addition(number, b"%c" % (64 + number)) for number in range(1, JOBS + 1)]))
        self.store.write(Batch((), [JobUpdate(1, 1, 0.0, 0, 6, DONE)], (), [(1, b"result")]))
        self.turns = 0
        self.newer: dict[int, bytes] = {}
        self.answers: dict[tuple[int, bool], bytes | None] = {}
        self.link = Link(self.store, self.thread, self.clock, Unheard())
        self.waited: list[str] = []
        self.reads = Reads(
            self.link,
            self.clock,
            self.count_turn,
            self.renew,
            lambda: self.waited.append("asked"),
            lambda: self.waited.append("answered"),
            lambda: self.waited.append("again"),
        )
        self.listener = self.reads.loads.listener = RecordingListener()
        self.store.take()

    def renew(self, workloads: dict[int, bytes]) -> None:
        workloads.update({number: new for number, new in self.newer.items() if number in workloads})

    def count_turn(self) -> None:
        self.turns += 1

    def ask(self, *numbers: int, result: bool = False) -> None:
        """Somebody wants these."""
        for number in numbers:
            key = number, result

            def done(data: bytes | None, key: tuple[int, bool] = key) -> None:
                self.assertNotIn(key, self.answers)
                self.answers[key] = data

            self.reads.readings.read(Reading(number, result, done))

    def load(self, *numbers: int) -> None:
        """The queue wants these."""
        self.reads.loads.load([paged(number) for number in numbers])

    def read(self) -> None:
        """The next read is done."""
        self.assertTrue(self.reads.ready)
        self.reads.start()
        self.thread.run()

    def read_all(self) -> int:
        """All are, the store being opened again where it is lost; how many that was."""
        count = 0
        while self.reads.ready:
            self.read()
            count += 1
            if self.link.state is LOST:
                self.link.open([], lambda known: None)
                self.thread.run()
        return count


class ReadingsTests(ReadsTestCase):
    def test_nothing(self) -> None:
        self.assertFalse(self.reads.ready)

    def test_both_kinds(self) -> None:
        self.ask(2, 99)
        self.ask(1, 2, result=True)
        self.read()
        self.assertEqual(
            self.answers, {(2, False): b"B", (99, False): None, (1, True): b"result", (2, True): None}
        )
        self.assertFalse(self.reads.ready)
        self.assertEqual(self.store.take(), ["results", "workloads"])

    def test_what_is_newer_than_what_was_read(self) -> None:
        """A new workload that has not been written yet; a result stays what it is."""
        self.newer = {1: b"new", 2: b"new", 99: b"new"}
        self.ask(2, 3, 99)
        self.ask(1, result=True)
        self.read()
        self.assertEqual(
            self.answers,
            {(2, False): b"new", (3, False): b"C", (99, False): None, (1, True): b"result"},
        )

    def test_some_at_once(self) -> None:
        self.ask(*range(2, MOST_READINGS + 4))
        self.read()
        self.assertEqual(len(self.answers), MOST_READINGS)
        self.assertEqual(self.read_all(), 1)

    def test_so_many_wait_and_no_more(self) -> None:
        self.ask(*range(MOST_WAITING))
        self.assertEqual(self.answers, {})
        self.ask(MOST_WAITING)
        self.assertEqual(self.answers, {(MOST_WAITING, False): None})

    def test_nobody_waits_for_a_store_that_does_not_answer(self) -> None:
        self.ask(2, 3)
        self.reads.readings.drop()
        self.link.unavailable = "it is away"
        self.ask(4)
        self.assertEqual(self.answers, {(2, False): None, (3, False): None, (4, False): None})

    def test_nor_for_one_that_another_server_has(self) -> None:
        self.store.fail("results", StoreTaken("another server has it"))
        self.ask(2)
        self.read()
        self.assertIs(self.link.state, TAKEN)
        self.link.unavailable = None
        self.ask(3)
        self.assertEqual(self.answers, {(3, False): None})

    def test_nor_after_the_end(self) -> None:
        """Whatever is being read then."""
        self.ask(2)
        self.reads.start()
        self.ask(3)
        self.link.abandon()
        self.reads.readings.give_up()
        self.ask(4)
        answers = {(2, False): None, (3, False): None, (4, False): None}
        self.assertEqual(self.answers, answers)
        self.thread.run()
        self.assertEqual(self.answers, answers)

    def test_what_was_read_in_vain_is_read_again(self) -> None:
        self.store.fail("workloads", GONE)
        self.ask(2, 3, 4)
        self.read()
        self.assertEqual((self.answers, self.link.state), ({}, LOST))
        self.link.open([], lambda known: None)
        self.thread.run()
        self.assertEqual(self.read_all(), 2)
        self.assertEqual(self.answers, {(2, False): b"B", (3, False): b"C", (4, False): b"D"})

    def test_one_that_cannot_be_read(self) -> None:
        for why in (GONE, DAMAGED):
            self.answers.clear()
            self.store.unreadable, self.store.unreadable_why = {5}, why
            self.ask(*range(2, 10))
            self.read_all()
            self.assertEqual(self.answers.pop((5, False)), None)
            self.assertEqual(len(self.answers), 7)
            self.assertNotIn(None, self.answers.values())

    def test_whoever_asked_may_fail(self) -> None:
        def fail(data: bytes | None) -> None:
            raise ZeroDivisionError

        for _ in range(2):
            self.reads.readings.read(Reading(2, False, fail))
            self.ask(3)
            self.read()
            self.assertEqual(self.answers.pop((3, False)), b"C")
        self.assertEqual((self.link.state, len(self.flushLoggedErrors(ZeroDivisionError))), (OPEN, 2))


class LoadsTests(ReadsTestCase):
    def test_they_are_given_in_order(self) -> None:
        self.load(3, 2)
        self.read()
        self.assertEqual(self.listener.take(), [("loaded", {3: b"C", 2: b"B"}, [], False)])
        self.assertFalse(self.reads.ready)

    def test_what_is_newer_than_what_was_read(self) -> None:
        """It is what counts, also where it is of another size."""
        self.newer = {3: b"new", 99: b"new"}
        self.reads.loads.load([paged(2), paged(3, 3)])
        with capturedLogs() as events:
            self.read()
        self.assertEqual(events, [])
        self.assertEqual(self.listener.take(), [("loaded", {2: b"B", 3: b"new"}, [], False)])

    def test_some_at_once(self) -> None:
        self.load(*[2] * (READ_JOBS + 1))
        self.read()
        ((_, _, _, more),) = self.listener.take()
        self.assertTrue(more)
        self.read()
        self.assertEqual(self.listener.take(), [("loaded", {2: b"B"}, [], False)])

    def test_what_is_gone_or_has_changed_is_told_of(self) -> None:
        self.reads.loads.load([paged(2), paged(3, 5), paged(99)])
        with capturedLogs() as events:
            self.read()
        self.assertEqual(
            [formatEvent(event) for event in events], ["memory: has lost the workloads of H:3, H:99"]
        )
        self.assertEqual(self.listener.take(), [("loaded", {2: b"B", 3: b"C", 99: None}, [], False)])

    def test_one_that_cannot_be_read(self) -> None:
        """It is given up alone, and told of once."""
        self.store.unreadable, self.store.unreadable_why = {5}, DAMAGED
        jobs = [paged(number) for number in range(2, 10)]
        for lines in (1, 0):
            self.reads.loads.load(list(jobs))
            with capturedLogs() as events:
                self.read_all()
            self.assertEqual(len(events), lines)
            told = self.listener.take()
            self.assertIn(("loaded", {}, [5], True), told)
            found = {number for name, workloads, _, _ in told for number in workloads}
            self.assertEqual(found, {2, 3, 4, 6, 7, 8, 9})
            self.listener.unreadable = {jobs[3]}

    def test_a_store_that_reads_nothing_has_pauses(self) -> None:
        self.store.unreadable, self.store.unreadable_why = set(range(99)), DAMAGED
        self.load(*range(2, JOBS))
        self.assertEqual(self.read_all(), AT_ONCE + 1)
        self.assertFalse(self.reads.ready)
        self.clock.advance(PAUSE)
        self.assertEqual(self.turns, 1)
        self.read()
        self.assertFalse(self.reads.ready)
        self.reads.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_at_the_end(self) -> None:
        self.load(2)
        self.link.closing = True
        self.assertFalse(self.reads.ready)
        self.ask(3)
        self.read()
        self.assertEqual(self.answers, {(3, False): b"C"})


class TurnsTests(ReadsTestCase):
    """Both have their turn."""

    def test_they_alternate(self) -> None:
        self.ask(*range(2, 2 + 2 * MOST_READINGS))
        self.load(*[2] * 2 * READ_JOBS)
        self.store.take()
        read: list[Any] = []
        while self.reads.ready:
            self.read()
            read.append("load" if self.store.take() == ["workloads"] else "read")
        self.assertEqual(read, ["load", "read", "load", "read"])

    def test_one_alone_goes_on(self) -> None:
        self.load(*[2] * 2 * READ_JOBS)
        self.assertEqual(self.read_all(), 2)
