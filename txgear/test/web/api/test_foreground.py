"""Tests of L{txgear.web.api.foreground}: jobs that a request waits for."""

from __future__ import annotations

import json
from typing import Any

from txgear.broker.states import QUEUED, RUNNING
from txgear.errors import AccessDenied
from txgear.net.stream import DROP_FROM
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.protocol.packets import PIECES_FROM
from txgear.test.support.clock import START
from txgear.test.support.http import GearmanWorker
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.web import WebPeer, WebTestCase
from txgear.web.api import results, submit
from txgear.web.api.pieces import MOST_PIECE
from txgear.web.events.sse import QUIET_SECONDS

JOBS = "/api/v1/functions/f/jobs"
EVENTS = {"Accept": "text/event-stream"}
LARGE = b"x" * (PIECES_FROM + 1)


class ForegroundTestCase(WebTestCase):
    parts = (submit, results)

    def under_way(
        self, query: str = "wait=10", headers: dict[str, str] | None = None
    ) -> tuple[WebPeer, GearmanWorker, bytes]:
        """A job that a request waits for, at a worker."""
        client, worker = self.connect(), self.worker()
        client.ask_web("POST", f"{JOBS}?{query}", headers or {}, b"work")
        return client, worker, worker.grab()[0]

    def jobs(self) -> list[int]:
        """The states of the jobs that have not ended."""
        return [job.state for job in self.broker.table.jobs.values()]


