"""Tests of L{txgear.daemon.logpipe}: what waits for a reader that stalls."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.logpipe import GO_ON_FROM, MOST_WAITING, Lines, stand_before

LINE = b"x" * 99
DROPPED = b"txgear: %d lines of the log were dropped, as nobody read them\n"


class LinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines = Lines()

    def take(self, count: int) -> None:
        for _ in range(count):
            self.lines.take(LINE + b"\n")

    def test_lines_come_whole(self) -> None:
        self.lines.take(b"one\ntw")
        self.assertEqual(bytes(self.lines.waiting), b"one\n")
        self.lines.take(b"o\n\nthree")
        self.assertEqual(bytes(self.lines.waiting), b"one\ntwo\n\n")
        self.lines.end()
        self.assertEqual(bytes(self.lines.waiting), b"one\ntwo\n\nthree")

    def test_what_nobody_reads_is_dropped_and_counted(self) -> None:
        fit = MOST_WAITING // 100
        self.take(fit + 1000)
        self.assertLess(len(self.lines.waiting), MOST_WAITING + 100)
        self.assertEqual(self.lines.waiting.count(b"\n"), fit)
        self.lines.passed_on(100)
        self.take(1)
        self.assertNotIn(b"dropped", self.lines.waiting)
        self.lines.passed_on(len(self.lines.waiting) - GO_ON_FROM)
        self.assertTrue(self.lines.waiting.endswith(DROPPED % 1001))
        self.take(1)
        self.assertTrue(self.lines.waiting.endswith(DROPPED % 1001 + LINE + b"\n"))
        self.lines.passed_on(len(self.lines.waiting))
        self.assertEqual(self.lines.waiting, b"")


class StandBeforeTests(SynchronousTestCase):
    def test_only_pipes(self) -> None:
        path = self.mktemp()
        with open(path, "wb") as file:
            closed = os.dup(file.fileno())
            os.close(closed)
            self.assertEqual(stand_before((file.fileno(), closed)), [])

    def test_a_pipe(self) -> None:
        read, write = os.pipe()
        other = os.dup(write)
        try:
            pipes = stand_before((write, other))
            self.assertEqual(len(pipes), 1)
            os.write(write, b"one\n")
            os.write(other, b"two\n")
            pipes[0].stop()
            self.assertEqual(os.read(read, 100), b"one\ntwo\n")
            os.write(other, b"three\n")
            self.assertEqual(os.read(read, 100), b"three\n")
        finally:
            for descriptor in (read, write, other):
                os.close(descriptor)

    def test_a_reader_that_goes(self) -> None:
        read, write = os.pipe()
        pipes = stand_before((write,))
        os.close(read)
        for _ in range(100):
            os.write(write, LINE * 1000 + b"\n")
        pipes[0].stop()
        os.close(write)
