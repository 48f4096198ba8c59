"""
C{gearman -w}: runs a command for each job.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Final, NamedTuple

from txgear.cli.imitate.gearmanwords import Words
from txgear.cli.imitate.libgearman import LOST, TIMEOUT, UNREACHABLE, Connection, Failure, wait
from txgear.cli.imitate.stdio import Stdio
from txgear.protocol.constants import (
    CAN_DO,
    GRAB_JOB_ALL,
    JOB_ASSIGN,
    JOB_ASSIGN_ALL,
    JOB_ASSIGN_UNIQ,
    NO_JOB,
    NOOP,
    OPTION_RES,
    PRE_SLEEP,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_FAIL,
)
from txgear.protocol.packets import PACKETS, request

MOST_FUNCTION: Final = 512
LINE: Final = 1023
"""Bytes of a command's line that are sent at once, unless it is strict."""

PAUSE: Final = 1.0
"""
Seconds before servers that did not answer are tried again. The C tool tries at once, 30,000 times a second,
and waits for ten seconds where a connection has ended.
"""

_AGAIN_LATER: Final = (UNREACHABLE, "GEARMAN_GETADDRINFO")
_ASSIGNED: Final = (JOB_ASSIGN, JOB_ASSIGN_UNIQ, JOB_ASSIGN_ALL)


class Job(NamedTuple):
    """A job to be done."""

    connection: Connection
    handle: bytes
    workload: bytes


