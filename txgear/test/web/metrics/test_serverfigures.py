"""Tests of L{txgear.web.metrics.serverfigures}."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear._version import __version__
from txgear.broker.paging import JOB_BYTES
from txgear.errors import AccessDenied
from txgear.protocol.constants import ECHO_REQ
from txgear.protocol.packets import request
from txgear.security.audit import LOGIN
from txgear.server.clusterview import SILENT_SECONDS
from txgear.server.guard import WrongToken
from txgear.stores.memory import MemoryStore
from txgear.test.support.clusterview import FakeCluster, free_part, server_shown
from txgear.test.support.server import DurableServerFixture, ServerFixture, submit
from txgear.web.metrics import serverfigures
from txgear.web.metrics.families import FAMILIES


class ServerFiguresTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.use(ServerFixture())

    def use(self, fixture: Any) -> None:
        self.fixture = fixture
        self.server = fixture.server

    def read(self) -> dict[str, float]:
        """All values, by name and labels as they are written."""
        found: dict[str, float] = {}
        for metric in serverfigures.figures(self.server):
            for sample in [] if metric is None else metric.samples:
                labels = ",".join(sample.labels.values())
                found[f"{sample.name} {labels}".strip()] = sample.value
        return found

    def test_it_is_up(self) -> None:
        found = self.read()
        self.assertEqual(found["gearman_up"], 1)
        self.assertEqual(found[f"gearman_version_info {__version__}"], 1)
        self.assertEqual(found["txgear_draining"], 0)
        self.server.broker.drain(0.0)
        self.assertEqual(self.read()["txgear_draining"], 1)

    def test_connections(self) -> None:
        first, second = self.fixture.connect(), self.fixture.connect()
        second.leave()
        first.ask(request(ECHO_REQ, b"12345"))
        found = self.read()
        self.assertEqual((found["txgear_connections"], found["txgear_connections_made_total"]), (1, 2))
        self.assertEqual(found["txgear_received_bytes_total"], 12 + 5)
        self.assertEqual(found["txgear_sent_bytes_total"], 12 + 5)

    def test_peers_that_are_behind(self) -> None:
        quiet, late = self.fixture.connect(), self.fixture.connect()
        (_, peer) = self.server.broker.peers
        peer.unread = True
        peer.link = SimpleNamespace(acks=SimpleNamespace(marked=True))
        late.protocol.pauseProducing()
        late.tell(request(ECHO_REQ, b"x" * 1000))
        self.server.quick_acks.given = 7
        found = self.read()
        self.assertEqual(found["txgear_connections_unread"], 1)
        self.assertEqual(found["txgear_connections_quick_ack"], 1)
        self.assertEqual(found["txgear_quick_acks_total"], 7)
        self.assertEqual(found["txgear_output_unread_bytes"], 1012)
        self.assertEqual(quiet.heard(), b"")

    def test_one_that_goes_meanwhile(self) -> None:
        self.patch(serverfigures, "PEERS_AT_ONCE", 1)
        peers = [self.fixture.connect() for _ in range(3)]
        steps = serverfigures.figures(self.server)
        for metric in steps:
            if metric is None:
                break
        peers[2].leave()
        values = {metric.name: metric.samples for metric in steps if metric is not None}
        self.assertEqual(values["txgear_connections"][0].value, 2)

    def test_memory(self) -> None:
        self.fixture.connect().tell(request(ECHO_REQ, b"x" * 1000)[:-1])
        found = self.read()
        self.assertGreater(found["txgear_input_unfinished_bytes"], 1000)
        self.assertGreater(found["txgear_python_blocks"], 1000)
        self.assertGreater(found["process_resident_memory_bytes"], 10**6)
        self.assertGreater(found["process_open_fds"], 2)
        self.assertGreater(found["process_max_fds"], found["process_open_fds"])
        self.assertIn("python_gc_collections_total 0", found)

    def test_lag(self) -> None:
        self.server.lag.measured.add(0.3)
        self.server.lag.measured.add(20.0)
        found = self.read()
        self.assertEqual(found["txgear_reactor_lag_seconds_bucket 0.25"], 0)
        self.assertEqual(found["txgear_reactor_lag_seconds_bucket 0.5"], 1)
        self.assertEqual(found["txgear_reactor_lag_seconds_bucket 10.0"], 1)
        self.assertEqual(found["txgear_reactor_lag_seconds_bucket +Inf"], 2)
        self.assertEqual(found["txgear_reactor_lag_seconds_count"], 2)
        self.assertEqual(found["txgear_reactor_lag_seconds_sum"], 20.3)
        self.assertEqual(found["txgear_reactor_lag_worst_seconds"], 0)

    def test_doors(self) -> None:
        shakes = self.server.handshakes
        shakes.completed, shakes.failed, shakes.stalled = 3, 2, 1
        until = datetime(2030, 1, 2, tzinfo=timezone.utc)
        self.server.tls = SimpleNamespace(loaded=SimpleNamespace(until=until))
        self.fixture.connect()
        (peer,) = self.server.broker.peers
        for error in (
            AccessDenied("no", act="see", name=b"f"),
            AccessDenied("no", act="see", name=b"g"),
            WrongToken("no", act=LOGIN),
        ):
            self.server.guard.denied(peer, error)
        self.server.headers_refused = 4
        found = self.read()
        self.assertEqual(
            [found[f"txgear_tls_handshakes_total {how}"] for how in ("completed", "failed", "stalled")],
            [3, 2, 1],
        )
        self.assertEqual(found["txgear_tls_certificate_expiry_seconds"], until.timestamp())
        self.assertEqual(found["txgear_access_refused_total see"], 2)
        self.assertEqual(found["txgear_access_refused_total login"], 1)
        self.assertEqual(found["txgear_wrong_tokens_total"], 1)
        self.assertEqual(found["txgear_proxy_headers_refused_total"], 4)

    def test_what_there_is_not(self) -> None:
        found = self.read()
        for name in found:
            self.assertNotIn("_store_", name)
            self.assertNotIn("_cluster_", name)
        self.assertNotIn("txgear_tls_certificate_expiry_seconds", found)
        self.assertNotIn("txgear_proxy_headers_refused_total", found)
        self.assertNotIn("txgear_queue_memory_bytes", found)

    def test_cluster(self) -> None:
        self.use(DurableServerFixture(MemoryStore()))
        view = self.server.cluster = FakeCluster(
            server_shown("a", 1, 4, own=True),
            server_shown("b", 2, 5, 6, seconds=SILENT_SECONDS),
            server_shown("c", 3),
            free=(free_part(7),),
        )
        view.takeovers, view.silent, view.failures = 5, 2, 3
        self.assertFalse([name for name in self.read() if "_cluster_" in name])
        self.use(DurableServerFixture(MemoryStore(), lease=8.0))
        self.server.cluster = view
        self.fixture.clock.advance(2)
        found = {name: value for name, value in self.read().items() if "_cluster_" in name}
        self.assertEqual(
            found,
            {
                "txgear_cluster_servers alive": 2,
                "txgear_cluster_servers silent": 1,
                "txgear_cluster_parts own": 2,
                "txgear_cluster_parts other": 4,
                "txgear_cluster_parts none": 1,
                "txgear_cluster_takeovers_total silent": 2,
                "txgear_cluster_takeovers_total none": 3,
                "txgear_cluster_trust_seconds": 5.0,
                "txgear_cluster_looks_failed_total": 3,
            },
        )

    def test_store(self) -> None:
        self.use(DurableServerFixture(MemoryStore()))
        self.fixture.thread.run_all()
        client = self.fixture.connect()
        client.tell(submit(b"12345"), submit(b"12345"))
        found = self.read()
        self.assertEqual(found["txgear_store_pending_changes"], 2)
        self.assertGreater(found["txgear_store_pending_bytes"], 10)
        self.fixture.thread.run_all()
        found = self.read()
        self.assertEqual(found["txgear_store_up"], 1)
        self.assertEqual(found["txgear_store_losses_total"], 0)
        self.assertEqual(found["txgear_store_commit_seconds_count"], 1)
        self.assertEqual(found["txgear_store_batch_rows_bucket 1.0"], 0)
        self.assertEqual(found["txgear_store_batch_rows_bucket 3.0"], 1)
        self.assertEqual(found["txgear_store_batch_rows_sum"], 2)
        self.assertEqual(found["txgear_store_pending_changes"], 0)
        self.assertEqual(found["txgear_queue_memory_bytes"], 10 + 2 * JOB_BYTES)
        self.fixture.journal.figures.refused_jobs = 3
        self.fixture.journal._link.refuse("gone", "gone")
        found = self.read()
        self.assertEqual((found["txgear_store_up"], found["txgear_store_losses_total"]), (0, 1))
        self.assertEqual(found["txgear_store_refused_total job"], 3)
        self.assertEqual(found["txgear_store_refused_total result"], 0)

    def test_each_is_what_it_is_said_to_be(self) -> None:
        self.use(DurableServerFixture(MemoryStore()))
        self.server.headers_refused = 1
        self.server.guard.refused["nobody", "see"] += 1
        for metric in serverfigures.figures(self.server):
            if metric is None or metric.name.startswith(("process_", "python_")):
                continue
            family = FAMILIES[metric.name + "_total" * (metric.type == "counter")]
            self.assertEqual((metric.type, metric.documentation), (family.kind, family.help))
            for sample in metric.samples:
                self.assertEqual(set(sample.labels) - {"le"}, set(family.labels))
