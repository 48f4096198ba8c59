"""
C{/tasks}: what is done to all jobs that match a filter; C{/tasks/<number>}: one of them, how far it is, and,
where jobs were only counted, the question whether to go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.model import Peer
from txgear.broker.operators import bulkacts
from txgear.broker.operators.bulkacts import BulkAct
from txgear.broker.rights import MOVE, REVIEW, SHUTDOWN
from txgear.errors import ServerError
from txgear.server import tasks
from txgear.web.pages import filters
from txgear.web.pages.bulk import FINAL, PUT_BACK, Wish
from txgear.web.pages.forms import Form
from txgear.web.pages.pages import Done, Pages, act, page
from txgear.web.pages.view import NoQuery, View
from txgear.web.problems import problem_of
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.server.jobserver import JobServer
    from txgear.web.request import WebRequest

PATH: Final = "/tasks"

_LISTS: Final = {"jobs": ("/jobs", None), "kept": ("/jobs", "kept"), "dead": ("/dead", None)}
"""Where the jobs are listed: the path, and what else its query says."""


def _path(task: BulkAct) -> str:
    return f"{PATH}/{task.number}"


def _wish(task: BulkAct) -> Wish:
    order = task.order
    act = PUT_BACK if order.act == REVIEW and not order.review else order.act
    return Wish(act, order.priority, order.function, order.review)


def _shown(server: JobServer, task: BulkAct) -> dict[str, Any]:
    """What the parts show of a task: what the API does, and words."""
    order, wish = task.order, _wish(task)
    figures = task.figures
    ended = figures.done + figures.failed + figures.passed
    counting = task.stage in (bulkacts.WAITING, bulkacts.COUNTING)
    return {
        "task": tasks.shown(server, task),
        "path": _path(task),
        "wish": wish,
        "kind": filters.kind(order.of),
        "said": filters.in_words(order.words),
        "line": f"{order.of} {filters.line(order.words)}",
        "listed": filters.address(_LISTS[order.of][0], order.words, of=_LISTS[order.of][1]),
        "counted": task.is_counted,
        "led_to": task.led_to or None,
        "at": figures.looked_at if counting or order.preview else ended,
        # Of those who may not know of all functions the total grows while they are counted.
        "most": (figures.total if task.asker.rights is None else 0) if counting else figures.matched,
        "began_at": task.began,
        "now": server.seconds(),
    }


class TasksView(View):
    """All tasks of which one may know, the newest first."""

    template = "tasks.html"
    place = PATH

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest) -> None:
        super().__init__(pages, peer, "Tasks")
        request.query(NoQuery)

    def look(self) -> Iterator[None]:
        """Part of L{View}."""
        found = [
            task
            for task in reversed(self.server.bulk_acts.all(self.server.seconds()))
            if tasks.sees(self.peer, task)
        ]
        ids = []
        for task in found:
            part = f"task-{task.number}"
            self.put(part, (task.changed, task.state), "task_row", partial(_shown, self.server, task))
            ids.append(part)
        self.arrange("tasks", ids)
        self.put("none", bool(ids), "no_tasks", partial(dict, empty=not ids))
        yield from ()


class TaskView(View):
    """One task."""

    template = "task.html"
    place = PATH

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest, number: str) -> None:
        super().__init__(pages, peer, f"Task {number}")
        request.query(NoQuery)
        self._number = number
        task = self._task()
        self._mine = tasks.owns(peer, task)
        self._shared = bool(task.shares)
        self._path = _path(task)

    def _task(self) -> BulkAct:
        try:
            return tasks.named(self.server, self.peer, self._number.encode("utf-8"))
        except ServerError as error:
            problem = problem_of(error)
            assert problem is not None
            raise problem from error

    def context(self) -> dict[str, Any]:
        """Part of L{View}."""
        return {"path": self._path, "shared": self._shared}

    def look(self) -> Iterator[None]:
        """Part of L{View}."""
        task = self._task()
        facts = task.changed, task.state
        course = task.stage, task.led_to, task.over
        shown = partial(_shown, self.server, task)
        self.put("head", course, "head", shown)
        self.put("progress", facts, "progress", shown)
        self.put("choice", course, "choice", lambda: self._choice(task))
        self.put("failures", len(task.all_failures), "failures", shown)
        if task.shares:
            self.put("servers", facts, "servers", shown)
        yield from ()

    def _choice(self, task: BulkAct) -> dict[str, Any]:
        """What whoever looks may do with it."""
        order, wish = task.order, _wish(task)
        asks = order.preview and task.is_counted and self._mine and not task.led_to
        matched = task.figures.matched
        may = order.act != MOVE or self.may(MOVE, order.function)
        return {
            "path": self._path,
            "stops": not task.over and (self._mine or self.may(SHUTDOWN)),
            "asks": asks and may and matched > 0,
            "again": order.preview and task.over and self._mine and may,
            "button": wish.order(matched),
            "danger": wish.act in FINAL,
            "warning": wish.warning,
        }


class TaskActs:
    """What is done with tasks."""

    def __init__(self, pages: Pages) -> None:
        self._server = pages.server

    def _named(self, request: WebRequest, number: str) -> BulkAct:
        return tasks.named(self._server, request.peer, number.encode("utf-8"))

    def stop(self, request: WebRequest, form: Form, number: str) -> Done:
        """Do no more of it."""
        task = self._named(request, number)
        stopped = tasks.stop(self._server, request.peer, task)
        return Done("The task is stopped" if stopped else "The task had ended", _path(task))

    def confirm(self, request: WebRequest, form: Form, number: str) -> Done:
        """Do what was counted."""
        begun = tasks.confirm(self._server, request.peer, self._named(request, number))
        return Done("The task has begun", _path(begun))

    def again(self, request: WebRequest, form: Form, number: str) -> Done:
        """Count once more."""
        begun = tasks.again(self._server, request.peer, self._named(request, number), preview=True)
        return Done("The jobs are counted again", _path(begun))


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    acts = TaskActs(pages)
    return [
        page(PATH, pages.page(TasksView)),
        page(f"{PATH}/<number>", pages.page(TaskView)),
        act(f"{PATH}/<number>/stop", pages.act(acts.stop)),
        act(f"{PATH}/<number>/confirm", pages.act(acts.confirm)),
        act(f"{PATH}/<number>/again", pages.act(acts.again)),
    ]
