"""
Tokens: what a client or worker holds to say who it is, and what the server keeps of it.

A token is C{txg_ID_SECRET}. The ID finds it, and may stand in lists and logs. The secret is 256 random bits,
so nobody guesses it, and no slow hash has to protect it. The server keeps C{ID:SHA256HEX}, the SHA-256 of the
whole token, ID included: who reads the server's file cannot log in, and a digest counts for its own ID only.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from txgear.errors import PolicyError

ID_LENGTH: Final = 8
"""Characters of an ID: of a million tokens hardly two have the same."""
SECRET_BYTES: Final = 32
"""Random bytes of a secret, which are written as 43 characters."""

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_TOKEN: Final = re.compile(rb"txg_([a-z0-9]{%d})_[A-Za-z0-9_-]{43}" % ID_LENGTH)
_STORED: Final = re.compile(rf"([a-z0-9]{{{ID_LENGTH}}}):([0-9a-f]{{64}})")
# A part of a secret is one, too: who has seen it has less to guess.
_ANYWHERE: Final = re.compile(rb"(txg_[a-z0-9]{%d}_)[A-Za-z0-9_-]+" % ID_LENGTH)

_HINT: Final = "`txgear token new` makes one, and prints what stands in `tokens` of an identity"


def new_token() -> str:
    """A token that nobody has seen yet."""
    name = "".join(secrets.choice(_LETTERS) for _ in range(ID_LENGTH))
    return f"txg_{name}_{secrets.token_urlsafe(SECRET_BYTES)}"


def token_id(token: bytes) -> str | None:
    """
    @param token: what a peer says is its token.
    @return: its ID, which may be shown; C{None} if it has not the form of a token.
    """
    found = _TOKEN.fullmatch(token)
    return None if found is None else found[1].decode("ascii")


def without_secrets(text: bytes) -> bytes:
    """Bytes that a peer brought, for a list or a log: of each token in them, or part of one, the ID only."""
    return _ANYWHERE.sub(rb"\1...", text) if b"txg_" in text else text


def check_no_token(text: str) -> None:
    """
    Check a text of the server's file, which lists and logs may show.

    @raise PolicyError: there is a token in it, or part of one.
    """
    if _ANYWHERE.search(text.encode("utf-8", "replace")):
        raise PolicyError(
            "",
            "this is a token itself, which only its owner may have: in this file stand its ID and SHA-256."
            f" Take a new token, for this one has been written down: {_HINT}",
        )


@dataclass(frozen=True)
class Token:
    """
    What the server keeps of a token.

    @ivar id: the token's ID.
    @ivar digest: the SHA-256 of the whole token, 32 bytes.
    """

    id: str
    digest: bytes

    @classmethod
    def of(cls, token: bytes) -> Token | None:
        """
        @param token: what a peer says is its token, of any length.
        @return: what would be kept of it; C{None} if it has not the form of a token.
        """
        name = token_id(token)
        return None if name is None else cls(name, sha256(token).digest())

    @classmethod
    def parse(cls, value: Any) -> Token:
        """
        @param value: what stands in the server's file.
        @raise PolicyError: that is not what is kept of a token. The text never repeats it: it may be a
            secret.
        """
        if not isinstance(value, str):
            raise PolicyError("", f"a string is wanted, the ID and the SHA-256 of a token: {_HINT}")
        found = _STORED.fullmatch(value)
        if found is not None:
            return cls(found[1], bytes.fromhex(found[2]))
        check_no_token(value)
        raise PolicyError(
            "",
            f"the ID and the SHA-256 of a token are wanted, as ID:HEX in lower case: {_HINT}; tokens that"
            " somebody chose are not taken",
        )

    def __str__(self) -> str:
        """As it stands in the server's file."""
        return f"{self.id}:{self.digest.hex()}"


class Tokens:
    """
    Who has which token.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, tuple[str, bytes]] = {}
        # What an unknown ID is compared with: it takes as long as a known one, and never fits.
        self._unknown = secrets.token_bytes(sha256().digest_size)

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, identity: str, token: Token) -> None:
        """
        @param identity: the name of who has the token.
        @raise PolicyError: there is one with this ID.
        """
        if token.id in self._by_id:
            raise PolicyError("", f"there is another token with the ID {token.id}")
        self._by_id[token.id] = identity, token.digest

    def get(self, token_id: str) -> Token | None:
        """What is kept of the token with an ID; C{None} where there is none."""
        found = self._by_id.get(token_id)
        return None if found is None else Token(token_id, found[1])

    def owner(self, token: Token) -> str | None:
        """
        @param token: what L{Token.of} makes of the token that a peer has brought, now or when it logged in.
        @return: the name of the identity that has it; C{None} if nobody has.
        """
        identity, digest = self._by_id.get(token.id, (None, self._unknown))
        return identity if compare_digest(digest, token.digest) else None

    def find(self, token: bytes) -> str | None:
        """
        @param token: what a peer says is its token, of any length.
        @return: the name of the identity that has it; C{None} if nobody has.
        """
        claimed = Token.of(token)
        return None if claimed is None else self.owner(claimed)
