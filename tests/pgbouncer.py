"""A pooler of our own before a PostgreSQL: several clients of it share a connection, one after the other."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import psycopg

from databases import CONNECT, PASSWORD, USER, Database, Service


class PgBouncer(Service):
    """PgBouncer before a database server that runs."""

    name = "pgbouncer"
    programs = ("pgbouncer",)
    account = "postgres"
    # At once; SIGINT waits for those who are at work.
    end = signal.SIGTERM

    def __init__(self, folder: Path, server: Database, mode: str) -> None:
        """
        :param mode: ``session`` or ``transaction``: what a client has a connection for.
        """
        super().__init__(folder)
        self._server = server
        self._mode = mode

    @property
    def url(self) -> str:
        """The server's present database, by way of the pooler."""
        return self._server.url.replace(f":{self._server.port}/", f":{self.port}/")

    def launch(self) -> None:
        self._own_folder()
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": self.folder / "users",
            "pool_mode": self._mode,
            # So few that clients take them from each other, and each transaction another one than the last.
            "default_pool_size": 3,
            "min_pool_size": 3,
            "server_round_robin": 1,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        databases = ["[databases]", f"* = host=127.0.0.1 port={self._server.port}"]
        (self.folder / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
        (self.folder / "pgbouncer.ini").write_text("\n".join([*databases, "[pgbouncer]", *lines, ""]))
        super().launch()

    def _command(self) -> Sequence[str]:
        return [self.program("pgbouncer"), str(self.folder / "pgbouncer.ini")]

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=CONNECT).close()
        except psycopg.OperationalError:
            return False
        return True
