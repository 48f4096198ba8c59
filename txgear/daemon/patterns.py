"""
Patterns of functions' names, in the shell's manner. The first that matches counts; this module finds those
that never count.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

_TOKEN: Final = re.compile(r"\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)
"""One token: C{*}, C{?}, a choice in brackets, or a letter."""

MOST_KEPT: Final = 1000
"""Patterns that were looked at lately, and are compared with many others."""

_SOME: Final = "\ufdd0"
_ONE: Final = "\ufdd1"
"""Two code points that are no characters; they stand for what C{*} and C{?} may match."""


def _letters(pattern: str) -> str:
    """The pattern with a letter for each byte: names are matched by bytes."""
    return pattern.encode("utf-8", "surrogateescape").decode("latin-1")


@lru_cache(MOST_KEPT)
def _example(pattern: str) -> str:
    """A name that stands for all that match."""
    tokens = _TOKEN.findall(_letters(pattern))
    return "".join(
        _SOME if token == "*" else _ONE if token == "?" or len(token) > 1 else token for token in tokens
    )


@lru_cache(MOST_KEPT)
def _matcher(pattern: str) -> re.Pattern[str]:
    """
    What matches a name of L{_example} only if it matches all for which that stands.
    """
    parts = []
    for token in _TOKEN.findall(_letters(pattern)):
        if token == "*":
            parts.append(".*")
        elif token == "?":
            parts.append(f"[^{_SOME}]")
        elif len(token) > 1:
            # A choice: of a letter that is known, without the end that fnmatch adds.
            parts.append(f"(?![{_SOME}{_ONE}]){fnmatch.translate(token)[:-2]}")
        else:
            parts.append(re.escape(token))
    return re.compile("".join(parts), re.DOTALL)


def covers(pattern: str, other: str) -> bool:
    """
    Whether a pattern matches all names that another one matches. That is not found where it takes a look at
    all letters of a choice in brackets.
    """
    return pattern == other or _matcher(pattern).fullmatch(_example(other)) is not None


def is_plain(pattern: str) -> bool:
    """Whether a pattern is a name, and matches that one only."""
    return _example(pattern) == _letters(pattern)


def never_count(patterns: Sequence[str]) -> Iterator[tuple[int, int]]:
    """
    The patterns that never count, as an earlier one matches all their names.

    @param patterns: in the order in which they are tried.
    @return: the index of each, and of the first that matches all its names. Several earlier ones that do so
        only together are not found.
    """
    plain: dict[str, int] = {}
    wild: list[tuple[int, re.Pattern[str]]] = []
    for place, pattern in enumerate(patterns):
        example = _example(pattern)
        before = [earlier for earlier, matcher in wild if matcher.fullmatch(example)]
        if pattern in plain:
            before.append(plain[pattern])
        if before:
            yield place, min(before)
            continue
        plain[pattern] = place
        if not is_plain(pattern):
            wild.append((place, _matcher(pattern)))
