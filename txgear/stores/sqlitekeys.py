"""
Which jobs of a SQLite file have which keys.

An index of them would have a page to write for nearly each new job, as keys come in any order. So they are
in a table of their own, to which those of a whole block of job numbers are added at once, in its order: that
is an append. Jobs that have ended until then never get there. The keys after the last block are in memory;
after a start they are read from the rows of the jobs, which is a bounded number of them.

What has ended stays in the table until most of its block has, and goes together with that. So whoever finds a
key looks whether its job is still there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.keys import HASH_BITS
from txgear.stores.places import SEGMENT_BITS, SEGMENTS, WIDE_BITS
from txgear.stores.schema import jobs, keys

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor

    from txgear.stores.statements import Statements

BLOCK_BITS: Final = WIDE_BITS
"""
Jobs whose numbers differ in these last bits only are of one block. In each block that there is a key is
looked for; and a larger one takes longer to be written, which others wait for: some ten milliseconds.
"""
BLOCKS: Final = SEGMENTS >> (BLOCK_BITS - SEGMENT_BITS)
"""So many there are; later ones are the first ones again."""
HASH: Final = (1 << HASH_BITS) - 1
"""What of a key's number stands for the key itself."""
KEY_BITS: Final = HASH_BITS + BLOCK_BITS - SEGMENT_BITS
"""Bits of the numbers of a block's keys that tell them apart."""

MOST_LATER: Final = 4
"""
Blocks whose keys may be in memory only, as long as the table is empty: two megabytes each. So no key is ever
written of a queue that is shorter than that.
"""
MOST_DUE: Final = 4
"""Blocks of which most jobs have ended, that wait for the rest: keys of a whole block go with less effort."""
SAY_EVERY: Final = 32
"""Blocks after which the log says how far it has come, half a million jobs."""

PLACED: Final = -1
"""The key of the row that has the number up to which the keys of jobs are in the table."""

BLOCK: Final = f"((number >> {BLOCK_BITS} & {BLOCKS - 1}) << {KEY_BITS} | (ukey & {HASH}))"
"""A job's key as the table has it."""
THERE: Final = f"EXISTS (SELECT 1 FROM {jobs.name} WHERE {jobs.name}.number = {keys.name}.number)"  # noqa: S608
"""The condition that the job of a key is there. No number is used twice."""

FIRST: Final = f"SELECT min(number) FROM {jobs.name} WHERE number > ? AND number < ?"  # noqa: S608
PLACE: Final = (
    f"INSERT OR IGNORE INTO {keys.name} (ukey, number) SELECT {BLOCK}, number FROM {jobs.name}"  # noqa: S608
    " WHERE number > ? AND number <= ? AND ukey IS NOT NULL ORDER BY 1"
)
MARK: Final = f"UPDATE {keys.name} SET number = ? WHERE ukey = {PLACED}"  # noqa: S608
MARKED: Final = f"SELECT number FROM {keys.name} WHERE ukey = {PLACED}"  # noqa: S608
LATER: Final = (
    f"SELECT group_concat(ukey & {HASH}), group_concat(number) FROM {jobs.name}"  # noqa: S608
    " WHERE number > ? AND ukey IS NOT NULL"
)
NEWEST: Final = f"SELECT max(number) FROM {jobs.name}"  # noqa: S608
CHANGE: Final = (
    f"DELETE FROM {keys.name} WHERE ukey >= 0 AND (ukey, number) IN"  # noqa: S608
    f" (SELECT {BLOCK}, number FROM {jobs.name} WHERE number = ?)"
)
LOOK: Final = (
    f"SELECT (SELECT count(*) FROM {keys.name} WHERE ukey BETWEEN ? AND ?),"  # noqa: S608
    f" (SELECT count(*) FROM {jobs.name} WHERE number BETWEEN ? AND ? AND ukey IS NOT NULL)"
)
# In this way they go in one pass, as the first condition is all that there is.
LEFT: Final = f"SELECT ukey, number FROM {keys.name} WHERE ukey BETWEEN ? AND ? AND {THERE}"  # noqa: S608
CLEAN: Final = f"DELETE FROM {keys.name} WHERE ukey BETWEEN ? AND ?"  # noqa: S608


