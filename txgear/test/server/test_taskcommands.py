"""Tests of L{txgear.server.taskcommands} and L{txgear.server.tasks}."""

from __future__ import annotations

import json

from twisted.logger import capturedLogs, formatEvent

from txgear.broker.broker import Broker
from txgear.broker.ended.archive import history_of
from txgear.broker.operators.bulkacts import MOST_TASKS
from txgear.broker.rights import CANCEL, MOVE, PEERS, PRIORITISE, READ, SEE, SHUTDOWN, SUBMIT
from txgear.broker.states import DEAD, DELAYED
from txgear.broker.tenants import Tenant
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import HIGH, WORK_FAIL
from txgear.protocol.packets import request
from txgear.security.audit import AuditLog
from txgear.test.support.broker import FakeRights
from txgear.test.support.textcommands import AdminTestCase


class TaskTestCase(AdminTestCase):
    @property
    def broker(self) -> Broker:
        return self.fixture.server.broker

    def say(self, line: bytes) -> bytes:
        """What is answered, once the jobs have been counted."""
        self.operator.tell(line + b"\n")
        self.fixture.clock.advance(0.001)
        return self.operator.heard()

    def kill(self, count: int) -> None:
        """So many dead jobs of f."""
        policies = Policies([("f", CLASSIC.with_settings({"retries": 0}))])
        self.broker.operations.set_policies(policies, self.fixture.clock.seconds())
        for _ in range(count):
            self.submit(b"f")
        worker = self.fixture.connect()
        worker.tell(request(1, b"f"))
        for number in range(1, count + 1):
            worker.tell(request(9), request(WORK_FAIL, b"H:test:%d" % number))
        worker.leave()
        self.assertEqual(len(self.broker.archive.jobs), count)


class OneJobTests(TaskTestCase):
    def test_prioritise(self) -> None:
        self.submit(b"f")
        self.assertEqual(self.say(b"prioritise job H:test:1 High"), b"OK\r\n")
        self.assertEqual(self.broker.table.jobs[1].priority, HIGH)
        for line in (b"", b" job", b" job H:test:1", b" job H:test:1 high now", b" task H:test:1 high"):
            self.assertIn(b"ERR INVALID_ARGUMENTS", self.say(b"prioritise" + line))
        self.assertIn(b"a+priority+is+high", self.say(b"prioritise job H:test:1 higher").lower())
        self.assertIn(b"ERR UNKNOWN_JOB", self.say(b"prioritise job H:test:2 low"))

    def test_move(self) -> None:
        self.submit(b"f")
        self.assertEqual(self.say(b"move job H:test:1 a\\x20b"), b"OK\r\n")
        self.assertEqual(self.broker.table.jobs[1].function.name, b"a b")
        self.assertIn(b"ERR SAME_FUNCTION", self.say(b"move job H:test:1 a\\x20b"))
        self.assertIn(b"ERR UNKNOWN_JOB", self.say(b"move job H:test:2 g"))
        for line in (b"", b" job H:test:1", b" job H:test:1 g h", b" dead g"):
            self.assertIn(b"ERR INVALID_ARGUMENTS", self.say(b"move" + line))

    def test_rights(self) -> None:
        self.submit(b"f")
        self.peer.rights = FakeRights((MOVE, b"g"), (PRIORITISE, b"f"))
        for line in (b"move job H:test:1 g", b"move jobs g function=f", b"prioritise job H:test:1 low"):
            self.assertIn(b"ERR ACCESS_DENIED", self.say(line))
        self.peer.rights = FakeRights((SEE, b"f"))
        self.assertIn(b"ERR UNKNOWN_JOB", self.say(b"move job H:test:1 h"))


