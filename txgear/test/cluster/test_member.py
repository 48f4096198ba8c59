"""Tests of L{txgear.cluster.member}."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import PAUSED, SIGNED_OUT, Batch, StoredValue
from txgear.cluster.watch import JITTER
from txgear.journal.link import LAST_RETRY
from txgear.journal.trust import LAPSED, MARGIN
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    GRAB_JOB,
    JOB_ASSIGN,
    JOB_CREATED,
    NO_JOB,
    SUBMIT_JOB,
    WORK_COMPLETE,
)
from txgear.protocol.packets import request, response
from txgear.test.support.clock import START
from txgear.test.support.cluster import LEASE, SIZE, Node, World
from txgear.test.support.server import FakePeer, refused, submit

ACQUAINTED = 1.7
"""Seconds within which each has looked at the others."""
PROMPT = 2.6
"""Seconds within which somebody has a part that nobody had."""


def handle(number: int) -> bytes:
    return b"H:test:%d" % number


def assigned(number: int, workload: bytes = b"w") -> bytes:
    return response(JOB_ASSIGN, handle(number), b"f", workload)


class ClusterTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def join(self, *names: str) -> list[Node]:
        nodes = [self.world.join(name) for name in names]
        self.world.run(ACQUAINTED)
        return nodes

    def submit(self, node: Node, workload: bytes = b"w", unique: bytes = b"") -> bytes:
        """A background submit, and what is answered."""
        client = node.connect()
        client.tell(submit(workload, unique=unique))
        self.world.run(0.2)
        return client.heard()

    def worker(self, node: Node) -> FakePeer:
        worker = node.connect()
        worker.tell(request(CAN_DO, b"f"))
        return worker

    def grab(self, node: Node) -> bytes:
        """What a new worker is given."""
        worker = self.worker(node)
        worker.tell(request(GRAB_JOB))
        if (heard := worker.heard()) == response(NO_JOB):
            # It was being read.
            self.world.run(0.2)
            heard = worker.ask(request(GRAB_JOB))
        return heard

    def logged(self, seconds: float) -> list[str]:
        """What the log hears meanwhile."""
        with capturedLogs() as events:
            self.world.run(seconds)
        return [formatEvent(event) for event in events]


class TakeOverTests(ClusterTestCase):
    def test_one_that_is_killed(self) -> None:
        a, b, c = self.join("a", "b", "c")
        for _ in range(3):
            self.submit(a)
        a.kill()
        lines = self.logged(LEASE - 2.2)
        self.assertEqual(lines, [])
        (line,) = self.logged(2.7)
        self.assertRegex(line, r"^took over part 1 of a, which has not been heard of for [89]\.\d s: 3 jobs$")
        heir = b if b.member.takeovers else c
        self.assertEqual([b.member.takeovers, c.member.takeovers].count(1), 1)
        self.assertEqual(self.grab(heir), assigned(1))
        self.assertEqual(self.submit(heir), response(JOB_CREATED, handle(3 * SIZE)))
        self.assertEqual([b.taken, c.taken], [0, 0])

    def test_the_heirs_own_jobs(self) -> None:
        """They go on, before those that it has taken over."""
        a, b = self.join("a", "b")
        self.submit(a, b"of a")
        self.submit(b, b"of b")
        a.kill()
        self.world.run(LEASE + 1)
        worker = self.worker(b)
        self.assertEqual(worker.ask(request(GRAB_JOB)), assigned(SIZE, b"of b"))
        self.assertEqual(self.grab(b), assigned(1, b"of a"))
        worker.tell(request(WORK_COMPLETE, handle(SIZE), b""))
        self.world.run(0.2)
        self.assertEqual(list(self.world.database.kept), [1])

    def test_uniques(self) -> None:
        a, b = self.join("a", "b")
        self.submit(a, unique=b"u")
        self.submit(b, unique=b"v")
        a.kill()
        self.world.run(LEASE + 1)
        self.assertEqual(self.submit(b, unique=b"u"), response(JOB_CREATED, handle(1)))
        self.assertEqual(self.submit(b, unique=b"v"), response(JOB_CREATED, handle(SIZE)))

    def test_one_that_leaves(self) -> None:
        a, b = self.join("a", "b")
        self.submit(a)
        left = a.leave()
        with capturedLogs() as events:
            self.world.run(PROMPT)
        self.successResultOf(left)
        self.assertIn("took over part 1, which nobody had: 1 job", map(formatEvent, events))
        self.assertEqual(self.grab(b), assigned(1))

    def test_one_that_is_about_to_leave(self) -> None:
        """It takes what somebody sends who has just come, for another server; and no part of others."""
        a, b, c = self.join("a", "b", "c")
        idle, late = a.connect(), a.connect()
        idle.tell(request(ECHO_REQ, b""))
        for node in (a, c):
            _ = node.server.drain()
        self.assertTrue(idle.closed)
        self.assertFalse(late.closed)
        late.tell(submit(b"late"))
        self.world.run(0.2)
        self.assertEqual(late.heard(), response(JOB_CREATED, handle(1)))
        self.assertTrue(late.closed)
        waits = a.connect()
        self.assertEqual(
            waits.ask(request(SUBMIT_JOB, b"f", b"", b"")), refused(b"The server is shutting down")
        )
        self.assertEqual(self.grab(a), response(NO_JOB))
        _ = a.leave()
        b.freeze()
        self.world.run(2)
        self.assertEqual(c.member.takeovers, 0)
        b.thaw()
        self.world.run(2)
        self.assertEqual(self.grab(b), assigned(1, b"late"))

    def test_what_was_there_before(self) -> None:
        """As after a restart of all: the first that comes has it."""
        (a,) = self.join("a")
        self.submit(a)
        _ = a.leave()
        self.world.run(1)
        b = self.world.join("b")
        self.world.run(1.5)
        self.assertEqual(self.grab(b), assigned(1))

    def test_both_at_once(self) -> None:
        a, b, c = self.join("a", "b", "c")
        self.submit(a)
        for node in (b, c):
            node.thread.until_done = 0.1
        a.kill()
        self.world.run(LEASE + 2)
        self.assertEqual(b.member.takeovers + c.member.takeovers, 1)
        self.assertEqual([b.taken, c.taken], [0, 0])

    def test_a_taking_of_which_nothing_is_heard(self) -> None:
        a, b = self.join("a", "b")
        self.submit(a)
        b.store.faults.append("take")
        a.kill()
        self.world.run(LEASE + 2)
        self.assertEqual(b.member.takeovers, 1)
        self.assertEqual(self.grab(b), assigned(1))
        self.assertEqual(b.taken, 0)

    def test_numbers_of_which_nothing_is_heard(self) -> None:
        """The part is taken, and there are no numbers above it yet."""
        a, b = self.join("a", "b")
        self.submit(a)
        b.store.faults.append("reserve")
        a.kill()
        self.world.run(LEASE + 2)
        self.assertEqual(self.grab(b), assigned(1))
        self.assertGreater(b.server.broker.table.last_number, 2 * SIZE)

    def test_two_parts_of_which_nothing_is_heard(self) -> None:
        """None is forgotten for what becomes of the other."""
        a, b, c = self.join("a", "b", "c")
        self.submit(a)
        self.submit(c)
        b.store.faults += ["reserve"] * 20
        a.kill()
        self.world.run(LEASE + 2)
        self.assertLess(len(b.store.faults), 20)
        _ = c.leave()
        self.world.run(3)
        b.store.faults.clear()
        self.world.run(LEASE + 2)
        self.assertEqual({self.grab(b), self.grab(b)}, {assigned(1), assigned(2 * SIZE)})

    def test_a_database_that_is_away(self) -> None:
        """When it comes back its owners have a lease's length to say that they live."""
        a, b = self.join("a", "b")
        for node in (a, b):
            node.store.is_cut = True
        self.world.run(60)
        for node in (a, b):
            node.store.is_cut = False
        self.world.run(30)
        self.assertEqual([a.member.takeovers, b.member.takeovers, a.taken, b.taken], [0] * 4)

    def test_one_that_dies_while_the_database_is_away(self) -> None:
        """Its lease begins as soon as the database is back, though nobody but the others wants that."""
        for tenths in range(10):
            self.world = World()
            a, b = self.join("a", "b")
            self.submit(a)
            b.store.is_cut = True
            a.kill()
            self.submit(b)
            self.world.run(20 + tenths / 10)
            b.store.is_cut = False
            self.world.run(1.4)
            self.assertLess(b.member.looked, 1.4)
            self.world.run(LEASE + JITTER)
            self.assertEqual(self.grab(b), assigned(1))

    def test_it_stops(self) -> None:
        (a,) = self.join("a")
        a.member.stop()
        a.journal.abandon()
        a.server.stop()
        self.assertEqual(a.fixture.calls(), [])

    def test_it_stops_while_it_looks(self) -> None:
        a, b = self.join("a", "b")
        a.kill()
        b.thread.until_heard = 0.5
        self.world.run(LEASE + 1)
        b.member.stop()
        self.world.run(2)
        before = b.member.takeovers
        self.world.run(LEASE)
        self.assertEqual(b.member.takeovers, before)

    def test_one_that_knows_of_no_others(self) -> None:
        """Told once, when it is seen to live."""
        a, b = self.join("a", "b")
        self.world.database.leases[1].is_strange = True
        lines = self.logged(2 * LEASE)
        about = "a server without --cluster has a part: a; it shares no uniques"
        self.assertEqual([line.startswith(about) for line in lines], [True])
        a.kill()
        self.world.run(LEASE + 2)
        self.assertEqual(b.member.takeovers, 1)

    def test_several_parts_of_one_are_one_line(self) -> None:
        a, b = self.join("a", "b")
        self.submit(a)
        self.submit(b)
        a.kill()
        self.world.run(LEASE + 2)
        (c,) = self.join("c")
        b.kill()
        (line,) = self.logged(LEASE + 2)
        self.assertRegex(
            line, r"^took over 3 parts of b, which has not been heard of for [89]\.\d s: 2 jobs$"
        )
        (d,) = self.join("d")
        left = c.leave()
        lines = self.logged(PROMPT)
        self.successResultOf(left)
        self.assertEqual((c.member.takeovers, c.member.silent), (3, 3))
        self.assertIn(f"took over {d.member.takeovers} parts, which nobody had: 2 jobs", lines)

    def test_an_empty_part_is_no_news(self) -> None:
        a, b = self.join("a", "b")
        _ = a.leave()
        with capturedLogs() as events:
            self.world.run(PROMPT)
        (event,) = (event for event in events if "took over" in formatEvent(event))
        self.assertEqual(formatEvent(event), "took over part 1, which nobody had: 0 jobs")
        self.assertIs(event["log_level"], LogLevel.info)
        self.assertEqual((b.member.takeovers, b.member.silent), (1, 0))

    def test_a_death_is_one_whatever_is_left(self) -> None:
        a, b = self.join("a", "b")
        a.kill()
        with capturedLogs() as events:
            self.world.run(LEASE + 2)
        (event,) = (event for event in events if "took over" in formatEvent(event))
        self.assertIs(event["log_level"], LogLevel.warn)
        self.assertEqual((b.member.takeovers, b.member.silent), (1, 1))

    def test_what_they_say(self) -> None:
        """Each knows of each how it does, some seconds late, and of itself how it does now."""
        a, b = self.join("a", "b")
        for _ in range(3):
            self.submit(a)
        worker = self.worker(a)
        self.assertEqual(worker.ask(request(GRAB_JOB)), assigned(1))
        self.world.run(5)
        for node in (a, b):
            first, second = node.member.servers()
            self.assertEqual((first.name, first.is_ours, second.name), ("a", node is a, "b"))
            self.assertFalse(first.is_silent or second.is_silent)
            said = first.status
            self.assertEqual((said.queued, said.running, said.lease), (2, 1, LEASE))
            self.assertEqual((second.status.queued, second.status.running), (0, 0))
        worker.tell(request(WORK_COMPLETE, handle(1), b""))
        self.world.run(4.5)
        rate = b.member.servers()[0].status.rate
        assert rate is not None
        self.assertGreater(rate, 0.0)
        self.world.run(30)
        self.assertEqual([each.status.rate for each in b.member.servers()], [0.0, 0.0])

    def test_what_it_says_asks_for_no_writes(self) -> None:
        """It leaves with the beats."""
        (a,) = self.join("a")
        row = a.store.parts[1]
        before = row.beat
        self.world.run(20)
        self.assertLess(row.beat - before, 11)
        self.assertIn(b'"q":0', row.status)

    def test_one_that_is_silent_and_then_gone(self) -> None:
        a, b = self.join("a", "b")
        self.submit(a)
        self.world.run(3)
        a.kill()
        self.world.run(5.5)
        first = b.member.servers()[0]
        self.assertEqual((first.name, first.is_silent, first.status.queued), ("a", True, 1))
        self.world.run(5)
        (ours,) = b.member.servers()
        self.assertEqual([part.part for part in ours.parts], [1, 2, 3])

    def test_looks_that_fail(self) -> None:
        (a,) = self.join("a")
        self.assertLess(a.member.looked, PROMPT)
        a.store.is_cut = True
        self.world.run(10)
        self.assertGreater(a.member.failures, 1)
        self.assertGreater(a.member.looked, 9.0)

    def test_a_look_that_always_fails(self) -> None:
        """Each has the store opened again: that becomes rare, jobs go on, and it is tried all the same."""
        a, _ = self.join("a", "b")
        for name in ("leases", "orders"):
            opened = a.store.opened
            a.store.broken.add(name)
            self.world.run(60)
            self.assertGreater(a.store.opened - opened, 60 / LAST_RETRY)
            self.assertLess(a.store.opened - opened, 60 / LAST_RETRY + 6)
            self.assertIn(response(JOB_CREATED, b"")[:8], self.submit(a))
            a.store.broken.clear()
            self.world.run(LAST_RETRY + PROMPT)
            self.assertLess(a.member.looked, PROMPT)
            opened = a.store.opened
            self.world.run(60)
            self.assertEqual(a.store.opened, opened)

    def test_the_first_look_after_an_outage(self) -> None:
        """However long that was, and though no look has had success, it is soon."""
        (a,) = self.join("a")
        a.store.is_cut = True
        self.world.run(60)
        a.store.is_cut = False
        self.world.run(PROMPT)
        self.assertLess(a.member.looked, PROMPT - 1)

    def test_a_database_that_is_away_makes_nobody_silent(self) -> None:
        a, _ = self.join("a", "b")
        self.world.run(3)
        a.store.is_cut = True
        self.world.run(10)
        self.assertEqual([each.is_silent for each in a.member.servers()], [False, False])

    def test_what_is_shown(self) -> None:
        a, b = self.join("a", "b")
        a.kill()
        self.world.run(3)
        theirs, ours = b.member.parts()
        self.assertEqual((theirs.part, theirs.name, theirs.term, theirs.is_ours), (1, "a", 1, False))
        self.assertEqual((ours.part, ours.name, ours.is_ours), (2, "b", True))
        self.assertGreater(theirs.seconds, 1.0)


