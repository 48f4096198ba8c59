"""
Asks one server again and again, in a thread of its own: one that is away or slow holds up nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from txgear.cli.base.api import ROOT, Api
from txgear.cli.base.statuses import DENIED, DONE, UNREACHABLE, CommandError
from txgear.cli.top.rates import Rates
from txgear.cli.top.views import FUNCTIONS, Order, Row, View

SURVEY_SECONDS: Final = 5.0
"""Seconds between two questions for what changes seldom, or takes the server more than a list does: what it
is, and what is wrong with which function."""
SURVEY_SHARE: Final = 100
"""Where the latter takes long, so many times as long goes by before it is asked again."""
MOST_PAGES: Final = 3
"""Pages of a list that are asked for at one look: each takes the server up to ten milliseconds."""
MOST_ACTS: Final = 4
"""Acts of one server that are under way at the same time: a worker may take ten seconds to answer."""


TOTALS: Final = (
    *("queued", "running", "waiting", "dead"),
    *("submitted_rate", "completed_rate", "failed_rate"),
)
NONSENSE: Final = (LookupError, TypeError, ValueError, AttributeError)
"""What is raised where an answer is not what servers answer."""


@dataclass(frozen=True)
class Question:
    """
    What the screen shows.

    @ivar view: which list, with
    @ivar filters: these words of the server's query, and
    @ivar order: in this order.
    @ivar rows: how many rows are wanted.
    @ivar detail: the path of what is shown of one row; empty for none.
    @ivar of: the number of the server that has the row.
    """

    view: View
    filters: Mapping[str, str]
    order: Order
    rows: int
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
    @ivar matched: how many there are; C{None} where nobody has counted them, and
    @ivar more: whether there are more than those.
    @ivar detail: what is known of one row.
    @ivar uptime: seconds since the server started.
    @ivar time: when, in seconds of no certain beginning.
    """

    question: Question
    server: Mapping[str, Any] | None
    totals: Mapping[str, Any]
    rows: Sequence[Row]
    matched: int | None
    more: bool
    detail: Any
    uptime: float
    time: float


@dataclass(frozen=True)
class News:
    """
    Something for the screen.

    @ivar of: the number of the server.
    @ivar heard: its answer; C{None} where there is none.
    @ivar error: why there is none; empty where there is one.
    @ivar status: the exit status for that.
    @ivar said: what an act has come to; empty where it is about none.
    """

    of: int
    heard: Heard | None = None
    error: str = ""
    status: int = DONE
    said: str = ""


class Look:
    """
    One look at a server after the other.
    """

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._rates = Rates()
        self._server: Mapping[str, Any] | None = None
        self._next_server = 0.0
        self._wrong: dict[str, Mapping[str, Any]] = {}
        self._next_survey = 0.0

    def take(self, question: Question, of: int) -> Heard:
        """
        Ask.

        @raise CommandError: no answer, or the question makes no sense to the server.
        """
        view, now = question.view, self._clock()
        query = view.query(question.filters, question.order, question.rows)
        if view is FUNCTIONS:
            table = self._api.get(view.path, query)
            matched, more = table["matched"], table["matched"] > len(table["functions"])
        else:
            table = self._api.get(f"{ROOT}/figures", {"limit": 1})
        totals, rows = self._rates.of(table["time"], table["totals"], table["functions"])
        if view is FUNCTIONS:
            if now >= self._next_survey:
                self._survey()
            rows = [self._judged(row) for row in rows]
        else:
            rows, more = self._pages(view, query)
            matched = None
        if now >= self._next_server:
            self._server = self._asked()
            self._next_server = now + SURVEY_SECONDS
        detail = None
        if question.detail and question.of == of:
            try:
                detail = self._api.get(question.detail)
            except CommandError as error:
                if not error.code:
                    raise
                detail = {"gone": error.text}
        heard = Heard(question, self._server, totals, rows, matched, more, detail, table["time"], now)
        _check(heard)
        return heard

    def _pages(self, view: View, query: dict[str, Any]) -> tuple[list[Row], bool]:
        """
        The first rows.

        @return: them, and whether there may be more.
        """
        rows: list[Row] = []
        for _ in range(MOST_PAGES):
            # Where few rows pass a filter a page has fewer, and is not the last one.
            answer = self._api.get(view.path, query)
            rows += answer[view.member]
            if answer["next"] is None or len(rows) >= query["limit"]:
                break
            query["after"] = answer["next"]
        return rows, answer["next"] is not None

    def _asked(self) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = self._api.get(f"{ROOT}/server")
        except CommandError as error:
            # Who may see jobs need not be allowed to see how the server was set up.
            if error.status != DENIED:
                raise
            return None
        return found

    def _survey(self) -> None:
        began = self._clock()
        found = self._api.get(f"{ROOT}/diagnosis")
        now = self._clock()
        self._next_survey = now + max(SURVEY_SECONDS, SURVEY_SHARE * (now - began))
        self._wrong = {each["function"]: each["findings"][0] for each in found["functions"]}

    def _judged(self, row: Row) -> Row:
        wrong = self._wrong.get(row["function"])
        if wrong is None:
            if not row["queued"] or row["workers"]:
                return row
            # A survey has the worst hundred, and this is one that everybody looks for.
            said = "1 job waits" if row["queued"] == 1 else f"{row['queued']} jobs wait"
            wrong = {"code": "no_worker", "severity": "critical", "text": f"{said}, and there is no worker"}
        return {**row, "code": wrong["code"], "severity": wrong["severity"], "finding": wrong["text"]}


