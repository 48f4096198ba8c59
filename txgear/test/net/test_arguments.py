"""
Tests for L{txgear.net.arguments}: the errors for wrong arguments of client and worker name the argument,
and what is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.client import Client, ClientJob, Task
from txgear.net import arguments
from txgear.test.support.client import ScriptedServer
from txgear.worker import Worker


class WordsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()
        server = ScriptedServer(clock)
        self.make_client: Callable[..., Any] = partial(Client, clock, server)
        self.make_worker: Callable[..., Any] = partial(Worker, clock, server)
        # Nothing of what follows may begin anything.
        self.addCleanup(lambda: self.assertEqual((0, []), (server.attempts, clock.getDelayedCalls())))

    def assert_said(
        self, error: type[Exception], words: str, call: Callable[..., Any], *args: Any, **kw: Any
    ) -> None:
        self.assertEqual(words, str(self.assertRaises(error, call, *args, **kw)))


class ArgumentTests(WordsTestCase):
    def test_absent(self) -> None:
        """A signature in the documentation shows what stands for "not given"."""
        self.assertEqual("ABSENT", repr(arguments.ABSENT))

    def test_seconds(self) -> None:
        for make, names in (
            (self.make_client, ("connect_timeout", "answer_timeout", "heartbeat")),
            (self.make_worker, ("stop_timeout", "answer_timeout", "heartbeat")),
        ):
            for name in names:
                least = "0 or more" if name in ("connect_timeout", "stop_timeout") else "more than 0"
                for value in (-1, float("nan"), 10**400):
                    self.assert_said(
                        ValueError, f"{name} is {value}, not {least} seconds", make, **{name: value}
                    )
                wrong: tuple[object, ...] = ("30", None, True)
                for given in wrong:
                    kind = type(given).__name__
                    words = f"{name} is {kind}, not a number of seconds"
                    self.assert_said(TypeError, words, make, **{name: given})
                make(**{name: 1})
                make(**{name: float("inf")})

    def test_numbers(self) -> None:
        for make, name in (
            (self.make_worker, "concurrency"),
            (self.make_worker, "max_packet"),
            (self.make_client, "max_packet"),
        ):
            self.assert_said(TypeError, f"{name} is str, not a whole number", make, **{name: "4"})
            self.assert_said(TypeError, f"{name} is float, not a whole number", make, **{name: 4.5})
            self.assert_said(TypeError, f"{name} is bool, not a whole number", make, **{name: True})
            self.assert_said(ValueError, f"{name} is less than 1", make, **{name: 0})

    def test_callables(self) -> None:
        client = self.make_client()
        for make, name in (
            (self.make_client, "random"),
            (self.make_worker, "random"),
            (self.make_worker, "in_thread"),
            (partial(client.run_all, [("f", b"")]), "on_each"),
        ):
            self.assert_said(TypeError, f"{name} is int, which cannot be called", make, **{name: 5})

    def test_due(self) -> None:
        submit = partial(self.make_client().submit_background, "f")
        wrong: tuple[object, ...] = ("tomorrow", b"1", [], True)
        for at in wrong:
            kind = type(at).__name__
            self.assert_said(TypeError, f"at is {kind}, not a datetime or seconds since 1970", submit, at=at)
        self.assert_said(ValueError, "at is not between the years 1970 and 9999", submit, at=float("nan"))

    def test_policy(self) -> None:
        client = self.make_client()
        for policy in (5, 0, "retries", [("retries", 5)], []):
            words = f"policy is {type(policy).__name__}, not a mapping of settings"
            for submit in (client.submit, client.run, client.submit_background):
                self.assert_said(TypeError, words, submit, "f", policy=policy)
            self.assert_said(TypeError, words, client.run_all, [Task("f", policy=policy)])  # type: ignore[arg-type]

    def test_tasks(self) -> None:
        run_all = self.make_client().run_all
        words = "a task is a Task, or a tuple of function and workload, not "
        for task in ("fgh", b"f", 5, None, ("f", b"", b"u"), ()):
            self.assert_said(TypeError, words + repr(task), run_all, [task])
        self.assert_said(TypeError, words + "'f'", run_all, "fgh")

    def test_tokens(self) -> None:
        """A wrong one is not repeated: it may be another secret, or a right one with a letter too few."""
        right = "txg_abcd1234_" + "s" * 43
        words = "token has not the form txg_ID_SECRET of those that `txgear token new` makes"
        for make in (self.make_client, self.make_worker):
            make(token=right)
            make(token=right.encode())
            make(token=None)
            for wrong in ("", "hunter2", right[:-1], right + "\n", b"\xff"):
                self.assert_said(ValueError, words, make, token=wrong)
            self.assert_said(TypeError, "token is int, not str or bytes", make, token=5)
            words_for_id = "client_id holds a token, and everybody may see it: that is for the argument token"
            for name in (right, f"token={right};me"):
                self.assert_said(ValueError, words_for_id, make, client_id=name)

    def test_news(self) -> None:
        job = ClientJob(b"f", b"", [])
        for listen in (job.on_status, job.on_data, job.on_warning):
            self.assert_said(TypeError, "call is NoneType, which cannot be called", listen, None)


class FunctionTests(WordsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.worker = self.make_worker()

    def test_decorator_without_a_name(self) -> None:
        """Nothing would be registered, and jobs would wait for ever."""
        words = 'a function has a name at the servers: @worker.function("name")'

        def reverse(job: object) -> bytes:
            return b""

        self.assert_said(TypeError, words, self.worker.function, reverse)

    def test_names(self) -> None:
        """A name is looked at where it is written."""
        for decorator in (
            self.worker.function,
            partial(self.worker.partition, client=self.make_client(), aggregate=len),
        ):
            self.assert_said(TypeError, "function is int, not str or bytes", decorator, 5)
            self.assert_said(ValueError, "function is empty", decorator, "")

    def test_no_function(self) -> None:
        register = partial(self.worker.register, "f")
        self.assert_said(TypeError, "call is NoneType, which cannot be called", register, None)
        self.assert_said(TypeError, "call is bytes, which cannot be called", self.worker.function("f"), b"r")

    def test_timeout(self) -> None:
        words = "timeout is str, not a number of seconds"
        self.assert_said(TypeError, words, self.worker.register, "f", len, timeout="30")

    def test_async_in_a_thread(self) -> None:
        async def work(job: object) -> bytes:
            return b""

        class Work:
            async def __call__(self, job: object) -> bytes:
                return b""

        words = "a function with blocking=True is called in a thread; it cannot be async"
        for call in (work, partial(work), Work(), Work().__call__):
            self.assert_said(TypeError, words, self.worker.register, "f", call, blocking=True)
        self.worker.register("f", work)
        self.worker.register("g", Work())

    def test_generator(self) -> None:
        """What it returns is no result, whatever it is called with."""

        def work(job: object) -> Iterator[bytes]:
            yield b""

        async def deferred(job: object) -> Any:
            yield b""

        words = "a function with yield returns no result; inlineCallbacks or async may be missing"
        for call in (work, deferred):
            self.assert_said(TypeError, words, self.worker.register, "f", call)

        @inlineCallbacks
        def callbacks(job: object) -> Generator[Deferred[object], object, None]:
            yield Deferred()

        self.worker.register("f", callbacks)
        # The parts of a job may well be yielded.
        self.worker.partition("g", self.make_client(), aggregate=len)(work)

    def test_partition(self) -> None:
        words = "client is Worker, not a Client"
        self.assert_said(TypeError, words, self.worker.partition, "f", self.worker, aggregate=len)
        words = "aggregate is NoneType, which cannot be called"
        self.assert_said(TypeError, words, self.worker.partition, "f", self.make_client(), aggregate=None)
        words = "split is NoneType, which cannot be called"
        self.assert_said(
            TypeError, words, self.worker.partition("f", self.make_client(), aggregate=len), None
        )