class SharedTests(ClusterTestCase):
    """What is set at one of them."""

    def setUp(self) -> None:
        super().setUp()
        self.a, self.b = self.join("a", "b")

    def said(self, node: Node, command: bytes) -> bytes:
        return node.connect().ask(command + b"\n")

    def test_pause(self) -> None:
        self.submit(self.b)
        self.assertEqual(self.said(self.a, b"pause f"), b"OK\r\n")
        self.world.run(PROMPT)
        self.assertEqual(self.grab(self.b), response(NO_JOB))
        self.assertEqual(self.said(self.b, b"resume f"), b"OK\r\n")
        self.assertEqual(self.grab(self.b), assigned(SIZE))
        self.world.run(PROMPT)
        self.submit(self.a)
        self.assertEqual(self.grab(self.a), assigned(1))

    def test_maxqueue(self) -> None:
        self.assertEqual(self.said(self.a, b"maxqueue f 1"), b"OK\r\n")
        self.world.run(PROMPT)
        self.submit(self.b)
        self.assertIn(b"Job queue is full", self.submit(self.b))
        self.assertEqual(self.said(self.b, b"maxqueue f"), b"OK\r\n")
        self.world.run(PROMPT)
        for _ in range(2):
            self.assertTrue(self.submit(self.a).startswith(response(JOB_CREATED, b"")[:8]))

    def test_one_that_joins(self) -> None:
        self.said(self.a, b"maxqueue f 1")
        self.said(self.a, b"pause f")
        self.world.run(0.2)
        c = self.world.join("c")
        function = c.server.broker.functions.by_name[b"f"]
        self.assertEqual((function.paused, function.max_queued), (True, (1, 1, 1)))

    def test_what_was_undone_before_the_first_look(self) -> None:
        self.said(self.a, b"pause f")
        self.world.run(0.2)
        c = self.world.join("c")
        self.database_forgets()
        self.world.run(PROMPT)
        for node in (self.a, self.b, c):
            self.assertNotIn(b"f", node.server.broker.functions.by_name)

    def database_forgets(self) -> None:
        value = StoredValue(PAUSED, b"f", 0.0)
        self.world.database.rows.write(Batch((), (), (), values=[value]))

    def test_a_store_that_is_away(self) -> None:
        """What is set meanwhile holds here at once, and there when it is back."""
        self.a.store.is_cut = True
        self.said(self.a, b"pause f")
        self.world.run(3)
        self.assertTrue(self.a.server.broker.functions.by_name[b"f"].paused)
        self.a.store.is_cut = False
        self.world.run(3)
        for node in (self.a, self.b):
            self.assertTrue(node.server.broker.functions.by_name[b"f"].paused)

    def test_sessions(self) -> None:
        heard: list[StoredValue] = []
        self.b.server.hear = heard.append
        value = StoredValue(SIGNED_OUT, b"token session", START)
        self.a.server.broker.persistence.put_value(value)
        self.a.server.end_turn()
        self.world.run(PROMPT)
        self.assertEqual(heard, [value])


