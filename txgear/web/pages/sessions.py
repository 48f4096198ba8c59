"""
Signing in, and out: where the rules ask who somebody is, a browser shows a token once, and then has a
session.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from msgspec import Struct

from txgear.errors import AccessDenied
from txgear.security.audit import LOGIN, LOGOUT
from txgear.server.guard import WrongToken
from txgear.web.acts import record
from txgear.web.answers import Answer, Problem
from txgear.web.events.sse import EVENT_STREAM, event
from txgear.web.pages.asked import own_path, takes_events, takes_html
from txgear.web.pages.forms import Form
from txgear.web.pages.pages import SIGN_IN, Pages
from txgear.web.request import WebRequest
from txgear.web.routes import Route

SIGN_OUT: Final = "/sign-out"


class SignInQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    @ivar next: the path of the page that one wanted to see.
    @ivar out: whether one has just signed out.
    """

    next: str = "/"
    out: bool = False


class SignIn:
    """
    The page, and who is led to it.
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._guard = pages.server.guard
        self._sessions = pages.web.sessions
        pages.web.lead = self.lead
        pages.web.problem_page = self.problem

    def lead(self, request: WebRequest, error: AccessDenied) -> Answer | None:
        """
        Where a browser is led that is refused something as nobody; C{None} where signing in does not help.
        """
        to = self._pages.sign_in_path(request)
        if to is None or request.session is not None or isinstance(error, WrongToken):
            return None
        if request.method not in (b"GET", b"HEAD"):
            return None
        if request.route is not None and request.route.page and takes_events(request):
            # A page that was kept open for longer than its session: loaded again, it leads on.
            return Answer(event("reload", {}), content_type=EVENT_STREAM)
        if not takes_html(request):
            return None
        again = self._pages.once_more(request)
        if again is not None:
            return again
        return Answer(None, 303, {"Location": to, "Vary": "Accept, Cookie"})

    def problem(self, request: WebRequest, problem: Problem) -> Answer | None:
        """As L{Pages.problem}; where signing in was the problem, one can try again on the same page."""
        route = request.route
        if route is None or route.rule != SIGN_IN or not request.is_let_in:
            return self._pages.problem(request, problem)
        if not takes_html(request):
            return None
        try:
            to = own_path(Form(request.raw_body).get("next"))
        except Problem:
            to = "/"
        answer = self._form(request, to, problem)
        return replace(answer, headers={**answer.headers, **problem.headers})

    def _form(
        self, request: WebRequest, to: str, problem: Problem | None = None, note: str | None = None
    ) -> Answer:
        return self._pages.show(
            request,
            "sign_in.html",
            status=200 if problem is None else problem.status,
            possible=self._sessions.possible,
            problem=problem,
            note=note,
            next=to,
            sign_in=None,
        )

    # Endpoints

    def show(self, request: WebRequest) -> Answer:
        """The page."""
        query = request.query(SignInQuery)
        to = own_path(query.next)
        if request.session is not None or not self._guard.access.rules:
            return Answer(None, 303, {"Location": to, "Vary": "Cookie"})
        # No note in a cookie: any page of this browser might take it.
        return self._form(request, to, note="You are signed out" if query.out else None)

    def sign_in(self, request: WebRequest) -> Answer:
        """
        Somebody shows a token.

        @raise AccessDenied: nobody has it, or its identity may not use this.
        """
        form = Form(request.raw_body)
        self._pages.forms.check(request, form)
        to = own_path(form.get("next"))
        token = self._guard.known(form.get("token").strip().encode("utf-8", "replace"))
        request.become(token)
        cookies = self._sessions.begin(request, token)
        record(request, LOGIN, token=token.id)
        return Answer(None, 303, {"Location": to}, cookies=cookies)

    def sign_out(self, request: WebRequest) -> Answer:
        """The session ends, wherever it is used."""
        cookies: tuple[str, ...] = ()
        if request.session is not None:
            self._pages.forms.check(request, Form(request.raw_body))
            record(request, LOGOUT, token=request.session.token.id)
            cookies = self._sessions.end(request)
        return Answer(None, 303, {"Location": f"{SIGN_IN}?out=true"}, cookies=cookies)


def routes(pages: Pages) -> list[Route]:
    """The routes of this part."""
    of = SignIn(pages)
    return [
        Route("GET", SIGN_IN, of.show, types=(), page=True, anybody=True),
        Route("POST", SIGN_IN, of.sign_in, types=(), page=True, anybody=True),
        Route("POST", SIGN_OUT, of.sign_out, types=(), page=True, anybody=True),
    ]
