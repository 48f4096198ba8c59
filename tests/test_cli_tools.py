"""The command line tools of the C implementation, `gearman` and `gearadmin`, every option of them; and ours.

`-S`/`--ssl` of both tools needs a server with TLS and certificates; it is not tried here.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from needs import requires
from processes import Program, Programs, Server, Servers, Throttle, free_port, run, txgear, wait_until
from wirepeer import P

Done = subprocess.CompletedProcess[bytes]


class Tools:
    """`gearman` and `gearadmin`, talking to one server."""

    def __init__(self, server: Server, programs: Programs, ours: bool = False) -> None:
        self.server = server
        self._programs = programs
        self.gearman = [*txgear(), "gearman"] if ours else [requires("gearman")]
        self.gearadmin = [*txgear(), "gearadmin"] if ours else [requires("gearadmin")]
        self.place = ["-h", "127.0.0.1", "-p", str(server.port)]

    def client(self, *args: str, stdin: bytes = b"") -> Done:
        """Run `gearman` as a client, to its end."""
        return run([*self.gearman, *self.place, *args], stdin=stdin)

    def worker(self, *args: str) -> Program:
        """Run `gearman -w` in the background."""
        return self._programs.start([*self.gearman, "-w", *self.place, *args], name="worker")

    def admin(self, *args: str) -> Done:
        """Run `gearadmin`."""
        return run([*self.gearadmin, *self.place, *args])

    def bare(self, *args: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Done:
        """Run `gearman` without telling it where the server is."""
        return run([*self.gearman, *args], stdin=stdin, env=env)

    def bare_worker(self, *args: str, env: dict[str, str] | None = None) -> Program:
        """Run `gearman -w` in the background without telling it where the server is."""
        return self._programs.start([*self.gearman, "-w", *args], name="worker", env=env)


@pytest.fixture(params=["theirs", "ours"])
def tools(request: pytest.FixtureRequest, server: Server, programs: Programs) -> Tools:
    return Tools(server, programs, request.param == "ours")


@pytest.fixture(params=["theirs", "ours"])
def fresh_tools(request: pytest.FixtureRequest, fresh_server: Server, programs: Programs) -> Tools:
    return Tools(fresh_server, programs, request.param == "ours")


# gearman, as client and worker


def test_wc_counts_the_lines_of_real_files(tools: Tools, function: str) -> None:
    """`gearman -w -f wc -- wc -l` counts what `gearman -f wc < file` sends."""
    files = [Path(__file__), Path(__file__).with_name("wirepeer.py"), Path(os.__file__)]
    worker = tools.worker("-f", function, "-c", str(len(files)), "--", "wc", "-l")
    for path in files:
        done = tools.client("-f", function, stdin=path.read_bytes())
        assert (done.returncode, int(done.stdout)) == (0, path.read_bytes().count(b"\n"))
    assert worker.wait() == 0


def test_a_large_binary_file_passes_unchanged(tools: Tools, function: str) -> None:
    """A megabyte with every byte value comes back as it was sent."""
    data = bytes(range(256)) * 4096
    # The worker reads no output before it has written all input, so the command must do the same.
    worker = tools.worker("-f", function, "-c", "1", "--", "sh", "-c", "cat > held; cat held")
    assert tools.client("-f", function, stdin=data).stdout == data
    assert worker.wait() == 0


def test_several_functions_get_each_job(tools: Tools, names: Callable[[str], str]) -> None:
    """With -f given twice, client and worker speak of both functions."""
    one, two = names("one"), names("two")
    worker = tools.worker("-f", one, "-f", two, "-c", "2", "--", "cat")
    done = tools.client("-f", one, "-f", two, "-P", "word")
    assert sorted(re.findall(rb"\w+: word", done.stdout)) == sorted(
        f"{name}: word".encode() for name in (one, two)
    )
    assert (done.returncode, worker.wait()) == (0, 0)


def test_each_argument_is_a_job(tools: Tools, function: str) -> None:
    """Without standard input, every word of the command line is one workload."""
    worker = tools.worker("-f", function, "-c", "3", "--", "sh", "-c", "tr a-z A-Z; echo")
    done = tools.client("-f", function, "ab", "cd", "ef")
    assert sorted(done.stdout.split()) == [b"AB", b"CD", b"EF"]
    assert (done.returncode, worker.wait()) == (0, 0)


def test_client_gives_up_after_its_timeout(tools: Tools, function: str) -> None:
    """-t ends the wait for a function that nobody serves."""
    done = tools.client("-t", "200", "-f", function, "data")
    assert b"GEARMAN_TIMEOUT" in done.stderr
    assert done.stdout == b""


def test_worker_survives_its_timeout(tools: Tools, function: str) -> None:
    """-t only interrupts the wait of a worker that nobody gives work; it says so, and goes on serving."""
    worker = tools.worker("-t", "100", "-f", function, "--", "cat")
    wait_until(lambda: worker.stderr.count(b"GEARMAN_TIMEOUT") >= 2, what="two timeouts")
    assert tools.client("-f", function, "data").stdout == b"data"


def test_timeout_counts_as_a_job(tools: Tools, function: str) -> None:
    """With -c, a timeout is counted like a job, so that -t ends the worker."""
    worker = tools.worker("-t", "100", "-f", function, "-c", "1", "--", "cat")
    assert worker.wait() == 0
    assert b"GEARMAN_TIMEOUT" in worker.stderr


def test_pid_file(tools: Tools, function: str, tmp_path: Path) -> None:
    """-i writes the worker's pid; the worker works meanwhile."""
    path = tmp_path / "worker.pid"
    worker = tools.worker("-i", str(path), "-f", function, "-c", "1", "--", "cat")
    wait_until(lambda: path.exists() and path.read_text().strip())
    assert int(path.read_text()) == worker.pid
    assert tools.client("-f", function, "data").stdout == b"data"
    assert worker.wait() == 0


