"""
Which submit is the same job.

Two submits mean one job when they name the same function and the same unique.
An empty unique never joins anything; the unique C{-} stands for the workload.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from struct import Struct, unpack
from typing import Final, TypeAlias

from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD
from txgear.protocol.packets import Data, Pieces

Key: TypeAlias = bytes | int
"""A unique as sent, or for C{-} the workload's digest: a number, so that no unique equals it."""


def key_of(unique: bytes, workload: Data) -> Key | None:
    """
    What a submit is compared by, or C{None} when it is a job of its own.

    As in the reference, C{-} with an empty workload joins nothing.
    """
    if unique != UNIQUE_FROM_WORKLOAD:
        return unique or None
    if not workload:
        return None
    digest = blake2b(digest_size=16)
    for chunk in workload.chunks if isinstance(workload, Pieces) else (workload,):
        digest.update(chunk)
    return int.from_bytes(digest.digest(), "big")


HASH_BITS: Final = 41
"""Bits of what stands for a key in a store and in memory: of ten million keys hardly two are alike."""


# A copy takes a third of what it takes to make another one.
_UNUSED: Final = blake2b(digest_size=8)
_number: Final = Struct(">Q").unpack


def hash_of(key: Key) -> int:
    """What stands for a key where that itself would be too long; two keys may have the same."""
    hashing = _UNUSED.copy()
    hashing.update(key if isinstance(key, bytes) else key.to_bytes(16, "big"))
    hashed: int = _number(hashing.digest())[0]
    return hashed >> (64 - HASH_BITS)


def hashes_of(keys: Iterable[Key]) -> list[int]:
    """L{hash_of} of each of these keys, in half the time."""
    copy = _UNUSED.copy
    digests = []
    for key in keys:
        hashing = copy()
        hashing.update(key if isinstance(key, bytes) else key.to_bytes(16, "big"))
        digests.append(hashing.digest())
    return [hashed >> (64 - HASH_BITS) for hashed in unpack(f">{len(digests)}Q", b"".join(digests))]
