"""
What is wrong with a server, by thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from txgear.cli.base.quantities import age
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.cli.probe.ranges import Range, figure, number, parse_range

OK: Final = 0
WARNING: Final = 1
CRITICAL: Final = 2
UNKNOWN: Final = 3
"""The exit statuses of a plugin."""
NAMES: Final = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

COUNTED: Final = ("queued", "running", "waiting", "workers", "dead", "kept")
TIMED: Final = ("oldest",)
RECENT: Final = ("submitted_rate", "completed_rate", "failed_rate")
RECENT_TIMES: Final = ("wait_p50", "wait_p95", "run_p50", "run_p95")
FIGURES: Final = (*COUNTED, *TIMED, *RECENT, *RECENT_TIMES)
"""What a threshold can be for: members of a function, as the API has it."""
MOST_FUNCTIONS: Final = 100
"""Functions whose figures are told one by one; of more the sums are told."""


class Problem(NamedTuple):
    """
    Something that is wrong.

    @ivar status: L{WARNING}, L{CRITICAL} or L{UNKNOWN}.
    @ivar text: what, in a few words.
    """

    status: int
    text: str


@dataclass(frozen=True)
class Threshold:
    """
    Where a figure is not well any more.

    @ivar status: what it is then: L{WARNING} or L{CRITICAL}.
    @ivar figure: one of L{FIGURES}.
    @ivar pattern: of functions; C{*} for all.
    @ivar range: where it is well; C{None} for anywhere: it takes back what was said before.
    """

    status: int
    figure: str
    pattern: str
    range: Range | None


def parse_threshold(text: str, status: int, usual: str) -> Threshold:
    """
    @param text: C{[FIGURE[@PATTERN]=]RANGE}, such as C{100}, C{oldest=5m} or C{workers@mail.*=3:}. A range
        of just C{0} is none, as it is to check_gearman; C{0:0} is from nothing to nothing.
    @param usual: the figure where none is said.
    @raise CommandError: it is none.
    """
    target, equals, range = text.rpartition("=")
    name, at, pattern = target.partition("@")
    if not equals:
        name = usual
    if name not in FIGURES:
        raise CommandError(f"{text!r}: there is no figure {name!r}; there are {', '.join(FIGURES)}", MISUSED)
    if at and not pattern:
        raise CommandError(f"{text!r}: a pattern of functions is wanted after the @", MISUSED)
    return Threshold(status, name, pattern or "*", None if range == "0" else parse_range(range))


class Rules:
    """
    All thresholds; for a figure of a function the last one counts that is for it.

    @ivar figures: those that any is for.
    @ivar workers_wanted: whether it is critical that a function has no worker.
    """

    def __init__(self, thresholds: Sequence[Threshold], workers_wanted: bool = False) -> None:
        self._thresholds = thresholds
        self.figures = {each.figure for each in thresholds}
        self.workers_wanted = workers_wanted

    def of(self, function: str, figure: str) -> dict[int, Range]:
        """The ranges of a figure of a function, by what it is outside of them."""
        found = {
            each.status: each.range
            for each in self._thresholds
            if each.figure == figure and fnmatchcase(function, each.pattern)
        }
        return {status: range for status, range in found.items() if range is not None}

    def problems(self, function: Mapping[str, Any]) -> Iterator[Problem]:
        """What is wrong with a function."""
        name = function["function"]
        if function["queued"] and not function["workers"]:
            if function["paused"]:
                yield Problem(WARNING, f"{name} is paused, and {_jobs(function['queued'])}")
            else:
                yield Problem(CRITICAL, f"{name} has no worker, and {_jobs(function['queued'])}")
        elif self.workers_wanted and not function["workers"]:
            yield Problem(CRITICAL, f"{name} has no worker")
        for each in FIGURES:
            if each not in self.figures or (value := value_of(function, each)) is None:
                continue
            ranges = self.of(name, each)
            for status in (CRITICAL, WARNING):
                if status in ranges and ranges[status].wrong(value):
                    yield Problem(status, f"{name} has {each} {shown(each, value)} ({ranges[status]})")
                    break

    def figures_of(self, function: Mapping[str, Any], prefix: str) -> Iterator[str]:
        """A function's figures for programs that draw, those that always are and those of thresholds."""
        name = function["function"]
        for each in FIGURES:
            if each in (*COUNTED, *TIMED) or each in self.figures:
                value, ranges = value_of(function, each), self.of(name, each)
                if value is not None:
                    unit = "s" if each in (*TIMED, *RECENT_TIMES) else ""
                    yield figure(
                        f"{prefix}{name}_{each}", value, unit, ranges.get(WARNING), ranges.get(CRITICAL)
                    )


def _jobs(count: int) -> str:
    return "1 job waits" if count == 1 else f"{count} jobs wait"


def value_of(function: Mapping[str, Any], figure: str) -> float | None:
    """
    A figure of a function; where nothing waits the oldest is 0.

    @return: C{None} where it is not known.
    """
    value: float | None = function.get(figure)
    return 0.0 if value is None and figure in TIMED else value


def shown(figure: str, value: float) -> str:
    """A value for people."""
    return age(value) if figure in (*TIMED, *RECENT_TIMES) else number(value)


def of_server(ready: Mapping[str, Any], why: str) -> Iterator[Problem]:
    """
    What is wrong with the server as a whole.

    @param ready: what C{/ready} answers.
    @param why: why the store is away, if that is known.
    """
    if ready["store"] != "ok":
        yield Problem(CRITICAL, f"its store is away: {why}" if why else "its store is away")
    if ready["draining"] != "ok":
        yield Problem(WARNING, "it is about to end, and takes no jobs")


def missing(names: Sequence[str], functions: Sequence[Mapping[str, Any]], status: int) -> Iterator[Problem]:
    """Functions that are to be there, and are not."""
    known = {each["function"] for each in functions}
    return (Problem(status, f"there is no function {name}") for name in names if name not in known)


def sums(functions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What all of them come to; of the oldest the oldest."""
    found = {each: sum(function[each] for function in functions) for each in COUNTED}
    return {**found, "oldest": max((value_of(each, "oldest") or 0.0 for each in functions), default=0.0)}


def worst(problems: Sequence[Problem]) -> int:
    """
    The status of several problems: critical before unknown before a warning.
    """
    statuses = {problem.status for problem in problems}
    return next((status for status in (CRITICAL, UNKNOWN, WARNING) if status in statuses), OK)
