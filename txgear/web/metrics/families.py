"""
The metrics: what each is called, what it counts, and by which labels.

What reads their values is beside this module. Names that begin with C{gearman_} are those of the usual
exporter for gearmand, and mean the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

GAUGE: Final = "gauge"
COUNTER: Final = "counter"
HISTOGRAM: Final = "histogram"

FUNCTION: Final = "function"
"""The label of what is counted for each function."""


class Family(NamedTuple):
    """
    One metric.

    @ivar name: as it is served, for a counter with C{_total} at its end.
    @ivar kind: L{GAUGE}, L{COUNTER} or L{HISTOGRAM}.
    @ivar help: what it says.
    @ivar labels: the names of its labels, in order; a histogram's C{le} is not among them.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()

    def metric(self, samples: Sequence[Sample]) -> Metric:
        """Values, as prometheus_client writes them."""
        found = Metric(self.name.removesuffix("_total"), self.help, self.kind)
        found.samples = list(samples)
        return found

    def values(self, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
        """
        @param values: each with the values of its labels.
        """
        return self.metric([self.sample(labels, value) for labels, value in values])

    def value(self, value: float) -> Metric:
        """The only value of one without labels."""
        return self.metric([self.sample((), value)])

    def sample(self, labels: tuple[str, ...], value: float) -> Sample:
        """One value."""
        # A truth becomes a number: not all who collect them take it for one.
        return Sample(self.name, dict(zip(self.labels, labels, strict=True)), +value)

    def histogram(
        self, labels: Mapping[str, str], bounds: Sequence[str], cumulative: Sequence[int], sum_: float
    ) -> list[Sample]:
        """
        The samples of one histogram.

        @param bounds: of its buckets, as Prometheus writes them; the last is C{+Inf}.
        @param cumulative: how many values are at the most as large as each.
        @param sum_: of all values.
        """
        bucket = self.name + "_bucket"
        samples = [
            Sample(bucket, {**labels, "le": bound}, count)
            for bound, count in zip(bounds, cumulative, strict=True)
        ]
        samples.append(Sample(self.name + "_count", dict(labels), cumulative[-1]))
        samples.append(Sample(self.name + "_sum", dict(labels), sum_))
        return samples


def _gauge(name: str, help: str, *labels: str) -> Family:
    return Family(name, GAUGE, help, labels)


def _counter(name: str, help: str, *labels: str) -> Family:
    return Family(name, COUNTER, help, labels)


def _histogram(name: str, help: str, *labels: str) -> Family:
    return Family(name, HISTOGRAM, help, labels)


# As the exporter has them

JOBS: Final = _gauge("gearman_jobs", "Jobs that have not ended, whatever state they are in.", FUNCTION)
JOBS_RUNNING: Final = _gauge("gearman_jobs_running", "Jobs that workers have.", FUNCTION)
JOBS_WAITING: Final = _gauge(
    "gearman_jobs_waiting",
    "Jobs that have not ended and that no worker has, delayed ones included.",
    FUNCTION,
)
WORKERS: Final = _gauge("gearman_workers", "Workers that have registered for the function.", FUNCTION)
UP: Final = _gauge("gearman_up", "1: the server answers.")
VERSION: Final = _gauge("gearman_version_info", "1, with the version of the server.", "version")

# Of functions

JOBS_BY_STATE: Final = _gauge("txgear_jobs", "Jobs by state, kept ones included.", FUNCTION, "state")
QUEUED: Final = "queued"
PAGED: Final = "paged"
DELAYED: Final = "delayed"
RUNNING: Final = "running"
DEAD: Final = "dead"
KEPT: Final = "kept"
STATES: Final = (QUEUED, PAGED, DELAYED, RUNNING, DEAD, KEPT)

QUEUED_BYTES: Final = _gauge(
    "txgear_jobs_bytes", "Bytes of the workloads of all jobs of the function, wherever they are.", FUNCTION
)
OLDEST: Final = _gauge(
    "txgear_jobs_oldest_seconds", "For how long the job has been ready that has been so longest.", FUNCTION
)
PAUSED: Final = _gauge("txgear_function_paused", "1 while an operator has the function paused.", FUNCTION)
WORKERS_BY_STATE: Final = _gauge(
    "txgear_workers",
    "Workers of the function by what they do, as the last look found them.",
    FUNCTION,
    "state",
)
ASLEEP: Final = "asleep"
BUSY: Final = "busy"
SILENT: Final = "silent"
WORKER_STATES: Final = (ASLEEP, BUSY, SILENT)

SUBMITTED: Final = _counter("txgear_jobs_submitted_total", "Jobs that were taken.", FUNCTION)
JOINED: Final = _counter(
    "txgear_jobs_joined_total", "Submits that were answered with a job that was there already.", FUNCTION
)
REFUSED: Final = _counter(
    "txgear_jobs_refused_total",
    "Submits that were answered with an error, by the reason.",
    FUNCTION,
    "reason",
)
COMPLETED: Final = _counter("txgear_jobs_completed_total", "Jobs that ended with a result.", FUNCTION)
FAILED: Final = _counter(
    "txgear_jobs_failed_total", "Jobs that ended without a result, by the reason.", FUNCTION, "reason"
)
RETRIED: Final = _counter(
    "txgear_jobs_retried_total",
    "Attempts that ended without a result and were followed by another.",
    FUNCTION,
)
WAITED: Final = _histogram(
    "txgear_job_wait_seconds", "For how long jobs were ready before a worker had them.", FUNCTION
)
RAN: Final = _histogram("txgear_job_run_seconds", "For how long workers had jobs.", FUNCTION)
FUNCTIONS: Final = _gauge("txgear_functions", "Functions of which anything is known.")

# Of the server

INFO: Final = _gauge(
    "txgear_info", "1, with the versions of what the server runs on.", "version", "twisted", "python"
)
DRAINING: Final = _gauge("txgear_draining", "1 while the server drains: it takes no new job.")
CONNECTIONS: Final = _gauge("txgear_connections", "Connections.")
CONNECTIONS_MADE: Final = _counter("txgear_connections_made_total", "Connections that were made.")
CONNECTIONS_UNREAD: Final = _gauge(
    "txgear_connections_unread", "Connections that are not read for now, as they or the store are behind."
)
CONNECTIONS_MARKED: Final = _gauge(
    "txgear_connections_quick_ack", "Connections that are acknowledged at once, as their peers wait for that."
)
QUICK_ACKS: Final = _counter("txgear_quick_acks_total", "Acknowledgements that were sent at once.")
RECEIVED: Final = _counter("txgear_received_bytes_total", "Bytes that arrived, without those of TLS.")
SENT: Final = _counter("txgear_sent_bytes_total", "Bytes that were written, without those of TLS.")
UNREAD_BYTES: Final = _gauge("txgear_output_unread_bytes", "Bytes that wait for peers to read them.")
UNFINISHED_BYTES: Final = _gauge(
    "txgear_input_unfinished_bytes", "Bytes of packets that have not arrived whole."
)
QUEUE_BYTES: Final = _gauge(
    "txgear_queue_memory_bytes", "Bytes that jobs that have not ended take in memory, with their workloads."
)
QUEUE_JOBS: Final = _gauge(
    "txgear_queue_jobs",
    "Jobs, kept ones included: those in memory, and those in the store only.",
    "place",
)
PYTHON_BLOCKS: Final = _gauge("txgear_python_blocks", "Pieces of memory that Python has in use.")
LAG: Final = _histogram(
    "txgear_reactor_lag_seconds", "By how much a timer of four beats a second was too late."
)
LAG_WORST: Final = _gauge("txgear_reactor_lag_worst_seconds", "The worst of that in the last minute.")
HANDSHAKES: Final = _counter(
    "txgear_tls_handshakes_total", "TLS handshakes that are over, by how they ended.", "outcome"
)
CERTIFICATE: Final = _gauge(
    "txgear_tls_certificate_expiry_seconds", "When the certificate of the ports expires, since the epoch."
)
ACCESS_REFUSED: Final = _counter(
    "txgear_access_refused_total", "What peers asked for and were not allowed, by act.", "act"
)
WRONG_TOKENS: Final = _counter("txgear_wrong_tokens_total", "Tokens that nobody has.")
HEADERS_REFUSED: Final = _counter(
    "txgear_proxy_headers_refused_total", "Connections of proxies that were closed for want of a good header."
)

# Of the store

STORE_UP: Final = _gauge("txgear_store_up", "1 while the store takes jobs.")
STORE_LOSSES: Final = _counter(
    "txgear_store_losses_total", "How often the store was lost for so long that jobs were refused."
)
COMMITS: Final = _histogram("txgear_store_commit_seconds", "Seconds that the store took for a batch.")
BATCHES: Final = _histogram("txgear_store_batch_rows", "Jobs, changes, results and deletions in a batch.")
PENDING: Final = _gauge("txgear_store_pending_changes", "Jobs and changes of jobs on their way to the store.")
PENDING_BYTES: Final = _gauge(
    "txgear_store_pending_bytes", "Bytes of jobs and results on their way to the store."
)
STORE_REFUSED: Final = _counter(
    "txgear_store_refused_total", "Jobs and results that the store would not keep, by what they are.", "kind"
)

# Of the cluster

CLUSTER_SERVERS: Final = _gauge(
    "txgear_cluster_servers",
    "Servers that have parts of the store: alive ones, and silent ones.",
    "state",
)
CLUSTER_PARTS: Final = _gauge("txgear_cluster_parts", "Parts of the store, by who has them.", "owner")
CLUSTER_TAKEOVERS: Final = _counter(
    "txgear_cluster_takeovers_total", "Parts that this server has taken, by who had them.", "owner"
)
CLUSTER_TRUST: Final = _gauge(
    "txgear_cluster_trust_seconds",
    "Seconds for which this server can rely on its parts without another answer of the database.",
)
CLUSTER_FAILURES: Final = _counter(
    "txgear_cluster_looks_failed_total", "Looks at the other servers that the database did not answer."
)

FAMILIES: Final[Mapping[str, Family]] = {
    family.name: family for family in list(globals().values()) if isinstance(family, Family)
}
"""All of them by name, but for those of the process and of Python, which prometheus_client names itself."""
