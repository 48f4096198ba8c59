"""
Server-sent events: how they are written, and what of a job is told by them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

from msgspec.json import encode

from txgear.protocol.constants import RESTARTED, WORK_DATA, WORK_STATUS, WORK_WARNING
from txgear.protocol.packets import Data, decimal

EVENT_STREAM: Final = "text/event-stream"
COMMENT: Final = b":\n\n"
"""What readers pass over; it shows them, and proxies, that the line lives."""
QUIET_SECONDS: Final = 15.0
"""Seconds without an event after which there is to be a comment."""


def event(name: str, data: Any, identity: str = "") -> bytes:
    """
    One event.

    @param name: its type.
    @param data: what JSON has; it is one line.
    @param identity: its id, where a reader may go on from it.
    """
    head = f"id: {identity}\n" if identity else ""
    return f"{head}event: {name}\ndata: ".encode("ascii") + encode(data) + b"\n\n"


def said(data: Data) -> dict[str, str]:
    """
    What a worker has said, for JSON.

    @return: C{text}, where it is UTF-8; otherwise C{base64}.
    """
    raw = bytes(data)
    try:
        return {"text": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": b64encode(raw).decode("ascii")}


def told(kind: int, arguments: Sequence[Data]) -> bytes | None:
    """
    The event for what a worker says of its job while it runs.

    @param kind: the type of the packet that a client gets.
    @param arguments: the packet's, the handle first.
    @return: C{data} and C{warning} with what was L{said}, C{progress} with two numbers, C{restarted}, which
        makes void what was told before; C{None} for a packet of another type.
    """
    if kind == WORK_DATA:
        return event("data", said(arguments[1]))
    if kind == WORK_WARNING:
        return event("warning", said(arguments[1]))
    if kind == WORK_STATUS:
        numerator, denominator = (decimal(bytes(number)) for number in arguments[1:3])
        return event("progress", {"numerator": numerator, "denominator": denominator})
    if kind == RESTARTED:
        return event("restarted", {})
    return None
