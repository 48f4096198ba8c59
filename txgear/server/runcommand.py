"""
The job of a schedule, run at once: for the text command, and for all others who may want that.
"""

from __future__ import annotations

from typing import NamedTuple

from txgear.broker.model import Job, Peer, Reply
from txgear.broker.operators import inspection
from txgear.broker.rights import SEE, SETTINGS, SUBMIT, check, may
from txgear.errors import QueueError, ServerError
from txgear.protocol import textlines
from txgear.protocol.constants import JOB_CREATED, TEXT
from txgear.protocol.packets import Packet
from txgear.protocol.textlines import shown_word, text
from txgear.security.audit import DONE, Detail
from txgear.server.jobserver import JobServer
from txgear.server.operatorcommands import log_line, wanted


class ScheduledJob(NamedTuple):
    """
    The job of a schedule that was run at once. Where there is a store, its answer is still to come.

    @ivar schedule: the schedule's name.
    @ivar at: when, in seconds since the epoch.
    @ivar job: the job.
    @ivar joined: whether it was there before: the last one with its unique has not ended.
    """

    schedule: bytes
    at: float
    job: Job
    joined: bool

    def answered(self, handle: bytes) -> ScheduledJob:
        """
        The same, as the answer to the submit says.

        @param handle: of the job that it is: the store may have had that before.
        """
        return self._replace(joined=self.joined or handle != self.job.naming % self.job.number)

    @property
    def words(self) -> str:
        """What has come of it, as a sentence."""
        handle = text(self.job.handle)
        if self.joined:
            return f"The last job of this schedule, {handle}, has its unique still: no other was added"
        return f"The job {handle} is queued"


def schedule_named(server: JobServer, peer: Peer, word: bytes) -> bytes | None:
    """
    The schedule that a word names, as it is or as lists show it; C{None} if the peer may know of none such.

    @raise AccessDenied: it may know of no schedules at all.
    """
    check(peer, SETTINGS)
    known = server.scheduler.schedules
    for name in inspection.readings(word):
        if name in known and may(peer, SEE, known[name].function):
            return name
    return None


def unknown_schedule() -> ServerError:
    """There is no such schedule."""
    return ServerError("There is no such schedule", "UNKNOWN_SCHEDULE")


def run(server: JobServer, peer: Peer, name: bytes) -> ScheduledJob:
    """
    Submit the job of a schedule at once, with all that it would have at its time; its next time stays. The
    turn is not ended.

    @param name: one that L{schedule_named} has found.
    @raise AccessDenied: the peer may not submit jobs of its function.
    @raise ServerError: the job is not taken.
    """
    check(peer, SUBMIT, server.scheduler.schedules[name].function)
    job, joined, at = server.scheduler.run(name)
    return ScheduledJob(name, at, job, joined)


def about(found: ScheduledJob) -> dict[str, Detail]:
    """What the audit log says of it."""
    return {
        "schedule": found.schedule,
        "function": found.job.function.name,
        "handle": found.job.handle,
        "answer": "it was there before" if found.joined else None,
    }


def answer(server: JobServer, peer: Peer, words: list[bytes]) -> Reply:
    """The text command C{run schedule NAME}: the answer is the job's handle, once that is on the disk."""
    if len(words) != 3 or words[1].lower() != b"schedule":
        raise wanted(words, "schedule, and its name")
    name = schedule_named(server, peer, words[2])
    if name is None:
        raise unknown_schedule()
    found = run(server, peer, name)
    reply = Reply(0)
    asker = server.guard.stand_in(peer)
    server.outbox.connect(asker, _Answer(server, asker, found, reply))
    server.created(asker, found.job, True)
    return reply


class _Answer:
    """
    The L{PeerLine<txgear.interfaces.PeerLine>} of nobody: it takes the answer to a submit, and makes the
    answer to the text command of it.
    """

    def __init__(self, server: JobServer, asker: Peer, found: ScheduledJob, reply: Reply) -> None:
        self._server = server
        self._asker = asker
        self._found = found
        self._reply = reply

    def write_packets(self, packets: list[Packet]) -> None:
        """The one packet there is."""
        server, asker, found = self._server, self._asker, self._found
        kind, *arguments = packets[0]
        if kind == JOB_CREATED:
            found = found.answered(bytes(arguments[0]))
            server.scheduler.has_come(found.schedule, found.at, bytes(arguments[0]))
            said = textlines.ok(text(found.job.handle))
            server.audit.record(SUBMIT, DONE, asker, **about(found))
            log_line(server, asker, b"run schedule " + shown_word(found.schedule), said)
        else:
            server.scheduler.take_back(found.schedule, found.at)
            said = textlines.refused(QueueError(text(bytes(arguments[-1]))))
        server.outbox.disconnect(asker)
        server.guard.dismiss(asker)
        server.outbox.release(self._reply, TEXT, said)

    def pause_reading(self) -> None:
        """Nobody sends anything here."""

    def resume_reading(self) -> None:
        """As L{pause_reading}."""

    def drain(self) -> None:
        """The one answer is waited for."""

    def close(self) -> None:
        """There is no connection."""

    def abort(self) -> None:
        """There is none."""
