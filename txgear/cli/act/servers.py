"""
What acts on servers as a whole share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from txgear.cli.act.acts import Fleet, Row, carry_out
from txgear.cli.base.api import ROOT, Api
from txgear.cli.base.asking import be_sure, people
from txgear.cli.base.options import Servers
from txgear.cli.base.output import Column

ENDING: Final = (Column("state"), Column("running", right=True))


def end(servers: Servers, verb: str, what: str, state: str, *, yes: bool, as_json: bool) -> int:
    """
    End servers.

    @param verb: as the API has it.
    @param what: the same, to be asked.
    @param state: what they are then.
    @return: the exit status.
    """
    if not yes:
        with people() as answers:
            be_sure(f"{what} {', '.join(servers.names)}?", answers)

    def one(api: Api) -> Row:
        return {"state": state, **api.send("POST", f"{ROOT}/server/{verb}")}

    return at_each(servers, one, ENDING, as_json)


def at_each(servers: Servers, do: Callable[[Api], Row], columns: tuple[Column, ...], as_json: bool) -> int:
    """
    Do something to each server, and tell of each by its name.

    @return: the exit status.
    """
    fleet = Fleet(servers, naming=True)
    steps = (fleet.step("server", api, api.place.name, lambda api, name: do(api)) for api in fleet.apis)
    return carry_out(fleet, steps, columns, as_json)
