"""
The supervisor's own connection to each server: it hears there how many jobs wait, and tells which of its
processes are gone. It takes no jobs.
"""

from __future__ import annotations

import random as _random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from json import loads
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txgear.errors import server_error
from txgear.net.arguments import Text, client_id, token_bytes
from txgear.net.connector import Connector
from txgear.net.login import Login
from txgear.net.serverconnection import Limits, ServerConnection
from txgear.net.servers import Server, ServerArgument, TLSArgument, server_list
from txgear.net.steady import steady
from txgear.protocol.constants import ERROR, FUNCTION_LOAD, FUNCTION_LOADS, WORKER_GONE
from txgear.protocol.packets import Data, request
from txgear.runtime.scaling import Load, total
from txgear.worker.hello import Identity, greeting, key_at

ASK_SECONDS: Final = 1.0
"""Seconds between two questions how many jobs wait."""
STALE_SECONDS: Final = 10.0
"""Seconds after which an answer says nothing any more: the server may be stuck."""
MOST_ASKED: Final = 1000
"""Functions that a server is asked about in one packet; it takes no more."""
MOST_UNTOLD: Final = 1000
"""
Processes that are gone, of which one server that is away has not been told yet; the oldest are dropped. What
they had counts as lost there all the same, later.
"""
MOST_COUNT: Final = 2**53
"""No server has so many jobs."""


class SupervisorConnection(ServerConnection):
    """
    A supervisor's connection to one server.

    @ivar asking: for each question that has no answer yet, the functions that it is about.
    @ivar told: what the server has answered last, by function, while it has answered lately.
    @ivar told_at: when that was.
    """

    def __init__(
        self,
        clock: IReactorTime,
        server: Server,
        login: Login | None,
        on_ready: Callable[[SupervisorConnection], object],
        on_error: Callable[[SupervisorConnection, str], object],
        name: bytes,
    ) -> None:
        """
        @param on_ready: called when the server has answered for the first time.
        @param on_error: called with what the server refuses, in words.
        @param name: what lists of connections call it.
        """
        super().__init__(clock, server, Limits(), greeting(name, login), login)
        self._on_ready = on_ready
        self._on_error = on_error
        self.asking: deque[list[bytes]] = deque()
        self.told: dict[bytes, Load] = {}
        self.told_at = 0.0

    @property
    def tells(self) -> bool:
        """Whether it can be asked, or told, anything."""
        return self.usable and self.extended

    def became_ready(self) -> None:
        self._on_ready(self)

    def ask(self, names: Collection[bytes]) -> None:
        """Ask how many jobs of these functions wait; not while an earlier question waits for its answer."""
        if self.asking or not names:
            return
        wanted = list(names)
        self.told = {name: self.told[name] for name in wanted if name in self.told}
        with self.gathered():
            for first in range(0, len(wanted), MOST_ASKED):
                some = wanted[first : first + MOST_ASKED]
                self.asking.append(some)
                self.send(request(FUNCTION_LOAD, b"\0".join(some)))
        self.waits_for_answer(True)

    def packet_received(self, kind: int, arguments: list[Data]) -> None:
        if kind == FUNCTION_LOADS and self.asking:
            names = self.asking.popleft()
            self.waits_for_answer(bool(self.asking))
            try:
                found = read_loads(bytes(arguments[0]), len(names))
            except ValueError as error:
                self.drop(f"answers what makes no sense: {error}")
                return
            self.told.update(zip(names, found, strict=True))
            self.told_at = self._clock.seconds()
        elif kind == ERROR and self.extended:
            self.asking.clear()
            self.waits_for_answer(False)
            self._on_error(self, str(server_error(*map(bytes, arguments))))
        else:
            super().packet_received(kind, arguments)


def read_loads(text: bytes, count: int) -> list[Load]:
    """
    Read the data of FUNCTION_LOADS.

    @param count: how many functions it is about.
    @raise ValueError: it is no such thing.
    """
    try:
        found = loads(text)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, list) or len(found) != count:
        raise ValueError(f"a list of {count} loads is wanted")
    return [_read_load(each) for each in found]


def _read_load(found: Any) -> Load:
    if not isinstance(found, dict):
        raise ValueError("a load is no JSON object")
    numbers: tuple[Any, ...] = tuple(map(found.get, ("waiting", "oldest", "running")))
    waiting, oldest, running = numbers
    if not (_is_number(waiting) and _is_number(running) and (oldest is None or _is_number(oldest))):
        raise ValueError("a load is made of numbers")
    return Load(int(waiting), None if oldest is None else float(oldest), int(running))


def _is_number(value: object) -> bool:
    # What is not a number is not less than anything either.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < MOST_COUNT


