"""
The worker: registers functions at all its servers, and runs the jobs they give it.
"""

from __future__ import annotations

import random as _random
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from threading import Thread
from typing import Any, Final, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from txgear.net import arguments as _arguments
from txgear.net.arguments import Text
from txgear.net.connector import Connector
from txgear.net.serverconnection import Limits
from txgear.net.servers import Server, ServerArgument, server_list
from txgear.net.steady import steady
from txgear.net.watchdog import ANSWER_SECONDS, HEARTBEAT_SECONDS
from txgear.protocol.constants import (
    EXTENSION_OPTION,
    MAX_PACKET,
    OPTION_REQ,
    SET_CLIENT_ID,
    WORK_COMPLETE,
    WORK_EXCEPTION,
    WORK_FAIL,
)
from txgear.protocol.packets import request
from txgear.worker.connection import AWAKE, GRABBING, OVERDUE, WorkerConnection, WorkerJob
from txgear.worker.functions import Ability, Fail, Function, Runner, partitioned

__all__ = ["Fail", "Worker", "WorkerJob"]

STOP_SECONDS: Final = 60.0
"""
How long jobs may go on when the worker stops. It is less than the 90 seconds
after which systemd kills a service.
"""

GRAB_SECONDS: Final = 1.0
"""
How long a server that was asked for a job keeps its claim to the room for it.
After that another one is asked as well: a worker must not stand idle at a
server that is dead.
"""
MAX_EXCEPTION: Final = 65536
"""Bytes of an exception's text that are sent at the most."""

FunctionT = TypeVar("FunctionT", bound=Function)
InThread = Callable[[Function, WorkerJob], "Deferred[Any]"]
"""Runs a blocking function with its job, and fires with what it returns."""


