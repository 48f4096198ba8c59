"""`txgear gearmand`: the server with gearmand's own command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from databases import PASSWORD, USER, Database, MariaDB
from needs import requires
from processes import PATIENCE, Program, Programs, free_port, listening, run, txgear, wait_until
from startup import Daemons, Done, accepts, answers, assert_one_line
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only


def gearmand(*options: str, cwd: Path) -> Done:
    return run([*txgear(), "gearmand", *options], cwd=cwd)


def test_gearmand_daemon(tmp_path: Path, daemons: Daemons) -> None:
    """`txgear gearmand -d` with gearmand's short options: it detaches, with pid file and log file."""
    port = free_port()
    pidfile, log = tmp_path / "gearmand.pid", tmp_path / "gearmand.log"
    short = [
        "-q",
        "builtin",
        "-p",
        str(port),
        "-L",
        "127.0.0.1",
        "-P",
        str(pidfile),
        "-l",
        str(log),
        "-d",
        "--verbose",
        "INFO",
    ]
    done = gearmand(*short, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    pid = daemons.pid(pidfile)
    assert listening(pid) == {("127.0.0.1", port)}
    with WirePeer(port) as peer:
        assert peer.ask("getpid") == b"OK %d\n" % pid
        assert peer.ask("verbose") == b"OK INFO\n"
    daemons.ends(pid)
    assert not pidfile.exists()
    assert "has ended" in log.read_text()


def test_gearmand_listens_everywhere(programs: Programs, tmp_path: Path) -> None:
    """Without `-L` it listens at all addresses of both families, as gearmand does."""
    port = free_port()
    program = programs.start([*txgear(), "gearmand", "-q", "builtin", "-p", str(port)], name="gearmand")
    wait_until(lambda: answers(port), what="a server")
    assert listening(program.pid) == {("0.0.0.0", port), ("::", port)}
    assert accepts("::1", port)
    with WirePeer(port) as peer:
        assert b" 127.0.0.1 - :\n" in peer.ask("workers")
    assert program.stop() == 0


def start_gearmand(
    programs: Programs,
    log: Path,
    *options: str,
    queue: Sequence[str] = ("-q", "builtin"),
    env: Mapping[str, str] | None = None,
) -> tuple[Program, int]:
    """`txgear gearmand` in the foreground, on 127.0.0.1, when it answers; its port."""
    port = free_port()
    place = ["-p", str(port), "-L", "127.0.0.1", "-l", str(log)]
    program = programs.start([*txgear(), "gearmand", *place, *queue, *options], name="gearmand", env=env)
    wait_until(lambda: not program.running or answers(port), what="a server")
    assert program.running, program.log()
    return program, port


def test_gearmand_options_without_meaning(programs: Programs, tmp_path: Path) -> None:
    """Options that mean nothing here are taken, and the log mentions each."""
    log = tmp_path / "log"
    options = [
        "--threads",
        "4",
        "--round-robin",
        "--hashtable-buckets",
        "7",
        "--coredump",
        "--verbose",
        "INFO",
    ]
    program, port = start_gearmand(programs, log, *options)
    with WirePeer(port) as peer:
        assert peer.sync() == []
    assert program.stop() == 0
    for option in ("--threads", "--round-robin", "--hashtable-buckets", "--coredump"):
        assert [line for line in log.read_text().splitlines() if option in line and "ignored" in line]


def test_gearmand_options_with_meaning(programs: Programs, tmp_path: Path) -> None:
    """Options that mean something reach the server."""
    options = ["-j", "1", "-w", "1", "-b", "17", "-f", "300", "--exceptions", "--job-handle-prefix", "TEST"]
    program, port = start_gearmand(programs, tmp_path / "log", *options)
    with WirePeer(port) as client, WirePeer(port) as worker:
        assert client.submit(b"f", b"data") == b"TEST:1"
        worker.can_do(b"f")
        worker.send(P.WORK_EXCEPTION, worker.grab_soon().handle, b"broken")
        client.expect(P.WORK_EXCEPTION, b"TEST:1", b"broken")
    assert re.search(r"Max open files\s+300 ", Path(f"/proc/{program.pid}/limits").read_text())
    assert program.stop() == 0


def keeps_jobs(
    programs: Programs, tmp_path: Path, queue: Sequence[str], env: Mapping[str, str] | None = None
) -> list[Program]:
    """A background job is there again after the server was killed; the two that ran."""
    log = tmp_path / "log"
    first, port = start_gearmand(programs, log, queue=queue, env=env)
    with WirePeer(port) as client:
        handle = client.submit(b"f", b"w", b"u", P.SUBMIT_JOB_BG)
    first.kill()
    second, port = start_gearmand(programs, log, queue=queue, env=env)
    with WirePeer(port) as client:
        assert client.status_of(handle)[0] == b"1"
    return [first, second]


def test_gearmand_keeps_jobs_in_a_file(programs: Programs, tmp_path: Path) -> None:
    """Without a queue type jobs are in the port's own file, and with libsqlite3 in the one that is named."""
    keeps_jobs(programs, tmp_path, ["-q", "libsqlite3", "--libsqlite3-db", "gearmand.db"])
    assert (tmp_path / "gearmand.db").exists()
    state = tmp_path / "state"
    program, port = start_gearmand(programs, tmp_path / "log", queue=[], env={"STATE_DIRECTORY": str(state)})
    assert (state / f"jobs-{port}.sqlite").exists()
    assert program.stop() == 0


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_gearmand_keeps_jobs_in_a_database(
    kind: str, request: pytest.FixtureRequest, programs: Programs, tmp_path: Path
) -> None:
    """gearmand's options name the same database; the password is neither in `ps` nor in the log."""
    database: Database = request.getfixturevalue(kind)
    if isinstance(database, MariaDB):
        queue = ["-q", "mysql", "--mysql-host", "127.0.0.1", "--mysql-port", str(database.port)]
        queue += ["--mysql-user", USER, "--mysql-password", PASSWORD, "--mysql-db", database.database]
    else:
        place = f"host=127.0.0.1 port={database.port} dbname={database.database}"
        queue = ["-q", "postgres", "--libpq-conninfo", f"{place} user={USER} password='{PASSWORD}'"]
    for program in keeps_jobs(programs, tmp_path, queue):
        if program.running:
            shown = Path(f"/proc/{program.pid}/cmdline").read_bytes()
            assert b"gearmand" in shown
            assert PASSWORD.encode() not in shown
            assert f"://{USER}@" in (tmp_path / "log").read_text()
            assert program.stop() == 0
        assert PASSWORD.encode() not in program.stdout + program.stderr
    assert PASSWORD not in (tmp_path / "log").read_text()


def test_gearmand_config_file(programs: Programs, tmp_path: Path) -> None:
    """--config-file holds more long options; the command line wins."""
    path = tmp_path / "gearmand.conf"
    path.write_text("--verbose DEBUG\n--job-handle-prefix=FILE\n")
    program, port = start_gearmand(
        programs, tmp_path / "log", "--config-file", str(path), "--job-handle-prefix", "LINE"
    )
    with WirePeer(port) as peer:
        assert peer.ask("verbose") == b"OK DEBUG\n"
        assert peer.submit(b"f", type=P.SUBMIT_JOB_BG) == b"LINE:1"
    assert program.stop() == 0


def test_gearmand_with_rules(programs: Programs, tmp_path: Path) -> None:
    """Access rules and the audit log are there for gearmand's command line, too."""
    config, audit = tmp_path / "txgear.toml", tmp_path / "audit.log"
    config.write_text('[[access]]\nidentities = ["nobody"]\nallow = ["submit"]\nfunctions = ["mail.*"]\n')
    options = (f"--config={config}", f"--audit-log={audit}")
    program, port = start_gearmand(programs, tmp_path / "log", *options)
    with WirePeer(port) as peer:
        assert peer.ask("purge mail.send") == b"ERR ACCESS_DENIED Not+allowed:+purge+mail.send\r\n"
    (line,) = audit.read_text().splitlines()
    assert {"act": "purge", "outcome": "refused", "identity": None}.items() <= json.loads(line).items()
    assert program.stop() == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--nonsense"],
        ["--port", "many"],
        ["--config-file", "/no/such/file"],
        ["--queue-type", "cellar"],
        ["--threads", "abc"],
        ["--user", "no-such-user"],
        ["-P", "/nosuch/dir/pid", "-d"],
        ["-P", "/nosuch/dir/pid"],
        ["--ssl"],
        ["--ssl-key", "key.pem"],
        ["-q", "libsqlite3", "--libsqlite3-db", "/nosuch/dir/x.db"],
        ["-q", "libsqlite3", "--libsqlite3-db", "/nosuch/dir/x.db", "-d"],
        ["--queue-type", "redis", "--redis-server", "localhost"],
        ["--queue-type", "libdrizzle", "--libdrizzle-db=jobs", "--libdrizzle-mysql"],
        ["--queue-type", "libsqlite3"],
        ["--queue-type", "mysql", "--mysql-user", "me"],
        ["--queue-type", "postgres", "--libpq-conninfo", "host"],
        ["--verb", "INFO"],
        ["positional"],
    ],
)
def test_gearmand_mistakes(tmp_path: Path, options: list[str]) -> None:
    """As with gearmand, a mistake is status 1; here it is one line."""
    done = gearmand(*options, cwd=tmp_path)
    assert_one_line(done)
    assert done.returncode == 1


