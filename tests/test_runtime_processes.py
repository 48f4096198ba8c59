"""The processes of a runtime, with real ones: killed, overrun, leaking, stuck, reloaded and stopped.

Whatever happens to them, each job ends once, and no process is left.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from processes import Program, Programs, Server, Servers, twistd, wait_until, write_whole
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

ENDS: Final = (P.WORK_COMPLETE, P.WORK_FAIL, P.WORK_EXCEPTION)

#: The variable by which all processes of one runtime are found, whatever they have become.
TRACE: Final = "TXGEAR_TEST_RUNTIME"

#: Seconds for what takes a few: a new interpreter, on a crowded machine.
LONG: Final = 40.0

JOBS: Final = '''
import ctypes
import os
import subprocess
import sys
import time

from txgear.runtime import function

VERSION = b"1"
held = []


def note(job, what):
    with open("journal", "ab", buffering=0) as journal:
        journal.write(b"%s %s %d %d\\n" % (what.encode(), job.handle, job.attempt, os.getpid()))


@function("PREFIX-work")
def work(job):
    """Takes as many seconds as the workload says."""
    note(job, "begins")
    time.sleep(float(job.workload or 0))
    note(job, "ends")
    return VERSION


@function("PREFIX-quick", blocking=False)
def quick(job):
    return b"%d" % os.getpid()


@function("PREFIX-stuck")
def stuck(job):
    """The first attempt is stuck in C code that holds the interpreter's lock, and has started a program."""
    note(job, "begins")
    if job.attempt == 1:
        subprocess.Popen(["sleep", "300"], start_new_session=True)
        ctypes.PyDLL(None).sleep(300)
    return VERSION


@function("PREFIX-eat")
def eat(job):
    """The first attempt takes all memory that it can get."""
    note(job, "begins")
    while job.attempt == 1:
        held.append(bytearray(os.urandom(1024)) * 10_000)
        time.sleep(0.02)
    return VERSION


@function("PREFIX-leak")
def leak(job):
    """Each job leaves some memory behind."""
    held.append(bytearray(os.urandom(1024)) * 5_000)
    time.sleep(0.05)
    return b"%d" % os.getpid()
