"""
Metrics for statsd, sent by UDP. This needs the extra C{statsd}.

statsd knows no labels: their values are parts of the name, and of a histogram it gets how many there were and
how long they took together.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from statsd import StatsClient  # type: ignore[import-untyped]

from txgear.errors import ConfigurationError
from txgear.web.metrics.families import COUNTER, HISTOGRAM

SECONDS: Final = 10.0
"""From one time to the next: statsd itself hands on what it has as often."""
PREFIX: Final = "txgear"
PACKET: Final = 1432
"""Bytes of a packet: what an Ethernet frame has room for."""

_other = re.compile(r"[^A-Za-z0-9_-]")


def part(value: str) -> str:
    """A label's value as a part of a name: what means something to statsd is replaced, and told apart."""
    plain = _other.sub("_", value)
    return plain if plain == value and plain else f"{plain}-{sha256(value.encode()).hexdigest()[:8]}"


def name_of(sample: Sample) -> str:
    """What a value is called."""
    plain = sample.name.removeprefix("txgear_").removesuffix("_total")
    return ".".join([plain, *map(part, sample.labels.values())])


def host_and_port(place: str) -> tuple[str, int]:
    """
    @raise ConfigurationError: these are none.
    """
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.netloc != place or parts.username is not None:
        raise ConfigurationError(f"--statsd {place}: a host and a port are wanted, as localhost:8125")
    return host, port


class Statsd:
    """
    Sends metrics to statsd.

    @ivar where: where that is.
    """

    def __init__(self, place: str) -> None:
        """
        @param place: host and port.
        @raise ConfigurationError: it is none.
        """
        self._host, self._port = host_and_port(place)
        self.where = place
        self._client: StatsClient | None = None
        self._counted: dict[str, float] = {}
        self._gauges: set[str] = set()

    def send(self, metrics: list[Metric]) -> None:
        """
        Send them: gauges as they are, and of what is counted how much more it is than the last time. statsd
        keeps a gauge for ever: one that is not there any more is sent once more, as 0. Blocks, while the name
        is looked up.

        @raise OSError: the host is not known.
        """
        if self._client is None:
            self._client = StatsClient(
                self._host, self._port, PREFIX, maxudpsize=PACKET, ipv6=":" in self._host
            )
        before, self._gauges = self._gauges, set()
        with self._client.pipeline() as pipeline:
            for metric in metrics:
                for sample in metric.samples:
                    if metric.type not in (COUNTER, HISTOGRAM):
                        name = name_of(sample)
                        self._gauges.add(name)
                        pipeline.gauge(name, sample.value)
                    elif not sample.name.endswith("_bucket"):
                        name = name_of(sample)
                        more = sample.value - self._counted.get(name, 0)
                        self._counted[name] = sample.value
                        if more:
                            pipeline.incr(name, more)
            for name in before - self._gauges:
                pipeline.gauge(name, 0)

    def close(self) -> None:
        """Send no more."""
        if self._client is not None:
            self._client.close()
            self._client = None
