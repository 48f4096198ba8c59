"""
Which jobs the store has: questions of the broker's about those that are not in memory.

Many of them are carried out in one call, and answered one after the other when it is back. Nothing is written
meanwhile, so that all of them see the same store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from twisted.internet.interfaces import IReactorTime

from txgear.broker.ports import Asking
from txgear.broker.records import (
    UNREADABLE_SECONDS,
    ByKey,
    ByNumber,
    JobRecord,
    LastInLane,
    Question,
    key_of_record,
)
from txgear.broker.states import DEAD
from txgear.errors import StoreRefused
from txgear.journal.link import CLOSED, TAKEN, Link
from txgear.journal.portion import Portion
from txgear.journal.timer import Timer

if TYPE_CHECKING:
    from txgear.interfaces import IJobStore

MOST_ASKINGS: Final = 1000
"""Questions that are carried out in one call: what follows from their answers is one turn of the server's."""
MOST_ROWS: Final = 1000
"""Jobs that are asked for in one call, unless one question alone asks for more."""
KEY_ROWS: Final = 10
"""As how many jobs a key counts for that: in a long queue it is looked for in hundreds of places."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""Bytes of workloads that are read in one call, unless one question alone asks for more."""
CROWDED: Final = 10_000
"""Questions that wait, from which on those who ask had better not be read for now."""
MOST_WAITING: Final = 100_000
"""Questions that wait at the most; beyond it the answer is that the store does not answer."""


Answer: TypeAlias = "tuple[list[JobRecord], dict[int, bytes]]"
"""What the store has of some jobs, and workloads of the first of them, by number."""


class Askings:
    """
    Questions that wait, and those that are at the store.
    """

    def __init__(
        self,
        link: Link,
        clock: IReactorTime,
        pause: Timer,
        renew: Callable[[dict[int, bytes]], None],
        asked: Callable[[], None],
        answered: Callable[[], None],
        again: Callable[[], None],
    ) -> None:
        """
        @param pause: nothing is to be asked while it is running.
        @param renew: puts newer workloads in place of those that were read.
        @param asked: called when somebody begins to wait for an answer.
        @param answered: called when the store has said something, before that is told.
        @param again: called a while after something could not be answered though the store is not lost.
        """
        self._link = link
        self._clock = clock
        self._pause = pause
        self._renew = renew
        self._asked = asked
        self._answered = answered
        self._again = Timer(clock, again)
        self._waiting: deque[Asking] = deque()
        self._in_flight: list[Asking] = []
        self._portion = Portion(MOST_ASKINGS)
        # How many were given up since the last that was answered.
        self._refused = 0
        # Those whose workloads have been read in vain.
        self._plain: set[Asking] = set()

    def __len__(self) -> int:
        """How many have not been answered."""
        return len(self._waiting) + len(self._in_flight)

    @property
    def crowded(self) -> bool:
        """Part of L{txgear.broker.ports.Journal}."""
        return len(self._waiting) > CROWDED

    @property
    def ready(self) -> bool:
        return bool(self._waiting) and not self._pause.running

    def ask(self, asking: Asking) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        link = self._link
        ended = link.state is CLOSED or link.state is TAKEN
        if link.unavailable is not None or ended or len(self._waiting) >= MOST_WAITING:
            if link.unavailable is None and not ended:
                self._again.start(UNREADABLE_SECONDS)
            asking.done(None, {}, self._clock.seconds())
        else:
            self._waiting.append(asking)
            self._asked()

    def start(self) -> None:
        """Carry out the first of them; they are L{ready}, and the link is open."""
        waiting, portion = self._waiting, self._portion
        askings = self._in_flight = [waiting.popleft() for _ in range(self._fitting())]
        call = Call(askings, self._plain)

        def undone() -> None:
            askings, self._in_flight = self._in_flight, []
            self._answered()
            given_up = []
            if call.at_workloads:
                self._plain.update(askings)
            elif askings:
                if portion.failed(len(askings)):
                    given_up = [askings.pop()]
                    # Soon at first: the heads of queues may be waited for.
                    self._again.start(min(2.0**self._refused, UNREADABLE_SECONDS))
                    self._refused = min(self._refused + 1, 10)
                if portion.pause:
                    self._pause.start(portion.pause)
            waiting.extendleft(reversed(askings))
            self._give_up(given_up)

        def done(answers: list[Answer]) -> None:
            askings, self._in_flight = self._in_flight, []
            portion.succeeded()
            self._refused = 0
            self._answered()
            self._plain.difference_update(askings)
            # Those that have been given up meanwhile are not told of it.
            now = self._clock.seconds()
            for asking, (records, workloads) in zip(askings, answers, strict=False):
                self._link.tell(asking.done, records, self._right(records, workloads), now)

        self._link.call(call, done, undone, is_read=True)

    def _fitting(self) -> int:
        """How many of the first are carried out in one call; at least one, as there is one."""
        rows = size = count = 0
        for asking in self._waiting:
            rows += _most_rows(asking.question)
            size += asking.most_bytes
            if count and (count >= self._portion.size or rows > MOST_ROWS or size > MOST_BYTES):
                break
            count += 1
        return count

    def _right(self, records: list[JobRecord], workloads: dict[int, bytes]) -> dict[int, bytes]:
        """
        Workloads as they are by what is on its way. One that is not as long as it is to be is left out:
        whoever needs it reads it for itself, and hears what is wrong with it.
        """
        if not workloads:
            return workloads
        self._renew(workloads)
        sizes = {record.number: record.size for record in records}
        return {number: found for number, found in workloads.items() if len(found) == sizes[number]}

    def drop(self) -> None:
        """The store does not answer: nobody is kept waiting, nor for what is at it."""
        askings = [*self._in_flight, *self._waiting]
        self._in_flight = []
        self._waiting.clear()
        self._plain.clear()
        # What comes later has not been tried yet.
        self._portion = Portion(MOST_ASKINGS)
        if askings:
            self._answered()
        self._give_up(askings)

    def stop(self) -> None:
        """Cancel the timer."""
        self._again.cancel()

    def _give_up(self, askings: Collection[Asking]) -> None:
        self._plain.difference_update(askings)
        now = self._clock.seconds()
        for asking in askings:
            self._link.tell(asking.done, None, {}, now)


