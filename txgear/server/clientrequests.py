"""
The classic requests of clients: to submit jobs, and to ask how far they are.

Each is called with the connection that it came by, and with the arguments of its packet.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any, Final

from txgear.broker.model import Job, Reply
from txgear.broker.rights import seen_by, sees
from txgear.broker.states import DONE, RUNNING
from txgear.broker.stock import Then
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

    if broker.stock.lacks((handle,)):
        _answer_later(connection, partial(broker.stock.load_handles, (handle,)), answer)
    else:
        connection.send(peer, *answer())


def _get_status_unique(connection: GearConnection, unique: bytes) -> None:
    unique = unique.removesuffix(b"\0")
    broker, peer = connection.broker, connection.peer

    def answer() -> Packet:
        job = broker.table.by_unique(unique, seen_by(peer))
        clients = b"%d" % len(job.clients) if job is not None else b"0"
        return STATUS_RES_UNIQUE, unique, *_status_columns(job), clients

    if unique and broker.lookups.lacks((unique,)):
        _answer_later(connection, partial(broker.lookups.load, (unique,)), answer)
    else:
        connection.send(peer, *answer())


def _answer_later(
    connection: GearConnection, load: Callable[[Then, float], None], answer: Callable[[], Packet]
) -> None:
    """
    Answer when what is asked for is in memory; the answer keeps its place.

    @param load: has that in memory; not at once.
    """
    outbox, reply = connection.server.outbox, Reply(0)
    outbox.hold(connection.peer, reply, connection.broker.persistence.crowded)

    def then(answered: bool, now: float) -> None:
        outbox.release(reply, *(answer() if answered else NOT_READ))

    load(then, connection.now)


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