def block_of(number: int) -> int:
    """The block of a job's number."""
    return number >> BLOCK_BITS & (BLOCKS - 1)


def bounds_of(block: int) -> tuple[int, int]:
    """The first and the last number that a key of a block may have."""
    return block << KEY_BITS, (block + 1 << KEY_BITS) - 1


class Keys:
    """
    Keeps the table. What it remembers are the keys that are not there yet, and how many each block has.

    @ivar known: whether it knows what there is.
    @ivar placed: the keys of jobs up to this number are in the table.
    """

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self.known = False
        self.placed = 0
        # The highest number that a job has had.
        self._newest = 0
        # The jobs after those, by what stands for their keys; the ones whose keys others have had since; and
        # some that are gone. They are read when they are needed.
        self._later: dict[int, int] | None = None
        self._others: dict[int, list[int]] = {}
        # By block how many jobs have ended since the last look, and how many keys there were then; None where
        # that is not known.
        self._blocks: dict[int, tuple[int, int] | None] = {}
        # Those of which most have ended, in this order.
        self._due: dict[int, None] = {}

    def forget(self) -> None:
        """A transaction was rolled back, or there may have been others: nothing is known."""
        self.known = False

    def load(self, cursor: DBAPICursor, segments: Iterable[int]) -> None:
        """
        Know what there is.

        @param segments: those of L{txgear.stores.places} in which the table has keys.
        """
        self.placed = _ask(cursor, MARKED)
        self._newest = _ask(cursor, NEWEST) or 0
        self._later = None
        self._due.clear()
        self._blocks = dict.fromkeys(segment >> (BLOCK_BITS - SEGMENT_BITS) for segment in segments)
        self.known = True

    @property
    def segments(self) -> list[int]:
        """The segments of L{txgear.stores.places} in which the table has keys."""
        return sorted(block << (BLOCK_BITS - SEGMENT_BITS) for block in self._blocks)

    def later(self, cursor: DBAPICursor, hashes: Iterable[int]) -> list[int]:
        """
        The jobs that have keys which are not in the table, and some that are gone.

        @param hashes: what stands for the keys.
        """
        later = self._read_later(cursor)
        found = []
        for hashed in hashes:
            if (number := later.get(hashed)) is not None:
                found += [number, *self._others.get(hashed, ())]
        return list(dict.fromkeys(found))

    def _read_later(self, cursor: DBAPICursor) -> dict[int, int]:
        if self._later is None:
            self._later, self._others = {}, {}
            cursor.execute(LATER, (self.placed,))
            columns = [text.split(",") if text else () for text in cursor.fetchall()[0]]
            self._note(self._later, *(list(map(int, column)) for column in columns))
        return self._later

    # What changes

    def changed(self, cursor: DBAPICursor, numbers: Sequence[int], ukeys: Sequence[int | None]) -> None:
        """Jobs are about to get other keys; as in L{came}."""
        cursor.executemany(CHANGE, [(number,) for number in numbers if number <= self.placed])
        self.came(cursor, numbers, ukeys)

    def came(self, cursor: DBAPICursor, numbers: Sequence[int], ukeys: Sequence[int | None]) -> None:
        """
        Jobs are about to be inserted.

        @param numbers: theirs, at least one.
        @param ukeys: what L{txgear.stores.places} makes of their keys.
        """
        self._newest = max(self._newest, *numbers)
        later, placed = self._read_later(cursor), self.placed
        if None in ukeys:
            numbers = [number for number, ukey in zip(numbers, ukeys, strict=True) if ukey is not None]
        hashes = [ukey & HASH for ukey in ukeys if ukey is not None]
        if numbers and min(numbers) <= placed:
            # They have waited for long.
            named = list(zip(numbers, hashes, strict=True))
            late = [(block_of(number), hashed, number) for number, hashed in named if number <= placed]
            rows = [(block << KEY_BITS | hashed, number) for block, hashed, number in late]
            self._statements.insert_missing(cursor, keys, rows)
            self._blocks.update(dict.fromkeys(block for block, _, _ in late))
            hashes = [hashed for number, hashed in named if number > placed]
            numbers = [number for number in numbers if number > placed]
        self._note(later, hashes, numbers)

    def _note(self, later: dict[int, int], hashes: Sequence[int], numbers: Sequence[int]) -> None:
        new = dict(zip(hashes, numbers, strict=True))
        if len(new) < len(numbers) or not later.keys().isdisjoint(new):
            for hashed, number in zip(hashes, numbers, strict=True):
                if (before := later.get(hashed, number)) != number:
                    self._others.setdefault(hashed, []).append(before)
                later[hashed] = number
        else:
            later.update(new)

    def place(self, cursor: DBAPICursor, *, at_once: bool = False) -> bool:
        """
        Put the keys of the next block into the table, if all its jobs have come, and unless the table is
        empty and few blocks have.

        @param at_once: whether it is put there in any case.
        @return: whether there may be another one.
        """
        before, last = self.placed, self._newest >> BLOCK_BITS << BLOCK_BITS
        if before + 1 >= last:
            return False
        if not (at_once or self._blocks) and last - (before + 1) <= MOST_LATER << BLOCK_BITS:
            return False
        self.placed = last - 1
        if self._later is None or self._later:
            first = _ask(cursor, FIRST, (before, last))
            if first is not None:
                self.placed = first | (1 << BLOCK_BITS) - 1
                cursor.execute(PLACE, (before, self.placed))
                self._added(block_of(first), cursor.rowcount)
        cursor.execute(MARK, (self.placed,))
        if self._later:
            self._later = {hashed: number for hashed, number in self._later.items() if number > self.placed}
            for hashed, numbers in [*self._others.items()]:
                self._others[hashed] = [number for number in numbers if number > self.placed]
                if not self._others[hashed]:
                    del self._others[hashed]
        return True

    def _added(self, block: int, count: int) -> None:
        if count:
            known = self._blocks.get(block, (0, 0))
            self._blocks[block] = known and (known[0], known[1] + count)

    def gone(self, cursor: DBAPICursor, numbers: Collection[int]) -> None:
        """
        Jobs were deleted. Where those were the last ones of a block, their keys go too, and so where they
        were most of it, unless more of it may go soon.

        @param numbers: theirs; of some there may have been no jobs.
        """
        placed = self.placed
        if not numbers or (first := min(numbers)) > placed:
            return
        last = max(numbers) >> BLOCK_BITS
        if last == first >> BLOCK_BITS:
            counts = {last: len(numbers)}
        else:
            counts = Counter([number >> BLOCK_BITS for number in numbers if number <= placed])
        for high, count in counts.items():
            block = high & (BLOCKS - 1)
            if block in self._blocks:
                known = self._blocks[block]
                ended, keyed = (known[0] + count, known[1]) if known else self._look(cursor, high)
                self._blocks[block] = ended, keyed
                if ended >= keyed:
                    self._clean(cursor, block)
                elif 4 * ended >= 3 * keyed:
                    self._due[block] = None
        while len(self._due) > MOST_DUE:
            self._clean(cursor, next(iter(self._due)))

    @staticmethod
    def _look(cursor: DBAPICursor, high: int) -> tuple[int, int]:
        """
        How many keys of a block no job has any more, and how many there are; what has its number from the
        first blocks once more counts as if it had ended, as long as nobody looks closer.

        @param high: what the numbers of its jobs begin with.
        """
        first = high << BLOCK_BITS
        numbers = first, first | (1 << BLOCK_BITS) - 1
        cursor.execute(LOOK, (*bounds_of(high & (BLOCKS - 1)), *numbers))
        keyed, there = cursor.fetchall()[0]
        return keyed - there, keyed

    def _clean(self, cursor: DBAPICursor, block: int) -> None:
        """Delete the keys of a block that no job has any more."""
        bounds = bounds_of(block)
        cursor.execute(LEFT, bounds)
        left = cursor.fetchall()
        cursor.execute(CLEAN, bounds)
        del self._blocks[block]
        self._due.pop(block, None)
        if left:
            self._statements.insert_missing(cursor, keys, left)
            self._blocks[block] = (0, len(left))


def _ask(cursor: DBAPICursor, text: str, parameters: Sequence[Any] = ()) -> Any:
    cursor.execute(text, parameters)
    return cursor.fetchall()[0][0]
