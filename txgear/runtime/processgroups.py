"""
The processes of a command: found, and ended, all of them.

A command runs in a session of its own, which is a process group as well. What it starts stays in there,
unless it leaves it, as daemons do: on Linux these are found by a variable of their environment. And where the
worker itself is killed, a L{Guard} ends its commands.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

MARK: Final = "TXGEAR_RUN"
"""
The variable that all processes of one command have in their environment: a mark that no other command has,
behind those of the commands, or the child of a runtime, by which that one was started.
"""
LOOK_SECONDS: Final = 0.1
"""How long is waited before it is looked again whether processes have ended."""
PROCESSES: Final = Path("/proc")


class Group(NamedTuple):
    """
    The processes of a command.

    @ivar pid: the first one, which leads the group.
    @ivar mark: its own one in L{MARK}.
    """

    pid: int
    mark: str

    def outsiders(self, processes: Path = PROCESSES) -> list[int]:
        """Those that have left the group, where the system tells."""
        name, wanted = MARK.encode(), self.mark.encode()
        found = []
        for entry in processes.iterdir() if processes.is_dir() else ():
            # Processes of others cannot be read, and some end meanwhile.
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and wanted in _marks((entry / "environ").read_bytes(), name):
                    found.append(int(entry.name))
        return [pid for pid in found if _group_of(pid) not in (self.pid, None)]

    @property
    def is_there(self) -> bool:
        """Whether any process is left."""
        return _signalled(os.killpg, self.pid, 0) or bool(self.outsiders())

    def send(self, number: int) -> None:
        """Send a signal to all processes."""
        _signalled(os.killpg, self.pid, number)
        for pid in self.outsiders():
            _signalled(os.kill, pid, number)

    def ask_to_end(self) -> None:
        """Send SIGTERM, and wake those that were stopped, to read it."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """End all processes. Those that are started meanwhile are found in the next round."""
        for _ in range(3):
            self.kill_inside()
            outsiders = self.outsiders()
            if not outsiders:
                return
            for pid in outsiders:
                _signalled(os.kill, pid, signal.SIGKILL)

    def kill_inside(self) -> None:
        """End all that have not left the group: for that not every process of the machine is looked at."""
        _signalled(os.killpg, self.pid, signal.SIGKILL)


def marked(environment: Mapping[bytes, bytes], mark: str) -> dict[bytes, bytes]:
    """An environment for a command that is to be found by this mark, and by those of who starts it."""
    name = MARK.encode()
    inherited = environment.get(name)
    return {
        **environment,
        name: mark.encode() if inherited is None else b"%b,%b" % (inherited, mark.encode()),
    }


def _marks(environment: bytes, name: bytes) -> list[bytes]:
    for variable in environment.split(b"\0"):
        if variable.startswith(name + b"="):
            return variable[len(name) + 1 :].split(b",")
    return []


def _signalled(send: Callable[[int, int], object], target: int, number: int) -> bool:
    """Whether there was somebody to take a signal."""
    try:
        send(target, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It is there, and has become another user.
        return True
    return True


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


class Guard:
    """
    Ends the commands that run when the worker is gone, however it went.

    It is a process of its own, which reads a pipe: the names of groups that begin, and of those that have
    ended. The pipe's end is the worker's.
    """

    def __init__(self, grace: float) -> None:
        """
        Start it. There must not be a thread or a reactor yet.

        @param grace: seconds between SIGTERM and SIGKILL.
        """
        reads, self._writes = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(reads)
            return
        # This is the guard: whatever happens, it goes no further.
        try:
            os.close(self._writes)
            alone()
            with open(reads, "rb", buffering=0) as lines:
                end_groups(unfinished(lines.read), grace)
        finally:
            os._exit(0)

    def begins(self, group: Group) -> bool:
        """A command has begun. Returns whether the guard is there."""
        return self._tell(f"+{group.pid} {group.mark}\n")

    def has_ended(self, group: Group) -> None:
        """A command has ended, and is no affair of the guard's any more."""
        self._tell(f"-{group.pid} {group.mark}\n")

    def _tell(self, line: str) -> bool:
        try:
            os.write(self._writes, line.encode("ascii"))
        except BrokenPipeError:
            return False
        return True

    def leave(self) -> None:
        """Close the pipe: the guard ends what has not ended, and itself."""
        os.close(self._writes)


def alone(*, keep_stdin: bool = False) -> None:
    """Belong to no terminal, hold nobody's files open, and heed no signal that is meant for the worker."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(1 if keep_stdin else 0, 3):
        os.dup2(null, descriptor)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def unfinished(read: Callable[[int], bytes]) -> list[Group]:
    """
    Read what a worker tells, to its end.

    @param read: returns some bytes, none at the end.
    @return: the groups that have begun and not ended.
    """
    groups: dict[bytes, None] = {}
    rest = b""
    while data := read(4096):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"+"):
                groups[line[1:]] = None
            else:
                groups.pop(line[1:], None)
    return [
        Group(int(pid), mark.decode("ascii")) for pid, _, mark in (name.partition(b" ") for name in groups)
    ]


def end_groups(groups: list[Group], grace: float, sleep: Callable[[float], object] = time.sleep) -> None:
    """
    End all processes of these, those that do not listen after a while.

    @param grace: seconds of it.
    """
    for group in groups:
        group.ask_to_end()
    kill_groups(groups, grace, sleep)


def kill_groups(groups: list[Group], grace: float, sleep: Callable[[float], object]) -> None:
    """
    Kill all processes of these that have not ended by themselves after a while.

    @param grace: seconds of it.
    """
    waited = 0.0
    while waited < grace and any(group.is_there for group in groups):
        sleep(LOOK_SECONDS)
        waited += LOOK_SECONDS
    for group in groups:
        group.kill()
