"""Tests of L{txgear.broker.dispatcher}."""

from __future__ import annotations

from math import inf
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.counts import SETTLE_FROM
from txgear.broker.dispatcher import Dispatcher
from txgear.broker.functions import Functions
from txgear.broker.history import History
from txgear.broker.model import Function, Job, Peer
from txgear.broker.paging import PATIENCE, Pager
from txgear.broker.sleepers import Sleepers
from txgear.broker.states import DELAYED, DONE, NEW, PAGED, QUEUED, RUNNING, TO_ENDED
from txgear.broker.table import JobTable
from txgear.broker.tenants import Tenant
from txgear.broker.timers import Timers
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import HIGH, LOW, NOOP, NORMAL
from txgear.test.support.broker import FakeOutbox, make_job

NOW = 1000.0


class DispatcherTestCase(SynchronousTestCase):
    """A dispatcher with all that it knows, and nobody who knows it."""

    wakeups = 0
    budget = 0

    def setUp(self) -> None:
        self.now = NOW
        self.outbox = FakeOutbox()
        self.timers = Timers()
        self.functions = Functions(self.timers)
        self.sleepers = Sleepers(self.outbox.send, self.timers)
        self.loads: list[list[Job]] = []
        self.pager = Pager(self.budget, JobTable(b"H:test"), self.loads.append)
        pager = self.pager if self.budget else None
        self.dispatcher = Dispatcher(self.functions, self.sleepers, self.timers, pager, self.wakeups)
        self.numbers = 0
        self.peers: dict[Peer, None] = {}

    def tearDown(self) -> None:
        self.dispatcher.check()
        self.sleepers.check(list(self.peers))

    def set(self, **settings: Any) -> Function:
        """Let this policy hold for f."""
        self.functions.policies = Policies([("f", CLASSIC.with_settings(settings))])
        function = self.functions.get(b"f")
        self.functions.apply_policy(function, self.now)
        self.dispatcher.regulate(function, self.now)
        return function

    def worker(self, *names: bytes) -> Peer:
        peer = Peer(len(self.peers), "192.0.2.1")
        self.peers[peer] = None
        for name in names or (b"f",):
            self.sleepers.add_ability(peer, self.functions.get(name), 0.0, 1.0)
        return peer

    def sleep(self, peer: Peer) -> None:
        self.sleepers.sleep(peer)
        self.dispatcher.settle(peer, self.now)

    def sleeper(self, *names: bytes) -> Peer:
        peer = self.worker(*names)
        self.sleep(peer)
        return peer

    def job(self, name: bytes = b"f", priority: int = NORMAL, workload: bytes = b"") -> Job:
        """A new job."""
        self.numbers += 1
        return make_job(self.functions.get(name), self.numbers, priority=priority, workload=workload)

    def put(self, name: bytes = b"f", priority: int = NORMAL, first: bool = False) -> Job:
        """A job that may be handed out."""
        job = self.job(name, priority)
        self.dispatcher.enqueue(job, self.now, first=first)
        return job

    def take(self, worker: Peer) -> Job | None:
        self.sleepers.awake(worker)
        return self.dispatcher.take(worker, self.now)

    def take_all(self, worker: Peer) -> list[Job]:
        jobs = []
        while (job := self.take(worker)) is not None:
            jobs.append(job)
        return jobs

    def end(self, job: Job) -> None:
        """The job is over, as whoever knows jobs would have it."""
        self.dispatcher.leave(job, self.now)
        job.state = TO_ENDED[DONE][job.state] if job.state == RUNNING else DONE

    def woken(self) -> list[Peer]:
        """Who was sent a NOOP since the last time."""
        return [peer for peer, message in self.outbox.take() if message == (NOOP,)]


