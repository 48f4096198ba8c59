"""
Why nothing happens: what can be said of a function, in words and numbers, worst first.

It costs some milliseconds at the most, however many jobs and workers there are: it takes what is counted
anyway, and looks at a bounded number of whatever is not. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.diagnosis import diagnosisjobs, diagnosisworkers
from txgear.broker.diagnosis.diagnosisworkers import MOST_COMPARED
from txgear.broker.diagnosis.findings import CRITICAL, OK, SEVERITIES, WARNING, Case, Finding, Trend
from txgear.broker.model import Function
from txgear.broker.rights import SEE, knows, may
from txgear.broker.words import number, verb

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.model import Peer

LOOKS: Final[tuple[Callable[[Case], Iterator[Finding]], ...]] = (
    diagnosisjobs.store_unavailable,
    diagnosisworkers.no_worker,
    diagnosisjobs.unreadable,
    diagnosisjobs.store_refuses,
    diagnosisjobs.queue_full,
    diagnosisjobs.draining,
    diagnosisjobs.paused,
    diagnosisworkers.workers_silent,
    diagnosisworkers.workers_unread,
    diagnosisworkers.workers_paused,
    diagnosisworkers.all_busy,
    diagnosisworkers.long_run,
    diagnosisjobs.wait_grows,
    diagnosisjobs.oldest_waits,
    diagnosisjobs.died,
    diagnosisworkers.jobs_wait,
    diagnosisworkers.workers_absent,
    diagnosisjobs.concurrency,
    diagnosisjobs.rate,
    diagnosisjobs.tenants_held,
    diagnosisjobs.storing,
    diagnosisjobs.paged,
    diagnosisjobs.delayed,
    diagnosisjobs.purged,
)
"""Whatever may be found, in the order in which it is told where one is as severe as the other."""

INFORMING: Final = frozenset(
    (
        diagnosisworkers.jobs_wait,
        diagnosisworkers.workers_absent,
        diagnosisjobs.concurrency,
        diagnosisjobs.rate,
        diagnosisjobs.tenants_held,
        diagnosisjobs.paged,
        diagnosisjobs.delayed,
        diagnosisjobs.purged,
    )
)
"""Of these, what never needs anybody."""

TROUBLES: Final = tuple(look for look in LOOKS if look not in INFORMING)
"""All others: what may need somebody."""

CODES: Final = (
    "store_unavailable",
    "no_worker",
    "never_a_worker",
    "similar_name",
    "unreadable",
    "store_refuses",
    "queue_full",
    "draining",
    "paused",
    "workers_silent",
    "workers_late",
    "workers_unread",
    "workers_paused",
    "all_busy",
    "job_overdue",
    "job_slow",
    "wait_grows",
    "oldest_waits",
    "dead",
    "jobs_wait",
    "workers_absent",
    "concurrency",
    "rate",
    "identity_bound",
    "storing",
    "being_read",
    "delayed",
    "retrying",
    "being_purged",
    "purged",
    "at_work",
    "idle",
)
"""Everything that a finding can be, in the same order."""

OF_SERVER: Final = frozenset(("store_unavailable", "draining"))
"""What is found of each function alike, as it is the server's."""


def diagnose(
    broker: Broker, peer: Peer, function: Function, now: float, trend: Trend | None = None
) -> list[Finding]:
    """
    What there is to say of one function of which the peer may know.

    @param trend: how it has fared of late, where that is known.
    @return: what was found, what needs somebody first; at least one.
    """
    return findings(Case(broker, peer, function, now, trend))


def known(broker: Broker, peer: Peer, names: Iterable[bytes]) -> Function | None:
    """
    The first of these functions of which the peer may know, be it one that nobody uses any more and of which
    there is only what was counted.
    """
    for name in names:
        if not may(peer, SEE, name):
            continue
        if (function := broker.functions.by_name.get(name)) is not None:
            return function
        if (counts := broker.statistics.by_name.get(name)) is not None:
            return Function(name, counts)
    return None


def findings(case: Case) -> list[Finding]:
    """What was found, what needs somebody first; at least one."""
    found = [finding for look in LOOKS for finding in look(case)]
    if not case.waiting:
        found += _nothing_waits(case)
    return _worst_first(found)


def troubles(case: Case) -> list[Finding]:
    """Of the same what is critical, or a warning."""
    found = (finding for look in TROUBLES for finding in look(case))
    return _worst_first(finding for finding in found if finding.severity in (CRITICAL, WARNING))


