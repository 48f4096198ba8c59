"""Database servers that the tests start for themselves: durable, small, and easy to kill.

Each one lives in a folder of its own and listens on a port of its own, on 127.0.0.1 alone, or on a machine
(``machines.py``). It asks for passwords. It ends with the thread that started it, however that one ends:
start it from the main thread.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import quote

import psycopg
import pymysql

from machines import ANYBODY, OUTSIDE, Machine
from processes import free_port, holds_still, wait_until

#: Seconds for making a server's files, for its start with recovery, and for its orderly end.
PATIENCE: Final = 60.0

#: Seconds in which a database must accept a connection, or say why not.
CONNECT: Final = 5

#: Characters of a server's log that are shown when a test fails.
SHOWN: Final = 3000

#: Who a job server is to the database, who a test is, and a password that no URL takes as it is.
USER: Final = "txgear"
ADMIN: Final = "keeper"
PASSWORD: Final = "s:e/c@r%t"

#: Where a server is that has no machine.
LOCAL: Final = "127.0.0.1"

#: The database that each server has from the beginning.
FIRST: Final = "jobs"

Rows = list[tuple[Any, ...]]

S = TypeVar("S", bound="Service")


def processes(of: int) -> list[int]:
    """A process and all its descendants, itself first."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, parent = (place / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(place.name))
    found = [of]
    for pid in found:
        found += children.get(pid, [])
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def folder_for_services() -> Iterator[Path]:
    """A folder for servers: not below pytest's own, which is closed to the users that they run as."""
    place = Path(tempfile.mkdtemp(prefix="txgear-"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place)


class Service(ABC):
    """A private server of a kind; what is common to all.

    As root it runs as another user, to whom it gives the folder, and who must be able to reach it.
    """

    #: What it is, for messages; the programs it needs, the server first; the user it runs as instead of root.
    name: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    account: ClassVar[str]
    #: How it is asked to end without waiting for its clients.
    end: ClassVar[signal.Signals]
    #: What it gets when the thread ends that started it.
    orphaned: ClassVar[str] = "KILL"

    def __init__(self, folder: Path, *options: str, machine: Machine | None = None) -> None:
        """
        :param machine: where it is, if that is not this one.
        """
        self.folder = folder
        self.options = options
        self.machine = machine
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self: S) -> S:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What is here

    @classmethod
    def folders(cls) -> Iterable[Path]:
        """Where its programs may be although the shell does not look there."""
        return [Path("/usr/sbin")]

    @classmethod
    def program(cls, name: str) -> str:
        """The path of one of its programs, or nothing."""
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, cls.folders())])
        return shutil.which(name, path=path) or ""

    @classmethod
    def missing(cls) -> str:
        """What keeps it from running on this machine; nothing if it can."""
        for name in (*cls.programs, "setpriv"):
            if not cls.program(name):
                return f"there is no program {name}"
        return ""

    # Where it is

    @property
    def address(self) -> str:
        """Where its clients find it."""
        return self.address_in(OUTSIDE)

    def address_in(self, network: str) -> str:
        """Where it is found in a network of machines."""
        return self.machine.address(network) if self.machine else LOCAL

    @property
    def listens(self) -> str:
        """Where it takes connections."""
        return "0.0.0.0" if self.machine else LOCAL

    # Its life

    @property
    def pid(self) -> int:
        """Of its first process, whose descendants all others are; it has been started."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        self.launch()
        self.arrive()

    def launch(self) -> None:
        """Start it, its files being there, and do not wait for it."""
        assert not self.running, f"{self.name} runs already"
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [*self._as_somebody(), *self._command(), *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )

    def arrive(self) -> None:
        """Wait until it takes connections."""
        try:
            wait_until(self._takes_connections, PATIENCE, what=f"{self.name} that takes connections")
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in order; it may be paused, or ended."""
        if self._process is None or not self.running:
            return
        self.resume()
        self._process.send_signal(self.end)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end:\n{self.log()}") from None

    def kill(self) -> None:
        """End all its processes at once, as a power cut would; it can be started again."""
        if self._process is None or not self.running:
            return
        self._end(self._held())
        self._process.wait()

    def pause(self) -> None:
        """Make all its processes hold still, and return when they do; the system goes on taking connections
        for it.
        """
        self._held()

    def resume(self) -> None:
        """Let it go on; nothing if it is not paused."""
        assert self._process is not None, f"{self.name} was not started"
        self._signal(reversed(processes(self._process.pid)), signal.SIGCONT)

    @property
    def running(self) -> bool:
        """It was started, and has not ended."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """The end of what it said, for a person to read."""
        return (self.folder / "log").read_text(errors="backslashreplace")[-SHOWN:]

    # What differs

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """The program, and its arguments but for those of the constructor."""

    @abstractmethod
    def _accepts(self) -> bool:
        """Whether it takes connections."""

    # Means

    def _as_somebody(self) -> list[str]:
        """What goes before a command, so that it ends with us and does not run as root."""
        words = [self.program("setpriv"), "--pdeathsig", self.orphaned]
        if os.geteuid() == 0:
            user = pwd.getpwnam(self.account)
            words += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        return [*(self.machine.prefix if self.machine else ()), *words, "--"]

    def _own_folder(self) -> None:
        """Let it write where its files will be."""
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.account)

    def _takes_connections(self) -> bool:
        assert self.running, f"{self.name} ended:\n{self.log()}"
        return self._accepts()

    @staticmethod
    def _signal(pids: Iterable[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _held(self) -> list[int]:
        """All its processes, which hold still: who does starts no others while they are counted."""
        held: list[int] = []
        while more := [pid for pid in processes(self.pid) if pid not in held]:
            self._hold(more)
            held += more
        return held

    def _hold(self, pids: Sequence[int]) -> None:
        """Make these processes hold still, and wait for that."""
        self._signal(pids, signal.SIGSTOP)
        wait_until(lambda: all(map(holds_still, pids)), what=f"{self.name} that holds still")

    def _end(self, pids: Sequence[int]) -> None:
        """End these processes at once, and wait for that."""
        self._signal(pids, signal.SIGKILL)
        wait_until(lambda: not any(map(_alive, pids)), what=f"the end of {self.name}")


class Database(Service):
    """A private database server; what is common to all kinds.

    :ivar url: a database in it, for a user who owns that database and nothing else.
    """

    def __init__(self, folder: Path, *options: str, machine: Machine | None = None) -> None:
        super().__init__(folder, *options, machine=machine)
        self.database = FIRST
        self._numbers = itertools.count(1)

    def start(self) -> None:
        """Start it, after recovery if it was killed, and return when it takes connections."""
        first = not self.data.exists()
        if first:
            self._prepare()
        super().start()
        if first:
            try:
                self._populate()
                self._create(self.database)
            except BaseException:
                self.kill()
                raise

    # What is in it

    @property
    def url(self) -> str:
        return f"{self.name}://{USER}:{quote(PASSWORD, safe='')}@{self.address}:{self.port}/{self.database}"

    def new_database(self) -> str:
        """Make an empty database, which takes the last one's place; its URL."""
        self.database = f"jobs_{next(self._numbers)}"
        self._create(self.database)
        return self.url

    def clear(self) -> str:
        """Make the first database as it was in the beginning, the present one, and nobody's; its URL.

        That is cheaper than a new one, which is a thousand files in PostgreSQL.
        """
        self.database = FIRST
        self._clear(FIRST)
        return self.url

    def execute(self, sql: str, database: str | None = None) -> Rows:
        """Run a statement as one who may do all, in the present database or another; its rows, if any."""
        with self._connect(database or self.database) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    # What differs

    @abstractmethod
    def _prepare(self) -> None:
        """Make the files of a new server in ``self.data``."""

    @abstractmethod
    def _arguments(self) -> Sequence[str]:
        """The server's arguments, but for those of the constructor."""

    @abstractmethod
    def _connect(self, database: str) -> Any:
        """A connection of the administrator, which commits by itself and closes as a context manager."""

    @abstractmethod
    def _populate(self) -> None:
        """Make the user, in a server that has just been made."""

    @abstractmethod
    def _create(self, database: str) -> None:
        """Make a database for the user."""

    @abstractmethod
    def _clear(self, database: str) -> None:
        """End its sessions, and take all out of it and all settings from it."""

    #: A database that is always there.
    home: ClassVar[str]

    # Means

    @property
    def data(self) -> Path:
        """Where its files are."""
        return self.folder / "data"

    def _command(self) -> Sequence[str]:
        return [self.program(self.programs[0]), *self._arguments()]

    def _make(self, *command: str) -> None:
        """Run a command that makes files."""
        self._own_folder()
        done = subprocess.run(
            [*self._as_somebody(), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self.folder,
            # The one that we have may be closed to the user that it runs as.
            env={**os.environ, "TMPDIR": str(self.folder)},
            timeout=PATIENCE,
            check=False,
        )
        said = (done.stdout + done.stderr).decode(errors="backslashreplace")
        assert done.returncode == 0, f"{self.name} cannot be made in {self.folder}:\n{said}"

    def _accepts(self) -> bool:
        try:
            self._connect(self.home).close()
        except (psycopg.OperationalError, pymysql.OperationalError):
            return False
        return True


class Postgres(Database):
    """A PostgreSQL server."""

    name = "postgresql"
    programs: ClassVar[tuple[str, ...]] = ("postgres", "initdb")
    account = "postgres"
    end = signal.SIGINT
    home = "postgres"

    @classmethod
    def folders(cls) -> Iterable[Path]:
        # Debian keeps versions beside each other, out of the shell's path.
        return sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)

    def _prepare(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._make(
            self.program("initdb"),
            f"--pgdata={self.data}",
            f"--username={ADMIN}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            # Of these files alone; what the server writes is synced.
            "--no-sync",
        )
        if self.machine:
            with (self.data / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {ANYBODY.replace('/', ' ')} scram-sha-256\n")

    def _arguments(self) -> Sequence[str]:
        settings = {
            "port": self.port,
            "listen_addresses": self.listens,
            "unix_socket_directories": "",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "shared_buffers": "16MB",
            "max_connections": 30,
            "max_wal_senders": 0,
            "jit": "off",
        }
        return ["-D", str(self.data), *(f"--{name}={value}" for name, value in settings.items())]

    def _connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host=self.address,
            port=self.port,
            user=ADMIN,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=CONNECT,
        )

    def _populate(self) -> None:
        self.execute(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'", self.home)

    def _create(self, database: str) -> None:
        self.execute(f"CREATE DATABASE {database} OWNER {USER}", self.home)

    def _clear(self, database: str) -> None:
        self.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'",  # noqa: S608
            self.home,
        )
        self.execute(f"ALTER DATABASE {database} RESET ALL", self.home)
        self.execute("DROP SCHEMA public CASCADE", database)
        self.execute(f"CREATE SCHEMA public AUTHORIZATION {USER}", database)


class MariaDB(Database):
    """A MariaDB server; its URL says ``mysql``."""

    name = "mysql"
    programs: ClassVar[tuple[str, ...]] = ("mariadbd", "mariadb-install-db")
    account = "mysql"
    end = signal.SIGTERM
    home = "mysql"

    @property
    def _clients(self) -> str:
        """Where they come from."""
        return ANYBODY if self.machine else LOCAL

    def _prepare(self) -> None:
        self._make(
            self.program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        )
        # Read at each start, a statement a line. Nobody else can log in then.
        (self.folder / "init.sql").write_text(
            f"CREATE USER IF NOT EXISTS '{ADMIN}'@'{self._clients}' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{ADMIN}'@'{self._clients}' WITH GRANT OPTION;\n"
            "DELETE FROM mysql.global_priv WHERE user IN ('root', '');\n"
            "FLUSH PRIVILEGES;\n"
        )
        (self.folder / "init.sql").chmod(0o644)

    def _arguments(self) -> Sequence[str]:
        return [
            "--no-defaults",
            f"--datadir={self.data}",
            f"--tmpdir={self.folder}",
            f"--init-file={self.folder / 'init.sql'}",
            # Below the folder of the data, where the server goes: no path is too long for a socket.
            "--socket=socket",
            f"--pid-file={self.folder / 'pid'}",
            f"--bind-address={self.listens}",
            f"--port={self.port}",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-doublewrite=ON",
            "--innodb-buffer-pool-size=16M",
            "--innodb-log-file-size=32M",
            "--key-buffer-size=1M",
            "--aria-pagecache-buffer-size=1M",
            "--max-connections=30",
        ]

    def _connect(self, database: str) -> pymysql.Connection[Any]:
        return pymysql.connect(
            host=self.address,
            port=self.port,
            user=ADMIN,
            password=PASSWORD,
            database=database,
            autocommit=True,
            connect_timeout=CONNECT,
            # One that stands still takes connections.
            read_timeout=PATIENCE,
        )

    def _populate(self) -> None:
        self.execute(f"CREATE USER '{USER}'@'{self._clients}' IDENTIFIED BY '{PASSWORD}'", self.home)

    def _create(self, database: str) -> None:
        self.execute(f"CREATE DATABASE {database}", self.home)
        self.execute(f"GRANT ALL ON {database}.* TO '{USER}'@'{self._clients}'", self.home)

    def _clear(self, database: str) -> None:
        sessions = f"SELECT id FROM information_schema.processlist WHERE db = '{database}'"  # noqa: S608
        for (session,) in self.execute(sessions, self.home):
            with contextlib.suppress(pymysql.OperationalError):
                # It may have ended by itself.
                self.execute(f"KILL {session}", self.home)
        self.execute(f"DROP DATABASE {database}", self.home)
        self.execute(f"CREATE DATABASE {database}", self.home)
