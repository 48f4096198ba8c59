#!/usr/bin/env bash
# MariaDB: a DELETE of rows by a list of their keys reads, and waits for, rows that are not in the list,
# FORCE INDEX or not.
#
# Seen with: MariaDB 10.11.19 (Debian's mariadb-server 1:10.11.19-0+deb12u1), PyMySQL 1.2.4 (PyPI).
# Needs: Debian's mariadb-server, setpriv, python3 with venv. It starts a server of its own.
#
# Expected: with the keys in an index, DELETE ... WHERE number IN (...) locks the rows of the list, at READ
#   COMMITTED no others; so two connections that delete rows of their own do not wait for each other. Where the
#   optimizer would rather scan, FORCE INDEX keeps it from that: the manual says that a table is scanned then only
#   where there is no way to use one of the named indexes.
# Happens: in a table of 1,000 rows, of which 256 are listed, EXPLAIN says ALL, with FORCE INDEX as well, and the
#   DELETE waits for a row that another connection has just inserted and not committed, until error 1205. A
#   DELETE by a join with the list as a derived table, in the order of STRAIGHT_JOIN, goes by the index, and waits
#   for nobody.
#
# Output:
#   DELETE: ALL, 1205
#   DELETE, FORCE INDEX: ALL, 1205
#   DELETE, STRAIGHT_JOIN: ref, 256 rows
set -euo pipefail

PATH=$PATH:/usr/sbin
for program in mariadbd mariadb-install-db setpriv; do
    command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 2; }
done
work=$(mktemp -d)
chmod 755 "$work"
server=
end() {
    [ -z "$server" ] || kill -KILL "$server" || true
    # The shell says what became of it.
    wait "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet PyMySQL==1.2.4 >"$work/pip.log" 2>&1 ||
    { cat "$work/pip.log" >&2; exit 2; }

# MariaDB does not run as root.
somebody=()
if [ "$(id -u)" = 0 ]; then
    somebody=(setpriv --reuid=mysql --regid=mysql --clear-groups)
    chown mysql "$work"
fi
"${somebody[@]}" mariadb-install-db --no-defaults --datadir="$work/data" --auth-root-authentication-method=normal \
    --skip-test-db >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 2; }
port=$(python3 -c '
import socket
print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
"${somebody[@]}" mariadbd --no-defaults --datadir="$work/data" --socket=socket --pid-file="$work/pid" \
    --bind-address=127.0.0.1 --port="$port" --skip-name-resolve --skip-log-bin --innodb-lock-wait-timeout=2 \
    >"$work/log" 2>&1 &
server=$!

timeout 60 "$work/venv/bin/python" - "$port" <<'PYTHON' || status=$?
import sys
import time

import pymysql

ROWS, LISTED = 1000, 256
NUMBERS = [number * 3 for number in range(LISTED)]
LIST = ", ".join(map(str, NUMBERS))
UNION = " UNION ALL ".join(f"SELECT {number} AS number" for number in NUMBERS)
WAYS = {
    "DELETE": f"DELETE FROM jobs WHERE number IN ({LIST})",
    "DELETE, FORCE INDEX": f"DELETE FROM jobs USING jobs FORCE INDEX (number) WHERE number IN ({LIST})",
    "DELETE, STRAIGHT_JOIN": f"DELETE jobs FROM ({UNION}) AS listed STRAIGHT_JOIN jobs USING (number)",
}


def connected(port):
    """A connection to the server, as soon as that takes any."""
    for _ in range(40):
        try:
            return pymysql.connect(host="127.0.0.1", port=port, user="root")
        except pymysql.MySQLError as error:
            last = error
            time.sleep(0.5)
    print(last, file=sys.stderr)
    sys.exit(2)


def access(cursor, statement):
    """How the optimizer goes to the table."""
    cursor.execute(f"EXPLAIN {statement}")
    return next(row[3] for row in cursor.fetchall() if row[2] == "jobs")


def done(connection, statement):
    """How many rows it has deleted, or its error."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            count = cursor.execute(statement)
        except pymysql.MySQLError as error:
            return str(error.args[0])
        finally:
            cursor.execute("ROLLBACK")
        return f"{count} rows"


port = int(sys.argv[1])
with connected(port) as first, connected(port) as other, first.cursor() as cursor:
    cursor.execute("CREATE DATABASE tried")
    for connection in (first, other):
        connection.select_db("tried")
        with connection.cursor() as setting:
            setting.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    cursor.execute(
        "CREATE TABLE jobs (digest BINARY(16) PRIMARY KEY, number BIGINT NOT NULL, KEY number (number)) ENGINE=InnoDB"
    )
    rows = [(b"%016d" % (number * 7919 % 100_000), number) for number in range(ROWS)]
    cursor.executemany("INSERT INTO jobs VALUES (%s, %s)", rows)
    cursor.execute("COMMIT")
    cursor.execute("ANALYZE TABLE jobs")
    with other.cursor() as theirs:
        theirs.execute("BEGIN")
        theirs.execute("INSERT INTO jobs VALUES (%s, %s)", (b"%016d" % 99_999_999, ROWS))
        found = {name: (access(cursor, statement), done(first, statement)) for name, statement in WAYS.items()}
for name, (way, end) in found.items():
    print(f"{name}: {way}, {end}")
wanted = [("ALL", "1205"), ("ALL", "1205"), ("ref", f"{LISTED} rows")]
sys.exit(0 if list(found.values()) == wanted else 1)
PYTHON
exit "${status:-0}"
