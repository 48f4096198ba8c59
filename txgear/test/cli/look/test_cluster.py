"""
Tests for L{txgear.cli.look.cluster}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.look.cluster import COLUMNS, remarks, rows
from txgear.cli.look.lists import Choice, show
from txgear.test.cli.support import FakeApi, FakeServers, writing

PARTS: list[dict[str, Any]] = [
    {"part": 1, "term": 3, "beat": 70, "seconds": 0.3},
    {"part": 4, "term": 1, "beat": 12, "seconds": 0.5},
]
OURS: dict[str, Any] = {
    "name": "a",
    "address": "a.example:4730",
    "own": True,
    "state": "alive",
    "silent": 0.3,
    "parts": PARTS,
    "version": "1.2",
    "uptime": 90061.0,
    "queued": 12,
    "running": 3,
    "workers": 4,
    "connections": 9,
    "rate": 5.5,
    "lag": 0.0012,
    "lease": 8.0,
    "trust": 6.2,
    "draining": False,
}
SAYS_NOTHING = dict.fromkeys(
    ("version", "uptime", "queued", "running", "workers", "connections", "rate", "lag", "lease", "trust")
)
THEIRS: dict[str, Any] = {
    **OURS,
    **SAYS_NOTHING,
    "name": "b",
    "address": None,
    "own": False,
    "state": "silent",
    "silent": 6.0,
    "parts": PARTS[:1],
}
FOUND: dict[str, Any] = {
    "lease": 8.0,
    "looked": 0.2,
    "trust": 6.9,
    "taken": 1,
    "silent": 0,
    "database": {
        "name": "postgresql:",
        "state": "ok",
        "why": None,
        "promise": "primary with 1 standby, not waited for",
        "doubts": [],
    },
    "servers": [OURS, THEIRS],
    "free": [],
}


class ClusterTests(SynchronousTestCase):
    def api(self, **more: Any) -> FakeApi:
        return FakeApi(answers={"/api/v1/cluster": {**FOUND, **more}})

    def test_a_terminal(self) -> None:
        with writing(terminal=True) as written:
            show(FakeServers(self.api()), Choice(), lambda api: rows(api, []), COLUMNS)
        self.assertEqual(
            [" ".join(line.split()) for line in written.out.splitlines()],
            [
                "name address own state silent parts queued running workers rate lag",
                "a a.example:4730 yes alive 300ms 1,4 12 3 4 5.5 1.2ms",
                "b - - silent 6s 1 - - - - -",
            ],
        )

    def test_other_columns(self) -> None:
        with writing() as written:
            columns = (
                "name",
                "version",
                "uptime",
                "lease",
                "trust",
                "term",
                "beat",
                "draining",
                "connections",
            )
            show(FakeServers(self.api()), Choice(columns=columns), lambda api: rows(api, []), COLUMNS)
        self.assertEqual(
            written.out.splitlines()[1:],
            ["a\t1.2\t1d1h\t8s\t6.2s\t1\t12\tno\t9", "b\t-\t-\t-\t-\t3\t70\tno\t-"],
        )

    def test_a_server_without_parts(self) -> None:
        """None of this version is shown so."""
        with writing() as written:
            api = self.api(servers=[{**OURS, "parts": []}])
            show(FakeServers(api), Choice(columns=("parts", "term")), lambda api: rows(api, []), COLUMNS)
        self.assertEqual(written.out.splitlines()[1:], ["-\t-"])

    def test_what_else_it_says(self) -> None:
        said: list[str] = []
        rows(self.api(), said)
        self.assertEqual(said, ["here:4730: the database: primary with 1 standby, not waited for"])

    def test_troubles(self) -> None:
        database = {**FOUND["database"], "why": "it is read-only", "doubts": ["fsync is off: bad"]}
        self.assertEqual(
            list(remarks({**FOUND, "looked": 31.0, "database": database, "free": PARTS})),
            [
                "the database has not told of the servers for 31s",
                "the database takes no jobs: it is read-only",
                "the database: primary with 1 standby, not waited for",
                "fsync is off: bad",
                "nobody has part 1, part 4",
            ],
        )
