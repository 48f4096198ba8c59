"""
The tables of the operator's file that say who may do what: C{login}, C{identity} and C{access}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from txgear.broker.rights import ACTS, SERVER_ACTS
from txgear.broker.tenants import Quota
from txgear.daemon.tables import Mistake, array, checked, collected, line_of, string
from txgear.errors import PolicyError
from txgear.policies import Rate
from txgear.protocol.constants import MAX_FUNCTION
from txgear.quantities import brief, count, size
from txgear.security.access import GROUPS, NOBODY, Access, Identity, Rule
from txgear.security.addresses import UNIX, network
from txgear.security.certificates import DNS, FIELDS
from txgear.security.tokens import Token, check_no_token

MOST_TOKENS: Final = 2
"""Tokens of an identity at the most: the old and the new one, while they are changed."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADER: Final = re.compile(r"[ \t]*\[\[[ \t]*access[ \t]*\]\]")


def access_of(text: str, tables: Mapping[str, Any], mistakes: list[Mistake]) -> Access:
    """
    Read identities and rules.

    @param text: the file.
    @param tables: what it says.
    @param mistakes: takes the mistakes; what is returned then is not to be used.
    """
    field = None
    with collected(mistakes, "login"):
        field = _login(tables.get("login", {}))
    identities: dict[str, Identity] = {}
    owners: dict[object, str] = {}
    for number, table in array(tables, "identity", mistakes):
        with collected(mistakes, "identity", number):
            identity = _identity(table, field)
            if identity.name in identities:
                raise PolicyError("name", "another identity above has this name")
            _claim(identity, owners)
            identities[identity.name] = identity
    found = list(array(tables, "access", mistakes))
    lines = _lines(text, tables, len(found))
    rules: list[Rule] = []
    for (number, table), line in zip(found, lines, strict=True):
        with collected(mistakes, "access", number):
            rules.append(_rule(table, line))
    return Access(identities.values(), rules, field)


def _lines(text: str, tables: Mapping[str, Any], rules: int) -> list[int]:
    """
    The lines on which the rules begin. A look for each would take half a second for fifty of them, and the
    server stands still meanwhile.
    """
    lines = [number for number, line in enumerate(text.split("\n"), 1) if _HEADER.match(line)]
    if len(lines) == rules:
        return lines
    # One array in brackets, or a text that looks like it.
    return [line_of(text, tables, ["access", number]) for number in range(rules)]


