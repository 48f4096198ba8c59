"""The operator's file: read at the start, and again when SIGHUP comes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from processes import Server, Servers, free_port, run, server_command, txgear, wait_until
from startup import accepts, assert_one_line
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

ONE = '[[function]]\nname = "bounded*"\nmax_queue = 1\n'
TWO = '# More room.\n[[function]]\nname = "bounded*"\nmax_queue = 2\n'
WRONG = '[[function]]\nname = "bounded*"\n\nmax_queue = "many"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "txgear.toml"


def refused(peer: WirePeer) -> bytes | None:
    """Submit a background job; what the server says if it does not take it."""
    peer.send(P.SUBMIT_JOB_BG, b"bounded", b"", b"x")
    packet = peer.read()
    return None if packet.type == P.JOB_CREATED else packet.args[1]


def hang_up(server: Server, log: Path, says: str) -> str:
    """Send a SIGHUP, and wait for what the log is to say; the line."""
    before = len(log.read_text().splitlines())
    server.signal(signal.SIGHUP)

    def said() -> list[str]:
        return [line for line in log.read_text().splitlines()[before:] if says in line]

    (line,) = wait_until(said, what=f"{says!r} in the log")
    return line


def test_check(file: Path) -> None:
    """`txgear config check` shows what a file says without starting a server; so does `python -m txgear`."""
    file.write_text(ONE + '[[function]]\nname = "bounded.mail"\nretries = 1\n')
    shown = f"{file}, line 5 never counts: 'bounded*' in line 2 takes all that 'bounded.mail' matches"
    for command in (txgear(), [sys.executable, "-m", "txgear"]):
        done = run([*command, "config", "check", file])
        assert (done.returncode, done.stderr) == (0, b"")
        lines = done.stdout.decode().splitlines()
        assert lines[1:3] == ["function bounded*", "  max_queue = 1"]
        assert lines[-1] == shown
    file.write_text(WRONG + "[[schedule]]\n")
    done = run([*txgear(), "config", "check", file])
    assert (done.returncode, done.stdout) == (1, b"")
    assert [line.split(": ")[1] for line in done.stderr.decode().splitlines()] == [
        f"{file}, line 4",
        f"{file}, line 5",
    ]


def test_rules_that_never_count(start_server: Servers, file: Path) -> None:
    """The server mentions them when it starts."""
    file.write_text(TWO + ONE)
    server = start_server("--config", str(file))
    assert b"line 6 never counts: 'bounded*' in line 3 takes all" in server.said()


def test_mistakes(file: Path, tmp_path: Path) -> None:
    """A server with a mistake in its file does not start: one line says where it is."""
    for text, expected in (
        (WRONG, f"{file}, line 4: function.max_queue: a whole number from 0 to 1000000000"),
        ('[[function]]\nname = "a\n', f"{file}, line 2: "),
        ('[[schedule]]\nname = "a"\ncron = "x"\nfunction = "f"\n', f"{file}, line 3: schedule.cron: five"),
    ):
        file.write_text(text)
        port = free_port()
        done = run([*server_command(port, "memory:"), "--config", str(file)], cwd=tmp_path)
        assert_one_line(done, f"txgear: --config: {expected}")
        assert not accepts("127.0.0.1", port)
    file.unlink()
    done = run([*server_command(free_port(), "memory:"), f"--config={file}"], cwd=tmp_path)
    assert_one_line(done, f"txgear: --config: cannot read {file}: No such file or directory")


def test_check_args(file: Path, tmp_path: Path) -> None:
    """`txgear gearmand` takes the file, too, and its --check-args looks into it."""
    command = [*txgear(), "gearmand", "--check-args", "--config", str(file)]
    file.write_text(ONE)
    assert run(command, cwd=tmp_path).returncode == 0
    file.write_text(WRONG)
    assert_one_line(run(command, cwd=tmp_path), f"{file}, line 4: function.max_queue: ")


def test_reload(start_server: Servers, file: Path, tmp_path: Path) -> None:
    """SIGHUP puts a good file in force at once; with a bad one all stays as it was, and the log says why."""
    file.write_text(ONE)
    log = tmp_path / "server.log"
    # A name that means something else when the process has changed its folder.
    server = start_server(f"--config={file}", f"--log-file={log}")
    assert f"{file}: policies for 1 pattern, 0 schedules" in log.read_text()
    peer = server.connect()
    assert [refused(peer) for _ in range(2)] == [None, b"Job queue is full: max_queue is 1"]

    file.write_text(TWO)
    hang_up(server, log, f"{file} read again: policies for 1 pattern, 0 schedules")
    assert [refused(peer) for _ in range(2)] == [None, b"Job queue is full: max_queue is 2"]

    file.write_text(WRONG)
    line = hang_up(server, log, "stay as they were")
    assert f"{file}, line 4: function.max_queue: a whole number from 0 to" in line
    assert "error" in line
    assert refused(peer) == b"Job queue is full: max_queue is 2"

    file.write_text("")
    hang_up(server, log, f"{file} read again: policies for 0 patterns, 0 schedules")
    assert refused(peer) is None
    # It was one process and one connection all the time.
    assert server.running
    assert peer.sync() == []


def test_reload_reopens_the_log(start_server: Servers, file: Path, tmp_path: Path) -> None:
    """SIGHUP does both: what is said of the file is in the new log already."""
    file.write_text(ONE)
    log = tmp_path / "server.log"
    server = start_server(f"--config={file}", f"--log-file={log}")
    log.rename(tmp_path / "server.old")
    server.signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "read again" in log.read_text(), what="a new log")
