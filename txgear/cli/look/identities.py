"""
C{txgear identities}: who is known, and what each has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from txgear.cli.base import quantities
from txgear.cli.base.api import ROOT
from txgear.cli.base.options import Servers, server_options
from txgear.cli.base.output import Column
from txgear.cli.look.lists import Choice, ListCommand, list_options, show


class Used(int):
    """
    How much there is, as it is shown beside how much there may be: C{3/100}.

    @ivar text: that.
    """

    text: str


def _quota(name: str, about: str, show: Callable[[int], str] = str) -> tuple[Column, Column]:
    """How much there is, and how much there may be."""

    def used(row: Mapping[str, Any]) -> Used | None:
        quota = row[name]
        if quota is None:
            return None
        found, bound = Used(quota["used"]), quota["bound"]
        found.text = show(found) if bound is None else f"{show(found)}/{show(bound)}"
        return found

    def most(row: Mapping[str, Any]) -> Any:
        return None if row[name] is None else row[name]["bound"]

    return (
        Column(name, f"{about}, and their bound", lambda found: str(found.text), right=True, of=used),
        Column(f"most_{name}", "the bound alone", show, right=True, usual=False, of=most),
    )


COLUMNS: Final = (
    Column("identity", "its name; nobody for whoever has not said who it is", of=lambda row: row["tenant"]),
    *_quota("connections", "its connections"),
    *_quota("queued", "its jobs that are not over"),
    *_quota("running", "those of them that run"),
    *_quota("bytes", "of their workloads", quantities.size),
    Column("submits", "how fast it may submit", lambda rate: rate["jobs"], right=True),
    Column(
        "refused",
        "how often it was refused something",
        style=lambda refused: "yellow" if refused else "",
        right=True,
    ),
)


@click.command(cls=ListCommand, columns=COLUMNS, epilog="Example: txgear identities --sort -refused")
@list_options
@server_options
def command(servers: Servers, choice: Choice) -> int:
    """Who is known, or has something here: how much each has, and how much each may have."""
    return show(servers, choice, lambda api: api.get(f"{ROOT}/identities")["identities"], COLUMNS)