class TimesTests(DispatcherTestCase):
    def test_they_are_put_together_in_time(self) -> None:
        counts = self.functions.get(b"f").counts
        worker = self.worker()
        for number in range(SETTLE_FROM):
            self.assertEqual((len(counts.new_waits), len(counts.new_runs)), (number, number))
            job = self.put()
            self.now += 3.0
            self.assertIs(self.take(worker), job)
            self.now += 2.0
            self.end(job)
        self.assertEqual((counts.new_waits, counts.new_runs), ([], []))
        self.assertEqual((counts.waited, counts.ran), (3.0 * SETTLE_FROM, 2.0 * SETTLE_FROM))


class OrderTests(DispatcherTestCase):
    def test_nothing_for_who_can_do_nothing_of_it(self) -> None:
        worker = self.worker(b"g")
        self.assertIsNone(self.take(worker))
        self.put()
        self.assertIsNone(self.take(worker))

    def test_one_behind_which_others_have_come(self) -> None:
        late, other = self.job(), self.job()
        self.assertEqual((self.dispatcher.enqueue_late(late, self.now), late.state), (False, NEW))
        jobs = [self.put() for _ in range(2)]
        sleepers = [self.sleeper() for _ in range(3)]
        self.outbox.take()
        other.history = History()
        other.history.expires = self.now + 9.0
        self.assertTrue(self.dispatcher.enqueue_late(other, self.now))
        self.assertEqual((other.state, other.since, other.due), (QUEUED, self.now, self.now + 9.0))
        self.assertEqual(len(self.woken()), 1)
        self.assertTrue(self.dispatcher.enqueue_late(late, self.now))
        self.assertEqual(self.take_all(sleepers[0]), [late, other, *jobs])

    def test_one_behind_which_others_have_come_while_the_server_drains(self) -> None:
        late, waited_for = self.job(), self.job()
        waited_for.clients = (self.worker(),)
        self.put().clients = (self.worker(),)
        self.dispatcher.begin_to_drain(self.now, False)
        found = [self.dispatcher.enqueue_late(job, self.now) for job in (late, waited_for)]
        self.assertEqual((found, late.state, waited_for.state), ([False, True], NEW, QUEUED))

    def test_the_oldest_of_a_function_first(self) -> None:
        jobs = [self.put() for _ in range(3)]
        self.assertEqual(self.take_all(self.worker()), jobs)

    def test_higher_priorities_of_all_functions_first(self) -> None:
        low, normal, high = self.put(b"f", LOW), self.put(b"g"), self.put(b"f", HIGH)
        self.assertEqual(self.take_all(self.worker(b"f", b"g")), [high, normal, low])

    def test_functions_in_turn(self) -> None:
        """The one that was served longest ago is first."""
        f = [self.put(b"f") for _ in range(3)]
        g = [self.put(b"g") for _ in range(2)]
        self.assertEqual(self.take_all(self.worker(b"f", b"g")), [f[0], g[0], f[1], g[1], f[2]])

    def test_functions_in_turn_whichever_list_is_shorter(self) -> None:
        """Of a worker that can do few of many functions the same is true."""
        names = [b"%d" % number for number in range(5)]
        jobs = {name: [self.put(name) for _ in range(2)] for name in names}
        worker = self.worker(b"3", b"1")
        self.assertEqual([job.function.name for job in self.take_all(worker)], [b"1", b"3", b"1", b"3"])
        self.assertEqual(
            self.take_all(self.worker(*names)), [jobs[name][i] for i in (0, 1) for name in (b"0", b"2", b"4")]
        )

    def test_one_that_comes_back_for_the_first_time_is_first(self) -> None:
        worker = self.worker()
        jobs = [self.put() for _ in range(2)]
        self.assertIs(self.take(worker), jobs[0])
        self.dispatcher.leave(jobs[0], self.now)
        self.dispatcher.enqueue(jobs[0], self.now, first=True)
        self.assertEqual(self.take_all(worker), jobs)

    def test_what_runs_is_counted_for_its_tenant(self) -> None:
        worker, job = self.worker(), self.job()
        tenant = job.tenant = Tenant("web")
        self.dispatcher.enqueue(job, self.now)
        self.assertIs(self.take(worker), job)
        self.assertEqual(tenant.running, 1)
        self.end(job)
        self.assertEqual(tenant.running, 0)

    def test_what_runs_is_counted_and_has_its_handle(self) -> None:
        worker, job = self.worker(), self.put()
        self.assertIs(self.take(worker), job)
        self.assertEqual((job.state, job.worker, job.since), (RUNNING, worker, self.now))
        self.assertEqual(worker.running, {b"H:test:1": job})
        self.assertEqual((self.dispatcher.running, job.function.running), (1, 1))
        self.end(job)
        self.assertEqual((worker.running, job.worker, job.kept_handle), ({}, None, b""))
        self.assertEqual((self.dispatcher.running, job.function.running), (0, 0))


