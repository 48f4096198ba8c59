"""The contract of stores over databases that several servers have, beside one that lives: a profile for each
kind of database.

Galera has one node, which certifies as any does; with ``TXGEAR_TEST_GALERA_NODES=3`` the other server is at
another node. ``make failover`` has that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, Final, NamedTuple

import psycopg
import pytest
from twisted.trial.unittest import SynchronousTestCase

from databases import Database, MariaDB, Postgres, Rows, folder_for_services
from galera import Galera
from needs import lacks
from pgbouncer import PgBouncer
from processes import wait_until
from txgear.stores import make_store
from txgear.stores.membership import Membership
from txgear.stores.partedstore import PartedStore
from txgear.test.support.shiftedstore import SharedContract, add_theirs
from txgear.test.support.storequestions import QuestionContract
from txgear.test.support.storeworkloads import WorkloadContract

#: How many nodes of Galera there are.
NODES: Final = int(os.environ.get("TXGEAR_TEST_GALERA_NODES", "1"))

Run = Callable[[type[Database]], Database]


class Profile(NamedTuple):
    """A database that two servers have.

    :ivar database: it, as a test looks at it.
    :ivar url: where the one under test has it.
    :ivar neighbours: where the other one has it.
    """

    database: Database
    url: str
    neighbours: str


@pytest.fixture(scope="class")
def plain_postgres(run_database: Run) -> Profile:
    database = run_database(Postgres)
    return Profile(database, database.url, database.url)


@pytest.fixture(scope="class")
def pooled_postgres(run_database: Run) -> Iterator[Profile]:
    """Behind PgBouncer, which gives the transactions of both to one session after the other."""
    lacks(PgBouncer.missing())
    database = run_database(Postgres)
    with folder_for_services() as folder, PgBouncer(folder, database, "transaction") as pooler:
        yield Profile(database, pooler.url, pooler.url)


@pytest.fixture(scope="class")
def plain_mariadb(run_database: Run) -> Profile:
    database = run_database(MariaDB)
    return Profile(database, database.url, database.url)


@pytest.fixture(scope="class")
def galera_nodes() -> Iterator[Profile]:
    """A node for each of both, if there are so many."""
    lacks(Galera.missing())
    with folder_for_services() as folder, Galera(folder, NODES) as cluster:
        yield Profile(cluster.nodes[0], cluster.nodes[0].url, cluster.nodes[-1].url)


class ClusterContract(SharedContract, QuestionContract, WorkloadContract):
    """For a test case: the same over a real database, which its tests share."""

    #: The fixture that makes it.
    kind: ClassVar[str]
    profile: Profile

    @staticmethod
    def store_of(name: str, url: str) -> PartedStore:
        store = make_store(url, membership=Membership(name, "", 8.0))
        assert isinstance(store, PartedStore)
        return store

    def make_parted(self) -> PartedStore:
        return self.store_of("this", self.profile.url)

    def execute(self, sql: str) -> Rows:
        return self.profile.database.execute(sql)

    @property
    def ours(self) -> str:  # type: ignore[override]
        return f"number NOT BETWEEN {self.theirs.first} AND {self.theirs.end - 1}"


@pytest.fixture(scope="class")
def neighbour(request: pytest.FixtureRequest) -> Iterator[None]:
    """The other server, which lives as long as all tests of a class."""
    contract = request.cls
    assert contract is not None
    contract.profile = request.getfixturevalue(contract.kind)
    contract.neighbour = contract.store_of("neighbour", contract.profile.neighbours)
    contract.neighbour.open()
    add_theirs(contract.neighbour)
    # The last that it has written; another node has it somewhat later.
    read = partial(contract.profile.database.execute, "SELECT number FROM txgear_results")
    wait_until(read, what="what the neighbour has written is not at the first node")
    yield
    contract.neighbour.close(None)


@pytest.mark.usefixtures("neighbour")
class TestPostgres(ClusterContract, SynchronousTestCase):
    kind = "plain_postgres"


@pytest.mark.usefixtures("neighbour")
class TestPgBouncer(ClusterContract, SynchronousTestCase):
    kind = "pooled_postgres"

    def test_a_session_is_not_kept(self) -> None:
        """The transactions of one connection are those of several sessions."""
        asked = "SELECT pg_backend_pid()"
        with psycopg.connect(self.profile.url, autocommit=True, prepare_threshold=None) as connection:
            sessions = {connection.execute(asked).fetchone() for _ in range(9)}
        assert len(sessions) > 1


@pytest.mark.usefixtures("neighbour")
class TestMariaDB(ClusterContract, SynchronousTestCase):
    kind = "plain_mariadb"


@pytest.mark.usefixtures("neighbour")
class TestGalera(ClusterContract, SynchronousTestCase):
    kind = "galera_nodes"

    def test_a_cluster_writes(self) -> None:
        ((_, size),) = self.execute("SHOW STATUS LIKE 'wsrep_cluster_size'")
        assert int(size) == NODES
