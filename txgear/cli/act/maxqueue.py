"""
C{txgear maxqueue}: bounds the queues of functions.
"""

from __future__ import annotations

import click

from txgear.cli.act.acts import Fleet, Row
from txgear.cli.act.functions import at_all, function_names
from txgear.cli.base.api import Api, path_of
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import Column
from txgear.cli.base.statuses import MISUSED, CommandError

COLUMNS = (
    Column("function"),
    Column("high", right=True),
    Column("normal", right=True),
    Column("low", right=True),
)
BOUND = click.IntRange(0, 2**31 - 1)


@click.command(epilog="Example: txgear maxqueue mail.send --bound 10000 --high 12000")
@function_names
@click.option("--bound", type=BOUND, metavar="N", help="For jobs of each priority.")
@click.option("--high", type=BOUND, metavar="N", help="For those of high priority.")
@click.option("--normal", type=BOUND, metavar="N", help="For those of normal priority.")
@click.option("--low", type=BOUND, metavar="N", help="For those of low priority.")
@json_option
@server_options
def command(
    servers: Servers,
    as_json: bool,
    functions: tuple[str, ...],
    bound: int | None,
    **bounds: int | None,
) -> int:
    """
    Refuse jobs of these FUNCTIONs while they have so many, at each server: for each priority a bound of its
    own, or one for all.

    0 is no bound; so is what is not said. A function may be one that is not known yet.
    """
    if bound is None and all(each is None for each in bounds.values()):
        raise CommandError("how many? --bound N; 0 is no bound", MISUSED)
    wanted = {name: bound or 0 if each is None else each for name, each in bounds.items()}

    def limit(api: Api, name: str) -> Row:
        return {"function": name, **api.send("PUT", path_of("functions", name, "maxqueue"), body=wanted)}

    return at_all(Fleet(servers), functions, limit, COLUMNS, as_json)
