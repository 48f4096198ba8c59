"""
What the errors of databases mean: one table for each driver, and nothing else decides it.

An error that is in no table costs the connection, and what it was about is looked up when there is a new
one. That is never wrong, only slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final


class Verdict(Enum):
    """What an error of a driver means for the transaction that it ended."""

    CONFLICT = "conflict"
    """Another transaction came first. Nothing is done, and the connection is good: it is run again."""
    DUPLICATE = "duplicate"
    """
    A key is there already. On a cluster that may be a conflict as well, and a lane's row may have come since
    it was looked for. So it is run again; a key that stays is refused.
    """
    REFUSED = "refused"
    """The database works, and has no room for that, or does not take it. Nothing is done."""
    READ_ONLY = "read-only"
    """The database does not take writes any more: another host may be the primary now. Nothing is done."""
    CUT_OFF = "cut off"
    """The connection is of no use, or the statement has waited for too long: it was not committed."""
    NOT_KNOWN = "not known"
    """
    The error came while it was committed: that may be done or not, whether the connection lives or not. A new
    connection looks that up before anything else is written.
    """


POSTGRESQL: Final[Mapping[str, Verdict]] = {
    "08": Verdict.CUT_OFF,
    # A value that the column does not take; a constraint.
    "22": Verdict.REFUSED,
    "23": Verdict.REFUSED,
    "23505": Verdict.DUPLICATE,
    "25006": Verdict.READ_ONLY,
    # idle_in_transaction_session_timeout
    "25P03": Verdict.CUT_OFF,
    # PgBouncer in transaction mode: a statement was prepared in another session.
    "26000": Verdict.CUT_OFF,
    "42P05": Verdict.CUT_OFF,
    "40001": Verdict.CONFLICT,
    "40P01": Verdict.CONFLICT,
    "40003": Verdict.NOT_KNOWN,
    # The disk is full, memory is short, something is larger than it may be. Not: too many connections.
    "53100": Verdict.REFUSED,
    "53200": Verdict.REFUSED,
    "54": Verdict.REFUSED,
    # lock_timeout: it has waited for as long as anybody waits for the store.
    "55P03": Verdict.CUT_OFF,
    # Cancelled, ended by somebody, ended with the server, started just now.
    "57": Verdict.CUT_OFF,
}
"""By the beginning of the SQLSTATE; the longest that fits counts."""

MYSQL: Final[Mapping[int, Verdict]] = {
    # The disk or the table is full, or a row is too large for InnoDB.
    1021: Verdict.REFUSED,
    1114: Verdict.REFUSED,
    1118: Verdict.REFUSED,
    # "Record has changed since last read", with innodb_snapshot_isolation.
    1020: Verdict.CONFLICT,
    1213: Verdict.CONFLICT,
    1062: Verdict.DUPLICATE,
    # A node of Galera that is not in the primary component, or not ready yet: "SELECT 1" still works.
    1047: Verdict.CUT_OFF,
    1053: Verdict.CUT_OFF,
    # "Error while appending streaming replication fragment": a third of those were committed.
    1180: Verdict.NOT_KNOWN,
    # It has waited for as long as anybody waits for the store.
    1205: Verdict.CUT_OFF,
    1290: Verdict.READ_ONLY,
    1792: Verdict.READ_ONLY,
    1836: Verdict.READ_ONLY,
    1317: Verdict.CUT_OFF,
    1927: Verdict.CUT_OFF,
    2006: Verdict.CUT_OFF,
    2013: Verdict.CUT_OFF,
    2055: Verdict.CUT_OFF,
    # What PyMySQL raises from a connection that has gone.
    0: Verdict.CUT_OFF,
}
"""By MySQL's number of the error."""

MYSQL_REFUSALS: Final = (
    # "Got error 28 from storage engine": the disk is full.
    (1030, " 28 "),
    # Of Galera, where somebody has lowered wsrep_max_ws_size or wsrep_max_ws_rows: nothing is done, though
    # the first comes from a COMMIT, and the second has the number of a commit that is not known.
    (1105, "writeset size exceeded"),
    (1180, "wsrep_max_ws_rows exceeded"),
)
"""Numbers that mean something else than usual, or nothing by themselves, with a part of their messages."""

SQLITE: Final = (
    ("is full", Verdict.REFUSED),
    ("too big", Verdict.REFUSED),
)
"""By parts of SQLite's messages: Python has SQLite's codes from 3.11 on only."""


def of_postgresql(driver: Any, error: BaseException, *, committing: bool = False) -> Verdict:
    """
    @param driver: psycopg's module.
    @param committing: whether it came from a COMMIT.
    """
    state = state_of(error)
    found = max((start for start in POSTGRESQL if state.startswith(start)), key=len, default=None)
    return _judge(driver, error, POSTGRESQL.get(found or ""), committing)


def of_mysql(driver: Any, error: BaseException, *, committing: bool = False) -> Verdict:
    """
    @param driver: PyMySQL's module.
    @param committing: whether it came from a COMMIT.
    """
    number = number_of(error)
    refused = any(number == each and part in str(error.args[-1]) for each, part in MYSQL_REFUSALS)
    return _judge(driver, error, Verdict.REFUSED if refused else MYSQL.get(number), committing)


def of_sqlite(driver: Any, error: BaseException, *, committing: bool = False) -> Verdict:
    """
    @param driver: the module of the standard library.
    @param committing: whether it came from a COMMIT.
    """
    verdict = next((verdict for part, verdict in SQLITE if part in str(error)), None)
    return _judge(driver, error, verdict, committing)


def _judge(driver: Any, error: BaseException, found: Verdict | None, committing: bool) -> Verdict:
    """
    @param found: what the table says, if anything.
    """
    if found is None and isinstance(error, (driver.DataError, driver.IntegrityError)):
        return Verdict.REFUSED
    if committing and found in (None, Verdict.CUT_OFF):
        return Verdict.NOT_KNOWN
    return found or Verdict.CUT_OFF


def state_of(error: BaseException) -> str:
    """The SQLSTATE of an error of psycopg's; empty where it comes without one."""
    return getattr(error, "sqlstate", None) or ""


def number_of(error: BaseException) -> int:
    """The number of an error of PyMySQL's; 0 where it comes without one."""
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0