class LeaveTests(DispatcherTestCase):
    def test_out_of_a_lane(self) -> None:
        jobs = [self.put() for _ in range(2)]
        self.end(jobs[0])
        self.assertEqual(list(self.dispatcher.rings[NORMAL]), [jobs[0].function])
        self.end(jobs[1])
        self.assertEqual(self.dispatcher.rings[NORMAL], {})

    def test_out_of_the_delayed(self) -> None:
        job = self.job()
        self.dispatcher.delay(job)
        self.timers.add(job, 1010.0)
        self.assertEqual((job.state, list(job.function.delayed)), (DELAYED, [job]))
        self.end(job)
        self.assertEqual((job.function.delayed, self.timers.pop_due(inf)), ({}, None))

    def withdraw(self, job: Job) -> None:
        """Out of its place, as it is about to get another."""
        self.dispatcher.withdraw(job, self.now)
        self.numbers += 1
        job.place = self.numbers
        self.assertEqual((job.state, job.due), (DELAYED, 0.0))

    def test_what_is_withdrawn_comes_again(self) -> None:
        """Whatever place it was in; it waits for nothing meanwhile."""
        jobs = [self.put() for _ in range(3)]
        delayed = self.job()
        self.dispatcher.delay(delayed)
        for job in (jobs[0], delayed):
            self.timers.add(job, 1010.0)
            self.withdraw(job)
            self.dispatcher.enqueue(job, self.now)
        self.assertEqual(self.take_all(self.worker()), [jobs[1], jobs[2], jobs[0], delayed])

    def test_the_last_one_that_is_withdrawn_leaves_nothing(self) -> None:
        job = self.put()
        self.withdraw(job)
        self.assertEqual(self.dispatcher.rings[NORMAL], {})
        job.priority = HIGH
        self.dispatcher.enqueue(job, self.now)
        self.assertEqual(self.take_all(self.worker()), [job])

    def test_whoever_leaves_is_waited_for_no_more(self) -> None:
        worker = self.worker()
        for taken in (False, True):
            job = self.put()
            if taken:
                self.assertIs(self.take(worker), job)
            self.timers.add(job, 1010.0)
            self.end(job)
            self.assertIsNone(self.timers.pop_due(1e9))

    def test_a_job_that_is_handed_out_expires_no_more(self) -> None:
        job = self.job()
        job.history = History()
        job.history.expires = 1010.0
        self.dispatcher.enqueue(job, self.now)
        self.assertEqual(job.due, 1010.0)
        self.assertIs(self.take(self.worker()), job)
        self.assertEqual(job.due, 0.0)

    def test_one_whose_worker_has_given_its_function_up(self) -> None:
        worker, job = self.worker(), self.put()
        self.take(worker)
        worker.running = {}
        self.end(job)
        self.assertEqual(self.dispatcher.running, 0)


