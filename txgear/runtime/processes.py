"""
A command as a child process, with Twisted's reactor: in a session of its own, its standard input fed as it
reads, its output handed on as it comes, and ended with all that it has started.

C{reactor.spawnProcess} cannot put a process into a session or a group of its own, so that what the command
starts could not be ended with it; and what went wrong at the start it tells as the child's standard error.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.internet.process import registerReapProcessHandler, unregisterReapProcessHandler
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear.runtime.processgroups import LOOK_SECONDS, Group, marked

PIECE: Final = 64 * 1024
"""Bytes that are read or written at once: what a pipe holds."""
LINGER_SECONDS: Final = 1.0
"""
How long output is awaited once the command has ended: what it has started may hold its pipes open for ever,
and some of what it wrote may be under way.
"""
LAST_PIECES: Final = 16
"""Reads at the end; the largest pipe that anybody may make holds as much."""
STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
PROGRESS: Final = 3
FIRST_FREE: Final = 4
"""The descriptors from here on mean nothing to the command."""


class Ending(NamedTuple):
    """
    How a command has ended.

    @ivar status: its exit status; C{None} where a signal has ended it.
    @ivar signal: that signal; C{None} where there was none.
    """

    status: int | None
    signal: int | None

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit status {self.status}"
        try:
            return f"ended by {signal.Signals(self.signal).name}"
        except ValueError:
            return f"ended by signal {self.signal}"


def ending_of(status: int) -> Ending:
    """How a process has ended that C{waitpid} gives this status."""
    code = os.waitstatus_to_exitcode(status)
    return Ending(code, None) if code >= 0 else Ending(None, -code)


@implementer(IReadDescriptor)
class PipeReader:
    """Our end of a pipe that a process writes to."""

    def __init__(
        self, reactor: Any, pipe: int, receive: Callable[[bytes], object], closed: Callable[[], object]
    ):
        """
        @param pipe: its descriptor, which is this object's from now on.
        @param receive: called with what is written.
        @param closed: called once when nothing more is read.
        """
        self._reactor = reactor
        self._pipe = pipe
        self._receive = receive
        self._closed = closed
        os.set_blocking(pipe, False)
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._pipe

    def logPrefix(self) -> str:
        return "command"

    def doRead(self) -> Any:
        try:
            data = os.read(self._pipe, PIECE)
        except BlockingIOError:
            return None
        if not data:
            return ConnectionDone()
        self._receive(data)
        return None

    def pause(self) -> None:
        if self._pipe >= 0:
            self._reactor.removeReader(self)

    def resume(self) -> None:
        if self._pipe >= 0:
            self._reactor.addReader(self)

    def take_rest(self) -> None:
        """Read what is there, and close it. What is written later is not read."""
        for _ in range(LAST_PIECES):
            if self._pipe < 0 or self.doRead() is not None:
                break
        self.close()

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def close(self) -> None:
        if self._pipe >= 0:
            self._reactor.removeReader(self)
            os.close(self._pipe)
            self._pipe = -1
            self._closed()


@implementer(IWriteDescriptor)
class _Input:
    """Our end of a pipe that the command reads. It is no mistake of a command to read only a part."""

    def __init__(self, reactor: Any, pipe: int, data: bytes) -> None:
        self._reactor = reactor
        self._pipe = pipe
        self._left = memoryview(data)
        os.set_blocking(pipe, False)
        reactor.addWriter(self)

    def fileno(self) -> int:
        return self._pipe

    def logPrefix(self) -> str:
        return "command"

    def doWrite(self) -> Any:
        try:
            self._left = self._left[os.write(self._pipe, self._left[:PIECE]) :]
        except BlockingIOError:
            return None
        except BrokenPipeError:
            return ConnectionLost()
        return None if self._left else ConnectionDone()

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def close(self) -> None:
        if self._pipe >= 0:
            self._reactor.removeWriter(self)
            os.close(self._pipe)
            self._pipe = -1
            self._left = memoryview(b"")


class CommandProcess:
    """
    A command that runs, and all that it has started.

    @ivar group: its processes.
    @ivar ending: how the command itself has ended; C{None} before.
    """

    def __init__(
        self,
        reactor: Any,
        words: Sequence[str],
        environment: Mapping[bytes, bytes],
        stdin: bytes,
        outputs: Mapping[int, Callable[[bytes], object]],
    ) -> None:
        """
        Start it.

        @param words: the program, which is looked for in C{PATH}, and its arguments.
        @param environment: all of it; L{MARK<txgear.runtime.processgroups.MARK>} is added.
        @param stdin: what it can read.
        @param outputs: who is given what it writes, by the numbers of its descriptors. The others are ours.
        @raise OSError: it cannot be started.
        """
        self._reactor = reactor
        self.ending: Ending | None = None
        self._over = False
        self._paused = False
        self._waiting: list[Deferred[Ending]] = []
        self._timer: Any = None
        self._grace_ends: float | None = None
        mark = secrets.token_hex(8)
        theirs: dict[int, int] = {}
        ours: dict[int, int] = {}
        try:
            theirs[STDIN], ours[STDIN] = os.pipe()
            for number in outputs:
                ours[number], theirs[number] = os.pipe()
            pid = spawn(words, marked(environment, mark), theirs)
        except BaseException:
            for pipe in ours.values():
                os.close(pipe)
            raise
        finally:
            for pipe in theirs.values():
                os.close(pipe)
        self.group = Group(pid, mark)
        self._input = _Input(reactor, ours.pop(STDIN), stdin)
        self._outputs = {
            number: PipeReader(reactor, pipe, outputs[number], self._look) for number, pipe in ours.items()
        }
        registerReapProcessHandler(pid, self)

    # What Twisted calls

    def reapProcess(self) -> None:  # noqa: N802
        """A child process of ours has ended, which may be this one."""
        pid, status = os.waitpid(self.group.pid, os.WNOHANG)
        if pid:
            unregisterReapProcessHandler(pid, self)
            self.processEnded(status)

    def processEnded(self, status: int) -> None:
        """The command has ended; what it has started may not."""
        self.ending = ending_of(status)
        self._input.close()
        if self._grace_ends is None:
            self._timer = self._reactor.callLater(LINGER_SECONDS, self._linger_over)
        self._look()

    # What it says

    def pause(self) -> None:
        """Read nothing of its output for now: it waits once the pipes are full."""
        self._paused = True
        for output in self._outputs.values():
            output.pause()

    def resume(self) -> None:
        """Read its output again."""
        self._paused = False
        for output in self._outputs.values():
            output.resume()

    def _linger_over(self) -> None:
        self._timer = None
        if self._paused:
            # There may be more in the pipes; whoever is to get it is slow.
            self._timer = self._reactor.callLater(LINGER_SECONDS, self._linger_over)
            return
        for output in list(self._outputs.values()):
            output.take_rest()

    # Its end

    def when_ended(self) -> Deferred[Ending]:
        """
        Wait until it has ended, and all that it wrote has been handed on.

        @return: fires with how; at once if it has ended. Cancelling it changes nothing.
        """
        if self._over and self.ending is not None:
            return succeed(self.ending)
        ended: Deferred[Ending] = Deferred(self._waiting.remove)
        self._waiting.append(ended)
        return ended

    def end(self, grace: float) -> None:
        """
        End it and all that it has started: SIGTERM, and SIGKILL for what is left after a while. Nothing of
        its output is read any more. It counts as ended when no process is left. To end it twice is to end it
        once.

        @param grace: seconds of it; 0 for SIGKILL at once.
        """
        if self._over or self._grace_ends is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._grace_ends = self._reactor.seconds() + grace
        if grace:
            self.group.ask_to_end()
        self._input.close()
        for output in list(self._outputs.values()):
            output.close()
        self._look_for_left()

    def _look_for_left(self) -> None:
        self._timer = None
        assert self._grace_ends is not None
        left = self._grace_ends - self._reactor.seconds()
        if left <= 0:
            self.group.kill()
        if self.ending is not None and (left <= 0 or not self.group.is_there):
            self._finish()
        else:
            wait = min(LOOK_SECONDS, left) if left > 0 else LOOK_SECONDS
            self._timer = self._reactor.callLater(wait, self._look_for_left)

    def _look(self) -> None:
        """Something of it has ended."""
        if (
            self.ending is not None
            and self._grace_ends is None
            and all(o.fileno() < 0 for o in self._outputs.values())
        ):
            self._finish()

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        assert self.ending is not None
        waiting, self._waiting = self._waiting, []
        for ended in waiting:
            ended.callback(self.ending)


def spawn(words: Sequence[str], environment: Mapping[bytes, bytes], descriptors: Mapping[int, int]) -> int:
    """
    Start a program in a session of its own. It has no other descriptors of ours: Python makes none that are
    handed down.

    @param descriptors: ours, by the numbers that they have there.
    @return: its process id.
    @raise OSError: it cannot be started.
    """
    # A pipe of ours may have a number that another one is to have there: out of the way with them.
    moved: dict[int, int] = {}
    try:
        for number, descriptor in descriptors.items():
            moved[number] = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
        actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in moved.items()]
        # Python ignores some signals, and a program that ignores SIGPIPE writes on when nobody reads.
        ignored = [each for each in signal.valid_signals() if signal.getsignal(each) == signal.SIG_IGN]
        return os.posix_spawnp(
            words[0],
            list(words),
            environment,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=ignored,
        )
    finally:
        for descriptor in moved.values():
            os.close(descriptor)
