"""`txgear import`: what a gearmand has stored becomes txgear's, once, from every kind of database."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import shlex
import signal
import sqlite3
import struct
import subprocess
import termios
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from databases import PASSWORD, USER, Database, MariaDB, Postgres
from needs import requires
from processes import Program, Programs, Server, Servers, free_port, run, txgear, wait_until
from startup import Done, accepts, answers, assert_one_line
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

#: When a job is due that is not for today, within and beyond what 32 bits hold.
LATER = 2_000_000_000
BEYOND_2038 = 4_102_444_800


def move(source: str, store: str, *options: str, env: Mapping[str, str] | None = None) -> Done:
    """Run `txgear import`."""
    return run([*txgear(), "import", f"--from={source}", f"--store={store}", *options], env=env, timeout=60.0)


def said(done: Done, status: int = 0) -> list[str]:
    """What it reported, after the line that names both ends; nothing went to the standard error."""
    assert (done.returncode, done.stderr) == (status, b""), done
    first, *lines = done.stdout.decode().splitlines()
    assert first.startswith("From table ")
    return [line.strip() for line in lines]


def gearmand(programs: Programs, *queue: str) -> tuple[Program, int]:
    """A gearmand with that queue, when it listens; its port."""
    port = free_port()
    where = ["-p", str(port), "-L", "127.0.0.1", "-l", "stderr", "-P", str(programs.directory / "pid")]
    program = programs.start([requires("gearmand"), *where, *queue], name="gearmand")
    wait_until(lambda: accepts("127.0.0.1", port), what="a listening gearmand")
    return program, port


def gearmand_table(path: Path, rows: Iterable[tuple[Any, ...]], number: str = "INTEGER") -> str:
    """A SQLite file as gearmand writes it, but for the type of its numbers; its URL."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            f"CREATE TABLE gearman_queue ( unique_key TEXT, function_name TEXT, priority {number},"
            f" data BLOB, when_to_run {number}, PRIMARY KEY (unique_key, function_name))"
        )
        connection.executemany("INSERT INTO gearman_queue VALUES (?, ?, ?, ?, ?)", rows)
        connection.commit()
    return f"sqlite:///{path}"


def jobs(store: Path) -> list[tuple[Any, ...]]:
    """What a SQLite file of txgear's holds, in the order of numbers; see ``FILLED``."""
    with closing(sqlite3.connect(store)) as connection:
        return list(
            connection.execute(
                "SELECT uniq, function, priority, due, coalesce(job.workload, other.workload, x'')"
                " FROM txgear_jobs AS job LEFT JOIN txgear_workloads AS other USING (number) ORDER BY number"
            )
        )


def drain(server: Server, function: bytes, count: int) -> list[tuple[bytes, bytes]]:
    """Do that many jobs of a function, after which none is left to do now; their uniques and workloads."""
    done = []
    with server.connect() as worker:
        worker.can_do(function)
        for _ in range(count):
            job = worker.grab_soon()
            done.append((job.unique, job.workload))
            worker.complete(job)
        assert worker.grab() is None
    return done


def fill(port: int) -> None:
    """Submit what a queue table has its defects with."""
    with WirePeer(port) as client:
        client.submit(b"f", b"normal\0one", b"u1", P.SUBMIT_JOB_BG)
        client.submit(b"f", b"low", b"u2", P.SUBMIT_JOB_LOW_BG)
        client.submit(b"f", bytes(range(256)), "é".encode(), P.SUBMIT_JOB_HIGH_BG)
        client.submit(b"f", b"", b"empty", P.SUBMIT_JOB_BG)
        client.submit(b"f", b"no unique", b"", P.SUBMIT_JOB_BG)
        client.submit(b"f", b"of its workload", b"-", P.SUBMIT_JOB_BG)
        client.submit(b"g", b"other function", b"u1", P.SUBMIT_JOB_BG)
        client.send(P.SUBMIT_JOB_EPOCH, b"f", b"later", b"%d" % LATER, b"not today")
        client.expect(P.JOB_CREATED)


