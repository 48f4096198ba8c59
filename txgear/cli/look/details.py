"""
What is known of one thing: its members a line each, and what it has several of in tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from txgear.cli.base import quantities
from txgear.cli.base.finding import ask_all
from txgear.cli.base.output import Column, is_terminal, plain, write_facts, write_json, write_rows

if TYPE_CHECKING:
    from txgear.cli.base.api import Api

SHOWS: Final[Mapping[str, Callable[[Any], str]]] = {
    **dict.fromkeys(
        ("age", "uptime", "oldest", "silent", "lease", "idle", "heard", "seconds", "round_trip"),
        quantities.age,
    ),
    **dict.fromkeys(
        (
            *("size", "data_size", "result_size", "log_size", "bytes"),
            *("queue_bytes", "queue_memory", "pending_bytes", "memory"),
        ),
        quantities.size,
    ),
    **dict.fromkeys(("p50", "p95", "p99", "mean"), quantities.age),
    **dict.fromkeys(("rows.p50", "rows.p95", "rows.p99", "rows.mean"), lambda value: f"{value:.3g}"),
}
"""How members are shown that are seconds or bytes: by their way, or by their own name wherever they stand."""
MOMENTS: Final = frozenset({"began", "ended"})
"""Columns that are not folded."""
HIDDEN: Final = frozenset({"links"})
"""What is for programs."""


def show_each(
    apis: Sequence[Api], as_json: bool, ask: Callable[[Api], Mapping[str, Any]], what: str = ""
) -> None:
    """
    Write what each server says of one thing, those of them that have it.

    @param what: what it is, such as C{function mail.send}; empty for what all servers have: then one that
        cannot be asked is an error.
    """
    if not what:
        for api in apis:
            show(api, as_json, ask(api))
        return
    for api, found in ask_all(apis, what, ask):
        show(api, as_json, found)


def show(api: Api, as_json: bool, found: Mapping[str, Any]) -> None:
    """Write what a server has said of one thing."""
    document = {"server": api.place.name, **found}
    if as_json:
        write_json(document)
    else:
        write_details(document)


def _shown(way: str, value: Any) -> str:
    """What has the name of a time may be a yes or no elsewhere, as whether a worker is silent."""
    shows = SHOWS.get(way) or SHOWS.get(way.rpartition(".")[2])
    return plain(value) if shows is None or isinstance(value, bool) else shows(value)


def write_details(document: Mapping[str, Any]) -> None:
    """
    Write what the API says of one thing. What has parts becomes a line for each, C{settings.retries}; where
    people see it a list becomes a table below, and what there is not is left out: a screen has few lines.
    """
    tables: dict[str, list[Mapping[str, Any]]] = {}
    people = is_terminal()
    members = _members(document, tables if people else None)
    facts = {way: value for way, value in members if not people or value not in (None, "")}
    write_facts(facts, _shown)
    for name, rows in tables.items():
        print(f"\n{name}")
        names = [each for each in rows[0] if each not in HIDDEN]
        columns = [Column(each, show=SHOWS.get(each, plain), right=each in MOMENTS) for each in names]
        write_rows(rows, columns)


def settings_of(settings: Mapping[str, Any]) -> list[str]:
    """Each setting of a policy in words, such as C{backoff.first=10}."""
    return [f"{name}={plain(value)}" for name, value in _members(settings, None)]


def _members(
    value: Mapping[str, Any], tables: dict[str, list[Mapping[str, Any]]] | None, inside: str = ""
) -> Iterator[tuple[str, Any]]:
    """All that has no parts, by its way; lists of things go to the tables, where there are some."""
    for name, member in value.items():
        if name in HIDDEN:
            continue
        way = f"{inside}{name}"
        if isinstance(member, list) and member and isinstance(member[0], dict):
            if tables is not None:
                tables[way] = member
            else:
                yield from _members({str(place): each for place, each in enumerate(member)}, None, f"{way}.")
        elif isinstance(member, list):
            yield way, ", ".join(map(plain, member))
        elif isinstance(member, dict) and member:
            yield from _members(member, tables, f"{way}.")
        else:
            yield way, None if member == {} else member
