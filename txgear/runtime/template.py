"""
The fork server: a process that imports the modules of a group once, and makes copies of itself, which become
its children and share that memory.

It has neither a reactor nor threads: a copy has neither the threads of its original nor the locks that these
held open. Where a module starts one, it refuses, and children are started as interpreters of their own.
"""

from __future__ import annotations

import fcntl
import gc
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Container, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from txgear.broker import words
from txgear.runtime.birth import CONTROL, INHERITED, PAGE, show_title
from txgear.runtime.child import use_path, work
from txgear.runtime.control import PIECE, Failed, Lines, Loaded, cut, line
from txgear.runtime.processgroups import MARK

REACTOR: Final = "twisted.internet.reactor"
TASKS: Final = Path("/proc/self/task")
"""On Linux the threads of a process, also those that are no Python's."""


class Preload(Struct, frozen=True, tag="preload", kw_only=True):
    """
    What a template is there for; told first.

    @ivar name: what it is called in the list of processes.
    @ivar path: folders where modules are looked for first.
    @ivar modules: what is imported.
    """

    name: str
    path: tuple[str, ...]
    modules: tuple[str, ...]


class Fork(Struct, frozen=True, tag="fork"):
    """
    Make a copy. The descriptors of L{INHERITED} come with it.

    @ivar number: counts these.
    @ivar mark: the value of L{MARK} in its environment.
    """

    number: int
    mark: str


class Refused(Struct, frozen=True, tag="refused"):
    """
    The template must not be copied.

    @ivar reason: why, in words.
    """

    reason: str


class Forked(Struct, frozen=True, tag="forked"):
    """
    A copy has been made.

    @ivar number: that of the L{Fork}.
    @ivar pid: its process.
    """

    number: int
    pid: int


class Ended(Struct, frozen=True, tag="ended"):
    """
    A copy has ended.

    @ivar pid: its process.
    @ivar status: as C{waitpid} gives it.
    """

    pid: int
    status: int


ToTemplate = Preload | Fork
FromTemplate = Loaded | Failed | Refused | Forked | Ended


def unfit(threads: Iterable[str], tasks: Path, modules: Container[str]) -> str:
    """
    Why this process must not be copied, in words.

    @param threads: the names of Python's threads beside the main one.
    @param tasks: where the system has a folder for each thread.
    @param modules: those that have been imported.
    @return: empty if it may be copied.
    """
    others = list(threads)
    if others:
        return f"a module has started a thread as it was imported: {', '.join(others)}"
    if tasks.is_dir() and (count := len(list(tasks.iterdir()))) > 1:
        threads, are = words.number(count - 1, "thread"), words.verb(count - 1, "is", "are")
        return f"a module has started {threads} as it was imported, which {are} none of Python's"
    if REACTOR in modules:
        return "a module has imported twisted.internet.reactor, which installs it"
    return ""


class Template:
    """The fork server's own side."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._lines = Lines(ToTemplate)
        self._descriptors: deque[int] = deque()
        self._messages: deque[Any] = deque()
        self._children: set[int] = set()
        self._is_open = True
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._wakes, wakeup = socket.socketpair()
        for each in (self._wakes, wakeup):
            each.setblocking(False)
        self._wakeup = wakeup
        self._selector.register(self._wakes, selectors.EVENT_READ)

    def load(self) -> bool:
        """
        Import the modules, and say how that went.

        @return: whether copies can be made.
        """
        while not self._messages:
            if not self._read():
                return False
        preload = self._messages.popleft()
        show_title(f"txgear runtime: template of {preload.name}")
        use_path(preload.path)
        try:
            for module in preload.modules:
                import_module(module)
        except BaseException as error:
            traceback.print_exc()
            self._say(Failed(cut(f"{type(error).__name__}: {error}")))
            return False
        others = [each.name for each in threading.enumerate() if each is not threading.main_thread()]
        if reason := unfit(others, TASKS, sys.modules):
            self._say(Refused(reason))
            return False
        self._say(Loaded([]))
        return True

    def serve(self) -> tuple[socket.socket, int] | None:
        """
        Make copies as long as the supervisor is there, and then wait for the last of them to end.

        @return: in a copy its end of the line and the descriptor of its page; C{None} in the template, when
            all is over.
        """
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup.fileno())
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        # What is there now is there for good, and a look for cycles in a copy must not write on it.
        gc.collect()
        gc.freeze()
        while self._is_open or self._children:
            for key, _ in self._selector.select():
                if key.fileobj is self._wakes:
                    self._wakes.recv(PIECE)
                elif not self._read():
                    self._is_open = False
                    self._selector.unregister(self._control)
            self._reap()
            while self._messages:
                fork = self._messages.popleft()
                descriptors = [self._descriptors.popleft() for _ in INHERITED]
                pid = os.fork()
                if not pid:
                    return self._become_child(fork, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                self._children.add(pid)
                self._say(Forked(fork.number, pid))
        return None

    def _become_child(self, fork: Fork, descriptors: list[int]) -> tuple[socket.socket, int]:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ[MARK] = fork.mark
        self._selector.close()
        for each in (self._control, self._wakes, self._wakeup):
            each.close()
        # None of these is to be overwritten before it has been moved.
        moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, PAGE + 1) for descriptor in descriptors]
        for descriptor in descriptors:
            os.close(descriptor)
        for descriptor, place in zip(moved, INHERITED, strict=True):
            os.dup2(descriptor, place, inheritable=place < CONTROL)
            os.close(descriptor)
        return socket.socket(fileno=CONTROL), PAGE

    def _read(self) -> bool:
        """@return: whether the supervisor is still there."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, PIECE, 16 * len(INHERITED))
        except ConnectionResetError:
            return False
        self._descriptors += descriptors
        self._messages += self._lines.take(data)
        return bool(data)

    def _say(self, message: Struct) -> None:
        try:
            self._control.sendall(line(message))
        except OSError:
            # Nobody is there to be told.
            self._is_open = False

    def _reap(self) -> None:
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._children.discard(pid)
                self._say(Ended(pid, status))


def main() -> None:
    """The program of a template, and of its copies."""
    control = socket.socket(fileno=CONTROL)
    os.set_inheritable(CONTROL, False)
    os.close(PAGE)
    template = Template(control)
    if not template.load():
        sys.exit(1)
    child = template.serve()
    if child is not None:
        sys.exit(work(*child))


if __name__ == "__main__":
    main()
