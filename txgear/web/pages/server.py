"""
C{/server}: how the server itself does, and its end; C{/server/connections}: who is connected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from markupsafe import Markup
from msgspec import UNSET, Struct

from txgear.broker.model import Peer
from txgear.broker.operators.connections import connections
from txgear.broker.operators.inspection import moment
from txgear.broker.rights import METRICS, PEERS, SETTINGS, SHUTDOWN, check
from txgear.broker.words import span
from txgear.quantities import byte_words
from txgear.security.access import NOBODY
from txgear.server import overview
from txgear.server.lag import KEPT, PARTS, SPAN
from txgear.server.ownprocess import figures
from txgear.web.answers import Answer, Problem
from txgear.web.api import serveracts
from txgear.web.api.models import After, Word, search_of
from txgear.web.api.workers import ConnectionPage
from txgear.web.health import BAD_LAG
from txgear.web.pages import question
from txgear.web.pages.asked import takes_html
from txgear.web.pages.charts import Line, round_top, time_chart
from txgear.web.pages.formats import count, following, seconds, size
from txgear.web.pages.forms import Form
from txgear.web.pages.pages import Done, Pages, act, page
from txgear.web.pages.view import NoQuery, View
from txgear.web.pages.workers import RECENT, name_of
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

PATH: Final = "/server"
CONNECTIONS: Final = "/server/connections"
ROWS: Final = 100
"""Connections of one page."""
AT_ONCE: Final = 10
"""Rows that are made in one piece of work: a millisecond where all have changed."""
NAMED: Final = 20
"""Identities that may end the server which are named."""

KINDS: Final = {"gearman": "Gearman", "http": "Jobs over HTTP", "web": "Web", "other": "Other"}
"""What connections speak, as it is called."""

DRAIN_WARNING: Final = (
    "The server takes no new job from now on, and hands out no background job any more. It ends when those"
    " that run, and those that clients wait for, have ended. This cannot be taken back."
)
END_WARNING: Final = (
    "The server ends at once. Jobs that run are not waited for: background jobs that are in the store are"
    " there again after its next start, all others are lost."
)
ENDS: Final = {"drain": ("Drain and end", DRAIN_WARNING), "now": ("End at once", END_WARNING)}
"""How the server can be ended: what stands on the button, and what is asked before."""


class ConnectionsQuery(Struct, frozen=True, kw_only=True):
    """
    Which connections are shown. What is empty is for all.

    @ivar kind: what they speak.
    @ivar worker: a part of what they call themselves, or of the address of one that has no name.
    @ivar after: the number after which the page begins.
    """

    kind: Literal["", "gearman", "http", "web", "other"] = ""
    worker: Word = ""
    after: After = 0


class ServerView(View):
    """How the server does."""

    template = "server.html"
    place = PATH
    seconds = 1.0

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest) -> None:
        check(peer, METRICS)
        request.query(NoQuery)
        super().__init__(pages, peer, "Server")

    def look(self) -> Iterator[None]:
        """Part of L{View}."""
        server = self.server
        found = overview.server(server)
        lag = server.lag.last, server.lag.worst()
        held = lag[0] >= BAD_LAG
        self.put(
            "state", (found["draining"], held), "state", partial(dict, draining=found["draining"], held=held)
        )
        self._put_cards(found, lag[1])
        own = figures() if self.may(SETTINGS) else None
        known = {name: found[name] for name in ("version", "started", "prefix", "draining")}
        pid = None if own is None else own.pid
        self.put(
            "facts",
            (*known.values(), pid),
            "facts",
            lambda: {**known, "pid": pid, "now": server.seconds(), "then": server.started},
        )
        yield
        self._put_lag()
        census = server.census
        kinds = tuple((label, kind, census.connections[kind]) for kind, label in KINDS.items())
        made, total = count(server.made), found["connections"]
        encrypted = census.encrypted if census.at else None
        facts = kinds, encrypted, total, made
        names = ("kinds", "encrypted", "total", "made")
        self.put("connections", facts, "connections", partial(dict, zip(names, facts, strict=True)))
        doors = tuple(self._doors())
        self.put("doors", doors, "doors", partial(dict, doors=doors))
        yield
        self._put_end(found["draining"])

    def _put_cards(self, found: Mapping[str, Any], worst: float) -> None:
        ids = []
        for name, label, value, more in self._cards(found, worst):
            part = f"card-{name}"
            self.put(part, (value, more), "card", partial(dict, label=label, value=value, more=more))
            ids.append(part)
        self.arrange("cards", ids)

    def _cards(self, found: Mapping[str, Any], worst: float) -> Iterator[tuple[str, str, str, str]]:
        """The figures: a name, what it is called, the value, and what else there is to say, in words."""
        server, own = self.server, figures()
        yield "memory", "Memory", size(own.memory), "" if own.memory else "this system does not tell"
        limit = "no bound" if own.limit is None else f"of {count(own.limit)}"
        yield "descriptors", "Descriptors", count(own.descriptors), limit
        yield "lag", "Lag of the reactor", seconds(server.lag.last), f"at worst {seconds(worst)} in a minute"
        yield "connections", "Connections", count(found["connections"]), ""
        yield (
            "unfinished",
            "Unfinished packets",
            size(server.budget.used),
            f"of {byte_words(server.settings.unfinished_memory)}",
        )
        yield "received", "Received", size(server.traffic.received), f"and {size(server.traffic.sent)} sent"

    def _put_lag(self) -> None:
        recent = self.server.lag.recent()
        # To the tenth of a millisecond: nobody sees less.
        facts = tuple(None if value is None else round(value, 4) for value in recent)
        self.put("lag", facts, "lag", lambda: {"chart": lag_chart(facts), "times": SPAN * KEPT / PARTS / 60})

    def _doors(self) -> Iterator[tuple[str, str]]:
        """What happens to those who want to come in, and to what they ask: what it is, and how often."""
        server = self.server
        shakes = server.handshakes
        if server.tls is not None:
            yield "TLS handshakes that were completed", count(shakes.completed)
            yield "TLS handshakes that failed", count(shakes.failed)
            yield "TLS handshakes that stalled", count(shakes.stalled)
            until = moment(server.tls.loaded.until.timestamp()) or ""
            yield "The certificate is good until", f"{until[:10]} {until[11:16]} UTC"
        if server.headers_refused is not None:
            yield "Proxies without a good header", count(server.headers_refused)
        yield "Wrong tokens", count(server.guard.wrong_tokens)
        by_act: Counter[str] = Counter()
        for (_, word), times in server.guard.refused.items():
            by_act[word] += times
        for word, times in sorted(by_act.items()):
            yield f"Refused: {word}", count(times)

    def _put_end(self, draining: bool) -> None:
        allowed = self.server.settings.allow_shutdown
        values = {
            "draining": draining,
            "switched_on": allowed,
            "may": self.may(SHUTDOWN),
            "who": self._who() if self.may(PEERS) else None,
            "ends": ENDS,
        }
        facts = draining, allowed, values["may"], values["who"]
        self.put("end", facts, "end", lambda: values)

    def _who(self) -> tuple[str, ...]:
        """Which identities may end the server; empty where everybody may."""
        access = self.server.guard.access
        if not access.rules:
            return ()
        names = [name for name in (*access.identities, NOBODY) if access.decide(name, SHUTDOWN).allowed]
        more = len(names) - NAMED
        return (*names[:NAMED], f"and {more} more") if more > 0 else tuple(names or ["nobody at all"])


def lag_chart(recent: tuple[float | None, ...]) -> Markup:
    """
    The lag of the last minutes.

    @param recent: as L{Lag.recent<txgear.server.lag.Lag.recent>}.
    """
    worst = max((value for value in recent if value is not None), default=0.0)
    top = round_top(max(worst, 0.01))
    words = f"Lag of the reactor in the last {span(SPAN * KEPT / PARTS)}: at worst {seconds(worst)}"
    return time_chart([Line("lag", recent)], words, seconds(top), top, 10)


class ConnectionsView(View):
    """Who is connected."""

    template = "connections.html"
    place = PATH
    seconds = 1.0

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest) -> None:
        check(peer, METRICS)
        super().__init__(pages, peer, "Connections")
        self._query = wanted = request.query(ConnectionsQuery)
        self._search = search_of(
            ConnectionPage(worker=wanted.worker or UNSET, after=wanted.after, limit=ROWS)
        )

    def context(self) -> dict[str, Any]:
        """Part of L{View}."""
        return {"query": self._query, "kinds": KINDS}

    def look(self) -> Iterator[None]:
        """Part of L{View}."""
        wanted, wall = self._query, self.server.wall_clock()
        found = connections(self.broker, self.peer, self.server.quick_acks, self._search, kind=wanted.kind)
        yield
        ids = []
        for index, row in enumerate(found["connections"]):
            part = f"connection-{row['descriptor']}"
            trip = seconds(row["round_trip"])
            heard = row["heard"]
            facts = (
                *(row[name] for name in ("descriptor", "client_id", "address", "identity", "encrypted")),
                *(row[name] for name in ("kind", "functions", "quickack")),
                trip,
                None if heard is None else heard < RECENT or round(heard / 60),
            )
            self.put(part, facts, "connection_row", partial(_connection, row, trip, wall))
            ids.append(part)
            if index % AT_ONCE == AT_ONCE - 1:
                yield
        self.arrange("connections", ids)
        query = {"kind": wanted.kind, "worker": wanted.worker}
        next_path = None if found["next"] is None else following(CONNECTIONS, query, found["next"])
        shown = len(ids), found["total"]["connections"], next_path
        names = ("shown", "total", "following")
        self.put("more", shown, "more", partial(dict, zip(names, shown, strict=True)))


def _connection(row: Mapping[str, Any], trip: str, wall: float) -> dict[str, Any]:
    heard = row["heard"]
    return {
        "connection": row,
        "name": name_of(row),
        "label": KINDS[row["kind"]],
        "trip": trip,
        "recent": heard is not None and heard < RECENT,
        "heard_at": None if heard is None else moment(wall - heard),
    }


class ServerActs:
    """The server's end."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def end(self, request: WebRequest, form: Form) -> Done | Answer:
        """End it, now or when its work is done."""
        how = form.get("how")
        if how not in ENDS:
            raise Problem(400, "unknown_end", f"There are {' and '.join(ENDS)}")
        serveracts.check_end(request)
        label, warning = ENDS[how]
        if not question.is_sure(form):
            return question.ask(
                self._pages,
                request,
                title=f"{label}?",
                warning=warning,
                fields={"how": how},
                action=f"{PATH}/end",
                button=label,
                back=PATH,
            )
        graceful = how == "drain"
        serveracts.end(request, graceful)
        if graceful or not takes_html(request):
            return Done(
                "The server drains, and ends when its work is done" if graceful else "The server ends", PATH
            )
        # Nobody is there any more to answer for the page that would come next.
        return self._pages.show(request, "ended.html", title="The server ends")


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    acts = ServerActs(pages)
    return [
        page(PATH, pages.page(ServerView)),
        page(CONNECTIONS, pages.page(ConnectionsView)),
        act(f"{PATH}/end", pages.act(acts.end)),
    ]
