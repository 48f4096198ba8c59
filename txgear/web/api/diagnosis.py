"""
Why nothing happens: of one function, and over all of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, Final, Literal

from msgspec import Struct
from twisted.internet.defer import Deferred, DeferredSemaphore

from txgear.broker.diagnosis.diagnosis import diagnose, known
from txgear.broker.diagnosis.findings import Finding as Found
from txgear.broker.operators import inspection
from txgear.protocol.textlines import text
from txgear.server import clusterfindings
from txgear.web.answers import Answer, Problem
from txgear.web.api.finding import as_sent, function_path
from txgear.web.api.models import ROOT
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.steps import in_steps
from txgear.web.web import Web

SURVEYS_AT_ONCE: Final = 2
"""Surveys over all functions that are made at the same time; others wait for their turn."""
DEAR: Final = 0.005
"""Seconds of work from which a survey is told again for a while: of some hundred functions with jobs."""
SPARE: Final = 200
"""
For so many times as long as it took: so who asks each second, or many who ask together, take half a
hundredth of a processor.
"""
MOST_SECONDS: Final = 5.0
"""Seconds for which it is told again at the most."""


class Finding(Struct, frozen=True, kw_only=True):
    """
    One thing that was found. The page "Why nothing happens" says of each code what to do.

    @ivar code: what it is, for programs. More may be added in this version of the API.
    @ivar severity: C{critical}: nothing goes on until somebody does something; C{warning}: somebody should
        look at it; C{info}: it goes on by itself, or as somebody has decided; C{ok}: all is well.
    @ivar text: the same in a sentence, with numbers, names and times. These are UTC.
    @ivar facts: what stands in the sentence, as values. Spans are in seconds.
    """

    code: str
    severity: Literal["critical", "warning", "info", "ok"]
    text: str
    facts: dict[str, Any]


class Diagnosis(Struct, frozen=True, kw_only=True):
    """
    What there is to say of a function.

    @ivar function: its name.
    @ivar findings: at least one, what needs somebody first.
    """

    function: str
    findings: list[Finding]


class Trouble(Struct, frozen=True, kw_only=True):
    """
    A function with which something is wrong.

    @ivar function: its name.
    @ivar findings: what is critical, or a warning.
    @ivar diagnosis: the path of all that there is to say of it.
    """

    function: str
    findings: list[Finding]
    diagnosis: str


class Troubles(Struct, frozen=True, kw_only=True):
    """
    Where something is wrong.

    @ivar server: what is wrong with the server as a whole.
    @ivar functions: with which functions, the worst first.
    @ivar complete: whether all were looked at, and all are here with which something is wrong.
    """

    server: list[Finding]
    functions: list[Trouble]
    complete: bool


def _plain(findings: list[Found]) -> list[dict[str, Any]]:
    return [finding._asdict() for finding in findings]


class DiagnosisRoutes:
    """What is answered."""

    def __init__(self, web: Web) -> None:
        self._server = web.server
        self._slots = DeferredSemaphore(SURVEYS_AT_ONCE)
        # By who may see the same: until when it is told, and what.
        self._told: dict[Hashable, tuple[float, Answer]] = {}

    def function(self, request: WebRequest, name: str) -> Answer:
        """One function."""
        server, peer = self._server, request.peer
        function = known(server.broker, peer, inspection.readings(as_sent(name)))
        if function is None:
            raise Problem(404, "unknown_function", "There is no such function")
        found = diagnose(server.broker, peer, function, request.now, server.trend(function.name))
        return Answer({"function": text(function.name), "findings": _plain(found)})

    def all(self, request: WebRequest) -> Answer | Deferred[Answer | None]:
        """All of them."""
        server, peer = self._server, request.peer
        who = peer.tenant, peer.rights, server.guard.access
        until, known = self._told.get(who, (0.0, None))
        if known is not None and request.now < until:
            return known
        survey, seconds, cost = clusterfindings.survey(server, peer), server.seconds, 0.0

        def steps() -> Iterator[None]:
            nonlocal cost
            begun = seconds()
            for _ in survey.steps():
                cost += seconds() - begun
                yield
                begun = seconds()
            cost += seconds() - begun

        def made() -> Answer:
            functions = [
                {
                    "function": text(function.name),
                    "findings": _plain(findings),
                    "diagnosis": f"{function_path(function.name)}/diagnosis",
                }
                for function, findings in survey.functions
            ]
            found = {
                "server": _plain(survey.server),
                "functions": functions,
                "complete": survey.complete,
            }
            answer, now = Answer(found), seconds()
            if cost >= DEAR:
                self._told = {key: told for key, told in self._told.items() if told[0] > now}
                self._told[who] = now + min(cost * SPARE, MOST_SECONDS), answer
            return answer

        answered: Deferred[Answer | None] = self._slots.run(in_steps, server.cooperator, steps(), made)
        return answered


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = DiagnosisRoutes(web)
    return [
        Route("GET", f"{ROOT}/functions/<name>/diagnosis", of.function, _FUNCTION),
        Route("GET", f"{ROOT}/diagnosis", of.all, _ALL),
    ]


_FUNCTION = Operation(
    "get_function_diagnosis",
    "Why nothing happens with a function",
    "diagnosis",
    "What holds its jobs back, and what its workers do. Takes the right `see`; workers and identities are"
    " named to those who have `peers`.",
    answers={200: Diagnosis},
    problems=(404,),
)
_ALL = Operation(
    "get_diagnosis",
    "Where something is wrong",
    "diagnosis",
    "Over all functions that one may see: what is critical, or a warning. With many functions it may be as"
    " old as five seconds.",
    answers={200: Troubles},
    links={"get_function_diagnosis": {"name": "$response.body#/functions/0/function"}},
)
