"""Clients and workers at servers that share one database, each of which may be gone at any time.

They are threads with plain sockets, which come back to their server until they are stopped, tell the book
what they saw, and judge nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from clusterbook import OTHER, Book, Grab
from crashpeers import Gone, Line
from processes import wait_until
from wirepeer import P, packet

#: The function of most jobs, and of those for which there are workers at all servers but one.
KEPT: Final = b"kept"
WAITS: Final = b"waits at "

#: Seconds between two jobs of a client, for which a worker has a job, and between two looks for one.
BETWEEN: Final = 0.06
WORK: Final = 0.01
LOOK: Final = 0.04

#: Seconds between two attempts to connect, and after a submit that was refused.
AGAIN: Final = 0.1

#: Jobs with one of so few uniques are asked for by several.
POOL: Final = 50

#: How many jobs are under way where many are wanted.
AT_ONCE: Final = 5000

#: Seconds in which each server is to take jobs again, and for which all servers have told their workers that
#: there is none, after which none comes any more.
PATIENCE: Final = 40.0
QUIET: Final = 1.5


class Peer(ABC):
    """A thread at one server, which comes back when that has gone.

    :ivar last: when it last asked for what it got, by the monotonic clock.
    """

    def __init__(self, name: str, port: int, book: Book) -> None:
        """
        :param name: the server's.
        """
        self.last = time.monotonic()
        self._name = name
        self._port = port
        self._book = book
        self._over = threading.Event()
        self._line: Line | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with contextlib.closing(Line(self._port)) as line:
                    self._line = line
                    self._attend(line)
            except Gone:
                self._over.wait(AGAIN)
            except Exception as error:
                if not self._over.is_set():
                    self._book.wrong(OTHER, f"a peer at {self._name} ended with {error!r}")
                return

    @abstractmethod
    def _attend(self, line: Line) -> None:
        """Be there until it is over, or the server has gone."""

    def stop(self) -> None:
        """Let it finish what it has begun."""
        self._over.set()
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            assert self._line is not None
            self._line.cut()
            raise AssertionError(f"a peer at {self._name} got no answer")


class Client(Peer):
    """Submits jobs for the background, some of which others ask for as well."""

    def __init__(self, name: str, port: int, book: Book, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        super().__init__(name, port, book)

    def _attend(self, line: Line) -> None:
        while not self._over.is_set():
            unique = b""
            workload = b"job %d" % next(self._numbers)
            if random.random() < 0.3:
                unique = workload = b"joint %d" % random.randrange(POOL)
            asked = time.monotonic()
            if submit(line, self._book, self._name, KEPT, unique, workload):
                self.last = asked
                self._over.wait(BETWEEN)
            else:
                self._over.wait(AGAIN)


class Worker(Peer):
    """Does jobs of some functions."""

    def __init__(self, name: str, port: int, book: Book, functions: Sequence[bytes]) -> None:
        self._functions = functions
        #: Seconds for which it has been told that there is none: a server that is late tells nothing.
        self.idle = 0.0
        super().__init__(name, port, book)

    def _attend(self, line: Line) -> None:
        line.send(b"".join(packet(P.CAN_DO, function) for function in self._functions))
        since, self.idle = None, 0.0
        while not self._over.is_set():
            line.send(packet(P.GRAB_JOB))
            kind, body = _answer(line)
            if kind == P.NO_JOB:
                now = time.monotonic()
                since = now if since is None else since
                self.idle = now - since
                self._over.wait(LOOK)
                continue
            since, self.idle = None, 0.0
            assert kind == P.JOB_ASSIGN, f"a grab was answered with {kind} {body[:200]!r}"
            handle, _, workload = body.split(b"\0", 2)
            self._book.grab(Grab(handle, self._name, time.time()), workload)
            self._over.wait(WORK)
            # An answer says that the end was read before; whether it is written nobody says.
            line.send(packet(P.WORK_COMPLETE, handle, b"") + packet(P.ECHO_REQ, handle))
            kind, body = _answer(line)
            assert (kind, body) == (P.ECHO_RES, handle), f"an echo was answered with {kind} {body[:200]!r}"
            self._book.end(handle)


def _answer(line: Line) -> tuple[int, bytes]:
    kind, body = line.read()
    while kind == P.NOOP:
        kind, body = line.read()
    return kind, body


def submit(line: Line, book: Book, name: str, function: bytes, unique: bytes, workload: bytes) -> bytes:
    """Submit a job for the background; its handle, or nothing if it was refused."""
    line.send(packet(P.SUBMIT_JOB_BG, function, unique, workload))
    kind, body = line.read()
    if kind == P.JOB_CREATED:
        book.answer(body, workload, name, time.time())
        return body
    assert kind == P.ERROR, f"a submit was answered with {kind} {body[:200]!r}"
    assert body.startswith(b"QUEUE_ERROR\0"), body
    book.refuse(name, body.partition(b"\0")[2].decode())
    return b""


def fill(port: int, function: bytes, count: int) -> None:
    """Have a server take so many jobs, as fast as it can."""
    with contextlib.closing(Line(port)) as line:
        for first in range(0, count, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, count))
            line.send(b"".join(packet(P.SUBMIT_JOB_BG, function, b"", b"%d" % each) for each in numbers))
            for _ in numbers:
                kind, body = line.read()
                assert kind == P.JOB_CREATED, f"a submit was answered with {kind} {body[:200]!r}"


class Load:
    """Two clients and two workers at each of some servers."""

    def __init__(self, ports: dict[str, int], book: Book) -> None:
        """
        :param ports: of the servers, by their names.
        """
        self._ports = ports
        self._book = book
        self._numbers = itertools.count(1)
        self._clients = {
            name: [Client(name, port, book, self._numbers) for _ in range(2)] for name, port in ports.items()
        }
        self._workers = {
            name: [Worker(name, port, book, [KEPT, *self._waiting(name)]) for _ in range(2)]
            for name, port in ports.items()
        }

    def _waiting(self, name: str) -> list[bytes]:
        return [WAITS + other.encode() for other in self._ports if other != name]

    def leave_some(self, name: str, count: int = 5) -> list[bytes]:
        """Let a server have jobs that only workers at other ones do; their uniques."""
        uniques = [b"waits %d" % next(self._numbers) for _ in range(count)]
        assert self.submit(name, name, uniques) == count, "refused"
        return uniques

    def submit(self, name: str, of: str, uniques: Sequence[bytes]) -> int:
        """Submit jobs that workers at all servers but one do; how many were taken.

        :param of: that one.
        """
        with contextlib.closing(Line(self._ports[name])) as line:
            function = WAITS + of.encode()
            return sum(bool(submit(line, self._book, name, function, unique, unique)) for unique in uniques)

    @contextlib.contextmanager
    def asking(self, name: str) -> Iterator[None]:
        """Let a worker ask a server for the jobs that it was left."""
        worker = Worker(name, self._ports[name], self._book, [WAITS + name.encode()])
        try:
            yield
        finally:
            worker.stop()

    def wait_for_kept(self, *names: str, seconds: float = PATIENCE) -> float:
        """Wait until each of these servers, or of all, takes a job; seconds until then."""
        began = time.monotonic()
        clients = [client for name in names or self._ports for client in self._clients[name]]
        wait_until(
            lambda: all(client.last > began for client in clients),
            seconds,
            what=f"jobs that {', '.join(names or self._ports)} take",
        )
        return time.monotonic() - began

    def stop(self, left: Callable[[], int]) -> None:
        """Have all done that is there, and written, and end.

        :param left: how many jobs are there.
        """
        for clients in self._clients.values():
            for client in clients:
                client.stop()
        # At last those that wait at the server that has them.
        last = [
            Worker(name, port, self._book, [KEPT, *(WAITS + other.encode() for other in self._ports)])
            for name, port in self._ports.items()
        ]
        workers = [*last, *itertools.chain.from_iterable(self._workers.values())]
        wait_until(
            lambda: all(worker.idle > QUIET for worker in workers) and not left(),
            PATIENCE,
            what="the last job",
        )
        for worker in workers:
            worker.stop()
