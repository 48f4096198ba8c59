"""
Asks one server again and again, in a thread of its own: one that is away or slow holds up nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final

from txgear.cli.base.api import ROOT, Api
from txgear.cli.base.statuses import DENIED, CommandError
from txgear.cli.top.views import FUNCTIONS, Order, Row, View

SURVEY_SECONDS: Final = 5.0
"""Seconds between two questions what is wrong: the server has to look at all functions for that."""


@dataclass(frozen=True)
class Question:
    """
    What the screen shows.

    @ivar view: which list, with
    @ivar filters: these words of the server's query, and
    @ivar order: in this order.
    @ivar detail: the path of what is shown of one row; empty for none.
    @ivar of: the number of the server that has the row.
    """

    view: View
    filters: Mapping[str, str]
    order: Order
    detail: str = ""
    of: int = 0


@dataclass(frozen=True)
class Heard:
    """
    What one server has answered.

    @ivar question: to what.
    @ivar server: what it is; C{None} for whoever may not see that.
    @ivar totals: what all functions come to.
    @ivar rows: those of the list.
    @ivar more: whether there are more.
    @ivar detail: what is known of one row.
    @ivar time: when, in seconds of no certain beginning.
    """

    question: Question
    server: Mapping[str, Any] | None
    totals: Mapping[str, Any]
    rows: Sequence[Row]
    more: bool
    detail: Any
    time: float


@dataclass(frozen=True)
class News:
    """
    Something for the screen.

    @ivar of: the number of the server.
    @ivar heard: its answer; C{None} where there is none.
    @ivar error: why there is none; empty where there is one.
    @ivar said: what an act has come to; empty where it is about none.
    """

    of: int
    heard: Heard | None = None
    error: str = ""
    said: str = ""


class Look:
    """
    One look at a server after the other.
    """

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._wrong: dict[str, Mapping[str, Any]] = {}
        self._next_survey = 0.0

    def take(self, question: Question, of: int) -> Heard:
        """
        Ask.

        @raise CommandError: no answer, or the question makes no sense to the server.
        """
        view, now = question.view, self._clock()
        server = self._server()
        query = view.query(question.filters, question.order)
        answer = self._api.get(view.path, query)
        if view is FUNCTIONS:
            totals, more = answer["totals"], answer["matched"] > len(answer["functions"])
            rows = [self._judged(row) for row in answer["functions"]]
            if now >= self._next_survey:
                self._next_survey = now + SURVEY_SECONDS
                self._survey()
                rows = [self._judged(row) for row in answer["functions"]]
        else:
            totals = self._api.get(f"{ROOT}/figures", {"limit": 1})["totals"]
            rows, more = answer[view.member], answer["next"] is not None
        detail = None
        if question.detail and question.of == of:
            try:
                detail = self._api.get(question.detail)
            except CommandError as error:
                if not error.code:
                    raise
                detail = {"gone": error.text}
        return Heard(question, server, totals, rows, more, detail, now)

    def _server(self) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = self._api.get(f"{ROOT}/server")
        except CommandError as error:
            # Who may see jobs need not be allowed to see how the server was set up.
            if error.status != DENIED:
                raise
            return None
        return found

    def _survey(self) -> None:
        found = self._api.get(f"{ROOT}/diagnosis")
        self._wrong = {each["function"]: each["findings"][0] for each in found["functions"]}

    def _judged(self, row: Row) -> Row:
        wrong = self._wrong.get(row["function"])
        return row if wrong is None else {**row, "severity": wrong["severity"], "finding": wrong["text"]}


class Asker(threading.Thread):
    """
    Looks at one server each so many seconds, and at once when something else is to be shown.
    """

    def __init__(self, api: Api, of: int, tell: Callable[[News], None], interval: float) -> None:
        """
        @param of: the number of the server.
        @param tell: called in this thread with each answer.
        @param interval: seconds between two looks.
        """
        super().__init__(daemon=True)
        self._api = api
        self._look = Look(api)
        self._of = of
        self._tell = tell
        self._interval = interval
        self._wake = threading.Event()
        self._todo: SimpleQueue[Callable[[Api], str]] = SimpleQueue()
        self._question: Question | None = None
        self._stopped = False
        self.failure: BaseException | None = None

    def ask(self, question: Question) -> None:
        """From now on this is to be shown; it is asked at once."""
        self._question = question
        self._wake.set()

    def do(self, act: Callable[[Api], str]) -> None:
        """Have the server do something, and look at once."""
        self._todo.put(act)
        self._wake.set()

    def stop(self) -> None:
        """Look no more; what it waits for now is not waited for."""
        self._stopped = True
        self._wake.set()

    def run(self) -> None:
        """Part of C{Thread}."""
        try:
            while not self._stopped:
                self._wake.clear()
                while not self._todo.empty():
                    self._tell(News(self._of, said=self._done(self._todo.get())))
                if self._question is not None:
                    self._tell(self._news(self._question))
                self._wake.wait(self._interval)
        except Exception as error:
            # A defect; the screen's thread ends with it.
            self.failure = error
            self._tell(News(self._of))

    def _done(self, act: Callable[[Api], str]) -> str:
        try:
            return act(self._api)
        except CommandError as error:
            return error.text

    def _news(self, question: Question) -> News:
        try:
            return News(self._of, self._look.take(question, self._of))
        except CommandError as error:
            self._api.close()
            return News(self._of, error=error.text)
