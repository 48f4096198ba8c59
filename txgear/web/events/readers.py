"""
C{/events}: what changes in the server, told as it changes, as server-sent events.

A reader is sent the whole state at first, and then what has changed, four times a second at the most. One
that does not read is sent nothing, and later what has changed meanwhile, so nothing is held for it. One that
was away, and says which event it had last (C{Last-Event-ID}), is told what has changed since.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.broker.model import Job
from txgear.broker.operators import inspection
from txgear.broker.operators.inspection import moment
from txgear.broker.operators.search import Search
from txgear.protocol.textlines import unescaped
from txgear.web.answers import Problem
from txgear.web.events.jobevents import JobReader
from txgear.web.events.livestate import LiveState, Thing
from txgear.web.events.sse import COMMENT, EVENT_STREAM, QUIET_SECONDS, event
from txgear.web.loading import when_loaded
from txgear.web.routes import Operation, Route

if TYPE_CHECKING:
    from txgear.server.jobserver import JobServer
    from txgear.web.request import Streamed, WebRequest
    from txgear.web.web import Web

TICK_SECONDS: Final = 0.25
"""Seconds between two events of a reader, at the least."""
MOST_READERS: Final = 100
"""Readers at the same time: each may have one event unread, of some hundred kilobytes."""
BUSY_SECONDS: Final = 10
"""Seconds after which a reader that is one too many had better come again."""
OF_EVENTS: Final = ("function",)
"""What the functions of events can be asked for."""
_ID: Final = re.compile(r"([0-9a-f]{1,16})-([0-9]{1,15})")
"""Which life of the server, and which look at its state."""


Made: TypeAlias = "dict[tuple[Any, ...], bytes]"
"""Events, by which state they are of, and by all that tells those who are sent another apart."""


class Reader:
    """
    One who is told what changes.

    @ivar stream: its connection.
    @ivar look: the one up to which it knows all; negative where it knows nothing.
    """

    def __init__(self, request: WebRequest, stream: Streamed, topics: frozenset[str], search: Search) -> None:
        """
        @param topics: names of what it wants to hear of.
        @param search: which functions it wants to hear of.
        """
        self.stream = stream
        self.look = -1
        self._peer = request.peer
        self._guard = request.server.guard
        self._topics = topics
        self._pattern = search.function
        self._told_at = request.now
        self._rights, self._access = self._peer.rights, self._guard.access

    def tell(self, state: LiveState, now: float, stamp: str | None, made: Made) -> None:
        """
        Send what it does not know, unless it has not read what it was sent before.

        @param stamp: the time, for people.
        @param made: what others have been sent of this state: nearly all are to know the same.
        """
        if self.stream.full:
            return
        if self._peer.rights is not self._rights or self._guard.access is not self._access:
            # What it may know of may be another now, more or less.
            self._rights, self._access = self._peer.rights, self._guard.access
            self.look = -1
        who = self._peer.tenant, self._rights, self._access
        asked = state.look, self.look, self._topics, self._pattern, *who
        news = made.get(asked)
        if news is None:
            news = made[asked] = self._news(state, stamp)
        self.look = state.look
        if news:
            self.stream.write(news)
        elif now - self._told_at >= QUIET_SECONDS:
            self.stream.write(COMMENT)
        else:
            return
        self._told_at = now

    def _news(self, state: LiveState, stamp: str | None) -> bytes:
        """The event that tells it what it does not know; empty for none."""
        topics = {name: topic for name, topic in state.topics.items() if name in self._topics}
        known = self.look
        if any(known < topic.horizon for topic in topics.values()):
            known = -1
        whole = known < 0
        data: dict[str, Any] = {"time": stamp}
        gone: dict[str, list[str]] = {}
        for name, topic in topics.items():
            things = [
                thing
                for thing in topic.changed(known)
                if self._wants(thing) and topic.sees(self._peer, thing)
            ]
            rows = [thing.row for thing in things if thing.row is not None]
            if rows or (whole and topic.is_told_empty):
                data[name] = rows
            if not whole and len(rows) < len(things):
                gone[name] = [thing.name for thing in things if thing.row is None]
        if gone:
            data["gone"] = gone
        if len(data) == 1 and not whole:
            return b""
        return event("state" if whole else "change", data, f"{state.life}-{state.look}")

    def _wants(self, thing: Thing) -> bool:
        return not isinstance(thing.key, bytes) or self._pattern.fullmatch(thing.key) is not None


class Events:
    """
    All readers, and the timer that has them told: one after the other, in short turns. There is one while
    there are readers, and while nobody is just being told.
    """

    log = Logger()

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self.state = LiveState(server)
        self._readers: dict[Reader, None] = {}
        self._following = 0
        self._timer: IDelayedCall | None = None
        self._telling = False
        self._made: Made = {}

    def start(self) -> None:
        """Part of L{txgear.web.web.Part}: there are no readers yet."""

    def stop(self) -> None:
        """Part of L{txgear.web.web.Part}: tell nobody any more."""
        self._readers.clear()
        self._rest()

    def check_room(self) -> None:
        """
        @raise Problem: there are as many readers as there may be.
        """
        if len(self._readers) + self._following >= MOST_READERS:
            raise Problem(
                503,
                "too_many_readers",
                f"There are {MOST_READERS} readers of events, and no room for another",
                headers={"Retry-After": str(BUSY_SECONDS)},
            )

    def join(self, reader: Reader, last_id: str) -> None:
        """
        Tell one more reader, from now on.

        @param last_id: the id of the last event that it had; empty for none. One that means nothing any more
            counts as none.
        """
        match = _ID.fullmatch(last_id)
        if match is not None and match[1] == self.state.life and int(match[2]) <= self.state.look:
            reader.look = int(match[2])
        self._readers[reader] = None
        reader.stream.on_gone = lambda: self._leave(reader)
        if self._timer is None and not self._telling:
            self._look()
            self._wait()
        reader.tell(self.state, self._server.seconds(), self._stamp(), self._made)

    def _leave(self, reader: Reader) -> None:
        self._readers.pop(reader, None)
        if not self._readers:
            self._rest()

    def _look(self) -> None:
        self.state.find_changes()
        self._made = {}

    def _stamp(self) -> str | None:
        return moment(self._server.wall_clock())

    def _wait(self) -> None:
        self._timer = self._server.clock.callLater(TICK_SECONDS, self._look_and_tell)

    def _look_and_tell(self) -> None:
        self._timer, self._telling = None, True
        self._look()
        done: Any = self._server.patient.cooperate(self._tell_all(list(self._readers))).whenDone()
        done.addErrback(self._failed).addCallback(self._told)

    def _tell_all(self, readers: list[Reader]) -> Iterator[None]:
        now, stamp = self._server.seconds(), self._stamp()
        for reader in readers:
            if reader in self._readers:
                reader.tell(self.state, now, stamp, self._made)
                yield None

    def _failed(self, failure: Failure) -> None:
        if not failure.check(SchedulerStopped):
            self.log.failure("a defect in what is told of changes", failure)

    def _told(self, nothing: object) -> None:
        self._telling = False
        if self._readers:
            self._wait()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._made = {}

    def follow(self, request: WebRequest, job: Job, last_id: str) -> None:
        """
        Have a request told what happens to a job.

        @param last_id: see L{JobReader}.
        """
        self._following += 1
        JobReader(request, job, self._followed, last_id)

    def _followed(self) -> None:
        self._following -= 1


class EventsHeaders(Struct, frozen=True, kw_only=True, rename={"last_event_id": "Last-Event-ID"}):
    """
    @ivar last_event_id: the id of the last event that the reader had.
    """

    last_event_id: str = ""


class EventsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What of the events is wanted.

    @ivar topics: which, parted by commas; all of them by default.
    @ivar function: a pattern in the shell's manner, which the names of the functions match.
    @ivar job: the handle of a job. Then it alone is followed, to its end, and neither C{topics} nor
        C{function} can be there.
    @ivar last_event_id: like the header C{Last-Event-ID}, for whoever cannot send that.
    """

    topics: str = ""
    function: str = ""
    job: str = ""
    last_event_id: str = ""


