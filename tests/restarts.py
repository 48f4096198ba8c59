"""
Clients and workers that come and go while the server is restarted under them, and what they saw.

``python tests/restarts.py [TIMES]`` hands a server over that often, and prints the figures.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from fairtime import Stopwatch
from processes import PATIENCE, Programs, free_port, twistd, wait_until
from wirepeer import Closed, P, WirePeer

SUBMITTERS: Final = 4
"""Threads that connect for each job."""
STAYERS: Final = 4
"""Threads that stay connected, and ask for echoes."""
WORKERS: Final = 2
FUNCTION: Final = b"work"


@dataclass
class Seen:
    """
    What happened, of all threads together.

    ``refused`` and ``reset`` are connects, ``cut`` connections that ended by a reset and not in order,
    ``ended`` those that ended in order. ``longest`` is seconds from a connect to the first answer, without
    those that the servers waited for a processor.
    """

    refused: int = 0
    reset: int = 0
    cut: int = 0
    ended: int = 0
    connects: int = 0
    longest: float = 0.0
    acknowledged: set[bytes] = field(default_factory=set)
    done: list[bytes] = field(default_factory=list)
    defects: list[BaseException] = field(default_factory=list)

    def __str__(self) -> str:
        again = len(self.done) - len(set(self.done))
        return (
            f"{self.connects} connects: {self.refused} refused, {self.reset} reset,"
            f" the longest wait for an answer {self.longest:.3f} s\n"
            f"{self.ended} connections ended in order, {self.cut} by a reset\n"
            f"{len(self.acknowledged)} background jobs acknowledged, {len(self.lost)} lost,"
            f" {again} done again"
        )

    @property
    def lost(self) -> set[bytes]:
        return self.acknowledged - set(self.done)


class Load:
    """
    Peers of a server at one port, each in a thread.

    ``pids`` are the process that serves, and the one that is to follow it.
    """

    def __init__(self, port: int, pid: int) -> None:
        self.seen = Seen()
        self.pids = [pid]
        self._port = port
        self._lock = threading.Lock()
        self._over = self._over_for_workers = False
        self._threads = [
            *(self._thread(partial(self._submit, b"%d" % number)) for number in range(SUBMITTERS)),
            *(self._thread(self._stay) for _ in range(STAYERS)),
        ]
        self._workers = [self._thread(self._work) for _ in range(WORKERS)]

    def _thread(self, run: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                run()
            except BaseException as defect:
                self.seen.defects.append(defect)

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    def _connect(self) -> WirePeer | None:
        """A connection that has been answered; none if it was not to be."""
        watch = Stopwatch(*self.pids)
        try:
            peer = WirePeer(self._port, timeout=30.0)
        except ConnectionRefusedError:
            with self._lock:
                self.seen.refused += 1
            return None
        except ConnectionResetError:
            with self._lock:
                self.seen.reset += 1
            return None
        if not self._held(peer, peer.sync):
            return None
        with self._lock:
            self.seen.connects += 1
            self.seen.longest = max(self.seen.longest, watch.seconds())
        return peer

    def _held(self, peer: WirePeer, use: Callable[[], object]) -> bool:
        """Use a connection, and close it if it ended; whether it has not."""
        try:
            use()
        except Closed:
            with self._lock:
                self.seen.ended += 1
        except (ConnectionResetError, BrokenPipeError):
            with self._lock:
                self.seen.cut += 1
        else:
            return True
        peer.close()
        return False

    def _submit(self, name: bytes) -> None:
        number = 0
        while not self._over:
            peer = self._connect()
            if peer is None:
                continue
            unique = b"%s-%d" % (name, number)
            # One whose answer was not heard is submitted again.
            if self._held(peer, partial(peer.submit, FUNCTION, unique, unique, P.SUBMIT_JOB_BG)):
                self.seen.acknowledged.add(unique)
                number += 1
                peer.close()
                # The servers that start need the processor as well.
                time.sleep(0.005)

    def _stay(self) -> None:
        while not self._over:
            peer = self._connect()
            if peer is None:
                continue
            while self._held(peer, peer.sync):
                if self._over:
                    peer.close()
                    return
                time.sleep(0.005)

    def _work(self) -> None:
        while not self._over_for_workers:
            peer = self._connect()
            if peer is None or not self._held(peer, partial(peer.can_do, FUNCTION)):
                continue
            while self._held(peer, partial(self._do_one, peer)):
                if self._over_for_workers:
                    peer.close()
                    return

    def _do_one(self, peer: WirePeer) -> None:
        job = peer.grab()
        if job is None:
            time.sleep(0.01)
            return
        peer.complete(job)
        self.seen.done.append(job.workload)

    def stop(self) -> None:
        """Submit no more, have all jobs done, and stop."""
        self._over = True
        for thread in self._threads:
            thread.join(PATIENCE)
        wait_until(lambda: not self.seen.lost or self.seen.defects, what=f"the jobs: {self.seen}")
        self._over_for_workers = True
        for thread in self._workers:
            thread.join(PATIENCE)
        assert not self.seen.defects, self.seen.defects


def restart_under_load(programs: Programs, folder: Path, times: int) -> Seen:
    """Hand a server over so many times while there is load; each old one must end with the status 0."""
    port = free_port()
    options = [
        "--web=",
        f"--port={port}",
        "--listen=127.0.0.1",
        f"--store=sqlite:///{folder / 'jobs.sqlite'}",
        f"--handover={folder / 'handover'}",
    ]
    command = [*twistd(), "-n", f"--pidfile={folder / 'pid'}", "txgear", *options]
    server = programs.start(command, name="first")
    server.comes_up()
    load = Load(port, server.pid)
    for number in range(times):
        time.sleep(0.3)
        following = programs.start(command, name=f"next{number}")
        load.pids = [server.pid, following.pid]
        assert server.wait() == 0, server.log()
        assert following.running, following.log()
        server = following
    time.sleep(0.3)
    load.stop()
    assert int((folder / "pid").read_text()) == server.pid
    assert server.stop() == 0
    return load.seen


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory(prefix="txgear-") as folder:
        programs = Programs(Path(folder))
        try:
            print(restart_under_load(programs, Path(folder), times))
        finally:
            programs.stop()


if __name__ == "__main__":
    main()
