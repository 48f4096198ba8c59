"""The crash test: a server under load is killed again and again, and no job that was answered may be lost.

As a program it does that many times with every kind of store and prints the figures as a table; the databases
are private servers of its own, which in further runs are killed as well.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from math import inf
from pathlib import Path
from typing import Final

from crashbook import CHANGED, DUPLICATE, LOST, NUMBER, ORDER, OTHER, RETURNED, TWICE, Book, Record
from crashfigures import Figures, table
from crashpeers import FUNCTIONS, LATER, Grabber, Line, ending, load
from databases import Database, MariaDB, Postgres
from lives import Lives
from processes import Program, Server, free_port, server_command
from wirepeer import P, packet

#: Seconds of load before a kill, at the least and at the most: some jobs are to be done for over a second.
LEAST: Final = 0.3
MOST: Final = 1.8

#: Seconds into its start when a server is killed that has not come up yet.
EARLIEST: Final = 0.2
LATEST: Final = 1.0

#: Lives of the server between two in which a single worker does all that is there.
DRAINS: Final = 5

#: Seconds after the last submit in which each job with a time has become due, unless it is for much later.
DUE: Final = 2.2

#: Seconds without a job after which no more is expected.
QUIET: Final = 0.5

#: The kinds of stores, and which of them are servers of their own.
STORES: Final = ("sqlite", "postgresql", "mysql")
SERVERS: Final[dict[str, type[Database]]] = {"postgresql": Postgres, "mysql": MariaDB}

#: What may be in memory of the queue, drawn anew for each life of the server: mostly so little that most jobs
#: are rows of the store, and sometimes enough for all jobs, though not for their workloads.
QUEUE_MEMORY: Final = ("16K", "16K", "64K", "1M")


#: What is told of a run.
COLUMNS: Final = (
    ("answered", ("answered",)),
    ("completed", ("completed",)),
    ("refused", ("refused",)),
    ("of them there", ("refused yet there",)),
    (LOST, (LOST,)),
    (DUPLICATE, (DUPLICATE, NUMBER)),
    (CHANGED, (CHANGED,)),
    (ORDER, (ORDER,)),
    (TWICE, (TWICE,)),
    ("came back", ("came back",)),
    ("of them late", (RETURNED,)),
    ("drained", ("drained",)),
    ("before higher ones", ("before higher ones",)),
    (OTHER, (OTHER,)),
)


class Trial:
    """One store, and a server on it that does not live long."""

    def __init__(self, name: str, store: str, folder: Path, seed: str, database: Database | None) -> None:
        """
        :param store: its URL.
        :param seed: of all that is random here.
        :param database: the store's server, if that is to be killed, too.
        """
        self._book = Book()
        self.figures = Figures(name, COLUMNS, counts=self._book.counts, details=self._book.details)
        self._store = store
        self._folder = folder
        self._seed = seed
        self._random = random.Random(seed)
        self._database = database
        self._port = free_port()
        self._numbers: Iterator[int] = itertools.count(1)
        self._lives = 0
        self._killed_at = 0.0

    def run(self, kills: int) -> Figures:
        """Kill the server so many times; then let it come to its end in peace, and look what is left."""
        settled = 0.0
        for life in range(kills):
            if life % DRAINS == DRAINS // 2:
                self._kill_at_start()
            server = self._start()
            try:
                self._examine(settled)
                if life % DRAINS == DRAINS - 1:
                    self._drain()
                settled = self._load(server)
            finally:
                server.stop()
            self._expect_calm(server)
            self._book.killed()
        # After an end in peace nothing that was done may be there.
        for at, drain in ((settled, True), (inf, False)):
            server = self._start()
            try:
                self._examine(at)
                if drain:
                    self._drain()
            finally:
                status = server.stop()
            self._expect_calm(server)
            if status != 0:
                self._book.wrong(OTHER, f"the server ended with status {status}")
            self._book.killed()
        return self.figures

    def _options(self) -> list[str]:
        # Handles keep what they start with, whatever new ones do.
        memory = self._random.choice(QUEUE_MEMORY)
        return ["--job-handle-prefix", f"H:crash-{self._lives % 2}", "--queue-memory", memory]

    def _start(self) -> Server:
        self._lives += 1
        begin = time.monotonic()
        server = Server(
            self._folder, *self._options(), port=self._port, name=f"server{self._lives}", store=self._store
        )
        self.figures.starts.append(time.monotonic() - begin)
        return server

    def _kill_at_start(self) -> None:
        """Start it, and kill it before it is up or just when it is."""
        command = [*server_command(self._port, self._store), *self._options()]
        program = Program(command, self._folder, f"early{self._lives}")
        try:
            time.sleep(self._random.uniform(EARLIEST, LATEST))
            if not program.running:
                self._book.wrong(OTHER, f"the server did not start:\n{program.log()}")
        finally:
            program.kill()
        self.figures.kills_at_start += 1

    def _load(self, server: Server) -> float:
        """Let clients and workers at the server, and kill it; from when on completions may be unknown."""
        crowd = load(self._port, self._book, self._numbers, f"{self._seed} {self._lives}")
        try:
            time.sleep(self._random.uniform(LEAST, MOST))
            if self._database is not None:
                self._kill_database(self._database)
        finally:
            self._killed_at = time.monotonic()
            server.kill()
            crowd.join()
        self.figures.kills += 1
        if self._database is None:
            self.figures.unseen.append(self._killed_at - self._book.last_kept)
        else:
            # While it was away nothing could be written.
            self._database.resume() if self._database.running else self._database.start()
        return self._book.last_kept

    def _kill_database(self, database: Database) -> None:
        """Kill the database. Mostly it comes back under load; sometimes the server does not see that."""
        database.kill()
        self.figures.kills_of_database += 1
        time.sleep(self._random.uniform(0.0, 1.0))
        if self._random.random() < 0.8:
            database.start()
            time.sleep(self._random.uniform(LEAST, MOST))

    def _examine(self, at: float) -> None:
        """Compare what the server has with what it must have."""
        line = Line(self._port)
        rows = [row.split(b"\t") for row in line.lines(b"show jobs")]
        found = self._book.restarted([(row[0], int(row[1])) for row in rows], at)
        for start in range(0, len(found), 500):
            part = found[start : start + 500]
            line.send(b"".join(packet(P.GET_STATUS, handle) for handle in part))
            for handle in part:
                kind, body = line.read()
                if kind != P.STATUS_RES or body.split(b"\0") != [handle, b"1", b"0", b"0", b"0"]:
                    self._book.wrong(OTHER, f"GET_STATUS of {handle!r} was answered with {kind} {body!r}")
        line.close()

    def _drain(self) -> None:
        """Have a single worker do all that is there, one function after the other."""
        order: list[Record] = []
        line = Line(self._port)
        grabber = Grabber(self._port, self._book)
        last = self._killed_at + DUE
        for function in FUNCTIONS:
            grabber.line.send(packet(P.CAN_DO, function))
            before = b""
            while True:
                record = grabber.grab(before)
                before = b""
                if record is not None:
                    order.append(record)
                    before = ending(record, P.WORK_COMPLETE)
                    self._book.ended(record)
                    last = max(last, time.monotonic())
                elif function == LATER:
                    # Some are not due for long, and of the others workloads may be on their way.
                    if time.monotonic() > last + QUIET:
                        break
                    time.sleep(0.02)
                elif self._total(line, function):
                    grabber.sleep()
                else:
                    break
            grabber.line.send(packet(P.CANT_DO, function))
        left = {row.split(b"\t")[0] for row in line.lines(b"show jobs")}
        self._book.drained(order, left, time.time())
        grabber.line.close()
        line.close()

    @staticmethod
    def _total(line: Line, function: bytes) -> int:
        """The jobs of a function. Its name may be shown in another way, but not its beginning."""
        rows = [row.rsplit(b"\t", 3) for row in line.lines(b"status")]
        return sum(int(row[1]) for row in rows if row[0][:3] == function[:3])

    def _expect_calm(self, server: Server) -> None:
        if not server.calm():
            self._book.wrong(OTHER, f"a traceback in the server's log:\n{server.log()}")


def temporary(stack: ExitStack) -> Path:
    """A folder that goes with the stack."""
    folder = Path(tempfile.mkdtemp(prefix="txgear-crash-"))
    stack.callback(shutil.rmtree, folder)
    return folder


def run(
    name: str, url: str, folder: Path, seed: str, kills: int, database: Database | None = None
) -> Figures:
    """Kill a server on this store so many times, and the database beneath it, if one is given, too."""
    return Trial(name, url, folder, f"{seed} {name}", database).run(kills)


def run_lives(name: str, url: str, folder: Path, seed: str, kills: int) -> Figures:
    """Kill a server with policies on this store so many times."""
    return Lives(name, url, folder, f"{seed} {name} lives").run(kills)


def runs(stores: Sequence[str], seed: str, kills: int) -> Iterator[Figures]:
    """Run the test on a store of each kind; those that are servers of their own are then killed, too."""
    with ExitStack() as stack:
        for store in stores:
            folder = temporary(stack)
            if store not in SERVERS:
                yield run(store, f"sqlite:///{folder / 'jobs.sqlite'}", folder, seed, kills)
                continue
            if reason := SERVERS[store].missing():
                sys.exit(f"{store}: {reason}")
            database = stack.enter_context(SERVERS[store](temporary(stack)))
            yield run(store, database.url, folder, seed, kills)
            yield run(f"{store}, killed too", database.clear(), folder, seed, kills, database)


def lives(stores: Sequence[str], seed: str, kills: int) -> Iterator[Figures]:
    """Run the second test, that of policies, on a store of each kind."""
    with ExitStack() as stack:
        for store in stores:
            folder = temporary(stack)
            url = f"sqlite:///{folder / 'jobs.sqlite'}"
            if store in SERVERS:
                if reason := SERVERS[store].missing():
                    sys.exit(f"{store}: {reason}")
                url = stack.enter_context(SERVERS[store](temporary(stack))).url
            yield run_lives(store, url, folder, seed, kills)


#: The tests: of jobs as such, and of what policies and schedules make of them.
PARTS: Final = {"queue": runs, "lives": lives}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="of the server, in each run [%(default)s]")
    parser.add_argument("--seed", default=str(time.time_ns()), help="of all that is random here [the time]")
    parser.add_argument("--store", action="append", choices=STORES, help="only these")
    parser.add_argument("--part", action="append", choices=PARTS, help="only these")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    wrong = False
    for part in options.part or PARTS:
        done: list[Figures] = []
        for figures in PARTS[part](options.store or STORES, options.seed, options.kills):
            done.append(figures)
            print(
                f"{part}, {figures.name}: {figures.kills} kills, {figures.counts[LOST]} jobs lost", flush=True
            )
        print(table(done))
        for figures in done:
            for detail in figures.details:
                print(f"{figures.name}: {detail}")
        wrong = wrong or any(figures.details for figures in done)
    print("verdict:", "failed" if wrong else "passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
