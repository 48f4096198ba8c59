"""Tests of L{txgear.stores.leases}, and of two servers with one database."""

from __future__ import annotations

from contextlib import closing

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import StoreTaken, StoreUnavailable, StoreUnusable
from txgear.stores.tenure import LENGTH, NOBODY, Judgement, LeaseRow, Tenure
from txgear.test.support.extras import RuleBasedStateMachine, rule, run_machine, st
from txgear.test.support.leases import FAULTS, FakeDatabase, FakeServer

ACTS = ("start", "write", "write", "write", "close", "kill", "cut")
SERVERS = st.integers(0, 2)


class LeaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.database = FakeDatabase()
        self.addCleanup(self.database.close)
        self.old, self.new = (FakeServer(self.database, name) for name in ("old", "new"))

    def beat(self, server: FakeServer, times: int = 20) -> None:
        """Have a server write each second, from now on."""
        for second in range(1, times + 1):
            self.database.later(second, server.write)

    def seconds_of(self, server: FakeServer) -> float:
        """How long it takes to start."""
        before = self.database.now
        server.start()
        return self.database.now - before

    # The first time

    def test_nobody_has_it(self) -> None:
        self.assertEqual(self.seconds_of(self.old), 0)
        self.assertTrue(self.old.runs)
        row = self.database.row
        assert row is not None
        self.assertEqual((len(row[0]), row[1:3]), (16, (1, 0)))
        self.assertRegex(row[3], ", process [0-9]+$")

    def test_another_server_has_it(self) -> None:
        self.old.start()
        self.beat(self.old)
        self.assertLess(self.seconds_of(self.new), 2)
        self.assertIsInstance(self.new.ended, StoreUnusable)
        self.assertRegex(str(self.new.ended), "in use by another server: .+, process [0-9]+$")
        self.assertTrue(self.old.runs)

    def test_its_owner_is_dead(self) -> None:
        """The database says at once that the connection is no more."""
        self.old.start()
        self.old.kill()
        self.assertEqual(self.seconds_of(self.new), 0)
        self.assertTrue(self.new.runs)

    def test_its_owner_stands_still(self) -> None:
        """However much that would write when it goes on: nothing is written."""
        self.old.start()
        self.old.write()
        seconds = self.seconds_of(self.new)
        self.assertTrue(self.new.runs)
        self.assertGreaterEqual(seconds, LENGTH)
        self.assertLess(seconds, LENGTH + 0.5)
        self.old.write()
        self.assertIsInstance(self.old.ended, StoreTaken)
        self.assertEqual(self.database.writes, [self.old])

    def test_its_owner_beats_at_the_last_moment(self) -> None:
        """Between the last look and the taking, perhaps: that names the beat that was seen."""
        runs = set()
        for twentieths in range(140, 200):
            with closing(FakeDatabase()) as database:
                database.latency = 0.2
                old, new = FakeServer(database, "old"), FakeServer(database, "new")
                old.start()
                database.later(twentieths / 20, old.write)
                # It would say that the lease has moved.
                new.start()
                self.assertTrue(old.runs or new.runs)
                runs.add(new.runs)
        self.assertEqual(runs, {False, True})

    def test_it_was_let_go_of(self) -> None:
        self.old.start()
        self.old.close()
        row = self.database.row
        assert row is not None
        self.assertEqual((row[0], row[3:]), (NOBODY, ("", "")))
        self.assertEqual(self.seconds_of(self.new), 0)

    def test_two_start_at_once(self) -> None:
        self.old.start()
        third = FakeServer(self.database, "third")
        self.database.latency = 0.04
        self.database.later(0.05, third.start)
        self.new.start()
        self.assertEqual([self.new.runs, third.runs].count(True), 1)

    def test_a_database_that_is_slow(self) -> None:
        """It does not say whether the owner could have written."""
        self.old.start()
        self.database.latency = 1.5
        self.assertGreater(self.seconds_of(self.new), 30)
        self.assertIsInstance(self.new.ended, StoreUnavailable)

    # Coming back

    def test_a_connection_that_was_lost(self) -> None:
        self.old.start()
        self.old.cut()
        for _ in range(3):
            self.old.write()
        self.assertTrue(self.old.runs)
        self.assertEqual(self.database.writes, [self.old])

    def test_a_commit_of_which_nothing_is_known(self) -> None:
        for fault in FAULTS:
            self.old.start()
            self.database.faults = [fault]
            for _ in range(3):
                self.old.write()
            self.assertTrue(self.old.runs, fault)
            self.old.close()

    def test_a_taking_of_which_nothing_is_known(self) -> None:
        for fault in FAULTS:
            self.old.start()
            self.old.kill()
            self.database.faults = [fault]
            self.database.latency = 0.1
            self.new.start()
            self.assertTrue(self.new.runs, fault)
            self.new.close()

    def test_another_server_was_there(self) -> None:
        self.old.start()
        self.old.cut()
        self.new.start()
        self.new.close()
        for _ in range(2):
            self.old.write()
        self.assertIsInstance(self.old.ended, StoreTaken)

    # A failover that loses

    def lose(self, steps: int) -> list[str]:
        """The last changes are lost, and the old server goes on; what the log says."""
        self.database.fail_over(steps)
        with capturedLogs() as events:
            for _ in range(3):
                self.old.write()
        return [formatEvent(event) for event in events]

    def test_some_beats_are_lost(self) -> None:
        self.old.start()
        for _ in range(5):
            self.database.spend(60)
            self.old.write()
        (line,) = self.lose(2)
        self.assertIn("has lost what it had confirmed, since 1970-01-01", line)
        self.assertTrue(self.old.runs)
        self.assertEqual(self.database.owner, self.old)
        # It is told once.
        self.assertEqual(self.lose(0), [])

    def test_the_taking_is_lost(self) -> None:
        """What comes back is what was replaced, or no row at all."""
        self.new.start()
        self.new.kill()
        self.old.start()
        self.old.write()
        self.assertEqual(len(self.lose(2)), 1)
        self.assertTrue(self.old.runs)
        self.assertEqual(len(self.lose(100)), 1)
        self.assertTrue(self.old.runs)

    def test_the_taking_is_lost_and_another_server_is_quicker(self) -> None:
        """It counts the same term up, and has beaten as often."""
        self.old.start()
        self.database.fail_over(1)
        self.new.start()
        self.old.write()
        self.old.write()
        self.old.write()
        self.assertIsInstance(self.old.ended, StoreTaken)
        self.assertEqual(self.database.writes, [])

    def test_a_row_from_long_before(self) -> None:
        """Nobody knows its owner, who does not move."""
        self.new.start()
        self.new.write()
        self.new.close()
        self.new.start()
        self.new.close()
        self.old.start()
        self.old.write()
        self.assertEqual(len(self.lose(5)), 1)
        self.assertTrue(self.old.runs)


