"""
What one can do on the page of a function: the acts of the API, and to submit a job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec
from twisted.internet.defer import Deferred

from txgear.broker.model import Job
from txgear.broker.rights import DROP, PURGE, check
from txgear.broker.words import number, verb
from txgear.errors import QueueError
from txgear.protocol.textlines import text
from txgear.web import refusals
from txgear.web.answers import Answer, Problem
from txgear.web.api import orders
from txgear.web.api.finding import as_sent, function_named
from txgear.web.api.functionacts import MOST_QUEUED, FunctionActs, MaxQueue, Purged
from txgear.web.api.orders import Priority
from txgear.web.api.replies import Replies
from txgear.web.pages import question
from txgear.web.pages.formats import function_path, job_path
from txgear.web.pages.forms import Form
from txgear.web.pages.pages import Act, Done, Pages, act
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

PATH: Final = "/functions/<string(minlength=0):name>"
"""The name may be empty: Gearman has such a function, too."""


class FunctionForms:
    """
    One method for each form.
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._server = pages.server
        self._acts = FunctionActs(pages.web)

    def pause(self, request: WebRequest, form: Form, name: str) -> Done:
        """Hand out no more of its jobs."""
        self._acts.pause(request, name)
        return Done("It is paused: jobs are taken, and none is handed out", _back(request))

    def resume(self, request: WebRequest, form: Form, name: str) -> Done:
        """Hand them out again."""
        self._acts.resume(request, name)
        return Done("It is not paused any more", _back(request))

    def create(self, request: WebRequest, form: Form, name: str) -> Done:
        """Keep it although nobody uses it."""
        self._acts.create(request, name)
        return Done("It stays although nobody uses it", _back(request))

    def limit(self, request: WebRequest, form: Form, name: str) -> Done:
        """Bound its queue."""
        given = {priority: form.get(priority).strip() or "0" for priority in ("high", "normal", "low")}
        try:
            wanted = msgspec.convert(given, MaxQueue, strict=False)
        except msgspec.ValidationError as error:
            words = f"A bound is a whole number from 0 to {MOST_QUEUED:,}"
            raise Problem(400, "invalid_form", words) from error
        self._acts.set_limit(request, name, wanted)
        return Done("The bounds are set", _back(request))

    def purge(self, request: WebRequest, form: Form, name: str) -> Done | Answer | Deferred[Done]:
        """Cancel its jobs that no worker has, if that is meant."""
        if not question.is_sure(form):
            function = function_named(request, name)
            check(request.peer, PURGE, function.name)
            jobs = number(function.total - function.running, "job")
            more = "" if self._server.elsewhere is None else " here, and those of the other servers"
            words = (
                f"All jobs of {text(function.name)} are cancelled that no worker has: {jobs} now{more}."
                " Who waits for one hears that it failed. Nobody can undo that."
            )
            return self._ask(request, function.name, "purge", f"Cancel {jobs}?", words, "Cancel them")

        def done(answer: Answer) -> Done:
            purged: Purged = answer.body
            jobs = number(purged.jobs, "job")
            return Done(f"{jobs} {verb(purged.jobs, 'is', 'are')} being cancelled", _back(request))

        return _then(self._acts.purge(request, name), done)

    def drop(self, request: WebRequest, form: Form, name: str) -> Done | Answer | Deferred[Done]:
        """Forget it, if that is meant."""
        if not question.is_sure(form):
            function = function_named(request, name)
            check(request.peer, DROP, function.name)
            words = (
                f"{text(function.name)} is forgotten, with the bounds that an operator has set. It is there"
                " again as soon as somebody uses it."
            )
            return self._ask(request, function.name, "drop", "Forget this function?", words, "Forget it")
        done = Done("The function is forgotten", "/")
        return _then(self._acts.drop(request, name), lambda answer: done)

    def _ask(self, request: WebRequest, name: bytes, act: str, title: str, words: str, button: str) -> Answer:
        """A page that asks, for those whose browsers do not."""
        path = function_path(name)
        return question.ask(
            self._pages,
            request,
            title=title,
            warning=words,
            action=f"{path}/{act}",
            back=path,
            button=button,
        )

    # A job

    def submit(self, request: WebRequest, form: Form, name: str) -> Deferred[Done]:
        """Submit a background job."""
        try:
            priority: Priority = msgspec.convert(form.get("priority", "normal"), Priority)
        except msgspec.ValidationError as error:
            raise Problem(400, "invalid_form", "A priority is high, normal or low") from error
        # Browsers write lines of a text as the web does.
        workload = form.get("workload").replace("\r\n", "\n").encode("utf-8")
        order = orders.order(
            orders.named_function(self._server.broker, request.peer, as_sent(name)),
            form.get("unique"),
            workload,
            priority,
            None,
            form.get("delay").strip() or None,
            {},
        )
        try:
            job, joined = orders.submit(self._server, request.peer, order, background=True)
        except QueueError as error:
            raise refusals.problem(error, request.peer.tenant, request.now) from error
        taken: Deferred[Done] = Deferred()

        def told(job: Job, found: bool, error: QueueError | None) -> None:
            if error is None:
                there = joined or found
                words = "That was submitted before: this is the job" if there else "The job is submitted"
                taken.callback(Done(words, job_path(job.handle)))
            else:
                taken.errback(refusals.problem(error, request.peer.tenant, request.now))

        Replies(request).created(job, True, told)
        return taken


def _then(answer: Answer | Deferred[Answer], done: Callable[[Answer], Done]) -> Done | Deferred[Done]:
    """What a page says of an act, which other servers may have to do as well."""
    return answer.addCallback(done) if isinstance(answer, Deferred) else done(answer)


def _back(request: WebRequest) -> str:
    """The page that a form was sent from: however its address writes the name."""
    return request.target.decode("ascii").rpartition("/")[0]


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    of = FunctionForms(pages)
    forms: dict[str, Act] = {
        "pause": of.pause,
        "resume": of.resume,
        "create": of.create,
        "maxqueue": of.limit,
        "purge": of.purge,
        "drop": of.drop,
        "submit": of.submit,
    }
    return [act(f"{PATH}/{name}", pages.act(do)) for name, do in forms.items()]
