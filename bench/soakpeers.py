"""
The peers of a soak: clients, workers and operators, most of them with manners.

All share one L{Scene}, and tell its book what they do before they do it and
what they hear when they hear it. Sockets are plain ones, so that every way to
leave can be had: an end, a reset, half an end, half a packet.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

from soakbook import PATIENCE, Book
from soakjobs import FILLING, End, Submit, Work
from txgear.errors import ProtocolError
from txgear.protocol import constants as c
from txgear.protocol.packets import PACKETS, Decoder

FUNCTIONS: Final = [b"soak%d" % number for number in range(30)]
WEIGHTS: Final = [1 / (rank + 5) for rank in range(len(FUNCTIONS))]
"""Some functions are busier than their workers can bear for long, in others most workers sleep."""
SHARED_UNIQUES: Final = 8
"""Uniques of each function that everybody uses."""
SMALL_BUFFER: Final = 8192
SMALL_SEGMENT: Final = 1000
"""
Bytes that the system keeps for a peer that reads slowly, and of its segments:
with large ones the server's system takes 3 MB before anything must wait in the
server itself, with these some 90 kB.
"""
HANG_UP_SECONDS: Final = 10.0
"""How long the server may take to see that a peer has gone or talks nonsense."""
READ_SIZE: Final = 1 << 18

T = TypeVar("T")


class Scene:
    """
    What all peers of a soak share.

    @ivar calm: true once nobody is to misbehave any more.
    @ivar peers: everybody who is connected.
    @ivar common: works that others may submit as well, by the unique C{-}.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int, rng: random.Random, book: Book) -> None:
        self.loop = loop
        self.port = port
        self.rng = rng
        self.book = book
        self.calm = False
        self.peers: dict[Peer, None] = {}
        self.common: list[Work] = []
        self.works = 0
        self.names = 0

    def new_work(self, due: float = 0.0, reducer: bytes = b"") -> Work:
        """Anything to be done, most of it once only."""
        rng = self.rng
        if not due and not reducer and self.common and rng.random() < 0.07:
            return rng.choice(self.common)
        self.works += 1
        function = rng.choices(FUNCTIONS, WEIGHTS)[0]
        draw = rng.random()
        if draw < 0.25:
            unique = b"shared%d" % rng.randrange(SHARED_UNIQUES)
        elif draw < 0.5:
            unique = b"own%d" % self.works
        elif draw < 0.6:
            unique = c.UNIQUE_FROM_WORKLOAD
        else:
            unique = b""
        work = Work(self.works, function, unique, reducer, self._new_filling(), due)
        if unique == c.UNIQUE_FROM_WORKLOAD and not due and not reducer:
            work.shared = True
            self.common.append(work)
            if len(self.common) > 20:
                del self.common[0]
        return work

    def new_work_of(
        self, function: bytes, unique: bytes = b"", due: float = 0.0, large: bool = False
    ) -> Work:
        """Something of this function to be done."""
        self.works += 1
        return Work(self.works, function, unique, b"", self._new_filling(large), due)

    def _new_filling(self, large: bool = False) -> tuple[int, int]:
        rng = self.rng
        draw = rng.random()
        if large or draw < 0.01:
            size = rng.randrange(70_000, 300_000)
        elif draw < 0.05:
            size = rng.randrange(1000, 20_000)
        else:
            size = rng.randrange(300)
        start = rng.randrange(len(FILLING) - size)
        return start, start + size


@dataclass(eq=False)
class Question:
    """
    What a peer waits for, in order.

    @ivar answer: the type of the packet that answers it.
    @ivar text: what the answer must repeat.
    @ivar end: the attempt to end a job that went out just before.
    @ivar foreign: whether an error must come first.
    """

    answer: int
    at: float
    text: bytes = b""
    submit: Submit | None = None
    end: End | None = None
    foreign: bool = False


