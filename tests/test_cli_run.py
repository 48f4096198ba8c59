"""`txgear run`: what functions of a file do, in Python, as commands and behind URLs; what its log says; and
what is said before it starts."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from processes import PATIENCE, Program, Programs, Server, run, txgear, wait_until
from wirepeer import P, Packet

pytestmark = pytest.mark.txgear_only

#: Seconds for what takes a few: new interpreters, on a crowded machine.
LONG: Final = 40.0

ENDED: Final = (P.WORK_COMPLETE, P.WORK_FAIL, P.WORK_EXCEPTION)

JOBS: Final = """
import logging
import time

from twisted.internet import defer
from twisted.logger import Logger

from txgear.runtime import TimeLimit, function
from txgear.worker import Fail, FailWithText

seen = []
log = logging.getLogger("shop.jobs")


class Hooks:
    def begin(self, job):
        seen.append(f"begin {job.handle.decode()}")

    def end(self, job):
        seen.append(f"end {job.handle.decode()}")

    def failure(self, job, failure):
        seen.append(f"failure {job.handle.decode()} {failure.type.__name__}")


@function("reverse")
def reverse(job):
    log.info("reversing %d bytes", len(job.workload))
    return job.workload[::-1]


@function("later", json=True)
async def later(job):
    Logger().info("in the loop")
    return {"workload": job.workload.decode()}


@function("seen", blocking=False)
def told(job):
    return defer.succeed("\\n".join(each for each in seen if job.workload.decode() in each))


@function("raises")
def raises(job):
    raise ValueError("no good")


@function("fails")
def fails(job):
    raise FailWithText("out of ink") if job.workload else Fail


@function("stuck")
def stuck(job):
    try:
        while True:
            time.sleep(0.05)
    except TimeLimit:
        if job.workload:
            return "so far"
        raise


@function("waits")
async def waits(job):
    await defer.Deferred()


@function("hidden.one")
def hidden(job):
    return b""
"""

FILE: Final = """
servers = ["127.0.0.1:{port}"]
name = "shop"
modules = ["jobs"]
log = "json"
log_jobs = "all"

[group.all]
functions = ["[!h]*"]
concurrency = 2
soft_time = "1 s"
hooks = ["jobs:Hooks"]

[group.all.function.shout]
command = ["sh", "-c", "tr a-z A-Z; printf ' %s' $TXGEAR_FUNCTION $TXGEAR_ATTEMPT"]

[group.all.function.breaks]
command = ["sh", "-c", "echo so it goes >&2; exit 3"]

[group.all.function.sleeps]
command = ["sh", "-c", "echo $$ > {folder}/sleeps; exec sleep 300"]

[group.all.function."to the web"]
url = "http://127.0.0.1:{web}/jobs"
headers = {{Authorization = "Bearer letmein"}}
retry_later = "1 s"
"""

POLICY: Final = '[[function]]\nname = "to the web"\nretries = 3\nbackoff = "10m"\n'


class Web(BaseHTTPRequestHandler):
    """Answers as the workload says: a status, and a body behind it."""

    asked: Final[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append({**dict(self.headers.items()), "body": body, "path": self.path})
        status, _, said = body.partition(" ")
        if status == "once":
            # Later at the first attempt.
            first = self.headers["X-Gearman-Attempt"] == "1"
            status, said = ("503", "busy") if first else ("200", "at last")
        if status == "hangs":
            time.sleep(PATIENCE)
        if status == "drops":
            return
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(said)))
        if status == "503":
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody wants to know."""