class ResultTests(ForegroundTestCase):
    def test_the_answer_is_the_result(self) -> None:
        client, worker, handle = self.under_way()
        self.assertEqual(client.heard(), b"")
        worker.say(WORK_COMPLETE, handle, b"result \xff")
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.body), (200, b"result \xff"))
        self.assertEqual(
            {name: answer.headers[name] for name in ("Content-Type", "Txgear-Handle", "Txgear-Outcome")},
            {
                "Content-Type": "application/octet-stream",
                "Txgear-Handle": "H:test:1",
                "Txgear-Outcome": "done",
            },
        )
        self.assertFalse(client.closed)
        self.server.notices.stop()
        self.clock.advance(100)
        self.assertEqual(client.heard(), b"")

    def test_without_a_bound(self) -> None:
        client, worker, handle = self.under_way("background=false")
        self.clock.advance(100_000)
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.web_answer().body, b"result")

    def test_a_large_result(self) -> None:
        client, worker, handle = self.under_way()
        worker.say(WORK_COMPLETE, handle, LARGE)
        answer = client.web_answer()
        self.assertEqual(answer.headers["Content-Length"], str(len(LARGE)))
        self.assertEqual(answer.headers["Txgear-Result-Size"], str(len(LARGE)))
        self.assertEqual(answer.body, LARGE)

    def test_data_as_it_comes(self) -> None:
        client, worker, handle = self.under_way()
        worker.say(WORK_DATA, handle, b"")
        self.assertEqual(client.heard(), b"")
        worker.say(WORK_DATA, handle, b"one")
        self.assertTrue(client.heard().endswith(b"\r\n\r\n3\r\none\r\n"))
        worker.say(WORK_WARNING, handle, b"not part of it")
        worker.say(WORK_STATUS, handle, b"1", b"2")
        self.clock.advance(11)  # it has begun: the time to wait for it is over without more ado
        worker.say(WORK_DATA, handle, b"two")
        worker.say(WORK_COMPLETE, handle, b"end")
        self.assertEqual(client.heard(), b"3\r\ntwo\r\n3\r\nend\r\n0\r\n\r\n")

    def test_a_failure(self) -> None:
        client, worker, handle = self.under_way()
        worker.say(WORK_FAIL, handle)
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.code), (500, "job_failed"))
        self.assertEqual((answer.json["outcome"], answer.json["handle"]), ("failed", "H:test:1"))
        self.assertNotIn("exception", answer.json)
        self.assertEqual(answer.headers["Txgear-Outcome"], "failed")

    def test_an_exception(self) -> None:
        for raised, shown in (
            (b"no <b> disk", {"text": "no <b> disk", "size": 11}),
            (b"\xff", {"base64": "/w==", "size": 1}),
        ):
            client, worker, handle = self.under_way()
            worker.say(WORK_EXCEPTION, handle, raised)
            answer = client.web_answer()
            self.assertEqual((answer.status, answer.code), (500, "job_failed"))
            self.assertEqual(answer.json["exception"], shown)
            worker.leave()

    def test_a_failure_after_data(self) -> None:
        """The body ends short, and the connection with it."""
        client, worker, handle = self.under_way()
        worker.say(WORK_DATA, handle, b"one")
        worker.say(WORK_FAIL, handle)
        self.assertTrue(client.heard().endswith(b"3\r\none\r\n"))
        self.assertTrue(client.closed)

    def test_an_attempt_that_is_lost(self) -> None:
        """The data of the next one is no continuation; where there was none, it is not seen."""
        client, worker, handle = self.under_way()
        other = self.worker()
        worker.leave()
        self.assertEqual(other.grab()[0], handle)
        other.say(WORK_DATA, handle, b"one")
        last = self.worker()
        other.leave()
        self.assertTrue(client.heard().endswith(b"3\r\none\r\n"))
        self.assertTrue(client.closed)
        client.leave()
        self.assertEqual(self.jobs(), [])
        last.leave()

    def test_a_client_that_goes_away(self) -> None:
        """Its job is given up, unless a worker has it."""
        client = self.connect()
        client.ask_web("POST", f"{JOBS}?wait=10", {}, b"work")
        self.assertEqual(self.jobs(), [QUEUED])
        client.leave()
        self.assertEqual(self.jobs(), [])
        client, worker, handle = self.under_way()
        client.leave()
        self.assertEqual(self.jobs(), [RUNNING])
        worker.say(WORK_COMPLETE, handle, b"")
        self.clock.advance(100)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_client_that_goes_away_within_the_data(self) -> None:
        client, worker, handle = self.under_way()
        worker.say(WORK_DATA, handle, b"one")
        client.leave()
        worker.say(WORK_DATA, handle, b"two")
        worker.say(WORK_COMPLETE, handle, b"end")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_joined(self) -> None:
        """Two wait for one job, one does not; each has its answer."""
        client, worker, handle = self.under_way("wait=10&unique=u")
        other = self.connect()
        other.ask_web("POST", f"{JOBS}?wait=10&unique=u", {}, b"")
        self.assertEqual(self.ask("POST", f"{JOBS}?unique=u", body=b"").json["joined"], True)
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual([peer.web_answer().body for peer in (client, other)], [b"result"] * 2)

    def test_one_that_is_done(self) -> None:
        """Its unique is still taken, and its result kept."""
        settings = {"unique_for": "1h", "results": "1h"}
        self.broker.operations.set_policies(Policies([("f", CLASSIC.with_settings(settings))]), START)
        self.ask("POST", f"{JOBS}?unique=u", body=b"")
        worker = self.worker()
        handle = worker.grab()[0]
        worker.say(WORK_DATA, handle, b"data ")
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(self.ask("POST", f"{JOBS}?unique=u&wait=1", body=b"").body, b"data result")

    def test_the_server_ends(self) -> None:
        client, _, _ = self.under_way()
        _ = self.server.close_connections()
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.code), (503, "server_ends"))
        self.assertTrue(client.closed)

    def test_a_reader_that_never_reads(self) -> None:
        """It is dropped before it takes much memory."""
        client, worker, handle = self.under_way()
        client.transport.stuck = True
        piece = b"x" * 1024 * 1024
        for _ in range(DROP_FROM // len(piece) + 2):
            worker.say(WORK_DATA, handle, piece)
        self.assertTrue(client.aborted)
        client.leave()
        self.server.notices.stop()


class TurnedAwayTests(ForegroundTestCase):
    """The peer is not served any more, whatever it waits for."""

    def turn_away(self, client: WebPeer) -> None:
        error = AccessDenied("Not known any more: log in again", act="login")
        self.server.guard.turn_away(client.protocol.peer, error)

    def test_who_waits_for_a_result(self) -> None:
        client, worker, handle = self.under_way()
        self.turn_away(client)
        self.assertEqual(client.web_answer().code, "access_denied")
        self.assertTrue(client.closed)
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.heard(), b"")
        client.leave()
        self.clock.advance(100)

    def test_who_hears_of_events(self) -> None:
        client, worker, handle = self.under_way("background=false", EVENTS)
        self.turn_away(client)
        self.assertTrue(client.closed)
        client.heard()
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.heard(), b"")
        client.leave()
        self.clock.advance(100)


