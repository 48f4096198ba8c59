"""Tests of L{txgear.cli.top.screen} and L{txgear.cli.top.drawing}: what keys do, and what is seen then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.diagnosis.diagnosis import CODES
from txgear.cli.top.acts import ACTS, Act
from txgear.cli.top.asker import Heard, News
from txgear.cli.top.drawing import lines, widths
from txgear.cli.top.screen import LONGEST_FILTER, SAID_LOOKS, Screen
from txgear.cli.top.views import (
    DEAD,
    FUNCTIONS,
    JOBS,
    MOST_FUNCTIONS,
    MOST_ROWS,
    VIEWS,
    WORDS,
    WORKERS,
    Row,
)

TOTALS: dict[str, Any] = {
    "queued": 5,
    "running": 1,
    "waiting": 0,
    "dead": 2,
    "submitted_rate": 1.5,
    "completed_rate": 1.25,
    "failed_rate": 0.0,
}
IDLE: dict[str, Any] = {"condition": "asleep", "jobs": 0, "in_hand": [], "names": [], "idle": None}
SERVER: dict[str, Any] = {"uptime": 3600.0, "draining": False, "store": {"available": True, "why": None}}


def function(name: str, queued: int = 0, **more: Any) -> Row:
    row = {"function": name, "queued": queued, "running": 0, "waiting": 0, "oldest": None, "workers": 1}
    row |= {"dead": 0, "kept": 0, "paused": False, "submitted_rate": 0.0, "completed_rate": 0.0}
    return {**row, "failed_rate": 0.0, "wait_p95": None, "run_p95": None, **more}


def job(handle: str, **more: Any) -> Row:
    row = {"handle": handle, "function": "f", "state": "queued", "priority": "normal", "age": 7.0}
    return {**row, "attempts": 0, "worker": None, "unique": "", **more}


class ScreenTestCase(SynchronousTestCase):
    names: Sequence[str] = ("one",)

    def setUp(self) -> None:
        self.done: list[tuple[int, str, Row]] = []
        self.screen = Screen(self.names, self.do)

    def do(self, of: int, act: Act, row: Row) -> None:
        self.done.append((of, act.label, row))

    def hear(self, *rows: Row, of: int = 0, detail: Any = None, now: float = 0.0, **server: Any) -> None:
        said = {**SERVER, **server}
        heard = Heard(self.screen.question, said, TOTALS, rows, None, False, detail, 3600.0, now)
        self.screen.hear(News(of, heard))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.screen.key(key)

    def seen(self, width: int = 80, height: int = 24, now: float = 0.0) -> list[str]:
        """What stands on the screen; no line is too long, and there are not too many."""
        drawn = lines(self.screen, width, height, now)
        self.assertLessEqual(len(drawn), height)
        for line in drawn:
            self.assertLessEqual(line.cells, width, line.plain)
        return [line.plain.rstrip() for line in drawn]

    def selected(self) -> str:
        rows = self.screen.rows()
        return str(self.screen.view.id(rows[self.screen.index(rows)].row))


class ListTests(ScreenTestCase):
    def test_before_anything_is_known(self) -> None:
        self.assertEqual(self.seen()[0], "one: is asked")

    def test_functions(self) -> None:
        self.hear(function("mail", 5, oldest=90.0), function("image"))
        first, tabs, title, mail, image, *_ = self.seen()
        self.assertTrue(
            first.startswith("one up 1h  5 queued 1 run 0 later 2 dead  in 1.5 out 1.2 fail 0/s"), first
        )
        self.assertTrue(tabs.startswith("[functions] workers  jobs  dead   by queue, largest first"), tabs)
        self.assertTrue(tabs.endswith("  1-2 of 2"), tabs)
        columns = ["function", "wrong", "queue", "run", "later", "dead", "work", "age"]
        self.assertEqual(title.split(), [*columns, "in/s", "out/s", "wait", "takes"])
        self.assertEqual(mail.split()[:2] + mail.split()[6:7], ["mail", "5", "90s"])
        self.assertEqual(image.split()[0], "image")

    def test_what_is_wrong(self) -> None:
        self.hear(
            function("f", 3, code="never_a_worker", severity="critical", finding="2 jobs wait, and so on"),
            function("g", 2, paused=True),
            function("h", 1, code="all_busy", severity="warning", finding="all 3 workers are busy"),
        )
        seen = self.seen()
        self.assertEqual([line.split()[1:3] for line in seen[3:5]], [["no", "worker"], ["paused", "2"]])
        self.assertIn(" all busy ", seen[5])
        self.assertEqual(seen[-1], "2 jobs wait, and so on")

    def test_every_code_is_a_short_word(self) -> None:
        for code in CODES:
            self.hear(function("f", code=code, severity="warning", finding=""))
            word = WORDS.get(code, code.replace("_", " "))
            self.assertIn(f" {word} ", self.seen()[3])
            self.assertLessEqual(len(word), 14)

    def test_what_is_wrong_is_an_order(self) -> None:
        self.screen.shown.order = [order.name for order in FUNCTIONS.orders].index("wrong")
        self.hear(
            function("fine", 9),
            function("warned", code="dead", severity="warning", finding=""),
            function("stuck", code="no_worker", severity="critical", finding=""),
            function("held", paused=True),
        )
        self.assertEqual(
            [place.row["function"] for place in self.screen.rows()], ["stuck", "warned", "held", "fine"]
        )

    def test_long_names(self) -> None:
        """They are cut where they are alike."""
        self.hear(*(function(f"shop.orders.deliveries.step-{number}") for number in (1, 2)))
        self.assertEqual([line.split()[0][-6:] for line in self.seen()[3:5]], ["step-1", "step-2"])

    def test_nothing_there(self) -> None:
        for key, said in (("f", "functions"), ("w", "workers"), ("j", "jobs"), ("d", "dead jobs")):
            self.press(key)
            self.hear()
            self.assertIn(f"There are no {said}", self.seen())
        self.screen.shown.filter = "x"
        self.hear()
        self.assertIn("Nothing is like that; Esc shows all again", self.seen())

    def test_any_size(self) -> None:
        """It fits whatever the terminal has, down to a cell."""
        self.hear(*(function(f"{'long' * 30}{number}", number) for number in range(50)))
        for width in (1, 2, 7, 20, 40, 80, 200):
            for height in (1, 2, 3, 4, 24, 60):
                self.seen(width, height)

    def test_wide_characters(self) -> None:
        self.hear(function("メール送信" * 10, 3))
        self.assertIn("~", self.seen()[3])

    def test_hostile_names(self) -> None:
        """What comes from servers does nothing to the terminal."""
        self.hear(function("\x1b[2J\n\x9b", 3, finding="\x07"))
        self.assertNotIn("\x1b", "".join(self.seen()))
        self.assertIn("\\x1b[2J", self.seen()[3])

    def test_columns_that_have_no_room_go(self) -> None:
        sizes = widths(FUNCTIONS.columns, 50)
        self.assertEqual(sizes[-3:], [0, 0, 0])
        self.assertTrue(all(sizes[:4]))
        self.assertEqual(sum(size + 1 for size in sizes if size) - 1, 50)

    def test_each_view(self) -> None:
        worker = {
            "descriptor": 9,
            "address": "192.0.2.1",
            "client_id": "mailer",
            "condition": "busy",
            "jobs": 2,
        }
        worker |= {"in_hand": [], "names": ["mail"], "enrolled": "t", "idle": 3.0}
        hand = {"handle": "H:1", "function": "mail", "numerator": 1, "denominator": 4, "seconds": 90.0}
        self.press("w")
        self.hear(worker, {**worker, "descriptor": 10, "client_id": None, "in_hand": [hand]})
        seen = self.seen()
        # The one that has been at it for longest comes first.
        self.assertEqual(seen[3].split()[:5], ["192.0.2.1", "10", "busy", "2", "90s"])
        self.assertIn("mail H:1 25% and 1 more", seen[3])
        self.assertIn("(mail)", seen[4])
        self.press("d")
        self.hear({**job("H:2"), "reason": "exception", "text": "550 no such user", "size": 3})
        self.assertIn("550 no such user", self.seen()[3])


class KeyTests(ScreenTestCase):
    def test_selection(self) -> None:
        self.press("j")
        self.hear(*(job(f"H:{number}", age=100.0 - number) for number in range(50)))
        self.seen()
        for key, handle in (
            ("down", "H:1"),
            ("down", "H:2"),
            ("up", "H:1"),
            ("end", "H:49"),
            ("down", "H:49"),
            ("page-up", "H:29"),
            ("home", "H:0"),
            ("up", "H:0"),
            ("page-down", "H:20"),
        ):
            self.press(key)
            self.assertEqual(self.selected(), handle, key)
        self.assertIn("H:20", "\n".join(self.seen()))

    def test_selection_stays(self) -> None:
        """It stays with its row, wherever that goes, and at its place once the row has gone."""
        self.press("j")
        self.hear(job("H:1", age=9.0), job("H:2", age=8.0), job("H:3", age=7.0))
        self.press("down")
        self.hear(job("H:0", age=10.0), job("H:1", age=9.0), job("H:2", age=8.0), job("H:3", age=7.0))
        self.assertEqual(self.selected(), "H:2")
        self.hear(job("H:0", age=10.0), job("H:1", age=9.0), job("H:3", age=7.0))
        self.assertEqual(self.selected(), "H:3")

    def test_order(self) -> None:
        self.hear(function("b", 1, dead=7), function("a", 2))
        self.assertEqual([place.row["function"] for place in self.screen.rows()], ["a", "b"])
        self.press("o")
        self.assertEqual([place.row["function"] for place in self.screen.rows()], ["b", "a"])
        self.press(">", ">", ">", ">")
        self.assertEqual(self.screen.order.asked, "dead")
        self.assertEqual([place.row["function"] for place in self.screen.rows()], ["b", "a"])
        self.press("<")
        self.assertEqual(self.screen.order.name, "later")

    def test_how_many_rows_are_asked_for(self) -> None:
        """As few as are seen, where the server has them in the order that is wanted."""
        question = self.screen.question
        self.assertEqual((question.rows, question.view), (50, FUNCTIONS))
        self.hear(*(function(f"f{number:03}") for number in range(50)))
        self.seen()
        self.press(*["page-down"] * 2)
        self.seen()
        self.assertEqual(self.screen.question.rows, 200)
        self.press("o")
        self.assertIsNone(self.screen.shown.selected)
        self.seen()
        self.assertEqual(self.screen.question.rows, MOST_FUNCTIONS)
        self.press("o", "end")
        self.assertEqual(self.screen.question.rows, MOST_FUNCTIONS)
        # The last one is that of all, once they are there.
        self.hear(*(function(f"f{number:03}") for number in range(1000)))
        self.assertEqual(self.selected(), "f999")
        self.assertIn("f999", self.seen()[-2])
        self.press("up")
        self.assertEqual(self.selected(), "f998")
        self.press("escape")
        self.assertEqual(self.screen.question.rows, 50)
        self.press(*">>>")
        self.assertEqual((self.screen.order.name, self.screen.question.rows), ("later", MOST_FUNCTIONS))
        self.press("j")
        self.assertEqual(self.screen.question.rows, 50)
        self.press(">")
        self.assertEqual(self.screen.question.rows, MOST_ROWS)

    def test_there_are_more(self) -> None:
        heard = Heard(self.screen.question, SERVER, TOTALS, [function("f")], 1234, True, None, 1.0, 0.0)
        self.screen.hear(News(0, heard))
        self.assertTrue(self.seen()[1].endswith("1-1 of 1234"), self.seen()[1])
        self.press("j")
        heard = Heard(self.screen.question, SERVER, TOTALS, [job("H:1")], None, True, None, 1.0, 0.0)
        self.screen.hear(News(0, heard))
        self.assertTrue(self.seen()[1].endswith("1-1 of 1+"), self.seen()[1])
        heard = Heard(self.screen.question, SERVER, TOTALS, [], None, True, None, 1.0, 0.0)
        self.screen.hear(News(0, heard))
        self.assertTrue(self.seen()[3].startswith("None of those that were looked at"), self.seen()[3])

    def test_the_list_moves_at_its_edges(self) -> None:
        """What stands on the screen stays where it is, as long as the selected row has room."""
        self.press("j")
        self.hear(*(job(f"H:{number}", age=100.0 - number) for number in range(50)))
        self.seen()
        self.press(*["down"] * 25)
        self.assertEqual(self.seen()[3].split()[0], "H:6")
        self.press(*["up"] * 10)
        self.assertEqual(self.seen()[3].split()[0], "H:6")
        self.press(*["up"] * 11)
        self.assertEqual(self.seen()[3].split()[0], "H:4")

    def test_rows_without_a_value_come_last(self) -> None:
        self.hear(function("a"), function("b", oldest=3.0), function("c", oldest=9.0))
        self.press(">")
        for _ in range(2):
            self.assertEqual(self.screen.rows()[-1].row["function"], "a")
            self.press("o")

    def test_views(self) -> None:
        for key, view in (
            ("w", WORKERS),
            ("tab", JOBS),
            ("right", DEAD),
            ("tab", FUNCTIONS),
            ("back-tab", DEAD),
            ("left", JOBS),
        ):
            self.press(key)
            self.assertIs(self.screen.view, view)

    def test_filter(self) -> None:
        self.press("j", "/", *"f x", "backspace", "backspace", "backspace", *"state=runn")
        self.assertEqual(self.seen()[-1], "/state=runn")
        self.press(*"ing", "enter")
        self.assertEqual(self.screen.question.filters, {"state": "running"})
        self.assertIn("/state=running", self.seen()[1])
        self.press("/", "escape")
        self.assertEqual(self.screen.shown.filter, "state=running")
        self.press("escape")
        self.assertEqual(self.screen.question.filters, {})
        self.press("/", *"age", "clear", *"old", "end-of-input")
        self.assertEqual(self.screen.typed, "old")
        self.press("clear", "end-of-input")
        self.assertIsNone(self.screen.typed)

    def test_escape_leads_back_by_steps(self) -> None:
        self.press("j", "/", *"mail", "enter")
        self.hear(job("H:1"), job("H:2"))
        self.press("down", "escape")
        self.assertEqual((self.screen.shown.selected, self.screen.shown.filter), (None, "mail"))
        self.press("escape")
        self.assertEqual(self.screen.shown.filter, "")

    def test_what_is_pasted(self) -> None:
        """It goes into a filter; elsewhere it is no keys."""
        self.press("j")
        self.hear(job("H:1"))
        self.press("paste:ky")
        self.assertEqual((self.screen.asks, self.done), (None, []))
        self.assertIn("left out", self.seen()[-1])
        self.press("k", "paste:y")
        self.assertEqual(self.done, [])
        self.press("y", "/", "paste:mail.send\nstate=queued\x1b")
        self.assertEqual(self.screen.typed, "mail.send state=queued")
        self.press("paste:" + "x" * 9999)
        self.assertEqual(len(self.screen.typed or ""), LONGEST_FILTER)

    def test_filter_that_makes_no_sense(self) -> None:
        """It is said, and one may mend what was typed."""
        self.press("/", *"colour=red", "enter")
        self.assertIn("colour= is not known here", self.seen()[-1])
        self.assertEqual(self.screen.typed, "colour=red")

    def test_letters_are_typed_and_do_nothing(self) -> None:
        self.hear(function("f"))
        self.press("/", *"pq?K")
        self.assertEqual((self.screen.typed, self.done, self.screen.over), ("pq?K", [], False))

    def test_help(self) -> None:
        for view in VIEWS:
            self.press(view.key, "?")
            seen = "\n".join(self.seen())
            for act in ACTS[view]:
                self.assertIn(act.label, seen)
            # Any key leads back, and does nothing else.
            self.press("q")
            self.assertFalse(self.screen.over)

    def test_jobs_of_what_is_selected(self) -> None:
        self.hear(function("mail"))
        self.press("J")
        self.assertIs(self.screen.view, JOBS)
        self.assertEqual(self.screen.question.filters, {"function": "mail"})
        self.press("f")
        self.hear(function("a b*"))
        for key, view in (("J", JOBS), ("W", WORKERS), ("D", DEAD)):
            self.press(key)
            self.assertIs(self.screen.view, view)
            self.assertEqual(self.screen.question.filters, {"function": "a\\x20b[*]"})
            self.press("f")
        self.press("w", "escape")
        self.hear({**job(""), "descriptor": 3, "enrolled": "t", "client_id": None, "address": "::1", **IDLE})
        self.press("J")
        self.assertEqual(self.screen.question.filters, {"worker": "::1"})

    def test_end(self) -> None:
        for key in ("q", "end-of-input"):
            screen = Screen(["one"], self.do)
            screen.key(key)
            self.assertTrue(screen.over)


class ActTests(ScreenTestCase):
    def test_what_nobody_has_selected_asks(self) -> None:
        """Another row may have come to its place in the moment before."""
        self.hear(function("a", 2), function("b", 1))
        self.press("p")
        self.assertEqual((self.done, self.seen()[-1][:27]), ([], "a: pause, or go on?  y: yes"))
        # It is that row which was asked for.
        self.hear(function("a", 2), function("b", 9))
        self.press("y")
        self.assertEqual([row["function"] for _, _, row in self.done], ["a"])
        self.press("down", "up", "p")
        self.assertEqual([row["function"] for _, _, row in self.done], ["a", "b"])
        # Nor does one count that stands where the selected one was.
        self.hear(function("c", 1))
        self.press("p")
        self.assertEqual(len(self.done), 2)

    def test_a_question_has_room_for_its_keys(self) -> None:
        self.press("j")
        self.hear(job("H:" + "1" * 300))
        self.press("k")
        for width in (40, 80):
            self.assertTrue(self.seen(width)[-1].endswith("~  y: yes, any other key: no"))

    def test_at_once(self) -> None:
        self.hear(function("a", 2), function("b", 1))
        self.press("down", "p")
        self.assertEqual(
            [(of, label, row["function"]) for of, label, row in self.done], [(0, "pause, or go on", "b")]
        )

    def test_what_cannot_be_undone_asks(self) -> None:
        self.press("j")
        self.hear(job("H:1"))
        # Although somebody has selected it.
        self.press("down", "k")
        self.assertEqual(self.seen()[-1], "Cancel H:1 of f?  y: yes, any other key: no")
        self.press("n")
        self.assertEqual((self.done, self.seen()[-1]), ([], "Nothing was done"))
        self.press("k")
        # It is the job that was asked for, whatever comes in between.
        self.hear(job("H:2"))
        self.press("y")
        self.assertEqual([row["handle"] for _, _, row in self.done], ["H:1"])

    def test_every_act_that_asks_says_of_what(self) -> None:
        row = {
            **function("f"),
            **job("H:1"),
            "client_id": "w",
            "descriptor": 3,
            "in_hand": [],
            "condition": "",
        }
        for acts in ACTS.values():
            for act in acts:
                if act.question is not None:
                    self.assertTrue(act.question(row).endswith("?"))

    def test_nothing_is_there(self) -> None:
        self.press("j")
        self.hear()
        self.press("k", "r", "enter", "J")
        self.assertEqual((self.done, self.screen.asks, self.screen.detail), ([], None, None))

    def test_what_is_said_goes_again(self) -> None:
        self.screen.hear(News(0, said="H:1 is cancelled"))
        self.hear()
        self.assertEqual(self.seen()[-1], "H:1 is cancelled")
        for _ in range(SAID_LOOKS):
            self.hear()
        self.assertIn("? keys", self.seen()[-1])


class DetailTests(ScreenTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.press("j")
        self.hear(job("H:1"))

    def test_job(self) -> None:
        self.press("enter")
        self.assertEqual(self.screen.question.detail, "/api/v1/jobs/H%3A1")
        self.assertEqual(self.seen()[2], "")
        history = [{"began": "2026-11-21", "reason": "exception", "text": "no\nluck"}]
        self.hear(
            job("H:1"), detail={"handle": "H:1", "size": 3, "unique": "", "links": {}, "history": history}
        )
        seen = "\n".join(self.seen())
        self.assertIn("handle   H:1", seen)
        self.assertIn("reason exception  text no\\x0aluck", seen)
        self.assertNotIn("links", seen)
        self.press("escape")
        self.assertIsNone(self.screen.detail)

    def test_it_has_gone(self) -> None:
        self.press("enter")
        self.hear(detail={"gone": "There is no such job"})
        self.assertIn("There is no such job", self.seen())

    def test_scrolling(self) -> None:
        self.press("enter")
        self.hear(detail={f"fact{number}": number for number in range(60)})
        self.assertIn("fact0 ", self.seen()[2])
        self.press("page-down", "down", "up")
        self.assertNotIn("fact0 ", "\n".join(self.seen()))
        self.press(*["page-down"] * 9)
        self.assertIn("fact59", "\n".join(self.seen()))
        self.press("home")
        self.assertIn("fact0 ", self.seen()[2])

    def test_acts_hold_for_it(self) -> None:
        self.press("enter", "r")
        self.assertEqual([row["handle"] for _, _, row in self.done], ["H:1"])
        self.press("w")
        self.assertIs(self.screen.view, WORKERS)
        self.assertIsNone(self.screen.detail)

    def test_function(self) -> None:
        self.press("f")
        self.hear(function("f", 3))
        self.press("enter")
        self.hear(function("f", 3), detail={"findings": [{"severity": "ok", "text": "all is well " * 20}]})
        seen = self.seen()
        self.assertTrue(seen[2].startswith("ok: all is well"))
        self.assertIn("queued", "\n".join(seen))


class ServerTests(ScreenTestCase):
    names = ("one", "two")

    def test_rows_of_all(self) -> None:
        self.hear(function("f", 1), of=0)
        self.hear(function("f", 5), of=1)
        seen = self.seen()
        self.assertEqual(seen[3].split()[0], "server")
        self.assertEqual([seen[4].split()[0], seen[5].split()[0]], ["two", "one"])
        self.press("down", "up", "p")
        self.assertEqual(self.done[0][0], 1)
        # So does what asks before.
        self.press("K", "y")
        self.assertEqual([of for of, _, _ in self.done], [1, 1])

    def test_one_is_away(self) -> None:
        """What it said last stays, and how old that is."""
        self.hear(function("f", 1), of=0)
        self.screen.hear(News(1, error="two: Connection refused"))
        self.assertEqual(self.seen()[1], "two: Connection refused")
        self.hear(function("g", 1), of=1)
        self.screen.hear(News(1, error="Connection refused"))
        self.assertEqual(self.seen(now=61.0)[1], "two: Connection refused; as of 1m1s ago")
        self.assertIn("g", [line.split()[1] for line in self.seen()[4:6]])

    def test_states(self) -> None:
        for more, said in (
            ({"draining": True}, "DRAINS"),
            ({"store": {"available": False, "why": "disk full"}}, "its store is away: disk full"),
        ):
            self.hear(of=0, **more)
            self.assertIn(said, self.seen()[0])
        nothing = Heard(self.screen.question, None, TOTALS, [], None, False, None, 61.0, 0.0)
        self.screen.hear(News(0, nothing))
        self.assertTrue(self.seen()[0].startswith("one up 1m1s  5 queued"))
        self.hear(of=0)
        self.assertIn("does not answer; as of 9s ago", self.seen(now=9.0)[0])
        self.screen.stale = 30.0
        self.assertIn("5 queued", self.seen(now=9.0)[0])


class ManyServersTests(ScreenTestCase):
    names = tuple(f"gear{number}" for number in range(40))

    def test_those_that_need_somebody_come_first(self) -> None:
        for of in range(40):
            self.hear(function(f"f{of}", of), of=of)
        self.screen.hear(News(30, error="Connection refused", status=3))
        seen = self.seen()
        self.assertTrue(seen[0].startswith("gear30: Connection refused"), seen[0])
        self.assertEqual(seen[7], "and 33 servers more")
        self.assertEqual(seen[9].split()[0], "server")
        self.assertEqual(seen[10].split()[:2], ["gear39", "f39"])


class StillTests(ScreenTestCase):
    def test_nobody_presses_keys(self) -> None:
        """All rows, none selected, and nothing said of keys."""
        self.screen.still = True
        self.assertEqual(self.screen.question.rows, MOST_FUNCTIONS)
        self.hear(
            *(function(f"f{number:02}", code="dead", severity="warning", finding="!") for number in range(50))
        )
        drawn = lines(self.screen, 80, 60, 0.0)
        self.assertEqual(len([line for line in drawn if line.plain.startswith("f")]), 51)
        self.assertNotIn("reverse", {style for line in drawn[2:] for _, style in line.parts})
        self.assertEqual(drawn[-1].plain, "")
