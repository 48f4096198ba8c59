"""
Tests for L{txgear.cli.look.details}.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.statuses import CommandError
from txgear.cli.look.details import settings_of, show_each, write_details
from txgear.test.cli.support import FakeApi, writing

FOUND: dict[str, Any] = {
    "handle": "H:1",
    "size": 2048,
    "age": 90.0,
    "nothing": None,
    "on": False,
    "silent": True,
    "copies": ["H:2", "H:3"],
    "none": [],
    "settings": {"retries": 1, "backoff": {"first": 10.0}},
    "empty": {},
    "history": [{"reason": "fail", "text": "a\nb"}, {"reason": "lost", "text": None}],
    "links": {"self": "/x"},
}


class DetailsTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """A line for each member, by its way; what is for programs is left out."""
        with writing() as written:
            write_details(FOUND)
        self.assertEqual(
            written.out.splitlines(),
            [
                "handle\tH:1",
                "size\t2.0K",
                "age\t1m30s",
                "nothing\t-",
                "on\tno",
                "silent\tyes",
                "copies\tH:2, H:3",
                "none\t-",
                "settings.retries\t1",
                "settings.backoff.first\t10",
                "empty\t-",
                "history.0.reason\tfail",
                "history.0.text\ta\\x0ab",
                "history.1.reason\tlost",
                "history.1.text\t-",
            ],
        )

    def test_on_a_terminal_what_there_are_several_of_is_a_table(self) -> None:
        with writing(terminal=True) as written:
            write_details(FOUND)
        lines = [line.rstrip() for line in written.out.splitlines()]
        self.assertEqual(lines[-5:], ["", "history", "reason  text", "fail    a\\x0ab", "lost    -"])
        self.assertEqual(lines[0], "handle                  H:1")

    def test_settings_in_words(self) -> None:
        self.assertEqual(settings_of(FOUND["settings"]), ["retries=1", "backoff.first=10"])

    def test_of_each_server(self) -> None:
        apis = [FakeApi("a:1", {"x": {"n": 1}}), FakeApi("b:2", {"x": {"n": 2}})]
        with writing() as written:
            show_each(apis, True, lambda api: api.get("x"), "thing")
        self.assertEqual(
            [json.loads(line) for line in written.out.splitlines()],
            [{"server": "a:1", "n": 1}, {"server": "b:2", "n": 2}],
        )
        with writing() as written:
            show_each(apis[:1], False, lambda api: api.get("x"))
        self.assertEqual(written.out, "server\ta:1\nn\t1\n")

    def test_of_none(self) -> None:
        api = FakeApi("a:1", {"x": CommandError("no", code="unknown_function")})
        with writing() as written:
            error = self.assertRaises(
                CommandError, show_each, [api], False, lambda api: api.get("x"), "function f"
            )
        self.assertIn("there is no function f at a:1; 'txgear status'", error.text)
        self.assertEqual(written.out, "")
