"""Tests of L{txgear.web.pages.cluster}."""

from __future__ import annotations

from twisted.logger import capturedLogs

from txgear.server.clusterview import Status
from txgear.test.support.clusterview import STATUS, FakeCluster, free_part, server_shown
from txgear.test.support.journal import WELL, FaultyStore, ReportingStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.workerpages import WorkerPagesTestCase
from txgear.web.pages.cluster import AT_ONCE

ENTRY = '<a href="/cluster"'


class ClusterPageTests(WorkerPagesTestCase):
    def join(self, view: FakeCluster, store: FaultyStore | None = None) -> None:
        """Be in a cluster."""
        self.use(DurableServerFixture(store or FaultyStore(), lease=8.0))
        self.server.cluster = view

    def test_without_one(self) -> None:
        html = self.html("/cluster")
        self.assertIn("was started without <code>--cluster</code>", html)
        self.assertNotIn(ENTRY, html)

    def test_servers(self) -> None:
        self.join(
            FakeCluster(
                server_shown("a", 1, 3, address="a.example:4730", own=True),
                server_shown("<b>", 2, seconds=6.0, status=STATUS._replace(draining=True)),
                server_shown("c", 4, status=Status()),
            )
        )
        html = self.html("/cluster")
        self.assertIn(ENTRY, html)
        self.assertNotIn("without <code>--cluster</code>", html)
        ours, theirs, nothing = html.split("<tr id=")[1:]
        self.assertIn('<bdi>a</bdi> <span class="badge info">this one</span>', ours)
        self.assertIn("a.example:4730", ours)
        self.assertIn('<td data-label="Parts">1, 3</td>', ours)
        self.assertIn('<span class="badge ok">alive</span>', ours)
        self.assertIn('data-label="Queued">12</td>', ours)
        self.assertNotIn("drains", ours)
        self.assertIn("<bdi>&lt;b&gt;</bdi>", theirs)
        self.assertRegex(theirs, 'badge warning">silent</span> no sign of life for <time .*>6 s</time>')
        self.assertIn("drains", theirs)
        self.assertIn('data-label="Queued">\N{EN DASH}</td>', nothing)

    def test_many(self) -> None:
        self.join(FakeCluster(*(server_shown("s", number) for number in range(1, 2 * AT_ONCE + 2))))
        self.assertEqual(self.html("/cluster").count("<tr id="), 2 * AT_ONCE + 1)

    def test_what_the_database_promises(self) -> None:
        store = ReportingStore()
        store.said = WELL._replace(doubts=("fsync is <off>",), promise="primary with <1> standby")
        view = FakeCluster(server_shown("a", 1, own=True))
        view.takeovers, view.silent = 3, 1
        self.join(view, store)
        self.assertIn("<dt>Machines</dt><dd>not known</dd>", self.html("/cluster"))
        with capturedLogs():
            self.fixture.thread.run_all()
        html = self.html("/cluster")
        self.assertIn("<dt>Machines</dt><dd>primary with &lt;1&gt; standby</dd>", html)
        self.assertIn("<strong>Less than durable:</strong> fsync is &lt;off&gt;.", html)
        self.assertIn("<dd>3, of them 1 of servers that had died</dd>", html)
        self.assertNotIn("It takes no jobs", html)

    def test_troubles(self) -> None:
        view = FakeCluster(server_shown("a", 1, own=True), free=(free_part(2),))
        self.join(view)
        html = self.html("/cluster")
        self.assertIn("Nobody has part 2:", html)
        self.assertNotIn("may have lost its parts", html)
        self.assertNotIn("has not told", html)
        view.free = (free_part(2), free_part(5))
        view.looked = 31.0
        self.clock.advance(8)
        html = self.html("/cluster")
        self.assertIn("Nobody has parts 2, 5:", html)
        self.assertIn("may have lost its parts", html)
        self.assertRegex(html, "has not told of the servers for <time .*>31 s</time>")
        self.assertIn("<strong>It takes no jobs:</strong>", html)

    def test_it_changes_while_it_is_open(self) -> None:
        view = FakeCluster(server_shown("a", 1, own=True), server_shown("b", 2))
        self.join(view)
        page = self.open("/cluster")
        page.heard()
        self.assertNotIn(b"server-", self.changes(page))
        view.shown[1] = server_shown("b", 2, seconds=4.5)
        changes = self.changes(page)
        self.assertIn(b"server-%032x" % 2, changes)
        self.assertNotIn(b"server-%032x" % 1, changes)
        # That goes on by itself.
        view.shown[1] = server_shown("b", 2, seconds=5.5, status=STATUS._replace(uptime=90065, trust=0.1))
        self.assertNotIn(b"server-", self.changes(page))
        del view.shown[1]
        self.assertIn(b"servers", self.changes(page))
        page.leave()

    def test_rights(self) -> None:
        self.join(FakeCluster())
        self.allow("http", "see", "metrics")
        self.assertNotIn(ENTRY, self.html("/"))
        self.html("/cluster", 403)

    def test_other_words_in_its_address(self) -> None:
        self.html("/cluster?x=1", 400)
