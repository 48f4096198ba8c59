"""
C{txgear worker WORKER}: one worker, with up to a thousand of its functions and jobs; or what it is told.
"""

from __future__ import annotations

import click

from txgear.cli.act.acts import Fleet
from txgear.cli.act.steer import Order, is_number, tell, unknown, with_id
from txgear.cli.base.api import as_shown, path_of
from txgear.cli.base.asking import yes_option
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.look.details import show, show_each


@click.command(epilog="Example: txgear worker images-3 unregister resize")
@click.argument("worker")
@click.argument("word", required=False)
@click.argument("argument", required=False)
@yes_option
@json_option
@server_options
def command(
    servers: Servers, as_json: bool, worker: str, word: str | None, argument: str | None, yes: bool
) -> int:
    """
    All that is known of a worker: its functions, in use and not, and the jobs it has. Or tell it something:
    a WORD is one of those of 'txgear steer', or another one that it understands; the ARGUMENT of register and
    unregister is a function. A WORKER is a number or an id of 'txgear workers'; of an id that several have
    all are meant.
    """
    if word is not None:
        order = Order(word, None if argument is None else as_shown(argument))
        return tell(servers, as_json, order, [worker], yes)
    if is_number(worker):
        path = path_of("workers", worker)
        show_each([servers.api()], as_json, lambda api: api.get(path), f"worker {worker}")
        return 0
    fleet = Fleet(servers)
    rows = list(with_id(fleet, worker))
    if not rows:
        raise unknown(fleet.apis, worker)
    for place, (api, row) in enumerate(rows):
        if place and not as_json:
            print()
        show(api, as_json, api.get(path_of("workers", str(row["descriptor"]))))
    return 0
