"""
C{txgear steer}: tells workers to pause, to go on, to stop, to do other functions; or hangs up on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import click

from txgear.broker.words import number
from txgear.cli.act.acts import Fleet, Row, carry_out
from txgear.cli.base.api import ROOT, Api, as_shown, path_of
from txgear.cli.base.asking import be_sure, people, yes_option
from txgear.cli.base.finding import WHERE
from txgear.cli.base.options import Servers, json_option, server_options
from txgear.cli.base.output import Column
from txgear.cli.base.statuses import FAILED, MISUSED, CommandError

DISCONNECT: Final = "disconnect"
NAMING: Final = ("register", "unregister")
WORDS: Final = ("pause", "resume", "stop", "grow", "shrink", "restart", *NAMING, DISCONNECT)
COLUMNS: Final = (
    Column("number", right=True),
    Column("id"),
    Column("word"),
    Column("argument"),
    Column("text"),
)
PAGE: Final = 200


class Order(NamedTuple):
    """
    What workers are told.

    @ivar word: one of L{WORDS}, or another one that they understand.
    @ivar argument: what belongs to it, such as the function that they are to do; C{None} for nothing.
    """

    word: str
    argument: str | None = None

    def __str__(self) -> str:
        return self.word if self.argument is None else f"{self.word} {self.argument}"

    @classmethod
    def taken(cls, word: str, names: Sequence[str]) -> tuple[Order, Sequence[str]]:
        """
        @param names: what stands behind the word: a function where it wants one, and then workers.
        @return: what they are told, and the names of workers.
        @raise CommandError: there is no function.
        """
        if word not in NAMING:
            return cls(word), names
        if not names:
            raise CommandError(f"{word} wants the name of a function", MISUSED)
        return cls(word, as_shown(names[0])), names[1:]


@click.command(epilog="Example: txgear steer pause images-3")
@click.argument("word", type=click.Choice(WORDS), metavar="WORD")
@click.argument("names", metavar="[FUNCTION] [WORKER]...", nargs=-1)
@click.option("--function", metavar="PATTERN", help="All workers with a function like it: 'mail.*'.")
@click.option(
    "--worker", metavar="TEXT", help="All with this in what they call themselves, or in their address."
)
@click.option("--group", metavar="GROUP", help="All of this group.")
@click.option("--host", metavar="HOST", help="All on this machine.")
@yes_option
@json_option
@server_options
def command(
    servers: Servers,
    as_json: bool,
    word: str,
    names: tuple[str, ...],
    yes: bool,
    **filters: str | None,
) -> int:
    """
    Tell workers to take no more jobs (pause), to take some again (resume), or to finish what they have and
    leave (stop); to do one job more or less at once, or of a runtime to have one process more or less (grow,
    shrink); to have a new process take their place (restart); to do a FUNCTION that they know, or to do it no
    more (register, unregister); or end their connections (disconnect). A WORKER is a number or an id of
    'txgear workers'.

    Only txgear's workers can be told something. Of one that is disconnected the jobs come back, as of one
    that is lost; if it is well it connects again.
    """
    order, workers = Order.taken(word, names)
    matched = {name: as_shown(text) for name, text in filters.items() if text is not None}
    if bool(workers) == bool(matched):
        raise CommandError("WORKERs, or --function, --worker, --group and --host: one of the two", MISUSED)
    if workers:
        return tell(servers, as_json, order, workers, yes)
    fleet = Fleet(servers)
    return _tell_all(fleet, as_json, order, each_once(found(fleet, matched), order), sure=yes)


def tell(servers: Servers, as_json: bool, order: Order, workers: Sequence[str], yes: bool) -> int:
    """
    Tell workers something by their numbers or ids, and show what has come of it.

    @param yes: whether nobody is asked where several have an id.
    @return: the exit status.
    """
    if any(map(is_number, workers)):
        # A number is that of one server.
        servers.api()
    fleet = Fleet(servers)
    told: list[tuple[Api, Row]] = []
    sure = True
    for name in workers:
        if is_number(name):
            told.append((fleet.apis[0], {"descriptor": int(name), "id": None}))
            continue
        these = each_once(with_id(fleet, name), order)
        if not these:
            raise unknown(fleet.apis, name)
        sure = sure and len(these) == 1
        told += these
    return _tell_all(fleet, as_json, order, told, sure=sure or yes)


def _tell_all(
    fleet: Fleet, as_json: bool, order: Order, told: Sequence[tuple[Api, Row]], *, sure: bool
) -> int:
    if told and not sure:
        how = "Hang up on {}?" if order.word == DISCONNECT else f"Tell {{}} to {order}?"
        with people() as answers:
            be_sure(how.format(number(len(told), "worker")), answers)
    steps = (
        fleet.step("worker", api, str(row["descriptor"]), steering(order, row["id"])) for api, row in told
    )
    return carry_out(fleet, steps, COLUMNS, as_json, chosen=True)


def is_number(name: str) -> bool:
    """Whether this is the number of a worker, and not the id of one."""
    return name.isascii() and name.isdigit()


def unknown(apis: Sequence[Api], name: str) -> CommandError:
    """The error where no server has a worker of this id."""
    names = ", ".join(api.place.name for api in apis)
    return CommandError(
        f"there is no worker {name} at {names}; {WHERE['unknown_worker']}", FAILED, "unknown_worker"
    )


def found(fleet: Fleet, matched: Row) -> Iterator[tuple[Api, dict[str, Any]]]:
    """The workers that match, at all servers."""
    for api in fleet.apis:
        for row in api.rows(f"{ROOT}/workers", "workers", {**matched, "limit": PAGE}):
            yield api, row


def with_id(fleet: Fleet, name: str) -> Iterator[tuple[Api, dict[str, Any]]]:
    """
    The workers of this id.

    @raise CommandError: it is empty, which would stand for all that there are.
    """
    if not name:
        raise CommandError("the number or the id of a worker is wanted, not nothing", MISUSED)
    return found(fleet, {"id": as_shown(name)})


def each_once(found: Iterator[tuple[Api, Row]], order: Order) -> list[tuple[Api, Row]]:
    """
    One that works at several servers is told at one of them: two that each tell it to grow have it grow
    twice. Connections are ended at all.
    """
    if order.word == DISCONNECT:
        return list(found)
    once: dict[Any, tuple[Api, Row]] = {}
    for api, row in found:
        of_its_own = (row["host"], row["pid"], row["started"], row["id"])
        known = row["host"] is not None and row["pid"] is not None
        once.setdefault(of_its_own if known else (api.place.name, row["descriptor"]), (api, row))
    return list(once.values())


def steering(order: Order, name: str | None) -> Callable[[Api, str], Row]:
    """What tells a worker something, by its number."""

    def steer(api: Api, number: str) -> Row:
        row = {"number": int(number), "id": name, "word": order.word, "argument": order.argument}
        if order.word == DISCONNECT:
            api.send("POST", path_of("workers", number, DISCONNECT))
            return {**row, "text": ""}
        body = {"word": order.word}
        if order.argument is not None:
            body["argument"] = order.argument
        said = api.send("POST", path_of("workers", number, "steer"), body=body)
        return {**row, "text": said["text"]}

    return steer