def test_daemon(tools: Tools, function: str, tmp_path: Path) -> None:
    """-d puts a worker into the background, where it goes on serving."""
    path = tmp_path / "daemon.pid"
    starter = tools.worker("-d", "-i", str(path), "-f", function, "-c", "2", "--", "cat")
    assert starter.wait() == 0
    assert tools.client("-f", function, "one").stdout == b"one"
    pid = int(path.read_text())
    try:
        assert pid != starter.pid
        os.kill(pid, 0)
        assert tools.client("-f", function, "two").stdout == b"two"
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the daemon's end after two jobs")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_verbose_prints_the_handle(tools: Tools, function: str) -> None:
    """-v tells the handle that the server gave."""
    done = tools.client("-v", "-b", "-f", function, "data")
    match = re.fullmatch(rb"Task created: (H:\S+:\d+)\n", done.stdout + done.stderr)
    assert match, done
    peer = tools.server.connect()
    assert peer.status_of(match[1]) == [b"1", b"0", b"0", b"0"]


def test_help(tools: Tools) -> None:
    """-H explains and succeeds."""
    done = tools.bare("-H")
    assert done.returncode == 0
    assert b"Worker mode" in done.stdout + done.stderr


def test_no_function_is_a_mistake(tools: Tools) -> None:
    """Without -f there is nothing to do: status 1."""
    assert tools.client("data").returncode == 1


def test_prefix(tools: Tools, function: str) -> None:
    """-P puts the function's name before every line of output."""
    worker = tools.worker("-f", function, "-c", "2", "--", "cat")
    done = tools.client("-P", "-n", "-f", function, stdin=b"a\nb\n")
    assert sorted(done.stdout.splitlines()) == [f"{function}: a".encode(), f"{function}: b".encode()]
    assert worker.wait() == 0


def test_background_returns_at_once_and_the_job_is_run(tools: Tools, function: str, tmp_path: Path) -> None:
    """-b does not wait; a worker that comes later finds the job."""
    done = tools.client("-b", "-f", function, stdin=b"later")
    assert (done.returncode, done.stdout) == (0, b"")
    assert tools.server.status(function) == (1, 0, 0)
    path = tmp_path / "delivered"
    assert tools.worker("-f", function, "-c", "1", "--", "sh", "-c", f"cat > '{path}'").wait() == 0
    assert path.read_bytes() == b"later"