def test_gearmand_check_args(tmp_path: Path) -> None:
    """--check-args looks at the command line, starts nothing and returns 0 or 1."""
    good = ["-p", "4730", "-L", "127.0.0.1", "-q", "libsqlite3", "--libsqlite3-db", "jobs.db"]
    assert gearmand("--check-args", *good, cwd=tmp_path).returncode == 0
    assert not list(tmp_path.iterdir())
    assert gearmand("--check-args", "-p", "many", cwd=tmp_path).returncode == 1


def test_gearmand_check_args_is_quick(tmp_path: Path, tell: Callable[[str], None]) -> None:
    """--check-args loads neither Twisted nor a library of databases, where it needs none."""
    script = "import sys; from txgear.cli import main; main(sys.argv[1:]); print(*sys.modules)"
    words = ["--check-args", "-p", "4730", "-q", "libsqlite3", "--libsqlite3-db", "jobs.db", "-u", "root"]
    done = run([sys.executable, "-c", script, "gearmand", *words], cwd=tmp_path)
    loaded = {name.partition(".")[0] for name in done.stdout.decode().split()}
    assert "txgear" in loaded
    assert not loaded & {"twisted", "sqlalchemy", "alembic", "zope", "cronsim"}
    began = time.monotonic()
    assert gearmand(*words, cwd=tmp_path).returncode == 0
    tell(f"--check-args took {time.monotonic() - began:.2f} s")


