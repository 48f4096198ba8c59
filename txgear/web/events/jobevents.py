"""
One job, followed to its end: how its attempts go, and what its workers say, told as it happens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IDelayedCall

from txgear.broker.model import Job
from txgear.broker.operators import inspection
from txgear.broker.operators.inspection import MOST_SHOWN
from txgear.broker.rights import reads, sees
from txgear.broker.states import RUNNING, STATE_NAMES
from txgear.protocol.constants import JOB_ASSIGN, RESTARTED, WORK_DATA, WORK_STATUS, WORK_WARNING
from txgear.protocol.packets import Data
from txgear.web.api.pieces import pieces
from txgear.web.events.sse import COMMENT, EVENT_STREAM, QUIET_SECONDS, event, said, told

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

PROGRESS_SECONDS: Final = 0.25
"""Seconds between two events about progress, at the least: only the last of several is of interest."""
_PLACE: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
"""Which attempt, and how many bytes of what it has brought."""


def attempt_of(job: Job) -> str:
    """What tells the attempt that is under way from all others of its job."""
    return str(round(job.since * 1000)) if job.state == RUNNING else "0"


def kept_data(job: Job) -> tuple[int, bytes]:
    """
    What the worker of a job that runs has sent with WORK_DATA so far, as far as that is kept.

    @return: how many bytes, and the last L{MOST_SHOWN} of them.
    """
    history = job.history
    if history is None or job.state != RUNNING or not history.collected:
        return 0, b""
    found: list[bytes] = []
    size = 0
    for data in reversed(history.data):
        found.append(bytes(data))
        size += len(data)
        if size >= MOST_SHOWN:
            break
    return history.collected, b"".join(reversed(found))[-MOST_SHOWN:]


class JobReader:
    """
    One who follows a job. It is sent C{job} at first and whenever an attempt begins or ends; what
    L{txgear.web.events.sse.told} makes of what the worker says; C{skipped}, with how many bytes of that,
    where it has not read what it was sent before; and C{ended}, which is the last.

    What the worker says is for those who may read results. The id of C{data} says where it ends within all
    that the attempt has brought, as far as that is kept: who comes back with it is sent what is between.
    """

    def __init__(self, request: WebRequest, job: Job, done: Callable[[], None], last_id: str = "") -> None:
        """
        @param job: one of which the peer may know.
        @param done: called once when it follows no more.
        @param last_id: the id of the last C{data} that it had; empty for none. One that is none is passed
            over.
        """
        self._peer = request.peer
        self._server = request.server
        self._job = job
        self._done = done
        self._stream = request.stream(content_type=EVENT_STREAM)
        self._stream.on_gone = self._stop
        self._stream.on_drain = self._caught_up
        self._skipped = 0
        self._progress: Sequence[Data] = ()
        self._progress_timer: IDelayedCall | None = None
        self._stale = False
        self._quiet = self._server.clock.callLater(QUIET_SECONDS, self._say_nothing)
        self._unfollow: Callable[[float], None] = lambda now: None
        self._unwatch: Callable[[float], None] = lambda now: None
        self._tell_job()
        if job.ended:
            self._finish({"outcome": STATE_NAMES[job.state]})
        else:
            if last_id:
                self._catch_up(last_id)
            lifecycle = self._server.broker.lifecycle
            self._unfollow = lifecycle.follow(job, self._hear)
            self._unwatch = lifecycle.watch(job, self._end)

    def _write(self, data: bytes) -> None:
        self._quiet.reset(QUIET_SECONDS)
        self._stream.write(data)

    def _say_nothing(self) -> None:
        self._quiet = self._server.clock.callLater(QUIET_SECONDS, self._say_nothing)
        if not self._stream.full:
            self._stream.write(COMMENT)

    def _tell_job(self) -> None:
        self._stale = False
        found = inspection.job(self._server.broker, self._peer, self._job, self._server.seconds())
        self._write(event("job", found))

    def _catch_up(self, last_id: str) -> None:
        """Send what its worker has said since, the last of it; of another attempt all."""
        job, match = self._job, _PLACE.fullmatch(last_id)
        if match is None or not reads(self._peer, job.function):
            return
        attempt, known = attempt_of(job), int(match[2])
        if match[1] != attempt:
            if known:
                self._write(event("restarted", {}))
            known = 0
        brought, tail = kept_data(job)
        missed = tail[-(brought - known) :] if brought > known else b""
        if brought - known > len(missed):
            self._write(event("skipped", {"bytes": brought - known - len(missed)}))
        if missed:
            self._write(event("data", said(missed), f"{attempt}-{brought}"))

    def _place(self, more: int) -> str:
        """Where what its worker says just now ends within what its attempt has brought."""
        job, history = self._job, self._job.history
        keeps = job.background and self._server.broker.functions.policy_of(job).results is not None
        if not keeps or history is None or history.collected is None:
            return ""
        return f"{attempt_of(job)}-{history.collected + more}"

    def _may_know(self) -> bool:
        """Whether the peer may know of the job; if it may not any more, it is told nothing from now on."""
        if sees(self._peer, self._job) is not None:
            return True
        self._stream.finish()
        self._stop()
        return False

    def _hear(self, kind: int, arguments: Sequence[Data]) -> None:
        if not self._may_know():
            return
        if kind in (JOB_ASSIGN, RESTARTED):
            self._progress = ()
            if self._stream.full:
                self._stale = True
            else:
                self._tell_job()
        elif not reads(self._peer, self._job.function):
            return
        elif kind == WORK_STATUS:
            self._progress = arguments
            if self._progress_timer is None:
                self._tell_progress()
        elif self._stream.full:
            self._skipped += len(arguments[-1])
        elif kind in (WORK_DATA, WORK_WARNING):
            self._tell_bytes(kind, *arguments)

    def _tell_bytes(self, kind: int, handle: Data, whole: Data) -> None:
        """Tell what the worker has said. Of much at once the beginning will do for who looks on."""
        shown = next(pieces(whole, MOST_SHOWN))
        if kind == WORK_DATA:
            self._write(event("data", said(shown), self._place(len(whole))))
        else:
            data = told(kind, (handle, shown))
            assert data is not None
            self._write(data)
        if len(shown) < len(whole):
            self._write(event("skipped", {"bytes": len(whole) - len(shown)}))

    def _tell_progress(self) -> None:
        """Tell it the progress of now, and not again too soon."""
        self._progress_timer = None
        if not reads(self._peer, self._job.function):
            self._progress = ()
        if self._progress and not self._stream.full:
            data = told(WORK_STATUS, self._progress)
            assert data is not None
            self._progress = ()
            self._write(data)
            self._progress_timer = self._server.clock.callLater(PROGRESS_SECONDS, self._tell_progress)

    def _caught_up(self) -> None:
        """It has read what it was sent."""
        if not self._may_know():
            return
        if self._skipped:
            skipped, self._skipped = self._skipped, 0
            self._write(event("skipped", {"bytes": skipped}))
        if self._stale:
            self._tell_job()
        if self._progress_timer is None:
            self._tell_progress()

    def _end(self, outcome: int, data: bytes, result: bytes, complete: bool) -> None:
        if not self._may_know():
            return
        found: dict[str, Any] = {"outcome": STATE_NAMES[outcome]}
        if reads(self._peer, self._job.function):
            shown = result[:MOST_SHOWN]
            found["result"] = {"size": len(result), "shown": len(shown), **said(shown)}
        if self._skipped:
            self._write(event("skipped", {"bytes": self._skipped}))
        self._finish(found)

    def _finish(self, found: dict[str, Any]) -> None:
        self._write(event("ended", found))
        self._stream.finish()
        self._stop()

    def _stop(self) -> None:
        now = self._server.seconds()
        self._unfollow(now)
        self._unwatch(now)
        self._quiet.cancel()
        if self._progress_timer is not None:
            self._progress_timer.cancel()
            self._progress_timer = None
        self._done()
