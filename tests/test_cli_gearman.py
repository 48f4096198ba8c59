"""`txgear gearman` beside the C tool: each option with both on the same server, byte for byte."""

from __future__ import annotations

import os
import re
import resource
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from imitations import Done, Tool, both, ended, filled, fresh_names, normal, reference, tls_files, with_tls
from needs import requires
from processes import Program, Programs, Server, Servers, free_port, run, txgear, wait_until
from wirepeer import P

pytestmark = pytest.mark.txgear_only

LONG = "x" * 600
MISSING = b"(2: No such file or directory)"


@dataclass(frozen=True)
class Case:
    """What is done with both tools.

    ``covers`` has the letters of the options that it is for. ``workers`` and ``clients`` are command lines,
    run in this order by one tool: the workers in the background, the clients one after another. ``{f}`` and
    ``{g}`` are functions, ``{place}`` is where the server is, ``{port}`` its port, ``{nobody}`` a port where
    nobody listens.
    """

    covers: str
    clients: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    stdin: bytes = b""
    env: dict[str, str] = field(default_factory=dict)


def case(covers: str, *clients: str, worker: str = "", stdin: bytes = b"", **env: str) -> Case:
    return Case(covers, clients, (worker,) if worker else (), stdin, env)


CASES = {
    "a word": case("fhp", "-f {f} {place} word", worker="-w -f {f} {place} -c 1 -- cat"),
    "several words": case("f", "-f {f} {place} ab cd ef", worker="-w -f {f} {place} -c 3 -- tr a-z A-Z"),
    "words in front of options": case("f", "ab {place} cd -f {f}", worker="-w {place} cat -f {f} -c 2"),
    "letters in a row": case("Pvf", "-Pvf{f} {place} word", worker="-wf{f} {place} -c1 cat"),
    "input": case("f", "-f {f} {place}", worker="-w -f {f} {place} -c 1 -- cat", stdin=b"a\0b\n\xff"),
    "no input": case("f", "-f {f} {place}", worker="-w -f {f} {place} -c 1 -- wc -c"),
    "not read": case("s", "-s -f {f} {place}", worker="-w -f {f} {place} -c 1 -- wc -c", stdin=b"xx"),
    "several functions": case(
        "fP", "-P -f {f} -f {g} {place} word", worker="-w -f {f} -f {g} {place} -c 2 -- cat"
    ),
    "verbose": case("v", "-v -f {f} {place} ab cd", worker="-w -f {f} {place} -c 2 -- cat"),
    "verbose and prefixed": case("vP", "-v -P -f {f} {place} ab cd", worker="-w -f {f} {place} -c 2 -- cat"),
    "background": case("bv", "-b -v -f {f} {place} ab cd"),
    "background, several functions": case("bv", "-b -v -f {f} -f {g} {place} ab cd"),
    "priorities in the background": case(
        "IL",
        "-b -L -f {f} {place} low",
        "-b -f {f} {place} normal",
        "-b -I -f {f} {place} high",
        "-b -I -L -f {f} {place} last-counts",
    ),
    "high": case("I", "-I -f {f} {place} word", worker="-w -f {f} {place} -c 1 -- cat"),
    "low": case("L", "-L -f {f} {place} word", worker="-w -f {f} {place} -c 1 -- cat"),
    "lines": case(
        "n", "-n -f {f} {place}", worker="-w -f {f} {place} -c 3 -- wc -c", stdin=b"ab\nabcd\nlast"
    ),
    "stripped lines": case(
        "N", "-N -f {f} {place}", worker="-w -f {f} {place} -c 3 -- wc -c", stdin=b"ab\nabcd\nlast"
    ),
    "an empty line": case("n", "-b -v -n -f {f} {place}", stdin=b"\n\n"),
    "an empty line, stripped": case("N", "-b -v -N -f {f} {place}", stdin=b"a\n\nb\n"),
    "a long line": case(
        "n", "-n -f {f} {place}", worker="-w -f {f} {place} -c 2 -- wc -c", stdin=b"x" * 9000 + b"\n"
    ),
    "a NUL in a line": case(
        "n", "-n -f {f} {place}", worker="-w -f {f} {place} -c 1 -- wc -c", stdin=b"ab\0cd\n"
    ),
    "unique": case("u", "-b -v -u same -f {f} {place} a", "-b -v -u same -f {f} {place} b"),
    "unique by workload": case("u", "-b -u # -f {f} {place} hello", "-b -u # -f {f} {place} hello!!"),
    "a dash as unique": case("u", "-b -u - -f {f} {place} hello", "-b -u - -f {f} {place} hello"),
    "an empty unique": case("u", "-b -v -u= -f {f} {place} a"),
    "the longest unique": case("u", f"-b -v -u {'u' * 64} -f {{f}} {{place}} a"),
    "a unique too long": case("u", f"-b -v -u {'u' * 65} -f {{f}} {{place}} a"),
    "a function too long": case("f", f"-b -v -f {LONG} {{place}} a", f"-w -c 1 -f {LONG} {{place}}"),
    "a timeout": case("t", "-t 150 -f {f} {place} a b"),
    "no time at all": case("t", "-t 0 -f {f} {place} a", "-w -t 0 -c 2 -f {f} {place}"),
    "a timeout that does not matter": case(
        "t", "-t 5000 -f {f} {place} a", worker="-w -t 9000 -f {f} {place} -c 1 cat"
    ),
    "a worker's timeout": case("t", "-w -t 50 -c 2 -f {f} {place} cat"),
    "a negative timeout": case("t", "-t -1 -b -v -f {f} {place} a"),
    "count": case("c", "-f {f} {place} a b", worker="-w -c 2 -f {f} {place} -- cat"),
    "worker without a command": case("w", "-f {f} {place} a b", worker="-w -c 2 -f {f} {place}"),
    "a failing command": case(
        "w", "-f {f} {place} a", worker="-w -c 1 -f {f} {place} -- sh -c 'printf part; exit 3'"
    ),
    "failing counts twice": case(
        "cP", "-f {f} {place} a", "-P -f {f} {place} a", worker="-w -c 4 -f {f} {place} false"
    ),
    "a command that a signal ends": case(
        "w", "-f {f} {place} a", worker="-w -c 1 -f {f} {place} -- sh -c 'printf part; kill -9 $$'"
    ),
    "a command that is not there": case(
        "w", "-f {f} {place} a", worker="-w -c 1 -f {f} {place} /nonexistent"
    ),
    "a command that complains": case(
        "w", "-f {f} {place} a", worker="-w -c 1 -f {f} {place} -- sh -c 'cat >&2; echo b'"
    ),
    "a command that does not read": case("w", "-f {f} {place} a", worker="-w -c 1 -f {f} {place} echo b"),
    "a command's lines": case(
        "n", "-P -f {f} {place} a", worker="-w -n -c 1 -f {f} {place} -- printf 'one\\ntwo\\nlast'"
    ),
    "a command's stripped lines": case(
        "N", "-P -f {f} {place} a", worker="-w -N -c 1 -f {f} {place} -- printf 'one\\ntwo\\nlast'"
    ),
    "a command's lines, and it fails": case(
        "n", "-P -f {f} {place} a", worker="-w -n -c 1 -f {f} {place} -- sh -c 'echo one; exit 1'"
    ),
    "a command's long line": case(
        "n", "-P -f {f} {place} a", worker="-w -n -c 1 -f {f} {place} -- head -c 2500 /dev/zero"
    ),
    "no server": case("p", "-f {f} -h 127.0.0.1 -p {nobody} a b", "-w -c 2 -f {f} -h 127.0.0.1 -p {nobody}"),
    "no such host": case("h", "-f {f} -h nosuch.invalid a", "-w -f {f} -h nosuch.invalid -p {port}"),
    "localhost": case("h", "-b -v -f {f} -p {port} a", "-b -v -f {f} -h= -p {port} a"),
    "a port beyond": case("p", "-b -f {f} -h 127.0.0.1 -p 65537 a"),
    "a pid file that cannot be": case("i", "-i /nonexistent/pid -f {f} {place} a"),
    "help": case("H", "-H", "-H -f {f}", "-HbnPvsw -f {f} -I"),
    "no function": case("f", "", "word", "-v -b -N -w -f"),
    "wrong options": case(
        "", "-f {f} -Z", "-f {f} --zap", "-f {f} -c", "-f {f} --verbose", "-f {f} -:", "-f {f} -?"
    ),
    "the end of options": case("f", "-f {f} {place} -b -v -- -n -I", "-f {f} {place} -b -v -"),
    "POSIX": case("f", "-f {f} {place} -b a -v", POSIXLY_CORRECT="1"),
    "GEARMAN_SERVER": case("", "-b -v -f {f} -p {nobody} a", GEARMAN_SERVER="127.0.0.1:{port}"),
    "GEARMAN_SERVER, unknown": case(
        "", "-b -f {f} a", "-w -c 1 -f {f} a", GEARMAN_SERVER="nosuch.invalid:{port}"
    ),
    "GEARMAN_SERVERS": case("", "-b -v -f {f} {place} a", GEARMAN_SERVERS="127.0.0.1:{port},:{port}"),
}


