"""
What a server says of itself to the others, as JSON: short, as it lies beside each beat of its lease.

Others may be of another version. So names that are not known are passed over, and so is a value that makes no
sense; the rest holds.

This knows no database and no clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

from txgear.server.clusterview import Status

LONGEST_VERSION: Final = 40
"""Characters of another server's version."""
LARGEST: Final = 2**53
"""Of whatever is counted: what JSON carries without loss."""


def _version(value: Any) -> str | None:
    return value if isinstance(value, str) and value.isprintable() and len(value) <= LONGEST_VERSION else None


def _seconds(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and isfinite(value) and 0 <= value <= LARGEST else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST else None


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


NAMES: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "version": ("v", _version),
    "uptime": ("u", _seconds),
    "queued": ("q", _count),
    "running": ("r", _count),
    "workers": ("w", _count),
    "connections": ("c", _count),
    "rate": ("j", _seconds),
    "lag": ("g", _seconds),
    "lease": ("l", _seconds),
    "trust": ("t", _seconds),
    "draining": ("d", _truth),
}
"""What is said by which name, and what makes sense there."""


def written(status: Status) -> bytes:
    """A status, for others; what is C{None} is left out."""
    said = {NAMES[name][0]: value for name, value in status._asdict().items() if value is not None}
    return json.dumps(said, separators=(",", ":")).encode("ascii")


def read(said: bytes) -> Status:
    """What L{written} has made, here or at a server of another version; of all else nothing."""
    try:
        found = json.loads(said) if said else {}
    except (ValueError, RecursionError):
        found = {}
    if not isinstance(found, dict):
        return Status()
    return Status(**{name: sense(found.get(short)) for name, (short, sense) in NAMES.items()})
