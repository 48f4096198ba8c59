"""Tests for L{txgear.server.runcommand}."""

from __future__ import annotations

from twisted.logger import capturedLogs

from txgear.broker.rights import SEE, SETTINGS, SUBMIT
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import HIGH
from txgear.server.schedules import Schedule
from txgear.test.support.broker import FakeRights
from txgear.test.support.server import DurableServerTestCase, submit
from txgear.test.support.textcommands import AdminTestCase

NIGHTLY = Schedule(b"at night", "0 3 * * *", b"mail", workload=b"all", unique=b"u", priority=HIGH)


class RunTests(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.fixture.server
        self.server.scheduler.start([NIGHTLY], [])
        self.addCleanup(self.server.scheduler.stop)

    def test_run(self) -> None:
        """It has all that it would have at its time, and that stays."""
        before = self.server.scheduler.shown(b"at night")
        self.assertEqual(self.operator.ask(b"run schedule at\\x20night\n"), b"OK H:test:1\n")
        (job,) = self.server.broker.table.jobs.values()
        self.assertEqual(
            (job.function.name, bytes(job.workload), job.unique, job.priority, job.background),
            (b"mail", b"all", b"u", HIGH, True),
        )
        found = self.server.scheduler.shown(b"at night")
        self.assertEqual((found["last"], found["upcoming"]), (before["last"], before["upcoming"]))
        self.assertEqual(found["run"], (self.fixture.clock.seconds(), b"H:test:1", False, True))
        (line,), _ = self.server.audit.last(0, 9)
        self.assertEqual(
            (line["act"], line["outcome"], line["schedule"], line["function"], line["handle"]),
            ("submit", "done", "at night", "mail", "H:test:1"),
        )

    def test_its_unique_is_taken(self) -> None:
        self.operator.ask(b"run schedule at\\x20night\n")
        self.assertEqual(self.operator.ask(b"run schedule at\\x20night\n"), b"OK H:test:1\n")
        self.assertEqual(len(self.server.broker.table.jobs), 1)
        self.assertTrue(self.server.scheduler.shown(b"at night")["run"].joined)
        self.assertEqual(self.server.audit.last(0, 1)[0][0]["answer"], "it was there before")

    def test_mistakes(self) -> None:
        for words in (b"", b" schedule", b" schedule a b", b" job at\\x20night"):
            self.assertIn(b"ERR INVALID_ARGUMENTS", self.operator.ask(b"run" + words + b"\n"), words)
        self.assertEqual(
            self.operator.ask(b"run schedule daily\n"), b"ERR UNKNOWN_SCHEDULE There+is+no+such+schedule\r\n"
        )

    def test_a_full_queue(self) -> None:
        full = Policies([("*", CLASSIC.with_settings({"max_queue": 1}))])
        self.server.broker.operations.set_policies(full, self.fixture.clock.seconds())
        self.submit(b"mail")
        self.assertIn(b"ERR QUEUE_ERROR", self.operator.ask(b"run schedule at\\x20night\n"))
        self.assertIsNone(self.server.scheduler.shown(b"at night")["run"])

    def test_rights(self) -> None:
        peer = self.operator.protocol.peer
        for denied, expected in (
            ((SETTINGS, b""), b"ERR ACCESS_DENIED Not+allowed:+settings\r\n"),
            ((SEE, b"mail"), b"ERR UNKNOWN_SCHEDULE There+is+no+such+schedule\r\n"),
            ((SUBMIT, b"mail"), b"ERR ACCESS_DENIED Not+allowed:+submit+mail\r\n"),
        ):
            peer.rights = FakeRights(denied)
            self.assertEqual(self.operator.ask(b"run schedule at\\x20night\n"), expected, denied)
        self.assertEqual(len(self.server.broker.table.jobs), 0)


class StoredTests(DurableServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.fixture.server
        self.server.scheduler.start([NIGHTLY], [])
        self.addCleanup(self.server.scheduler.stop)

    def test_it_is_answered_when_it_is_on_the_disk(self) -> None:
        self.client.tell(b"run schedule at\\x20night\n")
        self.assertEqual(self.client.heard(), b"")
        self.assertEqual(self.server.audit.last(0, 9), ([], None))
        self.thread.run_all()
        self.assertEqual(self.client.heard(), b"OK H:test:1\n")
        self.assertEqual(len(self.server.audit.last(0, 9)[0]), 1)
        self.assertEqual(self.server.guard._stand_ins, {})

    def test_the_store_does_not_take_it(self) -> None:
        self.store.too_large = 2
        self.client.tell(b"run schedule at\\x20night\n")
        with capturedLogs():
            self.run_on(0.5)
        self.assertIn(b"ERR QUEUE_ERROR ", self.client.heard())
        self.assertIsNone(self.server.scheduler.shown(b"at night")["run"])
        self.assertEqual(self.server.guard._stand_ins, {})

    def test_who_has_gone_meanwhile(self) -> None:
        self.client.tell(b"run schedule at\\x20night\n")
        self.client.leave()
        self.thread.run_all()
        self.assertEqual(len(self.server.audit.last(0, 9)[0]), 1)
        self.assertEqual(self.server.guard._stand_ins, {})

    def test_the_store_has_it_already(self) -> None:
        """What is answered, noted and shown is the job that there is."""
        self.begin_anew(queue_memory=0)
        self.server = self.fixture.server
        self.server.scheduler.start([NIGHTLY], [])
        self.addCleanup(self.server.scheduler.stop)
        self.other.tell(submit(function=b"mail"), submit(function=b"mail", unique=b"u"))
        self.thread.run_all()
        self.client.tell(b"run schedule at\\x20night\n")
        self.assertEqual(self.client.heard(), b"")
        self.thread.run_all()
        self.assertEqual(self.client.heard(), b"OK H:test:2\n")
        (line,), _ = self.server.audit.last(0, 9)
        self.assertEqual((line["handle"], line["answer"]), ("H:test:2", "it was there before"))
        run = self.server.scheduler.shown(b"at night")["run"]
        self.assertEqual((run.handle, run.joined), (b"H:test:2", True))
