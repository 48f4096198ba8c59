"""
The text commands, over the broker: those of the reference, and this server's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from txgear import __version__, adminlines, inspection
from txgear.adminlines import column, listing, row, shown, shown_word
from txgear.constants import PRIORITIES
from txgear.errors import ServerError
from txgear.inspection import OF_ENDED, OF_JOBS, Search
from txgear.jobs import DEAD, Job
from txgear.jobserver import JobServer
from txgear.outbox import Later

Command = Callable[[JobServer, "list[bytes]"], bytes]
OwnCommand = Callable[[JobServer, "list[bytes]"], "bytes | Later"]


def answer(server: JobServer, line: bytes) -> bytes | Later:
    """
    Do what a text command says.

    @param line: the command without its line end.
    @return: the whole answer, or what will have it when the store has been read; C{gearadmin} reads
        until 5 ms of silence, so it has to leave in one write.
    @raise txgear.errors.ProtocolError: the line has too many words.
    """
    words = adminlines.words(line, OWN_COMMANDS)
    name = words[0].lower()
    try:
        if (command := COMMANDS.get(name)) is not None:
            return command(server, words)
        if (own := OWN_COMMANDS.get(name)) is not None:
            # A space at the end of the line is no word.
            return own(server, [words[0], *(word for word in words[1:] if word)])
        return adminlines.unknown_command(words[0])
    except ServerError as error:
        return adminlines.refused(error)


def _status(server: JobServer, words: list[bytes]) -> bytes:
    return listing(
        row(shown(queue.name), queue.total, queue.running, len(queue.workers))
        for queue in server.broker.functions.values()
    )


def _prioritystatus(server: JobServer, words: list[bytes]) -> bytes:
    return listing(
        row(shown(queue.name), *map(queue.queued_of, PRIORITIES), len(queue.workers))
        for queue in server.broker.functions.values()
    )


def _workers(server: JobServer, words: list[bytes]) -> bytes:
    return listing(
        b"%d %s %s :%s"
        % (
            peer.descriptor,
            shown_word(peer.address.encode("ascii", "replace")),
            shown_word(peer.client_id) or b"-",
            b"".join([b" " + shown(queue.name) for queue in reversed(peer.abilities)]),
        )
        for peer in reversed(server.broker.roster.peers)
    )


def _show(server: JobServer, words: list[bytes]) -> bytes:
    jobs = server.broker.jobs.values()
    what = [word.lower() for word in words[1:]]
    if not what:
        return adminlines.unknown_command(words[0])
    if what == [b"jobs"]:
        # There may be a million.
        return listing(
            b"%s\t%d\t%d\t%d" % (job.handle, job.retries, not job.wanted, job.background) for job in jobs
        )
    if what == [b"unique", b"jobs"]:
        return listing(shown(job.unique) for job in jobs)
    return adminlines.UNKNOWN_SHOW


def _cancel(server: JobServer, words: list[bytes]) -> bytes:
    if len(words) < 3:
        return adminlines.unknown_command(words[0])
    if len(words) > 3 or words[1].lower() != b"job":
        return adminlines.UNKNOWN_ERROR
    return adminlines.OK if server.broker.cancel(words[2], server.seconds()) else adminlines.UNKNOWN_JOB


def _create(server: JobServer, words: list[bytes]) -> bytes:
    if len(words) != 3 or words[1].lower() != b"function" or not words[2]:
        return adminlines.incomplete(words[0])
    server.broker.create_function(words[2])
    return adminlines.OK


def _drop(server: JobServer, words: list[bytes]) -> bytes:
    if len(words) != 3 or words[1].lower() != b"function" or not words[2]:
        return adminlines.incomplete(words[0])
    dropped = server.broker.drop_function(words[2])
    if dropped is None:
        return adminlines.FUNCTION_NOT_FOUND
    return adminlines.OK if dropped else adminlines.FUNCTION_IN_USE


def _maxqueue(server: JobServer, words: list[bytes]) -> bytes:
    if len(words) < 2:
        return adminlines.incomplete(words[0])
    server.broker.limit_function(words[1], adminlines.limits(words[2:]))
    return adminlines.OK


def _getpid(server: JobServer, words: list[bytes]) -> bytes:
    return adminlines.ok(str(os.getpid()))


def _verbose(server: JobServer, words: list[bytes]) -> bytes:
    return adminlines.ok(server.settings.level)


def _version(server: JobServer, words: list[bytes]) -> bytes:
    return adminlines.ok(__version__)


def _shutdown(server: JobServer, words: list[bytes]) -> bytes:
    if not server.settings.allow_shutdown:
        return adminlines.unknown_command(words[0])
    what = [word.lower() for word in words[1:]]
    if what not in ([], [b"graceful"]):
        return adminlines.UNKNOWN_ERROR
    server.shutdown(bool(what))
    return adminlines.OK


COMMANDS: Final[dict[bytes, Command]] = {
    b"status": _status,
    b"prioritystatus": _prioritystatus,
    b"workers": _workers,
    b"show": _show,
    b"cancel": _cancel,
    b"create": _create,
    b"drop": _drop,
    b"maxqueue": _maxqueue,
    b"getpid": _getpid,
    b"verbose": _verbose,
    b"version": _version,
    b"shutdown": _shutdown,
}
"""Every text command by its first word, in lower case."""


# This server's own: lists


NAMES: Final = frozenset(("handle", "function", "unique", "reducer", "worker", "pattern"))
"""What is shown so that it can stand as a word in a command."""


def _columns(found: Mapping[str, Any], names: Iterable[str]) -> bytes:
    return row(*(column(found[name], name=name in NAMES) for name in names))


def _page(page: Mapping[str, Any], *names: str) -> bytes:
    """A page of jobs, these columns of each."""
    rows = [_columns(job, names) for job in page["jobs"]]
    if page["next"] is not None:
        rows.append(row(b"next", page["next"]))
    return listing(rows)


def _jobs(server: JobServer, words: list[bytes]) -> bytes:
    search = Search.parse(adminlines.pairs(words[1:]), OF_JOBS)
    page = inspection.jobs(server.broker, search, server.seconds())
    for job in page["jobs"]:
        job["age"] = _whole(job["age"])
    return _page(page, "handle", "function", "state", "priority", "age", "attempts", "worker", "unique")


def _dead(server: JobServer, words: list[bytes]) -> bytes:
    search = Search.parse(adminlines.pairs(words[1:]), OF_ENDED)
    page = inspection.dead(server.broker, search, server.seconds())
    return _page(page, "handle", "function", "died", "attempts", "reason", "unique", "text")


def _kept(server: JobServer, words: list[bytes]) -> bytes:
    search = Search.parse(adminlines.pairs(words[1:]), OF_ENDED)
    page = inspection.kept(server.broker, search, server.seconds())
    for job in page["jobs"]:
        job["age"], job["left"] = _whole(job["age"]), _whole(job["left"])
    return _page(page, "handle", "function", "outcome", "age", "size", "left", "unique")


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def _policies(server: JobServer, words: list[bytes]) -> bytes:
    if len(words) != 1:
        return adminlines.incomplete(words[0])
    return listing(_columns(rule, ("pattern", "settings")) for rule in inspection.policies(server.broker))


# This server's own: one job, one function, the server


def _job(server: JobServer, words: list[bytes]) -> bytes:
    job = _named(server, words)
    if job is None:
        return adminlines.UNKNOWN_JOB
    found = inspection.job(server.broker, job, server.seconds())
    settings, history = found.pop("settings"), found.pop("history")
    rows = _details(found)
    rows += [row(b"setting", column(name), column(value)) for name, value in settings.items()]
    rows += [
        b"attempt\t" + _columns(attempt, ("began", "ended", "reason", "worker", "text"))
        for attempt in history
    ]
    return listing(rows)


def _policy(server: JobServer, words: list[bytes]) -> bytes:
    if len(words) != 2:
        return adminlines.incomplete(words[0])
    found = inspection.policy(server.broker, adminlines.unescaped(words[1]), server.seconds())
    settings = found.pop("settings")
    rows = [row(b"setting", column(name), column(value)) for name, value in settings.items()]
    return listing(_details(found) + rows)


def _settings(server: JobServer, words: list[bytes]) -> bytes:
    if len(words) != 1:
        return adminlines.incomplete(words[0])
    store = "memory:" if server.journal is None else server.journal.store_name
    found = {"config": server.config, **inspection.settings(asdict(server.settings), store)}
    return listing(_details(found))


def _schedules(server: JobServer, words: list[bytes]) -> bytes:
    if len(words) != 1:
        return adminlines.incomplete(words[0])
    return listing(
        row(
            column(inspection.text(found["name"]), name=True),
            column(found["cron"]),
            column(found["timezone"]),
            column(inspection.text(found["function"]), name=True),
            column(inspection.moment(found["last"])),
            column(None if found["next"] is None else inspection.moment(found["next"])),
        )
        for found in server.schedules()
    )


def _details(found: Mapping[str, Any]) -> list[bytes]:
    """A row for each that is there; no and 0 are."""
    return [
        row(name.encode("ascii"), column(value, name=name in NAMES))
        for name, value in found.items()
        if value is not None and value not in ("", {})
    ]


def _named(server: JobServer, words: list[bytes]) -> Job | None:
    """
    The job that a command of two words is about.

    @raise ServerError: it has not two.
    """
    if len(words) != 2:
        raise ServerError(f"{inspection.text(words[0])} wants the handle of one job", "INVALID_ARGUMENTS")
    return inspection.find(server.broker, adminlines.unescaped(words[1]))


def _workload(server: JobServer, words: list[bytes]) -> bytes | Later:
    job = _named(server, words)
    if job is None:
        return adminlines.UNKNOWN_JOB
    if job.ended and job.state != DEAD:
        raise ServerError("The job has ended, its workload is not kept", "NO_WORKLOAD")
    return _read(server, job, lambda found: inspection.workload(job, found))


def _result(server: JobServer, words: list[bytes]) -> bytes | Later:
    job = _named(server, words)
    if job is None:
        return adminlines.UNKNOWN_JOB
    if not job.ended:
        raise ServerError("The job has not ended", "NO_RESULT")
    life = server.broker.life(job)
    if job.state == DEAD or not life.complete:
        raise ServerError("What the job has brought is not kept", "NO_RESULT")
    return _read(server, job, lambda found: inspection.result(job, life, found))


def _read(server: JobServer, job: Job, inspect: Callable[[bytes], dict[str, Any]]) -> bytes | Later:
    """What is shown of a job's workload or result, once that has been read."""
    later = Later(job.size)

    def come(found: bytes | None) -> None:
        if found is None:
            error = ServerError("The store does not have it, or does not answer", "NOT_READ")
            later.said = adminlines.refused(error)
        else:
            facts = inspect(found).items()
            later.said = listing(
                row(name.encode("ascii"), shown(value.encode("utf-8")) if isinstance(value, str) else value)
                for name, value in facts
            )

    server.broker.read(job, come)
    return later.said or later


