"""
What operators do to one function: the acts of the text commands, as HTTP says them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from txgear.broker.rights import CREATE, DROP, MAXQUEUE, PAUSE, PURGE, RESUME
from txgear.errors import ServerError
from txgear.protocol.textlines import shown_word, text
from txgear.server import everywhere, operatorcommands
from txgear.server.everywhere import Outcome
from txgear.web.acts import record
from txgear.web.answers import Answer, Problem
from txgear.web.api.finding import as_sent
from txgear.web.api.models import ROOT
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

FUNCTION: Final = f"{ROOT}/functions/<name>"
MOST_QUEUED: Final = 2**31 - 1
"""The largest bound that C{maxqueue} takes."""

Bound = Annotated[int, Meta(ge=0, le=MOST_QUEUED)]


class MaxQueue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Jobs of a function at which a submit of each priority is refused; 0 for no bound."""

    high: Bound = 0
    normal: Bound = 0
    low: Bound = 0


class ChangedFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A function, as it is now."""

    function: str
    paused: bool


class Purged(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is purged.

    @ivar jobs: how many are cancelled, in this moment and the next.
    """

    function: str
    jobs: int


class FunctionActs:
    """One method for each act. Each asks what the peer may do, does it, and records it."""

    def __init__(self, web: Web) -> None:
        self._server = web.server
        self._operations = web.server.broker.operations

    def _named(self, request: WebRequest, act: str, name: str) -> bytes:
        return operatorcommands.named_function(self._server, request.peer, act, as_sent(name))

    def _given(self, request: WebRequest, act: str, name: str) -> bytes:
        word = as_sent(name)
        if not word:
            raise Problem(400, "invalid_function", "The name of a function is not empty here")
        return operatorcommands.known_or_given(self._server, request.peer, act, word)

    @staticmethod
    def _changed(request: WebRequest, act: str, function: bytes, paused: bool) -> Answer:
        record(request, act, function=function)
        return Answer(ChangedFunction(function=text(function), paused=paused))

    def pause(self, request: WebRequest, name: str) -> Answer:
        """Hand out no more of its jobs."""
        function = self._named(request, PAUSE, name)
        self._operations.pause(function, request.now, request.peer.who)
        return self._changed(request, PAUSE, function, True)

    def resume(self, request: WebRequest, name: str) -> Answer:
        """Hand them out again."""
        function = self._named(request, RESUME, name)
        if not self._operations.resume(function, request.now):
            raise ServerError("The function is not paused", "NOT_PAUSED")
        return self._changed(request, RESUME, function, False)

    def purge(self, request: WebRequest, name: str) -> Any:
        """Cancel its jobs that no worker has."""
        function = self._named(request, PURGE, name)
        purged = self._operations.purge(function, request.now, request.peer.who)
        if purged is not None:
            record(request, PURGE, function=function, answer=purged)

        def done(elsewhere: Outcome) -> Answer:
            if purged is None and not elsewhere.done:
                raise operatorcommands.unknown_function()
            count = (purged or 0) + (elsewhere.jobs or 0)
            _check(elsewhere, count)
            return Answer(Purged(function=text(function), jobs=count))

        return self._by_others(request, PURGE, function, done)

    def _by_others(
        self, request: WebRequest, act: str, function: bytes, done: Callable[[Outcome], Answer]
    ) -> Any:
        what = b"" if act == PURGE else b"function "
        line = b"%b %b%b" % (act.encode("ascii"), what, shown_word(function))
        return everywhere.by_others(self._server, request.peer, line, done)

    def limit(self, request: WebRequest, name: str) -> Answer:
        """Bound its queue, as the body says."""
        return self.set_limit(request, name, request.body(MaxQueue))

    def set_limit(self, request: WebRequest, name: str, wanted: MaxQueue) -> Answer:
        """Bound its queue."""
        function = self._given(request, MAXQUEUE, name)
        limits = wanted.high, wanted.normal, wanted.low
        self._operations.limit_function(function, limits)
        record(request, MAXQUEUE, function=function, arguments=" ".join(map(str, limits)))
        return Answer(wanted)

    def create(self, request: WebRequest, name: str) -> Answer:
        """Keep it although nobody uses it."""
        function = self._given(request, CREATE, name)
        known = self._server.broker.functions.by_name.get(function)
        self._operations.create_function(function)
        record(request, CREATE, function=function)
        found = self._server.broker.functions.by_name[function]
        changed = ChangedFunction(function=text(function), paused=found.paused)
        return Answer(changed, 201 if known is None else 200)

    def drop(self, request: WebRequest, name: str) -> Any:
        """Forget it."""
        word = as_sent(name)
        dropped = operatorcommands.drop_function(self._server, request.peer, word)
        if dropped:
            record(request, DROP, function=word)
        elif dropped is not None:
            raise _in_use()

        def done(elsewhere: Outcome) -> Answer:
            if elsewhere.in_use:
                raise _in_use()
            if dropped is None and not elsewhere.done:
                raise operatorcommands.unknown_function()
            _check(elsewhere, 0)
            return Answer(None, 204)

        return self._by_others(request, DROP, word, done)


def _in_use() -> ServerError:
    return ServerError("The function has workers or jobs", "FUNCTION_IN_USE")


def _check(elsewhere: Outcome, count: int) -> None:
    """
    @raise ServerError: others have not done it.
    """
    if (error := elsewhere.error(count)) is not None:
        raise error


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = FunctionActs(web)
    return [
        Route("POST", f"{FUNCTION}/pause", of.pause, _PAUSE),
        Route("POST", f"{FUNCTION}/resume", of.resume, _RESUME),
        Route("POST", f"{FUNCTION}/purge", of.purge, _PURGE),
        Route("PUT", f"{FUNCTION}/maxqueue", of.limit, _LIMIT),
        Route("PUT", FUNCTION, of.create, _CREATE),
        Route("DELETE", FUNCTION, of.drop, _DROP),
    ]


_PROBLEMS = (400, 401, 403, 404, 409)

_PAUSE = Operation(
    "pause_function",
    "Hand out no more jobs of a function",
    "functions",
    "Until it is resumed, over restarts too; jobs are still taken.",
    answers={200: ChangedFunction},
    problems=_PROBLEMS,
)
_RESUME = Operation(
    "resume_function",
    "Hand out jobs of a paused function again",
    "functions",
    answers={200: ChangedFunction},
    problems=_PROBLEMS,
)
_PURGE = Operation(
    "purge_function",
    "Cancel all jobs of a function that no worker has",
    "functions",
    "By and by; one that is submitted again meanwhile stays.",
    answers={200: Purged},
    problems=(*_PROBLEMS, 504),
)
_LIMIT = Operation(
    "limit_function",
    "Bound the queue of a function",
    "functions",
    body=MaxQueue,
    answers={200: MaxQueue},
    problems=(*_PROBLEMS, 413, 415, 422, 503),
)
_CREATE = Operation(
    "create_function",
    "Keep a function although nobody uses it",
    "functions",
    "`201` where it was not known before.",
    answers={200: ChangedFunction, 201: ChangedFunction},
    problems=(*_PROBLEMS, 503),
)
_DROP = Operation(
    "drop_function",
    "Forget a function that has no workers and no jobs",
    "functions",
    answers={204: None},
    problems=(*_PROBLEMS, 504),
)
