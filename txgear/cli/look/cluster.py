"""
C{txgear cluster}: the servers of one database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column, note, printable
from txgear.cli.look.lists import Choice, ListCommand, list_options, show

if TYPE_CHECKING:
    from txgear.cli.base.api import Api

STATES: Final = {"silent": "bold red"}
LATE: Final = 5.0
"""Seconds since the server's last look at the others from which on that is said."""


def _last(row: Mapping[str, Any], name: str) -> Any:
    """Of the part that its new jobs come to."""
    return row["parts"][-1][name] if row["parts"] else None


def _parts(row: Mapping[str, Any]) -> str:
    return ",".join(str(part["part"]) for part in row["parts"])


COLUMNS: Final = (
    Column("name", "what it is called"),
    Column("address", "where it is reached"),
    Column("own", "whether it is the one that was asked", of=lambda row: True if row["own"] else None),
    Column("state", "alive or silent", style=lambda state: STATES.get(state, "")),
    Column("silent", "for how long no sign of life was seen", quantities.age, right=True),
    Column("parts", "its parts of the jobs; new ones come to the last", of=_parts),
    Column("queued", "its jobs that no worker has", right=True),
    Column("running", "its jobs that run", right=True),
    Column("workers", "how many it has", right=True),
    Column("rate", "its jobs that ended in a second, of late", right=True),
    Column("lag", "by how much it was late at worst, in the last minute", quantities.age, right=True),
    Column("connections", "how many it has", right=True, usual=False),
    Column("draining", "whether it is about to end", usual=False),
    Column("version", "its version", usual=False),
    Column("uptime", "for how long it has run", quantities.age, right=True, usual=False),
    Column("lease", "after how long without a sign it takes others' parts", quantities.age, usual=False),
    Column("trust", "for how long it could do without another sign", quantities.age, usual=False),
    Column("term", "how often its last part was taken", usual=False, of=lambda row: _last(row, "term")),
    Column("beat", "how often that has moved since", usual=False, of=lambda row: _last(row, "beat")),
)


def remarks(found: Mapping[str, Any]) -> Iterator[str]:
    """What else a server says of its cluster, in sentences."""
    database = found["database"]
    if found["looked"] >= LATE:
        yield f"the database has not told of the servers for {quantities.age(found['looked'])}"
    if database["why"] is not None:
        yield f"the database takes no jobs: {database['why']}"
    yield f"the database: {database['promise']}"
    yield from database["doubts"]
    if free := found["free"]:
        yield "nobody has " + ", ".join(f"part {part['part']}" for part in free)


def rows(api: Api, said: list[str]) -> list[Mapping[str, Any]]:
    """
    The servers that one of them knows of.

    @param said: to this is added what else that one says.
    """
    found = api.get(f"{ROOT}/cluster")
    said += (printable(f"{api.place.name}: {each}") for each in remarks(found))
    servers: list[Mapping[str, Any]] = found["servers"]
    return servers


@click.command(cls=ListCommand, columns=COLUMNS, epilog="Example: txgear cluster --where state=silent")
@list_options
@server_options
def command(servers: Servers, choice: Choice) -> int:
    """
    The servers that have one database, as the one that is asked knows them: the parts of the jobs that each
    has, what each has to do, and which of them gives no sign of life. What the database promises is noted
    below.
    """
    said: list[str] = []
    status = show(servers, choice, lambda api: rows(api, said), COLUMNS)
    if not choice.as_json:
        for each in said:
            note(each)
    return status
