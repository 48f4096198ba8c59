"""
Identities, and the rules of what they may do.

A rule allows or denies some acts to some identities, for some functions or for all. Where there is a rule,
all that no rule allows is denied; and what any rule denies is denied, whatever stands before or behind it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from txgear.broker.rights import ACTS, OPERATOR_ACTS, SUBMIT
from txgear.broker.tenants import Quota
from txgear.policies import compiled_pattern
from txgear.security.addresses import Range, Ranges
from txgear.security.certificates import CertificateNames
from txgear.security.tokens import Token, Tokens

NOBODY: Final = "nobody"
"""Who has not identified itself. Only a rule with this very name is for it, and no pattern."""

GROUPS: Final[Mapping[str, frozenset[str]]] = {"steer": OPERATOR_ACTS, "all": ACTS}
"""Words that stand for several acts. In a rule for some functions they stand for those that are for one."""

MOST_KNOWN: Final = 10_000
"""Decisions that are remembered of one identity; each takes some 200 bytes."""


@dataclass(frozen=True)
class Identity:
    """
    Somebody whom the operator knows.

    @ivar name: what rules, lists and logs call it.
    @ivar certificates: what a client certificate is to say, in the field that counts.
    @ivar tokens: any of them will do.
    @ivar addresses: where it comes from. Who comes from there needs nothing else.
    @ivar quota: what it may have at once.
    """

    name: str
    certificates: tuple[str, ...] = ()
    tokens: tuple[Token, ...] = ()
    addresses: tuple[Range, ...] = ()
    quota: Quota = field(default_factory=Quota)


@dataclass(frozen=True)
class Rule:
    """
    One rule.

    @ivar allow: whether it allows; otherwise it denies.
    @ivar identities: names, or patterns of them.
    @ivar acts: some of L{ACTS}.
    @ivar functions: names of functions, or patterns; C{None} for all, and for acts that are for no function.
    @ivar line: where it stands in the file; 0 where it stands in none.
    """

    allow: bool
    identities: tuple[str, ...]
    acts: frozenset[str]
    functions: tuple[str, ...] | None = None
    line: int = 0

    def is_for(self, identity: str) -> bool:
        """Whether this identity is one of those."""
        if identity == NOBODY:
            return NOBODY in self.identities
        return any(fnmatch.fnmatchcase(identity, pattern) for pattern in self.identities)


class Decision(NamedTuple):
    """
    What comes of the rules.

    @ivar allowed: whether it may be done.
    @ivar rule: the rule that decided; C{None} where there is none that is for this.
    """

    allowed: bool
    rule: Rule | None


class _Compiled(NamedTuple):
    """A rule of which only the function is to be looked at."""

    rule: Rule
    functions: list[re.Pattern[bytes]] | None

    @classmethod
    def of(cls, rule: Rule) -> _Compiled:
        patterns = None if rule.functions is None else [compiled_pattern(each) for each in rule.functions]
        return cls(rule, patterns)

    def covers(self, act: str, function: bytes) -> bool:
        if act not in self.rule.acts:
            return False
        return self.functions is None or any(pattern.fullmatch(function) for pattern in self.functions)


class Access:
    """
    All identities and all rules. It does not change: where the file is read again, another one takes its
    place.

    @ivar identities: by name.
    @ivar rules: in the order of the file. Where there is none, everybody may do anything.
    @ivar certificate_field: which field of a client certificate counts; C{None} where none does.
    @ivar is_empty: whether nothing is asked of anybody.
    @ivar admits_nobody: whether a connection may do anything at all before it has identified itself.
    """

    def __init__(
        self,
        identities: Iterable[Identity] = (),
        rules: Sequence[Rule] = (),
        certificate_field: str | None = None,
    ) -> None:
        self.identities = {identity.name: identity for identity in identities}
        self.rules = tuple(rules)
        self.certificate_field = certificate_field
        # Once for all identities: to compile a pattern takes a tenth of a millisecond.
        self._compiled = [_Compiled.of(rule) for rule in self.rules]
        self.is_empty = not (self.identities or self.rules)
        self.admits_nobody = not self.rules or any(rule.allow and rule.is_for(NOBODY) for rule in self.rules)
        everybody = self.identities.values()
        self._tokens = Tokens()
        for each in everybody:
            for token in each.tokens:
                self._tokens.add(each.name, token)
        self._ranges = Ranges((range_, each.name) for each in everybody for range_ in each.addresses)
        self._certificates = {value: each.name for each in everybody for value in each.certificates}

    # Who is it?

    def by_token(self, token: Token) -> str | None:
        """The identity whose token this is; comparing takes the same time whatever it is."""
        return self._tokens.owner(token)

    def by_address(self, address: str) -> str | None:
        """The identity whose range this address is in, of several the smallest."""
        return self._ranges.find(address)

    def by_certificate(self, names: CertificateNames) -> list[str]:
        """
        The identities that a certificate, which was verified, names in the field that counts. Of more than
        one nobody knows which is meant: none is.
        """
        if self.certificate_field is None:
            return []
        values = names.values(self.certificate_field)
        return sorted({self._certificates[value] for value in values if value in self._certificates})

    def token(self, token_id: str) -> Token | None:
        """What is kept of the token with an ID; C{None} where there is none."""
        return self._tokens.get(token_id)

    @property
    def has_tokens(self) -> bool:
        """Whether anybody has one."""
        return len(self._tokens) > 0

    # What may it do?

    def rules_for(self, identity: str) -> Decisions:
        """The rules for one identity; there are none for one that is not known any more."""
        known = identity == NOBODY or identity in self.identities
        return Decisions(
            [each for each in self._compiled if known and each.rule.is_for(identity)], bool(self.rules)
        )

    def decide(self, identity: str, act: str, function: bytes = b"") -> Decision:
        """Whether an identity may do something, and which rule says so."""
        return self.rules_for(identity).decide(act, function)


class Decisions:
    """
    The rules for one identity.

    @ivar any: whether there are rules at all, be they for others.
    """

    def __init__(self, rules: Sequence[_Compiled] = (), any: bool = False) -> None:
        self.any = any
        self._denies = [each for each in rules if not each.rule.allow]
        self._allows = [each for each in rules if each.rule.allow]

    def decide(self, act: str, function: bytes = b"") -> Decision:
        """As in L{Access.decide}."""
        if not self.any:
            return Decision(True, None)
        for each in self._denies:
            if each.covers(act, function):
                return Decision(False, each.rule)
        for each in self._allows:
            if each.covers(act, function):
                return Decision(True, each.rule)
        return Decision(False, None)


class IdentityRights:
    """
    The L{Rights<txgear.broker.model.Rights>} of one identity, for all its peers. They change when the rules
    do, at once for all of them.

    @ivar identity: the identity's name.
    @ivar submits: functions of which it is known that it may submit jobs of them.
    """

    __slots__ = ("_decisions", "_known", "identity", "submits")

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self._decisions = Decisions(any=True)
        # A decision may take many patterns, and is asked for with each job.
        self._known: dict[tuple[str, bytes], bool] = {}
        self.submits: set[bytes] = set()

    def replace(self, decisions: Decisions) -> None:
        """From now on these hold."""
        self._decisions = decisions
        self._forget()

    def may(self, act: str, function: bytes = b"") -> bool:
        """Part of L{Rights<txgear.broker.model.Rights>}."""
        known = self._known.get((act, function))
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._forget()
            known = self._known[act, function] = self._decisions.decide(act, function).allowed
            if known and act == SUBMIT:
                self.submits.add(function)
        return known

    def _forget(self) -> None:
        self._known.clear()
        self.submits.clear()