class Call:
    """
    Questions, carried out on the store's thread as few.

    @ivar at_workloads: whether it has come to their workloads: if it fails, that is by those.
    """

    def __init__(self, askings: Collection[Asking], plain: Collection[Asking]) -> None:
        """
        @param plain: those of them whose workloads are not to be read.
        """
        self.at_workloads = False
        self._askings = [(asking.question, 0 if asking in plain else asking.most_bytes) for asking in askings]

    def __call__(self, store: IJobStore) -> list[Answer]:
        """
        @return: the answers, in order.
        """
        brought: dict[int, bytes] = {}
        found = self._rows(store, brought)
        self.at_workloads = True
        first = [
            _first(rows, most_bytes) if most_bytes else []
            for rows, (_, most_bytes) in zip(found, self._askings, strict=True)
        ]
        wanted = dict.fromkeys(number for numbers in first for number in numbers if number not in brought)
        workloads = brought
        with suppress(StoreRefused):
            workloads = {**brought, **store.workloads(list(wanted))} if wanted else brought
        return [
            (rows, {number: workloads[number] for number in numbers if number in workloads})
            for rows, numbers in zip(found, first, strict=True)
        ]

    def _rows(self, store: IJobStore, brought: dict[int, bytes]) -> list[list[JobRecord]]:
        """
        What the store has of the jobs of each question.

        @param brought: workloads that come with them are put here.
        """
        questions = [question for question, _ in self._askings]
        numbers = {each: None for asked in questions if isinstance(asked, ByNumber) for each in asked.numbers}
        keys = {each: None for asked in questions if isinstance(asked, ByKey) for each in asked.keys}
        by_number = {row.number: row for row in store.rows(ByNumber(list(numbers)))} if numbers else {}
        by_key: dict[bytes | int | None, list[JobRecord]] = {}
        for row in store.rows(ByKey(list(keys))) if keys else ():
            by_key.setdefault(key_of_record(row), []).append(row)
        found: list[list[JobRecord]] = []
        for question, most_bytes in self._askings:
            if isinstance(question, ByNumber):
                found.append([by_number[number] for number in question.numbers if number in by_number])
            elif isinstance(question, ByKey):
                found.append([row for key in question.keys for row in by_key.get(key, ())])
            else:
                found.append(store.rows(question, brought if most_bytes else None))
        return found


def _most_rows(question: Question) -> int:
    """About how many jobs a question finds at the most, or as how many it counts."""
    if isinstance(question, ByNumber):
        return len(question.numbers)
    if isinstance(question, LastInLane):
        return 1
    return KEY_ROWS * len(question.keys) if isinstance(question, ByKey) else question.limit


def _first(rows: Collection[JobRecord], most_bytes: int) -> list[int]:
    """The numbers of the first jobs whose workloads have no more bytes than this together."""
    size = 0
    numbers = []
    for row in rows:
        if not row.state or row.state == DEAD:
            size += row.size
            if size > most_bytes:
                break
            numbers.append(row.number)
    return numbers
