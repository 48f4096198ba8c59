"""
Which jobs a search is for: for whoever lists them, and for what is done to all of them.

A text is looked for in the uniques of jobs; where the peer may read them also in the workloads that are in
memory, of the dead in the messages of their workers as well, and of others that have ended in the results
that are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from txgear.broker.ended.archive import history_of
from txgear.broker.ended.deadgroups import reason_of
from txgear.broker.model import Job
from txgear.broker.operators.search import contains, searching
from txgear.broker.rights import meets, reads
from txgear.broker.states import DEAD, PAGED, QUEUED, RUNNING, STATE_NAMES
from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.model import Function, Peer
    from txgear.broker.operators.search import Search

Matches: TypeAlias = "Callable[[Job], tuple[int, bool]]"
"""Looks at a job: how much work that was, and whether it is one of those."""

_number_of = attrgetter("number")


class Selection(NamedTuple):
    """
    What a search is for.

    @ivar candidates: by number, jobs among which all of those are.
    @ivar matches: whether one of them is.
    """

    candidates: Mapping[int, Job]
    matches: Matches


def state_name(job: Job) -> str:
    """How a job is, in the words that an operator knows."""
    return STATE_NAMES[QUEUED if job.state == PAGED else job.state]


def worker_name(peer: Peer, job: Job) -> str | None:
    """Who runs a job, if that is somebody of whom the peer may know."""
    return job.worker.name if job.worker is not None and meets(peer, job.worker) else None


def parsing(job: Job) -> int:
    """How much work it is to read what is kept of a job."""
    return 8 + (len(job.archived) >> 8)


def _is_other(job: Job, search: Search) -> bool:
    """Whether a job has another unique than the one that is asked for."""
    return bool(search.unique) and job.unique != search.unique


def _by_number(jobs: Iterable[Job]) -> dict[int, Job]:
    """In that order, as all others are: what is done to a few of them is done to the first."""
    return {job.number: job for job in sorted(jobs, key=_number_of)}


def live(broker: Broker, peer: Peer, search: Search, now: float, few: int) -> Selection:
    """
    Jobs that have not ended.

    @param few: jobs that are rather looked up one by one than looked at with all others.
    """
    wanted = search.functions(peer)

    def matches(job: Job) -> tuple[int, bool]:
        if job.ended or _is_other(job, search):
            return 1, False
        # Of one whose age is not known, an earlier version of the server was the first to have it.
        young = search.older and job.created and now - job.created < search.older
        if state_name(job) not in search.state or young or not wanted(job.function):
            return 1, False
        if search.worker and search.worker not in (worker_name(peer, job) or ""):
            return 1, False
        if not search.text or search.text in job.unique:
            return 1, True
        if not reads(peer, job.function):
            return 1, False
        return searching(job.workload), contains(job.workload, search.text)

    candidates: Mapping[int, Job] = broker.table.jobs
    if search.unique and search.unique != UNIQUE_FROM_WORKLOAD:
        candidates = _by_number(broker.table.uniques.named(search.unique))
    elif search.worker or search.state == {STATE_NAMES[RUNNING]}:
        workers = chain(broker.peers, broker.absences.absent())
        candidates = {job.number: job for worker in workers for job in worker.running.values()}
    return Selection(candidates, matches)


def _ended(broker: Broker, search: Search) -> Mapping[int, Job]:
    """Those that have ended, or of these at least all that have the unique that is asked for."""
    # That of a submit with the unique - is not what it is found by.
    if search.unique and search.unique != UNIQUE_FROM_WORKLOAD:
        return _by_number(broker.table.uniques.named_ended(search.unique))
    return broker.archive.jobs


def dead(broker: Broker, peer: Peer, search: Search, now: float, few: int) -> Selection:
    """
    The dead that are not set aside; or those that are, in the review that is asked for.

    @param few: as in L{live}.
    """
    wanted = search.functions(peer)
    groups, reviews = broker.archive.ended.groups, broker.archive.ended.reviews

    def matches(job: Job) -> tuple[int, bool]:
        if job.state != DEAD or not wanted(job.function) or _is_other(job, search):
            return 1, False
        if reviews.name_of(job) != search.review:
            return 1, False
        work = 1
        if search.review and search.reason:
            work += parsing(job)
            if reason_of(history_of(job)) not in search.reason:
                return work, False
        elif search.reason and not groups.has(job, search.reason):
            if job.number in broker.archive.jobs:
                return work, False
            # Of one that is not in memory it is known only to itself.
            work += parsing(job)
            if reason_of(history_of(job)) not in search.reason:
                return work, False
        if not search.text or search.text in job.unique:
            return work, True
        if not reads(peer, job.function):
            return work, False
        work += parsing(job)
        if any(search.text in attempt.text.encode("utf-8") for attempt in history_of(job).attempts):
            return work, True
        return work + searching(job.workload), contains(job.workload, search.text)

    candidates = _ended(broker, search)
    if not search.unique:
        shelves = list(_shelves(broker, search, wanted))
        if len(shelves) == 1:
            candidates = shelves[0]
        elif sum(map(len, shelves)) <= few:
            candidates = {number: job for shelf in shelves for number, job in shelf.items()}
    return Selection(candidates, matches)


def _shelves(
    broker: Broker, search: Search, wanted: Callable[[Function], bool]
) -> Iterator[Mapping[int, Job]]:
    """All dead that are looked for are among these, each once."""
    ended = broker.archive.ended
    if search.review:
        review = ended.reviews.by_name.get(search.review)
        if review is not None:
            yield review.jobs
        return
    for function in broker.functions.by_name.values():
        if not function.kept or not wanted(function):
            continue
        if search.reason:
            groups = ended.groups.of(function)
            yield from (group.jobs for reason, group in groups.items() if reason in search.reason)
        else:
            yield ended.shelf(function).jobs


def kept(broker: Broker, peer: Peer, search: Search, now: float, few: int) -> Selection:
    """
    Jobs that have ended otherwise than dead, and are still known.

    @param few: as in L{live}.
    """
    wanted = search.functions(peer)

    def matches(job: Job) -> tuple[int, bool]:
        over = job.ended and job.state != DEAD
        if not over or not wanted(job.function) or _is_other(job, search):
            return 1, False
        if not search.text or search.text in job.unique:
            return 1, True
        if not reads(peer, job.function):
            return 1, False
        return searching(job.workload), contains(job.workload, search.text)

    return Selection(_ended(broker, search), matches)


SELECTIONS: Final = {"jobs": live, "dead": dead, "kept": kept}
"""By the names of the lists that show them."""
