"""
Answers that take long to make: in steps, between which others are served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator, SchedulerStopped, TaskStopped
from twisted.python.failure import Failure

from txgear.web.answers import Answer


def in_steps(
    cooperator: Cooperator, steps: Iterator[object], then: Callable[[], Answer]
) -> Deferred[Answer | None]:
    """
    @param steps: what is to be done.
    @param then: makes the answer when it is.
    @return: fires with the answer; with C{None} where nobody waits for it any more, or the server ends. It
        fails with what a step or C{then} raises. Cancelled, it stops.
    """
    task: Any = cooperator.cooperate(steps)
    done: Deferred[Any] = Deferred(lambda waiting: task.stop())
    task.whenDone().addCallbacks(done.callback, done.errback)
    return done.addCallbacks(lambda steps: then(), _stopped)


def at_once_or_in_steps(
    cooperator: Cooperator, steps: Iterator[object], then: Callable[[], Answer]
) -> Answer | Deferred[Answer | None]:
    """
    As L{in_steps}.

    @return: the answer itself, where nothing is left to be done after the first step.
    """
    first = next(steps, steps)
    if first is steps:
        return then()
    return in_steps(cooperator, chain((first,), steps), then)


def _stopped(failure: Failure) -> None:
    failure.trap(TaskStopped, SchedulerStopped)
