"""Three servers over one database that is a cluster itself, all of which can be made to fail.

In the database triggers note who has had which part, and over whose connection each job was written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from clusterbook import Owned, Write
from databases import Database
from galera import Galera
from linebetween import LineBetween
from machines import APART
from patronicluster import Cluster
from processes import Server, free_port, wait_until

W = TypeVar("W", bound="World")

#: What the servers are called.
NAMES: Final = ("a", "b", "c")

_SHOWN: Final = 'part, first, "end", owner, term, name'
_LEASES: Final = f"""
CREATE TABLE proof_leases (id bigserial PRIMARY KEY, part int, first bigint, "end" bigint, owner bytea,
    term bigint, name text, at double precision);
CREATE TABLE proof_jobs (id bigserial PRIMARY KEY, what text, number bigint, part int, owner bytea,
    term bigint, own bool, fenced bool, at double precision);
GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC;
INSERT INTO proof_leases ({_SHOWN}, at) SELECT {_SHOWN}, extract(epoch from clock_timestamp())
    FROM txgear_leases;
CREATE FUNCTION proof_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO proof_leases ({_SHOWN}, at)
            VALUES (OLD.part, OLD.first, OLD."end", '', OLD.term, '', extract(epoch from clock_timestamp()));
    ELSIF TG_OP = 'INSERT' OR OLD.owner <> NEW.owner OR OLD."end" <> NEW."end" THEN
        INSERT INTO proof_leases ({_SHOWN}, at)
            VALUES (NEW.part, NEW.first, NEW."end", NEW.owner, NEW.term, NEW.name,
                extract(epoch from clock_timestamp()));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER proof_lease AFTER INSERT OR UPDATE OR DELETE ON txgear_leases
    FOR EACH ROW EXECUTE FUNCTION proof_lease();
"""  # noqa: S608
_JOBS: Final = """
CREATE FUNCTION proof_job() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    job bigint;
BEGIN
    job := CASE TG_OP WHEN 'DELETE' THEN OLD.number ELSE NEW.number END;
    INSERT INTO proof_jobs (what, number, part, owner, term, own, fenced, at)
        SELECT TG_OP, job, part, owner, term, session LIKE '%/' || pg_backend_pid() || ' %',
            xmin::text::bigint = txid_current() % 4294967296, extract(epoch from clock_timestamp())
        FROM txgear_leases WHERE first <= job AND job < "end";
    RETURN NULL;
END $$;
CREATE TRIGGER proof_job AFTER INSERT OR UPDATE OR DELETE ON txgear_jobs
    FOR EACH ROW EXECUTE FUNCTION proof_job();
"""
"""For PostgreSQL: a row that this transaction has changed is of its own number."""

_SHOWN_MYSQL: Final = _SHOWN.replace('"', "`")
_NOW: Final = "unix_timestamp(sysdate(6))"
_CHANGED: Final = f"""
CREATE TRIGGER proof_lease_{{when}} AFTER {{when}} ON txgear_leases FOR EACH ROW
    IF {{condition}} THEN
        INSERT INTO proof_leases ({_SHOWN_MYSQL}, at)
            VALUES ({{row}}.part, {{row}}.first, {{row}}.`end`, {{owner}}, {{row}}.term, {{name}}, {_NOW});
    END IF
"""  # noqa: S608
_WRITTEN: Final = f"""
CREATE TRIGGER proof_job_{{when}} AFTER {{when}} ON txgear_jobs FOR EACH ROW
BEGIN
    DECLARE p, o, t, s VARCHAR(255) CHARACTER SET latin1;
    SELECT part, owner, term, session INTO p, o, t, s FROM txgear_leases
        WHERE first <= {{row}}.number AND {{row}}.number < `end`;
    INSERT INTO proof_jobs (what, number, part, owner, term, own, at)
        VALUES ('{{when}}', {{row}}.number, p, o, t,
            s LIKE CONCAT('%:', @@port, ' since %/', CONNECTION_ID()), {_NOW});
