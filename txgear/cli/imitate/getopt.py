"""
Reads short options as the C library's C{getopt} does, which goes on after a wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from txgear.cli.imitate import STRICT

WRONG = "?"
"""The letter of what is no option, and of an option whose value is missing."""


class Option(NamedTuple):
    """
    An option that was given.

    @ivar letter: which, or L{WRONG}.
    @ivar value: what stood behind it; empty for one that takes none.
    """

    letter: str
    value: str


class Found(NamedTuple):
    """
    A command line.

    @ivar options: in their order.
    @ivar rest: all other words.
    @ivar strict: whether L{STRICT} was among the options.
    """

    options: list[Option]
    rest: list[str]
    strict: bool


def short_options(words: Sequence[str], known: str, permute: bool) -> Found:
    """
    Read a command line.

    @param known: the letters, each with a colon behind it that takes a value.
    @param permute: whether options may stand behind other words; not where C{POSIXLY_CORRECT} is set.
    """
    options: list[Option] = []
    rest: list[str] = []
    strict = False
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            rest += left
            break
        if word == STRICT:
            strict = True
        elif len(word) > 1 and word[0] == "-":
            _cluster(word[1:], left, known, options)
        elif permute:
            rest.append(word)
        else:
            rest += [word, *left]
            break
    return Found(options, rest, strict)


def _cluster(letters: str, left: list[str], known: str, options: list[Option]) -> None:
    """Read the letters of one word, the last of which may take the next word."""
    while letters:
        letter, letters = letters[0], letters[1:]
        place = -1 if letter == ":" else known.find(letter)
        if place < 0:
            options.append(Option(WRONG, ""))
        elif known[place + 1 : place + 2] != ":":
            options.append(Option(letter, ""))
        elif letters:
            options.append(Option(letter, letters))
            return
        elif left:
            options.append(Option(letter, left.pop(0)))
        else:
            options.append(Option(WRONG, ""))
