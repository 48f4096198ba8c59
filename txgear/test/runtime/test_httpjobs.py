"""
Tests for L{txgear.runtime.httpjobs}: what becomes of a job by what a web server answers.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer
from zope.interface.verify import verifyObject

from txgear.protocol.traces import Trace
from txgear.runtime.httpjobs import Body, BodyReader, HttpFunction, retry_after
from txgear.worker import FailWithText, RetryLater

NOW = 1790000000.0


class Response:
    """An answer; the test sends its body."""

    def __init__(self, code: int, phrase: bytes = b"Phrase", **headers: str) -> None:
        self.code = code
        self.phrase = phrase
        self.headers = Headers({name.replace("_", "-"): [value] for name, value in headers.items()})
        self.transport = StringTransport()
        self.reader: Any = None

    def deliverBody(self, reader: Any) -> None:
        self.reader = reader
        reader.makeConnection(self.transport)

    def send(self, *pieces: bytes, end: Exception | None = None) -> None:
        for piece in pieces:
            self.reader.dataReceived(piece)
        self.reader.connectionLost(Failure(end or ResponseDone()))


@implementer(IAgent)
class FakeAgent:
    """Answers as the test says, and keeps what it was asked."""

    def __init__(self, answer: Deferred[Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[bytes, bytes, dict[str, list[str]], bytes]] = []

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: Any = None,  # noqa: N803
    ) -> Deferred[Any]:
        assert headers is not None
        sent = StringTransport()
        self.successful = bodyProducer.startProducing(sent)
        self.length = bodyProducer.length
        shown = {
            name.decode(): [value.decode() for value in values] for name, values in headers.getAllRawHeaders()
        }
        self.asked.append((method, uri, shown, sent.value()))
        return self.answer


def job(**members: Any) -> Any:
    return SimpleNamespace(
        **{
            "handle": b"H:vm:7",
            "function": b"mail",
            "unique": b"",
            "attempt": 0,
            "trace": None,
            "workload": b"w",
            **members,
        }
    )


class HttpFunctionTests(SynchronousTestCase):
    def call(self, answer: Any, this: Any = None, **headers: str) -> Deferred[bytes]:
        if not isinstance(answer, Deferred):
            answer = succeed(answer)
        self.agent = FakeAgent(answer)
        function = HttpFunction(self.agent, "http://a/b", headers, 60.0, lambda: NOW)
        return Deferred.fromCoroutine(function(this or job()))

    def failed(self, answer: Any, *pieces: bytes, end: Exception | None = None) -> bytes:
        result = self.call(answer)
        if isinstance(answer, Response):
            answer.send(*pieces, end=end)
        error: FailWithText = self.failureResultOf(result, FailWithText).value
        return error.text

    def later(self, answer: Any, *pieces: bytes) -> tuple[float, bytes]:
        result = self.call(answer)
        if isinstance(answer, Response):
            answer.send(*pieces)
        error: RetryLater = self.failureResultOf(result, RetryLater).value
        return error.seconds, error.text

    def test_a_trace(self) -> None:
        """The web server goes on with it."""
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        _ = self.call(Response(200), job(trace=Trace(parent, "a=1")))
        ((_, _, headers, _),) = self.agent.asked
        self.assertEqual(([parent], ["a=1"]), (headers["Traceparent"], headers["Tracestate"]))

    def test_the_request(self) -> None:
        this = job(unique=b"a%\r\nX: y \xff", attempt=2, workload=b"\0body", function=b"send mail")
        _ = self.call(Response(200), this, Authorization="Bearer x")
        ((method, url, headers, body),) = self.agent.asked
        self.assertEqual((method, url, body, self.agent.length), (b"POST", b"http://a/b", b"\0body", 5))
        self.assertIn("txgear/", headers.pop("User-Agent")[0])
        self.assertEqual(
            headers,
            {
                "Content-Type": ["application/octet-stream"],
                "Authorization": ["Bearer x"],
                "X-Gearman-Handle": ["H:vm:7"],
                "X-Gearman-Function": ["send%20mail"],
                "X-Gearman-Unique": ["a%25%0D%0AX:%20y%20%FF"],
                "X-Gearman-Attempt": ["2"],
            },
        )
        self.successResultOf(self.agent.successful)

    def test_a_url_without_a_path(self) -> None:
        """It is the server's root that is asked for; all other URLs are as they were said."""
        for said, asked in [
            ("http://a:80", b"http://a:80/"),
            ("http://a?key=1&b", b"http://a/?key=1&b"),
            ("http://a/?key=1", b"http://a/?key=1"),
            ("http://a/b?", b"http://a/b?"),
        ]:
            agent = FakeAgent(succeed(Response(200)))
            _ = Deferred.fromCoroutine(HttpFunction(agent, said, {}, 60.0, lambda: NOW)(job()))
            self.assertEqual(agent.asked[0][1], asked)

    def test_what_is_not_there_has_no_header(self) -> None:
        """And what the operator sets does not stand beside our own."""
        _ = self.call(Response(200), None, **{"X-Gearman-Handle": "other", "Content-Type": "text/plain"})
        headers = self.agent.asked[0][2]
        self.assertEqual((headers["X-Gearman-Handle"], headers["Content-Type"]), (["H:vm:7"], ["text/plain"]))
        self.assertEqual({"X-Gearman-Unique", "X-Gearman-Attempt"}.intersection(headers), set())

    def test_done(self) -> None:
        for code in (200, 201, 299):
            response = Response(code)
            result = self.call(response)
            self.assertNoResult(result)
            response.send(b"re", b"sult")
            self.assertEqual(self.successResultOf(result), b"result")

    def test_done_without_a_length(self) -> None:
        """An old server says by closing that this was all."""
        response = Response(204)
        result = self.call(response)
        response.send(end=PotentialDataLoss())
        self.assertEqual(self.successResultOf(result), b"")

    def test_failed(self) -> None:
        text = self.failed(Response(404, b"Not Found"), b"no such\n", b"mail\n")
        self.assertEqual(text, b"404 Not Found: no such\nmail")
        self.assertEqual(self.failed(Response(302, b"Found")), b"302 Found")
        self.assertEqual(self.failed(Response(500, b"Oops"), b" "), b"500 Oops")

    def test_a_long_text(self) -> None:
        """The beginning is enough, and nothing more is read."""
        response = Response(500, b"Oops")
        result = self.call(response)
        response.reader.dataReceived(b"x" * 4096)
        self.assertNoResult(result)
        response.reader.dataReceived(b"y")
        self.assertEqual(self.failureResultOf(result, FailWithText).value.text, b"500 Oops: " + b"x" * 4096)
        self.assertTrue(response.transport.disconnecting)
        response.send(b"z", end=ResponseFailed([Failure(ConnectionLost())]))

    def test_a_result_that_is_too_large(self) -> None:
        response = Response(200)
        result: Deferred[bytes] = Deferred()
        response.deliverBody(BodyReader(result, 4, whole=True))
        response.reader.dataReceived(b"1234")
        self.assertNoResult(result)
        response.reader.dataReceived(b"5")
        self.assertEqual(
            self.failureResultOf(result, FailWithText).value.text, b"the answer has more than 4 bytes"
        )
        self.assertTrue(response.transport.disconnecting)

    def test_later(self) -> None:
        for code in (408, 425, 429, 503):
            self.assertEqual(self.later(Response(code, b"Wait"), b"busy"), (60.0, b"%d Wait: busy" % code))
        self.assertEqual(self.later(Response(503, b"Wait", retry_after="7")), (7.0, b"503 Wait"))
        self.assertEqual(self.later(Response(503, b"Wait", retry_after="soon")), (60.0, b"503 Wait"))

    def test_not_reached(self) -> None:
        """Nothing has got the job: it comes again."""
        self.assertEqual(
            self.later(fail(ConnectionRefusedError("no"))),
            (60.0, b"cannot be reached: Connection was refused by other side: no"),
        )
        self.assertEqual(
            self.later(fail(DNSLookupError("no such name"))),
            (60.0, b"cannot be reached: DNS lookup failed: no such name"),
        )

    def test_no_answer(self) -> None:
        """It may have been done, or not: that is a failure."""
        lost = ResponseNeverReceived([Failure(ConnectionLost("bye"))])
        text = b"no answer: Connection to the other side was lost in a non-clean fashion: bye"
        self.assertEqual(self.failed(fail(lost)), text)

    def test_cut_off(self) -> None:
        lost = ResponseFailed([Failure(ValueError("chunk")), Failure(ValueError())])
        self.assertEqual(
            self.failed(Response(200), b"hal", end=lost), b"the answer was cut off: chunk; ValueError"
        )

    def give_up(self, error: Exception, asking: Deferred[Any]) -> None:
        asking.errback(error)

    def test_cancelled(self) -> None:
        """At each moment it is a cancellation, and the connection is closed."""
        for error in (
            ConnectingCancelledError(None),
            ResponseNeverReceived([Failure(CancelledError())]),
        ):
            asking: Deferred[Any] = Deferred(partial(self.give_up, error))
            result = self.call(asking)
            result.cancel()
            self.failureResultOf(result, CancelledError)
        response = Response(200)
        result = self.call(response)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(response.transport.disconnecting)


class RetryAfterTests(SynchronousTestCase):
    def test_seconds(self) -> None:
        for value, seconds in (("0", 0.0), (" 120 ", 120.0), ("999999", 86400.0), ("9" * 4000, 86400.0)):
            self.assertEqual(retry_after(value, NOW), seconds)

    def test_a_moment(self) -> None:
        """2026-09-21 14:13:20 is now."""
        for value, seconds in (
            ("Mon, 21 Sep 2026 14:14:20 GMT", 60.0),
            ("Mon, 21 Sep 2026 14:00:00 GMT", 0.0),
            ("Mon, 21 Sep 2099 14:14:20 GMT", 86400.0),
        ):
            self.assertEqual(retry_after(value, NOW), seconds)

    def test_neither(self) -> None:
        for value in ("", "-1", "1.5", "soon", "٣", "Mon, 99 Sep 2026 14:14:20 GMT"):
            self.assertEqual(retry_after(value, NOW), None)


class BodyTests(SynchronousTestCase):
    def test_a_producer(self) -> None:
        body = Body(b"w")
        verifyObject(IBodyProducer, body)
        for call in (body.pauseProducing, body.resumeProducing, body.stopProducing):
            call()
