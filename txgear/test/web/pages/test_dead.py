"""Tests of L{txgear.web.pages.dead}, and of what L{txgear.web.pages.bulk} does to the dead."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from txgear.broker.ended.reviews import MOST_REVIEWS
from txgear.broker.model import Function, Peer
from txgear.broker.operators.search import Bounds
from txgear.errors import StoreUnavailable
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import SUBMIT_JOB_BG, WORK_EXCEPTION, WORK_FAIL
from txgear.protocol.packets import request
from txgear.test.support.broker import make_job
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.web.pages.test_jobs import BROWSER, HOSTILE, SCRIPT, Asked, PageTestCase
from txgear.web.pages import dead
from txgear.web.pages.joblist import IDLE_SECONDS
from txgear.web.pages.pages import Pages
from txgear.web.pages.reviews import PATIENCE
from txgear.web.payloads import MOST_HELD


class DeadPageTestCase(PageTestCase):
    def die(
        self, count: int = 1, function: bytes = b"f", message: bytes = b"", workload: bytes = b"w"
    ) -> None:
        policies = Policies([("*", CLASSIC.with_settings({"retries": 0}))])
        self.broker.operations.set_policies(policies, self.clock.seconds())
        worker = self.worker(function)
        for _ in range(count):
            self.broker.submit(None, function, b"", workload, self.clock.seconds(), background=True)
            (handle, *_) = worker.grab()
            worker.say(WORK_EXCEPTION, handle, message) if message else worker.say(WORK_FAIL, handle)
        worker.leave()

    def run_tasks(self) -> list[Any]:
        self.clock.pump([0.001] * 20)
        return self.server.bulk_acts.all(self.clock.seconds())

    def review(self, name: str, *numbers: int) -> None:
        for number in numbers:
            job = self.broker.archive.jobs[number]
            self.broker.operations.review(job, name, self.clock.seconds(), "ops")


class DeadTests(DeadPageTestCase):
    def test_nothing_is_dead(self) -> None:
        html = self.see("/dead")
        self.assertIn("No job is dead", html)
        self.assertEqual(self.rows(html), [])

    def test_groups(self) -> None:
        self.die(2)
        self.die(3, b"f", b"<b>no</b>")
        self.die(1, HOSTILE)
        html = self.see("/dead")
        self.assertIn("6 jobs, in 3 groups.", html)
        self.assertIn("&lt;b&gt;no&lt;/b&gt;", html)
        self.assertNotIn("<b>", html)
        links = [f"/dead?function=f&amp;reason={reason}" for reason in ("exception", "fail")]
        places = [html.index(f'<a href="{link}">') for link in links]
        self.assertEqual(places, sorted(places))
        self.assertEqual(len(self.rows(html)), 6)
        html = self.see("/dead?reason=fail&function=f")
        self.assertIn("2 jobs of the functions and reasons that you look for, in 1 group.", html)
        self.assertEqual(self.rows(html), ["H:test:1", "H:test:2"])

    def test_a_group_of_any_name_is_found_by_its_link(self) -> None:
        self.die(1, HOSTILE)
        self.die(1, b"a*[b]?")
        self.die(1, b"axb")
        html = self.see("/dead")
        for number, name in ((1, HOSTILE), (2, b"a*[b]?"), (3, b"axb")):
            links = {part.partition('"')[0] for part in html.split('formaction="')[1:]}
            found = [
                link
                for link in links
                if self.rows(self.see(link.replace("&amp;", "&"))) == [f"H:test:{number}"]
            ]
            self.assertEqual(len(found), 1, name)

    def test_nothing_is_done_to_others_by_the_group_without_a_name(self) -> None:
        """There is no pattern for that function alone."""
        self.die(1, b"")
        self.assertIn("1 job, in 1 group.", html := self.see("/dead"))
        self.assertNotIn("formaction=", html)
        self.die(1, b"f")
        self.assertIn('formaction="/dead?function=f&amp;reason=', self.see("/dead"))

    def test_a_filter(self) -> None:
        self.die(1, b"f", b"why")
        self.die(1, b"g")
        self.review("r", 2)
        self.assertEqual(self.to("/dead?function=&reason=fail&text="), "/dead?reason=fail")
        for query, found in (
            ("text=why", [1]),
            ("unique=x", []),
            ("function=g", []),
            ("review=r", [2]),
            ("reason=exception,lost", [1]),
            ("after=1", []),
        ):
            self.assertEqual(self.rows(self.see(f"/dead?{query}")), [f"H:test:{number}" for number in found])
        html = self.see("/dead?reason=soon&function=" + "%5B" * 200)
        self.assertIn('aria-invalid="true" aria-describedby="wrong-reason"', html)
        self.assertIn("Nothing is looked for", html)
        self.assertIn("exception or lost", self.see("/dead?reason=exception,lost"))
        for query in ("state=queued", "after=x", "of=kept"):
            self.see(f"/dead?{query}", 400)

    def test_set_aside(self) -> None:
        self.die(2)
        self.review("r", 2)
        self.assertNotIn("/reviews/", self.see("/jobs/H:test:1"))
        self.assertIn('in the review <a href="/reviews/r">', self.see("/jobs/H:test:2"))

    def test_pages(self) -> None:
        self.die(53)
        html = self.see("/dead")
        self.assertEqual(len(self.rows(html)), 50)
        self.assertIn('<a href="/dead?after=50" rel="next">', html)
        html = self.see("/dead?after=50")
        self.assertEqual(self.rows(html), ["H:test:51", "H:test:52", "H:test:53"])
        self.assertIn('<a href="/dead">First page</a>', html)

    def test_many_groups(self) -> None:
        for number in range(60):
            self.die(1 + (number == 59), b"f%d" % number)
        html = self.see("/dead")
        self.assertIn("61 jobs, in 60 groups; the 50 largest are shown.", html)
        self.assertIn('href="/functions/f59"', html)
        self.assertNotIn('href="/dead?function=f9&', html)

    def test_what_one_may_not(self) -> None:
        self.die(1, b"f", b"secret words")
        self.die(1, b"g", b"secret words")
        self.review("r", 2)
        self.allow("http", "see", functions=("f",))
        html = self.see("/dead")
        self.assertEqual(self.rows(html), ["H:test:1"])
        for nothing in ("secret", "<button name", "formaction", "/reviews/"):
            self.assertNotIn(nothing, html)
        self.assertEqual(self.send("/dead", ("act", "requeue"), ("handle", "H:test:1")).status, 200)
        self.assertEqual(len(self.broker.archive.jobs), 2)

    def test_kept_open(self) -> None:
        self.die()
        client = self.connect()
        client.ask_web("GET", "/dead", {"Accept": "text/event-stream"})
        self.clock.pump([0.001] * 5)
        client.heard()
        self.clock.advance(0.25)
        self.clock.pump([0.001] * 5)
        self.assertNotIn(b"job-1", client.heard())
        self.die(1, b"g")
        self.clock.advance(0.25)
        self.clock.pump([0.001] * 5)
        heard = client.heard()
        self.assertIn(b'"job-2"', heard)
        self.assertNotIn(b'"job-1":', heard)
        client.leave()


class ActTests(DeadPageTestCase):
    def test_selected(self) -> None:
        self.die(4)
        for act, report in (
            ("requeue", "1 job is queued again"),
            ("review", "1 job is set aside in review-1"),
        ):
            handle = self.rows(self.see("/dead"))[0]
            answer = self.send("/dead", ("act", act), ("handle", handle), accept=SCRIPT)
            self.assertEqual(answer.json, {"text": report, "to": "/dead"})
        self.assertEqual(self.broker.archive.ended.reviews.by_name["review-1"].jobs.keys(), {2})
        answer = self.send("/dead", ("act", "forget"), ("handle", "H:test:3"))
        self.assertIn("Nothing is kept of them", answer.body.decode())
        answer = self.send("/dead", ("act", "forget"), ("handle", "H:test:3"), ("sure", "yes"))
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/dead"))
        self.assertEqual(self.rows(self.see("/dead")), ["H:test:4"])
        answer = self.send("/dead", ("act", "move"), ("function", "g"), ("handle", "H:test:4"))
        self.assertEqual(self.broker.archive.jobs[4].function.name, b"g")

    def test_a_group(self) -> None:
        self.die(2)
        self.die(3, b"f", b"why")
        answer = self.send("/dead?function=f&reason=exception", ("act", "requeue"), ("to", "all"))
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/tasks/1"))
        self.run_tasks()
        html = self.see("/tasks/1")
        self.assertIn("of which the reason is", html)
        self.assertIn('href="/dead?function=f&amp;reason=exception"', html)
        self.send("/tasks/1/confirm")
        self.assertEqual([task.done for task in self.run_tasks()], [0, 3])
        self.assertEqual(self.broker.archive.jobs.keys(), {1, 2})

    def test_a_group_is_set_aside(self) -> None:
        self.die(3)
        for name in ("Odd-1", ""):
            self.send("/dead?reason=fail", ("act", "review"), ("to", "all"), ("review", name))
        self.run_tasks()
        self.assertIn('Set aside in <a href="/reviews/Odd-1">', self.see("/tasks/1"))
        self.assertIn(">Set 3 jobs aside in review-1</button>", self.see("/tasks/2"))
        self.send("/tasks/2/confirm")
        self.run_tasks()
        self.assertEqual(list(self.broker.archive.ended.reviews.by_name), ["review-1"])
        self.assertIn('<a href="/reviews/review-1">', self.see("/dead"))
        self.assertIn('<a href="/reviews/review-1">', self.see("/tasks/3"))

    def test_what_makes_no_sense(self) -> None:
        self.die()
        for status, target, fields in (
            (400, "/dead", [("act", "review"), ("review", "a/b"), ("handle", "H:test:1")]),
            (400, "/dead", [("act", "review"), ("review", "a/b"), ("to", "all")]),
            (400, "/dead", [("act", "cancel"), ("handle", "H:test:1")]),
            (400, "/dead?reason=soon", [("act", "requeue"), ("to", "all")]),
            (400, "/dead", [("act", "put-back"), ("to", "all")]),
            (400, "/jobs", [("act", "put-back"), ("to", "all")]),
        ):
            self.assertEqual(self.send(target, *fields).status, status, fields)
        self.assertEqual(self.broker.archive.jobs.keys(), {1})

    def test_no_room(self) -> None:
        self.die(MOST_REVIEWS + 1)
        for number in range(1, MOST_REVIEWS + 1):
            self.review(f"r{number}", number)
        last = f"H:test:{MOST_REVIEWS + 1}"
        html = self.send("/dead", ("act", "review"), ("handle", last)).body.decode()
        self.assertIn("There are 20 reviews", html)
        self.assertEqual(self.send("/dead", ("act", "review"), ("to", "all")).status, 409)


class ReviewTests(DeadPageTestCase):
    def test_one(self) -> None:
        self.die(1, b"f", b"<b>", b"\xff<script>")
        self.die(1, b"g", b"", b"")
        self.die(1, b"g", b"", b"x" * 300)
        self.review("m\xe4il", 1, 2, 3)
        html = self.see("/reviews/" + quote("m\xe4il"))
        self.assertEqual(self.rows(html), ["H:test:1", "H:test:2", "H:test:3"])
        self.assertIn("<code><bdi>\\xff&lt;script&gt;</bdi></code>", html)
        self.assertIn(f"<bdi>{'x' * 200}</bdi></code> <span", html)
        self.assertIn("<bdi>ops</bdi>", html)
        self.assertIn('value="put-back"', html)
        self.assertNotIn("<b>", html)

    def test_none(self) -> None:
        self.die()
        self.see("/reviews/r", 404)
        self.review("r", 1)
        self.see("/reviews/r?x=1", 400)
        self.allow("http", "see", functions=("g",))
        self.see("/reviews/r", 404)
        self.assertEqual(self.send("/reviews/r", ("act", "requeue"), ("to", "all")).status, 404)

    def test_without_read(self) -> None:
        self.die(1, b"f", b"why", b"secret")
        self.review("r", 1)
        self.allow("http", "see", "requeue")
        html = self.see("/reviews/r")
        self.assertNotIn("secret", html)
        self.assertIn("6 B, hidden", html)
        self.assertEqual(html.count("<button name"), 2)

    def test_large(self) -> None:
        self.die(1, b"f", b"", b"x" * 70_000)
        self.review("r", 1)
        html = self.see("/reviews/r")
        self.assertNotIn("xxx", html)
        self.assertIn("70 kB", html)

    def test_one_by_one(self) -> None:
        self.die(5)
        self.review("r", 1, 2, 3, 4)
        target = "/reviews/r"
        self.send(target, ("act", "requeue"), ("handle", "H:test:1"))
        self.send(target, ("act", "put-back"), ("handle", "H:test:2"))
        self.assertEqual(self.rows(self.see(target)), ["H:test:3", "H:test:4"])
        self.assertEqual(self.rows(self.see("/dead")), ["H:test:2", "H:test:5"])
        self.send(target, ("act", "put-back"), ("to", "all"))
        self.run_tasks()
        self.assertIn(">Put back 2 jobs</button>", self.see("/tasks/1"))
        answer = self.send(
            target, ("act", "forget"), ("handle", "H:test:3"), ("handle", "H:test:4"), ("sure", "yes")
        )
        self.assertEqual(answer.headers["Location"], "/dead")
        self.assertIn("the review has no jobs any more", self.note(answer))

    def note(self, answer: Any) -> str:
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return self.ask("GET", "/dead", {**BROWSER, "Cookie": cookie}).body.decode()

    def test_kept_open_to_its_end(self) -> None:
        self.die(2)
        self.review("r", 1, 2)
        client = self.connect()
        client.ask_web("GET", "/reviews/r", {"Accept": "text/event-stream"})
        self.clock.pump([0.001] * 5)
        self.assertIn(b'"job-1"', client.heard())
        self.broker.operations.forget(b"H:test:1")
        self.clock.advance(0.25)
        self.clock.pump([0.001] * 5)
        self.assertIn(b'"rows":["job-2"]', client.heard())
        self.broker.operations.requeue(b"H:test:2", self.clock.seconds())
        self.clock.advance(0.25)
        self.clock.pump([0.001] * 5)
        self.assertIn(b"event: gone", client.heard())


class StoredReviewTests(DeadPageTestCase):
    """Workloads lie in the store."""

    def setUp(self) -> None:
        self.store = FaultyStore()
        policies = Policies([("*", CLASSIC.with_settings({"retries": 0}))])
        self.use(DurableServerFixture(self.store, policies=policies))
        self.fixture.thread.run_all()
        client = self.fixture.connect()
        handles: list[bytes] = []
        for workload in (b"first", b"second", b"x" * 70_000):
            client.tell(request(SUBMIT_JOB_BG, b"f", b"", workload))
            self.fixture.thread.run_all()
            worker = self.worker(b"f")
            handles.append(worker.grab()[0])
            worker.say(WORK_FAIL, handles[-1])
            worker.leave()
        self.broker.stock.load_handles(handles, self.review_all, self.clock.seconds())
        self.fixture.thread.run_all()
        self.server.end_turn()
        for _ in range(20):
            self.clock.advance(0.05)
            self.fixture.thread.run_all()

    def review_all(self, answered: bool, now: float) -> None:
        self.review("r", *self.broker.archive.jobs)

    def ask_for_it(self) -> Any:
        client = self.connect()
        client.ask_web("GET", "/reviews/r", BROWSER)
        self.assertEqual(client.heard(), b"")
        return client

    def answered(self, client: Any) -> str:
        self.clock.pump([0.001] * 3)
        html: str = client.web_answer().body.decode()
        return html

    def test_they_are_read_at_once(self) -> None:
        client = self.ask_for_it()
        self.store.take()
        self.fixture.thread.run_all()
        self.assertEqual(self.store.take().count("workloads"), 1)
        html = self.answered(client)
        for text in ("first</bdi>", "second</bdi>", "70 kB"):
            self.assertIn(text, html)
        self.assertNotIn("xxx", html)
        self.assertEqual(self.web.payloads.held, 0)

    def test_a_store_that_takes_its_time(self) -> None:
        """The page comes without them; one that is kept open is told them as they come."""
        client = self.connect()
        client.ask_web("GET", "/reviews/r", {"Accept": "text/event-stream"})
        self.clock.pump([0.001] * 3)
        self.clock.advance(PATIENCE)
        self.clock.pump([0.001] * 3)
        self.assertEqual(client.heard().count(b"not read yet"), 2)
        self.fixture.thread.run_all()
        self.clock.advance(0.25)
        self.clock.pump([0.001] * 3)
        heard = client.heard()
        self.assertIn(b"first", heard)
        self.assertNotIn(b"job-%d" % max(self.broker.archive.jobs), heard)
        client.leave()
        self.assertEqual((self.web.payloads.held, self.server.guard._stand_ins), (0, {}))

    def test_what_cannot_be_read_is_tried_again_after_a_while(self) -> None:
        self.store.fail("workloads", StoreUnavailable("gone"), times=20)
        client = self.connect()
        client.ask_web("GET", "/reviews/r", {"Accept": "text/event-stream"})

        def go_on(seconds: float) -> bytes:
            for _ in range(int(seconds / 0.25)):
                self.clock.advance(0.25)
                self.fixture.thread.run_all()
                self.clock.pump([0.001] * 3)
            return bytes(client.heard())

        self.assertIn(b"not read yet", go_on(2))
        self.store.mend()
        self.assertIn(b"first", go_on(70))

    def test_with_another_workload(self) -> None:
        self.broker.operations.correct(self.broker.archive.jobs[1], b"corrected", self.clock.seconds())
        client = self.ask_for_it()
        self.fixture.thread.run_all()
        self.assertIn("corrected</bdi>", self.answered(client))

    def test_as_much_as_may_be_is_read_by_others(self) -> None:
        release = self.web.payloads.hold(MOST_HELD)
        html = self.see("/reviews/r")
        self.assertEqual(html.count("not read yet"), 2)
        release()


class Small(dead.DeadView):
    """One that looks at two jobs in a piece."""

    bounds = Bounds(work=2)


class LongSearchTests(DeadPageTestCase):
    """Where few jobs match, and it takes long to find them."""

    def view(self, query: bytes) -> Small:
        asked: Any = Asked(query)
        return Small(Pages(self.web), Peer(1, "here"), asked)

    def test_it_is_looked_for_again_where_something_may_have_changed(self) -> None:
        self.die(8)
        view = self.view(b"text=none")
        self.assertGreater(len(list(view.look())), 2)
        self.assertEqual(list(view.look()), [])
        self.die(1)
        self.assertGreater(len(list(view.look())), 2)
        self.assertEqual(list(view.look()), [])
        self.review("r", 1)
        self.assertGreater(len(list(view.look())), 2)
        self.clock.advance(IDLE_SECONDS)
        self.assertGreater(len(list(view.look())), 2)

    def test_a_great_many_groups(self) -> None:
        self.die(1, b"g")
        job = self.broker.archive.jobs[1]
        groups = self.broker.archive.ended.groups
        for number in range(dead.AT_ONCE + 1):
            other = make_job(Function(b"f%d" % number), 1000 + number)
            other.since = job.since
            groups.group(other.function, "fail").add(other)
        view = self.view(b"")
        steps = view.look()
        next(steps)
        # Some are gone by the time that they are shown.
        for function in list(groups.functions):
            for group in list(groups.of(function).values()):
                for other in list(group.jobs.values()):
                    if other is not job:
                        groups.remove(other)
        for looking in (steps, view.look()):
            list(looking)
        self.assertEqual(view.board.rows("groups").count("<tr"), 1)
