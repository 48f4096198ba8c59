"""
C{/api/v1/tasks}: what is done to all jobs that match a filter, in the server, with a progress and a stop.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from txgear.broker.operators.bulkacts import BulkAct
from txgear.broker.operators.inspection import PRIORITY_NAMES
from txgear.broker.rights import MOVE, PRIORITISE
from txgear.server import operatorcommands, tasks
from txgear.server.jobserver import JobServer
from txgear.web.answers import Answer, Problem
from txgear.web.api.jobacts import FunctionName, Priority
from txgear.web.api.models import ROOT, Word, words_of
from txgear.web.request import WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import Web

TASKS: Final = f"{ROOT}/tasks"

NewAct = Literal["cancel", "requeue", "forget", "prioritise", "move"]
Act = Literal["cancel", "requeue", "forget", "prioritise", "move", "review"]
Kind = Literal["jobs", "dead", "kept"]


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    Which jobs are meant; all of it holds for each of them. It is that of lists and commands.

    @ivar function: matches the names of their functions: a pattern, as of a shell.
    @ivar unique: what their submitters called them.
    @ivar state: how they are: waiting, storing, queued, running; several are parted by commas.
    @ivar reason: how the last attempts of the dead ended; several are parted by commas.
    @ivar review: the name of the review in which the dead are set aside.
    @ivar worker: stands in the name of their worker.
    @ivar older: how long ago they were submitted, at the least: 90s, 1d.
    @ivar text: stands in what is known of them: unique, workload, message.
    """

    function: Word | UnsetType = UNSET
    unique: Word | UnsetType = UNSET
    state: Word | UnsetType = UNSET
    reason: Word | UnsetType = UNSET
    review: Word | UnsetType = UNSET
    worker: Word | UnsetType = UNSET
    older: Word | UnsetType = UNSET
    text: Word | UnsetType = UNSET


class NewTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What is to be done, and to which jobs.

    @ivar act: what.
    @ivar filter: to which.
    @ivar of: of which list they are; by default jobs, or dead.
    @ivar preview: whether they are only counted.
    @ivar priority: the new one, to prioritise.
    @ivar function: the new one, to move.
    """

    act: NewAct
    filter: Filter
    of: Kind | None = None
    preview: bool = False
    priority: Priority | None = None
    function: FunctionName | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A job to which it could not be done, and why."""

    handle: str
    code: str
    detail: str


class TaskShare(msgspec.Struct, frozen=True, kw_only=True):
    """
    What another server of a cluster does of a task, to its own jobs.

    @ivar server: what that is called.
    @ivar ended: whether it has ended there.
    @ivar matched: how many of its jobs match.
    @ivar done: to how many it has been done.
    @ivar failed: to how many it could not be done.
    @ivar problem: why it is not, or not known to be, done there; C{null} where there is nothing to be said.
    """

    server: str
    ended: bool
    matched: int
    done: int
    failed: int
    problem: str | None


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """
    A task. All figures are of the jobs of all servers together.

    @ivar review: in which review the jobs are to be set aside; C{null} for in none.
    @ivar total: jobs that are looked at, and C{looked_at}: how many have been.
    @ivar matched: how many of them match the filter.
    @ivar done: to how many it has been done.
    @ivar passed: how many matched, and did not any more when their turn came.
    @ivar failed: to how many it could not be done; C{failures} has the first ones.
    @ivar servers: what the other servers of a cluster do of it; their jobs are among all figures above.
    """

    id: int
    act: Act
    of: Kind
    filter: dict[str, str]
    priority: Priority | None
    function: str | None
    review: str | None
    preview: bool
    state: Literal["waiting", "counting", "acting", "done", "stopped"]
    by: str | None
    began: str | None
    ended: str | None
    total: int
    looked_at: int
    matched: int
    done: int
    passed: int
    failed: int
    failures: list[Failure]
    servers: list[TaskShare]


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    """All that are known, the oldest first."""

    tasks: list[Task]


