"""Tests of L{txgear.web.metrics.statsd}."""

from __future__ import annotations

import socket

from prometheus_client.samples import Sample
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.test.support.extras import needs, reason
from txgear.web.metrics import families

if not reason("statsd"):
    from txgear.web.metrics.statsd import Statsd, host_and_port, name_of, part


class FakeClient:
    """In the place of statsd's."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.closed = False

    def pipeline(self) -> FakeClient:
        return self

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *reason: object) -> None:
        pass

    def gauge(self, name: str, value: float) -> None:
        self.lines.append(f"{name}:{value:g}|g")

    def incr(self, name: str, value: float) -> None:
        self.lines.append(f"{name}:{value:g}|c")

    def close(self) -> None:
        self.closed = True


@needs("statsd")
class StatsdTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.statsd = Statsd("127.0.0.1:8125")
        self.client = self.statsd._client = FakeClient()

    def test_places(self) -> None:
        self.assertEqual(host_and_port("localhost:8125"), ("localhost", 8125))
        self.assertEqual(host_and_port("[::1]:9"), ("::1", 9))
        for wrong in (
            "",
            "localhost",
            ":8125",
            "a:x",
            "a:0",
            "a:70000",
            "::1:8125",
            "u@a:1",
            "a:1/b",
            "a:1?b",
        ):
            self.assertRaises(ConfigurationError, host_and_port, wrong)

    def test_names(self) -> None:
        for value in ("mail", "send_mail", "a-b"):
            self.assertEqual(part(value), value)
        found = [part(value) for value in ("a.b", "a:b", "a b", "a_b", "", "größe", "x\n1:1|c")]
        self.assertEqual(len(set(found)), len(found))
        for name in found:
            self.assertRegex(name, "^[A-Za-z0-9_-]+$")
        sample = Sample("txgear_jobs_failed_total", {"function": "mail", "reason": "lost"}, 1)
        self.assertEqual(name_of(sample), "jobs_failed.mail.lost")

    def test_gauges_are_sent_each_time(self) -> None:
        for _ in range(2):
            self.statsd.send([families.JOBS.values([(("mail",), 3)])])
        self.assertEqual(self.client.lines, ["gearman_jobs.mail:3|g"] * 2)

    def test_a_gauge_that_goes_becomes_0(self) -> None:
        self.statsd.send([families.JOBS.values([(("mail",), 3)])])
        for _ in range(2):
            self.statsd.send([])
        self.assertEqual(self.client.lines, ["gearman_jobs.mail:3|g", "gearman_jobs.mail:0|g"])

    def test_of_counters_what_is_more(self) -> None:
        for value in (3, 3, 5):
            self.statsd.send([families.SUBMITTED.values([(("mail",), value)])])
        self.assertEqual(self.client.lines, ["jobs_submitted.mail:3|c", "jobs_submitted.mail:2|c"])

    def test_of_histograms_count_and_sum(self) -> None:
        for counts, sum_ in (([1, 2], 1.5), ([1, 4], 9.0)):
            samples = families.WAITED.histogram({"function": "mail"}, ["1.0", "+Inf"], counts, sum_)
            self.statsd.send([families.WAITED.metric(samples)])
        name = "job_wait_seconds"
        self.assertEqual(
            self.client.lines,
            [
                f"{name}_count.mail:2|c",
                f"{name}_sum.mail:1.5|c",
                f"{name}_count.mail:2|c",
                f"{name}_sum.mail:7.5|c",
            ],
        )

    def test_the_end(self) -> None:
        self.statsd.close()
        self.statsd.close()
        self.assertTrue(self.client.closed)

    def test_an_unknown_host(self) -> None:
        statsd = Statsd("nowhere.invalid:1")

        def unknown(*arguments: object) -> None:
            raise socket.gaierror(-2, "Name or service not known")

        self.patch(socket, "getaddrinfo", unknown)
        self.assertRaises(OSError, statsd.send, [])
