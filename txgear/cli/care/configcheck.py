"""
C{txgear config check}: check the server's file, and show what it says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from txgear.cli.care.access import access_document, allowed_to, identities, who_may
from txgear.quantities import MOST_SECONDS, duration_text, size_text

if TYPE_CHECKING:
    from txgear.daemon.config import Config
    from txgear.policies import Policy
    from txgear.server.schedules import Schedule

TIMES: Final = 3
"""Next times of a schedule that are shown."""
_TEXTS: Final[Mapping[str, Callable[[Any], str]]] = {
    **dict.fromkeys(("keep", "first", "most", "timeout", "lease", "expires", "unique_for"), duration_text),
    **dict.fromkeys(("bytes", "max_bytes"), size_text),
}
"""Settings that people write with units."""
_SAME_WAIT: Final = {"kind": "fixed", "most": MOST_SECONDS, "jitter": 0.0}
"""What is meant where a file has a time alone for C{backoff}."""


def settings(policy: Policy) -> Iterator[str]:
    """Lines with the settings of a policy, as they could stand in the file."""
    for name, value in policy.as_settings().items():
        yield f"  {name} = {_toml(name, value)}"


def _toml(name: str, value: Any) -> str:
    if isinstance(value, dict):
        if _SAME_WAIT.items() <= value.items():
            return _toml("first", value["first"])
        return f"{{ {', '.join(f'{key} = {_toml(key, inner)}' for key, inner in value.items())} }}"
    if value and name in _TEXTS:
        value = _TEXTS[name](value)
    return json.dumps(value, ensure_ascii=False)


def rules(config: Config) -> Iterator[str]:
    """Lines with each pattern and its policy, in the order of the file."""
    for pattern, _, policy in config.policies.rules:
        yield f"function {pattern}"
        yield from settings(policy)


def of_functions(config: Config, functions: Sequence[str]) -> Iterator[str]:
    """Lines with the policy of each of these functions, and with who may do what."""
    for function in functions:
        name = function.encode("utf-8", "surrogateescape")
        rule = config.policies.match(name)
        if rule is None:
            yield f"function {function}: no policy"
        else:
            yield f"function {function}: that of {rule[0]}"
            yield from settings(rule[1])
        yield from who_may(config.access, name)


def schedules(config: Config, now: float) -> Iterator[str]:
    """Lines with each schedule and its next times, in its time zone."""
    for schedule in config.schedules:
        name, function = schedule.name.decode("utf-8"), schedule.function.decode("utf-8")
        yield f"schedule {name}: {function} at {schedule.cron}"
        times = ", ".join(f"{at:%a %Y-%m-%d %H:%M:%S %Z}" for at in _next(schedule, now)) or "never"
        yield f"  next: {times}"


def _next(schedule: Schedule, now: float) -> list[datetime]:
    """Its next times, in its time zone."""
    zone = ZoneInfo(schedule.timezone)
    return [datetime.fromtimestamp(at, zone) for at in islice(schedule.times(now), TIMES)]


def as_lines(config: Config, file: str, functions: Sequence[str], now: float) -> Iterator[str]:
    """
    What a file says.

    @param file: its name.
    @param functions: say only what holds for these; none for all of it.
    """
    yield f"{file}: {config.summary}"
    if functions:
        yield from of_functions(config, functions)
    else:
        yield from rules(config)
        yield from schedules(config, now)
        yield from identities(config.access)
    yield from config.warnings


def as_document(config: Config, functions: Sequence[str], now: float) -> dict[str, Any]:
    """The same for programs."""
    found: dict[str, Any] = {"summary": config.summary, "warnings": list(config.warnings)}
    if functions:
        return {**found, "functions": [_of_function(config, function) for function in functions]}
    policies = [
        {"pattern": pattern, "settings": policy.as_settings()} for pattern, _, policy in config.policies.rules
    ]
    return {
        **found,
        "policies": policies,
        "schedules": [
            {
                "name": schedule.name.decode("utf-8"),
                "function": schedule.function.decode("utf-8"),
                "cron": str(schedule.cron),
                "timezone": schedule.timezone,
                "next": [at.isoformat() for at in _next(schedule, now)],
            }
            for schedule in config.schedules
        ],
        "identities": access_document(config.access),
    }


def _of_function(config: Config, function: str) -> dict[str, Any]:
    name = function.encode("utf-8", "surrogateescape")
    rule = config.policies.match(name)
    return {
        "function": function,
        "pattern": None if rule is None else rule[0],
        "settings": {} if rule is None else rule[1].as_settings(),
        "access": dict(allowed_to(config.access, name)),
    }
