"""Tests of L{txgear.cli.probe.ping}."""

from __future__ import annotations

from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.probe.ping import LONGEST_ANSWER, ask
from txgear.protocol.constants import ECHO_REQ, ECHO_RES, ERROR, NOOP
from txgear.protocol.packets import request, response


class FakeSocket:
    """A connection on which these bytes come, a few at a time."""

    def __init__(self, data: bytes) -> None:
        self.sent = b""
        self._data = data

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def recv(self, size: int) -> bytes:
        piece = self._data[: min(size, 5)]
        self._data = self._data[len(piece) :]
        return piece


class AskTests(SynchronousTestCase):
    """One packet, and its answer."""

    def ask(self, *came: bytes, data: bytes = b"txgear") -> FakeSocket:
        sock = FakeSocket(b"".join(came))
        ask(cast(Any, sock), request(ECHO_REQ, b"txgear"), ECHO_RES, data)
        return sock

    def why_not(self, *came: bytes) -> str:
        return str(self.assertRaises(ConnectionError, self.ask, *came))

    def test_answer(self) -> None:
        sock = self.ask(response(ECHO_RES, b"txgear"))
        self.assertEqual(sock.sent, request(ECHO_REQ, b"txgear"))

    def test_what_was_not_asked_for_is_no_answer(self) -> None:
        self.ask(response(NOOP), response(ECHO_RES, b"another"), response(ECHO_RES, b"txgear"))
        self.assertEqual(self.why_not(response(ECHO_RES, b"another")), "it has hung up")
        self.ask(response(ECHO_RES, b"another"), data=b"")

    def test_hangs_up(self) -> None:
        self.assertEqual(self.why_not(), "it has hung up")
        self.assertEqual(self.why_not(response(ECHO_RES, b"txgear")[:-1]), "it has hung up")

    def test_refused(self) -> None:
        self.assertEqual(
            self.why_not(response(ERROR, b"CODE", b"Who are you?\xff")), "CODE: Who are you?\\xff"
        )

    def test_speaks_something_else(self) -> None:
        """And an answer that would be larger than any is one of something else."""
        for came in (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            request(ECHO_RES, b"txgear"),
            b"\0RES" + NOOP.to_bytes(4, "big") + (LONGEST_ANSWER + 1).to_bytes(4, "big"),
        ):
            self.assertEqual(self.why_not(came), "it does not speak the protocol of Gearman")
