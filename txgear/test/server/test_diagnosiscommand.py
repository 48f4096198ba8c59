"""Tests of L{txgear.server.diagnosiscommand}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.diagnosis.diagnosis import MOST_TROUBLED
from txgear.broker.diagnosis.findings import Trend
from txgear.broker.rights import PEERS, SEE
from txgear.protocol.constants import CAN_DO, PRE_SLEEP
from txgear.protocol.packets import request
from txgear.server.listings import AT_ONCE
from txgear.stores.memory import MemoryStore
from txgear.test.support.broker import FakeRights
from txgear.test.support.server import DurableServerFixture, ServerFixture, submit

UNKNOWN = b"ERR UNKNOWN_FUNCTION There+is+no+such+function\r\n"


class DiagnoseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.operator = self.fixture.connect()

    def ask(self, line: bytes) -> bytes:
        answer = self.operator.ask(line + b"\n")
        # A list of all comes later.
        self.fixture.clock.pump([0] * 20)
        return answer + self.operator.heard()

    def submit(self, function: bytes = b"f") -> None:
        self.fixture.connect().ask(submit(function=function))

    def test_one_function(self) -> None:
        self.fixture.connect().ask(request(CAN_DO, b"f"), request(PRE_SLEEP))
        words = b"no job is due; none has ended since the server started; 1 worker"
        self.assertEqual(self.ask(b"diagnose f"), b"ok\tidle\t" + words + b"\n.\n")
        self.ask(b"pause f")
        self.submit()
        self.fixture.clock.advance(5)
        paused = b"warning\tpaused\tpaused by 192.0.2.1 since 00:16:40 UTC (5 s); 1 job waits\n"
        waits = b"info\tjobs_wait\t1 job waits; 1 worker knows the function: 1 is asleep\n"
        self.assertEqual(self.ask(b"diagnose f "), paused + waits + b".\n")

    def test_it_knows_how_the_function_has_fared(self) -> None:
        self.fixture.server.trend = {b"f": Trend(60.0, 100, 50)}.get
        self.submit()
        self.assertIn(b"\twait_grows\t", self.ask(b"diagnose f"))
        self.assertIn(b"f\twarning\twait_grows\t", self.ask(b"diagnose"))

    def test_a_function_that_nobody_uses_any_more(self) -> None:
        worker = self.fixture.connect()
        worker.ask(request(CAN_DO, b"f"))
        worker.leave()
        self.assertNotIn(b"f", self.fixture.server.broker.functions.by_name)
        self.fixture.clock.advance(240)
        words = (
            b"no job is due; none has ended since the server started; no worker since 00:16:40 UTC (4 min)"
        )
        self.assertEqual(self.ask(b"diagnose f"), b"ok\tidle\t" + words + b"\n.\n")

    def test_one_that_there_is_not(self) -> None:
        self.assertEqual(self.ask(b"diagnose f"), UNKNOWN)
        self.assertTrue(self.ask(b"diagnose f g").startswith(b"ERR INVALID_ARGUMENTS "))

    def test_one_of_which_the_peer_may_not_know(self) -> None:
        self.submit()
        self.operator.protocol.peer.rights = FakeRights((SEE, b"f"))
        self.assertEqual((self.ask(b"diagnose f"), self.ask(b"diagnose")), (UNKNOWN, b".\n"))

    def test_names_are_for_those_who_may_know_them(self) -> None:
        self.ask(b"pause f")
        self.operator.protocol.peer.rights = FakeRights((PEERS, b""))
        paused = b"info\tpaused\tpaused since 00:16:40 UTC (less than 1 s)\n"
        self.assertTrue(self.ask(b"diagnose f").startswith(paused))

    def test_a_name_that_is_shown_escaped(self) -> None:
        self.submit(b"a b\n")
        self.assertIn(b"\tnever_a_worker\t", self.ask(b"diagnose a\\x20b\\x0a"))
        self.assertTrue(self.ask(b"diagnose").startswith(b"a\\x20b\\x0a\tcritical\tnever_a_worker\t"))

    def test_all_functions(self) -> None:
        self.assertEqual(self.ask(b"diagnose"), b".\n")
        self.submit()
        words = b"1 job waits, and there has been no worker since the server started"
        self.assertEqual(self.ask(b"diagnose"), b"f\tcritical\tnever_a_worker\t" + words + b"\n.\n")

    def test_what_is_of_the_server(self) -> None:
        self.submit()
        self.fixture.server.broker.drain(self.fixture.server.seconds())
        self.assertTrue(self.ask(b"diagnose").startswith(b"-\twarning\tdraining\tthe server is to end"))

    def test_a_server_that_ends(self) -> None:
        """It has only to write what is left: that is why it takes nothing, whatever its store does."""
        fixture = DurableServerFixture(MemoryStore())
        client, operator = fixture.connect(), fixture.connect()
        client.tell(submit(function=b"f"))
        ended = fixture.journal.settle()
        words = b"the server ends: it takes no background job, and writes to its store what is left for that"
        operator.tell(b"diagnose f\ndiagnose\n")
        fixture.clock.pump([0] * 20)
        lines = operator.heard().splitlines()
        self.assertEqual([words in line for line in lines if b"\tdraining\t" in line], [True, True], lines)
        self.assertFalse(any(b"store_unavailable" in line for line in lines), lines)
        fixture.thread.run_all()
        self.successResultOf(ended)

    def test_a_great_many(self) -> None:
        for number in range(max(MOST_TROUBLED, AT_ONCE) + 1):
            self.submit(b"f%d" % number)
        lines = self.ask(b"diagnose").splitlines()
        self.assertEqual(len(lines), MOST_TROUBLED + 2)
        self.assertEqual(lines[-2:], [b"more", b"."])
