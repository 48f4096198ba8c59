"""
What can be done to the row that is selected, by a key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.words import number, verb
from txgear.cli.base.api import path_of
from txgear.cli.base.statuses import CommandError
from txgear.cli.top.views import DEAD, FUNCTIONS, JOBS, WORKERS, Row, View, name_of

if TYPE_CHECKING:
    from txgear.cli.base.api import Api


@dataclass(frozen=True)
class Act:
    """
    @ivar key: the key.
    @ivar label: what it does, for the list of keys.
    @ivar do: has the server do it, and says what came of it; raises
        L{CommandError<txgear.cli.base.statuses.CommandError>}.
    @ivar question: what is asked before, of what cannot be undone; C{None} where nothing is.
    @ivar short: the label where there is little room; empty for the same.
    """

    key: str
    label: str
    do: Callable[[Api, Row], str]
    question: Callable[[Row], str] | None = None
    short: str = ""

    def asked(self, row: Row) -> str:
        """What is asked before it."""
        if self.question is not None:
            return self.question(row)
        return f"{named(row)}: {self.label}?"


def named(row: Row) -> str:
    """What a row is called, whatever it is."""
    if "descriptor" in row:
        return name_of(row)
    name: str = row["handle"] if "handle" in row else row["function"]
    return name


def _of_job(word: str, body: Any, done: str) -> Callable[[Api, Row], str]:
    def do(api: Api, row: Row) -> str:
        api.send("POST", path_of("jobs", row["handle"], word), body=body)
        return f"{row['handle']} {done}"

    return do


def _pause(api: Api, row: Row) -> str:
    paused = row["paused"]
    api.send("POST", path_of("functions", row["function"], "resume" if paused else "pause"))
    return f"{row['function']} {'goes on' if paused else 'is paused'}"


def _purge(api: Api, row: Row) -> str:
    found = api.send("POST", path_of("functions", row["function"], "purge"))
    are = verb(found["jobs"], "is", "are")
    return f"{number(found['jobs'], 'job')} of {row['function']} {are} cancelled"


def _purge_question(row: Row) -> str:
    jobs = row["queued"] + row["waiting"]
    if jobs == 1:
        return f"Cancel the one job of {row['function']} that waits?"
    return f"Cancel all {number(jobs, 'job')} of {row['function']} that wait?"


def _still_there(api: Api, row: Row) -> str:
    """
    The path of a worker.

    @raise CommandError: it has gone. Another connection may have its number by now.
    """
    path = path_of("workers", str(row["descriptor"]))
    found = api.get(path)
    if found["enrolled"] != row["enrolled"]:
        raise CommandError(f"{name_of(row)} has gone, and another worker has its number")
    return path


def _steer(word: str) -> Callable[[Api, Row], str]:
    def do(api: Api, row: Row) -> str:
        said = word if word != "pause" else ("resume" if row["condition"] == "paused" else "pause")
        found = api.send("POST", f"{_still_there(api, row)}/steer", body={"word": said})
        return f"{name_of(row)}: {said}" + (f", {found['text']}" if found["text"] else "")

    return do


def _disconnect(api: Api, row: Row) -> str:
    api.send("POST", f"{_still_there(api, row)}/disconnect")
    return f"the connection of {name_of(row)} has ended"


def _priority(key: str, priority: str) -> Act:
    done = f"has {priority} priority"
    return Act(
        key, f"{priority} priority", _of_job("prioritise", {"priority": priority}, done), short=priority
    )


_CANCEL: Final = Act(
    "k",
    "cancel",
    _of_job("cancel", None, "is cancelled"),
    lambda row: f"Cancel {row['handle']} of {row['function']}?",
)
_RETRY: Final = Act("r", "try again now", _of_job("requeue", None, "is queued"), short="retry")
_PRIORITIES: Final = (_priority("+", "high"), _priority("=", "normal"), _priority("-", "low"))

ACTS: Final[dict[View, tuple[Act, ...]]] = {
    FUNCTIONS: (
        Act("p", "pause, or go on", _pause, short="pause"),
        Act(
            "K",
            "cancel all that no worker has",
            _purge,
            _purge_question,
            "purge",
        ),
    ),
    WORKERS: (
        Act("p", "pause, or go on", _steer("pause"), short="pause"),
        Act(
            "k",
            "stop",
            _steer("stop"),
            lambda row: f"Let {name_of(row)} finish what it has, and end?",
        ),
        Act(
            "K",
            "end its connection",
            _disconnect,
            lambda row: f"End the connection of {name_of(row)}, whatever it has in hand?",
            "disconnect",
        ),
    ),
    JOBS: (_CANCEL, _RETRY, *_PRIORITIES),
    DEAD: (
        _RETRY,
        *_PRIORITIES,
        Act(
            "x",
            "forget",
            _of_job("forget", None, "is forgotten"),
            lambda row: f"Forget {row['handle']} of {row['function']}?",
        ),
    ),
}
"""By view, in the order in which they are told."""
