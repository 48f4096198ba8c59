"""
What all pages of the dashboard share: how they are made, kept open, and act.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from markupsafe import Markup
from twisted.internet.defer import Deferred

from txgear._version import __version__
from txgear.broker.model import Peer
from txgear.broker.operators.inspection import moment
from txgear.broker.rights import AUDIT, HTTP, METRICS, SETTINGS, may
from txgear.server.guard import UNKNOWN
from txgear.web.answers import Answer, Problem
from txgear.web.cookies import cookie, set_cookie
from txgear.web.pages.asked import path_of, takes_events, takes_html
from txgear.web.pages.forms import TOKEN, VISITOR, Form, FormTokens
from txgear.web.pages.live import Live
from txgear.web.pages.problemwords import words
from txgear.web.pages.rendering import Preparation, templates
from txgear.web.pages.view import View
from txgear.web.routes import Route
from txgear.web.sessions import is_from_elsewhere, is_navigation
from txgear.web.steps import at_once_or_in_steps

if TYPE_CHECKING:
    from txgear.web.request import WebRequest
    from txgear.web.web import Web

HTML: Final = "text/html; charset=utf-8"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types txgear"
)
"""What a page may load and do: only what is of this server, and nothing that stands in the page itself."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    # With `no-referrer`, browsers send forms with `Origin: null`, which is no page of this server.
    "Referrer-Policy": "same-origin",
    "Vary": "Accept, Cookie",
}
"""What browsers are told of each page."""
SIGN_IN: Final = "/sign-in"
NOTE: Final = "txgear_note"
"""The cookie that tells the next page what was done."""
LONGEST_NOTE: Final = 1000
"""Characters of that."""


class Entry(NamedTuple):
    """
    An entry of the navigation.

    @ivar path: where it leads.
    @ivar label: what it is called.
    @ivar key: the letter which leads there after a C{g}.
    @ivar act: which act one must be allowed to see it; empty for none.
    @ivar is_clusters: whether only a server of a cluster has it.
    """

    path: str
    label: str
    key: str
    act: str = ""
    is_clusters: bool = False


NAVIGATION: Final = (
    Entry("/", "Overview", "o"),
    Entry("/jobs", "Jobs", "j"),
    Entry("/dead", "Dead set", "d"),
    Entry("/workers", "Workers", "w"),
    Entry("/tasks", "Tasks", "t"),
    Entry("/schedules", "Schedules", "c", SETTINGS),
    Entry("/store", "Store", "s", METRICS),
    Entry("/cluster", "Cluster", "l", SETTINGS, is_clusters=True),
    Entry("/server", "Server", "v", METRICS),
    Entry("/settings", "Settings", "e", SETTINGS),
    Entry("/audit", "Audit", "a", AUDIT),
)


class Done(NamedTuple):
    """
    What an act of a page has come to.

    @ivar text: a sentence for whoever did it.
    @ivar to: the path of the page that comes next.
    """

    text: str
    to: str


Make = Callable[..., View]
Act = Callable[..., "Done | Answer | Deferred[Any]"]


