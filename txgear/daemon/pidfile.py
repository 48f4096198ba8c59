"""
The file with the number of the server's process.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from txgear.errors import ConfigurationError

MOST_BYTES: Final = 64
"""What is read of a pid file: a number is shorter."""


def is_another_twistd(pid: int, processes: Path = Path("/proc")) -> bool:
    """
    Whether that process is a C{twistd} that runs something else, which does not lock its pid file.

    @param processes: what the system tells of processes; where it tells nothing, nobody is one.
    """
    try:
        words = (processes / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"twistd" in map(os.path.basename, words) and b"txgear" not in words


class PidFile:
    """
    A pid file that is locked as long as its server lives.

    A left file does not stop a server, whatever process has its number now: numbers are used again, in a
    container above all, where each first process is 1. Twisted's own pid file goes by the number, and has
    to be removed by hand then.

    @ivar is_borrowed: whether another server holds it as well, and its number stands in it.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._descriptor: int | None = None
        self.is_borrowed = False

    @property
    def descriptor(self) -> int | None:
        """The file, while we hold it. Whoever has a duplicate holds it, too."""
        return self._descriptor

    def borrow(self, descriptor: int) -> bool:
        """
        Hold a file that another server holds: we are to take its place. Its number stays in the file until
        L{confirm}.

        @param descriptor: what the other server holds; it is closed if it is another file.
        @return: whether it is this file.
        """
        if self._descriptor is not None or not self._is_at_its_place(descriptor):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        self.is_borrowed = True
        return True

    def confirm(self) -> None:
        """
        Write our number: the file is ours alone, if we have borrowed it; or ours still, if another server
        has borrowed it and did not start.

        @raise ConfigurationError: somebody has removed the file, and it cannot be had anew.
        """
        self.is_borrowed = False
        if self._descriptor is None or self._is_at_its_place(self._descriptor):
            self._write()
        else:
            os.close(self._descriptor)
            self._descriptor = None
            self.take()

    def _write(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d" % os.getpid(), 0)

    def leave(self) -> None:
        """Let go of the file, which is another server's now."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def take(self) -> None:
        """
        Lock the file and write our number, over one that is left from a process that has ended.

        @raise ConfigurationError: a server that runs has the file; the file has something else than a
            number in it, or another program's number; or it cannot be written.
        """
        while True:
            descriptor = self._opened()
            try:
                self._lock(descriptor)
                self._check(descriptor)
                # The last holder may have removed it, after we opened it and before it was locked.
                if self._is_at_its_place(descriptor):
                    self._descriptor = descriptor
                    self._write()
                    return
            except OSError as error:
                raise self._unwritable(error) from error
            finally:
                if self._descriptor is None:
                    os.close(descriptor)

    def _opened(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"cannot write the pid file {self.path}: {error.strerror}")

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, MOST_BYTES, 0).decode("ascii", "replace").strip()
            raise ConfigurationError(
                f"another server runs, process {holder or 'unknown'}, which holds the pid file {self.path}"
            ) from error

    def _check(self, descriptor: int) -> None:
        """Refuse to overwrite what is not ours, although nobody holds the lock."""
        text = os.pread(descriptor, MOST_BYTES, 0).strip()
        if text and not text.isdigit():
            raise ConfigurationError(f"{self.path} is no pid file: there is something else in it")
        if text and int(text) != os.getpid() and is_another_twistd(int(text)):
            raise ConfigurationError(
                f"another twistd runs, process {int(text)}, and the pid file {self.path} is its own:"
                " name another one"
            )

    def _is_at_its_place(self, descriptor: int) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.stat(self.path), os.fstat(descriptor))
        return False

    def release(self) -> None:
        """Remove the file, if we hold it. Where we may not, as we are another user by now, empty it."""
        if self._descriptor is None:
            return
        if self.is_borrowed:
            self.is_borrowed = False
            self.leave()
            return
        try:
            if self._is_at_its_place(self._descriptor):
                os.unlink(self.path)
        except OSError:
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = None