END
"""  # noqa: S608
_LEASES_MYSQL: Final = (
    "CREATE TABLE proof_leases (id BIGINT AUTO_INCREMENT PRIMARY KEY, part INT, first BIGINT, `end` BIGINT,"
    " owner VARBINARY(16), term BIGINT, name VARCHAR(255), at DOUBLE)",
    f"INSERT INTO proof_leases ({_SHOWN_MYSQL}, at) SELECT {_SHOWN_MYSQL}, {_NOW} FROM txgear_leases",  # noqa: S608
    "CREATE TABLE proof_jobs (id BIGINT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(9), number BIGINT, part INT,"
    " owner VARBINARY(16), term BIGINT, own BOOL, fenced BOOL, at DOUBLE)",
    _CHANGED.format(when="INSERT", condition="TRUE", row="NEW", owner="NEW.owner", name="NEW.name"),
    _CHANGED.format(
        when="UPDATE",
        condition="OLD.owner <> NEW.owner OR OLD.`end` <> NEW.`end`",
        row="NEW",
        owner="NEW.owner",
        name="NEW.name",
    ),
    _CHANGED.format(when="DELETE", condition="TRUE", row="OLD", owner="''", name="''"),
)
_JOBS_MYSQL: Final = tuple(
    _WRITTEN.format(when=when, row=row)
    for when, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD"))
)
"""For MariaDB: what is read in a trigger is what the transaction has written so far; nothing is locked."""


class World(ABC):
    """Servers, and what they have one database in; as a context manager it ends with all that it started.

    :ivar servers: those that run, or ran last, by their names.
    :ivar lines: what is between the server ``a`` and its database.
    """

    #: What it is, for people; and what the database is.
    name: str
    cluster: Cluster | Galera

    def __init__(
        self, folder: Path, environment: Mapping[str, str] | None = None, *, watched: bool = True
    ) -> None:
        """
        :param folder: has a folder for each server.
        :param environment: of the server ``a``.
        :param watched: whether it is noted who writes which job.
        """
        self._watched = watched
        self.servers: dict[str, Server] = {}
        self.ports = {name: free_port() for name in NAMES}
        self.lines: list[LineBetween] = []
        self._all: list[Server] = []
        self._folder = folder
        self._environment = environment
        self._stack = ExitStack()

    def __enter__(self: W) -> W:
        with self._stack:
            self._arrive()
            self.lines = [self._line(database) for database in self.databases()]
            self._stack.callback(self._kill_servers)
            for name in NAMES:
                self.start(name)
                if name == NAMES[0]:
                    self._watch()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _kill_servers(self) -> None:
        for server in self._all:
            # Nobody will miss anything.
            if server.running:
                server.kill()

    def _line(self, database: Database) -> LineBetween:
        line = LineBetween(database.port, database.address)
        self._stack.callback(line.close)
        return line

    # Servers

    def start(self, name: str) -> None:
        """Start a server, for the first time or again."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        server = Server(
            folder,
            *("--cluster", f"--cluster-name={name}", f"--advertise=127.0.0.1:{self.ports[name]}"),
            port=self.ports[name],
            name=f"server{len(self._all)}",
            env=self._environment if name == NAMES[0] else None,
            store=self._url(name),
        )
        self.servers[name] = server
        self._all.append(server)

    def log(self) -> str:
        """What all servers and the database said, for a person to read."""
        return "\n\n".join([*(server.log() for server in self._all), self.cluster.log()])

    @property
    def calm(self) -> bool:
        """No server has logged a traceback."""
        return all(server.calm() for server in self._all)

    # What is in the database

    def ranges(self, name: str) -> list[range]:
        """The job numbers that a server has at present."""
        rows = self._read(f"SELECT first, {self._quoted('end')} FROM txgear_leases WHERE name = '{name}'")  # noqa: S608
        return [range(first, end) for first, end in rows]

    def owned(self) -> list[Owned]:
        """All that leases have been."""
        columns = f"part, first, {self._quoted('end')}, owner, term, name, at"
        rows = self._read(f"SELECT {columns} FROM proof_leases ORDER BY part, {self._order}")  # noqa: S608
        return [Owned(part, first, end, bytes(owner), *rest) for part, first, end, owner, *rest in rows]

    def writes(self) -> list[Write]:
        """All writes of jobs."""
        rows = self._read("SELECT what, number, part, owner, term, own, fenced, at FROM proof_jobs")
        return [
            Write(what, number, part, bytes(owner), term, bool(own), fenced, at)
            for what, number, part, owner, term, own, fenced, at in rows
        ]

    def left(self, function: bytes | None = None) -> int:
        """How many jobs are there, of a function or of all."""
        which = "" if function is None else f" WHERE function = '{function.decode()}'"
        ((count,),) = self._read(f"SELECT count(*) FROM txgear_jobs{which}")  # noqa: S608
        return int(count)

    # What differs

    @abstractmethod
    def _arrive(self) -> None:
        """Have the database there, and empty; the stack ends it."""

    @abstractmethod
    def databases(self) -> Sequence[Database]:
        """All its servers, in the order in which ``a`` is told them."""

    def _url(self, name: str) -> str:
        """The database as a server is told it: ``a`` goes by the lines, ``b`` by a network of its own where
        there are machines.
        """
        hosts = [f"{each.address}:{each.port}" for each in self.databases()]
        url = self._url_of_all()
        assert url.count(",".join(hosts)) == 1
        if name == NAMES[0]:
            told = [f"127.0.0.1:{line.port}" for line in self.lines]
        elif name == NAMES[1]:
            told = [f"{each.address_in(APART)}:{each.port}" for each in self.databases()]
        else:
            told = hosts
        first = self._prefers(name)
        return url.replace(",".join(hosts), ",".join([*told[first:], *told[:first]]))

    @abstractmethod
    def _url_of_all(self) -> str:
        """The URL that has all of them, in that order."""

    def _prefers(self, name: str) -> int:
        """Which of them a server goes to first."""
        return 0

    @abstractmethod
    def _watch(self) -> None:
        """Make the triggers."""

    @abstractmethod
    def database(self) -> Database:
        """One that answers."""

    #: What the changes of a lease are ordered by.
    _order: str

    @staticmethod
    def _quoted(column: str) -> str:
        return f'"{column}"'

    def _read(self, sql: str) -> list[tuple]:  # type: ignore[type-arg]
        return self.database().execute(sql)


