"""
What operators tell single workers, and the text command for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.broker.model import Peer, Reply
from txgear.broker.operators import workers
from txgear.broker.operators.inspection import readings
from txgear.broker.operators.search import OF_WORKERS, Search
from txgear.broker.rights import MANAGE, check
from txgear.errors import ServerError
from txgear.protocol import textlines
from txgear.protocol.constants import TEXT, WORD_REGISTER, WORD_UNREGISTER
from txgear.protocol.textlines import column, for_line, listing, row, shown, text, unescaped
from txgear.security.audit import DONE
from txgear.security.tokens import without_secrets
from txgear.server.jobserver import JobServer
from txgear.server.operatorcommands import MOST_SHOWN, wanted

DISCONNECT: Final = "disconnect"
"""What is done to a worker without a word to it."""
MOST_CALLED: Final = 200
"""Workers that are told something at once; some milliseconds."""
NAMING: Final = (WORD_REGISTER.decode("ascii"), WORD_UNREGISTER.decode("ascii"))
"""Words whose argument is the name of a function."""

log = Logger()


def named(server: JobServer, peer: Peer, word: bytes) -> list[Peer]:
    """
    The workers that a word is for (see L{find<txgear.broker.operators.workers.find>}); one at least.

    @raise ServerError: there is none of which the peer may know, or there are too many to be told at once.
    """
    found = workers.find(server.broker, peer, word)
    if not found:
        raise ServerError("There is no such worker", "UNKNOWN_WORKER")
    return _few(found)


def matching(server: JobServer, peer: Peer, search: Search) -> list[Peer]:
    """
    The workers that match, of those of which the peer may know, by their numbers.

    @raise ServerError: there are too many to be told something at once.
    """
    return _few(workers.matching(server.broker, peer, search))


def _few(found: list[Peer]) -> list[Peer]:
    if len(found) > MOST_CALLED:
        raise ServerError(
            f"There are {len(found)} workers like that: at most {MOST_CALLED} are told something at once",
            "TOO_MANY_WORKERS",
        )
    return found


def named_alone(server: JobServer, peer: Peer, word: bytes) -> Peer:
    """
    The worker that a word is for.

    @raise ServerError: as for L{named}; or several are called so.
    """
    found = named(server, peer, word)
    if len(found) > 1:
        numbers = ", ".join(str(worker.descriptor) for worker in found[:10])
        raise ServerError(
            f"{len(found)} workers are called so: say the number of one: {numbers}", "SEVERAL_WORKERS"
        )
    return found[0]


class Order(NamedTuple):
    """
    What workers are told.

    @ivar word: such as C{pause}, or L{DISCONNECT}.
    @ivar argument: what belongs to it, as somebody has written it; empty for nothing. A function may be
        named as it is shown.
    """

    word: str
    argument: bytes = b""

    @property
    def told(self) -> bytes:
        """What logs show, before it is escaped."""
        argument = unescaped(self.argument) if self.word in NAMING else self.argument
        return b" ".join(filter(None, (self.word.encode("utf-8"), argument)))

    def for_worker(self, worker: Peer) -> bytes:
        """The argument as this worker has to be told."""
        if self.word not in NAMING:
            return self.argument
        known = {function.name for function in worker.abilities}
        if worker.about is not None:
            known.update(told.name for told in worker.about.state.functions)
        return next((name for name in readings(self.argument) if name in known), self.argument)


class Outcome(NamedTuple):
    """
    What has come of an order at one worker.

    @ivar worker: which one.
    @ivar text: what it says to it, or what is wrong.
    @ivar code: the code of what is wrong; empty if it is done.
    """

    worker: Peer
    text: str
    code: str = ""

    @property
    def answer(self) -> str:
        """The same for logs."""
        return f"{self.code}: {self.text}" if self.code else f"OK {self.text}".strip()


def carry_out(
    server: JobServer,
    peer: Peer,
    found: Sequence[Peer],
    order: Order,
    record: Callable[[Outcome], None],
) -> Deferred[list[Outcome]]:
    """
    Have workers do something, all at once. Of one whose connection is ended the jobs come back, as from one
    that is lost; an absent one is given up.

    @param record: told of each that was told something, when that has come to an end.
    @return: fires with what has come of it, in the order of the workers, when all have answered or have taken
        too long. It fails only when it is cancelled, which is not to wait any more: they have been told.
    @raise AccessDenied: the peer may not do that.
    @raise ServerError: the word wants an argument.
    """
    check(peer, MANAGE)
    if order.word in NAMING and not order.argument:
        raise ServerError(f"{order.word} wants the name of a function", "INVALID_ARGUMENTS")

    def one(worker: Peer) -> Deferred[Outcome]:
        absent = not worker.connected
        if order.word == DISCONNECT:
            if absent:
                server.broker.absences.dismiss(worker, server.seconds())
            else:
                server.outbox.line_of(worker).abort()
            return succeed(recorded(Outcome(worker, "")))
        if absent:
            return succeed(Outcome(worker, "The worker is absent: its connection is lost", "WORKER_ABSENT"))
        try:
            told = server.steering.ask(worker, order.word, order.for_worker(worker))
        except ServerError as error:
            # It was told nothing.
            return succeed(Outcome(worker, error.text, error.code))
        return told.addCallbacks(
            lambda said: recorded(Outcome(worker, said)), lambda failure: recorded(refused(worker, failure))
        )

    def refused(worker: Peer, failure: Failure) -> Outcome:
        failure.trap(ServerError)
        error = failure.value
        assert isinstance(error, ServerError)
        return Outcome(worker, error.text, error.code)

    def recorded(outcome: Outcome) -> Outcome:
        record(outcome)
        return outcome

    def cancelled(failure: Failure) -> Failure:
        failure.trap(FirstError)
        error = failure.value
        assert isinstance(error, FirstError)
        return error.subFailure

    told = gatherResults(list(map(one, found)), consumeErrors=True)
    return told.addErrback(cancelled)


def _worker(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    if len(words) not in (2, 3, 4):
        raise wanted(
            words, "the number or id of a worker, and a word such as pause, resume, stop or disconnect"
        )
    if len(words) == 2:
        return _details(server, peer, named_alone(server, peer, words[1]))
    found = named(server, peer, words[1])
    order = Order(text(words[2]).lower(), words[3] if len(words) == 4 else b"")
    told = carry_out(server, peer, found, order, partial(_record, server, peer, order))
    if told.called:
        # All refuse it, or there is nothing to wait for.
        outcomes: list[Outcome] = []
        _ = told.addCallback(outcomes.extend)
        return _answer(outcomes)
    reply = Reply(0)

    def answered(outcomes: list[Outcome]) -> None:
        server.outbox.release(reply, TEXT, _answer(outcomes))
        server.end_turn()

    _ = told.addCallback(answered)
    return reply


def _answer(outcomes: list[Outcome]) -> bytes:
    failed = [outcome for outcome in outcomes if outcome.code]
    if len(outcomes) == 1:
        said = outcomes[0].text
        code = outcomes[0].code
    elif failed:
        done = len(outcomes) - len(failed)
        first = failed[0]
        code = "NOT_ALL_DONE"
        said = f"{done} of {len(outcomes)} have done it; {first.worker.descriptor}: {first.text}"
    else:
        code, said = "", f"{len(outcomes)} workers"
    if code:
        return textlines.refused(ServerError(said, code))
    return b"OK %s\r\n" % for_line(said.replace(" ", "+")) if said else textlines.OK


def _details(server: JobServer, peer: Peer, worker: Peer) -> bytes:
    found = workers.worker(server.broker, peer, worker, server.seconds(), workers.MOST_OF_ONE)
    words, counts, in_hand = found.pop("words"), found.pop("counts"), found.pop("in_hand")
    del found["names"]
    rows = [
        row(name.encode("ascii"), column(value, name=name in _NAMES))
        for name, value in found.items()
        if value is not None
    ]
    rows += [row(b"word", column(word)) for word in words]
    rows += [
        row(b"function", *(column(value, name=name == "function") for name, value in each.items()))
        for each in counts
    ]
    rows += [
        row(b"job", *(column(job[name], name=name == "function") for name in ("handle", "function", "began")))
        for job in in_hand
    ]
    return listing(rows)


def _workforce(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    search = Search.parse(textlines.pairs(words[1:]), OF_WORKERS)
    page = workers.workers(server.broker, peer, search, server.seconds())
    rows = [_row(found) for found in page["workers"]]
    if page["next"] is not None:
        rows.append(row(b"next", page["next"]))
    return listing(rows)


def _row(found: dict[str, Any]) -> bytes:
    first = found["in_hand"][0] if found["in_hand"] else {}
    seconds = first.get("seconds")
    in_use, others = (
        b" ".join(column(each["function"], name=True) for each in found["counts"] if each["in_use"] is so)
        for so in (True, False)
    )
    return row(
        found["descriptor"],
        *(column(found[name], name=True) for name in ("id", "group", "host")),
        column(found["pid"]),
        column(found["version"], name=True),
        column(found["condition"]),
        found["jobs"],
        column(first.get("function"), name=True),
        column(None if seconds is None else int(seconds)),
        in_use or b"-",
        others or b"-",
    )


_NAMES: Final = frozenset(("address", "client_id", "id", "group", "host", "version"))
"""What is shown so that it can be a word of a command."""


def _record(server: JobServer, peer: Peer, order: Order, outcome: Outcome) -> None:
    worker, answer = outcome.worker, outcome.answer
    server.audit.record(MANAGE, DONE, peer, worker=worker.name, arguments=order.told, answer=answer)
    server.notices.acted(
        log,
        "command",
        peer,
        "{address}{whose}: worker {worker}: {word}: {answer}",
        worker=for_line(worker.name).decode("utf-8"),
        word=shown(without_secrets(order.told)[:MOST_SHOWN]).decode("utf-8"),
        answer=for_line(answer).decode("utf-8"),
    )


COMMANDS: Final = {b"worker": _worker, b"workforce": _workforce}
"""By the first word, in lower case."""
