"""A client of the web for tests: raw bytes out, answers in, on one connection."""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
from typing import Any, Final, NamedTuple

PATIENCE: Final = 15.0


class Answer(NamedTuple):
    """A response, read by Python's own client."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The code of a problem."""
        assert self.headers["Content-Type"] == "application/problem+json", self
        return str(self.json["type"]).rpartition(":")[2]


class Answers(io.BufferedReader):
    """What comes on a connection; there may be another answer behind one."""

    def makefile(self, mode: str) -> Answers:
        return self

    def close(self) -> None: ...


class WebPeer:
    """One connection to the web."""

    def __init__(self, where: int | str, *, tls: ssl.SSLContext | None = None) -> None:
        """
        :param where: the port, or the path of a Unix socket.
        """
        self.where = where
        if isinstance(where, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE)
            self.socket.connect(where)
        else:
            self.socket = socket.create_connection(("127.0.0.1", where), PATIENCE)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.answers = Answers(socket.SocketIO(self.socket, "r"))

    def __enter__(self) -> WebPeer:
        return self

    def __exit__(self, *rest: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request, and read its answer. An underscore in the name of a header is a dash."""
        said = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body:
            said.setdefault("Content-Length", str(len(body)))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items())]
        self.send("\r\n".join([*lines, "", ""]).encode("utf-8") + body)
        return self.answer(method)

    def answer(self, method: str = "GET") -> Answer:
        """The next answer."""
        reading: Any = self.answers
        response = http.client.HTTPResponse(reading, method=method)
        response.begin()
        return Answer(response.status, response.headers, response.read())

    def rest(self) -> bytes:
        """What comes until the server ends the connection."""
        return self.answers.read()

    def timed(self, path: str = "/ready") -> float:
        """Seconds that an answer takes."""
        begun = time.monotonic()
        assert self.ask("GET", path).status == 200
        return time.monotonic() - begun
