"""
Figures of one moment, packed into a few bytes, and rings of these.

A row has C{ROW} bytes, so that an hour and a day of a thousand functions take some megabytes. Of large
numbers it keeps eleven bits, of times the bucket in which they are counted.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from txgear.broker.counts import VALUES

RATES: Final = ("submitted", "completed", "failed")
"""What is counted within a step."""
LENGTHS: Final = ("queued", "running", "delayed", "workers", "dead")
"""How many there are at its end."""
TIMES: Final = ("wait_p50", "wait_p95", "wait_p99", "run_p50", "run_p95", "run_p99")
"""Quantiles of what has begun, and of what has ended, within a step."""

AGE_UNIT: Final = 10
"""Parts of a second in which an age is kept."""

_NUMBERS: Final = len(RATES) + len(LENGTHS) + 1
_ROW: Final = Struct(f"<{_NUMBERS}H{len(TIMES)}B")
ROW: Final = _ROW.size
"""Bytes of a row."""

_COLUMNS: Final = {
    name: Struct(f"<{2 * place}xH{ROW - 2 * place - 2}x") for place, name in enumerate((*RATES, *LENGTHS))
}

NOTHING: Final = bytes(ROW)
"""The row of a function that does nothing, and is nothing."""

_SMALL: Final = 4096
"""Numbers below this are kept as they are."""
_STEP: Final = 2048
_LARGEST: Final = 65535


def packed(number: int) -> int:
    """A number as 16 bits; those from 4,096 on are off by a two-thousandth at the most."""
    if number < _SMALL:
        return max(number, 0)
    shift = number.bit_length() - 12
    return min(_SMALL + (shift - 1) * _STEP + (number >> shift) - _STEP, _LARGEST)


def unpacked(code: int) -> int:
    """The number that L{packed} was given, or one near it."""
    if code < _SMALL:
        return code
    shift, rest = divmod(code - _SMALL, _STEP)
    return (rest + _STEP) << (shift + 1)


class Figures(NamedTuple):
    """
    The figures of one step, without those of L{TIMES}.

    @ivar oldest: seconds for which the oldest job has been ready.
    """

    submitted: int = 0
    completed: int = 0
    failed: int = 0
    queued: int = 0
    running: int = 0
    delayed: int = 0
    workers: int = 0
    dead: int = 0
    oldest: float = 0.0


def pack(figures: Figures, buckets: list[int | None]) -> bytes:
    """
    @param buckets: for each of L{TIMES} the bucket, or C{None}.
    """
    return _ROW.pack(
        *map(packed, figures[:-1]),
        packed(int(figures.oldest * AGE_UNIT)),
        *(0 if bucket is None else bucket + 1 for bucket in buckets),
    )


def unpack(row: bytes) -> tuple[Figures, list[float | None]]:
    """
    @return: what L{pack} was given, the times in seconds.
    """
    values = _ROW.unpack(row)
    numbers = list(map(unpacked, values[:_NUMBERS]))
    times = [VALUES[value - 1] if 0 < value <= len(VALUES) else None for value in values[_NUMBERS:]]
    return Figures._make((*numbers[:-1], numbers[-1] / AGE_UNIT)), times


def rates(rows: bytes) -> list[int]:
    """
    @param rows: some rows, one after the other.
    @return: of each of L{RATES}, the sum.
    """
    columns = list(zip(*_ROW.iter_unpack(rows), strict=True))[: len(RATES)]
    return [sum(map(unpacked, column)) for column in columns] or [0] * len(RATES)


def column(rows: bytes, name: str) -> list[int]:
    """
    @param rows: some rows, one after the other.
    @param name: one of L{RATES} or L{LENGTHS}.
    @return: that of each; of rates how many there were within its step.
    """
    values = [value for (value,) in _COLUMNS[name].iter_unpack(rows)]
    # Reading them is most of the work, and nearly all are as they are.
    return values if max(values, default=0) < _SMALL else list(map(unpacked, values))


def highest(rows: bytes) -> Figures:
    """
    @param rows: some rows, one after the other.
    @return: of each length, and of the age, the highest; no rates.
    """
    columns = list(map(max, zip(*_ROW.iter_unpack(rows), strict=True)))[len(RATES) : _NUMBERS]
    *lengths, oldest = map(unpacked, columns)
    return Figures._make((*(0 for _ in RATES), *lengths, oldest / AGE_UNIT))


class Ring:
    """
    The newest of what comes at each step, by the number of the step.

    What was not put is zero. Nothing is to be done for a step at which there is nothing to put.

    @ivar last: the newest step that was put; -1 for none.
    """

    __slots__ = ("_capacity", "_rows", "_width", "last")

    def __init__(self, capacity: int, width: int = ROW) -> None:
        """
        @param capacity: steps that are kept.
        @param width: bytes of each.
        """
        self._capacity = capacity
        self._width = width
        self._rows = bytearray(capacity * width)
        self.last = -1

    def put(self, step: int, row: bytes) -> None:
        """Have this at a step, which may be earlier than others; if it is too old it is dropped."""
        if step > self.last:
            for missed in range(max(self.last + 1, step - self._capacity), step):
                self._set(missed, bytes(self._width))
            self.last = step
        if step > self.last - self._capacity:
            self._set(step, row)

    def _set(self, step: int, row: bytes) -> None:
        place = step % self._capacity * self._width
        self._rows[place : place + self._width] = row

    def get(self, step: int) -> bytes:
        """What was put at a step."""
        if not self.last - self._capacity < step <= self.last:
            return bytes(self._width)
        place = step % self._capacity * self._width
        return bytes(self._rows[place : place + self._width])

    def rows(self, first: int, count: int) -> bytes:
        """What was put at some steps, one after the other."""
        width, oldest = self._width, self.last - self._capacity + 1
        begin, end = max(first, oldest), min(first + count, self.last + 1)
        if begin >= end:
            return bytes(count * width)
        place, stop = begin % self._capacity * width, end % self._capacity * width
        rows = self._rows[place:stop] if place < stop else self._rows[place:] + self._rows[:stop]
        return bytes((begin - first) * width) + rows + bytes((first + count - end) * width)
