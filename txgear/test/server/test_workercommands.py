"""Tests of L{txgear.server.workercommands}: with peers that the test plays, and with txgear's own worker."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.rights import MANAGE, PEERS
from txgear.protocol.constants import (
    CAN_DO,
    GRAB_JOB,
    OPTION_REQ,
    SET_CLIENT_ID,
    STEER,
    STEERED,
    WORKER_HELLO,
    WORKER_STATE,
)
from txgear.protocol.packets import request, response
from txgear.server.steering import ANSWER_SECONDS
from txgear.server.workercommands import MOST_CALLED
from txgear.test.support.broker import FakeRights
from txgear.test.support.server import FakePeer, ServerFixture, submit
from txgear.testing import MemoryServer
from txgear.worker import Worker, WorkerJob

WANTED = (
    b"ERR INVALID_ARGUMENTS worker+wants+the+number+or+id+of+a+worker,+and+a+word+such+as+pause,+resume,+stop"
    b"+or+disconnect\r\n"
)


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.server, self.clock = self.fixture.server, self.fixture.clock
        self.operator = self.fixture.connect("192.0.2.9")
        self.line = self.fixture.connect()
        self.line.ask(
            request(OPTION_REQ, b"txgear-1"),
            request(SET_CLIENT_ID, b"mailer\n1"),
            request(CAN_DO, b"f"),
            request(WORKER_STATE, json.dumps({"words": ["pause", "stop"]}).encode()),
        )
        self.number = self.line.protocol.peer.descriptor

    def say(self, word: str, number: object = None, of: FakePeer | None = None) -> bytes:
        return (of or self.operator).ask(f"worker {number or self.number} {word}\n".encode())

    def audited(self) -> list[dict[str, Any]]:
        lines, _ = self.server.audit.last(0, 100)
        names = ("act", "outcome", "worker", "arguments", "answer")
        return [{name: line[name] for name in names if name in line} for line in lines]

    def test_the_answer_is_the_workers(self) -> None:
        self.assertEqual(self.say("pause"), b"")
        self.assertEqual(self.line.heard(), response(STEER, b"1", b"pause", b""))
        with capturedLogs() as events:
            self.line.tell(request(STEERED, b"1", b"done", b"2 jobs\nfirst"))
        self.assertEqual(self.operator.heard(), b"OK 2+jobs\\x0afirst\r\n")
        line = "192.0.2.9: worker mailer\\x0a1: pause: OK 2 jobs\\x0afirst"
        self.assertIn(line, [formatEvent(event) for event in events])
        (audited,) = self.audited()
        self.assertEqual(
            (audited["act"], audited["outcome"], audited["arguments"]), ("manage", "done", "pause")
        )
        self.assertIn("mailer", audited["worker"])
        self.say("STOP")
        self.line.tell(request(STEERED, b"2", b"done", b""))
        self.assertEqual(self.operator.heard(), b"OK\r\n")

    def test_what_comes_later_waits_for_it(self) -> None:
        self.operator.tell(f"worker {self.number} pause\nversion\n".encode())
        self.assertEqual(self.operator.heard(), b"")
        self.line.tell(request(STEERED, b"1", b"refused", b"no"))
        self.assertTrue(self.operator.heard().startswith(b"ERR REFUSED_BY_WORKER no\r\nOK "))
        self.assertEqual(self.audited()[0]["answer"], "REFUSED_BY_WORKER: no")

    def test_no_answer(self) -> None:
        self.say("pause")
        self.clock.advance(ANSWER_SECONDS)
        text = b"The+worker+has+not+answered+for+10+seconds;+it+may+still+do+it"
        self.assertEqual(self.operator.heard(), b"ERR NOT_ANSWERED " + text + b"\r\n")

    def test_it_goes(self) -> None:
        self.say("stop")
        self.line.leave()
        answer = b"ERR WORKER_GONE The+worker+has+gone+before+it+answered\r\n"
        self.assertEqual(self.operator.heard(), answer)

    def test_who_asked_goes(self) -> None:
        self.say("pause")
        self.operator.leave()
        self.assertEqual(
            self.line.ask(request(STEERED, b"1", b"done", b"")), response(STEER, b"1", b"pause", b"")
        )
        self.assertEqual(self.audited()[0]["answer"], "OK")

    def test_it_tells_itself(self) -> None:
        self.say("pause", of=self.line)
        self.assertEqual(self.line.ask(request(STEERED, b"1", b"done", b"")), b"OK\r\n")

    def test_classic(self) -> None:
        classic = self.fixture.connect()
        classic.ask(request(CAN_DO, b"f"))
        answer = self.say("pause", classic.protocol.peer.descriptor)
        self.assertTrue(answer.startswith(b"ERR NOT_STEERABLE The+worker+cannot+be+steered:"), answer)
        self.assertEqual((classic.heard(), self.audited()), (b"", []))

    def test_who_is_no_worker(self) -> None:
        for number in (self.operator.protocol.peer.descriptor, 99, "x", "-1", "1" * 5000, "\u00b2"):
            with self.subTest(number=str(number)[:10]):
                self.assertEqual(self.say("pause", number), b"ERR UNKNOWN_WORKER There+is+no+such+worker\r\n")

    def told(self, *lines: bytes) -> list[bytes]:
        return [self.operator.ask(line + b"\n") for line in lines]

    def state(self, line: FakePeer, **said: object) -> None:
        line.ask(request(WORKER_STATE, json.dumps(said).encode()))

    def test_by_id(self) -> None:
        self.operator.tell(b"worker mailer\\x0a1 pause\n")
        self.assertEqual(self.line.heard(), response(STEER, b"1", b"pause", b""))
        self.line.tell(request(STEERED, b"1", b"done", b""))
        self.assertEqual(self.operator.heard(), b"OK\r\n")
        (answer,) = self.told(b"worker mailer pause")
        self.assertEqual(answer, b"ERR UNKNOWN_WORKER There+is+no+such+worker\r\n")

    def test_several_with_one_id(self) -> None:
        """All are told, each of them is in the audit log, and the answer is one."""
        other, classic = self.fixture.connect(), self.fixture.connect()
        for line in (other, classic):
            line.ask(
                request(SET_CLIENT_ID, b"mailer\n1"), request(CAN_DO, b"f"), request(OPTION_REQ, b"txgear-1")
            )
        self.state(other, words=["pause"])
        self.operator.tell(b"worker mailer\\x0a1 pause\n")
        self.line.tell(request(STEERED, b"1", b"done", b"1 job first"))
        self.assertEqual(self.operator.heard(), b"")
        other.tell(request(STEERED, b"2", b"done", b""))
        number = classic.protocol.peer.descriptor
        self.assertEqual(
            self.operator.heard(),
            b"ERR NOT_ALL_DONE 2+of+3+have+done+it;+%d:+The+worker+cannot+be+steered:+it+speaks+the+classic"
            b"+protocol,+or+does+not+want+to\r\n" % number,
        )
        self.assertEqual([line["answer"] for line in self.audited()], ["OK", "OK 1 job first"])
        self.assertEqual(
            self.told(b"worker mailer\\x0a1"),
            [b"ERR SEVERAL_WORKERS 3+workers+are+called+so:+say+the+number+of+one:+2,+3,+4\r\n"],
        )
        self.assertEqual(self.told(b"worker mailer\\x0a1 disconnect"), [b"OK 3+workers\r\n"])
        self.assertTrue(all(line.transport.disconnected for line in (self.line, other, classic)))

    def test_very_many_are_not_told_at_once(self) -> None:
        for _ in range(MOST_CALLED):
            self.fixture.connect().tell(request(SET_CLIENT_ID, b"mailer\n1"), request(CAN_DO, b"f"))
        (answer,) = self.told(b"worker mailer\\x0a1 disconnect")
        self.assertTrue(answer.startswith(b"ERR TOO_MANY_WORKERS There+are+201+workers+like+that"), answer)
        self.assertFalse(self.line.transport.disconnected)

    def test_a_function_as_it_is_shown(self) -> None:
        names = [b"f", b"App\\xdebug", b"App\xdebug", b"a b"]
        self.state(
            self.line,
            words=["register", "unregister", "x"],
            functions=[{"name": "a b", "in_use": False}, {"name": "App\\xdebug"}],
        )
        for word, expected in (
            (b"f", names[0]),
            (b"a\\x20b", names[3]),
            # The worker knows the one with the byte.
            (b"App\\xdebug", names[2]),
            (b"App\\x5cxdebug", b"App\\x5cxdebug"),
        ):
            self.operator.tell(b"worker 2 unregister %s\n" % word)
            self.assertIn(b"\0unregister\0" + expected, self.line.heard() + b"end", word)
        self.operator.tell(b"worker 2 x a\\x20b\n")
        self.assertIn(b"\0x\0a\\x20b", self.line.heard())
        self.line.tell(request(STEERED, b"1", b"done", b""))
        self.assertEqual(self.audited()[0]["arguments"], "unregister f")
        answers = self.fixture.connect("192.0.2.10").ask(b"worker 2 register\n")
        self.assertEqual(answers, b"ERR INVALID_ARGUMENTS register+wants+the+name+of+a+function\r\n")

    def test_what_is_known_of_one(self) -> None:
        self.fixture.connect().ask(submit())
        self.line.ask(request(GRAB_JOB))
        self.state(self.line, words=["pause"], functions=[{"name": "a b", "in_use": False, "done": 3}])
        (answer,) = self.told(b"worker %d" % self.number)
        rows = answer.decode().splitlines()
        for expected in (
            "descriptor\t2",
            "id\tmailer\\x0a1",
            "condition\tbusy",
            "functions\t1",
            "word\tpause",
            "function\tf\tyes\t1\t-\t-",
            "function\ta\\x20b\tno\t0\t3\t0",
        ):
            self.assertIn(expected, rows)
        self.assertTrue(any(each.startswith("job\tH:test:1\tf\t") for each in rows), rows)
        self.assertEqual(rows[-1], ".")

    def test_a_list_of_them(self) -> None:
        self.fixture.connect().ask(submit())
        self.line.ask(request(GRAB_JOB))
        self.clock.advance(3)
        self.fixture.connect().ask(request(CAN_DO, b"g"), request(CAN_DO, b"a b"))
        self.state(self.line, words=["pause"], functions=[{"name": "h", "in_use": False}])
        busy = b"2\tmailer\\x0a1\t-\t-\t-\t-\tbusy\t1\tf\t3\tf\th\n"
        idle = b"4\t-\t-\t-\t-\t-\tawake\t0\t-\t-\tg a\\x20b\t-\n"
        self.assertEqual(
            self.told(
                b"workforce",
                b"workforce id=mailer\\x0a1",
                b"workforce function=g",
                b"workforce host=x",
                b"workforce limit=1",
            ),
            [busy + idle + b".\n", busy + b".\n", idle + b".\n", b".\n", busy + b"next\t2\n.\n"],
        )
        (answer,) = self.told(b"workforce x=y")
        self.assertTrue(answer.startswith(b"ERR INVALID_ARGUMENT x+is+not+known"), answer)
        self.operator.protocol.peer.rights = FakeRights((PEERS, b""))
        self.assertEqual(self.told(b"workforce"), [b".\n"])

    def test_other_words(self) -> None:
        for line in (b"worker\n", b"worker 1 pause 2 3\n"):
            self.assertEqual(self.operator.ask(line), WANTED)

    def test_disconnected(self) -> None:
        """Its job comes back; whoever else there is gets it."""
        self.fixture.connect().ask(submit())
        self.line.ask(request(GRAB_JOB))
        self.assertEqual(self.say("disconnect"), b"OK\r\n")
        self.assertTrue(self.line.transport.disconnected)
        self.line.leave()
        (job,) = self.server.broker.table.jobs.values()
        self.assertEqual((job.worker, job.retries), (None, 1))
        self.assertEqual(self.audited()[0]["arguments"], "disconnect")
        self.assertEqual(self.say("disconnect"), b"ERR UNKNOWN_WORKER There+is+no+such+worker\r\n")

    def test_absent(self) -> None:
        """It cannot be told anything; who ends its connection has its jobs back."""
        self.fixture.connect().ask(submit())
        key = '"key":"%s"' % ("a" * 32)
        self.line.ask(request(WORKER_HELLO, b'{%s,"id":"mailer"}' % key.encode()), request(GRAB_JOB))
        self.line.leave()
        (job,) = self.server.broker.table.jobs.values()
        self.assertIsNotNone(job.worker)
        (answer,) = self.told(b"worker mailer pause")
        self.assertEqual(answer, b"ERR WORKER_ABSENT The+worker+is+absent:+its+connection+is+lost\r\n")
        self.assertEqual(self.told(b"worker mailer disconnect"), [b"OK\r\n"])
        self.assertEqual((job.worker, job.retries), (None, 1))
        self.assertEqual([line["arguments"] for line in self.audited()], ["disconnect"])

    def test_it_disconnects_itself(self) -> None:
        self.line.tell(f"worker {self.number} disconnect\nversion\n".encode())
        self.assertTrue(self.line.transport.disconnected)

    def test_who_may_not(self) -> None:
        """No packet leaves, and no connection ends."""
        self.operator.protocol.peer.rights = FakeRights((MANAGE, b""))
        for word in ("pause", "disconnect", "grow"):
            self.assertEqual(self.say(word), b"ERR ACCESS_DENIED Not+allowed:+manage\r\n")
        self.assertEqual((self.line.heard(), self.line.closed), (b"", False))
        self.assertFalse(self.line.transport.disconnected)

    def test_one_that_may_not_be_known_is_not_there(self) -> None:
        self.operator.protocol.peer.rights = FakeRights((PEERS, b""))
        for word in ("pause", "disconnect"):
            self.assertEqual(self.say(word), b"ERR UNKNOWN_WORKER There+is+no+such+worker\r\n")
        # Of its own identity it may.
        tenant = self.server.broker.tenants.get("team")
        self.operator.protocol.peer.tenant = self.line.protocol.peer.tenant = tenant
        self.say("pause")
        self.assertEqual(self.line.heard(), response(STEER, b"1", b"pause", b""))


class ContractTests(SynchronousTestCase):
    """txgear's server and txgear's worker."""

    def setUp(self) -> None:
        self.memory = MemoryServer()
        self.addCleanup(self.memory.stop)
        self.client = self.memory.client()
        self.running: list[Deferred[bytes]] = []

    def worker(self, **options: Any) -> Worker:
        worker = self.memory.worker(**options)

        @worker.function("f")
        def wait(job: WorkerJob) -> Deferred[bytes]:
            self.running.append(Deferred())
            return self.running[-1]

        self.memory.flush()
        return worker

    def say(self, word: str, number: int = 1) -> str:
        return self.memory.command(f"worker {number} {word}")

    def queued(self) -> str:
        return self.memory.command("status").splitlines()[0]

    def submit(self) -> None:
        self.memory.result(self.client.submit_background("f", b""))

    def test_paused(self) -> None:
        worker = self.worker()
        self.assertEqual(self.say("pause"), "OK\r\n")
        self.assertTrue(worker.paused)
        self.submit()
        self.memory.advance(10)
        self.assertEqual((self.queued(), self.running), ("f\t1\t0\t1", []))
        self.assertIn("1 is paused", self.memory.command("diagnose f"))
        self.assertEqual(self.say("resume"), "OK\r\n")
        self.memory.flush()
        self.assertEqual((self.queued(), len(self.running)), ("f\t1\t1\t1", 1))
        self.running[0].callback(b"")

    def test_others_are_woken_at_once(self) -> None:
        """Nobody waits for one that is paused."""
        first = self.worker()
        self.worker()
        self.assertEqual(self.say("pause", 1), "OK\r\n")
        self.assertTrue(first.paused)
        self.submit()
        self.memory.flush()
        self.assertEqual(len(self.running), 1)
        self.running[0].callback(b"")

    def test_what_runs_is_finished(self) -> None:
        worker = self.worker()
        self.submit()
        self.submit()
        self.memory.flush()
        self.assertEqual(self.say("pause"), "OK 1+job+is+finished+first\r\n")
        self.running[0].callback(b"")
        self.memory.advance(5)
        self.assertEqual((self.queued(), len(self.running)), ("f\t1\t0\t1", 1))
        worker.resume()
        self.memory.flush()
        self.assertEqual(len(self.running), 2)
        self.running[1].callback(b"")

    def test_it_stays_paused_when_the_server_comes_back(self) -> None:
        self.worker()
        self.say("pause")
        self.memory.crash()
        self.memory.restart()
        self.memory.advance(5)
        self.submit()
        self.memory.advance(5)
        self.assertEqual((self.queued(), self.running), ("f\t1\t0\t1", []))

    def test_stopped(self) -> None:
        worker = self.worker()
        stopped = worker.when_stopped()
        self.submit()
        self.submit()
        self.memory.flush()
        self.assertEqual(self.say("stop"), "OK 1+job+is+finished+first\r\n")
        self.assertNoResult(stopped)
        self.running[0].callback(b"")
        self.memory.advance(60)
        self.successResultOf(stopped)
        self.assertEqual(self.queued(), "f\t1\t0\t0")

    def test_words_that_it_does_not_know(self) -> None:
        self.worker()
        text = "The+worker+does+not+understand+dance;+it+understands+pause,+resume,+stop,+grow,+shrink"
        self.assertEqual(self.say("dance"), f"ERR NOT_STEERABLE {text},+register,+unregister\r\n")

    def test_a_function_is_put_aside_and_taken_again(self) -> None:
        worker = self.worker(id="images-1")
        self.submit()
        self.memory.flush()
        self.assertEqual(
            self.memory.command("worker images-1 unregister f"), "OK 1+job+is+finished+first\r\n"
        )
        self.running[0].callback(b"")
        self.memory.flush()
        self.submit()
        self.memory.advance(1)
        self.assertEqual((self.queued(), len(self.running)), ("f\t1\t0\t0", 1))
        known = self.memory.command("worker images-1").splitlines()
        self.assertIn("condition\tunused", known)
        self.memory.advance(10)
        known = self.memory.command("worker images-1").splitlines()
        self.assertIn("function\tf\tno\t0\t1\t0", known)
        self.assertEqual(self.memory.command("worker images-1 register f"), "OK\r\n")
        self.memory.flush()
        self.assertEqual((self.queued(), len(self.running)), ("f\t1\t1\t1", 2))
        self.running[1].callback(b"")
        answer = self.memory.command("worker images-1 register g")
        self.assertEqual(answer, "ERR REFUSED_BY_WORKER It+does+not+know+this+function\r\n")
        self.assertEqual(worker.concurrency, 1)
        self.assertEqual(self.memory.command("worker images-1 grow"), "OK 2+jobs+at+once\r\n")
        self.assertEqual(worker.concurrency, 2)

    def test_disconnected_it_comes_back(self) -> None:
        self.worker()
        self.assertEqual(self.say("disconnect"), "OK\r\n")
        self.memory.advance(2)
        self.submit()
        self.memory.flush()
        self.assertEqual(len(self.running), 1)
        self.running[0].callback(b"")
