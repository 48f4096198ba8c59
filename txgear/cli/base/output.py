"""
How commands write: tables, colour and progress on a terminal, plain text elsewhere, JSON where it is asked
for.

Plain text has a line of names and a line for each row, with tabs between. What controls a terminal is escaped
as in the server's own lists. (The API has escaped what is no UTF-8 already.)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from txgear.protocol.textlines import for_line

ROWS_AT_ONCE: Final = 200
"""Rows of a table on a terminal that have one width."""


@dataclass(frozen=True)
class Column:
    """
    A column of a list.

    @ivar name: what it is called, on the command line as well: a member of the row, as the API has it.
    @ivar show: makes text of a row's value; C{None} is a C{-} without asking.
    @ivar style: of rich, for the value of a row; empty for none.
    @ivar right: whether it stands at the right, as numbers do.
    """

    name: str
    show: Callable[[Any], str] = str
    style: Callable[[Any], str] = lambda value: ""
    right: bool = False

    def text(self, row: Mapping[str, Any]) -> str:
        """What stands in it."""
        value = row.get(self.name)
        return "-" if value is None else printable(self.show(value))


def printable(text: str) -> str:
    """Text that does nothing to a terminal, in one line."""
    return for_line(text.encode("utf-8", "backslashreplace").decode("utf-8")).decode("utf-8")


def is_terminal() -> bool:
    """Whether people see what is written."""
    return sys.stdout.isatty()


def write_json(document: Any) -> None:
    """Write a document, or one object of a stream: a line."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")


def write_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> int:
    """
    Write a list for people, or for C{cut}.

    @return: how many rows there were.
    """
    if is_terminal():
        return _write_tables(rows, columns)
    count = 0
    sys.stdout.write("\t".join(column.name for column in columns) + "\n")
    for row in rows:
        count += 1
        sys.stdout.write("\t".join(column.text(row) for column in columns) + "\n")
    return count


def _write_tables(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> int:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    count, rest = 0, iter(rows)
    while True:
        batch = list(islice(rest, ROWS_AT_ONCE))
        if count and not batch:
            return count
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=not count)
        for column in columns:
            table.add_column(column.name, justify="right" if column.right else "left", overflow="fold")
        for row in batch:
            table.add_row(*(Text(column.text(row), column.style(row.get(column.name))) for column in columns))
        console.print(table)
        count += len(batch)
        if len(batch) < ROWS_AT_ONCE:
            return count


def write_facts(facts: Mapping[str, Any]) -> None:
    """Write what is known of one thing, a line each."""
    if not is_terminal():
        for name, value in facts.items():
            sys.stdout.write(f"{name}\t{'-' if value is None else printable(str(value))}\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text("-" if value is None else printable(str(value))))
    Console(highlight=False).print(table)