#: What :func:`fill` leaves: unique, function, priority, due, workload.
FILLED = [
    (b"u1", b"f", 1, 0.0, b"normal\0one"),
    (b"u2", b"f", 2, 0.0, b"low"),
    ("é".encode(), b"f", 0, 0.0, bytes(range(256))),
    (b"empty", b"f", 1, 0.0, b""),
    (b"", b"f", 1, 0.0, b"no unique"),
    (b"-", b"f", 1, 0.0, b"of its workload"),
    (b"u1", b"g", 1, 0.0, b"other function"),
    (b"later", b"f", 1, float(LATER), b"not today"),
]


def test_from_gearmands_sqlite(programs: Programs, start_server: Servers, tmp_path: Path) -> None:
    """A real gearmand's file: its jobs go on in txgear; a second run, also after their end, brings none."""
    source, store = tmp_path / "gearmand.db", tmp_path / "jobs.sqlite"
    program, port = gearmand(programs, "-q", "libsqlite3", "--libsqlite3-db", str(source))
    fill(port)
    program.stop()
    before = source.read_bytes()

    assert said(move(f"sqlite:///{source}", f"sqlite:///{store}")) == ["8 taken over"]
    assert source.read_bytes() == before
    assert jobs(store) == FILLED
    again = ["0 taken over", "8 already taken over before"]
    assert said(move(f"sqlite:///{source}", f"sqlite:///{store}")) == again
    assert jobs(store) == FILLED

    server = start_server(store=f"sqlite:///{store}")
    with server.connect() as client:
        # It joins the job that came from gearmand.
        client.submit(b"f", b"of its workload", b"-", P.SUBMIT_JOB_BG)
        assert server.status("f") == (7, 0, 0)
    done = drain(server, b"f", 6)
    assert sorted(done) == sorted(
        (unique, data) for unique, name, _, due, data in FILLED if name == b"f" and not due
    )
    normal = [unique for unique, name, priority, due, _ in FILLED if (name, priority, due) == (b"f", 1, 0.0)]
    assert [unique for unique, _ in done if unique in normal] == normal
    assert drain(server, b"g", 1) == [(b"u1", b"other function")]
    assert server.status("f") == (1, 0, 0)
    assert server.stop() == 0

    assert said(move(f"sqlite:///{source}", f"sqlite:///{store}")) == again
    assert jobs(store) == FILLED[-1:]


def test_into_gearmands_own_file(start_server: Servers, tmp_path: Path) -> None:
    """txgear's tables may stand beside gearmand's, in one file."""
    path = tmp_path / "one.db"
    url = gearmand_table(path, [(f"u{number}", "f", 1, b"w" * 2000, 0) for number in range(1200)])
    assert said(move(url, url)) == ["1200 taken over"]
    server = start_server(store=url)
    assert server.status("f") == (1200, 0, 0)
    assert drain(server, b"f", 1200) == [(b"u%d" % number, b"w" * 2000) for number in range(1200)]


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """Wherever it is killed, the next run brings the rest: every job once, in order."""
    count = 30_000
    store = tmp_path / "jobs.sqlite"
    url = gearmand_table(
        tmp_path / "gearmand.db", [(f"u{number}", "f", 1, b"w" * 500, 0) for number in range(count)]
    )

    def taken() -> int:
        with contextlib.suppress(sqlite3.OperationalError), closing(sqlite3.connect(store)) as connection:
            return int(connection.execute("SELECT count(*) FROM txgear_imported").fetchone()[0])
        return 0

    kills = 0
    for goal in (1, 5_000, 15_000):
        with Importing(url, store) as importing:
            wait_until(lambda goal=goal: taken() >= goal or importing.poll() is not None)  # type: ignore[misc]
            kills += importing.poll() is None
    before = taken()
    assert kills
    assert len(jobs(store)) == before
    report = said(move(url, f"sqlite:///{store}"))
    assert report[0] == f"{count - before} taken over"
    assert [job[0] for job in jobs(store)] == [b"u%d" % number for number in range(count)]