def words_of(line: str) -> list[str]:
    # `-u=` stands for an empty value, which is no word of its own elsewhere.
    words: list[str] = []
    for word in shlex.split(line):
        words += [word[:2], ""] if re.fullmatch("-[uh]=", word) else [word]
    return words


@pytest.fixture(scope="module", params=["txgear", "gearmand"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that all tests share, which have functions of their own: ours, and the reference."""
    folder = tmp_path_factory.mktemp("server")
    this = Server(folder) if request.param == "txgear" else reference(folder)
    yield this
    this.stop()
    assert this.calm()


def state(server: Server, names: dict[str, str]) -> Any:
    """What the server knows of the functions after it."""
    rows = [
        row for row in server.list("prioritystatus") if row[0] in names.values() and any(map(int, row[1:]))
    ]
    jobs = [row[1:4] for row in rows]
    return [server.status(name) or (0, 0, 0) for name in names.values()], jobs


def played(
    tool: Tool, this: Case, server: Server, programs: Programs, nobody: int, seen: Counter[str]
) -> Any:
    """Do it all with one tool: every status and output, and what is at the server then."""
    names = fresh_names()
    more = {"port": str(server.port), "nobody": str(nobody)}
    place = ["-h", "127.0.0.1", "-p", str(server.port)]

    def command(line: str) -> list[str]:
        words: list[str] = []
        for word in words_of(line):
            words += place if word == "{place}" else filled([word], names, **more)
        return words

    env = {name: filled([value], names, **more)[0] for name, value in this.env.items()}
    workers = [
        programs.start([*tool.command, *command(line)], name="worker", env=env) for line in this.workers
    ]
    if workers:
        server.wait_for_workers(names["{f}"], len(workers))
    heard: list[Any] = []
    for line in this.clients:
        done = tool(*command(line), stdin=this.stdin, env=env)
        heard.append(
            (line, done.returncode, normal(done.stdout, names, seen), normal(done.stderr, names, seen))
        )
    for worker in workers:
        status, out, err = ended(worker)
        heard.append((status, normal(out, names, seen), normal(err, names, seen)))
    server.wait_for_workers(names["{f}"], 0)
    wait_until(lambda: (server.status(names["{f}"]) or (0, 0, 0))[2] == 0, what="workers that have gone")
    return heard, state(server, names)


@pytest.mark.parametrize("name", CASES)
def test_is_the_same(name: str, shared: Server, programs: Programs) -> None:
    """Both say the same, byte for byte, end with the same status, and leave the same at the server."""
    nobody, theirs_seen, ours_seen = free_port(), Counter[str](), Counter[str]()
    theirs, ours = both("gearman")
    wanted = played(theirs, CASES[name], shared, programs, nobody, theirs_seen)
    found = played(ours, CASES[name], shared, programs, nobody, ours_seen)
    assert found == wanted
    assert ours_seen == theirs_seen


def test_every_option_has_a_case() -> None:
    """Each letter that the C tool's help names, and `-d`, which it does not, is in a case or a test here."""
    program = requires("gearman")
    letters = set(re.findall(r"^\t-(\w)", run([program, "-H", "-f", "x"]).stdout.decode(), re.MULTILINE))
    tested = {letter for this in CASES.values() for letter in this.covers}
    # The others have tests of their own below.
    assert letters | {"d"} == tested | set("diS")
    assert letters == set("bcfhHILnNpPsStuvwi")


# What needs more than two command lines.


@pytest.fixture(params=["theirs", "ours"])
def tool(request: pytest.FixtureRequest) -> Tool:
    """The C tool, and ours: what a test says is so of both."""
    return both("gearman")[request.param == "ours"]


def place_of(server: Server) -> list[str]:
    return ["-h", "127.0.0.1", "-p", str(server.port)]


def started(programs: Programs, tool: Tool, server: Server, *words: str) -> Program:
    """The tool in the background."""
    return programs.start([*tool.command, *place_of(server), *words], name="tool")


def test_what_a_worker_tells(tool: Tool, programs: Programs, server: Server, function: str) -> None:
    """Data, warnings, progress in 32 bits, and the result, which comes before what `printf` has kept."""
    program = started(programs, tool, server, "-v", "-f", function, "-P", "work")
    peer = server.connect()
    peer.can_do(function.encode())
    job = peer.grab_soon()
    peer.send(P.WORK_DATA, job.handle, b"some ")
    peer.send(P.WORK_WARNING, job.handle, b"careful")
    peer.send(P.WORK_STATUS, job.handle, b"1", b"3")
    peer.send(P.WORK_STATUS, job.handle, b"99000000", b"100000000")
    peer.complete(job, b"result")
    assert program.wait() == 0
    name, handle = function.encode(), job.handle
    said = [b"Task created: %s\n%s: some " % (handle, name)]
    said += [b"%s: 33%% Complete\n%s: 13%% Complete\n%s: result" % (name, name, name)]
    assert (program.stdout, program.stderr) == (b"".join(said), name + b": careful")


def test_much_that_is_kept(tool: Tool, programs: Programs, server: Server, function: str) -> None:
    """A buffer of 4096 bytes goes out when it is full, the rest at the end."""
    program = started(programs, tool, server, "-f", function, "work")
    peer = server.connect()
    peer.can_do(function.encode())
    job = peer.grab_soon()
    for number in range(400):
        peer.send(P.WORK_STATUS, job.handle, b"%d" % number, b"1000")
    peer.complete(job, b"RESULT")
    assert program.wait() == 0
    lines = b"".join(b"%d%% Complete\n" % (number // 10) for number in range(400))
    assert program.stdout == lines[:4096] + b"RESULT" + lines[4096:]


def test_refused_by_a_full_queue(tool: Tool, server: Server, function: str) -> None:
    """A server's error is shown with its name, and the status is 0."""
    with server.connect() as peer:
        peer.ask("create function " + function)
        peer.ask("maxqueue " + function + " 1")
    done = tool(*place_of(server), "-b", "-v", "-f", function, "one", "two")
    assert (done.returncode, normal(done.stdout, {})) == (0, b"Task created: HANDLE\n")
    assert normal(done.stderr, {}) == (
        b"gearman: gearman_client_run_tasks : _client_run_tasks(GEARMAN_QUEUE_ERROR)"
        b" QUEUE_ERROR:Job queue is full -> libgearman/client.cc:1603: pid(PID)\n"
    )


def test_the_server_goes(tool: Tool, programs: Programs, fresh_server: Server) -> None:
    """A client that waits says that the connection is lost, and ends with 0."""
    program = started(programs, tool, fresh_server, "-f", "f", "word")
    fresh_server.wait_for_total("f", 1)
    fresh_server.kill()
    assert program.wait() == 0
    assert normal(program.stderr, {}) == (
        b"gearman: gearman_client_run_tasks : recv_socket(GEARMAN_LOST_CONNECTION)"
        b" lost connection to server (EOF) -> libgearman/connection.cc:1206: pid(PID)\n"
    )


def test_a_pid_file(tool: Tool, programs: Programs, server: Server, function: str, tmp_path: Path) -> None:
    """`-i` writes its own pid into a file that all may read, in the place of another, and takes it away."""
    path = tmp_path / "pid"
    path.write_text("0")
    program = started(programs, tool, server, "-i", str(path), "-f", function, "word")
    server.wait_for_total(function, 1)
    assert path.read_text() == f"{program.pid}\n"
    assert path.stat().st_mode & 0o777 == 0o744 & ~umask()
    with server.connect() as peer:
        peer.can_do(function.encode())
        peer.complete(peer.grab_soon(), b"")
    assert program.wait() == 0
    assert not path.exists()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_daemon(tool: Tool, server: Server, function: str, tmp_path: Path) -> None:
    """`-d` goes on by itself, in a session of its own, and says nothing any more."""
    path, seen = tmp_path / "pid", tmp_path / "seen"
    command = (
        f"ps -o sid= -p $PPID > {seen}; readlink /proc/$PPID/fd/0 /proc/$PPID/fd/1 /proc/$PPID/fd/2 >> {seen}"
    )
    worker = ["-w", "-d", "-i", str(path), "-c", "1", "-f", function, "--", "sh", "-c", command]
    done = tool(*place_of(server), *worker)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    server.wait_for_workers(function)
    pid = path.read_text().strip()
    assert tool(*place_of(server), "-f", function, "word").returncode == 0
    assert seen.read_text().split() == [pid, "/dev/null", "/dev/null", "/dev/null"]
    wait_until(lambda: not path.exists(), what="the end of the daemon")


def test_a_signal_is_its_end(tool: Tool, programs: Programs, server: Server, function: str) -> None:
    """SIGINT and SIGTERM end it as they do any program, without a word."""
    for number in (signal.SIGINT, signal.SIGTERM):
        program = started(programs, tool, server, "-w", "-f", function)
        server.wait_for_workers(function)
        program.signal(number)
        assert (ended(program), server.running) == ((-number, b"", b""), True)
        wait_until(lambda: server.unused(function), what="the worker's end")


def test_workers_outlive_their_server(programs: Programs, start_server: Servers, tmp_path: Path) -> None:
    """A worker connects again, after a second and not thirty thousand times in it as the C tool does."""
    server = start_server()
    ours = both("gearman")[1]
    worker = started(programs, ours, server, "-w", "-f", "f", "--", "cat")
    server.wait_for_workers("f")
    server.stop()
    wait_until(lambda: worker.stderr.count(b"GEARMAN_COULD_NOT_CONNECT") >= 2, what="two tries")
    again = start_server(port=server.port)
    again.wait_for_workers("f")
    assert ours(*place_of(again), "-f", "f", "word").stdout == b"word"
    assert worker.stderr.count(b"\n") < 10


def test_one_of_several_servers_is_down(server: Server, function: str) -> None:
    """The job goes to the other one, and nothing is said; the C tool says that it lost a connection."""
    ours = both("gearman")[1]
    for places in (
        f"127.0.0.1:{free_port()},127.0.0.1:{server.port}",
        f"127.0.0.1:{server.port},localhost:1",
    ):
        done = ours("-b", "-v", "-f", function, "word", env={"GEARMAN_SERVER": places})
        assert (done.returncode, normal(done.stdout, {}), done.stderr) == (0, b"Task created: HANDLE\n", b"")
    server.wait_for_total(function, 2)


def test_a_large_workload_and_result(server: Server, programs: Programs, function: str) -> None:
    """A command that writes while it reads: the C tool waits for ever, ours does not."""
    ours = both("gearman")[1]
    data = os.urandom(100) * 10_000
    for options in ([], ["-n", "--strict"]):
        words = ["-w", "-c", "1", *options, "-f", function, "--", "od", "-vx"]
        worker = started(programs, ours, server, *words)
        done = run([*ours.command, *place_of(server), "-f", function], stdin=data)
        assert (done.returncode, worker.wait()) == (0, 0)
        assert done.stdout == run(["od", "-vx"], stdin=data).stdout


# What --strict does otherwise.


def strict(*words: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Done:
    return run([*txgear(), "gearman", "--strict", *words], stdin=stdin, env=env)


def test_strict_statuses(server: Server, function: str) -> None:
    """What is not done ends with 1."""
    nowhere = ["-h", "127.0.0.1", "-p", str(free_port()), "-f", function]
    place = [*place_of(server), "-f", function]
    assert strict(*nowhere, "word").returncode == 1
    assert strict(*nowhere, "-w", "-c", "1").returncode == 1
    assert strict("-h", "nosuch.invalid", "-f", function, "word").returncode == 1
    assert strict(*place, "-t", "100", "word").returncode == 1
    assert strict(*place, "-b", "-u", "u" * 65, "word").returncode == 1
    assert strict(*place, "-b", "word").returncode == 0
    done = strict(*place, "-i", "/nonexistent/pid", "-b", "word")
    assert (done.returncode, done.stderr) == (1, b"gearman: /nonexistent/pid: No such file or directory\n")


@pytest.mark.parametrize("command", ["kill -9 $$", "exit 1"])
def test_strict_failures(server: Server, programs: Programs, function: str, command: str) -> None:
    """A command that a signal ended has failed, one failure is one job, and nothing is said of no state."""
    words = ["-w", "--strict", "-c", "2", "-f", function, "--", "sh", "-c", f"printf part; {command}"]
    worker = started(programs, both("gearman")[1], server, *words)
    for _ in range(2):
        done = strict(*place_of(server), "-f", function, "word")
        assert (done.returncode, done.stdout, done.stderr) == (1, b"part", b"Job failed\n")
    assert ended(worker) == (0, b"", b"")


def test_strict_command_that_is_not_there(server: Server, programs: Programs, function: str) -> None:
    """The job fails, and the worker says why and ends with 1."""
    worker = started(
        programs, both("gearman")[1], server, *["-w", "--strict", "-c", "1", "-f", function, "/nonexistent"]
    )
    done = strict(*place_of(server), "-f", function, "word")
    assert (done.returncode, done.stderr) == (1, b"Job failed\n")
    assert ended(worker) == (1, b"", b"gearman: execvp (No such file or directory)\n")


@pytest.mark.parametrize(("option", "end"), [("-n", b"\n"), ("-N", b"")])
def test_strict_lines(server: Server, programs: Programs, function: str, option: str, end: bytes) -> None:
    """Each line is sent once and whole, and no byte is taken off that is no newline."""
    words = ["-w", "--strict", "-c", "1", option, "-f", function, "cat"]
    worker = started(programs, both("gearman")[1], server, *words)
    peer = server.connect()
    long = b"x" * 5000
    handle = peer.submit(function.encode(), b"a\0b\n\n" + long + b"\nlast")
    for data in (b"a\0b" + end, end, long + end, b"last"):
        peer.expect(P.WORK_DATA, handle, data)
    peer.expect(P.WORK_COMPLETE, handle, b"")
    assert worker.wait() == 0


def test_strict_jobs_of_lines(server: Server, function: str) -> None:
    """Each line is one job, whatever is in it."""
    lines = [b"a\0b", b"", b"x" * 20_000, b"last"]
    assert strict(*place_of(server), "-b", "-N", "-f", function, stdin=b"\n".join(lines)).returncode == 0
    with server.connect() as peer:
        peer.can_do(function.encode())
        for line in lines:
            job = peer.grab_soon()
            assert job.workload == line
            peer.complete(job)


def test_strict_waits_for_the_others(server: Server, programs: Programs, names: Callable[[str], str]) -> None:
    """One refused job does not make the other one be forgotten; the status is 1 all the same."""
    full, other = names("full"), names("other")
    with server.connect() as peer:
        peer.ask("create function " + full)
        peer.ask("maxqueue " + full + " 1")
        peer.submit(full.encode(), b"data", type=P.SUBMIT_JOB_BG)
    worker = started(programs, both("gearman")[1], server, "-w", "-c", "1", "-f", other, "cat")
    done = strict(*place_of(server), "-f", full, "-f", other, "word")
    assert (done.returncode, done.stdout) == (1, b"word")
    assert b"QUEUE_ERROR" in done.stderr
    assert worker.wait() == 0


# TLS, which Debian's tools have not: with -S they speak without it.


def test_tls(start_server: Servers, programs: Programs, tmp_path: Path) -> None:
    """`-S` speaks TLS with the files that libgearman's variables name."""
    port, env = with_tls(start_server, tmp_path)
    place = ["-S", "-h", "127.0.0.1", "-p", str(port), "-f", "f"]
    worker = programs.start([*txgear(), "gearman", "-w", *place, "-c", "2", "cat"], env=env)
    data = os.urandom(200_000)
    for words in ([*place], ["--strict", *place, "-h", "localhost"]):
        done = run([*txgear(), "gearman", *words], stdin=data, env=env)
        assert (done.returncode, done.stdout) == (0, data), done.stderr
    assert worker.wait() == 0
    # Its certificate is not for this name, and libgearman does not mind.
    done = run([*txgear(), "gearman", "--strict", *place, "word"], env=env)
    assert (done.returncode, b"SSL failure" in done.stderr) == (1, True)
    # Nor does it look who has signed it; here that is one of the authorities.
    env["GEARMAND_CA_CERTIFICATE"] = str(tmp_path / "other.pem")
    done = run([*txgear(), "gearman", *place, "word"], env=env)
    assert (done.returncode, done.stdout, b"SSL failure" in done.stderr) == (0, b"", True)


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        (
            "GEARMAND_CA_CERTIFICATE",
            "none",
            b"Failed to open CA certificate {} " + MISSING,
        ),
        ("GEARMAND_CA_CERTIFICATE", "client.key", b"Failed to load CA certificate {}"),
        ("GEARMAN_CLIENT_PEM", "none", b"Failed to open certificate {} " + MISSING),
        ("GEARMAN_CLIENT_PEM", "client.key", b"Failed to load certificate {}"),
        ("GEARMAN_CLIENT_KEY", "none", b"Failed to open certificate key {} " + MISSING),
        ("GEARMAN_CLIENT_KEY", "server.key", b"Failed to check private key"),
    ],
)
def test_tls_files(tmp_path: Path, name: str, file: str, said: bytes) -> None:
    """Each file has to be there, and what it should be."""
    env = tls_files(tmp_path)
    words = ["-S", "-h", "127.0.0.1", "-p", str(free_port()), "-f", "f", "word"]
    done = run([*txgear(), "gearman", *words], env={**env, name: str(tmp_path / file)})
    path = str(tmp_path / file).encode()
    wanted = b"gearman: " + said.replace(b"{}", path) + b"\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", wanted)


def test_by_a_link_and_a_script(server: Server, function: str, tmp_path: Path) -> None:
    """A link named `gearman`, or two lines of shell, take the C tool's place."""
    link, script = tmp_path / "gearman", tmp_path / "wrapper"
    link.symlink_to(txgear()[0])
    script.write_text(f'#!/bin/sh\nexec {shlex.join(txgear())} gearman "$@"\n')
    script.chmod(0o755)
    for program in (link, script):
        assert run([program, *place_of(server), "-b", "-f", function, "word"]).returncode == 0
    server.wait_for_total(function, 2)
    assert run([link, "-H", "-f", "x"]).stdout == run([requires("gearman"), "-H", "-f", "x"]).stdout.replace(
        requires("gearman").encode(), b"gearman"
    )


def test_refused_by_rules(start_server: Servers, tmp_path: Path) -> None:
    """A server that does not let one submit says so."""
    rules = tmp_path / "txgear.toml"
    rules.write_text('[[access]]\nidentities = ["*"]\nallow = ["work"]\n')
    server = start_server(f"--config={rules}")
    for tool in both("gearman"):
        done = tool(*place_of(server), "-b", "-f", "f", "word")
        assert (done.returncode, done.stdout) == (0, b"")
        assert normal(done.stderr, {}).startswith(b"gearman: gearman_client_run_tasks : _client_run_tasks(")
    assert strict(*place_of(server), "-b", "-f", "f", "word").returncode == 1


def test_output_that_nobody_reads(tool: Tool, programs: Programs, server: Server, function: str) -> None:
    """Piped into `head` it ends."""
    started(programs, tool, server, "-w", "-f", function, "cat")
    words = shlex.join([*tool.command, *place_of(server), "-n", "-f", function])
    done = run(["sh", "-c", f"seq 1 300 | {words} | head -n 1"], timeout=30)
    assert done.stdout == b"1\n"


def test_it_starts_quickly() -> None:
    """Help costs less than 0.3 s of CPU, and Twisted is not imported."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run([*txgear(), "gearman", "-H", "-f", "x"])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3
    code = "import sys, txgear.cli.imitate.gearman; print('twisted' in sys.modules)"
    assert run([sys.executable, "-c", code]).stdout == b"False\n"
