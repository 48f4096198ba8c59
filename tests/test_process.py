"""The server as a process: its command line, its signals, what it opens and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import pytest

from needs import requires
from processes import (
    PATIENCE,
    Programs,
    Server,
    Servers,
    free_port,
    listening,
    run,
    server_command,
    twistd,
    wait_until,
)
from startup import Done, accepts, assert_one_line, started
from wirepeer import Closed, P, WirePeer

pytestmark = pytest.mark.txgear_only


def start_and_fail(folder: Path, *options: str, daemon: bool = False) -> Done:
    """Run `twistd txgear` with something wrong, to its end."""
    words = [f"--pidfile={folder / 'pid'}", f"--logfile={folder / 'log'}"] if daemon else ["-n", "--pidfile="]
    return run([*twistd(), *words, "txgear", *options], cwd=folder)


# A command line with a mistake

WRONG: Final = [
    (["--port", "many"], ["port", "many"]),
    (["--port", "70000"], ["port", "70000"]),
    (["--backlog", "0"], ["backlog", "'0'"]),
    (["--verbose", "LOUD"], ["verbose", "LOUD"]),
    (["--worker-wakeup", "-1"], ["worker-wakeup", "-1"]),
    (["--job-retries", "none"], ["job-retries", "none"]),
    (["--file-descriptors", "x"], ["file-descriptors", "x"]),
    (["--max-packet", "64MB"], ["max-packet", "64MB"]),
    (["--store", "memory"], ["store", "memory:"]),
    (["-n"], ["stands before the word txgear"]),
    (["--pidfile=x"], ["stands before the word txgear"]),
    (["--keepalive-idle", "long"], ["keepalive-idle", "long"]),
    (["--job-handle-prefix", "p" * 64], ["job-handle-prefix"]),
    (["--store", "cellar:"], ["store", "sqlite"]),
    (["--protocol", "gopher"], ["protocol", "gopher"]),
    (["--listen", ""], ["listen"]),
    (["--nonsense"], ["nonsense", "twistd txgear --help"]),
    (["--clustr"], ["clustr", "there is --cluster"]),
    # Like none of them: no --cluster.
    (["--user", "gear"], ["--user not recognized; twistd txgear --help"]),
    (["somewhere"], ["somewhere"]),
]


@pytest.mark.parametrize(("options", "words"), WRONG, ids=[" ".join(options)[:30] for options, _ in WRONG])
def test_wrong_option(tmp_path: Path, options: list[str], words: list[str]) -> None:
    """A mistake on the command line is one line on stderr that names it, and a status that is not 0."""
    assert_one_line(start_and_fail(tmp_path, *options), *words)


def test_wrong_option_of_a_daemon(tmp_path: Path) -> None:
    """The same before it detaches; nothing is left behind."""
    assert_one_line(start_and_fail(tmp_path, "--port", "many", daemon=True), "port", "many")
    assert not (tmp_path / "pid").exists()


# A server that cannot start


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port at which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield int(other.getsockname()[1])


BAD_STARTS: Final = {
    "port taken": (["--port", "{port}"], "cannot listen on 127.0.0.1"),
    "address not ours": (["--port", "0", "--listen", "203.0.113.7"], "cannot listen on 203.0.113.7"),
    "name unknown": (
        ["--port", "0", "--listen", "no-such-host.invalid"],
        "cannot listen on no-such-host.invalid",
    ),
    "endpoint unknown": (["--listen", "carrierpigeon:4730"], "cannot listen on carrierpigeon:4730"),
    "endpoint incomplete": (["--listen", "tcp:"], "cannot listen on tcp:: '' is no port"),
    "endpoint without a port": (["--listen", "tcp:abc"], "cannot listen on tcp:abc: 'abc' is no port"),
    "port of an address": (["--listen", "127.0.0.1:473000"], "127.0.0.1:473000: '473000' is no port"),
    "port of an address of IPv6": (["--listen", "[::1]:x"], "[::1]:x: 'x' is no port"),
    "socket in no folder": (["--listen", "unix:/nosuch/s"], "unix:/nosuch/s: there is no folder /nosuch"),
    "socket that is a file": (["--listen", "unix:{dir}/file"], "it is a file, and no socket"),
    "no key for TLS": (
        ["--listen", "ssl:0:privateKey=/nosuch/key.pem"],
        "No such file or directory: /nosuch/key.pem",
    ),
    "log in no folder": (
        ["--port", "0", "--log-file", "{dir}/no/such/folder/log"],
        "cannot open the log file",
    ),
    "log is a folder": (["--port", "0", "--log-file", "{dir}"], "cannot open the log file"),
}


@pytest.mark.parametrize("case", list(BAD_STARTS))
def test_cannot_start(tmp_path: Path, taken_port: int, case: str) -> None:
    """What hinders a start is said in one line; the status is not 0."""
    options, reason = BAD_STARTS[case]
    (tmp_path / "file").touch()
    done = start_and_fail(tmp_path, *(option.format(port=taken_port, dir=tmp_path) for option in options))
    assert_one_line(done, reason)


@pytest.mark.parametrize("case", list(BAD_STARTS))
def test_daemon_cannot_start(tmp_path: Path, taken_port: int, case: str) -> None:
    """A daemon that cannot start ends the command with a status that is not 0 and leaves no pid file.

    The whole reason is one line of its standard error, and in the log; twistd itself would pass on 100 bytes.
    """
    options, reason = BAD_STARTS[case]
    (tmp_path / "file").touch()
    done = start_and_fail(
        tmp_path, *(option.format(port=taken_port, dir=tmp_path) for option in options), daemon=True
    )
    assert_one_line(done, reason.format(port=taken_port, dir=tmp_path))
    # The daemon tells its parent before it removes the file.
    wait_until(lambda: not (tmp_path / "pid").exists(), what="the pid file's end")
    log = (tmp_path / "log").read_text()
    assert reason in log
    assert "Traceback" not in log


def test_port_taken_names_the_port(tmp_path: Path, taken_port: int) -> None:
    """The line about a port that is taken names address, port and reason."""
    done = start_and_fail(tmp_path, "--port", str(taken_port))
    assert_one_line(done, "127.0.0.1", str(taken_port), "in use")


# Ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_by_signal(fresh_server: Server, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the server with status 0; its peers' connections are closed."""
    peer = fresh_server.connect()
    peer.sync()
    fresh_server.signal(number)
    assert peer.read_to_end() == b""
    assert fresh_server.wait() == 0


