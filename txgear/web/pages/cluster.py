"""
C{/cluster}: the servers that have the same database, their parts, and what the database promises.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.model import Peer
from txgear.broker.operators.inspection import moment
from txgear.broker.rights import SETTINGS, check
from txgear.server import clusterstate
from txgear.server.clusterview import ServerShown
from txgear.web.pages.pages import Pages, page
from txgear.web.pages.view import NoQuery, View
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.server.clusterview import Cluster
    from txgear.web.request import WebRequest

PATH: Final = "/cluster"
AT_ONCE: Final = 20
"""Rows that are made in one piece of work: a millisecond or two where all have changed."""
LATE: Final = 5.0
"""Seconds since the last look at the others from which on that is said."""


class ClusterView(View):
    """The servers of a cluster, as this one sees them."""

    template = "cluster.html"
    place = PATH
    seconds = 1.0

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest) -> None:
        check(peer, SETTINGS)
        request.query(NoQuery)
        super().__init__(pages, peer, "Cluster")

    def look(self) -> Iterator[None]:
        """Part of L{View}."""
        view = self.server.cluster
        self._put_state(view)
        ids: list[str] = []
        if view is not None:
            for shown in view.servers():
                ids.append(f"server-{shown.key}")
                self.put(ids[-1], _facts(shown), "server_row", partial(self._row, shown))
                if len(ids) % AT_ONCE == 0:
                    yield
        self.arrange("servers", ids)
        yield
        self._put_database(view)

    def _put_state(self, view: Cluster | None) -> None:
        journal = self.server.journal
        trust = None if journal is None else journal.trust
        lapsed = trust is not None and trust.lapsed
        late = view is not None and view.looked >= LATE
        free = () if view is None else tuple(part.part for part in clusterstate.free(view))
        facts = (view is not None, lapsed, late, free)

        def values() -> dict[str, Any]:
            now = self.server.wall_clock()
            looked = 0.0 if view is None else view.looked
            return {
                "clustered": view is not None,
                "lapsed": lapsed,
                "late": moment(now - looked) if late else None,
                "looked": looked,
                "free": free,
            }

        self.put("state", facts, "state", values)

    def _row(self, shown: ServerShown) -> dict[str, Any]:
        now, said = self.server.wall_clock(), shown.status
        return {
            "server": shown,
            "silent": shown.is_silent,
            "said": said,
            "parts": [part.part for part in shown.parts],
            "heard": moment(now - shown.seconds),
            "started": None if said.uptime is None else moment(now - said.uptime),
        }

    def _put_database(self, view: Cluster | None) -> None:
        found = None if view is None else clusterstate.database(self.server, self.peer)
        taken = None if view is None else (view.takeovers, view.silent, view.lease_seconds)
        self.put("database", (repr(found), taken), "database", partial(dict, database=found, taken=taken))


def _facts(shown: ServerShown) -> tuple[Any, ...]:
    """What is to be seen of a server, but for what goes by the clock."""
    said = shown.status._replace(uptime=None, trust=None, lease=None)
    parts = tuple(part.part for part in shown.parts)
    return shown.name, shown.address, shown.is_ours, shown.is_silent, parts, said


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    return [page(PATH, pages.page(ClusterView))]
