"""
Tests for L{txgear.runtime.member}: what a child says, what it is told, and how it ends.
"""

from __future__ import annotations

import os
import select
import socket
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.birth import CONTROL, PAGE, Birth
from txgear.runtime.config import GroupTable, RuntimeTable
from txgear.runtime.control import (
    Answer,
    Asked,
    Failed,
    FailJobs,
    Leave,
    Leaving,
    Left,
    Lines,
    Loaded,
    Ready,
    Task,
    ToChild,
    line,
)
from txgear.runtime.member import END_SECONDS, KILLED, LEAVING, LEFT, LOADED, READY, STARTING, Member, Plan
from txgear.runtime.processes import STDERR, STDOUT, Ending
from txgear.runtime.processgroups import Group
from txgear.runtime.slots import page_slots
from txgear.runtime.starters import Born
from txgear.runtime.status import StatusPage

TASK = Task(
    number=3, id="g-3", key="0f", runtime="0e", group="g", table=RuntimeTable(group={"g": GroupTable()})
)


class Reactor(Clock):
    """A reactor whose descriptors are looked at when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        if reader not in self.readers:
            self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def addWriter(self, writer: Any) -> None:
        """All that is written here leaves at once."""

    removeWriter = addWriter

    def turn(self) -> None:
        """Read what is there to be read."""
        while readable := select.select(self.readers, [], [], 0)[0]:
            for reader in readable:
                problem = reader.doRead()
                if problem is not None:
                    self.removeReader(reader)
                    reader.connectionLost(Failure(problem))


class FakeGroup(Group):
    """Processes that are not there, and what was done to them."""

    killed: list[int] = []  # noqa: RUF012
    killed_inside: list[int] = []  # noqa: RUF012

    def kill(self) -> None:
        self.killed.append(self.pid)

    def kill_inside(self) -> None:
        self.killed_inside.append(self.pid)


class FakeStarter:
    """Keeps the child's ends of all that a child has."""

    def __init__(self) -> None:
        self.birth: Birth
        self.result: Deferred[Born] = succeed(Born(FakeGroup(4711, "mark")))
        self.retired = 0

    def start(self, birth: Birth) -> Deferred[Born]:
        self.control = socket.socket(fileno=os.dup(birth.theirs[CONTROL]))
        self.stdout, self.stderr, self.page = (os.dup(birth.theirs[each]) for each in (STDOUT, STDERR, PAGE))
        birth.handed_over()
        return self.result

    def retire(self) -> None:
        self.retired += 1