def test_ends_with_work_under_way(fresh_server: Server) -> None:
    """SIGTERM waits for no job."""
    client, worker = fresh_server.connect(), fresh_server.connect()
    worker.can_do(b"slow")
    client.submit(b"slow", b"data")
    worker.grab_soon()
    client.submit(b"slow", b"more")
    fresh_server.signal(signal.SIGTERM)
    assert fresh_server.wait() == 0
    assert client.read_to_end() == b""


def test_restart_on_the_same_port(start_server: Servers) -> None:
    """A server that was killed while peers were connected can be started again at once."""
    first = start_server()
    peers = [first.connect() for _ in range(5)]
    for peer in peers:
        peer.sync()
    first.signal(signal.SIGKILL)
    first.wait()
    second = start_server(port=first.port)
    assert second.connect().sync() == []


# Draining


def test_drain_of_an_idle_server(fresh_server: Server) -> None:
    """SIGUSR1 ends a server that has nothing to do, status 0."""
    fresh_server.connect().sync()
    fresh_server.signal(signal.SIGUSR1)
    assert fresh_server.wait() == 0


def test_drain_waits_for_running_jobs(fresh_server: Server) -> None:
    """After SIGUSR1 nobody can connect, the running job is done, its client gets the result: the end."""
    client, worker = fresh_server.connect(), fresh_server.connect()
    worker.can_do(b"slow")
    handle = client.submit(b"slow", b"data")
    job = worker.grab_soon()
    fresh_server.signal(signal.SIGUSR1)
    wait_until(lambda: not accepts("127.0.0.1", fresh_server.port), what="the end of listening")
    worker.send(P.WORK_STATUS, job.handle, b"1", b"2")
    client.expect(P.WORK_STATUS, handle, b"1", b"2")
    assert client.sync() == []
    assert fresh_server.running
    worker.complete(job, b"done")
    client.expect(P.WORK_COMPLETE, handle, b"done")
    assert fresh_server.wait() == 0