class TimeOverTests(ForegroundTestCase):
    """After so many seconds the answer is the handle, and the job goes on."""

    def test_it_goes_on(self) -> None:
        client, worker, handle = self.under_way()
        self.clock.advance(10)
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.json["handle"]), (202, "H:test:1"))
        (job,) = self.broker.table.jobs.values()
        self.assertTrue(job.background)
        client.leave()
        worker.say(WORK_COMPLETE, handle, b"")
        self.assertEqual(self.jobs(), [])

    def test_not_at_all(self) -> None:
        client = self.connect()
        client.ask_web("POST", f"{JOBS}?wait=0", {}, b"work")
        self.clock.advance(0)
        self.assertEqual(client.web_answer().status, 202)

    def test_nobody_has_it_yet(self) -> None:
        client = self.connect()
        client.ask_web("POST", f"{JOBS}?wait=10", {}, b"work")
        self.clock.advance(10)
        self.assertEqual(client.web_answer().status, 202)
        client.leave()
        self.assertEqual(self.jobs(), [QUEUED])

    def test_in_a_stream(self) -> None:
        client, worker, handle = self.under_way(headers=EVENTS)
        self.clock.advance(10)
        self.assertEqual([name for name, _ in events(client.web_answer().body)], ["created", "accepted"])
        worker.say(WORK_COMPLETE, handle, b"")
        self.assertEqual(client.heard(), b"")


