"""
Text commands: which there are, and how one is carried out, wherever the job is that it is about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.python.failure import Failure

from txgear.broker.model import Peer, Reply
from txgear.broker.operators import loading
from txgear.broker.table import number_of_handle
from txgear.errors import ServerError
from txgear.protocol import textlines
from txgear.server import (
    classiccommands,
    diagnosiscommand,
    everywhere,
    operatorcommands,
    reviewcommands,
    runcommand,
    showcommands,
    taskcommands,
    workercommands,
)
from txgear.server.elsewhere import COMMAND, error_of
from txgear.server.jobserver import JobServer
from txgear.server.listings import Listing
from txgear.server.unfinished import Unfinished, not_read

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
        return operatorcommands.refused(server, peer, error)
    if isinstance(result, Listing) and not result.long:
        return bytes(result)
    if isinstance(result, bytes) and name in CHANGING:
        operatorcommands.log_command(server, peer, line, words, result)
    return result


COMMANDS: Final[dict[bytes, Command]] = {
    **classiccommands.COMMANDS,
    **operatorcommands.COMMANDS,
}
"""The commands of the reference, by their first words, in lower case."""

OWN_COMMANDS: Final[dict[bytes, Command]] = {
    **showcommands.COMMANDS,
    b"diagnose": diagnosiscommand.answer,
    b"run": runcommand.answer,
    **operatorcommands.OWN_COMMANDS,
    **reviewcommands.SHOWING,
    **reviewcommands.CHANGING,
    **taskcommands.SHOWING,
    **taskcommands.CHANGING,
    **workercommands.COMMANDS,
}
"""Those that the reference does not have."""

CHANGING: Final = frozenset(
    (
        *operatorcommands.COMMANDS,
        *operatorcommands.OWN_COMMANDS,
        *reviewcommands.CHANGING,
        *taskcommands.CHANGING,
    )
)
"""Those that change something."""

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
