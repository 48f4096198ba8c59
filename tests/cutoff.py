"""What becomes of the rows that a server has locked whose machine is cut off in the middle of a transaction.

A program with a network of its own, in which packets get lost without a word. It prints, as JSON, after how
many seconds the row of each server is free again, from the last byte that there was on its connection on, or
nothing for one that is locked still. That takes root.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from typing import Any, Final

import psycopg

from databases import Postgres, folder_for_services
from machines import APART, Machine, enter
from txgear.stores import make_store
from txgear.stores.sql import SqlStore
from txgear.test.support.batches import adding, addition

#: Seconds that the last thing a server asks for takes: the answer to it gets lost.
WORK: Final = 2.0

#: Seconds after which it is looked no more.
LONGEST: Final = 25.0

#: What is to be locked.
ROW: Final = "FROM txgear_jobs WHERE number = 1"

#: What an operator may say in a URL: as if the server asked for nothing.
NOTHING: Final = "?options=-c%20tcp_keepalives_idle%3D7200%20-c%20tcp_user_timeout%3D0"


class Cut:
    """A server that has a row locked, and a database of its own.

    :ivar last: when the last byte is on its way.
    :ivar free_after: seconds from then on until the row was free.
    """

    def __init__(self, postgres: Postgres, machine: Machine, options: str = "") -> None:
        url = postgres.new_database().replace(postgres.address, machine.address(APART))
        self._postgres = postgres
        self._database = postgres.database
        # It stays for as long as the program runs: what it has open is not ended by the collector.
        self._store: SqlStore = make_store(url + options)
        self._store.open()
        self._store.write(adding(addition(1)))
        self.free_after: float | None = None
        self.driver: Any = self._store._driver_connection()
        self.driver.execute(f"SELECT number {ROW} FOR UPDATE")
        self.last = time.monotonic()
        assert not self.is_free()

    def is_free(self) -> bool:
        """Whether somebody else can have the row."""
        return bool(self._postgres.execute(f"SELECT number {ROW} FOR UPDATE SKIP LOCKED", self._database))

    def work(self) -> None:
        """Ask for something that takes a while, and do not wait for it."""

        def ask() -> None:
            with suppress(psycopg.OperationalError):
                self.driver.execute("SELECT pg_sleep(%s)", (WORK,))

        self.last = time.monotonic() + WORK
        threading.Thread(target=ask, daemon=True).start()


def main() -> None:
    enter()
    machine = Machine(1, 1)
    with folder_for_services() as folder, Postgres(folder, machine=machine) as postgres:
        cuts = {
            "silent": Cut(postgres, machine),
            "answering": Cut(postgres, machine),
            "told otherwise": Cut(postgres, machine, NOTHING),
        }
        cuts["answering"].work()
        # Until then all else is acknowledged.
        time.sleep(WORK / 2)
        machine.lose(APART)
        before = time.monotonic()
        wanted = [cuts["silent"], cuts["answering"]]
        while time.monotonic() - before < LONGEST and any(cut.free_after is None for cut in wanted):
            time.sleep(0.1)
            for cut in cuts.values():
                if cut.free_after is None and cut.is_free():
                    cut.free_after = time.monotonic() - cut.last
        print(json.dumps({name: cut.free_after for name, cut in cuts.items()}))
    machine.end()


if __name__ == "__main__":
    main()
