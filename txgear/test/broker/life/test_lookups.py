"""Tests of L{txgear.broker.life.lookups}: submits of what only the store has."""

from __future__ import annotations

from typing import Any

from txgear.broker.history import History
from txgear.broker.model import AskedReply, Job, Peer, Reply
from txgear.broker.ports import Asking
from txgear.broker.records import KEPT, SCHEDULED, ByKey, InLane, StoredValue
from txgear.broker.rights import SEE
from txgear.broker.states import CANCELLED, DELAYED, DONE, PAGED, STORING
from txgear.broker.tenants import Quota
from txgear.errors import QUEUE_FULL, STORE_UNAVAILABLE, QueueError
from txgear.protocol.constants import ERROR, JOB_CREATED, WORK_COMPLETE, WORK_FAIL
from txgear.test.support.broker import DurableBrokerTestCase, Heard, record
from txgear.test.support.clock import START

UNAVAILABLE: Heard = (ERROR, b"QUEUE_ERROR", b"The store is away")


class LookupTestCase(DurableBrokerTestCase):
    """
    There is no room for any job in memory.

    @ivar client: a peer.
    """

    queue_memory = 0

    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()

    def row(self, unique: bytes = b"u", function: bytes = b"f", **rest: Any) -> int:
        """
        A job that only the store has.

        @return: its number.
        """
        if function not in self.broker.functions.by_name or not self.broker.functions.get(function).total:
            # The first of a lane is in memory, and so is the first behind that.
            for _ in range(2):
                self.fixture.submit(None, function, workload=b"work")
                self.fixture.commit()
        job = self.fixture.submit(None, function, unique, **{"workload": b"work", **rest})
        # One of another function may have the same name.
        self.fixture.answer()
        self.fixture.commit()
        self.fixture.answer()
        self.assertNotIn(job.number, self.broker.table.jobs)
        return job.number

    def asked(self, client: Peer | None, unique: bytes = b"u", **rest: Any) -> tuple[Job, Reply]:
        """
        A submit of which the store is asked whether it is a new one.

        @return: the job, and the reply that waits for that.
        """
        job = self.fixture.submit(client, unique=unique, **rest)
        assert isinstance(job.reply, AskedReply)
        self.assertEqual((job.state, job.reply.asked, job.reply.packet), (STORING, True, None))
        return job, job.reply

    def joined(self, client: Peer | None, **rest: Any) -> Reply:
        """One more submit of the same."""
        job = self.fixture.submit(client, unique=b"u", **rest)
        assert job.reply is not None
        return job.reply

    def mistaken(self, unique: bytes = b"u") -> None:
        """The journal takes this for hidden, though no job has it."""
        self.row(b"other")
        self.journal.hide(unique)

    def assert_counted(self, why: str, refused: int) -> None:
        """So many were refused, as if that had been known when they came; those that are there were taken."""
        table, counts = self.broker.table, self.broker.functions.get(b"f").counts
        self.assertEqual((counts.submitted, counts.failed), (len(table.jobs) + table.rows, {}))
        self.assertEqual(counts.refused, {why: refused})

    def answer(self) -> None:
        """The question by a key is answered."""
        (asking,) = (asking for asking in self.journal.asking if isinstance(asking.question, ByKey))
        self.journal.asking.remove(asking)
        self.journal.asking.insert(0, asking)
        self.journal.answer(self.fixture.now)

    def in_lane(self) -> None:
        """What is asked of lanes is answered."""
        for asking in [asking for asking in self.journal.asking if isinstance(asking.question, InLane)]:
            self.journal.asking.remove(asking)
            self.journal.asking.insert(0, asking)
            self.journal.answer(self.fixture.now)

    def in_vain(self) -> Asking:
        """The store does not answer the question by a key."""
        (asking,) = (asking for asking in self.journal.asking if isinstance(asking.question, ByKey))
        self.journal.asking.remove(asking)
        asking.done(None, {}, self.fixture.now)
        return asking

    def created(self, number: int) -> Heard:
        return JOB_CREATED, b"H:test:%d" % number

    def held(self, number: int) -> Job:
        """The job with this number, which is in memory."""
        return self.broker.table.jobs[number]


