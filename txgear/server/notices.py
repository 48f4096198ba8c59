"""
What the log is told of things that may come in floods: the first of a kind at
once, and then each minute how many more there were.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel

from txgear.broker.model import Job
from txgear.policies import SILENT
from txgear.protocol.textlines import for_line, shown

MINUTE: Final = 60.0
"""Seconds between two lines of one kind, once there have been as many as are said at once."""
COMPLAINTS: Final = 20
"""Lines about peers that are said at once, of each kind in a minute: enough to see who they are."""
MOST_KINDS: Final = 1000
"""Kinds that are told apart in a minute, as peers may bring any number; others go by their texts alone."""


class _Kind:
    """
    @ivar emitted: how many of this minute were logged at once.
    @ivar counted: how many were only counted.
    @ivar last: what is to be said of the last of those.
    """

    __slots__ = ("counted", "emitted", "last")

    def __init__(self) -> None:
        self.emitted = self.counted = 0
        self.last: tuple[Logger, LogLevel, str, dict[str, Any]] | None = None


class Notices:
    """
    Says such things. It is the witness of what a broker takes back, too; see
    L{txgear.broker.ports.Witness}.
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
        Tell a log something, now or as one of those that are counted until the minute is over.

        @param kind: what those have in common that are counted together.
        @param text: the format of the line.
        @param burst: how many are said at once in a minute.
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
        Tell a log something that needs no second line, however often it comes.

        @param text: the format of the line, which is its kind, too.
        """
        if text not in self._emitted_once:
            self._emitted_once.add(text)
            log.emit(level, text, **fields)

    def complain(self, log: Logger, level: LogLevel, text: str, **fields: Any) -> None:
        """
        Tell a log of something that is a peer's fault: thousands may do the same thing in a minute, and
        nobody's disk or pipe is to be filled by that.

        @param text: the format of the line, which is its kind, too.
        """
        self.emit(log, level, text, text, COMPLAINTS, **fields)

    def _minute_over(self) -> None:
        self._timer = None
        for kind in self._emit_counted():
            del self._kinds[kind]
        if self._kinds:
            self._timer = self._clock.callLater(MINUTE, self._minute_over)

    def _emit_counted(self) -> list[Hashable]:
        """
        Say how many there were, and begin anew.

        @return: the kinds of which nothing came.
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
        """Say what is left to say."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._emit_counted()
        self._kinds.clear()

    # What happens in the broker

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
            "{handle} of {function} is taken back from {worker} after {seconds:g} seconds:"
            " {why} (attempt {attempt})",
            handle=shown(job.handle).decode("utf-8"),
            function=shown(function).decode("utf-8"),
            worker=for_line(job.worker.name).decode("utf-8"),
            seconds=round(now - job.since, 3),
            why="it was silent" if reason == SILENT else "its time is over",
            attempt=job.retries + 1,
        )
