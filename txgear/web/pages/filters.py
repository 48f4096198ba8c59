"""
Which jobs a page is about: the query language of text commands and the API, as fields of a form, as one line,
as an address, and in words.

A filter is a dict of bytes by the names that L{Search.parse} knows. In a line and in an address values are
escaped as everywhere: C{\\x20} is a space.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from txgear.broker.operators.search import LIVE_STATES, Search
from txgear.errors import InvalidArgument
from txgear.protocol import textlines
from txgear.protocol.constants import MAX_FUNCTION
from txgear.protocol.textlines import shown_word, text, unescaped
from txgear.server.tasks import OF_TASKS

MOST_LINE: Final = 4 * MAX_FUNCTION
"""Bytes of a filter that is one line."""
EVERYTHING: Final[Mapping[str, bytes]] = {"function": b"*"}
"""What a filter that says nothing is, where something has to be said."""

_KINDS: Final = {
    "jobs": "jobs that have not ended",
    "dead": "dead jobs",
    "kept": "jobs that have ended and are kept",
}
_WORDS: Final = {
    "function": "of functions that match",
    "unique": "with the unique",
    "state": "that are",
    "worker": "at a worker with this in its name:",
    "older": "submitted at least so long ago:",
    "text": "with this text in them:",
    "reason": "of which the reason is",
    "review": "set aside in the review",
}
"""What each value says; a new one that is looked for has its words here."""
_LISTS: Final = ("state", "reason")
"""Values of which there may be several, with commas between."""


class Said(NamedTuple):
    """
    Something that a filter says, in words.

    @ivar words: such as C{that are}.
    @ivar value: such as C{queued}.
    """

    words: str
    value: str


def of_values(values: Iterable[tuple[str, str]]) -> dict[str, bytes]:
    """
    A filter.

    @param values: names and values as an address has them; what is empty is not said.
    """
    return {name: unescaped(value.encode("utf-8")) for name, value in values if value}


def of_line(line: str) -> dict[str, bytes]:
    """
    A filter that is one line, such as C{function=mail.* state=queued}.

    @raise InvalidArgument: it is none.
    """
    sent = line.encode("utf-8")
    if len(sent) > MOST_LINE:
        raise InvalidArgument(f"A filter has at most {MOST_LINE} bytes")
    found = textlines.pairs(sent.split())
    return {name: value for name, value in found.items() if value}


def problems(words: Mapping[str, bytes], known: Collection[str]) -> dict[str, str]:
    """
    What is wrong with a filter.

    @param known: the names that may be there.
    @return: sentences, by the names of what they are about.
    """
    found = {}
    for name, value in words.items():
        try:
            Search.parse({name: value}, known)
        except InvalidArgument as error:
            found[name] = error.text.removeprefix(f"{name}: ")
    return found


def line(words: Mapping[str, bytes]) -> str:
    """A filter as one line, as L{of_line} reads it."""
    return " ".join(f"{name}={shown_word(value).decode('utf-8')}" for name, value in words.items())


def address(path: str, words: Mapping[str, bytes], **more: Any) -> str:
    """
    The address of the page that shows what a filter is for.

    @param more: further values of the query; C{None} for one that is not there.
    """
    values = {name: text(value) for name, value in words.items()}
    values.update((name, str(value)) for name, value in more.items() if value is not None)
    return f"{path}?{urlencode(values)}" if values else path


def kind(of: str) -> str:
    """
    What the jobs of a list are called.

    @param of: C{jobs}, C{dead} or C{kept}.
    """
    return _KINDS[of]


def in_words(words: Mapping[str, bytes]) -> list[Said]:
    """What a filter says; nothing where it is for all."""
    found = []
    for name, value in words.items():
        if name == "function" and value == b"*":
            continue
        shown = " or ".join(text(value).split(",")) if name in _LISTS else text(value)
        found.append(Said(_WORDS[name], shown))
    return found


def fields(
    labels: Mapping[str, tuple[str, str, int]], query: object, wrong: Mapping[str, str]
) -> list[dict[str, Any]]:
    """
    The fields of a form, for its template.

    @param labels: by their names what each is called, what may stand there, and how wide it is.
    @param query: has their values as attributes.
    @param wrong: what L{problems} found.
    """
    return [
        {
            "name": name,
            "label": label,
            "hint": hint,
            "size": size,
            "value": getattr(query, name) or "",
            "wrong": wrong.get(name),
        }
        for name, (label, hint, size) in labels.items()
    ]


def state_choices(wanted: str) -> list[str]:
    """
    What can be chosen of states.

    @param wanted: what is chosen; several are one of the choices, too.
    """
    return [*LIVE_STATES, *([wanted] if wanted and wanted not in LIVE_STATES else [])]


def known(of: str) -> tuple[str, ...]:
    """
    What a filter can say.

    @param of: C{jobs}, C{dead} or C{kept}.
    """
    return OF_TASKS[of]
