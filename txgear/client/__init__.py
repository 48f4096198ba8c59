"""
The client: submits jobs, waits for their results, asks after them.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count
from math import inf
from typing import Any, Final, Protocol, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.client.connection import ClientConnection, HandleMap
from txgear.client.questions import JobStatus, Result, ResultQuestion, StatusQuestion, UniqueQuestion
from txgear.client.requests import BackgroundSubmit, ClientJob, Request, Single, Task, ability_for, submission
from txgear.errors import JobTimeout, MissingAbility, NotConnected, QueueError, TxgearError
from txgear.net import arguments as _arguments
from txgear.net.arguments import ABSENT, Text, Workload
from txgear.net.connector import Connector, connect_once, ended
from txgear.net.serverconnection import Limits
from txgear.net.servers import Server, ServerArgument, server_list
from txgear.net.steady import LATE, steady
from txgear.net.watchdog import ANSWER_SECONDS, ATTEMPT_SECONDS, HEARTBEAT_SECONDS
from txgear.protocol.constants import (
    EXCEPTIONS_OPTION,
    GET_STATUS,
    GET_STATUS_UNIQUE,
    MAX_PACKET,
    NORMAL,
    OPTION_REQ,
    SET_CLIENT_ID,
    UNIQUE_FROM_WORKLOAD,
)
from txgear.protocol.packets import request as packet

__all__ = ["Client", "ClientJob", "JobStatus", "Outcome", "Result", "Task"]

CONNECT_SECONDS: Final = 30.0
"""How long a request waits for a server: time for one to be started again, and for several attempts."""

Outcome = bytes | TxgearError
"""What became of one job of several: its result, or the error that L{ClientJob.result} would fail with."""

AGAIN_SECONDS: Final = 1.0
"""The pause before a server that was visited in vain is visited again."""

RequestT = TypeVar("RequestT", bound=Request)


class _Finding(Protocol):
    """What a server says of a job."""

    @property
    def known(self) -> bool:
        """Whether it knows the job."""


FindingT = TypeVar("FindingT", bound=_Finding)


class Client(Service):
    """
    A client of one or several job servers.

    It connects when it is first asked for something, to the first server that
    answers, and stays with it; when that one goes, to the next. A job that was
    sent is not sent again by itself: it may have run.

    A server that drains refuses jobs, and goes when those that it has are done. So the client
    leaves it: what was refused and what follows is for the next server, while the jobs that were
    taken are waited for where they are. The refusal is an error where no server takes the job.

    As a service it is closed when its parent stops; it need not be started.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        servers: ServerArgument | Iterable[ServerArgument],
        *,
        client_id: Text = b"",
        connect_timeout: float = CONNECT_SECONDS,
        answer_timeout: float = ANSWER_SECONDS,
        heartbeat: float = HEARTBEAT_SECONDS,
        max_packet: int = MAX_PACKET,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """
        @param servers: endpoint strings (C{tcp:host:port}, C{tls:host:port},
            C{unix:/path}), or C{host}, C{host:port}, an address,
            C{[address]:port}, or endpoint objects. Names are resolved anew at
            each attempt.
        @param client_id: what the server's list of connections calls this client.
        @param connect_timeout: seconds that a request waits for a server, and
            then fails with L{NotConnected}.
        @param answer_timeout: seconds after which a server that leaves a
            request without an answer is given up. A job may take as long as it likes.
        @param heartbeat: seconds of silence after which the server is asked for
            an echo; it is given up when that is not there after as long again.
        @param max_packet: bytes of the largest workload that is sent, and of
            the largest result that is taken.
        @param random: numbers from 0 to 1, to spread the attempts to connect.
        @raise ValueError: a server is not understood, or there is none, or a number makes no sense.
        @raise TypeError: an argument of a wrong type.
        """
        self._servers = server_list(reactor, servers)
        self._clock = steady(reactor)
        self._connect_timeout = _arguments.seconds("connect_timeout", connect_timeout)
        self._limits = Limits.checked(heartbeat, answer_timeout, max_packet)
        _arguments.check_callable("random", random)
        self._greeting = [packet(OPTION_REQ, EXCEPTIONS_OPTION)]
        if name := _arguments.client_id(client_id):
            self._greeting.append(packet(SET_CLIENT_ID, name))
        self._connector = Connector(
            self._clock,
            self._servers,
            lambda server: self._new_connection(server, self._ready, self._lost),
            self._unreachable,
            random,
        )
        self._connection: ClientConnection | None = None
        self._visits: dict[Request, ClientConnection] = {}
        self._unsent: dict[Request, IDelayedCall] = {}
        self._homes = HandleMap()
        self._tokens = count(1)
        self._closed = False

    # Jobs

    def submit(
        self,
        function: Text,
        workload: Workload = b"",
        *,
        unique: Text = b"",
        priority: int = NORMAL,
        reducer: Text | None = None,
        timeout: float | None = None,
        resend: bool = False,
        json: object = ABSENT,
        policy: Mapping[str, Any] | None = None,
    ) -> ClientJob:
        """
        Submit a job and wait for its result.

        @param workload: what the worker gets.
        @param unique: submits of one function with the same unique, while the
            job has not ended, share one job; C{-} makes the workload the unique.
        @param priority: C{HIGH}, C{NORMAL} or C{LOW}, among jobs that wait.
        @param reducer: the function to which a partition worker gives the parts.
        @param timeout: seconds from now after which it fails with L{JobTimeout};
            none by default. The job goes on at the server.
        @param resend: send the job again when the connection goes down before
            its result is there. It may run twice then.
        @param json: a value to send as JSON, in place of C{workload}.
        @param policy: settings for this one job, over those that the operator has made for
            its function: C{retries}, C{backoff}, C{dead}, C{timeout}, C{lease}, C{expires},
            C{results} and C{unique_for}, as in the server's file: C{{"retries": 5, "backoff": "30s"}}.
            A server that is not one of this project's has none: the job fails with L{MissingAbility}.
        @return: the job, on which results and news are waited for.
        @raise ValueError: an argument that the protocol cannot carry, or a negative timeout.
        @raise TypeError: an argument of a wrong type.
        """
        return self._ask(
            self._job(Task(function, workload, unique, priority, reducer, timeout, resend, json, policy))
        )

    def run(
        self,
        function: Text,
        workload: Workload = b"",
        *,
        unique: Text = b"",
        priority: int = NORMAL,
        reducer: Text | None = None,
        timeout: float | None = None,
        resend: bool = False,
        json: object = ABSENT,
        policy: Mapping[str, Any] | None = None,
    ) -> Deferred[bytes]:
        """
        Submit a job and wait for its result, in one. The arguments are those of L{submit}.

        @return: what L{ClientJob.result} gives: fires with the result. Cancelling it
            stops the waiting; nothing is sent, and a job that is not sent yet never is.
        """
        return self.submit(
            function,
            workload,
            unique=unique,
            priority=priority,
            reducer=reducer,
            timeout=timeout,
            resend=resend,
            json=json,
            policy=policy,
        ).result

    def run_all(
        self,
        tasks: Iterable[Task | tuple[Text, Workload]],
        on_each: Callable[[Task, Outcome], object] | None = None,
    ) -> Deferred[list[Outcome]]:
        """
        Submit many jobs at once, and wait for all of them. One that fails does not stop the others.

        @param tasks: L{Task} objects, or tuples of function and workload.
        @param on_each: called with a task, and its result or error, as it ends.
        @return: fires with the results, in the order of the tasks; in the place
            of a job that failed stands its error. Cancelling it stops the
            waiting for all that have not ended; nothing is sent.
        @raise ValueError: an argument of a task that the protocol cannot carry, or a negative
            timeout; no job is submitted then.
        @raise TypeError: an argument of a wrong type; likewise.
        """
        planned = [_task(task) for task in tasks]
        if on_each is not None:
            _arguments.check_callable("on_each", on_each)
        jobs = [self._job(task) for task in planned]
        outcomes: list[Outcome] = [b""] * len(jobs)
        left = len(jobs)
        cancelled = False

        def cancel(_: Deferred[list[Outcome]]) -> None:
            nonlocal cancelled
            cancelled = True
            for job in jobs:
                job.cancel()

        def ended(outcome: Any, place: int) -> None:
            nonlocal left
            if cancelled:
                return
            outcomes[place] = outcome if isinstance(outcome, bytes) else outcome.value
            left -= 1
            if on_each is not None:
                try:
                    on_each(planned[place], outcomes[place])
                except Exception:
                    self.log.failure("on_each of run_all raised")
            if not left and not cancelled:
                all_ended.callback(outcomes)

        all_ended: Deferred[list[Outcome]] = Deferred(cancel)
        for place, job in enumerate(jobs):
            _ = job.result.addBoth(ended, place)
        if jobs:
            self._ask_all(jobs)
        else:
            all_ended.callback(outcomes)
        return all_ended

    def submit_background(
        self,
        function: Text,
        workload: Workload = b"",
        *,
        unique: Text = b"",
        priority: int = NORMAL,
        reducer: Text | None = None,
        at: datetime | float | None = None,
        delay: float | str | None = None,
        resend: bool = False,
        json: object = ABSENT,
        policy: Mapping[str, Any] | None = None,
    ) -> Deferred[bytes]:
        """
        Submit a job that runs without anybody waiting for it.

        The arguments are those of L{submit}, but for:

        @param at: when it is due, in whole seconds: a datetime (a naive one is
            local time), or seconds since 1970. Such a job has C{NORMAL} priority,
            unless it has a policy.
        @param delay: how long it waits from now on, by the server's clock: seconds, or
            words such as C{90s}, C{1.5h} and C{30d}. A server that is not one of
            this project's has no delays.
        @param resend: send it again when the connection goes down before the
            server has taken it. There may be two of it then, if it has no unique.
        @return: fires with the handle when the server has taken the job; fails
            with L{ServerError} when it refuses, L{JobLost} when the connection
            goes down before the answer, L{NotConnected} when there is no server,
            L{MissingAbility} when it knows nothing of policies or delays.
            Cancelling it stops the waiting; nothing is sent, and a job that is
            not sent yet never is.
        @raise ValueError: an argument that the protocol cannot carry.
        @raise TypeError: an argument of a wrong type.
        """
        task = Task(function, workload, unique, priority, reducer, None, resend, json, policy)
        chunks = submission(task, self._limits.max_packet, True, at, delay)
        return self._ask(BackgroundSubmit(chunks, resend, ability_for(task, delay))).answer

    def _job(self, task: Task) -> ClientJob:
        _arguments.check_timeout(task.timeout)
        return ClientJob(
            _arguments.function_name(task.function),
            _arguments.unique_key(task.unique),
            submission(task, self._limits.max_packet),
            task.timeout,
            task.resend,
            ability_for(task),
        )

    # Questions

    def status(self, handle: Text) -> Deferred[JobStatus]:
        """
        Ask how far a job is.

        The server that gave the handle is asked, if the client remembers it;
        otherwise one after the other, until one knows it.

        @return: fires with a L{JobStatus}; fails with L{NotConnected} when no
            server could be asked. Cancelling it gives the question up.
        @raise ValueError: no server gives such a handle.
        @raise TypeError: it is neither text nor bytes.
        """
        name, home = self._home(handle)
        asked = packet(GET_STATUS, name)
        return Deferred.fromCoroutine(self._inquire(lambda: StatusQuestion([asked]), home))

    def status_unique(self, unique: Text) -> Deferred[JobStatus]:
        """
        Ask after a job by its unique, whatever its function: one server after
        the other, until one knows it.

        @return: as for L{status}; servers older than gearmand 1.0 refuse with L{ServerError}.
        @raise ValueError: it is empty, too long, or holds a NUL.
        @raise TypeError: it is neither text nor bytes.
        """
        key = _arguments.unique_key(unique)
        if not key:
            raise ValueError("unique is empty")
        asked = packet(GET_STATUS_UNIQUE, key)
        return Deferred.fromCoroutine(self._inquire(lambda: UniqueQuestion([asked]), None))

    def fetch(self, handle: Text, *, wait: bool = False, timeout: float | None = None) -> Deferred[Result]:
        """
        Ask what became of a job, and for what it brought.

        That is kept for as long as the policy of its function, or of the job, says
        under C{results}; of a job without one there is nothing but its end to wait for.

        The servers are asked as for L{status}, but no other one's C{unknown} is an answer
        while one of them could not be asked: it may have the job.

        @param wait: wait for the end of a job that has not ended. Where a connection is lost,
            the wait goes on over the next one; it fails when a server that may have the job
            cannot be reached for C{connect_timeout} seconds.
        @param timeout: seconds from now after which it fails with L{JobTimeout}; none by default.
        @return: fires with a L{Result}, whatever its outcome is; fails with
            L{ResultUnavailable} when the server cannot tell at present, with L{MissingAbility}
            when a server is not one of this project's, with L{NotConnected} when one could not be
            asked, and with neither of these where another one knows the job. Cancelling it gives
            the question up.
        @raise ValueError: no server gives such a handle, or the timeout is negative.
        @raise TypeError: an argument of a wrong type.
        """
        name, home = self._home(handle)
        return self._fetch(name, b"", b"", wait, timeout, home)

    def fetch_unique(
        self, unique: Text, *, function: Text = b"", wait: bool = False, timeout: float | None = None
    ) -> Deferred[Result]:
        """
        What L{fetch} does, for a job by its unique: that which has not ended, if there is one,
        otherwise the one that ended last.

        @param function: its function; without one, the newest job with this unique that is found.
        @raise ValueError: the unique is empty, too long, holds a NUL, or is C{-}: each
            workload has one of its own then, and the job is asked for by its handle. Or the
            function is no function's name, or the timeout is negative.
        @raise TypeError: an argument of a wrong type.
        """
        key = _arguments.unique_key(unique)
        if key in (b"", UNIQUE_FROM_WORKLOAD):
            raise ValueError(f"unique is {key.decode()!r}, which is no job's name")
        name = _arguments.function_name(function) if function else b""
        return self._fetch(b"", name, key, wait, timeout, None)

    def _fetch(
        self,
        handle: bytes,
        function: bytes,
        unique: bytes,
        wait: bool,
        timeout: float | None,
        home: Server | None,
    ) -> Deferred[Result]:
        _arguments.check_timeout(timeout)

        def question() -> ResultQuestion:
            return ResultQuestion(b"%d" % next(self._tokens), handle, function, unique, wait)

        def overdue(_: object, seconds: float) -> Failure:
            return Failure(JobTimeout(f"no result within {seconds:g} seconds", handle or None))

        found = Deferred.fromCoroutine(self._inquire(question, home))
        if timeout is not None:
            _ = found.addTimeout(timeout, self._clock, onTimeoutCancel=overdue)
        return found

    def _home(self, handle: Text) -> tuple[bytes, Server | None]:
        """A handle, and the server that gave it, if that is known."""
        address, name = _arguments.job_handle(handle)
        named = [server for server in self._servers if address and server.address == address]
        return name, named[0] if named else self._homes.get(name)

    async def _inquire(self, question: Callable[[], Single[FindingT]], home: Server | None) -> FindingT:
        """
        @param home: the only server to ask; all of them where it is C{None},
            the connected one first. One that cannot be asked is passed over, and where
            the question waits, tried again after the others.
        """
        left = self._servers[:] if home is None else [home]
        found: FindingT | None = None
        problems: dict[Server, TxgearError] = {}
        open_home = None if home is None else self._open_to(home)
        if home is None or open_home is not None:
            asked = question()
            try:
                found = await self._ask(asked, open_home).answer
            except (NotConnected, MissingAbility) as error:
                # One that is sent again has had the time that there is, at any server.
                if asked.server is None or (asked.resend and isinstance(error, NotConnected)):
                    raise
                if asked.server in left:
                    problems[asked.server] = error
            left = [server for server in left if server is not asked.server]
        tried: set[Server] = set()
        patience = self._clock.seconds() + self._connect_timeout
        while left and not self._closed and (found is None or not found.known):
            server, asked = left.pop(0), question()
            try:
                found = await self._visit(server, asked, AGAIN_SECONDS if server in tried else 0.0)
                problems.pop(server, None)
            except MissingAbility as error:
                problems[server] = error
            except NotConnected as error:
                problems[server] = error
                if asked.server is not None:
                    patience = self._clock.seconds() + self._connect_timeout
                if asked.resend and self._clock.seconds() < patience:
                    left.append(server)
            tried.add(server)
        if found is not None and (found.known or not asked.unanimous or not problems):
            return found
        raise [NotConnected("the client is closed"), *problems.values()][-1]

    def _visit(self, server: Server, question: Single[FindingT], pause: float) -> Deferred[FindingT]:
        """
        Ask a server that is not the connected one, over a connection for this one question; or
        over that which is kept to one that drains, as it takes no other any more.

        @param pause: seconds to wait before.
        """
        if not question.resend and (there := self._open_to(server)) is not None:
            return self._ask(question, there).answer

        def connect(_: object = None) -> Deferred[IProtocol]:
            return connect_once(self._clock, server, lambda: None if question.finished else connection)

        def lost(_: ClientConnection, __: list[Request], why: str) -> None:
            question.lost(f"{server.name}: {why}")

        def over(_: Request) -> None:
            del self._visits[question]
            connecting.cancel()
            if connection.transport is not None:
                connection.close()

        connection = self._new_connection(server, lambda connection: connection.ask(question), lost)
        question.on_finished = over
        self._visits[question] = connection
        connecting = connect() if not pause else deferLater(self._clock, pause).addCallback(connect)
        _ = connecting.addErrback(
            lambda failure: question.lost(f"{server.name}: {failure.getErrorMessage()}")
        )
        return question.answer

    # Connections

    def close(self) -> Deferred[None]:
        """
        Leave the server. What waits fails: with L{JobLost} where it was sent,
        otherwise with L{NotConnected}; and so does what is asked from now on.

        @return: fires when the connection has ended. Cancelling it changes nothing about that.
        """
        self._closed = True
        unsent, self._unsent = self._unsent, {}
        for timer in unsent.values():
            timer.cancel()
        visits = dict(self._visits)
        sent = [request for connection in self._connector.connections for request in connection.forget()]
        gone = [self._connector.stop(), *map(ended, visits.values())]
        for request in [*unsent, *visits, *sent]:
            _fail_unsent(request, "the client was closed")
        closed: Deferred[None] = Deferred()
        _ = gatherResults(gone).addCallback(lambda _: closed.callback(None))
        return closed

    def startService(self) -> None:
        """Be usable again after L{close}; still, nothing connects before it must."""
        super().startService()
        self._closed = False

    def stopService(self) -> Deferred[None]:
        """The same as L{close}."""
        super().stopService()
        return self.close()

    def _new_connection(
        self,
        server: Server,
        on_ready: Callable[[ClientConnection], object],
        on_lost: Callable[[ClientConnection, list[Request], str], object],
    ) -> ClientConnection:
        return ClientConnection(
            self._clock, server, self._limits, self._greeting, self._homes, on_ready, on_lost, self._refused
        )

    def _usable(self) -> ClientConnection | None:
        connection = self._connection
        return connection if connection is not None and connection.usable else None

    def _open_to(self, server: Server) -> ClientConnection | None:
        """A connection to this server, be it that which is used or one that was left."""
        for connection in self._connector.connections:
            if connection.server is server and connection.usable:
                return connection
        return None

    def _unreachable(self, server: Server, why: str) -> None:
        self.log.warn("{server} cannot be reached: {why}", server=server.name, why=why)

    def _ready(self, connection: ClientConnection) -> None:
        self._connector.proved()
        self._connection = connection
        unsent, self._unsent = self._unsent, {}
        for timer in unsent.values():
            timer.cancel()
        with connection.gathered():
            for request in unsent:
                connection.ask(request)

    def _lost(self, connection: ClientConnection, undone: list[Request], why: str) -> None:
        if self._connection is connection:
            self._connection = None
        undone = [request for request in undone if not request.finished]
        again = [request for request in undone if request.resend or request.server is None]
        for request in again:
            request.refused.clear()
            self._wait(request)
        for request in undone:
            if request not in self._unsent:
                _fail_unsent(request, f"the connection to {connection.server.name} was lost: {why}")

    def _refused(self, connection: ClientConnection, request: Request, error: QueueError) -> None:
        """A server that is about to end has not taken a job: it is for the next one, if there is one."""
        if not request.refused:
            request.until = self._clock.seconds() + self._connect_timeout
        request.refused[connection.server] = error
        if len(request.refused) == len(self._servers):
            request.failed(error)
            return
        if connection is self._connection:
            self.log.info("{server} is about to end; it gets no more jobs", server=connection.server.name)
            self._connection = None
            self._connector.leave()
        connection.retire()
        if not request.finished:
            if not request.resend:
                request.server = None
            self._send([request], self._usable())

    def _ask(self, request: RequestT, connection: ClientConnection | None = None) -> RequestT:
        request.begin(self._clock)
        self._send([request], connection or self._usable())
        return request

    def _ask_all(self, requests: Sequence[Request]) -> None:
        for request in requests:
            request.begin(self._clock)
        self._send(requests, self._usable())

    def _send(self, requests: Sequence[Request], connection: ClientConnection | None) -> None:
        if self._closed:
            for request in requests:
                request.failed(NotConnected("the client is closed"))
        elif connection is not None:
            with connection.gathered():
                for request in requests:
                    connection.ask(request)
        else:
            for request in requests:
                self._wait(request)
            self._connector.start()

    def _wait(self, request: Request) -> None:
        """Keep a request until there is a server, or for too long."""
        now = self._clock.seconds()
        patience = max(request.until - now, 0.0) if request.refused else self._connect_timeout
        self._unsent[request] = self._clock.callLater(patience, self._give_up, request, now + patience)
        request.on_finished = self._withdraw

    def _withdraw(self, request: Request) -> None:
        timer = self._unsent.pop(request, None)
        if timer is not None:
            timer.cancel()

    def _give_up(self, request: Request, due: float) -> None:
        if self._clock.seconds() - due > LATE:
            # We stood still: the attempt to connect that is under way has had no time.
            self._unsent[request] = self._clock.callLater(ATTEMPT_SECONDS, self._give_up, request, inf)
            return
        del self._unsent[request]
        if request.refused:
            request.failed(list(request.refused.values())[-1])
            return
        why = f"no server could be reached within {self._connect_timeout:g} seconds"
        if self._connector.problem:
            why += f"; {self._connector.problem}"
        _fail_unsent(request, why)


def _task(task: object) -> Task:
    """
    @raise TypeError: it is neither.
    """
    if isinstance(task, Task):
        return task
    if not isinstance(task, (tuple, list)) or not 1 <= len(task) <= 2:
        # A text would be cut into letters.
        raise TypeError(f"a task is a Task, or a tuple of function and workload, not {task!r:.50}")
    return Task(*task)


def _fail_unsent(request: Request, why: str) -> None:
    """Fail a request that will not be sent; one that was sent before may have been obeyed then."""
    if request.server is None:
        request.failed(NotConnected(why))
    else:
        request.lost(why)
