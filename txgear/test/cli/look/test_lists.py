"""
Tests for L{txgear.cli.look.lists}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base import quantities
from txgear.cli.base.output import Column
from txgear.cli.base.statuses import DENIED, DONE, MISUSED, UNREACHABLE, CommandError
from txgear.cli.look.lists import PAGE, Choice, show, show_jobs
from txgear.cli.look.totals import ADD, Total
from txgear.test.cli.support import FakeApi, FakeServers, Written, writing

COLUMNS = (
    Column("name"),
    Column("age", show=quantities.age, right=True),
    Column("worker"),
    Column("length", usual=False, of=lambda row: len(row["name"])),
)
ROWS: list[dict[str, Any]] = [
    {"name": "b", "age": 60, "worker": None},
    {"name": "a\tb\x1b", "age": None, "worker": "-"},
    {"name": "ccc", "age": 5, "worker": ""},
]
TOTAL = Total({"age": ADD, "on": ADD}, "name", "thing", always=True)


def _rows(api: Any) -> Any:
    return api.get("rows")


def shown(
    choice: Choice, *apis: FakeApi, total: Total | None = None, terminal: bool = False
) -> tuple[int, Written]:
    """What a list of some servers writes, each of which has L{ROWS}."""
    servers = FakeServers(*(apis or (FakeApi(answers={"rows": ROWS}),)))
    with writing(terminal) as written:
        status = show(servers, choice, _rows, COLUMNS, total)
    return status, written


def names(choice: Choice) -> list[str]:
    """The names in a list, in its order."""
    _, written = shown(Choice(choice.limit, choice.where, choice.sort, ("name",)))
    return written.out.splitlines()[1:]


class JobsTests(SynchronousTestCase):
    """Of a cluster one server lists its own jobs, and says who has others."""

    def listed(self, *names: str, others: Any = None) -> Written:
        jobs = {"jobs": ROWS, "next": None, **({} if others is None else {"others": others})}
        servers = FakeServers(*(FakeApi(name, {"/jobs": jobs}) for name in names))
        with writing() as written:
            self.assertEqual(show_jobs(servers, Choice(), "/jobs", {}, COLUMNS), DONE)
        self.assertEqual(len(written.out.splitlines()), 1 + 3 * len(names))
        return written

    def test_others(self) -> None:
        b = {"server": "b", "address": "b.example:4730", "queued": 12000, "running": 3}
        c = {"server": "c\x1b", "address": None, "queued": None, "running": None}
        said = "Not in this list: the jobs of b at b.example:4730 (12,000 queued, 3 running), c\\x1b\n"
        self.assertEqual(self.listed("a:1", others=[b, c]).err, said)
        self.assertEqual(self.listed("a:1", "b:1", others=[b, c]).err, "")

    def test_no_others(self) -> None:
        self.assertEqual(self.listed("a:1", others=[]).err, "")
        self.assertEqual(self.listed("a:1").err, "")


class ShowTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """Nothing is a dash, what is called so is not, and nothing controls a terminal."""
        status, written = shown(Choice())
        self.assertEqual(status, DONE)
        self.assertEqual(
            written.out,
            "name\tage\tworker\nb\t1m\t-\na\\x09b\\x1b\t-\t\\x2d\nccc\t5s\t-\n",
        )
        self.assertEqual(written.err, "")

    def test_columns(self) -> None:
        _, written = shown(Choice(columns=("length", "name")))
        self.assertEqual(written.out, "length\tname\n1\tb\n4\ta\\x09b\\x1b\n3\tccc\n")

    def test_json_is_as_the_server_has_it(self) -> None:
        _, written = shown(Choice(as_json=True))
        self.assertEqual([json.loads(line) for line in written.out.splitlines()], ROWS)
        _, written = shown(Choice(as_json=True, columns=("length", "age")))
        self.assertEqual(json.loads(written.out.splitlines()[0]), {"length": 1, "age": 60})

    def test_order(self) -> None:
        self.assertEqual(names(Choice(sort="age")), ["ccc", "b", "a\\x09b\\x1b"])
        self.assertEqual(names(Choice(sort="-age")), ["b", "ccc", "a\\x09b\\x1b"])
        self.assertEqual(names(Choice(sort="-length")), ["a\\x09b\\x1b", "ccc", "b"])

    def test_conditions(self) -> None:
        self.assertEqual(names(Choice(where=("age>1s", "name!=c*"))), ["b"])

    def test_limit(self) -> None:
        """Whoever does not see all is told so, beside the data."""
        _, written = shown(Choice(limit=2, sort="age", columns=("name",)))
        self.assertEqual(written.out, "name\nccc\nb\n")
        self.assertEqual(written.err, "There are more than 2: --all, or --limit N, shows them.\n")
        for limit in (3, None):
            _, written = shown(Choice(limit=limit))
            self.assertEqual((len(written.out.splitlines()), written.err), (4, ""))

    def test_no_more_is_asked_for_than_wanted(self) -> None:
        self.assertEqual(Choice(limit=5).page, 6)
        for choice in (Choice(limit=None), Choice(limit=500), Choice(limit=5, sort="a"), Choice(5, ("a=b",))):
            self.assertEqual(choice.page, PAGE)

    def test_rows_are_not_gathered(self) -> None:
        """The first is written before the third is asked for."""
        taken: list[int] = []

        def rows() -> Iterator[dict[str, Any]]:
            for number in range(1000):
                taken.append(number)
                yield {"name": str(number), "age": 1}

        with writing():
            show(FakeServers(FakeApi()), Choice(limit=2), lambda api: rows(), COLUMNS)
        self.assertEqual(taken, [0, 1, 2])

    def test_sums(self) -> None:
        """They are of all rows that match, whether or not they are shown."""
        _, written = shown(Choice(limit=1), total=TOTAL)
        self.assertEqual(written.out.splitlines()[1:], ["b\t1m\t-", "3 things\t1m5s\t-"])
        _, written = shown(Choice(where=("name=b",)), total=TOTAL)
        self.assertEqual(written.out.splitlines()[-1], "1 thing\t1m\t-")
        _, written = shown(Choice(as_json=True, sort="name"), total=TOTAL)
        self.assertEqual(json.loads(written.out.splitlines()[-1]), {"name": None, "age": 65})

    def test_of_what_is_so_or_not_sums_say_how_many_are(self) -> None:
        for values, text in (([True], "1"), ([False, True, True], "2"), ([False], "0")):
            rows = [{"name": "a", "on": value} for value in values]
            api = FakeApi(answers={"rows": rows})
            with writing() as written:
                show(FakeServers(api), Choice(), _rows, (Column("name"), Column("on")), TOTAL)
            self.assertEqual(written.out.splitlines()[-1].split("\t")[1], text)

    def test_sums_are_for_people_unless_they_are_asked_for(self) -> None:
        total = Total({"age": ADD}, "name", "thing")
        _, written = shown(Choice(), total=total)
        self.assertNotIn("things", written.out)
        _, written = shown(Choice(), total=total, terminal=True)
        self.assertIn("3 things", written.out.splitlines()[-1])
        _, written = shown(Choice(where=("name=z",)), total=total, terminal=True)
        self.assertNotIn("things", written.out)

    def test_what_is_no_column(self) -> None:
        for choice in (
            Choice(sort="no"),
            Choice(sort="-no"),
            Choice(sort="-"),
            Choice(columns=("name", "no")),
            Choice(where=("no=1",)),
        ):
            error = self.assertRaises(CommandError, shown, choice)
            self.assertEqual(error.status, MISUSED)
            self.assertIn("there are name, age, worker, length", error.text)


class SeveralTests(SynchronousTestCase):
    """Of several servers."""

    def test_rows_say_where_they_are_from(self) -> None:
        one, two = FakeApi("one:1", {"rows": ROWS[:1]}), FakeApi("two:2", {"rows": ROWS[2:]})
        _, written = shown(Choice(), one, two)
        self.assertEqual(written.out, "server\tname\tage\tworker\none:1\tb\t1m\t-\ntwo:2\tccc\t5s\t-\n")
        _, written = shown(Choice(sort="age", where=("server=t*",), as_json=True), one, two)
        self.assertEqual(json.loads(written.out), {"server": "two:2", **ROWS[2]})
        self.assertEqual((one.closed, two.closed), (2, 2))

    def test_one_that_is_away_hides_no_other(self) -> None:
        away = FakeApi("one:1", {"rows": CommandError("one:1: Connection refused", UNREACHABLE)})
        denied = FakeApi("two:2", {"rows": CommandError("Not allowed: see", DENIED)})
        status, written = shown(Choice(), away, denied, FakeApi("three:3", {"rows": ROWS}))
        self.assertEqual(status, UNREACHABLE)
        self.assertEqual(written.err, "one:1: Connection refused\ntwo:2: Not allowed: see\n")
        self.assertEqual(len(written.out.splitlines()), 4)

    def test_the_only_one_is_an_error(self) -> None:
        """And there is no list."""
        api = FakeApi(answers={"rows": CommandError("away", UNREACHABLE)})
        with writing() as written:
            self.assertRaises(CommandError, show, FakeServers(api), Choice(), _rows, COLUMNS)
        self.assertEqual(written.out, "")

    def test_what_none_understands_is_an_error(self) -> None:
        apis = [FakeApi(name, {"rows": CommandError("state: no", MISUSED)}) for name in ("a:1", "b:2")]
        self.assertRaises(CommandError, shown, Choice(), *apis)


class TableTests(SynchronousTestCase):
    """On a terminal."""

    def lines(self, rows: list[dict[str, Any]], **more: Any) -> list[str]:
        """A table without its colours, and without spaces at the end."""
        api = FakeApi(answers={"rows": rows})
        _, written = shown(Choice(limit=None, **more), api, terminal=True)
        return [line.rstrip() for line in written.out.splitlines()]

    def test_numbers_stand_at_the_right(self) -> None:
        self.assertEqual(
            self.lines(ROWS),
            [
                "name        age  worker",
                "b            1m  -",
                "a\\x09b\\x1b    -  \\x2d",
                "ccc          5s  -",
            ],
        )

    def test_long_text_is_folded_and_nothing_lost(self) -> None:
        name = "".join(chr(97 + number % 26) for number in range(200))
        lines = self.lines([{"name": name, "age": 1, "worker": "w"}])
        self.assertTrue(all(len(line) <= 80 for line in lines), lines)
        self.assertEqual("".join(line.split()[0] for line in lines[1:]), name)

    def test_columns_of_long_lists_stand_below_each_other(self) -> None:
        rows = [{"name": "n" * (1 + number // 100), "age": 60, "worker": "w"} for number in range(500)]
        lines = self.lines(rows)
        self.assertEqual(len(lines), 501)
        widths = [line.index(" 1m") for line in lines[1:]]
        self.assertEqual(widths, sorted(widths))
        self.assertEqual(len(set(widths)), 2)