class FoundTests(LookupTestCase):
    """The store has it."""

    def test_a_background_submit(self) -> None:
        number = self.row()
        submitted = self.broker.functions.get(b"f").counts.submitted
        job, reply = self.asked(None)
        self.answer()
        self.assertEqual(reply.packet, self.created(number))
        self.assertEqual((job.state, job.reply, self.journal.adding), (CANCELLED, None, []))
        self.assertEqual((self.journal.deleted, self.journal.updates), ([], []))
        counts = self.broker.functions.get(b"f").counts
        self.assertEqual((counts.submitted, counts.joined), (submitted, 1))
        # It is let go of again, once those have their answers who have asked.
        self.assertIn(number, self.broker.table.jobs)
        self.fixture.pass_time(0)
        self.assertNotIn(number, self.broker.table.jobs)
        self.assertEqual(len(self.broker.table), 3)

    def test_a_foreground_submit_waits_for_it(self) -> None:
        number = self.row()
        _, reply = self.asked(self.client)
        self.answer()
        found = self.held(number)
        self.assertEqual((reply.packet, self.client.attached), (self.created(number), {found: None}))
        self.fixture.pass_time(0)
        self.assertIs(self.held(number), found)
        worker = self.fixture.worker(b"f")
        while not found.ended:
            self.fixture.answer()
            if self.journal.loading:
                self.fixture.read()
            for job in self.fixture.grab_all(worker):
                self.complete(worker, job, b"done")
        self.assertIn((WORK_COMPLETE, b"H:test:%d" % number, b"done"), self.fixture.heard(self.client))

    def test_its_lane_is_read_meanwhile(self) -> None:
        """So it is in memory before the question is answered."""
        number = self.row(workload=b"")
        _, reply = self.asked(None, workload=b"")
        worker = self.fixture.worker(b"f")
        while number not in self.broker.table.jobs:
            if self.journal.loading is not None:
                self.broker.store_events.loaded(self.journal.fetch(), self.fixture.now)
            for job in self.fixture.grab_all(worker):
                self.complete(worker, job, b"done")
            self.in_lane()
        self.assertEqual((reply.packet, self.journal.adding), (self.created(number), []))
        self.answer()
        self.assertEqual([job.number for job in self.fixture.grab_all(worker)], [number])

    def test_all_who_join_meanwhile(self) -> None:
        number = self.row()
        other = self.fixture.connect()
        _, reply = self.asked(self.client)
        replies = [self.joined(None), self.joined(other), self.joined(self.client), self.joined(None)]
        self.assertEqual(replies, [reply] * 4)
        self.assertEqual(len(self.journal.asking), 1)
        self.answer()
        self.assertEqual(reply.packet, self.created(number))
        self.assertEqual(list(self.held(number).clients), [self.client, other, self.client])
        self.assertEqual(self.broker.functions.get(b"f").counts.joined, 5)
        self.assertEqual(self.journal.adding, [])

    def test_by_the_workload(self) -> None:
        number = self.row(b"-", workload=b"same")
        _, reply = self.asked(None, b"-", workload=b"same")
        self.answer()
        self.assertEqual(reply.packet, self.created(number))

    def test_one_of_another_function_is_another(self) -> None:
        self.row(function=b"g")
        job, reply = self.asked(None)
        self.answer()
        self.fixture.commit()
        self.assertEqual(reply.packet, self.created(job.number))

    def test_it_comes_into_memory_meanwhile(self) -> None:
        number = self.row()
        _, reply = self.asked(self.client)
        self.broker.stock.load_handles([b"H:test:%d" % number], lambda ok, now: None, self.fixture.now)
        while self.journal.asking[0].question == ByKey((b"u",)):
            self.journal.asking.append(self.journal.asking.pop(0))
        self.journal.answer(self.fixture.now)
        self.assertEqual(
            (reply.packet, self.client.attached), (self.created(number), {self.held(number): None})
        )
        self.answer()
        self.assertEqual(list(self.held(number).clients), [self.client])

    def test_its_turn_comes_meanwhile(self) -> None:
        """It is read ahead, as many are."""
        number = self.row()
        _, reply = self.asked(None)
        asked = self.journal.asking.pop(0)
        worker = self.fixture.worker(b"f")
        for _ in range(100):
            self.fixture.answer()
            if self.journal.loading:
                self.fixture.read()
            for job in self.fixture.grab_all(worker):
                self.complete(worker, job)
        self.assertEqual(reply.packet, self.created(number))
        asked.done([], {}, self.fixture.now)
        self.assertEqual(self.journal.adding, [])

    def test_it_ends_meanwhile(self) -> None:
        """What the store answers is what was."""
        number = self.row()
        _, reply = self.asked(None)
        found: list[bool] = []
        handle = b"H:test:%d" % number

        def cancel(ok: bool, now: float) -> None:
            found.append(self.broker.operations.cancel(handle, now))

        self.broker.stock.load_handles([handle], cancel, self.fixture.now)
        self.journal.asking.reverse()
        self.journal.answer(self.fixture.now)
        # Whoever submitted it had joined it by then.
        self.assertEqual((found, reply.packet), ([True], self.created(number)))

    def test_it_has_ended_and_that_is_on_its_way(self) -> None:
        number = self.row()
        job, reply = self.asked(None)
        self.journal.unsettled.add(number)
        self.answer()
        self.journal.unsettled.clear()
        self.fixture.commit()
        self.assertEqual(reply.packet, self.created(job.number))

    def test_a_full_queue_has_room_for_what_is_there(self) -> None:
        number = self.row()
        self.fixture.set(max_queue=2)
        _, reply = self.asked(None)
        self.answer()
        self.assertEqual(reply.packet, self.created(number))
        self.assertEqual(len(self.broker.table), 3)

    def test_so_has_a_quota(self) -> None:
        owner = self.fixture.tenant("amy")
        self.fixture.quotas(amy=Quota(queued=1))
        self.fixture.submit(None)
        job = self.broker.submit(owner, b"f", b"u", b"", self.fixture.now, background=True)
        self.fixture.commit()
        self.fixture.answer()
        reply = self.broker.submit(owner, b"f", b"u", b"", self.fixture.now, background=True).reply
        assert reply is not None
        self.answer()
        self.assertEqual(reply.packet, self.created(job.number))

    def test_who_may_not_know_of_it(self) -> None:
        """Each of those who wait has rights of its own."""
        number = self.row()
        denied: list[tuple[Peer, str]] = []
        self.broker.lookups.denied = lambda peer, error: denied.append((peer, error.text))
        stranger = self.fixture.tenant("eve", (SEE, b"f"))
        job = self.broker.submit(stranger, b"f", b"u", b"", self.fixture.now)
        self.assertEqual(job.tenant, stranger.tenant)
        reply = self.joined(self.client)
        self.answer()
        self.assertEqual(reply.packet, self.created(number))
        text = "You are not allowed to: see f"
        self.assertEqual([peer for peer, _ in denied], [stranger])
        assert reply.others is not None
        self.assertEqual(reply.others[stranger][:2], (ERROR, b"ACCESS_DENIED"))
        self.assertIn(denied[0][1], text + denied[0][1])
        self.assertEqual((stranger.attached, list(self.held(number).clients)), ({}, [self.client]))
        self.assertEqual(self.broker.functions.get(b"f").counts.joined, 1)

    def test_those_who_look_at_it_see_it_cancelled(self) -> None:
        self.row()
        job, _ = self.asked(None)
        told = self.outcome(job)
        self.answer()
        self.assertEqual(told, [(CANCELLED, b"", b"", True)])

    def test_of_a_schedule(self) -> None:
        """That it has run is kept without the job."""
        self.row()
        self.asked(None, schedule=(b"s", 5.0))
        self.joined(None, schedule=(b"t", 6.0))
        self.assertEqual(self.journal.stored_values, {})
        self.answer()
        self.assertEqual(
            list(self.journal.stored_values.values()),
            [StoredValue(SCHEDULED, b"s", 5.0), StoredValue(SCHEDULED, b"t", 6.0)],
        )

    def test_while_the_server_drains(self) -> None:
        number = self.row()
        _, reply = self.asked(None)
        self.fixture.drain()
        self.fixture.pass_time(0)
        self.answer()
        self.assertEqual((reply.packet, self.held(number).state), (self.created(number), DELAYED))


