"""
Tables of a TOML file: their values checked, and mistakes found with their lines.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from txgear.errors import ConfigurationError, PolicyError
from txgear.quantities import brief

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Keys: TypeAlias = "list[str | int]"
"""The keys that lead to a value, and the places in arrays, from the outside in."""


_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
"""The end of the parser's text about a mistake."""
_QUOTE: Final = "a quote that opens here is not closed: a text in quotes ends in its line"
_NO_VALUE: Final = "a text stands in quotes, true and false are small"
_ESCAPE: Final = "in \"...\" a \\ is written \\\\; in '...' it stands for itself"
_TWICE: Final = "this was said before; each key and each [table] stands once"
_PLAINER: Final = (
    (r"Invalid value", f"this is no value: {_NO_VALUE}"),
    (r"Expected newline or end of .*", f"this is no value, or two things stand in one line: {_NO_VALUE}"),
    (r"(Illegal|Found invalid) character '\\n'", _QUOTE),
    (r"(Illegal|Found invalid) character .*", "an invisible character does not belong here"),
    (r"Expected \"'+\"|Unterminated string", "a quote that opens here is not closed"),
    (r"Unescaped .*|Invalid hex value|Escaped character .*", _ESCAPE),
    (r"Cannot (overwrite|declare|redefine|mutate) .*|Duplicate .*", _TWICE),
    (r"Expected '\]+' at .*", "a table stands alone in its line, as [name] or [[name]]"),
    (r"Expected '=' after .*", "a key is followed by = and its value"),
    (r"Invalid statement|Invalid initial .*", "key = value is wanted, or [table], or # and a comment"),
    (r"Unclosed (array|inline table)", "a list or a table that began here or above lacks a comma or its end"),
)
"""What the parser says, as patterns, and what helps."""


class ConfigMistakes(ConfigurationError):
    """
    The file has mistakes; the text is the first one.

    @ivar lines: the first mistake of each table, in the order of the file.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines[0])
        self.lines = lines


class Mistake(Exception):
    """
    A mistake in a table.

    @ivar path: the keys that lead to it, and the places in arrays, from the outside in.
    @ivar problem: what is wrong.
    """

    def __init__(self, path: Keys, problem: str) -> None:
        super().__init__(problem)
        self.path = path
        self.problem = problem

    @property
    def key(self) -> str:
        """The path as a person would write it."""
        words = [part for part in self.path if isinstance(part, str)]
        return ".".join(word if word.isprintable() else repr(word) for word in words)


def file_text(path: str) -> str:
    """
    What is in a file.

    @raise ConfigurationError: it cannot be read.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            # A pipe cannot be opened before somebody writes into it.
            raise ConfigurationError(f"cannot read {path}: it is no file")
        return Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}, line {line}: this is not UTF-8") from error


def parsed(text: str, name: str) -> dict[str, Any]:
    """
    The tables of a file.

    @param text: what is in it.
    @param name: how to call it.
    @raise ConfigurationError: this is no TOML.
    """
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{name}, {_syntax(text, str(error))}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{name}: its values are nested too deeply") from error


def _syntax(text: str, problem: str) -> str:
    found = _PLACE.search(problem)
    if found is None:
        return problem
    what = problem[: found.start()]
    line = found[1] or _end(text, what)
    return f"line {line}: {next((plain for said, plain in _PLAINER if re.fullmatch(said, what)), what)}"


def _end(text: str, problem: str) -> int:
    """
    The line of a mistake that the parser saw at the end of the file only.

    No quote closes one that opens: so the last of them has opened, on that line.
    """
    quote = re.fullmatch('Expected "(\'+)"', problem)
    if quote:
        place = text.rindex(quote[1])
    elif problem == "Unterminated string":
        place = text.rindex('"""' if text.count('"""') % 2 else '"')
    else:
        place = len(text.rstrip("\n"))
    return text.count("\n", 0, place) + 1


def array(
    tables: Mapping[str, Any], name: str, mistakes: list[Mistake]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    The tables of an array, each with its place.

    @param mistakes: is added to if there is something else of this name.
    """
    found = tables.get(name, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        mistakes.append(Mistake([name], f"each one begins with [[{name}]]"))
        return
    yield from enumerate(found)


@contextmanager
def collected(mistakes: list[Mistake], *path: str | int) -> Iterator[None]:
    """
    Add the first mistake of a table to the others.

    @param path: leads to the table.
    """
    try:
        yield
    except PolicyError as error:
        keys = error.key.split(".") if error.key else []
        mistakes.append(Mistake([*path, *keys], error.problem))


def checked(key: str, check: Callable[[Any], Any], value: Any) -> Any:
    """
    What a check makes of a value.

    @param check: raises C{ValueError} or L{PolicyError} with what is wrong.
    @raise PolicyError: it does.
    """
    try:
        return check(value)
    except PolicyError as error:
        raise error.within(key) from error
    except ValueError as error:
        raise PolicyError(key, str(error)) from error


def string(value: Any) -> str:
    """
    A check for text.

    @raise ValueError: it is none.
    """
    if not isinstance(value, str):
        raise ValueError(f"a string is wanted, not {brief(value)}")
    return value


def text(lowest: int, highest: int) -> Callable[[Any], bytes]:
    """A check for text that is an argument of packets; its lengths are in bytes."""

    def check(value: Any) -> bytes:
        text = string(value).encode("utf-8")
        if not lowest <= len(text) <= highest or b"\0" in text:
            raise ValueError(f"{lowest} to {highest} bytes are wanted, none of them NUL")
        return text

    return check


# The lines of mistakes


def _depth(tables: Any, path: Keys) -> int:
    """How many steps of a path exist."""
    for step, key in enumerate(path):
        try:
            tables = tables[key]
        except (KeyError, IndexError, TypeError):
            return step
    return len(path)


def line_of(text: str, tables: Mapping[str, Any], path: Keys) -> int:
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
        while (found := _tried(lines[:count])) is None and count + 1 < beyond:
            # The part ends in the middle of a value.
            count += 1
        if found is not None and _depth(found, path) < len(path):
            without = count
        else:
            beyond = middle
    return without + 1


def _tried(lines: list[str]) -> Mapping[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except ValueError:
        return None
