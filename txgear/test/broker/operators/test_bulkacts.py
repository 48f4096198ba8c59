"""Tests of L{txgear.broker.operators.bulkacts}: what is done to all jobs that a search is for."""

from __future__ import annotations

from collections import Counter
from typing import Any

from txgear.broker.life.operations import PATIENCE, STEPS
from txgear.broker.model import Job, Peer
from txgear.broker.operators.bulkacts import (
    ACTING,
    COUNTING,
    DONE,
    KEPT_SECONDS,
    KINDS,
    LOOKS,
    MOST_ENDED,
    MOST_FAILURES,
    MOST_TASKS,
    STOPPED,
    WAITING,
    BulkAct,
    BulkActs,
    Order,
)
from txgear.broker.operators.bulkshares import Failure, Figures, Share
from txgear.broker.operators.search import OF_DEAD, OF_JOBS, Search
from txgear.broker.records import ByKey
from txgear.broker.rights import CANCEL, FORGET, MOVE, OPERATOR_ACTS, PRIORITISE, REQUEUE, REVIEW, SEE
from txgear.broker.rows.walks import PAGE
from txgear.broker.states import DEAD, QUEUED, RUNNING
from txgear.errors import ServerError
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import HIGH, NORMAL
from txgear.test.support.broker import BrokerFixture, BrokerTestCase, FakeRights
from txgear.test.support.fakejournal import FakeJournal


