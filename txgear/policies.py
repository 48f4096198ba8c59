"""
Policies: what the operator has set for functions, and a client for one job.

A policy is made of settings by name, as they stand in the operator's file and
in the options of a submit. A setting that nobody set is off: a server without
policies keeps to the classic protocol.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from reprlib import repr as brief
from typing import Any, Final

from txgear.errors import PolicyError
from txgear.quantities import (
    MOST_BYTES,
    MOST_SECONDS,
    count,
    duration,
    fraction,
    interval,
    rate_text,
    size,
)

FAIL: Final = "fail"
"""The worker said WORK_FAIL."""
EXCEPTION: Final = "exception"
"""The worker said WORK_EXCEPTION."""
TIMEOUT: Final = "timeout"
"""The attempt took longer than it may."""
SILENT: Final = "silent"
"""The worker has not beaten for the time of its lease."""
LOST: Final = "lost"
"""The worker went away with the job."""

REASONS: Final = (FAIL, EXCEPTION, TIMEOUT, SILENT, LOST)
"""How an attempt can end without a result."""

SHORTEST_LEASE: Final = 1.0
"""Seconds of a lease at the least: its worker beats a few times in it."""

CLUSTER: Final = "cluster"
"""A rate and a concurrency are for all servers of a cluster together; so it is where nothing is said."""
SERVER: Final = "server"
"""They are for each server by itself."""

FORMER_NAMES: Final = {"once": "unique_for"}
"""Today's names of settings by the names that an earlier version had for them: both are taken."""

_FORMER: Final = {name: former for former, name in FORMER_NAMES.items()}

MOST_KEY: Final = 100
"""Characters of an unknown key that an error quotes at the most."""


def former_names(settings: Mapping[str, Any]) -> list[str]:
    """The earlier names that are used in these settings."""
    return [name for name in FORMER_NAMES if name in settings]


def to_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a store keeps them: under their earliest names, which every version reads."""
    return {_FORMER.get(name, name): value for name, value in settings.items()}


def from_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that L{to_stored} was given, under today's names."""
    return {FORMER_NAMES.get(name, name): value for name, value in settings.items()}


def _parse_table(value: Any, keys: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """
    The values in a table, by today's names of their keys.

    @param keys: what makes the value of each key that the table may have.
    @raise PolicyError: it is no table, has a key that is not known, or a value that makes no sense.
    """
    if not isinstance(value, Mapping):
        raise PolicyError("", f"a table with {', '.join(keys)} is wanted, not {brief(value)}")
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = FORMER_NAMES[key] if key in FORMER_NAMES else str(key)
        if name not in keys:
            raise PolicyError(name[:MOST_KEY], f"there is no such setting; there are {', '.join(keys)}")
        if name != key and name in value:
            raise PolicyError(key, f"this is {name} under its earlier name, and {name} is set as well")
        try:
            found[name] = keys[name](item)
        except PolicyError as error:
            raise error.within(key) from None
    return found


@dataclass(frozen=True)
class Retries:
    """
    How often a job is tried again.

    @ivar total: attempts after the first at the most, whatever ended them; C{None} where each reason
        counts by itself.
    @ivar each: by reason, how many attempts may end with it and be followed by another.
    """

    total: int | None = 0
    each: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: Any) -> Retries:
        """
        Read a number for all reasons together, or a table with a number for each; a reason that is not
        in it has 0.
        """
        if isinstance(value, Mapping):
            return cls(None, _parse_table(value, dict.fromkeys(REASONS, count)))
        return cls(count(value))

    def left(self, ended: Mapping[str, int], reason: str) -> bool:
        """
        Whether there is another attempt.

        @param ended: how many attempts have ended, by reason, the last one included.
        @param reason: how the last one ended.
        """
        if self.total is not None:
            return sum(ended.values()) <= self.total
        return ended.get(reason, 0) <= self.each.get(reason, 0)

    def as_settings(self) -> Any:
        """The value as it could stand in a file."""
        return self.total if self.total is not None else dict(self.each)


def _kind(value: Any) -> str:
    if value not in ("fixed", "linear", "exponential"):
        raise PolicyError("", f"one of fixed, linear and exponential is wanted, not {brief(value)}")
    return str(value)


