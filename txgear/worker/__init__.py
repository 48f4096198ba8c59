"""
The worker: it registers functions at all its servers, and runs the jobs that they give it.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from time import time
from typing import Any, Final, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from txgear.net import arguments as _arguments
from txgear.net.arguments import Text
from txgear.net.login import Login
from txgear.net.serverconnection import Limits
from txgear.net.servers import ServerArgument, TLSArgument, server_list
from txgear.net.steady import steady
from txgear.net.watchdog import ANSWER_SECONDS, HEARTBEAT_SECONDS
from txgear.protocol.constants import MAX_PACKET
from txgear.protocol.textlines import text
from txgear.worker.functions import (
    Ability,
    Fail,
    FailWithText,
    Function,
    RetryLater,
    Runner,
    Tracing,
    partitioned,
)
from txgear.worker.hello import Identity, Introduction
from txgear.worker.job import WorkerJob
from txgear.worker.links import ServerLinks
from txgear.worker.running import InThread, RunningJobs
from txgear.worker.state import FunctionState, State, memory_taken
from txgear.worker.words import Refused, Word, Words

__all__ = ["Fail", "FailWithText", "Refused", "RetryLater", "Worker", "WorkerJob", "partitioned"]

STOP_SECONDS: Final = 60.0
"""
How long jobs may go on when the worker stops. It is less than the 90 seconds
after which systemd kills a service.
"""

FunctionT = TypeVar("FunctionT", bound=Function)


class Worker(Service):
    """
    A worker at one or several job servers, at all of them at once.

    Functions are registered with L{function}. The worker takes jobs from
    L{startService} to L{stopService}. When a connection is lost, it connects to that server
    again and registers the functions again; the other servers go on meanwhile.

    When a connection to one of this project's servers is lost, its jobs go on for as long as the server
    waits for them; they end over the next connection, and results that may not have arrived are offered
    again. Elsewhere, and beyond that time, the server gives the jobs to other workers. So they are given up
    here: the Deferred or coroutine of each is cancelled. A function in a thread cannot be stopped: its result
    is dropped, and it counts as running until it returns. A job whose time is up is given up in the same
    way, and so is one that the server takes back.

    Where a function has a lease at the server, the worker beats by itself until
    the job's Deferred has fired or its thread has returned. So a lease notices
    that a worker is gone or stands still, and not that a thread hangs: a timeout does.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        servers: ServerArgument | Iterable[ServerArgument],
        *,
        concurrency: int = 1,
        client_id: Text = b"",
        id: Text = b"",
        key: str = "",
        group: str = "",
        runtime: str = "",
        tls: TLSArgument = False,
        token: Text | None = None,
        stop_timeout: float = STOP_SECONDS,
        answer_timeout: float = ANSWER_SECONDS,
        heartbeat: float = HEARTBEAT_SECONDS,
        max_packet: int = MAX_PACKET,
        random: Callable[[], float] = _random.random,
        in_thread: InThread | None = None,
        most_jobs: int | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """
        @param servers: endpoint strings (C{tcp:host:port}, C{tls:host:port},
            C{unix:/path}), or C{host}, C{host:port}, an address,
            C{[address]:port}, or endpoint objects. Names are resolved anew at
            each attempt.
        @param concurrency: how many jobs run at once, those of all servers together: 1 or more.
        @param client_id: what the server's list of workers calls this one, up to 127 bytes without white
            space.
        @param id: what txgear's servers call it, where that is another name; without C{client_id} it stands
            for that as well.
        @param key: by which txgear's servers know the worker again after a lost connection, 32 hexadecimal
            digits; by default it makes one. It is secret: whoever has it can say that the worker is gone.
        @param group: the name of those that are like it, for txgear's servers to show.
        @param runtime: the key of the supervisor that has started it, of the same form; empty for none.
        @param tls: C{True}, or a L{ClientTLS<txgear.security.clienttls.ClientTLS>} that says how: speak TLS
            with all servers. C{tls:host:port} says so by itself.
        @param token: logs in at the servers, C{txg_...}. One that refuses it is tried again, after a minute
            in the end.
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
        @param most_jobs: after so many jobs, 1 or more, it stops by itself; C{None} for never. A server
            that takes long to answer may give it one more. It counts anew when it is started again.
        @param tracing: has the calls of functions traced; a L{Tracing<txgear.tracing.Tracing>} does it with
            OpenTelemetry.
        @raise ValueError: a server is not understood, or there is none, a number makes no sense, a name
            cannot be sent, a file of TLS cannot be used, or the token or a key has not the form of one.
        @raise TypeError: an argument of a wrong type.
        """
        found = server_list(reactor, servers, tls)
        clock = steady(reactor)
        concurrency = _arguments.count("concurrency", concurrency)
        name = _arguments.client_id(client_id or id)
        identity = Identity(key, text(_arguments.client_id(id or client_id)), group, runtime, time())
        login = None if token is None else Login(_arguments.token_bytes(token))
        stop_timeout = _arguments.seconds("stop_timeout", stop_timeout)
        limits = Limits.checked(heartbeat, answer_timeout, max_packet)
        _arguments.check_callable("random", random)
        if in_thread is not None:
            _arguments.check_callable("in_thread", in_thread)
        self._known: dict[bytes, Ability] = {}
        self._abilities: dict[bytes, Ability] = {}
        self._words = Words()
        self._tracing = tracing
        if most_jobs is not None:
            most_jobs = _arguments.count("most_jobs", most_jobs)
        self._jobs = RunningJobs(reactor, clock, self._known, concurrency, in_thread, most_jobs)
        self._links = ServerLinks(
            clock,
            found,
            limits,
            Introduction(found, identity, name, login),
            self._abilities,
            self._jobs,
            self._words,
            self._state,
            stop_timeout,
            random,
        )
        self._links.stop_wanted = self.stopService
        self._words.add("grow", self._grow)
        self._words.add("shrink", self._shrink)
        self._words.add("register", self._use)
        self._words.add("unregister", self._put_aside)

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
        function. Where it raises L{Fail}, the job fails; for L{RetryLater} it is tried again after a while.
        Where it raises anything else, the client gets the exception's text and traceback, and the log has all
        of it.

        @param name: 1 to 8191 bytes without a NUL; text is sent as UTF-8.
        @param timeout: seconds that a job may take; after that the server gives it
            to another worker, and this one gives it up. Servers take any time
            under a second for a second.
        @param blocking: call it in a thread. Without it everything else stands
            still until the function returns.
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
        Do what L{function} does, without a decorator. Connected servers get the function at once.

        @param call: called with each job.
        @raise ValueError: as for L{function}.
        @raise TypeError: as for L{function}.
        """
        checked = _arguments.function_name(name)
        if checked in self._abilities:
            raise ValueError(f"function {name!r} is registered already")
        ability = Ability(checked, call, timeout, blocking, json)
        if self._tracing is not None:
            ability = replace(ability, call=self._tracing.traced(call))
        self._known[checked] = self._abilities[checked] = ability
        self._links.announce(ability)

    def unregister(self, name: Text) -> None:
        """
        Take no more jobs of a function; those that it has, and one that a server has just given, are still
        done. The worker still knows it: an operator of a server can register it again, and so can
        L{register}, with another call as well.

        @raise ValueError: it is not registered.
        @raise TypeError: the name is none.
        """
        checked = _arguments.function_name(name)
        if checked not in self._abilities:
            raise ValueError(f"function {name!r} is not registered")
        self._links.withdraw(self._abilities.pop(checked))

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
        reducer. The result is what C{aggregate} makes of their results, in the order of
        the parts. If one of them fails, the job does.

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

    @property
    def refused(self) -> Mapping[bytes, list[str]]:
        """
        The functions that this worker may not do, each with the names of the servers that say so. It gets no
        jobs of them from there. What they were told when it connected last counts; the log has it as well.
        """
        return self._links.refused

    @property
    def problems(self) -> Mapping[str, str]:
        """
        The servers, by name, that cannot be reached now, each with the reason. The log has it as well.
        """
        return self._links.problems

    def when_working(self) -> Deferred[None]:
        """
        Wait until a server has answered that lets the worker do one of its functions.

        @return: fires then, at once if there is one now; fails with
            L{AccessDenied<txgear.errors.AccessDenied>} once all servers have said no. A server that cannot be
            reached is tried again meanwhile. Cancelling it changes nothing.
        """
        return self._links.when_working()

    def when_ready(self) -> Deferred[None]:
        """
        Wait until the worker is L{ready}.

        @return: fires then, at once if it is. Cancelling it changes nothing.
        """
        return self._links.when_ready()

    @property
    def ready(self) -> bool:
        """
        Whether the worker can get jobs, as far as can be known: a server to which it is connected has
        answered when it was asked for a job, be it that there is none.
        """
        return self._links.is_ready

    @property
    def concurrency(self) -> int:
        """
        How many jobs run at once, those of all servers together. It may be set at any time: with less, what
        runs is finished.

        @raise ValueError: it is set to less than 1.
        @raise TypeError: it is set to no whole number.
        """
        return self._jobs.concurrency

    @concurrency.setter
    def concurrency(self, concurrency: int) -> None:
        self._jobs.concurrency = _arguments.count("concurrency", concurrency)
        self._links.tell_state()
        self._links.jobs_wanted()

    @property
    def functions(self) -> list[bytes]:
        """The names of the functions that are registered."""
        return list(self._abilities)

    def fail_jobs(self, reason: str) -> None:
        """
        Give up all jobs that run: their functions are cancelled, as far as that can be, and their servers are
        told that they have failed, so that nobody waits for them.

        @param reason: why, in words: the client gets it, and the server's history shows it.
        @raise TypeError: it is no text.
        """
        if not isinstance(reason, str):
            raise TypeError(f"reason is {type(reason).__name__}, not str")
        self._links.fail_jobs(reason)

    # Words

    def on_word(self, word: str, call: Word) -> None:
        """
        Let operators of txgear's servers tell the worker one more word, as C{worker NUMBER WORD}; or have it
        do something else for one that it knows.

        @param word: 1 to 32 letters from C{a} to C{z} and C{-}.
        @param call: called with what stands behind the word, as bytes, mostly empty. It returns what the
            operator gets to read, or C{None}, or a Deferred of it, which has ten seconds; it raises
            L{Refused} where it does not do it.
        @raise ValueError: no word looks like that.
        @raise TypeError: the call is none.
        """
        _arguments.check_callable("call", call)
        self._words.add(word, call)
        self._links.tell_state()

    def _grow(self, _: bytes) -> str:
        self.concurrency += 1
        return self._concurrency_in_words()

    def _shrink(self, _: bytes) -> str:
        if self.concurrency == 1:
            raise Refused("It does one job at a time already; pause it, or stop it")
        self.concurrency -= 1
        return self._concurrency_in_words()

    def _concurrency_in_words(self) -> str:
        count = self.concurrency
        return f"{count} {'job' if count == 1 else 'jobs'} at once"

    def _use(self, name: bytes) -> str:
        ability = self._known.get(name)
        if ability is None:
            raise Refused("It does not know this function")
        if name in self._abilities:
            return "It was registered already"
        self._abilities[name] = ability
        self._links.announce(ability)
        return ""

    def _put_aside(self, name: bytes) -> str:
        if name not in self._known:
            raise Refused("It does not know this function")
        if name not in self._abilities:
            return "It was not registered"
        self.unregister(name)
        active = self._jobs.active(name)
        return f"{active} {'job is' if active == 1 else 'jobs are'} finished first" if active else ""

    def _state(self) -> State:
        """How the worker is."""
        functions = [
            FunctionState(
                name, name in self._abilities, each.counts.done, each.counts.failed, self._jobs.active(name)
            )
            for name, each in self._known.items()
        ]
        return State(
            tuple(self._words.names), self.paused, self.concurrency, tuple(functions), memory_taken()
        )

    # Pauses

    def pause(self) -> None:
        """
        Ask no server for a job any more, until L{resume}; jobs that run go on, and one that a server has been
        asked for already is still done. txgear's servers are told, and show it. To pause twice is to pause
        once; it holds over lost connections, and for a worker that is stopped and started again.
        """
        self._links.set_paused(True)

    def resume(self) -> None:
        """Ask for jobs again."""
        self._links.set_paused(False)

    @property
    def paused(self) -> bool:
        """Whether the worker asks for no jobs: it was told so by L{pause}, or by an operator of a server."""
        return self._links.paused

    def when_stopped(self) -> Deferred[None]:
        """
        Wait until the worker has stopped: by L{stopService}, or because an operator of one of its servers has
        told it to.

        @return: fires when all connections have ended; at once if the worker has not been started. Cancelling
            it changes nothing.
        """
        return self._links.when_stopped()

    # Twisted's hooks

    def startService(self) -> None:
        """
        Connect to all servers, and begin to work; while the worker stops, as soon as it has stopped.
        """
        super().startService()
        self._links.start()

    def stopService(self) -> Deferred[None]:
        """
        Take no more jobs, finish those that run, and leave. What has not ended
        after C{stop_timeout} is given up, and the servers give it to others.

        @return: fires when all connections have ended. Cancelling it changes nothing about that.
        """
        super().stopService()
        return self._links.stop()
