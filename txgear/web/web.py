"""
The web: what looks at each request, hands it to its endpoint, and answers.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from secrets import token_bytes
from types import ModuleType
from typing import Any, Final, Protocol, TypeVar

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_etags

from txgear.errors import AccessDenied
from txgear.server.figurehistory import FigureHistory
from txgear.server.jobserver import JobServer
from txgear.web.answers import JSON, Answer, Problem
from txgear.web.api.finding import as_sent
from txgear.web.channel import WebChannel, WebFactory
from txgear.web.elsewhere import passed_on
from txgear.web.loading import when_loaded
from txgear.web.origins import SAFE, Authority, Origins, authority
from txgear.web.payloads import Payloads
from txgear.web.reading import check_form, check_json
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.routing import Router
from txgear.web.sessions import BrowserSessions

PREFLIGHT_SECONDS: Final = 600
"""Seconds for which a browser need not ask again what a page of another site may do."""
MOST_ACCEPT: Final = 1000
"""Bytes of C{Accept} or C{If-None-Match} that are looked at; a longer one is as good as none."""
FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
"""The types that forms of any web site can send."""


OWN: Final = Origins(())
"""The pages of this server, and of no other site."""


class Nothing(Struct, frozen=True):
    """The query of an operation that takes none: whatever is in it is a mistake."""


@dataclass(frozen=True)
class WebOptions:
    """
    What the operator has said of the web.

    @ivar hosts: by which names it may be asked, besides its own addresses.
    @ivar origins: web sites whose pages may ask it: what L{txgear.web.origins.named_origin} returned.
    """

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


class Part(Protocol):
    """What lives as long as the server."""

    def start(self) -> None:
        """The server has started."""

    def stop(self) -> None:
        """The server ends."""


P = TypeVar("P", bound=Part)


class Web:
    """
    The web of one server.

    A part is a module with C{routes(web)}, which returns its L{Route}s.

    @ivar server: the job server.
    @ivar router: all routes.
    @ivar prepared: whether parts are to do ahead what takes long.
    @ivar everywhere: whether a port is open for others than this machine. Then nobody is served as long as
        there are no access rules. Who opens the ports sets it.
    @ivar payloads: what of workloads and results is on its way to clients.
    @ivar history: what was, as figures.
    @ivar sessions: those of browsers.
    @ivar problem_page: makes the page that tells a browser of a problem; C{None} for whoever wants none.
    @ivar lead: where who is refused is led instead; C{None} for nowhere.
    """

    log = Logger()

    def __init__(
        self, server: JobServer, options: WebOptions, parts: Iterable[ModuleType], prepared: bool = True
    ) -> None:
        """
        @param prepared: whether what takes long is done ahead, so that nobody waits for it.
        """
        self.server = server
        self.options = options
        self.prepared = prepared
        self.everywhere = False
        self.payloads = Payloads()
        self._parts: list[Part] = []
        self.history = self.own(FigureHistory(server))
        self.sessions = BrowserSessions(server)
        self.problem_page: Callable[[WebRequest, Problem], Answer | None] = lambda request, problem: None
        self.lead: Callable[[WebRequest, AccessDenied], Answer | None] = lambda request, error: None
        self._origins = Origins(options.origins)
        self._told_of_rules = False
        # Of this run of the server, so that ids are not met again after its restart.
        self._run = b32encode(token_bytes(5)).decode("ascii").lower()
        self._requests = 0
        self._key = token_bytes(16)
        # Who drains a server wants to see what is left of it, and the port for jobs is closed by then.
        self._for_switched = WebFactory(self, server, ("localhost",), stays=True)
        self.router = Router(route for part in parts for route in part.routes(self))

    def own(self, part: P) -> P:
        """
        Have something started and stopped with the server; for parts, within C{routes}.

        @return: the same.
        """
        self._parts.append(part)
        return part

    def factory(self, names: Iterable[str] = ()) -> WebFactory:
        """
        What is to listen on a port.

        @param names: the port's own names.
        """
        return WebFactory(self, self.server, (*names, *self.options.hosts))

    def switched(self) -> WebChannel:
        """What has a connection that spoke Gearman's protocol before; who asks there says C{localhost}."""
        return self._for_switched.buildProtocol(None)

    def start(self) -> None:
        """Start what lives as long as the server."""
        for part in self._parts:
            part.start()

    def stop(self) -> None:
        """Stop it."""
        for part in reversed(self._parts):
            part.stop()

    # Requests

    def next_id(self) -> str:
        """Part of L{txgear.web.request.Site}."""
        self._requests += 1
        return f"{self._run}-{self._requests}"

    def admit(self, request: WebRequest) -> None:
        """Part of L{txgear.web.request.Site}."""
        method = request.method.decode("ascii", "replace")
        asked = self._split(request)
        found = self.router.find(request.target.decode("ascii", "replace"))
        route = None if found is None else found.routes.get("GET" if method == "HEAD" else method)
        request.route = route
        free = route is not None and route.free
        page = found is not None and any(each.page for each in found.routes.values())
        request.takes_session = page or method in ("GET", "HEAD")
        channel: WebChannel = request.channel  # type: ignore[assignment]
        if not free:
            if asked is not None and not channel.hosts.has(asked.host, channel.local_address):
                raise Problem(
                    421,
                    "misdirected_request",
                    "This server is not known by that Host; --web-host NAME makes it known",
                )
            self._check_origin(request, method, asked, page)
            if method == "OPTIONS" and not page and self._is_preflight(request):
                return
            self._check_open()
            request.login()
        if found is None:
            raise Problem(404, "not_found", "There is nothing at this path")
        if method == "OPTIONS" and "OPTIONS" not in found.routes:
            request.route = Route(
                "OPTIONS", "", lambda request: Answer(None, 204, {"Allow": found.allowed()})
            )
            return
        request.route = found.route(method)
        request.arguments = found.arguments
        operation = request.route.operation
        if request.route.page and method == "POST":
            check_form(request.header("Content-Type"))
            return
        if operation is not None and operation.query is None and request.query_text:
            request.query(Nothing)
        self._check_accept(request, request.route)
        self._check_body(request, operation)

    def _split(self, request: WebRequest) -> Authority | None:
        """
        Set the path and the query.

        @return: what is asked; C{None} where nothing says it, as in HTTP/1.0.
        @raise Problem: it says it twice, or not at all, or in a way that makes no sense.
        """
        hosts = request.requestHeaders.getRawHeaders(b"Host", ())
        if len(hosts) > 1 or (not hosts and request.clientproto != b"HTTP/1.0"):
            raise Problem(400, "bad_host", "One Host header is wanted")
        target = request.uri
        named = hosts[0] if hosts else None
        if b"://" in target and not target.startswith(b"/"):
            # As proxies are asked. What stands here counts, not the header.
            named, _, rest = target.partition(b"://")[2].partition(b"/")
            target = b"/" + rest
        request.target, _, request.query_text = target.partition(b"?")
        if not request.target.startswith(b"/") and target != b"*":
            raise Problem(400, "bad_target", "The target of a request begins with a slash")
        if named is None:
            return None
        found = authority(named.decode("ascii", "replace"))
        if found is None:
            raise Problem(400, "bad_host", "The Host makes no sense")
        return found

    def _check_origin(self, request: WebRequest, method: str, asked: Authority | None, page: bool) -> None:
        """
        @param page: whether it is for people, and not for pages of other sites, whichever these are.
        @raise Problem: a page of another site wants to change something.
        """
        origin = request.header("Origin") or None
        if self._origins.any:
            request.cors = ((b"Vary", b"Origin"),)
        if origin is not None and not page and self._origins.has(origin):
            request.cors += (
                (b"Access-Control-Allow-Origin", origin.encode("ascii")),
                (b"Access-Control-Expose-Headers", b"*"),
            )
        if method in SAFE:
            return
        site = request.header("Sec-Fetch-Site") or None
        origins = OWN if page else self._origins
        if not origins.may_change(origin, site, asked, request.isSecure()):
            raise Problem(
                403,
                "other_origin",
                "A page of another web site wants to change something here; --web-origin allows that",
            )

    def _is_preflight(self, request: WebRequest) -> bool:
        """
        Whether a browser asks what a page of another site may do, one that may. It sends no token with that.
        """
        if not request.header("Access-Control-Request-Method") or not self._origins.has(
            request.header("Origin") or None
        ):
            return False
        wanted = request.header("Access-Control-Request-Headers")
        headers = {
            "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        if wanted:
            headers["Access-Control-Allow-Headers"] = wanted
        request.route = Route("OPTIONS", "", lambda request: Answer(None, 204, headers))
        return True

    def _check_open(self) -> None:
        """
        @raise Problem: the port is open for others, and there are no rules of who may do what any more.
        """
        if not self.everywhere or self.server.guard.access.rules:
            self._told_of_rules = False
            return
        if not self._told_of_rules:
            self._told_of_rules = True
            self.log.error(
                "the web is open for other machines, and there are no access rules: all its requests are"
                " refused until there are"
            )
        raise Problem(403, "no_access_rules", "The server has no access rules, and serves nobody without")

    def _check_accept(self, request: WebRequest, route: Route) -> None:
        """
        @raise Problem: the answer has no type that the request takes.
        """
        types = _types(route)
        accept = request.listed("Accept")
        if not types or not accept or len(accept) > MOST_ACCEPT:
            return
        if parse_accept_header(accept, MIMEAccept).best_match(types) is None:
            raise Problem(406, "not_acceptable", f"The answer has the type {' or '.join(types)}")

    def _check_body(self, request: WebRequest, operation: Operation | None) -> None:
        """
        @raise Problem: there is a body that is not wanted, or not of the type that is.
        """
        kind = request.header("Content-Type")
        if request.requestHeaders.hasHeader(b"Content-Encoding"):
            raise Problem(415, "unsupported_content_encoding", "The body is to have no Content-Encoding")
        if operation is not None and operation.raw_body:
            return
        if operation is not None and operation.body is not None:
            check_json(kind)
        elif request.has_body:
            raise Problem(400, "unexpected_body", "This request takes no body")
        elif kind.partition(";")[0].strip().lower() in FORMS:
            raise Problem(415, "unsupported_media_type", "A form of a web page is not taken here")

    def carry_out(self, request: WebRequest) -> None:
        """Part of L{txgear.web.request.Site}."""
        assert request.route is not None
        handle = request.arguments.get("handle")
        endpoint = partial(request.route.endpoint, request, **request.arguments)
        try:
            result = endpoint() if handle is None else self._where_it_is(request, as_sent(handle), endpoint)
        except Exception:
            request.fail(Failure())
        else:
            if isinstance(result, Deferred):
                request.wait_for(result)
            else:
                request.answer(result)
        self.server.end_turn()

    def _where_it_is(self, request: WebRequest, handle: bytes, endpoint: Callable[[], Any]) -> Any:
        """Carry out a request for a job where that is. Pages are of jobs of this server."""
        assert request.route is not None
        here, elsewhere = partial(when_loaded, request, (handle,), endpoint), self.server.elsewhere
        if elsewhere is not None and not request.route.page and elsewhere.may_have(handle):
            return passed_on(elsewhere, request, handle, here)
        return here()

    # ETags

    def tag_of(self, body: bytes) -> str:
        """The C{ETag} of a body. With a key, as it could tell of what one may not see."""
        return f'"{blake2b(body, digest_size=12, key=self._key).hexdigest()}"'

    def has_tag(self, request: WebRequest, tag: str) -> bool:
        """Whether the client has this already."""
        known = request.listed("If-None-Match")
        return bool(known) and len(known) <= MOST_ACCEPT and parse_etags(known).contains_weak(tag.strip('"'))


def _types(route: Route) -> tuple[str, ...]:
    if route.types is not None or route.operation is None:
        return route.types or ()
    operation = route.operation
    if bytes in operation.answers.values():
        return ()
    return (JSON, *operation.content_types.values())
