"""
Requests for jobs of another server: passed on to it by the database that both have, and answered as it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from txgear.server.elsewhere import HTTP, Elsewhere, Kept
from txgear.web.answers import Answer
from txgear.web.request import WebRequest

PASSED_ON: Final = ("Accept", "Content-Type", "traceparent", "tracestate")
"""Headers of a request that are for whoever carries it out."""
PASSED_BACK: Final = ("Content-Disposition", "Retry-After")
"""Headers of a response that are for whoever asked; all that begin with L{OWN} are as well."""
OWN: Final = "txgear-"


def passed_on(
    elsewhere: Elsewhere, request: WebRequest, word: bytes, here: Callable[[], Any], target: bytes = b""
) -> Deferred[Any]:
    """
    Have a request carried out by the server that has the job which it names.

    @param word: the job's handle; one that another server may have.
    @param here: carries it out, where no other server has that job.
    @param target: what is asked there; by default what is asked here.
    @return: fires with the answer.
    @raise Problem: its query makes no sense.
    """
    route = request.route
    assert route is not None
    operation = route.operation
    query = None if operation is None or operation.query is None else request.query(operation.query)
    wait = getattr(query, "wait", None) or 0.0

    def come(parts: list[bytes] | None) -> Any:
        return here() if parts is None else answer_of(parts[0])

    def pass_on() -> Deferred[Any]:
        asked = (request_bytes(request, target),)
        return elsewhere.pass_on(word, request.peer, HTTP, asked, wait=wait).addCallback(come)

    answer_kept = route.kept
    if answer_kept is None:
        return pass_on()

    def read(kept: Kept | None) -> Any:
        return pass_on() if kept is None else answer_kept(request, kept)

    return elsewhere.result(word, request.peer).addCallback(read)


def request_bytes(request: WebRequest, target: bytes = b"") -> bytes:
    """A request, as HTTP/1.0 has it; with another target, if one is said."""
    target = target or request.target + (b"?" + request.query_text if request.query_text else b"")
    body = request.raw_body
    headers = [("Host", "localhost")]
    headers += [(name, value) for name in PASSED_ON if (value := request.header(name))]
    if body or request.method not in (b"GET", b"HEAD"):
        headers.append(("Content-Length", str(len(body))))
    method = b"GET" if request.method == b"HEAD" else request.method
    lines = [b"%b %b HTTP/1.0" % (method, target)]
    lines += [f"{name}: {value}".encode("utf-8", "surrogateescape") for name, value in headers]
    return b"\r\n".join([*lines, b"", body])


def answer_of(response: bytes) -> Answer:
    """The answer that a response of HTTP/1.0 is."""
    head, _, body = response.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = Headers()
    for line in lines:
        name, _, value = line.partition(b":")
        headers.addRawHeader(name, value.strip())
    found = {
        name.decode("ascii"): values[-1].decode("ascii")
        for name, values in headers.getAllRawHeaders()
        if name.decode("ascii").lower().startswith(OWN) or name.decode("ascii") in PASSED_BACK
    }
    kind = headers.getRawHeaders("Content-Type", [""])[0]
    return Answer(body if kind else None, int(status.split()[1]), found, kind)
