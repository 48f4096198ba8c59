"""
A process that ends the children of a supervisor that was killed: those that do not leave by themselves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from txgear.runtime.processgroups import Group, alone, kill_groups, unfinished


class ChildrensGuard:
    """
    The supervisor's side of it.

    Beside L{txgear.runtime.processgroups.Guard} it can be started when a reactor is there, and again where
    somebody has killed it.
    """

    log = Logger()

    def __init__(self, grace: float, popen: Callable[..., Any] = subprocess.Popen) -> None:
        """
        @param grace: seconds that children may take to finish their jobs once the supervisor is gone.
        @param popen: starts a process, as L{subprocess.Popen} does.
        """
        self._grace = grace
        self._popen = popen
        self._groups: dict[Group, None] = {}
        self._process: Any = None
        self._cannot_start = ""

    def begins(self, group: Group) -> None:
        """Part of L{txgear.runtime.member.ChildGuard}."""
        self._groups[group] = None
        self._tell(f"+{group.pid} {group.mark}\n")

    def has_ended(self, group: Group) -> None:
        """Part of L{txgear.runtime.member.ChildGuard}."""
        self._groups.pop(group, None)
        self._tell(f"-{group.pid} {group.mark}\n")

    def look(self) -> None:
        """See that it is there; called from time to time."""
        if self._process is not None and self._process.poll() is not None:
            self._replace("was killed")
        elif self._process is None and self._groups:
            self._start()

    def _tell(self, text: str) -> None:
        if self._process is None:
            self._start()
            return
        try:
            _write(self._process, text)
        except BrokenPipeError:
            self._replace("was killed")
        except BlockingIOError:
            self._replace("does not listen any more")

    def _replace(self, why: str) -> None:
        self.log.warn("the process that guards the children {why}; another one is started", why=why)
        self._end()
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", __name__, f"{self._grace:g}"]
        try:
            # Signals to the supervisor's group, as Ctrl-C is one, are not for it, from the beginning.
            self._process = process = self._popen(
                command, stdin=subprocess.PIPE, bufsize=0, start_new_session=True
            )
        except OSError as error:
            # It is tried again each time that it is looked; it is said once.
            if str(error) != self._cannot_start:
                self._cannot_start = str(error)
                self.log.error("no process can be started that guards the children: {error}", error=error)
            return
        self._cannot_start = ""
        # It may have been stopped, or have no processor: it is not waited for.
        _write(process, "".join(f"+{group.pid} {group.mark}\n" for group in self._groups))
        os.set_blocking(process.stdin.fileno(), False)

    def _end(self) -> None:
        process, self._process = self._process, None
        # First, as the end of the pipe has it end the children.
        process.kill()
        process.stdin.close()
        process.wait()

    def leave(self) -> None:
        """Let it end; it ends the children that are left, after a while."""
        if self._process is None:
            return
        if self._groups:
            self._process.stdin.close()
            self._process = None
        else:
            self._end()


def _write(process: Any, text: str) -> None:
    process.stdin.write(text.encode("ascii"))


def main() -> None:
    """Watch over the children until the pipe ends, and end those that are left after the grace."""
    alone(keep_stdin=True)
    left = unfinished(lambda count: os.read(0, count))
    kill_groups(left, float(sys.argv[1]), time.sleep)


if __name__ == "__main__":
    main()
