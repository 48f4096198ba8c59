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
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from databases import ADMIN, FIRST, PASSWORD, PATIENCE, USER, Postgres, Service, processes
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


def ask(method: str, port: int, path: str, what: Any = None) -> tuple[int, Any]:
    """Ask an HTTP server of ours; the status, and what it says. Nobody there is an OSError."""
    request = Request(
        f"http://127.0.0.1:{port}{path}", None if what is None else json.dumps(what).encode(), method=method
    )
    try:
        with urlopen(request, timeout=ANSWER) as answer:
            status, text = answer.status, answer.read()
    except HTTPError as error:
        with error:
            status, text = error.code, error.read()
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
        clients, peers = (f"http://127.0.0.1:{port}" for port in (self.port, free_port()))
        return [
            self.program("etcd"),
            f"--data-dir={self.folder / 'data'}",
            f"--listen-client-urls={clients}",
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
            status, said = ask("GET", self.port, "/health")
        except OSError:
            return False
        return status == 200 and said["health"] == "true"

    def delete(self, key: str) -> None:
        """Delete a key."""
        status, said = ask(
            "POST", self.port, "/v3/kv/deleterange", {"key": base64.b64encode(key.encode()).decode()}
        )
        assert status == 200, said


class Member(Postgres):
    """One PostgreSQL and its Patroni, which makes it, starts it, and says what it is."""

    name = "postgresql"
    programs: ClassVar[tuple[str, ...]] = (*Postgres.programs, "pg_basebackup", "pg_rewind", *Etcd.programs)
    orphaned = "TERM"

    def __init__(self, folder: Path, etcd: int, synchronous: bool) -> None:
        super().__init__(folder)
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

    def kill_postgres(self) -> None:
        """End PostgreSQL at once; Patroni is to start it again."""
        self._end(self._postgres())

    def hold_back(self) -> None:
        """Send nothing more to the standby, until the end."""
        senders = self.execute("SELECT pid FROM pg_stat_replication", self.home)
        self._signal([pid for (pid,) in senders], signal.SIGSTOP)

    @property
    def writes(self) -> bool:
        """It takes writes."""
        return self._accepts() and self.execute("SELECT pg_is_in_recovery()", self.home) == [(False,)]

    def asks(self, method: str, path: str, what: Any = None) -> tuple[int, Any]:
        """Ask its Patroni something."""
        return ask(method, self.rest, path, what)

    def _processes(self) -> list[int]:
        assert self._process is not None, f"{self.name} was not started"
        return processes(self._process.pid)[1:]

    def _postgres(self) -> list[int]:
        return processes(int((self.data / "postmaster.pid").read_text().split()[0]))

    def _as_somebody(self) -> list[str]:
        words = super()._as_somebody()
        if os.geteuid() == 0:
            # PostgreSQL does not run as root, but this Python may be where only root looks.
            words[1:1] = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
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
        own = f"127.0.0.1:{self.port}"
        web = f"127.0.0.1:{self.rest}"
        everybody = "127.0.0.1/32 scram-sha-256"
        return {
            "scope": SCOPE,
            "name": self.folder.name,
            "restapi": {"listen": web, "connect_address": web},
            "etcd3": {"host": f"127.0.0.1:{self._etcd}"},
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
                "listen": own,
                "connect_address": own,
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

    def __init__(self, folder: Path, synchronous: bool = True) -> None:
        """
        :param synchronous: a commit waits for the standby, as long as Patroni sees one.
        """
        self.folder = folder
        self.etcd = Etcd(folder / "etcd")
        self.members = [Member(folder / name, self.etcd.port, synchronous) for name in ("one", "two")]
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
        hosts = ",".join(f"127.0.0.1:{member.port}" for member in members)
        return f"postgresql://{USER}:{quote(PASSWORD, safe='')}@{hosts}/{FIRST}"

    # Who is what

    def roles(self) -> dict[str, str]:
        """What each member is by Patroni's word: leader, replica, sync_standby; only those that work."""
        for member in self.members:
            try:
                _, said = member.asks("GET", "/cluster")
            except OSError:
                continue
            return {
                one["name"]: one["role"]
                for one in said["members"]
                if one["state"] in ("running", "streaming")
            }
        return {}

    @property
    def primary(self) -> Member:
        """The member that is primary, and takes writes; wait until there is one."""

        def found() -> Member | None:
            roles = self.roles()
            leads = [one for one in self.members if roles.get(one.folder.name) == "leader"]
            # Patroni says so somewhat before PostgreSQL is.
            return next((one for one in leads if one.writes), None)

        primary = wait_until(found, PATIENCE, what="a primary")
        assert primary is not None
        return primary

    @property
    def standby(self) -> Member:
        """The other member."""
        primary = self.primary
        return next(member for member in self.members if member is not primary)

    def wait_for_both(self) -> None:
        """Wait until there are a primary and a standby, for which commits wait if they are to."""
        wanted = ["leader", "sync_standby" if self.synchronous else "replica"]
        wait_until(lambda: sorted(self.roles().values()) == wanted, PATIENCE, what="a primary and a standby")

    # What is done to it

    def set_synchronous(self, synchronous: bool) -> None:
        """Say whether commits wait for a standby; see :meth:`wait_for_both`."""
        if synchronous != self.synchronous:
            status, said = self.primary.asks("PATCH", "/config", {"synchronous_mode": synchronous})
            assert status == 200, said
            self.synchronous = synchronous

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
