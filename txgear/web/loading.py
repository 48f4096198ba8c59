"""
Jobs wherever they are: those that a request names are in memory before it is carried out, and until it is
answered; pages of lists have all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable
from functools import partial
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred

from txgear.broker.keys import Key
from txgear.broker.model import Job, Peer
from txgear.broker.operators import listing, loading
from txgear.broker.operators.search import BOUNDS, Bounds, Search
from txgear.broker.rows.stock import Then
from txgear.server.jobserver import JobServer
from txgear.web.answers import Problem
from txgear.web.request import WebRequest

T = TypeVar("T")

RETRY_SECONDS: Final = 1


def not_read() -> Problem:
    """The store does not have it, or does not answer."""
    retry = {"Retry-After": str(RETRY_SECONDS)}
    return Problem(503, "not_read", "The store does not have it, or does not answer", headers=retry)


def when_made(server: JobServer, make: Callable[[Callable[[T], None]], None]) -> Deferred[T]:
    """
    Something that may be made of jobs that are not in memory.

    @param make: calls what it is given with it, once, at once or in a later turn.
    @return: fires with it; has fired where nothing had to be read.
    """
    made: Deferred[T] = Deferred()
    asked = False

    def then(result: T) -> None:
        made.callback(result)
        if asked:
            server.end_turn()

    make(then)
    if not made.called:
        # Nobody else has the journal look at what is wanted: a look is no turn of any peer.
        asked = True
        server.end_turn()
    return made


def when_loaded(request: WebRequest, handles: Iterable[bytes], do: Callable[[], Any]) -> Any:
    """
    Carry out a request, or a part of it, when the jobs that it names are in memory.

    @param handles: those of the jobs, as they are shown or as they are.
    @param do: carries it out. The jobs stay in memory until what it returns has fired, if that is a Deferred.
    @return: what that has returned; a Deferred that fires with it where the store was asked for jobs, and
        fails where it does not answer.
    @raise Problem: that is known at once.
    """
    broker, words = request.server.broker, list(handles)

    def load(then: Then, now: float) -> None:
        loading.load(broker, request.peer, words, then, now)

    return _when(request, load, lambda: while_held(request, loading.named(broker, words), do))


def when_named(request: WebRequest, keys: Collection[Key], do: Callable[[], Any]) -> Any:
    """
    The same for jobs that have one of these uniques; they stay in memory until C{do} returns.
    """
    return _when(request, partial(request.server.broker.lookups.load, keys), do)


def _when(request: WebRequest, load: Callable[[Then, float], None], do: Callable[[], Any]) -> Any:
    server = request.server
    done: Deferred[Any] | None = None
    at_once: list[bool] = []

    def then(answered: bool, now: float) -> None:
        if done is None:
            at_once.append(answered)
            return
        if answered:
            done.callback(None)
        else:
            done.errback(not_read())
        server.end_turn()

    load(then, request.now)
    if at_once == [False]:
        raise not_read()
    if at_once:
        return do()
    done = Deferred()
    return done.addCallback(lambda nothing: do())


def while_held(request: WebRequest, jobs: Iterable[Job], do: Callable[[], Any]) -> Any:
    """
    Carry out a request while jobs are kept in memory that are there.

    @param do: as with L{when_loaded}.
    """
    server, stock = request.server, request.server.broker.stock
    for job in jobs:
        stock.hold(job)

    def release(result: Any) -> Any:
        for job in jobs:
            stock.release(job, server.seconds())
        return result

    try:
        result = do()
    except BaseException:
        release(None)
        raise
    if isinstance(result, Deferred):
        return result.addBoth(release)
    return release(result)


def kept_there(
    server: JobServer, peer: Peer, handles: Iterable[bytes]
) -> Generator[Deferred[None], None, Callable[[], None]]:
    """
    Have jobs in memory, and keep them there: for work that is done in pieces.

    @param handles: those of the jobs, as they are shown or as they are. Where the store does not answer some
        are not there.
    @return: what lets go of them; it is to be called.
    """
    broker, words = server.broker, list(handles)
    are_there: Deferred[None] = Deferred()
    jobs: list[Job] = []

    def then(answered: bool, now: float) -> None:
        jobs.extend(loading.named(broker, words))
        for job in jobs:
            broker.stock.hold(job)
        are_there.callback(None)

    def release() -> None:
        while jobs:
            broker.stock.release(jobs.pop(), server.seconds())

    loading.load(broker, peer, words, then, server.seconds())
    if not are_there.called:
        # Nobody else has the journal look at what is wanted: a look is no turn of any peer.
        server.end_turn()
        try:
            yield are_there
        except GeneratorExit:
            release()
            raise
    return release


def page_of(
    server: JobServer, peer: Peer, of: str, search: Search, bounds: Bounds = BOUNDS
) -> Deferred[dict[str, Any] | None]:
    """
    Make a page of a list.

    @param of: of which: C{jobs}, C{dead} or C{kept}.
    @return: fires with what L{txgear.broker.operators.listing.find} says; has fired where all is in memory.
    """
    find = partial(listing.find, server.broker, peer, of, search, server.seconds())
    return when_made(server, lambda then: find(then, bounds))
