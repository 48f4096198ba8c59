"""Tests of L{txgear.broker.diagnosis.diagnosisjobs}: each line from a state that was made."""

from __future__ import annotations

from txgear.broker.diagnosis.diagnosisjobs import REFUSED_SECONDS, draining
from txgear.broker.diagnosis.findings import CRITICAL, INFO, OK, WARNING, Case, Trend
from txgear.broker.life.operations import MOST_PURGES
from txgear.broker.model import Peer
from txgear.broker.operators.inspection import moment
from txgear.broker.rights import PEERS, SETTINGS
from txgear.broker.shares import NONE, Share
from txgear.broker.tenants import Quota
from txgear.errors import QUEUE_FULL, QueueError
from txgear.protocol.constants import LOW
from txgear.test.support.broker import FakeRights
from txgear.test.support.diagnosis import MORNING, DiagnosisTestCase, DurableDiagnosisTestCase


class OperatorTests(DiagnosisTestCase):
    def pause(self, by: str = "alice") -> None:
        self.broker.operations.pause(b"f", self.fixture.now, by)

    def test_paused(self) -> None:
        self.pause()
        self.fixture.now += 1500
        self.assertEqual(self.line("paused"), (INFO, "paused by alice since 09:00:00 UTC (25 min)"))
        self.fixture.submit(None)
        self.assertEqual(
            self.line("paused"), (WARNING, "paused by alice since 09:00:00 UTC (25 min); 1 job waits")
        )
        facts = {"by": "alice", "since": moment(MORNING), "seconds": 1500.0, "jobs": 1}
        self.assertEqual(self.facts("paused"), facts)

    def test_who_paused_first_stays_known(self) -> None:
        self.pause()
        self.fixture.now += 60
        self.pause("bob")
        self.assertEqual(self.facts("paused")["by"], "alice")
        self.broker.operations.resume(b"f", self.fixture.now)
        self.pause("bob")
        self.assertEqual(
            self.facts("paused"), {"by": "bob", "since": moment(MORNING + 60), "seconds": 0, "jobs": 0}
        )

    def test_who_that_was_only_those_hear_who_may_know_of_others(self) -> None:
        self.pause()
        self.peer = self.fixture.tenant("bob", (PEERS, b""))
        self.assertEqual(self.line("paused"), (INFO, "paused since 09:00:00 UTC (less than 1 s)"))
        self.assertIsNone(self.facts("paused")["by"])
        self.peer = self.fixture.tenant("alice", (PEERS, b""))
        self.assertEqual(self.facts("paused")["by"], "alice")

    def test_nobody_knows_who_paused(self) -> None:
        self.pause("")
        self.assertEqual(self.line("paused")[1], "paused since 09:00:00 UTC (less than 1 s)")

    def test_purged(self) -> None:
        self.fixture.worker(b"f")
        for _ in range(3):
            self.fixture.submit(None)
        self.broker.operations.purge(b"f", self.fixture.now, "alice")
        words = "3 jobs are being purged by alice: nothing is handed out meanwhile"
        self.assertEqual(self.line("being_purged"), (INFO, words))
        self.fixture.pass_time(240)
        words = "3 jobs were purged by alice at 09:00:00 UTC (4 min ago)"
        self.assertEqual(self.line("purged"), (INFO, words))
        facts = {"by": "alice", "when": moment(MORNING), "seconds": 240.0, "jobs": 3}
        self.assertEqual(self.facts("purged"), facts)
        self.peer.rights = FakeRights((PEERS, b""))
        self.assertEqual(self.line("purged")[1], "3 jobs were purged at 09:00:00 UTC (4 min ago)")
        self.fixture.pass_time(3600)
        self.assertNotIn("purged", self.found())

    def test_of_one_purge_it_is_said_once(self) -> None:
        self.fixture.worker(b"f")
        self.broker.operations.purge(b"f", self.fixture.now)
        self.fixture.pass_time(60)
        self.broker.operations.purge(b"f", self.fixture.now, "bob")
        self.fixture.pass_time(60)
        self.assertEqual(self.line("purged")[1], "0 jobs were purged by bob at 09:01:00 UTC (60 s ago)")

    def test_the_oldest_purges_are_forgotten(self) -> None:
        self.fixture.worker(b"f")
        self.broker.operations.purge(b"f", self.fixture.now)
        for number in range(MOST_PURGES):
            name = b"f%d" % number
            self.fixture.worker(name)
            self.broker.operations.purge(name, self.fixture.now)
        self.fixture.pass_time(1)
        self.assertNotIn("purged", self.found())
        self.assertIn("purged", self.found(b"f0"))