@dataclass(frozen=True)
class Backoff:
    """
    How long a job waits for its next attempt.

    @ivar kind: C{fixed}: as long each time; C{linear}: C{first}, twice that, three
        times; C{exponential}: C{first}, twice that, four times.
    @ivar first: seconds before the second attempt.
    @ivar most: seconds at the most.
    @ivar jitter: the part of it that chance takes off at the most, 0 to 1: jobs that failed together
        are not to come again together.
    """

    kind: str = "exponential"
    first: float = 10.0
    most: float = 3600.0
    jitter: float = 0.1

    @classmethod
    def parse(cls, value: Any) -> Backoff:
        """Read a table, or a time, which is the same after each attempt."""
        if isinstance(value, Mapping):
            found = cls(
                **_parse_table(
                    value, {"kind": _kind, "first": duration, "most": duration, "jitter": fraction}
                )
            )
            if found.first > found.most:
                if "most" in value:
                    raise PolicyError("most", f"it is less than first, which is {brief(value.get('first'))}")
                found = replace(found, most=found.first)
            return found
        return cls("fixed", duration(value), MOST_SECONDS, 0.0)

    def delay(self, attempt: int, chance: float) -> float:
        """
        Seconds to wait.

        @param attempt: how many attempts have ended; 1 or more.
        @param chance: a random number from 0 to 1.
        """
        seconds = self.first
        if self.kind == "linear":
            seconds *= attempt
        elif self.kind == "exponential":
            # Beyond 2**64 every first is over every most.
            seconds *= 2.0 ** min(attempt - 1, 64)
        return min(seconds, self.most) * (1.0 - self.jitter * chance)

    def as_settings(self) -> Any:
        """The value as it could stand in a file."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True)
class Retention:
    """
    How long ended jobs are kept, and how many of them; the oldest go first.

    @ivar keep: seconds from the end of the job.
    @ivar jobs: jobs at the most; 0 for no bound.
    @ivar bytes: bytes of their workloads or results at the most; 0 for no bound.
    """

    keep: float
    jobs: int = 0
    bytes: int = 0

    @classmethod
    def parse(cls, value: Any) -> Retention:
        """Read a table, or a time alone, which sets no bounds."""
        found = cls._settings(value)
        if "keep" not in found:
            raise PolicyError("keep", "the time is missing")
        return cls(**found)

    def with_settings(self, value: Any) -> Retention:
        """
        The same, but for what the settings say.

        @raise PolicyError: they make no sense.
        """
        return replace(self, **self._settings(value))

    @staticmethod
    def _settings(value: Any) -> dict[str, Any]:
        if isinstance(value, Mapping):
            return _parse_table(value, {"keep": duration, "jobs": count, "bytes": size})
        return {"keep": duration(value)}

    def as_settings(self) -> Any:
        """The value as it could stand in a file."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


DEAD: Final = Retention(30 * 86400.0, 100_000, 1 << 30)
"""The default for dead jobs: nobody is to run out of disk by it."""

CEILING: Final = Retention(30 * 86400.0, 100_000, 1 << 30)
"""
The default bounds, over all functions together, of what is kept because jobs ask for it by settings of
their own: any client may do so.
"""


@dataclass(frozen=True)
class Rate:
    """
    How fast jobs may start: a token bucket.

    @ivar interval: seconds from one token to the next.
    @ivar burst: tokens that the bucket holds; 1 or more.
    """

    interval: float
    burst: int

    @classmethod
    def parse(cls, value: Any) -> Rate:
        """
        Read a rate such as C{10/s}, or a table with such a rate as C{jobs}, and C{burst}. Without that
        the bucket holds the tokens of a tenth of a second, and 1 at least.
        """
        burst = 0
        if isinstance(value, Mapping):
            found = _parse_table(value, {"jobs": interval, "burst": count})
            if "jobs" not in found:
                raise PolicyError("jobs", "the rate is missing")
            seconds, burst = found["jobs"], found.get("burst", 0)
        else:
            seconds = interval(value)
        return cls(seconds, burst or max(1, int(0.1 / seconds)))

    def as_settings(self) -> Any:
        """The value as it could stand in a file."""
        return {"jobs": rate_text(self.interval), "burst": self.burst}


