"""
The server that runs, as the one sees it that is to take its place.

Both speak over a Unix socket: lines of JSON, and descriptors that come with them. This side blocks, as it
belongs to a start; L{txgear.daemon.handover} is the other one. In order:

 1. C{handover} (the number of this protocol), C{version} and C{pid}, from the new server and then from the
    old one; that has also C{store} (its name), C{sockets} and C{pid_file} (how many descriptors follow)
 2. for each descriptor C{kind}, C{where} and C{port}
 3. C{end}, from the new server, which has checked all that it can
 4. C{released}, from the old one: it has stopped, and its store is closed
 5. C{done}, from the new server, which has started; C{pid_file} is whether it has taken that

If the connection is lost before C{done}, the old server starts again on its sockets, which it has kept. If it
is lost after C{end} and before C{released}, the old one is no more.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from txgear._version import __version__
from txgear.errors import ConfigurationError
from txgear.net.ownports import OwnSocket, Place

PROTOCOL: Final = 1
"""Changes whenever a server of another number could not be understood."""
ANSWER_SECONDS: Final = 5.0
"""How long the old server may take to answer: it may be in the middle of long work."""
RELEASE_SECONDS: Final = 5.0
"""How long the old server may take to let go of its store. Who connects meanwhile waits."""
AGAIN_SECONDS: Final = 0.05
"""Seconds between two looks, where the server at the path has just been replaced by another one."""
PID_FILE: Final = "pid-file"
"""What a descriptor is, beside the kinds of L{txgear.net.ownports}."""
LONGEST_PATH: Final = 90
"""Bytes of the path; that of a Unix socket may have 107, and a part is for our own."""
READ_SIZE: Final = 16 * 1024
PASSED_AT_ONCE: Final = 253
"""Descriptors that the system passes with one message."""
_CREDENTIALS: Final = struct.Struct("=iII")
_INT: Final = struct.Struct("=i")


def peer_uid(sock: socket.socket) -> int:
    """The user who has connected to a Unix socket, or listens there."""
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(packed)[1])


def is_ours(uid: int) -> bool:
    """Whether that user may have our sockets, and we his: it is our own user, or root."""
    return uid in (0, os.geteuid())


def check_place(path: str) -> None:
    """
    See that nobody else can put a socket in the place of ours.

    @raise ConfigurationError: somebody can, or there is no place for a socket.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        raise ConfigurationError("--handover: this system does not tell who connects to a Unix socket")
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ConfigurationError(f"--handover {path}: the path has more than {LONGEST_PATH} bytes")
    folder = os.path.dirname(path)
    try:
        status = os.stat(folder)
    except OSError as error:
        raise ConfigurationError(f"--handover {path}: the folder {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigurationError(f"--handover {path}: {folder} is no folder")
    if not is_ours(status.st_uid) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(
            f"--handover {path}: the folder {folder} is not for this user alone to write:"
            " others could pass us their sockets"
        )
    if os.path.lexists(path) and not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise ConfigurationError(f"--handover {path}: it is a file, and no socket")


class Channel:
    """
    A blocking connection.

    @ivar descriptors: those that have come, in order; whoever takes one closes it.
    """

    def __init__(self, sock: socket.socket, seconds: Callable[[], float] = time.monotonic) -> None:
        self._socket = sock
        self._seconds = seconds
        self._buffer = b""
        self.descriptors: deque[int] = deque()

    def send(self, **message: Any) -> None:
        """Send one line. What the other side does not hear any more it tells by its end."""
        try:
            self._socket.sendall(json.dumps(message).encode("ascii") + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            return

    def receive(self, patience: float) -> dict[str, Any] | None:
        """
        Read one line.

        @param patience: seconds that it may take.
        @return: C{None} if the other side has gone.
        @raise TimeoutError: none has come.
        @raise ValueError: it is none of this protocol.
        """
        ends = self._seconds() + patience
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(ends - self._seconds(), 0.001))
            try:
                # Not by socket.recv_fds, which drops the flags.
                data, ancillary, _, _ = self._socket.recvmsg(
                    READ_SIZE, socket.CMSG_LEN(PASSED_AT_ONCE * _INT.size), socket.MSG_CMSG_CLOEXEC
                )
            except ConnectionResetError:
                return None
            for level, kind, packed in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    whole = packed[: len(packed) // _INT.size * _INT.size]
                    self.descriptors.extend(number for (number,) in _INT.iter_unpack(whole))
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(line)
        return message

    def close(self) -> None:
        """Hang up, and close the descriptors that nobody has taken."""
        self._socket.close()
        while self.descriptors:
            os.close(self.descriptors.popleft())


class PidFileOffer(NamedTuple):
    """
    A pid file that is locked.

    @ivar path: its path.
    @ivar descriptor: its number here.
    """

    path: str
    descriptor: int


class Predecessor:
    """
    A server that runs, and hands over.

    @ivar pid: its process.
    @ivar store: the name of its store, C{None} if it has none.
    @ivar sockets: on which it listens.
    @ivar pid_file: its pid file, or C{None}; whoever takes it sets this to C{None}.
    """

    def __init__(self, path: str, channel: Channel, answer: dict[str, Any]) -> None:
        """
        @param answer: what it said first.
        @raise TimeoutError: not all has come that it announced.
        @raise ValueError: that makes no sense.
        """
        self._path = path
        self._channel = channel
        self.pid = int(answer["pid"])
        self.store: str | None = answer["store"]
        self.sockets: list[OwnSocket] = []
        self.pid_file: PidFileOffer | None = None
        for _ in range(answer["sockets"] + answer["pid_file"]):
            message = channel.receive(ANSWER_SECONDS)
            if message is None or not channel.descriptors:
                raise ValueError("a descriptor is missing")
            place = Place(message["kind"], message["where"], message["port"])
            if place.kind == PID_FILE:
                self.pid_file = PidFileOffer(place.where, channel.descriptors.popleft())
            else:
                sock = socket.socket(fileno=channel.descriptors.popleft())
                self.sockets.append(OwnSocket(place, sock, is_owner=False))

    def end(self) -> None:
        """
        Have it end, and wait until it has let go of its store.

        @raise ConfigurationError: it does not. It goes on then.
        """
        self._channel.send(end=True)
        try:
            answer = self._channel.receive(RELEASE_SECONDS)
        except TimeoutError as error:
            raise ConfigurationError(
                f"--handover {self._path}: the server there, process {self.pid}, has not let go of its store"
                f" within {RELEASE_SECONDS:g} seconds; it goes on"
            ) from error
        if answer is not None and "refused" in answer:
            raise ConfigurationError(f"--handover {self._path}: {answer['refused']}")
        # One that has gone holds nothing any more.

    def done(self, has_pid_file: bool) -> None:
        """
        Tell it that it is not needed any more.

        @param has_pid_file: whether its pid file is ours now.
        """
        self._channel.send(done=True, pid_file=has_pid_file)
        self._close()

    def give_up(self) -> None:
        """We have not started. It goes on."""
        self._close()
        for own in self.sockets:
            own.socket.close()

    def _close(self) -> None:
        self._channel.close()
        if self.pid_file is not None:
            os.close(self.pid_file.descriptor)
            self.pid_file = None


def connect(path: str) -> socket.socket | None:
    """
    Connect to the server at a path.

    @return: C{None} if there is none.
    @raise OSError: nobody knows.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(ANSWER_SECONDS)
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            return None
        raise
    return sock


def find_predecessor(
    path: str,
    connect: Callable[[str], socket.socket | None] = connect,
    seconds: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Predecessor | None:
    """
    Ask the server at a path for its sockets. It serves on.

    @return: C{None} if there is no server.
    @raise ConfigurationError: it cannot hand over, or is none of ours.
    """
    check_place(path)
    ends = seconds() + ANSWER_SECONDS
    while True:
        channel = None
        try:
            sock = connect(path)
            if sock is None:
                return None
            channel = Channel(sock, seconds)
            if not is_ours(peer_uid(sock)):
                raise ConfigurationError(f"--handover {path}: it is another user who listens there")
            channel.send(handover=PROTOCOL, version=__version__, pid=os.getpid())
            answer = channel.receive(ANSWER_SECONDS)
            if answer is not None:
                _check(path, answer)
                return Predecessor(path, channel, answer)
        except TimeoutError as error:
            _close(channel)
            raise ConfigurationError(
                f"--handover {path}: the server there does not answer within {ANSWER_SECONDS:g} seconds"
            ) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            _close(channel)
            raise ConfigurationError(f"--handover {path}: what listens there is no txgear") from error
        except OSError as error:
            _close(channel)
            raise ConfigurationError(f"--handover {path}: {error.strerror}") from error
        except BaseException:
            _close(channel)
            raise
        # It has just ended, and perhaps another one has taken its place.
        _close(channel)
        if seconds() >= ends:
            raise ConfigurationError(f"--handover {path}: the server there hangs up")
        sleep(AGAIN_SECONDS)


def _close(channel: Channel | None) -> None:
    if channel is not None:
        channel.close()


def _check(path: str, answer: dict[str, Any]) -> None:
    """
    @raise ConfigurationError: this server does not hand over to us.
    """
    if "refused" in answer:
        raise ConfigurationError(f"--handover {path}: {answer['refused']}")
    if answer["handover"] != PROTOCOL:
        raise ConfigurationError(
            f"--handover {path}: the server there, txgear {answer['version']}, hands over in another way:"
            " stop it first"
        )
