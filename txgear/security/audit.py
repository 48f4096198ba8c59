"""
The audit log: who has changed something, who was not let in, and who wanted what they may not do.

The last lines are kept in memory; where there is a file for them, each is a JSON object there. Payloads and
tokens never stand in any. A line is written as soon as something has happened, with one call of the system: a
killed process loses none of them, and other programs may move the file away at any time.

What was done stands there in full. Refusals may come in floods: of each kind and address the first ones of a
minute are lines of their own, and one line at its end says how many more there were.
"""

from __future__ import annotations

import json
import os
import stat
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple, TypeAlias

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txgear.broker.model import Peer
from txgear.errors import ConfigurationError
from txgear.protocol.textlines import shown
from txgear.security.access import NOBODY
from txgear.security.guesses import network_of
from txgear.security.tokens import without_secrets

DONE: Final = "done"
REFUSED: Final = "refused"

LOGIN: Final = "login"
"""The act of saying who one is."""
LOGOUT: Final = "logout"
"""The act of ending a session."""
LOST: Final = "lost"
"""What stands in the place of lines that could not be written."""

MINUTE: Final = 60.0
"""Seconds after which what was only counted is told."""
MOST_IN_FULL: Final = 100
"""Refusals of one kind and address that are lines of their own, in a minute."""
MOST_KINDS: Final = 100
"""Kinds and addresses that are told apart in a minute; of further addresses only the kinds are."""
MOST_KEPT: Final = 1000
"""Lines in memory, the last ones: some 300 kB, 3 MB where all their names are as long as can be."""
MOST_SHOWN: Final = 400
"""Characters of a text that a line has at the most."""

Detail = bytes | str | int | None

Line: TypeAlias = "dict[str, Any]"
"""What is told of one act, as JSON has it, with the C{time}."""


class Wanted(NamedTuple):
    """
    Which lines are looked for; what is empty does not count.

    @ivar act: the act.
    @ivar outcome: L{DONE} or L{REFUSED}.
    @ivar identity: whose; L{NOBODY} for those of nobody.
    @ivar text: what stands in one of its values, in whatever case.
    """

    act: str = ""
    outcome: str = ""
    identity: str = ""
    text: str = ""

    def meets(self, line: Line) -> bool:
        """Whether a line is one of these."""
        if (self.act and line["act"] != self.act) or (self.outcome and line["outcome"] != self.outcome):
            return False
        if self.identity and (line.get("identity") or NOBODY) != self.identity:
            return False
        return not self.text or self._has_text(line)

    def _has_text(self, line: Line) -> bool:
        text = self.text.lower()
        return any(
            text in str(value).lower()
            for name, value in line.items()
            if name not in ("number", "time") and value is not None
        )


