"""
The operator's file: policies of functions, and schedules.

A mistake in it is one line that names the file, the line and the setting.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from txgear.daemon.patterns import never_count
from txgear.errors import ConfigurationError, PolicyError
from txgear.policies import CEILING, CLASSIC, FORMER_NAMES, Policies, Policy, former_names
from txgear.protocol.constants import HIGH, LOW, MAX_FUNCTION, MAX_UNIQUE, NORMAL
from txgear.server.crontimes import check_cron, check_timezone
from txgear.server.schedules import Schedule

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_NAME: Final = 255
"""Bytes of a schedule's name."""

_PRIORITIES: Final = {"high": HIGH, "normal": NORMAL, "low": LOW}

_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
"""The end of the parser's text about a mistake."""


@dataclass(frozen=True)
class Config:
    """
    The contents of the file.

    @ivar policies: of functions, by patterns.
    @ivar schedules: each with a name of its own.
    @ivar warnings: a line each about what is valid and surely not meant.
    """

    policies: Policies = field(default_factory=Policies)
    schedules: tuple[Schedule, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """How many policies and schedules there are, in words."""
        patterns, schedules = len(self.policies.rules), len(self.schedules)
        return (
            f"policies for {patterns} pattern{'s' * (patterns != 1)},"
            f" {schedules} schedule{'s' * (schedules != 1)}"
        )


class ConfigMistakes(ConfigurationError):
    """
    The file has mistakes; the text is the first one.

    @ivar lines: the first mistake of each table, in the order of the file.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines[0])
        self.lines = lines


class _Mistake(Exception):
    """
    A mistake in a table.

    @ivar path: the keys that lead to it, and the places in arrays, from the outside in.
    @ivar problem: what is wrong.
    """

    def __init__(self, path: list[str | int], problem: str) -> None:
        super().__init__(problem)
        self.path = path
        self.problem = problem

    @property
    def key(self) -> str:
        """The path as a person would write it."""
        words = [part for part in self.path if isinstance(part, str)]
        return ".".join(word if word.isprintable() else repr(word) for word in words)


def read_config(path: str) -> Config:
    """
    Read the file.

    @raise ConfigurationError: it cannot be read, or it has a mistake (L{ConfigMistakes}).
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            # A pipe cannot be opened before somebody writes into it.
            raise ConfigurationError(f"cannot read {path}: it is no file")
        text = Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}, line {line}: this is not UTF-8") from error
    return parse_config(text, path)


def parse_config(text: str, name: str) -> Config:
    """
    @param text: what is in the file.
    @param name: how to call the file.
    @raise ConfigurationError: there is a mistake in it.
    """
    try:
        tables = tomllib.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{name}, {_syntax(text, str(error))}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{name}: its values are nested too deeply") from error

    def line_of(path: list[str | int]) -> int:
        return _line_of(text, tables, path)

    mistakes: list[_Mistake] = []
    policies, paths, schedules = _tables(tables, mistakes)
    former = [
        (number, key) for number, table in _array(tables, "function", []) for key in former_names(table)
    ]
    if mistakes:
        found = sorted(mistakes, key=lambda each: line_of(each.path))
        raise ConfigMistakes(
            [f"{name}, line {line_of(each.path)}: {each.key}: {each.problem}" for each in found]
        )
    warnings = [
        f"{name}, line {line_of(['function', number, key])}: function.{key} is called"
        f" {FORMER_NAMES[key]} now; both names are taken"
        for number, key in former
    ]
    warnings += [
        f"{name}, line {line_of(paths[place])} never counts: {policies.rules[earlier][0]!r} in line"
        f" {line_of(paths[earlier])} takes all that {policies.rules[place][0]!r} matches"
        for place, earlier in never_count([pattern for pattern, *_ in policies.rules])
    ]
    return Config(policies, schedules, tuple(warnings))


def _syntax(text: str, problem: str) -> str:
    found = _PLACE.search(problem)
    if found is None:
        return problem
    line = found[1] or text.rstrip("\n").count("\n") + 1
    return f"line {line}: {problem[: found.start()]}"


# From tables to policies and schedules


def _tables(
    tables: Mapping[str, Any], mistakes: list[_Mistake]
) -> tuple[Policies, list[list[str | int]], tuple[Schedule, ...]]:
    """
    @param mistakes: takes the mistakes.
    @return: what is valid: the policies, the path of each one's pattern, and the schedules.
    """
    mistakes += [
        _Mistake([name], "there is no such table; there are function, schedule and ceiling")
        for name in tables
        if name not in ("function", "schedule", "ceiling")
    ]
    rules: list[tuple[str, Policy]] = []
    paths: list[list[str | int]] = []
    for number, table in _array(tables, "function", mistakes):
        with _collected(mistakes, "function", number):
            found = _rules(table)
            rules += found
            key = "name" if "name" in table else "names"
            paths += [["function", number, key]] * len(found)
    schedules: dict[bytes, Schedule] = {}
    for number, table in _array(tables, "schedule", mistakes):
        with _collected(mistakes, "schedule", number):
            schedule = _schedule(table)
            if schedule.name in schedules:
                raise PolicyError("name", "another schedule above has this name")
            schedules[schedule.name] = schedule
    ceiling = CEILING
    with _collected(mistakes, "ceiling"):
        ceiling = CEILING.with_settings(tables.get("ceiling", {}))
    return Policies(rules, ceiling), paths, tuple(schedules.values())


