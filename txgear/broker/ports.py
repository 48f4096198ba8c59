"""
What the broker needs of the world: whoever carries packets to the peers, whoever carries changes to the
disk, and whoever tells operators. Each is passed in; in a test it is a list.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from txgear.broker.keys import Key
    from txgear.broker.model import Job, Peer, Reply
    from txgear.broker.records import JobChange, JobRecord, JobUpdate, Naming, Question, StoredValue
    from txgear.protocol.packets import Data


class Outbox(Protocol):
    """Whoever carries packets to the peers."""

    def send(self, peer: Peer, kind: int, *arguments: Data) -> None:
        """
        Carry one packet to a peer, after all others to it.

        @param kind: the packet's type.
        @param arguments: its arguments; only the last may be large.
        """

    def release(self, reply: Reply, kind: int, *arguments: Data) -> None:
        """
        An answer that has waited is known: carry it to all whose output waits for it.

        @param kind: the packet's type.
        @param arguments: its arguments.
        """

    def pause(self, peer: Peer) -> None:
        """Take no more from this peer until less is on its way to the disk."""

    def hang_up(self, peer: Peer) -> None:
        """End the connection of this peer at once, when the turn ends."""


class Witness(Protocol):
    """Whoever tells operators of what they would not hear of otherwise."""

    def taken_back(self, job: Job, reason: str, now: float) -> None:
        """
        A job is about to be taken from its worker, which is still there.

        @param reason: L{TIMEOUT<txgear.policies.TIMEOUT>} or L{SILENT<txgear.policies.SILENT>}.
        """

    def damaged(self, handle: bytes, why: str) -> None:
        """What the store has of a job's settings and attempts cannot be read: the job goes on without."""

    def missing(self, function: bytes, count: int) -> None:
        """The store does not have so many jobs that it had counted: nobody will do them."""


class Reading:
    """
    Something of a job that is to be read from the store.

    @ivar number: the job's.
    @ivar result: whether its result is wanted; otherwise its workload.
    @ivar done: called once with the bytes; with C{None} if they are not there, or the store does not answer.
    """

    __slots__ = ("done", "number", "result")

    def __init__(self, number: int, result: bool, done: Callable[[bytes | None], None]) -> None:
        self.number = number
        self.result = result
        self.done = done


class Asking:
    """
    A question to the store.

    @ivar question: which jobs are wanted.
    @ivar most_bytes: bytes of workloads that are to be read as well: those of the first jobs that are found,
        as far as this goes; 0 for none. Where they cannot be read there are none.
    @ivar done: called once, in a turn of the server's, with what the store has of the jobs, with the
        workloads, by number, and with the server's time; with C{None} if the store does not answer. Of what
        has changed meanwhile it has what was: see L{Journal.pending}.
    """

    __slots__ = ("done", "most_bytes", "question")

    def __init__(
        self,
        question: Question,
        done: Callable[[Sequence[JobRecord] | None, Mapping[int, bytes], float], None],
        most_bytes: int = 0,
    ) -> None:
        self.question = question
        self.done = done
        self.most_bytes = most_bytes


class Found(NamedTuple):
    """
    What a question has found.

    @ivar records: all that the store has of it, in its order; what is known better may be other by now.
    @ivar jobs: the jobs.
    """

    records: Sequence[JobRecord]
    jobs: list[Job]


Look = Callable[[Found | None, float], None]
"""Called with what was found, C{None} if the store does not answer; and with the time of the server."""


