"""
What is wrong with the cluster that a server is in, as a diagnosis has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from txgear.broker.diagnosis.diagnosis import Survey
from txgear.broker.diagnosis.findings import CRITICAL, WARNING, Finding
from txgear.broker.operators.inspection import moment
from txgear.broker.rights import SETTINGS, may
from txgear.broker.words import clock, number, span, verb
from txgear.server.clusterstate import free

if TYPE_CHECKING:
    from txgear.broker.model import Peer
    from txgear.server.clusterview import Cluster, ServerShown
    from txgear.server.jobserver import JobServer

UNSEEN_SECONDS: Final = 5.0
"""Seconds since the last look at the others from which on nothing is said of them: nobody knows."""
FREE_SECONDS: Final = 15.0
"""Seconds for which nobody has a part until that is told: a server takes one that it finds within two."""
OVERDUE_SECONDS: Final = 5.0
"""Seconds after the end of a lease in which another server has its part, if it can."""
NAMED: Final = 10
"""Servers and parts of which one finding tells by name."""

CODES: Final = (
    "lease_lapsed",
    "cluster_unseen",
    "part_unowned",
    "server_silent",
    "not_clustered",
    "same_name",
    "leases_differ",
    "versions_differ",
)
"""Everything that is found, in the order in which it is told."""


def survey(server: JobServer, peer: Peer) -> Survey:
    """Where something is wrong, over all functions, with the server, and with its cluster."""
    found = list(findings(server, peer))
    return Survey(server.broker, peer, server.seconds(), server.trend, found)


def findings(server: JobServer, peer: Peer) -> Iterator[Finding]:
    """
    What is wrong with the cluster, each code once at the most. Of other servers is told who may see settings.
    """
    view, journal = server.cluster, server.journal
    if view is None or journal is None or journal.trust is None:
        return
    if journal.trust.lapsed:
        yield _lapsed(server, journal.trust.until)
    if not may(peer, SETTINGS):
        return
    if view.looked >= UNSEEN_SECONDS:
        text = f"the database has not told of the other servers for {span(view.looked)}"
        yield Finding("cluster_unseen", WARNING, text, {"seconds": round(view.looked, 3)})
        return
    servers = view.servers()
    yield from _free(view)
    yield from _silent(servers, view.lease_seconds)
    yield from _not_clustered(servers)
    yield from _same_name(servers)
    yield from _differ(servers)


def _lapsed(server: JobServer, until: float) -> Finding:
    timers, now = server.broker.timers, server.seconds()
    since = timers.wall(until)
    return Finding(
        "lease_lapsed",
        CRITICAL,
        f"this server has not heard of the database for so long that others may have its jobs, since"
        f" {clock(since, timers.wall(now))} ({span(now - until)}): it hands out no stored job and takes no"
        " background job",
        {"since": moment(since), "seconds": round(max(now - until, 0.0), 3)},
    )


def _free(view: Cluster) -> Iterator[Finding]:
    found = [part for part in free(view) if part.seconds >= FREE_SECONDS]
    if found:
        longest = max(part.seconds for part in found)
        numbers = [part.part for part in found]
        yield Finding(
            "part_unowned",
            CRITICAL,
            f"nobody has had {verb(len(found), 'part', 'parts')} {_list(map(str, numbers))} for"
            f" {span(longest)}, and no server takes what it finds so: those jobs wait",
            {"parts": numbers[:NAMED], "seconds": round(longest, 3)},
        )


def _silent(servers: Sequence[ServerShown], lease: float) -> Iterator[Finding]:
    found = [each for each in servers if each.is_silent]
    if found:
        longest = max(each.seconds for each in found)
        overdue = longest >= lease + OVERDUE_SECONDS
        then = f"others take its jobs after {lease:g} s"
        if overdue:
            then = "its lease has ended, and nobody has taken its jobs"
        names = _list(each.name for each in found)
        how = "for" if len(found) == 1 else "for up to"
        yield Finding(
            "server_silent",
            CRITICAL if overdue else WARNING,
            f"no sign of life from {names} {how} {span(longest)}: {then}",
            {"servers": _names(found), "seconds": round(longest, 3), "lease": lease},
        )


def _not_clustered(servers: Sequence[ServerShown]) -> Iterator[Finding]:
    found = [each for each in servers if not (each.key or each.is_silent)]
    if found:
        yield Finding(
            "not_clustered",
            CRITICAL,
            f"a server without --cluster has a part: {found[0].name}; it shares no uniques, settings, limits"
            " or schedules with the others",
            {"name": found[0].name},
        )


def _same_name(servers: Sequence[ServerShown]) -> Iterator[Finding]:
    counts = Counter(each.name for each in servers if not each.is_silent)
    found = [name for name, count in counts.items() if count > 1]
    if found:
        yield Finding(
            "same_name",
            WARNING,
            f"several servers are called {_list(found)}: nobody can tell them apart",
            {"names": found[:NAMED]},
        )


def _differ(servers: Sequence[ServerShown]) -> Iterator[Finding]:
    leases = [(each.name, each.status.lease) for each in servers if each.status.lease is not None]
    if len({lease for _, lease in leases}) > 1:
        told = _list(f"{name} {lease:g} s" for name, lease in leases)
        yield Finding(
            "leases_differ",
            WARNING,
            f"servers have leases of different lengths: {told};"
            " one with a short one takes the parts of others that only stand still",
            {"leases": dict(leases[:NAMED])},
        )
    versions = [(each.name, each.status.version) for each in servers if each.status.version is not None]
    if len({version for _, version in versions}) > 1:
        yield Finding(
            "versions_differ",
            WARNING,
            f"servers have different versions: {_list(f'{name} {version}' for name, version in versions)}",
            {"versions": dict(versions[:NAMED])},
        )


def _names(servers: Sequence[ServerShown]) -> list[str]:
    return [each.name for each in servers[:NAMED]]


def _list(words: Iterable[str]) -> str:
    """Some words, and how many more there are."""
    found = list(words)
    more = len(found) - NAMED
    return ", ".join(found[:NAMED]) + (f" and {number(more, 'more', 'more')}" if more > 0 else "")
