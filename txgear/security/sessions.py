"""
Sessions of browsers: what a browser holds instead of a token, and which of them have ended.

A session is begun by a token, and what the browser gets says so without it: the token's ID, when the session
began, and an ID of its own, signed with a key of the server and with what the server keeps of the token. So
nobody makes one who has not both, and a token that is taken out of the file, or replaced, ends its sessions
at once. Of each token only those are remembered that have ended early, until they would have ended by
themselves.

Key and ended sessions are values of the store: with one, sessions go on over a restart of the server.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from hmac import compare_digest, digest
from secrets import token_bytes, token_urlsafe
from typing import Final, NamedTuple

from txgear.broker.records import SIGNED_OUT, SIGNING_KEY, StoredValue
from txgear.security.tokens import ID_LENGTH, Token

LIFE: Final = 12 * 3600.0
"""Seconds that a session has at the most: a working day."""
AHEAD: Final = 60.0
"""
Seconds by which the wall clock may have been set back since a session began. One that seems to begin later
would last for longer than it may.
"""
MOST_ENDED: Final = 100
"""
Sessions of one token that are remembered as ended. With one more, all end that began no later than the first
of them.
"""
KEY_BYTES: Final = 32

_ID_BYTES: Final = 16
_ID_LETTERS: Final = 22
_SIGNED: Final = re.compile(
    rf"([a-z0-9]{{{ID_LENGTH}}})\.([0-9a-f]{{1,13}})\.([\w-]{{{_ID_LETTERS}}})\.([\w-]{{43}})", re.ASCII
)
_ENDED: Final = re.compile(rb"([a-z0-9]{%d})(?: ([A-Za-z0-9_-]{%d}))?" % (ID_LENGTH, _ID_LETTERS))
_KEY_NAME: Final = b"sessions"


class Session(NamedTuple):
    """
    A session that has not ended.

    @ivar id: tells it from all others.
    @ivar token: what began it.
    @ivar began: when, in thousandths of seconds since the epoch.
    """

    id: str
    token: Token
    began: int

    @property
    def ends(self) -> float:
        """When it ends by itself, in seconds since the epoch."""
        return self.began / 1000 + LIFE


class Sessions:
    """
    All sessions of one server. Times are of the wall clock, in seconds since the epoch.
    """

    def __init__(self, keep: Callable[[StoredValue], object]) -> None:
        """
        @param keep: puts a value into the store, if there is one.
        """
        self._keep = keep
        self._key = token_bytes(KEY_BYTES)
        # When those of each token began that have ended, by their ids, and when the last of those that are
        # not told apart any more.
        self._ended: dict[str, dict[str, int]] = {}
        self._all_until: dict[str, int] = {}

    def restore(self, values: Iterable[StoredValue], now: float) -> None:
        """
        Go on from what a server before has kept.

        @param values: all that the store has; empty without one.
        """
        key = b""
        for value in values:
            if value.kind == SIGNING_KEY and value.name == _KEY_NAME:
                key = _key_of(value.text)
            elif value.kind == SIGNED_OUT:
                self._restore_ended(value, now)
        if key:
            self._key = key
        else:
            self._keep(
                StoredValue(SIGNING_KEY, _KEY_NAME, max(now, 1.0), text=b64encode(self._key).decode("ascii"))
            )

    def _restore_ended(self, value: StoredValue, now: float) -> None:
        if _ENDED.fullmatch(value.name) is None or value.value + LIFE <= now:
            self._keep(value._replace(value=0.0, text=""))
        else:
            self._note_ended(value)

    def hear(self, value: StoredValue) -> None:
        """
        Another server that has the same store has kept this. One that has kept a key at the same time as this
        one has the same from now on; who has signed in meanwhile by the other one signs in again.
        """
        if value.kind == SIGNING_KEY and value.name == _KEY_NAME:
            self._key = _key_of(value.text) or self._key
        elif value.kind == SIGNED_OUT and value.value:
            self._note_ended(value)

    def _note_ended(self, value: StoredValue) -> None:
        found = _ENDED.fullmatch(value.name)
        if found is None:
            return
        token, session = found[1].decode("ascii"), found[2]
        if session is None:
            self._all_until[token] = round(value.value * 1000)
        else:
            self._ended.setdefault(token, {})[session.decode("ascii")] = round(value.value * 1000)

    # Of one session

    def begin(self, token: Token, now: float) -> tuple[Session, str]:
        """
        Somebody has shown a token, which is known.

        @return: the session, and what the browser is to send from now on.
        """
        session = Session(token_urlsafe(_ID_BYTES), token, int(now * 1000))
        signed = f"{token.id}.{session.began:x}.{session.id}"
        return session, f"{signed}.{self._signature(signed, token)}"

    def find(self, value: str, token_of: Callable[[str], Token | None], now: float) -> Session | None:
        """
        The session that a browser has sent.

        @param value: what it sent, of any length.
        @param token_of: what the server keeps of the token with an ID, if anything.
        @return: C{None} for one that has ended, and for what never was one.
        """
        match = _SIGNED.fullmatch(value)
        token = None if match is None else token_of(match[1])
        if match is None or token is None:
            return None
        signed, _, signature = value.rpartition(".")
        if not compare_digest(self._signature(signed, token).encode(), signature.encode()):
            return None
        session = Session(match[3], token, int(match[2], 16))
        if session.ends <= now or session.began / 1000 > now + AHEAD or self.has_ended(session):
            return None
        return session

    def has_ended(self, session: Session) -> bool:
        """Whether it was ended."""
        name = session.token.id
        return session.id in self._ended.get(name, ()) or session.began <= self._all_until.get(name, -1)

    def end(self, session: Session, now: float) -> None:
        """A session ends before its time."""
        if self.has_ended(session):
            return
        name = session.token.id
        ended = self._ended.setdefault(name, {})
        ended[session.id] = session.began
        self._remember(name, session.id, session.began)
        for each, began in list(ended.items()):
            if began / 1000 + LIFE <= now:
                self._forget(name, each)
        if len(ended) > MOST_ENDED:
            first = min(ended, key=ended.__getitem__)
            self._all_until[name] = max(ended[first], self._all_until.get(name, 0))
            self._remember(name, "", self._all_until[name])
            self._forget(name, first)

    def _remember(self, token: str, session: str, began: int) -> None:
        self._keep(
            StoredValue(SIGNED_OUT, f"{token} {session}".strip().encode("ascii"), max(began, 1) / 1000)
        )

    def _forget(self, token: str, session: str) -> None:
        del self._ended[token][session]
        self._keep(StoredValue(SIGNED_OUT, f"{token} {session}".encode("ascii"), 0.0))

    # Signing

    def _signature(self, signed: str, token: Token) -> str:
        return self.sign("session", f"{signed} {token.digest.hex()}")

    def sign(self, purpose: str, text: str) -> str:
        """
        What nobody else can say of a text.

        @param purpose: what it is for, so that no signature counts for anything else.
        """
        message = f"{purpose}\0{text}".encode("utf-8", "surrogatepass")
        return urlsafe_b64encode(digest(self._key, message, "sha256")).decode("ascii").rstrip("=")


def _key_of(text: str) -> bytes:
    """The key that a store has kept; empty for none."""
    try:
        found = b64decode(text, validate=True)
    except ValueError:
        return b""
    return found if len(found) == KEY_BYTES else b""
