"""
Tests for L{txgear.server.httprequest}: what requests mean and how they are answered.
"""

from __future__ import annotations

import http.client
from typing import Any

from txgear import __version__
from txgear.broker.states import QUEUED
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
    NORMAL,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.protocol.packets import PIECES_FROM, request
from txgear.protocol.traces import Trace
from txgear.server.httprequest import function_name
from txgear.test.support.clock import START
from txgear.test.support.http import HttpAnswer, HttpPeer, HttpTestCase


class RequestTests(HttpTestCase):
    """What a request means."""

    def test_result(self) -> None:
        """
        The body of a POST or PUT is the workload, the body of the response the
        result, and the headers tell the job's handle.
        """
        for method in ("POST", "PUT"):
            client, worker = self.connect(), self.worker()
            client.ask(method, "/f", body=b"Hello")
            self.assertEqual(client.heard(), b"")
            handle, unique, workload = worker.grab()
            self.assertEqual((unique, workload), (b"-", b"Hello"))
            worker.say(WORK_COMPLETE, handle, b"olleH")
            answer = client.answer(method)
            self.assertEqual((answer.status, answer.body), (200, b"olleH"))
            self.assertEqual((answer.command, answer.handle), ("WORK_COMPLETE", handle))
            self.assertFalse(client.closed)

    def test_headers(self) -> None:
        """A response says who made it, when, how long it is, and that it is not for caches."""
        client, worker, handle = self.under_way()
        worker.say(WORK_COMPLETE, handle, b"result")
        head = client.heard().decode("ascii").partition("\r\n\r\n")[0].split("\r\n")
        self.assertEqual(head[0], "HTTP/1.1 200 OK")
        self.assertEqual(
            sorted(head[1:]),
            [
                "Cache-Control: no-store",
                "Content-Length: 6",
                "Content-Type: application/octet-stream",
                "Date: Thu, 01 Jan 1970 00:16:40 GMT",
                f"Server: txgear/{__version__}",
                "X-Gearman-Command: WORK_COMPLETE",
                "X-Gearman-Job-Handle: H:test:1",
            ],
        )

    def test_date(self) -> None:
        """It is the wall clock's, whatever the server's own time is."""
        self.fixture.wall.ahead = 86400
        client, worker, handle = self.under_way()
        worker.say(WORK_COMPLETE, handle, b"")
        other = self.connect()
        other.send(b"nonsense\r\n\r\n")
        for answer in (client.answer(), other.answer()):
            self.assertEqual(answer.headers["Date"], "Fri, 02 Jan 1970 00:16:40 GMT")

    def test_empty_result(self) -> None:
        """A result may be empty, and a workload as well."""
        client, worker, handle = self.under_way(body=b"")
        worker.say(WORK_COMPLETE, handle, b"")
        answer = client.answer()
        self.assertEqual((answer.status, answer.body, answer.headers["Content-Length"]), (200, b"", "0"))

    def test_get(self) -> None:
        """A GET submits an empty workload, as with gearmand; a body, which would be lost, is refused."""
        client, worker = self.connect(), self.worker()
        client.ask("GET", "/f")
        handle, _, workload = worker.grab()
        self.assertEqual(workload, b"")
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.answer("GET").body, b"result")
        self.assertEqual(self.ask("GET", "/f", body=b"lost").status, 400)
        self.assertEqual(self.queued(), [])

    def test_trace(self) -> None:
        """The job belongs to the trace of whoever submits it; what is malformed is as if it was not there."""
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        for headers, trace in (
            ((f"traceparent: {parent}",), Trace(parent)),
            ((f"Traceparent: {parent}", "tracestate: a=1", "Tracestate: b=2"), Trace(parent, "a=1,b=2")),
            ((f"traceparent: {parent}", "tracestate: \xff"), Trace(parent)),
            ((f"traceparent: {parent}", f"traceparent: {parent}"), None),
            (("traceparent: 00-1-2-3", "tracestate: a=1"), None),
            ((), None),
        ):
            self.connect().ask("POST", "/f", "X-Gearman-Unique:", *headers, body=b"")
            *_, job = self.broker.table.jobs.values()
            self.assertEqual(None if job.history is None else job.history.trace, trace, headers)

    def test_form_is_a_workload(self) -> None:
        """What curl calls a form, and any other type, is a workload like all others."""
        for kind in (
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "multipart/form-data",
        ):
            self.connect().ask("POST", "/f", f"Content-Type: {kind}", body=b"a=b&c=d&" + kind.encode())
        self.assertEqual(len(self.queued()), 3)
        self.assertEqual(self.queued()[0], (b"f", b"a=b&c=d&application/x-www-form-urlencoded"))

    def test_version_is_mirrored(self) -> None:
        """HTTP/1.0 is answered in HTTP/1.0, and the connection ends."""
        client, worker, handle = self.under_way(version="1.0")
        worker.say(WORK_COMPLETE, handle, b"result")
        answer = client.heard()
        self.assertEqual(answer[:17], b"HTTP/1.0 200 OK\r\n")
        self.assertIn(b"\r\nContent-Length: 6\r\n", answer)
        self.assertTrue(client.closed)

    def test_function_names(self) -> None:
        """The path names the function, decoded, without leading slashes, and without the query."""
        for target, name in (
            (b"/f", b"f"),
            (b"//f", b"f"),
            (b"/f/g", b"f/g"),
            (b"/a%20b%2Fc%0A%c3%A9", b"a b/c\n\xc3\xa9"),
            (b"/%2Ff", b"/f"),
            (b"/f?a=b?c", b"f"),
            (b"/100%", b"100%"),
            (b"/a+b", b"a+b"),
            (b"http://proxied:80/f%21?a=b", b"f!"),
            (b"http://proxied", b""),
            (b"/", b""),
            (b"/?f", b""),
            (b"*", b""),
            (b"f", b""),
        ):
            self.assertEqual(function_name(target), name, target)

    def test_no_function(self) -> None:
        """Without a function there is nothing to be found."""
        for method in ("POST", "GET", "HEAD"):
            self.assertEqual(self.ask(method, "/").status, 404)

    def test_nul_parts_arguments(self) -> None:
        """A NUL in a name would end it in a packet to a worker, and begin the next argument."""
        self.assertEqual(self.ask("POST", "/f%00g", body=b"x").status, 400)
        self.assertEqual(self.queued(), [])

    def test_background(self) -> None:
        """X-Gearman-Background answers when the job is created; the body is its handle."""
        answer = self.ask("POST", "/f", "X-Gearman-Background: true", body=b"x")
        self.assertEqual((answer.status, answer.command), (202, "JOB_CREATED"))
        self.assertEqual(answer.body, answer.handle + b"\n")
        (job,) = self.broker.table.jobs.values()
        self.assertTrue(job.background)
        self.assertEqual(job.handle, answer.handle)

    def test_background_goes_on_without_its_client(self) -> None:
        """Nobody waits for a background job, so nobody takes it along."""
        client = self.connect()
        client.ask("PUT", "/f", "X-Gearman-Background: true", body=b"x")
        client.leave()
        self.assertEqual(self.queued(), [(b"f", b"x")])

    def test_header_words(self) -> None:
        """Names and words of headers are compared without regard to case."""
        answer = self.ask("POST", "/f", "x-gearman-BACKGROUND: True", "X-GEARMAN-PRIORITY: High", body=b"x")
        self.assertEqual(answer.status, 202)
        (job,) = self.broker.table.jobs.values()
        self.assertEqual(job.priority, NORMAL - 1)

    def test_priorities(self) -> None:
        """X-Gearman-Priority orders jobs; without it they are normal, as with `normal`."""
        for word in ("low", "", "normal", "high"):
            header = [f"X-Gearman-Priority: {word}"] if word else []
            self.ask("POST", "/f", "X-Gearman-Background: true", *header, body=word.encode())
        worker = self.worker()
        self.assertEqual([worker.grab()[2] for _ in range(4)], [b"high", b"", b"normal", b"low"])

    def test_unknown_words(self) -> None:
        """A word that means nothing is refused, not overlooked."""
        for header in ("X-Gearman-Priority: highest", "X-Gearman-Priority:", "X-Gearman-Background: yes"):
            answer = self.ask("POST", "/f", header, body=b"x")
            self.assertEqual(answer.status, 400)
            self.assertIn(header.partition(":")[0].encode(), answer.body)
        self.assertEqual(self.queued(), [])

    def test_unique(self) -> None:
        """X-Gearman-Unique makes two requests one job, whatever their bodies; both get the result."""
        one, two, worker = self.connect(), self.connect(), self.worker()
        for client, body in ((one, b"1"), (two, b"2")):
            client.ask("POST", "/f", "X-Gearman-Unique: u", body=body)
        handle, unique, workload = worker.grab()
        self.assertEqual((unique, workload, len(self.queued())), (b"u", b"1", 1))
        worker.say(WORK_COMPLETE, handle, b"shared")
        self.assertEqual([client.answer().body for client in (one, two)], [b"shared", b"shared"])

    def test_equal_bodies_are_one_job(self) -> None:
        """Without the header the workload is what makes jobs the same, as with gearmand."""
        for body in (b"same", b"same", b"other"):
            self.connect().ask("POST", "/f", body=body)
        self.assertEqual(self.queued(), [(b"f", b"same"), (b"f", b"other")])

    def test_empty_unique(self) -> None:
        """An empty unique keeps jobs apart, whatever their bodies."""
        for _ in range(2):
            self.connect().ask("POST", "/f", "X-Gearman-Unique:", body=b"same")
        self.assertEqual(self.queued(), [(b"f", b"same")] * 2)

    def test_long_unique(self) -> None:
        """A unique has 64 bytes at the most."""
        self.connect().ask("POST", "/f", "X-Gearman-Unique: " + "u" * 64, body=b"x")
        self.assertEqual(len(self.queued()), 1)
        answer = self.ask("POST", "/g", "X-Gearman-Unique: " + "u" * 65, body=b"x")
        self.assertEqual((answer.status, answer.command), (400, "ERROR"))
        self.assertEqual(answer.body, b"Unique value too large\n")

    def test_long_function(self) -> None:
        """A function's name that is too long is the client's mistake, too."""
        self.assertEqual(self.ask("POST", "/" + "f" * 8192, body=b"x").status, 400)

    def test_full_queue(self) -> None:
        """A full queue is not the client's fault: it may come again."""
        self.broker.operations.limit_function(b"f", (1, 1, 1))
        self.assertEqual(self.ask("POST", "/f", "X-Gearman-Background: true", body=b"1").status, 202)
        client = self.connect()
        client.ask("POST", "/f", body=b"2")
        answer = client.answer()
        self.assertEqual((answer.status, answer.command), (503, "ERROR"))
        self.assertEqual((answer.headers["Retry-After"], answer.body), ("1", b"Job queue is full\n"))
        self.assertFalse(client.closed)

    def test_queue_that_a_policy_bounds(self) -> None:
        """The same, and the body says by which setting."""
        self.broker.operations.set_policies(Policies([("f", CLASSIC.with_settings({"max_bytes": 3}))]), START)
        self.assertEqual(self.ask("POST", "/f", "X-Gearman-Background: true", body=b"123").status, 202)
        answer = self.ask("POST", "/f", body=b"4")
        self.assertEqual((answer.status, answer.body), (503, b"Job queue is full: max_bytes is 3\n"))

    def test_unique_that_is_done(self) -> None:
        """Where a policy keeps it taken, the response is the result that there was."""
        self.broker.operations.set_policies(
            Policies([("f", CLASSIC.with_settings({"unique_for": 60, "results": 60}))]), START
        )
        worker = self.worker()
        for background, status in (("true", 202), ("false", 200)):
            headers = [f"X-Gearman-Background: {background}", "X-Gearman-Unique: u"]
            client = self.connect()
            client.ask("POST", "/f", *headers, body=b"x")
            if background == "true":
                handle = worker.grab()[0]
                worker.say(WORK_DATA, handle, b"data, ")
                worker.say(WORK_COMPLETE, handle, b"result")
            answer = client.answer()
            self.assertEqual((answer.status, answer.handle), (status, handle))
        self.assertEqual(answer.body, b"data, result")

    def test_draining(self) -> None:
        """A server about to end takes no job, and ends the connection."""
        client = self.connect()
        client.send(b"POST /f HTTP/1.1\r\n")
        drained = self.server.drain()
        client.send(b"Content-Length: 1\r\n\r\nx")
        answer = client.answer()
        self.assertEqual((answer.status, answer.headers["Connection"]), (503, "close"))
        self.assertTrue(client.closed)
        self.successResultOf(drained)

    def test_unknown_error(self) -> None:
        """What else may go wrong with a job is the server's fault."""
        client = self.connect()
        client.ask("POST", "/f", body=b"x")
        self.server.outbox.send(client.protocol.peer, 19, b"DISK_FULL", b"The disk is full")
        self.server.end_turn()
        answer = client.answer()
        self.assertEqual((answer.status, answer.command, answer.body), (500, "ERROR", b"The disk is full\n"))

    def test_head(self) -> None:
        """HEAD asks whether a function is known, and submits nothing."""
        client = self.connect()
        self.worker(b"known")
        for target, status in (("/known", 200), ("/unknown", 404), ("/", 404)):
            client.ask("HEAD", target)
            self.assertEqual(client.answer("HEAD").status, status)
        self.assertEqual(self.queued(), [])
        client.ask("HEAD", "/known")
        self.assertTrue(client.heard().endswith(b"\r\n\r\n"))
        self.assertFalse(client.closed)

    def test_other_methods(self) -> None:
        """A method that makes no job is refused with those that do; TRACE, above all, echoes nothing."""
        for method in ("TRACE", "DELETE", "OPTIONS", "BREW", "post"):
            answer = self.ask(method, "/f", body=b"x")
            self.assertEqual((answer.status, answer.headers["Allow"]), (405, "GET, HEAD, POST, PUT"))
        self.assertEqual(self.queued(), [])

    def test_peer(self) -> None:
        """A connection is one peer, with its address, and is no longer when it has ended."""
        client = self.connect()
        (peer,) = self.broker.peers
        self.assertEqual((peer.descriptor, peer.address, peer.exceptions), (1, "192.0.2.9", True))
        client.ask("HEAD", "/f")
        client.leave()
        self.assertEqual(list(self.broker.peers), [])