def test_gearmand_in_lists_of_processes(programs: Programs, tmp_path: Path) -> None:
    """Scripts look for gearmand by name, in ps, by pgrep and in what has a port open."""
    program, port = start_gearmand(programs, tmp_path / "log")
    assert Path(f"/proc/{program.pid}/cmdline").read_bytes().startswith(b"gearmand")
    assert Path(f"/proc/{program.pid}/comm").read_text() == "gearmand\n"
    rows = run([requires("ss"), "-Hltnp", f"sport = :{port}"]).stdout.decode()
    assert f'"gearmand",pid={program.pid}' in rows


def test_gearmand_names_its_store(programs: Programs, tmp_path: Path) -> None:
    """At gearmand's own level, ERROR, the log file says which queue was taken."""
    log = tmp_path / "log"
    queue = ["-q", "libsqlite3", "--libsqlite3-db", str(tmp_path / "jobs.db")]
    program, _ = start_gearmand(programs, log, queue=queue)
    assert f"store sqlite:///{tmp_path}/jobs.db" in log.read_text()
    assert program.stop() == 0


def test_few_file_descriptors(programs: Programs, tmp_path: Path) -> None:
    """gearmand takes -f 10; so do we, and it is raised to what the server needs."""
    program, port = start_gearmand(programs, tmp_path / "log", "-f", "10", "--verbose", "INFO")
    assert re.search(r"Max open files\s+64 ", Path(f"/proc/{program.pid}/limits").read_text())
    assert "--file-descriptors 10 is too few" in (tmp_path / "log").read_text()
    with WirePeer(port) as peer:
        assert peer.sync() == []