def test_priorities(tools: Tools, function: str, tmp_path: Path) -> None:
    """-I jobs are run before the normal ones, -L jobs after them."""
    for option, word in (("-L", "low1"), ("-b", "normal1"), ("-I", "high1"), ("-L", "low2"), ("-I", "high2")):
        assert tools.client("-b", option, "-f", function, word).returncode == 0
    path = tmp_path / "order"
    worker = tools.worker("-f", function, "-c", "5", "--", "sh", "-c", f"cat >> '{path}'; echo >> '{path}'")
    assert worker.wait() == 0
    assert path.read_text().split() == ["high1", "high2", "normal1", "low1", "low2"]


@pytest.mark.parametrize("option", ["-I", "-L"])
def test_foreground_priorities_bring_a_result(tools: Tools, function: str, option: str) -> None:
    """-I and -L without -b wait for the result."""
    worker = tools.worker("-f", function, "-c", "1", "--", "cat")
    assert tools.client(option, "-f", function, "data").stdout == b"data"
    assert worker.wait() == 0


def test_one_job_a_line(tools: Tools, function: str) -> None:
    """-n makes a job of every line, with its newline; -N takes the newline off."""
    worker = tools.worker("-f", function, "-c", "4", "--", "sh", "-c", "wc -c")
    kept = tools.client("-n", "-f", function, stdin=b"ab\nabcd\n")
    assert sorted(kept.stdout.split()) == [b"3", b"5"]
    cut = tools.client("-N", "-f", function, stdin=b"ab\nabcd\n")
    assert sorted(cut.stdout.split()) == [b"2", b"4"]
    assert worker.wait() == 0


def test_no_standard_input(tools: Tools, function: str) -> None:
    """-s sends an empty workload without reading anything."""
    worker = tools.worker("-f", function, "-c", "1", "--", "wc", "-c")
    assert tools.client("-s", "-f", function, stdin=b"not read").stdout.strip() == b"0"
    assert worker.wait() == 0


def test_unique(tools: Tools, function: str) -> None:
    """-u names the job: the same name again is the same job."""
    for _ in range(2):
        assert tools.client("-b", "-u", f"{function}-key", "-f", function, "data").returncode == 0
    assert tools.server.status(function) == (1, 0, 0)
    assert [f"{function}-key"] in tools.server.list("show unique jobs")


def test_worker_count(tools: Tools, function: str) -> None:
    """-c ends a worker after that many jobs, and no earlier."""
    worker = tools.worker("-f", function, "-c", "2", "--", "cat")
    assert tools.client("-f", function, "one").stdout == b"one"
    assert worker.running
    assert tools.client("-f", function, "two").stdout == b"two"
    assert worker.wait() == 0


@pytest.mark.parametrize(("option", "last"), [("-n", b"a\nb\n"), ("-N", b"a\nb")])
def test_worker_sends_lines_as_data(tools: Tools, function: str, option: str, last: bytes) -> None:
    """With -n or -N a worker sends a WORK_DATA packet for every line of its command's output.

    (The tool never empties its buffer: the second packet holds the first line too.)
    """
    worker = tools.worker(option, "-f", function, "-c", "1", "--", "cat")
    peer = tools.server.connect()
    handle = peer.submit(function.encode(), b"a\nb\n")
    peer.expect(P.WORK_DATA, handle, b"a\n" if option == "-n" else b"a")
    peer.expect(P.WORK_DATA, handle, last)
    peer.expect(P.WORK_COMPLETE, handle, b"")
    assert worker.wait() == 0


def test_worker_without_a_command_prints_the_workload(tools: Tools, function: str) -> None:
    """Without a command the workload goes to the worker's own output, and the result is empty."""
    worker = tools.worker("-f", function, "-c", "1")
    done = tools.client("-f", function, "hello")
    assert (done.returncode, done.stdout) == (0, b"")
    assert worker.wait() == 0
    assert worker.stdout == b"hello"


