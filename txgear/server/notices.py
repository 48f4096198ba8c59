"""
Log lines about things that may come in floods. The first of a kind are logged at once; the others are
counted, and each minute one line says how many there were.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel

from txgear.broker.model import Job, Peer
from txgear.policies import SILENT
from txgear.protocol.textlines import for_line, shown
from txgear.quantities import second_words

MINUTE: Final = 60.0
"""Seconds between two lines of one kind, once the burst is used up."""
COMPLAINTS: Final = 20
"""The burst of each kind of complaint about peers: enough to see who they are."""
MOST_LOGGED: Final = 100
"""Acts of a kind from one address that are logged in a minute. More come from a program, and are counted."""
MOST_KINDS: Final = 1000
"""
Kinds that are told apart in a minute. Peers may cause any number; the others are told apart by their texts
only.
"""


def whose(peer: Peer) -> str:
    """What a line says of who a peer is, behind its address; nothing where there are no identities."""
    return "" if peer.tenant is None else f", identity {peer.tenant.name}"


class _Kind:
    """
    One kind of line in this minute.

    @ivar emitted: how many of this minute were logged at once.
    @ivar counted: how many were only counted.
    @ivar last: the last line that was only counted.
    """

    __slots__ = ("counted", "emitted", "last")

    def __init__(self) -> None:
        self.emitted = self.counted = 0
        self.last: tuple[Logger, LogLevel, str, dict[str, Any]] | None = None


class Notices:
    """
    Writes such lines. It is the L{txgear.broker.ports.Witness} of the broker as well.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._kinds: dict[Hashable, _Kind] = {}
        self._emitted_once: set[str] = set()
        self._timer: IDelayedCall | None = None

    def emit(
        self, log: Logger, level: LogLevel, kind: Hashable, text: str, burst: int = 1, **fields: Any
    ) -> None:
        """
        Log a line, or count it until the minute is over.

        @param kind: lines of one kind are counted together.
        @param text: the format of the line.
        @param burst: how many of a kind are logged at once in a minute.
        """
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            kind = text
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Kind()
        if found.emitted < burst:
            found.emitted += 1
            log.emit(level, text, **fields)
        else:
            found.counted += 1
            found.last = log, level, text, fields
        if self._timer is None:
            self._timer = self._clock.callLater(MINUTE, self._minute_over)

    def emit_once(self, log: Logger, level: LogLevel, text: str, **fields: Any) -> None:
        """
        Log a line the first time only.

        @param text: the format of the line, which is its kind as well.
        """
        if text not in self._emitted_once:
            self._emitted_once.add(text)
            log.emit(level, text, **fields)

    def complain(self, log: Logger, level: LogLevel, text: str, **fields: Any) -> None:
        """
        Log something that is a peer's fault. Thousands may do the same in a minute, and that must not fill a
        disk.

        @param text: the format of the line, which is its kind as well.
        """
        self.emit(log, level, text, text, COMPLAINTS, **fields)

    def acted(self, log: Logger, kind: str, peer: Peer, text: str, **fields: Any) -> None:
        """
        Log that a peer has done what operators do.

        @param kind: what it was; those of one kind from one address are counted together.
        @param text: the format of the line, which can name C{address} and C{whose} besides the fields.
        """
        address = peer.address
        self.emit(
            log,
            LogLevel.info,
            (kind, address),
            text,
            MOST_LOGGED,
            address=address,
            whose=whose(peer),
            **fields,
        )

    def _minute_over(self) -> None:
        self._timer = None
        for kind in self._emit_counted():
            del self._kinds[kind]
        if self._kinds:
            self._timer = self._clock.callLater(MINUTE, self._minute_over)

    def _emit_counted(self) -> list[Hashable]:
        """
        Log how many lines were counted, and begin anew.

        @return: the kinds of which no line came.
        """
        quiet: list[Hashable] = []
        for kind, found in self._kinds.items():
            if found.last is None:
                quiet.append(kind)
                continue
            log, level, text, fields = found.last
            others = f"; {found.counted - 1} more like it in the last minute" if found.counted > 1 else ""
            log.emit(level, text + "{others}", **fields, others=others)
            # What goes on is only counted.
            found.counted, found.last = 0, None
        return quiet

    def stop(self) -> None:
        """Log what has been counted, and count no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._emit_counted()
        self._kinds.clear()

    # What happens in the broker

    def damaged(self, handle: bytes, why: str) -> None:
        """Part of L{txgear.broker.ports.Witness}."""
        self.emit(
            self.log,
            LogLevel.error,
            ("damaged",),
            "what the store has of {handle} is damaged; it goes on without its settings and attempts: {why}",
            handle=shown(handle).decode("utf-8"),
            why=why,
        )

    def missing(self, function: bytes, count: int) -> None:
        """Part of L{txgear.broker.ports.Witness}."""
        self.emit(
            self.log,
            LogLevel.error,
            ("missing", function),
            "of the jobs of {function} that the store has counted {count} are not found in it",
            count=count,
            function=shown(function).decode("utf-8"),
        )

    def taken_back(self, job: Job, reason: str, now: float) -> None:
        """
        Part of L{txgear.broker.ports.Witness}. A job that never ends in its time is tried again and
        again, and those who wait hear nothing.
        """
        assert job.worker is not None
        function = job.function.name
        self.emit(
            self.log,
            LogLevel.warn,
            (reason, function),
            "{handle} of {function} is taken back from {worker} after {span}: {why} (attempt {attempt})",
            handle=shown(job.handle).decode("utf-8"),
            function=shown(function).decode("utf-8"),
            worker=for_line(job.worker.name).decode("utf-8"),
            span=second_words(round(now - job.since, 3)),
            why="it was silent" if reason == SILENT else "its time is over",
            attempt=job.retries + 1,
        )
