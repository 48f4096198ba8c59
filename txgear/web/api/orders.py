"""
What a request says of the job that it submits: its names, its workload, its time and its policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from txgear.broker.broker import Broker
from txgear.broker.model import Job, Peer
from txgear.broker.operators import inspection
from txgear.broker.rights import SUBMIT, allowed
from txgear.errors import InvalidArgument, PolicyError
from txgear.protocol.constants import HIGH, LOW, MAX_UNIQUE, NORMAL
from txgear.protocol.packets import Data
from txgear.protocol.traces import Trace
from txgear.quantities import LAST_SECOND, duration
from txgear.server.jobserver import JobServer
from txgear.web.answers import Problem

HEADERS: Final = "txgear-"
"""What the names of headers begin with that set something for one job, in lower case."""
MOST_SETTING: Final = 1000
"""Characters of one header that sets something for a job."""

PRIORITIES: Final = {"high": HIGH, "normal": NORMAL, "low": LOW}
Priority = Literal["high", "normal", "low"]
Unique = Annotated[
    str, Meta(max_length=MAX_UNIQUE, description="A name: a second submit of it joins the same job.")
]

Seconds = Annotated[float | str, Meta(description="Seconds, or words such as `90s`, `1.5h` and `30d`.")]
Moment = Annotated[
    float | str,
    Meta(description="A time by the wall clock: RFC 3339 with its offset, or seconds since 1970."),
]

_NUMBER: Final = re.compile(r"\d{1,15}(\.\d{1,6})?")


class RetriesByReason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Attempts after the first, by the reason that ended the last one."""

    fail: int | UnsetType = UNSET
    exception: int | UnsetType = UNSET
    timeout: int | UnsetType = UNSET
    silent: int | UnsetType = UNSET
    lost: int | UnsetType = UNSET


class BackoffTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The wait before the next attempt."""

    kind: str | UnsetType = UNSET
    first: float | str | UnsetType = UNSET
    most: float | str | UnsetType = UNSET
    jitter: float | UnsetType = UNSET


class RetentionTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """How long something is kept, and how much of it."""

    keep: float | str | UnsetType = UNSET
    jobs: int | UnsetType = UNSET
    bytes: int | str | UnsetType = UNSET


# Of fields, for the description. They stand here, as pydoctor takes text within an annotation for a type.
_Retries = Annotated[
    int | RetriesByReason | UnsetType,
    Meta(description="Attempts after the first, in all or by the reason that ended the last one."),
]
_Backoff = Annotated[
    float | str | BackoffTable | UnsetType,
    Meta(description="The wait before the next attempt: a time, or `kind`, `first`, `most` and `jitter`."),
]
_Dead = Annotated[
    float | str | RetentionTable | UnsetType,
    Meta(description="How long to keep a job without attempts left: a time, or `keep`, `jobs`, `bytes`."),
]
_Timeout = Annotated[float | str | UnsetType, Meta(description="A time for one attempt; 0 for no bound.")]
_Lease = Annotated[
    float | str | UnsetType, Meta(description="How long a worker that can beat may be silent.")
]
_Expires = Annotated[
    float | str | UnsetType, Meta(description="A time in which the job must begin; 0 for no bound.")
]
_Results = Annotated[
    float | str | RetentionTable | UnsetType,
    Meta(description="How long to keep the result: a time, or `keep`, `jobs`, `bytes`."),
]
_UniqueFor = Annotated[
    float | str | UnsetType, Meta(description="How long the unique stays taken when the job is done.")
]


class JobPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What is to hold for one job, over the policy of its function: see the pages about policies."""

    retries: _Retries = UNSET
    backoff: _Backoff = UNSET
    dead: _Dead = UNSET
    timeout: _Timeout = UNSET
    lease: _Lease = UNSET
    expires: _Expires = UNSET
    results: _Results = UNSET
    unique_for: _UniqueFor = UNSET


SETTINGS: Final = tuple(field.name for field in msgspec.structs.fields(JobPolicy))
"""What can be set for a job."""


def header_name(setting: str) -> str:
    """The header that sets this: C{Txgear-Unique-For} for C{unique_for}."""
    return f"Txgear-{setting.replace('_', '-').title()}"


_SETTINGS_BY_HEADER: Final = {header_name(name).lower(): name for name in SETTINGS}


_RetriesHeader = Annotated[str | None, Meta(examples=["3", '{"lost": 10, "fail": 2}'])]
_BackoffHeader = Annotated[str | None, Meta(examples=["30s", '{"kind": "linear", "first": "10s"}'])]
_ResultsHeader = Annotated[str | None, Meta(examples=["1d", '{"keep": "1d", "bytes": "10M"}'])]
_TimeHeader = Annotated[str | None, Meta(examples=["5m", "90"])]


