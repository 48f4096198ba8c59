"""
Notices that code has changed: by looking at the times of files, again and again.

That is right on every kind of disk, also on one that is shared over a network or with a container, of which
the system tells nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

LOOK_SECONDS: Final = 1.0
"""Seconds between two looks; more where a look takes long."""
PART: Final = 20
"""A look may take this part of the time between two of them."""
MOST_FILES: Final = 10_000
"""Files that are looked at; a folder with more has other things in it than code."""
MOST_NAMED: Final = 3
"""Files that the log names of those that have changed."""
SKIPPED: Final = frozenset(("__pycache__", "node_modules", "site-packages"))
"""Folders in which there is no code of one's own."""
ENVIRONMENT: Final = "pyvenv.cfg"
"""The file by which a virtual environment is known: it is skipped as well."""

Seen = Mapping[str, tuple[int, int]]
"""Files, each with the time of its last change, in nanoseconds, and its size."""


def python_files(folder: str) -> Iterator[str]:
    """
    The Python files in a folder, and in those below it.

    Folders are passed over that are hidden, or in which there is no code of one's own, or that are links.
    What cannot be read is passed over as well: it cannot be loaded either.
    """
    for parent, folders, files in os.walk(folder):
        if ENVIRONMENT in files and parent != folder:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith("."))
        for name in sorted(files):
            if name.endswith(".py"):
                yield os.path.join(parent, name)


def seen(names: Iterator[str]) -> Seen:
    """What can be seen of files without reading them; those that are gone are left out."""
    found = {}
    for name in names:
        try:
            status = os.stat(name)
        except OSError:
            # It has been deleted since it was found, or is a link to nothing.
            continue
        found[name] = status.st_mtime_ns, status.st_size
    return found


class Watcher:
    """
    Looks at the Python files of some folders, and at some other files, from L{start} to L{stop}.

    A change is told when nothing has changed any more from one look to the next: whoever writes many files is
    to be done.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        folders: Sequence[str],
        files: Sequence[str],
        changed: Callable[[], object],
    ) -> None:
        """
        @param clock: the monotonic one.
        @param changed: called when something has changed.
        """
        self._clock = clock
        self._folders = folders
        self._files = files
        self._changed = changed
        self._timer: IDelayedCall | None = None
        self._known: Seen = {}
        self._last: Seen = {}
        self._has_warned = False

    def start(self) -> None:
        """Remember how all files are, and look from now on."""
        self._known = self._last = self._look()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def watch(self, folders: Sequence[str], files: Sequence[str]) -> None:
        """Look at these instead, as they are now."""
        if (folders, files) != (self._folders, self._files):
            self._folders, self._files = folders, files
            self.stop()
            self.start()

    def _names(self) -> Iterator[str]:
        yield from self._files
        count = 0
        for folder in self._folders:
            for name in python_files(folder):
                count += 1
                if count > MOST_FILES:
                    self._warn()
                    return
                yield name

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            self.log.warn(
                "there are more than {count} Python files below {folders}:"
                " changes of the others are not noticed",
                count=MOST_FILES,
                folders=", ".join(self._folders),
            )

    def _look(self) -> Seen:
        began = self._clock.seconds()
        found = seen(self._names())
        took = self._clock.seconds() - began
        self._timer = self._clock.callLater(max(LOOK_SECONDS, PART * took), self._look_again)
        return found

    def _look_again(self) -> None:
        now, before, known = self._look(), self._last, self._known
        self._last = now
        if now == before and now != known:
            self._known = now
            names = sorted(name for name in now.keys() | known.keys() if now.get(name) != known.get(name))
            more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            shown = ", ".join(str(Path(name).name) for name in names[:MOST_NAMED]) + more
            self.log.info("{files} changed", files=shown)
            self._changed()
