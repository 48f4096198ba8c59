"""Tests of L{txgear.web.metrics.functionfigures}, and of L{txgear.web.metrics.figures}."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.metrics_core import Metric
from twisted.internet.task import SchedulerStopped
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker import statistics
from txgear.broker.operators.workforce import SILENT_SECONDS
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import CAN_DO, GRAB_JOB, PRE_SLEEP, WORK_COMPLETE, WORK_EXCEPTION, WORK_FAIL
from txgear.protocol.packets import request
from txgear.protocol.textlines import unescaped
from txgear.server.census import PERIOD
from txgear.stores.memory import MemoryStore
from txgear.test.support.batches import adding, addition
from txgear.test.support.extras import PROPERTY, given, st
from txgear.test.support.server import DurableServerFixture, FakePeer, ServerFixture, submit
from txgear.web.metrics import families, functionfigures
from txgear.web.metrics.families import FAMILIES
from txgear.web.metrics.figures import figures, snapshot
from txgear.web.metrics.functionfigures import MOST_LABEL, OTHER, label

Labels = Mapping[str, str]


def store_with(count: int) -> MemoryStore:
    """A store with jobs of 100 bytes each."""
    store = MemoryStore()
    store.open()
    store.write(adding(*(addition(number, b"x" * 100) for number in range(1, count + 1))))
    store.close(None)
    return store


class LabelTests(SynchronousTestCase):
    def test_plain_names_stay_as_they_are(self) -> None:
        for name in ("mail", "mail.send", "größe", 'a "quoted" one', "a b", "App\\Job", "日本"):
            self.assertEqual(label(name.encode()), name)

    def test_what_is_no_text_is_escaped(self) -> None:
        self.assertEqual(label(b"\xff\x00\n"), "\\xff\\x00\\x0a")
        self.assertEqual(label(b"\\x41"), "\\x5cx41")
        self.assertEqual(label("a\u2028b".encode()), "a\\xe2\\x80\\xa8b")

    def test_one_that_is_called_like_the_others_together(self) -> None:
        self.assertEqual(label(b"other"), "\\x6fther")
        self.assertEqual(label(b"\\x6fther"), "\\x5cx6fther")
        self.assertEqual(label(b"others"), "others")

    def test_a_long_one_is_cut_and_told_apart(self) -> None:
        longest = b"x" * MOST_LABEL
        self.assertEqual(label(longest), longest.decode())
        first, second = label(longest + b"1"), label(longest + b"2")
        self.assertNotEqual(first, second)
        # No short name is shown like it.
        self.assertEqual(len(first), MOST_LABEL + 1)
        self.assertLess(len(label(b"\xff" * 8192)), 300)

    @PROPERTY
    @given(st.binary(max_size=40), st.binary(max_size=40))
    def test_no_two_look_alike(self, one: bytes, two: bytes) -> None:
        self.assertEqual(label(one) == label(two), one == two)
        self.assertEqual(unescaped(label(one).encode()), one)


class FunctionFiguresTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.use(ServerFixture())

    def use(self, fixture: ServerFixture) -> None:
        self.fixture = fixture
        self.server = fixture.server
        self.clock = fixture.clock

    def read(self) -> dict[str, list[tuple[Labels, float]]]:
        """All samples by their names."""
        found: dict[str, list[tuple[Labels, float]]] = {}
        for metric in figures(self.server):
            for sample in [] if metric is None else metric.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    def value(self, name: str, function: str, **labels: str) -> float | None:
        """One value; C{None} if there is none."""
        wanted = {"function": function, **labels}
        values = [value for found, value in self.read().get(name, ()) if found == wanted]
        self.assertLessEqual(len(values), 1)
        return values[0] if values else None

    def worker(self, *functions: bytes) -> FakePeer:
        worker = self.fixture.connect()
        worker.tell(*(request(CAN_DO, function) for function in functions))
        return worker

    def test_nothing(self) -> None:
        self.assertEqual(self.read()["txgear_functions"], [({}, 0)])
        self.assertNotIn("gearman_jobs", self.read())
        # The others have counts from the beginning, so that rates of them begin with 0.
        self.assertEqual(self.value("txgear_jobs_submitted_total", OTHER), 0)

    def test_the_exporters_figures(self) -> None:
        client = self.fixture.connect()
        client.tell(submit(), submit(), submit())
        worker = self.worker(b"f", b"g")
        worker.tell(request(GRAB_JOB))
        self.worker(b"f")
        names = ("gearman_jobs", "gearman_jobs_running", "gearman_jobs_waiting", "gearman_workers")
        self.assertEqual([self.value(name, "f") for name in names], [3, 1, 2, 2])
        self.assertEqual([self.value(name, "g") for name in names], [0, 0, 0, 1])
        rows = client.ask(b"status\n").decode()
        self.assertIn("\nf\t3\t1\t2\n", f"\n{rows[rows.find('f') :]}")

    def test_states(self) -> None:
        kept = CLASSIC.with_settings({"retries": 0, "dead": 100, "results": 100})
        policies = Policies([("*", kept)])
        self.server.broker.operations.set_policies(policies, self.clock.seconds())
        client = self.fixture.connect()
        client.tell(*[submit()] * 5)
        self.server.broker.submit(None, b"f", b"", b"", self.clock.seconds(), background=True, delay=60)
        worker = self.worker(b"f")
        for number, end in ((1, WORK_FAIL), (2, WORK_COMPLETE)):
            worker.tell(request(GRAB_JOB))
            arguments = (b"",) if end == WORK_COMPLETE else ()
            worker.tell(request(end, b"H:test:%d" % number, *arguments))
        worker.tell(request(GRAB_JOB))
        expected = {"queued": 2, "paged": 0, "delayed": 1, "running": 1, "dead": 1, "kept": 1}
        for state, count in expected.items():
            self.assertEqual(self.value("txgear_jobs", "f", state=state), count, state)
        self.assertEqual(self.value("gearman_jobs_waiting", "f"), 3)

    def test_paged(self) -> None:
        fixture = DurableServerFixture(store_with(20), queue_memory=1)
        self.use(fixture)
        self.worker(b"f")
        self.assertEqual(self.value("gearman_jobs", "f"), 20)
        self.assertEqual(self.value("txgear_jobs", "f", state="paged"), 20)
        self.assertEqual(self.value("txgear_jobs_bytes", "f"), 20 * 100)

    def test_the_oldest(self) -> None:
        client = self.fixture.connect()
        self.worker(b"f")
        self.assertEqual(self.value("txgear_jobs_oldest_seconds", "f"), 0)
        client.tell(submit())
        self.clock.advance(50)
        client.tell(submit())
        self.clock.advance(7)
        self.assertEqual(self.value("txgear_jobs_oldest_seconds", "f"), 57)

    def test_paused(self) -> None:
        client = self.fixture.connect()
        client.tell(submit())
        self.assertEqual(self.value("txgear_function_paused", "f"), 0)
        client.tell(b"pause f\n")
        self.assertEqual(self.value("txgear_function_paused", "f"), 1)

    def test_counts(self) -> None:
        client = self.fixture.connect()
        client.tell(submit(unique=b"u"), submit(unique=b"u"), submit(), submit(), b"maxqueue f 3\n", submit())
        worker = self.worker(b"f")
        for number, end, *arguments in (
            (1, WORK_COMPLETE, b"r"),
            (2, WORK_FAIL),
            (3, WORK_EXCEPTION, b"oh"),
        ):
            worker.tell(request(GRAB_JOB))
            self.clock.advance(2)
            worker.tell(request(end, b"H:test:%d" % number, *arguments))
        self.assertEqual(self.value("txgear_jobs_submitted_total", "f"), 3)
        self.assertEqual(self.value("txgear_jobs_joined_total", "f"), 1)
        self.assertEqual(self.value("txgear_jobs_refused_total", "f", reason="queue_full"), 1)
        self.assertEqual(self.value("txgear_jobs_completed_total", "f"), 1)
        self.assertEqual(self.value("txgear_jobs_failed_total", "f", reason="fail"), 1)
        self.assertEqual(self.value("txgear_jobs_retried_total", "f"), 0)
        self.assertEqual(self.value("txgear_job_wait_seconds_count", "f"), 3)
        self.assertEqual(self.value("txgear_job_wait_seconds_sum", "f"), 0 + 2 + 4)
        self.assertEqual(self.value("txgear_job_wait_seconds_bucket", "f", le="2.5"), 2)
        self.assertEqual(self.value("txgear_job_run_seconds_bucket", "f", le="1.0"), 0)
        self.assertEqual(self.value("txgear_job_run_seconds_bucket", "f", le="+Inf"), 3)

    def test_counts_outlive_the_function(self) -> None:
        client = self.fixture.connect()
        client.tell(submit(), b"purge f\n")
        self.clock.advance(1)
        self.assertNotIn(b"f", self.server.broker.functions.by_name)
        self.assertEqual(self.value("txgear_jobs_submitted_total", "f"), 1)
        self.assertIsNone(self.value("gearman_jobs", "f"))

    def test_beyond_the_cap_all_are_one(self) -> None:
        self.patch(statistics, "MOST_COUNTED", 2)
        client = self.fixture.connect()
        client.tell(*(submit(function=b"f%d" % number) for number in range(5)), submit(function=b"other"))
        worker = self.worker(b"f3", b"f4")
        worker.tell(request(GRAB_JOB))
        read = self.read()
        functions = [labels["function"] for labels, _ in read["gearman_jobs"]]
        self.assertEqual(functions, ["f0", "f1", OTHER])
        self.assertEqual(sum(value for _, value in read["gearman_jobs"]), 6)
        self.assertEqual(self.value("gearman_jobs", OTHER), 4)
        self.assertEqual(self.value("gearman_jobs_running", OTHER), 1)
        self.assertEqual(self.value("gearman_workers", OTHER), 2)
        self.assertEqual(self.value("txgear_jobs_submitted_total", OTHER), 4)

    def test_very_many_are_looked_at_in_pieces(self) -> None:
        self.patch(functionfigures, "ROWS_AT_ONCE", 2)
        self.patch(functionfigures, "SKIPPED_AT_ONCE", 6)
        self.patch(statistics, "MOST_COUNTED", 4)
        client = self.fixture.connect()
        client.tell(*(submit(function=b"f%d" % number) for number in range(12)))
        steps = list(functionfigures.figures(self.server))
        first = next(index for index, step in enumerate(steps) if step is not None)
        # Two of the four, and four of the eight.
        self.assertEqual(first, 2 + 4)

    def test_what_workers_do(self) -> None:
        """As they were counted last."""
        client = self.fixture.connect()
        client.tell(submit())
        self.worker(b"f").tell(request(GRAB_JOB))
        self.worker(b"f", b"g").tell(request(PRE_SLEEP))
        self.worker(b"g")
        self.server.census.start()
        self.addCleanup(self.server.census.stop)
        states = families.WORKER_STATES

        def counted(function: str) -> list[float | None]:
            return [self.value("txgear_workers", function, state=state) for state in states]

        self.clock.advance(PERIOD)
        self.assertEqual((counted("f"), counted("g")), ([1, 1, 0], [1, 0, 0]))
        self.clock.advance(SILENT_SECONDS)
        self.assertEqual((counted("f"), counted("g")), ([1, 1, 0], [1, 0, 1]))

    def test_each_is_what_it_is_said_to_be(self) -> None:
        client = self.fixture.connect()
        client.tell(submit(), submit())
        self.worker(b"f").tell(request(GRAB_JOB), request(WORK_FAIL, b"H:test:1"))
        self.server.broker.statistics.other.refuse("queue_full", 0.0)
        for metric in functionfigures.figures(self.server):
            if metric is None:
                continue
            family = FAMILIES[metric.name + "_total" * (metric.type == "counter")]
            self.assertEqual((metric.type, metric.documentation), (family.kind, family.help))
            for sample in metric.samples:
                self.assertEqual(set(sample.labels) - {"le"}, set(family.labels))


class SnapshotTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.server = self.fixture.server

    def test_each_metric_once(self) -> None:
        for number in range(200):
            self.server.broker.functions.get(b"f%d" % number)
        done = snapshot(self.server)
        self.assertNoResult(done)
        while not done.called:
            self.fixture.clock.advance(0)
        metrics: list[Metric] = self.successResultOf(done)
        names = [metric.name for metric in metrics]
        self.assertEqual(len(names), len(set(names)))
        (jobs,) = [metric for metric in metrics if metric.name == "gearman_jobs"]
        self.assertEqual(len(jobs.samples), 200)

    def test_the_server_ends(self) -> None:
        done = snapshot(self.server)
        self.server.patient.stop()
        self.failureResultOf(done, SchedulerStopped)