def test_failing_command_fails_the_job(tools: Tools, function: str) -> None:
    """A command that ends with an error: its output arrives, the client says "Job failed", status 1."""
    worker = tools.worker("-f", function, "-c", "1", "--", "sh", "-c", "printf partly; exit 3")
    done = tools.client("-f", function, "data")
    assert (done.returncode, done.stdout) == (1, b"partly")
    assert b"Job failed" in done.stderr
    worker.wait()


def test_client_shows_what_a_worker_tells(tools: Tools, programs: Programs, function: str) -> None:
    """Data and result go to stdout, a warning to stderr, a status is printed as percents."""
    client = programs.start([*tools.gearman, *tools.place, "-f", function, "work"], name="client")
    peer = tools.server.connect()
    peer.can_do(function.encode())
    job = peer.grab_soon()
    assert job.workload == b"work"
    peer.send(P.WORK_DATA, job.handle, b"some ")
    peer.send(P.WORK_WARNING, job.handle, b"careful")
    peer.send(P.WORK_STATUS, job.handle, b"1", b"4")
    peer.complete(job, b"result")
    assert client.wait() == 0
    assert b"25% Complete" in client.stdout + client.stderr
    assert client.stdout.replace(b"25% Complete\n", b"") == b"some result"
    assert b"careful" in client.stderr


@pytest.mark.txgear_only  # The reference ends the WORK_FAIL's handle with a NUL, and the client waits on.
def test_exception_fails_the_client(tools: Tools, programs: Programs, function: str) -> None:
    """A WORK_EXCEPTION ends the client's wait, with status 1."""
    client = programs.start([*tools.gearman, *tools.place, "-f", function, "work"], name="client")
    peer = tools.server.connect()
    peer.can_do(function.encode())
    peer.send(P.WORK_EXCEPTION, peer.grab_soon().handle, b"broken")
    assert client.wait() == 1
    assert client.stdout == b""


def test_environment_names_the_server(tools: Tools, function: str) -> None:
    """GEARMAN_SERVER tells client and worker where the server is."""
    env = {"GEARMAN_SERVER": f"127.0.0.1:{tools.server.port}"}
    worker = tools.bare_worker("-f", function, "-c", "1", "--", "cat", env=env)
    assert tools.bare("-f", function, "data", env=env).stdout == b"data"
    assert worker.wait() == 0


@pytest.mark.parametrize("down_first", [True, False])
def test_one_server_of_several_is_down(tools: Tools, function: str, down_first: bool) -> None:
    """With one server of the list down, background jobs still arrive and the worker still serves."""
    places = [f"127.0.0.1:{free_port()}", f"127.0.0.1:{tools.server.port}"]
    env = {"GEARMAN_SERVER": ",".join(places if down_first else reversed(places))}
    tools.bare("-b", "-f", function, "data", env=env)
    tools.server.wait_for_total(function, 1)
    worker = tools.bare_worker("-f", function, "-c", "2", "--", "cat", env=env)
    assert tools.client("-f", function, "data").stdout == b"data"
    assert worker.wait() == 0


def test_default_host_is_localhost(tools: Tools, function: str) -> None:
    """Without -h both tools find the server at localhost, whatever address that is first."""
    port = str(tools.server.port)
    worker = tools.bare_worker("-p", port, "-f", function, "-c", "1", "--", "cat")
    assert tools.bare("-p", port, "-f", function, "data").stdout == b"data"
    assert worker.wait() == 0
    assert run([*tools.gearadmin, "-p", port, "--getpid"]).stdout.strip() == str(tools.server.pid).encode()


def test_job_of_a_killed_worker_is_given_to_another(tools: Tools, function: str, gate: Throttle) -> None:
    """The client of a job whose worker dies still gets its result, from the next worker."""
    first = tools.worker("-f", function, "--", "sh", "-c", f"head -c 1 '{gate.path}'; echo first")
    peer = tools.server.connect()
    handle = peer.submit(function.encode(), b"data")
    tools.server.wait_for_running(function)
    first.stop()
    second = tools.worker("-f", function, "-c", "1", "--", "echo", "second")
    peer.expect(P.WORK_COMPLETE, handle, b"second\n")
    assert second.wait() == 0


