"""
What all lists have: filters, columns, order, and JSON.

Rows come from the server page by page, and leave as they come: no list takes more memory because it is long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from txgear.cli.base.options import Servers
from txgear.cli.base.output import Column, note, write_json, write_rows
from txgear.cli.base.statuses import DONE, MISUSED, CommandError
from txgear.cli.look.totals import Sums, Total

if TYPE_CHECKING:
    from txgear.cli.base.api import Api

F = TypeVar("F", bound=Callable[..., Any])
Row = Mapping[str, Any]

ROWS: Final = 100
"""Rows that are shown where nothing is said."""
MOST_ROWS: Final = 10**15
"""Rows that may be wanted; more than there ever are."""
PAGE: Final = 200
"""Rows that are asked for in one go, as many as the server gives."""


class ListCommand(click.Command):
    """A command that shows a list; its help says which columns there are."""

    def __init__(self, *arguments: Any, columns: Sequence[Column], **rest: Any) -> None:
        super().__init__(*arguments, **rest)
        self._columns = columns

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As in click."""
        super().format_options(ctx, formatter)
        hidden = any(not column.usual for column in self._columns)
        with formatter.section("Columns (* only where --columns names them)" if hidden else "Columns"):
            formatter.write_dl(
                [
                    (column.name if column.usual else f"{column.name} *", column.about)
                    for column in self._columns
                ]
            )


@dataclass(frozen=True)
class Choice:
    """
    Which rows are shown, and how.

    @ivar limit: how many at the most; C{None} for all.
    @ivar where: what holds for each of them; see L{txgear.cli.look.conditions}.
    @ivar sort: the column to sort by, with a C{-} in front from the largest on; empty for the server's order.
    @ivar columns: names of the columns, or C{None} for the usual ones.
    @ivar as_json: whether each row is a line of JSON.
    """

    limit: int | None = ROWS
    where: tuple[str, ...] = ()
    sort: str = ""
    columns: tuple[str, ...] | None = None
    as_json: bool = False

    @property
    def page(self) -> int:
        """How many rows the server is asked for in one go: no more than are wanted."""
        if self.limit is None or self.sort or self.where:
            return PAGE
        return min(PAGE, self.limit + 1)


def list_options(command: F) -> F:
    """Give a command the options of a L{Choice}; it is called with C{choice}."""

    @wraps(command)
    def called(
        *arguments: Any,
        limit: int,
        everything: bool,
        where: tuple[str, ...],
        sort: str,
        columns: str | None,
        as_json: bool,
        **rest: Any,
    ) -> Any:
        names = None if columns is None else tuple(name.strip() for name in columns.split(","))
        choice = Choice(None if everything else limit, where, sort, names, as_json)
        return command(*arguments, choice=choice, **rest)

    for option in reversed(_OPTIONS):
        option(called)
    return called  # type: ignore[return-value]


_OPTIONS: Final = (
    click.option(
        "--where",
        multiple=True,
        metavar="CONDITION",
        help="Only rows for which it holds, such as state=run*, function!=test.*, 'age>2h' or 'size>=64K'; of"
        " several all. The server looks for what has an option of its own, which is faster.",
    ),
    click.option(
        "--sort",
        default="",
        metavar="COLUMN",
        help="Sort all rows by it; -COLUMN from the largest on. Rows without a value come last.",
    ),
    click.option("--columns", metavar="NAME,...", help="Show these, in this order."),
    click.option(
        "--limit",
        type=click.IntRange(1, MOST_ROWS),
        default=ROWS,
        metavar="N",
        show_default=True,
        help="Rows at the most.",
    ),
    click.option("--all", "everything", is_flag=True, help="All rows, however many there are."),
    click.option("--json", "as_json", is_flag=True, help="Write each row as a line of JSON."),
)


