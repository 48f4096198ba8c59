"""The crash test of a runtime: all that it is made of is killed, stopped, cut off and loaded anew under load.

Children, template, guard, supervisor and the server, which has a store, suffer at random, while clients
submit jobs that return, fail, overrun their time and their memory. No job that was answered may be lost, each
ends once in the server's books, and no process may be left.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from crashpeers import Gone, Line
from linebetween import LineBetween
from processes import Program, Server, free_port, twistd, write_whole
from wirepeer import P, packet

#: What all processes of a runtime are called at the server.
NAME: Final = "crash"

#: The variable by which all processes of one runtime are found.
TRACE: Final = "TXGEAR_TEST_RUNTIME"

#: Seconds that the server waits for a worker that was cut off, and seconds that some lines are cut longer.
GRACE: Final = 2
WITHIN: Final = 0.7
BEYOND: Final = 4.0

#: Seconds between two disturbances, at the least and at the most.
LEAST: Final = 0.3
MOST: Final = 2.5

#: Seconds in which, in peace, all is done that there is.
PEACE: Final = 60.0

#: Jobs that one client submits in a second, about.
RATE: Final = 15

#: Things that were wrong, of which there is a line, at the most.
SHOWN: Final = 20

#: Characters of the runtime's log that are shown where jobs are not done, and disturbances.
LOG_SHOWN: Final = 20_000
DONE_SHOWN: Final = 40

ENDS: Final = (P.WORK_COMPLETE, P.WORK_FAIL, P.WORK_EXCEPTION)

#: What is asked for, and how often: most of it is quick.
FUNCTIONS: Final = {b"quick": 60, b"work": 15, b"later": 10, b"fails": 5, b"overruns": 1, b"eats": 1}

POLICY: Final = """\
[[function]]
name = "*"
retries = 100
backoff = "100ms"
results = "1d"
"""

JOBS: Final = """
import faulthandler
import signal
import time

from txgear.runtime import function

VERSION = 1
held = []
# Asked where something has gone wrong.
faulthandler.register(signal.SIGUSR2)


@function("quick", blocking=False)
def quick(job):
    return job.workload


@function("work")
def work(job):
    time.sleep(0.1)
    return job.workload


@function("later")
async def later(job):
    from twisted.internet import reactor
    from twisted.internet.task import deferLater
    await deferLater(reactor, 0.3, lambda: None)
    return job.workload


@function("fails")
def fails(job):
    if job.attempt == 1:
        raise SystemExit("the first attempt fails")
    return job.workload


@function("overruns")
def overruns(job):
    if job.attempt == 1:
        time.sleep(600)
    return job.workload


@function("eats")
def eats(job):
    while job.attempt == 1:
        held.append(bytearray(b"x") * 10_000_000)
        time.sleep(0.01)
    return job.workload
"""

#: What is loaded instead at times; none of it may take over.
BROKEN: Final = (
    "this is no Python",
    "raise SystemExit(0)",
    "import os\nos._exit(0)",
    "raise KeyboardInterrupt",
)

GROUPS: Final = """
[group.plain]
processes = 2
concurrency = 3
max_jobs = 200
functions = ["quick", "work", "later"]

[group.copies]
start = "fork"
min = 1
max = 3
grow_after = 0.5
shrink_after = 2
functions = ["quick", "work", "fails"]

