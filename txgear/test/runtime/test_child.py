"""Tests of L{txgear.runtime.child}: what a child says and is told, through its line to the supervisor."""

from __future__ import annotations

import os
import socket
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred, TimeoutError
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.runtime.birth import page_file
from txgear.runtime.child import ASKED_SECONDS, SUPERVISOR_GONE, SUPERVISORS, Child
from txgear.runtime.config import FunctionTable, GroupTable, RuntimeTable
from txgear.runtime.control import (
    Answer,
    Asked,
    Failed,
    FailJobs,
    FromChild,
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
from txgear.runtime.slots import page_slots
from txgear.runtime.status import StatusPage, page_size
from txgear.test.runtime.test_member import Reactor
from txgear.worker import Refused

GROUP = GroupTable(function={"f": FunctionTable(command=("true",))})
TASK = Task(
    number=3,
    id="g-3",
    key="0f",
    runtime="0e",
    group="g",
    table=RuntimeTable(group={"g": GROUP}, stop_timeout=30.0),
)


class StoppingReactor(Reactor):
    """
    A reactor that can be stopped.

    @ivar stops: how often it was.
    """

    stops = 0

    def stop(self) -> None:
        self.stops += 1


class FakeWorker:
    """
    A worker without servers.

    @ivar words: what calls operators' words, by the word.
    @ivar ready: fires when a server has seen it ask for work.
    @ivar stopped: fires when it has stopped.
    @ivar failed: the reasons for which its jobs were given up.
    """

    def __init__(self) -> None:
        self.functions: list[bytes] = []
        self.words: dict[str, Any] = {}
        self.ready: Deferred[None] = Deferred()
        self.stopped: Deferred[None] = Deferred()
        self.failed: list[str] = []
        self.starts = self.stops = 0

    def register(self, name: bytes, call: Any, **options: Any) -> None:
        self.functions.append(name)

    def on_word(self, word: str, call: Any) -> None:
        self.words[word] = call

    def when_ready(self) -> Deferred[None]:
        return self.ready

    def startService(self) -> None:
        self.starts += 1

    def stopService(self) -> Deferred[None]:
        self.stops += 1
        return self.stopped

    def fail_jobs(self, reason: str) -> None:
        self.failed.append(reason)


class ChildTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = StoppingReactor()
        self.worker = FakeWorker()
        self.line, control = socket.socketpair()
        self.addCleanup(self.line.close)
        self.lines = Lines(FromChild)
        self.child = self.make(control, TASK)

    def make(self, control: socket.socket, task: Task) -> Child:
        slots = page_slots(GROUP.concurrency)
        descriptor = page_file(page_size(slots))
        self.addCleanup(os.close, descriptor)
        self.page = StatusPage(descriptor, slots)
        self.addCleanup(self.page.close)
        worker: Any = self.worker
        return Child(self.reactor, control, Lines(ToChild), descriptor, task, worker)

    def told(self) -> list[Any]:
        """What the supervisor hears."""
        try:
            return self.lines.take(self.line.recv(1 << 20, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return []

    def say(self, message: Struct) -> None:
        self.line.sendall(line(message))
        self.reactor.turn()

    def start(self) -> None:
        self.child.start()
        self.assertEqual(self.told(), [Loaded(["f"])])

    def ended(self) -> None:
        """It says that it has left, and ends."""
        self.assertEqual((self.told(), self.reactor.stops), ([], 0))
        self.worker.stopped.callback(None)
        self.assertEqual(self.told(), [Left()])
        self.reactor.advance(0)
        self.assertEqual((self.worker.stops, self.reactor.stops), (1, 1))
        self.assertEqual(self.line.recv(1), b"")

    def test_ready(self) -> None:
        """Not before a server has seen it ask for work."""
        self.start()
        self.assertEqual((self.worker.starts, self.told()), (1, []))
        self.worker.ready.callback(None)
        self.assertEqual(self.told(), [Ready()])

    def test_code_that_cannot_be_loaded(self) -> None:
        table = replace(TASK.table, group={"g": replace(GROUP, modules=("no.such.module",))})
        child = self.make(self.line.dup(), replace(TASK, table=table))
        self.assertRaises((ConfigurationError, ImportError), child.start)
        self.assertEqual(self.worker.starts, 0)

    def test_it_cannot_work(self) -> None:
        self.child.failed("ImportError: no")
        self.assertEqual(self.told(), [Failed("ImportError: no")])
        self.reactor.advance(0)
        self.assertEqual(self.reactor.stops, 1)

    def test_leave(self) -> None:
        """Its jobs are finished first; to be told again changes nothing."""
        self.start()
        self.say(Leave("it is due"))
        self.say(Leave("it is due"))
        self.assertEqual(self.worker.failed, [])
        self.ended()

    def test_fail_jobs(self) -> None:
        self.start()
        self.say(Leave("it is due"))
        self.say(FailJobs("it took too long"))
        self.assertEqual(self.worker.failed, ["it took too long"])
        self.ended()

    def test_the_supervisor_is_gone(self) -> None:
        """It finishes its jobs, those that do not take longer than a stop may."""
        self.start()
        self.line.shutdown(socket.SHUT_WR)
        self.reactor.turn()
        self.assertEqual((self.worker.stops, self.worker.failed), (1, []))
        self.reactor.advance(29.9)
        self.assertEqual(self.worker.failed, [])
        self.reactor.advance(0.2)
        self.assertEqual(self.worker.failed, [SUPERVISOR_GONE])
        self.worker.stopped.callback(None)
        self.reactor.advance(0)
        self.assertEqual(self.reactor.stops, 1)

    def test_terminated(self) -> None:
        """By somebody else than the supervisor, who is told: another one is to take its place."""
        self.start()
        self.child.terminated()
        self.child.terminated()
        self.assertEqual(self.told(), [Leaving(for_good=False)])
        self.ended()

    def test_stop(self) -> None:
        """An operator has told it to stop: nobody takes its place."""
        self.start()
        self.assertIn("nobody takes its place", self.worker.words["stop"](b""))
        self.assertEqual(self.told(), [Leaving(for_good=True)])
        # It answers first.
        self.reactor.advance(0)
        self.assertRaises(Refused, self.worker.words["stop"], b"")
        self.assertEqual(self.told(), [])
        self.ended()

    def test_what_the_supervisor_heeds(self) -> None:
        """Its answers are those of the words, whatever their order."""
        self.start()
        answers = [self.worker.words[word](b"") for word in SUPERVISORS]
        self.assertEqual(self.told(), [Asked(number, word) for number, word in enumerate(SUPERVISORS, 1)])
        self.say(Answer(3, True, "soon"))
        self.say(Answer(1, False, "no"))
        self.assertEqual(self.failureResultOf(answers[0], Refused).getErrorMessage(), "no")
        self.assertEqual(self.successResultOf(answers[2]), "soon")
        self.assertNoResult(answers[1])
        self.reactor.advance(ASKED_SECONDS)
        self.failureResultOf(answers[1], TimeoutError)
        # It comes too late.
        self.say(Answer(2, True, "done"))

    def test_turns(self) -> None:
        """Its page shows that its event loop turns."""
        self.start()
        began, *_ = self.page.head()
        self.assertGreater(began, 0.0)
        self.reactor.advance(1)
        self.assertGreater(self.page.head()[0], began)
