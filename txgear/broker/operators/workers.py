"""
Who works, for operators: plain values, as in L{txgear.broker.operators.inspection}.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.about import About, Told
from txgear.broker.operators.connections import login
from txgear.broker.operators.inspection import moment, readings, who
from txgear.broker.operators.search import BOUNDS, EVERY, Bounds, Search
from txgear.broker.operators.workforce import ABSENT, AWAKE, LATE, SILENT, condition, idle_since, silent
from txgear.broker.rights import SEE, knows, may, meets
from txgear.protocol.textlines import text

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.model import Function, Job, Peer

MOST_NAMES: Final = 10
"""Functions, and jobs in hand, that are shown of each worker in a list; it may have thousands."""
MOST_OF_ONE: Final = 1000
"""The same of one worker that is looked at alone."""
_DIGITS: Final = 10
"""No system has a descriptor of more."""
_MOST_COUNTED: Final = 10_000
"""Jobs in hand of one worker that are counted by function."""
_NOBODY: Final = About()
"""Of whom nothing is known."""


def workers(
    broker: Broker,
    peer: Peer,
    search: Search,
    now: float,
    how: Collection[str] = (),
    bounds: Bounds = BOUNDS,
) -> dict[str, Any]:
    """
    The connections that can do anything, or can be told to, and workers that are absent, by their
    descriptors.

    @param peer: who asks. It is shown those that it may know of (see L{meets}), and of their functions and
        jobs likewise.
    @param search: C{function} matches one of their functions at least; C{worker} stands in their name (see
        L{Peer.name}) or id; C{id}, C{group} and C{host} are theirs.
    @param how: some of L{txgear.broker.operators.workforce.CONDITIONS}; empty for any.
    @return: C{workers}, a dict for each as L{worker} makes it, and C{next}, which is what to ask for with
        C{after}, or C{None} at the end.
    """
    wanted = search.functions(peer)
    any_function = search.function == EVERY
    found = [other for other in _known(broker) if other.descriptor > search.after]
    found.sort(key=attrgetter("descriptor"))
    rows: list[dict[str, Any]] = []
    last = search.after
    work = 0
    for other in found:
        # An absent worker may have had the number that another one has by now.
        if (len(rows) >= search.limit or work >= bounds.work) and other.descriptor > last:
            return {"workers": rows, "next": last}
        last = other.descriptor
        work += 1
        if how and condition(other, now) not in how:
            continue
        if not meets(peer, other) or not _is_wanted(other, search):
            continue
        if peer.rights is not None or not any_function:
            work += len(other.abilities)
            if not any_function and not any(map(wanted, other.abilities)):
                continue
        rows.append(worker(broker, peer, other, now))
    return {"workers": rows, "next": None}


def _known(broker: Broker) -> Iterator[Peer]:
    """All workers, those last that are absent."""
    yield from (other for other in broker.peers if other.works)
    yield from broker.absences.absent()


def matching(broker: Broker, peer: Peer, search: Search) -> list[Peer]:
    """
    All workers that match, of those of which the peer may know, by their descriptors.

    @param search: as for L{workers}; how many there may be is not looked at.
    """
    wanted = search.functions(peer)
    found = [
        other
        for other in _known(broker)
        if meets(peer, other)
        and _is_wanted(other, search)
        and (search.function == EVERY or any(map(wanted, other.abilities)))
    ]
    return sorted(found, key=attrgetter("descriptor"))


def _is_wanted(other: Peer, search: Search) -> bool:
    if search.worker and search.worker not in other.name and search.worker not in identifier(other):
        return False
    if search.id and search.id != identifier(other):
        return False
    if not (search.group or search.host):
        return True
    about = other.about
    if about is None:
        return False
    return search.group in ("", about.group) and search.host in ("", about.host)


def identifier(other: Peer) -> str:
    """What a worker is called: as it has said, or its client id; empty for nothing."""
    if other.about is not None and other.about.id:
        return other.about.id
    return "" if other.client_id == b"-" else text(other.client_id)


def worker(broker: Broker, peer: Peer, other: Peer, now: float, most: int = MOST_NAMES) -> dict[str, Any]:
    """
    All that is known of a worker.

    @param most: functions and jobs that are shown at the most.
    @return: what L{who} and L{login} say; C{id}, what it is called, or C{None}; what it has said of itself,
        each C{None} if it has not: C{group}, C{host}, C{pid}, C{version}, C{started}, C{concurrency} and
        C{memory} (bytes); its C{condition}, one of L{txgear.broker.operators.workforce.CONDITIONS}; since
        when it is C{absent}, and C{until} when it may come back, or C{None}; whether it is C{asleep}, and
        C{silent}; C{functions}, how many it can do, and C{names}, of the first; C{counts}, of these, and of
        others that it knows and does not do now (see L{_counts}), with C{done} and C{failed}, of all that it
        tells of together; C{jobs}, how many it has in hand, and C{in_hand}, the first; C{enrolled} and
        C{asked}: when it said first what it can do, and when it asked for a job last, or C{None}; and
        C{idle}, for how many seconds it has neither had a job nor asked for one, C{None} if it has one or
        sleeps; and C{words}: what it can be told.
    """
    functions: Collection[Function] = other.abilities
    jobs: Collection[Job] = other.running.values()
    if peer.rights is not None:
        functions = [function for function in functions if knows(peer, function)]
        jobs = [job for job in jobs if knows(peer, job.function)]
    wall, how, about = broker.timers.wall, condition(other, now), other.about or _NOBODY
    absences = broker.absences
    told = [each for each in about.state.functions if may(peer, SEE, each.name)]
    return {
        **who(other),
        **login(other),
        "id": identifier(other) or None,
        "group": about.group or None,
        "host": about.host or None,
        "pid": about.pid,
        "version": about.version or None,
        "started": moment(about.started),
        "concurrency": about.state.concurrency,
        "memory": about.state.memory,
        "condition": how,
        "absent": moment(wall(absences.since(other))) if how == ABSENT else None,
        "until": moment(wall(absences.until(other))) if how == ABSENT else None,
        "asleep": other.asleep,
        "silent": silent(other, now),
        "functions": len(functions),
        "names": [text(function.name) for function in islice(functions, most)],
        "counts": list(islice(_counts(broker, other, functions, jobs, told), most)),
        "done": sum(each.done for each in told) if told else None,
        "failed": sum(each.failed for each in told) if told else None,
        "jobs": len(jobs),
        "in_hand": [_in_hand(broker, job, now) for job in islice(jobs, most)],
        "enrolled": moment(wall(other.enrolled)),
        "asked": moment(wall(other.asked)),
        "idle": round(now - idle_since(other), 3) if how in (AWAKE, LATE, SILENT) else None,
        "words": list(other.words),
    }


def _counts(
    broker: Broker,
    other: Peer,
    functions: Collection[Function],
    jobs: Collection[Job],
    told: Collection[Told],
) -> Iterator[dict[str, Any]]:
    """
    The functions of a worker, those that are C{in_use} first: C{function}, its name; C{running}, how many
    jobs of it are in hand, of the first L{_MOST_COUNTED}; and C{done} and C{failed}, how many it has ended so
    since it started, at all its servers, as it says itself, or C{None}.
    """
    by_name = {each.name: each for each in told}
    running = Counter(job.function.name for job in islice(jobs, _MOST_COUNTED))
    find = broker.functions.by_name.get
    unused = (each.name for each in told if find(each.name) not in other.abilities)
    for in_use, names in ((True, (function.name for function in functions)), (False, unused)):
        for name in names:
            each = by_name.get(name)
            yield {
                "function": text(name),
                "in_use": in_use,
                "running": running[name],
                "done": None if each is None else each.done,
                "failed": None if each is None else each.failed,
            }


def _in_hand(broker: Broker, job: Job, now: float) -> dict[str, Any]:
    return {
        "handle": text(job.handle),
        "number": job.number,
        "function": text(job.function.name),
        "numerator": job.progress[0],
        "denominator": job.progress[1],
        "began": moment(broker.timers.wall(job.since)),
        "seconds": round(now - job.since, 3),
    }


def find(broker: Broker, peer: Peer, word: bytes) -> list[Peer]:
    """
    The workers that a word is for, of those of which the peer may know.

    @param word: the number of a connection; or an id, as it is shown or as it is (see L{identifier}), which
        several may have. What is only digits is a number.
    """
    if word.isdigit():
        if len(word) > _DIGITS:
            return []
        number = int(word)
        found = [other for other in _known(broker) if other.descriptor == number]
        # An absent worker may have had the number that another one has by now.
        del found[1:]
    else:
        ids = [text(reading) for reading in readings(word)]
        found = [other for other in _known(broker) if identifier(other) in ids]
    return [other for other in found if meets(peer, other)]
