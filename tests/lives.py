"""The second crash test: the whole life of a job over the ends of the server.

Jobs are tried again, die, are requeued, bring results that are kept and have uniques that stay taken, and
schedules submit some, while the server is killed again and again. What it has afterwards must be what it had.
"""

from __future__ import annotations

import itertools
import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Final

from crashbook import CHANGED, DUPLICATE, LOST, NUMBER, OTHER, RETURNED
from crashfigures import Figures
from crashpeers import Crowd, Line
from livesbook import DEAD, KEPT, LIVE, LifeBook
from livesclock import NEVER, Schedules
from livespeers import (
    CONFIG,
    FUNCTIONS,
    SINGLE,
    TICKS,
    OwnLine,
    again,
    listed,
    load,
    read,
    results,
    workers,
)
from processes import Program, Server, free_port, server_command
from wirepeer import P, packet

#: Seconds of load before a kill, at the least and at the most: some steps are to be over for a second.
LEAST: Final = 0.4
MOST: Final = 1.7

#: Seconds from the first connection to the kill of a server that has just been started, at the most.
EARLY: Final = 0.015

#: Lives of the server between two that are preceded by one that ends at its start.
EARLY_ENDS: Final = 3

#: Seconds in which workers have done all that can be done.
PATIENCE: Final = 30.0

#: Seconds in which a job is handed out that is only in the store.
READING: Final = 5.0

#: What is told of a run; below these, what must not be.
COLUMNS: Final = (
    ("answered", ("answered",)),
    ("asked again", ("asked again",)),
    ("done", ("step: done",)),
    ("attempts failed", ("step: fail", "step: exception")),
    ("workers lost", ("step: lost",)),
    ("requeued", ("step: requeued",)),
    ("dropped", ("step: forgotten",)),
    ("set back", ("set back",)),
    ("scheduled", ("scheduled",)),
    ("found: to be done", ("live there",)),
    ("of them retried", ("retried and there",)),
    ("dead", ("dead there",)),
    ("done and known", ("kept there",)),
    ("histories compared", ("histories compared",)),
    ("results compared", ("results compared",)),
    ("undone within 1 s", ("undone",)),
    (LOST, (LOST,)),
    (DUPLICATE, (DUPLICATE, NUMBER)),
    (RETURNED, (RETURNED,)),
    (CHANGED, (CHANGED,)),
    (OTHER, (OTHER,)),
)


