"""
What is wrong, in words: as the overview has it at its top, and C{/troubles}, where all of it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from txgear.broker.diagnosis.diagnosis import MOST_SURVEYED, MOST_TROUBLED
from txgear.broker.diagnosis.findings import SEVERITIES, Finding
from txgear.broker.model import Peer
from txgear.protocol.textlines import text
from txgear.web.pages.board import part_id
from txgear.web.pages.pages import Pages, page
from txgear.web.pages.survey import Surveys
from txgear.web.pages.view import NoQuery, View
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

PATH: Final = "/troubles"
MOST_LINES: Final = 3
"""What is said of each function."""
STEP: Final = 20
"""Functions that are told of in one step: a millisecond or two, where all are new."""


class TroubleView(View):
    """
    A page that says what is wrong, in the element C{wrong}. Its parts are made by the macros C{wrong},
    C{wrong_more} and C{all_well} of its template.

    @cvar most: functions that it tells of; of the others it says how many there are.
    """

    most: ClassVar[int]

    def __init__(self, surveys: Surveys, pages: Pages, peer: Peer, title: str) -> None:
        """
        @param surveys: what finds it.
        """
        super().__init__(pages, peer, title)
        self._surveys = surveys

    def look_at_troubles(self) -> Iterator[None]:
        """Say what is wrong, as it was found last."""
        survey = yield from self._surveys.current(self.peer)
        ids = []
        for finding in survey.server:
            part = f"wrong-{finding.code.replace('_', '-')}"
            self._finding(part, None, [finding])
            ids.append(part)
        for count, (function, findings) in enumerate(survey.functions[: self.most], 1):
            part = part_id("wrong", function.name)
            self._finding(part, text(function.name), findings)
            ids.append(part)
            if count % STEP == 0:
                yield
        more = max(len(survey.functions) - self.most, 0)
        if more or not survey.complete:
            facts = more, survey.complete
            bounds = {"looked_at": MOST_SURVEYED, "told": MOST_TROUBLED}
            values = {"more": more, "complete": survey.complete, "path": PATH, **bounds}
            self.put("wrong-more", facts, "wrong_more", lambda: values)
            ids.append("wrong-more")
        if not ids:
            self.put("all-well", (), "all_well", dict)
            ids.append("all-well")
        self.arrange("wrong", ids)

    def _finding(self, part: str, name: str | None, findings: list[Finding]) -> None:
        lines = tuple(finding.text for finding in findings[:MOST_LINES])
        severity = min((finding.severity for finding in findings), key=SEVERITIES.index)
        more = len(findings) - len(lines)
        values = {"name": name, "severity": severity, "lines": lines, "more": more}
        self.put(part, tuple(values.values()), "wrong", lambda: values)


class Troubles(TroubleView):
    """All that is found wrong: where the overview's list ends, this one goes on."""

    template = "troubles.html"
    place = "/"
    most = MOST_TROUBLED

    def __init__(self, surveys: Surveys, pages: Pages, peer: Peer, request: WebRequest) -> None:
        request.query(NoQuery)
        super().__init__(surveys, pages, peer, "What is wrong")

    def look(self) -> Iterator[None]:
        """Part of L{View}."""
        yield from self.look_at_troubles()


def route(pages: Pages, surveys: Surveys) -> Route:
    """Part of the dashboard, with what the overview finds as well."""
    return page(PATH, pages.page(partial(Troubles, surveys)))