@dataclass(frozen=True)
class Policy:
    """
    Everything that can be set for a function.

    @ivar retries: whether and how often a job that ended without a result is tried again; C{None}
        for the classic rules.
    @ivar backoff: how long such a job waits for its next attempt.
    @ivar dead: how background jobs are kept that have no attempt left.
    @ivar timeout: seconds for one attempt, 0.0 for no bound.
    @ivar lease: seconds that a worker that can beat may be silent, 0.0 for no bound.
    @ivar expires: seconds from the submit in which a job must begin, 0.0 for no bound.
    @ivar results: how the results of background jobs are kept; C{None} for not at all.
    @ivar unique_for: seconds for which the unique of a job that is done stays taken.
    @ivar rate: how fast jobs may start; C{None} for no bound.
    @ivar concurrency: jobs that may run at once; 0 for no bound.
    @ivar max_queue: jobs, of whatever state, at which submits are refused; 0 for no bound.
    @ivar max_bytes: bytes of their workloads that are not exceeded; 0 for no bound.
    @ivar turns: whether jobs of one priority are handed out in turns between the identities that submitted
        them.
    @ivar scope: L{SERVER} where each server of a cluster has the rate and the concurrency for itself; empty
        where they are for all together.
    """

    retries: Retries | None = None
    backoff: Backoff = Backoff()
    dead: Retention = DEAD
    timeout: float = 0.0
    lease: float = 0.0
    expires: float = 0.0
    results: Retention | None = None
    unique_for: float = 0.0
    rate: Rate | None = None
    concurrency: int = 0
    max_queue: int = 0
    max_bytes: int = 0
    turns: bool = False
    scope: str = ""

    def with_settings(self, settings: Mapping[str, Any], for_job: bool = False) -> Policy:
        """
        The same policy, but for what the settings say.

        @param for_job: whether they are the settings of one job; a function can have more of them.
        @raise PolicyError: a setting is not known or makes no sense.
        """
        return replace(self, **_parse_table(settings, _JOB_SETTINGS if for_job else _FUNCTION_SETTINGS))

    def with_job_settings(self, settings: Mapping[str, Any], ceiling: Retention) -> Policy:
        """
        The policy of one job that has settings of its own.

        @param ceiling: what they may ask to be kept; more is kept where the function's policy says so.
        @raise PolicyError: a setting is not known or makes no sense.
        """
        found = self.with_settings(settings, for_job=True)
        results = found.results
        if results is not None and results is not self.results:
            most = self.results or ceiling
            keep = min(results.keep, max(most.keep, ceiling.keep))
            largest = max(most.bytes or MOST_BYTES, ceiling.bytes or MOST_BYTES)
            results = replace(results, keep=keep, bytes=min(results.bytes or MOST_BYTES, largest))
        dead = replace(found.dead, keep=min(found.dead.keep, max(self.dead.keep, ceiling.keep)))
        unique_for = min(found.unique_for, max(self.unique_for, ceiling.keep))
        return replace(found, results=results, dead=dead, unique_for=unique_for)

    def as_settings(self) -> dict[str, Any]:
        """The settings that are not off, by name, as they could stand in a file."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        if self.retries is None:
            del found["backoff"], found["dead"]
        return {
            name: value.as_settings() if hasattr(value, "as_settings") else value
            for name, value in found.items()
            if value
        }


def _lease(value: Any) -> float:
    """
    Seconds of a lease.

    @raise PolicyError: it is no time, or so short that workers could hardly beat so often.
    """
    seconds = duration(value)
    if 0 < seconds < SHORTEST_LEASE:
        raise PolicyError("", f"0 for none is wanted, or {SHORTEST_LEASE:g} s or more, not {brief(value)}")
    return seconds


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise PolicyError("", f"true or false is wanted, not {brief(value)}")
    return value


def _scope(value: Any) -> str:
    if value not in (CLUSTER, SERVER):
        raise PolicyError("", f"{CLUSTER} or {SERVER} is wanted, not {brief(value)}")
    return SERVER if value == SERVER else ""


_JOB_SETTINGS: Final[dict[str, Callable[[Any], Any]]] = {
    "retries": Retries.parse,
    "backoff": Backoff.parse,
    "dead": DEAD.with_settings,
    "timeout": duration,
    "lease": _lease,
    "expires": duration,
    "results": Retention.parse,
    "unique_for": duration,
}

_FUNCTION_SETTINGS: Final[dict[str, Callable[[Any], Any]]] = {
    **_JOB_SETTINGS,
    "rate": Rate.parse,
    "concurrency": count,
    "max_queue": count,
    "max_bytes": size,
    "turns": _yes_or_no,
    "scope": _scope,
}

CLASSIC: Final = Policy()
"""The policy of a function that has none."""


def compiled_pattern(pattern: str) -> re.Pattern[bytes]:
    """
    What matches the whole names that a pattern of functions stands for, in bytes.

    @param pattern: as the shell has them (C{*}, C{?}, C{[abc]}).
    """
    return re.compile(fnmatch.translate(pattern).encode("utf-8"), re.DOTALL)


class Policies:
    """
    The policies of all functions, by patterns: the first pattern that a function's name matches counts,
    and no other.

    @ivar rules: each pattern, as text and compiled, and its policy, in the order of the file.
    @ivar ceiling: bounds of what is kept because jobs ask for it by settings of their own.
    """

    def __init__(self, rules: Iterable[tuple[str, Policy]] = (), ceiling: Retention = CEILING) -> None:
        """
        @param rules: patterns as the shell has them (C{*}, C{?}, C{[abc]}), each with its policy.
        """
        self.ceiling = ceiling
        self.rules = [(pattern, compiled_pattern(pattern), policy) for pattern, policy in rules]

    def match(self, function: bytes) -> tuple[str, Policy] | None:
        """The pattern that counts for a function, and its policy; C{None} if none matches."""
        for pattern, compiled, policy in self.rules:
            if compiled.fullmatch(function):
                return pattern, policy
        return None

    def policy_for(self, function: bytes) -> Policy | None:
        """The policy of a function; C{None} if it has none."""
        found = self.match(function)
        return None if found is None else found[1]
