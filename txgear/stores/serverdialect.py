"""
What PostgreSQL and MySQL have in common: a database server that is reached over a connection.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any, ClassVar, Final

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, Dialect
from sqlalchemy.exc import ArgumentError
from twisted.logger import Logger

from txgear.errors import ConfigurationError
from txgear.quantities import second_words
from txgear.stores.connector import Connector
from txgear.stores.dialects import StoreDialect
from txgear.stores.hosts import TIMEOUT, Host, HostsError, QueryValue, shown, split, with_query
from txgear.stores.tenure import Session

GRACE: Final = 1.0
"""Seconds that we wait longer than the server does, so that it gives a statement up first."""

MARGIN: Final = 1.5
"""How much longer than a database may stand still it is waited for: there is work left when it goes on."""

PATIENCE: Final = 3600.0
"""Seconds that the server has to make an index."""

SEPARATOR: Final = "/"
"""Between the name of a database server and what stands for a connection of its."""

ACCESS: Final = "check the user, the password and the database"
RIGHTS: Final = "let the server's user make and write tables in that database"
FOREIGN_TABLES: Final = "its tables are not txgear's: name a database of its own"
MISSING_TABLE: Final = "its tables are not all there: restore it from a backup, or name another database"


class ServerDialect(StoreDialect):
    """
    A database of a database server.

    A lease keeps other servers off it. What the database says of connections only makes that quicker: of a
    connection that is no more nobody has to wait whether it beats. A connection has a name for that, of the
    database server, which no other one has, and of the connection, which none of its others has.

    @cvar driver: SQLAlchemy's name for the kind of server and the driver.
    @cvar limit: the attribute of the driver's connections that says for how many seconds an answer is waited
        for.
    @ivar timeout: seconds in which the server has to answer.
    @ivar stall: seconds for which it may stand still though nothing is wrong with it; known when there is a
        connection.
    @ivar lags: whether a transaction that writes may not see yet what others have committed; a read that is
        by itself does. Known when there is a connection.
    @ivar database: the database's name.
    @ivar connector: connects to one of the hosts.
    @ivar server: the name of the database server that we are connected to; empty where that is not known, as
        behind a pooler, whose connections are not ours.
    @ivar waits_for: for whom a COMMIT may wait, in words; empty for nobody.
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
            self.check_hosts(hosts, parts.query)
        except (ArgumentError, ValueError) as error:
            # Not what it was: that may be the password.
            problem = f": {error}" if isinstance(error, HostsError) else ""
            # Where the first host would end, that is.
            rest = re.split("[/?#]", url.partition("://")[2], maxsplit=1)[1:]
            if url.count("@") > 1 or "@" in "".join(rest):
                problem += (
                    ": if a password has characters such as / and @, they are written %2F and %40, or it"
                    " stands in the file of --store-password-file"
                )
            raise ConfigurationError(
                f"the store's URL makes no sense{problem}; it is {scheme}://user@host:port/database, or"
                f" {scheme}://user@host:port,host:port/database"
            ) from error
        if not parts.database:
            raise ConfigurationError(f"the store's URL names no database: {scheme}://user@host:port/database")
        self.timeout = TIMEOUT if timeout is None else timeout
        self.stall = 0.0
        self.lags = False
        self._is_patient = timeout is None
        self.database = parts.database
        self.server = ""
        self.waits_for = ""
        name = URL.create(scheme, parts.username, None, None, None, parts.database).render_as_string()
        user, _, path = name.partition("://")[2].partition("/")
        before, behind = shown(hosts)
        parts = parts.set(drivername=self.driver).difference_update_query(("host", "port"))
        if password is not None:
            parts = parts.set(password=password)
        super().__init__(f"{scheme}://{user}{before}/{path}{behind}", parts, self.connect_args())
        self.connector = Connector(self, hosts)
        event.listen(self.engine, "do_connect", self._connect)

    def check_hosts(self, hosts: Sequence[Host], query: Mapping[str, QueryValue]) -> None:
        """
        See whether the driver can make something of them.

        @param query: what stands behind the URL's question mark.
        @raise HostsError: it cannot.
        """

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
                "{store} answers nothing for {span} when a node dies ({why}): what is to be stored"
                " waits for up to {patience}",
                store=self.name,
                span=second_words(stall),
                why=why,
                patience=second_words(needed),
            )
        elif stall != known:
            self.log.warn(
                "{store} answers nothing for {span} when a node dies ({why}), and --store-timeout"
                " is {timeout:g}: submits are refused meanwhile. Leave that option out, or say {needed:g}",
                store=self.name,
                span=second_words(stall),
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

    def leave(self) -> None:
        self.connector.leave()

    def release(self) -> None:
        """Nothing: there is nothing to undo on this machine."""

    # Who else is there

    @abstractmethod
    def lock(self, connection: Connection) -> bool:
        """
        Try to keep others off that do the same, and servers of versions before the lease, which had the same
        lock for as long as they ran. It is for this transaction only, or until L{unlock}.

        @return: whether it is done.
        """

    def unlock(self, connection: Connection) -> None:
        """Undo what L{lock} did, after the transaction."""

    @contextmanager
    @abstractmethod
    def autocommit(self, driver: DBAPIConnection) -> Iterator[None]:
        """Each statement is a transaction meanwhile."""
        yield

    def execute_first(
        self,
        driver: DBAPIConnection,
        cursor: DBAPICursor,
        text: str,
        parameters: tuple[Any, ...],
        hearer: Callable[[int], None],
    ) -> None:
        """
        Execute the first statement of a transaction.

        @param hearer: is told how many rows it has changed, before the transaction is committed; what it
            raises ends that.
        """
        cursor.execute(text, parameters)
        hearer(cursor.rowcount)

    @contextmanager
    @abstractmethod
    def short_waits(self, cursor: DBAPICursor) -> Iterator[None]:
        """Nobody waits for a lock for longer than a second meanwhile; under autocommit."""
        yield

    @abstractmethod
    def session(self, driver: DBAPIConnection, cursor: DBAPICursor) -> str:
        """
        Ask for the name of the connection; L{server} is known then.

        @return: it, empty where L{server} is.
        """

    def look_at(self, cursor: DBAPICursor, session: str) -> Session:
        """
        What has become of a connection.

        @param session: its name, under autocommit.
        """
        server, _, key = session.rpartition(SEPARATOR)
        if not server or server != self.server:
            return Session.UNKNOWN
        return self.look_at_key(cursor, key)

    @abstractmethod
    def look_at_key(self, cursor: DBAPICursor, key: str) -> Session:
        """
        The same.

        @param key: the part of its name behind that of the server.
        """

    def end_session(self, cursor: DBAPICursor, session: str) -> None:
        """End a connection, if it is one of this server's; its transaction has an end then."""
        server, _, key = session.rpartition(SEPARATOR)
        if server and server == self.server:
            self.end_key(cursor, key)

    @abstractmethod
    def end_key(self, cursor: DBAPICursor, key: str) -> None:
        """The same."""

    @abstractmethod
    def is_locked(self, error: BaseException) -> bool:
        """Whether an error of the driver says that somebody else has had a row locked for too long."""