class CopyTests(TaskTestCase):
    def test_the_same_once_more(self) -> None:
        self.submit(b"f")
        self.assertEqual(self.say(b"copy job H:test:1"), b"OK H:test:2\n")
        original, copy = self.broker.table.jobs.values()
        for name in ("function", "workload", "priority", "reducer", "state"):
            self.assertEqual(getattr(copy, name), getattr(original, name), name)
        self.assertIn(b"copy_of\tH:test:1\n", self.say(b"job H:test:2"))
        self.assertIn(b'copies\t["H:test:2"]\n', self.say(b"job H:test:1"))

    def test_or_something_else(self) -> None:
        self.submit(b"f")
        began = self.fixture.clock.seconds()
        self.say(b"copy job H:test:1 function=a\\x20b priority=High unique=u delay=1m")
        copy = self.broker.table.jobs[2]
        self.assertEqual((copy.function.name, copy.unique, copy.priority), (b"a b", b"u", HIGH))
        self.assertEqual((copy.state, copy.due), (DELAYED, began + 60))
        self.assertEqual(self.say(b"copy job H:test:1 function=a\\x20b unique=u"), b"OK H:test:2\n")
        self.assertEqual(len(self.broker.table.jobs), 2)

    def test_its_settings_are_those_of_the_other(self) -> None:
        self.kill(1)
        job = self.broker.archive.jobs[1]
        self.assertEqual(self.say(b"copy job H:test:1"), b"OK H:test:2\n")
        self.assertEqual((job.state, history_of(job).copies), (DEAD, ("H:test:2",)))

    def test_what_makes_no_sense(self) -> None:
        self.submit(b"f")
        for line, code in (
            (b"copy", b"INVALID_ARGUMENTS"),
            (b"copy job", b"INVALID_ARGUMENTS"),
            (b"copy jobs H:test:1", b"INVALID_ARGUMENTS"),
            (b"copy job H:test:1 now", b"INVALID_ARGUMENT"),
            (b"copy job H:test:1 workload=x", b"INVALID_ARGUMENT"),
            (b"copy job H:test:1 delay=soon", b"INVALID_ARGUMENT"),
            (b"copy job H:test:1 unique=\\x00", b"INVALID_ARGUMENT"),
            (b"copy job H:test:1 priority=higher", b"INVALID_ARGUMENTS"),
            (b"copy job H:test:1 unique=" + b"u" * 65, b"ARGUMENT_TOO_LARGE"),
            (b"copy job H:test:2", b"UNKNOWN_JOB"),
        ):
            self.assertEqual(self.say(line).split()[:2], [b"ERR", code], line)
        self.assertEqual(len(self.broker.table.jobs), 1)

    def test_rights(self) -> None:
        self.submit(b"f")
        self.peer.rights = FakeRights((SUBMIT, b"g"))
        self.assertIn(b"ERR ACCESS_DENIED Not+allowed:+submit+g", self.say(b"copy job H:test:1 function=g"))
        self.peer.rights = FakeRights((SUBMIT, b"f"))
        self.assertIn(b"ERR ACCESS_DENIED", self.say(b"copy job H:test:1"))
        self.peer.rights = FakeRights((READ, b"f"))
        self.assertIn(b"ERR ACCESS_DENIED", self.say(b"copy job H:test:1"))
        self.peer.rights = FakeRights((SEE, b"f"))
        self.assertIn(b"ERR UNKNOWN_JOB", self.say(b"copy job H:test:1"))
        self.peer.rights = None
        self.assertEqual(len(self.broker.table.jobs), 1)

    def test_it_is_noted(self) -> None:
        self.submit(b"f")
        path = self.mktemp()
        self.fixture.server.audit = AuditLog(path, self.fixture.clock, self.fixture.clock.seconds)
        with capturedLogs() as logs:
            self.say(b"copy job H:test:1")
        (line,) = map(formatEvent, logs)
        self.assertIn("submit H:test:2: copy of H:test:1", line or "")
        with open(path, encoding="utf-8") as file:
            about = json.loads(file.read())
        self.assertEqual((about["act"], about["handle"], about["function"]), ("submit", "H:test:2", "f"))


class ManyTests(TaskTestCase):
    def test_the_answer_says_which_task_and_how_many_jobs(self) -> None:
        for name in (b"mail.a", b"mail.b", b"g"):
            self.submit(name)
        self.assertEqual(self.say(b"move jobs mail.old function=mail.* older=0s"), b"OK 1 2\n")
        self.assertEqual(self.say(b"prioritise jobs low function=mail.old"), b"OK 2 2\n")
        self.assertEqual(self.say(b"Cancel Jobs function=mail.*"), b"OK 3 2\n")
        self.assertEqual([job.function.name for job in self.broker.table.jobs.values()], [b"g"])

    def test_only_counted(self) -> None:
        self.submit(b"f")
        self.assertEqual(self.say(b"cancel jobs function=* preview=yes"), b"OK 1 1\n")
        self.assertEqual(self.say(b"cancel jobs function=* preview=maybe")[:21], b"ERR INVALID_ARGUMENTS")
        self.assertEqual(len(self.broker.table.jobs), 1)

    def test_the_dead(self) -> None:
        self.kill(4)
        self.assertEqual(self.say(b"prioritise dead high function=f"), b"OK 1 4\n")
        self.assertEqual(self.say(b"forget dead unique=x function=f"), b"OK 2 0\n")
        self.assertEqual(self.say(b"move dead g function=f preview=yes"), b"OK 3 4\n")
        self.assertEqual(self.say(b"requeue dead function=f"), b"OK 4 4\n")
        self.assertEqual(self.say(b"forget dead function=f"), b"OK 5 0\n")
        self.assertEqual(self.say(b"forget kept function=f"), b"OK 6 0\n")

    def test_a_function_that_is_called_like_a_filter(self) -> None:
        self.submit(b"function=f")
        self.assertEqual(self.say(b"forget dead function=f"), b"OK 0\n")
        self.assertIn(b"ERR UNKNOWN_FUNCTION", self.say(b"forget dead other=f"))

    def test_what_makes_no_sense(self) -> None:
        for line in (
            b"cancel jobs limit=3",
            b"cancel jobs function",
            b"cancel jobs older=soon",
            b"cancel jobs function=f function=g",
            b"prioritise jobs high older",
            b"cancel jobs preview=yes",
        ):
            self.assertEqual(self.say(line)[:4], b"ERR ", line)
        self.assertEqual(self.fixture.server.bulk_acts.all(self.fixture.clock.seconds()), [])

    def test_it_waits_for_its_turn_and_may_be_stopped_before(self) -> None:
        self.submit(b"f")
        self.operator.tell(b"cancel jobs function=f\n")
        other = self.fixture.connect()
        self.assertEqual(other.ask(b"stop task 1\n"), b"OK\r\n")
        self.assertIn(b"ERR STOPPED", self.operator.heard())
        self.assertIn(b"ERR ENDED", other.ask(b"stop task 1\n"))

    def test_whoever_asked_may_have_gone(self) -> None:
        self.submit(b"f")
        self.operator.tell(b"cancel jobs function=f\n")
        self.operator.leave()
        self.fixture.clock.advance(0.001)
        self.assertEqual(len(self.broker.table.jobs), 0)

    def test_so_many_at_once(self) -> None:
        other = self.fixture.connect()
        for _ in range(MOST_TASKS):
            other.tell(b"cancel jobs function=f\n")
        self.assertIn(b"ERR TOO_MANY_TASKS", self.operator.ask(b"cancel jobs function=f\n"))
        self.assertEqual(len(self.fixture.server.guard._stand_ins), MOST_TASKS)