class WakeTests(DispatcherTestCase):
    def test_as_many_as_there_are_jobs_and_no_more(self) -> None:
        sleepers = [self.sleeper() for _ in range(3)]
        self.put()
        self.assertEqual(self.woken(), sleepers[:1])
        self.put()
        self.assertEqual(self.woken(), sleepers[1:2])
        self.dispatcher.wake(self.functions.get(b"f"), self.now)
        self.assertEqual(self.woken(), [])

    def test_who_falls_asleep_while_there_is_a_job_for_it(self) -> None:
        self.put()
        peer = self.sleeper()
        self.assertEqual(self.woken(), [peer])
        self.sleeper()
        self.assertEqual(self.woken(), [])

    def test_who_falls_asleep_and_can_do_little_of_much(self) -> None:
        for number in range(5):
            self.put(b"%d" % number)
        peer = self.sleeper(b"f", b"3")
        self.assertEqual(self.woken(), [peer])

    def test_without_a_store_nothing_is_read_ahead(self) -> None:
        sleeper, job = self.sleeper(), self.put()
        self.outbox.take()
        self.dispatcher.advance(job, self.now)
        self.assertEqual((self.woken(), self.take(sleeper)), ([], job))

    def test_who_is_told_to_take_none_is_not_woken(self) -> None:
        peer = self.sleeper()
        self.dispatcher.set_paused(peer, True, self.now)
        self.put()
        self.assertEqual((self.woken(), peer.paused), ([], True))
        self.dispatcher.set_paused(peer, False, self.now + 7)
        self.assertEqual((peer.paused, peer.asked), (False, self.now + 7))

    def test_another_is_woken_in_its_place(self) -> None:
        first, second = self.sleeper(), self.sleeper()
        self.put()
        self.assertEqual(self.woken(), [first])
        self.dispatcher.set_paused(first, True, self.now)
        self.assertEqual(self.woken(), [second])

    def test_nobody_for_what_none_can_do(self) -> None:
        self.sleeper(b"g")
        self.put()
        self.assertEqual(self.woken(), [])


class FewWakeupsTests(DispatcherTestCase):
    wakeups = 2

    def test_so_many_for_each_job_that_is_queued(self) -> None:
        function = self.set(rate="1/m")
        sleepers = [self.sleeper() for _ in range(9)]
        function.throttle.paused = True  # type: ignore[union-attr]
        self.dispatcher.regulate(function, self.now)
        for _ in range(6):
            self.put()
        self.assertEqual(self.woken(), [])
        self.functions.policies = Policies()
        self.functions.apply_policy(function, self.now)
        function.throttle.paused = False  # type: ignore[union-attr]
        self.dispatcher.release_throttle(function, self.now)
        self.assertEqual(self.woken(), sleepers[:6])
        self.put()
        self.assertEqual(self.woken(), sleepers[6:7])
        for job in (self.take(sleepers[0]), self.take(sleepers[1])):
            assert job is not None
            self.end(job)


