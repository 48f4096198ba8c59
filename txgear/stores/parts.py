"""
Parts of a store: each is a range of job numbers, and all jobs in it belong to one server.

A server that has its store for itself has all numbers as one part. Of several over one database each has a
part of its own, and those of others whose jobs it has taken over.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from itertools import chain
from typing import Any, Final, NamedTuple

from txgear.broker.records import Batch, Lane, NewJob
from txgear.errors import StoreRefused
from txgear.stores.places import Places, Tally

PART_NUMBERS: Final = 10**12
"""
Job numbers of each part. Half of them are given out at the least: at 10,000 jobs a second that takes 19
months.
"""


class Part(NamedTuple):
    """
    A part.

    @ivar part: its number, at least 1.
    @ivar first: the first job number that may be in it.
    @ivar end: the first one above those.
    """

    part: int
    first: int
    end: int


WHOLE: Final = Part(1, 0, 2**63)
"""All numbers, those that no job of ours has included: the part of a server that has its store for itself."""


def first_above(number: int) -> int:
    """The first number of a new part, all numbers of which are above this one."""
    return (number // PART_NUMBERS + 1) * PART_NUMBERS


class Parts:
    """
    The parts that a server has. New jobs are in the one with the highest numbers.

    Each part numbers its lanes in its own way, so that the same index finds the jobs of each.

    @ivar all: the parts, in the order of their numbers.
    @ivar bounds: the first numbers and the ends of all, one after the other; empty where that is each number.
    @ivar home: what the jobs of the last part are found by.
    """

    def __init__(self, salt: bytes, parts: Iterable[Part] = (WHOLE,)) -> None:
        """
        @param salt: the store's; see L{Places}.
        @param parts: at least one; no number is in two of them.
        """
        self.all = sorted(parts, key=lambda part: part.first)
        self.bounds = (
            ()
            if self.all == [WHOLE]
            else tuple(bound for part in self.all for bound in (part.first, part.end))
        )
        self._firsts = [part.first for part in self.all]
        self._places = [Places(_salt_of(salt, part.part), part.part) for part in self.all]
        self.home = self._places[-1]

    def __contains__(self, number: int) -> bool:
        index = bisect(self._firsts, number) - 1
        return index >= 0 and number < self.all[index].end

    def without(self, numbers: Collection[int]) -> set[int]:
        """Those of some numbers that are in none of the parts."""
        home = self.all[-1]
        # Nearly always; it takes a tenth of looking at each.
        if not numbers or (home.first <= min(numbers) and max(numbers) < home.end):
            return set()
        return {number for number in numbers if number not in self}

    def ours(self, batch: Batch) -> Batch:
        """
        What a batch says of jobs in these parts.

        @raise StoreRefused: it has new jobs with the numbers of others.
        """
        if strange := self.without([job.number for job, _ in batch.new_jobs]):
            raise StoreRefused(f"job {min(strange)} is in no part of this server's")
        others = self.without(
            [
                *batch.deleted,
                *batch.deleted_all,
                *(number for number, _ in batch.results),
                *(each.number for each in batch.updates),
                *(each.number for each in batch.changes),
                *(each.number for each in batch.names),
            ]
        )
        if not others:
            return batch
        return batch._replace(
            updates=[each for each in batch.updates if each.number not in others],
            deleted=[number for number in batch.deleted if number not in others],
            results=[each for each in batch.results if each[0] not in others],
            deleted_all=[number for number in batch.deleted_all if number not in others],
            changes=[each for each in batch.changes if each.number not in others],
            # That the name of a job is free we may know of others' as well.
            names=[each for each in batch.names if each.key is None or each.number not in others],
        )

    def places(self, number: int) -> Places:
        """What the job with this number is found by; it is in one of the parts."""
        if len(self._places) == 1:
            return self.home
        return self._places[bisect(self._firsts, number) - 1]

    def new_columns(
        self, new_jobs: Sequence[NewJob], tally: Tally, *, narrow: bool = False
    ) -> list[Sequence[Any]]:
        """As L{Places.new_columns}; some may have got their numbers before the last part came."""
        first = self._firsts[-1]
        if len(self._places) == 1 or all(job.number >= first for job, _ in new_jobs):
            return self.home.new_columns(new_jobs, tally, narrow=narrow)
        each = [self.places(new[0].number).new_columns([new], tally, narrow=narrow) for new in new_jobs]
        return [list(chain.from_iterable(columns)) for columns in zip(*each, strict=True)]

    def lanes(self, lane: Lane) -> list[int]:
        """The numbers of a lane, one in each part."""
        return [places.lane(lane) for places in self._places]


def _salt_of(salt: bytes, part: int) -> bytes:
    """What the lanes of a part are numbered with; the first part's as before there were others."""
    return salt if part == WHOLE.part else blake2b(b"%d" % part, digest_size=16, key=salt).digest()
