"""Those who are at a server while its store misbehaves, and what they see.

Some submit jobs for the background one after another; others, who have nothing to do with the store, ask for
an echo and have a foreground job done, again and again. All answers are timed.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, NamedTuple

from crashbook import Book, Record
from crashpeers import Gone, Grabber, Line
from processes import PATIENCE, Server, wait_until
from txgear.cli.base.api import Api, path_of
from txgear.cli.base.places import Place
from wirepeer import P, packet

#: Seconds between two requests of one peer.
PAUSE: Final = 0.02

#: Seconds that those may wait who have nothing to do with the store: nearly all of them, and every one. Far
#: more than they do, for slow machines.
MOST_WITHIN: Final = 0.05
ALL_WITHIN: Final = 0.25

#: Seconds in which a job must be kept again once the store is there: a submit's time, and between attempts.
AGAIN: Final = 5.0 + 5.0 + PATIENCE

#: The function whose jobs are kept.
KEPT: Final = b"kept"


class Seen(NamedTuple):
    """An answer: when the request was sent, by the monotonic clock, how long it took, and what it was."""

    at: float
    seconds: float
    kind: int
    body: bytes

    @property
    def kept(self) -> bool:
        """A job's handle."""
        return self.kind == P.JOB_CREATED

    @property
    def refused(self) -> bool:
        """The error that says that no job is taken."""
        return self.kind == P.ERROR and self.body.startswith(b"QUEUE_ERROR\0")

    @property
    def reason(self) -> str:
        """What the error says."""
        return self.body.partition(b"\0")[2].decode()


class Peer:
    """A thread that asks something again and again until it is stopped or the server has gone."""

    def __init__(self, port: int, ask: Callable[[Line], tuple[int, bytes]], pause: float = PAUSE) -> None:
        self.seen: list[Seen] = []
        self.problem: Exception | None = None
        self._line = Line(port)
        self._ask = ask
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                at = time.monotonic()
                kind, body = self._ask(self._line)
                self.seen.append(Seen(at, time.monotonic() - at, kind, body))
                self._over.wait(self._pause)
        except Gone:
            return
        except Exception as problem:
            self.problem = problem
        finally:
            self._line.close()

    def stop(self) -> list[Seen]:
        """Let it finish what it has begun; all that it saw."""
        self._over.set()
        self._thread.join()
        if self.problem is not None:
            raise self.problem
        return self.seen


def echo(line: Line) -> tuple[int, bytes]:
    """Ask for an echo."""
    line.send(packet(P.ECHO_REQ, b"still there?"))
    return line.read()


def foreground(line: Line) -> tuple[int, bytes]:
    """Have a job done; the end of it."""
    line.send(packet(P.SUBMIT_JOB, b"witness", b"", b"now"))
    line.read()
    return line.read()


def background(function: bytes, workload: bytes) -> Callable[[Line], tuple[int, bytes]]:
    """Asks that a job be kept."""

    def ask(line: Line) -> tuple[int, bytes]:
        line.send(packet(P.SUBMIT_JOB_BG, function, b"", workload))
        return line.read()

    return ask


class Witnesses:
    """An echo and a foreground job through a worker, all the time."""

    def __init__(self, port: int) -> None:
        self._worker = Line(port)
        self._working = threading.Thread(target=self._work, daemon=True)
        self._working.start()
        self._echo = Peer(port, echo)
        self._job = Peer(port, foreground)

    def __enter__(self) -> Witnesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> list[tuple[str, list[Seen], P]]:
        seen = [("echo", self._echo.stop(), P.ECHO_RES), ("job", self._job.stop(), P.WORK_COMPLETE)]
        self._worker.cut()
        self._working.join()
        return seen

    def _work(self) -> None:
        line = self._worker
        with contextlib.suppress(Gone):
            line.send(packet(P.CAN_DO, b"witness"))
            while True:
                line.send(packet(P.GRAB_JOB))
                kind, body = line.read()
                while kind == P.NOOP:
                    kind, body = line.read()
                if kind == P.NO_JOB:
                    line.send(packet(P.PRE_SLEEP))
                    line.read()
                else:
                    line.send(packet(P.WORK_COMPLETE, body.partition(b"\0")[0], b"done"))
        line.close()

    def judge(self) -> str:
        """Stop, and see to it that nobody had to wait; the figures."""
        parts = []
        for name, seen, kind in self._stop():
            assert len(seen) > 20, f"{name}: {len(seen)} answers"
            assert {one.kind for one in seen} == {kind}
            seconds = sorted(one.seconds for one in seen)
            parts.append(f"{name} {summary(seconds)}")
            assert seconds[int(len(seconds) * 0.95)] < MOST_WITHIN, parts[-1]
            assert seconds[-1] < ALL_WITHIN, parts[-1]
        return "; ".join(parts)


