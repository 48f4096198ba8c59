"""
C{txgear store backup}: a whole copy of a SQLite file, while its server goes on.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from typing import Final
from urllib.parse import quote

import click

from txgear.broker.words import number
from txgear.cli.base.options import json_option
from txgear.cli.base.output import printable, write_json
from txgear.cli.base.progress import Bar, Progress
from txgear.cli.base.quantities import size
from txgear.cli.base.statuses import CommandError

DEFAULT_PORT: Final = 4730
PAGES: Final = 1024
"""Pages that are copied before the bar moves: 4 MiB, mostly."""
BUSY_SECONDS: Final = 10.0
"""Seconds for which somebody else may hold the file locked."""

HOW: Final = {
    "postgresql": "pg_dump makes a backup of PostgreSQL, whole and while the server goes on: pg_dump"
    " --format=custom --file=txgear.dump DATABASE",
    "mysql": "mariadb-dump, or mysqldump, makes a backup of MySQL and MariaDB, whole and while the server"
    " goes on: mariadb-dump --single-transaction --no-tablespaces --result-file=txgear.sql DATABASE",
}
"""What is told of databases with programs of their own, by the scheme."""


def back_up(source: str, target: str) -> int:
    """
    Copy a SQLite file as it is at one instant, and see that the copy is whole.

    @param source: the file; a server may use it.
    @param target: the copy. It is there when it is whole, and not before.
    @return: how many jobs it has.
    @raise CommandError: it cannot be made, or there is such a file already.
    """
    part = f"{target}.part"
    try:
        # For its owner alone: it has all workloads in it. And nothing that is there is written over.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise CommandError(f"cannot make {part}: {error.strerror}") from error
    try:
        jobs = _copy(source, part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        try:
            # Unlike a rename it refuses where somebody has made such a file meanwhile.
            os.link(part, target)
        except OSError as error:
            raise CommandError(f"cannot make {target}: {error.strerror}") from error
        return jobs
    except sqlite3.Error as error:
        raise CommandError(f"{source} cannot be backed up: {error}") from error
    finally:
        for path in (part, f"{part}-journal", f"{part}-wal", f"{part}-shm"):
            with suppress(FileNotFoundError):
                os.unlink(path)


def _copy(source: str, part: str) -> int:
    with (
        closing(sqlite3.connect(f"file:{quote(source)}?mode=rw", uri=True, timeout=BUSY_SECONDS)) as old,
        closing(sqlite3.connect(part)) as new,
        Progress() as progress,
    ):
        old.isolation_level = None
        # A reading transaction holds the instant: otherwise each commit of the server would begin it anew.
        old.execute("BEGIN")
        if not old.execute("SELECT count(*) FROM sqlite_master WHERE name = 'txgear_jobs'").fetchone()[0]:
            raise CommandError(f"{source} has no tables of txgear's")
        old.backup(
            new,
            pages=PAGES,
            progress=lambda status, left, total: progress.show(Bar("pages", total - left, total)),
        )
        old.execute("COMMIT")
        [(found,)] = new.execute("PRAGMA quick_check(1)").fetchall()
        if found != "ok":
            raise CommandError(f"{source} is damaged, and so would be the copy: {found}")
        # One file, with nothing beside it; the server that opens it has its log again.
        new.execute("PRAGMA journal_mode = DELETE")
        jobs: int = new.execute("SELECT count(*) FROM txgear_jobs").fetchone()[0]
        return jobs


def url_of(port: int) -> str:
    """The store of a server that was given none."""
    from txgear.stores import default_url

    return default_url(port, os.environ, os.geteuid() == 0)


@click.command(epilog="Example: txgear store backup /var/backups/jobs.sqlite --port 4730")
@click.argument("file")
@click.option("--store", "url", metavar="URL", help="The store, as the server is told it.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_PORT,
    metavar="PORT",
    help=f"The SQLite file of a server on that port that was told none.  [{DEFAULT_PORT}]",
)
@json_option
def command(file: str, url: str | None, port: int, as_json: bool) -> None:
    """
    Make FILE a whole copy of a server's SQLite file, as it is at one instant, while the server goes on. The
    copy is checked; there must be no such FILE yet. Run it as root, or as the server's user.

    PostgreSQL, MySQL and MariaDB have programs of their own for that.
    """
    from txgear.stores import sqlite_path

    url = url or url_of(port)
    path = sqlite_path(url)
    if path is None:
        raise CommandError(HOW["postgresql" if url.startswith("postgresql") else "mysql"])
    if not os.path.isfile(path):
        raise CommandError(f"there is no file {path}: --store, or --port, says which one it is")
    if os.path.exists(file):
        raise CommandError(f"there is a file {file} already: name another one")
    began = time.monotonic()
    jobs = back_up(path, file)
    octets = os.stat(file).st_size
    if as_json:
        seconds = round(time.monotonic() - began, 3)
        write_json({"file": file, "store": path, "jobs": jobs, "bytes": octets, "seconds": seconds})
    else:
        print(printable(f"{file} has {number(jobs, 'job')}, {size(octets)}"))
