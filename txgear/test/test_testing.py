"""
Tests for L{txgear.testing}, which are tests of server, client and worker together, too.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IConsumer, IPushProducer, IStreamClientEndpoint, ITransport
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txgear import testing
from txgear.client import Client, Task
from txgear.errors import (
    JobFailed,
    JobLost,
    JobRaised,
    NotConnected,
    QueueError,
    StoreUnavailable,
    StoreUnusable,
)
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.server.settings import Settings
from txgear.stores.memory import MemoryStore
from txgear.test.support.journal import FaultyStore
from txgear.testing import MemoryServer
from txgear.worker import Fail, Worker, WorkerJob


class TestingTestCase(SynchronousTestCase):
    """A server, and a check that it leaves nothing behind."""

    def setUp(self) -> None:
        self.server = MemoryServer()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        self.server.stop()
        self.assertEqual([], self.server.clock.getDelayedCalls())

    def reverser(self, **options: object) -> Worker:
        worker = self.server.worker(**options)
        worker.register("reverse", lambda job: job.workload[::-1])
        return worker


class TogetherTests(TestingTestCase):
    """The parts of this package, wired together."""

    def test_run(self) -> None:
        """A job goes to the worker, its result to the client."""
        self.reverser()
        client = self.server.client()
        self.assertEqual(b"!dlroW olleH", self.server.result(client.run("reverse", b"Hello World!")))

    def test_await(self) -> None:
        """An async function under test."""
        self.reverser()

        async def twice(client: Client) -> bytes:
            return await client.run("reverse", await client.run("reverse", b"abc"))

        self.assertEqual(b"abc", self.server.result(twice(self.server.client())))

    def test_errors(self) -> None:
        """Failures and exceptions arrive as errors, and are raised."""
        worker = self.server.worker()

        @worker.function("fail")
        def fail(job: WorkerJob) -> None:
            raise Fail()

        @worker.function("raise")
        async def raises(job: WorkerJob) -> None:
            raise ValueError("no")

        client = self.server.client()
        self.assertRaises(JobFailed, self.server.result, client.run("fail"))
        error = self.assertRaises(JobRaised, self.server.result, client.run("raise"))
        self.assertEqual("ValueError: no", str(error).splitlines()[0])
        self.flushLoggedErrors(ValueError)

    def test_refused(self) -> None:
        """What the server refuses is an error of its code."""
        self.assertEqual("OK\r\n", self.server.command("create function f"))
        self.assertEqual("OK\r\n", self.server.command("maxqueue f 1"))
        client = self.server.client()
        self.server.result(client.submit_background("f"))
        self.assertRaises(QueueError, self.server.result, client.submit_background("f"))

    def test_news(self) -> None:
        """Progress and data on the way."""
        worker = self.server.worker()

        @worker.function("count", blocking=True)
        def count(job: WorkerJob) -> str:
            for n in range(2):
                job.set_status(n, 2)
                job.send_data(b"%d" % n)
            job.send_warning(b"enough")
            return "done"

        news: list[object] = []
        job = self.server.client().submit("count")
        job.on_status(lambda n, d: news.append((n, d))).on_data(news.append).on_warning(news.append)
        self.assertEqual(b"done", self.server.result(job.result))
        self.assertEqual([(0, 2), b"0", (1, 2), b"1", b"enough"], news)

    def test_coalesced(self) -> None:
        """Two submits of one client with one unique are one job; each hears everything once."""
        worker = self.server.worker()
        gate: Deferred[bytes] = Deferred()
        runs: list[WorkerJob] = []

        @worker.function("f")
        async def f(job: WorkerJob) -> bytes:
            runs.append(job)
            await gate
            job.send_data(b"same")
            job.send_data(b"same")
            return b"r"

        client = self.server.client()
        heard: list[list[bytes]] = [[], [], []]
        jobs = [client.submit("f", unique="u").on_data(mine.append) for mine in heard]
        self.server.flush()
        status = self.server.result(client.status_unique("u"))
        self.assertEqual((True, True, 3), (status.known, status.running, status.clients))
        gate.callback(b"")
        self.assertEqual([b"r"] * 3, [self.server.result(job.result) for job in jobs])
        self.assertEqual([[b"same", b"same"]] * 3, heard)
        self.assertEqual(1, len(runs))
        self.assertFalse(self.server.result(client.status_unique("u")).known)

    def test_priorities(self) -> None:
        """Jobs that wait are handed out by priority."""
        client = self.server.client()
        done = client.run_all(
            [
                Task("f", name.encode(), priority=priority)
                for name, priority in (("low", LOW), ("normal", NORMAL), ("high", HIGH))
            ]
        )
        self.server.flush()
        order: list[bytes] = []
        self.server.worker().register("f", lambda job: order.append(job.workload))
        self.assertEqual([b""] * 3, self.server.result(done))
        self.assertEqual([b"high", b"normal", b"low"], order)

    def test_at(self) -> None:
        """A background job for later."""
        worker = self.server.worker()
        seen: list[bytes] = []
        worker.register("mail", lambda job: seen.append(job.workload))
        client = self.server.client()
        at = self.server.clock.seconds() + 3600
        handle = self.server.result(client.submit_background("mail", b"m", at=at))
        self.server.advance(3599)
        self.assertEqual([], seen)
        self.assertTrue(self.server.result(client.status(handle)).known)
        self.server.advance(1)
        self.assertEqual([b"m"], seen)
        self.assertFalse(self.server.result(client.status(handle)).known)

    def test_timeout(self) -> None:
        """A job that takes too long is given up by its worker, and goes to whoever asks next."""
        worker = self.server.worker()
        tries: list[WorkerJob] = []

        @worker.function("f", timeout=10)
        async def f(job: WorkerJob) -> bytes:
            tries.append(job)
            if len(tries) == 1:
                await Deferred()
            return b"done"

        result = self.server.client().run("f")
        self.server.advance(9.9)
        self.assertEqual([False], [job.gone for job in tries])
        self.server.advance(0.1)
        self.assertEqual(b"done", self.server.result(result))
        self.assertEqual((2, True, b"H:localhost:1"), (len(tries), tries[0].gone, tries[1].handle))

    def test_stop_deadline(self) -> None:
        """A worker that cannot finish in time leaves its job to the next."""
        worker = self.server.worker(stop_timeout=5)
        worker.register("f", lambda job: Deferred())
        result = self.server.client().run("f")
        self.server.flush()
        stopped = worker.stopService()
        self.server.advance(5)
        self.server.result(stopped)
        self.server.worker().register("f", lambda job: b"done")
        self.assertEqual(b"done", self.server.result(result))

    def test_reduce(self) -> None:
        """A job in parts."""
        client = self.server.client()
        worker = self.server.worker(concurrency=2)
        worker.register("len", lambda job: str(len(job.workload)))

        @worker.partition("sizes", client, aggregate=b"+".join)
        def split(job: WorkerJob) -> list[bytes]:
            return job.workload.split()

        self.assertEqual(b"1+2+3", self.server.result(client.run("sizes", b"a bb ccc", reducer="len")))
        data: list[bytes] = []
        job = client.submit("sizes", b"a bb").on_data(data.append)
        self.assertEqual(b"", self.server.result(job.result))
        self.assertEqual([b"a", b"bb"], data)

    def test_graceful_stop(self) -> None:
        """A worker that stops ends its job first, and leaves the others to the next worker."""
        worker = self.server.worker()
        gate: Deferred[bytes] = Deferred()
        worker.register("f", lambda job: gate)
        client = self.server.client()
        first, second = client.run("f"), client.run("f")
        self.server.flush()
        stopped = worker.stopService()
        self.server.flush()
        self.assertNoResult(stopped)
        gate.callback(b"1")
        self.assertEqual(b"1", self.server.result(first))
        self.server.result(stopped)
        self.assertEqual("f\t1\t0\t0\n.\n", self.server.command("status"))
        self.server.worker().register("f", lambda job: b"2")
        self.assertEqual(b"2", self.server.result(second))


class MemoryServerTests(TestingTestCase):
    """What the tests of others use."""

    def test_nothing_by_itself(self) -> None:
        """Bytes travel when the test says so."""
        self.reverser()
        result = self.server.client().run("reverse", b"abc")
        self.assertNoResult(result)
        self.server.flush()
        self.assertEqual(b"cba", self.successResultOf(result))

    def test_no_result(self) -> None:
        """Waiting for what does not come fails the test."""
        result = self.server.client().run("reverse", b"abc")
        error = self.assertRaises(AssertionError, self.server.result, result)
        self.assertIn("there is no result yet", str(error))

    def test_endless(self) -> None:
        """A loop ends the test, too."""
        worker = self.server.worker()
        client = self.server.client()
        worker.register("again", lambda job: client.submit_background("again").addCallback(lambda _: None))
        again = client.submit_background("again")
        error = self.assertRaises(AssertionError, self.server.flush)
        self.assertEqual("bytes still travel after 10000 rounds", str(error))
        self.assertEqual(b"H:localhost:1", self.successResultOf(again))
        self.server.crash()

    def test_clock(self) -> None:
        """A test may bring its own clock; everything happens at its time."""
        clock = Clock()
        clock.advance(5)
        server = MemoryServer(clock)
        self.addCleanup(server.stop)
        moments: list[float] = []
        for moment in (7, 6, 6, 9):
            clock.callLater(moment - 5, lambda: moments.append(clock.seconds()))
        server.advance(3)
        self.assertEqual(([6, 6, 7], 8), (moments, clock.seconds()))
        server.advance(1)

    def test_settings(self) -> None:
        """The server can be set as an operator sets it."""
        server = MemoryServer(settings=Settings(prefix=b"J"))
        self.addCleanup(server.stop)
        self.assertEqual(b"J:1", server.result(server.client().submit_background("f")))

    def test_cut(self) -> None:
        """Connections break: what was under way is lost to the client, and done again by the worker."""
        worker = self.server.worker()
        runs: list[bytes] = []
        waiting: list[Deferred[bytes]] = []

        def f(job: WorkerJob) -> Deferred[bytes]:
            runs.append(job.handle)
            waiting.append(Deferred())
            return waiting[-1]

        worker.register("f", f)
        client = self.server.client()
        self.server.result(client.submit_background("f"))
        lost = client.run("f")
        self.server.flush()
        self.server.cut()
        self.assertRaises(JobLost, self.server.result, lost)
        self.server.advance(1)
        self.assertEqual([b"H:localhost:1"], runs)
        waiting[0].callback(b"")
        self.server.flush()
        self.assertEqual("f\t0\t0\t1\n.\n", self.server.command("status"))

    def test_cut_without_grace(self) -> None:
        """The server takes the job back at once, and gives it out anew."""
        server = MemoryServer(settings=Settings(worker_grace=0.0))
        self.addCleanup(server.stop)
        runs: list[bytes] = []

        def f(job: WorkerJob) -> Deferred[bytes]:
            runs.append(job.handle)
            return Deferred()

        server.worker().register("f", f)
        server.result(server.client().submit_background("f"))
        server.flush()
        server.cut()
        server.advance(1)
        self.assertEqual([b"H:localhost:1"] * 2, runs)

    def test_crash(self) -> None:
        """A server that has crashed takes no connections; one that is back has no jobs."""
        self.reverser()
        client = self.server.client(connect_timeout=5)
        self.server.result(client.submit_background("other"))
        self.server.crash()
        self.server.crash()
        self.assertRaises(ConnectionRefusedError, self.server.command, "status")
        result = client.run("reverse", b"abc")
        self.server.advance(5)
        self.assertRaises(NotConnected, self.server.result, result)
        result = client.run("reverse", b"abc")
        self.server.restart()
        self.server.restart()
        self.server.advance(5)
        self.assertEqual(b"cba", self.server.result(result))
        self.assertEqual("reverse\t0\t0\t1\n.\n", self.server.command("status"))

    def test_crash_meanwhile(self) -> None:
        """A server may crash in the middle of everything."""
        worker = self.server.worker()

        @worker.function("f")
        def f(job: WorkerJob) -> None:
            self.server.crash()

        lost = [self.server.client().run("f"), self.server.client().run("g")]
        self.server.flush()
        for result in lost:
            self.failureResultOf(result, JobLost)

    def test_several(self) -> None:
        """Several servers on one clock: the client goes to the next, the worker is at all."""
        second = MemoryServer(beside=self.server)
        self.addCleanup(second.stop)
        servers = [self.server.endpoint, second.endpoint]
        worker = Worker(self.server.clock, servers, random=lambda: 0.5)
        worker.register("where", lambda job: job.handle)
        worker.startService()
        client = Client(self.server.clock, servers, random=lambda: 0.5)
        self.assertEqual(b"H:localhost:1", self.server.result(client.run("where")))
        self.assertEqual("where\t0\t0\t1\n.\n", second.command("status"))
        self.server.crash()
        self.assertEqual(b"H:localhost:1", second.result(client.run("where")))
        self.assertEqual(b"H:localhost:2", second.result(client.run("where")))
        stopping = [client.close(), worker.stopService()]
        for each in stopping:
            second.result(each)

    def test_stop_gives_up(self) -> None:
        """Jobs that have not ended do not keep the test from ending."""
        given_up: list[object] = []
        self.server.worker().register("f", lambda job: Deferred(given_up.append))
        result = self.server.client().run("f")
        self.server.flush()
        self.server.stop()
        self.failureResultOf(result, JobLost)
        self.assertEqual(1, len(given_up))
        self.assertEqual([], self.server.clock.getDelayedCalls())

    def test_interfaces(self) -> None:
        """What stands for a transport and an endpoint is one."""
        end = testing._End(1)
        for interface in (ITransport, IConsumer, IPushProducer):
            verifyObject(interface, end)
        verifyObject(IStreamClientEndpoint, self.server.endpoint)
        self.assertEqual(end.getPeer(), end.getHost())
        self.assertEqual("memory", repr(self.server.endpoint))

    def test_flow_control(self) -> None:
        """An end that reads nothing gets nothing; one that closes first sends what it had written."""
        end = testing._End(1)
        end.write(b"a")
        end.stopProducing()
        end.write(b"b")
        self.assertEqual([b"a"], end.written)
        end.pauseProducing()
        self.assertFalse(end.reading)
        end.resumeProducing()
        self.assertTrue(end.reading)


class DurableTests(TestingTestCase):
    """A server with a store."""

    def setUp(self) -> None:
        self.store = FaultyStore()
        self.server = MemoryServer(store=self.store)
        self.addCleanup(self.stop)
        self.client = self.server.client()

    def submit(self, *workloads: bytes) -> list[bytes]:
        """Background jobs; their handles."""
        return [self.server.result(self.client.submit_background("f", each)) for each in workloads]

    def runs(self) -> list[bytes]:
        """A worker for all jobs; the workloads that it gets."""
        workloads: list[bytes] = []
        self.server.worker().register("f", lambda job: workloads.append(job.workload))
        return workloads

    def restart(self) -> None:
        """Crash and come back, and let everybody connect again."""
        self.server.crash()
        self.server.restart()
        self.server.advance(2)

    def test_crash(self) -> None:
        """Background jobs are back with their handles, foreground jobs are not."""
        handles = self.submit(b"one", b"two")
        lost = self.client.run("f", b"lost")
        self.server.flush()
        self.restart()
        self.failureResultOf(lost, JobLost)
        for handle in handles:
            self.assertTrue(self.server.result(self.client.status(handle)).known)
        self.assertEqual([b"one", b"two"], self.runs_at_once())
        self.server.advance(1)
        self.assertEqual({}, self.store.kept)
        self.restart()
        self.assertEqual([], self.runs_at_once())

    def runs_at_once(self) -> list[bytes]:
        """What a new worker gets at once."""
        runs = self.runs()
        self.server.flush()
        return runs

    def test_crash_while_it_runs(self) -> None:
        """A job that runs in a crash goes on, and its worker has it again under the same attempt."""
        waiting: list[WorkerJob] = []

        def f(job: WorkerJob) -> Deferred[None]:
            waiting.append(job)
            return Deferred()

        self.server.worker(concurrency=2).register("f", f)
        self.submit(b"one", b"two")
        self.assertEqual(2, len(waiting))
        self.restart()
        self.assertEqual([b"one", b"two"], [job.workload for job in waiting])
        self.assertEqual([0, 0], [job.retries for job in self.store.kept.values()])
        self.assertEqual("f\t2\t2\t1\n.\n", self.server.command("status"))

    def test_the_last_moment(self) -> None:
        """What has ended within the moment before the crash is back."""
        runs = self.runs()
        self.submit(b"one")
        self.assertEqual([b"one"], runs)
        self.server.crash()
        self.assertEqual([1], list(self.store.kept))
        self.server.restart()
        self.server.advance(2)
        self.assertEqual([b"one", b"one"], runs)
        self.assertEqual({}, self.store.kept)

    def test_stop(self) -> None:
        """An orderly end writes what has ended, leaves what has not, and gives numbers back."""
        self.submit(b"one")
        self.runs()
        self.server.flush()
        self.client = self.server.client()
        self.assertEqual([b"H:localhost:2"], [self.server.result(self.client.submit_background("g"))])
        self.stop()
        self.assertEqual([2], list(self.store.kept))
        self.assertEqual(3, self.store.closed_with)

    def test_one_after_the_other(self) -> None:
        """Another server may go on with the store, but not at the same time."""
        store = MemoryStore()
        first = MemoryServer(store=store)
        self.addCleanup(first.stop)
        first.result(first.client().submit_background("f", b"kept"))
        self.assertRaises(StoreUnusable, MemoryServer, store=store)
        first.stop()
        second = MemoryServer(store=store)
        self.addCleanup(second.stop)
        runs: list[bytes] = []
        second.worker().register("f", lambda job: runs.append(job.workload))
        second.flush()
        self.assertEqual([b"kept"], runs)

    def test_trouble(self) -> None:
        """A store may fail: it is opened again in time, and the client is told why until then."""
        self.store.fail("write", StoreUnavailable("gone"))
        self.store.fail("open", StoreUnavailable("gone"), times=3)
        submitted = self.client.submit_background("f")
        self.server.flush()
        self.assertNoResult(submitted)
        refused = self.server.client().submit_background("f")
        error = self.assertRaises(QueueError, self.server.result, refused)
        self.assertEqual(StoreUnavailable.told, error.text)
        self.server.advance(1)
        self.assertEqual(b"H:localhost:1", self.successResultOf(submitted))

    def test_trouble_at_the_end(self) -> None:
        """Nothing is left of one that never comes back."""
        self.runs()
        self.submit(b"one")
        self.store.fail("write", StoreUnavailable("gone"), times=99)
        self.store.fail("open", StoreUnavailable("gone"), times=99)
        self.server.advance(1)
        refused = self.client.submit_background("f")
        self.assertRaises(QueueError, self.server.result, refused)
        self.stop()
        self.assertEqual([1], list(self.store.kept))

    def test_crash_in_trouble(self) -> None:
        """Nor of one that was gone in a crash."""
        self.store.fail("write", StoreUnavailable("gone"))
        self.store.fail("open", StoreUnavailable("gone"))
        lost = self.client.submit_background("f")
        self.server.flush()
        self.server.crash()
        self.server.flush()
        self.failureResultOf(lost)
        self.assertRaises(StoreUnavailable, self.fail_to_restart)
        self.restart()
        self.assertEqual(1, len(self.submit(b"one")))

    def fail_to_restart(self) -> None:
        """The store is not there."""
        self.store.fail("open", StoreUnavailable("gone"))
        self.server.restart()

    def test_settings(self) -> None:
        """What does not fit into memory is read when it is wanted."""
        server = MemoryServer(store=MemoryStore(), settings=Settings(queue_memory=0))
        self.addCleanup(server.stop)
        client = server.client()
        for workload in (b"one", b"two"):
            server.result(client.submit_background("f", workload))
        runs: list[bytes] = []
        server.worker().register("f", lambda job: runs.append(job.workload))
        server.advance(1)
        self.assertEqual([b"one", b"two"], runs)
