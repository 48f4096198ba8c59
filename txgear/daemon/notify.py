"""
What the service manager is told: systemd's C{sd_notify} protocol.

Each message is a datagram to the Unix socket that C{NOTIFY_SOCKET} names: lines of C{NAME=value}. A manager
that is slow or gone never makes the server wait.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

STATUS_SECONDS: Final = 10.0
"""Seconds between two looks at what the server does, where no watchdog asks for more."""
RETRY_SECONDS: Final = 0.5
"""Seconds after which a message is sent again that the manager's socket had no room for."""
MOST_UNSENT: Final = 16
"""Messages that wait for room in that socket: a start, an end, reloads. The oldest is dropped."""
MOST_STATUS: Final = 300
"""Characters of a status line."""


def send(address: str, message: bytes) -> None:
    """
    Send a datagram.

    @param address: a path, or an abstract name with C{@} before it.
    @raise BlockingIOError: the socket there has no room now.
    @raise OSError: nobody is there, or we may not.
    """
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(message, name)


class Notifier:
    """
    Tells the service manager how the server is.

    @ivar watchdog: seconds without a word after which the manager takes the server for stuck; 0.0 if it does
        not look.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        address: str,
        watchdog: float,
        describe: Callable[[], str],
        send: Callable[[str, bytes], None] = send,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """
        @param clock: the reactor: when that is stuck, the watchdog hears nothing.
        @param address: the manager's socket.
        @param describe: what the server does, in a few words.
        @param monotonic_ns: nanoseconds of the system's own monotonic clock.
        """
        self.watchdog = watchdog
        self._clock = clock
        self._address = address
        self._describe = describe
        self._send = send
        self._monotonic_ns = monotonic_ns
        self._timer: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._unsent: deque[str] = deque(maxlen=MOST_UNSENT)
        self._status = ""
        self._is_ready = False
        self._has_complained = False

    def ready(self, main_pid: int | None = None) -> None:
        """
        The server serves.

        @param main_pid: our process, where it has taken the place of another one.
        """
        self._is_ready = True
        self._status = self._shown()
        main = "" if main_pid is None else f"\nMAINPID={main_pid}"
        self._tell(f"READY=1{main}\nSTATUS={self._status}")
        if self._timer is None:
            self._timer = self._clock.callLater(self._pause, self._tick)

    def reloading(self) -> None:
        """Files are read again; L{ready} is to follow."""
        if self._is_ready:
            self._tell(f"RELOADING=1\nMONOTONIC_USEC={self._monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The server ends."""
        if self._is_ready:
            self._is_ready = False
            self._tell("STOPPING=1\nSTATUS=ends")

    def stop(self) -> None:
        """Tell nothing more."""
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        self._timer = self._retry = None

    @property
    def _pause(self) -> float:
        return self.watchdog / 2 or STATUS_SECONDS

    def _tick(self) -> None:
        self._timer = self._clock.callLater(self._pause, self._tick)
        status = self._shown()
        lines = ["WATCHDOG=1"] if self.watchdog else []
        # What it does when it ends has been told.
        changed = self._is_ready and status != self._status
        if changed:
            lines.append(f"STATUS={status}")
        # Nothing of this is kept: the next one says it as well.
        if lines and self._retry is None and self._has_room("\n".join(lines)) and changed:
            self._status = status

    def _shown(self) -> str:
        return " ".join(self._describe().split())[:MOST_STATUS]

    def _tell(self, message: str) -> None:
        self._unsent.append(message)
        if self._retry is None:
            self._send_all()

    def _send_all(self) -> None:
        self._retry = None
        while self._unsent:
            if not self._has_room(self._unsent[0]):
                self._retry = self._clock.callLater(RETRY_SECONDS, self._send_all)
                return
            self._unsent.popleft()

    def _has_room(self, message: str) -> bool:
        """Send it, unless the manager has no room for it. One that is gone is not waited for."""
        try:
            self._send(self._address, message.encode("utf-8", "backslashreplace"))
        except BlockingIOError:
            return False
        except OSError as error:
            if not self._has_complained:
                self._has_complained = True
                self.log.warn(
                    "the service manager at NOTIFY_SOCKET={address} cannot be told anything: {why}",
                    address=self._address,
                    why=error.strerror or error,
                )
        return True


def notifier(
    clock: IReactorTime,
    environ: Mapping[str, str],
    describe: Callable[[], str],
    pid: Callable[[], int] = os.getpid,
) -> Notifier | None:
    """
    What this process was started with.

    @param environ: may have C{NOTIFY_SOCKET}, C{WATCHDOG_USEC} and C{WATCHDOG_PID}.
    @return: C{None} where no service manager wants to be told.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return None
    if address[0] not in "/@" or len(address) == 1:
        Notifier.log.warn(
            "NOTIFY_SOCKET={address} is neither a path nor an abstract name; nobody is told", address=address
        )
        return None
    return Notifier(clock, address, _watchdog(environ, pid()), describe)


def _watchdog(environ: Mapping[str, str], pid: int) -> float:
    """Seconds of the watchdog, 0.0 where there is none, or where it is meant for another process."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return 0.0
    if not (microseconds.isascii() and microseconds.isdecimal()):
        return 0.0
    return int(microseconds) / 1_000_000
