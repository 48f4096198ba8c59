"""
Tests for L{txgear.runtime.group}: how many children there are, and who takes whose place.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.config import GroupTable, RuntimeTable
from txgear.runtime.group import FAIL_SECONDS, WorkerGroup
from txgear.runtime.member import KILLED, LEAVING, LOADED, READY, STARTING, Owner, Plan
from txgear.runtime.renewal import Seen


class FakeStarter:
    """Notes that it was retired."""

    def __init__(self) -> None:
        self.retired = 0

    def retire(self) -> None:
        self.retired += 1


class FakeMember:
    """A child without a process: a test says what it says, and when it ends."""

    def __init__(self, clock: Clock, plan: Plan, number: int, owner: Owner) -> None:
        self.plan = plan
        self.number = number
        self.id = f"g-{number}"
        self.key = f"key-{number}"
        self.part = 1.0
        self.state = STARTING
        self.started = clock.seconds()
        self.functions = ["f"]
        self.wish = ""
        self.why_ended = ""
        self.done = 0
        self.idle_since = 0.0
        self.memory = 0
        self.told: list[str] = []
        self._clock = clock
        self._owner: Any = owner

    @property
    def is_active(self) -> bool:
        return self.state <= READY

    def start(self) -> None:
        self.told.append("start")

    def seen(self) -> Seen:
        return Seen(
            self._clock.seconds(),
            self.started,
            self._clock.seconds(),
            self.done,
            self.idle_since,
            self.memory,
        )

    def leave(self, reason: str) -> None:
        self.told.append(f"leave: {reason}")
        if self.state == STARTING:
            self.kill("")
        elif self.state < LEAVING:
            self.state = LEAVING

    def fail_jobs(self, reason: str) -> None:
        self.told.append(f"fail: {reason}")

    def kill(self, reason: str) -> None:
        self.told.append(f"kill: {reason}")
        self.state = KILLED

    def kill_again(self) -> None:
        self.told.append("kill again")

    # What a test has it do

    def loads(self) -> None:
        self.state = LOADED
        self._owner.member_loaded(self)

    def gets_ready(self) -> None:
        self.loads()
        self.state = READY
        self._owner.member_ready(self)

    def ends(self, why: str = "", jobs: str = "") -> None:
        self.why_ended = why
        self._owner.member_ended(self, jobs or why)


class GroupCase(SynchronousTestCase):
    """A group whose children a test plays."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.made: list[FakeMember] = []
        self.gone: list[tuple[str, str]] = []
        self.problem: OSError | None = None

    def plan(self, **table: Any) -> Plan:
        group = GroupTable(**{"processes": 2, **table})
        return Plan(RuntimeTable(group={"g": group}), group, cast(Any, FakeStarter()))

    def retired(self, plan: Plan) -> int:
        return cast(Any, plan.starter).retired  # type: ignore[no-any-return]

    def make(self, plan: Plan, number: int, owner: Owner) -> Any:
        if self.problem is not None:
            raise self.problem
        member = FakeMember(self.clock, plan, number, owner)
        self.made.append(member)
        return member

    def group(self, plan: Plan, *, ready: bool = True) -> WorkerGroup:
        group = WorkerGroup(
            self.clock, "g", plan, self.make, lambda key, reason: self.gone.append((key, reason))
        )
        group.look()
        if ready:
            for member in list(self.made):
                member.gets_ready()
        return group

    def numbers(self, group: WorkerGroup) -> list[int]:
        return [member.number for member in group.members]