class ThrottleTests(DispatcherTestCase):
    def test_no_more_at_once_than_may_be(self) -> None:
        self.set(concurrency=1)
        worker, jobs = self.worker(), [self.put() for _ in range(2)]
        sleeper = self.sleeper()
        self.assertEqual(self.woken(), [sleeper])
        self.assertEqual(self.take_all(worker), jobs[:1])
        self.end(jobs[0])
        self.assertEqual(self.take_all(worker), jobs[1:])

    def test_who_sleeps_is_woken_when_one_more_may_start(self) -> None:
        self.set(concurrency=1)
        worker, first, _ = self.worker(), self.put(), self.put()
        self.take(worker)
        sleeper = self.sleeper()
        self.assertEqual(self.woken(), [])
        self.dispatcher.wake(first.function, self.now)
        self.assertEqual(self.woken(), [])
        self.end(first)
        self.assertEqual(self.woken(), [sleeper])

    def test_the_next_may_start_when_its_token_is_there(self) -> None:
        function = self.set(rate="1/s")
        worker, jobs = self.worker(), [self.put() for _ in range(2)]
        self.assertEqual(self.take_all(worker), jobs[:1])
        self.assertEqual((function.throttled, function.due), (True, 1001.0))
        self.now = 1001.0
        self.assertIs(self.timers.pop_due(self.now), function)
        self.dispatcher.throttle_due(function, self.now)
        self.assertEqual(self.take_all(worker), jobs[1:])

    def test_while_there_are_tokens_nothing_is_held_back(self) -> None:
        function = self.set(rate={"jobs": "1/s", "burst": 3})
        worker, jobs = self.worker(), [self.put() for _ in range(3)]
        self.assertEqual([self.take(worker), self.take(worker)], jobs[:2])
        self.assertEqual((function.throttled, function.due), (False, 0.0))
        self.assertIs(self.take(worker), jobs[2])
        self.assertEqual((function.throttled, function.due), (True, 1001.0))

    def test_one_that_is_forgotten_when_its_time_has_come(self) -> None:
        function = self.set(rate="1/s")
        worker = self.worker()
        self.put()
        job = self.take(worker)
        assert job is not None
        self.end(job)
        self.sleepers.remove_abilities(worker, [function], 0.0)
        self.now = 1001.0
        self.assertIs(self.timers.pop_due(self.now), function)
        self.dispatcher.throttle_due(function, self.now)
        self.assertEqual(self.functions.by_name, {})

    def test_one_that_needs_no_throttle_any_more_when_its_time_has_come(self) -> None:
        function = self.functions.get(b"f")
        function.created = True
        self.dispatcher.throttle_due(function, self.now)
        self.assertFalse(function.throttled)

    def test_there_may_be_another_reason(self) -> None:
        function = self.set(concurrency=1)
        throttle = self.functions.throttle(function)
        throttle.paused = True
        self.dispatcher.regulate(function, self.now)
        job = self.put()
        self.assertEqual(self.dispatcher.rings[NORMAL], {})
        self.dispatcher.release_throttle(function, self.now)
        self.assertIsNone(self.take(self.worker()))
        throttle.paused = False
        self.dispatcher.release_throttle(function, self.now)
        self.assertIs(function.throttle, throttle)
        self.assertIs(self.take(self.worker()), job)


class PagerTestCase(DispatcherTestCase):
    """1,000 bytes of workloads are in memory."""

    budget = 1000

    def paged(self, name: bytes = b"f", priority: int = NORMAL) -> Job:
        """A stored job whose workload is not in memory, in an overflow."""
        job = self.job(name, priority, b"four")
        job.stored, job.workload = True, b""
        self.dispatcher.enqueue(job, self.now)
        self.assertEqual(job.state, PAGED)
        return job

    def read(self, *jobs: Job) -> None:
        """What was asked for has been read, of these jobs."""
        self.pager.arrived()
        for job in jobs:
            job.workload = b"four"
            self.dispatcher.advance(job, self.now)


