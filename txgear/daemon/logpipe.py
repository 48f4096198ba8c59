"""
Standard output and standard error that never block the server.

Under a supervisor or a container's engine the log goes into a pipe. When its reader stalls, the pipe fills,
and the next line would block the whole server. The pipe cannot be made non-blocking, as others may share
it. So a thread stands between: it reads all that is written, passes it on as fast as the reader takes it,
and drops whole lines beyond a bound. A line in the log says how many were dropped, at the place where they
are missing.
"""

from __future__ import annotations

import atexit
import os
import select
import stat
import threading
from typing import Final

MOST_WAITING: Final = 1024 * 1024
"""Bytes that may wait for the reader: some ten thousand lines."""
GO_ON_FROM: Final = MOST_WAITING // 2
"""Once lines were dropped: bytes that still wait when lines are taken again."""
WRITE_SIZE: Final = 4096
"""Bytes of one write. So many never block where the system says that there is room (C{PIPE_BUF})."""
READ_SIZE: Final = 64 * 1024
"""Bytes of one read."""
STOP_SECONDS: Final = 1.0
"""Seconds for which the end of the process waits for the reader."""


class Lines:
    """
    Lines that wait to be passed on.

    @ivar waiting: their bytes; whole lines only.
    """

    def __init__(self) -> None:
        self.waiting = bytearray()
        self._begun = b""
        self._dropped = 0

    def take(self, data: bytes) -> None:
        """Add what has been written, or drop it."""
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            if len(self.waiting) + len(line) > (GO_ON_FROM if self._dropped else MOST_WAITING):
                self._dropped += 1
            else:
                self._say_dropped()
                self.waiting += line + b"\n"

    def passed_on(self, count: int) -> None:
        """Remove so many bytes, which have been passed on."""
        del self.waiting[:count]
        if len(self.waiting) <= GO_ON_FROM:
            self._say_dropped()

    def end(self) -> None:
        """Add the last line, even where it has no end."""
        self.waiting += self._begun
        self._begun = b""

    def _say_dropped(self) -> None:
        if self._dropped:
            self.waiting += b"txgear: %d lines of the log were dropped, as nobody read them\n" % self._dropped
            self._dropped = 0


class LogPipe:
    """
    A pipe with a thread, in place of descriptors that lead to one reader.
    """

    def __init__(self, descriptors: list[int]) -> None:
        self._descriptors = descriptors
        self._out = os.dup(descriptors[0])
        self._in, write = os.pipe()
        for descriptor in descriptors:
            os.dup2(write, descriptor)
        os.close(write)
        self._lines = Lines()
        self._thread = threading.Thread(target=self._run, name="txgear-log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._in, select.POLLIN)
        lines, ended, writing = self._lines, False, False
        while lines.waiting or not ended:
            if writing != bool(lines.waiting):
                writing = not writing
                if writing:
                    poll.register(self._out, select.POLLOUT)
                else:
                    poll.unregister(self._out)
            events = poll.poll(STOP_SECONDS * 1000 if ended else None)
            if not events:
                return
            for descriptor, _ in events:
                if descriptor == self._out:
                    if not self._pass_on():
                        return
                elif data := os.read(self._in, READ_SIZE):
                    lines.take(data)
                else:
                    lines.end()
                    ended = True
                    poll.unregister(self._in)

    def _pass_on(self) -> bool:
        try:
            self._lines.passed_on(os.write(self._out, self._lines.waiting[:WRITE_SIZE]))
        except OSError:
            # The reader has gone. Nobody reads what is written from now on, and it must not fill our own
            # pipe.
            while os.read(self._in, READ_SIZE):
                pass
            return False
        return True

    def stop(self) -> None:
        """Connect the descriptors with their reader again, and pass on what waits, within a bounded time."""
        for descriptor in self._descriptors:
            os.dup2(self._out, descriptor)
        self._thread.join(2 * STOP_SECONDS)


def stand_before(descriptors: tuple[int, ...] = (1, 2)) -> list[LogPipe]:
    """
    Put a L{LogPipe} in place of those of these descriptors that are pipes or sockets. Files, terminals and
    closed descriptors stay as they are.
    """
    found: dict[tuple[int, int], list[int]] = {}
    for descriptor in descriptors:
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            found.setdefault((status.st_dev, status.st_ino), []).append(descriptor)
    return [LogPipe(same) for same in found.values()]


def guard_output() -> None:
    """L{stand_before} standard output and standard error, until the process ends."""
    for pipe in stand_before():
        atexit.register(pipe.stop)