def _check(heard: Heard) -> None:
    """
    See that it can be shown: what one server answers is not to end what is shown of the others.

    @raise TypeError: it cannot, or one of L{NONSENSE}.
    """
    for name in TOTALS:
        float(heard.totals[name])
    float(heard.uptime)
    view = heard.question.view
    for row in heard.rows:
        view.id(row)
        for column in view.columns:
            if not isinstance(column.text(row), str):
                raise TypeError(f"{column.title}: no text")
    for order in view.orders:
        sorted(key for row in heard.rows if (key := order.key(row)) is not None)
    if heard.server is not None:
        heard.server["store"]["available"], heard.server["draining"]
    if heard.detail is not None and not isinstance(heard.detail, dict):
        raise TypeError("no object")


class Asker(threading.Thread):
    """
    Looks at one server each so many seconds, and at once when something else is to be shown.
    """

    def __init__(
        self, api: Callable[[], Api], of: int, tell: Callable[[News], None], interval: float
    ) -> None:
        """
        @param api: makes what asks the server: acts have connections of their own.
        @param of: the number of the server.
        @param tell: called in a thread of this with each answer.
        @param interval: seconds between two looks.
        """
        super().__init__(daemon=True)
        self._make = api
        self._api = api()
        self._look = Look(self._api)
        self._of = of
        self._tell = tell
        self._interval = interval
        self._wake = threading.Event()
        self._acting = threading.Semaphore(MOST_ACTS)
        self._question: Question | None = None
        self._stopped = False
        self.failure: BaseException | None = None

    def ask(self, question: Question) -> None:
        """From now on this is to be shown; it is asked at once."""
        self._question = question
        self._wake.set()

    def do(self, act: Callable[[Api], str]) -> bool:
        """
        Have the server do something, and look at once.

        @return: whether that is begun: not where too much is under way.
        """
        if not self._acting.acquire(blocking=False):
            return False
        threading.Thread(target=self.act, args=(act,), daemon=True).start()
        return True

    def stop(self) -> None:
        """Look no more; what it waits for now is not waited for."""
        self._stopped = True
        self._wake.set()

    def run(self) -> None:
        """Part of C{Thread}."""
        while not self._stopped and self.failure is None:
            self._wake.clear()
            if self._question is not None:
                self.look(self._question)
            self._wake.wait(self._interval)

    def look(self, question: Question) -> None:
        """Look once."""
        try:
            self._tell(self._news(question))
        except Exception as error:
            self._fail(error)

    def act(self, act: Callable[[Api], str]) -> None:
        """Have the server do something, and wait for that."""
        api = self._make()
        try:
            self._tell(News(self._of, said=act(api)))
        except CommandError as error:
            self._tell(News(self._of, said=error.text))
        except NONSENSE as error:
            self._tell(News(self._of, said=_nonsense(error)))
        except Exception as error:
            self._fail(error)
        finally:
            api.close()
            self._acting.release()
            self._wake.set()

    def _fail(self, error: Exception) -> None:
        """A defect; the screen's thread ends with it."""
        self.failure = error
        self._tell(News(self._of))

    def _news(self, question: Question) -> News:
        try:
            return News(self._of, self._look.take(question, self._of))
        except CommandError as error:
            self._api.close()
            return News(self._of, error=error.text, status=error.status)
        except NONSENSE as error:
            self._api.close()
            return News(self._of, error=_nonsense(error), status=UNREACHABLE)


def _nonsense(error: Exception) -> str:
    return f"its answer is not what this version of txgear expects ({type(error).__name__}: {error})"