class Lives:
    """One store, and a server with policies on it that does not live long."""

    def __init__(self, name: str, store: str, folder: Path, seed: str) -> None:
        """
        :param store: its URL.
        :param seed: of all that is random here.
        """
        self._book = LifeBook(seed)
        self.figures = Figures(name, COLUMNS, counts=self._book.counts, details=self._book.details)
        self._store = store
        self._folder = folder
        self._seed = seed
        self._random = random.Random(seed)
        self._schedules = Schedules(store, self._book, random.Random(f"{seed} schedules"))
        self._port = free_port()
        self._numbers: Iterator[int] = itertools.count(1)
        self._lives = 0
        # The last life, in seconds since the epoch.
        self._started = self._up = self._killed = 0.0
        (folder / "txgear.toml").write_text(CONFIG)

    def run(self, kills: int) -> Figures:
        """Kill the server so many times; then let all be done that can be, and look at what there is."""
        settled = -inf
        for life in range(kills):
            if life % EARLY_ENDS == 0:
                self._schedules.set_back(time.time())
                self._kill_at_start()
            server = self._start()
            try:
                self._examine(settled)
                settled = self._load(server)
            finally:
                server.stop()
            self._ended(server)
            self._schedules.examine(self._started, self._up, self._killed)
        self._end_in_peace(settled)
        return self.figures

    # Lives

    def _options(self) -> list[str]:
        # So little memory that most jobs are rows of the store, or so much that workloads and results are.
        memory = self._random.choice(("16K", "16K", "64K", "1M"))
        return ["--config", str(self._folder / "txgear.toml"), "--queue-memory", memory]

    def _start(self) -> Server:
        self._lives += 1
        self._started, begin = time.time(), time.monotonic()
        server = Server(
            self._folder, *self._options(), port=self._port, name=f"server{self._lives}", store=self._store
        )
        self.figures.starts.append(time.monotonic() - begin)
        self._up = time.time()
        return server

    def _kill_at_start(self) -> None:
        """Start it, and kill it when it has just begun to submit what schedules have missed."""
        command = [*server_command(self._port, self._store), *self._options()]
        started = time.time()
        program = Program(command, self._folder, f"early{self._lives}")
        try:
            deadline = time.monotonic() + PATIENCE
            while program.running and not self._is_open() and time.monotonic() < deadline:
                time.sleep(0.001)
            if not program.running:
                self._book.wrong(OTHER, f"the server did not start:\n{program.log()}")
            # It listens, and is about to submit; it takes a moment to write that.
            time.sleep(self._random.uniform(0.0, EARLY))
        finally:
            program.kill()
        self.figures.kills_at_start += 1
        self._schedules.examine(started, NEVER, time.time())

    def _is_open(self) -> bool:
        with suppress(ConnectionError), socket.create_connection(("127.0.0.1", self._port), 1.0):
            return True
        return False

    def _load(self, server: Server) -> float:
        """Let clients, workers and an operator at the server, and kill it; until when it surely ran."""
        idle = FUNCTIONS[self._lives % len(FUNCTIONS) - 1]
        crowd = load(self._port, self._book, self._numbers, f"{self._seed} {self._lives}", idle)
        try:
            time.sleep(self._random.uniform(LEAST, MOST))
        finally:
            at = time.monotonic()
            self._killed = time.time()
            server.kill()
            crowd.join()
        self.figures.kills += 1
        self.figures.unseen.append(at - self._book.last_kept)
        return self._book.last_kept

    def _end_in_peace(self, settled: float) -> None:
        server = self._start()
        crowd = Crowd(self._book)
        try:
            self._examine(settled)
            workers(crowd, self._port, self._book, f"{self._seed} peace")
            line = Line(self._port)
            deadline = time.monotonic() + PATIENCE
            while (left := self._left(line)) and time.monotonic() < deadline:
                time.sleep(0.05)
            line.close()
            if left:
                self._book.wrong(OTHER, f"{left} jobs did not come to an end")
            self._book.expect_none_live()
            done = self._do_scheduled()
        finally:
            status = server.stop()
            crowd.join()
        self._ended(server, status)
        self._schedules.examine(self._started, self._up, time.time(), done)
        # Now nothing may have been undone.
        server = self._start()
        try:
            self._examine(inf)
            self._ask_once_more()
        finally:
            status = server.stop()
        self._ended(server, status)

    @staticmethod
    def _left(line: Line) -> int:
        """Jobs that have not ended, but for those of schedules."""
        return len(listed(line, (LIVE,)))

    def _ended(self, server: Server, status: int = 0) -> None:
        self._book.killed()
        if status != 0:
            self._book.wrong(OTHER, f"the server ended with status {status}")
        if not server.calm():
            self._book.wrong(OTHER, f"a traceback in the server's log:\n{server.log()}")

    # What the server has

    def _examine(self, at: float) -> None:
        """Compare what the server has with what it must have."""
        line, own = Line(self._port), OwnLine(self._port)
        rows = listed(line)
        chosen = self._book.to_read(rows)
        readings = {row.handle: read(line, row.handle) for row in chosen}
        self._book.restarted(rows, readings, at)
        self._compare_results(own, [row.unique for row in chosen])
        line.close()
        own.close()

    def _compare_results(self, line: Line, uniques: list[bytes]) -> None:
        """Ask for what jobs have brought, of some by their handles, of others by their uniques."""
        questions, expected = [], []
        for unique in uniques:
            story = self._book.story(unique)
            if story is None:
                continue
            by_handle = self._random.random() < 0.5
            questions.append((story.handle, b"", b"") if by_handle else (b"", story.plan.function, unique))
            outcome, size, data = b"done", b"-", b""
            if story.now.place == LIVE:
                outcome, size = b"pending", b"0"
            elif story.now.place == DEAD:
                outcome, size, data = b"dead", b"0", story.now.history[-1].text
            elif story.plan.brings is not None:
                size, data = b"%d" % len(story.plan.brings[0]), b"".join(story.plan.brings)
            expected.append((story.handle, outcome, size, data))
            self._book.counts["results compared"] += story.now.place == KEPT
        for handle in self._book.some_gone():
            questions.append((handle, b"", b""))
            expected.append((handle, b"unknown", b"0", b""))
        for wanted, got in zip(expected, results(line, questions), strict=True):
            if wanted != got:
                self._book.wrong(
                    CHANGED, f"{wanted[:3]} with {wanted[3][:50]!r} came as {got[:3]}, {got[3][:50]!r}"
                )

    def _ask_once_more(self) -> None:
        """Submit what is done and has a unique that stays taken: there is no new job."""
        line = Line(self._port)
        for story in self._book.all_once():
            line.send(again(story))
            kind, body = line.read()
            if kind != P.JOB_CREATED:
                self._book.wrong(OTHER, f"{story} was answered with {kind} {body[:200]!r}")
            self._book.answered(story, body, first=False)
        if self._left(line):
            self._book.wrong(DUPLICATE, "a job whose unique is taken was queued again")
        line.close()

    def _do_scheduled(self) -> set[int]:
        """Do the jobs of schedules, all that there are; their numbers."""
        line = Line(self._port)
        line.send(packet(P.CAN_DO, TICKS) + packet(P.CAN_DO, SINGLE))
        done: set[int] = set()
        patience = time.monotonic() + READING
        while self._schedules.numbers - done:
            line.send(packet(P.GRAB_JOB))
            kind, body = line.read()
            if kind == P.NO_JOB and time.monotonic() < patience:
                # They may be rows that are being read.
                time.sleep(0.05)
                continue
            if kind == P.NO_JOB:
                self._book.wrong(
                    LOST, f"jobs {self._schedules.numbers - done} of schedules are not handed out"
                )
                break
            handle = body.split(b"\0")[0]
            number = int(handle.rpartition(b":")[2])
            if number in done:
                self._book.wrong(DUPLICATE, f"{handle!r} was handed out again")
            done.add(number)
            line.send(packet(P.WORK_COMPLETE, handle, b""))
        line.close()
        return done