def _settings(table: Any, known: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """
    What stands in a table, checked.

    @raise PolicyError: something does not belong there, or makes no sense.
    """
    if not isinstance(table, dict):
        raise PolicyError("", f"a table is wanted, not {brief(table)}")
    for key in table:
        if key not in known:
            raise PolicyError(key, f"there is no such setting; there are {', '.join(known)}")
    # In the order of the file: the first mistake is the one that is told.
    return {key: checked(key, known[key], value) for key, value in table.items()}


def _login(table: Any) -> str | None:
    found = _settings(table, {"certificate": _field})
    return found.get("certificate")


def _field(value: Any) -> str:
    if value not in FIELDS:
        raise ValueError(f"one of {', '.join(FIELDS)} is wanted, not {brief(value)}")
    return str(value)


# Identities


def _identity(table: Mapping[str, Any], field: str | None) -> Identity:
    found = _settings(table, _IDENTITY)
    if "name" not in found:
        raise PolicyError("name", "it is missing")
    if found.get("certificates") and field is None:
        raise PolicyError(
            "certificates",
            "which field of a certificate is meant? certificate in the table [login] is to say one of"
            f" {', '.join(FIELDS)}",
        )
    if field == DNS:
        found["certificates"] = tuple(name.lower() for name in found.get("certificates", ()))
    quota = {key: found.pop(key) for key in _QUOTA if key in found}
    return Identity(**found, quota=Quota(**quota))


def _claim(identity: Identity, owners: dict[object, str]) -> None:
    """
    See to it that nothing stands for two identities.

    @param owners: the name of the identity that each certificate, token and range stands for.
    """
    claims: list[tuple[str, object, str]] = [
        *(("certificates", ("certificate", each), repr(each)) for each in identity.certificates),
        *(("tokens", ("token", each.id), f"the token {each.id}") for each in identity.tokens),
        *(("addresses", ("range", each), str(each)) for each in identity.addresses),
    ]
    for key, claim, what in claims:
        if claim in owners:
            raise PolicyError(key, f"{what} stands for {owners[claim]} already")
        owners[claim] = identity.name


def _identity_name(value: Any) -> str:
    check_no_token(string(value))
    if _NAME.fullmatch(value) is None:
        raise ValueError(f"1 to 64 letters, digits, dots, underscores or dashes are wanted, not {value!r}")
    if value == NOBODY:
        raise ValueError(f"{NOBODY} is whoever has not identified itself")
    return str(value)


def _list(each: Callable[[Any], Any], most: int | None = None) -> Callable[[Any], tuple[Any, ...]]:
    """
    A check for a list.

    @param each: the check of its values.
    @param most: how many there may be.
    """

    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            # It is not repeated: it may be a secret.
            raise ValueError("a list is wanted, in brackets")
        if most is not None and len(value) > most:
            raise ValueError(f"{most} at the most are wanted, not {len(value)}")
        return tuple(dict.fromkeys(each(item) for item in value))

    return check


def _some(each: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    """The same, for one that is not to be empty."""
    check = _list(each)

    def check_some(value: Any) -> tuple[Any, ...]:
        if value == []:
            raise ValueError("the list is empty")
        return check(value)

    return check_some


def _certificate(value: Any) -> str:
    if not 0 < len(string(value)) <= 255:
        raise ValueError("1 to 255 characters are wanted")
    check_no_token(value)
    return str(value)


def _range(value: Any) -> Any:
    if string(value) == UNIX:
        return UNIX
    try:
        return network(value)
    except ValueError as error:
        raise ValueError(
            f"{value!r} is no address, no network such as 10.1.0.0/16, and not {UNIX}: {error}"
        ) from error


_QUOTA: Final[dict[str, Callable[[Any], Any]]] = {
    "connections": count,
    "queued": count,
    "running": count,
    "bytes": size,
    "submits": Rate.parse,
}

_IDENTITY: Final[dict[str, Callable[[Any], Any]]] = {
    "name": _identity_name,
    "certificates": _list(_certificate),
    "tokens": _list(Token.parse, MOST_TOKENS),
    "addresses": _list(_range),
    **_QUOTA,
}
"""The settings of an identity, each with what makes its value."""


# Rules


def _rule(table: Mapping[str, Any], line: int) -> Rule:
    found = _settings(table, _RULE)
    if "identities" not in found:
        raise PolicyError("identities", "it is missing; a list of names or patterns is wanted")
    if ("allow" in found) == ("deny" in found):
        raise PolicyError("allow", "what is allowed is wanted, or what is denied as deny; not both")
    key = "allow" if "allow" in found else "deny"
    functions = found.get("functions")
    acts: set[str] = set()
    for word in found[key]:
        group = GROUPS.get(word)
        if group is not None:
            acts |= group if functions is None else group - SERVER_ACTS
        elif functions is not None and word in SERVER_ACTS:
            raise PolicyError(key, f"{word} is for no function; it wants a rule without functions")
        else:
            acts.add(word)
    return Rule(key == "allow", found["identities"], frozenset(acts), functions, line)


def _act(value: Any) -> str:
    if string(value) not in ACTS and value not in GROUPS:
        raise ValueError(f"there is no act {value!r}; there are {', '.join(sorted(ACTS))}, steer and all")
    return str(value)


def _pattern(value: Any) -> str:
    if not 0 < len(string(value).encode("utf-8")) <= MAX_FUNCTION:
        raise ValueError(f"1 to {MAX_FUNCTION} bytes are wanted")
    check_no_token(value)
    return str(value)


_RULE: Final[dict[str, Callable[[Any], Any]]] = {
    "identities": _some(_pattern),
    "allow": _some(_act),
    "deny": _some(_act),
    "functions": _some(_pattern),
}
"""The settings of a rule, each with what makes its value."""
