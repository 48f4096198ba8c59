"""
C{txgear access}: who may do what, by the server's file.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from txgear.broker.rights import (
    ACTS,
    AUDIT,
    HTTP,
    MANAGE,
    METRICS,
    OPERATOR_ACTS,
    PEERS,
    READ,
    RELOAD,
    SEE,
    SERVER_ACTS,
    SETTINGS,
    SHUTDOWN,
    SUBMIT,
    WORK,
)
from txgear.cli.arguments import Parser
from txgear.errors import ConfigurationError

if TYPE_CHECKING:
    from txgear.daemon.config import Config
    from txgear.security.access import Access, Identity, Rule

DENIED: Final = 3
"""The exit status of C{check} for what is denied; 1 is a mistake."""

OF_SERVER: Final = (AUDIT, HTTP, MANAGE, METRICS, PEERS, RELOAD, SETTINGS, SHUTDOWN)
STEER: Final = tuple(sorted(OPERATOR_ACTS - SERVER_ACTS))
OF_FUNCTIONS: Final = (SUBMIT, WORK, SEE, READ, *STEER)
"""The acts in the order in which they are shown."""

CHECK: Final = (
    "The exit status is 0 if it is allowed, 3 if it is denied, and 1 if the file has a mistake, or no such"
    " identity."
)


def parser() -> Parser:
    """The parser of the command line."""
    made = Parser(prog="txgear access", description="See who may do what.", allow_abbrev=False)
    commands = made.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    check = commands.add_parser(
        "check",
        help="say whether somebody may do something, and which rule says so",
        description="Say whether somebody may do something, and which rule of the file says so.",
        epilog=CHECK,
        allow_abbrev=False,
    )
    check.add_argument("identity", metavar="IDENTITY", help="a name; nobody is who has not identified itself")
    check.add_argument("act", metavar="ACT", help=f"one of {', '.join((*OF_FUNCTIONS, *OF_SERVER))}")
    check.add_argument(
        "function",
        metavar="FUNCTION",
        nargs="?",
        help=f"the function's name, except for {', '.join(OF_SERVER)}",
    )
    show = commands.add_parser(
        "show",
        help="list who may do what",
        description="List each identity, how it is known, what it may have, and what it may do.",
        allow_abbrev=False,
    )
    for command in (check, show):
        command.add_argument("--config", metavar="FILE", required=True, help="the server's file")
    return made


# One decision


def check(config: Config, given: Namespace) -> int:
    """
    Print whether somebody may do something, and why.

    @return: the exit status.
    @raise ConfigurationError: there is no such identity or act.
    """
    from txgear.security.access import NOBODY, Access

    access, identity, act = config.access, given.identity, given.act
    if identity != NOBODY and identity not in access.identities:
        known = ", ".join((*access.identities, NOBODY))
        raise ConfigurationError(f"{given.config} has no identity {identity}; there are {known}")
    if act not in ACTS:
        known = ", ".join((*OF_FUNCTIONS, *OF_SERVER))
        raise ConfigurationError(f"there is no act {act}; there are {known}")
    if (given.function is None) != (act in SERVER_ACTS):
        wanted = "is for no function" if act in SERVER_ACTS else "is for a function: name one"
        raise ConfigurationError(f"{act} {wanted}")
    function = b"" if given.function is None else given.function.encode("utf-8", "surrogateescape")
    decision = access.decide(identity, act, function)
    what = act if given.function is None else f"{act} {given.function}"
    print(f"{'allowed' if decision.allowed else 'denied'}: {identity} {what}")
    if decision.rule is not None:
        print(f"  {given.config}, line {decision.rule.line}: {in_words(decision.rule)}")
    elif access.rules:
        print("  no rule allows it")
    else:
        print(f"  {given.config} has no access rules: everybody may do anything")
    if decision.rule is not None and not decision.allowed:
        allowing = Access(access.identities.values(), [rule for rule in access.rules if rule.allow])
        if (other := allowing.decide(identity, act, function).rule) is not None:
            print(f"  line {other.line} would allow it, but what is denied anywhere is denied")
    if act == SHUTDOWN and decision.allowed:
        print("  the server has to be started with --allow-shutdown, too")
    return 0 if decision.allowed else DENIED


def in_words(rule: Rule) -> str:
    """What a rule says."""
    acts = ", ".join(act for act in (*OF_FUNCTIONS, *OF_SERVER) if act in rule.acts)
    if rule.acts == ACTS:
        acts = "all"
    functions = "" if rule.functions is None else f" of {', '.join(rule.functions)}"
    to = "allows" if rule.allow else "denies"
    return f"{to} {', '.join(rule.identities)}: {acts}{functions}"


# Everything


def identities(access: Access) -> Iterator[str]:
    """Lines with each identity, and what it may do."""
    from txgear.security.access import NOBODY

    if access.is_empty:
        return
    for identity in access.identities.values():
        facts = ", ".join(_facts(identity))
        yield f"identity {identity.name}: {facts}" if facts else f"identity {identity.name}"
        yield from _may(access, identity.name)
    yield NOBODY
    yield from _may(access, NOBODY)


def who_may(access: Access, function: bytes) -> Iterator[str]:
    """Lines with each identity that may do something with a function."""
    from txgear.security.access import NOBODY

    if access.rules:
        for identity in (*access.identities, NOBODY):
            acts = [act for act in OF_FUNCTIONS if access.decide(identity, act, function).allowed]
            if acts:
                yield f"  {identity} may {_in_short(acts)}"


def _in_short(acts: Sequence[str]) -> str:
    """Acts of functions; the operators' have a word for all of them."""
    if set(STEER) <= set(acts):
        acts = [*(act for act in acts if act not in STEER), "steer"]
    return ", ".join(acts)