class SetTests(DiagnosisTestCase):
    def test_the_rate(self) -> None:
        self.fixture.set(rate={"jobs": "1/m", "burst": 1})
        worker = self.fixture.worker(b"f")
        for _ in range(2):
            self.fixture.submit(None)
        self.assertNotIn("rate", self.found())
        self.fixture.grab(worker)
        self.fixture.now += 15
        words = "the rate (1/m) allows the next at 09:01:00 UTC, in 45 s"
        self.assertEqual(self.line("rate"), (INFO, words))
        self.assertEqual(self.facts("rate"), {"rate": "1/m", "next": moment(MORNING + 60), "seconds": 45.0})

    def test_the_rate_holds_nothing_back_where_nothing_waits(self) -> None:
        self.fixture.set(rate={"jobs": "1/m", "burst": 1})
        worker = self.fixture.worker(b"f")
        self.fixture.submit(None)
        self.fixture.grab(worker)
        self.assertNotIn("rate", self.found())

    def test_concurrency(self) -> None:
        self.fixture.set(concurrency=2)
        worker = self.fixture.worker(b"f")
        for _ in range(3):
            self.fixture.submit(None)
        self.fixture.grab(worker)
        self.assertNotIn("concurrency", self.found())
        self.fixture.grab(worker)
        self.assertEqual(self.line("concurrency"), (INFO, "2 jobs run, and 2 may at once"))
        self.assertEqual(self.facts("concurrency"), {"running": 2, "concurrency": 2})
        self.assertNotIn("rate", self.found())

    def test_concurrency_of_several_servers(self) -> None:
        operations, now = self.broker.operations, self.fixture.now
        self.fixture.set(concurrency=1)
        self.fixture.worker(b"f")
        self.fixture.submit(None)
        words = "0 jobs run, and 0 may at once"
        operations.set_share(NONE, now)
        self.assertEqual(self.line("concurrency"), (INFO, f"{words}: this server has just joined the others"))
        operations.set_share(Share(2, 0), now)
        turns = "at this server: all servers together have fewer places than they are, and take turns"
        self.assertEqual(self.line("concurrency"), (INFO, f"{words} {turns}"))
        self.assertEqual(self.facts("concurrency"), {"running": 0, "concurrency": 0})
        operations.borrow({b"f": 1}, now)
        self.assertNotIn("concurrency", self.found())

    def test_whose_jobs_wait_for_others_of_theirs(self) -> None:
        quotas = {name: Quota(running=1) for name in ("a", "b", "c", "d")}
        self.fixture.quotas(**quotas)
        worker = self.fixture.worker(b"f")
        for number, name in enumerate(quotas):
            client = self.fixture.tenant(name)
            for _ in range(number + 2):
                self.fixture.submit(client)
        self.assertNotIn("identity_bound", self.found())
        self.fixture.grab_all(worker)
        words = (
            "10 jobs wait until others end of those who submitted them: 4 of d, of which 1 run and 1 may,"
            " 3 of c, of which 1 run and 1 may, 2 of b, of which 1 run and 1 may and 1 other"
        )
        self.assertEqual(self.line("identity_bound"), (INFO, words))
        facts = self.facts("identity_bound")
        self.assertEqual(facts["jobs"], 10)
        self.assertEqual(facts["identities"][0], {"identity": "d", "jobs": 4, "running": 1, "bound": 1})
        self.peer = self.fixture.tenant("a", (PEERS, b""))
        self.assertEqual(
            self.line("identity_bound")[1],
            "10 jobs wait until others end of those who submitted them:"
            " 1 of a, of which 1 run and 1 may and 3 others",
        )
        self.peer = Peer(0, "192.0.2.9")
        self.peer.rights = FakeRights((PEERS, b""))
        words = "10 jobs wait until others end of those who submitted them"
        self.assertEqual(self.line("identity_bound")[1], words)
        self.assertEqual(self.facts("identity_bound")["identities"], [])

    def test_where_all_who_are_held_are_named_there_are_no_others(self) -> None:
        self.fixture.quotas(a=Quota(running=1))
        worker = self.fixture.worker(b"f")
        client = self.fixture.tenant("a")
        for _ in range(2):
            self.fixture.submit(client)
        self.fixture.grab_all(worker)
        words = "1 job waits until others end of those who submitted them: 1 of a, of which 1 run and 1 may"
        self.assertEqual(self.line("identity_bound")[1], words)

    def test_the_queue_is_full(self) -> None:
        self.fixture.set(max_queue=2)
        self.fixture.worker(b"f")
        self.fixture.submit(None, workload=b"12345")
        self.assertNotIn("queue_full", self.found())
        self.fixture.submit(None, workload=b"12345")
        words = "submits are refused: Job queue is full: max_queue is 2; 2 jobs of 10 bytes"
        self.assertEqual(self.line("queue_full"), (CRITICAL, words))
        for _ in range(2):
            self.assertRaises(QueueError, self.fixture.submit, None)
        self.fixture.now += 4
        self.assertEqual(self.line("queue_full")[1], f"{words}; 2 submits were refused, the last 4 s ago")
        facts = {
            "jobs": 2,
            "bytes": 10,
            "reason": "Job queue is full: max_queue is 2",
            "refused": 2,
            "last": moment(MORNING),
        }
        self.assertEqual(self.facts("queue_full"), facts)

    def test_the_queue_is_full_for_one_priority(self) -> None:
        self.fixture.worker(b"f")
        self.fixture.submit(None)
        self.broker.operations.limit_function(b"f", (0, 0, 1))
        self.assertRaises(QueueError, self.fixture.submit, None, priority=LOW)
        words = "submits are refused: Job queue is full; 1 job of 0 bytes; 1 submit was refused, the last"
        self.assertEqual(self.line("queue_full"), (CRITICAL, f"{words} less than 1 s ago"))

    def test_the_server_drains(self) -> None:
        self.fixture.worker(b"f")
        self.fixture.submit(self.fixture.connect())
        self.fixture.drain()
        words = "the server is to end: it takes no job, and hands out only what clients wait for"
        self.assertEqual(self.line("draining"), (WARNING, words))

    def test_what_ends_with_a_server_without_a_store(self) -> None:
        self.fixture.worker(b"f")
        self.fixture.submit(None)
        self.fixture.drain()
        words = "the server is to end: it takes no job, and hands out only what clients wait for"
        self.assertEqual(self.line("draining")[1], f"{words}; 1 job ends with it, as there is no store")

    def test_more_than_are_looked_at_end_with_it(self) -> None:
        for _ in range(3):
            self.fixture.submit(None)
        self.fixture.drain()
        function = self.broker.functions.by_name[b"f"]
        case = Case(self.broker, self.peer, function, self.fixture.now, None, most=2)
        (finding,) = draining(case)
        self.assertTrue(finding.text.endswith("; at least 2 jobs end with it, as there is no store"), finding)


