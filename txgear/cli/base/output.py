"""
How commands write: tables, colour and progress on a terminal, plain text elsewhere, JSON where it is asked
for.

Plain text has a line of names and a line for each row, with tabs between. What controls a terminal is escaped
as in the server's own lists. (The API has escaped what is no UTF-8 already.)
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, Final

from txgear.protocol.textlines import for_line

ROWS_AT_ONCE: Final = 200
"""Rows of a table on a terminal that have one width."""


NARROWEST: Final = 8
"""Characters that a column of text has on a terminal, unless all of it has fewer."""


def plain(value: Any) -> str:
    """A value as people read it: C{yes} and C{no}, and JSON for what has parts."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Column:
    """
    A column of a list.

    @ivar name: what it is called, on the command line as well: a member of the row, as the API has it, unless
        C{of} says otherwise.
    @ivar about: what it says, a few words.
    @ivar show: makes text of a row's value; C{None} and empty text are a C{-} without asking.
    @ivar style: of rich, for the value of a row; empty for none.
    @ivar right: whether it stands at the right, as numbers do.
    @ivar usual: whether it is there where nothing is said.
    @ivar of: makes the value of a row; C{None} for the member of its name.
    """

    name: str
    about: str = ""
    show: Callable[[Any], str] = plain
    style: Callable[[Any], str] = lambda value: ""
    right: bool = False
    usual: bool = True
    of: Callable[[Mapping[str, Any]], Any] | None = None

    def value(self, row: Mapping[str, Any]) -> Any:
        """What it is about, as the server has it."""
        return row.get(self.name) if self.of is None else self.of(row)

    def text(self, row: Mapping[str, Any]) -> str:
        """What stands in it."""
        return shown(self.value(row), self.show)


def shown(value: Any, show: Callable[[Any], str] = plain) -> str:
    """A value in one line; nothing is a C{-}, and what is called so is not mistaken for it."""
    text = "" if value is None else printable(show(value))
    return "\\x2d" if text == "-" else text or "-"


_TURNING: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that turn what stands around them, so that another text is seen than is there."""


_ODD: Final = re.compile(f"[\x7f-\x9f\u2028\u2029{_TURNING.pattern[1:]}")
"""What JSON may hold as it is, and a terminal should not."""


def printable(text: str) -> str:
    """Text that does nothing to a terminal, in one line."""
    line = for_line(text.encode("utf-8", "backslashreplace").decode("utf-8")).decode("utf-8")
    return _TURNING.sub(lambda found: "".join(f"\\x{byte:02x}" for byte in found[0].encode("utf-8")), line)


def is_terminal() -> bool:
    """Whether people see what is written."""
    return sys.stdout.isatty()


def json_text(value: Any) -> str:
    """A value in JSON, that does nothing to a terminal: what controls one is escaped as JSON does it."""
    return _ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def write_json(document: Any) -> None:
    """Write a document, or one object of a stream: a line."""
    sys.stdout.write(json_text(document) + "\n")


def write_rows(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[Column],
    last: Callable[[], Mapping[str, Any] | None] = lambda: None,
) -> None:
    """
    Write a list for people, or for C{cut}.

    @param last: called after all rows: one that stands out below them, or C{None}.
    """
    if is_terminal():
        _write_tables(rows, columns, last)
        return
    write = sys.stdout.write
    rows = iter(rows)
    # Where the server has nothing to say but what is wrong, there is no list.
    first = list(islice(rows, 1))
    write("\t".join(column.name for column in columns) + "\n")
    for row in chain(first, rows):
        write("\t".join(column.text(row) for column in columns) + "\n")
    if (row_of_sums := last()) is not None:
        write("\t".join(column.text(row_of_sums) for column in columns) + "\n")


def _write_tables(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[Column],
    last: Callable[[], Mapping[str, Any] | None],
) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    wanted = [cell_len(column.name) for column in columns]
    rest, header, going_on = iter(rows), True, True
    while going_on:
        batch = list(islice(rest, ROWS_AT_ONCE))
        styles = [""] * len(batch)
        going_on = len(batch) == ROWS_AT_ONCE
        if not going_on and (row_of_sums := last()) is not None:
            batch.append(row_of_sums)
            styles.append("bold")
        cells = [[column.text(row) for column in columns] for row in batch]
        turned = list(zip(*cells, strict=True)) or [()] * len(columns)
        # A column is never narrower than above.
        wanted = [max(wide, *map(cell_len, column), 0) for wide, column in zip(wanted, turned, strict=True)]
        least = [
            wide if column.right else max(NARROWEST, cell_len(column.name))
            for wide, column in zip(wanted, columns, strict=True)
        ]
        gap, widths = fitting(wanted, least, Console().width)
        table = Table(
            box=None, pad_edge=False, header_style="bold", show_header=header, padding=(0, gap, 0, 0)
        )
        for column, width in zip(columns, widths, strict=True):
            justify: Any = "right" if column.right else "left"
            table.add_column(column.name, justify=justify, overflow="fold", width=width)
        for row, texts, style in zip(batch, cells, styles, strict=True):
            styled = zip(columns, texts, strict=True)
            table.add_row(
                *(Text(text, column.style(column.value(row))) for column, text in styled), style=style
            )
        # What has no room even so goes on in the next line of the terminal; nothing is cut off.
        console = Console(highlight=False, width=max(Console().width, sum(widths) + gap * len(widths)))
        console.print(table)
        header = False


def fitting(wanted: Sequence[int], least: Sequence[int], room: int) -> tuple[int, list[int]]:
    """
    The widths of columns: the widest become narrower where they have no room.

    @param wanted: characters that each has in its longest line.
    @param least: how many it has at the least, where it is not shorter by itself.
    @param room: characters of a line. It is exceeded where the columns are too many.
    @return: how many spaces are between them, and the widths.
    """
    widths = [min(wide, max(room, narrow)) for wide, narrow in zip(wanted, least, strict=True)]
    gap = 2 if sum(widths) + 2 * (len(widths) - 1) <= room else 1
    while sum(widths) + gap * (len(widths) - 1) > room:
        places = [place for place, wide in enumerate(widths) if wide > least[place]]
        if not places:
            break
        widths[max(places, key=widths.__getitem__)] -= 1
    return gap, widths


def write_facts(
    facts: Mapping[str, Any], show: Callable[[str, Any], str] = lambda name, value: plain(value)
) -> None:
    """
    Write what is known of one thing, a line each.

    @param show: makes text of a name's value; C{None} and empty text are a C{-} without asking.
    """
    texts = {name: shown(value, partial(show, name)) for name, value in facts.items()}
    if not is_terminal():
        for name, text in texts.items():
            sys.stdout.write(f"{name}\t{text}\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in texts.items():
        table.add_row(name, Text(text))
    Console(highlight=False).print(table)


def note(text: str) -> None:
    """Say something beside the data."""
    print(printable(text), file=sys.stderr)