DEFAULTS: Final = {"requeue": "dead", "forget": "dead"}
"""Of which list jobs are to which this is done, where nothing is said; of C{jobs} otherwise."""


def as_model(server: JobServer, task: BulkAct) -> Task:
    """A task, as it is answered."""
    return msgspec.convert(tasks.shown(server, task), Task)


def begun(server: JobServer, task: BulkAct) -> Answer:
    """The answer to who has begun a task."""
    return Answer(as_model(server, task), 202, {"Location": f"{TASKS}/{task.number}"})


class Tasks:
    """The endpoints."""

    def __init__(self, web: Web) -> None:
        self._server = web.server

    def begin(self, request: WebRequest) -> Answer:
        """Begin one."""
        wanted: NewTask = request.body(NewTask)
        if (wanted.priority is None) == (wanted.act == PRIORITISE):
            raise Problem(422, "invalid_body", "priority is for prioritise, and wanted there")
        if (wanted.function is None) == (wanted.act == MOVE):
            raise Problem(422, "invalid_body", "function is for move, and wanted there")
        function = b""
        if wanted.function is not None:
            word = wanted.function.encode("utf-8")
            function = operatorcommands.named_function(self._server, request.peer, MOVE, word)
        task = tasks.start(
            self._server,
            request.peer,
            wanted.act,
            wanted.of or DEFAULTS.get(wanted.act, "jobs"),
            words_of(wanted.filter),
            0 if wanted.priority is None else PRIORITY_NAMES.index(wanted.priority),
            function,
            wanted.preview,
        )
        return begun(self._server, task)

    def _shown(self, task: BulkAct) -> Answer:
        return Answer(as_model(self._server, task))

    def listed(self, request: WebRequest) -> Answer:
        """All that the peer may know of."""
        found = [task for task in self._all(request) if tasks.sees(request.peer, task)]
        return Answer(TaskList(tasks=[as_model(self._server, task) for task in found]))

    def _all(self, request: WebRequest) -> list[BulkAct]:
        return self._server.bulk_acts.all(request.now)

    def _task(self, request: WebRequest, number: str) -> BulkAct:
        """
        @raise ServerError: there is none, or the peer may not know of it.
        """
        return tasks.named(self._server, request.peer, number.encode("utf-8"))

    def one(self, request: WebRequest, number: str) -> Answer:
        """One of them."""
        return self._shown(self._task(request, number))

    def stop(self, request: WebRequest, number: str) -> Answer:
        """Stop one."""
        task = self._task(request, number)
        tasks.stop(self._server, request.peer, task)
        return self._shown(task)


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    of = Tasks(web)
    return [
        Route("POST", TASKS, of.begin, _BEGIN),
        Route("GET", TASKS, of.listed, _LIST),
        Route("GET", f"{TASKS}/<number>", of.one, _ONE),
        Route("DELETE", f"{TASKS}/<number>", of.stop, _STOP),
    ]


_BEGIN = Operation(
    "begin_task",
    "Do something to all jobs that match a filter",
    "tasks",
    "The jobs are taken down when it begins: those that come later are none of them. First they"
    " are counted; a preview ends with that. The right is asked for each job at its turn.",
    body=NewTask,
    answers={202: Task},
    problems=(400, 401, 403, 404, 409, 413, 415, 422, 503),
    links={name: {"number": "$response.body#/id"} for name in ("get_task", "stop_task")},
)
_LIST = Operation("list_tasks", "All tasks", "tasks", answers={200: TaskList}, problems=(401, 403))
_ONE = Operation(
    "get_task",
    "A task, and how far it is",
    "tasks",
    "Ask with `If-None-Match`: as long as nothing has changed, the answer is `304`.",
    answers={200: Task},
    problems=(401, 403, 404),
)
_STOP = Operation(
    "stop_task",
    "Stop a task",
    "tasks",
    "What is done stays done. One that has ended is answered as it is.",
    answers={200: Task},
    problems=(401, 403, 404),
)
