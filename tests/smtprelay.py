"""A mail relay for tests: it takes mails, or puts them off, and remembers what it got."""

from __future__ import annotations

import socketserver
import threading
from types import TracebackType


class _Session(socketserver.StreamRequestHandler):
    """One connection, RFC 5321 as far as a sender needs it."""

    server: Relay

    def handle(self) -> None:
        self._say("220 relay.example.org")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"QUIT":
                self._say("221 bye")
                return
            if verb == b"RCPT" and self.server.puts_off():
                self._say("451 greylisted, try again later")
            elif verb == b"DATA":
                self._say("354 go on")
                mail = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.mails.append(mail.decode())
                self._say("250 taken")
            else:
                self._say("250 fine")

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


class Relay(socketserver.ThreadingTCPServer):
    """
    Listens from its making to the end of its ``with``.

    :ivar mails: all that it took, the oldest first.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, put_off: int = 0) -> None:
        """Listen on 127.0.0.1, and put the first ``put_off`` mails off."""
        super().__init__(("127.0.0.1", port), _Session)
        self.mails: list[str] = []
        self._put_off = put_off
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def puts_off(self) -> bool:
        """Whether this mail is to come again later."""
        self._put_off -= 1
        return self._put_off >= 0

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
