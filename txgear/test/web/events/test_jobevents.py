"""Tests of L{txgear.web.events.jobevents}."""

from __future__ import annotations

from base64 import b64encode

from txgear.broker.model import Job, Peer
from txgear.broker.operators.inspection import MOST_SHOWN
from txgear.policies import CLASSIC, Policies, Policy, Retention
from txgear.protocol.packets import Data, Pieces
from txgear.test.web.events.test_readers import Event, EventsTestCase, parsed, unchunked
from txgear.web.events.jobevents import PROGRESS_SECONDS
from txgear.web.events.sse import QUIET_SECONDS


class JobEventsTests(EventsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.runner = Peer(99, "127.0.0.1")
        self.broker.connect(self.runner)
        self.broker.can_do(self.runner, b"f", 0.0, self.server.seconds())
        self.job = self.broker.submit(None, b"f", b"", b"x", self.server.seconds(), background=True)

    def follow(self, job: Job | None = None) -> list[Event]:
        """Follow a job, and what is told at first."""
        handle = (job or self.job).handle.decode()
        self.reader = self.read(f"/events?job={handle}")
        return self.begun(self.reader)

    def told(self) -> list[Event]:
        """What is told since."""
        return parsed(unchunked(self.reader.heard_all()))

    def set_policy(self, policy: Policy) -> None:
        self.broker.operations.set_policies(Policies([("f", policy)]), self.server.seconds())

    def grab(self) -> None:
        self.assertIs(self.broker.grab(self.runner, self.server.seconds()), self.job)

    def data(self, data: Data) -> None:
        self.broker.reports.work_data(self.runner, self.job.handle, data, self.server.seconds())

    def progress(self, numerator: int) -> None:
        numbers = b"%d" % numerator, b"9"
        now = self.server.seconds()
        self.broker.reports.work_status(self.runner, self.job.handle, *numbers, (numerator, 9), now)

    def test_from_the_queue_to_the_end(self) -> None:
        (first,) = self.follow()
        self.assertEqual((first.name, first.data["state"]), ("job", "queued"))
        self.grab()
        (begun,) = self.told()
        self.assertEqual((begun.name, begun.data["state"]), ("job", "running"))
        self.data(b"some")
        self.broker.reports.work_warning(self.runner, self.job.handle, b"\xff", self.server.seconds())
        said = [Event("data", {"text": "some"}), Event("warning", {"base64": "/w=="})]
        self.assertEqual(self.told(), said)
        self.broker.reports.work_complete(self.runner, self.job.handle, b"result", self.server.seconds())
        result = {"size": 6, "shown": 6, "text": "result"}
        stream = self.reader.heard()
        self.assertIn(b"event: ended\n", stream)
        self.assertTrue(stream.endswith(b"\r\n0\r\n\r\n"))
        self.assertIn(b'{"outcome":"done","result":{"size":6,"shown":6,"text":"result"}}', stream)
        self.assertEqual(len(result), 3)

    def test_attempts(self) -> None:
        self.set_policy(CLASSIC.with_settings({"retries": 1}))
        self.follow()
        self.grab()
        self.broker.reports.work_fail(self.runner, self.job.handle, self.server.seconds())
        begun, again = self.told()
        self.assertEqual(
            (begun.data["state"], again.data["state"], again.data["attempts"]), ("running", "waiting", 1)
        )

    def test_who_comes_back_is_told_what_was_said_meanwhile(self) -> None:
        """As far as it is kept."""
        self.set_policy(CLASSIC.with_settings({"results": 60, "retries": 9, "backoff": 0}))
        self.follow()
        self.grab()
        self.told()
        self.data(b"one")
        self.data(b"\xff")
        first, second = self.told()
        attempt = f"{round(self.job.since * 1000)}"
        self.assertEqual((first.id, second.id), (f"{attempt}-3", f"{attempt}-4"))
        for last_id, told in (
            (first.id, [Event("data", {"base64": "/w=="}, f"{attempt}-4")]),
            (second.id, []),
            (f"{attempt}-9", []),
            ("0-0", [Event("data", {"base64": b64encode(b"one\xff").decode()}, f"{attempt}-4")]),
            ("nonsense", []),
            ("", []),
        ):
            reader = self.read(f"/events?job=H:test:1&last_event_id={last_id}")
            self.assertEqual(self.begun(reader)[1:], told, last_id)
        self.broker.reports.work_fail(self.runner, self.job.handle, self.server.seconds())
        self.clock.advance(1)
        self.grab()
        reader = self.read(f"/events?job=H:test:1&last_event_id={second.id}")
        self.assertEqual(self.begun(reader)[1:], [Event("restarted", {})])

    def test_of_much_that_was_missed_the_end(self) -> None:
        self.set_policy(CLASSIC.with_settings({"results": 60}))
        self.grab()
        for number in range(9):
            self.data(b"%d" % number * 10_000)
        reader = self.read("/events?job=H:test:1&last_event_id=0-0")
        _, skipped, data = self.begun(reader)
        self.assertEqual(skipped.data, {"bytes": 90_000 - MOST_SHOWN})
        self.assertEqual((len(data.data["text"]), data.data["text"][-1]), (MOST_SHOWN, "8"))

    def test_progress_four_times_a_second(self) -> None:
        self.follow()
        self.grab()
        self.told()
        for number in range(5):
            self.progress(number)
        self.assertEqual([event.data["numerator"] for event in self.told()], [0])
        self.clock.advance(PROGRESS_SECONDS)
        self.assertEqual([event.data["numerator"] for event in self.told()], [4])
        self.clock.advance(PROGRESS_SECONDS)
        self.assertEqual(self.told(), [])
        self.progress(6)
        self.assertEqual([event.data["numerator"] for event in self.told()], [6])

    def test_of_much_at_once_the_beginning(self) -> None:
        self.follow()
        self.grab()
        self.told()
        for said, key, shown in (
            (b"x" * 100_000, "text", "x" * MOST_SHOWN),
            (Pieces([b"\xff" * 60_000, b"\xff" * 40_000]), "base64", b64encode(b"\xff" * 60_000).decode()),
        ):
            self.data(said)
            data, skipped = self.told()
            self.assertEqual((data.name, data.data), ("data", {key: shown}))
            missing = 100_000 - (MOST_SHOWN if key == "text" else 60_000)
            self.assertEqual((skipped.name, skipped.data), ("skipped", {"bytes": missing}))

    def test_one_that_does_not_read(self) -> None:
        self.follow()
        self.grab()
        self.told()
        self.reader.transport.stuck = True
        for _ in range(200):
            self.data(b"x" * 10_000)
        self.progress(3)
        heard = self.told()
        (skipped,) = [event for event in heard if event.name == "skipped"]
        given = sum(len(event.data["text"]) for event in heard if event.name == "data")
        self.assertEqual(given + skipped.data["bytes"], 2_000_000)
        self.assertLess(given, 1_000_000)
        self.assertEqual(heard[-1].name, "progress")

    def test_an_attempt_that_began_while_it_did_not_read(self) -> None:
        self.follow()
        self.grab()
        self.told()
        self.reader.transport.stuck = True
        for _ in range(200):
            self.data(b"x" * 10_000)
        self.broker.reset_abilities(self.runner, self.server.seconds())
        states = [event.data["state"] for event in self.told() if event.name == "job"]
        self.assertEqual(states, ["queued"])

    def test_a_job_that_has_ended(self) -> None:
        self.set_policy(Policy(results=Retention(60.0)))
        self.grab()
        self.broker.reports.work_complete(self.runner, self.job.handle, b"result", self.server.seconds())
        first, last = self.follow()
        self.assertEqual((first.data["state"], last), ("done", Event("ended", {"outcome": "done"})))

    def test_no_such_job(self) -> None:
        answer = self.ask("GET", "/events?job=H:test:77")
        self.assertEqual((answer.status, answer.code), (404, "unknown_job"))

    def test_who_follows_is_nobody_who_waits(self) -> None:
        client = Peer(98, "127.0.0.1")
        self.broker.connect(client)
        self.job = self.broker.submit(client, b"g", b"", b"x", self.server.seconds())
        self.follow()
        self.broker.disconnect(client, self.server.seconds())
        self.assertIn(b'{"outcome":"cancelled"', self.reader.heard())

    def test_one_that_leaves(self) -> None:
        before = len(self.clock.getDelayedCalls())
        self.follow()
        self.reader.leave()
        self.grab()
        self.data(b"x")
        self.assertEqual(len(self.clock.getDelayedCalls()), before)
        history = self.job.history
        assert history is not None
        self.assertEqual((history.followers, history.watchers), (None, {}))

    def test_a_quiet_line(self) -> None:
        self.follow()
        self.clock.advance(QUIET_SECONDS)
        self.assertEqual(self.told(), [Event("", None)])

    def test_what_the_worker_says_is_for_those_who_may_read(self) -> None:
        self.allow("http", "see")
        self.follow()
        self.grab()
        self.data(b"some")
        self.progress(2)
        self.assertEqual([event.name for event in self.told()], ["job"])
        self.broker.reports.work_complete(self.runner, self.job.handle, b"result", self.server.seconds())
        self.assertIn(b'data: {"outcome":"done"}\n', self.reader.heard())

    def test_one_that_may_not_know_of_it_any_more(self) -> None:
        self.allow("http", "see", "read")
        self.follow()
        self.grab()
        self.told()
        self.allow("http")
        self.data(b"some")
        stream = self.reader.heard()
        self.assertNotIn(b"some", stream)
        self.assertTrue(stream.endswith(b"0\r\n\r\n"))

    def test_the_end_of_one_that_may_not_be_known_any_more(self) -> None:
        self.allow("http", "see", "read")
        self.follow()
        self.grab()
        self.told()
        self.allow("http")
        self.broker.reports.work_complete(self.runner, self.job.handle, b"secret", self.server.seconds())
        self.assertEqual(self.reader.heard(), b"0\r\n\r\n")

    def left_unread(self) -> None:
        """Begin to follow a job that runs, and read nothing of it any more."""
        self.allow("http", "see", "read")
        self.follow()
        self.grab()
        self.told()
        self.reader.transport.stuck = True
        for _ in range(200):
            self.data(b"x" * 10_000)
        self.progress(1)

    def test_what_was_not_read_while_it_might_be_known(self) -> None:
        self.left_unread()
        self.broker.reset_abilities(self.runner, self.server.seconds())
        self.allow("http")
        stream = self.reader.heard_all()
        self.assertNotIn(b"event: job", stream)
        self.assertTrue(stream.endswith(b"\r\n0\r\n\r\n"))

    def test_progress_that_was_not_read_while_it_might_be(self) -> None:
        self.left_unread()
        self.allow("http", "see")
        self.assertNotIn(b"event: progress", self.reader.heard_all())
