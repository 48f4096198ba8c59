"""
Jobs that a web server does: each is POSTed to it, and the answer's status says what became of it.

  - 2xx: done; the body is the result.
  - 408, 425, 429 and 503: to be tried again later, when the answer's C{Retry-After} says, or after the time
    that is set. So does a server that cannot be reached.
  - all else: failed; the status and the beginning of the body are the text.

A connection serves one job. Servers close idle ones after a time of their own, and what is sent into one at
that moment is lost; nobody could tell whether the job was done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final
from urllib.parse import quote_from_bytes, urlsplit

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from txgear._version import __version__
from txgear.protocol.constants import MAX_HANDLE, MAX_PACKET
from txgear.runtime.config import FunctionTable
from txgear.worker import FailWithText, RetryLater, WorkerJob

LATER: Final = frozenset({408, 425, 429, 503})
"""The answers after which a job is tried again."""
CONNECT_SECONDS: Final = 10.0
"""How long it may take to reach the server."""
MOST_LATER: Final = 86400.0
"""Seconds of C{Retry-After} at the most: a day."""
MOST_RESULT: Final = MAX_PACKET - MAX_HANDLE - 1
"""Bytes of a result at the most, as it leaves in one packet."""
MOST_TEXT: Final = 4096
"""Bytes of the body that are in the text of a failure."""
PLAIN: Final = "".join(chr(byte) for byte in range(0x21, 0x7F) if chr(byte) != "%")
"""What of a name stands in a header as it is; all else is percent-encoded."""


class HttpFunction:
    """
    A function whose jobs are POSTed to a URL.
    """

    def __init__(
        self,
        agent: IAgent,
        url: str,
        headers: Mapping[str, str],
        retry_later: float,
        now: Callable[[], float],
    ) -> None:
        """
        @param url: where to.
        @param headers: of each request, beside those that say which job it is.
        @param retry_later: seconds after which a job is tried again where an answer does not say when.
        @param now: seconds since 1970: some servers name a moment and not a time.
        """
        self._agent = agent
        parts = urlsplit(url)
        if not parts.path:
            # Twisted's agent (26.10) would send "POST ?key=1", which most servers refuse.
            url = parts._replace(path="/").geturl()
        self._url = url.encode("ascii")
        self._headers = headers
        self._retry_later = retry_later
        self._now = now

    async def __call__(self, job: WorkerJob) -> bytes:
        """
        Do a job. Cancelling it closes the connection.

        @return: its result.
        @raise FailWithText: it has failed.
        @raise RetryLater: it is to be tried again.
        """
        try:
            response = await self._agent.request(
                b"POST", self._url, self._headers_for(job), Body(job.workload)
            )
        except ConnectingCancelledError as error:
            raise CancelledError from error
        except (ConnectError, DNSLookupError) as error:
            raise RetryLater(self._retry_later, f"cannot be reached: {_words(error)}") from error
        except (RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed) as error:
            if any(reason.check(CancelledError) for reason in error.reasons):
                raise CancelledError from error
            raise FailWithText(f"no answer: {_reasons(error)}") from error
        if 200 <= response.code < 300:
            return await self._read(response, MOST_RESULT, whole=True)
        text = b"%d %s" % (response.code, response.phrase)
        body = (await self._read(response, MOST_TEXT, whole=False)).strip()
        text = text + b": " + body if body else text
        if response.code in LATER:
            raise RetryLater(self._seconds(response), text)
        raise FailWithText(text)

    def _headers_for(self, job: WorkerJob) -> Headers:
        headers = Headers()
        headers.setRawHeaders("User-Agent", [f"txgear/{__version__}"])
        headers.setRawHeaders("Content-Type", ["application/octet-stream"])
        for name, value in self._headers.items():
            headers.setRawHeaders(name, [value])
        headers.setRawHeaders("X-Gearman-Handle", [_header(job.handle)])
        headers.setRawHeaders("X-Gearman-Function", [_header(job.function)])
        if job.unique:
            headers.setRawHeaders("X-Gearman-Unique", [_header(job.unique)])
        if job.attempt:
            headers.setRawHeaders("X-Gearman-Attempt", [b"%d" % job.attempt])
        if job.trace is not None:
            for name, value in job.trace.as_json().items():
                headers.setRawHeaders(name, [value])
        return headers

    def _seconds(self, response: IResponse) -> float:
        """When an answer says that the job is to come again."""
        (said, *_) = response.headers.getRawHeaders("Retry-After", [""])
        found = retry_after(said, self._now())
        return self._retry_later if found is None else found

    async def _read(self, response: IResponse, most: int, *, whole: bool) -> bytes:
        """
        @param whole: more than C{most} bytes are too many; without it the others are not wanted.
        """
        body: Deferred[bytes] = Deferred(lambda _: reader.close())
        reader = BodyReader(body, most, whole)
        response.deliverBody(reader)
        return await body


def http_function(reactor: Any, table: FunctionTable) -> HttpFunction:
    """
    The function that a table describes.

    @param reactor: makes the connections.
    """
    agent = Agent(reactor, connectTimeout=CONNECT_SECONDS)
    return HttpFunction(agent, table.url, table.headers, table.retry_later, time)


def retry_after(value: str, now: float) -> float | None:
    """
    Seconds from now, of a C{Retry-After}: a number of them, or a moment.

    @return: a day at the most; C{None} where it is neither.
    """
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return min(float(value[:12]), MOST_LATER)
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(moment - now, 0.0), MOST_LATER)


def _header(name: bytes) -> bytes:
    return quote_from_bytes(name, PLAIN).encode("ascii")


def _words(error: BaseException) -> str:
    return f"{error}".rstrip(".") or type(error).__name__


def _reasons(error: Any) -> str:
    """What is behind an error of the agent's, which has failures as reasons."""
    found = [reason.value for reason in getattr(error, "reasons", ())]
    return "; ".join(_words(each) for each in found) or _words(error)


@implementer(IBodyProducer)
class Body:
    """A workload on its way to the server."""

    def __init__(self, workload: bytes) -> None:
        self._workload = workload
        self.length = len(workload)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Part of C{IBodyProducer}."""
        consumer.write(self._workload)
        return succeed(None)

    def stopProducing(self) -> None:
        """Part of C{IBodyProducer}: all has been written."""

    def pauseProducing(self) -> None:
        """Part of C{IBodyProducer}."""

    def resumeProducing(self) -> None:
        """Part of C{IBodyProducer}."""


class BodyReader(Protocol):
    """Reads the body of an answer, up to a bound."""

    def __init__(self, body: Deferred[bytes], most: int, whole: bool) -> None:
        """
        @param body: fires with it.
        @param most: bytes that are taken.
        @param whole: fail with L{FailWithText} where there are more.
        """
        self._body = body
        self._most = most
        self._whole = whole
        self._pieces: list[bytes] = []
        self._left = most

    def dataReceived(self, data: bytes) -> None:
        """Part of C{IProtocol}."""
        if self._body.called:
            return
        self._pieces.append(data[: self._left])
        self._left -= len(data)
        if self._left >= 0:
            return
        if self._whole:
            self._body.errback(FailWithText(f"the answer has more than {self._most} bytes"))
        else:
            self._body.callback(b"".join(self._pieces))
        self.close()

    def close(self) -> None:
        """Nothing more is wanted of it."""
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Part of C{IProtocol}: the body has ended, or the connection."""
        if self._body.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self._body.callback(b"".join(self._pieces))
        else:
            self._body.errback(FailWithText(f"the answer was cut off: {_reasons(reason.value)}"))