class LeaseMachine(RuleBasedStateMachine):
    """Whatever happens when: L{FakeDatabase} says what must not."""

    def __init__(self) -> None:
        super().__init__()
        self.database = FakeDatabase()
        self.servers = [FakeServer(self.database, name) for name in ("one", "two", "three")]

    def act(self, server: int, act: str) -> None:
        getattr(self.servers[server], act)()

    @rule(server=SERVERS, act=st.sampled_from(ACTS))
    def now(self, server: int, act: str) -> None:
        self.act(server, act)

    @rule(server=SERVERS, act=st.sampled_from(ACTS), tenths=st.integers(0, 100))
    def later(self, server: int, act: str, tenths: int) -> None:
        """In the middle of what another one does by then."""
        self.database.later(tenths / 10, lambda: self.act(server, act))

    @rule(server=SERVERS, times=st.integers(1, 15))
    def beat(self, server: int, times: int) -> None:
        for beat in range(1, times + 1):
            self.database.later(2.0 * beat, lambda: self.act(server, "write"))

    @rule(seconds=st.sampled_from((0.1, 1.0, 5.0, 9.0)))
    def spend(self, seconds: float) -> None:
        self.database.spend(seconds)

    @rule(latency=st.sampled_from((0.0, 0.02, 0.4, 1.2)))
    def be_slow(self, latency: float) -> None:
        self.database.latency = latency

    @rule(faults=st.lists(st.sampled_from(("", *FAULTS)), max_size=4))
    def fail(self, faults: list[str]) -> None:
        self.database.faults = list(faults)

    @rule(steps=st.integers(0, 6))
    def fail_over(self, steps: int) -> None:
        self.database.fail_over(steps)

    def teardown(self) -> None:
        self.database.spend(60)
        self.database.close()


class LeaseMachineTests(SynchronousTestCase):
    def test_two_never_write(self) -> None:
        with capturedLogs():
            run_machine(LeaseMachine, examples=200, steps=30, shrink=False)


class LossTests(SynchronousTestCase):
    """An earlier row that is read, and what it says once it has been taken, or not."""

    def setUp(self) -> None:
        self.tenure = Tenure(lambda size: b"o" * size)
        new = self.tenure.proposal(LeaseRow(NOBODY, 0, 0), "a", "")
        self.tenure.done(new, 1000.0)
        self.tenure.beat(1007.0)
        self.late = new
        self.assertEqual(self.tenure.judge(self.late, 0.0, 0.0), Judgement.TAKE)

    def test_it_is_taken(self) -> None:
        self.tenure.done(self.tenure.proposal(self.late, "a", ""), 1020.0)
        self.assertEqual((self.tenure.has_lost, self.tenure.lost_since), (True, 1000.0))

    def test_a_row_of_a_term_that_we_have_had(self) -> None:
        """It was made after a failover to before ours, which had this term first, and has a later one."""
        self.tenure.done(self.tenure.proposal(self.late, "a", ""), 1020.0)
        another = LeaseRow(b"another", self.late.term, 3)
        self.assertEqual(self.tenure.judge(another, 20.0, 20.0, gone=True), Judgement.TAKEN)
        self.assertTrue(self.tenure.is_anothers(another))

    def test_it_was_a_late_reading(self) -> None:
        new = self.tenure.proposal(self.late, "a", "")
        held = self.tenure.held
        assert held is not None
        self.tenure.not_done(new)
        self.assertEqual(self.tenure.judge(held, 1.0, 1.0), Judgement.OURS)
        self.tenure.done(self.tenure.proposal(held, "a", ""), 1020.0)
        self.assertFalse(self.tenure.has_lost)
