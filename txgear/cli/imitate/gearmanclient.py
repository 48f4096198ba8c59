"""
C{gearman} without C{-w}: submits jobs and shows what comes of them.
"""

from __future__ import annotations

import os
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from txgear.cli.imitate.gearmanwords import Words
from txgear.cli.imitate.libgearman import UNREACHABLE, Connection, Failure, atoi, murmur3, wait
from txgear.cli.imitate.stdio import Stdio
from txgear.protocol import constants
from txgear.protocol.constants import (
    ERROR,
    JOB_CREATED,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.protocol.packets import Received, request

MOST_FUNCTION: Final = 512
MOST_UNIQUE: Final = 64
MOST_HANDLE: Final = 63
"""Bytes of names, as libgearman has them."""

LINE: Final = 8191
"""Bytes of a line that C{-n} makes one job of, unless it is strict."""

KNOWN_ERRORS: Final = frozenset(
    b"ARGUMENT_TOO_LARGE COULD_NOT_CONNECT DATA_TOO_LARGE ECHO_DATA_CORRUPTION ERRNO EVENT FLUSH_DATA"
    b" GETADDRINFO IGNORE_PACKET INVALID_ARGUMENT INVALID_COMMAND INVALID_FUNCTION_NAME INVALID_MAGIC"
    b" INVALID_PACKET INVALID_WORKER_FUNCTION IN_PROGRESS JOB_EXISTS JOB_QUEUE_FULL LOST_CONNECTION"
    b" MEMORY_ALLOCATION_FAILURE NEED_WORKLOAD_FN NOT_CONNECTED NOT_FLUSHING NO_ACTIVE_FDS NO_JOBS"
    b" NO_REGISTERED_FUNCTION NO_REGISTERED_FUNCTIONS NO_SERVERS PAUSE PIPE_EOF PTHREAD QUEUE_ERROR"
    b" RECV_IN_PROGRESS SEND_BUFFER_TOO_SMALL SEND_IN_PROGRESS SERVER_ERROR TIMEOUT TOO_MANY_ARGS"
    b" UNEXPECTED_PACKET UNKNOWN_OPTION UNKNOWN_STATE WORK_DATA WORK_ERROR WORK_STATUS WORK_WARNING"
    b" JOB_NOT_FOUND".split()
)
"""The servers' words for errors that libgearman knows."""

_KINDS: Final = {
    (background, priority): getattr(constants, f"SUBMIT_JOB{level}{'_BG' if background else ''}")
    for background in (False, True)
    for priority, level in (("", ""), ("I", "_HIGH"), ("L", "_LOW"))
}


@dataclass(eq=False)
class Task:
    """
    A job that was submitted, or will be.

    @ivar packet: what submits it.
    @ivar connection: to the server that has it; C{None} until then.
    @ivar handle: the job's; empty until the server has said it.
    """

    function: bytes
    packet: bytes
    connection: Connection | None = None
    handle: bytes = b""


class Client:
    """
    Submits jobs.

    @ivar failed: whether a job has failed.
    @ivar troubled: whether there was an error of any other kind.
    """

    def __init__(self, connections: Sequence[Connection], words: Words, stdio: Stdio) -> None:
        """
        @param connections: to the servers; the first one that answers gets the jobs.
        """
        self.failed = False
        self.troubled = False
        self._connections = connections
        self._words = words
        self._stdio = stdio
        # The newest first: in this order they are sent.
        self._tasks: list[Task] = []
        self._unanswered: deque[Task] = deque()

    def submit(self, workload: bytes | None) -> None:
        """
        Submit a job for each function, and wait until all are done.

        @param workload: C{None} for none.
        """
        for function in self._words.functions:
            try:
                self._add(os.fsencode(function), workload)
            except Failure as error:
                self.complain("gearman_client_add_task", error)
        while self._tasks:
            try:
                self._run()
            except Failure as error:
                self.complain("gearman_client_run_tasks", error)
                # One refused job does not make the others be forgotten.
                if not (self._words.strict and error.code not in _ENDS):
                    return

    def complain(self, what: str, error: Failure) -> None:
        """Say that something has failed."""
        self.troubled = True
        self._stdio.complain(os.fsencode(f"gearman: {what} : {error.text}\n"))

    def _add(self, function: bytes, workload: bytes | None) -> None:
        unique = None if self._words.unique is None else os.fsencode(self._words.unique)
        if len(function) > MOST_FUNCTION:
            raise _invalid(175, "function name longer then GEARMAN_MAX_FUNCTION_SIZE")
        if not function:
            raise _invalid(179, "invalid function")
        if unique is not None and len(unique) > MOST_UNIQUE:
            raise _invalid(187, "unique name longer then GEARMAN_MAX_UNIQUE_SIZE")
        if workload == b"" and not self._words.strict:
            raise _invalid(194, "invalid workload")
        if unique == b"#":
            unique = b"%d" % murmur3(workload or b"")
        # The last of the bytes is for C's NUL.
        unique = unique[: MOST_UNIQUE - 1] if unique else str(uuid.uuid4()).encode("ascii")
        kind = _KINDS[self._words.background, self._words.priority]
        self._tasks.insert(0, Task(function, request(kind, function, unique, workload or b"")))

    def _run(self) -> None:
        """
        Send what was not sent yet, and wait until all tasks are over.

        @raise Failure: a server refused one, or has gone, or there was no answer in time.
        """
        new = [task for task in self._tasks if task.connection is None]
        if new:
            connection = self._connected()
            for task in new:
                task.connection = connection
                self._unanswered.append(task)
            try:
                connection.send(b"".join(task.packet for task in new))
            except Failure:
                self._forget(connection)
                raise
        while self._tasks:
            waited_for = dict.fromkeys(task.connection for task in self._tasks if task.connection)
            for connection in wait(waited_for, self._words.seconds):
                if not connection.received:
                    try:
                        connection.receive()
                    except Failure:
                        self._forget(connection)
                        raise
                while connection.received:
                    self._take(connection, connection.received.popleft())

    def _connected(self) -> Connection:
        """
        The first server that there is a connection to, or can be.

        @raise Failure: none answers.
        """
        last: Failure | None = None
        for connection in self._connections:
            try:
                connection.connect(self._words.seconds)
            except Failure as error:
                if error.code != UNREACHABLE:
                    raise
                last = error
            else:
                return connection
        assert last is not None
        raise last

    def _forget(self, connection: Connection) -> None:
        """What is to be known of the jobs of a server that has gone is lost."""
        self._tasks = [task for task in self._tasks if task.connection is not connection]
        self._unanswered = deque(task for task in self._unanswered if task.connection is not connection)

    def _take(self, connection: Connection, received: Received) -> None:
        """Do what a packet asks for."""
        kind, (*arguments,) = received
        if kind in (JOB_CREATED, ERROR):
            task = next((task for task in self._unanswered if task.connection is connection), None)
            if task is not None:
                self._unanswered.remove(task)
            if kind == ERROR:
                if task is not None:
                    self._tasks.remove(task)
                raise _refused(bytes(arguments[0]), bytes(arguments[1]))
            if task is not None:
                self._created(task, bytes(arguments[0])[:MOST_HANDLE])
            return
        handle = bytes(arguments[0]).rstrip(b"\0") if arguments else b""
        for task in self._tasks:
            if handle and task.handle == handle and task.connection is connection:
                self._show(task, kind, [bytes(argument) for argument in arguments[1:]])
                return

    def _created(self, task: Task, handle: bytes) -> None:
        task.handle = handle
        if self._words.verbose:
            self._stdio.print(b"Task created: " + handle + b"\n")
        if self._words.background:
            self._tasks.remove(task)

    def _show(self, task: Task, kind: int, arguments: Sequence[bytes]) -> None:
        """Show what a server says of a job."""
        prefix = task.function + b": " if self._words.prefix else b""
        if kind in (WORK_COMPLETE, WORK_EXCEPTION, WORK_FAIL):
            self._tasks.remove(task)
        if kind in (WORK_DATA, WORK_COMPLETE):
            if prefix:
                self._stdio.print(prefix)
                self._stdio.flush()
            try:
                self._stdio.write(arguments[0])
            except OSError as error:
                self.troubled = True
                raise Failure("GEARMAN_ERRNO", f"write ({error.strerror})") from error
        elif kind in (WORK_WARNING, WORK_EXCEPTION):
            self._stdio.complain(prefix + arguments[0])
            self.failed |= kind == WORK_EXCEPTION and self._words.strict
        elif kind == WORK_FAIL:
            self._stdio.complain(prefix + b"Job failed\n")
            self.failed = True
        elif kind == WORK_STATUS:
            done, whole = (atoi(argument, signed=False) for argument in arguments)
            # The product has 32 bits in C, and a division by 0 ends the program.
            percent = done * 100 % 2**32 // whole if whole else 0
            self._stdio.print(prefix + b"%d%% Complete\n" % percent)


_ENDS: Final = frozenset(
    ("GEARMAN_LOST_CONNECTION", "GEARMAN_COULD_NOT_CONNECT", "GEARMAN_TIMEOUT", "GEARMAN_ERRNO")
)
"""The errors after which there is nothing to wait for."""


def _invalid(line: int, what: str) -> Failure:
    return Failure.at("GEARMAN_INVALID_ARGUMENT", "add_task", f"add.cc:{line}", what)


def _refused(code: bytes, text: bytes) -> Failure:
    """The error of a server's ERROR."""
    known = code if code in KNOWN_ERRORS else b"SERVER_ERROR"
    what = os.fsdecode(code + b":" + text)
    return Failure.at(f"GEARMAN_{os.fsdecode(known)}", "_client_run_tasks", "client.cc:1603", what)


def workloads(words: Words, stdin: BinaryIO) -> Iterator[bytes | None]:
    """The workloads that the command line asks for, in their order."""
    if words.rest:
        yield from map(os.fsencode, words.rest)
    elif words.no_input:
        yield None
    elif words.by_line:
        while line := stdin.readline(-1 if words.strict else LINE):
            yield _job_of(line, words)
    else:
        yield stdin.read() or None


def _job_of(line: bytes, words: Words) -> bytes:
    if words.strict:
        return line.removesuffix(b"\n") if words.stripped else line
    # A text of C's ends at a NUL, and the last byte goes whatever it is.
    text = line.partition(b"\0")[0]
    return text[:-1] if words.stripped else text