class Importing(contextlib.AbstractContextManager["subprocess.Popen[bytes]"]):
    """`txgear import` under way, killed on leaving."""

    def __init__(self, source: str, store: Path) -> None:
        self._command = [*txgear(), "import", f"--from={source}", f"--store=sqlite:///{store}"]

    def __enter__(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # A shell has its background jobs ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        return self._process

    def __exit__(self, *reason: object) -> None:
        self._process.kill()
        self._process.communicate()


def test_interrupted(tmp_path: Path) -> None:
    """SIGINT ends it with a line, and the lock is free."""
    store = tmp_path / "jobs.sqlite"
    url = gearmand_table(
        tmp_path / "gearmand.db", [(f"u{number}", "f", 1, b"w" * 500, 0) for number in range(60_000)]
    )
    with Importing(url, store) as importing:
        log = tmp_path / "jobs.sqlite-wal"
        wait_until(lambda: log.exists() and log.stat().st_size > 1_000_000)
        importing.send_signal(signal.SIGINT)
        _, complaint = importing.communicate(timeout=15.0)
        assert importing.returncode == 130
    assert complaint == b"txgear import: interrupted\n"
    assert said(move(url, f"sqlite:///{store}"))[0].endswith(" taken over")
    assert len(jobs(store)) == 60_000


def test_server_runs(start_server: Servers, tmp_path: Path) -> None:
    """While the server has the store nothing is taken, and the line names who has it."""
    store = tmp_path / "jobs.sqlite"
    server = start_server(store=f"sqlite:///{store}")
    url = gearmand_table(tmp_path / "gearmand.db", [("u", "f", 1, b"w", 0)])
    done = move(url, f"sqlite:///{store}")
    assert_one_line(done, "txgear import: ", str(server.pid))
    assert done.returncode == 1
    assert jobs(store) == []


def test_rows_that_are_not_taken(tmp_path: Path) -> None:
    """The others are; the status is 1, and the report says which and why."""
    url = gearmand_table(
        tmp_path / "gearmand.db",
        [
            ("good", "f", 1, b"w", 0),
            ("x" * 65, "f", 1, b"w", 0),
            ("y" * 65, "f", 1, b"w", 0),
            ("none", None, 1, b"w", 0),
            ("odd", "f", 7, b"w", 0),
        ],
    )
    store = tmp_path / "jobs.sqlite"
    assert said(move(url, f"sqlite:///{store}"), status=1) == [
        "2 taken over",
        "1 of unknown priority, which is normal now",
        "2 not taken, the unique has more than 64 bytes: function and unique"
        f" 'f' '{'x' * 39}...', 'f' '{'y' * 39}...'",
        "1 not taken, there is no function: function and unique NULL 'none'",
    ]
    assert [job[:3] for job in jobs(store)] == [(b"good", b"f", 1), (b"odd", b"f", 1)]


def test_nothing_warns(tmp_path: Path) -> None:
    """Not even of a type such as SQLite takes, too, and SQLAlchemy wonders at."""
    source = gearmand_table(tmp_path / "gearmand.db", [("u", "f", 1, b"w", LATER)], "int(10)")
    store = tmp_path / "new.sqlite"
    assert said(move(source, f"sqlite:///{store}", env={"PYTHONWARNINGS": "error"})) == ["1 taken over"]
    assert jobs(store) == [(b"u", b"f", 1, LATER, b"w")]


def test_default_store(tmp_path: Path) -> None:
    """Without --store the jobs go where a server on that port looks for them."""
    url = gearmand_table(tmp_path / "gearmand.db", [("u", "f", 1, b"w", 0)])
    env = {"STATE_DIRECTORY": str(tmp_path / "state")}
    words = [*txgear(), "import", f"--from={url}", "--port=4799", "--job-handle-prefix=H:old"]
    assert said(run(words, env=env)) == ["1 taken over"]
    store = tmp_path / "state" / "jobs-4799.sqlite"
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute("SELECT prefix FROM txgear_jobs").fetchall() == [(b"H:old",)]


def test_progress_bar(tmp_path: Path) -> None:
    """On a terminal there is a bar."""
    url = gearmand_table(tmp_path / "gearmand.db", [(f"u{n}", "f", 1, b"w", 0) for n in range(3000)])
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    words = [*txgear(), "import", f"--from={url}", f"--store=sqlite:///{tmp_path / 'jobs.sqlite'}"]
    with closing(os.fdopen(ours, "rb", buffering=0)) as terminal:
        done = subprocess.run(words, stderr=theirs, stdout=subprocess.PIPE, timeout=60, check=True)
        os.close(theirs)
        shown = b""
        # The other side is closed: Linux says that with an error.
        with contextlib.suppress(OSError):
            while piece := terminal.read(65536):
                shown += piece
    assert b"3000/3000" in shown
    assert b"3000 taken over" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--from=sqlite:////nowhere/gearmand.db"], "no file /nowhere/gearmand.db"),
        (["--from=redis://127.0.0.1/"], "--from: sqlite:///path, mysql://"),
        (["--from=sqlite:///{db}", "--table=other"], "no table other"),
        (["--from=sqlite:///{db}", "--store=memory:"], "--store"),
        (["--from=sqlite:///{db}", "--store=disk:"], "--store"),
        (["--from=sqlite:///{db}", "--store=sqlite:////proc/jobs.sqlite"], "/proc/jobs.sqlite"),
        (["--from=sqlite:///{db}", "--port=many"], "--port"),
        (["--from=sqlite:///{db}", "--from-password-file=/nowhere"], "--from-password-file"),
        (["--from=sqlite:///{db}", "--store-password-file=/nowhere"], "--store-password-file"),
        (["--from=sqlite:///{db}", "stray"], "stray"),
        (["--from=mysql://me@127.0.0.1:1/d"], "127.0.0.1"),
        (["--from=postgresql://me@127.0.0.1:1/d"], "127.0.0.1"),
        ([], "--from"),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], expected: str) -> None:
    """Each is one line that says what is wrong, and the status is 1."""
    gearmand_table(tmp_path / "gearmand.db", [("u", "f", 1, b"w", 0)])
    words = [word.format(db=tmp_path / "gearmand.db") for word in words]
    if not any("--store=" in word for word in words):
        words.append(f"--store=sqlite:///{tmp_path / 'jobs.sqlite'}")
    done = run([*txgear(), "import", *words])
    assert_one_line(done, expected)
    assert done.returncode == 1


