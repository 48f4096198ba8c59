"""
The translation of gearmand's C{--queue-type}, and of the options of its queues, to a C{--store}.

The store is in the same database, in tables of its own beside gearmand's.
"""

from __future__ import annotations

import argparse
import os
from shlex import join
from typing import Final
from urllib.parse import quote, urlencode

from txgear.errors import ConfigurationError

TABLES: Final = {
    "libsqlite3": ("libsqlite3-table", "gearman_queue"),
    "mysql": ("mysql-table", "gearman_queue"),
    "postgres": ("libpq-table", "queue"),
}
"""For each queue type, the option that names gearmand's table, and the table's default name."""

STORE_OPTIONS: Final = {
    "libsqlite3": ("libsqlite3-db",),
    "mysql": ("mysql-host", "mysql-port", "mysql-user", "mysql-password", "mysql-db"),
    "postgres": ("libpq-conninfo",),
}
"""For each queue type that has a store here, the options that say where it is."""

OTHER_OPTIONS: Final = {
    "redis": ("redis-server", "redis-port", "redis-password", "redis-prefix"),
    "libmemcached": ("libmemcached-servers", "libmemcached-prefix"),
    "libtokyocabinet": ("libtokyocabinet-file", "libtokyocabinet-optimize"),
    "libdrizzle": tuple(
        f"libdrizzle-{name}" for name in ("host", "port", "user", "password", "db", "table", "uds")
    ),
}
"""For each queue type that has no store here, its options."""

FLAGS: Final = ("store-queue-on-shutdown", "libdrizzle-mysql")
"""Options without a value, which are ignored here."""

URL_PARTS: Final = ("user", "password", "dbname")
"""Names in libpq's connection string that have a place in a URL before its options."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all queue types; the help leaves out those that are ignored."""
    add = parser.add_argument
    add("--libsqlite3-db", metavar="FILE", help="of -q libsqlite3: the file")
    add("--mysql-host", metavar="NAME", help="of -q mysql [localhost, by TCP]")
    add("--mysql-port", metavar="PORT", help="of -q mysql [3306]")
    add("--mysql-user", metavar="NAME", help="of -q mysql [who starts this]")
    add("--mysql-password", metavar="TEXT", help="of -q mysql; it is passed on in the environment")
    add("--mysql-db", metavar="NAME", help="of -q mysql: the database")
    add("--libpq-conninfo", metavar="TEXT", help="of -q postgres: libpq's connection string")
    for name, default in TABLES.values():
        add(f"--{name}", metavar="NAME", help=f"where gearmand's own jobs are looked for [{default}]")
    for names in OTHER_OPTIONS.values():
        for name in names:
            add(f"--{name}", help=argparse.SUPPRESS)
    for name in FLAGS:
        add(f"--{name}", action="store_true", help=argparse.SUPPRESS)


def _value(given: argparse.Namespace, option: str) -> str | None:
    """The value of an option; an empty one is the same as none, as it is to gearmand."""
    return getattr(given, option.replace("-", "_")) or None


def ignored(given: argparse.Namespace) -> list[str]:
    """
    The options of queues that were given and are ignored. Options of another type
    than C{--queue-type} are among them; gearmand ignores these as well.
    """
    used = STORE_OPTIONS.get((given.queue_type or "").lower(), ())
    mine = [name for names in STORE_OPTIONS.values() for name in names if name not in used]
    others = [name for names in OTHER_OPTIONS.values() for name in names]
    tables = [name for kind, (name, _) in TABLES.items() if kind != (given.queue_type or "").lower()]
    return [name for name in (*mine, *tables, *others, *FLAGS) if _value(given, name)]


def table(given: argparse.Namespace) -> str | None:
    """The name of gearmand's table for C{--queue-type}, which was given; C{None} where there is none."""
    found = TABLES.get(given.queue_type.lower())
    return None if found is None else _value(given, found[0]) or found[1]


