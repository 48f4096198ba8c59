"""
What the values of the server's options may be.

C{twistd txgear} reads them with its options, C{txgear gearmand} checks them
without Twisted: its C{--check-args} is over in a moment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, Final

from txgear import quantities
from txgear.errors import ConfigurationError, PolicyError
from txgear.protocol.hello import MAX_GRACE
from txgear.protocol.textlines import LEVELS

MAX_RETRIES: Final = 255
MAX_WAKEUPS: Final = 255
LEAST_LEASE: Final = 8
"""Seconds: four beats of a store's owner."""
LONGEST_NAME: Final = 255
"""Characters of a server's name: the store has room for so many."""
SMALLEST_MAX_PACKET: Final = 64 * 1024
LARGEST_MAX_PACKET: Final = 2**32 - 1
"""A packet's header has 32 bits for it."""
SMALLEST_QUEUE_MEMORY: Final = 16 * 1024
"""Some dozens of jobs; nearly all else is in the store alone."""

UNITS: Final = {"milliseconds": 0.001, "seconds": 1.0}
"""What libraries send with CAN_DO_TIMEOUT, in seconds; the protocol's own is first."""

HTTP_PORT: Final = 8080
"""That of C{--protocol http}."""

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,15}")


def number(option: str, lowest: int, highest: int) -> Callable[[str], int]:
    """The coercion of an option that is a whole number within bounds."""

    def coerce(text: str) -> int:
        value = int(text) if _NUMBER.fullmatch(text) else lowest - 1
        if not lowest <= value <= highest:
            raise ValueError(f"--{option}: a whole number from {lowest} to {highest} is wanted, not {text!r}")
        return value

    return coerce


def size(option: str, lowest: int, highest: int = quantities.MOST_BYTES) -> Callable[[str], int]:
    """The coercion of an option in bytes, which are written as in the file of policies: C{1048576}, C{1M}."""

    def coerce(text: str) -> int:
        try:
            value = quantities.size(text)
        except PolicyError:
            value = lowest - 1
        if not lowest <= value <= highest:
            raise ValueError(
                f"--{option}: bytes are wanted, {lowest} to {highest}, with K, M, G or T behind for"
                f" larger units, not {text!r}"
            )
        return value

    return coerce


def level(text: str) -> str:
    """The coercion for C{--verbose}."""
    if text.upper() not in LEVELS:
        raise ValueError(f"--verbose: one of {', '.join(LEVELS)} is wanted, not {text!r}")
    return text.upper()


def prefix(text: str) -> bytes:
    """The coercion for C{--job-handle-prefix}."""
    # All rules come with it.
    from txgear.broker.table import check_prefix

    try:
        return check_prefix(os.fsencode(text))
    except ConfigurationError as error:
        raise ValueError(f"--job-handle-prefix: {error}") from error


def unit(text: str) -> str:
    """The coercion for C{--can-do-timeout-unit}."""
    if text not in UNITS:
        raise ValueError(f"--can-do-timeout-unit: {' or '.join(UNITS)} is wanted, not {text!r}")
    return text


def shown(option: str) -> Callable[[str], str]:
    """
    A coercion for what others keep in a column of the store, whose letters a database may have chosen long
    ago, and people read in a line of a list.
    """

    def coerce(text: str) -> str:
        if not (text.isascii() and text.isprintable() and text.strip()) or len(text) > LONGEST_NAME:
            wanted = f"1 to {LONGEST_NAME} printable ASCII characters are wanted"
            raise ValueError(f"--{option}: {wanted}, not {text!r}")
        return text

    return coerce


def client(text: str) -> str:
    """The coercion for C{--tls-client}."""
    if text not in ("ask", "require"):
        raise ValueError(f"--tls-client: ask or require is wanted, not {text!r}")
    return text


COERCIONS: Final[dict[str, Callable[[str], Any]]] = {
    "advertise": shown("advertise"),
    "backlog": number("backlog", 1, 65535),
    "can-do-timeout-unit": unit,
    "cluster-name": shown("cluster-name"),
    "file-descriptors": number("file-descriptors", 0, 2**30),
    "http-port": number("http-port", 0, 65535),
    "http-tls-port": number("http-tls-port", 0, 65535),
    "job-handle-prefix": prefix,
    "job-retries": number("job-retries", -1, MAX_RETRIES),
    "keepalive-count": number("keepalive-count", -1, 127),
    "keepalive-idle": number("keepalive-idle", -1, 32767),
    "keepalive-interval": number("keepalive-interval", -1, 32767),
    "max-packet": size("max-packet", SMALLEST_MAX_PACKET, LARGEST_MAX_PACKET),
    "lease": number("lease", LEAST_LEASE, 3600),
    "port": number("port", 0, 65535),
    "queue-memory": size("queue-memory", SMALLEST_QUEUE_MEMORY),
    "store-timeout": number("store-timeout", 1, 3600),
    "tls-client": client,
    "unfinished-memory": size("unfinished-memory", SMALLEST_MAX_PACKET),
    "verbose": level,
    "worker-grace": number("worker-grace", 0, int(MAX_GRACE)),
    "worker-wakeup": number("worker-wakeup", 0, MAX_WAKEUPS),
}
"""What makes an option's value of its text, or raises C{ValueError} with a line about it."""
