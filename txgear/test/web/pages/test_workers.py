"""Tests of L{txgear.web.pages.workers}."""

from __future__ import annotations

from txgear.broker.operators.workforce import CONDITIONS, SILENT_SECONDS
from txgear.protocol.constants import GRAB_JOB, OPTION_REQ, PRE_SLEEP, SUBMIT_JOB_BG, WORKER_HELLO
from txgear.protocol.packets import request
from txgear.test.support.workerpages import HOSTILE, WorkerPagesTestCase
from txgear.web.pages.workers import LABELS, ROWS, SHOWN, WANTED


class WorkersTests(WorkerPagesTestCase):
    def test_nobody(self) -> None:
        html = self.html("/workers")
        self.assertIn("No worker is connected.", html)
        self.assertNotIn("no worker is there", html)
        self.assertIn("There is no such worker.", self.html("/workers?worker=nobody"))

    def test_nobody_of_ones_own(self) -> None:
        self.allow("http", "see")
        self.assertIn("workers of your own identity", self.html("/workers"))

    def test_each_condition_has_a_label(self) -> None:
        self.assertEqual(set(LABELS), set(CONDITIONS))

    def test_how_they_are(self) -> None:
        self.fixture.connect().ask(request(SUBMIT_JOB_BG, b"f", b"", b""))
        self.known(b"f", client_id=b"at-work", then=request(GRAB_JOB))
        self.known(b"f", client_id=b"dozing", then=request(PRE_SLEEP))
        self.known(b"f", client_id=b"fresh", then=request(GRAB_JOB))
        html = self.html("/workers?worker=at-work")
        self.assertIn('<a href="/jobs/H%3Atest%3A1"><bdi>H:test:1</bdi></a>', html)
        self.assertIn(">busy</span>", html)
        self.assertIn("waits for jobs", self.html("/workers?worker=dozing"))
        self.assertIn("has asked for a job just now", self.html("/workers?worker=fresh"))
        self.assertNotIn("dozing", self.html("/workers?condition=busy"))

    def test_silent_ones_come_first(self) -> None:
        self.known(b"f", client_id=b"a", then=request(PRE_SLEEP))
        self.known(b"f", client_id=b"hung")
        self.clock.advance(SILENT_SECONDS)
        html = self.html("/workers")
        trouble, _, rest = html.partition("<h2>All workers</h2>")
        self.assertIn("<bdi>hung</bdi></a>", trouble)
        self.assertIn("registered, but not asking for work for ", trouble)
        self.assertNotIn("<bdi>a</bdi></a>", trouble)
        self.assertIn("<bdi>hung</bdi></a>", rest)
        self.assertNotIn("may hang", self.html("/workers?condition=silent"))

    def test_what_nobody_does(self) -> None:
        client = self.fixture.connect()
        for number in range(WANTED + 2):
            client.ask(request(SUBMIT_JOB_BG, b"lonely-%02d" % number, b"", b""))
        html = self.html("/workers")
        self.assertIn('<a href="/functions/lonely-00"><bdi>lonely-00</bdi></a> (1)', html)
        self.assertIn("and 2 more.", html)
        self.allow("http", "peers", "see", functions=("other",))
        self.assertNotIn("lonely", self.html("/workers"))

    def test_what_is_being_done(self) -> None:
        """A job that somebody has waits for nobody, although its function has no worker any more."""
        self.fixture.connect().ask(request(SUBMIT_JOB_BG, b"f", b"", b""))
        worker = self.known(b"f", then=request(GRAB_JOB))
        worker.tell(request(OPTION_REQ, b"txgear-1"))
        key = b'{"key":"%s","id":"gone"}' % (b"a" * 32)
        worker.ask(request(WORKER_HELLO, key))
        worker.leave()
        html = self.html("/workers")
        self.assertIn(">absent</span>", html)
        self.assertNotIn("no worker is there", html)
        self.fixture.connect().ask(request(SUBMIT_JOB_BG, b"f", b"", b""))
        self.assertIn("<bdi>f</bdi></a> (1)", self.html("/workers"))

    def test_counts(self) -> None:
        self.known(b"f", then=request(PRE_SLEEP))
        self.assertNotIn("Asleep <span", self.html("/workers"))
        self.count()
        self.assertIn('Asleep <span class="number">1</span>', self.html("/workers"))
        self.allow("http", "see")
        self.assertIn('Asleep <span class="number">0</span>', self.html("/workers"))

    def test_pages_keep_what_is_asked_for(self) -> None:
        for number in range(ROWS + 1):
            self.known(b"f", client_id=b"w%d" % number)
        html = self.html("/workers?function=f&condition=awake")
        link = html.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
        self.assertIn("function=f", link)
        following = self.html(link)
        self.assertIn(f"<bdi>w{ROWS}</bdi></a>", following)
        self.assertIn('href="/workers?condition=awake&amp;function=f">First page', following)

    def test_empty_fields_of_the_form_are_for_all(self) -> None:
        self.known(b"f", client_id=b"me")
        self.assertIn("<bdi>me</bdi></a>", self.html("/workers?function=&worker="))

    def test_what_makes_no_sense(self) -> None:
        for query in ("condition=tired", "after=x", "x=1", "function=" + "x" * 1001):
            self.html(f"/workers?{query}", 400)

    def test_of_many_functions_the_first_are_shown(self) -> None:
        self.known(*(b"f%d" % number for number in range(SHOWN + 4)))
        self.assertIn("and 4 more", self.html("/workers"))

    def test_those_of_others_are_not_shown(self) -> None:
        self.known(b"f", client_id=b"other")
        self.allow("http", "see")
        self.assertNotIn("other", self.html("/workers"))

    def test_hostile_names(self) -> None:
        self.fixture.connect().ask(request(SUBMIT_JOB_BG, HOSTILE, b"", b""))
        html = self.html("/workers")
        self.assertIn("&lt;b&gt;", html)
        self.known(HOSTILE, client_id=HOSTILE, then=request(GRAB_JOB))
        for path in ("/workers",):
            html = self.html(path)
            self.assertNotIn('<b>"', html)
            self.assertNotIn("49", html.partition("<main")[2].partition("&lt;b&gt;")[0])

    def test_it_changes_while_it_is_open(self) -> None:
        peer = self.known(b"f", client_id=b"me", then=request(GRAB_JOB))
        client = self.connect()
        client.ask_web("GET", "/workers", {"Accept": "text/event-stream"})
        self.clock.pump([0] * 10)
        self.assertIn(b"just now", client.heard())
        peer.ask(request(PRE_SLEEP))
        self.clock.pump([1] + [0] * 10)
        self.assertIn(b"waits for jobs", client.heard())
        peer.ask(request(GRAB_JOB), request(PRE_SLEEP))
        self.clock.pump([1] + [0] * 10)
        self.assertNotIn(b"change", client.heard())
        client.leave()