'''


class Runtime:
    """A runtime, and what its functions are called."""

    def __init__(self, folder: Path, server: Server, programs: Programs) -> None:
        self.folder = folder
        self.prefix = secrets.token_hex(4)
        self._server = server
        self._programs = programs
        self._trace = secrets.token_hex(8)
        self.write(JOBS)
        self.program: Program

    def write(self, code: str) -> None:
        """What stands in the module."""
        write_whole(self.folder / "jobs.py", code.replace("PREFIX", self.prefix))

    def configure(self, groups: str, *, stop_timeout: float = 20.0) -> None:
        """What stands in the file."""
        (self.folder / "workers.toml").write_text(
            f'servers = ["127.0.0.1:{self._server.port}"]\nname = "{self.prefix}"\nmodules = ["jobs"]\n'
            f"stop_timeout = {stop_timeout}\n{groups}"
        )

    def start(self, groups: str, *, ready: int, stop_timeout: float = 20.0) -> None:
        """Start it, and wait until that many processes are ready."""
        self.configure(groups, stop_timeout=stop_timeout)
        self.program = self._programs.start(
            [*twistd(), "-n", "--pidfile=", "txgear-worker", "--config", self.folder / "workers.toml"],
            env={TRACE: self._trace, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self.wait_for("is ready", ready)

    def said(self, words: str) -> int:
        """In how many lines of its log these words are."""
        log = (self.program.stdout + self.program.stderr).decode()
        return sum(words in line for line in log.splitlines())

    def wait_for(self, words: str, count: int = 1) -> None:
        """Wait for lines of its log."""

        def said() -> bool:
            assert self.program.running, f"it has ended, and never said {words!r}"
            return self.said(words) >= count

        wait_until(said, LONG, f"{count} times {words!r}")

    def name(self, function: str) -> bytes:
        return f"{self.prefix}-{function}".encode()

    def journal(self, what: str, count: int) -> list[tuple[bytes, int, int]]:
        """Wait for lines of the journal: handle, attempt and process of each."""

        def found() -> list[tuple[bytes, int, int]]:
            path = self._programs.directory / "journal"
            # The last one may not be whole yet.
            lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
            words = [line.split() for line in lines]
            return [(each[1], int(each[2]), int(each[3])) for each in words if each[0] == what.encode()]

        wait_until(lambda: len(found()) >= count, LONG, f"{count} times {what} in the journal")
        return found()

    def processes(self) -> set[int]:
        """
        All its processes that are there, and what they have started: by a variable, or by their title, which
        is written over the environment that others can see.
        """
        wanted = f"{TRACE}={self._trace}".encode()
        title = f"txgear runtime: {self.prefix}".encode()
        found = set()
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and (
                    wanted in (entry / "environ").read_bytes().split(b"\0")
                    or (entry / "cmdline").read_bytes().startswith(title)
                ):
                    found.add(int(entry.name))
            except OSError:
                continue
        return found

    def is_gone(self) -> None:
        """Wait until no process is left."""
        wait_until(lambda: not self.processes(), LONG, "processes are left")

    def stop(self, *, broken: bool = False) -> None:
        """
        End it as an operator does, and see that nothing is left, and that its log has no traceback, unless
        its code was broken.
        """
        self.program.signal(signal.SIGTERM)
        assert self.program.wait(LONG) == 0, self.program.log()
        self.is_gone()
        assert broken or not self.said("Traceback"), self.program.log()


class Client:
    """Submits jobs, and counts how they end."""

    def __init__(self, peer: WirePeer) -> None:
        self._peer = peer
        peer.send(P.OPTION_REQ, b"exceptions")
        peer.expect(P.OPTION_RES)
        self.handles: list[bytes] = []
        self.ends: list[tuple[P, bytes, bytes]] = []

    def submit(self, function: bytes, *workloads: bytes) -> list[bytes]:
        """The handles of jobs; what comes meanwhile is kept."""
        handles: list[bytes] = []
        for workload in workloads:
            self._peer.send(P.SUBMIT_JOB, function, b"", workload)
        while len(handles) < len(workloads):
            if handle := self._read():
                handles.append(handle)
        self.handles += handles
        return handles

    def _read(self) -> bytes:
        got = self._peer.read(LONG)
        if got.type == P.JOB_CREATED:
            return got.body
        if got.type in ENDS:
            handle, *data = got.args
            self.ends.append((P(got.type), handle, b"\0".join(data)))
        return b""

    def results(self, count: int) -> list[bytes]:
        """Wait for that many jobs to be done, from the first on; what they returned, in their order."""
        while len(self.ends) < count:
            self._read()
        assert {kind for kind, _, _ in self.ends} == {P.WORK_COMPLETE}, self.ends
        found = {handle: data for _, handle, data in self.ends}
        return [found[handle] for handle in self.handles if handle in found]

    def all_ended_once(self) -> dict[bytes, tuple[P, bytes]]:
        """Each job has ended, and only once; how."""
        while len(self.ends) < len(self.handles):
            self._read()
        for packet in self._peer.sync():
            handle, *data = packet.args
            self.ends.append((P(packet.type), handle, b"\0".join(data)))
        assert Counter(handle for _, handle, _ in self.ends) == Counter(self.handles)
        return {handle: (kind, data) for kind, handle, data in self.ends}

    def all_done_once(self) -> list[bytes]:
        """Each job has been done, and only once; what they returned."""
        self.all_ended_once()
        return self.results(len(self.handles))


@pytest.fixture
def runtime(tmp_path: Path, server: Server, programs: Programs) -> Iterator[Runtime]:
    this = Runtime(tmp_path, server, programs)
    yield this
    for pid in this.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server.connect(timeout=LONG))


def test_killed(runtime: Runtime, client: Client) -> None:
    """A process dies with jobs in hand: they are tried again at once, and another one takes its place."""
    runtime.start("[group.a]\nprocesses = 2\nconcurrency = 2\n", ready=2)
    client.submit(runtime.name("work"), *[b"1.5"] * 4, *[b"0.3"] * 16)
    # The one that began last has not ended yet, though one process may have begun late.
    last = runtime.journal("begins", 4)[-1]
    os.kill(last[2], signal.SIGKILL)
    assert client.all_done_once() == [b"1"] * 20
    runtime.wait_for("is ready", 3)
    assert runtime.said("ended by itself (ended by SIGKILL)") == 1
    assert runtime.said("ended by itself (ended by SIGKILL):") == 0
    again = [attempt for handle, attempt, _ in runtime.journal("begins", 20) if handle == last[0]]
    assert again == [1, 2]
    runtime.stop()


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_overrun(runtime: Runtime, client: Client, start: str) -> None:
    """Stuck in C code beyond the time, or with too much memory: killed with all that it has started."""
    runtime.start(
        f'[group.stuck]\nprocesses = 1\nstart = "{start}"\nhard_time = 3\nfunctions = ["*-stuck"]\n'
        f'[group.eat]\nprocesses = 1\nstart = "{start}"\nhard_memory = "200M"\nfunctions = ["*-eat"]\n'
        f'[group.command]\nprocesses = 1\nstart = "{start}"\nhard_time = 3\nfunctions = ["*-quick"]\n'
        f"[group.command.function.{runtime.prefix}-command]\n"
        'command = ["sh", "-c", "[ $TXGEAR_ATTEMPT = 1 ] && sleep 300; printf 1"]\n',
        ready=3,
    )
    client.submit(runtime.name("stuck"), b"")
    client.submit(runtime.name("eat"), b"")
    client.submit(runtime.name("command"), b"")
    assert client.all_done_once() == [b"1"] * 3
    assert [attempt for _, attempt, _ in sorted(runtime.journal("begins", 4))] == [1, 2, 1, 2]
    assert runtime.said("hard_time is 3 s") == 2
    assert runtime.said("hard_memory is 200M") == 1
    runtime.stop()


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_renewed(runtime: Runtime, client: Client, start: str) -> None:
    """Processes that leak, and such that have done enough, are renewed: no job notices."""
    runtime.start(
        f'[group.leak]\nprocesses = 1\nstart = "{start}"\nsoft_memory = "150M"\nfunctions = ["*-leak"]\n'
        f'[group.quick]\nprocesses = 2\nstart = "{start}"\nmax_jobs = 50\nfunctions = ["*-quick"]\n',
        ready=3,
    )
    pids: set[bytes] = set()

    def renewed() -> bool:
        client.submit(runtime.name("leak"), b"")
        client.submit(runtime.name("quick"), *[b""] * 10)
        pids.update(client.all_done_once())
        both = runtime.said("may have 150M") and runtime.said("it has done") >= 3
        return bool(both) and runtime.said("takes its place") >= 4

    wait_until(renewed, LONG)
    assert len(pids) > 3
    runtime.stop()


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_reload(runtime: Runtime, client: Client, start: str) -> None:
    """Broken code changes nothing; good code takes over child by child, and jobs in hand are finished."""
    runtime.start(f'[group.a]\nprocesses = 2\nconcurrency = 2\nstart = "{start}"\n', ready=2)
    client.submit(runtime.name("work"), *[b"0.1"] * 30)
    runtime.write("this is no Python")
    runtime.program.signal(signal.SIGHUP)
    client.submit(runtime.name("work"), *[b"0.1"] * 30)
    runtime.wait_for("the new code does not get ready; 2 processes go on")
    assert runtime.said("SyntaxError") >= 1
    client.submit(runtime.name("work"), *[b"0.1"] * 10)
    assert client.all_done_once() == [b"1"] * 70
    runtime.configure("nonsense = 1")
    runtime.program.signal(signal.SIGHUP)
    runtime.wait_for("nothing is loaded anew")
    assert runtime.said("takes its place") == 0

    runtime.configure(f'[group.a]\nprocesses = 2\nconcurrency = 2\nstart = "{start}"\n')
    runtime.write(JOBS.replace('VERSION = b"1"', 'VERSION = b"2"'))
    client.submit(runtime.name("work"), *[b"4"] * 4)
    long = [pid for _, _, pid in runtime.journal("begins", 74)[-4:]]
    runtime.program.signal(signal.SIGHUP)
    runtime.wait_for("takes its place", 2)
    client.submit(runtime.name("work"), *[b"0"] * 20)
    assert client.all_done_once() == [b"1"] * 74 + [b"2"] * 20
    new = {pid for _, _, pid in runtime.journal("begins", 94)[-20:]}
    assert not new & set(long)
    runtime.stop(broken=True)


def test_supervisor_killed(tmp_path: Path, start_server: Servers, programs: Programs) -> None:
    """Its processes finish their jobs and leave; one that is stuck is ended for it."""
    # Nobody can tell the server that the stuck one is gone: its job is tried again after the grace.
    server = start_server("--worker-grace", "1")
    runtime = Runtime(tmp_path, server, programs)
    client = Client(server.connect(timeout=LONG))
    runtime.start(
        '[group.a]\nprocesses = 1\nconcurrency = 2\nfunctions = ["*-work"]\n'
        '[group.b]\nprocesses = 1\nfunctions = ["*-stuck"]\n'
        '[group.c]\nprocesses = 1\nstart = "fork"\nfunctions = ["*-quick"]\n',
        ready=3,
        stop_timeout=2.0,
    )
    # The short one is not to end before the others have begun: then the one that waits would.
    [stuck] = client.submit(runtime.name("stuck"), b"")
    runtime.journal("begins", 1)
    [short, long, waiting] = client.submit(runtime.name("work"), b"1", b"60", b"0")
    runtime.journal("begins", 3)
    runtime.program.kill()
    runtime.is_gone()
    # What was not begun waits for others, and so does what a process had that could not even say so.
    worker = server.connect()
    worker.can_do(runtime.name("work"), runtime.name("stuck"))
    assert {worker.grab_soon(LONG).handle, worker.grab_soon(LONG).handle} == {waiting, stuck}
    worker.complete(waiting, b"1")
    worker.complete(stuck, b"1")
    assert client.all_ended_once() == {
        **dict.fromkeys((short, waiting, stuck), (P.WORK_COMPLETE, b"1")),
        long: (
            P.WORK_EXCEPTION,
            b"the supervisor of the runtime was gone, and the job had not ended in time",
        ),
    }


def test_stop(runtime: Runtime, client: Client, server: Server) -> None:
    """Jobs are finished, those that take too long fail, and a process that is stuck is killed."""
    runtime.start(
        '[group.a]\nprocesses = 1\nconcurrency = 2\nfunctions = ["*-work"]\n'
        '[group.b]\nprocesses = 1\nfunctions = ["*-stuck"]\n',
        ready=2,
        stop_timeout=2.0,
    )
    [stuck] = client.submit(runtime.name("stuck"), b"")
    runtime.journal("begins", 1)
    [short, long, waiting] = client.submit(runtime.name("work"), b"1", b"60", b"0")
    runtime.journal("begins", 3)
    runtime.stop()
    assert runtime.said("its process was stuck") == 1
    worker = server.connect()
    worker.can_do(runtime.name("work"), runtime.name("stuck"))
    assert {worker.grab_soon().handle, worker.grab_soon().handle} == {waiting, stuck}
    worker.complete(waiting, b"1")
    worker.complete(stuck, b"1")
    assert client.all_ended_once() == {
        **dict.fromkeys((short, waiting, stuck), (P.WORK_COMPLETE, b"1")),
        long: (P.WORK_EXCEPTION, b"the runtime was stopped, and the job had not ended in time"),
    }


def test_stop_at_once(runtime: Runtime, client: Client) -> None:
    """A second signal cuts it short."""
    runtime.start("[group.a]\nprocesses = 1\n", ready=1, stop_timeout=300.0)
    client.submit(runtime.name("work"), b"60")
    runtime.journal("begins", 1)
    runtime.program.signal(signal.SIGTERM)
    runtime.wait_for("leaves")
    runtime.stop()
    [(kind, _)] = client.all_ended_once().values()
    assert kind == P.WORK_EXCEPTION


def test_steered(runtime: Runtime, client: Client, server: Server) -> None:
    """What an operator says to one process is heeded by the supervisor: more, fewer, a new one, none."""
    runtime.start("[group.a]\nprocesses = 1\n", ready=1)
    name = f"{runtime.prefix}-a-"

    def tell(number: int, word: str) -> str:
        def answered() -> str:
            with WirePeer(server.port, timeout=LONG) as peer:
                said = peer.ask(f"worker {name}{number} {word}").decode().replace("+", " ")
                return said if said.startswith("OK") else ""

        # A process says what it understands only when it has heard that the server does, too.
        return wait_until(answered, what=f"{word} that is understood")

    assert "Group a has 2 processes now" in tell(1, "grow")
    runtime.wait_for(f"{name}2 is ready")
    assert "It leaves when its successor is ready" in tell(1, "restart")
    runtime.wait_for(f"{name}3 is ready")
    runtime.wait_for(f"{name}1 leaves")
    assert "Group a has 1 process now" in tell(2, "shrink")
    server.wait_for_workers(runtime.name("quick").decode())
    wait_until(lambda: server.status(runtime.name("quick").decode()) == (0, 0, 1))
    client.submit(runtime.name("quick"), b"")
    [pid] = client.all_done_once()
    assert int(pid) in runtime.processes()
    # Somebody ends one process: another one takes its place.
    os.kill(int(pid), signal.SIGTERM)
    runtime.wait_for("is ready", 4)
    client.submit(runtime.name("quick"), b"")
    assert client.all_done_once()[1] != pid
    last = runtime.program.stdout.decode().rpartition(" is ready")[0].rpartition(name)[2]
    assert "nobody takes its place" in tell(int(last), "stop")
    wait_until(lambda: server.status(runtime.name("quick").decode()) in (None, (0, 0, 0)))
    runtime.stop()


def test_never_loaded(runtime: Runtime, client: Client) -> None:
    """A module whose import does not end is given up, and imported again, also where processes are copies."""
    (runtime.folder / "other.py").write_text(
        "import os, time\nfrom txgear.runtime import function\n"
        "if not os.path.exists('open'): time.sleep(300)\n"
        f"@function('{runtime.prefix}-other')\ndef other(job): return b'3'\n"
    )
    groups = "".join(
        f'[group.{start}]\nprocesses = 1\nmodules = ["other"]\nstart = "{start}"\nstart_timeout = 10\n'
        for start in ("spawn", "fork")
    )
    runtime.start(groups, ready=0)
    runtime.wait_for("spawn-1: it was not ready within 10 s")
    runtime.wait_for("its template has not imported the modules within 10 s")
    (runtime.folder / "open").touch()
    runtime.wait_for("is ready", 2)
    client.submit(runtime.name("other"), b"")
    assert client.all_done_once() == [b"3"]
    runtime.stop()


def test_crash_loop(runtime: Runtime, client: Client) -> None:
    """A group whose code does not load is tried later and later, others work; new code is tried at once."""
    (runtime.folder / "other.py").write_text("raise ValueError('not today')\n")
    groups = '[group.a]\nprocesses = 1\n[group.b]\nprocesses = 3\nmodules = ["other"]\nstart = "fork"\n'
    runtime.start(groups, ready=1)
    runtime.wait_for("ValueError: not today", 3)
    client.submit(runtime.name("quick"), b"")
    client.all_done_once()
    # A module that starts a thread is not to be copied.
    (runtime.folder / "other.py").write_text(
        "import threading, time\nfrom txgear.runtime import function\n"
        "threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
        f"@function('{runtime.prefix}-other')\ndef other(job): return b'3'\n"
    )
    runtime.program.signal(signal.SIGHUP)
    runtime.wait_for("children cannot be copies of one process")
    runtime.wait_for(f"{runtime.prefix}-b-3 is ready")
    client.submit(runtime.name("other"), b"")
    assert client.all_done_once()[-1] == b"3"
    runtime.stop(broken=True)
