"""
Text commands that change jobs' priorities and functions, that copy jobs, and those for all jobs that match a
filter.
"""

from __future__ import annotations

from typing import Final

from txgear.broker.model import Peer, Reply
from txgear.broker.operators.inspection import PRIORITY_NAMES
from txgear.broker.rights import MOVE, PRIORITISE, READ, SUBMIT
from txgear.errors import InvalidArgument, PolicyError, ServerError
from txgear.protocol import textlines
from txgear.protocol.packets import Data
from txgear.protocol.textlines import column, listing, row, shown_word, text
from txgear.quantities import duration
from txgear.server import copying, tasks
from txgear.server.copying import NewCopy
from txgear.server.jobserver import JobServer
from txgear.server.operatorcommands import named_function, named_job, note_submitted, refused, wanted
from txgear.server.unfinished import Unfinished, not_read


def _prioritise(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    what = words[1].lower() if len(words) > 3 else b""
    if what == b"job" and len(words) == 4:
        job = named_job(server, peer, PRIORITISE, words[2])
        if job is None:
            return textlines.UNKNOWN_JOB
        server.broker.operations.reprioritise(job, _priority(words[3]), server.seconds())
        return textlines.OK
    if what in (b"jobs", b"dead"):
        return tasks.for_all(server, peer, PRIORITISE, what, words[3:], priority=_priority(words[2]))
    raise wanted(
        words, "job, its handle and high, normal or low; or jobs or dead, high, normal or low, and a filter"
    )


def _priority(word: bytes) -> int:
    name = text(word).lower()
    if name not in PRIORITY_NAMES:
        raise ServerError("A priority is high, normal or low", "INVALID_ARGUMENTS")
    return PRIORITY_NAMES.index(name)


def _move(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    what = words[1].lower() if len(words) > 3 else b""
    if what == b"job" and len(words) == 4:
        job = named_job(server, peer, MOVE, words[2])
        if job is None:
            return textlines.UNKNOWN_JOB
        server.broker.operations.move(job, named_function(server, peer, MOVE, words[3]), server.seconds())
        return textlines.OK
    if what in (b"jobs", b"dead"):
        return tasks.for_all(
            server, peer, MOVE, what, words[3:], function=named_function(server, peer, MOVE, words[2])
        )
    raise wanted(words, "job, its handle and a function; or jobs or dead, a function, and a filter")


def _copy(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    if len(words) < 3 or words[1].lower() != b"job":
        raise wanted(words, "job, its handle, and what is to be other: function=, priority=, unique=, delay=")
    order = _new_copy(server, peer, textlines.pairs(words[3:]))
    original = named_job(server, peer, READ, words[2])
    if original is None:
        return textlines.UNKNOWN_JOB
    reply = Unfinished(0)
    stock = server.broker.stock
    # It is to be there as it is, when its workload is.
    stock.hold(original)

    def come(workload: Data | None) -> None:
        try:
            if workload is None:
                raise not_read()
            job, _ = copying.copy(server, peer, original, order, workload)
        except ServerError as error:
            answer = refused(server, peer, error)
        else:
            answer = b"OK %s\n" % shown_word(job.handle)
            note_submitted(server, peer, job, f"copy of {text(original.handle)}")
            if server.broker.persistence.crowded:
                # No more of this until less is on its way to the disk.
                server.outbox.pause(peer)
        stock.release(original, server.seconds())
        reply.answer(server.outbox, answer)
        server.end_turn()

    try:
        copying.read_workload(server, original, order, come)
    except ServerError:
        stock.release(original, server.seconds())
        raise
    return reply


def _new_copy(server: JobServer, peer: Peer, found: dict[str, bytes]) -> NewCopy:
    """What the words of a command say of a copy."""
    if unknown := found.keys() - {"function", "priority", "unique", "delay"}:
        raise InvalidArgument(f"{min(unknown)}: function, priority, unique and delay can be set")
    delay = 0.0
    if "delay" in found:
        try:
            delay = duration(text(found["delay"]))
        except PolicyError as error:
            raise InvalidArgument(f"delay: {error}") from error
    function, unique = found.get("function"), found.get("unique", b"")
    if b"\0" in (function or b"") + unique:
        # A NUL separates arguments in the packets to workers.
        raise InvalidArgument("Functions and uniques hold no NUL")
    if function is not None:
        function = named_function(server, peer, SUBMIT, function)
    priority = _priority(found["priority"]) if "priority" in found else None
    return NewCopy(function, None, unique, priority, 0.0, delay)


def _tasks(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    if len(words) != 1:
        return textlines.incomplete(words[0])
    return listing(
        row(
            task.number,
            task.order.act.encode("ascii"),
            task.stage.encode("ascii"),
            task.figures.total,
            task.figures.looked_at,
            task.figures.matched,
            task.figures.done,
            task.figures.failed,
            column(None if task.asker.tenant is None else task.asker.tenant.name, name=True),
            tasks.described(task.order).encode("utf-8"),
            shown_word(task.order.function) or task.order.review.encode("utf-8") or b"-",
        )
        for task in server.bulk_acts.all(server.seconds())
        if tasks.sees(peer, task)
    )


def _stop(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    if len(words) != 3 or words[1].lower() != b"task" or not words[2].isdigit():
        raise wanted(words, "task, and its number")
    task = tasks.named(server, peer, words[2])
    if not tasks.stop(server, peer, task):
        raise ServerError("The task has ended", "ENDED")
    return textlines.OK


SHOWING: Final = {b"tasks": _tasks}
"""Commands that show something."""

CHANGING: Final = {b"copy": _copy, b"prioritise": _prioritise, b"move": _move, b"stop": _stop}
"""Commands that change something."""
