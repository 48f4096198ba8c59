"""
Trace contexts, by which the spans of one request find each other across programs: those of the W3C, level 1.

They travel with jobs: a client puts one into the options of a submit, and workers get it with each attempt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from json import dumps
from typing import Any, Final, NamedTuple

MOST_STATE: Final = 512
"""Bytes of a C{tracestate} at the most: what everybody has to pass on."""
MOST_MEMBERS: Final = 32
"""Members of a C{tracestate} at the most."""
MOST_PARENT: Final = 128
"""Bytes of a C{traceparent} at the most: it has 55 in the version that there is, and later ones add some."""

_PARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?"
)
_MEMBER: Final = re.compile(
    r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)
_KEYS: Final = ("traceparent", "tracestate")


class Trace(NamedTuple):
    """
    Where the work on a job belongs.

    @ivar traceparent: the trace, the span that is the parent, and flags: C{00-0af7...-b7ad...-01}.
    @ivar tracestate: what systems of tracing add: C{vendor=value,other=value}; empty for nothing.
    """

    traceparent: str
    tracestate: str = ""

    @classmethod
    def checked(cls, traceparent: object, tracestate: object = "") -> Trace:
        """
        @raise ValueError: these have not the form that the W3C gives them; the text says what is wrong.
        """
        if (
            not isinstance(traceparent, str)
            or len(traceparent) > MOST_PARENT
            or (found := _PARENT.fullmatch(traceparent)) is None
            or (found[1] is not None and traceparent.startswith("00"))
        ):
            raise ValueError("traceparent: VERSION-TRACE-PARENT-FLAGS is wanted, in small hexadecimal digits")
        if not isinstance(tracestate, str) or len(tracestate) > MOST_STATE:
            raise ValueError(f"tracestate: a text of {MOST_STATE} bytes at the most is wanted")
        members = [member.strip(" \t") for member in tracestate.split(",")]
        named = [member for member in members if member]
        keys = {member.partition("=")[0] for member in named}
        if len(keys) < len(named) or len(named) > MOST_MEMBERS or not all(map(_MEMBER.fullmatch, named)):
            raise ValueError(
                f"tracestate: KEY=VALUE,... is wanted, {MOST_MEMBERS} at the most, each key once"
            )
        return cls(traceparent, ",".join(named))

    @classmethod
    def from_headers(cls, traceparents: Sequence[bytes], tracestates: Sequence[bytes]) -> Trace | None:
        """
        Read the headers of a request. As the W3C has it, nobody is refused for what is malformed: it is as if
        it was not there.

        @param traceparents: the values of C{traceparent}; one alone means something.
        @param tracestates: those of C{tracestate}, which belong together, and to the other.
        """
        if len(traceparents) != 1:
            return None
        try:
            alone = cls.checked(traceparents[0].decode("latin-1"))
        except ValueError:
            return None
        try:
            return cls.checked(alone.traceparent, b",".join(tracestates).decode("latin-1"))
        except ValueError:
            return alone

    @classmethod
    def from_json(cls, value: object) -> Trace:
        """
        Read the member C{trace} of a job's options.

        @raise ValueError: it is none.
        """
        if not isinstance(value, Mapping) or not set(value) <= set(_KEYS) or "traceparent" not in value:
            raise ValueError("an object with traceparent, and perhaps tracestate, is wanted")
        return cls.checked(value["traceparent"], value.get("tracestate", ""))

    def as_json(self) -> dict[str, Any]:
        """That member."""
        if self.tracestate:
            return {"traceparent": self.traceparent, "tracestate": self.tracestate}
        return {"traceparent": self.traceparent}

    def to_bytes(self) -> bytes:
        """The same, in JSON."""
        return dumps(self.as_json(), separators=(",", ":")).encode("ascii")