class DoneTests(LookupTestCase):
    """The store has one that is done, and its unique is taken for a while."""

    def setUp(self) -> None:
        super().setUp()
        self.fixture.set(unique_for=100.0, results={"keep": 100.0})
        history = History()
        history.result_size, history.complete = 4, True
        self.number = 50
        ended = record(
            self.number,
            unique=b"u",
            state=DONE,
            ended=START,
            due=START + 100,
            size=4,
            kind=KEPT,
            history=history.to_bytes(),
        )
        self.journal.put(ended)
        self.journal.results[self.number] = b"done"
        self.fixture.begin()
        self.journal.hide(b"u")
        self.assertEqual((self.broker.archive.rows, len(self.broker.archive.jobs)), (1, 0))

    def test_a_background_submit(self) -> None:
        _, reply = self.asked(None)
        self.answer()
        self.assertEqual(reply.packet, self.created(self.number))
        self.assertEqual((len(self.broker.table), self.journal.adding), (0, []))

    def test_those_who_wait_get_its_result(self) -> None:
        _, reply = self.asked(self.client)
        self.joined(self.client)
        self.joined(None)
        self.answer()
        self.journal.answer_readings()
        self.assertEqual((reply.packet, self.client.attached), (self.created(self.number), {}))
        answer = WORK_COMPLETE, b"H:test:%d" % self.number, b"done"
        self.assertEqual(self.fixture.heard(self.client), [answer] * 2)

    def test_its_time_is_over(self) -> None:
        self.fixture.now += 100
        job, reply = self.asked(None)
        self.answer()
        self.fixture.commit()
        self.assertEqual(reply.packet, self.created(job.number))

    def test_it_is_found(self) -> None:
        found: list[Job | None] = []

        def then(ok: bool, now: float) -> None:
            found.extend(self.broker.named(function, b"u") for function in (b"", b"f", b"g"))
            found.append(self.broker.named(b"f", b"u", lambda job: False))

        self.broker.lookups.load((b"u",), then, self.fixture.now)
        self.answer()
        self.assertEqual([job and job.number for job in found], [self.number, self.number, None, None])


