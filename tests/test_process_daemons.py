"""The server as a process: its pid file, and how it detaches itself."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import pytest

from processes import (
    PATIENCE,
    Programs,
    free_port,
    run,
    twistd,
    txgear,
    wait_until,
)
from startup import Daemons, answers, assert_one_line, started
from wirepeer import WirePeer

pytestmark = pytest.mark.txgear_only


def daemon_command(pidfile: Path, port: int) -> list[str]:
    """The command line of a daemon that logs beside its pid file."""
    words = [f"--pidfile={pidfile}", f"--logfile={pidfile.with_name('log')}", "txgear", "--web="]
    return [*twistd(), *words, "--port", str(port)]


def test_pid_file_in_the_foreground(programs: Programs, tmp_path: Path) -> None:
    """`twistd -n --pidfile` writes its pid and removes the file at the end."""
    path = tmp_path / "pid"
    port = str(free_port())
    program = programs.start(
        [*twistd(), "-n", f"--pidfile={path}", "txgear", "--web=", "--port", port], name="twistd"
    )
    program.comes_up()
    with WirePeer(int(port)) as peer:
        assert peer.ask("getpid") == b"OK %d\n" % program.pid
    assert int(path.read_text()) == program.pid
    assert program.stop() == 0
    assert not path.exists()


def test_no_file_is_left_in_the_folder(programs: Programs, tmp_path: Path) -> None:
    """With `--pidfile=` the current folder stays empty."""
    program, _ = started(programs, "--port", "0", "--listen", "127.0.0.1")
    assert program.stop() == 0
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("0-twistd.")] == []


def test_daemon(tmp_path: Path, daemons: Daemons) -> None:
    """`twistd txgear` detaches and returns 0; SIGTERM ends the daemon, and its pid file goes with it."""
    port = free_port()
    path = tmp_path / "pid"
    command = daemon_command(path, port)
    done = run(command, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    pid = daemons.pid(path)
    with WirePeer(port) as peer:
        assert peer.ask("getpid") == b"OK %d\n" % pid
    daemons.ends(pid)
    assert not path.exists()
    assert "Traceback" not in (tmp_path / "log").read_text()


STALE: Final = ["{pid}", "{sleep}", "999999999", ""]


@pytest.mark.parametrize("stale", STALE)
@pytest.mark.parametrize("daemon", [False, True])
def test_stale_pid_file(
    programs: Programs, daemons: Daemons, tmp_path: Path, stale: str, daemon: bool
) -> None:
    """A pid file whose number is nobody's, of another program or of the new process itself is written over.

    The last is what a container has that is started again: its first process is number 1 each time.
    """
    path, port = tmp_path / "pid", free_port()
    sleep = programs.start(["sleep", "60"])
    words = [*twistd(), f"--pidfile={path}"]
    words += [f"--logfile={tmp_path / 'log'}"] if daemon else ["-n"]
    words += ["txgear", "--web=", "--listen", "127.0.0.1", "--port", str(port), "--store", "memory:"]
    if stale == "{pid}":
        # The shell's own number is the server's.
        words = ["sh", "-c", 'echo $$ > "$0"; exec "$@"', str(path), *words]
    else:
        path.write_text(stale.format(sleep=sleep.pid))
    program = programs.start(words, name="twistd")
    if daemon:
        assert program.wait() == 0, program.log()
    wait_until(lambda: answers(port), what="a server")
    pid = daemons.pid(path) if daemon else program.pid
    assert int(path.read_text()) == pid
    with WirePeer(port) as peer:
        assert peer.ask("getpid") == b"OK %d\n" % pid
    assert sleep.running


def test_pid_file_after_a_kill(programs: Programs, tmp_path: Path) -> None:
    """What kill -9 leaves behind stops nobody; while a server lives, its file is not taken from it."""
    path = tmp_path / "pid"
    words = [*twistd(), "-n", f"--pidfile={path}", "txgear", "--web=", "--listen", "127.0.0.1", "--port", "0"]
    first = programs.start([*words, "--store", "memory:"], name="first")
    first.comes_up()
    done = run([*words, "--store", "memory:"], cwd=tmp_path)
    assert_one_line(done, "another server runs", str(first.pid), str(path))
    assert int(path.read_text()) == first.pid
    first.kill()
    assert path.exists()
    second = programs.start([*words, "--store", "memory:"], name="second")
    second.comes_up()
    assert int(path.read_text()) == second.pid
    assert second.stop() == 0
    assert not path.exists()


def test_pid_file_of_another_twistd(programs: Programs, tmp_path: Path) -> None:
    """Another program of twistd's keeps its pid file: the default name is the same for all in a folder."""
    path = tmp_path / "twistd.pid"
    web = programs.start(
        [*twistd(), "-n", f"--pidfile={path}", "web", "--listen", "tcp:0:interface=127.0.0.1"], name="web"
    )
    wait_until(lambda: path.exists() and path.read_text(), what="its pid file")
    done = run([*twistd(), "-n", f"--pidfile={path}", "txgear", "--port", "0"], cwd=tmp_path)
    assert_one_line(done, "another twistd runs", str(web.pid))
    assert int(path.read_text()) == web.pid