@pytest.mark.parametrize("home", [None, "", "relative", "~"])
def test_no_home(tmp_path: Path, home: str | None) -> None:
    """A user that has no home is asked where its jobs are to be kept; nothing is made in this folder."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody without a home")
    folder = tmp_path / "here"
    folder.mkdir()
    environment = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "STATE_DIRECTORY")
    }
    if home is not None:
        environment["HOME"] = home
    script = (
        # Once as we are: all is loaded then, from a folder that the other one may not be able to read.
        "import os, sys, txgear.cli.base.output; from txgear.cli import main;"
        " main([*sys.argv[1:], '-q', 'builtin']);"
        " os.setgroups([]); os.setgid(2000000000); os.setuid(2000000000);"
        " raise SystemExit(main(sys.argv[1:]))"
    )
    folder.chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", script, "gearmand", "--check-args"],
        capture_output=True,
        env=environment,
        cwd=folder,
        timeout=PATIENCE,
        check=False,
    )
    assert_one_line(done, "--store", "STATE_DIRECTORY", "XDG_STATE_HOME")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("daemon", [False, True])
def test_queue_left_behind(programs: Programs, daemons: Daemons, tmp_path: Path, daemon: bool) -> None:
    """Who puts `txgear gearmand` in gearmand's place is told of the jobs in gearmand's own table."""
    path, log, port = tmp_path / "queue.sqlite", tmp_path / "log", free_port()
    real = programs.start(
        [
            requires("gearmand"),
            *("-L", "127.0.0.1", "-p", str(port), "-l", "none"),
            *("-q", "libsqlite3", "--libsqlite3-db", str(path)),
        ],
        name="gearmand",
    )
    wait_until(lambda: accepts("127.0.0.1", port), what="gearmand")
    with WirePeer(port) as client:
        for number in range(3):
            client.submit(b"f", b"w", b"u%d" % number, P.SUBMIT_JOB_BG)
    assert real.stop() == 0
    command = f"txgear import --from=sqlite:///{path} --table=gearman_queue --store=sqlite:///{path}"
    line = (
        f"3 jobs of gearmand are in table gearman_queue of sqlite:///{path};"
        f" stop this server and take them over: {command}"
    )
    port = free_port()
    place = ["-p", str(port), "-L", "127.0.0.1", "-P", str(tmp_path / "pid")]
    logs = ["-l", str(log), "--verbose", "INFO"]
    words = [*txgear(), "gearmand", *place, *logs, "-q", "libsqlite3", "--libsqlite3-db", str(path)]

    program = programs.start([*words, *(["-d"] if daemon else [])], name="txgear")
    # It says what it says before it answers, and before it knows what to do with signals.
    wait_until(lambda: answers(port), what="the server")
    if daemon:
        assert program.wait() == 0
        daemons.ends(daemons.pid(tmp_path / "pid"))
    else:
        assert program.stop() == 0
    assert program.stderr.decode().splitlines() == [f"txgear: {line}"]
    assert line in log.read_text()
    done = run([*txgear(), *command.split()[1:]])
    assert (done.returncode, done.stderr) == (0, b""), done
    program = programs.start(words, name="again")
    wait_until(lambda: answers(port), what="the server")
    assert program.stop() == 0
    assert "3 jobs are back" in log.read_text()
    assert b"of gearmand" not in program.stderr


def test_gearmand_help_and_version(tmp_path: Path) -> None:
    """--help and --version answer and return 0."""
    done = gearmand("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert b"--job-retries" in done.stdout
    done = gearmand("--version", cwd=tmp_path)
    assert (done.returncode, bool(re.search(rb"\d+\.\d+", done.stdout))) == (0, True)