def _facts(identity: Identity) -> Iterator[str]:
    """How it is known, and what it may have."""
    for what, values in (
        ("certificate", identity.certificates),
        ("token", [token.id for token in identity.tokens]),
        ("address", identity.addresses),
    ):
        yield from (f"{what} {value}" for value in values)
    quota = identity.quota
    for name in ("connections", "queued", "running", "bytes"):
        if bound := getattr(quota, name):
            yield f"{name} {bound}"
    if quota.submits is not None:
        yield f"submits {quota.submits.as_settings()['jobs']}"


def _may(access: Access, identity: str) -> Iterator[str]:
    """Lines with what an identity may do; acts for the same functions stand on one."""
    if not access.rules:
        yield "  everything: there are no access rules"
        return
    acts: dict[str, list[str]] = {}
    for act in OF_FUNCTIONS:
        if scope := _scope(access, identity, act):
            acts.setdefault(scope, []).append(act)
    for scope, found in acts.items():
        yield f"  {_in_short(found)}: {scope}"
    of_server = [act for act in OF_SERVER if access.decide(identity, act).allowed]
    if of_server:
        yield f"  {', '.join(of_server)}"
    if not acts and not of_server:
        yield "  nothing"


def _scope(access: Access, identity: str, act: str) -> str:
    """For which functions an identity may do something, in words; empty for none."""
    from txgear.daemon.patterns import covers

    rules = [rule for rule in access.rules if act in rule.acts and rule.is_for(identity)]
    denied = _patterns(rule for rule in rules if not rule.allow)
    allowed = [
        pattern
        for pattern in _patterns(rule for rule in rules if rule.allow)
        if not any(covers(other, pattern) for other in denied)
    ]
    if "*" in allowed:
        allowed = ["*"]
    denied = [pattern for pattern in denied if any(_meet(pattern, other) for other in allowed)]
    if not allowed:
        return ""
    words = "all functions" if allowed == ["*"] else ", ".join(allowed)
    return f"{words}, but not {', '.join(denied)}" if denied else words


def _patterns(rules: Iterator[Rule]) -> list[str]:
    """The patterns of functions of some rules, each once."""
    return list(dict.fromkeys(pattern for rule in rules for pattern in rule.functions or ("*",)))


def _meet(denied: str, allowed: str) -> bool:
    """
    Whether a pattern may deny something of another one, all of which it does not deny.
    """
    from txgear.daemon.patterns import covers, is_plain

    if is_plain(allowed):
        return False
    if is_plain(denied):
        return covers(allowed, denied)
    one, other = (re.split(r"[*?[]", pattern, maxsplit=1)[0] for pattern in (denied, allowed))
    return one.startswith(other) or other.startswith(one)


def run(arguments: Sequence[str]) -> int:
    """
    Say what the file allows.

    @param arguments: the words after C{txgear access}.
    @return: the exit status.
    @raise ConfigurationError: the file cannot be read or has a mistake; or what is asked for is not known.
    """
    given = parser().parse_args(arguments)
    from txgear.daemon.config import read_config

    config = read_config(given.config)
    if given.command == "check":
        return check(config, given)
    if config.access.is_empty:
        print(f"{given.config} has no identities and no access rules: everybody may do anything")
    for line in identities(config.access):
        print(line)
    return 0
