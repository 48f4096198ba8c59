"""
The arguments of the client and the worker: checked, and turned into bytes, before anything is sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from json import dumps
from typing import Any, Final

from txgear.errors import PolicyError
from txgear.policies import CLASSIC
from txgear.protocol.constants import MAX_CLIENT_ID, MAX_FUNCTION, MAX_HANDLE, MAX_OPTIONS, MAX_UNIQUE
from txgear.protocol.traces import Trace
from txgear.quantities import LAST_SECOND, duration
from txgear.security.tokens import token_id, without_secrets

Text = str | bytes
"""A name: text, which is sent as UTF-8, or the bytes themselves."""

Workload = bytes | bytearray | memoryview


class Absent:
    """The type of L{ABSENT}."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
"""Stands for C{json} not being given: C{None} is a JSON value like any other."""


def function_name(name: Text) -> bytes:
    """
    @raise ValueError: it is empty, too long, or holds a NUL.
    @raise TypeError: it is neither text nor bytes.
    """
    return _checked("function", name, MAX_FUNCTION, empty=False)


def unique_key(unique: Text) -> bytes:
    """
    @raise ValueError: it is too long, or holds a NUL.
    @raise TypeError: it is neither text nor bytes.
    """
    return _checked("unique", unique, MAX_UNIQUE)


def reducer_name(name: Text) -> bytes:
    """
    @raise ValueError: it is empty, too long, or holds a NUL.
    @raise TypeError: it is neither text nor bytes.
    """
    return _checked("reducer", name, MAX_UNIQUE, empty=False)


def client_id(name: Text) -> bytes:
    """
    The name of a client or a worker. A space or a line end in it would forge the server's list of workers.

    @raise ValueError: it is too long, or holds a NUL, white space or a control character.
    @raise TypeError: it is neither text nor bytes.
    """
    checked = _checked("client_id", name, MAX_CLIENT_ID)
    if any(byte <= 0x20 or byte == 0x7F for byte in checked):
        raise ValueError("client_id holds white space or a control character")
    if without_secrets(checked) != checked:
        raise ValueError("client_id holds a token, and everybody may see it: that is for the argument token")
    return checked


def token_bytes(token: Text) -> bytes:
    """
    A token. No error shows anything of it.

    @raise ValueError: it has not the form of one.
    @raise TypeError: it is neither text nor bytes.
    """
    checked = token.encode("utf-8") if isinstance(token, str) else token
    if not isinstance(checked, bytes):
        raise TypeError(f"token is {type(token).__name__}, not str or bytes")
    if token_id(checked) is None:
        raise ValueError("token has not the form txg_ID_SECRET of those that `txgear token new` makes")
    return checked


def job_handle(handle: Text) -> tuple[str, bytes]:
    """
    @return: the address of the server that gave it, and the handle there. Only Perl's clients
        put the address before it: C{127.0.0.1:4730//H:desk:1}; otherwise it is empty.
    @raise ValueError: no server gives such a handle.
    @raise TypeError: it is neither text nor bytes.
    """
    if isinstance(handle, str):
        handle = handle.encode("utf-8")
    address = b""
    if isinstance(handle, bytes):
        address, _, handle = handle.rpartition(b"//")
    return address.decode("utf-8", "replace"), _checked("handle", handle, MAX_HANDLE, empty=False)


def check_timeout(timeout: float | None) -> None:
    """
    @raise ValueError: it is negative, not a number (NaN), or beyond what a float can hold.
    @raise TypeError: it is neither a number nor C{None}.
    """
    if timeout is not None:
        seconds("timeout", timeout)


def seconds(what: str, value: float, *, positive: bool = False) -> float:
    """
    @param what: what the argument is called.
    @param positive: 0 is not enough.
    @raise ValueError: it is negative, not a number (NaN), or beyond what a float can hold.
    @raise TypeError: it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} is {type(value).__name__}, not a number of seconds")
    try:
        fits = float(value) > 0 if positive else float(value) >= 0
    except OverflowError:
        fits = False
    if not fits:
        raise ValueError(f"{what} is {value}, not {'more than 0' if positive else '0 or more'} seconds")
    return value


def count(what: str, value: int) -> int:
    """
    @param what: what the argument is called.
    @raise ValueError: it is less than 1.
    @raise TypeError: it is no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} is {type(value).__name__}, not a whole number")
    if value < 1:
        raise ValueError(f"{what} is less than 1")
    return value


