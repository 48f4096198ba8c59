"""Tests of L{txgear.journal.askings}, with a link and no broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ports import Asking
from txgear.broker.records import (
    UNREADABLE_SECONDS,
    Batch,
    ByKey,
    ByNumber,
    InLane,
    InOrder,
    JobRecord,
    JobUpdate,
    Lane,
    Question,
)
from txgear.broker.states import DEAD, DONE
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.journal.askings import (
    CROWDED,
    KEY_ROWS,
    MOST_ASKINGS,
    MOST_BYTES,
    MOST_ROWS,
    MOST_WAITING,
    Askings,
)
from txgear.journal.link import LOST, OPEN, Link
from txgear.journal.portion import AT_ONCE, PAUSE
from txgear.journal.timer import Timer
from txgear.protocol.constants import NORMAL
from txgear.test.journal.test_writes import Unheard
from txgear.test.support.broker import record
from txgear.test.support.journal import FaultyStore, ManualThread

GONE = StoreUnavailable("the connection is gone")
DAMAGED = StoreRefused("the disk is damaged")
NOTHING: dict[int, bytes] = {}


class BringingStore(FaultyStore):
    """
    One in which workloads come with jobs that are found by their lanes.

    @ivar brings: those of so many bytes at the most.
    """

    brings = -1

    def rows(self, question: Question, workloads: dict[int, bytes] | None = None) -> list[JobRecord]:
        found = super().rows(question)
        if isinstance(question, InLane) and workloads is not None:
            workloads.update(
                (row.number, self.kept_workloads[row.number]) for row in found if row.size <= self.brings
            )
        return found


class AskingsTestCase(SynchronousTestCase):
    """
    What is asked of a store that has the jobs 1 to 9 of C{f}, each with as many bytes as its number says and
    a unique, and then 10 with the unique of 9.

    @ivar heard: the answers, in order: by what they were asked, the numbers of the jobs and the workloads.
    @ivar waited: how often somebody began to wait, and how often somebody was about to be answered.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.thread = ManualThread()
        self.store = BringingStore()
        self.store.open()
        every = [
            (record(number, unique=b"u%d" % min(number, 9), size=number), b"%d" % number * number)
            for number in range(1, 10)
        ]
        self.store.write(Batch([*every, (record(10, unique=b"u9", function=b"g"), b"")], (), ()))
        self.newer: dict[int, bytes] = {}
        self.heard: list[tuple[object, list[int] | None, Mapping[int, bytes]]] = []
        self.waited = [0, 0]
        self.turns = 0
        self.link = Link(self.store, self.thread, self.clock, Unheard())
        self.pause = Timer(self.clock, self.count_turn)
        self.again = 0
        self.askings = Askings(
            self.link, self.clock, self.pause, self.renew, self.asked, self.answered, self.ask_again
        )
        self.store.take()

    def renew(self, workloads: dict[int, bytes]) -> None:
        workloads.update({number: new for number, new in self.newer.items() if number in workloads})

    def count_turn(self) -> None:
        self.turns += 1

    def asked(self) -> None:
        self.waited[0] += 1

    def answered(self) -> None:
        self.waited[1] += 1

    def ask_again(self) -> None:
        self.again += 1

    def ask(self, question: Question, most_bytes: int = 0, name: object = None) -> None:
        """Somebody wants to know that."""

        def done(records: Sequence[JobRecord] | None, workloads: Mapping[int, bytes], now: float) -> None:
            self.assertEqual(now, self.clock.seconds())
            numbers = None if records is None else [record.number for record in records]
            self.heard.append((name, numbers, workloads))

        self.askings.ask(Asking(question, done, most_bytes))

    def numbers(self, *numbers: int, most_bytes: int = 0) -> None:
        """Somebody wants to know of each of these."""
        for number in numbers:
            self.ask(ByNumber([number]), most_bytes, number)

    def read(self) -> None:
        """The next call is made; a store that is lost is opened again after it."""
        self.assertTrue(self.askings.ready)
        self.askings.start()
        self.thread.run()
        if self.link.state is LOST:
            self.link.open([], lambda known: None)
            self.thread.run()
        self.assertIs(self.link.state, OPEN)

    def read_all(self) -> int:
        """How many calls it takes, unless there is a pause."""
        calls = 0
        while self.askings.ready:
            self.read()
            calls += 1
        return calls

    def take(self) -> list[tuple[object, list[int] | None, Mapping[int, bytes]]]:
        """All that was answered since the last time."""
        taken, self.heard = self.heard, []
        return taken


