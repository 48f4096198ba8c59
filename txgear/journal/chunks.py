"""
Chunks of history on their way to the store, and from it.

They go when the store has nothing else to do. Under a load that never lets up one of them goes between two
batches, now and then. No job waits for them, and whatever becomes of them, no job is refused for it.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txgear.broker.records import HistoryChunk
from txgear.errors import StoreRefused
from txgear.journal.link import Link

if TYPE_CHECKING:
    from txgear.interfaces import IHistoryStore

T = TypeVar("T")

MOST_WAITING: Final = 8 * 1024 * 1024
"""Bytes of chunks that wait; beyond it the oldest are dropped."""
PAGE: Final = 8
"""Chunks that are read at once: they are looked at within some milliseconds."""
OVERDUE_SECONDS: Final = 30.0
"""Seconds for which chunks wait for the store to have nothing else to do."""
BETWEEN_SECONDS: Final = 1.0
"""Seconds between two of them where it always has."""
MOST_FAILURES: Final = 2
"""Calls that fail one after the other, after which it is not tried again."""

MOST_CHUNK: Final = 1024 * 1024
"""Bytes of a chunk that is read: a damaged one could say that it has any number."""

Reader: TypeAlias = "Callable[[list[HistoryChunk], bool], None]"
"""Called with some chunks, and whether there are more."""


def _compress(chunk: bytes) -> bytes:
    return zlib.compress(chunk, 1)


def _decompress(chunk: bytes) -> bytes:
    """@return: nothing of what no chunk is."""
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(chunk, MOST_CHUNK)
    except zlib.error:
        return b""
    return found if reader.eof else b""


class Chunks:
    """
    What is to be written and read of history. It is compressed on the store's thread.

    @ivar off: whether the store does not keep it: nothing is written or read any more.
    """

    log = Logger()

    def __init__(self, link: Link, store: IHistoryStore, clock: IReactorTime) -> None:
        """
        @param store: the one that the link leads to.
        """
        self.off = False
        self._link = link
        self._store = store
        self._clock = clock
        self._waiting: deque[HistoryChunk] = deque()
        self._deleted: list[int] = []
        self._bytes = 0
        self._since = self._last = 0.0
        self._failures = 0
        self._dropped = False
        self._reader: Reader | None = None
        self._after = 0

    def put(self, chunks: Sequence[HistoryChunk], deleted: Sequence[int]) -> None:
        """
        Keep chunks, each in place of the one of its number.

        @param deleted: the numbers of others that are not to be kept any more.
        """
        if self.off:
            return
        if not self._waiting:
            self._since = self._clock.seconds()
        self._waiting.extend(chunks)
        self._deleted += deleted
        self._bytes += sum(len(chunk) for _, chunk in chunks)
        while self._bytes > MOST_WAITING:
            self._bytes -= len(self._waiting.popleft()[1])
            if not self._dropped:
                self._dropped = True
                self.log.warn(
                    "the history of figures has gaps in {store}, which does not take it",
                    store=self._link.name,
                )

    def read(self, reader: Reader) -> None:
        """Read all that is kept, a page at a time. A damaged chunk is empty."""
        self._reader = reader

    @property
    def ready(self) -> bool:
        """Whether there is something to do where nothing else is."""
        return not self.off and bool(self._waiting or self._deleted or self._reading)

    @property
    def _reading(self) -> bool:
        return self._reader is not None and not self._link.closing

    @property
    def overdue(self) -> bool:
        """Whether there is something that has waited for so long that it comes before jobs, once."""
        now = self._clock.seconds()
        return bool(
            self._waiting
            and not self.off
            and now >= self._since + OVERDUE_SECONDS
            and now >= self._last + BETWEEN_SECONDS
        )

    def start(self) -> None:
        """Do some of it: it is L{ready}, and the link is open."""
        self._last = self._clock.seconds()
        if self._reading and not self._waiting:
            self._read()
        else:
            self._write()

    def _read(self) -> None:
        store, after, reader = self._store, self._after, self._reader
        assert reader is not None

        def read() -> tuple[list[HistoryChunk], int | None]:
            page = store.history(after, PAGE)
            chunks = [(number, _decompress(chunk)) for number, chunk in page]
            return chunks, page[-1][0] if len(page) == PAGE else None

        def done(found: tuple[list[HistoryChunk], int | None]) -> None:
            chunks, last = found
            self._after = last or 0
            if last is None:
                self._reader = None
            self._link.tell(reader, chunks, last is not None)

        self._call(read, done)

    def _write(self) -> None:
        store, deleted = self._store, self._deleted
        # At the end all of it, as nobody waits for jobs then.
        count = len(self._waiting) if self._link.closing else min(len(self._waiting), 1)
        chunks = [self._waiting.popleft() for _ in range(count)]
        self._bytes -= sum(len(chunk) for _, chunk in chunks)
        self._deleted = []

        def write() -> None:
            store.put_history([(number, _compress(chunk)) for number, chunk in chunks], deleted)

        def undone() -> None:
            self._waiting.extendleft(reversed(chunks))
            self._bytes += sum(len(chunk) for _, chunk in chunks)
            self._deleted = deleted + self._deleted

        self._call(write, lambda result: None, undone)

    def _call(
        self,
        call: Callable[[], T],
        done: Callable[[T], None],
        undone: Callable[[], None] = lambda: None,
    ) -> None:
        """Call the store. That it fails says nothing of jobs: what is written here none of them needs."""

        def guarded(store: object) -> T | StoreRefused:
            try:
                return call()
            except StoreRefused as error:
                return error

        def succeeded(result: T | StoreRefused) -> None:
            self._failures = 0
            if isinstance(result, StoreRefused):
                self._give_up(str(result))
            else:
                done(result)

        def failed() -> None:
            undone()
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                self._give_up("it fails each time")

        self._link.call(guarded, succeeded, failed, is_read=True)

    def _give_up(self, reason: str) -> None:
        self.off = True
        self._waiting.clear()
        self._deleted, self._bytes, self._reader = [], 0, None
        self.log.error(
            "{store} does not keep the history of figures, and nothing else is lost: {reason}",
            store=self._link.name,
            reason=reason,
        )