def test_drain_waits_for_a_background_job_that_runs(fresh_server: Server) -> None:
    """A background job that runs is waited for, too."""
    worker = fresh_server.connect()
    worker.can_do(b"slow")
    worker.submit(b"slow", b"data", type=P.SUBMIT_JOB_BG)
    job = worker.grab_soon()
    fresh_server.signal(signal.SIGUSR1)
    wait_until(lambda: not accepts("127.0.0.1", fresh_server.port), what="the end of listening")
    assert worker.sync() == []
    worker.complete(job, b"done")
    assert fresh_server.wait() == 0


def test_drain_hands_out_no_background_jobs(fresh_server: Server) -> None:
    """While it drains, queued background jobs are not handed out, and nobody waits for them in the end."""
    client, worker, other = (fresh_server.connect() for _ in range(3))
    worker.can_do(b"slow")
    other.can_do(b"queued")
    handle = client.submit(b"slow", b"data")
    job = worker.grab_soon()
    client.submit(b"queued", b"data", type=P.SUBMIT_JOB_BG)
    fresh_server.signal(signal.SIGUSR1)
    wait_until(lambda: not accepts("127.0.0.1", fresh_server.port), what="the end of listening")
    assert other.grab() is None
    worker.complete(job, b"done")
    client.expect(P.WORK_COMPLETE, handle, b"done")
    assert fresh_server.wait() == 0


def test_drain_waits_for_queued_foreground_jobs(fresh_server: Server) -> None:
    """A queued job that a client waits for is still handed out and done."""
    client, worker = fresh_server.connect(), fresh_server.connect()
    worker.can_do(b"work")
    first = client.submit(b"work", b"1")
    second = client.submit(b"work", b"2")
    job = worker.grab_soon()
    fresh_server.signal(signal.SIGUSR1)
    wait_until(lambda: not accepts("127.0.0.1", fresh_server.port), what="the end of listening")
    worker.complete(job, b"done 1")
    client.expect(P.WORK_COMPLETE, first, b"done 1")
    worker.complete(worker.grab_soon(), b"done 2")
    client.expect(P.WORK_COMPLETE, second, b"done 2")
    assert fresh_server.wait() == 0


def test_drain_ends_when_the_clients_leave(fresh_server: Server) -> None:
    """When the client of a queued job goes, there is nothing left to wait for."""
    client, other = fresh_server.connect(), fresh_server.connect()
    client.submit(b"nobody", b"data")
    fresh_server.signal(signal.SIGUSR1)
    wait_until(lambda: not accepts("127.0.0.1", fresh_server.port), what="the end of listening")
    # One that waits for nothing is hung up on.
    assert other.read_to_end() == b""
    client.close()
    assert fresh_server.wait() == 0


def test_term_cuts_a_drain_short(fresh_server: Server) -> None:
    """SIGTERM ends a server that drains."""
    client = fresh_server.connect()
    client.submit(b"nobody", b"data")
    fresh_server.signal(signal.SIGUSR1)
    wait_until(lambda: not accepts("127.0.0.1", fresh_server.port), what="the end of listening")
    assert client.sync() == []
    fresh_server.signal(signal.SIGTERM)
    assert fresh_server.wait() == 0


# The log


def test_log_file_is_reopened(start_server: Servers, tmp_path: Path) -> None:
    """After a rename and SIGHUP the log goes on in a new file; the old one stays as it was."""
    path, moved = tmp_path / "txgear.log", tmp_path / "txgear.log.1"
    server = start_server("--log-file", str(path), "--verbose", "DEBUG")
    wait_until(lambda: "ready" in path.read_text(), what="the first line")
    path.rename(moved)
    server.signal(signal.SIGHUP)
    wait_until(path.exists, what="the new file")
    before = moved.read_text()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "has ended" in path.read_text()
    assert moved.read_text() == before


def test_hangup_without_a_log_file(fresh_server: Server) -> None:
    """SIGHUP does nothing to a server without a log file."""
    fresh_server.signal(signal.SIGHUP)
    assert fresh_server.connect().sync() == []
    assert fresh_server.running


