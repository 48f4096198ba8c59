"""
What a diagnosis says of the workers of a function: whether there are any, and what they do.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.counts import quantiles
from txgear.broker.diagnosis.findings import CRITICAL, INFO, WARNING, Case, Finding
from txgear.broker.operators.workforce import ASLEEP, AWAKE, BUSY, LATE, PAUSED, SILENT, UNREAD, WOKEN, Muster
from txgear.broker.rights import knows, meets
from txgear.broker.words import number, span, verb
from txgear.protocol.textlines import for_line, text

if TYPE_CHECKING:
    from txgear.broker.model import Function, Job

LONG_SECONDS: Final = 60.0
"""Seconds of waiting from which on it is more than a moment."""
USUAL_FROM: Final = 100
"""Runs from which on it is known how long they usually take."""
SLOW_SECONDS: Final = 10.0
"""Seconds that a job runs at the least before it may be called slow."""
SLOW_TIMES: Final = 2.0
"""How many times as long as 99 of 100 others it runs then."""

MOST_COMPARED: Final = 5000
"""Names that are looked at for one that is similar."""
MOST_ALIKE: Final = 30
"""Of these, how many are compared letter by letter, of some tenths of a millisecond each at the most."""
LONGEST_ALIKE: Final = 100
"""Bytes of a name in which a typing mistake is looked for."""
ALIKE: Final = 0.8
"""What part of two names is the same at the least that may be meant as one."""


def in_words(muster: Muster) -> str:
    """What the workers of a function do, as one list."""
    parts: list[str] = []
    if busy := muster[BUSY]:
        which = f"({muster.here:,} of them with this function)"
        if muster.here in (0, busy):
            which = "with this function" if muster.here else "with others"
        parts.append(f"{busy:,} {verb(busy, 'is', 'are')} busy {which}")
    for how, one, many in (
        (ASLEEP, "is asleep", "are asleep"),
        (AWAKE, "has just asked", "have just asked"),
        (WOKEN, "was woken {} ago and has not asked yet", "were woken up to {} ago and have not asked yet"),
        (LATE, "was woken {} ago and has not asked", "were woken up to {} ago and have not asked"),
        (SILENT, "has not asked for {}", "have not asked for up to {}"),
        (UNREAD, "is not read for now", "are not read for now"),
        (PAUSED, "is paused", "are paused"),
    ):
        if count := muster[how]:
            words = verb(count, one, many).format(span(muster.longest.get(how, 0.0)))
            parts.append(f"{count:,} {words}")
    looked = "" if muster.seen == muster.known else f" (of the {muster.seen:,} that were looked at)"
    return ", ".join(parts) + looked


def _workers(case: Case) -> dict[str, Any]:
    muster = case.muster
    return {
        "workers": muster.known,
        "busy": muster[BUSY],
        "busy_here": muster.here,
        "asleep": muster[ASLEEP],
        "woken": muster[WOKEN],
        "awake": muster[AWAKE],
        "late": muster[LATE],
        "silent": muster[SILENT],
        "unread": muster[UNREAD],
        "paused": muster[PAUSED],
    }


def jobs_wait(case: Case) -> Iterator[Finding]:
    """How many wait, and what the workers do meanwhile."""
    if not case.waiting or not case.muster.known:
        return
    muster = case.muster
    wait = f"{number(case.waiting, 'job')} {verb(case.waiting, 'waits', 'wait')}"
    know = f"{number(muster.known, 'worker')} {verb(muster.known, 'knows', 'know')} the function"
    yield Finding(
        "jobs_wait",
        INFO,
        f"{wait}; {know}: {in_words(muster)}",
        {"jobs": case.waiting, "longest": round(case.waited, 3), **_workers(case)},
    )


def no_worker(case: Case) -> Iterator[Finding]:
    """Nobody can do it."""
    # What is left for another server needs no worker here.
    due, later = case.waiting, case.later.total - case.left
    if case.muster.known or not (due or later):
        return
    jobs = f"{number(due, 'job')} {verb(due, 'waits', 'wait')}"
    if not due:
        jobs = f"{number(later, 'job')} {verb(later, 'is', 'are')} to come"
    facts: dict[str, Any] = {"jobs": due or later, "longest": round(case.waited, 3)}
    severity = CRITICAL if due else WARNING
    left = 0.0 if case.counts is None else case.counts.worker_left
    if left:
        since = f"since {case.at(left)} ({case.ago(left)})"
        facts["since"], facts["seconds"] = case.iso(left), case.seconds(left)
        yield Finding("no_worker", severity, f"{jobs}, and there is no worker {since}", facts)
        return
    if case.counts is None:
        yield Finding("no_worker", severity, f"{jobs}, and there is no worker", facts)
        return
    words = f"{jobs}, and there has been no worker since the server started"
    yield Finding("never_a_worker", severity, words, facts)
    similar = similar_name(case)
    if similar is not None:
        name = text(similar.name)
        workers = number(len(similar.workers), "worker")
        shown = for_line(name).decode("utf-8")
        yield Finding(
            "similar_name",
            WARNING,
            f'the name may be a mistake: "{shown}" has {workers}',
            {"function": name, "workers": len(similar.workers)},
        )


def similar_name(case: Case) -> Function | None:
    """
    Another function that has workers, of which the peer may know, and whose name is nearly the same; of
    several the one that is most alike.

    A name of which the letters are others is compared no further: to compare two names of a hundred letters
    takes some tenths of a millisecond.
    """
    name = case.function.name
    if len(name) > LONGEST_ALIKE:
        return None
    folded = name.lower()
    letters, length = set(folded), len(folded)
    slack = max(2, length // 4)
    alike: list[Function] = []
    for other in islice(case.doers, MOST_COMPARED):
        if not other.workers or abs(len(other.name) - length) > slack:
            continue
        if len(letters.symmetric_difference(other.name.lower())) > slack or not knows(case.peer, other):
            continue
        alike.append(other)
        if len(alike) == MOST_ALIKE:
            break
    if not alike:
        # To begin to compare takes longer than all of this.
        return None
    best, found = ALIKE, None
    matcher = SequenceMatcher(None, b=folded.decode("latin-1"), autojunk=False)
    for other in alike:
        matcher.set_seq1(other.name.lower().decode("latin-1"))
        if matcher.quick_ratio() >= best and (ratio := matcher.ratio()) >= best:
            best, found = ratio, other
    return found


def _which(count: int, known: int) -> str:
    """So many of the workers that there are."""
    if count == known:
        return "the only worker" if known == 1 else f"all {known:,} workers"
    return f"{count:,} of {number(known, 'worker')}"


def all_busy(case: Case) -> Iterator[Finding]:
    """Jobs wait, and whoever could do them has something else to do."""
    muster = case.muster
    busy = muster[BUSY]
    if not (case.waiting and busy and busy == muster.seen and not case.function.throttled):
        return
    severity = WARNING if case.waited >= LONG_SECONDS else INFO
    yield Finding(
        "all_busy",
        severity,
        f"{_which(busy, muster.known)} {verb(busy, 'is', 'are')} busy",
        {"workers": muster.known, "busy": busy, "busy_here": muster.here, "longest": round(case.waited, 3)},
    )


def _named(case: Case, how: str) -> tuple[str, list[str]]:
    """Some workers of a condition, as far as the peer may know them: in words, and by their names."""
    names = case.muster.names.get(how, []) if case.names else []
    if not names:
        return "", []
    more = case.muster[how] - len(names)
    listed = ", ".join(for_line(name).decode("utf-8") for name in names)
    return f": {listed}" + (f" and {more:,} more" if more else ""), names


def workers_silent(case: Case) -> Iterator[Finding]:
    """Workers are there, and do not ask."""
    muster = case.muster
    for code, how, one, many in (
        (
            "workers_silent",
            SILENT,
            "is registered but has not asked for work for {}",
            "are registered but have not asked for work for up to {}",
        ),
        (
            "workers_late",
            LATE,
            "was woken {} ago and has not asked",
            "were woken up to {} ago and have not asked",
        ),
    ):
        count = muster[how]
        if not count:
            continue
        severity = WARNING if case.waiting else INFO
        if case.waiting and not (muster.able or muster[BUSY]):
            severity = CRITICAL
        named, names = _named(case, how)
        longest = muster.longest[how]
        words = verb(count, one, many).format(span(longest))
        yield Finding(
            code,
            severity,
            f"{_which(count, muster.known)} {words}{named}",
            {"workers": muster.known, "count": count, "seconds": round(longest, 3), "names": names},
        )


def workers_unread(case: Case) -> Iterator[Finding]:
    """Workers have more on its way to the store than it can take."""
    count = case.muster[UNREAD]
    if count:
        yield Finding(
            "workers_unread",
            WARNING,
            f"{number(count, 'worker')} {verb(count, 'is', 'are')} not read for now, as the store is behind",
            {"workers": case.muster.known, "count": count},
        )


def workers_paused(case: Case) -> Iterator[Finding]:
    """Workers take no jobs, as somebody told them."""
    muster = case.muster
    count = muster[PAUSED]
    if count:
        severity = WARNING if case.waiting and count == muster.seen else INFO
        yield Finding(
            "workers_paused",
            severity,
            f"{_which(count, muster.known)} {verb(count, 'is', 'are')} paused, until somebody tells"
            f" {verb(count, 'it', 'them')} to go on",
            {"workers": muster.known, "count": count},
        )


def workers_absent(case: Case) -> Iterator[Finding]:
    """Workers have lost their connections, and may come back to their jobs."""
    absences = case.broker.absences
    jobs = 0
    since = until = 0.0
    for worker in islice(absences.absent(), case.most):
        here = sum(job.function is case.function for job in islice(worker.running.values(), case.most))
        if here:
            jobs += here
            since = min(since or inf, absences.since(worker))
            until = max(until, absences.until(worker))
    if jobs:
        yield Finding(
            "workers_absent",
            INFO,
            f"{number(jobs, 'job')} {verb(jobs, 'is', 'are')} at workers whose connections are lost, the"
            f" first for {case.ago(since)}; they may come back until {case.at(until)}",
            {"jobs": jobs, "since": case.iso(since), "until": case.iso(until)},
        )


def long_run(case: Case) -> Iterator[Finding]:
    """A job runs for longer than it may, or than others of the function do."""
    job = case.muster.job
    if job is None:
        return
    ran = case.now - job.since
    allowed = _allowed(case, job)
    facts: dict[str, Any] = {
        "handle": text(job.handle),
        "seconds": round(ran, 3),
        "began": case.iso(job.since),
    }
    named = ""
    if job.worker is not None and meets(case.peer, job.worker):
        facts["worker"] = job.worker.name
        named = f" at {for_line(job.worker.name).decode('utf-8')}"
    what = f"{text(job.handle)} has run{named} for {span(ran)}"
    if allowed and ran > allowed:
        facts["allowed"] = allowed
        words = f"{what}, and may take {span(allowed)}: it is taken back when its worker is read again"
        yield Finding("job_overdue", WARNING, words, facts)
        return
    if case.counts is None or sum(case.counts.runs) < USUAL_FROM:
        return
    (usual,) = quantiles(case.counts.runs, 0.99)
    assert usual is not None
    if ran >= SLOW_SECONDS and ran > SLOW_TIMES * usual:
        facts["usual"] = usual
        yield Finding("job_slow", WARNING, f"{what}; 99 of 100 take no more than {_about(usual)}", facts)


def _allowed(case: Case, job: Job) -> float:
    """Seconds that an attempt may take; 0.0 for no bound."""
    own = 0.0 if job.worker is None else job.worker.abilities.get(job.function, 0.0)
    return min((bound for bound in (own, case.broker.functions.policy_of(job).timeout) if bound), default=0.0)


def _about(seconds: float) -> str:
    return span(seconds) if seconds >= 1 else f"{seconds * 1000:.3g} ms"
