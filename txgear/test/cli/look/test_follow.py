"""
Tests for L{txgear.cli.look.follow}.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.api import Event
from txgear.cli.base.statuses import DENIED, DONE, FAILED, UNREACHABLE, CommandError
from txgear.cli.look.follow import follow_job
from txgear.test.cli.support import FakeApi, Written, writing

JOB: dict[str, Any] = {
    "state": "running",
    "function": "f",
    "worker": "w\x1b",
    "attempts": 0,
    "history": [],
    "links": {},
}
RETRIED: dict[str, Any] = {
    **JOB,
    "state": "waiting",
    "worker": None,
    "attempts": 2,
    "history": [{"reason": "fail", "text": None}, {"reason": "exception", "text": "550"}],
}


def event(name: str, id: str = "", **data: Any) -> Event:
    """An event."""
    return Event(name, data, id)


def ended(outcome: str = "done", size: int = 0, text: str = "", shown: int | None = None) -> Event:
    """The last event."""
    return event(
        "ended",
        outcome=outcome,
        result={"size": size, "shown": size if shown is None else shown, "text": text},
    )


class FollowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.slept: list[float] = []

    def follow(
        self, *streams: list[Event | Exception], as_json: bool = False, terminal: bool = False
    ) -> tuple[int, Written, FakeApi]:
        """What it comes to, with the events of each time that they are asked for."""
        api = FakeApi(streams=list(streams))
        with writing(terminal) as written:
            status = follow_job(api, "H:1", as_json, self.slept.append)
        return status, written, api

    def test_lines(self) -> None:
        status, written, _ = self.follow(
            [
                event("job", **JOB),
                event("data", text="a\tb\n"),
                event("data", base64="/w=="),
                event("warning", text="\x1b[2J"),
                event("progress", numerator=3, denominator=10),
                event("skipped", bytes=17),
                event("job", **RETRIED),
                ended(size=3, text="c\nd"),
            ]
        )
        self.assertEqual(status, DONE)
        self.assertEqual(
            written.out.splitlines(),
            [
                "job\trunning f at w\\x1b",
                "data\ta\\x09b\\x0a",
                "data\t\\xff",
                "warning\t\\x1b[2J",
                "progress\t3/10",
                "skipped\t17 bytes",
                "job\twaiting f after 2 attempts, the last one: exception (550)",
                "ended\tdone\tc\\x0ad",
            ],
        )

    def test_a_long_result_says_where_the_rest_is(self) -> None:
        _, written, _ = self.follow([ended(size=70, shown=2, text="ab")])
        self.assertEqual(written.out, "ended\tdone\tab ... 68 bytes more: txgear result\n")
        _, written, _ = self.follow([ended(size=5000, text="x" * 5000)])
        self.assertEqual(written.out, f"ended\tdone\t{'x' * 1000} ... 4,000 bytes more: txgear result\n")

    def test_any_other_end_is_none(self) -> None:
        for outcome in ("failed", "dead", "cancelled", "expired"):
            status, written, _ = self.follow([ended(outcome)])
            self.assertEqual((status, written.out), (FAILED, f"ended\t{outcome}\n"))

    def test_who_may_not_read_hears_of_the_end(self) -> None:
        status, written, _ = self.follow([event("ended", outcome="done")])
        self.assertEqual((status, written.out), (DONE, "ended\tdone\n"))

    def test_json(self) -> None:
        _, written, _ = self.follow(
            [event("job", **JOB), event("data", base64="/w=="), ended()], as_json=True
        )
        found = [json.loads(line) for line in written.out.splitlines()]
        self.assertEqual([each["event"] for each in found], ["job", "data", "ended"])
        self.assertEqual(found[1]["base64"], "/w==")
        self.assertNotIn("links", found[0])

    def test_on_a_terminal(self) -> None:
        """Lines stay lines, and nothing that was said does anything to it."""
        status, written, _ = self.follow(
            [
                event("job", **{**JOB, "numerator": 1, "denominator": 4}),
                event("data", text="one\ntwo\x1b[2J\n"),
                event("warning", text="[red]careful"),
                event("progress", numerator=4, denominator=4),
                ended("failed", size=2, text="no"),
            ],
            terminal=True,
        )
        self.assertEqual(status, FAILED)
        for text in (
            "running f at w\\x1b",
            "one\n",
            "two\\x1b[2J\n",
            "warning: [red]careful",
            "failed",
            "no",
            "4/4",
        ):
            self.assertIn(text, written.out)

    def test_it_goes_on_where_it_was_when_the_server_has_hung_up(self) -> None:
        away = CommandError("here:4730: Connection refused", UNREACHABLE)
        status, written, api = self.follow(
            [event("data", "7-5", text="a"), away], [away], [], [event("data", "7-9", text="b"), ended()]
        )
        self.assertEqual(status, DONE)
        self.assertEqual(written.out, "data\ta\ndata\tb\nended\tdone\n")
        self.assertEqual([query["last_event_id"] for _, query in api.asked], ["0-0", "7-5", "7-5", "7-5"])
        self.assertEqual(self.slept, [1.0, 1.0, 1.0])
        self.assertEqual(written.err, "here:4730 has hung up; it is asked again.\n")

    def test_it_does_not_ask_for_ever(self) -> None:
        away = CommandError("here:4730: Connection refused", UNREACHABLE)
        for lost in ([away], []):
            streams = [[event("data", text="a"), away], *([*lost] for _ in range(20))]
            error = self.assertRaises(CommandError, self.follow, *streams)
            self.assertEqual(error.status, UNREACHABLE)
        self.assertEqual(len(self.slept), 20)

    def test_what_is_refused_is_not_asked_again(self) -> None:
        refused = CommandError("Not allowed", DENIED)
        self.assertIs(self.assertRaises(CommandError, self.follow, [refused]), refused)
        self.assertEqual(self.slept, [])
