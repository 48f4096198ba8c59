"""
Tests for L{txgear.runtime.functions}.
"""

from __future__ import annotations

import sys
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.runtime import function
from txgear.runtime.functions import chosen, find, marked


@function("reverse", timeout=30)
def reverse(job: Any) -> bytes:
    return bytes(job[::-1])


@function("later")
async def later(job: Any) -> bytes:
    return bytes(job)


class Later:
    async def __call__(self, job: Any) -> bytes:
        return bytes(job)


def module(name: str, **members: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(members)
    return made


class Awkward:
    """A thing of a module that nobody may look at."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("working outside of a request")


class MarkTests(SynchronousTestCase):
    def test_the_function_stays_as_it_is(self) -> None:
        self.assertEqual(reverse(b"abc"), b"cba")

    def test_found(self) -> None:
        (found,) = marked(module("m", other=1, awkward=Awkward(), reverse=reverse))
        self.assertEqual(found.place, "m.reverse")
        ability = found.ability
        self.assertEqual(
            (ability.name, ability.call, ability.timeout, ability.blocking, ability.json),
            (b"reverse", reverse, 30, True, False),
        )

    def test_async_runs_in_the_loop(self) -> None:
        for call in (later, function("x")(Later())):
            for found in marked(module("m", call=call)):
                self.assertFalse(found.ability.blocking)
                self.assertIs(found.ability.call, call)

    def test_in_the_loop(self) -> None:
        @function("f", blocking=False, json=True)
        def f(job: Any) -> None:
            """Do nothing."""

        (found,) = marked(module("m", f=f))
        self.assertEqual((found.ability.blocking, found.ability.json), (False, True))

    def test_several_names(self) -> None:
        @function("a")
        @function("b", json=True)
        def f(job: Any) -> None:
            """Do nothing."""

        found = list(marked(module("m", f=f, again=f)))
        self.assertEqual([(each.ability.name, each.place) for each in found], [(b"b", "m.f"), (b"a", "m.f")])

    def test_the_outermost_counts(self) -> None:
        """Another decorator around it is what the module has: that is called."""

        def twice(call: Any) -> Any:
            @wraps(call)
            def both(job: Any) -> Any:
                return call(job) * 2

            return both

        outer = twice(reverse)
        (found,) = marked(module("m", f=outer))
        self.assertIs(found.ability.call, outer)

    def test_mistakes(self) -> None:
        def plain(job: Any) -> None:
            """Do nothing."""

        def parts(job: Any) -> Any:
            yield b""

        self.assertRaises(TypeError, function, plain)
        self.assertRaises(ValueError, function, "")
        self.assertRaises(TypeError, function, 5)
        self.assertRaises(ValueError, function("f", timeout=-1), plain)
        self.assertRaises(TypeError, function("f"), parts)
        self.assertRaises(TypeError, function("f"), 5)
        self.assertIn("cannot be marked", str(self.assertRaises(TypeError, function("f"), len)))
        call = inlineCallbacks(parts)
        self.assertIs(function("f", blocking=False)(call), call)


class FindTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.modules: dict[str, ModuleType] = {}

    def load(self, name: str) -> ModuleType:
        if name in self.modules:
            return self.modules[name]
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    def names(self, *modules: str) -> list[bytes]:
        return [each.ability.name for each in find(modules, self.load)]

    def test_in_the_order_of_modules(self) -> None:
        self.modules = {"m": module("m", f=reverse), "n": module("n", f=later, imported=reverse)}
        self.assertEqual(self.names("n", "m"), [b"later", b"reverse"])

    def test_two_of_one_name(self) -> None:
        self.modules = {"m": module("m", f=reverse), "n": module("n", g=function("reverse")(Later()))}
        error = self.assertRaises(ConfigurationError, self.names, "m", "n")
        self.assertEqual(str(error), "m.f and n.g are both called 'reverse'")

    def test_no_such_module(self) -> None:
        error = self.assertRaises(ConfigurationError, self.names, "no.where")
        self.assertEqual(str(error), "there is no module no.where: No module named 'no.where'")

    def test_a_module_lacks_something(self) -> None:
        """That is told with its lines, by the exception itself."""

        def load(name: str) -> ModuleType:
            raise ModuleNotFoundError("No module named 'PIL'", name="PIL")

        self.assertRaises(ModuleNotFoundError, find, ["thumbs"], load)

    def test_all_modules_of_a_package(self) -> None:
        folder = Path(self.mktemp()).resolve()
        (folder / "pack_r2" / "deeper").mkdir(parents=True)
        for name, own in (
            ("__init__", ""),
            ("b", "b"),
            ("a", "a"),
            ("deeper/__init__", ""),
            ("deeper/c", "c"),
        ):
            text = f"from txgear.runtime import function\n@function('{own}')\ndef f(job): return b''\n"
            (folder / "pack_r2" / f"{name}.py").write_text(text if own else "")
        self.patch(sys, "path", [str(folder), *sys.path])
        self.addCleanup(lambda: [sys.modules.pop(name) for name in list(sys.modules) if "pack_r2" in name])
        self.assertEqual([each.ability.name for each in find(["pack_r2.*"])], [b"a", b"b"])
        error = self.assertRaises(ConfigurationError, find, ["pack_r2.a.*"])
        self.assertEqual(str(error), "pack_r2.a is no package, as pack_r2.a.* says it is")


class ChosenTests(SynchronousTestCase):
    def setUp(self) -> None:
        names = ("mail_send", "mail_read", "thumb", "Thumb")
        self.found = [found for name in names for found in self.one(name)]

    def one(self, name: str) -> Any:
        def call(job: Any) -> None:
            """Do nothing."""

        return marked(module("m", call=function(name)(call)))

    def chosen(self, *patterns: str) -> list[bytes]:
        return [each.ability.name for each in chosen(self.found, patterns)]

    def test_patterns(self) -> None:
        self.assertEqual(self.chosen("thumb", "mail_*"), [b"mail_send", b"mail_read", b"thumb"])
        self.assertEqual(len(self.chosen("*")), 4)
        self.assertEqual(self.chosen("?humb"), [b"thumb", b"Thumb"])

    def test_none_matches(self) -> None:
        error = self.assertRaises(ConfigurationError, self.chosen, "mail")
        self.assertEqual(
            str(error), "no function matches 'mail'; there are mail_send, mail_read, thumb, Thumb"
        )
        self.found = []
        self.assertEqual(self.chosen("*"), [])
        self.assertIn("there are none", str(self.assertRaises(ConfigurationError, self.chosen, "x")))