class StoredTests(ForegroundTestCase):
    """With a store."""

    def setUp(self) -> None:
        self.store = FaultyStore()
        fixture = DurableServerFixture(self.store)
        self.thread = fixture.thread
        self.use(fixture)
        self.thread.run_all()

    def test_202_when_it_is_on_the_disk(self) -> None:
        client, _, _ = self.under_way()
        self.clock.advance(10)
        self.assertEqual((client.heard(), self.store.kept), (b"", {}))
        self.thread.run_all()
        self.assertEqual(client.web_answer().status, 202)
        self.assertEqual(list(self.store.kept), [1])

    def test_it_ends_meanwhile(self) -> None:
        """What was promised is kept."""
        client, worker, handle = self.under_way()
        self.clock.advance(10)
        worker.say(WORK_COMPLETE, handle, b"result")
        self.thread.run_all()
        self.assertEqual(client.web_answer().status, 202)

    def test_the_store_does_not_take_it(self) -> None:
        """The job is given up, unless it runs."""
        client = self.connect()
        client.ask_web("POST", f"{JOBS}?wait=10", {}, b"work")
        self.store.too_large = 3
        self.clock.advance(10)
        self.thread.run_all()
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.code), (507, "store_refused"))
        self.assertEqual(self.jobs(), [])

    def test_the_store_does_not_answer(self) -> None:
        """So it cannot go on in the background; the connection ends, and the job with it."""
        self.ask_and_lose()
        for headers in ({}, EVENTS):
            client = self.connect()
            client.ask_web("POST", f"{JOBS}?wait=10", headers, b"work")
            self.clock.advance(10)
            said = client.heard()
            self.assertIn(b"store_unavailable", said)
            self.assertEqual(b"503" in said.split(b"\r\n")[0], not headers)
            self.assertTrue(client.closed)
            client.leave()
            self.assertEqual(self.jobs(), [])

    def ask_and_lose(self) -> None:
        client = self.connect()
        client.ask_web("POST", JOBS, {}, b"work")
        self.clock.advance(self.server.settings.store_timeout)
        self.assertEqual(client.web_answer().code, "store_unavailable")

    def test_joins_one_that_is_on_its_way(self) -> None:
        """Then nobody knows yet whether it will be taken."""
        first, second, third = (self.connect() for _ in range(3))
        first.ask_web("POST", f"{JOBS}?unique=u", {}, b"work")
        second.ask_web("POST", f"{JOBS}?unique=u&wait=1", {}, b"work")
        third.ask_web("POST", f"{JOBS}?unique=u&wait=1", EVENTS, b"work")
        self.clock.advance(1)
        self.assertEqual([peer.heard() for peer in (first, second, third)], [b"", b"", b""])
        self.thread.run_all()
        self.assertEqual([peer.web_answer().status for peer in (first, second)], [202, 202])
        self.assertEqual([name for name, _ in events(third.web_answer().body)], ["created", "accepted"])

    def test_joins_one_that_is_refused(self) -> None:
        clients = [self.connect() for _ in range(3)]
        self.store.too_large = 3
        clients[0].ask_web("POST", f"{JOBS}?unique=u", {}, b"work")
        clients[1].ask_web("POST", f"{JOBS}?unique=u&wait=1", {}, b"work")
        clients[2].ask_web("POST", f"{JOBS}?unique=u&wait=1", EVENTS, b"work")
        self.thread.run_all()
        self.assertEqual([client.web_answer().code for client in clients], ["store_refused"] * 3)

    def test_background_and_wait(self) -> None:
        """The job is on the disk, whatever becomes of its client, which waits for the result."""
        client = self.connect()
        client.ask_web("POST", f"{JOBS}?background=true&wait=10", {}, b"work")
        self.thread.run_all()
        self.assertEqual((client.heard(), list(self.store.kept)), (b"", [1]))
        worker = self.worker()
        worker.say(WORK_COMPLETE, worker.grab()[0], b"result")
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.body), (200, b"result"))

    def test_background_and_wait_and_failure(self) -> None:
        client = self.connect()
        client.ask_web("POST", f"{JOBS}?background=true&wait=10", {}, b"work")
        self.thread.run_all()
        worker = self.worker()
        worker.say(WORK_EXCEPTION, worker.grab()[0], b"no")
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.json["exception"]["text"]), (500, "no"))

    def test_background_and_wait_and_time_over(self) -> None:
        client = self.connect()
        client.ask_web("POST", f"{JOBS}?background=true&wait=10", {}, b"work")
        self.thread.run_all()
        self.clock.advance(10)
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.json["state"]), (202, "queued"))

    def test_background_and_gone(self) -> None:
        client = self.connect()
        client.ask_web("POST", f"{JOBS}?background=true&wait=10", {}, b"work")
        client.leave()
        self.thread.run_all()
        self.clock.advance(20)
        self.assertEqual(self.jobs(), [QUEUED])
        self.assertEqual(self.flushLoggedErrors(), [])


def events(body: bytes) -> list[tuple[str, Any]]:
    """The events of a stream, each with its data."""
    found = []
    for block in body.decode("ascii" if body.isascii() else "utf-8").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


