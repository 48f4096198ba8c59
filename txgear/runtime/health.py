"""
Whether a runtime is alive, and whether it is ready: told over HTTP to whoever asks, and to the service
manager.

It is less than a web server: one short question on each connection, one answer, and the end. So whatever
comes costs a bounded amount of memory and time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from twisted.application.service import Service
from twisted.internet import protocol
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.daemon.notify import Notifier
from txgear.errors import ConfigurationError
from txgear.net.listeners import ListenAddress, listen, listen_addresses, shown_address

MOST_QUESTION: Final = 8192
"""Bytes of a question at the most."""
QUESTION_SECONDS: Final = 10.0
"""How long a question, and the reading of its answer, may take."""
MOST_AT_ONCE: Final = 100
"""Questions at once; whoever comes then is not answered."""
BACKLOG: Final = 50
LOOK_SECONDS: Final = 0.5
"""How often it is looked whether the service manager is to be told something."""

_END: Final = re.compile(rb"\r?\n\r?\n")
_FIRST_LINE: Final = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r?")
_PLACES: Final = b"There are /alive, /ready and /status\n"


class Watched(Protocol):
    """
    The runtime, as far as it is asked how it is.
    """

    def problems(self) -> list[str]:
        """What keeps it from being ready, in words: none where it is."""

    def is_loading(self) -> bool:
        """Whether code is being loaded anew, and it is not known yet what comes of it."""

    def status(self) -> dict[str, Any]:
        """All that is known, for JSON."""


class Answer(NamedTuple):
    """
    An answer.

    @ivar status: the code and its words.
    @ivar kind: the type of the body.
    @ivar body: the body.
    """

    status: str
    kind: str
    body: bytes


def answer(question: bytes, runtime: Watched) -> bytes:
    """
    Answer a request of HTTP.

    @param question: its first line, with all that came behind it.
    """
    found = _FIRST_LINE.match(question)
    if found is None:
        return _packed(Answer("400 Bad Request", "text/plain", b"HTTP/1.1 is spoken here\n"))
    method, target = found.groups()
    if method not in (b"GET", b"HEAD"):
        refusal = Answer("405 Method Not Allowed", "text/plain", b"There is GET, and HEAD\n")
        return _packed(refusal, "Allow: GET, HEAD\r\n")
    packed = _packed(_answer(target.partition(b"?")[0], runtime))
    return packed[: packed.index(b"\r\n\r\n") + 4] if method == b"HEAD" else packed


def _answer(path: bytes, runtime: Watched) -> Answer:
    if path == b"/alive":
        return Answer("200 OK", "text/plain", b"alive\n")
    if path == b"/ready":
        problems = runtime.problems()
        if not problems:
            return Answer("200 OK", "text/plain", b"ready\n")
        text = "".join(f"{problem}\n" for problem in problems)
        return Answer("503 Service Unavailable", "text/plain", text.encode("utf-8", "backslashreplace"))
    if path == b"/status":
        return Answer("200 OK", "application/json", json.dumps(runtime.status(), indent=2).encode() + b"\n")
    return Answer("404 Not Found", "text/plain", _PLACES)


def _packed(answer: Answer, more: str = "") -> bytes:
    kind = f"{answer.kind}; charset=utf-8" if answer.kind == "text/plain" else answer.kind
    head = (
        f"HTTP/1.1 {answer.status}\r\nContent-Type: {kind}\r\nContent-Length: {len(answer.body)}\r\n"
        f"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{more}Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + answer.body


class Question(protocol.Protocol):
    """One connection: a question, its answer, and the end."""

    def __init__(self, clock: IReactorTime, runtime: Watched, ended: Callable[[Question], object]) -> None:
        """
        @param ended: called with this when the connection has ended.
        """
        self._clock = clock
        self._runtime = runtime
        self._ended = ended
        self._asked = b""
        self._answered = False
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._timer = self._clock.callLater(QUESTION_SECONDS, self.abort)

    def dataReceived(self, data: bytes) -> None:
        # What comes after the question is nobody's.
        if self._answered:
            return
        self._asked += data
        if _END.search(self._asked):
            self._say(answer(self._asked, self._runtime))
        elif len(self._asked) > MOST_QUESTION:
            self._say(_packed(Answer("431 Request Header Fields Too Large", "text/plain", b"Too long\n")))

    def _say(self, text: bytes) -> None:
        assert self.transport is not None
        self._answered, self._asked = True, b""
        self.transport.write(text)
        self.transport.loseConnection()

    def abort(self) -> None:
        """End it at once, whatever is unsent."""
        assert self.transport is not None
        self.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._ended(self)


class _Questions(protocol.Factory):
    noisy = False

    def __init__(self, clock: IReactorTime, runtime: Watched) -> None:
        self._clock = clock
        self._runtime = runtime
        self.there: set[Question] = set()

    def buildProtocol(self, addr: IAddress | None) -> Question | None:
        if len(self.there) >= MOST_AT_ONCE:
            return None
        question = Question(self._clock, self._runtime, self.there.discard)
        self.there.add(question)
        return question


def places(address: str) -> list[ListenAddress]:
    """
    Where C{health} is to be asked for.

    @param address: C{HOST:PORT}, C{[ADDRESS]:PORT}, or the path of a Unix socket, which has a slash; empty
        for nowhere.
    @raise ConfigurationError: it is none of these, or the host has no address.
    """
    if not address:
        return []
    if "/" in address:
        path = re.sub(r"([:=\\])", r"\\\1", address)
        return [ListenAddress(endpoint=f"unix:{path}")]
    found = listen_addresses([address])
    if any(place.port is None for place in found):
        raise ConfigurationError(f"HOST:PORT is wanted, or the path of a socket, not {address!r}")
    return found


class Health(Service):
    """
    Tells how a runtime is.

    The service manager hears that it is ready when each group has a process that is; and of a reload the end,
    when it is known what has come of it.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        clock: IReactorTime,
        runtime: Watched,
        address: str = "",
        notifier: Notifier | None = None,
    ) -> None:
        """
        @param clock: the monotonic one.
        @param address: where to listen: see L{places}.
        @param notifier: tells the service manager, if there is one.
        @raise ConfigurationError: as for L{places}.
        """
        self._reactor = reactor
        self._clock = clock
        self._runtime = runtime
        self._places = places(address)
        self._notifier = notifier
        self._questions = _Questions(clock, runtime)
        self._ports: list[IListeningPort] = []
        self._timer: IDelayedCall | None = None
        self._was_ready = False
        self._is_loading = False

    def startService(self) -> None:
        """
        Listen.

        @raise ConfigurationError: a port cannot be opened.
        """
        super().startService()
        for place in self._places:
            port = listen(self._reactor, place, 0, BACKLOG, self._questions)
            assert port is not None, "no place is optional"
            self._ports.append(port)
            self.log.info("health is told at {address}", address=shown_address(port))
        if self._notifier is not None:
            self._look(self._notifier)

    def reloading(self) -> None:
        """All is about to be loaded anew."""
        self._is_loading = True
        if self._notifier is not None:
            self._notifier.reloading()

    def stopping(self) -> None:
        """The runtime begins to end. Whoever asks is still answered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._notifier is not None:
            self._notifier.stopping()

    def stopService(self) -> Deferred[None]:
        """
        Answer nobody any more.

        @return: fires when the ports are closed. Cancelling it changes nothing about that.
        """
        super().stopService()
        self.stopping()
        if self._notifier is not None:
            self._notifier.stop()
        for question in list(self._questions.there):
            question.abort()
        ports, self._ports = self._ports, []
        closed: Deferred[None] = Deferred()
        _ = gatherResults([maybeDeferred(port.stopListening) for port in ports]).addCallback(
            lambda _: closed.callback(None)
        )
        return closed

    def _look(self, notifier: Notifier) -> None:
        """See whether the service manager is to be told something."""
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look, notifier)
        if not self._was_ready:
            self._is_loading = False
            if not self._runtime.problems():
                self._was_ready = True
                notifier.ready()
        elif self._is_loading and not self._runtime.is_loading():
            self._is_loading = False
            notifier.ready()
