"""The clients and workers of a crash test: each a thread with plain sockets, until the server is killed.

They submit jobs of every kind that the protocol has, tell the book what they sent and got, and judge nothing.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final
from zlib import crc32

from crashbook import OTHER, Ask, Book, Ledger, Record, content
from txgear.protocol.constants import GRAB_JOB_OPTIONS, JOB_ASSIGN_OPTIONS, WORKER_HELLO, WORKER_WELCOME
from wirepeer import HEADER, P, packet

#: Seconds in which any answer must come; a store that is away costs five of them.
PATIENCE: Final = 30.0

#: What workloads are cut from: all bytes, NUL included.
FILLING: Final = random.Random(1).randbytes(400_000)

# Of most jobs; with a name of odd bytes; of jobs with a time, whose workers die, that several ask for.
PLAIN: Final = b"plain"
ODD: Final = b"odd %s" + bytes(range(1, 256))
LATER: Final = b"later"
FRAGILE: Final = b"fragile"
JOINED: Final = b"joined"
FUNCTIONS: Final = (PLAIN, ODD, LATER, FRAGILE, JOINED)

_FOREGROUND: Final = (P.SUBMIT_JOB_HIGH, P.SUBMIT_JOB, P.SUBMIT_JOB_LOW)
_BACKGROUND: Final = (P.SUBMIT_JOB_HIGH_BG, P.SUBMIT_JOB_BG, P.SUBMIT_JOB_LOW_BG)
NORMAL: Final = 1


class Gone(Exception):
    """The server has closed the connection, or is not there."""


class Line:
    """A connection: packets out, packets in."""

    def __init__(self, port: int, greeting: bytes = b"") -> None:
        """
        :param greeting: sent at once.
        """
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        except ConnectionError as error:
            raise Gone from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb", 1 << 16)
        try:
            self.send(greeting)
        except Gone:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def cut(self) -> None:
        """End the connection under the hands of the thread that has it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except ConnectionError as error:
            raise Gone from error

    def read(self) -> tuple[int, bytes]:
        """The next packet: its type and its body."""
        _, kind, size = HEADER.unpack(self._exactly(HEADER.size))
        return kind, self._exactly(size)

    def lines(self, command: bytes) -> list[bytes]:
        """The rows of a text command's list answer."""
        self.send(command + b"\n")
        rows: list[bytes] = []
        while (row := self._row()) != b".\n":
            rows.append(row[:-1])
        return rows

    def word(self, command: bytes) -> bytes:
        """A text command's answer of one line."""
        self.send(command + b"\n")
        return self._row().rstrip(b"\r\n")

    def _row(self) -> bytes:
        try:
            row: bytes = self._file.readline()
        except ConnectionError as error:
            raise Gone from error
        if not row.endswith(b"\n"):
            raise Gone
        return row

    def _exactly(self, size: int) -> bytes:
        try:
            data: bytes = self._file.read(size)
        except ConnectionError as error:
            raise Gone from error
        if len(data) < size:
            raise Gone
        return data


# Clients


class Wishes:
    """What one client asks for: jobs of every kind, from its own source of randomness."""

    def __init__(self, client: int, randomness: random.Random, numbers: Iterator[int]) -> None:
        self._client = client
        self._random = randomness
        self._numbers = numbers

    def ask(self) -> tuple[Ask, bytes]:
        """A submit for the background, and its packet."""
        function = self._random.choices((PLAIN, ODD, LATER, FRAGILE), (12, 4, 2, 2))[0]
        unique, workload = self._name(), self._workload()
        reducer = b""
        if function == LATER:
            due = int(time.time() + self._random.choice((0, 1, 2, 3600)))
            workload = workload or self._number()
            data = packet(P.SUBMIT_JOB_EPOCH, function, self._own(unique), b"%d" % due, workload)
            return Ask(
                content(function, self._own(unique), b"", workload), NORMAL, due, True, self._client
            ), data
        if self._random.random() < 0.08:
            reducer = self._random.choice((b"reducer", b"r" * 64))
            unique = self._own(unique)
            data = packet(P.SUBMIT_REDUCE_JOB_BACKGROUND, function, unique, reducer, b"", workload)
            return Ask(content(function, unique, reducer, workload), NORMAL, 0, True, self._client), data
        return self.plain(function, unique, workload, True)

    def plain(self, function: bytes, unique: bytes, workload: bytes, background: bool) -> tuple[Ask, bytes]:
        """A submit of a certain job; those that look the same, or join each other, have one priority."""
        priority = crc32(unique.removeprefix(b"-") or workload) % 3
        kinds = _BACKGROUND if background else _FOREGROUND
        ask = Ask(content(function, unique, b"", workload), priority, 0, background, self._client)
        return ask, packet(kinds[priority], function, unique, workload)

    def shared(self) -> tuple[bytes, bytes]:
        """A unique and a workload for a job that several ask for."""
        return b"joint " + self._number(), self._workload()

    def _number(self) -> bytes:
        return b"%d" % next(self._numbers)

    @staticmethod
    def _own(unique: bytes) -> bytes:
        """A unique that nobody shares, or none."""
        return b"" if unique == b"-" or unique.startswith(b"pool") else unique

    def _name(self) -> bytes:
        draw = self._random.random()
        if draw < 0.4:
            return b""
        if draw < 0.6:
            return b"-"
        if draw < 0.7:
            return b"pool %d" % self._random.randrange(40)
        name = b"own %s \xff\x80" % self._number()
        return name.ljust(64, b"=") if draw < 0.8 else name

    def _workload(self) -> bytes:
        draw = self._random.random()
        if draw < 0.1:
            return b""
        if draw < 0.15:
            return b"pool %d" % self._random.randrange(40)
        size = self._random.randrange(200)
        if draw > 0.9:
            size = self._random.randrange(20_000)
        if draw > 0.995:
            size = 350_000
        start = self._random.randrange(len(FILLING) - size)
        return self._number() + b"\0" + FILLING[start : start + size]


