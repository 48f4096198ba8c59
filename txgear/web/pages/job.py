"""
C{/jobs/<handle>}: one job: what has happened to it, what it carries, what it brings, and who waits for it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlencode

from msgspec import Struct

from txgear.broker.ended.archive import history_of
from txgear.broker.history import History
from txgear.broker.model import Peer
from txgear.broker.operators import inspection
from txgear.broker.operators.inspection import MOST_SHOWN, PRIORITY_NAMES, moment
from txgear.broker.operators.matching import state_name
from txgear.broker.rights import (
    CANCEL,
    FORGET,
    MOVE,
    PEERS,
    PRIORITISE,
    READ,
    REQUEUE,
    SUBMIT,
    meets,
)
from txgear.broker.states import DEAD, DELAYED, RUNNING
from txgear.policies import CLASSIC
from txgear.protocol.textlines import text
from txgear.server.turns import Steps
from txgear.web.api.finding import as_sent, unknown_job
from txgear.web.api.jobs import JobRoutes
from txgear.web.api.results import Results
from txgear.web.events.jobevents import attempt_of, kept_data
from txgear.web.pages import payloads, policywords, story
from txgear.web.pages.farjob import FarJobs
from txgear.web.pages.formats import job_path
from txgear.web.pages.jobcontent import Content
from txgear.web.pages.pages import Pages, page
from txgear.web.pages.payloadtree import decoded, visible
from txgear.web.pages.view import View
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

LARGE: Final = 8 * 1024
"""Bytes that are shown in a turn of their own."""
Form = Literal["", "text", "json", "php", "hex"]


class JobQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    In which form what it carries and what it has brought are shown; empty for the one that suits them.
    """

    workload: Form = ""
    result: Form = ""


