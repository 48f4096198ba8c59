"""
Text commands that change something: those of operators.

Each command that is carried out is a line in the log and in the audit log, which says who gave it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from twisted.logger import Logger

from txgear.broker.model import Function, Job, Peer, Reply
from txgear.broker.operators import inspection
from txgear.broker.rights import (
    CANCEL,
    CREATE,
    DROP,
    FORGET,
    MAXQUEUE,
    PAUSE,
    PURGE,
    REQUEUE,
    RESUME,
    SHUTDOWN,
    SUBMIT,
    allowed,
    check,
    denied,
    knows,
    may,
)
from txgear.broker.states import DEAD
from txgear.errors import AccessDenied, ServerError
from txgear.protocol import textlines
from txgear.protocol.textlines import for_line, shown, text
from txgear.security.audit import DONE
from txgear.security.tokens import without_secrets
from txgear.server import tasks
from txgear.server.jobserver import JobServer

OperatorCommand = Callable[[JobServer, Peer, "list[bytes]"], "bytes | Reply"]

MOST_SHOWN: Final = 400
"""Bytes of a command that the log shows: more than any has whose names are of use to a reader."""

log = Logger()


def refused(server: JobServer, peer: Peer, error: ServerError) -> bytes:
    """The answer to a command that is not carried out; where the peer may not, the guard is told."""
    if isinstance(error, AccessDenied):
        server.guard.denied(peer, error)
    return textlines.refused(error)


def log_command(server: JobServer, peer: Peer, line: bytes, words: list[bytes], answer: bytes) -> None:
    """
    Log a command that was carried out. One that was not is not logged.

    @param line: the command.
    @param words: its words.
    @param answer: its answer.
    """
    if answer.startswith(b"OK"):
        act = words[0].lower().decode("ascii")
        server.audit.record(act, DONE, peer, **_about(words), answer=answer.strip())
        log_line(server, peer, line, answer)


def log_line(server: JobServer, peer: Peer, line: bytes, answer: bytes) -> None:
    """
    Log a command with its answer.

    @param line: the command.
    """
    server.notices.acted(
        log,
        "command",
        peer,
        "{address} ({client_id}){whose}: {command}: {answer}",
        client_id=shown(peer.client_id).decode("utf-8"),
        command=for_line(without_secrets(line)[:MOST_SHOWN].decode("utf-8", "backslashreplace")).decode(
            "utf-8"
        ),
        answer=text(answer).strip(),
    )


def note_submitted(server: JobServer, peer: Peer, job: Job, about: str) -> None:
    """
    Note in the log and in the audit log that an operator has submitted a job.

    @param about: how it came to that.
    """
    server.audit.record(SUBMIT, DONE, peer, function=job.function.name, handle=job.handle, arguments=about)
    server.notices.acted(
        log,
        "command",
        peer,
        "{address} ({client_id}){whose}: submit {handle}: {about}",
        client_id=shown(peer.client_id).decode("utf-8"),
        handle=shown(job.handle).decode("utf-8"),
        about=about,
    )


def _about(words: list[bytes]) -> dict[str, bytes]:
    """What a command that was carried out is about, by the names that it has in the audit log."""
    # A space at the end of the line has made an empty word there, and nowhere else.
    command = words[0].lower()
    if command == b"shutdown":
        found = {"arguments": b" ".join(words[1:]).strip()}
    elif command in (b"prioritise", b"move", b"review"):
        found = {"handle": words[2], "arguments": words[3]}
    elif command == b"stop":
        found = {"task": words[2]}
    elif command in (b"purge", b"pause", b"resume", b"maxqueue"):
        found = {"function": words[1], "arguments": b" ".join(words[2:]).strip()}
    else:
        found = {"handle" if words[1].lower() == b"job" else "function": words[2]}
    return {name: value for name, value in found.items() if value}


# The arguments of commands


def wanted(words: list[bytes], what: str) -> ServerError:
    return ServerError(f"{text(words[0])} wants {what}", "INVALID_ARGUMENTS")


def unknown_function() -> ServerError:
    return ServerError("There is no such function", "UNKNOWN_FUNCTION")


def _function(server: JobServer, peer: Peer, act: str, words: list[bytes]) -> bytes:
    """
    The function that a command names.

    @raise AccessDenied: the peer may not do the act for it.
    @raise ServerError: the command has not two words, or the second is no function's name.
    """
    if len(words) != 2:
        raise wanted(words, "the name of one function")
    return named_function(server, peer, act, words[1])


def named_function(server: JobServer, peer: Peer, act: str, word: bytes) -> bytes:
    """
    The function that a word names, be it one that there is not.

    @raise AccessDenied: the peer may not do the act for it.
    @raise ServerError: the word is no function's name.
    """
    function = inspection.function_name(server.broker, word, allowed(peer, act, inspection.readings(word)))
    check(peer, act, function)
    return function


def named_job(server: JobServer, peer: Peer, act: str, word: bytes) -> Job | None:
    """
    The job that a command names, if the peer may know of it.

    @raise AccessDenied: it may, but may not do the act.
    """
    job = inspection.find(server.broker, peer, word)
    if job is not None:
        check(peer, act, job.function.name)
    return job


def _what(words: list[bytes], *kinds: bytes) -> tuple[bytes, bytes]:
    """
    The kind of thing that a command names, and the name as it was given.

    @raise ServerError: the command has not three words, or the second is none of these kinds.
    """
    if len(words) != 3 or words[1].lower() not in kinds:
        raise wanted(words, f"{' or '.join(kind.decode('ascii') for kind in kinds)}, and one name")
    return words[1].lower(), words[2]


# Commands of the reference


def _cancel(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    if len(words) < 3:
        return textlines.unknown_command(words[0])
    if words[1].lower() == b"jobs" and b"=" in words[2]:
        return tasks.for_all(server, peer, CANCEL, b"jobs", words[2:])
    if len(words) > 3 or words[1].lower() != b"job":
        return textlines.UNKNOWN_ERROR
    job = named_job(server, peer, CANCEL, words[2])
    if job is None or not server.broker.operations.cancel(job.handle, server.seconds()):
        return textlines.UNKNOWN_JOB
    return textlines.OK


def _create(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    if len(words) != 3 or words[1].lower() != b"function" or not words[2]:
        return textlines.incomplete(words[0])
    server.broker.operations.create_function(known_or_given(server, peer, CREATE, words[2]))
    return textlines.OK


def _drop(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    if len(words) != 3 or words[1].lower() != b"function" or not words[2]:
        return textlines.incomplete(words[0])
    dropped = drop_function(server, peer, words[2])
    if dropped is None:
        return textlines.FUNCTION_NOT_FOUND
    return textlines.OK if dropped else textlines.FUNCTION_IN_USE


def drop_function(server: JobServer, peer: Peer, word: bytes) -> bool | None:
    """
    Forget the function that a word names.

    @return: as L{Operations.drop_function<txgear.broker.life.operations.Operations.drop_function>}.
    @raise AccessDenied: the peer may not do that.
    """
    for name in allowed(peer, DROP, inspection.readings(word)):
        dropped = server.broker.operations.drop_function(name, partial(droppable, peer))
        if dropped is not None:
            return dropped
    return None


def droppable(peer: Peer, function: Function) -> bool:
    """
    Whether a function is among those that are dropped, as its name is the one that was given, but for
    capitals. One that the peer may neither drop nor know of is not.

    @raise AccessDenied: the peer may know of it, but not drop it.
    """
    if may(peer, DROP, function.name):
        return True
    if knows(peer, function):
        raise denied(DROP, function.name)
    return False


def _maxqueue(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    if len(words) < 2:
        return textlines.incomplete(words[0])
    function = known_or_given(server, peer, MAXQUEUE, words[1])
    server.broker.operations.limit_function(function, textlines.limits(words[2:]))
    return textlines.OK


def known_or_given(server: JobServer, peer: Peer, act: str, word: bytes) -> bytes:
    """
    A known function that is shown as this word; otherwise the word itself, as in the reference.

    @raise AccessDenied: the peer may not do the act for it.
    """
    names = allowed(peer, act, inspection.readings(word))
    function = inspection.known_function(server.broker, names) or word
    check(peer, act, function)
    return function


def _shutdown(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    if not server.settings.allow_shutdown:
        return textlines.unknown_command(words[0])
    what = [word.lower() for word in words[1:]]
    if what not in ([], [b"graceful"]):
        return textlines.UNKNOWN_ERROR
    shut_down(server, peer, bool(what))
    return textlines.OK


def shut_down(server: JobServer, peer: Peer, graceful: bool) -> None:
    """
    End the server, where it is set that it may be ended so.

    @param graceful: once no job runs any more that it has begun, and none that a client waits for is left.
    @raise AccessDenied: the peer may not do that.
    """
    check(peer, SHUTDOWN)
    server.shutdown(graceful)


COMMANDS: Final[dict[bytes, OperatorCommand]] = {
    b"cancel": _cancel,
    b"create": _create,
    b"drop": _drop,
    b"maxqueue": _maxqueue,
    b"shutdown": _shutdown,
}
"""By the first word, in lower case."""


# Commands of this server only


def _purge(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    function = _function(server, peer, PURGE, words)
    purged = server.broker.operations.purge(function, server.seconds(), peer.who)
    if purged is None:
        raise unknown_function()
    return textlines.ok(str(purged))


def _pause(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    server.broker.operations.pause(_function(server, peer, PAUSE, words), server.seconds(), peer.who)
    return textlines.OK


def _resume(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    if not server.broker.operations.resume(_function(server, peer, RESUME, words), server.seconds()):
        raise ServerError("The function is not paused", "NOT_PAUSED")
    return textlines.OK


def _requeue(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    if len(words) > 2 and words[1].lower() == b"dead" and b"=" in words[2]:
        return tasks.for_all(server, peer, REQUEUE, b"dead", words[2:])
    broker, (what, name) = server.broker, _what(words, b"job", b"function")
    if what == b"function":
        return _all(server, peer, REQUEUE, name, broker.operations.requeue_all)
    job = named_job(server, peer, REQUEUE, name)
    if job is None:
        return textlines.UNKNOWN_JOB
    requeue_job(server, job)
    return textlines.OK


def requeue_job(server: JobServer, job: Job) -> None:
    """
    Queue a dead job again, or one that waits for its time or its next attempt.

    @raise ServerError: it is neither.
    """
    if job.ended and job.state != DEAD:
        raise ServerError("The job is over, and its workload is not kept: submit it again", "NO_WORKLOAD")
    if not server.broker.operations.requeue(job.handle, server.seconds()):
        raise ServerError("The job is not dead, and does not wait", "NOT_DEAD")


def _forget(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    if len(words) > 2 and b"=" in words[2] and (words[1].lower() == b"kept" or _filters_dead(server, words)):
        return tasks.for_all(server, peer, FORGET, words[1].lower(), words[2:])
    broker, (what, name) = server.broker, _what(words, b"job", b"dead")
    if what == b"dead":
        return _all(server, peer, FORGET, name, broker.operations.forget_all)
    job = named_job(server, peer, FORGET, name)
    if job is None:
        return textlines.UNKNOWN_JOB
    forget_job(server, job)
    return textlines.OK


def forget_job(server: JobServer, job: Job) -> None:
    """
    Forget a job that has ended.

    @raise ServerError: it has not.
    """
    if not server.broker.operations.forget(job.handle):
        raise ServerError("The job has not ended; it can be cancelled", "NOT_ENDED")


def _filters_dead(server: JobServer, words: list[bytes]) -> bool:
    """Whether a command for the dead has a filter, and not the name of a function."""
    if words[1].lower() != b"dead" or len(words) > 3:
        return words[1].lower() == b"dead"
    called = text(words[2].partition(b"=")[0]).lower()
    known = inspection.known_function(server.broker, inspection.readings(words[2]))
    return known is None and called in (*tasks.OF_TASKS["dead"], "preview")


def _all(server: JobServer, peer: Peer, act: str, word: bytes, do: Callable[[bytes, float], int]) -> bytes:
    """
    Do something to all dead jobs of a function.

    @raise AccessDenied: the peer may not do the act for it.
    """
    names = allowed(peer, act, inspection.readings(word))
    function = inspection.known_function(server.broker, names)
    if function is None:
        raise unknown_function()
    return textlines.ok(str(do(function, server.seconds())))


OWN_COMMANDS: Final[dict[bytes, OperatorCommand]] = {
    b"purge": _purge,
    b"pause": _pause,
    b"resume": _resume,
    b"requeue": _requeue,
    b"forget": _forget,
}
"""Commands that the reference does not have."""
