"""
Jobs of other servers of a cluster, on pages: what their servers tell of them, and what can be done to them
there. A page shows one as it was when it was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from txgear.broker.rights import CANCEL, FORGET, REQUEUE, may
from txgear.protocol.textlines import unescaped
from txgear.server.elsewhere import HTTP
from txgear.web.answers import Answer, Problem
from txgear.web.api.finding import as_sent
from txgear.web.elsewhere import answer_of, passed_on
from txgear.web.pages import question
from txgear.web.pages.asked import takes_events
from txgear.web.pages.formats import job_path
from txgear.web.pages.forms import Form
from txgear.web.pages.pages import Act, Done, Pages

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

API: Final = "/api/v1"
LABELS: Final = {
    "unique": "Unique",
    "state": "State",
    "priority": "Priority",
    "attempts": "Attempts that have ended",
    "size": "Bytes of its workload",
    "worker": "Worker",
    "review": "Set aside in",
    "result_size": "Bytes of its result",
}
"""What is shown of one as it is told, and"""
MOMENTS: Final = {
    "created": "Submitted",
    "begins": "Begins",
    "began": "Began",
    "ended": "Ended",
    "forgotten": "Forgotten",
}
"""which moments are."""
BUTTONS: Final = {REQUEUE: "Queue again", CANCEL: "Cancel the job", FORGET: "Forget the job"}
DONE: Final = {
    REQUEUE: "The job is queued, behind all others",
    CANCEL: "The job is cancelled",
    FORGET: "The job is forgotten",
}
WARNINGS: Final = {
    CANCEL: "It ends. Whoever waits for it hears that it failed.",
    FORGET: "Nothing is kept of it.",
}
"""Of what cannot be undone."""


class FarJobs:
    """
    What is done where another server may have the job.
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._server = pages.server

    def _may_have(self, handle: str) -> bool:
        elsewhere = self._server.elsewhere
        return elsewhere is not None and elsewhere.may_have(as_sent(handle))

    def page(self, here: Callable[..., Any]) -> Callable[..., Any]:
        """
        The endpoint of its page.

        @param here: that for jobs of this server.
        """

        def endpoint(request: WebRequest, handle: str) -> Any:
            if takes_events(request) or not self._may_have(handle):
                return here(request, handle=handle)
            if (again := self._pages.once_more(request)) is not None:
                return again

            def come(found: Any) -> Any:
                return here(request, handle=handle) if found is None else self._show(request, found)

            return self._ask(request, handle, b"GET").addCallback(come)

        return endpoint

    def content(self, kind: str, here: Callable[..., Any]) -> Callable[..., Any]:
        """The same for what it carries or has brought: C{workload} or C{result}."""

        def endpoint(request: WebRequest, handle: str) -> Any:
            elsewhere = self._server.elsewhere
            if elsewhere is None or not self._may_have(handle):
                return here(request, handle=handle)
            target = f"{API}{job_path(as_sent(handle))}/{kind}".encode("ascii")
            return passed_on(
                elsewhere, request, as_sent(handle), lambda: here(request, handle=handle), target
            )

        return endpoint

    def act(self, name: str, here: Act) -> Act:
        """The same for one of L{BUTTONS}, which a form asks for."""

        def do(request: WebRequest, form: Form, handle: str) -> Any:
            if not self._may_have(handle):
                return here(request, form, handle)
            path = job_path(as_sent(handle))
            if name in WARNINGS and not question.is_sure(form):
                return question.ask(
                    self._pages,
                    request,
                    title=f"{BUTTONS[name]} {handle}?",
                    warning=WARNINGS[name],
                    action=f"{path}/{name}",
                    button=BUTTONS[name],
                    back=path,
                )

            def come(found: Any) -> Any:
                if found is None:
                    return here(request, form, handle)
                return Done(DONE[name], path if name == REQUEUE else "/jobs")

            return self._ask(request, handle, b"POST", f"/{name}").addCallback(come)

        return do

    def _ask(self, request: WebRequest, handle: str, method: bytes, rest: str = "") -> Deferred[Any]:
        """
        Ask the server that has a job.

        @return: fires with what it tells; with C{None} where no other server has the job.
        """
        elsewhere = self._server.elsewhere
        assert elsewhere is not None
        word = as_sent(handle)
        target = f"{API}{job_path(word)}{rest}".encode("ascii")
        asked = b"%b %b HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n" % (method, target)
        return elsewhere.pass_on(word, request.peer, HTTP, (asked,)).addCallback(_told)

    def _show(self, request: WebRequest, found: dict[str, Any]) -> Answer:
        function = unescaped(found["function"].encode("utf-8"))
        acts = {CANCEL} if found.get("ended") is None else {FORGET}
        acts |= {REQUEUE} if found["state"] in ("dead", "waiting") else set()
        return self._pages.show(
            request,
            "farjob.html",
            title=f"Job {found['handle']}",
            job=found,
            path=job_path(found["handle"].encode("utf-8")),
            facts=[(label, found.get(name)) for name, label in LABELS.items()],
            moments=[(label, found.get(name)) for name, label in MOMENTS.items()],
            buttons=[
                (act, label, WARNINGS.get(act))
                for act, label in BUTTONS.items()
                if act in acts and may(request.peer, act, function)
            ],
            place="/jobs",
        )


def _told(parts: list[bytes] | None) -> Any:
    """
    What an answer tells; C{None} for none.

    @raise Problem: it says that it cannot be done.
    """
    if parts is None:
        return None
    answer = answer_of(parts[0])
    found = json.loads(answer.body) if answer.body else {}
    if answer.status >= 400:
        raise Problem(answer.status, found["type"].rpartition(":")[2], found["detail"])
    return found
