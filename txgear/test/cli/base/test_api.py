"""
Tests for L{txgear.cli.base.api}, as far as it needs no server.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from io import BytesIO
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.api import Api, Body, as_shown, path_of, unreachable
from txgear.cli.base.connection import plain_connection
from txgear.cli.base.places import Place
from txgear.cli.base.statuses import FAILED, MISUSED, UNREACHABLE, CommandError
from txgear.protocol.constants import EXTENSION_OPTION, OPTION_RES, SWITCHED_HTTP
from txgear.protocol.packets import response


class Socket:
    """A connection on which this has come."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> BytesIO:
        """As of a socket."""
        return BytesIO(self._raw)


def body(raw: bytes) -> Body:
    """An answer that has come so."""
    answer = http.client.HTTPResponse(cast("Any", Socket(raw)))
    answer.begin()
    return Body(answer, Place("here:4730", "here"))


class NamesTests(SynchronousTestCase):
    def test_what_is_no_utf8_is_escaped_as_the_server_does_it(self) -> None:
        """So that what stands in the name as it is does not become an escape."""
        self.assertEqual(as_shown("caf\udce9"), r"caf\xe9")
        self.assertEqual(as_shown("caf\udce9 \\x41"), r"caf\xe9 \x5cx41")

    def test_what_is_utf8_stays_as_it_is(self) -> None:
        for word in ("mail.send", "\u00e9 \u2028", r"App\xdebug", ""):
            self.assertEqual(as_shown(word), word)

    def test_paths_take_all_names(self) -> None:
        self.assertEqual(path_of("jobs", "H:vm:7"), "/api/v1/jobs/H%3Avm%3A7")
        self.assertEqual(path_of("functions", "a/b?\udcff"), "/api/v1/functions/a%2Fb%3F%5Cxff")
        self.assertEqual(self.assertRaises(CommandError, path_of, "jobs", "").status, MISUSED)


class AnswerTests(SynchronousTestCase):
    """What no txgear would answer is an error of one line."""

    def get(self, text: bytes, status: str = "200 OK") -> Any:
        """What is made of an answer."""
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n".encode()
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]

            def answer() -> None:
                taken, _ = server.accept()
                with taken:
                    taken.recv(100)
                    taken.sendall(response(OPTION_RES, EXTENSION_OPTION))
                    taken.recv(100)
                    taken.sendall(response(SWITCHED_HTTP))
                    taken.recv(1000)
                    taken.sendall(head + text)

            thread = threading.Thread(target=answer)
            thread.start()
            try:
                api = Api(Place(f"127.0.0.1:{port}", "127.0.0.1", port))
                return api.get("/api/v1/jobs")
            finally:
                thread.join()
                api.close()

    def test_what_is_no_object(self) -> None:
        for text in (b"[]", b"", b"7", b"null", b"{", b"[" * 100_000):
            error = self.assertRaises(CommandError, self.get, text)
            self.assertEqual(error.status, UNREACHABLE, text[:9])

    def test_an_error_that_is_an_answer(self) -> None:
        """What it says besides is not lost; what is no object is nothing."""
        for text, said in ((b'{"store": "ok"}', {"store": "ok"}), (b"[1]", {}), (b"{", {}), (b"", {})):
            error = self.assertRaises(CommandError, self.get, text, "503 Service Unavailable")
            self.assertEqual((error.text, error.status), ("503 Service Unavailable", FAILED))
            self.assertEqual(error.details, said)

    def test_hosts_that_are_none(self) -> None:
        for host in ("\u202eabc", "x" * 64, "\udcff"):
            error = self.assertRaises(CommandError, plain_connection, Place(host, host), 1.0)
            self.assertEqual(error.status, MISUSED, host)

    def test_what_lacks_something(self) -> None:
        found = self.get(b'{"jobs": [{}]}')
        for part, name in ((found, "next"), (found["jobs"][0], "handle")):
            error = self.assertRaises(CommandError, part.__getitem__, name)
            self.assertEqual(error.status, UNREACHABLE)
            self.assertIn(repr(name), error.text)


class BodyTests(SynchronousTestCase):
    def test_a_whole_one(self) -> None:
        found = body(b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nTxgear-Handle: H:1\r\n\r\nhello")
        self.assertEqual((found.status, found.headers["Txgear-Handle"]), (202, "H:1"))
        self.assertEqual(list(found.pieces()), [b"hello"])
        self.assertEqual(list(body(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").pieces()), [])

    def test_one_that_ends_too_early_is_an_error(self) -> None:
        """Never a short result that looks whole."""
        for raw in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhello",
        ):
            error = self.assertRaises(CommandError, list, body(raw).pieces())
            self.assertEqual(error.status, UNREACHABLE)
            self.assertIn("here:4730: ", error.text)

    def test_tls_is_not_spoken_there(self) -> None:
        place = Place("here:4730", "here")
        for reason, says in (
            ("WRONG_VERSION_NUMBER", "it does not speak TLS (wrong version number)"),
            ("TLSV1_ALERT_UNKNOWN_CA", "TLS has failed: tlsv1 alert unknown ca"),
        ):
            error = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1006)")
            error.reason = reason
            self.assertEqual(unreachable(place, error).text, f"here:4730: {says}")

    def test_what_goes_wrong_meanwhile_is_said_as_before(self) -> None:
        found = body(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for error in (TimeoutError(), ConnectionResetError(104, "Connection reset by peer")):

            def read(size: int, error: Exception = error) -> bytes:
                raise error

            found._answer.read = read  # type: ignore[method-assign,assignment]
            told = self.assertRaises(CommandError, list, found.pieces())
            self.assertEqual(told.status, UNREACHABLE)