class NewTests(LookupTestCase):
    """The store does not have it."""

    def test_a_background_submit_is_stored(self) -> None:
        self.mistaken()
        job, reply = self.asked(None, workload=b"work")
        self.answer()
        self.assertEqual((reply.packet, reply.asked, job.reply), (None, False, reply))
        self.fixture.commit()
        self.assertEqual(reply.packet, self.created(job.number))
        self.assertEqual(self.broker.functions.get(b"f").counts.submitted, 4)
        self.assertIn(job.number, [record.number for record in self.journal.kept()])

    def test_a_foreground_submit_is_queued(self) -> None:
        self.mistaken()
        job, reply = self.asked(self.client)
        self.answer()
        self.assertEqual((reply.packet, job.reply), (self.created(job.number), None))
        # It is behind a row.
        self.assertEqual((job.state, self.journal.adding), (PAGED, []))
        self.assertIs(self.fixture.submit(self.client, unique=b"u"), job)

    def test_one_that_is_to_wait(self) -> None:
        self.mistaken()
        job, _ = self.asked(self.client, due=START + 100)
        self.answer()
        self.assertEqual((job.state, job.appointment is not None), (DELAYED, True))

    def test_a_background_one_that_is_to_wait(self) -> None:
        self.mistaken()
        self.asked(None, due=START + 100)
        self.answer()
        self.assertEqual(self.journal.adding[0].record.due, START + 100)

    def test_a_foreground_submit_that_was_joined_for_the_background(self) -> None:
        self.mistaken()
        job, reply = self.asked(self.client)
        self.assertIs(self.joined(None), reply)
        self.assertEqual(self.journal.adding, [])
        self.answer()
        self.assertEqual((len(self.journal.adding), reply.packet), (1, None))
        self.fixture.commit()
        self.assertEqual((reply.packet, list(job.clients)), (self.created(job.number), [self.client]))

    def test_its_client_does_not_wait_for_it_any_more(self) -> None:
        self.mistaken()
        job, reply = self.asked(self.client)
        self.broker.lifecycle.go_on_without(job, self.client, self.fixture.now)
        self.assertIs(job.reply_for(True), reply)
        self.answer()
        self.fixture.commit()
        self.assertEqual((reply.packet, self.client.attached), (self.created(job.number), {}))

    def test_there_is_no_room_for_it(self) -> None:
        self.mistaken()
        self.fixture.set(max_queue=2)
        for client in (None, self.client):
            job, reply = self.asked(client)
            self.answer()
            text = b"Job queue is full: max_queue is 2"
            self.assertEqual((reply.packet, reply.why), ((ERROR, b"QUEUE_ERROR", text), QUEUE_FULL))
            self.assert_gone(job)
        self.assertEqual(self.client.attached, {})
        self.assert_counted(QUEUE_FULL, 2)

    def test_of_a_schedule(self) -> None:
        self.mistaken()
        job, _ = self.asked(None, schedule=(b"s", 5.0))
        self.joined(None, schedule=(b"t", 6.0))
        self.answer()
        self.assertEqual(
            list(self.journal.stored_values.values()),
            [StoredValue(SCHEDULED, b"s", 5.0, job.number), StoredValue(SCHEDULED, b"t", 6.0, job.number)],
        )

    def test_nothing_is_asked_where_nothing_is_hidden(self) -> None:
        self.fixture.submit(self.client, unique=b"u")
        self.row(b"v")
        self.fixture.submit(self.client, unique=b"w")
        self.assertEqual(self.journal.asking, [])