class TimeTests(DiagnosisTestCase):
    def test_the_oldest(self) -> None:
        self.fixture.worker(b"f")
        self.fixture.submit(None)
        self.fixture.now += 299
        self.fixture.submit(None)
        self.assertNotIn("oldest_waits", self.found())
        self.fixture.now += 11221
        words = "the oldest job has waited since 09:00 UTC (3 h 12 min)"
        self.assertEqual(self.line("oldest_waits"), (WARNING, words))
        self.assertEqual(self.facts("oldest_waits"), {"since": moment(MORNING), "seconds": 11520.0})

    def test_more_come_than_end(self) -> None:
        self.fixture.worker(b"f")
        self.trend = Trend(300.0, 1500, 1000)
        self.assertNotIn("wait_grows", self.found())
        self.fixture.submit(None)
        words = "more jobs come than end: 1,500 came and 1,000 ended in the last 5 min"
        self.assertEqual(self.line("wait_grows"), (WARNING, words))
        self.assertEqual(self.facts("wait_grows"), {"came": 1500, "ended": 1000, "seconds": 300.0})
        self.trend = Trend(300.0, 1009, 1000)
        self.assertNotIn("wait_grows", self.found())

    def test_delayed(self) -> None:
        self.fixture.worker(b"f")
        self.fixture.submit(None, delay=600.0)
        self.assertEqual(self.line("delayed"), (INFO, "1 job waits for its time; the next at 09:10:00 UTC"))
        # By the wall clock, which is an hour ahead from now on.
        self.fixture.submit(None, due=MORNING + 3720)
        self.fixture.set_clock(3600)
        words = "2 jobs wait for their time; the next at 10:02:00 UTC"
        self.assertEqual(self.line("delayed"), (INFO, words))
        self.assertEqual(self.facts("delayed"), {"jobs": 2, "next": moment(MORNING + 3720), "seconds": 120.0})

    def test_to_be_tried_again(self) -> None:
        self.fixture.set(retries=5, backoff=30)
        worker = self.fixture.worker(b"f")
        job = self.grabbed(worker, self.fixture.submit(None))
        self.fails(worker, job)
        words = "1 job waits to be tried again; the next at 09:00:30 UTC"
        self.assertEqual(self.line("retrying"), (INFO, words))
        self.assertEqual(self.facts("retrying"), {"jobs": 1, "next": moment(MORNING + 30), "seconds": 30.0})

    def test_of_very_many_some_are_looked_at(self) -> None:
        self.fixture.worker(b"f")
        for _ in range(5001):
            self.fixture.submit(None, delay=600.0)
        words = "5,000 jobs wait for their time (of the 5,000 newest of 5,001 that wait)"
        self.assertEqual(self.line("delayed")[1], f"{words}; the next at 09:10:00 UTC")

    def test_the_dead(self) -> None:
        self.fixture.set(retries=0)
        worker = self.fixture.worker(b"f")
        for seconds in (120, 2900, 600):
            self.fails(worker, self.grabbed(worker, self.fixture.submit(None)))
            self.fixture.now += seconds
        words = "3 jobs are dead, 2 of the last hour; the last one died at 09:50:20 UTC (10 min ago)"
        self.assertEqual(self.line("dead"), (WARNING, words))
        self.assertEqual(self.facts("dead"), {"jobs": 3, "last_hour": 2, "last": moment(MORNING + 3020)})
        self.fixture.now += 7200
        words = "3 jobs are dead, 0 of the last hour; the last one died at 09:50 UTC (2 h 10 min ago)"
        self.assertEqual(self.line("dead"), (INFO, words))

    def test_very_many_dead(self) -> None:
        self.fixture.set(retries=0)
        worker = self.fixture.worker(b"f")
        for _ in range(5000):
            self.fails(worker, self.grabbed(worker, self.fixture.submit(None)))
        self.assertIn("at least 5,000 of the last hour", self.line("dead")[1])

    def test_what_is_kept_otherwise_is_not_dead(self) -> None:
        self.fixture.set(results="1d")
        worker = self.fixture.worker(b"f")
        self.complete(worker, self.grabbed(worker, self.fixture.submit(None)))
        self.assertNotIn("dead", self.found())


