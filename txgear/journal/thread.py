"""
The thread on which a store may block, or something else.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

T = TypeVar("T")


class StoreThread:
    """
    Calls one thing after the other, each on the same thread.

    Twisted's thread pool would wait for its threads when the process ends; this
    one is left behind where a database never answers.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str = "txgear store") -> None:
        """
        @param reactor: what Deferreds fire in.
        @param name: what the thread is called.
        """
        self._reactor = reactor
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            # What it has carried is not to be kept until the next one comes.
            del call

    def __call__(self, call: Callable[[], T]) -> Deferred[T]:
        """
        @param call: what may block.
        @return: a Deferred that fires, in the reactor's thread, with what it returns or raises.
        """
        result: Deferred[T] = Deferred()

        def work() -> None:
            try:
                value: T | Failure = call()
            except BaseException:
                value = Failure()
            self._reactor.callFromThread(result.callback, value)

        self._calls.put(work)
        return result

    def stop(self) -> None:
        """End the thread once it has done what it was given."""
        self._calls.put(None)
