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
"""Rows of a list of one server, as many as a page of it has; more of them are looked for by a filter."""
MOST_FUNCTIONS: Final = 1000
"""Functions of one server, as many as its table has."""
STEPS: Final = (50, 200, MOST_FUNCTIONS)
"""How many rows a server is asked for: as few of these as are enough for what is seen."""


@dataclass(frozen=True)
class Column:
    """
    @ivar title: what stands above it.
    @ivar width: cells that it has at the least.
    @ivar text: what stands in it for a row.
    @ivar weight: its part of what is left of the line; 0 for none.
    @ivar right: whether it stands at the right.
    @ivar style: by row, as L{txgear.cli.top.painting.Line} has it.
    @ivar middle: whether long texts are cut in the middle, as their ends tell them apart.
    @ivar fits: whether it is as wide as the widest of the rows.
    """

    title: str
    width: int
    text: Callable[[Row], str]
    weight: int = 0
    right: bool = False
    style: Callable[[Row], str] = lambda row: ""
    middle: bool = False
    fits: bool = False


@dataclass(frozen=True)
class Order:
    """
    An order of the rows.

    @ivar name: what it is called.
    @ivar key: what of a row it goes by; C{None} comes last.
    @ivar down: whether the largest comes first.
    @ivar asked: the server's word for it, where it knows the order; it gives the first rows by it then.
    @ivar given: whether the server has them in this order without being asked for it.
    """

    name: str
    key: Callable[[Row], Any]
    down: bool = False
    asked: str = ""
    given: bool = False


@dataclass(frozen=True)
class View:
    """
    A list.

    @ivar key: which shows it.
    @ivar name: its name, in which the key stands.
    @ivar path: where the server has it, and
    @ivar member: in which member of the answer.
    @ivar filters: names that a filter may have; a word without a name is for the first.
    @ivar id: tells a row from all others of its server.
    @ivar detail: where the server has all that is known of a row.
    @ivar columns: from the left.
    @ivar orders: the first is that of the beginning.
    @ivar most: rows that a server gives at the most.
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
    most: int = MOST_ROWS

    def query(self, filters: Mapping[str, str], order: Order, rows: int) -> dict[str, Any]:
        """What the server is asked."""
        return {**filters, "limit": rows, **({"sort": order.asked} if order.asked else {})}

    def rows(self, order: Order, turned: bool, seen: int) -> int:
        """
        How many rows a server is asked for: those that come first by the order have to be among them.

        @param seen: how many there are down to the end of the screen.
        """
        if turned or not (order.asked or order.given):
            return self.most
        return min(next((step for step in STEPS if step >= seen), self.most), self.most)


def _or_dash(show: Callable[[Any], str], name: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = row.get(name)
        return "-" if value is None else show(value)

    return text


def _number(title: str, name: str, width: int = 5, style: Callable[[Row], str] = lambda row: "") -> Column:
    return Column(title, width, _or_dash(short.count, name), right=True, style=style)


def _rate(title: str, name: str) -> Column:
    return Column(title, len(title), _or_dash(short.rate, name), right=True)


def _span(title: str, name: str) -> Column:
    return Column(title, 5, _or_dash(short.span, name), right=True)


def _text(title: str, name: str, width: int, weight: int = 0) -> Column:
    return Column(title, width, _or_dash(str, name), weight, middle=name in ("handle", "function"))


def _by(name: str) -> Callable[[Row], Any]:
    return lambda row: row.get(name)


WORDS: Final = {
    "store_unavailable": "no store",
    "never_a_worker": "no worker",
    "similar_name": "no worker",
    "store_refuses": "refused",
    "queue_full": "full",
    "draining": "drains",
    "workers_silent": "silent",
    "workers_late": "late",
    "workers_unread": "unread",
    "workers_paused": "w. paused",
    "job_overdue": "overdue",
    "job_slow": "slow job",
    "wait_grows": "grows",
    "oldest_waits": "waits",
    "unreadable": "unread.",
    "being_purged": "purged",
}
"""What is wrong with a function, in a word, by the code of the finding; others are a word by themselves."""
SEVERITIES: Final = ("critical", "warning")


def _wrong(row: Row) -> str:
    """What is wrong with a function, in a word."""
    code: str = row.get("code") or ("paused" if row["paused"] else "")
    return WORDS.get(code, code.replace("_", " "))


def _colour(row: Row) -> str:
    if row.get("severity") == "critical":
        return "bold red"
    return "yellow" if row["paused"] or "severity" in row else ""


def _badness(row: Row) -> tuple[int, str] | None:
    """By which what is wrong is in order, the worst first."""
    if "severity" in row:
        return SEVERITIES.index(row["severity"]), _wrong(row)
    return (len(SEVERITIES), "paused") if row["paused"] else None


FUNCTIONS: Final = View(
    key="f",
    name="functions",
    path=f"{ROOT}/figures",
    member="functions",
    filters=("function",),
    id=_by("function"),
    detail=lambda row: f"{path_of('functions', row['function'])}/diagnosis",
    columns=(
        Column("function", 12, lambda row: row["function"], 1, style=_colour, middle=True),
        Column("wrong", 5, _wrong, style=_colour, fits=True),
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
        Order("later", _by("waiting"), True),
        Order("dead", _by("dead"), True, "dead"),
        Order("work", _by("workers"), True, "workers"),
        Order("in", _by("submitted_rate"), True),
        Order("out", _by("completed_rate"), True),
        Order("wait", _by("wait_p95"), True),
        Order("takes", _by("run_p95"), True),
        Order("wrong", _badness),
        Order("function", _by("function"), False, "name"),
    ),
    most=MOST_FUNCTIONS,
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
    filters=("worker", "function", "condition", "group", "host"),
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
        Order("no", _by("descriptor"), given=True),
    ),
)


def _state(job: Row) -> str:
    return "green" if job["state"] == "running" else ""


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
        Order("age", _by("age"), True, given=True),
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
