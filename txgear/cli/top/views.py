"""
The four lists of the screen: what a server is asked for each, and what stands in its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from txgear.cli.base.api import ROOT, path_of
from txgear.cli.top import short

Row = Mapping[str, Any]

MOST_ROWS: Final = 200
"""Rows of a list of one server, those that come first; more of them are looked for by a filter."""


@dataclass(frozen=True)
class Column:
    """
    @ivar title: what stands above it.
    @ivar width: cells that it has at the least.
    @ivar text: what stands in it for a row.
    @ivar weight: its part of what is left of the line; 0 for none.
    @ivar right: whether it stands at the right.
    @ivar style: of rich, by row.
    """

    title: str
    width: int
    text: Callable[[Row], str]
    weight: int = 0
    right: bool = False
    style: Callable[[Row], str] = lambda row: ""


@dataclass(frozen=True)
class Order:
    """
    An order of the rows.

    @ivar name: what it is called.
    @ivar key: what of a row it goes by; C{None} comes last.
    @ivar down: whether the largest comes first.
    @ivar asked: the server's word for it, where it knows the order; it gives the first rows by it then.
    """

    name: str
    key: Callable[[Row], Any]
    down: bool = False
    asked: str = ""


@dataclass(frozen=True)
class View:
    """
    A list.

    @ivar key: which shows it.
    @ivar name: its name, in which the key stands.
    @ivar path: where the server has it, and
    @ivar member: in which member of the answer.
    @ivar filters: names that a filter may have.
    @ivar id: tells a row from all others of its server.
    @ivar detail: where the server has all that is known of a row.
    @ivar columns: from the left.
    @ivar orders: the first is that of the beginning.
    """

    key: str
    name: str
    path: str
    member: str
    filters: tuple[str, ...]
    id: Callable[[Row], Any]
    detail: Callable[[Row], str]
    columns: tuple[Column, ...]
    orders: tuple[Order, ...]

    def query(self, filters: Mapping[str, str], order: Order) -> dict[str, Any]:
        """What the server is asked."""
        return {**filters, "limit": MOST_ROWS, **({"sort": order.asked} if order.asked else {})}


def _or_dash(show: Callable[[Any], str], name: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = row.get(name)
        return "-" if value is None else show(value)

    return text


def _number(title: str, name: str, width: int = 5, style: Callable[[Row], str] = lambda row: "") -> Column:
    return Column(title, width, _or_dash(short.count, name), right=True, style=style)


def _rate(title: str, name: str) -> Column:
    return Column(title, 5, _or_dash(short.rate, name), right=True)


def _span(title: str, name: str) -> Column:
    return Column(title, 5, _or_dash(short.span, name), right=True)


def _text(title: str, name: str, width: int, weight: int = 0) -> Column:
    return Column(title, width, _or_dash(str, name), weight)


def _by(name: str) -> Callable[[Row], Any]:
    return lambda row: row.get(name)


def _mark(row: Row) -> str:
    """What is wrong with a function, in one character."""
    return {"critical": "!", "warning": "?"}.get(row.get("severity", ""), "=" if row["paused"] else " ")


def _colour(row: Row) -> str:
    if row["paused"]:
        return "yellow"
    return {"critical": "bold red", "warning": "yellow"}.get(row.get("severity", ""), "")


FUNCTIONS: Final = View(
    key="f",
    name="functions",
    path=f"{ROOT}/figures",
    member="functions",
    filters=("function",),
    id=_by("function"),
    detail=lambda row: f"{path_of('functions', row['function'])}/diagnosis",
    columns=(
        Column("", 1, _mark, style=_colour),
        Column("function", 16, lambda row: row["function"], 1, style=_colour),
        _number("queue", "queued"),
        _number("run", "running", 4),
        _number("later", "waiting"),
        _number("dead", "dead", 4, lambda row: "red" if row["dead"] else ""),
        _number("work", "workers", 4),
        _span("age", "oldest"),
        _rate("in/s", "submitted_rate"),
        _rate("out/s", "completed_rate"),
        _span("wait", "wait_p95"),
        _span("takes", "run_p95"),
    ),
    orders=(
        Order("queue", _by("queued"), True, "queued"),
        Order("age", _by("oldest"), True, "oldest"),
        Order("run", _by("running"), True, "running"),
        Order("rate", lambda row: (row["completed_rate"] or 0.0) + (row["failed_rate"] or 0.0), True, "rate"),
        Order("dead", _by("dead"), True, "dead"),
        Order("work", _by("workers"), True, "workers"),
        Order("function", _by("function"), False, "name"),
    ),
)


def name_of(worker: Row) -> str:
    """What a worker calls itself, or where it comes from."""
    name: str = worker["client_id"] or worker["address"]
    return name


def _busy(worker: Row) -> float | None:
    """For how long it has had what it has, or nothing."""
    if worker["in_hand"]:
        seconds: float = max(job["seconds"] for job in worker["in_hand"])
        return seconds
    return worker.get("idle")


def _doing(worker: Row) -> str:
    jobs = worker["in_hand"]
    if not jobs:
        return "(" + " ".join(worker["names"]) + ")"
    first = jobs[0]
    said = f"{first['function']} {first['handle']}"
    if first["denominator"]:
        said += f" {100 * first['numerator'] // first['denominator']}%"
    return said if worker["jobs"] == 1 else f"{said} and {worker['jobs'] - 1} more"


def _how(worker: Row) -> str:
    return {"busy": "green", "silent": "red", "late": "red", "paused": "yellow"}.get(worker["condition"], "")


WORKERS: Final = View(
    key="w",
    name="workers",
    path=f"{ROOT}/workers",
    member="workers",
    filters=("function", "worker", "condition"),
    id=lambda row: (row["descriptor"], row["enrolled"]),
    detail=lambda row: path_of("workers", str(row["descriptor"])),
    columns=(
        Column("worker", 14, name_of, 1),
        _number("no", "descriptor"),
        Column("how", 7, lambda row: row["condition"], style=_how),
        _number("jobs", "jobs", 4),
        Column("for", 5, lambda row: "-" if (since := _busy(row)) is None else short.span(since), right=True),
        Column("does", 14, _doing, 2),
    ),
    orders=(
        Order("for", _busy, True),
        Order("worker", name_of),
        Order("how", _by("condition")),
        Order("jobs", _by("jobs"), True),
        Order("no", _by("descriptor")),
    ),
)


def _state(job: Row) -> str:
    return {"running": "green", "waiting": "dim"}.get(job["state"], "")


JOBS: Final = View(
    key="j",
    name="jobs",
    path=f"{ROOT}/jobs",
    member="jobs",
    filters=("function", "state", "worker", "older", "text", "unique"),
    id=_by("handle"),
    detail=lambda row: path_of("jobs", row["handle"]),
    columns=(
        _text("handle", "handle", 12, 1),
        _text("function", "function", 12, 1),
        Column("state", 7, lambda row: row["state"], style=_state),
        _text("prio", "priority", 6),
        _span("age", "age"),
        _number("tries", "attempts"),
        _text("worker", "worker", 10, 1),
        _text("unique", "unique", 8, 1),
    ),
    orders=(
        Order("age", _by("age"), True),
        Order("function", _by("function")),
        Order("state", _by("state")),
        Order("tries", _by("attempts"), True),
        Order("worker", _by("worker")),
    ),
)

DEAD: Final = View(
    key="d",
    name="dead",
    path=f"{ROOT}/dead",
    member="jobs",
    filters=("function", "reason", "review", "text", "unique"),
    id=_by("handle"),
    detail=lambda row: path_of("jobs", row["handle"]),
    columns=(
        _text("handle", "handle", 12, 1),
        _text("function", "function", 12, 1),
        _span("died", "age"),
        _number("tries", "attempts"),
        _text("reason", "reason", 9),
        _text("said", "text", 16, 3),
    ),
    orders=(
        Order("died", _by("age")),
        Order("function", _by("function")),
        Order("reason", _by("reason")),
        Order("tries", _by("attempts"), True),
    ),
)

VIEWS: Final = (FUNCTIONS, WORKERS, JOBS, DEAD)
