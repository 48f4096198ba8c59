"""
From what the screen shows to lines of text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from rich.cells import cell_len, set_cell_size

from txgear.broker.words import number
from txgear.cli.base.output import printable
from txgear.cli.base.quantities import age
from txgear.cli.top import short
from txgear.cli.top.acts import ACTS
from txgear.cli.top.asker import Heard
from txgear.cli.top.painting import Line
from txgear.cli.top.screen import Place, Screen
from txgear.cli.top.views import VIEWS, Column, Row

KEYS: Final = (
    ("f w j d", "functions, workers, jobs, dead; Tab and the arrows go through them"),
    ("up down", "select a row; PgUp, PgDn, Home and End as well"),
    ("Enter", "all that is known of the row; Esc leads back"),
    ("J W D", "the jobs of the function, its workers, its dead; J of a worker, too"),
    ("/", "look for some: a part of a name, a pattern of functions such as mail.*,"),
    ("", "or words such as state=running, older=1h, text=invoice"),
    ("Esc", "select nothing, then show all again"),
    ("< >", "another order; o turns it round"),
    ("q", "end"),
)
WRONG: Final = "bold red"
"""The style of what is said of a server with which something is wrong."""
CUT: Final = "~"
"""Stands where something was cut off; every terminal has it, one cell wide."""
SERVERS_PART: Final = 3
"""The part of the lines that servers have at the most."""


def lines(screen: Screen, width: int, height: int, now: float) -> list[Line]:
    """
    The screen.

    @param width: cells of a line.
    @param height: lines; there are never more, and as many where the screen is full.
    @param now: by the clock of what was heard.
    @return: each at most so wide.
    """
    servers = list(_servers(screen, width, max(height // SERVERS_PART, 1), now))
    room = max(height - len(servers) - 2, 1)
    if screen.helps:
        body = _help(screen, width)
    elif screen.detail is not None:
        body = _detail(screen, width, room)
    else:
        body = _list(screen, width, room)
    filled = body[:room] + [Line()] * (room - len(body))
    # The list has found out by now which rows are seen.
    return [*servers, _tabs(screen, width), *filled, _foot(screen, width)][:height]


def _cut(text: str, style: str, width: int) -> Line:
    return Line(_shortened(text, width), style)


def _shortened(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    return (set_cell_size(text, width - 1) + CUT)[: max(width, 0)] if width > 1 else CUT[:width]


def _servers(screen: Screen, width: int, room: int, now: float) -> Iterator[Line]:
    """
    A line for each.

    @param room: how many lines there may be. Where there are more servers, those come first that need
        somebody.
    """
    every = [
        _server(name, heard, printable(error).removeprefix(f"{name}: "), screen.stale, now)
        for name, heard, error in zip(screen.names, screen.heard, screen.errors, strict=True)
    ]
    shown = every
    if len(every) > room:
        shown = sorted(every, key=lambda said: said[1] in ("", "bold"))[: max(room - 1, 0)]
    for text, style in shown:
        yield _cut(text, style, width)
    if len(shown) < len(every):
        yield _cut(f"and {number(len(every) - len(shown), 'server')} more", "", width)


def _server(name: str, heard: Heard | None, error: str, stale: float, now: float) -> tuple[str, str]:
    """What is said of a server, and in which style."""
    if heard is None:
        return (f"{name}: {error}", WRONG) if error else (f"{name}: is asked", "")
    totals, server, old = heard.totals, heard.server, age(int(now - heard.time))
    if error:
        return f"{name}: {error}; as of {old} ago", WRONG
    if now - heard.time > stale:
        return f"{name}: does not answer; as of {old} ago", WRONG
    if server is not None and not server["store"]["available"]:
        return f"{name}: its store is away: {printable(str(server['store']['why']))}", WRONG
    said = (
        f"{name} up {age(int(heard.uptime))}"
        f"  {short.count(totals['queued'])} queued {short.count(totals['running'])} run"
        f" {short.count(totals['waiting'])} later {short.count(totals['dead'])} dead"
        f"  in {short.rate(totals['submitted_rate'])} out {short.rate(totals['completed_rate'])}"
        f" fail {short.rate(totals['failed_rate'])}/s"
    )
    drains = server is not None and server["draining"]
    return (f"{said}  DRAINS", "bold yellow") if drains else (said, "bold")


def _tabs(screen: Screen, width: int) -> Line:
    made = Line()
    for view in VIEWS:
        # Where there are no attributes, brackets say which it is.
        shown = view is screen.view
        made.append(f"[{view.name}]" if shown else f" {view.name} ", "reverse" if shown else "")
    shown_so = screen.shown
    down = screen.order.down != shown_so.turned
    made.append(f"  by {screen.order.name}{', largest first' if down else ''}")
    if shown_so.filter:
        made.append(f"  /{printable(shown_so.filter)}", "bold")
    counted = _counted(screen)
    if made.cells + len(counted) + 2 <= width:
        made.append(counted.rjust(width - made.cells))
    made.cut(width)
    return made


def _counted(screen: Screen) -> str:
    """Which rows are seen, and of how many."""
    heard = [each for _, each in screen.answers()]
    rows = sum(len(each.rows) for each in heard)
    if not rows or screen.detail is not None or screen.helps or screen.still:
        return ""
    last = min(screen.first + screen.height, rows)
    every = rows
    for each in heard:
        if each.matched is not None:
            every += each.matched - len(each.rows)
    more = "+" if any(each.more and each.matched is None for each in heard) else ""
    return f"{screen.first + 1}-{last} of {every}{more}"


def _foot(screen: Screen, width: int) -> Line:
    if screen.still:
        return Line()
    if screen.typed is not None:
        typed = screen.typed[-max(width - 4, 1) :]
        made = Line(f"/{printable(typed)}")
        made.append(" ", "reverse")
        if screen.said:
            made.append(f"  {printable(screen.said)}", "red")
        made.cut(width)
        return made
    if screen.asks is not None:
        act, place = screen.asks
        # The question may be cut off, and not what the keys mean.
        keys = "  y: yes, any other key: no"
        asked = _shortened(printable(act.asked(place.row)), max(width - len(keys), 8))
        made = Line(f"{asked}{keys}", "bold reverse")
        made.cut(width)
        return made
    if screen.said:
        return _cut(printable(screen.said), "bold", width)
    if screen.detail is None and not screen.helps:
        rows = screen.rows()
        if rows and (finding := rows[screen.index(rows)].row.get("finding")):
            return _cut(printable(finding), "yellow", width)
    told = [("?", "keys"), ("q", "end"), ("Enter", "more"), ("/", "find"), ("< >", "order")]
    told += [(act.key, act.short or act.label) for act in ACTS[screen.view]]
    return _cut("  ".join(f"{key} {label}" for key, label in told), "", width)


def _help(screen: Screen, width: int) -> list[Line]:
    acts = [(act.key, f"{act.label}{' (asks)' if act.question else ''}") for act in ACTS[screen.view]]
    text = [f"  {key:9}{label}" for key, label in chain(KEYS, [("", "")], acts)]
    return [Line(), *(_cut(line, "", width) for line in text)]


# Lists


def widths(columns: Sequence[Column], width: int, rows: Sequence[Row] = ()) -> list[int]:
    """
    How wide columns are in a line of so many cells; 0 for those that have no room. What is left over goes to
    those that have a weight.
    """
    found = [
        max([column.width, *(cell_len(column.text(row)) for row in rows)]) if column.fits else column.width
        for column in columns
    ]
    # What stands last has to go first.
    for index in range(len(columns) - 1, -1, -1):
        if sum(each + 1 for each in found if each) - 1 <= width:
            break
        if not columns[index].weight:
            found[index] = 0
    left = width - (sum(each + 1 for each in found if each) - 1)
    weights = sum(column.weight for column in columns)
    for index, column in enumerate(columns):
        if column.weight and weights:
            share = left * column.weight // weights if left > 0 else left
            found[index] = max(found[index] + share, 1)
            left -= share
            weights -= column.weight
    return found


def _cell(text: str, width: int, right: bool, middle: bool = False) -> str:
    text = printable(text)
    if cell_len(text) > width:
        if middle and text.isascii() and width > 2:
            head = (width - 1) // 2
            return f"{text[:head]}{CUT}{text[len(text) - (width - 1 - head) :]}"
        text = _shortened(text, width)
    fill = " " * (width - cell_len(text))
    return fill + text if right else text + fill


def _list(screen: Screen, width: int, room: int) -> list[Line]:
    columns = screen.view.columns
    if len(screen.names) > 1:
        names = screen.names
        server = Column(
            "server", min(max(len("server"), *map(len, names)), 16), lambda row: names[row["server of"]]
        )
        columns = (server, *columns)
    rows = screen.rows()
    sizes = widths(columns, width, [place.row for place in rows])
    title = " ".join(
        _cell(column.title, size, column.right) for column, size in zip(columns, sizes, strict=True) if size
    )
    made = [Line(title.ljust(width), "bold underline")]
    screen.height = len(rows) if screen.still else max(room - 1, 1)
    at = screen.index(rows)
    # The screen moves when the selected row comes to its edge, and not before.
    first = min(max(screen.first, at - screen.height + 1), at, max(0, len(rows) - screen.height))
    screen.first = first
    for index, place in enumerate(rows[first : first + screen.height], first):
        made.append(_row(columns, sizes, place, index == at and not screen.still, width))
    if not rows:
        made.append(_cut(_nothing(screen), "", width))
    elif any(heard.more for _, heard in screen.answers()) and first + screen.height >= len(rows):
        made.append(_cut("There are more: / looks for some of them", "", width))
    return made


def _row(columns: Sequence[Column], sizes: Sequence[int], place: Place, selected: bool, width: int) -> Line:
    made = Line()
    row: dict[str, Any] = {**place.row, "server of": place.of}
    for index, (column, size) in enumerate(zip(columns, sizes, strict=True)):
        if size:
            made.append(_cell(column.text(row), size, column.right, column.middle), column.style(row))
            made.append(" " if index < len(columns) - 1 else "")
    if selected:
        made.fill(width, "reverse")
    made.cut(width)
    return made


def _nothing(screen: Screen) -> str:
    if not any(True for _ in screen.answers()):
        return ""
    if any(heard.more for _, heard in screen.answers()):
        return "None of those that were looked at is like that; there are more: look for less at once"
    if screen.shown.filter:
        return "Nothing is like that; Esc shows all again"
    return f"There are no {screen.view.name if screen.view.name != 'dead' else 'dead jobs'}"


# All that is known of one


def _detail(screen: Screen, width: int, room: int) -> list[Line]:
    assert screen.detail is not None
    heard = screen.heard[screen.detail.of]
    found = None if heard is None else heard.detail
    if heard is None or found is None or heard.question.detail != screen.view.detail(screen.detail.row):
        return [Line()]
    facts = {**screen.detail.row, **found} if "findings" in found else found
    made = [_cut(line, "", width) for line in _told(facts, width)]
    screen.height = room
    screen.scrolled = min(screen.scrolled, max(0, len(made) - room))
    return made[screen.scrolled :]


def _told(facts: dict[str, Any], width: int) -> Iterator[str]:
    if "gone" in facts:
        yield printable(facts["gone"])
        return
    for finding in facts.get("findings", ()):
        yield from _wrapped(printable(f"{finding['severity']}: {finding['text']}"), width)
    longest = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        if name in ("links", "findings", "finding", "severity") or value in (None, [], {}):
            continue
        if isinstance(value, list) and isinstance(value[0], dict):
            yield f"{name}"
            for each in value:
                said = "  ".join(f"{key} {item}" for key, item in each.items() if item not in (None, ""))
                yield from _wrapped("  " + printable(said), width)
            continue
        said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield from _wrapped(f"{name:{longest}}  {printable(said)}", width)


def _wrapped(line: str, width: int) -> Iterator[str]:
    """A line in pieces that have room."""
    while cell_len(line) > width:
        piece = set_cell_size(line, width)
        yield piece
        line = "    " + line[len(piece.rstrip()) :].lstrip()
    yield line
