"""A line between two programs that can be cut, be late, and lose what is sent over it."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

#: Seconds that a thread of it waits for nothing, at the most.
TURN: Final = 0.2

#: Seconds in which the other end must be there: what is sent to it may get lost.
CONNECT: Final = 10.0


class LineBetween:
    """
    Passes on what comes over connections to its port.

    :ivar loses_requests: what is sent to the server gets lost.
    :ivar loses_answers: what the server sends gets lost.
    :ivar lost: what got lost so far.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """
        :param port: the server's.
        :param host: its address.
        """
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: Final[int] = self._listener.getsockname()[1]
        self._is_cut = False
        self._ended = False
        self._flows = threading.Event()
        self._flows.set()
        self.loses_requests = False
        self.loses_answers = False
        self.lost = b""
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def cut(self) -> None:
        """End all connections, and any new one at once."""
        with self._lock:
            self._is_cut = True
            sockets, self._sockets = self._sockets, []
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def hold(self) -> None:
        """Pass nothing on for a while: what is sent arrives when the line is mended, or ended."""
        self._flows.clear()

    def mend(self) -> None:
        """Let connections through again, and lose nothing."""
        self.loses_requests = self.loses_answers = self._is_cut = False
        self._flows.set()

    def close(self) -> None:
        """End it, and wait for its threads."""
        self._ended = True
        self._flows.set()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _begin(self, call: object, *arguments: object) -> None:
        thread = threading.Thread(target=call, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        self._listener.settimeout(TURN)
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                far = socket.create_connection(self._server, CONNECT)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self._lock:
                if self._is_cut:
                    near.close()
                    far.close()
                    continue
                self._sockets += [near, far]
            self._begin(self._pass_on, near, far, "loses_requests")
            self._begin(self._pass_on, far, near, "loses_answers")

    def _pass_on(self, source: socket.socket, target: socket.socket, loses: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                if getattr(self, loses):
                    self.lost += data
                else:
                    target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()  # the other thread closes the other one
