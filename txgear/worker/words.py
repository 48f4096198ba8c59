"""
The words by which operators steer a worker through its servers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.errors import TxgearError
from txgear.protocol.constants import STEERED_DONE, STEERED_REFUSED
from txgear.protocol.textlines import for_line, text

SHOWN_BYTES: Final = 200
"""So much of an argument stands in the log."""
_word: Final = re.compile(r"[a-z][a-z-]{0,31}\Z")

Word = Callable[[bytes], Any]
"""
Does what a word says, and is called with its argument. It returns what the operator gets to read, C{None} for
nothing, or a Deferred of it, which has ten seconds; it raises L{Refused} where it does not do it.
"""


class Refused(TxgearError):
    """Raised for a word that is not done; the operator gets the text."""


class Words:
    """The words that a worker understands, each with what is called for it."""

    log = Logger()

    def __init__(self) -> None:
        self._calls: dict[str, Word] = {}

    @property
    def names(self) -> list[str]:
        """All of them, in the order in which they came."""
        return list(self._calls)

    def add(self, word: str, call: Word) -> None:
        """
        Understand one more word, or do something else from now on for one that is there.

        @raise ValueError: the word is not made of 1 to 32 letters from C{a} to C{z} and C{-}, a letter first.
        """
        if not _word.match(word):
            raise ValueError(f"word is {word!r}, not 1 to 32 letters from a to z and -, a letter first")
        self._calls[word] = call

    def do(self, server: str, word: bytes, argument: bytes) -> Deferred[tuple[bytes, str]]:
        """
        Do what a server says.

        @param server: its name.
        @return: fires with the outcome, one of L{STEERED_DONE<txgear.protocol.constants.STEERED_DONE>} and
            C{STEERED_REFUSED}, and a text for people. It never fails.
        """
        name = word.decode("ascii", "replace")
        call = self._calls.get(name)
        if call is None:
            return succeed((STEERED_REFUSED, "It does not know this word"))
        more = f" {for_line(text(argument[:SHOWN_BYTES])).decode()}" if argument else ""
        self.log.info("{server} says {word}{more}", server=server, word=name, more=more)
        return maybeDeferred(call, argument).addCallbacks(_done, self._failed, errbackArgs=(name,))

    def _failed(self, failure: Failure, word: str) -> tuple[bytes, str]:
        if not failure.check(Refused):
            self.log.failure("the word {word} was not done", failure, word=word)
            return STEERED_REFUSED, f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
        return STEERED_REFUSED, failure.getErrorMessage()


def _done(text: str | None) -> tuple[bytes, str]:
    return STEERED_DONE, text or ""
