"""
What PostgreSQL and MySQL have in common: a database server that is reached over a connection.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from txgear.errors import ConfigurationError
from txgear.stores.dialects import StoreDialect

GRACE: Final = 1.0
"""Seconds that we wait longer than the server does, so that it gives a statement up first."""

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
    @ivar timeout: seconds in which the server has to answer.
    @ivar database: the database's name.
    @ivar session: the server's number of our last connection that had the lock.
    """

    driver: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {"paramstyle": "format"}

    def __init__(self, url: str, password: str | None, timeout: float) -> None:
        """
        @param url: C{scheme://user:password@host:port/database?options}, the options being the driver's.
        @param password: replaces the one in the URL.
        @param timeout: seconds in which the server has to answer.
        @raise ConfigurationError: the URL makes no sense.
        """
        scheme = url.partition("://")[0]
        try:
            parts = make_url(url)
        except (ArgumentError, ValueError) as error:
            # Not what it was: that may be the password.
            raise ConfigurationError(
                f"the store's URL makes no sense; it is {scheme}://user@host:port/database"
            ) from error
        if not parts.database:
            raise ConfigurationError(f"the store's URL names no database: {scheme}://user@host:port/database")
        self.timeout = timeout
        self.database = parts.database
        self.session: int | None = None
        name = URL.create(scheme, parts.username, None, parts.host, parts.port, parts.database)
        parts = parts.set(drivername=self.driver)
        if password is not None:
            parts = parts.set(password=password)
        super().__init__(name.render_as_string(), parts, self.connect_args())

    @abstractmethod
    def connect_args(self) -> dict[str, Any]:
        """Arguments of the driver's C{connect}, beside the URL."""

    def prepare(self) -> None:
        """Nothing: there is nothing to prepare on this machine."""

    def release(self) -> None:
        """Nothing: there is nothing to undo on this machine."""
