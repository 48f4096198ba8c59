"""
Where background jobs outlive the server: a store for each kind of URL.

Importing this imports no database library; L{make_store} does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from txgear.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from txgear.stores.sql import SqlStore

TIMEOUT: Final = 5.0
"""Seconds that a database has for an answer, if nobody says otherwise."""

SCHEMES: Final = ("sqlite", "postgresql", "mysql", "mariadb")


def make_store(url: str, password: str | None = None, timeout: float = TIMEOUT) -> SqlStore:
    """
    Make the store that a URL names; nothing is connected or opened yet.

    @param url: C{sqlite:///path}, where all after the third slash is the path of a file as it
        stands there, C{postgresql://user@host/database}, C{mysql://user@host/database} or
        C{mariadb://...}; options of the driver may follow these behind a question mark.
    @param password: for the database; replaces the one in the URL.
    @param timeout: seconds that the database has for an answer.
    @raise ConfigurationError: the URL makes no sense, or the database's driver is not installed.
    """
    scheme, colon, rest = url.partition("://")
    if not colon or scheme not in SCHEMES:
        # Not the URL: it may hold a password.
        shown = f"starts with {scheme}://" if colon else "has no scheme"
        raise ConfigurationError(f"a store's URL starts with {', '.join(SCHEMES)} and ://; this one {shown}")
    from txgear.stores.sql import SqlStore

    if scheme == "sqlite":
        from txgear.stores.sqlite import SQLite

        if not rest.startswith("/"):
            raise ConfigurationError("sqlite:///path has three slashes before the path")
        return SqlStore(SQLite(rest[1:]))
    if scheme == "postgresql":
        from txgear.stores.postgresql import PostgreSQL

        return SqlStore(PostgreSQL(url, password, timeout))
    from txgear.stores.mysql import MySQL

    return SqlStore(MySQL(url, password, timeout))


def default_url(port: int, environ: Mapping[str, str], root: bool) -> str:
    """
    The store of a server that was not told of one: a SQLite file for each port.

    @param port: the server's port.
    @param environ: the environment; C{STATE_DIRECTORY} (from systemd, its first folder) comes first.
    @param root: whether the server is root's: its files are in C{/var/lib/txgear}. Others' are in
        C{txgear} below C{XDG_STATE_HOME}, by default C{~/.local/state}.
    """
    folder = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if not folder and root:
        folder = "/var/lib/txgear"
    if not folder:
        home = environ.get("HOME") or os.path.expanduser("~")
        state = environ.get("XDG_STATE_HOME", "")
        # The specification of that variable: a relative path is to be ignored.
        folder = os.path.join(state if os.path.isabs(state) else os.path.join(home, ".local/state"), "txgear")
    return f"sqlite:///{os.path.join(folder, f'jobs-{port}.sqlite')}"