class Worker:
    """
    Takes jobs from servers.

    @ivar troubled: whether there was an error.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        words: Words,
        stdio: Stdio,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """
        @raise Failure: there is a function that cannot be.
        """
        self.troubled = False
        self._connections = connections
        self._words = words
        self._stdio = stdio
        self._sleep = sleep
        # The connection that a job came from is asked again first.
        self._next = 0
        packets = []
        for name in map(os.fsencode, words.functions):
            if len(name) > MOST_FUNCTION:
                raise _invalid(1323, "function name longer then GEARMAN_MAX_FUNCTION_SIZE")
            if not name:
                raise _invalid(1327, "invalid function")
            packets.append(request(CAN_DO, name))
        self._abilities = b"".join(reversed(packets))

    def run(self) -> None:
        """Do jobs, as many as C{-c} says, of which errors are some."""
        left = self._words.count
        while True:
            done, pause = 1, False
            try:
                done = self._work()
            except Failure as error:
                self.troubled = True
                self._stdio.complain(os.fsencode(f"gearman: gearman_worker_work : {error.text}\n"))
                pause = error.code in _AGAIN_LATER or self._words.timeout == 0
            if left:
                left = max(left - done, 0)
                if not left:
                    return
            if pause:
                self._sleep(PAUSE)

    def _work(self) -> int:
        """
        Wait for a job, and do it.

        @return: how many that counts for: the C tool counts one that fails twice.
        @raise Failure: there is no job.
        """
        job = self._grab()
        try:
            succeeded, result = self._do(job)
            if succeeded:
                job.connection.send(request(WORK_COMPLETE, job.handle, result))
                return 1
            if result:
                job.connection.send(request(WORK_DATA, job.handle, result))
            job.connection.send(request(WORK_FAIL, job.handle))
        except Failure:
            # The server has gone, and gives the job to another worker. The next grab connects again.
            return 1
        if self._words.strict:
            return 1
        self._stdio.complain(b"gearman: gearman_worker_work : GEARMAN_UNKNOWN_STATE\n")
        return 2

    def _grab(self) -> Job:
        """
        Wait for a job.

        @raise Failure: no server answers, or one with something else.
        """
        while True:
            last: Failure | None = None
            for place in range(self._next, len(self._connections)):
                connection = self._connections[place]
                try:
                    if not connection.connected:
                        connection.connect(self._words.seconds)
                        connection.send(self._abilities)
                    connection.send(request(GRAB_JOB_ALL))
                    job = self._answer(connection)
                except Failure as error:
                    if error.code not in (UNREACHABLE, LOST):
                        raise
                    last = error
                    continue
                if job is not None:
                    self._next = place
                    return job
            self._next = 0
            asleep = [each for each in self._connections if self._sleeps(each)]
            if asleep:
                wait(asleep, self._words.seconds, True)
            elif last is not None and last.code == UNREACHABLE:
                raise last
            elif self._words.seconds is None:
                self._sleep(PAUSE)
            else:
                self._sleep(self._words.seconds)
                what = "Option timeout return reached"
                raise Failure.at(TIMEOUT, "gearman_worker_grab_job", "worker.cc:968", what)

    def _answer(self, connection: Connection) -> Job | None:
        """The job that a server gives, if it has one."""
        while True:
            if not connection.received:
                wait([connection], self._words.seconds, True)
                connection.receive()
                continue
            kind, arguments = connection.received.popleft()
            if kind in _ASSIGNED:
                return Job(connection, bytes(arguments[0]), bytes(arguments[-1]))
            if kind in (NO_JOB, OPTION_RES):
                return None
            if kind != NOOP:
                name = PACKETS[kind][0] if kind in PACKETS else "MAX"
                what = f"unexpected packet:GEARMAN_{name}"
                code = "GEARMAN_UNEXPECTED_PACKET"
                raise Failure.at(code, "gearman_worker_grab_job", "worker.cc:884", what)

    def _sleeps(self, connection: Connection) -> bool:
        """Tell a server to wake this worker when it has a job; whether it hears that."""
        if not connection.connected:
            return False
        try:
            connection.send(request(PRE_SLEEP))
        except Failure:
            # It is connected again before the next grab.
            return False
        return True

    def _do(self, job: Job) -> tuple[bool, bytes]:
        """
        Do a job.

        @return: whether that succeeded, and the result.
        @raise Failure: its server has gone meanwhile.
        """
        if not self._words.rest:
            try:
                self._stdio.write(job.workload)
            except OSError as error:
                self._system("write", error)
            return True, b""
        try:
            process = subprocess.Popen(
                self._words.rest,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # The C tool ignores SIGPIPE, and so do its commands.
                restore_signals=self._words.strict,
            )
        except OSError as error:
            self._system("execvp", error)
            return not self._words.strict, b""
        result = b""
        if self._words.by_line:
            self._pass_lines(process, job)
        else:
            result = process.communicate(job.workload)[0]
        status = process.wait()
        # The C tool looks at the exit status alone, which is 0 where a signal was the end.
        return not (status > 0 or (status and self._words.strict)), result

    def _pass_lines(self, process: subprocess.Popen[bytes], job: Job) -> None:
        """Send each line of a command's output as it comes."""
        assert process.stdin is not None
        assert process.stdout is not None
        feeder = threading.Thread(target=_feed, args=(process.stdin, job.workload), daemon=True)
        feeder.start()
        try:
            with process.stdout as output:
                for data in _lines(output, self._words):
                    job.connection.send(request(WORK_DATA, job.handle, data))
        except Failure as error:
            self.troubled = True
            self._stdio.complain(f"gearman: gearman_job_send_data() failed with : {error.code}\n".encode())
            raise
        finally:
            process.wait()
            feeder.join()

    def _system(self, what: str, error: OSError) -> None:
        """Say what the system refuses; the C tool means to, but does not."""
        self.troubled = True
        if self._words.strict:
            self._stdio.complain(os.fsencode(f"gearman: {what} ({error.strerror})\n"))


def _feed(stdin: IO[bytes], workload: bytes) -> None:
    """Give a command its input, while its output is read."""
    try:
        with stdin:
            stdin.write(workload)
    except BrokenPipeError:
        # It does not want all of it.
        return


def _lines(output: IO[bytes], words: Words) -> Iterator[bytes]:
    """What is sent of a command's output, line by line."""
    if words.strict:
        for line in output:
            yield line.removesuffix(b"\n") if words.stripped else line
        return
    # The C tool never empties its buffer, cuts at a NUL, and takes the last byte off whatever it is.
    buffer = b""
    while line := output.readline(LINE):
        buffer += line.partition(b"\0")[0]
        if not words.stripped:
            yield buffer
        elif buffer:
            # Of an empty one it would send bytes of any memory.
            yield buffer[:-1]


def _invalid(line: int, what: str) -> Failure:
    return Failure.at("GEARMAN_INVALID_ARGUMENT", "_worker_function_create", f"worker.cc:{line}", what)
