"""
C{txgear steer}: tells workers to pause, to go on, to stop; or hangs up on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import click

from txgear.cli.act.acts import Fleet, Row, carry_out, plural
from txgear.cli.base.api import ROOT, Api, as_shown, path_of
from txgear.cli.base.asking import be_sure, people, yes_option
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import Column
from txgear.cli.base.statuses import MISUSED, CommandError

DISCONNECT: Final = "disconnect"
WORDS: Final = ("pause", "resume", "stop", DISCONNECT)
COLUMNS: Final = (Column("number", right=True), Column("word"), Column("text"))
PAGE: Final = 200


@click.command(epilog="Example: txgear steer pause 17")
@click.argument("word", type=click.Choice(WORDS), metavar="pause|resume|stop|disconnect")
@click.argument("numbers", metavar="[NUMBER]...", type=click.IntRange(0), nargs=-1)
@click.option("--function", metavar="PATTERN", help="All workers with a function like it: 'mail.*'.")
@click.option("--worker", metavar="TEXT", help="All with this in their client id, or in their address.")
@yes_option
@json_option
@server_options
def command(
    servers: Servers,
    as_json: bool,
    word: str,
    numbers: tuple[int, ...],
    yes: bool,
    **filters: str | None,
) -> int:
    """
    Tell workers to take no more jobs (pause), to take some again (resume), or to finish what they have and
    leave (stop); or end their connections (disconnect). Their NUMBERs are those of 'txgear workers'.

    Only txgear's workers can be told something. Of one that is disconnected the jobs come back, as of one
    that is lost; if it is well it connects again.
    """
    matched = {name: as_shown(text) for name, text in filters.items() if text is not None}
    if bool(numbers) == bool(matched):
        raise CommandError("NUMBERs, or --function and --worker: one of the two", MISUSED)
    if numbers:
        # A number is that of one server.
        servers.api()
        fleet = Fleet(servers)
        steps = fleet.each("worker", map(str, numbers), steering(word))
        return carry_out(fleet, steps, COLUMNS, as_json)
    fleet = Fleet(servers)
    found = [(api, number) for api in fleet.apis for number in workers(api, matched)]
    if found and not yes:
        how = "Hang up on {}?" if word == DISCONNECT else f"Tell {{}} to {word}?"
        with people() as answers:
            be_sure(how.format(plural(len(found), "worker")), answers)
    steps = (fleet.step("worker", api, number, steering(word)) for api, number in found)
    return carry_out(fleet, steps, COLUMNS, as_json)


def workers(api: Api, matched: Row) -> Iterator[str]:
    """The numbers of the workers that match."""
    for row in api.rows(f"{ROOT}/workers", "workers", {**matched, "limit": PAGE}):
        yield str(row["descriptor"])


def steering(word: str) -> Callable[[Api, str], Row]:
    """What tells a worker a word, by its number."""

    def steer(api: Api, number: str) -> Row:
        if word == DISCONNECT:
            api.send("POST", path_of("workers", number, DISCONNECT))
            return {"number": int(number), "word": word, "text": ""}
        said = api.send("POST", path_of("workers", number, "steer"), body={"word": word})
        return {"number": int(number), "word": word, "text": said["text"]}

    return steer
