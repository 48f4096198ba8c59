"""A service manager's end of the notification socket."""

from __future__ import annotations

import socket
from pathlib import Path

from processes import PATIENCE


class Manager:
    """Listens at a path, or at an abstract name, and keeps what it is told."""

    def __init__(self, folder: Path, abstract: bool = False) -> None:
        path = folder / "notify"
        self.address = f"@{path}" if abstract else str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{path}" if abstract else str(path))
        self._socket.settimeout(PATIENCE)

    def environ(self, watchdog: float = 0.0) -> dict[str, str]:
        """What a service finds in its environment, with a watchdog of so many seconds."""
        added = {"WATCHDOG_USEC": str(int(watchdog * 1e6))} if watchdog else {}
        return {"NOTIFY_SOCKET": self.address, **added}

    def next(self, timeout: float = PATIENCE) -> dict[str, str]:
        """The next message."""
        self._socket.settimeout(timeout)
        lines = self._socket.recv(4096).decode().split("\n")
        return dict(line.partition("=")[::2] for line in lines)

    def until(self, name: str) -> dict[str, str]:
        """The next message with this name; others before it are passed over."""
        while name not in (message := self.next()):
            pass
        return message

    def close(self) -> None:
        self._socket.close()