class AskTests(AskingsTestCase):
    """A store that answers."""

    def test_what_can_be_asked(self) -> None:
        lane = Lane(b"f", "", NORMAL)
        for question, numbers in (
            (ByNumber([3, 99, 1]), [3, 1]),
            (ByNumber([]), []),
            (ByKey([b"u9", b"u1", b"none"]), [9, 10, 1]),
            (InLane(lane, 7, 5), [8, 9]),
            (InOrder(8, 1), [9]),
        ):
            self.ask(question)
            self.read()
            self.assertEqual(self.take(), [(None, numbers, NOTHING)])
        self.assertEqual(self.waited, [5, 5])

    def test_many_are_one_question_each(self) -> None:
        """They are answered in the order in which they were asked."""
        self.numbers(3, 2)
        self.ask(ByKey([b"u9"]), 0, "u9")
        self.ask(InOrder(0, 1), 0, "first")
        self.numbers(99, 3)
        self.ask(ByKey([b"u1", b"u9"]), 0, "both")
        self.read()
        self.assertEqual(self.store.take(), ["rows", "rows", "rows", "replay"])
        expected = [
            (3, [3]),
            (2, [2]),
            ("u9", [9, 10]),
            ("first", [1]),
            (99, []),
            (3, [3]),
            ("both", [1, 9, 10]),
        ]
        self.assertEqual(self.take(), [(name, numbers, NOTHING) for name, numbers in expected])
        self.assertFalse(self.askings.ready)
        self.assertEqual(len(self.askings), 0)

    def test_what_is_asked_meanwhile_waits(self) -> None:
        self.numbers(1)
        self.askings.start()
        self.numbers(2)
        self.assertEqual(len(self.askings), 2)
        self.thread.run()
        self.assertEqual(self.take(), [(1, [1], NOTHING)])
        self.read()
        self.assertEqual(self.take(), [(2, [2], NOTHING)])

    def test_a_call_has_bounds(self) -> None:
        self.numbers(*[1] * (MOST_ASKINGS + 1))
        self.assertEqual(self.read_all(), 2)
        for _ in range(3):
            self.ask(InOrder(0, MOST_ROWS // 2))
        self.ask(ByKey([b"u1"] * (MOST_ROWS + 1)))
        self.ask(ByNumber([1]))
        self.assertEqual(self.read_all(), 4)
        for _ in range(2):
            self.ask(ByNumber([1]), MOST_BYTES // 2 + 1)
        self.assertEqual(self.read_all(), 2)
        for _ in range(MOST_ROWS // KEY_ROWS + 1):
            self.ask(ByKey([b"u1"]))
        self.assertEqual(self.read_all(), 2)
        self.assertEqual(len(self.take()), MOST_ASKINGS + MOST_ROWS // KEY_ROWS + 9)

    def test_ten_thousand_take_a_few_calls(self) -> None:
        self.numbers(*[number % 10 + 1 for number in range(10_000)])
        self.assertEqual(self.read_all(), 10)
        self.assertEqual(
            {tuple(numbers or ()) for _, numbers, _ in self.take()}, {(n,) for n in range(1, 11)}
        )

    def test_a_defect_of_who_asked_costs_nobody_else_his_answer(self) -> None:
        def fail(*answer: object) -> None:
            raise ZeroDivisionError

        self.askings.ask(Asking(ByNumber([1]), fail))
        self.numbers(2)
        self.read()
        self.assertEqual(self.take(), [(2, [2], NOTHING)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class WorkloadTests(AskingsTestCase):
    """Workloads of the jobs that are found."""

    def test_those_of_the_first_as_far_as_the_bytes_go(self) -> None:
        for most_bytes, numbers in ((1, []), (2, [2]), (4, [2]), (5, [2, 3]), (99, [2, 3, 1])):
            self.ask(ByNumber([2, 3, 1]), most_bytes)
            self.read()
            ((_, found, workloads),) = self.take()
            self.assertEqual(found, [2, 3, 1])
            self.assertEqual(workloads, {number: b"%d" % number * number for number in numbers})

    def test_they_are_read_at_once(self) -> None:
        self.ask(ByNumber([2, 3]), 9, "a")
        self.ask(ByNumber([3, 4]), 3, "b")
        self.ask(ByNumber([5]), 0, "c")
        self.ask(ByNumber([99]), 9, "d")
        self.read()
        self.assertEqual(self.store.take(), ["rows", "workloads"])
        two, three = b"22", b"333"
        self.assertEqual(
            self.take(),
            [("a", [2, 3], {2: two, 3: three}), ("b", [3, 4], {3: three}), ("c", [5], {}), ("d", [], {})],
        )

    def test_those_that_come_with_the_jobs_are_not_read(self) -> None:
        question = InLane(Lane(b"f", "", NORMAL), 0, 4)
        expected = {number: b"%d" % number * number for number in (1, 2, 3)}
        for brings, asked in ((9, ["rows"]), (2, ["rows", "workloads"]), (-1, ["rows", "workloads"])):
            self.store.brings = brings
            self.ask(question, 9)
            self.read()
            self.assertEqual(self.store.take(), asked)
            self.assertEqual(self.take(), [(None, [1, 2, 3, 4], expected)])

    def test_nobody_wants_those_that_could_come(self) -> None:
        self.store.brings = 9
        self.ask(InLane(Lane(b"f", "", NORMAL), 0, 4))
        self.read()
        self.assertEqual(self.take(), [(None, [1, 2, 3, 4], NOTHING)])

    def test_some_come_and_the_others_are_refused(self) -> None:
        self.store.brings = 2
        self.store.fail("workloads", DAMAGED)
        self.ask(InLane(Lane(b"f", "", NORMAL), 0, 4), 9)
        self.read()
        self.assertEqual(self.take(), [(None, [1, 2, 3, 4], {1: b"1", 2: b"22"})])

    def test_of_those_that_have_one(self) -> None:
        """A job that has ended has a result instead, unless it is dead."""
        self.store.write(Batch((), [JobUpdate(2, 2, 0.0, 0, 6, DONE)], (), [(2, b"result")]))
        self.store.write(Batch((), [JobUpdate(3, 3, 0.0, 0, None, DEAD)], ()))
        self.ask(ByNumber([2, 3]), 9)
        self.read()
        self.assertEqual(self.take(), [(None, [2, 3], {3: b"333"})])

    def test_new_ones_that_are_not_written_yet(self) -> None:
        """They are not read before they are there; what is not as long as it is to be is read by itself."""
        self.newer = {2: b"xx", 3: b"much longer", 9: b"nobody's"}
        self.ask(ByNumber([1, 2, 3]), 9)
        self.read()
        self.assertEqual(self.take(), [(None, [1, 2, 3], {1: b"1", 2: b"xx"})])

    def test_that_cannot_be_read(self) -> None:
        """The jobs are found all the same, at once or by another call."""
        for why in (DAMAGED, GONE, ZeroDivisionError()):
            self.store.unreadable, self.store.unreadable_why = {2}, why
            self.ask(ByNumber([1, 2]), 9, "a")
            self.ask(ByNumber([3]), 9, "b")
            self.read_all()
            self.assertEqual(self.take(), [("a", [1, 2], NOTHING), ("b", [3], NOTHING)])
            self.assertFalse(self.pause.running)
            self.store.unreadable = set()
            self.numbers(3, most_bytes=9)
            self.read()
            self.assertEqual(self.take(), [(3, [3], {3: b"333"})])
        self.flushLoggedErrors(ZeroDivisionError)


class TroubleTests(AskingsTestCase):
    """A store that does not answer."""

    def test_while_it_is_known_not_to(self) -> None:
        self.link.unavailable = "it is away"
        self.numbers(1)
        self.link.unavailable = None
        self.link.abandon()
        self.numbers(2)
        self.assertEqual(self.take(), [(1, None, NOTHING), (2, None, NOTHING)])
        self.assertEqual((self.waited, self.clock.getDelayedCalls()), ([0, 0], []))

    def test_too_many(self) -> None:
        self.numbers(*[1] * CROWDED)
        self.assertFalse(self.askings.crowded)
        self.numbers(1)
        self.assertTrue(self.askings.crowded)
        self.askings.drop()
        self.assertFalse(self.askings.crowded)
        self.take()
        self.numbers(*[1] * MOST_WAITING)
        self.assertEqual(self.take(), [])
        self.numbers(2)
        self.assertEqual(self.take(), [(2, None, NOTHING)])
        self.clock.advance(UNREADABLE_SECONDS)
        self.assertEqual(self.again, 1)
        self.numbers(2)
        self.askings.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_loss_is_not_heard(self) -> None:
        """What was asked is asked again, before what came since, and in order."""
        self.store.fail("rows", GONE)
        self.numbers(1, 2, 3)
        self.askings.start()
        self.numbers(4)
        self.thread.run()
        self.assertIs(self.link.state, LOST)
        self.assertEqual((self.take(), len(self.askings)), ([], 4))
        self.link.open([], lambda known: None)
        self.thread.run()
        self.read_all()
        self.assertEqual(self.take(), [(number, [number], NOTHING) for number in (1, 2, 3, 4)])

    def test_nobody_waits_for_one_that_is_lost(self) -> None:
        """Nor for what is at it, whatever comes of that."""
        for error in (None, GONE):
            self.numbers(1, 2)
            if error is not None:
                self.store.fail("rows", error)
            self.askings.start()
            self.numbers(3)
            self.askings.drop()
            self.assertEqual(self.take(), [(number, None, NOTHING) for number in (1, 2, 3)])
            self.assertEqual(len(self.askings), 0)
            self.thread.run()
            self.assertEqual(self.take(), [])
            self.assertFalse(self.askings.ready)

    def test_what_follows_from_no_answer_may_be_a_question(self) -> None:
        self.askings.ask(Asking(ByNumber([1]), lambda *answer: self.numbers(2)))
        self.askings.drop()
        self.read()
        self.assertEqual(self.take(), [(2, [2], NOTHING)])

    def test_one_that_cannot_be_answered(self) -> None:
        """It is given up alone; the others have their answers, in order."""
        self.store.unfindable = {5}
        self.numbers(*range(1, 10))
        self.read_all()
        expected = [(number, [number] if number != 5 else None, NOTHING) for number in range(1, 10)]
        self.assertEqual(self.take(), expected)
        self.clock.advance(UNREADABLE_SECONDS)
        self.assertEqual(self.again, 1)

    def test_one_that_answers_nothing_has_pauses(self) -> None:
        self.store.fail("rows", DAMAGED, times=99)
        self.numbers(*range(1, 40))
        self.assertEqual(self.read_all(), AT_ONCE + 1)
        self.assertTrue(self.pause.running)
        self.clock.advance(PAUSE)
        self.assertEqual(self.turns, 1)
        self.read()
        self.assertFalse(self.askings.ready)
        self.store.mend()
        self.clock.advance(PAUSE)
        self.read_all()
        self.assertEqual(len(self.take()), 39)