class PagedTests(PagerTestCase):
    """Workloads that are not in memory."""

    def test_it_is_read_for_those_who_can_do_it(self) -> None:
        jobs = [self.paged() for _ in range(2)]
        self.assertEqual(self.loads, [])
        worker = self.worker()
        self.dispatcher.advance(jobs[0], self.now)
        self.assertEqual(self.loads, [jobs])
        self.assertIsNone(self.take(worker))
        self.read(*jobs)
        self.assertEqual([job.state for job in jobs], [QUEUED] * 2)
        self.assertEqual(self.take_all(worker), jobs)

    def test_what_comes_later_stays_behind_it(self) -> None:
        worker, first = self.worker(), self.paged()
        second = self.job(workload=b"there")
        self.dispatcher.enqueue(second, self.now)
        self.assertEqual(second.state, PAGED)
        self.read(first)
        self.assertEqual(self.take_all(worker), [first, second])

    def test_one_that_is_withdrawn(self) -> None:
        """Of the others what is next is read; it comes again behind them."""
        worker, jobs = self.worker(), [self.paged() for _ in range(3)]
        self.timers.add(jobs[1], 1010.0)
        for job in jobs[:2]:
            self.dispatcher.withdraw(job, self.now)
            self.dispatcher.advance(job, self.now)
            job.place += 10
            self.dispatcher.enqueue(job, self.now)
        self.read(*jobs)
        self.assertEqual(self.take_all(worker), [jobs[2], jobs[0], jobs[1]])

    def test_one_that_lost_its_workload_comes_behind_the_others(self) -> None:
        """Also where it was to come before them."""
        worker, jobs = self.worker(), [self.put() for _ in range(2)]
        self.assertIs(self.take(worker), jobs[0])
        self.dispatcher.leave(jobs[0], self.now)
        jobs[0].stored, jobs[0].size, jobs[0].workload = True, 4, b""
        self.dispatcher.enqueue(jobs[0], self.now, first=True)
        self.assertEqual(jobs[0].state, PAGED)
        self.assertIs(self.take(worker), jobs[1])
        self.read(jobs[0])
        self.assertIs(self.take(worker), jobs[0])

    def test_another_function_of_its_priority_does_not_wait(self) -> None:
        first, second = self.paged(), self.put(b"g")
        for names in ((b"f", b"g"), (b"f", b"g", b"h", b"i")):
            worker = self.worker(*names)
            self.assertIs(self.take(worker), second)
            self.dispatcher.leave(second, self.now)
            self.dispatcher.enqueue(second, self.now, first=True)
        self.end(first)

    def test_what_is_of_a_lower_priority_waits_while_it_is_read(self) -> None:
        for names in ((b"f", b"g"), (b"f",)):
            worker = self.worker(*names)
            high, low = self.paged(b"f", HIGH), self.put(names[-1], LOW)
            self.assertIsNone(self.take(worker))
            self.now += PATIENCE
            self.assertIs(self.take(worker), low)
            self.end(low)
            self.read(high)
            self.assertIs(self.take(worker), high)
            self.end(high)

    def test_so_do_those_who_sleep(self) -> None:
        worker, high = self.worker(b"f", b"g"), self.paged(b"f", HIGH)
        low = self.put(b"g", LOW)
        self.sleep(worker)
        self.assertEqual((worker.barred, self.woken()), (HIGH, []))
        self.assertEqual(self.dispatcher.look_at_barred(self.now), self.now + PATIENCE)
        self.now += PATIENCE
        self.assertEqual(self.dispatcher.look_at_barred(self.now), inf)
        self.assertEqual((worker.barred, self.woken()), (None, [worker]))
        self.assertIs(self.take(worker), low)
        self.assertEqual(self.dispatcher.look_at_barred(self.now), inf)
        self.end(high)

    def test_they_are_woken_when_it_is_there(self) -> None:
        worker, high = self.worker(), self.paged(priority=HIGH)
        self.sleep(worker)
        self.read(high)
        self.assertEqual((worker.barred, self.woken()), (None, [worker]))

    def test_and_for_something_else_when_it_is_not_wanted_any_more(self) -> None:
        worker, high = self.worker(), self.paged(priority=HIGH)
        self.put(priority=LOW)
        self.sleep(worker)
        self.assertEqual(self.woken(), [])
        high.history = History()
        self.timers.add(high, 1010.0)
        self.end(high)
        self.assertEqual((self.woken(), high.due), ([worker], 0.0))

    def test_and_when_its_function_is_held_back(self) -> None:
        worker, high = self.worker(b"f", b"g"), self.paged(priority=HIGH)
        self.put(b"g", LOW)
        self.sleep(worker)
        throttle = self.functions.throttle(high.function)
        throttle.paused = True
        self.dispatcher.regulate(high.function, self.now)
        self.assertEqual(self.woken(), [worker])
        later = self.paged(b"f", HIGH)
        self.end(high)
        self.assertEqual(self.dispatcher.rings[HIGH], {})
        throttle.paused = False
        self.dispatcher.release_throttle(high.function, self.now)
        self.assertEqual(list(self.dispatcher.rings[HIGH]), [later.function])

    def test_the_first_behind_a_lane_that_is_held_back(self) -> None:
        function = self.functions.get(b"f")
        throttle = self.functions.throttle(function)
        throttle.paused = True
        self.dispatcher.regulate(function, self.now)
        self.paged()
        self.assertEqual(self.dispatcher.rings[NORMAL], {})

    def test_one_that_leaves_the_others_behind(self) -> None:
        jobs = [self.paged() for _ in range(2)]
        self.end(jobs[1])
        self.assertEqual(list(self.dispatcher.rings[NORMAL]), [jobs[0].function])

    def test_the_lane_goes_on_where_its_last_one_is_handed_out(self) -> None:
        worker, ready = self.worker(), self.put()
        behind = self.paged()
        self.assertIs(self.take(worker), ready)
        self.assertEqual((self.loads, list(self.dispatcher.rings[NORMAL])), ([[behind]], [ready.function]))
        self.end(behind)