def _answers(line: Line, book: Book, asks: Sequence[Ask]) -> int:
    """Read the answers to submits, in order; how many of them were errors."""
    errors = 0
    for ask in asks:
        kind, body = line.read()
        while kind in (P.WORK_COMPLETE, P.WORK_FAIL):
            book.counts["foreground results"] += 1
            kind, body = line.read()
        if kind == P.JOB_CREATED:
            book.answered(ask, body)
        elif kind == P.ERROR and body.startswith(b"QUEUE_ERROR\0"):
            book.refused(ask)
            errors += 1
        else:
            book.wrong(OTHER, f"{ask.content} was answered with {kind} {body[:200]!r}")
    return errors


def client(port: int, book: Book, wishes: Wishes, at_once: int, pause: float) -> None:
    """Submit so many jobs at once, read the answers, and again."""
    line = Line(port)
    try:
        while True:
            batch = [wishes.ask() for _ in range(at_once)]
            for ask, _ in batch:
                book.asking(ask)
            line.send(b"".join(data for _, data in batch))
            errors = _answers(line, book, [ask for ask, _ in batch])
            time.sleep(pause + (0.05 if errors else 0.0))
    finally:
        line.close()


def joiner(port: int, book: Book, wishes: Wishes, turns: random.Random, pause: float) -> None:
    """Ask for one job twice, to wait for it and for the background, in either order."""
    with contextlib.closing(Line(port)) as waits, contextlib.closing(Line(port)) as leaves:
        while True:
            unique, workload = wishes.shared()
            both = [(waits, False), (leaves, True)]
            if turns.random() < 0.4:
                both.reverse()
            for line, background in both[: 1 if turns.random() < 0.2 else 2]:
                ask, data = wishes.plain(JOINED, unique, workload, background)
                book.asking(ask)
                line.send(data)
                _answers(line, book, [ask])
            time.sleep(pause)


# Workers


class Grabber:
    """One worker's connection, at work for some functions."""

    def __init__(self, port: int, book: Book, *functions: bytes) -> None:
        self.line = Line(port, b"".join(packet(P.CAN_DO, function) for function in functions))
        self._book = book

    asks = packet(P.GRAB_JOB_ALL)

    def grab(self, before: bytes = b"") -> Record | None:
        """Send this, if anything, and ask for a job; nothing if there is none now."""
        self.line.send(before + self.asks)
        return self.got()

    def got(self) -> Record | None:
        """The answer to a grab."""
        kind, body = self.line.read()
        while kind == P.NOOP:
            kind, body = self.line.read()
        if kind == P.NO_JOB:
            return None
        reducer = b""
        if kind == P.JOB_ASSIGN_ALL:
            handle, function, unique, reducer, workload = body.split(b"\0", 4)
        elif kind == P.JOB_ASSIGN_UNIQ:
            # A job without a reducer.
            handle, function, unique, workload = body.split(b"\0", 3)
        else:
            raise AssertionError(f"a grab was answered with {kind} {body[:200]!r}")
        return self._book.assigned(self, handle, content(function, unique, reducer, workload))

    def sleep(self) -> None:
        """Wait until there may be a job."""
        self.line.send(packet(P.PRE_SLEEP))
        self.line.read()

    def end(self, record: Record, kind: P) -> None:
        """Say that the job is done, well or not."""
        try:
            self.line.send(ending(record, kind))
        finally:
            # Even if that failed: the server may have got it.
            self._book.ended(record)


def ending(record: Record, kind: P) -> bytes:
    """What a worker says at a job's end."""
    return packet(kind, record.handle, *([b"done"] if kind == P.WORK_COMPLETE else []))