class Servers:
    """
    The servers of a runtime, as the supervisor sees them. It stays connected to each from L{start} to
    L{stop}.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        servers: ServerArgument | Iterable[ServerArgument],
        identity: Identity,
        functions: Callable[[], Collection[bytes]],
        *,
        name: Text = b"",
        tls: TLSArgument = False,
        token: Text | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """
        @param servers: as L{Worker<txgear.worker.Worker>} takes them; named as its processes name them.
        @param identity: who the supervisor is, at all of them.
        @param functions: asked each second of which functions it matters how many jobs wait.
        @param name: what lists of connections call it.
        @param tls: as L{Worker<txgear.worker.Worker>} takes it.
        @param token: the same.
        @param random: numbers from 0 to 1, to spread the attempts to connect.
        @raise ValueError: as for L{Worker<txgear.worker.Worker>}.
        @raise TypeError: as for L{Worker<txgear.worker.Worker>}.
        """
        self._clock = steady(reactor)
        self._identity = identity
        self._functions = functions
        self._name = client_id(name)
        self._login = None if token is None else Login(token_bytes(token))
        self._connectors = {
            server: Connector(self._clock, [server], self._connection_to, self._unreachable, random)
            for server in server_list(reactor, servers, tls)
        }
        self._untold: dict[Server, dict[str, str]] = {server: {} for server in self._connectors}
        self._problems: dict[Server, str] = {}
        self._warned: set[tuple[Server, str]] = set()
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Connect to all servers, and ask them each second."""
        for connector in self._connectors.values():
            connector.start()
        self._ask()

    def stop(self) -> Deferred[None]:
        """
        Ask nothing more, and leave all servers, once what they were told has left.

        @return: fires when all connections have ended. Cancelling it changes nothing about that.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        stopped: Deferred[None] = Deferred()
        _ = gatherResults([connector.stop() for connector in self._connectors.values()]).addCallback(
            lambda _: stopped.callback(None)
        )
        return stopped

    # What is asked

    def load(self, names: Iterable[bytes]) -> Load | None:
        """
        How much waits for workers, of some functions together.

        @return: C{None} while no server tells.
        """
        wanted, now = set(names), self._clock.seconds()
        return total(
            load
            for connection in self._telling()
            if now - connection.told_at <= STALE_SECONDS
            for name, load in connection.told.items()
            if name in wanted
        )

    @property
    def reached(self) -> Mapping[str, bool]:
        """All servers, by name: whether there is a connection over which the server has answered."""
        found = {}
        for server, connector in self._connectors.items():
            connection = connector.connection
            found[server.name] = connection is not None and connection.usable
        return found

    @property
    def problems(self) -> Mapping[str, str]:
        """The servers, by name, that cannot be reached now, each with the reason."""
        return {server.name: why for server, why in self._problems.items()}

    def _telling(self) -> list[SupervisorConnection]:
        connections = [connector.connection for connector in self._connectors.values()]
        return [connection for connection in connections if connection is not None and connection.tells]

    def _ask(self) -> None:
        self._timer = self._clock.callLater(ASK_SECONDS, self._ask)
        names = self._functions()
        for connection in self._telling():
            connection.ask(names)

    # What is told

    def gone(self, key: str, reason: str) -> None:
        """
        Tell all servers that a process is gone: whatever it had is over. One that is away is told when it is
        back.

        @param key: by which the servers know that process.
        @param reason: why, in words.
        """
        for server, connector in self._connectors.items():
            connection = connector.connection
            if connection is not None and connection.tells:
                self._tell(connection, key, reason)
            else:
                untold = self._untold[server]
                untold[key] = reason
                if len(untold) > MOST_UNTOLD:
                    del untold[next(iter(untold))]

    @staticmethod
    def _tell(connection: SupervisorConnection, key: str, reason: str) -> None:
        name = key_at(key, connection.server.name).encode("ascii")
        connection.send(request(WORKER_GONE, name, reason.encode("utf-8", "backslashreplace")))

    # Connections

    def _connection_to(self, server: Server) -> SupervisorConnection:
        return SupervisorConnection(self._clock, server, self._login, self._ready, self._refused, self._name)

    def _ready(self, connection: SupervisorConnection) -> None:
        server = connection.server
        self._connectors[server].proved()
        self._problems.pop(server, None)
        untold = self._untold[server]
        if connection.extended:
            connection.send(self._identity.packet(server.name, {}))
            for key, reason in untold.items():
                self._tell(connection, key, reason)
            connection.ask(self._functions())
        else:
            self._warn_once(server, "{server} does not tell how many jobs wait: no group grows for its sake")
        untold.clear()

    def _unreachable(self, server: Server, why: str) -> None:
        self._problems[server] = why
        self.log.warn("the supervisor cannot reach {server}: {why}", server=server.name, why=why)

    def _refused(self, connection: SupervisorConnection, what: str) -> None:
        self._warn_once(connection.server, "{server} refuses what the supervisor sends: {what}", what=what)

    def _warn_once(self, server: Server, words: str, **more: str) -> None:
        if (server, words) not in self._warned:
            self._warned.add((server, words))
            self.log.warn(words, server=server.name, **more)
