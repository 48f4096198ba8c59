"""
The text commands, over the broker.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from txgear import __version__, adminlines
from txgear.adminlines import listing, row, shown, shown_word
from txgear.constants import PRIORITIES
from txgear.errors import ServerError
from txgear.jobserver import JobServer

Command = Callable[[JobServer, "list[bytes]"], bytes]


def answer(server: JobServer, line: bytes) -> bytes:
    """
    Do what a text command says.

    @param line: the command without its line end.
    @return: the whole answer; C{gearadmin} reads until 5 ms of silence, so it
        has to leave in one write.
    @raise txgear.errors.ProtocolError: the line has too many words.
    """
    words = adminlines.words(line)
    command = COMMANDS.get(words[0].lower())
    if command is None:
        return adminlines.unknown_command(words[0])
    try:
        return command(server, words)
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
        return listing(row(job.handle, job.retries, int(not job.wanted), int(job.background)) for job in jobs)
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