class EventTests(ForegroundTestCase):
    def test_all_kinds(self) -> None:
        client, worker, handle = self.under_way("background=false", EVENTS)
        head, _, _ = client.heard().partition(b"\r\n\r\n")
        self.assertIn(b"Content-Type: text/event-stream", head)
        worker.say(WORK_STATUS, handle, b"1", b"3")
        worker.say(WORK_WARNING, handle, b"careful\nevent: completed")
        worker.say(WORK_DATA, handle, b"\xff")
        worker.say(WORK_COMPLETE, handle, "fertig, \u00fc".encode())
        self.assertEqual(
            events(unchunked(client.heard())),
            [
                ("progress", {"numerator": 1, "denominator": 3}),
                ("warning", {"text": "careful\nevent: completed"}),
                ("data", {"base64": "/w=="}),
                ("completed", {"text": "fertig, \u00fc"}),
            ],
        )
        self.assertFalse(client.closed)
        self.server.notices.stop()
        self.clock.advance(1000)
        self.assertEqual(client.heard(), b"")

    def test_the_first_one(self) -> None:
        client = self.connect()
        client.ask_web("POST", JOBS, EVENTS, b"work")
        ((name, data),) = events(unchunked(client.heard().partition(b"\r\n\r\n")[2]))
        self.assertEqual(name, "created")
        self.assertEqual(
            data,
            {
                "handle": "H:test:1",
                "job": "/api/v1/jobs/H%3Atest%3A1",
                "result": "/api/v1/jobs/H%3Atest%3A1/result",
            },
        )

    def test_failures(self) -> None:
        for kind, arguments, exception in (
            (WORK_FAIL, (), None),
            (WORK_EXCEPTION, (b"no",), {"text": "no", "size": 2}),
        ):
            client, worker, handle = self.under_way("background=false", EVENTS)
            worker.say(kind, handle, *arguments)
            (_, _), (name, data) = events(client.web_answer().body)
            self.assertEqual((name, data["code"], data.get("exception")), ("failed", "job_failed", exception))
            worker.leave()

    def test_another_attempt(self) -> None:
        """What was told before is void; the stream goes on."""
        client, worker, handle = self.under_way("background=false", EVENTS)
        other = self.worker()
        worker.say(WORK_DATA, handle, b"one")
        worker.leave()
        self.assertEqual(other.grab()[0], handle)
        other.say(WORK_COMPLETE, handle, b"two")
        names = [name for name, _ in events(client.web_answer().body)]
        self.assertEqual(names, ["created", "data", "restarted", "completed"])

    def test_long_data(self) -> None:
        """It comes in pieces; together they are what the worker sent."""
        client, worker, handle = self.under_way("background=false", EVENTS)
        data, result = b"\xff" * (MOST_PIECE + 5), b"a" + "\u00fc".encode() * MOST_PIECE
        worker.say(WORK_DATA, handle, data)
        worker.say(WORK_COMPLETE, handle, result)
        told = events(client.web_answer().body)[1:]
        self.assertEqual([name for name, _ in told], ["data"] * 4 + ["completed"])
        self.assertEqual([list(about) for _, about in told], [["base64"]] * 2 + [["text"]] * 3)
        self.assertEqual("".join(about["text"] for _, about in told[2:]).encode(), result)

    def test_long_warnings(self) -> None:
        client, worker, handle = self.under_way("background=false", EVENTS)
        worker.say(WORK_WARNING, handle, b"w" * (MOST_PIECE + 1))
        worker.say(WORK_COMPLETE, handle, b"")
        names = [name for name, _ in events(client.web_answer().body)]
        self.assertEqual(names, ["created", "warning", "warning", "completed"])

    def test_quiet_lines_are_heard(self) -> None:
        """So that proxies do not take them for dead."""
        client, _, _ = self.under_way("background=false", EVENTS)
        client.heard()
        self.clock.advance(QUIET_SECONDS)
        self.assertEqual(unchunked(client.heard()), b":\n\n")
        client.transport.stuck = True
        client.leave()
        self.clock.advance(QUIET_SECONDS)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_slow_reader(self) -> None:
        """It gets everything, as fast as it reads."""
        client, worker, handle = self.under_way("background=false", EVENTS)
        client.transport.stuck = True
        for _ in range(40):
            worker.say(WORK_DATA, handle, b"x" * MOST_PIECE)
        self.clock.advance(QUIET_SECONDS)
        worker.say(WORK_COMPLETE, handle, b"end")
        body = unchunked(client.heard_all().partition(b"\r\n\r\n")[2])
        told = [(name, about) for name, about in events(body) if name != "created"]
        self.assertEqual(len(told), 41)
        self.assertEqual(told[-1], ("completed", {"text": "end"}))
        self.server.notices.stop()
        self.clock.advance(1000)

    def test_a_reader_that_never_reads(self) -> None:
        """What waits for it is bounded: then it is dropped."""
        client, worker, handle = self.under_way("background=false", EVENTS)
        client.transport.stuck = True
        piece = b"x" * 1024 * 1024
        for _ in range(DROP_FROM // len(piece) + 2):
            worker.say(WORK_DATA, handle, piece)
        self.assertTrue(client.aborted)
        client.leave()
        self.assertEqual(self.jobs(), [RUNNING])
        worker.say(WORK_COMPLETE, handle, b"")
        self.server.notices.stop()
        self.clock.advance(1000)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_the_server_ends(self) -> None:
        client, _, _ = self.under_way("background=false", EVENTS)
        _ = self.server.close_connections()
        self.assertTrue(client.closed)


def unchunked(body: bytes) -> bytes:
    """A part of a body, of whole chunks."""
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        found += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return found