def check_callable(what: str, value: object) -> None:
    """
    @param what: what the argument is called.
    @raise TypeError: it cannot be called.
    """
    if not callable(value):
        raise TypeError(f"{what} is {type(value).__name__}, which cannot be called")


def _checked(what: str, value: Text, limit: int, *, empty: bool = True) -> bytes:
    if isinstance(value, str):
        value = value.encode("utf-8")
    elif not isinstance(value, bytes):
        raise TypeError(f"{what} is {type(value).__name__}, not str or bytes")
    if not value and not empty:
        raise ValueError(f"{what} is empty")
    if len(value) > limit:
        raise ValueError(f"{what} has {len(value)} bytes, {limit} is the most")
    if b"\0" in value:
        raise ValueError(f"{what} holds a NUL")
    return value


def workload_bytes(workload: Workload, json: object) -> bytes:
    """
    @param json: a value to send as JSON in place of the workload, or L{ABSENT}.
    @raise TypeError: the workload is not made of bytes, both were given, or
        the value has a type that JSON does not know.
    @raise ValueError: the value has no JSON form.
    """
    if json is not ABSENT:
        if workload:
            raise TypeError("workload and json were both given")
        return json_bytes(json)
    if isinstance(workload, bytes):
        return workload
    if isinstance(workload, (bytearray, memoryview)):
        return bytes(workload)
    raise TypeError(f"workload is {type(workload).__name__}, not bytes; encode text, or pass json=")


def result_bytes(result: object) -> bytes:
    """
    What a worker's function returned or sends, as bytes. Text is encoded as
    UTF-8; C{None} is an empty result.

    @raise TypeError: it is something else.
    """
    if isinstance(result, bytes):
        return result
    if result is None:
        return b""
    if isinstance(result, str):
        return result.encode("utf-8")
    if isinstance(result, (bytearray, memoryview)):
        return bytes(result)
    raise TypeError(
        f"{type(result).__name__} is not bytes, str or None; a function with json=True returns it"
    )


def json_bytes(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def epoch_seconds(at: datetime | float) -> int:
    """
    The whole second at which a job is due, never before the time that was asked for.

    @param at: seconds since 1970, or a datetime; a naive one is local time.
    @raise ValueError: it is before 1970, beyond the year 9999, or not a number (NaN).
    @raise TypeError: it is neither.
    """
    if isinstance(at, bool) or not isinstance(at, (datetime, int, float)):
        raise TypeError(f"at is {type(at).__name__}, not a datetime or seconds since 1970")
    moment = at.timestamp() if isinstance(at, datetime) else at
    if not 0 <= moment <= LAST_SECOND:
        raise ValueError("at is not between the years 1970 and 9999")
    return math.ceil(moment)


def job_options(
    policy: Mapping[str, Any],
    priority: str,
    background: bool,
    at: datetime | float | None,
    delay: float | str | None,
    trace: Trace | None = None,
) -> bytes:
    """
    The options of a job in SUBMIT_JOB_OPTIONS, as JSON.

    @param policy: settings for this one job, by name.
    @param delay: a time from now, as L{duration} reads it.
    @param trace: where the work on the job belongs.
    @raise ValueError: a setting is not known or makes no sense, there are both a time and
        a delay, or it is all too long.
    """
    options: dict[str, Any] = dict(policy)
    try:
        CLASSIC.with_settings(options, for_job=True)
    except PolicyError as error:
        raise ValueError(f"policy: {error}") from error
    if at is not None and delay is not None:
        raise ValueError("a job has a time or a delay, not both")
    if at is not None:
        options["at"] = epoch_seconds(at)
    if delay is not None:
        try:
            options["delay"] = duration(delay)
        except PolicyError as error:
            raise ValueError(f"delay: {error}") from error
    if trace is not None:
        options["trace"] = trace.as_json()
    packed = json_bytes({**options, "priority": priority, "background": background})
    if len(packed) > MAX_OPTIONS:
        raise ValueError(f"policy has {len(packed)} bytes as JSON, {MAX_OPTIONS} is the most")
    return packed