class ListTests(TaskTestCase):
    def test_tasks(self) -> None:
        self.submit(b"f")
        self.peer.tenant = Tenant("ops")
        self.say(b"move jobs a\\x20b function=f text=x\\x20y")
        self.say(b"cancel jobs function=*")
        self.assertEqual(
            self.operator.ask(b"tasks\n"),
            b"1\tmove\tdone\t1\t1\t0\t0\t0\tops\tjobs function=f text=x\\x20y\ta\\x20b\n"
            b"2\tcancel\tdone\t1\t1\t1\t1\t0\tops\tjobs function=*\t-\n.\n",
        )
        self.assertIn(b"ERR", self.operator.ask(b"tasks 1\n"))

    def test_others(self) -> None:
        """They are known to whoever may see who is there, and stopped by whoever may stop the server."""
        self.peer.tenant = Tenant("ops")
        self.operator.tell(b"cancel jobs function=*\n")
        self.operator = self.fixture.connect()
        peer = list(self.broker.peers)[-1]
        peer.rights = FakeRights((PEERS, b""))
        self.assertEqual(self.operator.ask(b"tasks\n"), b".\n")
        self.assertIn(b"ERR UNKNOWN_TASK", self.operator.ask(b"stop task 1\n"))
        peer.rights = FakeRights((SHUTDOWN, b""))
        self.assertIn(b"1\tcancel\twaiting", self.operator.ask(b"tasks\n"))
        self.assertIn(b"ERR ACCESS_DENIED", self.operator.ask(b"stop task 1\n"))
        peer.rights = FakeRights()
        self.assertEqual(self.operator.ask(b"stop task 1\n"), b"OK\r\n")
        for line in (b"stop", b"stop task", b"stop task x", b"stop job 1", b"stop task 1 2"):
            self.assertIn(b"ERR INVALID_ARGUMENTS", self.operator.ask(line + b"\n"))


class RecordTests(TaskTestCase):
    def test_the_log_and_the_audit_log(self) -> None:
        path = self.mktemp()
        self.fixture.server.audit = AuditLog(path, self.fixture.clock, self.fixture.clock.seconds)
        self.submit(b"f")
        with capturedLogs() as events:
            self.say(b"prioritise job H:test:1 low")
            self.say(b"move jobs g function=f")
            self.say(b"stop task 1")
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "192.0.2.1 (-): prioritise job H:test:1 low: OK",
                "192.0.2.1: task 1, move jobs function=f: it begins",
                "192.0.2.1: task 1, move jobs function=f: done: 1 matched, 1 done, 0 failed, 0 passed over",
            ],
        )
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual(
            [(line["act"], line.get("handle"), line.get("jobs"), line.get("answer")) for line in lines],
            [
                ("prioritise", "H:test:1", None, "OK"),
                ("move", None, "jobs function=f", None),
                ("move", None, "jobs function=f", "done: 1 matched, 1 done, 0 failed, 0 passed over"),
            ],
        )

    def test_one_that_is_stopped_is_recorded(self) -> None:
        path = self.mktemp()
        self.fixture.server.audit = AuditLog(path, self.fixture.clock, self.fixture.clock.seconds)
        self.operator.tell(b"cancel jobs function=f\n")
        self.fixture.connect().ask(b"stop task 1\n")
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual([line["act"] for line in lines], [CANCEL, CANCEL, "stop"])
        self.assertEqual((lines[1]["answer"][:8], lines[2]["task"]), ("stopped:", "1"))
