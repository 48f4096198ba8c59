"""
C{/jobs/<handle>/edit}: a job that is made from another, with something changed.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txgear.broker.ended.archive import history_of
from txgear.broker.model import Job
from txgear.broker.operators.inspection import MOST_SHOWN, PRIORITY_NAMES
from txgear.broker.rights import READ
from txgear.broker.states import DEAD
from txgear.errors import AccessDenied
from txgear.policies import to_stored
from txgear.protocol.packets import Data
from txgear.protocol.textlines import text
from txgear.server.operatorcommands import named_job
from txgear.web.answers import Answer, Problem
from txgear.web.api.copies import Copies, Copy
from txgear.web.api.finding import as_sent, unknown_job
from txgear.web.api.orders import JobPolicy
from txgear.web.pages.asked import takes_html
from txgear.web.pages.formats import job_path
from txgear.web.pages.forms import Form
from txgear.web.pages.pages import Done, Pages, act, page
from txgear.web.problems import problem_of
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

KEEP: Final = "keep"
TEXT: Final = "text"
BASE64: Final = "base64"
LF: Final = "lf"
CRLF: Final = "crlf"
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
MOST_EDITED: Final = MOST_SHOWN
"""Bytes of a workload that is edited; a larger one can be kept as it is, or given anew."""


def line_ends(workload: str) -> str | None:
    """
    How the lines of a text end: L{LF}, L{CRLF}, or C{None} where it is none that a form gives back as it was.
    """
    without = workload.replace("\r\n", "")
    if _CONTROLS.search(without):
        return None
    if "\r\n" not in workload:
        return LF
    return CRLF if "\n" not in without else None


def as_typed(field: str, ends: str) -> str:
    """
    What somebody has written, with the line ends of before: forms send them all as CRLF.

    @param ends: L{LF} or L{CRLF}.
    """
    lines = field.replace("\r\n", "\n").replace("\r", "\n")
    return lines.replace("\n", "\r\n") if ends == CRLF else lines


def fields_of(job: Job, workload: bytes | None, is_kept: bool) -> dict[str, Any]:
    """
    What the form has at first.

    @param workload: the original's; C{None} where it is not known, or too long to be edited.
    @param is_kept: whether there is one.
    """
    settings = to_stored(history_of(job).settings)
    fields: dict[str, Any] = {
        "function": text(job.function.name),
        "priority": PRIORITY_NAMES[job.priority],
        "unique": "",
        "delay": "",
        "policy": msgspec.json.format(msgspec.json.encode(settings), indent=2).decode() if settings else "",
        "as": KEEP if is_kept else TEXT,
        "ends": LF,
        "workload": "",
        "base64": "",
    }
    if workload is not None:
        try:
            found = workload.decode("utf-8")
        except UnicodeDecodeError:
            found, ends = "", None
        else:
            ends = line_ends(found)
        if ends is None:
            fields["base64"] = b64encode(workload).decode("ascii")
        else:
            fields.update({"as": TEXT, "ends": ends, "workload": found})
    return fields


def copy_of(form: Form) -> Copy:
    """
    What a form says of a copy.

    @raise Problem: it makes no sense.
    """
    chosen = form.get("as", KEEP)
    wanted: dict[str, Any] = {}
    if chosen == TEXT:
        wanted["workload"] = as_typed(form.get("workload"), form.get("ends", LF))
    elif chosen == BASE64:
        try:
            wanted["base64"] = b64decode("".join(form.get("base64").split()), validate=True)
        except (Base64Error, ValueError) as error:
            raise Problem(400, "invalid_base64", f"The workload is no Base64: {error}") from error
    elif chosen != KEEP:
        raise Problem(400, "unknown_choice", "A workload is kept, or given as text or as Base64")
    for name in ("function", "priority"):
        if value := form.get(name).strip():
            wanted[name] = value
    if wanted.get("priority", "normal") not in PRIORITY_NAMES:
        raise Problem(400, "unknown_priority", "A priority is high, normal or low")
    delay = form.get("delay").strip()
    return Copy(
        **{
            "unique": form.get("unique"),
            "delay": delay or None,
            "policy": _policy(form.get("policy")),
            **wanted,
        }
    )


def _policy(field: str) -> Any:
    if not field.strip():
        # Nothing is said, and nothing is to be taken from the original either.
        return JobPolicy()
    try:
        return msgspec.json.decode(field, type=JobPolicy)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem(400, "invalid_setting", f"The settings are wrong: {error}") from error


class Edits:
    """The form, and what it sends."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._copies = Copies(pages.web)
        self._payloads = pages.web.payloads
        self._broker = pages.server.broker
        self._send = pages.act(self._copy)

    def _named(self, request: WebRequest, handle: str) -> Job:
        job = named_job(request.server, request.peer, READ, as_sent(handle))
        if job is None:
            raise unknown_job()
        return job

    def form(self, request: WebRequest, handle: str) -> Deferred[Answer]:
        """The form, with what the original has."""
        job = self._named(request, handle)
        done: Deferred[Answer] = Deferred()
        is_kept = not job.ended or job.state == DEAD
        if not is_kept or job.size > MOST_EDITED:
            done.callback(self._shown(request, job, fields_of(job, None, is_kept)))
            return done
        release = self._payloads.hold(job.size)
        done = Deferred(lambda waiting: release())

        def come(workload: Data | None) -> None:
            release()
            if done.called:
                return
            try:
                now = self._named(request, handle)
                found = None if workload is None else bytes(workload)
                done.callback(self._shown(request, now, fields_of(now, found, is_kept)))
            except Exception:
                done.errback()

        self._broker.archive.read(job, come)
        return done

    def _shown(
        self, request: WebRequest, job: Job, fields: Mapping[str, Any], problem: Problem | None = None
    ) -> Answer:
        return self._pages.show(
            request,
            "job_edit.html",
            status=200 if problem is None else problem.status,
            title=f"Copy of job {text(job.handle)}",
            place="/jobs",
            path=job_path(job.handle),
            handle=text(job.handle),
            fields=fields,
            priorities=PRIORITY_NAMES,
            is_kept=not job.ended or job.state == DEAD,
            size=job.size,
            is_long=job.size > MOST_EDITED,
            problem=problem,
        )

    def send(self, request: WebRequest, handle: str) -> Any:
        """Make the copy; where that cannot be done the form is there again, with all that was written."""
        if not takes_html(request):
            return self._send(request, handle=handle)
        try:
            made = self._send(request, handle=handle)
        except Exception:
            return self._again(request, handle, Failure())
        return made.addErrback(lambda failure: self._again(request, handle, failure))

    def _again(self, request: WebRequest, handle: str, failure: Failure) -> Answer:
        error: Any = failure.value
        problem = problem_of(error)
        form = Form(request.raw_body) if problem is not None else None
        if problem is None or form is None or problem.code in ("stale_form", "unknown_job", "invalid_form"):
            failure.raiseException()
        if isinstance(error, AccessDenied):
            request.server.guard.denied(request.peer, error)
        job = self._named(request, handle)
        names = ("function", "priority", "unique", "delay", "policy", "as", "ends", "workload", "base64")
        assert form is not None
        return self._shown(request, job, {name: (form.all(name) or [""])[0] for name in names}, problem)

    def _copy(self, request: WebRequest, form: Form, handle: str) -> Deferred[Done]:
        made = self._copies.make(request, handle, copy_of(form))

        def done(found: tuple[Job, bool]) -> Done:
            job, joined = found
            words = "There is a job with this unique already: this is it" if joined else "This is the copy"
            return Done(words, job_path(job.handle))

        return made.addCallback(done)


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    edits = Edits(pages)
    return [page("/jobs/<handle>/edit", edits.form), act("/jobs/<handle>/edit", edits.send)]
