"""
Tests for L{txgear.daemon.config}.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.config import Config, parse_config, read_config
from txgear.errors import ConfigurationError
from txgear.policies import Backoff, Policy, Rate, Retention, Retries
from txgear.protocol.constants import HIGH, LOW, NORMAL
from txgear.server.schedules import Schedule

GOOD = '''\
# What sends mail.
[[function]]
name = "mail.*"
retries = 5

[function.backoff]
kind = "linear"
first = "10s"

[[function]]
names = [
    "thumbnail",
    "convert_?",
]
rate = "10/s"
results = { keep = "1h", bytes = "64K" }

[[schedule]]
name = "nightly"
cron = "30 2 * * MON-FRI"
timezone = "Europe/Berlin"
function = "report"
workload = """
[[schedule]]
{"of": "yesterday", "für": "alle"}"""
unique = "report"
priority = "low"

[[schedule]]
name = "often"
cron = "*/5 * * * *"
function = "poll"
'''


class WarningsTests(SynchronousTestCase):
    """What is right, and surely not meant."""

    def test_rules_that_never_count(self) -> None:
        text = (
            '[[function]]\nname = "*"\n\n[[function]]\nname = "mail"\n[[function]]\nnames = [\n"a",\n"b"]\n'
        )
        self.assertEqual(
            parse_config(text, "x").warnings,
            tuple(
                f"x, line {line} never counts: '*' in line 2 takes all that {name!r} matches"
                for line, name in ((5, "mail"), (7, "a"), (7, "b"))
            ),
        )
        self.assertEqual(parse_config(GOOD, "x").warnings, ())

    def test_settings_under_an_earlier_name(self) -> None:
        """They count, and are mentioned."""
        text = '[[function]]\nname = "a"\n\n[[function]]\nname = "b"\nretries = 1\nonce = "1h"\n'
        config = parse_config(text, "x")
        self.assertEqual(config.policies.policy_for(b"b"), Policy(Retries(1), unique_for=3600.0))
        self.assertEqual(
            config.warnings, ("x, line 7: function.once is called unique_for now; both names are taken",)
        )
        error = self.assertRaises(ConfigurationError, parse_config, text + "unique_for = 1\n", "x")
        self.assertEqual(
            str(error),
            "x, line 7: function.once: this is unique_for under its earlier name,"
            " and unique_for is set as well",
        )


class GoodTests(SynchronousTestCase):
    """What a file without mistakes says."""

    def test_policies(self) -> None:
        """A table for each pattern or list of patterns; the first that matches counts."""
        policies = parse_config(GOOD, "x").policies
        mail = Policy(retries=Retries(5), backoff=Backoff("linear", 10.0))
        self.assertEqual(policies.policy_for(b"mail.send"), mail)
        images = Policy(rate=Rate(0.1, 1), results=Retention(3600.0, 0, 65536))
        self.assertEqual(
            [policies.policy_for(name) for name in (b"thumbnail", b"convert_x")], [images, images]
        )
        self.assertIsNone(policies.policy_for(b"mail"))
        both = parse_config('[[function]]\nname="a*"\n[[function]]\nname="ab"\nretries=1', "x").policies
        self.assertEqual(both.policy_for(b"ab"), Policy())

    def test_schedules(self) -> None:
        """All settings of a schedule, and those that it has without being told."""
        self.assertEqual(
            parse_config(GOOD, "x").schedules,
            (
                Schedule(
                    b"nightly",
                    "30 2 * * MON-FRI",
                    b"report",
                    "Europe/Berlin",
                    '[[schedule]]\n{"of": "yesterday", "für": "alle"}'.encode(),
                    b"report",
                    LOW,
                ),
                Schedule(b"often", "*/5 * * * *", b"poll", "UTC", b"", b"", NORMAL),
            ),
        )
        table = '[[schedule]]\nname="a"\ncron="0 0 * * *"\nfunction="f"\npriority="high"'
        self.assertEqual(parse_config(table, "x").schedules[0].priority, HIGH)

    def test_empty(self) -> None:
        """An empty file is one, and the same as none."""
        config = parse_config("", "x")
        self.assertEqual((config.policies.rules, config.schedules), ([], ()))
        self.assertEqual((Config().policies.rules, Config().schedules), ([], ()))

    def test_summary(self) -> None:
        self.assertEqual(parse_config(GOOD, "x").summary, "policies for 3 patterns, 2 schedules")
        one = '[[function]]\nname = "a"\n'
        self.assertEqual(parse_config(one, "x").summary, "policies for 1 pattern, 0 schedules")

    def test_file(self) -> None:
        """It is UTF-8, its lines end as they like."""
        path = self.mktemp()
        Path(path).write_bytes(GOOD.replace("\n", "\r\n").encode("utf-8"))
        self.assertEqual(read_config(path).schedules, parse_config(GOOD, "x").schedules)


class MistakeTests(SynchronousTestCase):
    """What is said of mistakes: one line, with the file, the line in it and the setting."""

    def said(self, text: str) -> str:
        error = str(self.assertRaises(ConfigurationError, parse_config, text, "/x.toml"))
        self.assertTrue(error.isprintable(), error)
        self.assertTrue(error.startswith("/x.toml, line "), error)
        return error.removeprefix("/x.toml, line ")

    def changed(self, old: str, new: str) -> str:
        """What is said of the good file with one change."""
        self.assertIn(old, GOOD)
        return self.said(GOOD.replace(old, new, 1))

    def test_syntax(self) -> None:
        """Words that help in the place of the parser's, with the line in front."""
        unquoted = "this is no value: a text stands in quotes, true and false are small"
        self.assertEqual(self.changed("retries = 5", "retries = "), f"4: {unquoted}")
        self.assertEqual(self.changed('kind = "linear"', "kind = linear"), f"7: {unquoted}")
        self.assertIn("a text stands in quotes", self.changed("retries = 5", "retries = 5m"))
        self.assertEqual(self.changed("retries = 5", "retries = True"), f"4: {unquoted}")
        self.assertTrue(self.changed("[[function]]", "[[function]").startswith("2: "))
        self.assertEqual(self.changed("retries = 5", "retries: 5"), "4: a key is followed by = and its value")
        self.assertEqual(
            self.changed("retries = 5", "// more"), "4: key = value is wanted, or [table], or # and a comment"
        )
        self.assertIn("lacks a comma or its end", self.changed("retries = 5", "retries = [5"))
        self.assertIn("stands for itself", self.changed("retries = 5", 'results = "C:\\users"'))

    def test_said_twice(self) -> None:
        """A key, a table, or a table where there is a key."""
        twice = "this was said before; each key and each [table] stands once"
        self.assertEqual(self.changed("retries = 5", "retries = 5\nretries = 6"), f"5: {twice}")
        self.assertEqual(self.said("[limits]\n[limits]"), f"2: {twice}")
        self.assertEqual(self.said("a = 1\na.b = 2"), f"2: {twice}")
        self.assertEqual(self.said("a = { b = 1, b = 2 }"), f"1: {twice}")

    def test_open_quote(self) -> None:
        """The line on which it opens, although the parser may see at the end only that none closes it."""
        told = "a quote that opens here is not closed"
        self.assertEqual(
            self.changed("retries = 5", 'retries = "5'), f"4: {told}: a text in quotes ends in its line"
        )
        self.assertEqual(self.said("a = 'b\nc = 'd'\n"), f"1: {told}: a text in quotes ends in its line")
        self.assertEqual(self.said("a = 'b'\nc = 'd\ne = 1\nf = 2\n"), f"2: {told}")
        self.assertEqual(self.said("a = '''b\nc\n"), f"1: {told}")
        self.assertEqual(self.said('[[function]]\nname = """a\n"b"\n'), f"2: {told}")
        self.assertEqual(self.said('a = """b\n"""\nc = "d'), f"3: {told}")

    def test_invisible(self) -> None:
        """A character that no editor shows is told by its line."""
        self.assertEqual(self.said('a = 1\nb = "\x01"'), "2: an invisible character does not belong here")

    def test_syntax_at_the_end(self) -> None:
        """Where the file ends too early, that is its last line."""
        self.assertTrue(self.said("[[function]]\nname").startswith("2: "))
        self.assertTrue(self.said("[[function]]\nname = [1,\n\n").startswith("2: "))

    def test_values(self) -> None:
        """The line on which the setting begins, however the table is written."""
        for old, new, expected in (
            ("retries = 5", 'retries = "5"', "4: function.retries: a whole number from 0 to"),
            ("retries = 5", "retries = { lost = -1 }", "4: function.retries.lost: a whole number from 0 to"),
            ("retries = 5", "retries.lost = -1", "4: function.retries.lost: a whole number from 0 to"),
            ('"linear"', '"square"', "7: function.backoff.kind: one of fixed, linear and exponential"),
            ('"10s"', '"10 seconds"', "8: function.backoff.first: a time is wanted"),
            ('    "convert_?",\n', "    7,\n", "11: function.names: a string is wanted, not 7"),
            ('"10/s"', "10", "15: function.rate: jobs in a time are wanted"),
            ('"64K"', '"64X"', "16: function.results.bytes: bytes are wanted"),
            ("30 2 *", "30 24 *", "20: schedule.cron: bad hour '24' in '30 24 * * MON-FRI'"),
            ("30 2 *", "30 2", "20: schedule.cron: five fields are wanted"),
            ('"30 2 * * MON-FRI"', "5", "20: schedule.cron: a string is wanted, not 5"),
            ("Berlin", "Atlantis", "21: schedule.timezone: there is no time zone 'Europe/Atlantis'"),
            ('"report"\nwork', '""\nwork', "22: schedule.function: 1 to 8191 bytes are wanted"),
            ('workload = """', 'x = """', "23: schedule.x: there is no such setting"),
            ('unique = "report"', f'unique = "{"x" * 65}"', "26: schedule.unique: 0 to 64 bytes are wanted"),
            ('unique = "report"', 'unique = "a\\u0000b"', "26: schedule.unique: 0 to 64 bytes are wanted"),
            ('"low"', '"lowest"', "27: schedule.priority: one of high, normal and low is wanted"),
            ('"low"', '["low"]', "27: schedule.priority: one of high, normal and low is wanted"),
            ('"often"', '"nightly"', "30: schedule.name: another schedule above has this name"),
        ):
            said = self.changed(old, new)
            self.assertTrue(said.startswith(expected), said)

    def test_unknown(self) -> None:
        """A name that means nothing is no comment: it is a setting that somebody believes to be in force."""
        self.assertEqual(
            self.changed("# What sends mail.", "mail = true"),
            "1: mail: there is no such table;"
            " there are function, schedule, ceiling, login, identity and access",
        )
        self.assertTrue(
            self.changed("retries = 5", "retires = 5").startswith(
                "4: function.retires: there is no such setting; there are retries, backoff, "
            )
        )
        self.assertEqual(
            self.changed("timezone", "zone"),
            "21: schedule.zone: there is no such setting;"
            " there are name, cron, timezone, function, workload, unique, priority",
        )
        self.assertTrue(
            self.changed("first", "next").startswith("8: function.backoff.next: there is no such setting")
        )
        self.assertTrue(self.changed("timezone", '"time\\nzone"').startswith("21: schedule.'time\\nzone': "))

    def test_missing(self) -> None:
        """What is not there has no line: it is that of its table."""
        for key, old in (
            ("name", 'name = "often"\n'),
            ("cron", 'cron = "*/5 * * * *"\n'),
            ("function", 'function = "poll"\n'),
        ):
            self.assertEqual(self.changed(old, ""), f"29: schedule.{key}: it is missing")
        wanted = "function.name: the function's name or a pattern is wanted, or several of them as names"
        self.assertEqual(self.changed('name = "mail.*"\n', ""), f"2: {wanted}")
        self.assertEqual(self.changed('name = "mail.*"', 'name = "a"\nnames = ["b"]'), f"3: {wanted}")

    def test_names(self) -> None:
        for new in ('names = "mail.*"', "names = []"):
            said = self.changed('name = "mail.*"', new)
            self.assertTrue(said.startswith("3: function.names: a list of names or patterns is wanted"), said)
        said = self.changed('name = "mail.*"', 'name = ""')
        self.assertTrue(said.startswith("3: function.name: 1 to "), said)

    def test_shape(self) -> None:
        """Tables that are not written as lists of tables."""
        for name in ("function", "schedule"):
            for text in (f"[{name}]\n", f"{name} = 5\n", f"{name} = [5]\n"):
                self.assertEqual(self.said(f"\n\n{text}"), f"3: {name}: each one begins with [[{name}]]")

    def test_long_file(self) -> None:
        """A mistake in a long file is found in a few steps: that this is asked costs the server its time."""
        table = '[[function]]\nname = "f"\nretries = 1\n\n'
        began = time.process_time()
        said = self.said(table * 500 + '[[function]]\nname = "g"\nretry = 1\n\n' + table * 500)
        self.assertTrue(said.startswith("2003: function.retry: "), said)
        # Each line by itself would take half a minute.
        self.assertLess(time.process_time() - began, 5.0)

    def test_file(self) -> None:
        """What cannot be read at all."""
        error = self.assertRaises(ConfigurationError, read_config, "/nowhere/x.toml")
        self.assertEqual(str(error), "cannot read /nowhere/x.toml: No such file or directory")
        path = self.mktemp()
        Path(path).write_bytes(b"# one\n# two \xff\n")
        error = self.assertRaises(ConfigurationError, read_config, path)
        self.assertEqual(str(error), f"{path}, line 2: this is not UTF-8")

    def test_pipe(self) -> None:
        """To read it the server would have to wait for somebody."""
        path = self.mktemp()
        os.mkfifo(path)
        error = self.assertRaises(ConfigurationError, read_config, path)
        self.assertEqual(str(error), f"cannot read {path}: it is no file")

    def test_byte_order_mark(self) -> None:
        path = Path(self.mktemp())
        path.write_bytes(b'\xef\xbb\xbf[[function]]\nname = "f"\nretry = 1\n')
        error = self.assertRaises(ConfigurationError, read_config, str(path))
        self.assertTrue(str(error).startswith(f"{path}, line 3: function.retry: "), error)

    def test_nested(self) -> None:
        error = self.assertRaises(ConfigurationError, parse_config, "x = " + "[" * 5000, "/x.toml")
        self.assertEqual(str(error), "/x.toml: its values are nested too deeply")

    def test_huge_number(self) -> None:
        """Where the parser names no line, there is none."""
        error = self.assertRaises(ConfigurationError, parse_config, "x = " + "1" * 5000, "/x.toml")
        self.assertTrue(str(error).startswith("/x.toml, Exceeds the limit"), error)
