"""Tests of L{txgear.tracing.attributes}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import NotConnected
from txgear.test.support.extras import needs, reason
from txgear.worker import FailWithText, RetryLater

if not reason("opentelemetry"):
    from txgear.tracing.attributes import as_text, in_words, kind_of, of_job, of_server


@needs("opentelemetry")
class AttributesTests(SynchronousTestCase):
    def test_jobs(self) -> None:
        self.assertEqual(
            {
                "messaging.system": "gearman",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": "f\\xff",
                "messaging.message.body.size": 3,
            },
            of_job("process", "process", b"f\xff", 3),
        )

    def test_servers(self) -> None:
        for name, address, port in (
            ("127.0.0.1", "127.0.0.1", None),
            ("gear.example:4730", "gear.example", 4730),
            ("tcp:127.0.0.1:4730", "127.0.0.1", 4730),
            ("tls:gear.example:4731:timeout=3", "gear.example", 4731),
            ("tcp:host=a:port=1", "a", 1),
            ("[::1]:4730", "::1", 4730),
            ("unix:/run/txgear.sock", "/run/txgear.sock", None),
            ("unix:path=/run/t:timeout=3", "/run/t", None),
            ("<Endpoint at 0x1>", "<Endpoint at 0x1>", None),
        ):
            expected: dict[str, object] = {"server.address": address}
            if port is not None:
                expected["server.port"] = port
            self.assertEqual(expected, of_server(name), name)

    def test_errors(self) -> None:
        for error, kind, words in (
            (ValueError("no"), "ValueError", "no"),
            (NotConnected("none"), "txgear.errors.NotConnected", "none"),
            (FailWithText("out of ä"), "txgear.worker.functions.FailWithText", "out of ä"),
            (RetryLater(1, b"\xff"), "txgear.worker.functions.RetryLater", "\\xff"),
        ):
            self.assertEqual((kind, words), (kind_of(error), in_words(error)))

    def test_names(self) -> None:
        self.assertEqual("ä\\xff", as_text("ä".encode() + b"\xff"))
