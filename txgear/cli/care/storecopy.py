"""
C{txgear store copy}: moves a queue from one database to another.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from txgear.broker.words import number, verb
from txgear.cli.base.options import json_option
from txgear.cli.base.output import printable, write_json
from txgear.cli.base.progress import Bar, Progress
from txgear.cli.base.statuses import DONE, FAILED, MISUSED, CommandError
from txgear.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from txgear.stores.sql import SqlStore

FROM_PASSWORD: Final = "TXGEAR_FROM_PASSWORD"
TO_PASSWORD: Final = "TXGEAR_STORE_PASSWORD"
"""Environment variables with passwords; the second is that of the server."""

SECONDS: Final = 60
"""Seconds in which a store has to answer: more than for a server, as no client waits."""


def store_of(url: str, option: str, path: str | None, variable: str, *, existing: bool = False) -> SqlStore:
    """
    The store that a URL names, not opened.

    @param option: the name of the option with
    @param path: the file whose first line is the password; C{None} for
    @param variable: the environment variable.
    @param existing: whether it has to be there.
    @raise ConfigurationError: there is no such store.
    """
    from txgear.daemon.passwords import password
    from txgear.stores import make_store, sqlite_path

    found = sqlite_path(url)
    if existing and found is not None and not os.path.isfile(found):
        raise CommandError(f"there is no file {found}")
    return make_store(url, password(option, path, variable, os.environ), SECONDS)


@click.command(
    epilog="Example: txgear store copy sqlite:////var/lib/txgear/jobs-4730.sqlite"
    " postgresql://txgear@db.example/txgear --to-password-file /etc/txgear/password"
)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--from-password-file",
    metavar="FILE",
    help=f"Its first line is the password of FROM.  [what {FROM_PASSWORD} holds]",
)
@click.option(
    "--to-password-file",
    metavar="FILE",
    help=f"Its first line is the password of TO.  [what {TO_PASSWORD} holds]",
)
@json_option
def command(
    source: str, target: str, from_password_file: str | None, to_password_file: str | None, as_json: bool
) -> int:
    """
    Copy a queue from one database to another: SQLite, PostgreSQL, MySQL or MariaDB, as URLs of the server's
    --store. All comes along: jobs that wait, dead ones, others that are kept with their results, pauses,
    times of schedules, the history. Handles stay valid.

    No server may use either of them meanwhile. FROM stays as it is, but that its tables are brought to this
    version. TO is empty, or has been copied into before: it is safe to run this again, also when it was
    interrupted, and a job that was done there since then does not come back.

    At the end both are compared. The exit status is 1 if a job could not be copied, or they differ.
    """
    from txgear.cli.care.storecopying import Copy

    old = store_of(source, "from-password-file", from_password_file, FROM_PASSWORD, existing=True)
    new = store_of(target, "to-password-file", to_password_file, TO_PASSWORD)
    if old.name == new.name:
        raise CommandError(f"FROM and TO are both {old.name}", MISUSED)
    copy = Copy(old, new)
    try:
        old.open(existing=True)
        new.open()
        total = copy.count()
        with Progress() as progress:
            copy.run(lambda done: progress.show(Bar("jobs", done, total)))
        wrong = copy.check(total)
    except (ConfigurationError, StoreError) as error:
        done = copy.report.jobs
        rest = (
            f"; {number(done, 'job')} {verb(done, 'was', 'were')} copied: run this again for the others"
            if done
            else ""
        )
        raise CommandError(f"{error}{rest}") from error
    finally:
        old.close(None)
        new.close(None)
    if as_json:
        write_json({"from": old.name, "to": new.name, **asdict(copy.report), "wrong": wrong or None})
    else:
        print(printable(f"From {old.name} into {new.name}:"))
        for line in copy.report.lines():
            print(printable(f"  {line}"))
    if wrong:
        raise CommandError(f"{new.name} is not as {old.name}: {wrong}")
    return FAILED if copy.report.refused else DONE