[group.bounded]
start = "fork"
processes = 1
concurrency = 2
hard_time = 1
hard_memory = "200M"
functions = ["overruns", "eats"]
"""


class Clients:
    """
    Submit jobs, and note what they were answered.

    :ivar background: the handles of jobs for the background.
    :ivar ends: how often each job ended for which a client waited to its end.
    :ivar wrong: what must not be.
    """

    def __init__(self, port: int, seed: str) -> None:
        self._port = port
        self._seed = seed
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.background: list[bytes] = []
        self.ends: Counter[bytes] = Counter()
        self.cut = 0
        self.wrong: list[str] = []

    def start(self) -> None:
        for number, part in enumerate((self._submit, self._submit, self._wait, self._wait)):
            thread = threading.Thread(
                target=self._again, args=(part, random.Random(f"{self._seed} {number}"))
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Submit nothing more, and have waited for what was submitted."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _again(self, part: Callable[[Line, random.Random], None], chance: random.Random) -> None:
        """Do a part until it is over, whatever becomes of the server."""
        while not self._over.is_set():
            try:
                line = Line(self._port)
            except Gone:
                time.sleep(0.1)
                continue
            try:
                part(line, chance)
            except Gone:
                self.cut += 1
            except Exception as error:
                self.wrong.append(f"a client ended with {error!r}")
                return
            finally:
                line.close()

    def _ask(self, line: Line, kind: P, chance: random.Random) -> tuple[bytes, bytes]:
        """Submit a job: its workload, and its handle."""
        [function] = chance.choices(list(FUNCTIONS), list(FUNCTIONS.values()))
        workload = b"%d" % chance.getrandbits(60)
        line.send(packet(kind, function, b"", workload))
        answer, handle = line.read()
        if answer != P.JOB_CREATED:
            raise AssertionError(f"a submit was answered with {answer} {handle!r}")
        return workload, handle

    def _submit(self, line: Line, chance: random.Random) -> None:
        while not self._over.wait(chance.random() * 2 / RATE):
            self.background.append(self._ask(line, P.SUBMIT_JOB_BG, chance)[1])

    def _wait(self, line: Line, chance: random.Random) -> None:
        while not self._over.is_set():
            workload, handle = self._ask(line, P.SUBMIT_JOB, chance)
            kind, body = line.read()
            while kind not in ENDS:
                kind, body = line.read()
            self.ends[handle] += 1
            if (kind, body) != (P.WORK_COMPLETE, handle + b"\0" + workload):
                self.wrong.append(f"{handle!r} ended with {kind} {body[:200]!r}")


class Trial:
    """
    A server, a line that can be cut, a runtime, and clients.

    :ivar counts: what was done to them, and what came of it.
    :ivar wrong: what must not be.
    """

    def __init__(self, folder: Path, seed: str) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._trace = secrets.token_hex(8)
        self._port = free_port()
        self._lives = 0
        self._stopped: list[tuple[float, int]] = []
        self._done: list[str] = []
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        (folder / "policies.toml").write_text(POLICY)
        self._server = self._start_server()
        self._line = LineBetween(self._port)
        self._mend_at: float | None = None
        self._write(JOBS, GROUPS)
        self._runtime = self._start_runtime()
        self._clients = Clients(self._port, seed)

    # What there is

    def _start_server(self) -> Server:
        self._lives += 1
        return Server(
            self._folder,
            *("--config", str(self._folder / "policies.toml"), "--worker-grace", str(GRACE)),
            port=self._port,
            name=f"server{self._lives}",
            store=f"sqlite:///{self._folder / 'jobs.sqlite'}",
        )

    def _start_runtime(self) -> Program:
        self._lives += 1
        command: list[str | Path] = [
            *twistd(),
            "-n",
            "--pidfile=",
            "txgear-worker",
            "--config",
            self._folder / "workers.toml",
        ]
        environment = {TRACE: self._trace, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
        return Program(command, self._folder, f"runtime{self._lives}", env=environment)

    def _write(self, code: str, groups: str) -> None:
        write_whole(self._folder / "jobs.py", code)
        write_whole(
            self._folder / "workers.toml",
            f'servers = ["127.0.0.1:{self._line.port}"]\nname = "{NAME}"\nmodules = ["jobs"]\n'
            f"stop_timeout = 5\n{groups}",
        )

    def _processes(self) -> dict[int, str]:
        """
        All processes of the runtime, with their command lines: by a variable, or the supervisor by its title,
        which it writes over its environment. Another trial beside this one is left alone.
        """
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if not entry.name.isdecimal():
                    continue
                title = (entry / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
                marked = f"{TRACE}={self._trace}".encode() in (entry / "environ").read_bytes().split(b"\0")
                if marked or title.startswith(f"txgear runtime: {self._folder}"):
                    found[int(entry.name)] = title
            except OSError:
                continue
        return found

    def _some(self, pattern: str) -> int:
        """One of the runtime's processes; 0 if there is none."""
        found = [pid for pid, title in self._processes().items() if re.search(pattern, title)]
        return self._random.choice(found) if found else 0

    # Disturbances

    def _send(self, pattern: str, number: int) -> int:
        pid = self._some(pattern)
        if pid:
            if not _told(pid, number):
                return 0
            self._note(f"{signal.Signals(number).name} to {pid}")
        return pid

    def _note(self, what: str) -> None:
        """What was done, and when, for who has to find out what came of it."""
        self._done.append(f"{time.strftime('%H:%M:%S')} {what}")

    def _child_killed(self) -> None:
        self._send(f"runtime: {NAME}-", signal.SIGKILL)

    def _child_told_to_end(self) -> None:
        self._send(f"runtime: {NAME}-", signal.SIGTERM)

    def _template_killed(self) -> None:
        self._send("runtime: template", signal.SIGKILL)

    def _guard_killed(self) -> None:
        self._send("txgear.runtime.guard", signal.SIGKILL)

    def _something_stopped(self) -> None:
        if pid := self._send("runtime", signal.SIGSTOP):
            self._stopped.append((time.monotonic() + self._random.uniform(0.1, 3.0), pid))

    def _hang_up(self) -> None:
        """Have all loaded anew; who has not begun to start is ended by that, as any program."""
        if b"starting up" in self._runtime.stdout:
            self._runtime.signal(signal.SIGHUP)

    def _code_loaded(self) -> None:
        self._write(JOBS.replace("VERSION = 1", f"VERSION = {self._random.random()}"), GROUPS)
        self._hang_up()

    def _broken_code_loaded(self) -> None:
        self._write(self._random.choice(BROKEN), GROUPS)
        self._hang_up()
        # Until then, whoever is started anew has it as well; that is no mistake of anybody's.
        time.sleep(self._random.uniform(0.5, 2.0))
        self._write(JOBS, GROUPS)

    def _broken_file_loaded(self) -> None:
        self._write(JOBS, "nonsense = 1")
        self._hang_up()
        time.sleep(0.2)
        self._write(JOBS, GROUPS)

    def _loaded_again_and_again(self) -> None:
        for _ in range(10):
            self._code_loaded()
            time.sleep(self._random.random() * 0.1)

    def _cut(self) -> None:
        if self._mend_at is None:
            self._mend_at = time.monotonic() + self._random.choice((WITHIN, WITHIN, BEYOND))
            self._line.cut()

    def _server_killed(self) -> None:
        self._server.kill()
        self._server = self._start_server()

    def _supervisor_killed(self) -> None:
        self._runtime.kill()
        self._expect_calm()
        self._runtime = self._start_runtime()

    _DISTURBANCES: Final = {
        "child killed": (_child_killed, 12),
        "child told to end": (_child_told_to_end, 4),
        "template killed": (_template_killed, 2),
        "guard killed": (_guard_killed, 2),
        "something stopped": (_something_stopped, 6),
        "code loaded": (_code_loaded, 2),
        "broken code loaded": (_broken_code_loaded, 1),
        "broken file loaded": (_broken_file_loaded, 1),
        "loaded again and again": (_loaded_again_and_again, 1),
        "line cut": (_cut, 3),
        "server killed": (_server_killed, 1),
        "supervisor killed": (_supervisor_killed, 1),
    }

    def _mend(self, *, all: bool = False) -> None:
        """Let go on what has been stopped or cut for long enough."""
        now = time.monotonic()
        for each in [each for each in self._stopped if all or each[0] <= now]:
            self._stopped.remove(each)
            if each[1] in self._processes() and _told(each[1], signal.SIGCONT):
                self._note(f"SIGCONT to {each[1]}")
        if self._mend_at is not None and (all or self._mend_at <= now):
            self._mend_at = None
            self._line.mend()
            self._note("line mended")

    # The trial

    def run(self, seconds: float) -> None:
        """Disturb it for so long; then let all be done in peace, look at the books, and end it."""
        self._clients.start()
        end = time.monotonic() + seconds
        todo = list(self._DISTURBANCES)
        self._random.shuffle(todo)
        todo.append("child killed")
        weights = [weight for _, weight in self._DISTURBANCES.values()]
        while time.monotonic() < end:
            # Each once at first, then as it comes.
            [what] = [todo.pop()] if todo else self._random.choices(list(self._DISTURBANCES), weights)
            self._note(what)
            self._DISTURBANCES[what][0](self)
            self.counts[what] += 1
            pause = time.monotonic() + self._random.uniform(LEAST, MOST)
            while time.monotonic() < pause:
                self._mend()
                time.sleep(0.05)
        line = Line(self._port)
        self.counts["jobs done meanwhile"] = len(self._pages(line, b"kept"))
        line.close()
        self._mend(all=True)
        self._write(JOBS, GROUPS)
        self._clients.stop()
        self._look_at_books()
        self._end()

    def _look_at_books(self) -> None:
        """Wait until nothing is left to be done, and see that each job has ended once."""
        line = Line(self._port)
        deadline = time.monotonic() + PEACE
        while left := [row for row in line.lines(b"status") if row.split(b"\t")[1] != b"0"]:
            if time.monotonic() > deadline:
                self.wrong.append(f"not all was done within {PEACE:g} s: {left}\n{self._findings(line)}")
                break
            time.sleep(0.1)
        ended = Counter([*self._pages(line, b"kept"), *self._pages(line, b"dead")])
        line.close()
        clients = self._clients
        self.wrong += clients.wrong
        self.wrong += [f"{handle!r} was lost" for handle in clients.background if not ended[handle]]
        self.wrong += [f"{handle!r} is there {count} times" for handle, count in ended.items() if count > 1]
        self.wrong += [
            f"{handle!r} has ended {count} times" for handle, count in clients.ends.items() if count > 1
        ]
        self.counts["jobs in the background"] = len(clients.background)
        self.counts["jobs waited for"] = len(clients.ends)
        self.counts["clients cut off"] = clients.cut

    def _findings(self, line: Line) -> str:
        """
        Why jobs may not be done: what was done last, what the server has, and what the processes do, with
        where their threads are at the end of the runtime's log.
        """
        found = ["done last:", *self._done[-DONE_SHOWN:]]
        running = line.lines(b"jobs state=running")
        each = [b"job " + row.split(b"\t")[0] for row in running]
        for command in (b"jobs limit=20", b"workforce", b"connections", *each):
            found += [f"{command.decode()}:", *map(repr, line.lines(command))]
        for pid, title in self._processes().items():
            found.append(f"{pid} {title}: {_state(pid)}")
            if f"runtime: {NAME}-" in title:
                _told(pid, signal.SIGUSR2)
        time.sleep(1)
        log = (self._runtime.stdout + self._runtime.stderr).decode(errors="replace")
        return "\n".join([*found, "log:", log[-LOG_SHOWN:]])

    @staticmethod
    def _pages(line: Line, command: bytes) -> list[bytes]:
        """The handles of a list that has pages."""
        handles: list[bytes] = []
        more = b""
        while True:
            rows = [row.split(b"\t") for row in line.lines(command + b" limit=200" + more)]
            handles += [row[0] for row in rows if row[0] != b"next"]
            following = [row[1] for row in rows if row[0] == b"next"]
            if not following:
                return handles
            more = b" after=" + following[0]

    def _end(self) -> None:
        self._runtime.signal(signal.SIGTERM)
        try:
            status = self._runtime.wait(PEACE)
        except AssertionError:
            self.wrong.append("the runtime does not end")
        else:
            if status != 0:
                self.wrong.append(f"the runtime ended with status {status}")
        deadline = time.monotonic() + PEACE
        while (left := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        if left:
            self.wrong.append(f"processes are left: {left}")
        self._expect_calm()

    def _expect_calm(self) -> None:
        """The supervisor has had no trouble with itself; what its children say begins with their names."""
        log = (self._runtime.stdout + self._runtime.stderr).decode(errors="replace")
        for line in log.splitlines():
            if re.search("Traceback|Unhandled", line) and not re.search(f"{NAME}-[a-z0-9-]+: ", line):
                self.wrong.append(f"trouble in the log:\n{log}")
                return

    def close(self) -> None:
        """End all that there is."""
        self._line.mend()
        for pid in self._processes():
            _told(pid, signal.SIGKILL)
        self._runtime.stop()
        self._server.stop()
        self._line.close()


def _told(pid: int, number: int) -> bool:
    """Send a process a signal; whether it was still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _state(pid: int) -> str:
    """Whether a process runs, sleeps or is stopped, and where it waits in the kernel."""
    try:
        status, where = (Path(f"/proc/{pid}/{name}").read_text() for name in ("status", "wchan"))
    except OSError as error:
        return str(error)
    wanted = ("State:", "PPid:", "Threads:", "SigPnd:", "ShdPnd:")
    return " ".join([*(line for line in status.splitlines() if line.startswith(wanted)), where])


def run(folder: Path, seed: str, seconds: float) -> tuple[Counter[str], list[str]]:
    """Disturb a runtime for so long: what was done, and what was wrong."""
    trial = Trial(folder, seed)
    try:
        trial.run(seconds)
    finally:
        trial.close()
    return trial.counts, trial.wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="of disturbances [%(default)s]")
    parser.add_argument("--seed", default=str(time.time_ns()), help="of all that is random here [the time]")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="txgear-crash-"))
    counts, wrong = run(folder, options.seed, options.seconds)
    for what, count in sorted(counts.items()):
        print(f"{count:8} {what}")
    for each in wrong[:SHOWN]:
        print(each)
    if options.keep:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder)
    print("verdict:", "failed" if wrong else "passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