def test_reopening_fails(start_server: Servers, tmp_path: Path) -> None:
    """If the log cannot be reopened, the server goes on."""
    folder = tmp_path / "logs"
    folder.mkdir()
    server = start_server("--log-file", str(folder / "log"))
    (folder / "log").unlink()
    folder.rmdir()
    server.signal(signal.SIGHUP)
    assert server.connect().sync() == []
    wait_until(lambda: b"cannot open the log file" in server.said(), what="the complaint")
    assert server.running


def test_levels(start_server: Servers, tmp_path: Path) -> None:
    """--verbose bounds what the log file is told; at ERROR a good start says where jobs are kept, no more."""
    path = tmp_path / "log"
    server = start_server("--log-file", str(path), "--verbose", "ERROR")
    assert server.connect().ask("verbose") == b"OK ERROR\n"
    [line] = path.read_text().splitlines()
    assert "is ready: store memory:," in line


# Where it listens


def test_default_addresses(fresh_server: Server) -> None:
    """By default nobody outside this machine can reach it: it listens on 127.0.0.1 and ::1 only."""
    expected = {("127.0.0.1", fresh_server.port)}
    if accepts_ipv6():
        expected.add(("::1", fresh_server.port))
    assert listening(fresh_server.pid) == expected


def accepts_ipv6() -> bool:
    """This machine has ::1."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_several_addresses(start_server: Servers) -> None:
    """--listen may be repeated."""
    server = start_server("--listen", "127.0.0.1", "--listen", "127.0.0.2")
    assert listening(server.pid) == {("127.0.0.1", server.port), ("127.0.0.2", server.port)}
    with WirePeer(server.port, "127.0.0.2") as peer:
        assert peer.ask("getpid") == b"OK %d\n" % server.pid


def test_listen_by_name(start_server: Servers) -> None:
    """--listen takes a name, which stands for its addresses."""
    server = start_server("--listen", "localhost")
    assert ("127.0.0.1", server.port) in listening(server.pid)
    assert {address for address, _ in listening(server.pid)} <= {"127.0.0.1", "::1"}


def test_listen_at_an_endpoint(programs: Programs) -> None:
    """--listen takes an endpoint string with a port of its own."""
    program, places = started(programs, "--listen", "tcp:0:interface=127.0.0.1")
    assert [address for address, _ in places] == ["127.0.0.1"]
    with WirePeer(next(iter(places))[1]) as peer:
        assert peer.ask("getpid") == b"OK %d\n" % program.pid
    assert program.stop() == 0


def test_listen_at_a_socket_file(programs: Programs, tmp_path: Path) -> None:
    """A Unix socket is an endpoint, too; it is removed at the end."""
    path = tmp_path / "socket"
    program = programs.start(
        [*twistd(), "-n", "--pidfile=", "txgear", "--web=", "--listen", f"unix:{path}"], name="twistd"
    )
    program.comes_up()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE)
        peer.connect(str(path))
        peer.sendall(b"getpid\n")
        assert peer.recv(100) == b"OK %d\n" % program.pid
    assert program.stop() == 0
    assert not path.exists()


def asks_pid(path: Path) -> bytes:
    """What the server at a socket's file says to `getpid`."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE)
        peer.connect(str(path))
        peer.sendall(b"getpid\n")
        return peer.recv(100)


def test_socket_file_that_was_left_behind(programs: Programs, tmp_path: Path) -> None:
    """What a killed server leaves, and a lock with our own number, stop nobody; a server that lives does."""
    path, lock = tmp_path / "socket", tmp_path / "socket.lock"
    words = [
        *twistd(),
        "-n",
        "--pidfile=",
        "txgear",
        "--web=",
        "--store",
        "memory:",
        "--listen",
        f"unix:{path}:mode=600",
    ]
    first = programs.start(words, name="first")
    first.comes_up()
    assert_one_line(run(words, cwd=tmp_path), "another server listens there", str(path))
    assert asks_pid(path) == b"OK %d\n" % first.pid
    first.kill()
    assert path.exists()
    lock.unlink()
    # As in a container, where the first process is number 1 each time.
    second = programs.start(["sh", "-c", 'ln -s $$ "$0"; exec "$@"', str(lock), *words], name="second")
    second.comes_up()
    assert asks_pid(path) == b"OK %d\n" % second.pid
    assert second.stop() == 0
    assert not path.exists()


