"""
C{txgear access}: who may do what, by the server's file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

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
from txgear.cli.base.options import json_option
from txgear.cli.base.output import printable, write_json
from txgear.cli.base.statuses import DENIED, DONE, MISUSED, CommandError

if TYPE_CHECKING:
    from txgear.security.access import Access, Identity, Rule

OF_SERVER: Final = (AUDIT, HTTP, MANAGE, METRICS, PEERS, RELOAD, SETTINGS, SHUTDOWN)
STEER: Final = tuple(sorted(OPERATOR_ACTS - SERVER_ACTS))
OF_FUNCTIONS: Final = (SUBMIT, WORK, SEE, READ, *STEER)
"""The acts in the order in which they are shown."""


class Verdict(NamedTuple):
    """
    One decision.

    @ivar allowed: what it is.
    @ivar line: the line of the file with the rule that says so; C{None} for none.
    @ivar why: lines that say why.
    """

    allowed: bool
    line: int | None
    why: list[str]


def decided(access: Access, file: str, identity: str, act: str, function: str | None) -> Verdict:
    """
    Whether somebody may do something, and why.

    @param file: the name of the file with the rules.
    @raise CommandError: there is no such identity, or a function is wanted, or none.
    """
    from txgear.security.access import NOBODY, Access

    if identity != NOBODY and identity not in access.identities:
        known = ", ".join((*access.identities, NOBODY))
        raise CommandError(f"{file} has no identity {identity}; there are {known}")
    if (function is None) != (act in SERVER_ACTS):
        wanted = "is for no function" if act in SERVER_ACTS else "is for a function: name one"
        raise CommandError(f"{act} {wanted}", MISUSED)
    name = b"" if function is None else function.encode("utf-8", "surrogateescape")
    decision = access.decide(identity, act, name)
    rule = decision.rule
    why = []
    if rule is not None:
        why.append(f"{file}, line {rule.line}: {in_words(rule)}")
    elif access.rules:
        why.append("no rule allows it")
    else:
        why.append(f"{file} has no access rules: everybody may do anything")
    if rule is not None and not decision.allowed:
        allowing = Access(access.identities.values(), [each for each in access.rules if each.allow])
        if (other := allowing.decide(identity, act, name).rule) is not None:
            why.append(f"line {other.line} would allow it, but what is denied anywhere is denied")
    if act == SHUTDOWN and decision.allowed:
        why.append("the server has to be started with --allow-shutdown, too")
    return Verdict(decision.allowed, None if rule is None else rule.line, why)


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
    for identity, acts in allowed_to(access, function):
        yield f"  {identity} may {_in_short(acts)}"


def allowed_to(access: Access, function: bytes) -> Iterator[tuple[str, list[str]]]:
    """Each identity that may do something with a function, and what; none where there are no rules."""
    from txgear.security.access import NOBODY

    if access.rules:
        for identity in (*access.identities, NOBODY):
            acts = [act for act in OF_FUNCTIONS if access.decide(identity, act, function).allowed]
            if acts:
                yield identity, acts


def access_document(access: Access) -> list[dict[str, Any]]:
    """Each identity, and what it may do, for programs; none where everybody may do anything."""
    from txgear.security.access import NOBODY

    if access.is_empty:
        return []
    return [
        *(
            {"identity": each.name, "known_by": list(_known_by(each)), "quota": dict(_quota(each))}
            | _may_document(access, each.name)
            for each in access.identities.values()
        ),
        {"identity": NOBODY, "known_by": [], "quota": {}} | _may_document(access, NOBODY),
    ]


def _may_document(access: Access, identity: str) -> dict[str, Any]:
    of_functions, of_server = may(access, identity)
    return {
        "unbound": not access.rules,
        "functions": [{"functions": scope, "acts": acts} for scope, acts in of_functions.items()],
        "server": of_server,
    }


def _in_short(acts: Sequence[str]) -> str:
    """Acts of functions; the operators' have a word for all of them."""
    if set(STEER) <= set(acts):
        acts = [*(act for act in acts if act not in STEER), "steer"]
    return ", ".join(acts)