def _worst_first(found: Iterable[Finding]) -> list[Finding]:
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _nothing_waits(case: Case) -> Iterator[Finding]:
    """No job is ready that no worker has."""
    function, workers = case.function, _number_of_workers(case)
    facts: dict[str, Any] = {"running": function.running, "workers": case.muster.known}
    if function.running:
        runs = f"{number(function.running, 'job')} {verb(function.running, 'runs', 'run')}"
        due = "" if case.left else ", and no other is due"
        yield Finding("at_work", OK, f"{runs}{due}; {workers}", facts)
        return
    if case.left:
        # They may be due: what is said of the server's end says what becomes of them.
        return
    counts = case.counts
    last = "; none has ended since the server started"
    if counts is None:
        last = ""
    elif counts.ended:
        last = f"; the last one ended at {case.at(counts.ended)} ({case.ago(counts.ended)} ago)"
        facts["last"] = case.iso(counts.ended)
    yield Finding("idle", OK, f"no job is due{last}; {workers}", facts)


def _number_of_workers(case: Case) -> str:
    counts = case.counts
    if case.muster.known or counts is None:
        return number(case.muster.known, "worker")
    if counts.worker_left:
        return f"no worker since {case.at(counts.worker_left)} ({case.ago(counts.worker_left)})"
    return "no worker since the server started"


# All functions

MOST_SURVEYED: Final = 5000
"""Functions with jobs that are looked at for one survey: half a second, in pieces."""
MOST_TROUBLED: Final = 100
"""Functions that a survey has at the most, the worst."""
SURVEYED: Final = 100
"""Jobs of one kind, and workers, that a survey looks at of each function."""
MOST_MISNAMED: Final = 20
"""Functions without workers of which a survey looks whether another has a similar name: up to 3 ms each."""
STEP: Final = 200
"""Functions without jobs that are passed over in one step."""


class Survey:
    """
    Where something is wrong, over all functions.

    @ivar server: what is found of all functions alike.
    @ivar functions: the functions that have a warning or worse, the worst first, with what that is.
    @ivar complete: whether all were looked at, and all of which there is something to say are here.
    """

    def __init__(
        self,
        broker: Broker,
        peer: Peer,
        now: float,
        trend: Callable[[bytes], Trend | None] = lambda name: None,
        of_server: Sequence[Finding] = (),
    ) -> None:
        """
        @param peer: who asks; what it may not know of is left out.
        @param trend: how the function of a name has fared of late.
        @param of_server: what else is found of all functions alike, and not here.
        """
        self.server: list[Finding] = []
        self.functions: list[tuple[Function, list[Finding]]] = []
        self.complete = True
        self._broker = broker
        self._peer = peer
        self._now = now
        self._trend = trend
        self._of_server = of_server

    def steps(self) -> Iterator[None]:
        """Look at all functions, some in each step; it takes a millisecond at the most."""
        peer = self._peer
        found: list[tuple[int, int, Function, list[Finding]]] = []
        # What is found of all alike is found of one that has nothing, too.
        nothing = Case(self._broker, peer, Function(b""), self._now, None)
        of_all = (finding for finding in troubles(nothing) if finding.code in OF_SERVER)
        self.server = _worst_first((*of_all, *self._of_server))
        # Once for all: for each function anew it would take longer than all else.
        latest = islice(reversed(self._broker.functions.by_name.values()), MOST_COMPARED)
        doers = [function for function in latest if function.workers]
        compared = looked_at = passed = 0
        for function in list(self._broker.functions.by_name.values()):
            # One without jobs may have workers that do not ask, which is no trouble as yet.
            if not (function.total or function.kept) or not knows(peer, function):
                passed += 1
                if passed % STEP == 0:
                    yield
                continue
            if looked_at == MOST_SURVEYED:
                self.complete = False
                break
            looked_at += 1
            lanes = function.lanes
            waits = lanes.ready or lanes.paged or lanes.held
            trend = self._trend(function.name) if waits else None
            compares = not function.workers and compared < MOST_MISNAMED
            compared += compares
            case = Case(self._broker, peer, function, self._now, trend, SURVEYED, doers if compares else ())
            own = [finding for finding in troubles(case) if finding.code not in OF_SERVER]
            if own:
                found.append((SEVERITIES.index(own[0].severity), -case.waiting, function, own))
            yield
        found.sort(key=lambda each: each[:2])
        self.complete = self.complete and len(found) <= MOST_TROUBLED
        self.functions = [each[2:] for each in found[:MOST_TROUBLED]]
