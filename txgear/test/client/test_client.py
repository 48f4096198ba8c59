"""
Tests for L{txgear.client}: closing a client. The other files test its parts.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from txgear.errors import (
    JobLost,
    NotConnected,
)
from txgear.protocol.constants import (
    WORK_COMPLETE,
)
from txgear.test.support.client import ClientTestCase


class CloseTests(ClientTestCase):
    def test_never_used(self) -> None:
        """A client that never connected is closed at once."""
        self.assertIsNone(self.successResultOf(self.client.close()))

    def test_close(self) -> None:
        """What was sent is lost, what was not is not; later requests fail at once."""
        job, _ = self.submitted("f")
        sent = self.client.submit_background("g")
        closed = self.client.close()
        self.assertNoResult(closed)
        self.clock.advance(0)
        self.assertIsNone(self.successResultOf(closed))
        self.assertEqual(b"H:1", self.failureResultOf(job.result, JobLost).value.handle)
        self.failureResultOf(sent, JobLost)
        for request in (self.client.run("f"), self.client.submit_background("f")):
            self.assertEqual("the client is closed", str(self.failureResultOf(request, NotConnected).value))
        self.assertEqual(1, self.server.attempts)

    def test_unsent(self) -> None:
        """What still waits for a server fails at once."""
        self.server.refusing = True
        result = self.client.run("f", timeout=5)
        closed = self.client.close()
        self.failureResultOf(result, NotConnected)
        self.successResultOf(closed)

    def test_hanging(self) -> None:
        """An attempt to connect is given up."""
        self.server.hanging = True
        result = self.client.run("f")
        self.successResultOf(self.client.close())
        self.failureResultOf(result, NotConnected)
        self.assertEqual(1, self.server.given_up)

    def test_resend_ends(self) -> None:
        """A closed client sends nothing again."""
        job, _ = self.submitted("f", resend=True)
        _ = self.client.close()
        self.clock.advance(0)
        self.failureResultOf(job.result, JobLost)

    def test_resend_unsent(self) -> None:
        """What was sent once, and waits for the next server, is lost: it may have run."""
        job, line = self.submitted("f", resend=True)
        line.lose()
        self.successResultOf(self.client.close())
        self.assertEqual(b"H:1", self.failureResultOf(job.result, JobLost).value.handle)

    def test_what_was_gathered_leaves(self) -> None:
        """Closing in the middle of a turn sends what the turn had to send."""
        job, line = self.submitted("f")
        late: list[Deferred[Any]] = []
        _ = job.result.addCallback(
            lambda _: late.extend([self.client.submit_background("g"), self.client.close()])
        )
        line.send(WORK_COMPLETE, b"H:1", b"")
        self.assertEqual([("SUBMIT_JOB_BG", b"g", b"", b"")], line.packets())
        self.clock.advance(0)
        self.failureResultOf(late[0], JobLost)
        self.successResultOf(late[1])

    def test_cancel(self) -> None:
        """Cancelling the wait does not keep the client from closing."""
        self.submitted("f")
        closed = self.client.close()
        closed.cancel()
        self.failureResultOf(closed, CancelledError)
        self.clock.pump([0, 60])
        self.assertEqual(1, self.server.attempts)

    def test_service(self) -> None:
        """As a service it closes with its parent, and works again when that starts again."""
        self.client.startService()
        self.assertEqual(0, self.server.attempts)
        self.submitted("f")
        stopped = self.client.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.client.startService()
        self.client.submit("g")
        self.assertEqual(2, self.server.attempts)
        self.connect()
        self.assertEqual([("SUBMIT_JOB", b"g", b"", b"")], self.server.line.packets())