class BodyTests(HttpTestCase):
    """How a workload arrives."""

    def test_large(self) -> None:
        """A large body passes whole, however it is cut, in pieces that are never joined here."""
        workload = bytes(range(256)) * 1000
        client, worker = self.connect(), self.worker()
        client.send(b"POST /f HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(workload))
        for at in range(0, len(workload), 10_000):
            client.send(workload[at : at + 10_000])
        self.assertEqual(worker.grab()[2], workload)

    def test_chunked(self) -> None:
        """A body in chunks is one workload; chunks of a byte do not cost the memory of an object each."""
        workload = b"01" * PIECES_FROM
        client, worker = self.connect(), self.worker()
        client.send(b"POST /f HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"".join(b"1\r\n%c\r\n" % byte for byte in workload) + b"0\r\n\r\n")
        (job,) = self.broker.table.jobs.values()
        pieces: Any = job.workload
        self.assertLess(len(pieces.chunks), 5)
        self.assertEqual(worker.grab()[2], workload)

    def test_leave_to_send(self) -> None:
        """A client that asks before it sends a body is told to."""
        client = self.connect()
        client.send(b"POST /f HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        self.assertEqual(client.heard(), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.send(b"12345")
        self.assertEqual(self.queued(), [(b"f", b"12345")])

    def refused(self, client: HttpPeer) -> HttpAnswer:
        """The refusal of a body."""
        answer = client.answer()
        self.assertEqual((answer.status, answer.headers["Connection"]), (413, "close"))
        self.assertEqual(answer.body, b"A workload has at most 1000 bytes\n")
        return answer

    def test_too_large(self) -> None:
        """A length over the limit is refused before the body comes, which is passed over; then it is over."""
        self.start(max_packet=1000)
        client = self.connect()
        client.send(b"POST /f HTTP/1.1\r\nContent-Length: 1001\r\n\r\n")
        self.refused(client)
        self.assertFalse(client.closed)
        client.send(b"1" * 1000)
        self.assertFalse(client.closed)
        client.send(b"1POST /f HTTP/1.1\r\nContent-Length: 1\r\n\r\n1")
        self.assertEqual(client.heard(), b"")
        self.assertTrue(client.closed)
        client.leave()
        self.assertEqual((self.queued(), self.clock.getDelayedCalls()), ([], []))

    def test_largest(self) -> None:
        """A body of just the limit is taken."""
        self.start(max_packet=1000)
        self.connect().ask("POST", "/f", body=b"1" * 1000)
        self.assertEqual(len(self.queued()), 1)

    def test_too_large_is_not_asked_for(self) -> None:
        """A client that asks first is told at once."""
        self.start(max_packet=1000)
        client = self.connect()
        client.send(
            b"PUT /f HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 99999999999999999999\r\n\r\n"
        )
        self.refused(client)

    def test_too_many_chunks(self) -> None:
        """Chunks are counted as they come."""
        self.start(max_packet=1000)
        client = self.connect()
        client.send(b"POST /f HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"1" * 1000 + b"\r\n")
        self.assertEqual(client.heard(), b"")
        client.send(b"1\r\n1\r\n")
        self.refused(client)
        client.send(b"1\r\n1\r\n0\r\n\r\n")
        self.assertEqual(client.heard(), b"")
        self.assertTrue(client.closed)

    def test_too_large_without_end(self) -> None:
        """Whoever goes on sending what was refused is cut off."""
        self.start(max_packet=1000)
        client = self.connect()
        client.send(b"POST /f HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(9):
            client.send(b"1" * 1000)
            self.clock.advance(1)
        self.assertFalse(client.aborted)
        self.clock.advance(1)
        self.assertTrue(client.aborted)

    def test_refused_before_the_end(self) -> None:
        """A server that ends while a refused body comes leaves the connection to its bound."""
        self.start(max_packet=1000)
        client = self.connect()
        client.send(b"POST /f HTTP/1.1\r\nContent-Length: 1001\r\n\r\n")
        client.protocol.close()
        self.refused(client)
        self.clock.advance(10)
        self.assertTrue(client.aborted)

    def test_impossible_lengths(self) -> None:
        """A length that is no number, or one of thousands of digits, is a bad request and no more."""
        for length in ("many", "-5", "", "9" * 5000, "0" * 5000 + "1"):
            client = self.connect()
            client.ask("POST", "/f", f"Content-Length: {length}")
            self.assertTrue(client.heard().startswith(b"HTTP/1.1 400 "), length)
            self.assertTrue(client.closed)
            client.leave()

    def test_nonsense(self) -> None:
        """What is not HTTP is refused, and two lengths are one too many."""
        for nonsense in (
            b"nonsense\r\n\r\n",
            b"GET /f HTTP/9.9\r\n\r\n",
            b"POST /f HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST /f HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n",
        ):
            client = self.connect()
            client.send(nonsense)
            answer = client.answer()
            self.assertEqual((answer.status, answer.headers["Connection"]), (400, "close"))
            self.assertRegex(answer.body, b"^This is no request .*\n$")
            self.assertTrue(client.closed)
            client.leave()
        self.assertEqual((self.queued(), list(self.broker.peers)), ([], []))


class StreamTests(HttpTestCase):
    """What the worker says before the end."""

    def test_defect_18_work_data(self) -> None:
        """
        In gearmand each WORK_DATA packet loses its last byte and overwrites
        the headers, 8 kB of them overflow the heap, and any other packet for
        an HTTP client aborts the server.
        """
        client, worker, handle = self.under_way()
        pieces = [b"%07d\n" % number * 1000 for number in range(20)]
        for piece in pieces:
            worker.say(WORK_DATA, handle, piece)
            worker.say(WORK_WARNING, handle, b"careful")
            worker.say(WORK_STATUS, handle, b"1", b"2")
        worker.say(WORK_COMPLETE, handle, b"the end")
        answer = client.answer()
        self.assertEqual((answer.status, answer.handle), (200, handle))
        self.assertEqual(answer.body, b"".join(pieces) + b"the end")
        self.assertIsNone(answer.headers["Content-Length"])

    def test_data_as_it_comes(self) -> None:
        """Each part leaves at once, as a chunk."""
        client, worker, handle = self.under_way()
        worker.say(WORK_DATA, handle, b"first")
        head, _, body = client.heard().partition(b"\r\n\r\n")
        self.assertIn(b"\r\nTransfer-Encoding: chunked\r\n", head + b"\r\n")
        self.assertIn(b"\r\nX-Gearman-Command: WORK_DATA", head)
        self.assertEqual(body, b"5\r\nfirst\r\n")
        worker.say(WORK_DATA, handle, b"second")
        self.assertEqual(client.heard(), b"6\r\nsecond\r\n")
        worker.say(WORK_COMPLETE, handle, b"")
        self.assertEqual(client.heard(), b"0\r\n\r\n")
        self.assertFalse(client.closed)

    def test_empty_data(self) -> None:
        """Empty data says nothing; above all it is not the last chunk, and begins no answer."""
        client, worker, handle = self.under_way()
        worker.say(WORK_DATA, handle, b"")
        self.assertEqual(client.heard(), b"")
        worker.say(WORK_FAIL, handle)
        self.assertEqual(client.answer().status, 500)

    def test_data_in_http_1_0(self) -> None:
        """HTTP/1.0 knows no chunks: the answer ends with the connection."""
        client, worker, handle = self.under_way(version="1.0")
        worker.say(WORK_DATA, handle, b"some ")
        self.assertFalse(client.closed)
        worker.say(WORK_COMPLETE, handle, b"result")
        head, _, body = client.heard().partition(b"\r\n\r\n")
        self.assertNotIn(b"Transfer-Encoding", head)
        self.assertEqual(body, b"some result")
        self.assertTrue(client.closed)
        self.assertFalse(client.aborted)

    def test_data_and_end_in_one_turn(self) -> None:
        """All that a worker sends at once is taken in its order, and nothing after the end."""
        client, worker, handle = self.under_way()
        worker.line.tell(
            request(WORK_DATA, handle, b"1"), request(WORK_COMPLETE, handle, b"2"), request(WORK_FAIL, handle)
        )
        self.assertEqual(client.answer().body, b"12")

    def test_large_result(self) -> None:
        """A result that arrived in pieces leaves in them."""
        client, worker, handle = self.under_way()
        result = bytes(range(256)) * 4096
        said = request(WORK_COMPLETE, handle, result)
        for at in range(0, len(said), 100_000):
            worker.line.tell(said[at : at + 100_000])
        answer = client.answer()
        self.assertEqual((answer.headers["Content-Length"], answer.body), (str(len(result)), result))

    def test_failure(self) -> None:
        """A job that fails is an error of the server's side, with its handle."""
        client, worker, handle = self.under_way()
        worker.say(WORK_FAIL, handle)
        answer = client.answer()
        self.assertEqual((answer.status, answer.command, answer.handle), (500, "WORK_FAIL", handle))
        self.assertEqual(answer.body, b"The job has failed\n")
        self.assertFalse(client.closed)

    def test_exception(self) -> None:
        """What a worker says of an exception is the response's body."""
        client, worker, handle = self.under_way()
        worker.say(WORK_EXCEPTION, handle, b"\xffbroken")
        answer = client.answer()
        self.assertEqual((answer.status, answer.command, answer.handle), (500, "WORK_EXCEPTION", handle))
        self.assertEqual(
            (answer.headers["Content-Type"], answer.body), ("application/octet-stream", b"\xffbroken")
        )

    def test_cancelled(self) -> None:
        """A job that an operator cancels has failed."""
        client, _, handle = self.under_way()
        self.broker.operations.cancel(handle, 0.0)
        self.server.end_turn()
        self.assertEqual(client.answer().status, 500)

    def test_failure_after_data(self) -> None:
        """What was begun as a success is broken off, and not taken for whole; what was sent arrives."""
        for kind, reason in ((WORK_FAIL, []), (WORK_EXCEPTION, [b"broken"])):
            client, worker, handle = self.under_way()
            worker.say(WORK_DATA, handle, b"part")
            worker.say(kind, handle, *reason)
            self.assertTrue(client.closed)
            self.assertFalse(client.aborted)
            with self.assertRaises(http.client.IncompleteRead) as caught:
                client.answer()
            self.assertEqual(caught.exception.partial, b"part")
            client.leave()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failure_after_data_in_http_1_0(self) -> None:
        """Where the end of the connection is the end of the answer, only a reset says that it is none."""
        client, worker, handle = self.under_way(version="1.0")
        worker.say(WORK_DATA, handle, b"part")
        worker.say(WORK_FAIL, handle)
        self.assertTrue(client.aborted)

    def test_next_attempt_is_no_continuation(self) -> None:
        """What two workers send, one after the other, makes no body that looks whole."""
        client, worker, handle = self.under_way()
        worker.say(WORK_DATA, handle, b"one,two,")
        worker.leave()
        heard = client.heard()
        self.assertTrue(client.closed)
        self.assertTrue(heard.endswith(b"8\r\none,two,\r\n"), heard)

    def test_lost_attempt_that_sent_nothing_is_not_seen(self) -> None:
        client, worker, handle = self.under_way()
        worker.leave()
        worker = self.worker()
        self.assertEqual(worker.grab()[0], handle)
        worker.say(WORK_DATA, handle, b"one,")
        worker.say(WORK_COMPLETE, handle, b"two")
        answer = client.answer()
        self.assertEqual((answer.status, answer.body), (200, b"one,two"))

    def test_broken_end_is_bounded(self) -> None:
        """A client that does not read what is left of a broken answer is cut off."""
        client, worker, handle = self.under_way()
        worker.say(WORK_DATA, handle, b"part")
        worker.say(WORK_FAIL, handle)
        self.clock.advance(10)
        self.assertTrue(client.aborted)

    def test_client_leaves(self) -> None:
        """A job that only this client waited for is dropped with it."""
        client = self.connect()
        client.ask("POST", "/f", body=b"x")
        self.assertEqual([job.state for job in self.broker.table.jobs.values()], [QUEUED])
        client.leave()
        self.assertEqual(self.queued(), [])

    def test_client_leaves_while_the_job_runs(self) -> None:
        """What the worker says of such a job goes nowhere."""
        client, worker, handle = self.under_way()
        worker.say(WORK_DATA, handle, b"part")
        client.leave()
        client.heard()
        worker.say(WORK_DATA, handle, b"part")
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.heard(), b"")
