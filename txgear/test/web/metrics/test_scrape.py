"""Tests of L{txgear.web.metrics.scrape}: the texts, their formats, and who reads them how."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from twisted.internet.task import Clock, Cooperator

from txgear.broker.model import Peer
from txgear.broker.rights import METRICS
from txgear.test.support.extras import PROPERTY, given, st
from txgear.test.support.web import WebAnswer, WebPeer, WebTestCase
from txgear.web.metrics import families, scrape
from txgear.web.metrics.figures import figures
from txgear.web.metrics.scrape import MOST_SCRAPES, OPENMETRICS, TEXT, Format, format_for

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""What Prometheus 2.42 says."""


class _All:
    """A registry of these."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def merged(pieces: list[Metric | None]) -> list[Metric]:
    """Each metric once."""
    found: dict[str, Metric] = {}
    for piece in pieces:
        if piece is None:
            continue
        if (whole := found.get(piece.name)) is None:
            whole = found[piece.name] = Metric(piece.name, piece.documentation, piece.type)
        whole.samples = whole.samples + piece.samples
    return list(found.values())


class FormatTests(WebTestCase):
    def test_who_asks_for_openmetrics_gets_it(self) -> None:
        for accept in (
            *(PROMETHEUS, "application/openmetrics-text", "text/html, application/openmetrics-text"),
            'application/openmetrics-text;version="1.0.0"',
            "text/plain, application/openmetrics-text",
        ):
            self.assertIs(format_for(accept), OPENMETRICS, accept)

    def test_what_a_client_likes_better(self) -> None:
        liked = "text/plain;q=0.9, application/openmetrics-text;version=1.0.0;q=0.1"
        self.assertIs(format_for(liked), TEXT)
        self.assertIs(format_for("application/openmetrics-text;q=0, */*;q=0.1"), TEXT)

    def test_everybody_else_gets_text(self) -> None:
        for accept in (
            *("", "*/*", "text/plain", "text/html", "nonsense", "application/openmetrics-text;version=0.0.1"),
            "application/openmetrics-text;q=0",
        ):
            self.assertIs(format_for(accept), TEXT, accept)

    def test_pieces_are_what_the_whole_would_be(self) -> None:
        """But for the piece by piece, nothing is ours."""
        for number in range(30):
            self.broker.functions.get(b"f%d" % number)
        for format, whole in ((TEXT, generate_latest), (OPENMETRICS, openmetrics.generate_latest)):
            pieces = [
                metric
                for metric in figures(self.server)
                # These change from one look to the next.
                if metric is not None and not metric.name.startswith(("process_", "python_", "txgear_python"))
            ]
            self.assertGreater(len(pieces), len(merged(list(pieces))))
            written = b"".join(format.pieces(iter(pieces)))
            self.assertEqual(written, whole(_All(merged(list(pieces)))))

    @PROPERTY
    @given(st.text(max_size=20), st.floats(allow_nan=False))
    def test_any_label_is_read_as_it_was(self, label: str, value: float) -> None:
        metric = families.JOBS.values([((label,), value)])
        for format, parse in ((TEXT, parse_text), (OPENMETRICS, parse_openmetrics)):
            text = b"".join(format.pieces(iter([metric]))).decode("utf-8")
            (found,) = parse(text)
            self.assertEqual(found.samples[0].labels, {"function": label})
            self.assertEqual(found.samples[0].value, value)


class ScrapeTests(WebTestCase):
    parts = (scrape,)

    def setUp(self) -> None:
        super().setUp()
        # One step of all that is done in pieces for each advance of the clock.
        self.steps = Clock()
        self.server.patient = Cooperator(
            lambda: lambda: True, lambda step: self.steps.callLater(1, step), started=True
        )
        self.scrapes = scrape.Scrapes(self.server)

    def begin(self, accept: str = "") -> WebPeer:
        client = self.connect()
        client.ask_web("GET", "/metrics", {**self.headers, **({"Accept": accept} if accept else {})})
        return client

    def step(self, times: int = 1000) -> None:
        for _ in range(times):
            self.steps.advance(1)

    def scrape(self, accept: str = "") -> WebAnswer:
        client = self.begin(accept)
        self.step()
        return client.web_answer()

    def test_text(self) -> None:
        self.worker(b"mail")
        answer = self.scrape()
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        self.assertIn(b'\ngearman_workers{function="mail"} 1.0\n', answer.body)
        names = [family.name for family in parse_text(answer.body.decode())]
        self.assertEqual(len(names), len(set(names)))

    def test_openmetrics(self) -> None:
        answer = self.scrape(PROMETHEUS)
        self.assertEqual(
            answer.headers["Content-Type"], "application/openmetrics-text; version=1.0.0; charset=utf-8"
        )
        self.assertTrue(answer.body.endswith(b"\n# EOF\n"))
        self.assertEqual(answer.body.count(b"# EOF"), 1)
        names = [family.name for family in parse_openmetrics(answer.body.decode())]
        self.assertIn("txgear_job_wait_seconds", names)

    def test_who_may(self) -> None:
        self.allow("http")
        self.assertEqual(self.begin().web_answer().status, 403)
        self.allow("http", "metrics")
        self.assertEqual(self.scrape().status, 200)
        self.headers = {}
        self.assertEqual(self.begin().web_answer().status, 401)
        self.assertEqual({act for _, act in self.server.guard.refused}, {METRICS, "http"})

    def test_all_functions_are_seen(self) -> None:
        self.broker.functions.get(b"secret")
        self.allow("http", "metrics", "see", functions=("mail",))
        self.assertIn(b'function="secret"', self.scrape().body)

    def test_between_the_pieces_others_are_served(self) -> None:
        client = self.begin()
        self.step(5)
        self.assertEqual(client.heard(), b"")
        self.assertEqual(self.fixture.connect().ask(b"version\n")[:3], b"OK ")
        self.step()
        self.assertEqual(client.web_answer().status, 200)

    def test_two_at_a_time_share_one(self) -> None:
        calls = 0

        def counted(self: Format, *arguments: object) -> Iterator[bytes]:
            nonlocal calls
            calls += 1
            return whole(self, *arguments)  # type: ignore[arg-type]

        whole = Format.pieces
        self.patch(Format, "pieces", counted)
        first = self.begin()
        self.step(5)
        second, other = self.begin(), self.begin(PROMETHEUS)
        self.step()
        self.assertEqual(first.web_answer().body, second.web_answer().body)
        self.assertIn(b"# EOF", other.web_answer().body)
        self.assertEqual(calls, 2)
        self.assertEqual(self.scrape().status, 200)
        self.assertEqual(calls, 3)

    def test_one_that_leaves_costs_the_others_nothing(self) -> None:
        first, second = self.begin(), self.begin()
        self.step(5)
        first.leave()
        self.step()
        self.assertEqual(second.web_answer().status, 200)

    def test_all_leave(self) -> None:
        client = self.begin()
        self.step(5)
        client.leave()
        self.step()
        self.assertEqual(self.scrape().status, 200)

    def many(self) -> None:
        for number in range(100):
            self.broker.functions.get(b"a function with a name, number %d" % number)

    def test_who_never_reads_is_bounded(self) -> None:
        self.many()
        stuck = []
        for _ in range(MOST_SCRAPES):
            client = self.begin()
            client.transport.stuck = True
            stuck.append(client)
            self.step()
        refused = self.begin().web_answer()
        self.assertEqual((refused.status, refused.code), (503, "too_many_scrapes"))
        self.assertEqual(refused.headers["Retry-After"], "5")
        stuck[0].leave()
        self.assertEqual(self.scrape().status, 200)

    def test_those_that_wait_count(self) -> None:
        for _ in range(MOST_SCRAPES):
            self.begin()
        self.assertEqual(self.begin().web_answer().status, 503)

    def test_the_server_ends(self) -> None:
        client = self.begin()
        self.step(5)
        self.server.patient.stop()
        self.step()
        self.assertEqual(client.web_answer().status, 503)

    def test_a_defect(self) -> None:
        client = self.begin()
        self.step(2)
        self.broker.peers[Peer(1, "x")] = None
        next(iter(self.broker.peers)).connected = True
        list(self.broker.peers)[-1].connected = True
        self.step()
        self.assertEqual(client.web_answer().status, 500)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.broker.peers.popitem()
