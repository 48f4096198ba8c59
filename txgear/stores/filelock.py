"""
Files by which one server keeps all others off.
"""

from __future__ import annotations

import fcntl
import os
import sys
from typing import IO, Final

from txgear.errors import StoreUnusable

APART: Final = sys.platform == "linux"
"""
Whether C{flock} leaves the locks alone that SQLite takes by C{fcntl}: the BSDs and macOS count both as one
kind, so that SQLite would find its own file locked.
"""


def _private(path: str, flags: int) -> int:
    """For C{open}: a file that is new is for its owner alone."""
    return os.open(path, flags, 0o600)


def is_at(path: str, descriptor: int) -> bool:
    """Whether an open file is what stands at this path still."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


class FileLock:
    """
    A lock that the system gives up when the process ends, however it does. The file says which
    process that is, and stays: a file that comes and goes would be another one for each server.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def take(self) -> None:
        """
        Take the lock, unless it is held here already. If somebody has removed its file meanwhile,
        there is a new one.

        @raise StoreUnusable: somebody else has it, or there can be no such file.
        """
        if self._file is not None:
            if is_at(self._path, self._file.fileno()):
                return
            self.release()
        try:
            file = open(self._path, "ab+", opener=_private)  # noqa: SIM115
        except OSError as error:
            raise StoreUnusable(f"cannot open the lock file {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().decode("ascii", "replace").strip() or "unknown"
            file.close()
            raise StoreUnusable(
                f"it is in use by another server, process {holder}, which holds {self._path}"
            ) from error
        except OSError as error:
            file.close()
            raise StoreUnusable(f"cannot lock the file {self._path}: {error.strerror}") from error
        file.truncate(0)
        file.write(b"%d\n" % os.getpid())
        file.flush()
        self._file = file

    @property
    def lost(self) -> bool:
        """Whether somebody has removed the file that is held."""
        return self._file is not None and not is_at(self._path, self._file.fileno())

    def release(self) -> None:
        """Give the lock up, if it is held."""
        if self._file is not None:
            self._file.close()
            self._file = None


class OwnFile:
    """
    The file of a database, held by itself: whoever reaches it by another name, or when the lock beside it
    was removed, finds it in use; and when it is removed or replaced, that is seen.

    POSIX takes all of a process's C{fcntl} locks on a file away when it closes any descriptor of that,
    and SQLite's are such locks: this descriptor is opened before SQLite opens the file, and closed
    after it has closed that.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def take(self) -> None:
        """
        Hold the file, unless it is held here already; it is made if it is not there.

        @raise StoreUnusable: another server has it, or there can be none.
        """
        if self.held:
            return
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except IsADirectoryError as error:
            raise StoreUnusable("it is a folder, not a file") from error
        except PermissionError as error:
            raise StoreUnusable(
                f"cannot open {self._path}: {error.strerror}: "
                "let the server's user write the file and its folder"
            ) from error
        if not APART:
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Nothing else in this process has it open: no lock of SQLite's is lost.
            self.release()
            if isinstance(error, BlockingIOError):
                raise StoreUnusable(
                    f"it is in use by another server, which has {self._path} by another name,"
                    " or whose lock file was removed"
                ) from error
            raise StoreUnusable(f"cannot lock the file {self._path}: {error.strerror}") from error

    @property
    def held(self) -> bool:
        """Whether it is held here."""
        return self._descriptor >= 0

    def check(self) -> None:
        """
        @raise StoreUnusable: the file is not at its place any more.
        """
        if is_at(self._path, self._descriptor):
            return
        found = "another file is at the place of" if os.path.lexists(self._path) else "somebody has removed"
        raise StoreUnusable(
            f"{found} {self._path}: bring the one back that the server has open, or start the server anew"
        )

    def release(self) -> None:
        """Let go of it, if it is held; SQLite has closed it."""
        if self.held:
            os.close(self._descriptor)
            self._descriptor = -1
