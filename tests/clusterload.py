"""A small load on a server whose database is a cluster, and what must be true of it at the end.

Clients submit jobs for the background, one after another, while a worker does some of them. At the end all
that is there is done: each job that was answered has been done exactly once, and none that was refused.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from crashpeers import Gone, Line
from hostile import AGAIN, KEPT, Peer, Seen, echo, handles, summary, wait_until_written
from processes import Server, wait_until
from wirepeer import P, packet

#: Seconds between two jobs of the worker, which is to leave some.
PAUSE: Final = 0.1

#: Seconds after which a worker looks again for a job.
LOOK: Final = 0.05

#: Seconds for which a server has told a worker that there is none, after which none comes any more.
QUIET: Final = 1.0


class Client(Peer):
    """Submits jobs that can be told apart.

    :ivar sent: their workloads, in the order of what was seen; the last one may be without an answer.
    """

    def __init__(self, port: int, numbers: Iterator[int], pause: float) -> None:
        self.sent: list[bytes] = []
        self._numbers = numbers
        super().__init__(port, self._submit, pause)

    def _submit(self, line: Line) -> tuple[int, bytes]:
        workload = b"job %d" % next(self._numbers)
        self.sent.append(workload)
        line.send(packet(P.SUBMIT_JOB_BG, KEPT, b"", workload))
        return line.read()


class Worker:
    """Does jobs until it is stopped or the server has gone.

    :ivar done: the jobs' handles and workloads, in the order in which it has ended them.
    """

    def __init__(self, port: int, pause: float = 0.0) -> None:
        self.done: list[tuple[bytes, bytes]] = []
        #: Seconds for which it has been told that there is none: a server that is late tells nothing.
        self.idle = 0.0
        self._line = Line(port, packet(P.CAN_DO, KEPT))
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        since: float | None = None
        try:
            while not self._over.is_set():
                self._line.send(packet(P.GRAB_JOB))
                kind, body = self._line.read()
                if kind == P.NO_JOB:
                    now = time.monotonic()
                    since = now if since is None else since
                    self.idle = now - since
                    # Asleep it could not be stopped.
                    self._over.wait(LOOK)
                    continue
                handle, _, workload = body.split(b"\0", 2)
                since, self.idle = None, 0.0
                self.done.append((handle, workload))
                self._line.send(packet(P.WORK_COMPLETE, handle, b""))
                self._over.wait(self._pause)
            # An answer says that the server has read the last end.
            echo(self._line)
        except Gone:
            return
        finally:
            self._line.close()

    def stop(self) -> None:
        """Let it end the job that it has."""
        self._over.set()
        self._thread.join()


class Load:
    """Clients and a worker at one server, or at another one after that."""

    def __init__(self, port: int, clients: int = 4, pause: float = 0.03) -> None:
        numbers = itertools.count(1)
        self._clients = [Client(port, numbers, pause) for _ in range(clients)]
        self._workers = [Worker(port, PAUSE)]

    def seen(self) -> list[Seen]:
        """What the clients have seen so far, by time."""
        return sorted((one for client in self._clients for one in client.seen), key=lambda one: one.at)

    def handles(self) -> set[bytes]:
        """The handles that were given out."""
        return {one.body for one in self.seen() if one.kept}

    def ended(self) -> set[bytes]:
        """The handles of the jobs that were done."""
        return {handle for worker in self._workers for handle, _ in worker.done}

    def refused(self) -> list[Seen]:
        """The submits that were refused."""
        seen = self.seen()
        assert all(one.kept or one.refused for one in seen)
        return [one for one in seen if one.refused]

    def kept_after(self, at: float) -> list[Seen]:
        """The submits that were sent after that moment, and answered with a handle.

        Who has sent before it may get an answer after it that was on its way already.
        """
        return [one for one in self.seen() if one.kept and one.at > at]

    def wait_for_kept(self, count: int = 50) -> float:
        """Wait until so many more jobs are sent and taken; seconds until the first one of them is."""
        begin = time.monotonic()
        wait_until(lambda: len(self.kept_after(begin)) >= count, AGAIN, what="jobs that are taken")
        return min(one.at + one.seconds for one in self.kept_after(begin)) - begin

    def rest(self) -> None:
        """Let the worker end its job, and take no other."""
        for worker in self._workers:
            worker.stop()

    def stop(self) -> None:
        """The same, and let the clients read their answers."""
        self.rest()
        for client in self._clients:
            client.stop()

    def drain(self, *ports: int) -> None:
        """Have all done that the server has, or the servers have."""
        workers = [Worker(port) for port in ports]
        self._workers += workers
        wait_until(
            lambda: all(worker.idle > QUIET for worker in workers) and not any(map(handles, ports)),
            AGAIN,
            what="the last job: any that are there are not handed out",
        )
        for worker in workers:
            worker.stop()

    def judge(self) -> str:
        """See to it that nothing was lost, done twice, or done though it was refused; the figures."""
        done = [one for worker in self._workers for one in worker.done]
        times = Counter(handle for handle, _ in done)
        workloads = dict(done)
        answered: dict[bytes, bytes] = {}
        refused: set[bytes] = set()
        for client in self._clients:
            for one, workload in zip(client.seen, client.sent, strict=False):
                if one.kept:
                    assert one.body not in answered, f"{one.body!r} was given to two jobs"
                    answered[one.body] = workload
                else:
                    refused.add(workload)
        assert answered
        assert not [handle for handle in answered if not times[handle]], "lost"
        assert not [handle for handle, count in times.items() if count > 1], "done twice"
        assert not [handle for handle, workload in answered.items() if workloads[handle] != workload]
        assert not refused & set(workloads.values()), "refused, and done all the same"
        return (
            f"{len(answered)} answered in {summary([one.seconds for one in self.seen() if one.kept])}, "
            f"{len(refused)} refused, {len(done)} done"
        )


def settle(
    tell: Callable[[str], None], name: str, load: Load, server: Server, again: Callable[[], Server]
) -> None:
    """Let the load end and the server be killed; have another one do what it finds, and judge.

    :param again: starts it.
    """
    load.stop()
    wait_until_written(server.port)
    server.kill()
    load.drain(again().port)
    tell(f"{name}: {load.judge()}")
