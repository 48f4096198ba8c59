"""
What the operator set for functions, and a client for one job of its own.

A policy is made of settings by name, as they stand in the operator's file and
in the options of a submit. What is not set is off: a server without policies
keeps to the classic protocol.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from reprlib import repr as brief
from typing import Any, Final

from txgear.errors import TxgearError

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

MOST_SECONDS: Final = 10 * 365 * 86400.0
"""Ten years: a time that is longer is a mistake."""
SHORTEST_LEASE: Final = 1.0
"""Seconds."""
MOST_COUNT: Final = 10**9
"""No bound that anybody means is larger."""
MOST_BYTES: Final = 2**50
"""A pebibyte."""

FORMER_NAMES: Final = {"once": "unique_for"}
"""Settings that were called otherwise in an earlier version, by those names: they are taken under both."""

_FORMER: Final = {name: former for former, name in FORMER_NAMES.items()}

MOST_KEY: Final = 100
"""Characters that are said of a key that is not known."""

_DURATION: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) *(ms|s|m|h|d)?")
_RATE_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS: Final = {"ms": 0.001, **_RATE_UNITS}
_SIZE: Final = re.compile(r"(\d{1,15}) *(?:([KMGT])(?:iB)?)?", re.IGNORECASE)
_RATE: Final = re.compile(r"(\d{1,9}) */ *(s|m|h|d)")


def former_names(settings: Mapping[str, Any]) -> list[str]:
    """Those of the settings that stand there under an earlier name."""
    return [name for name in FORMER_NAMES if name in settings]


def to_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """
    Settings as a store keeps them, under their earliest names: every version since then can read it.
    """
    return {_FORMER.get(name, name): value for name, value in settings.items()}


def from_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The other way round."""
    return {FORMER_NAMES.get(name, name): value for name, value in settings.items()}


class PolicyError(TxgearError):
    """
    A setting makes no sense.

    @ivar key: its name, with those of the tables that it stands in before it.
    @ivar problem: what is wrong with it.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}" if key else problem)
        self.key = key
        self.problem = problem

    def within(self, table: str) -> PolicyError:
        """The same mistake, seen from outside of a table."""
        return PolicyError(f"{table}.{self.key}" if self.key else table, self.problem)


# Values


def duration(value: Any) -> float:
    """
    Seconds, from a number or from words such as C{90s}, C{1.5h} and C{30d}.

    @raise PolicyError: it is no time, or longer than L{MOST_SECONDS}.
    """
    seconds = -1.0
    if isinstance(value, str) and (found := _DURATION.fullmatch(value)):
        seconds = float(found[1]) * _UNITS[found[2] or "s"]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    if not 0 <= seconds <= MOST_SECONDS:
        raise PolicyError(
            "", f"a time is wanted, such as 90, '90s', '1.5h' or '30d', up to ten years, not {brief(value)}"
        )
    return float(seconds)


def size(value: Any) -> int:
    """
    Bytes, from a number or from words such as C{64K} and C{1GiB}.

    @raise PolicyError: it is no size, or larger than L{MOST_BYTES}.
    """
    number = -1
    if isinstance(value, str) and (found := _SIZE.fullmatch(value)):
        number = int(found[1]) << 10 * " KMGT".index((found[2] or " ").upper())
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    if not 0 <= number <= MOST_BYTES:
        raise PolicyError("", f"bytes are wanted, such as 65536, '64K' or '1G', not {brief(value)}")
    return number


def count(value: Any) -> int:
    """
    @raise PolicyError: it is no whole number from 0 to L{MOST_COUNT}.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_COUNT:
        raise PolicyError("", f"a whole number from 0 to {MOST_COUNT} is wanted, not {brief(value)}")
    return value


