"""
What differs between the databases that a SQL store works with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.pool import NullPool

from txgear.errors import ConfigurationError
from txgear.stores.statements import Statements


class StoreDialect(ABC):
    """
    One database of one kind: how it is reached, kept from others, and understood when it complains.

    @cvar package: what pip installs its driver with.
    @cvar options: of the engine.
    @cvar begin: what starts a transaction that writes, where the driver does not by itself.
    @cvar kind_of_statements: how it is spoken to.
    @ivar name: where it is, as a URL without a password.
    @ivar engine: makes connections.
    @ivar statements: what it is asked.
    @ivar largest: bytes of the largest workload or result that it takes, if it would not just refuse
        a larger one; otherwise C{None}.
    @ivar largest_why: what sets that bound.
    """

    package: ClassVar[str] = ""
    options: ClassVar[dict[str, Any]] = {}
    begin: ClassVar[str] = ""
    kind_of_statements: ClassVar[type[Statements]] = Statements

    def __init__(self, name: str, url: URL, connect_args: dict[str, Any]) -> None:
        """
        @param url: with SQLAlchemy's name of the driver, and all that it takes to connect.
        @param connect_args: for the driver, beside what the URL says.
        @raise ConfigurationError: the driver is not installed.
        """
        self.name = name
        self.largest: int | None = None
        self.largest_why = ""
        try:
            self.engine: Engine = create_engine(
                url, poolclass=NullPool, connect_args=connect_args, **self.options
            )
        except ImportError as error:
            raise ConfigurationError(
                f"the store {name} needs a package that is not installed: pip install '{self.package}'"
            ) from error
        self.statements = self.kind_of_statements(self.engine.dialect)

    @abstractmethod
    def prepare(self) -> None:
        """
        Do what must be done before there is a connection, unless it is done already.

        @raise StoreUnusable: it cannot be done.
        """

    @abstractmethod
    def settle(self, connection: Connection) -> None:
        """
        Set a new connection up; the caller commits.

        @raise StoreUnusable: there is no working with this database.
        """

    @abstractmethod
    def lock(self, connection: Connection) -> bool:
        """
        Keep other servers off for as long as this connection lasts; the caller commits.

        @return: whether that is so now; false if another server keeps us off.
        """

    def check(self, driver: DBAPIConnection) -> None:  # noqa: B027 - most have nothing to do
        """
        See that what has just been committed is where it will be looked for.

        @raise StoreUnusable: it is not.
        """

    def damaged(self, error: BaseException) -> bool:
        """Whether an error says that some rows are damaged, and others can be worked with."""
        return False

    def cursor(self, driver: DBAPIConnection) -> DBAPICursor:
        """A cursor of the driver's connection, for the statements."""
        return driver.cursor()

    @abstractmethod
    def release(self) -> None:
        """Undo what L{prepare} did."""

    @abstractmethod
    def words(self, error: BaseException) -> str:
        """What an error of the driver says, without the driver's own additions."""

    @abstractmethod
    def refuses(self, error: BaseException) -> bool:
        """Whether an error says that the database works, and has no room for what it was given."""

    @abstractmethod
    def hopeless(self, error: BaseException) -> str:
        """What must be done before the store can be opened; empty where it may be open by itself later."""