def show(
    servers: Servers,
    choice: Choice,
    rows_of: Callable[[Api], Iterable[Row]],
    columns: Sequence[Column],
    total: Total | None = None,
) -> int:
    """
    Write a list. Of several servers those that cannot be asked are named, and the others shown.

    @param rows_of: gives all rows of a server that match.
    @param columns: all that there are; each has a name of its own.
    @return: the exit status: that of the first server that could not be asked, or C{DONE}.
    @raise CommandError: there is no such column, or the only server cannot be asked.
    """
    known = _known(servers, choice, columns)
    chosen = [known[name] for name in choice.columns or [name for name in known if known[name].usual]]
    failed: list[int] = []
    rows = _rows(servers, rows_of, failed)
    if choice.where:
        rows = _that_meet(choice.where, known, rows)
    sums = Sums(total) if total is not None and total.is_wanted(choice.as_json) else None
    if sums is not None:
        rows = sums.counting(rows)
    if choice.sort:
        from txgear.cli.look.ordering import in_order

        rows = in_order(rows, known[choice.sort.removeprefix("-")].value, choice.sort.startswith("-"))
    rows = iter(rows)
    are_more = False

    def last() -> Row | None:
        """What comes when no more rows are shown."""
        nonlocal are_more
        are_more = choice.limit is not None and next(rows, None) is not None
        if sums is None:
            return None
        for _ in rows:
            # It is counted as it comes.
            pass
        return sums.row()

    if choice.as_json:
        for row in islice(rows, choice.limit):
            write_json(row if choice.columns is None else {c.name: c.value(row) for c in chosen})
        if (found := last()) is not None and total is not None:
            write_json({**found, total.column: None})
    else:
        write_rows(islice(rows, choice.limit), chosen, last)
    if are_more:
        note(f"There are more than {choice.limit}: --all, or --limit N, shows them.")
    return failed[0] if failed else DONE


def _known(servers: Servers, choice: Choice, columns: Sequence[Column]) -> dict[str, Column]:
    """
    The columns that there are, by their names.

    @raise CommandError: one that is wanted is not among them.
    """
    known = {column.name: column for column in columns}
    if len(servers.names) > 1:
        known = {"server": Column("server", "which server"), **known}
    for name in (*(choice.columns or ()), *([choice.sort.removeprefix("-")] if choice.sort else [])):
        if name not in known:
            raise CommandError(f"there is no column {name!r}; there are {', '.join(known)}", MISUSED)
    return known


def show_jobs(
    servers: Servers, choice: Choice, path: str, query: Mapping[str, Any], columns: Sequence[Column]
) -> int:
    """
    The same for a list of jobs. Where one server of a cluster is asked, it is said which have others.

    @param path: of the list.
    """
    tell = _tell_of_others if len(servers.names) == 1 else lambda page: None
    return show(servers, choice, lambda api: api.rows(path, "jobs", query, tell), columns)


def _tell_of_others(page: Row) -> None:
    if others := page.get("others"):
        note(f"Not in this list: the jobs of {', '.join(map(_other, others))}")


def _other(other: Row) -> str:
    """A server whose jobs are not listed, and what it has."""
    where = f" at {other['address']}" if other["address"] else ""
    has = (
        "" if other["queued"] is None else f" ({other['queued']:,} queued, {other['running'] or 0:,} running)"
    )
    return f"{other['server']}{where}{has}"


def _rows(servers: Servers, rows_of: Callable[[Api], Iterable[Row]], failed: list[int]) -> Iterator[Row]:
    """All rows of all servers; C{failed} has the statuses of those that could not be asked."""
    several = len(servers.names) > 1
    for api in servers.apis():
        try:
            for row in rows_of(api):
                yield {"server": api.place.name, **row} if several else row
        except CommandError as error:
            if not several or error.status == MISUSED:
                raise
            note(error.text if api.place.name in error.text else f"{api.place.name}: {error.text}")
            failed.append(error.status)
        finally:
            api.close()


def _that_meet(texts: Sequence[str], known: Mapping[str, Column], rows: Iterable[Row]) -> Iterator[Row]:
    from txgear.cli.look.conditions import condition

    conditions = [condition(text, known) for text in texts]
    return (row for row in rows if all(holds(row) for holds in conditions))
