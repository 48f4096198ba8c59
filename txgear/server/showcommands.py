"""
This server's own text commands that show something: lists, and all that is known of a job, a function or the
server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from txgear.broker.ended.archive import history_of
from txgear.broker.model import Function, Job, Peer, Reply
from txgear.broker.operators import inspection
from txgear.broker.operators import listing as lists
from txgear.broker.operators.connections import connections
from txgear.broker.operators.search import OF_CONNECTIONS, OF_DEAD, OF_ENDED, OF_FUNCTIONS, OF_JOBS, Search
from txgear.broker.rights import READ, SEE, SETTINGS, check, knows, may
from txgear.broker.states import DEAD
from txgear.errors import ServerError
from txgear.protocol import textlines
from txgear.protocol.constants import TEXT
from txgear.protocol.textlines import column, for_line, listing, row, text
from txgear.server import clusterstate, overview
from txgear.server.jobserver import JobServer
from txgear.server.listings import Listing
from txgear.server.operatorcommands import refused
from txgear.server.unfinished import Unfinished, not_read

NAMES: Final = frozenset(
    ("address", "client_id", "handle", "function", "name", "unique", "reducer", "worker", "pattern")
)
"""Columns whose values are shown so that they can be words of a command."""

# Lists


def _columns(found: Mapping[str, Any], names: Iterable[str]) -> bytes:
    return row(*(column(found[name], name=name in NAMES) for name in names))


def _page(page: Mapping[str, Any], *names: str) -> bytes:
    """A page of jobs, these columns of each."""
    for job in page["jobs"]:
        for name in ("age", "left"):
            if name in job:
                job[name] = _whole(job[name])
    rows = [_columns(job, names) for job in page["jobs"]]
    if page["next"] is not None:
        rows.append(row(b"next", page["next"]))
    return listing(rows)


def _list(server: JobServer, peer: Peer, of: str, search: Search, *names: str) -> bytes | Reply:
    """A page of a list, these columns of each job."""
    reply: Unfinished | None = None
    at_once: list[bytes] = []

    def then(page: dict[str, Any] | None) -> None:
        answer = textlines.refused(not_read()) if page is None else _page(page, *names)
        if reply is None:
            at_once.append(answer)
        else:
            reply.answer(server.outbox, answer)

    lists.find(server.broker, peer, of, search, server.seconds(), then)
    if at_once:
        return at_once[0]
    reply = Unfinished(0)
    return reply


def _jobs(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    search = Search.parse(textlines.pairs(words[1:]), OF_JOBS)
    names = ("handle", "function", "state", "priority", "age", "attempts", "worker", "unique")
    return _list(server, peer, "jobs", search, *names)


def _dead(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    search = Search.parse(textlines.pairs(words[1:]), OF_DEAD)
    names = ("handle", "function", "died", "attempts", "reason", "unique", "text")
    return _list(server, peer, "dead", search, *names)


def _kept(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    search = Search.parse(textlines.pairs(words[1:]), OF_ENDED)
    names = ("handle", "function", "outcome", "age", "size", "left", "unique")
    return _list(server, peer, "kept", search, *names)


def _functions(server: JobServer, peer: Peer, words: list[bytes]) -> Listing:
    search = Search.parse(textlines.pairs(words[1:]), OF_FUNCTIONS)
    names = ("function", "queued", "waiting", "running", "workers", "dead", "kept", "paused", "maxqueue")
    found = inspection.functions(server.broker, peer, search)

    def line(function: Function) -> bytes:
        if not knows(peer, function):
            return b""
        return b"%s\n" % _columns(inspection.function(server.broker, function, server.seconds()), names)

    return Listing(len(found), lambda: map(line, found))


def _connections(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    search = Search.parse(textlines.pairs(words[1:]), OF_CONNECTIONS)
    page = connections(server.broker, peer, server.quick_acks, search)
    rows = []
    for found in page["connections"]:
        names = b" ".join(column(name, name=True) for name in found["names"])
        milliseconds = None if found["round_trip"] is None else f"{found['round_trip'] * 1000:.3f}"
        rows.append(
            row(
                found["descriptor"],
                column(found["address"], name=True),
                column(found["client_id"], name=True),
                column(milliseconds),
                column(found["quickack"]),
                found["quickacks"],
                found["functions"],
                names or b"-",
            )
        )
    if page["next"] is not None:
        rows.append(row(b"next", page["next"]))
    rows.append(row(b"total", *page["total"].values()))
    return listing(rows)


def _identities(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    if len(words) != 1:
        return textlines.incomplete(words[0])
    return listing(
        row(
            column(tenant["tenant"], name=True),
            *(_of_quota(tenant[what]) for what in ("connections", "queued", "running", "bytes")),
            column(tenant["submits"] and tenant["submits"]["jobs"]),
            tenant["refused"],
        )
        for tenant in overview.identities(server, peer)
    )


def _of_quota(found: Mapping[str, int | None] | None) -> bytes:
    """What an identity has, and what it may have where that is bounded: C{3/100}."""
    if found is None:
        return b"-"
    bound = "" if found["bound"] is None else f"/{found['bound']}"
    return f"{found['used']}{bound}".encode("ascii")


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def _policies(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    check(peer, SETTINGS)
    if len(words) != 1:
        return textlines.incomplete(words[0])
    return listing(_columns(rule, ("pattern", "settings")) for rule in inspection.policies(server.broker))


# One job, one function, the server


def _job(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    job = _named(server, peer, words)
    if job is None:
        return textlines.UNKNOWN_JOB
    found = inspection.job(server.broker, peer, job, server.seconds())
    settings, history = found.pop("settings"), found.pop("history")
    waiters = found.pop("waiters", [])
    rows = _details(found)
    rows += [row(b"setting", column(name), column(value)) for name, value in settings.items()]
    rows += [b"waiter\t" + _columns(waiter, ("descriptor", "address", "client_id")) for waiter in waiters]
    rows += [
        b"attempt\t" + _columns(attempt, ("began", "ended", "reason", "worker", "text"))
        for attempt in history
    ]
    return listing(rows)


def _policy(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    check(peer, SETTINGS)
    if len(words) != 2:
        return textlines.incomplete(words[0])
    names = [name for name in inspection.readings(words[1]) if may(peer, SEE, name)]
    function = inspection.function_name(server.broker, words[1], names)
    found = inspection.policy(server.broker, peer, function, server.seconds())
    settings = found.pop("settings")
    if found["share"] is None:
        del found["share"]
    rows = [row(b"setting", column(name), column(value)) for name, value in settings.items()]
    return listing(_details(found) + rows)


def _settings(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    check(peer, SETTINGS)
    if len(words) != 1:
        return textlines.incomplete(words[0])
    return listing(_details(overview.settings(server)))


def _schedules(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    check(peer, SETTINGS)
    if len(words) != 1:
        return textlines.incomplete(words[0])
    names = ("name", "cron", "timezone", "function", "last", "next")
    return listing(_columns(found, names) for found in overview.schedules(server, peer))


def _cluster(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    check(peer, SETTINGS)
    if len(words) != 1:
        return textlines.incomplete(words[0])
    return listing(() if server.cluster is None else clusterstate.lines(server.cluster))


def _details(found: Mapping[str, Any]) -> list[bytes]:
    """A row for each value; C{None} and what is empty have none."""
    return [
        row(name.encode("ascii"), column(value, name=name in NAMES))
        for name, value in found.items()
        if value is not None and value not in ("", {}, [])
    ]


def _named(server: JobServer, peer: Peer, words: list[bytes]) -> Job | None:
    """
    The job that a command names, if the peer may know of it.

    @raise ServerError: the command has not two words.
    """
    if len(words) != 2:
        raise ServerError(f"{text(words[0])} wants the handle of one job", "INVALID_ARGUMENTS")
    return inspection.find(server.broker, peer, words[1])


def _workload(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    job = _named(server, peer, words)
    if job is None:
        return textlines.UNKNOWN_JOB
    check(peer, READ, job.function.name)
    if job.ended and job.state != DEAD:
        raise ServerError("The job has ended, its workload is not kept", "NO_WORKLOAD")
    return _read(server, peer, job, lambda found: inspection.workload(job, found))


def _result(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    job = _named(server, peer, words)
    if job is None:
        return textlines.UNKNOWN_JOB
    check(peer, READ, job.function.name)
    if not job.ended:
        raise ServerError("The job has not ended", "NO_RESULT")
    history = history_of(job)
    if job.state == DEAD or not history.complete:
        raise ServerError("What the job has brought is not kept", "NO_RESULT")
    return _read(server, peer, job, lambda found: inspection.result(job, history, found))


def _read(server: JobServer, peer: Peer, job: Job, inspect: Callable[[bytes], dict[str, Any]]) -> Reply:
    """A reply with a job's workload or result, which it has when that has been read."""
    reply = Reply(job.size)

    def come(found: bytes | None) -> None:
        try:
            answer = _what_was_read(peer, job, None if found is None else inspect(found))
        except ServerError as error:
            answer = refused(server, peer, error)
        server.outbox.release(reply, TEXT, answer)

    server.read(job, come)
    return reply


def _what_was_read(peer: Peer, job: Job, facts: dict[str, Any] | None) -> bytes:
    """
    @param facts: C{None} if nothing could be read.
    @raise ServerError: that is so, or the peer may not read it any more.
    """
    if not knows(peer, job.function):
        return textlines.UNKNOWN_JOB
    check(peer, READ, job.function.name)
    if facts is None:
        raise not_read()
    return listing(
        row(name.encode("ascii"), for_line(value) if isinstance(value, str) else value)
        for name, value in facts.items()
    )


COMMANDS: Final[dict[bytes, Callable[[JobServer, Peer, list[bytes]], bytes | Reply | Listing]]] = {
    b"functions": _functions,
    b"jobs": _jobs,
    b"dead": _dead,
    b"kept": _kept,
    b"job": _job,
    b"workload": _workload,
    b"result": _result,
    b"connections": _connections,
    b"identities": _identities,
    b"policies": _policies,
    b"policy": _policy,
    b"settings": _settings,
    b"schedules": _schedules,
    b"cluster": _cluster,
}
"""By their first words."""