_Traceparent = Annotated[
    str | None, Meta(examples=["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
]
_Tracestate = Annotated[str | None, Meta(examples=["vendor=value"])]


class TraceHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """Where the work on the job belongs, in the form of the W3C; what has another is passed over."""

    traceparent: _Traceparent = None
    tracestate: _Tracestate = None


class PolicyHeaders(
    TraceHeaders,
    frozen=True,
    kw_only=True,
    rename={name: header_name(name) for name in SETTINGS},
):
    """
    What is to hold for the job, over the policy of its function: text, a number or a JSON object; and where
    the work on it belongs.
    """

    retries: _RetriesHeader = None
    backoff: _BackoffHeader = None
    dead: _TimeHeader = None
    timeout: _TimeHeader = None
    lease: _TimeHeader = None
    expires: _TimeHeader = None
    results: _ResultsHeader = None
    unique_for: _TimeHeader = None


class Order(NamedTuple):
    """
    A job that is asked for.

    @ivar function: its name.
    @ivar unique: what it is called; empty for nothing.
    @ivar priority: L{HIGH}, L{NORMAL} or L{LOW}.
    @ivar due: seconds since 1970 before which it must not begin, by the wall clock; 0.0 for at once.
    @ivar delay: seconds before which it must not begin.
    @ivar settings: what is to hold for it, by name; C{None} for nothing.
    """

    function: bytes
    unique: bytes
    workload: Data
    priority: int
    due: float
    delay: float
    settings: dict[str, Any] | None


# Reading


def named_function(broker: Broker, peer: Peer, name: bytes) -> bytes:
    """
    The function that somebody submits to: a known one that is shown so, or the one that is called so.

    @param name: as it was sent.
    @raise AccessDenied: the peer may not submit to either.
    """
    names = allowed(peer, SUBMIT, inspection.readings(name))
    return inspection.known_function(broker, names) or (name if name in names else names[0])


def moment(value: float | str) -> float:
    """
    Seconds since 1970, from such a number or from RFC 3339.

    @raise InvalidArgument: it is no time, has no offset, or is beyond the year 9999.
    """
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            seconds = float(text)
        else:
            # In a query an unescaped + before the offset has become a space.
            head, space, offset = text.rpartition(" ")
            if space and "T" in head.upper():
                text = f"{head}+{offset}"
            try:
                found = msgspec.convert(text, datetime)
            except msgspec.ValidationError:
                found = None
            if found is None or found.tzinfo is None:
                raise InvalidArgument(
                    "when: a time with its offset is wanted, such as 2030-01-31T12:00:00+01:00, or seconds"
                    " since 1970"
                )
            seconds = found.timestamp()
    else:
        seconds = value
    if not 0 <= seconds <= LAST_SECOND:
        raise InvalidArgument("when: a time from 1970 to the end of the year 9999 is wanted")
    return seconds


def seconds_of(name: str, value: float | str) -> float:
    """
    Seconds, from a number or from words.

    @param name: what the value is for.
    @raise InvalidArgument: it is no time.
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    try:
        return duration(value)
    except PolicyError as error:
        raise InvalidArgument(f"{name}: {error}") from error


def settings_in_headers(headers: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """
    What the headers of a request set for its job.

    @param headers: all of them: names, and values as text.
    @return: by the names of settings. The values are not looked at.
    @raise Problem: a header that begins with C{Txgear-} is none of L{PolicyHeaders}, is there twice, or is no
        JSON where it looks like that.
    """
    found: dict[str, Any] = {}
    for name, value in headers:
        if not name.lower().startswith(HEADERS):
            continue
        setting = _SETTINGS_BY_HEADER.get(name.lower())
        if setting is None:
            known = ", ".join(map(header_name, SETTINGS))
            raise Problem(400, "unknown_setting", f"There is no such header for a job; there are {known}")
        if setting in found:
            raise Problem(400, "repeated_setting", f"{header_name(setting)} is there more than once")
        found[setting] = _value(header_name(setting), value.strip())
    return found


def _value(name: str, value: str) -> Any:
    """The value of a header: a number or a JSON object where it looks like one."""
    if len(value) > MOST_SETTING:
        raise Problem(400, "invalid_setting", f"{name} has more than {MOST_SETTING} characters")
    if not (value.startswith("{") or _NUMBER.fullmatch(value)):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem(400, "invalid_setting", f"{name} is no JSON: {error}") from error


def settings_of(policy: JobPolicy | UnsetType) -> dict[str, Any]:
    """The settings of a policy that are there, by name."""
    if policy is UNSET:
        return {}
    found: dict[str, Any] = msgspec.to_builtins(policy)
    return found


def order(
    function: bytes,
    unique: str,
    workload: Data,
    priority: Priority,
    when: float | str | None,
    delay: float | str | None,
    settings: dict[str, Any],
) -> Order:
    """
    What a job is to be.

    @param unique: as it was sent.
    @param when: see L{moment}.
    @param delay: see L{seconds_of}.
    @raise InvalidArgument: something of it makes no sense.
    """
    name = unique.encode("utf-8")
    if b"\0" in function + name:
        # A NUL separates arguments in the packets to workers.
        raise InvalidArgument("Functions and uniques hold no NUL")
    if when is not None and delay is not None:
        raise InvalidArgument("delay: a job has a time or a delay, not both")
    return Order(
        function,
        name,
        workload,
        PRIORITIES[priority],
        0.0 if when is None else moment(when),
        0.0 if delay is None else seconds_of("delay", delay),
        settings or None,
    )


def submit(
    server: JobServer, peer: Peer, wanted: Order, background: bool, trace: Trace | None = None
) -> tuple[Job, bool]:
    """
    Hand an order to the broker. The answer to it comes as packets, once C{server.created} is told; the turn
    is not ended.

    @param trace: where the work on it belongs, for its workers.
    @return: the job, and whether it was there before.
    @raise ServerError: it is not taken.
    """
    if wanted.due:
        server.wall_clock()
    before = server.broker.table.last_number
    job = server.broker.submit(
        peer,
        wanted.function,
        wanted.unique,
        wanted.workload,
        server.seconds(),
        wanted.priority,
        background,
        wanted.due,
        settings=wanted.settings,
        delay=wanted.delay,
        trace=trace,
    )
    return job, job.number <= before