# This server's own: orders


def _function(words: list[bytes]) -> bytes:
    """
    The function that a command of two words is about.

    @raise ServerError: it has not two.
    """
    if len(words) != 2:
        raise ServerError(f"{inspection.text(words[0])} wants the name of one function", "INVALID_ARGUMENTS")
    return adminlines.unescaped(words[1])


def _unknown_function() -> ServerError:
    return ServerError("There is no such function", "UNKNOWN_FUNCTION")


def _purge(server: JobServer, words: list[bytes]) -> bytes:
    purged = server.broker.purge(_function(words), server.seconds())
    if purged is None:
        raise _unknown_function()
    return adminlines.ok(str(purged))


def _pause(server: JobServer, words: list[bytes]) -> bytes:
    server.broker.pause(_function(words), server.seconds())
    return adminlines.OK


def _resume(server: JobServer, words: list[bytes]) -> bytes:
    if not server.broker.resume(_function(words), server.seconds()):
        raise ServerError("The function is not paused", "NOT_PAUSED")
    return adminlines.OK


def _requeue(server: JobServer, words: list[bytes]) -> bytes:
    broker, (what, name) = server.broker, _what(words, b"job", b"function")
    if what == b"job":
        if broker.requeue(name, server.seconds()):
            return adminlines.OK
        if inspection.find(broker, name) is None:
            return adminlines.UNKNOWN_JOB
        raise ServerError("The job is not dead", "NOT_DEAD")
    if name not in broker.functions:
        raise _unknown_function()
    return adminlines.ok(str(broker.requeue_all(name, server.seconds())))


