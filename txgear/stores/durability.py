"""
What a database's own settings mean for jobs that were answered, in words.

Each function is given the settings as the database says that they are now, by its own names for them, and
returns sentences: why what was answered could be lost all the same. There are none where it is durable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Settings = Mapping[str, str]


def of_sqlite(settings: Settings) -> tuple[str, ...]:
    """@param settings: C{journal_mode} and C{synchronous}."""
    found = []
    mode, synchronous = settings["journal_mode"], settings["synchronous"]
    if mode.lower() in ("off", "memory"):
        found.append(f"journal_mode is {mode}: a crash in the middle of a commit may damage the file")
    if synchronous == "OFF":
        found.append(
            "synchronous is OFF: a loss of power may take the last jobs that were answered, and damage the"
            " file"
        )
    elif synchronous == "NORMAL":
        found.append("synchronous is NORMAL: a loss of power may take the last jobs that were answered")
    return tuple(found)


def of_postgresql(settings: Settings) -> tuple[str, ...]:
    """@param settings: C{synchronous_commit}, C{fsync}, C{full_page_writes} and C{tables}."""
    found = []
    if settings["fsync"] != "on":
        found.append(
            "fsync is off: a loss of power may take jobs that were answered, and damage the database"
        )
    if settings["synchronous_commit"] == "off":
        found.append("synchronous_commit is off: a crash may take the last jobs that were answered")
    if settings["full_page_writes"] != "on":
        found.append("full_page_writes is off: a loss of power may damage the database")
    if settings["tables"] != "logged":
        found.append(f"the tables are {settings['tables']}: a crash of the database empties them")
    return tuple(found)


def of_mysql(settings: Settings) -> tuple[str, ...]:
    """
    @param settings: C{innodb_flush_log_at_trx_commit}, C{log_bin}, C{sync_binlog}, C{innodb_doublewrite} and
        C{engine}.
    """
    found = []
    flush = settings["innodb_flush_log_at_trx_commit"]
    if flush not in ("1", "3"):
        found.append(
            f"innodb_flush_log_at_trx_commit is {flush}: a loss of power may take the jobs of the last second"
        )
    if settings["log_bin"] == "1" and settings["sync_binlog"] != "1":
        found.append(
            f"log_bin is on and sync_binlog is {settings['sync_binlog']}: a loss of power may take the last"
            " jobs that were answered, as what is not in that log is undone"
        )
    if settings["innodb_doublewrite"] in ("0", "OFF"):
        found.append("innodb_doublewrite is off: a loss of power may damage the database")
    if settings["engine"].lower() != "innodb":
        found.append(f"the tables' engine is {settings['engine']}, which has no transactions that last")
    return tuple(found)


class Standbys(NamedTuple):
    """
    Who copies a PostgreSQL.

    @ivar connected: standbys that are connected.
    @ivar synchronous: of these, those that a COMMIT may wait for; C{None} where the server's user may not see
        that.
    @ivar names: C{synchronous_standby_names}.
    @ivar commit: C{synchronous_commit}.
    """

    connected: int
    synchronous: int | None
    names: str
    commit: str

    @property
    def waits(self) -> bool:
        """Whether a COMMIT waits for a standby."""
        return bool(self.names) and self.commit not in ("off", "local")

    def promise(self) -> str:
        """On how many machines it is what was answered, in words; empty where there is but one."""
        if not self.connected and not self.names:
            return ""
        known = "1 standby" if self.connected == 1 else f"{self.connected} standbys"
        if not self.waits:
            return f"primary with {known}, not waited for"
        if self.synchronous is None:
            return f"primary with {known}; each commit waits for {self.names}"
        if not self.synchronous:
            return f"primary with {known}, none of them synchronous: commits wait until there is one"
        return (
            f"primary with {known}, {self.synchronous} of them synchronous; each commit waits"
            f" (synchronous_commit is {self.commit})"
        )

    def doubts(self, hosts: int) -> tuple[str, ...]:
        """
        @param hosts: that the server knows, any of which may be the primary.
        """
        if self.waits or (not self.connected and not self.names and hosts == 1):
            return ()
        if self.names:
            return (
                f"synchronous_commit is {self.commit}: synchronous_standby_names is not waited for, and a"
                " failover may lose the last jobs that were answered",
            )
        return ("synchronous_standby_names is empty: a failover may lose the last jobs that were answered",)
