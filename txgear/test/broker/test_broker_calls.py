"""What a job costs at the broker, counted in calls: that is the same on every machine."""

from __future__ import annotations

import sys
from types import FrameType

from txgear.test.support.broker import BrokerTestCase

MOST_CALLS = 14
"""Python functions that are called for a foreground job: its submit, its grab and its end."""


class CallsTests(BrokerTestCase):
    def test_a_foreground_job(self) -> None:
        broker, now = self.broker, self.fixture.now
        client, worker = self.fixture.connect(), self.fixture.worker(b"f")
        called: list[str] = []

        def note(frame: FrameType, event: str, argument: object) -> None:
            if event == "call":
                called.append(frame.f_code.co_name)

        sys.setprofile(note)
        try:
            job = broker.submit(client, b"f", b"", b"workload", now)
            broker.grab(worker, now)
            broker.reports.work_complete(worker, job.kept_handle, b"result", now)
        finally:
            sys.setprofile(None)
        self.assertTrue(job.ended)
        self.assertEqual(called[0], "submit")
        self.assertLessEqual(len(called), MOST_CALLS, called)
