"""
C{/functions/<name>}: what there is to say of a function, its figures, its jobs and workers, and what is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from txgear.broker.counts import Counts
from txgear.broker.diagnosis.diagnosis import findings, known
from txgear.broker.diagnosis.findings import Case
from txgear.broker.model import Function, Job, Peer
from txgear.broker.operators import inspection, workers
from txgear.broker.operators.inspection import PRIORITY_NAMES, moment
from txgear.broker.operators.matching import state_name, worker_name
from txgear.broker.operators.workforce import ASLEEP, BUSY, LATE, SILENT
from txgear.broker.rights import (
    CREATE,
    DROP,
    MAXQUEUE,
    PAUSE,
    PURGE,
    RESUME,
    SEE,
    SETTINGS,
    SUBMIT,
    may,
    meets,
)
from txgear.broker.words import number
from txgear.policies import CLASSIC
from txgear.protocol.constants import PRIORITIES
from txgear.protocol.textlines import text
from txgear.quantities import byte_words
from txgear.server import clusterstate
from txgear.server.figurehistory import FigureHistory
from txgear.server.figureseries import SPANS
from txgear.web.answers import Problem
from txgear.web.api.finding import as_sent
from txgear.web.api.functionlist import dead_of, droppable, queued_of
from txgear.web.pages import formats, functionacts, functioncharts, policywords
from txgear.web.pages.pages import Pages, page
from txgear.web.pages.view import View
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.web.request import WebRequest

MOST_ROWS: Final = 20
"""Jobs, and workers, that stand in the page; the others are a link away."""
LIST_SECONDS: Final = 1.0
"""Seconds between two looks at jobs, workers and what there is to say, at the least."""
CARDS: Final = ("queued", "oldest", "running", "later", "in", "out", "workers", "dead")
"""In their order."""
MOST_ASKED: Final = 1000
"""Workers that are asked for jobs of the function that they have."""


class FunctionPageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    @ivar span: how far back the charts go.
    """

    span: Literal["hour", "day"] = "hour"


def find(pages: Pages, peer: Peer, names: Sequence[bytes]) -> Function:
    """
    The first of these functions that is known, be it one of which there is only what was.

    @raise Problem: nothing is known of them, or the peer may not know of them.
    """
    function = known(pages.server.broker, peer, names)
    if function is not None:
        return function
    for each in names:
        if each in pages.web.history.by_name and may(peer, SEE, each):
            return Function(each)
    raise Problem(404, "unknown_function", "There is no such function")


