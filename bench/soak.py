#!/usr/bin/env python3
"""
Keep a Gearman job server under load with disturbances, and hold it to its word: C{make soak}.

Starts a server of its own and keeps some 2,000 connections to it alive, which
come and go: clients that leave while their jobs run, workers that die with
jobs, halves of packets, resets, slow readers, operators that cancel. Then the
peers calm down, the rest of the jobs is done, and it is checked that every job
that the server accepted ended exactly once and that all who stayed were told;
that no job is left, no peer and no function; that the server holds no more
descriptors than before, and that its memory did not grow.

The status is 0 only if all that is so.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import random
import statistics
import sys
import time
import traceback
from functools import partial
from typing import Any, Final

from soakbook import Book
from soakclients import Client, Operator
from soakpeers import FUNCTIONS, Scene
from soakserver import Sample, Server, default_command, raise_descriptor_limit, running
from soakworkers import SPECIALIST_SECONDS, Specialist, Stage, Worker

TICK: Final = 0.02
"""Seconds between two looks at what is to be opened and submitted."""
RAMP_SECONDS: Final = 4.0
"""How long it takes to open all connections for the first time."""
TIDE_SECONDS: Final = 5.0
"""From one wave of submits to the next; at its height the workers cannot follow, and jobs queue."""
LIFETIME: Final = 10.0
"""
Seconds that a connection lives in the mean. Each leaves a port of this machine
unusable for a minute: with a tenth of 2,000 new ones a second they suffice.
"""
WORKERS: Final = 0.12
OPERATORS: Final = 0.005
"""Parts of the connections that are workers and operators; the others are clients."""
STAGES: Final = 3
"""How many a second of those small scenes that show whether a sleeper is woken when it must be."""
SPECIALISTS: Final = 4
"""Workers of each: more than there are accidents."""
BACKLOG: Final = 3000
LONGEST_WAIT: Final = 4.0
"""
Jobs under way, and seconds that one of them waits for a worker, from which no
more are submitted: this machine, or the server, cannot follow.
"""
GOOD_WORKERS: Final = 20
"""Workers that do all functions and have no bad ways, for what is left in the end."""
SETTLE_SECONDS: Final = 30.0
"""How long all that is left may take in the end."""
LEAVE_SECONDS: Final = 10.0
"""How long the server may take to close its side of the last connections."""
GROWTH: Final = 0.10
GROWTH_BYTES: Final = 4 << 20
"""
What the median of the resident memory may gain from the second quarter of the
time to the last. The number of connections and jobs is the same in both, but a
few results of 300 kB at slow readers, and the moments at which garbage is
collected, move it by some MB; what leaks for each connection or job shows, at
the latest in the run of ten minutes, with 120,000 connections and 600,000 jobs.
"""


class Soak:
    """One run."""

    def __init__(self, server: Server, options: argparse.Namespace) -> None:
        self.server = server
        self.book = Book()
        self._connections: int = options.connections
        self._rate: float = options.rate
        self._seconds: float = options.seconds
        self._rng = random.Random(options.seed)
        self._samples: list[Sample] = []
        self._descriptors = [0, 0]
        self._credit = 0.0
        self._lag = 0.0
        self._deepest = 0
        self._longest_wait = 0.0
        self._longest_wait_ever = 0.0
        self._stages: list[tuple[Stage, list[Specialist]]] = []

    async def run(self) -> None:
        """All of it; what is wrong stands in the book."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        self._scene = scene = Scene(loop, self.server.port, self._rng, self.book)
        # Some files are opened at the first connection and stay.
        await self._ask(b"version")
        await asyncio.sleep(0.5)
        self._descriptors = [self.server.descriptors()] * 2
        await self._load()
        scene.calm = True
        await self._settle()
        await self._check_that_nothing_is_left()

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A packet was such that the peer that got it could not make anything of it."""
        error = context.get("exception")
        lines = traceback.format_exception(error) if isinstance(error, BaseException) else []
        self.book.violation("packets make sense", "".join([f"{context['message']}\n", *lines]))

    async def _load(self) -> None:
        start = last = time.monotonic()
        second = shown = start
        while (now := time.monotonic()) < start + self._seconds:
            self._lag = max(self._lag, now - last - TICK)
            self._keep_connections(min(now - start, RAMP_SECONDS) / RAMP_SECONDS)
            self._submit(min(now - last, 0.1), 1 + math.sin((now - start) * 2 * math.pi / TIDE_SECONDS))
            last = now
            if now >= second:
                second += 1.0
                self._raise_curtains()
                if not self._look_around(now):
                    return
            if now >= shown + 5.0:
                shown += 5.0
                self._show_progress(now - start)
            await asyncio.sleep(TICK)

    def _look_around(self, now: float) -> bool:
        if not self.server.running:
            self.book.violation("the server stays alive", self.server.log()[-2000:])
            return False
        self._samples.append(self.server.sample())
        for peer in list(self._scene.peers):
            peer.check_patience(now)
        self.book.look_around(now, self._scene.calm)
        self._longest_wait = self.book.longest_wait(FUNCTIONS, now)
        self._longest_wait_ever = max(self._longest_wait, self._longest_wait_ever)
        return True

    def _keep_connections(self, part: float) -> None:
        peers = self._scene.peers
        wanted = int(self._connections * part)
        workers = sum(type(peer) is Worker for peer in peers)
        operators = sum(isinstance(peer, Operator) for peer in peers)
        for _ in range(min(wanted - len(peers), int(self._connections * TICK / RAMP_SECONDS) + 2)):
            lifetime = self._rng.uniform(1.0, 2 * LIFETIME - 1.0)
            if workers < wanted * WORKERS:
                workers += 1
                Worker(self._scene, lifetime)
            elif operators < wanted * OPERATORS:
                operators += 1
                Operator(self._scene, lifetime)
            else:
                Client(self._scene, lifetime)

    def _submit(self, elapsed: float, tide: float) -> None:
        self._deepest = max(self._deepest, len(self.book.open))
        if len(self.book.open) >= BACKLOG or self._longest_wait > LONGEST_WAIT:
            return
        self._credit += self._rate * elapsed * tide
        clients = [peer for peer in self._scene.peers if isinstance(peer, Client) and not peer.leaving]
        while self._credit >= 1 and clients:
            client = self._rng.choice(clients)
            if self._rng.random() < 0.1:
                client.inquire()
            for _ in range(self._rng.choice((1, 1, 1, 2, 5, 20))):
                self._credit -= 1
                client.submit_any()

    def _raise_curtains(self) -> None:
        """Set the next stages up, and close those whose job is done."""
        for _ in range(STAGES):
            self.book.counts["stages"] += 1
            stage = Stage(self._scene, self.book.counts["stages"])
            specialists = [Specialist(self._scene, stage) for _ in range(SPECIALISTS)]
            self._stages.append((stage, specialists))
            client = Client(self._scene, SPECIALIST_SECONDS)
            client.later(self._rng.uniform(0.3, 0.8), partial(client.submit_only, stage.function))
        for stage, specialists in self._stages:
            if stage.over:
                for specialist in specialists:
                    if not specialist.leaving:
                        specialist.leave_politely()
        self._stages = [(stage, specialists) for stage, specialists in self._stages if not stage.over]

    def _show_progress(self, at: float) -> None:
        counts, sample = self.book.counts, self._samples[-1]
        print(
            f"{at:5.0f} s: {len(self._scene.peers):,} connections ({self._opened():,} opened),"
            f" {counts['jobs accepted']:,} jobs accepted, {counts['jobs ended']:,} ended,"
            f" {counts['workers lost with a job']:,} workers lost,"
            f" {sample.rss / 2**20:.1f} MiB, {sample.descriptors:,} descriptors",
            flush=True,
        )

    def _opened(self) -> int:
        return sum(number for name, number in self.book.counts.items() if name.endswith(" connections"))

    async def _settle(self) -> None:
        """Let all jobs be done; everybody who is still there stays until then."""
        for _ in range(GOOD_WORKERS):
            Worker(self._scene, SETTLE_SECONDS + LEAVE_SECONDS, dict.fromkeys(FUNCTIONS, 0.0))
        end = time.monotonic() + SETTLE_SECONDS
        while (now := time.monotonic()) < end:
            await asyncio.sleep(0.1)
            busy = any(peer.questions or peer.dozing for peer in self._scene.peers)
            if not busy and not self.book.unfinished() and not await self._jobs_left():
                break
            if not self._look_around(now):
                return
        self.book.finish()

    async def _ask(self, command: bytes) -> list[bytes]:
        """What a text command answers; nothing if no answer comes in time."""
        answer: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        operator = Operator(self._scene, LEAVE_SECONDS, busy=False)
        operator.command(command, answer.set_result)
        try:
            return await asyncio.wait_for(answer, LEAVE_SECONDS)
        except asyncio.TimeoutError:
            self.book.violation("every packet is answered", f"{command!r}")
            return []
        finally:
            operator.close()

    async def _jobs_left(self) -> list[bytes]:
        """The rows of C{status} that show jobs."""
        rows = [line.split(b"\t") for line in await self._ask(b"status")]
        return [b" ".join(row) for row in rows if len(row) == 4 and (row[1] != b"0" or row[2] != b"0")]

    async def _check_that_nothing_is_left(self) -> None:
        if not self.server.running:
            return
        violation = self.book.violation
        if left := await self._jobs_left():
            violation("no job is left", str(left))
        for line in await self._ask(b"show jobs"):
            violation("no job is left", f"show jobs: {line!r}", self.book.jobs.get(line.split(b"\t")[0]))
        for line in await self._ask(b"status"):
            if line.endswith(b"\t0"):
                violation("no function is left without workers", repr(line))
        for peer in list(self._scene.peers):
            peer.close()
        end = time.monotonic() + LEAVE_SECONDS
        while (after := self.server.descriptors()) > self._descriptors[0] and time.monotonic() < end:
            await asyncio.sleep(0.1)
        self._descriptors[1] = after
        if after > self._descriptors[0]:
            violation("no descriptor is left", f"{after}, {self._descriptors[0]} before")
        peers = await self._ask(b"workers")
        if len(peers) != 1:
            violation("no peer is left", f"{len(peers)} in place of 1, as {peers[:5]}")
        if functions := await self._ask(b"status"):
            violation("no function is left", str(functions))
        self._samples.append(self.server.sample())
        self._check_memory()

    def _check_memory(self) -> None:
        early, late = self._quarter(1), self._quarter(3)
        if late - early > GROWTH * early + GROWTH_BYTES:
            self.book.violation(
                "memory is flat", f"{early / 2**20:.1f} MiB, then {late / 2**20:.1f} MiB, in the median"
            )

    def _quarter(self, which: int) -> float:
        start = self.book.started + self._seconds * which / 4
        found = [sample.rss for sample in self._samples if start <= sample.at <= start + self._seconds / 4]
        return statistics.median(found) if found else 0.0

    def figures(self) -> str:
        """The table."""
        counts = self.book.counts
        rows: list[tuple[str, str]] = [
            ("seconds", f"{self._seconds:g}"),
            ("connections opened", f"{self._opened():,}"),
            *((name, f"{counts[name]:,}") for name in sorted(counts)),
        ]
        if len(self._samples) > 1:
            first = self._samples[0]
            loaded = [sample for sample in self._samples if sample.at < self.book.started + self._seconds]
            cpu = (loaded[-1].cpu - first.cpu) / max(loaded[-1].at - first.at, 0.001)
            rows += [
                ("descriptors of the server, at the most", f"{max(s.descriptors for s in loaded):,}"),
                ("jobs under way, at the most", f"{self._deepest:,}"),
                ("longest wait for a worker, s", f"{self._longest_wait_ever:.1f}"),
                ("descriptors before and after", "{} and {}".format(*self._descriptors)),
                ("memory in the second quarter, MiB", f"{self._quarter(1) / 2**20:.1f}"),
                ("memory in the last quarter, MiB", f"{self._quarter(3) / 2**20:.1f}"),
                ("memory at the most, MiB", f"{max(s.rss for s in self._samples) / 2**20:.1f}"),
                ("CPU of the server, cores", f"{cpu:.2f}"),
                ("longest pause of the soak itself, s", f"{self._lag:.2f}"),
            ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {value:>15}" for name, value in rows)


def main() -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the load lasts [30]")
    parser.add_argument("--connections", type=int, default=2000, help="connections at a time [2000]")
    parser.add_argument("--rate", type=float, default=1000.0, help="submits a second in the mean [1000]")
    parser.add_argument("--seed", type=int, default=None, help="of the random numbers")
    parser.add_argument(
        "--rows", action="store_true", help="with a store, and so little memory that most jobs are rows of it"
    )
    parser.add_argument(
        "--server",
        metavar="COMMAND",
        help="the server to soak, with {port} for a free port and {dir} for an empty folder",
    )
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.randrange(10**6)
    descriptors = max(8192, 2 * options.connections)
    raise_descriptor_limit(descriptors)
    gc.set_threshold(100_000, 20, 100)
    print(f"seed {options.seed}", flush=True)  # the same choices, though never at the same moments
    with running(options.server or default_command(descriptors, options.rows)) as server:
        soak = Soak(server, options)
        asyncio.run(soak.run())
        status = server.stop()
        log = server.log()
    if status:
        soak.book.violation("the server ends in order", f"status {status}")
    for word in ("Unhandled", "Traceback"):
        if word in log:
            soak.book.violation("no traceback in the log", log[max(log.index(word) - 300, 0) :][:3000])
    print(soak.figures())
    if not soak.book.violations:
        print("verdict: passed")
        return 0
    print(soak.book.report())
    print(f"verdict: FAILED, {len(soak.book.violations)} rules violated")
    return 1


if __name__ == "__main__":
    sys.exit(main())