class BulkActsTestCase(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def begin(self, journal: FakeJournal | None = None) -> None:
        self.fixture = BrokerFixture(journal=journal)
        self.fixture.set(retries=0)
        self.acts = BulkActs(self.broker)
        self.asker = Peer(1, "192.0.2.9")
        self.told: list[tuple[int, str, int]] = []

    def start(self, act: str, of: str = "jobs", **rest: Any) -> BulkAct:
        words = rest.pop("words", {})
        search = Search.parse(words, OF_JOBS if of == "jobs" else OF_DEAD)
        shares = rest.pop("shares", ())
        order = Order(act, of, words, search, **rest)
        return self.acts.start(order, self.asker, self.fixture.now, self.hear, shares)

    def hear(self, act: BulkAct) -> None:
        self.told.append((act.number, act.state, act.matched))

    def submit(self, count: int, function: bytes = b"f", **rest: Any) -> list[Job]:
        return [self.fixture.submit(None, function, **rest) for _ in range(count)]

    def dead(self, count: int) -> list[Job]:
        worker = self.fixture.worker(b"f")
        jobs = self.submit(count, priority=HIGH)
        for job in jobs:
            self.fails(worker, self.grabbed(worker, job))
            self.assertEqual(job.state, DEAD)
        self.fixture.leave(worker)
        return jobs

    def turn(self) -> None:
        """One turn of the broker's."""
        self.broker.expire(self.fixture.now)
        self.broker.check()

    def finish(self, act: BulkAct) -> BulkAct:
        self.fixture.pass_time(1)
        self.assertTrue(act.ended)
        self.broker.check()
        return act

    def counts(self, act: BulkAct) -> tuple[int, ...]:
        return act.total, act.looked_at, act.matched, act.done, act.passed, act.failed


class DoTests(BulkActsTestCase):
    """Each thing that can be done."""

    def test_cancel(self) -> None:
        left = self.submit(1, b"g")
        self.submit(3)
        act = self.finish(self.start(CANCEL, words={"function": b"f"}))
        self.assertEqual(self.counts(act), (4, 4, 3, 3, 0, 0))
        self.assertEqual(list(self.broker.table.jobs.values()), left)
        self.assertEqual(self.told, [(1, ACTING, 3), (1, DONE, 3)])

    def test_requeue_and_forget_the_dead(self) -> None:
        jobs = self.dead(3)
        act = self.finish(self.start(REQUEUE, "dead", words={"text": b""}))
        self.assertEqual((self.counts(act), {job.state for job in jobs}), ((3, 3, 3, 3, 0, 0), {QUEUED}))
        self.finish(self.start(CANCEL))
        self.dead(2)
        self.finish(self.start(FORGET, "dead"))
        self.assertEqual(self.broker.archive.jobs, {})

    def test_forget_what_is_kept(self) -> None:
        dead = self.dead(1)
        self.fixture.set(retries=0, results=60)
        worker = self.fixture.worker(b"f")
        (job,) = self.submit(1)
        self.complete(worker, self.grabbed(worker, job))
        act = self.finish(self.start(FORGET, "kept"))
        self.assertEqual(self.counts(act), (2, 2, 1, 1, 0, 0))
        self.assertEqual(list(self.broker.archive.jobs.values()), dead)

    def test_prioritise(self) -> None:
        dead = self.dead(1)
        jobs = self.submit(2)
        self.finish(self.start(PRIORITISE, priority=HIGH))
        self.finish(self.start(PRIORITISE, "dead", priority=NORMAL))
        self.assertEqual([job.priority for job in jobs + dead], [HIGH, HIGH, NORMAL])

    def test_move(self) -> None:
        jobs = self.submit(3)
        self.finish(self.start(MOVE, function=b"g"))
        self.assertEqual({job.function.name for job in jobs}, {b"g"})
        dead = self.dead(2)
        self.finish(self.start(MOVE, "dead", function=b"g"))
        self.assertEqual({job.function.name for job in dead}, {b"g"})

    def test_set_aside_and_give_back(self) -> None:
        jobs = self.dead(5)
        reviews = self.broker.archive.ended.reviews
        act = self.finish(self.start(REVIEW, "dead", review="r", most=3))
        self.assertEqual(self.counts(act), (5, 5, 5, 3, 0, 0))
        review = reviews.by_name["r"]
        self.assertEqual((list(review.jobs.values()), review.aside.by), (jobs[:3], "192.0.2.9"))
        act = self.finish(self.start(REQUEUE, "dead", words={"function": b"*"}))
        self.assertEqual(self.counts(act), (2, 2, 2, 2, 0, 0))
        act = self.finish(self.start(REVIEW, "dead", words={"review": b"r"}))
        self.assertEqual((self.counts(act), reviews.by_name), ((3, 3, 3, 3, 0, 0), {}))
        act = self.finish(self.start(REVIEW, "dead"))
        self.assertEqual(self.counts(act), (3, 3, 3, 0, 0, 3))
        self.assertEqual(act.failures[0].code, "NOT_REVIEWED")

    def test_what_cannot_be_done_to_such_jobs(self) -> None:
        self.assertTrue(KINDS.keys() <= OPERATOR_ACTS)
        for act, of in ((CANCEL, "dead"), (REQUEUE, "jobs"), (FORGET, "jobs"), (MOVE, "kept")):
            error = self.assertRaises(ServerError, self.start, act, of)
            self.assertEqual(error.code, "INVALID_ARGUMENTS")
        self.assertEqual(self.acts.all(self.fixture.now), [])


class CourseTests(BulkActsTestCase):
    """How it goes."""

    def test_in_pieces(self) -> None:
        """No turn does more than so much, and there is always a progress."""
        jobs = self.submit(STEPS * LOOKS)
        act = self.start(MOVE, function=b"g")
        self.assertEqual((act.state, act.total), (WAITING, len(jobs)))
        seen, turns, changed = [(0, 0)], 0, act.changed
        while not act.ended:
            self.turn()
            turns += 1
            looked, done = act.looked_at - seen[-1][0], act.done - seen[-1][1]
            self.assertGreater(looked + done, 0)
            self.assertTrue(looked <= STEPS * LOOKS and done <= STEPS)
            self.assertGreater(act.changed, changed)
            seen.append((act.looked_at, act.done))
            changed = act.changed
        self.assertEqual(self.counts(act), (len(jobs), len(jobs), len(jobs), len(jobs), 0, 0))
        self.assertGreater(turns, LOOKS)
        self.assertEqual(repr(act), "<BulkAct 1: move jobs, done>")

    def test_a_preview_only_counts(self) -> None:
        jobs = self.submit(3)
        act = self.finish(self.start(CANCEL, preview=True))
        self.assertEqual(self.counts(act), (3, 3, 3, 0, 0, 0))
        self.assertEqual(list(self.broker.table.jobs.values()), jobs)
        self.assertEqual(self.told, [(1, DONE, 3)])

    def test_jobs_that_come_later_are_none_of_them(self) -> None:
        self.submit(3)
        act = self.start(CANCEL)
        later = self.submit(2)
        self.finish(act)
        self.assertEqual((act.done, list(self.broker.table.jobs.values())), (3, later))

    def test_what_has_changed_meanwhile_is_passed_over(self) -> None:
        """One that has ended, and one that is not what was looked for any more; one that was not found."""
        jobs = self.submit(STEPS * LOOKS)
        act = self.start(CANCEL, words={"state": b"queued"})
        while act.state != ACTING:
            self.turn()
        done = act.done
        worker = self.fixture.worker(b"f")
        running = self.fixture.grab(worker)
        assert running is not None
        self.fixture.cancel(jobs[-1])
        self.finish(act)
        self.assertEqual((running.state, act.passed, act.done), (RUNNING, 2, len(jobs) - 2))
        self.assertLess(done, len(jobs))

    def test_one_that_ends_before_it_is_looked_at(self) -> None:
        jobs = self.submit(3)
        act = self.start(CANCEL)
        self.fixture.cancel(jobs[1])
        self.finish(act)
        self.assertEqual(self.counts(act), (3, 3, 2, 2, 0, 0))

    def test_what_fails_is_counted_and_the_first_are_told(self) -> None:
        self.fixture.worker(b"f")
        worker = self.fixture.worker(b"f")
        jobs = self.submit(MOST_FAILURES + 5)
        running = self.fixture.grab_all(worker)
        self.assertEqual(running, jobs)
        act = self.finish(self.start(MOVE, function=b"g"))
        self.assertEqual(self.counts(act)[3:], (0, 0, len(jobs)))
        self.assertEqual(len(act.failures), MOST_FAILURES)
        self.assertEqual(act.failures[0], Failure(jobs[0].handle, "RUNNING", "A worker has the job"))

    def test_it_is_stopped(self) -> None:
        """Before it begins, while it counts, and half-way; what is done stays done."""
        count = 2 * STEPS * LOOKS
        for state, turns in ((WAITING, 0), (COUNTING, 1), (ACTING, 20)):
            self.begin()
            self.submit(count)
            act = self.start(CANCEL)
            for _ in range(turns):
                self.turn()
            self.assertEqual(act.state, state)
            self.assertTrue(self.acts.stop(act, self.fixture.now))
            self.assertFalse(self.acts.stop(act, self.fixture.now))
            done = act.done
            self.fixture.pass_time(1)
            self.assertEqual((act.state, act.done), (STOPPED, done))
            self.assertEqual(len(self.broker.table.jobs), count - done)
            self.assertEqual(self.told[-1], (1, STOPPED, act.matched))

    def test_others_have_their_turn(self) -> None:
        self.submit(8 * STEPS)
        long = self.start(CANCEL)
        short = self.start(CANCEL, words={"function": b"nobody"}, preview=True)
        while not short.ended:
            self.turn()
        self.assertFalse(long.ended)

    def test_it_waits_for_the_store(self) -> None:
        journal = FakeJournal()
        self.begin(journal)
        self.submit(3)
        self.fixture.commit()
        journal.backlogged = True
        act = self.start(MOVE, function=b"g")
        self.fixture.pass_time(1)
        self.assertEqual(act.state, WAITING)
        journal.backlogged = False
        self.finish(act)
        self.assertEqual([change.function for change in journal.changes], [b"g"] * 3)

    def test_none_at_all(self) -> None:
        act = self.finish(self.start(CANCEL))
        self.assertEqual((self.counts(act), act.state), ((0, 0, 0, 0, 0, 0), DONE))


class SharesTests(BulkActsTestCase):
    """What other servers do of an act."""

    def test_it_is_over_when_they_have_ended(self) -> None:
        self.submit(3)
        shares = [Share("a"), Share("b")]
        act = self.start(CANCEL, shares=shares)
        self.assertEqual(act.stage, WAITING)
        self.finish(act)
        self.assertEqual((act.state, act.stage, act.over), (DONE, COUNTING, 0.0))
        for share in shares:
            share.figures, share.counted = Figures(5, 4, 3, 2, 1, 1), True
        self.assertEqual(act.stage, ACTING)
        self.assertEqual(act.figures, Figures(13, 11, 9, 7, 2, 2))
        shares[0].end(self.fixture.now + 1)
        self.assertEqual((act.stage, act.over), (ACTING, 0.0))
        shares[1].end(self.fixture.now + 2)
        self.assertEqual((act.stage, act.over), (DONE, self.fixture.now + 2))

    def test_a_preview(self) -> None:
        share = Share("a")
        act = self.finish(self.start(CANCEL, preview=True, shares=[share]))
        self.assertEqual((act.stage, act.is_counted), (COUNTING, False))
        share.counted = True
        self.assertEqual((act.stage, act.is_counted), (COUNTING, True))
        share.end(self.fixture.now, "it is gone")
        self.assertEqual(act.stage, DONE)

    def test_one_that_fails_is_counted(self) -> None:
        share = Share("a")
        act = self.finish(self.start(CANCEL, shares=[share]))
        self.assertFalse(act.is_counted)
        share.end(self.fixture.now, "it is gone")
        self.assertTrue(act.is_counted)

    def test_it_is_stopped_where_it_has_not_ended(self) -> None:
        share = Share("a")
        act = self.finish(self.start(CANCEL, shares=[share]))
        self.assertTrue(self.acts.stop(act, self.fixture.now))
        self.assertEqual((act.stage, act.over), (STOPPED, 0.0))
        share.end(self.fixture.now)
        self.assertFalse(self.acts.stop(act, self.fixture.now))

    def test_failures(self) -> None:
        share = Share("a")
        share.failures = [Failure(b"H:b:%d" % number, "RUNNING", "x") for number in range(MOST_FAILURES)]
        job = self.submit(1)[0]
        act = self.start(CANCEL, shares=[share])
        act.fail(job, ServerError("y", "Y"))
        self.assertEqual(act.all_failures, [Failure(job.handle, "Y", "y"), *share.failures[:-1]])

    def test_it_is_known_until_all_have_ended(self) -> None:
        share = Share("a")
        act = self.finish(self.start(CANCEL, shares=[share]))
        self.assertIs(self.acts.find(act.number, self.fixture.now + 2 * KEPT_SECONDS), act)
        share.end(self.fixture.now)
        self.assertIsNone(self.acts.find(act.number, self.fixture.now + 2 * KEPT_SECONDS))


class RightsTests(BulkActsTestCase):
    """They are asked for each job at its turn."""

    def test_what_may_not_be_known_is_not_there(self) -> None:
        """It is not counted either, however it is looked for."""
        self.asker.rights = FakeRights((SEE, b"g"))
        gone, *_ = self.submit(3)
        left = self.submit(2, b"g")
        act = self.start(CANCEL)
        self.assertEqual(act.total, 0)
        self.fixture.cancel(gone)
        self.finish(act)
        self.assertEqual(
            (self.counts(act), list(self.broker.table.jobs.values())), ((2, 2, 2, 2, 0, 0), left)
        )
        self.fixture.submit(None, b"g", unique=b"u")
        act = self.finish(self.start(CANCEL, words={"unique": b"u"}))
        self.assertEqual(self.counts(act), (0, 0, 0, 0, 0, 0))

    def test_what_may_not_be_done_fails(self) -> None:
        self.asker.rights = FakeRights((MOVE, b"g"))
        self.submit(1)
        left = self.submit(1, b"g")
        act = self.finish(self.start(MOVE, function=b"h"))
        self.assertEqual((act.done, act.failed), (1, 1))
        self.assertEqual(act.failures[0].code, "ACCESS_DENIED")
        self.asker.rights = FakeRights((MOVE, b"h"))
        act = self.finish(self.start(MOVE, words={"function": b"g"}, function=b"h"))
        self.assertEqual((act.failed, left[0].function.name), (1, b"g"))

    def test_they_may_change_while_jobs_are_counted(self) -> None:
        self.submit(2 * STEPS * LOOKS)
        self.submit(1, b"g")
        act = self.start(CANCEL, preview=True)
        while not act.matched:
            self.turn()
        self.assertEqual(act.state, COUNTING)
        self.asker.rights = FakeRights((SEE, b"g"))
        self.finish(act)
        self.assertEqual((act.looked_at, act.matched), (2 * STEPS * LOOKS + 1, 2 * STEPS * LOOKS))

    def test_they_may_change_meanwhile(self) -> None:
        self.submit(2 * STEPS)
        self.submit(1, b"g")
        act = self.start(CANCEL)
        while not act.done:
            self.turn()
        self.asker.rights = FakeRights((CANCEL, b"f"), (SEE, b"g"))
        self.finish(act)
        self.assertEqual(act.failed, 2 * STEPS - act.done)
        self.assertEqual(act.passed, 1)


class KnownTests(BulkActsTestCase):
    """How many there may be, and for how long they are known."""

    def test_so_many_at_once(self) -> None:
        acts = [self.start(CANCEL) for _ in range(MOST_TASKS)]
        error = self.assertRaises(ServerError, self.start, CANCEL)
        self.assertEqual(error.code, "TOO_MANY_TASKS")
        self.acts.stop(acts[0], self.fixture.now)
        self.start(CANCEL)
        self.assertEqual(len(self.acts.all(self.fixture.now)), MOST_TASKS + 1)

    def test_for_so_long(self) -> None:
        act = self.finish(self.start(CANCEL))
        self.fixture.pass_time(KEPT_SECONDS - 2)
        self.assertIs(self.acts.find(1, self.fixture.now), act)
        self.assertIsNone(self.acts.find(2, self.fixture.now))
        self.fixture.pass_time(2)
        self.assertIsNone(self.acts.find(1, self.fixture.now))
        self.assertEqual(self.acts.all(self.fixture.now), [])

    def test_so_many_that_have_ended(self) -> None:
        for _ in range(MOST_ENDED + 3):
            self.finish(self.start(CANCEL))
        numbers = [act.number for act in self.acts.all(self.fixture.now)]
        self.assertEqual(numbers, list(range(4, MOST_ENDED + 4)))

    def test_nobody_need_be_told(self) -> None:
        act = self.acts.start(Order(CANCEL, "jobs", {}, Search()), self.asker, self.fixture.now)
        self.finish(act)

    def test_it_ends_once(self) -> None:
        act = self.start(CANCEL)
        act.end(STOPPED, self.fixture.now)
        act.end(DONE, self.fixture.now + 1)
        self.assertEqual((act.state, act.ended, self.told), (STOPPED, self.fixture.now, [(1, STOPPED, 0)]))


class RowsTests(BulkActsTestCase):
    """Nearly all of the jobs are in the store only."""

    def begin(self, journal: FakeJournal | None = None) -> None:
        self.journal = journal or FakeJournal()
        self.fixture = BrokerFixture(journal=self.journal, queue_memory=0)
        settings = {"retries": 0, "results": "1h", "dead": "1h"}
        self.fixture.policies = Policies([("*", CLASSIC.with_settings(settings))])
        self.broker.operations.set_policies(self.fixture.policies, self.fixture.now)
        self.acts = BulkActs(self.broker)
        self.asker = Peer(1, "192.0.2.9")
        self.told = []

    def fill(self, count: int, function: bytes = b"f", **rest: Any) -> list[int]:
        """The numbers of so many jobs."""
        jobs = self.fixture.store(*(b"w" for _ in range(count)), function=function, **rest)
        self.fixture.answer()
        return [job.number for job in jobs]

    def ended(self, count: int, function: bytes = b"f") -> list[int]:
        """The numbers of so many dead ones."""
        worker = self.fixture.worker(function)
        numbers = []
        for _ in range(count):
            self.fill(1, function)
            job = self.fixture.grab(worker)
            assert job is not None
            self.fails(worker, job)
            numbers.append(job.number)
            self.broker.stock.settle(job, self.fixture.now)
        self.fixture.leave(worker)
        self.assertEqual(len(self.broker.archive.jobs), 0)
        return numbers

    def go_on(self, act: BulkAct) -> BulkAct:
        """To its end."""
        for _ in range(200):
            self.fixture.pass_time(0)
            self.fixture.answer()
            if self.journal.loading is not None:
                self.fixture.read()
            if act.ended:
                return act
        raise AssertionError("it does not end")

    def figures(self, act: BulkAct) -> tuple[int, int, int, int]:
        return act.matched, act.done, act.passed, act.failed

    def left(self) -> int:
        return len(self.broker.table)

    def test_cancel(self) -> None:
        self.fill(PAGE + 10)
        self.fill(3, b"g")
        self.fixture.submit(None, b"f", workload=b"w", delay=9999.0)
        self.fixture.commit()
        act = self.go_on(self.start(CANCEL, words={"function": b"f"}, preview=True))
        self.assertEqual(
            (self.figures(act), act.counted, self.left()), ((PAGE + 11, 0, 0, 0), True, PAGE + 14)
        )
        self.assertEqual((act.total, act.looked_at), (PAGE + 12, PAGE + 12))
        act = self.go_on(self.start(CANCEL, words={"function": b"f"}))
        self.assertEqual((self.figures(act), self.left()), ((PAGE + 11, PAGE + 11, 0, 0), 3))

    def test_by_state_and_unique(self) -> None:
        self.fill(3)
        self.fixture.submit(None, b"f", b"u", workload=b"w", delay=9999.0)
        self.fixture.commit()
        for words, matched in (
            ({"state": b"waiting"}, 1),
            ({"state": b"running"}, 0),
            ({"worker": b"w"}, 0),
            ({"unique": b"u"}, 1),
            ({"unique": b"v"}, 0),
            ({"unique": b"-"}, 0),
            ({"function": b"g"}, 0),
        ):
            act = self.go_on(self.start(CANCEL, words=words, preview=True))
            self.assertEqual(act.matched, matched, words)

    def test_what_is_prioritised_or_moved_comes_once(self) -> None:
        self.fill(4)
        self.fill(2, b"g")
        act = self.go_on(self.start(PRIORITISE, priority=HIGH))
        self.assertEqual(self.figures(act), (6, 6, 0, 0))
        act = self.go_on(self.start(MOVE, function=b"g"))
        self.assertEqual(self.figures(act), (6, 4, 0, 2))
        self.assertEqual(self.broker.functions.by_name[b"g"].total, 6)

    def named(self, function: bytes, *uniques: bytes, waited_for: bool = False) -> None:
        """Jobs with uniques: rows, unless somebody waits for them."""
        self.fill(2, function)
        for unique in uniques:
            self.fixture.submit(None, function, unique, b"w")
            self.fixture.answer()
            if waited_for:
                self.fixture.submit(self.client, function, unique, b"w")
            self.fixture.commit()
            self.fixture.answer()

    def moved(self, waited_for: bool = False) -> BulkAct:
        """Jobs of two functions, of which some have the uniques of others, are moved to that of these."""
        self.client = self.fixture.connect()
        self.named(b"g", b"u", b"v")
        self.named(b"f", b"u", b"w", b"x", waited_for=waited_for)
        self.named(b"e", b"v", b"w", waited_for=waited_for)
        return self.start(MOVE, function=b"g")

    def assert_moved(self, act: BulkAct) -> None:
        self.assertEqual(
            sorted(failure.code for failure in act.failures), ["SAME_FUNCTION"] * 4 + ["UNIQUE_TAKEN"] * 3
        )
        there = [record.unique for record in self.journal.kept() if record.function == b"g"]
        uniques = Counter(unique for unique in there if unique)
        self.assertEqual(uniques, {b"u": 1, b"v": 1, b"w": 1, b"x": 1})
        self.assertEqual((self.figures(act), self.broker.stock.held), ((13, 6, 0, 7), {}))

    def test_one_is_not_moved_to_where_there_is_one_of_its_name(self) -> None:
        """Wherever the two are."""
        for waited_for in (False, True):
            self.begin()
            self.assert_moved(self.go_on(self.moved(waited_for)))

    def until_those_are_asked_for(self, act: BulkAct) -> None:
        """The store is asked for jobs by their uniques."""
        for _ in range(200):
            self.fixture.pass_time(0)
            if self.journal.asking:
                if isinstance(self.journal.asking[0].question, ByKey):
                    break
                self.journal.answer(self.fixture.now)
        self.assertEqual((act.state, bool(self.journal.asking)), (ACTING, True))

    def test_whether_there_is_one_of_its_name_is_asked_again(self) -> None:
        for waited_for in (False, True):
            self.begin()
            act = self.moved(waited_for)
            self.until_those_are_asked_for(act)
            self.journal.asking.pop(0).done(None, {}, self.fixture.now)
            self.fixture.pass_time(PATIENCE)
            self.assert_moved(self.go_on(act))

    def test_it_is_stopped_while_others_are_looked_for(self) -> None:
        for waited_for in (False, True):
            self.begin()
            act = self.moved(waited_for)
            self.until_those_are_asked_for(act)
            before = self.figures(act)
            self.acts.stop(act, self.fixture.now)
            self.fixture.answer()
            self.fixture.pass_time(PATIENCE)
            self.assertEqual((self.figures(act), self.broker.stock.held), (before, {}))

    def test_later_ones_are_none_of_them(self) -> None:
        self.fill(3)
        act = self.start(CANCEL)
        self.fill(2)
        self.go_on(act)
        self.assertEqual((self.figures(act), self.left()), ((3, 3, 0, 0), 2))

    def test_requeue_and_forget_the_dead(self) -> None:
        self.ended(3)
        self.ended(2, b"g")
        act = self.go_on(self.start(REQUEUE, "dead", words={"function": b"g"}))
        self.assertEqual((self.figures(act), self.left()), ((2, 2, 0, 0), 2))
        act = self.go_on(self.start(FORGET, "dead", words={"reason": b"timeout"}))
        self.assertEqual(self.figures(act), (0, 0, 0, 0))
        act = self.go_on(self.start(FORGET, "dead"))
        self.assertEqual((self.figures(act), len(self.broker.archive)), ((3, 3, 0, 0), 0))

    def test_so_many_are_set_aside(self) -> None:
        self.ended(4)
        act = self.go_on(self.start(REVIEW, "dead", review="r", most=3))
        self.assertEqual(self.figures(act), (4, 3, 0, 0))
        self.assertEqual(len(self.broker.archive.ended.reviews.by_name["r"].jobs), 3)

    def test_one_that_is_in_memory_only_while_it_is_counted(self) -> None:
        self.fill(3)
        self.broker.stock.load_handles([b"H:test:3"], self.hold_third, self.fixture.now)
        self.fixture.answer()
        act = self.start(CANCEL)
        self.fixture.pass_time(0)
        self.assertEqual((act.state, act.matched), (COUNTING, 2))
        self.broker.stock.release(self.broker.table.jobs[3], self.fixture.now)
        self.assertNotIn(3, self.broker.table.jobs)
        self.go_on(act)
        self.assertEqual((self.figures(act), self.left()), ((3, 3, 0, 0), 0))

    def test_one_that_leaves_the_memory_before_it_is_counted(self) -> None:
        """It is looked at once: among those that only the store has."""
        self.fill(3)
        self.broker.stock.load_handles([b"H:test:3"], self.hold_third, self.fixture.now)
        self.fixture.answer()
        act = self.start(CANCEL)
        self.assertIn(3, self.broker.table.jobs)
        self.broker.stock.release(self.broker.table.jobs[3], self.fixture.now)
        self.assertNotIn(3, self.broker.table.jobs)
        self.go_on(act)
        self.assertEqual((self.counts(act), self.left()), ((3, 3, 3, 3, 0, 0), 0))

    def hold_third(self, answered: bool, now: float) -> None:
        self.broker.stock.hold(self.broker.table.jobs[3])

    def test_what_is_gone_meanwhile_is_passed_over(self) -> None:
        self.fill(3)
        act = self.start(CANCEL)
        while act.state != ACTING:
            self.fixture.pass_time(0)
            if act.state != ACTING:
                self.fixture.answer()
        self.broker.stock.load_handles([b"H:test:3"], self.cancel_third, self.fixture.now)
        # That is answered first.
        self.journal.asking.insert(0, self.journal.asking.pop())
        self.fixture.answer()
        self.go_on(act)
        self.assertEqual((self.figures(act), self.left()), ((3, 2, 1, 0), 0))

    def cancel_third(self, answered: bool, now: float) -> None:
        self.assertTrue(self.broker.operations.cancel(b"H:test:3", now))

    def test_the_store_does_not_answer_for_a_while(self) -> None:
        self.fill(3)
        act = self.start(CANCEL)
        for _ in range(2):
            while not self.journal.asking:
                self.fixture.pass_time(0)
            while self.journal.asking:
                self.journal.asking.pop(0).done(None, {}, self.fixture.now)
            self.fixture.pass_time(PATIENCE)
            if act.state == COUNTING:
                self.fixture.answer()
        self.fixture.pass_time(PATIENCE)
        self.go_on(act)
        self.assertEqual((self.figures(act), self.left()), ((3, 3, 0, 0), 0))

    def test_it_is_stopped(self) -> None:
        for state in (COUNTING, ACTING):
            self.begin()
            self.fill(3)
            act = self.start(CANCEL)
            while act.state != state or not self.journal.asking:
                self.fixture.pass_time(0)
                if act.state != state:
                    self.fixture.answer()
            self.acts.stop(act, self.fixture.now)
            self.fixture.answer()
            self.fixture.pass_time(1)
            self.assertEqual((act.state, self.left() > 1), (STOPPED, True))

    def test_of_which_one_may_know(self) -> None:
        self.fill(3)
        self.fill(2, b"g")
        self.asker.rights = FakeRights((SEE, b"g"))
        act = self.go_on(self.start(CANCEL))
        self.assertEqual((self.figures(act), act.total, act.looked_at), ((3, 3, 0, 0), 3, 3))
