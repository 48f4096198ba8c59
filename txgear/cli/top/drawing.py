"""
From what the screen shows to lines of text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from txgear.cli.base.output import printable
from txgear.cli.base.quantities import age
from txgear.cli.top import short
from txgear.cli.top.acts import ACTS
from txgear.cli.top.asker import Heard
from txgear.cli.top.screen import Place, Screen
from txgear.cli.top.views import VIEWS, Column

KEYS: Final = (
    ("f w j d", "functions, workers, jobs, dead; Tab and the arrows go through them"),
    ("up down", "select a row; PgUp, PgDn, Home and End as well"),
    ("Enter", "all that is known of the row; Esc leads back"),
    ("J", "the jobs of the function or of the worker"),
    ("/", "look for some: a part of a function's name, a pattern such as mail.*,"),
    ("", "or words such as state=running, older=1h, text=invoice"),
    ("Esc", "show all again"),
    ("< >", "another order; o turns it round"),
    ("q", "end"),
)
WRONG: Final = "bold red"
"""The style of what is said of a server with which something is wrong."""
STALE_SECONDS: Final = 5.0
"""Seconds after which what a server said is old."""


def lines(screen: Screen, width: int, height: int, now: float) -> list[Text]:
    """
    The screen.

    @param width: cells of a line.
    @param height: lines; there are never more, and as many where the screen is full.
    @param now: by the clock of what was heard.
    @return: each at most so wide.
    """
    head = [*_servers(screen, width, now), _tabs(screen, width)]
    room = max(height - len(head) - 1, 1)
    if screen.helps:
        body = _help(screen, width)
    elif screen.detail is not None:
        body = _detail(screen, width, room)
    else:
        body = _list(screen, width, room)
    filled = body[:room] + [Text("")] * (room - len(body))
    return [*head, *filled, _foot(screen, width)][:height]


def _cut(text: str, style: str, width: int) -> Text:
    return Text(set_cell_size(text, width).rstrip() if cell_len(text) > width else text, style)


def _servers(screen: Screen, width: int, now: float) -> Iterator[Text]:
    for name, heard, error in zip(screen.names, screen.heard, screen.errors, strict=True):
        yield _cut(*_server(name, heard, printable(error).removeprefix(f"{name}: "), now), width)


def _server(name: str, heard: Heard | None, error: str, now: float) -> tuple[str, str]:
    """What is said of a server, and in which style."""
    if heard is None:
        return (f"{name}: {error}", WRONG) if error else (f"{name}: is asked", "dim")
    totals, server, old = heard.totals, heard.server, age(int(now - heard.time))
    if error:
        return f"{name}: {error}; as of {old} ago", WRONG
    if now - heard.time > STALE_SECONDS:
        return f"{name}: does not answer; as of {old} ago", WRONG
    if server is not None and not server["store"]["available"]:
        return f"{name}: its store is away: {printable(str(server['store']['why']))}", WRONG
    up = "" if server is None else f" up {age(int(server['uptime']))}"
    said = (
        f"{name}{up}"
        f"  {short.count(totals['queued'])} queued {short.count(totals['running'])} run"
        f" {short.count(totals['waiting'])} later {short.count(totals['dead'])} dead"
        f"  in {short.rate(totals['submitted_rate'])}/s out {short.rate(totals['completed_rate'])}/s"
        f" fail {short.rate(totals['failed_rate'])}/s"
    )
    drains = server is not None and server["draining"]
    return (f"{said}  DRAINS", "bold yellow") if drains else (said, "bold")


def _tabs(screen: Screen, width: int) -> Text:
    made = Text()
    for view in VIEWS:
        made.append(f" {view.name} ", "reverse" if view is screen.view else "")
    shown = screen.shown
    down = screen.order.down != shown.turned
    made.append(f"  by {screen.order.name}{', largest first' if down else ''}", "dim")
    if shown.filter:
        made.append(f"  /{printable(shown.filter)}", "bold")
    made.truncate(width, overflow="crop")
    return made


def _foot(screen: Screen, width: int) -> Text:
    if screen.typed is not None:
        typed = screen.typed[-(width - 4) :]
        made = Text(f"/{printable(typed)}")
        made.append(" ", "reverse")
        if screen.said:
            made.append(f"  {printable(screen.said)}", "red")
        made.truncate(width, overflow="crop")
        return made
    if screen.asks is not None:
        act, place = screen.asks
        assert act.question is not None
        asked = f"{printable(act.question(place.row))}  y: yes, any other key: no"
        return _cut(asked, "bold reverse", width)
    if screen.said:
        return _cut(printable(screen.said), "bold", width)
    if screen.detail is None and not screen.helps:
        rows = screen.rows()
        if rows and (finding := rows[screen.index(rows)].row.get("finding")):
            return _cut(printable(finding), "yellow", width)
    keys = [("?", "keys"), ("q", "end"), ("Enter", "more"), ("/", "look for"), ("< >", "order")]
    keys += [(act.key, act.label) for act in ACTS[screen.view]]
    return _cut("  ".join(f"{key} {label}" for key, label in keys), "dim", width)


def _help(screen: Screen, width: int) -> list[Text]:
    acts = [(act.key, f"{act.label}{' (asks)' if act.question else ''}") for act in ACTS[screen.view]]
    text = [f"  {key:9}{label}" for key, label in chain(KEYS, [("", "")], acts)]
    return [Text(""), *(_cut(line, "", width) for line in text)]


# Lists


def widths(columns: Sequence[Column], width: int) -> list[int]:
    """
    How wide columns are in a line of so many cells; 0 for those that have no room. What is left over goes to
    those that have a weight.
    """
    found = [column.width for column in columns]
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


def _cell(text: str, width: int, right: bool) -> str:
    text = printable(text)
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…" if width > 1 else set_cell_size(text, width)
    fill = " " * (width - cell_len(text))
    return fill + text if right else text + fill


def _list(screen: Screen, width: int, room: int) -> list[Text]:
    columns = screen.view.columns
    if len(screen.names) > 1:
        names = screen.names
        server = Column(
            "server", min(max(len("server"), *map(len, names)), 16), lambda row: names[row["server of"]]
        )
        columns = (server, *columns)
    sizes = widths(columns, width)
    title = " ".join(
        _cell(column.title, size, column.right) for column, size in zip(columns, sizes, strict=True) if size
    )
    made = [Text(title.ljust(width), "bold underline")]
    rows = screen.rows()
    screen.height = max(room - 1, 1)
    at = screen.index(rows)
    first = min(max(0, at - screen.height // 2), max(0, len(rows) - screen.height))
    for index, place in enumerate(rows[first : first + screen.height], first):
        made.append(_row(columns, sizes, place, index == at, width))
    if not rows:
        made.append(_cut(_nothing(screen), "dim", width))
    elif any(heard.more for _, heard in screen.answers()) and first + screen.height >= len(rows):
        made.append(_cut("There are more: / looks for some of them", "dim", width))
    return made


def _row(columns: Sequence[Column], sizes: Sequence[int], place: Place, selected: bool, width: int) -> Text:
    made = Text(style="reverse" if selected else "")
    row: dict[str, Any] = {**place.row, "server of": place.of}
    for index, (column, size) in enumerate(zip(columns, sizes, strict=True)):
        if size:
            made.append(_cell(column.text(row), size, column.right), column.style(row))
            made.append(" " if index < len(columns) - 1 else "")
    if selected:
        made.append(" " * (width - made.cell_len))
    made.truncate(width, overflow="crop")
    return made


def _nothing(screen: Screen) -> str:
    if not any(True for _ in screen.answers()):
        return ""
    if screen.shown.filter:
        return "Nothing is like that; Esc shows all again"
    return f"There are no {screen.view.name if screen.view.name != 'dead' else 'dead jobs'}"


# All that is known of one


def _detail(screen: Screen, width: int, room: int) -> list[Text]:
    assert screen.detail is not None
    heard = screen.heard[screen.detail.of]
    found = None if heard is None else heard.detail
    if heard is None or found is None or heard.question.detail != screen.view.detail(screen.detail.row):
        return [Text("")]
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
