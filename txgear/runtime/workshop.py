"""
What a process of a group does: its functions, made from what its table says, and given to a worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from functools import partial
from inspect import iscoroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from txgear.errors import ConfigurationError
from txgear.net import arguments
from txgear.runtime.commandjobs import CommandFunction, Manner
from txgear.runtime.config import FunctionTable, GroupTable
from txgear.runtime.functions import FoundFunction, chosen, find
from txgear.runtime.hooks import AllHooks, JobHooks, load_hooks
from txgear.runtime.timelimits import InLoop, InThread, TimeLimits
from txgear.worker import Worker, WorkerJob
from txgear.worker.functions import Ability, Function


def build(
    reactor: IReactorTime,
    group: GroupTable,
    worker: Worker,
    hooks: Iterable[JobHooks] = (),
) -> None:
    """
    Register all functions of a group at a worker.

    @param hooks: are told of jobs, before those that the table names.
    @raise ConfigurationError: the table asks for something that is not there.
    @raise Exception: a module raises it as it is imported.
    """
    told = AllHooks([*hooks, *load_hooks(group.hooks)])
    limits = None if group.soft_time is None else TimeLimits(reactor, group.soft_time)
    for ability in abilities_of(reactor, group):
        register(worker, ability, told, limits)


def abilities_of(reactor: Any, group: GroupTable) -> list[Ability]:
    """
    What a group can do, by its table; nothing is around it.

    @raise ConfigurationError: as for L{build}.
    @raise Exception: as for L{build}.
    """
    found = [each.ability for each in functions_of(group)]
    for name, table in group.function.items():
        found.append(Ability(name.encode(), _called(reactor, table), table.timeout, False, False))
    return found


def functions_of(group: GroupTable) -> list[FoundFunction]:
    """
    The functions of a group that are Python.

    @raise ConfigurationError: as for L{build}.
    @raise Exception: as for L{build}.
    """
    found = chosen(find(group.modules), group.functions)
    if not found and not group.function:
        raise ConfigurationError("there is no function to work on")
    for each in found:
        if each.ability.name.decode("utf-8", "replace") in group.function:
            raise ConfigurationError(
                f"{each.place} is called {each.ability.name.decode()!r}, as is a function in the file"
            )
    return found


def _called(reactor: Any, table: FunctionTable) -> Function:
    if table.command:
        return CommandFunction(reactor, Manner(table.command), os.environb)
    # A process that needs it not does without Twisted's web.
    from txgear.runtime.httpjobs import http_function

    return http_function(reactor, table)


def register(worker: Worker, ability: Ability, hooks: AllHooks, limits: TimeLimits | None) -> None:
    """
    Register one function, with all that is around it.

    @param limits: tells jobs that take too long; C{None} for no bound.
    """
    result = arguments.json_bytes if ability.json else arguments.result_bytes
    kind = ThreadCall if ability.blocking else LoopCall
    call = kind(ability.call, result, hooks, limits)
    worker.register(ability.name, call, timeout=ability.timeout, blocking=ability.blocking)


class LoopCall:
    """
    A function that is called in the event loop. It may return a Deferred, or be C{async}.
    """

    def __init__(
        self, call: Function, result: Callable[[Any], bytes], hooks: AllHooks, limits: TimeLimits | None
    ) -> None:
        """
        @param result: makes bytes of what the function returns.
        @param limits: tells jobs that take too long; C{None} for no bound. A function that returns no
            Deferred cannot be told.
        """
        self._call = call
        self._result = result
        self._hooks = hooks
        self._limits = limits

    def __call__(self, job: WorkerJob) -> Any:
        """Do a job."""
        context = copy_context()
        outcome = context.run(self._begin, job)
        if isinstance(outcome, bytes):
            return outcome
        watched = None
        if self._limits is not None:
            watched = InLoop(outcome)
            self._limits.begin(watched)
        return outcome.addCallbacks(
            self._returned, self._raised, (job, context, watched), {}, (job, context, watched), {}
        )

    def _begin(self, job: WorkerJob) -> bytes | Deferred[Any]:
        """@return: the result, or a Deferred of what the function returns."""
        self._hooks.begin(job)
        try:
            outcome = self._call(job)
            if not isinstance(outcome, bytes):
                if iscoroutine(outcome):
                    outcome = Deferred.fromCoroutine(outcome)
                if isinstance(outcome, Deferred):
                    return outcome
            outcome = self._result(outcome)
        except BaseException:
            self._hooks.failure(job, Failure())
            raise
        self._hooks.end(job)
        return outcome

    def _returned(self, value: Any, job: WorkerJob, context: Context, watched: InLoop | None) -> Any:
        try:
            outcome = self._result(value)
        except Exception:
            return self._raised(Failure(), job, context, watched)
        self._ended(watched)
        context.run(self._hooks.end, job)
        return outcome

    def _raised(self, failure: Failure, job: WorkerJob, context: Context, watched: InLoop | None) -> Failure:
        self._ended(watched)
        if watched is not None:
            failure = watched.outcome(failure)
        context.run(self._hooks.failure, job, failure)
        return failure

    def _ended(self, watched: InLoop | None) -> None:
        if watched is not None and self._limits is not None:
            self._limits.end(watched)


class ThreadCall:
    """
    A function that is called in a thread.
    """

    def __init__(
        self, call: Function, result: Callable[[Any], bytes], hooks: AllHooks, limits: TimeLimits | None
    ) -> None:
        """
        @param result: makes bytes of what the function returns.
        @param limits: tells jobs that take too long; C{None} for no bound.
        """
        self._call = call
        self._result = result
        self._hooks = hooks
        self._limits = limits

    def __call__(self, job: WorkerJob) -> bytes:
        """Do a job, in its thread."""
        return copy_context().run(self._do, job)

    def _do(self, job: WorkerJob) -> bytes:
        self._hooks.begin(job)
        try:
            outcome = self._call(job) if self._limits is None else self._limited(self._limits, job)
            if not isinstance(outcome, bytes):
                _refuse_promise(outcome)
            result = self._result(outcome)
        except BaseException:
            self._hooks.failure(job, Failure())
            raise
        self._hooks.end(job)
        return result

    def _limited(self, limits: TimeLimits, job: WorkerJob) -> Any:
        watched = InThread()
        limits.begin(watched)
        try:
            return watched.run(partial(self._call, job))
        finally:
            limits.end(watched)


def _refuse_promise(value: Any) -> None:
    """
    @raise TypeError: this is no result yet, and nobody in a thread waits for one.
    """
    if isinstance(value, Deferred) or iscoroutine(value):
        if iscoroutine(value):
            value.close()
        raise TypeError(
            f"the function runs in a thread, and returned a {type(value).__name__};"
            " with blocking=False it is called in the event loop"
        )