def test_another_user(programs: Programs) -> None:
    """
    With --uid the server reads no more of Python than that user may, though its store is new and pages are
    asked for. It may not remove its pid file at its end; the next start does not mind.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp(prefix="txgear-"))
    try:
        folder.chmod(0o755)
        theirs = folder / "theirs"
        theirs.mkdir()
        shutil.chown(theirs, "nobody")
        path = folder / "pid"
        web = f"127.0.0.1:{free_port()}"
        words = [*twistd(), "-n", f"--pidfile={path}", "--uid=nobody", "txgear", "--listen", "127.0.0.1"]
        words += ["--port", "0", "--store", f"sqlite:///{theirs / 'jobs.sqlite'}", "--web", web]
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            program = programs.start(words, name="twistd")
            program.comes_up()
            assert int(path.read_text()) == program.pid
            for page in ("", "jobs", "metrics"):
                with urlopen(f"http://{web}/{page}", timeout=PATIENCE) as answer:
                    assert answer.status == 200
            program.signal(number)
            assert program.wait() == (0 if number == signal.SIGTERM else -number)
            assert b"Traceback" not in program.stdout
            assert path.exists()
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-n", "--pidfile=/nosuch/dir/pid"], "cannot write the pid file /nosuch/dir/pid"),
        (["--pidfile=/nosuch/dir/pid", "--logfile=log"], "cannot write the pid file /nosuch/dir/pid"),
        (["-n", "--pidfile=", "--logfile=/nosuch/dir/log"], "--logfile"),
        (["--pidfile=", "--logfile=/nosuch/dir/log"], "--logfile"),
        (["-n", "--pidfile=", "--rundir=/nosuch/dir"], "--rundir"),
        (["-n", "--pidfile=", "--chroot=/nosuch/dir"], "--chroot"),
        (["-n", "--pidfile=", "--uid=2000000000"], "--uid"),
    ],
)
def test_wrong_options_of_twistd(tmp_path: Path, words: list[str], reason: str) -> None:
    """Those of twistd's own options that would end it in a traceback are a line."""
    done = run([*twistd(), *words, "txgear", "--port", "0", "--store", "memory:"], cwd=tmp_path)
    assert_one_line(done, reason)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("entry", ["twistd", "gearmand"])
def test_closed_standard_descriptors(tmp_path: Path, daemons: Daemons, closed: str, entry: str) -> None:
    """A daemon whose starter has closed some or all of the standard descriptors serves."""
    path, port = tmp_path / "pid", free_port()
    if entry == "twistd":
        words = [
            *twistd(),
            f"--pidfile={path}",
            f"--logfile={tmp_path / 'log'}",
            "txgear",
            "--store",
            "memory:",
        ]
    else:
        words = [*txgear(), "gearmand", "-d", "-P", str(path), "-l", str(tmp_path / "log"), "-q", "builtin"]
    words += ["--listen", "127.0.0.1", "--port", str(port)]
    done = run(["sh", "-c", f'exec "$0" "$@" {closed}', *words], cwd=tmp_path)
    assert done.returncode == 0, (done, (tmp_path / "log").read_text())
    pid = daemons.pid(path)
    with WirePeer(port) as peer:
        assert peer.sync() == []
    for number in range(3):
        assert os.readlink(f"/proc/{pid}/fd/{number}") == "/dev/null"
    daemons.ends(pid)


def test_daemon_started_twice(tmp_path: Path, daemons: Daemons) -> None:
    """A second daemon with the same pid file does not start, and the first one's file stays."""
    port = free_port()
    path = tmp_path / "pid"
    command = daemon_command(path, port)
    assert run(command, cwd=tmp_path).returncode == 0
    pid = daemons.pid(path)
    assert run(command, cwd=tmp_path).returncode != 0
    assert int(path.read_text()) == pid
    with WirePeer(port) as peer:
        assert peer.ask("getpid") == b"OK %d\n" % pid
