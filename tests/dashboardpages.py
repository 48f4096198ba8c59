"""
All pages of the dashboard, as its router knows them, and an address of each.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, NamedTuple

from txgear.test.support.server import ServerFixture
from txgear.web.pages import dashboard
from txgear.web.routes import Route
from txgear.web.web import Web, WebOptions


class Place(NamedTuple):
    """
    What can be looked at.

    @ivar rule: the router's.
    @ivar path: an address, with names in braces of what the world has.
    """

    rule: str
    path: str


PLACES: Final = {
    "overview": Place("/", "/"),
    "overview-none": Place("/", "/?function=no-such-*"),
    "troubles": Place("/troubles", "/troubles"),
    "function": Place("/functions/<name>", "/functions/image.resize"),
    "function-paused": Place("/functions/<name>", "/functions/search.index"),
    "jobs": Place("/jobs", "/jobs"),
    "jobs-kept": Place("/jobs", "/jobs?of=kept"),
    "jobs-none": Place("/jobs", "/jobs?function=no-such"),
    "jobs-wrong": Place("/jobs", "/jobs?q=colour%3Dred&state=fine"),
    "job": Place("/jobs/<handle>", "/jobs/{running}"),
    "job-dead": Place("/jobs/<handle>", "/jobs/{dead}"),
    "job-done": Place("/jobs/<handle>", "/jobs/{done}"),
    "job-php": Place("/jobs/<handle>", "/jobs/{php}"),
    "job-awaited": Place("/jobs/<handle>", "/jobs/{awaited}"),
    "job-later": Place("/jobs/<handle>", "/jobs/{later}"),
    "job-retried": Place("/jobs/<handle>", "/jobs/{retried}"),
    "job-edit": Place("/jobs/<handle>/edit", "/jobs/{dead}/edit"),
    "dead": Place("/dead", "/dead"),
    "dead-none": Place("/dead", "/dead?function=no-such"),
    "review": Place("/reviews/<name>", "/reviews/{review}"),
    "workers": Place("/workers", "/workers"),
    "workers-none": Place("/workers", "/workers?function=no-such"),
    "worker": Place("/workers/<descriptor>", "/workers/{worker}"),
    "worker-steered": Place("/workers/<descriptor>", "/workers/{steered}"),
    "tasks": Place("/tasks", "/tasks"),
    "task-counted": Place("/tasks/<number>", "/tasks/{counted}"),
    "task-ended": Place("/tasks/<number>", "/tasks/{task}"),
    "schedules": Place("/schedules", "/schedules"),
    "store": Place("/store", "/store"),
    "cluster": Place("/cluster", "/cluster"),
    "server": Place("/server", "/server"),
    "connections": Place("/server/connections", "/server/connections"),
    "settings": Place("/settings", "/settings"),
    "audit": Place("/audit", "/audit"),
    "audit-none": Place("/audit", "/audit?text=no-such"),
}
"""Each with a picture's name."""

ELSEWHERE: Final = {"/sign-in"}
"""Pages that a server with rules has to show."""
DOWNLOADS: Final = {"/jobs/<handle>/workload", "/jobs/<handle>/result"}
"""What browsers save as files."""


def routes() -> list[Route]:
    """Of all pages, and of all that their forms are sent to; C{<name>} is any part of a path by that name."""
    web = Web(ServerFixture().server, WebOptions(), ())
    return [
        replace(route, rule=re.sub("<[^<>]*:([a-z]+)>", r"<\1>", route.rule))
        for route in dashboard.routes(web)
        if route.page
    ]
