"""
The worker of C{txgear work}, from its start to its end.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.defer import TimeoutError as Overdue
from twisted.internet.threads import deferToThread

from txgear.cli.base.options import Servers
from txgear.cli.base.output import printable, write_json
from txgear.cli.base.quantities import age, size
from txgear.cli.base.statuses import DONE, UNREACHABLE, CommandError
from txgear.cli.run.reacting import made, peer_arguments
from txgear.runtime.commandjobs import DONE as JOB_DONE
from txgear.runtime.commandjobs import Account, JobRun, Manner, shown
from txgear.runtime.processgroups import Guard
from txgear.worker import Worker, WorkerJob

NAME: Final = "txgear work"
STOP_SECONDS: Final = 2_000_000.0
"""How long jobs may go on when the worker stops: some 23 days. A second signal ends them."""


@dataclass(frozen=True)
class Plan:
    """
    What the worker is to do.

    @ivar functions: their names.
    @ivar manner: how each job is done; C{None}: its workload is written to the standard output.
    @ivar jobs: how many at once.
    @ivar count: after so many it ends; C{None} for never.
    @ivar client_id: what servers call it.
    @ivar verbose: each job is a line on the standard error, and not only those that failed.
    @ivar as_json: each job is an object on the standard output.
    """

    functions: Sequence[bytes]
    manner: Manner | None
    jobs: int = 1
    count: int | None = None
    client_id: str = ""
    verbose: bool = False
    as_json: bool = False


class Work:
    """
    A worker whose jobs a command does.
    """

    def __init__(
        self, reactor: Any, servers: Servers, plan: Plan, guard: Guard | None, ready: Callable[[], object]
    ) -> None:
        """
        @param ready: called once the worker works.
        @raise CommandError: the plan makes no sense.
        """
        self._reactor = reactor
        self._servers = servers
        self._plan = plan
        self._guard = guard
        self._ready = ready
        self._inherited = dict(os.environb)
        self._runs: set[JobRun] = set()
        self._over: Deferred[None] = Deferred()
        self._starting: Deferred[None] | None = None
        self._worker = made(
            Worker,
            reactor,
            **peer_arguments(servers),
            concurrency=plan.jobs,
            most_jobs=plan.count,
            client_id=plan.client_id,
            stop_timeout=STOP_SECONDS,
        )
        call = self._print if plan.manner is None else self._run
        for name in plan.functions:
            made(self._worker.register, name, call)

    async def work(self) -> int:
        """
        Work until the worker stops. Cancelling it ends what runs, and gives the jobs back.

        @return: the exit status.
        @raise CommandError: no server answers at the start.
        @raise AccessDenied: none lets it work.
        @raise BrokenPipeError: nobody reads the standard output any more.
        """
        self._worker.startService()
        try:
            self._starting = self._worker.when_working().addTimeout(self._servers.timeout, self._reactor)
            await self._starting
        except Overdue:
            raise self._nobody_there() from None
        finally:
            self._starting = None
        if self._plan.verbose:
            functions = ", ".join(
                printable(name.decode("utf-8", "backslashreplace")) for name in self._plan.functions
            )
            self._say(f"works at {', '.join(self._servers.names)}: {functions}")
        self._ready()
        _ = self._worker.when_stopped().addCallback(lambda _: self._ended())
        try:
            await self._over
            # Those that the server has taken back may not have ended.
            await gatherResults([run.when_over() for run in self._runs])
        except (CancelledError, BrokenPipeError):
            await self._end_runs()
            raise
        return DONE

    def stop(self) -> None:
        """Take no more jobs, and end when those that run are done."""
        if self._starting is not None:
            self._starting.cancel()
            return
        if self._runs:
            count = len(self._runs)
            self._say(f"finishes {count} {'job' if count == 1 else 'jobs'}; a second signal ends them")
        _ = self._worker.stopService()

    def _nobody_there(self) -> CommandError:
        problems = self._worker.problems
        said = "; ".join(
            f"{name}: {problems.get(name, 'it does not answer in time')}" for name in self._servers.names
        )
        return CommandError(said, UNREACHABLE)

    def _ended(self, error: Exception | None = None) -> None:
        if self._over.called:
            return
        if error is None:
            self._over.callback(None)
        else:
            self._over.errback(error)

    async def _end_runs(self) -> None:
        """End all commands; they are done with when no process is left."""
        runs = list(self._runs)
        for run in runs:
            run.abandon("the worker ends: the server gets it back")
        await gatherResults([run.when_over() for run in runs])

    # Jobs

    async def _run(self, job: WorkerJob) -> bytes:
        assert self._plan.manner is not None
        run = JobRun(self._reactor, self._plan.manner, self._guard, self._inherited, self._report, job)
        self._runs.add(run)
        try:
            return await run.do()
        finally:
            self._runs.discard(run)

    async def _print(self, job: WorkerJob) -> bytes:
        """Do a job without a command: its workload is for who reads our standard output."""
        account = Account(job, len(job.workload))
        began = self._reactor.seconds()
        said: dict[str, str] | None = None
        try:
            if self._plan.as_json:
                said = _as_member(job.workload)
            else:
                # In a thread, as who reads may take long, and the servers want signs of life meanwhile.
                await deferToThread(_write, job.workload)
            account.seconds = self._reactor.seconds() - began
            self._tell(account, said)
        except BrokenPipeError as error:
            self._ended(error)
            # The server gets the job back with the end of the connection.
            await Deferred[None]()
        return b""

    # What it says

    def _report(self, account: Account) -> None:
        """A command has done a job: that counts, whether or not anybody reads of it."""
        try:
            self._tell(account)
        except BrokenPipeError as error:
            self._ended(error)

    def _tell(self, account: Account, more: dict[str, str] | None = None) -> None:
        """
        Say what became of a job.

        @raise BrokenPipeError: nobody reads.
        """
        if self._plan.verbose or account.outcome != JOB_DONE:
            self._say(line_of(account))
        if self._plan.as_json:
            write_json({**account.as_json(), **(more or {})})
            sys.stdout.flush()

    def _say(self, text: str) -> None:
        print(f"{NAME}: {printable(text)}", file=sys.stderr)


def line_of(account: Account) -> str:
    """A line for people about a job."""
    said = account.why or f"{size(account.size)} in, {size(account.output)} out"
    name = f"{shown(account.job.handle)} {shown(account.job.function)}"
    return f"{name}: {account.outcome} after {age(account.seconds)}: {said}"


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _as_member(workload: bytes) -> dict[str, str]:
    """A workload in JSON: C{workload}, or C{base64} for bytes that are no text."""
    try:
        return {"workload": workload.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(workload).decode("ascii")}
