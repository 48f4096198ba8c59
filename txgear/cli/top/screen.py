"""
The screen as such: which list it shows, how, what is selected, what is typed, and what keys do. It knows no
terminal, no clock and no server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from txgear.cli.base.statuses import DONE
from txgear.cli.top.acts import ACTS, Act
from txgear.cli.top.asker import Heard, News, Question
from txgear.cli.top.filters import exactly, query_of, typed_name
from txgear.cli.top.keys import PASTE
from txgear.cli.top.views import DEAD, FUNCTIONS, JOBS, VIEWS, WORKERS, Order, Row, View, name_of

LONGEST_FILTER: Final = 400
SAID_LOOKS: Final = 5
"""Answers of servers for which what was said last is shown."""


WAYS: Final[dict[tuple[View, str], tuple[View, str]]] = {
    (FUNCTIONS, "J"): (JOBS, "function"),
    (FUNCTIONS, "W"): (WORKERS, "function"),
    (FUNCTIONS, "D"): (DEAD, "function"),
    (WORKERS, "J"): (JOBS, "worker"),
}
"""From a row of a view, by a key, to the rows of another that belong to it; and the word that finds them."""


def _called(view: View, row: Row) -> str:
    name: str = row["function"] if view is FUNCTIONS else name_of(row)
    return name


class Place(NamedTuple):
    """
    A row of the list.

    @ivar of: the number of its server.
    @ivar row: what the server says.
    """

    of: int
    row: Row


@dataclass
class Shown:
    """
    How a view is shown.

    @ivar order: which of its orders.
    @ivar turned: whether it is the other way round.
    @ivar filter: what was typed to look for some rows.
    @ivar selected: the server and the id of the selected row; C{None} for the first one.
    @ivar at: where that was last. Where it has gone, the one that stands there now is selected.
    @ivar last: whether the last row is selected, whichever that is; all rows are wanted for that.
    """

    order: int = 0
    turned: bool = False
    filter: str = ""
    selected: tuple[int, Any] | None = None
    at: int = 0
    last: bool = False


class Screen:
    """
    @ivar names: the servers.
    @ivar view: the list that is shown.
    @ivar heard: what each server said last; C{None} for nothing yet.
    @ivar errors: why each does not answer; empty where it does.
    @ivar statuses: the exit statuses for that.
    @ivar said: what is said in the last line; empty for nothing.
    @ivar typed: the filter that is being typed; C{None} where none is.
    @ivar asks: an act that waits for a yes, with its row; C{None} where none does.
    @ivar helps: whether the keys are shown instead of the list.
    @ivar detail: the row of which all is shown; C{None} where the list is.
    @ivar scrolled: lines of the detail that are above the screen.
    @ivar height: rows of the list that have room, as it was last drawn.
    @ivar first: the number of the first of these.
    @ivar still: whether nobody presses keys: all rows are wanted, and none is selected.
    @ivar stale: seconds after which what a server has said is old.
    @ivar over: whether it was asked to end.
    """

    def __init__(self, names: Sequence[str], do: Callable[[int, Act, Row], None], stale: float = 5.0) -> None:
        """
        @param do: has a server do something to a row.
        @param stale: seconds after which what a server has said is old.
        """
        self.stale = stale
        self.names = names
        self.view = FUNCTIONS
        self.heard: list[Heard | None] = [None for _ in names]
        self.errors = ["" for _ in names]
        self.statuses = [DONE for _ in names]
        self.said = ""
        self.typed: str | None = None
        self.asks: tuple[Act, Place] | None = None
        self.helps = self.over = self.still = False
        self.detail: Place | None = None
        self.scrolled = 0
        self.height = 20
        self.first = 0
        self._do = do
        self._shown = {view: Shown() for view in VIEWS}
        self._said_for = 0

    @property
    def shown(self) -> Shown:
        """How the view is shown."""
        return self._shown[self.view]

    @property
    def order(self) -> Order:
        """In which order."""
        return self.view.orders[self.shown.order]

    @property
    def question(self) -> Question:
        """What servers are to be asked."""
        shown, view = self.shown, self.view
        filters = query_of(shown.filter, view.filters)
        # A screen ahead, so that one can go down without waiting.
        seen = view.most if shown.last or self.still else shown.at + 2 * self.height
        rows = view.rows(self.order, shown.turned, seen)
        if self.detail is None:
            return Question(view, filters, self.order, rows)
        return Question(view, filters, self.order, rows, view.detail(self.detail.row), self.detail.of)

    # What comes from servers

    def hear(self, news: News) -> None:
        """A server has answered, or has not."""
        if news.said:
            self.say(news.said)
        elif news.heard is not None:
            self.errors[news.of], self.statuses[news.of] = "", DONE
            self.heard[news.of] = news.heard
        else:
            self.errors[news.of], self.statuses[news.of] = news.error, news.status
        if self._said_for and not news.said:
            self._said_for -= 1
            if not self._said_for:
                self.said = ""

    def say(self, text: str) -> None:
        """Show something in the last line for a while."""
        self.said = text
        self._said_for = SAID_LOOKS * len(self.names)

    def answers(self) -> Iterator[tuple[int, Heard]]:
        """What was heard of the view that is shown, by server."""
        for of, heard in enumerate(self.heard):
            if heard is not None and heard.question.view is self.view:
                yield of, heard

    def rows(self) -> list[Place]:
        """The rows of all servers, in order."""
        found = [Place(of, row) for of, heard in self.answers() for row in heard.rows]
        key = self.order.key
        with_value = [each for each in found if key(each.row) is not None]
        with_value.sort(key=lambda each: key(each.row), reverse=self.order.down != self.shown.turned)
        return with_value + [each for each in found if key(each.row) is None]

    def index(self, rows: Sequence[Place]) -> int:
        """Which of these is selected."""
        shown = self.shown
        if shown.last:
            shown.at = max(len(rows) - 1, 0)
            return shown.at
        for index, (of, row) in enumerate(rows):
            if (of, self.view.id(row)) == shown.selected:
                shown.at = index
                return index
        return max(min(shown.at, len(rows) - 1), 0)

    # Keys

    def key(self, key: str) -> None:
        """
        A key was pressed.

        @param key: a character, or the name of another key: C{up}, C{enter}, C{escape}.
        """
        if self.typed is not None:
            self._type(key)
        elif key.startswith(PASTE):
            # Nobody means to press what is pasted.
            self.say("What was pasted is left out: / takes it, nothing else does")
        elif self.asks is not None:
            self._answer(key)
        elif self.helps:
            self.helps = False
        elif key in ("q", "end-of-input"):
            self.over = True
        elif key == "?":
            self.helps = True
        elif self.detail is not None:
            self._in_detail(key)
        else:
            self._in_list(key)

    def _type(self, key: str) -> None:
        typed = self.typed or ""
        if key == "enter":
            self._look_for(typed)
        elif key == "escape":
            self.typed = None
        elif key == "backspace":
            self.typed = typed[:-1]
        elif key == "clear":
            self.typed = ""
        elif key == "end-of-input" and not typed:
            self.typed = None
        elif len(key) == 1 or key.startswith(PASTE):
            more = " ".join(key.removeprefix(PASTE).split()) if len(key) > 1 else key
            self.typed = (typed + "".join(filter(str.isprintable, more)))[:LONGEST_FILTER]

    def _look_for(self, typed: str) -> None:
        try:
            query_of(typed, self.view.filters)
        except ValueError as error:
            self.say(str(error))
            return
        self.shown.filter, self.typed = typed, None
        self._to_top()

    def _answer(self, key: str) -> None:
        assert self.asks is not None
        act, place = self.asks
        self.asks = None
        if key in ("y", "Y"):
            self._do(place.of, act, place.row)
        else:
            self.say("Nothing was done")

    def _in_detail(self, key: str) -> None:
        if key in ("escape", "enter", "left", "backspace"):
            self.detail = None
            return
        steps = {"down": 1, "up": -1, "page-down": self.height, "page-up": -self.height}
        if key == "home":
            self.scrolled = 0
        elif key in steps:
            self.scrolled = max(0, self.scrolled + steps[key])
        elif self.detail is not None and not self._act(key, self.detail, True):
            self._change_view(key)

    def _in_list(self, key: str) -> None:
        rows = self.rows()
        at = self.index(rows)
        if key in ("up", "down", "page-up", "page-down", "home", "end"):
            to = {
                "up": at - 1,
                "down": at + 1,
                "page-up": at - self.height,
                "page-down": at + self.height,
                "home": 0,
                "end": len(rows) - 1,
            }[key]
            self._select(rows, to)
            self.shown.last = key == "end"
        elif key in ("<", ">"):
            self.shown.order = (self.shown.order + (1 if key == ">" else -1)) % len(self.view.orders)
            self.shown.turned = False
            self._to_top()
        elif key == "o":
            self.shown.turned = not self.shown.turned
            self._to_top()
        elif key == "/":
            self.typed = self.shown.filter
        elif key == "escape":
            # One step back after the other.
            if self.shown.selected is None:
                self.shown.filter = ""
            self._to_top()
        elif key == "enter" and rows:
            self._select(rows, at)
            self.shown.last = False
            self.detail, self.scrolled = rows[at], 0
        elif not (rows and self._act(key, rows[at], self._selected(rows[at]))):
            self._change_view(key, rows[at] if rows else None)

    def _to_top(self) -> None:
        """The list begins anew, with its first rows."""
        self.shown.selected, self.shown.at, self.shown.last = None, 0, False
        self.first = 0

    def _selected(self, place: Place) -> bool:
        """Whether somebody has selected this row, and it does not only stand where one was."""
        return not self.shown.last and self.shown.selected == (place.of, self.view.id(place.row))

    def _select(self, rows: Sequence[Place], to: int) -> None:
        if rows:
            of, row = rows[min(max(to, 0), len(rows) - 1)]
            self.shown.selected = of, self.view.id(row)

    def _act(self, key: str, place: Place, selected: bool) -> bool:
        """
        Whether the key is one of an act.

        @param selected: whether the row was selected. Another may have come to its place in the moment
            before: then it is asked whether this one is meant.
        """
        for act in ACTS[self.view]:
            if act.key == key:
                if act.question is None and selected:
                    self._do(place.of, act, place.row)
                else:
                    self.asks = act, place
                return True
        return False

    def _change_view(self, key: str, place: Place | None = None) -> None:
        wanted: View | None = next((view for view in VIEWS if view.key == key), None)
        if key in ("tab", "right"):
            wanted = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]
        elif key in ("back-tab", "left"):
            wanted = VIEWS[VIEWS.index(self.view) - 1]
        elif place is not None and (way := WAYS.get((self.view, key))) is not None:
            wanted, word = way
            name = typed_name(_called(self.view, place.row))
            if word == "function":
                name = exactly(name)
            self._shown[wanted] = Shown(filter=f"{word}={name}")
        if wanted is not None:
            self.view, self.detail, self.first = wanted, None, 0
