"""
The jobs that C{txgear submit} is given: from words, files, lines, or lines of JSON, one after the other.

Nothing is read ahead here: of a file with a million lines one is in memory at a time.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from txgear.cli.base.moments import moment
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.errors import PolicyError
from txgear.net.arguments import function_name, job_options, json_bytes, unique_key
from txgear.protocol.constants import MAX_PACKET
from txgear.quantities import duration

PIECE: Final = 64 * 1024
"""Bytes that are read in one go."""
LONGEST_LINE: Final = 2 * MAX_PACKET
"""Bytes of a line at the most: the largest workload fits, in base64 as well."""

PRIORITIES: Final = ("high", "normal", "low")

Read = Callable[[int], bytes]
"""Reads that many bytes at the most; none at the end."""


@dataclass(frozen=True)
class Wanted:
    """
    A job that is to be submitted.

    @ivar when: seconds since 1970 before which it must not begin, or C{None}.
    @ivar delay: seconds from its submit before which it must not begin, or C{None}.
    @ivar policy: settings for this one job.
    @ivar place: where it was read, for errors: C{line 7}; empty where there is only one.
    """

    function: bytes
    workload: bytes = b""
    unique: bytes = b""
    priority: str = "normal"
    when: float | None = None
    delay: float | None = None
    policy: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""

    def check(self) -> None:
        """
        @raise ValueError: no packet can carry it, or what it says makes no sense.
        """
        function_name(self.function)
        unique_key(self.unique)
        if self.when is not None and self.priority != "normal" and not self.policy and self.delay is None:
            raise ValueError("a job with a time has normal priority, unless it has settings of its own")
        job_options(self.policy, self.priority, self.when is not None, self.when, self.delay)
        if len(self.workload) > MAX_PACKET:
            raise ValueError(f"a workload has {MAX_PACKET} bytes at the most")


# Bytes


def whole(read: Read, name: str) -> bytes:
    """
    All bytes.

    @param name: of what is read, for the error.
    @raise CommandError: they are too many for one job.
    """
    pieces: list[bytes] = []
    size = 0
    while piece := read(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_PACKET:
            raise CommandError(f"{name}: a workload has {MAX_PACKET} bytes at the most", MISUSED)
    return b"".join(pieces)


def lines(read: Read, name: str) -> Iterator[bytes]:
    """
    Line by line, each with its end, as soon as it is there.

    @raise CommandError: one is too long.
    """
    begun: list[bytes] = []
    size = 0
    while piece := read(PIECE):
        *ended, rest = piece.split(b"\n")
        for line in ended:
            yield b"".join((*begun, line, b"\n"))
            begun, size = [], 0
        if rest:
            begun.append(rest)
            size += len(rest)
            if size > LONGEST_LINE:
                raise CommandError(f"{name}: a line has {LONGEST_LINE} bytes at the most", MISUSED)
    if begun:
        yield b"".join(begun)


# Jobs


def from_workloads(
    workloads: Iterable[bytes], functions: Sequence[bytes], usual: Wanted, as_json: bool, of: str
) -> Iterator[Wanted]:
    """
    A job of each function for each workload, as with C{gearman}.

    @param usual: what holds for all of them.
    @param as_json: whether each has to be a JSON value; it is sent as it stands.
    @param of: what each is, for errors: C{line}; empty where there is only one.
    @raise CommandError: one cannot be sent.
    """
    for number, workload in enumerate(workloads, 1):
        place = of and f"{of} {number}"
        if as_json:
            _check_json(workload, place or "the workload")
        for function in functions:
            wanted = replace(usual, function=function, workload=workload, place=place)
            yield checked(wanted, place)


def checked(wanted: Wanted, place: str) -> Wanted:
    """
    A job that can be sent.

    @param place: where it was read; empty for the command line.
    @raise CommandError: it cannot.
    """
    try:
        wanted.check()
    except (ValueError, TypeError) as error:
        raise CommandError(f"{place}: {error}" if place else str(error), MISUSED) from error
    return wanted


def _check_json(workload: bytes, place: str) -> None:
    try:
        json.loads(workload, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{place} is no JSON: {_why(error)}", MISUSED) from error


def _no_constant(name: str) -> None:
    raise ValueError(f"there is no {name} in JSON")


def _why(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


# Lines of JSON

MEMBERS: Final = (
    *("function", "workload", "base64", "json", "unique"),
    *("priority", "when", "delay", "policy"),
)
"""What a line may say; the names are those of C{POST /api/v1/jobs}, and C{json}."""
PASSED_OVER: Final = frozenset({"outcome", "why", "handle"})
"""What L{to_json_line} says beside: a line that it has written can be read again."""


def from_json_lines(rows: Iterable[bytes], usual: Wanted) -> Iterator[Wanted]:
    """
    Jobs from lines of JSON; empty lines are passed over.

    @param usual: what holds where a line says nothing; with an empty function, each has to name one.
    @raise CommandError: a line is no job, or one that cannot be sent.
    """
    for number, row in enumerate(rows, 1):
        if not row.strip():
            continue
        place = f"line {number}"
        try:
            wanted = replace(_from_object(json.loads(row, parse_constant=_no_constant), usual), place=place)
        except (ValueError, TypeError, RecursionError) as error:
            raise CommandError(f"{place}: {_why(error)}", MISUSED) from error
        yield checked(wanted, place)


def _from_object(found: Any, usual: Wanted) -> Wanted:
    if not isinstance(found, dict):
        raise ValueError('an object is wanted, such as {"function": "mail", "workload": "hello"}')
    for name in found.keys() - set(MEMBERS) - PASSED_OVER:
        raise ValueError(f"there is no {name[:100]!r}; there are {', '.join(MEMBERS)}")
    function = _bytes(found, "function") if "function" in found else usual.function
    if not function:
        raise ValueError("it names no function, and the command line does not either")
    policy = found.get("policy", {})
    if not isinstance(policy, dict):
        raise ValueError("policy: an object with settings is wanted")
    priority = found.get("priority", usual.priority)
    if priority not in PRIORITIES:
        raise ValueError(f"priority: one of {', '.join(PRIORITIES)} is wanted")
    when, delay = _time(found, "when", _moment), _time(found, "delay", duration)
    if when is None and delay is None:
        when, delay = usual.when, usual.delay
    return Wanted(
        function,
        _workload(found),
        _bytes(found, "unique") if "unique" in found else usual.unique,
        priority,
        when,
        delay,
        {**usual.policy, **policy},
    )


def _workload(found: Mapping[str, Any]) -> bytes:
    given = [name for name in ("workload", "base64", "json") if name in found]
    if len(given) > 1:
        raise ValueError(f"a job has one workload, not {' and '.join(given)}")
    if "json" in found:
        return json_bytes(found["json"])
    if "base64" in found:
        return b64decode(_bytes(found, "base64"), validate=True)
    return _bytes(found, "workload") if "workload" in found else b""


def _bytes(found: Mapping[str, Any], name: str) -> bytes:
    if not isinstance(found[name], str):
        raise ValueError(f"{name}: text is wanted")
    return str(found[name]).encode("utf-8", "surrogateescape")


def _moment(value: Any) -> float:
    # Relative to nothing: a time of the clock alone would be another day when the line is read again.
    if isinstance(value, str):
        if ":" in value and "-" not in value:
            raise ValueError("a date is wanted as well")
        return moment(value, 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("seconds since 1970 or a date and a time are wanted")
    return float(value)


def _time(found: Mapping[str, Any], name: str, read: Callable[[Any], float]) -> float | None:
    if found.get(name) is None:
        return None
    try:
        return read(found[name])
    except (ValueError, PolicyError) as error:
        raise ValueError(f"{name}: {error}") from error


def to_json_line(wanted: Wanted, outcome: str, why: str, handle: bytes | None) -> bytes:
    """
    A job as L{from_json_lines} reads it, byte by byte the same, and what became of it.

    @param why: what is wrong, in words.
    """
    said: dict[str, Any] = {"function": wanted.function.decode("utf-8", "surrogateescape")}
    try:
        said["workload"] = wanted.workload.decode("utf-8")
    except UnicodeDecodeError:
        said["base64"] = b64encode(wanted.workload).decode("ascii")
    if wanted.unique:
        said["unique"] = wanted.unique.decode("utf-8", "surrogateescape")
    if wanted.priority != "normal":
        said["priority"] = wanted.priority
    for name in ("when", "delay"):
        if getattr(wanted, name) is not None:
            said[name] = getattr(wanted, name)
    if wanted.policy:
        said["policy"] = dict(wanted.policy)
    said |= {"outcome": outcome, "why": why}
    if handle:
        said["handle"] = handle.decode("utf-8", "replace")
    # In ASCII: bytes of a name that are no text are halves of pairs, which UTF-8 cannot hold.
    return json.dumps(said).encode("ascii") + b"\n"
