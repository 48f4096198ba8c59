"""Tests of L{txgear.web.pages.server}."""

from __future__ import annotations

from txgear.protocol.constants import CAN_DO, SET_CLIENT_ID
from txgear.protocol.packets import request
from txgear.server.lag import KEPT
from txgear.test.support.workerpages import HOSTILE, SCRIPT, WorkerPagesTestCase
from txgear.web.pages.server import ENDS, NAMED, ROWS, lag_chart


class ServerTests(WorkerPagesTestCase):
    def test_what_is_known(self) -> None:
        html = self.html("/server")
        for words in ("<dt>Memory</dt>", "<dt>Process</dt>", "txgear 0.1.0", "H:test"):
            self.assertIn(words, html)
        self.assertIn("Lag of the reactor in the last 10 min: at worst 0.0 ms", html)
        self.assertNotIn("The server drains", html)

    def test_connections_by_what_they_speak(self) -> None:
        self.known(b"f")
        self.assertNotIn("kind=gearman", self.html("/server"))
        self.count()
        self.assertIn(
            '<a href="/server/connections?kind=gearman">Gearman</a></dt><dd>1</dd>', self.html("/server")
        )

    def test_the_lag(self) -> None:
        self.server.lag.start()
        self.addCleanup(self.server.lag.stop)
        self.clock.rightNow += 2.25
        self.clock.advance(0)
        html = self.html("/server")
        self.assertIn("at worst 2.0 s", html)
        self.assertIn("Something holds the reactor", html)

    def test_who_was_refused(self) -> None:
        self.allow("http", "metrics")
        self.html("/schedules", 403)
        html = self.html("/server")
        self.assertIn("<dt>Refused: settings</dt><dd>1</dd>", html)
        # The number of the process is for those who may know how it is set up.
        self.assertNotIn("<dt>Process</dt>", html)

    def test_proxies(self) -> None:
        self.server.headers_refused = 7
        self.assertIn("<dt>Proxies without a good header</dt><dd>7</dd>", self.html("/server"))

    def test_rights(self) -> None:
        self.allow("http", "see", "settings")
        for path in ("/server", "/server/connections"):
            self.html(path, 403)

    def test_it_changes_while_it_is_open(self) -> None:
        page = self.open("/server")
        page.heard()
        self.assertNotIn(b"card-connections", self.changes(page))
        self.known(b"f")
        self.assertIn(b"card-connections", self.changes(page))
        page.leave()

    def test_other_words_in_its_address(self) -> None:
        self.html("/server?x=1", 400)


class ChartTests(WorkerPagesTestCase):
    def test_nothing_was_measured(self) -> None:
        self.assertIn("at worst 0.0 ms", lag_chart((None,) * KEPT))

    def test_its_top(self) -> None:
        self.assertIn(">500 ms</text>", lag_chart((None, 0.3, 0.001)))