def store(given: argparse.Namespace) -> tuple[str, str | None]:
    """
    The store for C{--queue-type}, which was given.

    @return: the value of C{--store}, and the password, which is not in it.
    @raise ConfigurationError: there is no store for that type, or an option is missing.
    """
    name = given.queue_type.lower()
    if name == "builtin":
        return "memory:", None
    if name == "libsqlite3":
        path = _value(given, "libsqlite3-db")
        if path is None:
            raise ConfigurationError(f"--queue-type {given.queue_type} needs --libsqlite3-db")
        # Absolute, as a daemon changes its folder.
        return f"sqlite:///{os.path.abspath(path)}", None
    if name == "mysql":
        return _mysql(given)
    if name == "postgres":
        return _postgres(_value(given, "libpq-conninfo") or "")
    what = "not available" if name in OTHER_OPTIONS else "unknown"
    rest = (
        f"; what is queued there is taken over by: {_from_libdrizzle(given)}" if name == "libdrizzle" else ""
    )
    raise ConfigurationError(
        f"--queue-type {given.queue_type} is {what}:"
        f" there are builtin, libsqlite3, mysql and postgres, and a SQLite file without the option{rest}"
    )


def _from_libdrizzle(given: argparse.Namespace) -> str:
    """The command that takes over what libdrizzle has stored, which speaks with MySQL as well."""
    port = _value(given, "libdrizzle-port")
    place = _host_part(_value(given, "libdrizzle-host") or "localhost") + (f":{port}" if port else "")
    database = quote(_value(given, "libdrizzle-db") or "gearman", safe="")
    url = f"mysql://{_user_part(_value(given, 'libdrizzle-user'))}{place}/{database}"
    return join(
        ("txgear", "import", f"--from={url}", f"--table={_value(given, 'libdrizzle-table') or 'queue'}")
    )


def _mysql(given: argparse.Namespace) -> tuple[str, str | None]:
    database = _value(given, "mysql-db")
    if database is None:
        raise ConfigurationError(f"--queue-type {given.queue_type} needs --mysql-db")
    port = _value(given, "mysql-port") or "3306"
    if not port.isdecimal():
        raise ConfigurationError(f"--mysql-port: a number is wanted, not {port!r}")
    user = _value(given, "mysql-user")
    place = f"{_host_part(_value(given, 'mysql-host') or 'localhost')}:{port}"
    return f"mysql://{_user_part(user)}{place}/{quote(database, safe='')}", _value(given, "mysql-password")


def _postgres(conninfo: str) -> tuple[str, str | None]:
    """
    @param conninfo: C{name=value} pairs or a C{postgresql://} URL, as libpq takes them.
    """
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:
        raise ConfigurationError(
            "--queue-type postgres: psycopg is not installed; pip install 'txgear[postgresql]'"
        ) from error
    try:
        said = {name: str(value) for name, value in conninfo_to_dict(conninfo).items() if value}
    except ProgrammingError as error:
        raise ConfigurationError(f"--libpq-conninfo: {' '.join(str(error).split())}") from error
    # libpq's own default.
    database = said.get("dbname") or said.get("user")
    if database is None:
        raise ConfigurationError("--queue-type postgres needs --libpq-conninfo with a dbname")
    host, port = said.get("host", ""), said.get("port", "")
    if not host or "/" in host or "," in host + port:
        # A folder with a socket, several hosts, or libpq's default: these stay options.
        place = ""
    else:
        place = _host_part(said.pop("host")) + (f":{said.pop('port')}" if port else "")
    rest = {name: value for name, value in said.items() if name not in URL_PARTS}
    options = f"?{urlencode(sorted(rest.items()), quote_via=quote)}" if rest else ""
    url = f"postgresql://{_user_part(said.get('user'))}{place}/{quote(database, safe='')}{options}"
    return url, said.get("password")


def _user_part(user: str | None) -> str:
    """The user's part of a URL."""
    return "" if user is None else f"{quote(user, safe='')}@"


def _host_part(host: str) -> str:
    """A host's part of a URL."""
    return f"[{host}]" if ":" in host else host
