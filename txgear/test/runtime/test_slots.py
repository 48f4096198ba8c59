"""
Tests for L{txgear.runtime.slots}: what the supervisor reads of the jobs that a child does.
"""

from __future__ import annotations

import os
from typing import Any, cast

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.birth import page_file
from txgear.runtime.slots import JobSlots, page_slots
from txgear.runtime.status import Running, StatusPage, page_size


class FakeJob:
    """What a page has of a job."""

    def __init__(self, handle: bytes, attempt: int = 1) -> None:
        self.handle = handle
        self.function = b"resize"
        self.attempt = attempt


def job(handle: bytes, attempt: int = 1) -> Any:
    return cast(Any, FakeJob(handle, attempt))


class JobSlotsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 100.0
        file = page_file(page_size(2))
        self.addCleanup(os.close, file)
        self.page = StatusPage(file, 2)
        self.slots = JobSlots(StatusPage(file, 2), lambda: self.now)

    def test_idle(self) -> None:
        """Nothing is known before the first turn; then that there is nothing to do."""
        self.assertEqual((0.0, 0, 0.0, False), self.page.head())
        self.slots.turn(True)
        self.assertEqual((100.0, 0, 100.0, True), self.page.head())
        self.assertEqual([], list(self.page.running()))

    def test_jobs(self) -> None:
        """Each job is there from its beginning to its end, however it ends."""
        first, second = job(b"H:1"), job(b"H:2", 3)
        self.slots.begin(first)
        self.now = 101.0
        self.slots.begin(second)
        self.assertEqual(
            [Running(0, 100.0, b"H:1", 1, b"resize"), Running(1, 101.0, b"H:2", 3, b"resize")],
            list(self.page.running()),
        )
        self.slots.turn(True)
        self.assertEqual((101.0, 0, 0.0, True), self.page.head())
        self.slots.failure(first, Failure(ValueError()))
        self.assertEqual([b"H:2"], [each.handle for each in self.page.running()])
        self.slots.turn(True)
        self.assertEqual((101.0, 1, 0.0, True), self.page.head())
        self.now = 102.0
        self.slots.end(second)
        self.slots.turn(True)
        self.assertEqual((102.0, 2, 102.0, True), self.page.head())
        self.now = 103.0
        self.slots.turn(True)
        self.assertEqual((103.0, 2, 102.0, True), self.page.head())

    def test_no_place(self) -> None:
        """A job that finds no place counts all the same, and takes nobody else's."""
        jobs = [job(b"H:%d" % number) for number in range(3)]
        for each in jobs:
            self.slots.begin(each)
        self.assertEqual([b"H:0", b"H:1"], [each.handle for each in self.page.running()])
        self.slots.end(jobs[2])
        self.assertEqual([b"H:0", b"H:1"], [each.handle for each in self.page.running()])
        self.slots.end(jobs[0])
        self.slots.begin(job(b"H:3"))
        self.assertEqual({b"H:3", b"H:1"}, {each.handle for each in self.page.running()})
        self.assertEqual(2, self.slots.ended)

    def test_long_names(self) -> None:
        """Only the beginnings of a handle and of a name are there."""
        long = job(b"H" * 300)
        long.function = b"f" * 64
        self.slots.begin(long)
        self.assertEqual([Running(0, 100.0, b"H" * 64, 1, b"f" * 64)], list(self.page.running()))

    def test_places(self) -> None:
        """There are some for functions in threads that were given up, and run on."""
        self.assertGreater(page_slots(8), 8)
