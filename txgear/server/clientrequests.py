"""
The classic requests of clients: to submit jobs, and to ask how far they are.

Each is called with the connection that it came by, and with the arguments of its packet.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txgear.broker.model import Job, Reply
from txgear.broker.rights import SEE, may, seen_by, sees
from txgear.broker.rows.stock import Then
from txgear.broker.states import DONE, RUNNING
from txgear.errors import ArgumentTooLarge
from txgear.protocol import sched
from txgear.protocol.constants import (
    ERROR,
    GET_STATUS,
    GET_STATUS_UNIQUE,
    HIGH,
    JOB_CREATED,
    LOW,
    NORMAL,
    STATUS_RES,
    STATUS_RES_UNIQUE,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW,
    SUBMIT_JOB_LOW_BG,
    SUBMIT_JOB_SCHED,
    SUBMIT_REDUCE_JOB,
    SUBMIT_REDUCE_JOB_BACKGROUND,
)
from txgear.protocol.packets import Data, Packet, decimal, reduce_workload
from txgear.server.elsewhere import Progress, error_of
from txgear.server.gearconnection import GearConnection, Request

NOT_READ: Final = (ERROR, b"NOT_READ", b"The store does not answer")
"""The packet for who has asked for something that is in the store only."""
YEAR: Final = 366 * 86400.0
"""Seconds within which a date comes again; that it is another day of the week then is hardly meant."""
INT64: Final = 2**63
"""The first number that a time in seconds cannot be."""


def _submit(priority: int, background: bool) -> Request:
    """The request that submits a job with this priority."""

    def submit(connection: GearConnection, function: bytes, unique: bytes, workload: Data) -> None:
        peer = connection.peer
        job = connection.broker.submit(peer, function, unique, workload, connection.now, priority, background)
        if job.reply is None and job.state < DONE:
            # Its handle, which most jobs do not keep.
            connection.send(peer, JOB_CREATED, job.naming % job.number)
        else:
            connection.server.created(peer, job, background)

    return submit


def _epoch(connection: GearConnection, function: bytes, unique: bytes, when: bytes, workload: Data) -> None:
    due = decimal(when)
    if not -INT64 <= due < INT64:
        raise ArgumentTooLarge("The time is out of range")
    connection.server.wall_clock()
    job = connection.broker.submit(
        connection.peer, function, unique, workload, connection.now, background=True, due=float(due)
    )
    connection.server.created(connection.peer, job, background=True)


def _sched(connection: GearConnection, function: bytes, unique: bytes, *rest: Any) -> None:
    now = connection.server.wall_clock()
    fields = sched.parse_fields(list(rest[:-1]))
    due = sched.next_moment(fields, now)
    if None not in fields[2:] and due > now + YEAR:
        _warn_of_rare_date(connection, function, due)
    job = connection.broker.submit(
        connection.peer, function, unique, rest[-1], connection.now, background=True, due=due
    )
    connection.server.created(connection.peer, job, background=True)


def _reduce(
    connection: GearConnection,
    function: bytes,
    unique: bytes,
    reducer: bytes,
    rest: Data,
    background: bool = False,
) -> None:
    job = connection.broker.submit(
        connection.peer,
        function,
        unique,
        reduce_workload(rest),
        connection.now,
        background=background,
        reducer=reducer,
    )
    connection.server.created(connection.peer, job, background)


def _reduce_background(
    connection: GearConnection, function: bytes, unique: bytes, reducer: bytes, rest: Data
) -> None:
    _reduce(connection, function, unique, reducer, rest, background=True)


def _get_status(connection: GearConnection, handle: bytes) -> None:
    handle = handle.removesuffix(b"\0")
    broker, peer = connection.broker, connection.peer

    def answer() -> Packet:
        return STATUS_RES, handle, *_status_columns(sees(peer, broker.table.by_handle(handle)))

    def tell(found: Progress) -> Packet:
        return STATUS_RES, handle, *_progress_columns(found)

    elsewhere = connection.server.elsewhere
    load = partial(broker.stock.load_handles, (handle,))
    if elsewhere is not None and elsewhere.may_have(handle):
        reply = _held(connection)
        then = _when_loaded(connection, reply, answer)
        here = partial(load, then)
        _ask_elsewhere(connection, reply, elsewhere.status(handle), tell, here)
    elif broker.stock.lacks((handle,)):
        load(_when_loaded(connection, _held(connection), answer), connection.now)
    else:
        connection.send(peer, *answer())


def _get_status_unique(connection: GearConnection, unique: bytes) -> None:
    unique = unique.removesuffix(b"\0")
    broker, peer = connection.broker, connection.peer

    def find() -> Job | None:
        return broker.table.by_unique(unique, seen_by(peer))

    def answer() -> Packet:
        job = find()
        clients = b"%d" % len(job.clients) if job is not None else b"0"
        return STATUS_RES_UNIQUE, unique, *_status_columns(job), clients

    def tell(found: Progress) -> Packet:
        return STATUS_RES_UNIQUE, unique, *_progress_columns(found), b"%d" % found.clients

    elsewhere = connection.server.elsewhere
    if not unique or (elsewhere is None and not broker.lookups.lacks((unique,))):
        connection.send(peer, *answer())
        return
    reply = _held(connection)
    then = _when_loaded(connection, reply, answer)

    def come(answered: bool, now: float) -> None:
        if elsewhere is not None and answered and find() is None:
            asked = elsewhere.status_of_unique(unique, partial(may, peer, SEE))
            _ask_elsewhere(connection, reply, asked, tell, partial(then, True))
        else:
            then(answered, now)

    broker.lookups.load((unique,), come, connection.now)


def _held(connection: GearConnection) -> Reply:
    """An answer that comes later, and keeps its place."""
    reply = Reply(0)
    connection.server.outbox.hold(connection.peer, reply, connection.broker.persistence.crowded)
    return reply


def _when_loaded(connection: GearConnection, reply: Reply, answer: Callable[[], Packet]) -> Then:
    """What answers when what is asked for is in memory."""
    outbox = connection.server.outbox

    def then(answered: bool, now: float) -> None:
        outbox.release(reply, *(answer() if answered else NOT_READ))

    return then


def _ask_elsewhere(
    connection: GearConnection,
    reply: Reply,
    asked: Deferred[Progress | None],
    tell: Callable[[Progress], Packet],
    here: Callable[[float], None],
) -> None:
    """
    Answer when it is known what another server has.

    @param asked: brings that.
    @param tell: makes an answer of it.
    @param here: answers where no other server has it.
    """
    server, peer = connection.server, connection.peer

    def come(found: Progress | None) -> None:
        if found is not None and may(peer, SEE, found.function):
            server.outbox.release(reply, *tell(found))
        else:
            here(server.seconds())

    def failed(failure: Failure) -> None:
        error = error_of(failure)
        server.outbox.release(reply, ERROR, error.code.encode("ascii"), error.text.encode("utf-8"))

    _ = asked.addCallback(come).addErrback(failed)


def _warn_of_rare_date(connection: GearConnection, function: bytes, due: float) -> None:
    connection.warn_of_doubt(
        YEAR,
        "{peer} submits a job of {function} for a date that has its day of the week only on {due}."
        " If that is not meant: 0 is Monday",
        function,
        due=date.fromtimestamp(due).isoformat(),
    )


def _status_columns(job: Job | None) -> tuple[bytes, bytes, bytes, bytes]:
    """Known, running, numerator and denominator, as a status answer has them."""
    if job is None:
        return b"0", b"0", b"0", b"0"
    numerator, denominator = job.progress
    return b"1", b"%d" % (job.state == RUNNING), b"%d" % numerator, b"%d" % denominator


def _progress_columns(found: Progress) -> tuple[bytes, bytes, bytes, bytes]:
    """The same of a job of another server."""
    return b"1", b"%d" % found.running, b"%d" % found.numerator, b"%d" % found.denominator


CLIENT_REQUESTS: Final[dict[int, Request]] = {
    SUBMIT_JOB: _submit(NORMAL, False),
    SUBMIT_JOB_BG: _submit(NORMAL, True),
    SUBMIT_JOB_HIGH: _submit(HIGH, False),
    SUBMIT_JOB_HIGH_BG: _submit(HIGH, True),
    SUBMIT_JOB_LOW: _submit(LOW, False),
    SUBMIT_JOB_LOW_BG: _submit(LOW, True),
    SUBMIT_JOB_SCHED: _sched,
    SUBMIT_JOB_EPOCH: _epoch,
    SUBMIT_REDUCE_JOB: _reduce,
    SUBMIT_REDUCE_JOB_BACKGROUND: _reduce_background,
    GET_STATUS: _get_status,
    GET_STATUS_UNIQUE: _get_status_unique,
}
"""By type of packet; see L{GearConnection.requests}."""
