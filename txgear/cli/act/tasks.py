"""
Acts on all jobs that match a filter: as a task on the server. They are counted before; it is watched, and an
interrupt stops it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from txgear.broker.words import number, verb
from txgear.cli.act.acts import Fleet, complain
from txgear.cli.act.selection import Selection
from txgear.cli.base.api import ROOT, Api, path_of
from txgear.cli.base.asking import be_sure, people
from txgear.cli.base.output import Column, printable, write_json, write_rows
from txgear.cli.base.progress import Bar, Progress
from txgear.cli.base.statuses import DENIED, DONE, FAILED, INTERRUPTED, CommandError

Task = dict[str, Any]
Begin = Callable[[Api, bool], Task]
"""Begins a task at a server: a preview, which only counts, or not. It gives the task."""

SHORTEST_WAIT: Final = 0.02
"""Seconds before a task is looked at for the first time; each time after that they are more."""
LONGEST_WAIT: Final = 0.5

COLUMNS: Final = (
    Column("number", right=True, of=lambda task: task["id"]),
    Column("state"),
    Column("matched", right=True),
    Column("done", right=True),
    Column("passed", right=True),
    Column("failed", right=True),
)
_OF: Final = {"jobs": "job", "dead": "dead job", "kept": "kept job"}


class Running:
    """
    A task at a server.

    @ivar api: what asks that.
    @ivar task: the task, as it was last.
    @ivar lost: why it cannot be asked for any more; C{None} if it can.
    """

    def __init__(self, api: Api, task: Task) -> None:
        self.api = api
        self.task = task
        self.lost: CommandError | None = None

    @property
    def under_way(self) -> bool:
        """Whether there is more to come."""
        return self.task["ended"] is None and self.lost is None

    def look(self) -> None:
        """See how far it is."""
        try:
            self.task = self.api.get(path_of("tasks", str(self.task["id"])))
        except CommandError as error:
            self.lost = error

    def stop(self) -> None:
        """Stop it."""
        # What was interrupted may have left half an answer there.
        self.api.close()
        try:
            self.task = self.api.send("DELETE", path_of("tasks", str(self.task["id"])))
        except CommandError as error:
            self.lost = error


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What is begun meanwhile is known when an interrupt comes, and can be stopped: that waits so long."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def new_task(act: str, selection: Selection, **more: Any) -> Begin:
    """
    What begins the task that does something to the jobs that are selected.

    @param act: as the API calls it.
    @param more: members of the order, such as C{priority}.
    """
    order = {"act": act, "of": selection.of, "filter": dict(selection.filter), **more}
    return lambda api, preview: api.send("POST", f"{ROOT}/tasks", body={**order, "preview": preview})


def act_on_all(
    fleet: Fleet,
    selection: Selection,
    begin: Begin,
    what: str,
    *,
    most: int | None = None,
    apart: bool = True,
    sleep: Callable[[float], None] = time.sleep,
    complain: Callable[[str], None] = complain,
) -> int:
    """
    Do something to all jobs that match a filter, at all servers.

    @param what: what it is, with a place for the jobs: C{Cancel {}?}
    @param most: to how many of them it is done at the most, at each server; C{None} for all.
    @param apart: whether one server of a cluster does it at all of them.
    @return: the exit status.
    @raise CommandError: it is not wanted, cannot be begun, or was interrupted.
    """
    apis = fleet.apart() if apart else fleet.apis
    if selection.preview or not selection.yes:
        counted = run(apis, begin, True, sleep)
        if selection.preview:
            show(fleet, counted, COLUMNS[:3], selection.as_json)
            return status_of(counted, complain)
        if failure := status_of(counted, complain):
            return failure
        matched = sum(min(each.task["matched"], most or each.task["matched"]) for each in counted)
        if not matched:
            show(fleet, counted, COLUMNS[:3], selection.as_json)
            return DONE
        where = f" at {len(fleet.apis)} servers" if fleet.several else ""
        with people() as answers:
            be_sure(what.format(number(matched, _OF[selection.of]) + where), answers)
    done = run(apis, begin, False, sleep)
    show(fleet, done, COLUMNS, selection.as_json)
    return status_of(done, complain)


def run(apis: Sequence[Api], begin: Begin, preview: bool, sleep: Callable[[float], None]) -> list[Running]:
    """
    Begin a task at each server, and wait for all of them.

    @raise CommandError: one could not be begun, or there was an interrupt: then all are stopped.
    """
    running: list[Running] = []
    try:
        for api in apis:
            with uninterrupted():
                running.append(Running(api, begin(api, preview)))
        watch(running, sleep)
    except KeyboardInterrupt:
        said = "; ".join(stopped(running, preview))
        raise CommandError(f"interrupted: {said or 'nothing has been done'}", INTERRUPTED) from None
    except CommandError as error:
        said = "; ".join(stopped(running, preview))
        raise CommandError(
            f"{error.text}; {said}" if said else error.text, error.status, error.code
        ) from error
    return running


def stopped(running: Sequence[Running], preview: bool) -> Iterator[str]:
    """Stop what is under way; tells of each what has come of it."""
    for each in running:
        if each.under_way:
            each.stop()
    if preview:
        return
    for each in running:
        task = each.task
        where = f"task {task['id']} at {each.api.place.name}"
        if each.lost is not None:
            yield f"{where} may go on ({each.lost.text})"
        else:
            of = f"{task['done']:,} of {number(task['matched'], 'job')}"
            are = verb(task["done"], "is done, and stays so", "are done, and stay so")
            yield f"{where} is {task['state']}; {of} {are}"


def watch(running: Sequence[Running], sleep: Callable[[float], None]) -> None:
    """Wait until all have ended; meanwhile people see how far they are."""
    wait = SHORTEST_WAIT
    with Progress() as progress:
        while under_way := [each for each in running if each.under_way]:
            sleep(wait)
            wait = min(wait * 1.5, LONGEST_WAIT)
            for each in under_way:
                each.look()
            progress.show(*(bar_of(each, named=len(running) > 1) for each in running))


def bar_of(running: Running, *, named: bool) -> Bar:
    """
    How far a task is: while it counts, of looking, and then of acting.

    @param named: whether it says at which server.
    """
    task = running.task
    text = f"{task['state']:<8}"
    if named:
        text = f"{printable(running.api.place.name)} {text}"
    if task["preview"] or task["state"] in ("waiting", "counting"):
        return Bar(text, task["looked_at"], task["total"])
    failed = f"{task['failed']:,} failed" if task["failed"] else ""
    return Bar(text, task["done"] + task["passed"] + task["failed"], task["matched"], failed)


def show(fleet: Fleet, running: Sequence[Running], columns: Sequence[Column], as_json: bool) -> None:
    """Write what has come of them."""
    if as_json:
        for each in running:
            write_json(fleet.row(each.api, each.task))
        return
    rows = (fleet.row(each.api, each.task) for each in running)
    write_rows(rows, fleet.columns(*columns))


def status_of(running: Sequence[Running], complain: Callable[[str], None]) -> int:
    """Complain of what could not be done, and say with which status to end."""
    statuses = {DONE}
    for each in running:
        task, where = each.task, f"task {each.task['id']} at {each.api.place.name}"
        if each.lost is not None:
            complain(f"{where} may go on, it cannot be seen any more: {each.lost.text}")
            statuses.add(each.lost.status)
            continue
        if task["state"] == "stopped":
            complain(f"{where} was stopped by somebody else; what is done stays done")
            statuses.add(FAILED)
        for share in task.get("servers", ()):
            if share["problem"] is not None:
                complain(f"{where}: not at {share['server']}: {share['problem']}")
                statuses.add(FAILED)
        for failure in task["failures"]:
            complain(f"job {failure['handle']}: {failure['detail']}")
        if more := task["failed"] - len(task["failures"]):
            complain(f"{where}: {more:,} more could not be done")
        if task["failed"]:
            statuses.add(_status_of_failures(task))
    return max(statuses) if len(statuses) <= 2 else FAILED


def _status_of_failures(task: Mapping[str, Any]) -> int:
    denied = not task["done"] and all(each["code"] == "access_denied" for each in task["failures"])
    return DENIED if denied else FAILED
