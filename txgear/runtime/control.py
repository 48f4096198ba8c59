"""
What the supervisor and its children say to each other: lines of JSON on a socket that only they have.

A child is told its L{Task} first. It says L{Loaded}, L{Ready}, and L{Left} at its end. The end of the line is
the end of the other side: a child whose supervisor is gone finishes its jobs and leaves.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from txgear.errors import TxgearError
from txgear.runtime.config import RuntimeTable

MOST_LINE: Final = 1024 * 1024
"""Bytes of a message at the most: a task has all tables of a group in it."""
PIECE: Final = 64 * 1024
MOST_TEXT: Final = 4096
"""Characters of a reason at the most; the end of a traceback counts."""


class ControlError(TxgearError):
    """The other side says what cannot be understood, or is gone."""


# To a child


class Task(Struct, frozen=True, tag="task", kw_only=True):
    """
    What a child is there for.

    @ivar number: its number at the supervisor.
    @ivar id: what it is called at the servers.
    @ivar key: the secret by which servers know it again.
    @ivar runtime: the key of the supervisor.
    @ivar group: the name of its group.
    @ivar table: all of the file, with this group alone.
    """

    number: int
    id: str
    key: str
    runtime: str
    group: str
    table: RuntimeTable


class Leave(Struct, frozen=True, tag="leave"):
    """
    Take no more jobs, finish those in hand, and end.

    @ivar reason: why, in words.
    """

    reason: str


class FailJobs(Struct, frozen=True, tag="fail"):
    """
    Tell the servers that the jobs in hand have failed, and end.

    @ivar reason: what the servers are told.
    """

    reason: str


class Answer(Struct, frozen=True, tag="answer"):
    """
    What becomes of a word that a server has said to the child, and that the supervisor heeds.

    @ivar number: that of the L{Asked}.
    @ivar done: whether it is done.
    @ivar text: for people to read.
    """

    number: int
    done: bool
    text: str


# From a child


class Loaded(Struct, frozen=True, tag="loaded"):
    """
    The code is there; servers are connected to now.

    @ivar functions: the names of all functions.
    """

    functions: list[str]


class Ready(Struct, frozen=True, tag="ready"):
    """A server has seen it ask for work, and answered."""


class Failed(Struct, frozen=True, tag="failed"):
    """
    It cannot work, and ends.

    @ivar reason: why: the last lines of a traceback, for instance.
    """

    reason: str


class Leaving(Struct, frozen=True, tag="leaving"):
    """
    It leaves, and not because the supervisor has said so.

    @ivar for_good: whether nobody is to take its place.
    """

    for_good: bool


class Asked(Struct, frozen=True, tag="asked"):
    """
    A server has said a word to the child that is for the supervisor.

    @ivar number: counts these.
    @ivar word: C{grow}, C{shrink} or C{restart}.
    """

    number: int
    word: str


class Left(Struct, frozen=True, tag="left"):
    """No job is in hand any more, and none will be: it ends."""


ToChild = Task | Leave | FailJobs | Answer
FromChild = Loaded | Ready | Failed | Leaving | Asked | Left

_encode: Final = msgspec.json.Encoder().encode


class Lines:
    """Messages out of the bytes of a socket."""

    def __init__(self, kinds: Any) -> None:
        """
        @param kinds: the union of the messages that may come.
        """
        self._decode = msgspec.json.Decoder(kinds).decode
        self._rest = b""

    def take(self, data: bytes) -> list[Any]:
        """
        @param data: the next bytes.
        @return: the messages that have come whole.
        @raise ControlError: one is too long, or none of those that may come.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MOST_LINE:
            raise ControlError(f"a message is longer than {MOST_LINE} bytes")
        try:
            return [self._decode(line) for line in lines]
        except msgspec.MsgspecError as error:
            raise ControlError(f"a message cannot be understood: {error}") from error


def line(message: Struct) -> bytes:
    """A message, as it goes over the socket."""
    return _encode(message) + b"\n"


def cut(text: str) -> str:
    """The end of a text that may be long."""
    return text if len(text) <= MOST_TEXT else "..." + text[-MOST_TEXT:]


def first_message(control: socket.socket, lines: Lines) -> list[Any]:
    """
    Wait for the first messages, without a reactor.

    @raise ControlError: the other side is gone.
    """
    while True:
        data = control.recv(PIECE)
        if not data:
            raise ControlError("the other side is gone")
        messages = lines.take(data)
        if messages:
            return messages


class ControlEnd(FileDescriptor):
    """
    One end of the line, in a reactor.
    """

    def __init__(
        self,
        reactor: Any,
        control: socket.socket,
        lines: Lines,
        received: Callable[[Any], object],
        closed: Callable[[str], object],
    ) -> None:
        """
        @param control: the socket; it is this object's from now on.
        @param received: called with each message.
        @param closed: called once, with the reason, when the other side is gone or says nonsense; not for
            L{close}.
        """
        super().__init__(reactor)
        self._control = control
        self._lines = lines
        self._received = received
        self._closed: Callable[[str], object] | None = closed
        control.setblocking(False)
        self.connected = True
        self.startReading()

    def fileno(self) -> int:
        return self._control.fileno()

    def send(self, message: Struct) -> None:
        """
        Say something, at once if it can be: the process may be about to end. Nothing happens if the other
        side is gone.
        """
        self.write(line(message))
        if self.connected and (problem := self.doWrite()) is not None:
            self.connectionLost(Failure(problem))

    def close(self) -> None:
        """Hear and say nothing more."""
        self._closed = None
        self.connectionLost(Failure(ConnectionDone()))

    def doRead(self) -> Any:
        try:
            data = self._control.recv(PIECE)
        except BlockingIOError:
            return None
        except OSError as error:
            return ConnectionLost(str(error))
        if not data:
            return ConnectionDone()
        try:
            messages = self._lines.take(data)
        except ControlError as error:
            return ConnectionLost(str(error))
        for message in messages:
            if not self.connected:
                break
            self._received(message)
        return None

    def writeSomeData(self, data: bytes) -> Any:
        try:
            return os.write(self._control.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            return ConnectionLost(str(error))

    def connectionLost(self, reason: Failure) -> None:
        if not self.connected:
            return
        super().connectionLost(reason)
        self.stopReading()
        self.stopWriting()
        self._control.close()
        closed, self._closed = self._closed, None
        if closed is not None:
            closed(reason.getErrorMessage())