class NumberTests(GroupCase):
    def test_fixed(self) -> None:
        """As many as the table says, numbered from 1."""
        group = self.group(self.plan(), ready=False)
        self.assertEqual([1, 2], self.numbers(group))
        self.assertFalse(group.is_ready)
        self.made[0].gets_ready()
        self.assertTrue(group.is_ready)
        self.assertEqual(["f"], group.functions)

    def test_min(self) -> None:
        """Where they are grown, the least of them."""
        self.assertEqual([1, 2, 3], self.numbers(self.group(self.plan(processes=None, min=3, max=9))))

    def test_ended(self) -> None:
        """One that ends is replaced, under its number; servers are told what becomes of its jobs."""
        group = self.group(self.plan())
        self.clock.advance(60.0)
        self.made[0].ends("exit status 1")
        self.assertEqual([2, 1], self.numbers(group))
        self.assertEqual([("key-1", "exit status 1")], self.gone)

    def test_no_jobs(self) -> None:
        """Of one that has left as it was told to there is nothing to tell."""
        self.group(self.plan())
        self.made[0].ends()
        self.assertEqual([], self.gone)

    def test_crash_loop(self) -> None:
        """Those that end as soon as they begin are replaced later and later, one at a time."""
        group = self.group(self.plan(), ready=False)
        for member in list(self.made):
            member.ends("exit status 1")
        self.assertEqual([], group.members)
        self.clock.advance(1.9)
        group.look()
        self.assertEqual([], group.members)
        self.clock.advance(0.1)
        group.look()
        self.assertEqual([1], self.numbers(group))
        self.made[-1].ends("exit status 1")
        self.clock.advance(3.9)
        group.look()
        self.assertEqual([], group.members)

    def test_no_descriptors(self) -> None:
        """What cannot be started is tried again later; those that are there go on."""
        group = self.group(self.plan())
        self.problem = OSError(24, "Too many open files")
        self.made[0].wish = "it is old"
        group.look()
        self.made[1].ends()
        self.assertEqual([1], self.numbers(group))
        self.problem = None
        group.look()
        self.assertEqual([1], self.numbers(group))
        self.clock.advance(1.0)
        group.look()
        self.assertEqual([1, 2, 3], sorted(self.numbers(group)))
        self.made[2].gets_ready()
        self.made[3].gets_ready()
        self.assertEqual(LEAVING, self.made[0].state)

    def test_start_timeout(self) -> None:
        """One whose code does not load is killed after a while; one that waits for a server is not."""
        group = self.group(self.plan(start_timeout=5.0), ready=False)
        self.made[1].loads()
        self.clock.advance(6.0)
        group.look()
        self.assertEqual("kill: it was not ready within 5 s", self.made[0].told[-1])
        self.assertEqual(LOADED, self.made[1].state)

    def test_more(self) -> None:
        """More are started at once."""
        group = self.group(self.plan())
        group.resize(4, only_idle=True)
        self.assertEqual([1, 2, 3, 4], self.numbers(group))

    def test_fewer(self) -> None:
        """Idle ones leave first, the youngest of them; busy ones only if that is wanted."""
        group = self.group(self.plan(processes=4))
        self.made[0].idle_since = self.made[1].idle_since = 990.0
        group.resize(1, only_idle=True)
        self.assertEqual([LEAVING, LEAVING, READY, READY], [each.state for each in self.made])
        self.made[3].idle_since = 995.0
        group.look()
        self.assertEqual([LEAVING, LEAVING, READY, LEAVING], [each.state for each in self.made])
        other = self.group(self.plan(processes=2))
        self.made = self.made[4:]
        other.resize(1, only_idle=False)
        self.assertEqual([READY, LEAVING], [each.state for each in self.made])

    def test_killed(self) -> None:
        """One over a hard bound is killed, also while it leaves, and replaced when it has ended."""
        group = self.group(self.plan(hard_memory=100))
        self.made[0].memory = self.made[1].memory = 101
        self.made[1].state = LEAVING
        group.look()
        self.assertEqual([KILLED, KILLED], [each.state for each in self.made[:2]])
        self.made[0].ends(jobs="it had too much")
        self.assertEqual([2, 3, 4], self.numbers(group))
        self.assertEqual([("key-1", "it had too much")], self.gone)


class RenewalTests(GroupCase):
    def test_one_at_a_time(self) -> None:
        """The successor is ready first; then the old one leaves, and the next is renewed."""
        group = self.group(self.plan(max_jobs=10))
        self.made[0].done = self.made[1].done = 10
        group.look()
        self.assertEqual([1, 2, 3], self.numbers(group))
        group.look()
        self.assertEqual(3, len(self.made))
        self.made[2].loads()
        self.assertEqual([READY, READY], [each.state for each in self.made[:2]])
        self.made[2].gets_ready()
        self.assertEqual([LEAVING, READY], [each.state for each in self.made[:2]])
        self.assertEqual("leave: g-3 takes its place", self.made[0].told[-1])
        self.assertEqual([1, 2, 3, 4], self.numbers(group))
        self.made[0].ends()
        self.made[3].gets_ready()
        self.made[1].ends()
        self.assertEqual([3, 4], self.numbers(group))

    def test_successor_fails(self) -> None:
        """The old one stays, and another successor is tried later."""
        group = self.group(self.plan(max_jobs=10))
        self.made[0].done = 10
        group.look()
        self.made[2].ends("exit status 1")
        self.assertEqual([1, 2], self.numbers(group))
        self.assertEqual(READY, self.made[0].state)
        self.clock.advance(1.0)
        group.look()
        self.assertEqual([1, 2, 3], self.numbers(group))

    def test_successor_slow(self) -> None:
        """A successor that no server answers is given up."""
        group = self.group(self.plan(max_jobs=10, start_timeout=5.0))
        self.made[0].done = 10
        group.look()
        self.made[2].loads()
        self.clock.advance(6.0)
        group.look()
        self.assertEqual("kill: it was not ready within 5 s", self.made[2].told[-1])

    def test_old_one_ends(self) -> None:
        """Where the old one ends meanwhile, its successor is one like others."""
        group = self.group(self.plan(max_jobs=10))
        self.made[0].done = 10
        group.look()
        self.clock.advance(60.0)
        self.made[0].ends("exit status 1")
        self.assertEqual([2, 3], self.numbers(group))
        self.made[2].gets_ready()
        self.assertEqual([READY, READY], [each.state for each in self.made[1:3]])


