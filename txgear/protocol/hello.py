"""
WORKER_HELLO and WORKER_WELCOME: a worker says who it is and what it has in hand, and is told what of that is
still its own. WORKER_OFFER: it says what it has of another server, whose jobs may be this one's soon.

All are a JSON object in UTF-8. What is not known in it is passed over. Handles are written as
L{text<txgear.protocol.textlines.text>} writes names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from txgear.errors import ArgumentTooLarge, InvalidArgument
from txgear.protocol.constants import MAX_CLIENT_ID, MAX_HELLO, MOST_CLAIMED
from txgear.protocol.textlines import text, unescaped

MAX_GRACE: Final = 3600.0
"""Seconds for which a worker may be absent at the most: what it has is kept from all others for so long."""
_MOST_NUMBER: Final = 2**63 - 1
_KEY: Final = re.compile(r"[0-9a-f]{32}")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class Hello:
    """
    What a worker says of itself, once on each connection.

    @ivar key: 32 hexadecimal digits that only it and its supervisor know, for all its life.
    @ivar id: what it is called, for people.
    @ivar host: the machine that it runs on, as it calls it itself.
    @ivar pid: its process there; C{None} where it does not say.
    @ivar version: what it is made of, C{txgear 1.0} for instance.
    @ivar runtime: the key of its supervisor; empty for none.
    @ivar group: the group of its runtime; empty for none.
    @ivar started: when it started, by its wall clock, in seconds since the epoch; 0.0 where it does not say.
    @ivar jobs: what it has in hand, or has ended without hearing that the server knows, by handle: which
        attempt at each.
    @ivar parts: those of them of which it has sent data or a warning. Only the very server that has got that
        may give them back: another one, after a restart, would have a part of the result only.
    """

    key: str = field(repr=False)
    id: str = ""
    host: str = ""
    pid: int | None = None
    version: str = ""
    runtime: str = field(default="", repr=False)
    group: str = ""
    started: float = 0.0
    jobs: Mapping[bytes, int] = field(default_factory=dict)
    parts: Collection[bytes] = frozenset()

    def to_bytes(self) -> bytes:
        """The packet's data. Of the jobs the first L{MOST_CLAIMED} are in it."""
        jobs = _entries(self.jobs, self.parts)
        found = {
            "key": self.key,
            "id": self.id,
            "host": self.host,
            "pid": self.pid,
            "version": self.version,
            "runtime": self.runtime,
            "group": self.group,
            "started": self.started,
            "jobs": jobs,
        }
        return _encode(found).encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Welcome:
    """
    What a server answers.

    @ivar grace: seconds for which the worker's jobs stay its own when its connection is lost; 0.0 for not at
        all.
    @ivar held: the handles of those jobs of the L{Hello} that are its own, under the same attempt; or of
        those that it has offered.
    @ivar offers: whether jobs of other servers may be offered: this server takes over those of others.
    """

    grace: float
    held: frozenset[bytes] = frozenset()
    offers: bool = False

    def to_bytes(self) -> bytes:
        """The packet's data."""
        found = {"grace": self.grace, "held": sorted(map(text, self.held))}
        return _encode({**found, "offers": True} if self.offers else found).encode("utf-8")


def offer(jobs: Mapping[bytes, int]) -> bytes:
    """
    The data of a WORKER_OFFER. Of the jobs the first L{MOST_CLAIMED} are in it.

    @param jobs: what a worker has of other servers, by handle: which attempt at each. It has sent nothing of
        them.
    """
    return _encode({"jobs": _entries(jobs, ())}).encode("utf-8", "surrogatepass")


def read_offer(data: bytes) -> dict[bytes, int]:
    """
    Read the data of a WORKER_OFFER.

    @return: the jobs of which nothing has been sent, as in L{offer}: nobody else has what was.
    @raise ArgumentTooLarge: it is longer than L{MAX_HELLO}.
    @raise InvalidArgument: it is no offer.
    """
    jobs, parts = _jobs(_read(data).get("jobs", []))
    return {handle: attempt for handle, attempt in jobs.items() if handle not in parts}


