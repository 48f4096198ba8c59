"""
What is typed to look for some rows: words as the lists of the command line have them, or the name of a
function alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from txgear.cli.base.output import printable

_PATTERN: Final = re.compile(r"[*?\[]")
_SPACE: Final = re.compile(r"\s")


def query_of(text: str, known: Sequence[str]) -> dict[str, str]:
    """
    @param text: words such as C{mail.*}, C{state=running} and C{older=1h}. One without an equals sign is for
        the first of the names; where that is C{function} it is a pattern, and a part is enough without a
        C{*}.
    @param known: the names that may stand before an equals sign.
    @return: the query for the server.
    @raise ValueError: a name is none of these.
    """
    found: dict[str, str] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals or name not in known:
            if equals:
                there_are = ", ".join(f"{each}=" for each in known)
                raise ValueError(f"{name}= is not known here; there are {there_are}")
            name, value = known[0], word
        if name == "function" and not equals and not _PATTERN.search(value):
            value = f"*{value}*"
        found[name] = value
    return found


def typed_name(name: str) -> str:
    """A name as one word of a filter."""
    return _SPACE.sub(_escaped, printable(name))


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8"))


def exactly(name: str) -> str:
    """A pattern that is for this name alone."""
    return _PATTERN.sub(lambda match: f"[{match[0]}]", name)