def _array(
    tables: Mapping[str, Any], name: str, mistakes: list[_Mistake]
) -> Iterator[tuple[int, dict[str, Any]]]:
    found = tables.get(name, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        mistakes.append(_Mistake([name], f"each one begins with [[{name}]]"))
        return
    yield from enumerate(found)


@contextmanager
def _collected(mistakes: list[_Mistake], *path: str | int) -> Iterator[None]:
    """
    Add the first mistake of a table to the others.

    @param path: leads to the table.
    """
    try:
        yield
    except PolicyError as error:
        mistakes.append(_Mistake([*path, *error.key.split(".")], error.problem))


def _rules(table: dict[str, Any]) -> list[tuple[str, Policy]]:
    settings = dict(table)
    name, names = settings.pop("name", None), settings.pop("names", None)
    if (name is None) == (names is None):
        raise PolicyError("name", "the function's name or a pattern is wanted, or several of them as names")
    if name is not None:
        patterns = [_checked("name", _name, name)]
    elif isinstance(names, list) and names:
        patterns = [_checked("names", _name, each) for each in names]
    else:
        raise PolicyError("names", f"a list of names or patterns is wanted, not {names!r}")
    policy = CLASSIC.with_settings(settings)
    return [(pattern, policy) for pattern in patterns]


def _schedule(table: dict[str, Any]) -> Schedule:
    for key in table:
        if key not in _SCHEDULE:
            raise PolicyError(key, f"there is no such setting; there are {', '.join(_SCHEDULE)}")
    found = {key: _checked(key, check, table[key]) for key, check in _SCHEDULE.items() if key in table}
    for key in ("name", "cron", "function"):
        if key not in found:
            raise PolicyError(key, "it is missing")
    return Schedule(**found)


def _checked(key: str, check: Callable[[Any], Any], value: Any) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise PolicyError(key, str(error)) from error


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a string is wanted, not {value!r}")
    return value


def _text(lowest: int, highest: int) -> Callable[[Any], bytes]:
    """A check for text that is an argument of packets; its lengths are in bytes."""

    def check(value: Any) -> bytes:
        text = _string(value).encode("utf-8")
        if not lowest <= len(text) <= highest or b"\0" in text:
            raise ValueError(f"{lowest} to {highest} bytes are wanted, none of them NUL")
        return text

    return check


def _name(value: Any) -> str:
    return _text(1, MAX_FUNCTION)(value).decode("utf-8")


def _priority(value: Any) -> int:
    if value not in ("high", "normal", "low"):
        raise ValueError(f"one of high, normal and low is wanted, not {value!r}")
    return _PRIORITIES[value]


_SCHEDULE: Final[dict[str, Callable[[Any], Any]]] = {
    "name": _text(1, MAX_NAME),
    "cron": lambda value: check_cron(_string(value)),
    "timezone": lambda value: check_timezone(_string(value)),
    "function": _text(1, MAX_FUNCTION),
    "workload": lambda value: _string(value).encode("utf-8"),
    "unique": _text(0, MAX_UNIQUE),
    "priority": _priority,
}
"""The settings of a schedule, each with what makes its value."""


# The lines of mistakes


def _depth(tables: Any, path: list[str | int]) -> int:
    """How many steps of a path exist."""
    for step, key in enumerate(path):
        try:
            tables = tables[key]
        except (KeyError, IndexError, TypeError):
            return step
    return len(path)


def _line_of(text: str, tables: Mapping[str, Any], path: list[str | int]) -> int:
    """
    The line on which the value of a path begins, or of as much of the path as exists.

    The parser does not say on which line a value stands. But the lines before that one are a file of their
    own, without the value, and no more lines are: so that line is searched for.
    """
    path = path[: _depth(tables, path)]
    lines = text.split("\n")
    without, beyond = 0, len(lines)
    while beyond - without > 1:
        count = middle = (without + beyond) // 2
        while (found := _parsed(lines[:count])) is None and count + 1 < beyond:
            # The part ends in the middle of a value.
            count += 1
        if found is not None and _depth(found, path) < len(path):
            without = count
        else:
            beyond = middle
    return without + 1


def _parsed(lines: list[str]) -> Mapping[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except ValueError:
        return None