class Pages:
    """
    All of them.

    @ivar static: what they load beside themselves.
    @ivar templates: what makes them, and
    @ivar fragment: a part of one; see L{Templates.fragment<txgear.web.pages.rendering.Templates.fragment>}.
    @ivar forms: the tokens of their forms.
    @ivar live: those that are kept open.
    """

    def __init__(self, web: Web) -> None:
        self.web = web
        self.server = web.server
        self.templates = templates()
        self.static = self.templates.static
        self.fragment = self.templates.fragment
        self.forms = FormTokens(web.sessions.sign)
        self.live = Live(web.server)
        web.own(Preparation(web.server.clock))
        web.problem_page = self.problem

    # Making

    def _render(self, request: WebRequest, template: str, status: int = 200, **values: Any) -> Answer:
        # What everybody may see, by whatever name the server is asked: nothing of it, and no cookie.
        frame: dict[str, Any] = {
            "version": "",
            "run": "",
            "time": moment(self.server.wall_clock()),
            "navigation": (),
            "identity": None,
            "signed_in": False,
            "sign_in": None,
            "as_another": None,
            "note": None,
        }
        cookies: list[str] = []
        if request.is_let_in:
            frame.update(self._frame(request, cookies))
        html = self.templates.render(template, {**frame, **values})
        return Answer(html.encode("utf-8", "replace"), status, HEADERS, HTML, tuple(cookies))

    def _frame(self, request: WebRequest, cookies: list[str]) -> dict[str, Any]:
        """
        What stands around a page.

        @param cookies: to these are added that it sets.
        """
        visitor, is_new = self.forms.visitor(request)
        if is_new and request.session is None:
            cookies.append(set_cookie(request, VISITOR, visitor))
        note = _read_note(cookie(request, NOTE))
        if note is not None:
            cookies.append(set_cookie(request, NOTE, "", 0))
        peer = request.peer
        return {
            "version": __version__ if may(peer, HTTP) else "",
            "run": self.live.run,
            "navigation": [entry for entry in NAVIGATION if self._shows(entry, peer)],
            "identity": None if peer.tenant is None else peer.tenant.name,
            "signed_in": request.session is not None,
            "sign_in": self.sign_in_path(request),
            "as_another": self._as_another(request),
            "form_field": Markup('<input type="hidden" name="{}" value="{}">').format(
                TOKEN, self.forms.token(request, visitor)
            ),
            "note": note,
        }

    def _shows(self, entry: Entry, peer: Peer) -> bool:
        return may(peer, entry.act or HTTP) and (self.server.cluster is not None or not entry.is_clusters)

    def sign_in_path(self, request: WebRequest) -> str | None:
        """Where who asks could say who that is; C{None} where that is known, or nobody wants to know."""
        return _sign_in(request) if self._is_unknown(request) else None

    def _as_another(self, request: WebRequest) -> str | None:
        """Where who is known by an address or a certificate could say to be somebody else."""
        is_known = request.peer.tenant is not None and request.session is None
        return _sign_in(request) if is_known and self.web.sessions.possible else None

    def _is_unknown(self, request: WebRequest) -> bool:
        return self.web.sessions.possible and self.server.guard.login_of(request.peer) is UNKNOWN

    def once_more(self, request: WebRequest) -> Answer | None:
        """
        A browser that follows a link of another web site does not send the cookie of its session.

        @return: a page that has it ask again, as a link of this one; C{None} where that is not so.
        """
        if not (is_from_elsewhere(request) and is_navigation(request) and self._is_unknown(request)):
            return None
        html = self.templates.render("once_more.html", {"to": path_of(request)})
        return Answer(html.encode("utf-8"), 200, HEADERS, HTML)

    def show(self, request: WebRequest, template: str, **values: Any) -> Answer:
        """A page that is not kept open, such as a question."""
        return self._render(request, template, live=False, **{"place": "", **values})

    def problem(self, request: WebRequest, problem: Problem) -> Answer | None:
        """
        What says that a request cannot be carried out.

        @return: C{None} for who asks for no page.
        """
        if not takes_html(request) or (request.route is not None and not request.route.page):
            return None
        answer = self.show(
            request,
            "problem.html",
            status=problem.status,
            problem=problem,
            words=words(problem),
            request_id=request.id,
        )
        return replace(answer, headers={**answer.headers, **problem.headers})

    # Endpoints

    def page(self, make: Make) -> Callable[..., Any]:
        """
        An endpoint that shows a page, and keeps it open.

        @param make: called with these pages, the peer as which it is seen, the request, of which it may use
            what was asked and nothing later, and the parts of the path by name.
        """

        def endpoint(request: WebRequest, **arguments: str) -> Any:
            if takes_events(request):
                self.live.join(request, lambda peer: make(self, peer, request, **arguments))
                return None
            again = self.once_more(request)
            if again is not None:
                return again
            view = make(self, request.peer, request, **arguments)
            cooperator = self.server.cooperator
            return at_once_or_in_steps(cooperator, view.look(), lambda: self._shown(request, view))

        return endpoint

    def _shown(self, request: WebRequest, view: View) -> Answer:
        return self._render(
            request,
            view.template,
            live=True,
            place=view.place,
            title=view.title,
            part=view.board.html,
            rows=view.board.rows,
            may=view.may,
            **view.context(),
        )

    def act(self, do: Act) -> Callable[..., Any]:
        """
        An endpoint that carries out what a form says.

        A browser is led to the page that comes next, which shows what was done. A script that takes JSON is
        told C{text} and C{to}.

        @param do: called with the request, the L{Form} and the parts of the path by name. Instead of what was
            done it may return what L{show} makes, such as a question. What it raises is answered as of any
            endpoint.
        """

        def endpoint(request: WebRequest, **arguments: str) -> Any:
            form = Form(request.raw_body)
            self.forms.check(request, form)
            done = do(request, form, **arguments)
            if isinstance(done, Deferred):
                return done.addCallback(lambda found: self.done(request, found))
            return self.done(request, done)

        return endpoint

    @staticmethod
    def done(request: WebRequest, done: Done | Answer) -> Answer:
        """The answer that says what an act has come to."""
        if isinstance(done, Answer):
            return done
        if not takes_html(request):
            return Answer({"text": done.text, "to": done.to})
        note = set_cookie(request, NOTE, _written_note(done.text))
        return Answer(None, 303, {"Location": done.to}, cookies=(note,))

    # Its life

    def routes(self) -> list[Route]:
        """What belongs to no page alone."""
        return self.static.routes()


def page(path: str, endpoint: Callable[..., Any]) -> Route:
    """The route of a page."""
    return Route("GET", path, endpoint, types=(), page=True)


def act(path: str, endpoint: Callable[..., Any]) -> Route:
    """The route of what a page's forms are sent to."""
    return Route("POST", path, endpoint, types=(), page=True)


def _sign_in(request: WebRequest) -> str:
    """The address of the sign-in that leads back to what is asked."""
    to = path_of(request) if request.method in (b"GET", b"HEAD") else "/"
    return f"{SIGN_IN}?next={quote(to, safe='/')}"


def _written_note(text: str) -> str:
    return urlsafe_b64encode(json.dumps(text[:LONGEST_NOTE]).encode("ascii")).decode("ascii")


def _read_note(value: str) -> str | None:
    """What L{_written_note} made; C{None} for what it did not make."""
    try:
        found = json.loads(urlsafe_b64decode(value))
    except (ValueError, RecursionError):
        return None
    return found[:LONGEST_NOTE] if isinstance(found, str) else None