class Journal(Protocol):
    """
    Carries changes to the store, in order. No call waits: what has become of it, a L{JournalListener} is
    told later.
    """

    clustered: bool
    """Whether other servers have the same store, and see to it that each name is one job."""

    @property
    def unavailable(self) -> str | None:
        """Why no job can be kept at present, for the client to read; C{None} if all is well."""

    @property
    def unavailable_detail(self) -> str | None:
        """The same for operators, in the store's own words, which may name places."""

    @property
    def unavailable_since(self) -> float:
        """Since when that is so, by the server's time; 0.0 if all is well."""

    @property
    def closing(self) -> bool:
        """Whether the server ends, and nothing more is kept: that is why, however well the store is."""

    def retry_soon(self) -> None:
        """A job was to be kept, and was refused: the store had better be tried again soon."""

    @property
    def crowded(self) -> bool:
        """Whether so much is on its way that those who add to it had better not be read for now."""

    def has_room(self, size: int) -> bool:
        """
        Whether a result of this many bytes may be kept: while the store does not answer, they have
        a bound. If not, it is counted as one that is not kept.
        """

    @property
    def backlogged(self) -> bool:
        """Whether what is done to a great many jobs had better go on later: the changes only gather."""

    def add(self, job: Job, record: JobRecord, workload: Data) -> None:
        """Keep this job."""

    def update(self, update: JobUpdate) -> None:
        """A kept job, or one that is on its way, has changed."""

    def change(self, change: JobChange) -> None:
        """
        An operator has changed a kept job, or one that is on its way. Whoever reads its workload from now on
        gets the new one.
        """

    def delete(self, number: int) -> None:
        """Keep this job no more, which has no result; it is kept or on its way."""

    def delete_all(self, number: int) -> None:
        """Keep this job no more, nor its result; it is kept or on its way."""

    def put_result(self, number: int, result: bytes) -> None:
        """Keep this in place of the workload of a job that has ended; its update came before."""

    def put_value(self, value: StoredValue) -> None:
        """Keep something that is no job."""

    def share(self, value: StoredValue) -> None:
        """Tell other servers that have the same store, and keep it for them; nothing where there are none."""

    def name(self, naming: Naming) -> None:
        """
        A kept job, or one that is on its way, is known by another name from now on; that a name is free is
        said of others' jobs, too. Of a store that is L{clustered} only.
        """

    def read(self, reading: Reading) -> None:
        """Read the result or the workload of one kept job."""

    def load(self, jobs: list[Job]) -> None:
        """Read the workloads of these jobs; one such list at a time."""

    def ask(self, asking: Asking) -> None:
        """Ask which jobs are kept. Several are answered in the order in which they were asked."""

    def pending(self, number: int) -> bool:
        """Whether anything of this job is still on its way to the store, its deletion included."""

    def settled(self, numbers: Iterable[int]) -> set[int]:
        """Those of these jobs of which nothing is L{pending}."""

    # The keys of jobs that are in the store only

    def hide(self, key: Key) -> None:
        """A job with this key is in memory no more."""

    def hide_all(self, keys: Iterable[Key]) -> None:
        """Jobs with these keys are in memory no more."""

    def show(self, key: Key) -> None:
        """A job with this key is in memory again, or is not there any more."""

    def may_hide(self, key: Key) -> bool:
        """Whether there may be a job with this key that is not in memory; hardly ever if there is none."""


class JournalListener(Protocol):
    """
    What a L{Journal} tells the broker, and asks it. Each call is made outside of the broker's turns.
    """

    @property
    def numbers_left(self) -> int:
        """How many jobs can be taken before L{reserve} is called again."""

    @property
    def next_number(self) -> int:
        """The first number that no job has had."""

    @property
    def unreadable(self) -> Collection[Job]:
        """The jobs that are delayed as their workloads cannot be read."""

    def reserve(self, first: int, count: int) -> None:
        """So many job numbers, from the first on, are this server's."""

    def trust(self, until: float, now: float) -> None:
        """Until then no other server has what is stored."""

    def stored(self, jobs: Iterator[Job], now: float) -> None:
        """
        Jobs are in the store. Each is looked at once, in their order: where there is a defect, the rest is
        told again.
        """

    def written(self, numbers: Iterable[int], now: float) -> None:
        """What had changed of these kept jobs is in the store; of some there may be more on its way."""

    def answers(self, now: float) -> None:
        """The store answers again: what it has not answered may be asked anew."""

    def refused(self, job: Job, reason: str, now: float) -> None:
        """
        A job could not be stored.

        @param reason: why, for those who submitted it.
        """

    def joined(self, job: Job, record: JobRecord, now: float) -> bool:
        """
        A job could not be stored, as another one has its name, of whichever server.

        @param record: the other one, which has not ended, or is done.
        @return: whether that is so; if not, it is to be stored once more.
        """

    def passed(self, job: Job, handle: bytes, now: float) -> bool:
        """
        A job could not be stored that is for a time of a schedule, as another one was for that.

        @param handle: the other one's; empty where that is not known.
        @return: whether it is not wanted any more; if it is, it is to be stored once more, for itself.
        """

    def result_stored(self, numbers: Iterable[int]) -> None:
        """The results of these jobs are in the store."""

    def result_refused(self, number: int) -> None:
        """The store does not keep the result of this job."""

    def workload_refused(self, number: int, size: int, now: float) -> None:
        """
        The store does not keep the new workload of this job, and has the old one.

        @param size: bytes of that.
        """

    def loaded(
        self,
        workloads: Iterable[tuple[Job, bytes | None]],
        now: float,
        unreadable: Iterable[Job] = (),
        more: bool = False,
    ) -> None:
        """
        Some of the jobs that were to be loaded have been read, in their order.

        @param workloads: the jobs with theirs, C{None} for one that the store does not have.
        @param unreadable: jobs whose workloads the store has, and cannot read.
        @param more: whether others are still to come.
        """
