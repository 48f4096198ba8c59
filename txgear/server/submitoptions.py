"""
The options of a job that is submitted by SUBMIT_JOB_OPTIONS.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from txgear.errors import ArgumentTooLarge, InvalidArgument, PolicyError
from txgear.protocol.constants import HIGH, LOW, MAX_OPTIONS, NORMAL
from txgear.protocol.traces import Trace
from txgear.quantities import LAST_SECOND, brief, duration

_PRIORITIES: Final = {"high": HIGH, "normal": NORMAL, "low": LOW}


class SubmitOptions(NamedTuple):
    """
    The options of a SUBMIT_JOB_OPTIONS.

    @ivar priority: L{HIGH}, L{NORMAL} or L{LOW}.
    @ivar background: whether nobody waits for the job.
    @ivar due: seconds since the epoch before which it must not begin, by the wall clock; 0.0 for at once.
    @ivar delay: seconds before which it must not begin.
    @ivar settings: all others: what is to hold for this job, by name.
    @ivar trace: where the work on it belongs, for its workers; C{None} where nothing is said of that.
    """

    priority: int
    background: bool
    due: float
    delay: float
    settings: dict[str, Any]
    trace: Trace | None = None


def read_options(text: bytes) -> SubmitOptions:
    """
    Read the options of SUBMIT_JOB_OPTIONS: a JSON object in UTF-8, or nothing.

    @raise ArgumentTooLarge: they are longer than L{MAX_OPTIONS}.
    @raise InvalidArgument: they are no such thing, or one of them makes no sense. The
        settings are not looked at.
    """
    if len(text) > MAX_OPTIONS:
        raise ArgumentTooLarge(f"Options of {len(text)} bytes are over the limit of {MAX_OPTIONS}")
    try:
        settings = json.loads(text.decode("utf-8"), parse_constant=_no_number) if text else {}
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"The options are not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise InvalidArgument("The options are no JSON object")
    priority = settings.pop("priority", "normal")
    if not isinstance(priority, str) or priority not in _PRIORITIES:
        raise InvalidArgument(f"priority: one of high, normal and low is wanted, not {brief(priority)}")
    background = settings.pop("background", True)
    if not isinstance(background, bool):
        raise InvalidArgument(f"background: true or false is wanted, not {brief(background)}")
    if "at" in settings and "delay" in settings:
        raise InvalidArgument("delay: a job has a time or a delay, not both")
    due = delay = 0.0
    if "at" in settings:
        at = settings.pop("at")
        # Compared before it is made a float: JSON has whole numbers for which there is none.
        if not isinstance(at, (int, float)) or isinstance(at, bool) or not 0 <= at <= LAST_SECOND:
            raise InvalidArgument(
                f"at: seconds since 1970 are wanted, to the end of the year 9999, not {brief(at)}"
            )
        due = float(at)
    elif "delay" in settings:
        try:
            delay = duration(settings.pop("delay"))
        except PolicyError as error:
            raise InvalidArgument(f"delay: {error}") from error
    trace = None
    if "trace" in settings:
        try:
            trace = Trace.from_json(settings.pop("trace"))
        except ValueError as error:
            raise InvalidArgument(f"trace: {error}") from error
    return SubmitOptions(_PRIORITIES[priority], background, due, delay, settings, trace)


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")