def test_many_workers_share_many_jobs(tools: Tools, function: str) -> None:
    """Three workers run sixty jobs of one client; every result arrives once."""
    for _ in range(3):
        tools.worker("-f", function, "--", "cat")
    lines = [f"line-{number}\n".encode() for number in range(60)]
    done = tools.client("-n", "-f", function, stdin=b"".join(lines))
    assert done.returncode == 0
    assert sorted(done.stdout.splitlines(keepends=True)) == sorted(lines)
    assert (tools.server.status(function) or ())[:2] == (0, 0)


# gearadmin


def test_admin_server_version(tools: Tools) -> None:
    """--server-version prints the version."""
    done = tools.admin("--server-version")
    assert done.returncode == 0
    assert re.fullmatch(rb"\d+\.\d+\S*\n", done.stdout)


def test_admin_server_verbose(tools: Tools) -> None:
    """--server-verbose prints the level's name."""
    done = tools.admin("--server-verbose")
    levels = "FATAL ALERT CRITICAL ERROR WARNING NOTICE INFO DEBUG"
    assert (done.returncode, done.stdout.decode().strip() in levels.split()) == (0, True)


def test_admin_getpid(tools: Tools) -> None:
    """--getpid prints the server's pid."""
    done = tools.admin("--getpid")
    assert (done.returncode, done.stdout.decode().strip()) == (0, str(tools.server.pid))


def test_admin_create_and_drop_function(tools: Tools, function: str) -> None:
    """--create-function and --drop-function say OK, and the function is there, and gone."""
    done = tools.admin("--create-function", function)
    assert (done.returncode, done.stdout.strip()) == (0, b"OK")
    assert tools.server.status(function) == (0, 0, 0)
    done = tools.admin("--drop-function", function)
    assert (done.returncode, done.stdout.strip()) == (0, b"OK")
    assert tools.server.status(function) is None


def test_admin_drop_unknown_function(tools: Tools, function: str) -> None:
    """An ERR answer goes to stderr; the status stays 0, as this tool does it."""
    done = tools.admin("--drop-function", function)
    assert (done.returncode, done.stdout.strip()) == (0, b"")
    assert b"Error: function not found" in done.stderr


def test_admin_drop_busy_function(tools: Tools, function: str) -> None:
    """A function with a worker is not dropped."""
    peer = tools.server.connect()
    peer.can_do(function.encode())
    done = tools.admin("--drop-function", function)
    assert b"there are still connected workers or executing clients" in done.stderr
    assert tools.server.status(function) == (0, 0, 1)


def test_admin_cancel_job(tools: Tools, function: str) -> None:
    """--cancel-job fails the client of a queued job; an unknown handle is an error."""
    peer = tools.server.connect()
    handle = peer.submit(function.encode(), b"data")
    done = tools.admin("--cancel-job", handle.decode())
    assert (done.returncode, done.stdout.strip()) == (0, b"OK")
    peer.expect(P.WORK_FAIL, handle)
    assert b"UNKNOWN_JOB" in tools.admin("--cancel-job", "H:nowhere:999999").stderr


def test_admin_show_jobs(tools: Tools, function: str) -> None:
    """--show-jobs lists every handle, --show-unique-jobs every unique."""
    peer = tools.server.connect()
    handles = [peer.submit(function.encode(), b"data", f"{function}-{n}".encode()) for n in range(2)]
    listed = tools.admin("--show-jobs").stdout.splitlines()
    for handle in handles:
        assert any(row.split(b"\t")[0] == handle and len(row.split(b"\t")) == 4 for row in listed), listed
    uniques = tools.admin("--show-unique-jobs").stdout.splitlines()
    assert {f"{function}-0".encode(), f"{function}-1".encode()} <= set(uniques)


