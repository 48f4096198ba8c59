"""
Jobs that commands do: what goes in, what comes out, and what is made of how a command ends.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, succeed

from txgear.protocol.constants import MAX_HANDLE, MAX_PACKET
from txgear.runtime.outputlines import LastLine, Lines, Tail, progress
from txgear.runtime.processes import PROGRESS, STDERR, STDOUT, CommandProcess, Ending
from txgear.runtime.processgroups import Guard
from txgear.worker import Fail, FailWithText, WorkerJob

MOST_OUTPUT: Final = MAX_PACKET - MAX_HANDLE - 1
"""Bytes of a result at the most, as it leaves in one packet."""
GRACE_SECONDS: Final = 5.0
"""Between the SIGTERM that asks a command to end and the SIGKILL, where nothing else is said."""
DONE: Final = "done"
FAILED: Final = "failed"
VOID: Final = "void"
"""The attempt does not count here: the server has taken the job back, or gets it back."""


@dataclass(frozen=True)
class Manner:
    """
    How jobs are done.

    @ivar words: the command and its arguments.
    @ivar lines: what it writes leaves as it comes, each line as data.
    @ivar strip: without the ends of the lines.
    @ivar progress: whether it may tell its progress.
    @ivar stderr: C{show}, C{warning} or C{hide}.
    @ivar plain_fail: whether a failure has no text.
    @ivar limit: seconds that it may take; 0 for no bound.
    @ivar grace: seconds between SIGTERM and SIGKILL.
    @ivar hint: what a failure says as well whose command has written too much.
    """

    words: Sequence[str]
    lines: bool = False
    strip: bool = False
    progress: bool = False
    stderr: str = "show"
    plain_fail: bool = False
    limit: float = 0.0
    grace: float = GRACE_SECONDS
    hint: str = ""


@dataclass
class Account:
    """
    What there is to say of a job.

    @ivar size: bytes of its workload.
    @ivar outcome: L{DONE}, L{FAILED} or L{VOID}.
    @ivar why: why it failed or is void; empty for neither.
    @ivar seconds: how long it took here.
    @ivar output: bytes of its result, with those that were sent as data.
    @ivar ending: how the command has ended; C{None} where there was none.
    """

    job: WorkerJob
    size: int
    outcome: str = DONE
    why: str = ""
    seconds: float = 0.0
    output: int = 0
    ending: Ending | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        status, signal = self.ending or (None, None)
        return {
            "handle": shown(self.job.handle),
            "function": shown(self.job.function),
            "unique": shown(self.job.unique),
            "server": self.job.server,
            "attempt": self.job.attempt,
            "workload_size": self.size,
            "output_size": self.output,
            "seconds": round(self.seconds, 3),
            "outcome": self.outcome,
            "why": self.why or None,
            "exit_status": status,
            "signal": signal,
        }


def shown(name: bytes) -> str:
    """A name for people: what is no text is escaped."""
    return name.decode("utf-8", "backslashreplace")


def environment(job: WorkerJob, inherited: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """
    The environment of a command: ours, and what there is to know of the job. Its trace has the names by which
    programs that are traced look for it.
    """
    trace = {} if job.trace is None else job.trace.as_json()
    return {
        **inherited,
        b"TXGEAR_HANDLE": job.handle,
        b"TXGEAR_FUNCTION": job.function,
        b"TXGEAR_UNIQUE": job.unique,
        b"TXGEAR_ATTEMPT": b"%d" % job.attempt,
        b"TXGEAR_SIZE": b"%d" % len(job.workload),
        **{name.upper().encode("ascii"): value.encode("ascii") for name, value in trace.items()},
    }


class JobRun:
    """
    A command that does a job.

    @ivar account: what there is to say of it.
    """

    def __init__(
        self,
        reactor: Any,
        manner: Manner,
        guard: Guard | None,
        inherited: Mapping[bytes, bytes],
        report: Callable[[Account], object],
        job: WorkerJob,
    ) -> None:
        """
        @param guard: is told of the command; C{None} for nobody.
        @param inherited: the worker's environment.
        @param report: called once when all has ended, before the server is told.
        """
        self.account = Account(job, len(job.workload))
        self._reactor = reactor
        self._manner = manner
        self._guard = guard
        self._inherited = inherited
        self._report = report
        self._began = reactor.seconds()
        self._process: CommandProcess | None = None
        self._abandoned = False
        self._waiting: list[Deferred[None]] | None = []
        self._result: list[bytes] = []
        self._lines = Lines(manner.strip)
        self._warnings = Lines(strip=True)
        self._tail = Tail()
        self._progress = LastLine()

    async def do(self) -> bytes:
        """
        Do the job.

        @return: its result.
        @raise Fail: it has failed.
        @raise FailWithText: it has failed, with a text.
        """
        job, account = self.account.job, self.account
        try:
            process = self._process = self._start()
        except OSError as error:
            account.outcome = FAILED
            account.why = f"cannot start {self._manner.words[0]}: {error.strerror}"
            self._report(account)
            raise self._failure() from error
        # The process has it now, and frees it with what it has read.
        job.workload = b""
        if self._guard is not None:
            self._guard.begins(process.group)
        limit = self._manner.limit
        timer = self._reactor.callLater(limit, self._overdue) if limit else None
        try:
            account.ending = await process.when_ended()
        except CancelledError:
            account.outcome, account.why = VOID, job.why_gone
            process.end(self._manner.grace)
            # It counts as running until no process is left.
            account.ending = await process.when_ended()
            raise
        finally:
            if timer is not None and timer.active():
                timer.cancel()
            if self._guard is not None:
                self._guard.has_ended(process.group)
            account.seconds = self._reactor.seconds() - self._began
            if account.ending is not None:
                self._end(account.ending)
        if self._abandoned:
            # The server gets it back with the end of the connection.
            await Deferred[None]()
        if account.outcome == DONE:
            return b"".join(self._result)
        if self._result:
            job.send_data(b"".join(self._result))
        raise self._failure()

    def abandon(self, why: str) -> None:
        """
        End the command, and tell the server nothing: whoever calls this ends the connection afterwards.
        """
        self._abandoned = True
        self.account.outcome, self.account.why = VOID, why
        if self._process is not None:
            self._process.end(self._manner.grace)

    def when_over(self) -> Deferred[None]:
        """
        Wait until no process is left.

        @return: fires then; at once if none is. Cancelling it changes nothing.
        """
        if self._waiting is None:
            return succeed(None)
        over: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(over)
        return over

    def _start(self) -> CommandProcess:
        job = self.account.job
        outputs: dict[int, Callable[[bytes], object]] = {STDOUT: self._out, STDERR: self._err}
        if self._manner.progress:
            outputs[PROGRESS] = self._tell_progress
        return CommandProcess(
            self._reactor, self._manner.words, environment(job, self._inherited), job.workload, outputs
        )

    # What it writes

    def _out(self, data: bytes) -> None:
        account = self.account
        account.output += len(data)
        if self._manner.lines:
            self._send(account.job.send_data, self._lines.feed(data))
        elif account.output <= MOST_OUTPUT:
            self._result.append(data)
        else:
            self._result.clear()
            self._give_up(f"more than {MOST_OUTPUT} bytes of output{self._manner.hint}")

    def _err(self, data: bytes) -> None:
        self._tail.feed(data)
        if self._manner.stderr == "warning":
            self._send(self.account.job.send_warning, self._warnings.feed(data))
        elif self._manner.stderr == "show":
            # Whoever has closed it cannot be told.
            with contextlib.suppress(OSError):
                sys.stderr.buffer.write(data)
                sys.stderr.buffer.flush()

    def _tell_progress(self, data: bytes) -> None:
        line = self._progress.feed(data)
        if line is not None and (found := progress(line)):
            self.account.job.set_status(*found)

    def _send(self, send: Callable[[bytes], object], lines: list[bytes]) -> None:
        for line in lines:
            send(line)
        if (sent := self.account.job.when_sent()).called or self._process is None:
            return
        # The server reads more slowly than the command writes.
        self._process.pause()
        _ = sent.addCallback(self._go_on)

    def _go_on(self, _: None) -> None:
        if self._process is not None:
            self._process.resume()

    # Its end

    def _overdue(self) -> None:
        self._give_up(f"the time limit of {self._manner.limit:g} s was over")

    def _give_up(self, why: str) -> None:
        if self.account.outcome != DONE:
            # It is being ended.
            return
        self.account.outcome, self.account.why = FAILED, why
        assert self._process is not None
        self._process.end(self._manner.grace)

    def _end(self, ending: Ending) -> None:
        """No process is left: see what came of it, and tell."""
        account = self.account
        if account.outcome == DONE and ending.status != 0:
            account.outcome, account.why = FAILED, str(ending)
        if account.outcome != VOID:
            self._send(account.job.send_data, self._lines.end())
            if self._manner.stderr == "warning":
                self._send(account.job.send_warning, self._warnings.end())
        self._process = None
        self._report(account)
        waiting, self._waiting = self._waiting or [], None
        for over in waiting:
            over.callback(None)

    def _failure(self) -> Exception:
        if self._manner.plain_fail:
            return Fail()
        tail = self._tail.text()
        why = self.account.why.encode()
        return FailWithText(why + b": " + tail if tail else why)


class CommandFunction:
    """
    A function whose jobs a command does. No guard watches over it: it has the mark of the process that starts
    it, and is ended with that.
    """

    def __init__(self, reactor: Any, manner: Manner, inherited: Mapping[bytes, bytes]) -> None:
        """
        @param inherited: the worker's environment.
        """
        self._reactor = reactor
        self._manner = manner
        self._inherited = inherited

    async def __call__(self, job: WorkerJob) -> bytes:
        """
        Do a job. Cancelling it ends the command, and all that it has started.

        @return: its result.
        @raise FailWithText: it has failed.
        """
        run = JobRun(self._reactor, self._manner, None, self._inherited, lambda _: None, job)
        return await run.do()
