"""
The book of a soak: what was asked of the server, what was heard of it, and
whether the two can both be true.

The peers of the soak tell each event as they see it. They see the events of
one connection in the order in which the server made them, but two connections
in any order. So every rule here is one that holds whatever the order was: a
job may come to a second worker only if the first may have lost it by now, a
submit must join a job only if that was there before it was sent and is there
still, and so on. What may go either way (a worker that dies with its last
packet under way) is recorded as unknown, and both ways are good.
"""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import Final

from soakjobs import (
    ACCEPTED,
    CANCEL,
    COMPLETE,
    EARLY,
    EXCEPTION,
    FAIL,
    PENDING,
    REFUSED,
    UNKNOWN,
    Assignment,
    Attach,
    End,
    Job,
    Submit,
    Work,
)

PATIENCE: Final = 20.0
"""
Seconds that anything may take which somebody waits for, with workers for it
asleep: an answer, or a job's way to a worker. Far more than a server needs that
loses nothing, so that a slow machine is no defect.
"""
KEEP_SECONDS: Final = 20.0
"""How long an ended job's history is kept; a packet for it after that is one for a job that nobody knows."""
KEEP_WORK_SECONDS: Final = 40.0
"""How long a workload is known at least: longer than a job may lie there that nobody was told of."""
EXAMPLES: Final = 4
"""Jobs that are shown for one kind of violation."""


