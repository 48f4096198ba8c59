"""
Hooks: who is told that a job begins and how it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from types import ModuleType
from typing import Any, Final, Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.errors import ConfigurationError
from txgear.worker import WorkerJob


class JobHooks(Protocol):
    """
    What is told of jobs. All of it is called where the job's function runs, for one in a thread in that
    thread, and in a context of its own for each job: a L{ContextVar<contextvars.ContextVar>} that C{begin}
    sets is there in the function, in what it awaits, and in C{end} and C{failure}. What they raise is logged,
    and changes nothing for the job.
    """

    def begin(self, job: WorkerJob) -> object:
        """The job's function is about to be called."""

    def end(self, job: WorkerJob) -> object:
        """It has returned, and its result can be sent."""

    def failure(self, job: WorkerJob, failure: Failure) -> object:
        """
        It has raised. Not every exception is a mistake: L{Fail<txgear.worker.Fail>} and
        L{FailWithText<txgear.worker.FailWithText>} are raised on purpose, and where C{job.gone} is true
        the server has taken the job back meanwhile, for which C{job.why_gone} has the reason.
        """


NAMES: Final = ("begin", "end", "failure")


class _Some:
    """What somebody has of the hooks; the others do nothing."""

    def __init__(self, owner: object, place: str) -> None:
        found = [getattr(owner, name, None) for name in NAMES]
        if not any(found):
            raise ConfigurationError(f"{place} has none of {', '.join(NAMES)}")
        for name, hook in zip(NAMES, found, strict=True):
            if hook is not None and not callable(hook):
                raise ConfigurationError(f"{place} has a {name} that cannot be called")
        begin, end, failure = found
        self.begin: Callable[[WorkerJob], object] = begin or nothing
        self.end: Callable[[WorkerJob], object] = end or nothing
        self.failure: Callable[[WorkerJob, Failure], object] = failure or nothing


def nothing(*_: object) -> None:
    """Stands where nobody wants to know something: it is not called."""


def load_hooks(names: Iterable[str], load: Callable[[str], ModuleType] = import_module) -> list[JobHooks]:
    """
    Find hooks by their names: C{module}, whose functions C{begin}, C{end} and C{failure} they are, or
    C{module:name}, an object with such methods, or a class, of which one is made. Some may be missing.

    @raise ConfigurationError: there is no such thing.
    @raise Exception: a module raises it as it is imported.
    """
    return [_hooks(name, load) for name in names]


def _hooks(name: str, load: Callable[[str], ModuleType]) -> JobHooks:
    module, colon, attribute = name.partition(":")
    try:
        owner: Any = load(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(f"there is no module {module} for hooks: {error}") from error
    if colon:
        try:
            owner = getattr(owner, attribute)
        except AttributeError as error:
            raise ConfigurationError(f"module {module} has no {attribute} for hooks") from error
    return _Some(owner() if isinstance(owner, type) else owner, name)


class AllHooks:
    """
    Several hooks, told one after the other; of an end the last is told first.
    """

    log = Logger()

    def __init__(self, hooks: Iterable[JobHooks]) -> None:
        found = tuple(hooks)
        # Each of these is called for each job.
        self._begins = tuple(each.begin for each in found if each.begin is not nothing)
        self._ends = tuple(each.end for each in reversed(found) if each.end is not nothing)
        self._failures = tuple(each.failure for each in reversed(found) if each.failure is not nothing)

    def begin(self, job: WorkerJob) -> None:
        """Part of L{JobHooks}."""
        for begin in self._begins:
            try:
                begin(job)
            except Exception:
                self._failed("begin", job)

    def end(self, job: WorkerJob) -> None:
        """Part of L{JobHooks}."""
        for end in self._ends:
            try:
                end(job)
            except Exception:
                self._failed("end", job)

    def failure(self, job: WorkerJob, failure: Failure) -> None:
        """Part of L{JobHooks}."""
        for tell in self._failures:
            try:
                tell(job, failure)
            except Exception:
                self._failed("failure", job)

    def _failed(self, name: str, job: WorkerJob) -> None:
        self.log.failure(
            "the hook {hook} raised for job {handle} of {function}",
            hook=name,
            handle=job.handle,
            function=job.function,
        )