class Shop:
    """A server, a web server, and the runtime."""

    def __init__(self, folder: Path, server: Server, program: Program) -> None:
        self.folder = folder
        self.server = server
        self.program = program

    def job(self, function: str, workload: bytes = b"", unique: bytes = b"") -> tuple[bytes, Packet]:
        """Submit a job: its handle, and the packet that ends it."""
        with self.server.connect(LONG) as peer:
            peer.send(P.OPTION_REQ, b"exceptions")
            peer.expect(P.OPTION_RES)
            handle = peer.submit(function.encode(), workload, unique)
            while (packet := peer.read()).type not in ENDED:
                pass
            return handle, packet

    def result(self, function: str, workload: bytes = b"", unique: bytes = b"") -> bytes:
        handle, packet = self.job(function, workload, unique)
        assert packet.type == P.WORK_COMPLETE, packet
        assert packet.args[0] == handle
        return packet.args[1]

    def exception(self, function: str, workload: bytes = b"") -> bytes:
        _, packet = self.job(function, workload)
        assert packet.type == P.WORK_EXCEPTION, packet
        return packet.args[1]

    def lines(self, **members: Any) -> list[dict[str, Any]]:
        """The lines of the log that have these members."""
        found = [json.loads(line) for line in self.program.stdout.decode().splitlines()]
        return [line for line in found if members.items() <= line.items()]

    def line(self, **members: Any) -> dict[str, Any]:
        """Wait for such a line."""
        return wait_until(lambda: self.lines(**members), LONG, f"a line with {members}")[0]


@pytest.fixture(scope="module")
def web() -> Iterator[ThreadingHTTPServer]:
    this = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    this.daemon_threads = True
    threading.Thread(target=this.serve_forever, daemon=True).start()
    yield this
    this.shutdown()
    this.server_close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, web: ThreadingHTTPServer) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "policy.toml").write_text(POLICY)
    (folder / "jobs.py").write_text(JOBS)
    server = Server(folder, "--web=", f"--config={folder / 'policy.toml'}")
    text = FILE.format(port=server.port, web=web.server_port, folder=folder)
    (folder / "workers.toml").write_text(text)
    programs = Programs(folder)
    this = Shop(folder, server, programs.start([*txgear(), "run", folder / "workers.toml"]))
    try:
        this.line(message="shop-all-1 is ready")
        yield this
        this.program.signal(signal.SIGTERM)
        assert this.program.wait(LONG) == 0
        assert this.program.stderr == b""
    finally:
        programs.stop()
        server.stop()


# Functions


def test_functions_of_a_module(shop: Shop) -> None:
    """In a thread, in the loop, and with a Deferred; those that the file does not name are not there."""
    assert shop.result("reverse", b"abc") == b"cba"
    assert json.loads(shop.result("later", b"abc")) == {"workload": "abc"}
    assert shop.result("seen", b"nothing") == b""
    assert shop.server.status("hidden.one") is None


def test_what_goes_wrong(shop: Shop) -> None:
    text = shop.exception("raises")
    assert b"ValueError: no good" in text
    assert shop.exception("fails", b"w") == b"out of ink"
    assert shop.job("fails")[1].type == P.WORK_FAIL


def test_soft_time(shop: Shop) -> None:
    """It is raised in a thread and in the loop, and what a command has started is ended."""
    assert shop.result("stuck", b"w") == b"so far"
    for function in ("stuck", "waits", "sleeps"):
        assert b"TimeLimit: it has taken longer than 1 second" in shop.exception(function), function
    pid = (shop.folder / "sleeps").read_text().strip()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), LONG, "the command has not ended")


def test_a_command(shop: Shop) -> None:
    assert shop.result("shout", b"abc") == b"ABC shout 1"
    assert shop.exception("breaks") == b"exit status 3: so it goes"


def test_a_url(shop: Shop) -> None:
    """The job is the body, and headers say which one it is."""
    handle, packet = shop.job("to the web", b"200 fine", b"key 1")
    assert (packet.type, packet.args[1]) == (P.WORK_COMPLETE, b"fine")
    asked = next(each for each in Web.asked if each["body"] == "200 fine")
    assert {
        name: asked[name] for name in asked if name.startswith("X-") or name in ("path", "Authorization")
    } == {
        "path": "/jobs",
        "Authorization": "Bearer letmein",
        "X-Gearman-Handle": handle.decode(),
        "X-Gearman-Function": "to%20the%20web",
        "X-Gearman-Unique": "key%201",
        "X-Gearman-Attempt": "1",
    }


