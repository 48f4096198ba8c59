"""
What is sent of an exception that a function has raised.
"""

from __future__ import annotations

from pathlib import Path
from traceback import StackSummary, extract_tb, format_list
from typing import Final

import twisted
from twisted.python.failure import Failure

from txgear.broker.words import number, verb

MAX_EXCEPTION: Final = 65536
"""Bytes of an exception's text that are sent at the most."""
MOST_LINES: Final = 40
"""Lines of its traceback at the most, the last ones: where it was raised, and what called that."""
MOST_CAUSES: Final = 5
"""Exceptions at the most from which it has come."""

_OURS: Final = tuple(
    f"{folder}/"
    for folder in (
        Path(twisted.__file__).parent,
        Path(__file__).parent,
        Path(__file__).parent.parent / "net",
        Path(__file__).parent.parent / "runtime",
    )
)
"""Folders of what stands between a job and its function."""


def exception_text(failure: Failure, most: int = MAX_EXCEPTION) -> bytes:
    """
    The type and text of an exception first, as lists show only the beginning, then its traceback; each
    exception that it has come from, in the same way, behind it. What called the function is left out, and so
    are the first frames of a long traceback.

    @param most: bytes that there may be.
    @return: text in UTF-8.
    """
    told: list[str] = []
    error: BaseException | None = failure.value
    frames = extract_tb(failure.getTracebackObject())
    seen: set[int] = set()
    while error is not None and id(error) not in seen and len(seen) < MOST_CAUSES:
        seen.add(id(error))
        told.append(_headline(error))
        told += _lines(frames)
        cause = error.__cause__
        word = "It was raised because of:"
        if cause is None and not error.__suppress_context__:
            cause = error.__context__
            word = "It was raised while this was handled:"
        if cause is not None:
            told += ["", word]
            frames = extract_tb(cause.__traceback__)
        error = cause
    return "\n".join(told).encode("utf-8", "replace")[:most]


def _headline(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return f"{type(error).__name__}: (its text cannot be made)"


def _lines(frames: StackSummary) -> list[str]:
    """Lines of a traceback."""
    first = 0
    while first < len(frames) and frames[first].filename.startswith(_OURS):
        first += 1
    lines = "".join(format_list(frames[first:])).splitlines()
    if not lines:
        return []
    left_out = len(lines) - MOST_LINES
    if left_out > 0:
        lines = [f"  [{number(left_out, 'line')} {verb(left_out, 'is', 'are')} left out]", *lines[left_out:]]
    return ["Traceback (most recent call last):", *lines]