OPERATION: Final = Operation(
    name="follow_events",
    summary="What changes, as it changes",
    tag="events",
    description=(
        "Server-sent events. `state` comes first, then `change` with what has changed, four times a second "
        "at the most. With `job` they are what happens to that job, to its end."
    ),
    query=EventsQuery,
    headers=EventsHeaders,
    answers={200: bytes},
    problems=(400, 404, 503),
    content_types={200: EVENT_STREAM},
)


def routes(web: Web) -> list[Route]:
    """The routes of this part."""
    events = web.own(Events(web.server))

    def follow_job(request: WebRequest, handle: bytes, last_id: str) -> None:
        job = inspection.find(web.server.broker, request.peer, handle)
        if job is None:
            raise Problem(404, "unknown_job", "There is no such job")
        events.check_room()
        events.follow(request, job, last_id)

    def follow(request: WebRequest) -> Any:
        query = request.query(EventsQuery)
        last_id = request.header("Last-Event-ID") or query.last_event_id
        if query.job:
            if query.topics or query.function:
                raise Problem(400, "invalid_query", "A job is followed alone: without topics and function")
            handle = query.job.encode("utf-8")
            return when_loaded(request, (handle,), partial(follow_job, request, handle, last_id))
        topics = _topics(query.topics, events.state)
        search = Search.parse(
            {"function": unescaped(query.function.encode("utf-8"))} if query.function else {}, OF_EVENTS
        )
        events.check_room()
        stream = request.stream(content_type=EVENT_STREAM)
        events.join(Reader(request, stream, topics, search), last_id)
        return None

    return [Route("GET", "/events", follow, OPERATION)]


def _topics(words: str, state: LiveState) -> frozenset[str]:
    known = frozenset(state.topics)
    wanted = frozenset(words.split(",")) if words else known
    if not wanted <= known:
        raise Problem(400, "invalid_query", f"topics are one or more of {', '.join(state.topics)}")
    return wanted