def _entries(jobs: Mapping[bytes, int], parts: Collection[bytes]) -> list[list[Any]]:
    return [[text(handle), attempt, handle in parts] for handle, attempt in list(jobs.items())[:MOST_CLAIMED]]


def is_key(word: str) -> bool:
    """Whether this is what a L{Hello.key} looks like."""
    return _KEY.fullmatch(word) is not None


def read_hello(data: bytes) -> Hello:
    """
    Read the data of a WORKER_HELLO. Words that are for people are cut to L{MAX_CLIENT_ID} characters. No
    error shows the key.

    @raise ArgumentTooLarge: it is longer than L{MAX_HELLO}.
    @raise InvalidArgument: it is no hello.
    """
    found = _read(data)
    for name in ("key", "runtime"):
        key = found.get(name, "")
        if not isinstance(key, str) or not (is_key(key) or (name == "runtime" and not key)):
            raise InvalidArgument(f"{name}: 32 hexadecimal digits are wanted, in small letters")
    words = {name: _word(found, name) for name in ("id", "host", "version", "group")}
    pid = found.get("pid")
    if pid is not None and not _is_count(pid):
        raise InvalidArgument("pid: a whole number is wanted, or null")
    jobs, parts = _jobs(found.get("jobs", []))
    return Hello(
        key=found["key"],
        pid=pid,
        runtime=found.get("runtime", ""),
        started=_seconds(found, "started", float(_MOST_NUMBER)),
        jobs=jobs,
        parts=parts,
        **words,
    )


def read_welcome(data: bytes) -> Welcome:
    """
    Read the data of a WORKER_WELCOME.

    @raise ArgumentTooLarge: it is longer than L{MAX_HELLO}.
    @raise InvalidArgument: it is no welcome.
    """
    found = _read(data)
    held = found.get("held", [])
    if not isinstance(held, list) or not all(isinstance(handle, str) for handle in held):
        raise InvalidArgument("held: a list of handles is wanted")
    return Welcome(
        _seconds(found, "grace", MAX_GRACE), frozenset(_handles(held)), found.get("offers") is True
    )


def _read(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_HELLO:
        raise ArgumentTooLarge(f"A hello of {len(data)} bytes is over the limit of {MAX_HELLO}")
    try:
        found: Any = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        # Its text may show what stands there, the key for instance.
        raise InvalidArgument("The hello is not JSON in UTF-8") from error
    if not isinstance(found, dict):
        raise InvalidArgument("The hello is no JSON object")
    return found


def _word(found: Mapping[str, Any], name: str) -> str:
    word = found.get(name, "")
    if not isinstance(word, str):
        raise InvalidArgument(f"{name}: a text is wanted")
    return word[:MAX_CLIENT_ID].encode("utf-8", "replace").decode("utf-8")


def _seconds(found: Mapping[str, Any], name: str, most: float) -> float:
    seconds = found.get(name, 0)
    # What is not a number is not less than anything either.
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 <= seconds <= most:
        raise InvalidArgument(f"{name}: seconds are wanted")
    return float(seconds)


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _MOST_NUMBER


def _jobs(entries: Any) -> tuple[dict[bytes, int], frozenset[bytes]]:
    """The jobs with their attempts, and those of which a part was sent."""
    if not isinstance(entries, list):
        raise InvalidArgument("jobs: a list is wanted")
    entries = entries[:MOST_CLAIMED]
    for entry in entries:
        if not (
            isinstance(entry, list)
            and len(entry) >= 2
            and isinstance(entry[0], str)
            and _is_count(entry[1])
            and all(isinstance(sent, bool) for sent in entry[2:3])
        ):
            raise InvalidArgument(
                'jobs: of each its handle and its attempt are wanted, as in ["H:desk:1", 1]'
            )
    handles = _handles([entry[0] for entry in entries])
    jobs = dict(zip(handles, [entry[1] for entry in entries], strict=True))
    sent = frozenset(handle for handle, entry in zip(handles, entries, strict=True) if True in entry[2:3])
    return jobs, sent


def _handles(words: Iterable[str]) -> list[bytes]:
    return [unescaped(word.encode("utf-8", "replace")) for word in words]
