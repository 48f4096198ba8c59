"""
Pages that are kept open: what has changed of them is told as it changes, as server-sent events.

A page's own address tells its changes, to whoever takes C{text/event-stream}. All who look at the same page
with the same rights share one look at the server, and one that takes long is taken less often, so that pages
cost little however many there are. C{live.js} is who reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import SchedulerStopped, TaskStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.broker.model import Peer
from txgear.broker.operators.inspection import moment
from txgear.web.answers import Problem
from txgear.web.events.sse import EVENT_STREAM, event
from txgear.web.pages.view import View

if TYPE_CHECKING:
    from txgear.server.jobserver import JobServer
    from txgear.server.turns import Steps
    from txgear.web.request import Streamed, WebRequest

MOST_READERS: Final = 100
"""Pages that are kept open at the same time: each may have one event unread, of some hundred kilobytes."""
MOST_OF_ONE: Final = 50
"""Those of one identity, where there are access rules: nobody can have all the room there is."""
BUSY_SECONDS: Final = 10
"""Seconds after which a page that is one too many had better come again."""
BEAT_SECONDS: Final = 5.0
"""Seconds after which a page is told that there is nothing new. It says so when it hears nothing for long."""
SPARE: Final = 100
"""A look may take one part in so many of the server's time."""

Key: TypeAlias = tuple[Any, ...]


def _nothing() -> None:
    """What is done when nobody looks any more."""


class PageReader:
    """
    A page that is kept open.

    @ivar stream: its connection.
    @ivar look: the one up to which it knows all; negative where it knows nothing.
    """

    def __init__(self, stream: Streamed) -> None:
        self.stream = stream
        self.look = -1
        self._told_at = 0.0

    def tell(self, watched: Watched, now: float, stamp: str | None) -> None:
        """
        Send what it does not know, unless it has not read what it was sent before.

        @param stamp: the time of the server, by which the page counts ages.
        """
        if self.stream.full:
            return
        board = watched.view.board
        if self.look < board.look:
            news = board.news(self.look)
            self.look = board.look
            if news["parts"] or news["rows"]:
                self._send("change", {"time": stamp, **news}, now)
                return
        if now - self._told_at >= BEAT_SECONDS:
            self._send("beat", {"time": stamp}, now)

    def _send(self, name: str, data: Any, now: float) -> None:
        self.stream.write(event(name, data))
        self._told_at = now

    def end(self, name: str, data: Any) -> None:
        """Send the last event."""
        self.stream.write(event(name, data))
        self.stream.finish()


