"""
The servers of a worker: it is connected to all of them, and asks them for jobs in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txgear.broker.rights import WORK, denied
from txgear.broker.words import number, verb
from txgear.errors import AccessDenied
from txgear.net.connector import Connector
from txgear.net.serverconnection import Limits
from txgear.net.servers import Server
from txgear.protocol.constants import WORD_STOP, WORK_EXCEPTION
from txgear.protocol.textlines import text
from txgear.quantities import second_words
from txgear.worker.absences import Absences
from txgear.worker.connection import WorkerConnection
from txgear.worker.functions import Ability
from txgear.worker.hello import Introduction
from txgear.worker.job import WorkerJob
from txgear.worker.running import RunningJobs
from txgear.worker.state import STATE_SECONDS, State
from txgear.worker.words import Refused, Words

GRAB_SECONDS: Final = 1.0
"""
How long a server that was asked for a job keeps its claim to the room for it.
After that another one is asked as well: a worker must not stand idle at a
server that is dead.
"""


class ServerLinks:
    """
    A worker's connections to all its servers; the owner of each L{WorkerConnection}.

    It asks its servers for as many jobs as there is room for, shared out among those that may have some. A
    server that has just been asked goes to the end of the line.

    It has not started, or works, or stops: then it asks for no more jobs, and closes each connection when no
    job is under way there. If it is started meanwhile, it works again as soon as it has stopped.

    @ivar paused: whether no server is asked for a job for now.
    @ivar stop_wanted: called when a server tells the worker to stop; set by who can.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        servers: list[Server],
        limits: Limits,
        introduction: Introduction,
        abilities: Mapping[bytes, Ability],
        jobs: RunningJobs,
        words: Words,
        state: Callable[[], State],
        stop_timeout: float,
        random: Callable[[], float],
    ) -> None:
        """
        @param introduction: what each server is told first, and of who the worker is.
        @param abilities: the functions, which are registered at each server when it is connected.
        @param jobs: runs the jobs that the servers give.
        @param words: what operators can tell the worker; it understands to pause, to resume and to stop here.
        @param state: says how the worker is.
        @param stop_timeout: seconds that jobs may go on when the worker stops.
        @param random: numbers from 0 to 1, to spread the attempts to connect.
        """
        self._clock = clock
        self._servers = servers
        self._limits = limits
        self._introduction = introduction
        self._abilities = abilities
        self._jobs = jobs
        jobs.jobs_wanted = self.jobs_wanted
        self._words = words
        words.add("pause", self._told_to_pause)
        words.add("resume", self._told_to_resume)
        words.add("stop", self._told_to_stop)
        self._state = state
        self._told_state: State | None = None
        self._stop_timeout = stop_timeout
        self._random = random
        self._grabs: dict[Server, int] = {}
        self._connectors: dict[Server, Connector[WorkerConnection]] = {}
        self._leaving: set[Server] = set()
        self._problems: dict[Server, str] = {}
        self._refused: dict[Server, set[bytes]] = {}
        self._told: set[tuple[Server, bytes]] = set()
        self._ready: list[WorkerConnection] = []
        self.paused = False
        self.stop_wanted: Callable[[], object] = self.stop
        self._started = False
        self._stopping: list[Deferred[None]] = []
        self._awaiting_end: list[Deferred[None]] = []
        self._awaiting_work: list[Deferred[None]] = []
        self._awaiting_ready: list[Deferred[None]] = []
        self._denials: dict[Server, AccessDenied] = {}
        self._absences = Absences(clock, self._connectors, jobs, self.jobs_wanted, self._connected)
        self._gives_up = False
        self._grab_timer: IDelayedCall | None = None
        self._stop_timer: IDelayedCall | None = None
        self._state_timer: IDelayedCall | None = None

    # Start and stop

    def start(self) -> None:
        """Connect to all servers; while it stops, as soon as it has stopped."""
        self._started = True
        if not self._stopping:
            self._jobs.begin()
            self._connect()

    def stop(self) -> Deferred[None]:
        """
        Leave all servers, each when no job is under way there, or after C{stop_timeout} seconds.

        @return: fires when all connections have ended. Cancelling it changes nothing about that.
        """
        self._started = False
        stopped: Deferred[None] = Deferred()
        self._stopping.append(stopped)
        if self._stop_timer is None:
            self._stop_timer = self._clock.callLater(self._stop_timeout, self._stop_now)
        self._leave()
        return stopped

    def when_stopped(self) -> Deferred[None]:
        """
        @return: fires when all connections have ended, whoever stops them; at once where there are none to
            be.
        """
        if not (self._started or self._stopping):
            return succeed(None)
        awaiting: Deferred[None] = Deferred(self._awaiting_end.remove)
        self._awaiting_end.append(awaiting)
        return awaiting

    def _connect(self) -> None:
        for server in self._servers:
            if server not in self._connectors:
                connector = Connector(
                    self._clock, [server], self._connection_to, self._unreachable, self._random
                )
                self._connectors[server] = connector
                connector.start()

    def _leave(self) -> None:
        """Close the connections over which nothing is under way any more."""
        for server, connector in list(self._connectors.items()):
            connection = connector.connection
            if (
                server not in self._leaving
                and server not in self._absences
                and (connection is None or connection.ended is not None or connection.idle)
            ):
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
        for timer in (self._stop_timer, self._grab_timer, self._state_timer):
            if timer is not None:
                timer.cancel()
        self._stop_timer = self._grab_timer = self._state_timer = None
        self._gives_up = False
        self._jobs.stop_threads()
        waiting, self._stopping = self._stopping + self._awaiting_end, []
        self._awaiting_end = []
        for stopped in waiting:
            stopped.callback(None)
        if self._started and not self._stopping:
            self._jobs.begin()
            self._connect()

    def _stop_now(self) -> None:
        self._stop_timer = None
        left = len(self._jobs)
        self.log.warn(
            "{jobs} {have} not ended within {span}, and {are} given up",
            jobs=number(left, "job"),
            have=verb(left, "has", "have"),
            span=second_words(self._stop_timeout),
            are=verb(left, "is", "are"),
        )
        self._gives_up = True
        why = f"the worker was stopped, and the job had not ended {second_words(self._stop_timeout)} later"
        self._absences.end_all(why)
        for connection in self._connected():
            if connection.grace:
                # The server would wait for us.
                connection.send(self._introduction.farewell(connection.server, why))
                connection.close()
            else:
                connection.abort()

    # Connections

    def announce(self, ability: Ability) -> None:
        """Register one more function at the connected servers."""
        for connection in self._connected():
            connection.announce(ability.name, ability.packet)
        self.tell_state()
        self.jobs_wanted()

    def withdraw(self, ability: Ability) -> None:
        """Take no more jobs of a function."""
        for refused in self._refused.values():
            refused.discard(ability.name)
        for connection in self._connected():
            connection.withdraw(ability.name)
        self.tell_state()

    def _connection_to(self, server: Server) -> WorkerConnection:
        introduction = self._introduction
        greeting = introduction.greeting() + [ability.packet for ability in self._abilities.values()]
        self._refused[server] = set()
        return WorkerConnection(
            self._clock, server, self._limits, greeting, introduction.login, self, self._grabs
        )

    def hello(self, connection: WorkerConnection) -> bytes:
        """Part of L{txgear.worker.connection.Owner}: what is said to a server of this project."""
        server = connection.server
        return self._introduction.hello(server, *self._absences.claims(server))

    def _connected(self) -> list[WorkerConnection]:
        """The connections that are not ending, whether the server has answered yet or not."""
        connections = [connector.connection for connector in self._connectors.values()]
        return [connection for connection in connections if connection is not None and not connection.closing]

    def _unreachable(self, server: Server, why: str) -> None:
        """
        A server cannot be reached, for a new reason. Where there is no other, nothing goes on here: of
        all events Twisted shows only critical ones where nobody has set up a log.
        """
        self._problems[server] = why
        refusal = self._connectors[server].refusals.get(server)
        if isinstance(refusal, AccessDenied):
            self._denials[server] = refusal
        else:
            self._denials.pop(server, None)
        if len(self._problems) < len(self._servers):
            self.log.warn("{server} cannot be reached: {why}", server=server.name, why=why)
        else:
            problems = "; ".join(f"{server.name}: {why}" for server, why in self._problems.items())
            self.log.critical(
                "no server can be reached, the worker tries again: {problems}", problems=problems
            )
        self._look_whether_denied()

    def connection_ready(self, connection: WorkerConnection) -> None:
        """Part of L{txgear.worker.connection.Owner}: a server has answered for the first time."""
        self._problems.pop(connection.server, None)
        self._connectors[connection.server].proved()
        self._ready.insert(0, connection)
        count = len(self._abilities) - len(self._refused[connection.server])
        self.log.info(
            "working at {server}: {count} {functions}",
            server=connection.server.name,
            count=count,
            functions="function" if count == 1 else "functions",
        )
        if self._may_work_at(connection.server):
            self._denials.pop(connection.server, None)
            waiting, self._awaiting_work = self._awaiting_work, []
            for working in waiting:
                working.callback(None)
        else:
            self._look_whether_denied()
        self.tell_state()
        self.jobs_wanted()

    def _may_work_at(self, server: Server) -> bool:
        return len(self._abilities) > len(self._refused[server]) or not self._abilities

    def _look_whether_denied(self) -> None:
        """Tell those who wait for work, if no server lets us."""
        if len(self._denials) == len(self._servers):
            denial = next(iter(self._denials.values()))
            waiting, self._awaiting_work = self._awaiting_work, []
            for working in waiting:
                working.errback(denial)

    def when_working(self) -> Deferred[None]:
        """
        @return: fires when a server has answered that lets the worker do something, at once if there is one;
            fails with L{AccessDenied} once all have said no.
        """
        if any(self._may_work_at(connection.server) for connection in self._ready):
            return succeed(None)
        working: Deferred[None] = Deferred(self._awaiting_work.remove)
        self._awaiting_work.append(working)
        return working

    @property
    def problems(self) -> dict[str, str]:
        """Why servers cannot be reached, by their names."""
        return {server.name: why for server, why in self._problems.items()}

    def connection_lost(self, connection: WorkerConnection, reason: str) -> None:
        """
        Part of L{txgear.worker.connection.Owner}: a connection has ended. Its jobs go on for as long as the
        server waits for them, or are given up.
        """
        server = connection.server
        if connection in self._ready:
            self._ready.remove(connection)
            if server not in self._leaving:
                self.log.info("no longer working at {server}: {reason}", server=server.name, reason=reason)
        self._absences.lost_again(server)
        if connection.grace and not self._gives_up:
            self._absences.begin(connection)
        for job in list(connection.jobs.values()):
            if job.connection is connection:
                self._jobs.give_up(job, f"the connection to {job.server} was lost: {reason}")
        self.jobs_wanted()

    def welcomed(self, connection: WorkerConnection, held: Collection[bytes]) -> None:
        """
        Part of L{txgear.worker.connection.Owner}: a server says which of the jobs that it was told of are
        still the worker's.
        """
        self._absences.welcomed(connection, held)

    def returned(self, connection: WorkerConnection, held: Collection[bytes]) -> None:
        """Part of L{txgear.worker.connection.Owner}: a server has these jobs from another one."""
        self._absences.returned(connection, held)

    @property
    def refused(self) -> dict[bytes, list[str]]:
        """The functions that servers do not let the worker do, each with the names of those servers."""
        found: dict[bytes, list[str]] = {}
        for server, functions in self._refused.items():
            for function in functions:
                found.setdefault(function, []).append(server.name)
        return found

    def access_denied(self, connection: WorkerConnection, error: AccessDenied) -> None:
        """
        Part of L{txgear.worker.connection.Owner}: a server does not allow something. It is told once, however
        often the worker connects.
        """
        server = connection.server
        names = [name for name in self._abilities if error.text == denied(WORK, name).text]
        self._refused[server].update(names)
        if not self._may_work_at(server):
            self._denials[server] = error
        told = [(server, name) for name in names or [b""]]
        if not self._told.issuperset(told):
            self._told.update(told)
            self.log.warn("{server} does not let this worker work: {error}", server=server.name, error=error)

    # How the worker is, and what it is told

    def tell_state(self) -> None:
        """Tell all servers that understand it how the worker is, now, and what is new from time to time."""
        listening = [connection for connection in self._ready if connection.extended]
        if listening:
            self._told_state = told = self._state()
            state = told.packet()
            for connection in listening:
                connection.tell_state(state)
            self._look_for_news()

    def _look_for_news(self) -> None:
        if self._state_timer is None:
            self._state_timer = self._clock.callLater(STATE_SECONDS, self._tell_news)

    def _tell_news(self) -> None:
        self._state_timer = None
        if self._told_state is None or self._state().is_news(self._told_state):
            self.tell_state()
        else:
            self._look_for_news()

    def answered_grab(self, connection: WorkerConnection) -> None:
        """Part of L{txgear.worker.connection.Owner}: a server has been asked for a job, and has answered."""
        waiting, self._awaiting_ready = self._awaiting_ready, []
        for ready in waiting:
            ready.callback(None)

    @property
    def is_ready(self) -> bool:
        """Whether a server has answered when it was asked for a job, and is still there."""
        return any(connection.gives and connection.usable for connection in self._ready)

    def when_ready(self) -> Deferred[None]:
        """
        @return: fires when L{is_ready}, at once if it is so.
        """
        if self.is_ready:
            return succeed(None)
        ready: Deferred[None] = Deferred(self._awaiting_ready.remove)
        self._awaiting_ready.append(ready)
        return ready

    def set_paused(self, paused: bool) -> None:
        """Ask for no job from now on, or ask again; those that run go on. The servers are told."""
        if self.paused != paused:
            self.paused = paused
            self.tell_state()
            self.jobs_wanted()

    def steered(self, connection: WorkerConnection, number: bytes, word: bytes, argument: bytes) -> None:
        """Part of L{txgear.worker.connection.Owner}: a server tells the worker something."""

        def answer(said: tuple[bytes, str]) -> None:
            if not connection.closing:
                connection.answer(number, *said)
            if word == WORD_STOP:
                self.stop_wanted()

        _ = self._words.do(connection.server.name, word, argument).addCallback(answer)

    def _told_to_pause(self, _: bytes) -> str:
        self._refuse_if_stopping()
        text = "It was paused already" if self.paused else self._left_in_words()
        self.set_paused(True)
        return text

    def _told_to_resume(self, _: bytes) -> str:
        self._refuse_if_stopping()
        text = "" if self.paused else "It was not paused"
        self.set_paused(False)
        return text

    def _told_to_stop(self, _: bytes) -> str:
        return self._left_in_words()

    def _refuse_if_stopping(self) -> None:
        if self._stopping:
            raise Refused("It stops")

    def _left_in_words(self) -> str:
        """What is finished still."""
        count = len(self._jobs)
        return f"{count} {'job is' if count == 1 else 'jobs are'} finished first" if count else ""

    # Jobs

    def jobs_wanted(self) -> None:
        """
        Part of L{txgear.worker.connection.Owner}: ask as many servers for a job as there is room for jobs.
        While it stops, close the connections over which nothing is under way any more.
        """
        if self._stopping:
            self._leave()
            return
        if self._jobs.used_up:
            self.stop_wanted()
            return
        if self.paused:
            return
        free = self._jobs.room
        for connection in self._ready:
            if not connection.overdue:
                free -= connection.asked
        if len(self._ready) == 1:
            (connection,) = self._ready
            if (count := min(free, connection.wish)) > 0:
                connection.grab(count)
        else:
            self._share_out(free)

    def _share_out(self, free: int) -> None:
        """
        Ask several servers.

        @param free: for how many jobs.
        """
        awake = [connection for connection in self._ready if connection.wish > 0]
        for left, connection in zip(range(len(awake), 0, -1), awake, strict=True):
            if free <= 0:
                break
            count = min(connection.wish, -(-free // left))
            free -= count
            self._ready.remove(connection)
            self._ready.append(connection)
            connection.grab(count)
        else:
            return
        asked = [each.asked_at for each in self._ready if each.asked and not each.overdue]
        if asked and self._jobs.room > 0 and self._grab_timer is None:
            overdue = min(asked) + GRAB_SECONDS - self._clock.seconds()
            self._grab_timer = self._clock.callLater(max(overdue, 0.0), self._grab_overdue)

    def _grab_overdue(self) -> None:
        self._grab_timer = None
        now = self._clock.seconds()
        for connection in self._ready:
            if connection.asked and now >= connection.asked_at + GRAB_SECONDS:
                connection.overdue = True
        self.jobs_wanted()

    def jobs_assigned(self, jobs: list[WorkerJob]) -> None:
        """Part of L{txgear.worker.connection.Owner}: a server has given jobs."""
        self._jobs.assign(jobs)

    def fail_jobs(self, reason: str) -> None:
        """
        Give up all jobs under way: their servers are told that they have failed, and why. One that is away is
        not waited for any more.
        """
        self._absences.end_all(reason)
        for connection in self._connected():
            with connection.gathered():
                for job in list(connection.jobs.values()):
                    job.send(job.packet(WORK_EXCEPTION, [job.handle], reason.encode("utf-8", "replace")))
                    self._jobs.give_up(job, reason)
        self.jobs_wanted()

    def job_withdrawn(self, job: WorkerJob, reason: str) -> None:
        """Part of L{txgear.worker.connection.Owner}: the server has given a job up, or gives it to others."""
        self.log.info(
            "{server} takes back job {handle} of {function}: {reason}",
            server=job.server,
            handle=text(job.handle),
            function=text(job.function),
            reason=reason,
        )
        self._jobs.give_up(job, f"{job.server} has taken it back: {reason}")
        self.jobs_wanted()
