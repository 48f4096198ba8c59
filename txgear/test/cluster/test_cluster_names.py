"""Uniques and schedules over servers; see L{txgear.broker.life.lookups} and L{txgear.server.schedules}."""

from __future__ import annotations

from twisted.logger import capturedLogs

from txgear.protocol.constants import (
    GRAB_JOB,
    JOB_ASSIGN,
    JOB_CREATED,
    SUBMIT_JOB,
    WORK_COMPLETE,
)
from txgear.protocol.packets import request, response
from txgear.server.schedules import RETRY, Schedule, Scheduler
from txgear.test.cluster.test_member import ClusterTestCase, assigned, handle
from txgear.test.support.cluster import LEASE, SIZE, Node
from txgear.test.support.server import submit


class UniquesTests(ClusterTestCase):
    def created(self, number: int) -> bytes:
        return response(JOB_CREATED, handle(number))

    def test_one_job_for_all(self) -> None:
        a, b = self.join("a", "b")
        self.assertEqual(self.submit(a, unique=b"u"), self.created(1))
        self.assertEqual(self.submit(b, unique=b"u"), self.created(1))
        self.assertEqual(self.submit(b, unique=b"v"), self.created(SIZE + 1))
        self.assertEqual(self.submit(a, unique=b"v"), self.created(SIZE + 1))
        self.assertEqual(sorted(self.world.database.kept), [1, SIZE + 1])
        for node in (a, b):
            node.server.broker.check()

    def test_at_the_same_time(self) -> None:
        """Behind what is answered in order."""
        a, b = self.join("a", "b")
        clients = [node.connect() for node in (a, b, a, b)]
        for client in clients:
            client.tell(submit(unique=b"u"), submit(unique=b"v"), submit(unique=b"-", workload=b"same"))
        self.world.run(0.2)
        heard = [client.heard() for client in clients]
        self.assertEqual(heard, [b"".join(map(self.created, (1, 2, 3)))] * 4)
        self.assertEqual(sorted(self.world.database.kept), [1, 2, 3])

    def test_its_end_frees_it(self) -> None:
        a, b = self.join("a", "b")
        self.submit(a, unique=b"u")
        worker = self.worker(a)
        self.assertEqual(worker.ask(request(GRAB_JOB)), assigned(1))
        self.assertEqual(self.submit(b, unique=b"u"), self.created(1))
        worker.tell(request(WORK_COMPLETE, handle(1), b""))
        self.world.run(0.2)
        self.assertEqual(self.submit(b, unique=b"u"), self.created(SIZE + 1))

    def test_of_one_that_died(self) -> None:
        """It is joined before and after the others have its jobs."""
        a, b = self.join("a", "b")
        self.submit(a, unique=b"u")
        a.kill()
        self.assertEqual(self.submit(b, unique=b"u"), self.created(1))
        self.world.run(LEASE + 1)
        self.assertEqual(b.member.takeovers, 1)
        self.assertEqual(self.submit(b, unique=b"u"), self.created(1))
        self.assertEqual(self.grab(b), assigned(1))

    def test_a_submit_on_its_way_when_the_part_is_taken(self) -> None:
        a, b = self.join("a", "b")
        self.submit(a, unique=b"u")
        a.kill()
        client = b.connect()
        b.thread.until_heard = 0.2
        while 1 not in b.store.parts:
            self.world.run(0.05)
        self.assertEqual(b.member.takeovers, 0)
        client.tell(submit(unique=b"u"))
        self.world.run(2)
        self.assertEqual((client.heard(), b.member.takeovers), (self.created(1), 1))
        b.server.broker.check()

    def test_who_waits_has_one_of_its_own(self) -> None:
        a, b = self.join("a", "b")
        self.submit(a, unique=b"u")
        client = b.connect()
        client.tell(request(SUBMIT_JOB, b"f", b"u", b"w"))
        self.assertEqual(client.heard(), self.created(SIZE))


def every_minute(name: bytes = b"s", unique: bytes = b"") -> Schedule:
    return Schedule(name, "* * * * *", b"f", unique=unique)