class MemberTests(SynchronousTestCase):
    def setUp(self) -> None:
        FakeGroup.killed, FakeGroup.killed_inside = [], []
        self.reactor = Reactor()
        self.starter = FakeStarter()
        self.events: list[tuple[Any, ...]] = []
        self.guarded: list[Group] = []

    # The owner, and the guard

    def member_loaded(self, member: Member) -> None:
        self.events.append(("loaded", member.functions))

    def member_ready(self, member: Member) -> None:
        self.events.append(("ready",))

    def member_leaving(self, member: Member, for_good: bool) -> None:
        self.events.append(("leaving", for_good))

    def member_asked(self, member: Member, word: str) -> tuple[bool, str]:
        return word == "grow", f"{word}!"

    def member_ended(self, member: Member, reason: str) -> None:
        self.events.append(("ended", reason, member.why_ended))

    def begins(self, group: Group) -> None:
        self.guarded.append(group)

    def has_ended(self, group: Group) -> None:
        self.guarded.remove(group)

    # The child

    def make(self) -> Member:
        plan = Plan(TASK.table, TASK.table.group["g"], self.starter)
        member = Member(self.reactor, self.reactor, self, plan, TASK, 1.0, self)
        member.start()
        self.lines = Lines(ToChild)
        self.addCleanup(self.starter.control.close)
        for descriptor in (self.starter.stdout, self.starter.stderr, self.starter.page):
            self.addCleanup(os.close, descriptor)
        return member

    def say(self, *messages: Struct) -> None:
        self.starter.control.sendall(b"".join(map(line, messages)))
        self.reactor.turn()

    def told(self) -> list[Any]:
        return self.lines.take(self.starter.control.recv(1 << 20, socket.MSG_DONTWAIT))

    def born(self) -> Born:
        born = Born(FakeGroup(4711, "mark"))
        self.starter.result = succeed(born)
        return born

    def ready(self) -> tuple[Member, Born]:
        born = self.born()
        member = self.make()
        self.assertEqual([TASK], self.told())
        self.say(Loaded(["f"]), Ready())
        self.assertEqual([("loaded", ["f"]), ("ready",)], self.events)
        self.events.clear()
        return member, born

    def test_life(self) -> None:
        """It is told its task, gets ready, is told to leave, and ends."""
        born = self.born()
        member = self.make()
        self.assertEqual((STARTING, 4711, "g-3", 3), (member.state, member.pid, member.id, member.number))
        self.assertEqual([TASK], self.told())
        self.assertEqual([(4711, "mark")], self.guarded)
        self.say(Loaded(["f"]))
        self.assertEqual(LOADED, member.state)
        self.say(Ready())
        self.assertEqual(READY, member.state)
        self.assertTrue(member.is_active)
        member.leave("because")
        member.leave("because")
        self.assertEqual([Leave("because")], self.told())
        self.assertEqual((LEAVING, False), (member.state, member.is_active))
        self.say(Left())
        self.assertEqual(LEFT, member.state)
        born.has_ended(Ending(0, None))
        self.assertEqual([("loaded", ["f"]), ("ready",), ("ended", "", "")], self.events)
        self.assertEqual([], self.guarded)
        self.assertEqual([], self.reactor.readers)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_page(self) -> None:
        """What it writes on its page is seen without asking it."""
        member, _ = self.ready()
        page = StatusPage(self.starter.page, page_slots(1))
        page.begin(page.places()[0], 5.0, b"H:1", 2, b"f")
        page.turn(6.0, 2, 0.0, True)
        seen = member.seen()
        self.assertEqual((6.0, 2, 0.0), (seen.turned, seen.done, seen.idle_since))
        self.assertTrue(seen.in_reach)
        page.turn(7.0, 2, 0.0, False)
        self.assertFalse(member.seen().in_reach)
        self.assertEqual([(0, 5.0, b"H:1", 2, b"f")], list(seen.running))

    def test_ends_by_itself(self) -> None:
        """The servers and the log are told how, with its last words."""
        _, born = self.ready()
        os.write(self.starter.stderr, b"Traceback\nValueError: no\n\n")
        self.reactor.turn()
        born.has_ended(Ending(1, None))
        why = "its process ended by itself (exit status 1): ValueError: no"
        self.assertEqual([("ended", why, why)], self.events)
        # What it has started is not to outlive it.
        self.assertEqual([4711], FakeGroup.killed)

    def test_last_words(self) -> None:
        """What is still in the pipe when it ends, without an end of the line, counts as well."""
        _, born = self.ready()
        with capturedLogs() as events:
            os.write(self.starter.stderr, b"Bus error")
            born.has_ended(Ending(None, 7))
        self.assertEqual("g-3: Bus error", formatEvent(events[0]))
        self.assertEqual("its process ended by itself (ended by SIGBUS): Bus error", self.events[0][1])

    def test_failed(self) -> None:
        """It says why it cannot work."""
        born = self.born()
        self.make()
        self.say(Failed("SyntaxError: invalid syntax"))
        born.has_ended(Ending(1, None))
        why = "its process ended by itself (exit status 1): SyntaxError: invalid syntax"
        self.assertEqual([("ended", why, why)], self.events)

    def test_killed(self) -> None:
        """What becomes of its jobs is what it was killed for; what it still says counts no more."""
        member, born = self.ready()
        member.kill("it had too much")
        member.kill("another reason")
        self.say(Leaving(True), Left())
        self.assertEqual((KILLED, [4711]), (member.state, FakeGroup.killed))
        # A copy of a template may have been in nobody's group yet.
        member.kill_again()
        self.assertEqual(([4711], [4711]), (FakeGroup.killed, FakeGroup.killed_inside))
        born.has_ended(Ending(None, 9))
        self.assertEqual([("ended", "it had too much", "")], self.events)

    def test_leaves_by_itself(self) -> None:
        """Whether somebody is to take its place, it says itself."""
        member, _ = self.ready()
        self.say(Leaving(True), Leaving(False))
        self.assertEqual([("leaving", True)], self.events)
        self.assertEqual(LEAVING, member.state)

    def test_words(self) -> None:
        """What a server says to it and its group heeds: the answer goes back."""
        self.ready()
        self.say(Asked(1, "grow"), Asked(2, "shrink"))
        self.assertEqual([Answer(1, True, "grow!"), Answer(2, False, "shrink!")], self.told())

    def test_fail_jobs(self) -> None:
        """It is told, also if it leaves already; one that has left has no jobs."""
        member, _ = self.ready()
        member.leave("because")
        member.fail_jobs("it stops")
        self.assertEqual([Leave("because"), FailJobs("it stops")], self.told())
        self.say(Left())
        member.fail_jobs("it stops")
        self.assertRaises(BlockingIOError, self.told)

    def test_not_loaded(self) -> None:
        """One that is not loaded has no jobs, and cannot listen: it is killed."""
        for tell in (Member.leave, Member.fail_jobs):
            FakeGroup.killed, FakeGroup.killed_inside = [], []
            self.born()
            member = self.make()
            tell(member, "because")
            self.assertEqual((KILLED, [4711]), (member.state, FakeGroup.killed))
        # A copy of a template may have been in nobody's group yet.
        member.kill_again()
        self.assertEqual(([4711], [4711]), (FakeGroup.killed, FakeGroup.killed_inside))

    def test_does_not_end(self) -> None:
        """One that has left, or has closed its line, has a while to end."""
        member, _ = self.ready()
        self.say(Left())
        self.reactor.advance(END_SECONDS)
        self.assertEqual((KILLED, [4711]), (member.state, FakeGroup.killed))
        # A copy of a template may have been in nobody's group yet.
        member.kill_again()
        self.assertEqual(([4711], [4711]), (FakeGroup.killed, FakeGroup.killed_inside))
        self.events.clear()
        member, born = self.ready()
        self.starter.control.shutdown(socket.SHUT_RDWR)
        self.reactor.turn()
        self.reactor.advance(END_SECONDS)
        self.assertEqual(KILLED, member.state)
        born.has_ended(Ending(None, 9))
        self.assertIn("its process was killed: it does not answer any more", self.events[0][1])

    def test_nonsense(self) -> None:
        """What it says makes no sense: it is taken for one that does not answer."""
        member, _ = self.ready()
        self.starter.control.sendall(b"what?\n")
        self.reactor.turn()
        self.reactor.advance(END_SECONDS)
        self.assertEqual(KILLED, member.state)

    def test_not_born(self) -> None:
        """It cannot be started: that is an end, and there is nobody to be told of jobs."""
        self.starter.result = fail(OSError("no room"))
        self.make()
        self.assertEqual([("ended", "", "it cannot be started: no room")], self.events)
        self.assertEqual([], self.reactor.readers)

    def test_killed_before_it_is_born(self) -> None:
        """Nobody waits for it; should it be born after all, it is killed."""
        for result in (Born(FakeGroup(4711, "mark")), OSError("no room")):
            self.events.clear()
            FakeGroup.killed = []
            self.starter.result = Deferred()
            member = self.make()
            member.kill("it took too long")
            self.assertEqual([("ended", "it took too long", "")], self.events)
            if isinstance(result, Born):
                self.starter.result.callback(result)
                self.assertEqual([4711], FakeGroup.killed)
            else:
                self.starter.result.errback(result)
            self.assertEqual([], self.guarded)
            self.assertEqual(1, len(self.events))