class LoadTests(GroupCase):
    def test_new_code(self) -> None:
        """Child by child; the first that is ready proves the code."""
        old, new = self.plan(), self.plan()
        group = self.group(old)
        group.load(new)
        self.assertTrue(group.is_loading)
        self.assertEqual([1, 2, 3], self.numbers(group))
        self.assertIs(old, group.plan)
        self.made[2].gets_ready()
        self.assertIs(new, group.plan)
        self.assertEqual(1, self.retired(old))
        self.made[0].ends()
        self.made[3].gets_ready()
        self.made[1].ends()
        self.assertEqual([new, new], [member.plan for member in group.members])
        self.assertFalse(group.is_loading)

    def test_broken_code(self) -> None:
        """None of the new ones gets ready: all old ones stay, and what ends is replaced by old code."""
        old, new = self.plan(), self.plan()
        group = self.group(old)
        group.load(new)
        self.made[2].ends("SyntaxError: invalid syntax")
        self.assertFalse(group.is_loading)
        self.assertEqual([READY, READY], [each.state for each in self.made[:2]])
        self.assertEqual(1, self.retired(new))
        self.clock.advance(600.0)
        group.look()
        self.assertEqual([1, 2], self.numbers(group))
        self.made[0].ends("exit status 1")
        self.assertEqual([old, old], [member.plan for member in group.members])

    def test_old_one_ends_on_trial(self) -> None:
        """The code is on trial also when the one whose place was to be taken has ended."""
        old, new = self.plan(), self.plan()
        group = self.group(old)
        group.load(new)
        self.clock.advance(60.0)
        self.made[0].ends("exit status 1")
        self.made[2].gets_ready()
        self.assertIs(new, group.plan)

    def test_nobody_to_keep(self) -> None:
        """Where none is ready, the new plan holds at once, and nobody waits for a second try."""
        old, new = self.plan(), self.plan()
        group = self.group(old, ready=False)
        self.made[0].ends("SyntaxError: invalid syntax")
        group.load(new)
        self.assertIn("kill: ", self.made[1].told)
        self.assertEqual([old, new, new], [member.plan for member in group.members])

    def test_none_wanted(self) -> None:
        """Where none was wanted, one loads the new code: else nobody would know what waits for it."""
        group = self.group(self.plan(processes=None, min=0, max=4))
        group.resize(0, only_idle=True)
        self.made[0].ends()
        group.load(self.plan(processes=None, min=0, max=4))
        self.assertEqual([1], self.numbers(group))
        group = self.group(self.plan(processes=0))
        group.load(self.plan(processes=0))
        self.assertEqual([], group.members)

    def test_twice(self) -> None:
        """Newer code while code is on trial: that is what is tried."""
        old, new, newer = self.plan(), self.plan(), self.plan()
        group = self.group(old)
        group.load(new)
        group.load(newer)
        self.assertIn("kill: ", self.made[2].told)
        self.made[2].ends()
        self.assertIs(newer, self.made[3].plan)
        self.made[3].gets_ready()
        self.assertIs(newer, group.plan)

    def test_other_number(self) -> None:
        """The new table's number holds when its code does."""
        group = self.group(self.plan())
        group.load(self.plan(processes=1))
        self.assertEqual(2, group.wanted)
        self.made[2].gets_ready()
        self.assertEqual(1, group.wanted)
        self.assertEqual([LEAVING, LEAVING, READY], [each.state for each in self.made])