class DrainTests(PagerTestCase):
    def test_what_no_client_waits_for_is_delayed_for_good(self) -> None:
        client, worker = Peer(9, "-"), self.worker()
        awaited, other = self.put(), self.put()
        awaited.join(client)
        paged, wanted = self.paged(), self.paged(b"g")
        wanted.join(client)
        functions = self.dispatcher.begin_to_drain(self.now, False)
        self.assertEqual(functions, [awaited.function, wanted.function])
        for job in (other, paged, other):
            self.dispatcher.withhold(job, self.now)
        for function in functions:
            self.dispatcher.sifted(function, self.now)
        self.assertEqual([job.state for job in (awaited, other, paged)], [QUEUED, DELAYED, DELAYED])
        self.assertEqual(self.take_all(worker), [awaited])
        self.read(wanted)
        self.assertEqual(self.take_all(self.worker(b"g")), [wanted])
        self.assertEqual(self.put().state, DELAYED)

    def test_a_function_waits_until_its_jobs_are_sorted_out(self) -> None:
        client, worker = Peer(9, "-"), self.worker(b"f", b"g", b"idle")
        jobs = [self.put(name) for name in (b"f", b"f", b"g")]
        for job in jobs:
            job.join(client)
        first, second = self.dispatcher.begin_to_drain(self.now, True)
        self.assertTrue(self.dispatcher.has_heir)
        self.assertIsNone(self.take(worker))
        self.dispatcher.sifted(first, self.now)
        self.assertEqual(self.take_all(worker), jobs[:2])
        self.dispatcher.sifted(second, self.now)
        self.assertEqual(self.take_all(worker), jobs[2:])


class CheckTests(DispatcherTestCase):
    def assert_found(self) -> None:
        """The check finds that something is wrong."""
        self.assertRaises(AssertionError, self.dispatcher.check)

    def test_a_function_whose_turn_never_comes(self) -> None:
        function = self.put().function
        turn = self.dispatcher.rings[NORMAL].pop(function)
        self.assert_found()
        self.dispatcher.rings[NORMAL][function] = turn

    def test_turns_that_are_out_of_order(self) -> None:
        f, g = self.put(b"f").function, self.put(b"g").function
        ring = self.dispatcher.rings[NORMAL]
        turns = dict(ring)
        ring[f], ring[g] = ring[g], ring[f]
        self.assert_found()
        ring.update(turns)

    def test_counts(self) -> None:
        self.dispatcher.running += 1
        self.assert_found()
        self.dispatcher.running -= 1
        job = self.job()
        job.function.delayed[job] = None
        self.assert_found()
        del job.function.delayed[job]