class Watched:
    """
    One page as one identity sees it, looked at as long as somebody keeps it open.

    Its readers are sent C{change} with the C{time} and with what L{Board.news} has; C{beat} with the C{time}
    where there is nothing new for a while; and as the last thing C{reload}, where who may do what has
    changed, or C{gone} with a C{text}, where what the page is about is not there any more.
    """

    log = Logger()

    def __init__(self, server: JobServer, view: View, left: Callable[[], None]) -> None:
        """
        @param left: called once when nobody looks any more.
        """
        self.view = view
        self._server = server
        self._left = left
        self._access = server.guard.access
        self._readers: dict[PageReader, None] = {}
        self._timer: IDelayedCall | None = None
        self._task: Any = None
        self._cost = 0.0
        # That of the look before.
        self._usual = 0.0

    @property
    def readers(self) -> int:
        """How many keep it open."""
        return len(self._readers)

    def join(self, reader: PageReader) -> None:
        """One more keeps it open."""
        self._readers[reader] = None
        reader.stream.on_gone = lambda: self._leave(reader)
        reader.stream.on_session_over = lambda: self._send_away(reader)
        if self._task is not None:
            # It is told with all others what this look finds: half of it would pass for the whole.
            return
        if self._timer is None:
            self._look()
        else:
            reader.tell(self, self._server.seconds(), self._stamp())

    def _leave(self, reader: PageReader) -> None:
        del self._readers[reader]
        reader.stream.on_gone = reader.stream.on_session_over = _nothing
        if not self._readers:
            self._rest()

    def _send_away(self, reader: PageReader) -> None:
        """Whoever loads the page again is led to where one signs in."""
        reader.end("reload", {})
        self._leave(reader)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            task, self._task = self._task, None
            task.stop()
        # What refers to itself is kept until Python looks for such things, which it seldom does here.
        left, self._left = self._left, _nothing
        left()

    def _stamp(self) -> str | None:
        return moment(self._server.wall_clock())

    def _look(self) -> None:
        self._timer = None
        if self._server.guard.access is not self._access:
            self._end("reload", {})
            return
        self._usual, self._cost = self._cost, 0.0
        self.view.board.look += 1
        self._task = self._server.patient.cooperate(self._measured(self.view.look()))
        self._task.whenDone().addCallbacks(self._looked, self._failed)

    def _measured(self, steps: Steps) -> Steps:
        seconds = self._server.seconds
        while True:
            begun = seconds()
            try:
                step = next(steps)
            except StopIteration:
                return
            finally:
                self._cost += seconds() - begun
            yield step

    def _looked(self, done: object) -> None:
        self._task = None
        now, stamp = self._server.seconds(), self._stamp()
        for reader in list(self._readers):
            reader.tell(self, now, stamp)
        # A page is not to stand still for what one look took and the one before did not: the first has
        # templates made, and any may have waited for a processor.
        wait = max(self.view.seconds, min(self._cost, self._usual) * SPARE)
        self._timer = self._server.clock.callLater(wait, self._look)

    def _failed(self, failure: Failure) -> None:
        self._task = None
        error = failure.value
        if isinstance(error, Problem):
            self._end("gone", {"text": error.detail})
        elif failure.check(SchedulerStopped, TaskStopped) is None:
            self.log.failure("a defect in what a page shows", failure)
            self._end("reload", {})

    def _end(self, name: str, data: Any) -> None:
        readers, self._readers = list(self._readers), {}
        for reader in readers:
            reader.end(name, data)
        self._rest()


class Live:
    """
    All pages that are kept open.

    @ivar run: tells this run of the server from all others. C{hello}, the first event of each, has it: a page
        of another run has forms that are not taken any more, and perhaps another version's scripts.
    """

    def __init__(self, server: JobServer) -> None:
        self.run = token_hex(6)
        self._server = server
        self._watched: dict[Key, Watched] = {}

    def join(self, request: WebRequest, make: Callable[[Peer], View]) -> None:
        """
        Keep a page open.

        @param make: makes what it shows, for a peer with these rights.
        @raise Problem: there are too many, or there is no such page.
        """
        peer = request.peer
        key = request.target, request.query_text, peer.tenant, peer.rights
        self._check_room(key)
        watched = self._watched.get(key)
        if watched is None or not watched.view.is_current:
            watched = self._watch(key, peer, make)
        reader = PageReader(request.stream(content_type=EVENT_STREAM))
        reader.stream.write(event("hello", {"run": self.run}))
        watched.join(reader)

    def _check_room(self, key: Key) -> None:
        """
        @param key: of which page one more is to be kept open, by whom.
        @raise Problem: there is no room for it.
        """
        who = key[-2:]
        mine = everybody = 0
        for (*_, tenant, rights), watched in self._watched.items():
            everybody += watched.readers
            if (tenant, rights) == who:
                mine += watched.readers
        if everybody >= MOST_READERS:
            whose = f"{MOST_READERS} pages are"
        elif mine >= MOST_OF_ONE and who[-1] is not None:
            whose = f"{MOST_OF_ONE} pages of your identity are"
        else:
            return
        raise Problem(
            503,
            "too_many_readers",
            f"{whose} kept open, and there is no room for another",
            headers={"Retry-After": str(BUSY_SECONDS)},
        )

    def _watch(self, key: Key, peer: Peer, make: Callable[[Peer], View]) -> Watched:
        guard = self._server.guard
        asker = guard.stand_in(peer)
        try:
            view = make(asker)
        except BaseException:
            guard.dismiss(asker)
            raise

        def left() -> None:
            view.close()
            guard.dismiss(asker)
            if self._watched.get(key) is watched:
                del self._watched[key]

        view.open()
        watched = self._watched[key] = Watched(self._server, view, left)
        return watched
