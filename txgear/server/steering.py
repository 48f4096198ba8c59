"""
Workers that can be told what to do: which words they understand, and what they answer.

A worker of this server's own protocol says which words those are; nobody else is ever sent one. What a word
means is the worker's business: more words need nothing here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txgear.broker.about import State, Told
from txgear.broker.model import Peer
from txgear.errors import ArgumentTooLarge, InvalidArgument, ServerError
from txgear.protocol.constants import MAX_OPTIONS, STEER, STEERED_DONE
from txgear.protocol.packets import Data
from txgear.protocol.textlines import text, unescaped

ANSWER_SECONDS: Final = 10.0
"""Seconds that a worker may take to answer. One that stands still in a function answers when that returns."""
MOST_ASKED: Final = 10
"""Words of one worker that are not answered yet."""
MOST_WORDS: Final = 32
"""Words that a worker may understand; further ones are passed over."""
MOST_TEXT: Final = 500
"""Bytes of an answer that are shown."""
MOST_TOLD: Final = 2**53
"""What a worker may count, or have of memory: JSON has no larger whole numbers in common."""
_WORD: Final = re.compile(r"[a-z][a-z-]{0,31}")


class _Asked:
    """
    A word that a worker has been told.

    @ivar answered: fires with what it says.
    @ivar timer: gives it up.
    """

    __slots__ = ("answered", "timer")

    def __init__(self, answered: Deferred[str], timer: IDelayedCall) -> None:
        self.answered = answered
        self.timer = timer


class Steering:
    """
    What the workers of one server have been told, and have not answered yet.
    """

    def __init__(self, clock: IReactorTime, send: Callable[..., None]) -> None:
        """
        @param clock: says when an answer is overdue.
        @param send: carries a packet to a peer.
        """
        self._clock = clock
        self._send = send
        self._numbers = 0
        self._asked: dict[Peer, dict[int, _Asked]] = {}

    def ask(self, worker: Peer, word: str, argument: bytes = b"") -> Deferred[str]:
        """
        Tell a worker something. The packet leaves when the turn ends.

        @param argument: what belongs to the word; empty for most.
        @return: fires with what the worker says to it, for people to read, when it is done. It fails with a
            L{ServerError}: the worker refuses it, has not answered in time (and may still do it), or has gone
            before. To cancel it is not to wait any more: the worker has been told.
        @raise ServerError: it does not understand the word, or has too many to answer.
        """
        if not worker.words:
            raise ServerError(
                "The worker cannot be steered: it speaks the classic protocol, or does not want to",
                "NOT_STEERABLE",
            )
        if word not in worker.words:
            raise ServerError(
                f"The worker does not understand {word}; it understands {', '.join(worker.words)}",
                "NOT_STEERABLE",
            )
        waiting = self._asked.setdefault(worker, {})
        if len(waiting) >= MOST_ASKED:
            raise ServerError(
                f"The worker has {MOST_ASKED} words to answer already, and has not", "TOO_MANY_WORDS"
            )
        self._numbers += 1
        number = self._numbers

        def forget(answered: Deferred[str]) -> None:
            self._take(worker, number)

        answered: Deferred[str] = Deferred(forget)
        timer = self._clock.callLater(ANSWER_SECONDS, self._overdue, worker, number)
        waiting[number] = _Asked(answered, timer)
        self._send(worker, STEER, b"%d" % number, word.encode("ascii"), argument)
        return answered

    def _take(self, worker: Peer, number: int) -> Deferred[str] | None:
        """Nobody waits for this one any more; C{None} where nobody did."""
        waiting = self._asked.get(worker, {})
        asked = waiting.pop(number, None)
        if asked is None:
            return None
        if not waiting:
            del self._asked[worker]
        if asked.timer.active():
            asked.timer.cancel()
        return asked.answered

    def _overdue(self, worker: Peer, number: int) -> None:
        answered = self._take(worker, number)
        assert answered is not None
        answered.errback(
            ServerError(
                f"The worker has not answered for {ANSWER_SECONDS:.0f} seconds; it may still do it",
                "NOT_ANSWERED",
            )
        )

    def answer(self, worker: Peer, number: bytes, outcome: bytes, said: Data) -> None:
        """A worker has answered. What nobody waits for any more is passed over."""
        answered = self._take(worker, int(number)) if number.isdigit() and len(number) < 20 else None
        if answered is None:
            return
        words = text(bytes(said)[:MOST_TEXT])
        if outcome == STEERED_DONE:
            answered.callback(words)
        else:
            answered.errback(ServerError(words or "It does not say why", "REFUSED_BY_WORKER"))

    def left(self, worker: Peer) -> None:
        """A peer has gone: it answers nothing any more."""
        for number in list(self._asked.get(worker, ())):
            answered = self._take(worker, number)
            assert answered is not None
            answered.errback(ServerError("The worker has gone before it answered", "WORKER_GONE"))


def read_state(options: bytes) -> State:
    """
    Read the options of WORKER_STATE: a JSON object in UTF-8. What is not known in it is passed over.

    @raise ArgumentTooLarge: they are longer than L{MAX_OPTIONS}.
    @raise InvalidArgument: they are no such thing.
    """
    if len(options) > MAX_OPTIONS:
        raise ArgumentTooLarge(f"A state of {len(options)} bytes is over the limit of {MAX_OPTIONS}")
    try:
        found: Any = json.loads(options.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"The state is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgument("The state is no JSON object")
    words, paused, functions = found.get("words", []), found.get("paused", False), found.get("functions", [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InvalidArgument("words: a list of texts is wanted")
    if not isinstance(paused, bool):
        raise InvalidArgument("paused: true or false is wanted")
    if not isinstance(functions, list):
        raise InvalidArgument("functions: a list of objects is wanted")
    known = dict.fromkeys(word for word in words if _WORD.fullmatch(word))
    return State(
        tuple(known)[:MOST_WORDS],
        paused,
        tuple(map(_told, functions)),
        _number(found, "concurrency", None),
        _number(found, "memory", None),
    )


def _told(found: object) -> Told:
    if not isinstance(found, dict):
        raise InvalidArgument("functions: a list of objects is wanted")
    name, in_use = found.get("name"), found.get("in_use", True)
    if not isinstance(name, str):
        raise InvalidArgument("name: the name of a function is wanted")
    if not isinstance(in_use, bool):
        raise InvalidArgument("in_use: true or false is wanted")
    try:
        raw = unescaped(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidArgument("name: it is no text") from error
    done, failed, active = (_number(found, count, 0) or 0 for count in ("done", "failed", "active"))
    return Told(raw, in_use, done, failed, active)


def _number(found: dict[str, Any], name: str, missing: int | None) -> int | None:
    number = found.get(name, missing)
    if number is not None and (type(number) is not int or not 0 <= number <= MOST_TOLD):
        raise InvalidArgument(f"{name}: a whole number from 0 to {MOST_TOLD} is wanted")
    return number
