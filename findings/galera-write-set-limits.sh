#!/usr/bin/env bash
# MariaDB with Galera: a transaction that is too large ends with errors that say "unknown" and "during COMMIT".
#
# Seen with: MariaDB 10.11.19, Galera 26.4.23 (Debian's mariadb-server 1:10.11.19-0+deb12u1 and galera-4
#   26.4.23-0+deb12u1), PyMySQL 1.2.4 (PyPI).
# Needs: Debian's mariadb-server and galera-4, setpriv, python3 with venv. It starts a node of its own.
#
# Expected: what wsrep_max_ws_size and wsrep_max_ws_rows do not allow is refused with an error that says so by its
#   number, as is what max_allowed_packet does not allow (1153); an error "during COMMIT" comes from a COMMIT.
# Happens: more bytes than wsrep_max_ws_size give 1105 (ER_UNKNOWN_ERROR) at COMMIT. A row more than
#   wsrep_max_ws_rows gives 1180 (ER_ERROR_DURING_COMMIT) from the statement that writes it; the COMMIT after
#   that succeeds. Nothing is written, and the connection goes on. At COMMIT, where a node loses the others,
#   1180 means that nobody knows whether it was done: only the statement tells the two apart.
#
# Output:
#   wsrep_max_ws_size: COMMIT: 1105, 'Maximum writeset size exceeded'
#   wsrep_max_ws_size: the same connection: 0 rows
#   wsrep_max_ws_rows: INSERT 51: 1180, 'wsrep_max_ws_rows exceeded'
#   wsrep_max_ws_rows: COMMIT after that: OK
#   wsrep_max_ws_rows: the same connection: 0 rows
set -euo pipefail

PATH=$PATH:/usr/sbin
provider=/usr/lib/galera/libgalera_smm.so
for program in mariadbd mariadb-install-db setpriv; do
    command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 2; }
done
[ -e "$provider" ] || { echo "there is no $provider" >&2; exit 2; }
work=$(mktemp -d)
chmod 755 "$work"
node=
end() {
    [ -z "$node" ] || kill -KILL "$node" || true
    # The shell says what became of it.
    wait "$node" 2>/dev/null || true
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
read -r port group <<<"$(python3 -c '
import socket
both = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in both))')"
"${somebody[@]}" mariadbd --no-defaults --datadir="$work/data" --socket=socket --pid-file="$work/pid" \
    --bind-address=127.0.0.1 --port="$port" --skip-name-resolve --skip-log-bin --binlog-format=ROW \
    --innodb-autoinc-lock-mode=2 --wsrep-on=ON --wsrep-provider="$provider" --wsrep-new-cluster \
    --wsrep-cluster-address=gcomm:// --wsrep-node-address=127.0.0.1 --wsrep-max-ws-size=1048576 \
    --wsrep-max-ws-rows=50 --wsrep-provider-options="gmcast.listen_addr=tcp://127.0.0.1:$group;base_host=127.0.0.1;base_port=$group;gcache.size=4M" \
    >"$work/log" 2>&1 &
node=$!

timeout 60 "$work/venv/bin/python" - "$port" <<'PYTHON' || status=$?
import sys
import time

import pymysql

NUMBERS = {"wsrep_max_ws_size": ("COMMIT", 1105), "wsrep_max_ws_rows": ("INSERT 51", 1180)}


def connected(port):
    """A connection to the node, as soon as that takes transactions."""
    for _ in range(40):
        try:
            connection = pymysql.connect(host="127.0.0.1", port=port, user="root")
            with connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE IF NOT EXISTS tried")
            return connection
        except pymysql.MySQLError as error:
            last = error
            time.sleep(0.5)
    print(last, file=sys.stderr)
    sys.exit(2)


def tried(cursor, name, rows, size):
    """Where a transaction of so many rows of so many bytes fails, and with which number."""
    cursor.execute("SELECT connection_id()")
    before = cursor.fetchall()
    found = None
    try:
        for number in range(1, rows + 1):
            step = f"INSERT {number}"
            cursor.execute("INSERT INTO tried.jobs VALUES (%s, %s)", (number, b"x" * size))
        step = "COMMIT"
        cursor.execute("COMMIT")
    except pymysql.MySQLError as error:
        found = step, error.args[0]
        print(f"{name}: {step}: {error.args[0]}, {error.args[1]!r}")
        if step != "COMMIT":
            cursor.execute("COMMIT")
            print(f"{name}: COMMIT after that: OK")
    cursor.execute("SELECT connection_id()")
    after = cursor.fetchall()
    cursor.execute("SELECT count(*) FROM tried.jobs")
    ((count,),) = cursor.fetchall()
    print(f"{name}: {'the same' if before == after else 'another'} connection: {count} rows")
    return found, before == after and count == 0


with connected(int(sys.argv[1])) as connection, connection.cursor() as cursor:
    cursor.execute("CREATE TABLE tried.jobs (number INT PRIMARY KEY, workload LONGBLOB) ENGINE=InnoDB")
    cursor.execute("BEGIN")
    size = tried(cursor, "wsrep_max_ws_size", 40, 40_000)
    cursor.execute("BEGIN")
    rows = tried(cursor, "wsrep_max_ws_rows", 60, 10)
sys.exit(0 if (size, rows) == ((NUMBERS["wsrep_max_ws_size"], True), (NUMBERS["wsrep_max_ws_rows"], True)) else 1)
PYTHON
exit "${status:-0}"