class Peer:
    """
    One connection.

    @ivar gone: whether it is closed.
    @ivar leaving: whether it asks for nothing new any more.
    @ivar forsaken: whether the server is to end the connection, and nothing that still comes counts.
    """

    kind: ClassVar[str]

    def __init__(self, scene: Scene, lifetime: float, small_buffer: bool = False) -> None:
        scene.names += 1
        self.name = f"{self.kind} {scene.names}"
        self.scene = scene
        self.book = scene.book
        self.rng = scene.rng
        self.gone = self.leaving = self.forsaken = False
        self.dozing = self._mute = False
        self.questions: deque[Question] = deque()
        self._decoder = Decoder(c.RESPONSE_MAGIC)
        self._out = bytearray()
        self._connecting = True
        self._sock = socket.socket()
        self._fd = self._sock.fileno()
        self._awake_since = time.monotonic()
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if small_buffer:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT)
        scene.peers[self] = None
        self.book.counts[f"{self.kind} connections"] += 1
        error = self._sock.connect_ex(("127.0.0.1", scene.port))
        if error not in {0, errno.EINPROGRESS}:
            self._refused(error)
            return
        scene.loop.add_writer(self._fd, self._writable)
        self.later(lifetime, self.leave)

    def _refused(self, error: int) -> None:
        self.book.violation("everybody gets a connection", f"{self.name}: {os.strerror(error)}")
        self.close()

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something in so many seconds, if the connection is there then."""
        self.scene.loop.call_later(seconds, self._if_here, do)

    def _if_here(self, do: Callable[[], None]) -> None:
        if not self.gone and not self.forsaken:
            do()

    def _writable(self) -> None:
        if self._connecting:
            error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self._refused(error)
                return
            self._connecting = False
            self.scene.loop.add_reader(self._fd, self._readable)
        data, self._out = self._out, bytearray()
        self.scene.loop.remove_writer(self._fd)
        if data:
            self.send(bytes(data))

    def send(self, data: bytes) -> None:
        """Send, now or as soon as the system takes it."""
        if self.gone or self._mute:
            return
        if self._out or self._connecting:
            self._out += data
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._hung_up(error)
            return
        if sent < len(data):
            self._out += memoryview(data)[sent:]
            self.scene.loop.add_writer(self._fd, self._writable)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._hung_up(error)
            return
        if not data:
            self._hung_up(None)
            return
        try:
            for kind, arguments in self._decoder.feed(data):
                if self.gone:
                    return
                self.packet(kind, [bytes(argument) for argument in arguments])
        except ProtocolError as error:
            self.book.violation("the server's packets are whole", f"{self.name}: {error}")
            self.close()

    def _hung_up(self, error: OSError | None) -> None:
        if not self.forsaken:
            self.book.violation("the server hangs up on nobody", f"{self.name}: {error or 'end of file'}")
        self.close()

    def packet(self, kind: int, arguments: list[bytes]) -> None:
        """A packet or a line has come."""
        raise NotImplementedError

    def ask(self, question: Question, data: bytes) -> None:
        """Send something that will be answered."""
        self.questions.append(question)
        self.send(data)

    def answered(self, kind: int, arguments: list[bytes]) -> Question | None:
        """Take the question that this packet answers."""
        question = self.questions.popleft() if self.questions else None
        if question is None or question.answer != kind:
            wanted = name_of(question.answer) if question is not None else "nothing"
            detail = f"{self.name}: {shown(kind, arguments)}, not {wanted}"
            self.book.violation("answers come in order", detail)
            return None
        if question.text and question.text != arguments[0]:
            self.book.violation("an answer repeats what was asked", f"{self.name}: {shown(kind, arguments)}")
        return question

    def check_patience(self, now: float) -> None:
        """Complain if an answer takes too long."""
        if self.dozing or self.forsaken or now - self._awake_since < PATIENCE:
            return
        if self._connecting:
            self.book.violation("everybody gets a connection", f"{self.name}: not in time")
            self.close()
        elif self.questions and now - self.questions[0].at > PATIENCE:
            detail = f"{self.name}: no {name_of(self.questions[0].answer)}"
            self.book.violation("every packet is answered", detail)
            self.close()

    def doze(self, seconds: float) -> None:
        """Read nothing for a while."""
        if self._connecting or self.dozing:
            return
        self.dozing = True
        self.scene.loop.remove_reader(self._fd)
        self.scene.loop.call_later(seconds, self._wake_up)

    def _wake_up(self) -> None:
        self.dozing = False
        if not self.gone:
            self._awake_since = time.monotonic()
            self.scene.loop.add_reader(self._fd, self._readable)

    # Ways to leave

    def leave(self) -> None:
        """Its time is over."""
        raise NotImplementedError

    def left(self) -> None:
        """Tell the book what is not awaited any more."""

    def close(self, reset: bool = False) -> None:
        """End the connection, in order or by a reset."""
        if self.gone:
            return
        self.gone = True
        del self.scene.peers[self]
        if not self.forsaken:
            self.left()
        self.scene.loop.remove_reader(self._fd)
        self.scene.loop.remove_writer(self._fd)
        if reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def tear(self, packet: bytes) -> None:
        """Send the beginning of a packet and vanish, at once or after a while."""
        self.leaving = True
        self.send(packet[: self.rng.randrange(1, len(packet))])
        self._mute = True
        if self.rng.random() < 0.5:
            self.close(reset=self.rng.random() < 0.5)
        else:
            self.later(self.rng.uniform(0.5, 3), self.close)

    def forsake(self, nonsense: bytes) -> None:
        """Make the server end the connection: by nonsense, or (if it is empty) by half an end."""
        if self._out or self._connecting or self.dozing or self.gone:
            self.close()
            return
        self.leaving = True
        if nonsense:
            self.send(nonsense)
        if self.gone:
            return
        self.left()
        self.forsaken = True
        if not nonsense:
            self._sock.shutdown(socket.SHUT_WR)
        self.scene.loop.call_later(HANG_UP_SECONDS, self._not_ended)

    def _not_ended(self) -> None:
        if not self.gone:
            self.book.violation("the server notices who is gone", self.name)
            self.close()


def choose(rng: random.Random, weights: Mapping[T, float]) -> T:
    """One of the keys, each as often as its weight says."""
    return rng.choices(list(weights), list(weights.values()))[0]


def name_of(kind: int) -> str:
    """A packet's type, to read."""
    return PACKETS[kind][0] if kind in PACKETS else "line" if kind == c.TEXT else f"packet of kind {kind}"


def shown(kind: int, arguments: list[bytes]) -> str:
    """A packet, to read."""
    return f"{name_of(kind)} {[argument[:60] for argument in arguments]}"