class EndTests(WorkerPagesTestCase):
    def setUp(self) -> None:
        self.start(allow_shutdown=True)
        self.ended: list[bool] = []
        self.server.shutdown = self.ended.append

    def audited(self) -> list[tuple[str, str | None]]:
        return [(line["act"], line.get("arguments")) for line in self.server.audit.last(0, 10)[0]]

    def test_it_asks_first(self) -> None:
        for how, (label, warning) in ENDS.items():
            answer = self.posted("/server/end", how=how)
            self.assertEqual(answer.status, 200)
            self.assertIn(f"{label}?".encode(), answer.body)
            self.assertIn(warning.encode(), answer.body)
            answer = self.posted("/server/end", SCRIPT, how=how)
            self.assertEqual((answer.status, answer.code), (409, "not_sure"))
        self.assertEqual((self.ended, self.audited()), ([], []))

    def test_drain(self) -> None:
        answer = self.posted("/server/end", how="drain", sure="yes")
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/server"))
        self.assertEqual((self.ended, self.audited()), ([True], [("shutdown", "graceful")]))

    def test_at_once(self) -> None:
        """The page that says so needs no other."""
        answer = self.posted("/server/end", how="now", sure="yes")
        self.assertEqual(answer.status, 200)
        self.assertIn(b"gone in a moment", answer.body)
        self.assertEqual((self.ended, self.audited()), ([False], [("shutdown", None)]))
        answer = self.posted("/server/end", SCRIPT, how="now", sure="yes")
        self.assertEqual(answer.json, {"text": "The server ends", "to": "/server"})

    def test_what_is_shown(self) -> None:
        html = self.html("/server")
        self.assertIn('name="how" value="drain"', html)
        self.assertIn("whoever reaches it may end it", html)
        self.server.broker.drain(self.clock.seconds())
        html = self.html("/server")
        self.assertIn("The server drains", html)
        self.assertNotIn('name="how" value="drain"', html)
        self.assertIn('name="how" value="now"', html)

    def test_not_switched_on(self) -> None:
        self.start()
        self.server.shutdown = self.ended.append
        html = self.html("/server")
        self.assertIn("not started with <code>--allow-shutdown</code>", html)
        self.assertNotIn('name="how"', html)
        answer = self.posted("/server/end", SCRIPT, how="now", sure="yes")
        self.assertEqual((answer.status, answer.code), (409, "not_switched_on"))
        self.assertEqual(self.ended, [])

    def test_other_words(self) -> None:
        for how in ("", "graceful", "x" * 9000):
            answer = self.posted("/server/end", SCRIPT, how=how, sure="yes")
            self.assertEqual((answer.status, answer.code), (400, "unknown_end"))

    def test_who_may(self) -> None:
        self.allow("http", "metrics", "see", "shutdown", "peers")
        html = self.html("/server")
        self.assertIn("Who may: me.", html)
        self.assertIn('name="how" value="now"', html)
        self.allow("http", "metrics", "see")
        html = self.html("/server")
        self.assertIn("You may not end it.", html)
        self.assertNotIn("Who may", html)
        answer = self.posted("/server/end", how="now", sure="yes")
        self.assertEqual((answer.status, self.ended), (403, []))

    def test_who_may_among_many(self) -> None:
        names = [f"ops-{number:02}" for number in range(NAMED + 2)]
        rows = "".join(
            f'[[identity]]\nname = "{name}"\naddresses = ["10.0.0.{index}"]\n'
            for index, name in enumerate(names)
        )
        self.rules(
            f'{rows}[[identity]]\nname = "me"\naddresses = ["127.0.0.1"]\n'
            '[[access]]\nidentities = ["ops-*"]\nallow = ["shutdown"]\n'
            '[[access]]\nidentities = ["me"]\nallow = ["http", "metrics", "peers"]\n'
        )
        html = self.html("/server")
        self.assertIn("ops-19, and 2 more.", html)
        self.assertIn("You may not end it.", html)
        self.rules(
            '[[identity]]\nname = "me"\naddresses = ["127.0.0.1"]\n'
            '[[access]]\nidentities = ["me"]\nallow = ["http", "metrics", "peers"]\n'
        )
        self.assertIn("Who may: nobody at all.", self.html("/server"))


class ConnectionsTests(WorkerPagesTestCase):
    def test_all_and_some(self) -> None:
        worker = self.known(b"f", client_id=b"mailer")
        self.fixture.connect("192.0.2.7")
        html = self.html("/server/connections")
        number = worker.protocol.peer.descriptor
        self.assertIn(f'<a href="/workers/{number}"><bdi>mailer</bdi></a>', html)
        self.assertIn("<bdi>192.0.2.7 2</bdi>", html)
        self.assertIn(">Web</td>", html)
        html = self.html("/server/connections?kind=gearman&worker=mail")
        self.assertIn("mailer", html)
        self.assertNotIn("192.0.2.7", html)
        self.assertIn("There is no such connection here.", self.html("/server/connections?kind=http"))

    def test_pages(self) -> None:
        for number in range(ROWS + 1):
            self.fixture.connect().ask(request(SET_CLIENT_ID, b"peer-%d" % number))
        html = self.html("/server/connections?kind=gearman")
        link = html.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
        self.assertIn("kind=gearman", link)
        self.assertIn(f"peer-{ROWS}<", self.html(link))

    def test_those_of_others(self) -> None:
        self.known(b"f", client_id=b"other")
        self.allow_beside_workers("http", "metrics")
        self.assertNotIn("other</bdi>", self.html("/server/connections"))

    def test_what_makes_no_sense(self) -> None:
        for query in ("kind=tin", "after=x", "worker=" + "x" * 1001):
            self.html(f"/server/connections?{query}", 400)

    def test_hostile_names(self) -> None:
        self.fixture.connect().ask(request(SET_CLIENT_ID, HOSTILE), request(CAN_DO, HOSTILE))
        html = self.html("/server/connections")
        self.assertNotIn('<b>"', html)
        self.assertIn("{{ 7 * 7 }}", html)

    def test_it_changes_while_it_is_open(self) -> None:
        page = self.open("/server/connections?kind=gearman")
        page.heard()
        self.assertNotIn(b"change", self.changes(page))
        self.fixture.connect()
        self.assertIn(b"connection-2", self.changes(page))
        page.leave()
