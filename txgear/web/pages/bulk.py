"""
What pages do to many jobs: to those that are selected at once, to all that match a filter by a task.

A task begins with a count: the page of its number shows that, and asks. What is confirmed there is what the
server has counted; see L{txgear.web.pages.tasks}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from txgear.broker.ended.reviews import MOST_REVIEWED, check_name
from txgear.broker.model import Job, Peer
from txgear.broker.operators.bulkacts import KINDS
from txgear.broker.operators.inspection import PRIORITY_NAMES
from txgear.broker.rights import CANCEL, FORGET, MOVE, PRIORITISE, REQUEUE, REVIEW
from txgear.broker.words import number
from txgear.errors import AccessDenied, ServerError
from txgear.protocol.textlines import text
from txgear.server import operatorcommands, reviewcommands, tasks
from txgear.server.jobserver import JobServer
from txgear.web.acts import record
from txgear.web.answers import Answer, Problem
from txgear.web.loading import when_loaded
from txgear.web.pages import question
from txgear.web.pages.asked import takes_html
from txgear.web.pages.filters import EVERYTHING, kind
from txgear.web.pages.forms import Form
from txgear.web.pages.pages import Done, Pages

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

MOST_SELECTED: Final = 200
"""Jobs to which something is done at once: some milliseconds, with the records of it."""
MOST_NAME: Final = 80
"""Characters of a function's name on a button; the page has the whole of it."""
FINAL: Final = (CANCEL, FORGET)
"""What cannot be undone: it is asked for twice."""
PUT_BACK: Final = "put-back"
"""What forms call it that jobs are to be in no review any more."""

_LABELS: Final = {
    CANCEL: "Cancel",
    REQUEUE: "Queue again",
    FORGET: "Forget",
    PRIORITISE: "Change the priority",
    MOVE: "Move",
    REVIEW: "Set aside",
    PUT_BACK: "Put back",
}
_WARNINGS: Final = {
    CANCEL: "They end. Whoever waits for them hears that they failed.",
    FORGET: "Nothing is kept of them.",
    REQUEUE: "They have all their attempts again, and come behind all others.",
    PRIORITISE: "They come behind all others that have this priority.",
    MOVE: "They come behind all others of that function, and are for its workers.",
    REVIEW: (
        "What is done to all dead jobs passes over them, until they are put back. A review has room for"
        f" {number(MOST_REVIEWED, 'job')}: of more, those that are found first are set aside."
    ),
    PUT_BACK: "They are out of the review, and dead as all others.",
}


class Wish(NamedTuple):
    """
    What is to be done.

    @ivar act: one of L{KINDS}, or L{PUT_BACK}.
    @ivar priority: the new one, where that is the act.
    @ivar function: the new one, where that is the act.
    @ivar review: in which review they are to be, where that is the act.
    """

    act: str
    priority: int = 0
    function: bytes = b""
    review: str = ""

    @property
    def label(self) -> str:
        """What the act is called: C{Cancel}."""
        return _LABELS[self.act]

    @property
    def short(self) -> str:
        """The name of the new function, or the beginning of a long one: it stands on a button."""
        name = text(self.function)
        return name if len(name) <= MOST_NAME else f"{name[: MOST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"

    @property
    def warning(self) -> str:
        """What becomes of the jobs."""
        return _WARNINGS[self.act]

    @property
    def right(self) -> str:
        """The act that it takes, one of L{KINDS}."""
        return REVIEW if self.act == PUT_BACK else self.act

    def order(self, count: int) -> str:
        """What is asked for: C{Cancel 10,412 jobs}."""
        jobs = number(count, "job")
        if self.act == PRIORITISE:
            return f"Give {jobs} {PRIORITY_NAMES[self.priority]} priority"
        if self.act == MOVE:
            return f"Move {jobs} to {self.short}"
        if self.act == REVIEW:
            return f"Set {number(min(count, MOST_REVIEWED), 'job')} aside in {self.review}"
        return f"{self.label} {jobs}"

    def report(self, count: int) -> str:
        """What has been done: C{3 jobs are cancelled}."""
        done = {
            CANCEL: "cancelled",
            REQUEUE: "queued again",
            FORGET: "forgotten",
            PRIORITISE: f"of {PRIORITY_NAMES[self.priority]} priority now",
            MOVE: f"jobs of {self.short} now",
            REVIEW: f"set aside in {self.review}",
            PUT_BACK: "dead as all others again",
        }[self.act]
        return f"{number(count, 'job')} {'is' if count == 1 else 'are'} {done}"


def wish(server: JobServer, peer: Peer, form: Form, of: str) -> Wish:
    """
    What a form wants: its fields C{act}, C{priority}, C{function} and C{review}. A review that has no name in
    it is given one.

    @param of: of which list the jobs are: C{jobs}, C{dead} or C{kept}.
    @raise Problem: it makes no sense.
    @raise InvalidArgument: no review can be called so.
    @raise AccessDenied: the peer may not move jobs to that function.
    """
    act = form.get("act")
    if act == PUT_BACK and of == "dead":
        return Wish(act)
    if of not in KINDS.get(act, ()):
        raise Problem(400, "unknown_act", f"This cannot be done to {kind(of)}")
    if act == PRIORITISE:
        name = form.get("priority")
        if name not in PRIORITY_NAMES:
            raise Problem(400, "unknown_priority", "A priority is high, normal or low")
        return Wish(act, PRIORITY_NAMES.index(name))
    if act == MOVE:
        word = form.get("function").encode("utf-8")
        if not word:
            raise Problem(400, "no_function", "Say to which function they are to be moved")
        return Wish(act, function=operatorcommands.named_function(server, peer, MOVE, word))
    if act == REVIEW:
        name = form.get("review") or server.broker.archive.ended.reviews.free_name()
        check_name(name)
        return Wish(act, review=name)
    return Wish(act)


