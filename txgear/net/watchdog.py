"""
A server that does not answer is noticed: TCP alone does not notice a host without power for hours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txgear.quantities import second_words

ATTEMPT_SECONDS: Final = 10.0
"""
How long one attempt to connect may take, and then the server's first answer: a
host that is gone must not keep us from the next one.
"""
HEARTBEAT_SECONDS: Final = 30.0
"""
Silence after which the server is asked for an echo, and then how long it may take for it. It
is below the minute after which the first NAT boxes and load balancers forget a connection.
"""
ANSWER_SECONDS: Final = 60.0
"""
How long a server that is alive may leave a request without its answer. A store
that is busy takes seconds; gearmand leaves some requests unanswered for ever.
"""
PAUSE: Final = 0.5
"""
The part of a heartbeat by which the watchdog may be late before we take it that we stood still
ourselves: a function blocked, the process was stopped, the machine slept.
"""


class Watchdog:
    """
    Watches the server at the other end of one connection.

    The connection begins with an echo, which must be back within L{ATTEMPT_SECONDS}. From then on
    C{heartbeat} seconds of silence are followed by another echo, which has as long again. A request has
    C{answer_timeout} seconds for its answer, whatever else the server sends meanwhile.

    What counts is the time since the echo was sent, not since the server was last heard: we may
    have stood still meanwhile. The clock must be L{steady<txgear.net.steady.steady>}, so that all that
    has come in such a pause is read before the server is judged.
    """

    def __init__(
        self,
        clock: IReactorTime,
        heartbeat: float,
        answer_timeout: float,
        ask_for_echo: Callable[[], object],
        on_unanswered: Callable[[], object],
        give_up: Callable[[str], object],
    ) -> None:
        """
        @param heartbeat: seconds of silence before an echo, and seconds that the echo may take.
        @param answer_timeout: seconds that an answer may take.
        @param ask_for_echo: sends the server an echo.
        @param on_unanswered: called before C{give_up}, where the server is alive and left a request
            without an answer.
        @param give_up: called once with what the server did not do, in words; L{stop} is to follow.
        """
        self._clock = clock
        self._heartbeat = heartbeat
        self._answer_timeout = answer_timeout
        self._ask_for_echo = ask_for_echo
        self._on_unanswered = on_unanswered
        self._give_up = give_up
        self._timer: IDelayedCall | None = None
        self._due = 0.0
        self._heard_at = 0.0
        self._echo_at: float | None = None
        self._asked_at: float | None = None
        self._echo_timeout = ATTEMPT_SECONDS
        self._proved = False
        self._spared = False

    def start(self) -> None:
        """The connection has been made: send the first echo."""
        self._heard_at = self._clock.seconds()
        self._send_echo()
        self._watch_again()

    def stop(self) -> None:
        """The connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def heard(self) -> None:
        """The server is alive: it has sent something, or has read what it was sent."""
        self._heard_at = self._clock.seconds()
        if self._proved:
            self._echo_at = None
            self._spared = False

    def reads(self) -> None:
        """The server has read a large workload on a slow line, and could not answer before."""
        self.heard()
        if self._asked_at is not None:
            self._asked_at = self._heard_at

    def proved(self) -> None:
        """The first echo is back."""
        self._proved = True
        self._echo_timeout = self._heartbeat
        self.heard()
        self._watch_again()

    def waits_for_answer(self, waits: bool) -> None:
        """Start anew to measure how long the server takes for an answer, or stop."""
        self._asked_at = self._clock.seconds() if waits else None

    def _send_echo(self) -> None:
        self._echo_at = self._clock.seconds()
        self._ask_for_echo()

    def _watch_again(self) -> None:
        """Look again when something may be overdue, and often enough for what will be asked meanwhile."""
        now = self._clock.seconds()
        due = (
            self._heard_at + self._heartbeat if self._echo_at is None else self._echo_at + self._echo_timeout
        )
        due = min(due, (now if self._asked_at is None else self._asked_at) + self._answer_timeout)
        self.stop()
        self._due = max(due, now)
        self._timer = self._clock.callLater(self._due - now, self._watch)

    def _watch(self) -> None:
        self._timer = None
        # What follows is reckoned as in L{_watch_again}, or rounding would have us look again and again.
        now = self._clock.seconds()
        if now - self._due > PAUSE * self._heartbeat:
            self._forgive(now)
        if self._asked_at is not None and now >= self._asked_at + self._answer_timeout:
            self._on_unanswered()
            self._give_up(f"left a request unanswered for {second_words(self._answer_timeout)}")
        elif self._echo_at is not None and now >= self._echo_at + self._echo_timeout:
            self._give_up(f"did not answer within {second_words(self._echo_timeout)}")
        else:
            if self._echo_at is None and now >= self._heard_at + self._heartbeat:
                self._send_echo()
            self._watch_again()

    def _forgive(self, now: float) -> None:
        """
        We stood still; so may have the server, or the line between. What it owes us has more time:
        the pause for an answer, and for an echo all of it, but only once.
        """
        if self._asked_at is not None:
            self._asked_at += now - self._due
        if self._echo_at is not None and not self._spared:
            self._spared = True
            self._echo_at = now
