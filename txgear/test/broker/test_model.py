"""Tests of L{txgear.broker.model}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.about import About, State
from txgear.broker.lanes import Lanes
from txgear.broker.limits import Throttle
from txgear.broker.model import MOST_NAMED, Appointment, AskedReply, Function, Job, Peer, Reply, Run
from txgear.broker.sharedlanes import SharedLanes
from txgear.broker.states import (
    CANCELLED,
    DEAD,
    DELAYED,
    DONE,
    EXPIRED,
    FAILED,
    NEW,
    PAGED,
    QUEUED,
    RUNNING,
    STORING,
)
from txgear.broker.tenants import UNBOUNDED, Quota, Tenant
from txgear.errors import QueueError
from txgear.policies import CLASSIC
from txgear.protocol.constants import HIGH, LOW, NORMAL, PRIORITIES
from txgear.protocol.packets import Pieces
from txgear.test.support.broker import make_job


class WaitingTests(SynchronousTestCase):
    def test_since_when_the_oldest_waits(self) -> None:
        function = Function(b"f")
        self.assertEqual((function.waiting_since, function.ready_for(9.0)), (0.0, 0.0))
        for number, (priority, since) in enumerate(((LOW, 7.0), (NORMAL, 5.0), (NORMAL, 9.0))):
            job = make_job(function, number, priority=priority)
            job.state, job.since = QUEUED, since
            function.lanes.append(job)
        self.assertEqual(function.waiting_since, 5.0)
        self.assertEqual((function.ready_for(7.5), function.ready_for(4.0)), (2.5, 0.0))

    def test_how_many_wait_wherever_they_are(self) -> None:
        function = Function(b"f")
        job = make_job(function)
        job.state = DELAYED
        function.delayed[job] = None
        function.later += 2
        self.assertEqual((function.waiting, function.total), (3, 3))


class RoomTests(SynchronousTestCase):
    def refused(self, function: Function, priority: int = NORMAL, size: int = 4) -> str:
        try:
            function.check_room(priority, size)
        except QueueError as error:
            return error.text
        return ""

    def test_what_bounds_how_many_there_may_be(self) -> None:
        function = Function(b"f")
        function.later, function.bytes = 5, 6
        for settings, refused in (
            ({"retries": 1}, ""),
            ({"max_queue": 6}, ""),
            ({"max_queue": 5}, "Job queue is full: max_queue is 5"),
            ({"max_bytes": 10}, ""),
            ({"max_bytes": 9}, "Job queue is full: max_bytes is 9"),
        ):
            function.policy = CLASSIC.with_settings(settings)
            self.assertEqual(self.refused(function), refused, settings)

    def test_a_bound_for_each_priority(self) -> None:
        function = Function(b"f")
        function.later = 5
        function.max_queued = (0, 6, 5)
        self.assertEqual(
            [self.refused(function, priority) for priority in PRIORITIES], ["", "", "Job queue is full"]
        )


class JobTests(SynchronousTestCase):
    def test_its_handle_ends_with_its_number(self) -> None:
        job = make_job(number=17)
        self.assertEqual(job.handle, b"H:test:17")
        job.kept_handle = job.handle
        self.assertIs(job.handle, job.kept_handle)

    def test_its_place_is_its_number_at_first(self) -> None:
        self.assertEqual(make_job(number=17).place, 17)

    def test_it_is_loaded_while_its_workload_is_in_memory_or_empty(self) -> None:
        for workload in (b"four", Pieces([b"fo", b"ur"])):
            job = make_job(workload=workload)
            self.assertEqual((job.size, job.loaded), (4, True))
            job.workload = b""
            self.assertEqual((job.size, job.loaded), (4, False))
        self.assertTrue(make_job().loaded)

    def test_it_is_wanted_while_anybody_would_miss_it(self) -> None:
        job = make_job(background=False)
        self.assertFalse(job.wanted)
        job.clients = (Peer(1, "-"),)
        self.assertTrue(job.wanted)
        self.assertTrue(make_job(background=True).wanted)

    def test_it_has_ended_when_it_is_over_however_that_came(self) -> None:
        job = make_job()
        for state in (NEW, STORING, DELAYED, QUEUED, PAGED, RUNNING):
            job.state = state
            self.assertFalse(job.ended)
        for state in (DONE, FAILED, DEAD, CANCELLED, EXPIRED):
            job.state = state
            self.assertTrue(job.ended)

    def test_an_answer_waits_with_whoever_cannot_have_its_result_yet(self) -> None:
        """Of a job that runs already, whoever waits for its result needs no disk."""
        job = make_job(background=True)
        self.assertIsNone(job.reply_for(background=True))
        job.reply = Reply(0)
        for state, background, waits in (
            (STORING, True, True),
            (STORING, False, True),
            (RUNNING, True, True),
            (RUNNING, False, False),
        ):
            job.state = state
            self.assertIs(job.reply_for(background), job.reply if waits else None)

    def test_an_answer_that_waits_for_a_question_first(self) -> None:
        reply = AskedReply(7)
        self.assertEqual((reply.asked, reply.others, reply.size), (True, None, 7))
        self.assertEqual((Reply(7).asked, Reply(7).others), (False, None))

    def test_it_shows_its_state(self) -> None:
        self.assertEqual(repr(make_job()), "<Job b'H:test:1' of b'f', new>")


class FunctionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.function = Function(b"f")

    def add(self) -> Job:
        job = make_job(self.function)
        job.state = QUEUED
        self.function.lanes.append(job)
        return job

    def test_its_total_is_of_every_state(self) -> None:
        self.add()
        self.function.delayed = dict.fromkeys([make_job(), make_job()])
        self.function.running = 3
        self.function.lanes.paged = 4
        self.assertEqual(self.function.total, 10)

    def test_it_is_unused_without_jobs_workers_and_settings(self) -> None:
        self.assertTrue(self.function.unused)
        paused = Throttle()
        paused.paused = True
        for attribute, used, unused in (
            ("delayed", {make_job(): None}, {}),
            ("kept", 1, 0),
            ("workers", {Peer(1, "-"): None}, {}),
            ("created", True, False),
            ("max_queued", (0, 1, 0), None),
            ("throttle", paused, Throttle()),
        ):
            setattr(self.function, attribute, used)
            self.assertFalse(self.function.unused, attribute)
            setattr(self.function, attribute, unused)
        self.add()
        self.assertFalse(self.function.unused)

    def test_its_jobs_that_no_worker_has(self) -> None:
        queued, delayed = self.add(), make_job(self.function, 2)
        self.function.delayed[delayed] = None
        self.assertEqual(self.function.unassigned(), [queued, delayed])
        self.assertEqual(repr(self.function), "<Function b'f'>")

    def test_its_lanes(self) -> None:
        """They are for each tenant as long as that is wanted, by its policy or by a tenant's bound."""
        job = self.add()
        job.tenant = tenant = Tenant("web")
        self.function.arrange_lanes()
        self.assertIsInstance(self.function.lanes, Lanes)
        self.function.policy = CLASSIC.with_settings({"turns": True})
        self.function.arrange_lanes()
        shared = self.function.lanes
        assert isinstance(shared, SharedLanes)
        self.assertEqual((shared.turns, shared.all(), self.function.share()), (True, [job], shared))
        tenant.quota = Quota(running=1)
        shared.judge(tenant)
        self.function.policy = CLASSIC
        self.function.arrange_lanes()
        self.assertEqual((self.function.lanes, shared.turns), (shared, False))
        tenant.running = 1
        shared.judge(tenant)
        self.assertEqual((self.function.total, self.function.lanes.ready), (1, 0))
        tenant.quota = UNBOUNDED
        shared.judge(tenant)
        self.function.arrange_lanes()
        self.assertEqual((type(self.function.lanes), self.function.lanes.all()), (Lanes, [job]))
        self.function.policy = None
        self.assertFalse(self.function.share().turns)

    def refusal(self, priority: int = NORMAL, size: int = 1) -> str | None:
        try:
            self.function.check_room(priority, size)
        except QueueError as error:
            return error.text
        return None

    def test_room(self) -> None:
        """By its policy, and by what an operator has set for each priority."""
        self.add()
        self.function.bytes = 6
        self.assertIsNone(self.refusal())
        self.function.policy = CLASSIC.with_settings({"max_queue": 2, "max_bytes": 10})
        self.assertIsNone(self.refusal(size=4))
        self.assertEqual(self.refusal(size=5), "Job queue is full: max_bytes is 10")
        self.function.max_queued = (1, 0, 2)
        self.assertEqual([self.refusal(priority) for priority in (HIGH, LOW)], ["Job queue is full", None])
        self.add()
        self.assertEqual(self.refusal(), "Job queue is full: max_queue is 2")

    def judged(self, **settings: object) -> tuple[bool, bool, float]:
        self.function.policy = CLASSIC.with_settings(settings)
        self.function.judge()
        return self.function.asks, self.function.times, self.function.keeps

    def test_what_is_to_be_done_for_each_job(self) -> None:
        self.assertEqual(self.judged(retries=3, rate={"jobs": "1/s"}), (False, False, 0.0))
        for settings in ({"max_queue": 2}, {"max_bytes": 2}, {"expires": 3}):
            self.assertEqual(self.judged(**settings), (True, False, 0.0))
        self.assertEqual(self.judged(timeout=3), (False, True, 0.0))
        self.assertEqual(self.judged(lease=3), (False, True, 0.0))
        self.assertEqual(self.judged(results="60s"), (False, False, 60.0))
        self.assertEqual(self.judged(results="60s", unique_for=59), (True, False, 60.0))
        self.assertEqual(self.judged(results="60s", unique_for=60), (True, False, 0.0))
        self.assertEqual(self.judged(results={"keep": "60s", "jobs": 5}), (False, False, 0.0))
        self.assertEqual(self.judged(results={"keep": "60s", "bytes": 5}), (False, False, 0.0))
        self.function.max_queued = (1, 0, 2)
        self.assertEqual(self.judged(), (True, False, 0.0))
        self.function.policy = self.function.max_queued = None
        self.function.judge()
        self.assertEqual((self.function.asks, self.function.times, self.function.keeps), (False, False, 0.0))

    def test_whether_those_that_are_done_have_uniques(self) -> None:
        self.assertFalse(self.function.holds_names)
        self.function.kept = 1
        self.assertFalse(self.function.holds_names)
        self.function.policy = CLASSIC.with_settings({"results": "60s"})
        self.assertFalse(self.function.holds_names)
        self.function.names_stay = True
        self.assertTrue(self.function.holds_names)
        self.function.names_stay = False
        self.function.policy = CLASSIC.with_settings({"unique_for": 5})
        self.assertTrue(self.function.holds_names)
        self.function.kept = 0
        self.assertFalse(self.function.holds_names)


