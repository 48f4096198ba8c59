"""
Locks on files, by which one server keeps all others off a database.
"""

from __future__ import annotations

import fcntl
import os
import sys
from typing import IO, Final

from txgear.errors import StoreUnusable

FLOCK_IS_SEPARATE: Final = sys.platform == "linux"
"""
Whether the locks of C{flock} are apart from those of C{fcntl}, which SQLite takes. On the BSDs and macOS they
are one kind, and SQLite would find its own file locked.
"""


def _private(path: str, flags: int) -> int:
    """An opener for C{open}: a new file is for its owner alone."""
    return os.open(path, flags, 0o600)


def is_at(path: str, descriptor: int) -> bool:
    """Whether an open file is still the one at this path."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


class FileLock:
    """
    A lock file. The system releases the lock when the process ends, however that happens. The file
    holds the process's id. It is not removed: two servers could then lock two files of one name.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def take(self) -> None:
        """
        Take the lock, unless this object has it already. If the file was removed meanwhile, a new one
        is made.

        @raise StoreUnusable: another process has the lock, or the file cannot be made.
        """
        if self._file is not None:
            if is_at(self._path, self._file.fileno()):
                return
            self.release()
        try:
            file = open(self._path, "ab+", opener=_private)  # noqa: SIM115
        except OSError as error:
            # Its name says nothing to whoever has named a store.
            folder = os.path.dirname(self._path)
            raise StoreUnusable(
                f"cannot open the lock file {self._path}: {error.strerror}:"
                f" let the server's user write the folder {folder}, or name another file"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().decode("ascii", "replace").strip() or "unknown"
            file.close()
            raise StoreUnusable(
                f"it is in use by another server, process {holder}, which holds {self._path};"
                " --store names another one"
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
        """Whether somebody has removed the file that is locked."""
        return self._file is not None and not is_at(self._path, self._file.fileno())

    def release(self) -> None:
        """Release the lock, if this object has it."""
        if self._file is not None:
            self._file.close()
            self._file = None


class DatabaseFile:
    """
    The file of a database, kept open and locked. A second server finds it in use even where it reaches
    the file by another name, or where the L{FileLock} beside it was removed. L{check} tells when the
    file itself is removed or replaced.

    POSIX releases all C{fcntl} locks of a process on a file when the process closes any descriptor of
    it, and SQLite has such locks. So this descriptor is opened before SQLite opens the file, and closed
    after SQLite has closed it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def take(self) -> None:
        """
        Open and lock the file, unless that is done already. It is made if it is not there.

        @raise StoreUnusable: another server has it, or it cannot be made.
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
        if not FLOCK_IS_SEPARATE:
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
        """Whether the file is open here."""
        return self._descriptor >= 0

    def check(self) -> None:
        """
        See that the file is still at its place.

        @raise StoreUnusable: it is not.
        """
        if is_at(self._path, self._descriptor):
            return
        found = "another file is at the place of" if os.path.lexists(self._path) else "somebody has removed"
        raise StoreUnusable(
            f"{found} {self._path}: bring the one back that the server has open, or start the server anew"
        )

    def release(self) -> None:
        """Close the file, if it is open; SQLite has closed it already."""
        if self.held:
            os.close(self._descriptor)
            self._descriptor = -1
