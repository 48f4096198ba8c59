"""
Sessions of browsers: which requests they count for, and what ends with them.

A cookie is sent by a browser whoever has it do so. So a session counts for what changes nothing, and for the
forms of pages, which have a token besides (L{txgear.web.pages.forms}); all else wants the token of an
identity. And it does not count for what a page of another web site, of the same host perhaps, loads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IDelayedCall

from txgear.broker.records import StoredValue
from txgear.security.sessions import LIFE, Session, Sessions
from txgear.security.tokens import Token
from txgear.web.cookies import cookies, set_cookie
from txgear.web.origins import authority, origin_of

if TYPE_CHECKING:
    from txgear.server.jobserver import JobServer
    from txgear.web.request import WebRequest

COOKIE: Final = "txgear_session"
"""The cookie of a session, where it may come without TLS."""
SECURE_COOKIE: Final = "__Host-txgear_session"
"""Where it may not. By this name browsers take it from nobody but this very host, and by TLS."""
LONGEST: Final = 200
"""Characters of one at the most; there are some 90."""


def is_from_elsewhere(request: WebRequest) -> bool:
    """Whether a browser says that a page of another web site, or of another port, is behind a request."""
    return request.listed("Sec-Fetch-Site").lower() in ("cross-site", "same-site")


def is_navigation(request: WebRequest) -> bool:
    """Whether a browser says that somebody goes to another page."""
    return request.listed("Sec-Fetch-Mode").lower() == "navigate"


def came_by_https(request: WebRequest) -> bool:
    """
    Whether the browser that sends a form has its page by TLS.

    A proxy before this server may have taken it off, which the browser's own C{Origin} tells: it says nothing
    to anybody's harm but the browser's.
    """
    said = origin_of(request.listed("Origin"))
    asked = authority(request.listed("Host"))
    is_own = said is not None and asked is not None and said.host == asked.host
    return bool(request.isSecure()) or (said is not None and is_own and said.scheme == "https")


class BrowserSessions:
    """
    All sessions of the web.
    """

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self._sessions = Sessions(server.broker.persistence.put_value)
        self.sign = self._sessions.sign
        self._streams: dict[WebRequest, tuple[Session, IDelayedCall]] = {}

    def restore(self, values: Iterable[StoredValue]) -> None:
        """
        Go on from what a server before has kept.

        @param values: all that the store has; empty without one.
        """
        self._sessions.restore(values, self._server.wall_clock())

    def hear(self, value: StoredValue) -> None:
        """Another server that has the same store has kept this: what was ended there ends here."""
        self._sessions.hear(value)
        self._end_streams()

    def _end_streams(self) -> None:
        """End what is kept open by sessions that have ended."""
        for stream, (session, _) in list(self._streams.items()):
            if self._sessions.has_ended(session):
                stream.session_over()

    @property
    def possible(self) -> bool:
        """Whether it could help anybody to sign in: there are rules, and tokens."""
        access = self._server.guard.access
        return bool(access.rules) and access.has_tokens

    def find(self, request: WebRequest) -> Session | None:
        """The session by which a request has come; C{None} for none that counts for it."""
        if not request.takes_session or (is_from_elsewhere(request) and not is_navigation(request)):
            return None
        found = cookies(request, SECURE_COOKIE)
        if not found and not request.isSecure():
            found = cookies(request, COOKIE)
        # Of two, one was put there by somebody else.
        if len(found) != 1 or len(found[0]) > LONGEST:
            return None
        return self._sessions.find(found[0], self._token, self._server.wall_clock())

    def _token(self, token_id: str) -> Token | None:
        return self._server.guard.access.token(token_id)

    def begin(self, request: WebRequest, token: Token) -> tuple[str, ...]:
        """
        Somebody has signed in. The session that the request came by ends.

        @return: the cookies to be set.
        """
        self.end(request)
        _, value = self._sessions.begin(token, self._server.wall_clock())
        secure = came_by_https(request)
        name = SECURE_COOKIE if secure else COOKIE
        return (set_cookie(request, name, value, int(LIFE), secure),)

    def end(self, request: WebRequest) -> tuple[str, ...]:
        """
        The session by which a request has come ends, and with it all that is kept open by it.

        @return: the cookies to be taken away.
        """
        if request.session is None:
            return ()
        self._sessions.end(request.session, self._server.wall_clock())
        self._end_streams()
        return (
            set_cookie(request, COOKIE, "", 0),
            set_cookie(request, SECURE_COOKIE, "", 0, secure=True),
        )

    def bind(self, request: WebRequest, session: Session) -> None:
        """A stream by a session begins, and is to end with that."""
        seconds = max(session.ends - self._server.wall_clock(), 0.0)
        timer = self._server.clock.callLater(seconds, request.session_over)
        self._streams[request] = session, timer
        _ = request.notifyFinish().addBoth(self._finished, request)

    def _finished(self, result: Any, request: WebRequest) -> None:
        _, timer = self._streams.pop(request)
        if timer.active():
            timer.cancel()
