"""
C{/workers/<descriptor>}: one worker, and what it can be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.defer import Deferred

from txgear.broker.model import Peer
from txgear.broker.operators import workers
from txgear.broker.operators.inspection import moment
from txgear.broker.operators.workforce import ABSENT
from txgear.broker.rights import MANAGE
from txgear.server import workercommands
from txgear.server.workercommands import DISCONNECT, NAMING, Order
from txgear.web.answers import Answer, Problem
from txgear.web.api.workers import steer
from txgear.web.pages import question
from txgear.web.pages.board import part_id
from txgear.web.pages.forms import Form
from txgear.web.pages.pages import Done, Pages, act, page
from txgear.web.pages.view import NoQuery, View
from txgear.web.pages.workers import PATH, RECENT, facts_of, values_of
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

ROWS: Final = 100
"""Jobs in hand, and functions, that are shown."""


class Word(NamedTuple):
    """
    What a worker can be told by a button.

    @ivar label: what stands on the button.
    @ivar done: what has come of it.
    @ivar warning: what is asked before; empty where nothing is.
    """

    label: str
    done: str
    warning: str = ""


WORDS: Final = {
    "pause": Word("Pause", "The worker takes no more jobs"),
    "resume": Word("Go on", "The worker takes jobs again"),
    "stop": Word(
        "Stop",
        "The worker stops",
        "It finishes what it has in hand, leaves, and does not come back by itself.",
    ),
    "grow": Word("Grow", "The worker has grown"),
    "shrink": Word("Shrink", "The worker has shrunk"),
    "restart": Word("Restart", "A new process takes its place"),
    "register": Word("Register", "The worker does the function"),
    "unregister": Word("Unregister", "The worker does the function no more"),
    DISCONNECT: Word(
        "End its connection",
        "The connection has ended",
        "What it has in hand comes back as from a worker that is lost, by the policies of the functions. A"
        " worker that is well connects again.",
    ),
}


class WorkerView(View):
    """One worker."""

    template = "worker.html"
    place = PATH
    seconds = 0.5

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest, descriptor: str) -> None:
        request.query(NoQuery)
        worker = workercommands.named_alone(pages.server, peer, descriptor.encode("utf-8"))
        super().__init__(pages, peer, f"Worker {workers.identifier(worker) or worker.name}")
        self._worker = worker

    def context(self) -> dict[str, Any]:
        """Part of L{View}."""
        return {"path": f"{PATH}/{self._worker.descriptor}"}

    @property
    def is_current(self) -> bool:
        """Part of L{View}: another connection may have its number by now."""
        worker = self._worker
        return worker in workers.find(self.broker, self.peer, b"%d" % worker.descriptor)

    def look(self) -> Iterator[None]:
        """Part of L{View}."""
        worker = self._worker
        if not self.is_current:
            raise Problem(404, "unknown_worker", "The worker has gone")
        now, wall = self.server.seconds(), self.server.wall_clock()
        row = workers.worker(self.broker, self.peer, worker, now, workers.MOST_OF_ONE)
        yield
        recent = moment(wall - RECENT) or ""
        facts = facts_of(row, recent)
        more_facts = row["concurrency"], row["memory"], row["done"], row["failed"]
        self.put("facts", (facts, more_facts), "facts", lambda: values_of(row, wall, recent))
        told = self.may(MANAGE), tuple(row["words"]), row["condition"], row["enrolled"]
        self.put("acts", told, "acts", lambda: self._acts(row))
        self._put_functions(row)
        yield
        ids = []
        for job in row["in_hand"][:ROWS]:
            part = f"job-{job['number']}"
            facts = job["began"], job["numerator"], job["denominator"]
            self.put(part, facts, "job_row", partial(dict, job=job))
            ids.append(part)
        self.arrange("jobs", ids)
        unseen = row["jobs"] - len(ids)
        self.put("rest", (not ids, unseen), "rest", lambda: {"is_empty": not ids, "more": unseen})

    def _put_functions(self, row: dict[str, Any]) -> None:
        can_be_told = self.may(MANAGE) and row["condition"] != ABSENT
        words = [word for word in NAMING if word in row["words"]] if can_be_told else []
        ids = []
        for each in row["counts"][:ROWS]:
            part = part_id("function", each["function"].encode("utf-8"))
            word = NAMING[1] if each["in_use"] else NAMING[0]
            values = {"counts": each, "word": word if word in words else ""}
            facts = (*each.values(), values["word"])
            self.put(part, facts, "function_row", partial(dict, values, label=WORDS[word].label))
            ids.append(part)
        self.arrange("functions", ids)
        more = max(len(row["counts"]), row["functions"]) - len(ids)
        self.put("unshown", (not ids, more), "unshown", lambda: {"is_empty": not ids, "more": more})

    def _acts(self, row: dict[str, Any]) -> dict[str, Any]:
        paused = row["condition"] == "paused"
        hidden = "pause" if paused else "resume"
        understood = row["words"] if row["condition"] != ABSENT else []
        known = [word for word in WORDS if word in understood and word not in (hidden, *NAMING)]
        return {
            "may_manage": self.may(MANAGE),
            "words": {word: WORDS[word] for word in (*known, DISCONNECT)},
            "other": [word for word in understood if word not in WORDS],
            "is_classic": not row["words"],
            "is_absent": row["condition"] == ABSENT,
            "enrolled": row["enrolled"] or "",
        }


class WorkerActs:
    """What is done to a worker."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._server = pages.server

    def tell(self, request: WebRequest, form: Form, descriptor: str) -> Done | Answer | Deferred[Done]:
        """Tell it something, or end its connection."""
        worker = workercommands.named_alone(self._server, request.peer, descriptor.encode("utf-8"))
        enrolled, said, argument = form.get("enrolled"), form.get("word"), ""
        for naming in NAMING:
            if form.get(naming):
                said, argument = naming, form.get(naming)
        if enrolled != (moment(self._server.broker.timers.wall(worker.enrolled)) or ""):
            raise Problem(
                409,
                "another_worker",
                "That worker has gone, and another one has its number by now: look at it before",
            )
        word = WORDS.get(said)
        if word is None:
            raise Problem(400, "unknown_word", f"There are {', '.join(WORDS)} to say")
        if word.warning and not question.is_sure(form):
            return self._question(request, worker, said, enrolled)
        # One that stops is not there any more when the next page is asked for.
        to = PATH if said in ("stop", DISCONNECT) else f"{PATH}/{worker.descriptor}"
        order = Order(said, argument.encode("utf-8"))
        return steer(request, worker, order).addCallback(
            lambda answer: Done(_sentence(word.done, answer), to)
        )

    def _question(self, request: WebRequest, worker: Peer, said: str, enrolled: str) -> Answer:
        path = f"{PATH}/{worker.descriptor}"
        return question.ask(
            self._pages,
            request,
            title=f"{WORDS[said].label}: {worker.name}?",
            warning=WORDS[said].warning,
            fields={"word": said, "enrolled": enrolled},
            action=f"{path}/tell",
            button=WORDS[said].label,
            back=path,
        )


def _sentence(done: str, answer: str) -> str:
    """What has come of it, and what the worker says to it."""
    return f"{done}: {answer}" if answer else done


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    acts = WorkerActs(pages)
    return [
        page(f"{PATH}/<descriptor>", pages.page(WorkerView)),
        act(f"{PATH}/<descriptor>/tell", pages.act(acts.tell)),
    ]
