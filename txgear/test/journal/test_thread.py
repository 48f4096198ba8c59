"""
Tests for L{txgear.journal.thread}. There is a thread here, as there is in
L{txgear.test.daemon.test_service}; nobody waits for it but until it has done what it was given.
"""

from __future__ import annotations

import threading
from functools import partial
from queue import SimpleQueue
from typing import Any, cast
from weakref import finalize

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import StoreUnavailable
from txgear.journal.thread import StoreThread
from txgear.test.support.journal import PATIENCE, ThreadedReactor


class StoreThreadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = ThreadedReactor()
        before = set(threading.enumerate())
        self.calls = StoreThread(cast(Any, self.reactor))
        (self.thread,) = set(threading.enumerate()) - before
        self.addCleanup(self.thread.join, PATIENCE)
        self.addCleanup(self.calls.stop)

    def test_one_after_the_other(self) -> None:
        """Each on the same thread, which is not the reactor's, and in order."""
        results = [self.calls(threading.get_ident) for _ in range(9)]
        for result in results:
            self.assertNoResult(result)
            self.reactor.deliver()
            self.assertEqual(self.successResultOf(result), self.thread.ident)

    def test_errors(self) -> None:
        """Whatever a call raises arrives, and the next one is made."""
        for error in (StoreUnavailable("gone"), SystemExit("no way out")):

            def fail(error: BaseException = error) -> None:
                raise error

            failing, following = self.calls(fail), self.calls(lambda: "well")
            self.reactor.deliver()
            self.reactor.deliver()
            self.assertIs(self.failureResultOf(failing).value, error)
            self.assertEqual(self.successResultOf(following), "well")

    def test_results_wait_for_the_reactor(self) -> None:
        """A Deferred fires in the reactor's thread."""
        fired: list[int] = []
        result = self.calls(lambda: None)
        _ = result.addCallback(lambda _: fired.append(threading.get_ident()))
        self.reactor.deliver()
        self.assertEqual(fired, [threading.get_ident()])

    def test_nothing_is_kept_of_what_is_over(self) -> None:
        """A batch may be large, and the next call may be a day away."""
        gone = threading.Event()

        class Batch:
            """What a call carries."""

        batch = Batch()
        _ = finalize(batch, gone.set)
        result = self.calls(partial(id, batch))
        del batch
        self.reactor.deliver()
        self.successResultOf(result)
        self.assertTrue(gone.wait(PATIENCE))

    def test_it_holds_nobody_up(self) -> None:
        """The process may end while a database does not answer."""
        self.assertTrue(self.thread.daemon)
        self.assertEqual(self.thread.name, "txgear store")

    def test_stop(self) -> None:
        """It ends when it has done what it was given before."""
        gate: SimpleQueue[str] = SimpleQueue()
        result = self.calls(gate.get)
        self.calls.stop()
        self.assertTrue(self.thread.is_alive())
        gate.put("done")
        self.reactor.deliver()
        self.assertEqual(self.successResultOf(result), "done")
        self.thread.join(PATIENCE)
        self.assertFalse(self.thread.is_alive())
