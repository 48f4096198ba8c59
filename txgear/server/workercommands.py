"""
What operators tell single workers, and the text command for it.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from txgear.broker import workers
from txgear.broker.model import Peer, Reply
from txgear.broker.rights import MANAGE, check
from txgear.errors import ServerError
from txgear.protocol import textlines
from txgear.protocol.constants import TEXT
from txgear.protocol.textlines import for_line, text
from txgear.security.audit import DONE
from txgear.server.jobserver import JobServer
from txgear.server.operatorcommands import MOST_LOGGED, wanted

DISCONNECT: Final = "disconnect"
"""What is done to a worker without a word to it."""
_DIGITS: Final = 10
"""No system has a descriptor of so many."""

log = Logger()


def named(server: JobServer, peer: Peer, descriptor: str) -> Peer:
    """
    The worker with this descriptor.

    @raise ServerError: there is none, or the peer may not know of it.
    """
    number = int(descriptor) if descriptor.isdecimal() and len(descriptor) < _DIGITS else -1
    worker = workers.find(server.broker, peer, number)
    if worker is None:
        raise ServerError("There is no such worker", "UNKNOWN_WORKER")
    return worker


def steer(server: JobServer, peer: Peer, worker: Peer, word: str) -> Deferred[str]:
    """
    Tell a worker something.

    @return: as L{Steering.ask<txgear.server.steering.Steering.ask>}.
    @raise ServerError: likewise; or the peer may not do that.
    """
    check(peer, MANAGE)
    return server.steering.ask(worker, word)


def disconnect(server: JobServer, peer: Peer, worker: Peer) -> None:
    """
    End the connection of a worker, whatever it has under way: its jobs come back as from one that is lost.

    @raise AccessDenied: the peer may not do that.
    """
    check(peer, MANAGE)
    server.outbox.line_of(worker).abort()


def _worker(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    if len(words) != 3:
        raise wanted(words, "the number of one worker, and a word such as pause, resume, stop or disconnect")
    worker = named(server, peer, text(words[1]))
    word = text(words[2]).lower()
    if word == DISCONNECT:
        disconnect(server, peer, worker)
        _record(server, peer, worker, word, "OK")
        return textlines.OK
    reply = Reply(0)

    def answered(said: str) -> None:
        _record(server, peer, worker, word, f"OK {said}".strip())
        answer = textlines.OK
        if said:
            answer = b"OK %s\r\n" % for_line(said.replace(" ", "+"))
        server.outbox.release(reply, TEXT, answer)

    def failed(failure: Failure) -> None:
        failure.trap(ServerError)
        error = failure.value
        assert isinstance(error, ServerError)
        _record(server, peer, worker, word, f"{error.code}: {error.text}")
        server.outbox.release(reply, TEXT, textlines.refused(error))

    told = steer(server, peer, worker, word).addCallbacks(answered, failed)
    _ = told.addCallback(lambda nothing: server.end_turn())
    return reply


def _record(server: JobServer, peer: Peer, worker: Peer, word: str, answer: str) -> None:
    server.audit.record(MANAGE, DONE, peer, worker=worker.name, arguments=word, answer=answer)
    server.notices.emit(
        log,
        LogLevel.info,
        ("command", peer.address),
        "{address}{whose}: worker {worker}: {word}: {answer}",
        burst=MOST_LOGGED,
        address=peer.address,
        whose="" if peer.tenant is None else f", identity {peer.tenant.name}",
        worker=for_line(worker.name).decode("utf-8"),
        word=for_line(word).decode("utf-8"),
        answer=for_line(answer).decode("utf-8"),
    )


COMMANDS: Final = {b"worker": _worker}
"""By the first word, in lower case."""
