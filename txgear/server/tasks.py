"""
Tasks: what operators have done to all jobs that match a filter.

A task goes on when whoever began it has gone, with the rights that its identity has by then. It is recorded
twice: when it begins, with the filter, and when it has ended, with the counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from txgear.broker.ended.reviews import MOST_REVIEWED
from txgear.broker.model import Peer, Reply
from txgear.broker.operators.bulkacts import BulkAct, Order
from txgear.broker.operators.inspection import PRIORITY_NAMES, moment
from txgear.broker.operators.search import OF_DEAD, OF_ENDED, OF_JOBS, Search
from txgear.broker.rights import MOVE, PRIORITISE, REVIEW, SHUTDOWN, check, meets
from txgear.broker.words import number
from txgear.errors import InvalidArgument, ServerError
from txgear.protocol import textlines
from txgear.protocol.constants import TEXT
from txgear.protocol.packets import decimal
from txgear.protocol.textlines import shown_word, text
from txgear.security.audit import DONE
from txgear.server import sharedtasks

if TYPE_CHECKING:
    from txgear.server.jobserver import JobServer

log = Logger()

OF_TASKS = {
    "jobs": tuple(name for name in OF_JOBS if name not in ("after", "limit")),
    "dead": tuple(name for name in OF_DEAD if name not in ("after", "limit")),
    "kept": tuple(name for name in OF_ENDED if name not in ("after", "limit")),
}
"""By which values jobs are looked for, as in the lists that show them; a task is for all of them."""


def start(
    server: JobServer,
    peer: Peer,
    act: str,
    of: str,
    words: Mapping[str, bytes],
    priority: int = 0,
    function: bytes = b"",
    preview: bool = False,
    review: str = "",
    most: int = 0,
    counted: Callable[[BulkAct], None] = lambda task: None,
) -> BulkAct:
    """
    Begin a task.

    @param act: what is to be done: one of L{txgear.broker.operators.bulkacts.KINDS}.
    @param of: to which jobs: those of C{jobs}, C{dead} or C{kept}.
    @param words: which of them, as L{Search.parse} takes it; something has to be said.
    @param priority: the new one, where that is the act.
    @param function: the new one, where that is the act; the peer may move jobs to it.
    @param preview: whether they are only counted.
    @param review: in which review they are to be, where that is the act; empty for in none.
    @param most: how many of them at the most are to be set aside; 0 for as many as there is room for.
    @param counted: called with it once, when they have been counted, or when it is stopped before: those of
        other servers as well, which do it to their own jobs.
    @raise ServerError: the filter makes no sense, it cannot be done to such jobs, or there are too many
        tasks.
    """
    if not words:
        raise InvalidArgument("Say which jobs are meant; function=* is for all")
    search = Search.parse(words, OF_TASKS[of])
    if act == REVIEW:
        most = min(most or MOST_REVIEWED, _room(server, search, review))
    asker = server.guard.stand_in(peer)
    waiting = [counted]

    def changed(task: BulkAct) -> None:
        if waiting and (task.is_counted or task.over):
            waiting.pop()(task)

    def told(task: BulkAct) -> None:
        changed(task)
        if task.ended:
            server.guard.dismiss(asker)
            _record(server, task, ended=True)

    order = Order(act, of, words, search, priority, function, preview, review, most)
    now = server.seconds()
    shared = sharedtasks.shared(server, peer, act, now)
    shares = [share for _, share in shared.others] if shared else ()
    try:
        task = server.bulk_acts.start(order, asker, now, told, shares)
    except ServerError:
        server.guard.dismiss(asker)
        raise
    _record(server, task, ended=False)
    if shared is not None:
        sharedtasks.follow(server, peer, task, shared, changed)
    server.end_turn()
    return task


def _room(server: JobServer, search: Search, review: str) -> int:
    """
    @return: how many jobs can be set aside in a review, or come out of one.
    @raise ServerError: none can; or they are to be put back, and it is not said out of which review.
    """
    if not review and not search.review:
        raise InvalidArgument("Say with review= out of which review they are to come")
    if not review:
        return MOST_REVIEWED
    reviews = server.broker.archive.ended.reviews
    reviews.check_room(review)
    known = reviews.by_name.get(review)
    return MOST_REVIEWED - (0 if known is None else len(known.jobs))


def for_all(
    server: JobServer,
    peer: Peer,
    act: str,
    of: bytes,
    filter_words: list[bytes],
    priority: int = 0,
    function: bytes = b"",
    review: str = "",
) -> Reply:
    """
    Begin a task. Its answer is known when the jobs have been counted: its number, and how many they are.

    @param filter_words: such as C{function=mail.*}; and C{preview=yes}, where they are only to be counted,
        and C{most=100}, where so many are to be set aside at the most.
    """
    found = textlines.pairs(filter_words)
    preview = found.pop("preview", b"no").lower()
    if preview not in (b"yes", b"no"):
        raise ServerError("preview is yes or no", "INVALID_ARGUMENTS")
    word = found.pop("most", b"0") if act == REVIEW else b"0"
    most = decimal(word) if word.isdigit() else -1
    if not 0 <= most <= MOST_REVIEWED:
        raise ServerError(f"most is a number up to {MOST_REVIEWED}", "INVALID_ARGUMENTS")
    reply = Reply(0)

    def counted(task: BulkAct) -> None:
        answer = textlines.ok(f"{task.number} {task.figures.matched}")
        if not task.is_counted:
            answer = textlines.refused(ServerError("The task was stopped", "STOPPED"))
        elif why := problems(task):
            error = (
                f"Task {task.number} is for {number(task.figures.matched, 'job')}, and not everywhere: {why}"
            )
            answer = textlines.refused(ServerError(error, "NOT_ALL_DONE"))
        server.outbox.release(reply, TEXT, answer)

    of_what = of.decode("ascii")
    start(server, peer, act, of_what, found, priority, function, preview == b"yes", review, most, counted)
    return reply


def problems(task: BulkAct) -> str:
    """Which other servers do not do it, and why."""
    return "; ".join(f"{share.name}: {share.problem}" for share in task.shares if share.problem)


def again(server: JobServer, peer: Peer, task: BulkAct, *, preview: bool) -> BulkAct:
    """
    Begin another task for the same jobs.

    @param preview: whether they are only counted.
    @raise ServerError: as with L{start}; or the peer may not move jobs to that function any more.
    """
    order = task.order
    if order.act == MOVE:
        check(peer, MOVE, order.function)
    values = order.priority, order.function, preview, order.review, order.most
    return start(server, peer, order.act, order.of, order.words, *values)


def confirm(server: JobServer, peer: Peer, preview: BulkAct) -> BulkAct:
    """
    Do what has been counted: the same act, for the same filter. To ask for it a second time begins nothing
    more.

    @return: the task that does it.
    @raise ServerError: it is no preview that has counted all; it is another identity's; or as with L{start}.
    """
    if not (preview.order.preview and preview.is_counted):
        raise ServerError("The jobs have not been counted", "NOT_COUNTED")
    if not owns(peer, preview):
        raise ServerError("Somebody else has had these jobs counted: count them yourself", "NOT_YOURS")
    begun = server.bulk_acts.find(preview.led_to, server.seconds())
    if begun is None:
        begun = again(server, peer, preview, preview=False)
        preview.led_to = begun.number
        preview.changed += 1
    return begun


def _record(server: JobServer, task: BulkAct, *, ended: bool) -> None:
    """Note in the log and in the audit log that a task begins, or how it has ended."""
    order = task.order
    about: dict[str, Any] = {"task": task.number, "jobs": described(order)}
    if order.act == MOVE:
        about["function"] = order.function
    elif order.act == PRIORITISE:
        about["arguments"] = PRIORITY_NAMES[order.priority]
    elif order.act == REVIEW:
        about["arguments"] = order.review or "-"
    if ended:
        about["answer"] = (
            f"{task.state}: {task.matched} matched, {task.done} done, {task.failed} failed,"
            f" {task.passed} passed over"
        )
    elif order.preview:
        about["answer"] = "they are only counted"
    server.audit.record(order.act, DONE, task.asker, **about)
    server.notices.acted(
        log,
        "task",
        task.asker,
        "{address}{whose}: task {number}, {act} {jobs}: {answer}",
        number=task.number,
        act=order.act,
        jobs=described(order),
        answer=about.get("answer", "it begins"),
    )


def described(order: Order) -> str:
    """Which jobs a task is for, as a text command says it."""
    words = (f"{name}={shown_word(value).decode('utf-8')}" for name, value in order.words.items())
    return " ".join((order.of, *words))


def named(server: JobServer, peer: Peer, word: bytes) -> BulkAct:
    """
    The task that a word names.

    @param word: its number.
    @raise ServerError: there is none of which the peer may know.
    """
    task = server.bulk_acts.find(decimal(word), server.seconds()) if word.isdigit() else None
    if task is None or not sees(peer, task):
        raise ServerError("There is no such task; one that has ended is known for an hour", "UNKNOWN_TASK")
    return task


def sees(peer: Peer, task: BulkAct) -> bool:
    """Whether a peer may know of a task: those of its identity, or all if it may see who is there."""
    return owns(peer, task) or meets(peer, task.asker)


def owns(peer: Peer, task: BulkAct) -> bool:
    """Whether a task was begun by the identity that a peer has."""
    return peer.tenant is task.asker.tenant and (peer.tenant is not None or peer.rights is task.asker.rights)


def stop(server: JobServer, peer: Peer, task: BulkAct) -> bool:
    """
    Stop a task of which the peer may know.

    @return: whether it was under way.
    @raise AccessDenied: it is another identity's, and the peer may not stop the server either.
    """
    if not owns(peer, task):
        check(peer, SHUTDOWN)
    return server.bulk_acts.stop(task, server.seconds())


def shown(server: JobServer, task: BulkAct) -> dict[str, Any]:
    """A task as JSON has it."""
    order, wall = task.order, server.broker.timers.wall
    return {
        "id": task.number,
        "act": order.act,
        "of": order.of,
        "filter": {name: text(value) for name, value in order.words.items()},
        "priority": PRIORITY_NAMES[order.priority] if order.act == PRIORITISE else None,
        "function": text(order.function) if order.act == MOVE else None,
        "review": order.review or None,
        "preview": order.preview,
        "state": task.stage,
        "by": None if task.asker.tenant is None else task.asker.tenant.name,
        "began": moment(wall(task.began)),
        "ended": moment(wall(task.over)),
        **task.figures._asdict(),
        "failures": [
            {"handle": text(failure.handle), "code": failure.code.lower(), "detail": failure.text}
            for failure in task.all_failures
        ],
        "servers": [
            {
                "server": share.name,
                "ended": bool(share.ended),
                "matched": share.figures.matched,
                "done": share.figures.done,
                "failed": share.figures.failed,
                "problem": share.problem or None,
            }
            for share in task.shares
        ],
    }