def test_help() -> None:
    """The help of the command, and the commands' list."""
    done = run([*txgear(), "import", "--help"])
    assert done.returncode == 0
    assert b"--from-password-file" in done.stdout
    assert b"import" in run([*txgear(), "--help"]).stdout


# Databases that are servers


def as_gearmand_is_told(database: Database) -> list[str]:
    """gearmand's options for its table in that database."""
    if isinstance(database, MariaDB):
        return [
            *("-q", "mysql", "--mysql-host", "127.0.0.1", "--mysql-port", str(database.port)),
            *("--mysql-user", USER, "--mysql-password", PASSWORD, "--mysql-db", database.database),
        ]
    place = f"host=127.0.0.1 port={database.port} dbname={database.database}"
    return ["-q", "postgres", "--libpq-conninfo", f"{place} user={USER} password='{PASSWORD}'"]


def without_password(database: Database) -> str:
    """Its URL, without the secret."""
    return f"{database.name}://{USER}@127.0.0.1:{database.port}/{database.database}"


def test_from_gearmands_mysql(programs: Programs, mariadb: MariaDB, tmp_path: Path) -> None:
    """A real gearmand's table in MariaDB; a time beyond 2038, which it cuts to 32 bits, is whole again."""
    program, port = gearmand(programs, *as_gearmand_is_told(mariadb))
    fill(port)
    with WirePeer(port) as client:
        client.send(P.SUBMIT_JOB_EPOCH, b"f", b"beyond", b"%d" % BEYOND_2038, b"")
        client.expect(P.JOB_CREATED)
    program.stop()
    before = mariadb.execute("SELECT * FROM gearman_queue")
    store = tmp_path / "jobs.sqlite"
    for report in (["9 taken over"], ["0 taken over", "9 already taken over before"]):
        assert said(move(mariadb.url, f"sqlite:///{store}")) == report
    assert jobs(store) == [*FILLED, (b"beyond", b"f", 1, float(BEYOND_2038), b"")]
    assert mariadb.execute("SELECT * FROM gearman_queue") == before