def _forget(server: JobServer, words: list[bytes]) -> bytes:
    broker, (what, name) = server.broker, _what(words, b"job", b"dead")
    if what == b"job":
        if broker.forget(name):
            return adminlines.OK
        if inspection.find(broker, name) is None:
            return adminlines.UNKNOWN_JOB
        raise ServerError("The job has not ended; it can be cancelled", "NOT_ENDED")
    if name not in broker.functions:
        raise _unknown_function()
    return adminlines.ok(str(broker.forget_all(name, server.seconds())))


def _what(words: list[bytes], *kinds: bytes) -> tuple[bytes, bytes]:
    """
    What a command of three words is about, and its name.

    @raise ServerError: it is not one of these kinds, or it has not three.
    """
    if len(words) != 3 or words[1].lower() not in kinds:
        wanted = " or ".join(kind.decode("ascii") for kind in kinds)
        raise ServerError(f"{inspection.text(words[0])} wants {wanted}, and one name", "INVALID_ARGUMENTS")
    return words[1].lower(), adminlines.unescaped(words[2])


OWN_COMMANDS: Final[dict[bytes, OwnCommand]] = {
    b"jobs": _jobs,
    b"dead": _dead,
    b"kept": _kept,
    b"job": _job,
    b"workload": _workload,
    b"result": _result,
    b"policies": _policies,
    b"policy": _policy,
    b"settings": _settings,
    b"schedules": _schedules,
    b"purge": _purge,
    b"pause": _pause,
    b"resume": _resume,
    b"requeue": _requeue,
    b"forget": _forget,
}
"""Those that the reference does not have."""