def test_a_url_says_later(shop: Shop) -> None:
    """When the answer says so, and not after the ten minutes of the policy."""
    handle, packet = shop.job("to the web", b"once")
    assert (packet.type, packet.args[1]) == (P.WORK_COMPLETE, b"at last")
    line = shop.line(handle=handle.decode(), attempt=1)
    assert re.fullmatch(r"put off for 0 s after \d+\.\d{3} s: 503 Service Unavailable: busy", line["message"])


# The log


def test_lines_of_jobs(shop: Shop) -> None:
    """What the function says, and how the job ends, have its handle and attempt."""
    handle, _ = shop.job("reverse", b"abcd")
    said = shop.line(handle=handle.decode(), message="reversing 4 bytes")
    assert (said["logger"], said["worker"], said["function"], said["attempt"], said["level"]) == (
        "shop.jobs",
        "shop-all-1",
        "reverse",
        1,
        "info",
    )
    wait_until(lambda: len(shop.lines(handle=handle.decode())) == 2, LONG)
    assert re.fullmatch(r"done after \d+\.\d{3} s", shop.lines(handle=handle.decode())[1]["message"])
    handle, _ = shop.job("later", b"")
    shop.line(handle=handle.decode(), message="in the loop", attempt=1)


def test_a_line_of_an_exception(shop: Shop) -> None:
    handle, _ = shop.job("raises")
    line = shop.line(handle=handle.decode(), attempt=1, function="raises")
    assert line["level"] == "error"
    first, *_, last = line["traceback"].splitlines()
    assert first == "ValueError: no good"
    assert last.strip() == 'raise ValueError("no good")'
    assert "threadpool" not in line["traceback"]
    handle, _ = shop.job("fails", b"w")
    line = shop.line(handle=handle.decode(), attempt=1, level="warn")
    assert line["message"].endswith(": out of ink")


def test_hooks(shop: Shop) -> None:
    handle, _ = shop.job("reverse", b"abc")
    assert shop.result("seen", handle).decode().splitlines() == [
        f"begin {handle.decode()}",
        f"end {handle.decode()}",
    ]
    handle, _ = shop.job("raises")
    assert f"failure {handle.decode()} ValueError" in shop.result("seen", handle).decode()


# Before it starts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


class Told(NamedTuple):
    """What the command has said."""

    status: int
    out: str
    err: str


def told(*words: str) -> Told:
    """Run it to its end."""
    done = run([*txgear(), "run", *words])
    return Told(done.returncode, done.stdout.decode(), done.stderr.decode())


def write(folder: Path, text: str) -> str:
    path = folder / "workers.toml"
    path.write_text(text)
    return str(path)


def test_check(folder: Path) -> None:
    path = write(
        folder,
        """
servers = ["gear1", "tls:gear2:4730"]
modules = ["jobs"]
[group.few]
functions = ["reverse", "hid*"]
[group.many]
max = 8
concurrency = 3
start = "fork"
functions = ["later"]
function.upper.command = ["tr", "a z", "A Z"]
function.web.url = "http://localhost/x"
""",
    )
    checked = told("--check", path)
    assert (checked.out, checked.err, checked.status) == (
        "servers: gear1, tls:gear2:4730\n"
        "group few: 1 process, one job at once\n"
        "    reverse: jobs.reverse\n"
        "    hidden.one: jobs.hidden\n"
        "group many: 1 to 8 processes, 3 jobs at once, forked\n"
        "    later: jobs.later\n"
        "    upper: tr 'a z' 'A Z'\n"
        "    web: POST http://localhost/x\n",
        "",
        0,
    )