class JobView(View):
    """One job."""

    template = "job.html"
    place = "/jobs"

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest, handle: str) -> None:
        self._query = request.query(JobQuery)
        self._named = as_sent(handle)
        job = inspection.find(pages.server.broker, peer, self._named)
        if job is None:
            raise unknown_job()
        self._job = job
        self._path = job_path(job.handle)
        self._found: dict[str, Any] = {}
        self._is_unkept = False
        self._workload = Content(pages, job, of_result=False)
        self._result = Content(pages, job, of_result=True)
        super().__init__(pages, peer, f"Job {text(job.handle)}")

    def open(self) -> None:
        """Part of L{View}: the job stays in memory."""
        self.broker.stock.hold(self._job)

    def close(self) -> None:
        """Part of L{View}."""
        self.broker.stock.release(self._job, self.server.seconds())

    def context(self) -> dict[str, Any]:
        """Part of L{View}."""
        job = self._job
        size, tail = kept_data(job) if self.may(READ, job.function.name) else (0, b"")
        return {
            "path": self._path,
            "handle": text(job.handle),
            "live_output": not job.ended,
            "keeps_result": self._keeps_result(),
            "output": visible(decoded(tail)),
            "output_missing": size - len(tail),
            "output_most": MOST_SHOWN,
            "events": f"/events?{urlencode({'job': text(job.handle)})}",
            "output_place": f"{attempt_of(job)}-{size}",
            "reads": self.may(READ, job.function.name),
            "forms": payloads.FORMS,
        }

    def _keeps_result(self) -> bool:
        """Whether the page of the job will have its result when it has one."""
        job = self._job
        return job.background and self.broker.functions.policy_of(job).results is not None

    def look(self) -> Steps:
        """Part of L{View}."""
        job, now = self._job, self.server.seconds()
        is_known = inspection.find(self.broker, self.peer, job.handle) is job
        if is_known:
            self._found = inspection.job(self.broker, self.peer, job, now)
        elif self._is_unkept or (self._found and job.ended and "ended" not in self._found):
            self._end_unkept()
        else:
            raise unknown_job()
        self._put_parts(is_known, now)
        if is_known and self.may(READ, job.function.name):
            for content in (self._workload, self._result):
                waiting = content.look()
                if waiting is not None:
                    yield waiting
        for kind, content, form in (
            ("workload", self._workload, self._query.workload),
            ("result", self._result, self._query.result),
        ):
            if len(content.head) > LARGE:
                # What is made of it may take some milliseconds.
                yield None
            self._put_payload(kind, content, form, is_known)

    def _end_unkept(self) -> None:
        """It has ended while this page was open, and nothing is kept of it."""
        if self._is_unkept:
            return
        self._is_unkept = True
        self._found = {
            **self._found,
            "state": state_name(self._job),
            "worker": None,
            "ended": moment(self.server.wall_clock()),
            "size": None,
            "data_size": None,
            "result_size": None,
            "clients": None,
        }

    # Parts

    def _put_parts(self, is_known: bool, now: float) -> None:
        job, found = self._job, self._found
        history = history_of(job) if is_known else job.history
        wall = self.broker.timers.wall
        heard = moment(wall(history.beat)) if history is not None and found.get("lease") else None
        facts = repr({name: value for name, value in found.items() if name != "silent"}), heard, is_known
        self.put("head", (found["state"], found["attempts"]), "head", self._head)
        self.put("facts", facts, "facts", lambda: self._facts(now))
        self.put("timeline", facts, "timeline", lambda: self._timeline(is_known, heard, now))
        settings = repr(found["settings"]), job.function.name
        self.put("settings", settings, "settings", self._settings)
        waiters = repr(found.get("waiters")), found.get("clients")
        self.put("waiters", waiters, "waiters", self._waiters)
        acts = self._acts(is_known)
        self.put("acts", repr(acts), "acts", lambda: acts)

    def _head(self) -> dict[str, Any]:
        found = self._found
        return {
            "state": found["state"],
            "handle": found["handle"],
            "function": found["function"],
            "attempts": found["attempts"],
        }

    def _facts(self, now: float) -> dict[str, Any]:
        job, found = self._job, self._found
        same = {"unique": found["unique"], "function": found["function"]}
        return {
            "job": found,
            "age": max(now - job.created, 0.0) if job.created else None,
            "same": f"/jobs?{urlencode(same)}" if found["unique"] not in ("", "-") else None,
            "same_kept": f"/jobs?{urlencode({'of': 'kept', **same})}",
        }

    def _timeline(self, is_known: bool, heard: str | None, now: float) -> dict[str, Any]:
        job, found = self._job, self._found
        history = history_of(job) if is_known else job.history
        attempts = [] if history is None else history.attempts
        steps = story.past(
            {**found, "history": found["history"][: len(attempts)]},
            [attempt.ended - attempt.began for attempt in attempts][: len(found["history"])],
        )
        worker = job.worker
        return {
            "steps": [
                step if step.text is None else step._replace(text=visible(step.text)) for step in steps
            ],
            "job": found,
            "state": found["state"],
            "bounds": story.bounds(found) if found["state"] == "running" else (),
            "worker": worker.descriptor if worker is not None and meets(self.peer, worker) else None,
            "since": None if job.ended or job.state == DELAYED else moment(self._since()),
            "waited": now - job.since if not job.ended and hasattr(job, "since") else None,
            "time": moment(self.server.wall_clock()),
            "heard": heard,
            "silent": found.get("silent"),
            "end": story.end(found, is_known),
            "draining": self.broker.dispatcher.draining,
        }

    def _since(self) -> float:
        job = self._job
        return self.broker.timers.wall(job.since) if hasattr(job, "since") else 0.0

    def _settings(self) -> dict[str, Any]:
        job, functions = self._job, self.broker.functions
        history = history_of(job) if hasattr(job, "archived") else job.history or History()
        pattern, _ = functions.policies.match(job.function.name) or (None, CLASSIC)
        policy = history.policy(job.function.policy or CLASSIC, functions.policies)
        return {
            "settings": [
                (name, words, name in history.settings) for name, words in policywords.settings(policy)
            ],
            "pattern": None if pattern is None else text(pattern.encode("utf-8")),
        }

    def _waiters(self) -> dict[str, Any]:
        found = self._found
        return {
            "clients": found.get("clients"),
            "waiters": found.get("waiters", []),
            "may_meet": self.may(PEERS),
            "background": found["background"],
        }

    def _acts(self, is_known: bool) -> dict[str, Any]:
        """What whoever looks may do with it, as it is now."""
        job = self._job
        name = job.function.name
        live, dead = is_known and not job.ended, is_known and job.state == DEAD
        waits = job.state == DELAYED and bool(job.due or job.appointment is not None)
        changes = (live and job.state != RUNNING) or dead
        return {
            "path": self._path,
            "retry": live and waits and self.may(REQUEUE, name),
            "requeue": dead and self.may(REQUEUE, name),
            "cancel": live and self.may(CANCEL, name),
            "forget": is_known and job.ended and self.may(FORGET, name),
            "prioritise": changes and self.may(PRIORITISE, name),
            "move": changes and self.may(MOVE, name),
            "copy": is_known and self.may(READ, name) and self.may(SUBMIT, name),
            "priority": PRIORITY_NAMES[job.priority],
            "priorities": PRIORITY_NAMES,
            "function": text(name),
        }

    def _put_payload(self, kind: str, content: Content, form: Form, is_known: bool) -> None:
        name = self._job.function.name
        reads = self.may(READ, name)
        state = content.state if is_known else "gone"
        facts = reads, state, content.version, self._found["state"] if state in ("none", "gone") else ""
        values = partial(self._payload, kind, content, form or None, state if reads else "hidden")
        self.put(kind, facts, "payload", values)

    def _payload(self, kind: str, content: Content, form: Any, state: str) -> dict[str, Any]:
        other = self._query.result if kind == "workload" else self._query.workload
        kept = {"result" if kind == "workload" else "workload": other} if other else {}
        return {
            "kind": kind,
            "state": state,
            "job_state": self._found["state"],
            "shown": payloads.show(content.head, content.size, form) if state == "known" else None,
            "data_size": content.data_size,
            "forms": [
                (each, label, f"{self._path}?{urlencode({**kept, kind: each})}#{kind}-title")
                for each, label in payloads.FORMS.items()
            ],
            "download": f"{self._path}/{kind}" if content.is_download else None,
        }


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    far = FarJobs(pages)
    return [
        page("/jobs/<handle>", far.page(pages.page(JobView))),
        page("/jobs/<handle>/workload", far.content("workload", JobRoutes(pages.web).workload)),
        page("/jobs/<handle>/result", far.content("result", Results(pages.web).by_handle)),
    ]