class FrozenTests(ClusterTestCase):
    """A server that is stopped for longer than its lease, and goes on."""

    def setUp(self) -> None:
        super().setUp()
        self.a, self.b = self.join("a", "b")
        self.submit(self.a)
        self.submit(self.a, unique=b"u")
        self.early = self.worker(self.a)
        self.client = self.a.connect()
        self.a.freeze()

    def test_what_it_does_first(self) -> None:
        """Its peers' packets may come before any timer: it hands out nothing that is stored."""
        self.world.run(LEASE + 1)
        self.assertEqual(self.b.member.takeovers, 1)
        self.a.thaw(timers=False)
        self.assertEqual(self.early.ask(request(GRAB_JOB)), response(NO_JOB))
        self.assertEqual(self.client.ask(submit()), refused(LAPSED.encode()))
        self.assertEqual(self.client.ask(submit(unique=b"u")), refused(LAPSED.encode()))
        self.assertEqual(self.grab(self.b), assigned(1))
        self.world.run(1)
        self.assertEqual(self.a.taken, 1)

    def test_who_waits_is_served(self) -> None:
        self.world.run(LEASE + 1)
        self.a.thaw(timers=False)
        self.client.tell(request(SUBMIT_JOB, b"f", b"", b"now"))
        self.client.heard()
        self.assertIn(b"now", self.early.ask(request(GRAB_JOB)))

    def test_a_moment_before_it_may_be_taken(self) -> None:
        self.world.run(LEASE - MARGIN)
        self.a.thaw(timers=False)
        self.assertEqual(self.early.ask(request(GRAB_JOB)), response(NO_JOB))
        self.world.run(1)
        self.assertEqual(self.early.ask(request(GRAB_JOB)), assigned(1))

    def test_what_it_writes_then(self) -> None:
        """A job that it had handed out before ends there: that is not written."""
        self.a.thaw()
        self.assertEqual(self.early.ask(request(GRAB_JOB)), assigned(1))
        self.a.freeze()
        self.world.run(LEASE + 3)
        self.a.thaw(timers=False)
        self.early.tell(request(WORK_COMPLETE, handle(1), b""))
        self.world.run(1)
        self.assertEqual(self.a.taken, 1)
        self.assertIn(1, self.world.database.kept)


class CutOffTests(ClusterTestCase):
    def test_one_that_does_not_reach_the_database(self) -> None:
        a, b = self.join("a", "b")
        self.submit(a)
        worker = self.worker(a)
        a.store.is_cut = True
        self.world.run(LEASE - 1)
        self.assertEqual(worker.ask(request(GRAB_JOB)), response(NO_JOB))
        self.assertTrue(self.submit(a).startswith(response(19, b"")[:8]))
        self.world.run(3)
        self.assertEqual(self.grab(b), assigned(1))
        a.store.is_cut = False
        self.world.run(10)
        self.assertEqual(a.taken, 1)
