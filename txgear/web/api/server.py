"""
The server itself: what it is, what is set, who is known, and what was recorded last.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from txgear.broker.operators import inspection
from txgear.broker.operators.search import DEFAULT_ROWS
from txgear.broker.rights import AUDIT, SEE, SETTINGS, check, may
from txgear.errors import ServerError
from txgear.security.audit import Line, Wanted
from txgear.server import overview, setupview
from txgear.web.answers import Answer, Problem
from txgear.web.api.finding import as_sent
from txgear.web.api.models import ROOT, After, Limit, Maxqueue, Moment, Rate, Settings, Share, Word
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web


class Store(Struct, frozen=True, kw_only=True):
    """
    Where background jobs are kept.

    @ivar name: what it calls itself.
    @ivar available: whether jobs can be kept now.
    @ivar why: why they cannot; C{null} if they can.
    """

    name: str
    available: bool
    why: str | None


class Server(Struct, frozen=True, kw_only=True):
    """
    The server.

    @ivar version: its version.
    @ivar started: when it started.
    @ivar uptime: seconds since then.
    @ivar time: what its clock says now.
    @ivar prefix: what its job handles start with.
    @ivar store: where it keeps background jobs.
    @ivar draining: whether it is about to end, and takes no new jobs.
    @ivar connections: how many there are.
    @ivar functions: how many it knows.
    @ivar jobs: how many have not ended.
    @ivar ended: how many have ended and are still known.
    """

    version: str
    started: Moment
    uptime: float
    time: Moment
    prefix: str
    store: Store
    draining: bool
    connections: int
    functions: int
    jobs: int
    ended: int


class SetOption(Struct, frozen=True, kw_only=True):
    """
    An option of the command line.

    @ivar name: its name.
    @ivar value: what is in force, in words.
    @ivar about: what it is for.
    @ivar source: where that comes from;
    @ivar place: the option, the variable or the file; empty for a default.
    """

    name: str
    value: str
    about: str
    source: Literal["default", "command line", "environment", "file"]
    place: str


class OperatorsFile(Struct, frozen=True, kw_only=True):
    """
    The file of policies, schedules, identities and access rules.

    @ivar path: its path.
    @ivar read: when what is in force was read.
    @ivar by: what asked for that: C{start}, C{signal}, C{operator} (over a connection) or C{program}.
    @ivar summary: what is in it.
    @ivar warnings: what is valid in it, and surely not meant.
    @ivar error: why it could not be read again later; C{null} where it could, or was not tried.
    @ivar error_at: when that was.
    """

    path: str
    read: Moment | None
    by: str
    summary: str
    warnings: list[str]
    error: str | None
    error_at: Moment | None


class OpenPort(Struct, frozen=True, kw_only=True):
    """
    A port that is open.

    @ivar speaks: what is spoken there.
    @ivar place: where it is.
    @ivar tls: whether it is over TLS.
    """

    speaks: str
    place: str
    tls: bool


class Certificate(Struct, frozen=True, kw_only=True):
    """
    The certificate of the ports with TLS.

    @ivar names: whose it is.
    @ivar path: its file.
    @ivar until: when it expires.
    @ivar days: how many whole days that is from now on; below 0 where it has expired.
    @ivar clients: whether clients are asked for one (C{ask}) or need one (C{require}); C{null} for neither.
    """

    names: str
    path: str
    until: Moment | None
    days: int
    clients: str | None


class ServerSettings(Struct, frozen=True, kw_only=True):
    """
    What is set for the whole server.

    @ivar settings: by name.
    @ivar options: those of the command line, in words, each with its source.
    @ivar config: the operator's file; C{null} where there is none.
    @ivar ports: those that are open.
    @ivar certificate: that of the ports with TLS; C{null} where there are none.
    @ivar versions: what the server is made of.
    """

    settings: dict[str, str | int | float | bool | None]
    options: list[SetOption]
    config: OperatorsFile | None
    ports: list[OpenPort]
    certificate: Certificate | None
    versions: dict[str, str]


class PolicyRule(Struct, frozen=True, kw_only=True):
    """
    A rule of the operator's file.

    @ivar pattern: for which functions.
    @ivar settings: what holds for them.
    """

    pattern: str
    settings: Settings


class Policies(Struct, frozen=True, kw_only=True):
    """
    The rules in force.

    @ivar policies: in their order: the first whose pattern matches is the one that counts.
    """

    policies: list[PolicyRule]


class FunctionPolicy(Struct, frozen=True, kw_only=True):
    """
    What holds for a function, whether or not there are jobs of it.

    @ivar function: its name.
    @ivar pattern: the pattern of its rule; C{null} for none.
    @ivar settings: the settings of that.
    @ivar paused: whether an operator has paused it.
    @ivar maxqueue: the bounds that an operator has set; C{null} for none.
    @ivar room: how many of its jobs may start now; C{null} for any number.
    @ivar share: what this server may do of what is allowed to all of a cluster; C{null} where nothing is
        divided.
    @ivar jobs: how many have not ended.
    @ivar running: how many of these are at workers.
    @ivar bytes: of their workloads.
    @ivar kept: how many have ended and are still known.
    @ivar workers: connections that can do it.
    """

    function: str
    pattern: str | None
    settings: Settings
    paused: bool
    maxqueue: Maxqueue | None
    room: int | None
    share: Share | None
    jobs: int
    running: int
    bytes: int
    kept: int
    workers: int


class Quota(Struct, frozen=True, kw_only=True):
    """
    What an identity has.

    @ivar used: how much.
    @ivar bound: how much it may have; C{null} for no bound.
    """

    used: int
    bound: int | None


class Identity(Struct, frozen=True, kw_only=True):
    """
    Who is known, or has something here. Of nobody (C{nobody}) it is only known what was refused.

    @ivar tenant: the identity's name.
    @ivar connections: its connections.
    @ivar queued: its jobs that have not ended.
    @ivar running: those of them that are at workers.
    @ivar bytes: of their workloads.
    @ivar submits: how fast it may submit jobs; C{null} for no bound.
    @ivar refused: how often it was refused something since the server started.
    """

    tenant: str
    connections: Quota | None
    queued: Quota | None
    running: Quota | None
    bytes: Quota | None
    submits: Rate | None
    refused: int


class Identities(Struct, frozen=True, kw_only=True):
    """
    Who is known.

    @ivar identities: by their names.
    """

    identities: list[Identity]


class AuditPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Which acts are wanted.

    @ivar after: the C{next} of the page before.
    @ivar limit: how many at the most.
    @ivar act: of what kind.
    @ivar outcome: C{done} or C{refused}.
    @ivar identity: whose; C{nobody} for those of nobody.
    @ivar text: what stands in one of their values, such as a part of a function's name or a handle.
    """

    after: After = 0
    limit: Limit = DEFAULT_ROWS
    act: Word = ""
    outcome: Word = ""
    identity: Word = ""
    text: Word = ""

    @property
    def wanted(self) -> Wanted:
        """The same for L{Audit.last<txgear.security.audit.Audit.last>}."""
        return Wanted(self.act, self.outcome, self.identity, self.text)