def act(pages: Pages, request: WebRequest, form: Form, of: str, words: Mapping[str, bytes], back: str) -> Any:
    """
    Do what a form wants: to each C{handle} in it; or with C{to=all} to all that match a filter, of which
    nothing is done before it is confirmed.

    @param of: of which list the jobs are: C{jobs}, C{dead} or C{kept}.
    @param words: the filter.
    @param back: the address of the page that has the form.
    @return: what was done, or a page; or a Deferred that fires with it.
    @raise Problem: it makes no sense.
    """
    wanted = wish(pages.server, request.peer, form, of)
    if form.get("to") == "all":
        return count(request, wanted, of, words)
    handles = list(dict.fromkeys(form.all("handle")))
    if not handles:
        return Done("Nothing is selected, and nothing is done: mark some jobs first", back)
    if len(handles) > MOST_SELECTED:
        raise Problem(400, "too_many_jobs", f"At most {MOST_SELECTED} jobs can be selected at once")
    if wanted.act in FINAL and not question.is_sure(form):
        return question.ask(
            pages,
            request,
            title=f"{wanted.order(len(handles))}?",
            warning=wanted.warning,
            handles=handles,
            fields={"act": wanted.act},
            action=_asked(request),
            button=wanted.order(len(handles)),
            back=back,
            place=_place(back),
        )
    return when_loaded(
        request,
        [handle.encode("utf-8") for handle in handles],
        partial(_to_each, pages, request, wanted, handles, back),
    )


def count(request: WebRequest, wanted: Wish, of: str, words: Mapping[str, bytes]) -> Done:
    """
    Have all jobs counted that match a filter; the page of the task that does it then asks whether to go on.

    @param of: of which list they are: C{jobs}, C{dead} or C{kept}.
    """
    task = tasks.start(
        request.server,
        request.peer,
        wanted.right,
        of,
        words or EVERYTHING,
        wanted.priority,
        wanted.function,
        preview=True,
        review=wanted.review,
    )
    return Done("Nothing is done yet: the jobs are counted first", f"/tasks/{task.number}")


def _asked(request: WebRequest) -> str:
    """The address that a form was sent to."""
    query = request.query_text.decode("ascii")
    return request.target.decode("ascii") + (f"?{query}" if query else "")


def _place(back: str) -> str:
    """The entry of the navigation that a page belongs to which leads back there."""
    return back.partition("?")[0]


def _to_each(pages: Pages, request: WebRequest, wanted: Wish, handles: list[str], back: str) -> Done | Answer:
    server, done = request.server, 0
    failures: list[tuple[str, str]] = []
    for handle in handles:
        try:
            _to_one(request, wanted, handle)
            done += 1
        except AccessDenied as error:
            server.guard.denied(request.peer, error)
            failures.append((handle, error.text))
        except ServerError as error:
            failures.append((handle, error.text))
    report = wanted.report(done)
    if not failures:
        return Done(report, back)
    if not takes_html(request):
        return Done("; ".join((report, *_grouped(failures))), back)
    title = f"{number(len(failures), 'job')} left as {'it is' if len(failures) == 1 else 'they are'}"
    return pages.show(
        request,
        "outcome.html",
        title=title,
        report=report,
        failures=failures,
        back=back,
        place=_place(back),
    )


def _grouped(failures: list[tuple[str, str]]) -> list[str]:
    """Handles and why, each reason once."""
    found: dict[str, list[str]] = {}
    for handle, why in failures:
        found.setdefault(why, []).append(handle)
    return [f"{', '.join(handles)}: {why}" for why, handles in found.items()]


def _to_one(request: WebRequest, wanted: Wish, handle: str) -> None:
    """
    @raise ServerError: it cannot be done.
    """
    job = operatorcommands.named_job(request.server, request.peer, wanted.right, handle.encode("utf-8"))
    if job is None:
        raise ServerError("There is no such job any more", "UNKNOWN_JOB")
    _DO[wanted.act](request, wanted, job)
    arguments: str | bytes | None = None
    if wanted.act == PRIORITISE:
        arguments = PRIORITY_NAMES[wanted.priority]
    elif wanted.act == MOVE:
        arguments = wanted.function
    elif wanted.right == REVIEW:
        arguments = wanted.review or "-"
    record(request, wanted.right, handle=job.handle, arguments=arguments)


def _cancel(request: WebRequest, wanted: Wish, job: Job) -> None:
    if not request.server.broker.operations.cancel(job.handle, request.now):
        raise ServerError("The job has ended", "ENDED")


def _prioritise(request: WebRequest, wanted: Wish, job: Job) -> None:
    request.server.broker.operations.reprioritise(job, wanted.priority, request.now)


def _move(request: WebRequest, wanted: Wish, job: Job) -> None:
    request.server.broker.operations.move(job, wanted.function, request.now)


def _review(request: WebRequest, wanted: Wish, job: Job) -> None:
    reviewcommands.review_job(request.server, request.peer, job, wanted.review)


_DO: Final[dict[str, Callable[[WebRequest, Wish, Job], None]]] = {
    CANCEL: _cancel,
    REQUEUE: lambda request, wanted, job: operatorcommands.requeue_job(request.server, job),
    FORGET: lambda request, wanted, job: operatorcommands.forget_job(request.server, job),
    PRIORITISE: _prioritise,
    MOVE: _move,
    REVIEW: _review,
    PUT_BACK: _review,
}
