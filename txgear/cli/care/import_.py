"""
C{txgear import}: take over the jobs that a gearmand has stored.
"""

from __future__ import annotations

import os
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Final

from txgear.broker.words import number, verb
from txgear.cli.arguments import Parser
from txgear.cli.base.progress import Bar, Progress
from txgear.errors import ConfigurationError, StoreError
from txgear.protocol.constants import DEFAULT_PORT

if TYPE_CHECKING:
    from txgear.cli.care.gearmandtable import Row

PASSWORD: Final = "TXGEAR_IMPORT_PASSWORD"
"""The environment variable with the password of gearmand's database."""

EACH: Final = 500
"""Rows after which the bar moves."""

STORE_SECONDS: Final = 60
"""Seconds in which the store has to answer: more than for a server, as no client waits."""

DESCRIPTION: Final = """\
Take over the jobs that a gearmand has stored in SQLite, MySQL, MariaDB or PostgreSQL.
gearmand and the txgear server of the store must be stopped. What is read stays as it is."""

EPILOG: Final = """\
A row is taken over once: it is safe to run this again, also when it was interrupted, and a job that
was done meanwhile does not come back. Rows with equal function, unique, priority, time and data are
one row to it, also if they come from another gearmand, or later.
gearmand does not store the reducer of a reduce job, so it is lost as it is when gearmand starts again.

Run it as the user that the server runs as, so that a new SQLite file is that user's own.
The exit status is 0 if all rows were taken over, now or before, and 1 if not."""

SERVER_OPTIONS: Final = ("store", "store-password-file", "port", "job-handle-prefix")
"""Options that mean the same to the server, whose own code reads them."""


def parser() -> Parser:
    """The parser of the command line."""
    made = Parser(
        prog="txgear import",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source = made.add_argument_group("what is read")
    source.add_argument(
        "--from",
        metavar="URL",
        required=True,
        dest="source",
        help="sqlite:///path, mysql://user@host/database or postgresql://user@host/database;"
        " ?charset=latin1 behind a mysql URL if gearmand's connection had that character set",
    )
    source.add_argument("--table", metavar="NAME", help="[gearman_queue; queue in PostgreSQL]")
    source.add_argument(
        "--from-password-file",
        metavar="FILE",
        help=f"its first line is the password [what the environment variable {PASSWORD} holds]",
    )
    target = made.add_argument_group("where the jobs go, as the server is told it")
    target.add_argument("--store", metavar="URL", help="[the SQLite file of a server on that port]")
    target.add_argument(
        "--store-password-file",
        metavar="FILE",
        help="its first line is the password [what the environment variable TXGEAR_STORE_PASSWORD holds]",
    )
    target.add_argument("-p", "--port", metavar="PORT", help=f"the server's TCP port [{DEFAULT_PORT}]")
    target.add_argument(
        "--job-handle-prefix", metavar="TEXT", help="what job handles start with [H: and the host's name]"
    )
    return made


def server_words(given: Namespace) -> Iterator[str]:
    """The server's command line that names the same store."""
    for name in SERVER_OPTIONS:
        value = getattr(given, name.replace("-", "_"))
        if value is not None:
            yield f"--{name}={value}"
    yield f"--store-timeout={STORE_SECONDS}"


def _counted(rows: Iterable[Row], say: Callable[[int], None]) -> Iterator[Row]:
    """The same rows; how many there were is said now and then."""
    count = 0
    for count, row in enumerate(rows, 1):
        yield row
        if count % EACH == 0:
            say(count)
    say(count)


def run(arguments: Sequence[str]) -> int:
    """
    Take the jobs over, and print how many there were.

    @param arguments: the words after C{txgear import}.
    @return: the exit status.
    @raise ConfigurationError: the jobs cannot be taken over, or not all of them.
    """
    given = parser().parse_args(arguments)
    # Imported here, as libraries for databases take their time: a wrong command line and the help need none.
    from txgear.cli.care.gearmandtable import gearmand_table
    from txgear.cli.care.takeover import Takeover
    from txgear.daemon.options import Options, default_prefix
    from txgear.daemon.passwords import password
    from txgear.stores.sql import SqlStore

    secret = password("from-password-file", given.from_password_file, PASSWORD, os.environ)
    table = gearmand_table(given.source, given.table, secret)
    server = Options()
    server.parseOptions(list(server_words(given)))
    store = server.store
    if not isinstance(store, SqlStore):
        raise ConfigurationError("--store: jobs that are taken over have to be kept somewhere")
    takeover = Takeover(store, server["job-handle-prefix"] or default_prefix())
    total = table.count()
    try:
        store.open()
        with closing(table.rows()) as rows, Progress() as progress:
            takeover.take(_counted(rows, lambda count: progress.show(Bar("jobs", count, total))))
    except (ConfigurationError, StoreError) as error:
        taken = takeover.report.taken
        rest = (
            f"; {number(taken, 'job')} {verb(taken, 'was', 'were')} taken over: run this again for the others"
            if taken
            else ""
        )
        raise ConfigurationError(f"{error}{rest}") from error
    finally:
        store.close(None)
    print(f"From {table.name} into {store.name}:")
    for line in takeover.report.lines():
        print(f"  {line}")
    return 1 if takeover.report.refused else 0
