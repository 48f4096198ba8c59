"""
Tests for L{txgear.runtime.workshop}: what is around a function, through a worker at a server in memory.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError, JobFailed, JobRaised
from txgear.runtime.config import FunctionTable, GroupTable
from txgear.runtime.functions import function
from txgear.runtime.timelimits import TimeLimit
from txgear.runtime.workshop import build
from txgear.testing import MemoryServer
from txgear.worker import Fail, Worker, WorkerJob

JOB: ContextVar[str] = ContextVar("JOB", default="")
MODULE = "txgear_test_workshop"


class Hooks:
    """Hooks that write down what they are told, and what the context holds."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def begin(self, job: WorkerJob) -> None:
        JOB.set(job.workload.decode())
        self.told.append(("begin", JOB.get()))

    def end(self, job: WorkerJob) -> None:
        self.told.append(("end", JOB.get()))

    def failure(self, job: WorkerJob, failure: Failure) -> None:
        self.told.append(("failure", JOB.get(), failure.type))


class WorkshopTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = MemoryServer()
        self.addCleanup(self.server.stop)
        self.client = self.server.client()
        self.worker: Worker = self.server.worker(concurrency=3)
        self.hooks = Hooks()

    def build(self, *calls: Callable[..., Any], **settings: Any) -> None:
        module = ModuleType(MODULE)
        vars(module).update({f"f{number}": call for number, call in enumerate(calls)})
        sys.modules[MODULE] = module
        self.addCleanup(sys.modules.pop, MODULE, None)
        build(self.server.clock, GroupTable(modules=(MODULE,), **settings), self.worker, [self.hooks])

    def run_job(self, workload: bytes = b"w", name: str = "f") -> bytes:
        return self.server.result(self.client.run(name, workload))

    # What functions return

    def test_in_a_thread(self) -> None:
        @function("f", json=True)
        def f(job: WorkerJob) -> Any:
            return {"seen": JOB.get(), "from": job.from_thread is not None}

        self.build(f)
        self.assertEqual(self.run_job(), b'{"seen":"w","from":true}')
        self.assertEqual(self.hooks.told, [("begin", "w"), ("end", "w")])
        self.assertEqual(JOB.get(), "")

    def test_in_the_loop(self) -> None:
        @function("f", blocking=False)
        def f(job: WorkerJob) -> Any:
            return JOB.get() * 2

        self.build(f)
        self.assertEqual(self.run_job(), b"ww")
        self.assertEqual(self.hooks.told, [("begin", "w"), ("end", "w")])
        self.assertEqual(JOB.get(), "")

    def test_each_job_has_its_context(self) -> None:
        """Jobs that wait at the same time do not see what others have set."""
        gates: list[Deferred[None]] = []

        @function("f")
        async def f(job: WorkerJob) -> Any:
            gates.append(Deferred())
            await gates[-1]
            return JOB.get()

        self.build(f)
        first, second = self.client.run("f", b"1"), self.client.run("f", b"2")
        self.server.flush()
        for gate in gates:
            gate.callback(None)
        self.assertEqual([self.server.result(first), self.server.result(second)], [b"1", b"2"])
        self.assertEqual(self.hooks.told, [("begin", "1"), ("begin", "2"), ("end", "1"), ("end", "2")])

    def test_a_deferred(self) -> None:
        gate: Deferred[str] = Deferred()

        @function("f", blocking=False)
        def f(job: WorkerJob) -> Any:
            return gate

        self.build(f)
        running = self.client.run("f", b"1")
        self.server.flush()
        self.assertEqual(self.hooks.told, [("begin", "1")])
        gate.callback("r")
        self.assertEqual(self.server.result(running), b"r")

    def test_async_that_waits_for_nothing(self) -> None:
        @function("f")
        async def f(job: WorkerJob) -> Any:
            return b"r"

        self.build(f)
        self.assertEqual(self.run_job(), b"r")
        self.assertEqual(self.hooks.told, [("begin", "w"), ("end", "w")])

    # What goes wrong

    def test_raises(self) -> None:
        """In a thread, in the loop, later: the hooks hear of it, and the client gets it."""

        @function("thread")
        def in_thread(job: WorkerJob) -> Any:
            raise ValueError("no good")

        @function("later")
        async def later(job: WorkerJob) -> Any:
            raise ValueError("no good")

        loop = function("loop", blocking=False)(partial(in_thread))
        self.build(in_thread, loop, later)
        for name in ("thread", "loop", "later"):
            error = self.assertRaises(JobRaised, self.run_job, b"w", name)
            self.assertIn("ValueError: no good", str(error))
            self.assertEqual(self.hooks.told, [("begin", "w"), ("failure", "w", ValueError)])
            self.hooks.told.clear()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 3)

    def test_fails(self) -> None:
        @function("f")
        def f(job: WorkerJob) -> Any:
            raise Fail

        self.build(f)
        self.assertRaises(JobFailed, self.run_job)
        self.assertEqual(self.hooks.told, [("begin", "w"), ("failure", "w", Fail)])

    def test_no_result(self) -> None:
        """What cannot be sent is a failure, and hooks hear of it as one."""

        @function("thread")
        def in_thread(job: WorkerJob) -> Any:
            return 5

        @function("later")
        async def later(job: WorkerJob) -> Any:
            return 5

        loop = function("loop", blocking=False)(lambda job: 5)
        self.build(in_thread, loop, later)
        for name in ("thread", "loop", "later"):
            self.assertRaises(JobRaised, self.run_job, b"w", name)
            self.assertEqual(self.hooks.told.pop(), ("failure", "w", TypeError))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 3)

    def test_a_promise_in_a_thread(self) -> None:
        """Nobody there waits for it."""

        async def later() -> None:
            """Wait for nothing."""

        promises: list[Callable[[], Any]] = [Deferred, later]
        for number, promise in enumerate(promises):
            name = f"f{number}"
            self.build(function(name)(lambda job, promise=promise: promise()))
            error = self.assertRaises(JobRaised, self.run_job, b"w", name)
            self.assertIn("with blocking=False it is called in the event loop", str(error))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2)

    def test_given_up(self) -> None:
        """The server takes a job back: what waits is cancelled, and hooks hear of that."""
        gates: list[Deferred[None]] = []

        @function("f", timeout=5)
        async def f(job: WorkerJob) -> None:
            gates.append(Deferred())
            await gates[-1]

        self.build(f)
        _ = self.client.run("f", b"w").addErrback(lambda failure: None)
        self.server.advance(5)
        self.assertEqual(self.hooks.told[:2], [("begin", "w"), ("failure", "w", CancelledError)])

    # Soft time limits

    def test_limit_in_the_loop(self) -> None:
        @function("f")
        async def f(job: WorkerJob) -> None:
            await Deferred()

        self.build(f, soft_time=30.0)
        running = self.client.run("f", b"w")
        self.server.advance(31)
        self.failureResultOf(running, JobRaised)
        self.assertEqual(self.hooks.told, [("begin", "w"), ("failure", "w", TimeLimit)])
        self.assertEqual(len(self.flushLoggedErrors(TimeLimit)), 1)

    def test_limit_that_was_not_met(self) -> None:
        @function("f")
        async def f(job: WorkerJob) -> str:
            return "r"

        gate: Deferred[str] = Deferred()
        self.build(f, function("g", blocking=False)(lambda job: gate), soft_time=30.0)
        self.assertEqual(self.run_job(), b"r")
        running = self.client.run("g", b"w")
        self.server.advance(29)
        gate.callback("late")
        self.assertEqual(self.server.result(running), b"late")
        self.server.advance(31)

    def test_limit_in_a_thread(self) -> None:
        """Time passes while the function runs: it is told there, and may return what it has."""

        @function("f")
        def f(job: WorkerJob) -> str:
            try:
                passing = threading.Thread(target=self.server.clock.advance, args=(31,))
                passing.start()
                passing.join()
            except TimeLimit as error:
                return f"so far: {error}"
            return "all"

        self.build(f, soft_time=30.0)
        self.assertEqual(self.run_job(), b"so far: it has taken longer than 30 seconds")
        self.assertEqual(self.hooks.told, [("begin", "w"), ("end", "w")])

    # What there is

    def test_functions_are_chosen(self) -> None:
        calls = [function(name)(lambda job: b"r") for name in ("a_1", "a_2", "b")]
        self.build(*calls, functions=("a_*",))
        self.assertEqual(self.run_job(b"w", "a_2"), b"r")
        self.assertNotIn("b\t", self.server.command("status"))

    def test_no_function(self) -> None:
        self.assertRaises(ConfigurationError, self.build)

    def test_hooks_of_the_table(self) -> None:
        """They are told after those of the process itself."""
        told: list[Any] = []

        @function("f")
        def f(job: WorkerJob) -> None:
            """Do nothing."""

        def begin(job: WorkerJob) -> None:
            told.append(JOB.get())

        f.begin = begin  # type: ignore[attr-defined]
        self.build(f, hooks=(f"{MODULE}:f0",))
        self.run_job()
        self.assertEqual(told, ["w"])

    def test_a_command_and_a_url(self) -> None:
        """They are there beside what modules have; what these do is tested by themselves."""

        @function("f")
        def f(job: WorkerJob) -> None:
            """Do nothing."""

        self.build(
            f,
            function={
                "shell": FunctionTable(command=("cat",), timeout=5.0),
                "web": FunctionTable(url="http://127.0.0.1:9/x"),
            },
        )
        self.assertEqual(
            {line.split("\t")[0] for line in self.server.command("status").splitlines()},
            {"f", "shell", "web", "."},
        )

    def test_one_name_twice(self) -> None:
        @function("f")
        def f(job: WorkerJob) -> None:
            """Do nothing."""

        error = self.assertRaises(
            ConfigurationError, self.build, f, function={"f": FunctionTable(command=("cat",))}
        )
        self.assertEqual(str(error), "txgear_test_workshop.f0 is called 'f', as is a function in the file")
