"""
C{txgear config check}: check the server's file, and show what it says.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from txgear.cli.access import identities, who_may
from txgear.cli.arguments import Parser

if TYPE_CHECKING:
    from txgear.daemon.config import Config
    from txgear.policies import Policy
    from txgear.server.schedules import Schedule

TIMES: Final = 3
"""Next times of a schedule that are shown."""

EPILOG: Final = (
    "If there are mistakes, the first one of each table is a line, and the exit status is 1. A rule that"
    " never counts is no mistake."
)


def parser(name: str) -> Parser:
    """
    The parser of the command line.

    @param name: what the command is called by.
    """
    made = Parser(
        prog=name,
        description="Check a file for the server's --config, and show what is in it.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    made.add_argument("file", metavar="FILE", help="the TOML file")
    made.add_argument(
        "functions",
        metavar="FUNCTION",
        nargs="*",
        default=[],
        help="show only which policy these have, and who may do what with them",
    )
    return made


def settings(policy: Policy) -> Iterator[str]:
    """Lines with the settings of a policy, as they could stand in the file."""
    for name, value in policy.as_settings().items():
        yield f"  {name} = {_toml(value)}"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_toml(inner)}' for name, inner in value.items())} }}"
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
        yield f"  next: {_next(schedule, now)}"


def _next(schedule: Schedule, now: float) -> str:
    zone = ZoneInfo(schedule.timezone)
    times = islice(schedule.times(now), TIMES)
    return ", ".join(f"{datetime.fromtimestamp(at, zone):%a %Y-%m-%d %H:%M:%S %Z}" for at in times) or "never"


def run(arguments: Sequence[str], name: str = "txgear config check") -> int:
    """
    Check the file, and print what is in it.

    @param arguments: the words after the command's name.
    @param name: that name.
    @return: the exit status.
    @raise ConfigurationError: the file cannot be read, or is no TOML.
    """
    given = parser(name).parse_args(arguments)
    from txgear.daemon.config import ConfigMistakes, read_config

    try:
        config = read_config(given.file)
    except ConfigMistakes as error:
        for line in error.lines:
            print(f"{name}: {line}", file=sys.stderr)
        return 1
    print(f"{given.file}: {config.summary}")
    if given.functions:
        lines = list(of_functions(config, given.functions))
    else:
        lines = [*rules(config), *schedules(config, time.time()), *identities(config.access)]
    for line in (*lines, *config.warnings):
        print(line)
    return 0
