"""
What PostgreSQL and MySQL have in common: a database server that is reached over a connection.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any, ClassVar, Final

from sqlalchemy import URL, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import ArgumentError
from twisted.logger import Logger

from txgear.errors import ConfigurationError
from txgear.stores import TIMEOUT
from txgear.stores.connector import Connector
from txgear.stores.dialects import StoreDialect
from txgear.stores.hosts import Host, HostsError, shown, split, with_query

GRACE: Final = 1.0
"""Seconds that we wait longer than the server does, so that it gives a statement up first."""

MARGIN: Final = 1.5
"""How much longer than a database may stand still it is waited for: there is work left when it goes on."""

PATIENCE: Final = 3600.0
"""Seconds that the server has to make an index."""

ACCESS: Final = "check the user, the password and the database"
RIGHTS: Final = "let the server's user make and write tables in that database"
FOREIGN_TABLES: Final = "its tables are not txgear's: name a database of its own"


class ServerDialect(StoreDialect):
    """
    A database of a database server.

    Its lock belongs to the connection. Where that was cut unnoticed, the server may keep the lock for
    hours, so a new connection ends the old one by its number.

    @cvar driver: SQLAlchemy's name for the kind of server and the driver.
    @cvar limit: the attribute of the driver's connections that says for how many seconds an answer is waited
        for.
    @ivar timeout: seconds in which the server has to answer.
    @ivar stall: seconds for which it may stand still though nothing is wrong with it; known when there is a
        connection.
    @ivar database: the database's name.
    @ivar connector: connects to one of the hosts.
    @ivar session: the server's number of our last connection that had the lock.
    """

    log = Logger()
    driver: ClassVar[str]
    limit: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {"paramstyle": "format"}

    def __init__(self, url: str, password: str | None, timeout: float | None) -> None:
        """
        @param url: C{scheme://user:password@host:port/database?options}, the options being the driver's.
            There may be several hosts, the preferred one first.
        @param password: replaces the one in the URL.
        @param timeout: seconds in which the server has to answer; where it is C{None} nobody has said that,
            and a database that is known to stand still for a while has more than others.
        @raise ConfigurationError: the URL makes no sense.
        """
        scheme = url.partition("://")[0]
        try:
            url, hosts = split(url)
            parts = make_url(url)
            hosts = with_query(hosts, parts.query)
        except (ArgumentError, ValueError) as error:
            # Not what it was: that may be the password.
            problem = f": {error}" if isinstance(error, HostsError) else ""
            raise ConfigurationError(
                f"the store's URL makes no sense{problem}; it is {scheme}://user@host:port/database, or"
                f" {scheme}://user@host:port,host:port/database"
            ) from error
        if not parts.database:
            raise ConfigurationError(f"the store's URL names no database: {scheme}://user@host:port/database")
        self.timeout = TIMEOUT if timeout is None else timeout
        self.stall = 0.0
        self._is_patient = timeout is None
        self.database = parts.database
        self.session: int | None = None
        name = URL.create(scheme, parts.username, None, None, None, parts.database).render_as_string()
        user, _, path = name.partition("://")[2].partition("/")
        before, behind = shown(hosts)
        parts = parts.set(drivername=self.driver).difference_update_query(("host", "port"))
        if password is not None:
            parts = parts.set(password=password)
        super().__init__(f"{scheme}://{user}{before}/{path}{behind}", parts, self.connect_args())
        self.connector = Connector(self, hosts)
        event.listen(self.engine, "do_connect", self._connect)

    @abstractmethod
    def connect_args(self) -> dict[str, Any]:
        """Arguments of the driver's C{connect}, beside the URL."""

    @abstractmethod
    def connect_to(self, host: Host, seconds: float, alone: bool, arguments: dict[str, Any]) -> Any:
        """
        Connect to a host.

        @param seconds: in which it has to answer.
        @param alone: whether there are no others; if there are, one that cannot be used is an error.
        @param arguments: of the driver's C{connect}.
        @return: the driver's connection.
        """

    @abstractmethod
    def with_message(self, error: Exception, message: str, *, passes: bool) -> Exception:
        """
        An error of the driver that means the same, with another message.

        @param passes: whether trying again may help, whatever the message says.
        """

    def _connect(self, dialect: Dialect, record: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """SQLAlchemy calls this to connect."""
        return self.connector.connect(kwargs)

    def bear(self, stall: float, why: str) -> None:
        """
        The database may stand still for some seconds: wait for it, or say what comes of not doing so.

        @param why: what sets that, for the log.
        """
        needed = float(ceil(stall * MARGIN))
        known, self.stall = self.stall, stall
        if self.timeout >= needed:
            return
        if self._is_patient:
            self.timeout = needed
            self.log.info(
                "{store} answers nothing for {stall:g} seconds when a node dies ({why}): what is to be stored"
                " waits for up to {timeout:g} seconds",
                store=self.name,
                stall=stall,
                why=why,
                timeout=needed,
            )
        elif stall != known:
            self.log.warn(
                "{store} answers nothing for {stall:g} seconds when a node dies ({why}), and --store-timeout"
                " is {timeout:g}: submits are refused meanwhile. Leave that option out, or say {needed:g}",
                store=self.name,
                stall=stall,
                why=why,
                timeout=self.timeout,
                needed=needed,
            )

    @contextmanager
    def patience(self, driver: DBAPIConnection) -> Iterator[None]:
        before = getattr(driver, self.limit)
        setattr(driver, self.limit, PATIENCE)
        try:
            yield
        finally:
            setattr(driver, self.limit, before)

    def prepare(self) -> None:
        """Nothing: there is nothing to prepare on this machine."""

    def release(self) -> None:
        """Nothing: there is nothing to undo on this machine."""
