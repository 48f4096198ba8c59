"""
Text commands: those of the reference, and those of this server only.

This module has the commands that show something, and L{answer} for all of them.
L{txgear.server.operatorcommands} has those that change something.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txgear._version import __version__
from txgear.broker import inspection, loading
from txgear.broker import listing as lists
from txgear.broker.archive import history_of
from txgear.broker.connections import connections
from txgear.broker.model import Function, Job, Peer, Reply
from txgear.broker.records import InOrder
from txgear.broker.rights import READ, SEE, SETTINGS, check, knows, may, meets
from txgear.broker.search import BOUNDS, OF_CONNECTIONS, OF_DEAD, OF_ENDED, OF_FUNCTIONS, OF_JOBS, Search
from txgear.broker.states import DEAD
from txgear.broker.stock import Found
from txgear.broker.table import number_of_handle
from txgear.errors import AccessDenied, ServerError
from txgear.protocol import textlines
from txgear.protocol.constants import PRIORITIES, TEXT
from txgear.protocol.textlines import column, for_line, listing, row, shown, shown_alone, shown_word, text
from txgear.server import (
    clusterstate,
    diagnosiscommand,
    everywhere,
    operatorcommands,
    overview,
    reviewcommands,
    runcommand,
    taskcommands,
    workercommands,
)
from txgear.server.elsewhere import COMMAND, error_of
from txgear.server.jobserver import JobServer
from txgear.server.listings import AT_ONCE, Listing
from txgear.server.unfinished import Unfinished

Command = Callable[[JobServer, Peer, "list[bytes]"], "bytes | Reply | Listing"]


def answer(server: JobServer, peer: Peer, line: bytes) -> bytes | Reply | Listing:
    """
    Do what a text command says.

    @param peer: whose command it is.
    @param line: the command without its line end.
    @return: the whole answer; a L{Reply} that has it when the store has been read; or a list that is too long
        for one turn. Each has to leave in one write: C{gearadmin} reads until 5 ms of silence.
    @raise txgear.errors.ProtocolError: the line has too many words, or is of an HTTP request.
    """
    words = textlines.words(line, WITH_FILTERS)
    elsewhere = server.elsewhere
    if elsewhere is None or not (handle := _handle_in(words)) or not elsewhere.may_have(handle):
        found = _answer_here(server, peer, line, words)
        if isinstance(found, bytes) and everywhere.is_for_all(words):
            return everywhere.finish(server, peer, line, found)
        return found
    reply = Unfinished(len(line))

    def come(parts: list[bytes] | None) -> None:
        found = _answer_here(server, peer, line, words) if parts is None else parts[0]
        reply.answer(server.outbox, found if isinstance(found, Reply) else bytes(found))

    def failed(failure: Failure) -> None:
        reply.answer(server.outbox, textlines.refused(error_of(failure)))

    _ = elsewhere.pass_on(handle, peer, COMMAND, (line,)).addCallback(come).addErrback(failed)
    return reply


def _handle_in(words: list[bytes]) -> bytes:
    """The handle of the job that a command is about; empty where it is about none."""
    command, *others = words
    if command.lower() not in OF_ONE_JOB or not others:
        return b""
    if command.lower() in (b"job", b"result", b"workload"):
        return others[0]
    return others[1] if others[0].lower() == b"job" and len(others) > 1 else b""


def _answer_here(server: JobServer, peer: Peer, line: bytes, words: list[bytes]) -> bytes | Reply | Listing:
    """The same for jobs of this server."""
    handles = [word for word in words[1:] if number_of_handle(word) is not None]
    if not handles or words[0].lower() not in OF_ONE_JOB:
        return _carry_out(server, peer, line, words)
    reply: Unfinished | None = None
    at_once: list[bytes | Reply | Listing] = []

    def then(answered: bool, now: float) -> None:
        found = _carry_out(server, peer, line, words) if answered else textlines.refused(not_read())
        if reply is None:
            at_once.append(found)
        else:
            reply.answer(server.outbox, found if isinstance(found, Reply) else bytes(found))

    loading.load(server.broker, peer, handles, then, server.seconds())
    if not at_once:
        reply = Unfinished(len(line))
        return reply
    return at_once[0]


def not_read() -> ServerError:
    """The store was asked for something in vain."""
    return ServerError("The store does not have it, or does not answer", "NOT_READ")


def _carry_out(server: JobServer, peer: Peer, line: bytes, words: list[bytes]) -> bytes | Reply | Listing:
    """The same, when the jobs that it names are in memory."""
    name = words[0].lower()
    try:
        if (command := COMMANDS.get(name)) is not None:
            result: bytes | Reply | Listing = command(server, peer, words)
        elif (own := OWN_COMMANDS.get(name)) is not None:
            # A space at the end of the line is no word.
            result = own(server, peer, [words[0], *(word for word in words[1:] if word)])
        else:
            return textlines.unknown_command(words[0])
    except ServerError as error:
        return _refused(server, peer, error)
    if isinstance(result, Listing) and not result.long:
        return bytes(result)
    if isinstance(result, bytes) and (
        name in operatorcommands.COMMANDS
        or name in operatorcommands.OWN_COMMANDS
        or name in reviewcommands.CHANGING
        or name in taskcommands.CHANGING
    ):
        operatorcommands.log_command(server, peer, line, words, result)
    return result


def _refused(server: JobServer, peer: Peer, error: ServerError) -> bytes:
    if isinstance(error, AccessDenied):
        server.guard.denied(peer, error)
    return textlines.refused(error)


# A long list takes many turns. What the peer may know is asked for each piece, as it may change meanwhile.


def _of_functions(server: JobServer, peer: Peer, line: Callable[[Function], bytes]) -> Listing:
    functions = server.broker.functions.by_name
    return Listing(
        len(functions),
        lambda: (
            b"%s\n" % line(function) if peer.rights is None or knows(peer, function) else b""
            for function in list(functions.values())
        ),
    )


def _status(server: JobServer, peer: Peer, words: list[bytes]) -> Listing:
    return _of_functions(
        server,
        peer,
        lambda function: row(shown(function.name), function.total, function.running, len(function.workers)),
    )


def _prioritystatus(server: JobServer, peer: Peer, words: list[bytes]) -> Listing:
    return _of_functions(
        server,
        peer,
        lambda function: row(
            shown(function.name), *map(function.lanes.total_of, PRIORITIES), len(function.workers)
        ),
    )


def _workers(server: JobServer, peer: Peer, words: list[bytes]) -> Listing:
    peers = server.broker.peers

    def pieces() -> Iterator[bytes]:
        for other in reversed(list(peers)):
            if not meets(peer, other):
                yield b""
                continue
            yield b"%d %s %s :" % (
                other.descriptor,
                shown_word(other.address.encode("ascii", "replace")),
                shown_word(other.client_id) or b"-",
            )
            # One of them may do a hundred thousand functions.
            for function in reversed(list(other.abilities)):
                known = peer.rights is None or knows(peer, function)
                yield b" " + shown_word(function.name) if known else b""
            yield b"\n"

    return Listing(sum(2 + len(other.abilities) for other in peers), pieces)


def _show(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Listing:
    what = [word.lower() for word in words[1:]]
    if not what:
        return textlines.unknown_command(words[0])
    if what == [b"jobs"]:
        return _of_jobs(
            server,
            peer,
            lambda job: (
                b"%s\t%d\t%d\t%d\n" % (shown(job.handle), job.retries, not job.wanted, job.background)
            ),
        )
    if what == [b"unique", b"jobs"]:
        return _of_jobs(server, peer, lambda job: b"%s\n" % shown_alone(job.unique))
    return textlines.UNKNOWN_SHOW


def _of_jobs(server: JobServer, peer: Peer, line: Callable[[Job], bytes]) -> Listing:
    table = server.broker.table

    def shown_line(job: Job) -> bytes:
        hidden = job.ended or (peer.rights is not None and not knows(peer, job.function))
        return b"" if hidden else line(job)

    if not table.rows:
        return Listing(len(table.jobs), lambda: map(shown_line, list(table.jobs.values())))

    def pieces() -> Iterator[bytes]:
        jobs = dict(table.jobs)
        last = table.last_number
        yield from map(shown_line, jobs.values())
        yield from _of_rows(server, jobs, last, shown_line, found)

    found = Listing(max(len(table), AT_ONCE + 1), pieces)
    return found


def _of_rows(
    server: JobServer, others: Container[int], last: int, line: Callable[[Job], bytes], listing: Listing
) -> Iterator[bytes]:
    """
    Lines for all jobs that the store has, some hundred at a time.

    @param others: the numbers of those that have one.
    @param last: the highest number of those that are to have one.
    @raise ServerError: the store does not answer.
    """
    jobs, after = server.broker.table.jobs, 0
    while after < last:
        lines: list[bytes] = []
        ends: list[int] = []
        are_there: Deferred[None] = Deferred()

        def look(
            found: Found | None,
            now: float,
            lines: list[bytes] = lines,
            ends: list[int] = ends,
            are_there: Deferred[None] = are_there,
        ) -> None:
            if found is not None:
                rows = {job.number: job for job in found.jobs}
                numbers = [record.number for record in found.records]
                there = (rows.get(number) or jobs.get(number) for number in numbers if number not in others)
                lines += [line(job) for job in there if job is not None and job.number <= last]
                ends.append(numbers[-1] if len(numbers) == BOUNDS.rows else last)
            are_there.callback(None)

        server.broker.stock.peek(InOrder(after, BOUNDS.rows), look)
        # Nobody else has the journal look at what is wanted: this is no turn of any peer.
        server.end_turn()
        while not are_there.called:
            listing.waiting = are_there
            yield b""
        if not ends:
            raise not_read()
        after = ends[0]
        yield from lines


def _getpid(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    check(peer, SETTINGS)
    return textlines.ok(str(os.getpid()))


def _verbose(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    check(peer, SETTINGS)
    return textlines.ok(server.settings.level)


def _version(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    return textlines.ok(__version__)


COMMANDS: Final[dict[bytes, Command]] = {
    b"status": _status,
    b"prioritystatus": _prioritystatus,
    b"workers": _workers,
    b"show": _show,
    b"getpid": _getpid,
    b"verbose": _verbose,
    b"version": _version,
    **operatorcommands.COMMANDS,
}
"""Every text command by its first word, in lower case."""


# Commands of this server only: lists


NAMES: Final = frozenset(
    ("address", "client_id", "handle", "function", "name", "unique", "reducer", "worker", "pattern")
)
"""Columns whose values are shown so that they can be words of a command."""


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


# Commands of this server only: one job, one function, the server


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
            answer = _refused(server, peer, error)
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


OWN_COMMANDS: Final[dict[bytes, Command]] = {
    b"functions": _functions,
    b"jobs": _jobs,
    b"dead": _dead,
    b"kept": _kept,
    b"job": _job,
    b"workload": _workload,
    b"result": _result,
    b"connections": _connections,
    b"diagnose": diagnosiscommand.answer,
    b"identities": _identities,
    b"policies": _policies,
    b"policy": _policy,
    b"settings": _settings,
    b"schedules": _schedules,
    b"cluster": _cluster,
    b"run": runcommand.answer,
    **operatorcommands.OWN_COMMANDS,
    **reviewcommands.SHOWING,
    **reviewcommands.CHANGING,
    **taskcommands.SHOWING,
    **taskcommands.CHANGING,
    **workercommands.COMMANDS,
}
"""Commands that the reference does not have."""

OF_ONE_JOB: Final = frozenset(
    (
        b"cancel",
        b"copy",
        b"forget",
        b"job",
        b"move",
        b"prioritise",
        b"requeue",
        b"result",
        b"review",
        b"workload",
    )
)
"""Commands that may name a job by its handle."""

WITH_FILTERS: Final = frozenset((*OWN_COMMANDS, b"cancel"))
"""Commands that may have more words than those of the reference have."""
