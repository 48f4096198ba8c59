"""
MySQL and MariaDB, by PyMySQL.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Final

from sqlalchemy import Connection

from txgear.errors import StoreUnusable
from txgear.stores.servers import ACCESS, GRACE, OTHERS, READ_ONLY, RIGHTS, ServerDialect
from txgear.stores.statements import MOST_BYTES, ROW_BYTES

LEAST_PACKET: Final = 4 * 1024 * 1024
"""A C{max_allowed_packet} that takes any job but for its workload: the history of attempts may be long."""

IDLE_SECONDS: Final = 365 * 24 * 3600
"""How long a queue may have nothing to do; MySQL hangs up after eight hours if nobody tells it."""

ADVICE: Final = {
    **dict.fromkeys((1044, 1045, 1049, 1130, 1698, 1820, 1862, 2059, 3118), ACCESS),
    **dict.fromkeys((1142, 1143, 1227), RIGHTS),
    **dict.fromkeys((1290, 1792, 1836), READ_ONLY),
    **dict.fromkeys((1050, 1054, 1146), OTHERS),
}
"""What to do, by the number of the error."""


class MySQL(ServerDialect):
    """
    A database of MySQL or MariaDB.

    A statement that is larger than the server's C{max_allowed_packet} costs the
    connection, without a word why: what is too large is refused here.
    """

    driver = "mysql+pymysql"
    package = "txgear[mysql]"

    def __init__(self, url: str, password: str | None, timeout: float) -> None:
        super().__init__(url, password, timeout)
        # MySQL takes 64 characters.
        self._lock = f"txgear/{self.database}"[:64]

    def connect_args(self) -> dict[str, Any]:
        return {
            "charset": "utf8mb4",
            # Or what does not fit is cut, and a table may come without transactions.
            "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
            "connect_timeout": self.timeout,
            "read_timeout": self.timeout + GRACE,
            "write_timeout": self.timeout + GRACE,
        }

    def settle(self, connection: Connection) -> None:
        seconds = ceil(self.timeout)
        connection.exec_driver_sql(
            "SET SESSION innodb_lock_wait_timeout = %s, lock_wait_timeout = %s, wait_timeout = %s",
            (seconds, seconds, IDLE_SECONDS),
        )
        packet = connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one()
        if packet < LEAST_PACKET:
            raise StoreUnusable(f"its max_allowed_packet is {packet}: set it to {LEAST_PACKET} or more")
        # PyMySQL may write a byte as two.
        self.largest = packet // 2 - ROW_BYTES
        self.largest_why = f"its max_allowed_packet is {packet}"
        self.statements.most_bytes = min(MOST_BYTES, packet // 2)

    def lock(self, connection: Connection) -> bool:
        taken: bool = connection.exec_driver_sql("SELECT GET_LOCK(%s, 0)", (self._lock,)).scalar_one() == 1
        if taken:
            self.session = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar_one()
        elif self.session is not None:
            holder = connection.exec_driver_sql("SELECT IS_USED_LOCK(%s)", (self._lock,)).scalar_one()
            if holder == self.session:
                connection.exec_driver_sql("KILL %s", (holder,))
        return taken

    def words(self, error: BaseException) -> str:
        return str(error.args[1]) if len(error.args) > 1 else str(error)

    def refuses(self, error: BaseException) -> bool:
        # The disk or the table is full, or a row is larger than InnoDB's. "Got error 28" is a full disk, too.
        number = _number(error)
        return number in (1021, 1114, 1118) or (number == 1030 and " 28 " in self.words(error))

    def hopeless(self, error: BaseException) -> str:
        return ADVICE.get(_number(error), "")


def _number(error: BaseException) -> int:
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0