def test_admin_status(tools: Tools, function: str) -> None:
    """--status counts jobs, running jobs and workers."""
    worker, client = tools.server.connect(), tools.server.connect()
    worker.can_do(function.encode())
    client.submit(function.encode(), b"one")
    client.submit(function.encode(), b"two")
    worker.grab_soon()
    assert f"{function}\t2\t1\t1".encode() in tools.admin("--status").stdout.splitlines()


def test_admin_priority_status(tools: Tools, function: str) -> None:
    """--priority-status counts queued jobs by priority."""
    peer = tools.server.connect()
    kinds = [P.SUBMIT_JOB_HIGH_BG] * 3 + [P.SUBMIT_JOB_BG] * 2 + [P.SUBMIT_JOB_LOW_BG]
    for kind in kinds:
        peer.submit(function.encode(), b"data", type=kind)
    assert f"{function}\t3\t2\t1\t0".encode() in tools.admin("--priority-status").stdout.splitlines()


def test_admin_workers(tools: Tools, function: str) -> None:
    """--workers lists connections with address, id and functions."""
    peer = tools.server.connect()
    peer.send(P.SET_CLIENT_ID, b"id-of-this-worker")
    peer.can_do(function.encode())
    rows = tools.admin("--workers").stdout.decode().splitlines()
    mine = [row for row in rows if function in row]
    assert len(mine) == 1
    assert re.fullmatch(rf"\d+ 127\.0\.0\.1 id-of-this-worker : {function}", mine[0])


def test_admin_several_operations(fresh_tools: Tools) -> None:
    """Several operations of one call are all done, status last."""
    done = fresh_tools.admin("--getpid", "--server-version", "--create-function", "combined", "--status")
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert str(fresh_tools.server.pid) in lines
    assert "OK" in lines
    assert lines[-2:] == ["combined\t0\t0\t0", "."]


def test_admin_without_operation(tools: Tools) -> None:
    """Nothing to do is status 1."""
    assert tools.admin().returncode == 1


def test_admin_help(tools: Tools) -> None:
    """--help explains the options."""
    assert b"--show-unique-jobs" in run([requires("gearadmin"), "--help"]).stdout


def test_admin_without_server() -> None:
    """With nobody at the port: a message and status 1."""
    done = run([requires("gearadmin"), "-h", "127.0.0.1", "-p", str(free_port()), "--status"])
    assert done.returncode == 1
    assert b"Error" in done.stderr


def test_admin_long_host_and_port(tools: Tools) -> None:
    """--host and --port are the long forms."""
    done = run([*tools.gearadmin, "--host=127.0.0.1", f"--port={tools.server.port}", "--getpid"])
    assert done.stdout.strip() == str(tools.server.pid).encode()


def test_admin_reads_a_long_list(start_server: Servers, programs: Programs) -> None:
    """A list of two thousand functions arrives whole: gearadmin stops reading after 5 ms of silence."""
    tools = Tools(start_server(), programs)
    peer = tools.server.connect()
    names = [f"long-list-of-functions-{number:04}" for number in range(2000)]
    peer.can_do(*(name.encode() for name in names))
    rows = tools.admin("--status").stdout.decode().splitlines()
    assert sorted(row.split("\t")[0] for row in rows[:-1]) == names
    assert rows[-1] == "."


@pytest.mark.txgear_only  # The reference may drop what a peer sent just before it closed its side.
def test_nc_session(server: Server) -> None:
    """`nc -N`, which closes its side after the commands, gets every answer."""
    done = run([requires("nc"), "-N", "127.0.0.1", str(server.port)], stdin=b"getpid\nstatus\n")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == f"OK {server.pid}"
    assert lines[-1] == "."


def test_closing_right_after_a_background_job_keeps_it(server: Server, function: str) -> None:
    """A client that sends a background job and closes at once has given its job."""
    peer = server.connect()
    peer.send(P.SUBMIT_JOB_BG, function.encode(), b"", b"data")
    peer.shut_writing()
    server.wait_for_total(function, 1)
