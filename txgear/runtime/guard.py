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

    def begins(self, group: Group) -> None:
        """Part of L{txgear.runtime.member.ChildGuard}."""
        self._groups[group] = None
        self._tell(f"+{group.pid} {group.mark}\n")

    def has_ended(self, group: Group) -> None:
        """Part of L{txgear.runtime.member.ChildGuard}."""
        self._groups.pop(group, None)
        self._tell(f"-{group.pid} {group.mark}\n")

    def _tell(self, text: str) -> None:
        if self._process is None:
            self._start()
        try:
            self._write(text)
        except BrokenPipeError:
            self.log.warn("the process that guards the children was killed; another one is started")
            self.leave()
            self._start()

    def _start(self) -> None:
        self._process = self._popen(
            [sys.executable, "-m", __name__, f"{self._grace:g}"],
            stdin=subprocess.PIPE,
            bufsize=0,
            # Signals to the supervisor's group, as Ctrl-C is one, are not for it, from the beginning.
            start_new_session=True,
        )
        self._write("".join(f"+{group.pid} {group.mark}\n" for group in self._groups))

    def _write(self, text: str) -> None:
        self._process.stdin.write(text.encode("ascii"))

    def leave(self) -> None:
        """Let it end; it ends the children that are left, after a while."""
        process, self._process = self._process, None
        if process is not None:
            process.stdin.close()
            if not self._groups:
                process.wait()


def main() -> None:
    """Watch over the children until the pipe ends, and end those that are left after the grace."""
    alone(keep_stdin=True)
    left = unfinished(lambda count: os.read(0, count))
    kill_groups(left, float(sys.argv[1]), time.sleep)


if __name__ == "__main__":
    main()
