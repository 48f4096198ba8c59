"""
What all lists have: filters of the server, columns, order, pages, and JSON.

Rows come from the server page by page, and leave as they come. Where they are to be in another order than the
server has, they lie in a temporary file meanwhile: no list takes more memory because it is long.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from itertools import islice
from typing import Any, Final, TypeVar

import click

from txgear.cli.base.options import Servers
from txgear.cli.base.output import Column, write_json, write_rows
from txgear.cli.base.statuses import MISUSED, CommandError

F = TypeVar("F", bound=Callable[..., Any])
Row = Mapping[str, Any]

ROWS: Final = 100
"""Rows that are shown where nothing is said."""
PAGE: Final = 200
"""Rows that are asked for in one go, as many as the server gives."""


class Choice:
    """
    Which rows are shown, and how.

    @ivar limit: how many at the most; C{None} for all.
    @ivar sort: the member to sort by, with a C{-} in front from the largest on; empty for the server's order.
    @ivar columns: names of the columns, or C{None} for the usual ones.
    @ivar as_json: whether each row is a line of JSON.
    """

    def __init__(self, limit: int | None, sort: str, columns: Sequence[str] | None, as_json: bool) -> None:
        self.limit = limit
        self.sort = sort
        self.columns = columns
        self.as_json = as_json


def list_options(command: F) -> F:
    """Give a command the options of a L{Choice}; it is called with C{choice}."""

    @wraps(command)
    def called(
        *arguments: Any,
        limit: int,
        everything: bool,
        sort: str,
        columns: str | None,
        as_json: bool,
        **rest: Any,
    ) -> Any:
        names = None if columns is None else [name.strip() for name in columns.split(",")]
        return command(*arguments, choice=Choice(None if everything else limit, sort, names, as_json), **rest)

    for option in reversed(_OPTIONS):
        option(called)
    return called  # type: ignore[return-value]


_OPTIONS: Final = (
    click.option(
        "--limit", type=click.IntRange(1), default=ROWS, metavar="N", help=f"Rows at the most.  [{ROWS}]"
    ),
    click.option("--all", "everything", is_flag=True, help="All rows, however many there are."),
    click.option("--sort", default="", metavar="COLUMN", help="Sort by it; -COLUMN from the largest on."),
    click.option("--columns", metavar="NAME,...", help="Show these, in this order."),
    click.option("--json", "as_json", is_flag=True, help="Write each row as a line of JSON."),
)


def show(
    servers: Servers,
    choice: Choice,
    rows_of: Callable[[Any], Iterable[Row]],
    columns: Sequence[Column],
    usual: Sequence[str],
) -> None:
    """
    Write a list.

    @param rows_of: given an L{Api<txgear.cli.base.api.Api>}, gives all rows of that server that match.
    @param columns: all that there are; each has a name of its own.
    @param usual: the names of those that are shown where nothing is said.
    @raise CommandError: there is no such column, or a server cannot be asked.
    """
    known = {column.name: column for column in columns}
    if len(servers.names) > 1:
        known = {"server": Column("server"), **known}
        usual = ["server", *usual]
    for name in [*(choice.columns or ()), *filter(None, [choice.sort.removeprefix("-")])]:
        if name not in known:
            raise CommandError(f"there is no column {name!r}; there are {', '.join(known)}", MISUSED)

    def rows() -> Iterator[Row]:
        for api in servers.apis():
            for row in rows_of(api):
                yield {"server": api.place.name, **row} if len(servers.names) > 1 else row

    chosen = in_order(rows(), choice.sort) if choice.sort else rows()
    shown = islice(chosen, choice.limit)
    if choice.as_json:
        for row in shown:
            write_json(row)
    else:
        write_rows(shown, [known[name] for name in choice.columns or usual])
    if choice.limit is not None and next(iter(chosen), None) is not None:
        print(f"There are more than {choice.limit}: --all, or --limit N, shows them.", file=sys.stderr)


_UP: Final = "SELECT row FROM listed ORDER BY key IS NULL, key, rowid"
_DOWN: Final = "SELECT row FROM listed ORDER BY key IS NULL, key DESC, rowid"


def in_order(rows: Iterable[Row], sort: str) -> Iterator[Row]:
    """
    Rows in the order of one of their members, in memory that is bounded: they lie in a temporary file.

    @param sort: the member, with a C{-} in front from the largest on. Rows without it come last.
    """
    name, down = sort.removeprefix("-"), sort.startswith("-")
    # An empty name is a database of its own on the disk, which goes with the connection.
    with sqlite3.connect("") as database:
        database.execute("CREATE TABLE listed (key, row TEXT)")
        database.executemany(
            "INSERT INTO listed VALUES (?, ?)", ((_key(row.get(name)), json.dumps(row)) for row in rows)
        )
        for (row,) in database.execute(_DOWN if down else _UP):
            yield json.loads(row)


def _key(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, float, str)) else json.dumps(value)
