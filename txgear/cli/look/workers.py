"""
C{txgear workers}: who can do what, and what each does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.look.lists import Choice, ListCommand, list_options, show

CONDITIONS: Final = {
    "busy": "green",
    "paused": "yellow",
    "late": "yellow",
    "absent": "yellow",
    "unread": "yellow",
    "silent": "red",
}


def named(row: Mapping[str, Any]) -> str:
    """What a peer is called: what it calls itself, or where it comes from."""
    return str(row.get("id") or row["client_id"] or row["address"])


def progress(job: Mapping[str, Any]) -> str | None:
    """How far a job is, as its worker says: C{3/10}."""
    return f"{job['numerator']}/{job['denominator']}" if job.get("denominator") else None


def _first(row: Mapping[str, Any]) -> Mapping[str, Any]:
    jobs = row["in_hand"]
    return jobs[0] if jobs else {}


COLUMNS: Final = (
    Column(
        "number",
        "of its connection, as 'txgear worker' takes it",
        right=True,
        of=lambda row: row["descriptor"],
    ),
    Column("worker", "what it calls itself, or its address", of=named),
    Column(
        "condition",
        "busy (with a job), asleep (until it is woken), woken, awake (asks for jobs), late (woken, and has"
        " not asked), silent (no job, not asked for a minute), unread (the store is behind), paused,"
        " unused (it does no function now) or absent (it has lost its connection, and may come back)",
        style=lambda condition: CONDITIONS.get(condition, ""),
    ),
    Column("group", "its group, in its runtime"),
    Column("host", "the machine that it runs on"),
    Column("jobs", "how many it has", right=True),
    Column("doing", "the function of the first", of=lambda row: _first(row).get("function")),
    Column("handle", "the handle of that", usual=False, of=lambda row: _first(row).get("handle")),
    Column(
        "for", "how long it has had it", quantities.age, right=True, of=lambda row: _first(row).get("seconds")
    ),
    Column("progress", "how far it is", right=True, usual=False, of=lambda row: progress(_first(row))),
    Column("idle", "without a job, and without asking for one", quantities.age, right=True),
    Column("heard", "since the last bytes came from it", quantities.age, right=True, usual=False),
    Column("functions", "how many it can do", right=True, usual=False),
    Column("names", "the first ten of them", ", ".join),
    Column(
        "unused",
        "those that it knows and does not do now",
        ", ".join,
        usual=False,
        of=lambda row: [each["function"] for each in row["counts"] if not each["in_use"]],
    ),
    Column("done", "jobs done since it started, as it says", right=True, usual=False),
    Column("failed", "jobs failed likewise", right=True, usual=False),
    Column("concurrency", "how many jobs it does at once", right=True, usual=False),
    Column("memory", "bytes that it takes", quantities.size, right=True, usual=False),
    Column("absent", "since when it is absent", usual=False),
    Column("id", "what it is called, as 'txgear worker' takes it", usual=False),
    Column("pid", "its process", right=True, usual=False),
    Column("version", "what it is made of", usual=False),
    Column("started", "when it started", usual=False),
    Column("client_id", "what it calls itself", usual=False),
    Column("address", "where it comes from", usual=False),
    Column("identity", "who it is", usual=False),
    Column("encrypted", "whether it has TLS", usual=False),
    Column("enrolled", "when it said first that it can do anything", usual=False),
    Column("asked", "when it last asked for a job", usual=False),
    Column("words", "what it can be told", ", ".join, usual=False),
)


@click.command(
    cls=ListCommand, columns=COLUMNS, epilog="Example: txgear workers --function mail.send --condition silent"
)
@click.option("--function", metavar="PATTERN", help="Who can do a function whose name is like it: mail.*")
@click.option("--worker", metavar="TEXT", help="With this in what they call themselves, or in the address.")
@click.option("--id", metavar="ID", help="Who is called so.")
@click.option("--group", metavar="GROUP", help="Of this group.")
@click.option("--host", metavar="HOST", help="On this machine.")
@click.option("--condition", metavar="CONDITION", help="Those that are so: busy, silent, asleep ...")
@list_options
@server_options
def command(servers: Servers, choice: Choice, **filters: str | None) -> int:
    """Who can do what, and what each does."""
    query = {**filters, "limit": choice.page}
    return show(servers, choice, lambda api: api.rows(f"{ROOT}/workers", "workers", query), COLUMNS)