class Worker(Service):
    """
    A worker at one or several job servers, at all of them at once.

    Functions are registered with L{function}, and jobs come from
    L{startService} to L{stopService}. A server that goes away is connected
    again, and told the functions again; the others go on meanwhile.

    When a connection is lost, the server gives its jobs to other workers. So
    they are given up here: the Deferred or coroutine of each is cancelled. A
    function in a thread cannot be stopped; what it returns is dropped, and it
    counts as running until it does. The same goes for a job whose time is up,
    and for one that the server takes back.

    Where a function has a lease at the server, the worker beats by itself until
    the job's Deferred has fired or its thread has returned. So a lease notices
    that a worker is gone or stands still, and not that a thread hangs: a timeout does.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        servers: ServerArgument | Iterable[ServerArgument],
        *,
        concurrency: int = 1,
        client_id: Text = b"",
        stop_timeout: float = STOP_SECONDS,
        answer_timeout: float = ANSWER_SECONDS,
        heartbeat: float = HEARTBEAT_SECONDS,
        max_packet: int = MAX_PACKET,
        random: Callable[[], float] = _random.random,
        in_thread: InThread | None = None,
    ) -> None:
        """
        @param servers: endpoint strings (C{tcp:host:port}, C{tls:host:port},
            C{unix:/path}), or C{host}, C{host:port}, an address,
            C{[address]:port}, or endpoint objects. Names are resolved anew at
            each attempt.
        @param concurrency: how many jobs run at once, those of all servers together.
        @param client_id: what the server's list of workers calls this one.
        @param stop_timeout: seconds that jobs may go on when the worker stops.
        @param answer_timeout: seconds after which a server that leaves a
            request without an answer is given up.
        @param heartbeat: seconds of silence after which a server is asked for
            an echo; it is given up when that is not there after as long again.
        @param max_packet: bytes of the largest workload that is taken, and of
            the largest result that is sent.
        @param random: numbers from 0 to 1, to spread the attempts to connect.
        @param in_thread: runs a blocking function, given it and its job, and
            returns a Deferred; by default in a pool of C{concurrency} threads
            of the worker's own.
        @raise ValueError: a server is not understood, or there is none, or a number makes no sense.
        @raise TypeError: an argument of a wrong type.
        """
        self._servers = server_list(reactor, servers)
        self._reactor = reactor
        self._clock = steady(reactor)
        self._concurrency = _arguments.count("concurrency", concurrency)
        self._client_id = _arguments.client_id(client_id)
        self._stop_timeout = _arguments.seconds("stop_timeout", stop_timeout)
        self._limits = Limits.checked(heartbeat, answer_timeout, max_packet)
        _arguments.check_callable("random", random)
        self._random = random
        if in_thread is not None:
            _arguments.check_callable("in_thread", in_thread)
        self._in_thread = in_thread or self._run_in_pool
        self._pool: ThreadPool | None = None
        self._abilities: dict[bytes, Ability] = {}
        self._grabs: dict[Server, int] = {}
        self._connectors: dict[Server, Connector[WorkerConnection]] = {}
        self._leaving: set[Server] = set()
        self._problems: dict[Server, str] = {}
        self._ready: list[WorkerConnection] = []
        self._running: set[WorkerJob] = set()
        self._held: deque[WorkerJob] = deque()
        self._grab_timer: IDelayedCall | None = None
        self._stop_timer: IDelayedCall | None = None
        self._stopping: list[Deferred[None]] = []

    # Functions

    def function(
        self,
        name: Text,
        *,
        timeout: float | None = None,
        blocking: bool = False,
        json: bool = False,
    ) -> Callable[[FunctionT], FunctionT]:
        """
        A decorator that registers what it decorates under a name::

            @worker.function("reverse", timeout=30)
            def reverse(job):
                return job.workload[::-1]

        The function is called with a L{WorkerJob}. It returns bytes, text (sent as
        UTF-8) or C{None}, or a Deferred of one of them, or is a coroutine
        function. Where it raises L{Fail}, the job fails; where it raises
        anything else, the client is told the exception's text, and the log has all of it.

        @param timeout: seconds that a job may take; the server then gives it
            to another worker, and this one gives it up. Servers take any time
            under a second for a second.
        @param blocking: call it in a thread. Otherwise everything else stands
            still until it returns.
        @param json: it returns a value that is sent as JSON.
        @raise ValueError: the name cannot be sent or is registered already, or
            the timeout is not positive.
        @raise TypeError: the name is none: the decorator was written without it, for instance;
            or what is decorated is nothing that gives a result.
        """
        if callable(name):
            raise TypeError('a function has a name at the servers: @worker.function("name")')
        _arguments.function_name(name)

        def register(call: FunctionT) -> FunctionT:
            self.register(name, call, timeout=timeout, blocking=blocking, json=json)
            return call

        return register

    def register(
        self,
        name: Text,
        call: Function,
        *,
        timeout: float | None = None,
        blocking: bool = False,
        json: bool = False,
    ) -> None:
        """
        What L{function} does, without a decorator. Connected servers are told at once.

        @param call: called with each job.
        @raise ValueError: as for L{function}.
        @raise TypeError: as for L{function}.
        """
        checked = _arguments.function_name(name)
        if checked in self._abilities:
            raise ValueError(f"function {name!r} is registered already")
        ability = Ability(checked, call, timeout, blocking, json)
        self._abilities[checked] = ability
        for connection in self._connected():
            connection.announce(ability.packet)
        self.jobs_wanted()

    def partition(
        self,
        name: Text,
        client: Runner,
        *,
        aggregate: Callable[[list[bytes]], Any],
        timeout: float | None = None,
    ) -> Callable[[FunctionT], FunctionT]:
        """
        A decorator that registers a function which cuts jobs into parts, as
        libgearman's partition functions do::

            @worker.partition("count", client, aggregate=add_up)
            def lines(job):
                return job.workload.splitlines()

        Each part becomes a job of the function that the submit named as its
        reducer. What C{aggregate} makes of all their results, in the order of
        the parts, is the result. If one of them fails, the job does.

        A job without a reducer gets the parts themselves, sent as data.

        The parts run at other workers, or at this one, if its C{concurrency}
        leaves room beside the job that waits for them.

        @param client: submits the parts.
        @param aggregate: called with the list of results; returns what a
            function may return.
        @param timeout: as for L{function}.
        @raise ValueError: as for L{function}.
        @raise TypeError: as for L{function}, or C{client} has no C{run}.
        """
        _arguments.function_name(name)
        _arguments.check_callable("aggregate", aggregate)
        if not callable(getattr(client, "run", None)):
            raise TypeError(f"client is {type(client).__name__}, not a Client")

        def register(split: FunctionT) -> FunctionT:
            _arguments.check_callable("split", split)
            self.register(name, partial(partitioned, client, split, aggregate), timeout=timeout)
            return split

        return register

    # Twisted's hooks

    def startService(self) -> None:
        """
        Connect to all servers, and begin to work; while the worker stops, as soon as it has stopped.
        """
        super().startService()
        if not self._stopping:
            self._begin()

    def _begin(self) -> None:
        for server in self._servers:
            if server not in self._connectors:
                connector = Connector(
                    self._clock, [server], self._connection, self._unreachable, self._random
                )
                self._connectors[server] = connector
                connector.start()

    def stopService(self) -> Deferred[None]:
        """
        Take no more jobs, finish those that run, and leave. What has not ended
        after C{stop_timeout} is given up, and the servers give it to others.

        @return: fires when all connections have ended. Cancelling it changes nothing about that.
        """
        super().stopService()
        stopped: Deferred[None] = Deferred()
        self._stopping.append(stopped)
        if self._stop_timer is None:
            self._stop_timer = self._clock.callLater(self._stop_timeout, self._stop_now)
        self._leave()
        return stopped

    def _leave(self) -> None:
        """Close the connections over which nothing is under way any more."""
        for server, connector in list(self._connectors.items()):
            connection = connector.connection
            if server not in self._leaving and (connection is None or connection.closing or connection.idle):
                self._leaving.add(server)
                _ = connector.stop().addBoth(self._left, server)
        self._stopped_if_all_left()

    def _left(self, _: object, server: Server) -> None:
        self._leaving.discard(server)
        del self._connectors[server]
        self._stopped_if_all_left()

    def _stopped_if_all_left(self) -> None:
        if self._connectors or not self._stopping:
            return
        for timer in (self._stop_timer, self._grab_timer):
            if timer is not None:
                timer.cancel()
        self._stop_timer = self._grab_timer = None
        pool, self._pool = self._pool, None
        if pool is not None and not any(job.from_thread for job in self._running):
            # A pool whose threads are busy would keep us here until they are not.
            pool.stop()
        waiting, self._stopping = self._stopping, []
        for stopped in waiting:
            stopped.callback(None)
        if self.running and not self._stopping:
            self._begin()

    def _stop_now(self) -> None:
        self._stop_timer = None
        self.log.warn(
            "{count} jobs have not ended within {seconds} seconds; they are given up",
            count=len(self._running),
            seconds=self._stop_timeout,
        )
        for connection in self._connected():
            connection.abort()

    # Connections

    def _connection(self, server: Server) -> WorkerConnection:
        # A server of another kind answers with an ERROR, and all is as it would be without.
        greeting = [request(OPTION_REQ, EXTENSION_OPTION)]
        greeting += [ability.packet for ability in self._abilities.values()]
        if self._client_id:
            greeting.insert(0, request(SET_CLIENT_ID, self._client_id))
        return WorkerConnection(self._clock, server, self._limits, greeting, self, self._grabs)

    def _connected(self) -> list[WorkerConnection]:
        """Those that are not ending, whether the server has answered yet or not."""
        connections = [connector.connection for connector in self._connectors.values()]
        return [connection for connection in connections if connection is not None and not connection.closing]

    def _unreachable(self, server: Server, why: str) -> None:
        """
        A server cannot be reached, for a new reason. Where there is no other, nothing goes on here: of
        all events Twisted shows only critical ones where nobody has set up a log.
        """
        self._problems[server] = why
        if len(self._problems) < len(self._servers):
            self.log.warn("{server} cannot be reached: {why}", server=server.name, why=why)
        else:
            problems = "; ".join(f"{server.name}: {why}" for server, why in self._problems.items())
            self.log.critical(
                "no server can be reached, the worker tries again: {problems}", problems=problems
            )

    def connection_ready(self, connection: WorkerConnection) -> None:
        """A server has answered for the first time."""
        self._problems.pop(connection.server, None)
        self._connectors[connection.server].proved()
        self._ready.insert(0, connection)
        self.log.info(
            "working at {server}: {count} functions",
            server=connection.server.name,
            count=len(self._abilities),
        )
        self.jobs_wanted()

    def connection_lost(self, connection: WorkerConnection, reason: str) -> None:
        """A connection has ended."""
        if connection in self._ready:
            self._ready.remove(connection)
            self.log.info(
                "no longer working at {server}: {reason}", server=connection.server.name, reason=reason
            )
        for job in list(connection.jobs.values()):
            self._abandon(job)
        self.jobs_wanted()

    def jobs_wanted(self) -> None:
        """Ask as many servers for a job as there is room for jobs, each in turn."""
        if self._stopping:
            self._leave()
            return
        asked = [connection.grabbed_at for connection in self._ready if connection.activity == GRABBING]
        room = self._concurrency - len(self._running) - len(self._held)
        awake = [
            connection
            for connection in self._ready
            if connection.activity == AWAKE and not connection.closing
        ]
        for connection in awake[: max(room - len(asked), 0)]:
            self._ready.remove(connection)
            self._ready.append(connection)
            connection.grab()
        if len(awake) > room - len(asked) and room > 0 and asked and self._grab_timer is None:
            overdue = min(asked) + GRAB_SECONDS - self._clock.seconds()
            self._grab_timer = self._clock.callLater(max(overdue, 0.0), self._grab_overdue)

    def _grab_overdue(self) -> None:
        self._grab_timer = None
        now = self._clock.seconds()
        for connection in self._ready:
            if connection.activity == GRABBING and now >= connection.grabbed_at + GRAB_SECONDS:
                connection.activity = OVERDUE
        self.jobs_wanted()

    # Jobs

    def job_assigned(self, job: WorkerJob) -> None:
        """A server has given a job."""
        if len(self._running) < self._concurrency:
            self._start(job)
        else:
            # Two servers have been asked, as one of them took so long to answer.
            self._held.append(job)

    def _start(self, job: WorkerJob) -> None:
        ability = self._abilities.get(job.function)
        if ability is None:
            self.log.warn("{server} gave a job of {function}", server=job.server, function=job.function)
            self._finished(Failure(Fail()), job, False)
            return
        self._running.add(job)
        if ability.timeout is not None:
            job.timer = self._clock.callLater(ability.timeout, self._overdue, job, ability.timeout)
        if ability.blocking:
            job.from_thread = _from_thread(self._reactor)
            job.running = maybeDeferred(self._in_thread, ability.call, job)
        else:
            job.running = maybeDeferred(ability.call, job)
        _ = job.running.addBoth(self._finished, job, ability.json)
        self.jobs_wanted()

    def _run_in_pool(self, call: Function, job: WorkerJob) -> Deferred[Any]:
        if self._pool is None:
            self._pool = ThreadPool(0, self._concurrency, "txgear-worker")
            # A thread that never ends must not keep the process from ending.
            self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
            self._pool.start()
        return deferToThreadPool(IReactorFromThreads(self._reactor), self._pool, call, job)

    def _finished(self, outcome: object, job: WorkerJob, json: bool) -> None:
        """A job's function has returned or raised."""
        self._running.discard(job)
        with job.connection.gathered():
            job.tell(self._end(outcome, job, json))
            self._let_go(job)
            while self._held and len(self._running) < self._concurrency:
                self._start(self._held.popleft())
            self.jobs_wanted()

    def _end(self, outcome: object, job: WorkerJob, json: bool) -> list[bytes]:
        """The packet that ends a job."""
        if not isinstance(outcome, Failure):
            try:
                result = _arguments.json_bytes(outcome) if json else _arguments.result_bytes(outcome)
                return job.packet(WORK_COMPLETE, [job.handle], result)
            except Exception:
                outcome = Failure()
        if outcome.check(Fail):
            return job.packet(WORK_FAIL, [], job.handle)
        if not (job.gone and outcome.check(CancelledError)):
            self.log.failure(
                "job {handle} of {function} raised", outcome, handle=job.handle, function=job.function
            )
        text = f"{type(outcome.value).__name__}: {outcome.getErrorMessage()}"
        return job.packet(WORK_EXCEPTION, [job.handle], text.encode("utf-8", "replace")[:MAX_EXCEPTION])

    def _overdue(self, job: WorkerJob, timeout: float) -> None:
        job.timer = None
        self.log.warn(
            "job {handle} of {function} has not ended within {timeout} seconds; it is given up",
            handle=job.handle,
            function=job.function,
            timeout=timeout,
        )
        self._abandon(job)

    def job_withdrawn(self, job: WorkerJob, reason: str) -> None:
        """The server has given a job up, or will give it to others."""
        self.log.info(
            "{server} takes back job {handle} of {function}: {reason}",
            server=job.server,
            handle=job.handle,
            function=job.function,
            reason=reason,
        )
        self._abandon(job)
        self.jobs_wanted()

    def _let_go(self, job: WorkerJob) -> None:
        """There is nothing more to tell of this job."""
        job.end()
        # The same worker may have been given the same job again.
        if job.connection.jobs.get(job.handle) is job:
            del job.connection.jobs[job.handle]

    def _abandon(self, job: WorkerJob) -> None:
        """Nobody waits for this job here any more: the server gives it to others."""
        self._let_go(job)
        if job in self._held:
            self._held.remove(job)
        elif job.from_thread is None and job.running is not None:
            job.running.cancel()


def _from_thread(reactor: IReactorTime) -> Callable[..., object]:
    """How a thread calls something in the reactor's own; at once where there is only one, as in a test."""
    return reactor.callFromThread if IReactorFromThreads.providedBy(reactor) else _at_once


def _at_once(call: Callable[..., object], *arguments: object) -> None:
    call(*arguments)