class ClientsTests(SynchronousTestCase):
    """Those who wait for a job."""

    def setUp(self) -> None:
        self.job = make_job()
        self.peers = [Peer(number, "-") for number in range(3)]

    def join(self, *numbers: int) -> None:
        for number in numbers:
            self.job.join(self.peers[number])

    def clients(self) -> list[int]:
        return [client.descriptor for client in self.job.clients]

    def test_nobody(self) -> None:
        self.job.part(self.peers[0])
        self.job.part_all()
        self.assertEqual((self.clients(), len(self.job.clients)), ([], 0))

    def test_one(self) -> None:
        self.join(0)
        self.assertEqual((self.clients(), self.peers[0].attached), ([0], {self.job: None}))
        self.job.part(self.peers[1])
        self.assertEqual(self.clients(), [0])
        self.job.part(self.peers[0])
        self.assertEqual(self.clients(), [])

    def test_several_the_newest_first(self) -> None:
        self.join(0, 1, 2)
        self.assertEqual((self.clients(), len(self.job.clients)), ([2, 1, 0], 3))
        self.job.part(self.peers[1])
        self.assertEqual(self.clients(), [2, 0])

    def test_one_that_is_there_several_times(self) -> None:
        """It has asked as often, and is told as often; when it goes, it goes at once."""
        self.join(0, 1, 0)
        self.assertEqual(self.clients(), [0, 1, 0])
        self.job.part(self.peers[0])
        self.assertEqual(self.clients(), [1])
        self.job.part(self.peers[0])
        self.assertEqual(self.clients(), [1])

    def test_of_several_that_have_gone_nothing_is_left(self) -> None:
        """One that is kept for days is not to keep that there were any."""
        self.join(0, 1, 0)
        for peer in self.peers[:2]:
            self.job.part(peer)
        self.assertEqual(self.job.clients, ())

    def test_all_at_once(self) -> None:
        for numbers in ((0,), (0, 1, 2)):
            self.join(*numbers)
            self.job.part_all()
            self.assertEqual((self.clients(), [peer.attached for peer in self.peers]), ([], [{}] * 3))