def worker(port: int, book: Book, functions: Sequence[bytes], chance: random.Random, pause: float) -> None:
    """Do jobs; one in ten fails."""
    grabber = Grabber(port, book, *functions)
    try:
        while True:
            record = grabber.grab()
            if record is None:
                grabber.sleep()
                continue
            time.sleep(pause)
            grabber.end(record, P.WORK_FAIL if chance.random() < 0.1 else P.WORK_COMPLETE)
    finally:
        grabber.line.close()


def mortal(port: int, book: Book, chance: random.Random, pause: float) -> None:
    """Take fragile jobs; die with most of them, and come again."""
    while True:
        grabber = Grabber(port, book, FRAGILE)
        try:
            while (record := grabber.grab()) is None:
                grabber.sleep()
            time.sleep(pause)
            if chance.random() < 0.4:
                grabber.end(record, P.WORK_COMPLETE)
            else:
                book.losing(record)
        finally:
            grabber.line.close()


class Returner(Grabber):
    """A worker's connection that has said who it is, with the jobs that it has from before."""

    asks = packet(GRAB_JOB_OPTIONS)

    def __init__(self, port: int, book: Book, key: str, has: dict[bytes, int]) -> None:
        """
        :param has: which attempt at each job, by handle.
        """
        super().__init__(port, book, PLAIN)
        self.attempt = 0
        hello = {"key": key, "jobs": [[handle.decode(), attempt] for handle, attempt in has.items()]}
        said = packet(P.OPTION_REQ, b"txgear-1"), packet(WORKER_HELLO, json.dumps(hello).encode())
        try:
            self.line.send(b"".join(said))
            kind, body = self.line.read()
            while kind in (P.OPTION_RES, P.NOOP):
                kind, body = self.line.read()
        except Gone:
            self.line.close()
            raise
        if kind != WORKER_WELCOME:
            raise AssertionError(f"a hello was answered with {kind} {body[:200]!r}")
        held = json.loads(body)["held"]
        if held != [handle.decode() for handle in has]:
            book.wrong(OTHER, f"a worker came back with {has}, and has {held}")
        book.counts["taken up again"] += len(held)

    def got(self) -> Record | None:
        kind, body = self.line.read()
        while kind == P.NOOP:
            kind, body = self.line.read()
        if kind == P.NO_JOB:
            return None
        if kind != JOB_ASSIGN_OPTIONS:
            raise AssertionError(f"a grab was answered with {kind} {body[:200]!r}")
        handle, function, unique, reducer, options, workload = body.split(b"\0", 5)
        self.attempt = json.loads(options)["attempt"]
        return self._book.assigned(self, handle, content(function, unique, reducer, workload))


def returner(port: int, book: Book, chance: random.Random, pause: float) -> None:
    """Do jobs; with every other one in hand the connection is lost, and the job ends over the next one."""
    key = chance.randbytes(16).hex()
    connection = Returner(port, book, key, {})
    try:
        while True:
            record = connection.grab()
            if record is None:
                connection.sleep()
                continue
            if chance.random() < 0.5:
                connection.line.close()
                connection = Returner(port, book, key, {record.handle: connection.attempt})
            time.sleep(pause)
            connection.end(record, P.WORK_COMPLETE)
    finally:
        connection.line.close()


# All of them


class Crowd:
    """The threads of one life of the server."""

    def __init__(self, book: Ledger) -> None:
        self._book = book
        self._threads: list[threading.Thread] = []

    def start(self, part: Callable[[], None]) -> None:
        """Play a part until the server is gone."""

        def play() -> None:
            try:
                part()
            except Gone:
                return
            except Exception as error:
                self._book.wrong(OTHER, f"a peer ended with {error!r}")

        thread = threading.Thread(target=play)
        thread.start()
        self._threads.append(thread)

    def join(self) -> None:
        """Wait for the end of all, which the server's end brings."""
        for thread in self._threads:
            thread.join(2 * PATIENCE)
            if thread.is_alive():
                raise AssertionError("a peer does not notice that the server is gone")
        self._threads.clear()


def load(port: int, book: Book, numbers: Iterator[int], seed: str) -> Crowd:
    """Clients that submit faster than the workers beside them work."""
    crowd = Crowd(book)

    def source(part: str) -> random.Random:
        return random.Random(f"{seed} {part}")

    for index, (at_once, pause) in enumerate([(1, 0.001), (1, 0.001), (8, 0.01), (64, 0.1)]):
        wishes = Wishes(index, source(f"client {index}"), numbers)
        crowd.start(partial(client, port, book, wishes, at_once, pause))
    wishes = Wishes(9, source("joiner"), numbers)
    crowd.start(partial(joiner, port, book, wishes, source("turns"), 0.003))
    for index in range(2):
        crowd.start(partial(worker, port, book, (PLAIN, ODD, LATER), source(f"worker {index}"), 0.004))
    crowd.start(partial(worker, port, book, (JOINED,), source("worker of joined"), 0.005))
    crowd.start(partial(returner, port, book, source("returner"), 0.003))
    crowd.start(partial(mortal, port, book, source("mortal"), 0.002))
    return crowd
