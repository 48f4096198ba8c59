"""PostgreSQL that replicates, of our own, on 127.0.0.1: two members under Patroni, and one etcd for them.

Each member is a :class:`databases.Postgres` with its Patroni, so it can be killed and paused like one, which
is what the loss of its machine is. A role is held for as short a time as Patroni allows: a lost primary is
followed by the other member after 20 seconds, or at once with :meth:`Cluster.expire`.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import psycopg

from databases import ADMIN, FIRST, PASSWORD, PATIENCE, USER, Postgres, Service, processes
from machines import AMONG, Machine
from processes import free_port, programs_folder, wait_until

#: Patroni's least: seconds that a role is held without a word, between two looks, and for one try.
TTL: Final = 20
LOOP: Final = 1
RETRY: Final = 3

#: Seconds for an answer of Patroni or etcd.
ANSWER: Final = 5.0

#: What the cluster's keys in etcd begin with, and who a standby is to its primary.
SCOPE: Final = "txgear"
STANDBY: Final = "standby"


def ask(method: str, host: str, path: str, what: Any = None) -> tuple[int, Any]:
    """Ask an HTTP server of ours; the status, and what it says. Nobody there, or no whole answer, is an
    OSError.
    """
    request = Request(
        f"http://{host}{path}", None if what is None else json.dumps(what).encode(), method=method
    )
    try:
        with urlopen(request, timeout=ANSWER) as answer:
            status, text = answer.status, answer.read()
    except HTTPError as error:
        with error:
            status, text = error.code, error.read()
    except HTTPException as error:
        raise ConnectionError(f"{host} has ended within its answer") from error
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text.decode(errors="backslashreplace")


class Etcd(Service):
    """Where the members agree who is primary."""

    name = "etcd"
    programs = ("etcd",)
    account = "postgres"
    end = signal.SIGTERM

    def launch(self) -> None:
        self._own_folder()
        super().launch()

    def _command(self) -> Sequence[str]:
        clients, peers = (f"http://{self.address_in(AMONG)}:{port}" for port in (self.port, free_port()))
        return [
            self.program("etcd"),
            f"--data-dir={self.folder / 'data'}",
            f"--listen-client-urls=http://{self.listens}:{self.port}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            # Alone it has no reason to wait.
            "--heartbeat-interval=50",
            "--election-timeout=500",
        ]

    def _accepts(self) -> bool:
        try:
            status, said = ask("GET", f"{self.address}:{self.port}", "/health")
        except OSError:
            return False
        return status == 200 and said["health"] == "true"

    def delete(self, key: str) -> None:
        """Delete a key."""
        what = {"key": base64.b64encode(key.encode()).decode()}
        status, said = ask("POST", f"{self.address}:{self.port}", "/v3/kv/deleterange", what)
        assert status == 200, said


class Member(Postgres):
    """One PostgreSQL and its Patroni, which makes it, starts it, and says what it is."""

    name = "postgresql"
    programs: ClassVar[tuple[str, ...]] = (*Postgres.programs, "pg_basebackup", "pg_rewind", *Etcd.programs)
    orphaned = "TERM"

    def __init__(self, folder: Path, etcd: Etcd, synchronous: bool, machine: Machine | None = None) -> None:
        super().__init__(folder, machine=machine)
        self._etcd = etcd
        self._synchronous = synchronous
        #: Patroni's port.
        self.rest = free_port()

    @classmethod
    def missing(cls) -> str:
        if importlib.util.find_spec("patroni") is None:
            return "Patroni is not installed"
        return super().missing()

    def launch(self) -> None:
        self._own_folder()
        (self.folder / "patroni.json").write_text(json.dumps(self._settings()))
        super().launch()

    def kill_patroni(self) -> None:
        """End Patroni at once, and leave PostgreSQL running."""
        self._end([pid for pid in self._processes() if pid not in self._postgres()])

    def hold_back(self) -> None:
        """Send nothing more to the standby, until the end."""
        senders = self.execute("SELECT pid FROM pg_stat_replication", self.home)
        self._hold([pid for (pid,) in senders])

    @property
    def writes(self) -> bool:
        """It takes writes."""
        try:
            return self.execute("SELECT pg_is_in_recovery()", self.home) == [(False,)]
        except psycopg.OperationalError:
            return False

    def asks(self, method: str, path: str, what: Any = None) -> tuple[int, Any]:
        """Ask its Patroni something."""
        return ask(method, f"{self.address}:{self.rest}", path, what)

    def _processes(self) -> list[int]:
        assert self._process is not None, f"{self.name} was not started"
        return processes(self._process.pid)[1:]

    def _postgres(self) -> list[int]:
        return processes(int((self.data / "postmaster.pid").read_text().split()[0]))

    def _as_somebody(self) -> list[str]:
        words = super()._as_somebody()
        if os.geteuid() == 0:
            # PostgreSQL does not run as root, but this Python may be where only root looks.
            words[-1:-1] = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        return words

    def _command(self) -> Sequence[str]:
        # Patroni leaves PostgreSQL running when it is killed.
        keeper = programs_folder() / "keeper.py"
        return [
            sys.executable,
            str(keeper),
            sys.executable,
            "-m",
            "patroni",
            str(self.folder / "patroni.json"),
        ]

    def _settings(self) -> dict[str, Any]:
        everybody = "all scram-sha-256"
        return {
            "scope": SCOPE,
            "name": self.folder.name,
            "restapi": {
                "listen": f"{self.listens}:{self.rest}",
                "connect_address": f"{self.address_in(AMONG)}:{self.rest}",
            },
            "etcd3": {"host": f"{self._etcd.address_in(AMONG)}:{self._etcd.port}"},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL,
                    "loop_wait": LOOP,
                    "retry_timeout": RETRY,
                    "synchronous_mode": self._synchronous,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "parameters": {
                            # Nothing here cuts the power off; what a commit waits for is the standby.
                            "fsync": "off",
                            "unix_socket_directories": "",
                            "shared_buffers": "16MB",
                            "max_connections": 30,
                            "max_wal_senders": 4,
                            "max_worker_processes": 2,
                            "jit": "off",
                        },
                    },
                },
                "initdb": ["no-sync", {"encoding": "UTF8"}, {"locale": "C"}],
            },
            "postgresql": {
                "listen": f"{self.listens}:{self.port}",
                "connect_address": f"{self.address_in(AMONG)}:{self.port}",
                "data_dir": str(self.data),
                "bin_dir": str(Path(self.program("postgres")).resolve().parent),
                "pgpass": str(self.folder / "pgpass"),
                "authentication": {
                    "superuser": {"username": ADMIN, "password": PASSWORD},
                    "replication": {"username": STANDBY, "password": PASSWORD},
                },
                "pg_hba": [f"host all all {everybody}", f"host replication {STANDBY} {everybody}"],
                "basebackup": [{"checkpoint": "fast"}, "no-sync"],
            },
        }


class Cluster:
    """Two members; as a context manager it starts, and is killed.

    :ivar members: one is the primary.
    """

    def __init__(self, folder: Path, synchronous: bool = True, machines: Sequence[Machine] = ()) -> None:
        """
        :param synchronous: a commit waits for the standby, as long as Patroni sees one.
        :param machines: for each member and for etcd, if they are not all here.
        """
        self.folder = folder
        one, two, third = machines or (None, None, None)
        self.etcd = Etcd(folder / "etcd", machine=third)
        self.members = [
            Member(folder / name, self.etcd, synchronous, machine)
            for name, machine in (("one", one), ("two", two))
        ]
        self.synchronous = synchronous

    @classmethod
    def missing(cls) -> str:
        """What keeps it from running on this machine; nothing if it can."""
        return Member.missing()

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Make all of it, and start it."""
        self.folder.chmod(0o755)
        for service in (self.etcd, *self.members):
            service.folder.mkdir()
        try:
            self.etcd.start()
            for member in self.members:
                member.launch()
            self.wait_for_both()
            primary = self.primary
            primary._populate()
            primary._create(FIRST)
        except BaseException:
            self.kill()
            raise

    def restore(self, synchronous: bool = True) -> str:
        """Have both there, whatever the last test did to them, with an empty database; its URL."""
        if not self.etcd.running:
            self.etcd.start()
        for member, other in (self.members, reversed(self.members)):
            if member.running:
                member.resume()
            else:
                if other.running:
                    # A new copy is there sooner than an old one that has to be wound back.
                    shutil.rmtree(member.data)
                member.launch()
        self.set_synchronous(synchronous)
        self.wait_for_both()
        self.primary.clear()
        return self.url

    def kill(self) -> None:
        """End all of it at once."""
        for service in (*self.members, self.etcd):
            service.kill()

    @property
    def url(self) -> str:
        """The database, whoever is primary."""
        return self.url_of(*self.members)

    def url_of(self, *members: Member) -> str:
        """The same with the members in that order."""
        hosts = ",".join(f"{member.address}:{member.port}" for member in members)
        return f"postgresql://{USER}:{quote(PASSWORD, safe='')}@{hosts}/{FIRST}"

    # Who is what

    def _roles(self, member: Member) -> dict[str, str]:
        """What each member is, by the word of the Patroni of one: leader, replica, sync_standby; only those
        that work. One that has stood still tells for a while what was before.
        """
        try:
            status, said = member.asks("GET", "/cluster")
        except OSError:
            return {}
        if status != 200:
            return {}
        return {
            one["name"]: one["role"] for one in said["members"] if one["state"] in ("running", "streaming")
        }

    @property
    def primary(self) -> Member:
        """The member that is primary, and takes writes; wait until there is one, and one only."""

        def found() -> Member | None:
            leads = [one for one in self.members if self._roles(one).get(one.folder.name) == "leader"]
            # Patroni says so somewhat before PostgreSQL is.
            writing = [one for one in leads if one.writes]
            return writing[0] if len(writing) == 1 else None

        primary = wait_until(found, PATIENCE, what="a primary")
        assert primary is not None
        return primary

    @property
    def standby(self) -> Member:
        """The other member."""
        primary = self.primary
        return next(member for member in self.members if member is not primary)

    def wait_for_both(self) -> None:
        """Wait until there are a primary and a standby, for which commits wait if they are to: by the word of
        the primary's Patroni, which makes nobody else primary before, and of the primary itself.
        """
        wanted = ["leader", "sync_standby" if self.synchronous else "replica"]
        follows = [("sync" if self.synchronous else "async",)]

        def complete() -> bool:
            primary = self.primary
            if sorted(self._roles(primary).values()) != wanted:
                return False
            try:
                return primary.execute("SELECT sync_state FROM pg_stat_replication", primary.home) == follows
            except psycopg.OperationalError:
                # It has just ended being one.
                return False

        wait_until(complete, PATIENCE, what="a primary and a standby")

    # What is done to it

    def set_synchronous(self, synchronous: bool) -> None:
        """Say whether commits wait for a standby; see :meth:`wait_for_both`."""
        if synchronous != self.synchronous:
            self._configure("synchronous_mode", synchronous)
            self.synchronous = synchronous

    def set_failsafe(self, failsafe: bool) -> None:
        """Say whether a primary stays one without etcd as long as it reaches all other members; if so, return
        when they all know.
        """
        self._configure("failsafe_mode", failsafe)
        if failsafe:
            wait_until(
                lambda: all(member.asks("GET", "/failsafe")[0] == 200 for member in self.members),
                PATIENCE,
                what="a failsafe mode",
            )

    def _configure(self, setting: str, value: bool) -> None:
        status, said = self.primary.asks("PATCH", "/config", {setting: value})
        assert status == 200, said

    def switch_over(self) -> None:
        """Have the two change their roles, and return when they have begun."""
        primary, standby = self.primary, self.standby
        what = {"leader": primary.folder.name, "candidate": standby.folder.name}
        status, said = primary.asks("POST", "/switchover", what)
        assert status == 200, said

    def expire(self) -> None:
        """Have the role of a primary that was killed end now, and not only when its time is over."""
        self.etcd.delete(f"/service/{SCOPE}/leader")

    def log(self) -> str:
        """What they said, for a person to read."""
        return "\n\n".join(
            f"--- {service.folder.name}\n{service.log()}"
            for service in (self.etcd, *self.members)
            if service.running
        )
