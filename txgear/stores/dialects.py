"""
What differs between the databases that a SQL store works with, as one abstract class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar, Final

from sqlalchemy import URL, Connection, Engine, Index, create_engine
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.pool import NullPool

from txgear.broker.records import StoreReport
from txgear.errors import ConfigurationError
from txgear.stores.questions import Questions
from txgear.stores.schema import BY_KEY, BY_LANE, BY_WAKE
from txgear.stores.statements import Statements
from txgear.stores.verdicts import Verdict

READ_ONLY: Final = "it is read-only: name a database that can be written"
OPTIONS: Final = "check what follows the question mark in the URL"


class StoreDialect(ABC):
    """
    One database: how it is reached, how other servers are kept off it, and what its errors mean.

    @cvar package: what pip is told to install its driver.
    @cvar options: arguments of SQLAlchemy's C{create_engine}.
    @cvar begin: the statement that begins a transaction that writes; empty where the driver begins it.
    @cvar statements_class: makes L{statements}.
    @cvar questions_class: makes L{questions}.
    @cvar indexes: those of the jobs, which are made when these have all that is in them.
    @cvar judge: says what an error means: one of L{txgear.stores.verdicts}.
    @ivar name: where the database is, as a URL without a password.
    @ivar timeout: seconds in which it has to answer; it may be more once there is a connection. 0.0 where
        whoever calls it says that, as of a file.
    @ivar engine: SQLAlchemy's, which makes connections.
    @ivar driver_module: the driver, for its exceptions.
    @ivar statements: the statements in the SQL of this database.
    @ivar questions: what it is asked.
    @ivar largest_value: bytes of the largest workload or result that it takes, where a larger one costs
        more than an error; otherwise C{None}.
    @ivar largest_value_why: what sets that bound, in words.
    """

    timeout: float = 0.0
    package: ClassVar[str] = ""
    options: ClassVar[dict[str, Any]] = {}
    begin: ClassVar[str] = ""
    statements_class: ClassVar[type[Statements]] = Statements
    questions_class: ClassVar[type[Questions]] = Questions
    indexes: ClassVar[tuple[Index, ...]] = (BY_LANE, BY_KEY, BY_WAKE)
    judge: ClassVar[Callable[..., Verdict]]

    def __init__(self, name: str, url: URL, connect_args: dict[str, Any]) -> None:
        """
        @param url: with SQLAlchemy's name of the driver, and all that is needed to connect.
        @param connect_args: arguments of the driver's C{connect}, beside the URL.
        @raise ConfigurationError: the driver is not installed, or an option in the URL has no sense.
        """
        self.name = name
        self.largest_value: int | None = None
        self.largest_value_why = ""
        try:
            self.engine: Engine = create_engine(
                url, poolclass=NullPool, connect_args=connect_args, **self.options
            )
        except ImportError as error:
            raise ConfigurationError(
                f"the store {name} needs a package that is not installed: pip install '{self.package}'"
            ) from error
        except ValueError as error:
            raise ConfigurationError(f"the store {name}: {error}: {OPTIONS}") from error
        self.driver_module: Any = self.engine.dialect.loaded_dbapi
        self.statements = self.statements_class(self.engine.dialect)
        self.questions = self.questions_class(self.statements)

    @abstractmethod
    def prepare(self) -> None:
        """
        Do what must be done before the first connection, unless it is done already.

        @raise StoreUnusable: it cannot be done.
        """

    @abstractmethod
    def set_up(self, connection: Connection) -> None:
        """
        Set up a new connection; the caller commits.

        @raise StoreUnusable: the database's own settings do not allow it to be used.
        """

    def catch_up(  # noqa: B027 - most have nothing to do
        self, driver: DBAPIConnection, transaction: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """
        Do what is left to be done of the tables, when the store is opened. It may be interrupted.

        @param transaction: makes one of the driver's connection, which is committed at the end.
        """

    def check(self, driver: DBAPIConnection) -> None:  # noqa: B027 - most have nothing to do
        """
        See, after a commit, that the next server would find what was committed.

        @raise StoreUnusable: it would not.
        """

    @contextmanager
    def patience(self, driver: DBAPIConnection) -> Iterator[None]:
        """What is done meanwhile, outside of a transaction, may take long before the database answers."""
        yield

    def damaged(self, error: BaseException) -> bool:
        """Whether an error of the driver says that some rows are damaged; others can still be read."""
        return False

    def cursor(self, driver: DBAPIConnection) -> DBAPICursor:
        """A new cursor of the driver's connection, for the statements."""
        return driver.cursor()

    def transaction(self, driver: DBAPIConnection) -> DBAPICursor:
        """A cursor for one transaction, which L{commit} ends; it may send statements later."""
        return self.cursor(driver)

    def commit(self, driver: DBAPIConnection, cursor: DBAPICursor) -> None:
        """
        Commit.

        @param cursor: that of L{transaction}, which is closed.
        """
        cursor.close()
        driver.commit()

    def begin_work(self, cursor: DBAPICursor) -> None:  # noqa: B027 - most have nothing to do
        """Make the settings that a transaction needs for itself, at its beginning."""

    @abstractmethod
    def report(self, cursor: DBAPICursor) -> StoreReport:
        """What the database says of itself; see L{txgear.interfaces.IReportingStore}."""

    @abstractmethod
    def leave(self) -> None:
        """The store could not be opened by the last connection: make the next one elsewhere, if possible."""

    @abstractmethod
    def release(self) -> None:
        """Undo what L{prepare} did."""

    @abstractmethod
    def message(self, error: BaseException) -> str:
        """The database's message in an error of the driver, without what the driver adds."""

    def verdict(self, error: BaseException, *, committing: bool = False) -> Verdict:
        """
        What an error of the driver means.

        @param committing: whether it came from a COMMIT.
        """
        return self.judge(self.driver_module, error, committing=committing)

    @abstractmethod
    def remedy(self, error: BaseException) -> str:
        """What somebody has to do before the store can be opened; empty where trying again may help."""