class Audit:
    """
    The last lines, in memory: all that there is of a server without a file for them.
    """

    def __init__(self, clock: IReactorTime, wall_seconds: Callable[[], float]) -> None:
        """
        @param clock: tells when a minute is over.
        @param wall_seconds: the time of a line, in seconds since the epoch.
        """
        self._clock = clock
        self._wall_seconds = wall_seconds
        self._written = 0
        self._last: deque[Line] = deque(maxlen=MOST_KEPT)
        self._in_full: dict[tuple[str, str, str | None], int] = {}
        self._counted: dict[tuple[str, str, str | None], int] = {}
        self._timer: IDelayedCall | None = None
        self._stopped = False

    def record(self, act: str, outcome: str, peer: Peer | None = None, **details: Detail) -> None:
        """
        @param act: one of L{txgear.broker.rights.ACTS}, L{LOGIN} or L{LOGOUT}.
        @param outcome: L{DONE} or L{REFUSED}.
        @param peer: who did it, or wanted to; C{None} if it came by no connection.
        @param details: what else there is to know, by the names that it has in the log. Bytes are names that
            peers brought. C{None} is left out. Never payloads, never tokens (their IDs may be).
        """
        if self._stopped:
            return
        if (outcome == REFUSED or act in (LOGIN, LOGOUT)) and not self._has_room(act, outcome, peer):
            return
        line: dict[str, Detail] = {"act": act, "outcome": outcome, **_who(peer)}
        line.update((name, value) for name, value in details.items() if value is not None)
        self._write(line)

    def last(
        self, after: int, limit: int, wanted: Callable[[Line], bool] = lambda line: True
    ) -> tuple[list[Line], int | None]:
        """
        The last lines, the newest first.

        @param after: the number of the line that those follow which are wanted; 0 for the newest.
        @param limit: how many at the most.
        @param wanted: which of them; by default all.
        @return: the lines, each with a C{number}; and what is C{after} for the next ones, C{None} if those
            are all that are kept.
        """
        found = [
            line for line in reversed(self._last) if (not after or line["number"] < after) and wanted(line)
        ]
        following = found[limit - 1]["number"] if len(found) > limit else None
        return found[:limit], following

    def _has_room(self, act: str, outcome: str, peer: Peer | None) -> bool:
        """Whether a line may stand there in full; it is counted otherwise."""
        kind = act, outcome, None if peer is None else network_of(peer.address)
        if kind not in self._in_full and len(self._in_full) >= MOST_KINDS:
            kind = act, outcome, None
        if self._timer is None:
            self._timer = self._clock.callLater(MINUTE, self._minute_over)
        there = self._in_full.get(kind, 0)
        if there < MOST_IN_FULL:
            self._in_full[kind] = there + 1
            return True
        self._counted[kind] = self._counted.get(kind, 0) + 1
        return False

    def _minute_over(self) -> None:
        self._timer = None
        self._tell_counted()

    def _tell_counted(self) -> None:
        """Tell how many were only counted, and begin anew."""
        for (act, outcome, address), count in self._counted.items():
            self._write({"act": act, "outcome": outcome, "address": address, "more": count})
        self._in_full.clear()
        self._counted.clear()

    def _write(self, line: Mapping[str, Detail]) -> Line:
        """
        @return: the line as it is kept.
        """
        self._written += 1
        shown_line = {name: _shown(value) for name, value in line.items()}
        self._last.append({"number": self._written, "time": _as_time(self._wall_seconds()), **shown_line})
        return self._last[-1]

    def reopen(self) -> None:
        """
        The file has been moved away: go on in a new one; in the old one if that cannot be opened.

        @raise ConfigurationError: the file cannot be opened, or is none.
        """

    def stop(self) -> None:
        """Tell what was only counted, and write no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._stopped:
            self._tell_counted()
            self._stopped = True


class AuditLog(Audit):
    """
    The audit log in a file.
    """

    log = Logger()

    def __init__(
        self,
        path: str,
        clock: IReactorTime,
        wall_seconds: Callable[[], float],
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        """
        @param path: the file. It is appended to; a new one is for its owner only.
        @param clock: as in L{Audit}.
        @param wall_seconds: as in L{Audit}.
        @param write: appends to a descriptor as much of some bytes as it can.
        @raise ConfigurationError: the file cannot be opened, or is none.
        """
        super().__init__(clock, wall_seconds)
        self._path = path
        self._append_some = write
        self._file = _opened(path)
        self._torn = False
        self._lost = 0

    # The file

    def _write(self, line: Mapping[str, Detail]) -> Line:
        """
        Append a line as well; the log is told once if that does not work, and how many were lost when it
        does.
        """
        kept = super()._write(line)
        try:
            if self._lost:
                lost = {"time": kept["time"], "act": LOST, "outcome": DONE, "more": self._lost}
                self._append(_as_text(lost))
                self._lost_no_more()
            self._append(_as_text(kept))
        except OSError as error:
            if not self._lost:
                self.log.error(
                    "cannot write the audit log {path}: {error}; what it lacks is counted",
                    path=self._path,
                    error=error.strerror,
                )
            self._lost += 1
        return kept

    def _lost_no_more(self) -> None:
        self.log.error(
            "the audit log {path} is written again; it lacks {lost} {lines}",
            path=self._path,
            lost=self._lost,
            lines="line" if self._lost == 1 else "lines",
        )
        self._lost = 0

    def _append(self, text: bytes) -> None:
        """
        @raise OSError: not all of it could be written. The next line begins anew then.
        """
        left = b"\n" + text if self._torn else text
        while left:
            written = self._append_some(self._file, left)
            left = left[written:]
            self._torn = bool(left)

    def reopen(self) -> None:
        """Part of L{Audit}."""
        old, self._file = self._file, _opened(self._path)
        self._torn = False
        os.close(old)

    def stop(self) -> None:
        """Part of L{Audit}."""
        super().stop()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _opened(path: str) -> int:
    """
    @return: a descriptor that appends.
    @raise ConfigurationError: the file cannot be opened, or is none: a pipe could make the server wait.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    no_file = f"cannot write the audit log {path}: it is no file"
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if os.path.exists(path) and not os.path.isfile(path):
            # The system's words for a pipe without a reader say nothing of it.
            raise ConfigurationError(no_file) from error
        raise ConfigurationError(f"cannot write the audit log {path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigurationError(no_file)
    return descriptor


def _who(peer: Peer | None) -> dict[str, Detail]:
    if peer is None:
        return {"identity": None, "address": None, "descriptor": None, "client_id": None}
    return {
        "identity": None if peer.tenant is None else peer.tenant.name,
        "address": peer.address,
        "descriptor": peer.descriptor,
        "client_id": peer.client_id,
    }


def _as_time(moment: float) -> str:
    """
    @param moment: in seconds since the epoch.
    """
    when = datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds")
    return when.replace("+00:00", "Z")


def _as_text(line: Line) -> bytes:
    """A line of the file. It is ASCII, so that nothing in it reaches a terminal that reads it."""
    text = json.dumps(
        {name: value for name, value in line.items() if name != "number"}, separators=(",", ":")
    )
    return text.encode("ascii") + b"\n"


def _shown(value: Detail) -> str | int | None:
    if isinstance(value, str):
        value = value.encode("utf-8", "backslashreplace")
    if isinstance(value, bytes):
        text = shown(without_secrets(value)).decode("utf-8")
        return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
    return value
