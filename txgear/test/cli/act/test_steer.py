"""
Tests for L{txgear.cli.act.steer}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.act.acts import Fleet
from txgear.cli.act.steer import DISCONNECT, Order, each_once, found, is_number, tell
from txgear.cli.base.statuses import DONE, FAILED, MISUSED, CommandError
from txgear.test.cli.act.support import ActingApi
from txgear.test.cli.support import FakeServers, writing


def worker(
    number: int, id: str | None = "images", pid: int | None = 7, host: str | None = "vm"
) -> dict[str, Any]:
    return {"descriptor": number, "id": id, "host": host, "pid": pid, "started": None}


def server(name: str, *workers: Mapping[str, Any]) -> ActingApi:
    def answer(method: str, path: str) -> Any:
        return {"workers": list(workers), "next": None} if method == "GET" else {"text": "so it is"}

    return ActingApi(name, answer)


class SteerTests(SynchronousTestCase):
    def tell(self, order: Order, *names: str, of: tuple[ActingApi, ...], yes: bool = True) -> int:
        with writing() as written:
            status = tell(FakeServers(*of), False, order, names, yes)
        self.out = written.out
        return status

    @staticmethod
    def acts(api: ActingApi) -> list[tuple[str, Any]]:
        return [(path, body) for method, path, body in api.sent if method == "POST"]

    def test_what_stands_behind_a_word(self) -> None:
        self.assertEqual(Order.taken("pause", ["1", "a"]), (Order("pause"), ["1", "a"]))
        self.assertEqual(Order.taken("register", ["f", "a"]), (Order("register", "f"), ["a"]))
        self.assertEqual(str(Order("register", "f")), "register f")
        with self.assertRaises(CommandError) as caught:
            Order.taken("unregister", [])
        self.assertEqual(caught.exception.status, MISUSED)

    def test_numbers_and_ids(self) -> None:
        self.assertTrue(is_number("17"))
        for name in ("images-1", "-1", "\u0661", ""):
            self.assertFalse(is_number(name), name)

    def test_one_that_is_at_several_servers_is_told_once(self) -> None:
        one = server("one:1", worker(1), worker(2, pid=8))
        two = server("two:1", worker(5), worker(6, pid=9), worker(1, None, None, None))
        self.assertEqual(self.tell(Order("grow"), "images", of=(one, two)), DONE)
        self.assertEqual([path for path, _ in self.acts(one)], [f"/api/v1/workers/{n}/steer" for n in (1, 2)])
        self.assertEqual([path for path, _ in self.acts(two)], [f"/api/v1/workers/{n}/steer" for n in (6, 1)])
        rows = each_once(found(Fleet(FakeServers(one, two)), {}), Order(DISCONNECT))
        self.assertEqual(len(rows), 5)

    def test_what_is_told(self) -> None:
        api = server("one:1")
        self.tell(Order("register", "mail"), "17", of=(api,))
        body = {"word": "register", "argument": "mail"}
        self.assertEqual(self.acts(api), [("/api/v1/workers/17/steer", body)])
        self.assertIn("17\t-\tregister\tmail\tso it is", self.out)
        self.tell(Order(DISCONNECT), "17", of=(api,))
        self.assertEqual(self.acts(api)[1], ("/api/v1/workers/17/disconnect", None))

    def test_an_id_that_nobody_has(self) -> None:
        api = server("one:1")
        with self.assertRaises(CommandError) as caught:
            self.tell(Order("pause"), "images", of=(api,))
        self.assertEqual(caught.exception.status, FAILED)
        self.assertIn("there is no worker images at one:1; 'txgear workers'", caught.exception.text)

    def test_several_are_asked_about(self) -> None:
        """One of that id is told at once."""
        api = server("one:1", worker(1), worker(2, pid=8))
        with self.assertRaises(CommandError) as caught:
            self.tell(Order("stop"), "images", of=(api,), yes=False)
        self.assertEqual((caught.exception.status, self.acts(api)), (MISUSED, []))
        single = server("one:1", worker(1))
        self.assertEqual(self.tell(Order("stop"), "images", of=(single,), yes=False), DONE)

    def test_a_number_is_that_of_one_server(self) -> None:
        with self.assertRaises(CommandError) as caught:
            self.tell(Order("stop"), "17", of=(server("one:1"), server("two:1")))
        self.assertEqual(caught.exception.status, MISUSED)
