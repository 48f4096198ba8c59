"""
Tests for L{txgear.runtime.hooks}.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.runtime.hooks import AllHooks, load_hooks

JOB: Any = SimpleNamespace(handle=b"H:1", function=b"f")


class Told:
    """Hooks that write down what they are told."""

    def __init__(self, name: str = "", told: list[Any] | None = None) -> None:
        self.name = name
        self.told: list[Any] = [] if told is None else told

    def begin(self, job: Any) -> None:
        self.told.append((self.name, "begin", job))

    def end(self, job: Any) -> None:
        self.told.append((self.name, "end", job))

    def failure(self, job: Any, failure: Failure) -> None:
        self.told.append((self.name, "failure", job, failure))


class Raising:
    """Hooks that do not work."""

    def begin(self, job: Any) -> None:
        raise OSError("begin")

    def end(self, job: Any) -> None:
        raise OSError("end")

    def failure(self, job: Any, failure: Failure) -> None:
        raise OSError("failure")


class AllHooksTests(SynchronousTestCase):
    def test_order(self) -> None:
        """Of an end the last is told first, as of what is put around something."""
        told: list[Any] = []
        hooks = AllHooks([Told("a", told), Told("b", told)])
        failure = Failure(ValueError())
        hooks.begin(JOB)
        hooks.end(JOB)
        hooks.failure(JOB, failure)
        self.assertEqual(
            told,
            [
                ("a", "begin", JOB),
                ("b", "begin", JOB),
                ("b", "end", JOB),
                ("a", "end", JOB),
                ("b", "failure", JOB, failure),
                ("a", "failure", JOB, failure),
            ],
        )

    def test_one_that_raises(self) -> None:
        """It is logged, and the others are told."""
        told: list[Any] = []
        hooks = AllHooks([Raising(), Told("a", told), Raising()])
        hooks.begin(JOB)
        hooks.end(JOB)
        hooks.failure(JOB, Failure(ValueError()))
        self.assertEqual([name for _, name, *_ in told], ["begin", "end", "failure"])
        self.assertEqual(
            [str(each.value) for each in self.flushLoggedErrors(OSError)],
            ["begin"] * 2 + ["end"] * 2 + ["failure"] * 2,
        )


class LoadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.module: Any = ModuleType("m")

    def load(self, name: str) -> ModuleType:
        if name == "m":
            made: ModuleType = self.module
            return made
        raise ModuleNotFoundError(f"No module named {name!r}", name="m" if name == "m.n" else "PIL")

    def refusal(self, name: str) -> str:
        return str(self.assertRaises(ConfigurationError, load_hooks, [name], self.load))

    def test_functions_of_a_module(self) -> None:
        """Those that are missing are nobody's."""
        told: list[Any] = []
        self.module.begin = told.append
        (hooks,) = load_hooks(["m"], self.load)
        hooks.begin(JOB)
        hooks.end(JOB)
        hooks.failure(JOB, Failure(ValueError()))
        self.assertEqual(told, [JOB])

    def test_an_object_or_a_class(self) -> None:
        self.module.told = Told()
        self.module.Told = Told
        first, second = load_hooks(["m:told", "m:Told"], self.load)
        first.end(JOB)
        second.end(JOB)
        self.assertEqual(self.module.told.told, [("", "end", JOB)])

    def test_mistakes(self) -> None:
        self.module.end = 5
        self.module.nothing = object()
        self.assertEqual(self.refusal("m"), "m has a end that cannot be called")
        self.assertEqual(self.refusal("m:nothing"), "m:nothing has none of begin, end, failure")
        self.assertEqual(self.refusal("m:other"), "module m has no other for hooks")
        self.assertEqual(self.refusal("m.n"), "there is no module m.n for hooks: No module named 'm.n'")
        self.assertRaises(ModuleNotFoundError, load_hooks, ["other"], self.load)
