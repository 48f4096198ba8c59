"""
Reads options as Boost's C{program_options} does, which guesses long ones from their first letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from txgear.cli.imitate import STRICT


class Known(NamedTuple):
    """
    An option that there is.

    @ivar name: the long one.
    @ivar takes: whether it takes a value.
    @ivar short: the short one with its dash, or empty.
    """

    name: str
    takes: bool = False
    short: str = ""


class WrongWords(Exception):
    """The command line is wrong; the text says why, as Boost does."""


@dataclass
class _Given:
    """An option as it stands on the command line: by a long name, or by a short one with its dash."""

    name: str
    token: str
    values: list[str] = field(default_factory=list)


class Reader:
    """A command line's reader."""

    def __init__(self, known: Sequence[Known]) -> None:
        self._known = known

    def read(self, words: Sequence[str]) -> tuple[dict[str, str], bool]:
        """
        Read a command line. Words that belong to no option mean nothing.

        @return: the values by long names, empty ones for options that take none; and whether there was
            L{STRICT}.
        @raise WrongWords: it makes no sense.
        """
        left = list(words)
        strict = False
        found: list[tuple[Known, str]] = []
        while left and left[0] != "--":
            word = left.pop(0)
            if word == STRICT:
                strict = True
                continue
            given = self._given(word)
            for each in given[:-1]:
                self._finished(each, [], found)
            if given:
                self._finished(given[-1], left, found)
        values: dict[str, str] = {}
        for option, value in found:
            if option.name in values:
                raise WrongWords(f"option '--{option.name}' cannot be specified more than once")
            values[option.name] = value
        return values, strict

    def _given(self, word: str) -> list[_Given]:
        """What a word may say: a long option, or a row of short ones."""
        if len(word) > 2 and word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if equals and not value:
                raise WrongWords(_follow_immediately(name))
            return [_Given(name, word, [value] if equals else [])]
        if len(word) < 2 or word[0] != "-" or word == "--":
            return []
        made = []
        name, rest = word[:2], word[2:]
        while rest and (option := self._found(name, name, False)) is not None and not option.takes:
            made.append(_Given(name, name))
            name, rest = f"-{rest[0]}", rest[1:]
        return [*made, _Given(name, word, [rest] if rest else [])]

    def _finished(self, given: _Given, left: list[str], found: list[tuple[Known, str]]) -> None:
        """Find which option it is, and its value, which may be the next word."""
        if not given.name:
            # As of "--=x".
            return
        option = self._found(given.name, given.token, True)
        if option is None:
            raise WrongWords(f"unrecognised option '{given.token}'")
        if not option.takes:
            if given.values:
                raise WrongWords(f"option '--{option.name}' does not take any arguments")
            found.append((option, ""))
            return
        if not given.values:
            if not left or self._is_option(left[0], option):
                raise WrongWords(f"the required argument for option '--{option.name}' is missing")
            given.values.append(left.pop(0))
        found.append((option, given.values[0]))

    def _is_option(self, word: str, before: Known) -> bool:
        """
        Whether a word that should be a value is an option. With its two dashes no long one is known, so that
        these are values.
        """
        try:
            given = self._given(word)
        except WrongWords:
            raise WrongWords(_follow_immediately(before.name)) from None
        return bool(given) and self._found(word, word, True) is not None

    def _found(self, name: str, token: str, guess: bool) -> Known | None:
        """
        The option of a name, or of the first letters of one.

        @raise WrongWords: there are several.
        """
        near = []
        for option in self._known:
            if name in (option.name, option.short):
                return option
            if guess and option.name.startswith(name):
                near.append(option)
        if len(near) > 1:
            *names, last = sorted(f"'--{option.name}'" for option in near)
            raise WrongWords(f"option '{token}' is ambiguous and matches {', '.join(names)}, and {last}")
        return near[0] if near else None


def _follow_immediately(name: str) -> str:
    which = f"option '--{name}'" if name else "option"
    return f"the argument for {which} should follow immediately after the equal sign"