def test_listen_at_an_address_with_a_port(programs: Programs) -> None:
    """--listen takes the forms that the client takes; other protocols keep to their own ports."""
    port, other = free_port(), free_port()
    _, places = started(
        programs, "--listen", f"127.0.0.1:{port}", "--listen", f"localhost:{other}", "--store", "memory:"
    )
    assert places >= {("127.0.0.1", port), ("127.0.0.1", other)}
    if accepts_ipv6():
        _, places = started(programs, "--listen", f"[::1]:{free_port()}", "--listen", "[::1]", "--port", "0")
        assert [address for address, _ in places] == ["::1", "::1"]


# What the options do


def test_options_without_effect(start_server: Servers) -> None:
    """An option that says nothing without another is named, in the log and to whoever starts the server."""
    server = start_server("--http-port", "1", "--keepalive-idle", "60")
    for line in (
        b"--http-port has no effect without --protocol http",
        b"--keepalive-idle has no effect without --keepalive",
    ):
        assert b"txgear: " + line in server.stderr
        assert line in server.stdout


def test_file_descriptors(start_server: Servers) -> None:
    """--file-descriptors is the process's limit; what is too few is raised, and the log says so."""
    for given, limit in (("321", 321), ("10", 64)):
        server = start_server("--file-descriptors", given)
        assert re.search(rf"Max open files\s+{limit} ", Path(f"/proc/{server.pid}/limits").read_text())
    assert b"--file-descriptors 10 is too few; it is 64 now" in server.said()


@pytest.mark.alone
def test_out_of_descriptors(start_server: Servers) -> None:
    """When no more connections can be opened, the open ones go on; new ones are taken when some have left."""
    server = start_server("--file-descriptors", "64")
    first = server.connect()
    first.sync()
    with ExitStack() as crowd:
        peers = []
        for _ in range(100):
            # One that the server has no room for may be ended before it is open here.
            with suppress(ConnectionResetError):
                peers.append(crowd.enter_context(WirePeer(server.port)))
        assert [peer.sync() for peer in (first, *peers[:10])] == [[]] * 11

    def is_served() -> bool:
        try:
            with WirePeer(server.port) as peer:
                return peer.sync() == []
        except (Closed, ConnectionError):
            return False

    wait_until(is_served, what="a new connection that is served")
    assert first.sync() == []


def test_backlog(start_server: Servers) -> None:
    """--backlog is what the kernel was told."""
    server = start_server("--backlog", "23", "--listen", "127.0.0.1")
    rows = run([requires("ss"), "-Hltn", f"sport = :{server.port}"]).stdout.decode().splitlines()
    assert [row.split()[2] for row in rows] == ["23"]


def keepalive_seconds(server: Server, peer: WirePeer) -> float:
    """Seconds until the kernel probes the server's end of a connection."""
    place = f"sport = :{server.port} and dport = :{peer.local_port}"
    row = run([requires("ss"), "-Htno", place]).stdout.decode()
    match = re.search(r"timer:\(keepalive,(?:(\d+)min)?(?:([\d.]+)sec)?(?:(\d+)ms)?,", row)
    assert match, row
    return 60 * float(match[1] or 0) + float(match[2] or 0) + float(match[3] or 0) / 1000


def test_keepalive_by_default(fresh_server: Server) -> None:
    """Accepted connections are kept alive, as the system does it."""
    peer = fresh_server.connect()
    peer.sync()
    assert keepalive_seconds(fresh_server, peer) > 30


def test_keepalive(start_server: Servers) -> None:
    """--keepalive-idle holds for accepted connections."""
    server = start_server(
        "--keepalive", "--keepalive-idle", "20", "--keepalive-interval", "3", "--keepalive-count", "2"
    )
    peer = server.connect()
    peer.sync()
    assert 10 < keepalive_seconds(server, peer) <= 20


def test_job_handle_prefix(start_server: Servers) -> None:
    """--job-handle-prefix is what handles start with; they count from 1."""
    server = start_server("--job-handle-prefix", "M:here")
    peer = server.connect()
    assert [peer.submit(b"f", type=P.SUBMIT_JOB_BG) for _ in range(3)] == [
        b"M:here:1",
        b"M:here:2",
        b"M:here:3",
    ]


