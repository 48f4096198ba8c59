"""The contract of stores over databases that several servers have, beside one that lives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest
from twisted.trial.unittest import SynchronousTestCase

from databases import Database, MariaDB, Postgres, Rows
from txgear.stores import make_store
from txgear.stores.membership import Membership
from txgear.stores.partedstore import PartedStore
from txgear.test.support.shiftedstore import SharedContract, add_theirs
from txgear.test.support.storequestions import QuestionContract


class ClusterContract(SharedContract, QuestionContract):
    """For a test case: the same over a real database, which its tests share."""

    kind: ClassVar[type[Database]]
    database: Database

    @classmethod
    def store_of(cls, name: str) -> PartedStore:
        store = make_store(cls.database.url, membership=Membership(name, "", 8.0))
        assert isinstance(store, PartedStore)
        return store

    def make_parted(self) -> PartedStore:
        return self.store_of("this")

    def execute(self, sql: str) -> Rows:
        return self.database.execute(sql)


@pytest.fixture(scope="class")
def neighbour(
    request: pytest.FixtureRequest, run_database: Callable[[type[Database]], Database]
) -> Iterator[None]:
    """The other server, which lives as long as all tests of a class."""
    contract = request.cls
    assert contract is not None
    contract.database = run_database(contract.kind)
    contract.neighbour = contract.store_of("neighbour")
    contract.neighbour.open()
    add_theirs(contract.neighbour)
    yield
    contract.neighbour.close(None)


@pytest.mark.usefixtures("neighbour")
class TestPostgresCluster(ClusterContract, SynchronousTestCase):
    kind = Postgres


@pytest.mark.usefixtures("neighbour")
class TestMariaDBCluster(ClusterContract, SynchronousTestCase):
    kind = MariaDB
