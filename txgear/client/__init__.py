"""
The client: it submits jobs, waits for their results, and asks for their status.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import count
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from txgear.client.job import ClientJob, Outcome, outcomes
from txgear.client.lookup import Lookup
from txgear.client.questions import JobStatus, Result, ResultQuestion, StatusQuestion, UniqueQuestion
from txgear.client.requests import Request
from txgear.client.sender import Sender
from txgear.client.submission import BackgroundSubmit, Task, ability_for, as_task, submission
from txgear.client.tracing import Submit, Tracing, follow
from txgear.errors import JobTimeout
from txgear.net import arguments as _arguments
from txgear.net.arguments import ABSENT, Text, Workload
from txgear.net.login import Login
from txgear.net.serverconnection import Limits
from txgear.net.servers import Server, ServerArgument, TLSArgument, server_list
from txgear.net.steady import steady
from txgear.net.watchdog import ANSWER_SECONDS, HEARTBEAT_SECONDS
from txgear.protocol.constants import (
    EXCEPTIONS_OPTION,
    GET_STATUS,
    GET_STATUS_UNIQUE,
    LEAVING_OPTION,
    MAX_PACKET,
    NORMAL,
    OPTION_REQ,
    SET_CLIENT_ID,
    UNIQUE_FROM_WORKLOAD,
)
from txgear.protocol.packets import request as packet
from txgear.quantities import second_words

__all__ = ["Client", "ClientJob", "JobStatus", "Outcome", "Result", "Task"]

CONNECT_SECONDS: Final = 30.0
"""How long a request waits for a server: time for one to be started again, and for several attempts."""


class Client(Service):
    """
    A client of one or several job servers.

    It connects when it is first asked for something, to the first server that
    answers, and stays with it. When that connection is lost, it goes on to the next server. Where the servers
    are written in one text, with commas between them, they are alike: it connects to all of them, and each
    gets what is asked in turn. A job that was sent is not sent again by itself: it may have run.

    A server that drains refuses jobs, and ends when those that it has are done. So the client
    leaves it: jobs that were refused and those that follow go to the next server, and the jobs that were
    taken are waited for where they are. The refusal is an error where no server takes the job.

    As a service it is closed when its parent stops; it need not be started.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        servers: ServerArgument | Iterable[ServerArgument],
        *,
        client_id: Text = b"",
        tls: TLSArgument = False,
        token: Text | None = None,
        connect_timeout: float = CONNECT_SECONDS,
        answer_timeout: float = ANSWER_SECONDS,
        heartbeat: float = HEARTBEAT_SECONDS,
        max_packet: int = MAX_PACKET,
        random: Callable[[], float] = _random.random,
        tracing: Tracing | None = None,
    ) -> None:
        """
        @param servers: endpoint strings (C{tcp:host:port}, C{tls:host:port},
            C{unix:/path}), or C{host}, C{host:port}, an address,
            C{[address]:port}, or endpoint objects: a list, which is tried in its order, or one text with
            commas between them, and what is asked is spread over them. Names are resolved anew at each
            attempt.
        @param client_id: what the server's list of connections calls this client, up to 127 bytes without
            white space.
        @param tls: C{True}, or a L{ClientTLS<txgear.security.clienttls.ClientTLS>} that says how: speak TLS
            with all servers. C{tls:host:port} says so by itself.
        @param token: logs in at the servers, C{txg_...}. What is asked fails with L{AccessDenied} when
            all of them refuse it.
        @param connect_timeout: seconds that a request waits for a server, and
            then fails with L{NotConnected}.
        @param answer_timeout: seconds after which a server that leaves a
            request without an answer is given up. A job may take as long as it likes.
        @param heartbeat: seconds of silence after which the server is asked for
            an echo; it is given up when that is not there after as long again.
        @param max_packet: bytes of the largest workload that is sent, and of
            the largest result that is taken.
        @param random: numbers from 0 to 1, to spread the attempts to connect.
        @param tracing: is told of submits, and says where the work on a job belongs; a
            L{Tracing<txgear.tracing.Tracing>} does it with OpenTelemetry.
        @raise ValueError: a server is not understood, or there is none, a number makes no sense, a file
            of TLS cannot be used, or the token has not the form of one.
        @raise TypeError: an argument of a wrong type.
        """
        found = server_list(reactor, servers, tls)
        self._clock = steady(reactor)
        patience = _arguments.seconds("connect_timeout", connect_timeout)
        limits = Limits.checked(heartbeat, answer_timeout, max_packet)
        _arguments.check_callable("random", random)
        greeting = [packet(OPTION_REQ, EXCEPTIONS_OPTION)]
        if len(found) > 1:
            greeting.append(packet(OPTION_REQ, LEAVING_OPTION))
        if name := _arguments.client_id(client_id):
            greeting.append(packet(SET_CLIENT_ID, name))
        login = None if token is None else Login(_arguments.token_bytes(token))
        self._max_packet = limits.max_packet
        # What stands in one text is alike; a list is in the order of preference.
        spread = isinstance(servers, str) and len(found) > 1
        self._sender = Sender(self._clock, found, limits, greeting, login, patience, random, spread)
        self._ask = self._sender.ask
        self._lookup = Lookup(self._clock, found, self._sender, patience, spread)
        self._tokens = count(1)
        self._tracing = tracing

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

        @param function: its name, 1 to 8191 bytes without a NUL. Text is sent as UTF-8, here and below.
        @param workload: what the worker gets; the whole packet has C{max_packet} bytes at the most.
        @param unique: up to 64 bytes. Submits of one function with the same unique, while the
            job has not ended, share one job; C{-} makes the workload the unique.
        @param priority: C{HIGH}, C{NORMAL} or C{LOW}, among jobs that wait.
        @param reducer: the function to which a partition worker gives the parts, 1 to 64 bytes. Such a job
            has C{NORMAL} priority and no policy.
        @param timeout: seconds from now, 0 or more, after which it fails with L{JobTimeout};
            none by default. The job goes on at the server.
        @param resend: send the job again when the connection goes down before
            its result is there. It may run twice then.
        @param json: a value to send as JSON, in place of C{workload}.
        @param policy: settings for this one job, over those that the operator has made for
            its function: C{retries}, C{backoff}, C{dead}, C{timeout}, C{lease}, C{expires},
            C{results} and C{unique_for}, as in the server's file: C{{"retries": 5, "backoff": "30s"}}.
            A server that is not one of this project's has none: the job fails with L{MissingAbility}.
        @return: the job, which gives its handle, its result, and what the worker sends before. What it fails
            with, L{ClientJob.result} says.
        @raise ValueError: an argument that the protocol cannot carry, or a negative timeout.
        @raise TypeError: an argument of a wrong type.
        """
        task = Task(function, workload, unique, priority, reducer, timeout, resend, json, policy)
        job = self._job(task)
        if self._tracing is not None:
            self._trace_job(self._tracing, job, task)
        return self._ask(job)

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
        Submit a job and wait for its result. The arguments are those of L{submit}.

        @return: the job's L{ClientJob.result}: fires with the result. Cancelling it
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
        Submit many jobs at once, and wait for all of them. A job that fails does not stop the others.

        @param tasks: L{Task} objects, or tuples of function and workload.
        @param on_each: called with a task, and its result or error, as it ends.
        @return: fires with the results, in the order of the tasks; in the place
            of a job that failed stands its error. Cancelling it stops the
            waiting for all that have not ended; nothing is sent.
        @raise ValueError: an argument of a task that the protocol cannot carry, or a negative
            timeout; no job is submitted then.
        @raise TypeError: an argument of a wrong type; likewise.
        """
        planned = [as_task(task) for task in tasks]
        if on_each is not None:
            _arguments.check_callable("on_each", on_each)
        jobs = [self._job(task) for task in planned]
        if self._tracing is not None:
            for job, task in zip(jobs, planned, strict=True):
                self._trace_job(self._tracing, job, task)
        ended = outcomes(jobs, on_each and (lambda place, outcome: on_each(planned[place], outcome)))
        if jobs:
            self._sender.ask_all(jobs)
        return ended

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
            with L{ServerError} when it refuses, with L{JobLost} when the connection
            goes down before the answer, with L{NotConnected} when there is no server, and with
            L{MissingAbility} when it knows nothing of policies or delays.
            Cancelling it stops the waiting; nothing is sent, and a job that is
            not sent yet never is.
        @raise ValueError: an argument that the protocol cannot carry.
        @raise TypeError: an argument of a wrong type.
        """
        task = Task(function, workload, unique, priority, reducer, None, resend, json, policy)
        chunks = submission(task, self._max_packet, True, at, delay)
        request = BackgroundSubmit(chunks, resend, ability_for(task, delay))
        if self._tracing is not None:
            submit = self._trace(self._tracing, request, task, True, at, delay)
            request.answer = follow(submit, request, request.answer)
        return self._ask(request).answer

    def _job(self, task: Task) -> ClientJob:
        _arguments.check_timeout(task.timeout)
        return ClientJob(
            _arguments.function_name(task.function),
            _arguments.unique_key(task.unique),
            submission(task, self._max_packet),
            task.timeout,
            task.resend,
            ability_for(task),
        )

    def _trace_job(self, tracing: Tracing, job: ClientJob, task: Task) -> None:
        created = follow(self._trace(tracing, job, task), job, job.created)
        # Who wants to know of an error asks for a Deferred of their own.
        _ = created.addErrback(lambda _: None)

    def _trace(
        self,
        tracing: Tracing,
        request: Request,
        task: Task,
        background: bool = False,
        at: datetime | float | None = None,
        delay: float | str | None = None,
    ) -> Submit:
        """Have a request carry the trace of its job, if it can."""
        size = sum(map(len, request.chunks[1:]))
        submit = tracing.submit(_arguments.function_name(task.function), size)
        if submit.trace is not None and task.reducer is None:
            try:
                chunks = submission(task, self._max_packet, background, at, delay, submit.trace)
            except ValueError:
                # It is too large with the trace, and goes without it: no job may fail over that.
                return submit
            request.carry(chunks)
        return submit

    # Questions

    def status(self, handle: Text) -> Deferred[JobStatus]:
        """
        Ask how far a job is.

        The server that gave the handle is asked, if the client remembers it;
        otherwise one server after the other, until one knows it.

        @return: fires with a L{JobStatus}; fails with L{NotConnected} when no
            server could be asked. Cancelling it gives the question up.
        @raise ValueError: no server gives such a handle.
        @raise TypeError: it is neither text nor bytes.
        """
        name, server = self._lookup.locate(handle)
        asked = packet(GET_STATUS, name)
        return self._lookup.find(lambda: StatusQuestion([asked]), server)

    def status_unique(self, unique: Text) -> Deferred[JobStatus]:
        """
        Ask after a job by its unique, whatever its function: one server after
        the other, until one knows it.

        @param unique: 1 to 64 bytes.
        @return: as for L{status}; servers older than gearmand 1.0 refuse with L{ServerError}.
        @raise ValueError: it is empty, too long, or holds a NUL.
        @raise TypeError: it is neither text nor bytes.
        """
        key = _arguments.unique_key(unique)
        if not key:
            raise ValueError("unique is empty")
        asked = packet(GET_STATUS_UNIQUE, key)
        return self._lookup.find(lambda: UniqueQuestion([asked]), None)

    def fetch(self, handle: Text, *, wait: bool = False, timeout: float | None = None) -> Deferred[Result]:
        """
        Ask for the outcome of a job, and for its result.

        The server keeps both for as long as the policy of the function, or of the job, says
        under C{results}. Without such a policy one can only wait for the job's end.

        The servers are asked as for L{status}, but C{unknown} is no answer
        while one of them could not be asked: it may have the job.

        @param wait: wait for the end of a job that has not ended. Where a connection is lost,
            the wait goes on over the next one; it fails when a server that may have the job
            cannot be reached for C{connect_timeout} seconds.
        @param timeout: seconds from now, 0 or more, after which it fails with L{JobTimeout}; none by default.
        @return: fires with a L{Result}, whatever its outcome is; fails with
            L{ResultUnavailable} when the server cannot tell at present. With L{AccessDenied} when a server
            does not tell this client, with L{MissingAbility} when one is not of this project's, and with
            L{NotConnected} when one could not be asked: not where another server knows the job.
            Cancelling it gives the question up.
        @raise ValueError: no server gives such a handle, or the timeout is negative.
        @raise TypeError: an argument of a wrong type.
        """
        name, server = self._lookup.locate(handle)
        return self._fetch(name, b"", b"", wait, timeout, server)

    def fetch_unique(
        self, unique: Text, *, function: Text = b"", wait: bool = False, timeout: float | None = None
    ) -> Deferred[Result]:
        """
        Do what L{fetch} does, for a job by its unique: the one that has not ended, if there is one,
        otherwise the one that ended last.

        @param unique: 1 to 64 bytes.
        @param function: its function; without one, the newest job with this unique that is found.
        @return: as for L{fetch}.
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
        server: Server | None,
    ) -> Deferred[Result]:
        _arguments.check_timeout(timeout)

        def question() -> ResultQuestion:
            return ResultQuestion(b"%d" % next(self._tokens), handle, function, unique, wait)

        def overdue(_: object, seconds: float) -> Failure:
            return Failure(JobTimeout(f"no result within {second_words(seconds)}", handle or None))

        found = self._lookup.find(question, server)
        if timeout is not None:
            _ = found.addTimeout(timeout, self._clock, onTimeoutCancel=overdue)
        return found

    # The end

    def close(self) -> Deferred[None]:
        """
        Leave the server. What waits fails: with L{JobLost} where it was sent,
        otherwise with L{NotConnected}; and so does what is asked from now on.

        @return: fires when the connection has ended. Cancelling it changes nothing about that.
        """
        waiting, left = self._sender.stop()
        questions, ended = self._lookup.stop()
        for request in [*waiting, *questions]:
            request.fail_unsent("the client was closed")
        closed: Deferred[None] = Deferred()
        _ = gatherResults([left, ended]).addCallback(lambda _: closed.callback(None))
        return closed

    def startService(self) -> None:
        """Be usable again after L{close}. Nothing connects before something is asked."""
        super().startService()
        self._sender.reopen()

    def stopService(self) -> Deferred[None]:
        """The same as L{close}."""
        super().stopService()
        return self.close()