class MeanwhileTests(LookupTestCase):
    """Something happens to it before the store has answered."""

    def test_it_is_cancelled(self) -> None:
        self.row()
        for client in (self.client, None):
            job, reply = self.asked(client)
            self.fixture.cancel(job)
            self.assertIsNone(reply.packet)
            self.answer()
            self.assertEqual(reply.packet, self.created(job.number))
        self.assertEqual(self.fixture.heard(self.client), [(WORK_FAIL, b"H:test:4")])
        self.assertEqual(self.journal.deleted, [])

    def test_one_that_has_its_time_later_is_cancelled(self) -> None:
        """Nothing is noted of it any more, whether or not a client waits for it."""
        self.row()
        for client in (self.client, None):
            job, _ = self.asked(client, delay=5.0)
            self.fixture.cancel(job)
            self.broker.check()
            self.answer()

    def test_it_is_cancelled_and_that_is_kept(self) -> None:
        self.row()
        self.fixture.set(results={"keep": 10.0})
        job, reply = self.asked(None)
        self.fixture.cancel(job)
        self.answer()
        self.assertEqual(reply.packet, self.created(job.number))
        self.assertIs(self.broker.archive.by_handle(job.handle), job)
        self.assertEqual((self.journal.updates, self.journal.results), ([], {}))
        self.fixture.pass_time(10)
        self.assertEqual((self.broker.archive.by_handle(job.handle), self.journal.deleted_all), (None, []))

    def test_it_is_purged(self) -> None:
        number = self.row()
        job, _ = self.asked(self.client)
        self.broker.operations.purge(b"f", self.fixture.now)
        self.fixture.pass_time(1)
        self.assertTrue(job.ended)
        self.answer()
        self.assertIsNotNone(number)

    def test_its_client_goes(self) -> None:
        number = self.row()
        job, _ = self.asked(self.client)
        self.fixture.leave(self.client)
        self.assertTrue(job.ended)
        self.assertIsNone(self.broker.table.by_unique(b"u"))
        self.answer()
        self.assertNotIn(number, self.broker.table.jobs)

    def test_one_of_its_clients_goes(self) -> None:
        number = self.row()
        other = self.fixture.connect()
        self.asked(self.client)
        self.joined(other)
        self.fixture.leave(self.client)
        self.answer()
        self.assertEqual(list(self.held(number).clients), [other])

    def test_it_is_moved(self) -> None:
        """It may be the same as one there."""
        self.row()
        number = self.row(function=b"g")
        job, reply = self.asked(self.client)
        self.broker.operations.move(job, b"g", self.fixture.now)
        self.assertEqual(self.journal.changes, [])
        self.answer()
        self.assertEqual(reply.packet, self.created(number))

    def test_it_gets_another_workload(self) -> None:
        self.mistaken()
        job, _ = self.asked(self.client)
        self.broker.operations.correct(job, b"better", self.fixture.now)
        self.answer()
        self.assertEqual((job.workload, job.size, self.journal.changes), (b"better", 6, []))

    def test_which_is_its_key(self) -> None:
        number = self.row(b"-", workload=b"there")
        self.journal.hide(int.from_bytes(b"", "big"))
        job, reply = self.asked_by_workload(b"new")
        self.broker.operations.correct(job, b"there", self.fixture.now)
        self.answer()
        self.assertIsNone(reply.packet)
        self.answer()
        self.assertEqual(reply.packet, self.created(number))

    def asked_by_workload(self, workload: bytes) -> tuple[Job, Reply]:
        probe = self.fixture.submit(None, b"g", b"-", workload)
        assert probe.key is not None
        self.journal.hide(probe.key)
        return self.asked(self.client, b"-", workload=workload)

    def test_it_has_none_by_then(self) -> None:
        self.row()
        job, reply = self.asked_by_workload(b"new")
        self.broker.operations.correct(job, b"", self.fixture.now)
        self.answer()
        self.assertEqual((reply.packet, job.state), (self.created(job.number), PAGED))

    def test_nor_does_the_store_answer_then(self) -> None:
        self.row()
        job, reply = self.asked_by_workload(b"new")
        self.broker.operations.correct(job, b"other", self.fixture.now)
        asking = self.journal.asking.pop()
        self.journal.silent = True
        asking.done([], {}, self.fixture.now)
        assert reply.packet is not None
        self.assertEqual(reply.packet[0], ERROR)
        self.assert_gone(job)


