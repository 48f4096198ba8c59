"""
Jobs that are made from others: the same once more, or with something changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from txgear.broker.ended.archive import history_of
from txgear.broker.model import Job, Peer
from txgear.broker.operators import inspection
from txgear.broker.rights import READ, check
from txgear.broker.states import DEAD
from txgear.errors import ServerError
from txgear.protocol.packets import Data
from txgear.server.jobserver import JobServer


class NewCopy(NamedTuple):
    """
    What a copy is to be; C{None} stands for what its original is.

    @ivar function: the name of its function.
    @ivar workload: its workload.
    @ivar unique: what it is called. Two jobs with one name were one, so by default it has none.
    @ivar priority: its priority.
    @ivar due: before when it must not begin, by the wall clock, in seconds since 1970; 0.0 for at once.
    @ivar delay: seconds for which it must not begin.
    @ivar settings: what is to hold for it, over the policy of its function.
    """

    function: bytes | None = None
    workload: Data | None = None
    unique: bytes = b""
    priority: int | None = None
    due: float = 0.0
    delay: float = 0.0
    settings: Mapping[str, Any] | None = None


def read_workload(
    server: JobServer, original: Job, wanted: NewCopy, then: Callable[[Data | None], None]
) -> None:
    """
    @param then: called once, at once or later, with the workload that the copy is to have; with C{None} if it
        cannot be read.
    @raise ServerError: it is to have the original's, which is not kept.
    """
    if wanted.workload is not None:
        then(wanted.workload)
        return
    if original.ended and original.state != DEAD:
        raise ServerError(
            "The job is over, and its workload is not kept: say which one the copy is to have", "NO_WORKLOAD"
        )
    server.broker.archive.read(original, then)


def copy(server: JobServer, peer: Peer, original: Job, wanted: NewCopy, workload: Data) -> tuple[Job, bool]:
    """
    Submit a job that is made from another. It is a background job, on the account of who asks; each of the
    two shows the other from then on. What the peer may do is looked at once more, as time may have passed.

    @param workload: what L{read_workload} has found.
    @return: the job, and whether it was there before, by its unique: then it is no copy. Where the store is
        asked for that first, the answer to the submit says it.
    @raise AccessDenied: the peer may not read the original, or not submit to the function.
    @raise ServerError: the original is not known any more, or the job is not taken.
    """
    broker = server.broker
    if inspection.find(broker, peer, original.handle) is not original:
        raise ServerError("There is no such job any more", "UNKNOWN_JOB")
    check(peer, READ, original.function.name)
    if wanted.due:
        server.wall_clock()
    settings = history_of(original).settings if wanted.settings is None else wanted.settings
    before = broker.table.last_number
    job = broker.submit(
        peer,
        original.function.name if wanted.function is None else wanted.function,
        wanted.unique,
        workload,
        server.seconds(),
        original.priority if wanted.priority is None else wanted.priority,
        True,
        wanted.due,
        original.reducer,
        settings or None,
        delay=wanted.delay,
    )
    if job.number <= before:
        return job, True

    def link(later: float) -> None:
        if not job.ended:
            broker.operations.link_copy(original, job)
        broker.stock.release(original, later)

    broker.stock.hold(original)
    if job.reply is not None and job.reply.asked:
        # What is there already is no copy.
        broker.lookups.afterwards(job, link)
    else:
        link(server.seconds())
    return job, False