def share(value: Any) -> float:
    """
    @raise PolicyError: it is no number from 0 to 1.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise PolicyError("", f"a number from 0 to 1 is wanted, not {brief(value)}")
    return float(value)


def _table(value: Any, keys: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """
    The values of a table's keys.

    @raise PolicyError: it is no table, has a key that is not known, or a value that makes no sense.
    """
    if not isinstance(value, Mapping):
        raise PolicyError("", f"a table with {', '.join(keys)} is wanted, not {brief(value)}")
    found: dict[str, Any] = {}
    for key, inner in value.items():
        name = FORMER_NAMES[key] if key in FORMER_NAMES else str(key)
        if name not in keys:
            raise PolicyError(name[:MOST_KEY], f"there is no such setting; there are {', '.join(keys)}")
        if name != key and name in value:
            raise PolicyError(key, f"this is {name} under its earlier name, and {name} is set as well")
        try:
            found[name] = keys[name](inner)
        except PolicyError as error:
            raise error.within(key) from None
    return found


@dataclass(frozen=True)
class Retries:
    """
    How often a job is tried again.

    @ivar total: attempts after the first, whatever ended them; C{None} where each reason counts by itself.
    @ivar each: by reason, how many attempts may end with it and be followed by another.
    """

    total: int | None = 0
    each: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: Any) -> Retries:
        """A number for all reasons together, or a table with one for each; what is not in it is 0."""
        if isinstance(value, Mapping):
            return cls(None, _table(value, dict.fromkeys(REASONS, count)))
        return cls(count(value))

    def left(self, ended: Mapping[str, int], reason: str) -> bool:
        """
        Whether there is another attempt.

        @param ended: how many have ended, by reason, this one included.
        @param reason: how this one did.
        """
        if self.total is not None:
            return sum(ended.values()) <= self.total
        return ended.get(reason, 0) <= self.each.get(reason, 0)

    def shown(self) -> Any:
        """As it stands in a file."""
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
    @ivar jitter: up to which share of it chance takes off, so that jobs that failed together do
        not come again together; 0 to 1.
    """

    kind: str = "exponential"
    first: float = 10.0
    most: float = 3600.0
    jitter: float = 0.1

    @classmethod
    def parse(cls, value: Any) -> Backoff:
        """A table, or a time, which is the same after each attempt."""
        if isinstance(value, Mapping):
            found = cls(
                **_table(value, {"kind": _kind, "first": duration, "most": duration, "jitter": share})
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

        @param attempt: how many have ended; 1 or more.
        @param chance: from 0 to 1, at random.
        """
        seconds = self.first
        if self.kind == "linear":
            seconds *= attempt
        elif self.kind == "exponential":
            # Beyond 2**64 every first is over every most.
            seconds *= 2.0 ** min(attempt - 1, 64)
        return min(seconds, self.most) * (1.0 - self.jitter * chance)

    def shown(self) -> Any:
        """As it stands in a file."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True)
class Retention:
    """
    How long and how many ended jobs of a function are kept; what is oldest goes first.

    @ivar keep: seconds from the end.
    @ivar jobs: how many at the most; 0 for no bound.
    @ivar bytes: of their workloads or results at the most; 0 for no bound.
    """

    keep: float
    jobs: int = 0
    bytes: int = 0

    @classmethod
    def parse(cls, value: Any) -> Retention:
        """A table, or a time alone, which has no bounds."""
        found = cls._settings(value)
        if "keep" not in found:
            raise PolicyError("keep", "the time is missing")
        return cls(**found)

    def changed(self, value: Any) -> Retention:
        """The same, but for what is set."""
        return replace(self, **self._settings(value))

    @staticmethod
    def _settings(value: Any) -> dict[str, Any]:
        if isinstance(value, Mapping):
            return _table(value, {"keep": duration, "jobs": count, "bytes": size})
        return {"keep": duration(value)}

    def shown(self) -> Any:
        """As it stands in a file."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


DEAD: Final = Retention(30 * 86400.0, 100_000, 1 << 30)
"""How the dead are kept, where nothing else is said: nobody is to run out of disk by default."""


CEILING: Final = Retention(30 * 86400.0, 100_000, 1 << 30)
"""
What is kept of jobs because of their own settings, over all functions, where the operator says nothing
else: any client may ask for it.
"""


@dataclass(frozen=True)
class Rate:
    """
    How fast jobs may start: a token bucket.

    @ivar interval: seconds in which a token comes.
    @ivar burst: tokens that the bucket holds; 1 or more.
    """

    interval: float
    burst: int

    @classmethod
    def parse(cls, value: Any) -> Rate:
        """
        C{10/s}, C{100/m}, C{1000/h}, C{5/d}; or a table with C{jobs} and C{burst}. The
        bucket holds what a tenth of a second brings, and 1 at least, where nothing else is said.
        """
        burst = 0
        if isinstance(value, Mapping):
            found = _table(value, {"jobs": _rate, "burst": count})
            if "jobs" not in found:
                raise PolicyError("jobs", "the rate is missing")
            interval, burst = found["jobs"], found.get("burst", 0)
        else:
            interval = _rate(value)
        return cls(interval, burst or max(1, int(0.1 / interval)))

    def shown(self) -> Any:
        """As it could stand in a file."""
        # One of them makes it a whole number: the one with which it was said.
        jobs = next(
            f"{round(seconds / self.interval)}/{unit}"
            for unit, seconds in _RATE_UNITS.items()
            if abs(seconds / self.interval - round(seconds / self.interval)) < 1e-6
        )
        return {"jobs": jobs, "burst": self.burst}


def _rate(value: Any) -> float:
    """Seconds for one job."""
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not int(found[1]):
        raise PolicyError(
            "",
            "jobs in a time are wanted, such as '10/s', '100/m' or '5/d', of 1 to 999999999 jobs,"
            f" not {brief(value)}",
        )
    return _RATE_UNITS[found[2]] / int(found[1])


@dataclass(frozen=True)
class Policy:
    """
    All that can be set for a function.

    @ivar retries: whether and how often a job that ended without a result is tried again; C{None}
        for the classic rules.
    @ivar backoff: how long it waits for that.
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

    def changed(self, settings: Mapping[str, Any], of_job: bool = False) -> Policy:
        """
        The same policy, but for what the settings say.

        @param of_job: whether they are those of one job: some are a function's only.
        @raise PolicyError: a setting is not known or makes no sense.
        """
        return replace(self, **_table(settings, _OF_JOB if of_job else _OF_FUNCTION))

    def with_own(self, settings: Mapping[str, Any], ceiling: Retention) -> Policy:
        """
        What holds for a job that has settings of its own.

        @param ceiling: what these may ask to keep; more is kept where the function's policy says so.
        @raise PolicyError: a setting is not known or makes no sense.
        """
        found = self.changed(settings, of_job=True)
        results = found.results
        if results is not None and results is not self.results:
            most = self.results or ceiling
            keep = min(results.keep, max(most.keep, ceiling.keep))
            largest = max(most.bytes or MOST_BYTES, ceiling.bytes or MOST_BYTES)
            results = replace(results, keep=keep, bytes=min(results.bytes or MOST_BYTES, largest))
        dead = replace(found.dead, keep=min(found.dead.keep, max(self.dead.keep, ceiling.keep)))
        unique_for = min(found.unique_for, max(self.unique_for, ceiling.keep))
        return replace(found, results=results, dead=dead, unique_for=unique_for)

    def shown(self) -> dict[str, Any]:
        """All settings that are in force, by name, as they could stand in a file."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        if self.retries is None:
            del found["backoff"], found["dead"]
        return {
            name: value.shown() if hasattr(value, "shown") else value
            for name, value in found.items()
            if value
        }


def _lease(value: Any) -> float:
    """
    @raise PolicyError: workers could hardly beat so often.
    """
    seconds = duration(value)
    if 0 < seconds < SHORTEST_LEASE:
        raise PolicyError("", f"0 for none is wanted, or {SHORTEST_LEASE:g} s or more, not {brief(value)}")
    return seconds


_OF_JOB: Final[dict[str, Callable[[Any], Any]]] = {
    "retries": Retries.parse,
    "backoff": Backoff.parse,
    "dead": DEAD.changed,
    "timeout": duration,
    "lease": _lease,
    "expires": duration,
    "results": Retention.parse,
    "unique_for": duration,
}

_OF_FUNCTION: Final[dict[str, Callable[[Any], Any]]] = {
    **_OF_JOB,
    "rate": Rate.parse,
    "concurrency": count,
    "max_queue": count,
    "max_bytes": size,
}

CLASSIC: Final = Policy()
"""The policy of a function that has none."""


class Policies:
    """
    What is set for which functions: the first pattern that a function's name
    matches is the one that counts.

    @ivar ceiling: what all jobs together may have kept by settings of their own.
    """

    def __init__(self, rules: Iterable[tuple[str, Policy]] = (), ceiling: Retention = CEILING) -> None:
        """
        @param rules: patterns in the shell's manner (C{*}, C{?}, C{[abc]}), each with its policy.
        """
        self.ceiling = ceiling
        self.rules = [
            (pattern, re.compile(fnmatch.translate(pattern).encode("utf-8"), re.DOTALL), policy)
            for pattern, policy in rules
        ]

    def rule(self, function: bytes) -> tuple[str, Policy] | None:
        """The pattern that counts for a function, and its policy; C{None} if none matches."""
        for pattern, matches, policy in self.rules:
            if matches.fullmatch(function):
                return pattern, policy
        return None

    def of(self, function: bytes) -> Policy | None:
        """The policy of a function, or C{None}."""
        rule = self.rule(function)
        return None if rule is None else rule[1]