class Book:
    """
    All jobs, and what was found wrong.

    @ivar jobs: those that are known, by handle.
    @ivar open: those of them about which something is still to come.
    @ivar counts: the figures.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.jobs: dict[bytes, Job] = {}
        self.open: dict[bytes, Job] = {}
        self.works: dict[int, Work] = {}
        self.counts: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self._examples: dict[str, list[tuple[str, Job | None]]] = {}
        self._by_key: dict[tuple[bytes, bytes], Job] = {}
        self._closed: deque[tuple[float, Job]] = deque()
        self._assignments = 0

    def violation(self, rule: str, detail: str, job: Job | None = None) -> None:
        """Something is not as it must be."""
        self.violations[rule] += 1
        examples = self._examples.setdefault(rule, [])
        if job is not None:
            job.note(f"!! {rule}: {detail}")
        if len(examples) < EXAMPLES:
            examples.append((detail, job))

    def report(self) -> str:
        """Every rule that was broken, with some of the jobs and their histories."""
        lines = []
        for rule, examples in self._examples.items():
            lines.append(f"VIOLATED, {self.violations[rule]} times: {rule}")
            for detail, job in examples:
                lines.append(f"  {detail}")
                if job is not None:
                    lines += [f"    {at - self.started:9.3f} s  {text}" for at, text in job.history]
        return "\n".join(lines)

    # Clients

    def submitting(self, work: Work, background: bool) -> Submit:
        """A submit is about to be sent."""
        work.at = time.monotonic()
        self.works[work.number] = work
        self.counts["submits sent"] += 1
        return Submit(work, background, work.at)

    def created(self, submit: Submit, handle: bytes, who: str) -> Job:
        """A submit was answered with a handle; a foreground one is attached by the caller."""
        now = time.monotonic()
        work = submit.work
        job = self._job(handle, work.function, now)
        job.note(f"{who}: created for work {work.number}{', background' if submit.background else ''}")
        self.counts["jobs accepted"] += job.submits == 0
        self.counts["submits answered"] += 1
        if job.submits:
            self.counts["joined"] += 1
            if work.key is None or job.key != work.key:
                self.violation("only submits that are the same join", f"work {work.number}, {who}", job)
        job.submits += 1
        job.key = work.key
        if job.function != work.function:
            self.violation("a job keeps its function", f"work {work.number}, {who}", job)
        if work.handle not in (b"", handle) and not work.shared:
            self.violation("a submit makes one job", f"{work.handle!r} and {handle!r}", job)
        work.handle = handle
        if submit.at > job.accepted_at:
            self.violation("no submit joins a job that has ended", f"work {work.number}, {who}", job)
        if work.key is not None:
            other = self._by_key.get(work.key)
            if other is not None and other is not job and other.created < submit.at and other.alive:
                detail = f"{other.handle!r} was there, {who} got {handle!r}"
                self.violation("the same submits join", detail, other)
            self._by_key[work.key] = job
        job.background = job.background or submit.background
        job.created = min(job.created, now)
        if work.due:
            job.since = max(job.since, now + work.due - time.time())
        self._reopen(job)
        return job

    def attach(self, job: Job, known: Attach | None) -> Attach:
        """The client of a foreground submit waits for the job."""
        attach = known or Attach(job, time.monotonic())
        attach.count += 1
        job.waiting += 1
        self._reopen(job)
        return attach

    def left(self, attach: Attach, who: str) -> None:
        """A client has gone, or will not listen any more, before it was told the end."""
        missing = attach.count - attach.ended
        if missing > 0:
            job = attach.job
            job.note(f"{who}: left")
            job.waiting -= missing
            self.counts["clients that left a job"] += 1
            self._settle(job)

    def news(self, attach: Attach, number: int, sequence: int, who: str, stays: bool) -> None:
        """A client got data, a warning or a status: of that assignment, the so-manieth."""
        job = attach.job
        assignment = next((one for one in job.assigned if one.number == number), None)
        if assignment is None or sequence >= assignment.news:
            self.violation("news are what the job's worker sent", f"{who}: {number}, {sequence}", job)
            return
        if attach.ended >= attach.count:
            self.violation("nothing comes after a job's end", f"{who}: news {number}, {sequence}", job)
        if attach.count > 1 or not stays:
            return
        last = attach.heard.get(number, -1)
        attach.heard[number] = sequence
        if sequence != last + 1 and (last >= 0 or attach.at < assignment.first_news):
            self.violation("news come once and in order", f"{who}: {sequence} after {last}", job)

    def told(self, attach: Attach, kind: str, payload: bytes, who: str, stays: bool) -> None:
        """A client got a terminal packet."""
        job = attach.job
        job.note(f"{who}: {kind}")
        attach.ended += 1
        if attach.ended > attach.count:
            self.violation("a client is told the end once", f"{who}: {kind}", job)
            return
        if stays:
            job.waiting -= 1
            self.counts["ends told to clients"] += 1
        if kind == FAIL:
            causes = [end for end in job.ends if end.kind != COMPLETE]
        else:
            causes = [end for end in job.ends if end.kind == kind and end.payload == payload]
        good = [end for end in causes if end.state != REFUSED]
        if not causes:
            self.violation("the end is what the job's worker made", f"{who}: {kind}, {payload[:60]!r}", job)
        elif not good:
            self.violation("a refused end is not told", f"{who}: {kind}", job)
        elif kind == COMPLETE:
            end = good[0]
            end.told = True
            assignment = end.assignment
            if stays and assignment is not None and attach.count == 1 and attach.at < assignment.first_news:
                last = attach.heard.get(assignment.number, -1)
                if last != assignment.news - 1 and not assignment.may_be_lost(time.monotonic()):
                    self.violation("no news are missing", f"{who}: {last + 1} of {assignment.news}", job)
        if COMPLETE in {kind, *job.heard} and job.heard - {kind}:
            self.violation("all clients are told the same end", f"{who}: {kind}, others {job.heard}", job)
        job.heard.add(kind)
        self._settle(job)

    def status_told(self, handle: bytes, known: bool, asked: float, who: str) -> None:
        """A client asked whether a job is known, and was answered."""
        job = self.jobs.get(handle)
        if job is None:
            return
        if known and asked > job.accepted_at:
            self.violation("a job that has ended is not known", who, job)
        elif not known and job.alive and job.created < asked:
            self.violation("a job is known until it ends", who, job)

    # Workers

    def assigned(
        self,
        worker: str,
        handle: bytes,
        function: bytes,
        rest: tuple[bytes | None, bytes | None],
        workload: bytes,
        asked: float,
        timeout: Callable[[bytes], float],
    ) -> Assignment | None:
        """
        A worker was handed a job.

        @param rest: its unique and its reducer, as far as the packet tells them.
        @param asked: when the worker asked for one.
        @param timeout: what the worker gave itself for a function, in seconds.
        """
        now = time.monotonic()
        self.counts["assignments"] += 1
        work = self.works.get(int(number)) if (number := workload[:12].split(b" ")[0]).isdigit() else None
        if work is None or work.workload != workload:
            detail = f"{worker}: {handle!r} {function!r} {workload[:60]!r}"
            self.violation("a worker gets a workload that was submitted", detail, self.jobs.get(handle))
            return None
        job = self._job(handle, function, now)
        if work.handle not in (b"", handle) and not work.shared:
            self.violation("a submit makes one job", f"{worker}: {work.handle!r} and {handle!r}", job)
        elif not work.shared:
            work.handle = handle
        if job.work is not None and job.work is not work:
            self.violation("a job keeps its workload", f"{worker}: {job.work.number} and {work.number}", job)
        job.work, job.key = work, work.key
        wanted = work.function, work.unique, work.reducer
        unique, reducer = rest
        found = (
            function,
            work.unique if unique is None else unique,
            work.reducer if reducer is None else reducer,
        )
        if found != wanted:
            self.violation("a worker gets what was submitted", f"{worker}: {found} for {wanted}", job)
        if work.due and time.time() < work.due - EARLY:
            self.violation("no job starts before its time", f"{worker}: {work.due - time.time():.3f} s", job)
        self._assignments += 1
        assignment = Assignment(self._assignments, job, worker, asked, timeout(function))
        ago = now - asked
        job.note(
            f"{worker}: assigned, number {assignment.number}, work {work.number}, asked {ago:.3f} s before"
        )
        for other in job.open:
            if not other.may_be_lost(now) and not assignment.may_be_lost(now):
                self.violation("a job is at one worker at a time", f"{other.worker} and {worker}", job)
        # Who has asked before may have been given it before, by a packet that was on its way.
        if job.accepted is not None and asked > job.accepted_at and not assignment.may_be_lost(now):
            self.violation("no job starts after its end", worker, job)
        if job.assigned:
            self.counts["assigned again"] += 1
        job.assigned.append(assignment)
        job.open.append(assignment)
        self._reopen(job)
        return assignment

    def gave_back(self, assignment: Assignment, why: str) -> None:
        """The worker will not do it, or has gone."""
        if not assignment.lost:
            assignment.lost = True
            assignment.job.since = time.monotonic()
            assignment.job.note(f"{assignment.worker}: {why}")
        self._close_assignment(assignment)

    def unanswered(self, end: End) -> None:
        """Who tried to end a job has gone before it could be told whether it did."""
        if end.state == PENDING:
            end.state = REFUSED if end.hopeless else UNKNOWN
            end.job.since = time.monotonic()
            end.job.note(f"nobody knows whether that {end.kind} was accepted")
            if end.assignment is not None:
                self.gave_back(end.assignment, "gone")
            self._settle(end.job)

    def ending(self, assignment: Assignment, kind: str, hopeless: bool = False) -> End:
        """A worker is about to send a terminal packet."""
        job = assignment.job
        job.note(f"{assignment.worker}: sends {kind}{', too late' if hopeless else ''}")
        end = End(job, kind, assignment, hopeless)
        job.ends.append(end)
        self._reopen(job)
        return end

    def ended(self, end: End, refused: bool) -> None:
        """The server has taken a terminal packet, or an operator's cancel, or has refused it."""
        if end.state != PENDING:
            return
        job, now = end.job, time.monotonic()
        who = end.assignment.worker if end.assignment is not None else "the operator"
        job.note(f"{who}: {end.kind} {'refused' if refused else 'accepted'}")
        if refused:
            end.state = REFUSED
            self.counts["ends refused"] += 1
            if end.told:
                self.violation("a refused end is not told", who, job)
            if not end.hopeless and self._must_be_good(end, now):
                self.violation("a good end is accepted", f"{who}: {end.kind}", job)
        else:
            end.state = ACCEPTED
            self.counts[f"ended by {end.kind}"] += 1
            if end.hopeless:
                self.violation("only who has the job ends it", f"{who}: {end.kind}", job)
            if end.assignment is not None and end.assignment.overran(end.at) and len(job.assigned) == 1:
                self.violation("who takes too long loses the job", who, job)
            if job.accepted is not None:
                self.violation("a job ends once", f"{who}: {end.kind} after {job.accepted.kind}", job)
            else:
                job.accepted, job.accepted_at = end, now
                self.counts["jobs ended"] += 1
        job.since = now
        if end.assignment is not None:
            self._close_assignment(end.assignment)
        self._settle(job)

    def _must_be_good(self, end: End, now: float) -> bool:
        """Whether nothing but a defect explains that this end was refused."""
        others = [other for other in end.job.ends if other is not end]
        if any(other.state != REFUSED for other in others):
            return False
        if end.assignment is None:
            return end.job.alive and end.job.created < end.at
        return not end.assignment.may_be_lost(now)

    def _close_assignment(self, assignment: Assignment) -> None:
        if assignment in assignment.job.open:
            assignment.job.open.remove(assignment)
        self._settle(assignment.job)

    # Operators

    def cancelling(self, job: Job, who: str) -> End:
        """An operator is about to cancel a job."""
        job.note(f"{who}: cancels")
        end = End(job, CANCEL, None)
        job.ends.append(end)
        self._reopen(job)
        return end

    def pick_job(self, rng: random.Random) -> Job | None:
        """Any job that is under way."""
        return self.open[rng.choice(list(self.open))] if self.open else None

    # All of them

    def look_around(self, now: float, calm: bool) -> None:
        """
        To be called once a second: who waits too long, and what may be forgotten.

        @param calm: whether to forget nothing, as the end is near.
        """
        for job in list(self.open.values()):
            if job.open or now - job.since < KEEP_SECONDS:
                continue
            if job.alive and now - job.since > PATIENCE and not job.overdue:
                job.overdue = True
                self.violation("no job is left lying", f"{now - job.since:.1f} s", job)
            elif not job.waiting and (not job.wanted or any(end.state == UNKNOWN for end in job.ends)):
                # Dropped when its clients left, or ended by the last word of a worker that was never told.
                self._close(job)
        if calm:
            return
        while self._closed and self._closed[0][0] < now - KEEP_SECONDS:
            _, job = self._closed.popleft()
            if job.closed:
                self.jobs.pop(job.handle, None)
                # These name the job in turn: now all goes at once, and not with the next garbage.
                job.accepted = None
                job.assigned.clear()
                job.ends.clear()
                if job.key is not None and self._by_key.get(job.key) is job:
                    del self._by_key[job.key]
        if len(self.works) > 2 * len(self.jobs) + 1000:
            self.works = {
                number: work
                for number, work in self.works.items()
                if work.handle in self.jobs or work.at > now - KEEP_WORK_SECONDS
            }

    def longest_wait(self, functions: Collection[bytes], now: float) -> float:
        """How long the job waits, of these functions, that nobody has been given for the longest time."""
        waiting = [
            now - job.since
            for job in self.open.values()
            if job.function in functions and job.alive and not job.open and not job.overdue
        ]
        return max(waiting, default=0.0)

    def unfinished(self) -> list[Job]:
        """The jobs about which something must still come."""
        return [job for job in self.open.values() if job.unfinished]

    def finish(self) -> None:
        """Nothing more will come: what is missing is missing for good."""
        for job in self.unfinished():
            if job.alive:
                self.violation("every accepted job ends", "it did not", job)
            elif job.waiting:
                self.violation("who stays is told the end", f"{job.waiting} missing", job)
            else:
                self.violation("every packet is answered", "an end is neither accepted nor refused", job)

    def _job(self, handle: bytes, function: bytes, now: float) -> Job:
        job = self.jobs.get(handle)
        if job is None:
            job = self.jobs[handle] = self.open[handle] = Job(handle, function, now)
            job.note(f"job {handle!r} of {function!r}")
        return job

    def _reopen(self, job: Job) -> None:
        job.closed = False
        self.open[job.handle] = job

    def _settle(self, job: Job) -> None:
        """Close the page of a job about which nothing more is to come."""
        if job.accepted is not None and not job.open and not job.unfinished:
            self._close(job)

    def _close(self, job: Job) -> None:
        if job.closed:
            return
        end = job.accepted
        if end is not None:
            fitting = {COMPLETE: {COMPLETE}, FAIL: {FAIL}, CANCEL: {FAIL}, EXCEPTION: {FAIL, EXCEPTION}}
            told = [other for other in job.ends if other.told and other is not end]
            if job.heard - fitting[end.kind] or told:
                self.violation("clients are told the end that was accepted", f"{end.kind}, {job.heard}", job)
        job.closed = True
        self.open.pop(job.handle, None)
        self._closed.append((time.monotonic(), job))
