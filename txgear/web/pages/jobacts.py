"""
What the page of a job does: the acts of the API, asked for by forms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.operators import inspection
from txgear.broker.operators.inspection import PRIORITY_NAMES
from txgear.broker.rights import CANCEL, FORGET, REQUEUE
from txgear.protocol.textlines import text
from txgear.server.operatorcommands import named_job
from txgear.web.answers import Answer, Problem
from txgear.web.api.finding import as_sent, unknown_job
from txgear.web.api.jobacts import JobActs
from txgear.web.pages import question
from txgear.web.pages.asked import takes_html
from txgear.web.pages.farjob import FarJobs
from txgear.web.pages.formats import job_path
from txgear.web.pages.forms import Form
from txgear.web.pages.pages import Done, Pages, act
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

LIST: Final = "/jobs"


class PageActs:
    """One method for each."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._acts = JobActs(pages.web)

    def requeue(self, request: WebRequest, form: Form, handle: str) -> Done:
        """Queue it again, or at once."""
        answer = self._acts.requeue(request, handle)
        return Done("The job is queued, behind all others", job_path(answer.body.handle))

    def prioritise(self, request: WebRequest, form: Form, handle: str) -> Done:
        """Give it another priority."""
        priority: Any = form.get("priority")
        if priority not in PRIORITY_NAMES:
            raise Problem(400, "unknown_priority", "A priority is high, normal or low")
        answer = self._acts.give_priority(request, handle, priority)
        return Done(f"The job has {priority} priority now", job_path(answer.body.handle))

    def move(self, request: WebRequest, form: Form, handle: str) -> Done:
        """Make it one of another function."""
        function = form.get("function")
        if not function:
            raise Problem(400, "no_function", "Say to which function it is to be moved")
        answer = self._acts.move_to(request, handle, function)
        return Done(f"The job is one of {answer.body.function} now", job_path(answer.body.handle))

    def cancel(self, request: WebRequest, form: Form, handle: str) -> Done | Answer:
        """End it, when that is sure."""
        warning = "It ends. Whoever waits for it hears that it failed."
        return self._final(
            request,
            form,
            handle,
            CANCEL,
            "Cancel the job",
            warning,
            "The job is cancelled",
            self._acts.cancel,
        )

    def forget(self, request: WebRequest, form: Form, handle: str) -> Done | Answer:
        """Forget it, when that is sure."""
        warning = "Nothing is kept of it."
        done = self._final(
            request,
            form,
            handle,
            FORGET,
            "Forget the job",
            warning,
            "The job is forgotten",
            self._acts.forget,
        )
        return done._replace(to=LIST) if isinstance(done, Done) else done

    def _final(
        self,
        request: WebRequest,
        form: Form,
        handle: str,
        right: str,
        button: str,
        warning: str,
        report: str,
        do: Callable[[WebRequest, str], Answer],
    ) -> Done | Answer:
        """
        Do what cannot be undone; a browser that has not asked is made to.

        @param right: the act.
        """
        job = named_job(request.server, request.peer, right, as_sent(handle))
        if job is None:
            raise unknown_job()
        path = job_path(job.handle)
        if not question.is_sure(form):
            return question.ask(
                self._pages,
                request,
                title=f"{button} {text(job.handle)}?",
                warning=warning,
                action=request.target.decode("ascii"),
                button=button,
                back=path,
            )
        do(request, handle)
        # A page that is open shows how it has ended, even where nothing is kept of it.
        known = inspection.find(request.server.broker, request.peer, job.handle) is not None
        return Done(report, path if known or not takes_html(request) else LIST)


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    acts, far = PageActs(pages), FarJobs(pages)
    return [
        act(f"/jobs/<handle>/{name}", pages.act(do))
        for name, do in (
            ("requeue", far.act(REQUEUE, acts.requeue)),
            ("prioritise", acts.prioritise),
            ("move", acts.move),
            ("cancel", far.act(CANCEL, acts.cancel)),
            ("forget", far.act(FORGET, acts.forget)),
        )
    ]
