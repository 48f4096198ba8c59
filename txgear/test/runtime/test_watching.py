"""Tests of L{txgear.runtime.watching}, with files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent

from txgear.runtime.watching import LOOK_SECONDS, MOST_FILES, PART, Watcher, python_files, seen
from txgear.test.support.clock import ClockTestCase


def said(events: Sequence[LogEvent]) -> list[str]:
    return [str(formatEvent(event)) for event in events if event["log_namespace"] == Watcher.log.namespace]


class SlowClock(Clock):
    """
    A clock that goes on while a look is taken.

    @ivar step: seconds by which it does, each time that it is read.
    """

    step = 0.0

    def seconds(self) -> float:
        self.rightNow += self.step
        return super().seconds()


class WatchingTestCase(ClockTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock: SlowClock = SlowClock()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.times = 0

    def write(self, name: str, text: str = "x") -> Path:
        """A file, with a time of its last change that no other has."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.times += 1
        os.utime(path, ns=(self.times * 10**9, self.times * 10**9))
        return path


class FilesTests(WatchingTestCase):
    def test_python_files(self) -> None:
        """Those below are found, and those are not that nobody here has written."""
        for name in ("jobs.py", "lib/__init__.py", "lib/deep/b.py"):
            self.write(name)
        for name in (
            "jobs.txt",
            "jobs.pyc",
            ".git/a.py",
            "lib/__pycache__/a.py",
            "web/node_modules/a.py",
            "own/pyvenv.cfg",
            "own/a.py",
            "own/lib/b.py",
            "lib/site-packages/a.py",
        ):
            self.write(name)
        (self.folder / "link").symlink_to(self.folder / "lib")
        found = [str(Path(name).relative_to(self.folder)) for name in python_files(str(self.folder))]
        self.assertEqual(found, ["jobs.py", "lib/__init__.py", "lib/deep/b.py"])

    def test_an_environment_that_is_meant(self) -> None:
        """Whoever names it wants it to be looked at."""
        self.write("pyvenv.cfg")
        self.write("jobs.py")
        self.assertEqual(len(list(python_files(str(self.folder)))), 1)

    def test_nothing_there(self) -> None:
        self.assertEqual(list(python_files(str(self.folder / "nowhere"))), [])

    def test_seen(self) -> None:
        path = self.write("jobs.py", "four")
        names = [str(path), str(self.folder / "gone.py")]
        self.assertEqual(seen(iter(names)), {str(path): (10**9, 4)})


class WatcherTests(WatchingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.changes = 0
        self.jobs = self.write("code/jobs.py")
        self.config = self.write("workers.toml")
        self.watcher = Watcher(self.clock, [str(self.folder / "code")], [str(self.config)], self.changed)
        self.watcher.start()
        self.addCleanup(self.watcher.stop)

    def changed(self) -> None:
        self.changes += 1

    def looks(self, count: int) -> int:
        """
        So many looks are taken.

        @return: how many changes were told.
        """
        before = self.changes
        for _ in range(count):
            self.clock.advance(LOOK_SECONDS)
        return self.changes - before

    def test_nothing_changes(self) -> None:
        self.assertEqual(self.looks(10), 0)

    def test_changes(self) -> None:
        """Each is told once, when a second look finds the same."""
        self.write("code/jobs.py")
        self.assertEqual((self.looks(1), self.looks(1), self.looks(10)), (0, 1, 0))
        self.write("workers.toml")
        self.assertEqual(self.looks(10), 1)
        self.write("code/new/more.py")
        self.assertEqual(self.looks(10), 1)
        self.jobs.unlink()
        self.assertEqual(self.looks(10), 1)

    def test_a_size(self) -> None:
        """Some disks know times by the second only."""
        self.jobs.write_text("longer")
        os.utime(self.jobs, ns=(10**9, 10**9))
        self.assertEqual(self.looks(10), 1)

    def test_while_somebody_writes(self) -> None:
        """As long as something else changes from look to look, nothing is told."""
        for number in range(5):
            self.write(f"code/{number}.py")
            self.assertEqual(self.looks(1), 0)
        self.assertEqual(self.looks(1), 1)

    def test_back_again(self) -> None:
        """What was undone meanwhile is no change."""
        self.write("code/new.py").unlink()
        self.assertEqual(self.looks(10), 0)

    def test_other_files(self) -> None:
        self.write("other/jobs.py")
        self.write("code/jobs.txt")
        self.assertEqual(self.looks(10), 0)

    def test_what_is_said(self) -> None:
        with capturedLogs() as events:
            self.write("code/jobs.py")
            self.looks(2)
            for name in "abcde":
                self.write(f"code/{name}.py")
            self.looks(2)
        self.assertEqual(said(events), ["jobs.py changed", "a.py, b.py, c.py, and 2 more changed"])

    def test_other_folders(self) -> None:
        """What there is then is what is known; to name the same again changes nothing."""
        other = [str(self.folder / "other")]
        self.write("other/jobs.py")
        self.watcher.watch(other, [])
        self.assertEqual(self.looks(5), 0)
        self.write("code/jobs.py")
        self.assertEqual(self.looks(5), 0)
        self.write("other/jobs.py")
        self.looks(1)
        self.watcher.watch(list(other), [])
        self.assertEqual(self.looks(5), 1)

    def test_a_look_that_takes_long(self) -> None:
        """The next one comes later."""
        self.clock.step = 0.5
        self.clock.advance(LOOK_SECONDS)
        self.clock.step = 0.0
        self.write("code/jobs.py")
        self.assertEqual(self.looks(int(PART * 0.5) - 1), 0)
        self.assertEqual(self.looks(5), 1)

    def test_stopped(self) -> None:
        self.watcher.stop()
        self.watcher.stop()
        self.write("code/jobs.py")
        self.assertEqual(self.looks(5), 0)

    def test_very_many_files(self) -> None:
        """It is said once that some are not looked at."""
        folder = self.folder / "many"
        folder.mkdir()
        source = self.write("source.py")
        for number in range(MOST_FILES + 1):
            os.link(source, folder / f"{number:05}.py")
        with capturedLogs() as events:
            self.watcher.watch([str(folder)], [])
            self.looks(2)
        (line,) = said(events)
        self.assertIn("there are more than 10000 Python files below", line)
        (folder / f"{MOST_FILES - 1:05}.py").unlink()
        self.assertEqual(self.looks(3), 1)
