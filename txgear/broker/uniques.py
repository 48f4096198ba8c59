"""
Which submit is the same job.

Two submits mean one job when they name the same function and the same unique.
An empty unique never joins anything; the unique C{-} stands for the workload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from struct import Struct, unpack
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD
from txgear.protocol.packets import Data, Pieces

Key: TypeAlias = bytes | int
"""A unique as sent, or for C{-} the workload's digest: a number, so that no unique equals it."""


class Item(Protocol):
    """What may have a unique: a job."""

    @property
    def function(self) -> object:
        """Whose uniques it shares."""

    @property
    def number(self) -> int:
        """Its place in the order in which they came."""


T = TypeVar("T", bound=Item)


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


APART: Final[dict[Key, Any]] = dict.fromkeys(range(-5000, 0))
"""
What is no key of any job: more than jobs come in a few turns. A dict that has these as well grows some turns
before one that has the same jobs. They stand for nothing: were they lists, Python's cycle collector would
look at all of that dict.
"""


class Uniques(Generic[T]):
    """
    The jobs that others may join, whatever their function.

    @ivar jobs: by key; nearly every unique belongs to one job, so there is a
        list only where functions share it.
    """

    __slots__ = ("jobs",)

    def __init__(self) -> None:
        self.jobs: dict[Key, T | list[T]] = {}

    def __len__(self) -> int:
        several = sum(len(found) - 1 for found in self.jobs.values() if isinstance(found, list))
        return len(self.jobs) + several - (len(APART) if -1 in self.jobs else 0)

    def grow_apart(self) -> None:
        """Grow in another turn than the table of the jobs by their numbers, from now on; see L{APART}."""
        if -1 not in self.jobs:
            self.jobs.update(APART)

    def find(self, function: object, key: Key) -> T | None:
        """The job of this function with this key."""
        found = self.jobs.get(key)
        if found is None:
            return None
        if isinstance(found, list):
            return next((job for job in found if job.function is function), None)
        return found if found.function is function else None

    def newest(self, unique: bytes, wanted: Callable[[T], bool] | None = None) -> T | None:
        """
        The newest job with this unique, of any function: GET_STATUS_UNIQUE
        names no function.

        @param wanted: whether a job counts; by default each does.
        """
        found = self.jobs.get(unique)
        if found is None or (wanted is None and not isinstance(found, list)):
            return found
        several = found if isinstance(found, list) else (found,)
        # They may have come into memory in another order.
        return max(
            (job for job in several if wanted is None or wanted(job)),
            key=lambda job: job.number,
            default=None,
        )

    def named(self, key: Key) -> list[T]:
        """All with this key, of whatever function."""
        found = self.jobs.get(key)
        if found is None:
            return []
        return list(found) if isinstance(found, list) else [found]

    def add(self, key: Key, job: T) -> None:
        """From now on others may join this job; L{find} has found none."""
        found = self.jobs.setdefault(key, job)
        if found is not job:
            if isinstance(found, list):
                found.append(job)
            else:
                self.jobs[key] = [found, job]

    def remove(self, key: Key, job: T) -> None:
        """Nobody may join this job any more."""
        found = self.jobs[key]
        if not isinstance(found, list):
            del self.jobs[key]
            return
        found.remove(job)
        if len(found) == 1:
            self.jobs[key] = found[0]