class WordTests(GroupCase):
    def ask(self, group: WorkerGroup, word: str) -> tuple[bool, str]:
        return group.member_asked(cast(Any, self.made[0]), word)

    def test_grow_and_shrink(self) -> None:
        """One more, one less, and not none."""
        group = self.group(self.plan(processes=1))
        self.assertEqual((True, "Group g has 2 processes now"), self.ask(group, "grow"))
        self.assertEqual([1, 2], self.numbers(group))
        self.assertEqual((True, "Group g has 1 process now"), self.ask(group, "shrink"))
        self.assertEqual(
            (False, "It is the last process of its group; stop ends it"), self.ask(group, "shrink")
        )

    def test_most(self) -> None:
        """No more than the table says."""
        group = self.group(self.plan(processes=None, min=1, max=1))
        self.assertEqual((False, "Group g may have 1 processes"), self.ask(group, "grow"))

    def test_restart(self) -> None:
        """A successor is started."""
        group = self.group(self.plan())
        self.assertEqual((True, "It leaves when its successor is ready"), self.ask(group, "restart"))
        self.made[2].gets_ready()
        self.assertEqual(LEAVING, self.made[0].state)
        self.assertEqual((False, "It leaves already"), self.ask(group, "restart"))

    def test_stop(self) -> None:
        """One that was told to stop has no successor; one that leaves for another reason has."""
        group = self.group(self.plan())
        self.made[0].state = LEAVING
        group.member_leaving(cast(Any, self.made[0]), True)
        self.assertEqual([1, 2], self.numbers(group))
        self.made[1].state = LEAVING
        group.member_leaving(cast(Any, self.made[1]), False)
        self.assertEqual([1, 2, 3], self.numbers(group))


class StopTests(GroupCase):
    def test_stop(self) -> None:
        """All finish their jobs; nobody is replaced."""
        group = self.group(self.plan())
        stopped = group.stop("it stops", 60.0)
        self.assertEqual(["leave: it stops"] * 2, [each.told[-1] for each in self.made])
        self.assertEqual((False, "It stops"), group.member_asked(cast(Any, self.made[0]), "grow"))
        self.made[0].ends()
        self.assertNoResult(stopped)
        self.made[1].ends()
        self.successResultOf(stopped)
        self.assertEqual(2, len(self.made))

    def test_on_trial(self) -> None:
        """Nobody is started any more with code that is on trial, nor has to be ready for that."""
        group = self.group(self.plan())
        new = self.plan()
        group.load(new)
        _ = group.stop("it stops", 60.0)
        self.assertEqual(1, self.retired(new))

    def test_killed_is_there(self) -> None:
        """One that was killed and is still there is killed again, whatever else goes on."""
        group = self.group(self.plan())
        self.made[0].kill("it had too much")
        group.look()
        self.assertEqual("kill again", self.made[0].told[-1])
        self.made[1].ends()
        _ = group.stop("it stops", 60.0)
        self.assertEqual(["leave: it stops", "kill again"], self.made[0].told[-2:])

    def test_deadline(self) -> None:
        """Jobs that take too long fail, and a child that does not listen is killed."""
        group = self.group(self.plan(processes=1))
        stopped = group.stop("it stops", 60.0)
        self.clock.advance(59.0)
        group.look()
        self.assertEqual("leave: it stops", self.made[0].told[-1])
        self.clock.advance(1.0)
        group.look()
        self.assertEqual("fail: it stops, and the job had not ended in time", self.made[0].told[-1])
        self.clock.advance(FAIL_SECONDS)
        group.look()
        self.assertEqual("kill: it stops; its process was stuck", self.made[0].told[-1])
        self.made[0].ends(jobs="it stops; its process was stuck")
        self.successResultOf(stopped)
        self.assertEqual([("key-1", "it stops; its process was stuck")], self.gone)

    def test_hurry(self) -> None:
        """To stop a second time with no time cuts the first one short."""
        group = self.group(self.plan(processes=1))
        stopped = [group.stop("it stops", 60.0), group.stop("it stops", 0.0)]
        self.assertEqual("fail: it stops, and the job had not ended in time", self.made[0].told[-1])
        self.made[0].ends()
        for each in stopped:
            self.successResultOf(each)

    def test_none(self) -> None:
        """Without children it has stopped."""
        group = self.group(self.plan(processes=0))
        self.successResultOf(group.stop("it stops", 60.0))
