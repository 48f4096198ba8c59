"""
What orders say, and their answers: a line of JSON, and bytes behind it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from txgear.broker.model import Peer
from txgear.broker.rights import ACTS
from txgear.errors import ServerError
from txgear.security.access import Rule
from txgear.server.guard import Guard
from txgear.server.visitors import VISITOR

MOST_BYTES: Final = 4 * 1024 * 1024
"""Bytes of what is asked, or answered, at the most: a database takes it in one row."""


class Letter(NamedTuple):
    """
    An order, or its answer.

    @ivar head: what JSON can say.
    @ivar parts: bytes that come with it.
    """

    head: Mapping[str, Any]
    parts: Sequence[bytes] = ()

    def to_bytes(self) -> bytes:
        """The letter as the store keeps it."""
        head = {**self.head, "sizes": [len(part) for part in self.parts]}
        return b"".join((json.dumps(head, separators=(",", ":")).encode("ascii"), b"\n", *self.parts))

    @classmethod
    def from_bytes(cls, data: bytes) -> Letter:
        """
        Read it.

        @raise ValueError: it is none.
        """
        line, _, rest = data.partition(b"\n")
        head = json.loads(line)
        parts, at = [], 0
        for size in head.pop("sizes"):
            parts.append(rest[at : at + size])
            at += size
        if at != len(rest):
            raise ValueError("its parts are not as long as it says")
        return cls(head, parts)


def refusal(error: ServerError) -> Letter:
    """The answer that says that something could not be done."""
    return Letter({"error": [error.code, error.text]})


def described(guard: Guard, peer: Peer) -> dict[str, Any]:
    """Who asks, and what that peer may do."""
    rules = guard.rules_of(peer)
    return {
        "identity": guard.login_of(peer).identity,
        "address": peer.address,
        "client_id": peer.client_id.decode("latin-1"),
        "rules": None
        if rules is None
        else [
            [rule.allow, sorted(rule.acts), None if rule.functions is None else list(rule.functions)]
            for rule in rules
        ],
    }


def visitor(guard: Guard, described: Mapping[str, Any]) -> Peer:
    """The peer that another server has described."""
    peer = Peer(VISITOR, described["address"])
    peer.client_id = described["client_id"].encode("latin-1")
    identity, rules = described["identity"], described["rules"]
    guard.vouched(
        peer,
        identity,
        None
        if rules is None
        else [
            Rule(allow, (identity,), ACTS.intersection(acts), None if names is None else tuple(names))
            for allow, acts, names in rules
        ],
    )
    return peer
