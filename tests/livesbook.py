"""The book of the second crash test: what became of each job, step by step, and whether that may be.

Every job has a unique of its own, by which it is known even if the answer to its submit was lost in a crash.
A step (an attempt that ended, an operator's order) is noted before it is sent. So what a server has after a
crash is what it was after some of the steps, the first ones: at the least those that were over for a second.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final, NamedTuple

from crashbook import CHANGED, DUPLICATE, LOST, NUMBER, OTHER, RETURNED, SETTLED, Ledger

# Where a job is: not ended, in the dead set, done and still known, not known any more.
LIVE: Final = "live"
DEAD: Final = "dead"
KEPT: Final = "kept"
GONE: Final = "gone"

# The steps; the first three are the ends of an attempt, in the server's words.
FAIL: Final = b"fail"
EXCEPTION: Final = b"exception"
VANISHED: Final = b"lost"
DONE: Final = b"done"
REQUEUED: Final = b"requeued"
FORGOTTEN: Final = b"forgotten"

#: Jobs on which nothing has happened since the last restart that are looked at closely all the same.
SAMPLE: Final = 60

#: Seconds after its last step in which an operator leaves a job alone: its worker's word may be on the way.
CALM: Final = 0.3


@dataclass(frozen=True, eq=False)
class Plan:
    """A job that is asked for.

    :ivar fails: how many attempts do not come to a result.
    :ivar retries: how many there may be after the first.
    :ivar known: whether it stays known when it is done.
    :ivar brings: what its worker sends before the result, and the result, where these are kept.
    """

    function: bytes
    unique: bytes
    workload: bytes
    fails: int
    retries: int
    known: bool
    brings: tuple[bytes, bytes] | None

    def __str__(self) -> str:
        return f"{self.unique.decode()} with {self.retries} retries that fails {self.fails} times"


class Past(NamedTuple):
    """An attempt that ended without a result: the reason, whose it was, what was said."""

    reason: bytes
    worker: bytes
    text: bytes


@dataclass(frozen=True)
class Standing:
    """How a job is.

    :ivar attempts: that have ended without a result, since it was submitted or requeued.
    :ivar history: all of them.
    """

    place: str = LIVE
    attempts: int = 0
    history: tuple[Past, ...] = ()

    def __str__(self) -> str:
        return f"{self.place} after {self.attempts} attempts, {len(self.history)} in all"


@dataclass(eq=False)
class Step:
    """Something that happened to a job.

    :ivar at: when it had been sent, by the monotonic clock; infinite before.
    """

    kind: bytes
    past: Past | None = None
    at: float = inf


def after(plan: Plan, standing: Standing, step: Step) -> Standing:
    """How the job is when this has happened, too."""
    if step.past is not None:
        attempts = standing.attempts + 1
        place = DEAD if attempts > plan.retries else LIVE
        return Standing(place, attempts, (*standing.history, step.past))
    if step.kind == REQUEUED:
        return Standing(LIVE, 0, standing.history)
    known = step.kind == DONE and plan.known
    return Standing(KEPT if known else GONE, standing.attempts, standing.history)


@dataclass(eq=False)
class Story:
    """A job.

    :ivar asked: when it was submitted, by the monotonic clock.
    :ivar handle: empty as long as nobody was told.
    :ivar base: how it was at the last restart.
    :ivar steps: what has happened since.
    :ivar now: how it is after all of them.
    :ivar holder: the worker that has it.
    :ivar rows: what the server said of it last: when it was submitted, its settings, its attempts.
    """

    plan: Plan
    asked: float = field(default_factory=time.monotonic)
    handle: bytes = b""
    base: Standing = field(default_factory=Standing)
    steps: list[Step] = field(default_factory=list)
    now: Standing = field(default_factory=Standing)
    holder: object = None
    rows: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        return f"{self.handle.decode()} ({self.plan}; {self.now})"


class Row(NamedTuple):
    """A line in which the server lists a job; the number of attempts is not in all of them."""

    handle: bytes
    unique: bytes
    place: str
    attempts: int | None


class Reading(NamedTuple):
    """What the server says of one job.

    :ivar attempts: how many count.
    :ivar history: all there were.
    :ivar rows: when it was submitted, its settings, and its attempts, as they are shown.
    """

    attempts: int
    history: tuple[Past, ...]
    rows: tuple[bytes, ...]


class LifeBook(Ledger):
    """All jobs of one run over many lives of the server."""

    def __init__(self, seed: str) -> None:
        super().__init__()
        self._random = random.Random(f"{seed} book")
        self._stories: dict[bytes, Story] = {}
        self._by_handle: dict[bytes, Story] = {}
        self._gone: set[bytes] = set()
        self._done_once: list[Story] = []
        #: When the last job was submitted that the store has taken, by the monotonic clock.
        self.last_kept = 0.0
        self._dead: list[Story] = []

    # Clients

    def asking(self, plan: Plan) -> Story:
        """A submit of a new job is about to be sent."""
        with self._lock:
            self.counts["submits"] += 1
            story = self._stories[plan.unique] = Story(plan)
            return story

    def again(self) -> Story | None:
        """A job of which one with the same unique is to be the same, done or not."""
        with self._lock:
            return self._random.choice(self._done_once) if self._done_once else None

    def all_once(self) -> list[Story]:
        """All such jobs."""
        with self._lock:
            return list(self._done_once)

    def answered(self, story: Story, handle: bytes, first: bool) -> None:
        """A submit was answered with a handle."""
        with self._lock:
            self.counts["answered" if first else "asked again"] += 1
            if first:
                self.last_kept = max(self.last_kept, story.asked)
            self._name(story, handle)
            if first and story.plan.brings is None and story.plan.known:
                self._done_once.append(story)

    def _name(self, story: Story, handle: bytes) -> None:
        if not story.handle:
            if handle in self._by_handle or handle in self._gone:
                self.wrong(NUMBER, f"{handle!r} was given to a second job, {story.plan}")
            story.handle = handle
            self._by_handle[handle] = story
        elif story.handle != handle:
            self.wrong(DUPLICATE, f"{story} is there a second time, as {handle!r}")

    # Workers and operators

    def assigned(self, worker: object, handle: bytes, unique: bytes, workload: bytes, attempt: int) -> Story:
        """A worker got a job.

        :param attempt: which one that is, as the server says; 0 if it does not.
        """
        with self._lock:
            story = self._stories.get(unique)
            if story is None:
                self.wrong(RETURNED, f"{handle!r} with {unique!r} was handed out, which has ended for good")
                raise AssertionError(f"nobody knows {unique!r}")
            self._name(story, handle)
            if story.holder is not None:
                self.wrong(DUPLICATE, f"{story} was handed out while another worker had it")
            if story.now.place != LIVE:
                self.wrong(RETURNED, f"{story} was handed out")
            elif attempt and attempt != story.now.attempts + 1:
                self.wrong(CHANGED, f"{story} was handed out for attempt {attempt}")
            if workload != story.plan.workload:
                self.wrong(CHANGED, f"{story} has another workload")
            story.holder = worker
            return story

    def stepping(self, story: Story, kind: bytes, worker: bytes = b"", text: bytes = b"") -> Step:
        """Something is about to be said of a job; its time is set when it was."""
        with self._lock:
            past = Past(kind, worker, text) if kind in (FAIL, EXCEPTION, VANISHED) else None
            step = Step(kind, past)
            story.steps.append(step)
            story.now = after(story.plan, story.now, step)
            story.holder = None
            self.counts[f"step: {kind.decode()}"] += 1
            if story.now.place == DEAD:
                self._dead.append(story)
            return step

    def some_dead(self) -> Story | None:
        """A job that is dead at the server, too, taken out for an order."""
        with self._lock:
            if not self._dead:
                return None
            place = self._random.randrange(len(self._dead))
            story = self._dead[place]
            if story.now.place != DEAD:
                # After a crash it was not.
                del self._dead[place]
                return None
            if story.steps and story.steps[-1].at > time.monotonic() - CALM:
                return None
            del self._dead[place]
            return story

    # The server's ends and beginnings

    def killed(self) -> None:
        """The server has ended, and all have told what they had to tell."""
        with self._lock:
            for story in self._stories.values():
                story.holder = None

    def to_read(self, rows: Iterable[Row]) -> list[Row]:
        """Those of the jobs that are to be looked at closely: all that may have changed, and some others."""
        with self._lock:
            changed: list[Row] = []
            calm: list[Row] = []
            for row in rows:
                story = self._stories.get(row.unique)
                (changed if story is None or story.steps or not story.rows else calm).append(row)
            return changed + self._random.sample(calm, min(SAMPLE, len(calm)))

    def restarted(self, rows: Collection[Row], readings: Mapping[bytes, Reading], at: float) -> None:
        """The server is there again, with these jobs.

        :param readings: what it says of some of them, by handle.
        :param at: from when on steps need not have been written, by the monotonic clock.
        """
        with self._lock:
            found: dict[bytes, Row] = {}
            for row in rows:
                if row.unique in found:
                    self.wrong(DUPLICATE, f"{row.unique!r} is there twice")
                found[row.unique] = row
                if row.unique not in self._stories:
                    self.wrong(RETURNED, f"{row.handle!r} is {row.place} though it had ended for good")
            for story in list(self._stories.values()):
                there = found.get(story.plan.unique)
                self._look_for(
                    story, there, readings.get(story.handle or (there.handle if there else b"")), at
                )

    def _look_for(self, story: Story, row: Row | None, reading: Reading | None, at: float) -> None:
        """What became of a job in the crash."""
        if row is not None:
            self.counts["unanswered yet there"] += not story.handle
            self._name(story, row.handle)
        elif not story.handle:
            # It was not answered, and no worker has had it.
            del self._stories[story.plan.unique]
            return
        standings = [story.base]
        for step in story.steps:
            standings.append(after(story.plan, standings[-1], step))
        least = max(
            (number for number, step in enumerate(story.steps, 1) if step.at < at - SETTLED), default=0
        )
        fitting = [number for number, standing in enumerate(standings) if _fits(standing, row, reading)]
        if not fitting:
            what = LOST if row is None else CHANGED
            said = "gone" if row is None else f"{row.place}, {row.attempts}, {reading and reading.history}"
            self.wrong(what, f"{story} is {said}")
        elif fitting[-1] < least:
            step = story.steps[fitting[-1]]
            self.wrong(RETURNED, f"{story}: {step.kind!r} was undone, {at - step.at:.2f} s old")
        self._begin_life(story, standings, fitting[-1] if fitting else len(standings) - 1, reading)

    def _begin_life(
        self, story: Story, standings: list[Standing], reached: int, reading: Reading | None
    ) -> None:
        self.counts["undone"] += len(story.steps) - reached
        story.base = story.now = standings[reached]
        story.steps.clear()
        if reading is not None:
            # None of that changes any more; there may be more attempts.
            if reading.rows[: len(story.rows)] != story.rows:
                self.wrong(CHANGED, f"{story}: {story.rows} became {reading.rows}")
            story.rows = reading.rows
            self.counts["histories compared"] += bool(reading.history)
        place = story.now.place
        self.counts[f"{place} there"] += place != GONE
        self.counts["retried and there"] += place == LIVE and story.now.attempts > 0
        if place == GONE:
            del self._stories[story.plan.unique]
            del self._by_handle[story.handle]
            self._gone.add(story.handle)

    def story(self, unique: bytes) -> Story | None:
        """The job with this unique, if it is known still."""
        with self._lock:
            return self._stories.get(unique)

    def some_gone(self) -> list[bytes]:
        """Handles of jobs that nobody is to know any more."""
        with self._lock:
            return self._random.sample(sorted(self._gone), min(SAMPLE, len(self._gone)))

    def expect_none_live(self) -> None:
        """All jobs that could be done have been."""
        with self._lock:
            for story in self._stories.values():
                if story.now.place == LIVE and story.handle:
                    self.wrong(OTHER, f"{story} did not come to an end")


def _fits(standing: Standing, row: Row | None, reading: Reading | None) -> bool:
    """Whether that is what the server has."""
    if row is None:
        return standing.place == GONE
    if standing.place != row.place or row.attempts not in (None, standing.attempts):
        return False
    return reading is None or (reading.attempts, reading.history) == (standing.attempts, standing.history)
