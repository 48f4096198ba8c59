"""
A file by which one server keeps all others off.
"""

from __future__ import annotations

import fcntl
import os
from typing import IO

from txgear.errors import StoreUnusable


def _private(path: str, flags: int) -> int:
    """For C{open}: a file that is new is for its owner alone."""
    return os.open(path, flags, 0o600)


class FileLock:
    """
    A lock that the system gives up when the process ends, however it does. The file says which
    process that is, and stays: a file that comes and goes would be another one for each server.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def take(self) -> None:
        """
        Take the lock, unless it is held here already.

        @raise StoreUnusable: somebody else has it, or there can be no such file.
        """
        if self._file is not None:
            return
        try:
            file = open(self._path, "a+", encoding="ascii", opener=_private)  # noqa: SIM115
        except OSError as error:
            raise StoreUnusable(f"cannot open the lock file {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise StoreUnusable(
                f"it is in use by another server, process {holder}, which holds {self._path}"
            ) from error
        except OSError as error:
            file.close()
            raise StoreUnusable(f"cannot lock the file {self._path}: {error.strerror}") from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give the lock up, if it is held."""
        if self._file is not None:
            self._file.close()
            self._file = None