class DeadRowsTests(DurableDiagnosisTestCase):
    """Of the dead that are not in memory it is known how many there are, and when the last one died."""

    def test_before_and_after_a_start(self) -> None:
        self.fixture.set(retries=0, dead="1d")
        worker = self.fixture.worker(b"f")
        for _ in range(2):
            (job,) = self.fixture.store(b"")
            self.fails(worker, self.grabbed(worker, job))
            self.broker.store_events.written([job.number], self.fixture.now)
            self.fixture.now += 600
        words = "2 jobs are dead; the last one died at 09:10:00 UTC (10 min ago)"
        self.assertEqual(self.line("dead"), (WARNING, words))
        expected: dict[str, object] = {"jobs": 2, "last_hour": None, "last": moment(MORNING + 600)}
        self.assertEqual(self.facts("dead"), expected)
        self.fixture.now += 3600
        self.assertEqual(self.line("dead")[0], INFO)
        self.fixture.restart()
        # Nobody has looked at them yet.
        self.broker.archive.shelf(self.broker.functions.by_name[b"f"]).last = 0.0
        self.assertEqual(self.line("dead"), (INFO, "2 jobs are dead"))
        self.assertEqual(self.facts("dead"), {**expected, "last": None})


class StoreTests(DurableDiagnosisTestCase):
    queue_memory = 2

    def setUp(self) -> None:
        super().setUp()
        self.broker.store_events.reserve(1, 1000)
        self.worker = self.fixture.worker(b"f")

    def test_those_that_only_the_store_has(self) -> None:
        self.fixture.worker(b"f")
        for _ in range(3):
            self.fixture.submit(None, delay=600.0)
        self.fixture.commit()
        words = "3 jobs wait for a time that is not near, or to be tried again then"
        self.assertEqual(self.line("delayed"), (INFO, words))
        self.assertEqual(self.facts("delayed"), {"jobs": 3, "next": None, "seconds": None})
        self.fixture.submit(self.fixture.connect(), delay=500.0)
        words = "1 job waits for its time (of 1 in memory; 4 wait in all)"
        self.assertEqual(self.line("delayed")[1], f"{words}; the next at 09:08:20 UTC")

    def test_who_paused_is_known_over_a_restart(self) -> None:
        self.broker.operations.pause(b"f", self.fixture.now, "alice")
        self.fixture.restart()
        self.fixture.now += 120
        self.assertEqual(self.line("paused"), (INFO, "paused by alice since 09:00:00 UTC (2 min)"))

    def test_the_store_does_not_answer(self) -> None:
        self.journal.unavailable, self.journal.unavailable_since = "the disk is full", MORNING - 120
        words = "no background job is taken, as the store has not answered since 08:58:00 UTC (2 min)"
        self.assertEqual(self.line("store_unavailable"), (CRITICAL, f"{words}: the disk is full"))
        facts = {"since": moment(MORNING - 120), "seconds": 120.0, "reason": "the disk is full"}
        self.assertEqual(self.facts("store_unavailable"), facts)
        self.journal.detail = "db1: no space left"
        self.assertEqual(self.line("store_unavailable")[1], f"{words}: db1: no space left")
        # Who may not see where the store is reads what clients do.
        self.peer.rights = FakeRights((SETTINGS, b""))
        self.assertEqual(self.line("store_unavailable")[1], f"{words}: the disk is full")
        self.assertEqual(self.facts("store_unavailable"), facts)
        self.peer.rights = None
        # It does not take any either, but that is meant.
        self.fixture.drain()
        self.assertNotIn("store_unavailable", self.found())

    def test_what_waits_for_the_next_server(self) -> None:
        """Nobody can do it here any more: no worker is missed, nor is it said that nothing is due."""
        for _ in range(2):
            self.fixture.submit(None, b"g")
        self.fixture.commit()
        self.fixture.submit(None)
        self.fixture.commit()
        self.fixture.drain()
        words = "the server is to end: it takes no job, and hands out only what clients wait for"
        self.assertEqual(list(self.found(b"g")), ["draining"])
        self.assertEqual(self.line("draining", b"g"), (WARNING, f"{words}; 2 jobs wait for the next one"))
        self.assertEqual(self.facts("draining", b"g"), {"jobs": 2})
        self.assertEqual(self.line("draining"), (WARNING, f"{words}; 1 job waits for the next one"))

    def test_what_waits_while_another_job_runs(self) -> None:
        self.fixture.submit(None)
        self.fixture.commit()
        self.assertIsNotNone(self.broker.grab(self.worker, self.fixture.now))
        self.fixture.submit(None)
        self.fixture.commit()
        self.fixture.drain()
        self.assertEqual(self.line("at_work"), (OK, "1 job runs; 1 worker"))

    def test_rows_that_wait_for_the_next_server(self) -> None:
        """They may be due: nothing is said of their time."""
        for _ in range(3):
            self.fixture.submit(None, delay=600.0)
        self.fixture.commit()
        self.assertIn("delayed", self.found())
        self.fixture.drain()
        self.assertEqual(list(self.found()), ["draining"])
        self.assertEqual(self.facts("draining"), {"jobs": 3})

    def test_one_of_several_drains(self) -> None:
        """It takes jobs that another server does, unless the store is away."""
        self.fixture.submit(None)
        self.fixture.commit()
        self.broker.drain(self.fixture.now, True)
        words = "the server is to end: it takes background jobs for the other servers, and hands out only"
        self.assertEqual(
            self.line("draining"), (WARNING, f"{words} what clients wait for; 1 job waits for another")
        )
        self.assertNotIn("store_unavailable", self.found())
        self.journal.unavailable, self.journal.unavailable_since = "it is gone", MORNING - 5
        self.assertIn("store_unavailable", self.found())

    def test_the_server_ends(self) -> None:
        """At once, but for what it has to write: it is not the store that is away."""
        self.journal.unavailable, self.journal.unavailable_since = "The server is shutting down", MORNING
        self.journal.closing = True
        words = "the server ends: it takes no background job, and writes to its store what is left for that"
        self.assertEqual(self.line("draining"), (WARNING, words))
        self.assertNotIn("store_unavailable", self.found())
        self.fixture.drain()
        self.assertTrue(self.line("draining")[1].startswith("the server is to end: "))

    def test_the_store_refuses_jobs(self) -> None:
        """That is said for a while; other refusals that come later do not count."""
        self.assertNotIn("store_refuses", self.found())
        for _ in range(2):
            self.fixture.submit(None)
            self.fixture.refuse("the disk is full")
        self.fixture.now += 4
        words = "the store works, and does not keep all jobs: 2 submits were refused, the last 4 s ago"
        self.assertEqual(self.line("store_refuses"), (WARNING, words))
        self.assertEqual(self.facts("store_refuses"), {"refused": 2, "last": moment(MORNING)})
        self.fixture.now += REFUSED_SECONDS - 4
        self.broker.functions.by_name[b"f"].counts.refuse(QUEUE_FULL, self.fixture.now)
        self.assertIn("store_refuses", self.found())
        self.fixture.now += 0.1
        self.assertNotIn("store_refuses", self.found())

    def test_jobs_are_on_their_way(self) -> None:
        self.fixture.submit(None)
        self.fixture.now += 3
        self.fixture.submit(None, workload=b"1")
        words = "2 jobs are on their way to the store, the first for 3 s"
        self.assertEqual(self.line("storing"), (INFO, words))
        self.assertEqual(self.facts("storing"), {"jobs": 2, "since": moment(MORNING), "seconds": 3.0})
        self.fixture.commit(1)
        self.fixture.now += 5
        words = "1 job is on its way to the store, the first for 5 s"
        self.assertEqual(self.line("storing"), (WARNING, words))

    def test_jobs_are_being_read(self) -> None:
        self.fixture.store(b"123", b"456", b"789")
        self.assertNotIn("being_read", self.found())
        self.fixture.grab(self.worker)
        self.assertEqual(self.line("being_read"), (INFO, "2 jobs are being read from the store"))
        self.assertEqual(self.facts("being_read"), {"jobs": 2})
        self.fixture.leave(self.worker)
        self.assertNotIn("being_read", self.found())

    def test_jobs_that_cannot_be_read(self) -> None:
        self.fixture.store_waited_for(b"123", b"456", b"789")
        self.fixture.grab(self.worker)
        jobs = [job for job, _ in self.journal.fetch()]
        self.broker.store_events.loaded([], self.fixture.now, jobs)
        words = "1 job cannot be read from the store; the next attempt is at 09:01:00 UTC"
        self.assertEqual(self.line("unreadable"), (CRITICAL, words))
        self.assertEqual(self.facts("unreadable"), {"jobs": 1, "next": moment(MORNING + 60)})
