"""
What the API answers about jobs.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field

from txgear.web.api.models import Ending, Moment, Priority, Reason, Settings, State


class LiveJob(Struct, frozen=True, kw_only=True):
    """
    A job that has not ended.

    @ivar handle: its handle.
    @ivar function: its function's name.
    @ivar state: how it is.
    @ivar priority: its priority.
    @ivar age: seconds since it was submitted; C{null} if that is not known.
    @ivar attempts: how many have ended without a result.
    @ivar worker: the name of the worker that has it; C{null} if none has, or one of which you may not know.
    @ivar unique: what its first submitter called it.
    """

    handle: str
    function: str
    state: Literal["waiting", "storing", "queued", "running"]
    priority: Priority
    age: float | None
    attempts: int
    worker: str | None
    unique: str


class NotListed(Struct, frozen=True, kw_only=True):
    """
    A server of a cluster whose jobs are not in a list.

    @ivar server: what it is called.
    @ivar address: where it is reached; C{null} where that is not known, or may not be seen; so are the
        others.
    @ivar queued: jobs that wait there, of all functions, as it has said last.
    @ivar running: jobs that run there.
    """

    server: str
    address: str | None
    queued: int | None
    running: int | None


class LiveJobs(Struct, frozen=True, kw_only=True):
    """
    A page of jobs that have not ended.

    @ivar jobs: in the order of their numbers; a page may have fewer than there is room for, even none, and
        still have a next one.
    @ivar next: what is C{after} of the next page; C{null} if this is the last. Text where it is so large that
        readers of JSON may round it.
    @ivar others: the other servers of a cluster, whose jobs are not in this list.
    """

    jobs: list[LiveJob]
    next: int | str | None
    others: list[NotListed]


class DeadJob(Struct, frozen=True, kw_only=True):
    """
    A job that has ended without a result, and has no attempt left.

    @ivar handle: its handle.
    @ivar function: its function's name.
    @ivar died: when.
    @ivar age: seconds since then.
    @ivar attempts: how many there were.
    @ivar reason: how the last one ended; C{null} if that is not known.
    @ivar text: what its worker said; C{null} for nothing, or if you may not read it.
    @ivar size: bytes of its workload.
    @ivar unique: what its first submitter called it.
    """

    handle: str
    function: str
    died: Moment | None
    age: float | None
    attempts: int
    reason: Reason | None
    text: str | None
    size: int
    unique: str


class DeadJobs(Struct, frozen=True, kw_only=True):
    """
    A page of the dead.

    @ivar jobs: in the order of their numbers; a page may have fewer than there is room for, even none, and
        still have a next one.
    @ivar next: what is C{after} of the next page; C{null} if this is the last. Text where it is so large that
        readers of JSON may round it.
    @ivar others: the other servers of a cluster, whose jobs are not in this list.
    """

    jobs: list[DeadJob]
    next: int | str | None
    others: list[NotListed]


class KeptJob(Struct, frozen=True, kw_only=True):
    """
    A job that has ended otherwise than dead, and is still known.

    @ivar handle: its handle.
    @ivar function: its function's name.
    @ivar outcome: how it ended.
    @ivar age: seconds since the end.
    @ivar size: bytes of its result; C{null} if that is not kept.
    @ivar left: seconds until it is forgotten.
    @ivar unique: what its first submitter called it.
    """

    handle: str
    function: str
    outcome: Ending
    age: float | None
    size: int | None
    left: float
    unique: str


class KeptJobs(Struct, frozen=True, kw_only=True):
    """
    A page of these.

    @ivar jobs: in the order of their numbers; a page may have fewer than there is room for, even none, and
        still have a next one.
    @ivar next: what is C{after} of the next page; C{null} if this is the last. Text where it is so large that
        readers of JSON may round it.
    @ivar others: the other servers of a cluster, whose jobs are not in this list.
    """

    jobs: list[KeptJob]
    next: int | str | None
    others: list[NotListed]


class Waiter(Struct, frozen=True, kw_only=True):
    """
    A client that waits for a job.

    @ivar descriptor: the number of its connection.
    @ivar address: where it comes from.
    @ivar client_id: what it calls itself; C{null} for nothing.
    """

    descriptor: int
    address: str
    client_id: str | None


class Attempt(Struct, frozen=True, kw_only=True):
    """
    An attempt that ended without a result.

    @ivar began: when its worker got the job.
    @ivar ended: when it ended.
    @ivar reason: how.
    @ivar worker: who had it; C{null} if you may not know.
    @ivar text: what the worker said; C{null} if you may not read it.
    """

    began: Moment | None
    ended: Moment | None
    reason: Reason
    worker: str | None
    text: str | None


class JobLinks(Struct, frozen=True, kw_only=True):
    """
    Paths of what belongs to a job.

    @ivar this: the job.
    @ivar function: its function.
    @ivar workload: its workload, as long as there is one.
    @ivar result: its result, once there is one.
    """

    this: str = field(name="self")
    function: str
    workload: str
    result: str


class Job(Struct, frozen=True, kw_only=True):
    """
    All that is known of a job.

    @ivar handle: its handle.
    @ivar number: its number; no other job of this server ever has it.
    @ivar function: its function's name.
    @ivar unique: what its first submitter called it.
    @ivar state: how it is, or has ended.
    @ivar priority: its priority.
    @ivar background: whether it is to be done even if nobody waits for it.
    @ivar reducer: the name of its reducer, or C{null}.
    @ivar tenant: on whose account it is; C{null} for nobody's.
    @ivar created: when it was submitted; C{null} if that is not known.
    @ivar attempts: how many have ended without a result.
    @ivar size: bytes of its workload; C{null} if that is not kept.
    @ivar stored: whether the store has it.
    @ivar copy_of: the handle of the job that it was made from; C{null} for none.
    @ivar copies: those of the last five that were made from it, the newest last.
    @ivar traceparent: where the work on it belongs, as its submitter said; C{null} for nothing.
    @ivar reasons: how many attempts have ended how.
    @ivar settings: what holds for it: its function's policy, and its own settings over that.
    @ivar history: its last attempts that ended without a result, the newest last.
    @ivar loaded: whether its workload is in memory, and not only in the store. This and the following
        are there for a job that has not ended.
    @ivar unreadable: whether the store cannot read its workload.
    @ivar clients: how many wait for it.
    @ivar waiters: some of them, the newest first; those of whom you may know.
    @ivar begins: before when it does not begin; C{null} for any time.
    @ivar expires: when it is given up unless a worker has it by then; C{null} for never.
    @ivar worker: who runs it; C{null} for nobody, or for one of whom you may not know.
    @ivar began: since when; C{null} if it does not run.
    @ivar overdue: when this attempt has taken too long; C{null} for never.
    @ivar lease: seconds that its worker may be silent; C{null} for no bound.
    @ivar silent: for how many seconds it has been so; C{null} where there is no bound.
    @ivar numerator: its progress, as its worker said last, and
    @ivar denominator: what that is a part of.
    @ivar ended: when it has ended. This and the following are there for a job that has.
    @ivar forgotten: when nothing will be known of it any more.
    @ivar review: the name of the review in which a dead job is set aside; C{null} for none.
    @ivar data_size: bytes that its worker sent before the result; C{null} if that is not kept.
    @ivar result_size: bytes of the result, or of the message of its failure; C{null} if that is not kept.
    @ivar links: where to find more.
    """

    handle: str
    number: int
    function: str
    unique: str
    state: State
    priority: Priority
    background: bool
    reducer: str | None
    tenant: str | None
    created: Moment | None
    attempts: int
    size: int | None
    stored: bool
    copy_of: str | None
    copies: list[str]
    traceparent: str | None
    reasons: dict[Reason, int]
    settings: Settings
    history: list[Attempt]
    loaded: bool | UnsetType = UNSET
    unreadable: bool | UnsetType = UNSET
    clients: int | UnsetType = UNSET
    waiters: list[Waiter] | UnsetType = UNSET
    begins: Moment | UnsetType | None = UNSET
    expires: Moment | UnsetType | None = UNSET
    worker: str | UnsetType | None = UNSET
    began: Moment | UnsetType | None = UNSET
    overdue: Moment | UnsetType | None = UNSET
    lease: float | UnsetType | None = UNSET
    silent: float | UnsetType | None = UNSET
    numerator: int | UnsetType | None = UNSET
    denominator: int | UnsetType | None = UNSET
    ended: Moment | UnsetType | None = UNSET
    forgotten: Moment | UnsetType | None = UNSET
    review: str | UnsetType | None = UNSET
    data_size: int | UnsetType | None = UNSET
    result_size: int | UnsetType | None = UNSET
    links: JobLinks


class Workload(Struct, frozen=True, kw_only=True):
    """
    A workload, as text.

    @ivar handle: the job's handle.
    @ivar size: bytes that it has.
    @ivar shown: how many of them are shown, its first.
    @ivar workload: these; bytes that are no UTF-8 are C{\\x} and two digits.
    """

    handle: str
    size: int
    shown: int
    workload: str
