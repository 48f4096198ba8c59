"""
What spans say of jobs: the attributes of OpenTelemetry's conventions for messaging.
"""

from __future__ import annotations

import re
from typing import Final

from txgear.worker import FailWithText, RetryLater

SCHEMA: Final = "https://opentelemetry.io/schemas/1.37.0"
"""The conventions that the attributes follow."""
ATTEMPT: Final = "txgear.attempt"
"""The attribute with the number of the attempt, 1 for the first; the conventions have none for it."""

_PLACE: Final = re.compile(r"(?:(?:tcp|tls|ssl):)?(?:host=)?\[?([^\]]+?)\]?:(?:port=)?(\d{1,5})(?::.*)?")
_SOCKET: Final = re.compile(r"unix:(?:path=)?([^:]+)(?::.*)?")

Attributes = dict[str, str | int]


def of_job(operation: str, kind: str, function: bytes, size: int) -> Attributes:
    """
    What is done with a job.

    @param operation: in the words of this project.
    @param kind: in those of the conventions.
    @param size: bytes of its workload.
    """
    return {
        "messaging.system": "gearman",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.destination.name": as_text(function),
        "messaging.message.body.size": size,
    }


def of_server(server: str) -> Attributes:
    """
    Where a server is.

    @param server: its name.
    """
    if found := _SOCKET.fullmatch(server):
        return {"server.address": found[1]}
    if found := _PLACE.fullmatch(server):
        return {"server.address": found[1], "server.port": int(found[2])}
    return {"server.address": server}


def as_text(name: bytes) -> str:
    """A name, or what somebody says, for people to read."""
    return name.decode("utf-8", "backslashreplace")


def in_words(error: BaseException) -> str:
    """Why something failed, for people to read."""
    return as_text(error.text) if isinstance(error, (FailWithText, RetryLater)) else str(error)


def kind_of(error: BaseException) -> str:
    """The name of its class."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