class SilenceTests(LookupTestCase):
    """The store does not answer."""

    def test_those_who_wait_hear_why(self) -> None:
        self.row()
        self.journal.unavailable = None
        for client in (None, self.client):
            job, reply = self.asked(client)
            self.journal.unavailable = "The store is away"
            self.in_vain()
            self.journal.unavailable = None
            self.assertEqual(reply.packet, UNAVAILABLE)
            self.assert_gone(job)
        self.assertEqual((self.client.attached, self.journal.adding), ({}, []))
        self.assert_counted(STORE_UNAVAILABLE, 2)

    def test_nothing_is_known_of_why(self) -> None:
        self.row()
        _, reply = self.asked(None)
        self.in_vain()
        assert reply.packet is not None
        self.assertEqual(reply.packet[2], b"The store does not say whether there is such a job already")

    def test_it_is_known_that_it_does_not_answer(self) -> None:
        self.row()
        self.journal.unavailable = "The store is away"
        self.journal.silent = True
        for client in (None, self.client):
            with self.assertRaisesRegex(QueueError, "^QUEUE_ERROR: The store is away$"):
                self.fixture.submit(client, unique=b"u")
        self.assertEqual((self.client.attached, self.journal.asked), ({}, 2))

    def test_it_is_lost_just_then(self) -> None:
        """It has said that there is none, and can keep none."""
        self.mistaken()
        job, reply = self.asked(None)
        self.journal.unavailable = "The store is away"
        self.answer()
        self.assertEqual(reply.packet, UNAVAILABLE)
        self.assert_gone(job)

    def test_who_joins_for_the_background_hears_it_at_once(self) -> None:
        self.row()
        self.asked(self.client)
        self.journal.unavailable = "The store is away"
        with self.assertRaisesRegex(QueueError, "The store is away"):
            self.joined(None)


class QuestionTests(LookupTestCase):
    """Jobs that are asked for by their keys."""

    def found(self, unique: bytes = b"u", wait: bool = True) -> list[Job | None]:
        found: list[Job | None] = []

        def then(ok: bool, now: float) -> None:
            self.assertTrue(ok)
            found.append(self.broker.named(b"", unique))

        self.broker.lookups.load((unique,), then, self.fixture.now)
        if wait:
            self.answer()
        return found

    def test_one_that_the_store_has(self) -> None:
        number = self.row()
        (job,) = self.found()
        assert job is not None
        self.assertEqual(job.number, number)
        self.assertNotIn(number, self.broker.table.jobs)

    def test_the_newest_of_several(self) -> None:
        self.row()
        number = self.row(function=b"g")
        for _ in range(2):
            (job,) = self.found()
            assert job is not None
            self.assertEqual((job.number, job.function.name), (number, b"g"))

    def test_one_that_is_in_memory(self) -> None:
        job = self.fixture.submit(self.client, unique=b"u")
        self.assertEqual(self.found(wait=False), [job])
        self.row(b"v")
        self.assertEqual(self.found(wait=False), [job])

    def test_one_that_may_be_another(self) -> None:
        number = self.row()
        self.asked(self.client)
        found = self.found(wait=False)
        self.assertEqual(found, [])
        self.answer()
        self.assertEqual(found, [self.held(number)])

    def test_what_it_is_then(self) -> None:
        """Whoever made it may want to know."""
        self.row()
        job, _ = self.asked(None)
        told: list[bool] = []
        self.broker.lookups.afterwards(job, lambda now: told.append(job.ended))
        self.assertEqual(told, [])
        self.answer()
        self.assertEqual(told, [True])

    def test_what_is_not_in_memory(self) -> None:
        self.row()
        lacks = self.broker.lookups.lacks
        self.assertEqual([lacks(names) for names in ((), (b"v",), (b"v", b"u"))], [False, False, True])
        self.journal.hidden.clear()
        self.assertFalse(lacks((b"u",)))
        self.journal.hide(b"w")
        self.asked(None, b"w")
        self.journal.hidden.clear()
        self.assertEqual([lacks((b"w",)), lacks((b"v",))], [True, False])

    def test_which_is_never_known(self) -> None:
        self.row()
        self.asked(self.client)
        told: list[bool] = []
        self.broker.lookups.load((b"u",), lambda ok, now: told.append(ok), self.fixture.now)
        self.in_vain()
        self.assertEqual(told, [])
        self.in_vain()
        self.assertEqual(told, [False])
