"""
Tests for L{txgear.runtime.commandjobs} and L{txgear.runtime.processes}: what is said of a job. What
commands do is in C{tests/test_cli_work.py}.
"""

from __future__ import annotations

import signal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.protocol.traces import Trace
from txgear.runtime.commandjobs import FAILED, Account, environment
from txgear.runtime.processes import Ending
from txgear.worker import WorkerJob


class _Server:
    name = "gear.example:4730"


class _Connection:
    server: Any = _Server()


def job(handle: bytes = b"H:vm:7") -> WorkerJob:
    connection: Any = _Connection()
    made = WorkerJob(connection, handle, b"resize", b"key \xff", b"", b"12345")
    made.attempt = 2
    return made


class AccountTests(SynchronousTestCase):
    def test_done(self) -> None:
        """How much went in and out."""
        account = Account(job(), 5, seconds=12.0, output=2048, ending=Ending(0, None))
        self.assertEqual(
            {
                "handle": "H:vm:7",
                "function": "resize",
                "unique": "key \\xff",
                "server": "gear.example:4730",
                "attempt": 2,
                "workload_size": 5,
                "output_size": 2048,
                "seconds": 12.0,
                "outcome": "done",
                "why": None,
                "exit_status": 0,
                "signal": None,
            },
            account.as_json(),
        )

    def test_failed(self) -> None:
        """Why."""
        account = Account(job(), 5, FAILED, "ended by SIGKILL", 12.0, ending=Ending(None, 9))
        said = account.as_json()
        self.assertEqual(("failed", "ended by SIGKILL"), (said["outcome"], said["why"]))
        self.assertEqual((None, 9), (said["exit_status"], said["signal"]))

    def test_never_started(self) -> None:
        """There is neither a status nor a signal."""
        said = Account(job(), 5, FAILED, "cannot start x").as_json()
        self.assertEqual((None, None), (said["exit_status"], said["signal"]))


class EnvironmentTests(SynchronousTestCase):
    def test_bytes(self) -> None:
        """Names are as they came; what is ours goes before what was there."""
        found = environment(job(), {b"A": b"b", b"TXGEAR_HANDLE": b"old"})
        self.assertEqual(
            {
                b"A": b"b",
                b"TXGEAR_HANDLE": b"H:vm:7",
                b"TXGEAR_FUNCTION": b"resize",
                b"TXGEAR_UNIQUE": b"key \xff",
                b"TXGEAR_ATTEMPT": b"2",
                b"TXGEAR_SIZE": b"5",
            },
            found,
        )

    def test_a_trace(self) -> None:
        """It goes before that of the worker's own start, and is not there if the job has none."""
        this = job()
        this.trace = Trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=1")
        found = environment(this, {b"TRACEPARENT": b"old"})
        self.assertEqual(
            (this.trace.traceparent.encode(), b"a=1"), (found[b"TRACEPARENT"], found[b"TRACESTATE"])
        )
        self.assertNotIn(b"TRACEPARENT", environment(job(), {}))


class EndingTests(SynchronousTestCase):
    def test_words(self) -> None:
        """Signals by name, where they have one."""
        self.assertEqual("exit status 3", str(Ending(3, None)))
        self.assertEqual("ended by SIGTERM", str(Ending(None, signal.SIGTERM)))
        self.assertEqual("ended by signal 99", str(Ending(None, 99)))
