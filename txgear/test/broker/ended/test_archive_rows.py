"""Tests of L{txgear.broker.ended.archive}: of jobs that have ended, and are not in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from txgear.broker.bulk import BATCH
from txgear.broker.history import Aside
from txgear.broker.model import Job, Peer
from txgear.broker.records import DEAD, KEPT, LAST_NUMBER, NAMED, OWN, InLane, Lane
from txgear.broker.records import DEAD as DEAD_KIND
from txgear.broker.rows.wakings import AHEAD, PAGE
from txgear.broker.rows.written import SETTLED
from txgear.policies import Policies, Retention
from txgear.test.support.broker import DurableBrokerTestCase, results_of


class RowsTestCase(DurableBrokerTestCase):
    """@ivar worker: does what is asked for."""

    worker: Peer

    def setUp(self) -> None:
        super().setUp()
        self.worker = self.fixture.worker(b"f", b"g")

    def write(self) -> None:
        """All that has ended is in the store."""
        store = self.broker.store_events
        store.result_stored(list(self.journal.results))
        store.written(list(self.broker.archive.jobs), self.fixture.now)
        self.broker.check()

    def kill(self, count: int, function: bytes = b"f", **rest: Any) -> list[int]:
        """So many die, and are rows; the policy lets them."""
        numbers = []
        for _ in range(count):
            (job,) = self.fixture.store(b"four", function=function, **rest)
            self.fails(self.worker, self.grabbed(self.worker, job))
            numbers.append(job.number)
            self.fixture.pass_time(1)
            self.write()
        return numbers

    def do(self, count: int, **rest: Any) -> list[int]:
        """So many are done, and are rows."""
        numbers = []
        for _ in range(count):
            (job,) = self.fixture.store(b"w", **rest)
            self.complete(self.worker, self.grabbed(self.worker, job))
            numbers.append(job.number)
        self.write()
        return numbers

    def release(self, numbers: Iterable[int]) -> None:
        """Nobody has these in memory any more."""
        jobs = [self.broker.archive.jobs[number] for number in numbers]
        self.broker.stock.release_all(jobs, self.fixture.now)

    def kept(self) -> list[int]:
        """The numbers of what the store has, in the order of the ends."""
        return [record.number for record in sorted(self.journal.kept(), key=lambda each: each.place)]

    def answer(self) -> None:
        self.fixture.answer()
        self.broker.check()


class LeavingTests(RowsTestCase):
    """Which jobs leave the memory, and how they come back."""

    def test_the_store_is_asked_for_their_uniques_only_where_these_may_stay_taken(self) -> None:
        def asks(unique: bytes) -> bool:
            client = self.fixture.connect()
            self.fixture.submit(client, unique=unique)
            asked = bool(self.journal.asking)
            self.broker.disconnect(client, self.fixture.now)
            self.answer()
            return asked

        self.fixture.set(results=60)
        for unique in (b"u", b"v", b"w"):
            self.do(1, unique=unique)
        self.assertTrue(self.broker.lookups.may_hide(b"u"))
        self.assertFalse(asks(b"u"))
        self.fixture.set(results=60, unique_for=60)
        self.assertTrue(asks(b"v"))
        self.fixture.set(results=60)
        self.assertFalse(asks(b"w"))
        self.do(1, unique=b"x", settings={"unique_for": 30})
        self.assertTrue(asks(b"x"))

    def test_they_are_rows_when_the_store_has_all_of_them(self) -> None:
        self.fixture.set(retries=0)
        (job,) = self.fixture.store(b"four", unique=b"u")
        self.fails(self.worker, self.grabbed(self.worker, job))
        self.journal.unsettled.add(job.number)
        self.write()
        self.assertEqual((list(self.broker.archive.jobs), self.broker.archive.rows), ([job.number], 0))
        self.journal.unsettled.clear()
        self.write()
        self.assertEqual((self.broker.archive.jobs, self.broker.archive.rows), ({}, 1))
        self.assertEqual((len(self.broker.archive), self.journal.hidden[b"u"]), (1, 1))
        self.assertEqual((job.function.kept, self.broker.archive.ended.dead(job.function)), (1, 1))

    def test_their_kinds_are_told(self) -> None:
        self.fixture.set(results={"keep": 600, "bytes": 3}, unique_for=600)
        self.do(1, unique=b"u")
        self.fixture.set(results=600)
        self.do(1)
        self.fixture.set()
        self.do(1, settings={"results": 600})
        self.kill(1, settings={"retries": 0})
        kinds = [record.kind for record in self.journal.kept()]
        self.assertEqual(kinds, [NAMED, KEPT, KEPT | OWN, DEAD_KIND | OWN])

    def test_the_results_leave_too(self) -> None:
        self.fixture.set(results=600)
        (number,) = self.do(1)
        self.assertEqual(results_of(self.broker.archive), {})
        self.fixture.recall()
        self.assertEqual(self.brought(self.broker.archive.jobs[number]), b"done")

    def test_those_that_are_set_aside_stay(self) -> None:
        self.fixture.set(retries=0)
        (number,) = self.kill(1)
        self.fixture.recall()
        self.broker.archive.set_aside(self.broker.archive.jobs[number], Aside("r", 1.0, ""))
        self.release([number])
        self.write()
        self.assertEqual((list(self.broker.archive.jobs), self.broker.archive.rows), ([number], 0))

    def test_those_that_are_to_be_forgotten_soon_stay(self) -> None:
        self.fixture.set(results=AHEAD / 2)
        self.do(1)
        self.assertEqual(len(self.broker.archive.jobs), 1)

    def test_a_great_many_are_read_for_that_no_faster_than_they_are_forgotten(self) -> None:
        self.fixture.set(retries=0, dead=600)
        count = PAGE + BATCH
        for job in self.fixture.store(*[b"w"] * count):
            self.fails(self.worker, self.grabbed(self.worker, job))
        for _ in range(0, count, SETTLED):
            self.write()
        self.assertEqual(self.broker.archive.rows, count)
        self.fixture.now += 600
        self.broker.expire(self.fixture.now)
        self.fixture.answer()
        self.assertEqual(len(self.broker.archive.jobs), PAGE)
        self.journal.backlogged = True
        self.broker.expire(self.fixture.now)
        self.assertEqual(len(self.broker.archive.jobs), PAGE)
        self.journal.backlogged = False
        while self.broker.archive.jobs:
            self.assertEqual(self.journal.asking, [])
            self.broker.expire(self.fixture.now)
        self.fixture.answer()
        self.assertEqual((len(self.broker.archive.jobs), self.broker.archive.rows), (BATCH, 0))
        self.fixture.pass_time(1)
        self.assertEqual((len(self.broker.archive), len(self.journal.deleted_all)), (0, count))

    def test_one_that_comes_back_is_what_it_was(self) -> None:
        self.fixture.set(retries=0, dead=600)
        (number,) = self.kill(1, unique=b"u")
        self.fixture.recall()
        job = self.broker.archive.jobs[number]
        self.assertEqual((self.broker.archive.rows, self.journal.hidden[b"u"]), (0, 0))
        self.assertEqual((job.since, job.due), (self.fixture.now - 1, self.fixture.now + 599))
        self.assertEqual(self.brought(job), b"four")
        self.broker.check()
        self.fixture.pass_time(599)
        self.assertEqual(self.broker.archive.jobs, {})

    def test_what_is_moved_comes_last_there(self) -> None:
        self.fixture.set(retries=0)
        number, last = self.kill(2)
        self.fixture.recall()
        self.broker.operations.move(self.broker.archive.jobs[number], b"g", self.fixture.now)
        self.assertEqual(self.kept(), [last, number])
        record = next(record for record in self.journal.kept() if record.number == number)
        self.assertEqual((record.function, record.kind), (b"g", DEAD_KIND))


class BoundsTests(RowsTestCase):
    """There is no more than is to be kept, but for the moment that the store needs."""

    def setUp(self) -> None:
        super().setUp()
        self.fixture.set(retries=0, dead={"keep": 600, "jobs": 3})

    def test_the_oldest_rows_make_room(self) -> None:
        numbers = self.kill(5)
        self.assertEqual((len(self.journal.asking), self.kept()), (1, numbers))
        self.answer()
        self.assertEqual((self.kept(), self.broker.archive.rows), (numbers[2:], 3))

    def test_one_question_at_a_time(self) -> None:
        self.kill(4)
        self.assertEqual(len(self.journal.asking), 1)
        numbers = self.kill(2)
        self.assertEqual(len(self.journal.asking), 1)
        self.answer()
        self.assertEqual(self.kept()[-2:], numbers)
        self.assertEqual(len(self.kept()), 3)

    def test_bounds_that_came_later(self) -> None:
        self.fixture.set(retries=0)
        self.kill(30)
        self.fixture.set(retries=0, dead={"keep": 600, "jobs": 2})
        numbers = self.kill(2)
        self.answer()
        self.assertEqual(self.kept(), numbers)

    def test_by_bytes(self) -> None:
        self.fixture.set(retries=0, dead={"keep": 600, "bytes": 11})
        numbers = self.kill(4)
        self.answer()
        self.assertEqual(self.kept(), numbers[2:])

    def test_of_several_lanes_the_oldest(self) -> None:
        """Be they on the accounts of several, or dead for several reasons."""
        numbers = []
        for name in ("", "one", "two"):
            peer = self.fixture.tenant(name) if name else None
            for _ in range(2):
                job = self.broker.submit(peer, b"f", b"", b"x", self.fixture.now, background=True)
                self.fixture.commit()
                self.grabbed(self.worker, job)
                self.broker.reports.work_exception(self.worker, job.handle, b"no", self.fixture.now)
                numbers.append(job.number)
            self.write()
            numbers += self.kill(1)
        self.answer()
        self.assertEqual(self.kept(), numbers[-3:])

    def test_of_more_lanes_than_are_read_at_once(self) -> None:
        self.fixture.set(retries=0)
        numbers = []
        for index in range(20):
            peer = self.fixture.tenant(f"tenant-{index % 11}")
            job = self.broker.submit(peer, b"f", b"", b"x", self.fixture.now, background=True)
            self.fixture.commit()
            self.fails(self.worker, self.grabbed(self.worker, job))
            numbers.append(job.number)
        self.write()
        self.fixture.set(retries=0, dead={"keep": 600, "jobs": 3})
        numbers += self.kill(1)
        self.answer()
        self.assertEqual(self.kept(), numbers[-3:])

    def test_after_a_start(self) -> None:
        numbers = self.kill(3)
        self.fixture.restart()
        self.worker = self.fixture.worker(b"f")
        self.assertEqual((self.broker.archive.jobs, self.broker.archive.rows), ({}, 3))
        numbers += self.kill(1)
        self.answer()
        self.assertEqual(self.kept(), numbers[1:])

    def test_what_is_in_memory_for_somebody_makes_room_in_its_turn(self) -> None:
        numbers = self.kill(3)
        self.fixture.recall()
        self.release(numbers[1:])
        numbers += self.kill(2)
        self.answer()
        self.assertEqual(self.kept(), numbers[2:])

    def test_one_that_leaves_the_memory_meanwhile_is_the_first(self) -> None:
        numbers = self.kill(3)
        self.fixture.recall()
        self.release(numbers[1:])
        numbers += self.kill(2)
        self.release(numbers[:1])
        self.answer()
        self.assertEqual(self.kept(), numbers[2:])

    def test_a_store_that_does_not_answer(self) -> None:
        """What ends next asks again."""
        numbers = self.kill(4)
        self.journal.asking.pop().done(None, {}, self.fixture.now)
        self.assertEqual(self.journal.asking, [])
        numbers += self.kill(1)
        self.answer()
        self.assertEqual(self.kept(), numbers[2:])

    def test_a_store_that_has_none_of_them(self) -> None:
        """Nobody asks for ever."""
        numbers = self.kill(4)
        for number in numbers:
            self.journal.delete(number)
        self.fixture.answer()
        self.assertEqual((self.journal.asking, self.broker.archive.rows), ([], 4))

    def test_a_unique_that_is_taken_stays_taken(self) -> None:
        self.fixture.set(results={"keep": 600, "jobs": 1}, unique_for=600)
        first, second = self.do(1, unique=b"u") + self.do(1, unique=b"v")
        self.answer()
        self.write()
        kinds = {record.number: record.kind for record in self.journal.kept()}
        self.assertEqual((kinds, self.broker.archive.rows), ({first: NAMED, second: KEPT}, 2))
        self.assertEqual(self.journal.results, {first: b"", second: b"done"})

    def test_the_ceiling_over_all_functions(self) -> None:
        self.fixture.policies = Policies((), ceiling=Retention(600.0, 2))
        self.broker.operations.set_policies(self.fixture.policies, self.fixture.now)
        numbers = self.kill(1, settings={"retries": 0})
        numbers += self.kill(1, function=b"g", settings={"retries": 0})
        numbers += self.do(1, settings={"results": 600})
        self.answer()
        self.assertEqual(self.kept(), numbers[1:])


class OldestTests(RowsTestCase):
    """Who asks for the oldest has them in memory for a moment."""

    def setUp(self) -> None:
        super().setUp()
        self.fixture.set(retries=0)

    def load(self, count: int) -> list[tuple[int | None, list[int]]]:
        said: list[tuple[int | None, list[int]]] = []
        shelf = self.broker.archive.shelf(self.broker.functions.get(b"f"))

        def then(up_to: int | None, now: float) -> None:
            said.append((up_to, [job.number for job in shelf.in_order()]))

        self.broker.archive.load_oldest(shelf.lanes.values(), count, then, self.fixture.now)
        return said

    def test_all_of_them(self) -> None:
        numbers = self.kill(3)
        said = self.load(5)
        self.assertEqual(
            [asking.question for asking in self.journal.asking],
            [InLane(Lane(b"f", "", DEAD), min(self.places(numbers)) - 1, 10)],
        )
        self.answer()
        self.assertEqual(said, [(LAST_NUMBER, numbers)])
        self.assertEqual((self.broker.archive.jobs, self.broker.archive.rows), ({}, 3))

    def test_the_first_of_them(self) -> None:
        numbers = self.kill(12)
        said = self.load(1)
        self.answer()
        self.assertEqual(said, [(self.places(numbers)[9], numbers[:10])])

    def test_none(self) -> None:
        self.assertEqual(self.load(5), [(LAST_NUMBER, [])])

    def test_no_answer(self) -> None:
        self.kill(1)
        said = self.load(5)
        self.journal.asking.pop().done(None, {}, self.fixture.now)
        self.assertEqual(said, [(None, [])])

    def places(self, numbers: Iterable[int]) -> list[int]:
        known = {record.number: record.place for record in self.journal.kept()}
        return [known[number] for number in numbers]


class ReviewsTests(RowsTestCase):
    """A server that starts has what is set aside, and no other."""

    def setUp(self) -> None:
        super().setUp()
        self.fixture.set(retries=0)
        self.numbers = self.kill(3) + self.kill(1, function=b"f", unique=b"u")
        self.fixture.recall()
        for number in (self.numbers[2], self.numbers[0]):
            self.broker.archive.set_aside(self.job(number), Aside("r", 1.0, ""))

    def job(self, number: int) -> Job:
        return self.broker.archive.jobs[number]

    def found(self) -> dict[str, list[int]]:
        return {name: list(found.jobs) for name, found in self.broker.archive.ended.reviews.by_name.items()}

    def test_in_the_order_in_which_it_was(self) -> None:
        self.fixture.restart()
        self.broker.check()
        self.assertEqual(self.found(), {"r": [self.numbers[2], self.numbers[0]]})
        self.assertEqual((len(self.broker.archive.jobs), self.broker.archive.rows), (2, 2))

    def test_at_once(self) -> None:
        """Nobody is told that there are none."""
        self.journal.restart()
        self.fixture = type(self.fixture)(journal=self.journal)
        self.fixture.begin()
        self.broker.check()
        function = self.broker.functions.by_name[b"f"]
        self.assertEqual(self.broker.archive.ended.dead(function), 4)
        self.assertEqual((self.found(), self.journal.asking), ({"r": [self.numbers[2], self.numbers[0]]}, []))