def test_default_handles(fresh_server: Server) -> None:
    """By default handles are H:, the host's name and a number."""
    handle = fresh_server.connect().submit(b"f", type=P.SUBMIT_JOB_BG)
    assert handle == f"H:{os.uname().nodename}:1".encode()


@pytest.mark.parametrize(("wakeup", "least", "most"), [("1", 1, 1), ("2", 1, 2), ("0", 1, 3)])
def test_worker_wakeup(start_server: Servers, wakeup: str, least: int, most: int) -> None:
    """One job wakes at the most --worker-wakeup of three sleeping workers, and at least one."""
    server = start_server("--worker-wakeup", wakeup)
    workers = [server.connect() for _ in range(3)]
    for worker in workers:
        worker.can_do(b"f")
        worker.send(P.PRE_SLEEP)
        assert worker.sync() == []
    server.connect().submit(b"f", type=P.SUBMIT_JOB_BG)
    woken = sum(len(worker.sync()) for worker in workers)
    assert least <= woken <= most


def test_job_retries(start_server: Servers) -> None:
    """With --job-retries 2 a job whose worker is lost twice fails."""
    server = start_server("--job-retries", "2")
    client = server.connect()
    handle = client.submit(b"deadly", b"data")
    for _ in range(2):
        assert client.sync() == []
        worker = server.connect()
        worker.can_do(b"deadly")
        worker.grab_soon()
        worker.close()
    client.expect(P.WORK_FAIL, handle)


def test_exceptions(start_server: Servers) -> None:
    """With --exceptions every client gets exceptions without asking."""
    server = start_server("--exceptions")
    client, worker = server.connect(), server.connect()
    worker.can_do(b"f")
    handle = client.submit(b"f")
    worker.send(P.WORK_EXCEPTION, worker.grab_soon().handle, b"broken")
    client.expect(P.WORK_EXCEPTION, handle, b"broken")


def test_max_packet(start_server: Servers) -> None:
    """--max-packet bounds what a peer may send; a packet of that size passes."""
    server = start_server("--max-packet", str(2**17))
    peer = server.connect()
    peer.send(P.ECHO_REQ, b"x" * 2**17)
    assert len(peer.expect(P.ECHO_RES).body) == 2**17
    peer.send(P.ECHO_REQ, b"x" * (2**17 + 1))
    assert peer.expect(P.ERROR).args[0]
    assert peer.read_to_end() == b""


def test_environment_is_not_an_option(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable like GEARMAND_PORT, which Kubernetes sets for a service of that name, is not read."""
    monkeypatch.setenv("GEARMAND_PORT", "tcp://10.0.0.1:4730")
    program, places = started(programs, "--port", "0", "--listen", "127.0.0.1")
    assert len(places) == 1
    assert program.stop() == 0


def test_starts_in_any_folder(programs: Programs, names: Callable[[str], str]) -> None:
    """The server needs nothing of the folder it is started in."""
    program, places = started(
        programs,
        "--port",
        "0",
        "--listen",
        "127.0.0.1",
        "--store",
        "memory:",
        "--job-handle-prefix",
        names("x"),
    )
    with WirePeer(next(iter(places))[1]) as peer:
        assert peer.submit(b"f", type=P.SUBMIT_JOB_BG).endswith(b":1")
    assert program.stop() == 0


def test_first_words(programs: Programs, tmp_path: Path) -> None:
    """`make run` ends its start with what to do next, and says what may be in the way when it fails."""
    serve, port = Path(__file__).parents[1] / ".ci" / "serve", free_port()
    words = [str(serve), str(port), *server_command(port, "memory:")]
    program = programs.start(words, name="serve")
    wait_until(lambda: b"docs/tutorial.md" in program.stdout, what="the first words")
    words_of_next = f"txgear work wc --server 127.0.0.1:{port} --".encode()
    assert program.stdout.index(b"is ready") < program.stdout.index(words_of_next)
    done = run(words, cwd=tmp_path)
    assert done.returncode == 1
    assert b"make run PORT=4731" in done.stderr
    assert b"docs/tutorial.md" not in done.stdout
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert not accepts("127.0.0.1", port)