class PatroniWorld(World):
    """PostgreSQL with a synchronous standby, under Patroni."""

    name = "patroni"
    cluster: Cluster
    _order = "id"

    def __init__(
        self,
        folder: Path,
        cluster: Cluster,
        environment: Mapping[str, str] | None = None,
        *,
        watched: bool = True,
    ) -> None:
        super().__init__(folder, environment, watched=watched)
        self.cluster = cluster

    def _arrive(self) -> None:
        self.cluster.restore()

    def databases(self) -> Sequence[Database]:
        return self.cluster.members

    def _url_of_all(self) -> str:
        return self.cluster.url

    def _watch(self) -> None:
        self.cluster.primary.execute(_LEASES)
        if self._watched:
            self.cluster.primary.execute(_JOBS)

    def database(self) -> Database:
        return self.cluster.primary


class GaleraWorld(World):
    """A Galera cluster of three nodes, each of which has a server that prefers it."""

    name = "galera"
    cluster: Galera
    # There is no order of what is done at several nodes but the one that the leases have.
    _order = "term, owner = ''"

    def __init__(self, folder: Path, cluster: Galera, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, environment)
        self.cluster = cluster

    def _arrive(self) -> None:
        self.cluster.restore()

    def databases(self) -> Sequence[Database]:
        return self.cluster.nodes

    def _url_of_all(self) -> str:
        return self.cluster.url

    def _prefers(self, name: str) -> int:
        return NAMES.index(name)

    def _watch(self) -> None:
        node = self.database()
        for statement in (*_LEASES_MYSQL, *(_JOBS_MYSQL if self._watched else ())):
            node.execute(statement)

    def database(self) -> Database:
        found = wait_until(
            lambda: next((node for node in self.cluster.nodes if node.running and node.takes_part), None),
            what="a node that takes part",
        )
        assert found is not None
        return found

    @staticmethod
    def _quoted(column: str) -> str:
        return f"`{column}`"
