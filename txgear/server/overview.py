"""
What can be seen of the server beside its broker: itself, its settings and schedules, and its identities.

All of it is plain, as in L{txgear.broker.operators.inspection}.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from txgear._version import __version__
from txgear.broker.model import Peer
from txgear.broker.operators import inspection
from txgear.broker.operators.matching import state_name
from txgear.broker.rights import PEERS, SEE, may
from txgear.protocol.textlines import text
from txgear.security.access import NOBODY
from txgear.server.jobserver import JobServer


def server(server: JobServer) -> dict[str, Any]:
    """
    The server itself.

    @return: its C{version}; when it C{started}, and C{uptime}, the seconds since then; the C{time} now; the
        C{prefix} of its handles; the C{store} by C{name}, whether it is C{available} and if not C{why}, in
        its own words; whether it is C{draining}; and how many C{connections}, C{functions}, C{jobs} that
        have not ended and C{ended} ones there are.
    """
    broker, journal = server.broker, server.journal
    now = server.seconds()
    unavailable = None if journal is None else journal.unavailable
    return {
        "version": __version__,
        "started": inspection.moment(broker.timers.wall(server.started)),
        "uptime": round(now - server.started, 3),
        "time": inspection.moment(server.wall_clock()),
        "prefix": text(broker.table.prefix),
        "store": {
            "name": store_name(server),
            "available": unavailable is None,
            "why": None if journal is None else journal.unavailable_detail,
        },
        "draining": broker.dispatcher.draining,
        "connections": len(broker.peers),
        "functions": len(broker.functions.by_name),
        "jobs": len(broker.table),
        "ended": len(broker.archive),
    }


def store_name(server: JobServer) -> str:
    """What the store calls itself."""
    return "memory:" if server.journal is None else server.journal.store_name


def settings(server: JobServer) -> dict[str, Any]:
    """What is set for the whole server, by name, and what is known of its TLS and its proxies."""
    found = {"config": server.config, **inspection.settings(asdict(server.settings), store_name(server))}
    if server.tls is not None:
        found.update(server.tls.shown())
    found.update(server.handshakes.shown())
    if server.headers_refused is not None:
        found["proxy_refused"] = server.headers_refused
    return found


def schedules(server: JobServer, peer: Peer) -> list[dict[str, Any]]:
    """
    The schedules in force of functions of which the peer may know, in the order of the file, in short:
    C{name}, C{cron}, C{timezone}, C{function}, C{last} and C{next} of L{schedule}.
    """
    scheduler, moment = server.scheduler, inspection.moment
    found = []
    for name in visible_schedules(server, peer, scheduler.schedules):
        known = scheduler.schedules[name]
        last, following = scheduler.last_and_next(name)
        found.append(
            {
                "name": text(name),
                "cron": known.cron,
                "timezone": known.timezone,
                "function": text(known.function),
                "last": moment(last),
                "next": None if following is None else moment(following),
            }
        )
    return found


def visible_schedules(server: JobServer, peer: Peer, names: Iterable[bytes]) -> list[bytes]:
    """Those of the schedules of whose functions the peer may know."""
    known = server.scheduler.schedules
    return [name for name in names if name in known and may(peer, SEE, known[name].function)]


def last_jobs(server: JobServer, names: Iterable[bytes]) -> list[bytes]:
    """The handles of the last jobs of these schedules since the server started."""
    runs = map(server.scheduler.last_run, names)
    return [run.handle for run in runs if run is not None]


def schedule(server: JobServer, peer: Peer, name: bytes) -> dict[str, Any]:
    """
    What is known of a schedule that is in force. Of its last job that is told only if that is in memory.

    @return: its C{name}, C{cron}, that in C{words}, C{timezone}, C{function}, C{unique} and C{priority}, and
        the C{size} of its workload; C{last}, the time for which it has run, or from which on it counts;
        C{upcoming}, the next times, and C{next}, the first of them, C{None} where there will be none;
        C{remarks}, sentences about what comes of it when the clock is changed; C{run}, the last job since
        the server started, C{None} or a dict with C{at}, C{handle}, C{joined}, C{by_hand} and C{state}, which
        is C{None} where the job is not known any more; and C{refused}, why the last one was not taken.
    """
    found = server.scheduler.shown(name)
    run, moment = found["run"], inspection.moment
    last = None
    if run is not None:
        job = inspection.find(server.broker, peer, run.handle)
        last = {
            **run._asdict(),
            "at": moment(run.at),
            "handle": text(run.handle),
            "state": None if job is None else state_name(job),
        }
    return {
        **found,
        "name": text(found["name"]),
        "function": text(found["function"]),
        "unique": text(found["unique"]),
        "priority": inspection.PRIORITY_NAMES[found["priority"]],
        "last": moment(found["last"]),
        "next": None if found["next"] is None else moment(found["next"]),
        "upcoming": [moment(each) for each in found["upcoming"]],
        "remarks": [remark.text for remark in found["remarks"]],
        "run": last,
    }


def identities(server: JobServer, peer: Peer) -> list[dict[str, Any]]:
    """
    Who is known, or has something here: what L{txgear.broker.operators.inspection.tenants} has, and
    C{refused}, how often it was refused something since the start. The peer is shown itself alone, unless it
    may see others.

    @return: the last one is nobody, if that was refused something: of it there is C{tenant} and C{refused}
        only, the others are C{None}.
    """
    refused = server.guard.refusals()
    found = inspection.tenants(server.broker)
    if not may(peer, PEERS):
        own = None if peer.tenant is None else peer.tenant.name
        found = [tenant for tenant in found if tenant["tenant"] == own]
    elif NOBODY in refused:
        nothing = dict.fromkeys(("connections", "queued", "running", "bytes", "submits"))
        found.append({"tenant": NOBODY, **nothing})
    return [{**tenant, "refused": refused.get(tenant["tenant"], 0)} for tenant in found]
