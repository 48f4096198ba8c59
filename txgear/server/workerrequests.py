"""
The classic requests of workers: to say what they can do, to grab jobs, and to tell how those go.

Each is called with the connection that it came by, and with the arguments of its packet.
"""

from __future__ import annotations

from typing import Final

from txgear.broker.model import Job
from txgear.protocol.constants import (
    ALL_YOURS,
    CAN_DO,
    CAN_DO_TIMEOUT,
    CANT_DO,
    GRAB_JOB,
    GRAB_JOB_ALL,
    GRAB_JOB_UNIQ,
    JOB_ASSIGN,
    JOB_ASSIGN_ALL,
    JOB_ASSIGN_UNIQ,
    NO_JOB,
    PRE_SLEEP,
    RESET_ABILITIES,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.protocol.packets import Data, decimal
from txgear.server.gearconnection import GearConnection, Request
from txgear.server.values import UNITS

MILLISECOND: Final = UNITS["milliseconds"]
SHORTEST_TIMEOUT: Final = 1.0
"""Seconds to which the reference raises a shorter CAN_DO_TIMEOUT: some libraries send seconds."""
LONGEST_TIMEOUT: Final = 2**31 * MILLISECOND
"""Seconds, 24 days; a longer one is no bound."""
INT32: Final = 2**31
"""The first number that a job's progress cannot be: C clients read it into an int."""


def _can_do(connection: GearConnection, function: bytes) -> None:
    connection.broker.can_do(connection.peer, function.removesuffix(b"\0"), 0.0, connection.now)


def _can_do_timeout(connection: GearConnection, function: bytes, timeout: bytes) -> None:
    meant = connection.server.settings.can_do_timeout_unit
    seconds = decimal(timeout) * (MILLISECOND if connection.peer.extended else UNITS[meant])
    if not 0 < seconds <= LONGEST_TIMEOUT:
        seconds = 0.0
    elif seconds < SHORTEST_TIMEOUT:
        _warn_of_short_timeout(connection, function, seconds)
        seconds = SHORTEST_TIMEOUT
    connection.broker.can_do(connection.peer, function, seconds, connection.now)


def _cant_do(connection: GearConnection, function: bytes) -> None:
    connection.broker.cant_do(connection.peer, function.removesuffix(b"\0"), connection.now)


def _reset_abilities(connection: GearConnection) -> None:
    connection.broker.reset_abilities(connection.peer, connection.now)


def _all_yours(connection: GearConnection) -> None:
    """The worker serves no other server: good to know, but nothing follows from it."""


def _pre_sleep(connection: GearConnection) -> None:
    connection.broker.pre_sleep(connection.peer, connection.now)


def _grab(connection: GearConnection) -> int:
    job = connection.broker.grab(connection.peer, connection.now)
    if job is None:
        connection.send(connection.peer, NO_JOB)
        return 0
    connection.send(connection.peer, JOB_ASSIGN, job.kept_handle, job.function.name, job.workload)
    return job.size


def _grab_uniq(connection: GearConnection) -> int:
    job = connection.broker.grab(connection.peer, connection.now)
    if job is None:
        connection.send(connection.peer, NO_JOB)
        return 0
    _assign_uniq(connection, job)
    return job.size


def _grab_all(connection: GearConnection) -> int:
    job = connection.broker.grab(connection.peer, connection.now)
    if job is None:
        connection.send(connection.peer, NO_JOB)
        return 0
    if job.reducer:
        connection.send(
            connection.peer,
            JOB_ASSIGN_ALL,
            job.handle,
            job.function.name,
            job.unique,
            job.reducer,
            job.workload,
        )
    else:
        # As in the reference: libgearman takes JOB_ASSIGN_ALL for a reduce job.
        _assign_uniq(connection, job)
    return job.size


def _assign_uniq(connection: GearConnection, job: Job) -> None:
    connection.send(
        connection.peer, JOB_ASSIGN_UNIQ, job.kept_handle, job.function.name, job.unique, job.workload
    )


def _work_data(connection: GearConnection, handle: bytes, data: Data) -> None:
    connection.broker.reports.work_data(connection.peer, handle, data, connection.now)


def _work_warning(connection: GearConnection, handle: bytes, data: Data) -> None:
    connection.broker.reports.work_warning(connection.peer, handle, data, connection.now)


def _work_status(connection: GearConnection, handle: bytes, numerator: bytes, denominator: bytes) -> None:
    progress = _progress(numerator), _progress(denominator)
    connection.broker.reports.work_status(
        connection.peer, handle, numerator, denominator.removesuffix(b"\0"), progress, connection.now
    )


def _work_complete(connection: GearConnection, handle: bytes, result: Data) -> None:
    connection.broker.reports.work_complete(connection.peer, handle, result, connection.now)


def _work_fail(connection: GearConnection, handle: bytes) -> None:
    connection.broker.reports.work_fail(connection.peer, handle.removesuffix(b"\0"), connection.now)


def _work_exception(connection: GearConnection, handle: bytes, data: Data) -> None:
    connection.broker.reports.work_exception(connection.peer, handle, data, connection.now)


def _warn_of_short_timeout(connection: GearConnection, function: bytes, seconds: float) -> None:
    connection.warn_of_doubt(
        SHORTEST_TIMEOUT,
        "{peer} gives itself {milliseconds:g} milliseconds for a job of {function}, and gets"
        " {shortest:g}. If it means seconds, see --can-do-timeout-unit",
        function,
        milliseconds=seconds / MILLISECOND,
        shortest=SHORTEST_TIMEOUT / MILLISECOND,
    )


def _progress(text: bytes) -> int:
    return min(max(decimal(text), 1 - INT32), INT32 - 1)


WORKER_REQUESTS: Final[dict[int, Request]] = {
    CAN_DO: _can_do,
    CAN_DO_TIMEOUT: _can_do_timeout,
    CANT_DO: _cant_do,
    RESET_ABILITIES: _reset_abilities,
    ALL_YOURS: _all_yours,
    PRE_SLEEP: _pre_sleep,
    GRAB_JOB: _grab,
    GRAB_JOB_UNIQ: _grab_uniq,
    GRAB_JOB_ALL: _grab_all,
    WORK_DATA: _work_data,
    WORK_WARNING: _work_warning,
    WORK_STATUS: _work_status,
    WORK_COMPLETE: _work_complete,
    WORK_FAIL: _work_fail,
    WORK_EXCEPTION: _work_exception,
}
"""By type of packet; see L{GearConnection.requests}."""
