"""
What is done to all jobs of a function, or to functions, at all servers of a cluster: here first, and then by
each of the others to what it has. What of that others have done is put together with what was done here.

Others are told by a text command, which they carry out, log and record as if it had been given there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, gatherResults

from txgear.broker.model import Peer, Reply
from txgear.broker.words import number
from txgear.errors import ServerError
from txgear.protocol import textlines
from txgear.protocol.constants import TEXT
from txgear.server.elsewhere import COMMAND, error_of
from txgear.server.jobserver import JobServer
from txgear.server.visitors import is_visitor

OF_FUNCTIONS: Final = (b"purge", b"drop")
"""Commands that are for all jobs of a function, or for a function, wherever they are;"""
OF_DEAD: Final = ((b"requeue", b"function"), (b"forget", b"dead"))
"""and so are these, by their first two words."""
NOT_HERE: Final = (b"ERR UNKNOWN_FUNCTION ", textlines.FUNCTION_NOT_FOUND)
"""How answers begin that say that a server does not know the function: others may."""


class Outcome(NamedTuple):
    """
    What has come of a command at other servers.

    @ivar jobs: of how many jobs they have told; C{None} where none has told of any.
    @ivar done: whether any has done it.
    @ivar failures: why others have not, by their names.
    @ivar in_use: whether that is because the function is in use.
    """

    jobs: int | None = None
    done: bool = False
    failures: Sequence[tuple[str, str]] = ()
    in_use: bool = False

    def error(self, count: int) -> ServerError | None:
        """
        @param count: to how many jobs it was done in all.
        @return: what says that it was not done everywhere; C{None} where it was.
        """
        if not self.failures:
            return None
        why = "; ".join(f"{name}: {text}" for name, text in self.failures)
        return ServerError(f"Done to {number(count, 'job')}, and not everywhere: {why}", "NOT_ALL_DONE")


NOWHERE: Final = Outcome()


def is_for_all(words: Sequence[bytes]) -> bool:
    """Whether a command is carried out at all servers."""
    name, *others = (word.lower() for word in words[:2])
    if name in OF_FUNCTIONS:
        return True
    return (name, *others) in OF_DEAD and not any(b"=" in word for word in words[2:])


def finish(server: JobServer, peer: Peer, line: bytes, here: bytes) -> bytes | Reply:
    """
    Have a command carried out by the others as well, which was carried out here.

    @param line: the command.
    @param here: what is answered here.
    @return: what is answered for all.
    """
    if not here.startswith((b"OK", *NOT_HERE)):
        return here
    reply = Reply(len(line))
    at_once: list[bytes] = []

    def done(outcome: Outcome) -> None:
        answer = put_together(here, outcome)
        if outcome is NOWHERE:
            at_once.append(answer)
        else:
            server.outbox.release(reply, TEXT, answer)

    by_others(server, peer, line, done)
    return at_once[0] if at_once else reply


def put_together(here: bytes, outcome: Outcome) -> bytes:
    """What is answered where this was answered here, and that came of it elsewhere."""
    count = _sum(_count(here), outcome.jobs)
    if outcome.in_use:
        return textlines.FUNCTION_IN_USE
    if (error := outcome.error(count or 0)) is not None:
        return textlines.refused(error)
    if not here.startswith(b"OK") and not outcome.done:
        return here
    return textlines.OK if count is None else textlines.ok(str(count))


def by_others(server: JobServer, peer: Peer, line: bytes, done: Callable[[Outcome], Any]) -> Any:
    """
    Have a command carried out by the other servers, if there are any. Those that peers of others ask for are
    for this server alone.

    @param done: called with what has come of it: at once, where nobody else has anything to do.
    @return: what that returns, or a Deferred that fires with it.
    """
    elsewhere = server.elsewhere
    others = [] if elsewhere is None or is_visitor(peer) else elsewhere.others()
    if elsewhere is None or not others:
        return done(NOWHERE)
    asked: list[Deferred[bytes | ServerError]] = [
        elsewhere.ask(other, peer, COMMAND, (line,)).addCallbacks(_answer, error_of) for other in others
    ]
    names = [other.name for other in others]
    return gatherResults(asked).addCallback(lambda answers: done(_outcome(names, answers)))


def _answer(parts: Sequence[bytes]) -> bytes:
    return parts[0]


def _outcome(names: Sequence[str], answers: Sequence[bytes | ServerError]) -> Outcome:
    failures: list[tuple[str, str]] = []
    count, done, in_use = None, False, False
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, ServerError):
            failures.append((name, answer.text))
        elif answer.startswith(b"OK"):
            done = True
            count = _sum(count, _count(answer))
        elif not answer.startswith(NOT_HERE):
            in_use = in_use or answer == textlines.FUNCTION_IN_USE
            failures.append((name, answer.decode("utf-8").strip().replace("+", " ")))
    return Outcome(count, done, failures, in_use)


def _count(answer: bytes) -> int | None:
    """How many jobs an answer tells of; C{None} where it tells of none."""
    word = answer[2:].strip()
    return int(word) if word.isdigit() else None


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else (one or 0) + other