def summary(seconds: Sequence[float]) -> str:
    """The median, the 95th of a hundred and the longest, in milliseconds."""
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    figures = statistics.median(ordered), ordered[int(len(ordered) * 0.95)], ordered[-1]
    return "/".join(f"{1000 * figure:.1f}" for figure in figures) + f" ms ({len(ordered)})"


def handles(port: int) -> dict[bytes, int]:
    """All jobs that the server has, with their counts of lost workers."""
    line = Line(port)
    rows = [row.split(b"\t") for row in line.lines(b"show jobs")]
    line.close()
    return {row[0]: int(row[1]) for row in rows}


def wait_until_written(port: int) -> None:
    """Wait until the store has all that a server was told: whoever has told it has had an answer since."""
    with contextlib.closing(Api(Place(str(port), "127.0.0.1", port))) as api:
        wait_until(
            lambda: api.get(path_of("store"))["pending_changes"] == 0,
            what="a store that has all",
        )


class Outage:
    """A server whose store is away for a while, and those who are at it.

    :ivar seen: what clients saw that submit jobs for the background.
    """

    def __init__(
        self,
        name: str,
        server: Server,
        seconds: float,
        begin: Callable[[], object],
        end: Callable[[], object],
        late: int = 0,
    ) -> None:
        """
        :param begin: takes the store away, for so many seconds.
        :param end: brings it back.
        :param late: clients that come while it is away: all others may have a job on the way as it goes.
        """
        self.name = name
        self.server = server
        self.seconds = seconds
        self._begin = begin
        self._end = end
        self._late = late
        self.seen: list[Seen] = []
        # Jobs that must be there at the end, with their counts of lost workers.
        self._expected: dict[bytes, int] = {}
        self._began = self._ended = 0.0

    def begin(self) -> None:
        """Begin the outage, with jobs that are queued, jobs at workers, and clients that bring more."""
        port = self.server.port
        line = Line(port)
        line.send(packet(P.SUBMIT_JOB_BG, KEPT, b"", b"x" * 100) * 30)
        for _ in range(30):
            kind, body = line.read()
            assert kind == P.JOB_CREATED
            self._expected[body] = 0
        line.close()
        self._worker = Grabber(port, Book(), KEPT)
        self._dying = Grabber(port, Book(), KEPT)
        self._running = [self._grab(self._worker) for _ in range(10)]
        self._lost = self._grab(self._dying)
        self._witnesses = Witnesses(port)
        self._clients = self._more_clients(4)
        time.sleep(0.5)
        self._began = time.monotonic()
        self._begin()

    def _more_clients(self, count: int) -> list[Peer]:
        return [Peer(self.server.port, background(b"more", b"y" * 100)) for _ in range(count)]

    @staticmethod
    def _grab(worker: Grabber) -> Record:
        record = worker.grab()
        assert record is not None
        return record

    def meanwhile(self) -> None:
        """A worker ends its jobs, another one is lost with its job; the store does not hear of it."""
        for record in self._running:
            self._worker.end(record, P.WORK_COMPLETE)
            del self._expected[record.handle]
        self._dying.line.close()
        self._expected[self._lost.handle] = 1
        self._clients += self._more_clients(self._late)

    def wait(self) -> None:
        """Wait until the time is over, and end the outage."""
        time.sleep(max(0.0, self._began + self.seconds - time.monotonic()))
        self._end()
        self._ended = time.monotonic()

    def settle(self) -> str:
        """Wait until jobs are taken again, let the server be killed, and look what is there; the figures."""
        wait_until(
            lambda: all(
                client.seen and client.seen[-1].kept and client.seen[-1].at > self._ended
                for client in self._clients
            ),
            AGAIN,
            what="a job that is kept again by each client",
        )
        again = min(one.at + one.seconds for one in self._kept_after()) - self._ended
        times = self._witnesses.judge()
        for client in self._clients:
            self.seen += client.stop()
        echo(self._worker.line)
        self._worker.line.close()
        self._expected.update({one.body: 0 for one in self.seen if one.kept})
        wait_until_written(self.server.port)
        self.server.kill()
        return (
            f"{self.name}, away for {self._ended - self._began:.1f} s: submits kept in "
            f"{summary([one.seconds for one in self.seen if one.kept])}, refused in "
            f"{summary([one.seconds for one in self.refused()])}; kept again after {again:.2f} s; "
            f"meanwhile {times}"
        )

    def _kept_after(self) -> list[Seen]:
        seen = [one for client in self._clients for one in client.seen]
        return [one for one in seen if one.kept and one.at + one.seconds > self._ended]

    def refused(self) -> list[Seen]:
        """The submits that were refused."""
        assert all(one.kept or one.refused for one in self.seen)
        return [one for one in self.seen if one.refused]

    def check(self, port: int) -> None:
        """A new server on the same store has exactly what must be there."""
        assert handles(port) == self._expected