def _facts(identity: Identity) -> Iterator[str]:
    """How it is known, and what it may have."""
    yield from _known_by(identity)
    yield from (f"{name} {bound}" for name, bound in _quota(identity))


def _known_by(identity: Identity) -> Iterator[str]:
    for what, values in (
        ("certificate", identity.certificates),
        ("token", [token.id for token in identity.tokens]),
        ("address", identity.addresses),
    ):
        yield from (f"{what} {value}" for value in values)


def _quota(identity: Identity) -> Iterator[tuple[str, int | str]]:
    quota = identity.quota
    for name in ("connections", "queued", "running", "bytes"):
        if bound := getattr(quota, name):
            yield name, bound
    if quota.submits is not None:
        yield "submits", quota.submits.as_settings()["jobs"]


def may(access: Access, identity: str) -> tuple[dict[str, list[str]], list[str]]:
    """
    What an identity may do, where there are rules.

    @return: acts by the functions that they are for, in words; and acts on the server.
    """
    acts: dict[str, list[str]] = {}
    for act in OF_FUNCTIONS:
        if scope := _scope(access, identity, act):
            acts.setdefault(scope, []).append(act)
    return acts, [act for act in OF_SERVER if access.decide(identity, act).allowed]


def _may(access: Access, identity: str) -> Iterator[str]:
    """Lines with what an identity may do; acts for the same functions stand on one."""
    if not access.rules:
        yield "  everything: there are no access rules"
        return
    acts, of_server = may(access, identity)
    for scope, found in acts.items():
        yield f"  {_in_short(found)}: {scope}"
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


_config: Final = click.option("--config", "file", metavar="FILE", required=True, help="The server's file.")


@click.group(epilog="Example: txgear access check web submit mail.send --config /etc/txgear.toml")
def command() -> None:
    """See who may do what, by the server's file."""


@command.command(
    epilog="Example: txgear access check web submit mail.send --config /etc/txgear.toml\n\nExit statuses: 0"
    " it is allowed, 4 it is denied, 1 the file has a mistake or no such identity."
)
@click.argument("identity")
@click.argument("act", type=click.Choice((*OF_FUNCTIONS, *OF_SERVER)), metavar="ACT")
@click.argument("function", required=False)
@_config
@json_option
def check(file: str, identity: str, act: str, function: str | None, as_json: bool) -> int:
    """
    Say whether IDENTITY may do ACT, and which rule of the file says so. Who has not said who it is, is
    nobody.

    Most acts are for a FUNCTION: submit, work, see, read, and those that steer it, such as cancel, pause or
    purge. Others are for the server as a whole, such as settings, audit or shutdown. One that does not exist
    is answered with all of them.
    """
    from txgear.daemon.config import read_config

    found = decided(read_config(file).access, file, identity, act, function)
    if as_json:
        asked = {"identity": identity, "act": act, "function": function}
        write_json({**asked, **found._asdict()})
    else:
        what = act if function is None else f"{act} {function}"
        print(printable(f"{'allowed' if found.allowed else 'denied'}: {identity} {what}"))
        for line in found.why:
            print(printable(f"  {line}"))
    return DONE if found.allowed else DENIED


@command.command("show", epilog="Example: txgear access show --config /etc/txgear.toml")
@_config
@json_option
def show(file: str, as_json: bool) -> None:
    """List each identity, how it is known, what it may have, and what it may do."""
    from txgear.daemon.config import read_config

    access = read_config(file).access
    if as_json:
        write_json({"file": file, "identities": access_document(access)})
        return
    if access.is_empty:
        print(f"{file} has no identities and no access rules: everybody may do anything")
    for line in identities(access):
        print(printable(line))
