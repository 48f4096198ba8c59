"""
C{/audit}: who has done what, and who was refused what.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import asdict

from txgear.broker.model import Peer
from txgear.broker.operators import inspection
from txgear.broker.rights import ACTS, AUDIT, SEE, check, may
from txgear.security.access import NOBODY
from txgear.security.audit import DONE, LOGIN, LOST, MOST_KEPT, REFUSED, Line
from txgear.server.turns import Steps
from txgear.web.api.finding import as_sent
from txgear.web.api.server import AuditPage
from txgear.web.loading import kept_there
from txgear.web.pages.formats import following
from txgear.web.pages.pages import Pages, page
from txgear.web.pages.view import View
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

NOT_TOLD: Final = frozenset(("number", "time", "act", "outcome", "identity", "address", "descriptor"))
"""What has a column of its own, or is of use to programs only."""


AT_ONCE: Final = 10
"""Lines that are looked at between two yields: where all is new, each takes a third of a millisecond."""


class AuditView(View):
    """The last acts, the newest first."""

    template = "audit.html"
    place = "/audit"

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest) -> None:
        check(peer, AUDIT)
        super().__init__(pages, peer, "Audit")
        self._wanted: AuditPage = request.query(AuditPage)
        # The handles that the store was asked for, and those of them that it has.
        self._asked: set[str] = set()
        self._stored: set[str] = set()

    def look(self) -> Steps:
        """Part of L{View}."""
        wanted = self._wanted
        lines, after = self.server.audit.last(wanted.after, wanted.limit, wanted.wanted.meets)
        yield from self._look_up(lines)
        ids = []
        for line in lines:
            part = f"act-{line['number']}"
            links = self._links(line)
            self.put(part, links, "act_row", partial(_row, line, links))
            ids.append(part)
            if len(ids) % AT_ONCE == 0:
                yield None
        self.arrange("acts", ids)
        self.put("audit-more", (after, not ids), "more", partial(self._more, after, not ids))

    def _finds(self, handle: str) -> bool:
        return inspection.find(self.broker, self.peer, as_sent(handle)) is not None

    def _look_up(self, lines: Iterable[Line]) -> Steps:
        """See which of their jobs the store has; each is asked for once."""
        handles = {line.get("handle") for line in lines} - self._asked
        named = [handle for handle in handles if isinstance(handle, str)]
        self._asked.update(named)
        release = yield from kept_there(self.server, self.peer, map(as_sent, named))
        self._stored.update(filter(self._finds, named))
        release()

    def _links(self, line: Line) -> tuple[bool, bool]:
        """Whether there are pages of its job and its function, as far as one may know of these."""
        function, handle = line.get("function"), line.get("handle")
        job = isinstance(handle, str) and (self._finds(handle) or handle in self._stored)
        if not isinstance(function, str):
            return job, False
        names = [name for name in inspection.readings(as_sent(function)) if may(self.peer, SEE, name)]
        return job, inspection.known_function(self.broker, names) is not None

    def _more(self, after: int | None, is_empty: bool) -> dict[str, Any]:
        path = None if after is None else following("/audit", asdict(self._wanted), after)
        return {"path": path, "is_empty": is_empty}

    def context(self) -> dict[str, Any]:
        """Part of L{View}."""
        return {
            "wanted": self._wanted,
            "acts": sorted({*ACTS, LOGIN, LOST}),
            "outcomes": (DONE, REFUSED),
            "identities": [*sorted(self.server.guard.access.identities), NOBODY],
            "most": MOST_KEPT,
            "all": "/audit",
        }


def _row(line: Line, links: tuple[bool, bool]) -> dict[str, Any]:
    return {
        "line": line,
        "about": {
            name: value
            for name, value in line.items()
            # A dash is who has not said what it is called.
            if name not in NOT_TOLD and value is not None and (name, value) != ("client_id", "-")
        },
        "has_job": links[0],
        "has_function": links[1],
        "is_refused": line["outcome"] == REFUSED,
    }


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    return [page("/audit", pages.page(AuditView))]