def test_check_finds_mistakes_of_the_code(folder: Path) -> None:
    """Each group is looked at; what code raises is told with its lines."""
    (folder / "broken.py").write_text("import jobs\n1 / 0\n")
    path = write(
        folder,
        """
servers = ["gear 1"]
path = [".", "nowhere"]
[group.a]
modules = ["jobs"]
functions = ["no_such"]
[group.b]
modules = ["broken"]
[group.c]
modules = ["nowhere"]
[group.d]
function.x.command = ["no-such-program-here"]
[group.e]
modules = ["jobs"]
hooks = ["jobs:nothing"]
[group.f]
modules = ["jobs"]
functions = ["reverse"]
""",
    )
    checked = told("--check", path)
    assert checked.status == 1
    lines = [line for line in checked.err.splitlines() if line.startswith("txgear run: ")]
    for line, words in zip(
        lines,
        (
            "path: there is no folder ",
            "servers: ",
            "group a: no function matches 'no_such'; there are reverse, later",
            "group b: ZeroDivisionError: division by zero",
            "group c: there is no module nowhere: No module named 'nowhere'",
            "group d: no-such-program-here: there is no such program that may be run",
            "group e: module jobs has no nothing for hooks",
        ),
        strict=True,
    ):
        assert words in line
    assert "broken.py" in checked.err
    assert "1 / 0" in checked.err
    assert "    reverse: jobs.reverse\n" in checked.out


def test_mistakes(folder: Path) -> None:
    """Those of the file have a line each; nothing is started."""
    path = write(folder, "modules = ['jobs']\n[group.a]\nmaxx = 5\n[group.b]\nsplay = 3\n")
    lines = (
        f"txgear run: {path}, line 3: group.a.maxx: there is no such setting; there is max\n"
        f"txgear run: {path}, line 5: group.b.splay: expected number <= 1.0\n"
    )
    for words in ([path], [path, "--check"], ["--watch", path]):
        assert told(*words) == (1, "", lines)
    for words, status, text in (
        ([], 2, "a file is wanted: txgear run workers.toml"),
        (["/nowhere/x.toml"], 1, "cannot read /nowhere/x.toml: No such file or directory"),
        (["--import-gearman-manager", "x", "--check"], 2, "--import-gearman-manager stands alone"),
    ):
        assert told(*words) == (status, "", f"txgear run: {text}\n")


def test_gearman_manager(folder: Path) -> None:
    """What comes of its file can be read. The program that runs PHP is wanted still."""
    (folder / "gm.ini").write_text(f"[GearmanManager]\nhost=gear1\ncount=3\nworker_dir={folder}\n")
    (folder / "resize.php").write_text("<?php\n")
    made = told("--import-gearman-manager", str(folder / "gm.ini"))
    assert (made.status, made.err) == (0, "")
    checked = told("--check", write(folder, made.out))
    assert "servers: gear1\n" in checked.out
    assert "php: there is no such program" in checked.err or "resize: " in checked.out


def test_watch(server: Server, programs: Programs, function: str, folder: Path) -> None:
    """New code is loaded by itself. The log is text, and a line says when, and of which job."""
    code = f"from txgear.runtime import function\n@function({function!r})\ndef f(job):\n    return VERSION\n"
    (folder / "jobs.py").write_text(f"VERSION = b'1'\n{code}")
    path = write(
        folder,
        f"servers = ['127.0.0.1:{server.port}']\nmodules = ['jobs']\nlog_jobs = 'all'\n[group.one]\n",
    )
    program = programs.start([*txgear(), "run", path, "--watch"], env={"PYTHONDONTWRITEBYTECODE": "1"})
    shop = Shop(folder, server, program)
    wait_until(lambda: b"one-1 is ready" in program.stdout, LONG, "it is not ready")
    assert shop.result(function) == b"1"
    (folder / "jobs.py").write_text(f"VERSION = b'2'\n{code}")
    wait_until(lambda: b"one-2 is ready" in program.stdout, LONG, "no new process is ready")
    wait_until(lambda: shop.result(function) == b"2", LONG, "the old code still runs")
    program.signal(signal.SIGINT)
    assert program.wait(LONG) == 0
    lines = program.stdout.decode().splitlines()
    done = next(line for line in lines if "done after" in line)
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}"
    assert re.fullmatch(
        rf"{moment} one-1: H:\S+ of {re.escape(function)}, attempt 1: done after \d+\.\d{{3}} s", done
    )