def test_from_gearmands_postgres(programs: Programs, postgres: Postgres, tmp_path: Path) -> None:
    """A real gearmand's table in PostgreSQL: priorities and times are as they were submitted."""
    program, port = gearmand(programs, *as_gearmand_is_told(postgres))
    fill(port)
    program.stop()
    before = postgres.execute("SELECT * FROM queue")
    store = tmp_path / "jobs.sqlite"
    for report in (["8 taken over"], ["0 taken over", "8 already taken over before"]):
        assert said(move(postgres.url, f"sqlite:///{store}")) == report
    assert jobs(store) == FILLED
    assert postgres.execute("SELECT * FROM queue") == before


def by_hand(database: Database, data: str, rows: int) -> None:
    """Make gearmand's table in a database, with jobs u0, u1, ... that have this SQL expression's workload."""
    if isinstance(database, MariaDB):
        table, blob, number, numbers = "gearman_queue", "LONGBLOB", "seq", f"seq_1_to_{rows}"
    else:
        table, blob, number, numbers = "queue", "BYTEA", "n", f"generate_series(1, {rows}) AS n"
        data = f"convert_to({data}, 'UTF8')"
    names = "unique_key VARCHAR(64), function_name VARCHAR(255)"
    database.execute(
        f"CREATE TABLE {table} ({names}, priority INTEGER, data {blob}, when_to_run INTEGER,"
        " UNIQUE (unique_key, function_name))"
    )
    database.execute(
        f"INSERT INTO {table} SELECT concat('u', {number} - 1), 'f', 1, {data}, 0 FROM {numbers}"  # noqa: S608
    )
    if isinstance(database, Postgres):
        database.execute(f"GRANT SELECT ON {table} TO {USER}")


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_into_the_same_database(
    kind: str, request: pytest.FixtureRequest, start_server: Servers, tmp_path: Path
) -> None:
    """gearmand's rows become txgear's in one database; passwords come by file and by the environment."""
    database: Database = request.getfixturevalue(kind)
    by_hand(database, "'data'", 1200)
    url = without_password(database)
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\nnot this\n")
    done = move(url, url, f"--store-password-file={secret}", env={"TXGEAR_IMPORT_PASSWORD": PASSWORD})
    assert said(done) == ["1200 taken over"]
    assert PASSWORD.encode() not in done.stdout
    done = move(url, url, f"--from-password-file={secret}", env={"TXGEAR_STORE_PASSWORD": PASSWORD})
    assert said(done) == ["0 taken over", "1200 already taken over before"]
    server = start_server("--store-password-file", str(secret), store=url)
    assert drain(server, b"f", 1200) == [(b"u%d" % number, b"data") for number in range(1200)]
    assert PASSWORD.encode() not in server.said()


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_the_line_that_the_server_says(
    kind: str, request: pytest.FixtureRequest, programs: Programs, tmp_path: Path
) -> None:
    """`txgear gearmand` says what is left in gearmand's table, and the very command that takes it over."""
    database: Database = request.getfixturevalue(kind)
    by_hand(database, "'data'", 3)
    port = free_port()
    where = ["-p", str(port), "-L", "127.0.0.1", "-l", str(tmp_path / "log"), "--job-handle-prefix=Q:x"]
    words = [*txgear(), "gearmand", *where, *as_gearmand_is_told(database)]

    def served() -> Program:
        program = programs.start(words, name="txgear")
        wait_until(lambda: answers(port), what="the server")
        return program

    program = served()
    with WirePeer(port) as peer:
        assert peer.ask_list("status") == []
    assert program.stop() == 0
    said_there = program.stderr.decode()
    [line] = said_there.splitlines()
    assert line.startswith("txgear: 3 jobs of gearmand are in table ")
    assert PASSWORD not in said_there
    command, _, rest = line.partition("take them over: txgear ")[2].partition(" (")
    assert rest == "the password in TXGEAR_IMPORT_PASSWORD and TXGEAR_STORE_PASSWORD)"
    secrets = {"TXGEAR_IMPORT_PASSWORD": PASSWORD, "TXGEAR_STORE_PASSWORD": PASSWORD}
    assert said(run([*txgear(), *shlex.split(command)], env=secrets)) == ["3 taken over"]

    program = served()
    with WirePeer(port) as peer:
        assert [row.split("\t")[:2] for row in peer.ask_list("status")] == [["f", "3"]]
        assert all(row.startswith("Q:x:") for row in peer.ask_list("show jobs"))
    assert program.stop() == 0
    assert program.stderr == b""


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_wrong_password(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """What the database says is one line, and no secret is in it."""
    database: Database = request.getfixturevalue(kind)
    done = move(
        without_password(database),
        f"sqlite:///{tmp_path / 'jobs.sqlite'}",
        env={"TXGEAR_IMPORT_PASSWORD": "wr0ng-0ne"},
    )
    assert_one_line(done, "txgear import: cannot read table ", USER)
    assert b"wr0ng-0ne" not in done.stderr


def test_mysql_character_set(mariadb: MariaDB, tmp_path: Path) -> None:
    """Names of a gearmand whose connection had another character set are read with that one."""
    mariadb.execute(
        "CREATE TABLE jobs_of_old (unique_key VARCHAR(64), function_name VARCHAR(255), priority INT,"
        " data LONGBLOB) CHARACTER SET utf8mb4"
    )
    # What a connection in latin1 makes of the two bytes of an é.
    mariadb.execute("INSERT INTO jobs_of_old VALUES (CONVERT(x'C3A9' USING latin1), 'f', 1, 'w')")
    store = tmp_path / "jobs.sqlite"
    move(f"{mariadb.url}?charset=latin1", f"sqlite:///{store}", "--table=jobs_of_old")
    assert jobs(store) == [("é".encode(), b"f", 1, 0.0, b"w")]


@pytest.mark.parametrize("kind", ["sqlite", "mariadb", "postgres"])
def test_memory(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A queue of 128 MiB is not in memory at once."""
    rows, size = 32, 4 * 1024 * 1024
    if kind == "sqlite":
        source = gearmand_table(
            tmp_path / "gearmand.db", ((f"u{number}", "f", 1, bytes(size), 0) for number in range(rows))
        )
    else:
        database: Database = request.getfixturevalue(kind)
        source = database.url
        by_hand(database, f"repeat('w', {size})", rows)
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    # A process that reads one row of a small table is the measure.
    small = gearmand_table(tmp_path / "small.db", [("u", "g", 1, b"w", 0)])
    least, most = (peak_memory(each, store) for each in (small, source))
    assert most - least < 48 * 1024 * 1024, (least, most)
    assert len(jobs(tmp_path / "jobs.sqlite")) == rows + 1


def peak_memory(source: str, store: str) -> int:
    """Run `txgear import`; the bytes of memory that it had at the most."""
    process = subprocess.Popen([*txgear(), "import", f"--from={source}", f"--store={store}"])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024