class FunctionView(View):
    """
    One function.
    """

    template = "function.html"
    place = "/"

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest, name: str) -> None:
        function = find(pages, peer, inspection.readings(as_sent(name)))
        super().__init__(pages, peer, formats.named(text(function.name)))
        self._pages = pages
        self._name = function.name
        self._maxqueue = function.max_queued or (0, 0, 0)
        self._query = request.query(FunctionPageQuery)
        self._span = next(span for span in SPANS if span.name == self._query.span)
        self._history: FigureHistory = pages.web.history
        self._next_lists = 0.0
        self._step = self._steps = -2

    def look(self) -> Iterator[None]:
        """Part of L{View}."""
        function = find(self._pages, self.peer, (self._name,))
        now = self.server.seconds()
        self._acts(function)
        self._policy(function, now)
        self._ended(function)
        if now >= self._next_lists:
            self._next_lists = now + LIST_SECONDS
            case = Case(self.broker, self.peer, function, now, self.server.trend(function.name))
            yield
            self._findings(case)
            self._cards(function, case)
            yield
            self._jobs(function, now)
            self._workers(function, now)
            yield
        else:
            self._cards(function, None)
        self._charts(function)

    def context(self) -> dict[str, Any]:
        """Part of L{View}."""
        name = self._name
        path = formats.function_path(name)
        high, normal, low = self._maxqueue
        return {
            "name": text(name),
            "path": path,
            "span": self._query.span,
            "spans": functioncharts.OF_SPAN,
            "maxqueue": {"high": high, "normal": normal, "low": low} if self.may(MAXQUEUE, name) else None,
            "may_submit": self.may(SUBMIT, name),
            "priorities": PRIORITY_NAMES,
            "others": clusterstate.not_listed(self.server, self.peer),
        }

    # What there is to say, and to do

    def _findings(self, case: Case) -> None:
        ids = []
        for place, finding in enumerate(findings(case)):
            part = f"finding-{place}"
            values = {"severity": finding.severity, "text": finding.text}
            self.put(part, tuple(values.values()), "finding", partial(dict, values))
            ids.append(part)
        self.arrange("findings", ids)

    def _acts(self, function: Function) -> None:
        """The buttons that make sense now, of what one may do."""
        name = function.name
        waits = function.total - function.running
        values = {
            "name": text(name),
            "jobs": waits,
            "pause": not function.paused and self.may(PAUSE, name),
            "resume": function.paused and self.may(RESUME, name),
            # Also while nothing waits: of a function at work that is so now and then for a moment.
            "purge": self.broker.functions.by_name.get(name) is function and self.may(PURGE, name),
            "create": not function.created and self.may(CREATE, name),
            "drop": droppable(self.broker, function) and self.may(DROP, name),
        }
        self.put("acts", tuple(values.values()), "acts", lambda: values)

    # In numbers

    def _cards(self, function: Function, case: Case | None) -> None:
        """
        @param case: what was found just now; C{None} for only what may have changed since.
        """
        since, dead = function.waiting_since, dead_of(self.broker, function)
        name = text(function.name)
        jobs = f"/jobs?function={formats.only(name)}"
        series = self._history.by_name.get(function.name)
        submitted, completed, failed = self._history.rates(series)
        self._card("queued", "Queued", f"{jobs}&state=queued", formats.count(queued_of(function)))
        self._card("running", "Running", f"{jobs}&state=running", formats.count(function.running))
        self._card("later", "For later", f"{jobs}&state=waiting", formats.count(function.waiting))
        iso = moment(self.broker.timers.wall(since)) if since else None
        age = self.server.seconds() - since if since else None
        self._card("oldest", "Oldest waits", "", "", iso=iso, age=age)
        self._card("in", "In per second", "", formats.rate(submitted))
        lost = f"{formats.rate(failed)} of them failed" if failed else ""
        self._card("out", "Out per second", "", formats.rate(completed + failed), lost)
        self._card("dead", "Dead", f"/dead?function={formats.only(name)}", formats.count(dead))
        if case is not None:
            muster = case.muster
            how = [f"{muster[BUSY]:,} busy", f"{muster[ASLEEP]:,} asleep"]
            if silent := muster[SILENT] + muster[LATE]:
                how.append(f"{silent:,} silent")
            path = f"/workers?function={formats.only(name)}"
            self._card("workers", "Workers", path, formats.count(muster.known), ", ".join(how))
        self.arrange("cards", [f"card-{each}" for each in CARDS])

    def _card(
        self,
        name: str,
        label: str,
        path: str,
        value: str,
        more: str = "",
        iso: str | None = None,
        age: float | None = None,
    ) -> None:
        values = {"label": label, "path": path, "value": value, "more": more, "iso": iso}
        self.put(f"card-{name}", tuple(values.values()), "card", lambda: {**values, "age": age})

    def _ended(self, function: Function) -> None:
        """How its jobs have ended since the server started."""
        counts = self._counts(function)
        if counts is None:
            self.put("ended", (), "counted_with_others", dict)
            return
        rows = [("with a result", counts.completed)]
        rows += sorted(
            ((policywords.ENDINGS[reason], times) for reason, times in counts.failed.items()),
            key=lambda row: -row[1],
        )
        more = [
            ("attempts that were followed by another", counts.retried),
            ("dead jobs that were queued again", counts.requeued),
            ("submits that joined a job that was there", counts.joined),
            *((f"submits that were refused: {word}", times) for word, times in counts.refused.items()),
        ]
        facts = tuple(rows), tuple(row for row in more if row[1])
        self.put("ended", facts, "ended", lambda: {"rows": facts[0], "more": facts[1]})

    def _counts(self, function: Function) -> Counts | None:
        """What is counted of it; C{None} where that is counted together with others."""
        return None if function.counts is self.broker.statistics.other else function.counts

    # Over a time

    def _charts(self, function: Function) -> None:
        """What changes with the steps of the history only."""
        step = self._history.step
        if step == self._step:
            return
        self._step = step
        history, span = self._history, self._span
        # One of a day stays for five minutes.
        steps = (step + 1) * SPANS[0].seconds // span.seconds
        if steps != self._steps:
            self._steps = steps
            figures = history.figures(history.by_name.get(self._name), span.name)
            over = functioncharts.over_time(figures, span, self.server.wall_clock())
            for chart in over:
                self.put(f"chart-{chart.name}", steps, "chart", chart._asdict)
            self.arrange("charts", [f"chart-{chart.name}" for chart in over])
        counts = self._counts(function)
        for name, caption, of_what in functioncharts.HISTOGRAMS:
            histogram = [] if counts is None else getattr(counts, name)
            values = functioncharts.histogram_of(histogram, caption, of_what)
            self.put(f"histogram-{name}", step, "histogram", partial(dict, values))
        self.arrange("histograms", [f"histogram-{each[0]}" for each in functioncharts.HISTOGRAMS])

    # Its jobs and its workers

    def _jobs(self, function: Function, now: float) -> None:
        ids = []
        for job in _first_jobs(self.broker, function):
            part = f"job-{job.number}"
            worker = job.worker if job.worker is not None and meets(self.peer, job.worker) else None
            values = {
                "handle": text(job.handle),
                "state": state_name(job),
                "priority": PRIORITY_NAMES[job.priority],
                "attempts": job.retries,
                "created": moment(self.broker.timers.wall(job.created)) if job.created else None,
                "descriptor": None if worker is None else worker.descriptor,
                "worker": worker_name(self.peer, job),
            }
            age = now - job.created if job.created else None
            self.put(part, tuple(values.values()), "job_row", partial(dict, values, age=age))
            ids.append(part)
        self.arrange("jobs", ids)
        shown, total = len(ids), function.total
        path = f"/jobs?function={formats.only(function.name)}"
        rows = function.lanes.rows_count + function.later
        values = {"shown": shown, "total": total, "path": path, "what": "jobs", "rows": rows}
        self.put("jobs-more", (shown, total, rows), "more", lambda: values)

    def _workers(self, function: Function, now: float) -> None:
        ids = []
        met = (other for other in islice(function.workers, MOST_ASKED) if meets(self.peer, other))
        for other in islice(met, MOST_ROWS):
            found = workers.worker(self.broker, self.peer, other, now)
            part = f"worker-{other.descriptor}"
            values = {
                "descriptor": other.descriptor,
                "name": other.name,
                "condition": found["condition"],
                "jobs": tuple(job["handle"] for job in found["in_hand"]),
                "in_hand": found["jobs"],
                "functions": found["functions"],
            }
            idle = found["idle"]
            since = None if idle is None else moment(self.broker.timers.wall(now - idle))
            self.put(
                part, tuple(values.values()), "worker_row", partial(dict, values, since=since, idle=idle)
            )
            ids.append(part)
        self.arrange("workers", ids)
        shown, total = len(ids), len(function.workers)
        path = f"/workers?function={formats.only(function.name)}"
        more = {"shown": shown, "total": total, "path": path, "what": "workers"}
        self.put("workers-more", (shown, total), "more", lambda: more)

    # What is set

    def _policy(self, function: Function, now: float) -> None:
        broker = self.broker
        pattern, policy = broker.functions.policies.match(function.name) or (None, CLASSIC)
        rows = [
            {"setting": setting, "words": words, "used": "", "next": None}
            for setting, words in policywords.settings(
                policy, inspection.share(broker, function.name, policy)
            )
        ]
        throttle = function.throttle
        for row in rows:
            if row["setting"] == "concurrency":
                most = policy.concurrency if throttle is None else throttle.concurrency
                row["used"] = f"{function.running:,} of {most:,} run"
            elif row["setting"] == "max_queue":
                row["used"] = f"{function.total:,} of {policy.max_queue:,} are there"
            elif row["setting"] == "max_bytes":
                row["used"] = f"{formats.size(function.bytes)} of {byte_words(policy.max_bytes)} are used"
            elif row["setting"] == "rate" and throttle is not None and throttle.rate is not None:
                opens = throttle.opens()
                if opens > now:
                    row["used"], row["next"] = "the next may start at", moment(broker.timers.wall(opens))
                else:
                    row["used"] = f"{throttle.tokens(throttle.rate, now):,} may start now"
        if function.max_queued is not None:
            bounds = [
                f"of {PRIORITY_NAMES[priority]} priority from {number(most, 'job')} on"
                for priority, most in zip(PRIORITIES, function.max_queued, strict=True)
                if most
            ]
            words = f"Submits are refused, {', '.join(bounds)}; an operator has set that." if bounds else ""
            if words:
                used = f"{function.total:,} are there"
                rows.append({"setting": "maxqueue", "words": words, "used": used, "next": None})
        config = self.server.config if self.may(SETTINGS) else None
        values = {"pattern": pattern, "config": config, "created": function.created, "rows": rows}
        self.put("policy", tuple(values.values()), "policy", lambda: values)


def _first_jobs(broker: Broker, function: Function) -> list[Job]:
    """Those that run, then those that are next, then those for later."""
    running: Iterator[Job] = iter(())
    if function.running:
        running = (
            job
            for other in islice(chain(function.workers, broker.absences.absent()), MOST_ASKED)
            for job in islice(other.running.values(), MOST_ROWS)
            if job.function is function
        )
    return list(islice(chain(running, function.lanes.in_turn(), function.delayed), MOST_ROWS))


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    return [page(functionacts.PATH, pages.page(FunctionView)), *functionacts.routes(pages)]
