"""
Stores, in which background jobs outlive the server, and the URLs that name them.

Importing this imports no library for databases; L{make_store} does.
"""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from txgear.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from txgear.stores.membership import Membership
    from txgear.stores.serverdialect import ServerDialect
    from txgear.stores.sql import SqlStore

SCHEMES: Final = ("sqlite", "postgresql", "mysql", "mariadb")


def sqlite_path(url: str) -> str | None:
    """
    The path in a URL of a SQLite file; C{None} for a URL of another kind.

    @raise ConfigurationError: there is no store with such a URL, or there can be no such file.
    """
    scheme, colon, rest = url.partition("://")
    if not colon or scheme not in SCHEMES:
        # Not the URL: it may hold a password.
        shown = f"starts with {scheme}://" if colon else "has no scheme; a file is sqlite:///PATH"
        # As others write it: SQLAlchemy with a driver behind, libpq and many hosters shorter.
        meant = {"postgres": "postgresql"}.get(plain := scheme.partition("+")[0], plain)
        shown += f", which is {meant}:// here" if colon and meant in SCHEMES else ""
        raise ConfigurationError(
            f"a store's URL starts with {', '.join(SCHEMES)} and ://, or it is memory: for none; this one"
            f" {shown}"
        )
    if scheme != "sqlite":
        return None
    if not rest.startswith("/"):
        raise ConfigurationError("sqlite:///path has three slashes before the path")
    path = rest[1:]
    if not path or path == ":memory:":
        raise ConfigurationError("sqlite:///path names a file; to keep nothing, the store is memory:")
    if "\0" in path:
        raise ConfigurationError("the path of a SQLite file holds no NUL")
    return path


def check_store(url: str, password: str | None = None) -> None:
    """
    See whether a URL names a store, without importing a library for databases where that is not
    needed.

    @raise ConfigurationError: as L{make_store} does.
    """
    if sqlite_path(url) is None:
        make_store(url, password)


def make_store(
    url: str,
    password: str | None = None,
    timeout: float | None = None,
    own_folder: bool = False,
    membership: Membership | None = None,
) -> SqlStore:
    """
    Make the store that a URL names; nothing is connected or opened yet.

    @param url: C{sqlite:///path}, where all after the third slash is the path of a file as it
        stands there, C{postgresql://user@host/database}, C{mysql://user@host/database} or
        C{mariadb://...}; there may be several hosts, and options of the driver behind a question mark.
    @param password: for the database; replaces the one in the URL.
    @param timeout: seconds in which the database has to answer; by default 5, or more where it is
        known to stand still for longer when one of its nodes dies.
    @param own_folder: whether the folder of a SQLite file may be made; it may be where nobody named it,
        as it cannot be a typing mistake then.
    @param membership: of a server that is one of several; none of them can have a SQLite file. The store is
        an L{IPartedStore<txgear.interfaces.IPartedStore>} then.
    @raise ConfigurationError: the URL makes no sense, or the database's driver is not installed.
    """
    path = sqlite_path(url)
    from txgear.stores.sql import SqlStore

    if path is not None:
        if membership is not None:
            raise ConfigurationError("a SQLite file has one server: several need PostgreSQL or MariaDB")
        from txgear.stores.sqlite import SQLite

        return SqlStore(SQLite(path, own_folder))
    if url.partition("://")[0] == "postgresql":
        from txgear.stores.postgresql import PostgreSQL

        dialect: ServerDialect = PostgreSQL(url, password, timeout)
    else:
        from txgear.stores.mysql import MySQL

        dialect = MySQL(url, password, timeout)
    if membership is None:
        return SqlStore(dialect)
    from txgear.stores.partedstore import PartedStore

    return PartedStore(dialect, membership)


def default_url(port: int, environ: Mapping[str, str], root: bool) -> str:
    """
    The URL of the store of a server that was given none: a SQLite file for each port.

    Its folder is the first one in C{STATE_DIRECTORY}, which systemd sets; without that
    C{/var/lib/txgear} for root, and C{txgear} below C{XDG_STATE_HOME}, by default C{~/.local/state}, for
    other users.

    @param port: the server's port.
    @param environ: the environment.
    @param root: whether the server's user is root.
    @raise ConfigurationError: there is no absolute path for it.
    """
    folder = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if folder and not os.path.isabs(folder):
        raise ConfigurationError(f"STATE_DIRECTORY is no absolute path: {folder}")
    if not folder and root:
        folder = "/var/lib/txgear"
    if not folder:
        state = environ.get("XDG_STATE_HOME", "")
        # The specification of that variable: a relative path is to be ignored.
        folder = os.path.join(
            state if os.path.isabs(state) else os.path.join(_home(environ), ".local/state"), "txgear"
        )
    return f"sqlite:///{os.path.join(folder, f'jobs-{port}.sqlite')}"


def _home(environ: Mapping[str, str]) -> str:
    """
    The user's home folder. It is absolute: otherwise each folder in which the server is started would have a
    queue of its own.
    """
    home = environ.get("HOME")
    if home is None:
        with suppress(KeyError):
            home = pwd.getpwuid(os.geteuid()).pw_dir
    if home is None or not os.path.isabs(home):
        raise ConfigurationError(
            "nobody said where jobs are kept, and this user has no home folder: give --store, or set"
            " STATE_DIRECTORY or XDG_STATE_HOME"
        )
    return home
