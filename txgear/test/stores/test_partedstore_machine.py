"""A property of stores that several servers have at once: no two of them ever write the same part."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import StoreTaken, StoreUnavailable
from txgear.stores.holdings import Holdings
from txgear.stores.leases import Times
from txgear.stores.membership import Membership
from txgear.stores.partedstore import PartedStore
from txgear.stores.parts import PART_NUMBERS
from txgear.stores.tenure import LENGTH, NOBODY
from txgear.test.support.extras import RuleBasedStateMachine, needs, rule, run_machine, st
from txgear.test.support.partservers import Court, PartServer
from txgear.test.support.shareddatabase import FAULTS, FakeServerDialect, SharedDatabase

OFTEN = ("start", "start", "submit", "submit", "submit", "finish")
SELDOM = ("close", "kill", "cut", "stop", "start_alone")
SERVERS = st.integers(0, 2)
ACTS = st.tuples(SERVERS, st.sampled_from((*OFTEN, *OFTEN, *SELDOM)), st.integers(0, 40))


class PartMachine(RuleBasedStateMachine):
    """Whatever happens when: L{Court} says what must not."""

    locks = True

    def __init__(self) -> None:
        super().__init__()
        self.court = Court()
        self.database = self.court.database = SharedDatabase(locks=self.locks, check=self.court.judge)
        self.servers = [PartServer(self.database, self.court, name) for name in ("one", "two", "three")]
        # Jobs that a failover has taken, or brought back.
        self.lost: set[int] = set()

        for number in range(2):
            self.act(number, "start")
            self.act(number, "submit")

    def act(self, server: int, act: str) -> None:
        getattr(self.servers[server], act)()

    @rule(server=SERVERS, act=st.sampled_from((*OFTEN, *SELDOM)))
    def now(self, server: int, act: str) -> None:
        self.act(server, act)

    @rule(acts=st.lists(ACTS, min_size=1, max_size=6), seconds=st.sampled_from((1, 3, 5, 9, 14)))
    def together(self, acts: list[tuple[int, str, int]], seconds: int) -> None:
        """Several things are done, some in the middle of others, while all do what they do each second."""
        for server, act, tenths in acts:
            self.database.later(tenths / 10, partial(self.act, server, act))
        self.live(seconds)

    @rule(seconds=st.sampled_from((1, 9, 61)))
    def live(self, seconds: int) -> None:
        """Time passes, and all do what they do each second."""
        for second in range(seconds):
            for server in range(len(self.servers)):
                self.database.later(second + server / 3, partial(self.act, server, "look"))
        self.database.spend(seconds)

    @rule(latency=st.sampled_from((0.0, 0.02, 0.2, 0.6)))
    def be_slow(self, latency: float) -> None:
        self.database.latency = latency

    @rule(faults=st.lists(st.sampled_from(("", "", *FAULTS)), max_size=5))
    def fail(self, faults: list[str]) -> None:
        self.database.faults = list(faults)

    @rule(steps=st.integers(0, 8))
    def fail_over(self, steps: int) -> None:
        for changes in self.database.fail_over(steps):
            self.lost |= {change.key for change in changes if change.table == "txgear_jobs"}
        self.court.failed_over()

    def teardown(self) -> None:
        """What was answered is there, and somebody has it."""
        database = self.database
        try:
            database.latency, database.faults = 0.0, []
            database.spend(20)
            # One that is alone looks for no parts of others.
            for server in self.servers:
                if server.life.is_alone:
                    server.close()
            self.act(0, "start")
            self.live(40)
            kept = {number for (number,) in database.ask("SELECT number FROM txgear_jobs")}
            answered = set[int]().union(*(server.answered for server in self.servers))
            ended = set[int]().union(*(server.ended for server in self.servers))
            missing = answered - ended - kept - self.lost
            assert not missing, f"{missing} are lost"
            living = [server for server in self.servers if server.store is not None]
            if living:
                handed = [number for server in living for number in server.jobs]
                assert len(handed) == len(set(handed)), "two hand out the same"
                # What had ended, and has come back, is handed out after the next start.
                nobodys = kept - set(handed) - self.lost
                assert not nobodys, f"nobody has {nobodys}"
            for row in self.court.leases().values():
                jobs = [number for number in kept if number in row]
                ((counted,),) = database.ask(
                    "SELECT coalesce(sum(jobs), 0) FROM txgear_lanes WHERE part = ?", row.part
                )
                assert counted == len(jobs), f"{counted} jobs are counted in part {row.part}, of {jobs}"
        finally:
            database.close()


class CertifyingMachine(PartMachine):
    """The same, with a database that locks no rows."""

    locks = False


class CaseTests(SynchronousTestCase):
    """What the machine has found."""

    def setUp(self) -> None:
        self.court = Court()
        self.database = self.court.database = SharedDatabase(locks=True, check=self.court.judge)
        self.addCleanup(self.database.close)
        self.old, self.new = (PartServer(self.database, self.court, name) for name in ("old", "new"))

    def live(self, seconds: int) -> None:
        for second in range(seconds):
            for server in (self.old, self.new):
                self.database.later(second, server.look)
        self.database.spend(seconds)

    def test_a_server_alone_comes_back_to_parts_that_others_have_made(self) -> None:
        """Its own has had no jobs, and is deleted: it is not made anew, with the numbers of all."""
        self.old.start_alone()
        self.old.stop()
        self.old.cut()
        self.database.spend(9)
        self.new.start()
        self.new.submit()
        self.new.look()
        self.assertEqual(list(self.court.leases()), [2])
        self.live(3)
        self.assertIsNone(self.old.store)
        self.assertEqual(list(self.court.leases()), [2])

    def test_a_part_is_taken_and_what_comes_next_fails(self) -> None:
        """At the next look it is ours, and what is in it is known then."""
        self.old.start()
        self.old.submit()
        self.new.start()
        self.old.kill()
        self.live(8)
        # The taking itself, and the numbers that are reserved then.
        self.database.faults = ["", "lost before"]
        self.live(3)
        self.assertEqual(self.new.jobs, self.old.answered)

    def test_a_part_that_a_failover_has_taken_is_made_again(self) -> None:
        """The same numbers are not given out twice."""
        self.old.start()
        self.new.start()
        before = len(self.database.log)
        third = PartServer(self.database, self.court, "third")
        third.start()
        third.submit()
        third.kill()
        self.database.fail_over(len(self.database.log) - before)
        self.court.failed_over()
        self.live(2)
        fourth = PartServer(self.database, self.court, "fourth")
        fourth.start()
        fourth.submit()
        self.assertEqual({number // 10**12 for number in fourth.answered}, {3})
        self.assertEqual(len(third.answered | fourth.answered), 4)

    def fail_over(self, commits: int) -> None:
        """
        @param commits: those that are left.
        """
        self.database.fail_over(len(self.database.log) - commits)
        self.court.failed_over()

    def another(self, name: str = "third") -> PartServer:
        return PartServer(self.database, self.court, name)

    def start_after_another(self) -> int:
        """Start one where the first parts are made; how many commits there were before."""
        third = self.another()
        third.start()
        third.close()
        before = len(self.database.log)
        self.old.start()
        self.old.submit()
        return before

    def make_anew(self, before: int) -> None:
        """A failover takes the third part, and one that is above all numbers of the new server comes."""
        self.fail_over(before)
        for _ in range(3):
            self.new.look()
        self.assertEqual(self.court.leases()[3].first, 4 * PART_NUMBERS)
        self.new.stop()

    def test_a_failover_takes_a_part_and_another_server_makes_one_of_its_number(self) -> None:
        """It is not ours, though we have had the lease more often than that server, and it stands still."""
        before = self.start_after_another()
        self.new.start()
        self.new.submit()
        self.old.submit()
        self.fail_over(len(self.database.log) - 1)
        self.old.look()
        self.old.look()
        self.make_anew(before)
        jobs = self.old.answered.copy()
        self.live(4)
        self.old.submit()
        # It has a part of its own by then, above that one.
        self.assertEqual({number // PART_NUMBERS for number in self.old.answered - jobs}, {5})

    def test_a_server_alone_finds_a_part_of_the_same_number(self) -> None:
        """It has taken the part over, and its row is an earlier one: its numbers say that it is another."""
        before = self.start_after_another()
        self.old.kill()
        alone = self.another("alone")
        alone.start_alone()
        self.assertEqual(alone.jobs, self.old.answered)
        self.new.start()
        self.new.submit()
        self.make_anew(before)
        for _ in range(3):
            alone.look()
        self.assertIsNone(alone.store)

    def lose_the_deletion(self, fault: str) -> None:
        """An own part without jobs is deleted, and the connection is lost at that."""
        third = self.another()
        third.start()
        self.old.start()
        self.old.submit()
        third.kill()
        self.live(9)
        self.assertIs(self.court.owner(PART_NUMBERS), self.old.life)
        self.database.spend(60)
        self.database.faults = [fault]
        self.old.look()
        self.old.look()
        self.old.look()
        self.assertEqual(self.database.faults, [])
        self.assertEqual(self.old.jobs, self.old.answered)

    def test_a_deletion_of_which_nobody_has_heard(self) -> None:
        """The other parts stay ours."""
        self.lose_the_deletion("lost after")
        self.assertEqual(list(self.court.leases()), [3])

    def test_a_deletion_that_is_undone(self) -> None:
        """Nobody has the part, and it goes the next time."""
        self.lose_the_deletion("lost before")
        self.assertEqual(self.court.leases()[2].owner, NOBODY)
        self.live(62)
        self.assertEqual(list(self.court.leases()), [3])

    def test_a_part_is_taken_and_none_can_be_made_above_it(self) -> None:
        """New jobs come to no part of somebody else's: it is taken another time."""
        self.old.start()
        self.new.start()
        self.new.submit()
        self.new.kill()
        for _ in range(8):
            self.old.look()
            self.database.spend(1)
        # It keeps the row of the next part locked for a while.
        self.database.faults = ["late"]
        self.another().start()
        self.old.look()
        self.assertEqual(self.old.jobs, set())
        # It is seen to be nobody's before.
        self.live(4)
        self.assertEqual(self.old.jobs, self.new.answered)
        self.old.submit()
        self.assertEqual({number // PART_NUMBERS for number in self.old.answered}, {4})

    def test_a_part_of_whose_making_nobody_has_heard(self) -> None:
        """Nobody need wait for its owner to be dead."""
        third = self.another()
        third.start()
        dialect = FakeServerDialect(self.database, self.old)
        store = PartedStore(dialect, Membership("old", "", LENGTH), Times(sleep=self.database.spend))
        self.database.faults = ["lost after"]
        self.assertRaises(StoreUnavailable, store.open)
        store.open()
        self.assertEqual(self.court.leases()[3].owner, NOBODY)
        self.assertEqual(store.reserve(10) // PART_NUMBERS, 3)
        store.close(None)

    def test_nobody_writes_without_a_part(self) -> None:
        holdings = Holdings(FakeServerDialect(self.database, self.old))
        driver: Any = self.database.connect(self.old)
        self.assertRaises(StoreTaken, holdings.fence, driver, driver.cursor())


@needs("hypothesis")
class PartMachineTests(SynchronousTestCase):
    def test_locked_rows(self) -> None:
        with capturedLogs():
            run_machine(PartMachine, examples=15, steps=25, shrink=False)

    def test_certified_rows(self) -> None:
        with capturedLogs():
            run_machine(CertifyingMachine, examples=15, steps=25, shrink=False)