class AppointmentTests(SynchronousTestCase):
    def test_it_is_for_no_time_at_first(self) -> None:
        job = make_job()
        appointment = Appointment(job)
        self.assertEqual((appointment.job, appointment.due), (job, 0.0))


class ReplyTests(SynchronousTestCase):
    def test_nobody_waits_for_it_at_first_and_it_is_not_known(self) -> None:
        reply = Reply(7)
        self.assertEqual((reply.size, reply.packet, reply.peers), (7, None, []))


class PeerTests(SynchronousTestCase):
    def test_whether_it_is_a_worker(self) -> None:
        """It can do something, or it can be told to."""
        peer = Peer(7, "192.0.2.1")
        self.assertEqual((peer.works, peer.words), (False, ()))
        peer.about = About()
        self.assertEqual((peer.works, peer.words), (False, ()))
        peer.about.state = State(("register",))
        self.assertEqual((peer.works, peer.words), (True, ("register",)))
        peer.about = None
        peer.abilities[Function(b"f")] = 0.0
        self.assertTrue(peer.works)

    def test_its_name(self) -> None:
        peer = Peer(7, "192.0.2.1")
        self.assertEqual((peer.name, repr(peer)), ("192.0.2.1 7", "<Peer 7 192.0.2.1>"))
        for client_id, name in ((b"me", "me"), (b"", "192.0.2.1 7"), (b"-", "192.0.2.1 7")):
            peer.client_id = client_id
            self.assertEqual(peer.name, name)

    def test_who_it_is_when_it_orders_something(self) -> None:
        peer = Peer(7, "192.0.2.1")
        self.assertEqual(peer.who, "192.0.2.1")
        peer.client_id = b""
        self.assertEqual(peer.who, "192.0.2.1")
        peer.client_id = b"x" * 1000
        self.assertEqual(peer.who, f"{'x' * MOST_NAMED} at 192.0.2.1")
        peer.tenant = Tenant("alice")
        self.assertEqual(peer.who, "alice")


class RunTests(SynchronousTestCase):
    def test_it_begins_empty(self) -> None:
        run = Run()
        self.assertEqual((run.jobs, run.due, run.last), ({}, 0.0, 0.0))
