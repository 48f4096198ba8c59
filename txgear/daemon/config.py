"""
The operator's file: policies of functions, schedules, and who may do what.

A mistake in it is one line that names the file, the line and the setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from txgear.daemon.accessconfig import access_of
from txgear.daemon.accessdoubts import doubts
from txgear.daemon.patterns import never_count
from txgear.daemon.tables import (
    ConfigMistakes,
    Keys,
    Mistake,
    array,
    checked,
    collected,
    file_text,
    line_of,
    parsed,
    string,
    text,
)
from txgear.errors import PolicyError
from txgear.policies import CEILING, CLASSIC, FORMER_NAMES, Policies, Policy, former_names
from txgear.protocol.constants import HIGH, LOW, MAX_FUNCTION, MAX_UNIQUE, NORMAL
from txgear.quantities import brief
from txgear.security.access import Access
from txgear.security.tokens import without_secrets
from txgear.server.crontimes import check_cron, check_timezone
from txgear.server.schedules import Schedule

MAX_NAME: Final = 255
"""Bytes of a schedule's name."""

TABLES: Final = ("function", "schedule", "ceiling", "login", "identity", "access")
"""What there is in a file."""

_PRIORITIES: Final = {"high": HIGH, "normal": NORMAL, "low": LOW}


@dataclass(frozen=True)
class Config:
    """
    The contents of the file.

    @ivar policies: of functions, by patterns.
    @ivar schedules: each with a name of its own.
    @ivar access: identities and access rules.
    @ivar warnings: a line each about what is valid and surely not meant.
    """

    policies: Policies = field(default_factory=Policies)
    schedules: tuple[Schedule, ...] = ()
    access: Access = field(default_factory=Access)
    warnings: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """How many of each there are, in words."""
        patterns, schedules = len(self.policies.rules), len(self.schedules)
        words = (
            f"policies for {patterns} pattern{'s' * (patterns != 1)},"
            f" {schedules} schedule{'s' * (schedules != 1)}"
        )
        if self.access.is_empty:
            return words
        rules, identities = len(self.access.rules), len(self.access.identities)
        return (
            f"{words}, {identities} {'identity' if identities == 1 else 'identities'},"
            f" {rules} access rule{'s' * (rules != 1)}"
        )


def read_config(path: str) -> Config:
    """
    Read the file.

    @raise ConfigurationError: it cannot be read, or it has a mistake (L{ConfigMistakes}).
    """
    return parse_config(file_text(path), path)


def parse_config(text: str, name: str) -> Config:
    """
    @param text: what is in the file.
    @param name: how to call the file.
    @raise ConfigurationError: there is a mistake in it.
    """
    tables = parsed(text, name)

    def line(path: Keys) -> int:
        return line_of(text, tables, path)

    mistakes: list[Mistake] = []
    policies, paths, schedules = _tables(tables, mistakes)
    access = access_of(text, tables, mistakes)
    former = [(number, key) for number, table in array(tables, "function", []) for key in former_names(table)]
    if mistakes:
        found = sorted(mistakes, key=lambda each: line(each.path))
        raise ConfigMistakes(
            [f"{name}, line {line(each.path)}: {_told(each.key, each.problem)}" for each in found]
        )
    warnings = [
        f"{name}, line {line(['function', number, key])}: function.{key} is called"
        f" {FORMER_NAMES[key]} now; both names are taken"
        for number, key in former
    ]
    warnings += [
        f"{name}, line {line(paths[place])} never counts: {policies.rules[earlier][0]!r} in line"
        f" {line(paths[earlier])} takes all that {policies.rules[place][0]!r} matches"
        for place, earlier in never_count([pattern for pattern, *_ in policies.rules])
    ]
    warnings += doubts(access, name)
    return Config(policies, schedules, access, tuple(warnings))


def _told(key: str, problem: str) -> str:
    """A mistake for the log, where a token does not belong even if it stands in the wrong place of a file."""
    said = f"{key}: {problem}".encode("utf-8", "surrogateescape")
    return without_secrets(said).decode("utf-8", "surrogateescape")


# From tables to policies and schedules


def _tables(
    tables: Mapping[str, Any], mistakes: list[Mistake]
) -> tuple[Policies, list[Keys], tuple[Schedule, ...]]:
    """
    @param mistakes: takes the mistakes.
    @return: what is valid: the policies, the path of each one's pattern, and the schedules.
    """
    mistakes += [
        Mistake([name], f"there is no such table; there are {', '.join(TABLES[:-1])} and {TABLES[-1]}")
        for name in tables
        if name not in TABLES
    ]
    rules: list[tuple[str, Policy]] = []
    paths: list[Keys] = []
    for number, table in array(tables, "function", mistakes):
        with collected(mistakes, "function", number):
            found = _rules(table)
            rules += found
            key = "name" if "name" in table else "names"
            paths += [["function", number, key]] * len(found)
    schedules: dict[bytes, Schedule] = {}
    for number, table in array(tables, "schedule", mistakes):
        with collected(mistakes, "schedule", number):
            schedule = _schedule(table)
            if schedule.name in schedules:
                raise PolicyError("name", "another schedule above has this name")
            schedules[schedule.name] = schedule
    ceiling = CEILING
    with collected(mistakes, "ceiling"):
        ceiling = CEILING.with_settings(tables.get("ceiling", {}))
    return Policies(rules, ceiling), paths, tuple(schedules.values())


def _rules(table: dict[str, Any]) -> list[tuple[str, Policy]]:
    settings = dict(table)
    name, names = settings.pop("name", None), settings.pop("names", None)
    if (name is None) == (names is None):
        raise PolicyError("name", "the function's name or a pattern is wanted, or several of them as names")
    if name is not None:
        patterns = [checked("name", _name, name)]
    elif isinstance(names, list) and names:
        patterns = [checked("names", _name, each) for each in names]
    else:
        raise PolicyError("names", f"a list of names or patterns is wanted, not {brief(names)}")
    policy = CLASSIC.with_settings(settings)
    return [(pattern, policy) for pattern in patterns]


def _schedule(table: dict[str, Any]) -> Schedule:
    for key in table:
        if key not in _SCHEDULE:
            raise PolicyError(key, f"there is no such setting; there are {', '.join(_SCHEDULE)}")
    found = {key: checked(key, check, table[key]) for key, check in _SCHEDULE.items() if key in table}
    for key in ("name", "cron", "function"):
        if key not in found:
            raise PolicyError(key, "it is missing")
    return Schedule(**found)


def _name(value: Any) -> str:
    return text(1, MAX_FUNCTION)(value).decode("utf-8")


def _priority(value: Any) -> int:
    if value not in ("high", "normal", "low"):
        raise ValueError(f"one of high, normal and low is wanted, not {brief(value)}")
    return _PRIORITIES[value]


_SCHEDULE: Final[dict[str, Callable[[Any], Any]]] = {
    "name": text(1, MAX_NAME),
    "cron": lambda value: check_cron(string(value)),
    "timezone": lambda value: check_timezone(string(value)),
    "function": text(1, MAX_FUNCTION),
    "workload": lambda value: string(value).encode("utf-8"),
    "unique": text(0, MAX_UNIQUE),
    "priority": _priority,
}
"""The settings of a schedule, each with what makes its value."""
