"""
C{/schedules}: what is submitted by the clock, and the same at once.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from twisted.internet.defer import Deferred

from txgear.broker.model import Peer
from txgear.broker.operators.inspection import moment
from txgear.broker.rights import SETTINGS, SUBMIT, check
from txgear.server import overview
from txgear.server.crontimes import UTC, zone_of
from txgear.server.runcommand import ScheduledJob
from txgear.server.turns import Steps
from txgear.web.api.models import After
from txgear.web.api.schedules import run_at_once
from txgear.web.loading import kept_there
from txgear.web.pages.board import part_id
from txgear.web.pages.formats import following, time_of
from txgear.web.pages.forms import Form
from txgear.web.pages.pages import Done, Pages, act, page
from txgear.web.pages.view import View
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

ROWS: Final = 50
"""Schedules in a page."""
AT_ONCE: Final = 3
"""Those that are looked at between two yields: where all is new, each takes a millisecond."""
PATH: Final = "/schedules"


class SchedulesQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Which schedules are wanted.

    @ivar after: how many come before them in the file, of those of which one may know.
    """

    after: After = 0


class SchedulesView(View):
    """The schedules in force, in the order of the file."""

    template = "schedules.html"
    place = PATH

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest) -> None:
        check(peer, SETTINGS)
        super().__init__(pages, peer, "Schedules")
        self._after = request.query(SchedulesQuery).after

    def look(self) -> Steps:
        """Part of L{View}."""
        server = self.server
        visible = overview.visible_schedules(server, self.peer, server.scheduler.schedules)
        names = visible[self._after :]
        release = yield from kept_there(server, self.peer, overview.last_jobs(server, names[:ROWS]))
        try:
            yield from self._put_rows(names)
        finally:
            release()

    def _put_rows(self, names: list[bytes]) -> Steps:
        server = self.server
        ids = []
        for index, name in enumerate(names[:ROWS]):
            if index % AT_ONCE == AT_ONCE - 1:
                yield None
            known = server.scheduler.schedules
            if name not in known:
                continue
            found = overview.schedule(server, self.peer, name)
            part = part_id("schedule", name)
            self.put(part, repr(found), "schedule_row", partial(self._row, found, known[name].function))
            ids.append(part)
        self.arrange("schedules", ids)
        facts = len(names) > ROWS, not ids, server.config
        self.put("schedules-more", facts, "more", partial(self._more, *facts))

    def _row(self, found: dict[str, Any], function: bytes) -> dict[str, Any]:
        return {
            "schedule": found,
            "now": moment(self.server.wall_clock()),
            "there": [_there(iso, found["timezone"]) for iso in found["upcoming"]],
            "may_run": self.may(SUBMIT, function),
        }

    def _more(self, more: bool, is_empty: bool, config: str | None) -> dict[str, Any]:
        path = following(PATH, {}, self._after + ROWS) if more else None
        return {"path": path, "is_empty": is_empty, "config": config}


def _there(iso: str, zone_name: str) -> str | None:
    """A time by the clock of a schedule's own zone; C{None} where that is UTC."""
    if zone_name == UTC:
        return None
    return f"{datetime.fromtimestamp(time_of(iso), zone_of(zone_name)):%a %H:%M %Z}"


def run_now(request: WebRequest, form: Form) -> Deferred[Done]:
    """The job of one of them, at once."""
    return run_at_once(request, form.get("schedule")).addCallback(_done)


def _done(found: ScheduledJob) -> Done:
    return Done(found.words, PATH)


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    return [page(PATH, pages.page(SchedulesView)), act(f"{PATH}/run", pages.act(run_now))]
