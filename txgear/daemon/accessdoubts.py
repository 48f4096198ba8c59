"""
What is valid in identities and rules, and surely not meant.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Final

from txgear.daemon.patterns import covers
from txgear.security.access import NOBODY, Access, Rule

MOST_NAMED: Final = 10
"""Identities that a line names."""


def doubts(access: Access, name: str) -> Iterator[str]:
    """
    Where there are no rules, nothing is to be said of them.

    @param name: how to call the file.
    @return: a line for each thing.
    """
    unknown = [
        identity.name
        for identity in access.identities.values()
        if not (identity.certificates or identity.tokens or identity.addresses)
    ]
    if unknown:
        yield f"{name}: nobody can be {_few(unknown)}: without certificates, tokens and addresses"
    if not access.rules:
        return
    named = [_named(rule, access) for rule in access.rules]
    allowed: set[str] = set().union(
        *(names for rule, names in zip(access.rules, named, strict=True) if rule.allow)
    )
    if idle := [known for known in access.identities if known not in allowed]:
        yield f"{name}: no rule allows anything to {_few(idle)}"
    for rule in access.rules:
        for pattern in rule.identities:
            if pattern != NOBODY and not fnmatch.filter(access.identities, pattern):
                yield f"{name}, line {rule.line}: there is no identity {pattern!r}"
    yield from (f"{name}, {text}" for text in _swallowed(access.rules, named))


def _few(names: list[str]) -> str:
    """Names for a line, or the first ones of them."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _named(rule: Rule, access: Access) -> set[str]:
    """The identities that a rule is for."""
    found = {NOBODY} if NOBODY in rule.identities else set()
    return found.union(*(fnmatch.filter(access.identities, pattern) for pattern in rule.identities))


# Rules that allow what others deny


def _swallowed(rules: tuple[Rule, ...], named: list[set[str]]) -> Iterator[str]:
    """
    Lines about rules of which all is denied by others.

    @param named: the identities that each rule is for.
    """
    denying = [(rule, names) for rule, names in zip(rules, named, strict=True) if not rule.allow]
    for rule, names in zip(rules, named, strict=True):
        if not (rule.allow and names):
            continue
        denied = [
            (other.line, names & others, pairs)
            for other, others in denying
            if names & others and (pairs := _denied(rule, other))
        ]
        wanted = {(act, function) for act in rule.acts for function in _functions(rule)}
        if all(
            wanted.issubset(pair for _, others, pairs in denied if name in others for pair in pairs)
            for name in names
        ):
            lines = [str(line) for line, *_ in denied]
            who = f"line {lines[0]} denies" if len(lines) == 1 else f"lines {' and '.join(lines)} deny"
            yield f"line {rule.line} never counts: {who} all that it allows"


def _functions(rule: Rule) -> tuple[str, ...]:
    """The patterns of functions that a rule is for. What is for no function is never denied for some only."""
    return ("*",) if rule.functions is None else rule.functions


def _denied(rule: Rule, other: Rule) -> set[tuple[str, str]]:
    """What of a rule another one denies: acts, each with a pattern of functions."""
    acts = rule.acts & other.acts
    if not acts:
        return set()
    functions = [
        function
        for function in _functions(rule)
        if other.functions is None or any(covers(pattern, function) for pattern in other.functions)
    ]
    return {(act, function) for act in acts for function in functions}