class SchedulesTests(ClusterTestCase):
    def schedule(self, *nodes: Node, unique: bytes = b"") -> list[Scheduler]:
        schedulers = [Scheduler(node.server) for node in nodes]
        for scheduler, node in zip(schedulers, nodes, strict=True):
            scheduler.start([every_minute(unique=unique)], node.store.values())
            self.addCleanup(scheduler.stop)
        return schedulers

    def run_to(self, seconds: float) -> None:
        self.world.run(seconds - self.world.clock.seconds())

    @property
    def jobs(self) -> list[int]:
        return sorted(self.world.database.kept)

    def test_each_time_has_one_job(self) -> None:
        """Nobody makes a noise about it."""
        nodes = self.join("a", "b", "c")
        schedulers = self.schedule(*nodes)
        with capturedLogs() as events:
            self.run_to(1085)
        self.assertEqual((events, len(self.jobs)), ([], 2))
        for scheduler, node in zip(schedulers, nodes, strict=True):
            shown = scheduler.shown(b"s")
            self.assertEqual((shown["last"], shown["refused"]), (1080.0, None))
            self.assertEqual(shown["run"].handle, handle(max(self.jobs)))
            node.server.broker.check()

    def test_clocks_that_differ(self) -> None:
        a, b = self.join("a", "b")
        b.fixture.wall.ahead = 3.0
        b.server.end_turn()
        self.schedule(a, b)
        for minute in range(1, 4):
            self.run_to(960 + 60 * minute + 10)
            self.assertEqual(len(self.jobs), minute)

    def test_one_that_starts_later(self) -> None:
        """What others have done it does not do again; what nobody has done it does."""
        a, b = self.join("a", "b")
        (scheduler,) = self.schedule(a)
        self.run_to(1030)
        self.schedule(b)
        self.run_to(1050)
        self.assertEqual(len(self.jobs), 1)
        scheduler.stop()
        self.run_to(1100)
        self.assertEqual(len(self.jobs), 2)

    def test_one_that_joins(self) -> None:
        """Its last job has not ended: it is that one for all of them, and the time is over."""
        nodes = self.join("a", "b")
        schedulers = self.schedule(*nodes, unique=b"u")
        self.run_to(1025)
        (number,) = self.jobs
        self.run_to(1085)
        self.assertEqual(self.jobs, [number])
        self.assertEqual([value.value for value in self.world.database.rows.values()], [1080.0])
        for scheduler in schedulers:
            run = scheduler.shown(b"s")["run"]
            self.assertEqual((run.handle, run.joined), (handle(number), True))

    def test_somebody_else_submits_the_same(self) -> None:
        """That is a job, also where another server's was for that time, and has ended."""
        a, b = self.join("a", "b")
        self.schedule(a, b, unique=b"u")
        b.thread.until_done = 0.5
        self.run_to(1019.9)
        worker = self.worker(a)
        client = b.connect()
        self.run_to(1020.2)
        job = worker.ask(request(GRAB_JOB))
        self.assertTrue(job.startswith(response(JOB_ASSIGN, b"")[:8]))
        client.tell(submit(unique=b"u"))
        worker.tell(request(WORK_COMPLETE, handle(self.jobs[0]), b""))
        self.run_to(1023)
        self.assertEqual(client.heard(), response(JOB_CREATED, handle(self.jobs[-1])))
        self.assertGreaterEqual(self.jobs[-1], SIZE)

    def test_one_that_was_refused_and_is_there(self) -> None:
        """Its time is put back with it, and only its own."""
        a, b = self.join("a", "b")
        self.schedule(a, b)
        b.freeze()
        self.run_to(1019.9)
        a.thread.until_heard = 6.0
        self.run_to(1021)
        a.thread.until_heard = 0.0
        (first,) = self.jobs
        self.run_to(1020 + 3 * RETRY)
        (second,) = self.jobs
        self.assertGreater(second, first)
        self.assertEqual([value.value for value in self.world.database.rows.values()], [1020.0])

    def test_one_that_nobody_has_any_more(self) -> None:
        a, b = self.join("a", "b")
        (first, second) = self.schedule(a, b)
        self.run_to(1025)
        first.replace([])
        second.replace([])
        self.world.run(0.2)
        self.assertEqual(self.world.database.rows.values(), [])