class Act(Struct, frozen=True, kw_only=True):
    """
    Something that was done, or refused.

    @ivar number: counts from the start of the server.
    @ivar time: when.
    @ivar act: what: an act that rules can allow, C{login} or C{unidentified}.
    @ivar outcome: C{done} or C{refused}.
    @ivar identity: who; C{null} for nobody.
    @ivar address: where that came from; C{null} if it came by no connection.
    @ivar descriptor: the number of the connection.
    @ivar client_id: what that calls itself.
    @ivar about: what else there is to know of it.
    """

    number: int
    time: Moment
    act: str
    outcome: str
    identity: str | None
    address: str | None
    descriptor: int | None
    client_id: str | None
    about: dict[str, str | int | None]


class Acts(Struct, frozen=True, kw_only=True):
    """
    A page of acts.

    @ivar acts: the newest first.
    @ivar next: what is C{after} of the next page; C{null} if this is the last.
    """

    acts: list[Act]
    next: int | None


_OF_ACTS = tuple(name for name in Act.__struct_fields__ if name != "about")


def _act(line: Line) -> dict[str, Any]:
    about = {name: value for name, value in line.items() if name not in _OF_ACTS}
    return {**{name: line.get(name) for name in _OF_ACTS}, "about": about}


class ServerRoutes:
    """What is answered."""

    def __init__(self, web: Web) -> None:
        self._server = web.server

    def server(self, request: WebRequest) -> Answer:
        """The server itself."""
        check(request.peer, SETTINGS)
        return Answer(overview.server(self._server))

    def settings(self, request: WebRequest) -> Answer:
        """What is set for all of it."""
        check(request.peer, SETTINGS)
        server = self._server
        return Answer(
            {
                "settings": overview.settings(server),
                "options": setupview.options(server),
                "config": setupview.config(server),
                "ports": setupview.ports(server),
                "certificate": setupview.certificate(server),
                "versions": setupview.versions(),
            }
        )

    def policies(self, request: WebRequest) -> Answer:
        """The rules of policies."""
        check(request.peer, SETTINGS)
        return Answer({"policies": inspection.policies(self._server.broker)})

    def policy(self, request: WebRequest, name: str) -> Answer:
        """What holds for one function."""
        peer, broker, word = request.peer, self._server.broker, as_sent(name)
        check(peer, SETTINGS)
        names = [each for each in inspection.readings(word) if may(peer, SEE, each)]
        try:
            function = inspection.function_name(broker, word, names)
        except ServerError as error:
            raise Problem(404, "unknown_function", "There is no such function") from error
        return Answer(inspection.policy(broker, peer, function, request.now))

    def identities(self, request: WebRequest) -> Answer:
        """Who is known."""
        return Answer({"identities": overview.identities(self._server, request.peer)})

    def audit(self, request: WebRequest) -> Answer:
        """What was recorded last."""
        page = request.query(AuditPage)
        check(request.peer, AUDIT)
        lines, following = self._server.audit.last(page.after, page.limit, page.wanted.meets)
        return Answer({"acts": [_act(line) for line in lines], "next": following})


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = ServerRoutes(web)
    return [
        Route("GET", f"{ROOT}/server", of.server, _SERVER),
        Route("GET", f"{ROOT}/settings", of.settings, _SETTINGS),
        Route("GET", f"{ROOT}/policies", of.policies, _POLICIES),
        Route("GET", f"{ROOT}/policies/<name>", of.policy, _POLICY),
        Route("GET", f"{ROOT}/identities", of.identities, _IDENTITIES),
        Route("GET", f"{ROOT}/audit", of.audit, _AUDIT),
    ]


_NEEDS = "Takes the right `settings`."

_SERVER = Operation(
    "get_server", "The server itself", "server", _NEEDS, answers={200: Server}, problems=(403,)
)
_SETTINGS = Operation(
    "get_settings",
    "What is set for the whole server",
    "server",
    f"Also what is known of its TLS. {_NEEDS}",
    answers={200: ServerSettings},
    problems=(403,),
)
_POLICIES = Operation(
    "list_policies",
    "The rules of policies in force",
    "policies",
    _NEEDS,
    answers={200: Policies},
    problems=(403,),
)
_POLICY = Operation(
    "get_policy",
    "What holds for a function",
    "policies",
    f"Whether or not there are jobs of it. {_NEEDS}",
    answers={200: FunctionPolicy},
    problems=(403, 404),
)
_IDENTITIES = Operation(
    "list_identities",
    "Who is known, or has something here",
    "server",
    "Takes the right `peers`; without it one sees oneself only.",
    answers={200: Identities},
)
_AUDIT = Operation(
    "list_audit",
    "What was recorded last",
    "server",
    "The newest first, in pages; the server remembers the last thousand, with or without `--audit-log`."
    " Takes the right `audit`.",
    query=AuditPage,
    answers={200: Acts},
    problems=(403,),
)
