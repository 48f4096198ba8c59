"""
Functions of modules: marked by a decorator, found by the processes of a runtime.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from importlib import import_module
from inspect import getattr_static, iscoroutinefunction
from types import ModuleType
from typing import Any, Final, NamedTuple, TypeVar

from txgear.errors import ConfigurationError
from txgear.net import arguments
from txgear.net.arguments import Text
from txgear.worker.functions import Ability, Function

FunctionT = TypeVar("FunctionT", bound=Function)

MARKS: Final = "__txgear_functions__"
"""The attribute in which a callable has its marks."""
ALL_BELOW: Final = ".*"
"""What a name ends with that stands for all modules right in a package."""


class Mark(NamedTuple):
    """
    What the decorator was told.

    @ivar name: the function's name at the servers.
    @ivar timeout: seconds that a job may take at the server's clock; C{None} for no bound.
    @ivar blocking: whether it is called in a thread, unless it is C{async}.
    @ivar json: whether its result is sent as JSON.
    """

    name: bytes
    timeout: float | None
    blocking: bool
    json: bool


class FoundFunction(NamedTuple):
    """
    A function that a module has.

    @ivar ability: as a worker is to have it.
    @ivar place: where it is, as C{module.name}.
    """

    ability: Ability
    place: str


def function(
    name: Text, *, timeout: float | None = None, blocking: bool = True, json: bool = False
) -> Callable[[FunctionT], FunctionT]:
    """
    A decorator that gives a function of a module a name at the servers::

        from txgear.runtime import function

        @function("reverse", timeout=30)
        def reverse(job):
            return job.workload[::-1]

    The function itself stays as it is, and can be called. It is given a
    L{WorkerJob<txgear.worker.WorkerJob>}, and returns and raises what functions of a
    L{Worker<txgear.worker.Worker>} do. Several decorators give it several names. It counts where the module
    is one that a group of processes names.

    An C{async} function is called in the event loop. All others are called in a thread, as most of them wait
    for something; with C{blocking=False} they are called in the event loop as well, which then waits for
    them, unless they return a Deferred.

    @param timeout: seconds that a job may take at the server's clock; after that the server gives it to
        another worker, and this one gives it up.
    @param blocking: whether to call it in a thread.
    @param json: it returns a value that is sent as JSON.
    @raise ValueError: the name cannot be sent, or the timeout makes no sense.
    @raise TypeError: the name is none, or what is decorated is nothing that gives a result.
    """
    if callable(name):
        raise TypeError('a function has a name at the servers: @function("name")')
    mark = Mark(arguments.function_name(name), timeout, blocking, json)

    def declare(call: FunctionT) -> FunctionT:
        _ability(mark, call)
        try:
            setattr(call, MARKS, (*getattr(call, MARKS, ()), mark))
        except AttributeError:
            raise TypeError(f"{call!r} cannot be marked; call it in a function of its own") from None
        return call

    return declare


def _ability(mark: Mark, call: Function) -> Ability:
    in_thread = mark.blocking and not any(map(iscoroutinefunction, (call, type(call).__call__)))
    return Ability(mark.name, call, mark.timeout, in_thread, mark.json)


def marked(module: ModuleType) -> Iterator[FoundFunction]:
    """The functions that a module has, or has imported, in their order there."""
    seen: set[int] = set()
    for name, value in vars(module).items():
        # Other things of a module must not do anything because they are looked at, as some of Django and
        # Flask would.
        marks: Any = getattr_static(value, MARKS, ())
        if callable(value) and isinstance(marks, tuple) and id(value) not in seen:
            seen.add(id(value))
            for mark in marks:
                yield FoundFunction(_ability(mark, value), f"{module.__name__}.{name}")


def find(modules: Iterable[str], load: Callable[[str], ModuleType] = import_module) -> list[FoundFunction]:
    """
    Import modules, and find their functions.

    @param modules: their names; C{package.*} stands for all modules right in a package, not for what is in
        packages below it.
    @return: each function once, in the order of the modules.
    @raise ConfigurationError: there is no such module, or two functions have the same name.
    @raise Exception: a module raises it as it is imported.
    """
    found: dict[bytes, FoundFunction] = {}
    for module in _loaded(modules, load):
        for each in marked(module):
            other = found.setdefault(each.ability.name, each)
            if other.ability.call is not each.ability.call:
                shown = each.ability.name.decode("utf-8", "backslashreplace")
                raise ConfigurationError(f"{other.place} and {each.place} are both called {shown!r}")
    return list(found.values())


def _loaded(modules: Iterable[str], load: Callable[[str], ModuleType]) -> Iterator[ModuleType]:
    for name in modules:
        if not name.endswith(ALL_BELOW):
            yield _load(name, load)
            continue
        package = _load(name.removesuffix(ALL_BELOW), load)
        if not hasattr(package, "__path__"):
            raise ConfigurationError(f"{package.__name__} is no package, as {name} says it is")
        for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
            yield _load(f"{package.__name__}.{info.name}", load)


def _load(name: str, load: Callable[[str], ModuleType]) -> ModuleType:
    try:
        return load(name)
    except ModuleNotFoundError as error:
        # What the module itself imports and does not find is told with its lines.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(f"there is no module {name}: {error}") from error


def chosen(found: Sequence[FoundFunction], patterns: Iterable[str]) -> list[FoundFunction]:
    """
    Those whose names match a pattern.

    @param patterns: as the shell has them (C{*}, C{?}, C{[abc]}).
    @raise ConfigurationError: a pattern matches none, and is not just C{*}.
    """
    kept: dict[bytes, FoundFunction] = {}
    for pattern in patterns:
        matches = partial(fnmatchcase, pat=pattern)
        these = [each for each in found if matches(each.ability.name.decode("utf-8", "surrogateescape"))]
        if not these and pattern != "*":
            names = ", ".join(each.ability.name.decode("utf-8", "backslashreplace") for each in found)
            raise ConfigurationError(f"no function matches {pattern!r}; there are {names or 'none'}")
        kept.update((each.ability.name, each) for each in these)
    return [each for each in found if each.ability.name in kept]
