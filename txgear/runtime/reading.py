"""
Reads the file of a runtime.

All its mistakes are told at once, each in one line that names the file, the line and the setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import FieldInfo, fields, replace

from txgear.daemon.tables import ConfigMistakes, Keys, Mistake, file_text, line_of, parsed
from txgear.errors import ConfigurationError, PolicyError
from txgear.net import arguments
from txgear.quantities import duration, size
from txgear.runtime.config import DURATION, SIZE, FunctionTable, GroupTable, RuntimeTable
from txgear.runtime.health import places
from txgear.security.tokens import without_secrets

StructT = TypeVar("StructT", bound=Struct)

GROUP_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
"""The names of groups: they are a part of what workers are called."""

_URL: Final = re.compile(r"[!-~]+")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[ -~\t]*")
_QUANTITIES: Final[Mapping[str, Callable[[Any], Any]]] = {DURATION: duration, SIZE: size}
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,38}[A-Za-z0-9])?")
"""With a group and a number it is the id of a worker, which has 127 bytes at the most."""
_WORDS: Final = {
    "array": "array",
    "bool": "true or false",
    "float": "number",
    "int": "whole number",
    "object": "table",
    "str": "string",
}
_PLACES: Final = ("token_file", "ca_file", "cert_file", "key_file")
"""Settings that are files, in the folder of this one if nothing else is said."""


def read_runtime(path: str) -> RuntimeTable:
    """
    Read the file of a runtime.

    @raise ConfigurationError: it cannot be read, or it has mistakes
        (L{ConfigMistakes<txgear.daemon.tables.ConfigMistakes>}).
    """
    return parse_runtime(file_text(path), path)


def parse_runtime(text: str, name: str) -> RuntimeTable:
    """
    What the file of a runtime says: all that a group takes over from the whole stands in the group as well,
    and the names of files and folders are whole.

    @param text: what is in the file.
    @param name: how to call it; relative names are looked for in its folder.
    @raise ConfigurationError: there are mistakes in it.
    """
    tables = parsed(text, name)
    mistakes: list[Mistake] = []
    found = _struct(RuntimeTable, tables, [], mistakes)
    if mistakes:
        lines = [(line_of(text, tables, each.path), _told(each)) for each in mistakes]
        lines.sort(key=lambda each: each[0])
        raise ConfigMistakes([f"{name}, line {line}: {told}" for line, told in lines])
    assert found is not None
    return _completed(found, tables, Path(name).resolve().parent)


def _told(mistake: Mistake) -> str:
    """A mistake for the log, where a token does not belong even if it stands in the wrong place of a file."""
    said = f"{mistake.key}: {mistake.problem}" if mistake.path else mistake.problem
    return without_secrets(said.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


# From tables to structs


def _struct(kind: type[StructT], table: Any, path: Keys, mistakes: list[Mistake]) -> StructT | None:
    """
    A table as what it is about.

    @param mistakes: takes the mistakes.
    @return: C{None} where there are some.
    """
    if not isinstance(table, dict):
        mistakes.append(Mistake(path, f"a table is wanted, not {table!r:.100}"))
        return None
    before = len(mistakes)
    known = {field.name: field for field in fields(kind)}
    mistakes += [Mistake([*path, key], _unknown(key, list(known))) for key in table if key not in known]
    values = {
        key: _value(field, table[key], [*path, key], mistakes) for key, field in known.items() if key in table
    }
    mistakes += [
        Mistake(path, f"[{field.name}.NAME] is missing: at least one is wanted")
        for key, field in known.items()
        if field.required and not table.get(key)
    ]
    if len(mistakes) > before:
        return None
    found = kind(**values)
    mistakes += [
        Mistake([*path, key] if key in table else path, problem)
        for key, problem in _doubts(found, path, table)
    ]
    return found


def _unknown(key: str, known: Sequence[str]) -> str:
    near = get_close_matches(key, known, 1)
    if near:
        return f"there is no such setting; there is {near[0]}"
    return f"there is no such setting; there are {', '.join(known[:-1])} and {known[-1]}"


def _value(field: FieldInfo, value: Any, path: Keys, mistakes: list[Mistake]) -> Any:
    inner = _table_of(field.type)
    if inner is not None:
        if not isinstance(value, dict):
            mistakes.append(Mistake(path, f"tables [{'.'.join(map(str, path))}.NAME] are wanted"))
            return {}
        return {name: _struct(inner, table, [*path, name], mistakes) for name, table in value.items()}
    if get_origin(field.type) is Literal and value not in get_args(field.type):
        mistakes.append(Mistake(path, f"{' or '.join(get_args(field.type))} is wanted, not {value!r:.100}"))
        return None
    try:
        quantity = _quantity(field.type)
        found = convert(value if quantity is None else _QUANTITIES[quantity](value), field.type)
        if not _has_nul(found):
            return found
        mistakes.append(Mistake(path, "it holds a NUL, which nothing here may"))
    except PolicyError as error:
        mistakes.append(Mistake(path, error.problem))
    except ValidationError as error:
        mistakes.append(Mistake(path, _in_words(str(error))))
    return None


def _has_nul(value: Any) -> bool:
    """Whether a text has one: no program can be given that, and no file be called so."""
    if isinstance(value, dict):
        return any(_has_nul(each) for pair in value.items() for each in pair)
    if isinstance(value, tuple):
        return any(map(_has_nul, value))
    return isinstance(value, str) and "\0" in value


def _table_of(kind: Any) -> type[Struct] | None:
    """What the tables of a table of tables are."""
    if get_origin(kind) is dict and issubclass(get_args(kind)[1], Struct):
        inner: type[Struct] = get_args(kind)[1]
        return inner
    return None


def _quantity(kind: Any) -> str | None:
    """Whether a setting is a time or a size."""
    for inner in (kind, *get_args(kind)):
        for meta in getattr(inner, "__metadata__", ()):
            if isinstance(meta, Meta) and meta.extra is not None:
                return str(meta.extra["words"])
    return None


def _in_words(problem: str) -> str:
    """What msgspec says, without the place: it does not know the names of tables."""
    said = problem.partition(" - at `")[0].replace(" | null", "")
    for theirs, ours in _WORDS.items():
        said = said.replace(f"`{theirs}`", ours)
    return said[:1].lower() + said[1:]


# What no single setting says


def _doubts(table: Struct, path: Keys, said: dict[str, Any]) -> list[tuple[str, str]]:
    """
    Mistakes of whole tables: the setting, and what is wrong.

    @param said: the table as it stands in the file.
    """
    if isinstance(table, FunctionTable):
        return _doubts_of_function(table, str(path[-1]))
    if isinstance(table, GroupTable):
        return _doubts_of_group(table, str(path[-1]))
    if isinstance(table, RuntimeTable):
        return _doubts_of_runtime(table, said)
    raise AssertionError(table)


def _doubts_of_function(table: FunctionTable, name: str) -> list[tuple[str, str]]:
    found = []
    try:
        arguments.function_name(name)
    except ValueError as error:
        found.append(("name", str(error)))
    if bool(table.command) == bool(table.url):
        found.append(("url", "a command or a url is wanted" + ", not both" * bool(table.url)))
    if table.command and not table.command[0]:
        found.append(("command", "the program has no name"))
    if table.headers and not table.url:
        found.append(("headers", "they are for a url"))
    if table.url:
        found += [("url", problem) for problem in _doubts_of_url(table.url)]
        found += [
            ("headers", f"{name!r:.100} is no header")
            for name, value in table.headers.items()
            if not (_HEADER.fullmatch(name) and _HEADER_VALUE.fullmatch(value))
        ]
    return found


def _doubts_of_url(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        right = False
    if not right or not _URL.fullmatch(url):
        yield f"http://HOST... or https://HOST... is wanted, percent-encoded, not {url!r:.100}"
    elif "@" in urlsplit(url).netloc:
        yield "a name and a password do not belong there; headers may have Authorization"


def _doubts_of_group(table: GroupTable, name: str) -> list[tuple[str, str]]:
    found = []
    if not GROUP_NAME.fullmatch(name):
        found.append(
            ("name", "a group is called by letters, digits, dots, dashes and underscores, 64 at the most")
        )
    if table.processes is not None and (table.min is not None or table.max is not None):
        found.append(("processes", "there are min and max as well, and only one of these ways can count"))
    if table.max is None and table.min is not None:
        found.append(("min", "max is missing"))
    if table.max is not None and (table.max < 1 or table.max < (table.min or 0)):
        found.append(("max", "it is less than min, or 0"))
    if any(not each or "=" in each for each in table.environment):
        found.append(("environment", "a variable needs a name, which has no ="))
    for soft, hard in (("soft_memory", "hard_memory"), ("soft_time", "hard_time")):
        low, high = getattr(table, soft), getattr(table, hard)
        if low is not None and high is not None and low >= high:
            found.append((soft, f"it is not less than {hard}"))
    return found


def _doubts_of_runtime(table: RuntimeTable, said: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    if not table.servers:
        found.append(("servers", "at least one is wanted"))
    if table.name and not _NAME.fullmatch(table.name):
        found.append(
            ("name", f"letters, digits, dots, dashes and underscores are wanted, not {table.name!r:.100}")
        )
    if bool(table.cert_file) != bool(table.key_file):
        found.append(
            (
                "cert_file" if table.cert_file else "key_file",
                "the other one of cert_file and key_file is missing",
            )
        )
    try:
        places(table.health)
    except ConfigurationError as error:
        found.append(("health", str(error)))
    found += [
        ("group", f"group {name} has no functions: modules, or [group.{name}.function.NAME], are wanted")
        for name, group in table.group.items()
        if not (group.function or _of_group("modules", group, said["group"][name], table))
    ]
    return found


def _completed(table: RuntimeTable, said: dict[str, Any], folder: Path) -> RuntimeTable:
    """The table, with what is said nowhere."""
    groups = {
        name: _completed_group(group, said["group"][name], table) for name, group in table.group.items()
    }
    files = {name: str(folder / getattr(table, name)) for name in _PLACES if getattr(table, name)}
    path = tuple(str(folder / each) for each in table.path)
    health = str(folder / table.health) if "/" in table.health else table.health
    return replace(table, group=groups, path=path, health=health, **files)


def _completed_group(group: GroupTable, said: dict[str, Any], table: RuntimeTable) -> GroupTable:
    count: dict[str, int] = {}
    if group.max is None:
        count = {"processes": 1 if group.processes is None else group.processes}
    elif group.min is None:
        count = {"min": min(1, group.max)}
    names: dict[str, Any] = {name: _of_group(name, group, said, table) for name in ("modules", "hooks")}
    return replace(group, **names, **count)


def _of_group(name: str, group: GroupTable, said: dict[str, Any], table: RuntimeTable) -> tuple[str, ...]:
    """A list of a group's; that for all where it says nothing. An empty list says that there are none."""
    found: tuple[str, ...] = getattr(group if name in said else table, name)
    return found
